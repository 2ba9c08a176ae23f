/* retrain/train.c: a teacher learns; an interrupted training ends as an uninterrupted one; refusals. */
#include "support/graphs.h"
#include "support/torch_data.h"

#include <math.h>

#include "legodnn/train.h"
#include "tensor/safetensors.h"

#define EPOCHS 3

static lego_context *context;

static int setup(void **state)
{
    if (lego_context_create(&context) != LEGO_OK || lego_context_set_threads(context, 1) != LEGO_OK ||
        lego_context_set_seed(context, 42) != LEGO_OK)
        return -1;
    return make_tiny_data(state);
}

static int teardown(void **state)
{
    lego_context_free(context);
    return remove_folder(state);
}

#define train_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* conv bn relu, conv bn relu, pool, dropout, linear */
static lego_model *small_model(int64_t classes, int64_t side)
{
    const lg_attrs pool = { .adaptive_pool = { { 2, 2 } } };
    lego_model *model = NULL;
    lg_graph *graph;
    int32_t x;
    maker m;

    maker_start(&m, 1);
    x = make_input(&m, 1, side, side);
    x = make_unary(&m, make_bn(&m, make_conv(&m, x, 6, 3, 1, 1, 0)), "relu", NULL);
    x = make_unary(&m, make_bn(&m, make_conv(&m, x, 8, 3, 2, 1, 0)), "relu", NULL);
    x = make_unary(&m, make_unary(&m, make_unary(&m, x, "adaptive_avg_pool", &pool), "dropout", NULL), "flatten", NULL);
    graph = maker_finish(&m, make_linear(&m, x, classes));
    assert_ok(lg_graph_initialize(graph, 5));
    assert_ok(lg_model_from_graph(&model, graph));
    return model;
}

static lego_train_options options(void **state)
{
    lego_train_options o = LEGO_TRAIN_OPTIONS_INIT;

    o.epochs = EPOCHS;
    o.batch = 32;
    o.lr = 0.05;
    o.label_smoothing = 0.05;
    o.warmup_epochs = 0.5;
    o.precision = LEGO_TRAIN_F32;
    o.checkpoint = in_folder(state, "model.checkpoint");
    return o;
}

static void assert_same_weights(const lego_model *a, const lego_model *b)
{
    assert_int_equal(a->graph->n_weights, b->graph->n_weights);
    for (int32_t w = 0; w < a->graph->n_weights; w++)
        assert_memory_equal(lg_tensor_data(&a->graph->weights[w].tensor), lg_tensor_data(&b->graph->weights[w].tensor),
                            lg_tensor_bytes(&a->graph->weights[w].tensor));
}

static void count_epoch(const lego_train_epoch *epoch, void *payload)
{
    *(int *)payload += 1;
    assert_int_equal(epoch->n_epochs, EPOCHS);
}

static void test_torch_train__a_small_network_learns(void **state)
{
    lego_dataset *train = open_tiny_data(state, context, LEGO_SPLIT_TRAIN);
    lego_dataset *val = open_tiny_data(state, context, LEGO_SPLIT_VAL);
    lego_model *model = small_model(10, TINY_SIDE);
    lego_train_options o = options(state);
    lego_train_epoch last;
    int n_epochs = 0;

    o.on_epoch = count_epoch;
    o.payload = &n_epochs;
    assert_ok(lego_train(&last, context, model, train, val, &o));
    assert_int_equal(n_epochs, EPOCHS);
    assert_int_equal(last.epoch, EPOCHS);
    assert_true(last.val_accuracy > 0.9);
    assert_true(last.lr < 0.01); /* the cosine ends near zero */
    lego_model_free(model);
    lego_dataset_free(train);
    lego_dataset_free(val);
}

/* A progress callback that stops after some batches. */
static int stop_after(const char *stage, size_t done, size_t total, void *payload)
{
    return done >= *(const size_t *)payload;
}

static void test_torch_train__interrupted_and_resumed_equals_uninterrupted(void **state)
{
    lego_dataset *train = open_tiny_data(state, context, LEGO_SPLIT_TRAIN);
    lego_dataset *val = open_tiny_data(state, context, LEGO_SPLIT_VAL);
    lego_model *whole = small_model(10, TINY_SIDE), *parts = small_model(10, TINY_SIDE),
               *fresh = small_model(10, TINY_SIDE);
    lego_train_options o = options(state);
    lego_train_epoch last_whole, last_parts;
    size_t stop = 0;

    o.checkpoint = NULL;
    assert_ok(lego_train(&last_whole, context, whole, train, val, &o));
    o.checkpoint = in_folder(state, "parts.checkpoint");
    assert_ok(lego_context_set_progress(context, stop_after, &stop));
    for (stop = 5; stop < 36; stop += 9) /* 12 batches an epoch, three epochs */
        assert_fails(LEGO_ECANCELED, lego_train(NULL, context, parts, train, val, &o));
    assert_same_weights(parts, fresh); /* untouched so far */
    assert_ok(lego_context_set_progress(context, NULL, NULL));
    assert_ok(lego_train(&last_parts, context, parts, train, val, &o));
    assert_same_weights(parts, whole);
    assert_true(last_parts.val_loss == last_whole.val_loss && last_parts.train_loss == last_whole.train_loss);
    assert_ok(lego_train(&last_parts, context, fresh, train, val, &o)); /* nothing left to do */
    assert_same_weights(fresh, whole);
    lego_model_free(whole);
    lego_model_free(parts);
    lego_model_free(fresh);
    lego_dataset_free(train);
    lego_dataset_free(val);
}

static void test_torch_train__a_checkpoint_of_something_else_is_refused(void **state)
{
    lego_dataset *train = open_tiny_data(state, context, LEGO_SPLIT_TRAIN);
    lego_model *model = small_model(10, TINY_SIDE);
    lego_train_options o = options(state);
    char *bytes;
    size_t size;

    o.epochs = 1;
    assert_ok(lego_train(NULL, context, model, train, NULL, &o));
    o.lr = 0.01;
    assert_fails(LEGO_EINVAL, lego_train(NULL, context, model, train, NULL, &o));
    assert_says("another training");
    o.restart = 1;
    assert_ok(lego_train(NULL, context, model, train, NULL, &o));
    o.restart = 0;
    assert_ok(lg_file_read(&bytes, &size, o.checkpoint, SIZE_MAX / 2));
    assert_ok(lg_file_write(o.checkpoint, bytes, size / 2));
    assert_fails(LEGO_EFORMAT, lego_train(NULL, context, model, train, NULL, &o));
    assert_says("model.checkpoint");
    lg_free(bytes);
    lego_model_free(model);
    lego_dataset_free(train);
}

static void test_torch_train__a_loss_that_overflows_is_an_error_and_changes_nothing(void **state)
{
    lego_dataset *train = open_tiny_data(state, context, LEGO_SPLIT_TRAIN);
    lego_model *model = small_model(10, TINY_SIDE), *fresh = small_model(10, TINY_SIDE);
    lego_train_options o = options(state);

    o.lr = 1e30;
    o.warmup_epochs = 0.0;
    assert_fails(LEGO_EBACKEND, lego_train(NULL, context, model, train, NULL, &o));
    assert_says("the loss is");
    assert_same_weights(model, fresh);
    lego_model_free(model);
    lego_model_free(fresh);
    lego_dataset_free(train);
}

static void test_torch_train__bad_arguments_are_named(void **state)
{
    lego_dataset *train = open_tiny_data(state, context, LEGO_SPLIT_TRAIN);
    lego_model *model = small_model(10, TINY_SIDE), *narrow = small_model(3, TINY_SIDE), *large = small_model(10, 16);
    lego_train_options o = options(state);

    assert_fails(LEGO_EINVAL, lego_train(NULL, context, NULL, train, NULL, &o));
    assert_fails(LEGO_EINVAL, lego_train(NULL, context, narrow, train, NULL, &o));
    assert_says("classes");
    assert_fails(LEGO_EINVAL, lego_train(NULL, context, large, train, NULL, &o));
    assert_says("1x12x12");
    o.lr = NAN;
    assert_fails(LEGO_EINVAL, lego_train(NULL, context, model, train, NULL, &o));
    assert_says("lr=");
    o = options(state);
    o.device = "gpu";
    assert_fails(LEGO_EINVAL, lego_train(NULL, context, model, train, NULL, &o));
    assert_says("'gpu'");
    lego_model_free(model);
    lego_model_free(narrow);
    lego_model_free(large);
    lego_dataset_free(train);
}

static void test_torch_train__running_out_of_memory_is_an_error_and_changes_nothing(void **state)
{
    lego_dataset *train = open_tiny_data(state, context, LEGO_SPLIT_TRAIN);
    lego_model *model = small_model(10, TINY_SIDE), *fresh = small_model(10, TINY_SIDE);
    lego_train_options o = options(state);
    long n;

    o.epochs = 1;
    o.warmup_epochs = 0.0;
    o.batch = 200;
    o.restart = 1;
    for (n = 0;; n += 1 + n / 8) {
        lego_status status;

        lg_alloc_fail_after(n);
        status = lego_train(NULL, context, model, train, NULL, &o);
        if (!lg_alloc_fail_after(-1)) {
            assert_int_equal(status, LEGO_OK);
            break;
        }
        assert_int_equal(status, LEGO_ENOMEM);
        assert_same_weights(model, fresh);
    }
    assert_true(n > 50);
    lego_model_free(model);
    lego_model_free(fresh);
    lego_dataset_free(train);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        train_test(test_torch_train__a_small_network_learns),
        train_test(test_torch_train__interrupted_and_resumed_equals_uninterrupted),
        train_test(test_torch_train__a_checkpoint_of_something_else_is_refused),
        train_test(test_torch_train__a_loss_that_overflows_is_an_error_and_changes_nothing),
        train_test(test_torch_train__bad_arguments_are_named),
        train_test(test_torch_train__running_out_of_memory_is_an_error_and_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
