/* Converters of ops that calculate: activations, normalisation, element-wise sums and products, matrix products, means.
 * Broadcasting follows ONNX (shapes aligned at the last axis); since axis 0 of a value is the batch, only constants may
 * have fewer axes than the value they meet. */
#include "import/onnx.h"

#include <float.h>
#include <string.h>

#include "base/alloc.h"
#include "graph/ops/common.h"
#include "import/onnx_names.h"

/* --- activations --- */

/* Bounds are attributes up to opset 10, inputs since. Infinite bounds are none. */
static lego_status read_clip(lg_attrs *attrs, const lg_onnx_node *node)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_number(&attrs->clip.min, node, "min", 1, 11, -(double)FLT_MAX));
    LG_TRY(lg_onnx_number(&attrs->clip.max, node, "max", 2, 11, (double)FLT_MAX));
    if (attrs->clip.min < -(double)FLT_MAX)
        attrs->clip.min = -(double)FLT_MAX;
    if (attrs->clip.max > (double)FLT_MAX)
        attrs->clip.max = (double)FLT_MAX;
done:
    return status;
}

/* Parameters in ONNX's defaults, which are rounded to float. */
static lego_status read_activation(lg_attrs *attrs, const lg_onnx_node *node, lg_op_kind kind)
{
    ProtobufCBinaryData approximate;
    lego_status status = LEGO_OK;

    switch (kind) {
    case LG_OP_CLIP:
        return read_clip(attrs, node);
    case LG_OP_LEAKY_RELU:
        return lg_onnx_float(&attrs->leaky_relu.slope, node, "alpha", (double)0.01f);
    case LG_OP_HARD_SIGMOID:
        LG_TRY(lg_onnx_float(&attrs->hard_sigmoid.alpha, node, "alpha", (double)0.2f));
        return lg_onnx_float(&attrs->hard_sigmoid.beta, node, "beta", 0.5);
    case LG_OP_GELU:
        LG_TRY(lg_onnx_text(&approximate, node, "approximate", "none"));
        attrs->gelu.tanh = lg_onnx_text_is(&approximate, "tanh");
        break;
    default:
        break;
    }
done:
    return status;
}

static lego_status convert_activation(lg_onnx_node *node)
{
    const lg_op_kind kind = lg_onnx_name_find(node->proto->op_type)->kind;
    lg_attrs attrs = lg_onnx_defaults(kind);
    int32_t x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation(&x, node, 0));
    LG_TRY(read_activation(&attrs, node, kind));
    LG_TRY(lg_onnx_give(node, kind, &attrs, 1, &x, 0, NULL));
done:
    return status;
}

/* The slope broadcasts to x (N,C,...): one for all, or (C,1,...), up to opset 6 (C). */
static lego_status convert_prelu(lg_onnx_node *node)
{
    const lego_tensor *slope;
    lego_tensor flat = { 0 };
    const lg_shape *in;
    int64_t n, channels = 1;
    int lead, axis;
    int32_t x, weight;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation(&x, node, 0));
    LG_TRY(lg_onnx_weight_tensor(&slope, node, 1, -1));
    in = lg_onnx_shape(node, x);
    n = lg_tensor_count(slope);
    lead = in->n_dims - slope->shape.n_dims; /* axes that the slope lacks in front */
    axis = node->import->opset < 7 ? 0 : 1 - lead; /* where the slope has the channels */
    if (lead >= 0 && axis >= 0 && axis < slope->shape.n_dims)
        channels = slope->shape.dims[axis];
    if (n != 1 && (n != channels || in->n_dims < 2))
        LG_FAIL(LEGO_EUNSUPPORTED, "slopes '%s' that are not one for each channel", node->proto->input[1]);
    lg_tensor_share(&flat, slope);
    flat.shape = (lg_shape){ 1, { n } };
    LG_TRY(lg_onnx_weight(&weight, node, 1, &flat));
    LG_TRY(lg_onnx_give(node, LG_OP_PRELU, NULL, 1, &x, 1, &weight));
done:
    lg_tensor_dispose(&flat);
    return status;
}

/* Up to opset 12 over all axes from `axis` on (default 1), since over `axis` alone (default the last). */
static lego_status convert_softmax(lg_onnx_node *node)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_SOFTMAX), flat = lg_onnx_defaults(LG_OP_FLATTEN);
    lg_shape in;
    int64_t axis, behind = 1;
    const int old = node->import->opset < 13;
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation(&x, node, 0));
    in = *lg_onnx_shape(node, x);
    LG_TRY(lg_onnx_int(&axis, node, "axis", old ? 1 : -1));
    LG_TRY(lg_onnx_axis(&axis, node, in.n_dims));
    if (axis == 0)
        LG_FAIL(LEGO_EUNSUPPORTED, "a softmax over the batch");
    for (int i = (int)axis + 1; i < in.n_dims; i++)
        behind = lg_mul_sat(behind, in.dims[i]);
    attrs.axis.axis = axis;
    flat.flatten.axis = axis;
    if (old && behind > 1)
        LG_TRY(lg_onnx_emit(&x, node, LG_OP_FLATTEN, &flat, x));
    LG_TRY(lg_onnx_emit(&y, node, LG_OP_SOFTMAX, &attrs, x));
    if (old && behind > 1) {
        lg_dims shape = { in.n_dims - 1, { 0 } };

        memcpy(shape.dims, in.dims + 1, (size_t)shape.n * sizeof(*shape.dims));
        LG_TRY(lg_onnx_emit_reshape(&y, node, y, &shape));
    }
    LG_TRY(lg_onnx_finish(node, 0, y));
done:
    return status;
}

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
    int32_t x, weights[2] = { LG_NONE, LG_NONE };
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation(&x, node, 0));
    LG_TRY(lg_onnx_int(&attrs.layer_norm.axis, node, "axis", -1));
    LG_TRY(lg_onnx_axis(&attrs.layer_norm.axis, node, lg_onnx_shape(node, x)->n_dims));
    LG_TRY(lg_onnx_float(&attrs.layer_norm.eps, node, "epsilon", (double)1e-5f));
    if (attrs.layer_norm.axis == 0)
        LG_FAIL(LEGO_EUNSUPPORTED, "a normalisation over the batch");
    LG_TRY(read_weights(weights, node, 1, lg_onnx_input(node, 2) ? 2 : 1, -1));
    LG_TRY(lg_onnx_give(node, LG_OP_LAYER_NORM, &attrs, 1, &x, 2, weights));
done:
    return status;
}

/* --- element by element --- */

static int axes_of(const lg_onnx_node *node, int index)
{
    const lg_onnx_value *value = lg_onnx_input(node, index);

    return value && !value->is_constant ? lg_onnx_shape(node, value->value)->n_dims : 0;
}

static int most_axes(const lg_onnx_node *node)
{
    int n_dims = 0;

    for (int i = 0; i < lg_onnx_n_inputs(node); i++)
        n_dims = axes_of(node, i) > n_dims ? axes_of(node, i) : n_dims;
    return n_dims;
}

/* The result of `kind` on two values whose shapes broadcast. */
static lego_status emit_binary(int32_t *out, lg_onnx_node *node, lg_op_kind kind, int32_t a, int32_t b)
{
    const int32_t inputs[2] = { a, b };

    return lg_onnx_emit_full(out, node, kind, NULL, 2, inputs, 0, NULL);
}

/* x times a number. */
static lego_status emit_scaled(int32_t *out, lg_onnx_node *node, int32_t x, double factor)
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
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation(&x, node, 0));
    LG_TRY(emit_scaled(&y, node, x, -1.0));
    LG_TRY(lg_onnx_finish(node, 0, y));
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
    int32_t inputs[2];
    lego_status status = LEGO_OK;

    if (lg_onnx_n_inputs(node) != 2)
        return lg_onnx_malformed(node, "%d inputs, 2 are needed", lg_onnx_n_inputs(node));
    LG_TRY(check_old_broadcast(node));
    for (int i = 0; i < 2; i++)
        LG_TRY(lg_onnx_operand(&inputs[i], node, i, most_axes(node)));
    LG_TRY(lg_onnx_give(node, lg_onnx_name_find(node->proto->op_type)->kind, NULL, 2, inputs, 0, NULL));
done:
    return status;
}

/* Sum and Mean of any number of values. */
static lego_status convert_sum(lg_onnx_node *node)
{
    const int n = lg_onnx_n_inputs(node);
    int32_t sum, next;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_operand(&sum, node, 0, most_axes(node)));
    for (int i = 1; i < n; i++) {
        LG_TRY(lg_onnx_operand(&next, node, i, most_axes(node)));
        LG_TRY(emit_binary(&sum, node, LG_OP_ADD, sum, next));
    }
    if (strcmp(node->proto->op_type, "Mean") == 0 && n > 1)
        LG_TRY(emit_scaled(&sum, node, sum, 1.0 / n));
    LG_TRY(lg_onnx_finish(node, 0, sum));
done:
    return status;
}

/* --- matrix products --- */

/* (R,C) -> (C,R), each element times `factor`. */
static lego_status transpose(lego_tensor *out, const lego_tensor *in, double factor)
{
    const int64_t rows = in->shape.dims[0], columns = in->shape.dims[1];
    const lg_shape shape = { 2, { columns, rows } };
    const float *from = lg_tensor_data(in);
    float *to;
    lego_status status = LEGO_OK;

    LG_TRY(lg_tensor_init(out, LEGO_DTYPE_F32, &shape));
    to = lg_tensor_data(out);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            to[c * rows + r] = (float)(factor * (double)from[r * columns + c]);
done:
    return status;
}

static lego_status scaled(lego_tensor *out, const lego_tensor *in, double factor)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_tensor_copy(out, in));
    for (int64_t i = 0; i < lg_tensor_count(out); i++)
        ((float *)lg_tensor_data(out))[i] = (float)(factor * (double)((float *)lg_tensor_data(out))[i]);
done:
    return status;
}

/* C of Gemm: a number, or one for each output, times beta. */
static lego_status gemm_bias(int32_t *weight, lg_onnx_node *node, int64_t n_out, double beta)
{
    const lego_tensor *c;
    const lg_shape shape = { 1, { n_out } };
    lego_tensor bias = { 0 };
    int64_t n;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_weight_tensor(&c, node, 2, -1));
    n = lg_tensor_count(c);
    if ((n != 1 && n != n_out) || c->shape.n_dims > 2 || (n == n_out && n != 1 && c->shape.dims[c->shape.n_dims - 1] != n))
        LG_FAIL(LEGO_EUNSUPPORTED, "C '%s' differs between the samples of the batch", node->proto->input[2]);
    if (beta == 1.0 && c->shape.n_dims == 1 && n == n_out) {
        LG_TRY(lg_onnx_weight(weight, node, 2, NULL));
        goto done;
    }
    LG_TRY(lg_tensor_init(&bias, LEGO_DTYPE_F32, &shape));
    for (int64_t i = 0; i < n_out; i++)
        ((float *)lg_tensor_data(&bias))[i] = (float)(beta * lg_onnx_element(c, n == 1 ? 0 : i));
    LG_TRY(lg_onnx_weight(weight, node, 2, &bias));
done:
    lg_tensor_dispose(&bias);
    return status;
}

static lego_status convert_gemm(lg_onnx_node *node)
{
    const lego_tensor *b;
    lego_tensor weight = { 0 };
    double alpha, beta;
    int64_t trans_a, trans_b;
    int32_t x, weights[2] = { LG_NONE, LG_NONE };
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation_of(&x, node, 0, 2));
    LG_TRY(lg_onnx_weight_tensor(&b, node, 1, 2));
    LG_TRY(lg_onnx_float(&alpha, node, "alpha", 1.0));
    LG_TRY(lg_onnx_float(&beta, node, "beta", 1.0));
    LG_TRY(lg_onnx_int(&trans_a, node, "transA", 0));
    LG_TRY(lg_onnx_int(&trans_b, node, "transB", 0));
    if (trans_a)
        LG_FAIL(LEGO_EUNSUPPORTED, "transA is set: the batch would not be the first axis");
    if (!trans_b)
        LG_TRY(transpose(&weight, b, alpha));
    else if (alpha != 1.0)
        LG_TRY(scaled(&weight, b, alpha));
    LG_TRY(lg_onnx_weight(&weights[0], node, 1, weight.buffer ? &weight : NULL));
    if (lg_onnx_input(node, 2))
        LG_TRY(gemm_bias(&weights[1], node, b->shape.dims[trans_b ? 0 : 1], beta));
    LG_TRY(lg_onnx_give(node, LG_OP_LINEAR, NULL, 1, &x, 2, weights));
done:
    lg_tensor_dispose(&weight);
    return status;
}

/* Times a constant (K,P): a linear layer over the last axis. Times a value: a product of each sample. */
static lego_status convert_matmul(lg_onnx_node *node)
{
    const lg_onnx_value *right = lg_onnx_input(node, 1);
    const lego_tensor *b;
    lego_tensor weight = { 0 };
    int32_t inputs[2], weights[2] = { LG_NONE, LG_NONE };
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation(&inputs[0], node, 0));
    if (right && right->is_constant) {
        LG_TRY(lg_onnx_weight_tensor(&b, node, 1, 2));
        if (lg_onnx_shape(node, inputs[0])->n_dims < 2)
            LG_FAIL(LEGO_EUNSUPPORTED, "the batch would be multiplied");
        LG_TRY(transpose(&weight, b, 1.0));
        LG_TRY(lg_onnx_weight(&weights[0], node, 1, &weight));
        LG_TRY(lg_onnx_give(node, LG_OP_LINEAR, NULL, 1, inputs, 2, weights));
    } else {
        const int n_dims = lg_onnx_shape(node, inputs[0])->n_dims;

        if (n_dims < 3)
            LG_FAIL(LEGO_EUNSUPPORTED, "a product of values of %d axes, 3 or more are supported", n_dims);
        LG_TRY(lg_onnx_activation_of(&inputs[1], node, 1, n_dims));
        LG_TRY(lg_onnx_give(node, LG_OP_MATMUL, NULL, 2, inputs, 0, NULL));
    }
done:
    lg_tensor_dispose(&weight);
    return status;
}

/* --- means and sums over axes --- */

/* ReduceSum is the mean times the number of elements. Axes moved from attribute to input in opset 13 (ReduceSum) and
 * 18 (ReduceMean). */
static lego_status convert_reduce(lg_onnx_node *node)
{
    const int is_sum = strcmp(node->proto->op_type, "ReduceSum") == 0;
    lg_attrs attrs = lg_onnx_defaults(LG_OP_MEAN);
    lg_dims axes;
    int64_t keep, keep_all, n = 1;
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation(&x, node, 0));
    LG_TRY(lg_onnx_list(&axes, node, "axes", 1, is_sum ? 13 : 18));
    LG_TRY(lg_onnx_int(&keep, node, "keepdims", 1));
    LG_TRY(lg_onnx_int(&keep_all, node, "noop_with_empty_axes", 0));
    if (axes.n < 1 && !keep_all)
        LG_FAIL(LEGO_EUNSUPPORTED, "it reduces all axes, with the batch; name the axes");
    y = x;
    if (axes.n > 0) {
        for (int i = 0; i < axes.n; i++) {
            LG_TRY(lg_onnx_axis(&axes.dims[i], node, lg_onnx_shape(node, x)->n_dims));
            if (axes.dims[i] == 0)
                LG_FAIL(LEGO_EUNSUPPORTED, "it reduces the batch");
            n = lg_mul_sat(n, lg_onnx_shape(node, x)->dims[axes.dims[i]]);
        }
        attrs.mean.axes = axes;
        attrs.mean.keep = keep != 0;
        LG_TRY(lg_onnx_emit(&y, node, LG_OP_MEAN, &attrs, x));
        if (is_sum)
            LG_TRY(emit_scaled(&y, node, y, (double)n));
    }
    LG_TRY(lg_onnx_finish(node, 0, y));
done:
    return status;
}

/* Activations and binary ops are found by name in onnx_names.c as well. */
const lg_onnx_op lg_onnx_math_ops[] = {
    { "Add", convert_binary },
    { "BatchNormalization", convert_batch_norm },
    { "Clip", convert_activation },
    { "Div", convert_binary },
    { "Gelu", convert_activation },
    { "Gemm", convert_gemm },
    { "GroupNormalization", convert_group_norm },
    { "HardSigmoid", convert_activation },
    { "HardSwish", convert_activation },
    { "InstanceNormalization", convert_instance_norm },
    { "LayerNormalization", convert_layer_norm },
    { "LeakyRelu", convert_activation },
    { "MatMul", convert_matmul },
    { "Mean", convert_sum },
    { "Mul", convert_binary },
    { "Neg", convert_neg },
    { "PRelu", convert_prelu },
    { "ReduceMean", convert_reduce },
    { "ReduceSum", convert_reduce },
    { "Relu", convert_activation },
    { "Sigmoid", convert_activation },
    { "Softmax", convert_softmax },
    { "Sub", convert_binary },
    { "Sum", convert_sum },
    { "Tanh", convert_activation },
    { NULL, NULL },
};
