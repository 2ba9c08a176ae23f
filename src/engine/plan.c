/* plan.c: the public face of the engine: a validated graph becomes a plan, a plan runs.
 *
 * lower.c turns the graph into steps, the backend chosen here lays them out, packs weights and creates kernels,
 * arena.c places the activations. After that lg_plan_run() only walks the backend's operations.
 *
 * What newcomers get wrong: one plan has one set of activations, so it serves one thread at a time. Plan twice on one
 * cache to run twice at once; the second plan packs nothing. */
#include "engine/plan.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "engine/cache.h"

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
    LG_TRY(lg_program_create(&plan->program, graph, options->batch, options->exact));
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

lego_status lg_plan_run(lg_plan *plan, const float *const *inputs, float *const *outputs)
{
    lego_status status = LEGO_OK;

    LG_TRY(plan->backend->begin(plan, inputs, outputs));
    for (int32_t i = 0; i < plan->n_ops; i++)
        LG_TRY(plan->backend->run_op(plan, i));
done:
    plan->backend->end(plan);
    return status;
}

lego_status lg_plan_run_timed(lg_plan *plan, const float *const *inputs, float *const *outputs, uint64_t *ns,
                              int32_t n_blocks)
{
    uint64_t before;
    lego_status status = LEGO_OK;

    memset(ns, 0, ((size_t)n_blocks + 1) * sizeof(*ns));
    before = lg_clock_ns();
    LG_TRY(plan->backend->begin(plan, inputs, outputs));
    for (int32_t i = 0; i < plan->n_ops; i++) {
        int32_t block = plan->op_blocks[i];
        uint64_t now;
        LG_TRY(plan->backend->run_op(plan, i));
        now = lg_clock_ns();
        ns[block >= 0 && block < n_blocks ? block : n_blocks] += now - before;
        before = now;
    }
done:
    plan->backend->end(plan);
    return status;
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
