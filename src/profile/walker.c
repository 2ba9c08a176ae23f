/* One thread's walk: for each chunk of images all compositions in lexicographic order, each made from the one before.
 *
 * Flow: tree.c prepares plans and order and starts one walker a thread; walkers take chunks and add up what they find. The frame
 * cut at its blocks (store->segments) writes every boundary value into a slot of its own. Neighbours in the order agree on
 * the first blocks, so only what lies behind the changed blocks is run again: all other slots still hold what they must.
 *
 * What newcomers get wrong: a slot is valid as long as its segment and everything before it would compute the same again,
 * which is not the same as "before the changed block": segments beside it (a shortcut in the frame) stay valid too, hence
 * the `changed` flag per slot. And sums are added up in the order of the chunks, whichever thread is faster: results do not
 * depend on the number of threads. A walker waits only for chunks taken before its own, so nobody waits in a circle. */
#include "profile/walker.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

static size_t slot_elements(const lg_walk *walk, int32_t slot, int64_t n)
{
    return (size_t)n * (size_t)lg_value_elements(&walk->segments->values[slot]);
}

/* Which slots must be remembered of the original: blocks' outputs and the model's. */
static void mark_kept(const lg_walk *walk, uint8_t *kept)
{
    const lg_segments *segments = walk->segments;

    for (int32_t s = 0; s < segments->n_segments; s++)
        for (int32_t i = 0; segments->segments[s].block != LG_NONE && i < segments->segments[s].n_outputs; i++)
            kept[segments->segments[s].outputs[i]] = 1;
    for (int32_t i = 0; i < segments->n_outputs; i++)
        kept[segments->outputs[i]] = 1;
}

static lego_status make_slots(lg_walker *walker, const uint8_t *kept)
{
    const lg_walk *walk = walker->walk;

    for (int32_t i = 0; i < walk->segments->n_slots; i++) {
        size_t bytes = slot_elements(walk, i, walk->batch) * sizeof(float);

        walker->pool[i] = lg_alloc_aligned(bytes);
        if (kept[i])
            walker->original[i] = lg_alloc_aligned(bytes);
        if (!walker->pool[i] || (kept[i] && !walker->original[i]))
            return lg_error(LEGO_ENOMEM, "out of memory for boundary values of %lld images", (long long)walk->batch);
        memset(walker->pool[i], 0, bytes);
    }
    return LEGO_OK;
}

lego_status lg_walker_init(lg_walker *walker, lg_walk *walk)
{
    size_t n_slots = (size_t)walk->segments->n_slots;
    uint8_t *kept = NULL;
    lego_status status = LEGO_OK;

    walker->walk = walk;
    LG_TRY(LG_CALLOC(&walker->plans, (size_t)walk->segments->n_segments * (size_t)walk->max_variants));
    LG_TRY(LG_CALLOC(&walker->pool, n_slots));
    LG_TRY(LG_CALLOC(&walker->original, n_slots));
    LG_TRY(LG_CALLOC(&walker->changed, n_slots));
    LG_TRY(LG_CALLOC(&walker->current, walk->store->n_blocks));
    LG_TRY(LG_CALLOC(&walker->accuracies, walk->batch));
    LG_TRY(LG_CALLOC(&walker->divergences, walk->batch));
    LG_TRY(LG_CALLOC(&walker->labels, walk->batch));
    LG_TRY(lg_calloc_into((void **)&walker->arguments, n_slots, sizeof(*walker->arguments)));
    LG_TRY(LG_CALLOC(&walker->results, n_slots));
    LG_TRY(lg_calloc_into((void **)&walker->outputs, (size_t)walk->n_outputs, sizeof(*walker->outputs)));
    LG_TRY(lg_calloc_into((void **)&walker->outputs_before, (size_t)walk->n_outputs,
                          sizeof(*walker->outputs_before)));
    LG_TRY(LG_CALLOC(&kept, n_slots));
    mark_kept(walk, kept);
    LG_TRY(make_slots(walker, kept));
done:
    lg_free(kept);
    return status;
}

static void free_slots(float **slots, int32_t n)
{
    if (slots)
        for (int32_t i = 0; i < n; i++)
            lg_free_aligned(slots[i]);
    lg_free(slots);
}

void lg_walker_dispose(lg_walker *walker)
{
    const lg_walk *walk = walker->walk;

    if (walker->plans)
        for (int32_t i = 0; i < walk->segments->n_segments * walk->max_variants; i++)
            lg_plan_free(walker->plans[i]);
    lg_free(walker->plans);
    if (walk) {
        free_slots(walker->pool, walk->segments->n_slots);
        free_slots(walker->original, walk->segments->n_slots);
    }
    lg_free(walker->changed);
    lg_free(walker->current);
    lg_free(walker->accuracies);
    lg_free(walker->divergences);
    lg_free(walker->labels);
    lg_free((void *)walker->arguments);
    lg_free(walker->results);
    lg_free((void *)walker->outputs);
    lg_free((void *)walker->outputs_before);
    *walker = (lg_walker){ .walk = NULL };
}

int32_t lg_walk_single_block(const lg_walk *walk, int32_t composition)
{
    const int32_t *selection = lg_walk_selection(walk, composition);
    int32_t found = LG_NONE;

    for (int32_t b = 0; b < walk->store->n_blocks; b++)
        if (selection[b] != 0) {
            if (found != LG_NONE)
                return LG_NONE;
            found = b;
        }
    return found;
}

/* --- running --- */

/* The first n images of the chunk, rounded up to whole runs of the plan. */
static lego_status run_segment(lg_walker *walker, int32_t s, int32_t variant, int64_t n)
{
    const lg_walk *walk = walker->walk;
    const lg_segment *segment = &walk->segments->segments[s];
    size_t index = lg_walk_plan(walk, s, variant);
    lego_status status = LEGO_OK;

    for (int64_t first = 0; first < n; first += walk->plan_batch[s]) {
        for (int32_t i = 0; i < segment->n_inputs; i++)
            walker->arguments[i] = walker->pool[segment->inputs[i]] + slot_elements(walk, segment->inputs[i], first);
        for (int32_t i = 0; i < segment->n_outputs; i++)
            walker->results[i] = walker->pool[segment->outputs[i]] + slot_elements(walk, segment->outputs[i], first);
        LG_TRY(lg_plan_run(walker->plans[index], walker->arguments, walker->results));
    }
    walker->flops_done += (double)walk->flops[index] * (double)n;
done:
    return status;
}

/* Squared error of a block's outputs against the original's. */
static void measure_block_error(lg_walker *walker, const lg_segment *segment, int64_t n)
{
    for (int32_t i = 0; i < segment->n_outputs; i++) {
        int32_t slot = segment->outputs[i];
        size_t count = slot_elements(walker->walk, slot, n);
        const float *now = walker->pool[slot], *before = walker->original[slot];

        for (size_t k = 0; k < count; k++) {
            double difference = (double)now[k] - (double)before[k];

            walker->error += difference * difference;
            walker->norm += (double)before[k] * (double)before[k];
        }
    }
}

/* Bring the pool from `current` to a composition. */
static lego_status run_composition(lg_walker *walker, int32_t composition, int64_t n)
{
    const lg_walk *walk = walker->walk;
    const int32_t *selection = lg_walk_selection(walk, composition);
    int32_t single = lg_walk_single_block(walk, composition);
    lego_status status = LEGO_OK;

    walker->error = walker->norm = 0.0;
    memset(walker->changed, 0, (size_t)walk->segments->n_slots);
    for (int32_t s = 0; s < walk->segments->n_segments; s++) {
        const lg_segment *segment = &walk->segments->segments[s];
        int32_t variant = segment->block == LG_NONE ? 0 : selection[segment->block];
        int stale = walker->current[0] < 0 || (segment->block != LG_NONE && walker->current[segment->block] != variant);

        for (int32_t i = 0; i < segment->n_inputs; i++)
            stale |= walker->changed[segment->inputs[i]];
        if (stale) {
            LG_TRY(run_segment(walker, s, variant, n));
            for (int32_t i = 0; i < segment->n_outputs; i++)
                walker->changed[segment->outputs[i]] = 1;
        }
        if (segment->block != LG_NONE && segment->block == single)
            measure_block_error(walker, segment, n);
    }
    memcpy(walker->current, selection, (size_t)walk->store->n_blocks * sizeof(*selection));
done:
    return status;
}

static void keep_original(lg_walker *walker)
{
    for (int32_t i = 0; i < walker->walk->segments->n_slots; i++)
        if (walker->original[i])
            memcpy(walker->original[i], walker->pool[i],
                   slot_elements(walker->walk, i, walker->walk->batch) * sizeof(float));
}

/* --- adding up --- */

/* Wait until all earlier chunks of a composition were added up; the mutex is held. */
static lego_status wait_for_turn(lg_walk *walk, int32_t composition, int64_t chunk)
{
    while (!walk->stop && walk->scored[composition] < chunk)
        (void)pthread_cond_wait(&walk->changed, &walk->mutex);
    return walk->stop ? LEGO_ECANCELED : LEGO_OK;
}

static lego_status add_up(lg_walker *walker, int32_t composition, int64_t chunk, const lego_task_batch *batch)
{
    lg_walk *walk = walker->walk;
    lg_tree *out = walk->out;
    lego_status status;

    (void)pthread_mutex_lock(&walk->mutex);
    LG_TRY(wait_for_turn(walk, composition, chunk));
    LG_TRY(walk->task->score_add(walk->scores[composition], walk->task, batch));
    walk->error[composition] += walker->error;
    walk->norm[composition] += walker->norm;
    for (int64_t i = 0; i < batch->n; i++) {
        if (out->samples)
            out->samples[(size_t)composition * (size_t)out->n_samples + (size_t)(chunk * walk->batch + i)] =
                (float)walker->accuracies[i];
        if (out->divergence)
            out->divergence[composition] += walker->divergences[i];
    }
    walk->scored[composition]++;
    walk->n_done++;
    (void)pthread_cond_broadcast(&walk->changed);
done:
    (void)pthread_mutex_unlock(&walk->mutex);
    return status;
}

static lego_status score(lg_walker *walker, int32_t composition, int64_t chunk, int64_t n)
{
    const lg_walk *walk = walker->walk;
    lego_task_batch batch = { sizeof(batch), n, walk->n_outputs, walk->dataset->source.n_classes, walker->outputs,
                              walk->elements, walker->labels };
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < walk->n_outputs; i++) {
        walker->outputs[i] = walker->pool[walk->segments->outputs[i]];
        walker->outputs_before[i] = walker->original[walk->segments->outputs[i]];
    }
    if (walk->out->samples)
        LG_TRY(walk->task->sample_accuracy(walker->accuracies, walk->task, &batch));
    if (walk->out->divergence)
        LG_TRY(walk->task->divergence(walker->divergences, walk->task, &batch, walker->outputs_before));
    LG_TRY(add_up(walker, composition, chunk, &batch));
done:
    return status;
}

/* --- chunks --- */

/* The next chunk's images go into the pool; n 0: there is none. */
static lego_status take_chunk(lg_walker *walker, int64_t *chunk, int64_t *n)
{
    lg_walk *walk = walker->walk;
    int32_t input = walk->segments->inputs[0];
    const float *images = NULL;
    const int64_t *labels = NULL;
    lego_status status = LEGO_OK;

    *n = 0;
    (void)pthread_mutex_lock(&walk->mutex);
    if (walk->stop)
        goto done;
    LG_TRY(lego_batches_next(walk->batches, n, &images, &labels));
    *chunk = walk->next_chunk++;
    if (*n > 0) { /* behind a last, smaller chunk are leftovers, which nobody counts */
        memcpy(walker->pool[input], images, slot_elements(walk, input, *n) * sizeof(float));
        memcpy(walker->labels, labels, (size_t)*n * sizeof(*labels));
    }
done:
    (void)pthread_mutex_unlock(&walk->mutex);
    return status;
}

/* The first walker runs on the caller's thread: only there may the application's callback be called. */
static lego_status report(const lg_walker *walker)
{
    lg_walk *walk = walker->walk;
    size_t n_chunks = (size_t)((walk->dataset->n + walk->batch - 1) / walk->batch), n_done;

    if (!walker->is_first)
        return LEGO_OK;
    (void)pthread_mutex_lock(&walk->mutex);
    n_done = walk->n_done;
    (void)pthread_mutex_unlock(&walk->mutex);
    return lg_progress(walk->context, "profile", n_done, n_chunks * (size_t)walk->n);
}

static lego_status run_chunk(lg_walker *walker, int64_t chunk, int64_t n)
{
    const lg_walk *walk = walker->walk;
    lego_status status = LEGO_OK;

    for (int32_t b = 0; b < walk->store->n_blocks; b++)
        walker->current[b] = -1;
    for (int32_t k = 0; k < walk->n; k++) {
        LG_TRY(report(walker));
        LG_TRY(run_composition(walker, walk->order[k], n));
        if (k == 0)
            keep_original(walker);
        LG_TRY(score(walker, walk->order[k], chunk, n));
    }
done:
    return status;
}

/* Messages are per thread: the first failure's is kept for the caller; the others stop. */
static void finish(lg_walker *walker, lego_status status)
{
    lg_walk *walk = walker->walk;

    (void)pthread_mutex_lock(&walk->mutex);
    walk->flops_done += walker->flops_done;
    if (status != LEGO_OK && !walk->stop) {
        walk->stop = 1;
        walk->status = status;
        (void)snprintf(walk->message, sizeof(walk->message), "%s", lego_last_error());
    }
    (void)pthread_cond_broadcast(&walk->changed);
    (void)pthread_mutex_unlock(&walk->mutex);
}

void lg_walker_run(lg_walker *walker)
{
    int64_t chunk = 0, n = 0;
    lego_status status = LEGO_OK;

    do {
        LG_TRY(take_chunk(walker, &chunk, &n));
        if (n > 0)
            LG_TRY(run_chunk(walker, chunk, n));
    } while (n > 0);
done:
    finish(walker, status);
}
