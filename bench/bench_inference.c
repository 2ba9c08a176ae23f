/* Inference of the original models: median time, GFLOP/s and the share of this machine's measured peak.
 *
 *   bench_inference [--json] [--engine onednn|ref] [--batch N] [--samples N] [--threads N[,N...]] [--own-time]
 *                   [--describe] [--torch] [--guess] [--favour plain|nhwc|blocked] [MODEL ...]
 *
 * MODEL is a name of the zoo, with a width behind a colon if wanted: resnet18-cifar:16; or a file, .onnx or .safetensors.
 * The peak is that of fused multiply-adds in registers, timed around each model, so that a machine that is busy or slows
 * down is slower in both.
 * --own-time counts the time the thread computed instead, one thread only: for machines that others use, too.
 * --describe lists what runs, with the median time of each operation and its share of their sum. --torch runs libtorch
 * (eager mode) on the same model, a run of the one after a run of the other, and prints its time and how many times as long
 * that is. It has its own threads: with more than one, both wait for processors.
 * --guess plans without measuring kernels; --favour makes every step that oneDNN has in that layout take it, whatever it and
 * its reorders cost: how good is the choice?
 * Shares above 100 % are Winograd's, which computes the same result with fewer multiplications, and those of products
 * with padding, which count and are left out. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/context.h"
#include "engine/plan.h"
#include "legodnn/context.h"
#include "legodnn/import.h"
#include "legodnn/torch.h"
#include "profile/device.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define MAX_NAMES 32
#define MAX_COUNTS 8
#define MAX_VALUES 16
#define PEAK_STEPS 400000
#define PEAK_REPEATS 5

#define TRY(expr)                                                             \
    do {                                                                      \
        if ((expr) != LEGO_OK) {                                              \
            fprintf(stderr, "bench_inference: %s\n", lego_last_error());      \
            exit(1);                                                          \
        }                                                                     \
    } while (0)

typedef struct settings {
    lego_engine engine;
    int json, describe, own_time, torch, guess, batch, samples;
    const char *favourite; /* layout; NULL: none */
    int threads[MAX_COUNTS], n_threads;
    const char *names[MAX_NAMES];
    int n_names;
} settings;

typedef struct result {
    double median_ms, p90_ms, best_ms, gflops, peak, plan_ms, again_ms, torch_ms;
    size_t arena_bytes, weight_bytes;
} result;

/* --- the peak: independent chains of fused multiply-adds, as many as hide their latency --- */

#if defined(__x86_64__)

/* Twelve accumulators of one vector each; the empty asm keeps the compiler from seeing that they could be one. */
#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define N_CHAINS 12
#define DECLARE(i) r##i = SET((float)i),
#define STEP(i)                                                               \
    r##i = FMA(r##i, a, b);                                                   \
    __asm__ volatile("" : "+v"(r##i));
#define SUM(i) a = FMA(a, b, r##i);
#define CHAINS(TYPE)                                                          \
    TYPE EACH(DECLARE) a = SET(0.999f), b = SET(0.001f);                      \
    for (int step = 0; step < PEAK_STEPS; step++) {                           \
        EACH(STEP)                                                            \
    }                                                                         \
    EACH(SUM)

#define SET _mm512_set1_ps
#define FMA _mm512_fmadd_ps
__attribute__((target("avx512f"))) static float chains_512(void)
{
    CHAINS(__m512)
    return _mm512_reduce_add_ps(a);
}
#undef SET
#undef FMA

#define SET _mm256_set1_ps
#define FMA _mm256_fmadd_ps
__attribute__((target("avx2,fma"))) static float chains_256(void)
{
    CHAINS(__m256)
    return _mm_cvtss_f32(_mm256_castps256_ps128(a));
}

static int lanes(void)
{
    return __builtin_cpu_supports("avx512f") ? 16 : __builtin_cpu_supports("fma") ? 8 : 0;
}

static float chains(void)
{
    return lanes() == 16 ? chains_512() : lanes() == 8 ? chains_256() : 0.0f;
}

#else

#define N_CHAINS 1
static int lanes(void)
{
    return 0; /* unknown: no share is printed */
}

static float chains(void)
{
    return 0.0f;
}

#endif

static void *run_chains(void *sink)
{
    *(volatile float *)sink = chains();
    return NULL;
}

static uint64_t now_ns(const settings *set)
{
    return set->own_time ? lg_clock_thread_ns() : lg_clock_ns();
}

/* GFLOP/s of `n_threads` at once, the best of a few; 0 where no loop fits the CPU. */
static double measure_peak(int n_threads, const settings *set)
{
    double best = 0.0;

    for (int repeat = 0; repeat < PEAK_REPEATS && lanes() > 0; repeat++) {
        pthread_t threads[64];
        float sinks[64];
        int started = 0;
        uint64_t start = now_ns(set);
        while (started < n_threads - 1 && started < 63 &&
               pthread_create(&threads[started], NULL, run_chains, &sinks[started]) == 0)
            started++;
        run_chains(&sinks[63]);
        for (int i = 0; i < started; i++)
            pthread_join(threads[i], NULL);
        double flops = 2.0 * N_CHAINS * lanes() * (double)PEAK_STEPS * (started + 1);
        double gflops = flops / (double)(now_ns(set) - start);
        best = gflops > best ? gflops : best;
    }
    return best;
}

/* --- one model --- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static float *make_buffer(int64_t n)
{
    float *values;

    TRY(LG_CALLOC(&values, n));
    for (int64_t i = 0; i < n; i++)
        values[i] = (float)((i * 37 + 11) % 101) / 50.0f - 1.0f;
    return values;
}

static double median_of(double *times, int n)
{
    qsort(times, (size_t)n, sizeof(*times), by_value);
    return times[n / 2];
}

/* Inputs and outputs of a run. */
typedef struct buffers {
    float *inputs[MAX_VALUES], *outputs[MAX_VALUES];
} buffers;

static void make_buffers(buffers *out, const lg_graph *graph, int batch)
{
    memset(out, 0, sizeof(*out));
    if (graph->n_inputs > MAX_VALUES || graph->n_outputs > MAX_VALUES) {
        fprintf(stderr, "bench_inference: more than %d inputs or outputs\n", MAX_VALUES);
        exit(1);
    }
    for (int32_t i = 0; i < graph->n_inputs; i++)
        out->inputs[i] = make_buffer(batch * lg_value_elements(&graph->values[graph->inputs[i]]));
    for (int32_t i = 0; i < graph->n_outputs; i++)
        out->outputs[i] = make_buffer(batch * lg_value_elements(&graph->values[graph->outputs[i]]));
}

static void free_buffers(buffers *b)
{
    for (int i = 0; i < MAX_VALUES; i++) {
        lg_free(b->inputs[i]);
        lg_free(b->outputs[i]);
    }
}

static void time_runs(result *out, lg_plan *plan, lego_torch_session *torch, const buffers *b, const settings *set)
{
    double *times, *torch_times;

    TRY(LG_CALLOC(&times, set->samples));
    TRY(LG_CALLOC(&torch_times, set->samples));
    for (int i = -set->samples / 4 - 1; i < set->samples; i++) {
        uint64_t start = now_ns(set);
        TRY(lg_plan_run(plan, (const float *const *)b->inputs, b->outputs));
        if (i >= 0)
            times[i] = 1e-6 * (double)(now_ns(set) - start);
        if (!torch)
            continue;
        start = now_ns(set);
        TRY(lego_torch_session_run(torch, set->batch, (const float *const *)b->inputs, b->outputs));
        if (i >= 0)
            torch_times[i] = 1e-6 * (double)(now_ns(set) - start);
    }
    out->median_ms = median_of(times, set->samples);
    out->p90_ms = times[set->samples * 9 / 10];
    out->best_ms = times[0];
    out->torch_ms = torch ? median_of(torch_times, set->samples) : 0.0;
    lg_free(torch_times);
    lg_free(times);
}

/* The plan's description, each line with the operation's median time and share. */
static void describe(lg_plan *plan, const buffers *b, const settings *set)
{
    const int n = plan->n_ops;
    double *times, *medians, total = 0.0;
    int op = 0;
    char *text;

    TRY(LG_CALLOC(&times, n * set->samples));
    TRY(LG_CALLOC(&medians, n));
    TRY(lg_plan_describe(&text, plan));
    for (int i = 0; i < set->samples; i++) {
        TRY(plan->backend->begin(plan, (const float *const *)b->inputs, b->outputs));
        for (int k = 0; k < n; k++) {
            uint64_t start = now_ns(set);
            TRY(plan->backend->run_op(plan, k));
            times[k * set->samples + i] = 1e-3 * (double)(now_ns(set) - start);
        }
        plan->backend->end(plan);
    }
    for (int i = 0; i < n; i++)
        total += medians[i] = median_of(times + i * set->samples, set->samples);
    for (char *line = text, *end; op < n && (end = strchr(line, '\n')) != NULL; line = end + 1, op++)
        fprintf(stderr, "%9.1f us %5.1f%%  %.*s\n", medians[op], 100.0 * medians[op] / total, (int)(end - line), line);
    lg_free(medians);
    lg_free(text);
    lg_free(times);
}

/* The measured costs, those of candidates outside of the favoured layout so high that they are the way out only. */
static void favour(lg_packed_cache **out, const lg_packed_cache *measured, const char *layout)
{
    const lg_json *costs;
    lg_json *known, *changed, *works;
    char name[64];

    snprintf(name, sizeof(name), "%s>%s", layout, layout);
    TRY(lg_packed_cache_create(out, NULL));
    TRY(lg_packed_cache_tuning_to_json(&known, measured));
    TRY(lg_json_create_object(&changed));
    TRY(lg_json_set_string(changed, "schema", "legodnn.tuning/1"));
    TRY(lg_json_set_object(&works, changed, "costs_us"));
    TRY(lg_json_get_object(&costs, known, "costs_us", "tuning"));
    lg_json_each(work, costs) {
        const int reorder = strstr(lg_json_key(work), "reorder") != NULL;
        char own[80];
        lg_json *candidates;
        TRY(lg_json_set_object(&candidates, works, lg_json_key(work)));
        lg_json_each(candidate, work) {
            double us = NAN; /* null: there is no such kernel */
            if (lg_json_is_number(candidate))
                TRY(lg_json_double(&us, candidate, lg_json_key(candidate)));
            TRY(lg_json_set_double(candidates, lg_json_key(candidate),
                                   reorder || strstr(lg_json_key(candidate), name) ? us : us * 1e6));
        }
        snprintf(own, sizeof(own), "direct0 %s", name);
        if (!reorder && !lg_json_has(candidates, own)) /* was not worth measuring, or does not exist: then it is dropped */
            TRY(lg_json_set_double(candidates, own, 1.0));
    }
    TRY(lg_packed_cache_tuning_from_json(*out, changed));
    lg_json_free(known);
    lg_json_free(changed);
}

static result bench_model(const lego_model *model, int n_threads, const settings *set)
{
    const lg_graph *graph = model->graph;
    lg_plan_options options = LG_PLAN_OPTIONS_INIT;
    lego_context *context = NULL;
    lego_torch_session *torch = NULL;
    buffers b;
    double peak_before = measure_peak(n_threads, set), peak_after;
    uint64_t start = lg_clock_ns();
    lg_plan *plan, *again;
    result r;

    options.engine = set->engine;
    options.batch = set->batch;
    options.n_threads = n_threads;
    options.autotune = !set->guess;
    TRY(lg_packed_cache_create(&options.cache, NULL));
    TRY(lg_plan_create(&plan, NULL, graph, &options));
    r.plan_ms = lg_clock_ms_since(start);
    if (set->favourite) {
        lg_packed_cache *measured = options.cache;
        favour(&options.cache, measured, set->favourite);
        lg_packed_cache_unref(measured);
        lg_plan_free(plan);
        TRY(lg_plan_create(&plan, NULL, graph, &options));
    }
    TRY(lg_plan_create(&again, NULL, graph, &options)); /* leaves its arena to the cache */
    lg_plan_free(again);
    start = lg_clock_ns();
    TRY(lg_plan_create(&again, NULL, graph, &options));
    r.again_ms = lg_clock_ms_since(start);
    lg_plan_free(again);
    if (set->torch) {
        TRY(lego_context_create(&context));
        TRY(lego_context_set_threads(context, n_threads));
        TRY(lego_torch_session_create(&torch, context, model, "cpu"));
    }
    make_buffers(&b, graph, set->batch);
    time_runs(&r, plan, torch, &b, set);
    peak_after = measure_peak(n_threads, set);
    r.peak = peak_before > peak_after ? peak_before : peak_after;
    r.gflops = 2e-6 * (double)lg_graph_macs(graph) * set->batch / r.median_ms;
    r.arena_bytes = lg_plan_arena_bytes(plan);
    r.weight_bytes = lg_plan_weight_bytes(plan);
    if (set->describe)
        describe(plan, &b, set);
    free_buffers(&b);
    lego_torch_session_free(torch);
    lego_context_free(context);
    lg_plan_free(plan);
    lg_packed_cache_unref(options.cache);
    return r;
}

static int ends_in(const char *name, const char *suffix)
{
    const size_t n = strlen(name), n_suffix = strlen(suffix);

    return n > n_suffix && strcmp(name + n - n_suffix, suffix) == 0;
}

/* "resnet18-cifar:16", or a file */
static lego_model *build(const char *name)
{
    lego_zoo_options options = LEGO_ZOO_OPTIONS_INIT;
    const char *colon = strchr(name, ':');
    char *zoo_name;
    lego_model *model;

    if (ends_in(name, ".onnx") || ends_in(name, ".safetensors")) {
        TRY(ends_in(name, ".onnx") ? lego_model_import(&model, NULL, name, NULL)
                                   : lego_model_load(&model, NULL, name));
        return model;
    }
    zoo_name = colon ? lg_strndup(name, (size_t)(colon - name)) : lg_strdup(name);
    if (!zoo_name)
        exit(1);
    options.width = colon ? (int32_t)strtol(colon + 1, NULL, 10) : 0;
    TRY(lego_zoo_build(&model, NULL, zoo_name, &options));
    lg_free(zoo_name);
    return model;
}

static void print_row(const char *name, int n_threads, const result *r, const settings *set, int first)
{
    if (set->json) {
        printf("%s\n  {\"model\": \"%s\", \"threads\": %d, \"batch\": %d, \"median_ms\": %.4g, \"p90_ms\": %.4g, "
               "\"min_ms\": %.4g, \"gflops\": %.4g, \"peak_gflops\": %.4g, \"share\": %.4g, \"plan_ms\": %.4g, "
               "\"plan_again_ms\": %.4g, \"arena_bytes\": %zu, \"weight_bytes\": %zu, \"torch_ms\": %.4g}", first ? "" : ",", name, n_threads,
               set->batch, r->median_ms, r->p90_ms, r->best_ms, r->gflops, r->peak,
               r->peak > 0.0 ? r->gflops / r->peak : 0.0, r->plan_ms, r->again_ms, r->arena_bytes, r->weight_bytes, r->torch_ms);
    } else {
        name = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
        printf("%-22s %7d %9.3f %8.3f %9.1f %8.1f %6.0f%% %9.0f %8.2f %8.1f %8.1f", name, n_threads, r->median_ms,
               r->p90_ms, r->gflops, r->peak, r->peak > 0.0 ? 100.0 * r->gflops / r->peak : 0.0, r->plan_ms,
               r->again_ms, (double)r->arena_bytes / 1e6, (double)r->weight_bytes / 1e6);
        if (set->torch)
            printf(" %9.3f %7.2f", r->torch_ms, r->torch_ms / r->median_ms);
        printf("\n");
    }
    (void)fflush(stdout);
}

/* --- the command line --- */

static void read_counts(settings *set, const char *text)
{
    set->n_threads = 0;
    while (set->n_threads < MAX_COUNTS) {
        char *end;
        long n = strtol(text, &end, 10);
        if (end == text || n < 1 || n > 64)
            break;
        set->threads[set->n_threads++] = (int)n;
        if (*end != ',')
            return;
        text = end + 1;
    }
    fprintf(stderr, "bench_inference: --threads wants counts of 1 to 64, e.g. 1,2\n");
    exit(2);
}

static settings read_arguments(int argc, char **argv)
{
    static const char *const usual[] = { "resnet18-cifar", "mobilenet_v2-cifar", "resnext29-cifar", "resnet18",
                                         "resnet50",       "mobilenet_v2",       "resnext50_32x4d" };
    settings set = { .engine = LEGO_ENGINE_ONEDNN, .batch = 1, .samples = 60, .threads = { 1 }, .n_threads = 1 };

    if (lg_cpu_count() > 1)
        set.threads[set.n_threads++] = 2;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--json") == 0)
            set.json = 1;
        else if (strcmp(argv[i], "--describe") == 0)
            set.describe = 1;
        else if (strcmp(argv[i], "--torch") == 0)
            set.torch = 1;
        else if (strcmp(argv[i], "--guess") == 0)
            set.guess = 1;
        else if (strcmp(argv[i], "--favour") == 0)
            set.favourite = value, i++;
        else if (strcmp(argv[i], "--own-time") == 0)
            set.own_time = 1, set.n_threads = 1;
        else if (strcmp(argv[i], "--engine") == 0)
            set.engine = strcmp(value, "ref") == 0 ? LEGO_ENGINE_REF : LEGO_ENGINE_ONEDNN, i++;
        else if (strcmp(argv[i], "--batch") == 0)
            set.batch = (int)strtol(value, NULL, 10), i++;
        else if (strcmp(argv[i], "--samples") == 0)
            set.samples = (int)strtol(value, NULL, 10), i++;
        else if (strcmp(argv[i], "--threads") == 0)
            read_counts(&set, value), i++;
        else if (argv[i][0] != '-' && set.n_names < MAX_NAMES)
            set.names[set.n_names++] = argv[i];
        else {
            fprintf(stderr, "bench_inference: unknown argument '%s'\n", argv[i]);
            exit(2);
        }
    }
    if (set.batch < 1 || set.samples < 1 || (set.own_time && (set.n_threads != 1 || set.threads[0] != 1))) {
        fprintf(stderr, "bench_inference: --batch and --samples want positive numbers, --own-time one thread\n");
        exit(2);
    }
    for (size_t i = 0; set.n_names == 0 || (i > 0 && i < sizeof(usual) / sizeof(usual[0])); i++)
        set.names[set.n_names++] = usual[i];
    return set;
}

int main(int argc, char **argv)
{
    settings set = read_arguments(argc, argv);
    char cpu[128];
    int first = 1;

    lg_cpu_model(cpu, sizeof(cpu));
    if (set.json)
        printf("{\"schema\": \"legodnn.bench_inference/1\", \"cpu\": \"%s\", \"cores\": %d, \"vector_bits\": %d, "
               "\"clock\": \"%s\", \"version\": \"%s\", \"rows\": [", cpu, lg_cpu_count(), 32 * lanes(),
               set.own_time ? "thread" : "wall", lego_version());
    else
        printf("%s, %d cores, %d-bit vectors; batch %d, %d samples%s\n%-22s %7s %9s %8s %9s %8s %7s %9s %8s %8s %8s%s\n", cpu,
               lg_cpu_count(), 32 * lanes(), set.batch, set.samples, set.own_time ? ", the thread's own time" : "", "model", "threads", "median ms", "p90 ms",
               "GFLOP/s", "peak", "share", "plan ms", "again ms", "arena MB", "packed MB",
               set.torch ? "  torch ms   ratio" : "");
    for (int i = 0; i < set.n_names; i++) {
        lego_model *model = build(set.names[i]);
        for (int t = 0; t < set.n_threads; t++) {
            result r = bench_model(model, set.threads[t], &set);
            print_row(set.names[i], set.threads[t], &r, &set, first);
            first = 0;
        }
        lego_model_free(model);
    }
    if (set.json)
        printf("\n]}\n");
    return 0;
}
