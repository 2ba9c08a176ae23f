/* Rows out of activations: im2col of sampled positions, their moments, activation-aware rounds.
 *
 * Flow: reconstruct_collect.c runs the block in every environment and leaves inputs and targets in an lg_rows;
 * moments feed elimination and the first fit, sharpening reads the rows again.
 *
 * Newcomers: im2col is done anew, for the kept channels only, on every pass: rows of 9 x C floats would take nine times
 * the memory of the activations they are cut from, and cutting costs little beside the products. Zero padding is part
 * of a row like any other value. */
#include "prune/reconstruct_rows.h"

#include <string.h>

#include "base/alloc.h"
#include "base/blas.h"
#include "base/rng.h"

#define CHUNK 1024 /* rows a product: see reconstruct_moments.c on float sums */

int64_t lg_window_area(const lg_window *window)
{
    return window->kernel[0] * window->kernel[1] * window->kernel[2];
}

int64_t lg_window_positions(const lg_window *window)
{
    return window->out[0] * window->out[1] * window->out[2];
}

int64_t lg_window_elements(const lg_window *window)
{
    return window->channels * window->in[0] * window->in[1] * window->in[2];
}

lego_status lg_sample_init(lg_sample *sample, const lg_window *window, int64_t n_outputs, int64_t n_images,
                           int64_t step, uint64_t seed)
{
    const int64_t positions = lg_window_positions(window), total = positions * n_images;
    lg_rng rng;
    lego_status status = LEGO_OK;

    memset(sample, 0, sizeof(*sample));
    sample->window = *window;
    sample->n_outputs = n_outputs;
    sample->n_images = n_images;
    sample->n_rows = (total + step - 1) / step;
    LG_TRY(LG_CALLOC(&sample->image, sample->n_rows));
    LG_TRY(LG_CALLOC(&sample->position, sample->n_rows));
    LG_TRY(LG_CALLOC(&sample->targets, sample->n_rows * n_outputs));
    lg_rng_init(&rng, seed, 0);
    for (int64_t i = 0; i < sample->n_rows; i++) {
        const int64_t left = total - i * step;
        const int64_t at = i * step + (int64_t)lg_rng_below(&rng, (uint64_t)(left < step ? left : step));

        sample->image[i] = (int32_t)(at / positions);
        sample->position[i] = (int32_t)(at % positions);
    }
done:
    if (status != LEGO_OK)
        lg_sample_dispose(sample);
    return status;
}

void lg_sample_dispose(lg_sample *sample)
{
    lg_free(sample->image);
    lg_free(sample->position);
    lg_free(sample->targets);
    memset(sample, 0, sizeof(*sample));
}

void lg_sample_pick(float *out, const lg_sample *sample, const float *activations, int64_t first_image,
                    int64_t n_images)
{
    const int64_t m = sample->n_outputs, positions = lg_window_positions(&sample->window);
    const int64_t step = sample->window.channels_last ? 1 : positions;

    for (int64_t i = 0; i < sample->n_rows; i++) {
        const int64_t image = sample->image[i] - first_image;
        const float *from = activations + image * m * positions;

        if (image < 0 || image >= n_images)
            continue;
        from += sample->window.channels_last ? sample->position[i] * m : sample->position[i];
        for (int64_t k = 0; k < m; k++)
            out[i * m + k] = from[k * step];
    }
}

lego_status lg_rows_init(lg_rows *rows, const lg_sample *sample, int32_t n_sources)
{
    lego_status status = LEGO_OK;

    memset(rows, 0, sizeof(*rows));
    rows->sample = sample;
    rows->n_sources = n_sources;
    LG_TRY(LG_CALLOC(&rows->inputs, n_sources));
    LG_TRY(LG_CALLOC(&rows->owned, n_sources));
    LG_TRY(LG_CALLOC(&rows->offsets, n_sources));
    LG_TRY(LG_CALLOC(&rows->weights, n_sources));
done:
    if (status != LEGO_OK)
        lg_rows_dispose(rows);
    return status;
}

void lg_rows_dispose(lg_rows *rows)
{
    for (int32_t s = 0; rows->owned && s < rows->n_sources; s++)
        lg_free(rows->owned[s]);
    for (int32_t s = 0; rows->offsets && s < rows->n_sources; s++)
        lg_free(rows->offsets[s]);
    lg_free(rows->inputs);
    lg_free(rows->owned);
    lg_free(rows->offsets);
    lg_free(rows->weights);
    memset(rows, 0, sizeof(*rows));
}

/* Where a tap of the kernel reads along one axis, for output position `at`; -1: outside, or between two elements. */
static inline int64_t tap(const lg_window *w, int axis, int64_t at, int64_t k)
{
    int64_t i;

    if (!w->is_transposed) {
        i = at * w->stride[axis] - w->pads[axis] + k * w->dilation[axis];
    } else {
        i = at + w->pads[axis] - k * w->dilation[axis];
        i = i % w->stride[axis] == 0 ? i / w->stride[axis] : -1;
    }
    return i >= 0 && i < w->in[axis] ? i : -1;
}

/* One channel of one row: the values of its plane that the kernel's taps read at an output position. */
static void cut(float *out, const lg_window *w, const float *plane, const int64_t *at)
{
    for (int64_t kz = 0; kz < w->kernel[0]; kz++) {
        const int64_t z = tap(w, 0, at[0], kz);

        for (int64_t ky = 0; ky < w->kernel[1]; ky++) {
            const int64_t y = tap(w, 1, at[1], ky);
            const float *line = z < 0 || y < 0 ? NULL : plane + (z * w->in[1] + y) * w->in[2];

            for (int64_t kx = 0; kx < w->kernel[2]; kx++) {
                const int64_t x = tap(w, 2, at[2], kx);

                *out++ = line && x >= 0 ? line[x] : 0.0f;
            }
        }
    }
}

void lg_rows_read(float *x, const lg_rows *rows, int32_t source, int64_t first, int64_t count, const lg_slice *slice)
{
    const lg_window *w = &rows->sample->window;
    const int64_t area = lg_window_area(w), elements = lg_window_elements(w), plane = elements / w->channels;

    for (int64_t i = first; i < first + count; i++) {
        const float *image = rows->inputs[source] + rows->sample->image[i] * elements;
        const int64_t position = rows->sample->position[i];

        if (w->channels_last) {
            for (int64_t c = 0; c < slice->n_channels; c++)
                *x++ = image[position * w->channels + slice->channels[c]];
        } else {
            const int64_t at[3] = { position / (w->out[1] * w->out[2]), position / w->out[2] % w->out[1],
                                    position % w->out[2] };

            for (int64_t c = 0; c < slice->n_channels; c++, x += area)
                cut(x, w, image + slice->channels[c] * plane, at);
        }
    }
}

/* t (count, n_outputs): the targets less what joins in this source. */
static void read_targets(float *t, const lg_rows *rows, int32_t source, int64_t first, int64_t count,
                         const lg_slice *slice)
{
    const float *offsets = rows->offsets[source];
    const int64_t stride = rows->sample->n_outputs;

    for (int64_t i = first; i < first + count; i++)
        for (int64_t k = slice->first_output; k < slice->first_output + slice->n_outputs; k++)
            *t++ = rows->sample->targets[i * stride + k] - (offsets ? offsets[i * stride + k] : 0.0f);
}

lego_status lg_rows_moments(lg_moments *moments, const lg_rows *rows, const lg_slice *slice)
{
    const int64_t n = slice->n_channels * lg_window_area(&rows->sample->window), m = slice->n_outputs;
    float *x = NULL, *t = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_moments_init(moments, n, m));
    LG_TRY(LG_CALLOC(&x, CHUNK * n));
    LG_TRY(LG_CALLOC(&t, CHUNK * m));
    for (int32_t s = 0; s < rows->n_sources; s++)
        for (int64_t first = 0; first < rows->sample->n_rows; first += CHUNK) {
            const int64_t count = rows->sample->n_rows - first < CHUNK ? rows->sample->n_rows - first : CHUNK;

            lg_rows_read(x, rows, s, first, count, slice);
            read_targets(t, rows, s, first, count, slice);
            lg_moments_add(moments, x, t, count, rows->weights[s]);
        }
    LG_TRY(lg_moments_finish(moments));
done:
    lg_free(x);
    lg_free(t);
    if (status != LEGO_OK)
        lg_moments_dispose(moments);
    return status;
}

lego_status lg_rows_pooled(double *xx, const lg_rows *rows, const lg_slice *slice, const int32_t *columns,
                           int64_t n_units, int64_t each)
{
    const int64_t n = slice->n_channels * lg_window_area(&rows->sample->window), chunk = CHUNK / 8;
    float *x = NULL, *units = NULL, *none = NULL;
    lg_moments moments = { 0 };
    lego_status status = LEGO_OK;

    LG_TRY(lg_moments_init(&moments, n_units, 1));
    LG_TRY(LG_CALLOC(&x, chunk * n));
    LG_TRY(LG_CALLOC(&units, chunk * n_units));
    LG_TRY(LG_CALLOC(&none, chunk));
    for (int32_t s = 0; s < rows->n_sources; s++)
        for (int64_t first = 0; first < rows->sample->n_rows; first += chunk) {
            const int64_t count = rows->sample->n_rows - first < chunk ? rows->sample->n_rows - first : chunk;

            lg_rows_read(x, rows, s, first, count, slice);
            for (int64_t p = 0; p < each; p++) {
                for (int64_t i = 0; i < count; i++)
                    for (int64_t u = 0; u < n_units; u++)
                        units[i * n_units + u] = x[i * n + columns[u * each + p]];
                lg_moments_add(&moments, units, none, count, rows->weights[s]);
            }
        }
    LG_TRY(lg_moments_finish(&moments));
    memcpy(xx, moments.xx, sizeof(*xx) * (size_t)(n_units * n_units));
done:
    lg_moments_dispose(&moments);
    lg_free(x);
    lg_free(units);
    lg_free(none);
    return status;
}

/* One pass over the rows with given weights: how far predictions are from what serves as well, and the covariances with
 * those moved targets. */
typedef struct pass {
    const lg_rows *rows;
    const lg_slice *slice;
    const lg_flat *flat;
    int64_t n, m;
    float *x, *prediction, *t; /* (CHUNK, n), (CHUNK, m), (CHUNK, m) */
    float *w, *product;        /* (n, m) */
    float *center, *bias;      /* n: taken off x; m: prediction where x is the center */
    double weight, error;
    double *xt, *sum_t, *sum_x; /* (n,m), m, n */
} pass;

static void pass_dispose(pass *p)
{
    lg_free(p->x);
    lg_free(p->prediction);
    lg_free(p->t);
    lg_free(p->w);
    lg_free(p->product);
    lg_free(p->center);
    lg_free(p->bias);
    lg_free(p->xt);
    lg_free(p->sum_t);
    lg_free(p->sum_x);
}

static lego_status pass_init(pass *p, const lg_rows *rows, const lg_slice *slice, const lg_flat *flat)
{
    lego_status status = LEGO_OK;

    memset(p, 0, sizeof(*p));
    p->rows = rows;
    p->slice = slice;
    p->flat = flat;
    p->n = slice->n_channels * lg_window_area(&rows->sample->window);
    p->m = slice->n_outputs;
    LG_TRY(LG_CALLOC(&p->x, CHUNK * p->n));
    LG_TRY(LG_CALLOC(&p->prediction, CHUNK * p->m));
    LG_TRY(LG_CALLOC(&p->t, CHUNK * p->m));
    LG_TRY(LG_CALLOC(&p->w, p->n * p->m));
    LG_TRY(LG_CALLOC(&p->center, p->n));
    LG_TRY(LG_CALLOC(&p->bias, p->m));
    LG_TRY(LG_CALLOC(&p->product, p->n * p->m));
    LG_TRY(LG_CALLOC(&p->xt, p->n * p->m));
    LG_TRY(LG_CALLOC(&p->sum_t, p->m));
    LG_TRY(LG_CALLOC(&p->sum_x, p->n));
done:
    return status;
}

/* Load weights; predictions are made of x - mean, so that float products keep their digits. */
static void pass_weights(pass *p, const double *w, const double *bias, const double *mean)
{
    for (int64_t i = 0; i < p->n; i++)
        p->center[i] = (float)mean[i];
    for (int64_t k = 0; k < p->m; k++) {
        double at_center = bias[k];

        for (int64_t i = 0; i < p->n; i++)
            at_center += (double)p->center[i] * w[i * p->m + k];
        p->bias[k] = (float)at_center;
    }
    for (int64_t i = 0; i < p->n * p->m; i++)
        p->w[i] = (float)w[i];
}

/* The nearest target that serves as well as `target`: anything on the same flat part of the activation does. */
static float serve(const lg_flat *flat, float target, float prediction)
{
    if (target <= (float)flat->low)
        return prediction < (float)flat->low ? prediction : (float)flat->low;
    if (target >= (float)flat->high)
        return prediction > (float)flat->high ? prediction : (float)flat->high;
    return target;
}

static void pass_chunk(pass *p, int32_t source, int64_t first, int64_t count)
{
    const int64_t n = p->n, m = p->m, stride = p->rows->sample->n_outputs;
    const float *offsets = p->rows->offsets[source];
    const double weight = p->rows->weights[source];

    lg_rows_read(p->x, p->rows, source, first, count, p->slice);
    for (int64_t i = 0; i < count; i++)
        for (int64_t j = 0; j < n; j++)
            p->x[i * n + j] -= p->center[j];
    lg_sgemm(0, 0, count, m, n, 1.0f, p->x, n, p->w, m, 0.0f, p->prediction, m);
    for (int64_t i = 0; i < count; i++)
        for (int64_t k = 0; k < m; k++) {
            const int64_t at = (first + i) * stride + p->slice->first_output + k;
            const float offset = offsets ? offsets[at] : 0.0f;
            const float prediction = p->prediction[i * m + k] + p->bias[k] + offset;
            const float target = serve(p->flat, p->rows->sample->targets[at], prediction);

            p->error += weight * (double)(target - prediction) * (double)(target - prediction);
            p->t[i * m + k] = target - offset - p->bias[k];
        }
    p->weight += weight * (double)count;
    lg_sgemm(1, 0, n, m, count, 1.0f, p->x, n, p->t, m, 0.0f, p->product, m);
    for (int64_t i = 0; i < n * m; i++)
        p->xt[i] += weight * p->product[i];
    for (int64_t i = 0; i < count; i++) {
        for (int64_t k = 0; k < m; k++)
            p->sum_t[k] += weight * p->t[i * m + k];
        for (int64_t j = 0; j < n; j++)
            p->sum_x[j] += weight * p->x[i * n + j];
    }
}

static void pass_run(pass *p)
{
    p->error = 0.0;
    p->weight = 0.0;
    memset(p->xt, 0, sizeof(*p->xt) * (size_t)(p->n * p->m));
    memset(p->sum_t, 0, sizeof(*p->sum_t) * (size_t)p->m);
    memset(p->sum_x, 0, sizeof(*p->sum_x) * (size_t)p->n);
    for (int32_t s = 0; s < p->rows->n_sources; s++)
        for (int64_t first = 0; first < p->rows->sample->n_rows; first += CHUNK)
            pass_chunk(p, s, first, p->rows->sample->n_rows - first < CHUNK ? p->rows->sample->n_rows - first : CHUNK);
    if (p->weight > 0.0)
        p->error /= p->weight;
}

/* The sums become a covariance and a mean. */
static void pass_finish(pass *p)
{
    for (int64_t k = 0; k < p->m; k++)
        p->sum_t[k] /= p->weight;
    for (int64_t i = 0; i < p->n; i++)
        for (int64_t k = 0; k < p->m; k++)
            p->xt[i * p->m + k] = p->xt[i * p->m + k] / p->weight - p->sum_x[i] / p->weight * p->sum_t[k];
    for (int64_t k = 0; k < p->m; k++)
        p->sum_t[k] += p->bias[k];
}

static double ridge_term(const lg_fit *fit)
{
    double sum = 0.0;

    for (int64_t i = 0; i < fit->n * fit->m; i++)
        sum += (fit->w[i] - fit->w0[i]) * (fit->w[i] - fit->w0[i]);
    return fit->ridge * sum;
}

lego_status lg_rows_sharpen(lg_fit *fit, double *objective, const lg_rows *rows, const lg_slice *slice,
                            const lg_flat *flat, int32_t n_rounds)
{
    pass p = { 0 };
    lego_status status = LEGO_OK;

    LG_TRY(pass_init(&p, rows, slice, flat));
    for (int32_t round = 0; round < n_rounds; round++) {
        pass_weights(&p, fit->w, fit->bias, fit->mean);
        pass_run(&p);
        if (objective)
            objective[round] = p.error + ridge_term(fit);
        pass_finish(&p);
        lg_fit_solve(fit, p.xt, p.sum_t);
    }
    if (objective) {
        pass_weights(&p, fit->w, fit->bias, fit->mean);
        pass_run(&p);
        objective[n_rounds] = p.error + ridge_term(fit);
    }
done:
    pass_dispose(&p);
    return status;
}
