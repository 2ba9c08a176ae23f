/* layer_norm: over all axes from `axis` on, y = (x - mean) / sqrt(var + eps) * weight + bias; weight and bias have the
 * shape of those axes, or are absent. Channel rule: every element of them changes every other, so none of them can
 * go. */
#include "graph/ops/common.h"

enum { SLOT_WEIGHT, SLOT_BIAS, N_SLOTS };

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    const lg_shape *in = &lg_op_input(graph, node, 0)->shape;
    const int64_t axis = node->attrs->layer_norm.axis;
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_input(graph, node, 0, 2, 0));
    LG_TRY(lg_op_check_axis(graph, node, 0, axis));
    LG_TRY(lg_op_check_eps(node, node->attrs->layer_norm.eps));
    for (int slot = 0; slot < N_SLOTS; slot++)
        LG_TRY(lg_op_check_weight(graph, node, slot, in->n_dims - (int)axis, in->dims + axis));
done:
    return status;
}

static int64_t flops(const lg_graph *graph, const lg_node *node)
{
    return lg_mul_sat(7, lg_value_elements(lg_op_input(graph, node, 0))); /* mean, variance (3), centre, scale, shift */
}

static lego_status channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    const int first = (int)node->attrs->layer_norm.axis;
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_unary_channels(channels, graph, node));
    LG_TRY(lg_op_freeze_axes(channels, graph, node->outputs[0], first, "axis of a layer norm"));
    for (int slot = 0; slot < N_SLOTS; slot++)
        for (int axis = first; node->weights[slot] != LG_NONE && axis < lg_op_input(graph, node, 0)->shape.n_dims;
             axis++)
            LG_TRY(lg_channels_tie_axes(channels, LG_VALUE_AXIS(node->outputs[0], axis),
                                        LG_WEIGHT_AXIS(node->weights[slot], axis - first)));
done:
    return status;
}

static const lg_field fields[] = {
    { "axis", LG_FIELD_INT, offsetof(lg_attrs, layer_norm.axis), 1, NULL },
    { "eps", LG_FIELD_DOUBLE, offsetof(lg_attrs, layer_norm.eps), 1, NULL },
    LG_FIELDS_END,
};

const lg_op lg_op_layer_norm = {
    .name = "layer_norm",
    .kind = LG_OP_LAYER_NORM,
    .min_inputs = 1,
    .max_inputs = 1,
    .defaults = { .layer_norm = { 1, 1e-5 } },
    .fields = fields,
    .slots = { { "weight", LG_SLOT_OPTIONAL, LG_INIT_ONES }, { "bias", LG_SLOT_OPTIONAL, LG_INIT_ZEROS } },
    .n_slots = N_SLOTS,
    .validate = validate,
    .infer_shape = lg_op_unary_infer,
    .flops = flops,
    .channels = channels,
};
