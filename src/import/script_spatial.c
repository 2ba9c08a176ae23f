/* Converters of TorchScript's operators on feature maps over one to three axes: pools, resizing, padding. */
#include "import/script.h"

#include <string.h>

#include "import/pad_runs.h"

/* --- pools --- */

/* Kernel and stride (left out: as the kernel), arguments 1 and 2, padding, argument 3. */
static lego_status read_pool(lg_pool_attrs *pool, const lg_script_at *at, int n_spatial)
{
    const lg_script_arg *stride = lg_script_argument(at, 2);
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_axes(pool->kernel, at, 1, n_spatial, 1));
    if (stride->type == LG_SCRIPT_NONE || (stride->type == LG_SCRIPT_INTS && stride->n == 0))
        memcpy(pool->stride, pool->kernel, sizeof(pool->stride));
    else
        LG_TRY(lg_script_axes(pool->stride, at, 2, n_spatial, 1));
    LG_TRY(lg_script_pads(pool->pads, at, 3, n_spatial));
done:
    return status;
}

/* Of argument 0; 0: none that windows run over. */
static int count_axes(const lg_script_at *at)
{
    const lg_script_tensor *x = lg_script_tensor_of(at, 0);

    return x && x->n_dims >= 3 && x->n_dims <= 2 + LG_MAX_AXES ? x->n_dims - 2 : 0;
}

/* max_pool2d(x, kernel, stride, padding, dilation, ceil_mode); the indices of ..._with_indices must be unused */
static lego_status convert_max_pool(lg_script_at *at)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_MAX_POOL);
    const int n_spatial = count_axes(at);
    int64_t ceil_mode = 0;
    lego_status status = LEGO_OK;

    LG_TRY(read_pool(&attrs.pool, at, n_spatial));
    LG_TRY(lg_script_axes(attrs.pool.dilation, at, 4, n_spatial, 1));
    LG_TRY(lg_script_int(&ceil_mode, at, 5));
    attrs.pool.ceil_mode = ceil_mode != 0;
    LG_TRY(lg_script_refuse_indices(at));
    LG_TRY(lg_script_give_window(at, LG_OP_MAX_POOL, &attrs));
done:
    return status;
}

/* The sum over each window by a divisor of its own: the mean with the pads counted, times what is too much. Windows over the
 * edge (ceil_mode) count less, and are not supported. */
static lego_status divided_pool(lg_script_at *at, lg_attrs *attrs, int n_spatial)
{
    const lg_script_tensor *x = lg_script_tensor_of(at, 0), *out = lg_script_output(at, 0);
    const int n_axes = lg_script_axes_of(n_spatial);
    double divisor = 0.0, elements = 1.0;
    int32_t values[2], y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_number(&divisor, at, 6));
    for (int i = 0; i < n_axes; i++) {
        const int axis = out->n_dims - n_axes + i;
        const int64_t end = (out->dims[axis] - 1) * attrs->pool.stride[i] + attrs->pool.kernel[i];

        if (end > x->dims[axis] + attrs->pool.pads[i] + attrs->pool.pads[n_axes + i])
            LG_FAIL(LEGO_EUNSUPPORTED, "divisor_override with windows over the edge");
        elements *= (double)attrs->pool.kernel[i];
    }
    attrs->pool.count_include_pad = 1;
    attrs->pool.ceil_mode = 0;
    LG_TRY(lg_script_input(&values[0], at, 0));
    LG_TRY(lg_script_emit_unary(&values[0], at, LG_OP_AVG_POOL, attrs, values[0]));
    LG_TRY(lg_script_scalar(&values[1], at, elements / divisor, out->n_dims));
    LG_TRY(lg_script_emit(&y, at, LG_OP_MUL, NULL, 2, values, 0, NULL));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

/* avg_pool2d(x, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override) */
static lego_status convert_avg_pool(lg_script_at *at)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_AVG_POOL);
    int64_t ceil_mode = 0, include = 0;
    lego_status status = LEGO_OK;

    LG_TRY(read_pool(&attrs.pool, at, count_axes(at)));
    LG_TRY(lg_script_int(&ceil_mode, at, 4));
    LG_TRY(lg_script_int(&include, at, 5));
    attrs.pool.ceil_mode = ceil_mode != 0;
    attrs.pool.count_include_pad = include != 0;
    if (!lg_script_is_none(at, 6)) /* avg_pool1d has none */
        return divided_pool(at, &attrs, count_axes(at));
    LG_TRY(lg_script_give_window(at, LG_OP_AVG_POOL, &attrs));
done:
    return status;
}

/* The recorded extents of output 0. */
static void copy_extents(int64_t size[LG_MAX_AXES], const lg_script_at *at)
{
    const lg_script_tensor *out = lg_script_output(at, 0);
    const int n_spatial = count_axes(at);

    size[0] = 1;
    if (out->n_dims == 2 + n_spatial)
        memcpy(size + lg_script_axes_of(n_spatial) - n_spatial, out->dims + 2, (size_t)n_spatial * sizeof(*size));
}

/* The recorded extents, since an entry may be None: as it is. */
static lego_status adaptive(lg_script_at *at, lg_op_kind kind)
{
    lg_attrs attrs = lg_script_defaults(kind);

    copy_extents(attrs.adaptive_pool.size, at);
    return lg_script_give_window(at, kind, &attrs);
}

static lego_status convert_adaptive_avg_pool(lg_script_at *at)
{
    return adaptive(at, LG_OP_ADAPTIVE_AVG_POOL);
}

static lego_status convert_adaptive_max_pool(lg_script_at *at)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_refuse_indices(at));
    LG_TRY(adaptive(at, LG_OP_ADAPTIVE_MAX_POOL));
done:
    return status;
}

/* --- resizing and padding --- */

/* Scales, where given, must lead to the recorded size exactly: torch steps by the scale, we by the sizes' ratio. */
static lego_status check_scales(const lg_script_at *at)
{
    const lg_script_tensor *x = lg_script_tensor_of(at, 0), *y = lg_script_output(at, 0);
    int axis = 2;

    if (!x || count_axes(at) == 0 || y->n_dims != x->n_dims)
        return lg_script_unsupported("values of other than 3 to %d axes", 2 + LG_MAX_AXES);
    for (int i = 1; i < at->node->n_args; i++) {
        const lg_script_arg *arg = lg_script_argument(at, i);
        const int n = arg->type == LG_SCRIPT_DOUBLE ? 1 : arg->type == LG_SCRIPT_DOUBLES ? arg->n : 0;

        for (int k = 0; k < n && axis < x->n_dims; k++, axis++) {
            const double scale = arg->type == LG_SCRIPT_DOUBLE ? arg->number : arg->doubles[k];
            if ((double)x->dims[axis] * scale != (double)y->dims[axis])
                return lg_script_unsupported("a scale of %g for %lld elements; give the size instead, or recompute_scale_factor=True", scale,
                                             (long long)x->dims[axis]);
        }
    }
    return LEGO_OK;
}

static lego_status upsample(lg_script_at *at, lg_upsample_mode mode, int align_corners)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_UPSAMPLE);
    lego_status status = LEGO_OK;

    if (!align_corners) /* torch looks at sizes alone then */
        LG_TRY(check_scales(at));
    attrs.upsample.mode = mode;
    attrs.upsample.align_corners = align_corners;
    copy_extents(attrs.upsample.size, at);
    LG_TRY(lg_script_give_window(at, LG_OP_UPSAMPLE, &attrs));
done:
    return status;
}

static lego_status convert_upsample_nearest(lg_script_at *at)
{
    return upsample(at, LG_UPSAMPLE_NEAREST, 0);
}

/* upsample_bilinear2d(x, size, align_corners, scales ...) */
static lego_status convert_upsample_linear(lg_script_at *at)
{
    int64_t align = 0;
    lego_status status = lg_script_int(&align, at, 2);

    return status == LEGO_OK ? upsample(at, LG_UPSAMPLE_BILINEAR, align != 0) : status;
}

/* Constants before and behind along any axis but the batch; negative numbers cut. */
static lego_status pad_axis(int32_t *y, lg_script_at *at, int32_t x, int axis, int64_t before, int64_t behind, double value)
{
    const int64_t extent = lg_script_shape(at, x)->dims[axis], widths[2] = { before, behind };
    const int64_t from = before < 0 ? -before : 0, to = extent + (behind < 0 ? behind : 0);
    lg_script_tensor like = { .n_dims = lg_script_shape(at, x)->n_dims };
    int32_t parts[3];
    int n = 0;
    lego_status status = LEGO_OK;

    if (axis == 0 && (before != 0 || behind != 0))
        return lg_script_unsupported("it pads the batch");
    if (from >= to)
        return lg_script_unsupported("it cuts everything away");
    memcpy(like.dims, lg_script_shape(at, x)->dims, sizeof(like.dims));
    for (int i = 0; i < 2; i++) {
        if (i == 1)
            LG_TRY(lg_script_emit_slice(&parts[n++], at, x, axis, from, to));
        like.dims[axis] = widths[i];
        if (widths[i] > 0)
            LG_TRY(lg_script_filled(&parts[n++], at, value, &like));
    }
    LG_TRY(lg_script_emit_concat(y, at, n, parts, axis));
done:
    return status;
}

/* Pads, two an axis, the last axis first: the op of that name where windows run, else a concat with constants. */
static lego_status emit_pad(lg_script_at *at, double value)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_PAD);
    const lg_script_arg *pads = lg_script_argument(at, 1);
    const int n_spatial = count_axes(at), n_axes = lg_script_axes_of(n_spatial), n_dims = lg_script_output(at, 0)->n_dims;
    int n = pads->n / 2, is_window;
    int32_t y;
    lego_status status = LEGO_OK;

    if (pads->type != LG_SCRIPT_INTS || pads->n % 2 != 0 || pads->n > 2 * n_dims)
        LG_FAIL(LEGO_EUNSUPPORTED, "unknown pads");
    while (n > 0 && pads->ints[2 * n - 2] == 0 && pads->ints[2 * n - 1] == 0)
        n--;
    is_window = n_spatial > 0 && n <= n_spatial;
    for (int k = 0; k < 2 * n; k++)
        is_window = is_window && pads->ints[k] >= 0;
    if (is_window) {
        attrs.pad.value = value;
        for (int k = 0; k < n; k++) {
            attrs.pad.pads[n_axes - 1 - k] = pads->ints[2 * k];
            attrs.pad.pads[2 * n_axes - 1 - k] = pads->ints[2 * k + 1];
        }
        return lg_script_give_window(at, LG_OP_PAD, &attrs);
    }
    LG_TRY(lg_script_input(&y, at, 0));
    for (int k = 0; k < n; k++)
        LG_TRY(pad_axis(&y, at, y, n_dims - 1 - k, pads->ints[2 * k], pads->ints[2 * k + 1], value));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

/* constant_pad_nd(x, pads, value) */
static lego_status convert_constant_pad(lg_script_at *at)
{
    double value = 0.0;
    lego_status status = lg_script_number(&value, at, 2);

    return status == LEGO_OK ? emit_pad(at, value) : status;
}

/* One axis of x, padded with its own elements. */
static lego_status emit_padded(int32_t *y, lg_script_at *at, int32_t x, int64_t axis, lg_pad_mode mode, const int64_t pads[2])
{
    const int64_t extent = lg_script_shape(at, x)->dims[axis];
    lg_attrs cut = lg_script_defaults(LG_OP_SLICE);
    lg_pad_run runs[LG_MOST_PAD_RUNS];
    int32_t parts[LG_MOST_PAD_RUNS];
    int n;
    lego_status status = LEGO_OK;

    LG_TRY(lg_pad_runs(runs, &n, mode, extent, pads));
    cut.slice.axis = axis;
    for (int i = 0; i < n; i++) {
        parts[i] = x;
        if (runs[i].n == extent && runs[i].step == 1)
            continue;
        cut.slice.start = runs[i].start;
        cut.slice.end = runs[i].start + runs[i].n * runs[i].step;
        cut.slice.step = runs[i].step;
        LG_TRY(lg_script_emit_unary(&parts[i], at, LG_OP_SLICE, &cut, x));
    }
    LG_TRY(lg_script_emit_concat(y, at, n, parts, axis));
done:
    return status;
}

/* Pads count from the last axis on. */
static lego_status pad_with_itself(lg_script_at *at, const char *mode)
{
    static const char *const names[] = { [LG_PAD_REFLECT] = "reflect", [LG_PAD_EDGE] = "replicate", [LG_PAD_WRAP] = "circular" };
    const lg_script_arg *pads = lg_script_argument(at, 1);
    int64_t m = 0, n_dims;
    int32_t y;
    lego_status status = LEGO_OK;

    while (m < 3 && strcmp(mode, names[m]) != 0)
        m++;
    if (m == 3)
        LG_FAIL(LEGO_EUNSUPPORTED, "padding mode '%.40s'; constant, reflect, replicate and circular are supported", mode);
    LG_TRY(lg_script_input(&y, at, 0));
    n_dims = lg_script_shape(at, y)->n_dims;
    if (pads->type != LG_SCRIPT_INTS || pads->n % 2 != 0 || pads->n / 2 >= n_dims)
        LG_FAIL(LEGO_EUNSUPPORTED, "pads of the batch");
    for (int64_t k = 0; k < pads->n / 2; k++)
        if (pads->ints[2 * k] != 0 || pads->ints[2 * k + 1] != 0)
            LG_TRY(emit_padded(&y, at, y, n_dims - 1 - k, (lg_pad_mode)m, &pads->ints[2 * k]));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

/* pad(x, pads, mode, value) */
static lego_status convert_pad(lg_script_at *at)
{
    const lg_script_arg *mode = lg_script_argument(at, 2);
    double value = 0.0;
    lego_status status = LEGO_OK;

    if (mode->type == LG_SCRIPT_TEXT && strcmp(mode->text, "constant") != 0)
        return pad_with_itself(at, mode->text);
    if (!lg_script_is_none(at, 3))
        LG_TRY(lg_script_number(&value, at, 3));
    LG_TRY(emit_pad(at, value));
done:
    return status;
}

static lego_status convert_reflection_pad(lg_script_at *at)
{
    return pad_with_itself(at, "reflect");
}

static lego_status convert_replication_pad(lg_script_at *at)
{
    return pad_with_itself(at, "replicate");
}

const lg_script_op lg_script_spatial_ops[] = {
    { "max_pool1d", convert_max_pool },
    { "max_pool1d_with_indices", convert_max_pool },
    { "max_pool2d", convert_max_pool },
    { "max_pool2d_with_indices", convert_max_pool },
    { "max_pool3d", convert_max_pool },
    { "max_pool3d_with_indices", convert_max_pool },
    { "avg_pool1d", convert_avg_pool },
    { "avg_pool2d", convert_avg_pool },
    { "avg_pool3d", convert_avg_pool },
    { "adaptive_avg_pool1d", convert_adaptive_avg_pool },
    { "adaptive_avg_pool2d", convert_adaptive_avg_pool },
    { "adaptive_avg_pool3d", convert_adaptive_avg_pool },
    { "adaptive_max_pool1d", convert_adaptive_max_pool },
    { "adaptive_max_pool2d", convert_adaptive_max_pool },
    { "adaptive_max_pool3d", convert_adaptive_max_pool },
    { "upsample_nearest1d", convert_upsample_nearest },
    { "upsample_nearest2d", convert_upsample_nearest },
    { "upsample_nearest3d", convert_upsample_nearest },
    { "upsample_linear1d", convert_upsample_linear },
    { "upsample_bilinear2d", convert_upsample_linear },
    { "upsample_trilinear3d", convert_upsample_linear },
    { "constant_pad_nd", convert_constant_pad },
    { "pad", convert_pad },
    { "reflection_pad1d", convert_reflection_pad },
    { "reflection_pad2d", convert_reflection_pad },
    { "reflection_pad3d", convert_reflection_pad },
    { "replication_pad1d", convert_replication_pad },
    { "replication_pad2d", convert_replication_pad },
    { "replication_pad3d", convert_replication_pad },
    { NULL, NULL },
};
