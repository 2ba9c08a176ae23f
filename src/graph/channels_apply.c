/* Removing channels: a copy of the graph with its weights cut along every axis that loses elements.
 *
 * Flow: prune decides which units stay; this file only carries it out. Weights that lose nothing share their storage
 * with the original. What a list of kept elements an axis cannot say (groups of a convolution) the ops' prune hooks do
 * afterwards; at the end every shape is inferred and checked again, so a wrong rule shows here and not in a kernel. */
#include <string.h>

#include "base/alloc.h"
#include "graph/channels.h"
#include "graph/ops.h"

/* Keep the listed elements of one axis. */
static lego_status slice_axis(lego_tensor *tensor, int axis, const int64_t *kept, int64_t n_kept)
{
    lg_shape shape = tensor->shape;
    lego_tensor sliced = { 0 };
    size_t outer = 1, inner = lg_dtype_size(tensor->dtype);
    const char *from;
    char *to;
    lego_status status = LEGO_OK;

    for (int i = 0; i < axis; i++)
        outer *= (size_t)shape.dims[i];
    for (int i = axis + 1; i < shape.n_dims; i++)
        inner *= (size_t)shape.dims[i];
    shape.dims[axis] = n_kept;
    LG_TRY(lg_tensor_init(&sliced, tensor->dtype, &shape));
    from = lg_tensor_data(tensor);
    to = lg_tensor_data(&sliced);
    for (size_t o = 0; o < outer; o++, from += (size_t)tensor->shape.dims[axis] * inner)
        for (int64_t k = 0; k < n_kept; k++, to += inner)
            memcpy(to, from + (size_t)kept[k] * inner, inner);
    lg_tensor_dispose(tensor);
    *tensor = sliced;
done:
    return status;
}

static lego_status slice_weight(lg_weight *weight, int32_t id, const lg_channels_keep *keep)
{
    int64_t *kept = NULL, extent = 1;
    lego_status status = LEGO_OK;

    for (int axis = 0; axis < weight->tensor.shape.n_dims; axis++)
        if (weight->tensor.shape.dims[axis] > extent)
            extent = weight->tensor.shape.dims[axis];
    LG_TRY(LG_CALLOC(&kept, extent));
    for (int axis = 0; axis < weight->tensor.shape.n_dims; axis++) {
        const int64_t n_kept = lg_channels_kept(keep, LG_WEIGHT_AXIS(id, axis), kept);

        if (n_kept == 0)
            LG_FAIL(LEGO_EINVAL, "weight '%s' would lose all %lld elements of axis %d", weight->name,
                    (long long)weight->tensor.shape.dims[axis], axis);
        if (n_kept < weight->tensor.shape.dims[axis])
            LG_TRY(slice_axis(&weight->tensor, axis, kept, n_kept));
    }
done:
    lg_free(kept);
    return status;
}

static lego_status check_frozen(const lg_channels *channels, const uint8_t *keep)
{
    for (int32_t u = 0; u < lg_channels_n_units(channels); u++)
        if (!keep[u] && lg_channels_frozen(channels, u))
            return lg_error(LEGO_EINVAL, "unit %d cannot be removed: %s", (int)u, lg_channels_frozen(channels, u));
    return LEGO_OK;
}

lego_status lg_channels_apply(lg_graph **out, const lg_channels *channels, const lg_graph *graph, const uint8_t *keep)
{
    const lg_channels_keep flags = { channels, keep };
    lg_graph *pruned = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(check_frozen(channels, keep));
    LG_TRY(lg_graph_clone(&pruned, graph));
    for (int32_t i = 0; i < pruned->n_weights; i++)
        LG_TRY(slice_weight(&pruned->weights[i], i, &flags));
    for (int32_t i = 0; i < pruned->n_nodes; i++) {
        const lg_node *node = &graph->nodes[i];
        if (node->op->prune)
            LG_TRY(node->op->prune(&flags, graph, node, pruned, &pruned->nodes[i]));
    }
    for (int32_t i = 0; i < pruned->n_inputs; i++) {
        const int32_t value = pruned->inputs[i];
        for (int axis = 1; axis < pruned->values[value].shape.n_dims; axis++)
            pruned->values[value].shape.dims[axis] = lg_channels_kept(&flags, LG_VALUE_AXIS(value, axis), NULL);
    }
    LG_TRY(lg_graph_validate(pruned));
    *out = pruned;
    pruned = NULL;
done:
    lg_graph_free(pruned);
    return status;
}
