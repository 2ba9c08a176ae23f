/* Evaluating many compositions of one store on the same images, sharing what they have in common.
 *
 * Flow: server.c's list of selections -> accuracies, divergences, block errors. The frame cut at its blocks (store->segments)
 * writes every boundary value into a slot of its own. The selections are walked in lexicographic order, so that
 * neighbours agree on the first blocks; of the next one only what lies behind its changed blocks is run again, since
 * all other slots still hold what they must. A chunk of images goes through all compositions before the next chunk is
 * read.
 *
 * What newcomers get wrong: a slot is valid as long as its segment and everything before it would compute the same
 * again, which is not the same as "before the changed block": segments beside it (a shortcut in the frame) stay valid
 * too, hence the `changed` flag per slot. */
#include "profile/tree.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "engine/engine.h"

#define MIN_BATCH 4

typedef struct walker {
    lego_context *context;
    lego_store *store;
    const lg_segments *segments;
    lego_dataset *dataset;
    const lego_task *task;
    int32_t n_outputs;
    int64_t *elements;      /* floats a sample of the model's outputs */
    int64_t batch;          /* images of a chunk, a power of two */

    int32_t n;
    const int32_t *selections;
    int32_t *order;         /* composition indices, lexicographic */

    lg_packed_cache *cache;
    lg_plan **plans;        /* n_segments * max_variants; frame segments use the first */
    int32_t max_variants;
    int32_t *plan_batch;    /* by segment: how many of the chunk's images its plans run at a time */
    int64_t *flops;         /* of the same plans, one sample */

    float **pool;           /* n_slots: the composition that ran last */
    float **original;       /* n_slots: of all originals; NULL but for blocks' outputs and the model's */
    int32_t *current;       /* n_blocks: variants that made the pool; -1 at the start of a chunk */
    uint8_t *changed;       /* n_slots: rewritten for this composition */

    void **scores;          /* n */
    double *error, *norm;   /* n: squared error of the block that differs, square of its original */
    double *accuracies, *divergences; /* of a chunk's samples */
    const float **arguments; /* of a segment being run */
    float **results;
    double flops_done;
} walker;

static const int32_t *selection_of(const walker *w, int32_t i)
{
    return w->selections + (size_t)i * (size_t)w->store->n_blocks;
}

static void free_plans(walker *w)
{
    if (w->plans)
        for (int32_t i = 0; i < w->segments->n_segments * w->max_variants; i++) {
            lg_plan_free(w->plans[i]);
            w->plans[i] = NULL;
        }
}

static void free_slots(float **slots, int32_t n)
{
    if (slots)
        for (int32_t i = 0; i < n; i++) {
            lg_free_aligned(slots[i]);
            slots[i] = NULL;
        }
}

static void walker_dispose(walker *w)
{
    free_plans(w);
    lg_free(w->plans);
    lg_packed_cache_unref(w->cache);
    free_slots(w->pool, w->segments->n_slots);
    free_slots(w->original, w->segments->n_slots);
    lg_free(w->pool);
    lg_free(w->original);
    if (w->scores)
        for (int32_t i = 0; i < w->n; i++)
            if (w->scores[i])
                w->task->score_free(w->scores[i]);
    lg_free(w->scores);
    lg_free(w->elements);
    lg_free(w->order);
    lg_free(w->flops);
    lg_free(w->plan_batch);
    lg_free(w->current);
    lg_free(w->changed);
    lg_free(w->error);
    lg_free(w->norm);
    lg_free(w->accuracies);
    lg_free(w->divergences);
    lg_free((void *)w->arguments);
    lg_free(w->results);
}

/* --- the order --- */

static int compare_selections(const int32_t *a, const int32_t *b, int32_t n_blocks)
{
    for (int32_t i = 0; i < n_blocks; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}

/* Merge sort of composition indices: qsort has no place for the selections. */
static void sort_order(walker *w, int32_t *items, int32_t *scratch, int32_t n)
{
    int32_t half = n / 2, i = 0, j = half;

    if (n < 2)
        return;
    sort_order(w, items, scratch, half);
    sort_order(w, items + half, scratch, n - half);
    memcpy(scratch, items, (size_t)n * sizeof(*items));
    for (int32_t k = 0; k < n; k++) {
        int left = j == n || (i < half && compare_selections(selection_of(w, scratch[i]), selection_of(w, scratch[j]),
                                                             w->store->n_blocks) <= 0);

        items[k] = left ? scratch[i++] : scratch[j++];
    }
}

static lego_status make_order(walker *w)
{
    int32_t *scratch = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&w->order, w->n));
    LG_TRY(LG_CALLOC(&scratch, w->n));
    for (int32_t i = 0; i < w->n; i++)
        w->order[i] = i;
    sort_order(w, w->order, scratch, w->n);
done:
    lg_free(scratch);
    return status;
}

/* --- plans and slots --- */

static lego_status plan_one(walker *w, int32_t segment, int32_t variant, const lg_graph *graph, lego_engine engine)
{
    lg_plan_options options = LG_PLAN_OPTIONS_INIT;
    size_t index = (size_t)segment * (size_t)w->max_variants + (size_t)variant;

    options.engine = engine;
    options.batch = w->plan_batch[segment];
    options.cache = w->cache;
    w->flops[index] = lg_graph_flops(graph);
    return lg_plan_create(&w->plans[index], w->context, graph, &options);
}

/* Plans of every variant that some composition uses. */
static lego_status make_plans(walker *w, lego_engine engine)
{
    uint8_t *used = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&used, (size_t)w->store->n_blocks * (size_t)w->max_variants));
    for (int32_t i = 0; i < w->n; i++)
        for (int32_t b = 0; b < w->store->n_blocks; b++)
            used[b * w->max_variants + selection_of(w, i)[b]] = 1;
    for (int32_t s = 0; s < w->segments->n_segments; s++) {
        int32_t block = w->segments->segments[s].block;

        if (block == LG_NONE) {
            w->plan_batch[s] = lg_batch_for_cache(w->context, w->segments->segments[s].graph, (int32_t)w->batch);
            LG_TRY(plan_one(w, s, 0, w->segments->segments[s].graph, engine));
            continue;
        }
        for (int32_t v = 0; v < w->store->blocks[block].n_variants; v++) {
            const lg_graph *graph = NULL;

            if (!used[block * w->max_variants + v])
                continue;
            LG_TRY(lg_store_variant_graph(&graph, w->store, block, v));
            if (v == 0)
                w->plan_batch[s] = lg_batch_for_cache(w->context, graph, (int32_t)w->batch);
            LG_TRY(plan_one(w, s, v, graph, engine));
            lg_store_unload_variant(w->store, block, v);
        }
    }
done:
    lg_free(used);
    return status;
}

/* Which slots must be remembered of the original: blocks' outputs and the model's. */
static void mark_kept(const walker *w, uint8_t *kept)
{
    const lg_segments *segments = w->segments;

    for (int32_t s = 0; s < segments->n_segments; s++)
        for (int32_t i = 0; segments->segments[s].block != LG_NONE && i < segments->segments[s].n_outputs; i++)
            kept[segments->segments[s].outputs[i]] = 1;
    for (int32_t i = 0; i < segments->n_outputs; i++)
        kept[segments->outputs[i]] = 1;
}

static size_t slot_elements(const walker *w, int32_t slot)
{
    return (size_t)w->batch * (size_t)lg_value_elements(&w->segments->values[slot]);
}

static lego_status make_slots(walker *w, const uint8_t *kept)
{
    for (int32_t i = 0; i < w->segments->n_slots; i++) {
        size_t bytes = slot_elements(w, i) * sizeof(float);

        w->pool[i] = lg_alloc_aligned(bytes);
        if (kept[i])
            w->original[i] = lg_alloc_aligned(bytes);
        if (!w->pool[i] || (kept[i] && !w->original[i]))
            return lg_error(LEGO_ENOMEM, "out of memory for boundary values of %lld images", (long long)w->batch);
        memset(w->pool[i], 0, bytes);
    }
    return LEGO_OK;
}

static int64_t activation_bytes(const walker *w, const uint8_t *kept)
{
    int64_t bytes = 0;

    for (int32_t i = 0; i < w->segments->n_slots; i++)
        bytes += (int64_t)(slot_elements(w, i) * sizeof(float)) * (kept[i] ? 2 : 1);
    for (int32_t i = 0; i < w->segments->n_segments * w->max_variants; i++)
        if (w->plans[i])
            bytes += (int64_t)lg_plan_arena_bytes(w->plans[i]);
    return bytes;
}

/* Plans, then slots, for as many images at a time as memory allows. */
static lego_status prepare(walker *w, const lg_tree_options *options)
{
    const lg_segments *segments = w->segments;
    uint8_t *kept = NULL;
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < segments->n_slots; i++)
        if (segments->values[i].dtype != LEGO_DTYPE_F32)
            return lg_error(LEGO_EUNSUPPORTED, "boundary value '%s' is %s; only F32 is profiled",
                            segments->values[i].name, lg_dtype_name(segments->values[i].dtype));
    LG_TRY(LG_CALLOC(&kept, segments->n_slots));
    mark_kept(w, kept);
    LG_TRY(lg_packed_cache_create(&w->cache, w->context));
    for (;;) {
        LG_TRY(make_plans(w, options->engine));
        if (w->batch <= MIN_BATCH || activation_bytes(w, kept) <= options->memory_bytes)
            break;
        free_plans(w);
        w->batch = w->batch / 2 > MIN_BATCH ? w->batch / 2 : MIN_BATCH;
    }
    LG_TRY(make_slots(w, kept));
    lg_log(w->context, LEGO_LOG_DEBUG, "profile", "%d compositions, %lld images at a time, %.1f MiB of activations",
           w->n, (long long)w->batch, (double)activation_bytes(w, kept) / (1024.0 * 1024.0));
done:
    lg_free(kept);
    return status;
}

static lego_status walker_init(walker *w, int32_t batch)
{
    int32_t n_segments = w->segments->n_segments;
    lego_status status = LEGO_OK;

    for (w->batch = 1; w->batch < batch && w->batch < w->dataset->n;)
        w->batch *= 2;
    w->max_variants = 1;
    for (int32_t b = 0; b < w->store->n_blocks; b++)
        if (w->store->blocks[b].n_variants > w->max_variants)
            w->max_variants = w->store->blocks[b].n_variants;
    LG_TRY(LG_CALLOC(&w->plans, (size_t)n_segments * (size_t)w->max_variants));
    LG_TRY(LG_CALLOC(&w->flops, (size_t)n_segments * (size_t)w->max_variants));
    LG_TRY(LG_CALLOC(&w->plan_batch, n_segments));
    LG_TRY(LG_CALLOC(&w->pool, w->segments->n_slots));
    LG_TRY(LG_CALLOC(&w->original, w->segments->n_slots));
    LG_TRY(LG_CALLOC(&w->changed, w->segments->n_slots));
    LG_TRY(lg_calloc_into((void **)&w->arguments, (size_t)w->segments->n_slots, sizeof(*w->arguments)));
    LG_TRY(LG_CALLOC(&w->results, w->segments->n_slots));
    LG_TRY(LG_CALLOC(&w->current, w->store->n_blocks));
    LG_TRY(LG_CALLOC(&w->error, w->n));
    LG_TRY(LG_CALLOC(&w->norm, w->n));
    LG_TRY(LG_CALLOC(&w->accuracies, w->batch));
    LG_TRY(LG_CALLOC(&w->divergences, w->batch));
    LG_TRY(LG_CALLOC(&w->scores, w->n));
    for (int32_t i = 0; i < w->n; i++)
        LG_TRY(w->task->score_create(&w->scores[i], w->task));
    LG_TRY(make_order(w));
done:
    return status;
}

/* --- running --- */

/* The first n images of the chunk (rounded up to whole runs of the plan). */
static lego_status run_segment(walker *w, int32_t s, int32_t variant, int64_t n)
{
    const lg_segment *segment = &w->segments->segments[s];
    size_t index = (size_t)s * (size_t)w->max_variants + (size_t)variant;
    lego_status status = LEGO_OK;

    for (int64_t first = 0; first < n; first += w->plan_batch[s]) {
        for (int32_t i = 0; i < segment->n_inputs; i++)
            w->arguments[i] = w->pool[segment->inputs[i]] +
                              first * lg_value_elements(&w->segments->values[segment->inputs[i]]);
        for (int32_t i = 0; i < segment->n_outputs; i++)
            w->results[i] = w->pool[segment->outputs[i]] +
                            first * lg_value_elements(&w->segments->values[segment->outputs[i]]);
        LG_TRY(lg_plan_run(w->plans[index], w->arguments, w->results));
    }
    w->flops_done += (double)w->flops[index] * (double)n;
done:
    return status;
}

/* Squared error of a block's outputs against the original's, over the chunk's n samples. */
static void add_block_error(walker *w, int32_t composition, const lg_segment *segment, int64_t n)
{
    for (int32_t i = 0; i < segment->n_outputs; i++) {
        int32_t slot = segment->outputs[i];
        size_t count = (size_t)n * (size_t)lg_value_elements(&w->segments->values[slot]);
        const float *now = w->pool[slot], *before = w->original[slot];
        double error = 0.0, norm = 0.0;

        for (size_t k = 0; k < count; k++) {
            double difference = (double)now[k] - (double)before[k];

            error += difference * difference;
            norm += (double)before[k] * (double)before[k];
        }
        w->error[composition] += error;
        w->norm[composition] += norm;
    }
}

/* The one block in which a selection differs from the original; LG_NONE if it is none or several. */
static int32_t single_block(const walker *w, int32_t composition)
{
    const int32_t *selection = selection_of(w, composition);
    int32_t found = LG_NONE;

    for (int32_t b = 0; b < w->store->n_blocks; b++)
        if (selection[b] != 0) {
            if (found != LG_NONE)
                return LG_NONE;
            found = b;
        }
    return found;
}

/* Bring the pool from `current` to a composition. */
static lego_status run_composition(walker *w, int32_t composition, int64_t n)
{
    const int32_t *selection = selection_of(w, composition);
    int32_t single = single_block(w, composition);
    lego_status status = LEGO_OK;

    memset(w->changed, 0, (size_t)w->segments->n_slots);
    for (int32_t s = 0; s < w->segments->n_segments; s++) {
        const lg_segment *segment = &w->segments->segments[s];
        int32_t variant = segment->block == LG_NONE ? 0 : selection[segment->block];
        int stale = w->current[0] < 0 || (segment->block != LG_NONE && w->current[segment->block] != variant);

        for (int32_t i = 0; i < segment->n_inputs; i++)
            stale |= w->changed[segment->inputs[i]];
        if (stale) {
            LG_TRY(run_segment(w, s, variant, n));
            for (int32_t i = 0; i < segment->n_outputs; i++)
                w->changed[segment->outputs[i]] = 1;
        }
        if (segment->block != LG_NONE && segment->block == single)
            add_block_error(w, composition, segment, n);
    }
    memcpy(w->current, selection, (size_t)w->store->n_blocks * sizeof(*selection));
done:
    return status;
}

static void keep_original(walker *w)
{
    for (int32_t i = 0; i < w->segments->n_slots; i++)
        if (w->original[i])
            memcpy(w->original[i], w->pool[i], slot_elements(w, i) * sizeof(float));
}

static lego_status score_composition(walker *w, lg_tree *out, int32_t composition, const float **outputs,
                                     const float **original, int64_t first, int64_t n, const int64_t *labels)
{
    lego_task_batch batch = { sizeof(batch), n, w->n_outputs, w->dataset->source.n_classes, outputs, w->elements,
                              labels };
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < w->n_outputs; i++)
        outputs[i] = w->pool[w->segments->outputs[i]];
    LG_TRY(w->task->score_add(w->scores[composition], w->task, &batch));
    if (out->samples) {
        LG_TRY(w->task->sample_accuracy(w->accuracies, w->task, &batch));
        for (int64_t i = 0; i < n; i++)
            out->samples[(size_t)composition * (size_t)out->n_samples + (size_t)(first + i)] =
                (float)w->accuracies[i];
    }
    if (out->divergence) {
        for (int32_t i = 0; i < w->n_outputs; i++)
            original[i] = w->original[w->segments->outputs[i]];
        LG_TRY(w->task->divergence(w->divergences, w->task, &batch, original));
        for (int64_t i = 0; i < n; i++)
            out->divergence[composition] += w->divergences[i];
    }
done:
    return status;
}

static lego_status run_chunk(walker *w, lg_tree *out, const float **outputs, const float **original, int64_t first,
                             int64_t n, const int64_t *labels)
{
    size_t n_chunks = (size_t)((w->dataset->n + w->batch - 1) / w->batch);
    size_t done_before = (size_t)(first / w->batch) * (size_t)w->n;
    lego_status status = LEGO_OK;

    for (int32_t b = 0; b < w->store->n_blocks; b++)
        w->current[b] = -1;
    for (int32_t k = 0; k < w->n; k++) {
        LG_TRY(lg_progress(w->context, "profile", done_before + (size_t)k, n_chunks * (size_t)w->n));
        LG_TRY(run_composition(w, w->order[k], n));
        if (k == 0)
            keep_original(w);
        LG_TRY(score_composition(w, out, w->order[k], outputs, original, first, n, labels));
    }
done:
    return status;
}

static lego_status run_all(walker *w, lg_tree *out)
{
    lego_batches *batches = NULL;
    const float **outputs = NULL, **original = NULL;
    int32_t input = w->segments->inputs[0];
    int64_t first = 0, n = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_calloc_into((void **)&outputs, (size_t)w->n_outputs, sizeof(*outputs)));
    LG_TRY(lg_calloc_into((void **)&original, (size_t)w->n_outputs, sizeof(*original)));
    LG_TRY(lego_batches_create(&batches, w->dataset, (int32_t)w->batch, 0, 0, 0));
    do {
        const float *images;
        const int64_t *labels;

        LG_TRY(lego_batches_next(batches, &n, &images, &labels));
        if (n > 0) { /* behind a last, smaller chunk are leftovers, which nobody counts */
            memcpy(w->pool[input], images,
                   (size_t)n * (size_t)lg_value_elements(&w->segments->values[input]) * sizeof(float));
            LG_TRY(run_chunk(w, out, outputs, original, first, n, labels));
        }
        first += n;
    } while (n > 0);
done:
    lego_batches_free(batches);
    lg_free((void *)original);
    lg_free((void *)outputs);
    return status;
}

/* --- results --- */

static lego_status allocate_results(lg_tree *out, const lego_task *task)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&out->metrics, (size_t)out->n * (size_t)out->n_metrics));
    LG_TRY(LG_CALLOC(&out->block_error, out->n));
    if (task->divergence)
        LG_TRY(LG_CALLOC(&out->divergence, out->n));
    if (task->sample_accuracy && !(out->samples = lg_calloc((size_t)out->n, (size_t)out->n_samples * sizeof(float))))
        LG_FAIL(LEGO_ENOMEM, "out of memory for the accuracies of %lld samples", (long long)out->n_samples);
done:
    return status;
}

static lego_status finish_results(lg_tree *out, const walker *w)
{
    double naive = 0.0;
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < out->n; i++) {
        double metrics[LEGO_TASK_MAX_METRICS] = { 0.0 };

        LG_TRY(w->task->score_result(metrics, w->scores[i], w->task));
        for (int32_t m = 0; m < out->n_metrics; m++) {
            if (!isfinite(metrics[m]))
                LG_FAIL(LEGO_EINVAL, "task '%s': metric '%s' is not finite", w->task->name, w->task->metrics[m]);
            out->metrics[i * out->n_metrics + m] = metrics[m];
        }
        if (out->divergence)
            out->divergence[i] /= (double)out->n_samples;
        out->block_error[i] = single_block(w, i) == LG_NONE ? NAN
                              : w->norm[i] > 0.0            ? w->error[i] / w->norm[i]
                              : w->error[i] > 0.0           ? INFINITY
                                                            : 0.0;
        for (int32_t s = 0; s < w->segments->n_segments; s++) {
            int32_t block = w->segments->segments[s].block;

            naive += (double)w->flops[s * w->max_variants + (block == LG_NONE ? 0 : selection_of(w, i)[block])];
        }
    }
    out->flops_share = naive > 0.0 ? w->flops_done / (naive * (double)out->n_samples) : 1.0;
    for (int32_t i = 0; i < w->segments->n_segments * w->max_variants; i++)
        if (w->plans[i])
            (void)snprintf(out->engine, sizeof(out->engine), "%s", lg_plan_engine(w->plans[i]));
done:
    return status;
}

lego_status lg_tree_evaluate(lg_tree *out, lego_context *context, lego_store *store, lego_dataset *dataset,
                             const lego_task *task, int32_t n, const int32_t *selections,
                             const lg_tree_options *options)
{
    walker w = { .context = context, .store = store, .segments = &store->segments, .dataset = dataset, .task = task,
                 .n_outputs = store->frame->n_outputs, .n = n, .selections = selections };
    lego_status status = LEGO_OK;

    *out = (lg_tree){ .n = n, .n_samples = dataset->n, .n_metrics = task->n_metrics };
    LG_TRY(LG_CALLOC(&w.elements, store->frame->n_outputs));
    LG_TRY(lg_task_check(task, store->frame, dataset, w.elements));
    LG_TRY(allocate_results(out, task));
    LG_TRY(walker_init(&w, options->batch));
    LG_TRY(prepare(&w, options));
    LG_TRY(run_all(&w, out));
    LG_TRY(finish_results(out, &w));
done:
    walker_dispose(&w);
    if (status != LEGO_OK)
        lg_tree_dispose(out);
    return status;
}

void lg_tree_dispose(lg_tree *tree)
{
    lg_free(tree->metrics);
    lg_free(tree->divergence);
    lg_free(tree->block_error);
    lg_free(tree->samples);
    *tree = (lg_tree){ .n = 0 };
}
