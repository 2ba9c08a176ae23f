/* A graph becomes a plan that runs: fixed batch, static arena, nothing allocated while running.
 *
 * plan.c lowers the graph once for every backend: constant folding of batch norm into its conv, fusion of activation
 * and residual sum. exec_onednn.c and exec_ref.c execute. A model, one block, one segment and a composition are all
 * just graphs here. Weights are packed once a `lg_packed_cache`, which plans of one runtime share, so that planning a
 * composition whose variants were seen before packs nothing. */
#ifndef LG_ENGINE_ENGINE_H
#define LG_ENGINE_ENGINE_H

#include "graph/graph.h"
#include "legodnn/session.h"

typedef struct lg_plan lg_plan;
typedef struct lg_packed_cache lg_packed_cache;

/* Packed weights, created kernels and tuning results, shared by plans (thread-safe, reference counted by them). */
lego_status lg_packed_cache_create(lg_packed_cache **out, lego_context *context);
lg_packed_cache *lg_packed_cache_ref(lg_packed_cache *cache);
void lg_packed_cache_unref(lg_packed_cache *cache);
/* Drop what no plan uses any more. */
void lg_packed_cache_trim(lg_packed_cache *cache);
size_t lg_packed_cache_bytes(const lg_packed_cache *cache);
/* Tuning results (kernel choice per layer geometry and threads) as JSON, to store in a device profile and reload. */
lego_status lg_packed_cache_tuning_to_json(lg_json **out, const lg_packed_cache *cache);
lego_status lg_packed_cache_tuning_from_json(lg_packed_cache *cache, const lg_json *json);

/* Memory for the activations of plans that never run at the same time: a runtime keeps many compositions planned and pays
 * for one. Reference counted by the plans; a plan that needs more than `bytes` takes memory of its own. */
typedef struct lg_workspace lg_workspace;
lego_status lg_workspace_create(lg_workspace **out, size_t bytes);
void lg_workspace_unref(lg_workspace *workspace); /* NULL is a no-op */
size_t lg_workspace_bytes(const lg_workspace *workspace);

typedef struct lg_plan_options {
    lego_engine engine;       /* AUTO: oneDNN if built in, else the reference */
    int batch;                /* > 0 */
    int n_threads;            /* 0: the context's */
    int exact;                /* no folding, no fusion: bit for bit what the graph says (reference engine) */
    int autotune;             /* time kernel candidates per layer once (cached) instead of trusting the heuristic */
    lg_packed_cache *cache;   /* NULL: a private one */
    lg_workspace *workspace;  /* NULL: memory of the plan's own */
} lg_plan_options;
#define LG_PLAN_OPTIONS_INIT { LEGO_ENGINE_AUTO, 1, 0, 0, 0, NULL, NULL }

/* `graph` must be validated and holds no block ops. It may be freed afterwards (weights are packed or referenced). */
lego_status lg_plan_create(lg_plan **out, lego_context *context, const lg_graph *graph,
                           const lg_plan_options *options);
void lg_plan_free(lg_plan *plan);

/* inputs[i], outputs[i]: float32 row-major, batch * elements of graph input/output i. One thread at a time a plan,
 * different plans in parallel. Allocates nothing. */
lego_status lg_plan_run(lg_plan *plan, const float *const *inputs, float *const *outputs);

/* The same, and the time spent in the nodes of each block: ns[b] for b < n_blocks, ns[n_blocks] the frame. */
lego_status lg_plan_run_timed(lg_plan *plan, const float *const *inputs, float *const *outputs, uint64_t *ns,
                              int32_t n_blocks);

size_t lg_plan_arena_bytes(const lg_plan *plan);  /* activations and scratch */
size_t lg_plan_weight_bytes(const lg_plan *plan); /* packed weights, resident */
/* The part of one block's nodes; LG_NONE: of the frame's. */
size_t lg_plan_block_weight_bytes(const lg_plan *plan, int32_t block);
const char *lg_plan_engine(const lg_plan *plan);  /* "onednn 2.6.3" */
/* What each step runs, e.g. "conv1: jit:avx512_core 3x3 ..."; free with lg_free. For `bench -v` and the ref check. */
lego_status lg_plan_describe(char **out, const lg_plan *plan);

#endif
