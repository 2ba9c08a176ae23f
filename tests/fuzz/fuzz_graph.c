/* Fuzz target: a model file, or a graph document if the input starts with a brace. Whatever loads must be a graph that
 * validates, describes itself and can be analysed; nothing may crash, leak or overflow. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create */
#endif
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "graph/channels.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
    file = memfd_create("input", 0);
    if (file < 0 || write(file, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    status = lg_graph_load(out, path);
    close(file);
    return status;
}

static int64_t sum_of_extents(const lg_graph *graph)
{
    int64_t n = 0;

    for (int32_t v = 0; v < graph->n_values; v++)
        for (int i = 1; i < graph->values[v].shape.n_dims; i++)
            n += graph->values[v].shape.dims[i];
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lego_model model = { NULL };
    lg_channels *channels = NULL;
    char *text = NULL;

    if (load(&model.graph, data, size) != LEGO_OK)
        return 0;
    if (lg_graph_validate(model.graph) != LEGO_OK || lego_model_to_json(&text, &model, 1) != LEGO_OK)
        abort();
    if (sum_of_extents(model.graph) < 100000 && lg_channels_analyze(&channels, model.graph, 1) != LEGO_OK)
        abort();
    lg_channels_free(channels);
    lego_string_free(text);
    lg_graph_free(model.graph);
    return 0;
}
