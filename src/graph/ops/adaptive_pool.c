/* adaptive_avg_pool, adaptive_max_pool: x (N,C,H,W) -> y (N,C,size[0],size[1]); output cell i of P covers the rows from
 * floor(iH/P) to ceil((i+1)H/P) - 1, as torch. Size 1x1 is the global pool. adaptive_avg_pool3d,
 * adaptive_max_pool3d: the same over (N,C,D,H,W). */
#include "graph/ops/common.h"

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_spatial(graph, node));
    LG_TRY(lg_op_check_ints(node, "size", node->op->n_axes, node->attrs->adaptive_pool.size, 1, LG_MAX_EXTENT));
done:
    return status;
}

static lego_status infer_shape(lg_graph *graph, const lg_node *node)
{
    lg_shape out = lg_op_input(graph, node, 0)->shape;

    for (int i = 0; i < node->op->n_axes; i++)
        out.dims[2 + i] = node->attrs->adaptive_pool.size[i];
    return lg_op_set_output(graph, node, 0, LEGO_DTYPE_F32, &out);
}

#define ADAPTIVE_POOL(op_name, KIND, axes)                                    \
    static const lg_field op_name##_fields[] = { LG_FIELD_AXES("size", adaptive_pool.size, axes), LG_FIELDS_END }; \
    const lg_op lg_op_##op_name = {                                           \
        .name = #op_name,                                                     \
        .kind = LG_OP_##KIND,                                                 \
        .n_axes = axes,                                                       \
        .min_inputs = 1,                                                      \
        .max_inputs = 1,                                                      \
        .defaults = { .adaptive_pool = { { 1, 1, 1 } } },                     \
        .fields = op_name##_fields,                                           \
        .validate = validate,                                                 \
        .infer_shape = infer_shape,                                           \
        .flops = lg_op_unary_flops,                                           \
        .channels = lg_op_spatial_channels,                                   \
    }

ADAPTIVE_POOL(adaptive_avg_pool, ADAPTIVE_AVG_POOL, 2);
ADAPTIVE_POOL(adaptive_avg_pool3d, ADAPTIVE_AVG_POOL, 3);
ADAPTIVE_POOL(adaptive_max_pool, ADAPTIVE_MAX_POOL, 2);
ADAPTIVE_POOL(adaptive_max_pool3d, ADAPTIVE_MAX_POOL, 3);
