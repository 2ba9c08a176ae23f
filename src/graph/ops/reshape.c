/* reshape: the same elements, row-major, under another shape; the batch stays. One extent may be -1: what is left.
 *
 * Channel rule. Both shapes are cut into the shortest runs of axes with equal products:
 *   one axis to one      they go together;
 *   one axis to several  (channel c becomes the pair (a, b)): the axis goes with the longest of the several, the others
 *                        stay whole. Half of a channel shuffle: all groups lose the same channels;
 *   several to one       the first of them that is still free goes with runs of the one (flatten: channels go, spatial
 *                        axes, frozen by the convolution before, stay);
 *   several to several   nothing can go.
 * Pruning writes the extents that are left. */
#include "graph/ops/common.h"

static lego_status resolve(lg_shape *out, const lg_graph *graph, const lg_node *node)
{
    const lg_dims *wanted = &node->attrs->reshape.shape;
    const int64_t total = lg_value_elements(lg_op_input(graph, node, 0));
    int64_t known = 1;
    int free_axis = 0;

    if (wanted->n < 1 || wanted->n >= LEGO_MAX_DIMS)
        return lg_error(LEGO_EINVAL, "node '%s': %lld extents, 1 to %d are possible", node->name,
                        (long long)wanted->n, LEGO_MAX_DIMS - 1);
    *out = (lg_shape){ (int32_t)wanted->n + 1, { LG_BATCH } };
    for (int i = 1; i < out->n_dims; i++) {
        out->dims[i] = wanted->dims[i - 1];
        if (out->dims[i] == -1 && !free_axis)
            free_axis = i;
        else if (out->dims[i] < 1 || out->dims[i] > LG_MAX_EXTENT)
            return lg_error(LEGO_EINVAL, "node '%s': extent %lld is not in [1, %lld]", node->name,
                            (long long)out->dims[i], (long long)LG_MAX_EXTENT);
        else
            known = lg_mul_sat(known, out->dims[i]);
    }
    if (free_axis && total % known == 0)
        known = lg_mul_sat(known, out->dims[free_axis] = total / known);
    if (known != total)
        return lg_error(LEGO_EINVAL, "node '%s': %lld elements do not fit into the shape asked for", node->name,
                        (long long)total);
    return LEGO_OK;
}

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    lg_shape out;
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_input(graph, node, 0, 1, 0));
    LG_TRY(resolve(&out, graph, node));
done:
    return status;
}

static lego_status infer_shape(lg_graph *graph, const lg_node *node)
{
    lg_shape out;
    lego_status status = LEGO_OK;

    LG_TRY(resolve(&out, graph, node));
    LG_TRY(lg_op_set_output(graph, node, 0, LEGO_DTYPE_F32, &out));
done:
    return status;
}

/* An axis in a run: the axes behind it in the run make `inner` elements. */
static int64_t inner_of(const lg_shape *shape, int axis, int end)
{
    int64_t n = 1;

    for (int i = axis + 1; i < end; i++)
        n *= shape->dims[i];
    return n;
}

/* Element e of the whole axis goes with element (e / inner) % extent of the part. */
static lego_status tie_part(lg_channels *channels, lg_axis whole, int64_t total, lg_axis part, int64_t extent,
                            int64_t inner)
{
    lego_status status = LEGO_OK;

    for (int64_t e = 0; e < total; e++)
        LG_TRY(lg_channels_tie(channels, whole, e, part, e / inner % extent, 1));
done:
    return status;
}

/* The axis `whole` of one value is the axes [first, end) of the other value, of which one is chosen to carry it. */
static lego_status tie_run(lg_channels *channels, lg_axis whole, int64_t total, int32_t value, const lg_shape *shape,
                           int first, int end, int chosen)
{
    lego_status status = LEGO_OK;

    LG_TRY(tie_part(channels, whole, total, LG_VALUE_AXIS(value, chosen), shape->dims[chosen],
                    inner_of(shape, chosen, end)));
    for (int axis = first; axis < end; axis++)
        if (axis != chosen)
            LG_TRY(lg_channels_freeze(channels, LG_VALUE_AXIS(value, axis), "reshaped axis"));
done:
    return status;
}

static int longest_axis(const lg_shape *shape, int first, int end)
{
    int chosen = first;

    for (int axis = first + 1; axis < end; axis++)
        if (shape->dims[axis] > shape->dims[chosen])
            chosen = axis;
    return chosen;
}

static int free_axis(const lg_channels *channels, int32_t value, int first, int end)
{
    for (int axis = first; axis < end; axis++)
        if (!lg_channels_is_frozen(channels, LG_VALUE_AXIS(value, axis)))
            return axis;
    return first;
}

static lego_status channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    const lg_shape *in = &lg_op_input(graph, node, 0)->shape, *out = &lg_op_output(graph, node, 0)->shape;
    const int32_t from = node->inputs[0], to = node->outputs[0];
    int i = 1, o = 1;
    lego_status status = LEGO_OK;

    while (i < in->n_dims || o < out->n_dims) {
        const int i_first = i, o_first = o;
        int64_t i_total = i < in->n_dims ? in->dims[i++] : 1, o_total = o < out->n_dims ? out->dims[o++] : 1;

        while (i_total != o_total) /* the totals of both shapes are equal, so this ends in time */
            if (i_total < o_total)
                i_total *= in->dims[i++];
            else
                o_total *= out->dims[o++];
        if (i == i_first || o == o_first) /* extents of 1 at the end, of which the other shape has none left */
            continue;
        if (i - i_first == 1 && o - o_first == 1) {
            LG_TRY(lg_channels_tie_axes(channels, LG_VALUE_AXIS(from, i_first), LG_VALUE_AXIS(to, o_first)));
        } else if (i - i_first == 1) {
            LG_TRY(tie_run(channels, LG_VALUE_AXIS(from, i_first), i_total, to, out, o_first, o,
                           longest_axis(out, o_first, o)));
        } else if (o - o_first == 1) {
            LG_TRY(tie_run(channels, LG_VALUE_AXIS(to, o_first), o_total, from, in, i_first, i,
                           free_axis(channels, from, i_first, i)));
        } else {
            for (int axis = i_first; axis < i; axis++)
                LG_TRY(lg_channels_freeze(channels, LG_VALUE_AXIS(from, axis), "reshaped axis"));
            for (int axis = o_first; axis < o; axis++)
                LG_TRY(lg_channels_freeze(channels, LG_VALUE_AXIS(to, axis), "reshaped axis"));
        }
    }
done:
    return status;
}

static lego_status prune(const lg_channels_keep *keep, const lg_graph *before, const lg_node *node, lg_graph *after,
                         lg_node *pruned)
{
    for (int64_t i = 0; i < node->attrs->reshape.shape.n; i++)
        pruned->attrs->reshape.shape.dims[i] =
            lg_channels_kept(keep, LG_VALUE_AXIS(node->outputs[0], (int32_t)i + 1), NULL);
    return LEGO_OK;
}

static const lg_field fields[] = {
    { "shape", LG_FIELD_DIMS, offsetof(lg_attrs, reshape.shape), 1, NULL },
    LG_FIELDS_END,
};

const lg_op lg_op_reshape = {
    .name = "reshape",
    .kind = LG_OP_RESHAPE,
    .min_inputs = 1,
    .max_inputs = 1,
    .defaults = { .reshape = { { 1, { -1 } } } },
    .fields = fields,
    .validate = validate,
    .infer_shape = infer_shape,
    .channels = channels,
    .prune = prune,
};
