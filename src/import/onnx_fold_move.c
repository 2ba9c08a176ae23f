/* Constant folding, the part that chooses, repeats and counts: what exporters build masks and tables of indices with. */
#include "import/onnx_fold.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "graph/ops/common.h"

lego_status lg_fold_expand(lego_tensor *out, const lg_onnx_node *node, const lego_tensor *in, const lg_shape *shape)
{
    lg_shape wide = *shape;
    int64_t at[LEGO_MAX_DIMS] = { 0 };
    int lead;
    lego_status status = LEGO_OK;

    if (!lg_onnx_broadcast(&wide, &in->shape))
        return lg_onnx_malformed(node, "the shapes do not fit");
    lead = wide.n_dims - in->shape.n_dims;
    LG_TRY(lg_fold_create(out, node, in->dtype, &wide));
    for (int64_t k = 0; k < lg_tensor_count(out); k++) {
        int64_t from = 0;

        for (int i = 0; i < in->shape.n_dims; i++)
            from = from * in->shape.dims[i] + (in->shape.dims[i] == 1 ? 0 : at[lead + i]);
        lg_fold_copy(out, k, in, from);
        for (int i = wide.n_dims - 1; i >= 0 && ++at[i] == wide.dims[i]; i--)
            at[i] = 0;
    }
done:
    return status;
}

static lego_status fold_expand(lego_tensor *out, lg_onnx_node *node)
{
    const lego_tensor *in;
    lg_dims wanted;
    lg_shape shape;
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(&in, node, 0));
    LG_TRY(lg_onnx_constant_ints(&wanted, node, 1));
    if (wanted.n < 0)
        return lg_onnx_malformed(node, "input 1 is missing");
    shape = lg_shape_make((int)wanted.n, wanted.dims);
    LG_TRY(lg_fold_expand(out, node, in, &shape));
done:
    return status;
}

static lego_status fold_tile(lego_tensor *out, lg_onnx_node *node)
{
    const lego_tensor *in;
    lg_dims repeats;
    lg_shape shape;
    int64_t at[LEGO_MAX_DIMS] = { 0 };
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(&in, node, 0));
    LG_TRY(lg_onnx_constant_ints(&repeats, node, 1));
    if (repeats.n != in->shape.n_dims)
        return lg_onnx_malformed(node, "repeats are not one an axis");
    shape = in->shape;
    for (int i = 0; i < shape.n_dims; i++) {
        if (repeats.dims[i] < 0)
            return lg_onnx_malformed(node, "%lld repeats", (long long)repeats.dims[i]);
        shape.dims[i] = lg_mul_sat(shape.dims[i], repeats.dims[i]);
    }
    LG_TRY(lg_fold_create(out, node, in->dtype, &shape));
    for (int64_t k = 0; k < lg_tensor_count(out); k++) {
        int64_t from = 0;

        for (int i = 0; i < shape.n_dims; i++)
            from = from * in->shape.dims[i] + at[i] % in->shape.dims[i];
        lg_fold_copy(out, k, in, from);
        for (int i = shape.n_dims - 1; i >= 0 && ++at[i] == shape.dims[i]; i--)
            at[i] = 0;
    }
done:
    return status;
}

static lego_status fold_range(lego_tensor *out, lg_onnx_node *node)
{
    const lego_tensor *in[3];
    lg_shape shape = { 1, { 0 } };
    double start, step, n;
    lego_status status = LEGO_OK;

    for (int i = 0; i < 3; i++) {
        LG_TRY(lg_fold_input(&in[i], node, i));
        LG_TRY(lg_fold_refuse_batch(in[i]));
        if (lg_tensor_count(in[i]) != 1 || in[i]->dtype != in[0]->dtype)
            return lg_onnx_malformed(node, "start, limit and delta are not three numbers of a type");
    }
    start = lg_onnx_element(in[0], 0);
    step = lg_onnx_element(in[2], 0);
    n = ceil((lg_onnx_element(in[1], 0) - start) / step);
    if (!(fabs(n) <= (double)INT32_MAX))
        LG_FAIL(LEGO_EUNSUPPORTED, "a range of %g numbers", n);
    shape.dims[0] = n > 0.0 ? (int64_t)n : 0;
    LG_TRY(lg_fold_create(out, node, in[0]->dtype, &shape));
    for (int64_t i = 0; i < shape.dims[0]; i++)
        lg_fold_set(out, i, start + step * (double)i,
                    (int64_t)((uint64_t)lg_onnx_element_int(in[0], 0) +
                              (uint64_t)lg_onnx_element_int(in[2], 0) * (uint64_t)i));
done:
    return status;
}

/* Element k of an index tensor along an axis of this extent. */
static lego_status index_at(int64_t *at, const lg_onnx_node *node, const lego_tensor *indices, int64_t k, int64_t extent)
{
    *at = lg_onnx_element_int(indices, k);
    if (*at < -extent || *at >= extent)
        return lg_onnx_malformed(node, "index %lld of %lld elements", (long long)*at, (long long)extent);
    *at += *at < 0 ? extent : 0;
    return LEGO_OK;
}

/* Where element k of an index tensor of (at most) data's shape points to along `axis`. */
static lego_status along_axis(int64_t *from, const lg_onnx_node *node, const lego_tensor *data,
                              const lego_tensor *indices, int64_t k, int axis)
{
    int64_t rest = k, stride = 1, at;
    lego_status status = LEGO_OK;

    *from = 0;
    for (int i = data->shape.n_dims - 1; i >= 0; i--) {
        at = rest % indices->shape.dims[i];
        rest /= indices->shape.dims[i];
        if (i == axis)
            LG_TRY(index_at(&at, node, indices, k, data->shape.dims[i]));
        *from += at * stride;
        stride *= data->shape.dims[i];
    }
done:
    return status;
}

static lego_status read_elements(const lego_tensor **data, const lego_tensor **indices, int64_t *axis,
                                 const lg_onnx_node *node)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(data, node, 0));
    LG_TRY(lg_fold_input(indices, node, 1));
    LG_TRY(lg_onnx_int(axis, node, "axis", 0));
    LG_TRY(lg_onnx_axis(axis, node, (*data)->shape.n_dims));
    if ((*indices)->shape.n_dims != (*data)->shape.n_dims)
        return lg_onnx_malformed(node, "data and indices differ in their axes");
    for (int i = 0; i < (*data)->shape.n_dims; i++)
        if (i != *axis && (*indices)->shape.dims[i] > (*data)->shape.dims[i])
            return lg_onnx_malformed(node, "more indices than elements along axis %d", i);
done:
    return status;
}

static lego_status fold_gather_elements(lego_tensor *out, lg_onnx_node *node)
{
    const lego_tensor *data, *indices;
    int64_t axis, from;
    lego_status status = LEGO_OK;

    LG_TRY(read_elements(&data, &indices, &axis, node));
    LG_TRY(lg_fold_create(out, node, data->dtype, &indices->shape));
    for (int64_t k = 0; k < lg_tensor_count(out); k++) {
        LG_TRY(along_axis(&from, node, data, indices, k, (int)axis));
        lg_fold_copy(out, k, data, from);
    }
done:
    return status;
}

/* A copy that may be written to. */
static lego_status copy_of(lego_tensor *out, const lg_onnx_node *node, const lego_tensor *in)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_create(out, node, in->dtype, &in->shape));
    if (lg_tensor_count(in) > 0)
        memcpy(lg_tensor_data(out), lg_tensor_data(in), (size_t)lg_tensor_count(in) * lg_dtype_size(in->dtype));
done:
    return status;
}

static lego_status refuse_reduction(const lg_onnx_node *node)
{
    ProtobufCBinaryData reduction;
    lego_status status = lg_onnx_text(&reduction, node, "reduction", "none");

    if (status == LEGO_OK && !lg_onnx_text_is(&reduction, "none"))
        return lg_onnx_unsupported("scattered elements are added up");
    return status;
}

static lego_status fold_scatter_elements(lego_tensor *out, lg_onnx_node *node)
{
    const lego_tensor *data, *indices, *updates;
    int64_t axis, to;
    lego_status status = LEGO_OK;

    LG_TRY(refuse_reduction(node));
    LG_TRY(read_elements(&data, &indices, &axis, node));
    LG_TRY(lg_fold_input(&updates, node, 2));
    if (updates->dtype != data->dtype || !lg_shape_equal(&updates->shape, &indices->shape))
        return lg_onnx_malformed(node, "the updates do not fit");
    LG_TRY(copy_of(out, node, data));
    for (int64_t k = 0; k < lg_tensor_count(indices); k++) {
        LG_TRY(along_axis(&to, node, data, indices, k, (int)axis));
        lg_fold_copy(out, to, updates, k);
    }
done:
    return status;
}

/* Indices (...,K) name runs of data behind its first K axes: how many runs, and how long one is. */
static lego_status read_runs(int64_t *n_runs, int64_t *run, const lg_onnx_node *node, const lego_tensor *data,
                             const lego_tensor *indices)
{
    const int n_dims = indices->shape.n_dims;
    const int64_t depth = n_dims > 0 ? indices->shape.dims[n_dims - 1] : 0;

    if (depth < 1 || depth > data->shape.n_dims)
        return lg_onnx_malformed(node, "indices of %lld axes, the data has %d", (long long)depth,
                                 (int)data->shape.n_dims);
    *n_runs = lg_tensor_count(indices) / depth;
    *run = 1;
    for (int i = (int)depth; i < data->shape.n_dims; i++)
        *run = lg_mul_sat(*run, data->shape.dims[i]);
    return LEGO_OK;
}

/* The first element of run r. */
static lego_status run_at(int64_t *first, const lg_onnx_node *node, const lego_tensor *data, const lego_tensor *indices,
                          int64_t r, int64_t run)
{
    const int64_t depth = indices->shape.dims[indices->shape.n_dims - 1];
    int64_t at;
    lego_status status = LEGO_OK;

    *first = 0;
    for (int64_t k = 0; k < depth; k++) {
        LG_TRY(index_at(&at, node, indices, r * depth + k, data->shape.dims[k]));
        *first = *first * data->shape.dims[k] + at;
    }
    *first *= run;
done:
    return status;
}

static lego_status fold_scatter_nd(lego_tensor *out, lg_onnx_node *node)
{
    const lego_tensor *data, *indices, *updates;
    int64_t n_runs = 0, run = 0, first;
    lego_status status = LEGO_OK;

    LG_TRY(refuse_reduction(node));
    LG_TRY(lg_fold_input(&data, node, 0));
    LG_TRY(lg_fold_input(&indices, node, 1));
    LG_TRY(lg_fold_input(&updates, node, 2));
    LG_TRY(read_runs(&n_runs, &run, node, data, indices));
    if (updates->dtype != data->dtype || lg_tensor_count(updates) != lg_mul_sat(n_runs, run))
        return lg_onnx_malformed(node, "the updates do not fit");
    LG_TRY(copy_of(out, node, data));
    for (int64_t r = 0; lg_tensor_count(updates) > 0 && r < n_runs; r++) {
        LG_TRY(run_at(&first, node, data, indices, r, run));
        for (int64_t i = 0; i < run; i++)
            lg_fold_copy(out, first + i, updates, r * run + i);
    }
done:
    return status;
}

static lego_status fold_gather_nd(lego_tensor *out, lg_onnx_node *node)
{
    const lego_tensor *data, *indices;
    int64_t n_runs = 0, run = 0, first, batch_dims;
    lg_shape shape = { 0 };
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(&data, node, 0));
    LG_TRY(lg_fold_input(&indices, node, 1));
    LG_TRY(lg_onnx_int(&batch_dims, node, "batch_dims", 0));
    LG_TRY(read_runs(&n_runs, &run, node, data, indices));
    shape.n_dims = indices->shape.n_dims - 1;
    memcpy(shape.dims, indices->shape.dims, (size_t)shape.n_dims * sizeof(*shape.dims));
    for (int64_t i = indices->shape.dims[shape.n_dims]; i < data->shape.n_dims && shape.n_dims < LEGO_MAX_DIMS; i++)
        shape.dims[shape.n_dims++] = data->shape.dims[i];
    if (batch_dims != 0)
        LG_FAIL(LEGO_EUNSUPPORTED, "batch_dims is set");
    LG_TRY(lg_fold_create(out, node, data->dtype, &shape));
    if (lg_tensor_count(out) != lg_mul_sat(n_runs, run))
        LG_FAIL(LEGO_EUNSUPPORTED, "a constant of more than %d axes", LEGO_MAX_DIMS);
    for (int64_t r = 0; lg_tensor_count(out) > 0 && r < n_runs; r++) {
        LG_TRY(run_at(&first, node, data, indices, r, run));
        for (int64_t i = 0; i < run; i++)
            lg_fold_copy(out, r * run + i, data, first + i);
    }
done:
    return status;
}

/* Of the last two axes, the elements on one side of a diagonal; zeros elsewhere. */
static lego_status fold_trilu(lego_tensor *out, lg_onnx_node *node)
{
    const lego_tensor *in;
    int64_t upper, rows, columns;
    double diagonal;
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(&in, node, 0));
    LG_TRY(lg_onnx_int(&upper, node, "upper", 1));
    LG_TRY(lg_onnx_number(&diagonal, node, "", 1, 1, 0.0));
    if (in->shape.n_dims < 2)
        return lg_onnx_malformed(node, "a constant of %d axes", (int)in->shape.n_dims);
    rows = in->shape.dims[in->shape.n_dims - 2];
    columns = in->shape.dims[in->shape.n_dims - 1];
    LG_TRY(lg_fold_create(out, node, in->dtype, &in->shape));
    for (int64_t k = 0; k < lg_tensor_count(in); k++) {
        const double beyond = (double)(k % columns) - (double)(k / columns % rows) - diagonal;

        if (upper ? beyond >= 0.0 : beyond <= 0.0)
            lg_fold_copy(out, k, in, k);
    }
done:
    return status;
}

/* Coordinates of what is not zero: (axes, how many). */
static lego_status fold_non_zero(lego_tensor *out, lg_onnx_node *node)
{
    const lego_tensor *in;
    lg_shape shape = { 2, { 0 } };
    int64_t column = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(&in, node, 0));
    LG_TRY(lg_fold_refuse_batch(in));
    shape.dims[0] = in->shape.n_dims;
    for (int64_t k = 0; k < lg_tensor_count(in); k++)
        shape.dims[1] += lg_onnx_element(in, k) != 0.0;
    LG_TRY(lg_fold_create(out, node, LEGO_DTYPE_I64, &shape));
    for (int64_t k = 0; k < lg_tensor_count(in); k++) {
        int64_t rest = k;

        if (lg_onnx_element(in, k) == 0.0)
            continue;
        for (int i = in->shape.n_dims - 1; i >= 0; i--) {
            lg_fold_set(out, i * shape.dims[1] + column, 0.0, rest % in->shape.dims[i]);
            rest /= in->shape.dims[i];
        }
        column++;
    }
done:
    return status;
}

static lego_status fold_split(lego_tensor *out, lg_onnx_node *node)
{
    const lego_tensor *in;
    lego_tensor part = { 0 };
    int64_t axis, outer, inner, offset = 0;
    size_t size;
    lg_dims sizes;
    lg_shape shape;
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(&in, node, 0));
    LG_TRY(lg_onnx_split_sizes(&sizes, &axis, node, &in->shape));
    lg_fold_strides(&outer, &inner, &in->shape, (int)axis);
    size = lg_dtype_size(in->dtype);
    for (int i = 0; i < sizes.n; i++) {
        shape = in->shape;
        shape.dims[axis] = sizes.dims[i];
        LG_TRY(lg_fold_create(&part, node, in->dtype, &shape));
        for (int64_t o = 0; lg_tensor_count(&part) > 0 && o < outer; o++)
            memcpy((char *)lg_tensor_data(&part) + (size_t)(o * sizes.dims[i] * inner) * size,
                   (const char *)lg_tensor_data(in) + (size_t)((o * in->shape.dims[axis] + offset) * inner) * size,
                   (size_t)(sizes.dims[i] * inner) * size);
        offset += sizes.dims[i];
        if (i == 0)
            *out = part;
        else
            lg_onnx_finish_constant(node, i, &part);
        memset(&part, 0, sizeof(part));
    }
done:
    lg_tensor_dispose(&part);
    return status;
}

const lg_fold_op lg_fold_move_ops[] = {
    { "Expand", fold_expand },
    { "GatherElements", fold_gather_elements },
    { "GatherND", fold_gather_nd },
    { "NonZero", fold_non_zero },
    { "Range", fold_range },
    { "ScatterElements", fold_scatter_elements },
    { "ScatterND", fold_scatter_nd },
    { "Split", fold_split },
    { "Tile", fold_tile },
    { "Trilu", fold_trilu },
    { NULL, NULL },
};
