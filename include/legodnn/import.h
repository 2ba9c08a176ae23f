/** @file import.h  Models of other tools: ONNX files become a lego_model. */
#ifndef LEGODNN_IMPORT_H
#define LEGODNN_IMPORT_H

#include "legodnn/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Options of lego_model_import(). */
typedef struct lego_import_options {
    size_t struct_size;
    int32_t n_input_dims; /**< entries of input_dims; 0: the file's own shape */
    int32_t reserved;
    /** Shape of the one input, batch first, where the file leaves extents open, e.g. 1, 3, 224, 224. What the file
     *  fixes must agree; the batch is free in any case. */
    int64_t input_dims[LEGO_MAX_DIMS];
} lego_import_options;
#define LEGO_IMPORT_OPTIONS_INIT { sizeof(lego_import_options), 0, 0, { 0 } }

/**
 * Import an ONNX file, opsets 1 to 21. Constants and shape arithmetic are folded, weights keep their names, the first
 * axis of every input is the batch, of any size. Which ops are known: docs/onnx.md. Untrusted input: everything is
 * checked, and tensors stored beside the file must lie in its folder.
 *
 * @param out      free with lego_model_free()
 * @param options  NULL for the defaults
 * @return LEGO_EUNSUPPORTED listing every node that cannot be imported, with its op, the opset and why;
 *         LEGO_EFORMAT naming the node or tensor if the file is malformed; LEGO_EINVAL if an input's extent is open
 *         and not given; LEGO_ENOTFOUND or LEGO_EIO if a file is absent or cannot be read
 */
LEGO_API lego_status lego_model_import(lego_model **out, lego_context *context, const char *path,
                                       const lego_import_options *options);

#ifdef __cplusplus
}
#endif
#endif
