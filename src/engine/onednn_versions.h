/* What differs between oneDNN 2.x and 3.x, as static functions of one form. Included by onednn.h only.
 *
 * 2.x describes an operation by a struct and walks its implementations with an iterator; 3.x creates the primitive
 * descriptor at once and steps it forward. Memory descriptors are structs in 2.x and handles in 3.x. */
#ifndef LG_ENGINE_ONEDNN_VERSIONS_H
#define LG_ENGINE_ONEDNN_VERSIONS_H

#include <dnnl.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"

typedef dnnl_memory_desc_t desc; /* 2.x: a struct, 3.x: a handle; zeroed = none */

typedef struct conv_shape {
    dnnl_dims_t strides, dilates, pads_begin, pads_end, kernel;
} conv_shape;

static inline const char *implementation_name(dnnl_primitive_desc_t pd)
{
    const char *info = NULL;

    if (dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, (void *)&info) != dnnl_success || !info)
        return "ref"; /* unknown: not to be used */
    return info;
}

/* Whether an implementation is one of the slow reference ones. "gemm:ref" is none: a product in blocks, compiled C, which
 * is what convolutions run on where the library generates no code (ARM without SVE). */
static inline int is_reference(const char *name)
{
    return strstr(name, "ref") != NULL && strncmp(name, "gemm:", 5) != 0;
}

#if DNNL_VERSION_MAJOR < 3

static inline const desc *arg(const desc *d)
{
    return d;
}

static inline dnnl_status_t desc_create(desc *out, int n_dims, const dnnl_dims_t dims, dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_init_by_tag(out, n_dims, dims, dnnl_f32, tag);
}

static inline dnnl_status_t desc_create_strided(desc *out, int n_dims, const dnnl_dims_t dims, const dnnl_dims_t strides)
{
    return dnnl_memory_desc_init_by_strides(out, n_dims, dims, dnnl_f32, strides);
}

static inline void desc_free(desc *d)
{
    memset(d, 0, sizeof(*d));
}

static inline size_t desc_bytes(const desc *d)
{
    return d->ndims > 0 ? dnnl_memory_desc_get_size(d) : 0;
}

static inline dnnl_status_t desc_of(desc *out, dnnl_primitive_desc_t pd, dnnl_query_t what)
{
    const desc *found = dnnl_primitive_desc_query_md(pd, what, 0);

    if (found)
        *out = *found;
    return dnnl_success;
}

/* Names a layout: equal texts, equal bytes. `key` names the kernel. */
static inline void desc_format(char *text, size_t size, const desc *d, const char *key)
{
    size_t n = (size_t)snprintf(text, size, "f%d", (int)d->format_kind);

    (void)key;
    for (int i = 0; i < d->ndims && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, ",%lld", (long long)d->padded_dims[i]);
    if (d->format_kind == dnnl_format_kind_wino) {
        const dnnl_wino_desc_t *w = &d->format_desc.wino_desc;
        if (n < size)
            snprintf(text + n, size - n, " wino%d,%d,%d,%d,%d,%d,%d,%d,%d", (int)w->wino_format, w->r, w->alpha, w->ic,
                     w->oc, w->ic_block, w->oc_block, w->ic2_block, w->oc2_block);
        return;
    }
    for (int i = 0; i < d->ndims && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "/%lld", (long long)d->format_desc.blocking.strides[i]);
    for (int i = 0; i < d->format_desc.blocking.inner_nblks && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, ":%lld@%lld", (long long)d->format_desc.blocking.inner_blks[i],
                              (long long)d->format_desc.blocking.inner_idxs[i]);
}

/* The index-th implementation that is no reference; *out NULL: there is none. 2.6's iterator starts over once it found
 * its first implementation in the library's own cache, so an implementation counts only if its name is a new one. */
static inline dnnl_status_t find(dnnl_primitive_desc_t *out, const_dnnl_op_desc_t op, const_dnnl_primitive_attr_t attr,
                                 dnnl_engine_t engine, int index)
{
    char last[64] = "";
    dnnl_primitive_desc_iterator_t iterator = NULL;
    dnnl_status_t status = dnnl_primitive_desc_iterator_create(&iterator, op, attr, engine, NULL);

    *out = NULL;
    while (status == dnnl_success) {
        dnnl_primitive_desc_t pd = dnnl_primitive_desc_iterator_fetch(iterator);
        const char *name = pd ? implementation_name(pd) : "ref";
        if (!is_reference(name) && strcmp(name, last) != 0) {
            if (index-- == 0) {
                *out = pd;
                break;
            }
            snprintf(last, sizeof(last), "%s", name);
        }
        if (pd)
            dnnl_primitive_desc_destroy(pd);
        status = dnnl_primitive_desc_iterator_next(iterator);
    }
    dnnl_primitive_desc_iterator_destroy(iterator);
    return status == dnnl_unimplemented || status == dnnl_iterator_ends ? dnnl_success : status;
}

static inline dnnl_status_t find_conv(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                      const_dnnl_primitive_attr_t attr, dnnl_alg_kind_t alg, const desc *in,
                                      const desc *weight, const desc *bias, const desc *to, const conv_shape *shape,
                                      int index)
{
    dnnl_convolution_desc_t op;
    dnnl_status_t status =
        dnnl_dilated_convolution_forward_desc_init(&op, dnnl_forward_inference, alg, in, weight, bias, to,
                                                   shape->strides, shape->dilates, shape->pads_begin, shape->pads_end);

    return status == dnnl_success ? find(out, &op, attr, engine, index) : status;
}

static inline dnnl_status_t find_deconv(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                        const_dnnl_primitive_attr_t attr, const desc *in, const desc *weight,
                                        const desc *bias, const desc *to, const conv_shape *shape)
{
    dnnl_deconvolution_desc_t op;
    dnnl_status_t status = dnnl_dilated_deconvolution_forward_desc_init(
        &op, dnnl_forward_inference, dnnl_deconvolution_direct, in, weight, bias, to, shape->strides, shape->dilates,
        shape->pads_begin, shape->pads_end);

    return status == dnnl_success ? find(out, &op, attr, engine, 0) : status;
}

static inline dnnl_status_t find_matmul(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                        const_dnnl_primitive_attr_t attr, const desc *a, const desc *b, const desc *to)
{
    dnnl_matmul_desc_t op;
    dnnl_status_t status = dnnl_matmul_desc_init(&op, a, b, NULL, to);

    return status == dnnl_success ? find(out, &op, attr, engine, 0) : status;
}

static inline dnnl_status_t find_softmax(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                         const_dnnl_primitive_attr_t attr, int logarithm, const desc *d)
{
    dnnl_softmax_desc_t op;
    dnnl_status_t status = logarithm ? dnnl_logsoftmax_forward_desc_init(&op, dnnl_forward_inference, d, 1)
                                     : dnnl_softmax_forward_desc_init(&op, dnnl_forward_inference, d, 1);

    return status == dnnl_success ? find(out, &op, attr, engine, 0) : status;
}

static inline dnnl_status_t find_layer_norm(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                            const_dnnl_primitive_attr_t attr, const desc *d, float eps, unsigned flags)
{
    dnnl_layer_normalization_desc_t op;
    dnnl_status_t status =
        dnnl_layer_normalization_forward_desc_init(&op, dnnl_forward_inference, d, NULL, eps, flags);

    return status == dnnl_success ? find(out, &op, attr, engine, 0) : status;
}

static inline dnnl_status_t find_linear(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                        const_dnnl_primitive_attr_t attr, const desc *in, const desc *weight,
                                        const desc *bias, const desc *to)
{
    dnnl_inner_product_desc_t op;
    dnnl_status_t status = dnnl_inner_product_forward_desc_init(&op, dnnl_forward_inference, in, weight, bias, to);

    return status == dnnl_success ? find(out, &op, attr, engine, 0) : status;
}

static inline dnnl_status_t find_pool(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                      const_dnnl_primitive_attr_t attr, dnnl_alg_kind_t alg, const desc *in,
                                      const desc *to, const conv_shape *shape)
{
    dnnl_pooling_desc_t op;
    dnnl_status_t status = dnnl_pooling_forward_desc_init(&op, dnnl_forward_inference, alg, in, to, shape->strides,
                                                          shape->kernel, shape->pads_begin, shape->pads_end);

    return status == dnnl_success ? find(out, &op, attr, engine, 0) : status;
}

static inline dnnl_status_t find_eltwise(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                         const_dnnl_primitive_attr_t attr, dnnl_alg_kind_t alg, const desc *d,
                                         float alpha, float beta)
{
    dnnl_eltwise_desc_t op;
    dnnl_status_t status = dnnl_eltwise_forward_desc_init(&op, dnnl_forward_inference, alg, d, alpha, beta);

    return status == dnnl_success ? find(out, &op, attr, engine, 0) : status;
}

static inline dnnl_status_t find_binary(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                        const_dnnl_primitive_attr_t attr, dnnl_alg_kind_t alg, const desc *d)
{
    dnnl_binary_desc_t op;
    dnnl_status_t status = dnnl_binary_desc_init(&op, alg, d, d, d);

    return status == dnnl_success ? find(out, &op, attr, engine, 0) : status;
}

static inline dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f);
}

static inline dnnl_status_t append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t alg, float alpha, float beta)
{
    return dnnl_post_ops_append_eltwise(ops, 1.0f, alg, alpha, beta);
}

#else /* oneDNN 3.x */

static inline const_dnnl_memory_desc_t arg(const desc *d)
{
    return *d;
}

static inline dnnl_status_t desc_create(desc *out, int n_dims, const dnnl_dims_t dims, dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_create_with_tag(out, n_dims, dims, dnnl_f32, tag);
}

static inline dnnl_status_t desc_create_strided(desc *out, int n_dims, const dnnl_dims_t dims, const dnnl_dims_t strides)
{
    return dnnl_memory_desc_create_with_strides(out, n_dims, dims, dnnl_f32, strides);
}

static inline void desc_free(desc *d)
{
    if (*d)
        dnnl_memory_desc_destroy(*d);
    *d = NULL;
}

static inline size_t desc_bytes(const desc *d)
{
    return *d ? dnnl_memory_desc_get_size(*d) : 0;
}

static inline dnnl_status_t desc_of(desc *out, dnnl_primitive_desc_t pd, dnnl_query_t what)
{
    const_dnnl_memory_desc_t found = dnnl_primitive_desc_query_md(pd, what, 0);

    return found ? dnnl_memory_desc_clone(out, found) : dnnl_success;
}

/* Descriptors are opaque here: weights are shared by steps of equal work only. */
static inline void desc_format(char *text, size_t size, const desc *d, const char *key)
{
    (void)d;
    snprintf(text, size, "%016llx", (unsigned long long)lg_hash(key, strlen(key), 0));
}

/* Step `pd` (owned) to the index-th implementation that is no reference. */
static inline dnnl_status_t find(dnnl_primitive_desc_t *out, dnnl_primitive_desc_t pd, dnnl_status_t status, int index)
{
    *out = NULL;
    while (status == dnnl_success) {
        if (!is_reference(implementation_name(pd)) && index-- == 0) {
            *out = pd;
            return dnnl_success;
        }
        status = dnnl_primitive_desc_next_impl(pd);
    }
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    return status == dnnl_unimplemented || status == dnnl_last_impl_reached ? dnnl_success : status;
}

static inline dnnl_status_t find_conv(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                      const_dnnl_primitive_attr_t attr, dnnl_alg_kind_t alg, const desc *in,
                                      const desc *weight, const desc *bias, const desc *to, const conv_shape *shape,
                                      int index)
{
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = dnnl_convolution_forward_primitive_desc_create(
        &pd, engine, dnnl_forward_inference, alg, *in, *weight, *bias, *to, shape->strides, shape->dilates,
        shape->pads_begin, shape->pads_end, attr);

    return find(out, pd, status, index);
}

static inline dnnl_status_t find_deconv(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                        const_dnnl_primitive_attr_t attr, const desc *in, const desc *weight,
                                        const desc *bias, const desc *to, const conv_shape *shape)
{
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = dnnl_deconvolution_forward_primitive_desc_create(
        &pd, engine, dnnl_forward_inference, dnnl_deconvolution_direct, *in, *weight, *bias, *to, shape->strides,
        shape->dilates, shape->pads_begin, shape->pads_end, attr);

    return find(out, pd, status, 0);
}

static inline dnnl_status_t find_matmul(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                        const_dnnl_primitive_attr_t attr, const desc *a, const desc *b, const desc *to)
{
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = dnnl_matmul_primitive_desc_create(&pd, engine, *a, *b, NULL, *to, attr);

    return find(out, pd, status, 0);
}

static inline dnnl_status_t find_softmax(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                         const_dnnl_primitive_attr_t attr, int logarithm, const desc *d)
{
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = dnnl_softmax_forward_primitive_desc_create(&pd, engine, dnnl_forward_inference,
                                                                      logarithm ? dnnl_softmax_log : dnnl_softmax_accurate,
                                                                      *d, *d, 1, attr);

    return find(out, pd, status, 0);
}

static inline dnnl_status_t find_layer_norm(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                            const_dnnl_primitive_attr_t attr, const desc *d, float eps, unsigned flags)
{
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = dnnl_layer_normalization_forward_primitive_desc_create(
        &pd, engine, dnnl_forward_inference, *d, *d, NULL, eps, flags, attr);

    return find(out, pd, status, 0);
}

static inline dnnl_status_t find_linear(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                        const_dnnl_primitive_attr_t attr, const desc *in, const desc *weight,
                                        const desc *bias, const desc *to)
{
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = dnnl_inner_product_forward_primitive_desc_create(
        &pd, engine, dnnl_forward_inference, *in, *weight, *bias, *to, attr);

    return find(out, pd, status, 0);
}

static inline dnnl_status_t find_pool(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                      const_dnnl_primitive_attr_t attr, dnnl_alg_kind_t alg, const desc *in,
                                      const desc *to, const conv_shape *shape)
{
    dnnl_primitive_desc_t pd = NULL;
    dnnl_dims_t dense = { 0, 0 };
    dnnl_status_t status = dnnl_pooling_forward_primitive_desc_create(
        &pd, engine, dnnl_forward_inference, alg, *in, *to, shape->strides, shape->kernel, dense, shape->pads_begin,
        shape->pads_end, attr);

    return find(out, pd, status, 0);
}

static inline dnnl_status_t find_eltwise(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                         const_dnnl_primitive_attr_t attr, dnnl_alg_kind_t alg, const desc *d,
                                         float alpha, float beta)
{
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = dnnl_eltwise_forward_primitive_desc_create(&pd, engine, dnnl_forward_inference, alg, *d, *d,
                                                                      alpha, beta, attr);

    return find(out, pd, status, 0);
}

static inline dnnl_status_t find_binary(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                        const_dnnl_primitive_attr_t attr, dnnl_alg_kind_t alg, const desc *d)
{
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = dnnl_binary_primitive_desc_create(&pd, engine, alg, *d, *d, *d, attr);

    return find(out, pd, status, 0);
}

static inline dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_f32);
}

static inline dnnl_status_t append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t alg, float alpha, float beta)
{
    return dnnl_post_ops_append_eltwise(ops, alg, alpha, beta);
}

#endif

#endif
