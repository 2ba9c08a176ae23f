/* plain_windows.c: ops on rows and columns, a channel at a time: pools, padding, resizing.
 *
 * In any layout an image is a number of planes of pixels, each of `lanes` values that are treated alike (lg_planes), so
 * one kernel serves all layouts and its innermost loop runs over the lanes.
 *
 * What newcomers get wrong: average pooling divides by the window clipped to the *padded* image when padding counts
 * (as torch does), so a window that ceil_mode pushes beyond the padding is smaller than the kernel. */
#include <math.h>
#include <string.h>

#include "engine/plain.h"

/* The pixels of a window: rows top, top + step[0] .. below bottom, columns alike. */
typedef struct window {
    int64_t top, left, bottom, right, step[2];
} window;

static void max_window(float *y, const float *plane, const lg_planes *in, const window *w)
{
    for (int64_t l = 0; l < in->lanes; l++)
        y[l] = -INFINITY;
    for (int64_t h = w->top; h < w->bottom; h += w->step[0])
        for (int64_t v = w->left; v < w->right; v += w->step[1]) {
            const float *x = plane + (h * in->width + v) * in->lanes;
            for (int64_t l = 0; l < in->lanes; l++)
                y[l] = x[l] > y[l] || isnan(x[l]) ? x[l] : y[l];
        }
}

static void mean_window(float *y, const float *plane, const lg_planes *in, const window *w, int64_t count, double *sums)
{
    memset(sums, 0, (size_t)in->lanes * sizeof(*sums));
    for (int64_t h = w->top; h < w->bottom; h += w->step[0])
        for (int64_t v = w->left; v < w->right; v += w->step[1]) {
            const float *x = plane + (h * in->width + v) * in->lanes;
            for (int64_t l = 0; l < in->lanes; l++)
                sums[l] += x[l];
        }
    for (int64_t l = 0; l < in->lanes; l++)
        y[l] = count > 0 ? (float)(sums[l] / (double)count) : 0.0f;
}

/* What of a sliding window at output row p (or column: axis 1) lies inside, from *first on; returns how many rows count
 * for the mean. */
static int64_t clip_window(int64_t *first, int64_t *end, const lg_pool_attrs *pool, int axis, int64_t p, int64_t extent)
{
    const int64_t start = p * pool->stride[axis] - pool->pads[axis], step = pool->dilation[axis];
    const int64_t stop = start + (pool->kernel[axis] - 1) * step + 1, padded = extent + pool->pads[2 + axis];
    int64_t n_inside;

    *first = start < 0 ? start + (-start + step - 1) / step * step : start;
    *end = stop < extent ? stop : extent;
    n_inside = *end > *first ? (*end - *first + step - 1) / step : 0;
    if (!pool->count_include_pad)
        return n_inside;
    return ((stop < padded ? stop : padded) - start + step - 1) / step;
}

/* Rows and columns that output pixel (p,q) looks at; returns how many pixels count for a mean. */
typedef int64_t (*window_at)(window *w, const lg_step *step, const lg_planes *in, const lg_planes *out, int64_t p,
                             int64_t q);

static int64_t sliding_window(window *w, const lg_step *step, const lg_planes *in, const lg_planes *out, int64_t p,
                              int64_t q)
{
    const lg_pool_attrs *pool = &step->attrs.pool;
    int64_t rows, columns;

    (void)out;
    rows = clip_window(&w->top, &w->bottom, pool, 0, p, in->height);
    columns = clip_window(&w->left, &w->right, pool, 1, q, in->width);
    w->step[0] = pool->dilation[0];
    w->step[1] = pool->dilation[1];
    return rows * columns;
}

/* Window p of P over H: [floor(p*H/P), ceil((p+1)*H/P)), as torch cuts it. */
static int64_t adaptive_window(window *w, const lg_step *step, const lg_planes *in, const lg_planes *out, int64_t p,
                               int64_t q)
{
    (void)step;
    w->top = p * in->height / out->height;
    w->bottom = ((p + 1) * in->height + out->height - 1) / out->height;
    w->left = q * in->width / out->width;
    w->right = ((q + 1) * in->width + out->width - 1) / out->width;
    w->step[0] = w->step[1] = 1;
    return (w->bottom - w->top) * (w->right - w->left);
}

static void reduce_windows(const lg_plain_call *call, window_at at, int largest)
{
    const lg_step *step = call->step;
    const lg_planes in = lg_planes_of(&call->program->cells[step->inputs[0]], call->in, call->block);
    const lg_planes out = lg_planes_of(&call->program->cells[step->output], call->out, call->block);
    float *y = call->y;

    for (int64_t n = 0; n < out.n; n++)
        for (int64_t p = 0; p < out.height; p++)
            for (int64_t q = 0; q < out.width; q++, y += out.lanes) {
                const float *plane = call->inputs[0] + n * in.height * in.width * in.lanes;
                window w;
                const int64_t count = at(&w, step, &in, &out, p, q);
                if (largest)
                    max_window(y, plane, &in, &w);
                else
                    mean_window(y, plane, &in, &w, count, call->scratch);
            }
}

void lg_plain_pool(const lg_plain_call *call)
{
    reduce_windows(call, sliding_window, call->step->kind == LG_STEP_MAX_POOL);
}

void lg_plain_adaptive(const lg_plain_call *call)
{
    reduce_windows(call, adaptive_window, call->step->kind == LG_STEP_ADAPTIVE_MAX_POOL);
}

static float *fill(float *y, int64_t n, float value)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = value;
    return y + n;
}

void lg_plain_pad(const lg_plain_call *call)
{
    const int64_t *pads = call->step->attrs.pad.pads;
    const float value = (float)call->step->attrs.pad.value;
    const lg_planes in = lg_planes_of(&call->program->cells[call->step->inputs[0]], call->in, call->block);
    const lg_planes out = lg_planes_of(&call->program->cells[call->step->output], call->out, call->block);
    const int64_t row = in.width * in.lanes;
    const float *x = call->inputs[0];
    float *y = call->y;

    for (int64_t n = 0; n < out.n; n++) {
        y = fill(y, pads[0] * out.width * out.lanes, value);
        for (int64_t h = 0; h < in.height; h++, x += row) {
            y = fill(y, pads[1] * out.lanes, value);
            memcpy(y, x, (size_t)row * sizeof(*y));
            y = fill(y + row, pads[3] * out.lanes, value);
        }
        y = fill(y, pads[2] * out.width * out.lanes, value);
    }
}

/* Where output row p of P looks in H rows: between `low` and `high`, `share` of the way. */
typedef struct between {
    int64_t low, high;
    double share;
} between;

static between look(const lg_step *step, int64_t p, int64_t extent, int64_t n)
{
    between b = { p * extent / n, p * extent / n, 0.0 }; /* the nearest */
    double where;

    if (step->attrs.upsample.mode == LG_UPSAMPLE_NEAREST)
        return b;
    if (step->attrs.upsample.align_corners)
        where = n > 1 ? (double)p * (double)(extent - 1) / (double)(n - 1) : 0.0;
    else
        where = fmax(((double)p + 0.5) * (double)extent / (double)n - 0.5, 0.0);
    b.low = (int64_t)where < extent ? (int64_t)where : extent - 1;
    b.high = b.low + 1 < extent ? b.low + 1 : b.low;
    b.share = where - (double)b.low;
    return b;
}

void lg_plain_upsample(const lg_plain_call *call)
{
    const lg_step *step = call->step;
    const lg_planes in = lg_planes_of(&call->program->cells[step->inputs[0]], call->in, call->block);
    const lg_planes out = lg_planes_of(&call->program->cells[step->output], call->out, call->block);
    const int64_t row = in.width * in.lanes;
    float *y = call->y;

    for (int64_t n = 0; n < out.n; n++)
        for (int64_t p = 0; p < out.height; p++) {
            const between v = look(step, p, in.height, out.height);
            const float *top = call->inputs[0] + (n * in.height + v.low) * row;
            const float *bottom = call->inputs[0] + (n * in.height + v.high) * row;
            for (int64_t q = 0; q < out.width; q++, y += out.lanes) {
                const between h = look(step, q, in.width, out.width);
                const int64_t left = h.low * in.lanes, right = h.high * in.lanes;
                if (step->attrs.upsample.mode == LG_UPSAMPLE_NEAREST) {
                    memcpy(y, top + left, (size_t)out.lanes * sizeof(*y));
                    continue;
                }
                for (int64_t l = 0; l < out.lanes; l++)
                    y[l] = (float)((1.0 - v.share) * ((1.0 - h.share) * top[left + l] + h.share * top[right + l]) +
                                   v.share * ((1.0 - h.share) * bottom[left + l] + h.share * bottom[right + l]));
            }
        }
}
