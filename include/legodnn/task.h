/** @file task.h  Tasks: what outputs are worth. Evaluation of models and compositions. */
#ifndef LEGODNN_TASK_H
#define LEGODNN_TASK_H

#include "legodnn/data.h"
#include "legodnn/session.h"
#include "legodnn/store.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Most numbers that a task's score has. */
#define LEGO_TASK_MAX_METRICS 8

/** Outputs of a model for some samples, beside what the data set says about them. All borrowed. */
typedef struct lego_task_batch {
    size_t struct_size;
    int64_t n;                   /**< samples */
    int32_t n_outputs;           /**< of the model */
    int32_t n_classes;           /**< of the data set */
    const float *const *outputs; /**< one pointer an output: n * elements[i] floats, row-major */
    const int64_t *elements;     /**< floats a sample of each output */
    const int64_t *labels;       /**< n classes */
} lego_task_batch;

/**
 * A task: a table of functions. Fill one in for a task of your own; the library's are lego_task_classification() and
 * those that lego_task_find() names. Everything else that the original's AbstractModelManager asks for (forward, size,
 * FLOPs, latency) the library does itself. Functions must not keep pointers into the batch.
 */
typedef struct lego_task lego_task;
struct lego_task {
    size_t struct_size;
    const char *name;    /**< "classification" */
    const char *loss;    /**< training loss, "cross-entropy" */
    int32_t n_metrics;   /**< at least 1 */
    int32_t reserved;
    /** Names of the numbers that score_result() gives; the first is the accuracy: a fraction, more is better. */
    const char *metrics[LEGO_TASK_MAX_METRICS];
    /** Whether outputs of these sizes suit the task; the message is in `why` (256 bytes). */
    lego_status (*check)(const lego_task *task, int32_t n_outputs, const int64_t *elements, int32_t n_classes,
                         char *why);
    /** A score: sums over batches. */
    lego_status (*score_create)(void **score, const lego_task *task);
    lego_status (*score_add)(void *score, const lego_task *task, const lego_task_batch *batch);
    lego_status (*score_result)(double *metrics, const void *score, const lego_task *task);
    void (*score_free)(void *score);
    /**
     * The samples' own accuracies, whose mean is the first metric: gives the noise of a measurement. NULL where the
     * metric is no mean over samples (mIoU, mAP).
     */
    lego_status (*sample_accuracy)(double *out, const lego_task *task, const lego_task_batch *batch);
    /**
     * How far each sample's outputs are from those of the original model, `original` (same sizes): 0 if they are equal,
     * never negative, about additive for small changes; classification: the Kullback-Leibler divergence.
     */
    lego_status (*divergence)(double *out, const lego_task *task, const lego_task_batch *batch,
                              const float *const *original);
    void *payload;       /**< yours */
};
#define LEGO_TASK_INIT                                                        \
    { sizeof(lego_task), NULL, NULL, 0, 0, { NULL }, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL }

/** One output of logits (N,K), classes 0..K-1: top-1 and top-5 accuracy. */
LEGO_API const lego_task *lego_task_classification(void);
/** A task of the library by name; NULL if there is none. */
LEGO_API const lego_task *lego_task_find(const char *name);
/** The index-th name, NULL past the end. */
LEGO_API const char *lego_task_name(size_t index);

/** Runs `batch` samples: one pointer a graph input and output. */
typedef lego_status (*lego_forward_fn)(const float *const *inputs, float *const *outputs, void *payload);

typedef struct lego_evaluate_options {
    size_t struct_size;
    const lego_task *task;   /**< NULL: classification; borrowed */
    lego_engine engine;
    int32_t batch;           /**< samples a run; 0 = as the caches like it, at most 64 */
    lego_forward_fn forward; /**< runs the model instead of an engine of the library, with exactly `batch` samples: set both */
    void *payload;           /**< of forward */
} lego_evaluate_options;
#define LEGO_EVALUATE_OPTIONS_INIT { sizeof(lego_evaluate_options), NULL, LEGO_ENGINE_AUTO, 0, NULL, NULL }

typedef struct lego_evaluation {
    double accuracy;       /**< the task's first metric, a fraction */
    double standard_error; /**< of the accuracy, from the samples; NaN where the metric is no mean */
    int64_t n_samples;
    double seconds;        /**< data included */
    lego_split split;
    int32_t n_metrics;
    double metrics[LEGO_TASK_MAX_METRICS];
    const lego_task *task; /**< as used: has the metrics' names */
} lego_evaluation;

/**
 * Run every sample of a data set and score the outputs. Progress stage: "eval".
 * @param model    one input of the data set's sample shape; a composition comes from lego_store_compose()
 * @param options  NULL: all defaults
 * @return LEGO_EINVAL if model, data set and task do not fit together; the message says where
 */
LEGO_API lego_status lego_evaluate(lego_evaluation *out, lego_context *context, const lego_model *model,
                                   lego_dataset *dataset, const lego_evaluate_options *options);

/** As JSON, schema "legodnn.eval/1"; free with lego_string_free(). */
LEGO_API lego_status lego_evaluation_to_json(char **out, const lego_evaluation *evaluation);

#ifdef __cplusplus
}
#endif
#endif
