# A model into a store, and what can go wrong on the way.
set -eu
"$LEGODNN" zoo new resnet10-cifar --width 8 --classes 10 --seed 1 -q -o model.safetensors
"$LEGODNN" extract model.safetensors -o store -v
"$LEGODNN" info store --verify
"$LEGODNN" extract model.safetensors --explain --json --ratio 0.5 | grep schema
"$LEGODNN" extract model.safetensors -o store 2> notes && grep -c "give --data" notes
# the store is replaced by another one
"$LEGODNN" extract model.safetensors -o store --sparsity 0,0.5 --criterion fpgm --round-to 4 -q --json | grep -c '"s0.5"'

"$LEGODNN" extract model.safetensors 2>&1 || echo "exit $?"
"$LEGODNN" extract model.safetensors -o store --sparsity 0.5,1 2>&1 || echo "exit $?"
"$LEGODNN" extract model.safetensors -o store --criterion l9 2>&1 || echo "exit $?"
"$LEGODNN" extract model.safetensors -o store --criterion reconstruct 2>&1 || echo "exit $?"
"$LEGODNN" extract nowhere.safetensors -o store 2>&1 || echo "exit $?"
"$LEGODNN" extract model.safetensors -o model.safetensors 2>&1 || echo "exit $?"
mkdir photos && touch photos/me.jpg
"$LEGODNN" extract model.safetensors -o photos 2>&1 || echo "exit $?"

# damage is named, by info and whoever composes
"$LEGODNN" info store --verify --json > before
for file in store/frame.safetensors store/blocks/b1/s0.5.safetensors store/manifest.json; do
    cp "$file" whole
    head -c 100 whole > "$file"
    "$LEGODNN" info store --verify 2>&1 || echo "exit $?"
    cp whole "$file"
done
"$LEGODNN" info store --verify --json | cmp - before
