#!/bin/sh
# run.sh CASE.sh WORK: run one case in the fresh folder WORK and compare what it did with the files beside it:
#   CASE.stdout.exact   standard output, byte for byte
#   CASE.stdout.glob    standard output matches this shell pattern as a whole (* crosses lines)
#   CASE.stderr.glob    the same for standard error
#   CASE.exit           exit code; 0 without the file
# A case finds the command in $LEGODNN and the sources in $LEGODNN_SOURCE, and exits with 77 to be skipped.
set -eu
case=$(cd "$(dirname "$1")" && pwd)/$(basename "$1" .sh)
work=$2
rm -rf "$work"
mkdir -p "$work"
cd "$work"

code=0
sh "$case.sh" > "$work/.stdout" 2> "$work/.stderr" < /dev/null || code=$?
[ "$code" != 77 ] || { cat "$work/.stderr"; exit 77; }

failed=0
complain() {
    failed=1
    echo "$(basename "$case"): $1"
    for stream in stdout stderr; do
        echo "--- $stream"
        cat "$work/.$stream"
    done
}
# matches TEXT-FILE PATTERN-FILE
matches() {
    text=$(cat "$1")
    pattern=$(cat "$2")
    # shellcheck disable=SC2254 # a pattern is what it is
    case $text in
    $pattern) return 0 ;;
    esac
    return 1
}

want=0
[ ! -e "$case.exit" ] || want=$(cat "$case.exit")
[ "$code" = "$want" ] || complain "exit code $code, expected $want"
if [ -e "$case.stdout.exact" ] && ! diff -u "$case.stdout.exact" "$work/.stdout"; then
    complain "standard output differs"
fi
for stream in stdout stderr; do
    if [ -e "$case.$stream.glob" ] && ! matches "$work/.$stream" "$case.$stream.glob"; then
        echo "--- expected"
        cat "$case.$stream.glob"
        complain "$stream does not match"
    fi
done
exit $failed
