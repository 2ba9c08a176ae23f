/* safetensors files.
 *
 * Layout: u64 little-endian header length, a JSON object {name: {dtype, shape, data_offsets: [begin, end]}, and
 * "__metadata__": {string: string}}, then the bytes that the offsets point into. Nothing in the header is believed:
 * ranges lie inside the file, cover exactly what dtype and shape need, do not overlap and leave no holes (as the format
 * demands). Tensors share the mapping, so loading costs the header only. */
#include "tensor/safetensors.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"

#define MAX_HEADER_BYTES ((uint64_t)100 << 20) /* the format's own limit */
#define ALIGNMENT 64                           /* of each tensor's bytes in files we write */

typedef struct entry {
    char *name;
    lego_tensor tensor;
    uint64_t begin, end;
} entry;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const entry *)a)->name, ((const entry *)b)->name);
}

static int by_offset(const void *a, const void *b)
{
    const entry *x = a, *y = b;

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static lego_status read_entry(entry *out, const lg_json *item, const char *path, uint64_t data_bytes)
{
    char *what = lg_asprintf("%s: tensor '%s'", path, lg_json_key(item));
    const lg_json *shape, *offsets;
    const char *dtype;
    int64_t count = 0, begin, end;
    size_t bytes;
    lego_status status = LEGO_OK;

    if (!what)
        LG_FAIL(LEGO_ENOMEM, "%s: out of memory", path);
    LG_TRY(lg_json_get_string(&dtype, item, "dtype", what));
    if (lg_dtype_parse(&out->tensor.dtype, dtype) != LEGO_OK)
        LG_FAIL(LEGO_EFORMAT, "%s: unknown dtype '%s'", what, dtype);
    LG_TRY(lg_json_get_array(&shape, item, "shape", what));
    lg_json_each(extent, shape) {
        if (out->tensor.shape.n_dims == LEGO_MAX_DIMS)
            LG_FAIL(LEGO_EFORMAT, "%s: more than %d dimensions", what, LEGO_MAX_DIMS);
        LG_TRY(lg_json_int(&out->tensor.shape.dims[out->tensor.shape.n_dims++], extent, 0, INT64_MAX, what));
    }
    LG_TRY(lg_shape_count(&count, &out->tensor.shape, what));
    LG_TRY(lg_json_get_array(&offsets, item, "data_offsets", what));
    if (lg_json_length(offsets) != 2)
        LG_FAIL(LEGO_EFORMAT, "%s: 'data_offsets' must have two entries", what);
    LG_TRY(lg_json_int(&begin, lg_json_item(offsets, 0), 0, INT64_MAX, what));
    LG_TRY(lg_json_int(&end, lg_json_item(offsets, 1), 0, INT64_MAX, what));
    if (begin > end || (uint64_t)end > data_bytes)
        LG_FAIL(LEGO_EFORMAT, "%s: bytes %lld to %lld lie outside the file's %llu data bytes", what, (long long)begin,
                (long long)end, (unsigned long long)data_bytes);
    if (__builtin_mul_overflow((size_t)count, lg_dtype_size(out->tensor.dtype), &bytes) ||
        bytes != (size_t)(end - begin))
        LG_FAIL(LEGO_EFORMAT, "%s: %lld bytes stored, its dtype and shape need %lld elements of %zu bytes", what,
                (long long)(end - begin), (long long)count, lg_dtype_size(out->tensor.dtype));
    out->begin = (uint64_t)begin;
    out->end = (uint64_t)end;
    LG_TRY(LG_STRDUP(&out->name, lg_json_key(item)));
done:
    lg_free(what);
    return status;
}

static lego_status check_entries(entry *entries, size_t n, const char *path, uint64_t data_bytes)
{
    uint64_t covered = 0;

    if (n > 0)
        qsort(entries, n, sizeof(*entries), by_offset);
    for (size_t i = 0; i < n; i++) {
        if (entries[i].begin != covered)
            return lg_error(LEGO_EFORMAT, "%s: tensor '%s' %s the bytes before it", path, entries[i].name,
                            entries[i].begin < covered ? "overlaps" : "leaves a hole after");
        covered = entries[i].end;
    }
    if (covered != data_bytes)
        return lg_error(LEGO_EFORMAT, "%s: %llu data bytes, the tensors cover %llu", path,
                        (unsigned long long)data_bytes, (unsigned long long)covered);
    if (n > 0)
        qsort(entries, n, sizeof(*entries), by_name);
    for (size_t i = 1; i < n; i++)
        if (strcmp(entries[i - 1].name, entries[i].name) == 0)
            return lg_error(LEGO_EFORMAT, "%s: tensor '%s' stands there twice", path, entries[i].name);
    return LEGO_OK;
}

/* Move the entries into `file`; each tensor takes a reference to the mapping. */
static lego_status take_entries(lg_safetensors *file, entry *entries, size_t n, lg_buffer *buffer, size_t data_start)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&file->names, n));
    LG_TRY(LG_CALLOC(&file->tensors, n));
    for (size_t i = 0; i < n; i++) {
        file->names[i] = entries[i].name;
        entries[i].name = NULL;
        file->tensors[i] = entries[i].tensor;
        file->tensors[i].offset = data_start + (size_t)entries[i].begin;
        file->tensors[i].buffer = lg_buffer_ref(buffer);
        file->n_tensors = i + 1;
    }
done:
    return status;
}

lego_status lg_safetensors_load(lg_safetensors **out, const char *path)
{
    lg_safetensors *file = NULL;
    lg_buffer *buffer = NULL;
    lg_json *header = NULL;
    entry *entries = NULL;
    size_t n = 0, capacity = 0, size;
    uint64_t header_bytes = 0;
    const unsigned char *data;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(lg_buffer_map(&buffer, path));
    data = lg_buffer_data(buffer);
    size = lg_buffer_size(buffer);
    if (size < 8)
        LG_FAIL(LEGO_EFORMAT, "%s: %zu bytes, too short for a safetensors file", path, size);
    for (int i = 7; i >= 0; i--)
        header_bytes = header_bytes << 8 | data[i];
    if (header_bytes > MAX_HEADER_BYTES || header_bytes > size - 8)
        LG_FAIL(LEGO_EFORMAT, "%s: header of %llu bytes does not fit the file's %zu (truncated, or not safetensors)",
                path, (unsigned long long)header_bytes, size);
    LG_TRY(lg_json_parse(&header, (const char *)data + 8, (size_t)header_bytes, path));
    if (!lg_json_is_object(header))
        LG_FAIL(LEGO_EFORMAT, "%s: the header is not an object", path);
    LG_TRY(LG_CALLOC(&file, 1));
    LG_TRY(LG_STRDUP(&file->path, path));
    lg_json_each(item, header) {
        if (strcmp(lg_json_key(item), "__metadata__") == 0) {
            if (!lg_json_is_object(item))
                LG_FAIL(LEGO_EFORMAT, "%s: '__metadata__' is not an object", path);
            continue;
        }
        LG_TRY(LG_RESERVE(&entries, &capacity, n + 1));
        memset(&entries[n], 0, sizeof(*entries));
        n++;
        LG_TRY(read_entry(&entries[n - 1], item, path, size - 8 - header_bytes));
    }
    LG_TRY(check_entries(entries, n, path, size - 8 - header_bytes));
    LG_TRY(take_entries(file, entries, n, buffer, (size_t)header_bytes + 8));
    LG_TRY(lg_json_detach(&file->metadata, header, "__metadata__"));
    *out = file;
    file = NULL;
done:
    for (size_t i = 0; i < n; i++)
        lg_free(entries[i].name);
    lg_free(entries);
    lg_json_free(header);
    lg_buffer_unref(buffer);
    lg_safetensors_free(file);
    return status;
}

void lg_safetensors_free(lg_safetensors *file)
{
    if (!file)
        return;
    for (size_t i = 0; i < file->n_tensors; i++) {
        lg_free(file->names[i]);
        lg_tensor_dispose(&file->tensors[i]);
    }
    lg_free(file->names);
    lg_free(file->tensors);
    lg_json_free(file->metadata);
    lg_free(file->path);
    lg_free(file);
}

const lego_tensor *lg_safetensors_find(const lg_safetensors *file, const char *name)
{
    size_t low = 0, high = file->n_tensors;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, file->names[middle]);

        if (order == 0)
            return &file->tensors[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static lego_status build_header(lg_json **out, size_t n, const char *const *names, const lego_tensor *const *tensors,
                                const lg_json *metadata)
{
    lg_json *header = NULL, *item, *list;
    int64_t offset = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_create_object(&header));
    if (metadata) {
        LG_TRY(lg_json_set_object(&item, header, "__metadata__"));
        lg_json_each(member, metadata) {
            const char *text;

            LG_TRY(lg_json_string(&text, member, "metadata"));
            LG_TRY(lg_json_set_string(item, lg_json_key(member), text));
        }
    }
    for (size_t i = 0; i < n; i++) {
        LG_TRY(lg_json_set_object(&item, header, names[i]));
        LG_TRY(lg_json_set_string(item, "dtype", lg_dtype_name(tensors[i]->dtype)));
        LG_TRY(lg_json_set_array(&list, item, "shape"));
        for (int d = 0; d < tensors[i]->shape.n_dims; d++)
            LG_TRY(lg_json_push_int(list, tensors[i]->shape.dims[d]));
        LG_TRY(lg_json_set_array(&list, item, "data_offsets"));
        LG_TRY(lg_json_push_int(list, offset));
        offset += (int64_t)lg_tensor_bytes(tensors[i]);
        LG_TRY(lg_json_push_int(list, offset));
    }
    *out = header;
    header = NULL;
done:
    lg_json_free(header);
    return status;
}

lego_status lg_safetensors_write(lg_writer *writer, size_t n, const char *const *names, const lego_tensor *const *tensors,
                                 const lg_json *metadata)
{
    lg_json *header = NULL;
    char *text = NULL;
    size_t length, padded;
    unsigned char prefix[8];
    static const char spaces[ALIGNMENT + 1] = "                                                                ";
    lego_status status = LEGO_OK;

    LG_TRY(build_header(&header, n, names, tensors, metadata));
    LG_TRY(lg_json_print(&text, header, 0));
    length = strlen(text);
    padded = (length + 8 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT - 8; /* trailing spaces are part of the format */
    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)((uint64_t)padded >> (8 * i));
    LG_TRY(lg_writer_write(writer, prefix, sizeof(prefix)));
    LG_TRY(lg_writer_write(writer, text, length));
    LG_TRY(lg_writer_write(writer, spaces, padded - length));
    for (size_t i = 0; i < n; i++)
        LG_TRY(lg_writer_write(writer, lg_tensor_data(tensors[i]), lg_tensor_bytes(tensors[i])));
done:
    lg_free(text);
    lg_json_free(header);
    return status;
}

lego_status lg_safetensors_save(const char *path, size_t n, const char *const *names,
                                const lego_tensor *const *tensors, const lg_json *metadata)
{
    lg_writer *writer = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_writer_open(&writer, path));
    LG_TRY(lg_safetensors_write(writer, n, names, tensors, metadata));
    status = lg_writer_commit(writer);
    writer = NULL;
done:
    lg_writer_abort(writer);
    return status;
}
