/* plain_elements.c: element by element, of one or two values: sums and products with repeated extents, activations.
 *
 * A sum, difference, product or quotient of two floats is the same computed in float and in double, rounded once, so
 * these loops are in float.
 *
 * What newcomers get wrong: an extent of 1 that is repeated is a stride of 0, in whatever layout; there is no copy. */
#include "engine/plain_kernels.h"

/* Strides of a cell's axes in memory, 0 where its one element is repeated. */
static void broadcast_strides(int64_t strides[LEGO_MAX_DIMS], const lg_plain_call *call, int32_t cell)
{
    const lg_shape shape = lg_memory_shape(&call->program->cells[cell], call->in, call->block);
    int64_t stride = 1;

    for (int i = shape.n_dims - 1; i >= 0; i--) {
        strides[i] = shape.dims[i] == 1 ? 0 : stride;
        stride *= shape.dims[i];
    }
}

#define ROW(op)                                                               \
    do {                                                                      \
        if (sa != 0 && sb != 0)                                               \
            for (int64_t i = 0; i < n; i++)                                   \
                y[i] = a[i] op b[i];                                          \
        else if (sa != 0)                                                     \
            for (int64_t i = 0; i < n; i++)                                   \
                y[i] = a[i] op b[0];                                          \
        else                                                                  \
            for (int64_t i = 0; i < n; i++)                                   \
                y[i] = a[0] op b[i * sb];                                     \
    } while (0)

/* Strides are 0 or 1: it is the innermost axis. */
static void binary_row(float *y, const float *a, int64_t sa, const float *b, int64_t sb, int64_t n,
                       lg_binary_kind kind)
{
    switch (kind) {
    case LG_BINARY_ADD:
        ROW(+);
        break;
    case LG_BINARY_SUB:
        ROW(-);
        break;
    case LG_BINARY_MUL:
        ROW(*);
        break;
    case LG_BINARY_DIV:
        ROW(/);
        break;
    }
}

void LG_PLAIN(binary)(const lg_plain_call *call)
{
    const lg_step *step = call->step;
    const lg_shape out = lg_memory_shape(&call->program->cells[step->output], call->out, call->block);
    int64_t a[LEGO_MAX_DIMS], b[LEGO_MAX_DIMS];
    float *y = call->y + call->first;
    lg_walk walk;

    broadcast_strides(a, call, step->inputs[0]);
    broadcast_strides(b, call, step->inputs[1]);
    lg_walk_start(&walk, out.n_dims, out.dims, a, b);
    lg_walk_cut(&walk, call->first, call->end);
    do {
        binary_row(y, call->inputs[0] + walk.offset[0], walk.stride[0], call->inputs[1] + walk.offset[1], walk.stride[1],
                   walk.row, step->binary);
        if (step->act.kind != LG_ACT_NONE)
            lg_act_run(y, y, walk.row, &step->act);
        y += walk.row;
    } while (lg_walk_next(&walk));
}

void LG_PLAIN(act)(const lg_plain_call *call)
{
    lg_act_run(call->y + call->first, call->inputs[0] + call->first, call->end - call->first, &call->step->act);
}

/* x (N,C,...): each channel has a slope, or all have one. */
void LG_PLAIN(prelu)(const lg_plain_call *call)
{
    const lg_cell *cell = &call->program->cells[call->step->output];
    const lg_shape shape = lg_memory_shape(cell, call->out, call->block);
    const float *slopes = lg_tensor_data(&call->step->weight), *x = call->inputs[0];
    const int single = lg_tensor_count(&call->step->weight) == 1;
    const int axis = lg_memory_axis(cell, call->out, 1);
    int64_t inner = 1;

    for (int i = axis + 1; i < shape.n_dims; i++)
        inner *= shape.dims[i];
    for (int64_t unit = call->first; unit < call->end; unit++) {
        const int64_t c = unit % shape.dims[axis];
        for (int64_t i = 0; i < inner; i++) {
            const int64_t lane = call->out == LG_LAYOUT_BLOCKED ? c * call->block + i % call->block : c;
            const float value = x[unit * inner + i];
            call->y[unit * inner + i] = value < 0.0f ? value * slopes[single ? 0 : lane] : value;
        }
    }
}
