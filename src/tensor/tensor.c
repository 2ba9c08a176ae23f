/* Host tensors: a dtype, a shape and a window into a shared buffer. */
#include "tensor/tensor.h"

#include <string.h>

#include "base/alloc.h"

lego_status lg_tensor_init(lego_tensor *tensor, lego_dtype dtype, const lg_shape *shape)
{
    int64_t count = 0;
    size_t bytes;
    lego_status status = LEGO_OK;

    memset(tensor, 0, sizeof(*tensor));
    LG_TRY(lg_shape_count(&count, shape, "tensor"));
    if (__builtin_mul_overflow((size_t)count, lg_dtype_size(dtype), &bytes))
        LG_FAIL(LEGO_ENOMEM, "out of memory: a tensor of %lld elements", (long long)count);
    LG_TRY(lg_buffer_create(&tensor->buffer, bytes));
    tensor->dtype = dtype;
    tensor->shape = *shape;
done:
    return status;
}

void lg_tensor_share(lego_tensor *copy, const lego_tensor *tensor)
{
    *copy = *tensor;
    lg_buffer_ref(copy->buffer);
}

lego_status lg_tensor_copy(lego_tensor *copy, const lego_tensor *tensor)
{
    lego_status status = lg_tensor_init(copy, tensor->dtype, &tensor->shape);

    if (status == LEGO_OK && lg_tensor_bytes(tensor) > 0)
        memcpy(lg_tensor_data(copy), lg_tensor_data(tensor), lg_tensor_bytes(tensor));
    return status;
}

void lg_tensor_dispose(lego_tensor *tensor)
{
    lg_buffer_unref(tensor->buffer);
    memset(tensor, 0, sizeof(*tensor));
}

int64_t lg_tensor_count(const lego_tensor *tensor)
{
    int64_t count = 1; /* cannot overflow: lg_tensor_init() and the loaders checked it */

    for (int i = 0; i < tensor->shape.n_dims; i++)
        count *= tensor->shape.dims[i];
    return count;
}

size_t lg_tensor_bytes(const lego_tensor *tensor)
{
    return (size_t)lg_tensor_count(tensor) * lg_dtype_size(tensor->dtype);
}

void *lg_tensor_data(const lego_tensor *tensor)
{
    return (char *)lg_buffer_data(tensor->buffer) + tensor->offset;
}

lego_status lego_tensor_create(lego_tensor **out, lego_dtype dtype, int n_dims, const int64_t *dims)
{
    lego_tensor *tensor = NULL;
    lg_shape shape;
    lego_status status = LEGO_OK;

    if (!out || (n_dims > 0 && !dims))
        return lg_error(LEGO_EINVAL, "out and dims must not be NULL");
    *out = NULL;
    if (n_dims < 0 || n_dims > LEGO_MAX_DIMS)
        return lg_error(LEGO_EINVAL, "n_dims=%d is not in [0, %d]", n_dims, LEGO_MAX_DIMS);
    if (lg_dtype_size(dtype) == 0)
        return lg_error(LEGO_EINVAL, "dtype=%d is unknown", (int)dtype);
    shape = lg_shape_make(n_dims, dims);
    LG_TRY(LG_CALLOC(&tensor, 1));
    LG_TRY(lg_tensor_init(tensor, dtype, &shape));
    *out = tensor;
    tensor = NULL;
done:
    lego_tensor_free(tensor);
    return status;
}

void lego_tensor_free(lego_tensor *tensor)
{
    if (!tensor)
        return;
    lg_tensor_dispose(tensor);
    lg_free(tensor);
}

lego_dtype lego_tensor_dtype(const lego_tensor *tensor)
{
    return tensor->dtype;
}

int lego_tensor_n_dims(const lego_tensor *tensor)
{
    return tensor->shape.n_dims;
}

const int64_t *lego_tensor_dims(const lego_tensor *tensor)
{
    return tensor->shape.dims;
}

int64_t lego_tensor_n_elements(const lego_tensor *tensor)
{
    return lg_tensor_count(tensor);
}

void *lego_tensor_data(lego_tensor *tensor)
{
    return lg_tensor_data(tensor);
}

const void *lego_tensor_const_data(const lego_tensor *tensor)
{
    return lg_tensor_data(tensor);
}
