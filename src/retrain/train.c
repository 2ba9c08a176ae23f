/* Trains a whole classifier, the teacher: SGD with momentum on the cross entropy, on libtorch.
 *
 * Flow: model + data set -> lg_torch_net (weights as leaves) -> epochs of forward, backward, step -> weights back into
 * the model. Everything random is a function of the context's seed and the epoch (order and augmentation in data/,
 * dropout here), so that a checkpoint needs no generator state: weights, velocities and the epoch's number are all.
 *
 * Newcomers expect the model to change while training; it does so only at the end, and only on success. */
#include "legodnn/train.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/file.h"
#include "retrain/checkpoint.h"

#define KIND "legodnn.train-checkpoint/1"
#define EVAL_BATCH 256

typedef struct trainer {
    lego_context *context;
    const lego_train_options *opts;
    const lg_graph *graph;
    lego_dataset *train, *val;
    const lg_torch_api *api;
    lg_torch_net *net;
    lg_torch_tensor **velocity; /* n_leaves */
    double *decay;              /* n_leaves */
    int64_t n_batches;          /* a training epoch */
    int32_t epochs_done;
    lego_train_epoch last;
} trainer;

/* --- checks --- */

static lego_status check_options(const lego_train_options *opts)
{
    if (opts->epochs < 1 || opts->epochs > 100000)
        return lg_error(LEGO_EINVAL, "epochs=%d is not in [1, 100000]", opts->epochs);
    if (opts->batch < 1)
        return lg_error(LEGO_EINVAL, "batch=%d is not positive", opts->batch);
    if (!(opts->lr > 0.0) || !isfinite(opts->lr))
        return lg_error(LEGO_EINVAL, "lr=%g is not positive", opts->lr);
    if (!(opts->momentum >= 0.0 && opts->momentum < 1.0))
        return lg_error(LEGO_EINVAL, "momentum=%g is not in [0, 1)", opts->momentum);
    if (!(opts->weight_decay >= 0.0) || !isfinite(opts->weight_decay))
        return lg_error(LEGO_EINVAL, "weight decay %g is negative", opts->weight_decay);
    if (!(opts->label_smoothing >= 0.0 && opts->label_smoothing < 1.0))
        return lg_error(LEGO_EINVAL, "label smoothing %g is not in [0, 1)", opts->label_smoothing);
    if (!(opts->warmup_epochs >= 0.0 && opts->warmup_epochs <= opts->epochs))
        return lg_error(LEGO_EINVAL, "warm-up of %g epochs is not in [0, %d]", opts->warmup_epochs, opts->epochs);
    if (opts->schedule > LEGO_SCHEDULE_CONSTANT)
        return lg_error(LEGO_EINVAL, "schedule %d is not one of cosine, step, constant", (int)opts->schedule);
    if (opts->schedule == LEGO_SCHEDULE_STEP && !(opts->lr_factor > 0.0 && opts->lr_factor <= 1.0))
        return lg_error(LEGO_EINVAL, "the step schedule's factor %g is not in (0, 1]", opts->lr_factor);
    if (opts->n_milestones < 0 || (opts->n_milestones > 0 && !opts->milestones))
        return lg_error(LEGO_EINVAL, "%d milestones, but no list of them", opts->n_milestones);
    if (opts->precision > LEGO_TRAIN_BF16)
        return lg_error(LEGO_EINVAL, "precision %d is not one of auto, f32, bf16", (int)opts->precision);
    return LEGO_OK;
}

static lego_status check_data(const lg_graph *graph, const lego_dataset *dataset, const char *what)
{
    const lg_value *in = &graph->values[graph->inputs[0]], *out = &graph->values[graph->outputs[0]];
    int32_t sample[3];

    lego_dataset_sample_shape(dataset, sample);
    for (int i = 0; i < 3; i++)
        if (in->shape.dims[i + 1] != sample[i])
            return lg_error(LEGO_EINVAL, "%s data: samples are %dx%dx%d, model '%s' wants %lldx%lldx%lld", what,
                            sample[0], sample[1], sample[2], graph->name, (long long)in->shape.dims[1],
                            (long long)in->shape.dims[2], (long long)in->shape.dims[3]);
    if (out->shape.dims[1] < lego_dataset_n_classes(dataset))
        return lg_error(LEGO_EINVAL, "%s data: %d classes, model '%s' has %lld outputs", what,
                        lego_dataset_n_classes(dataset), graph->name, (long long)out->shape.dims[1]);
    return LEGO_OK;
}

static lego_status check_model(const lg_graph *graph)
{
    if (graph->n_inputs != 1 || graph->n_outputs != 1 || graph->values[graph->inputs[0]].shape.n_dims != 4 ||
        graph->values[graph->outputs[0]].shape.n_dims != 2)
        return lg_error(LEGO_EUNSUPPORTED,
                        "model '%s' is not a classifier: one input (N,C,H,W) and one output (N,K) are needed",
                        graph->name);
    return lg_graph_check_finite(graph);
}

/* --- the learning rate --- */

/* After `t` epochs (with fraction). */
static double learning_rate(const lego_train_options *opts, double t)
{
    const double pi = 3.14159265358979323846;
    double lr = opts->lr;

    if (t < opts->warmup_epochs)
        return lr * t / opts->warmup_epochs;
    switch (opts->schedule) {
    case LEGO_SCHEDULE_COSINE: /* Loshchilov and Hutter 2017, without restarts */
        lr *= 0.5 * (1.0 + cos(pi * (t - opts->warmup_epochs) / ((double)opts->epochs - opts->warmup_epochs)));
        break;
    case LEGO_SCHEDULE_STEP:
        for (int32_t i = 0; i < opts->n_milestones; i++)
            lr *= t >= opts->milestones[i] ? opts->lr_factor : 1.0;
        break;
    case LEGO_SCHEDULE_CONSTANT:
        break;
    }
    return lr;
}

/* --- one batch --- */

static lego_status upload(lg_torch_tensor **x, lg_torch_tensor **y, const trainer *t, int64_t n, const float *images,
                          const int64_t *labels)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_torch_upload(x, t->api, &t->graph->values[t->graph->inputs[0]], n, images, t->opts->device));
    LG_TRY(LG_TORCH(t->api, tensor_from_host(y, LEGO_DTYPE_I64, 1, &n, labels, t->opts->device)));
done:
    return status;
}

/* Forward, and backward and a step if `lr` >= 0; adds loss * n and correct answers to the sums. */
static lego_status run_batch(trainer *t, int64_t n, const float *images, const int64_t *labels, double lr,
                             double *loss_sum, int64_t *correct_sum)
{
    const lg_torch_api *api = t->api;
    const int training = lr >= 0.0;
    lg_torch_tensor *x = NULL, *y = NULL, *logits = NULL, *loss = NULL;
    int64_t correct = 0;
    double value = 0.0;
    lego_status status = LEGO_OK;

    LG_TRY(upload(&x, &y, t, n, images, labels));
    LG_TRY(lg_torch_net_forward(t->net, training ? LG_TORCH_TRAIN : LG_TORCH_EVAL, &x, &logits));
    LG_TRY(LG_TORCH(api, cross_entropy(&loss, logits, y, training ? t->opts->label_smoothing : 0.0)));
    LG_TRY(LG_TORCH(api, tensor_item(&value, loss)));
    LG_TRY(LG_TORCH(api, count_correct(&correct, logits, y)));
    if (training) {
        if (!isfinite(value))
            LG_FAIL(LEGO_EBACKEND, "the loss is %g in epoch %d: a smaller --lr or a warm-up may help", value,
                    t->epochs_done + 1);
        LG_TRY(LG_TORCH(api, backward(loss)));
        LG_TRY(LG_TORCH(api, sgd_step(lg_torch_net_n_leaves(t->net), lg_torch_net_leaves(t->net), t->velocity,
                                      t->decay, lr, t->opts->momentum, t->opts->nesterov)));
    }
    *loss_sum += value * (double)n;
    *correct_sum += correct;
done:
    lg_torch_free_all(api, &x, 1);
    lg_torch_free_all(api, &y, 1);
    lg_torch_free_all(api, &logits, 1);
    lg_torch_free_all(api, &loss, 1);
    return status;
}

/* --- epochs --- */

static lego_status train_epoch(trainer *t)
{
    const int32_t epoch = t->epochs_done;
    const size_t total = (size_t)t->n_batches * (size_t)t->opts->epochs;
    lego_batches *batches = NULL;
    double loss = 0.0;
    int64_t correct = 0, seen = 0;
    lego_status status = LEGO_OK;

    LG_TRY(LG_TORCH(t->api, set_seed(lego_context_seed(t->context) + (uint64_t)epoch)));
    LG_TRY(lego_batches_create(&batches, t->train, t->opts->batch, 1, 0, (uint64_t)epoch));
    for (int64_t i = 0;; i++) {
        const double lr = learning_rate(t->opts, (double)epoch + (double)i / (double)t->n_batches);
        const float *images;
        const int64_t *labels;
        int64_t n = 0;

        LG_TRY(lego_batches_next(batches, &n, &images, &labels));
        if (n == 0)
            break;
        LG_TRY(run_batch(t, n, images, labels, lr, &loss, &correct));
        seen += n;
        t->last.lr = lr;
        LG_TRY(lg_progress(t->context, "train", (size_t)epoch * (size_t)t->n_batches + (size_t)i + 1, total));
    }
    t->last.train_loss = loss / (double)seen;
    t->last.train_accuracy = (double)correct / (double)seen;
done:
    lego_batches_free(batches);
    return status;
}

static lego_status evaluate(trainer *t)
{
    lego_batches *batches = NULL;
    double loss = 0.0;
    int64_t correct = 0, seen = 0;
    lego_status status = LEGO_OK;

    t->last.val_loss = t->last.val_accuracy = (double)NAN;
    if (!t->val)
        return LEGO_OK;
    LG_TRY(lego_batches_create(&batches, t->val, EVAL_BATCH, 0, 0, 0));
    for (;;) {
        const float *images;
        const int64_t *labels;
        int64_t n = 0;

        LG_TRY(lego_batches_next(batches, &n, &images, &labels));
        if (n == 0)
            break;
        LG_TRY(run_batch(t, n, images, labels, -1.0, &loss, &correct));
        seen += n;
    }
    t->last.val_loss = loss / (double)seen;
    t->last.val_accuracy = (double)correct / (double)seen;
done:
    lego_batches_free(batches);
    return status;
}

/* --- checkpoints --- */

/* What a checkpoint must agree on for the training to go on; free with lg_free. */
static char *describe(const trainer *t)
{
    const lego_train_options *o = t->opts;

    return lg_asprintf("model %s, data %s, %lld samples, seed %llu, epochs %d, batch %d, lr %g, momentum %g, "
                       "weight decay %g on %s, label smoothing %g, warm-up %g, schedule %d %g, nesterov %d",
                       t->graph->name, lego_dataset_name(t->train), (long long)lego_dataset_n_samples(t->train),
                       (unsigned long long)lego_context_seed(t->context), o->epochs, o->batch, o->lr, o->momentum,
                       o->weight_decay, o->decay_all ? "all" : "weights", o->label_smoothing, o->warmup_epochs,
                       (int)o->schedule, o->lr_factor, o->nesterov);
}

static lego_status save_checkpoint(const trainer *t)
{
    const lg_torch_recipe recipe = lg_torch_net_recipe(t->net);
    lg_checkpoint *checkpoint = NULL;
    char *description = NULL;
    lego_status status = LEGO_OK;

    if (!t->opts->checkpoint)
        return LEGO_OK;
    LG_TRY(lg_checkpoint_create(&checkpoint, KIND));
    description = describe(t);
    if (!description)
        LG_FAIL(LEGO_ENOMEM, "out of memory for a checkpoint");
    LG_TRY(lg_checkpoint_set(checkpoint, "training", description));
    LG_TRY(lg_checkpoint_set_int(checkpoint, "epochs_done", t->epochs_done));
    LG_TRY(lg_checkpoint_set_int(checkpoint, "dtype", recipe.dtype));
    LG_TRY(lg_checkpoint_set_int(checkpoint, "layout", recipe.layout));
    LG_TRY(lg_checkpoint_set_double(checkpoint, "train_loss", t->last.train_loss));
    LG_TRY(lg_checkpoint_set_double(checkpoint, "train_accuracy", t->last.train_accuracy));
    LG_TRY(lg_checkpoint_set_double(checkpoint, "val_loss", t->last.val_loss));
    LG_TRY(lg_checkpoint_set_double(checkpoint, "val_accuracy", t->last.val_accuracy));
    for (int32_t w = 0; w < t->graph->n_weights; w++)
        if (t->graph->weights[w].tensor.dtype == LEGO_DTYPE_F32)
            LG_TRY(lg_checkpoint_add(checkpoint, t->api, "weight/", t->graph->weights[w].name,
                                     lg_torch_net_weights(t->net)[w]));
    for (int32_t i = 0; i < lg_torch_net_n_leaves(t->net); i++)
        LG_TRY(lg_checkpoint_add(checkpoint, t->api, "velocity/",
                                 t->graph->weights[lg_torch_net_leaf_weights(t->net)[i]].name, t->velocity[i]));
    LG_TRY(lg_checkpoint_save(checkpoint, t->opts->checkpoint));
done:
    lg_free(description);
    lg_checkpoint_free(checkpoint);
    return status;
}

/* Go on from a checkpoint if there is one; `*resumed` says so. */
static lego_status load_checkpoint(trainer *t, int *resumed)
{
    lg_checkpoint_file file = { NULL };
    const char *stored = NULL;
    char *description = NULL;
    int64_t epochs = 0, dtype = 0, layout = 0;
    lego_status status = LEGO_OK;

    *resumed = 0;
    if (!t->opts->checkpoint || t->opts->restart || !lg_file_exists(t->opts->checkpoint))
        return LEGO_OK;
    LG_TRY(lg_checkpoint_open(&file, t->opts->checkpoint, KIND));
    description = describe(t);
    if (!description)
        LG_FAIL(LEGO_ENOMEM, "out of memory for a checkpoint");
    LG_TRY(lg_checkpoint_get(&stored, &file, "training"));
    if (strcmp(stored, description) != 0)
        LG_FAIL(LEGO_EINVAL, "checkpoint '%s' is of another training (%s; now: %s): restart, or remove it",
                t->opts->checkpoint, stored, description);
    LG_TRY(lg_checkpoint_get_int(&epochs, &file, "epochs_done", 0, t->opts->epochs));
    LG_TRY(lg_checkpoint_get_int(&dtype, &file, "dtype", LEGO_DTYPE_F32, LEGO_DTYPE_BF16));
    LG_TRY(lg_checkpoint_get_int(&layout, &file, "layout", LG_TORCH_CONTIGUOUS, LG_TORCH_CHANNELS_LAST));
    LG_TRY(lg_checkpoint_get_double(&t->last.train_loss, &file, "train_loss"));
    LG_TRY(lg_checkpoint_get_double(&t->last.train_accuracy, &file, "train_accuracy"));
    LG_TRY(lg_checkpoint_get_double(&t->last.val_loss, &file, "val_loss"));
    LG_TRY(lg_checkpoint_get_double(&t->last.val_accuracy, &file, "val_accuracy"));
    for (int32_t w = 0; w < t->graph->n_weights; w++)
        if (t->graph->weights[w].tensor.dtype == LEGO_DTYPE_F32)
            LG_TRY(lg_checkpoint_read(&file, t->api, "weight/", t->graph->weights[w].name,
                                      lg_torch_net_weights(t->net)[w]));
    for (int32_t i = 0; i < lg_torch_net_n_leaves(t->net); i++)
        LG_TRY(lg_checkpoint_read(&file, t->api, "velocity/",
                                  t->graph->weights[lg_torch_net_leaf_weights(t->net)[i]].name, t->velocity[i]));
    lg_torch_net_set_recipe(t->net, (lg_torch_recipe){ (lego_dtype)dtype, (lg_torch_layout)layout });
    t->epochs_done = (int32_t)epochs;
    *resumed = 1;
    lg_log(t->context, LEGO_LOG_INFO, "train", "going on from '%s' after epoch %d", t->opts->checkpoint,
           t->epochs_done);
done:
    lg_free(description);
    lg_checkpoint_close(&file);
    return status;
}

/* --- setting up --- */

/* Choose precision and layout on the first batch. */
static lego_status tune(trainer *t)
{
    lego_batches *batches = NULL;
    lg_torch_tensor *x = NULL;
    const float *images;
    int64_t n = 0;
    lego_status status = LEGO_OK;

    if (t->opts->precision == LEGO_TRAIN_F32)
        return LEGO_OK;
    LG_TRY(lego_batches_create(&batches, t->train, t->opts->batch, 1, 0, 0));
    LG_TRY(lego_batches_next(batches, &n, &images, NULL));
    LG_TRY(lg_torch_upload(&x, t->api, &t->graph->values[t->graph->inputs[0]], n, images, t->opts->device));
    LG_TRY(lg_torch_net_tune(t->net, t->context, LG_TORCH_TRAIN, &x,
                             t->opts->precision == LEGO_TRAIN_BF16 ? LG_TORCH_TUNE_BF16 : LG_TORCH_TUNE_ALL,
                             t->graph->name));
done:
    lg_torch_free_all(t->api, &x, 1);
    lego_batches_free(batches);
    return status;
}

static lego_status prepare(trainer *t)
{
    int32_t n_leaves;
    int resumed = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_torch_open(&t->api, t->context, t->opts->device));
    LG_TRY(lg_torch_net_create(&t->net, t->api, t->graph, t->opts->device));
    n_leaves = lg_torch_net_n_leaves(t->net);
    LG_TRY(LG_CALLOC(&t->velocity, n_leaves));
    LG_TRY(LG_CALLOC(&t->decay, n_leaves));
    for (int32_t i = 0; i < n_leaves; i++) {
        /* Biases and batch norm's scale and shift have one dimension. */
        const int is_weight = t->graph->weights[lg_torch_net_leaf_weights(t->net)[i]].tensor.shape.n_dims > 1;

        LG_TRY(LG_TORCH(t->api, tensor_zeros_like(&t->velocity[i], lg_torch_net_leaves(t->net)[i])));
        t->decay[i] = is_weight || t->opts->decay_all ? t->opts->weight_decay : 0.0;
    }
    t->n_batches = (lego_dataset_n_samples(t->train) + t->opts->batch - 1) / t->opts->batch;
    LG_TRY(load_checkpoint(t, &resumed));
    if (!resumed)
        LG_TRY(tune(t));
done:
    return status;
}

static void dispose(trainer *t)
{
    if (t->velocity)
        lg_torch_free_all(t->api, t->velocity, lg_torch_net_n_leaves(t->net));
    lg_free(t->velocity);
    lg_free(t->decay);
    lg_torch_net_free(t->net);
    if (t->api)
        t->api->allocator_trim();
}

static lego_status run_epochs(trainer *t)
{
    lego_status status = LEGO_OK;

    while (t->epochs_done < t->opts->epochs) {
        const uint64_t start = lg_clock_ns();
        double left;

        LG_TRY(train_epoch(t));
        LG_TRY(evaluate(t));
        t->epochs_done++;
        t->last.epoch = t->epochs_done;
        t->last.seconds = lg_clock_ms_since(start) * 1e-3;
        LG_TRY(save_checkpoint(t));
        left = t->last.seconds * (t->opts->epochs - t->epochs_done);
        lg_log(t->context, LEGO_LOG_INFO, "train",
               "epoch %d/%d: loss %.4f, accuracy %.2f %%; validation loss %.4f, accuracy %.2f %%; lr %.4f; %.1f s, "
               "%.0f s to go",
               t->last.epoch, t->opts->epochs, t->last.train_loss, 100.0 * t->last.train_accuracy, t->last.val_loss,
               100.0 * t->last.val_accuracy, t->last.lr, t->last.seconds, left);
        if (t->opts->on_epoch)
            t->opts->on_epoch(&t->last, t->opts->payload);
    }
done:
    return status;
}

lego_status lego_train(lego_train_epoch *out, lego_context *context, lego_model *model, lego_dataset *train,
                       lego_dataset *val, const lego_train_options *options)
{
    lego_train_options opts = LEGO_TRAIN_OPTIONS_INIT;
    trainer t = { .context = context, .opts = &opts, .train = train, .val = val };
    lego_status status = LEGO_OK;

    if (!model || !train)
        return lg_error(LEGO_EINVAL, "model and train must not be NULL");
    LG_TRY(lg_options_read(&opts, sizeof(opts), options));
    LG_TRY(check_options(&opts));
    if (!opts.device)
        opts.device = "cpu";
    t.graph = model->graph;
    t.last.n_epochs = opts.epochs;
    LG_TRY(check_model(t.graph));
    LG_TRY(check_data(t.graph, train, "training"));
    if (val)
        LG_TRY(check_data(t.graph, val, "validation"));
    LG_TRY(prepare(&t));
    LG_TRY(run_epochs(&t));
    LG_TRY(lg_torch_net_read(t.net, model->graph));
    t.last.epoch = t.epochs_done;
    if (out)
        *out = t.last;
done:
    dispose(&t);
    return status;
}
