/* Constant folding: exporters write shape arithmetic as nodes (Shape, Gather, Unsqueeze, Concat, Reshape ...), which must
 * be gone before a graph with known shapes can be built. A node whose inputs are all constants becomes a constant; Shape
 * becomes one for every value.
 *
 * The extent of the batch is the mark LG_ONNX_BATCH: it may be moved, but an op that would calculate with it is refused,
 * since its result would not be the same for every batch. What folding creates is bounded, or a small file could ask for
 * terabytes. Here what moves elements; onnx_fold_math.c calculates. */
#include "import/onnx_fold.h"

#include <string.h>

#include "base/alloc.h"
#include "graph/ops/common.h"

/* A new constant of this shape, within the budget. */
lego_status lg_fold_create(lego_tensor *out, const lg_onnx_node *node, lego_dtype dtype, const lg_shape *shape)
{
    int64_t count;
    lego_status status = LEGO_OK;

    LG_TRY(lg_shape_count(&count, shape, node->name));
    if (count > node->import->fold_budget / 8)
        LG_FAIL(LEGO_EUNSUPPORTED, "a constant of %lld elements is too large to fold", (long long)count);
    node->import->fold_budget -= count * 8;
    LG_TRY(lg_tensor_init(out, dtype, shape));
done:
    return status;
}

lego_status lg_fold_input(const lego_tensor **out, const lg_onnx_node *node, int index)
{
    const lg_onnx_value *value = lg_onnx_input(node, index);

    *out = NULL;
    if (!value)
        return lg_onnx_malformed(node, "input %d is missing", index);
    *out = &value->constant;
    return LEGO_OK;
}

void lg_fold_set(lego_tensor *tensor, int64_t index, double number, int64_t integer)
{
    void *data = lg_tensor_data(tensor);

    switch (tensor->dtype) {
    case LEGO_DTYPE_F32:
        ((float *)data)[index] = (float)number;
        break;
    case LEGO_DTYPE_I64:
        ((int64_t *)data)[index] = integer;
        break;
    case LEGO_DTYPE_I32:
        ((int32_t *)data)[index] = (int32_t)integer;
        break;
    case LEGO_DTYPE_I16:
        ((int16_t *)data)[index] = (int16_t)integer;
        break;
    case LEGO_DTYPE_BOOL:
        ((uint8_t *)data)[index] = integer != 0 || (number != 0.0);
        break;
    default: /* I8, U8 */
        ((uint8_t *)data)[index] = (uint8_t)integer;
        break;
    }
}

static int has_batch(const lego_tensor *tensor)
{
    for (int64_t i = 0; tensor->dtype == LEGO_DTYPE_I64 && i < lg_tensor_count(tensor); i++)
        if (((const int64_t *)lg_tensor_data(tensor))[i] == LG_ONNX_BATCH)
            return 1;
    return 0;
}

lego_status lg_fold_refuse_batch(const lego_tensor *tensor)
{
    return has_batch(tensor) ? lg_onnx_unsupported("it calculates with the size of the batch") : LEGO_OK;
}

/* --- new shapes of the same elements --- */

static lego_status fold_identity(lego_tensor *out, lg_onnx_node *node)
{
    const lego_tensor *in;
    lego_status status = lg_fold_input(&in, node, 0);

    if (status == LEGO_OK)
        lg_tensor_share(out, in);
    return status;
}

static lego_status fold_reshape(lego_tensor *out, lg_onnx_node *node)
{
    const lego_tensor *in;
    int64_t known = 1, total, allow_zero;
    int open_axis = -1;
    lg_dims wanted;
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(&in, node, 0));
    LG_TRY(lg_onnx_list(&wanted, node, "shape", 1, 5));
    LG_TRY(lg_onnx_int(&allow_zero, node, "allowzero", 0));
    if (wanted.n < 0)
        LG_FAIL(LEGO_EFORMAT, "node '%s': no shape to reshape to", node->name);
    total = lg_tensor_count(in);
    lg_tensor_share(out, in);
    out->shape.n_dims = (int32_t)wanted.n;
    for (int i = 0; i < wanted.n; i++) {
        int64_t extent = wanted.dims[i];

        if (extent == 0 && !allow_zero && i < in->shape.n_dims)
            extent = in->shape.dims[i];
        if (extent == -1 && open_axis < 0) {
            open_axis = i;
            continue;
        }
        if (extent < 0 || __builtin_mul_overflow(known, extent, &known))
            return lg_onnx_malformed(node, "extent %lld of a constant", (long long)extent);
        out->shape.dims[i] = extent;
    }
    if (open_axis >= 0) {
        out->shape.dims[open_axis] = known > 0 ? total / known : 0;
        known *= out->shape.dims[open_axis];
    }
    if (known != total)
        return lg_onnx_malformed(node, "%lld elements do not fit into the shape asked for", (long long)total);
done:
    return status;
}

static lego_status fold_unsqueeze(lego_tensor *out, lg_onnx_node *node)
{
    const lego_tensor *in;
    lg_shape shape;
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(&in, node, 0));
    LG_TRY(lg_onnx_unsqueezed(&shape, node, &in->shape));
    lg_tensor_share(out, in);
    out->shape = shape;
done:
    return status;
}

static lego_status fold_squeeze(lego_tensor *out, lg_onnx_node *node)
{
    const lego_tensor *in;
    lg_shape shape;
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(&in, node, 0));
    LG_TRY(lg_onnx_squeezed(&shape, node, &in->shape));
    lg_tensor_share(out, in);
    out->shape = shape;
done:
    return status;
}

static lego_status fold_cast(lego_tensor *out, lg_onnx_node *node)
{
    static const struct {
        int type;
        lego_dtype dtype;
    } casts[] = { { 1, LEGO_DTYPE_F32 }, { 11, LEGO_DTYPE_F32 }, { 7, LEGO_DTYPE_I64 }, { 6, LEGO_DTYPE_I32 },
                  { 9, LEGO_DTYPE_BOOL } };
    const lego_tensor *in;
    int64_t to;
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(&in, node, 0));
    LG_TRY(lg_onnx_int(&to, node, "to", 0));
    for (size_t i = 0; i < sizeof(casts) / sizeof(casts[0]); i++) {
        if (casts[i].type != to)
            continue;
        if (casts[i].dtype == in->dtype) {
            lg_tensor_share(out, in);
            goto done;
        }
        LG_TRY(lg_fold_refuse_batch(in));
        LG_TRY(lg_fold_create(out, node, casts[i].dtype, &in->shape));
        for (int64_t k = 0; k < lg_tensor_count(in); k++)
            lg_fold_set(out, k, lg_onnx_element(in, k), lg_onnx_element_int(in, k));
        goto done;
    }
    LG_FAIL(LEGO_EUNSUPPORTED, "a cast of a constant to element type %lld", (long long)to);
done:
    return status;
}

/* --- moving elements --- */

/* Elements before and behind an axis. */
static void strides(int64_t *outer, int64_t *inner, const lg_shape *shape, int axis)
{
    *outer = *inner = 1;
    for (int i = 0; i < axis; i++)
        *outer = lg_mul_sat(*outer, shape->dims[i]); /* a shape without elements may have any other extents */
    for (int i = axis + 1; i < shape->n_dims; i++)
        *inner = lg_mul_sat(*inner, shape->dims[i]);
}

static lego_status fold_gather(lego_tensor *out, lg_onnx_node *node)
{
    const lego_tensor *in, *index;
    int64_t axis, outer, inner, extent, n_index;
    size_t size;
    lg_shape shape = { 0 };
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(&in, node, 0));
    LG_TRY(lg_fold_input(&index, node, 1));
    LG_TRY(lg_onnx_int(&axis, node, "axis", 0));
    LG_TRY(lg_onnx_axis(&axis, node, in->shape.n_dims));
    if (in->shape.n_dims + index->shape.n_dims - 1 > LEGO_MAX_DIMS)
        LG_FAIL(LEGO_EUNSUPPORTED, "a constant of more than %d axes", LEGO_MAX_DIMS);
    for (int i = 0; i < in->shape.n_dims; i++)
        if (i != axis)
            shape.dims[shape.n_dims++] = in->shape.dims[i];
        else
            for (int k = 0; k < index->shape.n_dims; k++)
                shape.dims[shape.n_dims++] = index->shape.dims[k];
    LG_TRY(lg_fold_create(out, node, in->dtype, &shape));
    strides(&outer, &inner, &in->shape, (int)axis);
    extent = in->shape.dims[axis];
    n_index = lg_tensor_count(index);
    size = (size_t)inner * lg_dtype_size(in->dtype);
    for (int64_t k = 0; k < n_index; k++) {
        int64_t at = lg_onnx_element_int(index, k);

        if (at < -extent || at >= extent)
            LG_FAIL(LEGO_EFORMAT, "node '%s': index %lld of %lld elements", node->name, (long long)at,
                    (long long)extent);
        at += at < 0 ? extent : 0;
        for (int64_t o = 0; o < outer; o++)
            memcpy((char *)lg_tensor_data(out) + (size_t)(o * n_index + k) * size,
                   (const char *)lg_tensor_data(in) + (size_t)(o * extent + at) * size, size);
    }
done:
    return status;
}

static lego_status fold_concat(lego_tensor *out, lg_onnx_node *node)
{
    const lego_tensor *first, *in;
    int64_t axis, outer, inner, offset = 0;
    lg_shape shape;
    size_t size;
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(&first, node, 0));
    LG_TRY(lg_onnx_int(&axis, node, "axis", 0));
    LG_TRY(lg_onnx_axis(&axis, node, first->shape.n_dims));
    shape = first->shape;
    for (int i = 1; i < lg_onnx_n_inputs(node); i++) {
        lg_shape other;

        LG_TRY(lg_fold_input(&in, node, i));
        other = in->shape;
        if (other.n_dims == first->shape.n_dims)
            other.dims[axis] = first->shape.dims[axis];
        if (in->dtype != first->dtype || !lg_shape_equal(&other, &first->shape))
            LG_FAIL(LEGO_EFORMAT, "node '%s': input %d does not fit the first", node->name, i);
        shape.dims[axis] = lg_tensor_count(in) == 0 ? shape.dims[axis] : shape.dims[axis] + in->shape.dims[axis];
    }
    LG_TRY(lg_fold_create(out, node, first->dtype, &shape));
    for (int i = 0; i < lg_onnx_n_inputs(node); i++) {
        LG_TRY(lg_fold_input(&in, node, i));
        if (lg_tensor_count(in) == 0)
            continue;
        strides(&outer, &inner, &in->shape, (int)axis);
        size = (size_t)inner * lg_dtype_size(in->dtype);
        for (int64_t o = 0; o < outer; o++)
            memcpy((char *)lg_tensor_data(out) + (size_t)(o * shape.dims[axis] + offset) * size,
                   (const char *)lg_tensor_data(in) + (size_t)(o * in->shape.dims[axis]) * size,
                   (size_t)in->shape.dims[axis] * size);
        offset += in->shape.dims[axis];
    }
done:
    return status;
}

/* One axis: elements start, start + step ... */
static lego_status slice_axis(lego_tensor *out, const lg_onnx_node *node, const lego_tensor *in, int64_t axis,
                              int64_t start, int64_t end, int64_t step)
{
    const int64_t extent = in->shape.dims[axis];
    const size_t element = lg_dtype_size(in->dtype);
    int64_t outer, inner, n;
    lg_shape shape = in->shape;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_slice_clamp(&n, &start, &end, node, step, extent));
    shape.dims[axis] = n;
    LG_TRY(lg_fold_create(out, node, in->dtype, &shape));
    strides(&outer, &inner, &in->shape, (int)axis);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < n; k++)
            memcpy((char *)lg_tensor_data(out) + (size_t)((o * n + k) * inner) * element,
                   (const char *)lg_tensor_data(in) + (size_t)((o * extent + start + k * step) * inner) * element,
                   (size_t)inner * element);
done:
    return status;
}

static lego_status fold_slice(lego_tensor *out, lg_onnx_node *node)
{
    const lego_tensor *in;
    lego_tensor next = { 0 };
    lg_onnx_slices slices;
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(&in, node, 0));
    LG_TRY(lg_onnx_slice_lists(&slices, node, in->shape.n_dims));
    lg_tensor_share(out, in);
    for (int i = 0; i < slices.n; i++) {
        LG_TRY(slice_axis(&next, node, out, slices.axes[i], slices.starts[i], slices.ends[i], slices.steps[i]));
        lg_tensor_dispose(out);
        *out = next;
        memset(&next, 0, sizeof(next));
    }
done:
    lg_tensor_dispose(&next);
    return status;
}

static lego_status fold_transpose(lego_tensor *out, lg_onnx_node *node)
{
    const lego_tensor *in;
    lg_dims order;
    lg_shape shape;
    unsigned seen = 0;
    int64_t step[LEGO_MAX_DIMS], at[LEGO_MAX_DIMS] = { 0 };
    size_t size;
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(&in, node, 0));
    LG_TRY(lg_onnx_ints(&order, node, "perm"));
    shape = in->shape;
    if (order.n < 0) {
        order.n = shape.n_dims;
        for (int i = 0; i < shape.n_dims; i++)
            order.dims[i] = shape.n_dims - 1 - i;
    }
    for (int i = 0; i < order.n; i++)
        seen |= order.dims[i] >= 0 && order.dims[i] < shape.n_dims ? 1u << order.dims[i] : 0;
    if (order.n != shape.n_dims || seen != (1u << shape.n_dims) - 1)
        return lg_onnx_malformed(node, "perm is no order of %d axes", (int)shape.n_dims);
    for (int i = 0; i < shape.n_dims; i++) {
        int64_t outer;

        shape.dims[i] = in->shape.dims[order.dims[i]];
        strides(&outer, &step[i], &in->shape, (int)order.dims[i]);
    }
    LG_TRY(lg_fold_create(out, node, in->dtype, &shape));
    size = lg_dtype_size(in->dtype);
    for (int64_t k = 0; k < lg_tensor_count(out); k++) {
        int64_t from = 0;

        for (int i = 0; i < shape.n_dims; i++)
            from += at[i] * step[i];
        memcpy((char *)lg_tensor_data(out) + (size_t)k * size, (const char *)lg_tensor_data(in) + (size_t)from * size,
               size);
        for (int i = shape.n_dims - 1; i >= 0 && ++at[i] == shape.dims[i]; i--)
            at[i] = 0;
    }
done:
    return status;
}

/* --- constants out of nothing --- */

static lego_status fold_constant(lego_tensor *out, lg_onnx_node *node)
{
    const Onnx__AttributeProto *value = lg_onnx_attribute(node, "value");
    const lg_shape scalar = { 0 };
    lg_shape list = { 1, { 0 } };
    lego_status status = LEGO_OK;

    if (value && value->t)
        return lg_onnx_tensor(out, node->import, value->t, node->name);
    if ((value = lg_onnx_attribute(node, "value_int"))) {
        LG_TRY(lg_fold_create(out, node, LEGO_DTYPE_I64, &scalar));
        lg_fold_set(out, 0, 0.0, value->i);
    } else if ((value = lg_onnx_attribute(node, "value_float"))) {
        LG_TRY(lg_fold_create(out, node, LEGO_DTYPE_F32, &scalar));
        lg_fold_set(out, 0, (double)value->f, 0);
    } else if ((value = lg_onnx_attribute(node, "value_ints"))) {
        list.dims[0] = (int64_t)value->n_ints;
        LG_TRY(lg_fold_create(out, node, LEGO_DTYPE_I64, &list));
        for (size_t i = 0; i < value->n_ints; i++)
            lg_fold_set(out, (int64_t)i, 0.0, value->ints[i]);
    } else if ((value = lg_onnx_attribute(node, "value_floats"))) {
        list.dims[0] = (int64_t)value->n_floats;
        LG_TRY(lg_fold_create(out, node, LEGO_DTYPE_F32, &list));
        for (size_t i = 0; i < value->n_floats; i++)
            lg_fold_set(out, (int64_t)i, (double)value->floats[i], 0);
    } else {
        LG_FAIL(LEGO_EUNSUPPORTED, "a constant without a tensor, integers or floats");
    }
done:
    return status;
}

static lego_status fold_shape(lego_tensor *out, lg_onnx_node *node)
{
    const lg_onnx_value *in = lg_onnx_input(node, 0);
    const lg_shape *shape;
    lg_shape list = { 1, { 0 } };
    int64_t start, end;
    lego_status status = LEGO_OK;

    if (!in)
        return lg_onnx_malformed(node, "input 0 is missing");
    shape = in->is_constant ? &in->constant.shape : lg_onnx_shape(node, in->value);
    LG_TRY(lg_onnx_int(&start, node, "start", 0));
    LG_TRY(lg_onnx_int(&end, node, "end", shape->n_dims));
    start = start < -shape->n_dims ? 0 : start < 0 ? start + shape->n_dims : start;
    end = end < -shape->n_dims ? 0 : end < 0 ? end + shape->n_dims : end > shape->n_dims ? shape->n_dims : end;
    list.dims[0] = start < end ? end - start : 0;
    LG_TRY(lg_fold_create(out, node, LEGO_DTYPE_I64, &list));
    for (int64_t i = 0; i < list.dims[0]; i++)
        lg_fold_set(out, i, 0.0,
                    !in->is_constant && start + i == 0 ? LG_ONNX_BATCH : shape->dims[start + i]);
done:
    return status;
}

static lego_status fold_constant_of_shape(lego_tensor *out, lg_onnx_node *node)
{
    const Onnx__AttributeProto *value = lg_onnx_attribute(node, "value");
    lego_tensor element = { 0 };
    lg_dims dims;
    lg_shape shape;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_constant_ints(&dims, node, 0));
    if (dims.n < 0)
        return lg_onnx_malformed(node, "input 0 is missing");
    shape = lg_shape_make((int)dims.n, dims.dims);
    for (int i = 0; i < dims.n; i++)
        if (dims.dims[i] == LG_ONNX_BATCH)
            LG_FAIL(LEGO_EUNSUPPORTED, "a constant as large as the batch");
    if (value && value->t)
        LG_TRY(lg_onnx_tensor(&element, node->import, value->t, node->name));
    if (element.buffer && lg_tensor_count(&element) != 1)
        LG_FAIL(LEGO_EFORMAT, "node '%s': the value has %lld elements, one is needed", node->name,
                (long long)lg_tensor_count(&element));
    LG_TRY(lg_fold_create(out, node, element.buffer ? element.dtype : LEGO_DTYPE_F32, &shape));
    for (int64_t i = 0; element.buffer && i < lg_tensor_count(out); i++)
        lg_fold_set(out, i, lg_onnx_element(&element, 0), lg_onnx_element_int(&element, 0));
done:
    lg_tensor_dispose(&element);
    return status;
}

static const struct {
    const char *type;
    lego_status (*fold)(lego_tensor *out, lg_onnx_node *node);
} folds[] = {
    { "Add", lg_fold_binary },
    { "Cast", fold_cast },
    { "Ceil", lg_fold_round },
    { "Concat", fold_concat },
    { "Constant", fold_constant },
    { "ConstantOfShape", fold_constant_of_shape },
    { "Div", lg_fold_binary },
    { "Equal", lg_fold_equal },
    { "Floor", lg_fold_round },
    { "Gather", fold_gather },
    { "Identity", fold_identity },
    { "Mul", lg_fold_binary },
    { "Reshape", fold_reshape },
    { "Shape", fold_shape },
    { "Slice", fold_slice },
    { "Squeeze", fold_squeeze },
    { "Sub", lg_fold_binary },
    { "Transpose", fold_transpose },
    { "Unsqueeze", fold_unsqueeze },
    { "Where", lg_fold_where },
};

int lg_onnx_folds(const char *type)
{
    for (size_t i = 0; i < sizeof(folds) / sizeof(folds[0]); i++)
        if (strcmp(folds[i].type, type) == 0)
            return 1;
    return 0;
}

lego_status lg_onnx_fold(int *done, lg_onnx_node *node)
{
    const char *type = node->proto->op_type;
    lego_tensor tensor = { 0 };
    lego_status status = LEGO_OK;

    *done = 0;
    for (int i = 0; i < lg_onnx_n_inputs(node); i++) {
        const lg_onnx_value *input = lg_onnx_input(node, i);
        if (input && !input->is_constant && strcmp(type, "Shape") != 0)
            return LEGO_OK;
    }
    for (size_t i = 0; i < sizeof(folds) / sizeof(folds[0]); i++) {
        if (strcmp(folds[i].type, type) != 0)
            continue;
        LG_TRY(folds[i].fold(&tensor, node));
        lg_onnx_finish_constant(node, 0, &tensor);
        *done = 1;
        break;
    }
done:
    lg_tensor_dispose(&tensor);
    return status;
}
