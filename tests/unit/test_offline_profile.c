/* The server profile: shared prefixes against running every composition from the input; predictors on made-up numbers
 * whose answers are known; the document. */
#include <math.h>

#include "support/support.h"

#include "base/rng.h"
#include "data/dataset.h"
#include "engine/engine.h"
#include "graph/ops.h"
#include "legodnn/profile.h"
#include "profile/design.h"
#include "profile/predictors.h"
#include "profile/profile.h"
#include "profile/tree.h"
#include "store/store.h"
#include "task/task.h"

#define CHANNELS 3
#define SIDE 6
#define CLASSES 4

/* ---------------------------------------------------------------- a small store */

static int32_t add_conv(lg_graph *graph, const char *name, int32_t x, int64_t out, int64_t in, uint64_t seed)
{
    const int64_t dims[4] = { out, in, 3, 3 };
    lg_attrs attrs = lg_op_find("conv2d")->defaults;
    lego_tensor tensor;
    lg_shape shape = lg_shape_make(4, dims);
    int32_t weights[2] = { LG_NONE, LG_NONE }, y;
    char weight_name[80];
    lg_rng rng;

    lg_rng_init(&rng, seed, 0);
    assert_ok(lg_tensor_init(&tensor, LEGO_DTYPE_F32, &shape));
    for (int64_t i = 0; i < out * in * 9; i++)
        ((float *)lg_tensor_data(&tensor))[i] = (float)(lg_rng_normal(&rng) / sqrt((double)in * 9.0));
    (void)snprintf(weight_name, sizeof(weight_name), "%s.weight", name);
    assert_ok(lg_graph_add_weight(&weights[0], graph, weight_name, &tensor));
    lg_tensor_dispose(&tensor);
    for (int i = 0; i < 4; i++)
        attrs.conv.pads[i] = 1;
    assert_ok(lg_graph_add_node(&y, graph, "conv2d", name, &attrs, 1, &x, 2, weights));
    return y;
}

/* conv - relu - conv with `width` channels inside; the same seed gives weights that differ in the width only. */
static lg_graph *make_variant(const char *input, const char *prefix, int64_t width, uint64_t seed)
{
    const int64_t dims[3] = { CHANNELS, SIDE, SIDE };
    lg_shape shape = lg_shape_make(3, dims);
    lg_graph *graph = NULL;
    char name[64];
    int32_t x, y;

    assert_ok(lg_graph_create(&graph, prefix));
    assert_ok(lg_graph_add_input(&x, graph, input, LEGO_DTYPE_F32, &shape));
    (void)snprintf(name, sizeof(name), "%s.conv1", prefix);
    y = add_conv(graph, name, x, width, CHANNELS, seed);
    (void)snprintf(name, sizeof(name), "%s.relu", prefix);
    assert_ok(lg_graph_add_node(&x, graph, "relu", name, NULL, 1, &y, 0, NULL));
    (void)snprintf(name, sizeof(name), "%s", prefix);
    y = add_conv(graph, name, x, CHANNELS, width, seed + 1);
    assert_ok(lg_graph_add_output(graph, y));
    assert_ok(lg_graph_validate(graph));
    return graph;
}

static int32_t add_block(lg_graph *frame, int32_t index, int32_t x)
{
    const int64_t dims[4] = { LG_BATCH, CHANNELS, SIDE, SIDE };
    char name[16], output[16];
    lg_value value = { output, LEGO_DTYPE_F32, lg_shape_make(4, dims), LG_NONE };
    int32_t y;

    (void)snprintf(name, sizeof(name), "b%d", index);
    (void)snprintf(output, sizeof(output), "block%d", index);
    assert_ok(lg_graph_add_block(&y, frame, name, index, 1, &x, 1, &value));
    return y;
}

/* stem - b0 - b1 - (+ shortcut from behind the stem, around b0 and b1) - relu - b2 - pool - classifier. */
static lego_store *make_store(const char *path, int n_variants)
{
    const int64_t dims[3] = { CHANNELS, SIDE, SIDE };
    lg_shape shape = lg_shape_make(3, dims);
    lg_graph *frame = NULL;
    lego_store *store = NULL;
    int32_t x, y, stem, pair[2];

    assert_ok(lg_graph_create(&frame, "small"));
    assert_ok(lg_graph_add_input(&x, frame, "x", LEGO_DTYPE_F32, &shape));
    stem = add_conv(frame, "stem", x, CHANNELS, CHANNELS, 1);
    x = add_block(frame, 0, stem);
    x = add_block(frame, 1, x);
    pair[0] = x;
    pair[1] = stem;
    assert_ok(lg_graph_add_node(&x, frame, "add", "sum", NULL, 2, pair, 0, NULL));
    assert_ok(lg_graph_add_node(&y, frame, "relu", "act", NULL, 1, &x, 0, NULL));
    x = add_block(frame, 2, y);
    x = add_conv(frame, "head", x, CLASSES, CHANNELS, 2);
    assert_ok(lg_graph_add_node(&y, frame, "adaptive_avg_pool", "pool", NULL, 1, &x, 0, NULL));
    assert_ok(lg_graph_add_node(&x, frame, "flatten", "flatten", NULL, 1, &y, 0, NULL));
    assert_ok(lg_graph_add_output(frame, x));
    assert_ok(lg_graph_validate(frame));
    assert_ok(lg_store_create(&store, frame));
    for (int32_t b = 0; b < 3; b++)
        for (int v = 0; v < n_variants; v++) {
            char name[16];

            (void)snprintf(name, sizeof(name), v ? "s0.%d" : "s0", v);
            assert_ok(lg_store_add_variant(store, b, name, 0.1 * v, "f32", v ? "l1" : "original",
                                           make_variant(store->blocks[b].inputs[0], store->blocks[b].outputs[0],
                                                        6 - v, (uint64_t)(10 * b + 3))));
        }
    assert_ok(lg_store_write(store, path));
    lego_store_free(store);
    assert_ok(lego_store_open(&store, NULL, path));
    return store;
}

/* ---------------------------------------------------------------- images, and a task of the test's own */

static lego_status read_sample(int64_t index, float *image, int64_t *label, void *payload)
{
    lg_rng rng;

    (void)payload;
    lg_rng_init(&rng, 99, (uint64_t)index);
    for (int i = 0; i < CHANNELS * SIDE * SIDE; i++)
        image[i] = (float)lg_rng_normal(&rng);
    *label = index % CLASSES;
    return LEGO_OK;
}

static lego_dataset *make_data(int64_t n, lego_split split)
{
    lego_dataset_reader reader = LEGO_DATASET_READER_INIT;
    lego_dataset *dataset = NULL;

    reader.name = "noise";
    reader.n_samples = n;
    reader.n_classes = CLASSES;
    reader.shape[0] = CHANNELS;
    reader.shape[1] = reader.shape[2] = SIDE;
    reader.split = split;
    reader.read = read_sample;
    assert_ok(lego_dataset_create(&dataset, NULL, &reader));
    return dataset;
}

/* The softmax probability of the label: continuous, so that it shows any difference in the outputs. */
static lego_status sample_probability(double *out, const lego_task *task, const lego_task_batch *batch)
{
    (void)task;
    for (int64_t i = 0; i < batch->n; i++) {
        const float *logits = batch->outputs[0] + i * batch->elements[0];
        double sum = 0.0;

        for (int64_t k = 0; k < batch->elements[0]; k++)
            sum += exp(logits[k]);
        out[i] = exp(logits[batch->labels[i]]) / sum;
    }
    return LEGO_OK;
}

static lego_status sum_create(void **score, const lego_task *task)
{
    (void)task;
    return lg_calloc_into(score, 2, sizeof(double));
}

static lego_status sum_add(void *score, const lego_task *task, const lego_task_batch *batch)
{
    double *sum = score, each[64];

    assert_true(batch->n <= 64);
    assert_ok(sample_probability(each, task, batch));
    for (int64_t i = 0; i < batch->n; i++)
        sum[0] += each[i];
    sum[1] += (double)batch->n;
    return LEGO_OK;
}

static lego_status sum_result(double *metrics, const void *score, const lego_task *task)
{
    const double *sum = score;

    (void)task;
    metrics[0] = sum[0] / sum[1];
    return LEGO_OK;
}

static lego_task probability_task(void)
{
    lego_task task = LEGO_TASK_INIT;

    task.name = "probability";
    task.n_metrics = 1;
    task.metrics[0] = "probability";
    task.score_create = sum_create;
    task.score_add = sum_add;
    task.score_result = sum_result;
    task.score_free = lg_free;
    task.sample_accuracy = sample_probability;
    task.divergence = lego_task_classification()->divergence;
    return task;
}

/* ---------------------------------------------------------------- the tree */

/* Outputs of a block's graph, or of a whole composition, for all samples. */
static float *run_graph(const lg_graph *graph, const float *input, int64_t n)
{
    lg_plan_options options = LG_PLAN_OPTIONS_INIT;
    lg_plan *plan = NULL;
    float *output = lg_calloc((size_t)(n * lg_value_elements(&graph->values[graph->outputs[0]])), sizeof(*output));
    float *outputs[1] = { output };

    options.engine = LEGO_ENGINE_REF;
    options.batch = (int)n;
    assert_ok(lg_plan_create(&plan, NULL, graph, &options));
    assert_ok(lg_plan_run(plan, &input, outputs));
    lg_plan_free(plan);
    return output;
}

static void check_tree(lego_store *store, lego_dataset *dataset, int32_t batch, int64_t memory_bytes)
{
    const int64_t n = lego_dataset_n_samples(dataset), elements[1] = { CLASSES };
    lego_task task = probability_task();
    lg_tree_options options = { LEGO_ENGINE_REF, batch, memory_bytes };
    lg_design design;
    lg_tree tree;
    float *images = lg_calloc((size_t)n * CHANNELS * SIDE * SIDE, sizeof(*images)), *original = NULL;
    int64_t *labels = lg_calloc((size_t)n, sizeof(*labels)), *all = lg_calloc((size_t)n, sizeof(*all));
    double *each = lg_calloc((size_t)n, sizeof(*each));

    for (int64_t i = 0; i < n; i++)
        all[i] = i;
    assert_ok(lego_dataset_read(dataset, all, n, images, labels));
    assert_ok(lg_design_create(&design, store, 3, 8, 5));
    assert_ok(lg_tree_evaluate(&tree, NULL, store, dataset, &task, design.n, design.selections, &options));
    assert_true(tree.flops_share > 0.2 && tree.flops_share < 0.9);
    for (int32_t i = 0; i < design.n; i++) {
        lg_graph *graph = NULL;
        float *output;
        const float *outputs[1], *before[1];
        lego_task_batch whole = { sizeof(whole), n, 1, CLASSES, outputs, elements, labels };
        double mean = 0.0, divergence = 0.0;

        assert_ok(lg_store_compose(&graph, store, lg_design_selection(&design, i)));
        output = run_graph(graph, images, n);
        outputs[0] = output;
        assert_ok(sample_probability(each, &task, &whole));
        for (int64_t k = 0; k < n; k++) {
            assert_near(tree.samples[i * n + k], each[k], 0.0, 1e-6);
            mean += each[k] / (double)n;
        }
        assert_near(tree.metrics[i], mean, 0.0, 1e-6);
        if (i == 0) {
            original = output;
            output = NULL;
        }
        before[0] = original;
        outputs[0] = i == 0 ? original : outputs[0];
        assert_ok(task.divergence(each, &task, &whole, before));
        for (int64_t k = 0; k < n; k++)
            divergence += each[k] / (double)n;
        assert_near(tree.divergence[i], divergence, 1e-9, 1e-4);
        lg_free(output);
        lg_graph_free(graph);
    }
    lg_tree_dispose(&tree);
    lg_design_dispose(&design);
    lg_free(original);
    lg_free(images);
    lg_free(labels);
    lg_free(all);
    lg_free(each);
}

static void test_profile__shared_prefixes_equal_running_from_the_input(void **state)
{
    lego_store *store = make_store(in_folder(state, "store"), 4);
    lego_dataset *dataset = make_data(37, LEGO_SPLIT_VAL);

    check_tree(store, dataset, 16, (int64_t)1 << 30); /* with a last, smaller chunk */
    check_tree(store, dataset, 64, (int64_t)1 << 30);
    check_tree(store, dataset, 64, 1); /* memory for next to nothing: small chunks */
    lego_dataset_free(dataset);
    lego_store_free(store);
}

static void test_profile__threads_change_nothing(void **state)
{
    lego_store *store = make_store(in_folder(state, "store"), 3);
    lego_dataset *dataset = make_data(90, LEGO_SPLIT_VAL);
    lego_task task = probability_task();
    lg_tree_options options = { LEGO_ENGINE_REF, 16, (int64_t)1 << 30 };
    lego_context *context = NULL;
    lg_design design;
    lg_tree trees[2];

    assert_ok(lego_context_create(&context));
    assert_ok(lg_design_create(&design, store, 3, 8, 5));
    for (int i = 0; i < 2; i++) {
        assert_ok(lego_context_set_threads(context, i ? 3 : 1));
        assert_ok(lg_tree_evaluate(&trees[i], context, store, dataset, &task, design.n, design.selections, &options));
    }
    assert_memory_equal(trees[0].samples, trees[1].samples, (size_t)design.n * 90 * sizeof(float));
    assert_memory_equal(trees[0].metrics, trees[1].metrics, (size_t)design.n * sizeof(double));
    assert_memory_equal(trees[0].divergence, trees[1].divergence, (size_t)design.n * sizeof(double));
    for (int32_t i = 0; i < design.n; i++)
        assert_true(trees[0].block_error[i] == trees[1].block_error[i] || isnan(trees[0].block_error[i]));
    assert_near(trees[0].flops_share, trees[1].flops_share, 1e-12, 0);
    lg_tree_dispose(&trees[0]);
    lg_tree_dispose(&trees[1]);
    lg_design_dispose(&design);
    lego_context_free(context);
    lego_dataset_free(dataset);
    lego_store_free(store);
}

static lego_status fail_late(int64_t index, float *image, int64_t *label, void *payload)
{
    return index == 77 ? LEGO_EIO : read_sample(index, image, label, payload);
}

static void test_profile__a_failure_in_any_thread_is_reported(void **state)
{
    lego_store *store = make_store(in_folder(state, "store"), 2);
    lego_dataset *dataset = make_data(90, LEGO_SPLIT_VAL);
    lego_accuracy_options options = LEGO_ACCURACY_OPTIONS_INIT;
    lego_context *context = NULL;
    lego_profile *profile = NULL;

    dataset->reader.read = fail_late;
    options.engine = LEGO_ENGINE_REF;
    options.batch = 8;
    assert_ok(lego_context_create(&context));
    for (int threads = 1; threads < 4; threads++) {
        assert_ok(lego_context_set_threads(context, threads));
        assert_fails(LEGO_EIO, lego_profile_measure_accuracy(&profile, context, store, dataset, &options));
        assert_says("sample 77");
    }
    lego_context_free(context);
    lego_dataset_free(dataset);
    lego_store_free(store);
}

static void test_profile__block_error_is_that_of_the_block_on_the_originals_inputs(void **state)
{
    lego_store *store = make_store(in_folder(state, "store"), 3);
    lego_dataset *dataset = make_data(20, LEGO_SPLIT_VAL);
    const int32_t selections[3][3] = { { 0, 0, 0 }, { 2, 0, 0 }, { 1, 1, 0 } };
    const int64_t n = 20;
    lg_tree_options options = { LEGO_ENGINE_REF, 7, (int64_t)1 << 30 };
    const lg_graph *variants[2];
    float *images = lg_calloc((size_t)n * CHANNELS * SIDE * SIDE, sizeof(*images)), *stem, *a, *b;
    double error = 0.0, norm = 0.0;
    lg_tree tree;

    assert_ok(lg_tree_evaluate(&tree, NULL, store, dataset, lego_task_classification(), 3, selections[0], &options));
    for (int64_t i = 0; i < n; i++)
        assert_ok(lego_dataset_read(dataset, &i, 1, images + i * CHANNELS * SIDE * SIDE, NULL));
    assert_int_equal(store->segments.segments[0].block, LG_NONE); /* the stem */
    stem = run_graph(store->segments.segments[0].graph, images, n);
    assert_ok(lg_store_variant_graph(&variants[0], store, 0, 0));
    assert_ok(lg_store_variant_graph(&variants[1], store, 0, 2));
    a = run_graph(variants[0], stem, n);
    b = run_graph(variants[1], stem, n);
    for (int64_t i = 0; i < n * CHANNELS * SIDE * SIDE; i++) {
        error += ((double)b[i] - a[i]) * ((double)b[i] - a[i]);
        norm += (double)a[i] * a[i];
    }
    assert_near(tree.block_error[1], error / norm, 0.0, 1e-5);
    assert_true(isnan(tree.block_error[0]) && isnan(tree.block_error[2])); /* not one block alone */
    assert_near(tree.divergence[0], 0.0, 0.0, 0.0);
    lg_free(a);
    lg_free(b);
    lg_free(stem);
    lg_free(images);
    lg_tree_dispose(&tree);
    lego_dataset_free(dataset);
    lego_store_free(store);
}

/* ---------------------------------------------------------------- the design */

static void test_profile__design_measures_everything_once(void **state)
{
    lego_store *store = make_store(in_folder(state, "store"), 4);
    lg_design design, again;

    assert_ok(lg_design_create(&design, store, 3, 12, 7));
    assert_int_equal(design.n_random, 12);
    assert_int_equal(design.first_cell[3], 12);
    for (int32_t b = 0; b < 3; b++) {
        assert_int_equal(lg_design_selection(&design, 0)[b], 0);
        assert_int_equal(lg_design_selection(&design, design.environments[1])[b], 2);
        assert_int_equal(lg_design_selection(&design, design.environments[2])[b], 3);
        for (int32_t v = 0; v < 4; v++)
            for (int32_t e = 0; e < 3; e++) {
                const int32_t *measured = lg_design_selection(&design, design.measured[e * 12 + 4 * b + v]);

                for (int32_t k = 0; k < 3; k++)
                    assert_int_equal(measured[k],
                                     k == b ? v : lg_design_selection(&design, design.environments[e])[k]);
            }
    }
    for (int32_t i = 0; i < design.n; i++)
        for (int32_t k = 0; k < i; k++)
            assert_memory_not_equal(lg_design_selection(&design, i), lg_design_selection(&design, k),
                                    3 * sizeof(int32_t));
    for (int32_t i = 0; i < design.n_random; i++) /* nothing else uses them */
        for (int32_t k = 0; k < 36; k++)
            assert_int_not_equal(design.random[i], design.measured[k]);
    assert_ok(lg_design_create(&again, store, 3, 12, 7));
    assert_int_equal(again.n, design.n);
    assert_memory_equal(again.selections, design.selections, (size_t)design.n * 3 * sizeof(int32_t));
    lg_design_dispose(&again);
    lg_design_dispose(&design);

    assert_ok(lg_design_create(&design, store, 1, 1000, 7)); /* more than there are: 64 - 10 */
    assert_in_range(design.n_random, 45, 54);
    lg_design_dispose(&design);
    assert_survives_oom(lg_design_create(&design, store, 2, 3, 7), lg_design_dispose(&design));
    lego_store_free(store);
}

/* ---------------------------------------------------------------- predictors */

#define N_RANDOM 30
#define CELLS 16 /* four blocks of four variants */

typedef struct fake {
    double drop[CELLS], log_odds[CELLS], divergence[CELLS], block_error[CELLS], measured[N_RANDOM];
    int32_t selections[N_RANDOM * 4], first_cell[5];
    lg_predictor_data data;
} fake;

/* Unrelated values everywhere; the tests overwrite what they are about. */
static void fake_init(fake *f)
{
    lg_rng rng;

    memset(f, 0, sizeof(*f));
    lg_rng_init(&rng, 3, 0);
    for (int b = 0; b < 4; b++) {
        f->first_cell[b] = 4 * b;
        for (int v = 1; v < 4; v++) {
            f->drop[4 * b + v] = 0.05 * lg_rng_uniform(&rng);
            f->log_odds[4 * b + v] = 0.5 * lg_rng_uniform(&rng);
            f->divergence[4 * b + v] = 0.1 * lg_rng_uniform(&rng);
            f->block_error[4 * b + v] = lg_rng_uniform(&rng);
        }
    }
    f->first_cell[4] = CELLS;
    for (int i = 0; i < N_RANDOM * 4; i++)
        f->selections[i] = (int32_t)lg_rng_below(&rng, 4);
    f->data = (lg_predictor_data){ 4,          f->first_cell, 0.9,      f->drop,       f->log_odds, f->divergence,
                                   f->block_error, N_RANDOM,  f->selections, f->measured };
}

static double sum_cells(const fake *f, const double *values, int i)
{
    double sum = 0.0;

    for (int b = 0; b < 4; b++)
        sum += values[4 * b + f->selections[4 * i + b]];
    return sum;
}

static void free_predictors(lg_predictor *predictors, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        lg_predictor_dispose(&predictors[i]);
}

static const lg_predictor *find_predictor(const lg_predictor *predictors, int32_t n, const char *name)
{
    for (int32_t i = 0; i < n; i++)
        if (strcmp(predictors[i].name, name) == 0)
            return &predictors[i];
    return NULL;
}

static void test_profile__divergences_are_scaled_to_drops(void **state)
{
    lg_predictor predictors[LG_MAX_PREDICTORS];
    int32_t n = 0;
    fake f;

    (void)state;
    fake_init(&f);
    for (int i = 0; i < N_RANDOM; i++)
        f.measured[i] = 0.9 - 0.7 * sum_cells(&f, f.divergence, i);
    assert_ok(lg_predictors_fit(predictors, &n, &f.data));
    assert_int_equal(n, 5);
    assert_string_equal(predictors[0].name, "kl");
    assert_near(predictors[0].scale, 0.7, 1e-9, 0);
    assert_near(predictors[0].mae, 0.0, 1e-9, 0);
    assert_near(predictors[0].kendall_tau, 1.0, 1e-9, 0);
    for (int c = 0; c < CELLS; c++)
        assert_near(predictors[0].cost[c], 0.7 * f.divergence[c], 1e-9, 0);
    for (int k = 1; k < n; k++)
        assert_true(predictors[k].mae >= predictors[k - 1].mae - 1e-9);
    assert_true(find_predictor(predictors, n, "additive")->mae > 1e-3);
    free_predictors(predictors, n);
}

/* Costs that no divergence knows of are learned from compositions; the ridge is what one composition more is worth. */
static void test_profile__refining_learns_what_the_divergences_miss(void **state)
{
    lg_predictor predictors[LG_MAX_PREDICTORS];
    double want[CELLS];
    const lg_predictor *kl, *refined;
    int32_t n = 0;
    fake f;

    (void)state;
    fake_init(&f);
    for (int c = 0; c < CELLS; c++)
        want[c] = 0.7 * f.divergence[c] + (c % 4 == 2 ? 0.02 : 0.0);
    for (int i = 0; i < N_RANDOM; i++)
        f.measured[i] = 0.9 - sum_cells(&f, want, i);
    assert_ok(lg_predictors_fit(predictors, &n, &f.data));
    kl = find_predictor(predictors, n, "kl");
    refined = find_predictor(predictors, n, "kl-refined");
    assert_true(refined->mae < 0.8 * kl->mae);
    for (int c = 0; c < CELLS; c++)
        if (c % 4 == 2)
            assert_true(fabs(refined->cost[c] - want[c]) < fabs(kl->cost[c] - want[c]));
    free_predictors(predictors, n);

    /* by hand: one block, one variant in every composition, drop d: cost = s x + n (d - s x) / (n + ridge) */
    f.data.n_blocks = 1;
    f.first_cell[1] = 4;
    for (int i = 0; i < N_RANDOM; i++) {
        f.selections[i] = i == 0 ? 2 : 1; /* one that differs, so that the scale leaves something */
        f.measured[i] = i == 0 ? 0.9 : 0.8;
    }
    assert_ok(lg_predictors_fit(predictors, &n, &f.data));
    refined = find_predictor(predictors, n, "kl-refined");
    assert_near(refined->cost[1],
                refined->scale * f.divergence[1] + 29 * (0.1 - refined->scale * f.divergence[1]) / (29 + 10.0), 1e-9, 0);
    free_predictors(predictors, n);
}

static void test_profile__log_odds_add_up(void **state)
{
    lg_predictor predictors[LG_MAX_PREDICTORS];
    int32_t n = 0;
    fake f;

    (void)state;
    fake_init(&f);
    for (int i = 0; i < N_RANDOM; i++)
        f.measured[i] = 1.0 / (1.0 + exp(sum_cells(&f, f.log_odds, i) - log(0.9 / 0.1)));
    assert_ok(lg_predictors_fit(predictors, &n, &f.data));
    assert_string_equal(predictors[0].name, "log-odds");
    assert_int_equal(predictors[0].link, LG_LINK_LOGIT);
    assert_near(predictors[0].mae, 0.0, 1e-9, 0);
    free_predictors(predictors, n);
}

static void test_profile__errors_are_stated_right(void **state)
{
    lg_predictor predictors[LG_MAX_PREDICTORS];
    const lg_predictor *additive;
    int32_t n = 0;
    fake f;

    (void)state;
    fake_init(&f);
    f.drop[5] = -0.02; /* noise that an optimiser would pick: costs nothing instead */
    for (int i = 0; i < N_RANDOM; i++)
        f.measured[i] = 0.9 - (sum_cells(&f, f.drop, i) + (f.selections[4 * i + 1] == 1 ? 0.02 : 0.0)) +
                        (i % 3 ? 0.01 : -0.02); /* known errors: -0.01 twice, +0.02 once */
    assert_ok(lg_predictors_fit(predictors, &n, &f.data));
    additive = find_predictor(predictors, n, "additive");
    assert_non_null(additive);
    assert_near(additive->cost[5], 0.0, 0, 0);
    assert_near(additive->mae, (20 * 0.01 + 10 * 0.02) / 30, 1e-9, 0);
    assert_near(additive->bias, 0.0, 1e-9, 0);
    assert_near(additive->max_error, 0.02, 1e-9, 0);
    assert_near(additive->scale, 1.0, 0, 0);
    free_predictors(predictors, n);
}

static void test_profile__nothing_is_judged_on_what_it_was_fitted_to(void **state)
{
    lg_predictor before[LG_MAX_PREDICTORS], after[LG_MAX_PREDICTORS];
    int32_t n = 0, n_after = 0;
    fake f;

    (void)state;
    fake_init(&f);
    for (int i = 0; i < N_RANDOM; i++)
        f.measured[i] = 0.9 - 0.7 * sum_cells(&f, f.divergence, i) - 0.3 * sum_cells(&f, f.drop, i);
    assert_ok(lg_predictors_fit(before, &n, &f.data));
    f.measured[4] -= 0.3;
    assert_ok(lg_predictors_fit(after, &n_after, &f.data));
    for (int32_t i = 0; i < n; i++) {
        const lg_predictor *same = find_predictor(after, n_after, before[i].name);

        assert_near(same->predicted[4], before[i].predicted[4], 1e-12, 0);
    }
    assert_true(find_predictor(after, n, "kl")->scale > find_predictor(before, n, "kl")->scale);
    free_predictors(before, n);
    free_predictors(after, n_after);
}

static lego_status fit_and_free(const lg_predictor_data *data)
{
    lg_predictor predictors[LG_MAX_PREDICTORS];
    int32_t n = 0;
    lego_status status = lg_predictors_fit(predictors, &n, data);

    free_predictors(predictors, n);
    return status;
}

static void test_profile__predictors_stand_odd_measurements(void **state)
{
    lg_predictor predictors[LG_MAX_PREDICTORS];
    int32_t n = 0;
    fake f;

    (void)state;
    fake_init(&f);
    f.divergence[3] = INFINITY; /* a variant that gives NaN */
    f.block_error[3] = NAN;
    for (int i = 0; i < N_RANDOM; i++)
        f.measured[i] = 0.9; /* nothing was ever lost */
    assert_ok(lg_predictors_fit(predictors, &n, &f.data));
    for (int32_t i = 0; i < n; i++)
        for (int c = 0; c < CELLS; c++)
            assert_true(isfinite(predictors[i].cost[c]) && predictors[i].cost[c] >= 0.0);
    assert_near(find_predictor(predictors, n, "kl")->cost[3], 1.0, 0, 0);
    assert_true(find_predictor(predictors, n, "kl")->cost[2] > 0.0); /* the order survives */
    free_predictors(predictors, n);

    f.data.n_random = 2; /* too few to fit anything */
    f.data.divergence = NULL;
    assert_ok(lg_predictors_fit(predictors, &n, &f.data));
    assert_int_equal(n, 2);
    free_predictors(predictors, n);
    f.data.n_random = 0;
    assert_ok(lg_predictors_fit(predictors, &n, &f.data));
    assert_string_equal(predictors[0].name, "log-odds");
    assert_true(isnan(predictors[0].mae));
    free_predictors(predictors, n);
    f.data.n_random = N_RANDOM;
    assert_survives_oom(fit_and_free(&f.data), (void)0);
}

static void test_profile__kendall_tau(void **state)
{
    const double a[5] = { 1, 2, 3, 4, 5 }, b[5] = { 5, 4, 3, 2, 1 }, c[5] = { 1, 3, 2, 5, 4 }, d[5] = { 1, 1, 2, 2, 3 };

    (void)state;
    assert_near(lg_kendall_tau(a, a, 5), 1.0, 1e-12, 0);
    assert_near(lg_kendall_tau(a, b, 5), -1.0, 1e-12, 0);
    assert_near(lg_kendall_tau(a, c, 5), 0.6, 1e-12, 0);
    assert_near(lg_kendall_tau(a, d, 5), 8.0 / sqrt(10.0 * 8.0), 1e-12, 0);
}

/* ---------------------------------------------------------------- the document */

static void test_profile__document_says_what_was_measured(void **state)
{
    lego_store *store = make_store(in_folder(state, "store"), 4);
    lego_dataset *dataset = make_data(60, LEGO_SPLIT_VAL), *test = make_data(10, LEGO_SPLIT_TEST);
    lego_accuracy_options options = LEGO_ACCURACY_OPTIONS_INIT;
    lego_task task = probability_task();
    lego_profile *profile = NULL, *loaded = NULL;
    lego_selection *selection = NULL;
    double accuracy = 0.0, cost;
    char *csv = NULL;

    options.engine = LEGO_ENGINE_REF;
    options.task = &task;
    assert_fails(LEGO_EINVAL, lego_profile_measure_accuracy(&profile, NULL, store, test, &options));
    assert_says("test split");
    options.environments = -1;
    assert_fails(LEGO_EINVAL, lego_profile_measure_accuracy(&profile, NULL, store, dataset, &options));
    options.environments = 0;
    assert_ok(lego_profile_measure_accuracy(&profile, NULL, store, dataset, &options));
    assert_int_equal(profile->server.n_blocks, 3);
    for (int32_t b = 0; b < 3; b++) {
        const lg_profile_block *block = lg_profile_find_block(&profile->server, store->blocks[b].name);

        assert_non_null(block);
        assert_int_equal(block->n_variants, 4);
        for (int32_t v = 0; v < 4; v++) {
            assert_true(block->variants[v].cost >= 0.0);
            assert_int_equal(block->variants[v].checksum, store->blocks[b].variants[v].checksum);
            assert_int_equal(block->variants[v].flops, store->blocks[b].variants[v].flops);
            assert_int_equal(block->variants[v].weight_bytes, store->blocks[b].variants[v].weight_bytes);
        }
        assert_near(block->variants[0].cost, 0.0, 0, 0);
    }
    assert_ok(lego_profile_save(profile, in_folder(state, "profile.json")));
    assert_ok(lego_profile_load(&loaded, in_folder(state, "profile.json")));
    assert_ok(lego_selection_parse(&selection, store, ""));
    assert_ok(lego_profile_predict_accuracy(&accuracy, loaded, store, selection));
    assert_near(accuracy, profile->accuracy, 1e-12, 0);
    lego_selection_free(selection);
    assert_ok(lego_selection_parse(&selection, store, "b0=s0.2,b2=s0.3"));
    assert_ok(lego_profile_predict_accuracy(&accuracy, loaded, store, selection));
    cost = profile->server.blocks[0].variants[2].cost + profile->server.blocks[2].variants[3].cost;
    assert_near(accuracy, lg_link_accuracy(profile->link, profile->accuracy, cost), 1e-9, 0);
    assert_ok(lego_profile_to_csv(&csv, loaded));
    assert_non_null(strstr(csv, "server,b2,s0.3,"));
    lego_string_free(csv);
    lego_selection_free(selection);
    lego_profile_free(loaded);
    lego_profile_free(profile);
    lego_dataset_free(dataset);
    lego_dataset_free(test);
    lego_store_free(store);
}

static int cancel(const char *stage, size_t done, size_t total, void *payload)
{
    (void)payload;
    assert_string_equal(stage, "profile");
    assert_true(done < total);
    return done == 11;
}

static void test_profile__can_be_cancelled_and_stands_failed_allocations(void **state)
{
    lego_store *store = make_store(in_folder(state, "store"), 2);
    lego_dataset *dataset = make_data(8, LEGO_SPLIT_VAL);
    lego_accuracy_options options = LEGO_ACCURACY_OPTIONS_INIT;
    lego_profile *profile = NULL;
    lego_context *context = NULL;

    options.engine = LEGO_ENGINE_REF;
    options.batch = 4;
    assert_ok(lego_context_create(&context));
    assert_ok(lego_context_set_threads(context, 1)); /* so that this one counts */
    assert_ok(lego_context_set_progress(context, cancel, NULL));
    assert_fails(LEGO_ECANCELED, lego_profile_measure_accuracy(&profile, context, store, dataset, &options));
    assert_null(profile);
    lego_context_free(context);
    options.environments = 2;
    options.held_out = 3;
    assert_survives_oom(lego_profile_measure_accuracy(&profile, NULL, store, dataset, &options),
                        lego_profile_free(profile));
    lego_dataset_free(dataset);
    lego_store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(test_profile__shared_prefixes_equal_running_from_the_input),
        folder_test(test_profile__threads_change_nothing),
        folder_test(test_profile__a_failure_in_any_thread_is_reported),
        folder_test(test_profile__block_error_is_that_of_the_block_on_the_originals_inputs),
        folder_test(test_profile__design_measures_everything_once),
        cmocka_unit_test(test_profile__divergences_are_scaled_to_drops),
        cmocka_unit_test(test_profile__refining_learns_what_the_divergences_miss),
        cmocka_unit_test(test_profile__log_odds_add_up),
        cmocka_unit_test(test_profile__errors_are_stated_right),
        cmocka_unit_test(test_profile__nothing_is_judged_on_what_it_was_fitted_to),
        cmocka_unit_test(test_profile__predictors_stand_odd_measurements),
        cmocka_unit_test(test_profile__kendall_tau),
        folder_test(test_profile__document_says_what_was_measured),
        folder_test(test_profile__can_be_cancelled_and_stands_failed_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
