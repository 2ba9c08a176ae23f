/* The checkpoint of a retraining, in the store's folder: killed at any moment, the next run goes on from it.
 *
 * It holds every learner's weights (now, best, at the start) and moments, and how many steps are done. The order of
 * samples and the drawn compositions are functions of the seed and the step, so nothing else is needed. The store's
 * manifest does not list it: a store without it is complete. */
#include "retrain/retrain.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"

#define KIND "legodnn.retrain-checkpoint/1"
#define FILE_NAME "retrain.checkpoint"

static lego_status checkpoint_path(char **out, const lg_retrain *r)
{
    *out = lg_path_join(lego_store_path(r->store), FILE_NAME);
    return *out ? LEGO_OK : lg_error(LEGO_ENOMEM, "out of memory for the checkpoint's name");
}

/* What a checkpoint must agree on for the retraining to go on. */
static lego_status describe(char **out, const lg_retrain *r)
{
    const lego_retrain_options *o = r->opts;

    *out = lg_asprintf("data %s, %lld samples, %lld held out, seed %llu, epochs %d, batch %d, lr %g, clipping %g, "
                       "progress %g, patience %d, inputs %d, loss %d, weighting %d, %d variants",
                       lego_dataset_name(r->train), (long long)lego_dataset_n_samples(r->train),
                       (long long)lego_dataset_n_samples(r->val), (unsigned long long)lego_context_seed(r->context),
                       o->epochs, o->batch, o->lr, o->max_norm, o->min_improvement, o->patience, (int)o->inputs,
                       (int)o->loss, (int)o->weighting, r->n_learners);
    return *out ? LEGO_OK : lg_error(LEGO_ENOMEM, "out of memory for the checkpoint");
}

/* Everything about one learner goes through here, in both directions. */
typedef struct transfer {
    lg_checkpoint *to;
    const lg_checkpoint_file *from;
    const lg_torch_api *api;
} transfer;

static lego_status move_tensor(const transfer *t, const char *prefix, const char *name, lg_torch_tensor *tensor)
{
    return t->to ? lg_checkpoint_add(t->to, t->api, prefix, name, tensor)
                 : lg_checkpoint_read(t->from, t->api, prefix, name, tensor);
}

static lego_status move_int(const transfer *t, const char *learner, const char *key, int64_t *value, int64_t max)
{
    char *full = lg_asprintf("%s %s", learner, key);
    lego_status status;

    if (!full)
        return lg_error(LEGO_ENOMEM, "out of memory for the checkpoint");
    status = t->to ? lg_checkpoint_set_int(t->to, full, *value)
                   : lg_checkpoint_get_int(value, t->from, full, 0, max);
    lg_free(full);
    return status;
}

static lego_status move_leaves(const transfer *t, const lg_learner *learner, const char *what,
                               lg_torch_tensor *const *tensors)
{
    const lg_graph *graph = lg_torch_net_graph(learner->net);
    const int32_t *weights = lg_torch_net_leaf_weights(learner->net);
    char *prefix = lg_asprintf("%s/%s/", learner->name, what);
    lego_status status = LEGO_OK;

    if (!prefix)
        LG_FAIL(LEGO_ENOMEM, "out of memory for the checkpoint");
    for (int32_t i = 0; i < lg_torch_net_n_leaves(learner->net); i++)
        LG_TRY(move_tensor(t, prefix, graph->weights[weights[i]].name, tensors[i]));
done:
    lg_free(prefix);
    return status;
}

static lego_status move_learner(const transfer *t, lg_learner *learner)
{
    int64_t state = learner->state, stale = learner->stale, improved = learner->improved, written = learner->written;
    int64_t dtype = learner->recipe.dtype, layout = learner->recipe.layout;
    lego_status status = LEGO_OK;

    LG_TRY(move_leaves(t, learner, "now", lg_torch_net_leaves(learner->net)));
    LG_TRY(move_leaves(t, learner, "best", learner->sets[LG_SET_BEST]));
    LG_TRY(move_leaves(t, learner, "start", learner->sets[LG_SET_START]));
    LG_TRY(move_leaves(t, learner, "m", learner->m));
    LG_TRY(move_leaves(t, learner, "v", learner->v));
    LG_TRY(move_int(t, learner->name, "steps", &learner->steps, INT64_MAX));
    LG_TRY(move_int(t, learner->name, "state", &state, LG_LEARNER_FAILED));
    LG_TRY(move_int(t, learner->name, "stale", &stale, INT32_MAX));
    LG_TRY(move_int(t, learner->name, "improved", &improved, 1));
    LG_TRY(move_int(t, learner->name, "written", &written, 1));
    LG_TRY(move_int(t, learner->name, "dtype", &dtype, LEGO_DTYPE_BF16));
    LG_TRY(move_int(t, learner->name, "layout", &layout, LG_TORCH_CHANNELS_LAST));
    learner->state = (lg_learner_state)state;
    learner->stale = (int32_t)stale;
    learner->improved = (int)improved;
    learner->written = (int)written;
    learner->recipe = (lg_torch_recipe){ (lego_dtype)dtype, (lg_torch_layout)layout };
done:
    return status;
}

lego_status lg_retrain_save(const lg_retrain *r)
{
    transfer t = { NULL, NULL, r->api };
    char *path = NULL, *description = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(checkpoint_path(&path, r));
    LG_TRY(describe(&description, r));
    LG_TRY(lg_checkpoint_create(&t.to, KIND));
    LG_TRY(lg_checkpoint_set(t.to, "retraining", description));
    LG_TRY(lg_checkpoint_set_int(t.to, "steps_done", r->steps_done));
    LG_TRY(lg_checkpoint_set_double(t.to, "seconds", r->seconds));
    for (int32_t i = 0; i < r->n_learners; i++)
        LG_TRY(move_learner(&t, &r->learners[i]));
    LG_TRY(lg_checkpoint_save(t.to, path));
done:
    lg_checkpoint_free(t.to);
    lg_free(description);
    lg_free(path);
    return status;
}

lego_status lg_retrain_resume(int *resumed, lg_retrain *r)
{
    lg_checkpoint_file file = { NULL };
    const transfer t = { NULL, &file, r->api };
    const int64_t total = r->batches_per_epoch * r->opts->epochs;
    const char *stored = NULL;
    char *path = NULL, *description = NULL;
    lego_status status = LEGO_OK;

    *resumed = 0;
    LG_TRY(checkpoint_path(&path, r));
    if (!lg_file_exists(path))
        goto done;
    LG_TRY(describe(&description, r));
    LG_TRY(lg_checkpoint_open(&file, path, KIND));
    LG_TRY(lg_checkpoint_get(&stored, &file, "retraining"));
    if (strcmp(stored, description) != 0)
        LG_FAIL(LEGO_EINVAL, "'%s' is of an unfinished retraining with other options (%s; now: %s): go on with those, or "
                "restart", path, stored, description);
    LG_TRY(lg_checkpoint_get_int(&r->steps_done, &file, "steps_done", 0, total));
    LG_TRY(lg_checkpoint_get_double(&r->seconds, &file, "seconds"));
    for (int32_t i = 0; i < r->n_learners; i++)
        LG_TRY(move_learner(&t, &r->learners[i]));
    *resumed = 1;
    lg_log(r->context, LEGO_LOG_INFO, "retrain", "going on after %lld of %lld steps", (long long)r->steps_done,
           (long long)total);
done:
    lg_checkpoint_close(&file);
    lg_free(description);
    lg_free(path);
    return status;
}

static lego_status remove_file(const char *folder, const char *name)
{
    char *path = lg_path_join(folder, name);
    lego_status status = LEGO_OK;

    if (!path)
        LG_FAIL(LEGO_ENOMEM, "out of memory for the checkpoint's name");
    if (remove(path) != 0 && errno != ENOENT)
        LG_FAIL(LEGO_EIO, "'%s' cannot be removed: %s", path, strerror(errno));
done:
    lg_free(path);
    return status;
}

/* The checkpoint, and what a kill in the middle of writing one has left. */
lego_status lg_retrain_discard(const lg_retrain *r)
{
    static const char temporary[] = FILE_NAME ".tmp-";
    const char *folder = lego_store_path(r->store);
    char **names = NULL;
    size_t n = 0;
    lego_status status = LEGO_OK;

    LG_TRY(remove_file(folder, FILE_NAME));
    LG_TRY(lg_dir_list(&names, &n, folder));
    for (size_t i = 0; i < n; i++)
        if (strncmp(names[i], temporary, sizeof(temporary) - 1) == 0)
            LG_TRY(remove_file(folder, names[i]));
done:
    lg_names_free(names, n);
    return status;
}
