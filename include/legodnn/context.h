/** @file context.h  Settings shared by the calls of one application part: log, progress, threads, seed. */
#ifndef LEGODNN_CONTEXT_H
#define LEGODNN_CONTEXT_H

#include "legodnn/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lego_context lego_context;

typedef enum lego_log_level {
    LEGO_LOG_ERROR = 0,
    LEGO_LOG_WARNING = 1,
    LEGO_LOG_INFO = 2,
    LEGO_LOG_DEBUG = 3
} lego_log_level;

/** Receives one line without a newline. `module` is the folder that speaks, e.g. "extract". */
typedef void (*lego_log_fn)(lego_log_level level, const char *module, const char *message, void *payload);

/** Progress of long work; return non-zero to cancel: the call then fails with LEGO_ECANCELED and loses nothing. */
typedef int (*lego_progress_fn)(const char *stage, size_t done, size_t total, void *payload);

/**
 * Create a context: silent, no progress, all cores, seed 0.
 * A context may be shared by several threads once it is set up; setters are not thread-safe.
 * @param out  the context; free with lego_context_free() after every object created with it
 */
LEGO_API lego_status lego_context_create(lego_context **out);
LEGO_API void lego_context_free(lego_context *context);

/** Send messages of `level` and more severe ones to `fn`; NULL silences. */
LEGO_API lego_status lego_context_set_log(lego_context *context, lego_log_level level, lego_log_fn fn,
                                          void *payload);
LEGO_API lego_status lego_context_set_progress(lego_context *context, lego_progress_fn fn, void *payload);

/** Compute threads for every engine (oneDNN, libtorch, OpenBLAS); 0 = all cores this process may use. */
LEGO_API lego_status lego_context_set_threads(lego_context *context, int n_threads);
LEGO_API int lego_context_threads(const lego_context *context);

/** Seed of everything random: weight initialisation, shuffling, augmentation, drawn compositions. */
LEGO_API lego_status lego_context_set_seed(lego_context *context, uint64_t seed);
LEGO_API uint64_t lego_context_seed(const lego_context *context);

#ifdef __cplusplus
}
#endif
#endif
