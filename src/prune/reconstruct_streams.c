/* Streams of activations: every environment's boundary values at the segment that is being reconstructed.
 *
 * Flow: reconstruct.c walks the segments; frame segments and, once a block's variants are made, the block run here in
 * every stream, and the next block finds its inputs.
 *
 * Newcomers: before the first block all streams are one and the same storage (reference counted), so the frame's stem
 * runs once and the first block sees a single environment. */
#include "prune/reconstruct_streams.h"

#include <string.h>

#include "base/alloc.h"
#include "prune/reconstruct_graph.h"

static lg_buffer **slot_at(const lg_streams *streams, int32_t stream, int32_t slot)
{
    return &streams->slots[(int64_t)stream * streams->segments->n_slots + slot];
}

lego_status lg_streams_create(lg_streams *out, lego_context *context, const lg_segments *segments,
                              lg_buffer *images, int64_t n_images, int32_t n_streams)
{
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    out->context = context;
    out->segments = segments;
    out->n_images = n_images;
    LG_TRY(LG_CALLOC(&out->slots, (int64_t)n_streams * segments->n_slots));
    LG_TRY(LG_CALLOC(&out->ran, n_streams));
    out->n = n_streams;
    for (int32_t s = 0; s < n_streams; s++)
        *slot_at(out, s, segments->inputs[0]) = lg_buffer_ref(images);
done:
    return status;
}

void lg_streams_dispose(lg_streams *streams)
{
    for (int32_t i = 0; streams->slots && i < streams->n * streams->segments->n_slots; i++)
        lg_buffer_unref(streams->slots[i]);
    lg_free(streams->slots);
    lg_free(streams->ran);
    memset(streams, 0, sizeof(*streams));
}

const float *lg_streams_input(const lg_streams *streams, int32_t stream, int32_t segment, int32_t i)
{
    return lg_buffer_data(*slot_at(streams, stream, streams->segments->segments[segment].inputs[i]));
}

/* An earlier stream that has run this segment on the same inputs through the same graph; LG_NONE. */
static int32_t find_twin(const lg_streams *streams, int32_t stream, const lg_segment *segment, const lg_graph *graph)
{
    for (int32_t s = 0; s < stream; s++) {
        int same = *slot_at(streams, s, segment->outputs[0]) != NULL && streams->ran[s] == graph;

        for (int32_t i = 0; i < segment->n_inputs; i++)
            same &= *slot_at(streams, s, segment->inputs[i]) == *slot_at(streams, stream, segment->inputs[i]);
        if (same)
            return s;
    }
    return LG_NONE;
}

typedef struct slot_sink {
    float **to;             /* where the stretch's first image goes, by output */
    const int64_t *elements;
    int32_t n_outputs;
} slot_sink;

static lego_status store_outputs(void *payload, float *const *outputs, int64_t first, int64_t count)
{
    const slot_sink *sink = payload;

    for (int32_t i = 0; i < sink->n_outputs; i++)
        memcpy(sink->to[i] + first * sink->elements[i], outputs[i],
               sizeof(float) * (size_t)(count * sink->elements[i]));
    return LEGO_OK;
}

/* The stretches that one graph makes. */
static lego_status run_graph(lg_streams *streams, int32_t stream, const lg_segment *segment, const lg_graph *graph,
                             int32_t index, const lg_stretch *stretches, int32_t n_stretches)
{
    const float **inputs = NULL;
    float **to = NULL;
    int64_t *elements = NULL, longest = 0;
    lg_runner *runner = NULL;
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < n_stretches; i++)
        if (stretches[i].graph == index && stretches[i].count > longest)
            longest = stretches[i].count;
    if (longest == 0)
        return LEGO_OK;
    LG_TRY(LG_CALLOC(&inputs, segment->n_inputs));
    LG_TRY(LG_CALLOC(&to, segment->n_outputs));
    LG_TRY(LG_CALLOC(&elements, segment->n_outputs));
    LG_TRY(lg_runner_create(&runner, streams->context, graph, longest));
    for (int32_t i = 0; i < n_stretches; i++) {
        if (stretches[i].graph != index)
            continue;
        for (int32_t j = 0; j < segment->n_inputs; j++)
            inputs[j] = (const float *)lg_buffer_data(*slot_at(streams, stream, segment->inputs[j])) +
                        stretches[i].first * lg_value_elements(&streams->segments->values[segment->inputs[j]]);
        for (int32_t j = 0; j < segment->n_outputs; j++) {
            elements[j] = lg_value_elements(&streams->segments->values[segment->outputs[j]]);
            to[j] = (float *)lg_buffer_data(*slot_at(streams, stream, segment->outputs[j])) +
                    stretches[i].first * elements[j];
        }
        LG_TRY(lg_runner_run(runner, inputs, stretches[i].count, store_outputs,
                             &(slot_sink){ to, elements, segment->n_outputs }));
    }
done:
    lg_runner_free(runner);
    lg_free(inputs);
    lg_free(to);
    lg_free(elements);
    return status;
}

lego_status lg_streams_run(lg_streams *streams, int32_t stream, int32_t segment, const lg_graph *const *graphs,
                           int32_t n_graphs, const lg_stretch *stretches, int32_t n_stretches)
{
    const lg_segment *seg = &streams->segments->segments[segment];
    const int32_t twin = n_graphs == 1 ? find_twin(streams, stream, seg, graphs[0]) : LG_NONE;
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < seg->n_outputs; i++) {
        lg_buffer **slot = slot_at(streams, stream, seg->outputs[i]);
        const size_t bytes = sizeof(float) * (size_t)streams->n_images *
                             (size_t)lg_value_elements(&streams->segments->values[seg->outputs[i]]);

        if (twin != LG_NONE)
            *slot = lg_buffer_ref(*slot_at(streams, twin, seg->outputs[i]));
        else
            LG_TRY(lg_buffer_create(slot, bytes));
    }
    for (int32_t g = 0; g < n_graphs && twin == LG_NONE; g++)
        LG_TRY(run_graph(streams, stream, seg, graphs[g], g, stretches, n_stretches));
    streams->ran[stream] = n_graphs == 1 ? graphs[0] : NULL;
done:
    return status;
}

void lg_streams_release(lg_streams *streams, int32_t segment)
{
    for (int32_t i = 0; i < streams->segments->n_slots; i++) {
        if (streams->segments->last_use[i] > segment)
            continue;
        for (int32_t s = 0; s < streams->n; s++) {
            lg_buffer_unref(*slot_at(streams, s, i));
            *slot_at(streams, s, i) = NULL;
        }
    }
}
