#!/usr/bin/python3
"""Write torchvision's models and those of families.py and axes.py, with random weights, as ONNX, each with an input and the
outputs that torch computes.

    export.py [--opset 17] [--batch 1|2] FOLDER MODEL...        (without MODEL: all)

FOLDER/MODEL.onnx, FOLDER/MODEL.x.npy (2,C,...), FOLDER/MODEL.y.npy. Needs Debian's python3-torchvision; see README.md.
"""
import argparse
import os
import warnings

import numpy
import torch
import torchvision

from axes import AXES
from families import FAMILIES

FAMILIES = {**FAMILIES, **AXES}

# name: (extent of the input, arguments of the builder); of clips: frames and extent
MODELS = {
    "alexnet": (224, {}), "squeezenet1_0": (224, {}), "vgg11": (224, {}), "vgg16_bn": (224, {}),
    "resnet18": (224, {}), "resnet50": (224, {}), "wide_resnet50_2": (224, {}), "resnext50_32x4d": (224, {}),
    "densenet121": (224, {}),
    "googlenet": (224, {"aux_logits": False, "init_weights": False}),
    "inception_v3": (299, {"aux_logits": False, "init_weights": False}),
    "shufflenet_v2_x1_0": (224, {}), "mobilenet_v2": (224, {}), "mobilenet_v3_small": (224, {}),
    "mobilenet_v3_large": (224, {}), "mnasnet1_0": (224, {}), "efficientnet_b0": (224, {}),
    "efficientnet_v2_s": (224, {}), "regnet_x_400mf": (224, {}), "regnet_y_400mf": (224, {}),
    "convnext_tiny": (224, {}), "swin_t": (224, {}), "vit_b_16": (224, {}),
    "swin_s": (224, {}), "vit_b_32": (224, {}), "maxvit_t": (224, {}),
    "fcn_resnet50": (224, {"weights_backbone": None}), "deeplabv3_resnet50": (224, {"weights_backbone": None}),
    "lraspp_mobilenet_v3_large": (224, {"weights_backbone": None}),
    "r3d_18": ((16, 112), {}), "mc3_18": ((16, 112), {}), "r2plus1d_18": ((16, 112), {}), "s3d": ((16, 224), {}),
}


class FirstOutput(torch.nn.Module):
    """Segmentation models answer with a dictionary; ONNX graphs have lists."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x)["out"]


def build(name):
    torch.manual_seed(1)
    if name in FAMILIES:
        model, shape = FAMILIES[name]()
    else:
        extent, arguments = MODELS[name]
        family = next(f for f in (torchvision.models, torchvision.models.segmentation, torchvision.models.video)
                      if hasattr(f, name))
        model = getattr(family, name)(weights=None, **arguments)
        shape = (3, extent[0], extent[1], extent[1]) if isinstance(extent, tuple) else (3, extent, extent)
        if family is torchvision.models.segmentation:
            model = FirstOutput(model)
    for module in model.modules():  # statistics that matter, or a wrong batch norm would go unnoticed
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.normal_(module.running_mean, 0.0, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0.0, 0.1)
        elif isinstance(module, torch.nn.LayerNorm) and module.elementwise_affine:
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0.0, 0.1)
    for parameter in model.parameters():  # heads and class tokens of transformers start at zero
        if not parameter.any():
            torch.nn.init.normal_(parameter, 0.0, 0.02)
    return model.eval(), torch.randn(2, *shape)


def export(name, folder, opset, batch):
    model, x = build(name)
    with torch.no_grad():
        y = model(x)
    with warnings.catch_warnings():  # not under no_grad(): attention would take a fast path that has no ONNX
        warnings.simplefilter("ignore")
        torch.onnx.export(model, x[:batch or 1], os.path.join(folder, name + ".onnx"), opset_version=opset, input_names=["input"],
                          output_names=["output"],
                          dynamic_axes=None if batch else {"input": {0: "batch"}, "output": {0: "batch"}})
    numpy.save(os.path.join(folder, name + ".x.npy"), x.numpy())
    numpy.save(os.path.join(folder, name + ".y.npy"), y.numpy())
    print(f"{name}: written", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--opset", type=int, default=17)
    parser.add_argument("--batch", type=int, choices=(1, 2), help="fix the batch (default: leave it open)")
    parser.add_argument("folder")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="of: " + " ".join((*MODELS, *FAMILIES)))
    arguments = parser.parse_args()
    os.makedirs(arguments.folder, exist_ok=True)
    for name in arguments.models or (*MODELS, *FAMILIES):
        if name not in MODELS and name not in FAMILIES:
            parser.error(f"unknown model '{name}'")
        export(name, arguments.folder, arguments.opset, arguments.batch)


if __name__ == "__main__":
    main()
