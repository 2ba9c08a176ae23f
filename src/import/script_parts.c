/* Converters of TorchScript's operators that cut values apart and join them. */
#include "import/script.h"

#include "base/alloc.h"

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
        return lg_script_hand_on(at);
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

const lg_script_op lg_script_part_ops[] = {
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
