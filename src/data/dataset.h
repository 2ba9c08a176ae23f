/* The data set's inside: a source, the samples of the wanted split, and how a sample becomes numbers. */
#ifndef LG_DATA_DATASET_H
#define LG_DATA_DATASET_H

#include "data/source.h"

/* Pixel value -> normalised float, by output channel. */
typedef struct lg_normaliser {
    float table[3][256];
} lg_normaliser;

struct lego_dataset {
    lego_context *context;
    char *name;
    const lg_data_kind *kind;   /* NULL: the application's own, read by `reader` */
    lego_dataset_reader reader;
    lg_source source;
    lego_split split;
    int64_t n;         /* samples of the split: row i of the source is sample i */
    int64_t *samples;  /* n: which sample of the files it is; the name of its augmentation */
    int32_t shape[3];  /* channels, height, width delivered */
    int augment;
    uint64_t seed;
    lg_normaliser normaliser;
};

/* How one sample is moved: the image lands `dy`, `dx` further down and right, mirrored or not. */
typedef struct lg_augmentation {
    int32_t dy, dx;
    int flip;
} lg_augmentation;

/* --- split.c --- */
/* The samples of `split`, in the fixed class-balanced order, at most `limit` of them; free with lg_free. */
lego_status lg_split_samples(int64_t **out, int64_t *n, const lg_source *source, lego_split split, double val_share,
                             uint64_t split_seed, int64_t limit);

/* --- normalise.c --- */
void lg_normaliser_init(lg_normaliser *out, const lg_data_kind *kind, int32_t channels);
/* pixels (c0,h0,w0) -> out (C,H,W): centred, black around, grey repeated or colours mixed to grey. */
void lg_normalise(float *out, const int32_t shape[3], const lg_normaliser *normaliser, const uint8_t *pixels,
                  const int32_t from[3], const lg_augmentation *augmentation);

/* --- augment.c --- */
/* Depends on nothing but its arguments: not on batches, threads or the order of reading. */
lg_augmentation lg_augment_draw(uint64_t seed, uint64_t epoch, int64_t sample, int flip);

/* Samples indices[0..n) as numbers; augmented for `epoch` if the data set is. Thread-safe. `labels` may be NULL. */
lego_status lg_dataset_fill(const lego_dataset *dataset, const int64_t *indices, int64_t n, int augment,
                            uint64_t epoch, float *images, int64_t *labels);

#endif
