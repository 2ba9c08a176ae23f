/** @file torch.h  libtorch as an engine: the oracle of the others, and what trains. Needs the torch module. */
#ifndef LEGODNN_TORCH_H
#define LEGODNN_TORCH_H

#include "legodnn/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Load the torch module, if it is not loaded yet, and check that `device` can be used.
 * @param version  receives e.g. "libtorch 1.13.1"; borrowed, static; may be NULL
 * @param device   "cpu", "cuda", "cuda:N"; NULL = "cpu"
 * @return LEGO_EUNSUPPORTED, saying what to install, if the module or the device is missing
 */
LEGO_API lego_status lego_torch_require(const char **version, const char *device);

/** A model on libtorch, float32. */
typedef struct lego_torch_session lego_torch_session;

/**
 * @param out     free with lego_torch_session_free(); used by one thread at a time
 * @param model   its weights are copied
 * @param device  as in lego_torch_require()
 */
LEGO_API lego_status lego_torch_session_create(lego_torch_session **out, lego_context *context,
                                               const lego_model *model, const char *device);
LEGO_API void lego_torch_session_free(lego_torch_session *session);

/**
 * Run on any number of samples.
 * @param inputs   one pointer a graph input: n samples, float32, row-major (N,C,H,W)
 * @param outputs  one pointer a graph output, filled row-major
 */
LEGO_API lego_status lego_torch_session_run(lego_torch_session *session, int64_t n, const float *const *inputs,
                                            float *const *outputs);

#ifdef __cplusplus
}
#endif
#endif
