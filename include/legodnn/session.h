/** @file session.h  A planned model that runs: build -> validate -> plan -> run. */
#ifndef LEGODNN_SESSION_H
#define LEGODNN_SESSION_H

#include "legodnn/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum lego_engine {
    LEGO_ENGINE_AUTO = 0,   /**< the fastest this build has */
    LEGO_ENGINE_REF = 1,    /**< plain C, the oracle */
    LEGO_ENGINE_ONEDNN = 2  /**< oneDNN, fused and autotuned */
} lego_engine;

typedef struct lego_session lego_session;

typedef struct lego_session_options {
    size_t struct_size;
    lego_engine engine;
    int32_t batch; /**< samples per run, default 1 */
} lego_session_options;
#define LEGO_SESSION_OPTIONS_INIT { sizeof(lego_session_options), LEGO_ENGINE_AUTO, 1 }

/**
 * Plan a model for one batch size. Running it afterwards allocates nothing.
 * @param out    free with lego_session_free(); used by one thread at a time
 * @param model  borrowed for the life of the session
 */
LEGO_API lego_status lego_session_create(lego_session **out, lego_context *context, const lego_model *model,
                                         const lego_session_options *options);
LEGO_API void lego_session_free(lego_session *session);

/**
 * Run on `batch` samples.
 * @param inputs   one pointer a graph input: float32, row-major (N,C,H,W)
 * @param outputs  one pointer a graph output, filled row-major
 */
LEGO_API lego_status lego_session_run(lego_session *session, const float *const *inputs, float *const *outputs);

/** What runs the session, with its version, e.g. "onednn 2.6.3". Borrowed. */
LEGO_API const char *lego_session_engine(const lego_session *session);

/**
 * What each step runs: its node, the kernel, the memory layout, what was fused into it; one line a step.
 * @param out  free with lego_string_free()
 */
LEGO_API lego_status lego_session_describe(char **out, const lego_session *session);

/**
 * Memory that the session holds, in bytes.
 * @param weight_bytes      packed weights; may be NULL
 * @param activation_bytes  activations and scratch of a run; may be NULL
 */
LEGO_API void lego_session_memory(const lego_session *session, size_t *weight_bytes, size_t *activation_bytes);

#ifdef __cplusplus
}
#endif
#endif
