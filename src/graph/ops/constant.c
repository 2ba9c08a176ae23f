/* constant: a stored tensor (d1,...) as the value (N,d1,...), the same for every sample of the batch. */
#include "graph/ops/common.h"

enum { SLOT_VALUE };

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    const lg_shape *shape = &lg_node_weight(graph, node, SLOT_VALUE)->shape;
    lego_status status = LEGO_OK;

    if (shape->n_dims < 1 || shape->n_dims >= LEGO_MAX_DIMS)
        return lg_error(LEGO_EINVAL, "node '%s': the value has %d dimensions, 1 to %d are possible", node->name,
                        (int)shape->n_dims, LEGO_MAX_DIMS - 1);
    LG_TRY(lg_op_check_ints(node, "extent of the value", shape->n_dims, shape->dims, 1, LG_MAX_EXTENT));
    LG_TRY(lg_op_check_weight(graph, node, SLOT_VALUE, shape->n_dims, shape->dims)); /* the dtype */
done:
    return status;
}

static lego_status infer_shape(lg_graph *graph, const lg_node *node)
{
    const lg_shape *stored = &lg_node_weight(graph, node, SLOT_VALUE)->shape;
    lg_shape out = { stored->n_dims + 1, { LG_BATCH } };

    for (int i = 0; i < stored->n_dims; i++)
        out.dims[i + 1] = stored->dims[i];
    return lg_op_set_output(graph, node, 0, LEGO_DTYPE_F32, &out);
}

static lego_status channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    const int n_dims = lg_op_output(graph, node, 0)->shape.n_dims;
    lego_status status = LEGO_OK;

    for (int axis = 1; axis < n_dims; axis++)
        LG_TRY(lg_channels_tie_axes(channels, LG_VALUE_AXIS(node->outputs[0], axis),
                                    LG_WEIGHT_AXIS(node->weights[SLOT_VALUE], axis - 1)));
done:
    return status;
}

static const lg_field fields[] = { LG_FIELDS_END };

const lg_op lg_op_constant = {
    .name = "constant",
    .kind = LG_OP_CONSTANT,
    .fields = fields,
    .slots = { { "value", LG_SLOT_BUFFER, LG_INIT_ZEROS } },
    .n_slots = 1,
    .validate = validate,
    .infer_shape = infer_shape,
    .channels = channels,
};
