/* plain_moves.c: ops that compute nothing: concat, slice, permute, reshape, channel shuffle, constant.
 *
 * What newcomers get wrong: joined channels are far apart in a row-major image and neighbours in NHWC. Both are runs of
 * equal length once the axis is looked up in the order of memory (lg_memory_axis). */
#include <string.h>

#include "engine/plain.h"

/* How an axis divides a cell in memory: `outer` runs of `run` elements, of which each index takes `inner`. */
typedef struct runs {
    int64_t outer, run, inner;
} runs;

static runs runs_of(const lg_plain_call *call, int32_t cell, int64_t axis)
{
    const lg_cell *c = &call->program->cells[cell];
    const lg_shape shape = lg_memory_shape(c, call->in, call->block);
    const int at = lg_memory_axis(c, call->in, (int)axis);
    runs r = { 1, 0, 1 };

    for (int i = 0; i < at; i++)
        r.outer *= shape.dims[i];
    for (int i = at + 1; i < shape.n_dims; i++)
        r.inner *= shape.dims[i];
    r.run = shape.dims[at] * r.inner;
    return r;
}

void lg_plain_concat(const lg_plain_call *call)
{
    const lg_step *step = call->step;
    const runs out = runs_of(call, step->output, step->attrs.axis.axis);
    int64_t offset = 0;

    for (int32_t i = 0; i < step->n_inputs; i++) {
        const runs in = runs_of(call, step->inputs[i], step->attrs.axis.axis);
        for (int64_t o = 0; o < in.outer; o++)
            memcpy(call->y + o * out.run + offset, call->inputs[i] + o * in.run, (size_t)in.run * sizeof(float));
        offset += in.run;
    }
}

/* A cut inside a block leaves the next channels in its lanes. */
static void clear_spare_lanes(const lg_plain_call *call)
{
    const lg_cell *cell = &call->program->cells[call->step->output];
    const lg_planes planes = lg_planes_of(cell, LG_LAYOUT_BLOCKED, call->block);
    const int64_t used = cell->shape.dims[1] % call->block, per_sample = planes.n / cell->shape.dims[0];
    const int64_t pixels = planes.height * planes.width;

    for (int64_t n = per_sample - 1; used > 0 && n < planes.n; n += per_sample)
        for (int64_t i = 0; i < pixels; i++)
            memset(call->y + (n * pixels + i) * call->block + used, 0,
                   (size_t)(call->block - used) * sizeof(float));
}

void lg_plain_slice(const lg_plain_call *call)
{
    const lg_step *step = call->step;
    const int64_t axis = step->attrs.slice.axis;
    const runs in = runs_of(call, step->inputs[0], axis), out = runs_of(call, step->output, axis);
    const int by_blocks = axis == 1 && call->in == LG_LAYOUT_BLOCKED;
    const int64_t first = by_blocks ? step->attrs.slice.start / call->block : step->attrs.slice.start;

    for (int64_t o = 0; o < out.outer; o++) {
        const float *x = call->inputs[0] + o * in.run + first * in.inner;
        float *y = call->y + o * out.run;

        if (step->attrs.slice.step == 1)
            memcpy(y, x, (size_t)out.run * sizeof(float));
        else
            for (int64_t i = 0; i < out.run; i += out.inner, x += step->attrs.slice.step * in.inner)
                memcpy(y + i, x, (size_t)out.inner * sizeof(float));
    }
    if (by_blocks)
        clear_spare_lanes(call);
}

/* Strides of the input, in the order of the output's memory. */
void lg_plain_permute(const lg_plain_call *call)
{
    const lg_step *step = call->step;
    const lg_cell *from = &call->program->cells[step->inputs[0]], *to = &call->program->cells[step->output];
    const lg_shape in = lg_memory_shape(from, call->in, call->block);
    const lg_shape out = lg_memory_shape(to, call->out, call->block);
    int64_t memory_strides[LEGO_MAX_DIMS], strides[LEGO_MAX_DIMS], stride = 1;
    float *y = call->y;
    lg_walk walk;

    for (int i = in.n_dims - 1; i >= 0; i--) {
        memory_strides[i] = stride;
        stride *= in.dims[i];
    }
    for (int axis = 0; axis < out.n_dims; axis++) {
        const int source = axis == 0 ? 0 : (int)step->attrs.permute.order.dims[axis - 1];
        strides[lg_memory_axis(to, call->out, axis)] = memory_strides[lg_memory_axis(from, call->in, source)];
    }
    lg_walk_start(&walk, out.n_dims, out.dims, strides, strides);
    do {
        const float *x = call->inputs[0] + walk.offset[0];
        if (walk.inner_stride[0] == 1)
            memcpy(y, x, (size_t)walk.inner * sizeof(float));
        else
            for (int64_t i = 0; i < walk.inner; i++)
                y[i] = x[i * walk.inner_stride[0]];
        y += walk.inner;
    } while (lg_walk_next(&walk));
}

void lg_plain_reshape(const lg_plain_call *call)
{
    memcpy(call->y, call->inputs[0], (size_t)call->program->cells[call->step->output].elements * sizeof(float));
}

/* Interleave `n` runs of `per` values each. Called with a constant for the usual numbers of groups, which compilers turn
 * into vector code. */
static inline void interleave(float *restrict y, const float *restrict x, int64_t n, int64_t per)
{
    for (int64_t k = 0; k < per; k++)
        for (int64_t i = 0; i < n; i++)
            y[k * n + i] = x[i * per + k];
}

static void shuffle_pixel(float *y, const float *x, int64_t n_groups, int64_t per_group)
{
    switch (n_groups) {
    case 2:
        interleave(y, x, 2, per_group);
        break;
    case 3:
        interleave(y, x, 3, per_group);
        break;
    case 4:
        interleave(y, x, 4, per_group);
        break;
    default:
        interleave(y, x, n_groups, per_group);
        break;
    }
}

/* Row-major, whole channels move; in NHWC, a pixel's channels among themselves. */
void lg_plain_shuffle(const lg_plain_call *call)
{
    const runs r = runs_of(call, call->step->output, 1);
    const int64_t n_groups = call->step->shuffle_groups, per_group = r.run / r.inner / n_groups;

    for (int64_t o = 0; o < r.outer; o++) {
        const float *x = call->inputs[0] + o * r.run;
        float *y = call->y + o * r.run;
        if (r.inner == 1) {
            shuffle_pixel(y, x, n_groups, per_group);
            continue;
        }
        for (int64_t k = 0; k < per_group; k++)
            for (int64_t i = 0; i < n_groups; i++, y += r.inner)
                memcpy(y, x + (i * per_group + k) * r.inner, (size_t)r.inner * sizeof(*y));
    }
}

/* The same for every sample. */
void lg_plain_constant(const lg_plain_call *call)
{
    const int64_t n = lg_tensor_count(&call->step->weight);

    for (int64_t k = 0; k < call->program->batch; k++)
        memcpy(call->y + k * n, lg_tensor_data(&call->step->weight), (size_t)n * sizeof(float));
}
