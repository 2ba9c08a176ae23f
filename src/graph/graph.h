/* The model IR: a static dataflow graph of values, nodes and weights. Ids are indices, kept dense.
 *
 * Shapes: dims[0] of an activation is the batch N, written LG_BATCH; every op leaves it alone, so shapes hold for any
 * batch. Weights belong to the graph and may be used by several nodes. Build -> validate -> plan -> run: a graph that
 * lg_graph_validate() accepted is in topological order and every shape in it is inferred. */
#ifndef LG_GRAPH_GRAPH_H
#define LG_GRAPH_GRAPH_H

#include "base/context.h"
#include "base/file.h"
#include "base/json.h"
#include "legodnn/model.h"
#include "tensor/tensor.h"

#define LG_BATCH (-1)
#define LG_NONE (-1)

typedef struct lg_op lg_op;
typedef union lg_attrs lg_attrs; /* graph/ops.h */

typedef struct lg_value {
    char *name;
    lego_dtype dtype;
    lg_shape shape;  /* dims[0] = LG_BATCH for activations */
    int32_t producer; /* node id; LG_NONE for a graph input */
} lg_value;

typedef struct lg_weight {
    char *name; /* as PyTorch's state_dict names it, e.g. "layer1.0.conv1.weight" */
    lego_tensor tensor;
    int32_t trained; /* stands in a slot that is trained, not a buffer: set when its node is added */
} lg_weight;

typedef struct lg_node {
    char *name; /* unique, e.g. "layer1.0.conv1" */
    const lg_op *op;
    lg_attrs *attrs;
    int32_t n_inputs, n_outputs, n_weights;
    int32_t *inputs;  /* value ids */
    int32_t *outputs; /* value ids */
    int32_t *weights; /* weight ids by the op's slot; LG_NONE where an optional slot is empty */
    int32_t block;    /* which block of a composition it came from; LG_NONE = frame */
    int32_t is_whole; /* its output channels stay, as the user asked; in memory only */
} lg_node;

typedef struct lg_graph {
    char *name; /* "resnet18-cifar" */
    lg_value *values;
    lg_node *nodes; /* topological order once validated */
    lg_weight *weights;
    int32_t *inputs, *outputs; /* value ids */
    int32_t n_values, n_nodes, n_weights, n_inputs, n_outputs;
    size_t values_capacity, nodes_capacity, weights_capacity, inputs_capacity, outputs_capacity;
} lg_graph;

struct lego_model {
    lg_graph *graph;
};

/* --- building --- */
lego_status lg_graph_create(lg_graph **out, const char *name);
void lg_graph_free(lg_graph *graph);
/* Deep copy of the structure; weight storage is shared (copy-on-write is the caller's business). */
lego_status lg_graph_clone(lg_graph **out, const lg_graph *graph);
/* A graph input without its batch: (c,h,w) gives the value (N,c,h,w). */
lego_status lg_graph_add_input(int32_t *value, lg_graph *graph, const char *name, lego_dtype dtype,
                               const lg_shape *shape);
/* The graph shares the tensor's storage. */
lego_status lg_graph_add_weight(int32_t *weight, lg_graph *graph, const char *name, const lego_tensor *tensor);
/* Append a node, create its outputs ("<name>" or "<name>:i"), infer their shapes. `attrs` NULL = the op's defaults.
 * `weights` has one id a slot of the op. Returns the first output's value id; the others follow it. */
lego_status lg_graph_add_node(int32_t *first_output, lg_graph *graph, const char *op, const char *name,
                              const lg_attrs *attrs, int n_inputs, const int32_t *inputs, int n_weights,
                              const int32_t *weights);
/* The same for an op at hand, with the names, dtypes and shapes of the outputs given; what the op infers replaces the
 * given dtypes and shapes. `outputs` NULL: as lg_graph_add_node(). */
lego_status lg_graph_add_node_named(int32_t *first_output, lg_graph *graph, const lg_op *op, const char *name,
                                    const lg_attrs *attrs, int n_inputs, const int32_t *inputs, int n_weights,
                                    const int32_t *weights, int n_outputs, const lg_value *outputs);
/* Append the place of block `index`: the names, dtypes and shapes (with LG_BATCH) of its outputs are given, since
 * nothing in the frame says what a block computes. */
lego_status lg_graph_add_block(int32_t *first_output, lg_graph *graph, const char *name, int64_t index, int n_inputs,
                               const int32_t *inputs, int n_outputs, const lg_value *outputs);
lego_status lg_graph_add_output(lg_graph *graph, int32_t value);

/* --- checking --- */
/* Unique names, references in range, one producer a value, no cycle (sorts nodes topologically, stable), attributes,
 * weights' shapes and every inferred shape. The message names the node. */
lego_status lg_graph_validate(lg_graph *graph);
/* Re-infer every value's shape from the inputs (after pruning, or with another input size). */
lego_status lg_graph_infer(lg_graph *graph);
/* LEGO_EINVAL naming the first weight that holds a NaN or an infinity. */
lego_status lg_graph_check_finite(const lg_graph *graph);

/* --- asking --- */
int32_t lg_graph_find_node(const lg_graph *graph, const char *name);   /* LG_NONE if absent */
int32_t lg_graph_find_value(const lg_graph *graph, const char *name);
int32_t lg_graph_find_weight(const lg_graph *graph, const char *name);
int64_t lg_graph_parameters(const lg_graph *graph);  /* trainable elements of all weights, shared ones once */
int64_t lg_graph_macs(const lg_graph *graph);        /* conv and linear, one sample */
int64_t lg_graph_flops(const lg_graph *graph);       /* everything, one sample */
size_t lg_graph_weight_bytes(const lg_graph *graph);
int64_t lg_node_macs(const lg_graph *graph, const lg_node *node);
int64_t lg_node_flops(const lg_graph *graph, const lg_node *node);
int64_t lg_node_parameters(const lg_graph *graph, const lg_node *node);
/* Elements of a value for one sample (the batch extent left out). */
int64_t lg_value_elements(const lg_value *value);
/* The tensor of a node's slot, NULL where the slot is empty. */
lego_tensor *lg_node_weight(const lg_graph *graph, const lg_node *node, int slot);

/* Consumers of every value: nodes[offsets[v] .. offsets[v+1]) use v (a node that uses it twice stands there twice). */
typedef struct lg_uses {
    int32_t *offsets; /* n_values + 1 */
    int32_t *nodes;
} lg_uses;
lego_status lg_graph_uses(lg_uses *out, const lg_graph *graph);
void lg_uses_dispose(lg_uses *uses);

/* --- cutting --- */
/* The sub-graph of the nodes marked in `in_set` (n_nodes flags): its inputs are the values it reads from outside (in
 * order of first use), its outputs those read outside or by the graph (in order of production). Names, weights
 * (storage shared) and `block` marks are kept. `input_values`/`output_values` (either may be NULL) receive the value
 * ids in `graph`; free with lg_free. */
lego_status lg_graph_subgraph(lg_graph **out, const lg_graph *graph, const uint8_t *in_set, int32_t **input_values,
                              int32_t **output_values);
/* A frame: `graph` with all nodes of block_of[node] = b (LG_NONE: stays) replaced by one block node named names[b],
 * index b, b < n_blocks. Its inputs and outputs are, in order, those of lg_graph_subgraph() on the same nodes. */
lego_status lg_graph_frame(lg_graph **out, const lg_graph *graph, const int32_t *block_of, int32_t n_blocks,
                           const char *const *names);
/* Copy the nodes of `part` into `graph`: part's input i becomes the value inputs[i]; outputs[i] receives the value of
 * part's output i. Weights of a name that the graph has already are shared if they are the same storage, an error if
 * not. Every copied node is marked with `block`. */
lego_status lg_graph_inline(lg_graph *graph, const lg_graph *part, const int32_t *inputs, int32_t *outputs,
                            int32_t block);

/* --- files ("legodnn.graph/1") --- */
lego_status lg_graph_to_json(lg_json **out, const lg_graph *graph);
/* Weights are declared (name, dtype, shape) in the JSON; `find` supplies each one's storage. */
typedef lego_status (*lg_weight_source)(lego_tensor *out, const char *name, lego_dtype dtype, const lg_shape *shape,
                                        void *payload);
lego_status lg_graph_from_json(lg_graph **out, const lg_json *json, const char *what, lg_weight_source source,
                               void *payload);
/* `extra` (may be NULL): further string entries for the file's metadata. */
lego_status lg_graph_save(const lg_graph *graph, const char *path, const lg_json *extra);
lego_status lg_graph_write(const lg_graph *graph, lg_writer *writer, const lg_json *extra); /* the same, appended */
lego_status lg_graph_load(lg_graph **out, const char *path);
/* A file's tensor as a graph's: shared where its elements are aligned, copied where a foreign writer did not care. */
lego_status lg_graph_take_tensor(lego_tensor *out, const lego_tensor *tensor);
/* The graph alone: a .json without weights, which are initialised on loading. */
lego_status lg_graph_save_json(const lg_graph *graph, const char *path);
lego_status lg_graph_load_json(lg_graph **out, const char *path, uint64_t seed);
/* Seeded initialisation of every weight by its slot's rule: convolutions Kaiming normal with fan out (as torchvision's
 * ResNet, ResNeXt and MobileNet), linear layers as torch, batch norm 1/0/0/1. Each weight's values depend on the seed and
 * its name alone. Storage is new: nothing shared is written to. */
lego_status lg_graph_initialize(lg_graph *graph, uint64_t seed);

/* Take ownership of the graph (on success). */
lego_status lg_model_from_graph(lego_model **out, lg_graph *graph);

#endif
