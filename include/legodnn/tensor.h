/** @file tensor.h  Host tensors: dense, row-major, and their .npy files. */
#ifndef LEGODNN_TENSOR_H
#define LEGODNN_TENSOR_H

#include "legodnn/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LEGO_MAX_DIMS 8

/** Element types: enum name, value, safetensors name, bytes. */
#define LEGO_DTYPE_MAP(X)                                                     \
    X(F32, 0, "F32", 4)                                                       \
    X(F64, 1, "F64", 8)                                                       \
    X(F16, 2, "F16", 2)                                                       \
    X(BF16, 3, "BF16", 2)                                                     \
    X(I64, 4, "I64", 8)                                                       \
    X(I32, 5, "I32", 4)                                                       \
    X(I16, 6, "I16", 2)                                                       \
    X(I8, 7, "I8", 1)                                                         \
    X(U8, 8, "U8", 1)                                                         \
    X(BOOL, 9, "BOOL", 1)

typedef enum lego_dtype {
#define LEGO_DTYPE_ENUM(name, value, text, bytes) LEGO_DTYPE_##name = value,
    LEGO_DTYPE_MAP(LEGO_DTYPE_ENUM)
#undef LEGO_DTYPE_ENUM
} lego_dtype;

/** A dense row-major array. */
typedef struct lego_tensor lego_tensor;

/**
 * Create a zero-filled tensor.
 * @param out   free with lego_tensor_free()
 * @param dims  n_dims extents, each >= 0; the product must fit in memory
 */
LEGO_API lego_status lego_tensor_create(lego_tensor **out, lego_dtype dtype, int n_dims, const int64_t *dims);
LEGO_API void lego_tensor_free(lego_tensor *tensor);

LEGO_API lego_dtype lego_tensor_dtype(const lego_tensor *tensor);
LEGO_API int lego_tensor_n_dims(const lego_tensor *tensor);
/** Borrowed, n_dims entries. */
LEGO_API const int64_t *lego_tensor_dims(const lego_tensor *tensor);
LEGO_API int64_t lego_tensor_n_elements(const lego_tensor *tensor);
/** Borrowed element storage, row-major. */
LEGO_API void *lego_tensor_data(lego_tensor *tensor);
LEGO_API const void *lego_tensor_const_data(const lego_tensor *tensor);

/** Read a NumPy .npy file (format 1 to 3, little endian, C order; Fortran order is refused). */
LEGO_API lego_status lego_tensor_load_npy(lego_tensor **out, const char *path);
/** Write a .npy file, atomically. */
LEGO_API lego_status lego_tensor_save_npy(const lego_tensor *tensor, const char *path);

#ifdef __cplusplus
}
#endif
#endif
