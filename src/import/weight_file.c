/* One face for safetensors and .pt files: names, dtypes, shapes, and values on demand. The format is told by the first
 * bytes, not by the name: people rename files. */
#include "import/weight_file.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buffer.h"
#include "graph/graph.h"
#include "import/pt_file.h"
#include "import/pt_source.h"
#include "tensor/safetensors.h"

static const char *without_prefix(const char *name, const char *prefix)
{
    const size_t length = prefix ? strlen(prefix) : 0;

    return prefix && strncmp(name, prefix, length) == 0 && name[length] ? name + length : name;
}

static lego_status open_safetensors(lg_weight_file *file, const char *path, const char *prefix)
{
    lego_status status = LEGO_OK;

    file->format = "safetensors";
    LG_TRY(lg_safetensors_load(&file->safetensors, path));
    if (file->safetensors->n_tensors > INT32_MAX)
        LG_FAIL(LEGO_EFORMAT, "%s: %zu tensors are too many", path, file->safetensors->n_tensors);
    LG_TRY(LG_CALLOC(&file->entries, file->safetensors->n_tensors));
    file->n_entries = (int32_t)file->safetensors->n_tensors;
    for (int32_t i = 0; i < file->n_entries; i++) {
        const lego_tensor *tensor = &file->safetensors->tensors[i];

        file->entries[i] = (lg_weight_entry){ without_prefix(file->safetensors->names[i], prefix), tensor->dtype,
                                              tensor->shape, i };
    }
done:
    return status;
}

static lego_status open_pt(lg_weight_file *file, const char *path, const char *prefix, const char *key)
{
    const lg_pt_tensor *tensors;
    lego_status status = LEGO_OK;

    file->format = "pt";
    LG_TRY(lg_pt_load(&file->pt, path, key));
    file->key = lg_pt_key(file->pt);
    tensors = lg_pt_tensors(file->pt);
    LG_TRY(LG_CALLOC(&file->entries, lg_pt_n_tensors(file->pt)));
    file->n_entries = lg_pt_n_tensors(file->pt);
    for (int32_t i = 0; i < file->n_entries; i++)
        file->entries[i] = (lg_weight_entry){ without_prefix(tensors[i].name, prefix), tensors[i].dtype,
                                              tensors[i].shape, i };
done:
    return status;
}

static lego_status map_names(lg_weight_file *file, const char *path)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_name_map_init(&file->names, (size_t)file->n_entries));
    for (int32_t i = 0; i < file->n_entries; i++)
        if (lg_name_map_add(&file->names, file->entries[i].name, i) != LG_NONE)
            LG_FAIL(LEGO_EFORMAT, "%s: tensor '%s' stands there twice", path, file->entries[i].name);
done:
    return status;
}

lego_status lg_weight_file_open(lg_weight_file **out, const char *path, const char *strip_prefix, const char *key)
{
    lg_weight_file *file = NULL;
    lg_buffer *bytes = NULL;
    const unsigned char *head;
    size_t size;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&file, 1));
    file->key = "";
    LG_TRY(lg_buffer_map(&bytes, path));
    head = lg_buffer_data(bytes);
    size = lg_buffer_size(bytes);
    if ((size >= 4 && memcmp(head, "PK\3\4", 4) == 0) || lg_pt_is_legacy(head, size)) {
        LG_TRY(open_pt(file, path, strip_prefix, key));
    } else if (key) {
        LG_FAIL(LEGO_EINVAL, "%s: a safetensors file has no nested dictionaries: no key '%.100s'", path, key);
    } else {
        LG_TRY(open_safetensors(file, path, strip_prefix));
    }
    LG_TRY(map_names(file, path));
    *out = file;
    file = NULL;
done:
    lg_buffer_unref(bytes);
    lg_weight_file_free(file);
    return status;
}

void lg_weight_file_free(lg_weight_file *file)
{
    if (!file)
        return;
    lg_name_map_dispose(&file->names);
    lg_free(file->entries);
    lg_safetensors_free(file->safetensors);
    lg_pt_free(file->pt);
    lg_free(file);
}

int32_t lg_weight_file_n_others(const lg_weight_file *file)
{
    return file->pt ? lg_pt_n_others(file->pt) : 0;
}

const char *lg_weight_file_other(const lg_weight_file *file, int32_t i)
{
    return lg_pt_other(file->pt, i);
}

lego_status lg_weight_file_read(lego_tensor *out, lg_weight_file *file, int32_t entry)
{
    const int32_t source = file->entries[entry].source;
    lego_tensor stored = { 0 };
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    if (file->pt)
        LG_TRY(lg_pt_read(&stored, file->pt, &lg_pt_tensors(file->pt)[source]));
    else
        lg_tensor_share(&stored, &file->safetensors->tensors[source]);
    if (lg_dtype_is_float(stored.dtype) && stored.dtype != LEGO_DTYPE_F32)
        LG_TRY(lg_tensor_to_f32(out, &stored));
    else
        LG_TRY(lg_graph_take_tensor(out, &stored));
done:
    lg_tensor_dispose(&stored);
    return status;
}
