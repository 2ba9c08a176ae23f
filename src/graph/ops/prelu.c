/* prelu: y = x > 0 ? x : weight[c] x; weight has one entry a channel, or one for all. */
#include "graph/ops/common.h"

enum { SLOT_WEIGHT };

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    const int64_t one = 1;
    const int64_t *n = lg_tensor_count(lg_node_weight(graph, node, SLOT_WEIGHT)) == 1
                           ? &one
                           : &lg_op_input(graph, node, 0)->shape.dims[1];
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_input(graph, node, 0, 2, 0));
    LG_TRY(lg_op_check_weight(graph, node, SLOT_WEIGHT, 1, n));
done:
    return status;
}

static lego_status channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_unary_channels(channels, graph, node));
    if (lg_node_weight(graph, node, SLOT_WEIGHT)->shape.dims[0] == lg_op_input(graph, node, 0)->shape.dims[1])
        LG_TRY(lg_channels_tie_axes(channels, LG_VALUE_AXIS(node->outputs[0], 1),
                                    LG_WEIGHT_AXIS(node->weights[SLOT_WEIGHT], 0)));
done:
    return status;
}

static const lg_field fields[] = { LG_FIELDS_END };

const lg_op lg_op_prelu = {
    .name = "prelu",
    .kind = LG_OP_PRELU,
    .min_inputs = 1,
    .max_inputs = 1,
    .fields = fields,
    .slots = { { "weight", 0, LG_INIT_QUARTER } },
    .n_slots = 1,
    .validate = validate,
    .infer_shape = lg_op_unary_infer,
    .flops = lg_op_unary_flops,
    .channels = channels,
};
