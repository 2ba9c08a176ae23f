/* An independent evaluation of a graph in double precision, straight from the ops' definitions: the engines' oracle. */
#ifndef LG_TESTS_GOLD_H
#define LG_TESTS_GOLD_H

#include <math.h>

#include "support/graphs.h"

typedef struct gold {
    const lg_graph *graph;
    int64_t batch;
    double **values; /* one array a value, row-major */
} gold;

static inline int64_t gold_dim(const gold *g, int32_t value, int axis)
{
    return axis == 0 ? g->batch : g->graph->values[value].shape.dims[axis];
}

static inline int64_t gold_count(const gold *g, int32_t value)
{
    return g->batch * lg_value_elements(&g->graph->values[value]);
}

static inline double gold_weight(const gold *g, const lg_node *node, int slot, int64_t i, double absent)
{
    const lego_tensor *tensor = slot < node->n_weights ? lg_node_weight(g->graph, node, slot) : NULL;

    return tensor ? ((const float *)lg_tensor_data(tensor))[i] : absent;
}

/* x[n][c][h][w], zero outside. */
static inline double gold_at(const gold *g, int32_t v, int64_t n, int64_t c, int64_t h, int64_t w)
{
    const int64_t C = gold_dim(g, v, 1), H = gold_dim(g, v, 2), W = gold_dim(g, v, 3);

    return h < 0 || h >= H || w < 0 || w >= W ? 0.0 : g->values[v][((n * C + c) * H + h) * W + w];
}

static inline double gold_conv(const gold *g, const lg_node *node, const int64_t at[4])
{
    const lg_conv_attrs *a = &node->attrs->conv;
    const int64_t *shape = lg_node_weight(g->graph, node, 0)->shape.dims;
    const int64_t group = at[1] / (shape[0] / a->groups);
    double sum = gold_weight(g, node, 1, at[1], 0.0);

    for (int64_t r = 0; r < shape[2]; r++)
        for (int64_t s = 0; s < shape[3]; s++)
            for (int64_t c = 0; c < shape[1]; c++)
                sum += gold_weight(g, node, 0, ((at[1] * shape[1] + c) * shape[2] + r) * shape[3] + s, 0.0) *
                       gold_at(g, node->inputs[0], at[0], group * shape[1] + c,
                               at[2] * a->stride[0] - a->pads[0] + r * a->dilation[0],
                               at[3] * a->stride[1] - a->pads[1] + s * a->dilation[1]);
    return sum;
}

static inline double gold_pool(const gold *g, const lg_node *node, const int64_t at[4], int max)
{
    const lg_pool_attrs *a = &node->attrs->pool;
    const int32_t v = node->inputs[0];
    const int64_t H = gold_dim(g, v, 2), W = gold_dim(g, v, 3);
    double best = -INFINITY, sum = 0.0, n_inside = 0.0, n_padded = 0.0;

    for (int64_t r = 0; r < a->kernel[0]; r++)
        for (int64_t s = 0; s < a->kernel[1]; s++) {
            const int64_t h = at[2] * a->stride[0] - a->pads[0] + r * a->dilation[0];
            const int64_t w = at[3] * a->stride[1] - a->pads[1] + s * a->dilation[1];
            n_padded += h < H + a->pads[2] && w < W + a->pads[3];
            if (h < 0 || h >= H || w < 0 || w >= W)
                continue;
            best = fmax(best, gold_at(g, v, at[0], at[1], h, w));
            sum += gold_at(g, v, at[0], at[1], h, w);
            n_inside += 1.0;
        }
    return max ? best : sum / (a->count_include_pad ? n_padded : n_inside);
}

static inline double gold_adaptive(const gold *g, const lg_node *node, const int64_t at[4])
{
    const int32_t v = node->inputs[0];
    const double H = (double)gold_dim(g, v, 2), W = (double)gold_dim(g, v, 3);
    const double P = (double)gold_dim(g, node->outputs[0], 2), Q = (double)gold_dim(g, node->outputs[0], 3);
    double sum = 0.0, n = 0.0;

    for (int64_t h = (int64_t)floor((double)at[2] * H / P); h < (int64_t)ceil((double)(at[2] + 1) * H / P); h++)
        for (int64_t w = (int64_t)floor((double)at[3] * W / Q); w < (int64_t)ceil((double)(at[3] + 1) * W / Q); w++) {
            sum += gold_at(g, v, at[0], at[1], h, w);
            n += 1.0;
        }
    return sum / n;
}

/* Element i of the node's output. */
static inline double gold_element(const gold *g, const lg_node *node, int64_t i)
{
    const lg_value *out = &g->graph->values[node->outputs[0]];
    const double *x = g->values[node->inputs[0]];
    int64_t at[LEGO_MAX_DIMS] = { 0 }, rest = i;

    for (int axis = out->shape.n_dims - 1; axis >= 0; axis--) {
        at[axis] = rest % gold_dim(g, node->outputs[0], axis);
        rest /= gold_dim(g, node->outputs[0], axis);
    }
    switch (node->op->kind) {
    case LG_OP_CONV2D:
        return gold_conv(g, node, at);
    case LG_OP_LINEAR: {
        const int64_t n_in = lg_node_weight(g->graph, node, 0)->shape.dims[1];
        const int64_t n_out = lg_node_weight(g->graph, node, 0)->shape.dims[0];
        double sum = gold_weight(g, node, 1, i % n_out, 0.0);
        for (int64_t c = 0; c < n_in; c++)
            sum += gold_weight(g, node, 0, i % n_out * n_in + c, 0.0) * x[i / n_out * n_in + c];
        return sum;
    }
    case LG_OP_BATCH_NORM:
        return (x[i] - gold_weight(g, node, 2, at[1], 0.0)) /
                   sqrt(gold_weight(g, node, 3, at[1], 1.0) + node->attrs->batch_norm.eps) *
                   gold_weight(g, node, 0, at[1], 1.0) +
               gold_weight(g, node, 1, at[1], 0.0);
    case LG_OP_RELU:
        return fmax(x[i], 0.0);
    case LG_OP_CLIP:
        return fmin(fmax(x[i], node->attrs->clip.min), node->attrs->clip.max);
    case LG_OP_ADD:
        return x[i] + g->values[node->inputs[1]][i];
    case LG_OP_MAX_POOL:
    case LG_OP_AVG_POOL:
        return gold_pool(g, node, at, node->op->kind == LG_OP_MAX_POOL);
    case LG_OP_ADAPTIVE_AVG_POOL:
        return gold_adaptive(g, node, at);
    case LG_OP_FLATTEN:
    case LG_OP_DROPOUT:
        return x[i];
    default:
        fail_msg("no oracle for '%s'", node->op->name);
        return 0.0;
    }
}

/* Evaluate every value for the inputs, one array of floats a graph input. */
static inline void gold_run(gold *g, const lg_graph *graph, int64_t batch, const float *const *inputs)
{
    g->graph = graph;
    g->batch = batch;
    assert_ok(LG_CALLOC(&g->values, graph->n_values));
    for (int32_t v = 0; v < graph->n_values; v++)
        assert_ok(LG_CALLOC(&g->values[v], gold_count(g, v)));
    for (int32_t k = 0; k < graph->n_inputs; k++)
        for (int64_t i = 0; i < gold_count(g, graph->inputs[k]); i++)
            g->values[graph->inputs[k]][i] = inputs[k][i];
    for (int32_t n = 0; n < graph->n_nodes; n++)
        for (int64_t i = 0; i < gold_count(g, graph->nodes[n].outputs[0]); i++)
            g->values[graph->nodes[n].outputs[0]][i] = gold_element(g, &graph->nodes[n], i);
}

static inline void gold_free(gold *g)
{
    for (int32_t v = 0; v < g->graph->n_values; v++)
        lg_free(g->values[v]);
    lg_free(g->values);
}

/* Random floats in (-1, 1) for every graph input, and room for every output; free with io_free(). */
typedef struct graph_io {
    const lg_graph *graph;
    float **inputs, **outputs;
} graph_io;

static inline void io_make(graph_io *io, const lg_graph *graph, int64_t batch, uint64_t seed)
{
    lg_rng rng;

    lg_rng_init(&rng, seed, 3);
    io->graph = graph;
    assert_ok(LG_CALLOC(&io->inputs, graph->n_inputs));
    assert_ok(LG_CALLOC(&io->outputs, graph->n_outputs));
    for (int32_t k = 0; k < graph->n_inputs; k++) {
        const int64_t n = batch * lg_value_elements(&graph->values[graph->inputs[k]]);
        assert_ok(LG_CALLOC(&io->inputs[k], n));
        for (int64_t i = 0; i < n; i++)
            io->inputs[k][i] = (float)(2.0 * lg_rng_uniform(&rng) - 1.0);
    }
    for (int32_t k = 0; k < graph->n_outputs; k++)
        assert_ok(LG_CALLOC(&io->outputs[k], batch * lg_value_elements(&graph->values[graph->outputs[k]])));
}

static inline void io_free(graph_io *io)
{
    for (int32_t k = 0; k < io->graph->n_inputs; k++)
        lg_free(io->inputs[k]);
    for (int32_t k = 0; k < io->graph->n_outputs; k++)
        lg_free(io->outputs[k]);
    lg_free(io->inputs);
    lg_free(io->outputs);
}

#endif
