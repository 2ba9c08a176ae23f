/* Progress on a terminal, and Ctrl-C. */
#ifndef LEGODNN_CLI_PROGRESS_H
#define LEGODNN_CLI_PROGRESS_H

#include "cli.h"

/* `visible`: draw on stderr (a terminal, not -q). NULL when out of memory. */
cli_progress *cli_progress_create(int visible);
void cli_progress_free(cli_progress *progress);
/* The library's callbacks; the payload is the cli_progress. */
int cli_progress_report(const char *stage, size_t done, size_t total, void *payload);
/* Take the bar off the line, so that other text can be written to stderr. */
void cli_progress_clear(cli_progress *progress);

/* From now on SIGINT and SIGTERM only set a flag; the second one kills. */
void cli_catch_interrupts(void);

#endif
