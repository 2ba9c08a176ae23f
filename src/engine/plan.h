/* Inside of a plan, shared by plan.c and the backends (exec_ref.c, assemble.c). */
#ifndef LG_ENGINE_PLAN_H
#define LG_ENGINE_PLAN_H

#include "base/str.h"
#include "engine/arena.h"
#include "engine/engine.h"
#include "engine/lower.h"

typedef struct lg_backend lg_backend;

struct lg_plan {
    const lg_backend *backend;
    lg_program *program;
    lg_packed_cache *cache;
    lego_context *context; /* borrowed, used while planning only */
    int64_t batch, tile;   /* samples of a run, and of the program: a run executes it for one tile after the other */
    int64_t *input_sizes, *output_sizes; /* elements of a sample */
    const float **inputs;  /* of the tile under way */
    float **outputs;
    int n_threads;
    int autotune;
    int32_t n_ops;         /* what run() executes; set by prepare() with their blocks */
    int32_t *op_blocks;
    size_t *op_weight_bytes;
    uint8_t *arena;        /* made by lg_plan_allocate() */
    size_t arena_bytes;    /* what it needs */
    size_t block_bytes;    /* what it has: arenas are reused */
    lg_workspace *workspace; /* whose memory `arena` is; NULL: the plan's own */
    size_t weight_bytes;
    void *state;           /* the backend's */
};

struct lg_backend {
    lego_engine engine;
    const char *(*name)(void); /* "onednn 2.6.3" */
    /* Lay out, pack, create kernels: set state, n_ops, op_blocks, op_weight_bytes, weight_bytes and the arena. */
    lego_status (*prepare)(lg_plan *plan);
    void (*dispose)(lg_plan *plan);
    /* A run: begin, op 0 .. n_ops-1, end (also after a failed op). None of them allocates. */
    lego_status (*begin)(lg_plan *plan, const float *const *inputs, float *const *outputs);
    lego_status (*run_op)(lg_plan *plan, int32_t op);
    void (*end)(lg_plan *plan);
    /* One line an op. */
    void (*describe)(lg_str *out, const lg_plan *plan);
};

extern const lg_backend lg_backend_ref;    /* exec_ref.c */
extern const lg_backend lg_backend_onednn; /* assemble.c over exec_onednn.c */

/* The memory of a workspace, with a reference taken, if it has so many bytes; else NULL. */
void *lg_workspace_take(lg_workspace *workspace, size_t bytes);

/* Place the requests and take memory for the arena; its contents are undefined. */
lego_status lg_plan_allocate(lg_plan *plan, lg_arena_request *requests, size_t n);

#endif
