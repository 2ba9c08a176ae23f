/* What the families build with: layers by name on a graph, with an error that sticks. A builder that failed does nothing
 * more and returns LG_NONE everywhere; lg_zoo_finish() reports the first failure. */
#ifndef LG_ZOO_BUILDER_H
#define LG_ZOO_BUILDER_H

#include "graph/graph.h"

typedef struct lg_zoo_builder {
    lg_graph *graph;
    lego_status status;
} lg_zoo_builder;

/* A size after the options and the family's defaults are merged. */
typedef struct lg_zoo_size {
    int64_t width, classes;
    int64_t input[3]; /* channels, height, width */
    double width_mult;
} lg_zoo_size;

typedef struct lg_zoo_conv {
    int64_t out, kernel, stride, groups;
    int bias;
} lg_zoo_conv;

/* Layers take and return value ids. A layer's name is `prefix` and `name` joined by a dot (`prefix` may be empty), as
 * torch joins the names of nested modules. Convolutions are padded by kernel / 2. */
void lg_zoo_start(lg_zoo_builder *builder, const char *name);
/* Validates and hands the graph over; frees it and returns the first failure otherwise. */
lego_status lg_zoo_finish(lg_graph **out, lg_zoo_builder *builder);
int32_t lg_zoo_input(lg_zoo_builder *builder, const int64_t input[3]);
void lg_zoo_output(lg_zoo_builder *builder, int32_t value);
int32_t lg_zoo_conv2d(lg_zoo_builder *builder, int32_t x, const char *prefix, const char *name, lg_zoo_conv conv);
int32_t lg_zoo_batch_norm(lg_zoo_builder *builder, int32_t x, const char *prefix, const char *name);
int32_t lg_zoo_linear(lg_zoo_builder *builder, int32_t x, const char *prefix, const char *name, int64_t out);
int32_t lg_zoo_add(lg_zoo_builder *builder, int32_t a, int32_t b, const char *prefix, const char *name);
/* Any op of one input without weights; `attrs` NULL = its defaults. */
int32_t lg_zoo_apply(lg_zoo_builder *builder, int32_t x, const char *prefix, const char *name, const char *op,
                     const lg_attrs *attrs);
/* Channels of a value, 0 for LG_NONE. */
int64_t lg_zoo_channels(const lg_zoo_builder *builder, int32_t value);

#endif
