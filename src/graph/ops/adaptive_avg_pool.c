/* adaptive_avg_pool: x (N,C,H,W) -> y (N,C,size[0],size[1]); output cell i of P averages the rows from floor(iH/P) to
 * ceil((i+1)H/P) - 1, as torch. Size 1x1 is the global average pool. */
#include "graph/ops/common.h"

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_input(graph, node, 0, 4, 4));
    LG_TRY(lg_op_check_ints(node, "size", 2, node->attrs->adaptive_pool.size, 1, LG_MAX_EXTENT));
done:
    return status;
}

static lego_status infer_shape(lg_graph *graph, const lg_node *node)
{
    const lg_shape *in = &lg_op_input(graph, node, 0)->shape;
    const int64_t *size = node->attrs->adaptive_pool.size;

    return lg_op_set_output(graph, node, 0, LEGO_DTYPE_F32,
                            &(lg_shape){ 4, { LG_BATCH, in->dims[1], size[0], size[1] } });
}

static lego_status channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_channels_tie_axes(channels, LG_VALUE_AXIS(node->inputs[0], 1), LG_VALUE_AXIS(node->outputs[0], 1)));
    LG_TRY(lg_op_freeze_axes(channels, graph, node->inputs[0], 2, "spatial axis"));
    LG_TRY(lg_op_freeze_axes(channels, graph, node->outputs[0], 2, "spatial axis"));
done:
    return status;
}

static const lg_field fields[] = {
    { "size", LG_FIELD_INTS, offsetof(lg_attrs, adaptive_pool.size), 2 },
    { NULL, LG_FIELD_INT, 0, 0 },
};

const lg_op lg_op_adaptive_avg_pool = {
    .name = "adaptive_avg_pool",
    .kind = LG_OP_ADAPTIVE_AVG_POOL,
    .min_inputs = 1,
    .max_inputs = 1,
    .defaults = { .adaptive_pool = { { 1, 1 } } },
    .fields = fields,
    .validate = validate,
    .infer_shape = infer_shape,
    .flops = lg_op_unary_flops,
    .channels = channels,
};
