/* safetensors files: 8 bytes little-endian header length, JSON header, tensor bytes. Read by mapping, written atomically. */
#ifndef LG_TENSOR_SAFETENSORS_H
#define LG_TENSOR_SAFETENSORS_H

#include "base/file.h"
#include "base/json.h"
#include "tensor/tensor.h"

typedef struct lg_safetensors {
    char *path;
    size_t n_tensors;
    char **names;          /* sorted */
    lego_tensor *tensors;  /* share the mapping */
    lg_json *metadata;     /* "__metadata__", or NULL */
} lg_safetensors;

/* Everything is checked: offsets inside the file, no overlap, sizes equal to the shape's. */
lego_status lg_safetensors_load(lg_safetensors **out, const char *path);
void lg_safetensors_free(lg_safetensors *file);
/* NULL if there is none of that name. */
const lego_tensor *lg_safetensors_find(const lg_safetensors *file, const char *name);

/* Append such a file to what is being written. */
lego_status lg_safetensors_write(lg_writer *writer, size_t n, const char *const *names, const lego_tensor *const *tensors,
                                 const lg_json *metadata);
/* Write `n` named tensors and string metadata (an object of strings, may be NULL). */
lego_status lg_safetensors_save(const char *path, size_t n, const char *const *names,
                                const lego_tensor *const *tensors, const lg_json *metadata);

#endif
