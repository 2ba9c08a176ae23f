/* pad: x (N,C,H,W) with rows and columns of a constant around it; pad3d: the same for (N,C,D,H,W). */
#include <float.h>

#include "graph/ops/common.h"

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    const double value = node->attrs->pad.value;
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_spatial(graph, node));
    LG_TRY(lg_op_check_ints(node, "pads", 2 * node->op->n_axes, node->attrs->pad.pads, 0, LG_MAX_EXTENT));
    if (!(value >= -FLT_MAX && value <= FLT_MAX))
        return lg_error(LEGO_EINVAL, "node '%s': value %g is no float", node->name, value);
done:
    return status;
}

static lego_status infer_shape(lg_graph *graph, const lg_node *node)
{
    const int64_t *pads = node->attrs->pad.pads;
    const int n_axes = node->op->n_axes;
    lg_shape out = lg_op_input(graph, node, 0)->shape;

    for (int i = 0; i < n_axes; i++)
        out.dims[2 + i] += pads[i] + pads[n_axes + i];
    return lg_op_set_output(graph, node, 0, LEGO_DTYPE_F32, &out);
}

#define PAD(op_name, axes)                                                    \
    static const lg_field op_name##_fields[] = {                              \
        LG_FIELD_AXES("pads", pad.pads, 2 * (axes)),                          \
        { "value", LG_FIELD_DOUBLE, offsetof(lg_attrs, pad.value), 1, NULL }, \
        LG_FIELDS_END,                                                        \
    };                                                                        \
    const lg_op lg_op_##op_name = {                                           \
        .name = #op_name,                                                     \
        .kind = LG_OP_PAD,                                                    \
        .n_axes = axes,                                                       \
        .min_inputs = 1,                                                      \
        .max_inputs = 1,                                                      \
        .fields = op_name##_fields,                                           \
        .validate = validate,                                                 \
        .infer_shape = infer_shape,                                           \
        .channels = lg_op_spatial_channels,                                   \
    }

PAD(pad, 2);
PAD(pad3d, 3);
