# An online-only build says which half a command belongs to, and helps with the rest.
for command in zoo train extract retrain; do
    code=0
    "$LEGODNN" $command 2>> err || code=$?
    [ "$code" = 1 ] || { echo "$command: exit $code"; exit 1; }
done
cat err
