# Evaluation on a data set in the real format: ten black CIFAR images of class 0 and ten of class 1.
set -eu
mkdir cifar
for i in 1 2 3 4 5 6 7 8 9 10; do
    printf '\000' && head -c 3072 /dev/zero
    printf '\001' && head -c 3072 /dev/zero
done > cifar/test_batch.bin
"$LEGODNN" zoo new resnet10-cifar --width 4 --input 3x32x32 --classes 10 -q -o model.safetensors
# equal images get equal answers: one class at most is right
"$LEGODNN" eval model.safetensors --data cifar10:cifar --engine ref --json
"$LEGODNN" eval model.safetensors --data cifar10:cifar --engine ref --limit 3

# what can be wrong with it
"$LEGODNN" eval model.safetensors 2>&1 || echo "exit $?"
"$LEGODNN" eval model.safetensors --data cifar10:cifar --split val 2>&1 || echo "exit $?"
"$LEGODNN" eval model.safetensors --data cifar10:nowhere 2>&1 || echo "exit $?"
"$LEGODNN" eval model.safetensors --data cifar10:cifar --selection b0=s0.6 2>&1 || echo "exit $?"
"$LEGODNN" eval model.safetensors --data cifar10:cifar --task juggling 2>&1 || echo "exit $?"
head -c 4000 cifar/test_batch.bin > cifar/cut && mv cifar/cut cifar/test_batch.bin
"$LEGODNN" eval model.safetensors --data cifar10:cifar 2>&1 || echo "exit $?"
