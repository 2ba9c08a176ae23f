/* How much an error of each value would cost the model: the Fisher information of its channels, without libtorch.
 *
 * For a value with m channels the matrix F (m,m) = mean over images and positions of g g^T, g being the gradient of the
 * loss with labels sampled from the model's own softmax. A small error e of the value at one position then costs about
 * e^T F e / 2 nats of divergence between the model's outputs with and without it (Amari 1998; Martens 2014). */
#ifndef LG_PRUNE_RECONSTRUCT_FISHER_H
#define LG_PRUNE_RECONSTRUCT_FISHER_H

#include "prune/reconstruct_graph.h"
#include "prune/tape.h"

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
