/* Converters of functions of one value: activations and other scalar functions, softmax. Most are an op of ours by another
 * name, which onnx_names.c has. */
#include "import/onnx.h"

#include <float.h>
#include <string.h>

#include "graph/ops/common.h"
#include "import/onnx_names.h"

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
    case LG_OP_SHRINK:
        LG_TRY(lg_onnx_float(&attrs->shrink.lambda, node, "lambd", 0.5));
        return lg_onnx_float(&attrs->shrink.bias, node, "bias", 0.0);
    case LG_OP_THRESHOLDED_RELU:
        return lg_onnx_float(&attrs->thresholded_relu.alpha, node, "alpha", 1.0);
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
    lego_status status = LEGO_OK;

    LG_TRY(read_activation(&attrs, node, kind));
    LG_TRY(lg_onnx_give_function(node, kind, &attrs));
done:
    return status;
}

/* Elu; Selu, whose numbers had fewer digits in opset 1; Celu. */
static lego_status convert_elu(lg_onnx_node *node)
{
    const int is_old = node->import->opset < 6;
    lg_attrs attrs = lg_onnx_defaults(LG_OP_ELU);
    lego_status status = LEGO_OK;

    if (node->proto->op_type[0] == 'S') {
        LG_TRY(lg_onnx_float(&attrs.elu.alpha, node, "alpha", is_old ? (double)1.6732f : (double)1.67326319217681884765625f));
        LG_TRY(lg_onnx_float(&attrs.elu.scale, node, "gamma", is_old ? (double)1.0507f : (double)1.05070102214813232421875f));
    } else {
        LG_TRY(lg_onnx_float(&attrs.elu.alpha, node, "alpha", 1.0));
        if (node->proto->op_type[0] == 'C')
            attrs.elu.input_scale = 1.0 / attrs.elu.alpha;
    }
    if (!(attrs.elu.input_scale > 0.0 && attrs.elu.input_scale <= (double)FLT_MAX))
        LG_FAIL(LEGO_EUNSUPPORTED, "an alpha of %g, which must be positive", attrs.elu.alpha);
    LG_TRY(lg_onnx_give_function(node, LG_OP_ELU, &attrs));
done:
    return status;
}

static lego_status convert_softplus(lg_onnx_node *node)
{
    return lg_onnx_give_function(node, LG_OP_SOFTPLUS, NULL);
}

/* To a number, which may be stored as often as it is needed. */
static lego_status convert_pow(lg_onnx_node *node)
{
    const lg_onnx_value *power = lg_onnx_input(node, 1);
    lg_attrs attrs = lg_onnx_defaults(LG_OP_POW);
    lego_status status = LEGO_OK;

    if (!power || !power->is_constant || lg_tensor_count(&power->constant) < 1)
        LG_FAIL(LEGO_EUNSUPPORTED, "an exponent that is computed; a constant number is supported");
    attrs.pow.exponent = lg_onnx_element(&power->constant, 0);
    for (int64_t i = 1; i < lg_tensor_count(&power->constant); i++)
        if (lg_onnx_element(&power->constant, i) != attrs.pow.exponent)
            LG_FAIL(LEGO_EUNSUPPORTED, "exponents '%s' that differ; one number is supported", power->name);
    LG_TRY(lg_onnx_give_function(node, LG_OP_POW, &attrs));
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

/* Softmax and LogSoftmax: up to opset 12 over all axes from `axis` on (default 1), since over `axis` alone (default the last). */
static lego_status convert_softmax(lg_onnx_node *node)
{
    const lg_op_kind kind = lg_onnx_name_find(node->proto->op_type)->kind;
    lg_attrs attrs = lg_onnx_defaults(kind), flat = lg_onnx_defaults(LG_OP_FLATTEN);
    lg_shape in;
    lg_place place;
    int64_t axis, behind = 1;
    const int old = node->import->opset < 13;
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_placed(&x, &place, node, 0));
    in = *lg_onnx_shape(node, x);
    LG_TRY(lg_onnx_int(&axis, node, "axis", old ? 1 : -1));
    LG_TRY(lg_onnx_axis(&axis, node, place.shape.n_dims));
    for (int i = (int)axis + 1; i < place.shape.n_dims; i++)
        behind = lg_mul_sat(behind, place.shape.dims[i]);
    if (place.dim == axis || (old && behind > 1 && place.dim > axis))
        LG_FAIL(LEGO_EUNSUPPORTED, "a softmax over the batch");
    attrs.axis.axis = flat.flatten.axis = lg_place_axis(&place, (int)axis);
    if (old && behind > 1)
        LG_TRY(lg_onnx_emit(&x, node, LG_OP_FLATTEN, &flat, x));
    LG_TRY(lg_onnx_emit(&y, node, kind, &attrs, x));
    if (old && behind > 1) {
        lg_dims shape = { in.n_dims - 1, { 0 } };

        memcpy(shape.dims, in.dims + 1, (size_t)shape.n * sizeof(*shape.dims));
        LG_TRY(lg_onnx_emit_reshape(&y, node, y, &shape));
    }
    LG_TRY(lg_onnx_finish_placed(node, 0, y, &place));
done:
    return status;
}

const lg_onnx_op lg_onnx_function_ops[] = {
    { "Abs", convert_activation },
    { "Acos", convert_activation },
    { "Acosh", convert_activation },
    { "Asin", convert_activation },
    { "Asinh", convert_activation },
    { "Atan", convert_activation },
    { "Atanh", convert_activation },
    { "Ceil", convert_activation },
    { "Celu", convert_elu },
    { "Clip", convert_activation },
    { "Cos", convert_activation },
    { "Cosh", convert_activation },
    { "Elu", convert_elu },
    { "Erf", convert_activation },
    { "Exp", convert_activation },
    { "Floor", convert_activation },
    { "Gelu", convert_activation },
    { "HardSigmoid", convert_activation },
    { "HardSwish", convert_activation },
    { "LeakyRelu", convert_activation },
    { "Log", convert_activation },
    { "LogSoftmax", convert_softmax },
    { "Mish", convert_activation },
    { "PRelu", convert_prelu },
    { "Pow", convert_pow },
    { "Reciprocal", convert_activation },
    { "Relu", convert_activation },
    { "Round", convert_activation },
    { "Selu", convert_elu },
    { "Shrink", convert_activation },
    { "Sigmoid", convert_activation },
    { "Sign", convert_activation },
    { "Sin", convert_activation },
    { "Sinh", convert_activation },
    { "Softmax", convert_softmax },
    { "Softplus", convert_softplus },
    { "Softsign", convert_activation },
    { "Sqrt", convert_activation },
    { "Tan", convert_activation },
    { "Tanh", convert_activation },
    { "ThresholdedRelu", convert_activation },
    { NULL, NULL },
};
