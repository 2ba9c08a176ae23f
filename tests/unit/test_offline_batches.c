/* Batches: the same numbers whatever the timing, order, augmentation; errors of the worker reach the caller. */
#include <time.h>

#include "support/files.h"

#include "data/dataset.h"
#include "legodnn/data.h"

#define N 203 /* training samples after the cut */
#define SIDE 12

static void be32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (24 - 8 * i));
}

static int setup(void **state)
{
    const char *folder;
    const uint32_t n = 226;
    uint8_t *images = lg_calloc(16 + n * SIDE * SIDE, 1), *labels = lg_calloc(8 + n, 1);

    if (make_folder(state) != 0)
        return -1;
    folder = *state;
    be32(images, 0x803);
    be32(images + 4, n);
    be32(images + 8, SIDE);
    be32(images + 12, SIDE);
    be32(labels, 0x801);
    be32(labels + 4, n);
    for (uint32_t i = 0; i < n; i++) {
        labels[8 + i] = (uint8_t)(i % 10);
        for (uint32_t k = 0; k < SIDE * SIDE; k++)
            images[16 + i * SIDE * SIDE + k] = (uint8_t)(1 + (i * 37 + k * 11) % 255);
    }
    write_file(folder, "train-images-idx3-ubyte", images, 16 + n * SIDE * SIDE);
    write_file(folder, "train-labels-idx1-ubyte", labels, 8 + n);
    lg_free(images);
    lg_free(labels);
    return 0;
}

static lego_dataset *open_data(const char *folder, lego_context *context, int augment)
{
    lego_dataset_options options = LEGO_DATASET_OPTIONS_INIT;
    lego_dataset *dataset = NULL;
    char *spec = lg_asprintf("fashion-mnist:%s", folder);

    options.augment = augment;
    assert_ok(lego_dataset_open(&dataset, context, spec, &options));
    assert_int_equal(lego_dataset_n_samples(dataset), N);
    lg_free(spec);
    return dataset;
}

/* A whole epoch in one array; `pause_ns` slows the caller. */
static void collect(float *images, int64_t *labels, lego_dataset *dataset, int32_t batch, int shuffle, uint64_t epoch,
                    long pause_ns)
{
    lego_batches *batches = NULL;
    int64_t total = 0, n;

    assert_ok(lego_batches_create(&batches, dataset, batch, shuffle, 0, epoch));
    for (;;) {
        const float *x;
        const int64_t *y;

        assert_ok(lego_batches_next(batches, &n, &x, &y));
        if (n == 0)
            break;
        if (pause_ns)
            (void)nanosleep(&(struct timespec){ 0, pause_ns }, NULL);
        memcpy(images + total * SIDE * SIDE, x, (size_t)n * SIDE * SIDE * sizeof(float));
        memcpy(labels + total, y, (size_t)n * sizeof(*y));
        total += n;
    }
    assert_int_equal(total, N);
    assert_ok(lego_batches_next(batches, &n, &(const float *){ NULL }, NULL)); /* stays at the end */
    assert_int_equal(n, 0);
    lego_batches_free(batches);
}

typedef struct epoch_data {
    float images[N * SIDE * SIDE];
    int64_t labels[N];
} epoch_data;

static void test_batches__do_not_depend_on_timing_or_batch_size(void **state)
{
    lego_dataset *dataset = open_data(*state, NULL, 1);
    epoch_data *a = lg_calloc(1, sizeof(*a)), *b = lg_calloc(1, sizeof(*b));

    collect(a->images, a->labels, dataset, 16, 1, 3, 0);
    collect(b->images, b->labels, dataset, 16, 1, 3, 2000000);
    assert_memory_equal(a, b, sizeof(*a));
    collect(b->images, b->labels, dataset, 7, 1, 3, 0);
    assert_memory_equal(a, b, sizeof(*a));
    collect(b->images, b->labels, dataset, 1000, 1, 3, 0);
    assert_memory_equal(a, b, sizeof(*a));
    collect(b->images, b->labels, dataset, 16, 1, 4, 0); /* another epoch is another order */
    assert_memory_not_equal(a->labels, b->labels, sizeof(a->labels));
    lg_free(a);
    lg_free(b);
    lego_dataset_free(dataset);
}

static void test_batches__augmentation_belongs_to_seed_epoch_and_sample(void **state)
{
    lego_context *context = NULL;
    lego_dataset *dataset, *other;
    epoch_data *a = lg_calloc(1, sizeof(*a)), *b = lg_calloc(1, sizeof(*b)), *plain = lg_calloc(1, sizeof(*plain));
    int moved = 0, flipped = 0;

    dataset = open_data(*state, NULL, 1);
    collect(a->images, a->labels, dataset, 16, 0, 3, 0);
    for (int64_t i = 0; i < N; i++) { /* each is the plain image moved and mirrored as drawn */
        lg_augmentation drawn = lg_augment_draw(0, 3, dataset->samples[i], 1);
        float image[SIDE * SIDE], black = dataset->normaliser.table[0][0];

        assert_true(drawn.dx >= -4 && drawn.dx <= 4 && drawn.dy >= -4 && drawn.dy <= 4);
        moved += drawn.dx || drawn.dy;
        flipped += drawn.flip;
        assert_ok(lego_dataset_read(dataset, &i, 1, image, NULL));
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++) {
                int sy = y - drawn.dy, sx = (drawn.flip ? SIDE - 1 - x : x) - drawn.dx;
                float want = sy < 0 || sy >= SIDE || sx < 0 || sx >= SIDE ? black : image[sy * SIDE + sx];

                assert_float_equal(a->images[(i * SIDE + y) * SIDE + x], want, 0.0f);
            }
    }
    assert_in_range(moved, N * 9 / 10, N);
    assert_in_range(flipped, N / 3, N * 2 / 3);

    collect(b->images, b->labels, dataset, 16, 0, 4, 0);
    assert_memory_not_equal(a->images, b->images, sizeof(a->images));
    assert_ok(lego_context_create(&context));
    assert_ok(lego_context_set_seed(context, 5));
    other = open_data(*state, context, 1);
    collect(b->images, b->labels, other, 16, 0, 3, 0);
    assert_memory_not_equal(a->images, b->images, sizeof(a->images));
    lego_dataset_free(other);

    other = open_data(*state, NULL, 0);
    collect(plain->images, plain->labels, other, 16, 0, 3, 0);
    for (int64_t i = 0; i < N; i++) {
        float image[SIDE * SIDE];

        assert_ok(lego_dataset_read(other, &i, 1, image, NULL));
        assert_memory_equal(image, plain->images + i * SIDE * SIDE, sizeof(image));
    }
    lego_dataset_free(other);
    lego_dataset_free(dataset);
    lego_context_free(context);
    lg_free(a);
    lg_free(b);
    lg_free(plain);
}

static void test_batches__every_sample_comes_once_and_the_rest_can_be_dropped(void **state)
{
    lego_dataset *dataset = open_data(*state, NULL, 0);
    lego_batches *batches = NULL;
    epoch_data *a = lg_calloc(1, sizeof(*a)), *b = lg_calloc(1, sizeof(*b));
    double sum_a = 0.0, sum_b = 0.0;
    const float *x;
    int64_t n;

    collect(a->images, a->labels, dataset, 16, 0, 0, 0);
    collect(b->images, b->labels, dataset, 16, 1, 0, 0);
    for (int64_t i = 0; i < N; i++) {
        sum_a += a->images[i * SIDE * SIDE];
        sum_b += b->images[i * SIDE * SIDE];
    }
    assert_float_equal(sum_a, sum_b, 1e-3);
    assert_ok(lego_batches_create(&batches, dataset, 16, 1, 1, 0));
    assert_int_equal(lego_batches_count(batches), N / 16);
    for (int64_t i = 0; i < N / 16; i++) {
        assert_ok(lego_batches_next(batches, &n, &x, NULL));
        assert_int_equal(n, 16);
    }
    assert_ok(lego_batches_next(batches, &n, &x, NULL));
    assert_int_equal(n, 0);
    lego_batches_free(batches);
    assert_fails(LEGO_EINVAL, lego_batches_create(&batches, dataset, 1000, 1, 1, 0));
    assert_fails(LEGO_EINVAL, lego_batches_create(&batches, dataset, 0, 1, 1, 0));
    for (int i = 0; i < 20; i++) { /* left in the middle */
        assert_ok(lego_batches_create(&batches, dataset, 3, 1, 0, 0));
        for (int k = 0; k < i % 4; k++)
            assert_ok(lego_batches_next(batches, &n, &x, NULL));
        lego_batches_free(batches);
    }
    lego_dataset_free(dataset);
    lg_free(a);
    lg_free(b);
}

static void test_batches__an_error_of_the_worker_reaches_the_caller(void **state)
{
    char *folder = path_in(*state, "images");
    lego_dataset *dataset = NULL;
    lego_dataset_options options = LEGO_DATASET_OPTIONS_INIT;
    lego_batches *batches = NULL;
    char *spec = lg_asprintf("imagefolder:%s", folder);
    const float *x;
    int64_t n;

    write_file(folder, "train/a/1.png", "this is no image", 16);
    write_file(folder, "val/a/1.png", "this is no image", 16);
    assert_ok(lego_dataset_open(&dataset, NULL, spec, &options));
    assert_ok(lego_batches_create(&batches, dataset, 1, 1, 0, 0));
    for (int i = 0; i < 2; i++) {
        assert_fails(LEGO_EFORMAT, lego_batches_next(batches, &n, &x, NULL));
        assert_says("train/a/1.png");
        assert_int_equal(n, 0);
    }
    lego_batches_free(batches);
    lego_dataset_free(dataset);
    lg_free(spec);
    lg_free(folder);
}

static void test_batches__failed_allocations_leak_nothing(void **state)
{
    lego_dataset *dataset = open_data(*state, NULL, 0);
    lego_batches *batches = NULL;

    assert_survives_oom(lego_batches_create(&batches, dataset, 8, 1, 0, 0), lego_batches_free(batches));
    lego_dataset_free(dataset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batches__do_not_depend_on_timing_or_batch_size),
        cmocka_unit_test(test_batches__augmentation_belongs_to_seed_epoch_and_sample),
        cmocka_unit_test(test_batches__every_sample_comes_once_and_the_rest_can_be_dropped),
        cmocka_unit_test(test_batches__an_error_of_the_worker_reaches_the_caller),
        cmocka_unit_test(test_batches__failed_allocations_leak_nothing),
    };

    return cmocka_run_group_tests(tests, setup, remove_folder);
}
