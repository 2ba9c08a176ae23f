/* A graph lowered to the steps that a backend executes: batch norm folded, activation and residual sum fused, dropout
 * and flatten gone, the batch filled in. Backends see this and never the graph. */
#ifndef LG_ENGINE_LOWER_H
#define LG_ENGINE_LOWER_H

#include "graph/graph.h"
#include "graph/ops.h"

typedef enum lg_step_kind {
    LG_STEP_CONV,
    LG_STEP_LINEAR,
    LG_STEP_AFFINE,   /* per channel y = x * scale + shift: a batch norm that nothing could absorb */
    LG_STEP_ADD,      /* two inputs of equal shape */
    LG_STEP_ACT,      /* y = act(x) */
    LG_STEP_MAX_POOL,
    LG_STEP_AVG_POOL,
    LG_STEP_ADAPTIVE_POOL
} lg_step_kind;

typedef enum lg_act_kind { LG_ACT_NONE, LG_ACT_RELU, LG_ACT_CLIP } lg_act_kind;

typedef struct lg_act {
    lg_act_kind kind;
    float lo, hi; /* CLIP */
} lg_act;

/* Activation memory. A view (flatten) has its own shape on the row-major data of another cell, its base. */
typedef struct lg_cell {
    lg_shape shape;      /* dims[0] is the batch, a number */
    int64_t elements;
    int32_t base;        /* itself, unless it is a view */
    int32_t first, last; /* steps that write and last read it (of a base: or its views); -1 graph input, n_steps output */
    int32_t input;       /* graph input it is, or LG_NONE */
} lg_cell;

/* Batch norm at inference: its tensors, all (C). `set` 0: there is none. */
typedef struct lg_norm {
    int set;
    int has_gamma, has_beta;
    double eps;
    lego_tensor gamma, beta, mean, variance;
} lg_norm;

/* act(op(inputs) + residual) -> output. Tensors share the graph's storage. */
typedef struct lg_step {
    lg_step_kind kind;
    char *name;         /* of the node that does the work */
    int32_t block;      /* of that node; LG_NONE = frame */
    int32_t inputs[2];  /* cells */
    int32_t n_inputs;
    int32_t output;     /* cell, never a view */
    int32_t residual;   /* cell added before the activation, LG_NONE: no sum. CONV and LINEAR only */
    lg_act act;
    lg_attrs attrs;     /* conv, pool, adaptive_pool */
    lego_tensor weight; /* CONV (K,C/groups,R,S), LINEAR (K,C) */
    lego_tensor bias;   /* (K); has_bias 0: none */
    int has_bias;
    lg_norm norm;       /* folded behind CONV and LINEAR; the whole work of AFFINE */
} lg_step;

typedef struct lg_program {
    lg_cell *cells;
    lg_step *steps;
    int32_t *inputs, *outputs; /* cells */
    int32_t n_cells, n_steps, n_inputs, n_outputs;
    size_t cells_capacity, steps_capacity;
    int64_t batch;
} lg_program;

/* `exact`: no folding and no fusion, one step a node, so that results are those of the graph as written. */
lego_status lg_program_create(lg_program **out, const lg_graph *graph, int64_t batch, int exact);
void lg_program_free(lg_program *program);

/* Per channel scale and shift of a batch norm: y = x * scale + shift; n = its channels. */
void lg_norm_affine(double *scale, double *shift, const lg_norm *norm, int64_t n);
/* Output channels K and weights of a step that has any: CONV, LINEAR, or AFFINE (one weight a channel). */
int64_t lg_step_channels(const lg_step *step);
int64_t lg_step_weights(const lg_step *step);
/* Weights with the batch norm folded in, in the layout of the original ones, and the bias (K), zero without any. */
lego_status lg_step_fold(float *weight, float *bias, const lg_step *step);

/* "conv", for messages. */
const char *lg_step_kind_name(lg_step_kind kind);

#endif
