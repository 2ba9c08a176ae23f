/* `legodnn run`: keep a store inferring while its size follows budgets, and show what happens.
 *
 * Caller threads infer without a pause; the command's own thread sets one budget after the other and, for each, prints
 * what the runtime chose, what it predicted and what the callers measured. */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "inputs.h"

enum { MAX_CALLERS = 64, MAX_LATENCIES = 1 << 18 };

struct run_args {
    cli_doubles latency;
    int64_t memory, callers, limit;
    double seconds_us;
    int adapt;
    const char *data, *selection;
    cli_strings input;
};

static const cli_option options[] = {
    CLI_LATENCIES(struct run_args, latency, "latency", "T[,T...]", NULL,
                  "an inference takes at most this, e.g. 4.5ms, or 60% of the original's time; several limits are set "
                  "one after the other"),
    CLI_SIZE(struct run_args, memory, "memory", "SIZE", NULL, "weights and activations take at most this, e.g. 4.5MiB"),
    CLI_STRING(struct run_args, selection, "selection", "SEL", NULL, "what to start with (default: all originals)"),
    CLI_DURATION(struct run_args, seconds_us, "seconds", "T", "3s", "how long each budget lasts"),
    CLI_FLAG(struct run_args, adapt, "adapt", "re-solve while running, with the latencies as measured"),
    CLI_INT(struct run_args, callers, "callers", "N", 1, MAX_CALLERS, "1", "threads that infer at the same time"),
#ifndef LEGODNN_ONLINE_ONLY
    CLI_STRING(struct run_args, data, "data", "DATA", NULL, "test images to infer, with accuracy: NAME[:FOLDER]"),
    CLI_INT(struct run_args, limit, "limit", "N", 1, 1000000, "1000", "images of DATA, taken in turn"),
#endif
    CLI_STRINGS(struct run_args, input, "input", "[NAME=]FILE.npy",
                "one sample to infer again and again. Of several inputs: once for each, in the model's order or by name"),
    CLI_END
};

/* What callers infer and what they saw since the last reset. */
typedef struct crowd {
    cli_call *cli;
    lego_runtime *runtime;
    const float *samples; /* n_samples x sample_elements: the inputs one after the other */
    const int64_t *labels; /* NULL: no accuracy */
    int64_t n_samples, sample_elements, output_elements;
    int64_t n_inputs, n_outputs;
    int64_t *starts; /* of each input in a sample, then of each output in the output */
    pthread_mutex_t lock;
    int stop;
    lego_status status; /* of the first inference that failed */
    char message[512];
    int64_t next;
    float *latencies_us; /* the first MAX_LATENCIES of the phase */
    int64_t n, n_correct;
} crowd;

static double now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static int best_class(const float *scores, int64_t n)
{
    int64_t best = 0;

    for (int64_t i = 1; i < n; i++)
        if (scores[i] > scores[best])
            best = i;
    return (int)best;
}

static void *infer_until_stopped(void *argument)
{
    crowd *c = argument;
    float *output = malloc(sizeof(*output) * (size_t)c->output_elements);
    float **outputs = calloc((size_t)c->n_outputs, sizeof(*outputs));
    const float **inputs = calloc((size_t)c->n_inputs, sizeof(*inputs));
    int go_on = output && outputs && inputs;

    for (int64_t i = 0; go_on && i < c->n_outputs; i++)
        outputs[i] = output + c->starts[c->n_inputs + i];
    while (go_on) {
        int64_t index;
        double start, took;
        lego_status status;

        pthread_mutex_lock(&c->lock);
        index = c->next++ % c->n_samples;
        pthread_mutex_unlock(&c->lock);
        for (int64_t i = 0; i < c->n_inputs; i++)
            inputs[i] = c->samples + index * c->sample_elements + c->starts[i];
        start = now_us();
        status = lego_runtime_infer(c->runtime, inputs, outputs);
        took = now_us() - start;
        pthread_mutex_lock(&c->lock);
        if (status != LEGO_OK && c->status == LEGO_OK) {
            c->status = status;
            (void)snprintf(c->message, sizeof(c->message), "%s", lego_last_error());
        }
        if (c->n < MAX_LATENCIES)
            c->latencies_us[c->n] = (float)took;
        c->n++;
        if (c->labels)
            c->n_correct += best_class(output, c->output_elements) == c->labels[index];
        go_on = !c->stop && c->status == LEGO_OK;
        pthread_mutex_unlock(&c->lock);
    }
    free(output);
    free(outputs);
    free(inputs);
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

/* One budget's result. */
typedef struct phase {
    double limit_ms, predicted_ms, median_ms, p90_ms, prepare_ms, flip_us, accuracy, worst_switch_ms, memory_bytes;
    int64_t n;
    char *selection; /* lego_string_free() */
} phase;

static void reset(crowd *c)
{
    pthread_mutex_lock(&c->lock);
    c->n = c->n_correct = 0;
    pthread_mutex_unlock(&c->lock);
}

static void summarize(phase *out, crowd *c)
{
    int64_t n;

    pthread_mutex_lock(&c->lock);
    n = c->n < MAX_LATENCIES ? c->n : MAX_LATENCIES;
    qsort(c->latencies_us, (size_t)n, sizeof(*c->latencies_us), by_value);
    out->n = c->n;
    out->median_ms = n ? 1e-3 * (double)c->latencies_us[n / 2] : NAN;
    out->p90_ms = n ? 1e-3 * (double)c->latencies_us[n * 9 / 10] : NAN;
    out->accuracy = c->labels && c->n ? (double)c->n_correct / (double)c->n : NAN;
    c->n = c->n_correct = 0;
    pthread_mutex_unlock(&c->lock);
}

static double slowest_ms(crowd *c)
{
    float worst = 0.0f;

    pthread_mutex_lock(&c->lock);
    for (int64_t i = 0; i < c->n && i < MAX_LATENCIES; i++)
        worst = c->latencies_us[i] > worst ? c->latencies_us[i] : worst;
    pthread_mutex_unlock(&c->lock);
    return 1e-3 * (double)worst;
}

static lego_status wait_us(cli_call *cli, crowd *c, double us)
{
    const struct timespec nap = { 0, 5000000 };
    const double until = now_us() + us;
    int failed = 0;

    while (now_us() < until && !failed) {
        if (cli_interrupted())
            return LEGO_ECANCELED;
        (void)nanosleep(&nap, NULL);
        pthread_mutex_lock(&c->lock);
        failed = c->status != LEGO_OK;
        pthread_mutex_unlock(&c->lock);
    }
    return failed ? cli_fail(cli, "an inference failed: %s", c->message) : LEGO_OK;
}

/* Set the budget (if there is one), let the callers work, say what came of it. */
static lego_status run_phase(phase *out, cli_call *cli, crowd *c, const struct run_args *args, double limit_us)
{
    lego_budget budget = LEGO_BUDGET_INIT;
    lego_selection *selection = NULL;
    lego_runtime_stats stats;
    lego_status status;

    budget.latency_ms = limit_us * 1e-3;
    budget.memory_bytes = args->memory;
    out->limit_ms = budget.latency_ms;
    reset(c);
    if (budget.latency_ms > 0.0 || budget.memory_bytes > 0)
        CLI_TRY(lego_runtime_set_budget(c->runtime, &budget));
    out->worst_switch_ms = slowest_ms(c);
    CLI_TRY(lego_runtime_get_stats(&stats, c->runtime));
    out->prepare_ms = stats.prepare_ms;
    out->flip_us = stats.flip_us;
    reset(c);
    CLI_TRY(wait_us(cli, c, args->seconds_us));
    summarize(out, c);
    CLI_TRY(lego_runtime_get_stats(&stats, c->runtime));
    out->predicted_ms = stats.predicted_ms;
    out->memory_bytes = (double)(stats.weight_bytes + stats.arena_bytes);
    CLI_TRY(lego_runtime_selection(&selection, c->runtime));
    CLI_TRY(lego_selection_format(&out->selection, selection, lego_runtime_store(c->runtime)));
done:
    lego_selection_free(selection);
    return status;
}

static void print_json_number(cli_call *cli, const char *key, double value, const char *format)
{
    cli_printf(cli, ", \"%s\": ", key);
    if (isnan(value))
        cli_printf(cli, "null");
    else
        cli_printf(cli, format, value);
}

static lego_status print_phases(cli_call *cli, const phase *phases, size_t n)
{
    static const char *const headers[] = { ">limit", ">predicted", ">median", ">p90", ">accuracy %", ">inferences",
                                           ">memory", ">prepared in", ">flipped in", "selection" };
    cli_table *table;
    lego_status status;

    if (cli->json) {
        cli_printf(cli, "{\"schema\": \"legodnn.run/1\", \"phases\": [");
        for (size_t i = 0; i < n; i++) {
            cli_printf(cli, "%s\n  {\"selection\": ", i ? "," : "");
            cli_print_json_string(cli, phases[i].selection);
            print_json_number(cli, "limit_ms", phases[i].limit_ms > 0 ? phases[i].limit_ms : NAN, "%.6g");
            print_json_number(cli, "predicted_ms", phases[i].predicted_ms, "%.6g");
            print_json_number(cli, "median_ms", phases[i].median_ms, "%.6g");
            print_json_number(cli, "p90_ms", phases[i].p90_ms, "%.6g");
            print_json_number(cli, "accuracy", phases[i].accuracy, "%.6f");
            print_json_number(cli, "memory_bytes", phases[i].memory_bytes, "%.0f");
            print_json_number(cli, "prepare_ms", phases[i].prepare_ms, "%.6g");
            print_json_number(cli, "flip_us", phases[i].flip_us, "%.6g");
            print_json_number(cli, "slowest_during_switch_ms", phases[i].worst_switch_ms, "%.6g");
            cli_printf(cli, ", \"inferences\": %lld}", (long long)phases[i].n);
        }
        cli_printf(cli, "\n]}\n");
        return LEGO_OK;
    }
    table = cli_table_create(10, headers);
    for (size_t i = 0; i < n; i++) {
        cli_text text;

        cli_table_cell(table, "%s", phases[i].limit_ms > 0 ? cli_format_us(text, 1e3 * phases[i].limit_ms) : "-");
        cli_table_cell(table, "%s",
                       isnan(phases[i].predicted_ms) ? "-" : cli_format_us(text, 1e3 * phases[i].predicted_ms));
        cli_table_cell(table, "%s", isnan(phases[i].median_ms) ? "-" : cli_format_us(text, 1e3 * phases[i].median_ms));
        cli_table_cell(table, "%s", isnan(phases[i].p90_ms) ? "-" : cli_format_us(text, 1e3 * phases[i].p90_ms));
        if (isnan(phases[i].accuracy))
            cli_table_cell(table, "-");
        else
            cli_table_cell(table, "%.2f", 100.0 * phases[i].accuracy);
        cli_table_cell(table, "%lld", (long long)phases[i].n);
        cli_table_cell(table, "%s", cli_format_bytes(text, phases[i].memory_bytes));
        cli_table_cell(table, "%s", cli_format_us(text, 1e3 * phases[i].prepare_ms));
        cli_table_cell(table, "%s", cli_format_us(text, phases[i].flip_us));
        cli_table_cell(table, "%s", phases[i].selection[0] ? phases[i].selection : "all originals");
    }
    status = cli_table_print(cli, table);
    cli_table_free(table);
    return status;
}

/* --- what is inferred --- */

static int64_t elements_of(int n_dims, const int64_t *dims)
{
    int64_t n = 1;

    for (int i = 1; i < n_dims; i++)
        n *= dims[i];
    return n;
}

/* How large a sample and its outputs are, and where in them each input and output begins. */
static lego_status lay_out(crowd *c, const lego_model *model)
{
    lego_model_info info;
    int64_t dims[LEGO_MAX_DIMS];
    int n_dims = 0;
    lego_status status;

    CLI_TRY(lego_model_get_info(&info, model));
    c->n_inputs = info.n_inputs;
    c->n_outputs = info.n_outputs;
    c->starts = calloc((size_t)(info.n_inputs + info.n_outputs), sizeof(*c->starts));
    if (!c->starts)
        return cli_fail(c->cli, "out of memory");
    for (int64_t i = 0; i < info.n_inputs; i++) {
        c->starts[i] = c->sample_elements;
        CLI_TRY(lego_model_input_shape(model, i, &n_dims, dims));
        c->sample_elements += elements_of(n_dims, dims);
    }
    for (int64_t i = 0; i < info.n_outputs; i++) {
        c->starts[info.n_inputs + i] = c->output_elements;
        CLI_TRY(lego_model_output_shape(model, i, &n_dims, dims));
        c->output_elements += elements_of(n_dims, dims);
    }
done:
    return status;
}

static lego_status load_npy(float *sample, cli_call *cli, const crowd *c, const lego_model *model, const char *text,
                            int64_t i)
{
    const char *path;
    const int64_t k = cli_find_input(&path, model, text, i);
    const int64_t n = (k + 1 < c->n_inputs ? c->starts[k + 1] : c->sample_elements) - c->starts[k];
    lego_tensor *tensor = NULL;
    lego_status status;

    CLI_TRY(lego_tensor_load_npy(&tensor, path));
    if (lego_tensor_dtype(tensor) != LEGO_DTYPE_F32 || lego_tensor_n_elements(tensor) != n)
        CLI_TRY(cli_fail(cli, "'%s' must hold one sample of %lld float32 numbers", path, (long long)n));
    memcpy(sample + c->starts[k], lego_tensor_const_data(tensor), sizeof(*sample) * (size_t)n);
done:
    lego_tensor_free(tensor);
    return status;
}

#ifndef LEGODNN_ONLINE_ONLY
static lego_status load_data(float **samples, int64_t **labels, cli_call *cli, crowd *c, const lego_model *model,
                             const struct run_args *args)
{
    lego_dataset *dataset = NULL;
    int64_t *indices = NULL;
    lego_status status;

    CLI_TRY(cli_open_data(&dataset, cli, model, args->data, LEGO_SPLIT_TEST, 0, args->limit));
    c->n_samples = lego_dataset_n_samples(dataset);
    *samples = malloc(sizeof(**samples) * (size_t)c->n_samples * (size_t)c->sample_elements);
    *labels = malloc(sizeof(**labels) * (size_t)c->n_samples);
    indices = malloc(sizeof(*indices) * (size_t)c->n_samples);
    if (!*samples || !*labels || !indices)
        CLI_TRY(cli_fail(cli, "out of memory"));
    for (int64_t i = 0; i < c->n_samples; i++)
        indices[i] = i;
    CLI_TRY(lego_dataset_read(dataset, indices, c->n_samples, *samples, *labels));
    c->labels = *labels;
done:
    free(indices);
    lego_dataset_free(dataset);
    return status;
}
#endif

static lego_status load_samples(float **samples, int64_t **labels, cli_call *cli, crowd *c, const struct run_args *args)
{
    lego_model *model = NULL;
    lego_status status;

    CLI_TRY(cli_load_model(&model, cli, cli->args[0], args->selection));
    CLI_TRY(lay_out(c, model));
    c->n_samples = 1;
#ifndef LEGODNN_ONLINE_ONLY
    if (args->data) {
        CLI_TRY(load_data(samples, labels, cli, c, model, args));
        goto done;
    }
#endif
    *samples = calloc((size_t)c->sample_elements, sizeof(**samples));
    if (!*samples)
        CLI_TRY(cli_fail(cli, "out of memory"));
    if (args->input.n == 0)
        cli_note(cli, "neither --data nor --input: inferring an empty sample");
    else if (args->input.n != c->n_inputs)
        CLI_TRY(cli_fail(cli, "the model has %lld input%s; --input is given %d time%s", (long long)c->n_inputs,
                         c->n_inputs == 1 ? "" : "s", args->input.n, args->input.n == 1 ? "" : "s"));
    for (int i = 0; i < args->input.n; i++)
        CLI_TRY(load_npy(*samples, cli, c, model, args->input.values[i], i));
done:
    c->samples = *samples;
    lego_model_free(model);
    return status;
}

static void show_event(const lego_event *event, void *payload)
{
    static const char *const what[] = { "switched", "", "nothing fits, the least violation runs", "too slow, switched",
                                        "time to spare, switched" };
    cli_call *cli = payload;

    if (event->kind == LEGO_EVENT_SWITCH_FAILED)
        cli_note(cli, "a switch failed, the old selection goes on: %s", event->message);
    else
        cli_note(cli, "%s: %.3f ms measured before; predicted now %.3f ms, accuracy %.2f %%; prepared in %.2f ms, flipped "
                 "in %.2f us", what[event->kind], event->measured_ms, event->predicted.latency_ms,
                 100.0 * event->predicted.accuracy, event->prepare_ms, event->flip_us);
}

/* The limits in microseconds. Found out before the runtime plans anything: a missing profile is said at once. */
static lego_status read_limits(cli_doubles *limits, cli_call *cli, const struct run_args *args)
{
    lego_store *store = NULL;
    lego_optimizer *optimizer = NULL;
    lego_status status = LEGO_OK;

    *limits = args->latency;
    if (limits->n == 0 && args->memory == 0)
        return LEGO_OK;
    CLI_TRY(lego_store_open(&store, cli->context, cli->args[0]));
    CLI_TRY(lego_optimizer_create(&optimizer, cli->context, store, NULL));
    for (size_t i = 0; i < limits->n; i++)
        CLI_TRY(cli_resolve_latency(&limits->values[i], cli, optimizer, store));
done:
    lego_optimizer_free(optimizer);
    lego_store_free(store);
    return status;
}

static lego_status open_runtime(lego_runtime **out, cli_call *cli, const struct run_args *args)
{
    lego_runtime_options opts = LEGO_RUNTIME_OPTIONS_INIT;
    lego_store *store = NULL;
    lego_selection *selection = NULL;
    lego_status status;

    opts.concurrency = (int32_t)args->callers;
    opts.adapt_ms = args->adapt ? 100 : 0;
    opts.residency = args->memory > 0 ? LEGO_RESIDENCY_ON_DEMAND : LEGO_RESIDENCY_ALL; /* a limit is for what is resident */
    opts.on_event = show_event;
    opts.payload = cli;
    CLI_TRY(lego_store_open(&store, cli->context, cli->args[0]));
    CLI_TRY(lego_selection_parse(&selection, store, args->selection));
    opts.selection = selection;
    CLI_TRY(lego_runtime_open(out, cli->context, cli->args[0], &opts));
done:
    lego_selection_free(selection);
    lego_store_free(store);
    return status;
}

static lego_status run(cli_call *cli, const void *arguments)
{
    const struct run_args *args = arguments;
    crowd c = { .cli = cli };
    pthread_t threads[MAX_CALLERS];
    phase *phases = NULL;
    float *samples = NULL;
    int64_t *labels = NULL;
    size_t n_phases = 0;
    const size_t n_limits = args->latency.n ? args->latency.n : 1;
    cli_doubles limits;
    int n_threads = 0;
    lego_status status;

    if (args->data && args->input.n > 0)
        return cli_usage(cli, "--data and --input do not go together");
    pthread_mutex_init(&c.lock, NULL);
    CLI_TRY(read_limits(&limits, cli, args));
    CLI_TRY(load_samples(&samples, &labels, cli, &c, args));
    CLI_TRY(open_runtime(&c.runtime, cli, args));
    c.latencies_us = malloc(sizeof(*c.latencies_us) * MAX_LATENCIES);
    phases = calloc(n_limits + 1, sizeof(*phases));
    if (!c.latencies_us || !phases)
        CLI_TRY(cli_fail(cli, "out of memory"));
    for (; n_threads < args->callers; n_threads++)
        if (pthread_create(&threads[n_threads], NULL, infer_until_stopped, &c) != 0)
            CLI_TRY(cli_fail(cli, "cannot start a caller thread"));
    if (args->latency.n || args->memory > 0) { /* first without a limit, to compare with */
        struct run_args free_run = *args;

        free_run.memory = 0;
        CLI_TRY(run_phase(&phases[n_phases++], cli, &c, &free_run, 0.0));
    }
    for (size_t i = 0; i < n_limits; i++)
        CLI_TRY(run_phase(&phases[n_phases++], cli, &c, args, limits.n ? limits.values[i] : 0.0));
    CLI_TRY(print_phases(cli, phases, n_phases));
done:
    pthread_mutex_lock(&c.lock);
    c.stop = 1;
    pthread_mutex_unlock(&c.lock);
    for (int i = 0; i < n_threads; i++)
        (void)pthread_join(threads[i], NULL);
    lego_runtime_free(c.runtime);
    for (size_t i = 0; i < n_phases; i++)
        lego_string_free(phases[i].selection);
    free(phases);
    free(c.latencies_us);
    free(samples);
    free(labels);
    free(c.starts);
    pthread_mutex_destroy(&c.lock);
    return status;
}

const cli_command cmd_run = {
    .name = "run",
    .summary = "infer without a pause while the size follows budgets",
    .usage = "STORE [--latency T[,T...]] [--memory SIZE] [--data DATA | --input [NAME=]FILE.npy...] [options]",
    .description = "Starts the store (all originals, or --selection) and infers without a pause, first without a limit,\n"
                   "then under one latency limit after the other: the runtime chooses the best selection, prepares it\n"
                   "beside the running one, and flips. Says what was predicted and what was measured. With --adapt it\n"
                   "goes on choosing, with latencies as measured, e.g. while something else loads the machine.",
    .arguments = "STORE",
    .min_args = 1,
    .max_args = 1,
    .args_size = sizeof(struct run_args),
    .options = options,
    .examples = "legodnn run out/demo/store --latency 80%,60%,50% --data fashion-mnist --adapt\n"
                "legodnn run out/demo/store --memory 1.5MiB --input x.npy --json",
    .run = run,
};
