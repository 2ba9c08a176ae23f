/* Graph -> ONNX: what the files of the exporter share.
 *
 *   onnx.c        the walk over the nodes; inputs, outputs       onnx_proto.c   names, nodes, attributes, initialisers
 *   onnx_*_ops.c  one writer an op, tables at the end            onnx_file.c    protobuf -> files
 *
 * A value of the graph keeps its name in the file; what a writer needs between gets "<node>/<what>". A node becomes one
 * or several; the last of them has its name and its outputs.
 * Constant nodes become initialisers (1,d1,...), which element-wise ops broadcast over the batch. Ops that do not
 * broadcast read them through an Expand to the size of the batch. */
#ifndef LG_EXPORT_ONNX_H
#define LG_EXPORT_ONNX_H

#include "graph/name_map.h"
#include "graph/ops.h"
#include "legodnn/export.h"
#include "onnx.pb-c.h"

/* An initialiser made of a weight. */
typedef struct lg_export_weight {
    int32_t weight;
    lg_shape shape;
    int is_transposed;
    const char *name;
} lg_export_weight;

typedef struct lg_export {
    const lg_graph *graph;
    const char *path;
    Onnx__ModelProto *model;
    int64_t opset;               /* the lowest that has all ops of the graph */
    size_t nodes_capacity, initializers_capacity;

    char **names;                /* every name of a value or initialiser, owned */
    int32_t n_names;
    size_t names_capacity;
    lg_name_map taken;
    int32_t taken_room;          /* names that `taken` has room for */

    lg_export_weight *weights;
    int32_t n_weights;
    size_t weights_capacity;
    lego_tensor *tensors;        /* storage that the initialisers point into, one each */
    size_t tensors_capacity;

    const char **constants;      /* by value id: a constant node's value at the size of the batch, once there is one */
    const char *batch;           /* the size of the batch as a list of one, once there is one */
} lg_export;

typedef lego_status (*lg_export_writer)(lg_export *file, const lg_node *node);
/* By kind; NULL: in another table. */
extern const lg_export_writer lg_export_spatial_ops[LG_OP_N_KINDS], lg_export_function_ops[LG_OP_N_KINDS],
    lg_export_math_ops[LG_OP_N_KINDS], lg_export_shape_ops[LG_OP_N_KINDS];

/* --- onnx.c --- */
lego_status lg_onnx_export(const lg_graph *graph, const char *path, const lego_export_options *options);
/* Input `index` of the node by name, at the size of the batch. */
lego_status lg_export_input(const char **out, lg_export *file, const lg_node *node, int index);
/* Whether a value is a constant node's. */
int lg_export_is_constant(const lg_export *file, int32_t value);
/* A constant node's value as the initialiser (1,d1,...). */
lego_status lg_export_constant(const char **out, lg_export *file, int32_t value);
/* A shape (N,dims...) as a list made while running. */
lego_status lg_export_batched_shape(const char **out, lg_export *file, const lg_node *node, int n,
                                    const int64_t *dims);

/* --- onnx_proto.c --- */
lego_status lg_export_init(lg_export *file, const lg_graph *graph, const char *path);
void lg_export_dispose(lg_export *file);
/* A new name, "<node>/<what>" or close to it; lives as long as `file`. */
lego_status lg_export_name(const char **out, lg_export *file, const char *node, const char *what);
/* Append a node that is a part of `node`: named "<node>/<what>", with one output of that name; or with `what` NULL the
 * last part, named as the node, with its outputs. `proto` (may be NULL) is for the attributes, `output` (may be NULL)
 * the name of the first output. An input of "" is left out. */
lego_status lg_export_node(Onnx__NodeProto **proto, const char **output, lg_export *file, const lg_node *node,
                           const char *what, const char *type, int n_inputs, const char *const *inputs);
/* The same for one input, with *value its name before and its output's name afterwards. */
lego_status lg_export_step(Onnx__NodeProto **proto, const char **value, lg_export *file, const lg_node *node,
                           const char *what, const char *type);
lego_status lg_export_int(Onnx__NodeProto *proto, const char *name, int64_t value);
lego_status lg_export_ints(Onnx__NodeProto *proto, const char *name, int n, const int64_t *values);
lego_status lg_export_float(Onnx__NodeProto *proto, const char *name, double value);
lego_status lg_export_text(Onnx__NodeProto *proto, const char *name, const char *text);
/* A weight as an initialiser, under another shape of the same elements (NULL: its own), (R,C) as (C,R) if transposed. */
lego_status lg_export_weight_as(const char **out, lg_export *file, int32_t weight, const lg_shape *shape,
                                int is_transposed);
/* The weight of a slot, or `n` times `fallback` where it is empty. */
lego_status lg_export_slot(const char **out, lg_export *file, const lg_node *node, int slot, const lg_shape *shape,
                           double fallback);
/* Numbers that belong to a node: INT64 (n), FLOAT scalars, FLOAT filled with one number. */
lego_status lg_export_int_list(const char **out, lg_export *file, const lg_node *node, const char *what, int64_t n,
                               const int64_t *values);
lego_status lg_export_number(const char **out, lg_export *file, const lg_node *node, const char *what, double value);
lego_status lg_export_filled(const char **out, lg_export *file, const lg_node *node, const char *what,
                             const lg_shape *shape, double value);
/* A graph input or output. */
lego_status lg_export_value_info(Onnx__ValueInfoProto **out, const char *name, const lg_shape *shape);

/* --- onnx_function_ops.c: parts that many writers need --- */
/* *value op number, *value op other; `what` as in lg_export_node(). */
lego_status lg_export_with_number(const char **value, lg_export *file, const lg_node *node, const char *what,
                                  const char *type, double number);
lego_status lg_export_with_value(const char **value, lg_export *file, const lg_node *node, const char *what,
                                 const char *type, const char *other);
/* (n) -> (n,1,...), which broadcasts over x (N,n,...); a single number stays (1). */
lg_shape lg_export_by_channel(const lg_shape *x, int64_t n);

/* --- onnx_file.c --- */
lego_status lg_export_write(lg_export *file, int64_t external_from_bytes);

#endif
