/* Random networks over three spatial axes (clips, medical volumes), with the couplings that such networks have. */
#ifndef LG_TESTS_VOLUMES_H
#define LG_TESTS_VOLUMES_H

#include "support/graphs.h"

static inline int32_t make_volume(maker *m, int64_t c, int64_t d, int64_t h, int64_t w)
{
    int32_t value;

    assert_ok(lg_graph_add_input(&value, m->graph, "input", LEGO_DTYPE_F32, &(lg_shape){ 4, { c, d, h, w } }));
    return value;
}

static inline int64_t volume_of(const maker *m, int32_t x)
{
    return extent_of(m, x, 2) * extent_of(m, x, 3) * extent_of(m, x, 4);
}

/* A weight with the kernel's extents behind the first two. */
static inline int32_t make_kernel(maker *m, const char *name, int64_t rows, int64_t columns, const int64_t kernel[3])
{
    return make_weight(m, name, "weight", 5, (int64_t[]){ rows, columns, kernel[0], kernel[1], kernel[2] }, 0);
}

/* Padded so that a stride of 1 keeps the extents. */
static inline int32_t make_conv3d(maker *m, int32_t x, int64_t out, int64_t t, int64_t r, int64_t stride,
                                  int64_t groups, int bias)
{
    const int64_t kernel[3] = { t, r, r }, a = t / 2, b = r / 2;
    const lg_attrs attrs = { .conv = { { t > 1 ? stride : 1, stride, stride }, { 1, 1, 1 }, { a, b, b, a, b, b },
                                       groups } };
    char name[48];
    int32_t value, weights[2] = { LG_NONE, LG_NONE };

    layer_name(m, name, "conv");
    weights[0] = make_kernel(m, name, out, extent_of(m, x, 1) / groups, kernel);
    if (bias)
        weights[1] = make_weight(m, name, "bias", 1, &out, 0);
    assert_ok(lg_graph_add_node(&value, m->graph, "conv3d", name, &attrs, 1, &x, 2, weights));
    return value;
}

/* Strides, dilations and pads of all kinds, different along every axis. */
static inline int32_t make_odd_conv3d(maker *m, int32_t x, int64_t out, int64_t groups)
{
    lg_attrs attrs = { .conv = { .groups = groups } };
    int64_t kernel[3];
    char name[48];
    int32_t value, weights[2];

    for (int i = 0; i < 3; i++) {
        const int64_t in = extent_of(m, x, 2 + i);

        attrs.conv.dilation[i] = pick(m, 1, 2);
        kernel[i] = pick(m, 1, attrs.conv.dilation[i] == 1 ? in < 3 ? in : 3 : (in + 1) / 2 < 3 ? (in + 1) / 2 : 3);
        attrs.conv.stride[i] = pick(m, 1, 2);
        attrs.conv.pads[i] = pick(m, 0, 2);
        attrs.conv.pads[3 + i] = pick(m, 0, 2);
    }
    layer_name(m, name, "odd");
    weights[0] = make_kernel(m, name, out, extent_of(m, x, 1) / groups, kernel);
    weights[1] = make_weight(m, name, "bias", 1, &out, 0);
    assert_ok(lg_graph_add_node(&value, m->graph, "conv3d", name, &attrs, 1, &x, 2, weights));
    return value;
}

/* Twice the extents where `doubles`, else anything. */
static inline int32_t make_conv_transpose3d(maker *m, int32_t x, int64_t per_group, int64_t groups, int doubles)
{
    lg_attrs attrs = { .conv_transpose = { { 2, 2, 2 }, { 1, 1, 1 }, { 0 }, { 0 }, groups } };
    int64_t kernel[3] = { 2, 2, 2 };
    const int64_t n_out = per_group * groups;
    char name[48];
    int32_t value, weights[2];

    for (int i = 0; !doubles && i < 3; i++) {
        kernel[i] = pick(m, 1, 3);
        attrs.conv_transpose.stride[i] = pick(m, 1, 2);
        attrs.conv_transpose.output_padding[i] = pick(m, 0, attrs.conv_transpose.stride[i] - 1);
        attrs.conv_transpose.pads[i] = pick(m, 0, (kernel[i] - 1) / 2);
        attrs.conv_transpose.pads[3 + i] = pick(m, 0, (kernel[i] - 1) / 2);
    }
    layer_name(m, name, "deconv");
    weights[0] = make_kernel(m, name, extent_of(m, x, 1), per_group, kernel);
    weights[1] = make_weight(m, name, "bias", 1, &n_out, 0);
    assert_ok(lg_graph_add_node(&value, m->graph, "conv_transpose3d", name, &attrs, 1, &x, 2, weights));
    return value;
}

static inline int32_t make_pool3d(maker *m, int32_t x)
{
    lg_attrs pool = { .pool = { .ceil_mode = (int32_t)pick(m, 0, 1), .count_include_pad = (int32_t)pick(m, 0, 1) } };
    const int largest = (int)pick(m, 0, 1);

    for (int i = 0; i < 3; i++) {
        const int64_t in = extent_of(m, x, 2 + i);

        pool.pool.kernel[i] = pick(m, 1, in < 3 ? in : 3);
        pool.pool.stride[i] = pick(m, 1, 2);
        pool.pool.dilation[i] = largest && in >= 2 * pool.pool.kernel[i] && pick(m, 0, 2) == 0 ? 2 : 1;
        pool.pool.pads[i] = pick(m, 0, pool.pool.kernel[i] / 2);
        pool.pool.pads[3 + i] = pick(m, 0, pool.pool.kernel[i] / 2);
        if (!largest && (pool.pool.ceil_mode || !pool.pool.count_include_pad)) /* uneven, it does not run on torch */
            pool.pool.pads[3 + i] = pool.pool.pads[i];
    }
    return make_unary(m, x, largest ? "max_pool3d" : "avg_pool3d", &pool);
}

/* Squeeze-excite over clips. */
static inline int32_t make_excite3d(maker *m, int32_t x)
{
    const lg_attrs spatial = { .mean = { { 3, { 2, 3, 4 } }, 1 } };
    int32_t s = pick(m, 0, 1) ? make_unary(m, x, "mean", &spatial) : make_unary(m, x, "adaptive_avg_pool3d", NULL);

    s = make_unary(m, make_conv3d(m, s, pick(m, 2, 4), 1, 1, 1, 1, 1), "relu", NULL);
    return make_binary(m, "mul", x, make_unary(m, make_conv3d(m, s, extent_of(m, x, 1), 1, 1, 1, 1, 1), "sigmoid",
                                               NULL));
}

/* ResNet's unit: full kernels, or a spatial and a temporal one (R(2+1)D). */
static inline int32_t make_residual3d(maker *m, int32_t x)
{
    const int split = (int)pick(m, 0, 1);
    const int64_t wide = pick(m, 2, 7);
    int32_t y = make_unary(m, make_bn(m, make_conv3d(m, x, wide, split ? 1 : 3, 3, 1, 1, 0)), "relu", NULL);

    y = make_bn(m, make_conv3d(m, y, extent_of(m, x, 1), 3, split ? 1 : 3, 1, 1, (int)pick(m, 0, 1)));
    return make_unary(m, make_add(m, y, x), "relu", NULL);
}

/* One level of a 3-D U-Net. */
static inline int32_t make_skip3d(maker *m, int32_t x)
{
    const lg_attrs half = { .pool = { { 2, 2, 2 }, { 2, 2, 2 }, { 1, 1, 1 }, { 0 }, 0, 0 } };
    const lg_attrs up = { .upsample = { { extent_of(m, x, 2), extent_of(m, x, 3), extent_of(m, x, 4) },
                                        (int32_t)pick(m, 0, 1), 0 } };
    int32_t y;

    if (extent_of(m, x, 2) % 2 || extent_of(m, x, 3) % 2 || extent_of(m, x, 4) % 2) {
        y = make_unary(m, make_conv3d(m, x, pick(m, 2, 5), 3, 3, 2, 1, 1), "relu", NULL);
        return make_concat(m, x, make_unary(m, y, "upsample3d", &up));
    }
    y = make_unary(m, make_conv3d(m, make_unary(m, x, "max_pool3d", &half), pick(m, 2, 5), 3, 3, 1, 1, 1), "relu",
                   NULL);
    return make_concat(m, x, make_conv_transpose3d(m, y, pick(m, 1, 4), 1, 1));
}

static inline int32_t make_volume_layer(maker *m, int32_t x)
{
    const int64_t c = extent_of(m, x, 1), out = 2 * pick(m, 1, 4);
    const lg_attrs pad = { .pad = { { 1, 0, 0, 0, 2, 1 }, 0.5 } };
    const lg_attrs up = { .upsample = { { pick(m, 1, 4), pick(m, 2, 5), pick(m, 2, 5) }, LG_UPSAMPLE_BILINEAR,
                                        (int32_t)pick(m, 0, 1) } };
    const lg_attrs cells = { .adaptive_pool = { { pick(m, 1, 3), pick(m, 2, 4), pick(m, 2, 4) } } };
    const lg_attrs norm = { .group_norm = { pick(m, 0, 1) ? c : common_divisor(m, c, c), 1e-3 } };

    switch (pick(m, 0, 13)) {
    case 0:
        return make_conv3d(m, x, out, 3, 3, pick(m, 1, 2), 1, (int)pick(m, 0, 1));
    case 1:
        return make_odd_conv3d(m, x, out, common_divisor(m, c, out));
    case 2: /* depthwise, sometimes with two outputs a channel */
        return make_conv3d(m, x, c * pick(m, 1, 2), 3, 3, 1, c, (int)pick(m, 0, 1));
    case 3:
        return make_residual3d(m, x);
    case 4:
        return make_pool3d(m, x);
    case 5:
        return make_excite3d(m, x);
    case 6:
        return make_skip3d(m, x);
    case 7:
        return volume_of(m, x) > 100 ? x : make_conv_transpose3d(m, x, pick(m, 1, 3), pick(m, 0, 1) ? c : 1, 0);
    case 8:
        return volume_of(m, x) > 100 ? x : make_unary(m, x, "pad3d", &pad);
    case 9:
        return make_unary(m, x, "upsample3d", &up);
    case 10:
        return make_unary(m, x, pick(m, 0, 1) ? "adaptive_max_pool3d" : "adaptive_avg_pool3d", &cells);
    case 11:
        return make_affine(m, x, "group_norm", &norm, 1, &c);
    case 12:
        return make_unary(m, make_bn(m, x), pick(m, 0, 1) ? "relu" : "silu", NULL);
    default:
        return make_add(m, make_conv3d(m, x, out, 1, 1, 1, 1, 1), make_bn(m, make_conv3d(m, x, out, 3, 1, 1, 1, 0)));
    }
}

static inline lg_graph *make_volume_graph(uint64_t seed)
{
    maker m;
    int32_t x;

    maker_start(&m, seed);
    x = make_volume(&m, pick(&m, 1, 3), pick(&m, 2, 4), pick(&m, 3, 5), pick(&m, 3, 5));
    x = make_conv3d(&m, x, 2 * pick(&m, 2, 3), 3, 3, 1, 1, 1);
    for (int64_t i = pick(&m, 2, 5); i > 0; i--)
        x = make_volume_layer(&m, x);
    if (pick(&m, 0, 3) == 0)
        return maker_finish(&m, make_conv3d(&m, x, 2, 1, 1, 1, 1, 1));
    if (pick(&m, 0, 1))
        x = make_unary(&m, x, pick(&m, 0, 1) ? "adaptive_max_pool3d" : "adaptive_avg_pool3d", NULL);
    return maker_finish(&m, make_linear(&m, make_unary(&m, x, "flatten", NULL), 3));
}

#endif
