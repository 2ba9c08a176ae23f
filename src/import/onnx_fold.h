/* Constant folding: what its two files share. */
#ifndef LG_IMPORT_ONNX_FOLD_H
#define LG_IMPORT_ONNX_FOLD_H

#include "import/onnx.h"

/* A new constant of this shape, within the budget. */
lego_status lg_fold_create(lego_tensor *out, const lg_onnx_node *node, lego_dtype dtype, const lg_shape *shape);
/* Input `index` of a node whose inputs are all constants. */
lego_status lg_fold_input(const lego_tensor **out, const lg_onnx_node *node, int index);
/* Set an element: `number` of a floating-point tensor, `integer` of any other. */
void lg_fold_set(lego_tensor *tensor, int64_t index, double number, int64_t integer);
lego_status lg_fold_refuse_batch(const lego_tensor *tensor);

/* --- onnx_fold_math.c --- */
lego_status lg_fold_binary(lego_tensor *out, lg_onnx_node *node); /* Add, Sub, Mul, Div */
lego_status lg_fold_equal(lego_tensor *out, lg_onnx_node *node);
lego_status lg_fold_round(lego_tensor *out, lg_onnx_node *node); /* Ceil, Floor */
lego_status lg_fold_where(lego_tensor *out, lg_onnx_node *node);

#endif
