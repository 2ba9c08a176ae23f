/* A frame, cut at its blocks: runs of frame nodes and blocks by turns, in an order that shares long prefixes.
 *
 * Frame nodes run as soon as their inputs are there, so that two selections that differ only in late blocks share as much
 * as possible, and a shortcut in the frame is known before the block beside it. */
#include <string.h>

#include "base/alloc.h"
#include "graph/ops.h"
#include "store/store.h"

void lg_segments_dispose(lg_segments *segments)
{
    for (int32_t s = 0; s < segments->n_segments; s++) {
        lg_graph_free(segments->segments[s].graph);
        lg_free(segments->segments[s].inputs);
        lg_free(segments->segments[s].outputs);
    }
    for (int32_t i = 0; i < segments->n_slots; i++)
        lg_free(segments->values[i].name);
    lg_free(segments->segments);
    lg_free(segments->values);
    lg_free(segments->last_use);
    lg_free(segments->inputs);
    lg_free(segments->outputs);
    memset(segments, 0, sizeof(*segments));
}

/* The cutting at work. */
typedef struct cutter {
    lg_segments *out;
    const lg_graph *frame;
    uint8_t *done;      /* nodes that stand in a segment */
    uint8_t *in_run;    /* nodes of the run being gathered */
    int32_t *slot_of;   /* by value; LG_NONE: crosses no edge, or not yet */
} cutter;

static int is_ready(const cutter *cut, const lg_node *node)
{
    for (int32_t i = 0; i < node->n_inputs; i++) {
        int32_t producer = cut->frame->values[node->inputs[i]].producer;

        if (producer != LG_NONE && !cut->done[producer])
            return 0;
    }
    return 1;
}

static lego_status add_slot(cutter *cut, int32_t value, int32_t producer)
{
    lg_segments *out = cut->out;
    lg_value *slot = &out->values[out->n_slots];
    lego_status status = LEGO_OK;

    *slot = cut->frame->values[value];
    slot->name = NULL;
    slot->producer = producer;
    LG_TRY(LG_STRDUP(&slot->name, cut->frame->values[value].name));
    out->last_use[out->n_slots] = producer;
    cut->slot_of[value] = out->n_slots++;
done:
    return status;
}

static lego_status fill_slots(int32_t **out, int32_t *n_out, const cutter *cut, const int32_t *values, int32_t n)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(out, n));
    *n_out = n;
    for (int32_t i = 0; i < n; i++)
        (*out)[i] = cut->slot_of[values[i]];
done:
    return status;
}

/* Append a segment that reads and writes these values of the frame. */
static lego_status add_segment(cutter *cut, int32_t block, lg_graph **graph, const int32_t *inputs, int32_t n_inputs,
                               const int32_t *outputs, int32_t n_outputs)
{
    int32_t index = cut->out->n_segments;
    lg_segment *segment = &cut->out->segments[index];
    lego_status status = LEGO_OK;

    cut->out->n_segments++;
    segment->block = block;
    LG_TRY(fill_slots(&segment->inputs, &segment->n_inputs, cut, inputs, n_inputs));
    for (int32_t i = 0; i < n_inputs; i++)
        cut->out->last_use[segment->inputs[i]] = index;
    for (int32_t i = 0; i < n_outputs; i++)
        LG_TRY(add_slot(cut, outputs[i], index));
    LG_TRY(fill_slots(&segment->outputs, &segment->n_outputs, cut, outputs, n_outputs));
    segment->graph = *graph;
    *graph = NULL;
done:
    return status;
}

/* All frame nodes that can run now, as one segment. */
static lego_status add_run(cutter *cut)
{
    lg_graph *graph = NULL;
    int32_t *inputs = NULL, *outputs = NULL;
    int32_t n = 0;
    lego_status status = LEGO_OK;

    memset(cut->in_run, 0, (size_t)cut->frame->n_nodes);
    for (int32_t i = 0; i < cut->frame->n_nodes; i++) { /* topological order: one pass finds them all */
        const lg_node *node = &cut->frame->nodes[i];

        if (cut->done[i] || node->op->kind == LG_OP_BLOCK || !is_ready(cut, node))
            continue;
        cut->done[i] = cut->in_run[i] = 1;
        n++;
    }
    if (n == 0)
        return LEGO_OK;
    LG_TRY(lg_graph_subgraph(&graph, cut->frame, cut->in_run, &inputs, &outputs));
    LG_TRY(add_segment(cut, LG_NONE, &graph, inputs, graph->n_inputs, outputs, graph->n_outputs));
done:
    lg_graph_free(graph);
    lg_free(inputs);
    lg_free(outputs);
    return status;
}

static lego_status add_block(cutter *cut, int32_t index)
{
    lg_graph *none = NULL;
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < cut->frame->n_nodes; i++) {
        const lg_node *node = &cut->frame->nodes[i];

        if (node->op->kind != LG_OP_BLOCK || node->attrs->block.index != index)
            continue;
        if (!is_ready(cut, node))
            LG_FAIL(LEGO_EFORMAT, "frame: block '%s' comes before what it reads", node->name);
        cut->done[i] = 1;
        LG_TRY(add_segment(cut, index, &none, node->inputs, node->n_inputs, node->outputs, node->n_outputs));
        return LEGO_OK;
    }
    LG_FAIL(LEGO_EFORMAT, "frame: there is no block %d", index);
done:
    return status;
}

lego_status lg_segments_create(lg_segments *out, const lg_graph *frame)
{
    cutter cut = { .out = out, .frame = frame };
    int32_t n_blocks = 0;
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    for (int32_t i = 0; i < frame->n_nodes; i++)
        n_blocks += frame->nodes[i].op->kind == LG_OP_BLOCK;
    LG_TRY(LG_CALLOC(&cut.done, frame->n_nodes));
    LG_TRY(LG_CALLOC(&cut.in_run, frame->n_nodes));
    LG_TRY(LG_CALLOC(&cut.slot_of, frame->n_values));
    LG_TRY(LG_CALLOC(&out->segments, 2 * (size_t)n_blocks + 1));
    LG_TRY(LG_CALLOC(&out->values, frame->n_values));
    LG_TRY(LG_CALLOC(&out->last_use, frame->n_values));
    for (int32_t v = 0; v < frame->n_values; v++)
        cut.slot_of[v] = LG_NONE;
    for (int32_t i = 0; i < frame->n_inputs; i++)
        LG_TRY(add_slot(&cut, frame->inputs[i], LG_NONE));
    LG_TRY(add_run(&cut));
    for (int32_t b = 0; b < n_blocks; b++) {
        LG_TRY(add_block(&cut, b));
        LG_TRY(add_run(&cut));
    }
    LG_TRY(fill_slots(&out->inputs, &out->n_inputs, &cut, frame->inputs, frame->n_inputs));
    LG_TRY(fill_slots(&out->outputs, &out->n_outputs, &cut, frame->outputs, frame->n_outputs));
    for (int32_t i = 0; i < out->n_outputs; i++)
        out->last_use[out->outputs[i]] = out->n_segments;
done:
    if (status != LEGO_OK)
        lg_segments_dispose(out);
    lg_free(cut.done);
    lg_free(cut.in_run);
    lg_free(cut.slot_of);
    return status;
}
