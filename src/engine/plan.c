/* plan.c: the public face of the engine: a validated graph becomes a plan, a plan runs.
 *
 * lower.c turns the graph into steps, the backend chosen here lays them out, packs weights and creates kernels,
 * arena.c places the activations. After that lg_plan_run() only walks the backend's operations.
 *
 * A large batch runs in tiles, each through the whole graph, which bounds the arena whatever the batch.
 *
 * What newcomers get wrong: one plan has one set of activations, so it serves one thread at a time. Plan twice on one
 * cache to run twice at once; the second plan packs nothing. */
#include "engine/plan.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "engine/cache.h"

#define TILE_BYTES ((size_t)16 << 20) /* input and output of the largest node */

static const lg_backend *choose_backend(lego_engine engine, int exact)
{
    if (engine == LEGO_ENGINE_AUTO)
        return exact ? &lg_backend_ref : &lg_backend_onednn;
    return engine == LEGO_ENGINE_REF ? &lg_backend_ref : &lg_backend_onednn;
}

static lego_status check_options(const lg_plan_options *options)
{
    if (options->engine != LEGO_ENGINE_AUTO && options->engine != LEGO_ENGINE_REF &&
        options->engine != LEGO_ENGINE_ONEDNN)
        return lg_error(LEGO_EINVAL, "engine %d is not one of auto, ref, onednn", (int)options->engine);
    if (options->exact && options->engine == LEGO_ENGINE_ONEDNN)
        return lg_error(LEGO_EINVAL, "exact runs are the reference engine's, not oneDNN's");
    if (options->batch < 1)
        return lg_error(LEGO_EINVAL, "batch %d is not positive", options->batch);
    if (options->n_threads < 0)
        return lg_error(LEGO_EINVAL, "%d threads: expected 0 (as the context says) or more", options->n_threads);
    return LEGO_OK;
}

static int resolve_threads(const lego_context *context, int n_threads)
{
    if (n_threads > 0)
        return n_threads;
    if (context && context->n_threads > 0)
        return context->n_threads;
    return lg_cpu_count();
}

/* Samples that run through the whole graph together: enough to reuse each weight often (ResNet-18 at width 64 gains a
 * third from 2 to 32 samples and nothing beyond), few enough to bound the arena and the time that tuning takes. */
static int64_t samples_at_once(const lg_graph *graph, int64_t batch)
{
    int64_t largest = 1, at_once, n_tiles;

    for (int32_t i = 0; i < graph->n_nodes; i++) {
        const lg_node *node = &graph->nodes[i];
        int64_t elements = lg_value_elements(&graph->values[node->outputs[0]]);
        if (node->n_inputs > 0)
            elements += lg_value_elements(&graph->values[node->inputs[0]]);
        if (elements > largest)
            largest = elements;
    }
    at_once = (int64_t)(TILE_BYTES / sizeof(float)) / largest;
    if (at_once < 1)
        at_once = 1;
    if (at_once >= batch)
        return batch;
    n_tiles = (batch + at_once - 1) / at_once;
    return (batch + n_tiles - 1) / n_tiles;
}

/* Pointers of the tiles' runs, and how far apart samples lie. */
static lego_status prepare_tiles(lg_plan *plan, const lg_graph *graph)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&plan->input_sizes, graph->n_inputs));
    LG_TRY(LG_CALLOC(&plan->output_sizes, graph->n_outputs));
    LG_TRY(LG_CALLOC(&plan->inputs, graph->n_inputs));
    LG_TRY(LG_CALLOC(&plan->outputs, graph->n_outputs));
    for (int32_t i = 0; i < graph->n_inputs; i++)
        plan->input_sizes[i] = lg_value_elements(&graph->values[graph->inputs[i]]);
    for (int32_t i = 0; i < graph->n_outputs; i++)
        plan->output_sizes[i] = lg_value_elements(&graph->values[graph->outputs[i]]);
done:
    return status;
}

lego_status lg_plan_create(lg_plan **out, lego_context *context, const lg_graph *graph,
                           const lg_plan_options *options)
{
    static const lg_plan_options defaults = LG_PLAN_OPTIONS_INIT;
    lg_plan *plan = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    if (!options)
        options = &defaults;
    LG_TRY(check_options(options));
    LG_TRY(LG_CALLOC(&plan, 1));
    plan->backend = choose_backend(options->engine, options->exact);
    plan->context = context;
    plan->n_threads = resolve_threads(context, options->n_threads);
    plan->autotune = options->autotune;
    plan->workspace = options->workspace; /* lg_plan_allocate() takes the reference, or clears it */
    if (options->cache)
        plan->cache = lg_packed_cache_ref(options->cache);
    else
        LG_TRY(lg_packed_cache_create(&plan->cache, context));
    plan->batch = options->batch;
    plan->tile = samples_at_once(graph, plan->batch);
    LG_TRY(prepare_tiles(plan, graph));
    LG_TRY(lg_program_create(&plan->program, graph, plan->tile, options->exact));
    LG_TRY(plan->backend->prepare(plan));
    plan->context = NULL;

    *out = plan;
    plan = NULL; /* the caller owns it now */
done:
    lg_plan_free(plan);
    return status;
}

void lg_plan_free(lg_plan *plan)
{
    if (!plan)
        return;
    plan->backend->dispose(plan);
    lg_program_free(plan->program);
    if (!plan->arena)
        plan->workspace = NULL; /* planning failed before it was taken */
    if (plan->workspace)
        lg_workspace_unref(plan->workspace);
    else
        lg_cache_give_block(plan->cache, plan->arena, plan->block_bytes);
    lg_free(plan->op_blocks);
    lg_free(plan->op_weight_bytes);
    lg_free(plan->input_sizes);
    lg_free(plan->output_sizes);
    lg_free(plan->inputs);
    lg_free(plan->outputs);
    lg_packed_cache_unref(plan->cache);
    lg_free(plan);
}

lego_status lg_plan_allocate(lg_plan *plan, lg_arena_request *requests, size_t n)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_arena_plan(&plan->arena_bytes, requests, n));
    plan->block_bytes = plan->arena_bytes > 0 ? plan->arena_bytes : LG_ARENA_ALIGN;
    if (plan->workspace)
        plan->arena = lg_workspace_take(plan->workspace, plan->block_bytes);
    if (plan->arena)
        goto done;
    plan->workspace = NULL; /* too small */
    plan->arena = lg_cache_take_block(plan->cache, &plan->block_bytes);
    if (!plan->arena)
        LG_FAIL(LEGO_ENOMEM, "out of memory: an arena of %zu bytes for a batch of %lld", plan->arena_bytes,
                (long long)plan->program->batch);
done:
    return status;
}

/* --- running --- */

/* One tile; `ns` (n_blocks + 1, may be NULL) is added to. */
static lego_status run_tile(lg_plan *plan, uint64_t *ns, int32_t n_blocks)
{
    uint64_t before = ns ? lg_clock_ns() : 0;
    lego_status status = LEGO_OK;

    LG_TRY(plan->backend->begin(plan, plan->inputs, plan->outputs));
    for (int32_t i = 0; i < plan->n_ops; i++) {
        LG_TRY(plan->backend->run_op(plan, i));
        if (ns) {
            int32_t block = plan->op_blocks[i];
            uint64_t now = lg_clock_ns();
            ns[block >= 0 && block < n_blocks ? block : n_blocks] += now - before;
            before = now;
        }
    }
done:
    plan->backend->end(plan);
    return status;
}

/* The last tile of a batch that is no multiple ends at the batch's end and computes some samples again. */
static lego_status run_tiles(lg_plan *plan, const float *const *inputs, float *const *outputs, uint64_t *ns,
                             int32_t n_blocks)
{
    const lg_program *program = plan->program;
    lego_status status = LEGO_OK;

    for (int64_t first = 0; first < plan->batch; first += plan->tile) {
        int64_t start = first + plan->tile > plan->batch ? plan->batch - plan->tile : first;
        for (int32_t i = 0; i < program->n_inputs; i++)
            plan->inputs[i] = inputs[i] + start * plan->input_sizes[i];
        for (int32_t i = 0; i < program->n_outputs; i++)
            plan->outputs[i] = outputs[i] + start * plan->output_sizes[i];
        LG_TRY(run_tile(plan, ns, n_blocks));
    }
done:
    return status;
}

lego_status lg_plan_run(lg_plan *plan, const float *const *inputs, float *const *outputs)
{
    return run_tiles(plan, inputs, outputs, NULL, 0);
}

lego_status lg_plan_run_timed(lg_plan *plan, const float *const *inputs, float *const *outputs, uint64_t *ns,
                              int32_t n_blocks)
{
    memset(ns, 0, ((size_t)n_blocks + 1) * sizeof(*ns));
    return run_tiles(plan, inputs, outputs, ns, n_blocks);
}

size_t lg_plan_arena_bytes(const lg_plan *plan)
{
    return plan->arena_bytes;
}

size_t lg_plan_weight_bytes(const lg_plan *plan)
{
    return plan->weight_bytes;
}

size_t lg_plan_block_weight_bytes(const lg_plan *plan, int32_t block)
{
    size_t bytes = 0;

    for (int32_t i = 0; i < plan->n_ops; i++)
        if (plan->op_blocks[i] == block)
            bytes += plan->op_weight_bytes[i];
    return bytes;
}

const char *lg_plan_engine(const lg_plan *plan)
{
    return plan->backend->name();
}

lego_status lg_plan_describe(char **out, const lg_plan *plan)
{
    lg_str text = LG_STR_INIT;

    *out = NULL;
    lg_str_append(&text, "");
    plan->backend->describe(&text, plan);
    return lg_str_finish(out, &text);
}
