#!/bin/sh
# run.sh WRITE-CASES RUNTIME WORK: write the cases into the fresh folder WORK and run each in the ONNX Runtime that
# tools/install-onnxruntime.sh put into the folder RUNTIME.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
write=$1
runtime=$2
work=$3

if ! command -v node > /dev/null || [ ! -d "$runtime/node_modules/onnxruntime-node" ]; then
    echo "skipped: no ONNX Runtime in $runtime; tools/install-onnxruntime.sh installs it (needs npm)" >&2
    exit 77
fi
rm -rf "$work"
mkdir -p "$work"
"$write" "$work"
NODE_PATH=$runtime/node_modules exec node "$here/compare.js" "$work"
