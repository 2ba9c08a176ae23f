# A result that cannot be written is an error, not silence.
[ -e /dev/full ] || { echo "no /dev/full" >&2; exit 77; }
code=0
"$LEGODNN" help > /dev/full || code=$?
[ "$code" = 1 ] || { echo "stdout: exit $code"; exit 1; }
"$LEGODNN" help -o /dev/full
