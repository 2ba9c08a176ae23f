/* What a graph computes as it is written: the reference engine, nothing folded; and inputs for it. */
#ifndef LG_TESTS_EXACT_H
#define LG_TESTS_EXACT_H

#include "support/support.h"

#include "base/rng.h"
#include "engine/engine.h"

/* Output 0 for n samples, an array an input; further outputs are computed, too, and dropped. */
static inline void run_exact_inputs(float *out, const lg_graph *graph, const float *const *inputs, int64_t n)
{
    lg_plan_options options = LG_PLAN_OPTIONS_INIT;
    lg_plan *plan;
    float **outputs;

    assert_ok(LG_CALLOC(&outputs, graph->n_outputs));
    outputs[0] = out;
    for (int32_t i = 1; i < graph->n_outputs; i++)
        assert_ok(LG_CALLOC(&outputs[i], n * lg_value_elements(&graph->values[graph->outputs[i]])));
    options.engine = LEGO_ENGINE_REF;
    options.batch = (int)n;
    options.n_threads = 1;
    options.exact = 1;
    assert_ok(lg_plan_create(&plan, NULL, graph, &options));
    assert_ok(lg_plan_run(plan, inputs, outputs));
    lg_plan_free(plan);
    for (int32_t i = 1; i < graph->n_outputs; i++)
        lg_free(outputs[i]);
    lg_free(outputs);
}

/* The same for n images of the one input. */
static inline void run_exact_into(float *out, const lg_graph *graph, const float *images, int64_t n)
{
    run_exact_inputs(out, graph, &images, n);
}

/* The same, into memory to be freed with lg_free(). */
static inline float *run_exact(const lg_graph *graph, const float *images, int64_t n)
{
    float *out;

    assert_ok(LG_CALLOC(&out, n * lg_value_elements(&graph->values[graph->outputs[0]])));
    run_exact_into(out, graph, images, n);
    return out;
}

/* n values of a normal distribution; free with lg_free(). */
static inline float *random_values(int64_t n, uint64_t seed)
{
    float *values;
    lg_rng rng;

    assert_ok(LG_CALLOC(&values, n));
    lg_rng_init(&rng, seed, 11);
    for (int64_t i = 0; i < n; i++)
        values[i] = (float)lg_rng_normal(&rng);
    return values;
}

#endif
