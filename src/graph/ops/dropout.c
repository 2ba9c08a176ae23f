/* dropout: while training, zeroes a share p of the elements and scales the rest; otherwise y = x. */
#include "graph/ops/common.h"

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    const double p = node->attrs->dropout.p;

    if (!(p >= 0.0 && p < 1.0))
        return lg_error(LEGO_EINVAL, "node '%s': p %g is not in [0, 1)", node->name, p);
    return lg_op_unary_validate(graph, node);
}

static const lg_field fields[] = {
    { "p", LG_FIELD_DOUBLE, offsetof(lg_attrs, dropout.p), 1, NULL },
    LG_FIELDS_END,
};

const lg_op lg_op_dropout = {
    .name = "dropout",
    .kind = LG_OP_DROPOUT,
    .min_inputs = 1,
    .max_inputs = 1,
    .defaults = { .dropout = { 0.5 } },
    .fields = fields,
    .validate = validate,
    .infer_shape = lg_op_unary_infer,
    .channels = lg_op_unary_channels,
};
