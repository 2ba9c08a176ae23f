/* Layers by name, with an error that sticks: the families read like the papers' tables. */
#include "zoo/builder.h"

#include <stdio.h>
#include <string.h>

#include "graph/ops.h"

#define NAME_SIZE 128

static const char *join(char buffer[NAME_SIZE], const char *prefix, const char *name)
{
    snprintf(buffer, NAME_SIZE, "%s%s%s", prefix, *prefix ? "." : "", name);
    return buffer;
}

void lg_zoo_start(lg_zoo_builder *builder, const char *name)
{
    builder->graph = NULL;
    builder->status = lg_graph_create(&builder->graph, name);
}

lego_status lg_zoo_finish(lg_graph **out, lg_zoo_builder *builder)
{
    lego_status status = builder->status;

    *out = NULL;
    if (status == LEGO_OK)
        status = lg_graph_validate(builder->graph);
    if (status == LEGO_OK) {
        *out = builder->graph;
        builder->graph = NULL;
    }
    lg_graph_free(builder->graph);
    builder->graph = NULL;
    return status;
}

int32_t lg_zoo_input(lg_zoo_builder *builder, const int64_t input[3])
{
    const lg_shape shape = lg_shape_make(3, input);
    int32_t value = LG_NONE;

    if (builder->status == LEGO_OK)
        builder->status = lg_graph_add_input(&value, builder->graph, "input", LEGO_DTYPE_F32, &shape);
    return value;
}

void lg_zoo_output(lg_zoo_builder *builder, int32_t value)
{
    if (builder->status == LEGO_OK)
        builder->status = lg_graph_add_output(builder->graph, value);
}

int64_t lg_zoo_channels(const lg_zoo_builder *builder, int32_t value)
{
    return value == LG_NONE ? 0 : builder->graph->values[value].shape.dims[1];
}

/* A zero-filled weight "<node>.<slot>"; initialising fills it. */
static int32_t add_weight(lg_zoo_builder *builder, const char *node, const char *slot, int n_dims, const int64_t *dims)
{
    const lg_shape shape = lg_shape_make(n_dims, dims);
    char name[NAME_SIZE + 32];
    lego_tensor tensor = { 0 };
    int32_t weight = LG_NONE;
    lego_status status = LEGO_OK;

    if (builder->status != LEGO_OK)
        return LG_NONE;
    snprintf(name, sizeof(name), "%s.%s", node, slot);
    LG_TRY(lg_tensor_init(&tensor, LEGO_DTYPE_F32, &shape));
    LG_TRY(lg_graph_add_weight(&weight, builder->graph, name, &tensor));
done:
    lg_tensor_dispose(&tensor);
    builder->status = status;
    return weight;
}

static int32_t add_node(lg_zoo_builder *builder, const char *op, const char *name, const lg_attrs *attrs, int n_inputs,
                        const int32_t *inputs, int n_weights, const int32_t *weights)
{
    int32_t value = LG_NONE;

    if (builder->status == LEGO_OK)
        builder->status =
            lg_graph_add_node(&value, builder->graph, op, name, attrs, n_inputs, inputs, n_weights, weights);
    return value;
}

int32_t lg_zoo_conv2d(lg_zoo_builder *builder, int32_t x, const char *prefix, const char *name, lg_zoo_conv conv)
{
    const int64_t pad = conv.kernel / 2;
    const lg_attrs attrs = { .conv = { { conv.stride, conv.stride },
                                       { 1, 1 },
                                       { pad, pad, pad, pad },
                                       conv.groups } };
    const int64_t dims[4] = { conv.out, lg_zoo_channels(builder, x) / conv.groups, conv.kernel, conv.kernel };
    char full[NAME_SIZE];
    int32_t weights[2] = { LG_NONE, LG_NONE };

    join(full, prefix, name);
    weights[0] = add_weight(builder, full, "weight", 4, dims);
    if (conv.bias)
        weights[1] = add_weight(builder, full, "bias", 1, dims);
    return add_node(builder, "conv2d", full, &attrs, 1, &x, 2, weights);
}

int32_t lg_zoo_batch_norm(lg_zoo_builder *builder, int32_t x, const char *prefix, const char *name)
{
    static const char *const slots[4] = { "weight", "bias", "running_mean", "running_var" };
    const int64_t n_channels = lg_zoo_channels(builder, x);
    char full[NAME_SIZE];
    int32_t weights[4];

    join(full, prefix, name);
    for (int i = 0; i < 4; i++)
        weights[i] = add_weight(builder, full, slots[i], 1, &n_channels);
    return add_node(builder, "batch_norm", full, NULL, 1, &x, 4, weights);
}

int32_t lg_zoo_linear(lg_zoo_builder *builder, int32_t x, const char *prefix, const char *name, int64_t out)
{
    const int64_t dims[2] = { out, lg_zoo_channels(builder, x) };
    char full[NAME_SIZE];
    int32_t weights[2];

    join(full, prefix, name);
    weights[0] = add_weight(builder, full, "weight", 2, dims);
    weights[1] = add_weight(builder, full, "bias", 1, dims);
    return add_node(builder, "linear", full, NULL, 1, &x, 2, weights);
}

int32_t lg_zoo_add(lg_zoo_builder *builder, int32_t a, int32_t b, const char *prefix, const char *name)
{
    char full[NAME_SIZE];

    return add_node(builder, "add", join(full, prefix, name), NULL, 2, (const int32_t[]){ a, b }, 0, NULL);
}

int32_t lg_zoo_apply(lg_zoo_builder *builder, int32_t x, const char *prefix, const char *name, const char *op,
                     const lg_attrs *attrs)
{
    char full[NAME_SIZE];

    return add_node(builder, op, join(full, prefix, name), attrs, 1, &x, 0, NULL);
}
