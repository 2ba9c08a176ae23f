# Every mistake on the command line: exit 2, nothing on stdout, a message that names the word.
try() {
    code=0
    "$LEGODNN" "$@" 2> err || code=$?
    echo "$code: $(head -n 1 err)"
}
try
try hlp
try frobnicate
try -q help
try help --markdwn
try help --frobnicate
try help -z
try help --seed
try help --seed=x
try help --seed 12abc
try help --threads -1
try help --color=maybe
try help --markdown=yes
try help one two three
try help -- --markdown
