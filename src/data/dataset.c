/* Data sets: NAME[:FOLDER] -> the samples of one split -> normalised floats.
 *
 * Flow: kinds.c finds the reader, the reader the files, split.c the samples; what the split does not need is dropped at once.
 * Reading a sample: pixels (decoded if they are files) -> resize.c if the sizes are far apart -> normalise.c, moved as
 * augment.c drew it. An open data set is constant: the prefetching thread and the caller may read at the same time. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "data/dataset.h"
#include "data/image.h"

#define DEFAULT_VAL_SHARE 0.1
#define MAX_EXTENT 4096

const char *lego_split_name(lego_split split)
{
    switch (split) {
    case LEGO_SPLIT_TRAIN:
        return "train";
    case LEGO_SPLIT_VAL:
        return "val";
    case LEGO_SPLIT_TEST:
        return "test";
    }
    return NULL;
}

lego_status lego_split_parse(lego_split *out, const char *name)
{
    static const lego_split all[] = { LEGO_SPLIT_TRAIN, LEGO_SPLIT_VAL, LEGO_SPLIT_TEST };

    if (!out || !name)
        return lg_error(LEGO_EINVAL, "out and name must not be NULL");
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (strcmp(name, lego_split_name(all[i])) == 0) {
            *out = all[i];
            return LEGO_OK;
        }
    return lg_error(LEGO_EINVAL, "split '%s' is not one of train, val, test", name);
}

static lego_status check_options(const lego_dataset_options *opts)
{
    if (!lego_split_name(opts->split))
        return lg_error(LEGO_EINVAL, "split %d is not a lego_split", (int)opts->split);
    if (opts->limit < 0)
        return lg_error(LEGO_EINVAL, "limit=%lld is negative", (long long)opts->limit);
    if (!(opts->val_share >= 0.0 && opts->val_share < 1.0))
        return lg_error(LEGO_EINVAL, "val_share=%g is not in [0, 1)", opts->val_share);
    if (opts->input[0] != 0 && opts->input[0] != 1 && opts->input[0] != 3)
        return lg_error(LEGO_EINVAL, "input of %d channels, images have 1 or 3", opts->input[0]);
    for (int i = 1; i < 3; i++)
        if (opts->input[i] < 0 || opts->input[i] > MAX_EXTENT)
            return lg_error(LEGO_EINVAL, "input extent %d is not in [0, %d]", opts->input[i], MAX_EXTENT);
    return LEGO_OK;
}

/* NAME[:FOLDER] -> kind and folder (lg_free). */
static lego_status resolve_spec(const lg_data_kind **kind, char **folder, const char *spec)
{
    const char *colon = strchr(spec, ':');
    const char *home = getenv("LEGODNN_DATA");
    const char *const roots[] = { home && *home ? home : NULL, "/usr/local/share/datasets", "/usr/share/datasets" };
    char *names = NULL;
    lego_status status = LEGO_OK;

    *kind = lg_data_kind_find(spec, colon ? (size_t)(colon - spec) : strlen(spec));
    if (!*kind) {
        LG_TRY(lg_data_kind_names(&names));
        LG_FAIL(LEGO_ENOTFOUND, "data set '%s' is unknown; known are %s", spec, names);
    }
    if (colon && colon[1]) {
        LG_TRY(LG_STRDUP(folder, colon + 1));
        if (!lg_dir_exists(*folder))
            LG_FAIL(LEGO_ENOTFOUND, "data set '%s': %s is not a folder; %s", (*kind)->name, *folder, (*kind)->files);
    }
    for (size_t i = 0; !*folder && i < sizeof(roots) / sizeof(roots[0]); i++) {
        if (!roots[i])
            continue;
        if (!(*folder = lg_path_join(roots[i], (*kind)->name)))
            LG_FAIL(LEGO_ENOMEM, "out of memory");
        if (!lg_dir_exists(*folder)) {
            lg_free(*folder);
            *folder = NULL;
        }
    }
    if (!*folder)
        LG_TRY(lg_data_missing(*kind, "$LEGODNN_DATA or /usr/share/datasets", (*kind)->name));
    if ((*kind)->subfolder) { /* the folder that the archive was unpacked in */
        char *inner = lg_path_join(*folder, (*kind)->subfolder);

        if (!inner)
            LG_FAIL(LEGO_ENOMEM, "out of memory");
        if (lg_dir_exists(inner)) {
            lg_free(*folder);
            *folder = inner;
        } else {
            lg_free(inner);
        }
    }
done:
    lg_free(names);
    return status;
}

/* Keep the split's samples only, in its order: row i of the source is sample i of the data set. */
static lego_status keep_split(lego_dataset *dataset)
{
    lg_source *source = &dataset->source;
    size_t bytes = (size_t)source->shape[0] * (size_t)source->shape[1] * (size_t)source->shape[2];
    lg_source kept = *source;
    lego_status status = LEGO_OK;

    kept.labels = NULL;
    kept.pixels = NULL;
    kept.files = NULL;
    kept.n = dataset->n;
    LG_TRY(LG_CALLOC(&kept.labels, kept.n));
    if (source->files)
        LG_TRY(LG_CALLOC(&kept.files, kept.n));
    else if (!(kept.pixels = lg_calloc((size_t)kept.n, bytes)))
        LG_FAIL(LEGO_ENOMEM, "out of memory for %lld images", (long long)kept.n);
    for (int64_t i = 0; i < kept.n; i++) {
        int64_t sample = dataset->samples[i];

        kept.labels[i] = source->labels[sample];
        if (kept.files) {
            kept.files[i] = source->files[sample];
            source->files[sample] = NULL;
        } else {
            memcpy(kept.pixels + (size_t)i * bytes, source->pixels + (size_t)sample * bytes, bytes);
        }
    }
    lg_source_dispose(source);
    *source = kept;
    kept = (lg_source){ .n = 0 };
done:
    lg_source_dispose(&kept);
    return status;
}

lego_status lego_dataset_open(lego_dataset **out, lego_context *context, const char *spec,
                              const lego_dataset_options *options)
{
    lego_dataset_options opts = LEGO_DATASET_OPTIONS_INIT;
    lego_dataset *dataset = NULL;
    char *folder = NULL;
    lego_status status = LEGO_OK;

    if (!out || !spec)
        return lg_error(LEGO_EINVAL, "out and spec must not be NULL");
    *out = NULL;
    LG_TRY(lg_options_read(&opts, sizeof(opts), options));
    LG_TRY(check_options(&opts));
    LG_TRY(LG_CALLOC(&dataset, 1));
    LG_TRY(resolve_spec(&dataset->kind, &folder, spec));
    LG_TRY(dataset->kind->open(&dataset->source, dataset->kind, folder, opts.split));
    LG_TRY(lg_split_samples(&dataset->samples, &dataset->n, &dataset->source, opts.split,
                            opts.val_share > 0.0 ? opts.val_share : DEFAULT_VAL_SHARE, opts.split_seed, opts.limit));
    LG_TRY(keep_split(dataset));

    LG_TRY(LG_STRDUP(&dataset->name, dataset->kind->name));
    dataset->context = context;
    dataset->split = opts.split;
    dataset->augment = opts.augment != 0;
    dataset->seed = lego_context_seed(context);
    for (int i = 0; i < 3; i++) {
        int32_t natural = dataset->source.files ? dataset->kind->input[i] : dataset->source.shape[i];

        dataset->shape[i] = opts.input[i] ? opts.input[i] : natural;
    }
    lg_normaliser_init(&dataset->normaliser, dataset->kind, dataset->shape[0]);
    lg_log(context, LEGO_LOG_INFO, "data", "%s: %lld %s samples of %d classes, %dx%dx%d", dataset->kind->name,
           (long long)dataset->n, lego_split_name(opts.split), dataset->source.n_classes, dataset->shape[0],
           dataset->shape[1], dataset->shape[2]);
    *out = dataset;
    dataset = NULL;
done:
    lego_dataset_free(dataset);
    lg_free(folder);
    return status;
}

static lego_status check_reader(const lego_dataset_reader *reader)
{
    if (!reader->name || !reader->read)
        return lg_error(LEGO_EINVAL, "name and read of a data set must not be NULL");
    if (reader->n_samples < 1 || reader->n_classes < 1)
        return lg_error(LEGO_EINVAL, "data set '%s': %lld samples of %d classes, at least one each", reader->name,
                        (long long)reader->n_samples, reader->n_classes);
    for (int i = 0; i < 3; i++)
        if (reader->shape[i] < 1 || reader->shape[i] > MAX_EXTENT)
            return lg_error(LEGO_EINVAL, "data set '%s': extent %d is not in [1, %d]", reader->name, reader->shape[i],
                            MAX_EXTENT);
    if (!lego_split_name(reader->split))
        return lg_error(LEGO_EINVAL, "data set '%s': split %d is not a lego_split", reader->name, (int)reader->split);
    return LEGO_OK;
}

lego_status lego_dataset_create(lego_dataset **out, lego_context *context, const lego_dataset_reader *reader)
{
    lego_dataset_reader read = LEGO_DATASET_READER_INIT;
    lego_dataset *dataset = NULL;
    lego_status status = LEGO_OK;

    if (!out || !reader)
        return lg_error(LEGO_EINVAL, "out and reader must not be NULL");
    *out = NULL;
    LG_TRY(lg_options_read(&read, sizeof(read), reader));
    LG_TRY(check_reader(&read));
    LG_TRY(LG_CALLOC(&dataset, 1));
    LG_TRY(LG_STRDUP(&dataset->name, read.name));
    dataset->context = context;
    dataset->reader = read;
    dataset->split = read.split;
    dataset->n = read.n_samples;
    dataset->seed = lego_context_seed(context);
    dataset->source.n_classes = read.n_classes;
    memcpy(dataset->shape, read.shape, sizeof(dataset->shape));
    *out = dataset;
    dataset = NULL;
done:
    lego_dataset_free(dataset);
    return status;
}

void lego_dataset_free(lego_dataset *dataset)
{
    if (!dataset)
        return;
    lg_source_dispose(&dataset->source);
    lg_free(dataset->samples);
    lg_free(dataset->name);
    lg_free(dataset);
}

const char *lego_dataset_name(const lego_dataset *dataset)
{
    return dataset->name;
}

lego_split lego_dataset_split(const lego_dataset *dataset)
{
    return dataset->split;
}

int64_t lego_dataset_n_samples(const lego_dataset *dataset)
{
    return dataset->n;
}

int32_t lego_dataset_n_classes(const lego_dataset *dataset)
{
    return dataset->source.n_classes;
}

void lego_dataset_sample_shape(const lego_dataset *dataset, int32_t shape[3])
{
    memcpy(shape, dataset->shape, sizeof(dataset->shape));
}

/* Padding suits a little room around (28 in 32); anything else is scaled. */
static int wants_resize(const int32_t from[3], const int32_t shape[3])
{
    for (int i = 1; i < 3; i++)
        if (shape[i] < from[i] || 4 * (int64_t)shape[i] > 5 * (int64_t)from[i])
            return 1;
    return 0;
}

static lego_status fill_sample(const lego_dataset *dataset, int64_t index, const lg_augmentation *augmentation,
                               float *out)
{
    const lg_source *source = &dataset->source;
    int32_t from[3] = { source->shape[0], source->shape[1], source->shape[2] };
    const uint8_t *pixels = NULL;
    lg_image image = { 0, 0, 0, NULL };
    uint8_t *resized = NULL;
    lego_status status = LEGO_OK;

    if (source->files) {
        LG_TRY(lg_image_load(&image, source->files[index]));
        from[0] = image.channels;
        from[1] = image.height;
        from[2] = image.width;
        pixels = image.pixels;
    } else {
        pixels = source->pixels + (size_t)index * ((size_t)from[0] * (size_t)from[1] * (size_t)from[2]);
    }
    if (wants_resize(from, dataset->shape)) {
        LG_TRY(LG_CALLOC(&resized, (size_t)from[0] * (size_t)dataset->shape[1] * (size_t)dataset->shape[2]));
        LG_TRY(lg_image_resize(resized, dataset->shape[1], dataset->shape[2], pixels, from[0], from[1], from[2]));
        from[1] = dataset->shape[1];
        from[2] = dataset->shape[2];
        pixels = resized;
    }
    lg_normalise(out, dataset->shape, &dataset->normaliser, pixels, from, augmentation);
done:
    lg_free(resized);
    lg_image_dispose(&image);
    return status;
}

/* The application's own sample; what it writes is checked as far as others rely on it. */
static lego_status call_reader(const lego_dataset *dataset, int64_t index, float *image, int64_t *label)
{
    const lego_dataset_reader *reader = &dataset->reader;
    int64_t written = -1;
    lego_status status = reader->read(index, image, &written, reader->payload);

    if (status != LEGO_OK)
        return lg_error(status, "data set '%s': sample %lld: %s", dataset->name, (long long)index,
                        lego_status_text(status));
    if (written < 0 || written >= dataset->source.n_classes)
        return lg_error(LEGO_EINVAL, "data set '%s': label %lld of sample %lld, allowed are 0 to %d", dataset->name,
                        (long long)written, (long long)index, dataset->source.n_classes - 1);
    if (label)
        *label = written;
    return LEGO_OK;
}

lego_status lg_dataset_fill(const lego_dataset *dataset, const int64_t *indices, int64_t n, int augment,
                            uint64_t epoch, float *images, int64_t *labels)
{
    size_t elements = (size_t)dataset->shape[0] * (size_t)dataset->shape[1] * (size_t)dataset->shape[2];
    lego_status status = LEGO_OK;

    for (int64_t i = 0; i < n; i++) {
        lg_augmentation augmentation = { 0, 0, 0 };

        if (indices[i] < 0 || indices[i] >= dataset->n)
            LG_FAIL(LEGO_EINVAL, "sample %lld is not in [0, %lld)", (long long)indices[i], (long long)dataset->n);
        if (!dataset->kind) {
            LG_TRY(call_reader(dataset, indices[i], images + (size_t)i * elements, labels ? labels + i : NULL));
            continue;
        }
        if (augment)
            augmentation = lg_augment_draw(dataset->seed, epoch, dataset->samples[indices[i]], dataset->kind->flip);
        LG_TRY(fill_sample(dataset, indices[i], &augmentation, images + (size_t)i * elements));
        if (labels)
            labels[i] = dataset->source.labels[indices[i]];
    }
done:
    return status;
}

lego_status lego_dataset_read(lego_dataset *dataset, const int64_t *indices, int64_t n, float *images,
                              int64_t *labels)
{
    if (!dataset || n < 0 || (n > 0 && (!indices || !images)))
        return lg_error(LEGO_EINVAL, "dataset, indices and images must not be NULL, n=%lld not negative",
                        (long long)n);
    return lg_dataset_fill(dataset, indices, n, 0, 0, images, labels);
}
