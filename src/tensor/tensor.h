/* The host tensor's inside: shape, dtype and a window into a shared buffer. */
#ifndef LG_TENSOR_TENSOR_H
#define LG_TENSOR_TENSOR_H

#include "base/buffer.h"
#include "base/status.h"
#include "legodnn/tensor.h"

typedef struct lg_shape {
    int32_t n_dims;
    int64_t dims[LEGO_MAX_DIMS];
} lg_shape;

struct lego_tensor {
    lego_dtype dtype;
    lg_shape shape;
    lg_buffer *buffer; /* shared: copies of the tensor hold references */
    size_t offset;     /* bytes into the buffer */
};

size_t lg_dtype_size(lego_dtype dtype);
const char *lg_dtype_name(lego_dtype dtype); /* "F32" */
lego_status lg_dtype_parse(lego_dtype *out, const char *name);
int lg_dtype_is_float(lego_dtype dtype);

lg_shape lg_shape_make(int n_dims, const int64_t *dims);
int lg_shape_equal(const lg_shape *a, const lg_shape *b);
/* Product of the extents; LEGO_EFORMAT on a negative extent or overflow. */
lego_status lg_shape_count(int64_t *out, const lg_shape *shape, const char *what);
/* "(N,64,32,32)" into `text`; a negative extent prints as N. Returns text. */
const char *lg_shape_format(char text[128], const lg_shape *shape);

/* In place (no handle): `tensor` becomes a zero-filled tensor that owns a new buffer. */
lego_status lg_tensor_init(lego_tensor *tensor, lego_dtype dtype, const lg_shape *shape);
/* `copy` shares the storage of `tensor`. */
void lg_tensor_share(lego_tensor *copy, const lego_tensor *tensor);
/* `copy` owns its own storage. */
lego_status lg_tensor_copy(lego_tensor *copy, const lego_tensor *tensor);
/* `out` is a new F32 tensor of the values of an F32, F64, F16 or BF16 one, whose elements need no alignment. A double
 * that is too large becomes an infinity. */
lego_status lg_tensor_to_f32(lego_tensor *out, const lego_tensor *tensor);
void lg_tensor_dispose(lego_tensor *tensor);
int64_t lg_tensor_count(const lego_tensor *tensor);
size_t lg_tensor_bytes(const lego_tensor *tensor);
void *lg_tensor_data(const lego_tensor *tensor);

#endif
