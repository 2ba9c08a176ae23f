/* patterns.c: what exporters spell out and kernels know as one thing.
 *
 *   x * sigmoid(x)                       silu
 *   x * hard_sigmoid(x; 1/6, 1/2)        hard_swish
 *   reshape (g, C/g), swap, reshape (C)  a channel shuffle (ShuffleNet), which any layout of an image can do
 *
 * lower.c asks before it lowers, but not for exact runs.
 *
 * What newcomers get wrong: a value inside a pattern that anybody else reads must exist, so there is no pattern then. */
#include "engine/patterns.h"

#include <math.h>

static const lg_node *producer(const lg_graph *graph, int32_t value, lg_op_kind kind)
{
    int32_t node = graph->values[value].producer;

    return node != LG_NONE && graph->nodes[node].op->kind == kind ? &graph->nodes[node] : NULL;
}

/* --- gates --- */

static lg_role_kind gate_of(const lg_graph *graph, int32_t value, int32_t input)
{
    const lg_node *node = producer(graph, value, LG_OP_SIGMOID);

    if (node && node->inputs[0] == input)
        return LG_ROLE_SILU;
    node = producer(graph, value, LG_OP_HARD_SIGMOID);
    if (node && node->inputs[0] == input && fabs(node->attrs->hard_sigmoid.alpha - 1.0 / 6.0) < 1e-6 &&
        node->attrs->hard_sigmoid.beta == 0.5)
        return LG_ROLE_HARD_SWISH;
    return LG_ROLE_ITSELF;
}

static void find_gate(lg_role *roles, int32_t *readers, const lg_graph *graph, int32_t index)
{
    const lg_node *node = &graph->nodes[index];

    for (int32_t k = 0; k < 2; k++) {
        const int32_t gate = node->inputs[k], x = node->inputs[!k];
        const lg_role_kind kind = gate_of(graph, gate, x);

        if (kind == LG_ROLE_ITSELF || readers[gate] != 1)
            continue;
        roles[graph->values[gate].producer].kind = kind;
        roles[index] = (lg_role){ LG_ROLE_NAME, k, 0 };
        readers[x]--;
        return;
    }
}

/* --- channel shuffles --- */

static void find_shuffle(lg_role *roles, const int32_t *readers, const lg_graph *graph, int32_t index)
{
    const lg_node *last = &graph->nodes[index];
    const lg_node *swap = producer(graph, last->inputs[0], LG_OP_PERMUTE);
    const lg_node *first = swap ? producer(graph, swap->inputs[0], LG_OP_RESHAPE) : NULL;
    const lg_shape *in, *split, *out;

    if (!first || readers[last->inputs[0]] != 1 || readers[swap->inputs[0]] != 1)
        return;
    in = &graph->values[first->inputs[0]].shape;
    split = &graph->values[swap->inputs[0]].shape;
    out = &graph->values[last->outputs[0]].shape;
    if (in->n_dims != 4 || split->n_dims != 5 || !lg_shape_equal(in, out) || split->dims[3] != in->dims[2] ||
        split->dims[4] != in->dims[3])
        return;
    for (int i = 0; i < 4; i++)
        if (swap->attrs->permute.order.dims[i] != (i < 2 ? 2 - i : i + 1))
            return;
    roles[first - graph->nodes] = (lg_role){ LG_ROLE_NAME, 0, 0 };
    roles[swap - graph->nodes] = (lg_role){ LG_ROLE_NAME, 0, 0 };
    roles[index] = (lg_role){ LG_ROLE_SHUFFLE, 0, split->dims[1] };
}

void lg_patterns_find(lg_role *roles, int32_t *readers, const lg_graph *graph)
{
    for (int32_t i = 0; i < graph->n_nodes; i++) {
        if (graph->nodes[i].op->kind == LG_OP_MUL)
            find_gate(roles, readers, graph, i);
        else if (graph->nodes[i].op->kind == LG_OP_RESHAPE)
            find_shuffle(roles, readers, graph, i);
    }
}
