/* add, sub, mul, div, min, max: two values element by element. Both have equally many dimensions; an extent of 1 is repeated over
 * the other's (squeeze-excite multiplies (N,C,H,W) by (N,C,1,1)).
 *
 * Channel rule: an axis goes with the output's unless it is repeated. A residual sum is why channels come in groups:
 * channel c of all three values goes together. */
#include "graph/ops/common.h"

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    const lg_value *a = lg_op_input(graph, node, 0), *b = lg_op_input(graph, node, 1);
    char a_text[128], b_text[128];
    int fits = a->shape.n_dims == b->shape.n_dims;
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_input(graph, node, 0, 1, 0));
    LG_TRY(lg_op_check_input(graph, node, 1, 1, 0));
    for (int i = 0; fits && i < a->shape.n_dims; i++)
        fits = a->shape.dims[i] == b->shape.dims[i] || a->shape.dims[i] == 1 || b->shape.dims[i] == 1;
    if (!fits)
        return lg_error(LEGO_EINVAL, "node '%s': '%s' %s and '%s' %s differ in shape", node->name, a->name,
                        lg_shape_format(a_text, &a->shape), b->name, lg_shape_format(b_text, &b->shape));
done:
    return status;
}

static lego_status infer_shape(lg_graph *graph, const lg_node *node)
{
    const lg_shape *b = &lg_op_input(graph, node, 1)->shape;
    lg_shape out = lg_op_input(graph, node, 0)->shape;

    for (int i = 1; i < out.n_dims; i++)
        if (out.dims[i] == 1)
            out.dims[i] = b->dims[i];
    return lg_op_set_output(graph, node, 0, LEGO_DTYPE_F32, &out);
}

static int64_t flops(const lg_graph *graph, const lg_node *node)
{
    return lg_value_elements(lg_op_output(graph, node, 0));
}

static lego_status channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    const lg_shape *out = &lg_op_output(graph, node, 0)->shape;
    lego_status status = LEGO_OK;

    for (int axis = 1; axis < out->n_dims; axis++)
        for (int i = 0; i < 2; i++)
            if (lg_op_input(graph, node, i)->shape.dims[axis] == out->dims[axis])
                LG_TRY(lg_channels_tie_axes(channels, LG_VALUE_AXIS(node->inputs[i], axis),
                                            LG_VALUE_AXIS(node->outputs[0], axis)));
done:
    return status;
}

static const lg_field fields[] = { LG_FIELDS_END };

#define BINARY(KIND, op_name)                                                 \
    const lg_op lg_op_##op_name = {                                           \
        .name = #op_name,                                                     \
        .kind = LG_OP_##KIND,                                                 \
        .min_inputs = 2,                                                      \
        .max_inputs = 2,                                                      \
        .fields = fields,                                                     \
        .validate = validate,                                                 \
        .infer_shape = infer_shape,                                           \
        .flops = flops,                                                       \
        .channels = channels,                                                 \
    }

BINARY(ADD, add);
BINARY(SUB, sub);
BINARY(MUL, mul);
BINARY(DIV, div);
BINARY(MIN, min);
BINARY(MAX, max);
