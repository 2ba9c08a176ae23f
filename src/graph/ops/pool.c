/* max_pool and avg_pool: x (N,C,H,W) -> y (N,C,P,Q), a window of one channel each; max_pool3d and avg_pool3d: the same over
 * (N,C,D,H,W). ceil_mode and count_include_pad as
 * torch's MaxPool2d and AvgPool2d define them: a partial window must start before the padding behind the input. */
#include "graph/ops/common.h"

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    const lg_pool_attrs *attrs = &node->attrs->pool;
    const lg_shape *in = &lg_op_input(graph, node, 0)->shape;
    const int n_axes = node->op->n_axes;
    int64_t window;
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_spatial(graph, node));
    LG_TRY(lg_op_check_ints(node, "kernel", n_axes, attrs->kernel, 1, LG_MAX_EXTENT));
    LG_TRY(lg_op_check_ints(node, "stride", n_axes, attrs->stride, 1, LG_MAX_EXTENT));
    LG_TRY(lg_op_check_ints(node, "dilation", n_axes, attrs->dilation, 1,
                            node->op->kind == LG_OP_AVG_POOL ? 1 : LG_MAX_EXTENT));
    LG_TRY(lg_op_check_ints(node, "pads", 2 * n_axes, attrs->pads, 0, LG_MAX_EXTENT));
    for (int i = 0; i < n_axes; i++) {
        const int64_t reach = attrs->dilation[i] * (attrs->kernel[i] - 1) + 1;

        if (attrs->pads[i] >= reach || attrs->pads[n_axes + i] >= reach) /* a window would see nothing but padding */
            return lg_error(LEGO_EINVAL, "node '%s': pads %lld and %lld are not smaller than the window of %lld",
                            node->name, (long long)attrs->pads[i], (long long)attrs->pads[n_axes + i], (long long)reach);
        LG_TRY(lg_op_window(&window, node, in->dims[2 + i], attrs->kernel[i], attrs->stride[i], attrs->dilation[i],
                            attrs->pads[i], attrs->pads[n_axes + i], attrs->ceil_mode));
    }
done:
    return status;
}

static lego_status infer_shape(lg_graph *graph, const lg_node *node)
{
    const lg_pool_attrs *attrs = &node->attrs->pool;
    const int n_axes = node->op->n_axes;
    lg_shape out = lg_op_input(graph, node, 0)->shape;
    lego_status status = LEGO_OK;

    for (int i = 0; i < n_axes; i++)
        LG_TRY(lg_op_window(&out.dims[2 + i], node, out.dims[2 + i], attrs->kernel[i], attrs->stride[i],
                            attrs->dilation[i], attrs->pads[i], attrs->pads[n_axes + i], attrs->ceil_mode));
    LG_TRY(lg_op_set_output(graph, node, 0, LEGO_DTYPE_F32, &out));
done:
    return status;
}

static int64_t flops(const lg_graph *graph, const lg_node *node)
{
    int64_t n = lg_value_elements(lg_op_output(graph, node, 0));

    for (int i = 0; i < node->op->n_axes; i++)
        n = lg_mul_sat(n, node->attrs->pool.kernel[i]);
    return n;
}

#define POOL(op_name, KIND, axes, include_pad, ...)                           \
    static const lg_field op_name##_fields[] = {                              \
        LG_FIELD_AXES("kernel", pool.kernel, axes),                           \
        LG_FIELD_AXES("stride", pool.stride, axes),                           \
        __VA_ARGS__,                                                          \
        LG_FIELDS_END,                                                        \
    };                                                                        \
    const lg_op lg_op_##op_name = {                                           \
        .name = #op_name,                                                     \
        .kind = LG_OP_##KIND,                                                 \
        .n_axes = axes,                                                       \
        .min_inputs = 1,                                                      \
        .max_inputs = 1,                                                      \
        .defaults = { .pool = { { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 }, { 0 }, 0, include_pad } }, \
        .fields = op_name##_fields,                                           \
        .validate = validate,                                                 \
        .infer_shape = infer_shape,                                           \
        .flops = flops,                                                       \
        .channels = lg_op_spatial_channels,                                   \
    }

#define CEIL_MODE { "ceil_mode", LG_FIELD_BOOL, offsetof(lg_attrs, pool.ceil_mode), 1, NULL }
#define COUNT_INCLUDE_PAD { "count_include_pad", LG_FIELD_BOOL, offsetof(lg_attrs, pool.count_include_pad), 1, NULL }

#define MAX_POOL(op_name, axes)                                               \
    POOL(op_name, MAX_POOL, axes, 0, LG_FIELD_AXES("dilation", pool.dilation, axes), \
         LG_FIELD_AXES("pads", pool.pads, 2 * (axes)), CEIL_MODE)
#define AVG_POOL(op_name, axes)                                               \
    POOL(op_name, AVG_POOL, axes, 1, LG_FIELD_AXES("pads", pool.pads, 2 * (axes)), CEIL_MODE, COUNT_INCLUDE_PAD)

MAX_POOL(max_pool, 2);
MAX_POOL(max_pool3d, 3);
AVG_POOL(avg_pool, 2);
AVG_POOL(avg_pool3d, 3);
