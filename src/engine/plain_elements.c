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

/* Operands of a step, walked together, and where the rows of the last extent but one lie. */
typedef struct rows {
    float *y;
    const float *a, *b;
    int64_t n, length;               /* rows, and elements of each */
    int64_t a_stride, b_stride;      /* of a row's elements: 0 or 1 */
    int64_t a_distance, b_distance;  /* between rows */
} rows;

#define ADD(a, b) ((a) + (b))
#define SUB(a, b) ((a) - (b))
#define MUL(a, b) ((a) * (b))
#define DIV(a, b) ((a) / (b))
#define MIN(a, b) ((a) < (b) || (a) != (a) ? (a) : (b)) /* a NaN passes */
#define MAX(a, b) ((a) > (b) || (a) != (a) ? (a) : (b))
#define EACH(left, right, op)                                                 \
    for (int64_t k = 0; k < n; k++)                                           \
        for (int64_t i = 0; i < length; i++)                                  \
            y[k * length + i] = op(a[k * a_distance + (left)], b[k * b_distance + (right)]);
#define ROWS(op)                                                              \
    if (r->a_stride != 0 && r->b_stride != 0)                                 \
        EACH(i, i, op)                                                        \
    else if (r->a_stride != 0)                                                \
        EACH(i, 0, op)                                                        \
    else                                                                      \
        EACH(0, i * r->b_stride, op)
#define OPEN_ROWS                                                             \
    const int64_t n = r->n, a_distance = r->a_distance, b_distance = r->b_distance; \
    const float *restrict a = r->a, *restrict b = r->b;                       \
    float *restrict y = r->y;

/* `length` is a constant where rows are blocks of channels: compilers make that one vector. */
static inline void combine(const rows *r, int64_t length, lg_binary_kind kind)
{
    OPEN_ROWS

    switch (kind) {
    case LG_BINARY_ADD:
        ROWS(ADD)
        break;
    case LG_BINARY_SUB:
        ROWS(SUB)
        break;
    case LG_BINARY_MUL:
        ROWS(MUL)
        break;
    case LG_BINARY_DIV:
        ROWS(DIV)
        break;
    case LG_BINARY_MIN:
        ROWS(MIN)
        break;
    case LG_BINARY_MAX:
        ROWS(MAX)
        break;
    }
}

static inline float leak(float x, float slope)
{
    const float scaled = x * slope; /* read before it is known to be needed: no branch */

    return x < 0.0f ? scaled : x;
}

static inline void scale_negative(const rows *r, int64_t length)
{
    OPEN_ROWS

    ROWS(leak)
}

/* The next rows of a walk: one, or as many whole ones as lie at equal distances. */
static rows next_rows(lg_walk *walk, float *y, const float *a, const float *b)
{
    const rows r = { .y = y,
                     .a = a + walk->offset[0],
                     .b = b + walk->offset[1],
                     .n = lg_walk_rows(walk),
                     .length = walk->row,
                     .a_stride = walk->stride[0],
                     .b_stride = walk->stride[1],
                     .a_distance = walk->n > 0 ? walk->strides[0][walk->n - 1] : 0,
                     .b_distance = walk->n > 0 ? walk->strides[1][walk->n - 1] : 0 };

    lg_walk_skip(walk, r.n - 1);
    return r;
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
        const rows r = next_rows(&walk, y, call->inputs[0], call->inputs[1]);
        if (r.length == 16)
            combine(&r, 16, step->binary);
        else
            combine(&r, r.length, step->binary);
        if (step->act.kind != LG_ACT_NONE)
            LG_PLAIN(activate)(y, y, r.n * r.length, &step->act, call->precise);
        y += r.n * r.length;
    } while (lg_walk_next(&walk));
}

void LG_PLAIN(act)(const lg_plain_call *call)
{
    LG_PLAIN(activate)(call->y + call->first, call->inputs[0] + call->first, call->end - call->first, &call->step->act,
                       call->precise);
}

/* x (N,C,...): each channel has a slope, or all have one; a slope is repeated as a factor would be. */
void LG_PLAIN(prelu)(const lg_plain_call *call)
{
    const lg_cell *cell = &call->program->cells[call->step->output];
    const lg_shape shape = lg_memory_shape(cell, call->out, call->block);
    const int single = lg_tensor_count(&call->step->weight) == 1;
    int64_t x_strides[LEGO_MAX_DIMS], slope_strides[LEGO_MAX_DIMS] = { 0 };
    float *y = call->y + call->first;
    lg_walk walk;

    broadcast_strides(x_strides, call, call->step->output);
    if (!single && call->out == LG_LAYOUT_BLOCKED) {
        slope_strides[1] = call->block;
        slope_strides[shape.n_dims - 1] = 1;
    } else if (!single) {
        slope_strides[lg_memory_axis(cell, call->out, 1)] = 1;
    }
    lg_walk_start(&walk, shape.n_dims, shape.dims, x_strides, slope_strides);
    lg_walk_cut(&walk, call->first, call->end);
    do {
        const rows r = next_rows(&walk, y, call->inputs[0], lg_tensor_data(&call->step->weight));
        if (r.length == 16)
            scale_negative(&r, 16);
        else
            scale_negative(&r, r.length);
        y += r.n * r.length;
    } while (lg_walk_next(&walk));
}
