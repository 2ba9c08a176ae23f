/* The frame's side of output: where the result goes. */
#ifndef LEGODNN_CLI_OUTPUT_H
#define LEGODNN_CLI_OUTPUT_H

#include "cli.h"

/* Where a result is written: standard output, a device or pipe, or a temporary file beside `path` that
 * cli_sink_close() renames. */
typedef struct cli_sink {
    FILE *file;
    char *temporary; /* NULL: nothing to rename */
    const char *path;
} cli_sink;

/* `path` NULL or "-" is standard output. Returns 0, or -1 with errno. */
int cli_sink_open(cli_sink *sink, const char *path);
/* Flush, and put the file in its place if `keep`, else remove it. Returns 0, or -1 with errno. */
int cli_sink_close(cli_sink *sink, int keep);

int cli_want_color(int choice, FILE *stream);

#endif
