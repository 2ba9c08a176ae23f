/* plain_norms.c: what looks at many elements for each of its own: mean, softmax, layer and group norm.
 *
 * What newcomers get wrong: a sum in one variable is a chain that no compiler may break up, so it runs at the latency of
 * an addition. LANES sums side by side run many times as fast, and in an order that is fixed all the same. */
#include <math.h>

#include "engine/plain_kernels.h"
#include "engine/vector_math.h"

#define LANES 32
#define COLUMNS 64

static double fold_lanes(double *sums)
{
    for (int n = LANES / 2; n > 0; n /= 2)
        for (int l = 0; l < n; l++)
            sums[l] += sums[l + n];
    return sums[0];
}

static double sum_of(const float *x, int64_t n)
{
    double sums[LANES] = { 0.0 };
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            sums[l] += x[i + l];
    for (int64_t l = 0; l < n - i; l++)
        sums[l] += x[i + l];
    return fold_lanes(sums);
}

static float largest_of(const float *x, int64_t n)
{
    float lanes[LANES], largest = -INFINITY;
    int64_t i = 0;

    for (int l = 0; l < LANES; l++)
        lanes[l] = -INFINITY;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
    for (; i < n; i++)
        largest = x[i] > largest ? x[i] : largest;
    for (int l = 0; l < LANES; l++)
        largest = lanes[l] > largest ? lanes[l] : largest;
    return largest;
}

/* Of squared distances from `mean`. */
static double squares_of(const float *x, int64_t n, double mean)
{
    double sums[LANES] = { 0.0 };
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            sums[l] += (x[i + l] - mean) * (x[i + l] - mean);
    for (int64_t l = 0; l < n - i; l++)
        sums[l] += (x[i + l] - mean) * (x[i + l] - mean);
    return fold_lanes(sums);
}

static double inverse_deviation(const float *x, int64_t n, double mean, double eps)
{
    return 1.0 / sqrt(squares_of(x, n, mean) / (double)n + eps);
}

static double sum_walk(const float *x, lg_walk walk)
{
    double sum = 0.0;

    do {
        const float *row = x + walk.offset[0];
        if (walk.stride[0] == 1)
            sum += sum_of(row, walk.row);
        else
            for (int64_t k = 0; k < walk.row; k++)
                sum += row[k * walk.stride[0]];
    } while (lg_walk_next(&walk));
    return sum;
}

/* Of `width` results side by side, as the elements of each term are. */
static void mean_columns(float *y, const float *x, lg_walk walk, int64_t width, double count)
{
    double sums[COLUMNS] = { 0.0 };

    do
        for (int64_t k = 0; k < walk.row; k++) {
            const float *row = x + walk.offset[0] + k * walk.stride[0];
            for (int64_t c = 0; c < width; c++)
                sums[c] += row[c];
        }
    while (lg_walk_next(&walk));
    for (int64_t c = 0; c < width; c++)
        y[c] = (float)(sums[c] / count);
}

/* One result is the mean over a walk through the averaged axes, from where a walk through the others has come to. */
void LG_PLAIN(mean)(const lg_plain_call *call)
{
    const lg_dims *axes = &call->step->attrs.mean.axes;
    const lg_shape *in = &call->program->cells[call->step->inputs[0]].shape;
    int64_t kept[LEGO_MAX_DIMS], averaged[LEGO_MAX_DIMS], strides[LEGO_MAX_DIMS], stride = 1, count = 1;
    unsigned reduced = 0;
    float *y = call->y + call->first;
    lg_walk outer, inner;

    for (int64_t i = 0; i < axes->n; i++)
        reduced |= 1u << axes->dims[i];
    for (int axis = in->n_dims - 1; axis >= 0; axis--) {
        const int gone = (reduced >> axis & 1) != 0;
        kept[axis] = gone ? 1 : in->dims[axis];
        averaged[axis] = gone ? in->dims[axis] : 1;
        count *= averaged[axis];
        strides[axis] = stride;
        stride *= in->dims[axis];
    }
    lg_walk_start(&outer, in->n_dims, kept, strides, strides);
    lg_walk_cut(&outer, call->first, call->end);
    lg_walk_start(&inner, in->n_dims, averaged, strides, strides);
    do {
        const float *x = call->inputs[0] + outer.offset[0];
        int64_t width;

        for (int64_t i = 0; i < outer.row; i += width, y += width) {
            width = outer.stride[0] == 1 && outer.row - i < COLUMNS ? outer.row - i : outer.stride[0] == 1 ? COLUMNS : 1;
            if (width == 1)
                *y = (float)(sum_walk(x + i * outer.stride[0], inner) / (double)count);
            else
                mean_columns(y, x + i, inner, width, (double)count);
        }
    } while (lg_walk_next(&outer));
}

/* Of `width` rows side by side, whose elements are `stride` apart. The largest is taken off first, so that no exponential
 * overflows. */
static void softmax_columns(float *y, const float *x, int64_t n, int64_t stride, int64_t width, int precise)
{
    float largest[COLUMNS];
    double sums[COLUMNS] = { 0.0 };

    for (int64_t c = 0; c < width; c++)
        largest[c] = -INFINITY;
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < width; c++)
            largest[c] = x[i * stride + c] > largest[c] ? x[i * stride + c] : largest[c];
    for (int64_t i = 0; i < n; i++) {
        float *to = y + i * stride;
        const float *from = x + i * stride;
        for (int64_t c = 0; precise && c < width; c++) {
            const double e = exp((double)from[c] - largest[c]);
            to[c] = (float)e;
            sums[c] += e;
        }
        for (int64_t c = 0; !precise && c < width; c++) {
            to[c] = lg_expf(from[c] - largest[c]);
            sums[c] += to[c];
        }
    }
    for (int64_t c = 0; c < width; c++)
        sums[c] = 1.0 / sums[c];
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < width; c++)
            y[i * stride + c] = (float)(y[i * stride + c] * sums[c]);
}

/* Of a row whose elements are neighbours. */
static void softmax_row(float *y, const float *x, int64_t n)
{
    const float largest = largest_of(x, n);
    double scale;

    for (int64_t i = 0; i < n; i++)
        y[i] = lg_expf(x[i] - largest);
    scale = 1.0 / sum_of(y, n);
    for (int64_t i = 0; i < n; i++)
        y[i] = (float)(y[i] * scale);
}

void LG_PLAIN(softmax)(const lg_plain_call *call)
{
    const lg_cell *cell = &call->program->cells[call->step->output];
    const lg_shape shape = lg_memory_shape(cell, call->out, call->block);
    const int axis = lg_memory_axis(cell, call->out, (int)call->step->attrs.axis.axis);
    const int64_t n = shape.dims[axis];
    int64_t inner = 1, width;

    for (int i = axis + 1; i < shape.n_dims; i++)
        inner *= shape.dims[i];
    for (int64_t unit = call->first; unit < call->end; unit += width) {
        const int64_t at = unit / inner * n * inner + unit % inner;
        width = inner - unit % inner;
        width = width < call->end - unit ? width : call->end - unit;
        width = width < COLUMNS ? width : COLUMNS;
        if (inner == 1 && !call->precise)
            softmax_row(call->y + at, call->inputs[0] + at, n);
        else
            softmax_columns(call->y + at, call->inputs[0] + at, n, inner, width, call->precise);
    }
}

static void log_softmax(float *y, const float *x, int64_t n, int64_t stride)
{
    float largest = -INFINITY;
    double sum = 0.0;

    for (int64_t i = 0; i < n; i++)
        if (x[i * stride] > largest)
            largest = x[i * stride];
    for (int64_t i = 0; i < n; i++)
        sum += exp((double)x[i * stride] - largest);
    for (int64_t i = 0; i < n; i++)
        y[i * stride] = (float)((double)x[i * stride] - largest - log(sum));
}

void LG_PLAIN(log_softmax)(const lg_plain_call *call)
{
    const lg_cell *cell = &call->program->cells[call->step->output];
    const lg_shape shape = lg_memory_shape(cell, call->out, call->block);
    const int axis = lg_memory_axis(cell, call->out, (int)call->step->attrs.axis.axis);
    int64_t inner = 1;

    for (int i = axis + 1; i < shape.n_dims; i++)
        inner *= shape.dims[i];
    for (int64_t unit = call->first; unit < call->end; unit++) {
        const int64_t at = unit / inner * shape.dims[axis] * inner + unit % inner;
        log_softmax(call->y + at, call->inputs[0] + at, shape.dims[axis], inner);
    }
}

static const float *tensor_or_null(int has, const lego_tensor *tensor)
{
    return has ? lg_tensor_data(tensor) : NULL;
}

static void scale_row(float *restrict y, const float *restrict x, int64_t n, float mean, float scale,
                      const float *restrict gamma, const float *restrict beta)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] - mean) * scale * gamma[i] + beta[i];
}

/* Rows of the axes from `axis` on; gamma and beta have an entry an element of a row. */
void LG_PLAIN(layer_norm)(const lg_plain_call *call)
{
    const lg_norm *norm = &call->step->norm;
    const lg_cell *cell = &call->program->cells[call->step->output];
    const float *gamma = tensor_or_null(norm->has_gamma, &norm->gamma);
    const float *beta = tensor_or_null(norm->has_beta, &norm->beta);
    int64_t n = 1;

    for (int axis = (int)call->step->attrs.layer_norm.axis; axis < cell->shape.n_dims; axis++)
        n *= cell->shape.dims[axis];
    for (int64_t row = call->first; row < call->end; row++) {
        const float *x = call->inputs[0] + row * n;
        float *y = call->y + row * n;
        const double mean = sum_of(x, n) / (double)n, scale = inverse_deviation(x, n, mean, norm->eps);

        if (!call->precise && gamma && beta)
            scale_row(y, x, n, (float)mean, (float)scale, gamma, beta);
        else
            for (int64_t i = 0; i < n; i++)
                y[i] = (float)((x[i] - mean) * scale * (gamma ? gamma[i] : 1.0f) + (beta ? beta[i] : 0.0f));
    }
}

static void scale_channel(float *restrict y, const float *restrict x, int64_t n, float mean, float scale, float shift)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] - mean) * scale + shift;
}

/* Runs of C/groups channels; gamma and beta have an entry a channel. */
void LG_PLAIN(group_norm)(const lg_plain_call *call)
{
    const lg_norm *norm = &call->step->norm;
    const lg_cell *cell = &call->program->cells[call->step->output];
    const float *gamma = tensor_or_null(norm->has_gamma, &norm->gamma);
    const float *beta = tensor_or_null(norm->has_beta, &norm->beta);
    const int64_t n_channels = cell->shape.dims[1], run = n_channels / call->step->attrs.group_norm.groups;
    const int64_t inner = cell->elements / (cell->shape.dims[0] * n_channels), n = run * inner;

    for (int64_t group = call->first; group < call->end; group++) {
        const float *x = call->inputs[0] + group * n;
        float *y = call->y + group * n;
        const double mean = sum_of(x, n) / (double)n, scale = inverse_deviation(x, n, mean, norm->eps);

        for (int64_t c = 0; c < run; c++) {
            const int64_t channel = (group * run + c) % n_channels;
            const double a = scale * (gamma ? gamma[channel] : 1.0f), b = beta ? beta[channel] : 0.0f;
            if (call->precise)
                for (int64_t i = c * inner; i < (c + 1) * inner; i++)
                    y[i] = (float)((x[i] - mean) * a + b);
            else
                scale_channel(y + c * inner, x + c * inner, inner, (float)mean, (float)a, (float)b);
        }
    }
}
