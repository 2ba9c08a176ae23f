/* Readers against files written here byte by byte in the real formats, and against damaged ones; splits; sizes;
 * normalisation. */
#include <math.h>

#include "support/files.h"

#include <jpeglib.h>
#include <png.h>
#include <zlib.h>

#include "data/dataset.h"
#include "data/image.h"
#include "legodnn/data.h"

/* ---------------------------------------------------------------- writing files */

static void be32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint8_t pixel_of(int64_t sample, int64_t i)
{
    return (uint8_t)(sample * 31 + i * 7);
}

/* Write n images of h x w (pixel_of) and labels i % 10; `claimed` goes into the headers. */
static void write_idx(const char *folder, const char *part, uint32_t n, uint32_t claimed, uint32_t h, uint32_t w, int gz)
{
    size_t size = (size_t)n * h * w;
    uint8_t *images = lg_calloc(size + 16, 1), *labels = lg_calloc(n + 8u, 1);
    char name[64];

    be32(images, 0x803);
    be32(images + 4, claimed);
    be32(images + 8, h);
    be32(images + 12, w);
    be32(labels, 0x801);
    be32(labels + 4, claimed);
    for (uint32_t i = 0; i < n; i++) {
        labels[8 + i] = (uint8_t)(i % 10);
        for (uint32_t k = 0; k < h * w; k++)
            images[16 + (size_t)i * h * w + k] = pixel_of(i, k);
    }
    for (int which = 0; which < 2; which++) {
        const uint8_t *data = which ? labels : images;
        size_t bytes = which ? n + 8u : size + 16;

        (void)snprintf(name, sizeof(name), "%s-%s-ubyte%s", part, which ? "labels-idx1" : "images-idx3", gz ? ".gz" : "");
        if (gz) {
            char *path = path_in(folder, name);
            gzFile file = gzopen(path, "wb");

            assert_int_equal(gzwrite(file, data, (unsigned)bytes), (int)bytes);
            assert_int_equal(gzclose(file), Z_OK);
            lg_free(path);
        } else {
            write_file(folder, name, data, bytes);
        }
    }
    lg_free(labels);
    lg_free(images);
}

static void write_cifar(const char *folder, const char *name, int label_bytes, int n, int first)
{
    size_t record = (size_t)label_bytes + 3072;
    uint8_t *data = lg_calloc((size_t)n, record);

    for (int i = 0; i < n; i++) {
        data[(size_t)i * record] = 99; /* the coarse label of CIFAR-100, to be ignored */
        data[(size_t)i * record + (size_t)label_bytes - 1] = (uint8_t)((first + i) % 10);
        for (int k = 0; k < 3072; k++)
            data[(size_t)i * record + (size_t)label_bytes + (size_t)k] = pixel_of(first + i, k);
    }
    write_file(folder, name, data, (size_t)n * record);
    lg_free(data);
}

/* One colour, or a vertical edge in the middle: left (r,g,b), right black. */
static void write_png(const char *folder, const char *name, uint32_t w, uint32_t h, uint8_t r, uint8_t g, uint8_t b,
                      int edge)
{
    png_image png = { .version = PNG_IMAGE_VERSION, .width = w, .height = h, .format = PNG_FORMAT_RGB };
    uint8_t *rgb = lg_calloc((size_t)w * h, 3);
    char *path = path_in(folder, name);

    for (uint32_t i = 0; i < w * h; i++)
        if (!edge || i % w < w / 2) {
            rgb[3 * i] = r;
            rgb[3 * i + 1] = g;
            rgb[3 * i + 2] = b;
        }
    assert_true(png_image_write_to_file(&png, path, 0, rgb, 0, NULL));
    lg_free(path);
    lg_free(rgb);
}

static void write_jpeg(const char *folder, const char *name, unsigned w, unsigned h, uint8_t r, uint8_t g, uint8_t b)
{
    struct jpeg_compress_struct info;
    struct jpeg_error_mgr errors;
    char *path = path_in(folder, name);
    FILE *file = fopen(path, "wb");
    uint8_t *row = lg_calloc(w, 3);

    for (unsigned x = 0; x < w; x++) {
        row[3 * x] = r;
        row[3 * x + 1] = g;
        row[3 * x + 2] = b;
    }
    info.err = jpeg_std_error(&errors);
    jpeg_create_compress(&info);
    jpeg_stdio_dest(&info, file);
    info.image_width = w;
    info.image_height = h;
    info.input_components = 3;
    info.in_color_space = JCS_RGB;
    jpeg_set_defaults(&info);
    jpeg_set_quality(&info, 100, TRUE);
    jpeg_start_compress(&info, TRUE);
    for (unsigned y = 0; y < h; y++) {
        JSAMPROW line = row;

        (void)jpeg_write_scanlines(&info, &line, 1);
    }
    jpeg_finish_compress(&info);
    jpeg_destroy_compress(&info);
    (void)fclose(file);
    lg_free(row);
    lg_free(path);
}

/* ---------------------------------------------------------------- opening */

static char *folder_of(void **state)
{
    return *state;
}

static lego_status open_in(lego_dataset **out, const char *name, const char *folder, const lego_dataset_options *options)
{
    char *spec = lg_asprintf("%s:%s", name, folder);
    lego_status status = lego_dataset_open(out, NULL, spec, options);

    lg_free(spec);
    return status;
}

static void assert_refused(const char *name, const char *folder, lego_split split, lego_status expected, const char *part)
{
    lego_dataset_options options = LEGO_DATASET_OPTIONS_INIT;
    lego_dataset *dataset = NULL;

    options.split = split;
    assert_fails(expected, open_in(&dataset, name, folder, &options));
    assert_null(dataset);
    assert_says(part);
}

/* ---------------------------------------------------------------- IDX */

static void check_idx(const char *folder)
{
    lego_dataset_options options = LEGO_DATASET_OPTIONS_INIT;
    lego_dataset *dataset = NULL;
    int32_t shape[3];
    float images[6 * 5];
    int64_t label, index = 3;

    options.split = LEGO_SPLIT_TEST;
    assert_ok(open_in(&dataset, "mnist", folder, &options));
    lego_dataset_sample_shape(dataset, shape);
    assert_int_equal(shape[0], 1);
    assert_int_equal(shape[1], 6);
    assert_int_equal(shape[2], 5);
    assert_int_equal(lego_dataset_n_samples(dataset), 20);
    assert_int_equal(lego_dataset_n_classes(dataset), 10);
    assert_ok(lego_dataset_read(dataset, &index, 1, images, &label));
    assert_int_equal(label, dataset->samples[3] % 10);
    for (int k = 0; k < 30; k++)
        assert_float_equal(images[k], (pixel_of(dataset->samples[3], k) / 255.0 - 0.1307) / 0.3081, 1e-5);
    index = 20;
    assert_fails(LEGO_EINVAL, lego_dataset_read(dataset, &index, 1, images, NULL));
    lego_dataset_free(dataset);
}

static void test_data__idx_is_read_plain_and_gzipped(void **state)
{
    write_idx(folder_of(state), "t10k", 20, 20, 6, 5, 0);
    check_idx(folder_of(state));
    (void)lg_dir_remove(folder_of(state));
    write_idx(folder_of(state), "t10k", 20, 20, 6, 5, 1);
    check_idx(folder_of(state));
}

static void test_data__damaged_idx_is_a_clear_error(void **state)
{
    const char *folder = folder_of(state);
    uint8_t bytes[64] = { 0 };
    char *data = NULL, *path;
    size_t size;

    assert_refused("mnist", folder, LEGO_SPLIT_TEST, LEGO_ENOTFOUND, "t10k-images");
    write_idx(folder, "t10k", 20, 21, 6, 5, 0);
    assert_refused("mnist", folder, LEGO_SPLIT_TEST, LEGO_EFORMAT, "truncated");
    write_idx(folder, "t10k", 20, 0xffffffffu, 6, 5, 0);
    assert_refused("mnist", folder, LEGO_SPLIT_TEST, LEGO_EFORMAT, "claims");
    write_idx(folder, "t10k", 20, 19, 6, 5, 0);
    assert_refused("mnist", folder, LEGO_SPLIT_TEST, LEGO_EFORMAT, "more bytes");
    write_idx(folder, "t10k", 0, 0, 6, 5, 0);
    assert_refused("mnist", folder, LEGO_SPLIT_TEST, LEGO_EFORMAT, "no samples");

    write_idx(folder, "t10k", 20, 20, 6, 5, 0);
    bytes[3] = 2;
    write_file(folder, "t10k-labels-idx1-ubyte", bytes, sizeof(bytes));
    assert_refused("mnist", folder, LEGO_SPLIT_TEST, LEGO_EFORMAT, "t10k-labels-idx1-ubyte");
    memset(bytes, 11, sizeof(bytes)); /* labels out of range */
    be32(bytes, 0x801);
    be32(bytes + 4, 20);
    write_file(folder, "t10k-labels-idx1-ubyte", bytes, 28);
    assert_refused("mnist", folder, LEGO_SPLIT_TEST, LEGO_EFORMAT, "label 11");
    memset(bytes + 8, 1, 19);
    be32(bytes + 4, 19);
    write_file(folder, "t10k-labels-idx1-ubyte", bytes, 27);
    assert_refused("mnist", folder, LEGO_SPLIT_TEST, LEGO_EFORMAT, "20 images, but");
    be32(bytes + 4, 20);
    be32(bytes, 0x803);
    write_file(folder, "t10k-images-idx3-ubyte", bytes, 12); /* header cut off */
    be32(bytes, 0x801);
    write_file(folder, "t10k-labels-idx1-ubyte", bytes, 28);
    assert_refused("mnist", folder, LEGO_SPLIT_TEST, LEGO_EFORMAT, "truncated");

    (void)lg_dir_remove(folder);
    write_idx(folder, "train", 200, 200, 6, 5, 1);
    path = path_in(folder, "train-images-idx3-ubyte.gz");
    assert_ok(lg_file_read(&data, &size, path, 1 << 20));
    for (size_t n = 0; n < size; n++) { /* every truncation, the checksum at the end included */
        write_file(folder, "train-images-idx3-ubyte.gz", data, n);
        assert_refused("mnist", folder, LEGO_SPLIT_TRAIN, LEGO_EFORMAT, "train-images-idx3-ubyte.gz");
    }
    data[size / 2] = (char)(data[size / 2] ^ 0x10);
    write_file(folder, "train-images-idx3-ubyte.gz", data, size);
    assert_refused("mnist", folder, LEGO_SPLIT_TRAIN, LEGO_EFORMAT, "train-images-idx3-ubyte.gz");
    lg_free(data);
    lg_free(path);
}

/* ---------------------------------------------------------------- CIFAR */

static void test_data__cifar_is_read(void **state)
{
    char *folder = folder_of(state);
    lego_dataset_options options = LEGO_DATASET_OPTIONS_INIT;
    lego_dataset *dataset = NULL;
    float *image = lg_calloc(3072, sizeof(*image));
    int64_t label, index = 0;

    for (int i = 1; i <= 5; i++) {
        char name[64];

        (void)snprintf(name, sizeof(name), "cifar-10-batches-bin/data_batch_%d.bin", i);
        write_cifar(folder, name, 1, 20, 20 * (i - 1));
    }
    assert_ok(open_in(&dataset, "cifar10", folder, &options));
    assert_int_equal(lego_dataset_n_samples(dataset), 90);
    assert_ok(lego_dataset_read(dataset, &index, 1, image, &label));
    assert_int_equal(label, dataset->samples[0] % 10);
    assert_float_equal(image[2 * 1024 + 5], (pixel_of(dataset->samples[0], 2 * 1024 + 5) / 255.0 - 0.4465) / 0.2616, 1e-5);
    lego_dataset_free(dataset);
    assert_refused("cifar10", folder, LEGO_SPLIT_TEST, LEGO_ENOTFOUND, "test_batch.bin");

    write_cifar(folder, "test.bin", 2, 30, 0);
    options.split = LEGO_SPLIT_TEST;
    assert_ok(open_in(&dataset, "cifar100", folder, &options));
    assert_int_equal(lego_dataset_n_samples(dataset), 30);
    assert_int_equal(lego_dataset_n_classes(dataset), 100);
    index = 7;
    assert_ok(lego_dataset_read(dataset, &index, 1, image, &label));
    assert_int_equal(label, dataset->samples[7] % 10);
    lego_dataset_free(dataset);
    lg_free(image);
}

static void test_data__damaged_cifar_is_a_clear_error(void **state)
{
    char *folder = folder_of(state);
    uint8_t *data = lg_calloc(3073, 2);

    write_file(folder, "test_batch.bin", data, 3073 * 2 - 1);
    assert_refused("cifar10", folder, LEGO_SPLIT_TEST, LEGO_EFORMAT, "test_batch.bin");
    write_file(folder, "test_batch.bin", data, 0);
    assert_refused("cifar10", folder, LEGO_SPLIT_TEST, LEGO_EFORMAT, "test_batch.bin");
    data[3073] = 10;
    write_file(folder, "test_batch.bin", data, 3073 * 2);
    assert_refused("cifar10", folder, LEGO_SPLIT_TEST, LEGO_EFORMAT, "label 10 of record 1");
    lg_free(data);
}

/* ---------------------------------------------------------------- image folders */

static void assert_colour(const float *image, int64_t plane, int64_t i, int r, int g, int b, float tolerance)
{
    const int want[3] = { r, g, b };
    const double mean[3] = { 0.485, 0.456, 0.406 }, std[3] = { 0.229, 0.224, 0.225 };

    for (int c = 0; c < 3; c++)
        assert_float_equal(image[c * plane + i] * std[c] + mean[c], want[c] / 255.0, tolerance);
}

static void test_data__image_folder_reads_jpeg_and_png_and_scales(void **state)
{
    char *folder = folder_of(state);
    lego_dataset_options options = LEGO_DATASET_OPTIONS_INIT;
    lego_dataset *dataset = NULL;
    float *images = lg_calloc(2 * 3 * 32 * 48, sizeof(*images));
    const int64_t indices[2] = { 0, 1 };
    int64_t labels[2];

    write_jpeg(folder, "train/apple/1.JPG", 100, 67, 200, 40, 10);
    write_png(folder, "train/pear/x.png", 17, 90, 10, 220, 60, 0);
    write_png(folder, "train/plum/x.jpeg", 17, 90, 10, 20, 60, 0); /* a PNG that is called JPEG */
    write_file(folder, "train/pear/.hidden.png", "x", 1);
    write_file(folder, "train/notes.txt", "x", 1);
    write_png(folder, "val/pear/y.png", 64, 64, 10, 220, 60, 1);
    write_png(folder, "val/plum/y.png", 60, 40, 1, 2, 3, 0);
    options.input[0] = 3;
    options.input[1] = 32;
    options.input[2] = 48;
    assert_ok(open_in(&dataset, "imagefolder", folder, &options));
    assert_int_equal(lego_dataset_n_samples(dataset), 3); /* val/ exists: nothing is cut off */
    assert_int_equal(lego_dataset_n_classes(dataset), 3);
    assert_ok(lego_dataset_read(dataset, indices, 2, images, labels));
    for (int i = 0; i < 2; i++) {
        static const int colours[3][3] = { { 200, 40, 10 }, { 10, 220, 60 }, { 10, 20, 60 } };
        const int *colour = colours[labels[i]];

        assert_colour(images + i * 3 * 32 * 48, 32 * 48, 0, colour[0], colour[1], colour[2], 0.012f);
        assert_colour(images + i * 3 * 32 * 48, 32 * 48, 32 * 48 - 1, colour[0], colour[1], colour[2], 0.012f);
    }
    lego_dataset_free(dataset);

    options.split = LEGO_SPLIT_VAL; /* classes keep the numbers of the training folder */
    assert_ok(open_in(&dataset, "imagefolder", folder, &options));
    assert_int_equal(lego_dataset_n_samples(dataset), 2);
    assert_ok(lego_dataset_read(dataset, indices, 2, images, labels));
    assert_int_equal(labels[0] + labels[1], 1 + 2);
    if (labels[0] == 1) {
        assert_colour(images, 32 * 48, 16 * 48 + 10, 10, 220, 60, 0.004f);
        assert_colour(images, 32 * 48, 16 * 48 + 40, 0, 0, 0, 0.004f);
    }
    lego_dataset_free(dataset);
    assert_refused("imagefolder", folder, LEGO_SPLIT_TEST, LEGO_ENOTFOUND, "test/");

    write_png(folder, "val/quince/y.png", 60, 40, 1, 2, 3, 0);
    assert_refused("imagefolder", folder, LEGO_SPLIT_VAL, LEGO_EFORMAT, "quince");
    lg_free(images);
}

static void test_data__damaged_images_are_named(void **state)
{
    char *folder = folder_of(state);
    lego_dataset *dataset = NULL;
    lg_image image;
    char *data = NULL, *path;
    size_t size;

    assert_refused("imagefolder", folder, LEGO_SPLIT_TRAIN, LEGO_ENOTFOUND, "no class folders");
    (void)lg_dir_create((path = path_in(folder, "train/apple/x")));
    lg_free(path);
    assert_refused("imagefolder", folder, LEGO_SPLIT_TRAIN, LEGO_ENOTFOUND, "no image");
    (void)dataset;

    for (int kind = 0; kind < 2; kind++) {
        if (kind)
            write_png(folder, "a", 40, 30, 9, 99, 200, 1);
        else
            write_jpeg(folder, "a", 40, 30, 9, 99, 200);
        path = path_in(folder, "a");
        assert_ok(lg_file_read(&data, &size, path, 1 << 20));
        for (size_t n = 0; n + 12 < size; n++) { /* a JPEG may lack its last marker, a PNG its end chunk */
            lego_status status;

            write_file(folder, "b", data, n);
            lg_free(path);
            path = path_in(folder, "b");
            status = lg_image_load(&image, path);
            if (n + 16 < size || status != LEGO_OK) {
                assert_fails(LEGO_EFORMAT, status);
                assert_says("/b: ");
            }
            lg_image_dispose(&image);
        }
        for (size_t n = 0; n < size; n++) { /* any flipped byte: an image or an error, nothing else */
            char kept = data[n];

            data[n] = (char)(data[n] ^ 0xff);
            write_file(folder, "b", data, size);
            data[n] = kept;
            if (lg_image_load(&image, path) == LEGO_OK)
                assert_true(image.channels == 3 && image.width > 0 && image.height > 0);
            lg_image_dispose(&image);
        }
        lg_free(data);
        lg_free(path);
    }
}

static void test_data__resize_matches_the_definition(void **state)
{
    /* halving averages with triangle weights; enlarging interpolates between centres; the aspect is kept */
    uint8_t ramp[8] = { 0, 10, 20, 30, 40, 50, 60, 70 };
    uint8_t out[32];

    (void)state;
    assert_ok(lg_image_resize(out, 1, 4, ramp, 1, 2, 4)); /* covers 1x4: the 2x4 image cropped to 1 row */
    assert_int_equal(out[0], 20);
    assert_int_equal(out[3], 50);
    assert_ok(lg_image_resize(out, 4, 8, ramp, 1, 2, 4));
    assert_int_equal(out[0], 0); /* at the corner */
    assert_int_equal(out[1], 3); /* (0.75 * 0 + 0.25 * 10) */
    assert_int_equal(out[2], 8);
    assert_int_equal(out[8], 10);
    assert_ok(lg_image_resize(out, 1, 2, ramp, 1, 2, 4));
    /* column weights at centre 1, support 2: centres 0.5, 1.5: 0.75 each; 2.5: 0.25; rows alike */
    assert_int_equal(out[0], (int)floor(((0.75 * 0 + 0.75 * 10 + 0.25 * 20) / 1.75 + 20) + 0.5));
}

/* ---------------------------------------------------------------- splits, sizes */

static void test_data__splits_are_disjoint_balanced_and_nested(void **state)
{
    char *folder = folder_of(state);
    lego_dataset_options options = LEGO_DATASET_OPTIONS_INIT;
    lego_dataset *train = NULL, *val = NULL, *again = NULL, *some = NULL;
    lego_context *context = NULL;
    int seen[503] = { 0 }, per_class[10] = { 0 };
    char *spec = lg_asprintf("mnist:%s", folder);

    write_idx(folder, "train", 503, 503, 3, 3, 0);
    options.val_share = 0.2;
    assert_ok(open_in(&train, "mnist", folder, &options));
    options.split = LEGO_SPLIT_VAL;
    assert_ok(open_in(&val, "mnist", folder, &options));
    assert_int_equal(train->n + val->n, 503);
    assert_int_equal(val->n, 101);
    for (int64_t i = 0; i < train->n; i++)
        seen[train->samples[i]]++;
    for (int64_t i = 0; i < val->n; i++) {
        seen[val->samples[i]]++;
        per_class[val->samples[i] % 10]++;
    }
    for (int i = 0; i < 503; i++)
        assert_int_equal(seen[i], 1);
    for (int i = 0; i < 10; i++)
        assert_in_range(per_class[i], 10, 11);

    assert_ok(lego_context_create(&context)); /* the context's seed must not move the cut */
    assert_ok(lego_context_set_seed(context, 77));
    assert_ok(lego_dataset_open(&again, context, spec, &options));
    assert_memory_equal(val->samples, again->samples, (size_t)val->n * sizeof(*val->samples));
    options.limit = 30;
    assert_ok(lego_dataset_open(&some, context, spec, &options));
    assert_int_equal(some->n, 30);
    assert_memory_equal(val->samples, some->samples, 30 * sizeof(*val->samples));
    lego_dataset_free(again);
    options.limit = 0;
    options.split_seed = 1;
    assert_ok(lego_dataset_open(&again, context, spec, &options));
    assert_memory_not_equal(val->samples, again->samples, (size_t)val->n * sizeof(*val->samples));

    options.val_share = 0.0005; /* rounds to no sample at all */
    lego_dataset_free(some);
    assert_fails(LEGO_EINVAL, lego_dataset_open(&some, context, spec, &options));
    assert_says("val split is empty");
    lego_dataset_free(again);
    lego_dataset_free(val);
    lego_dataset_free(train);
    lego_context_free(context);
    lg_free(spec);
}

static void test_data__one_heap_of_images_is_cut_in_three(void **state)
{
    char *folder = folder_of(state);
    int seen[40] = { 0 };

    for (int i = 0; i < 40; i++) {
        char name[32];

        (void)snprintf(name, sizeof(name), "%c/%02d.png", i < 20 ? 'a' : 'b', i);
        write_png(folder, name, 4, 4, (uint8_t)i, 0, 0, 0);
    }
    for (int split = 0; split < 3; split++) {
        lego_dataset_options options = LEGO_DATASET_OPTIONS_INIT;
        lego_dataset *dataset = NULL;

        options.split = (lego_split)split;
        assert_ok(open_in(&dataset, "imagefolder", folder, &options));
        assert_int_equal(dataset->n, split == LEGO_SPLIT_TRAIN ? 32 : 4);
        for (int64_t i = 0; i < dataset->n; i++)
            seen[dataset->samples[i]]++;
        lego_dataset_free(dataset);
    }
    for (int i = 0; i < 40; i++)
        assert_int_equal(seen[i], 1);
}

static void test_data__sizes_and_channels_are_adapted(void **state)
{
    char *folder = folder_of(state);
    lego_dataset_options options = LEGO_DATASET_OPTIONS_INIT;
    lego_dataset *dataset = NULL;
    float *image = lg_calloc(3 * 32 * 32, sizeof(*image));
    int64_t index = 0;
    float black = (float)((0.0 - 0.1307) / 0.3081);

    write_idx(folder, "t10k", 10, 10, 28, 28, 0);
    options.split = LEGO_SPLIT_TEST;
    options.input[0] = 3;
    options.input[1] = options.input[2] = 32;
    assert_ok(open_in(&dataset, "mnist", folder, &options));
    assert_ok(lego_dataset_read(dataset, &index, 1, image, NULL));
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < 32; y++)
            for (int x = 0; x < 32; x++) {
                int inside = y >= 2 && y < 30 && x >= 2 && x < 30;
                int64_t k = (y - 2) * 28 + (x - 2);
                double want = inside ? (pixel_of(dataset->samples[0], k) / 255.0 - 0.1307) / 0.3081 : black;

                assert_float_equal(image[(c * 32 + y) * 32 + x], want, 1e-5);
            }
    lego_dataset_free(dataset);

    options.input[0] = 2;
    assert_fails(LEGO_EINVAL, open_in(&dataset, "mnist", folder, &options));
    options.input[0] = 1;
    options.input[1] = -1;
    assert_fails(LEGO_EINVAL, open_in(&dataset, "mnist", folder, &options));
    options.input[1] = 14;
    options.input[2] = 14; /* scaled down */
    assert_ok(open_in(&dataset, "mnist", folder, &options));
    assert_ok(lego_dataset_read(dataset, &index, 1, image, NULL));
    lego_dataset_free(dataset);
    lg_free(image);
}

static void test_data__bad_arguments_are_refused(void **state)
{
    lego_dataset_options options = LEGO_DATASET_OPTIONS_INIT;
    lego_dataset *dataset = NULL;

    (void)state;
    assert_fails(LEGO_ENOTFOUND, lego_dataset_open(&dataset, NULL, "nonsense:x", NULL));
    assert_says("fashion-mnist");
    assert_fails(LEGO_ENOTFOUND, lego_dataset_open(&dataset, NULL, "cifar10:/no/such/folder", NULL));
    options.val_share = 1.0;
    assert_fails(LEGO_EINVAL, lego_dataset_open(&dataset, NULL, "mnist:.", &options));
    options.val_share = NAN;
    assert_fails(LEGO_EINVAL, lego_dataset_open(&dataset, NULL, "mnist:.", &options));
    options.val_share = 0.1;
    options.limit = -1;
    assert_fails(LEGO_EINVAL, lego_dataset_open(&dataset, NULL, "mnist:.", &options));
    options.limit = 0;
    options.split = (lego_split)7;
    assert_fails(LEGO_EINVAL, lego_dataset_open(&dataset, NULL, "mnist:.", &options));
}

static void test_data__failed_allocations_leak_nothing(void **state)
{
    char *folder = folder_of(state);
    lego_dataset *dataset = NULL;
    char *spec = lg_asprintf("mnist:%s", folder);
    lego_status status = LEGO_ENOMEM;

    write_idx(folder, "train", 50, 50, 3, 3, 1);
    for (long n = 0; status != LEGO_OK; n++) {
        lg_alloc_fail_after(n);
        status = lego_dataset_open(&dataset, NULL, spec, NULL);
        lg_alloc_fail_after(-1);
        assert_true(status == LEGO_OK || (status == LEGO_ENOMEM && !dataset));
        assert_in_range(n, 0, 1000);
    }
    lego_dataset_free(dataset);
    lg_free(spec);

    (void)lg_dir_remove(folder);
    for (int i = 0; i < 30; i++) {
        char name[32];

        (void)snprintf(name, sizeof(name), "train/%d/%d.%s", i % 2, i, i % 3 ? "png" : "jpg");
        if (i % 3)
            write_png(folder, name, 8, 8, 1, 2, 3, 0);
        else
            write_jpeg(folder, name, 8, 8, 1, 2, 3);
    }
    spec = lg_asprintf("imagefolder:%s", folder);
    status = LEGO_ENOMEM;
    dataset = NULL;
    for (long n = 0; status != LEGO_OK; n++) {
        lg_alloc_fail_after(n);
        status = lego_dataset_open(&dataset, NULL, spec, NULL);
        lg_alloc_fail_after(-1);
        assert_true(status == LEGO_OK || (status == LEGO_ENOMEM && !dataset));
        assert_in_range(n, 0, 1000);
    }
    for (int64_t i = 0; i < 2; i++) {
        float *image = lg_calloc(3 * 224 * 224, sizeof(*image));

        status = LEGO_ENOMEM;
        for (long n = 0; status != LEGO_OK; n++) {
            lg_alloc_fail_after(n);
            status = lego_dataset_read(dataset, &i, 1, image, NULL);
            lg_alloc_fail_after(-1);
            assert_true(status == LEGO_OK || status == LEGO_ENOMEM);
        }
        lg_free(image);
    }
    lego_dataset_free(dataset);
    lg_free(spec);
}

static void test_data__the_system_s_fashion_mnist_has_the_constants_of_the_table(void **state)
{
    lego_dataset_options options = LEGO_DATASET_OPTIONS_INIT;
    lego_dataset *dataset = NULL;
    double sum = 0.0, squares = 0.0, n;
    float image[784];

    (void)state;
    options.val_share = 0.9999; /* all but a few of the training images */
    options.split = LEGO_SPLIT_VAL;
    if (lego_dataset_open(&dataset, NULL, "fashion-mnist", &options) == LEGO_ENOTFOUND)
        skip();
    assert_non_null(dataset);
    assert_int_equal(lego_dataset_n_samples(dataset), 59994);
    for (int64_t i = 0; i < 59994; i++) {
        assert_ok(lego_dataset_read(dataset, &i, 1, image, NULL));
        for (int k = 0; k < 784; k++) {
            sum += image[k];
            squares += (double)image[k] * image[k];
        }
    }
    n = 59994.0 * 784.0;
    assert_float_equal(sum / n, 0.0, 1e-3);
    assert_float_equal(squares / n, 1.0, 1e-3);
    lego_dataset_free(dataset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(test_data__idx_is_read_plain_and_gzipped),
        folder_test(test_data__damaged_idx_is_a_clear_error),
        folder_test(test_data__cifar_is_read),
        folder_test(test_data__damaged_cifar_is_a_clear_error),
        folder_test(test_data__image_folder_reads_jpeg_and_png_and_scales),
        folder_test(test_data__damaged_images_are_named),
        cmocka_unit_test(test_data__resize_matches_the_definition),
        folder_test(test_data__splits_are_disjoint_balanced_and_nested),
        folder_test(test_data__one_heap_of_images_is_cut_in_three),
        folder_test(test_data__sizes_and_channels_are_adapted),
        cmocka_unit_test(test_data__bad_arguments_are_refused),
        folder_test(test_data__failed_allocations_leak_nothing),
        cmocka_unit_test(test_data__the_system_s_fashion_mnist_has_the_constants_of_the_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
