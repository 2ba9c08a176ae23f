/* Writers of functions of one value: activations and other scalar functions, softmax. What ONNX lacks is written in parts. */
#include "export/onnx.h"

#include <float.h>
#include <math.h>

#include "graph/ops/common.h"
#include "import/onnx_names.h"

lg_shape lg_export_by_channel(const lg_shape *x, int64_t n)
{
    lg_shape shape = { n == 1 ? 1 : x->n_dims - 1, { n } };

    for (int i = 1; i < shape.n_dims; i++)
        shape.dims[i] = 1;
    return shape;
}

/* Those with a counterpart of their own and numbers as attributes. */
static lego_status write_activation(lg_export *file, const lg_node *node)
{
    const lg_onnx_name *name = lg_onnx_name_of(node->op->kind);
    Onnx__NodeProto *proto;
    const char *x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_input(&x, file, node, 0));
    LG_TRY(lg_export_step(&proto, &x, file, node, NULL, name->type));
    if (node->op->kind == LG_OP_LEAKY_RELU)
        LG_TRY(lg_export_float(proto, "alpha", node->attrs->leaky_relu.slope));
    if (node->op->kind == LG_OP_HARD_SIGMOID) {
        LG_TRY(lg_export_float(proto, "alpha", node->attrs->hard_sigmoid.alpha));
        LG_TRY(lg_export_float(proto, "beta", node->attrs->hard_sigmoid.beta));
    }
    if (node->op->kind == LG_OP_GELU)
        LG_TRY(lg_export_text(proto, "approximate", node->attrs->gelu.tanh ? "tanh" : "none"));
    if (node->op->kind == LG_OP_SHRINK) {
        LG_TRY(lg_export_float(proto, "lambd", node->attrs->shrink.lambda));
        LG_TRY(lg_export_float(proto, "bias", node->attrs->shrink.bias));
    }
    if (node->op->kind == LG_OP_THRESHOLDED_RELU)
        LG_TRY(lg_export_float(proto, "alpha", node->attrs->thresholded_relu.alpha));
    if (node->op->kind == LG_OP_SOFTMAX || node->op->kind == LG_OP_LOG_SOFTMAX)
        LG_TRY(lg_export_int(proto, "axis", node->attrs->axis.axis));
done:
    return status;
}

/* A bound of +-FLT_MAX is none. */
static lego_status write_clip(lg_export *file, const lg_node *node)
{
    const int has_min = node->attrs->clip.min > -(double)FLT_MAX, has_max = node->attrs->clip.max < (double)FLT_MAX;
    const char *inputs[3] = { NULL, "", "" };
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_input(&inputs[0], file, node, 0));
    if (has_min)
        LG_TRY(lg_export_number(&inputs[1], file, node, "min", node->attrs->clip.min));
    if (has_max)
        LG_TRY(lg_export_number(&inputs[2], file, node, "max", node->attrs->clip.max));
    LG_TRY(lg_export_node(NULL, NULL, file, node, NULL, "Clip", has_max ? 3 : has_min ? 2 : 1, inputs));
done:
    return status;
}

lego_status lg_export_with_number(const char **value, lg_export *file, const lg_node *node, const char *what,
                               const char *type, double number)
{
    const char *inputs[2] = { *value };
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_number(&inputs[1], file, node, "number", number));
    LG_TRY(lg_export_node(NULL, value, file, node, what, type, 2, inputs));
done:
    return status;
}

lego_status lg_export_with_value(const char **value, lg_export *file, const lg_node *node, const char *what,
                              const char *type, const char *other)
{
    const char *inputs[2] = { *value, other };

    return lg_export_node(NULL, value, file, node, what, type, 2, inputs);
}

static lego_status write_silu(lg_export *file, const lg_node *node)
{
    const char *x, *y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_input(&x, file, node, 0));
    y = x;
    LG_TRY(lg_export_step(NULL, &y, file, node, "sigmoid", "Sigmoid"));
    LG_TRY(lg_export_with_value(&x, file, node, NULL, "Mul", y));
done:
    return status;
}

/* x Phi(x) = x (1 + erf(x / sqrt 2)) / 2, as PyTorch writes it, or with tanh(sqrt(2/pi) (x + 0.044715 x^3)) for the
 * erf. */
static lego_status write_gelu(lg_export *file, const lg_node *node)
{
    const char *x, *y;
    lego_status status = LEGO_OK;

    if (file->opset >= lg_onnx_name_of(LG_OP_GELU)->since)
        return write_activation(file, node);
    LG_TRY(lg_export_input(&x, file, node, 0));
    y = x;
    if (node->attrs->gelu.tanh) {
        LG_TRY(lg_export_with_value(&y, file, node, "square", "Mul", x));
        LG_TRY(lg_export_with_number(&y, file, node, "scaled", "Mul", 0.044715));
        LG_TRY(lg_export_with_number(&y, file, node, "plus", "Add", 1.0));
        LG_TRY(lg_export_with_value(&y, file, node, "cubic", "Mul", x));
        LG_TRY(lg_export_with_number(&y, file, node, "inner", "Mul", 0.7978845608028654)); /* sqrt(2/pi) */
        LG_TRY(lg_export_step(NULL, &y, file, node, "tanh", "Tanh"));
    } else {
        LG_TRY(lg_export_with_number(&y, file, node, "inner", "Div", 1.4142135623730951)); /* sqrt(2) */
        LG_TRY(lg_export_step(NULL, &y, file, node, "erf", "Erf"));
    }
    LG_TRY(lg_export_with_number(&y, file, node, "one_plus", "Add", 1.0));
    LG_TRY(lg_export_with_value(&y, file, node, "twice", "Mul", x));
    LG_TRY(lg_export_with_number(&y, file, node, NULL, "Mul", 0.5));
done:
    return status;
}

static lego_status write_pow(lg_export *file, const lg_node *node)
{
    const char *x;
    lego_status status = lg_export_input(&x, file, node, 0);

    return status == LEGO_OK ? lg_export_with_number(&x, file, node, NULL, "Pow", node->attrs->pow.exponent) : status;
}

/* x tanh(softplus x): ONNX's own op came with opset 18 */
static lego_status write_mish(lg_export *file, const lg_node *node)
{
    const char *x, *y;
    lego_status status = LEGO_OK;

    if (file->opset >= lg_onnx_name_of(LG_OP_MISH)->since)
        return write_activation(file, node);
    LG_TRY(lg_export_input(&x, file, node, 0));
    y = x;
    LG_TRY(lg_export_step(NULL, &y, file, node, "softplus", "Softplus"));
    LG_TRY(lg_export_step(NULL, &y, file, node, "tanh", "Tanh"));
    LG_TRY(lg_export_with_value(&x, file, node, NULL, "Mul", y));
done:
    return status;
}

/* -softplus(-x) */
static lego_status write_log_sigmoid(lg_export *file, const lg_node *node)
{
    const char *x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_input(&x, file, node, 0));
    LG_TRY(lg_export_step(NULL, &x, file, node, "negated", "Neg"));
    LG_TRY(lg_export_step(NULL, &x, file, node, "softplus", "Softplus"));
    LG_TRY(lg_export_step(NULL, &x, file, node, NULL, "Neg"));
done:
    return status;
}

/* softplus(beta x) / beta */
static lego_status write_softplus(lg_export *file, const lg_node *node)
{
    const double beta = node->attrs->softplus.beta;
    const char *x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_input(&x, file, node, 0));
    if (beta == 1.0)
        return lg_export_step(NULL, &x, file, node, NULL, "Softplus");
    LG_TRY(lg_export_with_number(&x, file, node, "scaled", "Mul", beta));
    LG_TRY(lg_export_step(NULL, &x, file, node, "softplus", "Softplus"));
    LG_TRY(lg_export_with_number(&x, file, node, NULL, "Div", beta));
done:
    return status;
}

/* Elu, Celu or Selu, whichever has these numbers. Any other input scale s: (scale / s) elu(s x, alpha s). */
static lego_status write_elu(lg_export *file, const lg_node *node)
{
    const double alpha = node->attrs->elu.alpha, scale = node->attrs->elu.scale, s = node->attrs->elu.input_scale;
    const int is_celu = s != 1.0 && scale == 1.0 && fabs(alpha * s - 1.0) < 1e-7;
    const int is_elu = s == 1.0 && scale == 1.0;
    Onnx__NodeProto *proto;
    const char *x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_input(&x, file, node, 0));
    if (s != 1.0 && !is_celu)
        LG_TRY(lg_export_with_number(&x, file, node, "scaled", "Mul", s));
    LG_TRY(lg_export_step(&proto, &x, file, node, NULL, is_celu ? "Celu" : is_elu ? "Elu" : "Selu"));
    LG_TRY(lg_export_float(proto, "alpha", is_celu ? alpha : alpha * s));
    if (!is_celu && !is_elu)
        LG_TRY(lg_export_float(proto, "gamma", scale / s));
done:
    return status;
}

static lego_status write_prelu(lg_export *file, const lg_node *node)
{
    const lg_shape shape = lg_export_by_channel(&lg_op_input(file->graph, node, 0)->shape,
                                      lg_node_weight(file->graph, node, 0)->shape.dims[0]);
    const char *inputs[2];
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_input(&inputs[0], file, node, 0));
    LG_TRY(lg_export_weight_as(&inputs[1], file, node->weights[0], &shape, 0));
    LG_TRY(lg_export_node(NULL, NULL, file, node, NULL, "PRelu", 2, inputs));
done:
    return status;
}

const lg_export_writer lg_export_function_ops[LG_OP_N_KINDS] = {
    [LG_OP_ABS] = write_activation,
    [LG_OP_ACOS] = write_activation,
    [LG_OP_ACOSH] = write_activation,
    [LG_OP_ASIN] = write_activation,
    [LG_OP_ASINH] = write_activation,
    [LG_OP_ATAN] = write_activation,
    [LG_OP_ATANH] = write_activation,
    [LG_OP_CEIL] = write_activation,
    [LG_OP_CLIP] = write_clip,
    [LG_OP_COS] = write_activation,
    [LG_OP_COSH] = write_activation,
    [LG_OP_ELU] = write_elu,
    [LG_OP_ERF] = write_activation,
    [LG_OP_EXP] = write_activation,
    [LG_OP_FLOOR] = write_activation,
    [LG_OP_GELU] = write_gelu,
    [LG_OP_HARD_SIGMOID] = write_activation,
    [LG_OP_HARD_SWISH] = write_activation,
    [LG_OP_LEAKY_RELU] = write_activation,
    [LG_OP_LOG] = write_activation,
    [LG_OP_LOG_SIGMOID] = write_log_sigmoid,
    [LG_OP_LOG_SOFTMAX] = write_activation,
    [LG_OP_MISH] = write_mish,
    [LG_OP_POW] = write_pow,
    [LG_OP_PRELU] = write_prelu,
    [LG_OP_RECIPROCAL] = write_activation,
    [LG_OP_RELU] = write_activation,
    [LG_OP_ROUND] = write_activation,
    [LG_OP_SHRINK] = write_activation,
    [LG_OP_SIGMOID] = write_activation,
    [LG_OP_SIGN] = write_activation,
    [LG_OP_SILU] = write_silu,
    [LG_OP_SIN] = write_activation,
    [LG_OP_SINH] = write_activation,
    [LG_OP_SOFTMAX] = write_activation,
    [LG_OP_SOFTPLUS] = write_softplus,
    [LG_OP_SOFTSIGN] = write_activation,
    [LG_OP_SQRT] = write_activation,
    [LG_OP_TAN] = write_activation,
    [LG_OP_TANH] = write_activation,
    [LG_OP_THRESHOLDED_RELU] = write_activation,
};
