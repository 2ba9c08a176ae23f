/* Runs a graph on ATen, with or without autograd.
 *
 * A net holds the graph's weights as tensors on a device: leaves that optimisers update in place, and buffers. forward()
 * walks the nodes in order, one entry of `ops` an op, and frees every value after its last reader; under autograd the
 * history keeps what backward needs.
 *
 * Except in LG_TORCH_TRAIN, a batch norm that is the only reader of a convolution or linear layer is folded into its
 * weights on the fly. That is the same mathematics and autograd goes through it, so scale and shift still train, but the
 * activations are read and written once less. Newcomers trip over in-place activations: allowed only where the producer's
 * backward does not need its own output (a relu's does) and nobody else reads the value. */
#include "torch/torch.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "graph/ops.h"

enum { SLOT_WEIGHT, SLOT_BIAS, SLOT_MEAN, SLOT_VAR, N_KNOWN_SLOTS };

struct lg_torch_net {
    const lg_torch_api *api;
    lg_graph *graph; /* ours; shares the weights' storage */
    lg_torch_tensor **weights;
    lg_torch_tensor **leaves; /* borrowed from weights */
    int32_t *leaf_weights;
    int32_t n_leaves;
    lg_torch_recipe recipe;
    int32_t *readers;          /* per value: how many inputs and graph outputs read it */
    int32_t *only_reader;      /* per value: the node, if one node reads it once and nothing else does */
    lg_torch_tensor **values;  /* of the running forward */
    int32_t *pending;          /* readers still to come */
};

/* A running forward pass. */
typedef struct lg_torch_pass {
    lg_torch_net *net;
    lg_torch_mode mode;
} lg_torch_pass;

typedef lego_status (*lg_torch_op_fn)(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out);

static int folds(const lg_torch_pass *pass, const lg_node *node);

/* --- looking things up --- */

static lg_torch_tensor *input(const lg_torch_pass *pass, const lg_node *node, int32_t i)
{
    return pass->net->values[node->inputs[i]];
}

static lg_torch_tensor *slot(const lg_torch_pass *pass, const lg_node *node, int which)
{
    static const char *const names[N_KNOWN_SLOTS] = { "weight", "bias", "running_mean", "running_var" };

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
    case LG_OP_CONV2D:
    case LG_OP_LINEAR:
    case LG_OP_ADD:
    case LG_OP_BATCH_NORM: /* folded away, the value is the layer's own output, which nobody else reads */
        return 1;
    default:
        return 0;
    }
}

static lg_torch_window conv_window(const lg_conv_attrs *attrs)
{
    lg_torch_window window = { .stride = { attrs->stride[0], attrs->stride[1] },
                               .pads = { attrs->pads[0], attrs->pads[1] },
                               .dilation = { attrs->dilation[0], attrs->dilation[1] },
                               .groups = attrs->groups };

    return window;
}

static lg_torch_window pool_window(const lg_pool_attrs *attrs)
{
    lg_torch_window window = { .kernel = { attrs->kernel[0], attrs->kernel[1] },
                               .stride = { attrs->stride[0], attrs->stride[1] },
                               .pads = { attrs->pads[0], attrs->pads[1] },
                               .dilation = { attrs->dilation[0], attrs->dilation[1] },
                               .groups = 1,
                               .ceil_mode = attrs->ceil_mode,
                               .count_include_pad = attrs->count_include_pad };

    return window;
}

static int uneven(const int64_t pads[4])
{
    return pads[0] != pads[2] || pads[1] != pads[3];
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

static lego_status run_conv2d(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    const lg_torch_api *api = pass->net->api;
    lg_torch_window window = conv_window(&node->attrs->conv);
    lg_torch_tensor *weight = NULL, *bias = NULL, *padded = NULL;
    lego_status status = LEGO_OK;

    if (uneven(node->attrs->conv.pads)) {
        LG_TRY(LG_TORCH(api, pad(&padded, input(pass, node, 0), node->attrs->conv.pads, 0.0)));
        window.pads[0] = window.pads[1] = 0;
    }
    LG_TRY(layer_weights(pass, node, &weight, &bias));
    LG_TRY(LG_TORCH(api, conv2d(out, padded ? padded : input(pass, node, 0), weight, bias, &window)));
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
    return LG_TORCH(pass->net->api,
                    add(out, input(pass, node, 0), input(pass, node, 1), may_overwrite(pass, node)));
}

static lego_status run_max_pool(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    const lg_torch_api *api = pass->net->api;
    lg_torch_window window = pool_window(&node->attrs->pool);
    lg_torch_tensor *padded = NULL;
    lego_status status = LEGO_OK;

    if (uneven(node->attrs->pool.pads)) { /* minus infinity never wins */
        LG_TRY(LG_TORCH(api, pad(&padded, input(pass, node, 0), node->attrs->pool.pads, -HUGE_VAL)));
        window.pads[0] = window.pads[1] = 0;
    }
    LG_TRY(LG_TORCH(api, max_pool(out, padded ? padded : input(pass, node, 0), &window)));
done:
    lg_torch_free_all(api, &padded, 1);
    return status;
}

static lego_status run_avg_pool(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out)
{
    const lg_torch_window window = pool_window(&node->attrs->pool);

    if (uneven(node->attrs->pool.pads))
        return lg_error(LEGO_EUNSUPPORTED, "node '%s': avg_pool with uneven padding has no torch counterpart",
                        node->name);
    return LG_TORCH(pass->net->api, avg_pool(out, input(pass, node, 0), &window));
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

static const lg_torch_op_fn ops[LG_OP_N_KINDS] = {
    [LG_OP_CONV2D] = run_conv2d,
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
};

/* Whether the batch norm behind this layer is folded into it in this pass. */
static int folds(const lg_torch_pass *pass, const lg_node *node)
{
    const lg_torch_net *net = pass->net;
    int32_t reader;

    if (pass->mode == LG_TORCH_TRAIN || (node->op->kind != LG_OP_CONV2D && node->op->kind != LG_OP_LINEAR))
        return 0;
    reader = net->only_reader[node->outputs[0]];
    return reader != LG_NONE && net->graph->nodes[reader].op->kind == LG_OP_BATCH_NORM;
}

/* --- building --- */

static lego_status count_readers(lg_torch_net *net)
{
    const lg_graph *graph = net->graph;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&net->readers, graph->n_values));
    LG_TRY(LG_CALLOC(&net->only_reader, graph->n_values));
    LG_TRY(LG_CALLOC(&net->pending, graph->n_values));
    LG_TRY(LG_CALLOC(&net->values, graph->n_values));
    for (int32_t v = 0; v < graph->n_values; v++)
        net->only_reader[v] = LG_NONE;
    for (int32_t n = 0; n < graph->n_nodes; n++) {
        for (int32_t i = 0; i < graph->nodes[n].n_inputs; i++) {
            const int32_t value = graph->nodes[n].inputs[i];

            net->only_reader[value] = net->readers[value]++ == 0 ? n : LG_NONE;
        }
    }
    for (int32_t i = 0; i < graph->n_outputs; i++) {
        net->only_reader[graph->outputs[i]] = LG_NONE;
        net->readers[graph->outputs[i]]++;
    }
done:
    return status;
}

/* A weight trains unless some node uses it as a buffer. */
static lego_status find_leaves(lg_torch_net *net)
{
    const lg_graph *graph = net->graph;
    uint8_t *buffer = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&buffer, graph->n_weights));
    LG_TRY(LG_CALLOC(&net->leaves, graph->n_weights));
    LG_TRY(LG_CALLOC(&net->leaf_weights, graph->n_weights));
    for (int32_t n = 0; n < graph->n_nodes; n++) {
        const lg_node *node = &graph->nodes[n];

        for (int32_t i = 0; i < node->n_weights; i++)
            if (node->weights[i] != LG_NONE && (node->op->slots[i].flags & LG_SLOT_BUFFER))
                buffer[node->weights[i]] = 1;
    }
    for (int32_t w = 0; w < graph->n_weights; w++) {
        if (buffer[w] || graph->weights[w].tensor.dtype != LEGO_DTYPE_F32)
            continue;
        LG_TRY(LG_TORCH(net->api, tensor_set_trainable(net->weights[w], 1)));
        net->leaf_weights[net->n_leaves] = w;
        net->leaves[net->n_leaves++] = net->weights[w];
    }
done:
    lg_free(buffer);
    return status;
}

lego_status lg_torch_net_create(lg_torch_net **out, const lg_torch_api *api, const lg_graph *graph, const char *device)
{
    lg_torch_net *net = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    for (int32_t n = 0; n < graph->n_nodes; n++)
        if (!ops[graph->nodes[n].op->kind])
            return lg_error(LEGO_EUNSUPPORTED, "node '%s': op %s does not run on torch", graph->nodes[n].name,
                            graph->nodes[n].op->name);
    LG_TRY(LG_CALLOC(&net, 1));
    net->api = api;
    net->recipe.dtype = LEGO_DTYPE_F32;
    LG_TRY(lg_graph_clone(&net->graph, graph));
    LG_TRY(count_readers(net));
    LG_TRY(LG_CALLOC(&net->weights, graph->n_weights));
    for (int32_t w = 0; w < graph->n_weights; w++) {
        const lego_tensor *tensor = &net->graph->weights[w].tensor;

        LG_TRY(lg_torch_check(api,
                              api->tensor_from_host(&net->weights[w], tensor->dtype, tensor->shape.n_dims,
                                                    tensor->shape.dims, lg_tensor_data(tensor), device),
                              net->graph->weights[w].name));
    }
    LG_TRY(find_leaves(net));
    *out = net;
    net = NULL;
done:
    lg_torch_net_free(net);
    return status;
}

void lg_torch_net_free(lg_torch_net *net)
{
    if (!net)
        return;
    if (net->graph) {
        lg_torch_free_all(net->api, net->weights, net->graph->n_weights);
        lg_torch_free_all(net->api, net->values, net->graph->n_values);
    }
    lg_graph_free(net->graph);
    lg_free(net->weights);
    lg_free(net->leaves);
    lg_free(net->leaf_weights);
    lg_free(net->readers);
    lg_free(net->only_reader);
    lg_free(net->pending);
    lg_free(net->values);
    lg_free(net);
}

void lg_torch_net_set_recipe(lg_torch_net *net, lg_torch_recipe recipe)
{
    net->recipe = recipe;
}

lg_torch_recipe lg_torch_net_recipe(const lg_torch_net *net)
{
    return net->recipe;
}

const lg_graph *lg_torch_net_graph(const lg_torch_net *net)
{
    return net->graph;
}

int32_t lg_torch_net_n_leaves(const lg_torch_net *net)
{
    return net->n_leaves;
}

lg_torch_tensor *const *lg_torch_net_leaves(const lg_torch_net *net)
{
    return net->leaves;
}

const int32_t *lg_torch_net_leaf_weights(const lg_torch_net *net)
{
    return net->leaf_weights;
}

lg_torch_tensor *const *lg_torch_net_weights(const lg_torch_net *net)
{
    return net->weights;
}

/* --- running --- */

static lego_status run_node(lg_torch_pass *pass, const lg_node *node)
{
    lg_torch_net *net = pass->net;
    lego_status status = ops[node->op->kind](pass, node, &net->values[node->outputs[0]]);

    if (status == LEGO_EBACKEND) { /* the message is libtorch's: say where it came from */
        char *text = lg_strdup(lego_last_error());

        lg_error(status, "node '%s': %s", node->name, text ? text : "libtorch failed");
        lg_free(text);
    }
    for (int32_t i = 0; i < node->n_inputs; i++)
        if (--net->pending[node->inputs[i]] == 0)
            lg_torch_free_all(net->api, &net->values[node->inputs[i]], 1);
    return status;
}

lego_status lg_torch_net_forward(lg_torch_net *net, lg_torch_mode mode, lg_torch_tensor *const *inputs,
                                 lg_torch_tensor **outputs)
{
    const lg_graph *graph = net->graph;
    const lg_torch_api *api = net->api;
    lg_torch_pass pass = { net, mode };
    lego_status status = LEGO_OK;

    memset(outputs, 0, sizeof(*outputs) * (size_t)graph->n_outputs);
    memcpy(net->pending, net->readers, sizeof(*net->pending) * (size_t)graph->n_values);
    if (mode == LG_TORCH_EVAL)
        LG_TRY(LG_TORCH(api, set_grad(0)));
    for (int32_t i = 0; i < graph->n_inputs; i++)
        LG_TRY(LG_TORCH(api, tensor_cast(&net->values[graph->inputs[i]], inputs[i], net->recipe.dtype,
                                         net->recipe.layout)));
    for (int32_t n = 0; n < graph->n_nodes; n++)
        LG_TRY(run_node(&pass, &graph->nodes[n]));
    for (int32_t i = 0; i < graph->n_outputs; i++)
        LG_TRY(LG_TORCH(api, tensor_share(&outputs[i], net->values[graph->outputs[i]])));
done:
    if (mode == LG_TORCH_EVAL && api->set_grad(1) != LEGO_OK && status == LEGO_OK)
        status = lg_torch_check(api, LEGO_EBACKEND, NULL);
    lg_torch_free_all(api, net->values, graph->n_values);
    if (status != LEGO_OK)
        lg_torch_free_all(api, outputs, graph->n_outputs);
    return status;
}

lego_status lg_torch_upload(lg_torch_tensor **out, const lg_torch_api *api, const lg_value *value, int64_t n,
                            const float *data, const char *device)
{
    lg_shape shape = value->shape;

    *out = NULL;
    if (value->dtype != LEGO_DTYPE_F32)
        return lg_error(LEGO_EUNSUPPORTED, "input '%s' is %s, only F32 is supported", value->name,
                        lg_dtype_name(value->dtype));
    shape.dims[0] = n;
    return lg_torch_check(api, api->tensor_from_host(out, LEGO_DTYPE_F32, shape.n_dims, shape.dims, data, device),
                          value->name);
}

/* --- weights --- */

static lego_status check_same_weights(const lg_torch_net *net, const lg_graph *graph)
{
    if (graph->n_weights != net->graph->n_weights)
        return lg_error(LEGO_EINVAL, "graph '%s' has %d weights, the net made of '%s' has %d", graph->name,
                        graph->n_weights, net->graph->name, net->graph->n_weights);
    for (int32_t w = 0; w < graph->n_weights; w++)
        if (graph->weights[w].tensor.dtype != net->graph->weights[w].tensor.dtype ||
            !lg_shape_equal(&graph->weights[w].tensor.shape, &net->graph->weights[w].tensor.shape))
            return lg_error(LEGO_EINVAL, "weight '%s' is not of the shape that the net of '%s' was made with",
                            graph->weights[w].name, net->graph->name);
    return LEGO_OK;
}

lego_status lg_torch_net_read(const lg_torch_net *net, lg_graph *graph)
{
    lego_tensor *fresh = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(check_same_weights(net, graph));
    LG_TRY(LG_CALLOC(&fresh, graph->n_weights));
    for (int32_t w = 0; w < graph->n_weights; w++) {
        LG_TRY(lg_tensor_init(&fresh[w], graph->weights[w].tensor.dtype, &graph->weights[w].tensor.shape));
        LG_TRY(lg_torch_check(net->api,
                              net->api->tensor_to_host(net->weights[w], lg_tensor_data(&fresh[w]),
                                                       lg_tensor_bytes(&fresh[w])),
                              graph->weights[w].name));
    }
    for (int32_t w = 0; w < graph->n_weights; w++) { /* all or nothing */
        const lego_tensor old = graph->weights[w].tensor;

        graph->weights[w].tensor = fresh[w];
        fresh[w] = old;
    }
done:
    for (int32_t w = 0; fresh && w < graph->n_weights; w++)
        lg_tensor_dispose(&fresh[w]);
    lg_free(fresh);
    return status;
}

lego_status lg_torch_net_write(lg_torch_net *net, const lg_graph *graph)
{
    lego_status status = LEGO_OK;

    LG_TRY(check_same_weights(net, graph));
    for (int32_t w = 0; w < graph->n_weights; w++)
        LG_TRY(lg_torch_check(net->api,
                              net->api->tensor_assign_host(net->weights[w], lg_tensor_data(&graph->weights[w].tensor),
                                                           lg_tensor_bytes(&graph->weights[w].tensor)),
                              graph->weights[w].name));
done:
    return status;
}
