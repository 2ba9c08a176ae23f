#!/bin/sh
# run.sh BUILD SECONDS: build the fuzz targets into BUILD and run each for that long, two at a time. Seeds are made here:
# the small models of Debian's libonnx-testdata, imports of them, models of the zoo, a state dict's pickle. Inputs that break a target stay in
# BUILD/found, and BUILD/<target>.log says how; exit 1 if there are any. TorchScript's target makes its own seeds and is built
# with gcc (it says why).
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
build=$(cd "$1" && pwd)
seconds=$2

"$root/tools/install-packages.sh" "$root/tests/fuzz/packages.txt"
CC=clang CXX=clang++ "$root/tools/build.sh" "$build" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DLEGODNN_BUILD_FUZZERS=ON \
    -DLEGODNN_SANITIZE=address,undefined,fuzzer-no-link -DLEGODNN_WITH_TORCH=OFF -DLEGODNN_BUILD_TESTS=OFF \
    -DLEGODNN_BUILD_EXAMPLES=OFF -DLEGODNN_BUILD_BENCH=OFF

TARGETS="fuzz_script legodnn-torch" "$root/tools/build.sh" "$build/script" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DLEGODNN_BUILD_FUZZERS=ON \
    -DLEGODNN_SANITIZE=address,undefined -DLEGODNN_BUILD_EXAMPLES=OFF -DLEGODNN_BUILD_BENCH=OFF

seeds=$build/seeds
rm -rf "$seeds" "$build/found"
mkdir -p "$seeds/fuzz_onnx" "$seeds/fuzz_graph" "$build/found"
ASAN_OPTIONS=detect_leaks=0
export ASAN_OPTIONS
for folder in /usr/share/libonnx-testdata/data/*/*; do
    file=$folder/model.onnx
    name=$(basename "$folder")
    if [ -f "$file" ] && [ "$(wc -c < "$file")" -le 4096 ]; then
        cp "$file" "$seeds/fuzz_onnx/$name.onnx"
        case $name in
        *conv* | *Conv* | *pool* | *Pool* | *resize* | *pad* | *norm* | *Linear* | *concat*)
            "$build/bin/legodnn" import "$file" -q -o "$seeds/fuzz_graph/$name.safetensors" 2> "$build/seeds.log" || true
            ;;
        esac
    fi
done
"$build/bin/legodnn" zoo new resnet10-cifar --width 1 --classes 2 -q -o "$seeds/fuzz_graph/zoo.safetensors"
"$build/bin/legodnn" zoo new mobilenet_v2-cifar --width-mult 0.05 --classes 2 -q -o "$seeds/fuzz_graph/zoo.json"
cp -r "$seeds/fuzz_graph" "$seeds/fuzz_safetensors"
# The pickle of a state dict with one tensor of 8 x 8, as torch.save writes it.
mkdir -p "$seeds/fuzz_pt"
printf '%b' '\0200\0002ccollections\nOrderedDict\nq\0000)Rq\0001X\0001\0000\0000\0000aq\0002ctorch._utils\n' \
    '_rebuild_tensor_v2\nq\0003((X\0007\0000\0000\0000storageq\0004ctorch\nFloatStorage\nq\0005X\0001\0000\0000\00000' \
    'q\0006X\0003\0000\0000\0000cpuq\0007K@tq\0010QK\0000K\0010K\0010\0206q\0011K\0010K\0001\0206q\0012\0211h\0000)Rq\0013tq' \
    '\0014Rq\0015s.' > "$seeds/fuzz_pt/state_dict.pkl"
# The same in the format before torch 1.6, as a whole file with one storage of 64 numbers.
{
    printf '%b' '\0200\0002\0212\0012\0154\0374\0234\0106\0371\0040\0152\0250\0120\0031.\0200\0002M\0351\0003.' \
        '\0200\0002}.' '\0200\0002}q\0000X\0001\0000\0000\0000actorch._utils\n_rebuild_tensor\n((X\0007\0000\0000\0000' \
        'storagectorch\nFloatStorage\nX\0001\0000\0000\00000X\0003\0000\0000\0000cpuK@NtQK\0000K\0010K\0010\0206K\0010' \
        'K\0001\0206tRs.\0200\0002]X\0001\0000\0000\00000a.@\0000\0000\0000\0000\0000\0000\0000'
    head -c 256 /dev/zero
} > "$seeds/fuzz_pt/legacy.pth"

# fuzz TARGET MAX-BYTES
fuzz() {
    ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
        "$build/bin/$1" -max_total_time="$seconds" -max_len="$2" -timeout=20 -rss_limit_mb=2000 -print_final_stats=1 \
        -artifact_prefix="$build/found/$1-" "$seeds/$1" > "$build/$1.log" 2>&1
    grep -E 'number_of_executed_units|Done' "$build/$1.log" | sed "s/^/$1: /"
}
failed=
fuzz fuzz_onnx 8192 &
onnx=$!
fuzz fuzz_safetensors 65536 || failed="$failed fuzz_safetensors"
wait "$onnx" || failed="$failed fuzz_onnx"
fuzz fuzz_pt 4096 &
pt=$!
fuzz fuzz_graph 65536 || failed="$failed fuzz_graph"
wait "$pt" || failed="$failed fuzz_pt"
# Leaks are libtorch's; its containers are not built for the sanitizer.
ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=0:detect_container_overflow=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
    "$build/script/bin/fuzz_script" "$seconds" "$build/found" > "$build/fuzz_script.log" 2>&1 || failed="$failed fuzz_script"
grep -E 'archives:|result' "$build/fuzz_script.log"
for target in $failed; do
    tail -n 40 "$build/$target.log"
done
[ -z "$failed" ]
