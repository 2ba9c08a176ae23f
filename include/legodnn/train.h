/** @file train.h  Training of a whole model: the teacher. Needs the torch module. */
#ifndef LEGODNN_TRAIN_H
#define LEGODNN_TRAIN_H

#include "legodnn/data.h"
#include "legodnn/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum lego_schedule {
    LEGO_SCHEDULE_COSINE = 0,  /**< from lr to zero */
    LEGO_SCHEDULE_STEP = 1,    /**< times lr_factor at each milestone */
    LEGO_SCHEDULE_CONSTANT = 2
} lego_schedule;

/** How activations are held while training; weights are float32 always. */
typedef enum lego_train_precision {
    LEGO_TRAIN_AUTO = 0, /**< the fastest of float32 and bfloat16, NCHW and NHWC, by timing a few steps */
    LEGO_TRAIN_F32 = 1,  /**< float32, NCHW: the same numbers on every run of one machine */
    LEGO_TRAIN_BF16 = 2  /**< bfloat16 wherever the processor computes it, layout by timing */
} lego_train_precision;

/** What an epoch came to. */
typedef struct lego_train_epoch {
    int32_t epoch;   /**< 1 is the first */
    int32_t n_epochs;
    double train_loss;
    double train_accuracy; /**< fraction, on augmented samples while weights changed */
    double val_loss;       /**< NaN without validation data */
    double val_accuracy;   /**< NaN without validation data */
    double lr;             /**< of the last step */
    double seconds;
} lego_train_epoch;

typedef void (*lego_train_epoch_fn)(const lego_train_epoch *epoch, void *payload);

/** Options of lego_train(): SGD with momentum on the cross entropy. */
typedef struct lego_train_options {
    size_t struct_size;
    int32_t epochs;
    int32_t batch;
    double lr;
    double momentum;
    double weight_decay;     /**< on weights of convolutions and linear layers */
    double label_smoothing;  /**< in [0, 1) */
    double warmup_epochs;    /**< the rate rises linearly from zero at first */
    double lr_factor;        /**< LEGO_SCHEDULE_STEP */
    lego_schedule schedule;
    int32_t n_milestones;
    const int32_t *milestones; /**< epochs done when the step schedule acts; borrowed */
    int32_t decay_all;       /**< non-zero: also decay biases and batch norm's parameters */
    int32_t nesterov;
    lego_train_precision precision;
    int32_t restart;         /**< non-zero: ignore a checkpoint that is there */
    const char *device;      /**< "cpu", "cuda", "cuda:N"; NULL = "cpu" */
    const char *checkpoint;  /**< file written after every epoch and gone on from if it exists; NULL = none */
    lego_train_epoch_fn on_epoch; /**< called after every epoch; may be NULL */
    void *payload;           /**< of on_epoch */
} lego_train_options;
#define LEGO_TRAIN_OPTIONS_INIT                                               \
    { sizeof(lego_train_options), 10, 128, 0.1, 0.9, 5e-4, 0.0, 0.0, 0.1, LEGO_SCHEDULE_COSINE, 0, NULL, 0, 0,         \
      LEGO_TRAIN_AUTO, 0, NULL, NULL, NULL, NULL }

/**
 * Train a classifier in place.
 *
 * Killed at any moment and called again with the same arguments it goes on after the last finished epoch, if `checkpoint`
 * names a file; that file stays when training is complete: remove it once the model is saved.
 *
 * @param out    the last epoch's results; may be NULL
 * @param model  one input (N,C,H,W), one output (N,K); its weights change on success only
 * @param train  samples of the model's input shape
 * @param val    evaluated after every epoch; may be NULL
 * @return LEGO_ECANCELED if the progress callback asked to stop (the checkpoint is kept), LEGO_EUNSUPPORTED if the
 *         torch module or the device is missing, LEGO_EINVAL if a checkpoint is of another training, LEGO_EBACKEND if
 *         the loss is not finite
 */
LEGO_API lego_status lego_train(lego_train_epoch *out, lego_context *context, lego_model *model, lego_dataset *train,
                                lego_dataset *val, const lego_train_options *options);

#ifdef __cplusplus
}
#endif
#endif
