# A full disk and a read-only one, for real: a message, exit 1, and what was there stays whole. Needs root for a tmpfs.
mkdir disk
mount -t tmpfs -o size=600k legodnn-test disk 2> /dev/null || { echo "no tmpfs can be mounted here" >&2; exit 77; }
trap 'umount disk' EXIT
"$LEGODNN" zoo new resnet18-cifar --width 4 --classes 10 -q -o m.safetensors || exit 1
"$LEGODNN" extract m.safetensors -o disk/store --sparsity 0.5 --criterion l1 -q || exit 1
cp -r disk/store kept

try() {
    pattern=$1
    shift
    code=0
    "$LEGODNN" "$@" > out 2> err || code=$?
    [ "$code" = 1 ] || { echo "$*: exit $code"; cat err; exit 1; }
    grep -q "$pattern" err || { echo "$*: no '$pattern' in"; cat err; exit 1; }
    diff -r disk/store kept || { echo "$* changed the store"; exit 1; }
    [ -z "$(find disk -name '*.tmp-*')" ] || { echo "$* left"; find disk -name '*.tmp-*'; exit 1; }
}
full='No space left'
try "$full" extract m.safetensors -o disk/store --sparsity 0,0.1,0.2,0.3 --criterion l1
try "$full" extract m.safetensors -o disk/other --sparsity 0,0.1,0.2,0.3 --criterion l1
try "$full" zoo new resnet18-cifar --width 16 -o disk/m.safetensors
mount -o remount,ro disk || exit 1
only='Read-only'
try "$only" extract m.safetensors -o disk/store --sparsity 0.5 --criterion l1
try "$only" zoo new resnet10-cifar --width 4 -o disk/m.safetensors
try "$only" profile disk/store --data fashion-mnist --limit 8 --held-out 0 --threads 1
"$LEGODNN" info disk/store --verify -q > /dev/null || { echo "a read-only store cannot be read"; exit 1; }
