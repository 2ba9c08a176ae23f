/* What ranks channels beyond their weights: derivatives by gates against finite differences in double precision, widths
 * when all channels of a block compete, layers that are excluded. */
#include "support/context.h"
#include "support/eval.h"
#include "support/exact.h"
#include "support/graphs.h"

#include "legodnn/block.h"
#include "prune/prune.h"
#include "prune/reconstruct_graph.h"

#define N_SAMPLES 32
#define SIDE 6
#define CLASSES 4
#define ELEMENTS (3 * SIDE * SIDE)

/* --- data --- */

static lego_status read_sample(int64_t index, float *image, int64_t *label, void *payload)
{
    lg_rng rng;

    lg_rng_init(&rng, 500 + (uint64_t)index, 3);
    for (int i = 0; i < ELEMENTS; i++)
        image[i] = (float)lg_rng_normal(&rng);
    *label = index % (payload ? 2 * CLASSES : CLASSES);
    return LEGO_OK;
}

static lego_dataset *make_data(int64_t n_samples, int32_t side, int32_t n_classes)
{
    lego_dataset_reader reader = LEGO_DATASET_READER_INIT;
    lego_dataset *dataset;

    reader.name = "noise";
    reader.n_samples = n_samples;
    reader.n_classes = n_classes;
    reader.shape[0] = 3;
    reader.shape[1] = reader.shape[2] = side;
    reader.read = read_sample;
    assert_ok(lego_dataset_create(&dataset, context, &reader));
    return dataset;
}

/* A stem, a residual unit with a depthwise layer inside, a residual unit, a classifier. */
static lg_graph *make_classifier(uint64_t seed)
{
    maker m;
    int32_t x, y;

    maker_start(&m, seed);
    x = make_unary(&m, make_bn(&m, make_conv(&m, make_input(&m, 3, SIDE, SIDE), 5, 3, 1, 1, 0)), "relu", NULL);
    y = make_unary(&m, make_bn(&m, make_conv(&m, x, 6, 1, 1, 1, 0)), "relu", NULL);
    y = make_unary(&m, make_bn(&m, make_conv(&m, y, 6, 3, 1, 6, 0)), "clip", NULL);
    x = make_add(&m, x, make_bn(&m, make_conv(&m, y, 5, 1, 1, 1, 0)));
    y = make_unary(&m, make_conv(&m, x, 4, 3, 1, 1, 1), "relu", NULL);
    x = make_unary(&m, make_add(&m, x, make_conv(&m, y, 5, 3, 1, 1, 1)), "relu", NULL);
    x = make_unary(&m, make_unary(&m, x, "adaptive_avg_pool", NULL), "flatten", NULL);
    return maker_finish(&m, make_linear(&m, x, CLASSES));
}

/* --- gates --- */

/* Cross entropy of sample `index`. */
static double loss_of(const lg_graph *graph, int64_t index)
{
    float image[ELEMENTS];
    double input[ELEMENTS], sum = 0.0, loss;
    int64_t label;
    eval_value *values;
    const double *logits;

    assert_ok(read_sample(index, image, &label, NULL));
    for (int i = 0; i < ELEMENTS; i++)
        input[i] = image[i];
    values = eval_graph(graph, input, 1);
    logits = values[graph->outputs[0]].data;
    for (int k = 0; k < CLASSES; k++)
        sum += exp(logits[k]);
    loss = log(sum) - logits[label];
    eval_free(values, graph);
    return loss;
}

/* Scale row k of a layer's weight, and its bias. */
static void scale_row(lg_graph *graph, const lg_node *node, int64_t k, float factor)
{
    for (int slot = 0; slot < 2; slot++) {
        lego_tensor *tensor = lg_node_weight(graph, node, slot);
        const int64_t row = lg_tensor_count(tensor) / tensor->shape.dims[0];

        for (int64_t i = 0; i < row; i++)
            ((float *)lg_tensor_data(tensor))[k * row + i] *= factor;
    }
}

/* The layers whose output channel k is the unit, a depthwise one left out: it passes the channel on. */
static void scale_unit(lg_graph *folded, const lg_graph *graph, const lg_channels *channels, int32_t unit, float factor)
{
    for (int32_t n = 0; n < graph->n_nodes; n++) {
        const lg_node *node = &graph->nodes[n];
        const int64_t extent = graph->values[node->outputs[0]].shape.dims[1];

        if (!lg_op_is_compressible(node->op) || (node->op->kind == LG_OP_CONV && node->attrs->conv.groups > 1))
            continue;
        for (int64_t k = 0; k < extent; k++)
            if (lg_channels_unit(channels, LG_VALUE_AXIS(node->outputs[0], 1), k) == unit)
                scale_row(folded, &folded->nodes[lg_graph_find_node(folded, node->name)], k, factor);
    }
}

/* (L(1 + h) - L(1 - h)) / 2h. Floats hold 1 + h exactly, the products do not. */
static double derivative(lg_graph *folded, const lg_graph *graph, const lg_channels *channels, int32_t unit,
                         int64_t sample, float h)
{
    lg_graph *up, *down;
    double slope;

    assert_ok(lg_graph_clone(&up, folded));
    assert_ok(lg_graph_clone(&down, folded));
    for (int32_t w = 0; w < folded->n_weights; w++) {
        lego_tensor copy = { 0 };

        assert_ok(lg_tensor_copy(&copy, &folded->weights[w].tensor));
        lg_tensor_dispose(&up->weights[w].tensor);
        up->weights[w].tensor = copy;
        memset(&copy, 0, sizeof(copy));
        assert_ok(lg_tensor_copy(&copy, &folded->weights[w].tensor));
        lg_tensor_dispose(&down->weights[w].tensor);
        down->weights[w].tensor = copy;
    }
    scale_unit(up, graph, channels, unit, 1.0f + h);
    scale_unit(down, graph, channels, unit, 1.0f - h);
    slope = (loss_of(up, sample) - loss_of(down, sample)) / (2.0 * (double)h);
    lg_graph_free(up);
    lg_graph_free(down);
    return slope;
}

static void test_criteria__taylor_is_the_derivative_by_gates(void **state)
{
    lego_dataset *data = make_data(N_SAMPLES, SIDE, CLASSES);
    int n_checked = 0;

    for (uint64_t seed = 1; seed <= 2; seed++) {
        lg_graph *graph = make_classifier(seed), *folded;
        lg_channels *channels;
        lg_taylor *taylor;
        double *scores;

        assert_ok(lg_channels_analyze(&channels, graph, 1));
        assert_ok(lg_fold_norms(&folded, graph));
        assert_ok(lg_taylor_create(&taylor, context, graph, data));
        assert_ok(LG_CALLOC(&scores, lg_channels_n_units(channels)));
        assert_ok(lg_prune_scores(scores, &(lg_prune_rank){ LEGO_CRITERION_TAYLOR, 0, taylor }, channels, graph));
        for (size_t g = 0; g < lg_channels_n_groups(channels); g++) {
            const lg_channel_group *group = lg_channels_group(channels, g);

            for (int32_t i = 0; !group->frozen && i < group->n_units; i++) {
                double mean = 0.0;

                for (int64_t sample = 0; sample < N_SAMPLES; sample++) {
                    const double d = derivative(folded, graph, channels, group->units[i], sample, 1.0f / 32768);

                    mean += d * d / N_SAMPLES;
                }
                assert_near(scores[group->units[i]], mean, 1e-6, 0.02); /* kinks of ReLU lie in between */
                n_checked++;
            }
        }
        lg_free(scores);
        lg_taylor_free(taylor);
        lg_channels_free(channels);
        lg_graph_free(folded);
        lg_graph_free(graph);
    }
    assert_true(n_checked >= 2 * 15);
    lego_dataset_free(data);
}

/* A channel that nothing reads costs nothing; the one that everything depends on costs most. */
static void test_criteria__taylor_finds_idle_channels(void **state)
{
    lego_dataset *data = make_data(N_SAMPLES, SIDE, CLASSES);
    lg_graph *graph = make_classifier(7);
    lego_tensor *weight = lg_node_weight(graph, &graph->nodes[lg_graph_find_node(graph, "conv14")], 0);
    const int64_t inner = weight->shape.dims[1] * weight->shape.dims[2] * weight->shape.dims[3] / 4;
    lg_channels *channels;
    lg_taylor *taylor;
    double *scores;
    const lg_axis axis = LG_WEIGHT_AXIS(graph->nodes[lg_graph_find_node(graph, "conv14")].weights[0], 1);

    assert_int_equal(weight->shape.dims[1], 4);
    for (int64_t k = 0; k < weight->shape.dims[0]; k++) /* channel 2 is not read */
        memset((float *)lg_tensor_data(weight) + (4 * k + 2) * inner, 0, (size_t)inner * sizeof(float));
    assert_ok(lg_channels_analyze(&channels, graph, 1));
    assert_ok(lg_taylor_create(&taylor, context, graph, data));
    assert_ok(LG_CALLOC(&scores, lg_channels_n_units(channels)));
    assert_ok(lg_taylor_score(scores, taylor, channels, graph));
    for (int64_t c = 0; c < 4; c++) {
        const double score = scores[lg_channels_unit(channels, axis, c)];

        assert_true(c == 2 ? score == 0.0 : score > 0.0);
    }
    lg_free(scores);
    lg_taylor_free(taylor);
    lg_channels_free(channels);
    lg_graph_free(graph);
    lego_dataset_free(data);
}

static void test_criteria__taylor_refuses_what_does_not_fit(void **state)
{
    lg_graph *graph = make_classifier(1);
    lego_dataset *few = make_data(15, SIDE, CLASSES), *small = make_data(32, 5, CLASSES), *many = make_data(32, SIDE, 9);
    lego_dataset *data = make_data(32, SIDE, CLASSES);
    lg_channels *channels;
    lg_taylor *taylor;
    double *scores;
    maker m;
    lg_graph *other;

    assert_fails(LEGO_EINVAL, lg_taylor_create(&taylor, context, graph, few));
    assert_says("noise has 15 samples, criterion taylor needs at least 16");
    assert_fails(LEGO_EINVAL, lg_taylor_create(&taylor, context, graph, small));
    assert_says("noise has samples of (3,5,5), the model takes (N,3,6,6)");
    assert_fails(LEGO_EINVAL, lg_taylor_create(&taylor, context, graph, many));
    assert_says("noise has 9 classes, the model tells 4 apart");
    assert_null(taylor);

    maker_start(&m, 1);
    other = maker_finish(&m, make_conv(&m, make_input(&m, 3, SIDE, SIDE), 4, 3, 1, 1, 0));
    assert_fails(LEGO_EUNSUPPORTED, lg_taylor_create(&taylor, context, other, data));
    assert_says("needs a classifier");
    lg_graph_free(other);

    assert_ok(lg_channels_analyze(&channels, graph, 1));
    assert_ok(LG_CALLOC(&scores, lg_channels_n_units(channels)));
    assert_fails(LEGO_EINVAL, lg_prune_scores(scores, &(lg_prune_rank){ LEGO_CRITERION_TAYLOR, 0, NULL }, channels, graph));
    assert_says("needs data");
    lg_free(scores);
    lg_channels_free(channels);
    lego_dataset_free(few);
    lego_dataset_free(small);
    lego_dataset_free(many);
    lego_dataset_free(data);
    lg_graph_free(graph);
}

static void test_criteria__taylor_survives_failing_allocations(void **state)
{
    lego_dataset *data = make_data(16, SIDE, CLASSES);
    lg_graph *graph = make_classifier(3);
    lg_taylor *taylor;

    for (long n = 0; n < 400; n += 7) { /* the engine's own allocations, made once, lie among them */
        lego_status status;

        lg_alloc_fail_after(n);
        status = lg_taylor_create(&taylor, context, graph, data);
        lg_alloc_fail_after(-1);
        assert_true(status == LEGO_OK || status == LEGO_ENOMEM);
        if (status == LEGO_OK)
            lg_taylor_free(taylor);
    }
    lego_dataset_free(data);
    lg_graph_free(graph);
}

/* --- all channels of a block against each other --- */

/* Whatever the graph: the balance of grouped convolutions holds, plain groups keep exactly their units among the best
 * of all, and what is chosen can be cut. */
static void test_criteria__ranked_widths_of_random_graphs(void **state)
{
    static const double sparsities[] = { 0.0, 0.3, 0.6, 0.9 };
    int n_uneven = 0;

    for (uint64_t seed = 0; seed < 120; seed++) {
        lg_graph *graph = seed % 2 ? make_wide_graph(seed) : make_random_graph(seed), *pruned;
        lg_channels *channels;
        size_t n_groups;
        int32_t n_units;
        lg_prune_width *widths;
        double *scores;
        uint8_t *keep;
        lg_rng rng;

        assert_ok(lg_channels_analyze(&channels, graph, 1));
        n_groups = lg_channels_n_groups(channels);
        n_units = lg_channels_n_units(channels);
        assert_ok(LG_CALLOC(&widths, n_groups));
        assert_ok(LG_CALLOC(&scores, n_units));
        assert_ok(LG_CALLOC(&keep, n_units));
        lg_rng_init(&rng, seed, 9);
        for (int32_t u = 0; u < n_units; u++)
            scores[u] = lg_rng_uniform(&rng);
        for (size_t s = 0; s < sizeof(sparsities) / sizeof(*sparsities); s++) {
            double threshold = -1.0;
            int64_t n_free = 0, n_above;

            for (size_t g = 0; g < n_groups; g++)
                n_free += lg_channels_group(channels, g)->frozen ? 0 : lg_channels_group(channels, g)->n_units;
            n_above = llround((1.0 - sparsities[s]) * (double)n_free);
            for (size_t g = 0; g < n_groups && n_above < n_free; g++) { /* the best score that goes, by counting */
                const lg_channel_group *group = lg_channels_group(channels, g);

                for (int32_t i = 0; !group->frozen && i < group->n_units; i++) {
                    const double score = scores[group->units[i]];
                    int64_t higher = 0;

                    for (size_t h = 0; h < n_groups; h++)
                        for (int32_t j = 0; !lg_channels_group(channels, h)->frozen &&
                                            j < lg_channels_group(channels, h)->n_units; j++)
                            higher += scores[lg_channels_group(channels, h)->units[j]] > score;
                    if (higher == n_above)
                        threshold = score;
                }
            }
            assert_ok(lg_prune_widths_ranked(widths, channels, scores, sparsities[s], 0));
            for (size_t g = 0; g < n_groups; g++) {
                const lg_channel_group *group = lg_channels_group(channels, g);
                int32_t above = 0;

                for (int32_t i = 0; i < group->n_units; i++)
                    above += scores[group->units[i]] > threshold;
                if (group->frozen)
                    assert_int_equal(widths[g].units, group->n_units);
                else if (group->parts == 1)
                    assert_int_equal(widths[g].units, above > 0 ? above : 1);
                else
                    assert_int_equal(widths[g].parts, widths[group->partner].parts);
                n_uneven += !group->frozen && group->parts == 1 &&
                            widths[g].units != (int32_t)lround((1.0 - sparsities[s]) * group->n_units);
            }
            assert_ok(lg_prune_select(keep, channels, widths, scores));
            assert_ok(lg_channels_apply(&pruned, channels, graph, keep));
            lg_graph_free(pruned);
        }
        lg_free(widths);
        lg_free(scores);
        lg_free(keep);
        lg_channels_free(channels);
        lg_graph_free(graph);
    }
    assert_true(n_uneven > 50);
}

/* --- lego_extract --- */

static lego_store *extract(void **state, const lg_graph *graph, const lego_extract_options *options)
{
    const lego_model model = { (lg_graph *)(uintptr_t)graph };
    lego_store *store;

    assert_ok(lego_extract(context, &model, in_folder(state, "store"), options));
    assert_ok(lego_store_open(&store, context, in_folder(state, "store")));
    return store;
}

static int64_t rows_of(lego_store *store, const char *layer, double sparsity)
{
    for (int32_t b = 0; b < store->n_blocks; b++)
        for (int32_t v = 0; v < store->blocks[b].n_variants; v++) {
            const lg_graph *graph;
            int32_t node;

            if (store->blocks[b].variants[v].sparsity != sparsity)
                continue;
            assert_ok(lg_store_variant_graph(&graph, store, b, v));
            node = lg_graph_find_node(graph, layer);
            if (node != LG_NONE)
                return lg_node_weight(graph, &graph->nodes[node], 0)->shape.dims[0];
        }
    fail_msg("no variant of sparsity %g has layer '%s'", sparsity, layer);
    return 0;
}

static void test_criteria__taylor_extracts_a_store(void **state)
{
    const double sparsities[] = { 0.5 };
    lego_dataset *data = make_data(N_SAMPLES, SIDE, CLASSES);
    lg_graph *graph = make_classifier(5);
    lego_extract_options options = LEGO_EXTRACT_OPTIONS_INIT;
    lego_store *store;

    options.sparsities = sparsities;
    options.n_sparsities = 1;
    options.criterion = LEGO_CRITERION_TAYLOR;
    assert_fails(LEGO_EINVAL, lego_extract(context, &(lego_model){ graph }, in_folder(state, "store"), &options));
    assert_says("criterion taylor needs data");
    options.dataset = data;
    options.ratio = 1.0;
    for (int scope = 0; scope < 2; scope++) {
        options.scope = (lego_prune_scope)scope;
        store = extract(state, graph, &options);
        assert_string_equal(store->blocks[0].variants[1].origin, "taylor");
        lego_store_free(store);
    }
    lego_dataset_free(data);
    lg_graph_free(graph);
}

static void test_criteria__excluded_layers_keep_their_channels(void **state)
{
    const double sparsities[] = { 0.5 };
    const char *const one[] = { "conv4" }, *const all[] = { "conv*" }, *const none[] = { "conv4", "conv99" };
    lego_extract_options options = LEGO_EXTRACT_OPTIONS_INIT;
    lego_dataset *data = make_data(N_SAMPLES, SIDE, CLASSES);
    lego_store *store;
    lg_graph *graph;
    char *text;
    maker m;
    int32_t x;

    maker_start(&m, 5);
    x = make_unary(&m, make_conv(&m, make_input(&m, 3, SIDE, SIDE), 6, 3, 1, 1, 1), "relu", NULL);
    x = make_unary(&m, make_conv(&m, x, 8, 3, 1, 1, 1), "relu", NULL);
    x = make_unary(&m, make_conv(&m, x, 8, 3, 1, 1, 1), "relu", NULL);
    x = make_unary(&m, make_conv(&m, x, 8, 3, 1, 1, 1), "relu", NULL);
    graph = maker_finish(&m, make_linear(&m, make_unary(&m, x, "flatten", NULL), CLASSES));
    options.sparsities = sparsities;
    options.n_sparsities = 1;
    options.ratio = 1.0;
    store = extract(state, graph, &options);
    assert_int_equal(rows_of(store, "conv2", 0.5), 4);
    assert_int_equal(rows_of(store, "conv4", 0.5), 4);
    lego_store_free(store);

    options.exclude = one;
    options.n_exclude = 1;
    for (int i = 0; i < 2; i++) { /* by weights, and by reconstruction */
        options.dataset = i ? data : NULL;
        store = extract(state, graph, &options);
        assert_int_equal(rows_of(store, "conv2", 0.5), 4);
        assert_int_equal(rows_of(store, "conv4", 0.5), 8);
        assert_int_equal(rows_of(store, "conv6", 0.5), 4);
        lego_store_free(store);
    }
    options.dataset = NULL;
    assert_ok(lego_extract_explain(&text, context, &(lego_model){ graph }, &options));
    assert_non_null(strstr(text, "excluded"));
    lego_string_free(text);
    assert_false(graph->nodes[lg_graph_find_node(graph, "conv4")].is_whole); /* the caller's model is not touched */

    options.exclude = all;
    assert_fails(LEGO_EUNSUPPORTED, lego_extract(context, &(lego_model){ graph }, in_folder(state, "none"), &options));
    options.exclude = none;
    options.n_exclude = 2;
    assert_fails(LEGO_ENOTFOUND, lego_extract(context, &(lego_model){ graph }, in_folder(state, "none"), &options));
    assert_says("no layer 'conv99'");
    lego_dataset_free(data);
    lg_graph_free(graph);
}

static void test_criteria__scopes_and_criteria_are_checked(void **state)
{
    lego_extract_options options = LEGO_EXTRACT_OPTIONS_INIT;
    lego_dataset *data = make_data(N_SAMPLES, SIDE, CLASSES);
    lg_graph *graph = make_classifier(1);

    options.scope = LEGO_PRUNE_SCOPE_BLOCK;
    options.dataset = data;
    assert_fails(LEGO_EINVAL, lego_extract(context, &(lego_model){ graph }, in_folder(state, "s"), &options));
    assert_says("scope block goes with the others");
    options.scope = (lego_prune_scope)2;
    assert_fails(LEGO_EINVAL, lego_extract(context, &(lego_model){ graph }, in_folder(state, "s"), &options));
    assert_says("scope 2");
    options.scope = LEGO_PRUNE_SCOPE_GROUP;
    options.n_exclude = 1;
    assert_fails(LEGO_EINVAL, lego_extract(context, &(lego_model){ graph }, in_folder(state, "s"), &options));
    lego_dataset_free(data);
    lg_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_criteria__taylor_is_the_derivative_by_gates),
        cmocka_unit_test(test_criteria__taylor_finds_idle_channels),
        cmocka_unit_test(test_criteria__taylor_refuses_what_does_not_fit),
        cmocka_unit_test(test_criteria__taylor_survives_failing_allocations),
        cmocka_unit_test(test_criteria__ranked_widths_of_random_graphs),
        folder_test(test_criteria__taylor_extracts_a_store),
        folder_test(test_criteria__excluded_layers_keep_their_channels),
        folder_test(test_criteria__scopes_and_criteria_are_checked),
    };

    return cmocka_run_group_tests(tests, make_context, free_context);
}
