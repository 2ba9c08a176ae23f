/* How much an error of each value would cost the model: the Fisher information of its channels, without libtorch.
 *
 * For a value with m channels the matrix F (m,m) = mean over images and positions of g g^T, g being the gradient of the
 * loss with labels sampled from the model's own softmax. A small error e of the value at one position then costs about
 * e^T F e / 2 nats of divergence between the model's outputs with and without it (Amari 1998; Martens 2014). */
#ifndef LG_PRUNE_RECONSTRUCT_FISHER_H
#define LG_PRUNE_RECONSTRUCT_FISHER_H

#include "prune/reconstruct_graph.h"

/* --- gradients (reconstruct_gradient.c) --- */

/* Gradients of all values of a graph for a few images: forward on an engine, backward here. */
typedef struct lg_tape lg_tape;
/* LEGO_EUNSUPPORTED naming the first op that has no backward. */
lego_status lg_tape_create(lg_tape **out, lego_context *context, const lg_graph *graph, int32_t batch);
void lg_tape_free(lg_tape *tape);
/* Forward; activations of the graph's outputs are there afterwards. inputs[i]: `batch` images of graph input i. */
lego_status lg_tape_forward(lg_tape *tape, const float *const *inputs);
/* Output i of the graph, and where its gradient is to be put before lg_tape_backward(). */
const float *lg_tape_output(const lg_tape *tape, int32_t i);
float *lg_tape_output_gradient(lg_tape *tape, int32_t i);
/* Gradients of every value that depends on an input or a weight. */
void lg_tape_backward(lg_tape *tape);
/* Of a value, (batch, ...) like the value; NULL if nothing depends on it. Valid until the next backward. */
const float *lg_tape_gradient(const lg_tape *tape, int32_t value);

/* --- Fisher matrices (reconstruct_fisher.c) --- */

typedef struct lg_fisher {
    int32_t n;
    char **names;     /* of the values */
    int64_t *sizes;   /* channels m */
    double **matrices; /* (m,m) */
} lg_fisher;

/* For what convolutions and linear layers give and for the sums behind them. `graph`: the whole folded model;
 * images: n_images of its one input. */
lego_status lg_fisher_create(lg_fisher *out, lego_context *context, const lg_graph *graph, const float *images,
                             int64_t n_images, uint64_t seed);
void lg_fisher_dispose(lg_fisher *fisher);
/* The matrix of a value by name; NULL if there is none of `m` channels. */
const double *lg_fisher_find(const lg_fisher *fisher, const char *name, int64_t m);

#endif
