/* Converters of ops that move elements: reshape and its kin, transpose, concat, split, slice, and ops that do nothing.
 * The batch stays axis 0 in all of them: what would move it, cut it or fold it into another axis is refused. */
#include "import/onnx.h"

#include <string.h>

#include "graph/ops/common.h"

static lego_status convert_identity(lg_onnx_node *node)
{
    int32_t x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation(&x, node, 0));
    LG_TRY(lg_onnx_finish(node, 0, x));
done:
    return status;
}

/* Outside training it does nothing. Up to opset 6 is_test says so, since opset 12 input 2 may say the opposite. */
static lego_status convert_dropout(lg_onnx_node *node)
{
    double ratio, training = 0.0;
    int64_t is_test;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_int(&is_test, node, "is_test", node->import->opset >= 7));
    LG_TRY(lg_onnx_number(&ratio, node, "ratio", 1, 12, 0.5));
    if (node->import->opset >= 12)
        LG_TRY(lg_onnx_number(&training, node, "", 2, 12, 0.0));
    if (!is_test || (training != 0.0 && ratio != 0.0))
        LG_FAIL(LEGO_EUNSUPPORTED, "it is in training mode; export the model in eval mode");
    LG_TRY(convert_identity(node));
done:
    return status;
}

/* Values are FLOAT, so a cast of one does nothing or cannot be. */
static lego_status convert_cast(lg_onnx_node *node)
{
    int64_t to;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_int(&to, node, "to", 0));
    if (to != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT)
        LG_FAIL(LEGO_EUNSUPPORTED, "a cast to element type %lld, values are FLOAT (1)", (long long)to);
    LG_TRY(convert_identity(node));
done:
    return status;
}

static lego_status convert_flatten(lg_onnx_node *node)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_FLATTEN);
    const lg_dims one = { 1, { 1 } };
    int64_t axis;
    int n_dims;
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation(&x, node, 0));
    n_dims = lg_onnx_shape(node, x)->n_dims;
    LG_TRY(lg_onnx_int(&axis, node, "axis", 1));
    if (axis < 0)
        axis += n_dims;
    if (axis != 1)
        LG_FAIL(LEGO_EUNSUPPORTED, "axis %lld: the batch would be folded into other axes", (long long)axis);
    if (n_dims == 1)
        LG_TRY(lg_onnx_emit_reshape(&y, node, x, &one));
    else
        LG_TRY(lg_onnx_emit(&y, node, LG_OP_FLATTEN, &attrs, x));
    LG_TRY(lg_onnx_finish(node, 0, y));
done:
    return status;
}

/* The first extent must be the batch: its mark, 0 (as the input), the file's own batch, or what is left (-1). */
static lego_status convert_reshape(lg_onnx_node *node)
{
    lg_dims wanted, shape = { 0, { 0 } };
    const lg_shape *in;
    int64_t allow_zero, total = 1, known = 1;
    int is_batch, open_axes = 0;
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation(&x, node, 0));
    LG_TRY(lg_onnx_list(&wanted, node, "shape", 1, 5));
    LG_TRY(lg_onnx_int(&allow_zero, node, "allowzero", 0));
    in = lg_onnx_shape(node, x);
    if (wanted.n < 2)
        LG_FAIL(LEGO_EUNSUPPORTED, "a shape of %lld axes: the batch would be folded into others",
                (long long)(wanted.n < 0 ? 0 : wanted.n));
    for (int i = 1; i < in->n_dims; i++)
        total = lg_mul_sat(total, in->dims[i]);
    for (int i = 1; i < wanted.n; i++) {
        int64_t extent = wanted.dims[i];

        if (extent == 0 && !allow_zero && i < in->n_dims)
            extent = in->dims[i];
        if (extent == LG_ONNX_BATCH || (extent < 1 && extent != -1))
            LG_FAIL(LEGO_EUNSUPPORTED, "the batch, or an extent of 0, at axis %d", i);
        open_axes += extent == -1;
        if (extent != -1)
            known = lg_mul_sat(known, extent);
        shape.dims[shape.n++] = extent;
    }
    is_batch = wanted.dims[0] == LG_ONNX_BATCH || (wanted.dims[0] == 0 && !allow_zero) ||
               (node->import->batch != LG_NONE && wanted.dims[0] == node->import->batch);
    if (open_axes > 1 || (open_axes == 1 && wanted.dims[0] == -1))
        return lg_onnx_malformed(node, "the shape leaves two extents open");
    if (!is_batch && (open_axes == 1 || known != total || wanted.dims[0] == 0 || wanted.dims[0] < -1))
        LG_FAIL(LEGO_EUNSUPPORTED, "the first extent is not the batch; export with a dynamic batch axis");
    LG_TRY(lg_onnx_emit_reshape(&y, node, x, &shape));
    LG_TRY(lg_onnx_finish(node, 0, y));
done:
    return status;
}

/* A reshape to `to`, whose first axis must still be the batch. */
static lego_status give_shape(lg_onnx_node *node, int32_t x, const lg_shape *to)
{
    lg_dims shape = { to->n_dims - 1, { 0 } };
    int32_t y;
    lego_status status = LEGO_OK;

    if (to->n_dims < 1 || to->dims[0] != LG_BATCH)
        return lg_onnx_unsupported("the batch would not stay the first axis");
    memcpy(shape.dims, to->dims + 1, (size_t)shape.n * sizeof(*shape.dims));
    LG_TRY(lg_onnx_emit_reshape(&y, node, x, &shape));
    LG_TRY(lg_onnx_finish(node, 0, y));
done:
    return status;
}

typedef lego_status (*new_shape)(lg_shape *out, const lg_onnx_node *node, const lg_shape *in);

/* The same elements in the shape that `of` says. */
static lego_status convert_axes(lg_onnx_node *node, new_shape of)
{
    lg_shape shape;
    int32_t x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation(&x, node, 0));
    LG_TRY(of(&shape, node, lg_onnx_shape(node, x)));
    LG_TRY(give_shape(node, x, &shape));
done:
    return status;
}

static lego_status convert_unsqueeze(lg_onnx_node *node)
{
    return convert_axes(node, lg_onnx_unsqueezed);
}

static lego_status convert_squeeze(lg_onnx_node *node)
{
    return convert_axes(node, lg_onnx_squeezed);
}

/* (C s s, H, W) <-> (C, H s, W s), by a reshape, a permutation and a reshape. Torch's pixel shuffle is the mode CRD. */
static lego_status convert_depth_space(lg_onnx_node *node)
{
    const int to_space = node->proto->op_type[0] == 'D';
    lg_attrs attrs = lg_onnx_defaults(LG_OP_PERMUTE);
    lg_dims *order = &attrs.permute.order, split, joined;
    ProtobufCBinaryData mode;
    int64_t s, c, h, w;
    int32_t x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation_of(&x, node, 0, 4));
    LG_TRY(lg_onnx_int(&s, node, "blocksize", 0));
    LG_TRY(lg_onnx_text(&mode, node, "mode", "DCR"));
    c = lg_onnx_shape(node, x)->dims[1];
    h = lg_onnx_shape(node, x)->dims[2];
    w = lg_onnx_shape(node, x)->dims[3];
    if (s < 1 || s > 4096 || (to_space ? c % (s * s) : h % s | w % s) != 0)
        return lg_onnx_malformed(node, "blocksize %lld does not divide (%lld,%lld,%lld)", (long long)s, (long long)c,
                                 (long long)h, (long long)w);
    if (!to_space) {
        split = (lg_dims){ 5, { c, h / s, s, w / s, s } };
        *order = (lg_dims){ 5, { 3, 5, 1, 2, 4 } };
        joined = (lg_dims){ 3, { c * s * s, h / s, w / s } };
    } else if (lg_onnx_text_is(&mode, "CRD")) {
        split = (lg_dims){ 5, { c / (s * s), s, s, h, w } };
        *order = (lg_dims){ 5, { 1, 4, 2, 5, 3 } };
        joined = (lg_dims){ 3, { c / (s * s), h * s, w * s } };
    } else {
        split = (lg_dims){ 5, { s, s, c / (s * s), h, w } };
        *order = (lg_dims){ 5, { 3, 4, 1, 5, 2 } };
        joined = (lg_dims){ 3, { c / (s * s), h * s, w * s } };
    }
    LG_TRY(lg_onnx_emit_reshape(&x, node, x, &split));
    LG_TRY(lg_onnx_emit(&x, node, LG_OP_PERMUTE, &attrs, x));
    LG_TRY(lg_onnx_emit_reshape(&x, node, x, &joined));
    LG_TRY(lg_onnx_finish(node, 0, x));
done:
    return status;
}

static lego_status convert_transpose(lg_onnx_node *node)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_PERMUTE);
    lg_dims order;
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation(&x, node, 0));
    LG_TRY(lg_onnx_ints(&order, node, "perm"));
    if (order.n < 1 || order.dims[0] != 0)
        LG_FAIL(LEGO_EUNSUPPORTED, "the batch would not stay the first axis");
    attrs.permute.order.n = order.n - 1;
    memcpy(attrs.permute.order.dims, order.dims + 1, (size_t)(order.n - 1) * sizeof(*order.dims));
    LG_TRY(lg_onnx_emit(&y, node, LG_OP_PERMUTE, &attrs, x));
    LG_TRY(lg_onnx_finish(node, 0, y));
done:
    return status;
}

#define MAX_JOINED 256

static lego_status convert_concat(lg_onnx_node *node)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_CONCAT);
    const int n = lg_onnx_n_inputs(node);
    int32_t inputs[MAX_JOINED], y;
    int n_dims = 0;
    lego_status status = LEGO_OK;

    if (n < 1 || n > MAX_JOINED)
        return lg_onnx_unsupported("%d inputs, 1 to %d are supported", n, MAX_JOINED);
    for (int i = 0; i < n && n_dims == 0; i++) {
        const lg_onnx_value *value = lg_onnx_input(node, i);
        n_dims = value && !value->is_constant ? lg_onnx_shape(node, value->value)->n_dims : 0;
    }
    LG_TRY(lg_onnx_int(&attrs.axis.axis, node, "axis", 1));
    LG_TRY(lg_onnx_axis(&attrs.axis.axis, node, n_dims));
    if (attrs.axis.axis == 0)
        LG_FAIL(LEGO_EUNSUPPORTED, "values would be joined along the batch");
    for (int i = 0; i < n; i++)
        LG_TRY(lg_onnx_operand(&inputs[i], node, i, n_dims));
    LG_TRY(lg_onnx_emit_full(&y, node, LG_OP_CONCAT, &attrs, n, inputs, 0, NULL));
    LG_TRY(lg_onnx_finish(node, 0, y));
done:
    return status;
}

static lego_status convert_split(lg_onnx_node *node)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_SPLIT);
    const int64_t n = (int64_t)node->proto->n_output;
    lg_dims sizes;
    int64_t axis, extent;
    int32_t x, first;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation(&x, node, 0));
    LG_TRY(lg_onnx_int(&axis, node, "axis", 0));
    LG_TRY(lg_onnx_axis(&axis, node, lg_onnx_shape(node, x)->n_dims));
    LG_TRY(lg_onnx_list(&sizes, node, "split", 1, 13));
    if (axis == 0)
        LG_FAIL(LEGO_EUNSUPPORTED, "the batch would be split");
    if (n < 1 || n > LEGO_MAX_DIMS || (sizes.n >= 0 && sizes.n != n))
        LG_FAIL(LEGO_EUNSUPPORTED, "%lld outputs and %lld sizes, up to %d outputs are supported", (long long)n,
                (long long)sizes.n, LEGO_MAX_DIMS);
    extent = lg_onnx_shape(node, x)->dims[axis];
    for (int64_t i = 0; sizes.n < 0 && i < n; i++) { /* equal parts; since opset 18 the last may be smaller */
        const int64_t part = (extent + n - 1) / n;

        if (node->import->opset < 18 && extent % n != 0)
            LG_FAIL(LEGO_EFORMAT, "node '%s' (Split): %lld elements in %lld equal parts", node->name,
                    (long long)extent, (long long)n);
        sizes.dims[i] = i < n - 1 ? part : extent - part * (n - 1);
    }
    attrs.split.axis = axis;
    attrs.split.sizes = sizes;
    attrs.split.sizes.n = n;
    LG_TRY(lg_onnx_emit(&first, node, LG_OP_SPLIT, &attrs, x));
    for (int i = 0; i < n; i++)
        LG_TRY(lg_onnx_finish(node, i, first + i));
done:
    return status;
}

/* One run an axis; negative places count from the end, places outside are clamped (ONNX, Slice). */
static lego_status convert_slice(lg_onnx_node *node)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_SLICE);
    lg_onnx_slices slices;
    int32_t y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation(&y, node, 0));
    LG_TRY(lg_onnx_slice_lists(&slices, node, lg_onnx_shape(node, y)->n_dims));
    for (int i = 0; i < slices.n; i++) {
        const int64_t axis = slices.axes[i], extent = lg_onnx_shape(node, y)->dims[axis];
        int64_t start = slices.starts[i], end = slices.ends[i], n;

        if (axis == 0) {
            if (start != 0 || (end < INT32_MAX && end != LG_ONNX_BATCH) || slices.steps[i] != 1)
                LG_FAIL(LEGO_EUNSUPPORTED, "the batch would be cut");
            continue;
        }
        LG_TRY(lg_onnx_slice_clamp(&n, &start, &end, node, slices.steps[i], extent));
        if (n == 0)
            LG_FAIL(LEGO_EUNSUPPORTED, "nothing of axis %lld would be left", (long long)axis);
        if (start == 0 && n == extent)
            continue;
        attrs.slice.axis = axis;
        attrs.slice.start = start;
        attrs.slice.end = end;
        attrs.slice.step = slices.steps[i];
        LG_TRY(lg_onnx_emit(&y, node, LG_OP_SLICE, &attrs, y));
    }
    LG_TRY(lg_onnx_finish(node, 0, y));
done:
    return status;
}

/* By constant indices that follow each other: a run of an axis; one index without an axis of its own takes it away. */
static lego_status convert_gather(lg_onnx_node *node)
{
    lg_attrs attrs = lg_onnx_defaults(LG_OP_SLICE);
    const lg_onnx_value *indices = lg_onnx_input(node, 1);
    lg_shape in, shape = { 0 };
    int64_t n, first;
    int32_t x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation(&x, node, 0));
    LG_TRY(lg_onnx_int(&attrs.slice.axis, node, "axis", 0));
    in = *lg_onnx_shape(node, x);
    LG_TRY(lg_onnx_axis(&attrs.slice.axis, node, in.n_dims));
    if (!indices)
        return lg_onnx_malformed(node, "input 1 is missing");
    if (attrs.slice.axis == 0)
        LG_FAIL(LEGO_EUNSUPPORTED, "samples of the batch would be chosen");
    n = indices->is_constant ? lg_tensor_count(&indices->constant) : 0;
    if (n < 1 || indices->constant.shape.n_dims > 1)
        LG_FAIL(LEGO_EUNSUPPORTED, "indices must be a constant, a number or a list");
    first = lg_onnx_element_int(&indices->constant, 0);
    first += first < 0 ? in.dims[attrs.slice.axis] : 0;
    for (int64_t i = 1; i < n; i++)
        if (lg_onnx_element_int(&indices->constant, i) != first + i)
            LG_FAIL(LEGO_EUNSUPPORTED, "indices that do not follow each other");
    if (first < 0 || first > in.dims[attrs.slice.axis] - n)
        return lg_onnx_malformed(node, "index %lld of %lld elements", (long long)first,
                                 (long long)in.dims[attrs.slice.axis]);
    attrs.slice.start = first;
    attrs.slice.end = first + n;
    LG_TRY(lg_onnx_emit(&x, node, LG_OP_SLICE, &attrs, x));
    if (indices->constant.shape.n_dims == 0) {
        for (int i = 0; i < in.n_dims; i++)
            if (i != attrs.slice.axis)
                shape.dims[shape.n_dims++] = in.dims[i];
        LG_TRY(give_shape(node, x, &shape));
    } else {
        LG_TRY(lg_onnx_finish(node, 0, x));
    }
done:
    return status;
}

/* A constant (1,d1,...) repeated for every sample: a constant node, whose value is there for each. */
static lego_status convert_expand(lg_onnx_node *node)
{
    const lego_tensor *tensor;
    lg_dims wanted;
    int lead;
    int32_t y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_weight_tensor(&tensor, node, 0, -1));
    LG_TRY(lg_onnx_constant_ints(&wanted, node, 1));
    lead = (int)wanted.n - tensor->shape.n_dims;
    if (wanted.n < 1 || lead < 0 || (wanted.dims[0] != LG_ONNX_BATCH && wanted.dims[0] != node->import->batch))
        LG_FAIL(LEGO_EUNSUPPORTED, "the first extent is not the batch; export with a dynamic batch axis");
    for (int i = 1; i < wanted.n; i++)
        if (wanted.dims[i] != 1 && wanted.dims[i] != (i < lead ? 1 : tensor->shape.dims[i - lead]))
            LG_FAIL(LEGO_EUNSUPPORTED, "it repeats axis %d; the batch can be repeated", i);
    LG_TRY(lg_onnx_operand(&y, node, 0, (int)wanted.n));
    LG_TRY(lg_onnx_finish(node, 0, y));
done:
    return status;
}

const lg_onnx_op lg_onnx_shape_ops[] = {
    { "Cast", convert_cast },
    { "Concat", convert_concat },
    { "DepthToSpace", convert_depth_space },
    { "Dropout", convert_dropout },
    { "Expand", convert_expand },
    { "Flatten", convert_flatten },
    { "Gather", convert_gather },
    { "Identity", convert_identity },
    { "Reshape", convert_reshape },
    { "Slice", convert_slice },
    { "SpaceToDepth", convert_depth_space },
    { "Split", convert_split },
    { "Squeeze", convert_squeeze },
    { "Transpose", convert_transpose },
    { "Unsqueeze", convert_unsqueeze },
    { NULL, NULL },
};
