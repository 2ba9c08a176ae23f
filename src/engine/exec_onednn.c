/* exec_onednn.c: kernels of oneDNN, and the only file (with onednn_versions.h) that knows it.
 *
 * A kernel is a primitive with its memory descriptors for one lg_work and one lg_candidate; a call is a kernel bound to
 * memory. Everything else (which kernel, where the memory lies, when to reorder) is decided elsewhere.
 *
 * What newcomers get wrong:
 * - Asked for mixed or odd layouts the library silently answers with an unoptimised "ref" implementation, a thousand
 *   times slower and right. Implementations with "ref" in their name are skipped, always.
 * - The thread count is fixed when a primitive is created, so it is part of a kernel's identity.
 * - Scratch memory is the caller's (user scratchpad mode): only then may two threads run one primitive at once. */
#include <dnnl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "engine/arena.h"
#include "engine/kernels.h"
#include "engine/onednn_versions.h"

#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
/* Declared here because a compiler without its own OpenMP runtime has no <omp.h>; libgomp, which oneDNN runs on, is
 * linked anyway. Both act on the calling thread only. */
extern int omp_get_max_threads(void);
extern void omp_set_num_threads(int n_threads);
#endif

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

#define MAX_ARGS 6
#define IN 0 /* places in lg_call.memory */
#define IN2 1
#define OUT 2
#define WEIGHT 3
#define BIAS 4
#define SCRATCH 5

struct lg_call {
    const lg_kernel *kernel;
    dnnl_stream_t stream;
    dnnl_memory_t memory[MAX_ARGS];
    dnnl_exec_arg_t args[MAX_ARGS];
    int n_args;
    const float *image; /* GEMM: what im2col reads */
    float *columns;
};

static lego_status check(dnnl_status_t result, const char *what)
{
    if (result == dnnl_success)
        return LEGO_OK;
    if (result == dnnl_out_of_memory)
        return lg_error(LEGO_ENOMEM, "out of memory: oneDNN, %s", what);
    return lg_error(LEGO_EBACKEND, "oneDNN failed with status %d: %s", (int)result, what);
}

/* --- the library --- */

#define TEXT_OF(x) #x
#define VERSION_TEXT(major, minor, patch) "onednn " TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

const char *lg_kernels_name(void)
{
    return VERSION_TEXT(DNNL_VERSION_MAJOR, DNNL_VERSION_MINOR, DNNL_VERSION_PATCH);
}

int lg_kernels_block(void)
{
    return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core ? 16 : 8;
}

int lg_kernels_enter(int n_threads)
{
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
    int previous = omp_get_max_threads();

    if (previous != n_threads)
        omp_set_num_threads(n_threads);
    return previous;
#else
    return n_threads;
#endif
}

void lg_kernels_leave(int previous)
{
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
    if (previous != omp_get_max_threads())
        omp_set_num_threads(previous);
#else
    (void)previous;
#endif
}

static void library_unref(void *payload)
{
    library *lib = payload;

    if (!lib || atomic_fetch_sub(&lib->references, 1) > 1)
        return;
    if (lib->engine)
        dnnl_engine_destroy(lib->engine);
    lg_free(lib);
}

/* The cache's library, created on first use; the caller gets a reference. */
static lego_status library_of(library **out, lg_packed_cache *cache)
{
    lg_cache_entry *entry = lg_cache_find(cache, "library");
    library *lib = NULL;
    lego_status status = LEGO_OK;

    if (!entry) {
        LG_TRY(LG_CALLOC(&lib, 1));
        atomic_init(&lib->references, 1);
        LG_TRY(check(dnnl_engine_create(&lib->engine, dnnl_cpu, 0), "creating an engine"));
        status = lg_cache_add(&entry, cache, "library", lib, 0, library_unref);
        lib = NULL; /* the cache owns it now, or it is gone */
        LG_TRY(status);
    }
    *out = lg_cache_payload(entry);
    atomic_fetch_add(&(*out)->references, 1);
done:
    lg_cache_release(cache, entry);
    library_unref(lib);
    return status;
}

/* --- descriptors of a work --- */

static dnnl_format_tag_t tag_of(lg_layout layout)
{
    if (layout == LG_LAYOUT_BLOCKED)
        return lg_kernels_block() == 16 ? dnnl_nChw16c : dnnl_nChw8c;
    return layout == LG_LAYOUT_NHWC ? dnnl_nhwc : dnnl_nchw;
}

static dnnl_status_t image_desc(desc *out, const int64_t dims[4], lg_layout layout)
{
    dnnl_dims_t d = { dims[0], dims[1], dims[2], dims[3] };

    return desc_create(out, 4, d, tag_of(layout));
}

/* Groups of the convolution that is computed: joined ones count once. */
static int64_t groups_of(const lg_work *work, const lg_candidate *candidate)
{
    return candidate->method == LG_METHOD_MERGED ? work->groups / candidate->param : work->groups;
}

/* Weights (K,C/g,R,S), with an axis of groups in front where there are groups; row-major or as the primitive likes. */
static dnnl_status_t conv_weight_desc(desc *out, const lg_work *work, const lg_candidate *candidate, int plain)
{
    int64_t groups = groups_of(work, candidate);
    dnnl_dims_t dense = { work->out[1], work->in[1], work->kernel[0], work->kernel[1] };
    dnnl_dims_t grouped = { groups, work->out[1] / groups, work->in[1] / groups, work->kernel[0], work->kernel[1] };

    if (groups == 1)
        return desc_create(out, 4, dense, plain ? dnnl_oihw : dnnl_format_tag_any);
    return desc_create(out, 5, grouped, plain ? dnnl_goihw : dnnl_format_tag_any);
}

static dnnl_status_t linear_weight_desc(desc *out, const lg_work *work, int plain)
{
    dnnl_dims_t dims = { work->out[1], work->in[1], work->kernel[0], work->kernel[1] };

    return desc_create(out, 4, dims, plain ? dnnl_oihw : dnnl_format_tag_any);
}

/* GEMM: rows are output pixels, columns the R*S*C values that each sees, channels innermost. */
static dnnl_status_t gemm_descs(desc *in, desc *weight, desc *out, const lg_work *work)
{
    int64_t rows = work->out[0] * work->out[2] * work->out[3];
    int64_t columns = work->kernel[0] * work->kernel[1] * work->in[1];
    dnnl_dims_t in_dims = { rows, columns }, weight_dims = { work->out[1], columns }, out_dims = { rows, work->out[1] };
    dnnl_status_t status = desc_create(in, 2, in_dims, dnnl_ab);

    if (status == dnnl_success)
        status = desc_create(weight, 2, weight_dims, dnnl_format_tag_any);
    return status == dnnl_success ? desc_create(out, 2, out_dims, dnnl_ab) : status;
}

/* An activation as the library's; 0: it has none such. Hard sigmoid is two: a x + b, then clipped. */
static int eltwise_of(dnnl_alg_kind_t *alg, float *alpha, float *beta, const lg_act *act)
{
    *alpha = act->a;
    *beta = act->b;
    switch (act->kind) {
    case LG_ACT_RELU:
    case LG_ACT_LEAKY_RELU:
        *alg = dnnl_eltwise_relu;
        return 1;
    case LG_ACT_CLIP:
        *alg = dnnl_eltwise_clip;
        return 1;
    case LG_ACT_SIGMOID:
        *alg = dnnl_eltwise_logistic;
        return 1;
    case LG_ACT_TANH:
        *alg = dnnl_eltwise_tanh;
        return 1;
    case LG_ACT_SILU:
        *alg = dnnl_eltwise_swish;
        *alpha = 1.0f;
        return 1;
    case LG_ACT_GELU:
        *alg = dnnl_eltwise_gelu_erf;
        return 1;
    case LG_ACT_GELU_TANH:
        *alg = dnnl_eltwise_gelu_tanh;
        return 1;
    case LG_ACT_HARD_SWISH:
        *alg = dnnl_eltwise_hardswish;
        *alpha = 1.0f / 6.0f; /* 3.x; 2.x knows no other */
        *beta = 0.5f;
        return 1;
    default:
        return 0;
    }
}

static dnnl_status_t append_act(dnnl_post_ops_t ops, const lg_act *act)
{
    dnnl_alg_kind_t alg;
    float alpha, beta;
    dnnl_status_t status;

    if (eltwise_of(&alg, &alpha, &beta, act))
        return append_eltwise(ops, alg, alpha, beta);
    if (act->kind != LG_ACT_HARD_SIGMOID)
        return dnnl_success;
    status = append_eltwise(ops, dnnl_eltwise_linear, act->a, act->b);
    return status == dnnl_success ? append_eltwise(ops, dnnl_eltwise_clip, 0.0f, 1.0f) : status;
}

static dnnl_status_t attributes(dnnl_primitive_attr_t *out, const lg_work *work, int fuse_act)
{
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(out);

    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user);
    if (status == dnnl_success)
        status = dnnl_post_ops_create(&ops);
    if (status == dnnl_success && work->residual)
        status = append_sum(ops);
    if (status == dnnl_success && fuse_act)
        status = append_act(ops, &work->act);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_post_ops(*out, ops);
    if (ops)
        dnnl_post_ops_destroy(ops);
    return status;
}

/* --- finding an implementation: each sets the kernel's descriptors and *pd (NULL: there is none) --- */

/* oneDNN checks that the padding at the end fits the output extent exactly; what no window reaches is cut off. */
static conv_shape shape_of(const lg_work *work)
{
    conv_shape shape;

    memset(&shape, 0, sizeof(shape));
    for (int i = 0; i < 2; i++) {
        shape.kernel[i] = work->kernel[i];
        shape.strides[i] = work->stride[i];
        shape.dilates[i] = work->dilation[i] - 1;
        shape.pads_begin[i] = work->pads[i];
        shape.pads_end[i] = work->pads[2 + i];
    }
    return shape;
}

static dnnl_status_t prepare_layer(dnnl_primitive_desc_t *pd, lg_kernel *kernel, const_dnnl_primitive_attr_t attr)
{
    const lg_work *work = &kernel->work;
    const lg_candidate *candidate = &kernel->candidate;
    dnnl_dims_t bias_dims = { work->out[1] };
    conv_shape shape = shape_of(work);
    desc weight;
    dnnl_status_t status = desc_create(&kernel->bias, 1, bias_dims, dnnl_a);

    memset(&weight, 0, sizeof(weight));
    if (status == dnnl_success && candidate->method == LG_METHOD_GEMM) {
        status = gemm_descs(&kernel->in, &weight, &kernel->out, work);
        kernel->column_bytes = desc_bytes(&kernel->in);
    } else if (status == dnnl_success) {
        status = image_desc(&kernel->in, work->in, candidate->in);
        if (status == dnnl_success && work->kind == LG_WORK_LINEAR) {
            dnnl_dims_t out_dims = { work->out[0], work->out[1] };
            status = desc_create(&kernel->out, 2, out_dims, dnnl_ab);
        } else if (status == dnnl_success) {
            status = image_desc(&kernel->out, work->out, candidate->out);
        }
        if (status == dnnl_success)
            status = work->kind == LG_WORK_LINEAR ? linear_weight_desc(&weight, work, 0)
                                                  : conv_weight_desc(&weight, work, candidate, 0);
    }
    if (status == dnnl_success && work->kind == LG_WORK_CONV_TRANSPOSE) {
        status = find_deconv(pd, kernel->lib->engine, attr, &kernel->in, &weight, &kernel->bias, &kernel->out, &shape);
    } else if (status == dnnl_success) {
        int winograd = candidate->method == LG_METHOD_WINOGRAD;
        if (work->kind == LG_WORK_LINEAR || candidate->method == LG_METHOD_GEMM)
            status = find_linear(pd, kernel->lib->engine, attr, &kernel->in, &weight, &kernel->bias, &kernel->out);
        else
            status = find_conv(pd, kernel->lib->engine, attr,
                               winograd ? dnnl_convolution_winograd : dnnl_convolution_direct, &kernel->in, &weight,
                               &kernel->bias, &kernel->out, &shape, winograd ? candidate->param : 0);
    }
    desc_free(&weight);
    return status;
}

static dnnl_status_t prepare_reorder(dnnl_primitive_desc_t *pd, lg_kernel *kernel, const_dnnl_primitive_attr_t attr)
{
    dnnl_status_t status = image_desc(&kernel->in, kernel->work.in, kernel->candidate.in);

    if (status == dnnl_success)
        status = image_desc(&kernel->out, kernel->work.out, kernel->candidate.out);
    if (status == dnnl_success)
        status = dnnl_reorder_primitive_desc_create(pd, arg(&kernel->in), kernel->lib->engine, arg(&kernel->out),
                                                    kernel->lib->engine, attr);
    return status;
}

static dnnl_status_t prepare_matmul(dnnl_primitive_desc_t *pd, lg_kernel *kernel, const_dnnl_primitive_attr_t attr)
{
    const int64_t *in = kernel->work.in, *out = kernel->work.out;
    dnnl_dims_t a = { in[0], in[1], in[2] }, b = { in[0], in[2], out[2] }, c = { out[0], out[1], out[2] };
    dnnl_status_t status = desc_create(&kernel->in, 3, a, dnnl_abc);

    if (status == dnnl_success)
        status = desc_create(&kernel->in2, 3, b, dnnl_abc);
    if (status == dnnl_success)
        status = desc_create(&kernel->out, 3, c, dnnl_abc);
    if (status == dnnl_success)
        status = find_matmul(pd, kernel->lib->engine, attr, &kernel->in, &kernel->in2, &kernel->out);
    return status;
}

static dnnl_status_t prepare_softmax(dnnl_primitive_desc_t *pd, lg_kernel *kernel, const_dnnl_primitive_attr_t attr)
{
    dnnl_dims_t rows = { kernel->work.in[0], kernel->work.in[1] };
    dnnl_status_t status = desc_create(&kernel->in, 2, rows, dnnl_ab);

    if (status == dnnl_success)
        status = desc_create(&kernel->out, 2, rows, dnnl_ab);
    return status == dnnl_success ? find_softmax(pd, kernel->lib->engine, attr, &kernel->in) : status;
}

static dnnl_status_t prepare_layer_norm(dnnl_primitive_desc_t *pd, lg_kernel *kernel, const_dnnl_primitive_attr_t attr)
{
    const lg_work *work = &kernel->work;
    dnnl_dims_t rows = { work->in[0], work->in[1] }, row = { work->in[1] };
    unsigned flags = work->scales ? (unsigned)dnnl_use_scale | (unsigned)dnnl_use_shift : 0;
    dnnl_status_t status = desc_create(&kernel->in, 2, rows, dnnl_ab);

    if (status == dnnl_success)
        status = desc_create(&kernel->out, 2, rows, dnnl_ab);
    if (status == dnnl_success && work->scales)
        status = desc_create(&kernel->weight, 1, row, dnnl_a);
    if (status == dnnl_success && work->scales)
        status = desc_create(&kernel->bias, 1, row, dnnl_a);
    if (status == dnnl_success)
        status = find_layer_norm(pd, kernel->lib->engine, attr, &kernel->in, (float)work->eps, flags);
    return status;
}

static dnnl_alg_kind_t binary_of(lg_binary_kind kind)
{
    static const dnnl_alg_kind_t kinds[] = { dnnl_binary_add, dnnl_binary_sub, dnnl_binary_mul, dnnl_binary_div };

    return kinds[kind];
}

static dnnl_status_t prepare_other(dnnl_primitive_desc_t *pd, lg_kernel *kernel, const_dnnl_primitive_attr_t attr)
{
    const lg_work *work = &kernel->work;
    dnnl_alg_kind_t alg;
    float alpha, beta;
    conv_shape shape = shape_of(work);
    dnnl_status_t status = image_desc(&kernel->in, work->in, kernel->candidate.in);

    if (status == dnnl_success)
        status = image_desc(&kernel->out, work->out, kernel->candidate.out);
    if (status != dnnl_success)
        return status;
    switch (work->kind) {
    case LG_WORK_BINARY:
        status = image_desc(&kernel->in2, work->in, kernel->candidate.in);
        if (status != dnnl_success)
            return status;
        return find_binary(pd, kernel->lib->engine, attr, binary_of(work->binary), &kernel->in);
    case LG_WORK_ACT:
        if (!eltwise_of(&alg, &alpha, &beta, &work->act))
            return dnnl_success;
        return find_eltwise(pd, kernel->lib->engine, attr, alg, &kernel->in, alpha, beta);
    case LG_WORK_MAX_POOL:
        return find_pool(pd, kernel->lib->engine, attr, dnnl_pooling_max, &kernel->in, &kernel->out, &shape);
    case LG_WORK_AVG_POOL:
        return find_pool(pd, kernel->lib->engine, attr,
                         work->exclude_pad ? dnnl_pooling_avg_exclude_padding : dnnl_pooling_avg_include_padding,
                         &kernel->in, &kernel->out, &shape);
    default:
        return dnnl_success; /* host work: no kernel here */
    }
}

static int is_layer(const lg_work *work)
{
    return work->kind == LG_WORK_CONV || work->kind == LG_WORK_CONV_TRANSPOSE || work->kind == LG_WORK_LINEAR;
}

static dnnl_status_t prepare(lg_kernel *kernel)
{
    const lg_work *work = &kernel->work;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = attributes(&attr, work, work->kind != LG_WORK_ACT);

    if (status == dnnl_success) {
        if (is_layer(work))
            status = prepare_layer(&pd, kernel, attr);
        else if (work->kind == LG_WORK_REORDER)
            status = prepare_reorder(&pd, kernel, attr);
        else if (work->kind == LG_WORK_MATMUL)
            status = prepare_matmul(&pd, kernel, attr);
        else if (work->kind == LG_WORK_SOFTMAX)
            status = prepare_softmax(&pd, kernel, attr);
        else if (work->kind == LG_WORK_LAYER_NORM)
            status = prepare_layer_norm(&pd, kernel, attr);
        else
            status = prepare_other(&pd, kernel, attr);
    }
    if (status == dnnl_unimplemented || status == dnnl_invalid_arguments)
        status = dnnl_success; /* no such kernel, e.g. padding as large as a pooling window */
    if (status == dnnl_success && pd) {
        if (is_layer(work))
            status = desc_of(&kernel->weight, pd, dnnl_query_weights_md);
        if (status == dnnl_success)
            status = desc_of(&kernel->scratch, pd, dnnl_query_scratchpad_md);
        snprintf(kernel->name, sizeof(kernel->name), "%s%s",
                 kernel->candidate.method == LG_METHOD_GEMM ? "im2col+" : "", implementation_name(pd));
        if (status == dnnl_success)
            status = dnnl_primitive_create(&kernel->primitive, pd);
    }
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    return status;
}

/* --- kernels --- */

static void kernel_free(void *payload)
{
    lg_kernel *kernel = payload;

    if (kernel->primitive)
        dnnl_primitive_destroy(kernel->primitive);
    desc_free(&kernel->in);
    desc_free(&kernel->in2);
    desc_free(&kernel->out);
    desc_free(&kernel->weight);
    desc_free(&kernel->bias);
    desc_free(&kernel->scratch);
    library_unref(kernel->lib);
    lg_free(kernel);
}

lego_status lg_kernel_get(lg_cache_entry **out, lg_packed_cache *cache, const lg_work *work,
                          const lg_candidate *candidate, int n_threads)
{
    char key[LG_KEY_MAX], work_key[LG_KEY_MAX], candidate_key[LG_KEY_MAX];
    lg_kernel *kernel = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(lg_work_format(work_key, work));
    LG_TRY(lg_candidate_format(candidate_key, candidate));
    LG_TRY(lg_key_format(key, "kernel t%d %s %s", n_threads, work_key, candidate_key));
    *out = lg_cache_find(cache, key);
    if (*out)
        return LEGO_OK;
    LG_TRY(LG_CALLOC(&kernel, 1));
    kernel->work = *work;
    kernel->candidate = *candidate;
    memcpy(kernel->key, key, sizeof(key));
    LG_TRY(library_of(&kernel->lib, cache));
    LG_TRY(check(prepare(kernel), key));
    status = lg_cache_add(out, cache, key, kernel, 0, kernel_free);
    kernel = NULL; /* the cache owns it now, or it is gone */
done:
    if (kernel)
        kernel_free(kernel);
    return status;
}

int lg_kernel_exists(const lg_kernel *kernel)
{
    return kernel->primitive != NULL;
}

const char *lg_kernel_name(const lg_kernel *kernel)
{
    return kernel->name;
}

size_t lg_kernel_in_bytes(const lg_kernel *kernel)
{
    if (kernel->candidate.method == LG_METHOD_GEMM) /* the image, not the columns */
        return (size_t)(kernel->work.in[0] * kernel->work.in[1] * kernel->work.in[2] * kernel->work.in[3]) *
               sizeof(float);
    return desc_bytes(&kernel->in);
}

size_t lg_kernel_in2_bytes(const lg_kernel *kernel)
{
    return desc_bytes(&kernel->in2);
}

size_t lg_kernel_out_bytes(const lg_kernel *kernel)
{
    return desc_bytes(&kernel->out);
}

static size_t column_space(const lg_kernel *kernel)
{
    return (kernel->column_bytes + LG_ARENA_ALIGN - 1) / LG_ARENA_ALIGN * LG_ARENA_ALIGN;
}

size_t lg_kernel_scratch_bytes(const lg_kernel *kernel)
{
    return column_space(kernel) + desc_bytes(&kernel->scratch);
}

size_t lg_kernel_weight_bytes(const lg_kernel *kernel)
{
    return desc_bytes(&kernel->weight);
}

/* --- packing --- */

/* (K,C/g,R,S) with g groups -> g/m groups of m times the width, zeros where a channel reads another's group. */
static void merge_groups(float *to, const float *from, const lg_work *work, int64_t m)
{
    int64_t n_out = work->out[1] / work->groups, n_in = work->in[1] / work->groups;
    int64_t area = work->kernel[0] * work->kernel[1];

    for (int64_t k = 0; k < work->out[1]; k++) {
        int64_t place = k / n_out % m; /* of the channel's group within its merged one */
        memcpy(to + (k * n_in * m + place * n_in) * area, from + k * n_in * area,
               (size_t)(n_in * area) * sizeof(float));
    }
}

/* (K,C,R,S) -> (K,R,S,C), the order of im2col's columns. */
static void channels_last(float *to, const float *from, const lg_work *work)
{
    int64_t n_in = work->in[1], area = work->kernel[0] * work->kernel[1];

    for (int64_t k = 0; k < work->out[1]; k++)
        for (int64_t c = 0; c < n_in; c++)
            for (int64_t i = 0; i < area; i++)
                to[(k * area + i) * n_in + c] = from[(k * n_in + c) * area + i];
}

/* Describe `from`, or what `*made` (free with lg_free) holds instead, row-major. */
static lego_status plain_weights(desc *plain, float **made, const float *from, const lg_kernel *kernel)
{
    const lg_work *work = &kernel->work;
    const lg_candidate *candidate = &kernel->candidate;
    int64_t count = work->out[1] * (work->in[1] / work->groups) * work->kernel[0] * work->kernel[1];
    dnnl_dims_t dims = { work->out[1], work->in[1] * work->kernel[0] * work->kernel[1] };
    lego_status status = LEGO_OK;

    if (candidate->method == LG_METHOD_MERGED) {
        LG_TRY(LG_CALLOC(made, count * candidate->param));
        merge_groups(*made, from, work, candidate->param);
        LG_TRY(check(conv_weight_desc(plain, work, candidate, 1), "describing weights"));
    } else if (candidate->method == LG_METHOD_GEMM) {
        LG_TRY(LG_CALLOC(made, count));
        channels_last(*made, from, work);
        LG_TRY(check(desc_create(plain, 2, dims, dnnl_ab), "describing weights"));
    } else if (work->kind == LG_WORK_LAYER_NORM) {
        dnnl_dims_t row = { work->out[1] };
        LG_TRY(check(desc_create(plain, 1, row, dnnl_a), "describing weights"));
    } else if (work->kind == LG_WORK_LINEAR) {
        LG_TRY(check(linear_weight_desc(plain, work, 1), "describing weights"));
    } else {
        LG_TRY(check(conv_weight_desc(plain, work, candidate, 1), "describing weights"));
    }
done:
    return status;
}

static dnnl_status_t reorder_now(dnnl_engine_t engine, const desc *from, const void *source, const desc *to,
                                 void *target)
{
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_stream_t stream = NULL;
    dnnl_memory_t in = NULL, out = NULL;
    dnnl_status_t status = dnnl_reorder_primitive_desc_create(&pd, arg(from), engine, arg(to), engine, NULL);

    if (status == dnnl_success)
        status = dnnl_primitive_create(&primitive, pd);
    if (status == dnnl_success)
        status = dnnl_stream_create(&stream, engine, dnnl_stream_default_flags);
    if (status == dnnl_success)
        status = dnnl_memory_create(&in, arg(from), engine, (void *)source);
    if (status == dnnl_success)
        status = dnnl_memory_create(&out, arg(to), engine, target);
    if (status == dnnl_success) {
        dnnl_exec_arg_t args[2] = { { DNNL_ARG_FROM, in }, { DNNL_ARG_TO, out } };
        status = dnnl_primitive_execute(primitive, stream, 2, args);
    }
    if (status == dnnl_success)
        status = dnnl_stream_wait(stream);
    if (in)
        dnnl_memory_destroy(in);
    if (out)
        dnnl_memory_destroy(out);
    if (stream)
        dnnl_stream_destroy(stream);
    if (primitive)
        dnnl_primitive_destroy(primitive);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    return status;
}

static lego_status pack(float *to, const float *from, const lg_step *step, void *payload)
{
    const lg_kernel *kernel = payload;
    desc plain;
    float *made = NULL;
    lego_status status = LEGO_OK;

    memset(&plain, 0, sizeof(plain));
    LG_TRY(plain_weights(&plain, &made, from, kernel));
    LG_TRY(check(reorder_now(kernel->lib->engine, &plain, made ? made : from, &kernel->weight, to), step->name));
done:
    desc_free(&plain);
    lg_free(made);
    return status;
}

lego_status lg_kernel_pack(lg_cache_entry **out, const lg_kernel *kernel, lg_packed_cache *cache, const lg_step *step)
{
    char layout[256];
    size_t n;

    /* The method tells apart equal descriptors that are read differently: image order against column order. */
    n = (size_t)snprintf(layout, sizeof(layout), "m%d ", (int)kernel->candidate.method);
    desc_format(layout + n, sizeof(layout) - n, &kernel->weight, kernel->key);
    return lg_packed_get(out, cache, step, layout, desc_bytes(&kernel->weight), pack, (void *)kernel);
}

/* --- calls --- */

static dnnl_status_t add_arg(lg_call *call, int place, int name, const desc *d, const void *data)
{
    dnnl_status_t status =
        dnnl_memory_create(&call->memory[place], arg(d), call->kernel->lib->engine, (void *)data);

    if (status == dnnl_success)
        call->args[call->n_args++] = (dnnl_exec_arg_t){ name, call->memory[place] };
    return status;
}

static dnnl_status_t add_args(lg_call *call, const lg_call_memory *m)
{
    const lg_kernel *k = call->kernel;
    int binary = k->work.kind == LG_WORK_BINARY, matmul = k->work.kind == LG_WORK_MATMUL;
    int gemm = k->candidate.method == LG_METHOD_GEMM, norm = k->work.kind == LG_WORK_LAYER_NORM;
    dnnl_status_t status = add_arg(call, IN, binary ? DNNL_ARG_SRC_0 : DNNL_ARG_SRC, &k->in, gemm ? m->scratch : m->in);

    if (status == dnnl_success && (binary || matmul))
        status = add_arg(call, IN2, binary ? DNNL_ARG_SRC_1 : DNNL_ARG_WEIGHTS, &k->in2, m->in2);
    if (status == dnnl_success)
        status = add_arg(call, OUT, DNNL_ARG_DST, &k->out, m->out);
    if (status == dnnl_success && lg_kernel_weight_bytes(k) > 0) {
        status = add_arg(call, WEIGHT, norm ? DNNL_ARG_SCALE : DNNL_ARG_WEIGHTS, &k->weight, m->weight);
        if (status == dnnl_success)
            status = add_arg(call, BIAS, norm ? DNNL_ARG_SHIFT : DNNL_ARG_BIAS, &k->bias, m->bias);
    }
    if (status == dnnl_success && desc_bytes(&k->scratch) > 0)
        status = add_arg(call, SCRATCH, DNNL_ARG_SCRATCHPAD, &k->scratch, (char *)m->scratch + column_space(k));
    return status;
}

lego_status lg_call_create(lg_call **out, const lg_kernel *kernel, const lg_call_memory *memory)
{
    lg_call *call = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&call, 1));
    call->kernel = kernel;
    if (kernel->candidate.method == LG_METHOD_GEMM) {
        call->image = memory->in;
        call->columns = memory->scratch;
    }
    LG_TRY(check(dnnl_stream_create(&call->stream, kernel->lib->engine, dnnl_stream_default_flags),
                 "creating a stream"));
    LG_TRY(check(add_args(call, memory), "creating memory objects"));
    *out = call;
    call = NULL; /* the caller owns it now */
done:
    lg_call_free(call);
    return status;
}

void lg_call_free(lg_call *call)
{
    if (!call)
        return;
    for (int i = 0; i < MAX_ARGS; i++)
        if (call->memory[i])
            dnnl_memory_destroy(call->memory[i]);
    if (call->stream)
        dnnl_stream_destroy(call->stream);
    lg_free(call);
}

lego_status lg_call_bind_in(lg_call *call, int index, const void *in)
{
    if (call->kernel->candidate.method == LG_METHOD_GEMM) {
        call->image = in;
        return LEGO_OK;
    }
    return check(dnnl_memory_set_data_handle(call->memory[index == 0 ? IN : IN2], (void *)in), "binding an input");
}

lego_status lg_call_bind_weight(lg_call *call, const float *weight)
{
    return check(dnnl_memory_set_data_handle(call->memory[WEIGHT], (void *)weight), "binding weights");
}

lego_status lg_call_bind_out(lg_call *call, void *out)
{
    return check(dnnl_memory_set_data_handle(call->memory[OUT], out), "binding an output");
}

/* x (N,H,W,C) -> columns (N*P*Q, R*S*C), zeros outside the image. */
static void im2col(float *columns, const float *x, const lg_work *work)
{
    size_t pixel = (size_t)work->in[1] * sizeof(float);

    for (int64_t n = 0; n < work->out[0]; n++)
        for (int64_t p = 0; p < work->out[2]; p++)
            for (int64_t q = 0; q < work->out[3]; q++)
                for (int64_t r = 0; r < work->kernel[0]; r++)
                    for (int64_t s = 0; s < work->kernel[1]; s++, columns += work->in[1]) {
                        int64_t h = p * work->stride[0] - work->pads[0] + r * work->dilation[0];
                        int64_t w = q * work->stride[1] - work->pads[1] + s * work->dilation[1];
                        if (h < 0 || h >= work->in[2] || w < 0 || w >= work->in[3])
                            memset(columns, 0, pixel);
                        else
                            memcpy(columns, x + ((n * work->in[2] + h) * work->in[3] + w) * work->in[1], pixel);
                    }
}

/* Execute with the stack pointer at an odd multiple of 16. The library's generated code spills vectors where its caller's
 * stack happens to lie; at even multiples they straddle, and a whole network takes 8 to 10 % longer (measured: AMD, AVX-512,
 * 2.6.3). Left to chance that differs from process to process, and between lg_plan_run() and lg_plan_run_timed(). */
static dnnl_status_t execute(const lg_call *call)
{
    volatile char *bottom = __builtin_alloca(1); /* takes 16 bytes */

    if ((uintptr_t)bottom % 32 == 0)
        bottom = __builtin_alloca(1);
    *bottom = 0; /* keeps it where it is */
    return dnnl_primitive_execute(call->kernel->primitive, call->stream, call->n_args, call->args);
}

lego_status lg_call_run(lg_call *call)
{
    const lg_kernel *kernel = call->kernel;
    dnnl_status_t result;

    if (kernel->candidate.method == LG_METHOD_GEMM)
        im2col(call->columns, call->image, &kernel->work);
    result = execute(call);
    if (result == dnnl_success)
        result = dnnl_stream_wait(call->stream);
    return result == dnnl_success ? LEGO_OK : check(result, kernel->key);
}
