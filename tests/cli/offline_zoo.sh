# Build the small architectures of the zoo, save them, read them back; equal seeds give equal files, other seeds others.
"$LEGODNN" zoo list --json > list.json || exit 1
names=$(sed -n 's/.*"name": "\([^"]*\)".*/\1/p' list.json)
[ "$(echo "$names" | wc -l)" -ge 16 ] || { echo "the zoo has too few models"; exit 1; }
for name in $names; do
    case $name in
    mobilenet_v2 | resnet10-cifar | resnet18-cifar | mobilenet_v2-cifar | resnext29-cifar) ;;
    *) continue ;; # the same families, larger
    esac
    "$LEGODNN" zoo new "$name" -q -o graph.json || { echo "zoo new $name failed"; exit 1; }
    "$LEGODNN" info graph.json --json | grep -q '"schema":[[:space:]]*"legodnn.model/1"' || { echo "info of $name failed"; exit 1; }
done
new() { "$LEGODNN" zoo new resnet18-cifar --width 8 --classes 10 -q "$@"; }
new -o a.safetensors && new -o b.safetensors && new --seed 1 -o c.safetensors || exit 1
cmp -s a.safetensors b.safetensors || { echo "equal seeds differ"; exit 1; }
if cmp -s a.safetensors c.safetensors; then echo "the seed has no effect"; exit 1; fi
"$LEGODNN" info a.safetensors
