#!/bin/sh
# Install what is missing, build, and run all tests. Further arguments go to ctest: tools/test.sh -R optimize
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
build=${LEGODNN_BUILD:-$root/build-release}

"$root/tools/install-packages.sh"
"$root/tools/build.sh" "$build" -DCMAKE_BUILD_TYPE=Release
"$root/tools/install-onnxruntime.sh" "$build"
cd "$build"
exec ctest --output-on-failure "$@"
