/* What a program of a user does first: include everything, make a context, use a handle, read an error. Compiled as C
 * and as C++ against an installed copy; prints the version and the tensor's size. */
#include <legodnn/legodnn.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    const int64_t dims[2] = { 3, 4 };
    lego_context *context = NULL;
    lego_tensor *tensor = NULL;
    lego_model *model = NULL;
    int failed = 1;

    if (lego_context_create(&context) != LEGO_OK || lego_context_set_threads(context, 1) != LEGO_OK)
        goto done;
    if (lego_tensor_create(&tensor, LEGO_DTYPE_F32, 2, dims) != LEGO_OK)
        goto done;
    if (lego_model_load(&model, context, "no-such-model.safetensors") != LEGO_ENOTFOUND ||
        !strstr(lego_last_error(), "no-such-model.safetensors"))
        goto done;
    if (strcmp(lego_version(), LEGO_VERSION_STRING) != 0)
        goto done;
    printf("legodnn %s, %lld elements\n", lego_version(), (long long)lego_tensor_n_elements(tensor));
    failed = 0;
done:
    lego_tensor_free(tensor);
    lego_context_free(context);
    return failed;
}
