# Every command explains itself: --help and 'help COMMAND' agree, exit 0, and name purpose, usage and exit codes.
"$LEGODNN" --help | sed -n 's/^  \([a-z]\{2,\}\( [a-z]\{2,\}\)\{0,1\}\)  .*/\1/p' > commands
[ -s commands ] || { echo "no commands listed"; exit 1; }
while read -r words; do
    # shellcheck disable=SC2086 # a command may have two words
    "$LEGODNN" $words --help > one || { echo "$words --help failed"; exit 1; }
    # shellcheck disable=SC2086
    "$LEGODNN" help $words > two || { echo "help $words failed"; exit 1; }
    cmp one two || exit 1
    for part in "legodnn $words: " '^usage:' '^  legodnn '"$words" '^common options:' '^examples:' '^exit codes:'; do
        grep -q -- "$part" one || { echo "the help of $words lacks '$part'"; exit 1; }
    done
done < commands
