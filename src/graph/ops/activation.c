/* Activations without weights: element by element, any shape, channel c stays channel c.
 *
 *   relu          max(x, 0)                         sigmoid       1 / (1 + e^-x)
 *   tanh          tanh x                            hard_sigmoid  clip(alpha x + beta, 0, 1)
 *   hard_swish    x clip(x / 6 + 1/2, 0, 1)         silu          x sigmoid(x)
 *   gelu          x Phi(x), or its tanh form        leaky_relu    x > 0 ? x : slope x
 */
#include <float.h>

#include "graph/ops/common.h"

static lego_status validate_hard_sigmoid(const lg_graph *graph, const lg_node *node)
{
    const double alpha = node->attrs->hard_sigmoid.alpha, beta = node->attrs->hard_sigmoid.beta;

    if (!(alpha >= -FLT_MAX && alpha <= FLT_MAX && beta >= -FLT_MAX && beta <= FLT_MAX))
        return lg_error(LEGO_EINVAL, "node '%s': alpha %g or beta %g is no float", node->name, alpha, beta);
    return lg_op_unary_validate(graph, node);
}

static lego_status validate_leaky_relu(const lg_graph *graph, const lg_node *node)
{
    const double slope = node->attrs->leaky_relu.slope;

    if (!(slope >= -FLT_MAX && slope <= FLT_MAX))
        return lg_error(LEGO_EINVAL, "node '%s': slope %g is no float", node->name, slope);
    return lg_op_unary_validate(graph, node);
}

static const lg_field no_fields[] = { LG_FIELDS_END };

static const lg_field hard_sigmoid_fields[] = {
    { "alpha", LG_FIELD_DOUBLE, offsetof(lg_attrs, hard_sigmoid.alpha), 1, NULL },
    { "beta", LG_FIELD_DOUBLE, offsetof(lg_attrs, hard_sigmoid.beta), 1, NULL },
    LG_FIELDS_END,
};

static const lg_field gelu_fields[] = {
    { "tanh", LG_FIELD_BOOL, offsetof(lg_attrs, gelu.tanh), 1, NULL },
    LG_FIELDS_END,
};

static const lg_field leaky_relu_fields[] = {
    { "slope", LG_FIELD_DOUBLE, offsetof(lg_attrs, leaky_relu.slope), 1, NULL },
    LG_FIELDS_END,
};

#define NO_ATTRIBUTES { .gelu = { 0 } }

LG_UNARY_OP(RELU, relu, no_fields, lg_op_unary_validate, NO_ATTRIBUTES)
LG_UNARY_OP(SIGMOID, sigmoid, no_fields, lg_op_unary_validate, NO_ATTRIBUTES)
LG_UNARY_OP(TANH, tanh, no_fields, lg_op_unary_validate, NO_ATTRIBUTES)
LG_UNARY_OP(HARD_SIGMOID, hard_sigmoid, hard_sigmoid_fields, validate_hard_sigmoid,
           { .hard_sigmoid = { 1.0 / 6.0, 0.5 } })
LG_UNARY_OP(HARD_SWISH, hard_swish, no_fields, lg_op_unary_validate, NO_ATTRIBUTES)
LG_UNARY_OP(SILU, silu, no_fields, lg_op_unary_validate, NO_ATTRIBUTES)
LG_UNARY_OP(GELU, gelu, gelu_fields, lg_op_unary_validate, { .gelu = { 0 } })
LG_UNARY_OP(LEAKY_RELU, leaky_relu, leaky_relu_fields, validate_leaky_relu, { .leaky_relu = { 0.01 } })
