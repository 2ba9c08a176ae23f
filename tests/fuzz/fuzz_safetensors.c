/* Fuzz target: a safetensors file. Every byte of every tensor that is accepted can be read, every name found again, and
 * what is written of them loads. */
#include "fuzz/fuzz.h"

#include "tensor/safetensors.h"

static unsigned sum;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lg_safetensors *tensors;
    char path[64];
    const int file = file_of(path, data, size);
    const lego_status status = lg_safetensors_load(&tensors, path);

    for (size_t i = 0; status == LEGO_OK && i < tensors->n_tensors; i++) {
        const lego_tensor *tensor = lg_safetensors_find(tensors, tensors->names[i]);
        const uint8_t *bytes = tensor ? lg_tensor_data(tensor) : NULL;
        const size_t n = tensor ? (size_t)lg_tensor_count(tensor) * lg_dtype_size(tensor->dtype) : 0;

        if (tensor != &tensors->tensors[i])
            abort();
        for (size_t k = 0; k < n; k++)
            sum += bytes[k];
    }
    lg_safetensors_free(tensors);
    close(file);
    return 0;
}
