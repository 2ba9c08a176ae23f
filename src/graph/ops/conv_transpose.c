/* conv_transpose2d: x (N,C,H,W), weight (C,K/groups,R,S), bias (K) -> y (N,K,P,Q), the gradient of a convolution:
 * P = (H - 1) stride - pads + dilation (R - 1) + output_padding + 1, as torch.nn.ConvTranspose2d.
 * conv_transpose3d: the same over (N,C,D,H,W) with weights (C,K/groups,T,R,S).
 *
 * Channel rule: the weight's rows are input channels and its columns outputs, the reverse of a convolution. Depthwise: an input
 * channel and its outputs are one unit. Other grouped ones stay whole. */
#include <string.h>

#include "graph/ops/common.h"

enum { SLOT_WEIGHT, SLOT_BIAS };

/* Both at most a few times LG_MAX_EXTENT squared, which int64_t holds. */
static int64_t output_extent(const lg_node *node, int64_t in, int64_t kernel, int i)
{
    const lg_conv_transpose_attrs *attrs = &node->attrs->conv_transpose;

    return (in - 1) * attrs->stride[i] - attrs->pads[i] - attrs->pads[node->op->n_axes + i] +
           attrs->dilation[i] * (kernel - 1) + attrs->output_padding[i] + 1;
}

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    const lg_conv_transpose_attrs *attrs = &node->attrs->conv_transpose;
    const lg_shape *in = &lg_op_input(graph, node, 0)->shape;
    const lego_tensor *weight = lg_node_weight(graph, node, SLOT_WEIGHT);
    const int n_axes = node->op->n_axes;
    int64_t wanted[2 + LG_MAX_AXES], n_out;
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_spatial(graph, node));
    LG_TRY(lg_op_check_ints(node, "stride", n_axes, attrs->stride, 1, LG_MAX_EXTENT));
    LG_TRY(lg_op_check_ints(node, "dilation", n_axes, attrs->dilation, 1, LG_MAX_EXTENT));
    LG_TRY(lg_op_check_ints(node, "pads", 2 * n_axes, attrs->pads, 0, LG_MAX_EXTENT));
    LG_TRY(lg_op_check_ints(node, "groups", 1, &attrs->groups, 1, LG_MAX_EXTENT));
    for (int i = 0; i < n_axes; i++) {
        const int64_t limit = attrs->stride[i] > attrs->dilation[i] ? attrs->stride[i] : attrs->dilation[i];
        LG_TRY(lg_op_check_ints(node, "output_padding", 1, &attrs->output_padding[i], 0, limit - 1));
    }
    if (weight->shape.n_dims != 2 + n_axes)
        return lg_error(LEGO_EINVAL, "node '%s': the weight has %d dimensions, %s takes (C,K/groups) and %d of a kernel",
                        node->name, (int)weight->shape.n_dims, node->op->name, n_axes);
    LG_TRY(lg_op_check_ints(node, "extent of the weight", 2 + n_axes, weight->shape.dims, 1, LG_MAX_EXTENT));
    if (in->dims[1] % attrs->groups != 0)
        return lg_error(LEGO_EINVAL, "node '%s': groups=%lld does not divide %lld input channels", node->name,
                        (long long)attrs->groups, (long long)in->dims[1]);
    memcpy(wanted, weight->shape.dims, sizeof(wanted));
    wanted[0] = in->dims[1];
    LG_TRY(lg_op_check_weight(graph, node, SLOT_WEIGHT, 2 + n_axes, wanted));
    n_out = lg_mul_sat(weight->shape.dims[1], attrs->groups);
    LG_TRY(lg_op_check_weight(graph, node, SLOT_BIAS, 1, &n_out));
    for (int i = 0; i < n_axes; i++)
        if (output_extent(node, in->dims[2 + i], weight->shape.dims[2 + i], i) < 1)
            return lg_error(LEGO_EINVAL, "node '%s': pads leave nothing of the output", node->name);
done:
    return status;
}

static lego_status infer_shape(lg_graph *graph, const lg_node *node)
{
    const lg_conv_transpose_attrs *attrs = &node->attrs->conv_transpose;
    const lg_shape *in = &lg_op_input(graph, node, 0)->shape;
    const lg_shape *weight = &lg_node_weight(graph, node, SLOT_WEIGHT)->shape;
    const int n_axes = node->op->n_axes;
    lg_shape out = { 2 + n_axes, { LG_BATCH, lg_mul_sat(weight->dims[1], attrs->groups) } };

    for (int i = 0; i < n_axes; i++)
        out.dims[2 + i] = output_extent(node, in->dims[2 + i], weight->dims[2 + i], i);
    return lg_op_set_output(graph, node, 0, LEGO_DTYPE_F32, &out);
}

static int64_t macs(const lg_graph *graph, const lg_node *node)
{
    const lg_shape *weight = &lg_node_weight(graph, node, SLOT_WEIGHT)->shape;

    return lg_mul_sat(lg_value_elements(lg_op_input(graph, node, 0)),
                      lg_mul_sat(weight->dims[1], lg_op_kernel_positions(weight)));
}

static int is_depthwise(const lg_graph *graph, const lg_node *node)
{
    return node->attrs->conv_transpose.groups == lg_op_input(graph, node, 0)->shape.dims[1];
}

static lego_status channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    const lg_axis in = LG_VALUE_AXIS(node->inputs[0], 1), out = LG_VALUE_AXIS(node->outputs[0], 1);
    const int64_t groups = node->attrs->conv_transpose.groups;
    lego_status status = LEGO_OK;

    LG_TRY(lg_channels_tie_axes(channels, in, LG_WEIGHT_AXIS(node->weights[SLOT_WEIGHT], 0)));
    if (node->weights[SLOT_BIAS] != LG_NONE)
        LG_TRY(lg_channels_tie_axes(channels, out, LG_WEIGHT_AXIS(node->weights[SLOT_BIAS], 0)));
    if (groups == 1) {
        LG_TRY(lg_channels_tie_axes(channels, out, LG_WEIGHT_AXIS(node->weights[SLOT_WEIGHT], 1)));
    } else if (is_depthwise(graph, node)) {
        LG_TRY(lg_channels_tie_repeated(channels, in, out, lg_op_output(graph, node, 0)->shape.dims[1] / groups));
    } else {
        LG_TRY(lg_channels_freeze(channels, in, "grouped transposed convolution"));
        LG_TRY(lg_channels_freeze(channels, out, "grouped transposed convolution"));
    }
    LG_TRY(lg_op_freeze_axes(channels, graph, node->inputs[0], 2, "spatial axis"));
    LG_TRY(lg_op_freeze_axes(channels, graph, node->outputs[0], 2, "spatial axis"));
done:
    return status;
}

static lego_status prune(const lg_channels_keep *keep, const lg_graph *before, const lg_node *node, lg_graph *after,
                         lg_node *pruned)
{
    if (node->attrs->conv_transpose.groups > 1 && is_depthwise(before, node))
        pruned->attrs->conv_transpose.groups = lg_channels_kept(keep, LG_VALUE_AXIS(node->inputs[0], 1), NULL);
    return LEGO_OK;
}

#define CONV_TRANSPOSE(op_name, axes)                                         \
    static const lg_field op_name##_fields[] = {                              \
        LG_FIELD_AXES("stride", conv_transpose.stride, axes),                 \
        LG_FIELD_AXES("dilation", conv_transpose.dilation, axes),             \
        LG_FIELD_AXES("pads", conv_transpose.pads, 2 * (axes)),               \
        LG_FIELD_AXES("output_padding", conv_transpose.output_padding, axes), \
        { "groups", LG_FIELD_INT, offsetof(lg_attrs, conv_transpose.groups), 1, NULL }, \
        LG_FIELDS_END,                                                        \
    };                                                                        \
    const lg_op lg_op_##op_name = {                                           \
        .name = #op_name,                                                     \
        .kind = LG_OP_CONV_TRANSPOSE,                                         \
        .n_axes = axes,                                                       \
        .min_inputs = 1,                                                      \
        .max_inputs = 1,                                                      \
        .defaults = { .conv_transpose = { { 1, 1, 1 }, { 1, 1, 1 }, { 0 }, { 0 }, 1 } }, \
        .fields = op_name##_fields,                                           \
        .slots = { { "weight", 0, LG_INIT_KAIMING_NORMAL },                   \
                   { "bias", LG_SLOT_OPTIONAL, LG_INIT_ZEROS } },             \
        .n_slots = 2,                                                         \
        .validate = validate,                                                 \
        .infer_shape = infer_shape,                                           \
        .macs = macs,                                                         \
        .flops = lg_op_layer_flops,                                           \
        .channels = channels,                                                 \
        .prune = prune,                                                       \
    }

CONV_TRANSPOSE(conv_transpose2d, 2);
CONV_TRANSPOSE(conv_transpose3d, 3);
