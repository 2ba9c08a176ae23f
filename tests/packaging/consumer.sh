#!/bin/sh
# consumer.sh BUILD WORK: install BUILD under WORK, move the copy elsewhere, then build and run a consumer in C and in C++
# through find_package and through pkg-config, and run the installed command from another folder.
set -eu
build=$1
work=$2
here=$(cd "$(dirname "$0")/../consumer" && pwd)
rm -rf "$work"
mkdir -p "$work"
fail() { echo "consumer: $*" >&2; exit 1; }

# DESTDIR with the configured prefix, as packagers do; then a plain --prefix, moved afterwards.
DESTDIR="$work/destdir" cmake --install "$build" > "$work/install.log"
[ -n "$(find "$work/destdir" -name legodnn.h)" ] || fail "DESTDIR was not honoured"
cmake --install "$build" --prefix "$work/first" >> "$work/install.log"
mv "$work/first" "$work/copy"
copy=$work/copy
libdir=$(dirname "$(find "$copy" -name 'liblegodnn.so' | head -n 1)")
if grep -rIl -e "$build" -e "$work/first" "$copy"; then fail "an installed file names the build folder or the prefix"; fi

# through find_package
cmake -S "$here" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$copy" -DCMAKE_BUILD_TYPE=Release > "$work/configure.log" 2>&1 ||
    { cat "$work/configure.log" >&2; fail "find_package failed"; }
cmake --build "$work/cmake" > "$work/build.log" 2>&1 || { cat "$work/build.log" >&2; fail "a consumer did not build"; }
for program in use-c-shared use-c-static use-cpp-shared use-cpp-static; do
    "$work/cmake/$program" || fail "$program failed"
done

# through pkg-config
PKG_CONFIG_PATH=$libdir/pkgconfig
export PKG_CONFIG_PATH
pkg-config --exists --print-errors legodnn || fail "pkg-config does not know legodnn"
cc=${CC:-cc}
cxx=${CXX:-c++}
# shellcheck disable=SC2046 # the flags are several words
"$cc" -std=c11 "$here/use.c" -o "$work/pc-c" $(pkg-config --cflags --libs legodnn)
# shellcheck disable=SC2046
"$cxx" -std=c++17 -x c++ "$here/use.c" -o "$work/pc-cpp" $(pkg-config --cflags --libs legodnn)
LD_LIBRARY_PATH=$libdir "$work/pc-c" || fail "the C program of pkg-config failed"
LD_LIBRARY_PATH=$libdir "$work/pc-cpp" || fail "the C++ program of pkg-config failed"

# the installed command finds its library by itself
if [ -x "$copy/bin/legodnn" ]; then
    (cd / && env -u LD_LIBRARY_PATH "$copy/bin/legodnn" --version) || fail "the installed command does not start"
fi
