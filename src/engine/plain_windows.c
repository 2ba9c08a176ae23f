/* plain_windows.c: ops on the spatial axes, a channel at a time: pools, padding, resizing. An image's depth is 1.
 *
 * In any layout an image is a number of planes of pixels, each of `lanes` values that are treated alike (lg_planes), so
 * one kernel serves all layouts and its innermost loop runs over the lanes.
 *
 * What newcomers get wrong: average pooling divides by the window clipped to the *padded* image when padding counts
 * (as torch does), so a window that ceil_mode pushes beyond the padding is smaller than the kernel. */
#include <math.h>
#include <string.h>

#include "engine/plain_kernels.h"

/* The pixels of a window: along each axis first, first + step .. below end. */
typedef struct window {
    int64_t first[LG_MAX_AXES], end[LG_MAX_AXES], step[LG_MAX_AXES];
} window;

/* Row (d,h) of the pixels that `plane` starts. */
static const float *row_at(const float *plane, const lg_planes *in, int64_t d, int64_t h)
{
    return plane + (d * in->extents[1] + h) * in->extents[2] * in->lanes;
}

static void max_window(float *y, const float *plane, const lg_planes *in, const window *w)
{
    for (int64_t l = 0; l < in->lanes; l++)
        y[l] = -INFINITY;
    for (int64_t d = w->first[0]; d < w->end[0]; d += w->step[0])
        for (int64_t h = w->first[1]; h < w->end[1]; h += w->step[1])
            for (int64_t v = w->first[2]; v < w->end[2]; v += w->step[2]) {
                const float *x = row_at(plane, in, d, h) + v * in->lanes;
                for (int64_t l = 0; l < in->lanes; l++)
                    y[l] = x[l] > y[l] || isnan(x[l]) ? x[l] : y[l];
            }
}

static void mean_window(float *y, const float *plane, const lg_planes *in, const window *w, int64_t count, double *sums)
{
    memset(sums, 0, (size_t)in->lanes * sizeof(*sums));
    for (int64_t d = w->first[0]; d < w->end[0]; d += w->step[0])
        for (int64_t h = w->first[1]; h < w->end[1]; h += w->step[1])
            for (int64_t v = w->first[2]; v < w->end[2]; v += w->step[2]) {
                const float *x = row_at(plane, in, d, h) + v * in->lanes;
                for (int64_t l = 0; l < in->lanes; l++)
                    sums[l] += x[l];
            }
    for (int64_t l = 0; l < in->lanes; l++)
        y[l] = count > 0 ? (float)(sums[l] / (double)count) : 0.0f;
}

/* What of a sliding window at place p along an axis lies inside; returns how many places count for the mean. */
static int64_t clip_window(window *w, const lg_sliding *s, int include_pad, int axis, int64_t p, int64_t extent)
{
    const int64_t start = p * s->stride[axis] - s->before[axis], step = s->dilation[axis];
    const int64_t stop = start + (s->kernel[axis] - 1) * step + 1, padded = extent + s->after[axis];

    w->first[axis] = start < 0 ? start + (-start + step - 1) / step * step : start;
    w->end[axis] = stop < extent ? stop : extent;
    w->step[axis] = step;
    if (!include_pad)
        return w->end[axis] > w->first[axis] ? (w->end[axis] - w->first[axis] + step - 1) / step : 0;
    return ((stop < padded ? stop : padded) - start + step - 1) / step;
}

/* Place p of P over H: [floor(p*H/P), ceil((p+1)*H/P)), as torch cuts it. */
static int64_t adaptive_window(window *w, int axis, int64_t p, int64_t n, int64_t extent)
{
    w->first[axis] = p * extent / n;
    w->end[axis] = ((p + 1) * extent + n - 1) / n;
    w->step[axis] = 1;
    return w->end[axis] - w->first[axis];
}

/* Rows of output pixels; `adaptive`: windows that divide the input instead of sliding. */
static void reduce_windows(const lg_plain_call *call, int adaptive, int largest)
{
    const lg_step *step = call->step;
    const lg_planes in = lg_planes_of(&call->program->cells[step->inputs[0]], call->in, call->block);
    const lg_planes out = lg_planes_of(&call->program->cells[step->output], call->out, call->block);
    const int64_t rows = out.extents[0] * out.extents[1];
    const lg_sliding slide = lg_step_sliding(call->program, step);
    float *y = call->y + call->first * out.extents[2] * out.lanes;

    for (int64_t row = call->first; row < call->end; row++) {
        const float *plane = call->inputs[0] + row / rows * lg_planes_pixels(&in) * in.lanes;
        int64_t at[LG_MAX_AXES] = { row % rows / out.extents[1], row % out.extents[1], 0 };
        for (; at[2] < out.extents[2]; at[2]++, y += out.lanes) {
            int64_t count = 1;
            window w;
            for (int i = 0; i < LG_MAX_AXES; i++)
                count *= adaptive ? adaptive_window(&w, i, at[i], out.extents[i], in.extents[i])
                                  : clip_window(&w, &slide, step->attrs.pool.count_include_pad, i, at[i],
                                                in.extents[i]);
            if (largest)
                max_window(y, plane, &in, &w);
            else
                mean_window(y, plane, &in, &w, count, call->scratch);
        }
    }
}

void LG_PLAIN(pool)(const lg_plain_call *call)
{
    reduce_windows(call, 0, call->step->kind == LG_STEP_MAX_POOL);
}

void LG_PLAIN(adaptive)(const lg_plain_call *call)
{
    reduce_windows(call, 1, call->step->kind == LG_STEP_ADAPTIVE_MAX_POOL);
}

static float *fill(float *y, int64_t n, float value)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = value;
    return y + n;
}

void LG_PLAIN(pad)(const lg_plain_call *call)
{
    const lg_sliding pad = lg_step_sliding(call->program, call->step);
    const float value = (float)call->step->attrs.pad.value;
    const lg_planes in = lg_planes_of(&call->program->cells[call->step->inputs[0]], call->in, call->block);
    const lg_planes out = lg_planes_of(&call->program->cells[call->step->output], call->out, call->block);
    const int64_t rows = out.extents[0] * out.extents[1], length = in.extents[2] * in.lanes;
    float *y = call->y + call->first * out.extents[2] * out.lanes;

    for (int64_t row = call->first; row < call->end; row++) {
        const float *plane = call->inputs[0] + row / rows * lg_planes_pixels(&in) * in.lanes;
        const int64_t d = row % rows / out.extents[1] - pad.before[0], h = row % out.extents[1] - pad.before[1];
        if (d < 0 || d >= in.extents[0] || h < 0 || h >= in.extents[1]) {
            y = fill(y, out.extents[2] * out.lanes, value);
            continue;
        }
        y = fill(y, pad.before[2] * out.lanes, value);
        memcpy(y, row_at(plane, &in, d, h), (size_t)length * sizeof(*y));
        y = fill(y + length, pad.after[2] * out.lanes, value);
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

/* The same between two planes, each between its rows top and bottom. */
static void blend_planes(float *restrict y, const double *const near[2], const double *const far[2], double down,
                         double deep, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = (float)((1.0 - deep) * ((1.0 - down) * near[0][i] + down * near[1][i]) +
                       deep * ((1.0 - down) * far[0][i] + down * far[1][i]));
}

static void nearest_row(float *restrict y, const float *restrict x, const between *columns, int64_t n, int64_t n_lanes)
{
    for (int64_t q = 0; n_lanes == 1 && q < n; q++)
        y[q] = x[columns[q].low];
    for (int64_t q = 0; n_lanes > 1 && q < n; q++)
        memcpy(y + q * n_lanes, x + columns[q].low * n_lanes, (size_t)n_lanes * sizeof(*y));
}

/* Several output rows look between the same input rows: these are stretched once and kept, by whether the number of their
 * plane and their own are even or odd. Scratch memory: the columns, and these rows. */
void LG_PLAIN(upsample)(const lg_plain_call *call)
{
    const lg_step *step = call->step;
    const lg_planes in = lg_planes_of(&call->program->cells[step->inputs[0]], call->in, call->block);
    const lg_planes out = lg_planes_of(&call->program->cells[step->output], call->out, call->block);
    const int64_t per_plane = out.extents[0] * out.extents[1], n = out.extents[2] * out.lanes;
    between *columns = call->scratch;
    double *rows = (double *)(void *)(columns + out.extents[2]);
    int64_t held[4] = { -1, -1, -1, -1 };

    for (int64_t q = 0; q < out.extents[2]; q++)
        columns[q] = look(step, q, in.extents[2], out.extents[2]);
    for (int64_t row = call->first; row < call->end; row++) {
        const int64_t image = row / per_plane;
        const between d = look(step, row % per_plane / out.extents[1], in.extents[0], out.extents[0]);
        const between v = look(step, row % out.extents[1], in.extents[1], out.extents[1]);
        const float *plane = call->inputs[0] + image * lg_planes_pixels(&in) * in.lanes;
        const double *found[2][2];
        if (step->attrs.upsample.mode == LG_UPSAMPLE_NEAREST) {
            nearest_row(call->y + row * n, row_at(plane, &in, d.low, v.low), columns, out.extents[2], out.lanes);
            continue;
        }
        for (int k = 0; k < (d.share > 0.0 ? 4 : 2); k++) {
            const int64_t at = k / 2 ? d.high : d.low, h = k % 2 ? v.high : v.low, slot = at % 2 * 2 + h % 2;
            const int64_t which = (image * in.extents[0] + at) * in.extents[1] + h;
            if (held[slot] != which)
                stretch_row(rows + slot * n, row_at(plane, &in, at, h), columns, out.extents[2], out.lanes);
            held[slot] = which;
            found[k / 2][k % 2] = rows + slot * n;
        }
        if (d.share > 0.0)
            blend_planes(call->y + row * n, found[0], found[1], v.share, d.share, n);
        else
            blend_rows(call->y + row * n, found[0][0], found[0][1], v.share, n);
    }
}
