/* A graph lowered to the steps that a backend executes: batch norm folded, activation and residual sum fused, dropout,
 * flatten and reshape gone, the batch filled in. Backends see this and never the graph. */
#ifndef LG_ENGINE_LOWER_H
#define LG_ENGINE_LOWER_H

#include "base/str.h"
#include "engine/activation.h"
#include "graph/graph.h"
#include "graph/ops.h"

typedef enum lg_step_kind {
    LG_STEP_CONV,
    LG_STEP_CONV_TRANSPOSE,
    LG_STEP_LINEAR,
    LG_STEP_AFFINE,   /* per channel y = x * scale + shift: a batch norm that nothing could absorb */
    LG_STEP_BINARY,   /* two inputs, an extent of 1 repeated over the other's */
    LG_STEP_ACT,      /* y = act(x) */
    LG_STEP_PRELU,
    LG_STEP_MAX_POOL,
    LG_STEP_AVG_POOL,
    LG_STEP_ADAPTIVE_AVG_POOL, /* also the mean over rows and columns */
    LG_STEP_ADAPTIVE_MAX_POOL,
    LG_STEP_PAD,
    LG_STEP_UPSAMPLE,
    LG_STEP_CONCAT,
    LG_STEP_SLICE,    /* also each output of a split */
    LG_STEP_PERMUTE,
    LG_STEP_RESHAPE,  /* to an image, which may be needed in any layout; other reshapes are views */
    LG_STEP_SHUFFLE,  /* of channels */
    LG_STEP_CONSTANT, /* no input */
    LG_STEP_MEAN,
    LG_STEP_SOFTMAX,
    LG_STEP_LOG_SOFTMAX,
    LG_STEP_LAYER_NORM,
    LG_STEP_GROUP_NORM,
    LG_STEP_MATMUL
} lg_step_kind;

typedef enum lg_binary_kind {
    LG_BINARY_ADD,
    LG_BINARY_SUB,
    LG_BINARY_MUL,
    LG_BINARY_DIV,
    LG_BINARY_MIN, /* of a number and a NaN: the NaN */
    LG_BINARY_MAX
} lg_binary_kind;

/* Activation memory. A view (flatten, reshape) has its own shape on the row-major data of another cell, its base. */
typedef struct lg_cell {
    lg_shape shape;      /* dims[0] is the batch, a number */
    int64_t elements;
    int32_t base;        /* itself, unless it is a view */
    int32_t first, last; /* steps that write and last read it (of a base: or its views); -1 graph input, n_steps output */
    int32_t input;       /* graph input it is, or LG_NONE */
} lg_cell;

/* Batch norm at inference: its tensors, all (C). `set` 0: there is none. Layer and group norms have no mean and variance:
 * they take them from their input. */
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
    int32_t *inputs;    /* cells */
    int32_t n_inputs;
    int32_t output;     /* cell, never a view */
    int32_t residual;   /* cell added before the activation, LG_NONE: no sum. CONV and LINEAR only */
    lg_act act;
    lg_binary_kind binary;
    int turned;         /* MATMUL: the second operand's last two axes are swapped, (...,P,K) */
    int64_t shuffle_groups; /* channel i * (C/groups) + k moves to k * groups + i */
    lg_attrs attrs;     /* of the node; of a split's outputs: `slice` */
    lego_tensor weight; /* CONV (K,C/groups,R,S), CONV_TRANSPOSE (C,K/groups,R,S), LINEAR (K,C), PRELU (C) or (1), CONSTANT */
    lego_tensor bias;   /* (K); has_bias 0: none */
    int has_bias;
    lg_norm norm;       /* folded behind layers; the whole work of AFFINE; gamma and beta of layer and group norms */
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
/* Take steps away whose output nobody reads: constants that became biases, axes that a product swaps itself. */
lego_status lg_program_drop_unread(lg_program *program);
/* Of the step with the most. */
int32_t lg_program_max_inputs(const lg_program *program);

/* How a step's windows slide over the spatial axes. There are always three: an image's depth is 1, and so are kernel and
 * stride along it. Of CONV, CONV_TRANSPOSE (padding cuts its output; output_padding, which adds to it, is less padding
 * behind), pools and PAD. */
typedef struct lg_sliding {
    int64_t kernel[LG_MAX_AXES], stride[LG_MAX_AXES], dilation[LG_MAX_AXES]; /* dilation 1 = dense */
    int64_t before[LG_MAX_AXES], after[LG_MAX_AXES];
} lg_sliding;
lg_sliding lg_step_sliding(const lg_program *program, const lg_step *step);
/* Of an image (2) or a volume (3); 0: the cell is neither. */
int lg_cell_axes(const lg_cell *cell);

/* CONV, CONV_TRANSPOSE, LINEAR: what has weights to pack. */
int lg_step_is_layer(const lg_step *step);
/* Several convolutions side by side: 1 where there is but one, or none. */
int64_t lg_step_groups(const lg_step *step);

/* "conv", for messages. */
const char *lg_step_kind_name(lg_step_kind kind);
/* "conv, batch norm folded, + residual, relu" */
void lg_step_describe(lg_str *out, const lg_step *step);

#endif
