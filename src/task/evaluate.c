/* Evaluation: a data set through a planned model into a score.
 *
 * Flow: batches (prepared ahead by their own thread) -> lg_plan of one fixed batch size -> task. The last batch is rarely full: the
 * plan's batch is fixed, so it runs with leftovers of the batch before behind the real samples, and only those count. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/context.h"
#include "base/json.h"
#include "engine/engine.h"
#include "task/task.h"

#define MOST_BATCH 64

typedef struct evaluator {
    lego_task task;
    lg_plan *plan; /* NULL: the caller's forward */
    lego_forward_fn forward;
    void *payload;
    int64_t batch;
    int32_t n_outputs;
    int64_t *elements;
    float *input;
    float **outputs;
    void *score;
    double *accuracies; /* of a batch's samples */
    double sum, sum_squares;
} evaluator;

static void evaluator_dispose(evaluator *e)
{
    if (e->score)
        e->task.score_free(e->score);
    if (e->outputs)
        for (int32_t i = 0; i < e->n_outputs; i++)
            lg_free(e->outputs[i]);
    lg_free(e->outputs);
    lg_free(e->input);
    lg_free(e->elements);
    lg_free(e->accuracies);
    lg_plan_free(e->plan);
}

static lego_status evaluator_init(evaluator *e, lego_context *context, const lg_graph *graph,
                                  const lego_dataset *dataset, const lego_evaluate_options *opts)
{
    lg_plan_options plan = LG_PLAN_OPTIONS_INIT;
    size_t sample = (size_t)dataset->shape[0] * (size_t)dataset->shape[1] * (size_t)dataset->shape[2];
    int n_threads = lego_context_threads(context) > 0 ? lego_context_threads(context) : lg_cpu_count();
    lego_status status = LEGO_OK;

    LG_TRY(lg_task_read(&e->task, opts->task));
    e->batch = opts->batch ? opts->batch : lg_batch_for_cache(n_threads, graph, MOST_BATCH);
    e->forward = opts->forward;
    e->payload = opts->payload;
    e->n_outputs = graph->n_outputs;
    LG_TRY(LG_CALLOC(&e->elements, graph->n_outputs));
    LG_TRY(lg_task_check(&e->task, graph, dataset, e->elements));
    if (!(e->input = lg_calloc((size_t)e->batch, sample * sizeof(float))))
        LG_FAIL(LEGO_ENOMEM, "out of memory for %lld samples", (long long)e->batch);
    LG_TRY(LG_CALLOC(&e->outputs, graph->n_outputs));
    for (int32_t i = 0; i < graph->n_outputs; i++)
        if (!(e->outputs[i] = lg_calloc((size_t)e->batch, (size_t)e->elements[i] * sizeof(float))))
            LG_FAIL(LEGO_ENOMEM, "out of memory for outputs of %lld samples", (long long)e->batch);
    LG_TRY(LG_CALLOC(&e->accuracies, e->batch));
    LG_TRY(e->task.score_create(&e->score, &e->task));
    if (!e->forward) {
        plan.engine = opts->engine;
        plan.batch = (int)e->batch;
        LG_TRY(lg_plan_create(&e->plan, context, graph, &plan));
    }
done:
    return status;
}

static lego_status evaluate_batch(evaluator *e, const lego_dataset *dataset, int64_t n, const float *images,
                                  const int64_t *labels)
{
    lego_task_batch batch = { sizeof(batch), n, e->n_outputs, dataset->source.n_classes,
                              (const float *const *)e->outputs, e->elements, labels };
    size_t sample = (size_t)dataset->shape[0] * (size_t)dataset->shape[1] * (size_t)dataset->shape[2];
    const float *inputs[1];
    lego_status status = LEGO_OK;

    memcpy(e->input, images, (size_t)n * sample * sizeof(float));
    inputs[0] = e->input;
    LG_TRY(e->forward ? e->forward(inputs, e->outputs, e->payload) : lg_plan_run(e->plan, inputs, e->outputs));
    LG_TRY(e->task.score_add(e->score, &e->task, &batch));
    if (e->task.sample_accuracy) {
        LG_TRY(e->task.sample_accuracy(e->accuracies, &e->task, &batch));
        for (int64_t i = 0; i < n; i++) {
            e->sum += e->accuracies[i];
            e->sum_squares += e->accuracies[i] * e->accuracies[i];
        }
    }
done:
    return status;
}

lego_status lego_evaluate(lego_evaluation *out, lego_context *context, const lego_model *model, lego_dataset *dataset,
                          const lego_evaluate_options *options)
{
    lego_evaluate_options opts = LEGO_EVALUATE_OPTIONS_INIT;
    lego_evaluation result = { .accuracy = 0.0 };
    evaluator e = { .plan = NULL };
    lego_batches *batches = NULL;
    uint64_t start = lg_clock_ns();
    int64_t n = 0, done_samples = 0;
    const float *images;
    const int64_t *labels;
    lego_status status = LEGO_OK;

    if (!out || !model || !dataset)
        return lg_error(LEGO_EINVAL, "out, model and dataset must not be NULL");
    LG_TRY(lg_options_read(&opts, sizeof(opts), options));
    if (opts.batch < 0)
        LG_FAIL(LEGO_EINVAL, "batch=%d is negative", opts.batch);
    LG_TRY(evaluator_init(&e, context, model->graph, dataset, &opts));
    LG_TRY(lego_batches_create(&batches, dataset, (int32_t)e.batch, 0, 0, 0));
    do {
        LG_TRY(lg_progress(context, "eval", (size_t)done_samples, (size_t)dataset->n));
        LG_TRY(lego_batches_next(batches, &n, &images, &labels));
        if (n > 0)
            LG_TRY(evaluate_batch(&e, dataset, n, images, labels));
        done_samples += n;
    } while (n > 0);

    result.n_metrics = e.task.n_metrics;
    LG_TRY(e.task.score_result(result.metrics, e.score, &e.task));
    result.accuracy = result.metrics[0];
    result.n_samples = done_samples;
    result.split = dataset->split;
    result.task = opts.task ? opts.task : lego_task_classification();
    result.standard_error = NAN;
    if (e.task.sample_accuracy) {
        double mean = e.sum / (double)done_samples;

        result.standard_error = sqrt(fmax(0.0, e.sum_squares / (double)done_samples - mean * mean) /
                                     (double)done_samples);
    }
    result.seconds = lg_clock_ms_since(start) / 1e3;
    *out = result;
done:
    lego_batches_free(batches);
    evaluator_dispose(&e);
    return status;
}

lego_status lego_evaluation_to_json(char **out, const lego_evaluation *evaluation)
{
    lg_json *json = NULL, *metrics = NULL;
    lego_status status = LEGO_OK;

    if (!out || !evaluation || !evaluation->task)
        return lg_error(LEGO_EINVAL, "out and evaluation must not be NULL");
    *out = NULL;
    LG_TRY(lg_json_create_object(&json));
    LG_TRY(lg_json_set_string(json, "schema", "legodnn.eval/1"));
    LG_TRY(lg_json_set_double(json, "accuracy", evaluation->accuracy));
    LG_TRY(lg_json_set_double(json, "standard_error", evaluation->standard_error));
    LG_TRY(lg_json_set_string(json, "metric", evaluation->task->metrics[0]));
    LG_TRY(lg_json_set_string(json, "split", lego_split_name(evaluation->split)));
    LG_TRY(lg_json_set_int(json, "samples", evaluation->n_samples));
    LG_TRY(lg_json_set_object(&metrics, json, "metrics"));
    for (int32_t i = 0; i < evaluation->n_metrics; i++)
        LG_TRY(lg_json_set_double(metrics, evaluation->task->metrics[i], evaluation->metrics[i]));
    LG_TRY(lg_json_set_double(json, "seconds", evaluation->seconds));
    LG_TRY(lg_json_print(out, json, 1));
done:
    lg_json_free(json);
    return status;
}
