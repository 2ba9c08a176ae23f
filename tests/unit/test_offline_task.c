/* Classification's numbers against hand-made ones; evaluation against counting; own data sets and tasks. */
#include <math.h>

#include "support/support.h"

#include "graph/graph.h"
#include "graph/ops.h"
#include "legodnn/task.h"

static lego_task_batch batch_of(int64_t n, const float *const *outputs, const int64_t *elements, const int64_t *labels)
{
    return (lego_task_batch){ sizeof(lego_task_batch), n, 1, 6, outputs, elements, labels };
}

static void score(double metrics[LEGO_TASK_MAX_METRICS], const lego_task_batch *batch)
{
    const lego_task *task = lego_task_classification();
    void *sum = NULL;

    assert_ok(task->score_create(&sum, task));
    assert_ok(task->score_add(sum, task, batch));
    assert_ok(task->score_result(metrics, sum, task));
    task->score_free(sum);
}

static void test_task__classification_counts_top1_and_top5(void **state)
{
    const float logits[5][6] = { { 9, 1, 2, 3, 4, 5 }, { 9, 8, 7, 6, 5, 4 }, { 9, 8, 7, 6, 5, 4 },
                                 { 1, 1, 0, 0, 0, 0 }, { 1, 1, 0, 0, 0, 0 } };
    const int64_t labels[5] = { 0, 4, 5, 0, 1 }, elements[1] = { 6 };
    const float *outputs[1] = { logits[0] };
    lego_task_batch batch = batch_of(5, outputs, elements, labels);
    double metrics[LEGO_TASK_MAX_METRICS], each[5];

    (void)state;
    score(metrics, &batch);
    assert_near(metrics[0], 2.0 / 5.0, 0, 0); /* ties: the lower class wins */
    assert_near(metrics[1], 4.0 / 5.0, 0, 0);
    assert_ok(lego_task_classification()->sample_accuracy(each, lego_task_classification(), &batch));
    assert_true(each[0] == 1 && each[1] == 0 && each[2] == 0 && each[3] == 1 && each[4] == 0);
}

static void test_task__not_a_number_is_wrong(void **state)
{
    const float logits[3][3] = { { NAN, 1, 2 }, { NAN, 1, 2 }, { NAN, NAN, NAN } };
    const int64_t labels[3] = { 0, 2, 0 }, elements[1] = { 3 };
    const float *outputs[1] = { logits[0] };
    lego_task_batch batch = batch_of(3, outputs, elements, labels);
    double metrics[LEGO_TASK_MAX_METRICS], divergence[3];

    (void)state;
    score(metrics, &batch);
    assert_near(metrics[0], 0.0, 0, 0);
    assert_ok(lego_task_classification()->divergence(divergence, lego_task_classification(), &batch, outputs));
    assert_true(isinf(divergence[0]));
}

static void test_task__divergence_is_kullback_leibler(void **state)
{
    const float p[3][2] = { { 0.0f, 0.0f }, { 1000.0f, 998.0f }, { -3.0f, 2.0f } };
    const float q[3][2] = { { 0.0f, 1.0f }, { 0.0f, -2.0f }, { -3.0f, 2.0f } };
    const int64_t elements[1] = { 2 };
    const float *original[1] = { p[0] }, *changed[1] = { q[0] };
    lego_task_batch batch = batch_of(3, changed, elements, NULL);
    double divergence[3], e = exp(1.0);

    (void)state;
    assert_ok(lego_task_classification()->divergence(divergence, lego_task_classification(), &batch, original));
    assert_near(divergence[0], 0.5 * log(0.5 * (1 + e)) + 0.5 * log(0.5 * (1 + e) / e), 1e-12, 0);
    assert_near(divergence[1], 0.0, 1e-9, 0); /* softmax does not see a shift */
    assert_near(divergence[2], 0.0, 0, 0);
}

static void test_task__tasks_are_found_by_name(void **state)
{
    (void)state;
    assert_string_equal(lego_task_name(0), "classification");
    assert_ptr_equal(lego_task_find("classification"), lego_task_classification());
    assert_null(lego_task_find("juggling"));
    assert_null(lego_task_find(NULL));
}

/* ---------------------------------------------------------------- evaluation: logits are the channels' means */

#define CHANNELS 6
#define SIDE 3

/* Sample i: channel i % 6 is the brightest, but for every seventh sample, which is labelled wrongly. */
static lego_status read_sample(int64_t index, float *image, int64_t *label, void *payload)
{
    int64_t fail_at = *(const int64_t *)payload;

    if (index == fail_at)
        return LEGO_EIO;
    for (int c = 0; c < CHANNELS; c++)
        for (int k = 0; k < SIDE * SIDE; k++)
            image[c * SIDE * SIDE + k] = c == index % CHANNELS ? 2.0f : 0.1f * (float)c;
    *label = index % 7 == 0 ? (index + 1) % CHANNELS : index % CHANNELS;
    return LEGO_OK;
}

static lego_dataset *make_data(int64_t n, const int64_t *fail_at)
{
    lego_dataset_reader reader = LEGO_DATASET_READER_INIT;
    lego_dataset *dataset = NULL;

    reader.name = "made-up";
    reader.n_samples = n;
    reader.n_classes = CHANNELS;
    reader.shape[0] = CHANNELS;
    reader.shape[1] = reader.shape[2] = SIDE;
    reader.split = LEGO_SPLIT_VAL;
    reader.read = read_sample;
    reader.payload = (void *)(uintptr_t)fail_at;
    assert_ok(lego_dataset_create(&dataset, NULL, &reader));
    return dataset;
}

static lego_model *make_model(void)
{
    const int64_t dims[3] = { CHANNELS, SIDE, SIDE };
    lg_shape shape = lg_shape_make(3, dims);
    lg_graph *graph = NULL;
    lego_model *model = NULL;
    int32_t x, y;

    assert_ok(lg_graph_create(&graph, "means"));
    assert_ok(lg_graph_add_input(&x, graph, "x", LEGO_DTYPE_F32, &shape));
    assert_ok(lg_graph_add_node(&y, graph, "adaptive_avg_pool", "pool", NULL, 1, &x, 0, NULL));
    assert_ok(lg_graph_add_node(&x, graph, "flatten", "flatten", NULL, 1, &y, 0, NULL));
    assert_ok(lg_graph_add_output(graph, x));
    assert_ok(lg_graph_validate(graph));
    assert_ok(lg_model_from_graph(&model, graph));
    return model;
}

static void test_task__evaluate_counts_every_sample_once(void **state)
{
    const int64_t never = -1;
    lego_model *model = make_model();
    lego_dataset *dataset = make_data(101, &never);
    lego_evaluate_options options = LEGO_EVALUATE_OPTIONS_INIT;
    lego_evaluation result;
    double right = (101 - 15) / 101.0;
    char *json = NULL;

    (void)state;
    options.engine = LEGO_ENGINE_REF;
    for (int batch = 1; batch < 130; batch += 32) { /* also larger than the data set, and with a last batch */
        options.batch = batch;
        assert_ok(lego_evaluate(&result, NULL, model, dataset, &options));
        assert_int_equal(result.n_samples, 101);
        assert_near(result.accuracy, right, 1e-12, 0);
        assert_near(result.metrics[0], right, 1e-12, 0);
        assert_true(result.metrics[1] >= right && result.n_metrics == 2);
        assert_near(result.standard_error, sqrt(right * (1 - right) / 101), 1e-9, 0);
        assert_int_equal(result.split, LEGO_SPLIT_VAL);
    }
    assert_ok(lego_evaluation_to_json(&json, &result));
    assert_non_null(strstr(json, "\"legodnn.eval/1\""));
    assert_non_null(strstr(json, "\"top1\""));
    assert_non_null(strstr(json, "\"val\""));
    lego_string_free(json);
    lego_dataset_free(dataset);
    lego_model_free(model);
}

static lego_status all_zero(const float *const *inputs, float *const *outputs, void *payload)
{
    (void)inputs;
    memset(outputs[0], 0, 16 * CHANNELS * sizeof(float));
    return *(int *)payload ? LEGO_EBACKEND : LEGO_OK;
}

static void test_task__evaluate_with_the_caller_s_forward(void **state)
{
    const int64_t never = -1;
    lego_model *model = make_model();
    lego_dataset *dataset = make_data(30, &never);
    lego_evaluate_options options = LEGO_EVALUATE_OPTIONS_INIT;
    lego_evaluation result;
    int broken = 0, zeros = 0;

    (void)state;
    options.batch = 16;
    options.forward = all_zero;
    options.payload = &broken;
    for (int64_t i = 0; i < 30; i++) /* equal logits: class 0 */
        zeros += (i % 7 == 0 ? (i + 1) % CHANNELS : i % CHANNELS) == 0;
    assert_ok(lego_evaluate(&result, NULL, model, dataset, &options));
    assert_near(result.accuracy, zeros / 30.0, 1e-12, 0);
    broken = 1;
    assert_fails(LEGO_EBACKEND, lego_evaluate(&result, NULL, model, dataset, &options));
    lego_dataset_free(dataset);
    lego_model_free(model);
}

static int cancel(const char *stage, size_t done, size_t total, void *payload)
{
    (void)total;
    (void)payload;
    assert_string_equal(stage, "eval");
    return done >= 20;
}

static void test_task__evaluate_refuses_what_does_not_fit(void **state)
{
    const int64_t never = -1, at_7 = 7;
    lego_model *model = make_model();
    lego_dataset *dataset = make_data(30, &at_7);
    lego_dataset_reader reader = LEGO_DATASET_READER_INIT;
    lego_evaluate_options options = LEGO_EVALUATE_OPTIONS_INIT;
    lego_task task = LEGO_TASK_INIT;
    lego_context *context = NULL;
    lego_evaluation result;

    (void)state;
    options.engine = LEGO_ENGINE_REF;
    options.batch = 4;
    assert_fails(LEGO_EIO, lego_evaluate(&result, NULL, model, dataset, &options));
    assert_says("sample 7");
    lego_dataset_free(dataset);

    dataset = make_data(30, &never);
    assert_ok(lego_context_create(&context));
    assert_ok(lego_context_set_progress(context, cancel, NULL));
    assert_fails(LEGO_ECANCELED, lego_evaluate(&result, context, model, dataset, &options));
    lego_context_free(context);
    options.batch = -1;
    assert_fails(LEGO_EINVAL, lego_evaluate(&result, NULL, model, dataset, &options));
    options.batch = 0;
    options.task = &task;
    assert_fails(LEGO_EINVAL, lego_evaluate(&result, NULL, model, dataset, &options));
    lego_dataset_free(dataset);

    options.task = NULL;
    reader.name = "bigger";
    reader.n_samples = 3;
    reader.n_classes = CHANNELS + 1;
    reader.shape[0] = CHANNELS;
    reader.shape[1] = reader.shape[2] = SIDE;
    reader.read = read_sample;
    reader.payload = (void *)(uintptr_t)&never;
    assert_ok(lego_dataset_create(&dataset, NULL, &reader));
    assert_fails(LEGO_EINVAL, lego_evaluate(&result, NULL, model, dataset, &options));
    assert_says("6 classes");
    lego_dataset_free(dataset);
    reader.shape[2] = SIDE + 1;
    assert_ok(lego_dataset_create(&dataset, NULL, &reader));
    assert_fails(LEGO_EINVAL, lego_evaluate(&result, NULL, model, dataset, &options));
    assert_says("(N,6,3,4)");
    lego_dataset_free(dataset);
    lego_model_free(model);
}

static void test_task__evaluate_survives_failed_allocations(void **state)
{
    const int64_t never = -1;
    lego_model *model = make_model();
    lego_dataset *dataset = make_data(10, &never);
    lego_evaluate_options options = LEGO_EVALUATE_OPTIONS_INIT;
    lego_evaluation result;

    (void)state;
    options.engine = LEGO_ENGINE_REF;
    assert_survives_oom(lego_evaluate(&result, NULL, model, dataset, &options), (void)0);
    lego_dataset_free(dataset);
    lego_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_task__classification_counts_top1_and_top5),
        cmocka_unit_test(test_task__not_a_number_is_wrong),
        cmocka_unit_test(test_task__divergence_is_kullback_leibler),
        cmocka_unit_test(test_task__tasks_are_found_by_name),
        cmocka_unit_test(test_task__evaluate_counts_every_sample_once),
        cmocka_unit_test(test_task__evaluate_with_the_caller_s_forward),
        cmocka_unit_test(test_task__evaluate_refuses_what_does_not_fit),
        cmocka_unit_test(test_task__evaluate_survives_failed_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
