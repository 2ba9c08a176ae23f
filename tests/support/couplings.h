/* Random networks whose channels are coupled in all the ways that architectures have: what test_graph_proofs.c and whoever
 * cuts graphs must get right. */
#ifndef LG_TESTS_COUPLINGS_H
#define LG_TESTS_COUPLINGS_H

#include "support/graphs.h"

/* DenseNet: every layer reads all before it. */
static inline int32_t make_dense(maker *m, int32_t x)
{
    for (int64_t i = pick(m, 2, 3); i > 0; i--)
        x = make_concat(m, x, make_conv(m, make_unary(m, make_bn(m, x), "relu", NULL), pick(m, 2, 4), 3, 1, 1, 0));
    return x;
}

/* Inception: branches of different depths, one behind a pool. */
static inline int32_t make_inception(maker *m, int32_t x)
{
    const lg_attrs pool = { .pool = { { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 }, 0, 0 } };
    const int32_t a = make_conv(m, x, pick(m, 1, 4), 1, 1, 1, 1);
    const int32_t b = make_conv(m, make_unary(m, make_conv(m, x, pick(m, 2, 5), 1, 1, 1, 1), "relu", NULL),
                                pick(m, 1, 4), 3, 1, 1, 1);
    const int32_t c = make_conv(m, make_unary(m, x, "max_pool", &pool), pick(m, 1, 3), 1, 1, 1, 1);

    return make_concat(m, make_concat(m, a, b), c);
}

/* Channels become positions. */
static inline int32_t make_pixel_shuffle(maker *m, int32_t x)
{
    const int64_t c = pick(m, 2, 4), h = extent_of(m, x, 2), w = extent_of(m, x, 3);

    x = make_reshape(m, make_conv(m, x, 4 * c, 3, 1, 1, 1), 5, (int64_t[]){ c, 2, 2, h, w });
    x = make_permute(m, x, 5, (int64_t[]){ 1, 4, 2, 5, 3 });
    return make_reshape(m, x, 3, (int64_t[]){ c, 2 * h, 2 * w });
}

/* Global context: positions weighed by a softmax give one vector, which is added everywhere. */
static inline int32_t make_global_context(maker *m, int32_t x)
{
    const int64_t c = extent_of(m, x, 1), n = extent_of(m, x, 2) * extent_of(m, x, 3);
    int32_t flat, weights, summary;

    x = make_conv(m, x, c, 1, 1, 1, 1); /* no weight stands between a channel and the product */
    flat = make_reshape(m, x, 2, (int64_t[]){ c, n });
    weights = make_reshape(m, make_conv(m, x, 1, 1, 1, 1, 1), 2, (int64_t[]){ 1, n });
    weights = make_unary(m, weights, "softmax", &(lg_attrs){ .axis = { 2 } });
    summary = make_binary(m, "matmul", flat, make_permute(m, weights, 2, (int64_t[]){ 2, 1 }));
    summary = make_reshape(m, summary, 3, (int64_t[]){ c, 1, 1 });
    summary = make_unary(m, make_conv(m, summary, pick(m, 2, 5), 1, 1, 1, 1), "relu", NULL);
    return make_add(m, x, make_conv(m, summary, c, 1, 1, 1, 1));
}

/* One convolution's weights in two places. */
static inline int32_t make_shared(maker *m, int32_t x)
{
    const int64_t c = extent_of(m, x, 1);
    const lg_attrs attrs = { .conv = { { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 }, 1 } };
    int32_t weights[2], y;
    char name[48];

    layer_name(m, name, "shared");
    weights[0] = make_weight(m, name, "weight", 4, (int64_t[]){ c, c, 3, 3 }, 0);
    weights[1] = make_weight(m, name, "bias", 1, &c, 0);
    for (int i = 0; i < 2; i++) {
        layer_name(m, name, "use");
        assert_ok(lg_graph_add_node(&y, m->graph, "conv2d", name, &attrs, 1, &x, 2, weights));
        x = make_unary(m, y, "relu", NULL);
    }
    return x;
}

/* U-Net and FPN: down, up again to where it was, joined with what was there. */
static inline int32_t make_skip(maker *m, int32_t x)
{
    const int64_t h = extent_of(m, x, 2), w = extent_of(m, x, 3);
    const lg_attrs up = { .upsample = { { h, w }, (int32_t)pick(m, 0, 1), 0 } };
    int32_t y = make_unary(m, make_conv(m, x, pick(m, 2, 6), 3, 2, 1, 1), "relu", NULL);

    if (pick(m, 0, 1))
        return make_concat(m, x, make_unary(m, make_wide_layer(m, y), "upsample", &up));
    y = make_unary(m, make_conv(m, y, extent_of(m, x, 1), 1, 1, 1, 1), "upsample", &up);
    return make_add(m, x, y);
}

/* MobileNetV3: expanded, depthwise, squeezed and excited, projected, added. */
static inline int32_t make_inverted_residual(maker *m, int32_t x)
{
    const int64_t wide = 2 * extent_of(m, x, 1);
    int32_t y = make_unary(m, make_bn(m, make_conv(m, x, wide, 1, 1, 1, 0)), "hard_swish", NULL);

    y = make_unary(m, make_bn(m, make_conv(m, y, wide, 3, 1, wide, 0)), "hard_swish", NULL);
    return make_add(m, x, make_bn(m, make_conv(m, make_squeeze_excite(m, y), extent_of(m, x, 1), 1, 1, 1, 0)));
}

static inline int32_t make_coupling(maker *m, int32_t x)
{
    switch (pick(m, 0, 6)) {
    case 0:
        return make_dense(m, x);
    case 1:
        return make_inception(m, x);
    case 2:
        return extent_of(m, x, 2) * extent_of(m, x, 3) > 40 ? x : make_pixel_shuffle(m, x);
    case 3:
        return make_global_context(m, x);
    case 4:
        return make_shared(m, x);
    case 5:
        return make_skip(m, x);
    default:
        return make_inverted_residual(m, x);
    }
}

/* As make_wide_graph(), with the couplings above, and a connection from the stem to the end where shapes allow. */
static inline lg_graph *make_coupled_graph(uint64_t seed)
{
    maker m;
    int32_t x, stem;

    maker_start(&m, seed);
    x = make_input(&m, pick(&m, 1, 3), pick(&m, 3, 5), pick(&m, 3, 5));
    stem = x = make_conv(&m, x, pick(&m, 2, 3) * 2, 3, 1, 1, 1);
    for (int64_t i = pick(&m, 1, 3); i > 0; i--) {
        x = make_coupling(&m, x);
        if (pick(&m, 0, 1))
            x = make_wide_layer(&m, x);
    }
    if (extent_of(&m, x, 2) == extent_of(&m, stem, 2) && extent_of(&m, x, 3) == extent_of(&m, stem, 3))
        x = make_binary(&m, pick(&m, 0, 1) ? "add" : "mul", make_conv(&m, x, extent_of(&m, stem, 1), 1, 1, 1, 1), stem);
    x = make_unary(&m, x, pick(&m, 0, 1) ? "adaptive_avg_pool" : "relu", NULL);
    return maker_finish(&m, make_linear(&m, make_unary(&m, x, "flatten", NULL), 3));
}

#endif
