# Damaged model files: always exit 1 with one line that names the file or what is wrong in it, never a crash.
"$LEGODNN" zoo new resnet18-cifar --width 4 --classes 10 -q -o good.safetensors || exit 1
size=$(wc -c < good.safetensors)
damaged=0
# check MUST-FAIL FILE
check() {
    code=0
    "$LEGODNN" info "$2" > out 2> err || code=$?
    case $code in
    0) [ "$1" = 0 ] || { echo "$2 ($note) was accepted"; exit 1; } ;;
    1) [ "$(wc -l < err)" = 1 ] || { echo "$2 ($note): more than one line"; cat err; exit 1; } ;;
    *) echo "$2 ($note): exit $code"; cat err; exit 1 ;;
    esac
    damaged=$((damaged + 1))
}
for length in 0 1 7 8 9 100 1000 $((size / 2)) $((size - 1)); do
    note="cut to $length bytes"
    head -c "$length" good.safetensors > cut.safetensors
    check 1 cut.safetensors
done
note="one byte more"
{ cat good.safetensors; printf x; } > long.safetensors
check 1 long.safetensors
# the header's length, lying
for byte in '\377' '\000' '\001'; do
    for at in 0 1 2 3 7; do
        note="length byte $at = $byte"
        cp good.safetensors lie.safetensors
        printf "$byte" | dd of=lie.safetensors bs=1 seek="$at" conv=notrunc 2> dd.log
        cmp -s good.safetensors lie.safetensors || check 1 lie.safetensors
    done
done
# bytes of the header, overwritten
at=8
while [ "$at" -lt 4000 ]; do
    note="byte $at"
    cp good.safetensors flip.safetensors
    printf '\011' | dd of=flip.safetensors bs=1 seek="$at" conv=notrunc 2> dd.log
    check 0 flip.safetensors
    at=$((at + 97))
done
note="no model"
echo '{"schema": "legodnn.profile/1"}' > other.json
check 1 other.json
printf '[1, 2' > broken.json
check 1 broken.json
mkdir folder.safetensors
check 1 folder.safetensors
check 1 absent.safetensors
echo "$damaged files"
