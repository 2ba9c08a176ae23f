# Infer and bench: arrays in and out, engines that agree, selections, and every array that does not fit.
"$LEGODNN" zoo new resnet10-cifar --width 4 --classes 10 -q -o m.safetensors || exit 1
"$LEGODNN" extract m.safetensors -o store --sparsity 0,0.5 --criterion l1 -q || exit 1

# array FILE TYPE SHAPE FLOATS: a .npy file of that many floats, real ones: the teacher's weights
array() {
    { printf '\223NUMPY\001\000v\000'
      printf '%-117s\n' "{'descr': '$2', 'fortran_order': False, 'shape': ($3), }"
      tail -c 2000000 "$LEGODNN_SOURCE/models/fashion-resnet18-w16.safetensors" | head -c $((4 * $4)); } > "$1"
}
array x.npy '<f4' '5, 3, 32, 32' 15360
array one.npy '<f4' '3, 32, 32' 3072

"$LEGODNN" infer m.safetensors --input x.npy -o onednn.npy --threads 1 || exit 1
"$LEGODNN" infer m.safetensors --input x.npy -o ref.npy --engine ref || exit 1
"$LEGODNN" infer store --input x.npy -o store.npy --engine ref || exit 1
"$LEGODNN" infer store --input x.npy -o small.npy --engine ref --selection all=s0.5 || exit 1
cmp ref.npy store.npy || { echo "all originals differ from the model"; exit 1; }
if cmp -s ref.npy small.npy; then echo "the selection has no effect"; exit 1; fi
head -c 128 ref.npy | grep -a -q "'shape': (5, 10" || { echo "wrong shape"; exit 1; }
# floats of an array, one a line
floats() { tail -c +129 "$1" | od -An -v -t f4 -w4; }
floats onednn.npy > a
floats ref.npy > b
paste a b | awk '{ d = $1 - $2; if (d < 0) d = -d; m = $2 < 0 ? -$2 : $2; if (d > 1e-4 * (1 + m)) bad = 1 } END { exit bad }' ||
    { echo "the engines disagree"; paste a b; exit 1; }
[ "$(wc -l < a)" = 50 ] || exit 1
[ "$("$LEGODNN" infer m.safetensors --input one.npy -q | wc -l)" = 1 ] || { echo "one sample is not one line"; exit 1; }

# wrong arrays: exit 1, one line, the previous output stays
cp ref.npy y.npy
array wrong.npy '<f4' '5, 3, 32, 16' 7680
array flat.npy '<f4' '15360' 15360
array type.npy '<f8' '5, 3, 32, 32' 15360
array big.npy '<f4' '99999999999, 3, 32, 32' 15360
array none.npy '<f4' '0, 3, 32, 32' 0
head -c 5000 x.npy > cut.npy
echo text > text.npy
: > empty.npy
for input in wrong flat type big none cut text empty absent; do
    code=0
    "$LEGODNN" infer m.safetensors --input $input.npy -o y.npy 2> err || code=$?
    [ "$code" = 1 ] && [ "$(wc -l < err)" = 1 ] || { echo "$input.npy: exit $code"; cat err; exit 1; }
    cmp -s y.npy ref.npy || { echo "$input.npy replaced the output"; exit 1; }
done
code=0
"$LEGODNN" infer m.safetensors 2> err || code=$?
[ "$code" = 2 ] || { echo "no input: exit $code"; exit 1; }

"$LEGODNN" bench store --selection all=s0.5 --samples 5 --threads 1 --json > bench.json || exit 1
for key in legodnn.bench/1 median_ms p90_ms samples threads engine; do
    grep -q "\"$key\"" bench.json || { echo "bench has no $key"; cat bench.json; exit 1; }
done
"$LEGODNN" bench m.safetensors --samples 3 --threads 1 -v 2> steps > /dev/null || exit 1
grep -q '^conv1: .*batch norm folded, relu$' steps && grep -q 'of packed weights, .* of activations$' steps ||
    { echo "bench -v does not say what runs"; cat steps; exit 1; }
