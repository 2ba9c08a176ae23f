/* Derivatives of the activations and scalar functions: the tape's and nobody else's. */
#include <math.h>

#include "graph/functions.h"
#include "prune/tape_rules.h"

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static double gelu_slope(double x, int is_tanh)
{
    const double c = sqrt(2.0 / M_PI), t = tanh(c * (x + 0.044715 * x * x * x));

    if (!is_tanh)
        return 0.5 * (1.0 + erf(x * M_SQRT1_2)) + x * exp(-0.5 * x * x) / sqrt(2.0 * M_PI);
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * c * (1.0 + 3.0 * 0.044715 * x * x);
}

/* x tanh(s(x)), s = log(1 + e^x) */
static double mish_slope(double x)
{
    const double t = tanh(x > 30.0 ? x : log1p(exp(x)));

    return t + x * (1.0 - t * t) * sigmoid(x);
}

static double activation_slope(const lg_node *node, double x)
{
    const lg_attrs *a = node->attrs;
    double t;

    switch (node->op->kind) {
    case LG_OP_SIGMOID:
        t = sigmoid(x);
        return t * (1.0 - t);
    case LG_OP_TANH:
        t = tanh(x);
        return 1.0 - t * t;
    case LG_OP_HARD_SIGMOID:
        t = a->hard_sigmoid.alpha * x + a->hard_sigmoid.beta;
        return t > 0.0 && t < 1.0 ? a->hard_sigmoid.alpha : 0.0;
    case LG_OP_HARD_SWISH:
        return x <= -3.0 ? 0.0 : x >= 3.0 ? 1.0 : (2.0 * x + 3.0) / 6.0;
    case LG_OP_SILU:
        t = sigmoid(x);
        return t + x * t * (1.0 - t);
    case LG_OP_GELU:
        return gelu_slope(x, a->gelu.tanh);
    case LG_OP_LEAKY_RELU:
        return x > 0.0 ? 1.0 : a->leaky_relu.slope;
    case LG_OP_ELU:
        return a->elu.scale * (x > 0.0 ? 1.0 : a->elu.alpha * a->elu.input_scale * exp(a->elu.input_scale * x));
    case LG_OP_SOFTPLUS:
        return sigmoid(a->softplus.beta * x);
    case LG_OP_POW:
        return a->pow.exponent * pow(x, a->pow.exponent - 1.0);
    case LG_OP_SHRINK:
        return x < -a->shrink.lambda || x > a->shrink.lambda ? 1.0 : 0.0;
    case LG_OP_THRESHOLDED_RELU:
        return x > a->thresholded_relu.alpha ? 1.0 : 0.0;
    default:
        return 1.0;
    }
}

double lg_tape_slope(const lg_node *node, double x)
{
    switch (node->op->kind) {
    case LG_OP_ABS:
        return (double)(x > 0.0) - (double)(x < 0.0);
    case LG_OP_ACOS:
        return -1.0 / sqrt(1.0 - x * x);
    case LG_OP_ACOSH:
        return 1.0 / sqrt(x * x - 1.0);
    case LG_OP_ASIN:
        return 1.0 / sqrt(1.0 - x * x);
    case LG_OP_ASINH:
        return 1.0 / sqrt(x * x + 1.0);
    case LG_OP_ATAN:
        return 1.0 / (1.0 + x * x);
    case LG_OP_ATANH:
        return 1.0 / (1.0 - x * x);
    case LG_OP_CEIL:
    case LG_OP_FLOOR:
    case LG_OP_ROUND:
    case LG_OP_SIGN:
        return 0.0;
    case LG_OP_COS:
        return -sin(x);
    case LG_OP_COSH:
        return sinh(x);
    case LG_OP_ERF:
        return M_2_SQRTPI * exp(-x * x);
    case LG_OP_EXP:
        return exp(x);
    case LG_OP_LOG:
        return 1.0 / x;
    case LG_OP_LOG_SIGMOID:
        return sigmoid(-x);
    case LG_OP_MISH:
        return mish_slope(x);
    case LG_OP_RECIPROCAL:
        return -1.0 / (x * x);
    case LG_OP_SIN:
        return cos(x);
    case LG_OP_SINH:
        return cosh(x);
    case LG_OP_SOFTSIGN:
        return 1.0 / ((1.0 + fabs(x)) * (1.0 + fabs(x)));
    case LG_OP_SQRT:
        return 0.5 / sqrt(x);
    case LG_OP_TAN:
        return 1.0 / (cos(x) * cos(x));
    default:
        return activation_slope(node, x);
    }
}
