/* PyTorch's .pt and .pth files, as torch.save writes dictionaries of tensors: a pickle and the bytes of each storage, in a
 * zip archive or, before torch 1.6, one after the other. */
#ifndef LG_IMPORT_PT_FILE_H
#define LG_IMPORT_PT_FILE_H

#include "tensor/tensor.h"

typedef struct lg_pt lg_pt;

/* One entry of the state dict. Strides and offset count elements; everything lies inside the storage. */
typedef struct lg_pt_tensor {
    char *name;
    lego_dtype dtype;
    lg_shape shape;
    int64_t strides[LEGO_MAX_DIMS];
    int64_t offset;
    int32_t storage; /* of the file */
} lg_pt_tensor;

/* Find the state dict: the dictionary from text to tensors. `key` ("ema.state_dict") says where it lies in nested ones;
 * NULL: the only one there is, or the one called "state_dict". No tensor is read yet. Free with lg_pt_free(). */
lego_status lg_pt_load(lg_pt **out, const char *path, const char *key);
void lg_pt_free(lg_pt *file);

const char *lg_pt_key(const lg_pt *file); /* where the state dict was; "" is the top */
int32_t lg_pt_n_tensors(const lg_pt *file);
const lg_pt_tensor *lg_pt_tensors(const lg_pt *file);
int32_t lg_pt_n_others(const lg_pt *file); /* entries of the state dict that are no tensors */
const char *lg_pt_other(const lg_pt *file, int32_t i);

/* The values of a tensor, row-major. Storages stay loaded and are shared where they lie right. */
lego_status lg_pt_read(lego_tensor *out, lg_pt *file, const lg_pt_tensor *tensor);

#endif
