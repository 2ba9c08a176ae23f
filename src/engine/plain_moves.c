/* plain_moves.c: ops that compute nothing: concat, slice, permute, reshape, channel shuffle, constant.
 *
 * What newcomers get wrong: joined channels are far apart in a row-major image and neighbours in NHWC. Both are runs of
 * equal length once the axis is looked up in the order of memory (lg_memory_axis). */
#include <string.h>

#include "engine/plain_kernels.h"

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

/* Copy `n` elements from `from` to element `at` of the output, as far as they are this part's. */
static void copy_part(const lg_plain_call *call, int64_t at, const float *from, int64_t n)
{
    const int64_t first = at > call->first ? at : call->first, end = at + n < call->end ? at + n : call->end;

    if (first < end)
        memcpy(call->y + first, from + (first - at), (size_t)(end - first) * sizeof(float));
}

/* The same of elements that lie `stride` apart. */
static void copy_strided(const lg_plain_call *call, int64_t at, const float *from, int64_t stride, int64_t n)
{
    const int64_t first = at > call->first ? at : call->first, end = at + n < call->end ? at + n : call->end;

    for (int64_t i = first; i < end; i++)
        call->y[i] = from[(i - at) * stride];
}

void LG_PLAIN(concat)(const lg_plain_call *call)
{
    const lg_step *step = call->step;
    const runs out = runs_of(call, step->output, step->attrs.axis.axis);
    int64_t offset = 0;

    for (int32_t i = 0; i < step->n_inputs; i++) {
        const runs in = runs_of(call, step->inputs[i], step->attrs.axis.axis);
        for (int64_t o = call->first / out.run; o * out.run < call->end; o++)
            copy_part(call, o * out.run + offset, call->inputs[i] + o * in.run, in.run);
        offset += in.run;
    }
}

/* A cut inside a block leaves the next channels in its lanes. */
static void clear_spare_lanes(const lg_plain_call *call)
{
    const lg_cell *cell = &call->program->cells[call->step->output];
    const lg_planes planes = lg_planes_of(cell, LG_LAYOUT_BLOCKED, call->block);
    const int64_t used = cell->shape.dims[1] % call->block, per_sample = planes.n / cell->shape.dims[0];
    const int64_t pixels = lg_planes_pixels(&planes);

    for (int64_t n = per_sample - 1; used > 0 && n < planes.n; n += per_sample)
        for (int64_t i = 0; i < pixels; i++)
            for (int64_t at = (n * pixels + i) * call->block + used, end = at + call->block - used; at < end; at++)
                if (at >= call->first && at < call->end)
                    call->y[at] = 0.0f;
}

void LG_PLAIN(slice)(const lg_plain_call *call)
{
    const lg_step *step = call->step;
    const int64_t axis = step->attrs.slice.axis;
    const runs in = runs_of(call, step->inputs[0], axis), out = runs_of(call, step->output, axis);
    const int by_blocks = axis == 1 && call->in == LG_LAYOUT_BLOCKED;
    const int64_t first = by_blocks ? step->attrs.slice.start / call->block : step->attrs.slice.start;

    for (int64_t o = call->first / out.run; o * out.run < call->end; o++) {
        const float *x = call->inputs[0] + o * in.run + first * in.inner;

        if (step->attrs.slice.step == 1)
            copy_part(call, o * out.run, x, out.run);
        else if (out.inner == 1)
            copy_strided(call, o * out.run, x, step->attrs.slice.step, out.run);
        else
            for (int64_t i = 0; i < out.run; i += out.inner, x += step->attrs.slice.step * in.inner)
                copy_part(call, o * out.run + i, x, out.inner);
    }
    if (by_blocks)
        clear_spare_lanes(call);
}

/* Strides of the input, in the order of the output's memory. */
void LG_PLAIN(permute)(const lg_plain_call *call)
{
    const lg_step *step = call->step;
    const lg_cell *from = &call->program->cells[step->inputs[0]], *to = &call->program->cells[step->output];
    const lg_shape in = lg_memory_shape(from, call->in, call->block);
    const lg_shape out = lg_memory_shape(to, call->out, call->block);
    int64_t memory_strides[LEGO_MAX_DIMS], strides[LEGO_MAX_DIMS], stride = 1;
    float *y = call->y + call->first;
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
    lg_walk_cut(&walk, call->first, call->end);
    do {
        const float *x = call->inputs[0] + walk.offset[0];
        if (walk.stride[0] == 1)
            memcpy(y, x, (size_t)walk.row * sizeof(float));
        else
            for (int64_t i = 0; i < walk.row; i++)
                y[i] = x[i * walk.stride[0]];
        y += walk.row;
    } while (lg_walk_next(&walk));
}

void LG_PLAIN(reshape)(const lg_plain_call *call)
{
    copy_part(call, call->first, call->inputs[0] + call->first, call->end - call->first);
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
void LG_PLAIN(shuffle)(const lg_plain_call *call)
{
    const runs r = runs_of(call, call->step->output, 1);
    const int64_t n_channels = r.run / r.inner, n_groups = call->step->shuffle_groups, per_group = n_channels / n_groups;

    for (int64_t unit = call->first; unit < call->end; unit++) {
        if (r.inner == 1) {
            shuffle_pixel(call->y + unit * r.run, call->inputs[0] + unit * r.run, n_groups, per_group);
        } else {
            const int64_t sample = unit / n_channels, to = unit % n_channels;
            const int64_t from = to % n_groups * per_group + to / n_groups;
            memcpy(call->y + unit * r.inner, call->inputs[0] + (sample * n_channels + from) * r.inner,
                   (size_t)r.inner * sizeof(float));
        }
    }
}

/* The same for every sample. */
void LG_PLAIN(constant)(const lg_plain_call *call)
{
    const int64_t n = lg_tensor_count(&call->step->weight);

    for (int64_t k = 0; k < call->program->batch; k++)
        copy_part(call, k * n, lg_tensor_data(&call->step->weight), n);
}
