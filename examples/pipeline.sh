#!/bin/sh
# The whole job in shell: from a trained model to a selection for a budget. Run it from anywhere:
#
#     examples/pipeline.sh MODEL DATA FOLDER [LIMIT]
#
# MODEL is a trained classifier, DATA a data set (fashion-mnist, cifar10:FOLDER, imagefolder:FOLDER, ...), FOLDER receives
# the store and the selections, LIMIT bounds the images used (for a quick look). $LEGODNN names the command.
set -eu
legodnn=${LEGODNN:-legodnn}
model=$1
data=$2
folder=$3
limit=${4:-10000}
store=$folder/store
mkdir -p "$folder"

# 1. blocks and their variants; with --data channels are chosen and weights re-fitted from a few hundred images
"$legodnn" extract "$model" -o "$store" --data "$data"

# 2. distil every variant; killed at any moment, the same line goes on where it was
"$legodnn" retrain "$store" --data "$data" --limit "$limit" --epochs 1

# 3. what each variant costs in accuracy, and in time on this machine
"$legodnn" profile "$store" --data "$data" --limit "$limit"
"$legodnn" profile "$store" --latency --threads 1

# 4. the best selection for half of the original's time, as a document for other programs
"$legodnn" optimize "$store" --json -o "$folder/original.json"
budget=$(sed -n 's/.*"latency_ms": *\([0-9.]*\).*/\1/p' "$folder/original.json" | head -n 1 | awk '{ print $1 / 2 "ms" }')
code=0
"$legodnn" optimize "$store" --latency "$budget" --json -o "$folder/half.json" || code=$?
case $code in
0) echo "half of the time: $folder/half.json" ;;
3) echo "no selection is that fast; the nearest budget that works is in the message above" ;;
*) exit "$code" ;;
esac

# 5. what that selection is worth on the test images
[ "$code" != 0 ] || "$legodnn" eval "$store" --selection "$folder/half.json" --data "$data" --split test
