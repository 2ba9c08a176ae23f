/* Costs of kernels and reorders: remembered, measured or guessed. */
#ifndef LG_ENGINE_TUNE_H
#define LG_ENGINE_TUNE_H

#include "engine/kernels.h"
#include "engine/layout.h"

typedef struct lg_tuner {
    lg_packed_cache *cache;
    int n_threads; /* the calling thread has entered them */
    int measure;   /* time what is not known yet, instead of guessing */
    int block;
    double cold_share; /* how far weights are out of the cache when a kernel needs them, 0 to 1 */
    void *area;        /* memory of the kernel being timed */
    size_t area_bytes;
    void *pool;        /* of weights for cold runs */
    size_t pool_bytes, pool_next;
} lg_tuner;

void lg_tuner_init(lg_tuner *tuner, lg_packed_cache *cache, const lg_program *program, int n_threads, int measure);
void lg_tuner_dispose(lg_tuner *tuner);

/* Fill options->candidates and us for options->work. */
lego_status lg_tune_step(lg_step_options *options, lg_tuner *tuner);
/* Of one cell, between the layouts that an image can have. */
lego_status lg_tune_reorders(lg_reorder_costs *costs, lg_tuner *tuner, const lg_cell *cell);
/* Note that a candidate turned out not to exist. */
lego_status lg_tune_forbid(lg_tuner *tuner, const lg_work *work, const lg_candidate *candidate);

#endif
