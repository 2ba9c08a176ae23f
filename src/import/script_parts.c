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
    const int n_dims = out->n_dims - stacked;
    lg_place place, part;
    int64_t dim = 0;
    int32_t *values = NULL, y;
    lego_status status = LEGO_OK;

    if (list->type != LG_SCRIPT_TENSORS || list->n < 1)
        LG_FAIL(LEGO_EUNSUPPORTED, "no list of tensors");
    LG_TRY(lg_script_meeting(&place, at, list->ints, list->n, n_dims));
    LG_TRY(lg_script_int(&dim, at, 1));
    dim += dim < 0 ? out->n_dims : 0;
    if (dim < 0 || dim >= out->n_dims || (!stacked && dim == place.dim))
        LG_FAIL(LEGO_EUNSUPPORTED, "it joins along axis %lld, which holds the batch", (long long)dim);
    part = place;
    part.shape = lg_shape_make(out->n_dims, out->dims);
    part.dim += stacked && dim <= place.dim;
    LG_TRY(LG_CALLOC(&values, list->n));
    for (int i = 0; i < list->n; i++) {
        LG_TRY(lg_script_tensor_at(&values[i], at, list->ints[i], &place));
        if (stacked) {
            lg_place one = part, from = place;

            one.shape.dims[dim] = 1;
            for (int k = 0; k < n_dims; k++)
                from.shape.dims[k] = one.shape.dims[k + (k >= dim)];
            LG_TRY(lg_script_move(&values[i], at, &from, &one));
        }
    }
    LG_TRY(lg_script_emit_concat(&y, at, list->n, values, lg_place_axis(&part, (int)dim)));
    LG_TRY(lg_script_finish_placed(at, 0, y, &part));
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
    lg_place place;
    int64_t dim = 0, axis = 0, start = 0;
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_placed(&x, &place, at, 0));
    LG_TRY(lg_script_placed_axis(&dim, &axis, at, 2, &place));
    if (n >= 2 && n <= LEGO_MAX_DIMS) {
        attrs.split.axis = axis;
        attrs.split.sizes.n = n;
        for (int i = 0; i < n; i++)
            attrs.split.sizes.dims[i] = lg_script_output(at, i)->dims[dim];
        LG_TRY(lg_script_emit_unary(&y, at, LG_OP_SPLIT, &attrs, x));
        for (int i = 0; i < n; i++) {
            place.shape.dims[dim] = attrs.split.sizes.dims[i];
            LG_TRY(lg_script_finish_placed(at, i, y + i, &place));
        }
        return LEGO_OK;
    }
    for (int i = 0; i < n; i++) {
        const int64_t length = lg_script_output(at, i)->dims[dim];

        place.shape.dims[dim] = length;
        LG_TRY(lg_script_emit_slice(&y, at, x, axis, start, start + length));
        LG_TRY(lg_script_finish_placed(at, i, y, &place));
        start += length;
    }
done:
    return status;
}

/* The place without a dim of one element. */
static lg_place place_without(const lg_place *in, int64_t dim)
{
    lg_place out = *in;

    out.shape.n_dims--;
    for (int64_t i = dim; i < out.shape.n_dims; i++)
        out.shape.dims[i] = in->shape.dims[i + 1];
    out.dim -= dim < in->dim;
    return out;
}

/* One element of axis `dim`, which is dropped, as output i. */
static lego_status give_element(lg_script_at *at, int i, int32_t x, const lg_place *place, int64_t dim, int64_t index)
{
    const int axis = lg_place_axis(place, (int)dim);
    lg_place one = *place, to;
    int32_t y;
    lego_status status = LEGO_OK;

    one.shape.dims[dim] = 1;
    to = place_without(&one, dim);
    LG_TRY(lg_script_emit_slice(&y, at, x, axis, index, index + 1));
    LG_TRY(lg_script_move(&y, at, &one, &to));
    LG_TRY(lg_script_finish_placed(at, i, y, &to));
done:
    return status;
}

/* unbind(x, axis) */
static lego_status convert_unbind(lg_script_at *at)
{
    lg_place place;
    int64_t dim = 0, axis = 0;
    int32_t x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_placed(&x, &place, at, 0));
    LG_TRY(lg_script_placed_axis(&dim, &axis, at, 1, &place));
    for (int i = 0; i < at->node->n_outputs; i++)
        LG_TRY(give_element(at, i, x, &place, dim, i));
done:
    return status;
}

/* slice(x, axis, start, end, step); one of a whole axis is nothing */
static lego_status convert_slice(lg_script_at *at)
{
    const lg_script_tensor *from = lg_script_tensor_of(at, 0), *to = lg_script_output(at, 0);
    lg_attrs attrs = lg_script_defaults(LG_OP_SLICE);
    lg_place place;
    int64_t dim = 0, start = 0;
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_placed(&x, &place, at, 0));
    LG_TRY(lg_script_int(&dim, at, 1));
    dim += dim < 0 ? to->n_dims : 0;
    if (dim >= 0 && dim < from->n_dims && from->dims[dim] == to->dims[dim])
        return lg_script_hand_on(at);
    LG_TRY(lg_script_placed_axis(&dim, &attrs.slice.axis, at, 1, &place));
    LG_TRY(lg_script_int(&attrs.slice.step, at, 4)); /* torch has no negative ones */
    if (!lg_script_is_none(at, 2))
        LG_TRY(lg_script_int(&start, at, 2));
    start += start < 0 ? from->dims[dim] : 0;
    start = start < 0 ? 0 : start;
    attrs.slice.start = start;
    attrs.slice.end = start + (to->dims[dim] - 1) * attrs.slice.step + 1;
    LG_TRY(lg_script_emit_unary(&y, at, LG_OP_SLICE, &attrs, x));
    place.shape.dims[dim] = to->dims[dim];
    LG_TRY(lg_script_finish_placed(at, 0, y, &place));
done:
    return status;
}

/* narrow(x, axis, start, length) and select(x, axis, index), which drops the axis */
static lego_status convert_select(lg_script_at *at)
{
    const lg_script_tensor *to = lg_script_output(at, 0);
    lg_place place;
    int64_t dim = 0, axis = 0, start = 0;
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_placed(&x, &place, at, 0));
    LG_TRY(lg_script_placed_axis(&dim, &axis, at, 1, &place));
    LG_TRY(lg_script_int(&start, at, 2));
    start += start < 0 ? place.shape.dims[dim] : 0;
    if (to->n_dims != place.shape.n_dims)
        return give_element(at, 0, x, &place, dim, start);
    LG_TRY(lg_script_emit_slice(&y, at, x, axis, start, start + to->dims[dim]));
    place.shape.dims[dim] = to->dims[dim];
    LG_TRY(lg_script_finish_placed(at, 0, y, &place));
done:
    return status;
}

/* roll(x, shifts, axes): the last `shift` elements come first */
static lego_status convert_roll(lg_script_at *at)
{
    const lg_script_arg *shifts = lg_script_argument(at, 1), *axes = lg_script_argument(at, 2);
    lg_place place;
    int32_t y, parts[2];
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_placed(&y, &place, at, 0));
    if (shifts->type != LG_SCRIPT_INTS || axes->type != LG_SCRIPT_INTS || axes->n < 1 || shifts->n != axes->n)
        LG_FAIL(LEGO_EUNSUPPORTED, "shifts without axes: the batch would be shifted, too");
    for (int i = 0; i < axes->n; i++) {
        const int64_t dim = axes->ints[i] + (axes->ints[i] < 0 ? place.shape.n_dims : 0);
        int64_t shift, extent;
        int axis;

        if (dim < 0 || dim >= place.shape.n_dims || (axis = lg_place_axis(&place, (int)dim)) == 0)
            LG_FAIL(LEGO_EUNSUPPORTED, "it works along axis %lld, which holds the batch", (long long)dim);
        extent = place.shape.dims[dim];
        shift = shifts->ints[i] % extent + (shifts->ints[i] % extent < 0 ? extent : 0);
        if (shift == 0)
            continue;
        LG_TRY(lg_script_emit_slice(&parts[0], at, y, axis, extent - shift, extent));
        LG_TRY(lg_script_emit_slice(&parts[1], at, y, axis, 0, extent - shift));
        LG_TRY(lg_script_emit_concat(&y, at, 2, parts, axis));
    }
    LG_TRY(lg_script_finish_placed(at, 0, y, &place));
done:
    return status;
}

/* flip(x, axes): slices that go down */
static lego_status convert_flip(lg_script_at *at)
{
    const lg_script_arg *axes = lg_script_argument(at, 1);
    lg_attrs attrs = lg_script_defaults(LG_OP_SLICE);
    lg_place place;
    int32_t y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_placed(&y, &place, at, 0));
    if (axes->type != LG_SCRIPT_INTS)
        LG_FAIL(LEGO_EUNSUPPORTED, "no list of axes");
    for (int i = 0; i < axes->n; i++) {
        const int64_t dim = axes->ints[i] + (axes->ints[i] < 0 ? place.shape.n_dims : 0);

        if (dim < 0 || dim >= place.shape.n_dims || (attrs.slice.axis = lg_place_axis(&place, (int)dim)) == 0)
            LG_FAIL(LEGO_EUNSUPPORTED, "it works along axis %lld, which holds the batch", (long long)dim);
        attrs.slice.start = place.shape.dims[dim] - 1;
        attrs.slice.end = attrs.slice.step = -1;
        LG_TRY(lg_script_emit_unary(&y, at, LG_OP_SLICE, &attrs, y));
    }
    LG_TRY(lg_script_finish_placed(at, 0, y, &place));
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
    const lg_shape shape = lg_shape_make(out->n_dims, out->dims);
    const lg_place place = lg_place_at(&shape, 0, at->import->script->batch);
    int32_t y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_operand(&y, at, 1, out->n_dims));
    LG_TRY(lg_script_broadcast(&y, at, y, &place));
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
    { "roll", convert_roll },
    { "flip", convert_flip },
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
