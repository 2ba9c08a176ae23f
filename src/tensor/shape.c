/* Dtypes and shapes. */
#include <stdio.h>
#include <string.h>

#include "tensor/tensor.h"

size_t lg_dtype_size(lego_dtype dtype)
{
    switch (dtype) {
#define LG_DTYPE_SIZE(name, value, text, bytes)                               \
    case LEGO_DTYPE_##name:                                                   \
        return bytes;
        LEGO_DTYPE_MAP(LG_DTYPE_SIZE)
#undef LG_DTYPE_SIZE
    }
    return 0;
}

const char *lg_dtype_name(lego_dtype dtype)
{
    switch (dtype) {
#define LG_DTYPE_NAME(name, value, text, bytes)                               \
    case LEGO_DTYPE_##name:                                                   \
        return text;
        LEGO_DTYPE_MAP(LG_DTYPE_NAME)
#undef LG_DTYPE_NAME
    }
    return "?";
}

lego_status lg_dtype_parse(lego_dtype *out, const char *name)
{
#define LG_DTYPE_PARSE(id, value, text, bytes)                                \
    if (strcmp(name, text) == 0) {                                            \
        *out = LEGO_DTYPE_##id;                                               \
        return LEGO_OK;                                                       \
    }
    LEGO_DTYPE_MAP(LG_DTYPE_PARSE)
#undef LG_DTYPE_PARSE
    return lg_error(LEGO_EFORMAT, "unknown dtype '%s'", name);
}

lg_shape lg_shape_make(int n_dims, const int64_t *dims)
{
    lg_shape shape;

    memset(&shape, 0, sizeof(shape));
    shape.n_dims = n_dims;
    for (int i = 0; i < n_dims && i < LEGO_MAX_DIMS; i++)
        shape.dims[i] = dims[i];
    return shape;
}

int lg_shape_equal(const lg_shape *a, const lg_shape *b)
{
    if (a->n_dims != b->n_dims)
        return 0;
    for (int i = 0; i < a->n_dims; i++)
        if (a->dims[i] != b->dims[i])
            return 0;
    return 1;
}

lego_status lg_shape_count(int64_t *out, const lg_shape *shape, const char *what)
{
    int64_t count = 1;
    char text[128];

    if (shape->n_dims < 0 || shape->n_dims > LEGO_MAX_DIMS)
        return lg_error(LEGO_EFORMAT, "%s: %d dimensions, at most %d are possible", what, (int)shape->n_dims,
                        LEGO_MAX_DIMS);
    for (int i = 0; i < shape->n_dims; i++)
        if (shape->dims[i] < 0 || __builtin_mul_overflow(count, shape->dims[i], &count))
            return lg_error(LEGO_EFORMAT, "%s: shape %s is negative or too large", what,
                            lg_shape_format(text, shape));
    *out = count;
    return LEGO_OK;
}

const char *lg_shape_format(char text[128], const lg_shape *shape)
{
    size_t length = 0;

    text[length++] = '(';
    for (int i = 0; i < shape->n_dims && i < LEGO_MAX_DIMS && length < 100; i++) {
        const char *comma = i ? "," : "";
        int wrote = shape->dims[i] < 0
                        ? snprintf(text + length, 128 - length, "%sN", comma)
                        : snprintf(text + length, 128 - length, "%s%lld", comma, (long long)shape->dims[i]);

        length += wrote > 0 ? (size_t)wrote : 0;
    }
    text[length++] = ')';
    text[length] = '\0';
    return text;
}
