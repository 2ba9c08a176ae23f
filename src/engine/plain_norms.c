/* plain_norms.c: what looks at many elements for each of its own: mean, softmax, layer and group norm.
 *
 * What newcomers get wrong: a sum in one variable is a chain that no compiler may break up, so it runs at the latency of
 * an addition. LANES sums side by side run eight times as fast, and in an order that is fixed all the same. */
#include <math.h>

#include "engine/plain_kernels.h"

#define LANES 8

static double fold_lanes(const double *sums)
{
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

static double sum_of(const float *x, int64_t n)
{
    double sums[LANES] = { 0.0 };
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            sums[l] += x[i + l];
    for (; i < n; i++)
        sums[0] += x[i];
    return fold_lanes(sums);
}

/* Of squared distances from `mean`. */
static double squares_of(const float *x, int64_t n, double mean)
{
    double sums[LANES] = { 0.0 };
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            sums[l] += (x[i + l] - mean) * (x[i + l] - mean);
    for (; i < n; i++)
        sums[0] += (x[i] - mean) * (x[i] - mean);
    return fold_lanes(sums);
}

static double inverse_deviation(const float *x, int64_t n, double mean, double eps)
{
    return 1.0 / sqrt(squares_of(x, n, mean) / (double)n + eps);
}

/* One result is the mean over a walk through the averaged axes, from where a walk through the others has come to. */
void LG_PLAIN(mean)(const lg_plain_call *call)
{
    const lg_dims *axes = &call->step->attrs.mean.axes;
    const lg_shape *in = &call->program->cells[call->step->inputs[0]].shape;
    int64_t kept[LEGO_MAX_DIMS], averaged[LEGO_MAX_DIMS], strides[LEGO_MAX_DIMS], stride = 1, count = 1;
    unsigned reduced = 0;
    float *y = call->y + call->first;
    lg_walk outer;

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
    do {
        for (int64_t i = 0; i < outer.row; i++) {
            double sum = 0.0;
            lg_walk walk;

            lg_walk_start(&walk, in->n_dims, averaged, strides, strides);
            do {
                const float *x = call->inputs[0] + outer.offset[0] + i * outer.stride[0] + walk.offset[0];
                for (int64_t k = 0; k < walk.row; k++)
                    sum += x[k * walk.stride[0]];
            } while (lg_walk_next(&walk));
            *y++ = (float)(sum / (double)count);
        }
    } while (lg_walk_next(&outer));
}

/* Elements `stride` apart. The largest is taken off first, so that no exponential overflows. */
static void softmax(float *y, const float *x, int64_t n, int64_t stride)
{
    float largest = -INFINITY;
    double sum = 0.0;

    for (int64_t i = 0; i < n; i++)
        if (x[i * stride] > largest)
            largest = x[i * stride];
    for (int64_t i = 0; i < n; i++) {
        const double e = exp((double)x[i * stride] - largest);
        y[i * stride] = (float)e;
        sum += e;
    }
    for (int64_t i = 0; i < n; i++)
        y[i * stride] = (float)(y[i * stride] / sum);
}

void LG_PLAIN(softmax)(const lg_plain_call *call)
{
    const lg_cell *cell = &call->program->cells[call->step->output];
    const lg_shape shape = lg_memory_shape(cell, call->out, call->block);
    const int axis = lg_memory_axis(cell, call->out, (int)call->step->attrs.axis.axis);
    int64_t inner = 1;

    for (int i = axis + 1; i < shape.n_dims; i++)
        inner *= shape.dims[i];
    for (int64_t unit = call->first; unit < call->end; unit++) {
        const int64_t at = unit / inner * shape.dims[axis] * inner + unit % inner;
        softmax(call->y + at, call->inputs[0] + at, shape.dims[axis], inner);
    }
}

static const float *tensor_or_null(int has, const lego_tensor *tensor)
{
    return has ? lg_tensor_data(tensor) : NULL;
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

        for (int64_t i = 0; i < n; i++)
            y[i] = (float)((x[i] - mean) * scale * (gamma ? gamma[i] : 1.0f) + (beta ? beta[i] : 0.0f));
    }
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
            for (int64_t i = c * inner; i < (c + 1) * inner; i++)
                y[i] = (float)((x[i] - mean) * a + b);
        }
    }
}
