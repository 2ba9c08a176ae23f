/* A slow evaluator of every op in double precision, written from the definitions and nothing else: an oracle. */
#ifndef LG_TESTS_EVAL_H
#define LG_TESTS_EVAL_H

#include "support/support.h"

#include <float.h>
#include <math.h>

#include "graph/ops.h"

typedef struct eval_value {
    lg_shape shape; /* dims[0] is the batch */
    double *data;
} eval_value;

static inline int64_t eval_count(const lg_shape *shape)
{
    int64_t n = 1;

    for (int i = 0; i < shape->n_dims; i++)
        n *= shape->dims[i];
    return n;
}

/* Row-major index <-> coordinates. */
static inline void eval_coords(int64_t *at, const lg_shape *shape, int64_t index)
{
    for (int i = shape->n_dims - 1; i >= 0; i--) {
        at[i] = index % shape->dims[i];
        index /= shape->dims[i];
    }
}

static inline int64_t eval_index(const int64_t *at, const lg_shape *shape)
{
    int64_t index = 0;

    for (int i = 0; i < shape->n_dims; i++)
        index = index * shape->dims[i] + at[i];
    return index;
}

static inline double eval_weight(const lg_graph *graph, const lg_node *node, int slot, int64_t index, double fallback)
{
    const lego_tensor *tensor = lg_node_weight(graph, node, slot);

    return tensor ? ((const float *)lg_tensor_data(tensor))[index] : fallback;
}

static inline double eval_softplus(double x)
{
    return x > 700.0 ? x : log(1.0 + exp(x));
}

static inline double eval_function(const lg_node *node, double x)
{
    const lg_attrs *attrs = node->attrs;

    switch (node->op->kind) {
    case LG_OP_ABS:
        return x < 0.0 ? -x : x;
    case LG_OP_ACOS:
        return acos(x);
    case LG_OP_ACOSH:
        return log(x + sqrt(x * x - 1.0));
    case LG_OP_ASIN:
        return asin(x);
    case LG_OP_ASINH:
        return x < 0.0 ? -log(-x + sqrt(x * x + 1.0)) : log(x + sqrt(x * x + 1.0));
    case LG_OP_ATAN:
        return atan(x);
    case LG_OP_ATANH:
        return 0.5 * log((1.0 + x) / (1.0 - x));
    case LG_OP_CEIL:
        return -floor(-x);
    case LG_OP_COS:
        return cos(x);
    case LG_OP_COSH:
        return 0.5 * (exp(x) + exp(-x));
    case LG_OP_ERF:
        return erf(x);
    case LG_OP_EXP:
        return exp(x);
    case LG_OP_FLOOR:
        return floor(x);
    case LG_OP_LOG:
        return log(x);
    case LG_OP_LOG_SIGMOID:
        return -eval_softplus(-x);
    case LG_OP_MISH:
        return x * tanh(eval_softplus(x));
    case LG_OP_RECIPROCAL:
        return 1.0 / x;
    case LG_OP_ROUND: /* halves to the even neighbour */
        return fabs(x - floor(x) - 0.5) < DBL_EPSILON ? 2.0 * floor(0.5 * x + 0.5) : floor(x + 0.5);
    case LG_OP_SIGN:
        return (double)(x > 0.0) - (double)(x < 0.0);
    case LG_OP_SIN:
        return sin(x);
    case LG_OP_SINH:
        return 0.5 * (exp(x) - exp(-x));
    case LG_OP_SOFTSIGN:
        return x < 0.0 ? x / (1.0 - x) : x / (1.0 + x);
    case LG_OP_SQRT:
        return sqrt(x);
    case LG_OP_TAN:
        return sin(x) / cos(x);
    case LG_OP_ELU:
        return attrs->elu.scale * (x > 0.0 ? x : attrs->elu.alpha * (exp(attrs->elu.input_scale * x) - 1.0));
    case LG_OP_SOFTPLUS:
        return eval_softplus(attrs->softplus.beta * x) / attrs->softplus.beta;
    case LG_OP_POW:
        return pow(x, attrs->pow.exponent);
    case LG_OP_SHRINK:
        return x < -attrs->shrink.lambda ? x + attrs->shrink.bias
               : x > attrs->shrink.lambda ? x - attrs->shrink.bias
                                          : 0.0;
    case LG_OP_THRESHOLDED_RELU:
        return x > attrs->thresholded_relu.alpha ? x : 0.0;
    default: /* dropout outside training */
        return x;
    }
}

static inline double eval_activation(const lg_node *node, double x)
{
    const lg_attrs *attrs = node->attrs;

    switch (node->op->kind) {
    case LG_OP_RELU:
        return x > 0.0 ? x : 0.0;
    case LG_OP_CLIP:
        return fmin(fmax(x, attrs->clip.min), attrs->clip.max);
    case LG_OP_SIGMOID:
        return 1.0 / (1.0 + exp(-x));
    case LG_OP_TANH:
        return tanh(x);
    case LG_OP_HARD_SIGMOID:
        return fmin(fmax(attrs->hard_sigmoid.alpha * x + attrs->hard_sigmoid.beta, 0.0), 1.0);
    case LG_OP_HARD_SWISH:
        return x * fmin(fmax(x / 6.0 + 0.5, 0.0), 1.0);
    case LG_OP_SILU:
        return x / (1.0 + exp(-x));
    case LG_OP_GELU:
        return attrs->gelu.tanh ? 0.5 * x * (1.0 + tanh(sqrt(2.0 / 3.14159265358979323846) *
                                                        (x + 0.044715 * x * x * x)))
                                : 0.5 * x * (1.0 + erf(x / sqrt(2.0)));
    case LG_OP_LEAKY_RELU:
        return x > 0.0 ? x : attrs->leaky_relu.slope * x;
    default:
        return eval_function(node, x);
    }
}

/* Goes through all positions of `n` extents, row-major; 0: that was the last. Starts from zeros. */
static inline int eval_next(int64_t *at, const int64_t *extents, int n)
{
    for (int i = n - 1; i >= 0; i--) {
        if (++at[i] < extents[i])
            return 1;
        at[i] = 0;
    }
    return 0;
}

/* Whether `at` lies in the value, along its spatial axes. */
static inline int eval_inside(const int64_t *at, const lg_shape *shape)
{
    for (int i = 2; i < shape->n_dims; i++)
        if (at[i] < 0 || at[i] >= shape->dims[i])
            return 0;
    return 1;
}

static inline double eval_conv_at(const lg_graph *graph, const lg_node *node, const eval_value *x, const int64_t *at)
{
    const lg_conv_attrs *attrs = &node->attrs->conv;
    const lg_shape *w = &lg_node_weight(graph, node, 0)->shape;
    const int64_t group = at[1] / (w->dims[0] / attrs->groups);
    double sum = eval_weight(graph, node, 1, at[1], 0.0);

    for (int64_t c = 0; c < w->dims[1]; c++) {
        int64_t r[LG_MAX_AXES] = { 0 };

        do {
            int64_t from[LEGO_MAX_DIMS] = { at[0], group * w->dims[1] + c }, tap[LEGO_MAX_DIMS] = { at[1], c };

            for (int i = 0; i < w->n_dims - 2; i++) {
                from[2 + i] = at[2 + i] * attrs->stride[i] + r[i] * attrs->dilation[i] - attrs->pads[i];
                tap[2 + i] = r[i];
            }
            if (eval_inside(from, &x->shape))
                sum += x->data[eval_index(from, &x->shape)] * eval_weight(graph, node, 0, eval_index(tap, w), 0.0);
        } while (eval_next(r, w->dims + 2, w->n_dims - 2));
    }
    return sum;
}

/* By its definition as a scatter, gathered: input h adds to output h * stride + r * dilation - pad. */
static inline double eval_conv_transpose_at(const lg_graph *graph, const lg_node *node, const eval_value *x,
                                            const int64_t *at)
{
    const lg_conv_transpose_attrs *attrs = &node->attrs->conv_transpose;
    const lg_shape *w = &lg_node_weight(graph, node, 0)->shape;
    const int64_t in_width = x->shape.dims[1] / attrs->groups, group = at[1] / w->dims[1];
    const int n_axes = w->n_dims - 2;
    int64_t h[LG_MAX_AXES] = { 0 };
    double sum = eval_weight(graph, node, 1, at[1], 0.0);

    do {
        int64_t r[LG_MAX_AXES] = { 0 };

        do {
            int64_t from[LEGO_MAX_DIMS] = { at[0] }, tap[LEGO_MAX_DIMS] = { 0, at[1] % w->dims[1] };
            int reaches = 1;

            for (int i = 0; i < n_axes; i++) {
                reaches &= h[i] * attrs->stride[i] + r[i] * attrs->dilation[i] - attrs->pads[i] == at[2 + i];
                from[2 + i] = h[i];
                tap[2 + i] = r[i];
            }
            for (int64_t c = group * in_width; reaches && c < (group + 1) * in_width; c++) {
                from[1] = tap[0] = c;
                sum += x->data[eval_index(from, &x->shape)] * eval_weight(graph, node, 0, eval_index(tap, w), 0.0);
            }
        } while (eval_next(r, w->dims + 2, n_axes));
    } while (eval_next(h, x->shape.dims + 2, n_axes));
    return sum;
}

static inline double eval_pool_at(const lg_node *node, const eval_value *x, const int64_t *at)
{
    const lg_pool_attrs *attrs = &node->attrs->pool;
    const int n_axes = node->op->n_axes;
    int64_t r[LG_MAX_AXES] = { 0 }, n = 0, n_padded = 0;
    double best = -DBL_MAX, sum = 0.0;

    do {
        int64_t from[LEGO_MAX_DIMS] = { at[0], at[1] };
        int beyond = 0; /* the padding: ceil_mode */

        for (int i = 0; i < n_axes; i++) {
            from[2 + i] = at[2 + i] * attrs->stride[i] + r[i] * attrs->dilation[i] - attrs->pads[i];
            beyond |= from[2 + i] >= x->shape.dims[2 + i] + attrs->pads[n_axes + i];
        }
        if (beyond)
            continue;
        n_padded++;
        if (!eval_inside(from, &x->shape))
            continue;
        n++;
        sum += x->data[eval_index(from, &x->shape)];
        best = fmax(best, x->data[eval_index(from, &x->shape)]);
    } while (eval_next(r, attrs->kernel, n_axes));
    if (node->op->kind == LG_OP_MAX_POOL)
        return best;
    return sum / (double)(attrs->count_include_pad ? n_padded : n);
}

static inline double eval_adaptive_at(const lg_node *node, const eval_value *x, const int64_t *at)
{
    const int64_t *size = node->attrs->adaptive_pool.size, *in = x->shape.dims + 2;
    const int n_axes = node->op->n_axes;
    int64_t first[LG_MAX_AXES], extents[LG_MAX_AXES], r[LG_MAX_AXES] = { 0 };
    double best = -DBL_MAX, sum = 0.0, n = 0.0;

    for (int i = 0; i < n_axes; i++) {
        first[i] = at[2 + i] * in[i] / size[i];
        extents[i] = ((at[2 + i] + 1) * in[i] + size[i] - 1) / size[i] - first[i];
    }
    do {
        int64_t from[LEGO_MAX_DIMS] = { at[0], at[1] };
        double v;

        for (int i = 0; i < n_axes; i++)
            from[2 + i] = first[i] + r[i];
        v = x->data[eval_index(from, &x->shape)];
        sum += v;
        best = fmax(best, v);
        n += 1.0;
    } while (eval_next(r, extents, n_axes));
    return node->op->kind == LG_OP_ADAPTIVE_AVG_POOL ? sum / n : best;
}

static inline double eval_upsample_at(const lg_node *node, const eval_value *x, const int64_t *at)
{
    const int n_axes = node->op->n_axes;
    int64_t low[LG_MAX_AXES], high[LG_MAX_AXES];
    double share[LG_MAX_AXES], sum = 0.0;

    for (int i = 0; i < n_axes; i++) {
        const int64_t in = x->shape.dims[2 + i], out = node->attrs->upsample.size[i];
        double where;

        if (node->attrs->upsample.mode == LG_UPSAMPLE_NEAREST) {
            low[i] = high[i] = at[2 + i] * in / out;
            share[i] = 0.0;
            continue;
        }
        if (node->attrs->upsample.align_corners)
            where = out > 1 ? (double)at[2 + i] * (double)(in - 1) / (double)(out - 1) : 0.0;
        else
            where = fmax(((double)at[2 + i] + 0.5) * (double)in / (double)out - 0.5, 0.0);
        low[i] = (int64_t)where;
        high[i] = low[i] + 1 < in ? low[i] + 1 : low[i];
        share[i] = where - (double)low[i];
    }
    for (int corner = 0; corner < 1 << n_axes; corner++) {
        int64_t from[LEGO_MAX_DIMS] = { at[0], at[1] };
        double factor = 1.0;

        for (int i = 0; i < n_axes; i++) {
            const int is_high = corner >> i & 1;
            from[2 + i] = is_high ? high[i] : low[i];
            factor *= is_high ? share[i] : 1.0 - share[i];
        }
        sum += x->data[eval_index(from, &x->shape)] * factor;
    }
    return sum;
}

/* (x - mean) / sqrt(var + eps) of one element among the elements that share its statistics: all that agree with it in the
 * axes before `first_axis` and, if n_channels > 0, have one of these channels. They stand in a row. */
static inline double eval_normalised(const eval_value *x, const int64_t *at, int64_t first_channel,
                                     int64_t n_channels, int first_axis, double eps)
{
    int64_t first[LEGO_MAX_DIMS] = { 0 }, start, n = 1;
    double sum = 0.0, squares = 0.0;

    memcpy(first, at, (size_t)first_axis * sizeof(*first));
    for (int i = first_axis; i < x->shape.n_dims; i++)
        n *= x->shape.dims[i];
    if (n_channels > 0) {
        first[1] = first_channel;
        n = n / x->shape.dims[1] * n_channels;
    }
    start = eval_index(first, &x->shape);
    for (int64_t k = start; k < start + n; k++)
        sum += x->data[k];
    for (int64_t k = start; k < start + n; k++)
        squares += pow(x->data[k] - sum / (double)n, 2);
    return (x->data[eval_index(at, &x->shape)] - sum / (double)n) / sqrt(squares / (double)n + eps);
}

static inline double eval_linear_at(const lg_graph *graph, const lg_node *node, const eval_value *x, const int64_t *at)
{
    const lg_shape *w = &lg_node_weight(graph, node, 0)->shape;
    const int last = x->shape.n_dims - 1;
    int64_t from[LEGO_MAX_DIMS];
    double sum = eval_weight(graph, node, 1, at[last], 0.0);

    memcpy(from, at, sizeof(from));
    for (from[last] = 0; from[last] < w->dims[1]; from[last]++)
        sum += x->data[eval_index(from, &x->shape)] *
               eval_weight(graph, node, 0, at[last] * w->dims[1] + from[last], 0.0);
    return sum;
}

static inline double eval_binary_at(const lg_node *node, const eval_value *a, const eval_value *b, const int64_t *at)
{
    int64_t left[LEGO_MAX_DIMS], right[LEGO_MAX_DIMS];
    double x, y;

    for (int i = 0; i < a->shape.n_dims; i++) {
        left[i] = a->shape.dims[i] == 1 ? 0 : at[i];
        right[i] = b->shape.dims[i] == 1 ? 0 : at[i];
    }
    x = a->data[eval_index(left, &a->shape)];
    y = b->data[eval_index(right, &b->shape)];
    switch (node->op->kind) {
    case LG_OP_ADD:
        return x + y;
    case LG_OP_SUB:
        return x - y;
    case LG_OP_MUL:
        return x * y;
    case LG_OP_MIN:
        return fmin(x, y);
    case LG_OP_MAX:
        return fmax(x, y);
    default:
        return x / y;
    }
}

static inline double eval_mean_at(const lg_node *node, const eval_value *x, const int64_t *at)
{
    int64_t from[LEGO_MAX_DIMS];
    int reduced[LEGO_MAX_DIMS] = { 0 };
    double sum = 0.0, n = 0.0;

    for (int64_t i = 0; i < node->attrs->mean.axes.n; i++)
        reduced[node->attrs->mean.axes.dims[i]] = 1;
    for (int64_t k = 0; k < eval_count(&x->shape); k++) {
        int out_axis = 0, same = 1;

        eval_coords(from, &x->shape, k);
        for (int i = 0; i < x->shape.n_dims; i++)
            if (!reduced[i])
                same &= from[i] == at[out_axis++];
            else
                out_axis += node->attrs->mean.keep;
        if (same) {
            sum += x->data[k];
            n += 1.0;
        }
    }
    return sum / n;
}

static inline double eval_matmul_at(const eval_value *a, const eval_value *b, const int64_t *at)
{
    const int last = a->shape.n_dims - 1;
    int64_t left[LEGO_MAX_DIMS], right[LEGO_MAX_DIMS];
    double sum = 0.0;

    memcpy(left, at, sizeof(left));
    memcpy(right, at, sizeof(right));
    for (int64_t k = 0; k < a->shape.dims[last]; k++) {
        left[last] = right[last - 1] = k;
        sum += a->data[eval_index(left, &a->shape)] * b->data[eval_index(right, &b->shape)];
    }
    return sum;
}

static inline double eval_softmax_at(const lg_node *node, const eval_value *x, const int64_t *at)
{
    const double mine = x->data[eval_index(at, &x->shape)];
    int64_t other[LEGO_MAX_DIMS];
    double sum = 0.0;

    memcpy(other, at, sizeof(other));
    for (int64_t k = 0; k < x->shape.dims[node->attrs->axis.axis]; k++) {
        other[node->attrs->axis.axis] = k;
        sum += exp(x->data[eval_index(other, &x->shape)] - mine);
    }
    return node->op->kind == LG_OP_SOFTMAX ? 1.0 / sum : -log(sum);
}

/* The element of one of the inputs that an op which only moves data puts at `at`. */
static inline double eval_moved_at(const lg_node *node, eval_value *const *in, int output, int64_t index,
                                   const int64_t *at)
{
    const lg_attrs *attrs = node->attrs;
    int64_t from[LEGO_MAX_DIMS];
    int which = 0;

    memcpy(from, at, sizeof(from));
    switch (node->op->kind) {
    case LG_OP_CONCAT:
        while (from[attrs->axis.axis] >= in[which]->shape.dims[attrs->axis.axis])
            from[attrs->axis.axis] -= in[which++]->shape.dims[attrs->axis.axis];
        break;
    case LG_OP_SPLIT:
        for (int k = 0; k < output; k++)
            from[attrs->split.axis] += attrs->split.sizes.dims[k];
        break;
    case LG_OP_SLICE:
        from[attrs->slice.axis] = attrs->slice.start + at[attrs->slice.axis] * attrs->slice.step;
        break;
    case LG_OP_PERMUTE:
        for (int64_t i = 0; i < attrs->permute.order.n; i++)
            from[attrs->permute.order.dims[i]] = at[i + 1];
        break;
    case LG_OP_PAD:
        for (int i = 0; i < node->op->n_axes; i++)
            from[2 + i] -= attrs->pad.pads[i];
        if (!eval_inside(from, &in[0]->shape))
            return attrs->pad.value;
        break;
    default: /* flatten, reshape: the same row-major element */
        return in[0]->data[index];
    }
    return in[which]->data[eval_index(from, &in[which]->shape)];
}

static inline double eval_at(const lg_graph *graph, const lg_node *node, eval_value *const *in, int output,
                             int64_t index, const int64_t *at)
{
    const eval_value *x = in[0];
    const int64_t c = x && x->shape.n_dims > 1 ? at[1] : 0;
    double v;

    switch (node->op->kind) {
    case LG_OP_CONV:
        return eval_conv_at(graph, node, x, at);
    case LG_OP_CONV_TRANSPOSE:
        return eval_conv_transpose_at(graph, node, x, at);
    case LG_OP_LINEAR:
        return eval_linear_at(graph, node, x, at);
    case LG_OP_BATCH_NORM:
        return (x->data[index] - eval_weight(graph, node, 2, c, 0.0)) /
                   sqrt(eval_weight(graph, node, 3, c, 1.0) + node->attrs->batch_norm.eps) *
                   eval_weight(graph, node, 0, c, 1.0) +
               eval_weight(graph, node, 1, c, 0.0);
    case LG_OP_PRELU:
        v = eval_weight(graph, node, 0, lg_tensor_count(lg_node_weight(graph, node, 0)) == 1 ? 0 : c, 0.0);
        return x->data[index] > 0.0 ? x->data[index] : v * x->data[index];
    case LG_OP_ADD:
    case LG_OP_SUB:
    case LG_OP_MUL:
    case LG_OP_DIV:
    case LG_OP_MIN:
    case LG_OP_MAX:
        return eval_binary_at(node, in[0], in[1], at);
    case LG_OP_MAX_POOL:
    case LG_OP_AVG_POOL:
        return eval_pool_at(node, x, at);
    case LG_OP_ADAPTIVE_AVG_POOL:
    case LG_OP_ADAPTIVE_MAX_POOL:
        return eval_adaptive_at(node, x, at);
    case LG_OP_UPSAMPLE:
        return eval_upsample_at(node, x, at);
    case LG_OP_MEAN:
        return eval_mean_at(node, x, at);
    case LG_OP_MATMUL:
        return eval_matmul_at(in[0], in[1], at);
    case LG_OP_SOFTMAX:
    case LG_OP_LOG_SOFTMAX:
        return eval_softmax_at(node, x, at);
    case LG_OP_LAYER_NORM:
        v = eval_normalised(x, at, 0, 0, (int)node->attrs->layer_norm.axis, node->attrs->layer_norm.eps);
        for (int64_t k = 0, n = 1, i = x->shape.n_dims - 1;; k += at[i] * n, n *= x->shape.dims[i], i--)
            if (i < node->attrs->layer_norm.axis)
                return v * eval_weight(graph, node, 0, k, 1.0) + eval_weight(graph, node, 1, k, 0.0);
    case LG_OP_GROUP_NORM: {
        const int64_t run = x->shape.dims[1] / node->attrs->group_norm.groups;
        v = eval_normalised(x, at, c / run * run, run, 1, node->attrs->group_norm.eps);
        return v * eval_weight(graph, node, 0, c, 1.0) + eval_weight(graph, node, 1, c, 0.0);
    }
    case LG_OP_CONSTANT:
        return eval_weight(graph, node, 0, index % lg_tensor_count(lg_node_weight(graph, node, 0)), 0.0);
    case LG_OP_CONCAT:
    case LG_OP_SPLIT:
    case LG_OP_SLICE:
    case LG_OP_PERMUTE:
    case LG_OP_PAD:
    case LG_OP_FLATTEN:
    case LG_OP_RESHAPE:
        return eval_moved_at(node, in, output, index, at);
    case LG_OP_BLOCK:
    case LG_OP_N_KINDS:
        fail_msg("'%s' cannot be evaluated", node->op->name);
        return 0.0;
    default:
        return eval_activation(node, x->data[index]);
    }
}

/* Every value of the graph for its inputs, row-major with `batch` samples; free with eval_free(). */
static inline eval_value *eval_graph_of(const lg_graph *graph, const double *const *inputs, int64_t batch)
{
    eval_value *values;
    int64_t at[LEGO_MAX_DIMS];

    assert_ok(LG_CALLOC(&values, graph->n_values));
    for (int32_t v = 0; v < graph->n_values; v++) {
        values[v].shape = graph->values[v].shape;
        values[v].shape.dims[0] = batch;
        assert_ok(LG_CALLOC(&values[v].data, eval_count(&values[v].shape)));
    }
    for (int32_t i = 0; i < graph->n_inputs; i++)
        memcpy(values[graph->inputs[i]].data, inputs[i],
               (size_t)eval_count(&values[graph->inputs[i]].shape) * sizeof(double));
    for (int32_t i = 0; i < graph->n_nodes; i++) {
        const lg_node *node = &graph->nodes[i];
        eval_value *in[16] = { NULL };

        assert_true(node->n_inputs <= 16);
        for (int k = 0; k < node->n_inputs; k++)
            in[k] = &values[node->inputs[k]];
        for (int o = 0; o < node->n_outputs; o++) {
            eval_value *out = &values[node->outputs[o]];
            for (int64_t k = 0; k < eval_count(&out->shape); k++) {
                eval_coords(at, &out->shape, k);
                out->data[k] = eval_at(graph, node, in, o, k, at);
            }
        }
    }
    return values;
}

/* The same for a graph of one input. */
static inline eval_value *eval_graph(const lg_graph *graph, const double *input, int64_t batch)
{
    return eval_graph_of(graph, &input, batch);
}

static inline void eval_free(eval_value *values, const lg_graph *graph)
{
    for (int32_t v = 0; v < graph->n_values; v++)
        lg_free(values[v].data);
    lg_free(values);
}

#endif
