/* Inside of the fast backend, shared by assemble.c (choosing, binding), operations.c (listing) and operations_run.c. */
#ifndef LG_ENGINE_ASSEMBLE_H
#define LG_ENGINE_ASSEMBLE_H

#include "engine/cache.h"
#include "engine/plan.h"
#include "engine/tune.h"

/* Where data lies: a buffer of the arena, the caller's memory, or the tensor of a constant step. */
typedef enum where_kind { NOWHERE, BUFFER, INPUT, OUTPUT, FIXED } where_kind;
typedef struct where {
    where_kind kind;
    int32_t index;
    int shared; /* by two cells: not to be written over */
} where;

typedef enum operation_kind { CALL, HOST, COPY } operation_kind;
typedef struct operation {
    operation_kind kind;
    int32_t step;            /* that it computes or serves; LG_NONE: hands a graph output over */
    lg_candidate candidate;
    int is_reorder;
    lg_cache_entry *kernel;  /* CALL */
    lg_cache_entry *weights; /* layers */
    lg_call *call;
    where in[2], out, scratch;
    where *inputs;           /* HOST: all of them */
    int32_t n_inputs;
    int n_parts;             /* HOST */
    size_t bytes;            /* COPY */
} operation;

typedef struct fast_state {
    operation *ops;
    size_t ops_capacity;
    lg_arena_request *buffers;
    size_t n_buffers, buffers_capacity;
    where *places;           /* cell x layout: where it is at hand */
    const float **host_inputs; /* of the HOST operation under way */
    const float *const *inputs; /* of the run under way */
    float *const *outputs;
    int previous_threads;
} fast_state;

/* Append the operations of every step, with the reorders and copies they need, and of every graph output. Takes over the
 * kernels that it uses. */
lego_status lg_operations_list(lg_plan *plan, const lg_step_options *options, const int32_t *choices,
                               lg_cache_entry **kernels, const lg_reorder_costs *reorders);

/* NULL for the caller's memory: bound when a run begins. */
void *lg_operation_address(const lg_plan *plan, where place);

/* lg_backend's, over the listed operations. */
lego_status lg_operations_begin(lg_plan *plan, const float *const *inputs, float *const *outputs);
lego_status lg_operations_run(lg_plan *plan, int32_t index);
void lg_operations_end(lg_plan *plan);
void lg_operations_describe(lg_str *out, const lg_plan *plan);

#endif
