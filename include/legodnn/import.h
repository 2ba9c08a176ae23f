/** @file import.h  What other tools write: ONNX and TorchScript files become a lego_model; weights go into one. */
#ifndef LEGODNN_IMPORT_H
#define LEGODNN_IMPORT_H

#include "legodnn/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Shape of one input of a file. */
typedef struct lego_import_input {
    const char *name; /**< borrowed during the call; NULL: the input whose place in the file is this one's in the list */
    int32_t n_dims;   /**< entries of dims */
    int32_t reserved;
    int64_t dims[LEGO_MAX_DIMS]; /**< the batch first */
} lego_import_input;

/** Options of lego_model_import(). */
typedef struct lego_import_options {
    size_t struct_size;
    int32_t n_input_dims; /**< entries of input_dims; 0: the file's own shape, or `inputs` */
    int32_t reserved;
    /** Shape of the first input, batch first, where the file leaves extents open, e.g. 1, 3, 224, 224. What the file
     *  fixes must agree; the batch is free in any case. */
    int64_t input_dims[LEGO_MAX_DIMS];
    /** Shapes of several inputs, in place of input_dims; borrowed during the call. */
    const lego_import_input *inputs;
    int64_t n_inputs;
    /** Non-zero: a TorchScript file is read in a child process (fork), so that a hostile file cannot take this one down with
     *  libtorch: LEGO_ECRASHED. The callbacks of the context are called in this process all the same. A fork in a program of
     *  several threads copies the locks that they hold, and libtorch must not be at work in any of them: a child that hangs
     *  for that is ended by the time limit. Off by default, since only the caller knows; `legodnn import` has it on. */
    int32_t in_child;
    int32_t time_limit_s;       /**< of the child; 0: 600 */
    int64_t memory_limit_bytes; /**< that the child may allocate once libtorch is loaded; 0: three quarters of the machine's */
} lego_import_options;
#define LEGO_IMPORT_OPTIONS_INIT { sizeof(lego_import_options), 0, 0, { 0 }, NULL, 0, 0, 0, 0 }

/**
 * Import an ONNX file, opsets 1 to 21. Constants and shape arithmetic are folded, weights keep their names, the first
 * axis of every input is the batch, of any size. Which ops are known: docs/onnx.md. Untrusted input: everything is
 * checked, and tensors stored beside the file must lie in its folder.
 *
 * Or a TorchScript file, traced or scripted, through the torch module: the shape of every input of its forward that has no
 * default must be given. Its forward is run once on random samples and written down, operator by operator; which are known: docs/torchscript.md. Such a file is a program:
 * import only what you would run.
 *
 * @param out      free with lego_model_free()
 * @param options  NULL for the defaults
 * @return LEGO_EUNSUPPORTED listing every node that cannot be imported, with its op, the opset and why;
 *         LEGO_EFORMAT naming the node or tensor if the file is malformed; LEGO_EINVAL if an input's extent is open
 *         and not given; LEGO_ECRASHED (with in_child) if libtorch crashed on the file; LEGO_ENOTFOUND or LEGO_EIO if a file is absent or cannot be read
 */
LEGO_API lego_status lego_model_import(lego_model **out, lego_context *context, const char *path,
                                       const lego_import_options *options);

/** Options of lego_model_load_weights(). Strings are borrowed during the call. */
typedef struct lego_weights_options {
    size_t struct_size;
    const char *strip_prefix; /**< taken off every name that begins with it, e.g. "module."; NULL: none */
    const char *key;          /**< where the state dict lies in a .pt file's nested dictionaries, e.g. "ema.state_dict";
                                   NULL: the only one there is, or the only one called "state_dict" */
    int32_t partial;          /**< non-zero: take what fits and leave the rest of the model as it is */
    int32_t reserved;
} lego_weights_options;
#define LEGO_WEIGHTS_OPTIONS_INIT { sizeof(lego_weights_options), NULL, NULL, 0, 0 }

/**
 * Take the weights of a file by name, as PyTorch's state_dict has them. The file is safetensors, or what torch.save
 * makes of a state dict or of a checkpoint that holds one, in its archives and in its format before torch 1.6; which of the two is seen from its bytes. F16,
 * BF16 and F64 become F32. A .pt file's pickle is read as data: nothing in it is ever called, and what is not needed to
 * describe tensors in dictionaries is refused. Counters (num_batches_tracked) are passed over.
 *
 * Without `partial`, every weight of the model must be in the file with its shape, and nothing else. All weights are
 * replaced, or (with `partial`) all that fit; on failure none.
 *
 * @param report   NULL, or receives a JSON document, schema "legodnn.weights/1": what was taken, missing, unexpected,
 *                 mismatched and ignored. Also there when names or shapes do not fit, NULL on any other failure. Free
 *                 with lego_string_free()
 * @param options  NULL for the defaults
 * @return LEGO_EFORMAT with the names that are missing, unexpected or of another shape, or naming what in the file is
 *         damaged; LEGO_EUNSUPPORTED naming what a .pt file holds beyond tensors; LEGO_EINVAL if it holds several state
 *         dicts and `key` does not say which
 */
LEGO_API lego_status lego_model_load_weights(char **report, lego_model *model, const char *path,
                                             const lego_weights_options *options);

#ifdef __cplusplus
}
#endif
#endif
