/* Opening a store for running, inference, statistics.
 *
 * Inference: take a slot (its memory belongs to this call now), take a reference to the current composition, run the
 * slot's plan, let go. Nothing is allocated, and a switch is never waited for. Every few inferences the plan reads the
 * clock between blocks; adaptation lives on that. */
#include "runtime/runtime.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"

#define TIMED_EVERY 4       /* inferences from one block-wise timing to the next */
#define OUTLIER 4.0         /* a latency counts as at most so many times the average */
#define MAX_CONCURRENCY 256

static lego_status read_options(lego_runtime_options *out, const lego_runtime_options *options)
{
    lego_runtime_options defaults = LEGO_RUNTIME_OPTIONS_INIT;
    lego_status status = LEGO_OK;

    *out = defaults;
    LG_TRY(lg_options_read(out, sizeof(*out), options));
    if (out->residency != LEGO_RESIDENCY_ALL && out->residency != LEGO_RESIDENCY_ON_DEMAND)
        return lg_error(LEGO_EINVAL, "residency=%d is unknown", (int)out->residency);
    if (out->batch < 0 || out->concurrency < 0 || out->concurrency > MAX_CONCURRENCY || out->kept < 0 ||
        out->adapt_ms < 0)
        return lg_error(LEGO_EINVAL, "batch=%d, concurrency=%d, kept=%d and adapt_ms=%d must not be negative, and %d "
                        "inferences at most run side by side", (int)out->batch, (int)out->concurrency,
                        (int)out->kept, (int)out->adapt_ms, MAX_CONCURRENCY);
    if (!(out->smoothing >= 0.0 && out->smoothing <= 1.0) || !(out->min_gain >= 0.0 && out->min_gain <= 1.0))
        return lg_error(LEGO_EINVAL, "smoothing=%g and min_gain=%g must be in [0, 1]", out->smoothing, out->min_gain);
    out->batch = out->batch ? out->batch : 1;
    out->concurrency = out->concurrency ? out->concurrency : 1;
    out->kept = out->kept ? out->kept : 16;
    out->smoothing = out->smoothing > 0.0 ? out->smoothing : 0.1;
    out->min_gain = out->min_gain > 0.0 ? out->min_gain : 0.001;
done:
    return status;
}

/* Profiles are optional: without them the runtime infers and switches, but answers no budget. */
static lego_status load_profiles(lego_runtime *runtime)
{
    lego_status status = lego_optimizer_create(&runtime->optimizer, runtime->context, runtime->store, NULL);

    if (status == LEGO_OK) {
        const lg_json *tuning = runtime->optimizer->device ? lg_profile_tuning(runtime->optimizer->device) : NULL;

        return tuning ? lg_packed_cache_tuning_from_json(runtime->cache, tuning) : LEGO_OK;
    }
    if (status != LEGO_ENOTFOUND)
        return status;
    return LG_STRDUP(&runtime->why_no_optimizer, lego_last_error());
}

static lego_status create_slots(lego_runtime *runtime, size_t arena_bytes)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&runtime->slots, runtime->options.concurrency));
    for (int32_t i = 0; i < runtime->options.concurrency; i++) {
        pthread_mutex_init(&runtime->slots[i].lock, NULL);
        runtime->n_slots = i + 1;
        LG_TRY(lg_workspace_create(&runtime->slots[i].workspace, arena_bytes));
        LG_TRY(LG_CALLOC(&runtime->slots[i].ns, runtime->n_blocks + 1));
    }
done:
    return status;
}

/* How much activation memory the largest composition needs; all-resident, this packs every variant on the way. The
 * compositions walk through the variants side by side, so that each variant stands in one of them. */
static lego_status measure_arena(size_t *arena_bytes, lego_runtime *runtime)
{
    lg_plan_options options = LG_PLAN_OPTIONS_INIT;
    int32_t *selection = NULL;
    int32_t n_rounds = 1;
    lg_graph *graph = NULL;
    lg_plan *plan = NULL;
    lego_status status = LEGO_OK;

    options.engine = runtime->options.engine;
    options.batch = runtime->options.batch;
    options.autotune = 1;
    options.cache = runtime->cache;
    *arena_bytes = 0;
    LG_TRY(LG_CALLOC(&selection, runtime->n_blocks));
    for (int32_t b = 0; runtime->options.residency == LEGO_RESIDENCY_ALL && b < runtime->n_blocks; b++)
        if (runtime->store->blocks[b].n_variants > n_rounds)
            n_rounds = runtime->store->blocks[b].n_variants;
    for (int32_t round = 0; round < n_rounds; round++) {
        for (int32_t b = 0; b < runtime->n_blocks; b++)
            selection[b] = round < runtime->store->blocks[b].n_variants ? round
                                                                        : runtime->store->blocks[b].n_variants - 1;
        LG_TRY(lg_store_compose(&graph, runtime->store, selection));
        LG_TRY(lg_plan_create(&plan, runtime->context, graph, &options));
        if (lg_plan_arena_bytes(plan) > *arena_bytes)
            *arena_bytes = lg_plan_arena_bytes(plan);
        lg_plan_free(plan);
        plan = NULL;
        lg_graph_free(graph);
        graph = NULL;
        LG_TRY(lg_progress(runtime->context, "packing", (size_t)round + 1, (size_t)n_rounds));
    }
done:
    lg_plan_free(plan);
    lg_graph_free(graph);
    lg_free(selection);
    return status;
}

static lego_status start_first(lego_runtime *runtime)
{
    int32_t *selection = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&selection, runtime->n_blocks));
    if (runtime->options.selection) {
        if (runtime->options.selection->n_blocks != runtime->n_blocks)
            LG_FAIL(LEGO_EINVAL, "the selection is for %d blocks, the store has %d",
                    (int)runtime->options.selection->n_blocks, (int)runtime->n_blocks);
        memcpy(selection, runtime->options.selection->variants, sizeof(*selection) * (size_t)runtime->n_blocks);
        runtime->options.selection = NULL; /* borrowed during open only */
    }
    LG_TRY(lg_composition_get(&runtime->composition, runtime, selection));
done:
    lg_free(selection);
    return status;
}

lego_status lego_runtime_open(lego_runtime **out, lego_context *context, const char *store_path,
                              const lego_runtime_options *options)
{
    lego_runtime *runtime = NULL;
    pthread_condattr_t monotonic;
    size_t arena_bytes = 0;
    lego_status status = LEGO_OK;

    if (!out || !store_path)
        return lg_error(LEGO_EINVAL, "out and store_path must not be NULL");
    *out = NULL;
    LG_TRY(LG_CALLOC(&runtime, 1));
    pthread_mutex_init(&runtime->switching, NULL);
    pthread_mutex_init(&runtime->current, NULL);
    pthread_mutex_init(&runtime->stop_lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&runtime->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    runtime->context = context;
    LG_TRY(read_options(&runtime->options, options));
    runtime->budget = (lego_budget)LEGO_BUDGET_INIT;
    LG_TRY(lego_store_open(&runtime->store, context, store_path));
    runtime->n_blocks = runtime->store->n_blocks;
    LG_TRY(LG_CALLOC(&runtime->kept, runtime->options.kept));
    LG_TRY(LG_CALLOC(&runtime->factors, runtime->n_blocks + 1));
    LG_TRY(LG_CALLOC(&runtime->measured.part_ns, runtime->n_blocks + 1));
    for (int32_t b = 0; b <= runtime->n_blocks; b++)
        runtime->factors[b] = 1.0;
    LG_TRY(lg_packed_cache_create(&runtime->cache, context));
    LG_TRY(load_profiles(runtime));
    LG_TRY(measure_arena(&arena_bytes, runtime));
    LG_TRY(create_slots(runtime, arena_bytes));
    LG_TRY(start_first(runtime));
    LG_TRY(lg_adapter_start(runtime));
    *out = runtime;
    runtime = NULL;
done:
    lego_runtime_free(runtime);
    return status;
}

void lego_runtime_free(lego_runtime *runtime)
{
    if (!runtime)
        return;
    lg_adapter_stop(runtime);
    lg_composition_unref(runtime->composition);
    for (int32_t i = 0; runtime->kept && i < runtime->options.kept; i++)
        lg_composition_unref(runtime->kept[i]);
    for (int32_t i = 0; i < runtime->n_slots; i++) {
        pthread_mutex_destroy(&runtime->slots[i].lock);
        lg_workspace_unref(runtime->slots[i].workspace);
        lg_free(runtime->slots[i].ns);
    }
    lg_free(runtime->slots);
    lg_free(runtime->kept);
    lg_free(runtime->factors);
    lg_free(runtime->measured.part_ns);
    lg_free(runtime->why_no_optimizer);
    lego_optimizer_free(runtime->optimizer);
    lg_packed_cache_unref(runtime->cache);
    lego_store_free(runtime->store);
    pthread_cond_destroy(&runtime->wake);
    pthread_mutex_destroy(&runtime->stop_lock);
    pthread_mutex_destroy(&runtime->current);
    pthread_mutex_destroy(&runtime->switching);
    lg_free(runtime);
}

const lego_store *lego_runtime_store(const lego_runtime *runtime)
{
    return runtime->store;
}

/* A free slot, or the next one's turn. */
static lg_run_slot *take_slot(lego_runtime *runtime)
{
    const unsigned start = atomic_fetch_add_explicit(&runtime->next_slot, 1, memory_order_relaxed);
    const unsigned n = (unsigned)runtime->n_slots;
    lg_run_slot *slot;

    for (unsigned i = 0; i < n; i++) {
        slot = &runtime->slots[(start + i) % n];
        if (pthread_mutex_trylock(&slot->lock) == 0)
            return slot;
    }
    slot = &runtime->slots[start % n];
    pthread_mutex_lock(&slot->lock);
    return slot;
}

/* Average in a latency, unless a switch came between. Under `current`. */
static void measure(lego_runtime *runtime, const lg_composition *composition, double whole_ns, const uint64_t *part_ns)
{
    lg_measured *measured = &runtime->measured;
    double weight;

    runtime->n_inferences++;
    if (composition != runtime->composition)
        return;
    if (measured->n > 0 && whole_ns > OUTLIER * measured->whole_ns)
        whole_ns = OUTLIER * measured->whole_ns;
    measured->n++;
    weight = 1.0 / (double)measured->n; /* a plain mean at first */
    weight = weight > runtime->options.smoothing ? weight : runtime->options.smoothing;
    measured->whole_ns += weight * (whole_ns - measured->whole_ns);
    if (!part_ns)
        return;
    measured->n_parts++;
    weight = 1.0 / (double)measured->n_parts;
    weight = weight > runtime->options.smoothing ? weight : runtime->options.smoothing;
    for (int32_t b = 0; b <= runtime->n_blocks; b++) {
        double ns = (double)part_ns[b];

        if (measured->n_parts == 1)
            measured->part_ns[b] = ns;
        ns = ns > OUTLIER * measured->part_ns[b] ? OUTLIER * measured->part_ns[b] : ns;
        measured->part_ns[b] += weight * (ns - measured->part_ns[b]);
    }
}

lego_status lego_runtime_infer(lego_runtime *runtime, const float *const *inputs, float *const *outputs)
{
    lg_composition *composition;
    lg_run_slot *slot;
    uint64_t start;
    double whole_ns;
    int timed;
    lego_status status;

    if (!runtime || !inputs || !outputs)
        return lg_error(LEGO_EINVAL, "runtime, inputs and outputs must not be NULL");
    slot = take_slot(runtime);
    pthread_mutex_lock(&runtime->current);
    composition = runtime->composition;
    atomic_fetch_add_explicit(&composition->references, 1, memory_order_relaxed);
    timed = runtime->measured.n % TIMED_EVERY == 0;
    pthread_mutex_unlock(&runtime->current);

    start = lg_clock_ns();
    if (timed)
        status = lg_plan_run_timed(composition->plans[slot - runtime->slots], inputs, outputs, slot->ns,
                                   runtime->n_blocks);
    else
        status = lg_plan_run(composition->plans[slot - runtime->slots], inputs, outputs);
    whole_ns = (double)(lg_clock_ns() - start);

    if (status == LEGO_OK) {
        pthread_mutex_lock(&runtime->current);
        measure(runtime, composition, whole_ns, timed ? slot->ns : NULL);
        pthread_mutex_unlock(&runtime->current);
    }
    lg_composition_unref(composition);
    pthread_mutex_unlock(&slot->lock);
    return status;
}

lego_status lego_runtime_selection(lego_selection **out, lego_runtime *runtime)
{
    lego_status status;

    if (!out || !runtime)
        return lg_error(LEGO_EINVAL, "out and runtime must not be NULL");
    pthread_mutex_lock(&runtime->switching);
    status = lg_selection_create(out, runtime->store, runtime->composition->selection);
    pthread_mutex_unlock(&runtime->switching);
    return status;
}

lego_status lego_runtime_get_stats(lego_runtime_stats *out, lego_runtime *runtime)
{
    lego_prediction prediction;

    if (!out || !runtime)
        return lg_error(LEGO_EINVAL, "out and runtime must not be NULL");
    memset(out, 0, sizeof(*out));
    out->predicted_ms = NAN;
    pthread_mutex_lock(&runtime->switching);
    if (runtime->optimizer && runtime->optimizer->device) {
        lg_optimizer_predict(&prediction, runtime->optimizer, &runtime->optimizer->problem,
                             runtime->composition->selection);
        out->predicted_ms = prediction.latency_ms;
    }
    out->prepare_ms = runtime->prepare_ms;
    out->flip_us = runtime->flip_us;
    out->weight_bytes = lg_packed_cache_bytes(runtime->cache);
    for (int32_t i = 0; i < runtime->n_slots; i++)
        out->arena_bytes += lg_composition_arena_bytes(runtime->composition);
    pthread_mutex_lock(&runtime->current);
    out->n_inferences = runtime->n_inferences;
    out->n_switches = runtime->n_switches;
    out->latency_ms = runtime->measured.whole_ns * 1e-6;
    pthread_mutex_unlock(&runtime->current);
    pthread_mutex_unlock(&runtime->switching);
    out->slowdown = out->latency_ms > 0.0 && out->predicted_ms > 0.0 ? out->latency_ms / out->predicted_ms : 1.0;
    return LEGO_OK;
}
