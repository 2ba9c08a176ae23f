/* frame + selection -> a graph that runs: the segments inlined one after another, each block's with the variant chosen.
 *
 * Weights stay where they are (mapped files, shared by all compositions); only nodes and values are copied. */
#include "base/alloc.h"
#include "store/store.h"

static lego_status add_inputs(lg_graph *graph, const lg_segments *segments, int32_t *value_of)
{
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < segments->n_inputs; i++) {
        const lg_value *value = &segments->values[segments->inputs[i]];
        lg_shape shape = lg_shape_make(value->shape.n_dims - 1, value->shape.dims + 1); /* without the batch */

        LG_TRY(lg_graph_add_input(&value_of[segments->inputs[i]], graph, value->name, value->dtype, &shape));
    }
done:
    return status;
}

static lego_status add_segment(lg_graph *graph, const lg_segment *segment, const lg_graph *part, int32_t *value_of)
{
    int32_t *inputs = NULL, *outputs = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&inputs, segment->n_inputs));
    LG_TRY(LG_CALLOC(&outputs, segment->n_outputs));
    for (int32_t i = 0; i < segment->n_inputs; i++)
        inputs[i] = value_of[segment->inputs[i]];
    LG_TRY(lg_graph_inline(graph, part, inputs, outputs, segment->block));
    for (int32_t i = 0; i < segment->n_outputs; i++)
        value_of[segment->outputs[i]] = outputs[i];
done:
    lg_free(inputs);
    lg_free(outputs);
    return status;
}

lego_status lg_store_compose(lg_graph **out, lego_store *store, const int32_t *selection)
{
    const lg_segments *segments = &store->segments;
    lg_graph *graph = NULL;
    int32_t *value_of = NULL; /* by slot */
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(lg_graph_create(&graph, store->frame->name));
    LG_TRY(LG_CALLOC(&value_of, segments->n_slots));
    LG_TRY(add_inputs(graph, segments, value_of));
    for (int32_t s = 0; s < segments->n_segments; s++) {
        const lg_segment *segment = &segments->segments[s];
        const lg_graph *part = segment->graph;

        if (segment->block != LG_NONE)
            LG_TRY(lg_store_variant_graph(&part, store, segment->block, selection[segment->block]));
        LG_TRY(add_segment(graph, segment, part, value_of));
    }
    for (int32_t i = 0; i < segments->n_outputs; i++)
        LG_TRY(lg_graph_add_output(graph, value_of[segments->outputs[i]]));
    LG_TRY(lg_graph_validate(graph));
    *out = graph;
    graph = NULL;
done:
    lg_graph_free(graph);
    lg_free(value_of);
    return status;
}

lego_status lego_store_compose(lego_model **out, lego_store *store, const lego_selection *selection)
{
    lg_graph *graph = NULL;
    lego_status status = LEGO_OK;

    if (!out || !store || !selection)
        return lg_error(LEGO_EINVAL, "out, store and selection must not be NULL");
    *out = NULL;
    if (selection->n_blocks != store->n_blocks)
        return lg_error(LEGO_EINVAL, "the selection has %d blocks, the store has %d", selection->n_blocks,
                        store->n_blocks);
    LG_TRY(lg_store_compose(&graph, store, selection->variants));
    LG_TRY(lg_model_from_graph(out, graph));
    graph = NULL;
done:
    lg_graph_free(graph);
    return status;
}
