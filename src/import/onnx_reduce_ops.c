/* Reductions over axes behind the batch, made of what graphs have: means, scaled and rooted; the largest element as the one of
 * a pool over all positions. And the response normalisation of old networks, a mean over neighbouring channels. */
#include "import/onnx.h"

#include <string.h>

#include "graph/ops/common.h"
#include "import/imported.h"

typedef struct reduction {
    const char *type;
    int64_t since;     /* the opset from which the axes are an input */
    lg_op_kind before; /* element by element: abs, mul (the square), exp; LG_OP_BLOCK: nothing */
    int is_sum, is_extreme;
    lg_op_kind after;  /* sqrt, log; LG_OP_BLOCK: nothing */
} reduction;

static const reduction reductions[] = {
    { "ReduceMean", 18, LG_OP_BLOCK, 0, 0, LG_OP_BLOCK }, { "ReduceSum", 13, LG_OP_BLOCK, 1, 0, LG_OP_BLOCK },
    { "ReduceL1", 18, LG_OP_ABS, 1, 0, LG_OP_BLOCK },     { "ReduceL2", 18, LG_OP_MUL, 1, 0, LG_OP_SQRT },
    { "ReduceSumSquare", 18, LG_OP_MUL, 1, 0, LG_OP_BLOCK }, { "ReduceLogSum", 18, LG_OP_BLOCK, 1, 0, LG_OP_LOG },
    { "ReduceMax", 18, LG_OP_BLOCK, 0, 1, LG_OP_BLOCK },  { "ReduceMin", 18, LG_OP_BLOCK, 0, -1, LG_OP_BLOCK },
};

static lego_status emit_square(int32_t *out, lg_onnx_node *node, int32_t x)
{
    return lg_onnx_emit_full(out, node, LG_OP_MUL, NULL, 2, (const int32_t[]){ x, x }, 0, NULL);
}

/* The largest element over the axes of the bits, to this shape (without the batch). */
static lego_status emit_largest(int32_t *out, lg_onnx_node *node, int32_t x, unsigned reduced, const lg_dims *shape)
{
    lg_attrs order = lg_onnx_defaults(LG_OP_PERMUTE), pool = lg_onnx_defaults(LG_OP_ADAPTIVE_MAX_POOL);
    lg_dims plane;
    int is_moved;
    lego_status status = LEGO_OK;

    is_moved = lg_imported_plane(&order.permute.order, &plane, lg_onnx_shape(node, x), reduced);
    if (is_moved)
        LG_TRY(lg_onnx_emit(&x, node, LG_OP_PERMUTE, &order, x));
    if (plane.n > 0)
        LG_TRY(lg_onnx_emit_reshape(&x, node, x, &plane));
    pool.adaptive_pool.size[0] = pool.adaptive_pool.size[1] = 1;
    LG_TRY(lg_onnx_emit(&x, node, LG_OP_ADAPTIVE_MAX_POOL, &pool, x));
    LG_TRY(lg_onnx_emit_reshape(out, node, x, shape));
done:
    return status;
}

static lego_status emit_reduction(int32_t *y, lg_onnx_node *node, const reduction *r, int32_t x, const lg_attrs *mean,
                                  unsigned reduced, int64_t n)
{
    lg_dims shape = { 0, { 0 } };
    const lg_shape in = *lg_onnx_shape(node, x);
    lego_status status = LEGO_OK;

    if (r->before == LG_OP_MUL)
        LG_TRY(emit_square(&x, node, x));
    else if (r->before != LG_OP_BLOCK)
        LG_TRY(lg_onnx_emit(&x, node, r->before, NULL, x));
    if (!r->is_extreme) {
        LG_TRY(lg_onnx_emit(y, node, LG_OP_MEAN, mean, x));
        if (r->is_sum)
            LG_TRY(lg_onnx_emit_scaled(y, node, *y, (double)n));
    } else {
        for (int axis = 1; axis < in.n_dims; axis++)
            if (!(reduced >> axis & 1) || mean->mean.keep)
                shape.dims[shape.n++] = reduced >> axis & 1 ? 1 : in.dims[axis];
        if (r->is_extreme < 0)
            LG_TRY(lg_onnx_emit_scaled(&x, node, x, -1.0));
        LG_TRY(emit_largest(y, node, x, reduced, &shape));
        if (r->is_extreme < 0)
            LG_TRY(lg_onnx_emit_scaled(y, node, *y, -1.0));
    }
    if (r->after != LG_OP_BLOCK)
        LG_TRY(lg_onnx_emit(y, node, r->after, NULL, *y));
done:
    return status;
}

static lego_status convert_reduce(lg_onnx_node *node)
{
    const reduction *r = reductions;
    lg_attrs attrs = lg_onnx_defaults(LG_OP_MEAN);
    lg_dims axes;
    lg_place from, to;
    int64_t keep, keep_all, n = 1;
    unsigned reduced = 0, in_graph = 0; /* axes of the file's value, of the graph's */
    int32_t x, y;
    lego_status status = LEGO_OK;

    while (strcmp(r->type, node->proto->op_type) != 0)
        r++;
    LG_TRY(lg_onnx_placed(&x, &from, node, 0));
    LG_TRY(lg_onnx_list(&axes, node, "axes", 1, r->since));
    LG_TRY(lg_onnx_int(&keep, node, "keepdims", 1));
    LG_TRY(lg_onnx_int(&keep_all, node, "noop_with_empty_axes", 0));
    if (axes.n < 1 && !keep_all)
        LG_FAIL(LEGO_EUNSUPPORTED, "it reduces all axes, with the batch; name the axes");
    if (axes.n < 1) {
        LG_TRY(lg_onnx_finish_placed(node, 0, x, &from));
        goto done;
    }
    for (int i = 0; i < axes.n; i++) {
        LG_TRY(lg_onnx_axis(&axes.dims[i], node, from.shape.n_dims));
        LG_TRY(lg_onnx_place_axis(&attrs.mean.axes.dims[i], &from, axes.dims[i], "it reduces"));
        n = lg_mul_sat(n, from.shape.dims[axes.dims[i]]);
        reduced |= 1u << axes.dims[i];
        in_graph |= 1u << attrs.mean.axes.dims[i];
    }
    attrs.mean.axes.n = axes.n;
    attrs.mean.keep = keep != 0;
    to = lg_place_reduced(&from, reduced, keep != 0);
    LG_TRY(emit_reduction(&y, node, r, x, &attrs, in_graph, n));
    LG_TRY(lg_onnx_finish_placed(node, 0, y, &to));
done:
    return status;
}

/* y = x / (bias + alpha / size * sum of the squares of `size` channels around)^beta: the sum is size times an average pool over
 * the channels, as rows of one plane. */
static lego_status convert_lrn(lg_onnx_node *node)
{
    lg_attrs pool = lg_onnx_defaults(LG_OP_AVG_POOL), power = lg_onnx_defaults(LG_OP_POW);
    lg_dims rows = { 3, { 1, 1, 1 } }, back = { 0, { 0 } };
    lg_shape in;
    double alpha, bias;
    int64_t size;
    int32_t x, y, constant;
    lego_status status = LEGO_OK;

    LG_TRY(lg_onnx_activation(&x, node, 0));
    in = *lg_onnx_shape(node, x);
    LG_TRY(lg_onnx_float(&alpha, node, "alpha", 1e-4));
    LG_TRY(lg_onnx_float(&power.pow.exponent, node, "beta", 0.75));
    LG_TRY(lg_onnx_float(&bias, node, "bias", 1.0));
    LG_TRY(lg_onnx_int(&size, node, "size", 0));
    if (in.n_dims < 3 || size < 1 || size > INT16_MAX)
        LG_FAIL(LEGO_EUNSUPPORTED, "a window of %lld channels over a value of %d axes", (long long)size, (int)in.n_dims);
    for (int axis = 1; axis < in.n_dims; axis++)
        back.dims[back.n++] = in.dims[axis];
    rows.dims[1] = in.dims[1];
    rows.dims[2] = lg_value_elements(&node->import->graph->values[x]) / in.dims[1];
    pool.pool.kernel[0] = size;
    pool.pool.kernel[1] = 1;
    pool.pool.stride[0] = pool.pool.stride[1] = 1;
    pool.pool.pads[0] = (size - 1) / 2;
    pool.pool.pads[2] = size / 2;
    pool.pool.count_include_pad = 1;
    LG_TRY(emit_square(&y, node, x));
    LG_TRY(lg_onnx_emit_reshape(&y, node, y, &rows));
    LG_TRY(lg_onnx_emit(&y, node, LG_OP_AVG_POOL, &pool, y));
    LG_TRY(lg_onnx_emit_reshape(&y, node, y, &back));
    LG_TRY(lg_onnx_emit_scaled(&y, node, y, alpha)); /* alpha / size of the sum is alpha of the average */
    in = lg_shape_make(in.n_dims - 1, in.dims + 1);
    for (int i = 0; i < in.n_dims; i++)
        in.dims[i] = 1;
    LG_TRY(lg_onnx_emit_filled(&constant, node, &in, bias));
    LG_TRY(lg_onnx_emit_full(&y, node, LG_OP_ADD, NULL, 2, (const int32_t[]){ y, constant }, 0, NULL));
    LG_TRY(lg_onnx_emit(&y, node, LG_OP_POW, &power, y));
    LG_TRY(lg_onnx_give(node, LG_OP_DIV, NULL, 2, (const int32_t[]){ x, y }, 0, NULL));
done:
    return status;
}

const lg_onnx_op lg_onnx_reduce_ops[] = {
    { "LRN", convert_lrn },
    { "ReduceL1", convert_reduce },
    { "ReduceL2", convert_reduce },
    { "ReduceLogSum", convert_reduce },
    { "ReduceMax", convert_reduce },
    { "ReduceMean", convert_reduce },
    { "ReduceMin", convert_reduce },
    { "ReduceSum", convert_reduce },
    { "ReduceSumSquare", convert_reduce },
    { NULL, NULL },
};
