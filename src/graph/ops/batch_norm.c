/* batch_norm: x (N,C,...) -> (x - running_mean) / sqrt(running_var + eps) * weight + bias, a channel at a time.
 * weight and bias (both C) may be absent: 1 and 0. `momentum` is training's: running = (1-m) running + m batch. */
#include "graph/ops/common.h"

enum { SLOT_WEIGHT, SLOT_BIAS, SLOT_MEAN, SLOT_VAR, N_SLOTS };

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    const double momentum = node->attrs->batch_norm.momentum;
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_input(graph, node, 0, 2, 0));
    LG_TRY(lg_op_check_eps(node, node->attrs->batch_norm.eps));
    if (!(momentum >= 0.0 && momentum <= 1.0))
        return lg_error(LEGO_EINVAL, "node '%s': momentum %g is not in [0, 1]", node->name, momentum);
    for (int slot = 0; slot < N_SLOTS; slot++)
        LG_TRY(lg_op_check_weight(graph, node, slot, 1, &lg_op_input(graph, node, 0)->shape.dims[1]));
done:
    return status;
}

static int64_t flops(const lg_graph *graph, const lg_node *node)
{
    return lg_mul_sat(2, lg_value_elements(lg_op_input(graph, node, 0))); /* one scale, one shift */
}

static lego_status channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_unary_channels(channels, graph, node));
    for (int slot = 0; slot < N_SLOTS; slot++)
        if (node->weights[slot] != LG_NONE)
            LG_TRY(lg_channels_tie_axes(channels, LG_VALUE_AXIS(node->outputs[0], 1),
                                        LG_WEIGHT_AXIS(node->weights[slot], 0)));
done:
    return status;
}

static const lg_field fields[] = {
    { "eps", LG_FIELD_DOUBLE, offsetof(lg_attrs, batch_norm.eps), 1, NULL },
    { "momentum", LG_FIELD_DOUBLE, offsetof(lg_attrs, batch_norm.momentum), 1, NULL },
    LG_FIELDS_END,
};

const lg_op lg_op_batch_norm = {
    .name = "batch_norm",
    .kind = LG_OP_BATCH_NORM,
    .min_inputs = 1,
    .max_inputs = 1,
    .defaults = { .batch_norm = { 1e-5, 0.1 } },
    .fields = fields,
    .slots = { { "weight", LG_SLOT_OPTIONAL, LG_INIT_ONES },
               { "bias", LG_SLOT_OPTIONAL, LG_INIT_ZEROS },
               { "running_mean", LG_SLOT_BUFFER, LG_INIT_ZEROS },
               { "running_var", LG_SLOT_BUFFER, LG_INIT_ONES } },
    .n_slots = N_SLOTS,
    .validate = validate,
    .infer_shape = lg_op_unary_infer,
    .flops = flops,
    .channels = channels,
};
