# Models of several inputs and outputs through the commands: ONNX in and out, shapes and arrays by place or by name, a store.
"$LEGODNN" --version | grep -q "ONNX import" || { echo "this build reads no ONNX files" >&2; exit 77; }
. "$LEGODNN_SOURCE/tests/support/onnx.sh"
try() {
    code=0
    "$LEGODNN" "$@" -q > out 2> err || code=$?
    echo "$code: $(head -n 1 err)"
}
# array FILE SHAPE ASCII: ASCII, four characters a float
array() {
    { printf '\223NUMPY\001\000v\000'
      printf '%-117s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': ($2), }"
      printf %s "$3"; } > "$1"
}
graph="$(onnx_input a batch width)$(onnx_input b batch width)$(onnx_node Sub first d a b)$(onnx_node Relu second y d)"
onnx_model two.onnx 13 "$graph$(onnx_field 12 "$(onnx_field 1 "$(onnx_text d)")")"

echo "-- shapes"
try import two.onnx -o m.safetensors
try import two.onnx --input 1x2 -o m.safetensors
try import two.onnx --input 1x2 --input 1x2 --input 1x2 -o m.safetensors
try import two.onnx --input a=1x2 --input c=1x2 -o m.safetensors
try import two.onnx --input a=1x2 --input a=1x2 -o m.safetensors
try import two.onnx --input =1x2 -o m.safetensors
try import two.onnx --input b=1x2 --input 1x2 -o m.safetensors
try import two.onnx --input b=1x2 --input a=1x2 -o m.safetensors
"$LEGODNN" info m.safetensors | grep -E '^(in|out)put'

echo "-- arrays"
array a.npy '2, 2' '@@@@AAAA>>>>@@@@'
array b.npy '2, 2' '>>>>BBBB>>>>@@@@'
array one.npy '2' '@@@@AAAA'
try infer m.safetensors --input a.npy
try infer m.safetensors --input a.npy --input one.npy
try infer m.safetensors --input b=a.npy --input b=b.npy
try infer m.safetensors --input c=a.npy --input b=b.npy
"$LEGODNN" infer m.safetensors --input a.npy --input b.npy || exit 1
"$LEGODNN" infer m.safetensors --input b=b.npy --input a=a.npy --json || exit 1
"$LEGODNN" infer m.safetensors --input b=b.npy --input a=a.npy -q -o o.npy || exit 1
ls o.*

echo "-- out again"
"$LEGODNN" export m.safetensors -q -o again.onnx && "$LEGODNN" import again.onnx -q -o again.safetensors || exit 1
cmp m.safetensors again.safetensors
try bench again.safetensors --samples 3
try eval again.safetensors --data fashion-mnist
