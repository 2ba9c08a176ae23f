/* Checking a graph: names, references, order, shapes. What passed here the engines, the torch module and the pruner
 * use without asking again.
 *
 * Newcomers get wrong: validation reorders the nodes (producers first; an order that is right already stays), so node
 * ids from before are stale. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "graph/graph.h"
#include "graph/name_map.h"
#include "graph/ops.h"
#include "graph/ops/common.h"

static lego_status check_names(const lg_graph *graph)
{
    lg_name_map values = { 0 }, nodes = { 0 }, weights = { 0 };
    lego_status status = LEGO_OK;

    LG_TRY(lg_name_map_init(&values, (size_t)graph->n_values));
    LG_TRY(lg_name_map_init(&nodes, (size_t)graph->n_nodes));
    LG_TRY(lg_name_map_init(&weights, (size_t)graph->n_weights));
    for (int32_t i = 0; i < graph->n_values; i++)
        if (lg_name_map_add(&values, graph->values[i].name, i) != LG_NONE)
            LG_FAIL(LEGO_EINVAL, "two values are named '%s'", graph->values[i].name);
    for (int32_t i = 0; i < graph->n_nodes; i++)
        if (lg_name_map_add(&nodes, graph->nodes[i].name, i) != LG_NONE)
            LG_FAIL(LEGO_EINVAL, "two nodes are named '%s'", graph->nodes[i].name);
    for (int32_t i = 0; i < graph->n_weights; i++)
        if (lg_name_map_add(&weights, graph->weights[i].name, i) != LG_NONE)
            LG_FAIL(LEGO_EINVAL, "two weights are named '%s'", graph->weights[i].name);
done:
    lg_name_map_dispose(&values);
    lg_name_map_dispose(&nodes);
    lg_name_map_dispose(&weights);
    return status;
}

static lego_status check_ids(const char *name, const char *what, int n, const int32_t *ids, int32_t limit,
                             int allow_none)
{
    for (int i = 0; i < n; i++)
        if ((ids[i] < 0 || ids[i] >= limit) && !(allow_none && ids[i] == LG_NONE))
            return lg_error(LEGO_EINVAL, "'%s': %s %d refers to nothing", name, what, i);
    return LEGO_OK;
}

/* References in range, and every value made exactly once: by the graph's inputs or by one node. */
static lego_status check_references(const lg_graph *graph)
{
    uint8_t *made = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&made, graph->n_values));
    if (graph->n_inputs < 1 || graph->n_outputs < 1)
        LG_FAIL(LEGO_EINVAL, "graph '%s' has %d inputs and %d outputs, both need one", graph->name,
                (int)graph->n_inputs, (int)graph->n_outputs);
    LG_TRY(check_ids(graph->name, "input", graph->n_inputs, graph->inputs, graph->n_values, 0));
    LG_TRY(check_ids(graph->name, "output", graph->n_outputs, graph->outputs, graph->n_values, 0));
    for (int32_t i = 0; i < graph->n_inputs; i++)
        if (made[graph->inputs[i]]++)
            LG_FAIL(LEGO_EINVAL, "value '%s' is an input twice", graph->values[graph->inputs[i]].name);
    for (int32_t i = 0; i < graph->n_nodes; i++) {
        const lg_node *node = &graph->nodes[i];

        if (node->n_weights != node->op->n_slots || node->n_inputs < node->op->min_inputs ||
            (node->op->max_inputs >= 0 && node->n_inputs > node->op->max_inputs) || node->n_outputs < 1)
            LG_FAIL(LEGO_EINVAL, "node '%s': %d inputs, %d outputs, %d weights are not what %s has", node->name,
                    (int)node->n_inputs, (int)node->n_outputs, (int)node->n_weights, node->op->name);
        LG_TRY(check_ids(node->name, "input", node->n_inputs, node->inputs, graph->n_values, 0));
        LG_TRY(check_ids(node->name, "output", node->n_outputs, node->outputs, graph->n_values, 0));
        LG_TRY(check_ids(node->name, "weight", node->n_weights, node->weights, graph->n_weights, 1));
        for (int j = 0; j < node->n_outputs; j++)
            if (made[node->outputs[j]]++)
                LG_FAIL(LEGO_EINVAL, "node '%s': value '%s' is made elsewhere too", node->name,
                        graph->values[node->outputs[j]].name);
    }
    for (int32_t i = 0; i < graph->n_values; i++)
        if (!made[i])
            LG_FAIL(LEGO_EINVAL, "value '%s' is neither an input nor any node's output", graph->values[i].name);
done:
    lg_free(made);
    return status;
}

static void set_producers(lg_graph *graph)
{
    for (int32_t i = 0; i < graph->n_inputs; i++)
        graph->values[graph->inputs[i]].producer = LG_NONE;
    for (int32_t i = 0; i < graph->n_nodes; i++)
        for (int j = 0; j < graph->nodes[i].n_outputs; j++)
            graph->values[graph->nodes[i].outputs[j]].producer = i;
}

/* Depth-first in the order of the nodes, producers before consumers, with a stack of our own: a chain from a file may
 * be as long as it likes. A node that is met while it is open closes a cycle. order[k] = node that comes k-th. */
static lego_status find_order(int32_t *order, const lg_graph *graph)
{
    enum { UNSEEN, OPEN, PLACED };
    uint8_t *state = NULL;
    int32_t *stack = NULL, *next_input = NULL;
    int32_t depth = 0, n_placed = 0;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&state, graph->n_nodes));
    LG_TRY(LG_CALLOC(&stack, graph->n_nodes));
    LG_TRY(LG_CALLOC(&next_input, graph->n_nodes));
    for (int32_t root = 0; root < graph->n_nodes; root++) {
        if (state[root] != UNSEEN)
            continue;
        state[root] = OPEN;
        stack[depth++] = root;
        while (depth > 0) {
            const int32_t id = stack[depth - 1];
            const lg_node *node = &graph->nodes[id];

            if (next_input[id] == node->n_inputs) {
                state[id] = PLACED;
                order[n_placed++] = id;
                depth--;
                continue;
            }
            const int32_t producer = graph->values[node->inputs[next_input[id]++]].producer;
            if (producer == LG_NONE || state[producer] == PLACED)
                continue;
            if (state[producer] == OPEN)
                LG_FAIL(LEGO_EINVAL, "node '%s' depends on itself, through '%s'", graph->nodes[producer].name,
                        node->name);
            state[producer] = OPEN;
            stack[depth++] = producer;
        }
    }
done:
    lg_free(state);
    lg_free(stack);
    lg_free(next_input);
    return status;
}

static lego_status sort_nodes(lg_graph *graph)
{
    int32_t *order = NULL;
    lg_node *sorted = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&order, graph->n_nodes));
    LG_TRY(LG_CALLOC(&sorted, graph->n_nodes));
    LG_TRY(find_order(order, graph));
    for (int32_t i = 0; i < graph->n_nodes; i++)
        sorted[i] = graph->nodes[order[i]];
    if (graph->n_nodes > 0)
        memcpy(graph->nodes, sorted, (size_t)graph->n_nodes * sizeof(*sorted));
    set_producers(graph);
done:
    lg_free(order);
    lg_free(sorted);
    return status;
}

lego_status lg_graph_infer(lg_graph *graph)
{
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < graph->n_inputs; i++) {
        const lg_value *value = &graph->values[graph->inputs[i]];
        LG_TRY(lg_op_check_shape(&value->shape, "input", value->name));
    }
    for (int32_t i = 0; i < graph->n_nodes; i++) {
        const lg_node *node = &graph->nodes[i];
        LG_TRY(node->op->validate(graph, node));
        LG_TRY(node->op->infer_shape(graph, node));
    }
done:
    return status;
}

lego_status lg_graph_validate(lg_graph *graph)
{
    lego_status status = LEGO_OK;

    LG_TRY(check_references(graph));
    LG_TRY(check_names(graph));
    set_producers(graph);
    LG_TRY(sort_nodes(graph));
    LG_TRY(lg_graph_infer(graph));
done:
    return status;
}

lego_status lg_graph_check_finite(const lg_graph *graph)
{
    for (int32_t i = 0; i < graph->n_weights; i++) {
        const lego_tensor *tensor = &graph->weights[i].tensor;
        const float *data = lg_tensor_data(tensor);
        const int64_t n = lg_tensor_count(tensor);

        if (tensor->dtype != LEGO_DTYPE_F32)
            continue;
        for (int64_t k = 0; k < n; k++)
            if (!isfinite(data[k]))
                return lg_error(LEGO_EINVAL, "weight '%s': element %lld is %s", graph->weights[i].name, (long long)k,
                                isnan(data[k]) ? "NaN" : "infinite");
    }
    return LEGO_OK;
}
