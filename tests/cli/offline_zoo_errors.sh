# Wrong names, shapes, destinations: a message and the exit code, and no file.
try() {
    code=0
    "$LEGODNN" zoo "$@" 2> err || code=$?
    echo "$code: $(head -n 1 err)"
}
try
try nwe
try new
try new resnet18-cifar
try new resnet18-cifr -o m.safetensors
try new resnet18-cifar --input 3x32 -o m.safetensors
try new resnet18-cifar --input 3x0x32 -o m.safetensors
try new resnet18-cifar --width 0 -o m.safetensors
try new resnet18-cifar --widht 8 -o m.safetensors
try new resnet18-cifar --width 8 -o no/such/folder/m.safetensors
try list extra
ls
