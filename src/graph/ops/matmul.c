/* matmul: a (N,...,M,K) times b (N,...,K,P) -> (N,...,M,P), every leading axis equal. */
#include "graph/ops/common.h"

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    const lg_value *a = lg_op_input(graph, node, 0), *b = lg_op_input(graph, node, 1);
    const int n = a->shape.n_dims;
    char a_text[128], b_text[128];
    int fits;
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_input(graph, node, 0, 3, 0));
    LG_TRY(lg_op_check_input(graph, node, 1, 3, 0));
    fits = n == b->shape.n_dims && a->shape.dims[n - 1] == b->shape.dims[n - 2];
    for (int i = 0; fits && i < n - 2; i++)
        fits = a->shape.dims[i] == b->shape.dims[i];
    if (!fits)
        return lg_error(LEGO_EINVAL, "node '%s': '%s' %s cannot be multiplied by '%s' %s", node->name, a->name,
                        lg_shape_format(a_text, &a->shape), b->name, lg_shape_format(b_text, &b->shape));
done:
    return status;
}

static lego_status infer_shape(lg_graph *graph, const lg_node *node)
{
    const lg_shape *b = &lg_op_input(graph, node, 1)->shape;
    lg_shape out = lg_op_input(graph, node, 0)->shape;

    out.dims[out.n_dims - 1] = b->dims[b->n_dims - 1];
    return lg_op_set_output(graph, node, 0, LEGO_DTYPE_F32, &out);
}

static int64_t macs(const lg_graph *graph, const lg_node *node)
{
    const lg_shape *a = &lg_op_input(graph, node, 0)->shape;

    return lg_mul_sat(lg_value_elements(lg_op_output(graph, node, 0)), a->dims[a->n_dims - 1]);
}

static int64_t flops(const lg_graph *graph, const lg_node *node)
{
    return lg_mul_sat(2, macs(graph, node));
}

static lego_status channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    const int32_t a = node->inputs[0], b = node->inputs[1], out = node->outputs[0];
    const int last = lg_op_output(graph, node, 0)->shape.n_dims - 1;
    lego_status status = LEGO_OK;

    for (int axis = 1; axis < last - 1; axis++) {
        LG_TRY(lg_channels_tie_axes(channels, LG_VALUE_AXIS(a, axis), LG_VALUE_AXIS(out, axis)));
        LG_TRY(lg_channels_tie_axes(channels, LG_VALUE_AXIS(b, axis), LG_VALUE_AXIS(out, axis)));
    }
    LG_TRY(lg_channels_tie_axes(channels, LG_VALUE_AXIS(a, last - 1), LG_VALUE_AXIS(out, last - 1)));
    LG_TRY(lg_channels_tie_axes(channels, LG_VALUE_AXIS(b, last), LG_VALUE_AXIS(out, last)));
    LG_TRY(lg_channels_tie_axes(channels, LG_VALUE_AXIS(a, last), LG_VALUE_AXIS(b, last - 1)));
done:
    return status;
}

static const lg_field fields[] = { LG_FIELDS_END };

const lg_op lg_op_matmul = {
    .name = "matmul",
    .kind = LG_OP_MATMUL,
    .min_inputs = 2,
    .max_inputs = 2,
    .fields = fields,
    .validate = validate,
    .infer_shape = infer_shape,
    .macs = macs,
    .flops = flops,
    .channels = channels,
};
