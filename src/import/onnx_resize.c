/* Resize and Upsample: our upsample op where it reads the places that the file's mode reads; where not (cubic, and coordinates
 * or roundings that torch does not have), each axis is a product with a constant matrix, which says any of them. */
#include "import/onnx.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "graph/ops/common.h"

#define MAX_RESIZED 65536 /* extents of a resized value: places are compared one by one */
#define MAX_MATRIX ((int64_t)1 << 24)

typedef struct resize {
    int n_spatial;                   /* axes of the file's value, in all lists */
    int64_t in[LG_MAX_AXES], out[LG_MAX_AXES];
    double scale[LG_MAX_AXES];       /* out / in, or as the file gives it */
    ProtobufCBinaryData coordinates; /* coordinate_transformation_mode */
    ProtobufCBinaryData mode, rounding; /* mode, nearest_mode */
    double cubic_a;                  /* cubic_coeff_a */
    int64_t is_inside;               /* exclude_outside */
} resize;

/* The place in the input that element `i` of the output reads (ONNX, Resize); NaN for an unknown mode. */
static double place_of(const resize *r, int axis, int64_t i)
{
    const double x = (double)i, in = (double)r->in[axis], scale = r->scale[axis];
    const double out = scale * in; /* the standard's reference does not round it, r->out does */

    if (lg_onnx_text_is(&r->coordinates, "asymmetric"))
        return x / scale;
    if (lg_onnx_text_is(&r->coordinates, "half_pixel"))
        return (x + 0.5) / scale - 0.5;
    if (lg_onnx_text_is(&r->coordinates, "pytorch_half_pixel"))
        return out > 1.0 ? (x + 0.5) / scale - 0.5 : 0.0;
    if (lg_onnx_text_is(&r->coordinates, "align_corners"))
        return out != 1.0 ? x * (in - 1.0) / (out - 1.0) : 0.0;
    return NAN;
}

static double round_place(const resize *r, double place)
{
    if (lg_onnx_text_is(&r->rounding, "floor"))
        return floor(place);
    if (lg_onnx_text_is(&r->rounding, "ceil"))
        return ceil(place);
    if (lg_onnx_text_is(&r->rounding, "round_prefer_floor"))
        return ceil(place - 0.5);
    return lg_onnx_text_is(&r->rounding, "round_prefer_ceil") ? floor(place + 0.5) : NAN;
}

static double clamp(double place, int64_t extent)
{
    return place < 0.0 ? 0.0 : place > (double)(extent - 1) ? (double)(extent - 1) : place;
}

/* Whether our op, in this mode, reads the places that the file's reads (ops/upsample.c has the definitions). */
static int reads_the_same(const resize *r, int mode, int align_corners)
{
    for (int axis = 0; axis < r->n_spatial; axis++)
        for (int64_t i = 0; i < r->out[axis]; i++) {
            const double theirs = place_of(r, axis, i);
            const double in = (double)r->in[axis], out = (double)r->out[axis];
            double ours;

            if (mode == LG_UPSAMPLE_NEAREST) {
                if (clamp(round_place(r, theirs), r->in[axis]) == (double)(i * r->in[axis] / r->out[axis]))
                    continue;
                return 0;
            }
            if (align_corners)
                ours = out > 1.0 ? (double)i * (in - 1.0) / (out - 1.0) : 0.0;
            else
                ours = ((double)i + 0.5) * in / out - 0.5;
            if (!(fabs(clamp(theirs, r->in[axis]) - clamp(ours, r->in[axis])) <= 1e-6))
                return 0;
        }
    return 1;
}

/* --- as products with matrices --- */

static double cubic(double a, double x)
{
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    return x < 2.0 ? ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a : 0.0;
}

/* How much of each input element is in output element i: row i of a matrix (out,in). */
static lego_status fill_row(double *row, const resize *r, int axis, int64_t i)
{
    const double place = place_of(r, axis, i);
    const int is_cubic = lg_onnx_text_is(&r->mode, "cubic"), is_nearest = lg_onnx_text_is(&r->mode, "nearest");
    const int64_t in = r->in[axis], low = (int64_t)floor(place);
    double sum = 0.0;

    if (!(fabs(place) <= 1e9)) /* NaN: a mode that is not known */
        return lg_onnx_unsupported("coordinate mode '%.*s'", (int)(r->coordinates.len > 32 ? 32 : r->coordinates.len),
                                   (const char *)r->coordinates.data);
    memset(row, 0, (size_t)in * sizeof(*row));
    if (is_nearest) {
        row[(int64_t)clamp(round_place(r, place), in)] = 1.0;
        return LEGO_OK;
    }
    for (int64_t at = low - is_cubic; at <= low + 1 + is_cubic; at++) {
        const double far = (double)at - place, weight = is_cubic ? cubic(r->cubic_a, far) : 1.0 - fabs(far);

        if (r->is_inside && (at < 0 || at >= in))
            continue;
        row[at < 0 ? 0 : at >= in ? in - 1 : at] += weight;
        sum += weight;
    }
    for (int64_t k = 0; r->is_inside && k < in; k++)
        row[k] /= sum;
    return LEGO_OK;
}

/* The matrix (in,out) of one axis as a constant of the graph. */
static lego_status emit_matrix(int32_t *out, lg_onnx_node *node, const resize *r, int axis)
{
    const lg_shape shape = { 2, { r->in[axis], r->out[axis] } };
    char *name = lg_asprintf("%s.axis%d", node->name, axis);
    lego_tensor matrix = { 0 };
    double *row = NULL;
    int32_t weight;
    lego_status status = LEGO_OK;

    if (!name)
        LG_FAIL(LEGO_ENOMEM, "out of memory naming a matrix of '%s'", node->name);
    if (shape.dims[0] * shape.dims[1] > MAX_MATRIX)
        LG_FAIL(LEGO_EUNSUPPORTED, "resizing %lld to %lld in this mode", (long long)shape.dims[0], (long long)shape.dims[1]);
    LG_TRY(LG_CALLOC(&row, r->in[axis]));
    LG_TRY(lg_tensor_init(&matrix, LEGO_DTYPE_F32, &shape));
    for (int64_t i = 0; i < r->out[axis]; i++) {
        LG_TRY(fill_row(row, r, axis, i));
        for (int64_t k = 0; k < r->in[axis]; k++)
            ((float *)lg_tensor_data(&matrix))[k * r->out[axis] + i] = (float)row[k];
    }
    LG_TRY(lg_graph_add_weight(&weight, node->import->graph, name, &matrix));
    LG_TRY(lg_onnx_emit_constant(out, node, weight));
done:
    lg_tensor_dispose(&matrix);
    lg_free(row);
    lg_free(name);
    return status;
}

/* Resize axis `axis` of a value: turned to the end, as rows, times the matrix, and back. */
static lego_status emit_product(int32_t *y, lg_onnx_node *node, int32_t x, int axis, int32_t matrix, int64_t extent)
{
    const lg_shape in = *lg_onnx_shape(node, x);
    lg_attrs there = lg_onnx_defaults(LG_OP_PERMUTE), back = there;
    lg_dims rows = { 2, { 1, in.dims[axis] } }, form = { 0, { 0 } };
    const int is_last = axis == in.n_dims - 1;
    lego_status status = LEGO_OK;

    there.permute.order.n = back.permute.order.n = in.n_dims - 1;
    for (int i = 1, n = 0; i < in.n_dims; i++) {
        if (i == axis)
            continue;
        there.permute.order.dims[n] = i;
        back.permute.order.dims[i - 1] = ++n;
        form.dims[form.n++] = in.dims[i];
        rows.dims[0] = lg_mul_sat(rows.dims[0], in.dims[i]);
    }
    there.permute.order.dims[in.n_dims - 2] = axis;
    back.permute.order.dims[axis - 1] = in.n_dims - 1;
    form.dims[form.n++] = extent;
    if (!is_last)
        LG_TRY(lg_onnx_emit(&x, node, LG_OP_PERMUTE, &there, x));
    LG_TRY(lg_onnx_emit_reshape(&x, node, x, &rows));
    LG_TRY(lg_onnx_emit_full(&x, node, LG_OP_MATMUL, NULL, 2, (const int32_t[]){ x, matrix }, 0, NULL));
    LG_TRY(lg_onnx_emit_reshape(&x, node, x, &form));
    if (!is_last)
        LG_TRY(lg_onnx_emit(&x, node, LG_OP_PERMUTE, &back, x));
    *y = x;
done:
    return status;
}

static lego_status emit_by_matrices(int32_t *y, lg_onnx_node *node, const resize *r, int32_t x)
{
    lego_status status = LEGO_OK;

    *y = x;
    for (int i = 0; i < r->n_spatial; i++) {
        const int axis = lg_onnx_shape(node, x)->n_dims - r->n_spatial + i;
        int32_t matrix;

        if (r->out[i] == r->in[i] && r->scale[i] == 1.0)
            continue;
        LG_TRY(emit_matrix(&matrix, node, r, i));
        LG_TRY(emit_product(y, node, *y, axis, matrix, r->out[i]));
    }
done:
    return status;
}

static lego_status emit_resize(lg_onnx_node *node, const resize *r, int32_t x)
{
    const int is_linear = lg_onnx_text_is(&r->mode, "linear"), is_nearest = lg_onnx_text_is(&r->mode, "nearest");
    lg_attrs attrs = lg_onnx_defaults(LG_OP_UPSAMPLE);
    int32_t y;
    int found = 0;
    lego_status status = LEGO_OK;

    if (!is_linear && !is_nearest && !lg_onnx_text_is(&r->mode, "cubic"))
        LG_FAIL(LEGO_EUNSUPPORTED, "resizing with mode '%.*s', 'nearest', 'linear' and 'cubic' are supported",
                (int)(r->mode.len > 32 ? 32 : r->mode.len), (const char *)r->mode.data);
    attrs.upsample.mode = is_nearest ? LG_UPSAMPLE_NEAREST : LG_UPSAMPLE_BILINEAR;
    for (int i = 0; i < r->n_spatial; i++) {
        if (r->out[i] < 1 || r->out[i] > MAX_RESIZED || r->in[i] > MAX_RESIZED)
            LG_FAIL(LEGO_EUNSUPPORTED, "resizing %lld to %lld, 1 to %d are possible", (long long)r->in[i],
                    (long long)r->out[i], MAX_RESIZED);
        attrs.upsample.size[lg_onnx_spatial_axes(r->n_spatial) - r->n_spatial + i] = r->out[i];
    }
    for (int align = 0; !found && (is_linear || is_nearest) && !r->is_inside && align <= is_linear; align++) {
        attrs.upsample.align_corners = align;
        found = reads_the_same(r, attrs.upsample.mode, align);
    }
    if (found)
        LG_TRY(lg_onnx_emit(&y, node, LG_OP_UPSAMPLE, &attrs, x));
    else
        LG_TRY(emit_by_matrices(&y, node, r, x));
    LG_TRY(lg_onnx_leave_window(node, y, r->n_spatial));
done:
    return status;
}

/* Sizes (N,C,...) or scales, of which those of batch and channels must keep them. */
static lego_status read_scales(resize *r, const lg_onnx_node *node, int index, const char *attribute)
{
    const lg_onnx_value *value = index >= 0 ? lg_onnx_input(node, index) : NULL;
    const Onnx__AttributeProto *list = attribute ? lg_onnx_attribute(node, attribute) : NULL;
    const int64_t n = list ? (int64_t)list->n_floats : value && value->is_constant ? lg_tensor_count(&value->constant)
                                                                                   : 0;

    if (n != 2 + r->n_spatial)
        return lg_onnx_unsupported("scales must be constants, one for each of %d axes", 2 + r->n_spatial);
    for (int i = 0; i < n; i++) {
        const double scale = list ? (double)list->floats[i] : lg_onnx_element(&value->constant, i);

        if (i < 2 && scale != 1.0)
            return lg_onnx_unsupported("a scale of %g for axis %d; rows and columns can be resized", scale, i);
        if (!(scale > 0.0 && scale <= (double)MAX_RESIZED))
            return lg_onnx_unsupported("a scale of %g", scale);
        if (i < 2)
            continue;
        r->scale[i - 2] = scale;
        r->out[i - 2] = (int64_t)floor((double)r->in[i - 2] * scale);
    }
    return LEGO_OK;
}

static lego_status read_sizes(resize *r, const lg_onnx_node *node, int index, const lg_shape *in)
{
    lg_dims sizes;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_constant_ints(&sizes, node, index));
    if (sizes.n != 2 + r->n_spatial)
        return lg_onnx_unsupported("sizes must be constants, one for each of %d axes", 2 + r->n_spatial);
    if (sizes.dims[0] != node->import->batch || sizes.dims[1] != in->dims[1])
        LG_FAIL(LEGO_EUNSUPPORTED, "sizes that change the batch or the channels");
    for (int i = 0; i < r->n_spatial; i++) {
        r->out[i] = sizes.dims[2 + i];
        r->scale[i] = (double)r->out[i] / (double)r->in[i];
    }
done:
    return status;
}

static int is_given(const lg_onnx_node *node, int index)
{
    const lg_onnx_value *value = lg_onnx_input(node, index);

    return value && !(value->is_constant && lg_tensor_count(&value->constant) == 0);
}

static lego_status convert_resize(lg_onnx_node *node)
{
    const int64_t opset = node->import->opset;
    const int is_upsample = strcmp(node->proto->op_type, "Upsample") == 0;
    ProtobufCBinaryData policy;
    const lg_shape *in;
    resize r = { 0 };
    int64_t flag;
    int32_t x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_enter_window(&x, &r.n_spatial, node));
    in = lg_onnx_shape(node, x);
    memcpy(r.in, in->dims + in->n_dims - r.n_spatial, (size_t)r.n_spatial * sizeof(*r.in));
    LG_TRY(lg_onnx_text(&r.mode, node, "mode", "nearest"));
    r.cubic_a = -0.75;
    if (is_upsample || opset < 11) { /* coordinates and rounding were not said */
        LG_TRY(lg_onnx_text(&r.coordinates, node, "coordinate_transformation_mode", "asymmetric"));
        LG_TRY(lg_onnx_text(&r.rounding, node, "nearest_mode", "floor"));
        LG_TRY(read_scales(&r, node, is_upsample && opset < 9 ? -1 : 1, is_upsample && opset < 9 ? "scales" : NULL));
        LG_TRY(emit_resize(node, &r, x));
        goto done;
    }
    LG_TRY(lg_onnx_int(&flag, node, "antialias", 0));
    if (flag)
        LG_FAIL(LEGO_EUNSUPPORTED, "antialias is set; export without it");
    LG_TRY(lg_onnx_int(&r.is_inside, node, "exclude_outside", 0));
    LG_TRY(lg_onnx_float(&r.cubic_a, node, "cubic_coeff_a", -0.75));
    LG_TRY(lg_onnx_text(&r.coordinates, node, "coordinate_transformation_mode", "half_pixel"));
    LG_TRY(lg_onnx_text(&r.rounding, node, "nearest_mode", "round_prefer_floor"));
    LG_TRY(lg_onnx_text(&policy, node, "keep_aspect_ratio_policy", "stretch"));
    if (lg_onnx_attribute(node, "axes") || !lg_onnx_text_is(&policy, "stretch"))
        LG_FAIL(LEGO_EUNSUPPORTED, "axes or keep_aspect_ratio_policy are set; give the sizes of all axes");
    if (is_given(node, 3))
        LG_TRY(read_sizes(&r, node, 3, in));
    else
        LG_TRY(read_scales(&r, node, 2, NULL));
    LG_TRY(emit_resize(node, &r, x));
done:
    return status;
}

const lg_onnx_op lg_onnx_resize_ops[] = {
    { "Resize", convert_resize },
    { "Upsample", convert_resize },
    { NULL, NULL },
};
