/* The executor's inside: a net, a running pass, and the entry of every op (exec_ops.c). */
#ifndef LG_TORCH_EXEC_H
#define LG_TORCH_EXEC_H

#include "graph/ops.h"
#include "torch/torch.h"

struct lg_torch_net {
    const lg_torch_api *api;
    lg_graph *graph; /* ours; shares the weights' storage */
    lg_torch_tensor **weights;
    lg_torch_tensor **leaves; /* borrowed from weights */
    int32_t *leaf_weights;
    int32_t n_leaves;
    lg_torch_recipe recipe;
    int32_t *readers;          /* per value: how many inputs and graph outputs read it */
    int32_t *only_reader;      /* per value: the node, if one node reads it once and nothing else does */
    lg_torch_tensor **values;  /* of the running forward */
    int32_t *pending;          /* readers still to come */
};

/* A running forward pass. */
typedef struct lg_torch_pass {
    lg_torch_net *net;
    lg_torch_mode mode;
    int64_t batch;
} lg_torch_pass;

/* Run a node: fill the values of its outputs. */
typedef lego_status (*lg_torch_op_fn)(lg_torch_pass *pass, const lg_node *node, lg_torch_tensor **out);
extern const lg_torch_op_fn lg_torch_ops[LG_OP_N_KINDS]; /* NULL: not on torch */

#endif
