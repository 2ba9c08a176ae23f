/* NumPy .npy files, formats 1.0 to 3.0: magic, header length, a Python dict literal, raw elements.
 *
 * The dict is always written by NumPy in the form {'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }; we read
 * that grammar with any order of keys and any spacing, and refuse the rest. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/str.h"
#include "tensor/tensor.h"

static const struct {
    lego_dtype dtype;
    const char *descr;
} descrs[] = {
    { LEGO_DTYPE_F32, "<f4" }, { LEGO_DTYPE_F64, "<f8" }, { LEGO_DTYPE_F16, "<f2" }, { LEGO_DTYPE_I64, "<i8" },
    { LEGO_DTYPE_I32, "<i4" }, { LEGO_DTYPE_I16, "<i2" }, { LEGO_DTYPE_I8, "|i1" },  { LEGO_DTYPE_U8, "|u1" },
    { LEGO_DTYPE_BOOL, "|b1" },
};

typedef struct cursor {
    const char *at, *end;
    const char *path;
} cursor;

static void skip_space(cursor *c)
{
    while (c->at < c->end && strchr(" \t\n\r", *c->at) && *c->at)
        c->at++;
}

static int accept(cursor *c, char wanted)
{
    skip_space(c);
    if (c->at >= c->end || *c->at != wanted)
        return 0;
    c->at++;
    return 1;
}

static lego_status malformed(const cursor *c)
{
    return lg_error(LEGO_EFORMAT, "%s: malformed .npy header", c->path);
}

/* A quoted string without escapes, at most 31 characters. */
static lego_status read_quoted(char text[32], cursor *c)
{
    size_t n = 0;
    char quote;

    skip_space(c);
    if (c->at >= c->end || (*c->at != '\'' && *c->at != '"'))
        return malformed(c);
    quote = *c->at++;
    while (c->at < c->end && *c->at != quote && n < 31)
        text[n++] = *c->at++;
    text[n] = '\0';
    if (c->at >= c->end || *c->at != quote)
        return malformed(c);
    c->at++;
    return LEGO_OK;
}

static lego_status read_shape(lg_shape *shape, cursor *c)
{
    if (!accept(c, '('))
        return malformed(c);
    while (!accept(c, ')')) {
        int64_t extent = 0;
        const char *start;

        skip_space(c);
        start = c->at;
        while (c->at < c->end && *c->at >= '0' && *c->at <= '9')
            if (__builtin_mul_overflow(extent, 10, &extent) ||
                __builtin_add_overflow(extent, *c->at++ - '0', &extent))
                return lg_error(LEGO_EFORMAT, "%s: an extent of the shape is too large", c->path);
        if (c->at == start)
            return malformed(c);
        if (shape->n_dims == LEGO_MAX_DIMS)
            return lg_error(LEGO_EFORMAT, "%s: more than %d dimensions", c->path, LEGO_MAX_DIMS);
        shape->dims[shape->n_dims++] = extent;
        if (!accept(c, ',')) {
            if (!accept(c, ')'))
                return malformed(c);
            break;
        }
    }
    return LEGO_OK;
}

static lego_status read_header(lego_dtype *dtype, lg_shape *shape, cursor *c)
{
    int seen = 0;
    char text[32];
    lego_status status = LEGO_OK;

    memset(shape, 0, sizeof(*shape));
    if (!accept(c, '{'))
        LG_TRY(malformed(c));
    while (!accept(c, '}')) {
        LG_TRY(read_quoted(text, c));
        if (!accept(c, ':'))
            LG_TRY(malformed(c));
        if (strcmp(text, "descr") == 0) {
            size_t i = 0;

            LG_TRY(read_quoted(text, c));
            for (i = 0; i < sizeof(descrs) / sizeof(*descrs); i++)
                if (strcmp(descrs[i].descr, text) == 0)
                    break;
            if (i == sizeof(descrs) / sizeof(*descrs))
                LG_FAIL(LEGO_EUNSUPPORTED, "%s: element type '%s' is not supported", c->path, text);
            *dtype = descrs[i].dtype;
            seen |= 1;
        } else if (strcmp(text, "fortran_order") == 0) {
            skip_space(c);
            if (c->end - c->at >= 4 && memcmp(c->at, "True", 4) == 0)
                LG_FAIL(LEGO_EUNSUPPORTED, "%s: Fortran order; save it with numpy.ascontiguousarray()", c->path);
            if (c->end - c->at < 5 || memcmp(c->at, "False", 5) != 0)
                LG_TRY(malformed(c));
            c->at += 5;
            seen |= 2;
        } else if (strcmp(text, "shape") == 0 && !(seen & 4)) {
            LG_TRY(read_shape(shape, c));
            seen |= 4;
        } else {
            LG_TRY(malformed(c));
        }
        if (!accept(c, ',')) {
            if (!accept(c, '}'))
                LG_TRY(malformed(c));
            break;
        }
    }
    if (seen != 7)
        LG_TRY(malformed(c));
done:
    return status;
}

lego_status lego_tensor_load_npy(lego_tensor **out, const char *path)
{
    lg_buffer *file = NULL;
    lego_tensor *tensor = NULL;
    lg_shape shape;
    lego_dtype dtype = LEGO_DTYPE_F32;
    int64_t count = 0;
    size_t bytes, size, header, start;
    const unsigned char *data;
    cursor c;
    lego_status status = LEGO_OK;

    if (!out || !path)
        return lg_error(LEGO_EINVAL, "out and path must not be NULL");
    *out = NULL;
    LG_TRY(lg_buffer_map(&file, path));
    data = lg_buffer_data(file);
    size = lg_buffer_size(file);
    if (size < 12 || memcmp(data, "\x93NUMPY", 6) != 0)
        LG_FAIL(LEGO_EFORMAT, "%s: not a .npy file", path);
    if (data[6] < 1 || data[6] > 3)
        LG_FAIL(LEGO_EUNSUPPORTED, "%s: .npy format %d.%d, known are 1.0 to 3.0", path, data[6], data[7]);
    start = data[6] == 1 ? 10 : 12;
    header = (size_t)data[8] | (size_t)data[9] << 8;
    if (start == 12)
        header |= (size_t)data[10] << 16 | (size_t)data[11] << 24;
    if (header > size - start)
        LG_FAIL(LEGO_EFORMAT, "%s: truncated header", path);
    c = (cursor){ (const char *)data + start, (const char *)data + start + header, path };
    LG_TRY(read_header(&dtype, &shape, &c));
    LG_TRY(lg_shape_count(&count, &shape, path));
    if (__builtin_mul_overflow((size_t)count, lg_dtype_size(dtype), &bytes) || bytes != size - start - header)
        LG_FAIL(LEGO_EFORMAT, "%s: %zu bytes of elements, the shape needs %lld elements of %zu bytes", path,
                size - start - header, (long long)count, lg_dtype_size(dtype));
    LG_TRY(lego_tensor_create(&tensor, dtype, shape.n_dims, shape.dims));
    if (bytes > 0)
        memcpy(lg_tensor_data(tensor), data + start + header, bytes); /* a copy: the file's elements may be unaligned */
    *out = tensor;
    tensor = NULL;
done:
    lego_tensor_free(tensor);
    lg_buffer_unref(file);
    return status;
}

lego_status lego_tensor_save_npy(const lego_tensor *tensor, const char *path)
{
    lg_str header = LG_STR_INIT;
    lg_writer *writer = NULL;
    const char *descr = NULL;
    unsigned char prefix[10] = { 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, 0, 0 };
    lego_status status = LEGO_OK;

    if (!tensor || !path)
        return lg_error(LEGO_EINVAL, "tensor and path must not be NULL");
    for (size_t i = 0; i < sizeof(descrs) / sizeof(*descrs); i++)
        if (descrs[i].dtype == tensor->dtype)
            descr = descrs[i].descr;
    if (!descr)
        return lg_error(LEGO_EUNSUPPORTED, "%s: .npy has no element type %s", path, lg_dtype_name(tensor->dtype));
    lg_str_appendf(&header, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int i = 0; i < tensor->shape.n_dims; i++)
        lg_str_appendf(&header, "%lld,%s", (long long)tensor->shape.dims[i], i + 1 < tensor->shape.n_dims ? " " : "");
    lg_str_append(&header, "), }");
    while (!header.failed && (sizeof(prefix) + header.length + 1) % 64 != 0)
        lg_str_append(&header, " ");
    lg_str_append(&header, "\n");
    if (header.failed)
        LG_FAIL(LEGO_ENOMEM, "%s: out of memory", path);
    prefix[8] = (unsigned char)(header.length & 0xff);
    prefix[9] = (unsigned char)(header.length >> 8);
    LG_TRY(lg_writer_open(&writer, path));
    LG_TRY(lg_writer_write(writer, prefix, sizeof(prefix)));
    LG_TRY(lg_writer_write(writer, header.text, header.length));
    LG_TRY(lg_writer_write(writer, lg_tensor_data(tensor), lg_tensor_bytes(tensor)));
    status = lg_writer_commit(writer);
    writer = NULL;
done:
    lg_writer_abort(writer);
    lg_str_dispose(&header);
    return status;
}
