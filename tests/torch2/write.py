#!/usr/bin/python3
"""Write the files beside this script, which the unit tests import: what torch 2.x makes of a tiny network.

    write.py [FOLDER]        (default: the folder of the script)

Written by torch 2.6.0 of Debian 13 (python3-torch, python3-onnx); random weights. Debian 12 has torch 1.13, so the tests
there read these files, too. FOLDER/
    x.npy, y.npy              an input (2,3,8,8), and what the network makes of it
    opset9.onnx ... opset20.onnx
    scripted.pt, traced.pt    TorchScript
    state.pt                  the state dict of another network of the same form; y_state.npy is what that one makes of x
    checkpoint.pt             the same inside a checkpoint with an optimiser's state
"""
import pathlib
import sys
import warnings

import numpy
import torch
from torch import nn


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.depthwise = nn.Conv2d(6, 6, 3, stride=2, padding=1, groups=6)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = nn.functional.silu(self.norm(self.conv(x)))
        x = x + nn.functional.hardswish(x)
        x = nn.functional.relu(self.depthwise(x))
        return self.head(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


def tiny(seed):
    torch.manual_seed(seed)
    net = Tiny().eval()
    nn.init.normal_(net.norm.running_mean, 0.0, 0.1)  # statistics that matter
    nn.init.uniform_(net.norm.running_var, 0.5, 1.5)
    return net


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
    folder = folder if folder.is_dir() else folder.parent
    warnings.simplefilter("ignore")
    net, other = tiny(1), tiny(2)
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        numpy.save(folder / "x.npy", x.numpy())
        numpy.save(folder / "y.npy", net(x).numpy())
        numpy.save(folder / "y_state.npy", other(x).numpy())
        torch.jit.script(net).save(folder / "scripted.pt")
        torch.jit.trace(net, x).save(folder / "traced.pt")
    optimizer = torch.optim.AdamW(other.parameters())
    torch.save(other.state_dict(), folder / "state.pt")
    torch.save({"epoch": 3, "state_dict": other.state_dict(), "optimizer": optimizer.state_dict()}, folder / "checkpoint.pt")
    for opset in 9, 13, 17, 20:
        torch.onnx.export(net, x, folder / f"opset{opset}.onnx", opset_version=opset, input_names=["x"], output_names=["y"],
                          dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}}, do_constant_folding=False,
                          training=torch.onnx.TrainingMode.PRESERVE)  # batch norm stays, names with it


if __name__ == "__main__":
    main()
