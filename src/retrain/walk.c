/* Takes a batch through the original model and, beside it, through a composition drawn for this batch.
 *
 * The original's path gives every block its targets. The composition's path gives it the inputs that it will meet in
 * use: what a random choice of the preceding blocks' variants, as they are now, makes of the same images. No gradient
 * crosses a block: boundary values carry no history. While the composition has drawn originals only, both paths are
 * one and nothing is computed twice. */
#include "retrain/retrain.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"

#define COMPOSITION_STREAM 0x636f6d706f7365ull

static void draw(lg_retrain *r, uint64_t seed)
{
    lg_rng rng;

    lg_rng_init(&rng, lego_context_seed(r->context) ^ seed, COMPOSITION_STREAM);
    for (int32_t b = 0; b < r->store->n_blocks; b++) {
        const int32_t first = r->first_learner[b], n = r->first_learner[b + 1] - first;
        const int32_t pick = (int32_t)lg_rng_below(&rng, (uint64_t)n + 1);

        r->drawn[b] = LG_NONE;
        if (r->opts->inputs == LEGO_RETRAIN_COMPOSITION && pick < n &&
            r->learners[first + pick].state != LG_LEARNER_FAILED)
            r->drawn[b] = first + pick;
    }
}

/* Handles of slots, in the order of a graph's inputs; borrowed. */
static void gather(lg_torch_tensor **out, lg_torch_tensor *const *pool, int32_t n, const int32_t *slots)
{
    for (int32_t i = 0; i < n; i++)
        out[i] = pool[slots[i]];
}

static int all_same(const lg_retrain *r, const lg_segment *segment)
{
    for (int32_t i = 0; i < segment->n_inputs; i++)
        if (!r->same[segment->inputs[i]])
            return 0;
    return 1;
}

/* The pools take `original` and, where it differs, `composed`; both arrays are emptied. */
static lego_status store_outputs(lg_retrain *r, const lg_segment *segment, lg_torch_tensor **original,
                                 lg_torch_tensor **composed)
{
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < segment->n_outputs; i++) {
        const int32_t slot = segment->outputs[i];

        r->original[slot] = original[i];
        original[i] = NULL;
        r->same[slot] = composed[i] == NULL;
        r->composed[slot] = composed[i];
        composed[i] = NULL;
        if (r->same[slot])
            LG_TRY(LG_TORCH(r->api, tensor_share(&r->composed[slot], r->original[slot])));
    }
done:
    return status;
}

static lego_status run_frame(lg_retrain *r, int32_t s, lg_torch_tensor **inputs, lg_torch_tensor **original,
                             lg_torch_tensor **composed)
{
    const lg_segment *segment = &r->segments->segments[s];
    lego_status status = LEGO_OK;

    gather(inputs, r->original, segment->n_inputs, segment->inputs);
    LG_TRY(lg_torch_net_forward(r->frame_nets[s], LG_TORCH_EVAL, inputs, original));
    if (!all_same(r, segment)) {
        gather(inputs, r->composed, segment->n_inputs, segment->inputs);
        LG_TRY(lg_torch_net_forward(r->frame_nets[s], LG_TORCH_EVAL, inputs, composed));
    }
done:
    return status;
}

static lego_status run_block(lg_retrain *r, int32_t s, lg_torch_tensor **inputs, lg_torch_tensor **original,
                             lg_torch_tensor **composed, lg_retrain_visit visit, void *payload)
{
    const lg_segment *segment = &r->segments->segments[s];
    const int32_t block = segment->block;
    lego_status status = LEGO_OK;

    gather(inputs, r->original, segment->n_inputs, segment->inputs);
    LG_TRY(lg_torch_net_forward(r->originals[block], LG_TORCH_EVAL, inputs, original));
    gather(inputs, r->composed, segment->n_inputs, segment->inputs);
    LG_TRY(visit(r, block, inputs, original, composed, payload));
    if (segment->n_outputs == 0 || composed[0])
        goto done;
    /* The visit may have taken the drawn learner out: then the original stands in for it. */
    if (r->drawn[block] != LG_NONE && r->learners[r->drawn[block]].state != LG_LEARNER_FAILED)
        LG_TRY(lg_torch_net_forward(r->learners[r->drawn[block]].net, LG_TORCH_EVAL, inputs, composed));
    else if (!all_same(r, segment))
        LG_TRY(lg_torch_net_forward(r->originals[block], LG_TORCH_EVAL, inputs, composed));
done:
    return status;
}

static void drop_slots(lg_retrain *r, int32_t after_segment)
{
    for (int32_t slot = 0; slot < r->segments->n_slots; slot++)
        if (r->segments->last_use[slot] <= after_segment) {
            lg_torch_free_all(r->api, &r->original[slot], 1);
            lg_torch_free_all(r->api, &r->composed[slot], 1);
        }
}

static int32_t widest(const lg_segments *segments)
{
    int32_t n = 1;

    for (int32_t s = 0; s < segments->n_segments; s++) {
        n = segments->segments[s].n_inputs > n ? segments->segments[s].n_inputs : n;
        n = segments->segments[s].n_outputs > n ? segments->segments[s].n_outputs : n;
    }
    return n;
}

lego_status lg_retrain_walk(lg_retrain *r, uint64_t seed, int64_t n, const float *images, lg_retrain_visit visit,
                            void *payload)
{
    const lg_segments *segments = r->segments;
    const int32_t width = widest(segments), input = segments->inputs[0];
    lg_torch_tensor **inputs = NULL, **original = NULL, **composed = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&inputs, width));
    LG_TRY(LG_CALLOC(&original, width));
    LG_TRY(LG_CALLOC(&composed, width));
    draw(r, seed);
    LG_TRY(lg_torch_upload(&r->original[input], r->api, &segments->values[input], n, images, r->opts->device));
    LG_TRY(LG_TORCH(r->api, tensor_share(&r->composed[input], r->original[input])));
    r->same[input] = 1;
    for (int32_t s = 0; s < r->n_segments; s++) {
        LG_TRY(segments->segments[s].block == LG_NONE
                   ? run_frame(r, s, inputs, original, composed)
                   : run_block(r, s, inputs, original, composed, visit, payload));
        LG_TRY(store_outputs(r, &segments->segments[s], original, composed));
        drop_slots(r, s);
    }
done:
    lg_torch_free_all(r->api, original, width);
    lg_torch_free_all(r->api, composed, width);
    drop_slots(r, segments->n_segments);
    lg_free(inputs);
    lg_free(original);
    lg_free(composed);
    return status;
}
