/* conv_transpose2d: x (N,C,H,W), weight (C,K/groups,R,S), bias (K) -> y (N,K,P,Q), the gradient of a convolution:
 * P = (H - 1) stride - pads + dilation (R - 1) + output_padding + 1, as torch.nn.ConvTranspose2d.
 *
 * Channel rule: the weight's rows are input channels and its columns outputs, the reverse of conv2d. Depthwise: an input
 * channel and its outputs are one unit. Other grouped ones stay whole. */
#include "graph/ops/common.h"

enum { SLOT_WEIGHT, SLOT_BIAS };

/* Both at most a few times LG_MAX_EXTENT squared, which int64_t holds. */
static int64_t output_extent(const lg_conv_transpose_attrs *attrs, int64_t in, int64_t kernel, int i)
{
    return (in - 1) * attrs->stride[i] - attrs->pads[i] - attrs->pads[2 + i] + attrs->dilation[i] * (kernel - 1) +
           attrs->output_padding[i] + 1;
}

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    const lg_conv_transpose_attrs *attrs = &node->attrs->conv_transpose;
    const lg_shape *in = &lg_op_input(graph, node, 0)->shape;
    const lego_tensor *weight = lg_node_weight(graph, node, SLOT_WEIGHT);
    int64_t n_out;
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_input(graph, node, 0, 4, 4));
    LG_TRY(lg_op_check_ints(node, "stride", 2, attrs->stride, 1, LG_MAX_EXTENT));
    LG_TRY(lg_op_check_ints(node, "dilation", 2, attrs->dilation, 1, LG_MAX_EXTENT));
    LG_TRY(lg_op_check_ints(node, "pads", 4, attrs->pads, 0, LG_MAX_EXTENT));
    LG_TRY(lg_op_check_ints(node, "groups", 1, &attrs->groups, 1, LG_MAX_EXTENT));
    for (int i = 0; i < 2; i++) {
        const int64_t limit = attrs->stride[i] > attrs->dilation[i] ? attrs->stride[i] : attrs->dilation[i];
        LG_TRY(lg_op_check_ints(node, "output_padding", 1, &attrs->output_padding[i], 0, limit - 1));
    }
    if (weight->shape.n_dims != 4)
        return lg_error(LEGO_EINVAL, "node '%s': the weight has %d dimensions, conv_transpose2d takes (C,K/groups,R,S)",
                        node->name, (int)weight->shape.n_dims);
    LG_TRY(lg_op_check_ints(node, "extent of the weight", 4, weight->shape.dims, 1, LG_MAX_EXTENT));
    if (in->dims[1] % attrs->groups != 0)
        return lg_error(LEGO_EINVAL, "node '%s': groups=%lld does not divide %lld input channels", node->name,
                        (long long)attrs->groups, (long long)in->dims[1]);
    LG_TRY(lg_op_check_weight(graph, node, SLOT_WEIGHT, 4,
                              (const int64_t[]){ in->dims[1], weight->shape.dims[1], weight->shape.dims[2],
                                                 weight->shape.dims[3] }));
    n_out = lg_mul_sat(weight->shape.dims[1], attrs->groups);
    LG_TRY(lg_op_check_weight(graph, node, SLOT_BIAS, 1, &n_out));
    for (int i = 0; i < 2; i++)
        if (output_extent(attrs, in->dims[2 + i], weight->shape.dims[2 + i], i) < 1)
            return lg_error(LEGO_EINVAL, "node '%s': pads leave nothing of the output", node->name);
done:
    return status;
}

static lego_status infer_shape(lg_graph *graph, const lg_node *node)
{
    const lg_conv_transpose_attrs *attrs = &node->attrs->conv_transpose;
    const lg_shape *in = &lg_op_input(graph, node, 0)->shape;
    const lg_shape *weight = &lg_node_weight(graph, node, SLOT_WEIGHT)->shape;
    lg_shape out = { 4, { LG_BATCH, lg_mul_sat(weight->dims[1], attrs->groups) } };

    for (int i = 0; i < 2; i++)
        out.dims[2 + i] = output_extent(attrs, in->dims[2 + i], weight->dims[2 + i], i);
    return lg_op_set_output(graph, node, 0, LEGO_DTYPE_F32, &out);
}

static int64_t macs(const lg_graph *graph, const lg_node *node)
{
    const lg_shape *weight = &lg_node_weight(graph, node, SLOT_WEIGHT)->shape;
    const int64_t per_input = lg_mul_sat(lg_mul_sat(weight->dims[1], weight->dims[2]), weight->dims[3]);

    return lg_mul_sat(lg_value_elements(lg_op_input(graph, node, 0)), per_input);
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

static const lg_field fields[] = {
    { "stride", LG_FIELD_INTS, offsetof(lg_attrs, conv_transpose.stride), 2, NULL },
    { "dilation", LG_FIELD_INTS, offsetof(lg_attrs, conv_transpose.dilation), 2, NULL },
    { "pads", LG_FIELD_INTS, offsetof(lg_attrs, conv_transpose.pads), 4, NULL },
    { "output_padding", LG_FIELD_INTS, offsetof(lg_attrs, conv_transpose.output_padding), 2, NULL },
    { "groups", LG_FIELD_INT, offsetof(lg_attrs, conv_transpose.groups), 1, NULL },
    LG_FIELDS_END,
};

const lg_op lg_op_conv_transpose2d = {
    .name = "conv_transpose2d",
    .kind = LG_OP_CONV_TRANSPOSE2D,
    .min_inputs = 1,
    .max_inputs = 1,
    .defaults = { .conv_transpose = { { 1, 1 }, { 1, 1 }, { 0, 0, 0, 0 }, { 0, 0 }, 1 } },
    .fields = fields,
    .slots = { { "weight", 0, LG_INIT_KAIMING_NORMAL }, { "bias", LG_SLOT_OPTIONAL, LG_INIT_ZEROS } },
    .n_slots = 2,
    .validate = validate,
    .infer_shape = infer_shape,
    .macs = macs,
    .flops = lg_op_layer_flops,
    .channels = channels,
    .prune = prune,
};
