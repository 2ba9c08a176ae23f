"""Import torchvision's models as TorchScript and compare what they compute with torch.

    tests/nightly/torchscript.py LEGODNN [NAME ...]

Random weights; scripted and traced; one line a model for docs/torchscript.md. Needs python3-torchvision. Not one of the
default tests: it takes minutes. Exits with 1 if a model that is imported computes something else, or imports no more.
"""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

import numpy
import torch
import torchvision

CLASSIFIERS = """alexnet vgg11 vgg16_bn resnet18 resnet50 wide_resnet50_2 resnext50_32x4d densenet121 googlenet inception_v3
    squeezenet1_0 shufflenet_v2_x1_0 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large mnasnet1_0 efficientnet_b0
    efficientnet_v2_s regnet_x_400mf regnet_y_400mf convnext_tiny""".split()
SEGMENTERS = "fcn_resnet50 deeplabv3_resnet50 lraspp_mobilenet_v3_large".split()
TRANSFORMERS = "swin_t vit_b_16".split()
SMALL = {"inception_v3": 96}  # side of the input: enough to run every layer
LIMIT = 1e-4


def build(name):
    torch.manual_seed(1)
    if name in SEGMENTERS:
        net = getattr(torchvision.models.segmentation, name)(weights=None, weights_backbone=None)
    else:
        options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        net = getattr(torchvision.models, name)(**options)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    return net.eval()


def weight_names(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    return set(header) - {"__metadata__"}


def check(legodnn, folder, net, form, x, y):
    """The relative difference to y, and how many weights kept their names; or what went wrong."""
    with torch.no_grad():
        module = torch.jit.script(net) if form == "scripted" else torch.jit.trace(net, x[:1], strict=False)
    module.save(folder / "m.pt")
    numpy.save(folder / "x.npy", x.numpy())
    shape = "x".join(map(str, x.shape))
    for command in (["import", folder / "m.pt", "--input", shape, "-o", folder / "m.safetensors"],
                    ["infer", folder / "m.safetensors", "--input", folder / "x.npy", "-o", folder / "y.npy"]):
        done = subprocess.run([legodnn, *map(str, command), "-q"], capture_output=True, text=True)
        if done.returncode:
            return done.stderr.strip().replace(str(folder) + "/", "")
    names = weight_names(folder / "m.safetensors")
    kept = len(names & set(net.state_dict()))
    return float(numpy.abs(numpy.load(folder / "y.npy") - y).max() / numpy.abs(y).max()), f"{kept} of {len(names)}"


def main():
    legodnn, *wanted = sys.argv[1:]
    torch.set_num_threads(1)
    failed = False
    print("| model | scripted | traced | weights that kept their names |\n|---|---|---|---|")
    for name in wanted or CLASSIFIERS + SEGMENTERS + TRANSFORMERS:
        net = build(name)
        side = 96 if name in SEGMENTERS else SMALL.get(name, 224)
        x = torch.randn(2, 3, side, side)
        with torch.no_grad():
            y = net(x)
        y = (y["out"] if isinstance(y, dict) else y).numpy()
        cells, names = [], ""
        for form in "scripted", "traced":
            with tempfile.TemporaryDirectory() as folder:
                result = check(legodnn, pathlib.Path(folder), net, form, x, y)
            if isinstance(result, str):
                failed |= name not in TRANSFORMERS
                cells.append(result[:160])
            else:
                failed |= not result[0] <= LIMIT
                cells.append(f"{result[0]:.0e}")
                names = result[1]
        print(f"| {name} | {' | '.join(cells)} | {names} |", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
