/* import/widen.c: values over one spatial axis become images of one row between layers, and everything computes the same. */
#include "support/eval.h"
#include "support/graphs.h"

#include "import/imported.h"

static int32_t wide_of(maker *m, int32_t x)
{
    return make_reshape(m, x, 3, (int64_t[]){ extent_of(m, x, 1), 1, extent_of(m, x, 2) });
}

static int32_t narrow_of(maker *m, int32_t x)
{
    return make_reshape(m, x, 2, (int64_t[]){ extent_of(m, x, 1), extent_of(m, x, 3) });
}

/* A convolution over (N,C,W), as importers write it. */
static int32_t make_conv1d(maker *m, int32_t x, int64_t out, int64_t kernel)
{
    const lg_attrs attrs = { .conv = { { 1, 1 }, { 1, 1 }, { 0, kernel / 2, 0, kernel / 2 }, 1 } };
    const int32_t in = wide_of(m, x);
    char name[48];
    int32_t value, weights[2] = { LG_NONE, LG_NONE };

    layer_name(m, name, "conv");
    weights[0] = make_weight(m, name, "weight", 4, (int64_t[]){ out, extent_of(m, x, 1), 1, kernel }, 0);
    assert_ok(lg_graph_add_node(&value, m->graph, "conv2d", name, &attrs, 1, &in, 2, weights));
    return narrow_of(m, value);
}

static int32_t make_layer(maker *m, int32_t x)
{
    const int64_t c = extent_of(m, x, 1), w = extent_of(m, x, 2);
    const lg_attrs row = { .axis = { 2 } }, cut = { .slice = { 2, 1, w, 1 } }, channels = { .axis = { 1 } };
    const lg_attrs mean = { .mean = { { 1, { 2 } }, 1 } }, norm = { .group_norm = { c, 1e-3 } };
    const lg_attrs halves = { .split = { 2, { 2, { w - 1, 1 } } } };
    int32_t y;

    switch (pick(m, 0, 11)) {
    case 0:
        return make_unary(m, make_conv1d(m, x, pick(m, 2, 5), 3), "relu", NULL);
    case 1:
        return make_bn(m, x);
    case 2:
        return make_add(m, x, make_conv1d(m, x, c, 3));
    case 3: /* with the value itself first, or with what is not wide */
        return make_add(m, make_permute(m, make_permute(m, x, 2, (int64_t[]){ 2, 1 }), 2, (int64_t[]){ 2, 1 }), x);
    case 4:
        return make_concat(m, x, make_conv1d(m, x, 2, 1));
    case 5:
        return w > 2 ? make_unary(m, x, "slice", &cut) : x;
    case 6:
        return make_unary(m, x, "softmax", pick(m, 0, 1) ? &row : &channels);
    case 7:
        return make_binary(m, "mul", x, make_unary(m, make_conv1d(m, x, c, 1), "sigmoid", NULL));
    case 8:
        return make_binary(m, "sub", x, make_unary(m, x, "mean", &mean));
    case 9:
        return make_affine(m, x, "group_norm", &norm, 1, &c);
    case 10:
        if (w < 3)
            return x;
        y = make_unary(m, x, "split", &halves);
        return make_binary(m, "add", y, make_constant(m, 2, (int64_t[]){ c, 1 }));
    default:
        return make_affine(m, make_conv1d(m, x, 3, 3), "layer_norm", &(lg_attrs){ .layer_norm = { 2, 1e-3 } }, 1, &w);
    }
}

static lg_graph *make_series(uint64_t seed)
{
    maker m;
    int32_t x;

    maker_start(&m, seed);
    assert_ok(lg_graph_add_input(&x, m.graph, "input", LEGO_DTYPE_F32, &(lg_shape){ 2, { pick(&m, 1, 3), pick(&m, 5, 9) } }));
    x = make_conv1d(&m, x, pick(&m, 2, 4), 3);
    for (int64_t i = pick(&m, 1, 7); i > 0; i--) {
        x = make_layer(&m, x);
        if (pick(&m, 0, 5) == 0) /* an inner value that is handed out */
            assert_ok(lg_graph_add_output(m.graph, x));
    }
    if (pick(&m, 0, 1))
        x = make_linear(&m, make_unary(&m, x, "flatten", NULL), 3);
    return maker_finish(&m, x);
}

static int count(const lg_graph *graph, lg_op_kind kind)
{
    int n = 0;

    for (int32_t i = 0; i < graph->n_nodes; i++)
        n += graph->nodes[i].op->kind == kind;
    return n;
}

static void test_widen__graphs_compute_the_same(void **state)
{
    int n_before = 0, n_after = 0;

    for (uint64_t seed = 0; seed < 400; seed++) {
        lg_graph *before = make_series(seed), *after;
        double input[2 * 3 * 9];
        eval_value *want, *have;
        lg_rng rng;

        assert_ok(lg_graph_clone(&after, before));
        assert_ok(lg_imported_widen(&after));
        n_before += count(before, LG_OP_RESHAPE);
        n_after += count(after, LG_OP_RESHAPE);
        assert_int_equal(after->n_weights, before->n_weights);
        assert_int_equal(after->n_outputs, before->n_outputs);
        lg_rng_init(&rng, seed, 3);
        for (size_t i = 0; i < sizeof(input) / sizeof(*input); i++)
            input[i] = lg_rng_normal(&rng);
        want = eval_graph(before, input, 2);
        have = eval_graph(after, input, 2);
        for (int32_t o = 0; o < before->n_outputs; o++) {
            const eval_value *a = &want[before->outputs[o]], *b = &have[after->outputs[o]];

            assert_true(lg_shape_equal(&a->shape, &b->shape));
            for (int64_t i = 0; i < eval_count(&a->shape); i++)
                if (!(fabs(a->data[i] - b->data[i]) <= 1e-9 * (1.0 + fabs(a->data[i]))))
                    fail_msg("seed %d, output %d: %.12g became %.12g", (int)seed, (int)o, a->data[i], b->data[i]);
        }
        eval_free(want, before);
        eval_free(have, after);
        lg_graph_free(before);
        lg_graph_free(after);
    }
    if (n_after * 3 > n_before * 2)
        fail_msg("%d reshapes of %d are left", n_after, n_before);
}

/* Once is enough. */
static void test_widen__twice_is_once(void **state)
{
    for (uint64_t seed = 0; seed < 100; seed++) {
        lg_graph *graph = make_series(seed);
        lg_json *json;
        char *once, *twice;

        assert_ok(lg_imported_widen(&graph));
        assert_ok(lg_graph_to_json(&json, graph));
        assert_ok(lg_json_print(&once, json, 0));
        lg_json_free(json);
        assert_ok(lg_imported_widen(&graph));
        assert_ok(lg_graph_to_json(&json, graph));
        assert_ok(lg_json_print(&twice, json, 0));
        lg_json_free(json);
        if (strcmp(once, twice) != 0)
            fail_msg("seed %d: %s\nbecame %s", (int)seed, once, twice);
        lg_free(once);
        lg_free(twice);
        lg_graph_free(graph);
    }
}

static void test_widen__leaves_images_alone(void **state)
{
    lg_graph *graph = make_wide_graph(5), *same = graph;

    assert_ok(lg_imported_widen(&graph));
    assert_ptr_equal(graph, same);
    lg_graph_free(graph);
}

static void test_widen__survives_out_of_memory(void **state)
{
    lego_status status = LEGO_ENOMEM;
    long n;

    for (n = 0; status != LEGO_OK && n < 100000; n++) {
        lg_graph *graph = make_series(3);

        lg_alloc_fail_after(n);
        status = lg_imported_widen(&graph);
        lg_alloc_fail_after(-1);
        assert_true(status == LEGO_OK || status == LEGO_ENOMEM);
        lg_graph_free(graph);
    }
    assert_in_range(n, 20, 99999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_widen__graphs_compute_the_same),
        cmocka_unit_test(test_widen__twice_is_once),
        cmocka_unit_test(test_widen__leaves_images_alone),
        cmocka_unit_test(test_widen__survives_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
