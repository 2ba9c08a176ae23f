#!/bin/sh
# install-onnxruntime.sh BUILD: put ONNX Runtime, which runs exported files in a test, into the build folder, with npm.
# Optional: without npm, or where it cannot reach its registry, it says so and succeeds; the test is then skipped.
# The package's own script would fetch more, for graphics cards; what runs on a CPU is inside, so no script is run.
set -eu
build=$1
version=1.30.0
target=$build/onnxruntime

if [ -d "$target/node_modules/onnxruntime-node" ]; then
    exit 0
fi
if ! command -v npm > /dev/null || ! command -v node > /dev/null; then
    echo "install-onnxruntime.sh: no npm: exported ONNX files will not be run in ONNX Runtime" >&2
    exit 0
fi
mkdir -p "$target"
echo "install-onnxruntime.sh: installing onnxruntime-node $version (about 290 MB) into $target" >&2
if ! timeout 900 npm install --prefix "$target" --ignore-scripts --no-audit --no-fund --no-package-lock --loglevel=error \
    "onnxruntime-node@$version" > "$target/install.log" 2>&1; then
    rm -rf "$target/node_modules"
    echo "install-onnxruntime.sh: npm failed ($target/install.log): exported ONNX files will not be run in ONNX Runtime" >&2
fi
