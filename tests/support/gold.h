/* The engines' oracle: a graph evaluated in double precision (eval.h) for random inputs, and what engines make of them. */
#ifndef LG_TESTS_GOLD_H
#define LG_TESTS_GOLD_H

#include "support/eval.h"
#include "support/graphs.h"

typedef struct gold {
    const lg_graph *graph;
    int64_t batch;
    eval_value *values;
} gold;

static inline int64_t gold_count(const gold *g, int32_t value)
{
    return g->batch * lg_value_elements(&g->graph->values[value]);
}

/* Evaluate every value for the inputs, one array of floats a graph input. */
static inline void gold_run(gold *g, const lg_graph *graph, int64_t batch, const float *const *inputs)
{
    double **doubles;

    g->graph = graph;
    g->batch = batch;
    assert_ok(LG_CALLOC(&doubles, graph->n_inputs));
    for (int32_t k = 0; k < graph->n_inputs; k++) {
        assert_ok(LG_CALLOC(&doubles[k], gold_count(g, graph->inputs[k])));
        for (int64_t i = 0; i < gold_count(g, graph->inputs[k]); i++)
            doubles[k][i] = inputs[k][i];
    }
    g->values = eval_graph_of(graph, (const double *const *)doubles, batch);
    for (int32_t k = 0; k < graph->n_inputs; k++)
        lg_free(doubles[k]);
    lg_free(doubles);
}

static inline void gold_free(gold *g)
{
    eval_free(g->values, g->graph);
}

/* Of graph output k. */
static inline const double *gold_output(const gold *g, int32_t k)
{
    return g->values[g->graph->outputs[k]].data;
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
