#!/bin/sh
# build.sh FOLDER [-DOPTION=VALUE ...]: configure and build into FOLDER, quietly; on a failure the log is shown.
# Uses ccache where it is installed. With TARGETS in the environment only those are built.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
build=$1
shift
mkdir -p "$build"
log=$build/build.log
launcher=
if command -v ccache > /dev/null; then
    launcher="-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache"
fi
# shellcheck disable=SC2086 # two options, several targets
if ! cmake -S "$root" -B "$build" -G Ninja $launcher "$@" > "$log" 2>&1 || ! ninja -C "$build" ${TARGETS:-} >> "$log" 2>&1; then
    grep -E -A 12 'CMake Error|error:|warning:|undefined reference|FAILED' "$log" | head -n 60 >&2 || tail -n 40 "$log" >&2
    echo "build.sh: building $build failed; all of it: $log" >&2
    exit 1
fi
