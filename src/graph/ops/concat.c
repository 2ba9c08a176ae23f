/* concat: values of equal shapes but for one axis, one behind the other along it. Channel rule: element i of an input
 * is element offset + i of the output; every input keeps its own groups. */
#include "graph/ops/common.h"

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    const lg_value *first = lg_op_input(graph, node, 0);
    char first_text[128], other_text[128];
    lego_status status = LEGO_OK;

    for (int i = 0; i < node->n_inputs; i++)
        LG_TRY(lg_op_check_input(graph, node, i, 2, 0));
    LG_TRY(lg_op_check_axis(graph, node, 0, node->attrs->axis.axis));
    for (int i = 1; i < node->n_inputs; i++) {
        const lg_value *other = lg_op_input(graph, node, i);
        lg_shape shape = other->shape;

        if (shape.n_dims == first->shape.n_dims)
            shape.dims[node->attrs->axis.axis] = first->shape.dims[node->attrs->axis.axis];
        if (!lg_shape_equal(&shape, &first->shape))
            return lg_error(LEGO_EINVAL, "node '%s': '%s' %s and '%s' %s differ beside axis %lld", node->name,
                            first->name, lg_shape_format(first_text, &first->shape), other->name,
                            lg_shape_format(other_text, &other->shape), (long long)node->attrs->axis.axis);
    }
done:
    return status;
}

static lego_status infer_shape(lg_graph *graph, const lg_node *node)
{
    lg_shape out = lg_op_input(graph, node, 0)->shape;

    for (int i = 1; i < node->n_inputs; i++)
        out.dims[node->attrs->axis.axis] = lg_add_sat(out.dims[node->attrs->axis.axis],
                                                      lg_op_input(graph, node, i)->shape.dims[node->attrs->axis.axis]);
    return lg_op_set_output(graph, node, 0, LEGO_DTYPE_F32, &out);
}

static lego_status channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    const int joined = (int)node->attrs->axis.axis;
    int64_t offset = 0;
    lego_status status = LEGO_OK;

    for (int i = 0; i < node->n_inputs; i++) {
        const lg_shape *in = &lg_op_input(graph, node, i)->shape;

        for (int axis = 1; axis < in->n_dims; axis++)
            LG_TRY(lg_channels_tie(channels, LG_VALUE_AXIS(node->inputs[i], axis), 0,
                                   LG_VALUE_AXIS(node->outputs[0], axis), axis == joined ? offset : 0,
                                   in->dims[axis]));
        offset += in->dims[joined];
    }
done:
    return status;
}

static const lg_field fields[] = {
    { "axis", LG_FIELD_INT, offsetof(lg_attrs, axis.axis), 1, NULL },
    LG_FIELDS_END,
};

const lg_op lg_op_concat = {
    .name = "concat",
    .kind = LG_OP_CONCAT,
    .min_inputs = 1,
    .max_inputs = -1,
    .defaults = { .axis = { 1 } },
    .fields = fields,
    .validate = validate,
    .infer_shape = infer_shape,
    .channels = channels,
};
