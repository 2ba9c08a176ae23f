# docs/cli.md says what --help says
sh "$LEGODNN_SOURCE/tools/cli-docs.sh" "$LEGODNN" > cli.md
diff -u "$LEGODNN_SOURCE/docs/cli.md" cli.md
