/* Converters of TorchScript's operators, one each; the table is at the end. Arguments are those of the operator's schema in
 * torch's native_functions.yaml, by position. Our ops have torch's definitions, so most are a copy of numbers; what shape a
 * view gives was recorded and need not be computed. */
#include "import/script.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

/* --- layers --- */

static lego_status read_pads(int64_t pads[4], const lg_script_at *at, int i, const int64_t kernel[2],
                             const int64_t stride[2], const int64_t dilation[2])
{
    const lg_script_arg *arg = lg_script_argument(at, i);
    lego_status status = LEGO_OK;

    if (arg->type != LG_SCRIPT_TEXT) {
        LG_TRY(lg_script_ints(pads, at, i, 2));
        pads[2] = pads[0];
        pads[3] = pads[1];
        return LEGO_OK;
    }
    memset(pads, 0, 4 * sizeof(*pads));
    if (strcmp(arg->text, "valid") == 0)
        return LEGO_OK;
    if (strcmp(arg->text, "same") != 0 || stride[0] != 1 || stride[1] != 1)
        return lg_script_unsupported("padding '%.40s' with strides %lld and %lld", arg->text, (long long)stride[0],
                                     (long long)stride[1]);
    for (int k = 0; k < 2; k++) { /* an odd one goes behind */
        const int64_t total = dilation[k] * (kernel[k] - 1);
        pads[k] = total / 2;
        pads[2 + k] = total - total / 2;
    }
done:
    return status;
}

static lego_status layer(lg_script_at *at, lg_op_kind kind, const lg_attrs *attrs)
{
    int32_t x, y, weights[2];
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(&x, at, 0));
    LG_TRY(lg_script_weight(&weights[0], at, 1, "weight", 0));
    LG_TRY(lg_script_weight(&weights[1], at, 2, "bias", 0));
    if (weights[0] == LG_NONE)
        LG_FAIL(LEGO_EUNSUPPORTED, "no weight");
    LG_TRY(lg_script_emit(&y, at, kind, attrs, 1, &x, 2, weights));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

static lego_status check_2d(const lg_script_at *at)
{
    const lg_script_tensor *weight = lg_script_tensor_of(at, 1);

    if (!weight || weight->n_dims != 4)
        return lg_script_unsupported("a convolution over %d axes; over two is supported",
                                     weight ? (int)weight->n_dims - 2 : 0);
    return LEGO_OK;
}

/* conv2d(x, weight, bias, stride, padding, dilation, groups), also convolution's first six; `groups` at argument g. */
static lego_status convolution_at(lg_script_at *at, int g)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_CONV2D);
    lego_status status = LEGO_OK;

    LG_TRY(check_2d(at));
    LG_TRY(lg_script_ints(attrs.conv.stride, at, 3, 2));
    LG_TRY(lg_script_ints(attrs.conv.dilation, at, 5, 2));
    LG_TRY(read_pads(attrs.conv.pads, at, 4, lg_script_tensor_of(at, 1)->dims + 2, attrs.conv.stride,
                     attrs.conv.dilation));
    LG_TRY(lg_script_int(&attrs.conv.groups, at, g));
    LG_TRY(layer(at, LG_OP_CONV2D, &attrs));
done:
    return status;
}

static lego_status convert_conv2d(lg_script_at *at)
{
    return convolution_at(at, 6);
}

/* (x, weight, bias, stride, padding, output_padding, groups, dilation); arguments p, g and d say where the last three are */
static lego_status transposed_at(lg_script_at *at, int p, int g, int d)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_CONV_TRANSPOSE2D);
    lg_conv_transpose_attrs *conv = &attrs.conv_transpose;
    lego_status status = LEGO_OK;

    LG_TRY(check_2d(at));
    LG_TRY(lg_script_ints(conv->stride, at, 3, 2));
    LG_TRY(lg_script_ints(conv->pads, at, 4, 2));
    conv->pads[2] = conv->pads[0];
    conv->pads[3] = conv->pads[1];
    LG_TRY(lg_script_ints(conv->output_padding, at, p, 2));
    LG_TRY(lg_script_int(&conv->groups, at, g));
    LG_TRY(lg_script_ints(conv->dilation, at, d, 2));
    LG_TRY(layer(at, LG_OP_CONV_TRANSPOSE2D, &attrs));
done:
    return status;
}

static lego_status convert_conv_transpose2d(lg_script_at *at)
{
    return transposed_at(at, 5, 6, 7);
}

/* _convolution(x, weight, bias, stride, padding, dilation, transposed, output_padding, groups, ...): traces have it */
static lego_status convert_convolution(lg_script_at *at)
{
    int64_t transposed = 0;
    lego_status status = lg_script_int(&transposed, at, 6);

    if (status != LEGO_OK)
        return status;
    return transposed ? transposed_at(at, 7, 8, 5) : convolution_at(at, 8);
}

static lego_status convert_linear(lg_script_at *at)
{
    return layer(at, LG_OP_LINEAR, NULL);
}

/* x W with a constant W (C,K), which is linear's weight transposed. */
static lego_status emit_product(lg_script_at *at, int i_x, int i_weight, int i_bias)
{
    int32_t x, y, weights[2] = { LG_NONE, LG_NONE };
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(&x, at, i_x));
    LG_TRY(lg_script_weight(&weights[0], at, i_weight, "weight", 1));
    if (i_bias >= 0)
        LG_TRY(lg_script_weight(&weights[1], at, i_bias, "bias", 0));
    LG_TRY(lg_script_emit(&y, at, LG_OP_LINEAR, NULL, 1, &x, 2, weights));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

/* addmm(bias, x, W, beta, alpha) */
static lego_status convert_addmm(lg_script_at *at)
{
    double beta = 1.0, alpha = 1.0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_number(&beta, at, 3));
    LG_TRY(lg_script_number(&alpha, at, 4));
    if (beta != 1.0 || alpha != 1.0)
        LG_FAIL(LEGO_EUNSUPPORTED, "beta %g and alpha %g; 1 and 1 are supported", beta, alpha);
    LG_TRY(emit_product(at, 1, 2, 0));
done:
    return status;
}

static lego_status convert_matmul(lg_script_at *at)
{
    const lg_script_tensor *b = lg_script_tensor_of(at, 1);
    int32_t inputs[2], y;
    lego_status status = LEGO_OK;

    if (b && b->data && b->n_dims == 2)
        return emit_product(at, 0, 1, -1);
    LG_TRY(lg_script_input(&inputs[0], at, 0));
    LG_TRY(lg_script_input(&inputs[1], at, 1));
    LG_TRY(lg_script_emit(&y, at, LG_OP_MATMUL, NULL, 2, inputs, 0, NULL));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

/* --- normalisation --- */

/* batch_norm(x, weight, bias, mean, var, training, momentum, eps, cudnn) */
static lego_status convert_batch_norm(lg_script_at *at)
{
    static const char *const slots[4] = { "weight", "bias", "running_mean", "running_var" };
    lg_attrs attrs = lg_script_defaults(LG_OP_BATCH_NORM);
    int64_t training = 0;
    int32_t x, y, weights[4];
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_int(&training, at, 5));
    if (training || lg_script_is_none(at, 3))
        LG_FAIL(LEGO_EUNSUPPORTED, "it uses the batch's own statistics (track_running_stats=False, or a trace in training "
                "mode)");
    LG_TRY(lg_script_number(&attrs.batch_norm.momentum, at, 6));
    LG_TRY(lg_script_number(&attrs.batch_norm.eps, at, 7));
    LG_TRY(lg_script_input(&x, at, 0));
    for (int i = 0; i < 4; i++)
        LG_TRY(lg_script_weight(&weights[i], at, i + 1, slots[i], 0));
    LG_TRY(lg_script_emit(&y, at, LG_OP_BATCH_NORM, &attrs, 1, &x, 4, weights));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

static lego_status own_norm(lg_script_at *at, lg_op_kind kind, const lg_attrs *attrs, int i_weight)
{
    int32_t x, y, weights[2];
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(&x, at, 0));
    LG_TRY(lg_script_weight(&weights[0], at, i_weight, "weight", 0));
    LG_TRY(lg_script_weight(&weights[1], at, i_weight + 1, "bias", 0));
    LG_TRY(lg_script_emit(&y, at, kind, attrs, 1, &x, 2, weights));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

/* layer_norm(x, normalized_shape, weight, bias, eps, cudnn) */
static lego_status convert_layer_norm(lg_script_at *at)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_LAYER_NORM);
    const lg_script_arg *shape = lg_script_argument(at, 1);
    const lg_script_tensor *x = lg_script_tensor_of(at, 0);
    lego_status status = LEGO_OK;

    if (!x || shape->type != LG_SCRIPT_INTS)
        LG_FAIL(LEGO_EUNSUPPORTED, "unknown arguments");
    attrs.layer_norm.axis = x->n_dims - shape->n;
    LG_TRY(lg_script_number(&attrs.layer_norm.eps, at, 4));
    LG_TRY(own_norm(at, LG_OP_LAYER_NORM, &attrs, 2));
done:
    return status;
}

/* group_norm(x, groups, weight, bias, eps, cudnn) */
static lego_status convert_group_norm(lg_script_at *at)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_GROUP_NORM);
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_int(&attrs.group_norm.groups, at, 1));
    LG_TRY(lg_script_number(&attrs.group_norm.eps, at, 4));
    LG_TRY(own_norm(at, LG_OP_GROUP_NORM, &attrs, 2));
done:
    return status;
}

/* instance_norm(x, weight, bias, mean, var, use_input_stats, momentum, eps, cudnn) */
static lego_status convert_instance_norm(lg_script_at *at)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_GROUP_NORM);
    const lg_script_tensor *x = lg_script_tensor_of(at, 0);
    int64_t own = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_int(&own, at, 5));
    if (!own || !x || x->n_dims < 3)
        LG_FAIL(LEGO_EUNSUPPORTED, "it uses running statistics");
    attrs.group_norm.groups = x->dims[1];
    LG_TRY(lg_script_number(&attrs.group_norm.eps, at, 7));
    LG_TRY(own_norm(at, LG_OP_GROUP_NORM, &attrs, 1));
done:
    return status;
}

/* --- element by element --- */

static lego_status unary(lg_script_at *at, lg_op_kind kind, const lg_attrs *attrs)
{
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(&x, at, 0));
    LG_TRY(lg_script_emit_unary(&y, at, kind, attrs, x));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

#define PLAIN_UNARY(name, KIND)                                               \
    static lego_status convert_##name(lg_script_at *at)                       \
    {                                                                         \
        return unary(at, LG_OP_##KIND, NULL);                                 \
    }
PLAIN_UNARY(relu, RELU)
PLAIN_UNARY(relu6, CLIP) /* whose defaults are 0 and 6 */
PLAIN_UNARY(sigmoid, SIGMOID)
PLAIN_UNARY(tanh, TANH)
PLAIN_UNARY(hard_sigmoid, HARD_SIGMOID)
PLAIN_UNARY(hard_swish, HARD_SWISH)
PLAIN_UNARY(silu, SILU)

static lego_status convert_gelu(lg_script_at *at)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_GELU);
    const lg_script_arg *form = lg_script_argument(at, 1);

    attrs.gelu.tanh = form->type == LG_SCRIPT_TEXT && strcmp(form->text, "tanh") == 0;
    return unary(at, LG_OP_GELU, &attrs);
}

static lego_status convert_leaky_relu(lg_script_at *at)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_LEAKY_RELU);
    lego_status status = lg_script_number(&attrs.leaky_relu.slope, at, 1);

    return status == LEGO_OK ? unary(at, LG_OP_LEAKY_RELU, &attrs) : status;
}

/* hardtanh(x, min, max), clamp(x, min, max): None is no limit, and float32 has none beyond its largest number */
static lego_status convert_clamp(lg_script_at *at)
{
    const double largest = 3.4028234663852886e38;
    lg_attrs attrs = lg_script_defaults(LG_OP_CLIP);
    lego_status status = LEGO_OK;

    attrs.clip.min = -largest;
    attrs.clip.max = largest;
    if (!lg_script_is_none(at, 1))
        LG_TRY(lg_script_number(&attrs.clip.min, at, 1));
    if (!lg_script_is_none(at, 2))
        LG_TRY(lg_script_number(&attrs.clip.max, at, 2));
    LG_TRY(unary(at, LG_OP_CLIP, &attrs));
done:
    return status;
}

static lego_status convert_prelu(lg_script_at *at)
{
    int32_t x, y, weight;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(&x, at, 0));
    LG_TRY(lg_script_weight(&weight, at, 1, "weight", 0));
    LG_TRY(lg_script_emit(&y, at, LG_OP_PRELU, NULL, 1, &x, 1, &weight));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

static lego_status convert_softmax(lg_script_at *at)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_SOFTMAX);
    lego_status status = lg_script_axis(&attrs.axis.axis, at, 1, lg_script_output(at, 0)->n_dims);

    return status == LEGO_OK ? unary(at, LG_OP_SOFTMAX, &attrs) : status;
}

/* What hands its argument on: dropout outside training in place, contiguous, clone, casts to the same type. */
static lego_status convert_identity(lg_script_at *at)
{
    int32_t x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(&x, at, 0));
    LG_TRY(lg_script_finish(at, 0, x));
done:
    return status;
}

static lego_status convert_dropout(lg_script_at *at)
{
    int64_t training = 0;
    lego_status status = lg_script_int(&training, at, 2);

    if (status != LEGO_OK)
        return status;
    return training ? lg_script_unsupported("it drops at random even in evaluation") : convert_identity(at);
}

/* x op (alpha y); `swapped`: (y op alpha x) */
static lego_status binary(lg_script_at *at, lg_op_kind kind, int i_alpha, int swapped)
{
    const int n_dims = lg_script_output(at, 0)->n_dims;
    double alpha = 1.0;
    int32_t operands[2], scale, y;
    lego_status status = LEGO_OK;

    for (int i = 0; i < 2; i++)
        LG_TRY(lg_script_operand(&operands[i], at, swapped ? 1 - i : i, n_dims));
    if (i_alpha >= 0 && !lg_script_is_none(at, i_alpha))
        LG_TRY(lg_script_number(&alpha, at, i_alpha));
    if (alpha != 1.0) {
        LG_TRY(lg_script_scalar(&scale, at, alpha, n_dims));
        LG_TRY(lg_script_emit(&operands[1], at, LG_OP_MUL, NULL, 2, (int32_t[]){ operands[1], scale }, 0, NULL));
    }
    LG_TRY(lg_script_emit(&y, at, kind, NULL, 2, operands, 0, NULL));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

static lego_status convert_add(lg_script_at *at)
{
    return binary(at, LG_OP_ADD, 2, 0);
}

static lego_status convert_sub(lg_script_at *at)
{
    return binary(at, LG_OP_SUB, 2, 0);
}

static lego_status convert_rsub(lg_script_at *at)
{
    return binary(at, LG_OP_SUB, 2, 1);
}

static lego_status convert_mul(lg_script_at *at)
{
    return binary(at, LG_OP_MUL, -1, 0);
}

static lego_status convert_div(lg_script_at *at)
{
    if (!lg_script_is_none(at, 2))
        return lg_script_unsupported("a division that rounds");
    return binary(at, LG_OP_DIV, -1, 0);
}

static lego_status convert_neg(lg_script_at *at)
{
    const int n_dims = lg_script_output(at, 0)->n_dims;
    int32_t operands[2], y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(&operands[0], at, 0));
    LG_TRY(lg_script_scalar(&operands[1], at, -1.0, n_dims));
    LG_TRY(lg_script_emit(&y, at, LG_OP_MUL, NULL, 2, operands, 0, NULL));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

static lego_status emit_square(lg_script_at *at)
{
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(&x, at, 0));
    LG_TRY(lg_script_emit(&y, at, LG_OP_MUL, NULL, 2, (int32_t[]){ x, x }, 0, NULL));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

static lego_status convert_pow(lg_script_at *at)
{
    double exponent = 0.0;
    lego_status status = lg_script_number(&exponent, at, 1);

    if (status != LEGO_OK)
        return status;
    return exponent == 2.0 ? emit_square(at) : lg_script_unsupported("exponent %g; 2 is supported", exponent);
}

/* --- pools --- */

/* Kernel and stride (left out: as the kernel), arguments 1 and 2, padding, argument 3. */
static lego_status read_pool(lg_pool_attrs *pool, const lg_script_at *at)
{
    const lg_script_arg *stride = lg_script_argument(at, 2);
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_ints(pool->kernel, at, 1, 2));
    if (stride->type == LG_SCRIPT_NONE || (stride->type == LG_SCRIPT_INTS && stride->n == 0))
        memcpy(pool->stride, pool->kernel, sizeof(pool->stride));
    else
        LG_TRY(lg_script_ints(pool->stride, at, 2, 2));
    LG_TRY(lg_script_ints(pool->pads, at, 3, 2));
    pool->pads[2] = pool->pads[0];
    pool->pads[3] = pool->pads[1];
done:
    return status;
}

/* max_pool2d(x, kernel, stride, padding, dilation, ceil_mode); the indices of ..._with_indices must be unused */
static lego_status convert_max_pool2d(lg_script_at *at)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_MAX_POOL);
    int64_t ceil_mode = 0;
    lego_status status = LEGO_OK;

    LG_TRY(read_pool(&attrs.pool, at));
    LG_TRY(lg_script_ints(attrs.pool.dilation, at, 4, 2));
    LG_TRY(lg_script_int(&ceil_mode, at, 5));
    attrs.pool.ceil_mode = ceil_mode != 0;
    if (at->node->n_outputs > 1 && at->import->is_needed[at->node->outputs[1]])
        LG_FAIL(LEGO_EUNSUPPORTED, "its indices are used");
    LG_TRY(unary(at, LG_OP_MAX_POOL, &attrs));
done:
    return status;
}

/* avg_pool2d(x, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override) */
static lego_status convert_avg_pool2d(lg_script_at *at)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_AVG_POOL);
    int64_t ceil_mode = 0, include = 0;
    lego_status status = LEGO_OK;

    LG_TRY(read_pool(&attrs.pool, at));
    LG_TRY(lg_script_int(&ceil_mode, at, 4));
    LG_TRY(lg_script_int(&include, at, 5));
    attrs.pool.ceil_mode = ceil_mode != 0;
    attrs.pool.count_include_pad = include != 0;
    if (!lg_script_is_none(at, 6))
        LG_FAIL(LEGO_EUNSUPPORTED, "divisor_override");
    LG_TRY(unary(at, LG_OP_AVG_POOL, &attrs));
done:
    return status;
}

/* The recorded extents, since an entry may be None: as it is. */
static lego_status adaptive(lg_script_at *at, lg_op_kind kind)
{
    lg_attrs attrs = lg_script_defaults(kind);
    const lg_script_tensor *out = lg_script_output(at, 0);

    if (out->n_dims != 4)
        return lg_script_unsupported("a value of %d axes; 4 are supported", (int)out->n_dims);
    memcpy(attrs.adaptive_pool.size, out->dims + 2, sizeof(attrs.adaptive_pool.size));
    return unary(at, kind, &attrs);
}

static lego_status convert_adaptive_avg_pool2d(lg_script_at *at)
{
    return adaptive(at, LG_OP_ADAPTIVE_AVG_POOL);
}

static lego_status convert_adaptive_max_pool2d(lg_script_at *at)
{
    if (at->node->n_outputs > 1 && at->import->is_needed[at->node->outputs[1]])
        return lg_script_unsupported("its indices are used");
    return adaptive(at, LG_OP_ADAPTIVE_MAX_POOL);
}

/* mean(x, axes, keepdim, dtype) */
static lego_status convert_mean(lg_script_at *at)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_MEAN);
    const lg_script_arg *axes = lg_script_argument(at, 1);
    const lg_script_tensor *x = lg_script_tensor_of(at, 0);
    int64_t keep = 0;
    lego_status status = LEGO_OK;

    if (!x || axes->type != LG_SCRIPT_INTS || axes->n < 1 || axes->n > LEGO_MAX_DIMS)
        LG_FAIL(LEGO_EUNSUPPORTED, "a mean over everything, the batch included");
    LG_TRY(lg_script_int(&keep, at, 2));
    attrs.mean.keep = keep != 0;
    attrs.mean.axes.n = axes->n;
    for (int i = 0; i < axes->n; i++)
        attrs.mean.axes.dims[i] = axes->ints[i] < 0 ? axes->ints[i] + x->n_dims : axes->ints[i];
    LG_TRY(unary(at, LG_OP_MEAN, &attrs));
done:
    return status;
}

/* --- resizing and padding --- */

/* Scales, where given, must lead to the recorded size exactly: torch steps by the scale, we by the sizes' ratio. */
static lego_status check_scales(const lg_script_at *at)
{
    const lg_script_tensor *x = lg_script_tensor_of(at, 0), *y = lg_script_output(at, 0);
    int axis = 2;

    if (!x || x->n_dims != 4 || y->n_dims != 4)
        return lg_script_unsupported("values of other than 4 axes");
    for (int i = 1; i < at->node->n_args; i++) {
        const lg_script_arg *arg = lg_script_argument(at, i);
        const int n = arg->type == LG_SCRIPT_DOUBLE ? 1 : arg->type == LG_SCRIPT_DOUBLES ? arg->n : 0;

        for (int k = 0; k < n && axis < 4; k++, axis++) {
            const double scale = arg->type == LG_SCRIPT_DOUBLE ? arg->number : arg->doubles[k];
            if ((double)x->dims[axis] * scale != (double)y->dims[axis])
                return lg_script_unsupported("a scale of %g for %lld elements; give the size instead", scale,
                                             (long long)x->dims[axis]);
        }
    }
    return LEGO_OK;
}

static lego_status upsample(lg_script_at *at, lg_upsample_mode mode, int align_corners)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_UPSAMPLE);
    lego_status status = LEGO_OK;

    LG_TRY(check_scales(at));
    attrs.upsample.mode = mode;
    attrs.upsample.align_corners = align_corners;
    memcpy(attrs.upsample.size, lg_script_output(at, 0)->dims + 2, sizeof(attrs.upsample.size));
    LG_TRY(unary(at, LG_OP_UPSAMPLE, &attrs));
done:
    return status;
}

static lego_status convert_upsample_nearest2d(lg_script_at *at)
{
    return upsample(at, LG_UPSAMPLE_NEAREST, 0);
}

/* upsample_bilinear2d(x, size, align_corners, scales ...) */
static lego_status convert_upsample_bilinear2d(lg_script_at *at)
{
    int64_t align = 0;
    lego_status status = lg_script_int(&align, at, 2);

    return status == LEGO_OK ? upsample(at, LG_UPSAMPLE_BILINEAR, align != 0) : status;
}

/* Pads of the last axes, the last first: left, right, top, bottom, ... */
static lego_status emit_pad(lg_script_at *at, double value)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_PAD);
    const lg_script_arg *pads = lg_script_argument(at, 1);

    if (pads->type != LG_SCRIPT_INTS || pads->n < 2 || pads->n > 4 || pads->n % 2 != 0)
        return lg_script_unsupported("padding of other than the last one or two axes");
    attrs.pad.value = value;
    attrs.pad.pads[1] = pads->ints[0];
    attrs.pad.pads[3] = pads->ints[1];
    attrs.pad.pads[0] = pads->n == 4 ? pads->ints[2] : 0;
    attrs.pad.pads[2] = pads->n == 4 ? pads->ints[3] : 0;
    return unary(at, LG_OP_PAD, &attrs);
}

/* constant_pad_nd(x, pads, value) */
static lego_status convert_constant_pad(lg_script_at *at)
{
    double value = 0.0;
    lego_status status = lg_script_number(&value, at, 2);

    return status == LEGO_OK ? emit_pad(at, value) : status;
}

/* pad(x, pads, mode, value) */
static lego_status convert_pad(lg_script_at *at)
{
    const lg_script_arg *mode = lg_script_argument(at, 2);
    double value = 0.0;
    lego_status status = LEGO_OK;

    if (mode->type != LG_SCRIPT_TEXT || strcmp(mode->text, "constant") != 0)
        return lg_script_unsupported("padding mode '%.40s'; 'constant' is supported",
                                     mode->type == LG_SCRIPT_TEXT ? mode->text : "?");
    if (!lg_script_is_none(at, 3))
        LG_TRY(lg_script_number(&value, at, 3));
    LG_TRY(emit_pad(at, value));
done:
    return status;
}

/* --- shapes --- */

/* Views, whatever they are called: the recorded shape says it all. */
static lego_status convert_view(lg_script_at *at)
{
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(&x, at, 0));
    LG_TRY(lg_script_emit_shape(&y, at, x, lg_script_output(at, 0)));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

/* flatten(x, start, end): the op of that name where it goes to the end, which prunes better than a reshape */
static lego_status convert_flatten(lg_script_at *at)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_FLATTEN);
    const lg_script_tensor *x = lg_script_tensor_of(at, 0);
    int64_t end = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_int(&attrs.flatten.axis, at, 1));
    LG_TRY(lg_script_int(&end, at, 2));
    if (attrs.flatten.axis < 0)
        attrs.flatten.axis += x ? x->n_dims : 0;
    if (attrs.flatten.axis < 1 || !x || (end != -1 && end != x->n_dims - 1))
        return convert_view(at);
    LG_TRY(unary(at, LG_OP_FLATTEN, &attrs));
done:
    return status;
}

static lego_status emit_order(lg_script_at *at, const int64_t *order, int n)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_PERMUTE);

    if (order[0] != 0)
        return lg_script_unsupported("it moves the batch out of the first axis");
    attrs.permute.order.n = n - 1;
    for (int i = 1; i < n; i++)
        attrs.permute.order.dims[i - 1] = order[i];
    return unary(at, LG_OP_PERMUTE, &attrs);
}

/* permute(x, order) */
static lego_status convert_permute(lg_script_at *at)
{
    const int n = lg_script_output(at, 0)->n_dims;
    int64_t order[LEGO_MAX_DIMS];
    lego_status status = LEGO_OK;

    if (n < 2 || n > LEGO_MAX_DIMS)
        return lg_script_unsupported("a value of %d axes", n);
    LG_TRY(lg_script_ints(order, at, 1, n));
    for (int i = 0; i < n; i++)
        order[i] += order[i] < 0 ? n : 0;
    LG_TRY(emit_order(at, order, n));
done:
    return status;
}

/* transpose(x, a, b) */
static lego_status convert_transpose(lg_script_at *at)
{
    const int n = lg_script_output(at, 0)->n_dims;
    int64_t order[LEGO_MAX_DIMS], a = 0, b = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_axis(&a, at, 1, n));
    LG_TRY(lg_script_axis(&b, at, 2, n));
    for (int i = 0; i < n; i++)
        order[i] = i == a ? b : i == b ? a : i;
    LG_TRY(emit_order(at, order, n));
done:
    return status;
}

/* A reshape, a permutation, and a reshape to the output: `shape` and `order` without the batch. */
static lego_status rearrange(lg_script_at *at, const lg_dims *shape, const lg_dims *order)
{
    lg_attrs split = lg_script_defaults(LG_OP_RESHAPE), swap = lg_script_defaults(LG_OP_PERMUTE);
    int32_t x, y;
    lego_status status = LEGO_OK;

    split.reshape.shape = *shape;
    swap.permute.order = *order;
    LG_TRY(lg_script_input(&x, at, 0));
    LG_TRY(lg_script_emit_unary(&y, at, LG_OP_RESHAPE, &split, x));
    LG_TRY(lg_script_emit_unary(&y, at, LG_OP_PERMUTE, &swap, y));
    LG_TRY(lg_script_emit_shape(&y, at, y, lg_script_output(at, 0)));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

/* A reshape, a swap of axes 1 and 2, a reshape: what shuffles channels of `groups` groups. */
static lego_status convert_channel_shuffle(lg_script_at *at)
{
    const lg_script_tensor *out = lg_script_output(at, 0);
    const lg_dims order = { 4, { 2, 1, 3, 4 } };
    lg_dims split;
    int64_t groups = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_int(&groups, at, 1));
    if (out->n_dims != 4 || groups < 1 || out->dims[1] % groups != 0)
        LG_FAIL(LEGO_EUNSUPPORTED, "%lld groups of a value of %d axes", (long long)groups, (int)out->n_dims);
    split = (lg_dims){ 4, { groups, out->dims[1] / groups, out->dims[2], out->dims[3] } };
    LG_TRY(rearrange(at, &split, &order));
done:
    return status;
}

/* (N, C r r, H, W) -> (N, C, r, r, H, W) -> (N, C, H, r, W, r) -> (N, C, H r, W r) */
static lego_status convert_pixel_shuffle(lg_script_at *at)
{
    const lg_script_tensor *out = lg_script_output(at, 0);
    const lg_dims order = { 5, { 1, 4, 2, 5, 3 } };
    lg_dims split;
    int64_t r = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_int(&r, at, 1));
    if (out->n_dims != 4 || r < 1)
        LG_FAIL(LEGO_EUNSUPPORTED, "a value of %d axes", (int)out->n_dims);
    split = (lg_dims){ 5, { out->dims[1], r, r, out->dims[2] / r, out->dims[3] / r } };
    LG_TRY(rearrange(at, &split, &order));
done:
    return status;
}

/* --- cutting and joining --- */

/* cat(tensors, axis), stack(tensors, axis): the latter with a new axis in each */
static lego_status join(lg_script_at *at, int stacked)
{
    const lg_script_arg *list = lg_script_argument(at, 0);
    const lg_script_tensor *out = lg_script_output(at, 0);
    lg_script_tensor part = *out;
    lg_attrs attrs = lg_script_defaults(LG_OP_CONCAT);
    int32_t *values = NULL, y;
    lego_status status = LEGO_OK;

    if (list->type != LG_SCRIPT_TENSORS || list->n < 1)
        LG_FAIL(LEGO_EUNSUPPORTED, "no list of tensors");
    LG_TRY(lg_script_axis(&attrs.axis.axis, at, 1, out->n_dims));
    LG_TRY(LG_CALLOC(&values, list->n));
    part.dims[attrs.axis.axis] = 1;
    for (int i = 0; i < list->n; i++) {
        LG_TRY(lg_script_tensor_operand(&values[i], at, list->ints[i], out->n_dims - stacked));
        if (stacked)
            LG_TRY(lg_script_emit_shape(&values[i], at, values[i], &part));
    }
    y = values[0];
    if (list->n > 1)
        LG_TRY(lg_script_emit(&y, at, LG_OP_CONCAT, &attrs, list->n, values, 0, NULL));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    lg_free(values);
    return status;
}

static lego_status convert_cat(lg_script_at *at)
{
    return join(at, 0);
}

static lego_status convert_stack(lg_script_at *at)
{
    return join(at, 1);
}

static lego_status emit_slice(int32_t *y, lg_script_at *at, int32_t x, int64_t axis, int64_t start, int64_t end)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_SLICE);

    attrs.slice.axis = axis;
    attrs.slice.start = start;
    attrs.slice.end = end;
    *y = x;
    if (start == 0 && end == lg_script_shape(at, x)->dims[axis])
        return LEGO_OK;
    return lg_script_emit_unary(y, at, LG_OP_SLICE, &attrs, x);
}

/* chunk, split, split_with_sizes, tensor_split (x, how, axis): the recorded outputs say where. */
static lego_status convert_split(lg_script_at *at)
{
    const int n = at->node->n_outputs;
    lg_attrs attrs = lg_script_defaults(LG_OP_SPLIT);
    int64_t axis = 0, start = 0;
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(&x, at, 0));
    LG_TRY(lg_script_axis(&axis, at, 2, lg_script_shape(at, x)->n_dims));
    if (n >= 2 && n <= LEGO_MAX_DIMS) {
        attrs.split.axis = axis;
        attrs.split.sizes.n = n;
        for (int i = 0; i < n; i++)
            attrs.split.sizes.dims[i] = lg_script_output(at, i)->dims[axis];
        LG_TRY(lg_script_emit_unary(&y, at, LG_OP_SPLIT, &attrs, x));
        for (int i = 0; i < n; i++)
            LG_TRY(lg_script_finish(at, i, y + i));
        return LEGO_OK;
    }
    for (int i = 0; i < n; i++) {
        const int64_t length = lg_script_output(at, i)->dims[axis];
        LG_TRY(emit_slice(&y, at, x, axis, start, start + length));
        LG_TRY(lg_script_finish(at, i, y));
        start += length;
    }
done:
    return status;
}

/* unbind(x, axis) */
static lego_status convert_unbind(lg_script_at *at)
{
    int64_t axis = 0;
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(&x, at, 0));
    LG_TRY(lg_script_axis(&axis, at, 1, lg_script_shape(at, x)->n_dims));
    for (int i = 0; i < at->node->n_outputs; i++) {
        LG_TRY(emit_slice(&y, at, x, axis, i, i + 1));
        LG_TRY(lg_script_emit_shape(&y, at, y, lg_script_output(at, i)));
        LG_TRY(lg_script_finish(at, i, y));
    }
done:
    return status;
}

/* slice(x, axis, start, end, step); one of the whole batch is nothing */
static lego_status convert_slice(lg_script_at *at)
{
    const lg_script_tensor *from = lg_script_tensor_of(at, 0), *to = lg_script_output(at, 0);
    int64_t axis = 0, start = 0, step = 1;
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(&x, at, 0));
    LG_TRY(lg_script_int(&axis, at, 1));
    axis += axis < 0 ? to->n_dims : 0;
    LG_TRY(lg_script_int(&step, at, 4));
    if (axis >= 0 && axis < from->n_dims && from->dims[axis] == to->dims[axis])
        return convert_identity(at);
    if (step != 1)
        LG_FAIL(LEGO_EUNSUPPORTED, "a step of %lld; 1 is supported", (long long)step);
    LG_TRY(lg_script_axis(&axis, at, 1, to->n_dims));
    if (!lg_script_is_none(at, 2))
        LG_TRY(lg_script_int(&start, at, 2));
    start += start < 0 ? from->dims[axis] : 0;
    start = start < 0 ? 0 : start;
    LG_TRY(emit_slice(&y, at, x, axis, start, start + to->dims[axis]));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

/* narrow(x, axis, start, length) and select(x, axis, index), which drops the axis */
static lego_status convert_select(lg_script_at *at)
{
    const lg_script_tensor *from = lg_script_tensor_of(at, 0), *to = lg_script_output(at, 0);
    int64_t axis = 0, start = 0, length;
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(&x, at, 0));
    LG_TRY(lg_script_axis(&axis, at, 1, from->n_dims));
    LG_TRY(lg_script_int(&start, at, 2));
    start += start < 0 ? from->dims[axis] : 0;
    length = to->n_dims == from->n_dims ? to->dims[axis] : 1;
    LG_TRY(emit_slice(&y, at, x, axis, start, start + length));
    LG_TRY(lg_script_emit_shape(&y, at, y, to));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

const lg_script_op lg_script_ops[] = {
    { "conv2d", convert_conv2d },
    { "_convolution", convert_convolution },
    { "convolution", convert_convolution },
    { "conv_transpose2d", convert_conv_transpose2d },
    { "linear", convert_linear },
    { "addmm", convert_addmm },
    { "matmul", convert_matmul },
    { "mm", convert_matmul },
    { "bmm", convert_matmul },
    { "batch_norm", convert_batch_norm },
    { "layer_norm", convert_layer_norm },
    { "group_norm", convert_group_norm },
    { "instance_norm", convert_instance_norm },
    { "relu", convert_relu },
    { "relu6", convert_relu6 },
    { "sigmoid", convert_sigmoid },
    { "tanh", convert_tanh },
    { "hardsigmoid", convert_hard_sigmoid },
    { "hardswish", convert_hard_swish },
    { "silu", convert_silu },
    { "gelu", convert_gelu },
    { "leaky_relu", convert_leaky_relu },
    { "hardtanh", convert_clamp },
    { "clamp", convert_clamp },
    { "clip", convert_clamp },
    { "prelu", convert_prelu },
    { "softmax", convert_softmax },
    { "dropout", convert_dropout },
    { "feature_dropout", convert_dropout },
    { "contiguous", convert_identity },
    { "clone", convert_identity },
    { "detach", convert_identity },
    { "to", convert_identity },
    { "alias", convert_identity },
    { "add", convert_add },
    { "sub", convert_sub },
    { "rsub", convert_rsub },
    { "mul", convert_mul },
    { "multiply", convert_mul },
    { "div", convert_div },
    { "neg", convert_neg },
    { "pow", convert_pow },
    { "square", emit_square },
    { "max_pool2d", convert_max_pool2d },
    { "max_pool2d_with_indices", convert_max_pool2d },
    { "avg_pool2d", convert_avg_pool2d },
    { "adaptive_avg_pool2d", convert_adaptive_avg_pool2d },
    { "adaptive_max_pool2d", convert_adaptive_max_pool2d },
    { "mean", convert_mean },
    { "upsample_nearest2d", convert_upsample_nearest2d },
    { "upsample_bilinear2d", convert_upsample_bilinear2d },
    { "constant_pad_nd", convert_constant_pad },
    { "pad", convert_pad },
    { "flatten", convert_flatten },
    { "view", convert_view },
    { "reshape", convert_view },
    { "_reshape_alias", convert_view },
    { "_unsafe_view", convert_view },
    { "unflatten", convert_view },
    { "squeeze", convert_view },
    { "unsqueeze", convert_view },
    { "permute", convert_permute },
    { "transpose", convert_transpose },
    { "swapaxes", convert_transpose },
    { "channel_shuffle", convert_channel_shuffle },
    { "pixel_shuffle", convert_pixel_shuffle },
    { "cat", convert_cat },
    { "concat", convert_cat },
    { "stack", convert_stack },
    { "chunk", convert_split },
    { "split", convert_split },
    { "split_with_sizes", convert_split },
    { "tensor_split", convert_split },
    { "unbind", convert_unbind },
    { "slice", convert_slice },
    { "narrow", convert_select },
    { "select", convert_select },
    { NULL, NULL },
};
