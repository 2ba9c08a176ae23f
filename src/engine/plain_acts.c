/* plain_acts.c: activations, many elements at a time.
 *
 * A fast engine computes them in floats, exponentials by vector_math.h, within 8 units of the last place; the reference
 * engine in double, rounded once (`precise`).
 *
 * What newcomers get wrong: loops are written out one a kind. A switch inside the loop would keep compilers from making
 * vectors of it. */
#include "engine/plain_kernels.h"
#include "engine/vector_math.h"

#define EACH(value)                                                           \
    for (int64_t i = 0; i < n; i++) {                                         \
        const float v = x[i];                                                 \
        y[i] = (value);                                                       \
    }                                                                         \
    break

static inline float clip(float v, float low, float high)
{
    const float raised = v < low ? low : v; /* a NaN passes */

    return raised > high ? high : raised;
}

static inline float gelu_tanh(float v)
{
    return v * lg_logisticf(1.59576912f * (v + 0.044715f * v * v * v)); /* 0.5 (1 + tanh(u)) = logistic(2 u) */
}

/* y may be x. */
void LG_PLAIN(activate)(float *y, const float *x, int64_t n, const lg_act *act, int precise)
{
    const float a = act->a, b = act->b;

    switch (precise ? LG_ACT_NONE : act->kind) {
    case LG_ACT_RELU:
        EACH(v < 0.0f ? 0.0f : v);
    case LG_ACT_CLIP:
        EACH(clip(v, a, b));
    case LG_ACT_LEAKY_RELU:
        EACH(v < 0.0f ? a * v : v);
    case LG_ACT_SIGMOID:
        EACH(lg_logisticf(v));
    case LG_ACT_TANH:
        EACH(lg_tanhf(v));
    case LG_ACT_HARD_SIGMOID:
        EACH(clip(a * v + b, 0.0f, 1.0f));
    case LG_ACT_HARD_SWISH:
        EACH(v * clip(v * (1.0f / 6.0f) + 0.5f, 0.0f, 1.0f));
    case LG_ACT_SILU:
        EACH(v * lg_logisticf(v));
    case LG_ACT_ABS:
        EACH(fabsf(v));
    case LG_ACT_GELU:
        EACH(v * lg_normal_share(v));
    case LG_ACT_GELU_TANH:
        EACH(gelu_tanh(v));
    default:
        EACH(lg_act_apply(act, v));
    }
}
