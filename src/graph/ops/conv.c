/* conv2d: x (N,C,H,W), weight (K,C/groups,R,S), bias (K) -> y (N,K,P,Q); cross-correlation, as in every framework.
 * conv3d: the same over (N,C,D,H,W) with weights (K,C/groups,T,R,S).
 *
 * Channel rule: output channel k goes with row k of the weight and its bias. Ungrouped: input channel c goes with
 * column c. Depthwise (one input channel a group): an input channel and its outputs are one unit. Otherwise the groups
 * must keep equal shares (lg_channels_balance), and only the prune hook can slice the weight: its columns mean
 * different input channels in every group. */
#include "graph/ops/common.h"

#include <string.h>

#include "base/alloc.h"

enum { SLOT_WEIGHT, SLOT_BIAS };

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    const lg_conv_attrs *attrs = &node->attrs->conv;
    const lg_value *in = lg_op_input(graph, node, 0);
    const lego_tensor *weight = lg_node_weight(graph, node, SLOT_WEIGHT);
    const int n_axes = node->op->n_axes;
    int64_t wanted[2 + LG_MAX_AXES], window, n_in, n_out;
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_spatial(graph, node));
    LG_TRY(lg_op_check_ints(node, "stride", n_axes, attrs->stride, 1, LG_MAX_EXTENT));
    LG_TRY(lg_op_check_ints(node, "dilation", n_axes, attrs->dilation, 1, LG_MAX_EXTENT));
    LG_TRY(lg_op_check_ints(node, "pads", 2 * n_axes, attrs->pads, 0, LG_MAX_EXTENT));
    LG_TRY(lg_op_check_ints(node, "groups", 1, &attrs->groups, 1, LG_MAX_EXTENT));
    if (weight->shape.n_dims != 2 + n_axes)
        return lg_error(LEGO_EINVAL, "node '%s': the weight has %d dimensions, %s takes (K,C/groups) and %d of a kernel",
                        node->name, (int)weight->shape.n_dims, node->op->name, n_axes);
    n_in = in->shape.dims[1];
    n_out = weight->shape.dims[0];
    LG_TRY(lg_op_check_ints(node, "extent of the weight", 2 + n_axes, weight->shape.dims, 1, LG_MAX_EXTENT));
    if (n_in % attrs->groups != 0 || n_out % attrs->groups != 0)
        return lg_error(LEGO_EINVAL, "node '%s': groups=%lld does not divide %lld input and %lld output channels",
                        node->name, (long long)attrs->groups, (long long)n_in, (long long)n_out);
    memcpy(wanted, weight->shape.dims, sizeof(wanted));
    wanted[1] = n_in / attrs->groups;
    LG_TRY(lg_op_check_weight(graph, node, SLOT_WEIGHT, 2 + n_axes, wanted));
    LG_TRY(lg_op_check_weight(graph, node, SLOT_BIAS, 1, &n_out));
    for (int i = 0; i < n_axes; i++)
        LG_TRY(lg_op_window(&window, node, in->shape.dims[2 + i], weight->shape.dims[2 + i], attrs->stride[i],
                            attrs->dilation[i], attrs->pads[i], attrs->pads[n_axes + i], 0));
done:
    return status;
}

static lego_status infer_shape(lg_graph *graph, const lg_node *node)
{
    const lg_conv_attrs *attrs = &node->attrs->conv;
    const lg_shape *in = &lg_op_input(graph, node, 0)->shape;
    const lg_shape *weight = &lg_node_weight(graph, node, SLOT_WEIGHT)->shape;
    const int n_axes = node->op->n_axes;
    lg_shape out = { 2 + n_axes, { LG_BATCH, weight->dims[0] } };
    lego_status status = LEGO_OK;

    for (int i = 0; i < n_axes; i++)
        LG_TRY(lg_op_window(&out.dims[2 + i], node, in->dims[2 + i], weight->dims[2 + i], attrs->stride[i],
                            attrs->dilation[i], attrs->pads[i], attrs->pads[n_axes + i], 0));
    LG_TRY(lg_op_set_output(graph, node, 0, LEGO_DTYPE_F32, &out));
done:
    return status;
}

static int64_t macs(const lg_graph *graph, const lg_node *node)
{
    const lg_shape *weight = &lg_node_weight(graph, node, SLOT_WEIGHT)->shape;

    return lg_mul_sat(lg_value_elements(lg_op_output(graph, node, 0)),
                      lg_mul_sat(weight->dims[1], lg_op_kernel_positions(weight)));
}

/* Whether another slot of the graph uses the weight too. */
static int is_shared(const lg_graph *graph, int32_t weight)
{
    int n = 0;

    for (int32_t i = 0; i < graph->n_nodes; i++)
        for (int s = 0; s < graph->nodes[i].n_weights; s++)
            n += graph->nodes[i].weights[s] == weight;
    return n > 1;
}

static lego_status channels_grouped(lg_channels *channels, const lg_graph *graph, const lg_node *node, lg_axis in,
                                    lg_axis out)
{
    const int64_t groups = node->attrs->conv.groups;
    const int64_t n_in = lg_op_input(graph, node, 0)->shape.dims[1];
    const int64_t n_out = lg_op_output(graph, node, 0)->shape.dims[1];
    lego_status status = LEGO_OK;

    if (is_shared(graph, node->weights[SLOT_WEIGHT])) {
        LG_TRY(lg_channels_freeze(channels, in, "grouped convolution with a shared weight"));
        LG_TRY(lg_channels_freeze(channels, out, "grouped convolution with a shared weight"));
    } else if (groups == n_in) {
        LG_TRY(lg_channels_tie_repeated(channels, in, out, n_out / groups));
    } else {
        LG_TRY(lg_channels_balance(channels, in, out, groups));
    }
done:
    return status;
}

static lego_status channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    const lg_axis in = LG_VALUE_AXIS(node->inputs[0], 1), out = LG_VALUE_AXIS(node->outputs[0], 1);
    lego_status status = LEGO_OK;

    LG_TRY(lg_channels_tie_axes(channels, out, LG_WEIGHT_AXIS(node->weights[SLOT_WEIGHT], 0)));
    if (node->weights[SLOT_BIAS] != LG_NONE)
        LG_TRY(lg_channels_tie_axes(channels, out, LG_WEIGHT_AXIS(node->weights[SLOT_BIAS], 0)));
    if (node->attrs->conv.groups == 1)
        LG_TRY(lg_channels_tie_axes(channels, in, LG_WEIGHT_AXIS(node->weights[SLOT_WEIGHT], 1)));
    else
        LG_TRY(channels_grouped(channels, graph, node, in, out));
    LG_TRY(lg_op_freeze_axes(channels, graph, node->inputs[0], 2, "spatial axis"));
    LG_TRY(lg_op_freeze_axes(channels, graph, node->outputs[0], 2, "spatial axis"));
done:
    return status;
}

/* Kept elements of [first, first + count) in the ascending list kept[n]. */
static int64_t kept_within(const int64_t *kept, int64_t n, int64_t first, int64_t count, const int64_t **begin)
{
    int64_t from = 0, to;

    while (from < n && kept[from] < first)
        from++;
    for (to = from; to < n && kept[to] < first + count; to++)
        continue;
    *begin = kept + from;
    return to - from;
}

typedef struct grouped_keep {
    int64_t *in, *out; /* kept channels */
    int64_t n_in, n_out;
    int64_t in_share, out_share; /* of every group that stays */
    int64_t n_groups;            /* that stay */
} grouped_keep;

/* Equal shares of every group that stays, inputs and outputs gone together; counts the groups that stay. */
static lego_status check_balance(grouped_keep *kept, const lg_node *node, int64_t groups, int64_t in_width,
                                 int64_t out_width)
{
    const int64_t *begin;

    for (int64_t g = 0; g < groups; g++) {
        const int64_t n_in = kept_within(kept->in, kept->n_in, g * in_width, in_width, &begin);
        const int64_t n_out = kept_within(kept->out, kept->n_out, g * out_width, out_width, &begin);

        if ((n_in == 0) != (n_out == 0))
            return lg_error(LEGO_EINVAL, "node '%s': group %lld would keep %lld inputs and %lld outputs", node->name,
                            (long long)g, (long long)n_in, (long long)n_out);
        if (n_in == 0)
            continue;
        if (kept->n_groups++ == 0) {
            kept->in_share = n_in;
            kept->out_share = n_out;
        }
        if (n_in != kept->in_share || n_out != kept->out_share)
            return lg_error(LEGO_EINVAL,
                            "node '%s': group %lld would keep %lld inputs and %lld outputs, others %lld and %lld",
                            node->name, (long long)g, (long long)n_in, (long long)n_out, (long long)kept->in_share,
                            (long long)kept->out_share);
    }
    return LEGO_OK;
}

/* weight (K,C/groups,...): row k keeps the columns of its own group's kept inputs. */
static lego_status slice_grouped(lego_tensor *out, const lego_tensor *weight, const grouped_keep *kept,
                                 int64_t in_width, int64_t out_width)
{
    const size_t kernel = (size_t)lg_op_kernel_positions(&weight->shape) * sizeof(float);
    lg_shape shape = weight->shape;
    char *to;
    lego_status status = LEGO_OK;

    shape.dims[0] = kept->n_out;
    shape.dims[1] = kept->in_share;
    LG_TRY(lg_tensor_init(out, weight->dtype, &shape));
    to = lg_tensor_data(out);
    for (int64_t k = 0; k < kept->n_out; k++) {
        const int64_t first = kept->out[k] / out_width * in_width;
        const char *row = (const char *)lg_tensor_data(weight) + (size_t)(kept->out[k] * in_width) * kernel;
        const int64_t *begin;
        const int64_t n = kept_within(kept->in, kept->n_in, first, in_width, &begin);

        for (int64_t c = 0; c < n; c++, to += kernel)
            memcpy(to, row + (size_t)(begin[c] - first) * kernel, kernel);
    }
done:
    return status;
}

static lego_status prune(const lg_channels_keep *keep, const lg_graph *before, const lg_node *node, lg_graph *after,
                         lg_node *pruned)
{
    const int64_t groups = node->attrs->conv.groups;
    const lg_axis in = LG_VALUE_AXIS(node->inputs[0], 1), out = LG_VALUE_AXIS(node->outputs[0], 1);
    const lego_tensor *weight = lg_node_weight(before, node, SLOT_WEIGHT);
    const int64_t n_in = before->values[in.id].shape.dims[1], n_out = weight->shape.dims[0];
    grouped_keep kept = { 0 };
    lego_tensor sliced = { 0 }, *target = lg_node_weight(after, pruned, SLOT_WEIGHT);
    lego_status status = LEGO_OK;

    if (groups == 1)
        return LEGO_OK;
    LG_TRY(LG_CALLOC(&kept.in, n_in));
    LG_TRY(LG_CALLOC(&kept.out, n_out));
    kept.n_in = lg_channels_kept(keep, in, kept.in);
    kept.n_out = lg_channels_kept(keep, out, kept.out);
    if (kept.n_in == n_in && kept.n_out == n_out)
        goto done;
    LG_TRY(check_balance(&kept, node, groups, n_in / groups, n_out / groups));
    LG_TRY(slice_grouped(&sliced, weight, &kept, n_in / groups, n_out / groups));
    lg_tensor_dispose(target);
    *target = sliced;
    pruned->attrs->conv.groups = kept.n_groups;
done:
    lg_free(kept.in);
    lg_free(kept.out);
    return status;
}

#define CONV(op_name, axes)                                                   \
    static const lg_field op_name##_fields[] = {                              \
        LG_FIELD_AXES("stride", conv.stride, axes),                           \
        LG_FIELD_AXES("dilation", conv.dilation, axes),                       \
        LG_FIELD_AXES("pads", conv.pads, 2 * (axes)),                         \
        { "groups", LG_FIELD_INT, offsetof(lg_attrs, conv.groups), 1, NULL }, \
        LG_FIELDS_END,                                                        \
    };                                                                        \
    const lg_op lg_op_##op_name = {                                           \
        .name = #op_name,                                                     \
        .kind = LG_OP_CONV,                                                   \
        .n_axes = axes,                                                       \
        .min_inputs = 1,                                                      \
        .max_inputs = 1,                                                      \
        .defaults = { .conv = { { 1, 1, 1 }, { 1, 1, 1 }, { 0 }, 1 } },       \
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

CONV(conv2d, 2);
CONV(conv3d, 3);
