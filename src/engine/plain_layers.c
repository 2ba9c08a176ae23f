/* plain_layers.c: convolution, transposed convolution, linear, matrix product, batch norm: products summed up.
 *
 * Products are accumulated in double in one fixed order and rounded once, so that a result depends on nothing but the
 * step's inputs: planned with `exact`, a composition of originals equals the model bit for bit. The innermost loop runs
 * over output channels: it vectorises for every image size, and keeps the order of additions of each output.
 *
 * What newcomers get wrong: a transposed convolution scatters each input pixel over the output. Here it is gathered: output
 * row p hears from input row h where h * stride + r * dilation - pad = p, if there is one. */
#include <stdio.h>

#include "engine/fold.h"
#include "engine/plain.h"

static lego_status pack(float *to, const float *from, const lg_step *step, void *payload)
{
    int64_t n_groups = lg_step_groups(step), n_rows = lg_step_channels(step);
    int64_t n_out = n_rows / n_groups, row = lg_step_weights(step) / n_rows;

    (void)payload;
    for (int64_t g = 0; g < n_groups; g++)
        for (int64_t k = 0; k < n_out; k++)
            for (int64_t i = 0; i < row; i++)
                to[(g * row + i) * n_out + k] = from[(g * n_out + k) * row + i];
    return LEGO_OK;
}

lego_status lg_plain_get_weights(lg_cache_entry **out, lg_packed_cache *cache, const lg_step *step)
{
    char layout[64];

    /* Steps may share a tensor and read it in other ways. */
    snprintf(layout, sizeof(layout), "plain %s g%lld", lg_step_kind_name(step->kind),
             (long long)lg_step_groups(step));
    return lg_packed_get(out, cache, step, layout, lg_tensor_bytes(&step->weight), pack, NULL);
}

static void multiply_add(double *restrict sums, double x, const float *restrict weight, int64_t n)
{
    for (int64_t k = 0; k < n; k++)
        sums[k] += x * weight[k];
}

/* Geometry of one group. x (n_in,H,W), weight (n_in,R,S,n_out). */
typedef struct window {
    const int64_t *kernel, *stride, *dilation, *pads;
    int64_t n_in, height, width, n_out;
    int transposed;
} window;

/* The input row (or column: axis 1) that output row p hears through kernel row r; -1: none. */
static int64_t source_row(const window *w, int axis, int64_t p, int64_t r, int64_t extent)
{
    int64_t h = p * w->stride[axis] - w->pads[axis] + r * w->dilation[axis];

    if (w->transposed) {
        h = p + w->pads[axis] - r * w->dilation[axis];
        if (h < 0 || h % w->stride[axis] != 0)
            return -1;
        h /= w->stride[axis];
    }
    return h < extent ? h : -1;
}

/* Add up one output pixel. */
static void convolve_pixel(double *sums, const float *x, const float *weight, const window *w, int64_t p, int64_t q)
{
    for (int64_t c = 0; c < w->n_in; c++)
        for (int64_t r = 0; r < w->kernel[0]; r++) {
            int64_t h = source_row(w, 0, p, r, w->height);
            if (h < 0)
                continue;
            for (int64_t s = 0; s < w->kernel[1]; s++) {
                int64_t v = source_row(w, 1, q, s, w->width);
                if (v >= 0)
                    multiply_add(sums, x[(c * w->height + h) * w->width + v],
                                 weight + ((c * w->kernel[0] + r) * w->kernel[1] + s) * w->n_out, w->n_out);
            }
        }
}

static window window_of(const lg_plain_call *call, int64_t n_groups)
{
    const lg_step *step = call->step;
    const lg_conv_attrs *conv = &step->attrs.conv;
    const lg_conv_transpose_attrs *back = &step->attrs.conv_transpose;
    const int64_t *in = call->program->cells[step->inputs[0]].shape.dims;
    window w = { step->weight.shape.dims + 2, conv->stride, conv->dilation, conv->pads,
                 in[1] / n_groups, in[2], in[3], lg_step_channels(step) / n_groups, 0 };

    if (step->kind == LG_STEP_CONV_TRANSPOSE) {
        w.stride = back->stride;
        w.dilation = back->dilation;
        w.pads = back->pads;
        w.transposed = 1;
    }
    return w;
}

static float finish(const lg_plain_call *call, double sum, int64_t i)
{
    return lg_act_apply(&call->step->act, call->residual ? sum + call->residual[i] : sum);
}

/* x (N,C,H,W) -> y (N,K,P,Q) */
static void convolve(const lg_plain_call *call)
{
    const int64_t n_groups = lg_step_groups(call->step);
    const window w = window_of(call, n_groups);
    const int64_t *out = call->program->cells[call->step->output].shape.dims;
    const int64_t row = w.n_in * w.kernel[0] * w.kernel[1];
    double *sums = call->scratch;

    for (int64_t unit = call->first; unit < call->end; unit++) {
        const int64_t p = unit % out[2], group = unit / out[2], g = group % n_groups;
        for (int64_t q = 0; q < out[3]; q++) {
            for (int64_t k = 0; k < w.n_out; k++)
                sums[k] = call->bias[g * w.n_out + k];
            convolve_pixel(sums, call->inputs[0] + group * w.n_in * w.height * w.width, call->weight + g * row * w.n_out,
                           &w, p, q);
            for (int64_t k = 0; k < w.n_out; k++) {
                const int64_t i = ((group * w.n_out + k) * out[2] + p) * out[3] + q;
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

void lg_plain_layer(const lg_plain_call *call)
{
    if (call->step->kind == LG_STEP_LINEAR)
        multiply(call);
    else
        convolve(call);
}

/* a (...,M,K) times b (...,K,P) -> y (...,M,P) */
void lg_plain_matmul(const lg_plain_call *call)
{
    const lg_shape *a = &call->program->cells[call->step->inputs[0]].shape;
    const lg_shape *b = &call->program->cells[call->step->inputs[1]].shape;
    const int64_t rows = a->dims[a->n_dims - 2], n_in = a->dims[a->n_dims - 1], n_out = b->dims[b->n_dims - 1];
    double *sums = call->scratch;

    for (int64_t row = call->first; row < call->end; row++) {
        const float *right = call->inputs[1] + row / rows * n_in * n_out;
        for (int64_t k = 0; k < n_out; k++)
            sums[k] = 0.0;
        for (int64_t c = 0; c < n_in; c++)
            multiply_add(sums, call->inputs[0][row * n_in + c], right + c * n_out, n_out);
        for (int64_t k = 0; k < n_out; k++)
            call->y[row * n_out + k] = (float)sums[k];
    }
}

/* x (N,C,...) -> y of the same shape */
void lg_plain_affine(const lg_plain_call *call)
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
