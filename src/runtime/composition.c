/* Planned compositions: one plan a slot, weights shared through the packed cache, the last few kept for switching back.
 *
 * Newcomers: a composition is one graph planned as one piece, so running it costs what the same network would. The work
 * of a switch is here, all of it off the inference path: compose, pack what was never packed, create what kernels are
 * new. Going back to a kept composition does nothing of that. */
#include <string.h>

#include "base/alloc.h"
#include "runtime/runtime.h"

void lg_composition_unref(lg_composition *composition)
{
    if (!composition || atomic_fetch_sub_explicit(&composition->references, 1, memory_order_acq_rel) != 1)
        return;
    for (int32_t i = 0; composition->plans && i < composition->n_plans; i++)
        lg_plan_free(composition->plans[i]);
    lg_free(composition->plans);
    lg_free(composition->selection);
    lg_free(composition);
}

size_t lg_composition_arena_bytes(const lg_composition *composition)
{
    return lg_plan_arena_bytes(composition->plans[0]);
}

static lego_status plan_composition(lg_composition **out, lego_runtime *runtime, const int32_t *selection)
{
    lg_plan_options options = LG_PLAN_OPTIONS_INIT;
    lg_composition *composition = NULL;
    lg_graph *graph = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    options.engine = runtime->options.engine;
    options.batch = runtime->options.batch;
    options.autotune = 1;
    options.cache = runtime->cache;
    LG_TRY(LG_CALLOC(&composition, 1));
    atomic_init(&composition->references, 1);
    composition->n_plans = runtime->n_slots;
    composition->n_blocks = runtime->n_blocks;
    LG_TRY(LG_CALLOC(&composition->selection, runtime->n_blocks));
    memcpy(composition->selection, selection, sizeof(*selection) * (size_t)runtime->n_blocks);
    LG_TRY(LG_CALLOC(&composition->plans, runtime->n_slots));
    LG_TRY(lg_store_compose(&graph, runtime->store, selection));
    for (int32_t i = 0; i < runtime->n_slots; i++) {
        options.workspace = runtime->slots[i].workspace;
        LG_TRY(lg_plan_create(&composition->plans[i], runtime->context, graph, &options));
    }
    *out = composition;
    composition = NULL;
done:
    lg_graph_free(graph);
    lg_composition_unref(composition);
    return status;
}

/* Put a composition into the kept ones, in place of the one that was not used for longest. */
static void keep(lego_runtime *runtime, lg_composition *composition)
{
    int32_t oldest = 0;

    for (int32_t i = 0; i < runtime->options.kept; i++) {
        if (!runtime->kept[i]) {
            oldest = i;
            break;
        }
        if (runtime->kept[i]->last_used < runtime->kept[oldest]->last_used)
            oldest = i;
    }
    lg_composition_unref(runtime->kept[oldest]);
    atomic_fetch_add_explicit(&composition->references, 1, memory_order_relaxed);
    runtime->kept[oldest] = composition;
}

lego_status lg_composition_get(lg_composition **out, lego_runtime *runtime, const int32_t *selection)
{
    lego_status status = LEGO_OK;

    *out = NULL;
    for (int32_t i = 0; i < runtime->options.kept; i++) {
        lg_composition *kept = runtime->kept[i];

        if (!kept || memcmp(kept->selection, selection, sizeof(*selection) * (size_t)runtime->n_blocks) != 0)
            continue;
        kept->last_used = ++runtime->clock;
        atomic_fetch_add_explicit(&kept->references, 1, memory_order_relaxed);
        *out = kept;
        return LEGO_OK;
    }
    LG_TRY(plan_composition(out, runtime, selection));
    (*out)->last_used = ++runtime->clock;
    keep(runtime, *out);
done:
    return status;
}
