/* Building graphs in tests: layers with random weights, and whole random networks. */
#ifndef LG_TESTS_GRAPHS_H
#define LG_TESTS_GRAPHS_H

#include "support/support.h"

#include "base/rng.h"
#include "graph/ops.h"

typedef struct maker {
    lg_graph *graph;
    lg_rng rng;
    int n_layers; /* numbers the names */
} maker;

static inline void maker_start(maker *m, uint64_t seed)
{
    memset(m, 0, sizeof(*m));
    lg_rng_init(&m->rng, seed, 77);
    assert_ok(lg_graph_create(&m->graph, "test"));
}

static inline int64_t pick(maker *m, int64_t low, int64_t high)
{
    return low + (int64_t)lg_rng_below(&m->rng, (uint64_t)(high - low + 1));
}

static inline int64_t extent_of(const maker *m, int32_t value, int axis)
{
    return m->graph->values[value].shape.dims[axis];
}

static inline int32_t make_input(maker *m, int64_t c, int64_t h, int64_t w)
{
    int32_t value;

    assert_ok(lg_graph_add_input(&value, m->graph, "input", LEGO_DTYPE_F32, &(lg_shape){ 3, { c, h, w } }));
    return value;
}

/* Values in (-1, 1), or (0.5, 1.5) where `positive`. */
static inline int32_t make_weight(maker *m, const char *node, const char *slot, int n_dims, const int64_t *dims,
                                  int positive)
{
    const lg_shape shape = lg_shape_make(n_dims, dims);
    lego_tensor tensor = { 0 };
    char name[96];
    int32_t weight;

    snprintf(name, sizeof(name), "%s.%s", node, slot);
    assert_ok(lg_tensor_init(&tensor, LEGO_DTYPE_F32, &shape));
    for (int64_t i = 0; i < lg_tensor_count(&tensor); i++)
        ((float *)lg_tensor_data(&tensor))[i] =
            (float)(positive ? 0.5 + lg_rng_uniform(&m->rng) : 2.0 * lg_rng_uniform(&m->rng) - 1.0);
    assert_ok(lg_graph_add_weight(&weight, m->graph, name, &tensor));
    lg_tensor_dispose(&tensor);
    return weight;
}

static inline const char *layer_name(maker *m, char name[48], const char *op)
{
    snprintf(name, 48, "%s%d", op, m->n_layers++);
    return name;
}

static inline int32_t make_conv(maker *m, int32_t x, int64_t out, int64_t kernel, int64_t stride, int64_t groups,
                                int bias)
{
    const int64_t pad = kernel / 2;
    const lg_attrs attrs = { .conv = { { stride, stride }, { 1, 1 }, { pad, pad, pad, pad }, groups } };
    char name[48];
    int32_t value, weights[2] = { LG_NONE, LG_NONE };

    layer_name(m, name, "conv");
    weights[0] = make_weight(m, name, "weight", 4,
                             (int64_t[]){ out, extent_of(m, x, 1) / groups, kernel, kernel }, 0);
    if (bias)
        weights[1] = make_weight(m, name, "bias", 1, &out, 0);
    assert_ok(lg_graph_add_node(&value, m->graph, "conv2d", name, &attrs, 1, &x, 2, weights));
    return value;
}

static inline int32_t make_bn(maker *m, int32_t x)
{
    const int64_t c = extent_of(m, x, 1);
    char name[48];
    int32_t value, weights[4];

    layer_name(m, name, "bn");
    weights[0] = make_weight(m, name, "weight", 1, &c, 1);
    weights[1] = make_weight(m, name, "bias", 1, &c, 0);
    weights[2] = make_weight(m, name, "running_mean", 1, &c, 0);
    weights[3] = make_weight(m, name, "running_var", 1, &c, 1);
    assert_ok(lg_graph_add_node(&value, m->graph, "batch_norm", name, NULL, 1, &x, 4, weights));
    return value;
}

static inline int32_t make_linear(maker *m, int32_t x, int64_t out)
{
    const int last = m->graph->values[x].shape.n_dims - 1;
    char name[48];
    int32_t value, weights[2];

    layer_name(m, name, "linear");
    weights[0] = make_weight(m, name, "weight", 2, (int64_t[]){ out, extent_of(m, x, last) }, 0);
    weights[1] = make_weight(m, name, "bias", 1, &out, 0);
    assert_ok(lg_graph_add_node(&value, m->graph, "linear", name, NULL, 1, &x, 2, weights));
    return value;
}

static inline int32_t make_unary(maker *m, int32_t x, const char *op, const lg_attrs *attrs)
{
    char name[48];
    int32_t value;

    layer_name(m, name, op);
    assert_ok(lg_graph_add_node(&value, m->graph, op, name, attrs, 1, &x, 0, NULL));
    return value;
}

static inline int32_t make_add(maker *m, int32_t a, int32_t b)
{
    char name[48];
    int32_t value;

    layer_name(m, name, "add");
    assert_ok(lg_graph_add_node(&value, m->graph, "add", name, NULL, 2, (int32_t[]){ a, b }, 0, NULL));
    return value;
}

static inline lg_graph *maker_finish(maker *m, int32_t output)
{
    assert_ok(lg_graph_add_output(m->graph, output));
    assert_ok(lg_graph_validate(m->graph));
    return m->graph;
}

/* A divisor of both, at least 2 if there is one. */
static inline int64_t common_divisor(maker *m, int64_t a, int64_t b)
{
    int64_t found = 1;

    for (int64_t d = 2; d <= a; d++)
        if (a % d == 0 && b % d == 0 && (found == 1 || pick(m, 0, 1)))
            found = d;
    return found;
}

/* Two convolutions and the shortcut around them. */
static inline int32_t make_residual(maker *m, int32_t x)
{
    int32_t y = make_bn(m, make_conv(m, x, pick(m, 2, 8), 3, 1, 1, 0));

    y = make_unary(m, y, "relu", NULL);
    y = make_conv(m, y, extent_of(m, x, 1), 3, 1, 1, (int)pick(m, 0, 1));
    return make_unary(m, make_add(m, y, x), "relu", NULL);
}

/* One more layer or unit of a random kind. Every one of them maps an all-zero channel to an all-zero channel once its
 * weights and biases for it are zero. */
static inline int32_t make_random_layer(maker *m, int32_t x)
{
    const int64_t c = extent_of(m, x, 1), size = extent_of(m, x, 2);
    const int64_t stride = size > 4 ? pick(m, 1, 2) : 1;
    const int64_t out = pick(m, 1, 4) * 2;
    const lg_attrs pool = { .pool = { { 3, 3 }, { stride, stride }, { 1, 1 }, { 1, 1, 1, 1 }, (int)pick(m, 0, 1),
                                      (int)pick(m, 0, 1) } };

    switch (pick(m, 0, 9)) {
    case 0:
        return make_conv(m, x, out, 2 * pick(m, 0, 1) + 1, stride, 1, (int)pick(m, 0, 1));
    case 1: /* depthwise, sometimes with two outputs a channel */
        return make_conv(m, x, c * pick(m, 1, 2), 3, stride, c, (int)pick(m, 0, 1));
    case 2:
        return make_conv(m, x, out, 3, stride, common_divisor(m, c, out), (int)pick(m, 0, 1));
    case 3: /* ResNeXt: 1x1, grouped, 1x1, sum */
        return make_add(m, x, make_conv(m, make_unary(m, make_conv(m, make_conv(m, x, 12, 1, 1, 1, 0), 12, 3, 1,
                                                                   pick(m, 0, 1) ? 4 : 3, 1),
                                                      "relu", NULL),
                                        c, 1, 1, 1, 1));
    case 4: /* two branches */
        return make_add(m, make_conv(m, x, out, 1, 1, 1, 1), make_bn(m, make_conv(m, x, out, 3, 1, 1, 0)));
    case 5:
        return make_residual(m, x);
    case 6:
        return make_bn(m, x);
    case 7:
        return make_unary(m, x, pick(m, 0, 1) ? "relu" : "clip", NULL);
    case 8:
        return make_unary(m, x, pick(m, 0, 1) ? "max_pool" : "avg_pool", &pool);
    default:
        return make_unary(m, x, "dropout", NULL);
    }
}

/* --- the wider set of ops --- */

static inline int32_t make_binary(maker *m, const char *op, int32_t a, int32_t b)
{
    char name[48];
    int32_t value;

    layer_name(m, name, op);
    assert_ok(lg_graph_add_node(&value, m->graph, op, name, NULL, 2, (int32_t[]){ a, b }, 0, NULL));
    return value;
}

static inline int32_t make_reshape(maker *m, int32_t x, int n, const int64_t *dims)
{
    lg_attrs attrs = { .reshape = { { n, { 0 } } } };

    memcpy(attrs.reshape.shape.dims, dims, (size_t)n * sizeof(*dims));
    return make_unary(m, x, "reshape", &attrs);
}

static inline int32_t make_permute(maker *m, int32_t x, int n, const int64_t *order)
{
    lg_attrs attrs = { .permute = { { n, { 0 } } } };

    memcpy(attrs.permute.order.dims, order, (size_t)n * sizeof(*order));
    return make_unary(m, x, "permute", &attrs);
}

static inline int32_t make_concat(maker *m, int32_t a, int32_t b)
{
    char name[48];
    int32_t value;

    layer_name(m, name, "concat");
    assert_ok(lg_graph_add_node(&value, m->graph, "concat", name, NULL, 2, (int32_t[]){ a, b }, 0, NULL));
    return value;
}

/* A node with weight and bias over the channels, e.g. group_norm. */
static inline int32_t make_affine(maker *m, int32_t x, const char *op, const lg_attrs *attrs, int n_dims,
                                  const int64_t *dims)
{
    char name[48];
    int32_t value, weights[2];

    layer_name(m, name, op);
    weights[0] = make_weight(m, name, "weight", n_dims, dims, 1);
    weights[1] = make_weight(m, name, "bias", n_dims, dims, 0);
    assert_ok(lg_graph_add_node(&value, m->graph, op, name, attrs, 1, &x, 2, weights));
    return value;
}

static inline int32_t make_conv_transpose(maker *m, int32_t x, int64_t out_per_group, int64_t groups)
{
    const int64_t n_out = out_per_group * groups;
    const lg_attrs attrs = { .conv_transpose = { { 2, 2 }, { 1, 1 }, { 1, 1, 1, 1 }, { 1, 0 }, groups } };
    char name[48];
    int32_t value, weights[2];

    layer_name(m, name, "deconv");
    weights[0] = make_weight(m, name, "weight", 4, (int64_t[]){ extent_of(m, x, 1), out_per_group, 3, 3 }, 0);
    weights[1] = make_weight(m, name, "bias", 1, &n_out, 0);
    assert_ok(lg_graph_add_node(&value, m->graph, "conv_transpose2d", name, &attrs, 1, &x, 2, weights));
    return value;
}

static inline int32_t make_prelu(maker *m, int32_t x)
{
    const int64_t n = pick(m, 0, 1) ? extent_of(m, x, 1) : 1;
    char name[48];
    int32_t value, weight;

    layer_name(m, name, "prelu");
    weight = make_weight(m, name, "weight", 1, &n, 0);
    assert_ok(lg_graph_add_node(&value, m->graph, "prelu", name, NULL, 1, &x, 1, &weight));
    return value;
}

static inline int32_t make_constant(maker *m, int n_dims, const int64_t *dims)
{
    char name[48];
    int32_t value, weight;

    layer_name(m, name, "constant");
    weight = make_weight(m, name, "value", n_dims, dims, 0);
    assert_ok(lg_graph_add_node(&value, m->graph, "constant", name, NULL, 0, NULL, 1, &weight));
    return value;
}

/* reshape (g, C/g), swap, reshape: ShuffleNet's. */
static inline int32_t make_shuffle(maker *m, int32_t x, int64_t groups)
{
    const int64_t c = extent_of(m, x, 1), h = extent_of(m, x, 2), w = extent_of(m, x, 3);

    x = make_reshape(m, x, 4, (int64_t[]){ groups, c / groups, h, w });
    x = make_permute(m, x, 4, (int64_t[]){ 2, 1, 3, 4 });
    return make_reshape(m, x, 3, (int64_t[]){ -1, h, w });
}

/* x times what its own channel means say (squeeze-excite). */
static inline int32_t make_squeeze_excite(maker *m, int32_t x)
{
    const lg_attrs spatial = { .mean = { { 2, { 2, 3 } }, 1 } };
    int32_t s = pick(m, 0, 1) ? make_unary(m, x, "mean", &spatial) : make_unary(m, x, "adaptive_avg_pool", NULL);

    s = make_unary(m, make_conv(m, s, pick(m, 2, 4), 1, 1, 1, 1), "silu", NULL);
    s = make_conv(m, s, extent_of(m, x, 1), 1, 1, 1, 1);
    return make_binary(m, "mul", x, make_unary(m, s, pick(m, 0, 1) ? "sigmoid" : "hard_sigmoid", NULL));
}

static inline int32_t make_split_and_join(maker *m, int32_t x)
{
    const int64_t c = extent_of(m, x, 1), first = c > 1 ? pick(m, 1, c - 1) : 0;
    const lg_attrs split = { .split = { 1, { 2, { first, c - first } } } };
    const lg_attrs slice = { .slice = { 1, first, c, 1 } };
    int32_t a, b;

    if (c == 1)
        return x;
    if (pick(m, 0, 1)) {
        a = make_unary(m, x, "split", &split);
        b = make_conv(m, a + 1, 4, 3, 1, 1, 1);
    } else {
        a = make_conv(m, x, 3, 1, 1, 1, 0);
        b = make_unary(m, x, "slice", &slice);
    }
    return pick(m, 0, 1) ? make_concat(m, b, a) : make_concat(m, a, b);
}

/* Scalar functions, each over a range in which it is smooth and hardly grows: rounding stays rounding. */
typedef struct smooth_function {
    const char *op;
    double low, high;
    lg_attrs attrs;
} smooth_function;
#define NO_NUMBERS { .gelu = { 0 } }
static const smooth_function smooth_functions[] = {
    { "abs", -3.0, 3.0, NO_NUMBERS },
    { "acos", -0.8, 0.8, NO_NUMBERS },
    { "acosh", 1.5, 4.0, NO_NUMBERS },
    { "asin", -0.8, 0.8, NO_NUMBERS },
    { "asinh", -3.0, 3.0, NO_NUMBERS },
    { "atan", -3.0, 3.0, NO_NUMBERS },
    { "atanh", -0.5, 0.5, NO_NUMBERS },
    { "cos", -3.0, 3.0, NO_NUMBERS },
    { "cosh", -1.0, 1.0, NO_NUMBERS },
    { "elu", -3.0, 3.0, { .elu = { 0.7, 1.0, 1.0 } } },
    { "elu", -3.0, 3.0, { .elu = { 1.6732632, 1.050701, 1.0 } } }, /* selu */
    { "elu", -3.0, 3.0, { .elu = { 0.5, 1.0, 2.0 } } },             /* celu */
    { "elu", -3.0, 3.0, { .elu = { 0.7, 1.5, 0.25 } } },
    { "erf", -3.0, 3.0, NO_NUMBERS },
    { "exp", -3.0, 0.5, NO_NUMBERS },
    { "log", 0.8, 4.0, NO_NUMBERS },
    { "log_sigmoid", -5.0, 5.0, NO_NUMBERS },
    { "mish", -5.0, 5.0, NO_NUMBERS },
    { "pow", -1.0, 1.0, { .pow = { 2.0 } } },
    { "pow", 0.8, 3.0, { .pow = { -0.7 } } },
    { "reciprocal", 0.9, 3.0, NO_NUMBERS },
    { "shrink", -3.0, 3.0, { .shrink = { 0.25, 0.25 } } }, /* continuous */
    { "sin", -3.0, 3.0, NO_NUMBERS },
    { "sinh", -1.0, 1.0, NO_NUMBERS },
    { "softplus", -5.0, 5.0, { .softplus = { 1.0 } } },
    { "softplus", -5.0, 5.0, { .softplus = { 2.5 } } },
    { "softsign", -5.0, 5.0, NO_NUMBERS },
    { "sqrt", 0.3, 4.0, NO_NUMBERS },
    { "tan", -0.5, 0.5, NO_NUMBERS },
};
#define N_SMOOTH_FUNCTIONS (sizeof(smooth_functions) / sizeof(smooth_functions[0]))

static inline int32_t make_smooth(maker *m, int32_t x, size_t which)
{
    const smooth_function *f = &smooth_functions[which];

    x = make_unary(m, x, "clip", &(lg_attrs){ .clip = { f->low, f->high } });
    return make_unary(m, x, f->op, &f->attrs);
}

/* Functions that jump: of stored numbers, which are the same for everybody. */
static const smooth_function jumping_functions[] = {
    { "ceil", 0.0, 0.0, NO_NUMBERS },
    { "floor", 0.0, 0.0, NO_NUMBERS },
    { "round", 0.0, 0.0, NO_NUMBERS },
    { "sign", 0.0, 0.0, NO_NUMBERS },
    { "shrink", 0.0, 0.0, { .shrink = { 0.3, 0.0 } } },
    { "thresholded_relu", 0.0, 0.0, { .thresholded_relu = { 0.2 } } },
};
#define N_JUMPING_FUNCTIONS (sizeof(jumping_functions) / sizeof(jumping_functions[0]))

static inline int32_t make_jump(maker *m, int32_t x, size_t which)
{
    const smooth_function *f = &jumping_functions[which];
    const int32_t stored = make_constant(m, 3, (int64_t[]){ extent_of(m, x, 1), 1, 1 });

    return make_add(m, x, make_unary(m, stored, f->op, &f->attrs));
}

static inline int32_t make_functions(maker *m, int32_t x)
{
    for (int i = 0; i < 3; i++)
        x = make_smooth(m, x, (size_t)pick(m, 0, N_SMOOTH_FUNCTIONS - 1));
    return make_jump(m, x, (size_t)pick(m, 0, N_JUMPING_FUNCTIONS - 1));
}

static inline int32_t make_wide_layer(maker *m, int32_t x)
{
    static const char *const activations[] = { "sigmoid", "tanh", "hard_sigmoid", "hard_swish", "silu", "gelu",
                                               "leaky_relu" };
    const int64_t c = extent_of(m, x, 1), h = extent_of(m, x, 2), w = extent_of(m, x, 3);
    const lg_attrs upsample = { .upsample = { { h + 1, 2 * w }, LG_UPSAMPLE_BILINEAR, (int32_t)pick(m, 0, 1) } };
    const lg_attrs pad = { .pad = { { 1, 0, 0, 2 }, 0.5 } };
    lg_attrs norm = { .group_norm = { c, 1e-3 } };

    switch (pick(m, 0, 18)) {
    case 0:
        x = make_unary(m, x, activations[pick(m, 0, 6)], NULL);
        return make_unary(m, x, activations[pick(m, 0, 6)], NULL);
    case 1:
        return make_prelu(m, x);
    case 2:
        return make_squeeze_excite(m, x);
    case 3: /* ShuffleNet: grouped, shuffled, depthwise or grouped */
        x = make_shuffle(m, make_conv(m, x, 12, 1, 1, common_divisor(m, c, 12), 1), 3);
        return pick(m, 0, 1) ? make_conv(m, x, 8, 3, 1, 4, 1) : make_conv(m, x, 12, 3, 1, 12, 1);
    case 4:
        return make_split_and_join(m, x);
    case 5:
        return h * w > 60 ? x : make_unary(m, x, "upsample", &upsample);
    case 6:
        return h * w > 60 ? x : make_conv_transpose(m, x, pick(m, 1, 3), pick(m, 0, 1) ? c : 1);
    case 7: /* instance norm, or one of a few groups */
        norm.group_norm.groups = pick(m, 0, 1) ? c : common_divisor(m, c, c);
        return make_affine(m, x, "group_norm", &norm, 1, &c);
    case 8:
        return make_unary(m, x, "pad", &pad);
    case 9: /* ConvNeXt: channels last, layer norm, linear, back */
        x = make_permute(m, x, 3, (int64_t[]){ 2, 3, 1 });
        if (pick(m, 0, 1))
            x = make_affine(m, x, "layer_norm", &(lg_attrs){ .layer_norm = { 3, 1e-3 } }, 1, &c);
        x = make_unary(m, make_linear(m, x, 6), "gelu", NULL);
        return make_permute(m, x, 3, (int64_t[]){ 3, 1, 2 });
    case 10: /* a constant of each channel, repeated over the positions */
        return make_binary(m, pick(m, 0, 1) ? "add" : "sub", x, make_constant(m, 3, (int64_t[]){ c, 1, 1 }));
    case 11: /* joined channels into a grouped convolution */
        x = make_concat(m, make_conv(m, x, 4, 1, 1, 1, 1), make_conv(m, x, 8, 1, 1, 1, 1));
        return make_conv(m, x, 6, 3, 1, 2, 1);
    case 12: { /* attention over positions: (N,C,HW) -> (N,HW,C) x (N,C,HW) -> softmax -> x. No weight stands between
                * a channel and the product, so a convolution makes sure that zeroed channels are zero. */
        const int32_t flat = make_reshape(m, make_conv(m, x, c, 1, 1, 1, 1), 2, (int64_t[]){ c, h * w });
        int32_t scores = make_binary(m, "matmul", make_permute(m, flat, 2, (int64_t[]){ 2, 1 }), flat);
        if (pick(m, 0, 1)) { /* of one score far above the others the gradient in float32 is noise */
            scores = make_unary(m, scores, "clip", &(lg_attrs){ .clip = { -2.0, 2.0 } });
            scores = make_unary(m, make_unary(m, scores, "log_softmax", &(lg_attrs){ .axis = { 2 } }), "exp", NULL);
        } else {
            scores = make_unary(m, scores, "softmax", &(lg_attrs){ .axis = { 2 } });
        }
        return make_reshape(m, make_binary(m, "matmul", flat, scores), 3, (int64_t[]){ c, h, w });
    }
    case 13:
        return make_binary(m, "div", x, make_unary(m, make_conv(m, x, c, 1, 1, 1, 1), "clip",
                                                   &(lg_attrs){ .clip = { 0.5, 2.0 } }));
    case 14:
    case 15:
    case 16:
        return make_functions(m, x);
    case 17: /* maxout, and its opposite */
        return make_binary(m, pick(m, 0, 1) ? "max" : "min", make_conv(m, x, 6, 3, 1, 1, 1), make_conv(m, x, 6, 1, 1, 1, 1));
    default:
        return make_binary(m, "mul", make_conv(m, x, 6, 3, 1, 1, 1),
                           make_unary(m, make_conv(m, x, 6, 1, 1, 1, 1), "tanh", NULL));
    }
}

/* As make_random_graph(), over all ops. */
static inline lg_graph *make_wide_graph(uint64_t seed)
{
    maker m;
    int32_t x;

    maker_start(&m, seed);
    x = make_input(&m, pick(&m, 1, 3), pick(&m, 3, 6), pick(&m, 3, 6));
    x = make_conv(&m, x, pick(&m, 2, 4) * 2, 3, 1, 1, 1);
    for (int64_t i = pick(&m, 2, 5); i > 0; i--)
        x = pick(&m, 0, 3) ? make_wide_layer(&m, x) : make_random_layer(&m, x);
    if (pick(&m, 0, 1)) {
        x = make_unary(&m, x, pick(&m, 0, 1) ? "adaptive_max_pool" : "adaptive_avg_pool", NULL);
        x = make_linear(&m, make_reshape(&m, x, 1, (int64_t[]){ -1 }), 3);
    } else {
        x = make_linear(&m, make_unary(&m, x, "flatten", NULL), 3);
    }
    return maker_finish(&m, x);
}

/* A random network with residual, depthwise, grouped and flatten -> linear couplings. */
static inline lg_graph *make_random_graph(uint64_t seed)
{
    const lg_attrs pool = { .adaptive_pool = { { 2, 2 } } };
    maker m;
    int32_t x;

    maker_start(&m, seed);
    x = make_input(&m, pick(&m, 1, 4), pick(&m, 5, 9), pick(&m, 5, 9));
    x = make_conv(&m, x, pick(&m, 2, 4) * 2, 3, 1, 1, 1);
    for (int64_t i = pick(&m, 2, 7); i > 0; i--)
        x = make_random_layer(&m, x);
    if (pick(&m, 0, 3)) { /* a classifier, its flatten with one position or several */
        if (pick(&m, 0, 1))
            x = make_unary(&m, x, "adaptive_avg_pool", pick(&m, 0, 1) ? &pool : NULL);
        x = make_unary(&m, x, "flatten", NULL);
        x = make_unary(&m, make_linear(&m, x, pick(&m, 2, 6)), "relu", NULL);
        x = make_linear(&m, x, 3);
    } else {
        x = make_conv(&m, x, 3, 1, 1, 1, 1);
    }
    return maker_finish(&m, x);
}

/* Keep flags that obey every rule: at least one unit of each free group, equal shares of grouped convolutions. */
static inline uint8_t *random_keep(const lg_channels *channels, uint64_t seed)
{
    uint8_t *keep;
    lg_rng rng;

    lg_rng_init(&rng, seed, 5);
    assert_ok(LG_CALLOC(&keep, lg_channels_n_units(channels)));
    for (int32_t u = 0; u < lg_channels_n_units(channels); u++)
        keep[u] = 1;
    for (size_t g = 0; g < lg_channels_n_groups(channels); g++) {
        const lg_channel_group *group = lg_channels_group(channels, g), *walk = group;
        const int32_t run = group->n_units / group->parts;
        uint8_t parts[256];
        int64_t order[256], first_of_ring = (int64_t)g, any_frozen = 0;

        if (group->frozen)
            continue;
        assert_true(group->parts <= 256 && run <= 256);
        while (group->parts > 1) { /* the ring draws its parts from the seed of its first group */
            any_frozen |= walk->frozen != NULL;
            walk = lg_channels_group(channels, (size_t)walk->partner);
            if (walk == group)
                break;
            for (size_t k = 0; k < (size_t)first_of_ring; k++)
                if (lg_channels_group(channels, k) == walk)
                    first_of_ring = (int64_t)k;
        }
        memset(parts, 1, sizeof(parts));
        if (group->parts > 1 && !any_frozen) {
            lg_rng ring_rng;
            lg_rng_init(&ring_rng, seed, 1000 + (uint64_t)first_of_ring);
            for (int32_t p = 1; p < group->parts; p++)
                parts[p] = (uint8_t)lg_rng_below(&ring_rng, 2);
        }
        const int32_t share = 1 + (int32_t)lg_rng_below(&rng, (uint64_t)run);
        for (int32_t p = 0; p < group->parts; p++) {
            for (int32_t i = 0; i < run; i++)
                order[i] = i;
            lg_rng_shuffle(&rng, order, run);
            for (int32_t i = 0; i < run; i++)
                keep[group->units[p * run + order[i]]] = parts[p] && i < share;
        }
    }
    return keep;
}

#endif
