# Weights by name from another file, all that does not fit at once, and what is written (nothing) when it fails.
new() { "$LEGODNN" zoo new resnet10-cifar --width 8 -q "$@"; }
new --classes 10 -o trained.safetensors && new --classes 10 --seed 5 -o fresh.json && new --classes 7 -o seven.json || exit 1
"$LEGODNN" weights fresh.json --from trained.safetensors -q -o a.safetensors || exit 1
"$LEGODNN" weights seven.json --from trained.safetensors --partial -q -o b.safetensors || exit 1
"$LEGODNN" weights a.safetensors --from trained.safetensors -q -o again.safetensors && cmp a.safetensors again.safetensors || exit 1
try() {
    code=0
    "$LEGODNN" weights "$@" > out 2> err || code=$?
    echo "$code: $(head -n 4 err)"
}
try fresh.json --from trained.safetensors -o c.safetensors
try fresh.json --from trained.safetensors --strip-prefix layer1. -q -o d.safetensors
try seven.json --from trained.safetensors -o e.safetensors
try seven.json --from trained.safetensors --json -q -o e.safetensors
grep -c '"schema":[[:space:]]*"legodnn.weights/1"' out
grep -c '"expected"' out
try seven.json --from trained.safetensors
try seven.json -o e.safetensors
try seven.json --from absent.pt -o e.safetensors
printf 'PK\003\004 and no more' > damaged.pt
try seven.json --from damaged.pt -o e.safetensors
head -c 100 trained.safetensors > short.safetensors
try seven.json --from short.safetensors -o e.safetensors
"$LEGODNN" info damaged.pt 2>&1
try absent.json --from trained.safetensors -o e.safetensors
try seven.json --from trained.safetensors --partial -o no/such/folder/e.safetensors
ls ./*.safetensors
