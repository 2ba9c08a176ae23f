/* Protobuf -> files. A protobuf ends at 2 GiB, so a larger model keeps its weights in a file beside it.
 *
 * The two files cannot be replaced in one step. The one with the weights therefore has a checksum of them in its name and
 * is written first: whatever happens between, a model that was there before finds the weights that it names. */
#include "export/onnx.h"

#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/hash.h"

#define MAX_FILE ((int64_t)INT32_MAX) /* protobuf's own limit */
#define ALIGNMENT 4096                /* of tensors in the file beside: pages can be mapped (ONNX, External Data) */
#define SMALL 1024                    /* bytes of tensors that stay in the model */

static int64_t padding(int64_t offset)
{
    return (ALIGNMENT - offset % ALIGNMENT) % ALIGNMENT;
}

static lego_status add_entry(Onnx__TensorProto *tensor, const char *key, char *value)
{
    Onnx__StringStringEntryProto *entry = NULL;
    lego_status status = LEGO_OK;

    if (!value)
        LG_FAIL(LEGO_ENOMEM, "out of memory placing tensor '%s'", tensor->name);
    LG_TRY(LG_CALLOC(&entry, 1));
    onnx__string_string_entry_proto__init(entry);
    tensor->external_data[tensor->n_external_data++] = entry;
    entry->value = value;
    value = NULL;
    LG_TRY(LG_STRDUP(&entry->key, key));
done:
    lg_free(value);
    return status;
}

/* Say in the model where the tensor's bytes are. They stay with `file`, which frees them. */
static lego_status refer(Onnx__TensorProto *tensor, const char *location, int64_t offset)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&tensor->external_data, 3));
    LG_TRY(add_entry(tensor, "location", lg_strdup(location)));
    LG_TRY(add_entry(tensor, "offset", lg_asprintf("%lld", (long long)offset)));
    LG_TRY(add_entry(tensor, "length", lg_asprintf("%zu", tensor->raw_data.len)));
    tensor->has_data_location = 1;
    tensor->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    tensor->has_raw_data = 0;
done:
    return status;
}

static int is_external(const Onnx__TensorProto *tensor)
{
    return tensor->raw_data.len >= SMALL;
}

static lego_status write_tensors(lg_writer *writer, const Onnx__GraphProto *graph, const char *location)
{
    static const char zeros[ALIGNMENT];
    int64_t offset = 0;
    lego_status status = LEGO_OK;

    for (size_t i = 0; i < graph->n_initializer; i++) {
        Onnx__TensorProto *tensor = graph->initializer[i];

        if (!is_external(tensor))
            continue;
        LG_TRY(lg_writer_write(writer, zeros, (size_t)padding(offset)));
        offset += padding(offset);
        LG_TRY(lg_writer_write(writer, tensor->raw_data.data, tensor->raw_data.len));
        LG_TRY(refer(tensor, location, offset));
        offset += (int64_t)tensor->raw_data.len;
    }
done:
    return status;
}

static lego_status write_beside(lg_export *file)
{
    const Onnx__GraphProto *graph = file->model->graph;
    char text[LG_HASH_TEXT], *path = NULL;
    const char *slash;
    lg_writer *writer = NULL;
    uint64_t hash = 0;
    lego_status status = LEGO_OK;

    for (size_t i = 0; i < graph->n_initializer; i++)
        if (is_external(graph->initializer[i]))
            hash = lg_hash(graph->initializer[i]->raw_data.data, graph->initializer[i]->raw_data.len, hash);
    lg_hash_format(text, hash);
    path = lg_asprintf("%s.%s.data", file->path, text);
    if (!path)
        LG_FAIL(LEGO_ENOMEM, "out of memory naming the file of the weights");
    slash = strrchr(path, '/');
    LG_TRY(lg_writer_open(&writer, path));
    LG_TRY(write_tensors(writer, graph, slash ? slash + 1 : path));
    status = lg_writer_commit(writer);
    writer = NULL;
done:
    lg_writer_abort(writer);
    lg_free(path);
    return status;
}

lego_status lg_export_write(lg_export *file, int64_t external_from_bytes)
{
    const Onnx__GraphProto *graph = file->model->graph;
    const int64_t limit = external_from_bytes ? external_from_bytes : MAX_FILE;
    int64_t weight_bytes = 0;
    size_t size;
    uint8_t *data = NULL;
    lego_status status = LEGO_OK;

    for (size_t i = 0; i < graph->n_initializer; i++)
        weight_bytes += (int64_t)graph->initializer[i]->raw_data.len;
    if (weight_bytes >= limit || (int64_t)onnx__model_proto__get_packed_size(file->model) >= MAX_FILE)
        LG_TRY(write_beside(file));
    size = onnx__model_proto__get_packed_size(file->model);
    if (size > (size_t)MAX_FILE)
        LG_FAIL(LEGO_EUNSUPPORTED, "%s: the graph alone takes %zu bytes, an ONNX file has at most %lld", file->path, size,
                (long long)MAX_FILE);
    LG_TRY(LG_CALLOC(&data, size));
    onnx__model_proto__pack(file->model, data);
    LG_TRY(lg_file_write(file->path, data, size));
done:
    lg_free(data);
    return status;
}
