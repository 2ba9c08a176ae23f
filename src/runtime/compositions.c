/* Compositions that are ready to run: made, kept, exchanged, let go.
 *
 * A composition has one plan for each slot, because a plan serves one inference at a time. All plans of a slot share the
 * slot's workspace, and all plans share the packed weights, so a kept composition costs a few kilobytes. In on-demand mode
 * only the current one is kept and what it does not use is given back. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "runtime/runtime.h"

void lg_composition_free(lg_composition *composition)
{
    if (!composition)
        return;
    for (int32_t i = 0; composition->plans && i < composition->n_plans; i++)
        lg_plan_free(composition->plans[i]);
    lg_free(composition->plans);
    lg_free(composition->selection);
    lg_free(composition);
}

void lg_composition_discard(lego_runtime *runtime, lg_composition *composition)
{
    if (!composition)
        return;
    lg_composition_free(composition);
    if (runtime->options.residency == LEGO_RESIDENCY_ON_DEMAND)
        lg_packed_cache_trim(runtime->cache);
}

lego_status lg_composition_create(lg_composition **out, lego_runtime *runtime, const int32_t *selection,
                                  int32_t n_plans)
{
    size_t n_blocks = (size_t)runtime->store->n_blocks;
    lg_plan_options options = LG_PLAN_OPTIONS_INIT;
    lg_composition *composition = NULL;
    lg_graph *graph = NULL;
    lego_status status = LEGO_OK;

    options.engine = runtime->options.engine;
    options.batch = runtime->options.batch;
    options.n_threads = runtime->n_threads;
    options.cache = runtime->cache;
    options.autotune = !runtime->optimizer || !runtime->optimizer->device; /* a device profile brings its tuning */
    LG_TRY(LG_CALLOC(&composition, 1));
    LG_TRY(LG_CALLOC(&composition->selection, n_blocks));
    LG_TRY(LG_CALLOC(&composition->plans, n_plans));
    memcpy(composition->selection, selection, n_blocks * sizeof(*selection));
    LG_TRY(lg_store_compose(&graph, runtime->store, selection));
    for (int32_t i = 0; i < n_plans; i++) {
        options.workspace = runtime->workspaces[i];
        LG_TRY(lg_plan_create(&composition->plans[i], runtime->context, graph, &options));
        composition->n_plans++;
    }

    *out = composition;
    composition = NULL;
done:
    lg_graph_free(graph);
    lg_composition_free(composition);
    return status;
}

static lg_composition *find(const lego_runtime *runtime, const int32_t *selection)
{
    for (int32_t i = 0; i < runtime->n_kept; i++)
        if (memcmp(runtime->kept[i]->selection, selection,
                   (size_t)runtime->store->n_blocks * sizeof(*selection)) == 0)
            return runtime->kept[i];
    return NULL;
}

/* Take the index-th one off the kept ones; it goes once nothing runs on it. */
static void drop(lego_runtime *runtime, int32_t index)
{
    lg_composition *composition = runtime->kept[index];
    int is_free;

    runtime->kept[index] = runtime->kept[--runtime->n_kept];
    pthread_mutex_lock(&runtime->run_lock);
    composition->is_kept = 0;
    is_free = composition->users == 0;
    pthread_mutex_unlock(&runtime->run_lock);
    if (is_free)
        lg_composition_discard(runtime, composition);
}

/* Make room for one more among the kept: the one that was not wanted for longest goes, never the current one. */
static void make_room(lego_runtime *runtime)
{
    while (runtime->n_kept >= runtime->max_kept) {
        int32_t oldest = -1;

        for (int32_t i = 0; i < runtime->n_kept; i++)
            if (runtime->kept[i] != runtime->current &&
                (oldest < 0 || runtime->kept[i]->last_wanted < runtime->kept[oldest]->last_wanted))
                oldest = i;
        if (oldest < 0)
            return;
        drop(runtime, oldest);
    }
}

lego_status lg_composition_get(lg_composition **out, lego_runtime *runtime, const int32_t *selection)
{
    lg_composition *composition = find(runtime, selection);
    lego_status status = LEGO_OK;

    *out = NULL;
    if (!composition) {
        LG_TRY(lg_composition_create(&composition, runtime, selection, runtime->options.concurrency));
        make_room(runtime);
        composition->is_kept = 1;
        runtime->kept[runtime->n_kept++] = composition; /* there is room for the current one and max_kept more */
    }
    composition->last_wanted = ++runtime->wanted;
    *out = composition;
done:
    return status;
}

/* On-demand mode: forget the variants' files that do not run. */
static void unload_others(lego_runtime *runtime)
{
    for (int32_t b = 0; b < runtime->store->n_blocks; b++)
        for (int32_t v = 0; v < runtime->store->blocks[b].n_variants; v++)
            if (v != runtime->current->selection[b])
                lg_store_unload_variant(runtime->store, b, v);
}

void lg_composition_flip(lego_runtime *runtime, lg_composition *composition, double prepare_ms)
{
    uint64_t start = lg_clock_ns();

    pthread_mutex_lock(&runtime->run_lock);
    runtime->current = composition;
    runtime->n_switches++;
    runtime->measured.n_samples = 0;
    runtime->prepare_ms = prepare_ms;
    runtime->flip_us = 1e-3 * (double)(lg_clock_ns() - start);
    pthread_mutex_unlock(&runtime->run_lock);
    if (runtime->options.residency != LEGO_RESIDENCY_ON_DEMAND)
        return;
    for (int32_t i = runtime->n_kept - 1; i >= 0; i--)
        if (runtime->kept[i] != composition)
            drop(runtime, i);
    unload_others(runtime);
}

lg_composition *lg_composition_release(lg_composition *composition)
{
    composition->users--;
    return composition->users == 0 && !composition->is_kept ? composition : NULL;
}
