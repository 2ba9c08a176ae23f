# The online stage by command: profiles, selections under budgets, running, comparing profiles.
set -eu
mkdir cifar
for i in 1 2 3 4 5; do # CIFAR-10 binary: training batches of 40 images, noise from a fixed source
    seq 1 100000 | head -c 200000 | tr '0-9\n' '\000\037\073\117\163\207\243\277\323\357\100' > noise
    for j in 1 2 3 4 5 6 7 8; do
        for label in 0 1 2 3 4; do
            printf '\00'"$label" && tail -c "+$((i * 1000 + j * 300 + label * 7))" noise | head -c 3072
        done
    done > cifar/data_batch_$i.bin
done
cp cifar/data_batch_1.bin cifar/test_batch.bin
"$LEGODNN" zoo new resnet18-cifar --width 4 --classes 10 --seed 1 -q -o model.safetensors
"$LEGODNN" extract model.safetensors -o store --sparsity 0,0.5 --criterion l1 -q

fails() { # EXIT PATTERN COMMAND...
    want=$1 pattern=$2 code=0
    shift 2
    "$LEGODNN" "$@" > out 2> err || code=$?
    [ "$code" = "$want" ] || { echo "$*: exit $code"; cat out err; exit 1; }
    cat out err | grep -q -- "$pattern" || { echo "$*: no '$pattern' in"; cat out err; exit 1; }
}
number() { # KEY FILE: the first number of that key
    sed -n 's/.*"'"$1"'":[[:space:]]*\([-0-9.e+]*\).*/\1/p' "$2" | head -n 1
}

# without profiles it says what to run
fails 1 'legodnn profile STORE --data' optimize store --latency 1ms
"$LEGODNN" profile store --data cifar10:cifar --held-out 3 -q > /dev/null
fails 1 'legodnn profile STORE --latency' optimize store --latency 1ms
fails 2 'one of --data' profile store
fails 2 'OLD NEW' profile --compare store/profile.json
"$LEGODNN" profile store --latency --threads 1 --samples 3 --held-out 5 --json > latency.json
grep -q '"schema":.*"legodnn.profile/1"' latency.json
grep -q '"cpu"' latency.json
[ -s store/latency.json ]

# no limit: the original; a limit that fits; one that does not
"$LEGODNN" optimize store --json -o original.json
grep -q '"feasible":.*true' original.json
most=$(number latency_ms original.json)
fails 3 'nearest budget that works' optimize store --latency 1us
code=0
"$LEGODNN" optimize store --latency 1us --json > infeasible.json 2> err || code=$?
[ "$code" = 3 ]
grep -q '"status":.*"infeasible"' infeasible.json
nearest=$(sed -n '/"nearest"/,$p' infeasible.json > part && number latency_ms part)
for solver in exact glpk; do
    "$LEGODNN" optimize store --latency "${nearest}ms" --solver $solver --json > $solver.json 2> err || {
        [ $solver = glpk ] && grep -q 'no GLPK' err && continue
        cat err
        exit 1
    }
    grep -q '"status":.*"optimal"' $solver.json
done
"$LEGODNN" optimize store --latency 1us --relax --json > relaxed.json
grep -q '"status":.*"relaxed"' relaxed.json
fails 1 'holds no selection' eval store --data cifar10:cifar --selection infeasible.json
"$LEGODNN" optimize store --latency "${most}ms" --margin 0 -k 3 | grep -c '%' > /dev/null
"$LEGODNN" optimize store --pareto --points 5 --json | grep -q '"legodnn.pareto/1"'
fails 2 'exact solver' optimize store -k 2 --solver glpk
fails 2 'do.* not go' optimize store -k 2 --pareto
fails 2 'memory' optimize store --memory 4parsecs

# run: one budget after the other (measured: this machine may be slower by now); under a memory limit; not at all
"$LEGODNN" run store --latency 2s,1s --seconds 50ms --threads 1 --json > run.json 2> err
grep -q '"legodnn.run/1"' run.json
"$LEGODNN" run store --memory 10MiB --seconds 50ms --threads 1 --adapt > /dev/null 2>&1
fails 3 'nearest' run store --latency 1us --seconds 50ms --threads 1

# the same profile is no worse than itself; a slower one is, and is named
"$LEGODNN" profile --compare store/latency.json store/latency.json
sed 's/"median_us":[[:space:]]*[0-9.e+]*/"median_us": 123456/' store/latency.json > slow.json
fails 1 'b0 s0: latency 1.235e+05 us' profile --compare store/latency.json slow.json --tolerance 5%
fails 1 '"worse":' profile --compare store/latency.json slow.json --json
fails 1 'no section in common' profile --compare store/latency.json store/profile.json
head -c 300 store/latency.json > cut.json
fails 1 'cut.json' profile --compare store/latency.json cut.json
