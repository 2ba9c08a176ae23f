# --version touches text only: 20 starts within two seconds even on a loaded machine (libtorch would need ten).
start=$(date +%s%N)
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do "$LEGODNN" --version > /dev/null || exit 1; done
ms=$((($(date +%s%N) - start) / 20000000))
[ "$ms" -lt 100 ] || { echo "--version takes $ms ms"; exit 1; }
