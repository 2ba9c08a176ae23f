/* What the op files share. Every check names the node, the value found and what was allowed; every product of numbers
 * that come from a file is bounded first: extents and attributes are at most LG_MAX_EXTENT, counts saturate. */
#include "graph/ops/common.h"

int64_t lg_add_sat(int64_t a, int64_t b)
{
    return a > INT64_MAX - b ? INT64_MAX : a + b;
}

int64_t lg_mul_sat(int64_t a, int64_t b)
{
    return a != 0 && b > INT64_MAX / a ? INT64_MAX : a * b;
}

const lg_value *lg_op_input(const lg_graph *graph, const lg_node *node, int index)
{
    return &graph->values[node->inputs[index]];
}

const lg_value *lg_op_output(const lg_graph *graph, const lg_node *node, int index)
{
    return &graph->values[node->outputs[index]];
}

lego_status lg_op_check_shape(const lg_shape *shape, const char *what, const char *name)
{
    char text[128];
    int64_t n = 1;

    if (shape->n_dims < 1 || shape->n_dims > LEGO_MAX_DIMS)
        return lg_error(LEGO_EINVAL, "%s '%s': %d dimensions, 1 to %d are possible", what, name, (int)shape->n_dims,
                        LEGO_MAX_DIMS);
    if (shape->dims[0] != LG_BATCH)
        return lg_error(LEGO_EINVAL, "%s '%s': shape %s does not start with the batch", what, name,
                        lg_shape_format(text, shape));
    for (int i = 1; i < shape->n_dims; i++) {
        if (shape->dims[i] < 1 || shape->dims[i] > LG_MAX_EXTENT)
            return lg_error(LEGO_EINVAL, "%s '%s': extent %lld of dimension %d is not in [1, %lld]", what, name,
                            (long long)shape->dims[i], i, (long long)LG_MAX_EXTENT);
        n = lg_mul_sat(n, shape->dims[i]);
    }
    if (n > INT64_MAX / 1024) /* so that bytes and small batches of it stay countable */
        return lg_error(LEGO_EINVAL, "%s '%s': shape %s has too many elements", what, name,
                        lg_shape_format(text, shape));
    return LEGO_OK;
}

lego_status lg_op_check_input(const lg_graph *graph, const lg_node *node, int index, int min_dims, int max_dims)
{
    const lg_value *value = lg_op_input(graph, node, index);
    char text[128];

    if (value->dtype != LEGO_DTYPE_F32)
        return lg_error(LEGO_EINVAL, "node '%s': input '%s' is %s, %s takes F32", node->name, value->name,
                        lg_dtype_name(value->dtype), node->op->name);
    if (value->shape.n_dims < min_dims || (max_dims > 0 && value->shape.n_dims > max_dims))
        return lg_error(LEGO_EINVAL, "node '%s': input '%s' has shape %s, %s takes %d%s dimensions", node->name,
                        value->name, lg_shape_format(text, &value->shape), node->op->name, min_dims,
                        max_dims == min_dims ? "" : " or more");
    return lg_op_check_shape(&value->shape, "value", value->name);
}

lego_status lg_op_check_weight(const lg_graph *graph, const lg_node *node, int slot, int n_dims, const int64_t *dims)
{
    const lego_tensor *tensor = lg_node_weight(graph, node, slot);
    const lg_shape wanted = lg_shape_make(n_dims, dims);
    char have_text[128], want_text[128];

    if (!tensor)
        return LEGO_OK;
    if (tensor->dtype != LEGO_DTYPE_F32)
        return lg_error(LEGO_EINVAL, "node '%s': %s '%s' is %s, %s takes F32", node->name, node->op->slots[slot].name,
                        graph->weights[node->weights[slot]].name, lg_dtype_name(tensor->dtype), node->op->name);
    if (!lg_shape_equal(&tensor->shape, &wanted))
        return lg_error(LEGO_EINVAL, "node '%s': %s '%s' has shape %s, %s is needed", node->name,
                        node->op->slots[slot].name, graph->weights[node->weights[slot]].name,
                        lg_shape_format(have_text, &tensor->shape), lg_shape_format(want_text, &wanted));
    return LEGO_OK;
}

lego_status lg_op_check_ints(const lg_node *node, const char *attribute, int n, const int64_t *values, int64_t min,
                             int64_t max)
{
    for (int i = 0; i < n; i++)
        if (values[i] < min || values[i] > max)
            return lg_error(LEGO_EINVAL, "node '%s': %s %lld is not in [%lld, %lld]", node->name, attribute,
                            (long long)values[i], (long long)min, (long long)max);
    return LEGO_OK;
}

lego_status lg_op_check_axis(const lg_graph *graph, const lg_node *node, int index, int64_t axis)
{
    return lg_op_check_ints(node, "axis", 1, &axis, 1, lg_op_input(graph, node, index)->shape.n_dims - 1);
}

lego_status lg_op_check_eps(const lg_node *node, double eps)
{
    if (!(eps > 0.0 && eps <= 1.0)) /* also NaN */
        return lg_error(LEGO_EINVAL, "node '%s': eps %g is not in (0, 1]", node->name, eps);
    return LEGO_OK;
}

int64_t lg_op_layer_flops(const lg_graph *graph, const lg_node *node)
{
    const int64_t twice = lg_mul_sat(2, node->op->macs(graph, node));

    return node->weights[1] == LG_NONE ? twice : lg_add_sat(twice, lg_value_elements(lg_op_output(graph, node, 0)));
}

lego_status lg_op_check_spatial(const lg_graph *graph, const lg_node *node)
{
    return lg_op_check_input(graph, node, 0, 2 + node->op->n_axes, 2 + node->op->n_axes);
}

int64_t lg_op_kernel_positions(const lg_shape *weight)
{
    int64_t n = 1;

    for (int i = 2; i < weight->n_dims; i++)
        n = lg_mul_sat(n, weight->dims[i]);
    return n;
}

lego_status lg_op_window(int64_t *out, const lg_node *node, int64_t in, int64_t kernel, int64_t stride,
                         int64_t dilation, int64_t pad_before, int64_t pad_after, int ceil_mode)
{
    const int64_t padded = in + pad_before + pad_after;
    const int64_t reach = dilation * (kernel - 1) + 1; /* both at most LG_MAX_EXTENT */
    int64_t n;

    if (padded < reach)
        return lg_error(LEGO_EINVAL, "node '%s': a window of %lld does not fit into %lld (padded)", node->name,
                        (long long)reach, (long long)padded);
    n = (padded - reach) / stride + 1;
    /* As torch: a partial window counts only if it starts before the padding behind the input. */
    if (ceil_mode && (padded - reach) % stride != 0 && n * stride < in + pad_before)
        n++;
    *out = n;
    return LEGO_OK;
}

lego_status lg_op_set_output(lg_graph *graph, const lg_node *node, int index, lego_dtype dtype, const lg_shape *shape)
{
    lg_value *value = &graph->values[node->outputs[index]];
    lego_status status = lg_op_check_shape(shape, "output of node", node->name);

    if (status != LEGO_OK)
        return status;
    value->dtype = dtype;
    value->shape = *shape;
    return LEGO_OK;
}

lego_status lg_op_unary_validate(const lg_graph *graph, const lg_node *node)
{
    return lg_op_check_input(graph, node, 0, 1, 0);
}

lego_status lg_op_unary_infer(lg_graph *graph, const lg_node *node)
{
    const lg_value *in = lg_op_input(graph, node, 0);

    return lg_op_set_output(graph, node, 0, in->dtype, &in->shape);
}

int64_t lg_op_unary_flops(const lg_graph *graph, const lg_node *node)
{
    return lg_value_elements(lg_op_input(graph, node, 0));
}

lego_status lg_op_unary_channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    const int n_dims = lg_op_input(graph, node, 0)->shape.n_dims;
    lego_status status = LEGO_OK;

    for (int axis = 1; axis < n_dims; axis++)
        LG_TRY(lg_channels_tie_axes(channels, LG_VALUE_AXIS(node->inputs[0], axis),
                                    LG_VALUE_AXIS(node->outputs[0], axis)));
done:
    return status;
}

lego_status lg_op_freeze_axes(lg_channels *channels, const lg_graph *graph, int32_t value, int first,
                              const char *reason)
{
    lego_status status = LEGO_OK;

    for (int axis = first; axis < graph->values[value].shape.n_dims; axis++)
        LG_TRY(lg_channels_freeze(channels, LG_VALUE_AXIS(value, axis), reason));
done:
    return status;
}

lego_status lg_op_spatial_channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_channels_tie_axes(channels, LG_VALUE_AXIS(node->inputs[0], 1), LG_VALUE_AXIS(node->outputs[0], 1)));
    LG_TRY(lg_op_freeze_axes(channels, graph, node->inputs[0], 2, "spatial axis"));
    LG_TRY(lg_op_freeze_axes(channels, graph, node->outputs[0], 2, "spatial axis"));
done:
    return status;
}
