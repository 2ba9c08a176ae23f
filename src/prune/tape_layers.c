/* Backward passes of layers and matrix products.
 *
 * A convolution's is W^T dY scattered back by the window (col2im), group by group; a transposed convolution's is the
 * convolution that it is the gradient of. Layers over one or two spatial axes are treated as over three. */
#include "base/blas.h"
#include "prune/tape_rules.h"

/* A window between a dense side (what a convolution reads, what a transposed one writes) and a strided one. */
typedef struct geometry {
    int64_t dense[3], strided[3];
    int64_t kernel[3], stride[3], dilation[3], pads[3];
} geometry;

static geometry geometry_of(const lg_tape *tape, const lg_node *node, int32_t dense, int32_t strided)
{
    const lg_shape *weight = &lg_node_weight(tape->graph, node, 0)->shape;
    const int is_transposed = node->op->kind == LG_OP_CONV_TRANSPOSE, n_axes = node->op->n_axes, front = 3 - n_axes;
    const int64_t *stride = is_transposed ? node->attrs->conv_transpose.stride : node->attrs->conv.stride;
    const int64_t *dilation = is_transposed ? node->attrs->conv_transpose.dilation : node->attrs->conv.dilation;
    const int64_t *pads = is_transposed ? node->attrs->conv_transpose.pads : node->attrs->conv.pads;
    geometry g = { { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 }, { 0, 0, 0 } };

    for (int i = 0; i < n_axes; i++) {
        g.dense[front + i] = lg_tape_value(tape, dense)->shape.dims[2 + i];
        g.strided[front + i] = lg_tape_value(tape, strided)->shape.dims[2 + i];
        g.kernel[front + i] = weight->dims[2 + i];
        g.stride[front + i] = stride[i];
        g.dilation[front + i] = dilation[i];
        g.pads[front + i] = pads[i];
    }
    return g;
}

static int64_t product(const int64_t *extents)
{
    return extents[0] * extents[1] * extents[2];
}

static int is_pointwise(const geometry *g)
{
    return product(g->kernel) == 1 && product(g->stride) == 1 && g->pads[0] + g->pads[1] + g->pads[2] == 0 &&
           product(g->dense) == product(g->strided);
}

/* One line of positions of one tap. `gather`: the columns from the dense side, else added to it. */
static void move_line(float *line, float *columns, int64_t n, int64_t extent, int64_t first, int64_t stride, int gather)
{
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = first + i * stride;
        const int inside = at >= 0 && at < extent;

        if (gather)
            columns[i] = inside ? line[at] : 0.0f;
        else if (inside)
            line[at] += columns[i];
    }
}

/* dense (channels, dense) <-> columns (channels * taps, strided) */
static void move_columns(float *dense, float *columns, int64_t channels, const geometry *g, int gather)
{
    const int64_t lines = g->strided[0] * g->strided[1];

    for (int64_t row = 0; row < channels * product(g->kernel); row++) {
        const int64_t kx = row % g->kernel[2], ky = row / g->kernel[2] % g->kernel[1];
        const int64_t kz = row / (g->kernel[2] * g->kernel[1]) % g->kernel[0];
        float *plane = dense + row / product(g->kernel) * product(g->dense);

        for (int64_t l = 0; l < lines; l++, columns += g->strided[2]) {
            const int64_t z = l / g->strided[1] * g->stride[0] - g->pads[0] + kz * g->dilation[0];
            const int64_t y = l % g->strided[1] * g->stride[1] - g->pads[1] + ky * g->dilation[1];

            if (z >= 0 && z < g->dense[0] && y >= 0 && y < g->dense[1])
                move_line(plane + (z * g->dense[1] + y) * g->dense[2], columns, g->strided[2], g->dense[2],
                          kx * g->dilation[2] - g->pads[2], g->stride[2], gather);
            else if (gather)
                move_line(NULL, columns, g->strided[2], 0, 0, 0, 1);
        }
    }
}

static void back_conv(lg_tape *tape, const lg_node *node, const float *dy)
{
    const geometry g = geometry_of(tape, node, node->inputs[0], node->outputs[0]);
    const lego_tensor *weight = lg_node_weight(tape->graph, node, 0);
    const int64_t groups = node->attrs->conv.groups, share = weight->shape.dims[1], k = weight->shape.dims[0] / groups;
    const int64_t rows = share * product(g.kernel), p = product(g.strided);
    float *dx = lg_tape_add_to(tape, node->inputs[0]);

    for (int64_t i = 0; i < tape->batch * groups; i++) { /* images, groups within */
        const float *w = (const float *)lg_tensor_data(weight) + i % groups * k * rows;
        float *to = dx + i * share * product(g.dense);

        if (is_pointwise(&g)) {
            lg_sgemm(1, 0, rows, p, k, 1.0f, w, rows, dy + i * k * p, p, 1.0f, to, p);
            continue;
        }
        lg_sgemm(1, 0, rows, p, k, 1.0f, w, rows, dy + i * k * p, p, 0.0f, tape->scratch, p);
        move_columns(to, tape->scratch, share, &g, 0);
    }
}

static int64_t conv_scratch(const lg_tape *tape, const lg_node *node)
{
    const geometry g = geometry_of(tape, node, node->inputs[0], node->outputs[0]);

    return lg_node_weight(tape->graph, node, 0)->shape.dims[1] * product(g.kernel) * product(g.strided);
}

static void back_conv_transpose(lg_tape *tape, const lg_node *node, const float *dy)
{
    const geometry g = geometry_of(tape, node, node->outputs[0], node->inputs[0]);
    const lego_tensor *weight = lg_node_weight(tape->graph, node, 0);
    const int64_t groups = node->attrs->conv_transpose.groups, share = weight->shape.dims[0] / groups;
    const int64_t k = weight->shape.dims[1], columns = k * product(g.kernel), p = product(g.strided);
    float *dx = lg_tape_add_to(tape, node->inputs[0]);

    for (int64_t i = 0; i < tape->batch * groups; i++) {
        const float *w = (const float *)lg_tensor_data(weight) + i % groups * share * columns;

        move_columns((float *)dy + i * k * product(g.dense), tape->scratch, k, &g, 1); /* read only */
        lg_sgemm(0, 0, share, p, columns, 1.0f, w, columns, tape->scratch, p, 1.0f, dx + i * share * p, p);
    }
}

static int64_t conv_transpose_scratch(const lg_tape *tape, const lg_node *node)
{
    const geometry g = geometry_of(tape, node, node->outputs[0], node->inputs[0]);

    return lg_node_weight(tape->graph, node, 0)->shape.dims[1] * product(g.kernel) * product(g.strided);
}

static void back_linear(lg_tape *tape, const lg_node *node, const float *dy)
{
    const lego_tensor *weight = lg_node_weight(tape->graph, node, 0);
    const int64_t k = weight->shape.dims[0], c = weight->shape.dims[1];
    const int64_t rows = lg_tape_count(tape, node->inputs[0]) / c;

    lg_sgemm(0, 0, rows, c, k, 1.0f, dy, k, lg_tensor_data(weight), c, 1.0f, lg_tape_add_to(tape, node->inputs[0]), c);
}

/* a (...,M,K) b (...,K,P): dA = dY B^T, dB = A^T dY, added up where leading axes are repeated. */
static void back_matmul(lg_tape *tape, const lg_node *node, const float *dy)
{
    const lg_strided out = lg_tape_strided(tape, node->outputs[0]);
    const lg_strided a = lg_tape_repeated(tape, node->inputs[0], &out), b = lg_tape_repeated(tape, node->inputs[1], &out);
    const int n = out.n_dims;
    const int64_t m = out.extents[n - 2], p = out.extents[n - 1], k = a.extents[n - 1];
    const float *x = lg_tape_activation(tape, node->inputs[0]), *y = lg_tape_activation(tape, node->inputs[1]);
    float *dx = lg_tape_add_to(tape, node->inputs[0]), *dz = lg_tape_add_to(tape, node->inputs[1]);

    for (int64_t i = 0; i < lg_tape_count(tape, node->outputs[0]) / (m * p); i++) {
        int64_t left = 0, right = 0, rest = i;

        for (int axis = n - 3; axis >= 0; axis--) {
            left += rest % out.extents[axis] * a.strides[axis];
            right += rest % out.extents[axis] * b.strides[axis];
            rest /= out.extents[axis];
        }
        lg_sgemm(0, 1, m, k, p, 1.0f, dy + i * m * p, p, y + right, p, 1.0f, dx + left, k);
        lg_sgemm(1, 0, k, p, m, 1.0f, x + left, k, dy + i * m * p, p, 1.0f, dz + right, p);
    }
}

const lg_tape_rule lg_tape_layers[] = {
    { LG_OP_CONV, LG_TAPE_NOTHING, back_conv, conv_scratch },
    { LG_OP_CONV_TRANSPOSE, LG_TAPE_NOTHING, back_conv_transpose, conv_transpose_scratch },
    { LG_OP_LINEAR, LG_TAPE_NOTHING, back_linear, NULL },
    { LG_OP_MATMUL, LG_TAPE_INPUTS, back_matmul, NULL },
    { LG_OP_BLOCK, 0, NULL, NULL },
};
