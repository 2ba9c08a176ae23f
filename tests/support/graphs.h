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
