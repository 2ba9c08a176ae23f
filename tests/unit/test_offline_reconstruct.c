/* Reconstruction of a whole model through lego_extract(): the store it makes, the same again, what is refused. */
#include <math.h>

#include "engine/engine.h"
#include "graph/ops.h"
#include "legodnn/block.h"
#include "store/store.h"
#include "support/support.h"

#include "base/rng.h"

enum { SIDE = 12, N_SAMPLES = 80 };

/* One context for all: a single thread, since the layers are small. */
static lego_context *context;
static lego_model *model;

static int make_model(void **state)
{
    lego_zoo_options options = LEGO_ZOO_OPTIONS_INIT;

    (void)state;
    options.width = 4;
    options.classes = 5;
    options.input[0] = 3;
    options.input[1] = options.input[2] = SIDE;
    return lego_context_create(&context) != LEGO_OK || lego_context_set_threads(context, 1) != LEGO_OK ||
           lego_zoo_build(&model, context, "resnet18-cifar", &options) != LEGO_OK;
}

static int free_model(void **state)
{
    (void)state;
    lego_model_free(model);
    lego_context_free(context);
    return 0;
}

/* Smooth random images; sample *payload (if any) holds a NaN. */
static lego_status read_sample(int64_t index, float *image, int64_t *label, void *payload)
{
    lg_rng rng;

    lg_rng_init(&rng, (uint64_t)index, 1);
    for (int c = 0; c < 3; c++) {
        const double a = lg_rng_normal(&rng), b = lg_rng_normal(&rng), shift = lg_rng_normal(&rng);

        for (int p = 0; p < SIDE * SIDE; p++)
            image[c * SIDE * SIDE + p] = (float)sin(a * (p / SIDE) + b * (p % SIDE) + shift);
    }
    if (payload && *(const int64_t *)payload == index)
        image[7] = NAN;
    *label = index % 5;
    return LEGO_OK;
}

static lego_dataset *make_dataset(int64_t n_samples, int32_t channels, int64_t *bad)
{
    lego_dataset_reader reader = LEGO_DATASET_READER_INIT;
    lego_dataset *dataset;

    reader.name = "waves";
    reader.n_samples = n_samples;
    reader.n_classes = 5;
    reader.shape[0] = channels;
    reader.shape[1] = reader.shape[2] = SIDE;
    reader.read = read_sample;
    reader.payload = bad;
    assert_ok(lego_dataset_create(&dataset, context, &reader));
    return dataset;
}

static lego_status extract(const lego_model *from, const char *path, lego_dataset *dataset, lego_criterion criterion)
{
    static const double sparsities[3] = { 0.0, 0.5, 0.75 };
    lego_extract_options options = LEGO_EXTRACT_OPTIONS_INIT;

    options.sparsities = sparsities;
    options.n_sparsities = 3;
    options.criterion = criterion;
    options.dataset = dataset;
    return lego_extract(context, from, path, &options);
}

/* Mean squared distance of a composition's outputs from the original's, on images nobody was fitted to. */
static double distance(lego_store *store, const char *selection)
{
    enum { N = 40, FIRST = 1000 };
    float *images = lg_calloc(N * 3 * SIDE * SIDE, sizeof(float)), out[2][N * 5], *outs[2] = { out[0], out[1] };
    const float *const input = images;
    double sum = 0.0;

    for (int i = 0; i < N; i++) {
        int64_t label;

        assert_ok(read_sample(FIRST + i, images + i * 3 * SIDE * SIDE, &label, NULL));
    }
    for (int which = 0; which < 2; which++) {
        lego_session_options options = LEGO_SESSION_OPTIONS_INIT;
        lego_selection *chosen;
        lego_model *composition;
        lego_session *session;

        options.engine = LEGO_ENGINE_REF;
        options.batch = N;
        assert_ok(lego_selection_parse(&chosen, store, which ? selection : NULL));
        assert_ok(lego_store_compose(&composition, store, chosen));
        assert_ok(lego_session_create(&session, context, composition, &options));
        assert_ok(lego_session_run(session, &input, &outs[which]));
        lego_session_free(session);
        lego_model_free(composition);
        lego_selection_free(chosen);
    }
    for (int i = 0; i < N * 5; i++)
        sum += ((double)out[1][i] - out[0][i]) * ((double)out[1][i] - out[0][i]) / (N * 5);
    lg_free(images);
    return sum;
}

static void test_reconstruct__makes_compositions_that_keep_the_outputs(void **state)
{
    lego_dataset *dataset = make_dataset(N_SAMPLES, 3, NULL);
    static const char *const selections[3] = { "all=s0.5", "all=s0.75", "b0=s0.75,b2=s0.5,b5=s0.75" };
    lego_store *ours, *theirs;
    const lg_json *info, *report;
    const char *text;
    int64_t images, n;

    assert_ok(extract(model, in_folder(state, "ours"), dataset, LEGO_CRITERION_AUTO)); /* data: reconstruct */
    assert_ok(extract(model, in_folder(state, "l1"), NULL, LEGO_CRITERION_AUTO));
    assert_ok(lego_store_open(&ours, context, in_folder(state, "ours")));
    assert_ok(lego_store_open(&theirs, context, in_folder(state, "l1")));
    assert_near(distance(ours, "all=s0"), 0.0, 1e-12, 0.0);
    for (int i = 0; i < 3; i++)
        assert_true(distance(ours, selections[i]) < 0.7 * distance(theirs, selections[i]));
    assert_string_equal(ours->blocks[0].variants[1].origin, "reconstruct");
    assert_string_equal(ours->blocks[0].variants[1].precision, "f32");
    assert_int_equal(ours->blocks[0].variants[1].n_macs, theirs->blocks[0].variants[1].n_macs);
    assert_ok(lg_json_get_object(&info, ours->info, "reconstruction", "info"));
    assert_ok(lg_json_get_int(&images, info, "images", 1, 1000, "info"));
    assert_int_equal(images, N_SAMPLES);
    assert_ok(lg_json_get_string(&text, info, "output_weights", "info"));
    assert_string_equal(text, "fisher");
    assert_ok(lg_json_get_object(&report, ours->blocks[3].report, "reconstruction", "report"));
    assert_ok(lg_json_get_object(&report, report, "environments", "report"));
    assert_ok(lg_json_get_int(&n, report, "s0.5", 3, 3, "report")); /* the original, all at 0.5, drawn */
    lego_store_free(ours);
    lego_store_free(theirs);
    lego_dataset_free(dataset);
}

static void test_reconstruct__is_the_same_again(void **state)
{
    lego_dataset *dataset = make_dataset(N_SAMPLES, 3, NULL);
    lego_store *stores[2];

    for (int i = 0; i < 2; i++) {
        assert_ok(extract(model, in_folder(state, i ? "b" : "a"), dataset, LEGO_CRITERION_RECONSTRUCT));
        assert_ok(lego_store_open(&stores[i], context, in_folder(state, i ? "b" : "a")));
    }
    assert_int_equal(stores[0]->checksum, stores[1]->checksum);
    lego_store_free(stores[0]);
    lego_store_free(stores[1]);
    lego_dataset_free(dataset);
}

static void test_reconstruct__says_what_is_wrong_with_the_data(void **state)
{
    int64_t bad = 5;
    lego_dataset *few = make_dataset(7, 3, NULL), *grey = make_dataset(N_SAMPLES, 1, NULL),
                 *broken = make_dataset(N_SAMPLES, 3, &bad);

    assert_fails(LEGO_EINVAL, extract(model, in_folder(state, "s"), few, LEGO_CRITERION_AUTO));
    assert_says("7 samples");
    assert_fails(LEGO_EINVAL, extract(model, in_folder(state, "s"), grey, LEGO_CRITERION_AUTO));
    assert_says("(1,12,12)");
    assert_fails(LEGO_EINVAL, extract(model, in_folder(state, "s"), broken, LEGO_CRITERION_AUTO));
    assert_says("NaN");
    assert_false(lg_dir_exists(in_folder(state, "s")));
    lego_dataset_free(few);
    lego_dataset_free(grey);
    lego_dataset_free(broken);
}

/* Cancels at the n-th step of the reconstruction. */
static int cancel_late(const char *stage, size_t done, size_t total, void *payload)
{
    size_t *seen = payload;

    if (strcmp(stage, "reconstruct") != 0)
        return 0;
    assert_true(done <= total);
    seen[0] = done;
    return seen[1] > 0 && done >= seen[1];
}

static void test_reconstruct__can_be_cancelled_and_counts_to_its_end(void **state)
{
    lego_dataset *dataset = make_dataset(40, 3, NULL);
    size_t seen[2] = { 0, 9 };

    assert_ok(lego_context_set_progress(context, cancel_late, seen));
    assert_fails(LEGO_ECANCELED, extract(model, in_folder(state, "s"), dataset, LEGO_CRITERION_AUTO));
    assert_int_equal(seen[0], 9);
    assert_false(lg_dir_exists(in_folder(state, "s")));
    seen[1] = 0;
    assert_ok(extract(model, in_folder(state, "s"), dataset, LEGO_CRITERION_AUTO));
    assert_int_equal(seen[0], 2 * 19); /* two variants, 16 convolutions and 3 shortcuts */
    assert_ok(lego_context_set_progress(context, NULL, NULL));
    lego_dataset_free(dataset);
}

/* Allocations fail here and there, early and late; every failure is reported as such. */
static void test_reconstruct__survives_lack_of_memory(void **state)
{
    lego_dataset *dataset = make_dataset(16, 3, NULL);

    for (long n = 1; n < 40000; n = n * 3 / 2 + 1) {
        lego_status status;

        (void)lg_alloc_fail_after(n);
        status = extract(model, in_folder(state, "s"), dataset, LEGO_CRITERION_AUTO);
        if (lg_alloc_fail_after(-1))
            assert_int_equal(status, LEGO_ENOMEM);
        else
            assert_int_equal(status, LEGO_OK);
    }
    lego_dataset_free(dataset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(test_reconstruct__makes_compositions_that_keep_the_outputs),
        folder_test(test_reconstruct__is_the_same_again),
        folder_test(test_reconstruct__says_what_is_wrong_with_the_data),
        folder_test(test_reconstruct__can_be_cancelled_and_counts_to_its_end),
        folder_test(test_reconstruct__survives_lack_of_memory),
    };

    return cmocka_run_group_tests(tests, make_model, free_model);
}
