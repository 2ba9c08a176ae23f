/* upsample: x (N,C,H,W) -> y (N,C,size[0],size[1]), also smaller, as torch.nn.functional.interpolate(size=...):
 *   nearest   y[i] = x[floor(i H / P)]
 *   bilinear  between the neighbours of (i + 1/2) H / P - 1/2, or of i (H - 1) / (P - 1) with align_corners
 * Importers turn a scale into a size: extents are known. */
#include "graph/ops/common.h"

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_input(graph, node, 0, 4, 4));
    LG_TRY(lg_op_check_ints(node, "size", 2, node->attrs->upsample.size, 1, LG_MAX_EXTENT));
    if (node->attrs->upsample.align_corners && node->attrs->upsample.mode == LG_UPSAMPLE_NEAREST)
        return lg_error(LEGO_EINVAL, "node '%s': align_corners means nothing for the nearest neighbour", node->name);
done:
    return status;
}

static lego_status infer_shape(lg_graph *graph, const lg_node *node)
{
    lg_shape out = lg_op_input(graph, node, 0)->shape;

    out.dims[2] = node->attrs->upsample.size[0];
    out.dims[3] = node->attrs->upsample.size[1];
    return lg_op_set_output(graph, node, 0, LEGO_DTYPE_F32, &out);
}

static int64_t flops(const lg_graph *graph, const lg_node *node)
{
    /* bilinear: four products and three sums */
    return node->attrs->upsample.mode == LG_UPSAMPLE_BILINEAR
               ? lg_mul_sat(7, lg_value_elements(lg_op_output(graph, node, 0)))
               : 0;
}

static const char *const modes[] = { "nearest", "bilinear" };

static const lg_field fields[] = {
    { "size", LG_FIELD_INTS, offsetof(lg_attrs, upsample.size), 2, NULL },
    { "mode", LG_FIELD_CHOICE, offsetof(lg_attrs, upsample.mode), 2, modes },
    { "align_corners", LG_FIELD_BOOL, offsetof(lg_attrs, upsample.align_corners), 1, NULL },
    LG_FIELDS_END,
};

const lg_op lg_op_upsample = {
    .name = "upsample",
    .kind = LG_OP_UPSAMPLE,
    .min_inputs = 1,
    .max_inputs = 1,
    .defaults = { .upsample = { { 1, 1 }, LG_UPSAMPLE_NEAREST, 0 } },
    .fields = fields,
    .validate = validate,
    .infer_shape = infer_shape,
    .flops = flops,
    .channels = lg_op_spatial_channels,
};
