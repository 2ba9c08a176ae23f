/* Writers of ops that move elements: reshape and its kin, transpose, concat, split, slice; and dropout, which does nothing
 * outside training. */
#include "export/onnx.h"

#include <string.h>

#include "base/alloc.h"
#include "graph/ops/common.h"

static lego_status write_identity(lg_export *file, const lg_node *node)
{
    const char *x;
    lego_status status = lg_export_input(&x, file, node, 0);

    return status == LEGO_OK ? lg_export_step(NULL, &x, file, node, NULL, "Identity") : status;
}

/* The 0 in front is the batch, as the input has it. */
static lego_status write_reshape(lg_export *file, const lg_node *node)
{
    const lg_shape *out = &lg_op_output(file->graph, node, 0)->shape;
    int64_t shape[LEGO_MAX_DIMS] = { 0 };
    const char *inputs[2];
    lego_status status = LEGO_OK;

    memcpy(shape + 1, out->dims + 1, (size_t)(out->n_dims - 1) * sizeof(*shape));
    LG_TRY(lg_export_input(&inputs[0], file, node, 0));
    LG_TRY(lg_export_int_list(&inputs[1], file, node, "shape", out->n_dims, shape));
    LG_TRY(lg_export_node(NULL, NULL, file, node, NULL, "Reshape", 2, inputs));
done:
    return status;
}

/* ONNX's Flatten always makes a matrix. */
static lego_status write_flatten(lg_export *file, const lg_node *node)
{
    Onnx__NodeProto *proto;
    const char *x;
    lego_status status = LEGO_OK;

    if (node->attrs->flatten.axis != 1)
        return write_reshape(file, node);
    LG_TRY(lg_export_input(&x, file, node, 0));
    LG_TRY(lg_export_step(&proto, &x, file, node, NULL, "Flatten"));
    LG_TRY(lg_export_int(proto, "axis", 1));
done:
    return status;
}

static lego_status write_permute(lg_export *file, const lg_node *node)
{
    const lg_dims *order = &node->attrs->permute.order;
    int64_t all[LEGO_MAX_DIMS] = { 0 }; /* the batch stays in front */
    Onnx__NodeProto *proto;
    const char *x;
    lego_status status = LEGO_OK;

    memcpy(all + 1, order->dims, (size_t)order->n * sizeof(*all));
    LG_TRY(lg_export_input(&x, file, node, 0));
    LG_TRY(lg_export_step(&proto, &x, file, node, NULL, "Transpose"));
    LG_TRY(lg_export_ints(proto, "perm", (int)order->n + 1, all));
done:
    return status;
}

static lego_status write_concat(lg_export *file, const lg_node *node)
{
    Onnx__NodeProto *proto;
    const char **inputs = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&inputs, node->n_inputs));
    for (int i = 0; i < node->n_inputs; i++)
        LG_TRY(lg_export_input(&inputs[i], file, node, i));
    LG_TRY(lg_export_node(&proto, NULL, file, node, NULL, "Concat", node->n_inputs, inputs));
    LG_TRY(lg_export_int(proto, "axis", node->attrs->axis.axis));
done:
    lg_free(inputs);
    return status;
}

static lego_status write_split(lg_export *file, const lg_node *node)
{
    const lg_dims *sizes = &node->attrs->split.sizes;
    Onnx__NodeProto *proto;
    const char *inputs[2];
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_input(&inputs[0], file, node, 0));
    LG_TRY(lg_export_int_list(&inputs[1], file, node, "sizes", sizes->n, sizes->dims));
    LG_TRY(lg_export_node(&proto, NULL, file, node, NULL, "Split", 2, inputs));
    LG_TRY(lg_export_int(proto, "axis", node->attrs->split.axis));
done:
    return status;
}

static lego_status write_slice(lg_export *file, const lg_node *node)
{
    const int64_t step = node->attrs->slice.step;
    const int64_t end = node->attrs->slice.end < 0 ? -INT32_MAX : node->attrs->slice.end; /* -1 is the last element */
    const char *inputs[5];
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_input(&inputs[0], file, node, 0));
    LG_TRY(lg_export_int_list(&inputs[1], file, node, "start", 1, &node->attrs->slice.start));
    LG_TRY(lg_export_int_list(&inputs[2], file, node, "end", 1, &end));
    LG_TRY(lg_export_int_list(&inputs[3], file, node, "axis", 1, &node->attrs->slice.axis));
    if (step != 1)
        LG_TRY(lg_export_int_list(&inputs[4], file, node, "step", 1, &step));
    LG_TRY(lg_export_node(NULL, NULL, file, node, NULL, "Slice", step == 1 ? 4 : 5, inputs));
done:
    return status;
}

const lg_export_writer lg_export_shape_ops[LG_OP_N_KINDS] = {
    [LG_OP_CONCAT] = write_concat,
    [LG_OP_DROPOUT] = write_identity,
    [LG_OP_FLATTEN] = write_flatten,
    [LG_OP_PERMUTE] = write_permute,
    [LG_OP_RESHAPE] = write_reshape,
    [LG_OP_SLICE] = write_slice,
    [LG_OP_SPLIT] = write_split,
};
