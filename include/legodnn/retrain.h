/** @file retrain.h  Block-wise distillation: every variant of every block learns to do what the original block does. */
#ifndef LEGODNN_RETRAIN_H
#define LEGODNN_RETRAIN_H

#include "legodnn/data.h"
#include "legodnn/store.h"
#include "legodnn/train.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Where a block's inputs come from while its variants train. The target is what the original model computes. */
typedef enum lego_retrain_inputs {
    LEGO_RETRAIN_COMPOSITION = 0, /**< a composition of the preceding blocks' variants, drawn for every batch */
    LEGO_RETRAIN_ORIGINAL = 1     /**< the original model */
} lego_retrain_inputs;

typedef enum lego_retrain_loss {
    LEGO_RETRAIN_MSE = 0,
    LEGO_RETRAIN_SMOOTH_L1 = 1,
    LEGO_RETRAIN_COSINE = 2 /**< one minus the mean cosine of samples */
} lego_retrain_loss;

/** Which errors of a block's outputs count. */
typedef enum lego_retrain_weighting {
    LEGO_RETRAIN_OUTPUTS = 0, /**< all alike */
    LEGO_RETRAIN_FISHER = 1   /**< those that move a classifier's scores count more, where the rest of the model looks in few
                                   directions: the last blocks, as a rule. Other models: all alike */
} lego_retrain_weighting;

typedef struct lego_retrain_options {
    size_t struct_size;
    int32_t epochs;
    int32_t batch;
    double lr;               /**< Adam's; falls to zero along a cosine */
    double max_norm;         /**< gradients are scaled down to this norm; 0 = never */
    double min_improvement;  /**< relative fall of the held-out loss that counts as progress */
    int32_t patience;        /**< a variant stops after this many epochs without progress; 0 = never early */
    int32_t checkpoint_seconds; /**< time between checkpoints inside an epoch; 0 = after every batch */
    lego_retrain_inputs inputs;
    lego_retrain_loss loss;
    lego_train_precision precision;
    int32_t restart;         /**< non-zero: discard an unfinished retraining */
    const char *device;      /**< "cpu", "cuda", "cuda:N"; NULL = "cpu" */
    lego_retrain_weighting weighting;
    int32_t reserved;
} lego_retrain_options;
#define LEGO_RETRAIN_OPTIONS_INIT                                             \
    { sizeof(lego_retrain_options), 1, 32, 1e-3, 1.0, 1e-3, 2, 30, LEGO_RETRAIN_COMPOSITION, LEGO_RETRAIN_MSE,        \
      LEGO_TRAIN_AUTO, 0, NULL, LEGO_RETRAIN_OUTPUTS, 0 }

typedef enum lego_retrain_outcome {
    LEGO_RETRAIN_IMPROVED = 0,  /**< the store has the new weights */
    LEGO_RETRAIN_UNCHANGED = 1, /**< nothing better was found: the store has what it had */
    LEGO_RETRAIN_NOT_FINITE = 2 /**< the loss or a gradient overflowed: training ended with the best weights before */
} lego_retrain_outcome;

/** What became of one variant. Losses are those of its block on held-out samples, in the same compositions. */
typedef struct lego_retrain_result {
    int32_t block;
    int32_t variant;
    lego_retrain_outcome outcome;
    int32_t reserved;
    int64_t steps;
    double loss_before;
    double loss_after; /**< never larger than loss_before */
} lego_retrain_result;

typedef struct lego_retrain_report lego_retrain_report;

/**
 * Retrain every variant of every block but the originals, all of them in one pass over the data.
 *
 * The variants of a block train side by side, one a thread: the result does not depend on the context's threads as long
 * as they are no more than a block's variants (the original included); further ones go into the layers, where sums may
 * round differently. With LEGO_RETRAIN_FISHER losses are reported as they are weighted.
 *
 * Finished variants replace those of the store one by one, each atomically. Killed at any moment and called again with
 * the same arguments it goes on where it was: `<store>/retrain.checkpoint` holds the state, and goes when it is done.
 *
 * @param out    free with lego_retrain_report_free(); may be NULL
 * @param store  opened for this call alone; its variants change
 * @param train  samples to learn from; labels are not used
 * @param val    held-out samples that judge
 * @return LEGO_ECANCELED if the progress callback asked to stop (the checkpoint is kept), LEGO_EUNSUPPORTED if the
 *         torch module or the device is missing, LEGO_EINVAL if the store holds an unfinished retraining with other
 *         options
 */
LEGO_API lego_status lego_retrain(lego_retrain_report **out, lego_context *context, lego_store *store,
                                  lego_dataset *train, lego_dataset *val, const lego_retrain_options *options);

LEGO_API int32_t lego_retrain_report_count(const lego_retrain_report *report);
/** The index-th variant, by block and then by variant. */
LEGO_API lego_status lego_retrain_report_get(lego_retrain_result *out, const lego_retrain_report *report,
                                             int32_t index);
/** Schema "legodnn.retrain/1"; free with lego_string_free(). */
LEGO_API lego_status lego_retrain_report_to_json(char **out, const lego_retrain_report *report);
LEGO_API void lego_retrain_report_free(lego_retrain_report *report);

#ifdef __cplusplus
}
#endif
#endif
