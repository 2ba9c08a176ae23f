#!/usr/bin/python3
"""Take the models that export.py wrote through legodnn and print a table (Markdown).

    sweep.py [--legodnn COMMAND] [--threads N] FOLDER [MODEL...]

Each model is imported, run (its output must equal torch's within 1e-4 of the largest), extracted with a variant of half of the
channels for every block, composed of originals (the same output again) and of those variants (which must run). Both
compositions are exported as ONNX and imported again (the same outputs). Exit 1 if any step fails.
"""
import argparse
import glob
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile

import numpy

LIMIT = 1e-4
HEADER = ("| model | nodes | import | error | blocks | FLOPs in blocks | extract, prune | MACs at 0.5 | runs at 0.5 |\n"
          "|---|---|---|---|---|---|---|---|---|")


class Failed(Exception):
    pass


class Sweep:
    def __init__(self, command, threads, work):
        self.command, self.threads, self.work = command, threads, work

    def run(self, *arguments):
        """A legodnn command; returns its standard output and the processor's seconds that it took."""
        start = self.processor_s()
        done = subprocess.run([self.command, *arguments, "--threads", str(self.threads)], capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(done.stderr.strip().splitlines()[-1])
        return done.stdout, self.processor_s() - start

    @staticmethod
    def processor_s():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def infer(self, model, x, *arguments):
        y = os.path.join(self.work, "y.npy")
        self.run("infer", model, "--input", x, "-o", y, "-q", *arguments)
        return numpy.load(y)

    def through_onnx(self, x, *composition):
        """What a composition computes once it was written as ONNX and read again."""
        onnx, model = os.path.join(self.work, "out.onnx"), os.path.join(self.work, "again.safetensors")
        self.run("export", *composition, "-o", onnx, "-q")
        self.run("import", onnx, "-o", model, "-q")
        return self.infer(model, x)

    def model(self, stem):
        """One row of the table."""
        model, store = os.path.join(self.work, "model.safetensors"), os.path.join(self.work, "store")
        want = numpy.load(stem + ".y.npy")
        document, import_s = self.run("import", stem + ".onnx", "-o", model, "-q", "--json")
        error = self.compare(self.infer(model, stem + ".x.npy"), want)
        shutil.rmtree(store, ignore_errors=True)
        _, extract_s = self.run("extract", model, "-o", store, "--sparsity", "0,0.5", "-q")
        about = json.loads(self.run("info", store, "--json")[0])
        self.compare(self.infer(store, stem + ".x.npy"), want)
        self.compare(self.through_onnx(stem + ".x.npy", store), want)
        half = [b["name"] + "=s0.5" for b in about["blocks"] if any(v["name"] == "s0.5" for v in b["variants"])]
        if not half:
            raise Failed("no block can be pruned")
        small = self.infer(store, stem + ".x.npy", "--selection", ",".join(half))
        if not numpy.isfinite(small).all():
            raise Failed("pruned, it computes numbers that are not finite")
        self.compare(self.through_onnx(stem + ".x.npy", store, "--selection", ",".join(half)), small)
        full = about["frame"]["macs"] + sum(b["variants"][0]["macs"] for b in about["blocks"])
        pruned = about["frame"]["macs"] + sum(min(v["macs"] for v in b["variants"]) for b in about["blocks"])
        in_blocks = about["info"]["coverage"]["flops"]["in_blocks"]
        nodes = sum(json.loads(document)["ops"].values())
        return (f"{nodes} | {import_s * 1e3:.0f} ms | {error:.1e} | {len(about['blocks'])} | {in_blocks:.0%} | "
                f"{extract_s:.2f} s | {pruned / full:.0%} | yes")

    @staticmethod
    def compare(have, want):
        if have.shape != want.shape:
            raise Failed(f"output {have.shape}, {want.shape} was expected")
        error = float(numpy.abs(have - want).max() / numpy.abs(want).max())
        if not error <= LIMIT:
            raise Failed(f"the output differs by {error:.1e}")
        return error


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--legodnn", default="legodnn", metavar="COMMAND")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("folder")
    parser.add_argument("models", nargs="*", metavar="MODEL")
    arguments = parser.parse_args()
    names = arguments.models or sorted(os.path.basename(p)[:-len(".y.npy")]
                                       for p in glob.glob(os.path.join(arguments.folder, "*.y.npy")))
    failed = 0
    print(HEADER, flush=True)
    with tempfile.TemporaryDirectory() as work:
        sweep = Sweep(arguments.legodnn, arguments.threads, work)
        for name in names:
            try:
                row = sweep.model(os.path.join(arguments.folder, name))
            except Failed as failure:
                failed += 1
                row = f"failed: {failure}"
            print(f"| {name} | {row} |", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
