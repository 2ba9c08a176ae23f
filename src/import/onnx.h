/* ONNX -> graph: what the files of the importer share.
 *
 *   onnx_file.c     bytes -> checked protobuf                 onnx_tensor.c  TensorProto -> host tensor
 *   onnx.c          the walk over the nodes, the report       onnx_node.c    what a converter asks and emits
 *   onnx_fold*.c    constants in, constant out                onnx_*_ops.c   one converter an op, tables at the end
 *   onnx_pattern.c  several nodes -> the op that they are     onnx_place.c   values whose batch is anywhere
 *
 * A name of the file stands for a constant (an initialiser, or what folding made of some) or for a value of the graph.
 * The batch: axis 0 of every value of the graph, of any size; in the file's values anywhere (batch_axis.h). In folded
 * shapes it is LG_BATCH_MARK, whose multiples may be moved around, multiplied and divided, but not mixed with numbers. */
#ifndef LG_IMPORT_ONNX_H
#define LG_IMPORT_ONNX_H

#include "base/buffer.h"
#include "base/str.h"
#include "graph/name_map.h"
#include "graph/ops.h"
#include "import/batch_axis.h"
#include "legodnn/import.h"
#include "onnx.pb-c.h"

#define LG_ONNX_MIN_OPSET 1
#define LG_ONNX_MAX_OPSET 23

typedef Onnx__NodeProto lg_onnx_proto;

/* A name of the file. */
typedef struct lg_onnx_value {
    const char *name;     /* borrowed from the protobuf */
    int32_t producer;     /* node of the file; LG_NONE: an input or initialiser */
    int32_t value;        /* of the graph; LG_NONE if there is none (yet) */
    lg_place place;       /* the file's shape of that value, and where the batch is in it */
    int32_t weight;       /* of the graph, once the constant is one as it is */
    int32_t n_variants;   /* weights made from the constant: transposed, scaled */
    uint8_t is_constant;
    uint8_t is_broken;    /* a node before it cannot be imported */
    uint8_t is_needed;    /* an output of the graph depends on it */
    lego_tensor constant;
} lg_onnx_value;

typedef struct lg_onnx {
    const lego_context *context;
    const char *path;
    char *folder;              /* of the file, resolved, once a tensor is outside the file: it must be in there */
    Onnx__ModelProto *model;
    const Onnx__GraphProto *proto;
    int64_t opset;
    int64_t batch;             /* as the file fixes it; LG_BATCH_MARK if open */
    lg_graph *graph;
    lg_name_map names;         /* of values: into `values` */
    lg_onnx_value *values;
    int32_t n_values;
    lg_name_map node_names;
    char **node_labels;        /* unique, one a node of the file */
    lg_str report;             /* what cannot be imported */
    int32_t n_unsupported, n_unlisted;
    int64_t fold_budget;       /* bytes that folding may still create */
    char *external_path;       /* the file of tensors mapped last */
    lg_buffer *external;
} lg_onnx;

/* A node on its way through a converter. */
typedef struct lg_onnx_node {
    lg_onnx *import;
    const lg_onnx_proto *proto;
    const char *name;  /* its unique label */
    int32_t n_emitted; /* nodes of the graph so far */
    int32_t n_helpers; /* of them, those that bring inputs into shape */
} lg_onnx_node;

typedef lego_status (*lg_onnx_converter)(lg_onnx_node *node);
typedef struct lg_onnx_op {
    const char *type;
    lg_onnx_converter convert;
} lg_onnx_op;
/* End with a NULL type. */
extern const lg_onnx_op lg_onnx_spatial_ops[], lg_onnx_function_ops[], lg_onnx_math_ops[], lg_onnx_matrix_ops[],
    lg_onnx_reduce_ops[], lg_onnx_resize_ops[], lg_onnx_shape_ops[];

typedef struct lg_onnx_slices {
    int n;
    int64_t starts[LEGO_MAX_DIMS], ends[LEGO_MAX_DIMS], axes[LEGO_MAX_DIMS], steps[LEGO_MAX_DIMS];
} lg_onnx_slices;

/* --- onnx_file.c --- */
lego_status lg_onnx_parse(Onnx__ModelProto **out, const void *data, size_t size, const char *what);
void lg_onnx_parse_free(Onnx__ModelProto *model);
void lg_onnx_free_attributes(lg_onnx_proto *node); /* of a parsed model: takes all of them away */

/* --- onnx_pattern.c --- */
/* Ops that exporters write as several nodes become one, in the protobuf. */
lego_status lg_onnx_fuse_patterns(lg_onnx *import);

/* --- onnx_tensor.c --- */
/* `import` may be NULL: then external data is refused. F64, F16 and BF16 become F32. */
lego_status lg_onnx_tensor(lego_tensor *out, lg_onnx *import, const Onnx__TensorProto *proto, const char *what);
/* FLOAT, and what values are read as FLOAT: DOUBLE, FLOAT16. */
int lg_onnx_is_real(int64_t elem_type);

/* --- onnx.c --- */
lego_status lg_onnx_import(lg_graph **out, const lego_context *context, const char *path,
                           const lego_import_options *options);

/* --- onnx_fold.c --- */
/* Evaluate the node if its inputs are constants (Shape: of any value); *done tells whether it was. */
lego_status lg_onnx_fold(int *done, lg_onnx_node *node);
int lg_onnx_folds(const char *type); /* whether constants of this op can be evaluated */

/* --- onnx_node.c: asking --- */
lg_onnx_value *lg_onnx_value_named(const lg_onnx *import, const char *name); /* NULL if nothing makes it */
int lg_onnx_n_inputs(const lg_onnx_node *node);
lg_onnx_value *lg_onnx_input(const lg_onnx_node *node, int index); /* NULL if left out */
/* Attributes; of the wrong type: LEGO_EFORMAT. Absent: the fallback. */
lego_status lg_onnx_int(int64_t *out, const lg_onnx_node *node, const char *name, int64_t fallback);
lego_status lg_onnx_float(double *out, const lg_onnx_node *node, const char *name, double fallback);
/* Borrowed; not NUL-terminated in the file, so compared with lg_onnx_text_is(). */
lego_status lg_onnx_text(ProtobufCBinaryData *out, const lg_onnx_node *node, const char *name, const char *fallback);
int lg_onnx_text_is(const ProtobufCBinaryData *text, const char *word);
/* out->n = -1 if absent. */
lego_status lg_onnx_ints(lg_dims *out, const lg_onnx_node *node, const char *name);
const Onnx__AttributeProto *lg_onnx_attribute(const lg_onnx_node *node, const char *name);
/* A list that moved from attribute `name` to input `index` in opset `since`; out->n = -1 if absent. */
lego_status lg_onnx_list(lg_dims *out, const lg_onnx_node *node, const char *name, int index, int64_t since);
/* A number likewise. */
lego_status lg_onnx_number(double *out, const lg_onnx_node *node, const char *name, int index, int64_t since,
                           double fallback);
/* An axis of a value of n_dims axes, negative ones counted from the end. */
lego_status lg_onnx_axis(int64_t *axis, const lg_onnx_node *node, int n_dims);
/* A constant's elements as integers, the batch in them as the file has it; out->n = -1 if the input is left out. */
lego_status lg_onnx_constant_ints(lg_dims *out, const lg_onnx_node *node, int index);
/* Element of a constant as a number. */
double lg_onnx_element(const lego_tensor *tensor, int64_t index);
int64_t lg_onnx_element_int(const lego_tensor *tensor, int64_t index);

/* What Unsqueeze and Squeeze make of a shape; the batch is not squeezed away, unless it is 1. A shape without a batch has
 * its dim LG_NONE. */
lego_status lg_onnx_unsqueezed(lg_place *out, const lg_onnx_node *node, const lg_place *in);
lego_status lg_onnx_squeezed(lg_place *out, const lg_onnx_node *node, const lg_place *in);
/* The shape that Reshape asks for, 0 and -1 resolved. */
lego_status lg_onnx_reshaped(lg_shape *out, const lg_onnx_node *node, const lg_shape *in);
/* The order that Transpose asks for, of n_dims axes; the sizes of Split, and its axis. */
lego_status lg_onnx_order(lg_dims *out, const lg_onnx_node *node, int n_dims);
lego_status lg_onnx_split_sizes(lg_dims *sizes, int64_t *axis, const lg_onnx_node *node, const lg_shape *in);
/* Widen `shape` to what it and `other` broadcast to, aligned at the last axis; 0 if they do not. */
int lg_onnx_broadcast(lg_shape *shape, const lg_shape *other);
/* What a Slice asks for, along valid axes of a value of n_dims; starts and ends as the file has them. */
lego_status lg_onnx_slice_lists(lg_onnx_slices *out, const lg_onnx_node *node, int n_dims);

/* Clamp what a Slice asks for to an axis of this extent, as the IR's slice counts; *n elements are left, maybe none. */
lego_status lg_onnx_slice_clamp(int64_t *n, int64_t *start, int64_t *end, const lg_onnx_node *node, int64_t step,
                                int64_t extent);

/* LEGO_EUNSUPPORTED with a reason; the walk adds the node, its op and the opset. */
lego_status lg_onnx_unsupported(const char *fmt, ...) LG_PRINTF(1, 2);
lego_status lg_onnx_malformed(const lg_onnx_node *node, const char *fmt, ...) LG_PRINTF(2, 3);

/* --- onnx_node.c: emitting --- */
/* Input `index` as a value of the graph, wherever its batch is; a constant is unsupported. */
lego_status lg_onnx_placed(int32_t *value, lg_place *place, lg_onnx_node *node, int index);
/* The graph's value must not have more axes than values can have. */
lego_status lg_onnx_check_place(const lg_place *place);
/* The graph's axis for a dim of the file, which must not hold the batch. */
lego_status lg_onnx_place_axis(int64_t *axis, const lg_place *place, int64_t dim, const char *what);
/* Where all inputs of the node, constants among them, meet element by element; the shape is what they broadcast to. */
lego_status lg_onnx_meeting(lg_place *out, const lg_onnx_node *node);
/* Input `index` in that place: reshaped, or a constant that is the same for every sample as a constant node. */
lego_status lg_onnx_operand_at(int32_t *value, lg_onnx_node *node, int index, const lg_place *place);
/* A value of one place as the other has it, a reshape of each sample. */
lego_status lg_onnx_move(int32_t *value, lg_onnx_node *node, const lg_place *from, const lg_place *to);
/* Input `index` with the batch as the first axis of the file's value, so that graph and file have the same axes. */
lego_status lg_onnx_activation(int32_t *value, lg_onnx_node *node, int index);
/* The same with exactly n_dims axes. */
lego_status lg_onnx_activation_of(int32_t *value, lg_onnx_node *node, int index, int n_dims);
/* Input `index` as a value of n_dims axes, the batch first; a constant that is the same for every sample becomes a
 * constant node. */
lego_status lg_onnx_operand(int32_t *value, lg_onnx_node *node, int index, int n_dims);
const lg_shape *lg_onnx_shape(const lg_onnx_node *node, int32_t value);
/* Input `index`, a constant of F32, as a weight; a filled `changed` takes its place, under a name derived from its. */
lego_status lg_onnx_weight(int32_t *weight, lg_onnx_node *node, int index, const lego_tensor *changed);
lego_status lg_onnx_weight_tensor(const lego_tensor **out, const lg_onnx_node *node, int index, int n_dims);
/* The attributes that the op starts from. */
lg_attrs lg_onnx_defaults(lg_op_kind kind);
/* Append a node of one input and no weights ... */
lego_status lg_onnx_emit(int32_t *out, lg_onnx_node *node, lg_op_kind kind, const lg_attrs *attrs, int32_t input);
/* ... and any. */
lego_status lg_onnx_emit_full(int32_t *out, lg_onnx_node *node, lg_op_kind kind, const lg_attrs *attrs, int n_inputs,
                              const int32_t *inputs, int n_weights, const int32_t *weights);
/* ... that brings an input into shape: the node of the file keeps its name for what it does itself. */
lego_status lg_onnx_emit_helper(int32_t *out, lg_onnx_node *node, lg_op_kind kind, const lg_attrs *attrs, int32_t input);
/* ... a constant, named after its weight: it is no node of the file. */
lego_status lg_onnx_emit_constant(int32_t *out, lg_onnx_node *node, int32_t weight);
/* ... whose first output is that of the node of the file. */
lego_status lg_onnx_give(lg_onnx_node *node, lg_op_kind kind, const lg_attrs *attrs, int n_inputs, const int32_t *inputs,
                         int n_weights, const int32_t *weights);
/* ... of one input, element by element, wherever its batch is. */
lego_status lg_onnx_give_function(lg_onnx_node *node, lg_op_kind kind, const lg_attrs *attrs);
/* A constant of one number, of this shape for every sample. */
lego_status lg_onnx_emit_filled(int32_t *out, lg_onnx_node *node, const lg_shape *shape, double number);
/* A value of extents 1 repeated to those of `to`, which is otherwise the same place. */
lego_status lg_onnx_repeat(int32_t *value, lg_onnx_node *node, const lg_place *from, const lg_place *to);
/* A reshape to the axes behind the batch. */
/* A reshape beside the node itself, called "<node>/what". */
lego_status lg_onnx_emit_form(int32_t *out, lg_onnx_node *node, int32_t input, const lg_dims *shape, const char *what);
lego_status lg_onnx_emit_reshape(int32_t *out, lg_onnx_node *node, int32_t input, const lg_dims *shape);
/* Constants around input 0: as many in front of each dim of the file's value, then behind. */
lego_status lg_onnx_pad_with_itself(lg_onnx_node *node, const int64_t *pads, const ProtobufCBinaryData *mode);
lego_status lg_onnx_pad_anywhere(lg_onnx_node *node, const int64_t *pads, double number);
/* Spatial axes of our op where the file's value has `n_spatial`; its input as (N,C,H,W) or (N,C,D,H,W), (N,C,W) as (N,C,1,W);
 * its output, back to (N,C,W) if the input was (onnx_spatial_ops.c). */
int lg_onnx_spatial_axes(int n_spatial);
lego_status lg_onnx_enter_window(int32_t *x, int *n_spatial, lg_onnx_node *node);
lego_status lg_onnx_leave_window(lg_onnx_node *node, int32_t y, int n_spatial);
/* x times a number (onnx_math_ops.c). */
lego_status lg_onnx_emit_scaled(int32_t *out, lg_onnx_node *node, int32_t x, double factor);
/* Output `index` of the node is this value, whose place in the file is given ... */
lego_status lg_onnx_finish_placed(lg_onnx_node *node, int index, int32_t value, const lg_place *place);
/* ... or as in the graph, the batch first. */
lego_status lg_onnx_finish(lg_onnx_node *node, int index, int32_t value);
/* Output `index` is a constant; takes the tensor over. */
void lg_onnx_finish_constant(lg_onnx_node *node, int index, lego_tensor *tensor);

#endif
