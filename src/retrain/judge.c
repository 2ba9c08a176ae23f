/* Held-out losses: which weights of a variant are the better ones.
 *
 * A variant's loss depends on its inputs, and those on the preceding variants, which train too. So losses of different
 * moments cannot be compared: each judgement measures the weights in question side by side, on the same inputs. */
#include "retrain/retrain.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

#define JUDGE_BATCH 128
#define JUDGE_SEED 0x6a75646765ull

static lego_status measure(lg_learner *learner, lg_retrain *r, lg_learner_set set, lg_torch_tensor *const *inputs,
                           const lg_target *targets, double weight)
{
    double loss = 0.0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_learner_use(learner, r->api, set));
    LG_TRY(lg_learner_loss(&loss, learner, r, inputs, targets));
    learner->loss[set] += loss * weight;
done:
    return status;
}

/* What a judgement compares, and the weights that compositions are made of meanwhile. */
typedef struct judgement {
    lg_learner_set compared[2];
    lg_learner_set composed;
    int all; /* every learner, not only those in training */
    double weight; /* share of the batch in the samples */
} judgement;

static lego_status work(lg_retrain *r, lg_learner *learner, lg_torch_tensor *const *inputs,
                        const lg_target *targets, lg_torch_tensor **outputs, void *payload)
{
    const judgement *j = payload;
    lego_status status = LEGO_OK;

    if (j->all || learner->state == LG_LEARNER_TRAINING) {
        for (int k = 0; k < 2; k++)
            LG_TRY(measure(learner, r, j->compared[k], inputs, targets, j->weight));
        LG_TRY(lg_learner_use(learner, r->api, j->composed));
    }
    if (outputs)
        LG_TRY(lg_torch_net_forward(learner->net, LG_TORCH_EVAL, inputs, outputs));
done:
    return status;
}

static void set_recipes(lg_retrain *r, int judging)
{
    const lg_torch_recipe exact = { LEGO_DTYPE_F32, LG_TORCH_CONTIGUOUS };

    for (int32_t i = 0; i < r->n_learners; i++)
        lg_torch_net_set_recipe(r->learners[i].net, judging ? exact : r->learners[i].recipe);
    for (int32_t b = 0; b < r->store->n_blocks; b++)
        if (r->first_learner[b] < r->first_learner[b + 1])
            lg_torch_net_set_recipe(r->originals[b], judging ? exact : r->learners[r->first_learner[b]].recipe);
}

static lego_status run(lg_retrain *r, judgement *j)
{
    const double total = (double)lego_dataset_n_samples(r->val);
    lego_batches *batches = NULL;
    lego_status status = LEGO_OK;

    set_recipes(r, 1);
    for (int32_t i = 0; i < r->n_learners; i++) {
        memset(r->learners[i].loss, 0, sizeof(r->learners[i].loss));
        LG_TRY(lg_learner_use(&r->learners[i], r->api, j->composed));
    }
    LG_TRY(lego_batches_create(&batches, r->val, JUDGE_BATCH, 0, 0, 0));
    for (uint64_t k = 0;; k++) {
        const float *images;
        int64_t n = 0;

        LG_TRY(lego_batches_next(batches, &n, &images, NULL));
        if (n == 0)
            break;
        j->weight = (double)n / total;
        LG_TRY(lg_retrain_walk(r, JUDGE_SEED + k, n, images, work, j));
    }
done:
    set_recipes(r, 0);
    lego_batches_free(batches);
    return status;
}

/* Keep the better of NOW and BEST, and stop a learner that makes no progress. */
static lego_status decide(lg_retrain *r, lg_learner *learner)
{
    const double now = learner->loss[LG_SET_NOW], best = learner->loss[LG_SET_BEST];
    lego_status status = LEGO_OK;

    learner->stale = now < best * (1.0 - r->opts->min_improvement) ? 0 : learner->stale + 1;
    lg_log(r->context, LEGO_LOG_DEBUG, "retrain", "%s: held-out loss %.6g, best before %.6g", learner->name, now, best);
    if (now < best) { /* false for a NaN as well */
        for (int32_t i = 0; i < lg_torch_net_n_leaves(learner->net); i++)
            LG_TRY(LG_TORCH(r->api, tensor_assign(learner->sets[LG_SET_BEST][i], learner->sets[LG_SET_NOW][i])));
        learner->improved = 1;
        learner->written = 0;
    }
    if (r->opts->patience == 0 || learner->stale < r->opts->patience)
        goto done;
    learner->state = LG_LEARNER_DONE;
    lg_log(r->context, LEGO_LOG_INFO, "retrain", "%s: no progress in %d epochs, stopped after %lld steps",
           learner->name, learner->stale, (long long)learner->steps);
    LG_TRY(lg_learner_use(learner, r->api, LG_SET_BEST));
    LG_TRY(lg_learner_write(learner, r));
done:
    return status;
}

lego_status lg_retrain_judge(lg_retrain *r)
{
    judgement j = { { LG_SET_NOW, LG_SET_BEST }, LG_SET_NOW, 0, 0.0 };
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < r->n_learners; i++)
        LG_TRY(lg_learner_keep(&r->learners[i], r->api, LG_SET_NOW));
    LG_TRY(run(r, &j));
    for (int32_t i = 0; i < r->n_learners; i++)
        if (r->learners[i].state == LG_LEARNER_TRAINING)
            LG_TRY(decide(r, &r->learners[i]));
done:
    return status;
}

lego_status lg_retrain_judge_finally(lg_retrain *r)
{
    judgement j = { { LG_SET_START, LG_SET_BEST }, LG_SET_BEST, 1, 0.0 };
    lego_status status = LEGO_OK;

    LG_TRY(run(r, &j));
    for (int32_t i = 0; i < r->n_learners; i++) {
        lg_learner *learner = &r->learners[i];

        learner->loss_before = learner->loss_after = learner->loss[LG_SET_START];
        if (!learner->improved)
            continue;
        if (learner->loss[LG_SET_BEST] < learner->loss[LG_SET_START]) {
            learner->loss_after = learner->loss[LG_SET_BEST];
            continue;
        }
        /* Better among learners in training, no better among the final ones. */
        for (int32_t k = 0; k < lg_torch_net_n_leaves(learner->net); k++)
            LG_TRY(LG_TORCH(r->api, tensor_assign(learner->sets[LG_SET_BEST][k], learner->sets[LG_SET_START][k])));
        if (learner->written) {
            learner->written = 0;
            LG_TRY(lg_learner_write(learner, r));
        }
        learner->improved = 0;
    }
done:
    return status;
}
