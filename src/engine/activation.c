/* activation.c: the activations, as lower_nodes.c fuses them and as plain C computes them.
 *
 * What newcomers get wrong: a channel-blocked layout has lanes that belong to no channel and must stay zero. An
 * activation that turns zero into something else must not touch them. */
#include "engine/activation.h"

#include <math.h>

#define SQRT_2_OVER_PI 0.79788456080286535588
#define SQRT_1_2 0.70710678118654752440

static const char *const names[] = {
    [LG_ACT_NONE] = "none",
    [LG_ACT_RELU] = "relu",
    [LG_ACT_CLIP] = "clip",
    [LG_ACT_LEAKY_RELU] = "leaky_relu",
    [LG_ACT_SIGMOID] = "sigmoid",
    [LG_ACT_TANH] = "tanh",
    [LG_ACT_HARD_SIGMOID] = "hard_sigmoid",
    [LG_ACT_HARD_SWISH] = "hard_swish",
    [LG_ACT_SILU] = "silu",
    [LG_ACT_GELU] = "gelu",
    [LG_ACT_GELU_TANH] = "gelu_tanh",
#define NAME(KIND, name) [LG_ACT_##KIND] = #name,
    LG_FUNCTIONS(NAME)
#undef NAME
    [LG_ACT_ELU] = "elu",
    [LG_ACT_SOFTPLUS] = "softplus",
    [LG_ACT_POW] = "pow",
    [LG_ACT_SHRINK] = "shrink",
    [LG_ACT_THRESHOLDED_RELU] = "thresholded_relu",
};

const char *lg_act_name(lg_act_kind kind)
{
    return names[kind];
}

int lg_act_of_node(lg_act *act, const lg_node *node)
{
    const lg_attrs *attrs = node->attrs;

    switch (node->op->kind) {
    case LG_OP_RELU:
        *act = (lg_act){ .kind = LG_ACT_RELU };
        return 1;
    case LG_OP_CLIP:
        *act = (lg_act){ .kind = LG_ACT_CLIP, .a = (float)attrs->clip.min, .b = (float)attrs->clip.max };
        return 1;
    case LG_OP_LEAKY_RELU:
        *act = (lg_act){ .kind = LG_ACT_LEAKY_RELU, .a = (float)attrs->leaky_relu.slope };
        return 1;
    case LG_OP_SIGMOID:
        *act = (lg_act){ .kind = LG_ACT_SIGMOID };
        return 1;
    case LG_OP_TANH:
        *act = (lg_act){ .kind = LG_ACT_TANH };
        return 1;
    case LG_OP_HARD_SIGMOID:
        *act = (lg_act){ .kind = LG_ACT_HARD_SIGMOID,
                         .a = (float)attrs->hard_sigmoid.alpha,
                         .b = (float)attrs->hard_sigmoid.beta };
        return 1;
    case LG_OP_HARD_SWISH:
        *act = (lg_act){ .kind = LG_ACT_HARD_SWISH };
        return 1;
    case LG_OP_SILU:
        *act = (lg_act){ .kind = LG_ACT_SILU };
        return 1;
    case LG_OP_GELU:
        *act = (lg_act){ .kind = attrs->gelu.tanh ? LG_ACT_GELU_TANH : LG_ACT_GELU };
        return 1;
#define FUNCTION(KIND, name)                                                  \
    case LG_OP_##KIND:                                                        \
        *act = (lg_act){ .kind = LG_ACT_##KIND };                                     \
        return 1;
    LG_FUNCTIONS(FUNCTION)
#undef FUNCTION
    case LG_OP_ELU:
        *act = (lg_act){ LG_ACT_ELU, (float)attrs->elu.alpha, (float)attrs->elu.scale, (float)attrs->elu.input_scale };
        return 1;
    case LG_OP_SOFTPLUS:
        *act = (lg_act){ .kind = LG_ACT_SOFTPLUS, .a = (float)attrs->softplus.beta };
        return 1;
    case LG_OP_POW:
        *act = (lg_act){ .kind = LG_ACT_POW, .a = (float)attrs->pow.exponent };
        return 1;
    case LG_OP_SHRINK:
        *act = (lg_act){ .kind = LG_ACT_SHRINK, .a = (float)attrs->shrink.lambda, .b = (float)attrs->shrink.bias };
        return 1;
    case LG_OP_THRESHOLDED_RELU:
        *act = (lg_act){ .kind = LG_ACT_THRESHOLDED_RELU, .a = (float)attrs->thresholded_relu.alpha };
        return 1;
    default:
        return 0;
    }
}

int lg_act_is_cheap(lg_act_kind kind)
{
    return kind == LG_ACT_NONE || kind == LG_ACT_RELU || kind == LG_ACT_CLIP || kind == LG_ACT_LEAKY_RELU ||
           kind == LG_ACT_HARD_SIGMOID || kind == LG_ACT_HARD_SWISH || kind == LG_ACT_ABS;
}

int lg_act_is_fusible(const lg_act *act)
{
    switch (act->kind) {
    case LG_ACT_ABS:
    case LG_ACT_EXP:
    case LG_ACT_MISH:
        return 1;
    case LG_ACT_ELU:
        return act->c == 1.0f;
    case LG_ACT_SOFTPLUS:
        return act->a == 1.0f;
    default:
        return act->kind <= LG_ACT_GELU_TANH;
    }
}

int lg_act_keeps_zero(const lg_act *act)
{
    return lg_act_apply(act, 0.0) == 0.0f;
}

static double clip(double x, double lo, double hi)
{
    if (x < lo) /* a NaN passes */
        return lo;
    return x > hi ? hi : x;
}

/* log(1 + e^x), of which no part overflows */
static double softplus(double x)
{
    return (x > 0.0 ? x : 0.0) + log1p(exp(-fabs(x)));
}

static double shrink(double x, double limit, double bias)
{
    if (x < -limit)
        return x + bias;
    return x > limit ? x - bias : isnan(x) ? x : 0.0;
}

float lg_act_apply(const lg_act *act, double x)
{
    switch (act->kind) {
    case LG_ACT_RELU:
        return x < 0.0 ? 0.0f : (float)x;
    case LG_ACT_CLIP:
        return (float)clip(x, act->a, act->b);
    case LG_ACT_LEAKY_RELU:
        return (float)(x < 0.0 ? act->a * x : x);
    case LG_ACT_SIGMOID:
        return (float)(1.0 / (1.0 + exp(-x)));
    case LG_ACT_TANH:
        return (float)tanh(x);
    case LG_ACT_HARD_SIGMOID:
        return (float)clip(act->a * x + act->b, 0.0, 1.0);
    case LG_ACT_HARD_SWISH:
        return (float)(x * clip(x / 6.0 + 0.5, 0.0, 1.0));
    case LG_ACT_SILU:
        return (float)(x / (1.0 + exp(-x)));
    case LG_ACT_GELU:
        return (float)(0.5 * x * (1.0 + erf(x * SQRT_1_2)));
    case LG_ACT_GELU_TANH:
        return (float)(0.5 * x * (1.0 + tanh(SQRT_2_OVER_PI * (x + 0.044715 * x * x * x))));
    case LG_ACT_ABS:
        return (float)fabs(x);
    case LG_ACT_ACOS:
        return (float)acos(x);
    case LG_ACT_ACOSH:
        return (float)acosh(x);
    case LG_ACT_ASIN:
        return (float)asin(x);
    case LG_ACT_ASINH:
        return (float)asinh(x);
    case LG_ACT_ATAN:
        return (float)atan(x);
    case LG_ACT_ATANH:
        return (float)atanh(x);
    case LG_ACT_CEIL:
        return (float)ceil(x);
    case LG_ACT_COS:
        return (float)cos(x);
    case LG_ACT_COSH:
        return (float)cosh(x);
    case LG_ACT_ERF:
        return (float)erf(x);
    case LG_ACT_EXP:
        return (float)exp(x);
    case LG_ACT_FLOOR:
        return (float)floor(x);
    case LG_ACT_LOG:
        return (float)log(x);
    case LG_ACT_LOG_SIGMOID:
        return (float)-softplus(-x);
    case LG_ACT_MISH:
        return (float)(x * tanh(softplus(x)));
    case LG_ACT_RECIPROCAL:
        return (float)(1.0 / x);
    case LG_ACT_ROUND:
        return (float)nearbyint(x);
    case LG_ACT_SIGN:
        return (float)(x > 0.0 ? 1.0 : x < 0.0 ? -1.0 : x);
    case LG_ACT_SIN:
        return (float)sin(x);
    case LG_ACT_SINH:
        return (float)sinh(x);
    case LG_ACT_SOFTSIGN:
        return (float)(x / (1.0 + fabs(x)));
    case LG_ACT_SQRT:
        return (float)sqrt(x);
    case LG_ACT_TAN:
        return (float)tan(x);
    case LG_ACT_ELU:
        return (float)(act->b * (x > 0.0 ? x : act->a * expm1(act->c * x)));
    case LG_ACT_SOFTPLUS:
        return (float)(softplus(act->a * x) / act->a);
    case LG_ACT_POW:
        return (float)pow(x, act->a);
    case LG_ACT_SHRINK:
        return (float)shrink(x, act->a, act->b);
    case LG_ACT_THRESHOLDED_RELU:
        return x <= act->a ? 0.0f : (float)x;
    default:
        return (float)x;
    }
}
