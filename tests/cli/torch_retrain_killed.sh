# Retrain: mistakes leave the store alone; Ctrl-C ends with 130, SIGKILL at any point leaves a whole store, and the same
# line goes on where it was and finishes.
export OMP_NUM_THREADS=1
"$LEGODNN" zoo new resnet10-cifar --width 4 --classes 10 -q -o m.safetensors || exit 1
"$LEGODNN" extract m.safetensors -o store --sparsity 0,0.5 --criterion l1 -q || exit 1
cp -r store kept
options="--data fashion-mnist --limit 256 --held-out 64 --batch 32 --threads 1 --precision f32 --checkpoint-seconds 0"

try() {
    want=$1
    pattern=$2
    shift 2
    code=0
    "$LEGODNN" retrain "$@" > out 2> err || code=$?
    [ "$code" = "$want" ] || { echo "retrain $*: exit $code"; cat err; exit 1; }
    grep -q -- "$pattern" err || { echo "retrain $*: no '$pattern' in"; cat err; exit 1; }
    diff -r store kept || { echo "retrain $* changed the store"; exit 1; }
}
try 2 '--data' store
try 1 'absent' absent --data fashion-mnist
try 1 'm.safetensors' m.safetensors --data fashion-mnist
try 1 'no/such' store --data mnist:no/such

# interrupted SIGNAL: start it, give it time to get somewhere, send the signal; the exit code is in $code
interrupted() {
    # shellcheck disable=SC2086 # several options
    env --default-signal=INT "$LEGODNN" retrain store $options --epochs 400 > out 2> err &
    pid=$!
    n=0
    while [ $n -lt "$2" ] && kill -0 $pid 2> /dev/null; do
        sleep 0.1
        n=$((n + 1))
    done
    kill "-$1" $pid
    code=0
    wait $pid 2> /dev/null || code=$?
    "$LEGODNN" info store --verify -q > /dev/null || { echo "$1: the store is damaged"; exit 1; }
}
for tenths in 2 9 30; do
    interrupted KILL $tenths
    [ "$code" = 137 ] || { echo "SIGKILL: exit $code"; cat err; exit 1; }
done
interrupted INT 40
[ "$code" = 130 ] || { echo "Ctrl-C: exit $code"; cat err; exit 1; }
grep -q interrupted err || { echo "Ctrl-C says"; cat err; exit 1; }

# shellcheck disable=SC2086
"$LEGODNN" retrain store $options --epochs 1 --restart > out 2> err || { cat err; exit 1; }
"$LEGODNN" info store --verify --json > info.json || exit 1
[ -z "$(find . -name '*.tmp-*')" ] || { find . -name '*.tmp-*'; exit 1; }
