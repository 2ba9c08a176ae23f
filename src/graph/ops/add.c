/* add: y = a + b of equal shapes (the residual sum). Channel rule: a residual sum is why channels come in groups: all
 * three values' channel c go together. */
#include "graph/ops/common.h"

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    const lg_value *a = lg_op_input(graph, node, 0), *b = lg_op_input(graph, node, 1);
    char a_text[128], b_text[128];
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_input(graph, node, 0, 1, 0));
    LG_TRY(lg_op_check_input(graph, node, 1, 1, 0));
    if (!lg_shape_equal(&a->shape, &b->shape))
        return lg_error(LEGO_EINVAL, "node '%s': '%s' %s and '%s' %s differ in shape", node->name, a->name,
                        lg_shape_format(a_text, &a->shape), b->name, lg_shape_format(b_text, &b->shape));
done:
    return status;
}

static lego_status channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    const int n_dims = lg_op_output(graph, node, 0)->shape.n_dims;
    lego_status status = LEGO_OK;

    for (int axis = 1; axis < n_dims; axis++)
        for (int i = 0; i < 2; i++)
            LG_TRY(lg_channels_tie_axes(channels, LG_VALUE_AXIS(node->inputs[i], axis),
                                        LG_VALUE_AXIS(node->outputs[0], axis)));
done:
    return status;
}

static const lg_field fields[] = { { NULL, LG_FIELD_INT, 0, 0 } };

const lg_op lg_op_add = {
    .name = "add",
    .kind = LG_OP_ADD,
    .min_inputs = 2,
    .max_inputs = 2,
    .fields = fields,
    .validate = validate,
    .infer_shape = lg_op_unary_infer,
    .flops = lg_op_unary_flops,
    .channels = channels,
};
