/* graph/channels: which channels go together, what is frozen and why, and that removing channels which were zero
 * changes nothing (run by the reference engine, bit for bit). */
#include "support/cut.h"
#include "support/exact.h"
#include "support/graphs.h"

#include "support/eval.h"
#include "graph/channels.h"

static const lg_channel_group *group_of(const lg_channels *channels, lg_axis axis)
{
    const int32_t unit = lg_channels_unit(channels, axis, 0);

    for (size_t g = 0; g < lg_channels_n_groups(channels); g++)
        for (int32_t i = 0; i < lg_channels_group(channels, g)->n_units; i++)
            if (lg_channels_group(channels, g)->units[i] == unit)
                return lg_channels_group(channels, g);
    return NULL;
}

static size_t count_free(const lg_channels *channels)
{
    size_t n = 0;

    for (size_t g = 0; g < lg_channels_n_groups(channels); g++)
        n += lg_channels_group(channels, g)->frozen == NULL;
    return n;
}

static void test_channels__residual_block_frees_only_its_inside(void **state)
{
    maker m;
    lg_channels *channels;

    maker_start(&m, 1);
    const int32_t x = make_input(&m, 6, 8, 8);
    const int32_t inner = make_conv(&m, x, 5, 3, 1, 1, 0);
    int32_t y = make_unary(&m, make_bn(&m, inner), "relu", NULL);
    y = make_conv(&m, y, 6, 3, 1, 1, 0);
    lg_graph *graph = maker_finish(&m, make_add(&m, y, x));

    assert_ok(lg_channels_analyze(&channels, graph, 1));
    assert_int_equal(count_free(channels), 1);
    const lg_channel_group *group = group_of(channels, LG_VALUE_AXIS(inner, 1));
    assert_null(group->frozen);
    assert_int_equal(group->n_units, 5);
    assert_int_equal(group->n_axes, 9); /* conv, bn and relu values, two conv weights, four of batch norm */
    assert_string_equal(group_of(channels, LG_VALUE_AXIS(y, 1))->frozen, "interface of the block");
    lg_channels_free(channels);

    assert_ok(lg_channels_analyze(&channels, graph, 0)); /* the sum ties the block's output to its input */
    assert_int_equal(count_free(channels), 2);
    assert_int_equal(lg_channels_unit(channels, LG_VALUE_AXIS(y, 1), 3),
                     lg_channels_unit(channels, LG_VALUE_AXIS(x, 1), 3));
    lg_channels_free(channels);
    lg_graph_free(graph);
}

static void test_channels__depthwise_channel_is_one_unit(void **state)
{
    maker m;
    lg_channels *channels;

    maker_start(&m, 2);
    const int32_t up = make_conv(&m, make_input(&m, 2, 6, 6), 4, 1, 1, 1, 0);
    const int32_t deep = make_conv(&m, up, 8, 3, 1, 4, 1); /* two outputs a channel */
    lg_graph *graph = maker_finish(&m, make_conv(&m, deep, 3, 1, 1, 1, 0));

    assert_ok(lg_channels_analyze(&channels, graph, 1));
    assert_int_equal(count_free(channels), 1);
    const lg_channel_group *group = group_of(channels, LG_VALUE_AXIS(up, 1));
    assert_int_equal(group->n_units, 4);
    assert_int_equal(group->parts, 1);
    for (int k = 0; k < 8; k++)
        assert_int_equal(lg_channels_unit(channels, LG_VALUE_AXIS(deep, 1), k), group->units[k / 2]);
    lg_channels_free(channels);
    lg_graph_free(graph);
}

static void test_channels__grouped_convolution_has_two_partners(void **state)
{
    maker m;
    lg_channels *channels;
    lg_graph *pruned;
    uint8_t keep[128];

    maker_start(&m, 3);
    const int32_t up = make_conv(&m, make_input(&m, 2, 6, 6), 12, 1, 1, 1, 0);
    const int32_t grouped = make_conv(&m, up, 8, 3, 1, 4, 1);
    lg_graph *graph = maker_finish(&m, make_conv(&m, grouped, 3, 1, 1, 1, 0));

    assert_ok(lg_channels_analyze(&channels, graph, 1));
    const lg_channel_group *in = group_of(channels, LG_VALUE_AXIS(up, 1));
    const lg_channel_group *out = group_of(channels, LG_VALUE_AXIS(grouped, 1));
    assert_int_equal(in->parts, 4);
    assert_int_equal(out->parts, 4);
    assert_ptr_equal(lg_channels_group(channels, (size_t)in->partner), out);
    assert_ptr_equal(lg_channels_group(channels, (size_t)out->partner), in);

    assert_true(lg_channels_n_units(channels) <= 128);
    memset(keep, 1, sizeof(keep));
    keep[in->units[1]] = 0; /* one group would be narrower */
    assert_fails(LEGO_EINVAL, lg_channels_apply(&pruned, channels, graph, keep));
    assert_says("conv1");
    for (int part = 0; part < 4; part++)
        keep[in->units[3 * part + 1]] = 0;
    keep[out->units[2]] = keep[out->units[3]] = 0; /* outputs of group 1 gone, inputs not */
    assert_fails(LEGO_EINVAL, lg_channels_apply(&pruned, channels, graph, keep));
    assert_says("group 1");
    keep[in->units[3]] = keep[in->units[5]] = 0;
    assert_ok(lg_channels_apply(&pruned, channels, graph, keep));
    const lg_node *node = &pruned->nodes[lg_graph_find_node(pruned, "conv1")];
    assert_int_equal(node->attrs->conv.groups, 3);
    assert_int_equal(lg_node_weight(pruned, node, 0)->shape.dims[0], 6);
    assert_int_equal(lg_node_weight(pruned, node, 0)->shape.dims[1], 2);
    lg_graph_free(pruned);
    lg_channels_free(channels);
    lg_graph_free(graph);
}

static void test_channels__grouped_convolutions_in_a_row_form_a_ring(void **state)
{
    maker m;
    lg_channels *channels;

    maker_start(&m, 4);
    const int32_t a = make_conv(&m, make_input(&m, 2, 6, 6), 8, 1, 1, 1, 0);
    const int32_t b = make_conv(&m, a, 8, 3, 1, 4, 0);
    const int32_t c = make_conv(&m, b, 16, 3, 1, 4, 0);
    lg_graph *graph = maker_finish(&m, make_conv(&m, c, 3, 1, 1, 1, 0));

    assert_ok(lg_channels_analyze(&channels, graph, 1));
    const lg_channel_group *first = group_of(channels, LG_VALUE_AXIS(a, 1)), *walk = first;
    int n = 0;
    do {
        walk = lg_channels_group(channels, (size_t)walk->partner);
        n++;
    } while (walk != first);
    assert_int_equal(n, 3);
    assert_int_equal(group_of(channels, LG_VALUE_AXIS(b, 1))->parts, 4);
    assert_int_equal(group_of(channels, LG_VALUE_AXIS(c, 1))->parts, 4);
    lg_channels_free(channels);
    lg_graph_free(graph);
}

static void test_channels__cuts_that_disagree_tie_the_parts(void **state)
{
    maker m;
    lg_channels *channels;

    maker_start(&m, 4);
    const int32_t a = make_conv(&m, make_input(&m, 2, 6, 6), 8, 1, 1, 1, 0);
    const int32_t b = make_conv(&m, a, 12, 3, 1, 4, 0); /* four runs of 3 ... */
    const int32_t c = make_conv(&m, b, 8, 3, 1, 2, 0);  /* ... are two runs of 6 */
    lg_graph *graph = maker_finish(&m, make_conv(&m, c, 3, 1, 1, 1, 0));

    assert_ok(lg_channels_analyze(&channels, graph, 1));
    const lg_channel_group *middle = group_of(channels, LG_VALUE_AXIS(b, 1));
    assert_null(middle->frozen);
    assert_int_equal(middle->parts, 1);
    assert_int_equal(middle->n_units, 3); /* i, i + 3, i + 6, i + 9 */
    for (int i = 0; i < 12; i++)
        assert_int_equal(lg_channels_unit(channels, LG_VALUE_AXIS(b, 1), i), middle->units[i % 3]);
    lg_channels_free(channels);
    lg_graph_free(graph);
}

static void test_channels__shuffle_keeps_equal_shares_by_itself(void **state)
{
    maker m;
    lg_channels *channels;

    maker_start(&m, 4);
    const int32_t a = make_conv(&m, make_input(&m, 2, 4, 4), 12, 1, 1, 1, 1);
    const int32_t b = make_conv(&m, a, 12, 1, 1, 3, 1);
    const int32_t shuffled = make_shuffle(&m, b, 3);
    const int32_t deep = make_conv(&m, shuffled, 12, 3, 1, 12, 1);
    lg_graph *graph = maker_finish(&m, make_conv(&m, deep, 3, 1, 1, 1, 1));

    assert_ok(lg_channels_analyze(&channels, graph, 1));
    const lg_channel_group *group = group_of(channels, LG_VALUE_AXIS(b, 1));
    assert_null(group->frozen);
    assert_int_equal(group->n_units, 4);
    for (int i = 0; i < 12; i++) { /* channel (a, b) before is channel (b, a) after */
        assert_int_equal(lg_channels_unit(channels, LG_VALUE_AXIS(b, 1), i), group->units[i % 4]);
        assert_int_equal(lg_channels_unit(channels, LG_VALUE_AXIS(deep, 1), i), group->units[i / 3]);
    }
    assert_null(group_of(channels, LG_VALUE_AXIS(a, 1))->frozen);
    lg_channels_free(channels);
    lg_graph_free(graph);
}

static void test_channels__squeeze_excite_goes_with_what_it_multiplies(void **state)
{
    maker m;
    lg_channels *channels;

    maker_start(&m, 4);
    const int32_t x = make_conv(&m, make_input(&m, 2, 4, 4), 6, 1, 1, 1, 1);
    const int32_t scaled = make_squeeze_excite(&m, x);
    lg_graph *graph = maker_finish(&m, make_conv(&m, scaled, 3, 1, 1, 1, 1));

    assert_ok(lg_channels_analyze(&channels, graph, 1));
    assert_int_equal(count_free(channels), 2); /* the channels, and the inside of the squeeze */
    for (int i = 0; i < 6; i++)
        assert_int_equal(lg_channels_unit(channels, LG_VALUE_AXIS(x, 1), i),
                         lg_channels_unit(channels, LG_VALUE_AXIS(scaled, 1), i));
    lg_channels_free(channels);
    lg_graph_free(graph);
}

static void test_channels__flatten_repeats_a_channel_in_the_linear_layer(void **state)
{
    maker m;
    lg_channels *channels;
    lg_graph *pruned;
    uint8_t keep[64];

    maker_start(&m, 5);
    const int32_t conv = make_conv(&m, make_input(&m, 1, 3, 3), 4, 3, 1, 1, 0);
    lg_graph *graph = maker_finish(&m, make_linear(&m, make_unary(&m, conv, "flatten", NULL), 2));

    assert_ok(lg_channels_analyze(&channels, graph, 1));
    assert_true(lg_channels_n_units(channels) <= 64);
    memset(keep, 1, sizeof(keep));
    keep[lg_channels_unit(channels, LG_VALUE_AXIS(conv, 1), 2)] = 0;
    assert_ok(lg_channels_apply(&pruned, channels, graph, keep));
    const lego_tensor *before = &graph->weights[lg_graph_find_weight(graph, "linear2.weight")].tensor;
    const lego_tensor *after = &pruned->weights[lg_graph_find_weight(pruned, "linear2.weight")].tensor;
    assert_int_equal(after->shape.dims[1], 27);
    for (int k = 0; k < 27; k++)
        assert_true(((float *)lg_tensor_data(after))[27 + k] ==
                    ((float *)lg_tensor_data(before))[36 + (k < 18 ? k : k + 9)]);
    lg_graph_free(pruned);
    lg_channels_free(channels);
    lg_graph_free(graph);
}

static void test_channels__frozen_units_and_whole_axes_stay(void **state)
{
    maker m;
    lg_channels *channels;
    lg_graph *pruned;
    uint8_t keep[64];

    maker_start(&m, 6);
    const int32_t x = make_input(&m, 2, 4, 4);
    const int32_t inner = make_conv(&m, x, 4, 3, 1, 1, 0);
    lg_graph *graph = maker_finish(&m, make_conv(&m, inner, 3, 1, 1, 1, 0));

    assert_ok(lg_channels_analyze(&channels, graph, 1));
    memset(keep, 1, sizeof(keep));
    keep[lg_channels_unit(channels, LG_VALUE_AXIS(x, 1), 1)] = 0;
    assert_fails(LEGO_EINVAL, lg_channels_apply(&pruned, channels, graph, keep));
    assert_says("interface of the block");
    memset(keep, 1, sizeof(keep));
    for (int i = 0; i < 4; i++)
        keep[lg_channels_unit(channels, LG_VALUE_AXIS(inner, 1), i)] = 0;
    assert_fails(LEGO_EINVAL, lg_channels_apply(&pruned, channels, graph, keep));
    assert_says("conv0.weight");
    lg_channels_free(channels);
    lg_graph_free(graph);
}

static void test_channels__removing_zeroed_channels_changes_nothing(void **state)
{
    int64_t n_removed = 0, n_grouped = 0, n_narrower_groups = 0;

    for (uint64_t seed = 0; seed < 400; seed++) {
        cut made = cut_at_random(make_random_graph(seed), seed, 0);
        const lg_graph *graph = made.graph, *pruned = made.pruned;
        const int64_t n_in = 2 * lg_value_elements(&graph->values[graph->inputs[0]]);
        const int64_t n_out = 2 * lg_value_elements(&graph->values[graph->outputs[0]]);
        float *input = random_values(n_in, seed);

        n_removed += made.n_removed;
        assert_cut_shapes(&made, seed);
        for (int32_t i = 0; i < graph->n_nodes; i++)
            if (graph->nodes[i].op->kind == LG_OP_CONV && graph->nodes[i].attrs->conv.groups > 1) {
                n_grouped++;
                n_narrower_groups += lg_node_weight(pruned, &pruned->nodes[i], 0)->shape.dims[1] <
                                     lg_node_weight(graph, &graph->nodes[i], 0)->shape.dims[1];
            }

        float *before = run_exact(graph, input, 2), *after = run_exact(pruned, input, 2);
        for (int64_t i = 0; i < n_out; i++)
            if (!(before[i] == after[i]))
                fail_msg("seed %d, output %d: %.9g became %.9g", (int)seed, (int)i, before[i], after[i]);
        lg_free(before);
        lg_free(after);
        lg_free(input);
        cut_dispose(&made);
    }
    assert_true(n_removed > 2000 && n_grouped > 100 && n_narrower_groups > 20); /* the generator covers what it should */
}

/* The evaluator of test_graph_proofs.c against the engine, where both can: neither is written from the other. */
static void test_channels__evaluator_agrees_with_the_reference_engine(void **state)
{
    for (uint64_t seed = 0; seed < 60; seed++) {
        lg_graph *graph = make_random_graph(seed);
        const int64_t n_in = 2 * lg_value_elements(&graph->values[graph->inputs[0]]);
        const int64_t n_out = 2 * lg_value_elements(&graph->values[graph->outputs[0]]);
        float *input = random_values(n_in, seed);
        double *wide;

        assert_ok(LG_CALLOC(&wide, n_in));
        for (int64_t i = 0; i < n_in; i++)
            wide[i] = input[i];
        float *output = run_exact(graph, input, 2);
        eval_value *values = eval_graph(graph, wide, 2);
        double largest = 0.0;
        for (int64_t i = 0; i < n_out; i++)
            largest = fmax(largest, fabs(values[graph->outputs[0]].data[i]));
        for (int64_t i = 0; i < n_out; i++)
            assert_near(output[i], values[graph->outputs[0]].data[i], 1e-5 * largest, 0.0);
        eval_free(values, graph);
        lg_free(output);
        lg_free(input);
        lg_free(wide);
        lg_graph_free(graph);
    }
}

static void test_channels__keeping_everything_shares_every_weight(void **state)
{
    lg_graph *graph = make_random_graph(11), *pruned;
    lg_channels *channels;
    uint8_t *keep;

    assert_ok(lg_channels_analyze(&channels, graph, 1));
    assert_ok(LG_CALLOC(&keep, lg_channels_n_units(channels)));
    memset(keep, 1, (size_t)lg_channels_n_units(channels));
    assert_ok(lg_channels_apply(&pruned, channels, graph, keep));
    for (int32_t w = 0; w < graph->n_weights; w++)
        assert_ptr_equal(pruned->weights[w].tensor.buffer, graph->weights[w].tensor.buffer);
    lg_free(keep);
    lg_graph_free(pruned);
    lg_channels_free(channels);
    lg_graph_free(graph);
}

static void test_channels__survive_allocation_failures(void **state)
{
    lg_graph *graph = make_random_graph(3), *pruned;
    lg_channels *channels;
    uint8_t *keep;

    assert_survives_oom(lg_channels_analyze(&channels, graph, 1), (void)0);
    keep = random_keep(channels, 3);
    assert_survives_oom(lg_channels_apply(&pruned, channels, graph, keep), lg_graph_free(pruned));
    lg_free(keep);
    lg_channels_free(channels);
    lg_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_channels__residual_block_frees_only_its_inside),
        cmocka_unit_test(test_channels__depthwise_channel_is_one_unit),
        cmocka_unit_test(test_channels__grouped_convolution_has_two_partners),
        cmocka_unit_test(test_channels__grouped_convolutions_in_a_row_form_a_ring),
        cmocka_unit_test(test_channels__cuts_that_disagree_tie_the_parts),
        cmocka_unit_test(test_channels__shuffle_keeps_equal_shares_by_itself),
        cmocka_unit_test(test_channels__squeeze_excite_goes_with_what_it_multiplies),
        cmocka_unit_test(test_channels__flatten_repeats_a_channel_in_the_linear_layer),
        cmocka_unit_test(test_channels__frozen_units_and_whole_axes_stay),
        cmocka_unit_test(test_channels__removing_zeroed_channels_changes_nothing),
        cmocka_unit_test(test_channels__evaluator_agrees_with_the_reference_engine),
        cmocka_unit_test(test_channels__keeping_everything_shares_every_weight),
        cmocka_unit_test(test_channels__survive_allocation_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
