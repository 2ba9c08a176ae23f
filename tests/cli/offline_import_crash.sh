# A TorchScript file on which libtorch crashes, hangs or is interrupted takes nothing down: a message, exit 4 or 130, no model
# and no process left. The torch module is a fake that ends as it is told.
LEGODNN_TORCH_MODULE=$LEGODNN_FAKE_TORCH
export LEGODNN_TORCH_MODULE
# An archive with an empty constants.pkl.
printf 'PK\003\004\024\000\000\000\000\000\000\000!\000\333\200I\331\002\000\000\000\002\000\000\000\021\000\000\000net/constants.pkl).PK\001\002\024\000\024\000\000\000\000\000\000\000!\000\333\200I\331\002\000\000\000\002\000\000\000\021\000\000\000\000\000\000\000\000\000\000\000\200\001\000\000\000\000net/constants.pklPK\005\006\000\000\000\000\001\000\001\000?\000\000\0001\000\000\000\000\000' > m.pt
for way in segv abort exit hang memory; do
    code=0
    LG_FAKE_TORCH=$way "$LEGODNN" import m.pt --input 1x3x4x4 -q -o m.safetensors --time-limit 1s --memory-limit 50MB 2> err ||
        code=$?
    echo "$code: $(cat err)"
done

LG_FAKE_TORCH=hang "$LEGODNN" import m.pt --input 1x3x4x4 -q -o m.safetensors 2> err &
process=$!
tries=0
until child=$(tr -d " " < "/proc/$process/task/$process/children") && [ -n "$child" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { echo "no child process"; exit 1; }
    sleep 0.1
done
kill -TERM "$process"
code=0
wait "$process" || code=$?
echo "$code: $(cat err)"
if kill -0 "$child" 2> gone; then echo "the child goes on"; fi
ls
