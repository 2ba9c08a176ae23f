/* Proofs by trying: on random graphs over all ops and couplings, channels are zeroed and cut at random.
 *
 *   nothing changes   the graph with the channels zeroed and the graph without them compute the same (double precision)
 *   sizes             every shape is what stays of it; parameters are those that a count by hand gives
 *
 * LG_TEST_GRAPHS=5000 tries that many of each kind (minutes); a failure names the seed. */
#include "support/couplings.h"
#include "support/volumes.h"
#include "support/cut.h"
#include "support/eval.h"

static uint64_t n_graphs(uint64_t fallback)
{
    const char *text = getenv("LG_TEST_GRAPHS");

    return text ? strtoull(text, NULL, 10) : fallback;
}

/* --- counting by hand --- */

static int64_t kernel_of(const lg_graph *graph, const lg_node *node)
{
    const lg_shape *shape = &lg_node_weight(graph, node, 0)->shape;
    int64_t n = 1;

    for (int i = 2; i < shape->n_dims; i++)
        n *= shape->dims[i];
    return n;
}

/* Groups of a convolution that keep an input. */
static int64_t groups_kept(const cut *made, const lg_node *node, int64_t groups)
{
    const int64_t width = made->graph->values[node->inputs[0]].shape.dims[1] / groups;
    int64_t n = 0;

    for (int64_t g = 0; g < groups; g++) {
        int any = 0;

        for (int64_t c = 0; c < width; c++)
            any |= lg_channels_keeps(&(lg_channels_keep){ made->channels, made->keep },
                                     LG_VALUE_AXIS(node->inputs[0], 1), g * width + c);
        n += any;
    }
    return n;
}

/* Trained elements of a node by its definition, from what stays of the values around it. */
static int64_t parameters_of(const cut *made, const lg_node *node)
{
    const lg_graph *graph = made->graph;
    const int last = graph->values[node->outputs[0]].shape.n_dims - 1;
    const int has_bias = node->n_weights > 1 && node->weights[1] != LG_NONE;
    int64_t in, out, n = 1;

    switch (node->op->kind) {
    case LG_OP_CONV:
        in = cut_kept(made, node->inputs[0], 1) / groups_kept(made, node, node->attrs->conv.groups);
        out = cut_kept(made, node->outputs[0], 1);
        return out * in * kernel_of(graph, node) + has_bias * out;
    case LG_OP_CONV_TRANSPOSE:
        in = cut_kept(made, node->inputs[0], 1);
        out = cut_kept(made, node->outputs[0], 1);
        return in * (out / groups_kept(made, node, node->attrs->conv_transpose.groups)) * kernel_of(graph, node) +
               has_bias * out;
    case LG_OP_LINEAR:
        out = cut_kept(made, node->outputs[0], last);
        return out * cut_kept(made, node->inputs[0], last) + has_bias * out;
    case LG_OP_BATCH_NORM:
    case LG_OP_GROUP_NORM:
        return 2 * cut_kept(made, node->outputs[0], 1);
    case LG_OP_LAYER_NORM:
        for (int axis = (int)node->attrs->layer_norm.axis; axis <= last; axis++)
            n *= cut_kept(made, node->outputs[0], axis);
        return 2 * n;
    case LG_OP_PRELU:
        return lg_node_weight(graph, node, 0)->shape.dims[0] == 1 ? 1 : cut_kept(made, node->outputs[0], 1);
    default:
        return 0;
    }
}

/* Weights of several nodes count once. */
static int64_t count_parameters(const cut *made)
{
    uint8_t *seen;
    int64_t n = 0;

    assert_ok(LG_CALLOC(&seen, made->graph->n_weights));
    for (int32_t i = 0; i < made->graph->n_nodes; i++) {
        const lg_node *node = &made->graph->nodes[i];

        if (node->n_weights > 0 && node->weights[0] != LG_NONE && seen[node->weights[0]]++)
            continue;
        n += parameters_of(made, node);
    }
    lg_free(seen);
    return n;
}

/* --- what holds --- */

static void assert_nothing_changes(const cut *made, uint64_t seed)
{
    const lg_graph *graph = made->graph, *pruned = made->pruned;
    const int64_t n_in = 2 * lg_value_elements(&graph->values[graph->inputs[0]]);
    const int64_t n_out = 2 * lg_value_elements(&graph->values[graph->outputs[0]]);
    eval_value *before, *after;
    double *input;
    lg_rng rng;

    assert_ok(LG_CALLOC(&input, n_in));
    lg_rng_init(&rng, seed, 9);
    for (int64_t i = 0; i < n_in; i++)
        input[i] = lg_rng_normal(&rng);
    before = eval_graph(graph, input, 2);
    after = eval_graph(pruned, input, 2);
    for (int64_t i = 0; i < n_out; i++) {
        const double want = before[graph->outputs[0]].data[i], have = after[pruned->outputs[0]].data[i];

        if (!(fabs(want - have) <= 1e-9 * (1.0 + fabs(want))))
            fail_msg("seed %d, output %d: %.12g became %.12g", (int)seed, (int)i, want, have);
    }
    eval_free(before, graph);
    eval_free(after, pruned);
    lg_free(input);
}

/* Returns how many units went. */
static int64_t prove(lg_graph *graph, uint64_t seed, int *n_ops)
{
    cut made = cut_at_random(graph, seed, 1);
    const int64_t n_removed = made.n_removed;

    for (int32_t i = 0; i < graph->n_nodes; i++)
        n_ops[graph->nodes[i].op->kind]++;
    assert_cut_shapes(&made, seed);
    if (lg_graph_parameters(made.pruned) != count_parameters(&made))
        fail_msg("seed %d: %lld parameters stay, %lld by hand", (int)seed,
                 (long long)lg_graph_parameters(made.pruned), (long long)count_parameters(&made));
    assert_nothing_changes(&made, seed);
    cut_dispose(&made);
    return n_removed;
}

static void test_proofs__hold_for_every_op(void **state)
{
    const uint64_t n = n_graphs(500);
    int n_ops[LG_OP_N_KINDS] = { 0 };
    int64_t n_removed = 0;

    for (uint64_t seed = 0; seed < n; seed++)
        n_removed += prove(make_wide_graph(seed), seed, n_ops);
    assert_true(n_removed > 2000);
    for (int kind = 0; kind < LG_OP_N_KINDS; kind++)
        if (kind != LG_OP_BLOCK && n_ops[kind] < 10)
            fail_msg("the random graphs hold only %d of '%s'", n_ops[kind], lg_op_of_kind((lg_op_kind)kind)->name);
}

static void test_proofs__hold_for_every_coupling(void **state)
{
    const uint64_t n = n_graphs(300);
    int n_ops[LG_OP_N_KINDS] = { 0 };
    int64_t n_removed = 0;

    for (uint64_t seed = 0; seed < n; seed++)
        n_removed += prove(make_coupled_graph(seed), seed, n_ops);
    assert_true(n_removed > 2000);
}

static void test_proofs__hold_over_three_spatial_axes(void **state)
{
    const uint64_t n = n_graphs(200);
    int n_ops[LG_OP_N_KINDS] = { 0 };
    int64_t n_removed = 0;

    for (uint64_t seed = 0; seed < n; seed++)
        n_removed += prove(make_volume_graph(seed), seed, n_ops);
    assert_true(n_removed > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proofs__hold_for_every_op),
        cmocka_unit_test(test_proofs__hold_for_every_coupling),
        cmocka_unit_test(test_proofs__hold_over_three_spatial_axes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
