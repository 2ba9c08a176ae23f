/* Evaluating many compositions of one store on the same images, sharing what they have in common. */
#ifndef LG_PROFILE_TREE_H
#define LG_PROFILE_TREE_H

#include "store/store.h"
#include "task/task.h"

typedef struct lg_tree_options {
    lego_engine engine;
    int32_t batch;       /* > 0: images kept at a time (rounded up to a power of two), fewer if memory is short */
    int64_t memory_bytes; /* > 0: for activations */
} lg_tree_options;

typedef struct lg_tree {
    int32_t n;                /* compositions */
    int64_t n_samples;
    int32_t n_metrics;
    double *metrics;          /* n * n_metrics */
    double *divergence;       /* n: mean distance of the outputs from the original's; NULL if the task has none */
    double *block_error;      /* n: where one block alone differs from the original, the squared error of that block's
                               * outputs relative to their squares; NaN elsewhere */
    float *samples;           /* n * n_samples accuracies of single samples; NULL if the task has none */
    double flops_share;       /* FLOPs done, relative to running every composition from the input */
    char engine[64];
} lg_tree;

/* selections: n * n_blocks variant indices, the first one all originals. Progress stage: "profile". Dispose of `out`
 * with lg_tree_dispose(); it is empty after a failure. */
lego_status lg_tree_evaluate(lg_tree *out, lego_context *context, lego_store *store, lego_dataset *dataset,
                             const lego_task *task, int32_t n, const int32_t *selections,
                             const lg_tree_options *options);
void lg_tree_dispose(lg_tree *tree);

#endif
