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
    float *y = call->y + call->first * out.width * out.lanes;

    for (int64_t row = call->first; row < call->end; row++) {
        const float *plane = call->inputs[0] + row / out.height * in.height * in.width * in.lanes;
        for (int64_t q = 0; q < out.width; q++, y += out.lanes) {
            window w;
            const int64_t count = at(&w, step, &in, &out, row % out.height, q);
            if (largest)
                max_window(y, plane, &in, &w);
            else
                mean_window(y, plane, &in, &w, count, call->scratch);
        }
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
    float *y = call->y + call->first * out.width * out.lanes;

    for (int64_t row = call->first; row < call->end; row++) {
        const int64_t h = row % out.height - pads[0];
        if (h < 0 || h >= in.height) {
            y = fill(y, out.width * out.lanes, value);
            continue;
        }
        y = fill(y, pads[1] * out.lanes, value);
        memcpy(y, call->inputs[0] + (row / out.height * in.height + h) * in.width * in.lanes,
               (size_t)(in.width * in.lanes) * sizeof(*y));
        y = fill(y + in.width * in.lanes, pads[3] * out.lanes, value);
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

/* An input row as wide as the output's, between whose pixels it looks. */
static void stretch_row(double *restrict to, const float *restrict from, const between *columns, int64_t n,
                        int64_t n_lanes)
{
    for (int64_t q = 0; n_lanes == 1 && q < n; q++)
        to[q] = (1.0 - columns[q].share) * from[columns[q].low] + columns[q].share * from[columns[q].high];
    for (int64_t q = 0; n_lanes > 1 && q < n; q++) {
        const float *left = from + columns[q].low * n_lanes, *right = from + columns[q].high * n_lanes;
        for (int64_t l = 0; l < n_lanes; l++)
            to[q * n_lanes + l] = (1.0 - columns[q].share) * left[l] + columns[q].share * right[l];
    }
}

static void blend_rows(float *restrict y, const double *top, const double *bottom, double share, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = (float)((1.0 - share) * top[i] + share * bottom[i]);
}

static void nearest_row(float *restrict y, const float *restrict x, const between *columns, int64_t n, int64_t n_lanes)
{
    for (int64_t q = 0; n_lanes == 1 && q < n; q++)
        y[q] = x[columns[q].low];
    for (int64_t q = 0; n_lanes > 1 && q < n; q++)
        memcpy(y + q * n_lanes, x + columns[q].low * n_lanes, (size_t)n_lanes * sizeof(*y));
}

/* Several output rows look between the same two input rows: these are stretched once and kept, one with an even and one
 * with an odd number. Scratch memory: the columns, and the two rows. */
void lg_plain_upsample(const lg_plain_call *call)
{
    const lg_step *step = call->step;
    const lg_planes in = lg_planes_of(&call->program->cells[step->inputs[0]], call->in, call->block);
    const lg_planes out = lg_planes_of(&call->program->cells[step->output], call->out, call->block);
    const int64_t n = out.width * out.lanes;
    between *columns = call->scratch;
    double *rows[2] = { (double *)(void *)(columns + out.width), (double *)(void *)(columns + out.width) + n };
    int64_t held[2] = { -1, -1 };

    for (int64_t q = 0; q < out.width; q++)
        columns[q] = look(step, q, in.width, out.width);
    for (int64_t row = call->first; row < call->end; row++) {
        const between v = look(step, row % out.height, in.height, out.height);
        const float *plane = call->inputs[0] + row / out.height * in.height * in.width * in.lanes;
        const int64_t needed[2] = { v.low, v.high };
        if (step->attrs.upsample.mode == LG_UPSAMPLE_NEAREST) {
            nearest_row(call->y + row * n, plane + v.low * in.width * in.lanes, columns, out.width, out.lanes);
            continue;
        }
        for (int k = 0; k < 2; k++) {
            const int64_t parity = needed[k] % 2, which = row / out.height * in.height + needed[k];
            if (held[parity] != which)
                stretch_row(rows[parity], plane + needed[k] * in.width * in.lanes, columns, out.width, out.lanes);
            held[parity] = which;
        }
        blend_rows(call->y + row * n, rows[v.low % 2], rows[v.high % 2], v.share, n);
    }
}
