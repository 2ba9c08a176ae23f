/** @file store.h  The store: frame, blocks, variants and profiles in one folder; what goes to the device. */
#ifndef LEGODNN_STORE_H
#define LEGODNN_STORE_H

#include "legodnn/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lego_store lego_store;
/** One variant per block of a store. */
typedef struct lego_selection lego_selection;

/**
 * Open a store and check its manifest and file sizes; variants are read and their checksums checked on first use.
 * @param out  free with lego_store_free()
 */
LEGO_API lego_status lego_store_open(lego_store **out, lego_context *context, const char *path);
LEGO_API void lego_store_free(lego_store *store);

/** Read every file and compare its checksum; the message names the first damaged one. */
LEGO_API lego_status lego_store_verify(lego_store *store);

LEGO_API const char *lego_store_path(const lego_store *store);
LEGO_API int32_t lego_store_n_blocks(const lego_store *store);
LEGO_API const char *lego_store_block_name(const lego_store *store, int32_t block);
LEGO_API int32_t lego_store_n_variants(const lego_store *store, int32_t block);
LEGO_API const char *lego_store_variant_name(const lego_store *store, int32_t block, int32_t variant);

/** Facts about a variant; strings borrowed from the store, valid until it changes or is freed. */
typedef struct lego_variant_info {
    const char *name;      /**< "s0.6" */
    const char *precision; /**< "f32" */
    const char *origin;    /**< how its weights were made: "original", "l1", "reconstruct", "retrain" */
    double sparsity;       /**< as asked for */
    int64_t n_parameters;
    int64_t n_macs;        /**< for one sample */
    int64_t flops;         /**< for one sample */
    int64_t weight_bytes;
    int64_t file_bytes;
} lego_variant_info;
LEGO_API lego_status lego_store_variant_info(lego_variant_info *out, const lego_store *store, int32_t block,
                                             int32_t variant);

/** Describe the store as a JSON document, schema "legodnn.store/1"; free with lego_string_free(). */
LEGO_API lego_status lego_store_to_json(char **out, const lego_store *store);

/**
 * Parse a selection: "" or NULL (all originals), "b0=s0.6,b3=s0.8" (others original), "all=s0.6", or the path of a
 * "legodnn.selection/1" document.
 * @param out  free with lego_selection_free()
 */
LEGO_API lego_status lego_selection_parse(lego_selection **out, const lego_store *store, const char *text);
LEGO_API void lego_selection_free(lego_selection *selection);
LEGO_API int32_t lego_selection_n_blocks(const lego_selection *selection);
LEGO_API int32_t lego_selection_variant(const lego_selection *selection, int32_t block);
LEGO_API lego_status lego_selection_set(lego_selection *selection, int32_t block, int32_t variant);
/** "b0=s0.6,b3=s0.8", originals left out; free with lego_string_free(). */
LEGO_API lego_status lego_selection_format(char **out, const lego_selection *selection, const lego_store *store);

/** The composition of a selection as a model of its own; free with lego_model_free(). */
LEGO_API lego_status lego_store_compose(lego_model **out, lego_store *store, const lego_selection *selection);

#ifdef __cplusplus
}
#endif
#endif
