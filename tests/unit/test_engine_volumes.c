/* engine: three spatial axes on both engines against the double-precision oracle: single layers in every layout, random
 * networks, pruned ones, and that layers of well-known shapes get kernels made for them. */
#include "support/engines.h"
#include "support/volumes.h"

static const int64_t widths[] = { 1, 3, 5, 8, 13, 16, 24, 32, 45 };

static int64_t any_width(maker *m)
{
    return widths[pick(m, 0, 8)];
}

enum { N_LAYERS = 10 };

/* The layer between convolutions, whose layouts it meets; a residual sum or an activation behind it. */
static lg_graph *layer_graph(uint64_t seed, int kind)
{
    const lg_attrs cells = { .adaptive_pool = { { 2, 2, 1 } } };
    maker m;
    int32_t x, y;
    int64_t c;

    maker_start(&m, seed * 100 + (uint64_t)kind);
    x = make_volume(&m, any_width(&m), pick(&m, 1, 4), pick(&m, 3, 6), pick(&m, 3, 6));
    if (pick(&m, 0, 2))
        x = make_bn(&m, make_conv3d(&m, x, any_width(&m), 1, 3, 1, 1, 1));
    c = extent_of(&m, x, 1);
    switch (kind) {
    case 0:
        y = make_conv3d(&m, x, any_width(&m), 3, 3, pick(&m, 1, 2), 1, 1);
        break;
    case 1:
        y = make_conv3d(&m, x, any_width(&m), 3, 1, pick(&m, 1, 2), 1, 1);
        break;
    case 2:
        y = make_conv3d(&m, x, any_width(&m), 1, 1, pick(&m, 1, 2), 1, 1);
        break;
    case 3:
        y = make_odd_conv3d(&m, x, any_width(&m), 1);
        break;
    case 4: /* grouped, depthwise */
        x = make_conv3d(&m, x, 24, 1, 1, 1, 1, 1);
        y = make_conv3d(&m, x, 24, 3, 3, 1, (int64_t[]){ 2, 3, 24 }[pick(&m, 0, 2)], 1);
        break;
    case 5:
        y = make_conv_transpose3d(&m, x, pick(&m, 0, 1) ? any_width(&m) : 1, pick(&m, 0, 2) ? 1 : c, (int)pick(&m, 0, 1));
        break;
    case 6:
        y = make_pool3d(&m, x);
        break;
    case 7:
        y = make_excite3d(&m, x);
        break;
    case 8:
        y = make_unary(&m, make_permute(&m, x, 4, (int64_t[]){ 2, 3, 4, 1 }), "gelu", NULL);
        y = make_permute(&m, y, 4, (int64_t[]){ 4, 1, 2, 3 });
        break;
    default:
        y = make_unary(&m, x, "adaptive_avg_pool3d", &cells);
        break;
    }
    if (lg_shape_equal(&m.graph->values[x].shape, &m.graph->values[y].shape) && pick(&m, 0, 1))
        y = make_add(&m, x, y);
    if (pick(&m, 0, 1))
        y = make_unary(&m, y, "relu", NULL);
    if (pick(&m, 0, 1))
        y = make_conv3d(&m, y, any_width(&m), 1, 3, 1, 1, 1);
    return maker_finish(&m, y);
}

static void test_engine_volumes__every_layer_equals_the_oracle(void **state)
{
    lg_packed_cache *cache;

    assert_ok(lg_packed_cache_create(&cache, NULL));
    for (int kind = 0; kind < N_LAYERS; kind++)
        for (uint64_t seed = 0; seed < 8; seed++) {
            char what[64];
            snprintf(what, sizeof(what), "layer %d, seed %d", kind, (int)seed);
            check_graph(layer_graph(seed, kind), seed, cache, what);
        }
    lg_packed_cache_unref(cache);
}

static void test_engine_volumes__every_layout_equals_the_oracle(void **state)
{
    for (int kind = 0; kind < N_LAYERS; kind++)
        for (uint64_t seed = 100; seed < 104; seed++) {
            char what[64];
            snprintf(what, sizeof(what), "layer %d, seed %d", kind, (int)seed);
            check_candidates(layer_graph(seed, kind), seed, what);
        }
}

/* Pruned and whole, fused and not, on one thread and on several. */
static void test_engine_volumes__networks_equal_the_oracle(void **state)
{
    static const struct engine_mode wide[] = { { "ref, 3 threads", LEGO_ENGINE_REF, 0, 0, 3 },
                                               { "onednn, 2 threads", LEGO_ENGINE_ONEDNN, 0, 0, 2 } };
    lg_packed_cache *cache;

    assert_ok(lg_packed_cache_create(&cache, NULL));
    for (uint64_t seed = 0; seed < 60; seed++) {
        lg_graph *graph = make_volume_graph(seed), *pruned;
        lg_channels *channels;
        uint8_t *keep;
        graph_io io;
        gold g;
        char what[64];

        assert_ok(lg_channels_analyze(&channels, graph, 1));
        keep = random_keep(channels, seed);
        assert_ok(lg_channels_apply(&pruned, channels, graph, keep));
        snprintf(what, sizeof(what), "pruned network %d", (int)seed);
        io_make(&io, pruned, 2, seed);
        gold_run(&g, pruned, 2, (const float *const *)io.inputs);
        for (size_t i = 0; i < 2; i++)
            check_mode(pruned, 2, &wide[i], cache, &io, &g, what);
        gold_free(&g);
        io_free(&io);
        lg_graph_free(pruned);
        lg_free(keep);
        lg_channels_free(channels);
        snprintf(what, sizeof(what), "network %d", (int)seed);
        check_graph(graph, seed, cache, what);
    }
    lg_packed_cache_unref(cache);
}

/* Layers of r3d_18, r2plus1d_18 and of a 3-D U-Net. */
static void test_engine_volumes__usual_layers_have_kernels(void **state)
{
    static const struct {
        int64_t in, d, h, out, t, r, stride, groups;
    } layers[] = {
        { 3, 4, 24, 64, 3, 7, 2, 1 },   { 3, 4, 24, 45, 1, 7, 2, 1 },    { 45, 4, 12, 64, 3, 1, 1, 1 },
        { 64, 4, 12, 64, 3, 3, 1, 1 },  { 64, 4, 12, 144, 1, 3, 1, 1 },  { 144, 4, 12, 64, 3, 1, 1, 1 },
        { 64, 4, 12, 128, 3, 3, 2, 1 }, { 64, 4, 12, 128, 1, 1, 1, 1 },  { 128, 4, 6, 256, 3, 3, 2, 1 },
        { 64, 4, 8, 64, 3, 3, 1, 8 },   { 57, 4, 12, 91, 3, 3, 1, 1 },   { 1, 8, 16, 32, 3, 3, 1, 1 },
    };

    for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++) {
        lg_plan_options options = LG_PLAN_OPTIONS_INIT;
        maker m;
        lg_plan *plan;
        int32_t x;
        char *text;

        maker_start(&m, i);
        x = make_volume(&m, layers[i].in, layers[i].d, layers[i].h, layers[i].h);
        x = make_bn(&m, make_conv3d(&m, x, layers[i].out, layers[i].t, layers[i].r, layers[i].stride, layers[i].groups,
                                    0));
        maker_finish(&m, make_unary(&m, x, "relu", NULL));
        options.engine = LEGO_ENGINE_ONEDNN;
        assert_ok(lg_plan_create(&plan, NULL, m.graph, &options));
        assert_ok(lg_plan_describe(&text, plan));
        if (strstr(text, "plain C") || strstr(text, "ref:"))
            fail_msg("layer %d has no good kernel:\n%s", (int)i, text);
        if (getenv("LG_TEST_VERBOSE"))
            print_message("layer %d:\n%s", (int)i, text);
        lg_free(text);
        lg_plan_free(plan);
        lg_graph_free(m.graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engine_volumes__every_layer_equals_the_oracle),
        cmocka_unit_test(test_engine_volumes__every_layout_equals_the_oracle),
        cmocka_unit_test(test_engine_volumes__networks_equal_the_oracle),
        cmocka_unit_test(test_engine_volumes__usual_layers_have_kernels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
