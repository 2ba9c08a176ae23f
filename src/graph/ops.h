/* One op = one file with one lg_op table, listed in ops/registry.c. Ops that slide over space have two: for images (conv2d,
 * max_pool ...) and for volumes and clips (conv3d, max_pool3d ...), of one kind, with one set of functions. */
#ifndef LG_GRAPH_OPS_H
#define LG_GRAPH_OPS_H

#include "graph/channels.h"
#include "graph/functions.h"
#include "graph/graph.h"

typedef enum lg_op_kind {
    LG_OP_BLOCK, /* place of a block in a frame: inputs and outputs of the block, never executed */
    LG_OP_CONV, /* conv2d, conv3d */
    LG_OP_LINEAR,
    LG_OP_BATCH_NORM,
    LG_OP_RELU,
    LG_OP_CLIP, /* relu6 = clip with min 0, max 6, its defaults */
    LG_OP_ADD,
    LG_OP_MAX_POOL,
    LG_OP_AVG_POOL,
    LG_OP_ADAPTIVE_AVG_POOL, /* output 1x1 = global average pool */
    LG_OP_FLATTEN,
    LG_OP_DROPOUT,
    LG_OP_SIGMOID,
    LG_OP_TANH,
    LG_OP_HARD_SIGMOID,
    LG_OP_HARD_SWISH,
    LG_OP_SILU,
    LG_OP_GELU,
    LG_OP_LEAKY_RELU,
    LG_OP_PRELU,
    LG_OP_SOFTMAX,
    LG_OP_SUB,
    LG_OP_MUL,
    LG_OP_DIV,
    LG_OP_CONCAT,
    LG_OP_SPLIT,
    LG_OP_SLICE,
    LG_OP_RESHAPE, /* also squeeze and unsqueeze: shapes are known */
    LG_OP_PERMUTE,
    LG_OP_MEAN,
    LG_OP_PAD,
    LG_OP_UPSAMPLE,
    LG_OP_ADAPTIVE_MAX_POOL, /* output 1x1 = global max pool */
    LG_OP_CONV_TRANSPOSE, /* conv_transpose2d, conv_transpose3d */
    LG_OP_MATMUL,
    LG_OP_LAYER_NORM,
    LG_OP_GROUP_NORM, /* as many groups as channels = instance norm */
    LG_OP_CONSTANT,
#define LG_FUNCTION_KIND(KIND, name) LG_OP_##KIND,
    LG_FUNCTIONS(LG_FUNCTION_KIND)
#undef LG_FUNCTION_KIND
    LG_OP_ELU, /* also selu, celu */
    LG_OP_SOFTPLUS,
    LG_OP_POW, /* to a constant exponent */
    LG_OP_SHRINK,
    LG_OP_THRESHOLDED_RELU,
    LG_OP_LOG_SOFTMAX,
    LG_OP_MIN, /* of two values, as LG_OP_MAX */
    LG_OP_MAX,
    LG_OP_N_KINDS
} lg_op_kind;

/* Spatial axes: h and w of an image; d (depth or time), h and w of a volume. Lists by axis have op->n_axes entries in that
 * order, the rest is unused; pads have the entries before the value, then those behind it: top, left, bottom, right. */
#define LG_MAX_AXES 3
#define LG_MAX_PADS (2 * LG_MAX_AXES)

typedef struct lg_conv_attrs {
    int64_t stride[LG_MAX_AXES];
    int64_t dilation[LG_MAX_AXES];
    int64_t pads[LG_MAX_PADS];
    int64_t groups;
} lg_conv_attrs;

typedef struct lg_conv_transpose_attrs {
    int64_t stride[LG_MAX_AXES];
    int64_t dilation[LG_MAX_AXES];
    int64_t pads[LG_MAX_PADS];
    int64_t output_padding[LG_MAX_AXES];
    int64_t groups;
} lg_conv_transpose_attrs;

typedef struct lg_pool_attrs {
    int64_t kernel[LG_MAX_AXES];
    int64_t stride[LG_MAX_AXES];
    int64_t dilation[LG_MAX_AXES];
    int64_t pads[LG_MAX_PADS];
    int32_t ceil_mode;
    int32_t count_include_pad; /* average only */
} lg_pool_attrs;

typedef struct lg_block_attrs {
    int64_t index;        /* which block of the store stands here */
    int64_t n_outputs;
} lg_block_attrs;

/* A list of extents or axes. Axes count the batch as 0, so they are 1 or more. */
typedef struct lg_dims {
    int64_t n;
    int64_t dims[LEGO_MAX_DIMS];
} lg_dims;

typedef enum lg_upsample_mode { LG_UPSAMPLE_NEAREST, LG_UPSAMPLE_BILINEAR } lg_upsample_mode;

/* The attributes of a node, by op. Plain data: copied with memcpy, compared field by field. Grows with the ops. */
union lg_attrs {
    lg_conv_attrs conv;
    lg_pool_attrs pool;             /* max_pool, avg_pool */
    struct { double eps; double momentum; } batch_norm;
    struct { double min, max; } clip;
    struct { int64_t size[LG_MAX_AXES]; } adaptive_pool; /* adaptive_avg_pool, adaptive_max_pool */
    struct { int64_t axis; } flatten; /* start axis */
    struct { double p; } dropout;
    lg_block_attrs block;
    lg_conv_transpose_attrs conv_transpose;
    struct { double alpha, beta; } hard_sigmoid; /* clip(alpha x + beta, 0, 1) */
    struct { double slope; } leaky_relu;
    struct { int32_t tanh; } gelu;               /* the tanh approximation instead of erf */
    struct { int64_t axis; } axis;               /* softmax, log_softmax, concat */
    struct { int64_t axis; lg_dims sizes; } split;
    struct { int64_t axis, start, end, step; } slice; /* elements start, start + step ..., before end */
    struct { lg_dims shape; } reshape;           /* without the batch */
    struct { lg_dims order; } permute;           /* output axis i + 1 is input axis order[i] */
    struct { lg_dims axes; int32_t keep; } mean; /* keep: reduced axes stay, with extent 1 */
    struct { int64_t pads[LG_MAX_PADS]; double value; } pad;
    struct { int64_t size[LG_MAX_AXES]; int32_t mode, align_corners; } upsample;
    struct { int64_t axis; double eps; } layer_norm; /* over the axes from `axis` on */
    struct { int64_t groups; double eps; } group_norm;
    struct { double alpha, scale, input_scale; } elu; /* ops/function.c has the definitions of these */
    struct { double beta; } softplus;
    struct { double exponent; } pow;
    struct { double lambda, bias; } shrink;
    struct { double alpha; } thresholded_relu;
};

typedef enum lg_field_type {
    LG_FIELD_INT,
    LG_FIELD_INTS,
    LG_FIELD_DOUBLE,
    LG_FIELD_BOOL,
    LG_FIELD_DIMS,
    LG_FIELD_CHOICE
} lg_field_type;

/* Describes one attribute for JSON and comparison: INT is int64_t, INTS int64_t[count], DOUBLE double, BOOL int32_t,
 * DIMS lg_dims, CHOICE an int32_t index into `choices`, written as its name. */
typedef struct lg_field {
    const char *name;
    lg_field_type type;
    size_t offset; /* into lg_attrs */
    int count;     /* INTS: entries; CHOICE: how many choices */
    const char *const *choices;
} lg_field;

typedef enum lg_slot_flags {
    LG_SLOT_OPTIONAL = 1,
    LG_SLOT_BUFFER = 2 /* not trained: running statistics */
} lg_slot_flags;

/* How a freshly built model's weight is filled (init.c). */
typedef enum lg_init_rule {
    LG_INIT_ZEROS,
    LG_INIT_ONES,
    LG_INIT_KAIMING_NORMAL, /* fan out, gain of a ReLU: convolutions */
    LG_INIT_QUARTER,        /* 0.25: torch's slope of a PReLU */
    LG_INIT_FAN_IN_UNIFORM  /* U(-1/sqrt(fan in), 1/sqrt(fan in)): torch's default for linear layers */
} lg_init_rule;

typedef struct lg_slot {
    const char *name; /* "weight": the weight's usual name is "<node>.<slot>" */
    int flags;
    lg_init_rule init;
} lg_slot;

#define LG_MAX_SLOTS 4

struct lg_op {
    const char *name; /* "conv2d" */
    lg_op_kind kind;
    int n_axes; /* spatial axes that its attributes list; 0: none */
    int min_inputs, max_inputs; /* max -1: any number */
    lg_attrs defaults;
    const lg_field *fields; /* ends with a NULL name */
    lg_slot slots[LG_MAX_SLOTS];
    int n_slots;
    /* Output count of the node; NULL: 1. */
    int (*n_outputs)(const lg_graph *graph, const lg_node *node);
    /* Attributes, weights' dtypes and shapes against the inputs' shapes. */
    lego_status (*validate)(const lg_graph *graph, const lg_node *node);
    /* Write the outputs' dtype and shape. Called only after validate succeeded. */
    lego_status (*infer_shape)(lg_graph *graph, const lg_node *node);
    /* For one sample: multiply-accumulates (NULL: none) and all floating-point operations. */
    int64_t (*macs)(const lg_graph *graph, const lg_node *node);
    int64_t (*flops)(const lg_graph *graph, const lg_node *node);
    /* The channel rule: ties elements of the axes of inputs, outputs and weights that must go together. */
    lego_status (*channels)(lg_channels *channels, const lg_graph *graph, const lg_node *node);
    /* After channels were removed: set attributes that count channels (groups, split sizes ...), and slice the weights
     * that a per-axis keep list cannot describe. NULL: axis slicing is enough. See lg_channels_apply(). */
    lego_status (*prune)(const lg_channels_keep *keep, const lg_graph *before, const lg_node *node, lg_graph *after,
                         lg_node *pruned);
};

const lg_op *lg_op_find(const char *name); /* NULL if unknown */
const lg_op *lg_op_of_kind(lg_op_kind kind); /* of several, the one for images */
/* The table of this kind for values of `n_axes` spatial axes; where there is none, as lg_op_of_kind(). */
const lg_op *lg_op_of_axes(lg_op_kind kind, int n_axes);
/* The same for a node with these inputs, whose first says how many axes there are. */
const lg_op *lg_op_for(lg_op_kind kind, const lg_graph *graph, int n_inputs, const int32_t *inputs);
const lg_op *lg_op_at(int index); /* in the order of the list; NULL behind its end */
int lg_op_is_compressible(const lg_op *op); /* convolutions, linear: the layers that blocks are counted in */
/* Of such a layer: the axis along which the channels of its input or output `value` lie, and its convolution groups. */
int lg_layer_channel_axis(const lg_graph *graph, const lg_node *layer, int32_t value);
int64_t lg_layer_groups(const lg_node *layer);

lego_status lg_attrs_to_json(lg_json *object, const lg_op *op, const lg_attrs *attrs);
lego_status lg_attrs_from_json(lg_attrs *out, const lg_op *op, const lg_json *object, const char *what);

#endif
