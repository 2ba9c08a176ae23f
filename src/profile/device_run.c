/* Running the designed compositions: interleaved in rounds, each visit warmed up, disturbed rounds repeated.
 *
 * A round visits every composition once, in random order: a clock that drifts or a neighbour that wakes up then touches
 * all of them alike instead of one. A visit first runs the composition until its weights are in the cache again, as in
 * an application that runs nothing else, and then times whole inferences and, apart from those, inferences block by
 * block. After the last round each one's slowness is known: the median over all compositions of its time against the
 * composition's usual one. Rounds that were clearly slower than the calm ones are thrown away and repeated.
 *
 * What newcomers get wrong: reading the clock between blocks costs time itself, so latency is taken from whole
 * inferences, and the split only says where it goes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/rng.h"
#include "profile/device.h"

#define WARM_UPS 2
#define MIN_ROUNDS 4
#define MOST_SECONDS 60.0 /* of rounds, before repeats */
#define DISTURBED 1.06    /* slower than a calm round by more than this */
#define VISIT_PARTS(runs) (LG_PART_RUNS * ((size_t)(runs)->n_blocks + 1))

typedef struct bench {
    lego_context *context;
    const lg_device_design *design;
    lg_plan **plans;
    float **inputs, **outputs;
    int32_t n_inputs, n_outputs;
    uint64_t *ns;
    int64_t *order;
    lg_rng rng;
} bench;

static void bench_dispose(bench *b)
{
    for (int32_t i = 0; b->plans && i < b->design->n_compositions; i++)
        lg_plan_free(b->plans[i]);
    for (int32_t i = 0; b->inputs && i < b->n_inputs; i++)
        lg_free_aligned(b->inputs[i]);
    for (int32_t i = 0; b->outputs && i < b->n_outputs; i++)
        lg_free_aligned(b->outputs[i]);
    lg_free(b->plans);
    lg_free(b->inputs);
    lg_free(b->outputs);
    lg_free(b->ns);
    lg_free(b->order);
}

static lego_status make_tensors(float ***out, const lg_graph *graph, const int32_t *values, int32_t n, int32_t batch,
                                lg_rng *rng)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(out, n));
    for (int32_t i = 0; i < n; i++) {
        int64_t count = lg_value_elements(&graph->values[values[i]]) * batch;
        float *data = lg_alloc_aligned((size_t)count * sizeof(float));

        if (!data)
            LG_FAIL(LEGO_ENOMEM, "out of memory: %lld floats", (long long)count);
        (*out)[i] = data;
        for (int64_t e = 0; e < count; e++)
            data[e] = (float)lg_rng_normal(rng);
    }
done:
    return status;
}

/* Plan every composition; the first one is the largest, so its workspace serves all. */
static lego_status plan_all(bench *b, lg_device_runs *runs, lego_store *store, const lego_latency_options *options)
{
    lg_plan_options plan = LG_PLAN_OPTIONS_INIT;
    lg_packed_cache *cache = NULL;
    lg_graph *graph = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_packed_cache_create(&cache, b->context));
    plan.engine = options->engine;
    plan.batch = options->batch;
    plan.autotune = options->autotune >= 0;
    plan.cache = cache;
    for (int32_t i = 0; i < b->design->n_compositions; i++) {
        int64_t *bytes = runs->part_bytes + (size_t)i * ((size_t)runs->n_blocks + 1);

        LG_TRY(lg_progress(b->context, "plan", (size_t)i, (size_t)b->design->n_compositions));
        LG_TRY(lg_store_compose(&graph, store, lg_device_selection(b->design, i)));
        LG_TRY(lg_plan_create(&b->plans[i], b->context, graph, &plan));
        lg_graph_free(graph);
        graph = NULL;
        for (int32_t p = 0; p <= runs->n_blocks; p++)
            bytes[p] = (int64_t)lg_plan_block_weight_bytes(b->plans[i], p < runs->n_blocks ? p : LG_NONE);
        if ((int64_t)lg_plan_arena_bytes(b->plans[i]) > runs->arena_bytes)
            runs->arena_bytes = (int64_t)lg_plan_arena_bytes(b->plans[i]);
        if (i == 0)
            LG_TRY(lg_workspace_create(&plan.workspace, lg_plan_arena_bytes(b->plans[0])));
    }
    snprintf(runs->engine, sizeof(runs->engine), "%s", lg_plan_engine(b->plans[0]));
    LG_TRY(lg_packed_cache_tuning_to_json(&runs->tuning, cache));
done:
    lg_graph_free(graph);
    lg_workspace_unref(plan.workspace);
    lg_packed_cache_unref(cache);
    return status;
}

static lego_status visit(bench *b, lg_plan *plan, int32_t n_blocks, float *whole_us, float *part_us)
{
    const float *const *inputs = (const float *const *)b->inputs;
    lego_status status = LEGO_OK;

    for (int i = 0; i < WARM_UPS; i++)
        LG_TRY(lg_plan_run(plan, inputs, b->outputs));
    for (int i = 0; i < LG_WHOLE_RUNS; i++) {
        uint64_t start = lg_clock_ns();

        LG_TRY(lg_plan_run(plan, inputs, b->outputs));
        whole_us[i] = (float)(1e-3 * (double)(lg_clock_ns() - start));
    }
    for (int i = 0; i < LG_PART_RUNS; i++) {
        LG_TRY(lg_plan_run_timed(plan, inputs, b->outputs, b->ns, n_blocks));
        for (int32_t p = 0; p <= n_blocks; p++)
            *part_us++ = (float)(1e-3 * (double)b->ns[p]);
    }
done:
    return status;
}

static lego_status run_round(bench *b, lg_device_runs *runs, int32_t round)
{
    size_t n = (size_t)runs->n_compositions;
    lego_status status = LEGO_OK;

    for (size_t i = 0; i < n; i++)
        b->order[i] = (int64_t)i;
    lg_rng_shuffle(&b->rng, b->order, (int64_t)n);
    for (size_t i = 0; i < n; i++) {
        size_t at = (size_t)round * n + (size_t)b->order[i];

        LG_TRY(visit(b, b->plans[b->order[i]], runs->n_blocks, runs->whole_us + at * LG_WHOLE_RUNS,
                     runs->part_us + at * VISIT_PARTS(runs)));
    }
done:
    return status;
}

static double visit_us(const lg_device_runs *runs, int32_t round, int32_t composition)
{
    const float *samples = runs->whole_us + ((size_t)round * (size_t)runs->n_compositions + (size_t)composition) *
                                                LG_WHOLE_RUNS;
    double values[LG_WHOLE_RUNS];

    for (int i = 0; i < LG_WHOLE_RUNS; i++)
        values[i] = samples[i];
    return lg_quantile(values, LG_WHOLE_RUNS, 0.5);
}

/* How slow each of the rounds was, against the usual time of the compositions. */
static lego_status measure_slowness(double *slowness, const lg_device_runs *runs)
{
    double *values = NULL, *usual = NULL;
    size_t longest = (size_t)(runs->n_rounds > runs->n_compositions ? runs->n_rounds : runs->n_compositions);
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&values, longest));
    LG_TRY(LG_CALLOC(&usual, runs->n_compositions));
    for (int32_t c = 0; c < runs->n_compositions; c++) {
        for (int32_t r = 0; r < runs->n_rounds; r++)
            values[r] = visit_us(runs, r, c);
        usual[c] = lg_quantile(values, (size_t)runs->n_rounds, 0.5);
    }
    for (int32_t r = 0; r < runs->n_rounds; r++) {
        for (int32_t c = 0; c < runs->n_compositions; c++)
            values[c] = visit_us(runs, r, c) / fmax(usual[c], 1e-3);
        slowness[r] = lg_quantile(values, (size_t)runs->n_compositions, 0.5);
    }
done:
    lg_free(values);
    lg_free(usual);
    return status;
}

/* Run `wanted` rounds, then repeat the disturbed ones, at most as many again. */
static lego_status run_rounds(bench *b, lg_device_runs *runs, int32_t wanted)
{
    double *slowness = NULL, *sorted = NULL;
    uint64_t start = lg_clock_ns();
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&slowness, wanted));
    LG_TRY(LG_CALLOC(&sorted, wanted));
    for (int32_t r = 0; r < wanted; r++) {
        double seconds = 1e-3 * lg_clock_ms_since(start);

        if (r >= MIN_ROUNDS && seconds / r * (r + 1) > MOST_SECONDS)
            break;
        LG_TRY(lg_progress(b->context, "latency", (size_t)r, (size_t)wanted));
        LG_TRY(run_round(b, runs, r));
        runs->n_rounds = r + 1;
    }
    while (runs->n_redone < runs->n_rounds) {
        int32_t worst = 0;
        double calm;

        LG_TRY(measure_slowness(slowness, runs));
        memcpy(sorted, slowness, (size_t)runs->n_rounds * sizeof(*sorted));
        calm = lg_quantile(sorted, (size_t)runs->n_rounds, 0.25);
        for (int32_t r = 1; r < runs->n_rounds; r++)
            if (slowness[r] > slowness[worst])
                worst = r;
        if (slowness[worst] <= DISTURBED * calm)
            break;
        LG_TRY(lg_progress(b->context, "latency", (size_t)runs->n_rounds, (size_t)runs->n_rounds));
        LG_TRY(run_round(b, runs, worst));
        runs->n_redone++;
    }
    if (runs->n_redone == runs->n_rounds)
        lg_log(b->context, LEGO_LOG_WARNING, "profile", "the machine is busy: %d of %d rounds were repeated",
               runs->n_redone, runs->n_rounds);
    LG_TRY(lg_progress(b->context, "latency", (size_t)runs->n_rounds, (size_t)runs->n_rounds));
done:
    lg_free(slowness);
    lg_free(sorted);
    return status;
}

lego_status lg_device_run(lg_device_runs *out, lego_context *context, lego_store *store,
                          const lg_device_design *design, const lego_latency_options *options)
{
    int32_t wanted = (options->samples + LG_WHOLE_RUNS - 1) / LG_WHOLE_RUNS;
    size_t n = (size_t)design->n_compositions, n_parts = (size_t)design->n_blocks + 1;
    bench b = { context, design, NULL, NULL, NULL, store->frame->n_inputs, store->frame->n_outputs, NULL, NULL,
                { { 0 } } };
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    out->n_compositions = design->n_compositions;
    out->n_blocks = design->n_blocks;
    wanted = wanted < MIN_ROUNDS ? MIN_ROUNDS : wanted;
    lg_rng_init(&b.rng, lego_context_seed(context), 0x726f756e);
    LG_TRY(LG_CALLOC(&b.plans, n));
    LG_TRY(LG_CALLOC(&b.ns, n_parts));
    LG_TRY(LG_CALLOC(&b.order, n));
    LG_TRY(LG_CALLOC(&out->part_bytes, n * n_parts));
    LG_TRY(LG_CALLOC(&out->whole_us, (size_t)wanted * n * LG_WHOLE_RUNS));
    LG_TRY(LG_CALLOC(&out->part_us, (size_t)wanted * n * VISIT_PARTS(out)));
    LG_TRY(make_tensors(&b.inputs, store->frame, store->frame->inputs, b.n_inputs, options->batch, &b.rng));
    LG_TRY(make_tensors(&b.outputs, store->frame, store->frame->outputs, b.n_outputs, options->batch, &b.rng));
    LG_TRY(plan_all(&b, out, store, options));
    LG_TRY(run_rounds(&b, out, wanted));
done:
    bench_dispose(&b);
    if (status != LEGO_OK)
        lg_device_runs_dispose(out);
    return status;
}

void lg_device_runs_dispose(lg_device_runs *runs)
{
    lg_free(runs->whole_us);
    lg_free(runs->part_us);
    lg_free(runs->part_bytes);
    lg_json_free(runs->tuning);
    memset(runs, 0, sizeof(*runs));
}
