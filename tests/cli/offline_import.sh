# ONNX files: good ones become models; for the others a message and the exit code, and no model.
"$LEGODNN" --version | grep -q "ONNX import" || { echo "this build reads no ONNX files" >&2; exit 77; }
. "$LEGODNN_SOURCE/tests/support/onnx.sh"
try() {
    code=0
    "$LEGODNN" "$@" -q > out 2> err || code=$?
    echo "$code: $(head -n 1 err | sed "s|$PWD|FOLDER|")"
}
x=$(onnx_input x 1 4)
relu=$(onnx_node Relu first y x)

echo "-- good"
onnx_model relu.onnx 13 "$x$relu"
try import relu.onnx -o relu.safetensors
"$LEGODNN" info relu.safetensors | grep -E '^(input|output|ops)'
"$LEGODNN" import relu.onnx -o relu.safetensors -q --json | grep -c 'legodnn.model/1'
onnx_model open.onnx 13 "$(onnx_input x batch width)$relu"
try import open.onnx --input 1x7 -o open.safetensors
"$LEGODNN" info open.safetensors | grep '^input'
onnx_model beside.onnx 13 "$x$(onnx_external w 4 w.bin)$(onnx_node Add sum y x w)"
printf '\000\000\200\077\000\000\000\100\000\000\100\100\000\000\200\100' > w.bin
try import beside.onnx -o beside.safetensors
rm ./*.safetensors

echo "-- the command line"
try import
try import relu.onnx
try import relu.onnx --input 4x -o m.safetensors
try import absent.onnx -o m.safetensors
try import open.onnx -o m.safetensors
try import open.onnx --input 1x2x3 -o m.safetensors
try import relu.onnx --input 1x5 -o m.safetensors
try import relu.onnx -o no/such/folder/m.safetensors
try info relu.onnx

echo "-- bytes"
: > empty.onnx
try import empty.onnx -o m.safetensors
echo "no model" > text.onnx
try import text.onnx -o m.safetensors
size=$(wc -c < relu.onnx)
for cut in 1 2 $((size / 2)) $((size - 1)); do
    head -c "$cut" relu.onnx > cut.onnx
    try import cut.onnx -o m.safetensors
done
mkdir folder.onnx
try import folder.onnx -o m.safetensors

echo "-- graphs"
onnx_model future.onnx 99 "$x$relu"
try import future.onnx -o m.safetensors
onnx_model unknown.onnx 13 "$x$(onnx_node TopK first a x)$(onnx_node Relu fine b a)$(onnx_node Det second y b)"
try import unknown.onnx -o m.safetensors
onnx_model cycle.onnx 13 "$x$(onnx_node Relu first a b)$(onnx_node Relu second b a)$(onnx_node Relu third y b)"
try import cycle.onnx -o m.safetensors
onnx_model nowhere.onnx 13 "$x$(onnx_node Relu first y nothing)"
try import nowhere.onnx -o m.safetensors
onnx_model twice.onnx 13 "$x$relu$relu"
try import twice.onnx -o m.safetensors
onnx_model negative.onnx 13 "$(onnx_input x 1 '\375\377\377\377\377\377\377\377\377\001')$relu"
try import negative.onnx -o m.safetensors
onnx_model huge.onnx 13 "$(onnx_input x 1 '\377\377\377\377\377\377\377\377\177')$relu"
try import huge.onnx -o m.safetensors
onnx_model large.onnx 13 "$(onnx_input x 1 2000000000 2000000000 2000000000)$relu"
try import large.onnx -o m.safetensors

echo "-- data in other files"
rm w.bin
try import beside.onnx -o m.safetensors
printf 'short' > w.bin
try import beside.onnx -o m.safetensors
for place in ../w.bin /etc/passwd link.bin; do
    ln -sf /etc/passwd link.bin
    onnx_model escape.onnx 13 "$x$(onnx_external w 4 $place)$(onnx_node Add sum y x w)"
    try import escape.onnx -o m.safetensors
done
ls ./*.safetensors 2> ls.err || echo "no model was written"
