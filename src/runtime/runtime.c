/* Opening a store to run it, and inferring.
 *
 * Flow of an inference: take a free slot and the current composition (a few instructions under run_lock), run that
 * composition's plan of that slot, give both back. Nothing is allocated, and nothing that plans or packs is waited for.
 *
 * What newcomers get wrong: an inference that waits for a slot must look at the current composition after it got one, not
 * before. */
#include "runtime/runtime.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "profile/device.h"

#define MOST_CONCURRENCY 256
#define MOST_KEPT 4096
#define MOST_WINDOW 4096

/* --- options --- */

static double or_default(double value, double fallback)
{
    return value == 0.0 ? fallback : value;
}

static lego_status read_options(lego_runtime_options *opts, const lego_runtime_options *options)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_options_read(opts, sizeof(*opts), options));
    if (opts->batch == 0)
        opts->batch = 1;
    if (opts->concurrency == 0)
        opts->concurrency = 1;
    if (opts->kept == 0)
        opts->kept = 16;
    if (opts->min_samples == 0)
        opts->min_samples = 8;
    if (opts->window == 0)
        opts->window = 32;
    opts->hysteresis = or_default(opts->hysteresis, 0.05);
    opts->min_gain = or_default(opts->min_gain, 0.001);
    if (opts->residency != LEGO_RESIDENCY_ALL && opts->residency != LEGO_RESIDENCY_ON_DEMAND)
        LG_FAIL(LEGO_EINVAL, "residency %d; known are 0 (all) and 1 (on demand)", (int)opts->residency);
    if (opts->concurrency < 1 || opts->concurrency > MOST_CONCURRENCY)
        LG_FAIL(LEGO_EINVAL, "concurrency %d is not in [1, %d]", opts->concurrency, MOST_CONCURRENCY);
    if (opts->kept < 1 || opts->kept > MOST_KEPT)
        LG_FAIL(LEGO_EINVAL, "kept=%d is not in [1, %d]", opts->kept, MOST_KEPT);
    if (opts->batch < 0 || opts->min_samples < 1 || opts->adapt_ms < 0)
        LG_FAIL(LEGO_EINVAL, "batch=%d, min_samples=%d and adapt_ms=%d must not be negative", opts->batch,
                opts->min_samples, opts->adapt_ms);
    if (opts->window < 1 || opts->window > MOST_WINDOW)
        LG_FAIL(LEGO_EINVAL, "window %d is not in [1, %d]", opts->window, MOST_WINDOW);
    if (!(opts->hysteresis > 0.0 && opts->hysteresis < 1.0))
        LG_FAIL(LEGO_EINVAL, "hysteresis %g is not in (0, 1)", opts->hysteresis);
    if (!(opts->min_gain > 0.0 && opts->min_gain < 1.0))
        LG_FAIL(LEGO_EINVAL, "min_gain %g is not in (0, 1)", opts->min_gain);
done:
    return status;
}

/* --- opening --- */

static lego_status init_locks(lego_runtime *runtime)
{
    pthread_condattr_t clock;

    if (pthread_condattr_init(&clock) != 0)
        return lg_error(LEGO_ENOMEM, "out of memory: a condition");
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&runtime->plan_lock, NULL); /* cannot fail with default attributes on Linux */
    pthread_mutex_init(&runtime->run_lock, NULL);
    pthread_cond_init(&runtime->slot_free, NULL);
    pthread_cond_init(&runtime->wake, &clock);
    pthread_condattr_destroy(&clock);
    return LEGO_OK;
}

/* Profiles are optional: without them the runtime infers and switches, but answers no budget. Those that the options name
 * must be there. */
static lego_status open_optimizer(lego_runtime *runtime)
{
    lego_optimizer_options from = LEGO_OPTIMIZER_OPTIONS_INIT;
    lego_status status;

    from.accuracy_profile = runtime->options.accuracy_profile;
    from.latency_profile = runtime->options.latency_profile;
    runtime->options.accuracy_profile = runtime->options.latency_profile = NULL; /* borrowed during open only */
    status = lego_optimizer_create(&runtime->optimizer, runtime->context, runtime->store, &from);
    if (status == LEGO_OK)
        return lg_problem_copy(&runtime->scaled, &runtime->optimizer->problem);
    if (status != LEGO_ENOTFOUND || from.accuracy_profile || from.latency_profile)
        return status;
    lg_log(runtime->context, LEGO_LOG_INFO, "runtime", "no budgets: %s", lego_last_error());
    return LG_STRDUP(&runtime->why_no_optimizer, lego_last_error());
}

/* Latencies hold for the machine, threads and batch they were measured with. */
static lego_status follow_profile(lego_runtime *runtime)
{
    const lego_profile *device = runtime->optimizer ? runtime->optimizer->device : NULL;
    lego_context *context = runtime->context;
    char cpu[256];
    lego_status status = LEGO_OK;

    runtime->n_threads = lego_context_threads(context);
    if (device) {
        const lg_json *tuning = lg_profile_tuning(device);

        if (!context || context->n_threads == 0)
            runtime->n_threads = device->n_threads;
        lg_cpu_model(cpu, sizeof(cpu));
        if (runtime->n_threads != device->n_threads || runtime->options.batch != device->batch ||
            strcmp(cpu, device->cpu) != 0)
            lg_log(context, LEGO_LOG_WARNING, "runtime",
                   "latency was profiled for batch %d, %d threads, '%s'; this is batch %d, %d threads, '%s'", device->batch,
                   device->n_threads, device->cpu, runtime->options.batch, runtime->n_threads, cpu);
        if (tuning)
            LG_TRY(lg_packed_cache_tuning_from_json(runtime->cache, tuning));
    }
done:
    return status;
}

static lego_status init_slots(lego_runtime *runtime)
{
    int32_t n = runtime->options.concurrency, n_blocks = runtime->store->n_blocks;
    lego_status status = LEGO_OK;

    runtime->max_kept = runtime->options.residency == LEGO_RESIDENCY_ALL ? runtime->options.kept : 1;
    LG_TRY(LG_CALLOC(&runtime->kept, runtime->max_kept + 1));
    LG_TRY(LG_CALLOC(&runtime->scratch, n_blocks));
    LG_TRY(LG_CALLOC(&runtime->workspaces, n));
    LG_TRY(LG_CALLOC(&runtime->free_slots, n));
    LG_TRY(LG_CALLOC(&runtime->slot_ns, n));
    for (int32_t i = 0; i < n; i++) {
        LG_TRY(LG_CALLOC(&runtime->slot_ns[i], n_blocks + 1));
        runtime->free_slots[i] = i;
        runtime->n_free++;
    }
    LG_TRY(lg_measurements_init(&runtime->measured, n_blocks, runtime->options.window));
done:
    return status;
}

/* One workspace a slot, as large as the composition of all originals needs it, or the largest that the profile saw. */
static lego_status make_workspaces(lego_runtime *runtime)
{
    lg_composition *probe = NULL;
    size_t bytes;
    lego_status status = LEGO_OK;

    LG_TRY(lg_composition_create(&probe, runtime, runtime->scratch, 1));
    bytes = lg_plan_arena_bytes(probe->plans[0]);
    if (runtime->optimizer && runtime->optimizer->device && (size_t)runtime->optimizer->device->arena_bytes > bytes)
        bytes = (size_t)runtime->optimizer->device->arena_bytes;
    for (int32_t i = 0; i < runtime->options.concurrency; i++)
        LG_TRY(lg_workspace_create(&runtime->workspaces[i], bytes));
done:
    lg_composition_free(probe);
    return status;
}

static lego_status start_first(lego_runtime *runtime)
{
    const lego_selection *selection = runtime->options.selection;
    lg_composition *first;
    lego_status status = LEGO_OK;

    if (selection) {
        LG_TRY(lg_check_selection(runtime, selection));
        memcpy(runtime->scratch, selection->variants, (size_t)selection->n_blocks * sizeof(*selection->variants));
        runtime->options.selection = NULL; /* borrowed during open only */
    }
    LG_TRY(lg_composition_get(&first, runtime, runtime->scratch));
    lg_composition_flip(runtime, first, 0.0);
    runtime->n_switches = 0;
    lg_packed_cache_trim(runtime->cache); /* what planning the originals left behind */
done:
    return status;
}

/* All-resident: compositions that between them show every variant, so that each is packed. */
static lego_status pack_all(lego_runtime *runtime)
{
    const lego_store *store = runtime->store;
    lg_composition *composition;
    int32_t largest = 1;
    lego_status status = LEGO_OK;

    for (int32_t b = 0; b < store->n_blocks; b++)
        if (store->blocks[b].n_variants > largest)
            largest = store->blocks[b].n_variants;
    for (int32_t v = 0; v < largest; v++) {
        for (int32_t b = 0; b < store->n_blocks; b++)
            runtime->scratch[b] = v < store->blocks[b].n_variants ? v : store->blocks[b].n_variants - 1;
        LG_TRY(lg_composition_get(&composition, runtime, runtime->scratch));
    }
done:
    return status;
}

lego_status lego_runtime_open(lego_runtime **out, lego_context *context, const char *store_path,
                              const lego_runtime_options *options)
{
    lego_runtime *runtime = NULL;
    lego_status status = LEGO_OK;

    if (!out || !store_path)
        return lg_error(LEGO_EINVAL, "out and store_path must not be NULL");
    *out = NULL;
    LG_TRY(LG_CALLOC(&runtime, 1));
    status = init_locks(runtime);
    if (status != LEGO_OK) {
        lg_free(runtime);
        return status;
    }
    runtime->context = context;
    runtime->options = (lego_runtime_options)LEGO_RUNTIME_OPTIONS_INIT;
    runtime->budget = (lego_budget)LEGO_BUDGET_INIT;
    LG_TRY(read_options(&runtime->options, options));
    LG_TRY(lego_store_open(&runtime->store, context, store_path));
    LG_TRY(open_optimizer(runtime));
    LG_TRY(lg_packed_cache_create(&runtime->cache, context));
    LG_TRY(follow_profile(runtime));
    LG_TRY(init_slots(runtime));
    LG_TRY(make_workspaces(runtime));
    LG_TRY(start_first(runtime));
    if (runtime->options.residency == LEGO_RESIDENCY_ALL)
        LG_TRY(pack_all(runtime));
    if (runtime->options.adapt_ms > 0)
        LG_TRY(lg_adapt_start(runtime));

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
    lg_adapt_stop(runtime);
    for (int32_t i = 0; i < runtime->n_kept; i++)
        lg_composition_free(runtime->kept[i]);
    for (int32_t i = 0; runtime->workspaces && i < runtime->options.concurrency; i++)
        lg_workspace_unref(runtime->workspaces[i]);
    for (int32_t i = 0; runtime->slot_ns && i < runtime->options.concurrency; i++)
        lg_free(runtime->slot_ns[i]);
    lg_measurements_dispose(&runtime->measured);
    lg_free(runtime->kept);
    lg_free(runtime->scratch);
    lg_free(runtime->why_no_optimizer);
    lg_free(runtime->workspaces);
    lg_free(runtime->free_slots);
    lg_free(runtime->slot_ns);
    lg_problem_dispose(&runtime->scaled);
    lego_optimizer_free(runtime->optimizer);
    lg_packed_cache_unref(runtime->cache);
    lego_store_free(runtime->store);
    pthread_mutex_destroy(&runtime->plan_lock);
    pthread_mutex_destroy(&runtime->run_lock);
    pthread_cond_destroy(&runtime->slot_free);
    pthread_cond_destroy(&runtime->wake);
    lg_free(runtime);
}

const lego_store *lego_runtime_store(const lego_runtime *runtime)
{
    return runtime->store;
}

/* --- inferring --- */

lego_status lego_runtime_infer(lego_runtime *runtime, const float *const *inputs, float *const *outputs)
{
    lg_composition *composition, *finished;
    uint64_t start, took;
    int32_t slot;
    lego_status status;

    if (!runtime || !inputs || !outputs)
        return lg_error(LEGO_EINVAL, "runtime, inputs and outputs must not be NULL");
    pthread_mutex_lock(&runtime->run_lock);
    while (runtime->n_free == 0)
        pthread_cond_wait(&runtime->slot_free, &runtime->run_lock);
    slot = runtime->free_slots[--runtime->n_free];
    composition = runtime->current;
    composition->users++;
    pthread_mutex_unlock(&runtime->run_lock);

    start = lg_clock_ns();
    status = lg_plan_run_timed(composition->plans[slot], inputs, outputs, runtime->slot_ns[slot],
                               runtime->store->n_blocks);
    took = lg_clock_ns() - start;

    pthread_mutex_lock(&runtime->run_lock);
    if (status == LEGO_OK && composition == runtime->current)
        lg_measure(runtime, runtime->slot_ns[slot], took);
    runtime->n_inferences += status == LEGO_OK;
    runtime->free_slots[runtime->n_free++] = slot;
    finished = lg_composition_release(composition);
    pthread_cond_signal(&runtime->slot_free);
    pthread_mutex_unlock(&runtime->run_lock);
    lg_composition_discard(runtime, finished);
    return status;
}

/* --- asking --- */

lego_status lego_runtime_get_stats(lego_runtime_stats *out, lego_runtime *runtime)
{
    lego_prediction prediction;
    int64_t n_samples;

    if (!out || !runtime)
        return lg_error(LEGO_EINVAL, "out and runtime must not be NULL");
    memset(out, 0, sizeof(*out));
    out->predicted_ms = out->adapted_ms = out->accuracy = NAN;
    pthread_mutex_lock(&runtime->plan_lock); /* `current` cannot change meanwhile */
    if (runtime->optimizer) {
        lg_rescale(runtime);
        lg_optimizer_predict(&prediction, runtime->optimizer, &runtime->scaled, runtime->current->selection);
        out->adapted_ms = prediction.latency_ms;
        lg_optimizer_predict(&prediction, runtime->optimizer, &runtime->optimizer->problem,
                             runtime->current->selection);
        out->predicted_ms = prediction.latency_ms;
        out->accuracy = prediction.accuracy;
    }
    out->latency_ms = lg_measured_ms(&n_samples, runtime);
    out->weight_bytes = lg_packed_cache_bytes(runtime->cache);
    for (int32_t i = 0; i < runtime->options.concurrency; i++)
        out->arena_bytes += lg_workspace_bytes(runtime->workspaces[i]);
    out->budget = runtime->budget;
    out->prepare_ms = runtime->prepare_ms;
    out->flip_us = runtime->flip_us;
    pthread_mutex_lock(&runtime->run_lock);
    out->n_inferences = runtime->n_inferences;
    out->n_switches = runtime->n_switches;
    pthread_mutex_unlock(&runtime->run_lock);
    pthread_mutex_unlock(&runtime->plan_lock);
    out->slowdown = out->latency_ms > 0.0 && out->predicted_ms > 0.0 ? out->latency_ms / out->predicted_ms : 1.0;
    return LEGO_OK;
}

lego_status lego_runtime_selection(lego_selection **out, lego_runtime *runtime)
{
    lego_status status;

    if (!out || !runtime)
        return lg_error(LEGO_EINVAL, "out and runtime must not be NULL");
    pthread_mutex_lock(&runtime->plan_lock);
    status = lg_selection_create(out, runtime->store, runtime->current->selection);
    pthread_mutex_unlock(&runtime->plan_lock);
    return status;
}
