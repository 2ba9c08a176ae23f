#!/bin/sh
# From a fresh Debian 12 or 13 to a model that switches its size at run time, on real data: installs what is missing (root or
# sudo), builds, and runs the whole job step by step. It leaves the finished store in out/demo/store.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
build=${LEGODNN_BUILD:-$root/build-release}

echo "1/3 packages (tools/packages.txt)"
"$root/tools/install-packages.sh"
echo "2/3 building into $build"
"$root/tools/build.sh" "$build" -DCMAKE_BUILD_TYPE=Release
echo "3/3 the main job"
cd "$root"
exec "$build/bin/legodnn" demo -o out/demo
