/* Scalar functions beyond the activations of activation.c: element by element, any shape, channel c stays channel c. Those
 * without numbers are listed in graph/functions.h; with numbers:
 *
 *   elu               scale (x > 0 ? x : alpha (e^(input_scale x) - 1)); selu and celu are elus, too
 *   softplus          log(1 + e^(beta x)) / beta
 *   pow               x^exponent
 *   shrink            x < -lambda ? x + bias : x > lambda ? x - bias : 0
 *   thresholded_relu  x > alpha ? x : 0
 *
 * What newcomers get wrong: many make something else of zero. A channel whose weights are zero then still reaches its
 * readers, which lose the columns that read it: pruning it changes nothing only if those were zero as well. */
#include <float.h>
#include <string.h>

#include "graph/functions.h"
#include "graph/ops/common.h"

/* Every number of the op, all of which are doubles, is a float. */
static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    for (const lg_field *field = node->op->fields; field->name; field++) {
        double number;

        memcpy(&number, (const char *)node->attrs + field->offset, sizeof(number));
        if (!(number >= -FLT_MAX && number <= FLT_MAX)) /* also NaN */
            return lg_error(LEGO_EINVAL, "node '%s': %s %g is no float", node->name, field->name, number);
    }
    return lg_op_unary_validate(graph, node);
}

static lego_status validate_elu(const lg_graph *graph, const lg_node *node)
{
    if (!(node->attrs->elu.input_scale > 0.0))
        return lg_error(LEGO_EINVAL, "node '%s': input_scale %g is not positive", node->name,
                        node->attrs->elu.input_scale);
    return validate(graph, node);
}

static lego_status validate_softplus(const lg_graph *graph, const lg_node *node)
{
    if (!(node->attrs->softplus.beta > 0.0))
        return lg_error(LEGO_EINVAL, "node '%s': beta %g is not positive", node->name, node->attrs->softplus.beta);
    return validate(graph, node);
}

static const lg_field no_fields[] = { LG_FIELDS_END };

static const lg_field elu_fields[] = {
    { "alpha", LG_FIELD_DOUBLE, offsetof(lg_attrs, elu.alpha), 1, NULL },
    { "scale", LG_FIELD_DOUBLE, offsetof(lg_attrs, elu.scale), 1, NULL },
    { "input_scale", LG_FIELD_DOUBLE, offsetof(lg_attrs, elu.input_scale), 1, NULL },
    LG_FIELDS_END,
};

static const lg_field softplus_fields[] = {
    { "beta", LG_FIELD_DOUBLE, offsetof(lg_attrs, softplus.beta), 1, NULL },
    LG_FIELDS_END,
};

static const lg_field pow_fields[] = {
    { "exponent", LG_FIELD_DOUBLE, offsetof(lg_attrs, pow.exponent), 1, NULL },
    LG_FIELDS_END,
};

static const lg_field shrink_fields[] = {
    { "lambda", LG_FIELD_DOUBLE, offsetof(lg_attrs, shrink.lambda), 1, NULL },
    { "bias", LG_FIELD_DOUBLE, offsetof(lg_attrs, shrink.bias), 1, NULL },
    LG_FIELDS_END,
};

static const lg_field thresholded_relu_fields[] = {
    { "alpha", LG_FIELD_DOUBLE, offsetof(lg_attrs, thresholded_relu.alpha), 1, NULL },
    LG_FIELDS_END,
};

#define WITHOUT_NUMBERS(KIND, op_name) LG_UNARY_OP(KIND, op_name, no_fields, validate, { .gelu = { 0 } })

LG_FUNCTIONS(WITHOUT_NUMBERS)
LG_UNARY_OP(ELU, elu, elu_fields, validate_elu, { .elu = { 1.0, 1.0, 1.0 } })
LG_UNARY_OP(SOFTPLUS, softplus, softplus_fields, validate_softplus, { .softplus = { 1.0 } })
LG_UNARY_OP(POW, pow, pow_fields, validate, { .pow = { 2.0 } })
LG_UNARY_OP(SHRINK, shrink, shrink_fields, validate, { .shrink = { 0.5, 0.0 } })
LG_UNARY_OP(THRESHOLDED_RELU, thresholded_relu, thresholded_relu_fields, validate, { .thresholded_relu = { 1.0 } })
