/* Small graphs that have every op between them, in all their forms: for whoever has a second place that knows the ops. */
#ifndef LG_TESTS_OP_CASES_H
#define LG_TESTS_OP_CASES_H

#include <float.h>

#include "support/graphs.h"

/* x (N,6,7,5) */
typedef int32_t (*op_case_builder)(maker *m, int32_t x);
typedef struct op_case {
    const char *name;
    op_case_builder build;
} op_case;

#define UNARY_CASE(id, op, ...)                                               \
    static inline int32_t case_##id(maker *m, int32_t x)                      \
    {                                                                         \
        return make_unary(m, x, op, &(lg_attrs)__VA_ARGS__);                  \
    }

UNARY_CASE(relu, "relu", { 0 })
UNARY_CASE(sigmoid, "sigmoid", { 0 })
UNARY_CASE(tanh, "tanh", { 0 })
UNARY_CASE(silu, "silu", { 0 })
UNARY_CASE(hard_swish, "hard_swish", { 0 })
UNARY_CASE(hard_sigmoid, "hard_sigmoid", { .hard_sigmoid = { 0.3, 0.4 } })
UNARY_CASE(gelu, "gelu", { .gelu = { 0 } })
UNARY_CASE(gelu_tanh, "gelu", { .gelu = { 1 } })
UNARY_CASE(leaky_relu, "leaky_relu", { .leaky_relu = { 0.2 } })
UNARY_CASE(clip, "clip", { .clip = { -0.5, 0.75 } })
UNARY_CASE(clip_below, "clip", { .clip = { -0.5, (double)FLT_MAX } })
UNARY_CASE(clip_above, "clip", { .clip = { -(double)FLT_MAX, 0.75 } })
UNARY_CASE(clip_nowhere, "clip", { .clip = { -(double)FLT_MAX, (double)FLT_MAX } })
UNARY_CASE(elu, "elu", { .elu = { 0.7, 1.0, 1.0 } })
UNARY_CASE(selu, "elu", { .elu = { 1.6732632, 1.050701, 1.0 } })
UNARY_CASE(celu, "elu", { .elu = { 0.5, 1.0, 2.0 } })
UNARY_CASE(elu_odd, "elu", { .elu = { 0.7, 1.5, 0.25 } })
UNARY_CASE(softplus, "softplus", { .softplus = { 1.0 } })
UNARY_CASE(softplus_sharp, "softplus", { .softplus = { 3.0 } })
UNARY_CASE(mish, "mish", { 0 })
UNARY_CASE(softsign, "softsign", { 0 })
UNARY_CASE(log_sigmoid, "log_sigmoid", { 0 })
UNARY_CASE(hard_shrink, "shrink", { .shrink = { 0.5, 0.0 } })
UNARY_CASE(soft_shrink, "shrink", { .shrink = { 0.5, 0.5 } })
UNARY_CASE(thresholded_relu, "thresholded_relu", { .thresholded_relu = { 0.3 } })
UNARY_CASE(pow, "pow", { .pow = { 3.0 } })
UNARY_CASE(log_softmax, "log_softmax", { .axis = { 1 } })
UNARY_CASE(log_softmax_last, "log_softmax", { .axis = { 3 } })
UNARY_CASE(dropout, "dropout", { .dropout = { 0.3 } })
UNARY_CASE(softmax, "softmax", { .axis = { 1 } })
UNARY_CASE(softmax_last, "softmax", { .axis = { 3 } })
UNARY_CASE(max_pool, "max_pool", { .pool = { { 3, 2 }, { 2, 1 }, { 1, 1 }, { 1, 0, 0, 1 }, 0, 0 } })
UNARY_CASE(max_pool_ceil, "max_pool", { .pool = { { 2, 2 }, { 2, 2 }, { 1, 1 }, { 0, 1, 1, 0 }, 1, 0 } })
UNARY_CASE(max_pool_dilated, "max_pool", { .pool = { { 2, 3 }, { 2, 2 }, { 3, 1 }, { 1, 1, 1, 1 }, 1, 0 } })
UNARY_CASE(avg_pool, "avg_pool", { .pool = { { 3, 2 }, { 2, 1 }, { 1, 1 }, { 1, 0, 0, 1 }, 0, 1 } })
UNARY_CASE(avg_pool_inside, "avg_pool", { .pool = { { 3, 2 }, { 2, 1 }, { 1, 1 }, { 1, 0, 0, 1 }, 0, 0 } })
UNARY_CASE(avg_pool_ceil, "avg_pool", { .pool = { { 3, 2 }, { 3, 2 }, { 1, 1 }, { 1, 1, 0, 0 }, 1, 1 } })
UNARY_CASE(avg_pool_ceil_inside, "avg_pool", { .pool = { { 3, 2 }, { 3, 2 }, { 1, 1 }, { 1, 1, 0, 0 }, 1, 0 } })
UNARY_CASE(global_avg, "adaptive_avg_pool", { .adaptive_pool = { { 1, 1 } } })
UNARY_CASE(global_max, "adaptive_max_pool", { .adaptive_pool = { { 1, 1 } } })
UNARY_CASE(adaptive_even, "adaptive_avg_pool", { .adaptive_pool = { { 7, 1 } } })
UNARY_CASE(adaptive_max_even, "adaptive_max_pool", { .adaptive_pool = { { 1, 5 } } })
UNARY_CASE(adaptive_uneven, "adaptive_avg_pool", { .adaptive_pool = { { 3, 2 } } })
UNARY_CASE(adaptive_one_axis, "adaptive_avg_pool", { .adaptive_pool = { { 7, 2 } } })
UNARY_CASE(adaptive_larger, "adaptive_max_pool", { .adaptive_pool = { { 9, 2 } } })
UNARY_CASE(pad, "pad", { .pad = { { 1, 0, 2, 3 }, -0.5 } })
UNARY_CASE(upsample_twice, "upsample", { .upsample = { { 14, 10 }, LG_UPSAMPLE_NEAREST, 0 } })
UNARY_CASE(upsample_uneven, "upsample", { .upsample = { { 11, 3 }, LG_UPSAMPLE_NEAREST, 0 } })
UNARY_CASE(upsample_bilinear, "upsample", { .upsample = { { 11, 10 }, LG_UPSAMPLE_BILINEAR, 0 } })
UNARY_CASE(upsample_corners, "upsample", { .upsample = { { 11, 3 }, LG_UPSAMPLE_BILINEAR, 1 } })
UNARY_CASE(flatten, "flatten", { .flatten = { 1 } })
UNARY_CASE(flatten_spatial, "flatten", { .flatten = { 2 } })
UNARY_CASE(mean, "mean", { .mean = { { 2, { 2, 3 } }, 0 } })
UNARY_CASE(mean_kept, "mean", { .mean = { { 1, { 1 } }, 1 } })
UNARY_CASE(slice, "slice", { .slice = { 1, 2, 5, 1 } })
UNARY_CASE(slice_steps, "slice", { .slice = { 2, 1, 4, 2 } })
UNARY_CASE(slice_down, "slice", { .slice = { 1, 4, -1, -2 } })

static inline int32_t case_split(maker *m, int32_t x)
{
    const lg_attrs split = { .split = { 2, { 3, { 3, 1, 3 } } } };
    const int32_t first = make_unary(m, x, "split", &split);

    return make_binary(m, "sub", make_binary(m, "mul", first, first + 1), first + 2);
}

static inline int32_t case_reshape(maker *m, int32_t x)
{
    return make_reshape(m, x, 2, (int64_t[]){ 14, -1 });
}

static inline int32_t case_permute(maker *m, int32_t x)
{
    return make_permute(m, x, 3, (int64_t[]){ 3, 1, 2 });
}

static inline int32_t case_concat(maker *m, int32_t x)
{
    return make_concat(m, x, make_unary(m, x, "relu", NULL));
}

static inline int32_t case_concat_constant(maker *m, int32_t x)
{
    return make_concat(m, make_constant(m, 3, (int64_t[]){ 2, 7, 5 }), x);
}

static inline int32_t case_add(maker *m, int32_t x)
{
    return make_binary(m, "add", make_constant(m, 3, (int64_t[]){ 6, 1, 1 }), x);
}

static inline int32_t case_functions(maker *m, int32_t x)
{
    for (size_t i = 0; i < N_SMOOTH_FUNCTIONS; i++)
        x = make_smooth(m, x, i);
    for (size_t i = 0; i < N_JUMPING_FUNCTIONS; i++)
        x = make_jump(m, x, i);
    return x;
}

static inline int32_t case_min_max(maker *m, int32_t x)
{
    x = make_binary(m, "max", x, make_constant(m, 3, (int64_t[]){ 6, 7, 5 }));
    return make_binary(m, "min", make_unary(m, x, "adaptive_avg_pool", NULL), x);
}

static inline int32_t case_div(maker *m, int32_t x)
{
    return make_binary(m, "div", x, make_unary(m, x, "clip", &(lg_attrs){ .clip = { 0.5, 2.0 } }));
}

/* An excitation of each channel over all positions. */
static inline int32_t case_mul_repeated(maker *m, int32_t x)
{
    return make_binary(m, "mul", make_unary(m, x, "adaptive_avg_pool", NULL), x);
}

static inline int32_t case_constants(maker *m, int32_t x)
{
    const int32_t a = make_constant(m, 3, (int64_t[]){ 6, 7, 5 }), b = make_constant(m, 3, (int64_t[]){ 6, 7, 5 });

    return make_binary(m, "add", x, make_binary(m, "mul", make_unary(m, a, "tanh", NULL), b));
}

static inline int32_t case_prelu(maker *m, int32_t x)
{
    return make_prelu(m, make_prelu(m, make_prelu(m, make_prelu(m, x)))); /* one slope and one a channel, by chance */
}

static inline int32_t case_prelu_flat(maker *m, int32_t x)
{
    return make_prelu(m, make_linear(m, make_unary(m, x, "flatten", NULL), 4));
}

static inline int32_t case_conv(maker *m, int32_t x)
{
    const lg_attrs attrs = { .conv = { { 2, 1 }, { 1, 2 }, { 1, 0, 2, 1 }, 2 } };
    const int32_t weights[2] = { make_weight(m, "odd", "weight", 4, (int64_t[]){ 4, 3, 3, 2 }, 0), LG_NONE };
    int32_t y;

    assert_ok(lg_graph_add_node(&y, m->graph, "conv2d", "odd", &attrs, 1, &x, 2, weights));
    return make_bn(m, make_conv(m, y, 8, 3, 1, 1, 1));
}

/* The same weights in two places. */
static inline int32_t case_conv_shared(maker *m, int32_t x)
{
    const lg_attrs attrs = { .conv = { { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 }, 1 } };
    const int32_t weights[2] = { make_weight(m, "tied", "weight", 4, (int64_t[]){ 6, 6, 3, 3 }, 0), LG_NONE };
    int32_t y, z;

    assert_ok(lg_graph_add_node(&y, m->graph, "conv2d", "once", &attrs, 1, &x, 2, weights));
    assert_ok(lg_graph_add_node(&z, m->graph, "conv2d", "again", &attrs, 1, &y, 2, weights));
    return z;
}

static inline int32_t case_conv_transpose(maker *m, int32_t x)
{
    return make_conv_transpose(m, make_conv_transpose(m, x, 2, 1), 1, 2);
}

static inline int32_t case_batch_norm_bare(maker *m, int32_t x)
{
    const int64_t c = 6;
    const int32_t weights[4] = { LG_NONE, LG_NONE, make_weight(m, "bare", "running_mean", 1, &c, 0),
                                 make_weight(m, "bare", "running_var", 1, &c, 1) };
    int32_t y;

    assert_ok(lg_graph_add_node(&y, m->graph, "batch_norm", "bare", NULL, 1, &x, 4, weights));
    return y;
}

static inline int32_t case_linear(maker *m, int32_t x)
{
    return make_linear(m, make_unary(m, make_linear(m, make_unary(m, x, "flatten", NULL), 5), "relu", NULL), 3);
}

/* Over the last of several axes. */
static inline int32_t case_linear_wide(maker *m, int32_t x)
{
    return make_linear(m, x, 4);
}

/* The same weight, in ONNX once as it is and once transposed. */
static inline int32_t case_linear_shared(maker *m, int32_t x)
{
    const int32_t weights[2] = { make_weight(m, "tied", "weight", 2, (int64_t[]){ 5, 5 }, 0), LG_NONE };
    const lg_attrs rows = { .mean = { { 2, { 1, 2 } }, 0 } };
    int32_t y, z;

    assert_ok(lg_graph_add_node(&y, m->graph, "linear", "wide", NULL, 1, &x, 2, weights));
    y = make_unary(m, y, "mean", &rows);
    assert_ok(lg_graph_add_node(&z, m->graph, "linear", "flat", NULL, 1, &y, 2, weights));
    return z;
}

static inline int32_t case_matmul(maker *m, int32_t x)
{
    const int32_t flat = make_reshape(m, x, 2, (int64_t[]){ 6, 35 });

    return make_binary(m, "matmul", flat, make_permute(m, flat, 2, (int64_t[]){ 2, 1 }));
}

static inline int32_t case_matmul_constant(maker *m, int32_t x)
{
    return make_binary(m, "matmul", make_constant(m, 3, (int64_t[]){ 6, 2, 7 }), x);
}

static inline int32_t case_layer_norm(maker *m, int32_t x)
{
    const lg_attrs last = { .layer_norm = { 3, 1e-3 } }, all = { .layer_norm = { 1, 1e-3 } };
    const int32_t none[2] = { LG_NONE, LG_NONE };
    int32_t y;

    x = make_affine(m, x, "layer_norm", &last, 1, (int64_t[]){ 5 });
    assert_ok(lg_graph_add_node(&y, m->graph, "layer_norm", "bare", &all, 1, &x, 2, none));
    return y;
}

static inline int32_t case_group_norm(maker *m, int32_t x)
{
    const lg_attrs attrs = { .group_norm = { 3, 1e-3 } };
    const int32_t none[2] = { LG_NONE, LG_NONE };
    int32_t y;

    x = make_affine(m, x, "group_norm", &attrs, 1, (int64_t[]){ 6 });
    assert_ok(lg_graph_add_node(&y, m->graph, "group_norm", "bare", &attrs, 1, &x, 2, none));
    return y;
}

static inline int32_t case_instance_norm(maker *m, int32_t x)
{
    const lg_attrs attrs = { .group_norm = { 6, 1e-3 } };

    return make_affine(m, x, "group_norm", &attrs, 1, (int64_t[]){ 6 });
}

#undef UNARY_CASE
#define CASE(id) { #id, case_##id }
static const op_case op_cases[] = {
    CASE(relu), CASE(sigmoid), CASE(tanh), CASE(silu), CASE(hard_swish), CASE(hard_sigmoid), CASE(gelu),
    CASE(gelu_tanh), CASE(leaky_relu), CASE(clip), CASE(clip_below), CASE(clip_above), CASE(clip_nowhere),
    CASE(elu), CASE(selu), CASE(celu), CASE(elu_odd), CASE(softplus), CASE(softplus_sharp), CASE(mish), CASE(softsign),
    CASE(log_sigmoid), CASE(hard_shrink), CASE(soft_shrink), CASE(thresholded_relu), CASE(pow), CASE(log_softmax),
    CASE(log_softmax_last), CASE(functions), CASE(min_max),
    CASE(dropout), CASE(softmax), CASE(softmax_last), CASE(max_pool), CASE(max_pool_ceil), CASE(max_pool_dilated),
    CASE(avg_pool), CASE(avg_pool_inside), CASE(avg_pool_ceil), CASE(avg_pool_ceil_inside), CASE(global_avg),
    CASE(global_max), CASE(adaptive_even), CASE(adaptive_max_even), CASE(adaptive_uneven), CASE(adaptive_one_axis),
    CASE(adaptive_larger), CASE(pad), CASE(upsample_twice), CASE(upsample_uneven), CASE(upsample_bilinear),
    CASE(upsample_corners), CASE(flatten), CASE(flatten_spatial), CASE(mean), CASE(mean_kept), CASE(slice), CASE(slice_steps), CASE(slice_down),
    CASE(split), CASE(reshape), CASE(permute), CASE(concat), CASE(concat_constant), CASE(add), CASE(div),
    CASE(mul_repeated), CASE(constants), CASE(prelu), CASE(prelu_flat), CASE(conv), CASE(conv_shared),
    CASE(conv_transpose), CASE(batch_norm_bare), CASE(linear), CASE(linear_wide), CASE(linear_shared), CASE(matmul),
    CASE(matmul_constant), CASE(layer_norm), CASE(group_norm), CASE(instance_norm),
};
#undef CASE
#define N_OP_CASES (sizeof(op_cases) / sizeof(op_cases[0]))

static inline lg_graph *make_op_case(size_t index)
{
    maker m;
    int32_t x;

    maker_start(&m, 1000 + index);
    x = make_input(&m, 6, 7, 5);
    return maker_finish(&m, op_cases[index].build(&m, x));
}

#endif
