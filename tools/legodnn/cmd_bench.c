/* `legodnn bench`: how long an inference takes here. */
#include <stdlib.h>
#include <time.h>

#include "forward.h"
#include "inputs.h"

struct bench_args {
    const char *selection, *device;
    int64_t samples, batch;
    int engine;
};

static const cli_option options[] = {
    CLI_STRING(struct bench_args, selection, "selection", "SEL", NULL,
               "of a store: a selection file, b0=s0.5,b3=s0.75 or all=s0.5 (default: all originals)"),
    CLI_ENUM(struct bench_args, engine, "engine", cli_engines, "auto", "what runs the model; auto: the fastest there is"),
    CLI_STRING(struct bench_args, device, "device", "DEVICE", "cpu", "torch engine: cpu, cuda or cuda:N"),
    CLI_INT(struct bench_args, samples, "samples", "N", 3, 1000000, "100", "inferences that count, after as many to warm up"),
    CLI_INT(struct bench_args, batch, "batch", "N", 1, 4096, "1", "samples an inference"),
    CLI_END
};

static double now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static int64_t elements(int n_dims, const int64_t *dims, int64_t batch)
{
    int64_t n = batch;

    for (int i = 1; i < n_dims; i++)
        n *= dims[i];
    return n;
}

/* Buffers for every input and output; inputs hold a fixed pattern (zeros can be faster than real numbers). */
static lego_status create_buffers(float **inputs, float **outputs, cli_call *cli, const lego_model *model,
                                  const lego_model_info *info, int64_t batch)
{
    int64_t dims[LEGO_MAX_DIMS];
    int n_dims = 0;
    lego_status status = LEGO_OK;

    for (int64_t i = 0; i < info->n_inputs + info->n_outputs; i++) {
        float **place = i < info->n_inputs ? &inputs[i] : &outputs[i - info->n_inputs];
        int64_t n;

        if (i < info->n_inputs)
            CLI_TRY(lego_model_input_shape(model, i, &n_dims, dims));
        else
            CLI_TRY(lego_model_output_shape(model, i - info->n_inputs, &n_dims, dims));
        n = elements(n_dims, dims, batch);
        *place = malloc(sizeof(**place) * (size_t)n);
        if (!*place)
            return cli_fail(cli, "out of memory");
        for (int64_t k = 0; k < n; k++)
            (*place)[k] = (float)((k * 37 + 11) % 101) / 50.0f - 1.0f;
    }
done:
    return status;
}

static lego_status measure(double *times_ms, cli_call *cli, cli_forward *forward, float **inputs, float **outputs,
                           int64_t samples)
{
    lego_status status = LEGO_OK;

    for (int64_t i = -samples; i < samples; i++) {
        const double start = now_ms();

        CLI_TRY(cli_check_interrupt(cli));
        CLI_TRY(cli_forward_run((const float *const *)inputs, outputs, forward));
        if (i >= 0)
            times_ms[i] = now_ms() - start;
    }
    qsort(times_ms, (size_t)samples, sizeof(*times_ms), by_value);
done:
    return status;
}

static void print_result(cli_call *cli, const struct bench_args *args, const double *times_ms,
                         const lego_model_info *info)
{
    const double median = times_ms[args->samples / 2], p90 = times_ms[args->samples * 9 / 10];
    const double gflops = 2e-6 * (double)info->n_macs * (double)args->batch / median;
    const int threads = lego_context_threads(cli->context);
    cli_text a, b, c;

    if (cli->json)
        cli_printf(cli, "{\"schema\": \"legodnn.bench/1\", \"median_ms\": %.6g, \"p90_ms\": %.6g, \"min_ms\": %.6g, "
                   "\"gflops\": %.6g, \"samples\": %lld, \"batch\": %lld, \"threads\": %d, \"engine\": \"%s\"}\n", median,
                   p90, times_ms[0], gflops, (long long)args->samples, (long long)args->batch, threads,
                   cli_engines[args->engine]);
    else
        cli_printf(cli, "median %s, p90 %s, fastest %s; %.1f GFLOP/s of convolutions and linear layers\n"
                   "%lld inferences of %lld samples, %d threads, engine %s\n", cli_format_us(a, 1e3 * median),
                   cli_format_us(b, 1e3 * p90), cli_format_us(c, 1e3 * times_ms[0]), gflops, (long long)args->samples,
                   (long long)args->batch, threads, cli_engines[args->engine]);
}

static lego_status run(cli_call *cli, const void *arguments)
{
    const struct bench_args *args = arguments;
    lego_model_info info = { 0 };
    lego_model *model = NULL;
    cli_forward *forward = NULL;
    float **inputs = NULL, **outputs = NULL;
    double *times_ms = NULL;
    lego_status status;

    CLI_TRY(cli_load_model(&model, cli, cli->args[0], args->selection));
    CLI_TRY(lego_model_get_info(&info, model));
    inputs = calloc((size_t)info.n_inputs + 1, sizeof(*inputs));
    outputs = calloc((size_t)info.n_outputs + 1, sizeof(*outputs));
    times_ms = malloc(sizeof(*times_ms) * (size_t)args->samples);
    if (!inputs || !outputs || !times_ms)
        CLI_TRY(cli_fail(cli, "out of memory"));
    CLI_TRY(create_buffers(inputs, outputs, cli, model, &info, args->batch));
    CLI_TRY(cli_forward_create(&forward, cli, model, args->engine, args->device, args->batch));
    CLI_TRY(cli_forward_describe(cli, forward));
    CLI_TRY(measure(times_ms, cli, forward, inputs, outputs, args->samples));
    print_result(cli, args, times_ms, &info);
done:
    for (int64_t i = 0; inputs && i < info.n_inputs; i++)
        free(inputs[i]);
    for (int64_t i = 0; outputs && i < info.n_outputs; i++)
        free(outputs[i]);
    free(inputs);
    free(outputs);
    free(times_ms);
    cli_forward_free(forward);
    lego_model_free(model);
    return status;
}

const cli_command cmd_bench = {
    .name = "bench",
    .summary = "time inferences of a model or a composition",
    .usage = "MODEL|STORE [--selection SEL] [--samples N] [--threads N] [options]",
    .description = "Median and 90th percentile of one inference on this machine, after a warm-up of as many; with\n"
                   "-v, also the kernel of each layer. For the latency of every variant, which budgets need, see\n"
                   "'legodnn help profile'.",
    CLI_TAKES_MODEL,
    .args_size = sizeof(struct bench_args),
    .options = options,
    .examples = "legodnn bench teacher.safetensors --threads 1\nlegodnn bench store --selection all=s0.5 --json",
    .run = run,
};
