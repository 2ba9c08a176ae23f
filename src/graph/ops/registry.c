/* The list of ops, one line each, and their attributes in JSON and in comparisons, driven by each op's field table. */
#include <string.h>

#include "graph/ops/common.h"

#define LG_OPS(X)                                                             \
    X(BLOCK, block)                                                           \
    X(CONV2D, conv2d)                                                         \
    X(LINEAR, linear)                                                         \
    X(BATCH_NORM, batch_norm)                                                 \
    X(RELU, relu)                                                             \
    X(CLIP, clip)                                                             \
    X(ADD, add)                                                               \
    X(MAX_POOL, max_pool)                                                     \
    X(AVG_POOL, avg_pool)                                                     \
    X(ADAPTIVE_AVG_POOL, adaptive_avg_pool)                                   \
    X(FLATTEN, flatten)                                                       \
    X(DROPOUT, dropout)                                                       \
    X(SIGMOID, sigmoid)                                                       \
    X(TANH, tanh)                                                             \
    X(HARD_SIGMOID, hard_sigmoid)                                             \
    X(HARD_SWISH, hard_swish)                                                 \
    X(SILU, silu)                                                             \
    X(GELU, gelu)                                                             \
    X(LEAKY_RELU, leaky_relu)                                                 \
    X(PRELU, prelu)                                                           \
    X(SOFTMAX, softmax)                                                       \
    X(SUB, sub)                                                               \
    X(MUL, mul)                                                               \
    X(DIV, div)                                                               \
    X(CONCAT, concat)                                                         \
    X(SPLIT, split)                                                           \
    X(SLICE, slice)                                                           \
    X(RESHAPE, reshape)                                                       \
    X(PERMUTE, permute)                                                       \
    X(MEAN, mean)                                                             \
    X(PAD, pad)                                                               \
    X(UPSAMPLE, upsample)                                                     \
    X(ADAPTIVE_MAX_POOL, adaptive_max_pool)                                   \
    X(CONV_TRANSPOSE2D, conv_transpose2d)                                     \
    X(MATMUL, matmul)                                                         \
    X(LAYER_NORM, layer_norm)                                                 \
    X(GROUP_NORM, group_norm)                                                 \
    X(CONSTANT, constant)

#define LG_DECLARE_OP(kind, name) extern const lg_op lg_op_##name;
LG_OPS(LG_DECLARE_OP)
#undef LG_DECLARE_OP

static const lg_op *const ops[LG_OP_N_KINDS] = {
#define LG_LIST_OP(kind, name) [LG_OP_##kind] = &lg_op_##name,
    LG_OPS(LG_LIST_OP)
#undef LG_LIST_OP
};

const lg_op *lg_op_find(const char *name)
{
    for (int i = 0; i < LG_OP_N_KINDS; i++)
        if (strcmp(ops[i]->name, name) == 0)
            return ops[i];
    return NULL;
}

const lg_op *lg_op_of_kind(lg_op_kind kind)
{
    return ops[kind];
}

int lg_op_is_compressible(const lg_op *op)
{
    return op->kind == LG_OP_CONV2D || op->kind == LG_OP_LINEAR || op->kind == LG_OP_CONV_TRANSPOSE2D;
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
