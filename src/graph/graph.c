/* Building graphs and asking them: ids are indices into dense arrays, appended and never removed.
 *
 * Flow: zoo, importers, the file loader and lg_graph_subgraph() build with these functions; lg_graph_validate() then
 * checks everything. Adding checks only what it needs itself (references, the node's own rule), so that building stays
 * linear; unique names are validate's business.
 *
 * Newcomers get wrong: a pointer into values/nodes/weights is stale after the next lg_graph_add_*(): keep ids. */
#include "graph/graph.h"

#include <string.h>

#include "base/alloc.h"
#include "graph/ops.h"
#include "graph/ops/common.h"

lego_status lg_graph_create(lg_graph **out, const char *name)
{
    lg_graph *graph = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&graph, 1));
    LG_TRY(LG_STRDUP(&graph->name, name ? name : ""));
    *out = graph;
    graph = NULL;
done:
    lg_graph_free(graph);
    return status;
}

static void dispose_node(lg_node *node)
{
    lg_free(node->name);
    lg_free(node->attrs);
    lg_free(node->inputs);
    lg_free(node->outputs);
    lg_free(node->weights);
}

void lg_graph_free(lg_graph *graph)
{
    if (!graph)
        return;
    for (int32_t i = 0; i < graph->n_values; i++)
        lg_free(graph->values[i].name);
    for (int32_t i = 0; i < graph->n_nodes; i++)
        dispose_node(&graph->nodes[i]);
    for (int32_t i = 0; i < graph->n_weights; i++) {
        lg_free(graph->weights[i].name);
        lg_tensor_dispose(&graph->weights[i].tensor);
    }
    lg_free(graph->values);
    lg_free(graph->nodes);
    lg_free(graph->weights);
    lg_free(graph->inputs);
    lg_free(graph->outputs);
    lg_free(graph->name);
    lg_free(graph);
}

/* One more entry of an array counted by int32_t. */
#define RESERVE_ONE(array, capacity, n)                                       \
    ((n) == INT32_MAX ? lg_error(LEGO_EINVAL, "the graph is too large")       \
                      : LG_RESERVE((array), (capacity), (size_t)(n) + 1))

static lego_status add_value(int32_t *out, lg_graph *graph, const char *name, lego_dtype dtype,
                             const lg_shape *shape, int32_t producer)
{
    char *copy = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(RESERVE_ONE(&graph->values, &graph->values_capacity, graph->n_values));
    LG_TRY(LG_STRDUP(&copy, name));
    graph->values[graph->n_values] = (lg_value){ copy, dtype, *shape, producer };
    *out = graph->n_values++;
done:
    return status;
}

/* Forget the values from `n_values` on: undoes a half-added node. */
static void drop_values(lg_graph *graph, int32_t n_values)
{
    while (graph->n_values > n_values)
        lg_free(graph->values[--graph->n_values].name);
}

lego_status lg_graph_add_input(int32_t *value, lg_graph *graph, const char *name, lego_dtype dtype,
                               const lg_shape *shape)
{
    lg_shape full = { .n_dims = 1, .dims = { LG_BATCH } };
    lego_status status = LEGO_OK;

    *value = LG_NONE;
    if (shape->n_dims < 1 || shape->n_dims >= LEGO_MAX_DIMS)
        return lg_error(LEGO_EINVAL, "input '%s': %d dimensions without the batch, 1 to %d are possible", name,
                        (int)shape->n_dims, LEGO_MAX_DIMS - 1);
    for (int i = 0; i < shape->n_dims; i++)
        full.dims[full.n_dims++] = shape->dims[i];
    LG_TRY(lg_op_check_shape(&full, "input", name));
    LG_TRY(RESERVE_ONE(&graph->inputs, &graph->inputs_capacity, graph->n_inputs));
    LG_TRY(add_value(value, graph, name, dtype, &full, LG_NONE));
    graph->inputs[graph->n_inputs++] = *value;
done:
    return status;
}

lego_status lg_graph_add_weight(int32_t *weight, lg_graph *graph, const char *name, const lego_tensor *tensor)
{
    char *copy = NULL;
    lego_status status = LEGO_OK;

    *weight = LG_NONE;
    LG_TRY(RESERVE_ONE(&graph->weights, &graph->weights_capacity, graph->n_weights));
    LG_TRY(LG_STRDUP(&copy, name));
    graph->weights[graph->n_weights].name = copy;
    graph->weights[graph->n_weights].trained = 0;
    lg_tensor_share(&graph->weights[graph->n_weights].tensor, tensor);
    *weight = graph->n_weights++;
done:
    return status;
}

static lego_status copy_ids(int32_t **out, int32_t n, const int32_t *ids)
{
    lego_status status = LG_CALLOC(out, n);

    if (status == LEGO_OK && n > 0)
        memcpy(*out, ids, (size_t)n * sizeof(*ids));
    return status;
}

static lego_status check_references(const lg_graph *graph, const lg_op *op, const char *name, int n_inputs,
                                    const int32_t *inputs, int n_weights, const int32_t *weights)
{
    if (n_inputs < op->min_inputs || (op->max_inputs >= 0 && n_inputs > op->max_inputs))
        return lg_error(LEGO_EINVAL, "node '%s': %d inputs, %s takes %d%s", name, n_inputs, op->name, op->min_inputs,
                        op->max_inputs < 0 ? " or more" : op->max_inputs > op->min_inputs ? " or one more" : "");
    if (n_weights != op->n_slots)
        return lg_error(LEGO_EINVAL, "node '%s': %d weights, %s has %d slots", name, n_weights, op->name, op->n_slots);
    for (int i = 0; i < n_inputs; i++)
        if (inputs[i] < 0 || inputs[i] >= graph->n_values)
            return lg_error(LEGO_EINVAL, "node '%s': input %d is no value of the graph", name, i);
    for (int i = 0; i < n_weights; i++) {
        if (weights[i] == LG_NONE && !(op->slots[i].flags & LG_SLOT_OPTIONAL))
            return lg_error(LEGO_EINVAL, "node '%s': %s needs a %s", name, op->name, op->slots[i].name);
        if (weights[i] != LG_NONE && (weights[i] < 0 || weights[i] >= graph->n_weights))
            return lg_error(LEGO_EINVAL, "node '%s': %s is no weight of the graph", name, op->slots[i].name);
    }
    return LEGO_OK;
}

lego_status lg_graph_add_node_named(int32_t *first_output, lg_graph *graph, const lg_op *op,
                                    const char *name, const lg_attrs *attrs, int n_inputs, const int32_t *inputs, int n_weights,
                                    const int32_t *weights, int n_outputs, const lg_value *outputs)
{
    const int32_t n_values = graph->n_values;
    const lg_shape unknown = { 0, { 0 } };
    lg_node node = { .op = op, .n_inputs = n_inputs, .n_weights = n_weights, .block = LG_NONE };
    char *output_name = NULL;
    lego_status status = LEGO_OK;

    *first_output = LG_NONE;
    LG_TRY(check_references(graph, op, name, n_inputs, inputs, n_weights, weights));
    LG_TRY(RESERVE_ONE(&graph->nodes, &graph->nodes_capacity, graph->n_nodes));
    LG_TRY(LG_STRDUP(&node.name, name));
    LG_TRY(LG_CALLOC(&node.attrs, 1));
    *node.attrs = attrs ? *attrs : op->defaults;
    LG_TRY(copy_ids(&node.inputs, n_inputs, inputs));
    LG_TRY(copy_ids(&node.weights, n_weights, weights));
    node.n_outputs = op->n_outputs ? op->n_outputs(graph, &node) : 1;
    if (node.n_outputs < 1 || (outputs && node.n_outputs != n_outputs))
        LG_FAIL(LEGO_EINVAL, "node '%s': %d outputs named, %s has %d", name, n_outputs, op->name,
                (int)node.n_outputs);
    LG_TRY(LG_CALLOC(&node.outputs, node.n_outputs));
    for (int32_t i = 0; i < node.n_outputs; i++) {
        if (outputs) {
            LG_TRY(add_value(&node.outputs[i], graph, outputs[i].name, outputs[i].dtype, &outputs[i].shape,
                             graph->n_nodes));
            continue;
        }
        output_name = node.n_outputs == 1 ? lg_strdup(name) : lg_asprintf("%s:%d", name, (int)i);
        if (!output_name)
            LG_FAIL(LEGO_ENOMEM, "out of memory naming the outputs of '%s'", name);
        LG_TRY(add_value(&node.outputs[i], graph, output_name, LEGO_DTYPE_F32, &unknown, graph->n_nodes));
        lg_free(output_name);
        output_name = NULL;
    }
    LG_TRY(op->validate(graph, &node));
    LG_TRY(op->infer_shape(graph, &node));
    for (int s = 0; s < n_weights; s++)
        if (weights[s] != LG_NONE && !(op->slots[s].flags & LG_SLOT_BUFFER))
            graph->weights[weights[s]].trained = 1;
    *first_output = node.outputs[0];
    graph->nodes[graph->n_nodes++] = node;
    memset(&node, 0, sizeof(node));
done:
    lg_free(output_name);
    if (status != LEGO_OK)
        drop_values(graph, n_values);
    dispose_node(&node);
    return status;
}

lego_status lg_graph_add_node(int32_t *first_output, lg_graph *graph, const char *op, const char *name,
                              const lg_attrs *attrs, int n_inputs, const int32_t *inputs, int n_weights,
                              const int32_t *weights)
{
    const lg_op *found = lg_op_find(op);

    *first_output = LG_NONE;
    if (!found)
        return lg_error(LEGO_EUNSUPPORTED, "node '%s': unknown op '%s'", name, op);
    if (found->kind == LG_OP_BLOCK)
        return lg_error(LEGO_EINVAL, "node '%s': a block is added with its outputs given", name);
    return lg_graph_add_node_named(first_output, graph, found, name, attrs, n_inputs, inputs, n_weights,
                                   weights, 0, NULL);
}

lego_status lg_graph_add_block(int32_t *first_output, lg_graph *graph, const char *name, int64_t index, int n_inputs,
                               const int32_t *inputs, int n_outputs, const lg_value *outputs)
{
    const lg_attrs attrs = { .block = { .index = index, .n_outputs = n_outputs } };

    return lg_graph_add_node_named(first_output, graph, lg_op_of_kind(LG_OP_BLOCK), name, &attrs, n_inputs, inputs, 0,
                                   NULL, n_outputs, outputs);
}

lego_status lg_graph_add_output(lg_graph *graph, int32_t value)
{
    lego_status status = LEGO_OK;

    if (value < 0 || value >= graph->n_values)
        return lg_error(LEGO_EINVAL, "graph output %d is no value of the graph", (int)value);
    LG_TRY(RESERVE_ONE(&graph->outputs, &graph->outputs_capacity, graph->n_outputs));
    graph->outputs[graph->n_outputs++] = value;
done:
    return status;
}

static lego_status clone_node(lg_node *copy, const lg_node *node)
{
    lego_status status = LEGO_OK;

    *copy = *node;
    copy->name = NULL;
    copy->attrs = NULL;
    copy->inputs = copy->outputs = copy->weights = NULL;
    LG_TRY(LG_STRDUP(&copy->name, node->name));
    LG_TRY(LG_CALLOC(&copy->attrs, 1));
    *copy->attrs = *node->attrs;
    LG_TRY(copy_ids(&copy->inputs, node->n_inputs, node->inputs));
    LG_TRY(copy_ids(&copy->outputs, node->n_outputs, node->outputs));
    LG_TRY(copy_ids(&copy->weights, node->n_weights, node->weights));
done:
    return status; /* a half-made copy is disposed with its graph */
}

lego_status lg_graph_clone(lg_graph **out, const lg_graph *graph)
{
    lg_graph *copy = NULL;
    int32_t id;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(lg_graph_create(&copy, graph->name));
    for (int32_t i = 0; i < graph->n_values; i++) {
        const lg_value *value = &graph->values[i];
        LG_TRY(add_value(&id, copy, value->name, value->dtype, &value->shape, value->producer));
    }
    for (int32_t i = 0; i < graph->n_weights; i++) {
        LG_TRY(lg_graph_add_weight(&id, copy, graph->weights[i].name, &graph->weights[i].tensor));
        copy->weights[id].trained = graph->weights[i].trained;
    }
    LG_TRY(LG_RESERVE(&copy->nodes, &copy->nodes_capacity, graph->n_nodes));
    for (int32_t i = 0; i < graph->n_nodes; i++)
        LG_TRY(clone_node(&copy->nodes[copy->n_nodes++], &graph->nodes[i]));
    LG_TRY(LG_RESERVE(&copy->inputs, &copy->inputs_capacity, graph->n_inputs));
    for (int32_t i = 0; i < graph->n_inputs; i++)
        copy->inputs[copy->n_inputs++] = graph->inputs[i];
    for (int32_t i = 0; i < graph->n_outputs; i++)
        LG_TRY(lg_graph_add_output(copy, graph->outputs[i]));
    *out = copy;
    copy = NULL;
done:
    lg_graph_free(copy);
    return status;
}

int32_t lg_graph_find_node(const lg_graph *graph, const char *name)
{
    for (int32_t i = 0; i < graph->n_nodes; i++)
        if (strcmp(graph->nodes[i].name, name) == 0)
            return i;
    return LG_NONE;
}

int32_t lg_graph_find_value(const lg_graph *graph, const char *name)
{
    for (int32_t i = 0; i < graph->n_values; i++)
        if (strcmp(graph->values[i].name, name) == 0)
            return i;
    return LG_NONE;
}

int32_t lg_graph_find_weight(const lg_graph *graph, const char *name)
{
    for (int32_t i = 0; i < graph->n_weights; i++)
        if (strcmp(graph->weights[i].name, name) == 0)
            return i;
    return LG_NONE;
}

int64_t lg_graph_parameters(const lg_graph *graph)
{
    int64_t n = 0;

    for (int32_t i = 0; i < graph->n_weights; i++)
        if (graph->weights[i].trained)
            n = lg_add_sat(n, lg_tensor_count(&graph->weights[i].tensor));
    return n;
}

int64_t lg_graph_macs(const lg_graph *graph)
{
    int64_t n = 0;

    for (int32_t i = 0; i < graph->n_nodes; i++)
        n = lg_add_sat(n, lg_node_macs(graph, &graph->nodes[i]));
    return n;
}

int64_t lg_graph_flops(const lg_graph *graph)
{
    int64_t n = 0;

    for (int32_t i = 0; i < graph->n_nodes; i++)
        n = lg_add_sat(n, lg_node_flops(graph, &graph->nodes[i]));
    return n;
}

size_t lg_graph_weight_bytes(const lg_graph *graph)
{
    size_t bytes = 0;

    for (int32_t i = 0; i < graph->n_weights; i++)
        bytes += lg_tensor_bytes(&graph->weights[i].tensor);
    return bytes;
}

int64_t lg_node_macs(const lg_graph *graph, const lg_node *node)
{
    return node->op->macs ? node->op->macs(graph, node) : 0;
}

int64_t lg_node_flops(const lg_graph *graph, const lg_node *node)
{
    return node->op->flops ? node->op->flops(graph, node) : 0;
}

int64_t lg_node_parameters(const lg_graph *graph, const lg_node *node)
{
    int64_t n = 0;

    for (int s = 0; s < node->n_weights; s++)
        if (node->weights[s] != LG_NONE && !(node->op->slots[s].flags & LG_SLOT_BUFFER))
            n = lg_add_sat(n, lg_tensor_count(&graph->weights[node->weights[s]].tensor));
    return n;
}

int64_t lg_value_elements(const lg_value *value)
{
    int64_t n = 1;

    for (int i = 1; i < value->shape.n_dims; i++)
        n = lg_mul_sat(n, value->shape.dims[i]);
    return n;
}

lego_tensor *lg_node_weight(const lg_graph *graph, const lg_node *node, int slot)
{
    if (slot < 0 || slot >= node->n_weights || node->weights[slot] == LG_NONE)
        return NULL;
    return &graph->weights[node->weights[slot]].tensor;
}

lego_status lg_graph_uses(lg_uses *out, const lg_graph *graph)
{
    size_t n_uses = 0;
    int32_t *next = NULL;
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    for (int32_t i = 0; i < graph->n_nodes; i++)
        n_uses += (size_t)graph->nodes[i].n_inputs;
    if (n_uses > INT32_MAX)
        return lg_error(LEGO_EINVAL, "the graph is too large");
    LG_TRY(LG_CALLOC(&out->offsets, (size_t)graph->n_values + 1));
    LG_TRY(LG_CALLOC(&out->nodes, n_uses));
    LG_TRY(LG_CALLOC(&next, graph->n_values));
    for (int32_t i = 0; i < graph->n_nodes; i++)
        for (int j = 0; j < graph->nodes[i].n_inputs; j++)
            out->offsets[graph->nodes[i].inputs[j] + 1]++;
    for (int32_t v = 0; v < graph->n_values; v++) {
        out->offsets[v + 1] += out->offsets[v];
        next[v] = out->offsets[v];
    }
    for (int32_t i = 0; i < graph->n_nodes; i++)
        for (int j = 0; j < graph->nodes[i].n_inputs; j++)
            out->nodes[next[graph->nodes[i].inputs[j]]++] = i;
done:
    lg_free(next);
    if (status != LEGO_OK)
        lg_uses_dispose(out);
    return status;
}

void lg_uses_dispose(lg_uses *uses)
{
    lg_free(uses->offsets);
    lg_free(uses->nodes);
    memset(uses, 0, sizeof(*uses));
}
