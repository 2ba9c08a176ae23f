# Export: models and compositions as ONNX, read again if this build can; what cannot be exported leaves the file alone.
"$LEGODNN" zoo new resnet10-cifar --width 4 --classes 10 -q -o m.safetensors || exit 1
if ! "$LEGODNN" export m.safetensors -o m.onnx 2> err; then
    grep -q LEGODNN_WITH_ONNX err && exit 77
    cat err
    exit 1
fi
grep -q '^wrote m.onnx: [0-9,]* parameters, .*KiB$' err || { cat err; exit 1; }
"$LEGODNN" extract m.safetensors -o store --sparsity 0,0.5 --criterion l1 -q || exit 1
"$LEGODNN" export store -q -o store.onnx || exit 1
"$LEGODNN" export store --selection all=s0.5 -q -o small.onnx || exit 1
size() { wc -c < "$1"; }
[ "$(size small.onnx)" -lt "$(size store.onnx)" ] || { echo "the selection has no effect"; exit 1; }
grep -a -q conv1.weight store.onnx || { echo "a weight lost its name"; exit 1; }

"$LEGODNN" export m.safetensors --external-from 1KiB -q -o beside.onnx || exit 1
[ "$(size beside.onnx)" -lt 20000 ] && [ "$(find . -name 'beside.onnx.*.data' | wc -l)" = 1 ] || { ls -l; exit 1; }

# fails WANTED-CODE ARGUMENTS...: that exit code, one line of message, the old file stays
cp m.onnx y.onnx
fails() {
    want=$1
    shift
    code=0
    "$LEGODNN" export "$@" -q 2> err || code=$?
    [ "$code" = "$want" ] || { echo "export $*: exit $code, expected $want"; cat err; exit 1; }
    cmp -s y.onnx m.onnx || { echo "export $* replaced the output"; exit 1; }
}
fails 2 m.safetensors
fails 2 m.safetensors -o y.onnx --opset 12
fails 2 m.safetensors -o y.onnx --selection all=s0.5
fails 1 absent.safetensors -o y.onnx
fails 1 store -o y.onnx --selection all=s0.9
fails 1 m.safetensors -o absent/y.onnx
