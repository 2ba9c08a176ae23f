/* The inside of a tape, for the rules: one function an op, in tape_layers.c, tape_elements.c and tape_moves.c. */
#ifndef LG_PRUNE_TAPE_RULES_H
#define LG_PRUNE_TAPE_RULES_H

#include "engine/engine.h"
#include "graph/ops.h"
#include "prune/tape.h"

struct lg_tape {
    lg_graph *graph;      /* with the needed activations as further outputs */
    int32_t n_outputs;    /* of the graph as given */
    int64_t batch;
    lg_plan *plan;
    const float *const *inputs; /* of the forward */
    float **activations;  /* [n_values]: NULL where nobody needs it, and for the graph's inputs */
    float **outputs;      /* [graph->n_outputs], the same storage in the plan's order */
    float **gradients;    /* [n_values] */
    uint8_t *arrived;     /* [n_values]: a gradient has been added in this pass */
    float *scratch;       /* as many elements as the most demanding rule asks for */
};

/* What an op's backward reads beside the gradient. */
typedef enum lg_tape_needs { LG_TAPE_NOTHING, LG_TAPE_INPUTS = 1, LG_TAPE_OUTPUT = 2 } lg_tape_needs;

typedef struct lg_tape_rule {
    lg_op_kind kind;
    int needs;
    /* Gradient of outputs[0], dy, -> added to those of the inputs. */
    void (*back)(lg_tape *tape, const lg_node *node, const float *dy);
    int64_t (*scratch)(const lg_tape *tape, const lg_node *node); /* NULL: none */
} lg_tape_rule;
extern const lg_tape_rule lg_tape_layers[], lg_tape_elements[], lg_tape_moves[]; /* end with a NULL function */

const lg_value *lg_tape_value(const lg_tape *tape, int32_t value);
int64_t lg_tape_count(const lg_tape *tape, int32_t value); /* elements, with the batch */
/* What was kept of the forward. */
const float *lg_tape_activation(const lg_tape *tape, int32_t value);
/* Where to add the gradient of a value: zeroed on the first touch of a pass. */
float *lg_tape_add_to(lg_tape *tape, int32_t value);

/* dy/dx of an activation or scalar function at x (tape_functions.c). */
double lg_tape_slope(const lg_node *node, double x);

/* A value's shape with the batch in it, and the distance of neighbours along each axis. */
typedef struct lg_strided {
    int n_dims;
    int64_t extents[LEGO_MAX_DIMS], strides[LEGO_MAX_DIMS];
} lg_strided;
lg_strided lg_tape_strided(const lg_tape *tape, int32_t value);
/* The value as seen by one of `out`'s extents: neighbours along axes that are repeated are the same element. */
lg_strided lg_tape_repeated(const lg_tape *tape, int32_t value, const lg_strided *out);
/* to[at * to_strides] += scale * from[at * from_strides] for every place `at` of the extents. */
void lg_tape_add(float *to, const int64_t *to_strides, const float *from, const int64_t *from_strides,
                 const int64_t *extents, int n_dims, float scale);

#endif
