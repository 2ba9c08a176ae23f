/* The environments' activations, advanced segment by segment through the model.
 *
 * Stream 0 is the original. Every other stream is a composition: all blocks at one sparsity, or, a *mixed* stream, one
 * variant drawn for every block and run of images, the original among them. All have the same images. A stream keeps
 * the boundary values that later segments read; what two streams have in common they share. */
#ifndef LG_PRUNE_RECONSTRUCT_STREAMS_H
#define LG_PRUNE_RECONSTRUCT_STREAMS_H

#include "store/store.h"

typedef struct lg_streams {
    lego_context *context;
    const lg_segments *segments; /* borrowed */
    int64_t n_images;
    int32_t n;
    lg_buffer **slots; /* [n][segments->n_slots]: n_images of the boundary value; NULL where nobody needs it (yet) */
    const lg_graph **ran; /* [n]: the graph that all images of the stream last went through; NULL: several */
} lg_streams;

/* `images`: n_images of the model's one input. */
lego_status lg_streams_create(lg_streams *out, lego_context *context, const lg_segments *segments,
                              lg_buffer *images, int64_t n_images, int32_t n_streams);
void lg_streams_dispose(lg_streams *streams);
/* Input `i` of a segment in a stream: n_images of it. Streams whose inputs are the same storage are the same. */
const float *lg_streams_input(const lg_streams *streams, int32_t stream, int32_t segment, int32_t i);

/* Which graph makes the outputs of the images first .. first+count-1 in a stream: an index into `graphs`. */
typedef struct lg_stretch {
    int64_t first, count;
    int32_t graph;
} lg_stretch;

/* Run a segment in one stream: stretches cover all images. A stream that has the same inputs and one graph for all
 * images as an earlier one, which has run already, shares its outputs. */
lego_status lg_streams_run(lg_streams *streams, int32_t stream, int32_t segment, const lg_graph *const *graphs,
                           int32_t n_graphs, const lg_stretch *stretches, int32_t n_stretches);
/* Let go of the boundary values that no segment after this one reads. */
void lg_streams_release(lg_streams *streams, int32_t segment);

#endif
