/* Fuzz target: an ONNX file. Whatever is imported is a graph that validates and can be analysed; what is not has a message. */
#include "fuzz/fuzz.h"

#include "legodnn/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lego_model *model;
    char path[64];
    const int file = file_of(path, data, size);

    if (lego_model_import(&model, NULL, path, NULL) == LEGO_OK)
        check_graph(model->graph);
    else if (!*lego_last_error())
        abort();
    lego_model_free(model);
    close(file);
    return 0;
}
