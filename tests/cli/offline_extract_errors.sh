# Extract: mistakes, places that cannot be written, and being killed leave what was there.
"$LEGODNN" zoo new resnet18-cifar --width 8 --classes 10 -q -o m.safetensors || exit 1
"$LEGODNN" extract m.safetensors -o store --sparsity 0,0.5 --criterion l1 -q || exit 1
cp -r store kept
# try EXIT PATTERN ARGUMENTS...: the store must stay as it was
try() {
    want=$1
    pattern=$2
    shift 2
    code=0
    "$LEGODNN" extract "$@" > out 2> err || code=$?
    [ "$code" = "$want" ] || { echo "extract $*: exit $code"; cat err; exit 1; }
    grep -q -- "$pattern" err || { echo "extract $*: no '$pattern' in"; cat err; exit 1; }
    diff -r store kept || { echo "extract $* changed the store"; exit 1; }
    ls -d store.tmp-* 2> /dev/null && { echo "extract $* left a temporary folder"; exit 1; }
    return 0
}
try 2 'MODEL is missing' -o store
try 2 '-o' m.safetensors
try 2 '--sparsity' m.safetensors -o store --sparsity 0,1
try 2 '--sparsity' m.safetensors -o store --sparsity -0.1
try 2 '--sparsity' m.safetensors -o store --sparsity nan
try 2 '--mode' m.safetensors -o store --mode one
try 1 'absent' absent.safetensors -o store
try 2 'fisher' m.safetensors -o store --criterion fisher
try 2 'data' m.safetensors -o store --criterion reconstruct
try 1 'imagenet' m.safetensors -o store --data imagenet
try 1 'no/such' m.safetensors -o store --data mnist:no/such

# criteria, scopes and exclusions that cannot be
try 2 'taylor needs --data' m.safetensors -o store --criterion taylor
try 2 'l1 uses no --data' m.safetensors -o store --criterion l1 --data fashion-mnist
try 2 'scope block goes with the other criteria' m.safetensors -o store --scope block --data fashion-mnist
try 1 "no layer 'layer9" m.safetensors -o store --criterion l1 --exclude 'conv1,layer9.*'
"$LEGODNN" extract m.safetensors --explain --exclude 'layer2.*' > explained || exit 1
grep -q excluded explained || { echo "--explain does not say what is excluded"; cat explained; exit 1; }

# weights that are not finite: the last float becomes NaN
cp m.safetensors nan.safetensors
printf '\000\000\300\177' | dd of=nan.safetensors bs=1 seek=$(($(wc -c < m.safetensors) - 4)) conv=notrunc 2> dd.log
try 1 'NaN\|nan\|finite' nan.safetensors -o store

# other people's folders and files are not replaced
mkdir folder
touch folder/precious
try 1 'folder' m.safetensors -o folder
[ -e folder/precious ] || { echo "a folder that is no store was replaced"; exit 1; }
try 1 'm.safetensors' m.safetensors -o m.safetensors
"$LEGODNN" info m.safetensors > /dev/null || exit 1
try 1 'not a folder' m.safetensors -o m.safetensors/store

# killed at any moment: the old store or the new one, whole
for delay in 0.01 0.02 0.03 0.05 0.08 0.12 0.2; do
    timeout -s KILL $delay "$LEGODNN" extract m.safetensors -o store --sparsity 0,0.5 --criterion l1 -q --threads 1
    "$LEGODNN" info store --verify -q > /dev/null || { echo "killed after $delay s: the store is damaged"; exit 1; }
    tries=0
    while ls -d store.tmp-* > /dev/null 2>&1; do # opened again once the killed process has let go of it, it is gone
        tries=$((tries + 1))
        [ $tries -le 100 ] || { echo "killed after $delay s: opening the store left a temporary folder"; exit 1; }
        sleep 0.1
        "$LEGODNN" info store -q > /dev/null || exit 1
    done
done
for delay in 0.02 0.05 0.1; do
    code=0
    timeout --preserve-status -s INT $delay "$LEGODNN" extract m.safetensors -o store --sparsity 0,0.5 --criterion l1 -q ||
        code=$?
    case $code in
    0 | 130) ;;
    *) echo "Ctrl-C after $delay s: exit $code"; exit 1 ;;
    esac
    "$LEGODNN" info store --verify -q > /dev/null || { echo "Ctrl-C after $delay s: the store is damaged"; exit 1; }
done
