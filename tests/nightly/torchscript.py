"""Import torchvision's models, and the small ones of tests/sweep, as TorchScript and compare what they compute with torch.

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
import warnings

import numpy
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "sweep"))
from export import FAMILIES, MODELS, build

LIMIT = 1e-4


def flatten(value):
    """The tensors of whatever a model returns, in its order."""
    if isinstance(value, torch.Tensor):
        return [value]
    values = value.values() if isinstance(value, dict) else value
    return [tensor for item in values if item is not None for tensor in flatten(item)]


def weight_names(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    return set(header) - {"__metadata__"}


def make(net, form, x):
    """The module, or why torch itself makes none."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torch.jit.script(net) if form == "scripted" else torch.jit.trace(net, x, strict=False)
        except Exception as error:
            return f"torch: {type(error).__name__}"


def check(legodnn, folder, net, form, x, want):
    """The largest relative difference to torch, and how many weights kept their names; or what went wrong."""
    module = make(net, form, x)
    if isinstance(module, str):
        return module
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
    files = [folder / ("y.npy" if len(want) == 1 else f"y.{i}.npy") for i in range(len(want))]
    worst = max(numpy.abs(numpy.load(file) - y).max() / numpy.abs(y).max() for file, y in zip(files, want))
    return float(worst), f"{kept} of {len(names)}"


def main():
    legodnn, *wanted = sys.argv[1:]
    torch.set_num_threads(1)
    failed = False
    print("| model | scripted | traced | weights that kept their names |\n|---|---|---|---|")
    for name in wanted or list(MODELS) + list(FAMILIES):
        net, x = build(name)
        x = torch.randn(2, *x.shape[1:])
        with torch.no_grad():
            want = [y.numpy() for y in flatten(net(x))]
        cells, names = [], ""
        for form in "scripted", "traced":
            with tempfile.TemporaryDirectory() as folder:
                result = check(legodnn, pathlib.Path(folder), net, form, x, want)
            if isinstance(result, str):
                failed |= not result.startswith("torch: ")
                cells.append(result[:400])
            else:
                failed |= not result[0] <= LIMIT
                cells.append(f"{result[0]:.0e}")
                names = result[1]
        print(f"| {name} | {' | '.join(cells)} | {names} |", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
