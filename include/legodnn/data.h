/** @file data.h  Data sets in their real on-disk formats, and the batches made of them. */
#ifndef LEGODNN_DATA_H
#define LEGODNN_DATA_H

#include "legodnn/context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lego_dataset lego_dataset;

typedef enum lego_split { LEGO_SPLIT_TRAIN = 0, LEGO_SPLIT_VAL = 1, LEGO_SPLIT_TEST = 2 } lego_split;

typedef struct lego_dataset_options {
    size_t struct_size;
    lego_split split;
    int32_t augment;     /**< non-zero: random crop (padding 4) and horizontal flip (not for digits); for training */
    int64_t limit;       /**< at most this many samples, class-balanced; a smaller limit is a part of a larger; 0 = all */
    int32_t input[3];    /**< channels (1 or 3), height, width wanted; 0 = as the data set has it (imagefolder: 224).
                              Up to a quarter more is padded with black, anything else scaled to cover and cropped. */
    int32_t reserved;
    double val_share;    /**< share of the training data cut off as validation split; 0 = 0.1 */
    uint64_t split_seed; /**< which cut; apart from the context's seed, so that training with another seed never
                              sees validation samples */
} lego_dataset_options;
#define LEGO_DATASET_OPTIONS_INIT { sizeof(lego_dataset_options), LEGO_SPLIT_TRAIN, 0, 0, { 0, 0, 0 }, 0, 0.0, 0 }

/**
 * Open a data set. Files are untrusted: sizes, labels and counts are checked, the message names the file.
 *
 * The validation split is cut from the training files (imagefolder: is val/ where that exists); the order of samples is
 * fixed and class-balanced. Augmentation and shuffling follow the context's seed as it is now.
 * @param out      free with lego_dataset_free()
 * @param context  borrowed for the life of the data set
 * @param spec     NAME[:FOLDER]: fashion-mnist, mnist, cifar10, cifar100, imagefolder. Without a folder, NAME is looked
 *                 for in $LEGODNN_DATA and in the system's /usr/share/datasets (Debian's dataset-fashion-mnist).
 * @return LEGO_ENOTFOUND with what to install or pass if the files are missing, LEGO_EFORMAT if they are damaged
 */
LEGO_API lego_status lego_dataset_open(lego_dataset **out, lego_context *context, const char *spec,
                                       const lego_dataset_options *options);
LEGO_API void lego_dataset_free(lego_dataset *dataset);

/** Samples that the application makes itself: the fields of lego_dataset_create(). */
typedef struct lego_dataset_reader {
    size_t struct_size;
    const char *name;   /**< for messages and profiles; copied */
    int64_t n_samples;
    int32_t n_classes;
    int32_t shape[3];   /**< channels, height, width: as the model wants them */
    lego_split split;   /**< what the samples are */
    int32_t reserved;
    /**
     * Write sample `index`: the image, normalised, and its class. May be called from several threads at once: those that
     * prepare batches, and callers of lego_dataset_read(). Anything but LEGO_OK ends the reading.
     */
    lego_status (*read)(int64_t index, float *image, int64_t *label, void *payload);
    void *payload;
} lego_dataset_reader;
#define LEGO_DATASET_READER_INIT { sizeof(lego_dataset_reader), NULL, 0, 0, { 0, 0, 0 }, LEGO_SPLIT_TRAIN, 0, NULL, NULL }

/**
 * A data set of the application's own.
 * @param out     free with lego_dataset_free()
 * @param reader  copied; its payload must outlive the data set
 */
LEGO_API lego_status lego_dataset_create(lego_dataset **out, lego_context *context,
                                         const lego_dataset_reader *reader);
/** The data set's name, e.g. "fashion-mnist". */
LEGO_API const char *lego_dataset_name(const lego_dataset *dataset);
LEGO_API lego_split lego_dataset_split(const lego_dataset *dataset);
LEGO_API int64_t lego_dataset_n_samples(const lego_dataset *dataset);
LEGO_API int32_t lego_dataset_n_classes(const lego_dataset *dataset);
/** Channels, height, width of a sample. */
LEGO_API void lego_dataset_sample_shape(const lego_dataset *dataset, int32_t shape[3]);

/** "train", "val", "test"; NULL for anything else. */
LEGO_API const char *lego_split_name(lego_split split);
/** The split of a name. @return LEGO_EINVAL with the allowed names */
LEGO_API lego_status lego_split_parse(lego_split *out, const char *name);

/**
 * Read samples by index, normalised, without augmentation. Several threads may read one data set.
 * @param images  n * C*H*W floats, row-major (N,C,H,W)
 * @param labels  n class indices, or NULL
 */
LEGO_API lego_status lego_dataset_read(lego_dataset *dataset, const int64_t *indices, int64_t n, float *images,
                                       int64_t *labels);

/** An epoch's batches, prepared ahead by a thread of its own. */
typedef struct lego_batches lego_batches;

/**
 * Start an epoch. What comes out depends on the context's seed, `epoch` and the options only, never on timing.
 * @param shuffle    non-zero: an order drawn from the context's seed and `epoch`
 * @param drop_last  non-zero: leave out a last, smaller batch
 * @param out        free with lego_batches_free(); `dataset` must outlive it
 */
LEGO_API lego_status lego_batches_create(lego_batches **out, lego_dataset *dataset, int32_t batch, int shuffle,
                                         int drop_last, uint64_t epoch);
LEGO_API void lego_batches_free(lego_batches *batches);
LEGO_API int64_t lego_batches_count(const lego_batches *batches);
/**
 * The next batch. Borrowed pointers, valid until the next call.
 * @param n  samples in it; 0 at the end of the epoch
 */
LEGO_API lego_status lego_batches_next(lego_batches *batches, int64_t *n, const float **images,
                                       const int64_t **labels);

#ifdef __cplusplus
}
#endif
#endif
