# -o writes the same bytes as standard output, through a temporary name; a failure leaves the previous file.
"$LEGODNN" help > want
"$LEGODNN" help -o got
cmp want got || exit 1
"$LEGODNN" help --output=- | cmp - want || exit 1
code=0
"$LEGODNN" help nonsense -o got 2> /dev/null || code=$?
[ "$code" = 2 ] || exit 1
cmp want got || exit 1
code=0
"$LEGODNN" help -o missing-folder/file 2> err || code=$?
cat err
[ "$(find . -name '*.tmp-*')" = "" ] || exit 1
exit $code
