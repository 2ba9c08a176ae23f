/* What a model written as ONNX and read again must still be. */
#ifndef LG_TESTS_ROUNDTRIP_H
#define LG_TESTS_ROUNDTRIP_H

#include "support/eval.h"
#include "support/graphs.h"

#include "legodnn/export.h"
#include "legodnn/import.h"

#define BATCH 2
#define MAX_INPUTS 4

/* Inputs of a graph, random; the same for the same seed. */
static inline void make_inputs(double *inputs[MAX_INPUTS], const lg_graph *graph, uint64_t seed)
{
    lg_rng rng;

    assert_true(graph->n_inputs <= MAX_INPUTS);
    lg_rng_init(&rng, seed, 5);
    for (int32_t i = 0; i < graph->n_inputs; i++) {
        const int64_t n = BATCH * lg_value_elements(&graph->values[graph->inputs[i]]);

        assert_ok(LG_CALLOC(&inputs[i], n));
        for (int64_t k = 0; k < n; k++) /* as floats hold them: other programs read the same */
            inputs[i][k] = (double)(float)lg_rng_normal(&rng);
    }
}

static inline void free_inputs(double *inputs[MAX_INPUTS], const lg_graph *graph)
{
    for (int32_t i = 0; i < graph->n_inputs; i++)
        lg_free(inputs[i]);
}

/* Both graphs compute the same, evaluated in double precision; weights that were calculated with are rounded to float. */
static inline void assert_same_outputs(const lg_graph *a, const lg_graph *b, uint64_t seed, const char *what)
{
    double *inputs[MAX_INPUTS];
    eval_value *left, *right;

    make_inputs(inputs, a, seed);
    left = eval_graph_of(a, (const double *const *)inputs, BATCH);
    right = eval_graph_of(b, (const double *const *)inputs, BATCH);
    assert_int_equal(a->n_outputs, b->n_outputs);
    for (int32_t i = 0; i < a->n_outputs; i++) {
        const eval_value *x = &left[a->outputs[i]], *y = &right[b->outputs[i]];

        if (!lg_shape_equal(&x->shape, &y->shape))
            fail_msg("%s: output %d changed its shape", what, i);
        for (int64_t k = 0; k < eval_count(&x->shape); k++)
            if (!(fabs(x->data[k] - y->data[k]) <= 1e-5 + 1e-5 * fabs(x->data[k])))
                fail_msg("%s: output %d[%lld] was %.9g, is %.9g", what, i, (long long)k, x->data[k], y->data[k]);
    }
    eval_free(left, a);
    eval_free(right, b);
    free_inputs(inputs, a);
}

/* Names, ops, attributes, connections, and every bit of the weights. */
static inline void assert_same_structure(const lg_graph *a, const lg_graph *b, const char *what)
{
    lg_json *json[2];
    char *text[2];

    assert_ok(lg_graph_to_json(&json[0], a));
    assert_ok(lg_graph_to_json(&json[1], b));
    assert_ok(lg_json_print(&text[0], json[0], 0));
    assert_ok(lg_json_print(&text[1], json[1], 0));
    if (strcmp(text[0], text[1]) != 0)
        fail_msg("%s: the second round changed the graph:\n%s\n%s", what, text[0], text[1]);
    for (int32_t w = 0; w < a->n_weights; w++)
        assert_memory_equal(lg_tensor_data(&a->weights[w].tensor), lg_tensor_data(&b->weights[w].tensor),
                            lg_tensor_bytes(&a->weights[w].tensor));
    for (int i = 0; i < 2; i++) {
        lg_free(text[i]);
        lg_json_free(json[i]);
    }
}

/* Written and read: the same outputs. Written and read again: the same graph. `graph` is the caller's. */
static inline void assert_fixpoint(void **state, lg_graph *graph, const lego_export_options *options, uint64_t seed,
                                   const char *what)
{
    const lego_model model = { graph };
    lego_model *first, *second;

    assert_ok(lego_model_export(&model, in_folder(state, "first.onnx"), options));
    assert_ok(lego_model_import(&first, NULL, in_folder(state, "first.onnx"), NULL));
    assert_same_outputs(graph, first->graph, seed, what);
    assert_ok(lego_model_export(first, in_folder(state, "second.onnx"), options));
    assert_ok(lego_model_import(&second, NULL, in_folder(state, "second.onnx"), NULL));
    assert_same_structure(first->graph, second->graph, what);
    lego_model_free(first);
    lego_model_free(second);
}

#endif
