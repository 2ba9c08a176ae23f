/* Runs a graph on ATen, with or without autograd.
 *
 * A net holds the graph's weights as tensors on a device: leaves that optimisers update in place, and buffers. forward()
 * walks the nodes in order, one entry of `lg_torch_ops` an op, and frees every value after its last reader; under autograd the
 * history keeps what backward needs.
 *
 * Except in LG_TORCH_TRAIN, a batch norm that is the only reader of a convolution or linear layer is folded into its
 * weights on the fly. That is the same mathematics and autograd goes through it, so scale and shift still train, but the
 * activations are read and written once less. Newcomers trip over in-place activations: allowed only where the producer's
 * backward does not need its own output (a relu's does) and nobody else reads the value. */
#include "torch/exec.h"

#include <string.h>

#include "base/alloc.h"

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
        if (!lg_torch_ops[graph->nodes[n].op->kind])
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
    lego_status status = lg_torch_ops[node->op->kind](pass, node, &net->values[node->outputs[0]]);

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

static lego_status count_samples(lg_torch_pass *pass)
{
    const lg_torch_net *net = pass->net;
    int64_t dims[LEGO_MAX_DIMS];
    int n_dims = 0;
    lego_status status = LEGO_OK;

    if (net->graph->n_inputs > 0) {
        LG_TRY(LG_TORCH(net->api, tensor_shape(net->values[net->graph->inputs[0]], &n_dims, dims)));
        pass->batch = n_dims > 0 ? dims[0] : 1;
    }
done:
    return status;
}

lego_status lg_torch_net_forward(lg_torch_net *net, lg_torch_mode mode, lg_torch_tensor *const *inputs,
                                 lg_torch_tensor **outputs)
{
    const lg_graph *graph = net->graph;
    const lg_torch_api *api = net->api;
    lg_torch_pass pass = { net, mode, 1 };
    lego_status status = LEGO_OK;

    memset(outputs, 0, sizeof(*outputs) * (size_t)graph->n_outputs);
    memcpy(net->pending, net->readers, sizeof(*net->pending) * (size_t)graph->n_values);
    if (mode == LG_TORCH_EVAL)
        LG_TRY(LG_TORCH(api, set_grad(0)));
    for (int32_t i = 0; i < graph->n_inputs; i++)
        LG_TRY(LG_TORCH(api, tensor_cast(&net->values[graph->inputs[i]], inputs[i], net->recipe.dtype,
                                         net->recipe.layout)));
    LG_TRY(count_samples(&pass));
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
