/* libtorch for the rest of the library: opening the module, and graphs that run and train on ATen. */
#ifndef LG_TORCH_TORCH_H
#define LG_TORCH_TORCH_H

#include "graph/graph.h"
#include "torch/lego_torch.h"

/* --- the module (module.c) --- */
/* The table, for the life of the process; opens the module on first use. LEGO_EUNSUPPORTED, saying what to install, if
 * it cannot be found. Thread-safe. */
lego_status lg_torch_load(const lg_torch_api **out);
/* The same, ready for work on `device` (NULL: "cpu") with the context's threads. */
lego_status lg_torch_open(const lg_torch_api **out, const lego_context *context, const char *device);
/* Turn a failed call into our error: "<where>: libtorch: <message>"; `where` may be NULL. */
lego_status lg_torch_check(const lg_torch_api *api, lego_status status, const char *where);
/* LG_TRY(LG_TORCH(api, relu(&y, x, 0))) */
#define LG_TORCH(api, call) lg_torch_check((api), (api)->call, NULL)

/* --- graphs on ATen (exec_torch.c) --- */
typedef struct lg_torch_net lg_torch_net;

typedef enum lg_torch_mode {
    LG_TORCH_EVAL,   /* running statistics, folded into the convolutions; no dropout; no history */
    LG_TORCH_FROZEN, /* the same with history: batch norm's scale and shift train, its statistics do not */
    LG_TORCH_TRAIN   /* batch statistics, dropout, history */
} lg_torch_mode;

/* How activations are held while computing; weights stay float32. */
typedef struct lg_torch_recipe {
    lego_dtype dtype; /* LEGO_DTYPE_F32 or LEGO_DTYPE_BF16 */
    lg_torch_layout layout;
} lg_torch_recipe;

/* A validated graph without block ops; its weights are copied to `device`. Free with lg_torch_net_free(). */
lego_status lg_torch_net_create(lg_torch_net **out, const lg_torch_api *api, const lg_graph *graph,
                                const char *device);
void lg_torch_net_free(lg_torch_net *net);
void lg_torch_net_set_recipe(lg_torch_net *net, lg_torch_recipe recipe);
const lg_graph *lg_torch_net_graph(const lg_torch_net *net);

/* inputs[i]: (N,...) of graph input i; outputs[i] receives a new handle, held as the recipe says. */
lego_status lg_torch_net_forward(lg_torch_net *net, lg_torch_mode mode, lg_torch_tensor *const *inputs,
                                 lg_torch_tensor **outputs);

/* Trainable leaves; weight_ids[i] is the graph weight of leaf i. Borrowed. */
int32_t lg_torch_net_n_leaves(const lg_torch_net *net);
lg_torch_tensor *const *lg_torch_net_leaves(const lg_torch_net *net);
const int32_t *lg_torch_net_leaf_weights(const lg_torch_net *net);
/* All weights, buffers included, in the graph's order. Borrowed. */
lg_torch_tensor *const *lg_torch_net_weights(const lg_torch_net *net);
/* Copy the net's weights into new storage of `graph`, which has the structure that the net was made of. */
lego_status lg_torch_net_read(const lg_torch_net *net, lg_graph *graph);
/* Load the weights of such a graph. */
lego_status lg_torch_net_write(lg_torch_net *net, const lg_graph *graph);

/* Time a few training steps (forward and backward in `mode`) on `inputs` in each recipe that the device may be good at
 * and set the fastest; the weights are as before. Says what was measured in the log. */
typedef enum lg_torch_tune { LG_TORCH_TUNE_ALL, LG_TORCH_TUNE_F32, LG_TORCH_TUNE_BF16 } lg_torch_tune;
lego_status lg_torch_net_tune(lg_torch_net *net, const lego_context *context, lg_torch_mode mode,
                              lg_torch_tensor *const *inputs, lg_torch_tune among, const char *what);
lg_torch_recipe lg_torch_net_recipe(const lg_torch_net *net);

/* --- helpers --- */
/* n samples of `value` (a graph input), float32 row-major, as a tensor. */
lego_status lg_torch_upload(lg_torch_tensor **out, const lg_torch_api *api, const lg_value *value, int64_t n,
                            const float *data, const char *device);
void lg_torch_free_all(const lg_torch_api *api, lg_torch_tensor **tensors, int32_t n); /* handles set to NULL */

#endif
