/* split: cut an axis into runs of the given sizes, one output each. slice: one run, start .. end - 1, or every step-th
 * element from start on, before end; a negative step goes down, to an end of -1 at most.
 * Channel rule: as concat, the other way round; pruning sets the sizes to what is left of each run. An axis that is cut
 * in steps keeps all of its elements: what would be left of it is no longer at equal distances. */
#include "graph/ops/common.h"

static lego_status tie_run(lg_channels *channels, const lg_graph *graph, const lg_node *node, int index, int cut,
                           int64_t offset)
{
    const lg_shape *out = &lg_op_output(graph, node, index)->shape;
    lego_status status = LEGO_OK;

    for (int axis = 1; axis < out->n_dims; axis++)
        LG_TRY(lg_channels_tie(channels, LG_VALUE_AXIS(node->inputs[0], axis), axis == cut ? offset : 0,
                               LG_VALUE_AXIS(node->outputs[index], axis), 0, out->dims[axis]));
done:
    return status;
}

/* --- split --- */

static int split_outputs(const lg_graph *graph, const lg_node *node)
{
    const int64_t n = node->attrs->split.sizes.n;

    return n >= 1 && n <= LEGO_MAX_DIMS ? (int)n : 0;
}

static lego_status split_validate(const lg_graph *graph, const lg_node *node)
{
    const int64_t axis = node->attrs->split.axis;
    const lg_dims *sizes = &node->attrs->split.sizes;
    int64_t total = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_input(graph, node, 0, 2, 0));
    LG_TRY(lg_op_check_axis(graph, node, 0, axis));
    LG_TRY(lg_op_check_ints(node, "size", (int)sizes->n, sizes->dims, 1, LG_MAX_EXTENT));
    for (int64_t i = 0; i < sizes->n; i++)
        total += sizes->dims[i];
    if (total != lg_op_input(graph, node, 0)->shape.dims[axis])
        return lg_error(LEGO_EINVAL, "node '%s': sizes add up to %lld, axis %lld has %lld", node->name,
                        (long long)total, (long long)axis,
                        (long long)lg_op_input(graph, node, 0)->shape.dims[axis]);
done:
    return status;
}

static lego_status split_infer(lg_graph *graph, const lg_node *node)
{
    lg_shape out = lg_op_input(graph, node, 0)->shape;
    lego_status status = LEGO_OK;

    for (int i = 0; i < node->n_outputs; i++) {
        out.dims[node->attrs->split.axis] = node->attrs->split.sizes.dims[i];
        LG_TRY(lg_op_set_output(graph, node, i, LEGO_DTYPE_F32, &out));
    }
done:
    return status;
}

static lego_status split_channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    int64_t offset = 0;
    lego_status status = LEGO_OK;

    for (int i = 0; i < node->n_outputs; i++) {
        LG_TRY(tie_run(channels, graph, node, i, (int)node->attrs->split.axis, offset));
        offset += node->attrs->split.sizes.dims[i];
    }
done:
    return status;
}

static lego_status split_prune(const lg_channels_keep *keep, const lg_graph *before, const lg_node *node,
                               lg_graph *after, lg_node *pruned)
{
    const int axis = (int)node->attrs->split.axis;

    for (int i = 0; i < node->n_outputs; i++)
        pruned->attrs->split.sizes.dims[i] = lg_channels_kept(keep, LG_VALUE_AXIS(node->outputs[i], axis), NULL);
    return LEGO_OK;
}

static const lg_field split_fields[] = {
    { "axis", LG_FIELD_INT, offsetof(lg_attrs, split.axis), 1, NULL },
    { "sizes", LG_FIELD_DIMS, offsetof(lg_attrs, split.sizes), 1, NULL },
    LG_FIELDS_END,
};

const lg_op lg_op_split = {
    .name = "split",
    .kind = LG_OP_SPLIT,
    .min_inputs = 1,
    .max_inputs = 1,
    .defaults = { .split = { 1, { 0, { 0 } } } },
    .fields = split_fields,
    .n_outputs = split_outputs,
    .validate = split_validate,
    .infer_shape = split_infer,
    .channels = split_channels,
    .prune = split_prune,
};

/* --- slice --- */

static lego_status slice_validate(const lg_graph *graph, const lg_node *node)
{
    const int64_t axis = node->attrs->slice.axis, start = node->attrs->slice.start, end = node->attrs->slice.end;
    const int64_t step = node->attrs->slice.step;
    int64_t extent;
    int fits;
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_input(graph, node, 0, 2, 0));
    LG_TRY(lg_op_check_axis(graph, node, 0, axis));
    extent = lg_op_input(graph, node, 0)->shape.dims[axis];
    if (step == 0 || step < -LG_MAX_EXTENT || step > LG_MAX_EXTENT)
        return lg_error(LEGO_EINVAL, "node '%s': a step of %lld is not in [-%lld, %lld], or 0", node->name,
                        (long long)step, (long long)LG_MAX_EXTENT, (long long)LG_MAX_EXTENT);
    fits = step > 0 ? start >= 0 && start < end && end <= extent : end >= -1 && end < start && start < extent;
    if (!fits)
        return lg_error(LEGO_EINVAL, "node '%s': elements %lld to %lld in steps of %lld are not in axis %lld of %lld",
                        node->name, (long long)start, (long long)end, (long long)step, (long long)axis,
                        (long long)extent);
done:
    return status;
}

static lego_status slice_infer(lg_graph *graph, const lg_node *node)
{
    const int64_t length = node->attrs->slice.end - node->attrs->slice.start, step = node->attrs->slice.step;
    lg_shape out = lg_op_input(graph, node, 0)->shape;

    out.dims[node->attrs->slice.axis] = (length + step + (step > 0 ? -1 : 1)) / step;
    return lg_op_set_output(graph, node, 0, LEGO_DTYPE_F32, &out);
}

static lego_status slice_channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    const int cut = (int)node->attrs->slice.axis;
    const lg_shape *out = &lg_op_output(graph, node, 0)->shape;
    lego_status status = LEGO_OK;

    if (node->attrs->slice.step == 1)
        return tie_run(channels, graph, node, 0, cut, node->attrs->slice.start);
    for (int axis = 1; axis < out->n_dims; axis++)
        if (axis != cut)
            LG_TRY(lg_channels_tie_axes(channels, LG_VALUE_AXIS(node->inputs[0], axis),
                                        LG_VALUE_AXIS(node->outputs[0], axis)));
    LG_TRY(lg_channels_freeze(channels, LG_VALUE_AXIS(node->inputs[0], cut), "sliced in steps"));
    LG_TRY(lg_channels_freeze(channels, LG_VALUE_AXIS(node->outputs[0], cut), "sliced in steps"));
done:
    return status;
}

static lego_status slice_prune(const lg_channels_keep *keep, const lg_graph *before, const lg_node *node,
                               lg_graph *after, lg_node *pruned)
{
    const lg_axis in = LG_VALUE_AXIS(node->inputs[0], (int32_t)node->attrs->slice.axis);
    const int64_t length = lg_channels_kept(keep, LG_VALUE_AXIS(node->outputs[0], in.axis), NULL);
    int64_t start = 0;

    if (node->attrs->slice.step != 1) /* frozen */
        return LEGO_OK;
    for (int64_t i = 0; i < node->attrs->slice.start; i++)
        start += lg_channels_keeps(keep, in, i);
    pruned->attrs->slice.start = start;
    pruned->attrs->slice.end = start + length;
    return LEGO_OK;
}

static const lg_field slice_fields[] = {
    { "axis", LG_FIELD_INT, offsetof(lg_attrs, slice.axis), 1, NULL },
    { "start", LG_FIELD_INT, offsetof(lg_attrs, slice.start), 1, NULL },
    { "end", LG_FIELD_INT, offsetof(lg_attrs, slice.end), 1, NULL },
    { "step", LG_FIELD_INT, offsetof(lg_attrs, slice.step), 1, NULL },
    LG_FIELDS_END,
};

const lg_op lg_op_slice = {
    .name = "slice",
    .kind = LG_OP_SLICE,
    .min_inputs = 1,
    .max_inputs = 1,
    .defaults = { .slice = { 1, 0, 1, 1 } },
    .fields = slice_fields,
    .validate = slice_validate,
    .infer_shape = slice_infer,
    .channels = slice_channels,
    .prune = slice_prune,
};
