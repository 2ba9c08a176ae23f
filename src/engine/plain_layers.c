/* plain_layers.c: convolution, transposed convolution, linear, matrix product, batch norm: products summed up.
 *
 * Products are accumulated in double in one fixed order and rounded once, so that a result depends on nothing but the
 * step's inputs: planned with `exact`, a composition of originals equals the model bit for bit. The innermost loop runs
 * over output channels: it vectorises for every image size, and keeps the order of additions of each output.
 *
 * What newcomers get wrong: a transposed convolution scatters each input pixel over the output. Here it is gathered: output
 * row p hears from input row h where h * stride + r * dilation - pad = p, if there is one. */
#include <string.h>

#include "engine/fold.h"
#include "engine/plain_kernels.h"

static void multiply_add(double *restrict sums, double x, const float *restrict weight, int64_t n)
{
    for (int64_t k = 0; k < n; k++)
        sums[k] += x * weight[k];
}

/* Geometry of one group. x (n_in,D,H,W), weight (n_in,T,R,S,n_out); an image's depth is 1. */
typedef struct window {
    lg_sliding slide;
    int64_t in[LG_MAX_AXES], out[LG_MAX_AXES];
    int64_t n_in, n_out;
    int transposed;
} window;

/* The input row (plane, column: by axis) that output row p hears through kernel row r; -1: none. */
static int64_t source_row(const window *w, int axis, int64_t p, int64_t r)
{
    const lg_sliding *s = &w->slide;
    int64_t h = p * s->stride[axis] - s->before[axis] + r * s->dilation[axis];

    if (w->transposed) {
        h = p + s->before[axis] - r * s->dilation[axis];
        if (h < 0 || h % s->stride[axis] != 0)
            return -1;
        h /= s->stride[axis];
    }
    return h < w->in[axis] ? h : -1;
}

/* Add up one output pixel: plane o, row p, column q. */
static void convolve_pixel(double *sums, const float *x, const float *weight, const window *w, int64_t o, int64_t p,
                           int64_t q)
{
    const int64_t *kernel = w->slide.kernel, *in = w->in;

    for (int64_t c = 0; c < w->n_in; c++)
        for (int64_t t = 0; t < kernel[0]; t++) {
            const int64_t d = source_row(w, 0, o, t);
            for (int64_t r = 0; d >= 0 && r < kernel[1]; r++) {
                const int64_t h = source_row(w, 1, p, r);
                for (int64_t s = 0; h >= 0 && s < kernel[2]; s++) {
                    const int64_t v = source_row(w, 2, q, s);
                    if (v >= 0)
                        multiply_add(sums, x[((c * in[0] + d) * in[1] + h) * in[2] + v],
                                     weight + (((c * kernel[0] + t) * kernel[1] + r) * kernel[2] + s) * w->n_out,
                                     w->n_out);
                }
            }
        }
}

static window window_of(const lg_plain_call *call, int64_t n_groups)
{
    const lg_step *step = call->step;
    const lg_cell *cells = call->program->cells;
    int64_t in[LG_WORK_DIMS], out[LG_WORK_DIMS];
    window w = { .slide = lg_step_sliding(call->program, step), .transposed = step->kind == LG_STEP_CONV_TRANSPOSE };

    lg_work_dims(in, &cells[step->inputs[0]]);
    lg_work_dims(out, &cells[step->output]);
    memcpy(w.in, in + 2, sizeof(w.in));
    memcpy(w.out, out + 2, sizeof(w.out));
    w.n_in = in[1] / n_groups;
    w.n_out = out[1] / n_groups;
    return w;
}

static float finish(const lg_plain_call *call, double sum, int64_t i)
{
    return lg_act_apply(&call->step->act, call->residual ? sum + call->residual[i] : sum);
}

/* x (N,C,D,H,W) -> y (N,K,O,P,Q) */
static void convolve(const lg_plain_call *call)
{
    const int64_t n_groups = lg_step_groups(call->step);
    const window w = window_of(call, n_groups);
    const int64_t *kernel = w.slide.kernel, pixels = w.out[0] * w.out[1] * w.out[2];
    const int64_t row = w.n_in * kernel[0] * kernel[1] * kernel[2], n_rows = w.out[0] * w.out[1];
    double *sums = call->scratch;

    for (int64_t unit = call->first; unit < call->end; unit++) {
        const int64_t at = unit % n_rows, group = unit / n_rows, g = group % n_groups;
        for (int64_t q = 0; q < w.out[2]; q++) {
            for (int64_t k = 0; k < w.n_out; k++)
                sums[k] = call->bias[g * w.n_out + k];
            convolve_pixel(sums, call->inputs[0] + group * w.n_in * w.in[0] * w.in[1] * w.in[2],
                           call->weight + g * row * w.n_out, &w, at / w.out[1], at % w.out[1], q);
            for (int64_t k = 0; k < w.n_out; k++) {
                const int64_t i = (group * w.n_out + k) * pixels + at * w.out[2] + q;
                call->y[i] = finish(call, sums[k], i);
            }
        }
    }
}

/* x (rows,C) -> y (rows,K) */
static void multiply(const lg_plain_call *call)
{
    const lg_step *step = call->step;
    int64_t n_out = step->weight.shape.dims[0], n_in = step->weight.shape.dims[1];
    double *sums = call->scratch;

    for (int64_t row = call->first; row < call->end; row++) {
        for (int64_t k = 0; k < n_out; k++)
            sums[k] = call->bias[k];
        for (int64_t c = 0; c < n_in; c++)
            multiply_add(sums, call->inputs[0][row * n_in + c], call->weight + c * n_out, n_out);
        for (int64_t k = 0; k < n_out; k++)
            call->y[row * n_out + k] = finish(call, sums[k], row * n_out + k);
    }
}

void LG_PLAIN(layer)(const lg_plain_call *call)
{
    if (call->step->kind == LG_STEP_LINEAR)
        multiply(call);
    else
        convolve(call);
}

/* a (...,M,K) times b (...,K,P), or (...,P,K) where it is turned -> y (...,M,P) */
void LG_PLAIN(matmul)(const lg_plain_call *call)
{
    const lg_shape *a = &call->program->cells[call->step->inputs[0]].shape;
    const int64_t rows = a->dims[a->n_dims - 2], n_in = a->dims[a->n_dims - 1];
    const int64_t n_out = call->program->cells[call->step->output].shape.dims[a->n_dims - 1];
    double *sums = call->scratch;

    for (int64_t row = call->first; row < call->end; row++) {
        const float *right = call->inputs[1] + row / rows * n_in * n_out;
        for (int64_t k = 0; k < n_out; k++)
            sums[k] = 0.0;
        for (int64_t c = 0; c < n_in && !call->step->turned; c++)
            multiply_add(sums, call->inputs[0][row * n_in + c], right + c * n_out, n_out);
        for (int64_t k = 0; k < n_out && call->step->turned; k++)
            for (int64_t c = 0; c < n_in; c++)
                sums[k] += (double)call->inputs[0][row * n_in + c] * right[k * n_in + c];
        for (int64_t k = 0; k < n_out; k++)
            call->y[row * n_out + k] = (float)sums[k];
    }
}

/* x (N,C,...) -> y of the same shape */
void LG_PLAIN(affine)(const lg_plain_call *call)
{
    const lg_cell *cell = &call->program->cells[call->step->output];
    int64_t n_channels = cell->shape.dims[1];
    int64_t inner = n_channels > 0 ? cell->elements / (cell->shape.dims[0] * n_channels) : 0;
    double *factors = call->scratch;

    lg_norm_affine(factors, factors + n_channels, &call->step->norm, n_channels);
    for (int64_t unit = call->first; unit < call->end; unit++) {
        const int64_t c = unit % n_channels;
        for (int64_t i = unit * inner; i < (unit + 1) * inner; i++)
            call->y[i] = lg_act_apply(&call->step->act, call->inputs[0][i] * factors[c] + factors[n_channels + c]);
    }
}
