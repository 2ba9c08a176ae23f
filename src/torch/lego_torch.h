/* The one door to libtorch: a table of C functions that the module legodnn-torch.so fills in.
 *
 * Compiles as C11 and C++. The library opens the module on first use (module.c) and checks `version` and `struct_size`
 * before it calls anything. No C++ exception crosses: every call returns a status, and last_message() has the text.
 * Out-parameters come first; a handle written there is the caller's and goes back through tensor_free().
 *
 * Autograd records while gradients are enabled on the calling thread (set_grad); a handle keeps its history alive, so
 * free intermediate handles as soon as possible. */
#ifndef LG_TORCH_LEGO_TORCH_H
#define LG_TORCH_LEGO_TORCH_H

#include "graph/functions.h"
#include "legodnn/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LG_TORCH_API_VERSION 5
#define LG_TORCH_ENTRY "lg_torch_api_get"

/* A reference to an ATen tensor. */
typedef struct lg_torch_tensor lg_torch_tensor;

typedef enum lg_torch_layout { LG_TORCH_CONTIGUOUS = 0, LG_TORCH_CHANNELS_LAST = 1 } lg_torch_layout;

typedef enum lg_torch_loss { LG_TORCH_MSE = 0, LG_TORCH_SMOOTH_L1 = 1, LG_TORCH_COSINE = 2 } lg_torch_loss;

/* Element by element; a, b and c are the op's numbers. */
typedef enum lg_torch_unary {
#define LG_TORCH_FUNCTION(KIND, name) LG_TORCH_##KIND,
    LG_FUNCTIONS(LG_TORCH_FUNCTION)
#undef LG_TORCH_FUNCTION
    LG_TORCH_ELU,      /* b (x > 0 ? x : a (e^(c x) - 1)) */
    LG_TORCH_SOFTPLUS, /* log(1 + e^(a x)) / a */
    LG_TORCH_POW,      /* x^a */
    LG_TORCH_SHRINK,   /* x < -a ? x + b : x > a ? x - b : 0 */
    LG_TORCH_THRESHOLDED_RELU, /* x > a ? x : 0 */
    LG_TORCH_SIGMOID,
    LG_TORCH_TANH,
    LG_TORCH_HARD_SIGMOID, /* clip(a x + b, 0, 1) */
    LG_TORCH_HARD_SWISH,
    LG_TORCH_SILU,
    LG_TORCH_GELU,
    LG_TORCH_GELU_TANH,
    LG_TORCH_LEAKY_RELU /* slope a */
} lg_torch_unary;

typedef enum lg_torch_binary {
    LG_TORCH_SUB,
    LG_TORCH_MUL,
    LG_TORCH_DIV,
    LG_TORCH_MATMUL,
    LG_TORCH_MIN,
    LG_TORCH_MAX
} lg_torch_binary;

/* Lists by spatial axis have two entries for (N,C,H,W) and three for (N,C,D,H,W). */
#define LG_TORCH_MAX_AXES 3

typedef struct lg_torch_window {
    int64_t kernel[LG_TORCH_MAX_AXES]; /* pooling only */
    int64_t stride[LG_TORCH_MAX_AXES];
    int64_t pads[LG_TORCH_MAX_AXES]; /* symmetric; uneven padding goes through pad() */
    int64_t dilation[LG_TORCH_MAX_AXES];
    int64_t groups; /* convolution only */
    int32_t ceil_mode;         /* pooling only */
    int32_t count_include_pad; /* average pooling only */
} lg_torch_window;

typedef struct lg_torch_adam {
    double lr, beta1, beta2, eps;
    double max_norm; /* clip the global gradient norm to this; 0 = no clipping */
    int64_t step;    /* 1 for the first step */
} lg_torch_adam;

/* --- TorchScript: what a module computes, as a flat list --- */

typedef enum lg_script_type {
    LG_SCRIPT_NONE,
    LG_SCRIPT_BOOL,    /* integer */
    LG_SCRIPT_INT,     /* integer, number */
    LG_SCRIPT_DOUBLE,  /* number */
    LG_SCRIPT_TEXT,    /* text */
    LG_SCRIPT_INTS,    /* n, ints; of booleans as well */
    LG_SCRIPT_DOUBLES, /* n, doubles */
    LG_SCRIPT_TENSOR,  /* integer: its index */
    LG_SCRIPT_TENSORS, /* n, ints: their indices */
    LG_SCRIPT_OTHER
} lg_script_type;

typedef struct lg_script_arg {
    int32_t type; /* lg_script_type */
    int32_t n;
    int64_t integer;
    double number;
    const char *text;
    const int64_t *ints;
    const double *doubles;
} lg_script_arg;

typedef struct lg_script_tensor {
    const char *name; /* of a parameter or buffer, "layer1.0.conv1.weight", or of an input, "x"; NULL */
    const void *data; /* row-major values of a constant; NULL: computed from the input */
    int32_t dtype;    /* lego_dtype; -1: one that we have no name for */
    int32_t is_memory; /* a constant that forward itself changes from call to call */
    int32_t n_dims, reserved;
    int64_t dims[LEGO_MAX_DIMS]; /* of the run with lg_script.batch samples */
} lg_script_tensor;

typedef struct lg_script_node {
    const char *kind;    /* "aten::conv2d" */
    const char *scope;   /* the module path it comes from, "layer1.0"; "" */
    const char *problem; /* why it cannot be in a graph; NULL */
    int32_t n_args, n_outputs;
    const lg_script_arg *args; /* in the order of the operator's schema */
    const int32_t *outputs;    /* tensors; lists of them one by one */
} lg_script_node;

/* Of an input of forward, batch first. */
typedef struct lg_script_sample {
    const char *name; /* NULL: by position */
    int32_t n_dims, reserved;
    int64_t dims[LEGO_MAX_DIMS]; /* the first is not read */
} lg_script_sample;

typedef struct lg_script {
    int64_t batch;
    int32_t n_nodes, n_tensors, n_inputs, n_outputs;
    const lg_script_node *nodes; /* in the order in which they ran */
    const lg_script_tensor *tensors;
    const int32_t *inputs, *outputs; /* tensors */
} lg_script;

typedef struct lg_torch_api {
    uint32_t version;   /* LG_TORCH_API_VERSION */
    uint32_t reserved;
    size_t struct_size; /* sizeof(lg_torch_api) */

    /* --- about --- */
    const char *(*describe)(void);     /* "libtorch 1.13.1" */
    const char *(*last_message)(void); /* of this thread's last failed call */
    /* LEGO_EUNSUPPORTED if the installed libtorch cannot use the device; "cpu", "cuda", "cuda:1". */
    lego_status (*device_check)(const char *device);
    lego_status (*set_threads)(int n_threads);
    lego_status (*set_seed)(uint64_t seed); /* of dropout */
    lego_status (*set_grad)(int enabled);   /* this thread records history or not */

    /* --- memory (caching CPU allocator) --- */
    /* Serve CPU tensors from a cache that keeps at most `cache_bytes` of freed blocks. Idempotent. */
    lego_status (*allocator_install)(size_t cache_bytes);
    lego_status (*allocator_trim)(void); /* give cached blocks back to the system */
    lego_status (*allocator_stats)(size_t *bytes_in_use, size_t *bytes_cached);

    /* --- tensors --- */
    lego_status (*tensor_from_host)(lg_torch_tensor **out, lego_dtype dtype, int n_dims, const int64_t *dims,
                                    const void *data, const char *device);
    lego_status (*tensor_zeros_like)(lg_torch_tensor **out, const lg_torch_tensor *tensor);
    lego_status (*tensor_copy)(lg_torch_tensor **out, const lg_torch_tensor *tensor); /* own storage, no history */
    lego_status (*tensor_detach)(lg_torch_tensor **out, const lg_torch_tensor *tensor); /* shared storage, no history */
    lego_status (*tensor_share)(lg_torch_tensor **out, const lg_torch_tensor *tensor); /* a second handle */
    /* Element type and memory layout; part of the history. Layout applies to four dimensions only. */
    lego_status (*tensor_cast)(lg_torch_tensor **out, const lg_torch_tensor *tensor, lego_dtype dtype,
                               lg_torch_layout layout);
    lego_status (*tensor_assign)(lg_torch_tensor *tensor, const lg_torch_tensor *source); /* values, without history */
    lego_status (*tensor_assign_host)(lg_torch_tensor *tensor, const void *data, size_t bytes);
    /* Row-major values in the tensor's dtype (bfloat16 widened to float32). */
    lego_status (*tensor_to_host)(const lg_torch_tensor *tensor, void *data, size_t bytes);
    lego_status (*tensor_shape)(const lg_torch_tensor *tensor, int *n_dims, int64_t *dims);
    lego_status (*tensor_item)(double *out, const lg_torch_tensor *tensor);
    lego_status (*tensor_set_trainable)(lg_torch_tensor *tensor, int trainable);
    lego_status (*tensor_keep_grad)(lg_torch_tensor *tensor); /* of a value that is no leaf */
    lego_status (*tensor_grad)(lg_torch_tensor **out, const lg_torch_tensor *tensor); /* NULL where there is none */
    lego_status (*tensor_drop_grad)(lg_torch_tensor *tensor);
    void (*tensor_free)(lg_torch_tensor *tensor);

    /* --- ops: x (N,C,H,W) or (N,C,D,H,W) unless said otherwise; bias may be NULL --- */
    lego_status (*conv)(lg_torch_tensor **out, const lg_torch_tensor *x, const lg_torch_tensor *weight,
                        const lg_torch_tensor *bias, const lg_torch_window *window);
    lego_status (*linear)(lg_torch_tensor **out, const lg_torch_tensor *x, const lg_torch_tensor *weight,
                          const lg_torch_tensor *bias);
    /* training: batch statistics, running ones updated; otherwise the running ones. weight and bias may be NULL. */
    lego_status (*batch_norm)(lg_torch_tensor **out, const lg_torch_tensor *x, const lg_torch_tensor *weight,
                              const lg_torch_tensor *bias, lg_torch_tensor *mean, lg_torch_tensor *var, int training,
                              double momentum, double eps);
    /* The convolution (or linear layer) that does weight/bias and then batch norm with running statistics. */
    lego_status (*fold_batch_norm)(lg_torch_tensor **folded_weight, lg_torch_tensor **folded_bias,
                                   const lg_torch_tensor *weight, const lg_torch_tensor *bias,
                                   const lg_torch_tensor *gamma, const lg_torch_tensor *beta,
                                   const lg_torch_tensor *mean, const lg_torch_tensor *var, double eps);
    /* in_place: the result takes x's (a's) storage; only where nobody needs the old values, backward included. */
    lego_status (*relu)(lg_torch_tensor **out, const lg_torch_tensor *x, int in_place);
    lego_status (*clip)(lg_torch_tensor **out, const lg_torch_tensor *x, double min, double max, int in_place);
    lego_status (*add)(lg_torch_tensor **out, const lg_torch_tensor *a, const lg_torch_tensor *b, int in_place);
    /* pads before every spatial axis, then behind: top, left, bottom, right */
    lego_status (*pad)(lg_torch_tensor **out, const lg_torch_tensor *x, const int64_t *pads, double value);
    lego_status (*max_pool)(lg_torch_tensor **out, const lg_torch_tensor *x, const lg_torch_window *window);
    lego_status (*avg_pool)(lg_torch_tensor **out, const lg_torch_tensor *x, const lg_torch_window *window);
    lego_status (*adaptive_avg_pool)(lg_torch_tensor **out, const lg_torch_tensor *x, const int64_t *size);
    lego_status (*flatten)(lg_torch_tensor **out, const lg_torch_tensor *x, int64_t start_axis); /* row-major */
    lego_status (*dropout)(lg_torch_tensor **out, const lg_torch_tensor *x, double p);

    lego_status (*unary)(lg_torch_tensor **out, lg_torch_unary kind, const lg_torch_tensor *x,
                         const double numbers[3]);
    lego_status (*binary)(lg_torch_tensor **out, lg_torch_binary kind, const lg_torch_tensor *a,
                          const lg_torch_tensor *b);
    lego_status (*prelu)(lg_torch_tensor **out, const lg_torch_tensor *x, const lg_torch_tensor *weight);
    lego_status (*softmax)(lg_torch_tensor **out, const lg_torch_tensor *x, int64_t axis, int logarithm);
    lego_status (*concat)(lg_torch_tensor **out, int n, lg_torch_tensor *const *x, int64_t axis);
    lego_status (*slice)(lg_torch_tensor **out, const lg_torch_tensor *x, int64_t axis, int64_t start, int64_t end,
                         int64_t step); /* as the op: a negative step goes down from start */
    /* dims and axes count the batch; the batch's extent is kept whatever dims[0] says. */
    lego_status (*reshape)(lg_torch_tensor **out, const lg_torch_tensor *x, int n_dims, const int64_t *dims);
    lego_status (*permute)(lg_torch_tensor **out, const lg_torch_tensor *x, int n_dims, const int64_t *axes);
    lego_status (*mean)(lg_torch_tensor **out, const lg_torch_tensor *x, int n_axes, const int64_t *axes, int keep);
    lego_status (*upsample)(lg_torch_tensor **out, const lg_torch_tensor *x, const int64_t *size, int bilinear,
                            int align_corners);
    lego_status (*adaptive_max_pool)(lg_torch_tensor **out, const lg_torch_tensor *x, const int64_t *size);
    lego_status (*conv_transpose)(lg_torch_tensor **out, const lg_torch_tensor *x, const lg_torch_tensor *weight,
                                  const lg_torch_tensor *bias, const lg_torch_window *window,
                                  const int64_t *output_padding);
    /* Over the last n_dims axes. */
    lego_status (*layer_norm)(lg_torch_tensor **out, const lg_torch_tensor *x, int n_dims,
                              const lg_torch_tensor *weight, const lg_torch_tensor *bias, double eps);
    lego_status (*group_norm)(lg_torch_tensor **out, const lg_torch_tensor *x, int64_t groups,
                              const lg_torch_tensor *weight, const lg_torch_tensor *bias, double eps);
    /* (d1,...) -> (n,d1,...), the same for every sample. */
    lego_status (*repeat)(lg_torch_tensor **out, const lg_torch_tensor *value, int64_t n);

    /* --- losses --- */
    /* Mean over the batch of logits (N,K) against labels (N) int64. */
    lego_status (*cross_entropy)(lg_torch_tensor **out, const lg_torch_tensor *logits, const lg_torch_tensor *labels,
                                 double label_smoothing);
    lego_status (*count_correct)(int64_t *out, const lg_torch_tensor *logits, const lg_torch_tensor *labels);
    /* Distance of x to target of the same shape: a mean over elements, or one minus the mean cosine of the samples. */
    lego_status (*distance)(lg_torch_tensor **out, lg_torch_loss loss, const lg_torch_tensor *x,
                            const lg_torch_tensor *target);
    lego_status (*backward)(const lg_torch_tensor *loss);

    /* --- optimisers: one step over n leaves from their gradients, which are dropped afterwards --- */
    /* torch's SGD: v = momentum v + (g + decay w); w -= lr v. Buffers start as zeros. */
    lego_status (*sgd_step)(int n, lg_torch_tensor *const *leaves, lg_torch_tensor *const *velocity,
                            const double *decay, double lr, double momentum, int nesterov);
    /* torch's Adam (Kingma and Ba 2015). Nothing changes if the norm of the gradient is not finite; `grad_norm`, before
     * clipping, says so. */
    lego_status (*adam_step)(double *grad_norm, int n, lg_torch_tensor *const *leaves, lg_torch_tensor *const *m,
                             lg_torch_tensor *const *v, const lg_torch_adam *options);

    /* --- TorchScript --- */
    /* Load a TorchScript file on the CPU, for evaluation, and run its forward once on random inputs of these shapes for
     * `batch` samples, writing down what it computes. Free with script_free(), which takes everything in it along. */
    lego_status (*script_record)(const lg_script **out, const char *path, int64_t batch, int n_inputs,
                                 const lg_script_sample *inputs);
    void (*script_free)(const lg_script *script);
} lg_torch_api;

/* What the module exports under the name LG_TORCH_ENTRY. */
typedef const lg_torch_api *(*lg_torch_entry)(void);

#ifdef __cplusplus
}
#endif
#endif
