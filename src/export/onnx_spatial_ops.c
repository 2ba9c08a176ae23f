/* Writers of ops that slide over or resize (N,C,H,W) or (N,C,D,H,W). Where ONNX means something else than our ops, which are torch's:
 *
 *   ceil_mode      keeps windows that torch drops, and runtimes disagree on it: written as padding behind the input
 *   adaptive pool  is missing: one pool where all cells are of one size, else a pool for each cell along each axis
 *   nearest        runtimes divide in float, which may miss a place that is a whole number: then indices are listed */
#include "export/onnx.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "graph/ops/common.h"

#define MAX_CELLS 4096     /* rows or columns of an adaptive pool that are written one by one */
#define MAX_RESIZED 65536  /* extents whose places are compared one by one, as in the importer */

/* --- convolutions --- */

static lego_status write_convolution(lg_export *file, const lg_node *node, const char *type, int64_t groups,
                                     const int64_t *stride, const int64_t *dilation, const int64_t *pads,
                                     const int64_t *output_padding)
{
    const int n_axes = node->op->n_axes;
    Onnx__NodeProto *proto;
    const char *inputs[3];
    const int has_bias = node->weights[1] != LG_NONE;
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_input(&inputs[0], file, node, 0));
    LG_TRY(lg_export_weight_as(&inputs[1], file, node->weights[0], NULL, 0));
    if (has_bias)
        LG_TRY(lg_export_weight_as(&inputs[2], file, node->weights[1], NULL, 0));
    LG_TRY(lg_export_node(&proto, NULL, file, node, NULL, type, 2 + has_bias, inputs));
    LG_TRY(lg_export_ints(proto, "kernel_shape", n_axes, lg_node_weight(file->graph, node, 0)->shape.dims + 2));
    LG_TRY(lg_export_ints(proto, "strides", n_axes, stride));
    LG_TRY(lg_export_ints(proto, "dilations", n_axes, dilation));
    LG_TRY(lg_export_ints(proto, "pads", 2 * n_axes, pads));
    LG_TRY(lg_export_int(proto, "group", groups));
    if (output_padding)
        LG_TRY(lg_export_ints(proto, "output_padding", n_axes, output_padding));
done:
    return status;
}

static lego_status write_conv(lg_export *file, const lg_node *node)
{
    const lg_conv_attrs *conv = &node->attrs->conv;

    return write_convolution(file, node, "Conv", conv->groups, conv->stride, conv->dilation, conv->pads, NULL);
}

static lego_status write_conv_transpose(lg_export *file, const lg_node *node)
{
    const lg_conv_transpose_attrs *conv = &node->attrs->conv_transpose;

    return write_convolution(file, node, "ConvTranspose", conv->groups, conv->stride, conv->dilation, conv->pads,
                             conv->output_padding);
}

/* --- padding --- */

/* `number` around a value along its spatial axes: one part of a node, or all of it. */
static lego_status write_padding(const char **value, lg_export *file, const lg_node *node, const char *what,
                                 const int64_t *pads, double number)
{
    const int n_axes = node->op->n_axes, n_dims = 2 + n_axes;
    int64_t all[2 * (2 + LG_MAX_AXES)] = { 0 };
    const char *inputs[3] = { *value };
    lego_status status = LEGO_OK;

    memcpy(all + 2, pads, (size_t)n_axes * sizeof(*all));
    memcpy(all + n_dims + 2, pads + n_axes, (size_t)n_axes * sizeof(*all));
    LG_TRY(lg_export_int_list(&inputs[1], file, node, "pads", 2 * n_dims, all));
    LG_TRY(lg_export_number(&inputs[2], file, node, "value", number));
    LG_TRY(lg_export_node(NULL, value, file, node, what, "Pad", 3, inputs));
done:
    return status;
}

static lego_status write_pad(lg_export *file, const lg_node *node)
{
    const char *x;
    lego_status status = lg_export_input(&x, file, node, 0);

    return status == LEGO_OK ? write_padding(&x, file, node, NULL, node->attrs->pad.pads, node->attrs->pad.value)
                             : status;
}

/* --- pools --- */

static int is_max(const lg_node *node)
{
    return node->op->kind == LG_OP_MAX_POOL || node->op->kind == LG_OP_ADAPTIVE_MAX_POOL;
}

/* How far the last window reaches behind the padded input along each axis: ceil_mode lets it. Returns the sum. */
static int64_t overhang(int64_t over[LG_MAX_AXES], const lg_graph *graph, const lg_node *node)
{
    const int64_t *in = lg_op_input(graph, node, 0)->shape.dims + 2, *out = lg_op_output(graph, node, 0)->shape.dims + 2;
    const lg_pool_attrs *pool = &node->attrs->pool;
    const int n_axes = node->op->n_axes;
    int64_t sum = 0;

    for (int i = 0; i < n_axes; i++) {
        const int64_t reach = pool->dilation[i] * (pool->kernel[i] - 1) + 1;

        over[i] = (out[i] - 1) * pool->stride[i] + reach - (in[i] + pool->pads[i] + pool->pads[n_axes + i]);
        over[i] = over[i] > 0 ? over[i] : 0;
        sum += over[i];
    }
    return sum;
}

static void add_behind(lg_pool_attrs *pool, const int64_t *over, int n_axes)
{
    for (int i = 0; i < n_axes; i++)
        pool->pads[n_axes + i] += over[i];
}

/* Padding of a dilated window may be wider than the kernel, which runtimes refuse. */
static int is_wide(const lg_pool_attrs *pool, int n_axes)
{
    for (int i = 0; i < 2 * n_axes; i++)
        if (pool->pads[i] >= pool->kernel[i % n_axes])
            return 1;
    return 0;
}

/* Padding is never a maximum. For averages torch counts the padding that was asked for if count_include_pad says so,
 * but never what ceil_mode adds: then the former becomes a Pad in front. */
static lego_status write_pool(lg_export *file, const lg_node *node)
{
    const int n_axes = node->op->n_axes;
    lg_pool_attrs pool = node->attrs->pool;
    int64_t over[LG_MAX_AXES];
    const int64_t n_over = overhang(over, file->graph, node);
    Onnx__NodeProto *proto;
    const char *x;
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_input(&x, file, node, 0));
    if (is_max(node))
        add_behind(&pool, over, n_axes);
    if (is_max(node) ? is_wide(&pool, n_axes) : pool.count_include_pad && n_over > 0) {
        LG_TRY(write_padding(&x, file, node, "padded", pool.pads, is_max(node) ? -(double)FLT_MAX : 0.0));
        memset(pool.pads, 0, sizeof(pool.pads));
        pool.count_include_pad = 0;
    }
    if (!is_max(node))
        add_behind(&pool, over, n_axes);
    LG_TRY(lg_export_step(&proto, &x, file, node, NULL, is_max(node) ? "MaxPool" : "AveragePool"));
    LG_TRY(lg_export_ints(proto, "kernel_shape", n_axes, pool.kernel));
    LG_TRY(lg_export_ints(proto, "strides", n_axes, pool.stride));
    LG_TRY(lg_export_ints(proto, "pads", 2 * n_axes, pool.pads));
    if (is_max(node))
        LG_TRY(lg_export_ints(proto, "dilations", n_axes, pool.dilation));
    else
        LG_TRY(lg_export_int(proto, "count_include_pad", pool.count_include_pad));
done:
    return status;
}

/* A pool whose windows lie side by side. */
static lego_status write_cells(const char **value, lg_export *file, const lg_node *node, const char *what,
                               const int64_t *kernel)
{
    Onnx__NodeProto *proto;
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_step(&proto, value, file, node, what, is_max(node) ? "MaxPool" : "AveragePool"));
    LG_TRY(lg_export_ints(proto, "kernel_shape", node->op->n_axes, kernel));
    LG_TRY(lg_export_ints(proto, "strides", node->op->n_axes, kernel));
done:
    return status;
}

/* Elements first ... last - 1 along an axis. */
static lego_status write_run(const char **value, lg_export *file, const lg_node *node, const char *what, int64_t axis,
                             int64_t first, int64_t last)
{
    const char *inputs[4] = { *value };
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_int_list(&inputs[1], file, node, "start", 1, &first));
    LG_TRY(lg_export_int_list(&inputs[2], file, node, "end", 1, &last));
    LG_TRY(lg_export_int_list(&inputs[3], file, node, "axis", 1, &axis));
    LG_TRY(lg_export_node(NULL, value, file, node, what, "Slice", 4, inputs));
done:
    return status;
}

/* Cells along one axis of the value: a cut, a pool and a place in the row each, since they differ in size and overlap. */
static lego_status write_uneven(const char **value, lg_export *file, const lg_node *node, const char *what, int axis,
                                int64_t in, int64_t out)
{
    Onnx__NodeProto *proto;
    const char **cells = NULL;
    lego_status status = LEGO_OK;

    if (out > MAX_CELLS)
        LG_FAIL(LEGO_EUNSUPPORTED, "%s: node '%s' (%s) makes %lld cells of %lld elements, up to %d are possible",
                file->path, node->name, node->op->name, (long long)out, (long long)in, MAX_CELLS);
    LG_TRY(LG_CALLOC(&cells, out));
    for (int64_t i = 0; i < out; i++) {
        const int64_t first = i * in / out, last = ((i + 1) * in + out - 1) / out;
        int64_t kernel[LG_MAX_AXES] = { 1, 1, 1 };

        kernel[axis - 2] = last - first;
        cells[i] = *value;
        LG_TRY(write_run(&cells[i], file, node, "cut", axis, first, last));
        LG_TRY(write_cells(&cells[i], file, node, "cell", kernel));
    }
    LG_TRY(lg_export_node(&proto, value, file, node, what, "Concat", (int)out, cells));
    LG_TRY(lg_export_int(proto, "axis", axis));
done:
    lg_free(cells);
    return status;
}

/* What a node does along several axes becomes a node an axis, of which the last has the node's own name. */
static const char *part_name(int axis, int last_axis)
{
    static const char *const names[] = { "first", "second" };

    return axis == last_axis ? NULL : names[axis];
}

/* Cells are boxes, so that a mean is the mean over one axis of the means over the next, and so for the maximum. */
static lego_status write_adaptive_pool(lg_export *file, const lg_node *node)
{
    const int64_t *in = lg_op_input(file->graph, node, 0)->shape.dims + 2;
    const int64_t *out = node->attrs->adaptive_pool.size;
    int64_t kernel[LG_MAX_AXES];
    int global = 1, even = 1, last_axis = 0;
    const char *x;
    lego_status status = LEGO_OK;

    for (int i = 0; i < node->op->n_axes; i++) {
        global &= out[i] == 1;
        even &= in[i] % out[i] == 0;
        kernel[i] = in[i] / out[i];
        last_axis = in[i] != out[i] ? i : last_axis;
    }
    LG_TRY(lg_export_input(&x, file, node, 0));
    if (global)
        LG_TRY(lg_export_step(NULL, &x, file, node, NULL, is_max(node) ? "GlobalMaxPool" : "GlobalAveragePool"));
    else if (even)
        LG_TRY(write_cells(&x, file, node, NULL, kernel));
    else
        for (int i = 0; i < node->op->n_axes; i++)
            if (in[i] != out[i])
                LG_TRY(write_uneven(&x, file, node, part_name(i, last_axis), 2 + i, in[i], out[i]));
done:
    return status;
}

/* --- resizing --- */

/* Whether "asymmetric" with "floor" reads what our op does, in the arithmetic of runtimes and of ONNX's reference. */
static int reads_the_same(int64_t in, int64_t out)
{
    const float scale = (float)out / (float)in;
    const double exact_scale = (double)out / (double)in;

    if (out > MAX_RESIZED)
        return 0;
    for (int64_t i = 0; i < out; i++) {
        const double place = (double)(i * in / out);

        if (floor((double)((float)i / scale)) != place || floor((double)i / exact_scale) != place)
            return 0;
    }
    return 1;
}

static lego_status write_resize(lg_export *file, const lg_node *node)
{
    const lg_shape *out = &lg_op_output(file->graph, node, 0)->shape;
    const int is_nearest = node->attrs->upsample.mode == LG_UPSAMPLE_NEAREST;
    const char *coordinates = is_nearest                           ? "asymmetric"
                              : node->attrs->upsample.align_corners ? "align_corners"
                                                                   : "half_pixel";
    Onnx__NodeProto *proto;
    const char *inputs[4] = { NULL, "", "", NULL }; /* neither a region nor scales */
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_input(&inputs[0], file, node, 0));
    LG_TRY(lg_export_batched_shape(&inputs[3], file, node, out->n_dims - 1, out->dims + 1));
    LG_TRY(lg_export_node(&proto, NULL, file, node, NULL, "Resize", 4, inputs));
    LG_TRY(lg_export_text(proto, "mode", is_nearest ? "nearest" : "linear"));
    LG_TRY(lg_export_text(proto, "coordinate_transformation_mode", coordinates));
    if (is_nearest)
        LG_TRY(lg_export_text(proto, "nearest_mode", "floor"));
done:
    return status;
}

/* What is read along one axis, listed. */
static lego_status write_listed(const char **value, lg_export *file, const lg_node *node, const char *what, int axis,
                                int64_t in, int64_t out)
{
    Onnx__NodeProto *proto;
    int64_t *places = NULL;
    const char *inputs[2] = { *value };
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&places, out));
    for (int64_t i = 0; i < out; i++)
        places[i] = i * in / out;
    LG_TRY(lg_export_int_list(&inputs[1], file, node, "places", out, places));
    LG_TRY(lg_export_node(&proto, value, file, node, what, "Gather", 2, inputs));
    LG_TRY(lg_export_int(proto, "axis", axis));
done:
    lg_free(places);
    return status;
}

static lego_status write_upsample(lg_export *file, const lg_node *node)
{
    const int64_t *in = lg_op_input(file->graph, node, 0)->shape.dims + 2;
    const int64_t *out = node->attrs->upsample.size;
    const int last_axis = node->op->n_axes - 1;
    int same = 1;
    const char *x;
    lego_status status = LEGO_OK;

    for (int i = 0; i <= last_axis; i++)
        same &= reads_the_same(in[i], out[i]);
    if (same || node->attrs->upsample.mode == LG_UPSAMPLE_BILINEAR)
        return write_resize(file, node);
    LG_TRY(lg_export_input(&x, file, node, 0));
    for (int i = 0; i <= last_axis; i++)
        LG_TRY(write_listed(&x, file, node, part_name(i, last_axis), 2 + i, in[i], out[i]));
done:
    return status;
}

const lg_export_writer lg_export_spatial_ops[LG_OP_N_KINDS] = {
    [LG_OP_CONV] = write_conv,
    [LG_OP_CONV_TRANSPOSE] = write_conv_transpose,
    [LG_OP_PAD] = write_pad,
    [LG_OP_MAX_POOL] = write_pool,
    [LG_OP_AVG_POOL] = write_pool,
    [LG_OP_ADAPTIVE_AVG_POOL] = write_adaptive_pool,
    [LG_OP_ADAPTIVE_MAX_POOL] = write_adaptive_pool,
    [LG_OP_UPSAMPLE] = write_upsample,
};
