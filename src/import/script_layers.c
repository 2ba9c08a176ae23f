/* Converters of TorchScript's operators that have weights: convolutions and normalisation. */
#include "import/script.h"

#include <string.h>

/* --- convolutions over one to three axes --- */

/* Numbers before and behind each axis, or 'same' or 'valid'. */
static lego_status read_pads(int64_t *pads, const lg_script_at *at, int i, int n_spatial, const int64_t *stride,
                             const int64_t *dilation)
{
    const lg_script_arg *arg = lg_script_argument(at, i);
    const int n_axes = lg_script_axes_of(n_spatial), skipped = n_axes - n_spatial;

    if (arg->type != LG_SCRIPT_TEXT)
        return lg_script_pads(pads, at, i, n_spatial);
    if (strcmp(arg->text, "valid") == 0)
        return LEGO_OK;
    for (int k = skipped; k < n_axes; k++) { /* an odd one goes behind */
        const int64_t total = dilation[k] * (lg_script_tensor_of(at, 1)->dims[2 + k - skipped] - 1);

        if (strcmp(arg->text, "same") != 0 || stride[k] != 1)
            return lg_script_unsupported("padding '%.40s' with a stride of %lld", arg->text, (long long)stride[k]);
        pads[k] = total / 2;
        pads[n_axes + k] = total - total / 2;
    }
    return LEGO_OK;
}

/* How many axes the convolution runs over; the weight's must be the input's. */
static lego_status count_axes(int *n_spatial, const lg_script_at *at)
{
    const lg_script_tensor *x = lg_script_tensor_of(at, 0), *weight = lg_script_tensor_of(at, 1);

    *n_spatial = weight ? weight->n_dims - 2 : 0;
    if (*n_spatial < 1 || *n_spatial > LG_MAX_AXES)
        return lg_script_unsupported("a convolution over %d axes; over 1 to %d are supported", *n_spatial, LG_MAX_AXES);
    if (!x || x->n_dims != weight->n_dims)
        return lg_script_unsupported("a convolution over %d axes of a value without batch or channels", *n_spatial);
    return LEGO_OK;
}

static lego_status window_layer(lg_script_at *at, lg_op_kind kind, const lg_attrs *attrs)
{
    int32_t x, y, weights[2];
    int n_spatial;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_enter(&x, &n_spatial, at));
    LG_TRY(lg_script_weight(&weights[0], at, 1, "weight", n_spatial == 1 ? LG_SCRIPT_WIDENED : LG_SCRIPT_AS_IS));
    LG_TRY(lg_script_weight(&weights[1], at, 2, "bias", LG_SCRIPT_AS_IS));
    LG_TRY(lg_script_emit(&y, at, kind, attrs, 1, &x, 2, weights));
    LG_TRY(lg_script_leave(at, y, n_spatial));
done:
    return status;
}

/* conv2d(x, weight, bias, stride, padding, dilation, groups), also convolution's first six; `groups` at argument g. */
static lego_status convolution_at(lg_script_at *at, int g)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_CONV);
    int n_spatial;
    lego_status status = LEGO_OK;

    LG_TRY(count_axes(&n_spatial, at));
    LG_TRY(lg_script_axes(attrs.conv.stride, at, 3, n_spatial, 1));
    LG_TRY(lg_script_axes(attrs.conv.dilation, at, 5, n_spatial, 1));
    LG_TRY(read_pads(attrs.conv.pads, at, 4, n_spatial, attrs.conv.stride, attrs.conv.dilation));
    LG_TRY(lg_script_int(&attrs.conv.groups, at, g));
    LG_TRY(window_layer(at, LG_OP_CONV, &attrs));
done:
    return status;
}

static lego_status convert_conv(lg_script_at *at)
{
    return convolution_at(at, 6);
}

/* (x, weight, bias, stride, padding, output_padding, groups, dilation); arguments p, g and d say where the last three are */
static lego_status transposed_at(lg_script_at *at, int p, int g, int d)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_CONV_TRANSPOSE);
    lg_conv_transpose_attrs *conv = &attrs.conv_transpose;
    int n_spatial;
    lego_status status = LEGO_OK;

    LG_TRY(count_axes(&n_spatial, at));
    LG_TRY(lg_script_axes(conv->stride, at, 3, n_spatial, 1));
    LG_TRY(lg_script_pads(conv->pads, at, 4, n_spatial));
    LG_TRY(lg_script_axes(conv->output_padding, at, p, n_spatial, 0));
    LG_TRY(lg_script_int(&conv->groups, at, g));
    LG_TRY(lg_script_axes(conv->dilation, at, d, n_spatial, 1));
    LG_TRY(window_layer(at, LG_OP_CONV_TRANSPOSE, &attrs));
done:
    return status;
}

static lego_status convert_conv_transpose(lg_script_at *at)
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

/* --- normalisation --- */

/* By running statistics, arguments 1 to 4: weight, bias, mean, var; momentum and eps at argument m. */
static lego_status tracked_norm(lg_script_at *at, int m)
{
    static const char *const slots[4] = { "weight", "bias", "running_mean", "running_var" };
    lg_attrs attrs = lg_script_defaults(LG_OP_BATCH_NORM);
    int32_t x, y, weights[4];
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_number(&attrs.batch_norm.momentum, at, m));
    LG_TRY(lg_script_number(&attrs.batch_norm.eps, at, m + 1));
    LG_TRY(lg_script_input(&x, at, 0));
    for (int i = 0; i < 4; i++)
        LG_TRY(lg_script_weight(&weights[i], at, i + 1, slots[i], LG_SCRIPT_AS_IS));
    LG_TRY(lg_script_emit(&y, at, LG_OP_BATCH_NORM, &attrs, 1, &x, 4, weights));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

/* batch_norm(x, weight, bias, mean, var, training, momentum, eps, cudnn) */
static lego_status convert_batch_norm(lg_script_at *at)
{
    int64_t training = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_int(&training, at, 5));
    if (training || lg_script_is_none(at, 3))
        LG_FAIL(LEGO_EUNSUPPORTED, "it uses the batch's own statistics (track_running_stats=False, or a trace in training "
                "mode)");
    LG_TRY(tracked_norm(at, 6));
done:
    return status;
}

static lego_status own_norm(lg_script_at *at, lg_op_kind kind, const lg_attrs *attrs, int i_weight)
{
    int32_t x, y, weights[2];
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(&x, at, 0));
    LG_TRY(lg_script_weight(&weights[0], at, i_weight, "weight", LG_SCRIPT_AS_IS));
    LG_TRY(lg_script_weight(&weights[1], at, i_weight + 1, "bias", LG_SCRIPT_AS_IS));
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
    lg_place place;
    int32_t value, y, weights[2];
    lego_status status = LEGO_OK;

    if (!x || shape->type != LG_SCRIPT_INTS)
        LG_FAIL(LEGO_EUNSUPPORTED, "unknown arguments");
    LG_TRY(lg_script_placed(&value, &place, at, 0));
    if (place.dim >= x->n_dims - shape->n || shape->n < 1)
        LG_FAIL(LEGO_EUNSUPPORTED, "a normalisation over the batch");
    attrs.layer_norm.axis = lg_place_axis(&place, x->n_dims - shape->n);
    LG_TRY(lg_script_number(&attrs.layer_norm.eps, at, 4));
    LG_TRY(lg_script_weight(&weights[0], at, 2, "weight", LG_SCRIPT_AS_IS));
    LG_TRY(lg_script_weight(&weights[1], at, 3, "bias", LG_SCRIPT_AS_IS));
    LG_TRY(lg_script_emit(&y, at, LG_OP_LAYER_NORM, &attrs, 1, &value, 2, weights));
    LG_TRY(lg_script_finish_placed(at, 0, y, &place));
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
    if (!own)
        return tracked_norm(at, 6);
    if (!x || x->n_dims < 3)
        LG_FAIL(LEGO_EUNSUPPORTED, "a value without channels");
    attrs.group_norm.groups = x->dims[1];
    LG_TRY(lg_script_number(&attrs.group_norm.eps, at, 7));
    LG_TRY(own_norm(at, LG_OP_GROUP_NORM, &attrs, 1));
done:
    return status;
}

const lg_script_op lg_script_layer_ops[] = {
    { "conv1d", convert_conv },
    { "conv2d", convert_conv },
    { "conv3d", convert_conv },
    { "_convolution", convert_convolution },
    { "convolution", convert_convolution },
    { "conv_transpose1d", convert_conv_transpose },
    { "conv_transpose2d", convert_conv_transpose },
    { "conv_transpose3d", convert_conv_transpose },
    { "batch_norm", convert_batch_norm },
    { "layer_norm", convert_layer_norm },
    { "group_norm", convert_group_norm },
    { "instance_norm", convert_instance_norm },
    { NULL, NULL },
};
