/* The online half in one program: open a store, infer, set a budget, infer again, and switch while another thread goes
 * on inferring. Nothing here needs libtorch.
 *
 *     switch STORE      with profile.json and latency.json in it: legodnn profile STORE --data ..., --latency
 */
#include <legodnn/legodnn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* One image and room for the model's outputs. */
typedef struct sample {
    float *input, *output;
} sample;

static int64_t elements(int n_dims, const int64_t *dims)
{
    int64_t n = 1;
    for (int i = 0; i < n_dims; i++)
        n *= dims[i];
    return n;
}

/* Buffers of the model's size: ask the composition of all originals for its shapes. */
static lego_status make_sample(sample *out, lego_context *context, const char *path)
{
    int64_t dims[LEGO_MAX_DIMS];
    int n_dims = 0;
    lego_store *store = NULL;
    lego_selection *originals = NULL;
    lego_model *model = NULL;
    lego_status status;

    if ((status = lego_store_open(&store, context, path)) != LEGO_OK ||
        (status = lego_selection_parse(&originals, store, "")) != LEGO_OK ||
        (status = lego_store_compose(&model, store, originals)) != LEGO_OK ||
        (status = lego_model_input_shape(model, 0, &n_dims, dims)) != LEGO_OK)
        goto done;
    out->input = calloc((size_t)elements(n_dims, dims), sizeof(float));
    if ((status = lego_model_output_shape(model, 0, &n_dims, dims)) != LEGO_OK)
        goto done;
    out->output = calloc((size_t)elements(n_dims, dims), sizeof(float));
    if (!out->input || !out->output)
        status = LEGO_ENOMEM;
done:
    lego_model_free(model);
    lego_selection_free(originals);
    lego_store_free(store);
    return status;
}

static lego_status infer_often(lego_runtime *runtime, sample *at, int n)
{
    const float *inputs[1] = { at->input };
    float *outputs[1] = { at->output };
    lego_status status = LEGO_OK;

    for (int i = 0; i < n && status == LEGO_OK; i++)
        status = lego_runtime_infer(runtime, inputs, outputs);
    return status;
}

static void report(const char *what, lego_runtime *runtime)
{
    lego_runtime_stats stats;
    lego_selection *selection = NULL;
    char *text = NULL;

    if (lego_runtime_get_stats(&stats, runtime) == LEGO_OK &&
        lego_runtime_selection(&selection, runtime) == LEGO_OK &&
        lego_selection_format(&text, selection, lego_runtime_store(runtime)) == LEGO_OK)
        printf("%-28s %7.3f ms  %s\n", what, stats.latency_ms, *text ? text : "all originals");
    lego_string_free(text);
    lego_selection_free(selection);
}

/* The host's own work: a thread that never stops inferring. */
typedef struct worker {
    lego_runtime *runtime;
    sample at;
    atomic_int stop;
    lego_status status;
} worker;

static void *work(void *argument)
{
    worker *self = argument;

    while (!atomic_load(&self->stop) && self->status == LEGO_OK)
        self->status = infer_often(self->runtime, &self->at, 1);
    return NULL;
}

static lego_status switch_while_inferring(lego_runtime *runtime, sample at, const char *selection_text)
{
    worker self = { runtime, at, 0, LEGO_OK };
    lego_selection *selection = NULL;
    pthread_t thread;
    lego_status status;

    if ((status = lego_selection_parse(&selection, lego_runtime_store(runtime), selection_text)) != LEGO_OK)
        return status;
    if (pthread_create(&thread, NULL, work, &self) != 0) {
        lego_selection_free(selection);
        return LEGO_ENOMEM;
    }
    status = lego_runtime_switch(runtime, selection); /* inferences go on meanwhile */
    atomic_store(&self.stop, 1);
    (void)pthread_join(thread, NULL);
    lego_selection_free(selection);
    return status == LEGO_OK ? self.status : status;
}

static lego_status run(lego_context *context, const char *path)
{
    lego_runtime_options options = LEGO_RUNTIME_OPTIONS_INIT;
    lego_budget budget = LEGO_BUDGET_INIT;
    lego_runtime_stats stats;
    lego_runtime *runtime = NULL;
    sample at = { NULL, NULL };
    lego_status status;

    if ((status = make_sample(&at, context, path)) != LEGO_OK ||
        (status = lego_runtime_open(&runtime, context, path, &options)) != LEGO_OK ||
        (status = infer_often(runtime, &at, 50)) != LEGO_OK || (status = lego_runtime_get_stats(&stats, runtime)) != LEGO_OK)
        goto done;
    report("the original", runtime);

    budget.latency_ms = 0.7 * stats.predicted_ms;
    status = lego_runtime_set_budget(runtime, &budget);
    if (status == LEGO_EINFEASIBLE) { /* an answer: nothing changed, the message names the nearest budget */
        printf("70 %% of its time: %s\n", lego_last_error());
    } else if (status != LEGO_OK) {
        goto done;
    }
    if ((status = infer_often(runtime, &at, 50)) != LEGO_OK)
        goto done;
    report("within 70 % of its time", runtime);

    if ((status = switch_while_inferring(runtime, at, "b0=s0")) != LEGO_OK ||
        (status = infer_often(runtime, &at, 50)) != LEGO_OK || (status = lego_runtime_get_stats(&stats, runtime)) != LEGO_OK)
        goto done;
    report("switched back while inferring", runtime);
    printf("%llu inferences, %llu switches; the last took %.2f ms to prepare, %.1f us to flip\n",
           (unsigned long long)stats.n_inferences, (unsigned long long)stats.n_switches, stats.prepare_ms, stats.flip_us);
done:
    lego_runtime_free(runtime);
    free(at.input);
    free(at.output);
    return status;
}

int main(int argc, char **argv)
{
    lego_context *context = NULL;
    lego_status status;

    if (argc != 2) {
        fprintf(stderr, "usage: switch STORE\n");
        return 2;
    }
    status = lego_context_create(&context);
    if (status == LEGO_OK)
        status = lego_context_set_threads(context, 1);
    if (status == LEGO_OK)
        status = run(context, argv[1]);
    if (status != LEGO_OK)
        fprintf(stderr, "switch: %s: %s\n", lego_status_text(status), lego_last_error());
    lego_context_free(context);
    return status == LEGO_OK ? 0 : 1;
}
