# Without the torch module what trains says what to install; everything else works.
export LEGODNN_TORCH_MODULE=absent.so
"$LEGODNN" zoo new resnet10-cifar --width 4 --classes 10 -q -o m.safetensors || exit 1
"$LEGODNN" extract m.safetensors -o store --sparsity 0,0.5 --criterion l1 -q || exit 1
code=0
"$LEGODNN" train m.safetensors --data fashion-mnist --limit 64 -o out.safetensors 2> err || code=$?
cat err >&2
[ "$code" = 1 ] && [ ! -e out.safetensors ] || exit 9
code=0
"$LEGODNN" retrain store --data fashion-mnist --limit 64 || code=$?
exit $code
