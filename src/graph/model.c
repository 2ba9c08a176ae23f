/* The public model: a handle around a graph. Loading, saving, facts, and the "legodnn.model/1" document. */
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "graph/graph.h"
#include "graph/ops.h"

#define SCHEMA "legodnn.model/1"

lego_status lg_model_from_graph(lego_model **out, lg_graph *graph)
{
    lego_model *model = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&model, 1));
    model->graph = graph;
    *out = model;
done:
    return status;
}

void lego_model_free(lego_model *model)
{
    if (!model)
        return;
    lg_graph_free(model->graph);
    lg_free(model);
}

lego_status lego_model_load(lego_model **out, lego_context *context, const char *path)
{
    lg_graph *graph = NULL;
    lego_status status = LEGO_OK;

    if (!out || !path)
        return lg_error(LEGO_EINVAL, "out and path must not be NULL");
    *out = NULL;
    if (lg_str_ends_with(path, ".onnx"))
        LG_FAIL(LEGO_EUNSUPPORTED, "%s: an ONNX file; make a model of it first: legodnn import %s -o model.safetensors",
                path, path);
    if (lg_str_ends_with(path, ".pt") || lg_str_ends_with(path, ".pth"))
        LG_FAIL(LEGO_EUNSUPPORTED, "%s: a PyTorch file; 'legodnn import' makes a model of a TorchScript module, 'legodnn "
                "weights' puts a state dict into a model", path);
    if (lg_str_ends_with(path, ".json"))
        LG_TRY(lg_graph_load_json(&graph, path, lego_context_seed(context)));
    else
        LG_TRY(lg_graph_load(&graph, path));
    if (lg_graph_check_finite(graph) != LEGO_OK)
        LG_FAIL(LEGO_EFORMAT, "%s: %s", path, lego_last_error());
    LG_TRY(lg_model_from_graph(out, graph));
    graph = NULL;
done:
    lg_graph_free(graph);
    return status;
}

lego_status lego_model_save(const lego_model *model, const char *path)
{
    if (!model || !path)
        return lg_error(LEGO_EINVAL, "model and path must not be NULL");
    if (lg_str_ends_with(path, ".json"))
        return lg_graph_save_json(model->graph, path);
    return lg_graph_save(model->graph, path, NULL);
}

lego_status lego_model_get_info(lego_model_info *out, const lego_model *model)
{
    if (!out || !model)
        return lg_error(LEGO_EINVAL, "out and model must not be NULL");
    *out = (lego_model_info){
        .n_parameters = lg_graph_parameters(model->graph),
        .n_macs = lg_graph_macs(model->graph),
        .flops = lg_graph_flops(model->graph),
        .weight_bytes = (int64_t)lg_graph_weight_bytes(model->graph),
        .n_nodes = model->graph->n_nodes,
        .n_inputs = model->graph->n_inputs,
        .n_outputs = model->graph->n_outputs,
    };
    return LEGO_OK;
}

static lego_status interface_shape(const lg_graph *graph, const char *what, int32_t n, const int32_t *ids,
                                   int64_t index, int *n_dims, int64_t *dims)
{
    const lg_shape *shape;

    if (!n_dims || !dims)
        return lg_error(LEGO_EINVAL, "n_dims and dims must not be NULL");
    if (index < 0 || index >= n)
        return lg_error(LEGO_EINVAL, "%s %lld: the model has %d", what, (long long)index, (int)n);
    shape = &graph->values[ids[index]].shape;
    *n_dims = shape->n_dims;
    memcpy(dims, shape->dims, (size_t)shape->n_dims * sizeof(*dims));
    dims[0] = 1;
    return LEGO_OK;
}

lego_status lego_model_input_shape(const lego_model *model, int64_t index, int *n_dims, int64_t *dims)
{
    if (!model)
        return lg_error(LEGO_EINVAL, "model must not be NULL");
    return interface_shape(model->graph, "input", model->graph->n_inputs, model->graph->inputs, index, n_dims, dims);
}

lego_status lego_model_output_shape(const lego_model *model, int64_t index, int *n_dims, int64_t *dims)
{
    if (!model)
        return lg_error(LEGO_EINVAL, "model must not be NULL");
    return interface_shape(model->graph, "output", model->graph->n_outputs, model->graph->outputs, index, n_dims,
                           dims);
}

static const char *interface_name(const lg_graph *graph, int32_t n, const int32_t *ids, int64_t index)
{
    return index >= 0 && index < n ? graph->values[ids[index]].name : NULL;
}

const char *lego_model_input_name(const lego_model *model, int64_t index)
{
    return model ? interface_name(model->graph, model->graph->n_inputs, model->graph->inputs, index) : NULL;
}

const char *lego_model_output_name(const lego_model *model, int64_t index)
{
    return model ? interface_name(model->graph, model->graph->n_outputs, model->graph->outputs, index) : NULL;
}

/* {"name": ..., "dtype": ..., "shape": [1, ...]} */
static lego_status describe_value(lg_json *array, const lg_value *value)
{
    lg_json *object, *dims;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_push_object(&object, array));
    LG_TRY(lg_json_set_string(object, "name", value->name));
    LG_TRY(lg_json_set_string(object, "dtype", lg_dtype_name(value->dtype)));
    LG_TRY(lg_json_set_array(&dims, object, "shape"));
    for (int i = 0; i < value->shape.n_dims; i++)
        LG_TRY(lg_json_push_int(dims, i == 0 ? 1 : value->shape.dims[i]));
done:
    return status;
}

static lego_status describe_values(lg_json *object, const char *key, const lg_graph *graph, int32_t n,
                                   const int32_t *ids)
{
    lg_json *array;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_array(&array, object, key));
    for (int32_t i = 0; i < n; i++)
        LG_TRY(describe_value(array, &graph->values[ids[i]]));
done:
    return status;
}

static lego_status describe_node(lg_json *array, const lg_graph *graph, const lg_node *node)
{
    lg_json *object, *attrs, *names;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_push_object(&object, array));
    LG_TRY(lg_json_set_string(object, "name", node->name));
    LG_TRY(lg_json_set_string(object, "op", node->op->name));
    LG_TRY(lg_json_set_array(&names, object, "inputs"));
    for (int i = 0; i < node->n_inputs; i++)
        LG_TRY(lg_json_push_string(names, graph->values[node->inputs[i]].name));
    LG_TRY(describe_values(object, "outputs", graph, node->n_outputs, node->outputs));
    LG_TRY(lg_json_set_object(&attrs, object, "attrs"));
    LG_TRY(lg_attrs_to_json(attrs, node->op, node->attrs));
    LG_TRY(lg_json_set_int(object, "parameters", lg_node_parameters(graph, node)));
    LG_TRY(lg_json_set_int(object, "macs", lg_node_macs(graph, node)));
    LG_TRY(lg_json_set_int(object, "flops", lg_node_flops(graph, node)));
done:
    return status;
}

static lego_status describe_ops(lg_json *object, const lg_graph *graph)
{
    lg_json *ops;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_object(&ops, object, "ops"));
    for (int k = 0; lg_op_at(k); k++) {
        const lg_op *op = lg_op_at(k);
        int64_t n = 0;

        for (int32_t i = 0; i < graph->n_nodes; i++)
            n += graph->nodes[i].op == op;
        if (n > 0)
            LG_TRY(lg_json_set_int(ops, op->name, n));
    }
done:
    return status;
}

lego_status lego_model_to_json(char **out, const lego_model *model, int with_graph)
{
    const lg_graph *graph;
    lg_json *json = NULL, *nodes;
    lego_status status = LEGO_OK;

    if (!out || !model)
        return lg_error(LEGO_EINVAL, "out and model must not be NULL");
    *out = NULL;
    graph = model->graph;
    LG_TRY(lg_json_create_object(&json));
    LG_TRY(lg_json_set_string(json, "schema", SCHEMA));
    LG_TRY(lg_json_set_string(json, "name", graph->name));
    LG_TRY(lg_json_set_int(json, "parameters", lg_graph_parameters(graph)));
    LG_TRY(lg_json_set_int(json, "macs", lg_graph_macs(graph)));
    LG_TRY(lg_json_set_int(json, "flops", lg_graph_flops(graph)));
    LG_TRY(lg_json_set_int(json, "weight_bytes", (int64_t)lg_graph_weight_bytes(graph)));
    LG_TRY(describe_values(json, "inputs", graph, graph->n_inputs, graph->inputs));
    LG_TRY(describe_values(json, "outputs", graph, graph->n_outputs, graph->outputs));
    LG_TRY(lg_json_set_int(json, "n_nodes", graph->n_nodes));
    LG_TRY(describe_ops(json, graph));
    if (with_graph) {
        LG_TRY(lg_json_set_array(&nodes, json, "nodes"));
        for (int32_t i = 0; i < graph->n_nodes; i++)
            LG_TRY(describe_node(nodes, graph, &graph->nodes[i]));
    }
    LG_TRY(lg_json_print(out, json, 1));
done:
    lg_json_free(json);
    return status;
}
