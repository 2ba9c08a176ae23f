# docs/cli.md is what the program says: legodnn help --markdown -o docs/cli.md
"$LEGODNN" help --markdown | diff -u "$LEGODNN_SOURCE/docs/cli.md" -
