/* plain.c: which plain C kernel computes a step, in which layouts, and how data in a layout is walked.
 *
 * The kernels serve two masters. The reference engine (exec_ref.c) runs every step with them, row-major; operations_run.c
 * runs the steps that oneDNN has no good kernel for, in the layout that the neighbours have, so that nothing is reordered.
 * All are deterministic: one fixed order of additions, in double, rounded once.
 *
 * What newcomers get wrong: channel-blocked images have lanes that belong to no channel, and these must stay zero. A
 * kernel that would make them something else (a sum with a constant, a division 0/0) takes whole blocks only. */
#include "engine/plain.h"

#include <math.h>
#include <string.h>

#include "engine/fold.h"

/* --- how data lies --- */

static int64_t n_blocks(int64_t n_channels, int block)
{
    return (n_channels + block - 1) / block;
}

lg_planes lg_planes_of(const lg_cell *cell, lg_layout layout, int block)
{
    int64_t d[4];

    lg_work_dims(d, cell);
    switch (layout) {
    case LG_LAYOUT_NHWC:
        return (lg_planes){ d[0], d[2], d[3], d[1] };
    case LG_LAYOUT_BLOCKED:
        return (lg_planes){ d[0] * n_blocks(d[1], block), d[2], d[3], block };
    default:
        return (lg_planes){ d[0] * d[1], d[2], d[3], 1 };
    }
}

lg_shape lg_memory_shape(const lg_cell *cell, lg_layout layout, int block)
{
    int64_t d[4];

    if (layout == LG_LAYOUT_PLAIN || (layout == LG_LAYOUT_NHWC && cell->shape.n_dims != 4))
        return cell->shape; /* without rows and columns both are the same */
    lg_work_dims(d, cell);
    if (layout == LG_LAYOUT_NHWC)
        return (lg_shape){ 4, { d[0], d[2], d[3], d[1] } };
    return (lg_shape){ 5, { d[0], n_blocks(d[1], block), d[2], d[3], block } };
}

int lg_memory_axis(const lg_cell *cell, lg_layout layout, int axis)
{
    if (layout != LG_LAYOUT_NHWC || cell->shape.n_dims != 4 || axis == 0)
        return axis;
    return axis == 1 ? 3 : axis - 1;
}

void lg_walk_start(lg_walk *walk, int n, const int64_t *extents, const int64_t *a, const int64_t *b)
{
    int last;

    memset(walk, 0, sizeof(*walk));
    for (int i = 0; i < n; i++) {
        if (extents[i] == 1)
            continue;
        last = walk->n - 1;
        if (last >= 0 && walk->strides[0][last] == a[i] * extents[i] && walk->strides[1][last] == b[i] * extents[i]) {
            walk->extents[last] *= extents[i];
        } else {
            last = walk->n++;
            walk->extents[last] = extents[i];
        }
        walk->strides[0][last] = a[i];
        walk->strides[1][last] = b[i];
    }
    walk->inner = 1;
    if (walk->n > 0) {
        last = --walk->n;
        walk->inner = walk->extents[last];
        walk->inner_stride[0] = walk->strides[0][last];
        walk->inner_stride[1] = walk->strides[1][last];
    }
}

int lg_walk_next(lg_walk *walk)
{
    for (int i = walk->n - 1; i >= 0; i--) {
        walk->offset[0] += walk->strides[0][i];
        walk->offset[1] += walk->strides[1][i];
        if (++walk->at[i] < walk->extents[i])
            return 1;
        walk->at[i] = 0;
        walk->offset[0] -= walk->strides[0][i] * walk->extents[i];
        walk->offset[1] -= walk->strides[1][i] * walk->extents[i];
    }
    return 0;
}

/* --- which kernel --- */

static int64_t channels(const lg_program *program, int32_t cell)
{
    int64_t d[4];

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
    const int image = program->cells[step->output].shape.n_dims == 4;

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
    case LG_STEP_SHUFFLE:
        return image && in == LG_LAYOUT_NHWC;
    default:
        return 0;
    }
}

int lg_plain_is_copy(const lg_program *program, const lg_step *step, lg_layout in, lg_layout out)
{
    static const int64_t to_nhwc[] = { 2, 3, 1 }, from_nhwc[] = { 3, 1, 2 };
    const lg_dims *order = &step->attrs.permute.order;

    if (step->kind == LG_STEP_RESHAPE)
        return 1;
    if (step->kind != LG_STEP_PERMUTE || order->n != 3)
        return 0;
    if (in == LG_LAYOUT_NHWC && out == LG_LAYOUT_PLAIN)
        return memcmp(order->dims, to_nhwc, sizeof(to_nhwc)) == 0;
    return in == LG_LAYOUT_PLAIN && out == LG_LAYOUT_NHWC && memcmp(order->dims, from_nhwc, sizeof(from_nhwc)) == 0;
}

/* Elements that are read or written, at a rate typical of the kernel. */
double lg_plain_us(const lg_program *program, const lg_step *step, lg_layout in, lg_layout out, int block)
{
    double elements = (double)program->cells[step->output].elements, per_us = 1000.0;

    if (!has_kernel(program, step, in, out, block))
        return INFINITY;
    if (lg_plain_is_copy(program, step, in, out))
        return 0.0;
    for (int32_t i = 0; i < step->n_inputs; i++)
        elements += (double)program->cells[step->inputs[i]].elements;
    if (lg_step_is_layer(step)) {
        per_us = 500.0;
        elements = (double)program->cells[step->output].elements * (double)lg_step_weights(step) /
                   (double)lg_step_channels(step);
    } else if (step->kind == LG_STEP_MATMUL) {
        const lg_shape *a = &program->cells[step->inputs[0]].shape;
        elements = (double)program->cells[step->output].elements * (double)a->dims[a->n_dims - 1];
    } else if (step->kind == LG_STEP_ACT || step->kind == LG_STEP_SOFTMAX) {
        per_us = 100.0;
    }
    return 0.5 + elements / per_us;
}

size_t lg_plain_scratch_bytes(const lg_program *program, const lg_step *step)
{
    switch (step->kind) {
    case LG_STEP_CONV:
    case LG_STEP_CONV_TRANSPOSE:
    case LG_STEP_LINEAR:
        return (size_t)lg_step_channels(step) * sizeof(double);
    case LG_STEP_AFFINE:
        return (size_t)lg_step_channels(step) * 2 * sizeof(double);
    case LG_STEP_MATMUL: {
        const lg_shape *b = &program->cells[step->inputs[1]].shape;
        return (size_t)b->dims[b->n_dims - 1] * sizeof(double);
    }
    case LG_STEP_AVG_POOL: /* sums of a pixel's lanes: of its channels, or of a block of them */
    case LG_STEP_ADAPTIVE_AVG_POOL:
        return ((size_t)channels(program, step->output) + LG_MAX_BLOCK) * sizeof(double);
    default:
        return 0;
    }
}

void lg_plain_run(const lg_plain_call *call)
{
    static void (*const kernels[])(const lg_plain_call *) = {
        [LG_STEP_CONV] = lg_plain_layer,
        [LG_STEP_CONV_TRANSPOSE] = lg_plain_layer,
        [LG_STEP_LINEAR] = lg_plain_layer,
        [LG_STEP_AFFINE] = lg_plain_affine,
        [LG_STEP_BINARY] = lg_plain_binary,
        [LG_STEP_ACT] = lg_plain_act,
        [LG_STEP_PRELU] = lg_plain_prelu,
        [LG_STEP_MAX_POOL] = lg_plain_pool,
        [LG_STEP_AVG_POOL] = lg_plain_pool,
        [LG_STEP_ADAPTIVE_AVG_POOL] = lg_plain_adaptive,
        [LG_STEP_ADAPTIVE_MAX_POOL] = lg_plain_adaptive,
        [LG_STEP_PAD] = lg_plain_pad,
        [LG_STEP_UPSAMPLE] = lg_plain_upsample,
        [LG_STEP_CONCAT] = lg_plain_concat,
        [LG_STEP_SLICE] = lg_plain_slice,
        [LG_STEP_PERMUTE] = lg_plain_permute,
        [LG_STEP_RESHAPE] = lg_plain_reshape,
        [LG_STEP_SHUFFLE] = lg_plain_shuffle,
        [LG_STEP_CONSTANT] = lg_plain_constant,
        [LG_STEP_MEAN] = lg_plain_mean,
        [LG_STEP_SOFTMAX] = lg_plain_softmax,
        [LG_STEP_LAYER_NORM] = lg_plain_layer_norm,
        [LG_STEP_GROUP_NORM] = lg_plain_group_norm,
        [LG_STEP_MATMUL] = lg_plain_matmul,
    };

    kernels[call->step->kind](call);
}
