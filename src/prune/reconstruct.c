/* Reconstruction: the variants of all blocks in closed form, from a few hundred unlabelled images, without libtorch
 * (DESIGN.md section 6, "Reconstruction"; measured in PERFORMANCE.md section 5).
 *
 * Flow: images -> Fisher matrices of the original -> the segments in topological order. Before a block, every stream
 * holds what reaches it in its environment; the block's variants are solved (reconstruct_environments.c), and the
 * streams go through the new variants on to the next segment. So a variant is fitted to what the variants before it really
 * make of an image, and to the original's output.
 *
 * Newcomers: sampled images and positions, drawn compositions and labels all come from the seed: the same call gives
 * the same variants. Frame nodes are never changed, since the original composition shares them. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/blas.h"
#include "base/rng.h"
#include "graph/ops.h"
#include "prune/reconstruct_block.h"

/* What counts is positions: 512 images of 32x32, fewer larger ones, more smaller ones. Twice as many as were needed for a
 * good mean (256) take a fifth off the divergence, for they differ more than more positions of the same ones do. */
#define POSITIONS (512 * 32 * 32)
#define MIN_IMAGES 64
#define MAX_IMAGES 1024
#define LEAST_IMAGES 8          /* a data set of fewer is refused */
#define N_MIXED 1               /* streams of drawn compositions */
#define MIXED_RUN 8             /* images in a row that are drawn the same variant */
#define MEMORY ((size_t)1 << 30)
#define ROWS_TO_SHARE 2048 /* matrices that pay for BLAS threads, which spin between calls */

static const lg_effort usual_effort = { .ridge = 1e-3, .rounds = 3, .rows_per_column = 24, .memory_bytes = MEMORY };

enum { STREAM_IMAGES = 1, STREAM_FISHER, STREAM_ROWS, STREAM_MIXED }; /* of random numbers */

typedef struct session {
    lego_context *context;
    lego_store *store;
    lg_prune_block *blocks;
    int32_t n_blocks;
    uint64_t seed;
    lg_buffer *images;
    int64_t n_images;
    double *sparsities;      /* rising, of any block */
    int32_t n_sparsities;
    lg_streams streams;
    lg_fisher fisher;
    lg_steps steps;
} session;

/* --- what to do --- */

static lego_status list_sparsities(session *s)
{
    int64_t most = 0;
    lego_status status = LEGO_OK;

    for (int32_t b = 0; b < s->n_blocks; b++) {
        most += s->blocks[b].n_variants;
        s->steps.total += lg_block_steps(&s->blocks[b]);
    }
    LG_TRY(LG_CALLOC(&s->sparsities, most));
    for (int32_t b = 0; b < s->n_blocks; b++)
        for (int32_t v = 0; v < s->blocks[b].n_variants; v++) {
            const double sparsity = s->blocks[b].variants[v].sparsity;
            int32_t at = s->n_sparsities;

            while (at > 0 && s->sparsities[at - 1] > sparsity)
                at--;
            if (at > 0 && s->sparsities[at - 1] == sparsity)
                continue;
            memmove(s->sparsities + at + 1, s->sparsities + at,
                    sizeof(*s->sparsities) * (size_t)(s->n_sparsities - at));
            s->sparsities[at] = sparsity;
            s->n_sparsities++;
        }
done:
    return status;
}

/* Bytes of boundary values that one image needs at the busiest segment, in all streams. */
static size_t stream_bytes(const session *s)
{
    const lg_segments *segments = &s->store->segments;
    size_t most = 1;

    for (int32_t i = 0; i < segments->n_segments; i++) {
        size_t live = 0;

        for (int32_t v = 0; v < segments->n_slots; v++)
            if (segments->values[v].producer <= i && segments->last_use[v] >= i)
                live += sizeof(float) * (size_t)lg_value_elements(&segments->values[v]);
        live *= (size_t)(1 + s->n_sparsities + N_MIXED);
        most = live > most ? live : most;
    }
    return most;
}

/* --- images --- */

static lego_status check_images(const session *s, lego_dataset *dataset, int64_t elements)
{
    const float *images = lg_buffer_data(s->images);

    for (int64_t i = 0; i < s->n_images * elements; i++)
        if (!isfinite(images[i]))
            return lg_error(LEGO_EINVAL, "%s: an image holds a NaN or an infinity", lego_dataset_name(dataset));
    return LEGO_OK;
}

static lego_status check_input(const session *s, lego_dataset *dataset, const int32_t shape[3])
{
    const lg_segments *segments = &s->store->segments;
    const lg_shape *input = &segments->values[segments->inputs[0]].shape;

    if (segments->n_inputs != 1)
        return lg_error(LEGO_EUNSUPPORTED, "reconstruction needs a model of one input, this one has %d",
                        segments->n_inputs);
    if (input->n_dims != 4 || input->dims[1] != shape[0] || input->dims[2] != shape[1] || input->dims[3] != shape[2]) {
        char text[128];

        return lg_error(LEGO_EINVAL, "%s has samples of (%d,%d,%d), the model takes %s", lego_dataset_name(dataset),
                        shape[0], shape[1], shape[2], lg_shape_format(text, input));
    }
    return LEGO_OK;
}

static int64_t images_wanted(const session *s, const int32_t shape[3], int64_t n_samples)
{
    int64_t n = POSITIONS / ((int64_t)shape[1] * shape[2]);
    const int64_t fit = (int64_t)(MEMORY / stream_bytes(s));

    n = n < MIN_IMAGES ? MIN_IMAGES : n > MAX_IMAGES ? MAX_IMAGES : n;
    n = n > fit ? fit : n;
    n = n < LEAST_IMAGES ? LEAST_IMAGES : n;
    return n < n_samples ? n : n_samples;
}

static lego_status read_images(session *s, lego_dataset *dataset)
{
    const int64_t n_samples = lego_dataset_n_samples(dataset);
    int64_t *order = NULL, elements = 1;
    int32_t shape[3];
    lg_rng rng;
    lego_status status = LEGO_OK;

    lego_dataset_sample_shape(dataset, shape);
    LG_TRY(check_input(s, dataset, shape));
    if (n_samples < LEAST_IMAGES)
        LG_FAIL(LEGO_EINVAL, "%s has %lld samples, reconstruction needs at least %d", lego_dataset_name(dataset),
                (long long)n_samples, LEAST_IMAGES);
    s->n_images = images_wanted(s, shape, n_samples);
    for (int i = 0; i < 3; i++)
        elements *= shape[i];
    LG_TRY(LG_CALLOC(&order, n_samples));
    for (int64_t i = 0; i < n_samples; i++)
        order[i] = i;
    lg_rng_init(&rng, s->seed, STREAM_IMAGES);
    lg_rng_shuffle(&rng, order, n_samples);
    LG_TRY(lg_buffer_create(&s->images, sizeof(float) * (size_t)(s->n_images * elements)));
    LG_TRY(lego_dataset_read(dataset, order, s->n_images, lg_buffer_data(s->images), NULL));
    LG_TRY(check_images(s, dataset, elements));
done:
    lg_free(order);
    return status;
}

/* --- how much errors matter --- */

/* Weights that one output channel of any layer has: the order of the matrices to be solved. */
static int64_t widest_layer(const lg_graph *graph)
{
    int64_t widest = 0;

    for (int32_t i = 0; i < graph->n_nodes; i++) {
        const lg_node *node = &graph->nodes[i];
        const int64_t rows = lg_op_is_compressible(node->op)
                                 ? lg_tensor_count(lg_node_weight(graph, node, 0)) / lg_layer_width(graph, node)
                                 : 0;

        if (rows > widest)
            widest = rows;
    }
    return widest;
}

/* `why` is the reason if there is no gradient, NULL otherwise: all outputs then matter alike. Free with lg_free. */
static lego_status weigh_outputs(session *s, char **why)
{
    int32_t *originals = NULL;
    lg_graph *model = NULL, *folded = NULL;
    lego_status status = LEGO_OK;

    *why = NULL;
    LG_TRY(LG_CALLOC(&originals, s->n_blocks));
    LG_TRY(lg_store_compose(&model, s->store, originals));
    if (widest_layer(model) >= ROWS_TO_SHARE)
        lg_blas_set_threads(lego_context_threads(s->context));
    LG_TRY(lg_fold_norms(&folded, model));
    status = lg_fisher_create(&s->fisher, s->context, folded, lg_buffer_data(s->images), s->n_images,
                              s->seed + STREAM_FISHER);
    if (status == LEGO_EUNSUPPORTED)
        status = lg_strdup_into(why, lego_last_error());
done:
    lg_graph_free(model);
    lg_graph_free(folded);
    lg_free(originals);
    return status;
}

static lego_status report(const session *s, lg_json *info, const char *why)
{
    lg_json *object = NULL;
    lego_status status = LEGO_OK;

    if (why)
        lg_log(s->context, LEGO_LOG_INFO, "reconstruct", "errors of all outputs count alike: %s", why);
    LG_TRY(lg_json_set_object(&object, info, "reconstruction"));
    LG_TRY(lg_json_set_int(object, "images", s->n_images));
    LG_TRY(lg_json_set_int(object, "streams", s->streams.n));
    LG_TRY(lg_json_set_string(object, "output_weights", why ? "equal" : "fisher"));
    LG_TRY(lg_json_set_double(object, "ridge", usual_effort.ridge));
    LG_TRY(lg_json_set_int(object, "activation_aware_rounds", usual_effort.rounds));
done:
    return status;
}

/* --- the walk --- */

static lego_status pass_frame(session *s, int32_t segment)
{
    const lg_graph *graph = s->store->segments.segments[segment].graph;
    const lg_stretch all = { 0, s->n_images, 0 };
    lego_status status = LEGO_OK;

    for (int32_t stream = 0; stream < s->streams.n; stream++)
        LG_TRY(lg_streams_run(&s->streams, stream, segment, &graph, 1, &all, 1));
done:
    return status;
}

/* A variant for every run of images, the original among them. */
static void draw_stretches(lg_stretch *stretches, const session *s, int32_t stream, int32_t block)
{
    lg_rng rng;

    lg_rng_init(&rng, s->seed + (uint64_t)block, STREAM_MIXED + (uint64_t)stream);
    for (int64_t first = 0, i = 0; first < s->n_images; first += MIXED_RUN, i++) {
        const int64_t left = s->n_images - first;

        stretches[i] = (lg_stretch){ first, left < MIXED_RUN ? left : MIXED_RUN,
                                     (int32_t)lg_rng_below(&rng, (uint64_t)s->blocks[block].n_variants + 1) };
    }
}

static lego_status pass_block(session *s, int32_t segment, int32_t b)
{
    const lg_prune_block *block = &s->blocks[b];
    const int32_t n_runs = (int32_t)((s->n_images + MIXED_RUN - 1) / MIXED_RUN);
    const lg_stretch all = { 0, s->n_images, 0 };
    const lg_graph **graphs = NULL; /* the original, then the variants */
    lg_stretch *stretches = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&graphs, block->n_variants + 1));
    LG_TRY(LG_CALLOC(&stretches, n_runs));
    graphs[0] = block->graph;
    for (int32_t v = 0; v < block->n_variants; v++)
        graphs[v + 1] = block->variants[v].graph;
    for (int32_t stream = 0; stream < s->streams.n; stream++) {
        const int32_t uniform = stream == 0                  ? 0
                                : stream <= s->n_sparsities ? 1 + lg_block_variant_at(block, s->sparsities[stream - 1])
                                                            : -1;

        if (uniform >= 0) {
            LG_TRY(lg_streams_run(&s->streams, stream, segment, &graphs[uniform], 1, &all, 1));
            continue;
        }
        draw_stretches(stretches, s, stream, b);
        LG_TRY(lg_streams_run(&s->streams, stream, segment, graphs, block->n_variants + 1, stretches, n_runs));
    }
done:
    lg_free(graphs);
    lg_free(stretches);
    return status;
}

static lego_status solve_block(session *s, int32_t segment, int32_t b)
{
    lg_block_task task = { s->context,   &s->streams, segment,  s->sparsities, s->n_sparsities,
                           usual_effort, &s->fisher,  &s->steps };

    task.effort.seed = s->seed + ((uint64_t)STREAM_ROWS << 32) + ((uint64_t)b << 16);
    return lg_block_reconstruct(&s->blocks[b], &task);
}

/* All segments up to the last block. */
static lego_status walk(session *s)
{
    const lg_segments *segments = &s->store->segments;
    int32_t n_left = s->n_blocks;
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < segments->n_segments && n_left > 0; i++) {
        const int32_t block = segments->segments[i].block;

        if (block == LG_NONE) {
            LG_TRY(pass_frame(s, i));
        } else {
            LG_TRY(solve_block(s, i, block));
            if (--n_left > 0)
                LG_TRY(pass_block(s, i, block));
        }
        lg_streams_release(&s->streams, i);
    }
done:
    return status;
}

lego_status lg_reconstruct(lego_context *context, lego_store *store, lg_prune_block *blocks, int32_t n_blocks,
                           lego_dataset *dataset, uint64_t seed, lg_json *info)
{
    session s = { .context = context, .store = store, .blocks = blocks, .n_blocks = n_blocks, .seed = seed };
    char *why = NULL;
    lego_status status = LEGO_OK;

    lg_blas_set_threads(1);
    LG_TRY(list_sparsities(&s));
    LG_TRY(read_images(&s, dataset));
    LG_TRY(weigh_outputs(&s, &why));
    LG_TRY(lg_streams_create(&s.streams, context, &store->segments, s.images, s.n_images,
                             1 + s.n_sparsities + N_MIXED));
    LG_TRY(report(&s, info, why));
    LG_TRY(walk(&s));
done:
    if (status != LEGO_OK)
        for (int32_t b = 0; b < n_blocks; b++)
            for (int32_t v = 0; v < blocks[b].n_variants; v++) {
                lg_graph_free(blocks[b].variants[v].graph);
                blocks[b].variants[v].graph = NULL;
            }
    lg_streams_dispose(&s.streams);
    lg_fisher_dispose(&s.fisher);
    lg_free(why);
    lg_buffer_unref(s.images);
    lg_free(s.sparsities);
    return status;
}
