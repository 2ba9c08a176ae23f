/* Constant folding: exporters write shape arithmetic as nodes (Shape, Gather, Unsqueeze, Concat, Reshape ...), which must
 * be gone before a graph with known shapes can be built. A node whose inputs are all constants becomes a constant; Shape
 * becomes one for every value.
 *
 * The extent of the batch is LG_BATCH_MARK (batch_axis.h); an op whose result would not be the same for every batch is
 * refused. What folding creates is bounded, or a small file could ask for terabytes. Here what exporters write around
 * every shape; onnx_fold_move.c has what masks and tables of indices are made of, onnx_fold_math.c what calculates. */
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

void lg_fold_copy(lego_tensor *out, int64_t to, const lego_tensor *in, int64_t from)
{
    const size_t size = lg_dtype_size(in->dtype);

    memcpy((char *)lg_tensor_data(out) + (size_t)to * size, (const char *)lg_tensor_data(in) + (size_t)from * size, size);
}

int lg_fold_has_batch(const lego_tensor *tensor)
{
    if (tensor->dtype != LEGO_DTYPE_I64 && tensor->dtype != LEGO_DTYPE_I32)
        return 0;
    for (int64_t i = 0; i < lg_tensor_count(tensor); i++)
        if (lg_batch_is_mark(lg_onnx_element_int(tensor, i)))
            return 1;
    return 0;
}

lego_status lg_fold_refuse_batch(const lego_tensor *tensor)
{
    return lg_fold_has_batch(tensor) ? lg_onnx_unsupported("it calculates with the size of the batch") : LEGO_OK;
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
    lg_shape shape;
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(&in, node, 0));
    LG_TRY(lg_onnx_reshaped(&shape, node, &in->shape));
    lg_tensor_share(out, in);
    out->shape = shape;
done:
    return status;
}

typedef lego_status (*new_place)(lg_place *out, const lg_onnx_node *node, const lg_place *in);

static lego_status fold_axes(lego_tensor *out, lg_onnx_node *node, new_place of)
{
    const lego_tensor *in;
    lg_place from = { { 0 }, LG_NONE, 1, 1 }, to;
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(&in, node, 0));
    from.shape = in->shape;
    LG_TRY(of(&to, node, &from));
    lg_tensor_share(out, in);
    out->shape = to.shape;
done:
    return status;
}

static lego_status fold_unsqueeze(lego_tensor *out, lg_onnx_node *node)
{
    return fold_axes(out, node, lg_onnx_unsqueezed);
}

static lego_status fold_squeeze(lego_tensor *out, lg_onnx_node *node)
{
    return fold_axes(out, node, lg_onnx_squeezed);
}

static lego_status fold_cast(lego_tensor *out, lg_onnx_node *node)
{
    static const struct {
        int type;
        lego_dtype dtype;
    } casts[] = { { 1, LEGO_DTYPE_F32 }, { 10, LEGO_DTYPE_F32 }, { 11, LEGO_DTYPE_F32 }, { 7, LEGO_DTYPE_I64 },
                  { 6, LEGO_DTYPE_I32 }, { 9, LEGO_DTYPE_BOOL } };
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
        if (casts[i].dtype == LEGO_DTYPE_F32 || casts[i].dtype == LEGO_DTYPE_BOOL)
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

void lg_fold_strides(int64_t *outer, int64_t *inner, const lg_shape *shape, int axis)
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
    lg_fold_strides(&outer, &inner, &in->shape, (int)axis);
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
        lg_fold_strides(&outer, &inner, &in->shape, (int)axis);
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
    lg_fold_strides(&outer, &inner, &in->shape, (int)axis);
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
    int64_t step[LEGO_MAX_DIMS], at[LEGO_MAX_DIMS] = { 0 };
    lego_status status = LEGO_OK;

    LG_TRY(lg_fold_input(&in, node, 0));
    LG_TRY(lg_onnx_order(&order, node, in->shape.n_dims));
    shape = in->shape;
    for (int i = 0; i < shape.n_dims; i++) {
        int64_t outer;

        shape.dims[i] = in->shape.dims[order.dims[i]];
        lg_fold_strides(&outer, &step[i], &in->shape, (int)order.dims[i]);
    }
    LG_TRY(lg_fold_create(out, node, in->dtype, &shape));
    for (int64_t k = 0; k < lg_tensor_count(out); k++) {
        int64_t from = 0;

        for (int i = 0; i < shape.n_dims; i++)
            from += at[i] * step[i];
        lg_fold_copy(out, k, in, from);
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

/* The extents of a value of the file: the batch in them is the mark. */
static lego_status shape_of(lg_shape *out, const lg_onnx_node *node)
{
    const lg_onnx_value *in = lg_onnx_input(node, 0);

    if (!in)
        return lg_onnx_malformed(node, "input 0 is missing");
    *out = in->is_constant ? in->constant.shape : in->place.shape;
    if (!in->is_constant && in->place.dim != LG_NONE)
        out->dims[in->place.dim] = lg_mul_sat(lg_mul_sat(in->place.before, in->place.behind), LG_BATCH_MARK);
    return LEGO_OK;
}

static lego_status fold_shape(lego_tensor *out, lg_onnx_node *node)
{
    lg_shape shape = { 0 }, list = { 1, { 0 } };
    int64_t start, end;
    lego_status status = LEGO_OK;

    LG_TRY(shape_of(&shape, node));
    LG_TRY(lg_onnx_int(&start, node, "start", 0));
    LG_TRY(lg_onnx_int(&end, node, "end", shape.n_dims));
    start = start < -shape.n_dims ? 0 : start < 0 ? start + shape.n_dims : start;
    end = end < -shape.n_dims ? 0 : end < 0 ? end + shape.n_dims : end > shape.n_dims ? shape.n_dims : end;
    list.dims[0] = start < end ? end - start : 0;
    LG_TRY(lg_fold_create(out, node, LEGO_DTYPE_I64, &list));
    for (int64_t i = 0; i < list.dims[0]; i++)
        lg_fold_set(out, i, 0.0, shape.dims[start + i]);
done:
    return status;
}

static lego_status fold_size(lego_tensor *out, lg_onnx_node *node)
{
    lg_shape shape = { 0 }, scalar = { 0 };
    int64_t size = 1;
    lego_status status = LEGO_OK;

    LG_TRY(shape_of(&shape, node));
    for (int i = 0; i < shape.n_dims; i++)
        size = lg_mul_sat(size, shape.dims[i]);
    LG_TRY(lg_fold_create(out, node, LEGO_DTYPE_I64, &scalar));
    lg_fold_set(out, 0, 0.0, size);
done:
    return status;
}

lego_status lg_fold_element(lego_tensor *out, const lg_onnx_node *node)
{
    const Onnx__AttributeProto *value = lg_onnx_attribute(node, "value");
    const lg_shape one = { 0 };
    lego_status status = LEGO_OK;

    if (value && value->t)
        LG_TRY(lg_onnx_tensor(out, node->import, value->t, node->name));
    else
        LG_TRY(lg_fold_create(out, node, LEGO_DTYPE_F32, &one));
    if (lg_tensor_count(out) != 1)
        LG_FAIL(LEGO_EFORMAT, "node '%s': the value has %lld elements, one is needed", node->name,
                (long long)lg_tensor_count(out));
    out->shape = one;
done:
    return status;
}

static lego_status fold_constant_of_shape(lego_tensor *out, lg_onnx_node *node)
{
    lego_tensor element = { 0 };
    lg_dims dims;
    lg_shape shape;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_constant_ints(&dims, node, 0));
    if (dims.n < 0)
        return lg_onnx_malformed(node, "input 0 is missing");
    shape = lg_shape_make((int)dims.n, dims.dims);
    LG_TRY(lg_fold_element(&element, node));
    LG_TRY(lg_fold_expand(out, node, &element, &shape));
done:
    lg_tensor_dispose(&element);
    return status;
}

static const lg_fold_op fold_ops[] = {
    { "Cast", fold_cast },
    { "Concat", fold_concat },
    { "Constant", fold_constant },
    { "ConstantOfShape", fold_constant_of_shape },
    { "Gather", fold_gather },
    { "Identity", fold_identity },
    { "Reshape", fold_reshape },
    { "Shape", fold_shape },
    { "Size", fold_size },
    { "Slice", fold_slice },
    { "Squeeze", fold_squeeze },
    { "Transpose", fold_transpose },
    { "Unsqueeze", fold_unsqueeze },
    { NULL, NULL },
};

static const lg_fold_op *find_fold(const char *type)
{
    const lg_fold_op *const tables[] = { fold_ops, lg_fold_move_ops, lg_fold_math_ops };

    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
        for (const lg_fold_op *op = tables[t]; op->type; op++)
            if (strcmp(op->type, type) == 0)
                return op;
    return NULL;
}

int lg_onnx_folds(const char *type)
{
    return find_fold(type) != NULL;
}

/* A constant with elements for every sample of the batch is one of the graph: its converter makes it. */
static int is_of_the_batch(const lg_onnx_node *node)
{
    const int index = strcmp(node->proto->op_type, "Expand") == 0            ? 1
                      : strcmp(node->proto->op_type, "ConstantOfShape") == 0 ? 0
                                                                             : -1;
    const lg_onnx_value *shape = lg_onnx_input(node, index);

    return shape && shape->is_constant && lg_fold_has_batch(&shape->constant);
}

lego_status lg_onnx_fold(int *done, lg_onnx_node *node)
{
    const char *type = node->proto->op_type;
    const lg_fold_op *op = find_fold(type);
    lego_tensor tensor = { 0 };
    lego_status status = LEGO_OK;

    *done = 0;
    for (int i = 0; i < lg_onnx_n_inputs(node); i++) {
        const lg_onnx_value *input = lg_onnx_input(node, i);
        if (input && !input->is_constant && strcmp(type, "Shape") != 0 && strcmp(type, "Size") != 0)
            return LEGO_OK;
    }
    if (!op || is_of_the_batch(node))
        return LEGO_OK;
    LG_TRY(op->fold(&tensor, node));
    lg_onnx_finish_constant(node, 0, &tensor);
    *done = 1;
done:
    lg_tensor_dispose(&tensor);
    return status;
}
