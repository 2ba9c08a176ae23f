/* engine: the ops beyond convolution networks, each alone with random attributes and whole random graphs of them, on both
 * engines against the double-precision oracle; pruned graphs; memory. The classic ops are in test_engine.c. */
#include "support/engines.h"

#include "engine/cache.h"
#include "engine/plain.h"

/* --- single ops of random shapes and attributes --- */

static int32_t add_unary(maker *m, int32_t x, const char *op, lg_attrs attrs)
{
    return make_unary(m, x, op, &attrs);
}

static int32_t random_transpose(maker *m, int32_t x)
{
    const int64_t c = extent_of(m, x, 1), choices[] = { 1, c, common_divisor(m, c, c) };
    const int64_t groups = choices[pick(m, 0, 2)], per_group = groups == 1 ? pick(m, 1, 20) : pick(m, 1, 3);
    const int64_t n_out = per_group * groups, r = pick(m, 1, 4), s = pick(m, 1, 3);
    const int64_t dilation = pick(m, 0, 3) ? 1 : 2, stride[2] = { pick(m, 1, 3), pick(m, 1, 2) };
    const int64_t top = pick(m, 0, r - 1), left = pick(m, 0, s - 1);
    const lg_attrs attrs = { .conv_transpose = { { stride[0], stride[1] },
                                                 { dilation, dilation },
                                                 { top, left, pick(m, 0, r - 1 - top), pick(m, 0, s - 1 - left) },
                                                 { pick(m, 0, stride[0] - 1), pick(m, 0, stride[1] - 1) },
                                                 groups } };
    char name[48];
    int32_t value, weights[2] = { LG_NONE, LG_NONE };

    layer_name(m, name, "deconv");
    weights[0] = make_weight(m, name, "weight", 4, (int64_t[]){ c, per_group, r, s }, 0);
    if (pick(m, 0, 1))
        weights[1] = make_weight(m, name, "bias", 1, &n_out, 0);
    assert_ok(lg_graph_add_node(&value, m->graph, "conv_transpose2d", name, &attrs, 1, &x, 2, weights));
    return value;
}

/* (N,C,H,W) as 2 to 5 dimensions. */
static int32_t reshaped(maker *m, int32_t x, int n_dims)
{
    const int64_t c = extent_of(m, x, 1), h = extent_of(m, x, 2), w = extent_of(m, x, 3);
    const int64_t d = common_divisor(m, c, c);

    switch (n_dims) {
    case 2:
        return make_reshape(m, x, 1, (int64_t[]){ -1 });
    case 3:
        return make_reshape(m, x, 2, (int64_t[]){ c, h * w });
    case 5:
        return make_reshape(m, x, 4, (int64_t[]){ d, c / d, h, w });
    default:
        return x;
    }
}

static int32_t random_broadcast(maker *m, int32_t x, const char *op)
{
    const int n_dims = (int)pick(m, 2, 5);
    int64_t dims[LEGO_MAX_DIMS];
    int32_t other;

    x = reshaped(m, x, n_dims);
    for (int i = 1; i < n_dims; i++)
        dims[i - 1] = pick(m, 0, 1) ? extent_of(m, x, i) : 1;
    other = make_constant(m, n_dims - 1, dims);
    if (strcmp(op, "div") == 0) /* by something away from zero */
        other = add_unary(m, add_unary(m, other, "clip", (lg_attrs){ .clip = { 0.0, 1.0 } }), "hard_sigmoid",
                          (lg_attrs){ .hard_sigmoid = { 0.2, 0.5 } });
    else if (pick(m, 0, 1))
        return make_binary(m, op, other, x);
    return make_binary(m, op, x, other);
}

static int32_t random_mean(maker *m, int32_t x)
{
    const int n_dims = (int)pick(m, 2, 5);
    lg_attrs attrs = { .mean = { { 0, { 0 } }, (int32_t)pick(m, 0, 1) } };

    x = reshaped(m, x, n_dims);
    for (int axis = 1; axis < n_dims; axis++)
        if (pick(m, 0, 1) || (axis == n_dims - 1 && attrs.mean.axes.n == 0))
            attrs.mean.axes.dims[attrs.mean.axes.n++] = axis;
    return make_unary(m, x, "mean", &attrs);
}

static int32_t random_permute(maker *m, int32_t x)
{
    const int n_dims = (int)pick(m, 3, 5);
    int64_t order[LEGO_MAX_DIMS];

    x = reshaped(m, x, n_dims);
    for (int i = 0; i < n_dims - 1; i++)
        order[i] = i + 1;
    lg_rng_shuffle(&m->rng, order, n_dims - 1);
    return make_permute(m, x, n_dims - 1, order);
}

static int32_t random_cut(maker *m, int32_t x)
{
    const int axis = (int)pick(m, 1, 3);
    const int64_t n = extent_of(m, x, axis), first = pick(m, 0, n - 1), end = pick(m, first + 1, n);
    const int64_t run = n >= 3 ? pick(m, 1, n - 2) : 1;
    const int64_t step = pick(m, 0, 1) ? 1 : pick(m, -3, 3);
    lg_attrs split = { .split = { axis, { 3, { run, 1, n - run - 1 } } } };
    int32_t parts;

    if (pick(m, 0, 1) || n < 3)
        return add_unary(m, x, "slice", step < 0 ? (lg_attrs){ .slice = { axis, end - 1, first - 1, step } }
                                                 : (lg_attrs){ .slice = { axis, first, end, step ? step : 1 } });
    parts = make_unary(m, x, "split", &split);
    return make_binary(m, "mul", add_unary(m, parts, "mean", (lg_attrs){ .mean = { { 1, { axis } }, 1 } }),
                       add_unary(m, parts + 2, "mean", (lg_attrs){ .mean = { { 1, { axis } }, 1 } }));
}

/* Two to four parts along any axis; one of them twice. */
static int32_t random_concat(maker *m, int32_t x)
{
    const int axis = (int)pick(m, 1, 3);
    const lg_attrs attrs = { .axis = { axis } };
    const int64_t c = extent_of(m, x, 1);
    int32_t value, parts[4] = { x, make_unary(m, x, "tanh", NULL), x, x };
    char name[48];

    if (axis == 1) {
        parts[1] = make_conv(m, x, pick(m, 1, 20), 1, 1, 1, 1);
        parts[2] = make_conv(m, x, 16 * pick(m, 1, 2), 1, 1, 1, 1);
    } else if (pick(m, 0, 1)) {
        parts[2] = make_conv(m, x, c, 3, 1, 1, 1);
    }
    layer_name(m, name, "concat");
    assert_ok(lg_graph_add_node(&value, m->graph, "concat", name, &attrs, (int)pick(m, 2, 4), parts, 0, NULL));
    return value;
}

static int32_t random_norm(maker *m, int32_t x)
{
    const int n_dims = (int)pick(m, 3, 4);
    const int64_t c = extent_of(m, x, 1);
    lg_attrs attrs;
    int axis;

    x = reshaped(m, x, n_dims);
    if (pick(m, 0, 1)) {
        const int64_t groups[] = { 1, c, common_divisor(m, c, c) };
        attrs = (lg_attrs){ .group_norm = { groups[pick(m, 0, 2)], 1e-3 } };
        return pick(m, 0, 1) ? make_affine(m, x, "group_norm", &attrs, 1, &c)
                             : add_unary(m, x, "relu", (lg_attrs){ .gelu = { 0 } });
    }
    axis = (int)pick(m, 1, n_dims - 1);
    attrs = (lg_attrs){ .layer_norm = { axis, 1e-3 } };
    return make_affine(m, x, "layer_norm", &attrs, n_dims - axis, &m->graph->values[x].shape.dims[axis]);
}

static int32_t random_matmul(maker *m, int32_t x)
{
    const int64_t c = extent_of(m, x, 1), n = extent_of(m, x, 2) * extent_of(m, x, 3);
    const int32_t flat = make_reshape(m, x, 2, (int64_t[]){ c, n });
    const int32_t turned = make_permute(m, flat, 2, (int64_t[]){ 2, 1 });

    if (pick(m, 0, 1))
        return make_binary(m, "matmul", flat, turned);
    return make_binary(m, "matmul", make_reshape(m, turned, 3, (int64_t[]){ 1, n, c }),
                       make_reshape(m, flat, 3, (int64_t[]){ 1, c, n }));
}

/* x * sigmoid(x) and its like, and a channel shuffle: what the engines recognise; or nearly so, where they must not. */
static int32_t random_pattern(maker *m, int32_t x)
{
    const int64_t c = extent_of(m, x, 1);
    int32_t gate, swapped;

    if (pick(m, 0, 1)) {
        gate = pick(m, 0, 1) ? make_unary(m, x, "sigmoid", NULL)
                             : add_unary(m, x, "hard_sigmoid",
                                         (lg_attrs){ .hard_sigmoid = { 1.0 / 6.0, pick(m, 0, 2) ? 0.5 : 0.25 } });
        x = pick(m, 0, 1) ? make_binary(m, "mul", x, gate) : make_binary(m, "mul", gate, x);
        return pick(m, 0, 3) ? x : make_add(m, x, gate);
    }
    if (pick(m, 0, 2))
        return make_shuffle(m, x, common_divisor(m, c, c));
    swapped = make_permute(m, reshaped(m, x, 5), 4, (int64_t[]){ 2, 1, 3, 4 });
    return make_binary(m, "mul", make_reshape(m, swapped, 3, (int64_t[]){ c, extent_of(m, x, 2), extent_of(m, x, 3) }),
                       make_reshape(m, make_unary(m, swapped, "tanh", NULL), 3,
                                    (int64_t[]){ c, extent_of(m, x, 2), extent_of(m, x, 3) }));
}

enum { N_ACTS = 13, N_WIDE = N_ACTS + 17 };

static int32_t run_wide(maker *m, int32_t x, int kind)
{
    static const char *const acts[N_ACTS] = { "sigmoid", "tanh", "hard_sigmoid", "hard_swish", "silu",     "gelu",    "gelu",
                                              "leaky_relu", "elu", "mish",       "softplus",   "abs",      "softsign" };
    static const char *const binaries[] = { "add", "sub", "mul", "min", "max", "div" };
    const int64_t h = extent_of(m, x, 2), w = extent_of(m, x, 3);

    if (kind < N_ACTS)
        return make_unary(m, x, acts[kind], kind == 6 ? &(lg_attrs){ .gelu = { 1 } } : NULL);
    switch (kind - N_ACTS) {
    case 0:
        return make_prelu(m, x);
    case 1:
        return random_broadcast(m, x, binaries[pick(m, 0, 5)]);
    case 2: /* equal shapes */
        return make_binary(m, binaries[pick(m, 1, 4)], x, make_unary(m, x, "tanh", NULL));
    case 3:
        return make_squeeze_excite(m, x);
    case 4:
        return random_concat(m, x);
    case 5:
        return random_cut(m, x);
    case 6:
        return random_permute(m, x);
    case 7:
        return random_mean(m, x);
    case 8:
        return add_unary(m, x, "pad",
                         (lg_attrs){ .pad = { { pick(m, 0, 2), pick(m, 0, 2), pick(m, 0, 2), pick(m, 0, 2) },
                                              pick(m, 0, 1) ? 0.0 : -1.5 } });
    case 9: {
        const int32_t mode = (int32_t)pick(m, 0, 1);
        const int64_t scale = pick(m, 0, 2);
        return add_unary(m, x, "upsample",
                         (lg_attrs){ .upsample = { { scale ? scale * h : pick(m, 1, 2 * h),
                                                     scale ? scale * w : pick(m, 1, 2 * w) },
                                                   mode,
                                                   mode == LG_UPSAMPLE_BILINEAR && pick(m, 0, 1) } });
    }
    case 10:
        return add_unary(m, x, "adaptive_max_pool",
                         (lg_attrs){ .adaptive_pool = { { pick(m, 1, h), pick(m, 1, w) } } });
    case 11:
        return random_transpose(m, x);
    case 12: {
        const int n_dims = (int)pick(m, 2, 5);
        const int axis = (int)pick(m, 1, n_dims - 1);
        return add_unary(m, reshaped(m, x, n_dims), pick(m, 0, 1) ? "softmax" : "log_softmax",
                         (lg_attrs){ .axis = { axis } });
    }
    case 13:
        return random_norm(m, x);
    case 14:
        return random_pattern(m, x);
    case 15:
        return make_functions(m, make_functions(m, make_functions(m, x)));
    default:
        return random_matmul(m, x);
    }
}

/* The op on the graph's input or between convolutions, whose layouts it then meets; sometimes with an activation behind it
 * or a shape of its own as the graph's output. */
static lg_graph *wide_op(uint64_t seed, int kind)
{
    static const int64_t widths[] = { 1, 3, 5, 8, 13, 16, 24, 32, 45 };
    maker m;
    int32_t x;

    maker_start(&m, seed * 100 + (uint64_t)kind);
    x = make_input(&m, widths[pick(&m, 0, 8)], pick(&m, 1, 7), pick(&m, 3, 7));
    if (pick(&m, 0, 2))
        x = make_bn(&m, make_conv(&m, x, widths[pick(&m, 0, 8)], 3, 1, 1, 1));
    x = run_wide(&m, x, kind);
    if (pick(&m, 0, 2) == 0)
        x = make_unary(&m, x, pick(&m, 0, 1) ? "relu" : "sigmoid", NULL);
    if (pick(&m, 0, 1) && m.graph->values[x].shape.n_dims == 4)
        x = make_conv(&m, x, widths[pick(&m, 0, 8)], 3, 1, 1, 1);
    return maker_finish(&m, x);
}

static void test_engine_ops__every_op_equals_the_oracle(void **state)
{
    int n_ops[LG_OP_N_KINDS] = { 0 };
    lg_packed_cache *cache;

    assert_ok(lg_packed_cache_create(&cache, NULL));
    for (int kind = 0; kind < N_WIDE; kind++)
        for (uint64_t seed = 0; seed < (kind < N_ACTS ? 6 : 16); seed++) {
            lg_graph *graph = wide_op(seed, kind);
            char what[64];
            for (int32_t i = 0; i < graph->n_nodes; i++)
                n_ops[graph->nodes[i].op->kind]++;
            snprintf(what, sizeof(what), "op %d, seed %d", kind, (int)seed);
            check_graph(graph, seed, cache, what);
        }
    lg_packed_cache_unref(cache);
    for (int kind = LG_OP_SIGMOID; kind < LG_OP_N_KINDS; kind++)
        if (n_ops[kind] == 0)
            fail_msg("'%s' was not tested", lg_op_of_kind((lg_op_kind)kind)->name);
}

/* Convolutions around the op prefer one layout after the other. */
static void test_engine_ops__every_layout_equals_the_oracle(void **state)
{
    for (int kind = 0; kind < N_WIDE; kind++)
        for (uint64_t seed = 100; seed < (kind < N_ACTS ? 102 : 105); seed++) {
            char what[64];
            snprintf(what, sizeof(what), "op %d, seed %d", kind, (int)seed);
            check_candidates(wide_op(seed, kind), seed, what);
        }
}

/* --- plain C in parts --- */

static float *random_floats(size_t bytes, uint64_t seed)
{
    float *values = calloc(1, bytes + sizeof(float));
    lg_rng rng;

    assert_non_null(values);
    lg_rng_init(&rng, seed, 0);
    for (size_t i = 0; i < bytes / sizeof(float); i++)
        values[i] = (float)lg_rng_uniform(&rng) * 4.0f - 2.0f;
    return values;
}

static size_t memory_bytes(const lg_cell *cell, lg_layout layout)
{
    const lg_planes planes = lg_planes_of(cell, layout, 16);

    return (size_t)lg_planes_elements(&planes) * sizeof(float);
}

/* One step from layout to layout in one part and in several, more than it has units at times, by every instruction set that
 * the CPU has. */
static void check_parts(const lg_program *program, const lg_step *step, lg_layout in, lg_layout out,
                        lg_packed_cache *cache, const char *what)
{
    const size_t bytes = memory_bytes(&program->cells[step->output], out);
    const size_t scratch_bytes = lg_plain_scratch_bytes(program, step);
    lg_cache_entry *weights = NULL;
    lg_plain_call call = { .program = program, .step = step, .in = in, .out = out, .block = 16, .n_parts = 1 };
    float *inputs[8], *once = random_floats(bytes, 1), *again = random_floats(bytes, 2);

    if (lg_step_is_layer(step)) {
        assert_ok(lg_plain_get_weights(&weights, cache, step));
        call.weight = ((lg_packed *)lg_cache_payload(weights))->weight;
        call.bias = ((lg_packed *)lg_cache_payload(weights))->bias;
    }
    for (int32_t i = 0; i < step->n_inputs; i++)
        inputs[i] = random_floats(memory_bytes(&program->cells[step->inputs[i]], in), (uint64_t)i);
    call.inputs = (const float *const *)inputs;
    call.scratch = calloc(3, scratch_bytes + 1);
    assert_non_null(call.scratch);
    call.y = once;
    lg_plain_run(&call);
    for (int n = 0; n <= (int)lg_kernels_isa() + 1; n++) { /* each instruction set, the last one once more in parts */
        memset(again, 0x3c, bytes);
        call.y = again;
        call.n_parts = n <= (int)lg_kernels_isa() ? 1 : 3;
        call.isa = call.n_parts == 1 ? (lg_isa)n : lg_kernels_isa();
        lg_plain_run(&call);
        if (memcmp(once, again, bytes) != 0)
            fail_msg("%s: %s %s>%s differs in %d parts of instruction set %d", what, lg_step_kind_name(step->kind),
                     lg_layout_name(in), lg_layout_name(out), call.n_parts, (int)call.isa);
    }
    for (int32_t i = 0; i < step->n_inputs; i++)
        free(inputs[i]);
    free(call.scratch);
    free(once);
    free(again);
    lg_cache_release(cache, weights);
}

static void test_engine_ops__plain_steps_are_the_same_in_parts_and_vectors(void **state)
{
    lg_packed_cache *cache;

    assert_ok(lg_packed_cache_create(&cache, NULL));
    for (int kind = 0; kind < N_WIDE; kind++)
        for (uint64_t seed = 200; seed < (kind < N_ACTS ? 202 : 205); seed++) {
            lg_graph *graph = wide_op(seed, kind);
            lg_program *program;
            char what[64];

            snprintf(what, sizeof(what), "op %d, seed %d", kind, (int)seed);
            assert_ok(lg_program_create(&program, graph, 2, 1));
            for (int32_t i = 0; i < program->n_steps; i++)
                for (int in = 0; in < LG_N_LAYOUTS; in++)
                    for (int out = 0; out < LG_N_LAYOUTS; out++)
                        if (lg_plain_us(program, &program->steps[i], (lg_layout)in, (lg_layout)out, 16) < INFINITY)
                            check_parts(program, &program->steps[i], (lg_layout)in, (lg_layout)out, cache, what);
            lg_program_free(program);
            lg_graph_free(graph);
        }
    lg_packed_cache_unref(cache);
}

/* --- whole graphs --- */

static void check_one_mode(const lg_graph *graph, int batch, size_t mode, lg_packed_cache *cache, uint64_t seed,
                           const char *kind)
{
    char what[64];
    graph_io io;
    gold g;

    snprintf(what, sizeof(what), "%s %d", kind, (int)seed);
    io_make(&io, graph, batch, seed);
    gold_run(&g, graph, batch, (const float *const *)io.inputs);
    check_mode(graph, batch, &modes[mode], cache, &io, &g, what);
    gold_free(&g);
    io_free(&io);
}

/* A random part of the channels of a wide graph gone; consumes the graph. */
static lg_graph *pruned_graph(lg_graph *graph, uint64_t seed)
{
    lg_channels *channels;
    lg_graph *pruned;
    uint8_t *keep;

    assert_ok(lg_channels_analyze(&channels, graph, 1));
    keep = random_keep(channels, seed);
    if (lg_channels_apply(&pruned, channels, graph, keep) != LEGO_OK)
        fail_msg("seed %d: %s", (int)seed, lego_last_error());
    lg_free(keep);
    lg_channels_free(channels);
    lg_graph_free(graph);
    return pruned;
}

static void test_engine_ops__thousands_of_graphs_on_the_reference(void **state)
{
    lg_packed_cache *cache;

    assert_ok(lg_packed_cache_create(&cache, NULL));
    for (uint64_t seed = 0; seed < 2000; seed++) {
        lg_graph *graph = make_wide_graph(seed);
        if (seed % 2)
            graph = pruned_graph(graph, seed);
        check_one_mode(graph, 1 + (int)(seed % 3), seed % 4 < 2, cache, seed, "wide graph");
        lg_graph_free(graph);
        lg_packed_cache_trim(cache);
    }
    lg_packed_cache_unref(cache);
}

static void test_engine_ops__hundreds_of_graphs_on_onednn(void **state)
{
    lg_packed_cache *cache;

    assert_ok(lg_packed_cache_create(&cache, NULL));
    for (uint64_t seed = 5000; seed < 5300; seed++) {
        lg_graph *graph = make_wide_graph(seed);
        if (seed % 2)
            graph = pruned_graph(graph, seed);
        check_one_mode(graph, 1 + (int)(seed % 3), 2 + (seed % 10 == 0), cache, seed, "wide graph");
        lg_graph_free(graph);
        lg_packed_cache_trim(cache);
    }
    lg_packed_cache_unref(cache);
}

/* --- what is recognised --- */

static int describes(const lg_graph *graph, lego_engine engine, int exact, const char *text)
{
    lg_plan_options options = LG_PLAN_OPTIONS_INIT;
    lg_plan *plan;
    char *lines;
    int found;

    options.engine = engine;
    options.n_threads = 1;
    options.exact = exact;
    assert_ok(lg_plan_create(&plan, NULL, graph, &options));
    assert_ok(lg_plan_describe(&lines, plan));
    found = strstr(lines, text) != NULL;
    lg_free(lines);
    lg_plan_free(plan);
    return found;
}

static void test_engine_ops__patterns_and_activations_are_fused(void **state)
{
    for (int engine = LEGO_ENGINE_REF; engine <= LEGO_ENGINE_ONEDNN; engine++) {
        const lego_engine e = (lego_engine)engine;
        maker m;
        int32_t x;

        maker_start(&m, 1);
        x = make_conv(&m, make_input(&m, 3, 8, 8), 12, 3, 1, 1, 1);
        x = make_binary(&m, "mul", x, make_unary(&m, x, "sigmoid", NULL));
        x = make_shuffle(&m, x, 3);
        x = make_conv(&m, x, 16, 3, 1, 1, 1);
        x = make_binary(&m, "mul", make_unary(&m, x, "hard_sigmoid", NULL), x);
        x = make_conv_transpose(&m, x, 8, 1);
        x = make_unary(&m, x, "gelu", NULL);
        x = make_unary(&m, make_conv(&m, x, 8, 1, 1, 1, 1), "elu", &(lg_attrs){ .elu = { 1.6, 1.05, 1.0 } });
        x = make_unary(&m, make_conv(&m, x, 8, 1, 1, 1, 1), "mish", NULL);
        maker_finish(&m, x);
        assert_true(describes(m.graph, e, 0, "conv, elu"));
        assert_true(describes(m.graph, e, 0, "conv, mish"));
        assert_true(describes(m.graph, e, 0, "conv, silu"));
        assert_true(describes(m.graph, e, 0, "conv, hard_swish"));
        assert_true(describes(m.graph, e, 0, "conv_transpose, gelu"));
        assert_true(describes(m.graph, e, 0, "shuffle"));
        assert_false(describes(m.graph, e, 0, " mul"));
        assert_false(describes(m.graph, e, 0, "permute"));
        if (e == LEGO_ENGINE_REF)
            assert_false(describes(m.graph, e, 1, "silu"));
        lg_graph_free(m.graph);
    }
}

/* Functions of numbers whose exponentials overflow. */
static void test_engine_ops__functions_of_large_numbers(void **state)
{
    static const char *const ops[] = { "elu", "softplus", "mish", "log_sigmoid", "softsign", "sigmoid", "tanh", "silu", "erf",
                                       "atan", "asinh" };
    static const float numbers[] = { 0.0f, 100.0f, -100.0f, 1e4f, -1e4f, 3e38f, -3e38f, 1e-30f };

    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
        for (int engine = LEGO_ENGINE_REF; engine <= LEGO_ENGINE_ONEDNN; engine++) {
            lg_plan_options options = LG_PLAN_OPTIONS_INIT;
            float y[8], *out = y;
            const float *in = numbers;
            maker m;
            lg_plan *plan;
            int32_t x;

            maker_start(&m, i);
            x = make_input(&m, 8, 1, 1);
            maker_finish(&m, make_unary(&m, x, ops[i], NULL));
            options.engine = (lego_engine)engine;
            assert_ok(lg_plan_create(&plan, NULL, m.graph, &options));
            assert_ok(lg_plan_run(plan, &in, &out));
            for (int k = 0; k < 8; k++) {
                const double want = eval_activation(&m.graph->nodes[0], (double)numbers[k]);
                if (!(fabs(y[k] - want) <= 1e-6 + 1e-6 * fabs(want)))
                    fail_msg("%s(%g) is %g on engine %d, wanted %g", ops[i], (double)numbers[k], (double)y[k], engine, want);
            }
            lg_plan_free(plan);
            lg_graph_free(m.graph);
        }
}

/* A bias that stands beside its layer, as exporters of MatMul and Add write it: over the right axis, or over another. */
static int32_t add_beside(maker *m, int32_t x, int64_t extent, int with_channels)
{
    const int n_dims = m->graph->values[x].shape.n_dims;
    int64_t dims[LEGO_MAX_DIMS] = { 1, 1, 1, 1 };

    dims[with_channels ? 0 : n_dims - 2] = extent;
    return make_binary(m, "add", x, make_constant(m, n_dims - 1, dims));
}

static void test_engine_ops__a_constant_beside_a_layer_is_its_bias(void **state)
{
    for (int kind = 0; kind < 6; kind++) {
        maker m;
        int32_t x, product, weights[2] = { LG_NONE, LG_NONE };
        char what[64];

        maker_start(&m, (uint64_t)kind);
        x = make_input(&m, 6, 6, 6);
        if (kind < 3) { /* of the channels; of the columns, which are as many; behind a bias of its own */
            x = make_conv(&m, x, 6, 3, 1, 1, kind == 2);
            x = add_beside(&m, x, 6, kind != 1);
        } else { /* a linear layer's channels are the last axis */
            weights[0] = make_weight(&m, "product", "weight", 2, (int64_t[]){ 6, 6 }, 0);
            assert_ok(lg_graph_add_node(&product, m.graph, "linear", "product", NULL, 1, &x, 2, weights));
            x = add_beside(&m, product, 6, kind == 4);
            if (kind == 5)
                x = add_beside(&m, x, 6, 0);
        }
        x = make_unary(&m, x, "gelu", NULL);
        maker_finish(&m, x);
        for (int engine = LEGO_ENGINE_REF; engine <= LEGO_ENGINE_ONEDNN; engine++)
            assert_int_equal(describes(m.graph, (lego_engine)engine, 0, " add"), kind != 0 && kind != 3);
        snprintf(what, sizeof(what), "constant %d", kind);
        check_graph(m.graph, (uint64_t)kind, NULL, what);
    }
}

/* --- memory --- */

static lego_status plan_wide(lg_plan **out, const lg_graph *graph, lego_engine engine)
{
    lg_plan_options options = LG_PLAN_OPTIONS_INIT;

    options.engine = engine;
    options.batch = 3;
    options.n_threads = 1;
    return lg_plan_create(out, NULL, graph, &options);
}

static void test_engine_ops__running_allocates_nothing(void **state)
{
    for (int kind = 0; kind < N_WIDE; kind++)
        for (int engine = LEGO_ENGINE_REF; engine <= LEGO_ENGINE_ONEDNN; engine++) {
            lg_graph *graph = wide_op(7, kind);
            graph_io io;
            lg_plan *plan;
            io_make(&io, graph, 3, 7);
            assert_ok(plan_wide(&plan, graph, (lego_engine)engine));
            lg_alloc_fail_after(0);
            const lego_status status = lg_plan_run(plan, (const float *const *)io.inputs, io.outputs);
            assert_int_equal(lg_alloc_fail_after(-1), 0);
            assert_int_equal(status, LEGO_OK);
            lg_plan_free(plan);
            io_free(&io);
            lg_graph_free(graph);
        }
}

static void test_engine_ops__planning_survives_out_of_memory(void **state)
{
    for (uint64_t seed = 40; seed < 43; seed++)
        for (int engine = LEGO_ENGINE_REF; engine <= LEGO_ENGINE_ONEDNN; engine++) {
            lg_graph *graph = make_wide_graph(seed);
            lg_plan *plan;
            assert_survives_oom(plan_wide(&plan, graph, (lego_engine)engine), lg_plan_free(plan));
            lg_graph_free(graph);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engine_ops__every_op_equals_the_oracle),
        cmocka_unit_test(test_engine_ops__every_layout_equals_the_oracle),
        cmocka_unit_test(test_engine_ops__plain_steps_are_the_same_in_parts_and_vectors),
        cmocka_unit_test(test_engine_ops__thousands_of_graphs_on_the_reference),
        cmocka_unit_test(test_engine_ops__hundreds_of_graphs_on_onednn),
        cmocka_unit_test(test_engine_ops__patterns_and_activations_are_fused),
        cmocka_unit_test(test_engine_ops__functions_of_large_numbers),
        cmocka_unit_test(test_engine_ops__a_constant_beside_a_layer_is_its_bias),
        cmocka_unit_test(test_engine_ops__running_allocates_nothing),
        cmocka_unit_test(test_engine_ops__planning_survives_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
