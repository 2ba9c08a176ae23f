/* clip: y = min(max(x, min), max), any shape. The defaults, 0 and 6, are ReLU6. A bound of +-FLT_MAX is none. */
#include <float.h>

#include "graph/ops/common.h"

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    const double min = node->attrs->clip.min, max = node->attrs->clip.max;

    if (!(min >= -FLT_MAX && max <= FLT_MAX && min <= max)) /* also NaN */
        return lg_error(LEGO_EINVAL, "node '%s': min %g and max %g are no range of floats", node->name, min, max);
    return lg_op_unary_validate(graph, node);
}

static int64_t flops(const lg_graph *graph, const lg_node *node)
{
    return lg_mul_sat(2, lg_value_elements(lg_op_input(graph, node, 0)));
}

static const lg_field fields[] = {
    { "min", LG_FIELD_DOUBLE, offsetof(lg_attrs, clip.min), 1, NULL },
    { "max", LG_FIELD_DOUBLE, offsetof(lg_attrs, clip.max), 1, NULL },
    LG_FIELDS_END,
};

const lg_op lg_op_clip = {
    .name = "clip",
    .kind = LG_OP_CLIP,
    .min_inputs = 1,
    .max_inputs = 1,
    .defaults = { .clip = { 0.0, 6.0 } },
    .fields = fields,
    .validate = validate,
    .infer_shape = lg_op_unary_infer,
    .flops = flops,
    .channels = lg_op_unary_channels,
};
