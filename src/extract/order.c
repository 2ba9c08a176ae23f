/* A topological order that keeps branches together: reverse postorder of a depth-first search.
 *
 * A node is finished after all that depends on it, so filling from the back gives a topological order, and what hangs on
 * one branch stands together in it. Constants, which depend on nothing, stand right before what reads them first.
 * Without recursion: graphs are as deep as their files say. */
#include "base/alloc.h"
#include "extract/extract.h"

/* The skip-th use of a node's outputs; LG_NONE past the last. */
static int32_t use_of(const lg_graph *graph, const lg_uses *uses, int32_t n, int32_t skip)
{
    const lg_node *node = &graph->nodes[n];

    for (int32_t o = 0; o < node->n_outputs; o++) {
        int32_t first = uses->offsets[node->outputs[o]], n_uses = uses->offsets[node->outputs[o] + 1] - first;

        if (skip < n_uses)
            return uses->nodes[first + skip];
        skip -= n_uses;
    }
    return LG_NONE;
}

/* All nodes with inputs, at the end of `order`; `*begin` is where the first one stands. */
static lego_status depth_first(int32_t *order, int32_t *begin, const lg_graph *graph, const lg_uses *uses)
{
    int32_t *stack = NULL, *next = NULL; /* next: which use of the node comes next */
    uint8_t *seen = NULL;
    int32_t n_left = graph->n_nodes;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&stack, graph->n_nodes));
    LG_TRY(LG_CALLOC(&next, graph->n_nodes));
    LG_TRY(LG_CALLOC(&seen, graph->n_nodes));
    for (int32_t start = 0; start < graph->n_nodes; start++) {
        int32_t depth = 0;

        if (seen[start] || graph->nodes[start].n_inputs == 0)
            continue;
        seen[start] = 1;
        stack[depth++] = start;
        while (depth > 0) {
            int32_t n = stack[depth - 1], user = use_of(graph, uses, n, next[n]++);

            if (user == LG_NONE) {
                order[--n_left] = n;
                depth--;
            } else if (!seen[user]) {
                seen[user] = 1;
                stack[depth++] = user;
            }
        }
    }
    *begin = n_left;
done:
    lg_free(stack);
    lg_free(next);
    lg_free(seen);
    return status;
}

lego_status lg_extract_order(int32_t *order, const lg_graph *graph, const lg_uses *uses)
{
    uint8_t *placed = NULL;
    int32_t begin, n = 0; /* order[n .. begin) is free: as many places as constants are left */
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&placed, graph->n_nodes));
    LG_TRY(depth_first(order, &begin, graph, uses));
    for (int32_t i = 0; i < graph->n_nodes; i++) /* constants that nothing reads */
        if (graph->nodes[i].n_inputs == 0 && use_of(graph, uses, i, 0) == LG_NONE)
            order[n++] = i;
    for (int32_t at = begin; at < graph->n_nodes; at++) {
        int32_t reader = order[at];

        for (int32_t k = 0; k < graph->nodes[reader].n_inputs; k++) {
            int32_t producer = graph->values[graph->nodes[reader].inputs[k]].producer;

            if (producer != LG_NONE && graph->nodes[producer].n_inputs == 0 && !placed[producer]++)
                order[n++] = producer;
        }
        order[n++] = reader;
    }
done:
    lg_free(placed);
    return status;
}
