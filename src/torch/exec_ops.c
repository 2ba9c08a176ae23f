/* What each op is on ATen. */
#include "torch/exec.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

enum { SLOT_WEIGHT, SLOT_BIAS, SLOT_MEAN, SLOT_VAR, SLOT_VALUE, N_KNOWN_SLOTS };

static int folds(const lg_torch_pass *pass, const lg_node *node);

/* --- looking things up --- */

static lg_torch_tensor *input(const lg_torch_pass *pass, const lg_node *node, int32_t i)
{
    return pass->net->values[node->inputs[i]];
}

static lg_torch_tensor *slot(const lg_torch_pass *pass, const lg_node *node, int which)
{
    static const char *const names[N_KNOWN_SLOTS] = { "weight", "bias", "running_mean", "running_var",
                                                     "value" };

    for (int i = 0; i < node->op->n_slots && i < node->n_weights; i++)
        if (strcmp(node->op->slots[i].name, names[which]) == 0 && node->weights[i] != LG_NONE)
            return pass->net->weights[node->weights[i]];
    return NULL;
}

/* Whether `node` may overwrite its first input: nobody reads it afterwards, and the backward of the op that made it
 * needs only that op's inputs. */
static int may_overwrite(const lg_torch_pass *pass, const lg_node *node)
{
    const lg_graph *graph = pass->net->graph;
    const int32_t value = node->inputs[0], producer = graph->values[value].producer;

    if (producer == LG_NONE || pass->net->only_reader[value] != node - graph->nodes)
        return 0;
    switch (graph->nodes[producer].op->kind) {
    case LG_OP_CONV:
    case LG_OP_LINEAR:
    case LG_OP_ADD:
    case LG_OP_BATCH_NORM: /* folded away, the value is the layer's own output, which nobody else reads */
        return 1;
    default:
        return 0;
    }
}

static lg_torch_window window_of(const int64_t *stride, const int64_t *pads, const int64_t *dilation, int64_t groups)
{
    lg_torch_window window = { .groups = groups };

    memcpy(window.stride, stride, sizeof(window.stride));
    memcpy(window.pads, pads, sizeof(window.pads));
    memcpy(window.dilation, dilation, sizeof(window.dilation));
    return window;
}

static lg_torch_window pool_window(const lg_pool_attrs *attrs)
{
    lg_torch_window window = window_of(attrs->stride, attrs->pads, attrs->dilation, 1);

    memcpy(window.kernel, attrs->kernel, sizeof(window.kernel));
    window.ceil_mode = attrs->ceil_mode;
    window.count_include_pad = attrs->count_include_pad;
    return window;
}

/* Padding is not the same before and behind every spatial axis of the node. */
static int uneven(const lg_node *node, const int64_t *pads)
{
    return memcmp(pads, pads + node->op->n_axes, (size_t)node->op->n_axes * sizeof(*pads)) != 0;
}

/* --- one entry an op --- */

/* Weight and bias as the op computes with them: batch norm folded in where it may be, in the recipe's precision. */
static lego_status layer_weights(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **weight,
                                 lg_torch_tensor **bias)
{
    const lg_torch_net *net = pass->net;
    const lg_torch_api *api = net->api;
    lg_torch_tensor *raw = slot(pass, node, SLOT_WEIGHT), *raw_bias = slot(pass, node, SLOT_BIAS);
    lg_torch_tensor *folded = NULL, *folded_bias = NULL;
    lego_status status = LEGO_OK;

    *weight = *bias = NULL;
    if (folds(pass, node)) {
        const lg_node *norm = &net->graph->nodes[net->only_reader[node->outputs[0]]];

        LG_TRY(LG_TORCH(api, fold_batch_norm(&folded, &folded_bias, raw, raw_bias, slot(pass, norm, SLOT_WEIGHT),
                                             slot(pass, norm, SLOT_BIAS), slot(pass, norm, SLOT_MEAN),
                                             slot(pass, norm, SLOT_VAR), norm->attrs->batch_norm.eps)));
        raw = folded;
        raw_bias = folded_bias;
    }
    LG_TRY(LG_TORCH(api, tensor_cast(weight, raw, net->recipe.dtype, net->recipe.layout)));
    if (raw_bias)
        LG_TRY(LG_TORCH(api, tensor_cast(bias, raw_bias, net->recipe.dtype, LG_TORCH_CONTIGUOUS)));
done:
    if (status != LEGO_OK)
        lg_torch_free_all(api, weight, 1);
    lg_torch_free_all(api, &folded, 1);
    lg_torch_free_all(api, &folded_bias, 1);
    return status;
}

static lego_status run_conv(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    const lg_conv_attrs *attrs = &node->attrs->conv;
    const lg_torch_api *api = pass->net->api;
    lg_torch_window window = window_of(attrs->stride, attrs->pads, attrs->dilation, attrs->groups);
    lg_torch_tensor *weight = NULL, *bias = NULL, *padded = NULL;
    lego_status status = LEGO_OK;

    if (uneven(node, attrs->pads)) {
        LG_TRY(LG_TORCH(api, pad(&padded, input(pass, node, 0), attrs->pads, 0.0)));
        memset(window.pads, 0, sizeof(window.pads));
    }
    LG_TRY(layer_weights(pass, node, &weight, &bias));
    LG_TRY(LG_TORCH(api, conv(out, padded ? padded : input(pass, node, 0), weight, bias, &window)));
done:
    lg_torch_free_all(api, &weight, 1);
    lg_torch_free_all(api, &bias, 1);
    lg_torch_free_all(api, &padded, 1);
    return status;
}

static lego_status run_linear(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    const lg_torch_api *api = pass->net->api;
    lg_torch_tensor *weight = NULL, *bias = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(layer_weights(pass, node, &weight, &bias));
    LG_TRY(LG_TORCH(api, linear(out, input(pass, node, 0), weight, bias)));
done:
    lg_torch_free_all(api, &weight, 1);
    lg_torch_free_all(api, &bias, 1);
    return status;
}

static lego_status run_batch_norm(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    const lg_torch_api *api = pass->net->api;
    const int32_t producer = pass->net->graph->values[node->inputs[0]].producer;

    if (producer != LG_NONE && folds(pass, &pass->net->graph->nodes[producer]))
        return LG_TORCH(api, tensor_share(out, input(pass, node, 0)));
    return LG_TORCH(api, batch_norm(out, input(pass, node, 0), slot(pass, node, SLOT_WEIGHT),
                                    slot(pass, node, SLOT_BIAS), slot(pass, node, SLOT_MEAN),
                                    slot(pass, node, SLOT_VAR), pass->mode == LG_TORCH_TRAIN,
                                    node->attrs->batch_norm.momentum, node->attrs->batch_norm.eps));
}

static lego_status run_relu(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    return LG_TORCH(pass->net->api, relu(out, input(pass, node, 0), may_overwrite(pass, node)));
}

static lego_status run_clip(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    return LG_TORCH(pass->net->api, clip(out, input(pass, node, 0), node->attrs->clip.min, node->attrs->clip.max,
                                         may_overwrite(pass, node)));
}

static lego_status run_add(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    const lg_value *values = pass->net->graph->values;
    /* An input that is repeated over the other's extents is too small for the sum. */
    const int fits = lg_shape_equal(&values[node->inputs[0]].shape, &values[node->outputs[0]].shape);

    return LG_TORCH(pass->net->api,
                    add(out, input(pass, node, 0), input(pass, node, 1), fits && may_overwrite(pass, node)));
}

static lego_status run_max_pool(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    const lg_torch_api *api = pass->net->api;
    lg_torch_window window = pool_window(&node->attrs->pool);
    lg_torch_tensor *padded = NULL;
    lego_status status = LEGO_OK;

    if (uneven(node, node->attrs->pool.pads)) { /* minus infinity never wins */
        LG_TRY(LG_TORCH(api, pad(&padded, input(pass, node, 0), node->attrs->pool.pads, -HUGE_VAL)));
        memset(window.pads, 0, sizeof(window.pads));
    }
    LG_TRY(LG_TORCH(api, max_pool(out, padded ? padded : input(pass, node, 0), &window)));
done:
    lg_torch_free_all(api, &padded, 1);
    return status;
}

static lego_status run_avg_pool(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    const lg_pool_attrs *attrs = &node->attrs->pool;
    const lg_torch_api *api = pass->net->api;
    lg_torch_window window = pool_window(attrs);
    lg_torch_tensor *padded = NULL;
    lego_status status = LEGO_OK;

    if (uneven(node, attrs->pads)) { /* zeros that count are zeros of the input */
        if (!attrs->count_include_pad || attrs->ceil_mode)
            return lg_error(LEGO_EUNSUPPORTED,
                            "node '%s': avg_pool with uneven padding that is not counted does not run on torch",
                            node->name);
        LG_TRY(LG_TORCH(api, pad(&padded, input(pass, node, 0), attrs->pads, 0.0)));
        memset(window.pads, 0, sizeof(window.pads));
    }
    LG_TRY(LG_TORCH(api, avg_pool(out, padded ? padded : input(pass, node, 0), &window)));
done:
    lg_torch_free_all(api, &padded, 1);
    return status;
}

static lego_status run_adaptive_avg_pool(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    return LG_TORCH(pass->net->api, adaptive_avg_pool(out, input(pass, node, 0), node->attrs->adaptive_pool.size));
}

static lego_status run_flatten(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    return LG_TORCH(pass->net->api, flatten(out, input(pass, node, 0), node->attrs->flatten.axis));
}

static lego_status run_dropout(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    if (pass->mode != LG_TORCH_TRAIN)
        return LG_TORCH(pass->net->api, tensor_share(out, input(pass, node, 0)));
    return LG_TORCH(pass->net->api, dropout(out, input(pass, node, 0), node->attrs->dropout.p));
}

/* What of the op's attributes ATen takes; the numbers are 0 where there are none. */
static lg_torch_unary unary_of(double numbers[3], const lg_node *node)
{
    const lg_attrs *attrs = node->attrs;

    switch (node->op->kind) {
#define FUNCTION(KIND, name)                                                  \
    case LG_OP_##KIND:                                                        \
        return LG_TORCH_##KIND;
    LG_FUNCTIONS(FUNCTION)
#undef FUNCTION
    case LG_OP_TANH:
        return LG_TORCH_TANH;
    case LG_OP_HARD_SIGMOID:
        numbers[0] = attrs->hard_sigmoid.alpha;
        numbers[1] = attrs->hard_sigmoid.beta;
        return LG_TORCH_HARD_SIGMOID;
    case LG_OP_HARD_SWISH:
        return LG_TORCH_HARD_SWISH;
    case LG_OP_SILU:
        return LG_TORCH_SILU;
    case LG_OP_GELU:
        return attrs->gelu.tanh ? LG_TORCH_GELU_TANH : LG_TORCH_GELU;
    case LG_OP_LEAKY_RELU:
        numbers[0] = attrs->leaky_relu.slope;
        return LG_TORCH_LEAKY_RELU;
    case LG_OP_ELU:
        numbers[0] = attrs->elu.alpha;
        numbers[1] = attrs->elu.scale;
        numbers[2] = attrs->elu.input_scale;
        return LG_TORCH_ELU;
    case LG_OP_SOFTPLUS:
        numbers[0] = attrs->softplus.beta;
        return LG_TORCH_SOFTPLUS;
    case LG_OP_POW:
        numbers[0] = attrs->pow.exponent;
        return LG_TORCH_POW;
    case LG_OP_SHRINK:
        numbers[0] = attrs->shrink.lambda;
        numbers[1] = attrs->shrink.bias;
        return LG_TORCH_SHRINK;
    case LG_OP_THRESHOLDED_RELU:
        numbers[0] = attrs->thresholded_relu.alpha;
        return LG_TORCH_THRESHOLDED_RELU;
    default:
        return LG_TORCH_SIGMOID;
    }
}

static lego_status run_activation(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    double numbers[3] = { 0.0, 0.0, 0.0 };
    const lg_torch_unary kind = unary_of(numbers, node);

    return LG_TORCH(pass->net->api, unary(out, kind, input(pass, node, 0), numbers));
}

static lego_status run_binary(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    static const lg_torch_binary kinds[LG_OP_N_KINDS] = {
        [LG_OP_SUB] = LG_TORCH_SUB, [LG_OP_MUL] = LG_TORCH_MUL,       [LG_OP_DIV] = LG_TORCH_DIV,
        [LG_OP_MIN] = LG_TORCH_MIN, [LG_OP_MATMUL] = LG_TORCH_MATMUL, [LG_OP_MAX] = LG_TORCH_MAX,
    };

    return LG_TORCH(pass->net->api,
                    binary(out, kinds[node->op->kind], input(pass, node, 0), input(pass, node, 1)));
}

static lego_status run_prelu(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    return LG_TORCH(pass->net->api, prelu(out, input(pass, node, 0), slot(pass, node, SLOT_WEIGHT)));
}

static lego_status run_softmax(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    return LG_TORCH(pass->net->api, softmax(out, input(pass, node, 0), node->attrs->axis.axis,
                                            node->op->kind == LG_OP_LOG_SOFTMAX));
}

static lego_status run_concat(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    lg_torch_tensor **parts = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&parts, node->n_inputs));
    for (int32_t i = 0; i < node->n_inputs; i++)
        parts[i] = input(pass, node, i);
    LG_TRY(LG_TORCH(pass->net->api, concat(out, node->n_inputs, parts, node->attrs->axis.axis)));
done:
    lg_free(parts);
    return status;
}

static lego_status run_split(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    int64_t start = 0;
    lego_status status = LEGO_OK;

    (void)out; /* one output a run */
    for (int32_t i = 0; i < node->n_outputs; i++) {
        const int64_t size = node->attrs->split.sizes.dims[i];

        LG_TRY(LG_TORCH(pass->net->api, slice(&pass->net->values[node->outputs[i]], input(pass, node, 0),
                                              node->attrs->split.axis, start, start + size, 1)));
        start += size;
    }
done:
    return status;
}

static lego_status run_slice(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    return LG_TORCH(pass->net->api, slice(out, input(pass, node, 0), node->attrs->slice.axis,
                                          node->attrs->slice.start, node->attrs->slice.end,
                                          node->attrs->slice.step));
}

static lego_status run_reshape(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    const lg_shape *shape = &pass->net->graph->values[node->outputs[0]].shape;

    return LG_TORCH(pass->net->api, reshape(out, input(pass, node, 0), shape->n_dims, shape->dims));
}

static lego_status run_permute(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    const lg_dims *order = &node->attrs->permute.order;
    int64_t axes[LEGO_MAX_DIMS] = { 0 };

    memcpy(axes + 1, order->dims, (size_t)order->n * sizeof(*axes));
    return LG_TORCH(pass->net->api, permute(out, input(pass, node, 0), (int)order->n + 1, axes));
}

static lego_status run_mean(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    return LG_TORCH(pass->net->api, mean(out, input(pass, node, 0), (int)node->attrs->mean.axes.n,
                                         node->attrs->mean.axes.dims, node->attrs->mean.keep));
}

static lego_status run_pad(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    return LG_TORCH(pass->net->api, pad(out, input(pass, node, 0), node->attrs->pad.pads, node->attrs->pad.value));
}

static lego_status run_upsample(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    return LG_TORCH(pass->net->api, upsample(out, input(pass, node, 0), node->attrs->upsample.size,
                                             node->attrs->upsample.mode == LG_UPSAMPLE_BILINEAR,
                                             node->attrs->upsample.align_corners));
}

static lego_status run_adaptive_max_pool(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    return LG_TORCH(pass->net->api, adaptive_max_pool(out, input(pass, node, 0), node->attrs->adaptive_pool.size));
}

/* What lies `pads` away from the edges of x, as large as the node's output. */
static lego_status crop(lg_torch_tensor **out, lg_torch_pass *pass, const lg_node *node, const lg_torch_tensor *x,
                        const int64_t *pads)
{
    const lg_shape *shape = &pass->net->graph->values[node->outputs[0]].shape;
    const lg_torch_api *api = pass->net->api;
    lg_torch_tensor *whole = NULL, *part = NULL;
    lego_status status = LEGO_OK;

    for (int i = 0; i < node->op->n_axes; i++) {
        LG_TRY(LG_TORCH(api, slice(&part, whole ? whole : x, 2 + i, pads[i], pads[i] + shape->dims[2 + i], 1)));
        lg_torch_free_all(api, &whole, 1);
        whole = part;
        part = NULL;
    }
    *out = whole;
    whole = NULL; /* the caller owns it now */
done:
    lg_torch_free_all(api, &whole, 1);
    return status;
}

static lego_status run_conv_transpose(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    const lg_conv_transpose_attrs *attrs = &node->attrs->conv_transpose;
    const lg_torch_api *api = pass->net->api;
    lg_torch_window window = window_of(attrs->stride, attrs->pads, attrs->dilation, attrs->groups);
    lg_torch_tensor *weight = NULL, *bias = NULL, *whole = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(layer_weights(pass, node, &weight, &bias));
    if (!uneven(node, attrs->pads)) {
        LG_TRY(LG_TORCH(api, conv_transpose(out, input(pass, node, 0), weight, bias, &window,
                                              attrs->output_padding)));
        goto done;
    }
    memset(window.pads, 0, sizeof(window.pads));
    LG_TRY(LG_TORCH(api, conv_transpose(&whole, input(pass, node, 0), weight, bias, &window,
                                          attrs->output_padding)));
    LG_TRY(crop(out, pass, node, whole, attrs->pads));
done:
    lg_torch_free_all(api, &weight, 1);
    lg_torch_free_all(api, &bias, 1);
    lg_torch_free_all(api, &whole, 1);
    return status;
}

static lego_status run_layer_norm(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    const int n_dims = pass->net->graph->values[node->inputs[0]].shape.n_dims - (int)node->attrs->layer_norm.axis;

    return LG_TORCH(pass->net->api, layer_norm(out, input(pass, node, 0), n_dims, slot(pass, node, SLOT_WEIGHT),
                                               slot(pass, node, SLOT_BIAS), node->attrs->layer_norm.eps));
}

static lego_status run_group_norm(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    return LG_TORCH(pass->net->api, group_norm(out, input(pass, node, 0), node->attrs->group_norm.groups,
                                               slot(pass, node, SLOT_WEIGHT), slot(pass, node, SLOT_BIAS),
                                               node->attrs->group_norm.eps));
}

static lego_status run_constant(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    const lg_torch_api *api = pass->net->api;
    lg_torch_tensor *value = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_TORCH(api, tensor_cast(&value, slot(pass, node, SLOT_VALUE), pass->net->recipe.dtype,
                                     LG_TORCH_CONTIGUOUS)));
    LG_TRY(LG_TORCH(api, repeat(out, value, pass->batch)));
done:
    lg_torch_free_all(api, &value, 1);
    return status;
}

const lg_torch_op_fn lg_torch_ops[LG_OP_N_KINDS] = {
    [LG_OP_CONV] = run_conv,
    [LG_OP_LINEAR] = run_linear,
    [LG_OP_BATCH_NORM] = run_batch_norm,
    [LG_OP_RELU] = run_relu,
    [LG_OP_CLIP] = run_clip,
    [LG_OP_ADD] = run_add,
    [LG_OP_MAX_POOL] = run_max_pool,
    [LG_OP_AVG_POOL] = run_avg_pool,
    [LG_OP_ADAPTIVE_AVG_POOL] = run_adaptive_avg_pool,
    [LG_OP_FLATTEN] = run_flatten,
    [LG_OP_DROPOUT] = run_dropout,
    [LG_OP_SIGMOID] = run_activation,
    [LG_OP_TANH] = run_activation,
    [LG_OP_HARD_SIGMOID] = run_activation,
    [LG_OP_HARD_SWISH] = run_activation,
    [LG_OP_SILU] = run_activation,
    [LG_OP_GELU] = run_activation,
    [LG_OP_LEAKY_RELU] = run_activation,
    [LG_OP_PRELU] = run_prelu,
    [LG_OP_SOFTMAX] = run_softmax,
    [LG_OP_SUB] = run_binary,
    [LG_OP_MUL] = run_binary,
    [LG_OP_DIV] = run_binary,
    [LG_OP_CONCAT] = run_concat,
    [LG_OP_SPLIT] = run_split,
    [LG_OP_SLICE] = run_slice,
    [LG_OP_RESHAPE] = run_reshape,
    [LG_OP_PERMUTE] = run_permute,
    [LG_OP_MEAN] = run_mean,
    [LG_OP_PAD] = run_pad,
    [LG_OP_UPSAMPLE] = run_upsample,
    [LG_OP_ADAPTIVE_MAX_POOL] = run_adaptive_max_pool,
    [LG_OP_CONV_TRANSPOSE] = run_conv_transpose,
    [LG_OP_MATMUL] = run_binary,
    [LG_OP_LAYER_NORM] = run_layer_norm,
    [LG_OP_GROUP_NORM] = run_group_norm,
    [LG_OP_CONSTANT] = run_constant,
#define FUNCTION(KIND, name) [LG_OP_##KIND] = run_activation,
    LG_FUNCTIONS(FUNCTION)
#undef FUNCTION
    [LG_OP_ELU] = run_activation,
    [LG_OP_SOFTPLUS] = run_activation,
    [LG_OP_POW] = run_activation,
    [LG_OP_SHRINK] = run_activation,
    [LG_OP_THRESHOLDED_RELU] = run_activation,
    [LG_OP_LOG_SOFTMAX] = run_softmax,
    [LG_OP_MIN] = run_binary,
    [LG_OP_MAX] = run_binary,
};

/* Whether the batch norm behind this layer is folded into it in this pass. */
static int folds(const lg_torch_pass *pass, const lg_node *node)
{
    const lg_torch_net *net = pass->net;
    int32_t reader;

    if (pass->mode == LG_TORCH_TRAIN || (node->op->kind != LG_OP_CONV && node->op->kind != LG_OP_LINEAR))
        return 0;
    if (node->op->kind == LG_OP_LINEAR && net->graph->values[node->outputs[0]].shape.n_dims != 2)
        return 0; /* batch norm is over axis 1, a linear layer's outputs are the last one */
    reader = net->only_reader[node->outputs[0]];
    return reader != LG_NONE && net->graph->nodes[reader].op->kind == LG_OP_BATCH_NORM;
}

