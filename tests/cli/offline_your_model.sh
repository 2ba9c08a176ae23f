# docs/your-model.md: its commands, in its order, on a small model that arrives as ONNX.
about=$("$LEGODNN" --version)
case $about in *"ONNX import"*) ;; *) echo "this build reads no ONNX files" >&2; exit 77 ;; esac

# The model: a ResNet of 5 classes. The images: three pictures of coloured squares, 8x8.
"$LEGODNN" zoo new resnet10-cifar --width 16 --classes 5 --input 3x32x32 -q -o zoo.safetensors &&
    "$LEGODNN" export zoo.safetensors -q -o model.onnx || exit 1
picture() {
    printf %s "$1" | base64 -d > picture.png
    for class in ash birch elm fir oak; do
        mkdir -p "photos/train/$class" "photos/val/$class"
        cp picture.png "photos/train/$class/$2.png"
        cp picture.png "photos/val/$class/$2.png"
    done
}
picture iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAa0lEQVR42n3LMQ7BUAAA0FetSxgcwobBJXoVF7C5hqmbCkmHGsUg0UQl5QKIRTCZxAn8t7+o3NzQG6XIHwWenwVa/kiyYonDfY5zMsC6n4ZG1H7V+A4n6M5iVNtpcJyuY6wuR7z3JTrNLjR+VQUeOFfgMHUAAAAASUVORK5CYII= 0
picture iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAbklEQVR42mOsrDjDwMDwNs+WgYEh3moKAwODbWYyAwMDEwMOwPjp2SkGBobv9nEMDAxulfsYGBjOil/Bq+N5mj0DA4PrjgkMDAw/VRkZGBi0thfj1dER8IKBgeGq3CwGBoZJM00YGBi+/D+PTwcAQSMZ/acDu5gAAAAASUVORK5CYII= 1
picture iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAbklEQVR42mNMO7iNgYFhaqsXAwPD5yk7GRgYpt7iY2BgYGLAAVh+MnMyMDAsVNjIwMCQ8lqbgYHBNisEr453sqcZGBjW7t3PwMAw5402AwPD1a0meHVwn17HwMAgr5vOwMDgrKDJwMBw40okPh0AMdoYOErB7U4AAAAASUVORK5CYII= 2
npy() { # NAME SAMPLES: zeros
    header="{'descr': '<f4', 'fortran_order': False, 'shape': ($2, 3, 32, 32), }"
    printf '\223NUMPY\001\000\166\000%-117s\n' "$header" > "$1"
    head -c $(($2 * 12288)) /dev/zero >> "$1"
}
npy x.npy 2
npy sample.npy 1

sed -n '/^```sh$/,/^```$/s/^legodnn //p' "$LEGODNN_SOURCE/docs/your-model.md" > commands
[ "$(wc -l < commands)" -ge 10 ] || { echo "no commands found in docs/your-model.md"; exit 1; }
while read -r arguments; do
    case $about:$arguments in
    *libtorch\ not*:retrain*) continue ;;
    esac
    echo "legodnn $arguments"
    eval "\"\$LEGODNN\" $arguments" > out 2> err < /dev/null || { echo "exit code $?"; cat out err; exit 1; }
done < commands
for file in y.npy selection.json small.onnx; do
    [ -s "$file" ] || { echo "$file was not written"; exit 1; }
done
