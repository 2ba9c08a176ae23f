/* Cutting graphs into pieces and putting pieces together: a block out of a model, a frame around blocks, a variant
 * into a composition.
 *
 * Flow: extract cuts with lg_graph_subgraph() and lg_graph_frame(), the store composes with lg_graph_inline().
 * Names survive every cut, so that a composition of originals has the model's own node, value and weight names. */
#include <string.h>

#include "base/alloc.h"
#include "graph/graph.h"
#include "graph/name_map.h"
#include "graph/ops.h"

/* The copy of some nodes of `from` in `to`; maps hold id + 1, 0 where nothing was copied yet. */
typedef struct transfer {
    const lg_graph *from;
    lg_graph *to;
    int32_t *values, *weights;
    lg_name_map names; /* weights of `to` before the transfer; capacity 0: nothing to share with */
} transfer;

static lego_status transfer_begin(transfer *move, const lg_graph *from, lg_graph *to)
{
    lego_status status = LEGO_OK;

    memset(move, 0, sizeof(*move));
    move->from = from;
    move->to = to;
    LG_TRY(LG_CALLOC(&move->values, from->n_values));
    LG_TRY(LG_CALLOC(&move->weights, from->n_weights));
    LG_TRY(lg_name_map_init(&move->names, (size_t)to->n_weights));
    for (int32_t i = 0; i < to->n_weights; i++)
        lg_name_map_add(&move->names, to->weights[i].name, i);
done:
    return status;
}

static void transfer_end(transfer *move)
{
    lg_free(move->values);
    lg_free(move->weights);
    lg_name_map_dispose(&move->names);
}

static int same_storage(const lego_tensor *a, const lego_tensor *b)
{
    return a->buffer == b->buffer && a->offset == b->offset && a->dtype == b->dtype &&
           lg_shape_equal(&a->shape, &b->shape);
}

static lego_status transfer_weight(int32_t *out, transfer *move, int32_t weight)
{
    const lg_weight *source = &move->from->weights[weight];
    int32_t id;
    lego_status status = LEGO_OK;

    if (weight == LG_NONE) {
        *out = LG_NONE;
        return LEGO_OK;
    }
    if (move->weights[weight] == 0) {
        id = lg_name_map_find(&move->names, source->name);
        if (id != LG_NONE && !same_storage(&move->to->weights[id].tensor, &source->tensor))
            return lg_error(LEGO_EINVAL, "two different weights are named '%s'", source->name);
        if (id == LG_NONE)
            LG_TRY(lg_graph_add_weight(&id, move->to, source->name, &source->tensor));
        move->weights[weight] = id + 1;
    }
    *out = move->weights[weight] - 1;
done:
    return status;
}

/* Copy one node whose inputs are mapped already. `block` < LG_NONE keeps the node's own mark. */
static lego_status transfer_node(transfer *move, const lg_node *node, int32_t block)
{
    int32_t *inputs = NULL, *weights = NULL, first;
    lg_value *outputs = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&inputs, node->n_inputs));
    LG_TRY(LG_CALLOC(&weights, node->n_weights));
    LG_TRY(LG_CALLOC(&outputs, node->n_outputs));
    for (int i = 0; i < node->n_inputs; i++) {
        if (move->values[node->inputs[i]] == 0)
            LG_FAIL(LEGO_EINVAL, "node '%s' reads '%s', which comes later", node->name,
                    move->from->values[node->inputs[i]].name);
        inputs[i] = move->values[node->inputs[i]] - 1;
    }
    for (int i = 0; i < node->n_weights; i++)
        LG_TRY(transfer_weight(&weights[i], move, node->weights[i]));
    for (int i = 0; i < node->n_outputs; i++)
        outputs[i] = move->from->values[node->outputs[i]];
    LG_TRY(lg_graph_add_node_named(&first, move->to, node->op, node->name, node->attrs, node->n_inputs, inputs,
                                   node->n_weights, weights, node->n_outputs, outputs));
    move->to->nodes[move->to->n_nodes - 1].block = block < LG_NONE ? node->block : block;
    move->to->nodes[move->to->n_nodes - 1].is_whole = node->is_whole;
    for (int i = 0; i < node->n_outputs; i++)
        move->values[node->outputs[i]] = first + i + 1;
done:
    lg_free(inputs);
    lg_free(weights);
    lg_free(outputs);
    return status;
}

static lego_status transfer_input(transfer *move, int32_t value)
{
    const lg_value *source = &move->from->values[value];
    const lg_shape shape = lg_shape_make(source->shape.n_dims - 1, source->shape.dims + 1);
    int32_t id;
    lego_status status = LEGO_OK;

    LG_TRY(lg_graph_add_input(&id, move->to, source->name, source->dtype, &shape));
    move->values[value] = id + 1;
done:
    return status;
}

/* The values that nodes of the set read from outside, in order of first use, and those of the set that are read
 * outside or are outputs of the graph, in order of production. */
static lego_status find_interface(int32_t **inputs, int32_t *n_inputs, int32_t **outputs, int32_t *n_outputs,
                                  const lg_graph *graph, const uint8_t *in_set)
{
    uint8_t *is_read = NULL, *is_input = NULL;
    lego_status status = LEGO_OK;

    *inputs = *outputs = NULL;
    *n_inputs = *n_outputs = 0;
    LG_TRY(LG_CALLOC(&is_read, graph->n_values));
    LG_TRY(LG_CALLOC(&is_input, graph->n_values));
    LG_TRY(LG_CALLOC(inputs, graph->n_values));
    LG_TRY(LG_CALLOC(outputs, graph->n_values));
    for (int32_t i = 0; i < graph->n_outputs; i++)
        is_read[graph->outputs[i]] = 1;
    for (int32_t i = 0; i < graph->n_nodes; i++) {
        const lg_node *node = &graph->nodes[i];

        for (int j = 0; j < node->n_inputs; j++) {
            const int32_t value = node->inputs[j], producer = graph->values[value].producer;

            if (!in_set[i])
                is_read[value] = 1;
            else if ((producer == LG_NONE || !in_set[producer]) && !is_input[value]) {
                is_input[value] = 1;
                (*inputs)[(*n_inputs)++] = value;
            }
        }
    }
    for (int32_t i = 0; i < graph->n_nodes; i++)
        for (int j = 0; in_set[i] && j < graph->nodes[i].n_outputs; j++)
            if (is_read[graph->nodes[i].outputs[j]])
                (*outputs)[(*n_outputs)++] = graph->nodes[i].outputs[j];
done:
    lg_free(is_read);
    lg_free(is_input);
    if (status != LEGO_OK) {
        lg_free(*inputs);
        lg_free(*outputs);
        *inputs = *outputs = NULL;
    }
    return status;
}

lego_status lg_graph_subgraph(lg_graph **out, const lg_graph *graph, const uint8_t *in_set, int32_t **input_values,
                              int32_t **output_values)
{
    lg_graph *part = NULL;
    transfer move = { 0 };
    int32_t *inputs = NULL, *outputs = NULL, n_inputs, n_outputs;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(find_interface(&inputs, &n_inputs, &outputs, &n_outputs, graph, in_set));
    LG_TRY(lg_graph_create(&part, graph->name));
    LG_TRY(transfer_begin(&move, graph, part));
    for (int32_t i = 0; i < n_inputs; i++)
        LG_TRY(transfer_input(&move, inputs[i]));
    for (int32_t i = 0; i < graph->n_nodes; i++)
        if (in_set[i])
            LG_TRY(transfer_node(&move, &graph->nodes[i], LG_NONE - 1));
    for (int32_t i = 0; i < n_outputs; i++)
        LG_TRY(lg_graph_add_output(part, move.values[outputs[i]] - 1));
    *out = part;
    part = NULL;
    if (input_values) {
        *input_values = inputs;
        inputs = NULL;
    }
    if (output_values) {
        *output_values = outputs;
        outputs = NULL;
    }
done:
    transfer_end(&move);
    lg_graph_free(part);
    lg_free(inputs);
    lg_free(outputs);
    return status;
}

lego_status lg_graph_inline(lg_graph *graph, const lg_graph *part, const int32_t *inputs, int32_t *outputs,
                            int32_t block)
{
    transfer move = { 0 };
    lego_status status = LEGO_OK;

    LG_TRY(transfer_begin(&move, part, graph));
    for (int32_t i = 0; i < part->n_inputs; i++) {
        const lg_value *wanted = &part->values[part->inputs[i]];

        if (inputs[i] < 0 || inputs[i] >= graph->n_values)
            LG_FAIL(LEGO_EINVAL, "input '%s' of '%s' is no value of the graph", wanted->name, part->name);
        if (!lg_shape_equal(&graph->values[inputs[i]].shape, &wanted->shape) ||
            graph->values[inputs[i]].dtype != wanted->dtype) {
            char have[128], want[128];
            LG_FAIL(LEGO_EINVAL, "input '%s' of '%s' is %s, '%s' is %s", wanted->name, part->name,
                    lg_shape_format(want, &wanted->shape), graph->values[inputs[i]].name,
                    lg_shape_format(have, &graph->values[inputs[i]].shape));
        }
        move.values[part->inputs[i]] = inputs[i] + 1;
    }
    for (int32_t i = 0; i < part->n_nodes; i++)
        LG_TRY(transfer_node(&move, &part->nodes[i], block));
    for (int32_t i = 0; i < part->n_outputs; i++)
        outputs[i] = move.values[part->outputs[i]] - 1;
done:
    transfer_end(&move);
    return status;
}

/* One block of a frame: where its nodes are replaced by a single one. */
typedef struct hole {
    uint8_t *in_set;
    int32_t *inputs, *outputs, n_inputs, n_outputs;
    int placed;
} hole;

/* Nodes are taken in topological order, but a block can stand only where all its inputs are there, and blocks are
 * convex: so what waits is simply tried again. */
static lego_status place_block(transfer *move, hole *block, const char *name, int32_t index, int *progress)
{
    int32_t *inputs = NULL, first;
    lg_value *outputs = NULL;
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < block->n_inputs; i++)
        if (move->values[block->inputs[i]] == 0)
            return LEGO_OK;
    LG_TRY(LG_CALLOC(&inputs, block->n_inputs));
    LG_TRY(LG_CALLOC(&outputs, block->n_outputs));
    for (int32_t i = 0; i < block->n_inputs; i++)
        inputs[i] = move->values[block->inputs[i]] - 1;
    for (int32_t i = 0; i < block->n_outputs; i++)
        outputs[i] = move->from->values[block->outputs[i]];
    LG_TRY(lg_graph_add_block(&first, move->to, name, index, block->n_inputs, inputs, block->n_outputs, outputs));
    for (int32_t i = 0; i < block->n_outputs; i++)
        move->values[block->outputs[i]] = first + i + 1;
    block->placed = *progress = 1;
done:
    lg_free(inputs);
    lg_free(outputs);
    return status;
}

static int is_ready(const transfer *move, const lg_node *node)
{
    for (int i = 0; i < node->n_inputs; i++)
        if (move->values[node->inputs[i]] == 0)
            return 0;
    return 1;
}

static lego_status fill_frame(transfer *move, const int32_t *block_of, int32_t n_blocks, hole *holes,
                              const char *const *names)
{
    const lg_graph *graph = move->from;
    uint8_t *placed = NULL;
    int32_t n_left = graph->n_nodes;
    int progress = 1;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&placed, graph->n_nodes));
    while (n_left > 0) {
        if (!progress)
            LG_FAIL(LEGO_EINVAL, "the blocks of '%s' depend on each other: one of them is not convex", graph->name);
        progress = 0;
        for (int32_t i = 0; i < graph->n_nodes; i++) {
            if (placed[i])
                continue;
            if (block_of[i] >= 0 && block_of[i] < n_blocks) {
                hole *block = &holes[block_of[i]];
                if (!block->placed)
                    LG_TRY(place_block(move, block, names[block_of[i]], block_of[i], &progress));
                placed[i] = (uint8_t)block->placed;
            } else if (is_ready(move, &graph->nodes[i])) {
                LG_TRY(transfer_node(move, &graph->nodes[i], LG_NONE - 1));
                placed[i] = 1;
                progress = 1;
            }
            n_left -= placed[i];
        }
    }
done:
    lg_free(placed);
    return status;
}

lego_status lg_graph_frame(lg_graph **out, const lg_graph *graph, const int32_t *block_of, int32_t n_blocks,
                           const char *const *names)
{
    lg_graph *frame = NULL;
    transfer move = { 0 };
    hole *holes = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(lg_graph_create(&frame, graph->name));
    LG_TRY(transfer_begin(&move, graph, frame));
    LG_TRY(LG_CALLOC(&holes, n_blocks));
    for (int32_t b = 0; b < n_blocks; b++) {
        LG_TRY(LG_CALLOC(&holes[b].in_set, graph->n_nodes));
        for (int32_t i = 0; i < graph->n_nodes; i++)
            holes[b].in_set[i] = block_of[i] == b;
        LG_TRY(find_interface(&holes[b].inputs, &holes[b].n_inputs, &holes[b].outputs, &holes[b].n_outputs, graph,
                              holes[b].in_set));
    }
    for (int32_t i = 0; i < graph->n_inputs; i++)
        LG_TRY(transfer_input(&move, graph->inputs[i]));
    LG_TRY(fill_frame(&move, block_of, n_blocks, holes, names));
    for (int32_t i = 0; i < graph->n_outputs; i++)
        LG_TRY(lg_graph_add_output(frame, move.values[graph->outputs[i]] - 1));
    LG_TRY(lg_graph_validate(frame));
    *out = frame;
    frame = NULL;
done:
    for (int32_t b = 0; holes && b < n_blocks; b++) {
        lg_free(holes[b].in_set);
        lg_free(holes[b].inputs);
        lg_free(holes[b].outputs);
    }
    lg_free(holes);
    transfer_end(&move);
    lg_graph_free(frame);
    return status;
}
