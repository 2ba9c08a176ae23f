/* Backward passes of what keeps the places of elements: activations, sums and products, norms, softmax. */
#include <math.h>
#include <string.h>

#include "graph/functions.h"
#include "prune/tape_rules.h"

/* --- activations --- */

/* Passes where low < y < high. */
static void back_flat(lg_tape *tape, const lg_node *node, const float *dy, double low, double high)
{
    const int64_t n = lg_tape_count(tape, node->inputs[0]);
    const float *y = lg_tape_activation(tape, node->outputs[0]);
    float *dx = lg_tape_add_to(tape, node->inputs[0]);

    for (int64_t i = 0; i < n; i++)
        if (y[i] > low && y[i] < high)
            dx[i] += dy[i];
}

static void back_relu(lg_tape *tape, const lg_node *node, const float *dy)
{
    back_flat(tape, node, dy, 0.0, 1e300);
}

static void back_clip(lg_tape *tape, const lg_node *node, const float *dy)
{
    back_flat(tape, node, dy, node->attrs->clip.min, node->attrs->clip.max);
}

static void back_activation(lg_tape *tape, const lg_node *node, const float *dy)
{
    const int64_t n = lg_tape_count(tape, node->inputs[0]);
    const float *x = lg_tape_activation(tape, node->inputs[0]);
    float *dx = lg_tape_add_to(tape, node->inputs[0]);

    for (int64_t i = 0; i < n; i++)
        dx[i] += (float)(lg_tape_slope(node, x[i]) * dy[i]);
}

static void back_prelu(lg_tape *tape, const lg_node *node, const float *dy)
{
    const lg_shape *shape = &lg_tape_value(tape, node->inputs[0])->shape;
    const lego_tensor *weight = lg_node_weight(tape->graph, node, 0);
    const int64_t n = lg_tape_count(tape, node->inputs[0]), channels = shape->dims[1];
    const int64_t inner = n / tape->batch / channels;
    const float *x = lg_tape_activation(tape, node->inputs[0]), *slopes = lg_tensor_data(weight);
    float *dx = lg_tape_add_to(tape, node->inputs[0]);

    for (int64_t i = 0; i < n; i++)
        dx[i] += x[i] > 0.0f ? dy[i] : slopes[lg_tensor_count(weight) == 1 ? 0 : i / inner % channels] * dy[i];
}

/* --- two values --- */

/* Into that of input `index`, of which elements may be repeated. */
static void add_repeated(lg_tape *tape, const lg_node *node, int index, const float *dy, float scale)
{
    const lg_strided out = lg_tape_strided(tape, node->outputs[0]);
    const lg_strided in = lg_tape_repeated(tape, node->inputs[index], &out);

    lg_tape_add(lg_tape_add_to(tape, node->inputs[index]), in.strides, dy, out.strides, out.extents, out.n_dims, scale);
}

static void back_sum(lg_tape *tape, const lg_node *node, const float *dy)
{
    add_repeated(tape, node, 0, dy, 1.0f);
    add_repeated(tape, node, 1, dy, node->op->kind == LG_OP_SUB ? -1.0f : 1.0f);
}

/* Input `index`, repeated to the shape of the output, into `to`. */
static void repeat(float *to, const lg_tape *tape, const lg_node *node, int index)
{
    const lg_strided out = lg_tape_strided(tape, node->outputs[0]);
    const lg_strided in = lg_tape_repeated(tape, node->inputs[index], &out);

    memset(to, 0, sizeof(*to) * (size_t)lg_tape_count(tape, node->outputs[0]));
    lg_tape_add(to, out.strides, lg_tape_activation(tape, node->inputs[index]), in.strides, out.extents, out.n_dims, 1.0f);
}

/* The derivatives of f(a,b) by both, each times g. */
static void partials(float *by_a, float *by_b, const lg_node *node, float a, float b, float g)
{
    switch (node->op->kind) {
    case LG_OP_MUL:
        *by_a = b * g;
        *by_b = a * g;
        break;
    case LG_OP_DIV:
        *by_a = g / b;
        *by_b = -a / b * (g / b);
        break;
    case LG_OP_MIN:
    case LG_OP_MAX: /* of equals, the first */
        *by_a = (node->op->kind == LG_OP_MIN ? a <= b : a >= b) ? g : 0.0f;
        *by_b = g - *by_a;
        break;
    default:
        *by_a = *by_b = 0.0f;
        break;
    }
}

static void back_product(lg_tape *tape, const lg_node *node, const float *dy)
{
    const int64_t n = lg_tape_count(tape, node->outputs[0]);
    float *a = tape->scratch, *b = tape->scratch + n;

    repeat(a, tape, node, 0);
    repeat(b, tape, node, 1);
    for (int64_t i = 0; i < n; i++)
        partials(&a[i], &b[i], node, a[i], b[i], dy[i]);
    add_repeated(tape, node, 0, a, 1.0f);
    add_repeated(tape, node, 1, b, 1.0f);
}

static int64_t product_scratch(const lg_tape *tape, const lg_node *node)
{
    return 2 * lg_tape_count(tape, node->outputs[0]);
}

/* --- norms --- */

static void back_norm(lg_tape *tape, const lg_node *node, const float *dy)
{
    const lg_value *value = lg_tape_value(tape, node->inputs[0]);
    const int64_t channels = value->shape.dims[1], inner = lg_value_elements(value) / channels;
    const lego_tensor *weight = lg_node_weight(tape->graph, node, 0);
    const float *gamma = weight ? lg_tensor_data(weight) : NULL;
    const float *variance = lg_tensor_data(lg_node_weight(tape->graph, node, 3));
    float *dx = lg_tape_add_to(tape, node->inputs[0]);

    for (int64_t i = 0; i < tape->batch * channels; i++) {
        const int64_t c = i % channels;
        const float scale = (float)((gamma ? (double)gamma[c] : 1.0) / sqrt(variance[c] + node->attrs->batch_norm.eps));

        for (int64_t j = 0; j < inner; j++)
            dx[i * inner + j] += scale * dy[i * inner + j];
    }
}

/* One run of n elements with statistics of its own. Element i has gamma[i / each]; NULL: 1.
 * With g = dy gamma and z = (x - mean) / deviation: dx = (g - mean(g) - z mean(g z)) / deviation. */
static void back_run(float *dx, const float *x, const float *dy, int64_t n, double eps, const float *gamma, int64_t each)
{
    double mean = 0.0, variance = 0.0, mean_g = 0.0, mean_gz = 0.0, deviation;

    for (int64_t i = 0; i < n; i++)
        mean += x[i] / (double)n;
    for (int64_t i = 0; i < n; i++)
        variance += (x[i] - mean) * (x[i] - mean) / (double)n;
    deviation = sqrt(variance + eps);
    for (int64_t i = 0; i < n; i++) {
        const double g = dy[i] * (gamma ? (double)gamma[i / each] : 1.0);

        mean_g += g / (double)n;
        mean_gz += g * (x[i] - mean) / deviation / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        const double g = dy[i] * (gamma ? (double)gamma[i / each] : 1.0);

        dx[i] += (float)((g - mean_g - (x[i] - mean) / deviation * mean_gz) / deviation);
    }
}

static void back_own_norm(lg_tape *tape, const lg_node *node, const float *dy)
{
    const int is_group = node->op->kind == LG_OP_GROUP_NORM;
    const lg_shape *shape = &lg_tape_value(tape, node->inputs[0])->shape;
    const lego_tensor *weight = lg_node_weight(tape->graph, node, 0);
    const float *gamma = weight ? lg_tensor_data(weight) : NULL, *x = lg_tape_activation(tape, node->inputs[0]);
    const int64_t total = lg_tape_count(tape, node->inputs[0]), groups = is_group ? node->attrs->group_norm.groups : 1;
    const double eps = is_group ? node->attrs->group_norm.eps : node->attrs->layer_norm.eps;
    int64_t n = 1, each = 1;
    float *dx = lg_tape_add_to(tape, node->inputs[0]);

    for (int i = is_group ? 1 : (int)node->attrs->layer_norm.axis; i < shape->n_dims; i++)
        n *= shape->dims[i];
    each = is_group ? n / shape->dims[1] : 1;
    n /= groups;
    for (int64_t i = 0; i < total / n; i++)
        back_run(dx + i * n, x + i * n, dy + i * n, n, eps, gamma ? gamma + (is_group ? i % groups * (n / each) : 0) : NULL,
                 each);
}

/* dx = y (dy - sum of dy y) along the axis; of the logarithm, which is y then, dy - e^y sum of dy. */
static void back_softmax(lg_tape *tape, const lg_node *node, const float *dy)
{
    const lg_strided s = lg_tape_strided(tape, node->outputs[0]);
    const int axis = (int)node->attrs->axis.axis, is_log = node->op->kind == LG_OP_LOG_SOFTMAX;
    const int64_t n = s.extents[axis], stride = s.strides[axis];
    const float *y = lg_tape_activation(tape, node->outputs[0]);
    float *dx = lg_tape_add_to(tape, node->inputs[0]);

    for (int64_t i = 0; i < lg_tape_count(tape, node->outputs[0]) / n; i++) {
        const int64_t first = i / stride * stride * n + i % stride;
        double sum = 0.0;

        for (int64_t k = 0; k < n; k++)
            sum += (double)dy[first + k * stride] * (is_log ? 1.0 : (double)y[first + k * stride]);
        for (int64_t k = 0; k < n; k++) {
            const int64_t i_k = first + k * stride;

            dx[i_k] += (float)(is_log ? dy[i_k] - exp(y[i_k]) * sum : y[i_k] * (dy[i_k] - sum));
        }
    }
}

const lg_tape_rule lg_tape_elements[] = {
    { LG_OP_RELU, LG_TAPE_OUTPUT, back_relu, NULL },
    { LG_OP_CLIP, LG_TAPE_OUTPUT, back_clip, NULL },
#define OF_SLOPE(KIND, name) { LG_OP_##KIND, LG_TAPE_INPUTS, back_activation, NULL },
    LG_FUNCTIONS(OF_SLOPE)
    { LG_OP_SIGMOID, LG_TAPE_INPUTS, back_activation, NULL },
    { LG_OP_TANH, LG_TAPE_INPUTS, back_activation, NULL },
    { LG_OP_HARD_SIGMOID, LG_TAPE_INPUTS, back_activation, NULL },
    { LG_OP_HARD_SWISH, LG_TAPE_INPUTS, back_activation, NULL },
    { LG_OP_SILU, LG_TAPE_INPUTS, back_activation, NULL },
    { LG_OP_GELU, LG_TAPE_INPUTS, back_activation, NULL },
    { LG_OP_LEAKY_RELU, LG_TAPE_INPUTS, back_activation, NULL },
    { LG_OP_ELU, LG_TAPE_INPUTS, back_activation, NULL },
    { LG_OP_SOFTPLUS, LG_TAPE_INPUTS, back_activation, NULL },
    { LG_OP_POW, LG_TAPE_INPUTS, back_activation, NULL },
    { LG_OP_SHRINK, LG_TAPE_INPUTS, back_activation, NULL },
    { LG_OP_THRESHOLDED_RELU, LG_TAPE_INPUTS, back_activation, NULL },
    { LG_OP_PRELU, LG_TAPE_INPUTS, back_prelu, NULL },
    { LG_OP_ADD, LG_TAPE_NOTHING, back_sum, NULL },
    { LG_OP_SUB, LG_TAPE_NOTHING, back_sum, NULL },
    { LG_OP_MUL, LG_TAPE_INPUTS, back_product, product_scratch },
    { LG_OP_DIV, LG_TAPE_INPUTS, back_product, product_scratch },
    { LG_OP_MIN, LG_TAPE_INPUTS, back_product, product_scratch },
    { LG_OP_MAX, LG_TAPE_INPUTS, back_product, product_scratch },
    { LG_OP_BATCH_NORM, LG_TAPE_NOTHING, back_norm, NULL },
    { LG_OP_LAYER_NORM, LG_TAPE_INPUTS, back_own_norm, NULL },
    { LG_OP_GROUP_NORM, LG_TAPE_INPUTS, back_own_norm, NULL },
    { LG_OP_SOFTMAX, LG_TAPE_OUTPUT, back_softmax, NULL },
    { LG_OP_LOG_SOFTMAX, LG_TAPE_OUTPUT, back_softmax, NULL },
    { LG_OP_BLOCK, 0, NULL, NULL },
};
