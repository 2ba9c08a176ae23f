/* Constant folding: what its files share. */
#ifndef LG_IMPORT_ONNX_FOLD_H
#define LG_IMPORT_ONNX_FOLD_H

#include "import/onnx.h"

typedef struct lg_fold_op {
    const char *type;
    lego_status (*fold)(lego_tensor *out, lg_onnx_node *node); /* output 0; others are finished on the way */
} lg_fold_op;
extern const lg_fold_op lg_fold_math_ops[], lg_fold_move_ops[]; /* end with a NULL type */

/* A new constant of this shape, zeros, within the budget. */
lego_status lg_fold_create(lego_tensor *out, const lg_onnx_node *node, lego_dtype dtype, const lg_shape *shape);
/* Input `index` of a node whose inputs are all constants. */
lego_status lg_fold_input(const lego_tensor **out, const lg_onnx_node *node, int index);
/* Set an element: `number` of a floating-point tensor, `integer` of any other. */
void lg_fold_set(lego_tensor *tensor, int64_t index, double number, int64_t integer);
int lg_fold_has_batch(const lego_tensor *tensor);
lego_status lg_fold_refuse_batch(const lego_tensor *tensor);
/* Element `from` of `in` becomes element `to` of `out`. */
void lg_fold_copy(lego_tensor *out, int64_t to, const lego_tensor *in, int64_t from);
/* Elements before and behind an axis. */
void lg_fold_strides(int64_t *outer, int64_t *inner, const lg_shape *shape, int axis);
/* The attribute `value` of ConstantOfShape; 0 in FLOAT if there is none. */
lego_status lg_fold_element(lego_tensor *out, const lg_onnx_node *node);

/* --- onnx_fold_move.c --- */
/* The elements repeated to `shape`, which they broadcast to. */
lego_status lg_fold_expand(lego_tensor *out, const lg_onnx_node *node, const lego_tensor *in, const lg_shape *shape);

#endif
