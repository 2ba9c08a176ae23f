/** @file profile.h  Measurements of a store's variants: accuracy (server side) and latency (device side). */
#ifndef LEGODNN_PROFILE_H
#define LEGODNN_PROFILE_H

#include "legodnn/data.h"
#include "legodnn/session.h"
#include "legodnn/store.h"
#include "legodnn/task.h"

#ifdef __cplusplus
extern "C" {
#endif

/** One profile document, schema "legodnn.profile/1": a server section (accuracy), a device section (latency), or both. */
typedef struct lego_profile lego_profile;

/** Names of the two documents in a store's folder. */
#define LEGO_PROFILE_SERVER_FILE "profile.json"
#define LEGO_PROFILE_DEVICE_FILE "latency.json"

/**
 * Load a profile. Untrusted input: every number is checked.
 * @param out  free with lego_profile_free()
 */
LEGO_API lego_status lego_profile_load(lego_profile **out, const char *path);
LEGO_API void lego_profile_free(lego_profile *profile);
/** Write the document, atomically. */
LEGO_API lego_status lego_profile_save(const lego_profile *profile, const char *path);
/** The document as JSON; free with lego_string_free(). */
LEGO_API lego_status lego_profile_to_json(char **out, const lego_profile *profile);
/** One line a variant, for spreadsheets; free with lego_string_free(). */
LEGO_API lego_status lego_profile_to_csv(char **out, const lego_profile *profile);

/** Options of lego_profile_measure_accuracy(). */
typedef struct lego_accuracy_options {
    size_t struct_size;
    const lego_task *task;  /**< NULL: classification; borrowed during the call */
    lego_engine engine;
    int32_t environments;   /**< compositions around a variant, from all original to all smallest; 0 = 3 */
    int32_t held_out;       /**< random selections that check the prediction; 0 = 24, negative = none */
    int32_t batch;          /**< images at a time; 0 = 64, fewer if memory is short */
    int64_t memory_bytes;   /**< for activations; 0 = 1 GiB */
} lego_accuracy_options;
#define LEGO_ACCURACY_OPTIONS_INIT { sizeof(lego_accuracy_options), NULL, LEGO_ENGINE_AUTO, 0, 0, 0, 0 }

/**
 * Measure what every variant costs in accuracy: in several environments, in which it takes the original's place; and how
 * far it moves the model's outputs. Several ways to predict the accuracy of a selection from that are checked on random
 * selections that none of them has seen; the best one's costs are what the optimiser uses, its error is part of the
 * profile. Compositions that agree on the first blocks share their activations. Progress stage: "profile".
 *
 * @param out      free with lego_profile_free(); save it as LEGO_PROFILE_SERVER_FILE in the store's folder
 * @param store    used exclusively during the call
 * @param dataset  validation samples, without augmentation
 * @return LEGO_EINVAL for a test split: what selections are chosen by must not have seen it
 */
LEGO_API lego_status lego_profile_measure_accuracy(lego_profile **out, lego_context *context, lego_store *store,
                                                   lego_dataset *dataset, const lego_accuracy_options *options);

/**
 * The accuracy that a profile's server section predicts for a selection.
 * @return LEGO_ENOTFOUND if the profile does not know one of its variants, LEGO_EINVAL without a server section
 */
LEGO_API lego_status lego_profile_predict_accuracy(double *accuracy, const lego_profile *profile,
                                                   const lego_store *store, const lego_selection *selection);

/** Options of lego_profile_measure_latency(). */
typedef struct lego_latency_options {
    size_t struct_size;
    lego_engine engine;
    int32_t batch;    /**< samples per inference; 0 = 1 */
    int32_t samples;  /**< inferences of every measured composition; 0 = 30 */
    int32_t held_out; /**< random selections that check the prediction; 0 = 20, negative = none */
    int32_t autotune; /**< 0 = time kernel candidates once and keep the choice in the profile, negative = do not */
} lego_latency_options;
#define LEGO_LATENCY_OPTIONS_INIT { sizeof(lego_latency_options), LEGO_ENGINE_AUTO, 0, 0, 0, 0 }

/**
 * Measure the latency of every variant on this machine, in composition: designed compositions show each variant of
 * each block in several neighbourhoods, run interleaved in rounds; disturbed rounds are repeated. An additive model is
 * fitted to the compositions' times and checked on held-out random selections; its error is part of the profile.
 *
 * @param out    free with lego_profile_free(); save it as LEGO_PROFILE_DEVICE_FILE in the store's folder
 * @param store  used exclusively during the call
 */
LEGO_API lego_status lego_profile_measure_latency(lego_profile **out, lego_context *context, lego_store *store,
                                                  const lego_latency_options *options);

/** What lego_profile_compare() reports. */
typedef struct lego_comparison lego_comparison;

/** Options of lego_profile_compare(): what is accepted; 0 = the default, negative = nothing. */
typedef struct lego_compare_options {
    size_t struct_size;
    double latency;  /**< relative: 0.05 (the default) accepts 5 % more time */
    double accuracy; /**< absolute: 0.005 (the default) accepts half a point less */
    double size;     /**< relative, weight bytes and FLOPs; default 0.05 */
} lego_compare_options;
#define LEGO_COMPARE_OPTIONS_INIT { sizeof(lego_compare_options), 0.0, 0.0, 0.0 }

/**
 * Compare two profiles of one store: latencies where both have a device section, predicted accuracy and sizes where
 * both have a server section. A latency counts as worse only if the change also exceeds the noise of both
 * measurements. Variants that only one of them has are listed, a missing one is worse.
 *
 * @param out  free with lego_comparison_free()
 * @return LEGO_EINVAL if the profiles have no section in common
 */
LEGO_API lego_status lego_profile_compare(lego_comparison **out, const lego_profile *before,
                                          const lego_profile *after, const lego_compare_options *options);
LEGO_API void lego_comparison_free(lego_comparison *comparison);
/** How many values (of a variant, of the frame, of the whole) got worse by more than is accepted. */
LEGO_API int32_t lego_comparison_n_worse(const lego_comparison *comparison);
/** One line for the index-th of them, e.g. "b3 s0.6: latency 412 us, was 371 us (+11.1 %, 5 % accepted)"; borrowed. */
LEGO_API const char *lego_comparison_worse(const lego_comparison *comparison, int32_t index);
/** Everything compared as JSON, schema "legodnn.comparison/1"; free with lego_string_free(). */
LEGO_API lego_status lego_comparison_to_json(char **out, const lego_comparison *comparison);

#ifdef __cplusplus
}
#endif
#endif
