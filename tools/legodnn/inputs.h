/* What most commands start from: a MODEL or a STORE with a selection, and DATA. */
#ifndef LEGODNN_CLI_INPUTS_H
#define LEGODNN_CLI_INPUTS_H

#include "cli.h"

/* A model file, or the composition of a store's selection (NULL: all originals). Free with lego_model_free(). */
lego_status cli_load_model(lego_model **out, cli_call *cli, const char *path, const char *selection);

/* Which input of the model "NAME=FILE" or the i-th "FILE" is for, and the file. What stands before an '=' and is no
 * input's name belongs to the file's name. */
int64_t cli_find_input(const char **path, const lego_model *model, const char *text, int64_t i);

/* A limit as CLI_LATENCY reads it: a share of the original's latency becomes microseconds. */
lego_status cli_resolve_latency(double *limit_us, cli_call *cli, const lego_optimizer *optimizer, const lego_store *store);

#ifndef LEGODNN_ONLINE_ONLY
/* NAME[:FOLDER], a split of it, in the size that `model` takes. Free with lego_dataset_free(). */
lego_status cli_open_data(lego_dataset **out, cli_call *cli, const lego_model *model, const char *spec,
                          lego_split split, int augment, int64_t limit);
#endif

/* The choices of --split, in the order of lego_split. */
extern const char *const cli_splits[];

#endif
