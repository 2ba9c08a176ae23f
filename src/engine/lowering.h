/* Inside of lowering, shared by lower.c (the pass, cells, steps) and lower_nodes.c (what becomes of each kind of node). */
#ifndef LG_ENGINE_LOWERING_H
#define LG_ENGINE_LOWERING_H

#include "engine/lower.h"
#include "engine/patterns.h"

typedef struct lowering {
    lg_program *program;
    const lg_graph *graph;
    int32_t *cell_of; /* value -> cell */
    int32_t *readers; /* value -> how often it is read, graph outputs included */
    lg_role *roles;   /* of nodes */
    int exact;
} lowering;

/* A cell for a value; `base` LG_NONE: with memory of its own. */
lego_status lg_lower_cell(int32_t *out, lowering *low, int32_t value, int32_t base);
/* The step that makes output `index` of a node, or the only one. */
lego_status lg_lower_step_of(lg_step **out, lowering *low, const lg_node *node, int index, lg_step_kind kind);
lego_status lg_lower_step(lg_step **out, lowering *low, const lg_node *node, lg_step_kind kind);
/* The step that made `value`, if this reader is the only one and nothing but the value itself lies there (no view). */
lg_step *lg_lower_producer(const lowering *low, int32_t value);
/* The node's output is from now on what the absorbing step writes. */
void lg_lower_absorb(lowering *low, const lg_node *node, int32_t value);

/* lower_nodes.c: the node becomes a step, or part of one, or nothing. */
lego_status lg_lower_node(lowering *low, const lg_node *node);

#endif
