#!/bin/sh
# Print docs/cli.md: what --help says of every command. tests/cli/offline_docs.sh checks that the file is up to date:
#
#     tools/cli-docs.sh build-release/bin/legodnn > docs/cli.md
set -eu
legodnn=${1:-legodnn}

# shellcheck disable=SC2016 # no expansion wanted
printf '# The command line\n\nWritten by `tools/cli-docs.sh` from what `legodnn help` says.\n'
"$legodnn" --help | sed -n 's/^  \([a-z][a-z ]*[a-z]\)   *.*/\1/p' | while read -r command; do
    # shellcheck disable=SC2086,SC2016 # "zoo new" is two words; no expansion in the format
    printf '\n## %s\n\n```\n%s\n```\n' "$command" "$("$legodnn" help $command)"
done
