/* Converters of TorchScript's operators that cut values apart and join them. */
#include "import/script.h"

#include <string.h>

#include "base/alloc.h"

#define MAX_REPEATS 256

lego_status lg_script_emit_concat(int32_t *y, lg_script_at *at, int32_t n, const int32_t *values, int64_t axis)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_CONCAT);

    attrs.axis.axis = axis;
    *y = values[0];
    return n == 1 ? LEGO_OK : lg_script_emit(y, at, LG_OP_CONCAT, &attrs, n, values, 0, NULL);
}

/* cat(tensors, axis), stack(tensors, axis): the latter with a new axis in each */
static lego_status join(lg_script_at *at, int stacked)
{
    const lg_script_arg *list = lg_script_argument(at, 0);
    const lg_script_tensor *out = lg_script_output(at, 0);
    lg_script_tensor part = *out;
    int64_t axis = 0;
    int32_t *values = NULL, y;
    lego_status status = LEGO_OK;

    if (list->type != LG_SCRIPT_TENSORS || list->n < 1)
        LG_FAIL(LEGO_EUNSUPPORTED, "no list of tensors");
    LG_TRY(lg_script_axis(&axis, at, 1, out->n_dims));
    LG_TRY(LG_CALLOC(&values, list->n));
    part.dims[axis] = 1;
    for (int i = 0; i < list->n; i++) {
        LG_TRY(lg_script_tensor_operand(&values[i], at, list->ints[i], out->n_dims - stacked));
        if (stacked)
            LG_TRY(lg_script_emit_shape(&values[i], at, values[i], &part));
    }
    LG_TRY(lg_script_emit_concat(&y, at, list->n, values, axis));
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

lego_status lg_script_emit_slice(int32_t *y, lg_script_at *at, int32_t x, int64_t axis, int64_t start, int64_t end)
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
        LG_TRY(lg_script_emit_slice(&y, at, x, axis, start, start + length));
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
        LG_TRY(lg_script_emit_slice(&y, at, x, axis, i, i + 1));
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
    lg_attrs attrs = lg_script_defaults(LG_OP_SLICE);
    int64_t axis = 0, start = 0, step = 1;
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(&x, at, 0));
    LG_TRY(lg_script_int(&axis, at, 1));
    axis += axis < 0 ? to->n_dims : 0;
    LG_TRY(lg_script_int(&step, at, 4));
    if (axis >= 0 && axis < from->n_dims && from->dims[axis] == to->dims[axis])
        return lg_script_hand_on(at);
    LG_TRY(lg_script_axis(&axis, at, 1, to->n_dims));
    if (!lg_script_is_none(at, 2))
        LG_TRY(lg_script_int(&start, at, 2));
    start += start < 0 ? from->dims[axis] : 0;
    start = start < 0 ? 0 : start;
    attrs.slice.axis = axis;
    attrs.slice.start = start;
    attrs.slice.step = step; /* torch has no negative ones */
    attrs.slice.end = start + (to->dims[axis] - 1) * step + 1;
    LG_TRY(lg_script_emit_unary(&y, at, LG_OP_SLICE, &attrs, x));
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
    LG_TRY(lg_script_emit_slice(&y, at, x, axis, start, start + length));
    LG_TRY(lg_script_emit_shape(&y, at, y, to));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

/* repeat(x, times), tile(x, times): a number an axis */
static lego_status convert_repeat(lg_script_at *at)
{
    const lg_script_arg *times = lg_script_argument(at, 1);
    int32_t y, *values = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(&y, at, 0));
    if (times->type != LG_SCRIPT_INTS || times->n != lg_script_shape(at, y)->n_dims || times->ints[0] != 1)
        LG_FAIL(LEGO_EUNSUPPORTED, "it repeats the batch, or adds axes");
    for (int axis = 1; axis < times->n; axis++) {
        const int64_t n = times->ints[axis];

        if (n < 1 || n > MAX_REPEATS)
            LG_FAIL(LEGO_EUNSUPPORTED, "%lld times along axis %d; 1 to %d are supported", (long long)n, axis, MAX_REPEATS);
        lg_free(values);
        values = NULL;
        LG_TRY(LG_CALLOC(&values, n));
        for (int64_t i = 0; i < n; i++)
            values[i] = y;
        LG_TRY(lg_script_emit_concat(&y, at, (int32_t)n, values, axis));
    }
    LG_TRY(lg_script_finish(at, 0, y));
done:
    lg_free(values);
    return status;
}

/* --- views of memory that was written, as the recorder puts them down --- */

/* `old` with a box of it replaced by `value`, which has the box's extents; `axis`: from which on it may be smaller. */
static lego_status replace_box(int32_t *y, lg_script_at *at, int32_t old, int32_t value, const int64_t *starts,
                               const int64_t *sizes, int axis)
{
    const lg_shape shape = *lg_script_shape(at, old);
    int32_t parts[3], part;
    int n = 0;
    int64_t end;
    lego_status status = LEGO_OK;

    while (axis < shape.n_dims && sizes[axis] == shape.dims[axis])
        axis++;
    *y = value;
    if (axis == shape.n_dims)
        return LEGO_OK;
    end = starts[axis] + sizes[axis];
    for (int i = axis + 1; i < shape.n_dims; i++)
        if (sizes[i] != shape.dims[i]) { /* else nothing of the old part stays */
            LG_TRY(lg_script_emit_slice(&part, at, old, axis, starts[axis], end));
            LG_TRY(replace_box(&value, at, part, value, starts, sizes, axis + 1));
            break;
        }
    if (starts[axis] > 0)
        LG_TRY(lg_script_emit_slice(&parts[n++], at, old, axis, 0, starts[axis]));
    parts[n++] = value;
    if (end < shape.dims[axis])
        LG_TRY(lg_script_emit_slice(&parts[n++], at, old, axis, end, shape.dims[axis]));
    LG_TRY(lg_script_emit_concat(y, at, n, parts, axis));
done:
    return status;
}

static lego_status check_box(const lg_script_at *at, const lg_script_arg *starts, const lg_script_arg *sizes, int n_dims)
{
    if (starts->type != LG_SCRIPT_INTS || sizes->type != LG_SCRIPT_INTS || starts->n != n_dims || sizes->n != n_dims ||
        starts->ints[0] != 0 || sizes->ints[0] != at->import->script->batch)
        return lg_script_unsupported("it writes to some samples of the batch");
    return LEGO_OK;
}

/* write_box(old, value, starts, sizes) */
static lego_status convert_write_box(lg_script_at *at)
{
    const lg_script_arg *starts = lg_script_argument(at, 2), *sizes = lg_script_argument(at, 3);
    const lg_script_tensor *out = lg_script_output(at, 0);
    lg_script_tensor box = *out;
    int32_t old, value, y;
    lego_status status = LEGO_OK;

    LG_TRY(check_box(at, starts, sizes, out->n_dims));
    memcpy(box.dims, sizes->ints, (size_t)out->n_dims * sizeof(box.dims[0]));
    LG_TRY(lg_script_input(&value, at, 1));
    LG_TRY(lg_script_emit_shape(&value, at, value, &box));
    LG_TRY(lg_script_tensor_operand(&old, at, lg_script_argument(at, 0)->integer, out->n_dims));
    LG_TRY(replace_box(&y, at, old, value, starts->ints, sizes->ints, 1));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

/* read_box(x, starts, sizes) */
static lego_status convert_read_box(lg_script_at *at)
{
    const lg_script_arg *starts = lg_script_argument(at, 1), *sizes = lg_script_argument(at, 2);
    int32_t y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(&y, at, 0));
    LG_TRY(check_box(at, starts, sizes, lg_script_shape(at, y)->n_dims));
    for (int axis = 1; axis < starts->n; axis++)
        LG_TRY(lg_script_emit_slice(&y, at, y, axis, starts->ints[axis], starts->ints[axis] + sizes->ints[axis]));
    LG_TRY(lg_script_emit_shape(&y, at, y, lg_script_output(at, 0)));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

/* copy_(x, source): the source, stretched to what it is written into */
static lego_status convert_copy(lg_script_at *at)
{
    const lg_script_tensor *out = lg_script_output(at, 0);
    int32_t y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_operand(&y, at, 1, out->n_dims));
    LG_TRY(lg_script_broadcast(&y, at, y, out));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

/* fill_(x, number), zero_(x) */
static lego_status convert_fill(lg_script_at *at)
{
    double number = 0.0;
    int32_t y;
    lego_status status = LEGO_OK;

    if (!lg_script_is_none(at, 1))
        LG_TRY(lg_script_number(&number, at, 1));
    LG_TRY(lg_script_filled(&y, at, number, lg_script_output(at, 0)));
    LG_TRY(lg_script_finish(at, 0, y));
done:
    return status;
}

const lg_script_op lg_script_part_ops[] = {
    { "cat", convert_cat },
    { "concat", convert_cat },
    { "concatenate", convert_cat },
    { "stack", convert_stack },
    { "chunk", convert_split },
    { "split", convert_split },
    { "split_with_sizes", convert_split },
    { "tensor_split", convert_split },
    { "unsafe_chunk", convert_split },
    { "unsafe_split", convert_split },
    { "unsafe_split_with_sizes", convert_split },
    { "unbind", convert_unbind },
    { "slice", convert_slice },
    { "narrow", convert_select },
    { "select", convert_select },
    { "repeat", convert_repeat },
    { "tile", convert_repeat },
    { "write_box", convert_write_box },
    { "read_box", convert_read_box },
    { "copy", convert_copy },
    { "fill", convert_fill },
    { "zero", convert_fill },
    { NULL, NULL },
};
