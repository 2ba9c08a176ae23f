/** @file runtime.h  A store that runs: infer from any thread, switch its size without stopping, adapt to a budget. */
#ifndef LEGODNN_RUNTIME_H
#define LEGODNN_RUNTIME_H

#include "legodnn/optimize.h"
#include "legodnn/session.h"
#include "legodnn/store.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A running model whose size can change at any moment. Every call below but open and free may come from any thread. */
typedef struct lego_runtime lego_runtime;

typedef enum lego_residency {
    LEGO_RESIDENCY_ALL = 0,      /**< every variant is packed when the runtime opens: switches pack nothing */
    LEGO_RESIDENCY_ON_DEMAND = 1 /**< only what runs is in memory: switches read and pack; for memory limits */
} lego_residency;

typedef enum lego_event_kind {
    LEGO_EVENT_SWITCHED = 0,     /**< another selection runs now: lego_runtime_switch() or a new budget */
    LEGO_EVENT_SWITCH_FAILED = 1,/**< the adaptation thread could not make one ready; the old one goes on; `message` says
                                      why */
    LEGO_EVENT_INFEASIBLE = 2,   /**< no selection meets the budget with the latencies as measured; the one that violates
                                      it least runs */
    LEGO_EVENT_LATE = 3,         /**< inferences took longer than the budget: a faster selection runs now */
    LEGO_EVENT_SLACK = 4         /**< there was time to spare: a more accurate selection runs now */
} lego_event_kind;

/** What happened; every pointer is borrowed for the duration of the callback. */
typedef struct lego_event {
    lego_event_kind kind;
    const lego_selection *selection; /**< that runs now */
    lego_prediction predicted;       /**< of it, with latencies as measured lately; zeros without profiles */
    double measured_ms;              /**< median latency of the selection before, lately; 0 if none was measured */
    double prepare_ms;               /**< planning and packing, while the old selection went on */
    double flip_us;                  /**< putting the new one in place */
    const char *message;             /**< NULL unless something failed */
} lego_event;

/** Called on the thread that caused the event, after the fact and without locks held: it may call the runtime, and must
 *  not free it. */
typedef void (*lego_event_fn)(const lego_event *event, void *payload);

typedef struct lego_runtime_options {
    size_t struct_size;
    lego_engine engine;
    lego_residency residency;
    int32_t batch;            /**< samples per inference; 0 = 1 */
    int32_t concurrency;      /**< inferences that run side by side; further ones wait; 0 = 1 */
    int32_t adapt_ms;         /**< a thread calls lego_runtime_adapt() so often; 0: only the host does */
    int32_t kept;             /**< planned compositions kept ready for switching back (resident: all); 0 = 16 */
    int32_t window;           /**< measured latency is the median of the last so many inferences; 0 = 32 */
    int32_t min_samples;      /**< inferences of a selection before its measured latency counts; 0 = 8 */
    int32_t relax;            /**< non-zero: a budget that cannot be met runs the least violation instead of failing */
    int32_t reserved;
    double min_gain;          /**< accuracy (fraction) that using time to spare must gain, up to twice that where it has to
                                   pack; 0 = 0.001 */
    double hysteresis;        /**< share of the latency limit that a slower selection must leave free; 0 = 0.05 */
    const lego_selection *selection; /**< to start with; NULL: all originals. Copied. */
    const char *accuracy_profile;    /**< as in lego_optimizer_options */
    const char *latency_profile;
    lego_event_fn on_event;   /**< may be NULL */
    void *payload;
} lego_runtime_options;
#define LEGO_RUNTIME_OPTIONS_INIT \
    { sizeof(lego_runtime_options), LEGO_ENGINE_AUTO, LEGO_RESIDENCY_ALL, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, NULL, \
      NULL, NULL, NULL, NULL }

/**
 * Open a store and start its first selection. Uses the store's profiles where they are there: budgets need them, and the
 * kernels that the device profile measured are taken over. With a context that leaves the thread count open, the device
 * profile's count is used, since its latencies hold for that.
 *
 * @param out      free with lego_runtime_free(), when no call is under way any more
 * @param context  must outlive the runtime; its threads are those of one inference
 */
LEGO_API lego_status lego_runtime_open(lego_runtime **out, lego_context *context, const char *store_path,
                                       const lego_runtime_options *options);
LEGO_API void lego_runtime_free(lego_runtime *runtime);

/** The store that runs; borrowed, for names and selections only. */
LEGO_API const lego_store *lego_runtime_store(const lego_runtime *runtime);

/**
 * Run one batch on whatever selection is current when the computation starts. Allocates nothing.
 * @param inputs   one pointer a model input: float32, row-major (N,C,H,W)
 * @param outputs  one pointer a model output, filled row-major
 */
LEGO_API lego_status lego_runtime_infer(lego_runtime *runtime, const float *const *inputs, float *const *outputs);

/**
 * Put another selection in place: reads, packs and plans it while inferences go on, then flips. Inferences under way
 * finish on the old one. On failure the old one stays.
 */
LEGO_API lego_status lego_runtime_switch(lego_runtime *runtime, const lego_selection *selection);

/** Read, pack and plan a selection without switching, so that a later switch to it only flips. */
LEGO_API lego_status lego_runtime_prepare(lego_runtime *runtime, const lego_selection *selection);

/**
 * Set the budget, and switch to the best selection that meets it. NULL: no limits.
 * @return LEGO_EINFEASIBLE if nothing does (unless `relax`): nothing changes, the message names the nearest budget that
 *         works; LEGO_ENOTFOUND without profiles
 */
LEGO_API lego_status lego_runtime_set_budget(lego_runtime *runtime, const lego_budget *budget);

/**
 * One step of adaptation: scale the device profile, block by block, to the latencies measured lately, solve again where
 * the budget is missed or leaves room, and switch if that gains more than it costs.
 * @param switched  non-zero if another selection runs now; may be NULL
 */
LEGO_API lego_status lego_runtime_adapt(lego_runtime *runtime, int *switched);

/** The current selection; free with lego_selection_free(). */
LEGO_API lego_status lego_runtime_selection(lego_selection **out, lego_runtime *runtime);

typedef struct lego_runtime_stats {
    uint64_t n_inferences;
    uint64_t n_switches;
    double latency_ms;    /**< median of the current selection's last inferences; 0 before its first */
    double predicted_ms;  /**< of the current selection by the device profile alone; NaN without one */
    double adapted_ms;    /**< the same with the profile scaled to what was measured; NaN without one */
    double slowdown;      /**< measured over predicted; 1 without measurements */
    double accuracy;      /**< predicted, of the current selection; NaN without a profile */
    double prepare_ms;    /**< of the last switch */
    double flip_us;       /**< of the last switch */
    size_t weight_bytes;  /**< packed weights and kernels of everything that is resident */
    size_t arena_bytes;   /**< activations */
    lego_budget budget;
} lego_runtime_stats;
LEGO_API lego_status lego_runtime_get_stats(lego_runtime_stats *out, lego_runtime *runtime);

#ifdef __cplusplus
}
#endif
#endif
