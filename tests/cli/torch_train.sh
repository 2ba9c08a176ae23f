# Train a small model on real images: mistakes; Ctrl-C (130) and SIGKILL leave the previous model
# whole.
export OMP_NUM_THREADS=1
data="--data fashion-mnist --limit 128 --batch 64 --threads 1 --no-augment --precision f32"
"$LEGODNN" zoo new resnet10-cifar --width 4 --classes 10 -q -o m.safetensors || exit 1
cp m.safetensors kept.safetensors

# try EXIT PATTERN ARGUMENTS...
try() {
    want=$1
    pattern=$2
    shift 2
    code=0
    "$LEGODNN" train "$@" > out 2> err || code=$?
    [ "$code" = "$want" ] || { echo "train $*: exit $code"; cat err; exit 1; }
    grep -q -- "$pattern" err || { echo "train $*: no '$pattern' in"; cat err; exit 1; }
    cmp -s m.safetensors kept.safetensors || { echo "train $* changed the model"; exit 1; }
}
try 2 'DATA is missing\|--data' m.safetensors -o x.safetensors
try 1 'absent' absent.safetensors --data fashion-mnist -o x.safetensors
try 1 'imagenet' m.safetensors --data imagenet -o x.safetensors
try 1 'no/such/folder' m.safetensors --data mnist:no/such/folder -o x.safetensors
try 2 '--lr nan\|--lr' m.safetensors --data fashion-mnist --lr nan -o x.safetensors
try 1 'cuda' m.safetensors $data --device cuda -o x.safetensors
"$LEGODNN" zoo new resnet10-cifar --width 4 --classes 7 -q -o seven.safetensors || exit 1
try 1 '7' seven.safetensors $data -o x.safetensors
[ ! -e x.safetensors ] || { echo "a failed training left a model"; exit 1; }

# started NAME: train in the background until NAME.safetensors.checkpoint is there
started() {
    rm -f "$1.checkpoint"
    # shellcheck disable=SC2086 # several options
    env --default-signal=INT "$LEGODNN" train m.safetensors $data --epochs 1000 --checkpoint "$1.checkpoint" -o m.safetensors \
        > "$1.out" 2> "$1.err" &
    pid=$!
    for i in $(seq 600); do
        [ ! -e "$1.checkpoint" ] || return 0
        kill -0 $pid 2> /dev/null || { cat "$1.err"; exit 1; }
        sleep 0.1
    done
    kill -9 $pid
    echo "no checkpoint after a minute"
    exit 1
}
started int
kill -INT $pid
code=0
wait $pid || code=$?
[ "$code" = 130 ] || { echo "Ctrl-C: exit $code"; cat int.err; exit 1; }
grep -q interrupted int.err || { cat int.err; exit 1; }
cmp -s m.safetensors kept.safetensors || { echo "Ctrl-C changed the model"; exit 1; }
started kill
kill -KILL $pid
wait $pid 2> /dev/null
cmp -s m.safetensors kept.safetensors || { echo "SIGKILL changed the model"; exit 1; }

# left alone, it ends
# shellcheck disable=SC2086
"$LEGODNN" train m.safetensors $data --epochs 2 -q -o once.safetensors > /dev/null || exit 1
"$LEGODNN" info once.safetensors > /dev/null || exit 1
find . -name '*.tmp-*' | grep . && { echo "a temporary file is left"; exit 1; }
exit 0
