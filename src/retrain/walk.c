/* Takes a batch through the original model and, beside it, through a composition drawn for this batch.
 *
 * The original's path gives every block its targets. The composition's path gives it the inputs that it will meet in
 * use: what a random choice of the preceding blocks' variants, as they are now, makes of the same images. No gradient
 * crosses a block: boundary values carry no history. While the composition has drawn originals only, both paths are
 * one and nothing is computed twice.
 *
 * At a block its learners work at the same time, and the original goes on to the next block meanwhile: as many threads
 * as there are such tasks are busy, each with tensors of its own. */
#include "retrain/retrain.h"

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

/* --- the original's path --- */

/* Run the original from `from` up to the next block, that one included. */
static lego_status advance_original(lg_retrain *r, int32_t from)
{
    const lg_segments *segments = r->segments;
    lg_torch_tensor **inputs = NULL, **outputs = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&inputs, segments->n_slots));
    LG_TRY(LG_CALLOC(&outputs, segments->n_slots));
    for (int32_t s = from; s < r->n_segments; s++) {
        const lg_segment *segment = &segments->segments[s];
        lg_torch_net *net = segment->block == LG_NONE ? r->frame_nets[s] : r->originals[segment->block];

        gather(inputs, r->original, segment->n_inputs, segment->inputs);
        LG_TRY(lg_torch_net_forward(net, LG_TORCH_EVAL, inputs, outputs));
        for (int32_t i = 0; i < segment->n_outputs; i++)
            r->original[segment->outputs[i]] = outputs[i];
        if (segment->block != LG_NONE)
            break;
    }
done:
    lg_free(inputs);
    lg_free(outputs);
    return status;
}

/* --- the composition's path --- */

/* The pool takes `outputs`, or shares the original's where they are NULL. */
static lego_status store_composed(lg_retrain *r, const lg_segment *segment, lg_torch_tensor **outputs)
{
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < segment->n_outputs; i++) {
        const int32_t slot = segment->outputs[i];

        r->same[slot] = outputs[i] == NULL;
        r->composed[slot] = outputs[i];
        outputs[i] = NULL;
        if (r->same[slot])
            LG_TRY(LG_TORCH(r->api, tensor_share(&r->composed[slot], r->original[slot])));
    }
done:
    return status;
}

/* What happens at a block at the same time: each learner's work, and the original going on to the next block. */
typedef struct block_job {
    lg_retrain *r;
    int32_t segment, block;
    lg_torch_tensor **inputs;   /* of the composition */
    lg_target *targets;
    lg_torch_tensor **outputs;  /* of the composition */
    lg_torch_tensor **original; /* the original's outputs of the composition's inputs */
    lg_retrain_work work;
    void *payload;
} block_job;

static lego_status run_task(void *job, int32_t index)
{
    const block_job *j = job;
    lg_retrain *r = j->r;
    const int32_t first = r->first_learner[j->block], n = r->first_learner[j->block + 1] - first;

    /* The longest first, so that none is waited for: a learner's step is two to three times its forward. */
    const int32_t before = n < 2 ? n : 2;

    if (index == before)
        return advance_original(r, j->segment + 1);
    if (index == n + 1)
        return lg_torch_net_forward(r->originals[j->block], LG_TORCH_EVAL, j->inputs, j->original);
    index = first + index - (index > before);
    return j->work(r, &r->learners[index], j->inputs, j->targets, r->drawn[j->block] == index ? j->outputs : NULL,
                   j->payload);
}

static lego_status run_block(lg_retrain *r, int32_t s, lg_retrain_work work, void *payload)
{
    const lg_segment *segment = &r->segments->segments[s];
    const int32_t block = segment->block, n = r->first_learner[block + 1] - r->first_learner[block];
    block_job job = { .r = r, .segment = s, .block = block, .work = work, .payload = payload };
    int original_too;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&job.inputs, segment->n_inputs));
    LG_TRY(LG_CALLOC(&job.targets, segment->n_outputs));
    LG_TRY(LG_CALLOC(&job.outputs, segment->n_outputs));
    LG_TRY(LG_CALLOC(&job.original, segment->n_outputs));
    gather(job.inputs, r->composed, segment->n_inputs, segment->inputs);
    for (int32_t i = 0; i < segment->n_outputs; i++) {
        job.targets[i].value = r->original[segment->outputs[i]];
        LG_TRY(lg_retrain_project(&job.targets[i].projected, r, block, i, job.targets[i].value));
    }
    original_too = r->drawn[block] == LG_NONE && !all_same(r, segment);
    LG_TRY(lg_crew_run(r->crew, n + 1 + original_too, run_task, &job));
    /* A learner that was drawn may have failed in this very step: the original stands in for it. */
    if (r->drawn[block] != LG_NONE && !job.outputs[0] && !all_same(r, segment))
        LG_TRY(lg_torch_net_forward(r->originals[block], LG_TORCH_EVAL, job.inputs, job.original));
    LG_TRY(store_composed(r, segment, job.outputs[0] ? job.outputs : job.original));
done:
    for (int32_t i = 0; job.targets && i < segment->n_outputs; i++)
        lg_torch_free_all(r->api, &job.targets[i].projected, 1);
    lg_torch_free_all(r->api, job.outputs, segment->n_outputs);
    lg_torch_free_all(r->api, job.original, segment->n_outputs);
    lg_free(job.inputs);
    lg_free(job.targets);
    lg_free(job.outputs);
    lg_free(job.original);
    return status;
}

static lego_status run_frame(lg_retrain *r, int32_t s)
{
    const lg_segment *segment = &r->segments->segments[s];
    lg_torch_tensor **inputs = NULL, **outputs = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&inputs, segment->n_inputs));
    LG_TRY(LG_CALLOC(&outputs, segment->n_outputs));
    if (!all_same(r, segment)) {
        gather(inputs, r->composed, segment->n_inputs, segment->inputs);
        LG_TRY(lg_torch_net_forward(r->frame_nets[s], LG_TORCH_EVAL, inputs, outputs));
    }
    LG_TRY(store_composed(r, segment, outputs));
done:
    lg_torch_free_all(r->api, outputs, segment->n_outputs);
    lg_free(inputs);
    lg_free(outputs);
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

lego_status lg_retrain_walk(lg_retrain *r, uint64_t seed, int64_t n, const float *images, lg_retrain_work work,
                            void *payload)
{
    const lg_segments *segments = r->segments;
    const int32_t input = segments->inputs[0];
    lego_status status = LEGO_OK;

    draw(r, seed);
    LG_TRY(lg_torch_upload(&r->original[input], r->api, &segments->values[input], n, images, r->opts->device));
    LG_TRY(LG_TORCH(r->api, tensor_share(&r->composed[input], r->original[input])));
    r->same[input] = 1;
    LG_TRY(advance_original(r, 0));
    for (int32_t s = 0; s < r->n_segments; s++) {
        LG_TRY(segments->segments[s].block == LG_NONE ? run_frame(r, s) : run_block(r, s, work, payload));
        drop_slots(r, s);
    }
done:
    drop_slots(r, segments->n_segments);
    return status;
}
