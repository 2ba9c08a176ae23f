/* Writers of ops that calculate: normalisation, element-wise sums and products, matrix products, means. */
#include "export/onnx.h"

#include "graph/ops/common.h"
#include "import/onnx_names.h"

/* --- normalisation --- */

static lego_status write_batch_norm(lg_export *file, const lg_node *node)
{
    const lg_shape channels = { 1, { lg_op_input(file->graph, node, 0)->shape.dims[1] } };
    Onnx__NodeProto *proto;
    const char *inputs[5];
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_input(&inputs[0], file, node, 0));
    for (int slot = 0; slot < 4; slot++)
        LG_TRY(lg_export_slot(&inputs[1 + slot], file, node, slot, &channels, slot == 0 ? 1.0 : 0.0));
    LG_TRY(lg_export_node(&proto, NULL, file, node, NULL, "BatchNormalization", 5, inputs));
    LG_TRY(lg_export_float(proto, "epsilon", node->attrs->batch_norm.eps));
    LG_TRY(lg_export_float(proto, "momentum", 1.0 - node->attrs->batch_norm.momentum));
done:
    return status;
}

static lego_status write_layer_norm(lg_export *file, const lg_node *node)
{
    const lg_shape *in = &lg_op_input(file->graph, node, 0)->shape;
    const int axis = (int)node->attrs->layer_norm.axis;
    const lg_shape shape = lg_shape_make(in->n_dims - axis, in->dims + axis);
    const int has_bias = node->weights[1] != LG_NONE;
    Onnx__NodeProto *proto;
    const char *inputs[3];
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_input(&inputs[0], file, node, 0));
    LG_TRY(lg_export_slot(&inputs[1], file, node, 0, &shape, 1.0));
    if (has_bias)
        LG_TRY(lg_export_slot(&inputs[2], file, node, 1, &shape, 0.0));
    LG_TRY(lg_export_node(&proto, NULL, file, node, NULL, "LayerNormalization", 2 + has_bias, inputs));
    LG_TRY(lg_export_int(proto, "axis", axis));
    LG_TRY(lg_export_float(proto, "epsilon", node->attrs->layer_norm.eps));
done:
    return status;
}

static lego_status write_instance_norm(const char **value, lg_export *file, const lg_node *node, const char *what,
                                       const char *scale, const char *bias)
{
    const char *inputs[3] = { *value, scale, bias };
    Onnx__NodeProto *proto;
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_node(&proto, value, file, node, what, "InstanceNormalization", 3, inputs));
    LG_TRY(lg_export_float(proto, "epsilon", node->attrs->group_norm.eps));
done:
    return status;
}

/* To (N,dims...): a 0 is the batch, as the input has it. */
static lego_status reshaped(const char **value, lg_export *file, const lg_node *node, const char *what, int n,
                            const int64_t *dims)
{
    int64_t list[LEGO_MAX_DIMS] = { 0 };
    const char *inputs[2] = { *value };
    lego_status status = LEGO_OK;

    for (int i = 0; i < n; i++)
        list[1 + i] = dims[i];
    LG_TRY(lg_export_int_list(&inputs[1], file, node, "shape", 1 + n, list));
    LG_TRY(lg_export_node(NULL, value, file, node, what, "Reshape", 2, inputs));
done:
    return status;
}

/* ONNX's own op came with opset 18 and was defined anew in 21. A group is normalised as one channel of instance norm. */
static lego_status write_group_norm(lg_export *file, const lg_node *node)
{
    const lg_shape *in = &lg_op_input(file->graph, node, 0)->shape;
    const int64_t groups = node->attrs->group_norm.groups;
    const int is_instance = groups == in->dims[1], has_weight = node->weights[0] != LG_NONE,
              has_bias = node->weights[1] != LG_NONE;
    const lg_shape of_groups = { 1, { groups } }, scale = lg_export_by_channel(in, in->dims[1]);
    const char *x, *weight, *bias;
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_input(&x, file, node, 0));
    if (is_instance) {
        LG_TRY(lg_export_slot(&weight, file, node, 0, &of_groups, 1.0));
        LG_TRY(lg_export_slot(&bias, file, node, 1, &of_groups, 0.0));
        return write_instance_norm(&x, file, node, NULL, weight, bias);
    }
    LG_TRY(lg_export_filled(&weight, file, node, "ones", &of_groups, 1.0));
    LG_TRY(lg_export_filled(&bias, file, node, "zeros", &of_groups, 0.0));
    LG_TRY(reshaped(&x, file, node, "groups", 2, (const int64_t[]){ groups, lg_value_elements(lg_op_input(file->graph, node, 0)) / groups }));
    LG_TRY(write_instance_norm(&x, file, node, "normalised", weight, bias));
    LG_TRY(reshaped(&x, file, node, has_weight || has_bias ? "channels" : NULL, in->n_dims - 1, in->dims + 1));
    if (has_weight) {
        LG_TRY(lg_export_weight_as(&weight, file, node->weights[0], &scale, 0));
        LG_TRY(lg_export_with_value(&x, file, node, has_bias ? "weighted" : NULL, "Mul", weight));
    }
    if (has_bias) {
        LG_TRY(lg_export_weight_as(&bias, file, node->weights[1], &scale, 0));
        LG_TRY(lg_export_with_value(&x, file, node, NULL, "Add", bias));
    }
done:
    return status;
}

/* --- element by element --- */

/* A constant broadcasts over the batch by itself, unless there is no batch on the other side either. */
static lego_status write_binary(lg_export *file, const lg_node *node)
{
    const int constant[2] = { lg_export_is_constant(file, node->inputs[0]),
                              lg_export_is_constant(file, node->inputs[1]) };
    const char *inputs[2];
    lego_status status = LEGO_OK;

    for (int i = 0; i < 2; i++)
        LG_TRY(constant[i] && !(constant[0] && constant[1])
                   ? lg_export_constant(&inputs[i], file, node->inputs[i])
                   : lg_export_input(&inputs[i], file, node, i));
    LG_TRY(lg_export_node(NULL, NULL, file, node, NULL, lg_onnx_name_of(node->op->kind)->type, 2, inputs));
done:
    return status;
}

/* --- matrix products --- */

static lego_status write_gemm(lg_export *file, const lg_node *node)
{
    const int has_bias = node->weights[1] != LG_NONE;
    Onnx__NodeProto *proto;
    const char *inputs[3];
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_input(&inputs[0], file, node, 0));
    LG_TRY(lg_export_weight_as(&inputs[1], file, node->weights[0], NULL, 0));
    if (has_bias)
        LG_TRY(lg_export_weight_as(&inputs[2], file, node->weights[1], NULL, 0));
    LG_TRY(lg_export_node(&proto, NULL, file, node, NULL, "Gemm", 2 + has_bias, inputs));
    LG_TRY(lg_export_int(proto, "transB", 1));
done:
    return status;
}

/* Gemm takes matrices; over the last of several axes a product and a sum do the same. */
static lego_status write_linear(lg_export *file, const lg_node *node)
{
    const int has_bias = node->weights[1] != LG_NONE;
    const char *x, *weight, *bias;
    lego_status status = LEGO_OK;

    if (lg_op_input(file->graph, node, 0)->shape.n_dims == 2)
        return write_gemm(file, node);
    LG_TRY(lg_export_input(&x, file, node, 0));
    LG_TRY(lg_export_weight_as(&weight, file, node->weights[0], NULL, 1));
    LG_TRY(lg_export_with_value(&x, file, node, has_bias ? "product" : NULL, "MatMul", weight));
    if (has_bias) {
        LG_TRY(lg_export_weight_as(&bias, file, node->weights[1], NULL, 0));
        LG_TRY(lg_export_with_value(&x, file, node, NULL, "Add", bias));
    }
done:
    return status;
}

static lego_status write_matmul(lg_export *file, const lg_node *node)
{
    const char *inputs[2];
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_input(&inputs[0], file, node, 0));
    LG_TRY(lg_export_input(&inputs[1], file, node, 1));
    LG_TRY(lg_export_node(NULL, NULL, file, node, NULL, "MatMul", 2, inputs));
done:
    return status;
}

static lego_status write_mean(lg_export *file, const lg_node *node)
{
    const lg_dims *axes = &node->attrs->mean.axes;
    const int axes_are_input = file->opset >= 18;
    Onnx__NodeProto *proto;
    const char *inputs[2];
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_input(&inputs[0], file, node, 0));
    if (axes_are_input)
        LG_TRY(lg_export_int_list(&inputs[1], file, node, "axes", axes->n, axes->dims));
    LG_TRY(lg_export_node(&proto, NULL, file, node, NULL, "ReduceMean", 1 + axes_are_input, inputs));
    if (!axes_are_input)
        LG_TRY(lg_export_ints(proto, "axes", (int)axes->n, axes->dims));
    LG_TRY(lg_export_int(proto, "keepdims", node->attrs->mean.keep != 0));
done:
    return status;
}

const lg_export_writer lg_export_math_ops[LG_OP_N_KINDS] = {
    [LG_OP_ADD] = write_binary,
    [LG_OP_BATCH_NORM] = write_batch_norm,
    [LG_OP_DIV] = write_binary,
    [LG_OP_GROUP_NORM] = write_group_norm,
    [LG_OP_LAYER_NORM] = write_layer_norm,
    [LG_OP_LINEAR] = write_linear,
    [LG_OP_MAX] = write_binary,
    [LG_OP_MIN] = write_binary,
    [LG_OP_MATMUL] = write_matmul,
    [LG_OP_MEAN] = write_mean,
    [LG_OP_MUL] = write_binary,
    [LG_OP_SUB] = write_binary,
};
