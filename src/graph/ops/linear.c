/* linear: x (N,...,C), weight (K,C), bias (K) -> y (N,...,K) = x W^T + b. */
#include "graph/ops/common.h"

enum { SLOT_WEIGHT, SLOT_BIAS };

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    const lg_shape *in = &lg_op_input(graph, node, 0)->shape;
    const lego_tensor *weight = lg_node_weight(graph, node, SLOT_WEIGHT);
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_input(graph, node, 0, 2, 0));
    if (weight->shape.n_dims != 2)
        return lg_error(LEGO_EINVAL, "node '%s': the weight has %d dimensions, linear takes (K,C)", node->name,
                        (int)weight->shape.n_dims);
    LG_TRY(lg_op_check_ints(node, "extent of the weight", 2, weight->shape.dims, 1, LG_MAX_EXTENT));
    LG_TRY(lg_op_check_weight(graph, node, SLOT_WEIGHT, 2,
                              (const int64_t[]){ weight->shape.dims[0], in->dims[in->n_dims - 1] }));
    LG_TRY(lg_op_check_weight(graph, node, SLOT_BIAS, 1, &weight->shape.dims[0]));
done:
    return status;
}

static lego_status infer_shape(lg_graph *graph, const lg_node *node)
{
    lg_shape out = lg_op_input(graph, node, 0)->shape;

    out.dims[out.n_dims - 1] = lg_node_weight(graph, node, SLOT_WEIGHT)->shape.dims[0];
    return lg_op_set_output(graph, node, 0, LEGO_DTYPE_F32, &out);
}

static int64_t macs(const lg_graph *graph, const lg_node *node)
{
    return lg_mul_sat(lg_value_elements(lg_op_output(graph, node, 0)),
                      lg_node_weight(graph, node, SLOT_WEIGHT)->shape.dims[1]);
}

static lego_status channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    const int last = lg_op_input(graph, node, 0)->shape.n_dims - 1;
    const lg_axis out = LG_VALUE_AXIS(node->outputs[0], last);
    lego_status status = LEGO_OK;

    for (int axis = 1; axis < last; axis++)
        LG_TRY(lg_channels_tie_axes(channels, LG_VALUE_AXIS(node->inputs[0], axis),
                                    LG_VALUE_AXIS(node->outputs[0], axis)));
    LG_TRY(lg_channels_tie_axes(channels, LG_VALUE_AXIS(node->inputs[0], last),
                                LG_WEIGHT_AXIS(node->weights[SLOT_WEIGHT], 1)));
    LG_TRY(lg_channels_tie_axes(channels, out, LG_WEIGHT_AXIS(node->weights[SLOT_WEIGHT], 0)));
    if (node->weights[SLOT_BIAS] != LG_NONE)
        LG_TRY(lg_channels_tie_axes(channels, out, LG_WEIGHT_AXIS(node->weights[SLOT_BIAS], 0)));
done:
    return status;
}

static const lg_field fields[] = { LG_FIELDS_END };

const lg_op lg_op_linear = {
    .name = "linear",
    .kind = LG_OP_LINEAR,
    .min_inputs = 1,
    .max_inputs = 1,
    .fields = fields,
    .slots = { { "weight", 0, LG_INIT_FAN_IN_UNIFORM }, { "bias", LG_SLOT_OPTIONAL, LG_INIT_FAN_IN_UNIFORM } },
    .n_slots = 2,
    .validate = validate,
    .infer_shape = infer_shape,
    .macs = macs,
    .flops = lg_op_layer_flops,
    .channels = channels,
};
