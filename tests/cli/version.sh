exec "$LEGODNN" --version
