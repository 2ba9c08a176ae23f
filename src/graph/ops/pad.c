/* pad: x (N,C,H,W) with rows and columns of a constant around it. */
#include <float.h>

#include "graph/ops/common.h"

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    const double value = node->attrs->pad.value;
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_input(graph, node, 0, 4, 4));
    LG_TRY(lg_op_check_ints(node, "pads", 4, node->attrs->pad.pads, 0, LG_MAX_EXTENT));
    if (!(value >= -FLT_MAX && value <= FLT_MAX))
        return lg_error(LEGO_EINVAL, "node '%s': value %g is no float", node->name, value);
done:
    return status;
}

static lego_status infer_shape(lg_graph *graph, const lg_node *node)
{
    lg_shape out = lg_op_input(graph, node, 0)->shape;

    for (int i = 0; i < 2; i++)
        out.dims[2 + i] += node->attrs->pad.pads[i] + node->attrs->pad.pads[2 + i];
    return lg_op_set_output(graph, node, 0, LEGO_DTYPE_F32, &out);
}

static const lg_field fields[] = {
    { "pads", LG_FIELD_INTS, offsetof(lg_attrs, pad.pads), 4, NULL },
    { "value", LG_FIELD_DOUBLE, offsetof(lg_attrs, pad.value), 1, NULL },
    LG_FIELDS_END,
};

const lg_op lg_op_pad = {
    .name = "pad",
    .kind = LG_OP_PAD,
    .min_inputs = 1,
    .max_inputs = 1,
    .fields = fields,
    .validate = validate,
    .infer_shape = infer_shape,
    .channels = lg_op_spatial_channels,
};
