# What can be wrong with `legodnn profile` before anything is measured.
set -u
"$LEGODNN" profile 2>&1
echo "exit $?"
"$LEGODNN" profile nowhere --data fashion-mnist 2>&1
echo "exit $?"
"$LEGODNN" profile nowhere --environments 0 --data fashion-mnist 2>&1
echo "exit $?"
