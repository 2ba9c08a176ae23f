/* plain.c: in which layouts a plain C kernel computes a step, and what that costs.
 *
 * The kernels serve two masters. The reference engine (exec_ref.c) runs every step with them, row-major; operations_run.c
 * runs the steps that oneDNN has no good kernel for, in the layout that the neighbours have, so that nothing is reordered.
 * All are deterministic: one fixed order of additions, in double, rounded once.
 *
 * What newcomers get wrong: channel-blocked images have lanes that belong to no channel, and these must stay zero. A
 * kernel that would make them something else (a sum with a constant, a division 0/0) takes whole blocks only. */
#include "engine/plain.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/arena.h"
#include "engine/fold.h"

static int64_t channels(const lg_program *program, int32_t cell)
{
    int64_t d[LG_WORK_DIMS];

    lg_work_dims(d, &program->cells[cell]);
    return d[1];
}

/* No operand repeats its one channel over several, which in blocks lies in one lane. */
static int has_all_channels(const lg_program *program, const lg_step *step)
{
    for (int32_t i = 0; i < step->n_inputs; i++)
        if (channels(program, step->inputs[i]) != channels(program, step->output))
            return 0;
    return 1;
}

/* Channels joined or cut at whole blocks. */
static int cuts_blocks(const lg_program *program, const lg_step *step, int block)
{
    if (step->kind == LG_STEP_SLICE)
        return step->attrs.slice.axis == 1 && (step->attrs.slice.start % block != 0 || step->attrs.slice.step != 1);
    for (int32_t i = 0; step->attrs.axis.axis == 1 && i + 1 < step->n_inputs; i++)
        if (channels(program, step->inputs[i]) % block != 0)
            return 1;
    return 0;
}

static int keeps_padding_zero(const lg_step *step)
{
    switch (step->kind) {
    case LG_STEP_BINARY:
        return step->binary != LG_BINARY_DIV && lg_act_keeps_zero(&step->act);
    case LG_STEP_ACT:
        return lg_act_keeps_zero(&step->act);
    case LG_STEP_PAD:
        return step->attrs.pad.value == 0.0;
    case LG_STEP_PRELU: /* its slopes have no lanes to spare */
        return lg_tensor_count(&step->weight) == 1;
    default:
        return 1;
    }
}

static int has_kernel(const lg_program *program, const lg_step *step, lg_layout in, lg_layout out, int block)
{
    const int whole = channels(program, step->output) % block == 0 || keeps_padding_zero(step);
    const int image = lg_cell_axes(&program->cells[step->output]) > 0;

    if (in == LG_LAYOUT_PLAIN && out == LG_LAYOUT_PLAIN)
        return 1;
    if (step->kind == LG_STEP_PERMUTE)
        return image && in != LG_LAYOUT_BLOCKED && out != LG_LAYOUT_BLOCKED;
    if (in != out)
        return 0;
    switch (step->kind) {
    case LG_STEP_BINARY:
        return image && (in == LG_LAYOUT_NHWC || (whole && has_all_channels(program, step)));
    case LG_STEP_ACT:
    case LG_STEP_PRELU:
    case LG_STEP_PAD:
        return image && (in == LG_LAYOUT_NHWC || whole);
    case LG_STEP_MAX_POOL:
    case LG_STEP_AVG_POOL:
    case LG_STEP_ADAPTIVE_AVG_POOL:
    case LG_STEP_ADAPTIVE_MAX_POOL:
    case LG_STEP_UPSAMPLE:
        return 1;
    case LG_STEP_CONCAT:
    case LG_STEP_SLICE:
        return image && (in == LG_LAYOUT_NHWC || !cuts_blocks(program, step, block));
    case LG_STEP_SOFTMAX:
    case LG_STEP_LOG_SOFTMAX:
    case LG_STEP_SHUFFLE:
        return image && in == LG_LAYOUT_NHWC;
    default:
        return 0;
    }
}

int lg_plain_is_copy(const lg_program *program, const lg_step *step, lg_layout in, lg_layout out)
{
    const lg_dims *order = &step->attrs.permute.order;
    int to_nhwc = 1, from_nhwc = 1;

    if (step->kind == LG_STEP_RESHAPE)
        return 1;
    if (step->kind != LG_STEP_PERMUTE || (order->n != 3 && order->n != 4))
        return 0;
    for (int64_t i = 0; i < order->n; i++) {
        to_nhwc &= order->dims[i] == (i + 1 < order->n ? i + 2 : 1);
        from_nhwc &= order->dims[i] == (i == 0 ? order->n : i);
    }
    return (in == LG_LAYOUT_NHWC && out == LG_LAYOUT_PLAIN && to_nhwc) ||
           (in == LG_LAYOUT_PLAIN && out == LG_LAYOUT_NHWC && from_nhwc);
}

/* --- costs: what bench_plain measured (Zen 4, 2.6 GHz, AVX-512, one thread, data in the second-level cache) --- */

#define CALL_US 0.3
#define BYTES_PER_NS 70.0 /* of loops that do nothing but read and write */

/* Nanoseconds by layout, row-major first. */
typedef struct rate {
    double ns[LG_N_LAYOUTS];
} rate;

static double act_ns(const lg_act *act)
{
    if (lg_act_is_cheap(act->kind))
        return 0.03;
    if (act->kind > LG_ACT_GELU_TANH) /* by the C library, one at a time */
        return 10.0;
    return act->kind == LG_ACT_GELU ? 1.1 : 0.45;
}

static int averages_last(const lg_step *step, const lg_cell *from)
{
    const lg_dims *axes = &step->attrs.mean.axes;

    return axes->n > 0 && axes->dims[axes->n - 1] == from->shape.n_dims - 1;
}

/* Of an element of the output, beyond reading and writing. */
static double element_ns(const lg_program *program, const lg_step *step, lg_layout in, lg_layout out)
{
    static const rate tap_of_max = { { 2.5, 0.09, 0.22 } }, tap_of_mean = { { 4.7, 0.14, 0.27 } };
    static const rate nearest = { { 0.55, 0.02, 0.12 } }, between = { { 0.5, 0.23, 0.2 } };
    const lg_cell *from = step->n_inputs > 0 ? &program->cells[step->inputs[0]] : NULL;
    const lg_cell *to = &program->cells[step->output];
    const double reduced = from ? (double)from->elements / (double)to->elements : 0.0;
    double taps = 1.0;

    switch (step->kind) {
    case LG_STEP_CONV:
    case LG_STEP_CONV_TRANSPOSE:
    case LG_STEP_LINEAR: /* a product */
        return 0.3 * (double)lg_step_weights(step) / (double)lg_step_channels(step);
    case LG_STEP_MATMUL:
        return 0.3 * (double)from->shape.dims[from->shape.n_dims - 1];
    case LG_STEP_AFFINE:
        return 2.0;
    case LG_STEP_BINARY:
    case LG_STEP_ACT:
        return step->act.kind == LG_ACT_NONE ? 0.0 : act_ns(&step->act);
    case LG_STEP_MAX_POOL:
    case LG_STEP_AVG_POOL: {
        const lg_sliding slide = lg_step_sliding(program, step);
        for (int i = 0; i < LG_MAX_AXES; i++)
            taps *= (double)slide.kernel[i];
        return taps * (step->kind == LG_STEP_MAX_POOL ? tap_of_max : tap_of_mean).ns[in];
    }
    case LG_STEP_ADAPTIVE_AVG_POOL:
        return (1.0 + reduced) * tap_of_mean.ns[in];
    case LG_STEP_ADAPTIVE_MAX_POOL:
        return (1.0 + reduced) * tap_of_max.ns[in];
    case LG_STEP_UPSAMPLE:
        return (step->attrs.upsample.mode == LG_UPSAMPLE_NEAREST ? nearest : between).ns[in];
    case LG_STEP_PERMUTE: /* a transposition; what keeps its last axis is faster */
        return in == LG_LAYOUT_PLAIN && out == LG_LAYOUT_PLAIN &&
                       step->attrs.permute.order.dims[step->attrs.permute.order.n - 1] == step->attrs.permute.order.n
                   ? 0.05
                   : 0.6;
    case LG_STEP_SLICE:
        return step->attrs.slice.step == 1 ? 0.0 : 0.6;
    case LG_STEP_SHUFFLE:
        return 0.2;
    case LG_STEP_MEAN: /* a term, whose neighbours belong to other results or to the same */
        return (averages_last(step, from) ? 0.5 : 0.08) * reduced;
    case LG_STEP_SOFTMAX:
        return in == LG_LAYOUT_NHWC ? 3.0 : 1.0;
    case LG_STEP_LOG_SOFTMAX:
        return 10.0;
    case LG_STEP_LAYER_NORM:
    case LG_STEP_GROUP_NORM:
        return 0.25;
    default:
        return 0.0;
    }
}

double lg_plain_us(const lg_program *program, const lg_step *step, lg_layout in, lg_layout out, int block)
{
    const lg_planes planes = lg_planes_of(&program->cells[step->output], out, block);
    double elements = (double)lg_planes_elements(&planes);
    double ns;

    if (!has_kernel(program, step, in, out, block))
        return INFINITY;
    if (lg_plain_is_copy(program, step, in, out))
        return 0.0;
    ns = elements * element_ns(program, step, in, out);
    for (int32_t i = 0; i < step->n_inputs; i++)
        elements += (double)program->cells[step->inputs[i]].elements;
    return CALL_US + 1e-3 * (ns + elements * sizeof(float) / BYTES_PER_NS);
}

static size_t scratch_bytes(const lg_program *program, const lg_step *step)
{
    const size_t lanes = (size_t)channels(program, step->output) + LG_MAX_BLOCK; /* at most, in any layout */
    const lg_shape *out = &program->cells[step->output].shape;

    switch (step->kind) {
    case LG_STEP_CONV:
    case LG_STEP_CONV_TRANSPOSE:
    case LG_STEP_LINEAR:
        return (size_t)lg_step_channels(step) * sizeof(double);
    case LG_STEP_AFFINE:
        return (size_t)lg_step_channels(step) * 2 * sizeof(double);
    case LG_STEP_MATMUL:
        return (size_t)out->dims[out->n_dims - 1] * sizeof(double);
    case LG_STEP_AVG_POOL: /* sums of a pixel's lanes */
    case LG_STEP_ADAPTIVE_AVG_POOL:
        return lanes * sizeof(double);
    case LG_STEP_UPSAMPLE: /* two rows of pixels of each plane, and where each column looks */
        return (size_t)out->dims[out->n_dims - 1] * ((out->n_dims == 5 ? 4 : 2) * lanes + 3) * sizeof(double);
    default:
        return 0;
    }
}

size_t lg_plain_scratch_bytes(const lg_program *program, const lg_step *step)
{
    return (scratch_bytes(program, step) + LG_ARENA_ALIGN - 1) / LG_ARENA_ALIGN * LG_ARENA_ALIGN;
}

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
