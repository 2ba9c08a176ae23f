#!/bin/sh
# linkage.sh LIBRARY COMMAND ONLINE: what the built files export and need. No symbol but lego_* is visible; libtorch is
# never linked, and an online-only build (ONLINE = 1) needs no BLAS and no image library either.
set -eu
library=$1
command=$2
online=$3
failed=0
complain() { echo "linkage: $*" >&2; failed=1; }

exported=$(nm -D --defined-only "$library" | awk '{ print $3 }' | grep -v '^lego_' || true)
[ -z "$exported" ] || complain "$library exports $exported"
banned='torch|c10|libprotobuf(-lite)?\.' # protobuf-c, without C++, is fine offline
[ "$online" = 0 ] || banned="$banned|blas|lapack|jpeg|png|libz\\.|libzip|protobuf"
for file in "$library" "$command"; do
    [ -e "$file" ] || continue
    needed=$(readelf -d "$file" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p')
    for name in $needed; do
        if echo "$name" | grep -Eq "$banned"; then complain "$file needs $name"; fi
    done
done
exit $failed
