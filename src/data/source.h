/* What a reader makes of files: labels and pixels of one part of a data set, before splits, sizes and normalisation.
 *
 * A reader is one file (idx.c, cifar.c, imagefolder.c) with one open function. It checks everything that it reads;
 * afterwards a source is constant, so that several threads may read samples from it. */
#ifndef LG_DATA_SOURCE_H
#define LG_DATA_SOURCE_H

#include "base/context.h"
#include "legodnn/data.h"

/* How the wanted split lies in the samples that the reader found. */
typedef enum lg_cut {
    LG_CUT_NONE,     /* the files are the split */
    LG_CUT_VAL,      /* training files: validation is cut from them */
    LG_CUT_VAL_TEST  /* one heap: validation and test are cut from it */
} lg_cut;

typedef struct lg_source {
    int64_t n;
    int32_t shape[3];  /* channels, height, width of `pixels` */
    int32_t n_classes;
    int32_t *labels;   /* n */
    uint8_t *pixels;   /* n * shape, channel-major; NULL: decoded from `files` */
    char **files;      /* n paths; NULL: in `pixels` */
    lg_cut cut;
} lg_source;

typedef struct lg_data_kind lg_data_kind;

/* Fill a zeroed source with the samples that `split` is cut from. On failure the caller disposes of it. */
typedef lego_status (*lg_reader)(lg_source *out, const lg_data_kind *kind, const char *folder, lego_split split);

/* A data set by name. */
struct lg_data_kind {
    const char *name;
    lg_reader open;
    int32_t n_classes;      /* 0: the files say */
    int32_t n_channels;     /* entries of mean and deviation */
    float mean[3], std[3];  /* of pixels scaled to [0, 1], over the training images */
    int32_t input[3];       /* default size where images have sizes of their own */
    int flip;               /* mirrored images are of the same class */
    const char *package;    /* Debian package with the files, or NULL */
    const char *files;      /* what a folder must hold */
    const char *subfolder;  /* where the usual archive unpacks to, or NULL */
};

lego_status lg_idx_open(lg_source *out, const lg_data_kind *kind, const char *folder, lego_split split);
lego_status lg_cifar10_open(lg_source *out, const lg_data_kind *kind, const char *folder, lego_split split);
lego_status lg_cifar100_open(lg_source *out, const lg_data_kind *kind, const char *folder, lego_split split);
lego_status lg_imagefolder_open(lg_source *out, const lg_data_kind *kind, const char *folder, lego_split split);
void lg_source_dispose(lg_source *source);

const lg_data_kind *lg_data_kind_find(const char *name, size_t length); /* NULL if unknown */
/* Names of all data sets, comma-separated; free with lg_free. */
lego_status lg_data_kind_names(char **out);
/* LEGO_ENOTFOUND: `what` is missing in `folder`, and what to install or pass. */
lego_status lg_data_missing(const lg_data_kind *kind, const char *folder, const char *what);

#endif
