/* Gradients of all values of a graph for a few images, without libtorch: forward on an engine, backward here. Weights get
 * none: nothing is trained here, and that keeps each op to a few lines. */
#ifndef LG_PRUNE_TAPE_H
#define LG_PRUNE_TAPE_H

#include "base/context.h"
#include "graph/graph.h"

typedef struct lg_tape lg_tape;

/* How many images at once, at most `most`, keep a tape of this graph within some hundred megabytes. */
int32_t lg_tape_batch(const lg_graph *graph, int32_t most);
/* LEGO_EUNSUPPORTED naming the first op that has no backward. */
lego_status lg_tape_create(lg_tape **out, lego_context *context, const lg_graph *graph, int32_t batch);
void lg_tape_free(lg_tape *tape);
/* Forward; activations of the graph's outputs are there afterwards. inputs[i]: `batch` images of graph input i, borrowed
 * until the backward. */
lego_status lg_tape_forward(lg_tape *tape, const float *const *inputs);
/* Output i of the graph, and where its gradient is to be put before lg_tape_backward(). */
const float *lg_tape_output(const lg_tape *tape, int32_t i);
float *lg_tape_output_gradient(lg_tape *tape, int32_t i);
/* Gradients of every value that an output depends on. */
void lg_tape_backward(lg_tape *tape);
/* Of a value, (batch, ...) like the value; NULL if no output depends on it. Valid until the next forward. */
const float *lg_tape_gradient(const lg_tape *tape, int32_t value);

#endif
