/* max_pool and avg_pool: x (N,C,H,W) -> y (N,C,P,Q), a window of one channel each. ceil_mode and count_include_pad as
 * torch's MaxPool2d and AvgPool2d define them: a partial window must start before the padding behind the input. */
#include "graph/ops/common.h"

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    const lg_pool_attrs *attrs = &node->attrs->pool;
    const lg_shape *in = &lg_op_input(graph, node, 0)->shape;
    int64_t window;
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_input(graph, node, 0, 4, 4));
    LG_TRY(lg_op_check_ints(node, "kernel", 2, attrs->kernel, 1, LG_MAX_EXTENT));
    LG_TRY(lg_op_check_ints(node, "stride", 2, attrs->stride, 1, LG_MAX_EXTENT));
    LG_TRY(lg_op_check_ints(node, "dilation", 2, attrs->dilation, 1,
                            node->op->kind == LG_OP_AVG_POOL ? 1 : LG_MAX_EXTENT));
    LG_TRY(lg_op_check_ints(node, "pads", 4, attrs->pads, 0, LG_MAX_EXTENT));
    for (int i = 0; i < 2; i++) {
        const int64_t reach = attrs->dilation[i] * (attrs->kernel[i] - 1) + 1;

        if (attrs->pads[i] >= reach || attrs->pads[2 + i] >= reach) /* a window would see nothing but padding */
            return lg_error(LEGO_EINVAL, "node '%s': pads %lld and %lld are not smaller than the window of %lld",
                            node->name, (long long)attrs->pads[i], (long long)attrs->pads[2 + i], (long long)reach);
        LG_TRY(lg_op_window(&window, node, in->dims[2 + i], attrs->kernel[i], attrs->stride[i], attrs->dilation[i],
                            attrs->pads[i], attrs->pads[2 + i], attrs->ceil_mode));
    }
done:
    return status;
}

static lego_status infer_shape(lg_graph *graph, const lg_node *node)
{
    const lg_pool_attrs *attrs = &node->attrs->pool;
    lg_shape out = lg_op_input(graph, node, 0)->shape;
    lego_status status = LEGO_OK;

    for (int i = 0; i < 2; i++)
        LG_TRY(lg_op_window(&out.dims[2 + i], node, out.dims[2 + i], attrs->kernel[i], attrs->stride[i],
                            attrs->dilation[i], attrs->pads[i], attrs->pads[2 + i], attrs->ceil_mode));
    LG_TRY(lg_op_set_output(graph, node, 0, LEGO_DTYPE_F32, &out));
done:
    return status;
}

static int64_t flops(const lg_graph *graph, const lg_node *node)
{
    return lg_mul_sat(lg_value_elements(lg_op_output(graph, node, 0)),
                      node->attrs->pool.kernel[0] * node->attrs->pool.kernel[1]);
}

static const lg_field max_fields[] = {
    { "kernel", LG_FIELD_INTS, offsetof(lg_attrs, pool.kernel), 2, NULL },
    { "stride", LG_FIELD_INTS, offsetof(lg_attrs, pool.stride), 2, NULL },
    { "dilation", LG_FIELD_INTS, offsetof(lg_attrs, pool.dilation), 2, NULL },
    { "pads", LG_FIELD_INTS, offsetof(lg_attrs, pool.pads), 4, NULL },
    { "ceil_mode", LG_FIELD_BOOL, offsetof(lg_attrs, pool.ceil_mode), 1, NULL },
    LG_FIELDS_END,
};

static const lg_field avg_fields[] = {
    { "kernel", LG_FIELD_INTS, offsetof(lg_attrs, pool.kernel), 2, NULL },
    { "stride", LG_FIELD_INTS, offsetof(lg_attrs, pool.stride), 2, NULL },
    { "pads", LG_FIELD_INTS, offsetof(lg_attrs, pool.pads), 4, NULL },
    { "ceil_mode", LG_FIELD_BOOL, offsetof(lg_attrs, pool.ceil_mode), 1, NULL },
    { "count_include_pad", LG_FIELD_BOOL, offsetof(lg_attrs, pool.count_include_pad), 1, NULL },
    LG_FIELDS_END,
};

const lg_op lg_op_max_pool = {
    .name = "max_pool",
    .kind = LG_OP_MAX_POOL,
    .min_inputs = 1,
    .max_inputs = 1,
    .defaults = { .pool = { { 1, 1 }, { 1, 1 }, { 1, 1 }, { 0, 0, 0, 0 }, 0, 0 } },
    .fields = max_fields,
    .validate = validate,
    .infer_shape = infer_shape,
    .flops = flops,
    .channels = lg_op_spatial_channels,
};

const lg_op lg_op_avg_pool = {
    .name = "avg_pool",
    .kind = LG_OP_AVG_POOL,
    .min_inputs = 1,
    .max_inputs = 1,
    .defaults = { .pool = { { 1, 1 }, { 1, 1 }, { 1, 1 }, { 0, 0, 0, 0 }, 0, 1 } },
    .fields = avg_fields,
    .validate = validate,
    .infer_shape = infer_shape,
    .flops = flops,
    .channels = lg_op_spatial_channels,
};
