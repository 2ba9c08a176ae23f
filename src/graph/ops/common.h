/* What the op files share: saturating arithmetic, checks that name the node, and the rules of element-wise ops. */
#ifndef LG_GRAPH_OPS_COMMON_H
#define LG_GRAPH_OPS_COMMON_H

#include "graph/ops.h"

/* Extents and attributes stay below this, so that products of two of them never overflow. */
#define LG_MAX_EXTENT INT32_MAX

/* Last entry of a field table. */
#define LG_FIELDS_END { NULL, LG_FIELD_INT, 0, 0, NULL }

/* Of non-negative numbers; INT64_MAX where the result would not fit. */
int64_t lg_add_sat(int64_t a, int64_t b);
int64_t lg_mul_sat(int64_t a, int64_t b);

const lg_value *lg_op_input(const lg_graph *graph, const lg_node *node, int index);
const lg_value *lg_op_output(const lg_graph *graph, const lg_node *node, int index);

/* Batch first, every other extent in [1, LG_MAX_EXTENT], a sample's elements countable. */
lego_status lg_op_check_shape(const lg_shape *shape, const char *what, const char *name);
/* Input `index` is f32 with a batch and min..max dimensions (max 0: as many as possible). */
lego_status lg_op_check_input(const lg_graph *graph, const lg_node *node, int index, int min_dims, int max_dims);
/* The slot, if filled, is f32 of exactly this shape. */
lego_status lg_op_check_weight(const lg_graph *graph, const lg_node *node, int slot, int n_dims, const int64_t *dims);
/* All `n` attributes in [min, max]. */
lego_status lg_op_check_ints(const lg_node *node, const char *attribute, int n, const int64_t *values, int64_t min,
                             int64_t max);

/* An axis of input `index` behind the batch. */
lego_status lg_op_check_axis(const lg_graph *graph, const lg_node *node, int index, int64_t axis);
/* A normalisation's epsilon, in (0, 1]. */
lego_status lg_op_check_eps(const lg_node *node, double eps);

/* Of a layer, whose slots are its weight and its bias: two operations a product, one an output for the bias. */
int64_t lg_op_layer_flops(const lg_graph *graph, const lg_node *node);

/* Entries of a field's list, in tables of ops that come for several numbers of spatial axes. */
#define LG_FIELD_AXES(text, member, count) { text, LG_FIELD_INTS, offsetof(lg_attrs, member), count, NULL }

/* Input 0 is f32 with a batch, channels and the op's spatial axes. */
lego_status lg_op_check_spatial(const lg_graph *graph, const lg_node *node);
/* Positions of a kernel: the product of the extents of a weight behind its first two. */
int64_t lg_op_kernel_positions(const lg_shape *weight);

/* Where a kernel slides along one axis: what it yields. LEGO_EINVAL naming the node if it does not fit. */
lego_status lg_op_window(int64_t *out, const lg_node *node, int64_t in, int64_t kernel, int64_t stride,
                         int64_t dilation, int64_t pad_before, int64_t pad_after, int ceil_mode);

/* Set output `index`; the shape is checked first. */
lego_status lg_op_set_output(lg_graph *graph, const lg_node *node, int index, lego_dtype dtype, const lg_shape *shape);

/* --- element-wise ops of one input: any f32 value, same shape out, one operation an element --- */
lego_status lg_op_unary_validate(const lg_graph *graph, const lg_node *node);
lego_status lg_op_unary_infer(lg_graph *graph, const lg_node *node);
int64_t lg_op_unary_flops(const lg_graph *graph, const lg_node *node);
/* Ties every axis of the input to the output's. */
lego_status lg_op_unary_channels(lg_channels *channels, const lg_graph *graph, const lg_node *node);

/* Ties the channel axis of input and output (N,C,...) and freezes the spatial ones: pools, padding, resizing. */
lego_status lg_op_spatial_channels(lg_channels *channels, const lg_graph *graph, const lg_node *node);

/* Freeze the axes from `first` on of a value, e.g. the spatial ones. */
lego_status lg_op_freeze_axes(lg_channels *channels, const lg_graph *graph, int32_t value, int first,
                              const char *reason);

/* The table of an op of one input, element by element, whose channel c stays channel c. The last argument: its defaults. */
#define LG_UNARY_OP(KIND, op_name, field_table, check, ...)                   \
    const lg_op lg_op_##op_name = {                                           \
        .name = #op_name,                                                     \
        .kind = LG_OP_##KIND,                                                 \
        .min_inputs = 1,                                                      \
        .max_inputs = 1,                                                      \
        .defaults = __VA_ARGS__,                                              \
        .fields = field_table,                                                \
        .validate = check,                                                    \
        .infer_shape = lg_op_unary_infer,                                     \
        .flops = lg_op_unary_flops,                                           \
        .channels = lg_op_unary_channels,                                     \
    };

#endif
