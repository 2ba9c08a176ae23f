/* The runtime's inside.
 *
 * Three locks, taken in this order and never the other way round:
 *   switching   one switch, budget or adaptation at a time; guards the store, the kept compositions, the budget
 *   slot.lock   one inference at a time on a slot's memory
 *   current     a few instructions: which composition runs, and the moving averages
 * Inference takes a slot and `current`, never `switching`: a switch packs and plans for as long as it likes. */
#ifndef LG_RUNTIME_RUNTIME_H
#define LG_RUNTIME_RUNTIME_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/engine.h"
#include "legodnn/runtime.h"
#include "optimize/optimizer.h"
#include "store/store.h"

/* A selection, planned once a slot. Counted: by the runtime while it is current or kept, and by every inference. */
typedef struct lg_composition {
    atomic_int references;
    int32_t n_plans, n_blocks;
    int32_t *selection;
    lg_plan **plans;
    uint64_t last_used; /* of the kept ones; under `switching` */
} lg_composition;

/* Where an inference runs: memory that the plans of all compositions share, for one at a time. */
typedef struct lg_run_slot {
    pthread_mutex_t lock;
    lg_workspace *workspace;
    uint64_t *ns; /* n_blocks + 1, of the last timed inference */
} lg_run_slot;

/* Moving averages since the last switch; under `current`. */
typedef struct lg_measured {
    int64_t n;
    double whole_ns;
    double *part_ns; /* n_blocks + 1; the last one is the frame */
    int64_t n_parts;
} lg_measured;

struct lego_runtime {
    lego_context *context;
    lego_runtime_options options;
    lego_store *store;
    lego_optimizer *optimizer; /* NULL without profiles: then `why_no_optimizer` says what is missing */
    char *why_no_optimizer;
    lg_packed_cache *cache;
    int32_t n_blocks, n_slots;
    lg_run_slot *slots;
    atomic_uint next_slot;

    pthread_mutex_t switching;
    lg_composition **kept; /* options.kept entries, NULL where free */
    uint64_t clock;        /* of last_used */
    lego_budget budget;    /* zero: none */
    double prepare_ms, flip_us;
    double *factors;       /* n_blocks + 1: measured over predicted, by block; the last one is the frame */
    int have_factors;
    uint64_t last_switch_ns;

    pthread_mutex_t current;
    lg_composition *composition;
    lg_measured measured;
    uint64_t n_inferences, n_switches;

    pthread_t adapter;
    pthread_cond_t wake;   /* with `stop_lock` */
    pthread_mutex_t stop_lock;
    int adapter_runs, stop;
};

/* --- composition.c --- */
/* The planned composition of a selection: kept from before, or new. The caller owns a reference. Under `switching`. */
lego_status lg_composition_get(lg_composition **out, lego_runtime *runtime, const int32_t *selection);
void lg_composition_unref(lg_composition *composition);
size_t lg_composition_arena_bytes(const lg_composition *composition);

/* --- switch.c, under `switching` --- */
/* Prepare and flip; reports the event. `predicted` may be NULL. */
lego_status lg_runtime_switch(lego_runtime *runtime, const int32_t *selection, const lego_prediction *predicted,
                              lego_event_kind kind);

/* --- adapt.c --- */
lego_status lg_adapter_start(lego_runtime *runtime);
void lg_adapter_stop(lego_runtime *runtime);

#endif
