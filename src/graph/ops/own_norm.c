/* Normalisation by statistics of the input itself, then scaled and shifted; weight and bias may be absent.
 *
 *   layer_norm   over all axes from `axis` on, y = (x - mean) / sqrt(var + eps) * weight + bias; weight and bias have the
 *                shape of those axes. Channel rule: every element of them changes every other, so none of them can go.
 *   group_norm   x (N,C,...), each run of C/groups channels over itself and its positions; weight and bias by channel. As
 *                many groups as channels is instance norm. Channel rule: the channels of a run share their statistics, so a
 *                run is one unit: all of it stays or goes.
 */
#include "graph/ops/common.h"

enum { SLOT_WEIGHT, SLOT_BIAS, N_SLOTS };

static int64_t flops(const lg_graph *graph, const lg_node *node)
{
    return lg_mul_sat(7, lg_value_elements(lg_op_input(graph, node, 0))); /* mean, variance (3), centre, scale, shift */
}

/* --- layer_norm --- */

static lego_status layer_validate(const lg_graph *graph, const lg_node *node)
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

static lego_status layer_channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
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

/* --- group_norm --- */

static lego_status group_validate(const lg_graph *graph, const lg_node *node)
{
    const lg_shape *in = &lg_op_input(graph, node, 0)->shape;
    const int64_t groups = node->attrs->group_norm.groups;
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_input(graph, node, 0, 3, 0));
    LG_TRY(lg_op_check_ints(node, "groups", 1, &groups, 1, LG_MAX_EXTENT));
    if (in->dims[1] % groups != 0)
        return lg_error(LEGO_EINVAL, "node '%s': groups=%lld does not divide %lld channels", node->name,
                        (long long)groups, (long long)in->dims[1]);
    LG_TRY(lg_op_check_eps(node, node->attrs->group_norm.eps));
    for (int slot = 0; slot < N_SLOTS; slot++)
        LG_TRY(lg_op_check_weight(graph, node, slot, 1, &in->dims[1]));
done:
    return status;
}

static lego_status group_channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    const lg_axis out = LG_VALUE_AXIS(node->outputs[0], 1);
    const int64_t n = lg_op_input(graph, node, 0)->shape.dims[1], run = n / node->attrs->group_norm.groups;
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_unary_channels(channels, graph, node));
    for (int64_t c = 0; c < n; c++)
        LG_TRY(lg_channels_tie(channels, out, c, out, c / run * run, 1));
    for (int slot = 0; slot < N_SLOTS; slot++)
        if (node->weights[slot] != LG_NONE)
            LG_TRY(lg_channels_tie_axes(channels, out, LG_WEIGHT_AXIS(node->weights[slot], 0)));
    LG_TRY(lg_op_freeze_axes(channels, graph, node->outputs[0], 2, "spatial axis"));
done:
    return status;
}

static lego_status group_prune(const lg_channels_keep *keep, const lg_graph *before, const lg_node *node, lg_graph *after,
                         lg_node *pruned)
{
    const int64_t n = lg_op_input(before, node, 0)->shape.dims[1], run = n / node->attrs->group_norm.groups;

    pruned->attrs->group_norm.groups = lg_channels_kept(keep, LG_VALUE_AXIS(node->outputs[0], 1), NULL) / run;
    return LEGO_OK;
}

/* --- the tables --- */

static const lg_field layer_fields[] = {
    { "axis", LG_FIELD_INT, offsetof(lg_attrs, layer_norm.axis), 1, NULL },
    { "eps", LG_FIELD_DOUBLE, offsetof(lg_attrs, layer_norm.eps), 1, NULL },
    LG_FIELDS_END,
};

static const lg_field group_fields[] = {
    { "groups", LG_FIELD_INT, offsetof(lg_attrs, group_norm.groups), 1, NULL },
    { "eps", LG_FIELD_DOUBLE, offsetof(lg_attrs, group_norm.eps), 1, NULL },
    LG_FIELDS_END,
};

#define NORM(KIND, which, prune_rule)                                         \
    const lg_op lg_op_##which##_norm = {                                      \
        .name = #which "_norm",                                               \
        .kind = LG_OP_##KIND,                                                 \
        .min_inputs = 1,                                                      \
        .max_inputs = 1,                                                      \
        .defaults = { .which##_norm = { 1, 1e-5 } },                          \
        .fields = which##_fields,                                             \
        .slots = { { "weight", LG_SLOT_OPTIONAL, LG_INIT_ONES },              \
                   { "bias", LG_SLOT_OPTIONAL, LG_INIT_ZEROS } },             \
        .n_slots = N_SLOTS,                                                   \
        .validate = which##_validate,                                         \
        .infer_shape = lg_op_unary_infer,                                     \
        .flops = flops,                                                       \
        .channels = which##_channels,                                         \
        .prune = prune_rule,                                                  \
    }

NORM(LAYER_NORM, layer, NULL);
NORM(GROUP_NORM, group, group_prune);
