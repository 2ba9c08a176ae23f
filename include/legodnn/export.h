/** @file export.h  Models for other tools: a lego_model becomes an ONNX file. */
#ifndef LEGODNN_EXPORT_H
#define LEGODNN_EXPORT_H

#include "legodnn/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Options of lego_model_export(). */
typedef struct lego_export_options {
    size_t struct_size;
    /** Weights of at least so many bytes together go into a file beside the model; 0: from 2 GiB on, the most that an
     *  ONNX file can hold. */
    int64_t external_from_bytes;
    /** The highest opset that may be used, 13 to 20; 0: 17. From 20 on gelu is one op instead of five. */
    int32_t max_opset;
    int32_t reserved;
} lego_export_options;
#define LEGO_EXPORT_OPTIONS_INIT { sizeof(lego_export_options), 0, 0, 0 }

/**
 * Write any model, also a composition of a store (lego_store_compose()), as an ONNX file that runs anywhere: opset 13,
 * or the lowest above it that has the model's ops (hard_swish 14, layer_norm 17). The batch is dynamic, values, nodes and
 * weights keep their names; ops that ONNX lacks are written with several of its own. Which become what: docs/onnx.md.
 *
 * The file appears complete or not at all. Weights beside it, where it has them, are in "<path>.<checksum>.data", which
 * is written first: an older model at `path` stays whole until the new one replaces it.
 *
 * @param options  NULL for the defaults
 * @return LEGO_EUNSUPPORTED naming the node that cannot be written in these opsets, or if this build has no ONNX; LEGO_EIO if the file
 *         cannot be written
 */
LEGO_API lego_status lego_model_export(const lego_model *model, const char *path, const lego_export_options *options);

#ifdef __cplusplus
}
#endif
#endif
