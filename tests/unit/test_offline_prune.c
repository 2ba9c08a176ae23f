/* prune/: the sparsity asked for is the sparsity got, the right channels stay, criteria against plain arithmetic. */
#include "support/volumes.h"

#include <math.h>

#include "extract/extract.h"
#include "prune/prune.h"

static lg_channels *analyze(const lg_graph *graph, int freeze_interface)
{
    lg_channels *channels;

    assert_ok(lg_channels_analyze(&channels, graph, freeze_interface));
    return channels;
}

/* conv(1x1) -> grouped conv -> conv(1x1), as in ResNeXt. */
static lg_graph *make_grouped(int64_t in_width, int64_t out_width, int64_t groups)
{
    maker m;
    int32_t x;

    maker_start(&m, 9);
    x = make_conv(&m, make_input(&m, 3, 4, 4), in_width, 1, 1, 1, 0);
    x = make_conv(&m, x, out_width, 3, 1, groups, 0);
    return maker_finish(&m, make_conv(&m, x, 5, 1, 1, 1, 0));
}

/* The free group that holds the output channels of the index-th node. */
static size_t group_of_output(const lg_channels *channels, const lg_graph *graph, int32_t node)
{
    for (size_t g = 0; g < lg_channels_n_groups(channels); g++) {
        const lg_channel_group *group = lg_channels_group(channels, g);

        for (int32_t a = 0; a < group->n_axes; a++)
            if (!group->axes[a].is_weight && group->axes[a].id == graph->nodes[node].outputs[0] &&
                group->axes[a].axis == 1)
                return g;
    }
    fail_msg("node %d has no channel group", node);
    return 0;
}

static void test_prune__plain_groups_keep_what_was_asked(void **state)
{
    static const struct {
        int64_t channels;
        double sparsity;
        int32_t round_to, kept;
    } cases[] = {
        { 64, 0.0, 0, 64 }, { 64, 0.3, 0, 45 }, { 64, 0.6, 0, 26 }, { 64, 0.8, 0, 13 },  { 10, 0.99, 0, 1 },
        { 1, 0.8, 0, 1 },   { 5, 0.5, 0, 3 },   { 64, 0.6, 8, 32 }, { 64, 0.8, 16, 16 }, { 20, 0.3, 16, 16 },
        { 20, 0.1, 16, 20 }, { 6, 0.5, 8, 6 },  { 64, 0.3, 1, 45 },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        maker m;
        lg_channels *channels;
        lg_prune_width widths[16];
        size_t group;

        maker_start(&m, 1);
        maker_finish(&m, make_conv(&m, make_conv(&m, make_input(&m, 3, 4, 4), cases[i].channels, 3, 1, 1, 0), 4, 1, 1,
                                   1, 0));
        channels = analyze(m.graph, 1);
        assert_in_range(lg_channels_n_groups(channels), 1, 16);
        assert_ok(lg_prune_widths(widths, channels, cases[i].sparsity, cases[i].round_to));
        group = group_of_output(channels, m.graph, 0);
        assert_int_equal(widths[group].units, cases[i].kept);
        assert_int_equal(widths[group].parts, 1);
        group = group_of_output(channels, m.graph, 1);
        assert_int_equal(widths[group].units, 4); /* the interface */
        lg_channels_free(channels);
        lg_graph_free(m.graph);
    }
}

static void test_prune__grouped_convolutions_reach_the_width(void **state)
{
    static const struct {
        int64_t in, out, groups;
        double sparsity;
        int32_t round_to, in_kept, out_kept, parts;
    } cases[] = {
        { 128, 128, 32, 0.6, 0, 52, 52, 26 },  { 128, 128, 32, 0.3, 0, 90, 90, 30 },
        { 128, 128, 32, 0.8, 0, 26, 26, 13 },  { 256, 256, 32, 0.6, 0, 104, 104, 26 },
        { 256, 256, 32, 0.75, 0, 64, 64, 32 }, { 32, 64, 16, 0.5, 0, 16, 32, 8 },
        { 128, 128, 32, 0.6, 8, 56, 56, 28 },  { 12, 12, 3, 0.9, 0, 1, 1, 1 },
        { 128, 128, 32, 0.0, 0, 128, 128, 32 }, { 32, 32, 8, 0.8, 0, 6, 6, 3 },
        { 32, 32, 8, 0.97, 0, 1, 1, 1 },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        lg_graph *graph = make_grouped(cases[i].in, cases[i].out, cases[i].groups);
        lg_channels *channels = analyze(graph, 1);
        lg_prune_width widths[16];
        size_t in = group_of_output(channels, graph, 0), out = group_of_output(channels, graph, 1);

        assert_ok(lg_prune_widths(widths, channels, cases[i].sparsity, cases[i].round_to));
        if (widths[in].units != cases[i].in_kept || widths[out].units != cases[i].out_kept ||
            widths[in].parts != cases[i].parts)
            fail_msg("%d -> %d in %d groups at %g: kept %d, %d in %d, expected %d, %d in %d", (int)cases[i].in,
                     (int)cases[i].out, (int)cases[i].groups, cases[i].sparsity, widths[in].units, widths[out].units,
                     widths[in].parts, cases[i].in_kept, cases[i].out_kept, cases[i].parts);
        assert_int_equal(widths[out].parts, widths[in].parts);
        lg_channels_free(channels);
        lg_graph_free(graph);
    }
}

/* On every graph: at least one unit, frozen groups whole, plain groups exact, ring groups in step with each other. */
static void test_prune__widths_of_random_graphs(void **state)
{
    static const double sparsities[] = { 0.0, 0.2, 0.5, 0.6, 0.8, 0.95 };
    int n_grouped = 0;

    for (uint64_t seed = 0; seed < 300; seed++) {
        lg_graph *graph = seed % 2 ? make_wide_graph(seed) : make_random_graph(seed);
        lg_channels *channels = analyze(graph, 1);
        size_t n = lg_channels_n_groups(channels);
        lg_prune_width *widths;

        assert_ok(LG_CALLOC(&widths, n));
        for (size_t s = 0; s < sizeof(sparsities) / sizeof(*sparsities); s++) {
            assert_ok(lg_prune_widths(widths, channels, sparsities[s], 0));
            for (size_t g = 0; g < n; g++) {
                const lg_channel_group *group = lg_channels_group(channels, g);

                assert_in_range(widths[g].units, 1, group->n_units);
                assert_int_equal(widths[g].units % widths[g].parts, 0);
                if (group->frozen || sparsities[s] == 0.0)
                    assert_int_equal(widths[g].units, group->n_units);
                else if (group->parts == 1)
                    assert_int_equal(widths[g].units, (int)fmax(1.0, round((1.0 - sparsities[s]) * group->n_units)));
                if (group->parts > 1) {
                    n_grouped++;
                    assert_int_equal(widths[g].parts, widths[group->partner].parts);
                    assert_in_range(widths[g].units / widths[g].parts, 1, group->n_units / group->parts);
                }
            }
        }
        lg_free(widths);
        lg_channels_free(channels);
        lg_graph_free(graph);
    }
    assert_true(n_grouped > 100);
}

static void test_prune__bad_sparsities_are_refused(void **state)
{
    lg_graph *graph = make_grouped(8, 8, 2);
    lg_channels *channels = analyze(graph, 1);
    lg_prune_width widths[16];

    assert_fails(LEGO_EINVAL, lg_prune_widths(widths, channels, 1.0, 0));
    assert_says("sparsity 1 is not in [0, 1)");
    assert_fails(LEGO_EINVAL, lg_prune_widths(widths, channels, -0.5, 0));
    assert_fails(LEGO_EINVAL, lg_prune_widths(widths, channels, NAN, 0));
    assert_fails(LEGO_EINVAL, lg_prune_widths(widths, channels, 0.5, -1));
    lg_channels_free(channels);
    lg_graph_free(graph);
}

/* --- choosing --- */

/* Whatever the widths, the flags obey them and every rule: the pruned graph exists and has these widths. */
static void test_prune__selections_of_random_graphs_apply(void **state)
{
    static const lego_criterion criteria[] = { LEGO_CRITERION_L1, LEGO_CRITERION_L2, LEGO_CRITERION_BN_SCALE,
                                               LEGO_CRITERION_FPGM, LEGO_CRITERION_RANDOM };

    for (uint64_t seed = 0; seed < 240; seed++) {
        lg_graph *graph = seed >= 200 ? make_volume_graph(seed) : seed % 2 ? make_wide_graph(seed) : make_random_graph(seed);
        lg_graph *pruned;
        lg_channels *channels = analyze(graph, 1);
        int32_t n_units = lg_channels_n_units(channels);
        lg_prune_width *widths;
        double *scores;
        uint8_t *keep;

        assert_ok(LG_CALLOC(&widths, lg_channels_n_groups(channels)));
        assert_ok(LG_CALLOC(&scores, n_units));
        assert_ok(LG_CALLOC(&keep, n_units));
        assert_ok(lg_prune_scores(scores, &(lg_prune_rank){ seed >= 200 ? criteria[seed % 5] : LEGO_CRITERION_RANDOM, seed,
                                                            NULL }, channels, graph));
        assert_ok(lg_prune_widths(widths, channels, 0.2 + 0.1 * (double)(seed % 7), 0));
        assert_ok(lg_prune_select(keep, channels, widths, scores));
        for (size_t g = 0; g < lg_channels_n_groups(channels); g++) {
            const lg_channel_group *group = lg_channels_group(channels, g);
            int32_t n = 0;
            double worst_kept = INFINITY, best_removed = -INFINITY;

            for (int32_t i = 0; i < group->n_units; i++) {
                double score = scores[group->units[i]];

                n += keep[group->units[i]];
                if (keep[group->units[i]])
                    worst_kept = fmin(worst_kept, score);
                else
                    best_removed = fmax(best_removed, score);
            }
            assert_int_equal(n, widths[g].units);
            if (group->parts == 1)
                assert_true(worst_kept >= best_removed);
        }
        assert_ok(lg_channels_apply(&pruned, channels, graph, keep));
        lg_graph_free(pruned);
        lg_free(widths);
        lg_free(scores);
        lg_free(keep);
        lg_channels_free(channels);
        lg_graph_free(graph);
    }
}

/* Of a grouped convolution, no other choice of whole groups and equal shares has a higher sum. */
static void test_prune__grouped_selection_is_the_best(void **state)
{
    lg_graph *graph = make_grouped(12, 6, 3); /* 3 groups of 4 inputs and 2 outputs */
    lg_channels *channels = analyze(graph, 1);
    const lg_channel_group *in = lg_channels_group(channels, group_of_output(channels, graph, 0));
    const lg_channel_group *out = lg_channels_group(channels, group_of_output(channels, graph, 1));
    lg_prune_width widths[16];
    double *scores, best = 0.0, sum = 0.0;
    uint8_t *keep;

    assert_ok(LG_CALLOC(&scores, lg_channels_n_units(channels)));
    assert_ok(LG_CALLOC(&keep, lg_channels_n_units(channels)));
    assert_ok(lg_prune_scores(scores, &(lg_prune_rank){ LEGO_CRITERION_RANDOM, 3, NULL }, channels, graph));
    assert_ok(lg_prune_widths(widths, channels, 0.0, 0));
    widths[group_of_output(channels, graph, 0)] = (lg_prune_width){ 4, 2 }; /* 2 groups of 2 inputs, 1 output */
    widths[group_of_output(channels, graph, 1)] = (lg_prune_width){ 2, 2 };
    assert_ok(lg_prune_select(keep, channels, widths, scores));
    for (int set = 0; set < 1 << 18; set++) { /* every subset of 12 + 6 units */
        double own = 0.0;
        int ok = 1, n_parts = 0;

        for (int part = 0; part < 3 && ok; part++) {
            int n_in = __builtin_popcount(set >> 4 * part & 15), n_out = __builtin_popcount(set >> (12 + 2 * part) & 3);

            ok = (n_in == 0 && n_out == 0) || (n_in == 2 && n_out == 1);
            n_parts += n_in > 0;
        }
        if (!ok || n_parts != 2)
            continue;
        for (int i = 0; i < 18; i++)
            if (set >> i & 1)
                own += scores[i < 12 ? in->units[i] : out->units[i - 12]];
        best = fmax(best, own);
    }
    for (int i = 0; i < 18; i++) {
        int32_t unit = i < 12 ? in->units[i] : out->units[i - 12];

        sum += keep[unit] ? scores[unit] : 0.0;
    }
    assert_near(sum, best, 1e-12, 0.0);
    lg_free(scores);
    lg_free(keep);
    lg_channels_free(channels);
    lg_graph_free(graph);
}

static void test_prune__ties_and_nan_are_decided(void **state)
{
    maker m;
    lg_channels *channels;
    const lg_channel_group *group;
    lg_prune_width widths[16];
    double *scores;
    uint8_t *keep;

    maker_start(&m, 1);
    maker_finish(&m, make_conv(&m, make_conv(&m, make_input(&m, 3, 4, 4), 4, 3, 1, 1, 0), 4, 1, 1, 1, 0));
    channels = analyze(m.graph, 1);
    group = lg_channels_group(channels, group_of_output(channels, m.graph, 0));
    assert_ok(LG_CALLOC(&scores, lg_channels_n_units(channels)));
    assert_ok(LG_CALLOC(&keep, lg_channels_n_units(channels)));
    assert_ok(lg_prune_widths(widths, channels, 0.5, 0));
    scores[group->units[0]] = NAN;
    assert_ok(lg_prune_select(keep, channels, widths, scores)); /* the others are equal */
    assert_false(keep[group->units[0]]);
    assert_true(keep[group->units[1]]);
    assert_true(keep[group->units[2]]);
    assert_false(keep[group->units[3]]);
    lg_free(scores);
    lg_free(keep);
    lg_channels_free(channels);
    lg_graph_free(m.graph);
}

/* --- criteria --- */

/* |x|_power of row k of a weight whose first axis is the filter. */
static double row_norm(const lg_graph *graph, const char *weight, int64_t k, int power)
{
    const lego_tensor *tensor = &graph->weights[lg_graph_find_weight(graph, weight)].tensor;
    int64_t length = lg_tensor_count(tensor) / tensor->shape.dims[0];
    const float *row = (const float *)lg_tensor_data(tensor) + k * length;
    double sum = 0.0;

    for (int64_t i = 0; i < length; i++)
        sum += power == 1 ? fabs((double)row[i]) : (double)row[i] * row[i];
    return power == 1 ? sum : sqrt(sum);
}

static double row_distance(const lg_graph *graph, const char *weight, int64_t a, int64_t b)
{
    const lego_tensor *tensor = &graph->weights[lg_graph_find_weight(graph, weight)].tensor;
    int64_t length = lg_tensor_count(tensor) / tensor->shape.dims[0];
    const float *data = lg_tensor_data(tensor);
    double sum = 0.0;

    for (int64_t i = 0; i < length; i++) {
        double d = (double)data[a * length + i] - data[b * length + i];

        sum += d * d;
    }
    return sum;
}

/* Two convolutions joined by a sum: conv0 -> bn1, conv2 -> bn3, both from the input; add4 -> conv5. */
static lg_graph *make_joined(void)
{
    maker m;
    int32_t x, a, b;

    maker_start(&m, 21);
    x = make_input(&m, 3, 5, 5);
    a = make_bn(&m, make_conv(&m, x, 7, 3, 1, 1, 0));
    b = make_bn(&m, make_conv(&m, x, 7, 1, 1, 1, 0));
    return maker_finish(&m, make_conv(&m, make_add(&m, a, b), 4, 1, 1, 1, 0));
}

static double expected_score(const lg_graph *graph, lego_criterion criterion, int64_t k)
{
    double sum = 0.0;

    switch (criterion) {
    case LEGO_CRITERION_L1:
    case LEGO_CRITERION_L2:
        return row_norm(graph, "conv0.weight", k, criterion == LEGO_CRITERION_L1 ? 1 : 2) +
               row_norm(graph, "conv2.weight", k, criterion == LEGO_CRITERION_L1 ? 1 : 2);
    case LEGO_CRITERION_BN_SCALE:
        return row_norm(graph, "bn1.weight", k, 1) + row_norm(graph, "bn3.weight", k, 1);
    default: /* FPGM */
        for (int64_t j = 0; j < 7; j++)
            sum += sqrt(row_distance(graph, "conv0.weight", k, j) + row_distance(graph, "conv2.weight", k, j));
        return sum;
    }
}

static void test_prune__criteria_sum_over_what_is_coupled(void **state)
{
    static const lego_criterion criteria[] = { LEGO_CRITERION_L1, LEGO_CRITERION_L2, LEGO_CRITERION_BN_SCALE,
                                               LEGO_CRITERION_FPGM };
    lg_graph *graph = make_joined();
    lg_channels *channels = analyze(graph, 1);
    int32_t weight = lg_graph_find_weight(graph, "conv0.weight");
    double *scores;

    assert_ok(LG_CALLOC(&scores, lg_channels_n_units(channels)));
    for (size_t c = 0; c < sizeof(criteria) / sizeof(*criteria); c++) {
        double mean = 0.0;

        assert_ok(lg_prune_scores(scores, &(lg_prune_rank){ criteria[c], 0, NULL }, channels, graph));
        for (int64_t k = 0; k < 7; k++)
            mean += expected_score(graph, criteria[c], k) / 7.0;
        for (int64_t k = 0; k < 7; k++)
            assert_near(scores[lg_channels_unit(channels, LG_WEIGHT_AXIS(weight, 0), k)],
                        expected_score(graph, criteria[c], k) / mean, 0.0, 1e-5);
    }
    assert_fails(LEGO_EINVAL,
                 lg_prune_scores(scores, &(lg_prune_rank){ LEGO_CRITERION_RECONSTRUCT, 0, NULL }, channels, graph));
    assert_says("'reconstruct' does not score weights");
    lg_free(scores);
    lg_channels_free(channels);
    lg_graph_free(graph);
}

static void test_prune__bn_scale_falls_back_to_l1_without_batch_norm(void **state)
{
    lg_graph *graph = make_grouped(8, 8, 2);
    lg_channels *channels = analyze(graph, 1);
    double *a, *b;

    assert_ok(LG_CALLOC(&a, lg_channels_n_units(channels)));
    assert_ok(LG_CALLOC(&b, lg_channels_n_units(channels)));
    assert_ok(lg_prune_scores(a, &(lg_prune_rank){ LEGO_CRITERION_BN_SCALE, 0, NULL }, channels, graph));
    assert_ok(lg_prune_scores(b, &(lg_prune_rank){ LEGO_CRITERION_L1, 0, NULL }, channels, graph));
    assert_memory_equal(a, b, (size_t)lg_channels_n_units(channels) * sizeof(*a));
    lg_free(a);
    lg_free(b);
    lg_channels_free(channels);
    lg_graph_free(graph);
}

static void test_prune__random_follows_the_seed(void **state)
{
    lg_graph *graph = make_joined();
    lg_channels *channels = analyze(graph, 1);
    size_t bytes = (size_t)lg_channels_n_units(channels) * sizeof(double);
    double *a, *b, *c;

    assert_ok(LG_CALLOC(&a, bytes));
    assert_ok(LG_CALLOC(&b, bytes));
    assert_ok(LG_CALLOC(&c, bytes));
    assert_ok(lg_prune_scores(a, &(lg_prune_rank){ LEGO_CRITERION_RANDOM, 1, NULL }, channels, graph));
    assert_ok(lg_prune_scores(b, &(lg_prune_rank){ LEGO_CRITERION_RANDOM, 1, NULL }, channels, graph));
    assert_ok(lg_prune_scores(c, &(lg_prune_rank){ LEGO_CRITERION_RANDOM, 2, NULL }, channels, graph));
    assert_memory_equal(a, b, bytes);
    assert_memory_not_equal(a, c, bytes);
    lg_free(a);
    lg_free(b);
    lg_free(c);
    lg_channels_free(channels);
    lg_graph_free(graph);
}

static void test_prune__criteria_have_names(void **state)
{
    lego_criterion criterion;

    for (int i = 0; i <= LEGO_CRITERION_TAYLOR; i++) {
        assert_ok(lego_criterion_parse(&criterion, lego_criterion_name((lego_criterion)i)));
        assert_int_equal(criterion, i);
        assert_non_null(lego_criterion_summary((lego_criterion)i));
    }
    assert_null(lego_criterion_name((lego_criterion)99));
    assert_fails(LEGO_ENOTFOUND, lego_criterion_parse(&criterion, "l3"));
    assert_says("'l3' is none of auto reconstruct l1 l2");
}

/* --- whole models --- */

/* Every free group of every block of a model, at each sparsity: what is got is what was asked, within half a step. */
static void check_sparsity_got(const char *name)
{
    static const double sparsities[] = { 0.3, 0.6, 0.8 };
    lego_model *model;
    lg_blocks blocks;
    double worst = 0.0;
    int n_groups = 0;

    assert_ok(lego_zoo_build(&model, NULL, name, NULL));
    assert_ok(lg_blocks_find(&blocks, model->graph, LEGO_BLOCK_MODE_AUTO, 0.0));
    for (int32_t b = 0; b < blocks.n_blocks; b++) {
        lg_prune_block block;
        lg_graph *graph;

        assert_ok(lg_blocks_subgraph(&graph, model->graph, &blocks, b));
        assert_ok(lg_graph_validate(graph));
        assert_ok(lg_prune_block_init(&block, graph, "block", sparsities, 3, 0));
        assert_int_equal(block.n_variants, 3);
        assert_ok(lg_prune_by_score(NULL, &block, 1, LEGO_CRITERION_L1, 0));
        for (int32_t v = 0; v < block.n_variants; v++)
            for (size_t g = 0; g < lg_channels_n_groups(block.channels); g++) {
                const lg_channel_group *group = lg_channels_group(block.channels, g);
                const lg_axis *axis = &group->axes[0];
                int64_t kept; /* counted in the pruned graph, not taken from the plan */
                double step = group->parts > 1 ? (double)block.variants[v].widths[g].units /
                                                     block.variants[v].widths[g].parts
                                               : 1.0;

                if (group->frozen)
                    continue;
                while (!axis->is_weight || axis->axis != 0)
                    axis++;
                kept = block.variants[v].graph->weights[lg_graph_find_weight(block.variants[v].graph,
                                                                             graph->weights[axis->id].name)]
                           .tensor.shape.dims[0];
                worst = fmax(worst, fabs(1.0 - (double)kept / group->n_units - sparsities[v]));
                if (fabs((double)kept - (1.0 - sparsities[v]) * group->n_units) > 0.5 * step + 1e-9)
                    fail_msg("%s, block %d, sparsity %g: %d of %d channels kept", name, b, sparsities[v], (int)kept,
                             group->n_units);
                n_groups++;
            }
        lg_prune_block_dispose(&block);
        lg_graph_free(graph);
    }
    printf("%s: %d groups, sparsity got differs from that asked by %.4f at most\n", name, n_groups, worst);
    assert_true(n_groups > 0);
    lg_blocks_dispose(&blocks);
    lego_model_free(model);
}

static void test_prune__sparsity_asked_is_sparsity_got(void **state)
{
    check_sparsity_got("resnet18-cifar");
    check_sparsity_got("mobilenet_v2-cifar");
    check_sparsity_got("resnext29-cifar");
    check_sparsity_got("resnext50_32x4d");
}

/* A basic block from c channels to c, hidden width h: two 3x3 convolutions and their batch norms. */
static int64_t basic_block_parameters(int64_t c, int64_t h)
{
    return 9 * c * h + 2 * h + 9 * h * c + 2 * c;
}

static void test_prune__parameters_are_those_of_the_widths(void **state)
{
    static const double sparsities[] = { 0.3, 0.6, 0.8 };
    static const int64_t hidden[] = { 45, 26, 13 };
    lego_model *model;
    lg_blocks blocks;
    lg_prune_block block;
    lg_graph *graph;

    assert_ok(lego_zoo_build(&model, NULL, "resnet18-cifar", NULL));
    assert_ok(lg_blocks_find(&blocks, model->graph, LEGO_BLOCK_MODE_AUTO, 0.0));
    assert_ok(lg_blocks_subgraph(&graph, model->graph, &blocks, 1)); /* layer1.1 */
    assert_ok(lg_graph_validate(graph));
    assert_int_equal(lg_graph_parameters(graph), basic_block_parameters(64, 64));
    assert_ok(lg_prune_block_init(&block, graph, "b1", sparsities, 3, 0));
    assert_ok(lg_prune_by_score(NULL, &block, 1, LEGO_CRITERION_L1, 0));
    for (int32_t v = 0; v < 3; v++)
        assert_int_equal(lg_graph_parameters(block.variants[v].graph), basic_block_parameters(64, hidden[v]));
    lg_prune_block_dispose(&block);
    lg_graph_free(graph);
    lg_blocks_dispose(&blocks);
    lego_model_free(model);
}

static void test_prune__equal_widths_become_aliases(void **state)
{
    static const double sparsities[] = { 0.05, 0.5, 0.55, 0.8 };
    lg_prune_block block;
    maker m;

    maker_start(&m, 1); /* 4 hidden channels: 4, 2, 2, 1 */
    maker_finish(&m, make_conv(&m, make_conv(&m, make_input(&m, 3, 4, 4), 4, 3, 1, 1, 0), 4, 1, 1, 1, 0));
    assert_ok(lg_prune_block_init(&block, m.graph, "b0", sparsities, 4, 0));
    assert_int_equal(block.n_variants, 2);
    assert_string_equal(block.variants[0].name, "s0.5");
    assert_string_equal(block.variants[1].name, "s0.8");
    assert_int_equal(block.n_aliases, 2);
    assert_string_equal(block.aliases[0].name, "s0.05");
    assert_int_equal(block.aliases[0].variant, LG_NONE);
    assert_string_equal(block.aliases[1].name, "s0.55");
    assert_int_equal(block.aliases[1].variant, 0);
    lg_prune_block_dispose(&block);
    lg_graph_free(m.graph);
}

static void test_prune__a_block_without_free_channels_says_why(void **state)
{
    static const double sparsities[] = { 0.5 };
    lg_prune_block block;
    maker m;

    maker_start(&m, 1);
    maker_finish(&m, make_conv(&m, make_input(&m, 3, 4, 4), 4, 3, 1, 1, 0));
    assert_fails(LEGO_EUNSUPPORTED, lg_prune_block_init(&block, m.graph, "b7", sparsities, 1, 0));
    assert_says("block 'b7' has no channels that could go (interface of the block)");
    lg_graph_free(m.graph);
}

static lego_status prune_all(const lg_graph *graph, lego_criterion criterion)
{
    static const double sparsities[] = { 0.3, 0.6 };
    lg_prune_block block;
    lego_status status = lg_prune_block_init(&block, graph, "b0", sparsities, 2, 0);

    if (status != LEGO_OK)
        return status;
    status = lg_prune_by_score(NULL, &block, 1, criterion, 0);
    lg_prune_block_dispose(&block);
    return status;
}

static void test_prune__survives_allocation_failures(void **state)
{
    lg_graph *joined = make_joined(), *grouped = make_grouped(8, 8, 4);

    for (int criterion = LEGO_CRITERION_L1; criterion <= LEGO_CRITERION_RANDOM; criterion++) {
        assert_survives_oom(prune_all(joined, (lego_criterion)criterion), (void)0);
        assert_survives_oom(prune_all(grouped, (lego_criterion)criterion), (void)0);
    }
    lg_graph_free(joined);
    lg_graph_free(grouped);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prune__plain_groups_keep_what_was_asked),
        cmocka_unit_test(test_prune__grouped_convolutions_reach_the_width),
        cmocka_unit_test(test_prune__widths_of_random_graphs),
        cmocka_unit_test(test_prune__bad_sparsities_are_refused),
        cmocka_unit_test(test_prune__selections_of_random_graphs_apply),
        cmocka_unit_test(test_prune__grouped_selection_is_the_best),
        cmocka_unit_test(test_prune__ties_and_nan_are_decided),
        cmocka_unit_test(test_prune__criteria_sum_over_what_is_coupled),
        cmocka_unit_test(test_prune__bn_scale_falls_back_to_l1_without_batch_norm),
        cmocka_unit_test(test_prune__random_follows_the_seed),
        cmocka_unit_test(test_prune__criteria_have_names),
        cmocka_unit_test(test_prune__sparsity_asked_is_sparsity_got),
        cmocka_unit_test(test_prune__parameters_are_those_of_the_widths),
        cmocka_unit_test(test_prune__equal_widths_become_aliases),
        cmocka_unit_test(test_prune__a_block_without_free_channels_says_why),
        cmocka_unit_test(test_prune__survives_allocation_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
