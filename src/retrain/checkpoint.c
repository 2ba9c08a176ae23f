/* Checkpoints of training and retraining: named tensors and a few strings in one safetensors file.
 *
 * Everything is copied into host memory first and then written under a temporary name and renamed, so that a kill at any
 * moment leaves either the previous checkpoint or the new one. Numbers are stored as text; doubles in hexadecimal, since
 * a resumed run must continue with the very same ones. */
#include "retrain/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

struct lg_checkpoint {
    size_t n, names_capacity, tensors_capacity;
    char **names;
    lego_tensor **tensors;
    lg_json *metadata;
};

lego_status lg_checkpoint_create(lg_checkpoint **out, const char *kind)
{
    lg_checkpoint *checkpoint = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&checkpoint, 1));
    LG_TRY(lg_json_create_object(&checkpoint->metadata));
    LG_TRY(lg_json_set_string(checkpoint->metadata, "kind", kind));
    *out = checkpoint;
    checkpoint = NULL;
done:
    lg_checkpoint_free(checkpoint);
    return status;
}

void lg_checkpoint_free(lg_checkpoint *checkpoint)
{
    if (!checkpoint)
        return;
    for (size_t i = 0; i < checkpoint->n; i++) {
        lg_free(checkpoint->names[i]);
        lego_tensor_free(checkpoint->tensors[i]);
    }
    lg_free(checkpoint->names);
    lg_free(checkpoint->tensors);
    lg_json_free(checkpoint->metadata);
    lg_free(checkpoint);
}

lego_status lg_checkpoint_add(lg_checkpoint *checkpoint, const lg_torch_api *api, const char *prefix,
                              const char *name, const lg_torch_tensor *tensor)
{
    int64_t dims[LEGO_MAX_DIMS];
    lego_tensor *copy = NULL;
    char *full = NULL;
    int n_dims = 0;
    lego_status status = LEGO_OK;

    LG_TRY(LG_RESERVE(&checkpoint->names, &checkpoint->names_capacity, checkpoint->n + 1));
    LG_TRY(LG_RESERVE(&checkpoint->tensors, &checkpoint->tensors_capacity, checkpoint->n + 1));
    full = lg_asprintf("%s%s", prefix, name);
    if (!full)
        LG_FAIL(LEGO_ENOMEM, "out of memory for a checkpoint of '%s'", name);
    LG_TRY(LG_TORCH(api, tensor_shape(tensor, &n_dims, dims)));
    LG_TRY(lego_tensor_create(&copy, LEGO_DTYPE_F32, n_dims, dims));
    LG_TRY(LG_TORCH(api, tensor_to_host(tensor, lego_tensor_data(copy), lg_tensor_bytes(copy))));
    checkpoint->names[checkpoint->n] = full;
    checkpoint->tensors[checkpoint->n++] = copy;
    full = NULL;
    copy = NULL;
done:
    lego_tensor_free(copy);
    lg_free(full);
    return status;
}

lego_status lg_checkpoint_set(lg_checkpoint *checkpoint, const char *key, const char *text)
{
    return lg_json_set_string(checkpoint->metadata, key, text);
}

lego_status lg_checkpoint_set_int(lg_checkpoint *checkpoint, const char *key, int64_t value)
{
    char text[32];

    snprintf(text, sizeof(text), "%" PRId64, value);
    return lg_checkpoint_set(checkpoint, key, text);
}

lego_status lg_checkpoint_set_double(lg_checkpoint *checkpoint, const char *key, double value)
{
    char text[64];

    snprintf(text, sizeof(text), "%a", value);
    return lg_checkpoint_set(checkpoint, key, text);
}

lego_status lg_checkpoint_save(const lg_checkpoint *checkpoint, const char *path)
{
    return lg_safetensors_save(path, checkpoint->n, (const char *const *)checkpoint->names,
                               (const lego_tensor *const *)checkpoint->tensors, checkpoint->metadata);
}

lego_status lg_checkpoint_open(lg_checkpoint_file *out, const char *path, const char *kind)
{
    const char *found = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_safetensors_load(&out->file, path));
    LG_TRY(lg_checkpoint_get(&found, out, "kind"));
    if (strcmp(found, kind) != 0)
        LG_FAIL(LEGO_EFORMAT, "'%s' is a '%s', not a '%s'", path, found, kind);
done:
    if (status != LEGO_OK)
        lg_checkpoint_close(out);
    return status;
}

void lg_checkpoint_close(lg_checkpoint_file *checkpoint)
{
    lg_safetensors_free(checkpoint->file);
    checkpoint->file = NULL;
}

lego_status lg_checkpoint_read(const lg_checkpoint_file *checkpoint, const lg_torch_api *api, const char *prefix,
                               const char *name, lg_torch_tensor *tensor)
{
    int64_t dims[LEGO_MAX_DIMS];
    const lego_tensor *stored;
    char *full = lg_asprintf("%s%s", prefix, name);
    int n_dims = 0;
    lg_shape shape;
    lego_status status = LEGO_OK;

    if (!full)
        LG_FAIL(LEGO_ENOMEM, "out of memory for a checkpoint of '%s'", name);
    LG_TRY(LG_TORCH(api, tensor_shape(tensor, &n_dims, dims)));
    shape = lg_shape_make(n_dims, dims);
    stored = lg_safetensors_find(checkpoint->file, full);
    if (!stored)
        LG_FAIL(LEGO_EFORMAT, "%s: no tensor '%s'", checkpoint->file->path, full);
    if (stored->dtype != LEGO_DTYPE_F32 || !lg_shape_equal(&stored->shape, &shape))
        LG_FAIL(LEGO_EFORMAT, "%s: tensor '%s' is of another shape", checkpoint->file->path, full);
    LG_TRY(LG_TORCH(api, tensor_assign_host(tensor, lg_tensor_data(stored), lg_tensor_bytes(stored))));
done:
    lg_free(full);
    return status;
}

lego_status lg_checkpoint_get(const char **out, const lg_checkpoint_file *checkpoint, const char *key)
{
    *out = NULL;
    if (!checkpoint->file->metadata)
        return lg_error(LEGO_EFORMAT, "%s: no metadata: not a checkpoint", checkpoint->file->path);
    return lg_json_get_string(out, checkpoint->file->metadata, key, checkpoint->file->path);
}

lego_status lg_checkpoint_get_int(int64_t *out, const lg_checkpoint_file *checkpoint, const char *key, int64_t min,
                                  int64_t max)
{
    const char *text = NULL;
    char *end = NULL;
    long long value;
    lego_status status = LEGO_OK;

    LG_TRY(lg_checkpoint_get(&text, checkpoint, key));
    value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || value < min || value > max)
        LG_FAIL(LEGO_EFORMAT, "%s: %s='%s' is not in [%" PRId64 ", %" PRId64 "]", checkpoint->file->path, key, text,
                min, max);
    *out = value;
done:
    return status;
}

lego_status lg_checkpoint_get_double(double *out, const lg_checkpoint_file *checkpoint, const char *key)
{
    const char *text = NULL;
    char *end = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_checkpoint_get(&text, checkpoint, key));
    *out = strtod(text, &end);
    if (end == text || *end != '\0')
        LG_FAIL(LEGO_EFORMAT, "%s: %s='%s' is not a number", checkpoint->file->path, key, text);
done:
    return status;
}
