/** @file block.h  Cut a model into blocks and write a store of their variants. */
#ifndef LEGODNN_BLOCK_H
#define LEGODNN_BLOCK_H

#include "legodnn/data.h"
#include "legodnn/model.h"
#include "legodnn/prune.h"
#include "legodnn/store.h"

#ifdef __cplusplus
extern "C" {
#endif

/** How many values may cross a block's edge. */
typedef enum lego_block_mode {
    LEGO_BLOCK_MODE_AUTO = 0, /**< the simplest of those below that covers the model */
    LEGO_BLOCK_MODE_OTO = 1,  /**< one input, one output */
    LEGO_BLOCK_MODE_OTM = 2,  /**< one input, any number of outputs */
    LEGO_BLOCK_MODE_MTO = 3,  /**< any number of inputs, one output */
    LEGO_BLOCK_MODE_MTM = 4   /**< any number of both */
} lego_block_mode;

/** "oto" ...; NULL if there is no such mode. */
LEGO_API const char *lego_block_mode_name(lego_block_mode mode);
/** @return LEGO_ENOTFOUND with the known names if there is none of that name */
LEGO_API lego_status lego_block_mode_parse(lego_block_mode *out, const char *name);

typedef struct lego_extract_options {
    size_t struct_size;
    const double *sparsities; /**< each in [0, 1); NULL = 0, 0.25, 0.5, 0.75, 0.875. The original is always among them. */
    size_t n_sparsities;
    /** A block holds at most max(2, ratio * compressible layers). 0: 1/8, or more where that shrinks too little. */
    double ratio;
    lego_block_mode mode;
    lego_criterion criterion;
    int32_t round_to;         /**< widths rounded up to a multiple; 0 or 1 = no rounding */
    lego_prune_scope scope;
    lego_dataset *dataset;    /**< images for `reconstruct` and `taylor`, the training split; NULL = none. Borrowed. */
    /** Names of layers that keep all their output channels; a name may end in '*', which any ending matches. */
    const char *const *exclude;
    size_t n_exclude;
} lego_extract_options;
#define LEGO_EXTRACT_OPTIONS_INIT                                                                      \
    { sizeof(lego_extract_options), NULL, 0, 0.0, LEGO_BLOCK_MODE_AUTO, LEGO_CRITERION_AUTO, 0,         \
      LEGO_PRUNE_SCOPE_GROUP, NULL, NULL, 0 }

/**
 * Find the blocks of a model, make their variants and write the store. An existing store at that path is replaced, in
 * one step, when the new one is complete; any other file or folder there is left alone and refused. The context's seed
 * drives all that is random.
 *
 * @param store_path  the folder to write
 * @param options     NULL = all defaults
 * @return LEGO_EINVAL for a sparsity outside [0, 1) or weights that are not finite, LEGO_ENOTFOUND if `exclude` names no
 *         layer, LEGO_EUNSUPPORTED if no part of the
 *         model can be a block (the message says why)
 */
LEGO_API lego_status lego_extract(lego_context *context, const lego_model *model, const char *store_path,
                                  const lego_extract_options *options);

/**
 * Only find the blocks, as lego_extract() would, and describe them: schema "legodnn.blocks/1" with every block's layers,
 * interface and channel groups, the shares of FLOPs and parameters that can be pruned, and why the rest cannot.
 *
 * @param out  free with lego_string_free()
 */
LEGO_API lego_status lego_extract_explain(char **out, lego_context *context, const lego_model *model,
                                          const lego_extract_options *options);

#ifdef __cplusplus
}
#endif
#endif
