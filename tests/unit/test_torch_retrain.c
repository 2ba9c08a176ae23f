/* retrain/: variants learn to do what their blocks do, never end worse than they started, and survive interruptions. */
#include "support/graphs.h"
#include "support/torch_data.h"

#include <math.h>

#include "graph/channels.h"
#include "legodnn/retrain.h"
#include "retrain/retrain.h"
#include "store/store.h"

#define N_BLOCKS 3

static lego_context *context;

static int setup(void **state)
{
    if (lego_context_create(&context) != LEGO_OK || lego_context_set_threads(context, 1) != LEGO_OK ||
        lego_context_set_seed(context, 7) != LEGO_OK)
        return -1;
    return make_tiny_data(state);
}

static int teardown(void **state)
{
    lego_context_free(context);
    return remove_folder(state);
}

#define retrain_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* A block with a part of its free channels gone. */
static lg_graph *prune(const lg_graph *block, uint64_t seed)
{
    lg_channels *channels = NULL;
    lg_graph *pruned = NULL;
    uint8_t *keep;

    assert_ok(lg_channels_analyze(&channels, block, 1));
    keep = random_keep(channels, seed);
    assert_ok(lg_channels_apply(&pruned, channels, block, keep));
    lg_free(keep);
    lg_channels_free(channels);
    return pruned;
}

/* A head that looks at channels 1 and 4 only, and so little that every class is as likely as any other. */
static void look_at_two_channels(const lg_graph *graph)
{
    for (int32_t w = 0; w < graph->n_weights; w++) {
        const lego_tensor *tensor = &graph->weights[w].tensor;
        float *data = lg_tensor_data(tensor);

        if (tensor->shape.n_dims == 2 && tensor->shape.dims[1] == 6)
            for (int64_t i = 0; i < lg_tensor_count(tensor); i++)
                data[i] *= i % 6 == 1 || i % 6 == 4 ? 1e-3f : 0.0f;
    }
}

/* Write a store of three residual blocks between a stem and a head, two pruned variants each. */
static void write_store_of(const char *path, void (*change)(const lg_graph *graph))
{
    static const char *const names[N_BLOCKS] = { "b0", "b1", "b2" };
    int32_t block_of[64];
    lego_store *store = NULL;
    lg_graph *graph, *frame = NULL;
    int32_t x, first[N_BLOCKS + 1];
    maker m;

    maker_start(&m, 21);
    x = make_unary(&m, make_bn(&m, make_conv(&m, make_input(&m, 1, TINY_SIDE, TINY_SIDE), 6, 3, 1, 1, 0)), "relu", NULL);
    for (int b = 0; b < N_BLOCKS; b++) {
        first[b] = m.graph->n_nodes;
        x = make_bn(&m, make_conv(&m, x, 12, 3, 1, 1, 0));
        x = make_unary(&m, x, "relu", NULL);
        x = make_unary(&m, make_bn(&m, make_conv(&m, x, 6, 3, b == 1 ? 2 : 1, 1, 1)), "relu", NULL);
    }
    first[N_BLOCKS] = m.graph->n_nodes;
    x = make_unary(&m, make_unary(&m, x, "adaptive_avg_pool", NULL), "flatten", NULL);
    graph = maker_finish(&m, make_linear(&m, x, 10));
    assert_true(graph->n_nodes <= 64);
    assert_ok(lg_graph_initialize(graph, 3));
    if (change)
        change(graph);
    for (int32_t n = 0; n < graph->n_nodes; n++)
        block_of[n] = LG_NONE;
    for (int b = 0; b < N_BLOCKS; b++)
        for (int32_t n = first[b]; n < first[b + 1]; n++)
            block_of[n] = b;
    assert_ok(lg_graph_frame(&frame, graph, block_of, N_BLOCKS, names));
    assert_ok(lg_store_create(&store, frame));
    for (int b = 0; b < N_BLOCKS; b++) {
        uint8_t in_set[64];
        lg_graph *part = NULL, *s3, *s6;

        for (int32_t n = 0; n < graph->n_nodes; n++)
            in_set[n] = block_of[n] == b;
        assert_ok(lg_graph_subgraph(&part, graph, in_set, NULL, NULL));
        s3 = prune(part, 10);
        s6 = prune(part, 11);
        assert_ok(lg_store_add_variant(store, b, "s0", 0.0, "f32", "original", part));
        assert_ok(lg_store_add_variant(store, b, "s0.3", 0.3, "f32", "l1", s3));
        assert_ok(lg_store_add_variant(store, b, "s0.6", 0.6, "f32", "l1", s6));
    }
    assert_ok(lg_store_write(store, path));
    lego_store_free(store);
    lg_graph_free(graph);
}

static void write_store(const char *path)
{
    write_store_of(path, NULL);
}

static lego_store *open_store(const char *path)
{
    lego_store *store = NULL;

    assert_ok(lego_store_open(&store, context, path));
    return store;
}

static const lg_graph *graph_of(lego_store *store, int32_t block, int32_t variant)
{
    const lg_graph *graph = NULL;

    assert_ok(lg_store_variant_graph(&graph, store, block, variant));
    return graph;
}

static int same_weights(const lg_graph *a, const lg_graph *b)
{
    assert_int_equal(a->n_weights, b->n_weights);
    for (int32_t w = 0; w < a->n_weights; w++)
        if (memcmp(lg_tensor_data(&a->weights[w].tensor), lg_tensor_data(&b->weights[w].tensor),
                   lg_tensor_bytes(&a->weights[w].tensor)) != 0)
            return 0;
    return 1;
}

static lego_retrain_options options(void)
{
    lego_retrain_options o = LEGO_RETRAIN_OPTIONS_INIT;

    o.epochs = 3;
    o.batch = 32;
    o.lr = 2e-3;
    o.precision = LEGO_TRAIN_F32;
    return o;
}

typedef struct data {
    lego_dataset *train, *val;
} data;

static data open_data(void **state)
{
    return (data){ open_tiny_data(state, context, LEGO_SPLIT_TRAIN), open_tiny_data(state, context, LEGO_SPLIT_VAL) };
}

static void close_data(data d)
{
    lego_dataset_free(d.train);
    lego_dataset_free(d.val);
}

static void check_learned(void **state, const char *path, const char *untouched, lego_retrain_options o)
{
    data d = open_data(state);
    lego_store *store, *fresh;
    lego_retrain_report *report = NULL;
    char *text = NULL;

    write_store(path);
    write_store(untouched);
    store = open_store(path);
    fresh = open_store(untouched);
    assert_ok(lego_retrain(&report, context, store, d.train, d.val, &o));
    assert_int_equal(lego_retrain_report_count(report), N_BLOCKS * 2);
    lego_store_free(store);
    store = open_store(path);
    assert_ok(lego_store_verify(store));
    for (int32_t i = 0; i < lego_retrain_report_count(report); i++) {
        lego_retrain_result result;

        assert_ok(lego_retrain_report_get(&result, report, i));
        assert_true(result.loss_after <= result.loss_before);
        assert_true(result.loss_after < 0.95 * result.loss_before);
        assert_int_equal(result.outcome, LEGO_RETRAIN_IMPROVED);
        assert_string_equal(store->blocks[result.block].variants[result.variant].origin, "retrain");
        assert_false(same_weights(graph_of(store, result.block, result.variant),
                                  graph_of(fresh, result.block, result.variant)));
    }
    for (int32_t b = 0; b < N_BLOCKS; b++) /* the original is the target, not a pupil */
        assert_true(same_weights(graph_of(store, b, 0), graph_of(fresh, b, 0)));
    assert_ok(lego_retrain_report_to_json(&text, report));
    assert_non_null(strstr(text, "legodnn.retrain/1"));
    lego_string_free(text);
    lego_retrain_report_free(report);
    lego_store_free(store);
    lego_store_free(fresh);
    close_data(d);
}

static void test_torch_retrain__variants_learn_in_compositions(void **state)
{
    check_learned(state, in_folder(state, "store"), in_folder(state, "fresh"), options());
}

static void test_torch_retrain__variants_learn_from_the_original_s_inputs(void **state)
{
    lego_retrain_options o = options();

    o.inputs = LEGO_RETRAIN_ORIGINAL;
    check_learned(state, in_folder(state, "store"), in_folder(state, "fresh"), o);
}

static void test_torch_retrain__other_losses_and_precisions_work(void **state)
{
    lego_retrain_options o = options();

    o.loss = LEGO_RETRAIN_SMOOTH_L1;
    check_learned(state, in_folder(state, "a"), in_folder(state, "fresh"), o);
    o.loss = LEGO_RETRAIN_COSINE;
    check_learned(state, in_folder(state, "b"), in_folder(state, "fresh"), o);
    o.loss = LEGO_RETRAIN_MSE;
    o.precision = LEGO_TRAIN_AUTO;
    check_learned(state, in_folder(state, "c"), in_folder(state, "fresh"), o);
    o.precision = options().precision;
    o.weighting = LEGO_RETRAIN_FISHER;
    check_learned(state, in_folder(state, "d"), in_folder(state, "fresh"), o);
}

static int stop_at(const char *stage, size_t done, size_t total, void *payload)
{
    return done >= *(const size_t *)payload;
}

static void test_torch_retrain__interrupted_and_resumed_equals_uninterrupted(void **state)
{
    data d = open_data(state);
    const char *whole_path = in_folder(state, "whole"), *parts_path = in_folder(state, "parts");
    lego_retrain_options o = options();
    lego_retrain_report *whole_report = NULL, *parts_report = NULL;
    lego_store *whole, *parts;
    size_t stop;

    write_store(whole_path);
    write_store(parts_path);
    whole = open_store(whole_path);
    assert_ok(lego_retrain(&whole_report, context, whole, d.train, d.val, &o));
    assert_ok(lego_context_set_progress(context, stop_at, &stop));
    for (stop = 1; stop < 36; stop += 7) { /* 12 batches an epoch */
        parts = open_store(parts_path);
        assert_fails(LEGO_ECANCELED, lego_retrain(&parts_report, context, parts, d.train, d.val, &o));
        assert_null(parts_report);
        lego_store_free(parts);
    }
    assert_ok(lego_context_set_progress(context, NULL, NULL));
    parts = open_store(parts_path);
    assert_ok(lego_retrain(&parts_report, context, parts, d.train, d.val, &o));
    for (int32_t b = 0; b < N_BLOCKS; b++)
        for (int32_t v = 0; v < 3; v++)
            assert_true(same_weights(graph_of(whole, b, v), graph_of(parts, b, v)));
    for (int32_t i = 0; i < N_BLOCKS * 2; i++) {
        lego_retrain_result a, b;

        assert_ok(lego_retrain_report_get(&a, whole_report, i));
        assert_ok(lego_retrain_report_get(&b, parts_report, i));
        assert_true(a.loss_before == b.loss_before && a.loss_after == b.loss_after && a.steps == b.steps);
    }
    lego_retrain_report_free(whole_report);
    lego_retrain_report_free(parts_report);
    lego_store_free(whole);
    lego_store_free(parts);
    close_data(d);
}

/* With equally likely classes the Fisher matrix of the features before a linear head W is W^T (I - 1 1^T / K) W, up to a
 * factor: the last block's errors count in channels 1 and 4 alone, and there as this says. */
static void test_torch_retrain__errors_count_where_the_head_looks(void **state)
{
    data d = open_data(state);
    lego_retrain_options o = options();
    lg_retrain r = { .context = context, .opts = &o, .train = d.train };
    const lego_tensor *head = NULL;
    double want[2][2] = { { 0 } }, got[2][2] = { { 0 } }, mean[2] = { 0 };
    lg_torch_tensor *weight;
    int64_t dims[LEGO_MAX_DIMS];
    float l[12];
    int n_dims;

    write_store_of(in_folder(state, "store"), look_at_two_channels);
    r.store = open_store(in_folder(state, "store"));
    r.segments = &r.store->segments;
    assert_ok(lg_torch_open(&r.api, context, NULL));
    r.frame_nets = lg_calloc((size_t)r.segments->n_segments, sizeof(*r.frame_nets));
    r.originals = lg_calloc(N_BLOCKS, sizeof(*r.originals));
    r.segment_of = lg_calloc(N_BLOCKS, sizeof(*r.segment_of));
    r.weights = lg_calloc((size_t)r.segments->n_slots, sizeof(*r.weights));
    for (int32_t s = 0; s < r.segments->n_segments; s++) {
        const lg_segment *segment = &r.segments->segments[s];

        if (segment->block == LG_NONE)
            assert_ok(lg_torch_net_create(&r.frame_nets[s], r.api, segment->graph, NULL));
        else
            assert_ok(lg_torch_net_create(&r.originals[segment->block], r.api, graph_of(r.store, segment->block, 0),
                                          NULL));
        if (segment->block != LG_NONE)
            r.segment_of[segment->block] = s;
    }
    assert_ok(lg_retrain_weigh(&r));

    weight = r.weights[r.segments->segments[r.segment_of[N_BLOCKS - 1]].outputs[0]];
    assert_non_null(weight);
    assert_ok(LG_TORCH(r.api, tensor_shape(weight, &n_dims, dims)));
    assert_true(n_dims == 4 && dims[0] <= 2 && dims[1] == 6);
    assert_ok(LG_TORCH(r.api, tensor_to_host(weight, l, (size_t)dims[0] * 6 * sizeof(float))));
    for (int32_t w = 0; w < r.store->frame->n_weights; w++)
        if (r.store->frame->weights[w].tensor.shape.n_dims == 2)
            head = &r.store->frame->weights[w].tensor;
    assert_non_null(head);
    for (int pass = 0; pass < 2; pass++)
        for (int k = 0; k < 10; k++)
            for (int i = 0; i < 2; i++) {
                const float *row = (const float *)lg_tensor_data(head) + 6 * k;

                mean[i] += pass == 0 ? row[i ? 4 : 1] / 10.0 : 0.0;
                for (int j = 0; pass == 1 && j < 2; j++)
                    want[i][j] += (row[i ? 4 : 1] - mean[i]) * (row[j ? 4 : 1] - mean[j]);
            }
    for (int64_t k = 0; k < dims[0]; k++)
        for (int c = 0; c < 6; c++) {
            if (c != 1 && c != 4)
                assert_true(l[k * 6 + c] == 0.0f);
            for (int j = 0; j < 2 && (c == 1 || c == 4); j++)
                got[c == 4][j] += l[k * 6 + c] * l[k * 6 + (j ? 4 : 1)];
        }
    for (int i = 0; i < 4; i++) /* 256 drawn labels */
        assert_near(got[i / 2][i % 2] / (got[0][0] + got[1][1]), want[i / 2][i % 2] / (want[0][0] + want[1][1]), 0.12,
                    0.0);

    for (int32_t s = 0; s < r.segments->n_segments; s++)
        lg_torch_net_free(r.frame_nets[s]);
    for (int32_t b = 0; b < N_BLOCKS; b++)
        lg_torch_net_free(r.originals[b]);
    lg_torch_free_all(r.api, r.weights, r.segments->n_slots);
    lg_free(r.frame_nets);
    lg_free(r.originals);
    lg_free(r.segment_of);
    lg_free(r.weights);
    lego_store_free(r.store);
    close_data(d);
}

/* Variants train side by side, each on a thread of its own: what they learn does not depend on how many there are. */
static void test_torch_retrain__threads_change_nothing(void **state)
{
    data d = open_data(state);
    lego_retrain_options o = options();
    lego_store *stores[2];

    o.epochs = 1;
    for (int i = 0; i < 2; i++) {
        write_store(in_folder(state, i == 0 ? "one" : "three"));
        stores[i] = open_store(in_folder(state, i == 0 ? "one" : "three"));
        assert_ok(lego_context_set_threads(context, i == 0 ? 1 : 3)); /* two variants and the original */
        assert_ok(lego_retrain(NULL, context, stores[i], d.train, d.val, &o));
    }
    for (int32_t b = 0; b < N_BLOCKS; b++)
        for (int32_t v = 0; v < 3; v++)
            assert_true(same_weights(graph_of(stores[0], b, v), graph_of(stores[1], b, v)));
    lego_store_free(stores[0]);
    lego_store_free(stores[1]);
    close_data(d);
}

static void test_torch_retrain__other_options_do_not_take_over_an_unfinished_one(void **state)
{
    data d = open_data(state);
    const char *path = in_folder(state, "store");
    lego_retrain_options o = options();
    lego_store *store;
    size_t stop = 3;

    write_store(path);
    store = open_store(path);
    assert_ok(lego_context_set_progress(context, stop_at, &stop));
    assert_fails(LEGO_ECANCELED, lego_retrain(NULL, context, store, d.train, d.val, &o));
    assert_ok(lego_context_set_progress(context, NULL, NULL));
    o.lr = 1e-3;
    assert_fails(LEGO_EINVAL, lego_retrain(NULL, context, store, d.train, d.val, &o));
    assert_says("unfinished");
    o.restart = 1;
    assert_ok(lego_retrain(NULL, context, store, d.train, d.val, &o));
    lego_store_free(store);
    close_data(d);
}

/* One variant's weights are so large that its loss overflows: it is left as it was, the others learn. */
static void test_torch_retrain__a_variant_that_is_not_finite_is_left_out(void **state)
{
    data d = open_data(state);
    const char *path = in_folder(state, "store");
    lego_retrain_options o = options();
    lego_retrain_report *report = NULL;
    lego_store *store;
    lg_graph *wild = NULL;

    write_store(path);
    store = open_store(path);
    assert_ok(lg_graph_clone(&wild, graph_of(store, 1, 2)));
    for (int32_t w = 0; w < wild->n_weights; w++) {
        lego_tensor copy;

        assert_ok(lg_tensor_copy(&copy, &wild->weights[w].tensor));
        for (int64_t i = 0; i < lg_tensor_count(&copy) && copy.shape.n_dims == 4; i++)
            ((float *)lg_tensor_data(&copy))[i] *= 1e15f;
        lg_tensor_dispose(&wild->weights[w].tensor);
        wild->weights[w].tensor = copy;
    }
    assert_ok(lg_store_update_variant(store, 1, 2, wild, "l1"));
    assert_ok(lego_retrain(&report, context, store, d.train, d.val, &o));
    for (int32_t i = 0; i < N_BLOCKS * 2; i++) {
        lego_retrain_result result;

        assert_ok(lego_retrain_report_get(&result, report, i));
        assert_int_equal(result.outcome, result.block == 1 && result.variant == 2 ? LEGO_RETRAIN_NOT_FINITE
                                                                                 : LEGO_RETRAIN_IMPROVED);
    }
    assert_true(same_weights(graph_of(store, 1, 2), wild));
    lg_graph_free(wild);
    lego_retrain_report_free(report);
    lego_store_free(store);
    close_data(d);
}

/* With a learning rate that destroys, the best weights are those of the start. */
static void test_torch_retrain__never_worse_than_at_the_start(void **state)
{
    data d = open_data(state);
    const char *path = in_folder(state, "store"), *untouched = in_folder(state, "fresh");
    lego_retrain_options o = options();
    lego_retrain_report *report = NULL;
    lego_store *store, *fresh;

    o.lr = 100.0;
    o.patience = 1;
    write_store(path);
    write_store(untouched);
    store = open_store(path);
    fresh = open_store(untouched);
    assert_ok(lego_retrain(&report, context, store, d.train, d.val, &o));
    for (int32_t i = 0; i < N_BLOCKS * 2; i++) {
        lego_retrain_result result;

        assert_ok(lego_retrain_report_get(&result, report, i));
        assert_true(result.loss_after <= result.loss_before);
        if (result.outcome != LEGO_RETRAIN_IMPROVED)
            assert_true(same_weights(graph_of(store, result.block, result.variant),
                                     graph_of(fresh, result.block, result.variant)));
        assert_true(result.steps <= 12); /* stopped after the first epoch */
    }
    lego_retrain_report_free(report);
    lego_store_free(store);
    lego_store_free(fresh);
    close_data(d);
}

static void test_torch_retrain__bad_arguments_are_named(void **state)
{
    data d = open_data(state);
    const char *path = in_folder(state, "store");
    lego_retrain_options o = options();
    lego_store *store;

    write_store(path);
    store = open_store(path);
    assert_fails(LEGO_EINVAL, lego_retrain(NULL, context, NULL, d.train, d.val, &o));
    o.epochs = 0;
    assert_fails(LEGO_EINVAL, lego_retrain(NULL, context, store, d.train, d.val, &o));
    assert_says("epochs=0");
    o = options();
    o.lr = -1.0;
    assert_fails(LEGO_EINVAL, lego_retrain(NULL, context, store, d.train, d.val, &o));
    assert_says("lr=-1");
    o = options();
    o.weighting = (lego_retrain_weighting)2;
    assert_fails(LEGO_EINVAL, lego_retrain(NULL, context, store, d.train, d.val, &o));
    assert_says("weighting=2 is not one of outputs, fisher");
    lego_store_free(store);
    close_data(d);
}

static void test_torch_retrain__running_out_of_memory_leaves_a_store_that_opens(void **state)
{
    data d = open_data(state);
    const char *path = in_folder(state, "store");
    lego_retrain_options o = options();
    long n;

    write_store(path);
    o.epochs = 1;
    o.batch = 200;
    for (n = 0;; n += 1 + n / 4) {
        lego_store *store = open_store(path);
        lego_retrain_report *report = NULL;
        lego_status status;

        lg_alloc_fail_after(n);
        status = lego_retrain(&report, context, store, d.train, d.val, &o);
        if (!lg_alloc_fail_after(-1)) {
            assert_int_equal(status, LEGO_OK);
            lego_retrain_report_free(report);
            lego_store_free(store);
            break;
        }
        assert_int_equal(status, LEGO_ENOMEM);
        assert_null(report);
        lego_store_free(store);
        store = open_store(path);
        assert_ok(lego_store_verify(store));
        lego_store_free(store);
    }
    assert_true(n > 500);
    close_data(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        retrain_test(test_torch_retrain__variants_learn_in_compositions),
        retrain_test(test_torch_retrain__variants_learn_from_the_original_s_inputs),
        retrain_test(test_torch_retrain__other_losses_and_precisions_work),
        retrain_test(test_torch_retrain__interrupted_and_resumed_equals_uninterrupted),
        retrain_test(test_torch_retrain__errors_count_where_the_head_looks),
        retrain_test(test_torch_retrain__threads_change_nothing),
        retrain_test(test_torch_retrain__other_options_do_not_take_over_an_unfinished_one),
        retrain_test(test_torch_retrain__a_variant_that_is_not_finite_is_left_out),
        retrain_test(test_torch_retrain__never_worse_than_at_the_start),
        retrain_test(test_torch_retrain__bad_arguments_are_named),
        retrain_test(test_torch_retrain__running_out_of_memory_leaves_a_store_that_opens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
