/* Converters of ops that calculate: normalisation, element-wise sums and products, matrix products, means.
 * Broadcasting follows ONNX (shapes aligned at the last axis); since axis 0 of a value is the batch, only constants may
 * have fewer axes than the value they meet. */
#include "import/onnx.h"

#include <float.h>
#include <string.h>

#include "base/alloc.h"
#include "graph/ops/common.h"
#include "import/onnx_names.h"

/* --- normalisation --- */

/* Inputs first ... first + n - 1 as weights of n_dims axes (-1: any number). */
static lego_status read_weights(int32_t *weights, lg_onnx_node *node, int first, int n, int n_dims)
{
    const lego_tensor *tensor;
    lego_status status = LEGO_OK;

    for (int i = 0; i < n; i++) {
        LG_TRY(lg_onnx_weight_tensor(&tensor, node, first + i, n_dims));
        LG_TRY(lg_onnx_weight(&weights[i], node, first + i, NULL));
    }
done:
    return status;
}

/* Up to opset 6 is_test says that the model is not trained, since opset 14 training_mode that it is. */
static lego_status refuse_training(const lg_onnx_node *node)
{
    int64_t training, is_test, spatial;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_int(&training, node, "training_mode", 0));
    LG_TRY(lg_onnx_int(&is_test, node, "is_test", node->import->opset >= 7));
    LG_TRY(lg_onnx_int(&spatial, node, "spatial", 1));
    if (training || !is_test)
        LG_FAIL(LEGO_EUNSUPPORTED, "it is in training mode; export the model in eval mode");
    if (!spatial)
        LG_FAIL(LEGO_EUNSUPPORTED, "statistics of each element (spatial = 0)");
done:
    return status;
}

static lego_status convert_batch_norm(lg_onnx_node *node)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_BATCH_NORM);
    int32_t x, weights[4];
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation(&x, node, 0));
    LG_TRY(refuse_training(node));
    LG_TRY(lg_onnx_float(&attrs.batch_norm.eps, node, "epsilon", (double)1e-5f));
    LG_TRY(read_weights(weights, node, 1, 4, 1));
    LG_TRY(lg_onnx_give(node, LG_OP_BATCH_NORM, &attrs, 1, &x, 4, weights));
done:
    return status;
}

/* Group norm with as many groups as channels. */
static lego_status convert_instance_norm(lg_onnx_node *node)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_GROUP_NORM);
    int32_t x, weights[2];
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation(&x, node, 0));
    if (lg_onnx_shape(node, x)->n_dims < 3)
        LG_FAIL(LEGO_EUNSUPPORTED, "a value of %d axes, 3 or more are supported", (int)lg_onnx_shape(node, x)->n_dims);
    LG_TRY(lg_onnx_float(&attrs.group_norm.eps, node, "epsilon", (double)1e-5f));
    attrs.group_norm.groups = lg_onnx_shape(node, x)->dims[1];
    LG_TRY(read_weights(weights, node, 1, 2, 1));
    LG_TRY(lg_onnx_give(node, LG_OP_GROUP_NORM, &attrs, 1, &x, 2, weights));
done:
    return status;
}

/* A constant of (C,1,...) or (C) as a weight of (C), or of one number a group repeated for its channels; LG_NONE where it is
 * left out. */
static lego_status read_by_channel(int32_t *weight, lg_onnx_node *node, int index, int64_t n, int64_t groups)
{
    const lego_tensor *tensor;
    lego_tensor stored = { 0 };
    int64_t count;
    lego_status status = LEGO_OK;

    *weight = LG_NONE;
    if (!lg_onnx_input(node, index))
        return LEGO_OK;
    LG_TRY(lg_onnx_weight_tensor(&tensor, node, index, -1));
    count = lg_tensor_count(tensor);
    if (count != n && count != groups)
        LG_FAIL(LEGO_EUNSUPPORTED, "%lld weights for %lld channels in %lld groups", (long long)count, (long long)n,
                (long long)groups);
    LG_TRY(lg_tensor_init(&stored, LEGO_DTYPE_F32, &(lg_shape){ 1, { n } }));
    for (int64_t i = 0; i < n; i++)
        ((float *)lg_tensor_data(&stored))[i] = ((const float *)lg_tensor_data(tensor))[count == n ? i : i / (n / groups)];
    LG_TRY(lg_onnx_weight(weight, node, index, &stored));
done:
    lg_tensor_dispose(&stored);
    return status;
}

/* Opset 18 has a weight for each group, opset 21 for each channel; onnx_pattern.c writes the latter, with a shape. */
static lego_status convert_group_norm(lg_onnx_node *node)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_GROUP_NORM);
    int32_t x, weights[2], y;
    lg_dims wanted;
    int64_t n;
    int same = 1;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation(&x, node, 0));
    n = lg_onnx_shape(node, x)->n_dims < 3 ? 0 : lg_onnx_shape(node, x)->dims[1];
    LG_TRY(lg_onnx_float(&attrs.group_norm.eps, node, "epsilon", (double)1e-5f));
    LG_TRY(lg_onnx_int(&attrs.group_norm.groups, node, "num_groups", 0));
    if (n == 0 || attrs.group_norm.groups < 1 || n % attrs.group_norm.groups != 0)
        LG_FAIL(LEGO_EUNSUPPORTED, "%lld groups of a value of %d axes with %lld channels",
                (long long)attrs.group_norm.groups, (int)lg_onnx_shape(node, x)->n_dims, (long long)n);
    for (int i = 0; i < 2; i++)
        LG_TRY(read_by_channel(&weights[i], node, 1 + i, n, attrs.group_norm.groups));
    LG_TRY(lg_onnx_ints(&wanted, node, "shape"));
    for (int64_t i = 1; i < wanted.n; i++)
        same &= wanted.n == lg_onnx_shape(node, x)->n_dims && wanted.dims[i] == lg_onnx_shape(node, x)->dims[i];
    if (same) {
        LG_TRY(lg_onnx_give(node, LG_OP_GROUP_NORM, &attrs, 1, &x, 2, weights));
        goto done;
    }
    LG_TRY(lg_onnx_emit_full(&y, node, LG_OP_GROUP_NORM, &attrs, 1, &x, 2, weights));
    memmove(wanted.dims, wanted.dims + 1, (size_t)--wanted.n * sizeof(*wanted.dims));
    LG_TRY(lg_onnx_emit_reshape(&y, node, y, &wanted));
    LG_TRY(lg_onnx_finish(node, 0, y));
done:
    return status;
}

static lego_status convert_layer_norm(lg_onnx_node *node)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_LAYER_NORM);
    int64_t axis;
    lg_place place;
    int32_t x, y, weights[2] = { LG_NONE, LG_NONE };
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_placed(&x, &place, node, 0));
    LG_TRY(lg_onnx_int(&axis, node, "axis", -1));
    LG_TRY(lg_onnx_axis(&axis, node, place.shape.n_dims));
    LG_TRY(lg_onnx_float(&attrs.layer_norm.eps, node, "epsilon", (double)1e-5f));
    if (place.dim >= axis)
        LG_FAIL(LEGO_EUNSUPPORTED, "a normalisation over the batch");
    attrs.layer_norm.axis = lg_place_axis(&place, (int)axis);
    LG_TRY(read_weights(weights, node, 1, lg_onnx_input(node, 2) ? 2 : 1, -1));
    LG_TRY(lg_onnx_emit_full(&y, node, LG_OP_LAYER_NORM, &attrs, 1, &x, 2, weights));
    LG_TRY(lg_onnx_finish_placed(node, 0, y, &place));
done:
    return status;
}

/* --- element by element --- */

static int axes_of(const lg_onnx_node *node, int index)
{
    const lg_onnx_value *value = lg_onnx_input(node, index);

    return value && !value->is_constant ? value->place.shape.n_dims : 0;
}

/* The result of `kind` on two values whose shapes broadcast. */
static lego_status emit_binary(int32_t *out, lg_onnx_node *node, lg_op_kind kind, int32_t a, int32_t b)
{
    const int32_t inputs[2] = { a, b };

    return lg_onnx_emit_full(out, node, kind, NULL, 2, inputs, 0, NULL);
}

/* x times a number. */
lego_status lg_onnx_emit_scaled(int32_t *out, lg_onnx_node *node, int32_t x, double factor)
{
    lg_shape shape = *lg_onnx_shape(node, x);
    lego_tensor number = { 0 };
    char *name = lg_asprintf("%s.factor", node->name);
    int32_t weight, constant;
    lego_status status = LEGO_OK;

    if (!name)
        LG_FAIL(LEGO_ENOMEM, "out of memory naming a factor of '%s'", node->name);
    shape.n_dims--;
    for (int i = 0; i < shape.n_dims; i++)
        shape.dims[i] = 1;
    LG_TRY(lg_tensor_init(&number, LEGO_DTYPE_F32, &shape));
    *(float *)lg_tensor_data(&number) = (float)factor;
    LG_TRY(lg_graph_add_weight(&weight, node->import->graph, name, &number));
    LG_TRY(lg_onnx_emit_constant(&constant, node, weight));
    LG_TRY(emit_binary(out, node, LG_OP_MUL, x, constant));
done:
    lg_tensor_dispose(&number);
    lg_free(name);
    return status;
}

static lego_status convert_neg(lg_onnx_node *node)
{
    lg_place place;
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_placed(&x, &place, node, 0));
    LG_TRY(lg_onnx_emit_scaled(&y, node, x, -1.0));
    LG_TRY(lg_onnx_finish_placed(node, 0, y, &place));
done:
    return status;
}

/* Up to opset 6 shapes broadcast only where the file says so, and may be aligned at an axis instead of the last. */
static lego_status check_old_broadcast(const lg_onnx_node *node)
{
    int64_t axis;
    const lg_onnx_value *b = lg_onnx_input(node, 1);
    int b_dims;
    lego_status status = LEGO_OK;

    if (node->import->opset >= 7 || !lg_onnx_attribute(node, "axis") || !b)
        goto done;
    LG_TRY(lg_onnx_int(&axis, node, "axis", -1));
    b_dims = b->is_constant ? b->constant.shape.n_dims : axes_of(node, 1);
    if (axis != -1 && axis != axes_of(node, 0) - b_dims)
        LG_FAIL(LEGO_EUNSUPPORTED, "shapes are aligned at axis %lld (opset 6); convert the file to opset 7 or later",
                (long long)axis);
done:
    return status;
}

static lego_status convert_binary(lg_onnx_node *node)
{
    lg_place place;
    int32_t inputs[2], y;
    lego_status status = LEGO_OK;

    if (lg_onnx_n_inputs(node) != 2)
        return lg_onnx_malformed(node, "%d inputs, 2 are needed", lg_onnx_n_inputs(node));
    LG_TRY(check_old_broadcast(node));
    LG_TRY(lg_onnx_meeting(&place, node));
    for (int i = 0; i < 2; i++)
        LG_TRY(lg_onnx_operand_at(&inputs[i], node, i, &place));
    LG_TRY(emit_binary(&y, node, lg_onnx_name_find(node->proto->op_type)->kind, inputs[0], inputs[1]));
    LG_TRY(lg_onnx_finish_placed(node, 0, y, &place));
done:
    return status;
}

/* Sum and Mean of any number of values. */
static lego_status convert_sum(lg_onnx_node *node)
{
    const int n = lg_onnx_n_inputs(node);
    lg_place place;
    int32_t sum, next;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_meeting(&place, node));
    LG_TRY(lg_onnx_operand_at(&sum, node, 0, &place));
    for (int i = 1; i < n; i++) {
        LG_TRY(lg_onnx_operand_at(&next, node, i, &place));
        LG_TRY(emit_binary(&sum, node, LG_OP_ADD, sum, next));
    }
    if (strcmp(node->proto->op_type, "Mean") == 0 && n > 1)
        LG_TRY(lg_onnx_emit_scaled(&sum, node, sum, 1.0 / n));
    LG_TRY(lg_onnx_finish_placed(node, 0, sum, &place));
done:
    return status;
}

/* Max and Min of any number of values; with a number: clipped on one side. */
static lego_status convert_extreme(lg_onnx_node *node)
{
    const lg_op_kind kind = lg_onnx_name_find(node->proto->op_type)->kind;
    const int n = lg_onnx_n_inputs(node);
    const lego_tensor *number;
    lg_place place;
    int32_t best, next;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_meeting(&place, node));
    for (int i = 0; i < 2 && n == 2; i++) {
        const lg_onnx_value *other = lg_onnx_input(node, i);
        lg_attrs attrs = { .clip = { -(double)FLT_MAX, (double)FLT_MAX } };

        if (!other || !other->is_constant || lg_tensor_count(&other->constant) != 1)
            continue;
        LG_TRY(lg_onnx_operand_at(&best, node, !i, &place));
        LG_TRY(lg_onnx_weight_tensor(&number, node, i, -1));
        *(kind == LG_OP_MAX ? &attrs.clip.min : &attrs.clip.max) = lg_onnx_element(number, 0);
        LG_TRY(lg_onnx_emit(&best, node, LG_OP_CLIP, &attrs, best));
        return lg_onnx_finish_placed(node, 0, best, &place);
    }
    LG_TRY(lg_onnx_operand_at(&best, node, 0, &place));
    for (int i = 1; i < n; i++) {
        LG_TRY(lg_onnx_operand_at(&next, node, i, &place));
        LG_TRY(emit_binary(&best, node, kind, best, next));
    }
    LG_TRY(lg_onnx_finish_placed(node, 0, best, &place));
done:
    return status;
}

/* --- means and sums over axes --- */

/* Binary ops are found by name in onnx_names.c as well. */
const lg_onnx_op lg_onnx_math_ops[] = {
    { "Add", convert_binary },
    { "BatchNormalization", convert_batch_norm },
    { "Div", convert_binary },
    { "GroupNormalization", convert_group_norm },
    { "InstanceNormalization", convert_instance_norm },
    { "LayerNormalization", convert_layer_norm },
    { "Max", convert_extreme },
    { "Mean", convert_sum },
    { "Min", convert_extreme },
    { "Mul", convert_binary },
    { "Neg", convert_neg },
    { "Sub", convert_binary },
    { "Sum", convert_sum },
    { NULL, NULL },
};
