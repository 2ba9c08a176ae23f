/* Cutting channels at random, and the same channels zeroed instead: both must compute the same. */
#ifndef LG_TESTS_CUT_H
#define LG_TESTS_CUT_H

#include "support/graphs.h"

#include "graph/channels.h"

/* Zero what belongs to removed units in every weight. */
static inline void zero_removed(lg_graph *graph, const lg_channels *channels, const uint8_t *keep)
{
    for (int32_t w = 0; w < graph->n_weights; w++) {
        lego_tensor copy = { 0 };
        const lg_shape *shape = &graph->weights[w].tensor.shape;

        assert_ok(lg_tensor_copy(&copy, &graph->weights[w].tensor));
        lg_tensor_dispose(&graph->weights[w].tensor);
        graph->weights[w].tensor = copy;
        for (int64_t i = 0; i < lg_tensor_count(&copy); i++) {
            int64_t rest = i;
            for (int axis = shape->n_dims - 1; axis >= 0; axis--) {
                const int32_t unit = lg_channels_unit(channels, LG_WEIGHT_AXIS(w, axis), rest % shape->dims[axis]);
                rest /= shape->dims[axis];
                if (unit >= 0 && !keep[unit])
                    ((float *)lg_tensor_data(&copy))[i] = 0.0f;
            }
        }
    }
}

/* The columns of a grouped convolution have no units: zero those of removed inputs too, so that an input which is not
 * zero itself (behind a sigmoid) adds nothing. */
static inline void zero_grouped_columns(lg_graph *graph, const lg_channels *channels, const uint8_t *keep)
{
    for (int32_t n = 0; n < graph->n_nodes; n++) {
        const lg_node *node = &graph->nodes[n];

        if (node->op->kind != LG_OP_CONV || node->attrs->conv.groups == 1)
            continue;
        lego_tensor *weight = lg_node_weight(graph, node, 0);
        const int64_t *dims = weight->shape.dims, kernel = lg_tensor_count(weight) / (dims[0] * dims[1]);
        for (int64_t k = 0; k < dims[0]; k++)
            for (int64_t c = 0; c < dims[1]; c++) {
                const int64_t channel = k / (dims[0] / node->attrs->conv.groups) * dims[1] + c;
                if (!lg_channels_keeps(&(lg_channels_keep){ channels, keep }, LG_VALUE_AXIS(node->inputs[0], 1),
                                       channel))
                    memset((float *)lg_tensor_data(weight) + (k * dims[1] + c) * kernel, 0,
                           (size_t)kernel * sizeof(float));
            }
    }
}

/* A graph, its channels, which of them stay, and the graph without the others. */
typedef struct cut {
    lg_graph *graph; /* what goes is zero in it */
    lg_channels *channels;
    uint8_t *keep;
    int64_t n_removed; /* units */
    lg_graph *pruned;
} cut;

/* Takes the graph over. `columns_too`: in grouped convolutions as well what reads the channels that go. */
static inline cut cut_at_random(lg_graph *graph, uint64_t seed, int columns_too)
{
    cut made = { .graph = graph };

    assert_ok(lg_channels_analyze(&made.channels, graph, 1));
    made.keep = random_keep(made.channels, seed);
    for (int32_t u = 0; u < lg_channels_n_units(made.channels); u++)
        made.n_removed += !made.keep[u];
    zero_removed(graph, made.channels, made.keep);
    if (columns_too)
        zero_grouped_columns(graph, made.channels, made.keep);
    if (lg_channels_apply(&made.pruned, made.channels, graph, made.keep) != LEGO_OK)
        fail_msg("seed %d: %s", (int)seed, lego_last_error());
    return made;
}

static inline void cut_dispose(cut *made)
{
    lg_free(made->keep);
    lg_graph_free(made->pruned);
    lg_channels_free(made->channels);
    lg_graph_free(made->graph);
}

/* Elements of a value's axis that stay. */
static inline int64_t cut_kept(const cut *made, int32_t value, int axis)
{
    return lg_channels_kept(&(lg_channels_keep){ made->channels, made->keep }, LG_VALUE_AXIS(value, axis), NULL);
}

/* Every axis of every value is as long as what stays of it. */
static inline void assert_cut_shapes(const cut *made, uint64_t seed)
{
    for (int32_t v = 0; v < made->graph->n_values; v++)
        for (int axis = 1; axis < made->graph->values[v].shape.n_dims; axis++)
            if (made->pruned->values[v].shape.dims[axis] != cut_kept(made, v, axis))
                fail_msg("seed %d: axis %d of '%s' has %d elements, %d should stay", (int)seed, axis,
                         made->graph->values[v].name, (int)made->pruned->values[v].shape.dims[axis],
                         (int)cut_kept(made, v, axis));
}

#endif
