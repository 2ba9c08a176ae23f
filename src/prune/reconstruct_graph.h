/* The graph side of reconstruction: a block as a list of linear layers, and runs of parts of it.
 *
 *   lg_fold_norms      batch norm into the layers before it, so that a layer is weights and a bias
 *   lg_layers_create   every convolution and linear layer: window, what joins its output, which activation follows
 *   lg_graph_part      the nodes that some values need, with these values as outputs
 *   lg_runner          a graph over many images, in chunks
 */
#ifndef LG_PRUNE_RECONSTRUCT_GRAPH_H
#define LG_PRUNE_RECONSTRUCT_GRAPH_H

#include "graph/channels.h"
#include "prune/reconstruct_rows.h"

/* --- folding (reconstruct_fold.c) --- */

/* A copy of `graph` with every batch norm that follows a convolution or linear layer folded into it, and a bias (zero
 * if need be) at every such layer. Weights that several nodes share are left as they are, and so is what follows them.
 * Output values keep their names. LEGO_EUNSUPPORTED for weights that are not float32. */
lego_status lg_fold_norms(lg_graph **out, const lg_graph *graph);

/* A batch norm at inference: y = scale * x + shift, per channel. */
void lg_norm_scales(double *scale, double *shift, const lg_graph *graph, const lg_node *norm);

/* --- layers (reconstruct_layers.c) --- */

/* A convolution or linear layer whose weights are its own. */
typedef struct lg_layer {
    int32_t node;
    int32_t input, output;  /* values */
    int32_t joined;         /* `output` after the sums that only it goes through; the same value if there is none */
    int32_t activates;      /* whether the one reader of `joined` is an activation with flat parts */
    lg_flat flat;           /* of that activation */
    lg_window window;
    int64_t n_outputs;
    int32_t groups;         /* of the convolution, 1 = plain */
    int32_t fixed;          /* weights shared with another node: never re-fitted */
    int32_t *in_unit;       /* window.channels: unit of each input channel */
    int32_t *out_unit;      /* n_outputs */
} lg_layer;

typedef struct lg_layers {
    int32_t n;
    lg_layer *layers;       /* in topological order */
} lg_layers;

/* `graph` is folded, `channels` its analysis. */
lego_status lg_layers_create(lg_layers *out, const lg_graph *graph, const lg_channels *channels);
void lg_layers_dispose(lg_layers *layers);
/* Output channels of a convolution, transposed convolution or linear layer. */
int64_t lg_layer_width(const lg_graph *graph, const lg_node *node);
/* Whether every input channel goes with its own outputs (depthwise): the layer carries units, it does not mix them. */
int lg_layer_carries(const lg_layer *layer);

/* Input channels of convolution group `group` whose units are alive, and its outputs. `channels` has room for
 * window.channels / groups; returns 0 if nothing is left of the group on either side. */
int lg_layer_slice(lg_slice *slice, int32_t *channels, const lg_layer *layer, int32_t group, const uint8_t *alive);
/* Weights of a slice as (n_channels * area, n_outputs), from and to the node's weight. Writing gives the node new
 * storage on the first time, zeroes the columns of the group's other channels and sets the bias. */
void lg_layer_read_weights(double *w, const lg_graph *graph, const lg_layer *layer, const lg_slice *slice);
lego_status lg_layer_own_weights(lg_graph *graph, const lg_layer *layer);
void lg_layer_write_weights(lg_graph *graph, const lg_layer *layer, int32_t group, const lg_slice *slice,
                            const double *w, const double *bias);

/* --- runs (reconstruct_run.c) --- */

/* The nodes of a validated `graph` that `values` (all different, produced by nodes) depend on; outputs in the order of
 * `values`, inputs all those of `graph` that are still read, `inputs_used` (n_inputs of graph) their indices. */
lego_status lg_graph_part(lg_graph **out, int32_t *inputs_used, const lg_graph *graph, const int32_t *values,
                          int32_t n_values);

/* Receives outputs[i]: `count` images of graph output i, the first of them being image `first`. */
typedef lego_status (*lg_run_sink)(void *payload, float *const *outputs, int64_t first, int64_t count);

/* A plan with its buffers, for runs of about n_images each. */
typedef struct lg_runner lg_runner;
lego_status lg_runner_create(lg_runner **out, lego_context *context, const lg_graph *graph, int64_t n_images);
void lg_runner_free(lg_runner *runner);
/* inputs[i] holds all images of graph input i. */
lego_status lg_runner_run(lg_runner *runner, const float *const *inputs, int64_t n_images, lg_run_sink sink,
                          void *payload);

#endif
