# Retrain a small store on real images: mistakes; Ctrl-C and SIGKILL leave a store that is whole, and the same command
# goes on to the very end that an undisturbed run reaches.
export OMP_NUM_THREADS=1
options="--data fashion-mnist --limit 256 --held-out 64 --batch 32 --epochs 2 --lr 0.002 --threads 1 --precision f32"
"$LEGODNN" zoo new resnet10-cifar --width 8 --input 1x32x32 --classes 10 -q -o m.safetensors || exit 1
"$LEGODNN" extract m.safetensors --criterion l1 --sparsity 0.3,0.6 -q -o fresh > /dev/null || exit 1

# try EXIT PATTERN ARGUMENTS...
try() {
    want=$1
    pattern=$2
    shift 2
    code=0
    "$LEGODNN" retrain "$@" > out 2> err || code=$?
    [ "$code" = "$want" ] || { echo "retrain $*: exit $code"; cat err; exit 1; }
    grep -q -- "$pattern" err || { echo "retrain $*: no '$pattern' in"; cat err; exit 1; }
}
cp -r fresh store
try 2 'DATA is missing' store
try 1 'absent' absent --data fashion-mnist
try 1 'cuda' store --data fashion-mnist --device cuda
try 2 '--lr' store --data fashion-mnist --lr nan
diff -r fresh store || { echo "a refused retraining changed the store"; exit 1; }

# losses FILE: what a report says about every variant
losses() {
    grep -v '"seconds"\|"store"' "$1"
}
cp -r fresh whole
# shellcheck disable=SC2086 # several options
"$LEGODNN" retrain whole $options --json > whole.json 2> err || { cat err; exit 1; }
[ ! -e whole/retrain.checkpoint ] || { echo "a finished retraining left its checkpoint"; exit 1; }
"$LEGODNN" info whole --verify > /dev/null || exit 1

# stopped SIGNAL: start on `store` in the background, stop it after another checkpoint
stopped() {
    rm -f mark
    touch mark
    # shellcheck disable=SC2086
    env --default-signal=INT "$LEGODNN" retrain store $options --checkpoint-seconds 0 > out 2> err &
    pid=$!
    for i in $(seq 600); do
        [ store/retrain.checkpoint -nt mark ] && break
        kill -0 $pid 2> /dev/null || break
        sleep 0.05
    done
    kill "-$1" $pid 2> /dev/null
    code=0
    wait $pid 2> /dev/null || code=$?
    "$LEGODNN" info store --verify > /dev/null || { echo "SIG$1 damaged the store"; exit 1; }
}
stopped INT
[ "$code" = 130 ] || { echo "Ctrl-C: exit $code"; cat err; exit 1; }
for round in 1 2; do
    stopped KILL
done
try 1 'unfinished' store --data fashion-mnist --limit 200 --threads 1
# shellcheck disable=SC2086
"$LEGODNN" retrain store $options --json > parts.json 2> err || { cat err; exit 1; }
[ -z "$(find store -name 'retrain.checkpoint*')" ] || { echo "a finished retraining left files"; exit 1; }
losses whole.json > whole.txt
losses parts.json > parts.txt
diff whole.txt parts.txt || { echo "interrupted and uninterrupted retraining differ"; exit 1; }
exit 0
