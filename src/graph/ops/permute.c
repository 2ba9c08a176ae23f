/* permute: reorder the axes behind the batch; output axis i + 1 is input axis order[i]. */
#include "graph/ops/common.h"

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    const lg_dims *order = &node->attrs->permute.order;
    const int n_dims = lg_op_input(graph, node, 0)->shape.n_dims;
    unsigned seen = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_input(graph, node, 0, 2, 0));
    if (order->n != n_dims - 1)
        return lg_error(LEGO_EINVAL, "node '%s': order has %lld entries, %d are needed", node->name,
                        (long long)order->n, n_dims - 1);
    LG_TRY(lg_op_check_ints(node, "order", (int)order->n, order->dims, 1, n_dims - 1));
    for (int64_t i = 0; i < order->n; i++)
        seen |= 1u << order->dims[i];
    if (seen != (1u << n_dims) - 2)
        return lg_error(LEGO_EINVAL, "node '%s': order names an axis twice", node->name);
done:
    return status;
}

static lego_status infer_shape(lg_graph *graph, const lg_node *node)
{
    const lg_shape *in = &lg_op_input(graph, node, 0)->shape;
    lg_shape out = *in;

    for (int i = 1; i < in->n_dims; i++)
        out.dims[i] = in->dims[node->attrs->permute.order.dims[i - 1]];
    return lg_op_set_output(graph, node, 0, LEGO_DTYPE_F32, &out);
}

static lego_status channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    const lg_dims *order = &node->attrs->permute.order;
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < order->n; i++)
        LG_TRY(lg_channels_tie_axes(channels, LG_VALUE_AXIS(node->inputs[0], (int32_t)order->dims[i]),
                                    LG_VALUE_AXIS(node->outputs[0], i + 1)));
done:
    return status;
}

static const lg_field fields[] = {
    { "order", LG_FIELD_DIMS, offsetof(lg_attrs, permute.order), 1, NULL },
    LG_FIELDS_END,
};

const lg_op lg_op_permute = {
    .name = "permute",
    .kind = LG_OP_PERMUTE,
    .min_inputs = 1,
    .max_inputs = 1,
    .fields = fields,
    .validate = validate,
    .infer_shape = infer_shape,
    .channels = channels,
};
