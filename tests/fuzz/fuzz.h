/* What the fuzz targets share: the input as a file, and what must hold for a graph that a loader accepted. */
#ifndef LG_TESTS_FUZZ_H
#define LG_TESTS_FUZZ_H

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

/* The bytes as a file in memory; `path` names it until the descriptor is closed. */
static inline int file_of(char path[64], const uint8_t *data, size_t size)
{
    const int file = memfd_create("input", 0);

    if (file < 0 || write(file, data, size) != (ssize_t)size)
        abort();
    (void)snprintf(path, 64, "/proc/self/fd/%d", file);
    return file;
}

static inline int64_t sum_of_extents(const lg_graph *graph)
{
    int64_t n = 0;

    for (int32_t v = 0; v < graph->n_values; v++)
        for (int i = 1; i < graph->values[v].shape.n_dims; i++)
            n += graph->values[v].shape.dims[i];
    return n;
}

/* It validates, describes itself and can be analysed. */
static inline void check_graph(lg_graph *graph)
{
    lego_model model = { graph };
    lg_channels *channels = NULL;
    char *text = NULL;

    if (lg_graph_validate(graph) != LEGO_OK || lego_model_to_json(&text, &model, 1) != LEGO_OK)
        abort();
    if (sum_of_extents(graph) < 100000 && lg_channels_analyze(&channels, graph, 1) != LEGO_OK)
        abort();
    lg_channels_free(channels);
    lego_string_free(text);
}

#endif
