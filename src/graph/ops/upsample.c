/* upsample: x (N,C,H,W) -> y (N,C,size[0],size[1]), also smaller, as torch.nn.functional.interpolate(size=...):
 *   nearest   y[i] = x[floor(i H / P)]
 *   bilinear  between the neighbours of (i + 1/2) H / P - 1/2, or of i (H - 1) / (P - 1) with align_corners
 * Importers turn a scale into a size: extents are known. upsample3d: the same over (N,C,D,H,W), bilinear being trilinear. */
#include "graph/ops/common.h"

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_spatial(graph, node));
    LG_TRY(lg_op_check_ints(node, "size", node->op->n_axes, node->attrs->upsample.size, 1, LG_MAX_EXTENT));
    if (node->attrs->upsample.align_corners && node->attrs->upsample.mode == LG_UPSAMPLE_NEAREST)
        return lg_error(LEGO_EINVAL, "node '%s': align_corners means nothing for the nearest neighbour", node->name);
done:
    return status;
}

static lego_status infer_shape(lg_graph *graph, const lg_node *node)
{
    lg_shape out = lg_op_input(graph, node, 0)->shape;

    for (int i = 0; i < node->op->n_axes; i++)
        out.dims[2 + i] = node->attrs->upsample.size[i];
    return lg_op_set_output(graph, node, 0, LEGO_DTYPE_F32, &out);
}

static int64_t flops(const lg_graph *graph, const lg_node *node)
{
    /* of n corners: n products and n - 1 sums */
    return node->attrs->upsample.mode == LG_UPSAMPLE_BILINEAR
               ? lg_mul_sat((2 << node->op->n_axes) - 1, lg_value_elements(lg_op_output(graph, node, 0)))
               : 0;
}

static const char *const modes[] = { "nearest", "bilinear" };

#define UPSAMPLE(op_name, axes)                                               \
    static const lg_field op_name##_fields[] = {                              \
        LG_FIELD_AXES("size", upsample.size, axes),                           \
        { "mode", LG_FIELD_CHOICE, offsetof(lg_attrs, upsample.mode), 2, modes }, \
        { "align_corners", LG_FIELD_BOOL, offsetof(lg_attrs, upsample.align_corners), 1, NULL }, \
        LG_FIELDS_END,                                                        \
    };                                                                        \
    const lg_op lg_op_##op_name = {                                           \
        .name = #op_name,                                                     \
        .kind = LG_OP_UPSAMPLE,                                               \
        .n_axes = axes,                                                       \
        .min_inputs = 1,                                                      \
        .max_inputs = 1,                                                      \
        .defaults = { .upsample = { { 1, 1, 1 }, LG_UPSAMPLE_NEAREST, 0 } },  \
        .fields = op_name##_fields,                                           \
        .validate = validate,                                                 \
        .infer_shape = infer_shape,                                           \
        .flops = flops,                                                       \
        .channels = lg_op_spatial_channels,                                   \
    }

UPSAMPLE(upsample, 2);
UPSAMPLE(upsample3d, 3);
