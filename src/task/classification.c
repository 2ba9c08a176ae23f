/* Classification: one output of logits, top-1 and top-5, Kullback-Leibler divergence.
 *
 * Flow: model outputs and labels -> evaluate.c's accuracy, the profile's accuracy drops and divergences. Logits of broken models
 * may be NaN: a NaN counts as better than everything, so that it can only make a sample wrong. Equal logits: the lower
 * class wins, as in argmax. */
#include <math.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/status.h"
#include "legodnn/task.h"

#define TOP 5

typedef struct counts {
    int64_t n, top1, top5;
} counts;

static lego_status check(const lego_task *task, int32_t n_outputs, const int64_t *elements, int32_t n_classes,
                         char *why)
{
    if (n_outputs == 1 && elements[0] >= n_classes)
        return LEGO_OK;
    if (n_outputs != 1)
        (void)snprintf(why, 256, "classification needs one output, the model has %d", n_outputs);
    else
        (void)snprintf(why, 256, "the model tells %lld classes apart, the data set has %d", (long long)elements[0],
                       n_classes);
    return LEGO_EINVAL;
}

/* How many classes are ranked before the label. */
static int64_t rank_of(const float *logits, int64_t n_classes, int64_t label)
{
    float own = logits[label];
    int64_t rank = 0;

    if (isnan(own))
        return n_classes;
    for (int64_t k = 0; k < n_classes; k++)
        if (!(logits[k] <= own) || (logits[k] == own && k < label))
            rank++;
    return rank;
}

static lego_status score_create(void **score, const lego_task *task)
{
    return lg_calloc_into(score, 1, sizeof(counts));
}

static lego_status score_add(void *score, const lego_task *task, const lego_task_batch *batch)
{
    counts *sum = score;
    int64_t n_classes = batch->elements[0];

    for (int64_t i = 0; i < batch->n; i++) {
        int64_t rank = rank_of(batch->outputs[0] + i * n_classes, n_classes, batch->labels[i]);

        sum->top1 += rank == 0;
        sum->top5 += rank < TOP;
    }
    sum->n += batch->n;
    return LEGO_OK;
}

static lego_status score_result(double *metrics, const void *score, const lego_task *task)
{
    const counts *sum = score;

    metrics[0] = sum->n ? (double)sum->top1 / (double)sum->n : 0.0;
    metrics[1] = sum->n ? (double)sum->top5 / (double)sum->n : 0.0;
    return LEGO_OK;
}

static lego_status sample_accuracy(double *out, const lego_task *task, const lego_task_batch *batch)
{
    int64_t n_classes = batch->elements[0];

    for (int64_t i = 0; i < batch->n; i++)
        out[i] = rank_of(batch->outputs[0] + i * n_classes, n_classes, batch->labels[i]) == 0;
    return LEGO_OK;
}

/* log of the sum of exponentials, without overflow. */
static double log_sum(const float *logits, int64_t n_classes)
{
    double most = logits[0], sum = 0.0;

    for (int64_t k = 1; k < n_classes; k++)
        most = fmax(most, logits[k]);
    for (int64_t k = 0; k < n_classes; k++)
        sum += exp((double)logits[k] - most);
    return most + log(sum);
}

/* KL(original || changed) of the softmaxes, in nats. */
static lego_status divergence(double *out, const lego_task *task, const lego_task_batch *batch,
                              const float *const *original)
{
    int64_t n_classes = batch->elements[0];

    for (int64_t i = 0; i < batch->n; i++) {
        const float *p = original[0] + i * n_classes, *q = batch->outputs[0] + i * n_classes;
        double log_p = log_sum(p, n_classes), log_q = log_sum(q, n_classes), sum = 0.0;

        for (int64_t k = 0; k < n_classes; k++)
            sum += exp((double)p[k] - log_p) * (((double)p[k] - log_p) - ((double)q[k] - log_q));
        out[i] = sum > 0.0 ? sum : isnan(sum) ? INFINITY : 0.0;
    }
    return LEGO_OK;
}

static const lego_task classification = {
    .struct_size = sizeof(lego_task),
    .name = "classification",
    .loss = "cross-entropy",
    .n_metrics = 2,
    .metrics = { "top1", "top5" },
    .check = check,
    .score_create = score_create,
    .score_add = score_add,
    .score_result = score_result,
    .score_free = lg_free,
    .sample_accuracy = sample_accuracy,
    .divergence = divergence,
};

const lego_task *lego_task_classification(void)
{
    return &classification;
}
