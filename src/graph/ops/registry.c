/* The list of ops, one line each, and their attributes in JSON and in comparisons, driven by each op's field table. */
#include <string.h>

#include "graph/ops/common.h"

#define LG_OPS(X)                                                             \
    X(block)                                                                  \
    X(conv2d)                                                                 \
    X(linear)                                                                 \
    X(batch_norm)                                                             \
    X(relu)                                                                   \
    X(clip)                                                                   \
    X(add)                                                                    \
    X(max_pool)                                                               \
    X(avg_pool)                                                               \
    X(adaptive_avg_pool)                                                      \
    X(flatten)                                                                \
    X(dropout)                                                                \
    X(sigmoid)                                                                \
    X(tanh)                                                                   \
    X(hard_sigmoid)                                                           \
    X(hard_swish)                                                             \
    X(silu)                                                                   \
    X(gelu)                                                                   \
    X(leaky_relu)                                                             \
    X(prelu)                                                                  \
    X(softmax)                                                                \
    X(sub)                                                                    \
    X(mul)                                                                    \
    X(div)                                                                    \
    X(concat)                                                                 \
    X(split)                                                                  \
    X(slice)                                                                  \
    X(reshape)                                                                \
    X(permute)                                                                \
    X(mean)                                                                   \
    X(pad)                                                                    \
    X(upsample)                                                               \
    X(adaptive_max_pool)                                                      \
    X(conv_transpose2d)                                                       \
    X(matmul)                                                                 \
    X(layer_norm)                                                             \
    X(group_norm)                                                             \
    X(constant)                                                               \
    X(conv3d)                                                                 \
    X(conv_transpose3d)                                                       \
    X(max_pool3d)                                                             \
    X(avg_pool3d)                                                             \
    X(adaptive_avg_pool3d)                                                    \
    X(adaptive_max_pool3d)                                                    \
    X(pad3d)                                                                  \
    X(upsample3d) \
    X(elu)                                                                    \
    X(softplus)                                                               \
    X(pow)                                                                    \
    X(shrink)                                                                 \
    X(thresholded_relu)                                                       \
    X(log_softmax)                                                            \
    X(min)                                                                    \
    X(max)

#define LG_DECLARE_OP(name) extern const lg_op lg_op_##name;
#define LG_DECLARE_FUNCTION(KIND, name) LG_DECLARE_OP(name)
LG_OPS(LG_DECLARE_OP)
LG_FUNCTIONS(LG_DECLARE_FUNCTION)
#undef LG_DECLARE_FUNCTION
#undef LG_DECLARE_OP

static const lg_op *const ops[] = {
#define LG_LIST_OP(name) &lg_op_##name,
#define LG_LIST_FUNCTION(KIND, name) LG_LIST_OP(name)
    LG_OPS(LG_LIST_OP)
    LG_FUNCTIONS(LG_LIST_FUNCTION)
#undef LG_LIST_FUNCTION
#undef LG_LIST_OP
};

#define N_OPS ((int)(sizeof(ops) / sizeof(ops[0])))

const lg_op *lg_op_at(int index)
{
    return index >= 0 && index < N_OPS ? ops[index] : NULL;
}

const lg_op *lg_op_find(const char *name)
{
    for (int i = 0; i < N_OPS; i++)
        if (strcmp(ops[i]->name, name) == 0)
            return ops[i];
    return NULL;
}

const lg_op *lg_op_of_kind(lg_op_kind kind)
{
    for (int i = 0; i < N_OPS; i++)
        if (ops[i]->kind == kind)
            return ops[i];
    return NULL;
}

const lg_op *lg_op_of_axes(lg_op_kind kind, int n_axes)
{
    for (int i = 0; i < N_OPS; i++)
        if (ops[i]->kind == kind && ops[i]->n_axes == n_axes)
            return ops[i];
    return lg_op_of_kind(kind);
}

const lg_op *lg_op_for(lg_op_kind kind, const lg_graph *graph, int n_inputs, const int32_t *inputs)
{
    return lg_op_of_axes(kind, n_inputs > 0 ? graph->values[inputs[0]].shape.n_dims - 2 : 0);
}

int lg_op_is_compressible(const lg_op *op)
{
    return op->kind == LG_OP_CONV || op->kind == LG_OP_LINEAR || op->kind == LG_OP_CONV_TRANSPOSE;
}

int lg_layer_channel_axis(const lg_graph *graph, const lg_node *layer, int32_t value)
{
    return layer->op->kind == LG_OP_LINEAR ? graph->values[value].shape.n_dims - 1 : 1;
}

int64_t lg_layer_groups(const lg_node *layer)
{
    switch (layer->op->kind) {
    case LG_OP_CONV:
        return layer->attrs->conv.groups;
    case LG_OP_CONV_TRANSPOSE:
        return layer->attrs->conv_transpose.groups;
    default:
        return 1;
    }
}

static const void *field_of(const lg_attrs *attrs, const lg_field *field)
{
    return (const char *)attrs + field->offset;
}

static lego_status ints_to_json(lg_json *object, const char *name, int64_t n, const int64_t *values)
{
    lg_json *array;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_array(&array, object, name));
    for (int64_t i = 0; i < n; i++)
        LG_TRY(lg_json_push_int(array, values[i]));
done:
    return status;
}

static lego_status field_to_json(lg_json *object, const lg_field *field, const void *value)
{
    switch (field->type) {
    case LG_FIELD_INT:
        return lg_json_set_int(object, field->name, *(const int64_t *)value);
    case LG_FIELD_DOUBLE:
        return lg_json_set_double(object, field->name, *(const double *)value);
    case LG_FIELD_BOOL:
        return lg_json_set_bool(object, field->name, *(const int32_t *)value);
    case LG_FIELD_INTS:
        return ints_to_json(object, field->name, field->count, value);
    case LG_FIELD_DIMS:
        return ints_to_json(object, field->name, ((const lg_dims *)value)->n, ((const lg_dims *)value)->dims);
    case LG_FIELD_CHOICE:
        return lg_json_set_string(object, field->name, field->choices[*(const int32_t *)value]);
    }
    return lg_error(LEGO_EINVAL, "attribute '%s' has an unknown type", field->name);
}

lego_status lg_attrs_to_json(lg_json *object, const lg_op *op, const lg_attrs *attrs)
{
    lego_status status = LEGO_OK;

    for (const lg_field *field = op->fields; field->name; field++)
        LG_TRY(field_to_json(object, field, field_of(attrs, field)));
done:
    return status;
}

/* JSON numbers are doubles: integers beyond 2^53 are not exact, and no attribute needs them. */
#define MAX_JSON_INT ((int64_t)1 << 53)

static lego_status ints_from_json(int64_t *values, const lg_json *array, const char *what)
{
    lego_status status = LEGO_OK;

    lg_json_each(item, array)
        LG_TRY(lg_json_int(values++, item, -MAX_JSON_INT, MAX_JSON_INT, what));
done:
    return status;
}

static lego_status dims_from_json(lg_dims *dims, const lg_field *field, const lg_json *array, const char *what)
{
    const size_t n = lg_json_length(array);

    if (n > LEGO_MAX_DIMS)
        return lg_error(LEGO_EFORMAT, "%s: %s has %zu entries, at most %d are possible", what, field->name, n,
                        LEGO_MAX_DIMS);
    dims->n = (int64_t)n;
    return ints_from_json(dims->dims, array, what);
}

static lego_status choice_from_json(int32_t *choice, const lg_field *field, const lg_json *object, const char *what)
{
    const char *name;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_get_string(&name, object, field->name, what));
    for (*choice = 0; *choice < field->count; ++*choice)
        if (strcmp(field->choices[*choice], name) == 0)
            return LEGO_OK;
    return lg_error(LEGO_EFORMAT, "%s: %s is '%s', which is no choice", what, field->name, name);
done:
    return status;
}

static lego_status field_from_json(void *value, const lg_field *field, const lg_json *object, const char *what)
{
    const lg_json *array;
    int flag;
    lego_status status = LEGO_OK;

    switch (field->type) {
    case LG_FIELD_INT:
        return lg_json_get_int(value, object, field->name, -MAX_JSON_INT, MAX_JSON_INT, what);
    case LG_FIELD_DOUBLE:
        return lg_json_get_double(value, object, field->name, what);
    case LG_FIELD_CHOICE:
        return choice_from_json(value, field, object, what);
    case LG_FIELD_BOOL:
        LG_TRY(lg_json_get_bool(&flag, object, field->name, what));
        *(int32_t *)value = flag != 0;
        break;
    case LG_FIELD_DIMS:
        LG_TRY(lg_json_get_array(&array, object, field->name, what));
        return dims_from_json(value, field, array, what);
    case LG_FIELD_INTS:
        LG_TRY(lg_json_get_array(&array, object, field->name, what));
        if (lg_json_length(array) != (size_t)field->count)
            return lg_error(LEGO_EFORMAT, "%s: %s has %zu entries, %d are needed", what, field->name,
                            lg_json_length(array), field->count);
        return ints_from_json(value, array, what);
    }
done:
    return status;
}

lego_status lg_attrs_from_json(lg_attrs *out, const lg_op *op, const lg_json *object, const char *what)
{
    const lg_field *field;
    lego_status status = LEGO_OK;

    *out = op->defaults;
    lg_json_each(item, object) {
        for (field = op->fields; field->name; field++)
            if (strcmp(field->name, lg_json_key(item)) == 0)
                break;
        if (!field->name)
            return lg_error(LEGO_EFORMAT, "%s: %s has no attribute '%s'", what, op->name, lg_json_key(item));
        LG_TRY(field_from_json((char *)out + field->offset, field, object, what));
    }
done:
    return status;
}
