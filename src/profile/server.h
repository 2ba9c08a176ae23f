/* The server profile's measurements on their way to the document. */
#ifndef LG_PROFILE_SERVER_H
#define LG_PROFILE_SERVER_H

#include "profile/design.h"
#include "profile/predictors.h"
#include "profile/tree.h"

/* What follows from the tree's results, by cell. */
typedef struct lg_server_cells {
    double *drop, *drop_error;  /* mean over the environments, and its standard error (NaN: unknown) */
    double *log_odds;
    double *divergence;         /* NULL if the task has none */
    double *block_error;
} lg_server_cells;

typedef struct lg_server_profile {
    lego_store *store;
    const lego_dataset *dataset;
    const lego_task *task;
    lg_design design;
    lg_tree tree;
    lg_server_cells cells;
    double *noise;              /* by random composition: standard error of its measured drop (NaN: unknown) */
    lg_predictor predictors[LG_MAX_PREDICTORS];
    int32_t n_predictors;
    uint64_t seed;
    double seconds;
} lg_server_profile;

static inline double lg_tree_accuracy(const lg_tree *tree, int32_t composition)
{
    return tree->metrics[composition * tree->n_metrics];
}

/* The whole document, schema "legodnn.profile/1" (server_json.c); free with lg_json_free(). */
lego_status lg_server_to_json(lg_json **out, const lg_server_profile *profile);

#endif
