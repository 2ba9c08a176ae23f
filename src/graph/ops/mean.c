/* mean: average over axes. Channel rule: an axis that is averaged away cannot lose elements. */
#include "graph/ops/common.h"

/* Bit i: axis i is reduced. */
static unsigned reduced_axes(const lg_node *node)
{
    unsigned mask = 0;

    for (int64_t i = 0; i < node->attrs->mean.axes.n; i++)
        mask |= 1u << node->attrs->mean.axes.dims[i];
    return mask;
}

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    const lg_dims *axes = &node->attrs->mean.axes;
    const int n_dims = lg_op_input(graph, node, 0)->shape.n_dims;
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_input(graph, node, 0, 2, 0));
    if (axes->n < 1)
        return lg_error(LEGO_EINVAL, "node '%s': no axes to average over", node->name);
    LG_TRY(lg_op_check_ints(node, "axis", (int)axes->n, axes->dims, 1, n_dims - 1));
done:
    return status;
}

static lego_status infer_shape(lg_graph *graph, const lg_node *node)
{
    const lg_shape *in = &lg_op_input(graph, node, 0)->shape;
    const unsigned reduced = reduced_axes(node);
    lg_shape out = { 1, { LG_BATCH } };

    for (int axis = 1; axis < in->n_dims; axis++) {
        if (!(reduced >> axis & 1))
            out.dims[out.n_dims++] = in->dims[axis];
        else if (node->attrs->mean.keep)
            out.dims[out.n_dims++] = 1;
    }
    return lg_op_set_output(graph, node, 0, LEGO_DTYPE_F32, &out);
}

static lego_status channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    const int n_dims = lg_op_input(graph, node, 0)->shape.n_dims;
    const unsigned reduced = reduced_axes(node);
    int out_axis = 1;
    lego_status status = LEGO_OK;

    for (int axis = 1; axis < n_dims; axis++) {
        if (reduced >> axis & 1) {
            LG_TRY(lg_channels_freeze(channels, LG_VALUE_AXIS(node->inputs[0], axis), "averaged axis"));
            out_axis += node->attrs->mean.keep != 0;
        } else {
            LG_TRY(lg_channels_tie_axes(channels, LG_VALUE_AXIS(node->inputs[0], axis),
                                        LG_VALUE_AXIS(node->outputs[0], out_axis)));
            out_axis++;
        }
    }
done:
    return status;
}

static const lg_field fields[] = {
    { "axes", LG_FIELD_DIMS, offsetof(lg_attrs, mean.axes), 1, NULL },
    { "keep", LG_FIELD_BOOL, offsetof(lg_attrs, mean.keep), 1, NULL },
    LG_FIELDS_END,
};

const lg_op lg_op_mean = {
    .name = "mean",
    .kind = LG_OP_MEAN,
    .min_inputs = 1,
    .max_inputs = 1,
    .fields = fields,
    .validate = validate,
    .infer_shape = infer_shape,
    .flops = lg_op_unary_flops,
    .channels = channels,
};
