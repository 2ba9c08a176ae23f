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
        *act = (lg_act){ LG_ACT_RELU, 0.0f, 0.0f };
        return 1;
    case LG_OP_CLIP:
        *act = (lg_act){ LG_ACT_CLIP, (float)attrs->clip.min, (float)attrs->clip.max };
        return 1;
    case LG_OP_LEAKY_RELU:
        *act = (lg_act){ LG_ACT_LEAKY_RELU, (float)attrs->leaky_relu.slope, 0.0f };
        return 1;
    case LG_OP_SIGMOID:
        *act = (lg_act){ LG_ACT_SIGMOID, 0.0f, 0.0f };
        return 1;
    case LG_OP_TANH:
        *act = (lg_act){ LG_ACT_TANH, 0.0f, 0.0f };
        return 1;
    case LG_OP_HARD_SIGMOID:
        *act = (lg_act){ LG_ACT_HARD_SIGMOID, (float)attrs->hard_sigmoid.alpha, (float)attrs->hard_sigmoid.beta };
        return 1;
    case LG_OP_HARD_SWISH:
        *act = (lg_act){ LG_ACT_HARD_SWISH, 0.0f, 0.0f };
        return 1;
    case LG_OP_SILU:
        *act = (lg_act){ LG_ACT_SILU, 0.0f, 0.0f };
        return 1;
    case LG_OP_GELU:
        *act = (lg_act){ attrs->gelu.tanh ? LG_ACT_GELU_TANH : LG_ACT_GELU, 0.0f, 0.0f };
        return 1;
    default:
        return 0;
    }
}

int lg_act_is_cheap(lg_act_kind kind)
{
    return kind == LG_ACT_NONE || kind == LG_ACT_RELU || kind == LG_ACT_CLIP || kind == LG_ACT_LEAKY_RELU ||
           kind == LG_ACT_HARD_SIGMOID || kind == LG_ACT_HARD_SWISH;
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
    default:
        return (float)x;
    }
}
