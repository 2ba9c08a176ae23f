/* The runtime's inside: which composition runs, who runs on it, what that took.
 *
 * Two locks. `plan_lock` is held as long as planning takes and guards everything that changes slowly: store, optimiser,
 * kept compositions, budget. `run_lock` is held for a few instructions at the start and end of an inference and at a
 * switch; it guards the current composition, its users, the free slots and the measurements. plan_lock is taken first.
 *
 * What newcomers get wrong: a composition that was switched off may still be running. It is freed by whoever gives up the
 * last claim on it: the inference that ends, or the thread that drops it from the kept ones. */
#ifndef LG_RUNTIME_RUNTIME_H
#define LG_RUNTIME_RUNTIME_H

#include <pthread.h>

#include "engine/engine.h"
#include "legodnn/runtime.h"
#include "optimize/optimizer.h"

typedef struct lg_composition {
    int32_t *selection;
    lg_plan **plans;      /* one a slot, on the slot's workspace */
    int32_t n_plans;
    uint64_t last_wanted; /* plan_lock: for eviction */
    int32_t users;        /* run_lock: inferences on it */
    int is_kept;          /* run_lock: in `kept`; freed once it is neither kept nor used */
} lg_composition;

/* What the last inferences of the current composition took. */
typedef struct lg_measurements {
    int64_t n_samples; /* run_lock: since the switch */
    float *ring;       /* run_lock: window x (n_blocks + 1), in microseconds: blocks, then the whole */
    float *copy;       /* plan_lock: of the ring */
    double *values;    /* plan_lock: window */
    double *median_us; /* plan_lock: blocks, frame, whole */
    double *scale;     /* plan_lock: measured / profile, blocks and frame; survives switches */
} lg_measurements;

struct lego_runtime {
    lego_context *context;
    lego_runtime_options options;
    int32_t n_threads;
    lego_store *store;
    lego_optimizer *optimizer; /* NULL without profiles: then `why_no_optimizer` says what is missing */
    char *why_no_optimizer;
    lg_packed_cache *cache;
    lg_workspace **workspaces; /* one a slot */

    pthread_mutex_t plan_lock;
    lg_composition **kept;
    int32_t n_kept, max_kept;
    uint64_t wanted;           /* counts uses of kept compositions */
    lego_budget budget;
    lg_problem scaled;         /* the optimiser's problem with latencies as measured lately */
    int32_t *scratch;          /* n_blocks */

    pthread_mutex_t run_lock;
    pthread_cond_t slot_free;
    lg_composition *current;
    int32_t *free_slots, n_free;
    uint64_t **slot_ns;        /* by slot: n_blocks + 1 */
    lg_measurements measured;
    uint64_t n_inferences, n_switches;
    double prepare_ms, flip_us;

    pthread_t thread;          /* adapts in the background */
    int has_thread;
    pthread_cond_t wake;       /* with plan_lock */
    int stopping;
};

/* --- compositions.c; plan_lock held --- */
/* Compose, plan and pack; `n_plans` for the first so many slots. */
lego_status lg_composition_create(lg_composition **out, lego_runtime *runtime, const int32_t *selection,
                                  int32_t n_plans);
/* The composition of a selection: kept from before, or composed, planned, packed and kept now. */
lego_status lg_composition_get(lg_composition **out, lego_runtime *runtime, const int32_t *selection);
/* Make it the current one and let go of what need not be kept. */
void lg_composition_flip(lego_runtime *runtime, lg_composition *composition, double prepare_ms);
/* Give up the claim of an inference; run_lock held. Returns the composition if it is to be freed, after unlocking. */
lg_composition *lg_composition_release(lg_composition *composition);
void lg_composition_free(lg_composition *composition); /* NULL is a no-op */
/* Free, and in on-demand mode give its weights back. */
void lg_composition_discard(lego_runtime *runtime, lg_composition *composition);

/* --- measure.c --- */
lego_status lg_measurements_init(lg_measurements *measured, int32_t n_blocks, int32_t window);
void lg_measurements_dispose(lg_measurements *measured);
/* An inference of the current composition took so long, its blocks ns[b]; run_lock held. */
void lg_measure(lego_runtime *runtime, const uint64_t *ns, uint64_t whole_ns);
/* Bring median_us up to date and return the median latency in milliseconds, 0 without any; plan_lock held. */
double lg_measured_ms(int64_t *n_samples, lego_runtime *runtime);
/* Bring runtime->scaled up to date with what was measured; plan_lock held, an optimiser there. */
void lg_rescale(lego_runtime *runtime);

/* --- adapt.c --- */
lego_status lg_check_selection(const lego_runtime *runtime, const lego_selection *selection);
lego_status lg_adapt_start(lego_runtime *runtime);
void lg_adapt_stop(lego_runtime *runtime);
/* Switch to a selection, filling in an event if it was not current already; plan_lock held. */
lego_status lg_switch_to(lego_runtime *runtime, const int32_t *selection, lego_event_kind kind, lego_event *event,
                         int *switched);
/* Tell the host; no lock held. The event's selection is freed. */
void lg_report(lego_runtime *runtime, lego_event *event, int switched);

#endif
