/* CIFAR-10 and CIFAR-100, the binary version (cs.toronto.edu/~kriz/cifar.html).
 *
 * Flow: folder -> lg_source with all images of the training or the test files in memory, for dataset.c to split.
 * A file is a plain run of records without a header: label bytes, then 3072 pixel bytes (red, green, blue planes of
 * 32 x 32). CIFAR-10 has one label byte; CIFAR-100 two, of which the first is the coarse class and the second is the one
 * that everybody means. With no header to check, the file's length and the labels must do. */
#include <string.h>

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/file.h"
#include "data/source.h"

#define PIXELS (3 * 32 * 32)
#define MAX_RECORDS ((int64_t)1 << 20)

/* Append a file's records to the source. */
static lego_status append_file(lg_source *out, const lg_data_kind *kind, const char *path, int label_bytes)
{
    const size_t record = (size_t)label_bytes + PIXELS;
    lg_buffer *file = NULL;
    const uint8_t *bytes;
    uint8_t *pixels;
    int32_t *labels;
    int64_t n;
    lego_status status = LEGO_OK;

    LG_TRY(lg_buffer_map(&file, path));
    if (lg_buffer_size(file) == 0 || lg_buffer_size(file) % record != 0)
        LG_FAIL(LEGO_EFORMAT, "%s: %zu bytes are not a whole number of %zu-byte records", path, lg_buffer_size(file),
                record);
    if (lg_buffer_size(file) / record > (size_t)MAX_RECORDS)
        LG_FAIL(LEGO_EFORMAT, "%s: %zu records, allowed are %lld", path, lg_buffer_size(file) / record,
                (long long)MAX_RECORDS);
    n = (int64_t)(lg_buffer_size(file) / record);
    if (!(labels = lg_realloc(out->labels, (size_t)(out->n + n), sizeof(*labels))))
        LG_FAIL(LEGO_ENOMEM, "out of memory for %lld samples", (long long)(out->n + n));
    out->labels = labels;
    if (!(pixels = lg_realloc(out->pixels, (size_t)(out->n + n), PIXELS)))
        LG_FAIL(LEGO_ENOMEM, "out of memory for %lld samples", (long long)(out->n + n));
    out->pixels = pixels;

    bytes = lg_buffer_data(file);
    for (int64_t i = 0; i < n; i++, bytes += record) {
        int label = bytes[label_bytes - 1];

        if (label >= kind->n_classes)
            LG_FAIL(LEGO_EFORMAT, "%s: label %d of record %lld, allowed are 0 to %d", path, label, (long long)i,
                    kind->n_classes - 1);
        labels[out->n + i] = label;
        memcpy(pixels + (size_t)(out->n + i) * PIXELS, bytes + label_bytes, PIXELS);
    }
    out->n += n;
done:
    lg_buffer_unref(file);
    return status;
}

static lego_status open_files(lg_source *out, const lg_data_kind *kind, const char *folder, const char *const *names,
                              int n_names, int label_bytes, lego_split split)
{
    char *path = NULL;
    lego_status status = LEGO_OK;

    out->shape[0] = 3;
    out->shape[1] = out->shape[2] = 32;
    out->n_classes = kind->n_classes;
    out->cut = split == LEGO_SPLIT_TEST ? LG_CUT_NONE : LG_CUT_VAL;
    for (int i = 0; i < n_names; i++) {
        lg_free(path);
        if (!(path = lg_path_join(folder, names[i])))
            LG_FAIL(LEGO_ENOMEM, "out of memory");
        if (!lg_file_exists(path))
            LG_TRY(lg_data_missing(kind, folder, names[i]));
        LG_TRY(append_file(out, kind, path, label_bytes));
    }
done:
    lg_free(path);
    return status;
}

lego_status lg_cifar10_open(lg_source *out, const lg_data_kind *kind, const char *folder, lego_split split)
{
    static const char *const train[] = { "data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                         "data_batch_4.bin", "data_batch_5.bin" };
    static const char *const test[] = { "test_batch.bin" };

    return split == LEGO_SPLIT_TEST ? open_files(out, kind, folder, test, 1, 1, split)
                                    : open_files(out, kind, folder, train, 5, 1, split);
}

lego_status lg_cifar100_open(lg_source *out, const lg_data_kind *kind, const char *folder, lego_split split)
{
    static const char *const train[] = { "train.bin" };
    static const char *const test[] = { "test.bin" };

    return open_files(out, kind, folder, split == LEGO_SPLIT_TEST ? test : train, 1, 2, split);
}
