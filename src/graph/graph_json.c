/* A graph as JSON, schema "legodnn.graph/1":
 *
 *   {"schema": "legodnn.graph/1", "name": "resnet18-cifar",
 *    "inputs":  [{"name": "input", "dtype": "F32", "shape": [3, 32, 32]}],        the batch is not written
 *    "weights": [{"name": "conv1.weight", "dtype": "F32", "shape": [64, 3, 3, 3]}],
 *    "nodes":   [{"name": "conv1", "op": "conv2d", "inputs": ["input"], "outputs": ["conv1"],
 *                 "weights": {"weight": "conv1.weight"}, "attrs": {"stride": [1, 1], ...}}],
 *    "outputs": ["linear"]}
 *
 * Nodes stand in topological order. A block's outputs are objects like the inputs, since nothing infers their shapes.
 * Reading trusts nothing: the graph is built through the same checks as any other and validated at the end. */
#include <string.h>

#include "base/alloc.h"
#include "graph/graph.h"
#include "graph/name_map.h"
#include "graph/ops.h"

#define SCHEMA "legodnn.graph/1"
#define MAX_JSON_INT ((int64_t)1 << 53) /* JSON numbers are doubles */

/* --- writing --- */

/* name, dtype and shape from dimension `first` on. */
static lego_status write_declaration(lg_json *object, const char *name, lego_dtype dtype, const lg_shape *shape,
                                     int first)
{
    lg_json *dims;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_string(object, "name", name));
    LG_TRY(lg_json_set_string(object, "dtype", lg_dtype_name(dtype)));
    LG_TRY(lg_json_set_array(&dims, object, "shape"));
    for (int i = first; i < shape->n_dims; i++)
        LG_TRY(lg_json_push_int(dims, shape->dims[i]));
done:
    return status;
}

static lego_status write_value(lg_json *array, const lg_value *value)
{
    lg_json *object;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_push_object(&object, array));
    LG_TRY(write_declaration(object, value->name, value->dtype, &value->shape, 1));
done:
    return status;
}

static lego_status write_node(lg_json *array, const lg_graph *graph, const lg_node *node)
{
    lg_json *object, *list;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_push_object(&object, array));
    LG_TRY(lg_json_set_string(object, "name", node->name));
    LG_TRY(lg_json_set_string(object, "op", node->op->name));
    LG_TRY(lg_json_set_array(&list, object, "inputs"));
    for (int i = 0; i < node->n_inputs; i++)
        LG_TRY(lg_json_push_string(list, graph->values[node->inputs[i]].name));
    LG_TRY(lg_json_set_array(&list, object, "outputs"));
    for (int i = 0; i < node->n_outputs; i++) {
        if (node->op->kind == LG_OP_BLOCK)
            LG_TRY(write_value(list, &graph->values[node->outputs[i]]));
        else
            LG_TRY(lg_json_push_string(list, graph->values[node->outputs[i]].name));
    }
    if (node->n_weights > 0)
        LG_TRY(lg_json_set_object(&list, object, "weights"));
    for (int i = 0; i < node->n_weights; i++)
        if (node->weights[i] != LG_NONE)
            LG_TRY(lg_json_set_string(list, node->op->slots[i].name, graph->weights[node->weights[i]].name));
    if (node->op->fields->name) {
        LG_TRY(lg_json_set_object(&list, object, "attrs"));
        LG_TRY(lg_attrs_to_json(list, node->op, node->attrs));
    }
    if (node->block != LG_NONE)
        LG_TRY(lg_json_set_int(object, "block", node->block));
done:
    return status;
}

lego_status lg_graph_to_json(lg_json **out, const lg_graph *graph)
{
    lg_json *json = NULL, *array, *object;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(lg_json_create_object(&json));
    LG_TRY(lg_json_set_string(json, "schema", SCHEMA));
    LG_TRY(lg_json_set_string(json, "name", graph->name));
    LG_TRY(lg_json_set_array(&array, json, "inputs"));
    for (int32_t i = 0; i < graph->n_inputs; i++)
        LG_TRY(write_value(array, &graph->values[graph->inputs[i]]));
    LG_TRY(lg_json_set_array(&array, json, "weights"));
    for (int32_t i = 0; i < graph->n_weights; i++) {
        const lego_tensor *tensor = &graph->weights[i].tensor;
        LG_TRY(lg_json_push_object(&object, array));
        LG_TRY(write_declaration(object, graph->weights[i].name, tensor->dtype, &tensor->shape, 0));
    }
    LG_TRY(lg_json_set_array(&array, json, "nodes"));
    for (int32_t i = 0; i < graph->n_nodes; i++)
        LG_TRY(write_node(array, graph, &graph->nodes[i]));
    LG_TRY(lg_json_set_array(&array, json, "outputs"));
    for (int32_t i = 0; i < graph->n_outputs; i++)
        LG_TRY(lg_json_push_string(array, graph->values[graph->outputs[i]].name));
    *out = json;
    json = NULL;
done:
    lg_json_free(json);
    return status;
}

/* --- reading --- */

#define WHAT "graph" /* in messages, behind the document's name, until a node has one */

typedef struct reader {
    lg_graph *graph;
    lg_name_map values, weights; /* name -> id; the names are the document's */
} reader;

static lego_status read_declaration(const char **name, lego_dtype *dtype, lg_shape *shape, const lg_json *object,
                                    int max_dims, const char *what)
{
    const lg_json *dims;
    const char *dtype_name;
    lego_status status = LEGO_OK;

    if (!lg_json_is_object(object))
        return lg_error(LEGO_EFORMAT, "a declaration is not an object");
    LG_TRY(lg_json_get_string(name, object, "name", what));
    LG_TRY(lg_json_get_string(&dtype_name, object, "dtype", what));
    if (lg_dtype_parse(dtype, dtype_name) != LEGO_OK)
        return lg_error(LEGO_EFORMAT, "'%s' has the unknown dtype '%s'", *name, dtype_name);
    LG_TRY(lg_json_get_array(&dims, object, "shape", what));
    if (lg_json_length(dims) > (size_t)max_dims)
        return lg_error(LEGO_EFORMAT, "'%s' has %zu dimensions, at most %d are possible", *name,
                        lg_json_length(dims), max_dims);
    shape->n_dims = 0;
    lg_json_each(item, dims)
        LG_TRY(lg_json_int(&shape->dims[shape->n_dims++], item, 0, MAX_JSON_INT, what));
done:
    return status;
}

static lego_status read_inputs(reader *in, const lg_json *json)
{
    const lg_json *array;
    const char *name;
    lego_dtype dtype;
    lg_shape shape;
    int32_t id;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_get_array(&array, json, "inputs", WHAT));
    lg_json_each(item, array) {
        LG_TRY(read_declaration(&name, &dtype, &shape, item, LEGO_MAX_DIMS - 1, WHAT));
        LG_TRY(lg_graph_add_input(&id, in->graph, name, dtype, &shape));
        if (lg_name_map_add(&in->values, name, id) != LG_NONE)
            return lg_error(LEGO_EFORMAT, "two values are named '%s'", name);
    }
done:
    return status;
}

static lego_status read_weights(reader *in, const lg_json *json, lg_weight_source source, void *payload)
{
    lego_tensor tensor = { 0 };
    const lg_json *array;
    const char *name;
    lego_dtype dtype;
    lg_shape shape;
    int32_t id;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_get_array(&array, json, "weights", WHAT));
    LG_TRY(lg_name_map_init(&in->weights, lg_json_length(array)));
    lg_json_each(item, array) {
        LG_TRY(read_declaration(&name, &dtype, &shape, item, LEGO_MAX_DIMS, WHAT));
        if (lg_name_map_find(&in->weights, name) != LG_NONE)
            LG_FAIL(LEGO_EFORMAT, "two weights are named '%s'", name);
        LG_TRY(source(&tensor, name, dtype, &shape, payload));
        LG_TRY(lg_graph_add_weight(&id, in->graph, name, &tensor));
        lg_name_map_add(&in->weights, name, id);
        lg_tensor_dispose(&tensor);
        memset(&tensor, 0, sizeof(tensor));
    }
done:
    lg_tensor_dispose(&tensor);
    return status;
}

/* A node while it is read. */
typedef struct draft {
    const char *name, *op_name;
    const lg_op *op;
    lg_attrs attrs;
    size_t n_inputs, n_outputs;
    int32_t *inputs;
    int32_t weights[LG_MAX_SLOTS];
    lg_value *outputs; /* names are the document's */
} draft;

static lego_status read_node_inputs(draft *node, const reader *in, const lg_json *object)
{
    const lg_json *array;
    const char *name;
    size_t i = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_get_array(&array, object, "inputs", node->name));
    node->n_inputs = lg_json_length(array);
    LG_TRY(LG_CALLOC(&node->inputs, node->n_inputs));
    lg_json_each(item, array) {
        LG_TRY(lg_json_string(&name, item, node->name));
        node->inputs[i] = lg_name_map_find(&in->values, name);
        if (node->inputs[i++] == LG_NONE)
            return lg_error(LEGO_EFORMAT, "node '%s' reads '%s', which no input and no earlier node makes",
                            node->name, name);
    }
done:
    return status;
}

static lego_status read_node_outputs(draft *node, const reader *in, const lg_json *object)
{
    const lg_json *array;
    lg_shape rest;
    size_t i = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_get_array(&array, object, "outputs", node->name));
    node->n_outputs = lg_json_length(array);
    LG_TRY(LG_CALLOC(&node->outputs, node->n_outputs));
    lg_json_each(item, array) {
        lg_value *value = &node->outputs[i++];
        const char *name;

        if (node->op->kind != LG_OP_BLOCK) {
            LG_TRY(lg_json_string(&name, item, node->name));
        } else {
            LG_TRY(read_declaration(&name, &value->dtype, &rest, item, LEGO_MAX_DIMS - 1, node->name));
            value->shape.n_dims = rest.n_dims + 1;
            value->shape.dims[0] = LG_BATCH;
            memcpy(value->shape.dims + 1, rest.dims, (size_t)rest.n_dims * sizeof(rest.dims[0]));
        }
        value->name = (char *)(uintptr_t)name; /* only read, and copied by the graph */
    }
done:
    return status;
}

static lego_status read_node_weights(draft *node, const reader *in, const lg_json *object)
{
    const lg_json *weights;
    lego_status status = LEGO_OK;

    for (int slot = 0; slot < node->op->n_slots; slot++)
        node->weights[slot] = LG_NONE;
    if (!lg_json_has(object, "weights"))
        return LEGO_OK;
    LG_TRY(lg_json_get_object(&weights, object, "weights", node->name));
    lg_json_each(item, weights) {
        const char *name;
        int slot = 0;

        while (slot < node->op->n_slots && strcmp(node->op->slots[slot].name, lg_json_key(item)) != 0)
            slot++;
        if (slot == node->op->n_slots)
            return lg_error(LEGO_EFORMAT, "node '%s': %s has no weight '%s'", node->name, node->op->name,
                            lg_json_key(item));
        LG_TRY(lg_json_string(&name, item, node->name));
        node->weights[slot] = lg_name_map_find(&in->weights, name);
        if (node->weights[slot] == LG_NONE)
            return lg_error(LEGO_EFORMAT, "node '%s': weight '%s' is not declared", node->name, name);
    }
done:
    return status;
}

static lego_status read_node(reader *in, const lg_json *object)
{
    draft node = { 0 };
    const lg_json *attrs = NULL;
    int64_t block;
    int32_t first;
    lego_status status = LEGO_OK;

    if (!lg_json_is_object(object))
        return lg_error(LEGO_EFORMAT, "a node is not an object");
    LG_TRY(lg_json_get_string(&node.name, object, "name", WHAT));
    LG_TRY(lg_json_get_string(&node.op_name, object, "op", node.name));
    node.op = lg_op_find(node.op_name);
    if (!node.op)
        LG_FAIL(LEGO_EUNSUPPORTED, "node '%s': unknown op '%s'", node.name, node.op_name);
    node.attrs = node.op->defaults;
    if (lg_json_has(object, "attrs")) {
        LG_TRY(lg_json_get_object(&attrs, object, "attrs", node.name));
        LG_TRY(lg_attrs_from_json(&node.attrs, node.op, attrs, node.name));
    }
    LG_TRY(read_node_inputs(&node, in, object));
    LG_TRY(read_node_outputs(&node, in, object));
    LG_TRY(read_node_weights(&node, in, object));
    LG_TRY(lg_json_get_int_or(&block, object, "block", LG_NONE, LG_NONE, INT32_MAX - 1, node.name));
    LG_TRY(lg_graph_add_node_named(&first, in->graph, node.op, node.name, &node.attrs, (int)node.n_inputs,
                                   node.inputs, node.op->n_slots, node.weights, (int)node.n_outputs, node.outputs));
    in->graph->nodes[in->graph->n_nodes - 1].block = (int32_t)block;
    for (size_t i = 0; i < node.n_outputs; i++)
        if (lg_name_map_add(&in->values, node.outputs[i].name, first + (int32_t)i) != LG_NONE)
            LG_FAIL(LEGO_EFORMAT, "node '%s': two values are named '%s'", node.name, node.outputs[i].name);
done:
    lg_free(node.inputs);
    lg_free(node.outputs);
    return status;
}

/* How many values the document can name at most: its inputs and all nodes' outputs. */
static lego_status count_values(size_t *out, const lg_json *json)
{
    const lg_json *array, *outputs;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_get_array(&array, json, "inputs", WHAT));
    *out = lg_json_length(array);
    LG_TRY(lg_json_get_array(&array, json, "nodes", WHAT));
    lg_json_each(item, array) {
        if (!lg_json_is_object(item))
            return lg_error(LEGO_EFORMAT, "a node is not an object");
        LG_TRY(lg_json_get_array(&outputs, item, "outputs", WHAT));
        *out += lg_json_length(outputs);
    }
done:
    return status;
}

static lego_status read_graph(reader *in, const lg_json *json, lg_weight_source source, void *payload)
{
    const lg_json *array;
    const char *name;
    size_t n_values;
    lego_status status = LEGO_OK;

    LG_TRY(count_values(&n_values, json));
    LG_TRY(lg_name_map_init(&in->values, n_values));
    LG_TRY(read_inputs(in, json));
    LG_TRY(read_weights(in, json, source, payload));
    LG_TRY(lg_json_get_array(&array, json, "nodes", WHAT));
    lg_json_each(item, array)
        LG_TRY(read_node(in, item));
    LG_TRY(lg_json_get_array(&array, json, "outputs", WHAT));
    lg_json_each(item, array) {
        LG_TRY(lg_json_string(&name, item, WHAT));
        if (lg_name_map_find(&in->values, name) == LG_NONE)
            return lg_error(LEGO_EFORMAT, "output '%s' is made by no node", name);
        LG_TRY(lg_graph_add_output(in->graph, lg_name_map_find(&in->values, name)));
    }
    LG_TRY(lg_graph_validate(in->graph));
done:
    return status;
}

lego_status lg_graph_from_json(lg_graph **out, const lg_json *json, const char *what, lg_weight_source source,
                               void *payload)
{
    reader in = { 0 };
    const char *name;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(lg_json_check_schema(json, SCHEMA, what));
    LG_TRY(lg_json_get_string_or(&name, json, "name", "", what));
    LG_TRY(lg_graph_create(&in.graph, name));
    status = read_graph(&in, json, source, payload);
    if (status == LEGO_EINVAL || status == LEGO_EFORMAT) /* the checks do not know whose graph it is */
        LG_FAIL(LEGO_EFORMAT, "%s: %s", what, lego_last_error());
    if (status == LEGO_EUNSUPPORTED)
        LG_FAIL(LEGO_EUNSUPPORTED, "%s: %s", what, lego_last_error());
    LG_TRY(status);
    *out = in.graph;
    in.graph = NULL;
done:
    lg_name_map_dispose(&in.values);
    lg_name_map_dispose(&in.weights);
    lg_graph_free(in.graph);
    return status;
}
