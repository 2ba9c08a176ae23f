/* Backward passes without libtorch, for gradients of activations only.
 *
 * Flow: reconstruct_fisher.c asks how the model's output depends on every inner value. The forward runs on an engine,
 * with the activations that the backward needs as outputs; the backward is a walk over the nodes in reverse, one
 * function an op. Weights get no gradient: nothing is trained here, and that keeps each op to a few lines.
 *
 * Newcomers: masks of ReLU and clip are read off their outputs, so that the engine may fuse them into the layer before.
 * A convolution's backward is W^T dY scattered back by the window (col2im), group by group. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/blas.h"
#include "engine/engine.h"
#include "graph/ops.h"
#include "prune/reconstruct_fisher.h"

struct lg_tape {
    lg_graph *graph;      /* with the needed activations as further outputs */
    int32_t n_outputs;    /* of the graph as given */
    int64_t batch;
    lg_plan *plan;
    float **activations;  /* [n_values]: NULL where nobody needs it */
    float **outputs;      /* [graph->n_outputs], the same storage in the plan's order */
    float **gradients;    /* [n_values] */
    uint8_t *arrived;     /* [n_values]: a gradient has been added in this pass */
    float *columns;       /* scratch of a convolution: (C/groups * area, P) of one image and group */
};

static const lg_value *value_at(const lg_tape *tape, int32_t value)
{
    return &tape->graph->values[value];
}

/* Where to add the gradient of a value: zeroed on the first touch of a pass. */
static float *gradient_of(lg_tape *tape, int32_t value)
{
    if (!tape->arrived[value])
        memset(tape->gradients[value], 0,
               sizeof(float) * (size_t)(tape->batch * lg_value_elements(value_at(tape, value))));
    tape->arrived[value] = 1;
    return tape->gradients[value];
}

/* --- one function an op: gradient of outputs[0] -> added to that of the inputs --- */

static void scatter_columns(float *dx, const float *columns, const lg_conv_attrs *a, const lg_shape *in,
                            const lg_shape *out, const lg_shape *weight)
{
    const int64_t height = in->dims[2], width = in->dims[3], p = out->dims[2], q = out->dims[3];

    for (int64_t c = 0; c < weight->dims[1]; c++, dx += height * width)
        for (int64_t ky = 0; ky < weight->dims[2]; ky++)
            for (int64_t kx = 0; kx < weight->dims[3]; kx++, columns += p * q)
                for (int64_t oy = 0; oy < p; oy++) {
                    const int64_t y = oy * a->stride[0] - a->pads[0] + ky * a->dilation[0];
                    const int64_t shift = kx * a->dilation[1] - a->pads[1];

                    for (int64_t ox = 0; y >= 0 && y < height && ox < q; ox++) {
                        const int64_t x = ox * a->stride[1] + shift;

                        if (x >= 0 && x < width)
                            dx[y * width + x] += columns[oy * q + ox];
                    }
                }
}

static void back_conv(lg_tape *tape, const lg_node *node, const float *dy)
{
    const lg_conv_attrs *a = &node->attrs->conv;
    const lg_shape *in = &value_at(tape, node->inputs[0])->shape, *out = &value_at(tape, node->outputs[0])->shape;
    const lego_tensor *weight = lg_node_weight(tape->graph, node, 0);
    const int64_t groups = a->groups, share = weight->shape.dims[1], k = weight->shape.dims[0] / groups;
    const int64_t rows = share * weight->shape.dims[2] * weight->shape.dims[3], p = out->dims[2] * out->dims[3];
    float *dx = gradient_of(tape, node->inputs[0]);

    for (int64_t i = 0; i < tape->batch * groups; i++) { /* images, groups within */
        const float *w = (const float *)lg_tensor_data(weight) + i % groups * k * rows;

        lg_sgemm(1, 0, rows, p, k, 1.0f, w, rows, dy + i * k * p, p, 0.0f, tape->columns, p);
        scatter_columns(dx + i * share * in->dims[2] * in->dims[3], tape->columns, a, in, out, &weight->shape);
    }
}

static void back_linear(lg_tape *tape, const lg_node *node, const float *dy)
{
    const lego_tensor *weight = lg_node_weight(tape->graph, node, 0);
    const int64_t k = weight->shape.dims[0], c = weight->shape.dims[1];
    const int64_t rows = tape->batch * lg_value_elements(value_at(tape, node->inputs[0])) / c;

    lg_sgemm(0, 0, rows, c, k, 1.0f, dy, k, lg_tensor_data(weight), c, 1.0f, gradient_of(tape, node->inputs[0]), c);
}

static void back_copy(lg_tape *tape, const lg_node *node, const float *dy)
{
    for (int32_t j = 0; j < node->n_inputs; j++) {
        const int64_t n = tape->batch * lg_value_elements(value_at(tape, node->inputs[j]));
        float *dx = gradient_of(tape, node->inputs[j]);

        for (int64_t i = 0; i < n; i++)
            dx[i] += dy[i];
    }
}

/* Passes where low < y < high. */
static void back_flat(lg_tape *tape, const lg_node *node, const float *dy, double low, double high)
{
    const int64_t n = tape->batch * lg_value_elements(value_at(tape, node->inputs[0]));
    const float *y = tape->activations[node->outputs[0]];
    float *dx = gradient_of(tape, node->inputs[0]);

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

static void back_norm(lg_tape *tape, const lg_node *node, const float *dy)
{
    const lg_value *value = value_at(tape, node->inputs[0]);
    const int64_t channels = value->shape.dims[1], inner = lg_value_elements(value) / channels;
    const lego_tensor *weight = lg_node_weight(tape->graph, node, 0);
    const float *gamma = weight ? lg_tensor_data(weight) : NULL;
    const float *variance = lg_tensor_data(lg_node_weight(tape->graph, node, 3));
    float *dx = gradient_of(tape, node->inputs[0]);

    for (int64_t i = 0; i < tape->batch * channels; i++) {
        const int64_t c = i % channels;
        const float scale = (float)((gamma ? (double)gamma[c] : 1.0) / sqrt(variance[c] + node->attrs->batch_norm.eps));

        for (int64_t j = 0; j < inner; j++)
            dx[i * inner + j] += scale * dy[i * inner + j];
    }
}

/* A pooling window, clipped to the input; `divisor`: what an average divides by. */
typedef struct pool_window {
    int64_t y0, y1, x0, x1, divisor;
} pool_window;

static pool_window pool_at(const lg_pool_attrs *a, const lg_shape *in, int64_t oy, int64_t ox)
{
    const int64_t top = oy * a->stride[0] - a->pads[0], left = ox * a->stride[1] - a->pads[1];
    const int64_t bottom = top + a->kernel[0], right = left + a->kernel[1];
    pool_window w = { top > 0 ? top : 0, bottom < in->dims[2] ? bottom : in->dims[2], left > 0 ? left : 0,
                      right < in->dims[3] ? right : in->dims[3], 0 };

    w.divisor = (w.y1 - w.y0) * (w.x1 - w.x0);
    if (a->count_include_pad) /* torch: the window as far as the padding behind the input reaches */
        w.divisor = ((bottom < in->dims[2] + a->pads[2] ? bottom : in->dims[2] + a->pads[2]) - top) *
                    ((right < in->dims[3] + a->pads[3] ? right : in->dims[3] + a->pads[3]) - left);
    return w;
}

static void spread(float *plane, int64_t width, const pool_window *w, float value)
{
    for (int64_t y = w->y0; y < w->y1; y++)
        for (int64_t x = w->x0; x < w->x1; x++)
            plane[y * width + x] += value;
}

static void back_avg_pool(lg_tape *tape, const lg_node *node, const float *dy)
{
    const lg_shape *in = &value_at(tape, node->inputs[0])->shape, *out = &value_at(tape, node->outputs[0])->shape;
    float *dx = gradient_of(tape, node->inputs[0]);

    for (int64_t i = 0; i < tape->batch * in->dims[1]; i++, dx += in->dims[2] * in->dims[3])
        for (int64_t oy = 0; oy < out->dims[2]; oy++)
            for (int64_t ox = 0; ox < out->dims[3]; ox++) {
                const pool_window w = pool_at(&node->attrs->pool, in, oy, ox);

                spread(dx, in->dims[3], &w, *dy++ / (float)w.divisor);
            }
}

static void back_adaptive_pool(lg_tape *tape, const lg_node *node, const float *dy)
{
    const lg_shape *in = &value_at(tape, node->inputs[0])->shape, *out = &value_at(tape, node->outputs[0])->shape;
    const int64_t h = in->dims[2], wd = in->dims[3], p = out->dims[2], q = out->dims[3];
    float *dx = gradient_of(tape, node->inputs[0]);

    for (int64_t i = 0; i < tape->batch * in->dims[1]; i++, dx += h * wd)
        for (int64_t oy = 0; oy < p; oy++)
            for (int64_t ox = 0; ox < q; ox++) {
                const pool_window w = { oy * h / p, ((oy + 1) * h + p - 1) / p, ox * wd / q,
                                        ((ox + 1) * wd + q - 1) / q, 0 };

                spread(dx, wd, &w, *dy++ / (float)((w.y1 - w.y0) * (w.x1 - w.x0)));
            }
}

static void back_max_pool(lg_tape *tape, const lg_node *node, const float *dy)
{
    const lg_pool_attrs *a = &node->attrs->pool;
    const lg_shape *in = &value_at(tape, node->inputs[0])->shape, *out = &value_at(tape, node->outputs[0])->shape;
    const int64_t plane = in->dims[2] * in->dims[3];
    const float *x = tape->activations[node->inputs[0]];
    float *dx = gradient_of(tape, node->inputs[0]);

    for (int64_t i = 0; i < tape->batch * in->dims[1]; i++, x += plane, dx += plane)
        for (int64_t oy = 0; oy < out->dims[2]; oy++)
            for (int64_t ox = 0; ox < out->dims[3]; ox++) {
                int64_t best = -1;

                for (int64_t k = 0; k < a->kernel[0] * a->kernel[1]; k++) {
                    const int64_t iy = oy * a->stride[0] - a->pads[0] + k / a->kernel[1] * a->dilation[0];
                    const int64_t ix = ox * a->stride[1] - a->pads[1] + k % a->kernel[1] * a->dilation[1];

                    if (iy < 0 || iy >= in->dims[2] || ix < 0 || ix >= in->dims[3])
                        continue;
                    if (best < 0 || x[iy * in->dims[3] + ix] > x[best])
                        best = iy * in->dims[3] + ix;
                }
                dx[best] += *dy++;
            }
}

/* What an op's backward reads beside the gradient. */
typedef enum need { NEED_NOTHING, NEED_INPUT, NEED_OUTPUT } need;

typedef struct backward_rule {
    lg_op_kind kind;
    need need;
    void (*back)(lg_tape *tape, const lg_node *node, const float *dy);
} backward_rule;

static const backward_rule rules[] = {
    { LG_OP_CONV, NEED_NOTHING, back_conv },
    { LG_OP_LINEAR, NEED_NOTHING, back_linear },
    { LG_OP_BATCH_NORM, NEED_NOTHING, back_norm },
    { LG_OP_RELU, NEED_OUTPUT, back_relu },
    { LG_OP_CLIP, NEED_OUTPUT, back_clip },
    { LG_OP_ADD, NEED_NOTHING, back_copy },
    { LG_OP_FLATTEN, NEED_NOTHING, back_copy },
    { LG_OP_DROPOUT, NEED_NOTHING, back_copy },
    { LG_OP_MAX_POOL, NEED_INPUT, back_max_pool },
    { LG_OP_AVG_POOL, NEED_NOTHING, back_avg_pool },
    { LG_OP_ADAPTIVE_AVG_POOL, NEED_NOTHING, back_adaptive_pool },
};

static const backward_rule *rule_of(lg_op_kind kind)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
        if (rules[i].kind == kind)
            return &rules[i];
    return NULL;
}

/* --- the tape --- */

static lego_status keep_activation(lg_tape *tape, int32_t value)
{
    lego_status status = LEGO_OK;

    if (value_at(tape, value)->producer == LG_NONE || tape->activations[value])
        return LEGO_OK; /* a graph input is at hand anyway, but no rule that needs its input reads one */
    LG_TRY(LG_CALLOC(&tape->activations[value], tape->batch * lg_value_elements(value_at(tape, value))));
    for (int32_t i = 0; i < tape->n_outputs; i++)
        if (tape->graph->outputs[i] == value)
            return LEGO_OK;
    LG_TRY(lg_graph_add_output(tape->graph, value));
done:
    return status;
}

static lego_status prepare_nodes(lg_tape *tape)
{
    int64_t scratch = 0;
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < tape->n_outputs; i++)
        LG_TRY(keep_activation(tape, tape->graph->outputs[i]));
    for (int32_t i = 0; i < tape->graph->n_nodes; i++) {
        const lg_node *node = &tape->graph->nodes[i];
        const backward_rule *rule = rule_of(node->op->kind);

        if (!rule || node->n_outputs != 1)
            LG_FAIL(LEGO_EUNSUPPORTED, "node '%s': no gradient of op '%s'", node->name, node->op->name);
        if (rule->need != NEED_NOTHING)
            LG_TRY(keep_activation(tape, rule->need == NEED_INPUT ? node->inputs[0] : node->outputs[0]));
        if (node->op->kind == LG_OP_CONV) {
            const lg_shape *w = &lg_node_weight(tape->graph, node, 0)->shape;
            const lg_shape *out = &value_at(tape, node->outputs[0])->shape;
            const int64_t size = w->dims[1] * w->dims[2] * w->dims[3] * out->dims[2] * out->dims[3];

            scratch = size > scratch ? size : scratch;
        }
    }
    LG_TRY(LG_CALLOC(&tape->columns, scratch));
done:
    return status;
}

lego_status lg_tape_create(lg_tape **out, lego_context *context, const lg_graph *graph, int32_t batch)
{
    lg_plan_options options = LG_PLAN_OPTIONS_INIT;
    lg_tape *tape = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&tape, 1));
    tape->batch = batch;
    tape->n_outputs = graph->n_outputs;
    LG_TRY(lg_graph_clone(&tape->graph, graph));
    LG_TRY(LG_CALLOC(&tape->activations, graph->n_values));
    LG_TRY(LG_CALLOC(&tape->gradients, graph->n_values));
    LG_TRY(LG_CALLOC(&tape->arrived, graph->n_values));
    LG_TRY(prepare_nodes(tape));
    for (int32_t v = 0; v < graph->n_values; v++)
        LG_TRY(LG_CALLOC(&tape->gradients[v], batch * lg_value_elements(&graph->values[v])));
    LG_TRY(LG_CALLOC(&tape->outputs, tape->graph->n_outputs));
    for (int32_t i = 0; i < tape->graph->n_outputs; i++)
        tape->outputs[i] = tape->activations[tape->graph->outputs[i]];
    options.batch = batch;
    LG_TRY(lg_plan_create(&tape->plan, context, tape->graph, &options));

    *out = tape;
    tape = NULL;
done:
    lg_tape_free(tape);
    return status;
}

void lg_tape_free(lg_tape *tape)
{
    if (!tape)
        return;
    for (int32_t v = 0; tape->graph && v < tape->graph->n_values; v++) {
        if (tape->activations)
            lg_free(tape->activations[v]);
        if (tape->gradients)
            lg_free(tape->gradients[v]);
    }
    lg_free(tape->activations);
    lg_free(tape->outputs);
    lg_free(tape->gradients);
    lg_free(tape->arrived);
    lg_free(tape->columns);
    lg_plan_free(tape->plan);
    lg_graph_free(tape->graph);
    lg_free(tape);
}

lego_status lg_tape_forward(lg_tape *tape, const float *const *inputs)
{
    memset(tape->arrived, 0, (size_t)tape->graph->n_values);
    return lg_plan_run(tape->plan, inputs, tape->outputs);
}

const float *lg_tape_output(const lg_tape *tape, int32_t i)
{
    return tape->outputs[i];
}

float *lg_tape_output_gradient(lg_tape *tape, int32_t i)
{
    return gradient_of(tape, tape->graph->outputs[i]);
}

void lg_tape_backward(lg_tape *tape)
{
    for (int32_t i = tape->graph->n_nodes - 1; i >= 0; i--) {
        const lg_node *node = &tape->graph->nodes[i];

        if (tape->arrived[node->outputs[0]])
            rule_of(node->op->kind)->back(tape, node, tape->gradients[node->outputs[0]]);
    }
}

const float *lg_tape_gradient(const lg_tape *tape, int32_t value)
{
    return tape->arrived[value] ? tape->gradients[value] : NULL;
}
