/* onednn_prepare.c: from a work and a candidate to a primitive of oneDNN: descriptors, post-operations, implementation.
 *
 * What newcomers get wrong: asked for mixed or odd layouts the library silently answers with an unoptimised "ref"
 * implementation, a thousand times slower and right. Implementations with "ref" in their name are skipped, always. */
#include <stdio.h>
#include <string.h>

#include "engine/onednn.h"

/* --- descriptors of a work --- */

static dnnl_format_tag_t tag_of(lg_layout layout, int has_depth)
{
    if (layout == LG_LAYOUT_BLOCKED && has_depth)
        return lg_kernels_block() == 16 ? dnnl_nCdhw16c : dnnl_nCdhw8c;
    if (layout == LG_LAYOUT_BLOCKED)
        return lg_kernels_block() == 16 ? dnnl_nChw16c : dnnl_nChw8c;
    if (layout == LG_LAYOUT_NHWC)
        return has_depth ? dnnl_ndhwc : dnnl_nhwc;
    return has_depth ? dnnl_ncdhw : dnnl_nchw;
}

/* Append the entries of the spatial axes, of which images have two. */
static int append_axes(dnnl_dims_t dims, int n, const int64_t axes[LG_MAX_AXES], int has_depth)
{
    for (int i = has_depth ? 0 : 1; i < LG_MAX_AXES; i++)
        dims[n++] = axes[i];
    return n;
}

/* `dims`: the input or the output of the work. */
static dnnl_status_t image_desc(desc *out, const lg_work *work, const int64_t dims[LG_WORK_DIMS], lg_layout layout)
{
    const int has_depth = lg_work_has_depth(work);
    dnnl_dims_t d = { dims[0], dims[1] };
    const int n = append_axes(d, 2, dims + 2, has_depth);

    return desc_create(out, n, d, tag_of(layout, has_depth));
}

/* Groups of the convolution that is computed: joined ones count once. */
static int64_t groups_of(const lg_work *work, const lg_candidate *candidate)
{
    return candidate->method == LG_METHOD_MERGED ? work->groups / candidate->param : work->groups;
}

dnnl_status_t lg_onednn_conv_weights(desc *out, const lg_work *work, const lg_candidate *candidate, int plain)
{
    int64_t groups = groups_of(work, candidate);
    const int has_depth = lg_work_has_depth(work);
    dnnl_format_tag_t tag = has_depth ? dnnl_oidhw : dnnl_oihw;
    dnnl_dims_t dims = { groups, work->out[1] / groups, work->in[1] / groups };
    int n = 3;

    if (groups == 1) {
        dims[0] = work->out[1];
        dims[1] = work->in[1];
        n = 2;
    } else {
        tag = has_depth ? dnnl_goidhw : dnnl_goihw;
    }
    n = append_axes(dims, n, work->window.kernel, has_depth);
    return desc_create(out, n, dims, plain ? tag : dnnl_format_tag_any);
}

dnnl_status_t lg_onednn_linear_weights(desc *out, const lg_work *work, int plain)
{
    dnnl_dims_t dims = { work->out[1], work->in[1], work->window.kernel[1], work->window.kernel[2] };

    return desc_create(out, 4, dims, plain ? dnnl_oihw : dnnl_format_tag_any);
}

/* GEMM: rows are output pixels, columns the kernel positions * C values that each sees, channels innermost. */
static dnnl_status_t gemm_descs(desc *in, desc *weight, desc *out, const lg_work *work)
{
    int64_t rows = work->out[0] * work->out[2] * work->out[3] * work->out[4];
    int64_t columns = lg_work_area(work) * work->in[1];
    dnnl_dims_t in_dims = { rows, columns }, weight_dims = { work->out[1], columns }, out_dims = { rows, work->out[1] };
    dnnl_status_t status = desc_create(in, 2, in_dims, dnnl_ab);

    if (status == dnnl_success)
        status = desc_create(weight, 2, weight_dims, dnnl_format_tag_any);
    return status == dnnl_success ? desc_create(out, 2, out_dims, dnnl_ab) : status;
}

/* An activation as the library's; 0: it has none such. */
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
    case LG_ACT_ABS:
        *alg = dnnl_eltwise_abs;
        return 1;
    case LG_ACT_EXP:
        *alg = dnnl_eltwise_exp;
        return 1;
    case LG_ACT_LOG:
        *alg = dnnl_eltwise_log;
        return 1;
    case LG_ACT_SQRT:
        *alg = dnnl_eltwise_sqrt;
        return 1;
    case LG_ACT_ROUND:
        *alg = dnnl_eltwise_round;
        return 1;
    case LG_ACT_MISH:
        *alg = dnnl_eltwise_mish;
        return 1;
    case LG_ACT_POW: /* alpha x^beta */
        *alg = dnnl_eltwise_pow;
        *alpha = 1.0f;
        *beta = act->a;
        return 1;
    case LG_ACT_SOFTPLUS:
        *alg = dnnl_eltwise_soft_relu; /* 3.x takes its alpha; 2.x knows no other */
        return act->a == 1.0f;
    case LG_ACT_ELU:
        *alg = dnnl_eltwise_elu;
        return act->b == 1.0f && act->c == 1.0f;
    default:
        return 0;
    }
}

/* What the library has as two: hard sigmoid is a x + b, then clipped; selu is an elu, then scaled. */
static dnnl_status_t append_pair(dnnl_post_ops_t ops, const lg_act *act)
{
    dnnl_status_t status;

    if (act->kind == LG_ACT_ELU) {
        status = append_eltwise(ops, dnnl_eltwise_elu, act->a, 0.0f);
        return status == dnnl_success ? append_eltwise(ops, dnnl_eltwise_linear, act->b, 0.0f) : status;
    }
    if (act->kind != LG_ACT_HARD_SIGMOID)
        return dnnl_success;
    status = append_eltwise(ops, dnnl_eltwise_linear, act->a, act->b);
    return status == dnnl_success ? append_eltwise(ops, dnnl_eltwise_clip, 0.0f, 1.0f) : status;
}

static dnnl_status_t append_act(dnnl_post_ops_t ops, const lg_act *act)
{
    dnnl_alg_kind_t alg;
    float alpha, beta;

    return eltwise_of(&alg, &alpha, &beta, act) ? append_eltwise(ops, alg, alpha, beta) : append_pair(ops, act);
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
    const lg_sliding *w = &work->window;
    const int has_depth = lg_work_has_depth(work);
    conv_shape shape;
    int n;

    memset(&shape, 0, sizeof(shape));
    append_axes(shape.kernel, 0, w->kernel, has_depth);
    append_axes(shape.strides, 0, w->stride, has_depth);
    append_axes(shape.pads_begin, 0, w->before, has_depth);
    append_axes(shape.pads_end, 0, w->after, has_depth);
    n = append_axes(shape.dilates, 0, w->dilation, has_depth);
    for (int i = 0; i < n; i++)
        shape.dilates[i]--;
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
        status = image_desc(&kernel->in, work, work->in, candidate->in);
        if (status == dnnl_success && work->kind == LG_WORK_LINEAR) {
            dnnl_dims_t out_dims = { work->out[0], work->out[1] };
            status = desc_create(&kernel->out, 2, out_dims, dnnl_ab);
        } else if (status == dnnl_success) {
            status = image_desc(&kernel->out, work, work->out, candidate->out);
        }
        if (status == dnnl_success)
            status = work->kind == LG_WORK_LINEAR ? lg_onednn_linear_weights(&weight, work, 0)
                                                  : lg_onednn_conv_weights(&weight, work, candidate, 0);
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
    dnnl_status_t status = image_desc(&kernel->in, &kernel->work, kernel->work.in, kernel->candidate.in);

    if (status == dnnl_success)
        status = image_desc(&kernel->out, &kernel->work, kernel->work.out, kernel->candidate.out);
    if (status == dnnl_success)
        status = dnnl_reorder_primitive_desc_create(pd, arg(&kernel->in), kernel->lib->engine, arg(&kernel->out),
                                                    kernel->lib->engine, attr);
    return status;
}

/* Strides of axes in memory: row-major, or with axis 1 innermost. */
static void strides_of(dnnl_dims_t strides, int n_dims, const dnnl_dims_t dims, lg_layout layout)
{
    int64_t stride = 1;

    if (layout == LG_LAYOUT_NHWC) {
        strides[1] = stride;
        stride *= dims[1];
    }
    for (int i = n_dims - 1; i >= 0; i--) {
        if (layout == LG_LAYOUT_NHWC && i == 1)
            continue;
        strides[i] = stride;
        stride *= dims[i];
    }
}

/* Both sides described by the output's axes: what differs is how they lie. */
static dnnl_status_t prepare_permute(dnnl_primitive_desc_t *pd, lg_kernel *kernel, const_dnnl_primitive_attr_t attr)
{
    const lg_work *work = &kernel->work;
    const int n = work->permuted.n_dims;
    dnnl_dims_t from = { 0 }, to = { 0 }, from_strides = { 0 }, to_strides = { 0 }, strides = { 0 };
    dnnl_status_t status;

    for (int i = 0; i < n; i++)
        from[i] = i == 0 ? work->in[0] : work->permuted.dims[i];
    for (int i = 0; i < n; i++)
        to[i] = from[i == 0 ? 0 : work->order.dims[i - 1]];
    strides_of(from_strides, n, from, kernel->candidate.in);
    strides_of(to_strides, n, to, kernel->candidate.out);
    for (int i = 0; i < n; i++)
        strides[i] = from_strides[i == 0 ? 0 : work->order.dims[i - 1]];
    status = desc_create_strided(&kernel->in, n, to, strides);
    if (status == dnnl_success)
        status = desc_create_strided(&kernel->out, n, to, to_strides);
    if (status == dnnl_success)
        status = dnnl_reorder_primitive_desc_create(pd, arg(&kernel->in), kernel->lib->engine, arg(&kernel->out),
                                                    kernel->lib->engine, attr);
    return status;
}

static dnnl_status_t prepare_matmul(dnnl_primitive_desc_t *pd, lg_kernel *kernel, const_dnnl_primitive_attr_t attr)
{
    const int64_t *in = kernel->work.in, *out = kernel->work.out;
    dnnl_dims_t a = { in[0], in[1], in[3] }, b = { in[0], in[3], out[3] }, c = { out[0], out[1], out[3] };
    dnnl_status_t status = desc_create(&kernel->in, 3, a, dnnl_abc);

    if (status == dnnl_success)
        status = desc_create(&kernel->in2, 3, b, kernel->work.turned ? dnnl_acb : dnnl_abc);
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
    return status == dnnl_success
               ? find_softmax(pd, kernel->lib->engine, attr, kernel->work.kind == LG_WORK_LOG_SOFTMAX, &kernel->in)
               : status;
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
    dnnl_status_t status = image_desc(&kernel->in, work, work->in, kernel->candidate.in);

    if (status == dnnl_success)
        status = image_desc(&kernel->out, work, work->out, kernel->candidate.out);
    if (status != dnnl_success)
        return status;
    switch (work->kind) {
    case LG_WORK_BINARY:
        status = image_desc(&kernel->in2, work, work->in, kernel->candidate.in);
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

dnnl_status_t lg_onednn_prepare(lg_kernel *kernel)
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
        else if (work->kind == LG_WORK_PERMUTE)
            status = prepare_permute(&pd, kernel, attr);
        else if (work->kind == LG_WORK_MATMUL)
            status = prepare_matmul(&pd, kernel, attr);
        else if (work->kind == LG_WORK_SOFTMAX || work->kind == LG_WORK_LOG_SOFTMAX)
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
