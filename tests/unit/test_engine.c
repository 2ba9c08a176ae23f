/* engine: every op and random graphs against a double-precision oracle, on the reference engine (as written and fused)
 * and on oneDNN (guessed and measured); exactness, memory, failures. */
#include "support/engines.h"

#include <pthread.h>

#include "engine/arena.h"

/* --- single ops of random shapes --- */

static int32_t random_conv(maker *m, int32_t x)
{
    static const int64_t widths[] = { 1, 3, 5, 8, 13, 16, 24, 45, 64 };
    const int64_t c = extent_of(m, x, 1), h = extent_of(m, x, 2), w = extent_of(m, x, 3);
    const int64_t kinds[] = { 1, c, common_divisor(m, c, c) };
    const int64_t groups = kinds[pick(m, 0, 2)];
    const int64_t out = groups == 1 ? widths[pick(m, 0, 8)] : groups * pick(m, 1, 3);
    const int64_t r = pick(m, 1, 4), s = pick(m, 1, 3);
    lg_attrs attrs = { .conv = { { pick(m, 1, 2), pick(m, 1, 3) },
                                 { r > 1 && h > 2 * r ? pick(m, 1, 2) : 1, s > 1 && w > 2 * s ? pick(m, 1, 2) : 1 },
                                 { pick(m, 0, r - 1), pick(m, 0, s - 1), pick(m, 0, r - 1), pick(m, 0, s - 1) },
                                 groups } };
    int32_t value, weights[2] = { LG_NONE, LG_NONE };
    char name[48];

    layer_name(m, name, "conv");
    weights[0] = make_weight(m, name, "weight", 4, (int64_t[]){ out, c / groups, r, s }, 0);
    if (pick(m, 0, 1))
        weights[1] = make_weight(m, name, "bias", 1, &out, 0);
    assert_ok(lg_graph_add_node(&value, m->graph, "conv2d", name, &attrs, 1, &x, 2, weights));
    return value;
}

static lg_attrs random_pool(maker *m, int allow_dilation)
{
    const int64_t kh = pick(m, 1, 3), kw = pick(m, 1, 3);
    const int64_t dilation = allow_dilation && pick(m, 0, 3) == 0 ? 2 : 1;

    return (lg_attrs){ .pool = { { kh, kw },
                                 { pick(m, 1, 2), pick(m, 1, 3) },
                                 { dilation, dilation },
                                 { pick(m, 0, kh / 2), pick(m, 0, kw / 2), pick(m, 0, kh / 2), pick(m, 0, kw / 2) },
                                 (int32_t)pick(m, 0, 1),
                                 (int32_t)pick(m, 0, 1) } };
}

static int32_t one_op(maker *m, int kind)
{
    static const int64_t widths[] = { 1, 3, 5, 8, 13, 16, 45, 48 };
    int32_t x = make_input(m, widths[pick(m, 0, 7)], pick(m, 6, 11), pick(m, 6, 11));
    lg_attrs attrs;

    switch (kind) {
    case 0:
        return random_conv(m, x);
    case 1: { /* a wide 3x3 stride 1: Winograd's case */
        const int64_t out = pick(m, 15, 40);
        return make_conv(m, make_conv(m, x, pick(m, 15, 40), 3, 1, 1, 1), out, 3, 1, 1, 1);
    }
    case 2:
        return make_linear(m, make_unary(m, x, "flatten", NULL), pick(m, 1, 20));
    case 3:
        return make_linear(m, x, pick(m, 1, 20)); /* over the last axis of (N,C,H,W) */
    case 4:
        return make_bn(m, x);
    case 5:
        return make_bn(m, make_unary(m, x, "flatten", NULL));
    case 6:
        return make_unary(m, x, "relu", NULL);
    case 7:
        attrs = (lg_attrs){ .clip = { -0.25, 0.5 } };
        return make_unary(m, x, "clip", &attrs);
    case 8:
        return make_unary(m, make_add(m, x, make_bn(m, x)), "relu", NULL);
    case 9:
        attrs = random_pool(m, 1);
        return make_unary(m, x, "max_pool", &attrs);
    case 10:
        attrs = random_pool(m, 0);
        return make_unary(m, x, "avg_pool", &attrs);
    case 11:
        attrs = (lg_attrs){ .adaptive_pool = { { pick(m, 1, 7), pick(m, 1, 7) } } };
        return make_unary(m, x, "adaptive_avg_pool", &attrs);
    case 12:
        attrs = (lg_attrs){ .flatten = { 2 } }; /* (N,C,H*W), then a linear layer and a batch norm over (N,C,K) */
        return make_bn(m, make_linear(m, make_unary(m, x, "flatten", &attrs), pick(m, 2, 9)));
    case 13:
        return make_add(m, x, x);
    default: /* dropout in a chain, and a view that is an output */
        x = make_unary(m, make_unary(m, make_conv(m, x, 6, 3, 1, 1, 1), "dropout", NULL), "dropout", NULL);
        return make_unary(m, make_unary(m, x, "relu", NULL), "flatten", NULL);
    }
}

static void test_engine__every_op_equals_the_oracle(void **state)
{
    lg_packed_cache *cache;

    assert_ok(lg_packed_cache_create(&cache, NULL));
    for (int kind = 0; kind < 15; kind++)
        for (uint64_t seed = 0; seed < (kind == 0 ? 20 : 4); seed++) {
            char what[64];
            maker m;
            maker_start(&m, seed * 100 + (uint64_t)kind);
            snprintf(what, sizeof(what), "op %d, seed %d", kind, (int)seed);
            check_graph(maker_finish(&m, one_op(&m, kind)), seed, cache, what);
        }
    lg_packed_cache_unref(cache);
}

static void test_engine__random_graphs_equal_the_oracle(void **state)
{
    lg_packed_cache *cache;

    assert_ok(lg_packed_cache_create(&cache, NULL));
    for (uint64_t seed = 0; seed < 30; seed++) {
        char what[64];
        snprintf(what, sizeof(what), "random graph %d", (int)seed);
        check_graph(make_random_graph(seed), seed, cache, what);
    }
    lg_packed_cache_unref(cache);
}

/* The thread count is set for the run and given back. */
static void test_engine__two_threads_equal_the_oracle(void **state)
{
    const struct engine_mode mode = { "onednn, 2 threads", LEGO_ENGINE_ONEDNN, 0, 0, 2 };

    for (uint64_t seed = 0; seed < 8; seed++) {
        lg_graph *graph = seed % 2 ? make_wide_graph(seed) : make_random_graph(seed);
        char what[64];
        graph_io io;
        gold g;
        snprintf(what, sizeof(what), "graph %d", (int)seed);
        io_make(&io, graph, 2, seed);
        gold_run(&g, graph, 2, (const float *const *)io.inputs);
        check_mode(graph, 2, &mode, NULL, &io, &g, what);
        gold_free(&g);
        io_free(&io);
        lg_graph_free(graph);
    }
}

/* --- every candidate, not only the fastest --- */

static void test_engine__every_candidate_equals_the_oracle(void **state)
{
    for (int kind = 0; kind < 15; kind++)
        for (uint64_t seed = 0; seed < (kind == 0 ? 20 : 5); seed++) {
            char what[64];
            maker m;
            maker_start(&m, seed * 100 + (uint64_t)kind);
            snprintf(what, sizeof(what), "op %d, seed %d", kind, (int)seed);
            check_candidates(maker_finish(&m, one_op(&m, kind)), seed, what);
        }
    for (uint64_t seed = 200; seed < 215; seed++) {
        char what[64];
        snprintf(what, sizeof(what), "random graph %d", (int)seed);
        check_candidates(make_random_graph(seed), seed, what);
    }
}

/* --- residual sums: who may be overwritten --- */

static void test_engine__residual_is_copied_where_it_is_still_needed(void **state)
{
    for (int kind = 0; kind < 6; kind++) {
        maker m;
        char what[64];
        maker_start(&m, (uint64_t)kind);
        const int32_t input = make_input(&m, 16, 8, 8);
        const int32_t x = kind == 0 ? input : make_unary(&m, make_conv(&m, input, 16, 3, 1, 1, 1), "relu", NULL);
        int32_t y;
        if (kind <= 1) { /* the step's own input: the caller's memory, then ours */
            y = make_add(&m, make_conv(&m, x, 16, 3, 1, 1, 1), x);
        } else if (kind == 2) { /* read again later */
            y = make_add(&m, make_conv(&m, make_conv(&m, x, 16, 1, 1, 1, 1), 16, 3, 1, 1, 1), x);
            y = make_add(&m, make_conv(&m, y, 16, 1, 1, 1, 1), x);
        } else if (kind == 3) { /* a graph output */
            y = make_add(&m, x, make_conv(&m, make_conv(&m, x, 16, 1, 1, 1, 1), 16, 3, 1, 1, 1));
            assert_ok(lg_graph_add_output(m.graph, x));
        } else if (kind == 4) { /* of two inputs of an addition, one lives on */
            const int32_t a = make_unary(&m, x, "relu", NULL), b = make_bn(&m, x);
            y = make_add(&m, make_add(&m, a, b), a);
        } else { /* the sum itself is read twice */
            y = make_add(&m, make_conv(&m, x, 16, 3, 1, 1, 1), make_conv(&m, x, 16, 1, 1, 1, 1));
            y = make_add(&m, make_unary(&m, y, "relu", NULL), make_conv(&m, y, 16, 3, 1, 1, 1));
        }
        snprintf(what, sizeof(what), "residual %d", kind);
        check_graph(maker_finish(&m, y), (uint64_t)kind, NULL, what);
    }
}

/* --- exactness --- */

static void run_exact(const lg_graph *graph, int batch, const float *const *inputs, float *const *outputs)
{
    lg_plan_options options = LG_PLAN_OPTIONS_INIT;
    lg_plan *plan;

    options.exact = 1;
    options.batch = batch;
    assert_ok(lg_plan_create(&plan, NULL, graph, &options));
    assert_string_equal(lg_plan_engine(plan), "ref");
    assert_ok(lg_plan_run(plan, inputs, outputs));
    lg_plan_free(plan);
}

/* Cutting a graph in two and running the halves changes no bit. */
static void test_engine__exact_halves_equal_the_whole_bit_for_bit(void **state)
{
    for (uint64_t seed = 100; seed < 200; seed++) {
        lg_graph *graph = seed % 2 ? make_wide_graph(seed) : make_random_graph(seed), *first, *second;
        uint8_t *in_set;
        int32_t *first_out, *second_in;
        graph_io io, one, two;
        const int batch = 2;

        assert_ok(LG_CALLOC(&in_set, graph->n_nodes));
        for (int32_t i = 0; i < graph->n_nodes / 2; i++)
            in_set[i] = 1;
        assert_ok(lg_graph_subgraph(&first, graph, in_set, NULL, &first_out));
        for (int32_t i = 0; i < graph->n_nodes; i++)
            in_set[i] = !in_set[i];
        assert_ok(lg_graph_subgraph(&second, graph, in_set, &second_in, NULL));
        io_make(&io, graph, batch, seed);
        io_make(&one, first, batch, seed);
        io_make(&two, second, batch, seed);
        run_exact(graph, batch, (const float *const *)io.inputs, io.outputs);
        run_exact(first, batch, (const float *const *)io.inputs, one.outputs);
        for (int32_t k = 0; k < second->n_inputs; k++)
            for (int32_t i = 0; i < first->n_outputs; i++)
                if (first_out[i] == second_in[k])
                    memcpy(two.inputs[k], one.outputs[i],
                           (size_t)(batch * lg_value_elements(&graph->values[second_in[k]])) * sizeof(float));
        run_exact(second, batch, (const float *const *)two.inputs, two.outputs);
        assert_memory_equal(two.outputs[0], io.outputs[0],
                            (size_t)(batch * lg_value_elements(&graph->values[graph->outputs[0]])) * sizeof(float));
        io_free(&io);
        io_free(&one);
        io_free(&two);
        lg_free(in_set);
        lg_free(first_out);
        lg_free(second_in);
        lg_graph_free(first);
        lg_graph_free(second);
        lg_graph_free(graph);
    }
}

/* --- memory --- */

static lego_status plan_graph(lg_plan **out, const lg_graph *graph, lego_engine engine, lg_packed_cache *cache)
{
    lg_plan_options options = LG_PLAN_OPTIONS_INIT;

    options.engine = engine;
    options.batch = 3;
    options.n_threads = 1;
    options.cache = cache;
    return lg_plan_create(out, NULL, graph, &options);
}

static void test_engine__running_allocates_nothing(void **state)
{
    for (int engine = LEGO_ENGINE_REF; engine <= LEGO_ENGINE_ONEDNN; engine++) {
        lg_graph *graph = make_random_graph(7);
        uint64_t ns[1];
        graph_io io;
        lg_plan *plan;
        io_make(&io, graph, 3, 7);
        assert_ok(plan_graph(&plan, graph, (lego_engine)engine, NULL));
        lg_alloc_fail_after(0);
        const lego_status status = lg_plan_run(plan, (const float *const *)io.inputs, io.outputs);
        const lego_status timed = lg_plan_run_timed(plan, (const float *const *)io.inputs, io.outputs, ns, 0);
        assert_int_equal(lg_alloc_fail_after(-1), 0);
        assert_int_equal(status, LEGO_OK);
        assert_int_equal(timed, LEGO_OK);
        assert_true(ns[0] > 0);
        lg_plan_free(plan);
        io_free(&io);
        lg_graph_free(graph);
    }
}

static void test_engine__planning_survives_out_of_memory(void **state)
{
    lg_graph *graph = make_random_graph(11);

    for (int engine = LEGO_ENGINE_REF; engine <= LEGO_ENGINE_ONEDNN; engine++) {
        lg_plan *plan;
        assert_survives_oom(plan_graph(&plan, graph, (lego_engine)engine, NULL), lg_plan_free(plan));
    }
    lg_graph_free(graph);
}

/* The graph may go once it is planned. */
static void test_engine__plan_outlives_its_graph(void **state)
{
    for (uint64_t seed = 0; seed < 40; seed++) {
        lg_graph *graph = seed % 4 < 2 ? make_wide_graph(seed) : make_random_graph(seed);
        lg_graph *again = seed % 4 < 2 ? make_wide_graph(seed) : make_random_graph(seed);
        graph_io io;
        lg_plan *plan;
        gold g;
        io_make(&io, again, 3, seed);
        assert_ok(plan_graph(&plan, graph, seed % 2 ? LEGO_ENGINE_REF : LEGO_ENGINE_ONEDNN, NULL));
        lg_graph_free(graph);
        assert_ok(lg_plan_run(plan, (const float *const *)io.inputs, io.outputs));
        gold_run(&g, again, 3, (const float *const *)io.inputs);
        assert_true(error_of(io.outputs[0], gold_output(&g, 0), gold_count(&g, again->outputs[0])) < 1e-5);
        gold_free(&g);
        io_free(&io);
        lg_plan_free(plan);
        lg_graph_free(again);
    }
}

/* --- the cache --- */

static void test_engine__second_plan_packs_nothing_and_trim_frees(void **state)
{
    for (int engine = LEGO_ENGINE_REF; engine <= LEGO_ENGINE_ONEDNN; engine++) {
        lg_graph *graph = make_random_graph(13);
        lg_packed_cache *cache;
        lg_plan *first, *second;
        size_t packed;

        assert_ok(lg_packed_cache_create(&cache, NULL));
        assert_ok(plan_graph(&first, graph, (lego_engine)engine, cache));
        packed = lg_packed_cache_bytes(cache);
        assert_true(packed > 0);
        assert_int_equal(packed, lg_plan_weight_bytes(first));
        assert_ok(plan_graph(&second, graph, (lego_engine)engine, cache));
        assert_int_equal(lg_packed_cache_bytes(cache), packed);
        lg_plan_free(first);
        lg_packed_cache_trim(cache);
        assert_int_equal(lg_packed_cache_bytes(cache), packed); /* the second plan uses them */
        lg_plan_free(second);
        lg_packed_cache_trim(cache);
        assert_int_equal(lg_packed_cache_bytes(cache), 0);
        lg_packed_cache_unref(cache);
        lg_graph_free(graph);
    }
}

static char *describe_with(const lg_graph *graph, lg_packed_cache *cache, int autotune)
{
    lg_plan_options options = LG_PLAN_OPTIONS_INIT;
    lg_plan *plan;
    char *text;

    options.autotune = autotune;
    options.n_threads = 1;
    options.cache = cache;
    assert_ok(lg_plan_create(&plan, NULL, graph, &options));
    assert_ok(lg_plan_describe(&text, plan));
    lg_plan_free(plan);
    return text;
}

static void test_engine__tuning_survives_a_round_trip(void **state)
{
    lg_graph *graph = make_random_graph(21);
    lg_packed_cache *measured, *loaded;
    lg_json *json;
    char *text, *first, *second;

    assert_ok(lg_packed_cache_create(&measured, NULL));
    assert_ok(lg_packed_cache_create(&loaded, NULL));
    first = describe_with(graph, measured, 1);
    assert_ok(lg_packed_cache_tuning_to_json(&json, measured));
    assert_ok(lg_json_print(&text, json, 0));
    lg_json_free(json);
    assert_ok(lg_json_parse(&json, text, strlen(text), "tuning"));
    assert_ok(lg_packed_cache_tuning_from_json(loaded, json));
    second = describe_with(graph, loaded, 0); /* measures nothing: knows everything */
    assert_string_equal(first, second);
    lg_free(first);
    lg_free(second);
    lg_free(text);
    lg_json_free(json);
    lg_packed_cache_unref(measured);
    lg_packed_cache_unref(loaded);
    lg_graph_free(graph);
}

static void test_engine__damaged_tuning_is_refused(void **state)
{
    static const char *const texts[] = {
        "{\"schema\":\"legodnn.tuning/2\",\"costs_us\":{}}", "{\"schema\":\"legodnn.tuning/1\"}",
        "{\"schema\":\"legodnn.tuning/1\",\"costs_us\":[1]}", "{\"schema\":\"legodnn.tuning/1\",\"costs_us\":{\"a\":1}}",
        "{\"schema\":\"legodnn.tuning/1\",\"costs_us\":{\"a\":{\"b\":-1}}}", "[]"
    };
    lg_packed_cache *cache;

    assert_ok(lg_packed_cache_create(&cache, NULL));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        lg_json *json;
        assert_ok(lg_json_parse(&json, texts[i], strlen(texts[i]), "tuning"));
        assert_fails(LEGO_EFORMAT, lg_packed_cache_tuning_from_json(cache, json));
        lg_json_free(json);
    }
    lg_packed_cache_unref(cache);
}

/* --- several threads, one cache --- */

typedef struct worker {
    const lg_graph *graph;
    lg_packed_cache *cache;
    lego_engine engine;
    float *output;
    lego_status status;
} worker;

static lego_status plan_and_run(worker *w)
{
    graph_io io;
    lego_status status = LEGO_OK;

    io_make(&io, w->graph, 3, 5);
    for (int i = 0; i < 4 && status == LEGO_OK; i++) {
        lg_plan *plan = NULL;
        status = plan_graph(&plan, w->graph, w->engine, w->cache);
        for (int run = 0; run < 3 && status == LEGO_OK; run++)
            status = lg_plan_run(plan, (const float *const *)io.inputs, io.outputs);
        lg_plan_free(plan);
    }
    memcpy(w->output, io.outputs[0],
           (size_t)(3 * lg_value_elements(&w->graph->values[w->graph->outputs[0]])) * sizeof(float));
    io_free(&io);
    return status;
}

static void *work(void *payload)
{
    worker *w = payload;

    w->status = plan_and_run(w);
    return NULL;
}

static void test_engine__plans_run_at_once_on_one_cache(void **state)
{
    lg_graph *graph = make_random_graph(31);
    const int64_t n = 3 * lg_value_elements(&graph->values[graph->outputs[0]]);
    pthread_t threads[4];
    worker workers[4];
    lg_packed_cache *cache;

    for (int engine = LEGO_ENGINE_REF; engine <= LEGO_ENGINE_ONEDNN; engine++) {
        assert_ok(lg_packed_cache_create(&cache, NULL));
        for (int i = 0; i < 4; i++) {
            workers[i] = (worker){ graph, cache, (lego_engine)engine, NULL, LEGO_EINVAL };
            assert_ok(LG_CALLOC(&workers[i].output, n));
            assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
        }
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(workers[i].status, LEGO_OK);
            assert_memory_equal(workers[i].output, workers[0].output, (size_t)n * sizeof(float));
        }
        for (int i = 0; i < 4; i++)
            lg_free(workers[i].output);
        lg_packed_cache_unref(cache);
    }
    lg_graph_free(graph);
}

/* --- time by block --- */

static void test_engine__timed_runs_share_time_out_to_blocks(void **state)
{
    uint64_t ns[3];
    graph_io io;
    lg_plan *plan;
    maker m;

    maker_start(&m, 1);
    int32_t x = make_conv(&m, make_input(&m, 3, 32, 32), 16, 3, 1, 1, 1);
    x = make_conv(&m, x, 64, 3, 1, 1, 1);
    lg_graph *graph = maker_finish(&m, make_conv(&m, x, 8, 3, 1, 1, 1));
    graph->nodes[1].block = 1;
    for (int engine = LEGO_ENGINE_REF; engine <= LEGO_ENGINE_ONEDNN; engine++) {
        io_make(&io, graph, 3, 1);
        assert_ok(plan_graph(&plan, graph, (lego_engine)engine, NULL));
        assert_ok(lg_plan_run_timed(plan, (const float *const *)io.inputs, io.outputs, ns, 2));
        assert_int_equal(ns[0], 0); /* nothing is in block 0 */
        assert_true(ns[1] > 0 && ns[2] > 0);
        lg_plan_free(plan);
        io_free(&io);
    }
    lg_graph_free(graph);
}

/* --- refusals --- */

static void test_engine__bad_requests_are_named(void **state)
{
    lg_graph *graph = make_random_graph(3);
    lg_plan_options options = LG_PLAN_OPTIONS_INIT;
    lg_plan *plan;

    options.batch = 0;
    assert_fails(LEGO_EINVAL, lg_plan_create(&plan, NULL, graph, &options));
    assert_says("batch 0");
    assert_null(plan);
    options.batch = 1;
    options.n_threads = -1;
    assert_fails(LEGO_EINVAL, lg_plan_create(&plan, NULL, graph, &options));
    options.n_threads = 0;
    options.exact = 1;
    options.engine = LEGO_ENGINE_ONEDNN;
    assert_fails(LEGO_EINVAL, lg_plan_create(&plan, NULL, graph, &options));
    options.exact = 0;
    options.engine = (lego_engine)9;
    assert_fails(LEGO_EINVAL, lg_plan_create(&plan, NULL, graph, &options));
    lg_graph_free(graph);
}

/* --- the arena --- */

static void test_engine__arena_never_overlaps_what_lives_together(void **state)
{
    lg_rng rng;

    lg_rng_init(&rng, 1, 1);
    for (int round = 0; round < 200; round++) {
        const size_t n = 1 + (size_t)lg_rng_below(&rng, 40);
        lg_arena_request requests[40];
        size_t bytes, at_once = 0;
        for (size_t i = 0; i < n; i++) {
            const int32_t first = (int32_t)lg_rng_below(&rng, 20);
            requests[i] = (lg_arena_request){ (size_t)lg_rng_below(&rng, 1000), first,
                                              first + (int32_t)lg_rng_below(&rng, 6), 0 };
        }
        assert_ok(lg_arena_plan(&bytes, requests, n));
        for (int32_t t = 0; t < 26; t++) {
            size_t sum = 0;
            for (size_t i = 0; i < n; i++)
                sum += requests[i].first <= t && t <= requests[i].last ? requests[i].bytes : 0;
            at_once = sum > at_once ? sum : at_once;
        }
        assert_true(bytes >= at_once && bytes <= 2 * at_once + 40 * LG_ARENA_ALIGN);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(requests[i].offset % LG_ARENA_ALIGN, 0);
            assert_true(requests[i].offset + requests[i].bytes <= bytes);
            for (size_t k = 0; k < i; k++)
                if (requests[i].first <= requests[k].last && requests[k].first <= requests[i].last)
                    assert_true(requests[i].offset + requests[i].bytes <= requests[k].offset ||
                                requests[k].offset + requests[k].bytes <= requests[i].offset);
        }
    }
}

/* --- the public session --- */

static void test_engine__session_runs_a_model(void **state)
{
    lg_graph *graph = make_random_graph(41);
    lego_session_options options = LEGO_SESSION_OPTIONS_INIT;
    lego_session *session;
    size_t weight_bytes, activation_bytes;
    lego_model *model;
    graph_io io;
    char *text;
    gold g;

    io_make(&io, graph, 2, 41);
    gold_run(&g, graph, 2, (const float *const *)io.inputs);
    assert_ok(lg_model_from_graph(&model, graph));
    options.batch = 2;
    assert_ok(lego_session_create(&session, NULL, model, &options));
    assert_ok(lego_session_run(session, (const float *const *)io.inputs, io.outputs));
    assert_true(error_of(io.outputs[0], gold_output(&g, 0), gold_count(&g, graph->outputs[0])) < 1e-5);
    assert_ok(lego_session_describe(&text, session));
    assert_non_null(strstr(text, graph->nodes[0].name)); /* a convolution: nothing absorbs it */
    lego_string_free(text);
    assert_non_null(strstr(lego_session_engine(session), "onednn"));
    lego_session_memory(session, &weight_bytes, NULL);
    lego_session_memory(session, NULL, &activation_bytes);
    assert_true(weight_bytes > 0 && activation_bytes > 0);
    assert_fails(LEGO_EINVAL, lego_session_run(session, NULL, io.outputs));
    assert_fails(LEGO_EINVAL, lego_session_create(NULL, NULL, model, NULL));
    assert_fails(LEGO_EINVAL, lego_session_run(NULL, (const float *const *)io.inputs, io.outputs));
    lego_session_free(session);
    lego_session_free(NULL);
    gold_free(&g);
    io_free(&io);
    lego_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engine__every_op_equals_the_oracle),
        cmocka_unit_test(test_engine__random_graphs_equal_the_oracle),
        cmocka_unit_test(test_engine__every_candidate_equals_the_oracle),
        cmocka_unit_test(test_engine__two_threads_equal_the_oracle),
        cmocka_unit_test(test_engine__residual_is_copied_where_it_is_still_needed),
        cmocka_unit_test(test_engine__exact_halves_equal_the_whole_bit_for_bit),
        cmocka_unit_test(test_engine__running_allocates_nothing),
        cmocka_unit_test(test_engine__planning_survives_out_of_memory),
        cmocka_unit_test(test_engine__plan_outlives_its_graph),
        cmocka_unit_test(test_engine__second_plan_packs_nothing_and_trim_frees),
        cmocka_unit_test(test_engine__tuning_survives_a_round_trip),
        cmocka_unit_test(test_engine__damaged_tuning_is_refused),
        cmocka_unit_test(test_engine__plans_run_at_once_on_one_cache),
        cmocka_unit_test(test_engine__timed_runs_share_time_out_to_blocks),
        cmocka_unit_test(test_engine__bad_requests_are_named),
        cmocka_unit_test(test_engine__arena_never_overlaps_what_lives_together),
        cmocka_unit_test(test_engine__session_runs_a_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
