# Damaged stores: one line that names the file, exit 1, never a crash; the commands that read a store all agree.
"$LEGODNN" zoo new resnet10-cifar --width 4 --classes 10 -q -o m.safetensors || exit 1
"$LEGODNN" extract m.safetensors -o good --sparsity 0,0.5 --criterion l1 -q || exit 1
"$LEGODNN" info good --verify -q > /dev/null || exit 1

# refused NOTE COMMAND...: exit 1 and one line on stderr
refused() {
    note=$1
    shift
    code=0
    "$LEGODNN" "$@" > out 2> err < /dev/null || code=$?
    [ "$code" = 1 ] || { echo "$note: $1 exits $code"; cat err; exit 1; }
    [ "$(wc -l < err)" = 1 ] || { echo "$note: $1 says"; cat err; exit 1; }
}
fresh() {
    rm -rf bad
    cp -r good bad
}
variant=$(cd good && find blocks -name '*s0.5*' | sort | head -n 1)
for file in manifest.json frame.safetensors "$variant"; do
    size=$(wc -c < "good/$file")
    for length in 0 $((size / 2)) $((size - 2)); do
        fresh
        head -c "$length" "good/$file" > "bad/$file"
        refused "$file cut to $length" info bad --verify
        [ "$file" = manifest.json ] || grep -q -F "$file" err || { echo "$file is not named:"; cat err; exit 1; }
    done
    for at in 9 $((size - 5)); do
        fresh
        printf '\001' | dd of="bad/$file" bs=1 seek="$at" conv=notrunc 2> dd.log
        cmp -s "good/$file" "bad/$file" || refused "$file byte $at" info bad --verify
    done
    fresh
    rm "bad/$file"
    refused "$file missing" info bad --verify
done

# a damaged variant is found by whoever uses it, and only then
fresh
printf '\001' | dd of="bad/$variant" bs=1 seek=$(($(wc -c < "good/$variant") - 5)) conv=notrunc 2> dd.log
"$LEGODNN" info bad > /dev/null || { echo "info needs the weights"; exit 1; }
refused "damaged variant" eval bad --selection b0=s0.5 --data fashion-mnist --limit 8 --threads 1

# what is no store
mkdir empty
refused "empty folder" info empty
refused "no folder" optimize nothing
refused "a model as a store" optimize m.safetensors
refused "no profile" optimize good --latency 1ms
printf '{"schema": "legodnn.profile/1", "blocks": [' > bad/profile.json
refused "broken profile" optimize bad
for selection in b9=s0 b0=s0.7 b0 absent.json; do
    refused "selection $selection" eval good --selection "$selection" --data fashion-mnist --limit 8 --threads 1
done
refused "wrong shape" eval good --data imagefolder:empty --limit 8 --threads 1
"$LEGODNN" info good --verify -q > /dev/null
