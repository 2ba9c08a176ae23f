/* Variants of one block: widths as asked, errors against l1, exact cases, environments. */
#include <math.h>

#include "engine/engine.h"
#include "prune/reconstruct_block.h"
#include "support/context.h"
#include "support/graphs.h"

enum { N_FIT = 96, N_TEST = 48, N_IMAGES = N_FIT + N_TEST };

/* --- blocks as the models have them --- */

static int32_t unit(maker *m, int32_t x, int64_t out, int64_t kernel, int64_t stride, int64_t groups, const char *op)
{
    x = make_bn(m, make_conv(m, x, out, kernel, stride, groups, 0));
    return op ? make_unary(m, x, op, NULL) : x;
}

static lg_graph *basic_block(maker *m, int32_t x)
{
    const int32_t y = unit(m, unit(m, x, 16, 3, 1, 1, "relu"), 8, 3, 1, 1, NULL);

    return maker_finish(m, make_unary(m, make_add(m, y, x), "relu", NULL));
}

static lg_graph *downsampling_block(maker *m, int32_t x)
{
    const int32_t y = unit(m, unit(m, x, 16, 3, 2, 1, "relu"), 12, 3, 1, 1, NULL);

    return maker_finish(m, make_unary(m, make_add(m, y, unit(m, x, 12, 1, 2, 1, NULL)), "relu", NULL));
}

static lg_graph *bottleneck(maker *m, int32_t x)
{
    const int32_t y = unit(m, unit(m, unit(m, x, 16, 1, 1, 1, "relu"), 16, 3, 1, 1, "relu"), 8, 1, 1, 1, NULL);

    return maker_finish(m, make_unary(m, make_add(m, y, x), "relu", NULL));
}

static lg_graph *grouped_bottleneck(maker *m, int32_t x)
{
    const int32_t y = unit(m, unit(m, unit(m, x, 32, 1, 1, 1, "relu"), 32, 3, 1, 8, "relu"), 8, 1, 1, 1, NULL);

    return maker_finish(m, make_unary(m, make_add(m, y, x), "relu", NULL));
}

static lg_graph *inverted_residual(maker *m, int32_t x)
{
    const int32_t y = unit(m, unit(m, unit(m, x, 32, 1, 1, 1, "clip"), 32, 3, 1, 32, "clip"), 8, 1, 1, 1, NULL);

    return maker_finish(m, make_add(m, y, x));
}

/* A residual stream that may go: two makers, three readers. */
static lg_graph *free_stream(maker *m, int32_t x)
{
    int32_t s = make_unary(m, make_add(m, unit(m, x, 16, 3, 1, 1, NULL), unit(m, x, 16, 1, 1, 1, NULL)), "relu", NULL);
    int32_t y = unit(m, unit(m, s, 16, 3, 1, 1, "relu"), 8, 3, 1, 1, NULL);

    y = make_add(m, y, unit(m, s, 8, 1, 1, 1, NULL));
    return maker_finish(m, make_unary(m, make_add(m, y, x), "relu", NULL));
}

static lg_graph *classifier(maker *m, int32_t x)
{
    const lg_attrs pool = { .adaptive_pool = { { 2, 2 } } };

    x = make_unary(m, unit(m, x, 12, 3, 1, 1, "relu"), "adaptive_avg_pool", &pool);
    x = make_unary(m, make_linear(m, make_unary(m, x, "flatten", NULL), 20), "relu", NULL);
    return maker_finish(m, make_linear(m, x, 4));
}

typedef lg_graph *(*block_builder)(maker *m, int32_t x);
static const block_builder builders[] = { basic_block,       downsampling_block, bottleneck,  grouped_bottleneck,
                                          inverted_residual, free_stream,        classifier };
enum { N_BUILDERS = sizeof(builders) / sizeof(*builders) };

/* Images (N,8,6,6) of few hidden causes, so that channels are redundant as in a trained network. */
static float *make_images(uint64_t seed, double noise)
{
    float *images = lg_calloc(N_IMAGES * 8 * 36, sizeof(float));
    double mix[8][4];
    lg_rng rng, own;

    lg_rng_init(&rng, 1, 5);
    lg_rng_init(&own, seed, 6);
    for (int c = 0; c < 8; c++)
        for (int k = 0; k < 4; k++)
            mix[c][k] = lg_rng_normal(&rng);
    for (int64_t i = 0; i < N_IMAGES; i++)
        for (int64_t p = 0; p < 36; p++) {
            double cause[4];

            for (int k = 0; k < 4; k++)
                cause[k] = lg_rng_normal(&rng);
            for (int64_t c = 0; c < 8; c++) {
                double sum = 0.2 * lg_rng_normal(&rng) + noise * lg_rng_normal(&own);

                for (int k = 0; k < 4; k++)
                    sum += mix[c][k] * cause[k];
                images[(i * 8 + c) * 36 + p] = (float)(sum > 0.0 ? sum : 0.0);
            }
        }
    return images;
}

static lg_graph *make_block(int which, uint64_t seed)
{
    maker m;

    maker_start(&m, seed);
    return builders[which](&m, make_input(&m, 8, 6, 6));
}

static float *run(const lg_graph *graph, const float *images, int64_t n)
{
    lg_plan_options options = { .engine = LEGO_ENGINE_AUTO, .batch = (int)n, .n_threads = 1 };
    float *out = lg_calloc((size_t)(n * lg_value_elements(&graph->values[graph->outputs[0]])), sizeof(float));
    lg_plan *plan;

    assert_ok(lg_plan_create(&plan, context, graph, &options));
    assert_ok(lg_plan_run(plan, &images, &out));
    lg_plan_free(plan);
    return out;
}

/* Squared error on the test images, relative to the variance of what is wanted. `wanted` comes from clean images. */
static double error_of(const lg_graph *variant, const lg_graph *original, const float *images, const float *clean)
{
    const int64_t skip = (int64_t)N_FIT * 8 * 36, elements = lg_value_elements(&original->values[original->outputs[0]]);
    float *got = run(variant, images + skip, N_TEST), *want = run(original, clean + skip, N_TEST);
    double error = 0.0, mean = 0.0, square = 0.0;
    const int64_t n = N_TEST * elements;

    for (int64_t i = 0; i < n; i++) {
        error += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        mean += want[i];
        square += (double)want[i] * want[i];
    }
    lg_free(got);
    lg_free(want);
    return error / (square - mean * mean / (double)n);
}

static const lg_effort effort = { 1e-3, 3, 24, (size_t)1 << 28, 1, 2, 0 };

/* Solve in one environment, or in two if `noisy` is given; variants[v].graph are filled. */
static void solve(lg_prune_block *block, const float *clean, const float *noisy)
{
    const float *const inputs[2][1] = { { clean }, { noisy } };
    const float *const *const by_environment[2] = { inputs[0], inputs[1] };
    const double weights[2] = { 1.0, 1.0 };
    const lg_environments environments = { noisy ? 2 : 1, 0, by_environment, weights, N_FIT };
    lg_remarks remarks = { 0 };
    lg_graph *graphs[8];
    lg_work work;

    assert_ok(lg_work_create(&work, context, block, &effort, inputs[0], N_FIT));
    assert_ok(lg_work_solve(graphs, &remarks, &work, 0, block->n_variants, &environments));
    assert_int_equal(remarks.n_not_fitted, 0);
    for (int32_t v = 0; v < block->n_variants; v++)
        block->variants[v].graph = graphs[v];
    lg_work_dispose(&work);
}

/* ---------------------------------------------------------------- widths */

/* Every free group of the variant is as wide as planned: its analysis counts the units. */
static void check_widths(const lg_prune_block *block, const lg_prune_variant *variant)
{
    const lg_graph *graph = block->graph;

    for (size_t g = 0; g < lg_channels_n_groups(block->channels); g++) {
        const lg_channel_group *group = lg_channels_group(block->channels, g);

        for (int32_t a = 0; a < group->n_axes; a++) {
            const lg_axis axis = group->axes[a];
            int32_t weight = LG_NONE;

            if (!axis.is_weight || axis.axis != 0)
                continue;
            weight = lg_graph_find_weight(variant->graph, graph->weights[axis.id].name);
            if (weight == LG_NONE)
                continue; /* of a batch norm, folded */
            assert_int_equal(variant->graph->weights[weight].tensor.shape.dims[0] * group->n_units,
                             (int64_t)variant->widths[g].units * graph->weights[axis.id].tensor.shape.dims[0]);
        }
    }
}

static void test_block__widths_are_those_asked_and_errors_beat_l1(void **state)
{
    const double sparsities[3] = { 0.3, 0.6, 0.8 };
    float *images = make_images(1, 0.0);

    (void)state;
    for (int which = 0; which < N_BUILDERS; which++) {
        lg_graph *graph = make_block(which, 40 + (uint64_t)which);
        lg_prune_block ours, theirs;
        double before = 0.0;

        assert_ok(lg_prune_block_init(&ours, graph, "b", sparsities, 3, 0));
        assert_ok(lg_prune_block_init(&theirs, graph, "b", sparsities, 3, 0));
        solve(&ours, images, NULL);
        assert_ok(lg_prune_by_score(context, &theirs, 1, LEGO_CRITERION_L1, 0));
        for (int32_t v = 0; v < ours.n_variants; v++) {
            const double error = error_of(ours.variants[v].graph, graph, images, images);
            const double l1 = error_of(theirs.variants[v].graph, graph, images, images);

            check_widths(&ours, &ours.variants[v]);
            assert_int_equal(ours.variants[v].graph->n_inputs, graph->n_inputs);
            assert_string_equal(ours.variants[v].graph->values[ours.variants[v].graph->outputs[0]].name,
                                graph->values[graph->outputs[0]].name);
            if (!(error < 0.6 * l1))
                fail_msg("block %d at %g: error %g, l1 has %g", which, ours.variants[v].sparsity, error, l1);
            assert_true(error > 0.9 * before); /* fewer channels never help */
            before = error;
        }
        lg_prune_block_dispose(&ours);
        lg_prune_block_dispose(&theirs);
        lg_graph_free(graph);
    }
    lg_free(images);
}

/* ---------------------------------------------------------------- exact cases */

/* Widths of the full block: nothing may go, nothing may change. */
static void test_block__with_nothing_to_remove_nothing_changes(void **state)
{
    const double sparsities[1] = { 0.5 };
    float *images = make_images(1, 0.0);

    (void)state;
    for (int which = 0; which < N_BUILDERS; which++) {
        lg_graph *graph = make_block(which, 60 + (uint64_t)which);
        lg_prune_block block;

        assert_ok(lg_prune_block_init(&block, graph, "b", sparsities, 1, 0));
        for (size_t g = 0; g < lg_channels_n_groups(block.channels); g++)
            block.variants[0].widths[g] = (lg_prune_width){ lg_channels_group(block.channels, g)->n_units,
                                                            lg_channels_group(block.channels, g)->parts };
        solve(&block, images, NULL);
        assert_near(error_of(block.variants[0].graph, graph, images, images), 0.0, 1e-9, 0.0);
        lg_prune_block_dispose(&block);
        lg_graph_free(graph);
    }
    lg_free(images);
}

/* Twins: rows 2i and 2i+1 of a layer's weight (and its bias or norm) are made equal. */
static void make_twins(lg_graph *graph, const char *const *weights, int n)
{
    for (int i = 0; i < n; i++) {
        const int32_t id = lg_graph_find_weight(graph, weights[i]);
        lego_tensor *tensor = &graph->weights[id].tensor;
        const size_t row = lg_tensor_bytes(tensor) / (size_t)tensor->shape.dims[0];

        for (int64_t k = 0; k + 1 < tensor->shape.dims[0]; k += 2)
            memcpy((char *)lg_tensor_data(tensor) + (size_t)(k + 1) * row,
                   (char *)lg_tensor_data(tensor) + (size_t)k * row, row);
    }
}

static void test_block__one_of_two_equal_channels_goes_for_nothing(void **state)
{
    static const char *const conv_and_norm[] = { "conv0.weight", "bn1.weight", "bn1.bias", "bn1.running_mean",
                                                 "bn1.running_var" };
    static const char *const depthwise_too[] = { "conv0.weight",     "bn1.weight",      "bn1.bias",
                                                 "bn1.running_mean", "bn1.running_var", "conv3.weight",
                                                 "bn4.weight",       "bn4.bias",        "bn4.running_mean",
                                                 "bn4.running_var" };
    const double sparsities[1] = { 0.5 };
    float *images = make_images(1, 0.0);

    (void)state;
    for (int which = 0; which < N_BUILDERS; which++) {
        lg_graph *graph = make_block(which, 80 + (uint64_t)which);
        lg_prune_block block;

        if (builders[which] != basic_block && builders[which] != downsampling_block &&
            builders[which] != inverted_residual) {
            lg_graph_free(graph);
            continue;
        }
        if (builders[which] == inverted_residual)
            make_twins(graph, depthwise_too, 10);
        else
            make_twins(graph, conv_and_norm, 5);
        assert_ok(lg_prune_block_init(&block, graph, "b", sparsities, 1, 0));
        solve(&block, images, NULL);
        assert_near(error_of(block.variants[0].graph, graph, images, images), 0.0, 1e-4, 0.0);
        lg_prune_block_dispose(&block);
        lg_graph_free(graph);
    }
    lg_free(images);
}

/* ---------------------------------------------------------------- environments */

/* Fitted on inputs as they come from pruned neighbours, variants do better on such inputs, and the untouched path (a
 * shortcut) is made up for. */
static void test_block__environments_teach_to_accept_them(void **state)
{
    const double sparsities[1] = { 0.5 };
    float *clean = make_images(1, 0.0), *noisy = make_images(7, 0.6);

    (void)state;
    for (int which = 0; which < N_BUILDERS; which++) {
        lg_graph *graph = make_block(which, 20 + (uint64_t)which);
        lg_prune_block alone, pooled;
        double of_alone, of_pooled;

        assert_ok(lg_prune_block_init(&alone, graph, "b", sparsities, 1, 0));
        assert_ok(lg_prune_block_init(&pooled, graph, "b", sparsities, 1, 0));
        solve(&alone, clean, NULL);
        solve(&pooled, clean, noisy);
        of_alone = error_of(alone.variants[0].graph, graph, noisy, clean);
        of_pooled = error_of(pooled.variants[0].graph, graph, noisy, clean);
        if (!(of_pooled < of_alone))
            fail_msg("block %d: error %g with both environments, %g with the original's alone", which, of_pooled,
                     of_alone);
        lg_prune_block_dispose(&alone);
        lg_prune_block_dispose(&pooled);
        lg_graph_free(graph);
    }
    lg_free(clean);
    lg_free(noisy);
}

/* ---------------------------------------------------------------- any graph */

static void test_block__random_graphs_keep_every_rule(void **state)
{
    const double sparsities[2] = { 0.4, 0.7 };
    int solved = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        lg_graph *graph = make_random_graph(seed);
        const int64_t elements = lg_value_elements(&graph->values[graph->inputs[0]]);
        float *images = lg_calloc((size_t)(N_FIT * elements), sizeof(float));
        lg_prune_block block;
        lg_rng rng;

        lg_rng_init(&rng, seed, 8);
        for (int64_t i = 0; i < N_FIT * elements; i++)
            images[i] = (float)lg_rng_normal(&rng);
        if (lg_prune_block_init(&block, graph, "b", sparsities, 2, 0) == LEGO_OK) {
            solve(&block, images, NULL);
            for (int32_t v = 0; v < block.n_variants; v++) {
                check_widths(&block, &block.variants[v]);
                assert_ok(lg_graph_check_finite(block.variants[v].graph));
            }
            solved++;
            lg_prune_block_dispose(&block);
        }
        lg_free(images);
        lg_graph_free(graph);
    }
    assert_true(solved > 20);
}

/* A limit below one covariance: chosen on pooled columns, not fitted, and both are said. */
static void test_block__a_small_memory_limit_still_gives_variants(void **state)
{
    const double sparsities[1] = { 0.5 };
    float *images = make_images(1, 0.0);
    lg_graph *graph = make_block(0, 40), *variant;
    const float *const inputs[1] = { images };
    const float *const *const by_environment[1] = { inputs };
    const double weights[1] = { 1.0 };
    const lg_environments environments = { 1, 0, by_environment, weights, N_FIT };
    lg_effort small = effort;
    lg_remarks remarks = { 0 };
    lg_prune_block block;
    lg_work work;

    (void)state;
    small.memory_bytes = 300000; /* 144 columns take 168 kB */
    assert_ok(lg_prune_block_init(&block, graph, "b", sparsities, 1, 0));
    assert_ok(lg_work_create(&work, context, &block, &small, inputs, N_FIT));
    assert_ok(lg_work_solve(&variant, &remarks, &work, 0, 1, &environments));
    assert_int_equal(remarks.n_pooled, 1);
    assert_int_equal(remarks.n_not_fitted, 1);
    block.variants[0].graph = variant;
    check_widths(&block, &block.variants[0]);
    lg_work_dispose(&work);
    lg_prune_block_dispose(&block);
    lg_graph_free(graph);
    lg_free(images);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_block__widths_are_those_asked_and_errors_beat_l1),
        cmocka_unit_test(test_block__with_nothing_to_remove_nothing_changes),
        cmocka_unit_test(test_block__one_of_two_equal_channels_goes_for_nothing),
        cmocka_unit_test(test_block__environments_teach_to_accept_them),
        cmocka_unit_test(test_block__random_graphs_keep_every_rule),
        cmocka_unit_test(test_block__a_small_memory_limit_still_gives_variants),
    };

    return cmocka_run_group_tests(tests, make_context, free_context);
}
