/* TensorProto -> host tensor: bytes in the message, typed lists in the message, or a range of a file beside the model.
 * Sizes come from the file: shape, dtype and the bytes that are there must agree before anything is allocated.
 *
 * F64, F16 and BF16 become F32, the only floating-point type of graphs. Half precision in typed lists stands as bits in
 * int32_data. Newcomers trip over empty tensors: (0) is common, it means "not given" in Resize. */
#include "import/onnx.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"

/* Indexed by TensorProto.DataType; -1: no tensor of ours. */
static const struct {
    const char *name;
    int dtype;
} types[] = {
    { "UNDEFINED", -1 }, { "FLOAT", LEGO_DTYPE_F32 }, { "UINT8", LEGO_DTYPE_U8 }, { "INT8", LEGO_DTYPE_I8 },
    { "UINT16", -1 }, { "INT16", LEGO_DTYPE_I16 }, { "INT32", LEGO_DTYPE_I32 }, { "INT64", LEGO_DTYPE_I64 },
    { "STRING", -1 }, { "BOOL", LEGO_DTYPE_BOOL }, { "FLOAT16", LEGO_DTYPE_F16 }, { "DOUBLE", LEGO_DTYPE_F64 },
    { "UINT32", -1 }, { "UINT64", -1 }, { "COMPLEX64", -1 }, { "COMPLEX128", -1 }, { "BFLOAT16", LEGO_DTYPE_BF16 },
};

static lego_status read_header(lego_dtype *dtype, lg_shape *shape, int64_t *count, const Onnx__TensorProto *proto,
                               const char *what)
{
    const size_t n_types = sizeof(types) / sizeof(types[0]);
    int64_t bytes = 1;
    lego_status status = LEGO_OK;

    if (proto->data_type < 1 || (size_t)proto->data_type >= n_types)
        return lg_error(LEGO_EFORMAT, "tensor '%s': unknown element type %d", what, (int)proto->data_type);
    if (types[proto->data_type].dtype < 0)
        return lg_error(LEGO_EUNSUPPORTED, "tensor '%s': elements of %s; export it as FLOAT or INT64", what,
                        types[proto->data_type].name);
    if (proto->segment)
        return lg_error(LEGO_EUNSUPPORTED, "tensor '%s' is stored in segments", what);
    if (proto->n_dims > LEGO_MAX_DIMS)
        return lg_error(LEGO_EFORMAT, "tensor '%s': %zu dimensions, at most %d are possible", what, proto->n_dims,
                        LEGO_MAX_DIMS);
    *dtype = (lego_dtype)types[proto->data_type].dtype;
    *shape = lg_shape_make((int)proto->n_dims, proto->dims);
    LG_TRY(lg_shape_count(count, shape, what));
    bytes = (int64_t)lg_dtype_size(*dtype);
    if (*count > INT64_MAX / 16 / bytes)
        return lg_error(LEGO_EFORMAT, "tensor '%s': %lld elements are too many", what, (long long)*count);
done:
    return status;
}

/* F64, F16 or BF16 -> F32; other types stay. */
static lego_status widen(lego_tensor *tensor)
{
    lego_tensor wide = { 0 };
    lego_status status = LEGO_OK;

    if (tensor->dtype == LEGO_DTYPE_F32 || !lg_dtype_is_float(tensor->dtype))
        return LEGO_OK;
    LG_TRY(lg_tensor_to_f32(&wide, tensor));
    lg_tensor_dispose(tensor);
    *tensor = wide;
done:
    return status;
}

static lego_status check_length(size_t have, int64_t want, const char *what)
{
    if (have != (uint64_t)want)
        return lg_error(LEGO_EFORMAT, "tensor '%s': %zu elements are stored, its shape has %lld", what, have,
                        (long long)want);
    return LEGO_OK;
}

/* int32_data holds every integer type up to 32 bits, booleans, and the bits of half-precision numbers. */
static void copy_int32(lego_tensor *out, const Onnx__TensorProto *proto)
{
    const size_t size = lg_dtype_size(out->dtype);
    char *to = lg_tensor_data(out);

    for (size_t i = 0; i < proto->n_int32_data; i++, to += size) {
        const int32_t word = proto->int32_data[i];
        const uint8_t byte = out->dtype == LEGO_DTYPE_BOOL ? word != 0 : (uint8_t)word;
        const uint16_t half = (uint16_t)word;

        if (size == 1)
            memcpy(to, &byte, 1);
        else if (size == 2)
            memcpy(to, &half, 2);
        else
            memcpy(to, &word, 4);
    }
}

static lego_status read_typed(lego_tensor *out, const Onnx__TensorProto *proto, lego_dtype dtype,
                              const lg_shape *shape, int64_t count, const char *what)
{
    const size_t n = dtype == LEGO_DTYPE_F32   ? proto->n_float_data
                     : dtype == LEGO_DTYPE_F64 ? proto->n_double_data
                     : dtype == LEGO_DTYPE_I64 ? proto->n_int64_data
                                               : proto->n_int32_data;
    lego_status status = LEGO_OK;

    LG_TRY(check_length(n, count, what));
    LG_TRY(lg_tensor_init(out, dtype, shape));
    if (n == 0)
        goto done;
    if (dtype == LEGO_DTYPE_F32)
        memcpy(lg_tensor_data(out), proto->float_data, n * sizeof(float));
    else if (dtype == LEGO_DTYPE_F64)
        memcpy(lg_tensor_data(out), proto->double_data, n * sizeof(double));
    else if (dtype == LEGO_DTYPE_I64)
        memcpy(lg_tensor_data(out), proto->int64_data, n * sizeof(int64_t));
    else
        copy_int32(out, proto);
done:
    return status;
}

static lego_status parse_number(size_t *out, const char *text, const char *key, const char *what)
{
    char *end;
    unsigned long long number = strtoull(text, &end, 10);

    if (*text < '0' || *text > '9' || *end != '\0' || number > INT64_MAX)
        return lg_error(LEGO_EFORMAT, "tensor '%s': external %s '%.40s' is no number", what, key, text);
    *out = (size_t)number;
    return LEGO_OK;
}

static lego_status find_folder(lg_onnx *import)
{
    char *resolved, *slash;
    lego_status status = LEGO_OK;

    if (import->folder)
        return LEGO_OK;
    resolved = realpath(import->path, NULL);
    if (!resolved)
        return lg_error(LEGO_EIO, "%s: cannot resolve the path", import->path);
    slash = strrchr(resolved, '/');
    slash[slash == resolved ? 1 : 0] = '\0';
    status = LG_STRDUP(&import->folder, resolved);
    free(resolved); /* of realpath(), not ours */
    return status;
}

/* Map the file that holds the tensor; it must lie in the model's folder, links resolved. */
static lego_status open_external(lg_onnx *import, const char *location, const char *what)
{
    char *joined = NULL, *resolved = NULL;
    size_t folder_length;
    lego_status status = LEGO_OK;

    LG_TRY(find_folder(import));
    folder_length = strlen(import->folder);
    LG_TRY(lg_path_check_relative(location, what));
    joined = lg_path_join(import->folder, location);
    if (!joined)
        LG_FAIL(LEGO_ENOMEM, "tensor '%s': out of memory", what);
    if (import->external_path && strcmp(import->external_path, joined) == 0)
        goto done;
    resolved = realpath(joined, NULL);
    if (!resolved)
        LG_FAIL(LEGO_ENOTFOUND, "tensor '%s': its data should be in %s, which is not there; copy it beside the model",
                what, joined);
    if (strncmp(resolved, import->folder, folder_length) != 0 ||
        (resolved[folder_length] != '/' && folder_length > 1))
        LG_FAIL(LEGO_EFORMAT, "tensor '%s': its data in '%s' is outside the model's folder", what, location);
    lg_buffer_unref(import->external);
    import->external = NULL;
    lg_free(import->external_path);
    import->external_path = NULL;
    LG_TRY(lg_buffer_map(&import->external, resolved));
    import->external_path = joined;
    joined = NULL;
done:
    lg_free(joined);
    free(resolved); /* of realpath(), not ours */
    return status;
}

static lego_status read_external(lego_tensor *out, lg_onnx *import, const Onnx__TensorProto *proto, lego_dtype dtype,
                                 const lg_shape *shape, int64_t count, const char *what)
{
    const size_t bytes = (size_t)count * lg_dtype_size(dtype);
    const char *location = NULL;
    size_t offset = 0, length = bytes, size;
    lego_tensor window = { .dtype = dtype, .shape = *shape };
    lego_status status = LEGO_OK;

    if (!import)
        return lg_error(LEGO_EUNSUPPORTED, "tensor '%s' is stored in another file", what);
    for (size_t i = 0; i < proto->n_external_data; i++) {
        const Onnx__StringStringEntryProto *entry = proto->external_data[i];

        if (!entry->key || !entry->value)
            continue;
        if (strcmp(entry->key, "location") == 0)
            location = entry->value;
        else if (strcmp(entry->key, "offset") == 0)
            LG_TRY(parse_number(&offset, entry->value, "offset", what));
        else if (strcmp(entry->key, "length") == 0)
            LG_TRY(parse_number(&length, entry->value, "length", what));
    }
    if (!location || !*location)
        LG_FAIL(LEGO_EFORMAT, "tensor '%s' is external but names no file", what);
    if (length != bytes)
        LG_FAIL(LEGO_EFORMAT, "tensor '%s': %zu external bytes, its shape needs %zu", what, length, bytes);
    LG_TRY(open_external(import, location, what));
    size = lg_buffer_size(import->external);
    if (offset > size || bytes > size - offset)
        LG_FAIL(LEGO_EFORMAT, "tensor '%s': bytes %zu to %zu of '%s', which has %zu", what, offset, offset + bytes,
                location, size);
    window.buffer = import->external;
    window.offset = offset;
    LG_TRY(lg_graph_take_tensor(out, &window));
done:
    return status;
}

int lg_onnx_is_real(int64_t elem_type)
{
    return elem_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT || elem_type == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE ||
           elem_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16;
}

lego_status lg_onnx_tensor(lego_tensor *out, lg_onnx *import, const Onnx__TensorProto *proto, const char *what)
{
    lego_dtype dtype = LEGO_DTYPE_F32;
    lg_shape shape = { 0 };
    int64_t count = 0;
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    LG_TRY(read_header(&dtype, &shape, &count, proto, what));
    if (proto->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL) {
        LG_TRY(read_external(out, import, proto, dtype, &shape, count, what));
    } else if (proto->has_raw_data) {
        if (proto->raw_data.len != (size_t)count * lg_dtype_size(dtype))
            LG_FAIL(LEGO_EFORMAT, "tensor '%s': %zu bytes are stored, its shape needs %zu", what, proto->raw_data.len,
                    (size_t)count * lg_dtype_size(dtype));
        LG_TRY(lg_tensor_init(out, dtype, &shape));
        if (count > 0)
            memcpy(lg_tensor_data(out), proto->raw_data.data, proto->raw_data.len);
    } else {
        LG_TRY(read_typed(out, proto, dtype, &shape, count, what));
    }
    LG_TRY(widen(out));
done:
    if (status != LEGO_OK)
        lg_tensor_dispose(out);
    return status;
}
