/* The report that `extract` makes, for people: `extract -v`, `extract --explain`, `info STORE -v`. */
#ifndef LEGODNN_CLI_BLOCKS_REPORT_H
#define LEGODNN_CLI_BLOCKS_REPORT_H

#include "cli.h"
#include "json.h"

/* `coverage` and `blocks` of a "legodnn.blocks/1" document, or "info.coverage" and "blocks" of a "legodnn.store/1" one. */
lego_status cli_print_blocks_report(cli_call *cli, const cli_json *coverage, const cli_json *blocks);
/* Only its first lines: how much of the model is in blocks. */
void cli_print_coverage(cli_call *cli, const cli_json *coverage);

#endif
