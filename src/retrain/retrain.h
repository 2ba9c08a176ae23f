/* Retraining's inside: the learners, the walk of a batch through the original and a composition, the checkpoint. */
#ifndef LG_RETRAIN_RETRAIN_H
#define LG_RETRAIN_RETRAIN_H

#include "legodnn/retrain.h"
#include "retrain/checkpoint.h"
#include "retrain/crew.h"
#include "store/store.h"
#include "torch/torch.h"

typedef enum lg_learner_state {
    LG_LEARNER_TRAINING,
    LG_LEARNER_DONE,  /* stopped early; stays in compositions with its best weights */
    LG_LEARNER_FAILED /* not finite; holds its best weights and is left out of compositions */
} lg_learner_state;

/* Sets of values for the leaves of a learner's net. */
typedef enum lg_learner_set { LG_SET_START, LG_SET_BEST, LG_SET_NOW, LG_N_SETS } lg_learner_set;

/* A variant that trains. */
typedef struct lg_learner {
    int32_t block, variant;
    const char *block_name;
    char *name; /* "b0/s0.6" */
    lg_torch_net *net;
    lg_torch_recipe recipe;            /* of training; held-out losses are measured in float32 */
    lg_torch_tensor **sets[LG_N_SETS]; /* n_leaves each; NOW is filled only while others are evaluated */
    lg_torch_tensor **m, **v;          /* Adam's moments */
    lg_learner_state state;
    int64_t steps;
    int32_t stale;  /* evaluations without progress */
    int improved;   /* BEST is not START */
    int written;    /* the store has BEST */
    double last_loss, last_norm; /* of the step that failed */
    int reported;   /* that it failed */
    double loss[LG_N_SETS]; /* held-out sums of the running evaluation */
    double loss_before, loss_after;
} lg_learner;

typedef struct lg_retrain {
    lego_context *context;
    const lego_retrain_options *opts;
    lego_store *store;
    lego_dataset *train, *val;
    const lg_torch_api *api;
    const lg_segments *segments;
    int32_t n_segments;         /* up to the last block; what follows trains nothing */
    lg_torch_net **frame_nets;  /* by segment; NULL for blocks */
    lg_torch_net **originals;   /* by block */
    lg_learner *learners;
    int32_t n_learners;
    int32_t *first_learner;     /* by block, and n_learners at the end */
    lg_torch_tensor **original; /* boundary values of the batch on the original's path, by slot */
    lg_torch_tensor **composed; /* on the composition's path */
    lg_torch_tensor **weights;  /* by slot: the directions in which errors count more; NULL: all alike */
    int32_t *segment_of;        /* by block */
    uint8_t *same;              /* whether composed is original, by slot */
    int32_t *drawn;             /* by block: learner of the batch's composition, LG_NONE for the original */
    lg_crew *crew;              /* NULL: one thread */
    int threads_each;           /* libtorch's, on each thread of the crew */
    int64_t batches_per_epoch;
    int64_t steps_done;
    double seconds;             /* of training, checkpoints included */
} lg_retrain;

/* What a learner aims at: one output of the original block. */
typedef struct lg_target {
    lg_torch_tensor *value;
    lg_torch_tensor *projected; /* lg_retrain_project() of it */
} lg_target;

/* --- learners (learner.c) --- */
lego_status lg_learner_init(lg_learner *out, lg_retrain *retrain, int32_t block, int32_t variant);
void lg_learner_dispose(lg_learner *learner, const lg_torch_api *api);
/* Copy the net's leaves into a set, or a set into the net. */
lego_status lg_learner_keep(lg_learner *learner, const lg_torch_api *api, lg_learner_set set);
lego_status lg_learner_use(lg_learner *learner, const lg_torch_api *api, lg_learner_set set);
/* One step towards the targets; outputs[i] receives the outputs before the step, without history. A learner that
 * is not finite is rolled back to its best weights and gives no outputs. */
lego_status lg_learner_step(lg_learner *learner, lg_retrain *retrain, lg_torch_tensor *const *inputs,
                            const lg_target *targets, double lr, lg_torch_tensor **outputs);
/* Held-out loss of the net as it is. */
lego_status lg_learner_loss(double *out, lg_learner *learner, lg_retrain *retrain, lg_torch_tensor *const *inputs,
                            const lg_target *targets);
/* Put the best weights into the store, unless it has them. */
lego_status lg_learner_write(lg_learner *learner, lg_retrain *retrain);

/* --- one batch (walk.c) --- */
/* What a learner does at its block, with the block's inputs in the composition and what to aim at. `outputs` is NULL
 * unless the learner was drawn: then it may receive what the learner makes of the inputs. Learners of one block work at
 * the same time. */
typedef lego_status (*lg_retrain_work)(lg_retrain *retrain, lg_learner *learner, lg_torch_tensor *const *inputs,
                                       const lg_target *targets, lg_torch_tensor **outputs, void *payload);
/* Draw a composition with `seed`, take n samples through the segments on both paths and let every learner work. */
lego_status lg_retrain_walk(lg_retrain *retrain, uint64_t seed, int64_t n, const float *images, lg_retrain_work work,
                            void *payload);

/* --- importance (importance.c) --- */
/* Fill `weights` for the blocks' outputs of a classifier. */
lego_status lg_retrain_weigh(lg_retrain *retrain);
/* A block's output in the directions in which errors count more; NULL where all count alike. */
lego_status lg_retrain_project(lg_torch_tensor **out, const lg_retrain *retrain, int32_t block, int32_t output,
                               const lg_torch_tensor *x);
/* A narrow L with L L^T close to `f` (c,c), whose diagonal is one on average: l (rank,c) has room for max_rank rows,
 * `left` for c numbers; `rest` is the mean of what is left of the diagonal. Returns the rank. */
int64_t lg_importance_factor(double *l, double *left, double *rest, const double *f, int64_t c, int64_t max_rank);

/* --- held-out losses (judge.c) --- */
/* After an epoch: compare every training learner's weights now with its best ones and keep the better. */
lego_status lg_retrain_judge(lg_retrain *retrain);
/* At the end: compare every learner's best weights with those it started with, in compositions of best weights, and
 * fall back where they are no better. Sets loss_before and loss_after. */
lego_status lg_retrain_judge_finally(lg_retrain *retrain);

/* --- checkpoint (state.c) --- */
lego_status lg_retrain_save(const lg_retrain *retrain);
/* Go on from the store's checkpoint if there is one; `resumed` says so. */
lego_status lg_retrain_resume(int *resumed, lg_retrain *retrain);
lego_status lg_retrain_discard(const lg_retrain *retrain);

/* --- report (report.c) --- */
lego_status lg_retrain_report_create(lego_retrain_report **out, const lg_retrain *retrain);

#endif
