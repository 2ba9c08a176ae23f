/* Inside of the oneDNN kernels, shared by exec_onednn.c (kernels), onednn_prepare.c (finding implementations),
 * onednn_pack.c (weights) and onednn_call.c (running). Nobody else includes it. */
#ifndef LG_ENGINE_ONEDNN_H
#define LG_ENGINE_ONEDNN_H

#include <stdatomic.h>

#include "engine/kernels.h"
#include "engine/onednn_versions.h"

/* Engine of the library, shared by the kernels of a cache. */
typedef struct library {
    atomic_size_t references;
    dnnl_engine_t engine;
} library;

struct lg_kernel {
    lg_work work;
    lg_candidate candidate;
    library *lib;
    dnnl_primitive_t primitive;            /* NULL: there is no such kernel */
    desc in, in2, out, weight, bias, scratch; /* as the primitive sees them */
    size_t column_bytes;                   /* GEMM: im2col, at the start of the scratch memory */
    char name[64];
    char key[LG_KEY_MAX];
};

/* A failure of the library as ours; `what` is named in the message. */
lego_status lg_onednn_check(dnnl_status_t result, const char *what);

/* Set a kernel's descriptors and create its primitive, if there is a good one for its work and candidate. */
dnnl_status_t lg_onednn_prepare(lg_kernel *kernel);

/* Weights (K,C/g,R,S), with an axis of groups in front where there are groups; row-major or as the primitive likes. */
dnnl_status_t lg_onednn_conv_weights(desc *out, const lg_work *work, const lg_candidate *candidate, int plain);
dnnl_status_t lg_onednn_linear_weights(desc *out, const lg_work *work, int plain);

/* GEMM: bytes of the columns, rounded up so that the primitive's own scratch memory may follow. */
size_t lg_onednn_column_space(const lg_kernel *kernel);

#endif
