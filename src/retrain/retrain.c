/* Block-wise, composition-aware distillation: all variants of all blocks learn from one pass over the data.
 *
 * Flow: store + data -> for every batch a drawn composition (walk.c) -> at each block one Adam step of each of its
 * variants (learner.c) -> after an epoch the better weights are kept (judge.c) -> the store's variants are replaced one
 * by one. The original's path costs one forward pass; a drawn variant's outputs are those of its training step, so the
 * composition's path costs little more.
 *
 * The original (variant 0) is never trained: it is the target. */
#include "retrain/retrain.h"

#include <math.h>

#include "base/alloc.h"
#include "base/clock.h"

#define TUNE_MIN_STEPS 32

/* --- checks --- */

static lego_status check_options(const lego_retrain_options *opts)
{
    if (opts->epochs < 1 || opts->epochs > 100000)
        return lg_error(LEGO_EINVAL, "epochs=%d is not in [1, 100000]", opts->epochs);
    if (opts->batch < 1)
        return lg_error(LEGO_EINVAL, "batch=%d is not positive", opts->batch);
    if (!(opts->lr > 0.0) || !isfinite(opts->lr))
        return lg_error(LEGO_EINVAL, "lr=%g is not positive", opts->lr);
    if (!(opts->max_norm >= 0.0) || !isfinite(opts->max_norm))
        return lg_error(LEGO_EINVAL, "gradient clipping at %g is negative", opts->max_norm);
    if (!(opts->min_improvement >= 0.0 && opts->min_improvement < 1.0))
        return lg_error(LEGO_EINVAL, "min_improvement=%g is not in [0, 1)", opts->min_improvement);
    if (opts->patience < 0 || opts->checkpoint_seconds < 0)
        return lg_error(LEGO_EINVAL, "patience=%d and checkpoint_seconds=%d must not be negative", opts->patience,
                        opts->checkpoint_seconds);
    if (opts->inputs > LEGO_RETRAIN_ORIGINAL)
        return lg_error(LEGO_EINVAL, "inputs=%d is not one of composition, original", (int)opts->inputs);
    if (opts->loss > LEGO_RETRAIN_COSINE)
        return lg_error(LEGO_EINVAL, "loss=%d is not one of mse, smooth L1, cosine", (int)opts->loss);
    if (opts->weighting > LEGO_RETRAIN_FISHER)
        return lg_error(LEGO_EINVAL, "weighting=%d is not one of outputs, fisher", (int)opts->weighting);
    if (opts->precision > LEGO_TRAIN_BF16)
        return lg_error(LEGO_EINVAL, "precision=%d is not one of auto, f32, bf16", (int)opts->precision);
    return LEGO_OK;
}

static lego_status check_data(const lg_segments *segments, const lego_dataset *dataset, const char *what)
{
    const lg_value *in;
    int32_t sample[3];

    if (segments->n_inputs != 1 || segments->values[segments->inputs[0]].shape.n_dims != 4)
        return lg_error(LEGO_EUNSUPPORTED, "retraining needs a model with one input (N,C,H,W)");
    in = &segments->values[segments->inputs[0]];
    lego_dataset_sample_shape(dataset, sample);
    for (int i = 0; i < 3; i++)
        if (in->shape.dims[i + 1] != sample[i])
            return lg_error(LEGO_EINVAL, "%s data: samples are %dx%dx%d, the store's model wants %lldx%lldx%lld", what,
                            sample[0], sample[1], sample[2], (long long)in->shape.dims[1],
                            (long long)in->shape.dims[2], (long long)in->shape.dims[3]);
    return LEGO_OK;
}

/* --- setting up --- */

static lego_status create_nets(lg_retrain *r)
{
    const lg_graph *graph = NULL;
    int32_t n_used;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&r->frame_nets, r->segments->n_segments));
    LG_TRY(LG_CALLOC(&r->originals, r->store->n_blocks));
    LG_TRY(LG_CALLOC(&r->segment_of, r->store->n_blocks));
    for (int32_t s = 0; s < r->segments->n_segments; s++)
        if (r->segments->segments[s].block != LG_NONE) {
            r->segment_of[r->segments->segments[s].block] = s;
            r->n_segments = s + 1;
        }
    n_used = r->opts->weighting == LEGO_RETRAIN_FISHER ? r->segments->n_segments : r->n_segments; /* to the scores */
    for (int32_t s = 0; s < n_used; s++)
        if (r->segments->segments[s].block == LG_NONE)
            LG_TRY(lg_torch_net_create(&r->frame_nets[s], r->api, r->segments->segments[s].graph, r->opts->device));
    for (int32_t b = 0; b < r->store->n_blocks; b++) {
        LG_TRY(lg_store_variant_graph(&graph, r->store, b, 0));
        LG_TRY(lg_torch_net_create(&r->originals[b], r->api, graph, r->opts->device));
    }
done:
    return status;
}

static lego_status create_learners(lg_retrain *r)
{
    int32_t n = 0;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&r->first_learner, r->store->n_blocks + 1));
    LG_TRY(LG_CALLOC(&r->drawn, r->store->n_blocks));
    for (int32_t b = 0; b < r->store->n_blocks; b++)
        n += r->store->blocks[b].n_variants - 1;
    LG_TRY(LG_CALLOC(&r->learners, n));
    for (int32_t b = 0; b < r->store->n_blocks; b++) {
        r->first_learner[b] = r->n_learners;
        for (int32_t v = 1; v < r->store->blocks[b].n_variants; v++) {
            r->n_learners++; /* before init, so that dispose() reaches a half-made one */
            LG_TRY(lg_learner_init(&r->learners[r->n_learners - 1], r, b, v));
        }
    }
    r->first_learner[r->store->n_blocks] = r->n_learners;
done:
    return status;
}

static void use_few_threads(void *payload)
{
    const lg_retrain *r = payload;

    r->api->set_threads(r->threads_each); /* a hint: with more it is only slower */
}

/* As many threads as there are tasks at a block, which share the context's. */
static lego_status create_crew(lg_retrain *r)
{
    const int n_threads = lego_context_threads(r->context);
    int n_tasks = 1;
    lego_status status = LEGO_OK;

    for (int32_t b = 0; b < r->store->n_blocks; b++)
        if (r->first_learner[b + 1] - r->first_learner[b] + 1 > n_tasks)
            n_tasks = r->first_learner[b + 1] - r->first_learner[b] + 1;
    if (n_tasks > n_threads)
        n_tasks = n_threads;
    r->threads_each = n_threads / n_tasks;
    use_few_threads(r);
    if (n_tasks > 1)
        LG_TRY(lg_crew_create(&r->crew, n_tasks, use_few_threads, r));
done:
    return status;
}

static lego_status prepare(lg_retrain *r)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_torch_open(&r->api, r->context, r->opts->device));
    r->segments = &r->store->segments;
    LG_TRY(check_data(r->segments, r->train, "training"));
    LG_TRY(check_data(r->segments, r->val, "held-out"));
    LG_TRY(LG_CALLOC(&r->original, r->segments->n_slots));
    LG_TRY(LG_CALLOC(&r->composed, r->segments->n_slots));
    LG_TRY(LG_CALLOC(&r->same, r->segments->n_slots));
    LG_TRY(LG_CALLOC(&r->weights, r->segments->n_slots));
    LG_TRY(create_nets(r));
    LG_TRY(create_learners(r));
    LG_TRY(create_crew(r));
    r->batches_per_epoch = (lego_dataset_n_samples(r->train) + r->opts->batch - 1) / r->opts->batch;
done:
    return status;
}

static void dispose(lg_retrain *r)
{
    lg_crew_free(r->crew);
    for (int32_t i = 0; i < r->n_learners; i++)
        lg_learner_dispose(&r->learners[i], r->api);
    for (int32_t s = 0; r->frame_nets && s < r->segments->n_segments; s++)
        lg_torch_net_free(r->frame_nets[s]);
    for (int32_t b = 0; r->originals && b < r->store->n_blocks; b++)
        lg_torch_net_free(r->originals[b]);
    lg_free(r->learners);
    lg_free(r->first_learner);
    lg_free(r->drawn);
    lg_free(r->frame_nets);
    lg_free(r->originals);
    lg_free(r->original);
    lg_free(r->composed);
    if (r->weights)
        lg_torch_free_all(r->api, r->weights, r->segments->n_slots);
    lg_free(r->weights);
    lg_free(r->segment_of);
    lg_free(r->same);
    if (r->api)
        r->api->allocator_trim();
}

/* --- precision and layout --- */

/* A block's first learner, the widest, speaks for the others and for the original. */
static lego_status tune_work(lg_retrain *r, lg_learner *learner, lg_torch_tensor *const *inputs,
                             const lg_target *targets, lg_torch_tensor **outputs, void *payload)
{
    const lg_torch_tune among = r->opts->precision == LEGO_TRAIN_BF16 ? LG_TORCH_TUNE_BF16 : LG_TORCH_TUNE_ALL;
    const int32_t first = r->first_learner[learner->block];
    lego_status status = LEGO_OK;

    (void)targets;
    (void)outputs;
    (void)payload;
    if (learner == &r->learners[first])
        LG_TRY(lg_torch_net_tune(learner->net, r->context, LG_TORCH_FROZEN, inputs, among, learner->block_name));
    learner->recipe = lg_torch_net_recipe(r->learners[first].net);
done:
    return status;
}

static void apply_recipes(lg_retrain *r)
{
    for (int32_t i = r->n_learners - 1; i >= 0; i--) {
        lg_torch_net_set_recipe(r->learners[i].net, r->learners[i].recipe);
        lg_torch_net_set_recipe(r->originals[r->learners[i].block], r->learners[i].recipe);
    }
}

/* Time the recipes of every block on the first batch, alone on the machine. Not for a few steps: timing takes about a
 * dozen. */
static lego_status tune(lg_retrain *r)
{
    lg_crew *crew = r->crew;
    lego_batches *batches = NULL;
    const float *images;
    int64_t n = 0;
    lego_status status = LEGO_OK;

    if (r->opts->precision == LEGO_TRAIN_F32 || r->batches_per_epoch * r->opts->epochs < TUNE_MIN_STEPS)
        return LEGO_OK;
    LG_TRY(lego_batches_create(&batches, r->train, r->opts->batch, 1, 0, 0));
    LG_TRY(lego_batches_next(batches, &n, &images, NULL));
    r->crew = NULL;
    LG_TRY(lg_retrain_walk(r, 0, n, images, tune_work, NULL));
done:
    r->crew = crew;
    lego_batches_free(batches);
    return status;
}

/* --- training --- */

static double learning_rate(const lg_retrain *r)
{
    const double pi = 3.14159265358979323846;
    const double total = (double)(r->batches_per_epoch * r->opts->epochs);

    return r->opts->lr * 0.5 * (1.0 + cos(pi * (double)r->steps_done / total));
}

static lego_status train_work(lg_retrain *r, lg_learner *learner, lg_torch_tensor *const *inputs,
                              const lg_target *targets, lg_torch_tensor **outputs, void *payload)
{
    if (learner->state == LG_LEARNER_TRAINING)
        return lg_learner_step(learner, r, inputs, targets, *(const double *)payload, outputs);
    return outputs ? lg_torch_net_forward(learner->net, LG_TORCH_EVAL, inputs, outputs) : LEGO_OK;
}

/* On the caller's thread: learners fail on any. */
static void report_failures(lg_retrain *r)
{
    for (int32_t i = 0; i < r->n_learners; i++) {
        lg_learner *learner = &r->learners[i];

        if (learner->state != LG_LEARNER_FAILED || learner->reported)
            continue;
        learner->reported = 1;
        lg_log(r->context, LEGO_LOG_WARNING, "retrain",
               "%s: loss %g, gradient norm %g after %lld steps: rolled back, the others go on", learner->name,
               learner->last_loss, learner->last_norm, (long long)learner->steps);
    }
}

/* Save now and then, and once more when the caller asks to stop. */
static lego_status between_batches(lg_retrain *r, uint64_t *saved_ns)
{
    const int64_t total = r->batches_per_epoch * r->opts->epochs;
    const lego_status asked = lg_progress(r->context, "retrain", (size_t)r->steps_done, (size_t)total);
    lego_status status = LEGO_OK;

    if (asked != LEGO_OK || lg_clock_ms_since(*saved_ns) >= 1e3 * r->opts->checkpoint_seconds) {
        LG_TRY(lg_retrain_save(r));
        *saved_ns = lg_clock_ns();
    }
    if (asked != LEGO_OK)
        status = lg_error(asked, "stopped after %lld of %lld steps; run it again to go on", (long long)r->steps_done,
                          (long long)total);
done:
    return status;
}

static int anyone_trains(const lg_retrain *r)
{
    for (int32_t i = 0; i < r->n_learners; i++)
        if (r->learners[i].state == LG_LEARNER_TRAINING)
            return 1;
    return 0;
}

/* The rest of the epoch that steps_done is in. */
static lego_status train_epoch(lg_retrain *r)
{
    const int64_t epoch = r->steps_done / r->batches_per_epoch;
    int64_t skip = r->steps_done % r->batches_per_epoch; /* of a resumed epoch: seen already */
    uint64_t start_ns = lg_clock_ns(), saved_ns = start_ns;
    lego_batches *batches = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lego_batches_create(&batches, r->train, r->opts->batch, 1, 0, (uint64_t)epoch));
    for (;;) {
        double lr = learning_rate(r);
        const float *images;
        int64_t n = 0;

        LG_TRY(lego_batches_next(batches, &n, &images, NULL));
        if (n == 0)
            break;
        if (skip-- > 0)
            continue;
        LG_TRY(lg_retrain_walk(r, (uint64_t)r->steps_done, n, images, train_work, &lr));
        report_failures(r);
        r->steps_done++;
        r->seconds += lg_clock_ms_since(start_ns) * 1e-3;
        start_ns = lg_clock_ns();
        if (r->steps_done % r->batches_per_epoch != 0) /* the epoch's end is judged first */
            LG_TRY(between_batches(r, &saved_ns));
    }
done:
    lego_batches_free(batches);
    return status;
}

static lego_status run_epochs(lg_retrain *r)
{
    const int64_t total = r->batches_per_epoch * r->opts->epochs;
    uint64_t saved_ns = lg_clock_ns();
    lego_status status = LEGO_OK;

    while (r->steps_done < total && anyone_trains(r)) {
        LG_TRY(train_epoch(r));
        LG_TRY(lg_retrain_judge(r));
        LG_TRY(lg_retrain_save(r));
        LG_TRY(between_batches(r, &saved_ns));
        lg_log(r->context, LEGO_LOG_INFO, "retrain", "epoch %lld of %d done after %.1f s",
               (long long)(r->steps_done / r->batches_per_epoch), r->opts->epochs, r->seconds);
    }
    LG_TRY(lg_retrain_judge_finally(r));
    for (int32_t i = 0; i < r->n_learners; i++)
        LG_TRY(lg_learner_write(&r->learners[i], r));
    LG_TRY(lg_retrain_discard(r));
done:
    return status;
}

lego_status lego_retrain(lego_retrain_report **out, lego_context *context, lego_store *store, lego_dataset *train,
                         lego_dataset *val, const lego_retrain_options *options)
{
    lego_retrain_options opts = LEGO_RETRAIN_OPTIONS_INIT;
    lg_retrain r = { .context = context, .opts = &opts, .store = store, .train = train, .val = val };
    int resumed = 0;
    lego_status status = LEGO_OK;

    if (out)
        *out = NULL;
    if (!store || !train || !val)
        return lg_error(LEGO_EINVAL, "store, train and val must not be NULL");
    LG_TRY(lg_options_read(&opts, sizeof(opts), options));
    LG_TRY(check_options(&opts));
    if (!opts.device)
        opts.device = "cpu";
    LG_TRY(prepare(&r));
    if (opts.restart)
        LG_TRY(lg_retrain_discard(&r));
    if (r.opts->weighting == LEGO_RETRAIN_FISHER)
        LG_TRY(lg_retrain_weigh(&r));
    LG_TRY(lg_retrain_resume(&resumed, &r));
    if (!resumed)
        LG_TRY(tune(&r));
    apply_recipes(&r);
    LG_TRY(run_epochs(&r));
    if (out)
        LG_TRY(lg_retrain_report_create(out, &r));
done:
    dispose(&r);
    return status;
}
