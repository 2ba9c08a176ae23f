/* softmax: y = e^x / sum of e^x along an axis; log_softmax: its logarithm. Channel rule: every element of that axis changes every other, so none of
 * them can go. */
#include "graph/ops/common.h"

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_input(graph, node, 0, 2, 0));
    LG_TRY(lg_op_check_axis(graph, node, 0, node->attrs->axis.axis));
done:
    return status;
}

static int64_t flops(const lg_graph *graph, const lg_node *node)
{
    return lg_mul_sat(3, lg_value_elements(lg_op_input(graph, node, 0))); /* exponential, sum, division */
}

static lego_status channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_unary_channels(channels, graph, node));
    LG_TRY(lg_channels_freeze(channels, LG_VALUE_AXIS(node->outputs[0], (int32_t)node->attrs->axis.axis),
                              "axis of a softmax"));
done:
    return status;
}

static const lg_field fields[] = {
    { "axis", LG_FIELD_INT, offsetof(lg_attrs, axis.axis), 1, NULL },
    LG_FIELDS_END,
};

#define SOFTMAX(KIND, op_name)                                                \
    const lg_op lg_op_##op_name = {                                           \
        .name = #op_name,                                                     \
        .kind = LG_OP_##KIND,                                                 \
        .min_inputs = 1,                                                      \
        .max_inputs = 1,                                                      \
        .defaults = { .axis = { 1 } },                                        \
        .fields = fields,                                                     \
        .validate = validate,                                                 \
        .infer_shape = lg_op_unary_infer,                                     \
        .flops = flops,                                                       \
        .channels = channels,                                                 \
    }

SOFTMAX(SOFTMAX, softmax);
SOFTMAX(LOG_SOFTMAX, log_softmax);
