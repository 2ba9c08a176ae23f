/* What TorchScript's converters ask of a recorded operator, and what they emit into the graph. Arguments are those of the
 * operator's schema in torch's native_functions.yaml, by position; past the end they are None.
 *
 * A constant enters the graph in two ways: as a weight (lg_script_weight), or as a constant node whose values must be the same
 * for every sample of the batch (lg_script_operand). */
#include "import/script.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

/* --- asking --- */

lego_status lg_script_unsupported(const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return lg_error(LEGO_EUNSUPPORTED, "%s", text);
}

const lg_script_arg *lg_script_argument(const lg_script_at *at, int i)
{
    static const lg_script_arg none = { .type = LG_SCRIPT_NONE };

    return i < at->node->n_args ? &at->node->args[i] : &none;
}

int lg_script_is_none(const lg_script_at *at, int i)
{
    return lg_script_argument(at, i)->type == LG_SCRIPT_NONE;
}

static const char *dtype_name(const lg_script_tensor *tensor)
{
    return tensor->dtype >= 0 ? lg_dtype_name((lego_dtype)tensor->dtype) : "complex or quantised numbers";
}

static int64_t elements_of(const lg_script_tensor *tensor)
{
    int64_t n = 1;

    for (int i = 0; i < tensor->n_dims; i++)
        n *= tensor->dims[i];
    return n;
}

/* Element i of a constant of any type that has numbers. */
static lego_status element_of(double *out, const lg_script_tensor *tensor, int64_t i)
{
    *out = 0.0;
    switch (tensor->dtype) {
    case LEGO_DTYPE_I64:
        *out = (double)((const int64_t *)tensor->data)[i];
        break;
    case LEGO_DTYPE_I32:
        *out = (double)((const int32_t *)tensor->data)[i];
        break;
    case LEGO_DTYPE_I16:
        *out = (double)((const int16_t *)tensor->data)[i];
        break;
    case LEGO_DTYPE_I8:
        *out = (double)((const int8_t *)tensor->data)[i];
        break;
    case LEGO_DTYPE_U8:
    case LEGO_DTYPE_BOOL:
        *out = (double)((const uint8_t *)tensor->data)[i];
        break;
    case LEGO_DTYPE_F64:
        *out = ((const double *)tensor->data)[i];
        break;
    case LEGO_DTYPE_F32:
        *out = (double)((const float *)tensor->data)[i];
        break;
    default:
        return lg_script_unsupported("a constant of %s; graphs compute with float32", dtype_name(tensor));
    }
    return LEGO_OK;
}

lego_status lg_script_int(int64_t *out, const lg_script_at *at, int i)
{
    const lg_script_arg *arg = lg_script_argument(at, i);

    *out = arg->integer;
    if (arg->type != LG_SCRIPT_INT && arg->type != LG_SCRIPT_BOOL)
        return lg_script_unsupported("argument %d is no integer", i);
    return LEGO_OK;
}

lego_status lg_script_number(double *out, const lg_script_at *at, int i)
{
    const lg_script_arg *arg = lg_script_argument(at, i);

    const lg_script_tensor *tensor = lg_script_tensor_of(at, i);

    if (tensor && tensor->data && elements_of(tensor) == 1)
        return element_of(out, tensor, 0);
    *out = arg->number;
    if (arg->type != LG_SCRIPT_INT && arg->type != LG_SCRIPT_BOOL && arg->type != LG_SCRIPT_DOUBLE)
        return lg_script_unsupported("argument %d is no number", i);
    return LEGO_OK;
}

lego_status lg_script_ints(int64_t *out, const lg_script_at *at, int i, int n)
{
    const lg_script_arg *arg = lg_script_argument(at, i);

    if (arg->type == LG_SCRIPT_INT) {
        for (int k = 0; k < n; k++)
            out[k] = arg->integer;
        return LEGO_OK;
    }
    if (arg->type != LG_SCRIPT_INTS || (arg->n != n && arg->n != 1))
        return lg_script_unsupported("argument %d is no list of %d integers", i, n);
    for (int k = 0; k < n; k++)
        out[k] = arg->ints[arg->n == 1 ? 0 : k];
    return LEGO_OK;
}

lego_status lg_script_axis(int64_t *out, const lg_script_at *at, int i, int n_dims)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_int(out, at, i));
    if (*out < 0)
        *out += n_dims;
    if (*out < 0 || *out >= n_dims)
        return lg_script_unsupported("axis %lld of %d", (long long)*out, n_dims);
    if (*out == 0)
        return lg_script_unsupported("it works along axis 0, which is the batch");
done:
    return status;
}

const lg_script_tensor *lg_script_output(const lg_script_at *at, int i)
{
    return &at->import->script->tensors[at->node->outputs[i]];
}

const lg_script_tensor *lg_script_tensor_of(const lg_script_at *at, int i)
{
    const lg_script_arg *arg = lg_script_argument(at, i);

    return arg->type == LG_SCRIPT_TENSOR ? &at->import->script->tensors[arg->integer] : NULL;
}

const lg_shape *lg_script_shape(const lg_script_at *at, int32_t value)
{
    return &at->import->graph->values[value].shape;
}

/* --- emitting --- */

lg_attrs lg_script_defaults(lg_op_kind kind)
{
    return lg_op_of_kind(kind)->defaults;
}

/* Append a node of this name (NULL: out of memory), which it takes over. */
static lego_status emit_named(int32_t *out, lg_script_at *at, char *name, lg_op_kind kind, const lg_attrs *attrs,
                              int n_inputs, const int32_t *inputs, int n_weights, const int32_t *weights)
{
    lego_status status = LEGO_OK;

    *out = LG_NONE;
    if (!name)
        LG_FAIL(LEGO_ENOMEM, "out of memory naming node '%s'", at->name);
    LG_TRY(lg_graph_add_node(out, at->import->graph, lg_op_for(kind, at->import->graph, n_inputs, inputs)->name, name,
                             attrs, n_inputs, inputs, n_weights, weights));
done:
    lg_free(name);
    return status;
}

/* The first has the name of the operator. */
static char *next_name(const lg_script_at *at)
{
    return at->n_emitted == 0 ? lg_strdup(at->name) : lg_asprintf("%s#%d", at->name, (int)at->n_emitted + 1);
}

lego_status lg_script_emit(int32_t *out, lg_script_at *at, lg_op_kind kind, const lg_attrs *attrs, int n_inputs,
                           const int32_t *inputs, int n_weights, const int32_t *weights)
{
    const lego_status status = emit_named(out, at, next_name(at), kind, attrs, n_inputs, inputs, n_weights, weights);

    at->n_emitted += status == LEGO_OK;
    return status;
}

lego_status lg_script_emit_unary(int32_t *out, lg_script_at *at, lg_op_kind kind, const lg_attrs *attrs, int32_t input)
{
    return lg_script_emit(out, at, kind, attrs, 1, &input, 0, NULL);
}

lego_status lg_script_emit_shape(int32_t *out, lg_script_at *at, int32_t input, const lg_script_tensor *like)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_RESHAPE);
    const lg_shape *shape = lg_script_shape(at, input);
    int same = shape->n_dims == like->n_dims;

    if (like->n_dims < 2 || like->dims[0] != at->import->script->batch)
        return lg_script_unsupported("it moves the batch out of the first axis");
    attrs.reshape.shape.n = like->n_dims - 1;
    for (int i = 1; i < like->n_dims; i++) {
        attrs.reshape.shape.dims[i - 1] = like->dims[i];
        same = same && shape->dims[i] == like->dims[i];
    }
    *out = input;
    return same ? LEGO_OK : lg_script_emit_unary(out, at, LG_OP_RESHAPE, &attrs, input);
}

lego_status lg_script_finish_placed(lg_script_at *at, int i, int32_t value, const lg_place *place)
{
    const lg_script_tensor *recorded;
    const lg_shape *shape = lg_script_shape(at, value);
    lg_shape torch, graph;
    char have[128], want[128];

    if (i >= at->node->n_outputs)
        return lg_script_unsupported("it has %d outputs", (int)at->node->n_outputs);
    recorded = lg_script_output(at, i);
    if (recorded->dtype != LEGO_DTYPE_F32)
        return lg_script_unsupported("it gives %s; graphs compute with float32", dtype_name(recorded));
    torch = lg_shape_make(recorded->n_dims, recorded->dims);
    graph = lg_place_graph_shape(place);
    if (!lg_shape_equal(&torch, &place->shape) || !lg_shape_equal(shape, &graph))
        return lg_script_unsupported("it gives %s, torch computed %s for a batch of %d", lg_shape_format(have, shape),
                                     lg_shape_format(want, &torch), (int)at->import->script->batch);
    at->import->values[at->node->outputs[i]] = value;
    at->import->places[at->node->outputs[i]] = *place;
    return LEGO_OK;
}

lego_status lg_script_finish(lg_script_at *at, int i, int32_t value)
{
    const lg_place place = lg_place_at(lg_script_shape(at, value), 0, at->import->script->batch);

    return lg_script_finish_placed(at, i, value, &place);
}

lego_status lg_script_placed(int32_t *value, lg_place *place, lg_script_at *at, int i)
{
    const lg_script_arg *arg = lg_script_argument(at, i);

    if (arg->type != LG_SCRIPT_TENSOR || at->import->script->tensors[arg->integer].data)
        return lg_script_unsupported("argument %d is no tensor computed from the input", i);
    *value = at->import->values[arg->integer];
    if (*value == LG_NONE)
        return lg_script_unsupported("argument %d is no float32 value of the graph", i);
    *place = at->import->places[arg->integer];
    return LEGO_OK;
}

lego_status lg_script_input(int32_t *value, lg_script_at *at, int i)
{
    lg_place place;
    lego_status status = lg_script_placed(value, &place, at, i);

    if (status == LEGO_OK && !lg_place_is_first(&place))
        return lg_script_unsupported("the batch is not the first axis of argument %d", i);
    return status;
}

lego_status lg_script_placed_axis(int64_t *dim, int64_t *axis, const lg_script_at *at, int i, const lg_place *place)
{
    const int n_dims = place->shape.n_dims;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_int(dim, at, i));
    *dim += *dim < 0 ? n_dims : 0;
    if (*dim < 0 || *dim >= n_dims)
        return lg_script_unsupported("axis %lld of %d", (long long)*dim, n_dims);
    *axis = lg_place_axis(place, (int)*dim);
    if (*axis == 0)
        return lg_script_unsupported("it works along axis %lld, which holds the batch", (long long)*dim);
done:
    return status;
}

lego_status lg_script_move(int32_t *value, lg_script_at *at, const lg_place *from, const lg_place *to)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_RESHAPE);
    lg_shape have, want;

    if (!lg_place_fits(to))
        return lg_script_unsupported("a value of more than %d axes with the batch", LEGO_MAX_DIMS);
    have = lg_place_graph_shape(from);
    want = lg_place_graph_shape(to);
    if (lg_shape_equal(&have, &want))
        return LEGO_OK;
    if (want.n_dims < 2)
        return lg_script_unsupported("a value of one number a sample where an axis is needed");
    attrs.reshape.shape.n = want.n_dims - 1;
    memcpy(attrs.reshape.shape.dims, want.dims + 1, (size_t)(want.n_dims - 1) * sizeof(*want.dims));
    return lg_script_emit_unary(value, at, LG_OP_RESHAPE, &attrs, *value);
}

lego_status lg_script_meeting(lg_place *out, const lg_script_at *at, const int64_t *tensors, int n, int n_dims)
{
    int found = 0;

    for (int i = 0; i < n; i++) {
        const lg_script_tensor *tensor = &at->import->script->tensors[tensors[i]];
        lg_place wide;

        if (tensor->data)
            continue;
        if (at->import->values[tensors[i]] == LG_NONE || tensor->n_dims > n_dims || n_dims > LEGO_MAX_DIMS)
            return lg_script_unsupported("an operand is no float32 value of the graph, or has too many axes");
        wide = lg_place_widen(&at->import->places[tensors[i]], n_dims);
        if (!found)
            *out = wide;
        else if (!lg_place_meet(out, out, &wide, at->import->script->batch))
            return lg_script_unsupported("the batch is on different axes of its operands");
        found = 1;
    }
    if (!found)
        return lg_script_unsupported("none of its operands is computed from the input");
    return lg_place_fits(out) ? LEGO_OK
                              : lg_script_unsupported("a value of more than %d axes with the batch", LEGO_MAX_DIMS);
}

/* A copy of a recorded constant, F32. */
static lego_status read_constant(lego_tensor *out, const lg_script_tensor *tensor)
{
    const lg_shape shape = lg_shape_make(tensor->n_dims, tensor->dims);
    const int64_t n = elements_of(tensor);
    float *to;
    double number;
    lego_status status = LEGO_OK;

    if (tensor->is_memory)
        return lg_script_unsupported("it reads '%s', which forward itself changes: what a module remembers from call to call is "
                                     "no part of a graph", tensor->name ? tensor->name : "a constant");
    if (n > 0)
        LG_TRY(element_of(&number, tensor, 0)); /* whether there are numbers */
    LG_TRY(lg_tensor_init(out, LEGO_DTYPE_F32, &shape));
    to = lg_tensor_data(out);
    if (tensor->dtype == LEGO_DTYPE_F32 && n > 0)
        memcpy(to, tensor->data, lg_tensor_bytes(out));
    for (int64_t i = 0; tensor->dtype != LEGO_DTYPE_F32 && i < n; i++) {
        (void)element_of(&number, tensor, i);
        to[i] = (float)number;
    }
done:
    return status;
}

/* Add a weight under the first of these names that is free. */
static lego_status add_weight(int32_t *weight, lg_script_at *at, const char *given, const char *slot,
                              const lego_tensor *tensor)
{
    lg_graph *graph = at->import->graph;
    char *name = given ? lg_strdup(given)
                       : lg_asprintf("%s.%s", *at->node->scope ? at->node->scope : at->name, slot);
    lego_status status = LEGO_OK;

    for (int k = 2; name && lg_graph_find_weight(graph, name) != LG_NONE; k++) {
        lg_free(name);
        name = k == 2 ? lg_asprintf("%s.%s", at->name, slot) : lg_asprintf("%s.%s#%d", at->name, slot, k);
    }
    if (!name)
        LG_FAIL(LEGO_ENOMEM, "out of memory naming a weight of '%s'", at->name);
    LG_TRY(lg_graph_add_weight(weight, graph, name, tensor));
done:
    lg_free(name);
    return status;
}

static void swap_axes(lego_tensor *tensor, const lego_tensor *from)
{
    const int64_t rows = from->shape.dims[0], columns = from->shape.dims[1];
    const float *a = lg_tensor_data(from);
    float *b = lg_tensor_data(tensor);

    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            b[j * rows + i] = a[i * columns + j];
}

lego_status lg_script_weight(int32_t *weight, lg_script_at *at, int i, const char *slot, lg_script_form form)
{
    const lg_script_tensor *tensor = lg_script_tensor_of(at, i);
    int32_t *known;
    lego_tensor values = { 0 }, turned = { 0 };
    lego_status status = LEGO_OK;

    *weight = LG_NONE;
    if (lg_script_is_none(at, i))
        return LEGO_OK;
    if (!tensor || !tensor->data)
        return lg_script_unsupported("its %s is computed from the input", slot);
    known = &at->import->weights[lg_script_argument(at, i)->integer];
    if (form != LG_SCRIPT_TRANSPOSED && *known != LG_NONE) {
        *weight = *known;
        return LEGO_OK;
    }
    if (form != LG_SCRIPT_AS_IS && tensor->n_dims != (form == LG_SCRIPT_WIDENED ? 3 : 2))
        return lg_script_unsupported("its %s has %d axes", slot, (int)tensor->n_dims);
    LG_TRY(read_constant(&values, tensor));
    if (form == LG_SCRIPT_WIDENED)
        values.shape = (lg_shape){ 4, { tensor->dims[0], tensor->dims[1], 1, tensor->dims[2] } };
    if (form == LG_SCRIPT_TRANSPOSED) {
        LG_TRY(lg_tensor_init(&turned, LEGO_DTYPE_F32, &(lg_shape){ 2, { tensor->dims[1], tensor->dims[0] } }));
        swap_axes(&turned, &values);
        LG_TRY(add_weight(weight, at, NULL, slot, &turned));
    } else {
        LG_TRY(add_weight(weight, at, tensor->name, slot, &values));
        *known = *weight;
    }
done:
    lg_tensor_dispose(&values);
    lg_tensor_dispose(&turned);
    return status;
}

/* A constant node; `values` (without the batch) becomes its weight. */
static lego_status emit_constant(int32_t *value, lg_script_at *at, const char *name, const lego_tensor *values)
{
    int32_t weight = LG_NONE;
    lego_status status = LEGO_OK;

    LG_TRY(add_weight(&weight, at, name, "value", values));
    LG_TRY(lg_script_emit(value, at, LG_OP_CONSTANT, NULL, 0, NULL, 1, &weight));
done:
    return status;
}

lego_status lg_script_scalar(int32_t *value, lg_script_at *at, double number, int n_dims)
{
    lg_shape shape = { n_dims - 1, { 0 } };
    lego_tensor tensor = { 0 };
    lego_status status = LEGO_OK;

    for (int i = 0; i < n_dims - 1; i++)
        shape.dims[i] = 1;
    LG_TRY(lg_tensor_init(&tensor, LEGO_DTYPE_F32, &shape));
    *(float *)lg_tensor_data(&tensor) = (float)number;
    LG_TRY(emit_constant(value, at, NULL, &tensor));
done:
    lg_tensor_dispose(&tensor);
    return status;
}

lego_status lg_script_tensor_at(int32_t *value, lg_script_at *at, int64_t index, const lg_place *place)
{
    const lg_script_tensor *tensor = &at->import->script->tensors[index];
    lego_tensor all = { 0 }, sample = { 0 };
    lg_place wide;
    lego_status status = LEGO_OK;

    if (!tensor->data) {
        *value = at->import->values[index];
        if (*value == LG_NONE || tensor->n_dims > place->shape.n_dims)
            return lg_script_unsupported("its operands have different numbers of axes, or other types than float32");
        wide = lg_place_widen(&at->import->places[index], place->shape.n_dims);
        if (wide.dim != place->dim || wide.before != place->before || wide.behind != place->behind)
            return lg_script_unsupported("the batch is on different axes of its operands");
        return lg_script_move(value, at, &at->import->places[index], &wide);
    }
    if (tensor->n_dims > place->shape.n_dims)
        return lg_script_unsupported("a constant of %d axes beside a value of %d", (int)tensor->n_dims,
                                     (int)place->shape.n_dims);
    LG_TRY(read_constant(&all, tensor));
    LG_TRY(lg_place_sample(&sample, &all, tensor->name ? tensor->name : at->name, place, at->import->script->batch));
    if (sample.shape.n_dims < 1)
        LG_FAIL(LEGO_EUNSUPPORTED, "a constant beside a value of one number a sample");
    LG_TRY(emit_constant(value, at, tensor->name, &sample));
done:
    lg_tensor_dispose(&all);
    lg_tensor_dispose(&sample);
    return status;
}

lego_status lg_script_tensor_operand(int32_t *value, lg_script_at *at, int64_t index, int n_dims)
{
    const lg_place place = { { n_dims, { 0 } }, 0, 1, 1 };

    if (!at->import->script->tensors[index].data && at->import->script->tensors[index].n_dims != n_dims)
        return lg_script_unsupported("its operands have different numbers of axes");
    return lg_script_tensor_at(value, at, index, &place);
}

lego_status lg_script_operand(int32_t *value, lg_script_at *at, int i, int n_dims)
{
    const lg_script_arg *arg = lg_script_argument(at, i);
    double number = 0.0;
    lego_status status = LEGO_OK;

    if (arg->type == LG_SCRIPT_TENSOR)
        return lg_script_tensor_operand(value, at, arg->integer, n_dims);
    LG_TRY(lg_script_number(&number, at, i));
    LG_TRY(lg_script_scalar(value, at, number, n_dims));
done:
    return status;
}

lego_status lg_script_broadcast(int32_t *y, lg_script_at *at, int32_t x, const lg_place *place)
{
    const lg_shape shape = *lg_script_shape(at, x), like = lg_place_graph_shape(place);
    lg_shape rest = { shape.n_dims - 1, { 0 } };
    lego_tensor zeros = { 0 };
    int32_t operands[2] = { x, LG_NONE };
    int same = 1;
    lego_status status = LEGO_OK;

    if (shape.n_dims != like.n_dims)
        return lg_script_unsupported("a value of %d axes for %d", (int)shape.n_dims, (int)like.n_dims);
    for (int i = 1; i < shape.n_dims; i++) {
        if (shape.dims[i] != like.dims[i] && shape.dims[i] != 1)
            return lg_script_unsupported("extent %lld of axis %d for %lld", (long long)shape.dims[i], i,
                                         (long long)like.dims[i]);
        same = same && shape.dims[i] == like.dims[i];
        rest.dims[i - 1] = shape.dims[i] == like.dims[i] ? 1 : like.dims[i];
    }
    *y = x;
    if (same)
        return LEGO_OK;
    LG_TRY(lg_tensor_init(&zeros, LEGO_DTYPE_F32, &rest));
    LG_TRY(emit_constant(&operands[1], at, NULL, &zeros));
    LG_TRY(lg_script_emit(y, at, LG_OP_ADD, NULL, 2, operands, 0, NULL));
done:
    lg_tensor_dispose(&zeros);
    return status;
}

lego_status lg_script_filled(int32_t *value, lg_script_at *at, double number, const lg_script_tensor *like)
{
    lg_shape shape = { like->n_dims - 1, { 0 } };
    lego_tensor tensor = { 0 };
    float *data;
    lego_status status = LEGO_OK;

    for (int i = 1; i < like->n_dims; i++)
        shape.dims[i - 1] = like->dims[i];
    LG_TRY(lg_tensor_init(&tensor, LEGO_DTYPE_F32, &shape));
    data = lg_tensor_data(&tensor);
    for (int64_t i = 0; i < lg_tensor_count(&tensor); i++)
        data[i] = (float)number;
    LG_TRY(emit_constant(value, at, NULL, &tensor));
done:
    lg_tensor_dispose(&tensor);
    return status;
}

lego_status lg_script_causal(int32_t *value, lg_script_at *at, int64_t rows, int64_t columns, double number, int n_dims)
{
    lg_shape shape = { n_dims - 1, { 0 } };
    lego_tensor tensor = { 0 };
    lego_status status = LEGO_OK;

    for (int i = 0; i < n_dims - 3; i++)
        shape.dims[i] = 1;
    shape.dims[n_dims - 3] = rows;
    shape.dims[n_dims - 2] = columns;
    LG_TRY(lg_tensor_init(&tensor, LEGO_DTYPE_F32, &shape));
    for (int64_t i = 0; i < rows * columns; i++)
        ((float *)lg_tensor_data(&tensor))[i] = i % columns > i / columns ? (float)number : 0.0f;
    LG_TRY(emit_constant(value, at, NULL, &tensor));
done:
    lg_tensor_dispose(&tensor);
    return status;
}

lego_status lg_script_give_unary(lg_script_at *at, lg_op_kind kind, const lg_attrs *attrs)
{
    lg_place place;
    int32_t x, y;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_placed(&x, &place, at, 0));
    LG_TRY(lg_script_emit_unary(&y, at, kind, attrs, x));
    LG_TRY(lg_script_finish_placed(at, 0, y, &place));
done:
    return status;
}

lego_status lg_script_hand_on(lg_script_at *at)
{
    lg_place place;
    int32_t x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_placed(&x, &place, at, 0));
    LG_TRY(lg_script_finish_placed(at, 0, x, &place));
done:
    return status;
}

/* --- windows --- */

int lg_script_axes_of(int n_spatial)
{
    return n_spatial == 1 ? 2 : n_spatial;
}

/* A reshape beside the operator itself. */
static lego_status emit_form(int32_t *value, lg_script_at *at, const lg_dims *shape, const char *what)
{
    lg_attrs attrs = lg_script_defaults(LG_OP_RESHAPE);
    const int32_t input = *value;

    attrs.reshape.shape = *shape;
    return emit_named(value, at, lg_asprintf("%s/%s", at->name, what), LG_OP_RESHAPE, &attrs, 1, &input, 0, NULL);
}

lego_status lg_script_enter(int32_t *value, int *n_spatial, lg_script_at *at)
{
    const lg_shape *shape;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_input(value, at, 0));
    shape = lg_script_shape(at, *value);
    *n_spatial = shape->n_dims - 2;
    if (*n_spatial < 1 || *n_spatial > LG_MAX_AXES)
        return lg_script_unsupported("a value of %d axes; 3 to %d are supported", (int)shape->n_dims, 2 + LG_MAX_AXES);
    if (*n_spatial == 1)
        LG_TRY(emit_form(value, at, &(lg_dims){ 3, { shape->dims[1], 1, shape->dims[2] } }, "wide"));
done:
    return status;
}

lego_status lg_script_axes(int64_t *out, const lg_script_at *at, int i, int n_spatial, int64_t fallback)
{
    out[0] = fallback;
    return lg_script_ints(out + lg_script_axes_of(n_spatial) - n_spatial, at, i, n_spatial);
}

lego_status lg_script_pads(int64_t *out, const lg_script_at *at, int i, int n_spatial)
{
    const int n_axes = lg_script_axes_of(n_spatial);
    const lego_status status = lg_script_axes(out, at, i, n_spatial, 0);

    memcpy(out + n_axes, out, (size_t)n_axes * sizeof(*out));
    return status;
}

lego_status lg_script_leave(lg_script_at *at, int32_t value, int n_spatial)
{
    const lg_shape *shape = lg_script_shape(at, value);
    lego_status status = LEGO_OK;

    if (n_spatial == 1)
        LG_TRY(emit_form(&value, at, &(lg_dims){ 2, { shape->dims[1], shape->dims[3] } }, "narrow"));
    LG_TRY(lg_script_finish(at, 0, value));
done:
    return status;
}

lego_status lg_script_give_window(lg_script_at *at, lg_op_kind kind, const lg_attrs *attrs)
{
    int32_t x, y;
    int n_spatial;
    lego_status status = LEGO_OK;

    LG_TRY(lg_script_enter(&x, &n_spatial, at));
    LG_TRY(lg_script_emit_unary(&y, at, kind, attrs, x));
    LG_TRY(lg_script_leave(at, y, n_spatial));
done:
    return status;
}

lego_status lg_script_refuse_indices(const lg_script_at *at)
{
    if (at->node->n_outputs > 1 && at->import->is_needed[at->node->outputs[1]])
        return lg_script_unsupported("its indices are used (max_unpool2d, gather ...): graphs hold float32 values only");
    return LEGO_OK;
}
