/* The rows that a layer's statistics are made of, cut out of activations; plain arrays, no graphs.
 *
 * A row is one output position of one image in one *source*. Sources are the environments in which the layer works
 * (DESIGN.md section 6): each has its own inputs, all have the same images, positions and targets, because the target
 * is what the original makes of the original's input whatever the environment. */
#ifndef LG_PRUNE_RECONSTRUCT_ROWS_H
#define LG_PRUNE_RECONSTRUCT_ROWS_H

#include "prune/reconstruct_math.h"

/* How an output position sees the input: three spatial axes, those that a layer does not have in front, with extents of 1.
 * A linear layer is a window of one element over its positions. */
typedef struct lg_window {
    int64_t channels;           /* of the input: (N,C,positions), or (N,positions,C) if `channels_last` */
    int32_t channels_last;
    int32_t is_transposed;      /* position p reads the input at (p + pad - tap * dilation) / stride, where that is whole */
    int64_t in[3], out[3];      /* extents of input and output */
    int64_t kernel[3], stride[3], dilation[3], pads[3]; /* pads: those in front */
} lg_window;

/* Which positions of which images, and what the original gives there: the same for every environment and variant. */
typedef struct lg_sample {
    lg_window window;
    int64_t n_outputs;  /* channels of the output */
    int64_t n_images, n_rows;
    int32_t *image;     /* n_rows */
    int32_t *position;  /* n_rows: row-major in the output's extents */
    float *targets;     /* (n_rows, n_outputs): output plus what joins it, as the original has it */
} lg_sample;

typedef struct lg_rows {
    const lg_sample *sample; /* borrowed */
    int32_t n_sources;
    const float **inputs;    /* [n_sources]: what the layer reads, n_images of it */
    float **owned;           /* [n_sources]: storage of those inputs that belong to the rows */
    float **offsets;         /* [n_sources]: (n_rows, n_outputs) that joins the output, or NULL: nothing does */
    double *weights;         /* [n_sources] */
} lg_rows;

/* A slice of the layer that is solved by itself: all of a plain layer, one group of a grouped convolution. Columns are
 * channel-major: channels[c] at kernel position p is column c * area + p. */
typedef struct lg_slice {
    const int32_t *channels; /* ascending input channels */
    int64_t n_channels;
    int64_t first_output, n_outputs;
} lg_slice;

/* Draw the rows: one position in every run of `step` (at random within it, so that no column of the image is
 * preferred), for images 0 .. n_images-1. Targets are left zero. */
lego_status lg_sample_init(lg_sample *sample, const lg_window *window, int64_t n_outputs, int64_t n_images,
                           int64_t step, uint64_t seed);
void lg_sample_dispose(lg_sample *sample);
/* Copy rows out of activations (n_images, n_outputs, positions) or, channels last, (n_images, positions,
 * n_outputs): the form of targets and offsets. Rows of images outside first_image .. + n_images are left alone. */
void lg_sample_pick(float *out, const lg_sample *sample, const float *activations, int64_t first_image,
                    int64_t n_images);

/* n sources without inputs, offsets and weights, which the caller fills in. */
lego_status lg_rows_init(lg_rows *rows, const lg_sample *sample, int32_t n_sources);
void lg_rows_dispose(lg_rows *rows);

int64_t lg_window_area(const lg_window *window);      /* of the kernel */
int64_t lg_window_positions(const lg_window *window); /* of the output */
/* Elements of one image's input. */
int64_t lg_window_elements(const lg_window *window);

/* x (count, n_channels * area): rows first .. first+count-1 of a source. */
void lg_rows_read(float *x, const lg_rows *rows, int32_t source, int64_t first, int64_t count, const lg_slice *slice);
/* Moments of a slice over all sources. */
lego_status lg_rows_moments(lg_moments *moments, const lg_rows *rows, const lg_slice *slice);

/* Covariance xx (n_units, n_units) of units whose `each` columns are taken for samples of one column:
 * columns[u * each + p] is column p of unit u in the slice. */
lego_status lg_rows_pooled(double *xx, const lg_rows *rows, const lg_slice *slice, const int32_t *columns,
                           int64_t n_units, int64_t each);

/* The activation behind the layer is constant below `low` and above `high` (ReLU: 0, infinity; ReLU6: 0, 6). */
typedef struct lg_flat {
    double low, high;
} lg_flat;

/**
 * Activation-aware rounds: where the original's output lies in a flat part of the activation, any prediction there is
 * as good, so the target moves to the prediction, clipped to the flat part; solve again. Alternating minimisation of
 *   sum_rows dist(prediction, what serves as well)^2 + ridge |W - W0|^2, which never rises.
 *
 * @param slice      the kept channels, in the order of fit's columns
 * @param objective  n_rounds + 1 values, before each round and after the last; NULL if not wanted
 */
lego_status lg_rows_sharpen(lg_fit *fit, double *objective, const lg_rows *rows, const lg_slice *slice,
                            const lg_flat *flat, int32_t n_rounds);

#endif
