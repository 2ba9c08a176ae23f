/* Activations: what a step does to each of its results. */
#ifndef LG_ENGINE_ACTIVATION_H
#define LG_ENGINE_ACTIVATION_H

#include <stdint.h>

#include "graph/ops.h"

typedef enum lg_act_kind {
    LG_ACT_NONE,
    LG_ACT_RELU,
    LG_ACT_CLIP,         /* to [a, b] */
    LG_ACT_LEAKY_RELU,   /* x > 0 ? x : a x */
    LG_ACT_SIGMOID,
    LG_ACT_TANH,
    LG_ACT_HARD_SIGMOID, /* clip(a x + b, 0, 1) */
    LG_ACT_HARD_SWISH,
    LG_ACT_SILU,
    LG_ACT_GELU,
    LG_ACT_GELU_TANH,
#define LG_FUNCTION_ACT(KIND, name) LG_ACT_##KIND,
    LG_FUNCTIONS(LG_FUNCTION_ACT)
#undef LG_FUNCTION_ACT
    LG_ACT_ELU,          /* b (x > 0 ? x : a (e^(c x) - 1)) */
    LG_ACT_SOFTPLUS,     /* log(1 + e^(a x)) / a */
    LG_ACT_POW,          /* x^a */
    LG_ACT_SHRINK,       /* x < -a ? x + b : x > a ? x - b : 0 */
    LG_ACT_THRESHOLDED_RELU /* x > a ? x : 0 */
} lg_act_kind;

typedef struct lg_act {
    lg_act_kind kind;
    float a, b, c;
} lg_act;

/* Whether the node is one; then *act is it. */
int lg_act_of_node(lg_act *act, const lg_node *node);
/* "hard_swish"; NONE: "none". */
const char *lg_act_name(lg_act_kind kind);
/* Whether plain C computes it about as fast as it reads memory. */
int lg_act_is_cheap(lg_act_kind kind);
/* Whether every kernel can compute it on its results; the others are steps of their own. */
int lg_act_is_fusible(const lg_act *act);
/* Whether zero stays zero: only then may lanes that hold no channel be treated as the others. */
int lg_act_keeps_zero(const lg_act *act);

/* Computed in double, rounded once. A NaN passes. */
float lg_act_apply(const lg_act *act, double x);

#endif
