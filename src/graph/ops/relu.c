/* relu: y = max(x, 0), any shape. */
#include "graph/ops/common.h"

static const lg_field fields[] = { { NULL, LG_FIELD_INT, 0, 0 } };

const lg_op lg_op_relu = {
    .name = "relu",
    .kind = LG_OP_RELU,
    .min_inputs = 1,
    .max_inputs = 1,
    .fields = fields,
    .validate = lg_op_unary_validate,
    .infer_shape = lg_op_unary_infer,
    .flops = lg_op_unary_flops,
    .channels = lg_op_unary_channels,
};
