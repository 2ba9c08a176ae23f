/* TorchScript -> graph: what the files of the importer share.
 *
 *   torch/script_recorder.hpp  file -> lg_script: the tensor operations that forward runs, with every number known
 *   script_file.c, child.c     the file, checked and recorded, in a child process if wanted
 *   script.c                   the walk over what was recorded, the report
 *   script_emit.c              what a converter asks and emits
 *   script_layers.c, script_products.c, script_math.c, script_spatial.c, script_shapes.c, script_parts.c
 *                              one converter an operator, the tables at the end
 *
 * Shapes in an lg_script are those of a run with lg_script.batch samples, of which the graph's values have any number, in
 * front; in the tensors of the file they may be elsewhere (batch_axis.h). */
#ifndef LG_IMPORT_SCRIPT_H
#define LG_IMPORT_SCRIPT_H

#include "base/str.h"
#include "graph/name_map.h"
#include "graph/ops.h"
#include "import/batch_axis.h"
#include "legodnn/import.h"
#include "torch/torch.h"

typedef struct lg_script_import {
    const lego_context *context;
    const char *path;
    const lg_script *script;
    lg_graph *graph;
    int32_t *values;   /* by tensor: of the graph, or LG_NONE */
    lg_place *places;  /* by tensor that is a value: where the batch is in it */
    int32_t *weights;  /* by tensor, for constants that are used as they are */
    uint8_t *is_broken, *is_needed; /* by tensor */
    lg_str report;
    int32_t n_unsupported, n_unlisted;
} lg_script_import;

/* A node on its way through a converter. */
typedef struct lg_script_at {
    lg_script_import *import;
    const lg_script_node *node;
    char *name;        /* unique in the graph */
    int32_t n_emitted; /* nodes of the graph so far */
} lg_script_at;

typedef lego_status (*lg_script_converter)(lg_script_at *at);
typedef struct lg_script_op {
    const char *kind; /* without "aten::" and the "_" of the form that works in place */
    lg_script_converter convert;
} lg_script_op;
/* Each ends with a NULL kind. */
extern const lg_script_op lg_script_layer_ops[], lg_script_math_ops[], lg_script_part_ops[], lg_script_product_ops[],
    lg_script_shape_ops[],
    lg_script_spatial_ops[];

lego_status lg_script_import_file(lg_graph **out, const lego_context *context, const char *path,
                                  const lego_import_options *options);
/* The same of what was recorded already. */
lego_status lg_script_convert(lg_graph **out, const lego_context *context, const char *path, const lg_script *script);

/* --- asking --- */
lego_status lg_script_unsupported(const char *fmt, ...) LG_PRINTF(1, 2);
/* Argument i; one of type LG_SCRIPT_NONE past the end. */
const lg_script_arg *lg_script_argument(const lg_script_at *at, int i);
int lg_script_is_none(const lg_script_at *at, int i);
lego_status lg_script_int(int64_t *out, const lg_script_at *at, int i);
lego_status lg_script_number(double *out, const lg_script_at *at, int i);
/* A list of n integers, or one that stands for all n. */
lego_status lg_script_ints(int64_t *out, const lg_script_at *at, int i, int n);
/* An axis behind the batch of a value of n_dims; negative ones count from the end. */
lego_status lg_script_axis(int64_t *out, const lg_script_at *at, int i, int n_dims);
/* The recorded shape of an output or of a tensor argument (NULL if it is none). */
const lg_script_tensor *lg_script_output(const lg_script_at *at, int i);
const lg_script_tensor *lg_script_tensor_of(const lg_script_at *at, int i);
const lg_shape *lg_script_shape(const lg_script_at *at, int32_t value);

/* --- emitting --- */
/* Argument i, a tensor computed from the input, as a value of the graph. */
lego_status lg_script_placed(int32_t *value, lg_place *place, lg_script_at *at, int i);
/* The same, with the batch as the first axis. */
lego_status lg_script_input(int32_t *value, lg_script_at *at, int i);
/* Argument i, an axis of a tensor in this place, which does not hold the batch: of the file, and the graph's. */
lego_status lg_script_placed_axis(int64_t *dim, int64_t *axis, const lg_script_at *at, int i, const lg_place *place);
/* Where n tensors, values among them, meet element by element in n_dims axes. The shape is that of none of them. */
lego_status lg_script_meeting(lg_place *out, const lg_script_at *at, const int64_t *tensors, int n, int n_dims);
/* The tensor `index` there; a constant becomes a constant node. */
lego_status lg_script_tensor_at(int32_t *value, lg_script_at *at, int64_t index, const lg_place *place);
/* A value of one place in another, a reshape of each sample. */
lego_status lg_script_move(int32_t *value, lg_script_at *at, const lg_place *from, const lg_place *to);
/* The tensor `index`, or its values as a constant node of n_dims axes if it is a constant. */
lego_status lg_script_tensor_operand(int32_t *value, lg_script_at *at, int64_t index, int n_dims);
/* Argument i, a tensor or a number, likewise. */
lego_status lg_script_operand(int32_t *value, lg_script_at *at, int i, int n_dims);
/* A constant node of one number. */
lego_status lg_script_scalar(int32_t *value, lg_script_at *at, double number, int n_dims);
/* A constant node of one number in the shape of `like`. */
lego_status lg_script_filled(int32_t *value, lg_script_at *at, double number, const lg_script_tensor *like);
/* A constant node of (rows,columns) behind axes of 1: `number` behind the diagonal, 0 elsewhere. */
lego_status lg_script_causal(int32_t *value, lg_script_at *at, int64_t rows, int64_t columns, double number, int n_dims);
/* Argument i, a constant, as a weight of F32 for `slot`. LG_NONE for None. */
typedef enum lg_script_form {
    LG_SCRIPT_AS_IS,
    LG_SCRIPT_TRANSPOSED, /* its two axes swapped */
    LG_SCRIPT_WIDENED     /* (K,C,R) as (K,C,1,R) */
} lg_script_form;
lego_status lg_script_weight(int32_t *weight, lg_script_at *at, int i, const char *slot, lg_script_form form);
lg_attrs lg_script_defaults(lg_op_kind kind);
lego_status lg_script_emit(int32_t *out, lg_script_at *at, lg_op_kind kind, const lg_attrs *attrs, int n_inputs,
                           const int32_t *inputs, int n_weights, const int32_t *weights);
lego_status lg_script_emit_unary(int32_t *out, lg_script_at *at, lg_op_kind kind, const lg_attrs *attrs, int32_t input);
/* Reshape to the recorded shape of output i, if that is another. */
lego_status lg_script_emit_shape(int32_t *out, lg_script_at *at, int32_t input, const lg_script_tensor *like);
/* x with its axes of one element stretched to the shape that values have in this place. */
lego_status lg_script_broadcast(int32_t *y, lg_script_at *at, int32_t x, const lg_place *place);
/* A part along one axis; x itself if it is all of it. */
lego_status lg_script_emit_slice(int32_t *y, lg_script_at *at, int32_t x, int64_t axis, int64_t start, int64_t end);
/* Values joined along an axis; of one, that one. */
lego_status lg_script_emit_concat(int32_t *y, lg_script_at *at, int32_t n, const int32_t *values, int64_t axis);
/* Output i of the node is this value, in this place. The shape must be the recorded one. */
lego_status lg_script_finish_placed(lg_script_at *at, int i, int32_t value, const lg_place *place);
/* The same, with the batch in front. */
lego_status lg_script_finish(lg_script_at *at, int i, int32_t value);
/* LEGO_EUNSUPPORTED if output 1, the places that a maximum was found at, is used. */
lego_status lg_script_refuse_indices(const lg_script_at *at);
/* All of a converter whose operator is one op of one value, element by element: argument 0 through it is output 0. */
lego_status lg_script_give_unary(lg_script_at *at, lg_op_kind kind, const lg_attrs *attrs);
/* ... and whose operator is nothing in a graph: output 0 is argument 0. */
lego_status lg_script_hand_on(lg_script_at *at);

/* --- windows over one to three spatial axes; our ops have two or three, so that (N,C,W) becomes (N,C,1,W) --- */
/* Argument 0 and how many spatial axes it has in the file. */
lego_status lg_script_enter(int32_t *value, int *n_spatial, lg_script_at *at);
int lg_script_axes_of(int n_spatial); /* of our op */
/* Numbers by spatial axis in argument i, or one for all; `fallback` for the axis that was added. */
lego_status lg_script_axes(int64_t *out, const lg_script_at *at, int i, int n_spatial, int64_t fallback);
/* The same before and behind each axis. */
lego_status lg_script_pads(int64_t *out, const lg_script_at *at, int i, int n_spatial);
/* Output 0, with the recorded number of axes. */
lego_status lg_script_leave(lg_script_at *at, int32_t value, int n_spatial);
/* One op between the two. */
lego_status lg_script_give_window(lg_script_at *at, lg_op_kind kind, const lg_attrs *attrs);

#endif
