/* flatten: x (N,d1,...,dn) -> y (N,d1,...,d(axis-1), d(axis)*...*dn), row-major. The batch is never folded in.
 *
 * Channel rule: with axis = 1 and x (N,C,H,W), channel c becomes the run c*H*W .. c*H*W+H*W-1 of the output, so that a
 * linear layer behind it loses H*W columns with every channel. */
#include "graph/ops/common.h"

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_input(graph, node, 0, 2, 0));
    LG_TRY(lg_op_check_ints(node, "axis", 1, &node->attrs->flatten.axis, 1,
                            lg_op_input(graph, node, 0)->shape.n_dims - 1));
done:
    return status;
}

static lego_status infer_shape(lg_graph *graph, const lg_node *node)
{
    const lg_value *in = lg_op_input(graph, node, 0);
    const int axis = (int)node->attrs->flatten.axis;
    lg_shape out = in->shape;

    out.n_dims = axis + 1;
    for (int i = axis + 1; i < in->shape.n_dims; i++)
        out.dims[axis] = lg_mul_sat(out.dims[axis], in->shape.dims[i]);
    return lg_op_set_output(graph, node, 0, in->dtype, &out);
}

static lego_status channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    const lg_shape *in = &lg_op_input(graph, node, 0)->shape;
    const int first = (int)node->attrs->flatten.axis;
    int64_t run = 1;
    lego_status status = LEGO_OK;

    for (int axis = 1; axis < first; axis++)
        LG_TRY(lg_channels_tie_axes(channels, LG_VALUE_AXIS(node->inputs[0], axis),
                                    LG_VALUE_AXIS(node->outputs[0], axis)));
    for (int axis = first + 1; axis < in->n_dims; axis++)
        run *= in->dims[axis];
    LG_TRY(lg_channels_tie_repeated(channels, LG_VALUE_AXIS(node->inputs[0], first),
                                    LG_VALUE_AXIS(node->outputs[0], first), run));
    LG_TRY(lg_op_freeze_axes(channels, graph, node->inputs[0], first + 1, "flattened axis"));
done:
    return status;
}

static const lg_field fields[] = {
    { "axis", LG_FIELD_INT, offsetof(lg_attrs, flatten.axis), 1, NULL },
    LG_FIELDS_END,
};

const lg_op lg_op_flatten = {
    .name = "flatten",
    .kind = LG_OP_FLATTEN,
    .min_inputs = 1,
    .max_inputs = 1,
    .defaults = { .flatten = { 1 } },
    .fields = fields,
    .validate = validate,
    .infer_shape = infer_shape,
    .channels = channels,
};
