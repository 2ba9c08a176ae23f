/* work.c: what a step is to compute, apart from which step it is, and the ways to compute it.
 *
 * Sits between lower.c (steps) and the kernel library: layout.c picks one candidate a step, tune.c measures them,
 * onednn_prepare.c makes them.
 *
 * What newcomers get wrong: NHWC and PLAIN of a 1x1 image are the same bytes, so no reorder stands between a global
 * pool and the classifier; see lg_layouts_coincide(). */
#include "engine/work.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/fold.h"
#include "engine/plain.h"

const char *lg_layout_name(lg_layout layout)
{
    static const char *const names[LG_N_LAYOUTS] = { "plain", "nhwc", "blocked" };

    return names[layout];
}

void lg_work_dims(int64_t dims[LG_WORK_DIMS], const lg_cell *cell)
{
    const int64_t n = cell->shape.dims[0];
    const int n_axes = lg_cell_axes(cell);

    dims[0] = n;
    dims[1] = n_axes > 0 ? cell->shape.dims[1] : n > 0 ? cell->elements / n : 0;
    dims[2] = dims[3] = dims[4] = 1;
    for (int i = 0; i < n_axes; i++)
        dims[LG_WORK_DIMS - n_axes + i] = cell->shape.dims[2 + i];
}

static int64_t pixels(const int64_t dims[LG_WORK_DIMS])
{
    return dims[2] * dims[3] * dims[4];
}

int64_t lg_work_area(const lg_work *work)
{
    return work->window.kernel[0] * work->window.kernel[1] * work->window.kernel[2];
}

int lg_work_has_depth(const lg_work *work)
{
    return work->in[2] > 1 || work->out[2] > 1 || work->window.kernel[0] > 1 || work->window.before[0] > 0;
}

int32_t lg_work_input(const lg_program *program, const lg_step *step, int index)
{
    const lg_cell *cell = &program->cells[step->inputs[index]];

    /* An image or a volume flattened whole: the layer multiplies the image itself, in whatever layout. */
    if (step->kind == LG_STEP_LINEAR && cell->shape.n_dims == 2)
        return cell->base;
    return step->inputs[index];
}

int lg_layouts_coincide(const int64_t dims[LG_WORK_DIMS], lg_layout a, lg_layout b, int block)
{
    if (a == b)
        return 1;
    if (a == LG_LAYOUT_BLOCKED || b == LG_LAYOUT_BLOCKED)
        return pixels(dims) == 1 && dims[1] % block == 0;
    return pixels(dims) == 1 || dims[1] == 1;
}

/* --- geometry of steps --- */

static void set_conv(lg_work *work, const lg_program *program, const lg_step *step)
{
    work->kind = step->kind == LG_STEP_CONV ? LG_WORK_CONV : LG_WORK_CONV_TRANSPOSE;
    work->groups = lg_step_groups(step);
    work->window = lg_step_sliding(program, step);
}

/* ceil_mode makes windows hang over: the padding that the output extent asks for, which may exceed the attribute. */
static void set_pool(lg_work *work, const lg_program *program, const lg_step *step)
{
    const lg_sliding asked = lg_step_sliding(program, step);
    int overhang = 0, dilated = 0;

    work->kind = step->kind == LG_STEP_MAX_POOL ? LG_WORK_MAX_POOL : LG_WORK_AVG_POOL;
    work->exclude_pad = !step->attrs.pool.count_include_pad;
    work->window = asked;
    for (int i = 0; i < LG_MAX_AXES; i++) {
        const int64_t needed = (work->out[2 + i] - 1) * asked.stride[i] + asked.kernel[i] - work->in[2 + i] - asked.before[i];
        work->window.after[i] = needed > 0 ? needed : 0;
        overhang |= needed > asked.after[i];
        dilated |= asked.dilation[i] != 1;
    }
    if (dilated || (work->kind == LG_WORK_AVG_POOL && overhang && !work->exclude_pad))
        work->kind = LG_WORK_HOST; /* such windows are counted differently by kernel libraries */
}

static void set_adaptive(lg_work *work)
{
    work->kind = LG_WORK_AVG_POOL;
    for (int i = 0; i < LG_MAX_AXES; i++) {
        if (work->out[2 + i] < 1 || work->in[2 + i] % work->out[2 + i] != 0) {
            work->kind = LG_WORK_HOST; /* windows of unequal size */
            return;
        }
        work->window.kernel[i] = work->window.stride[i] = work->in[2 + i] / work->out[2 + i];
    }
}

static void set_flat(int64_t dims[LG_WORK_DIMS], int64_t rows, int64_t columns)
{
    dims[0] = rows;
    dims[1] = columns;
    dims[2] = dims[3] = dims[4] = 1;
}

/* Rows of a linear layer that is no whole flatten: every extent but the last. */
static void set_linear(lg_work *work, const lg_program *program, const lg_step *step)
{
    const lg_cell *input = &program->cells[step->inputs[0]];

    work->kind = LG_WORK_LINEAR;
    const int64_t n_out = step->weight.shape.dims[0];

    set_flat(work->out, n_out > 0 ? program->cells[step->output].elements / n_out : 0, n_out);
    if (input->shape.n_dims != 2)
        set_flat(work->in, work->out[0], step->weight.shape.dims[1]);
    memcpy(work->window.kernel, work->in + 2, sizeof(work->window.kernel));
}

/* What the kernel library knows of a sum or product: two values of one shape. Its minimum and maximum lose NaNs. */
static void set_binary(lg_work *work, const lg_program *program, const lg_step *step)
{
    work->kind = step->binary == LG_BINARY_MIN || step->binary == LG_BINARY_MAX ? LG_WORK_HOST : LG_WORK_BINARY;
    work->binary = step->binary;
    for (int i = 0; i < 2; i++)
        if (!lg_shape_equal(&program->cells[step->inputs[i]].shape, &program->cells[step->output].shape))
            work->kind = LG_WORK_HOST;
}

static void set_matmul(lg_work *work, const lg_program *program, const lg_step *step)
{
    const lg_shape *a = &program->cells[step->inputs[0]].shape, *out = &program->cells[step->output].shape;
    const int last = out->n_dims - 1;

    work->kind = LG_WORK_MATMUL;
    set_flat(work->out, program->cells[step->output].elements / (out->dims[last] * out->dims[last - 1]),
             out->dims[last - 1]);
    set_flat(work->in, work->out[0], work->out[1]);
    work->in[3] = a->dims[last];
    work->turned = step->turned;
    work->out[3] = out->dims[last];
}

static void set_softmax(lg_work *work, const lg_program *program, const lg_step *step)
{
    const lg_cell *cell = &program->cells[step->output];
    const int64_t axis = step->attrs.axis.axis, n = cell->shape.dims[axis];
    int64_t inner = 1;

    for (int i = (int)axis + 1; i < cell->shape.n_dims; i++)
        inner *= cell->shape.dims[i];
    if (inner == 1)
        work->layouts |= 1u << LG_LAYOUT_PLAIN;
    if (axis == 1 && lg_cell_axes(cell) > 0)
        work->layouts |= 1u << LG_LAYOUT_NHWC;
    if (work->layouts == 0 || n == 1) /* of one element the result is exact, which the library's is not */
        return;
    work->kind = step->kind == LG_STEP_SOFTMAX ? LG_WORK_SOFTMAX : LG_WORK_LOG_SOFTMAX;
    set_flat(work->in, cell->elements / n, n);
    set_flat(work->out, cell->elements / n, n);
}

static void set_layer_norm(lg_work *work, const lg_program *program, const lg_step *step)
{
    const lg_cell *cell = &program->cells[step->output];
    int64_t n = 1;

    for (int i = (int)step->attrs.layer_norm.axis; i < cell->shape.n_dims; i++)
        n *= cell->shape.dims[i];
    work->kind = LG_WORK_LAYER_NORM;
    work->scales = lg_step_channels(step) > 0;
    work->eps = step->norm.eps;
    set_flat(work->in, cell->elements / n, n);
    set_flat(work->out, cell->elements / n, n);
}

static void set_permute(lg_work *work, const lg_program *program, const lg_step *step)
{
    work->kind = LG_WORK_PERMUTE;
    work->permuted = program->cells[step->inputs[0]].shape;
    work->permuted.dims[0] = 1; /* in[0] has it */
    work->order = step->attrs.permute.order;
    work->layouts = 1u << LG_LAYOUT_PLAIN;
    if (lg_cell_axes(&program->cells[step->output]) > 0)
        work->layouts |= 1u << LG_LAYOUT_NHWC;
}

static void set_step(lg_work *work, const lg_program *program, const lg_step *step)
{
    switch (step->kind) {
    case LG_STEP_CONV:
    case LG_STEP_CONV_TRANSPOSE:
        set_conv(work, program, step);
        break;
    case LG_STEP_MATMUL:
        set_matmul(work, program, step);
        break;
    case LG_STEP_PERMUTE:
        set_permute(work, program, step);
        break;
    case LG_STEP_SOFTMAX:
    case LG_STEP_LOG_SOFTMAX:
        set_softmax(work, program, step);
        break;
    case LG_STEP_LAYER_NORM:
        set_layer_norm(work, program, step);
        break;
    case LG_STEP_AFFINE:
        if (lg_cell_axes(&program->cells[step->output]) == 0 && program->cells[step->output].shape.n_dims != 2)
            break;
        work->kind = LG_WORK_CONV;
        work->groups = work->in[1];
        break;
    case LG_STEP_LINEAR:
        set_linear(work, program, step);
        break;
    case LG_STEP_BINARY:
        set_binary(work, program, step);
        break;
    case LG_STEP_ACT:
        work->kind = LG_WORK_ACT;
        break;
    case LG_STEP_MAX_POOL:
    case LG_STEP_AVG_POOL:
        set_pool(work, program, step);
        break;
    case LG_STEP_ADAPTIVE_AVG_POOL:
        set_adaptive(work);
        break;
    default:
        break; /* plain C only */
    }
}

/* A calculated cost is not to beat a measured one of about the same size, nor a call that computes next to nothing. */
#define GUESS_HANDICAP 1.25
#define GUESS_US 1.0

static void set_plain(lg_work *work, const lg_program *program, const lg_step *step, int block)
{
    for (int in = 0; in < LG_N_LAYOUTS; in++)
        for (int out = 0; out < LG_N_LAYOUTS; out++) {
            double *us = &work->plain_us[in][out];
            *us = lg_plain_us(program, step, (lg_layout)in, (lg_layout)out, block);
            if (work->kind != LG_WORK_HOST)
                *us = *us * GUESS_HANDICAP + (*us > 0.0 ? GUESS_US : 0.0);
        }
}

static void join(int64_t dims[LG_WORK_DIMS], int axis)
{
    dims[3 + axis] *= dims[2 + axis];
    dims[2 + axis] = 1;
}

/* No window moves or looks along the axis. */
static int is_idle(const lg_sliding *w, int axis)
{
    return w->kernel[axis] == 1 && w->stride[axis] == 1 && w->before[axis] == 0 && w->after[axis] == 0;
}

/* Neighbouring axes along which nothing slides are one axis in every layout, so that most works over three axes are works
 * over two: element by element, 1x1x1 convolutions, and the kx1x1 ones of (2+1)-dimensional networks. */
static void join_axes(lg_work *work)
{
    lg_sliding *w = &work->window;

    switch (work->kind) {
    case LG_WORK_LINEAR: /* sees all positions at once */
        join(work->in, 0);
        w->kernel[1] *= w->kernel[0];
        w->kernel[0] = 1;
        return;
    case LG_WORK_CONV:
    case LG_WORK_CONV_TRANSPOSE:
    case LG_WORK_BINARY:
    case LG_WORK_ACT:
    case LG_WORK_MAX_POOL:
    case LG_WORK_AVG_POOL:
        break;
    default:
        return;
    }
    if (is_idle(w, 0) && is_idle(w, 1)) {
        join(work->in, 0);
        join(work->out, 0);
    } else if (!is_idle(w, 0) && is_idle(w, 1) && is_idle(w, 2)) { /* D x HW */
        join(work->in, 1);
        join(work->out, 1);
        join(work->in, 0);
        join(work->out, 0);
        w->kernel[1] = w->kernel[0];
        w->stride[1] = w->stride[0];
        w->dilation[1] = w->dilation[0];
        w->before[1] = w->before[0];
        w->after[1] = w->after[0];
        w->kernel[0] = w->stride[0] = w->dilation[0] = 1;
        w->before[0] = w->after[0] = 0;
    }
}

lg_work lg_work_of(const lg_program *program, const lg_step *step, int block)
{
    lg_work work;

    memset(&work, 0, sizeof(work));
    work.kind = LG_WORK_HOST;
    if (step->n_inputs > 0)
        lg_work_dims(work.in, &program->cells[lg_work_input(program, step, 0)]);
    lg_work_dims(work.out, &program->cells[step->output]);
    work.residual = step->residual != LG_NONE;
    work.act = step->act;
    work.groups = 1;
    for (int i = 0; i < LG_MAX_AXES; i++)
        work.window.kernel[i] = work.window.stride[i] = work.window.dilation[i] = 1;
    set_step(&work, program, step);
    join_axes(&work);
    set_plain(&work, program, step, block);
    return work;
}

lg_work lg_work_reorder(const int64_t dims[LG_WORK_DIMS])
{
    lg_work work;

    memset(&work, 0, sizeof(work));
    work.kind = LG_WORK_REORDER;
    memcpy(work.in, dims, sizeof(work.in));
    join(work.in, 0); /* the same bytes */
    memcpy(work.out, work.in, sizeof(work.out));
    work.groups = 1;
    return work;
}

/* --- candidates --- */

static int image(const lg_work *work)
{
    return pixels(work->in) > 1 || pixels(work->out) > 1;
}

static int conv_candidates(lg_candidate *c, const lg_work *work, int block)
{
    const lg_sliding *w = &work->window;
    int64_t per_group = work->in[1] / work->groups;
    int winograd = work->groups == 1 && !lg_work_has_depth(work) && w->kernel[1] == 3 && w->kernel[2] == 3 &&
                   w->stride[1] == 1 && w->stride[2] == 1 && w->dilation[1] == 1 && w->dilation[2] == 1;
    int n = 0;

    c[n++] = (lg_candidate){ LG_METHOD_DIRECT, 0, LG_LAYOUT_NHWC, LG_LAYOUT_NHWC };
    c[n++] = (lg_candidate){ LG_METHOD_DIRECT, 0, LG_LAYOUT_BLOCKED, LG_LAYOUT_BLOCKED };
    if (work->in[1] <= 4 && work->groups == 1) /* the first layer of image models */
        c[n++] = (lg_candidate){ LG_METHOD_DIRECT, 0, LG_LAYOUT_PLAIN, LG_LAYOUT_BLOCKED };
    if (winograd)
        for (int32_t i = 0; i < 2; i++)
            c[n++] = (lg_candidate){ LG_METHOD_WINOGRAD, i, LG_LAYOUT_BLOCKED, LG_LAYOUT_BLOCKED };
    if (work->groups == 1 && lg_work_area(work) > 1 && work->out[0] * pixels(work->out) <= 64)
        c[n++] = (lg_candidate){ LG_METHOD_GEMM, 0, LG_LAYOUT_NHWC, LG_LAYOUT_NHWC };
    /* Narrow groups waste vector lanes: join as many as fill a block, if they divide. Single channels have a kernel of their
     * own over two axes, not over three. */
    if (work->groups > 1 && (per_group > 1 || lg_work_has_depth(work)) && per_group < block)
        for (int32_t m = (int32_t)((block + per_group - 1) / per_group); m <= work->groups && n < LG_MAX_CANDIDATES - 3;
             m++)
            if (work->groups % m == 0) {
                c[n++] = (lg_candidate){ LG_METHOD_MERGED, m, LG_LAYOUT_NHWC, LG_LAYOUT_NHWC };
                if (m * per_group % block == 0)
                    c[n++] = (lg_candidate){ LG_METHOD_MERGED, m, LG_LAYOUT_BLOCKED, LG_LAYOUT_BLOCKED };
                break;
            }
    c[n++] = (lg_candidate){ LG_METHOD_DIRECT, 0, LG_LAYOUT_PLAIN, LG_LAYOUT_PLAIN };
    return n;
}

static int plain_candidates(lg_candidate *c, const lg_work *work)
{
    int n = 0;

    for (int in = 0; in < (image(work) ? LG_N_LAYOUTS : 1); in++)
        for (int out = 0; out < (image(work) ? LG_N_LAYOUTS : 1); out++)
            if (work->plain_us[in][out] < INFINITY)
                c[n++] = (lg_candidate){ LG_METHOD_HOST, 0, (lg_layout)in, (lg_layout)out };
    return n;
}

int lg_work_candidates(lg_candidate candidates[LG_MAX_CANDIDATES], const lg_work *work, int block)
{
    int n = 0;

    switch (work->kind) {
    case LG_WORK_CONV:
        n = conv_candidates(candidates, work, block);
        break;
    case LG_WORK_LINEAR:
        for (int layout = 0; layout < (image(work) ? LG_N_LAYOUTS : 1); layout++)
            candidates[n++] = (lg_candidate){ LG_METHOD_DIRECT, 0, (lg_layout)layout, LG_LAYOUT_PLAIN };
        break;
    case LG_WORK_MATMUL:
    case LG_WORK_LAYER_NORM:
        candidates[n++] = (lg_candidate){ LG_METHOD_DIRECT, 0, LG_LAYOUT_PLAIN, LG_LAYOUT_PLAIN };
        break;
    case LG_WORK_SOFTMAX:
    case LG_WORK_LOG_SOFTMAX:
        for (int layout = 0; layout < LG_N_LAYOUTS; layout++)
            if (work->layouts & (1u << layout))
                candidates[n++] = (lg_candidate){ LG_METHOD_DIRECT, 0, (lg_layout)layout, (lg_layout)layout };
        break;
    case LG_WORK_PERMUTE:
        for (int in = 0; in < LG_N_LAYOUTS; in++)
            for (int out = 0; out < LG_N_LAYOUTS; out++)
                if ((work->layouts >> in & 1) && (work->layouts >> out & 1))
                    candidates[n++] = (lg_candidate){ LG_METHOD_DIRECT, 0, (lg_layout)in, (lg_layout)out };
        break;
    case LG_WORK_HOST:
        break;
    default:
        for (int layout = 0; layout < (image(work) ? LG_N_LAYOUTS : 1); layout++)
            candidates[n++] = (lg_candidate){ LG_METHOD_DIRECT, 0, (lg_layout)layout, (lg_layout)layout };
        break;
    }
    return n + plain_candidates(candidates + n, work);
}

/* --- keys --- */

/* `n` leading entries and those of the spatial axes from `first` on. */
static void list(char *text, size_t size, const int64_t *values, int first, int n, const char *separator)
{
    size_t length = 0;

    text[0] = '\0';
    for (int i = 0; i < n + LG_MAX_AXES && length < size; i++)
        if (i < n || i >= n + first)
            length += (size_t)snprintf(text + length, size - length, "%s%lld", length > 0 ? separator : "",
                                       (long long)values[i]);
}

/* " of 12x197x64 as 2,1,3" */
static void format_order(char *text, size_t size, const lg_work *work)
{
    size_t n = 0;

    for (int i = 1; i < work->permuted.n_dims && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%lld", i > 1 ? "x" : " of ", (long long)work->permuted.dims[i]);
    for (int64_t i = 0; i < work->order.n && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%lld", i > 0 ? "," : " as ", (long long)work->order.dims[i]);
}

lego_status lg_work_format(char key[LG_KEY_MAX], const lg_work *work)
{
    static const char *const kinds[] = {
        [LG_WORK_CONV] = "conv",
        [LG_WORK_CONV_TRANSPOSE] = "conv_transpose",
        [LG_WORK_LINEAR] = "linear",
        [LG_WORK_MATMUL] = "matmul",
        [LG_WORK_SOFTMAX] = "softmax",
        [LG_WORK_LOG_SOFTMAX] = "log_softmax",
        [LG_WORK_LAYER_NORM] = "layer_norm",
        [LG_WORK_ACT] = "act",
        [LG_WORK_MAX_POOL] = "max_pool",
        [LG_WORK_AVG_POOL] = "avg_pool",
        [LG_WORK_HOST] = "host",
        [LG_WORK_PERMUTE] = "permute",
        [LG_WORK_REORDER] = "reorder",
    };
    static const char *const binaries[] = { "add", "sub", "mul", "div", "min", "max" };
    const lg_sliding *w = &work->window;
    const int first = lg_work_has_depth(work) ? 0 : 1; /* images: without the depth */
    char in[112], out[112], kernel[64], stride[64], dilation[64], before[64], after[64], act[64] = "", norm[64] = "";
    char order[24 * LEGO_MAX_DIMS] = "";

    if (work->act.a != 0.0f || work->act.b != 0.0f || work->act.c != 0.0f)
        snprintf(act, sizeof(act), " %s %.9g,%.9g,%.9g", lg_act_name(work->act.kind), work->act.a, work->act.b,
                 work->act.c);
    else if (work->act.kind != LG_ACT_NONE)
        snprintf(act, sizeof(act), " %s", lg_act_name(work->act.kind));
    if (work->kind == LG_WORK_LAYER_NORM)
        snprintf(norm, sizeof(norm), " eps %a%s", work->eps, work->scales ? " scaled" : "");
    if (work->kind == LG_WORK_PERMUTE)
        format_order(order, sizeof(order), work);
    list(in, sizeof(in), work->in, first, 2, "x");
    list(out, sizeof(out), work->out, first, 2, "x");
    list(kernel, sizeof(kernel), w->kernel, first, 0, "x");
    list(stride, sizeof(stride), w->stride, first, 0, "x");
    list(dilation, sizeof(dilation), w->dilation, first, 0, "x");
    list(before, sizeof(before), w->before, first, 0, ",");
    list(after, sizeof(after), w->after, first, 0, ",");
    return lg_key_format(key, "%s %s>%s %s s%s d%s p%s,%s g%lld%s%s%s%s%s%s",
                         work->kind == LG_WORK_BINARY ? binaries[work->binary] : kinds[work->kind], in, out, kernel,
                         stride, dilation, before, after, (long long)work->groups, work->exclude_pad ? " inside" : "",
                         work->residual ? " sum" : "", work->turned ? " turned" : "", act, norm, order);
}

lego_status lg_candidate_format(char key[LG_KEY_MAX], const lg_candidate *candidate)
{
    static const char *const methods[] = { "direct", "winograd", "gemm", "merged", "host" };

    return lg_key_format(key, "%s%d %s>%s", methods[candidate->method], (int)candidate->param,
                         lg_layout_name(candidate->in), lg_layout_name(candidate->out));
}

/* --- estimates --- */

#define GFLOPS_PER_THREAD 100.0 /* a fast direct convolution */
#define GBYTES_PER_S 60.0      /* of activations, which caches hold */
#define COLD_GBYTES_PER_S 10.0 /* of weights that they do not */
#define CALL_US 1.0

static double padded_channels(int64_t n_channels, lg_layout layout, int block)
{
    return (double)(layout == LG_LAYOUT_BLOCKED ? (n_channels + block - 1) / block * block : n_channels);
}

/* Speed relative to a fast direct convolution, as measured on AVX-512 machines. */
static double conv_rate(const lg_work *work, const lg_candidate *candidate, int block)
{
    int64_t narrow = work->in[1] / work->groups < work->out[1] / work->groups ? work->in[1] / work->groups
                                                                              : work->out[1] / work->groups;

    switch (candidate->method) {
    case LG_METHOD_WINOGRAD:
        if (work->in[1] < 2 * block || work->out[1] < 2 * block)
            return 0.9;
        /* The larger tile pays where the image has room for it. */
        return (candidate->param == 1) == (pixels(work->out) > 16) ? 2.0 : 1.5;
    case LG_METHOD_GEMM:
        return 0.9;
    case LG_METHOD_MERGED:
        return 1.0 / candidate->param;
    default:
        break;
    }
    if (candidate->in == LG_LAYOUT_PLAIN && candidate->out == LG_LAYOUT_PLAIN)
        return work->groups > 1 ? 0.1 : 0.5;
    if (work->groups == work->in[1])
        return 0.4;
    return work->groups > 1 && narrow < block ? (double)narrow / block : 0.95;
}

/* How much larger a method's weights are than the layer's own. */
static double weight_growth(const lg_candidate *candidate)
{
    if (candidate->method == LG_METHOD_MERGED)
        return candidate->param;
    if (candidate->method == LG_METHOD_WINOGRAD) /* tiles of 4x4 or 6x6 for 3x3 weights */
        return candidate->param == 1 ? 36.0 / 9.0 : 16.0 / 9.0;
    return 1.0;
}

double lg_work_estimate(const lg_work *work, const lg_candidate *candidate, int block, int n_threads,
                        double cold_share)
{
    double in = padded_channels(work->in[1], candidate->in, block);
    double out = padded_channels(work->out[1], candidate->out, block);
    double in_pixels = (double)(work->in[0] * pixels(work->in));
    double out_pixels = (double)(work->out[0] * pixels(work->out));
    double bytes = in_pixels * in * sizeof(float) + out_pixels * out * sizeof(float) * (work->residual ? 2.0 : 1.0);
    double us = CALL_US + bytes / (GBYTES_PER_S * 1e3);

    if (candidate->method == LG_METHOD_HOST)
        return work->plain_us[candidate->in][candidate->out];
    if (work->kind == LG_WORK_MATMUL)
        us += 2.0 * out_pixels * out * (double)work->in[3] / (GFLOPS_PER_THREAD * 1e3 * n_threads);
    if (work->kind == LG_WORK_CONV || work->kind == LG_WORK_CONV_TRANSPOSE || work->kind == LG_WORK_LINEAR) {
        double weights = out * in / (double)work->groups * (double)lg_work_area(work);
        double pixels = work->kind == LG_WORK_CONV_TRANSPOSE ? in_pixels : out_pixels;
        us += cold_share * weights * weight_growth(candidate) * sizeof(float) / (COLD_GBYTES_PER_S * 1e3);
        us += 2.0 * pixels * weights / (GFLOPS_PER_THREAD * 1e3 * n_threads * conv_rate(work, candidate, block));
    }
    return us;
}
