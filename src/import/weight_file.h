/* Named tensors in a file of one of the formats that weights come in. */
#ifndef LG_IMPORT_WEIGHT_FILE_H
#define LG_IMPORT_WEIGHT_FILE_H

#include "graph/name_map.h"
#include "tensor/tensor.h"

typedef struct lg_weight_entry {
    const char *name; /* the prefix taken off */
    lego_dtype dtype;
    lg_shape shape;
    int32_t source;   /* the format's own index */
} lg_weight_entry;

typedef struct lg_weight_file {
    const char *format; /* "safetensors" or "pt" */
    const char *key;    /* where in a .pt file; "" */
    lg_weight_entry *entries;
    int32_t n_entries;
    lg_name_map names;  /* -> entries */
    struct lg_safetensors *safetensors;
    struct lg_pt *pt;
} lg_weight_file;

/* `strip_prefix` and `key` as in lego_weights_options. Free with lg_weight_file_free(). */
lego_status lg_weight_file_open(lg_weight_file **out, const char *path, const char *strip_prefix, const char *key);
void lg_weight_file_free(lg_weight_file *file);
/* Entries that are no tensors, by name. */
int32_t lg_weight_file_n_others(const lg_weight_file *file);
const char *lg_weight_file_other(const lg_weight_file *file, int32_t i);
/* The entry's values as F32 if they are floating-point, as they are otherwise. */
lego_status lg_weight_file_read(lego_tensor *out, lg_weight_file *file, int32_t entry);

#endif
