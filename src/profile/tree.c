/* Evaluating many compositions of one store on the same images, sharing what they have in common.
 *
 * Flow: server.c's list of selections -> plans of every variant used, a lexicographic order -> walkers (walker.c), one a thread ->
 * accuracies, divergences, block errors. Threads share nothing but packed weights: with two, each computes on its own
 * core, which small images at a few a time need, where two threads inside one layer mostly wait for each other. */
#include "profile/tree.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "profile/walker.h"

#define MIN_BATCH 4
#define FEW_IMAGES 16       /* a chunk is not made smaller than this only to occupy threads */
#define CHUNKS_PER_THREAD 4 /* so that they finish at about the same time */

/* --- the order --- */

static int compare_selections(const int32_t *a, const int32_t *b, int32_t n_blocks)
{
    for (int32_t i = 0; i < n_blocks; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}

/* Merge sort of composition indices: qsort has no place for the selections. */
static void sort_order(const lg_walk *walk, int32_t *items, int32_t *scratch, int32_t n)
{
    int32_t half = n / 2, i = 0, j = half;

    if (n < 2)
        return;
    sort_order(walk, items, scratch, half);
    sort_order(walk, items + half, scratch, n - half);
    memcpy(scratch, items, (size_t)n * sizeof(*items));
    for (int32_t k = 0; k < n; k++) {
        int left = j == n || (i < half && compare_selections(lg_walk_selection(walk, scratch[i]),
                                                             lg_walk_selection(walk, scratch[j]),
                                                             walk->store->n_blocks) <= 0);

        items[k] = left ? scratch[i++] : scratch[j++];
    }
}

static lego_status make_order(lg_walk *walk)
{
    int32_t *scratch = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&walk->order, walk->n));
    LG_TRY(LG_CALLOC(&scratch, walk->n));
    for (int32_t i = 0; i < walk->n; i++)
        walk->order[i] = i;
    sort_order(walk, walk->order, scratch, walk->n);
done:
    lg_free(scratch);
    return status;
}

/* --- what the walkers share --- */

static void walk_dispose(lg_walk *walk)
{
    if (walk->scores)
        for (int32_t i = 0; i < walk->n; i++)
            if (walk->scores[i])
                walk->task->score_free(walk->scores[i]);
    lg_free(walk->scores);
    lg_free(walk->elements);
    lg_free(walk->order);
    lg_free(walk->plan_batch);
    lg_free(walk->flops);
    lg_free(walk->scored);
    lg_free(walk->error);
    lg_free(walk->norm);
    lego_batches_free(walk->batches);
}

static lego_status walk_init(lg_walk *walk)
{
    const lg_segments *segments = walk->segments;
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < segments->n_slots; i++)
        if (segments->values[i].dtype != LEGO_DTYPE_F32)
            return lg_error(LEGO_EUNSUPPORTED, "boundary value '%s' is %s; only F32 is profiled",
                            segments->values[i].name, lg_dtype_name(segments->values[i].dtype));
    walk->max_variants = 1;
    for (int32_t b = 0; b < walk->store->n_blocks; b++)
        if (walk->store->blocks[b].n_variants > walk->max_variants)
            walk->max_variants = walk->store->blocks[b].n_variants;
    LG_TRY(LG_CALLOC(&walk->elements, walk->n_outputs));
    LG_TRY(lg_task_check(walk->task, walk->store->frame, walk->dataset, walk->elements));
    LG_TRY(LG_CALLOC(&walk->plan_batch, segments->n_segments));
    LG_TRY(LG_CALLOC(&walk->flops, (size_t)segments->n_segments * (size_t)walk->max_variants));
    LG_TRY(LG_CALLOC(&walk->scored, walk->n));
    LG_TRY(LG_CALLOC(&walk->error, walk->n));
    LG_TRY(LG_CALLOC(&walk->norm, walk->n));
    LG_TRY(LG_CALLOC(&walk->scores, walk->n));
    for (int32_t i = 0; i < walk->n; i++)
        LG_TRY(walk->task->score_create(&walk->scores[i], walk->task));
    LG_TRY(make_order(walk));
done:
    return status;
}

/* --- walkers --- */

typedef struct tree_crew {
    lg_walk *walk;
    lego_engine engine;
    lg_packed_cache *cache;
    int32_t n_walkers;
    lg_walker *walkers;
} tree_crew;

static void dismiss_walkers(tree_crew *crew)
{
    if (crew->walkers)
        for (int32_t i = 0; i < crew->n_walkers; i++)
            lg_walker_dispose(&crew->walkers[i]);
    lg_free(crew->walkers);
    crew->walkers = NULL;
}

/* A plan for every walker; the first one packs, the others share. */
static lego_status plan_variant(tree_crew *crew, int32_t segment, int32_t variant, const lg_graph *graph)
{
    lg_walk *walk = crew->walk;
    lg_plan_options options = LG_PLAN_OPTIONS_INIT;
    size_t index = lg_walk_plan(walk, segment, variant);
    lego_status status = LEGO_OK;

    if (variant == 0)
        walk->plan_batch[segment] = lg_batch_for_cache(1, graph, (int32_t)walk->batch);
    walk->flops[index] = lg_graph_flops(graph);
    options.engine = crew->engine;
    options.batch = walk->plan_batch[segment];
    options.n_threads = 1;
    options.cache = crew->cache;
    for (int32_t i = 0; i < crew->n_walkers; i++)
        LG_TRY(lg_plan_create(&crew->walkers[i].plans[index], walk->context, graph, &options));
done:
    return status;
}

/* Plans of every variant that some composition uses; the original, variant 0, always is one. */
static lego_status plan_all(tree_crew *crew)
{
    const lg_walk *walk = crew->walk;
    uint8_t *used = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&used, (size_t)walk->store->n_blocks * (size_t)walk->max_variants));
    for (int32_t i = 0; i < walk->n; i++)
        for (int32_t b = 0; b < walk->store->n_blocks; b++)
            used[b * walk->max_variants + lg_walk_selection(walk, i)[b]] = 1;
    for (int32_t s = 0; s < walk->segments->n_segments; s++) {
        int32_t block = walk->segments->segments[s].block;

        if (block == LG_NONE) {
            LG_TRY(plan_variant(crew, s, 0, walk->segments->segments[s].graph));
            continue;
        }
        for (int32_t v = 0; v < walk->store->blocks[block].n_variants; v++) {
            const lg_graph *graph = NULL;

            if (!used[block * walk->max_variants + v])
                continue;
            LG_TRY(lg_store_variant_graph(&graph, walk->store, block, v));
            LG_TRY(plan_variant(crew, s, v, graph));
            lg_store_unload_variant(walk->store, block, v);
        }
    }
done:
    lg_free(used);
    return status;
}

static lego_status hire_walkers(tree_crew *crew)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&crew->walkers, crew->n_walkers));
    for (int32_t i = 0; i < crew->n_walkers; i++)
        LG_TRY(lg_walker_init(&crew->walkers[i], crew->walk));
    crew->walkers[0].is_first = 1;
    LG_TRY(plan_all(crew));
done:
    return status;
}

static int64_t activation_bytes(const tree_crew *crew)
{
    const lg_walk *walk = crew->walk;
    const lg_walker *walker = &crew->walkers[0];
    int64_t bytes = 0;

    for (int32_t i = 0; i < walk->segments->n_slots; i++)
        bytes += walk->batch * lg_value_elements(&walk->segments->values[i]) * (int64_t)sizeof(float) *
                 (walker->original[i] ? 2 : 1);
    for (int32_t i = 0; i < walk->segments->n_segments * walk->max_variants; i++)
        if (walker->plans[i])
            bytes += (int64_t)lg_plan_arena_bytes(walker->plans[i]);
    return bytes * crew->n_walkers;
}

/* Walkers for as many images at a time as memory allows, fewer walkers if even few images are too many. */
static lego_status prepare(tree_crew *crew, const lg_tree_options *options)
{
    lg_walk *walk = crew->walk;
    int n_threads = lego_context_threads(walk->context);
    int64_t images = walk->dataset->n;
    lego_status status = LEGO_OK;

    crew->engine = options->engine;
    crew->n_walkers = n_threads > 0 ? n_threads : lg_cpu_count();
    for (walk->batch = 1; walk->batch < options->batch && walk->batch < images;)
        walk->batch *= 2;
    while (walk->batch > FEW_IMAGES && walk->batch * CHUNKS_PER_THREAD * crew->n_walkers > images)
        walk->batch /= 2;
    if (crew->n_walkers > (images + walk->batch - 1) / walk->batch)
        crew->n_walkers = (int32_t)((images + walk->batch - 1) / walk->batch);
    LG_TRY(lg_packed_cache_create(&crew->cache, walk->context));
    for (;;) {
        LG_TRY(hire_walkers(crew));
        if (activation_bytes(crew) <= options->memory_bytes || (walk->batch <= MIN_BATCH && crew->n_walkers == 1))
            break;
        dismiss_walkers(crew);
        if (walk->batch > MIN_BATCH)
            walk->batch /= 2;
        else
            crew->n_walkers--;
    }
    lg_log(walk->context, LEGO_LOG_DEBUG, "profile", "%d compositions, %d threads, %lld images at a time, "
           "%.1f MiB of activations", walk->n, crew->n_walkers, (long long)walk->batch,
           (double)activation_bytes(crew) / (1024.0 * 1024.0));
done:
    return status;
}

static void *run_walker(void *payload)
{
    lg_walker_run(payload);
    return NULL;
}

/* The caller's thread is the first walker; a thread that cannot be started is done without. */
static lego_status run_walkers(tree_crew *crew)
{
    lg_walk *walk = crew->walk;
    pthread_t *threads = NULL;
    int32_t n_started = 0;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&threads, crew->n_walkers));
    LG_TRY(lego_batches_create(&walk->batches, walk->dataset, (int32_t)walk->batch, 0, 0, 0));
    while (n_started + 1 < crew->n_walkers &&
           pthread_create(&threads[n_started], NULL, run_walker, &crew->walkers[n_started + 1]) == 0)
        n_started++;
    lg_walker_run(&crew->walkers[0]);
    for (int32_t i = 0; i < n_started; i++)
        (void)pthread_join(threads[i], NULL);
    if (walk->status != LEGO_OK)
        LG_FAIL(walk->status, "%s", walk->message);
done:
    lg_free(threads);
    return status;
}

static lego_status walk_all(lg_walk *walk, const lg_tree_options *options)
{
    tree_crew crew = { .walk = walk };
    lego_status status = LEGO_OK;

    LG_TRY(prepare(&crew, options));
    LG_TRY(run_walkers(&crew));
    (void)snprintf(walk->out->engine, sizeof(walk->out->engine), "%s", lg_plan_engine(crew.walkers[0].plans[0]));
done:
    dismiss_walkers(&crew);
    lg_packed_cache_unref(crew.cache);
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

static double relative_error(const lg_walk *walk, int32_t composition)
{
    double error = walk->error[composition], norm = walk->norm[composition];

    if (lg_walk_single_block(walk, composition) == LG_NONE)
        return NAN;
    if (norm > 0.0)
        return error / norm;
    return error > 0.0 ? INFINITY : 0.0;
}

static lego_status finish_results(lg_tree *out, const lg_walk *walk)
{
    double naive = 0.0;
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < out->n; i++) {
        double metrics[LEGO_TASK_MAX_METRICS] = { 0.0 };

        LG_TRY(walk->task->score_result(metrics, walk->scores[i], walk->task));
        for (int32_t m = 0; m < out->n_metrics; m++) {
            if (!isfinite(metrics[m]))
                LG_FAIL(LEGO_EINVAL, "task '%s': metric '%s' is not finite", walk->task->name,
                        walk->task->metrics[m]);
            out->metrics[i * out->n_metrics + m] = metrics[m];
        }
        if (out->divergence)
            out->divergence[i] /= (double)out->n_samples;
        out->block_error[i] = relative_error(walk, i);
        for (int32_t s = 0; s < walk->segments->n_segments; s++) {
            int32_t block = walk->segments->segments[s].block;

            naive += (double)walk->flops[lg_walk_plan(walk, s, block == LG_NONE ? 0 : lg_walk_selection(walk, i)[block])];
        }
    }
    out->flops_share = naive > 0.0 ? walk->flops_done / (naive * (double)out->n_samples) : 1.0;
done:
    return status;
}

lego_status lg_tree_evaluate(lg_tree *out, lego_context *context, lego_store *store, lego_dataset *dataset,
                             const lego_task *task, int32_t n, const int32_t *selections,
                             const lg_tree_options *options)
{
    lg_walk walk = { .context = context, .store = store, .segments = &store->segments, .dataset = dataset,
                     .task = task, .n_outputs = store->frame->n_outputs, .n = n, .selections = selections, .out = out,
                     .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
    lego_status status = LEGO_OK;

    *out = (lg_tree){ .n = n, .n_samples = dataset->n, .n_metrics = task->n_metrics };
    LG_TRY(allocate_results(out, task));
    LG_TRY(walk_init(&walk));
    LG_TRY(walk_all(&walk, options));
    LG_TRY(finish_results(out, &walk));
done:
    walk_dispose(&walk);
    (void)pthread_cond_destroy(&walk.changed);
    (void)pthread_mutex_destroy(&walk.mutex);
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
