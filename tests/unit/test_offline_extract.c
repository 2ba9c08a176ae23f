/* extract/: blocks against the reference's tables, against brute force, on random graphs; what extract refuses. */
#include "support/couplings.h"
#include "support/volumes.h"
#include "support/exact.h"
#include "support/graphs.h"

#include <math.h>
#include <time.h>

#include "extract/extract.h"
#include "legodnn/block.h"
#include "store/store.h"

static lego_model *build(const char *name, int32_t width, int32_t size)
{
    lego_zoo_options options = LEGO_ZOO_OPTIONS_INIT;
    lego_model *model;

    options.width = width;
    if (size > 0) {
        options.input[0] = 3;
        options.input[1] = options.input[2] = size;
    }
    assert_ok(lego_zoo_build(&model, NULL, name, &options));
    return model;
}

static lg_channels *analyze_block(lg_graph **block, const lg_graph *graph, const lg_blocks *blocks, int32_t b)
{
    lg_channels *channels;

    assert_ok(lg_blocks_subgraph(block, graph, blocks, b));
    assert_ok(lg_graph_validate(*block));
    assert_ok(lg_channels_analyze(&channels, *block, 1));
    return channels;
}

/* --- the reference's tables (MODEL_ZOO.md): the layers it prunes, a line a block --- */

static const char *const resnet18_pruned[] = {
    "layer1.0.conv1", "layer1.1.conv1", "layer2.0.conv1", "layer2.1.conv1",
    "layer3.0.conv1", "layer3.1.conv1", "layer4.0.conv1", "layer4.1.conv1",
};

static const char *const mobilenet_pruned[] = {
    "features.0.0 features.1.conv.0 features.1.conv.3 features.2.conv.0 features.2.conv.3",
    "features.3.conv.0 features.3.conv.3 features.3.conv.6 features.4.conv.0 features.4.conv.3",
    "features.5.conv.0 features.5.conv.3 features.6.conv.0 features.6.conv.3",
    "features.7.conv.0 features.7.conv.3 features.8.conv.0 features.8.conv.3",
    "features.9.conv.0 features.9.conv.3",
    "features.10.conv.0 features.10.conv.3",
    "features.11.conv.0 features.11.conv.3 features.12.conv.0 features.12.conv.3",
    "features.13.conv.0 features.13.conv.3",
    "features.14.conv.0 features.14.conv.3 features.15.conv.0 features.15.conv.3",
    "features.16.conv.0 features.16.conv.3",
    "features.17.conv.0 features.17.conv.3 features.17.conv.6",
};

static const char *const resnext_pruned[] = {
    "layer1.0.conv1 layer1.0.conv2", "layer1.1.conv1 layer1.1.conv2", "layer1.2.conv1 layer1.2.conv2",
    "layer2.0.conv1 layer2.0.conv2", "layer2.1.conv1 layer2.1.conv2", "layer2.2.conv1 layer2.2.conv2",
    "layer3.0.conv1 layer3.0.conv2", "layer3.1.conv1 layer3.1.conv2", "layer3.2.conv1 layer3.2.conv2",
};

/* MACs of the layers in a line of the table; `hits` counts those that one of our blocks prunes. */
static double table_macs(int *hits, const lg_graph *graph, const char *line, const uint8_t *prunable)
{
    char text[256], *save = NULL;
    double macs = 0.0;

    *hits = 0;
    snprintf(text, sizeof(text), "%s", line);
    for (char *name = strtok_r(text, " ", &save); name; name = strtok_r(NULL, " ", &save)) {
        int32_t node = lg_graph_find_node(graph, name);

        assert_true(node != LG_NONE);
        macs += (double)lg_node_macs(graph, &graph->nodes[node]);
        *hits += prunable[node];
    }
    return macs;
}

static void check_against_table(const char *name, const char *const *lines, int n_lines, int32_t max_layers)
{
    lego_model *model = build(name, 0, 0);
    const lg_graph *graph = model->graph;
    uint8_t *prunable;
    double own = 0.0, reference = 0.0, total = 0.0;
    lg_blocks blocks;

    assert_ok(LG_CALLOC(&prunable, graph->n_nodes));
    assert_ok(lg_blocks_find(&blocks, graph, LEGO_BLOCK_MODE_AUTO, 0.0));
    assert_int_equal(blocks.mode, LEGO_BLOCK_MODE_OTO);
    assert_int_equal(blocks.limits.max, max_layers);
    assert_true(blocks.n_blocks >= n_lines);
    for (int32_t b = 0; b < blocks.n_blocks; b++) {
        lg_graph *block;
        lg_channels *channels = analyze_block(&block, graph, &blocks, b);
        int n_compressed = 0;

        assert_int_equal(block->n_inputs, 1);
        assert_int_equal(block->n_outputs, 1);
        for (int32_t n = 0; n < block->n_nodes; n++) {
            if (!lg_op_is_compressible(block->nodes[n].op))
                continue;
            n_compressed += lg_block_layer_role(block, channels, &block->nodes[n]) != LG_LAYER_CARRIED;
            if (lg_block_layer_role(block, channels, &block->nodes[n]) == LG_LAYER_PRUNABLE)
                prunable[lg_graph_find_node(graph, block->nodes[n].name)] = 1;
        }
        assert_in_range(n_compressed, 2, max_layers);
        lg_channels_free(channels);
        lg_graph_free(block);
    }
    for (int32_t n = 0; n < graph->n_nodes; n++) {
        total += (double)lg_node_macs(graph, &graph->nodes[n]);
        own += prunable[n] ? (double)lg_node_macs(graph, &graph->nodes[n]) : 0.0;
    }
    for (int i = 0; i < n_lines; i++) {
        int hits;

        reference += table_macs(&hits, graph, lines[i], prunable);
        if (hits == 0)
            fail_msg("%s: nothing of the reference's block %d can be pruned", name, i);
    }
    printf("%s: %d blocks (reference %d), %.2f %% of the MACs prunable (reference %.2f %%)\n", name, blocks.n_blocks,
           n_lines, 100.0 * own / total, 100.0 * reference / total);
    assert_true(own >= reference);
    lg_blocks_dispose(&blocks);
    lg_free(prunable);
    lego_model_free(model);
}

static void test_extract__blocks_cover_what_the_reference_covers(void **state)
{
    check_against_table("resnet18-cifar", resnet18_pruned, 8, 2);
    check_against_table("mobilenet_v2-cifar", mobilenet_pruned, 11, 6);
    check_against_table("resnext29-cifar", resnext_pruned, 9, 4);
}

/* A block of a residual network ends behind the sum and the activation. */
static void test_extract__blocks_close_residuals(void **state)
{
    static const char *const models[] = { "resnet18-cifar", "resnext29-cifar", "resnet50" };

    for (size_t m = 0; m < sizeof(models) / sizeof(*models); m++) {
        lego_model *model = build(models[m], 0, 0);
        const lg_graph *graph = model->graph;
        lg_blocks blocks;

        assert_ok(lg_blocks_find(&blocks, graph, LEGO_BLOCK_MODE_AUTO, 0.0));
        for (int32_t n = 0; n < graph->n_nodes; n++)
            if (graph->nodes[n].op->kind == LG_OP_ADD) {
                int32_t after = n + 1;

                assert_true(blocks.block_of[n] != LG_NONE);
                assert_int_equal(graph->nodes[after].op->kind, LG_OP_RELU);
                assert_int_equal(blocks.block_of[after], blocks.block_of[n]);
            }
        lg_blocks_dispose(&blocks);
        lego_model_free(model);
    }
}

/* Half of the seeds: the three families' ops, the others: all ops. */
static lg_graph *make_any_graph(uint64_t seed)
{
    return seed % 2 == 0 ? make_random_graph(seed) : make_wide_graph(seed);
}

/* --- random graphs: what every choice of blocks must obey --- */

static void check_blocks(const lg_graph *graph, const lg_blocks *blocks, lego_block_mode mode)
{
    char names[64][16];
    const char *pointers[64];
    lg_graph *frame;

    assert_in_range(blocks->n_blocks, 1, 63);
    for (int32_t b = 0; b < blocks->n_blocks; b++) {
        lg_graph *block;
        lg_channels *channels = analyze_block(&block, graph, blocks, b);
        int n_free = 0, n_layers = 0, n_compressed = 0;

        for (size_t g = 0; g < lg_channels_n_groups(channels); g++)
            n_free += !lg_channels_group(channels, g)->frozen;
        for (int32_t n = 0; n < block->n_nodes; n++) {
            int is_layer = lg_op_is_compressible(block->nodes[n].op);

            n_layers += is_layer;
            n_compressed += is_layer && lg_block_layer_role(block, channels, &block->nodes[n]) != LG_LAYER_CARRIED;
        }
        assert_true(n_free > 0);
        assert_in_range(n_layers, 2, blocks->limits.max_total);
        assert_in_range(n_compressed, 1, blocks->limits.max);
        if (mode == LEGO_BLOCK_MODE_OTO || mode == LEGO_BLOCK_MODE_OTM)
            assert_int_equal(block->n_inputs, 1);
        if (mode == LEGO_BLOCK_MODE_OTO || mode == LEGO_BLOCK_MODE_MTO)
            assert_int_equal(block->n_outputs, 1);
        lg_channels_free(channels);
        lg_graph_free(block);
        snprintf(names[b], sizeof(names[b]), "b%d", b);
        pointers[b] = names[b];
    }
    /* convex, and no cycle between blocks: else the frame has no topological order */
    assert_ok(lg_graph_frame(&frame, graph, blocks->block_of, blocks->n_blocks, pointers));
    assert_ok(lg_graph_validate(frame));
    lg_graph_free(frame);
}

static void test_extract__blocks_of_random_graphs_are_valid(void **state)
{
    int n_found = 0;

    for (uint64_t seed = 0; seed < 200; seed++) {
        lg_graph *graph = seed < 120   ? make_any_graph(seed)
                          : seed < 160 ? make_coupled_graph(seed)
                                       : make_volume_graph(seed);

        for (int mode = LEGO_BLOCK_MODE_AUTO; mode <= LEGO_BLOCK_MODE_MTM; mode++)
            for (int wide = 0; wide < 2; wide++) {
                lg_blocks blocks, again;
                lego_status status = lg_blocks_find(&blocks, graph, (lego_block_mode)mode, wide ? 0.6 : 0.0);

                if (status == LEGO_EUNSUPPORTED)
                    continue;
                assert_ok(status);
                check_blocks(graph, &blocks, blocks.mode);
                assert_ok(lg_blocks_find(&again, graph, (lego_block_mode)mode, wide ? 0.6 : 0.0));
                assert_memory_equal(blocks.block_of, again.block_of,
                                    (size_t)graph->n_nodes * sizeof(*blocks.block_of));
                n_found += blocks.n_blocks;
                lg_blocks_dispose(&again);
                lg_blocks_dispose(&blocks);
            }
        lg_graph_free(graph);
    }
    assert_true(n_found > 500);
}

/* --- against brute force --- */

/* The layers of a node set as bits by node. */
static uint32_t layers_of(const lg_graph *graph, uint32_t set)
{
    uint32_t layers = 0;

    for (int32_t n = 0; n < graph->n_nodes; n++)
        if ((set >> n & 1) && lg_op_is_compressible(graph->nodes[n].op))
            layers |= 1u << n;
    return layers;
}

static uint32_t bits_of(const lg_candidates *candidates, const lg_candidate *candidate)
{
    uint32_t set = 0;

    for (int32_t i = 0; i < candidate->n_nodes; i++)
        set |= 1u << candidates->nodes[candidate->first_node + i];
    return set;
}

/* FLOPs that a set of nodes makes prunable, exactly; 0 if it is no oto block. Any subset of the nodes. */
static int64_t brute_worth(const lg_graph *graph, uint32_t set, const lg_block_limits *limits)
{
    uint8_t in_set[32] = { 0 };
    lg_graph *block = NULL;
    lg_channels *channels = NULL;
    int32_t block_of[32], n_layers = 0, n_compressed = 0;
    const char *const names[] = { "b0" };
    lg_graph *frame = NULL;
    int64_t flops = 0;

    for (int32_t n = 0; n < graph->n_nodes; n++) {
        in_set[n] = set >> n & 1;
        block_of[n] = in_set[n] ? 0 : LG_NONE;
        n_layers += in_set[n] && lg_op_is_compressible(graph->nodes[n].op);
    }
    if (n_layers < 2 || n_layers > limits->max_total)
        return 0;
    assert_ok(lg_graph_subgraph(&block, graph, in_set, NULL, NULL));
    if (block->n_inputs != 1 || block->n_outputs != 1)
        goto done;
    if (lg_graph_frame(&frame, graph, block_of, 1, names) != LEGO_OK || lg_graph_validate(frame) != LEGO_OK)
        goto done; /* not convex */
    assert_ok(lg_graph_validate(block));
    assert_ok(lg_channels_analyze(&channels, block, 1));
    for (int32_t n = 0; n < block->n_nodes; n++) {
        const lg_node *node = &block->nodes[n];

        if (!lg_op_is_compressible(node->op))
            continue;
        n_compressed += lg_block_layer_role(block, channels, node) != LG_LAYER_CARRIED;
        flops += llround(lg_layer_free_share(NULL, channels, block, node, 1) * (double)lg_node_flops(block, node));
    }
    if (n_compressed > limits->max)
        flops = 0;
done:
    lg_channels_free(channels);
    lg_graph_free(frame);
    lg_graph_free(block);
    return flops;
}

static void test_extract__no_block_is_overlooked(void **state)
{
    int n_checked = 0;

    for (uint64_t seed = 0; seed < 400 && n_checked < 400; seed++) {
        lg_graph *graph = make_any_graph(seed);
        const lg_block_limits limits = { 0, 2, 3, 4 };
        lg_candidates candidates;
        lg_ties *ties;

        if (graph->n_nodes > 11) {
            lg_graph_free(graph);
            continue;
        }
        assert_ok(lg_ties_create(&ties, graph));
        assert_ok(lg_candidates_find(&candidates, graph, ties, LEGO_BLOCK_MODE_OTO, &limits));
        for (uint32_t set = 1; set < 1u << graph->n_nodes; set++) {
            int64_t flops = brute_worth(graph, set, &limits);
            int found = 0;

            if (flops == 0)
                continue;
            n_checked++;
            for (int32_t c = 0; c < candidates.n && !found; c++)
                found = layers_of(graph, bits_of(&candidates, &candidates.list[c])) == layers_of(graph, set) &&
                        candidates.list[c].worth.gain >= flops + candidates.bonus;
            if (!found)
                fail_msg("seed %d: the block %x of %d nodes is missing", (int)seed, set, graph->n_nodes);
        }
        for (int32_t c = 0; c < candidates.n; c++) { /* and nothing else is there */
            uint32_t set = bits_of(&candidates, &candidates.list[c]);

            assert_true(brute_worth(graph, set, &limits) > 0);
        }
        lg_candidates_dispose(&candidates);
        lg_ties_free(ties);
        lg_graph_free(graph);
    }
    assert_true(n_checked >= 100);
}

/* The best gain of disjoint candidates among list[from ...], spans starting at `begin` or later, by trying all. */
static int64_t best_gain(const lg_candidates *candidates, int32_t from, uint64_t taken)
{
    int64_t best = 0;

    for (int32_t c = from; c < candidates->n; c++) {
        const lg_candidate *candidate = &candidates->list[c];
        uint64_t span = 0;
        int64_t gain;

        for (int32_t p = candidate->begin; p < candidate->end; p++)
            span |= 1ull << p;
        if (span & taken)
            continue;
        gain = candidate->worth.gain + best_gain(candidates, c + 1, taken | span);
        best = gain > best ? gain : best;
    }
    return best;
}

static void test_extract__choice_equals_brute_force(void **state)
{
    int n_checked = 0;

    for (uint64_t seed = 0; seed < 200; seed++) {
        lg_graph *graph = make_any_graph(seed);
        const lg_block_limits limits = { 0, 2, 4, 6 };
        lg_candidates candidates;
        lg_ties *ties;
        int32_t *chosen, n_chosen;
        int64_t gain = 0;

        assert_ok(lg_ties_create(&ties, graph));
        assert_ok(lg_candidates_find(&candidates, graph, ties, LEGO_BLOCK_MODE_MTM, &limits));
        if (graph->n_nodes <= 63 && candidates.n > 0 && candidates.n <= 60) {
            assert_ok(lg_candidates_choose(&chosen, &n_chosen, &candidates, graph->n_nodes));
            for (int32_t i = 0; i < n_chosen; i++)
                gain += candidates.list[chosen[i]].worth.gain;
            assert_int_equal(gain, best_gain(&candidates, 0, 0));
            lg_free(chosen);
            n_checked++;
        }
        lg_candidates_dispose(&candidates);
        lg_ties_free(ties);
        lg_graph_free(graph);
    }
    assert_true(n_checked > 50);
}

/* --- modes --- */

/* `n_inputs` convolutions joined by sums, an activation, `n_outputs` convolutions. */
static lg_graph *make_fan(int n_inputs, int n_outputs)
{
    maker m;
    int32_t x = LG_NONE;

    maker_start(&m, 1);
    for (int i = 0; i < n_inputs; i++) {
        char name[16];
        int32_t input;

        snprintf(name, sizeof(name), "input%d", i);
        assert_ok(lg_graph_add_input(&input, m.graph, name, LEGO_DTYPE_F32, &(lg_shape){ 3, { 3, 6, 6 } }));
        input = make_conv(&m, input, 8, 3, 1, 1, 0);
        x = x == LG_NONE ? input : make_add(&m, x, input);
    }
    x = make_unary(&m, x, "relu", NULL);
    for (int i = 0; i < n_outputs; i++)
        assert_ok(lg_graph_add_output(m.graph, make_conv(&m, x, 4, 3, 1, 1, 0)));
    assert_ok(lg_graph_validate(m.graph));
    return m.graph;
}

static void test_extract__auto_takes_the_simplest_mode_that_covers(void **state)
{
    static const struct {
        int n_inputs, n_outputs;
        lego_block_mode mode;
    } cases[] = {
        { 1, 1, LEGO_BLOCK_MODE_OTO },
        { 1, 2, LEGO_BLOCK_MODE_OTM },
        { 2, 1, LEGO_BLOCK_MODE_MTO },
        { 2, 3, LEGO_BLOCK_MODE_MTM },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        lg_graph *graph = make_fan(cases[i].n_inputs, cases[i].n_outputs), *block;
        lg_blocks blocks;

        assert_ok(lg_blocks_find(&blocks, graph, LEGO_BLOCK_MODE_AUTO, 1.0));
        assert_int_equal(blocks.mode, cases[i].mode);
        assert_int_equal(blocks.n_blocks, 1);
        assert_ok(lg_blocks_subgraph(&block, graph, &blocks, 0));
        assert_int_equal(block->n_inputs, cases[i].n_inputs);
        assert_int_equal(block->n_outputs, cases[i].n_outputs);
        assert_int_equal(block->n_nodes, graph->n_nodes);
        lg_graph_free(block);
        lg_blocks_dispose(&blocks);
        for (int mode = LEGO_BLOCK_MODE_OTO; mode < (int)cases[i].mode; mode++) /* the simpler ones find nothing */
            if (mode != LEGO_BLOCK_MODE_OTM || cases[i].n_inputs > 1) {
                assert_fails(LEGO_EUNSUPPORTED, lg_blocks_find(&blocks, graph, (lego_block_mode)mode, 1.0));
                assert_says("can be a block in mode");
            }
        lg_graph_free(graph);
    }
}

/* --- shared weights --- */

static void test_extract__shared_weights_stay_together(void **state)
{
    maker m;
    int32_t x, weight, value, weights[2] = { LG_NONE, LG_NONE };
    lg_blocks blocks;
    const int64_t dims[] = { 4, 4, 3, 3 };
    const lg_attrs attrs = { .conv = { { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 }, 1 } };

    maker_start(&m, 1);
    x = make_input(&m, 4, 6, 6);
    weight = weights[0] = make_weight(&m, "shared", "weight", 4, dims, 0);
    for (int i = 0; i < 3; i++) { /* the shared convolution, then one of its own, three times */
        char name[16];

        snprintf(name, sizeof(name), "shared%d", i);
        assert_ok(lg_graph_add_node(&value, m.graph, "conv2d", name, &attrs, 1, &x, 2, weights));
        x = make_conv(&m, make_unary(&m, value, "relu", NULL), 4, 3, 1, 1, 0);
    }
    for (int i = 0; i < 4; i++)
        x = make_conv(&m, x, 8, 3, 1, 1, 0);
    maker_finish(&m, x);
    assert_ok(lg_blocks_find(&blocks, m.graph, LEGO_BLOCK_MODE_OTO, 0.25));
    for (int32_t n = 0; n < m.graph->n_nodes; n++)
        if (m.graph->nodes[n].n_weights > 0 && m.graph->nodes[n].weights[0] == weight)
            assert_int_equal(blocks.block_of[n], LG_NONE); /* two layers a block cannot hold all three */
    lg_blocks_dispose(&blocks);
    assert_ok(lg_blocks_find(&blocks, m.graph, LEGO_BLOCK_MODE_OTO, 1.0));
    check_blocks(m.graph, &blocks, LEGO_BLOCK_MODE_OTO);
    lg_blocks_dispose(&blocks);
    lg_graph_free(m.graph);
}

/* --- speed --- */

static void test_extract__a_thousand_nodes_take_less_than_a_second(void **state)
{
    maker m;
    int32_t x;
    lg_blocks blocks;
    clock_t start;
    double seconds;

    maker_start(&m, 1);
    x = make_input(&m, 3, 8, 8);
    while (m.graph->n_nodes < 1000)
        x = make_unary(&m, make_bn(&m, make_conv(&m, x, 16, 3, 1, 1, 0)), "relu", NULL);
    maker_finish(&m, x);
    start = clock();
    assert_ok(lg_blocks_find(&blocks, m.graph, LEGO_BLOCK_MODE_AUTO, 0.0));
    seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    printf("%d nodes, up to %d layers a block: %d blocks in %.0f ms\n", m.graph->n_nodes, blocks.limits.max,
           blocks.n_blocks, 1e3 * seconds);
#ifdef __SANITIZE_ADDRESS__
    assert_true(seconds < 20.0);
#else
    assert_true(seconds < 2.0); /* of processor time: under one on a quiet machine */
#endif
    lg_blocks_dispose(&blocks);
    lg_graph_free(m.graph);
}

/* --- lego_extract --- */

static lego_extract_options options_of(const double *sparsities, size_t n)
{
    lego_extract_options options = LEGO_EXTRACT_OPTIONS_INIT;

    options.sparsities = sparsities;
    options.n_sparsities = n;
    return options;
}

static void check_composition(const char *name, int32_t width, int32_t size, const char *path)
{
    const double sparsities[] = { 0.6 };
    lego_extract_options options = options_of(sparsities, 1);
    lego_model *model = build(name, width, size), *originals, *pruned;
    int64_t n_in = lg_value_elements(&model->graph->values[model->graph->inputs[0]]);
    int64_t n_out = lg_value_elements(&model->graph->values[model->graph->outputs[0]]);
    float *in, *expected, *out;
    lego_store *store;
    lego_selection *selection;
    lg_rng rng;

    options.criterion = LEGO_CRITERION_L2;
    assert_ok(lego_extract(NULL, model, path, &options));
    assert_ok(lego_store_open(&store, NULL, path));
    assert_ok(lego_selection_parse(&selection, store, ""));
    assert_ok(lego_store_compose(&originals, store, selection));
    lego_selection_free(selection);
    assert_ok(lego_selection_parse(&selection, store, "all=s0.6"));
    assert_ok(lego_store_compose(&pruned, store, selection));
    lego_selection_free(selection);

    assert_int_equal(lg_graph_parameters(originals->graph), lg_graph_parameters(model->graph));
    assert_int_equal(lg_graph_flops(originals->graph), lg_graph_flops(model->graph));
    assert_true(lg_graph_flops(pruned->graph) < lg_graph_flops(model->graph));
    assert_ok(LG_CALLOC(&in, n_in));
    assert_ok(LG_CALLOC(&expected, n_out));
    assert_ok(LG_CALLOC(&out, n_out));
    lg_rng_init(&rng, 1, 1);
    for (int64_t i = 0; i < n_in; i++)
        in[i] = (float)lg_rng_normal(&rng);
    run_exact_into(expected, model->graph, in, 1);
    run_exact_into(out, originals->graph, in, 1);
    assert_memory_equal(out, expected, (size_t)n_out * sizeof(float));
    run_exact_into(out, pruned->graph, in, 1); /* it runs; what it says is pruning's business */
    lg_free(in);
    lg_free(expected);
    lg_free(out);
    lego_model_free(originals);
    lego_model_free(pruned);
    lego_model_free(model);
    lego_store_free(store);
    assert_ok(lg_dir_remove(path));
}

static void test_extract__originals_compose_to_the_model_bit_for_bit(void **state)
{
    check_composition("resnet18-cifar", 16, 0, in_folder(state, "store"));
    check_composition("mobilenet_v2-cifar", 0, 16, in_folder(state, "store"));
    check_composition("resnext29-cifar", 0, 0, in_folder(state, "store"));
    check_composition("resnet50", 16, 64, in_folder(state, "store"));
}

static void test_extract__random_graphs_compose_bit_for_bit(void **state)
{
    const char *text = getenv("LG_TEST_GRAPHS");
    const int n_wanted = text ? (int)strtol(text, NULL, 10) : 12;
    char path[512];
    int n = 0;

    snprintf(path, sizeof(path), "%s", in_folder(state, "store"));
    for (uint64_t seed = 200; n < n_wanted; seed++) {
        lego_extract_options options = LEGO_EXTRACT_OPTIONS_INIT;
        lego_model model = { seed % 2 ? make_coupled_graph(seed) : make_any_graph(seed / 2) };
        int64_t n_in = lg_value_elements(&model.graph->values[model.graph->inputs[0]]);
        int64_t n_out = lg_value_elements(&model.graph->values[model.graph->outputs[0]]);
        float *in, *expected, *out;
        lego_store *store;
        lg_graph *composed;
        lego_selection *selection;
        lego_status status;

        options.ratio = 0.5;
        options.mode = (lego_block_mode)(1 + n % 4);
        status = lego_extract(NULL, &model, path, &options);
        if (status == LEGO_EUNSUPPORTED) {
            lg_graph_free(model.graph);
            continue;
        }
        assert_ok(status);
        n++;
        assert_ok(lego_store_open(&store, NULL, path));
        assert_ok(lego_selection_parse(&selection, store, NULL));
        assert_ok(lg_store_compose(&composed, store, selection->variants));
        assert_ok(LG_CALLOC(&in, n_in));
        assert_ok(LG_CALLOC(&expected, n_out));
        assert_ok(LG_CALLOC(&out, n_out));
        for (int64_t i = 0; i < n_in; i++)
            in[i] = (float)(i % 7) - 3.0f;
        run_exact_into(expected, model.graph, in, 1);
        run_exact_into(out, composed, in, 1);
        if (memcmp(out, expected, (size_t)n_out * sizeof(float)) != 0)
            fail_msg("seed %d: the originals do not compose to the model", (int)seed);
        assert_int_equal(lg_graph_parameters(composed), lg_graph_parameters(model.graph));
        lg_graph_free(composed);
        assert_ok(lego_selection_set(selection, 0, lego_store_n_variants(store, 0) - 1));
        assert_ok(lg_store_compose(&composed, store, selection->variants));
        run_exact_into(out, composed, in, 1);
        lg_graph_free(composed);
        lg_free(in);
        lg_free(expected);
        lg_free(out);
        lego_selection_free(selection);
        lego_store_free(store);
        lg_graph_free(model.graph);
    }
}

static void test_extract__bad_options_say_what_is_allowed(void **state)
{
    static const struct {
        double sparsity, ratio;
        int mode, criterion, round_to;
        const char *says;
    } bad[] = {
        { 1.0, 0.0, 0, 0, 0, "sparsity 1 is not in [0, 1)" },  { -0.1, 0.0, 0, 0, 0, "sparsity -0.1" },
        { NAN, 0.0, 0, 0, 0, "sparsity" },                     { 0.0, 0.0, 0, 0, 0, "no sparsity above 0" },
        { 0.5, 1.5, 0, 0, 0, "ratio 1.5 is not in (0, 1]" },   { 0.5, NAN, 0, 0, 0, "ratio" },
        { 0.5, 0.0, 9, 0, 0, "mode 9" },                       { 0.5, 0.0, 0, 77, 0, "criterion 77" },
        { 0.5, 0.0, 0, 0, -1, "round_to -1 is negative" },     { 0.5, 0.0, 0, 1, 0, "needs data" },
    };
    lego_model *model = build("resnet10-cifar", 8, 0);

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        lego_extract_options options = options_of(&bad[i].sparsity, 1);

        options.ratio = bad[i].ratio;
        options.mode = (lego_block_mode)bad[i].mode;
        options.criterion = (lego_criterion)bad[i].criterion;
        options.round_to = bad[i].round_to;
        assert_fails(LEGO_EINVAL, lego_extract(NULL, model, in_folder(state, "store"), &options));
        assert_says(bad[i].says);
        assert_false(lg_file_exists(in_folder(state, "store")));
    }
    assert_fails(LEGO_EINVAL, lego_extract(NULL, NULL, in_folder(state, "store"), NULL));
    assert_fails(LEGO_EINVAL, lego_extract(NULL, model, NULL, NULL));
    lego_model_free(model);
}

static void test_extract__weights_that_are_not_finite_are_refused(void **state)
{
    lego_model *model = build("resnet10-cifar", 8, 0);
    int32_t weight = lg_graph_find_weight(model->graph, "layer1.0.conv1.weight");

    assert_true(weight != LG_NONE);
    ((float *)lg_tensor_data(&model->graph->weights[weight].tensor))[5] = NAN;
    assert_fails(LEGO_EINVAL, lego_extract(NULL, model, in_folder(state, "store"), NULL));
    assert_says("layer1.0.conv1.weight");
    lego_model_free(model);
}

static void test_extract__a_model_without_blocks_says_so(void **state)
{
    lego_model model;
    maker m;

    maker_start(&m, 1);
    model.graph = maker_finish(&m, make_conv(&m, make_input(&m, 3, 4, 4), 4, 3, 1, 1, 0));
    assert_fails(LEGO_EUNSUPPORTED, lego_extract(NULL, &model, in_folder(state, "store"), NULL));
    assert_says("1 compressible layers");
    lg_graph_free(model.graph);

    maker_start(&m, 1); /* the sum ties everything to the input */
    int32_t x = make_input(&m, 4, 4, 4);
    x = make_add(&m, x, make_conv(&m, x, 4, 3, 1, 4, 0));
    x = make_add(&m, x, make_conv(&m, x, 4, 3, 1, 4, 0));
    model.graph = maker_finish(&m, x);
    assert_fails(LEGO_EUNSUPPORTED, lego_extract(NULL, &model, in_folder(state, "store"), NULL));
    assert_says("no part of the model can be a block");
    lg_graph_free(model.graph);
}

static void test_extract__a_frame_is_no_model(void **state)
{
    lego_model *model = build("resnet10-cifar", 8, 0), *frame;

    assert_ok(lego_extract(NULL, model, in_folder(state, "store"), NULL));
    assert_ok(lego_model_load(&frame, NULL, in_folder(state, "store/frame.safetensors")));
    assert_fails(LEGO_EINVAL, lego_extract(NULL, frame, in_folder(state, "another"), NULL));
    assert_says("node 'b0' stands for a block");
    lego_model_free(frame);
    lego_model_free(model);
}

static int stop_at(const char *stage, size_t done, size_t total, void *payload)
{
    return strcmp(stage, payload) == 0;
}

static void test_extract__cancelled_leaves_nothing(void **state)
{
    static const char *const stages[] = { "blocks", "prune", "write" };
    lego_model *model = build("resnet10-cifar", 8, 0);
    lego_context *context;

    assert_ok(lego_context_create(&context));
    for (size_t i = 0; i < sizeof(stages) / sizeof(*stages); i++) {
        assert_ok(lego_context_set_progress(context, stop_at, (void *)stages[i]));
        assert_fails(LEGO_ECANCELED, lego_extract(context, model, in_folder(state, "store"), NULL));
        assert_false(lg_file_exists(in_folder(state, "store")));
    }
    lego_context_free(context);
    lego_model_free(model);
}

static void test_extract__explain_names_what_stays_frozen(void **state)
{
    lego_model *model = build("resnet18-cifar", 16, 0);
    lg_json *json;
    const lg_json *coverage, *frozen, *share, *blocks;
    double prunable;
    char *text;
    int has_stem = 0;

    assert_ok(lego_extract_explain(&text, NULL, model, NULL));
    assert_ok(lg_json_parse(&json, text, strlen(text), "explain"));
    assert_ok(lg_json_check_schema(json, "legodnn.blocks/1", "explain"));
    assert_ok(lg_json_get_array(&blocks, json, "blocks", "explain"));
    assert_int_equal(lg_json_length(blocks), 8);
    assert_ok(lg_json_get_object(&coverage, json, "coverage", "explain"));
    assert_ok(lg_json_get_object(&share, coverage, "flops", "explain"));
    assert_ok(lg_json_get_double(&prunable, share, "prunable", "explain"));
    assert_in_range(1000.0 * prunable, 400, 500);
    assert_ok(lg_json_get_array(&frozen, coverage, "frozen", "explain"));
    assert_int_equal(lg_json_length(frozen), 21 - 8); /* every layer but the eight that are prunable */
    lg_json_each(item, frozen) {
        const char *layer, *reason;

        assert_ok(lg_json_get_string(&layer, item, "layer", "explain"));
        assert_ok(lg_json_get_string(&reason, item, "reason", "explain"));
        assert_true(*reason != '\0');
        if (strcmp(layer, "conv1") == 0) {
            has_stem = 1;
            assert_non_null(strstr(reason, "run through 7 layers, a block holds at most 2"));
        }
    }
    assert_true(has_stem);
    lg_json_free(json);
    lego_string_free(text);
    lego_model_free(model);
}

static void test_extract__modes_have_names(void **state)
{
    lego_block_mode mode;

    for (int i = 0; i <= LEGO_BLOCK_MODE_MTM; i++) {
        assert_ok(lego_block_mode_parse(&mode, lego_block_mode_name((lego_block_mode)i)));
        assert_int_equal(mode, i);
    }
    assert_fails(LEGO_ENOTFOUND, lego_block_mode_parse(&mode, "most"));
    assert_says("'most' is none of auto oto otm mto mtm");
}

static void test_extract__survives_allocation_failures(void **state)
{
    char path[512];
    maker m;
    lego_model model;
    int32_t x;
    char *text;

    snprintf(path, sizeof(path), "%s", in_folder(state, "store"));
    maker_start(&m, 4);
    x = make_residual(&m, make_conv(&m, make_input(&m, 3, 4, 4), 4, 3, 1, 1, 0));
    x = make_conv(&m, make_unary(&m, make_conv(&m, x, 8, 3, 1, 2, 1), "relu", NULL), 4, 1, 1, 1, 1);
    model.graph = maker_finish(&m, x);
    for (long n = 0, failed = 1; failed; n += 1 + n / 200) {
        lego_status status;

        lg_alloc_fail_after(n);
        status = lego_extract_explain(&text, NULL, &model, NULL);
        failed = lg_alloc_fail_after(-1);
        if (status != LEGO_OK && status != LEGO_ENOMEM)
            fail_msg("allocation %ld failed: %s", n, lego_status_name(status));
        if (status == LEGO_OK)
            lego_string_free(text);
    }
    for (long n = 0, failed = 1; failed; n += 1 + n / 20) {
        lego_status status;

        lg_alloc_fail_after(n);
        status = lego_extract(NULL, &model, path, NULL);
        failed = lg_alloc_fail_after(-1);
        if (status != LEGO_OK && status != LEGO_ENOMEM)
            fail_msg("allocation %ld failed: %s", n, lego_status_name(status));
    }
    lg_graph_free(model.graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_extract__blocks_cover_what_the_reference_covers),
        cmocka_unit_test(test_extract__blocks_close_residuals),
        cmocka_unit_test(test_extract__blocks_of_random_graphs_are_valid),
        cmocka_unit_test(test_extract__no_block_is_overlooked),
        cmocka_unit_test(test_extract__choice_equals_brute_force),
        cmocka_unit_test(test_extract__auto_takes_the_simplest_mode_that_covers),
        cmocka_unit_test(test_extract__shared_weights_stay_together),
        cmocka_unit_test(test_extract__a_thousand_nodes_take_less_than_a_second),
        folder_test(test_extract__originals_compose_to_the_model_bit_for_bit),
        folder_test(test_extract__random_graphs_compose_bit_for_bit),
        folder_test(test_extract__bad_options_say_what_is_allowed),
        folder_test(test_extract__weights_that_are_not_finite_are_refused),
        folder_test(test_extract__a_model_without_blocks_says_so),
        folder_test(test_extract__a_frame_is_no_model),
        folder_test(test_extract__cancelled_leaves_nothing),
        cmocka_unit_test(test_extract__explain_names_what_stays_frozen),
        cmocka_unit_test(test_extract__modes_have_names),
        folder_test(test_extract__survives_allocation_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
