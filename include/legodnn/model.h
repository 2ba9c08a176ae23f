/** @file model.h  A model: a graph and its weights; files, the zoo, facts about it. */
#ifndef LEGODNN_MODEL_H
#define LEGODNN_MODEL_H

#include "legodnn/context.h"
#include "legodnn/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A graph and its weights. Immutable but for lego_model_load_weights() and training. */
typedef struct lego_model lego_model;

/**
 * Load a model: a safetensors file whose metadata holds the graph ("legodnn.graph/1"), or a .json graph alone,
 * whose weights are then initialised with the context's seed. Untrusted input: every offset, shape, dtype, name
 * and reference is checked.
 *
 * @param out   free with lego_model_free()
 * @return LEGO_ENOTFOUND or LEGO_EIO if the file is absent or cannot be read, LEGO_EFORMAT naming the node or tensor
 *         if it is malformed or holds a NaN or an infinity
 */
LEGO_API lego_status lego_model_load(lego_model **out, lego_context *context, const char *path);

/** Write the model, atomically: a .json path writes the graph alone, any other path a safetensors file. */
LEGO_API lego_status lego_model_save(const lego_model *model, const char *path);
LEGO_API void lego_model_free(lego_model *model);

typedef struct lego_model_info {
    int64_t n_parameters; /**< trainable elements, as torch counts them (batch-norm statistics excluded) */
    int64_t n_macs;       /**< multiply-accumulates of conv and linear layers for one sample */
    int64_t flops;        /**< all floating-point operations for one sample */
    int64_t weight_bytes; /**< every stored tensor, buffers included */
    int64_t n_nodes;
    int64_t n_inputs;
    int64_t n_outputs;
} lego_model_info;

LEGO_API lego_status lego_model_get_info(lego_model_info *out, const lego_model *model);

/**
 * Shape of a graph input or output for a batch of one.
 * @param dims  LEGO_MAX_DIMS entries; dims[0] = 1 is the batch
 */
LEGO_API lego_status lego_model_input_shape(const lego_model *model, int64_t index, int *n_dims, int64_t *dims);
LEGO_API lego_status lego_model_output_shape(const lego_model *model, int64_t index, int *n_dims, int64_t *dims);

/** Name of a graph input or output; NULL if there is none of that index. Borrowed from the model. */
LEGO_API const char *lego_model_input_name(const lego_model *model, int64_t index);
LEGO_API const char *lego_model_output_name(const lego_model *model, int64_t index);

/**
 * Describe the model as a JSON document, schema "legodnn.model/1".
 * @param out         free with lego_string_free()
 * @param with_graph  non-zero: also every node with its shapes, parameters and MACs
 */
LEGO_API lego_status lego_model_to_json(char **out, const lego_model *model, int with_graph);

/** Options of lego_zoo_build(); zero means the family's default. */
typedef struct lego_zoo_options {
    size_t struct_size;
    int32_t width;     /**< channels of the first stage (ResNet: 64); families say what it scales */
    int32_t classes;   /**< outputs of the classifier */
    int32_t input[3];  /**< channels, height, width of the input */
    int32_t reserved;
    double width_mult; /**< MobileNet's multiplier */
} lego_zoo_options;
#define LEGO_ZOO_OPTIONS_INIT { sizeof(lego_zoo_options), 0, 0, { 0, 0, 0 }, 0, 0.0 }

/**
 * Build a model of the zoo with freshly initialised weights (context's seed, the framework's usual scheme).
 * @param name  as lego_zoo_name() lists it, e.g. "resnet18-cifar"
 * @return LEGO_ENOTFOUND with the known names if there is none of that name
 */
LEGO_API lego_status lego_zoo_build(lego_model **out, lego_context *context, const char *name,
                                    const lego_zoo_options *options);
/** The index-th name of the zoo and one line about it; NULL past the end. */
LEGO_API const char *lego_zoo_name(size_t index);
LEGO_API const char *lego_zoo_summary(size_t index);

#ifdef __cplusplus
}
#endif
#endif
