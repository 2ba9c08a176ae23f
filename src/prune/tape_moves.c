/* Backward passes of what moves, cuts, joins and averages elements: each gradient goes back where its element came from. */
#include <math.h>

#include "prune/tape_rules.h"

static void back_copy(lg_tape *tape, const lg_node *node, const float *dy)
{
    const int64_t n = lg_tape_count(tape, node->inputs[0]);
    float *dx = lg_tape_add_to(tape, node->inputs[0]);

    for (int64_t i = 0; i < n; i++)
        dx[i] += dy[i];
}

static void back_permute(lg_tape *tape, const lg_node *node, const float *dy)
{
    const lg_strided in = lg_tape_strided(tape, node->inputs[0]), out = lg_tape_strided(tape, node->outputs[0]);
    int64_t strides[LEGO_MAX_DIMS] = { in.strides[0] };

    for (int64_t i = 0; i < node->attrs->permute.order.n; i++)
        strides[i + 1] = in.strides[node->attrs->permute.order.dims[i]];
    lg_tape_add(lg_tape_add_to(tape, node->inputs[0]), strides, dy, out.strides, out.extents, out.n_dims, 1.0f);
}

static void back_concat(lg_tape *tape, const lg_node *node, const float *dy)
{
    const lg_strided out = lg_tape_strided(tape, node->outputs[0]);
    const int64_t axis = node->attrs->axis.axis;

    for (int32_t i = 0; i < node->n_inputs; i++) {
        const lg_strided in = lg_tape_strided(tape, node->inputs[i]);

        lg_tape_add(lg_tape_add_to(tape, node->inputs[i]), in.strides, dy, out.strides, in.extents, in.n_dims, 1.0f);
        dy += in.extents[axis] * out.strides[axis];
    }
}

static void back_split(lg_tape *tape, const lg_node *node, const float *dy)
{
    const lg_strided in = lg_tape_strided(tape, node->inputs[0]);
    const int64_t axis = node->attrs->split.axis;
    float *dx = lg_tape_add_to(tape, node->inputs[0]);

    (void)dy;
    for (int32_t i = 0; i < node->n_outputs; i++) {
        const lg_strided out = lg_tape_strided(tape, node->outputs[i]);

        if (tape->arrived[node->outputs[i]])
            lg_tape_add(dx, in.strides, tape->gradients[node->outputs[i]], out.strides, out.extents, out.n_dims, 1.0f);
        dx += out.extents[axis] * in.strides[axis];
    }
}

static void back_slice(lg_tape *tape, const lg_node *node, const float *dy)
{
    const lg_strided out = lg_tape_strided(tape, node->outputs[0]);
    const int64_t axis = node->attrs->slice.axis;
    lg_strided in = lg_tape_strided(tape, node->inputs[0]);
    float *dx = lg_tape_add_to(tape, node->inputs[0]) + node->attrs->slice.start * in.strides[axis];

    in.strides[axis] *= node->attrs->slice.step;
    lg_tape_add(dx, in.strides, dy, out.strides, out.extents, out.n_dims, 1.0f);
}

/* The output as it would be with the reduced axes kept, every element repeated along them. */
static void back_mean(lg_tape *tape, const lg_node *node, const float *dy)
{
    const lg_strided in = lg_tape_strided(tape, node->inputs[0]);
    const lg_dims *axes = &node->attrs->mean.axes;
    int64_t strides[LEGO_MAX_DIMS] = { 0 }, stride = 1;
    int is_reduced[LEGO_MAX_DIMS] = { 0 };

    for (int64_t i = 0; i < axes->n; i++)
        is_reduced[axes->dims[i]] = 1;
    for (int i = in.n_dims - 1; i >= 0; i--) {
        strides[i] = is_reduced[i] ? 0 : stride;
        stride *= is_reduced[i] ? 1 : in.extents[i];
    }
    lg_tape_add(lg_tape_add_to(tape, node->inputs[0]), in.strides, dy, strides, in.extents, in.n_dims,
                (float)((double)lg_tape_count(tape, node->outputs[0]) / (double)lg_tape_count(tape, node->inputs[0])));
}

/* --- windows: all spatial axes as three, the missing ones in front --- */

typedef struct planes {
    int64_t n;              /* samples times channels */
    int64_t in[3], out[3];
} planes;

static planes planes_of(const lg_tape *tape, const lg_node *node)
{
    const lg_shape *in = &lg_tape_value(tape, node->inputs[0])->shape, *out = &lg_tape_value(tape, node->outputs[0])->shape;
    const int n_axes = node->op->n_axes;
    planes p = { tape->batch * in->dims[1], { 1, 1, 1 }, { 1, 1, 1 } };

    for (int i = 0; i < n_axes; i++) {
        p.in[3 - n_axes + i] = in->dims[2 + i];
        p.out[3 - n_axes + i] = out->dims[2 + i];
    }
    return p;
}

static int64_t size_of(const int64_t *extents)
{
    return extents[0] * extents[1] * extents[2];
}

/* Which places of each axis an output position reads: first, first + step ... < end; and the average's divisor. */
typedef struct window {
    int64_t first[3], end[3], step[3];
    int64_t divisor;
} window;

static window pool_window(const lg_node *node, const planes *p, const int64_t *at)
{
    const lg_pool_attrs *a = &node->attrs->pool;
    const int n_axes = node->op->n_axes, front = 3 - n_axes;
    window w = { { 0, 0, 0 }, { 1, 1, 1 }, { 1, 1, 1 }, 1 };

    for (int i = 0; i < n_axes; i++) {
        const int axis = front + i;
        const int64_t start = at[axis] * a->stride[i] - a->pads[i], last = p->in[axis] + a->pads[n_axes + i];
        const int64_t stop = start + (a->kernel[i] - 1) * a->dilation[i] + 1;
        const int64_t skipped = start < 0 ? (-start + a->dilation[i] - 1) / a->dilation[i] : 0;

        w.first[axis] = start + skipped * a->dilation[i];
        w.end[axis] = stop < p->in[axis] ? stop : p->in[axis];
        w.step[axis] = a->dilation[i];
        /* torch: the window as far as the padding behind the input reaches */
        w.divisor *= a->count_include_pad ? (stop < last ? stop : last) - start : w.end[axis] - w.first[axis];
    }
    return w;
}

static window adaptive_window(const lg_node *node, const planes *p, const int64_t *at)
{
    window w = { { 0, 0, 0 }, { 1, 1, 1 }, { 1, 1, 1 }, 1 };

    for (int axis = 3 - node->op->n_axes; axis < 3; axis++) {
        w.first[axis] = at[axis] * p->in[axis] / p->out[axis];
        w.end[axis] = ((at[axis] + 1) * p->in[axis] + p->out[axis] - 1) / p->out[axis];
        w.divisor *= w.end[axis] - w.first[axis];
    }
    return w;
}

static void spread(float *plane, const planes *p, const window *w, float value)
{
    for (int64_t z = w->first[0]; z < w->end[0]; z += w->step[0])
        for (int64_t y = w->first[1]; y < w->end[1]; y += w->step[1])
            for (int64_t x = w->first[2]; x < w->end[2]; x += w->step[2])
                plane[(z * p->in[1] + y) * p->in[2] + x] += value;
}

static int64_t largest(const float *plane, const planes *p, const window *w)
{
    int64_t best = -1;

    for (int64_t z = w->first[0]; z < w->end[0]; z += w->step[0])
        for (int64_t y = w->first[1]; y < w->end[1]; y += w->step[1])
            for (int64_t x = w->first[2]; x < w->end[2]; x += w->step[2]) {
                const int64_t i = (z * p->in[1] + y) * p->in[2] + x;

                if (best < 0 || plane[i] > plane[best])
                    best = i;
            }
    return best;
}

static void back_pool(lg_tape *tape, const lg_node *node, const float *dy)
{
    const lg_op_kind kind = node->op->kind;
    const int is_adaptive = kind == LG_OP_ADAPTIVE_AVG_POOL || kind == LG_OP_ADAPTIVE_MAX_POOL;
    const int is_max = kind == LG_OP_MAX_POOL || kind == LG_OP_ADAPTIVE_MAX_POOL;
    const planes p = planes_of(tape, node);
    const float *x = is_max ? lg_tape_activation(tape, node->inputs[0]) : NULL;
    float *dx = lg_tape_add_to(tape, node->inputs[0]);

    for (int64_t i = 0; i < p.n; i++, dx += size_of(p.in))
        for (int64_t o = 0; o < size_of(p.out); o++, dy++) {
            const int64_t at[3] = { o / (p.out[1] * p.out[2]), o / p.out[2] % p.out[1], o % p.out[2] };
            const window w = is_adaptive ? adaptive_window(node, &p, at) : pool_window(node, &p, at);

            if (is_max)
                dx[largest(x + i * size_of(p.in), &p, &w)] += *dy;
            else
                spread(dx, &p, &w, *dy / (float)w.divisor);
        }
}

/* --- resizing, padding --- */

typedef struct taps {
    int64_t index[2];
    float weight[2];
} taps;

static taps upsample_taps(const lg_node *node, int64_t in, int64_t out, int64_t at)
{
    double place;
    int64_t low;

    if (node->attrs->upsample.mode == LG_UPSAMPLE_NEAREST)
        return (taps){ { at * in / out, 0 }, { 1.0f, 0.0f } };
    place = node->attrs->upsample.align_corners ? (out > 1 ? (double)at * (double)(in - 1) / (double)(out - 1) : 0.0)
                                                : fmax(0.0, ((double)at + 0.5) * (double)in / (double)out - 0.5);
    low = (int64_t)place < in - 1 ? (int64_t)place : in - 1;
    return (taps){ { low, low + 1 < in ? low + 1 : low }, { (float)(1.0 - (place - (double)low)), (float)(place - (double)low) } };
}

static void back_upsample(lg_tape *tape, const lg_node *node, const float *dy)
{
    const planes p = planes_of(tape, node);
    float *dx = lg_tape_add_to(tape, node->inputs[0]);

    for (int64_t i = 0; i < p.n; i++, dx += size_of(p.in))
        for (int64_t o = 0; o < size_of(p.out); o++, dy++) {
            const int64_t at[3] = { o / (p.out[1] * p.out[2]), o / p.out[2] % p.out[1], o % p.out[2] };
            const taps z = upsample_taps(node, p.in[0], p.out[0], at[0]), y = upsample_taps(node, p.in[1], p.out[1], at[1]);
            const taps x = upsample_taps(node, p.in[2], p.out[2], at[2]);

            for (int k = 0; k < 8; k++) {
                const float weight = z.weight[k >> 2] * y.weight[k >> 1 & 1] * x.weight[k & 1];

                if (weight != 0.0f)
                    dx[(z.index[k >> 2] * p.in[1] + y.index[k >> 1 & 1]) * p.in[2] + x.index[k & 1]] += weight * *dy;
            }
        }
}

static void back_pad(lg_tape *tape, const lg_node *node, const float *dy)
{
    const lg_strided in = lg_tape_strided(tape, node->inputs[0]), out = lg_tape_strided(tape, node->outputs[0]);

    for (int i = 0; i < node->op->n_axes; i++)
        dy += node->attrs->pad.pads[i] * out.strides[2 + i];
    lg_tape_add(lg_tape_add_to(tape, node->inputs[0]), in.strides, dy, out.strides, in.extents, in.n_dims, 1.0f);
}

const lg_tape_rule lg_tape_moves[] = {
    { LG_OP_FLATTEN, LG_TAPE_NOTHING, back_copy, NULL },
    { LG_OP_RESHAPE, LG_TAPE_NOTHING, back_copy, NULL },
    { LG_OP_DROPOUT, LG_TAPE_NOTHING, back_copy, NULL },
    { LG_OP_PERMUTE, LG_TAPE_NOTHING, back_permute, NULL },
    { LG_OP_CONCAT, LG_TAPE_NOTHING, back_concat, NULL },
    { LG_OP_SPLIT, LG_TAPE_NOTHING, back_split, NULL },
    { LG_OP_SLICE, LG_TAPE_NOTHING, back_slice, NULL },
    { LG_OP_MEAN, LG_TAPE_NOTHING, back_mean, NULL },
    { LG_OP_MAX_POOL, LG_TAPE_INPUTS, back_pool, NULL },
    { LG_OP_AVG_POOL, LG_TAPE_NOTHING, back_pool, NULL },
    { LG_OP_ADAPTIVE_AVG_POOL, LG_TAPE_NOTHING, back_pool, NULL },
    { LG_OP_ADAPTIVE_MAX_POOL, LG_TAPE_INPUTS, back_pool, NULL },
    { LG_OP_UPSAMPLE, LG_TAPE_NOTHING, back_upsample, NULL },
    { LG_OP_PAD, LG_TAPE_NOTHING, back_pad, NULL },
    { LG_OP_BLOCK, 0, NULL, NULL },
};
