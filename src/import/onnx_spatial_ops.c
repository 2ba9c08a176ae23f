/* Converters of ops that slide over or resize (N,C,H,W) or (N,C,D,H,W): convolutions, pools, padding, resizing. Those over
 * (N,C,W) become two-dimensional ones over (N,C,1,W), between two reshapes.
 *
 * ONNX and torch, whose definitions our ops have, differ in three places, where only what both agree on is taken:
 *   auto_pad   SAME_* becomes explicit padding, computed from the input's extents as the ONNX standard writes it
 *   ceil_mode  ONNX keeps a window that starts in the padding behind the input, torch drops it
 *   Resize     has seven coordinate modes; a mode is taken if it reads the same places as one of ours */
#include "import/onnx.h"

#include <math.h>
#include <string.h>

#include "graph/ops/common.h"

/* Spatial axes of our op where the file's value has `n_spatial`. */
int lg_onnx_spatial_axes(int n_spatial)
{
    return n_spatial == 1 ? 2 : n_spatial;
}

/* The input of a window: (N,C,H,W), (N,C,D,H,W), or (N,C,W) as (N,C,1,W). */
lego_status lg_onnx_enter_window(int32_t *x, int *n_spatial, lg_onnx_node *node)
{
    const lg_shape *shape;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation(x, node, 0));
    shape = lg_onnx_shape(node, *x);
    *n_spatial = shape->n_dims - 2;
    if (*n_spatial < 1 || *n_spatial > LG_MAX_AXES)
        LG_FAIL(LEGO_EUNSUPPORTED, "input '%s' has %d axes, 3 to %d are supported", node->proto->input[0],
                (int)shape->n_dims, 2 + LG_MAX_AXES);
    if (*n_spatial == 1) {
        const lg_dims wide = { 3, { shape->dims[1], 1, shape->dims[2] } };
        LG_TRY(lg_onnx_emit_form(x, node, *x, &wide, "wide"));
    }
done:
    return status;
}

/* The output of a window: back to (N,C,W) if the input was. */
lego_status lg_onnx_leave_window(lg_onnx_node *node, int32_t y, int n_spatial)
{
    const lg_shape *shape = lg_onnx_shape(node, y);
    lego_status status = LEGO_OK;

    if (n_spatial == 1) {
        const lg_dims narrow = { 2, { shape->dims[1], shape->dims[3] } };
        LG_TRY(lg_onnx_emit_form(&y, node, y, &narrow, "narrow"));
    }
    LG_TRY(lg_onnx_finish(node, 0, y));
done:
    return status;
}

/* An attribute's entries by axis; absent, and for the height of (N,C,W): the fallback, which does nothing. */
static lego_status read_axes(int64_t out[LG_MAX_AXES], const lg_onnx_node *node, int n_spatial, const char *name,
                             int64_t min, int64_t fallback)
{
    const int skipped = lg_onnx_spatial_axes(n_spatial) - n_spatial;
    lg_dims list;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_ints(&list, node, name));
    for (int i = 0; i < LG_MAX_AXES; i++)
        out[i] = fallback;
    if (list.n < 0)
        goto done;
    if (list.n != n_spatial)
        return lg_onnx_malformed(node, "%s has %lld entries, %d are needed", name, (long long)list.n, n_spatial);
    for (int i = 0; i < n_spatial; i++) {
        if (list.dims[i] < min || list.dims[i] > LG_MAX_EXTENT)
            return lg_onnx_malformed(node, "%s %lld is not in [%lld, %lld]", name, (long long)list.dims[i],
                                     (long long)min, (long long)LG_MAX_EXTENT);
        out[skipped + i] = list.dims[i];
    }
done:
    return status;
}

/* Pads as the file lists them: all befores, then all behinds. */
static lego_status read_explicit_pads(int64_t pads[LG_MAX_PADS], const lg_onnx_node *node, int n_spatial)
{
    const int n_axes = lg_onnx_spatial_axes(n_spatial), skipped = n_axes - n_spatial;
    lg_dims list;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_ints(&list, node, "pads"));
    if (list.n >= 0 && list.n != 2 * n_spatial)
        return lg_onnx_malformed(node, "pads has %lld entries, %d are needed", (long long)list.n, 2 * n_spatial);
    for (int i = 0; i < list.n; i++) {
        if (list.dims[i] < 0 || list.dims[i] > LG_MAX_EXTENT)
            LG_FAIL(LEGO_EUNSUPPORTED, "pads of %lld", (long long)list.dims[i]);
        pads[i / n_spatial * n_axes + skipped + i % n_spatial] = list.dims[i];
    }
done:
    return status;
}

/* The pads of a window of `kernel` over x, from `pads` or `auto_pad`. */
static lego_status read_pads(int64_t pads[LG_MAX_PADS], const lg_onnx_node *node, int n_spatial, const lg_shape *in,
                             const int64_t *kernel, const int64_t *stride, const int64_t *dilation)
{
    const int n_axes = lg_onnx_spatial_axes(n_spatial);
    ProtobufCBinaryData mode;
    lego_status status = LEGO_OK;

    memset(pads, 0, LG_MAX_PADS * sizeof(*pads));
    LG_TRY(lg_onnx_text(&mode, node, "auto_pad", "NOTSET"));
    if (lg_onnx_text_is(&mode, "NOTSET"))
        return read_explicit_pads(pads, node, n_spatial);
    if (lg_onnx_text_is(&mode, "VALID"))
        goto done;
    if (!lg_onnx_text_is(&mode, "SAME_UPPER") && !lg_onnx_text_is(&mode, "SAME_LOWER"))
        return lg_onnx_malformed(node, "unknown auto_pad '%.*s'", (int)(mode.len > 32 ? 32 : mode.len),
                                 (const char *)mode.data);
    for (int i = 0; i < n_axes; i++) {
        const int64_t extent = in->dims[2 + i], out = (extent + stride[i] - 1) / stride[i];
        int64_t total = (out - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1 - extent;

        total = total < 0 ? 0 : total;
        pads[i] = lg_onnx_text_is(&mode, "SAME_UPPER") ? total / 2 : total - total / 2;
        pads[n_axes + i] = total - pads[i];
    }
done:
    return status;
}

/* Weight and optional bias of a convolution, inputs 1 and 2. The kernel is the weight's; kernel_shape must agree. */
static lego_status read_conv_weights(int32_t weights[2], int64_t kernel[LG_MAX_AXES], lg_onnx_node *node, int n_spatial)
{
    const lego_tensor *tensor, *bias;
    lego_tensor wide = { 0 };
    int64_t wanted[LG_MAX_AXES];
    lego_status status = LEGO_OK;

    weights[0] = weights[1] = LG_NONE;
    LG_TRY(lg_onnx_weight_tensor(&tensor, node, 1, 2 + n_spatial));
    kernel[0] = 1;
    memcpy(kernel + lg_onnx_spatial_axes(n_spatial) - n_spatial, tensor->shape.dims + 2, (size_t)n_spatial * sizeof(*kernel));
    LG_TRY(read_axes(wanted, node, n_spatial, "kernel_shape", 1, 1));
    for (int i = 0; lg_onnx_attribute(node, "kernel_shape") && i < lg_onnx_spatial_axes(n_spatial); i++)
        if (wanted[i] != kernel[i])
            LG_FAIL(LEGO_EFORMAT, "node '%s': kernel_shape says %lld, the weight has %lld", node->name,
                    (long long)wanted[i], (long long)kernel[i]);
    if (n_spatial == 1) {
        lg_tensor_share(&wide, tensor);
        wide.shape = (lg_shape){ 4, { tensor->shape.dims[0], tensor->shape.dims[1], kernel[0], kernel[1] } };
    }
    LG_TRY(lg_onnx_weight(&weights[0], node, 1, n_spatial == 1 ? &wide : NULL));
    if (lg_onnx_input(node, 2)) {
        LG_TRY(lg_onnx_weight_tensor(&bias, node, 2, 1));
        LG_TRY(lg_onnx_weight(&weights[1], node, 2, NULL));
    }
done:
    lg_tensor_dispose(&wide);
    return status;
}

static lego_status convert_conv(lg_onnx_node *node)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_CONV);
    int64_t kernel[LG_MAX_AXES];
    int32_t x, y, weights[2];
    int n_spatial;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_enter_window(&x, &n_spatial, node));
    LG_TRY(read_conv_weights(weights, kernel, node, n_spatial));
    LG_TRY(read_axes(attrs.conv.stride, node, n_spatial, "strides", 1, 1));
    LG_TRY(read_axes(attrs.conv.dilation, node, n_spatial, "dilations", 1, 1));
    LG_TRY(lg_onnx_int(&attrs.conv.groups, node, "group", 1));
    LG_TRY(read_pads(attrs.conv.pads, node, n_spatial, lg_onnx_shape(node, x), kernel, attrs.conv.stride,
                     attrs.conv.dilation));
    LG_TRY(lg_onnx_emit_full(&y, node, LG_OP_CONV, &attrs, 1, &x, 2, weights));
    LG_TRY(lg_onnx_leave_window(node, y, n_spatial));
done:
    return status;
}

/* Padding of a transposed convolution: what it takes off the full output. With output_shape it follows from that. */
static lego_status read_transpose_pads(lg_conv_transpose_attrs *attrs, const lg_onnx_node *node, int n_spatial,
                                       const lg_shape *in, const int64_t *kernel)
{
    const int n_axes = lg_onnx_spatial_axes(n_spatial);
    ProtobufCBinaryData mode;
    int64_t wanted[LG_MAX_AXES];
    int same, upper;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_text(&mode, node, "auto_pad", "NOTSET"));
    LG_TRY(read_axes(wanted, node, n_spatial, "output_shape", 1, 0));
    upper = lg_onnx_text_is(&mode, "SAME_UPPER");
    same = upper || lg_onnx_text_is(&mode, "SAME_LOWER");
    if (!same && wanted[n_axes - 1] == 0)
        return read_pads(attrs->pads, node, n_spatial, in, kernel, attrs->stride, attrs->dilation);
    for (int i = 0; i < n_axes; i++) {
        const int64_t extent = in->dims[2 + i];
        const int64_t target = wanted[i] != 0 ? wanted[i] : extent * attrs->stride[i];
        int64_t total = attrs->stride[i] * (extent - 1) + attrs->output_padding[i] +
                        (kernel[i] - 1) * attrs->dilation[i] + 1 - target;

        if (total < 0) { /* more than the full output */
            attrs->output_padding[i] -= total;
            total = 0;
        }
        attrs->pads[i] = upper ? total / 2 : total - total / 2;
        attrs->pads[n_axes + i] = total - attrs->pads[i];
    }
done:
    return status;
}

static lego_status convert_conv_transpose(lg_onnx_node *node)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_CONV_TRANSPOSE);
    lg_conv_transpose_attrs *conv = &attrs.conv_transpose;
    int64_t kernel[LG_MAX_AXES];
    int32_t x, y, weights[2];
    int n_spatial;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_enter_window(&x, &n_spatial, node));
    LG_TRY(read_conv_weights(weights, kernel, node, n_spatial));
    LG_TRY(read_axes(conv->stride, node, n_spatial, "strides", 1, 1));
    LG_TRY(read_axes(conv->dilation, node, n_spatial, "dilations", 1, 1));
    LG_TRY(read_axes(conv->output_padding, node, n_spatial, "output_padding", 0, 0));
    LG_TRY(lg_onnx_int(&conv->groups, node, "group", 1));
    LG_TRY(read_transpose_pads(conv, node, n_spatial, lg_onnx_shape(node, x), kernel));
    for (int i = 0; i < lg_onnx_spatial_axes(n_spatial); i++)
        if (conv->output_padding[i] > 0 && conv->output_padding[i] >= conv->stride[i] &&
            conv->output_padding[i] >= conv->dilation[i])
            LG_FAIL(LEGO_EUNSUPPORTED, "output padding %lld, which neither stride nor dilation exceeds",
                    (long long)conv->output_padding[i]);
    LG_TRY(lg_onnx_emit_full(&y, node, LG_OP_CONV_TRANSPOSE, &attrs, 1, &x, 2, weights));
    LG_TRY(lg_onnx_leave_window(node, y, n_spatial));
done:
    return status;
}

/* What our pools do not take, along each axis. */
static lego_status check_pool(lg_op_kind kind, const lg_pool_attrs *pool, const lg_shape *in)
{
    const int n_axes = in->n_dims - 2;

    for (int i = 0; i < n_axes; i++) {
        const int64_t reach = pool->dilation[i] * (pool->kernel[i] - 1) + 1;
        const int64_t left = in->dims[2 + i] + pool->pads[i] + pool->pads[n_axes + i] - reach;

        if (kind == LG_OP_AVG_POOL && pool->dilation[i] != 1)
            return lg_onnx_unsupported("an average over a dilated window");
        if (pool->pads[i] >= reach || pool->pads[n_axes + i] >= reach)
            return lg_onnx_unsupported("a window that sees nothing but padding");
        if (pool->ceil_mode && left >= 0 && left % pool->stride[i] != 0 &&
            (left / pool->stride[i] + 1) * pool->stride[i] >= in->dims[2 + i] + pool->pads[i])
            return lg_onnx_unsupported("ceil_mode with a window that starts behind the input; use ceil_mode 0");
    }
    return LEGO_OK;
}

static lego_status convert_pool(lg_onnx_node *node)
{
    const lg_op_kind kind = node->proto->op_type[0] == 'M' ? LG_OP_MAX_POOL : LG_OP_AVG_POOL;
    lg_attrs attrs = lg_onnx_defaults(kind);
    lg_pool_attrs *pool = &attrs.pool;
    int64_t ceil_mode, include;
    int32_t x, y;
    int n_spatial;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_enter_window(&x, &n_spatial, node));
    if (!lg_onnx_attribute(node, "kernel_shape"))
        return lg_onnx_malformed(node, "kernel_shape is missing");
    LG_TRY(read_axes(pool->kernel, node, n_spatial, "kernel_shape", 1, 1));
    LG_TRY(read_axes(pool->stride, node, n_spatial, "strides", 1, 1));
    LG_TRY(read_axes(pool->dilation, node, n_spatial, "dilations", 1, 1));
    LG_TRY(lg_onnx_int(&ceil_mode, node, "ceil_mode", 0));
    LG_TRY(lg_onnx_int(&include, node, "count_include_pad", 0));
    LG_TRY(read_pads(pool->pads, node, n_spatial, lg_onnx_shape(node, x), pool->kernel, pool->stride,
                     pool->dilation));
    pool->ceil_mode = ceil_mode != 0;
    pool->count_include_pad = kind == LG_OP_AVG_POOL && include != 0;
    LG_TRY(check_pool(kind, pool, lg_onnx_shape(node, x)));
    LG_TRY(lg_onnx_emit(&y, node, kind, &attrs, x));
    LG_TRY(lg_onnx_leave_window(node, y, n_spatial));
done:
    return status;
}

static lego_status convert_global_pool(lg_onnx_node *node)
{
    const int is_max = strcmp(node->proto->op_type, "GlobalMaxPool") == 0;
    lg_attrs attrs = lg_onnx_defaults(LG_OP_ADAPTIVE_AVG_POOL); /* both: to one cell */
    int32_t x, y;
    int n_spatial;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_enter_window(&x, &n_spatial, node));
    LG_TRY(lg_onnx_emit(&y, node, is_max ? LG_OP_ADAPTIVE_MAX_POOL : LG_OP_ADAPTIVE_AVG_POOL, &attrs, x));
    LG_TRY(lg_onnx_leave_window(node, y, n_spatial));
done:
    return status;
}

#define MAX_PAD_LIST (2 * (2 + LG_MAX_AXES)) /* before and behind every axis of a volume: more than an lg_dims holds */

/* `pads` of a Pad, an attribute up to opset 10 and an input since. */
static lego_status read_pad_list(int64_t pads[MAX_PAD_LIST], int64_t *n, const lg_onnx_node *node)
{
    const int is_attribute = node->import->opset < 11;
    const Onnx__AttributeProto *attribute = is_attribute ? lg_onnx_attribute(node, "pads") : NULL;
    const lg_onnx_value *value = is_attribute ? NULL : lg_onnx_input(node, 1);

    if (attribute && attribute->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS)
        *n = (int64_t)attribute->n_ints;
    else if (value && value->is_constant && value->constant.shape.n_dims == 1)
        *n = lg_tensor_count(&value->constant);
    else
        return lg_onnx_unsupported("pads must be a constant list");
    if (*n > MAX_PAD_LIST)
        return lg_onnx_unsupported("%lld pads, at most %d are possible", (long long)*n, MAX_PAD_LIST);
    for (int64_t i = 0; i < *n; i++)
        pads[i] = attribute ? attribute->ints[i] : lg_onnx_element_int(&value->constant, i);
    return LEGO_OK;
}

/* The pads of each axis of the file's value: before it, and n_dims further on behind it. */
static lego_status read_pads_of_axes(int64_t all[2 * LEGO_MAX_DIMS], const lg_onnx_node *node, int n_dims)
{
    lg_dims axes = { -1, { 0 } };
    int64_t pads[MAX_PAD_LIST], n_pads = 0;
    lego_status status = LEGO_OK;

    LG_TRY(read_pad_list(pads, &n_pads, node));
    if (node->import->opset >= 18)
        LG_TRY(lg_onnx_constant_ints(&axes, node, 3));
    if (axes.n < 0)
        for (axes.n = 0; axes.n < n_dims; axes.n++)
            axes.dims[axes.n] = axes.n;
    if (axes.n > n_dims || n_pads != 2 * axes.n)
        return lg_onnx_malformed(node, "%lld pads for %lld axes", (long long)n_pads, (long long)axes.n);
    memset(all, 0, 2 * LEGO_MAX_DIMS * sizeof(*all));
    for (int i = 0; i < 2 * axes.n; i++) {
        int64_t axis = axes.dims[i % axes.n];

        LG_TRY(lg_onnx_axis(&axis, node, n_dims));
        if (pads[i] < 0 || pads[i] > LG_MAX_EXTENT)
            LG_FAIL(LEGO_EUNSUPPORTED, "pads of %lld at axis %lld; elements can be added", (long long)pads[i],
                    (long long)axis);
        all[(i >= axes.n) * n_dims + axis] = pads[i];
    }
done:
    return status;
}

/* Whether only axes behind the channels are padded, of a value that windows take. */
static int pads_a_window(const int64_t *pads, const lg_place *place)
{
    const int n_dims = place->shape.n_dims;
    int any = 0;

    if (!lg_place_is_first(place) || n_dims < 3 || n_dims > 2 + LG_MAX_AXES)
        return 0;
    for (int i = 0; i < 2 * n_dims; i++)
        any |= pads[i] != 0;
    return any && pads[0] == 0 && pads[1] == 0 && pads[n_dims] == 0 && pads[n_dims + 1] == 0;
}

static lego_status convert_pad(lg_onnx_node *node)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_PAD);
    ProtobufCBinaryData mode;
    lg_place place;
    int64_t pads[2 * LEGO_MAX_DIMS];
    int32_t x, y;
    int n_spatial, n_dims, n_axes;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_text(&mode, node, "mode", "constant"));
    LG_TRY(lg_onnx_placed(&x, &place, node, 0));
    n_dims = place.shape.n_dims;
    LG_TRY(read_pads_of_axes(pads, node, n_dims));
    if (!lg_onnx_text_is(&mode, "constant"))
        return lg_onnx_pad_with_itself(node, pads, &mode);
    LG_TRY(lg_onnx_number(&attrs.pad.value, node, "value", 2, 11, 0.0));
    if (!pads_a_window(pads, &place))
        return lg_onnx_pad_anywhere(node, pads, attrs.pad.value);
    LG_TRY(lg_onnx_enter_window(&x, &n_spatial, node));
    n_axes = lg_onnx_spatial_axes(n_spatial);
    for (int side = 0; side < 2; side++)
        for (int axis = 2; axis < n_dims; axis++)
            attrs.pad.pads[side * n_axes + axis - n_dims + n_axes] = pads[side * n_dims + axis];
    LG_TRY(lg_onnx_emit(&y, node, LG_OP_PAD, &attrs, x));
    LG_TRY(lg_onnx_leave_window(node, y, n_spatial));
done:
    return status;
}

const lg_onnx_op lg_onnx_spatial_ops[] = {
    { "AveragePool", convert_pool },
    { "Conv", convert_conv },
    { "ConvTranspose", convert_conv_transpose },
    { "GlobalAveragePool", convert_global_pool },
    { "GlobalMaxPool", convert_global_pool },
    { "MaxPool", convert_pool },
    { "Pad", convert_pad },
    { NULL, NULL },
};
