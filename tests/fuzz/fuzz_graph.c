/* Fuzz target: a model file, or a graph document if the input starts with a brace. Whatever loads must be a graph that
 * validates, describes itself and can be analysed; nothing may crash, leak or overflow. */
#include "fuzz/fuzz.h"

/* Zeroes, but not gigabytes of them. */
static lego_status small_weight(lego_tensor *out, const char *name, lego_dtype dtype, const lg_shape *shape,
                                void *payload)
{
    int64_t n;
    lego_status status = lg_shape_count(&n, shape, name);

    (void)payload;
    if (status != LEGO_OK)
        return status;
    return n > 1 << 16 ? lg_error(LEGO_EFORMAT, "too large to fuzz") : lg_tensor_init(out, dtype, shape);
}

static lego_status load(lg_graph **out, const uint8_t *data, size_t size)
{
    lg_json *json = NULL;
    char path[64];
    lego_status status;
    int file;

    *out = NULL;
    if (size > 0 && data[0] == '{') {
        status = lg_json_parse(&json, (const char *)data, size, "input");
        if (status == LEGO_OK)
            status = lg_graph_from_json(out, json, "input", small_weight, NULL);
        lg_json_free(json);
        return status;
    }
    file = file_of(path, data, size);
    status = lg_graph_load(out, path);
    close(file);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lg_graph *graph;

    if (load(&graph, data, size) == LEGO_OK)
        check_graph(graph);
    lg_graph_free(graph);
    return 0;
}
