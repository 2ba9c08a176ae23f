/* extract/: blocks in graphs that are no chains: FPN necks with heads at several scales, Inception branches, encoders and
 * decoders with skips. A block must be convex (what leaves it does not come back), have the interface its mode allows,
 * and the modes must reach what the architecture lets them reach. */
#include "support/couplings.h"

#include <time.h>

#include "extract/extract.h"
#include "legodnn/block.h"

/* --- architectures --- */

static int32_t conv_relu(maker *m, int32_t x, int64_t out, int64_t stride)
{
    return make_unary(m, make_conv(m, x, out, 3, stride, 1, 1), "relu", NULL);
}

static int32_t upsampled(maker *m, int32_t x, int64_t h, int64_t w)
{
    return make_unary(m, x, "upsample", &(lg_attrs){ .upsample = { { h, w }, LG_UPSAMPLE_NEAREST, 0 } });
}

/* Three scales of a backbone, lateral convolutions, the way down, smoothing, a head of two layers at each scale. */
static lg_graph *make_fpn(void)
{
    maker m;
    int32_t c[3], p[3], x;

    maker_start(&m, 1);
    x = conv_relu(&m, make_input(&m, 3, 16, 16), 8, 1);
    for (int i = 0; i < 3; i++)
        c[i] = x = conv_relu(&m, conv_relu(&m, x, 8 << i, 2), 8 << i, 1);
    for (int i = 2; i >= 0; i--) {
        p[i] = make_conv(&m, c[i], 12, 1, 1, 1, 1);
        if (i < 2)
            p[i] = make_add(&m, p[i], upsampled(&m, p[i + 1], extent_of(&m, p[i], 2), extent_of(&m, p[i], 3)));
    }
    for (int i = 0; i < 3; i++) {
        x = make_conv(&m, p[i], 12, 3, 1, 1, 1);
        assert_ok(lg_graph_add_output(m.graph, make_conv(&m, conv_relu(&m, conv_relu(&m, x, 12, 1), 12, 1), 4, 1, 1, 1, 1)));
    }
    assert_ok(lg_graph_validate(m.graph));
    return m.graph;
}

/* Modules of three branches, until there are so many nodes. */
static lg_graph *make_inception_net(int32_t n_nodes)
{
    const lg_attrs pool = { .pool = { { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 }, 0, 0 } };
    maker m;
    int32_t x;

    maker_start(&m, 2);
    x = conv_relu(&m, make_input(&m, 3, 8, 8), 12, 1);
    while (m.graph->n_nodes < n_nodes) {
        const int32_t a = make_unary(&m, make_conv(&m, x, 4, 1, 1, 1, 1), "relu", NULL);
        const int32_t b = conv_relu(&m, make_unary(&m, make_conv(&m, x, 6, 1, 1, 1, 1), "relu", NULL), 4, 1);
        const int32_t c = make_unary(&m, make_conv(&m, make_unary(&m, x, "max_pool", &pool), 4, 1, 1, 1, 1), "relu", NULL);

        x = make_concat(&m, make_concat(&m, a, b), c);
    }
    return maker_finish(&m, make_linear(&m, make_unary(&m, x, "flatten", NULL), 3));
}

/* U-Net: two levels down, two up, each joined with what was there on the way down. */
static lg_graph *make_unet(void)
{
    maker m;
    int32_t skips[2], x;

    maker_start(&m, 3);
    x = make_input(&m, 3, 16, 16);
    for (int i = 0; i < 2; i++) {
        skips[i] = conv_relu(&m, conv_relu(&m, x, 8 << i, 1), 8 << i, 1);
        x = make_unary(&m, skips[i], "max_pool", &(lg_attrs){ .pool = { { 2, 2 }, { 2, 2 }, { 1, 1 }, { 0 }, 0, 0 } });
    }
    x = conv_relu(&m, conv_relu(&m, x, 32, 1), 32, 1);
    for (int i = 1; i >= 0; i--) {
        x = make_concat(&m, skips[i], upsampled(&m, x, extent_of(&m, skips[i], 2), extent_of(&m, skips[i], 3)));
        x = conv_relu(&m, conv_relu(&m, x, 8 << i, 1), 8 << i, 1);
    }
    return maker_finish(&m, make_conv(&m, x, 2, 1, 1, 1, 1));
}

/* --- checks --- */

/* Every block by itself and all together: interfaces, convexity, something to prune. Returns the share of the layers'
 * FLOPs that lies in layers which lose output channels, each times the share it can lose. */
static double check(const lg_graph *graph, const lg_blocks *blocks, lego_block_mode mode)
{
    char names[64][16];
    const char *pointers[64];
    double prunable = 0.0, all = 0.0;
    lg_graph *frame;

    assert_in_range(blocks->n_blocks, 1, 64);
    for (int32_t n = 0; n < graph->n_nodes; n++)
        if (lg_op_is_compressible(graph->nodes[n].op))
            all += (double)lg_node_flops(graph, &graph->nodes[n]);
    for (int32_t b = 0; b < blocks->n_blocks; b++) {
        lg_graph *block;
        lg_channels *channels;
        double own = 0.0;

        snprintf(names[b], sizeof(names[b]), "b%d", b);
        pointers[b] = names[b];
        assert_ok(lg_blocks_subgraph(&block, graph, blocks, b));
        assert_ok(lg_graph_validate(block));
        if (mode == LEGO_BLOCK_MODE_OTO || mode == LEGO_BLOCK_MODE_OTM)
            assert_int_equal(block->n_inputs, 1);
        if (mode == LEGO_BLOCK_MODE_OTO || mode == LEGO_BLOCK_MODE_MTO)
            assert_int_equal(block->n_outputs, 1);
        assert_ok(lg_channels_analyze(&channels, block, 1));
        for (int32_t n = 0; n < block->n_nodes; n++)
            if (lg_op_is_compressible(block->nodes[n].op))
                own += lg_layer_free_share(NULL, channels, block, &block->nodes[n], 1) *
                       (double)lg_node_flops(block, &block->nodes[n]);
        assert_true(own > 0.0);
        prunable += own;
        lg_channels_free(channels);
        lg_graph_free(block);
    }
    assert_ok(lg_graph_frame(&frame, graph, blocks->block_of, blocks->n_blocks, pointers));
    assert_ok(lg_graph_validate(frame)); /* sorted: no block waits for itself */
    lg_graph_free(frame);
    return prunable / all;
}

/* The shares of the modes oto, otm, mto, mtm; -1 where there is no block. */
static void shares_of_modes(double shares[5], const lg_graph *graph, double ratio)
{
    for (int mode = LEGO_BLOCK_MODE_OTO; mode <= LEGO_BLOCK_MODE_MTM; mode++) {
        lg_blocks blocks, again;
        const lego_status status = lg_blocks_find(&blocks, graph, (lego_block_mode)mode, ratio);

        shares[mode] = -1.0;
        if (status == LEGO_EUNSUPPORTED)
            continue;
        assert_ok(status);
        shares[mode] = check(graph, &blocks, (lego_block_mode)mode);
        assert_ok(lg_blocks_find(&again, graph, (lego_block_mode)mode, ratio));
        assert_memory_equal(blocks.block_of, again.block_of, (size_t)graph->n_nodes * sizeof(*blocks.block_of));
        lg_blocks_dispose(&again);
        lg_blocks_dispose(&blocks);
        printf("  mode %s: %.1f %% of the FLOPs\n", lego_block_mode_name((lego_block_mode)mode), 100.0 * shares[mode]);
    }
}

/* The inside of a head or of a backbone stage is a chain. What only the many-modes reach: a lateral convolution whose
 * output feeds the way down and the smoothing of its own scale. */
static void test_regions__fpn_necks_need_many_outputs(void **state)
{
    lg_graph *graph = make_fpn();
    double shares[5];

    shares_of_modes(shares, graph, 0.25);
    assert_true(shares[LEGO_BLOCK_MODE_OTO] > 0.80);
    assert_true(shares[LEGO_BLOCK_MODE_OTM] > shares[LEGO_BLOCK_MODE_OTO] + 0.05);
    assert_true(shares[LEGO_BLOCK_MODE_MTM] >= shares[LEGO_BLOCK_MODE_OTM]);
    assert_true(shares[LEGO_BLOCK_MODE_MTM] > 0.90);
    lg_graph_free(graph);
}

/* A module's branches end in a concatenation, which only the next module's layers read: blocks that hold both, or that
 * take in branches one by one (several inputs). */
static void test_regions__inception_branches(void **state)
{
    lg_graph *graph = make_inception_net(46);
    double small[5], large[5];

    shares_of_modes(small, graph, 0.25);
    shares_of_modes(large, graph, 0.5);
    assert_true(small[LEGO_BLOCK_MODE_MTO] > small[LEGO_BLOCK_MODE_OTO] + 0.05);
    for (int mode = LEGO_BLOCK_MODE_OTO; mode <= LEGO_BLOCK_MODE_MTM; mode++) {
        assert_true(large[mode] > small[mode]);
        assert_true(large[mode] > 0.7);
    }
    lg_graph_free(graph);
}

/* What a skip carries is frozen unless the whole U between its ends is one block. */
static void test_regions__encoder_decoder_skips(void **state)
{
    lg_graph *graph = make_unet();
    lg_blocks blocks;
    double shares[5], whole[5];

    shares_of_modes(shares, graph, 0.375);
    shares_of_modes(whole, graph, 1.0);
    for (int mode = LEGO_BLOCK_MODE_OTO; mode <= LEGO_BLOCK_MODE_MTM; mode++) {
        assert_true(shares[mode] > 0.7);
        assert_true(whole[mode] > 0.95);
    }
    assert_ok(lg_blocks_find(&blocks, graph, LEGO_BLOCK_MODE_AUTO, 0.375)); /* no mode is better: the simplest */
    assert_int_equal(blocks.mode, LEGO_BLOCK_MODE_OTO);
    lg_blocks_dispose(&blocks);
    lg_graph_free(graph);
}

/* --- the ratio that nobody gave --- */

/* Sums all along: every channel of a part hangs on its interface, but for those of long parts. */
static lg_graph *make_sums(int n)
{
    maker m;
    int32_t x;

    maker_start(&m, 3);
    x = conv_relu(&m, make_input(&m, 3, 8, 8), 8, 1);
    for (int i = 0; i < n; i++)
        x = make_unary(&m, make_add(&m, make_conv(&m, x, 8, 3, 1, 1, 0), make_conv(&m, x, 8, 1, 1, 1, 0)), "relu", NULL);
    assert_ok(lg_graph_add_output(m.graph, x));
    assert_ok(lg_graph_validate(m.graph));
    return m.graph;
}

static void test_regions__the_ratio_grows_until_enough_shrinks(void **state)
{
    lg_graph *sums = make_sums(4), *chain = make_inception_net(120);
    lg_blocks blocks;

    assert_fails(LEGO_EUNSUPPORTED, lg_blocks_find(&blocks, sums, LEGO_BLOCK_MODE_AUTO, 0.125)); /* 2 of 9 layers */
    assert_ok(lg_blocks_find(&blocks, sums, LEGO_BLOCK_MODE_AUTO, 0.0));
    assert_int_equal(blocks.n_blocks, 2);
    assert_int_equal(blocks.limits.max, 4);
    assert_true(check(sums, &blocks, blocks.mode) > 0.3); /* of two sums in a row, the first */
    lg_blocks_dispose(&blocks);
    assert_ok(lg_blocks_find(&blocks, chain, LEGO_BLOCK_MODE_AUTO, 0.0)); /* an eighth is enough here */
    assert_int_equal(blocks.limits.max, blocks.limits.n_layers / 8);
    lg_blocks_dispose(&blocks);
    lg_graph_free(sums);
    lg_graph_free(chain);
}

/* --- the estimate of what is free --- */

/* ResNeSt: two convolutions of four groups, a channel's two copies weighed against each other by a softmax. */
static int32_t make_split_attention(maker *m, int32_t x)
{
    const int64_t c = extent_of(m, x, 1), h = extent_of(m, x, 2), w = extent_of(m, x, 3);
    const lg_attrs over_copies = { .mean = { { 1, { 1 } }, 0 } }, over_places = { .mean = { { 2, { 2, 3 } }, 1 } };
    int32_t parts, weights;

    parts = make_reshape(m, conv_relu(m, x, 2 * c, 1), 4, (int64_t[]){ 2, c, h, w });
    weights = make_unary(m, make_unary(m, parts, "mean", &over_copies), "mean", &over_places);
    weights = make_conv(m, make_unary(m, make_conv(m, weights, c / 2, 1, 1, 2, 1), "relu", NULL), 2 * c, 1, 1, 2, 1);
    weights = make_permute(m, make_reshape(m, weights, 3, (int64_t[]){ 2, 2, c / 2 }), 3, (int64_t[]){ 2, 1, 3 });
    weights = make_unary(m, weights, "softmax", &(lg_attrs){ .axis = { 1 } });
    weights = make_reshape(m, weights, 4, (int64_t[]){ 2, c, 1, 1 });
    return make_unary(m, make_binary(m, "mul", parts, weights), "mean", &over_copies);
}

static void test_regions__what_hangs_together_in_the_model_does_in_its_parts(void **state)
{
    maker m;
    int32_t x;
    lg_blocks blocks;

    maker_start(&m, 4);
    x = conv_relu(&m, make_input(&m, 3, 8, 8), 8, 1);
    for (int i = 0; i < 3; i++)
        x = make_split_attention(&m, x);
    assert_ok(lg_graph_add_output(m.graph, make_conv(&m, x, 4, 1, 1, 1, 1)));
    assert_ok(lg_graph_validate(m.graph));
    assert_ok(lg_blocks_find(&blocks, m.graph, LEGO_BLOCK_MODE_OTO, 1.0));
    assert_true(check(m.graph, &blocks, LEGO_BLOCK_MODE_OTO) > 0.9);
    lg_blocks_dispose(&blocks);
    lg_graph_free(m.graph);
}

/* All of lego_extract_explain(), on a graph of branches, which has more candidates than a chain. */
static void test_regions__a_thousand_nodes_are_explained_in_a_second(void **state)
{
    const lego_model model = { make_inception_net(1000) };
    const clock_t start = clock();
    double seconds;
    char *text, *again;

    assert_ok(lego_extract_explain(&text, NULL, &model, NULL));
    seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    printf("%d nodes explained in %.0f ms\n", model.graph->n_nodes, 1e3 * seconds);
    assert_ok(lego_extract_explain(&again, NULL, &model, NULL));
    assert_string_equal(text, again);
#ifdef __SANITIZE_ADDRESS__
    assert_true(seconds < 20.0);
#else
    assert_true(seconds < 2.0); /* of processor time: under one on a quiet machine */
#endif
    lego_string_free(text);
    lego_string_free(again);
    lg_graph_free(model.graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regions__fpn_necks_need_many_outputs),
        cmocka_unit_test(test_regions__inception_branches),
        cmocka_unit_test(test_regions__encoder_decoder_skips),
        cmocka_unit_test(test_regions__the_ratio_grows_until_enough_shrinks),
        cmocka_unit_test(test_regions__what_hangs_together_in_the_model_does_in_its_parts),
        cmocka_unit_test(test_regions__a_thousand_nodes_are_explained_in_a_second),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
