/* One thread's walk through the compositions, chunk of images after chunk, and what all walkers share (tree.c). */
#ifndef LG_PROFILE_WALKER_H
#define LG_PROFILE_WALKER_H

#include <pthread.h>

#include "engine/engine.h"
#include "profile/tree.h"

/* Shared by all walkers: constant while they run, but for what is under the mutex. */
typedef struct lg_walk {
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
    int32_t *order;         /* composition indices, lexicographic; the first is all originals */
    int32_t max_variants;
    int32_t *plan_batch;    /* by segment: how many of a chunk's images its plans run at a time */
    int64_t *flops;         /* by segment and variant, of one sample */
    lg_tree *out;

    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* under the mutex: */
    lego_batches *batches;
    int64_t next_chunk;
    int64_t *scored;        /* by composition: chunks that were added up */
    void **scores;          /* by composition */
    double *error, *norm;   /* by composition: squared error of the block that differs, square of its original */
    double flops_done;
    size_t n_done;          /* compositions of chunks */
    int stop;
    lego_status status;     /* the first failure */
    char message[512];
} lg_walk;

/* One thread's: plans, and boundary values of the composition that ran last. */
typedef struct lg_walker {
    lg_walk *walk;
    int is_first;           /* the caller's thread: reports progress */
    lg_plan **plans;        /* by segment and variant; frame segments use the first */
    float **pool;           /* by slot: the composition that ran last */
    float **original;       /* by slot: of all originals; NULL but for blocks' outputs and the model's */
    int32_t *current;       /* by block: variants that made the pool; -1 at the start of a chunk */
    uint8_t *changed;       /* by slot: rewritten for this composition */
    double *accuracies, *divergences; /* of a chunk's samples */
    int64_t *labels;
    const float **arguments; /* of a segment being run */
    float **results;
    const float **outputs, **outputs_before;
    double error, norm;     /* of this chunk and composition */
    double flops_done;
} lg_walker;

static inline const int32_t *lg_walk_selection(const lg_walk *walk, int32_t composition)
{
    return walk->selections + (size_t)composition * (size_t)walk->store->n_blocks;
}

static inline size_t lg_walk_plan(const lg_walk *walk, int32_t segment, int32_t variant)
{
    return (size_t)segment * (size_t)walk->max_variants + (size_t)variant;
}

/* The one block in which a selection differs from the original; LG_NONE if it is none or several. */
int32_t lg_walk_single_block(const lg_walk *walk, int32_t composition);

/* Memory for a walker, not its plans. Dispose of it after a failure too. */
lego_status lg_walker_init(lg_walker *walker, lg_walk *walk);
void lg_walker_dispose(lg_walker *walker);
/* Take chunks until there are none, or somebody failed: the outcome is in the walk. */
void lg_walker_run(lg_walker *walker);

#endif
