/* Comparing the engines with the oracle, in every mode of planning. */
#ifndef LG_TESTS_ENGINES_H
#define LG_TESTS_ENGINES_H

#include "support/gold.h"

#include "engine/engine.h"

static const struct engine_mode {
    const char *name;
    lego_engine engine;
    int exact, autotune, n_threads;
} modes[] = {
    { "ref, exact", LEGO_ENGINE_REF, 1, 0, 1 },
    { "ref, fused", LEGO_ENGINE_REF, 0, 0, 1 },
    { "onednn, guessed", LEGO_ENGINE_ONEDNN, 0, 0, 1 },
    { "onednn, measured", LEGO_ENGINE_ONEDNN, 0, 1, 1 },
};
#define N_MODES (sizeof(modes) / sizeof(modes[0]))

/* Largest difference, relative to the largest value. */
static inline double error_of(const float *got, const double *expected, int64_t n)
{
    double worst = 0.0, largest = 1e-3;

    for (int64_t i = 0; i < n; i++) {
        const double difference = fabs(got[i] - expected[i]);
        if (isnan(difference))
            return INFINITY;
        worst = fmax(worst, difference);
        largest = fmax(largest, fabs(expected[i]));
    }
    return worst / largest;
}

static inline void check_mode(const lg_graph *graph, int batch, const struct engine_mode *mode, lg_packed_cache *cache,
                       graph_io *io, const gold *g, const char *what)
{
    lg_plan_options options = LG_PLAN_OPTIONS_INIT;
    lg_plan *plan;
    char *text;

    options.engine = mode->engine;
    options.batch = batch;
    options.exact = mode->exact;
    options.autotune = mode->autotune;
    options.n_threads = mode->n_threads;
    options.cache = cache;
    if (lg_plan_create(&plan, NULL, graph, &options) != LEGO_OK)
        fail_msg("%s, batch %d, %s: %s", what, batch, mode->name, lego_last_error());
    assert_ok(lg_plan_describe(&text, plan));
    if (mode->engine == LEGO_ENGINE_ONEDNN && strstr(text, "ref:"))
        fail_msg("%s uses an unoptimised kernel:\n%s", what, text);
    for (int run = 0; run < 2; run++) { /* the second finds what the first left in the arena */
        for (int32_t k = 0; k < graph->n_outputs; k++)
            io->outputs[k][0] = NAN;
        assert_ok(lg_plan_run(plan, (const float *const *)io->inputs, io->outputs));
        for (int32_t k = 0; k < graph->n_outputs; k++) {
            const double error =
                error_of(io->outputs[k], gold_output(g, k), gold_count(g, graph->outputs[k]));
            if (!(error <= 1e-5))
                fail_msg("%s, batch %d, %s, run %d, output %d: error %g\n%s", what, batch, mode->name, run, (int)k,
                         error, text);
        }
    }
    lg_free(text);
    lg_plan_free(plan);
}

/* Consumes the graph. */
static inline void check_graph(lg_graph *graph, uint64_t seed, lg_packed_cache *cache, const char *what)
{
    for (int batch = 1; batch <= 5; batch += 4) {
        graph_io io;
        gold g;
        io_make(&io, graph, batch, seed);
        gold_run(&g, graph, batch, (const float *const *)io.inputs);
        for (size_t i = 0; i < (batch == 1 ? N_MODES : N_MODES - 1); i++) /* measuring once is enough */
            check_mode(graph, batch, &modes[i], cache, &io, &g, what);
        gold_free(&g);
        io_free(&io);
    }
    lg_graph_free(graph);
}

/* --- every candidate, not only the fastest --- */

/* Costs that make a planner prefer what `favourite` names. */
static inline void prefer(lg_packed_cache *to, const lg_packed_cache *from, const char *favourite)
{
    lg_json *known, *changed, *works;

    assert_ok(lg_packed_cache_tuning_to_json(&known, from));
    assert_ok(lg_json_create_object(&changed));
    assert_ok(lg_json_set_string(changed, "schema", "legodnn.tuning/1"));
    assert_ok(lg_json_set_object(&works, changed, "costs_us"));
    const lg_json *costs;
    assert_ok(lg_json_get_object(&costs, known, "costs_us", "tuning"));
    lg_json_each(work, costs) {
        lg_json *candidates;
        assert_ok(lg_json_set_object(&candidates, works, lg_json_key(work)));
        lg_json_each(candidate, work) {
            const char *name = lg_json_key(candidate);
            double us = strstr(name, favourite) && !strstr(lg_json_key(work), "reorder") ? 1e-3 : 1e3;
            if (!lg_json_is_number(candidate))
                us = NAN; /* there is none: null */
            assert_ok(lg_json_set_double(candidates, name, us));
        }
    }
    assert_ok(lg_packed_cache_tuning_from_json(to, changed));
    lg_json_free(known);
    lg_json_free(changed);
}

/* Consumes the graph. */
static inline void check_candidates(lg_graph *graph, uint64_t seed, const char *what)
{
    static const char *const favourites[] = { "plain>plain", "nhwc>nhwc", "blocked>blocked", "plain>blocked",
                                              "winograd0",   "winograd1", "gemm0",           "merged" };
    const struct engine_mode measured = { "onednn, measured", LEGO_ENGINE_ONEDNN, 0, 1, 1 };
    lg_packed_cache *cache;
    graph_io io;
    gold g;

    io_make(&io, graph, 1, seed);
    gold_run(&g, graph, 1, (const float *const *)io.inputs);
    assert_ok(lg_packed_cache_create(&cache, NULL));
    check_mode(graph, 1, &measured, cache, &io, &g, what);
    for (size_t i = 0; i < sizeof(favourites) / sizeof(favourites[0]); i++) {
        const struct engine_mode mode = { favourites[i], LEGO_ENGINE_ONEDNN, 0, 0, 1 };
        lg_packed_cache *forced;
        assert_ok(lg_packed_cache_create(&forced, NULL));
        prefer(forced, cache, favourites[i]);
        check_mode(graph, 1, &mode, forced, &io, &g, what);
        lg_packed_cache_unref(forced);
    }
    lg_packed_cache_unref(cache);
    gold_free(&g);
    io_free(&io);
    lg_graph_free(graph);
}

#endif
