/* onednn_pack.c: a layer's weights in the layout that a kernel of oneDNN wants.
 *
 * They come folded and row-major, are brought to what the method multiplies (joined groups, im2col's columns) and then
 * reordered by the library.
 *
 * What newcomers get wrong: two kernels may have equal descriptors and read them differently, so the method is part of
 * the packed weights' identity. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "engine/onednn.h"

/* (K,C/g,positions) with g groups -> g/m groups of m times the width, zeros where a channel reads another's group. */
static void merge_groups(float *to, const float *from, const lg_work *work, int64_t m)
{
    int64_t n_out = work->out[1] / work->groups, n_in = work->in[1] / work->groups;
    int64_t area = lg_work_area(work);

    for (int64_t k = 0; k < work->out[1]; k++) {
        int64_t place = k / n_out % m; /* of the channel's group within its merged one */
        memcpy(to + (k * n_in * m + place * n_in) * area, from + k * n_in * area,
               (size_t)(n_in * area) * sizeof(float));
    }
}

/* (K,C,positions) -> (K,positions,C), the order of im2col's columns. */
static void channels_last(float *to, const float *from, const lg_work *work)
{
    int64_t n_in = work->in[1], area = lg_work_area(work);

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
    int64_t count = work->out[1] * (work->in[1] / work->groups) * lg_work_area(work);
    dnnl_dims_t dims = { work->out[1], work->in[1] * lg_work_area(work) };
    lego_status status = LEGO_OK;

    if (candidate->method == LG_METHOD_MERGED) {
        LG_TRY(LG_CALLOC(made, count * candidate->param));
        merge_groups(*made, from, work, candidate->param);
        LG_TRY(lg_onednn_check(lg_onednn_conv_weights(plain, work, candidate, 1), "describing weights"));
    } else if (candidate->method == LG_METHOD_GEMM) {
        LG_TRY(LG_CALLOC(made, count));
        channels_last(*made, from, work);
        LG_TRY(lg_onednn_check(desc_create(plain, 2, dims, dnnl_ab), "describing weights"));
    } else if (work->kind == LG_WORK_LAYER_NORM) {
        dnnl_dims_t row = { work->out[1] };
        LG_TRY(lg_onednn_check(desc_create(plain, 1, row, dnnl_a), "describing weights"));
    } else if (work->kind == LG_WORK_LINEAR) {
        LG_TRY(lg_onednn_check(lg_onednn_linear_weights(plain, work, 1), "describing weights"));
    } else {
        LG_TRY(lg_onednn_check(lg_onednn_conv_weights(plain, work, candidate, 1), "describing weights"));
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
    LG_TRY(lg_onednn_check(reorder_now(kernel->lib->engine, &plain, made ? made : from, &kernel->weight, to),
                           step->name));
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
