/* adaptive_avg_pool, adaptive_max_pool: x (N,C,H,W) -> y (N,C,size[0],size[1]); output cell i of P covers the rows from
 * floor(iH/P) to ceil((i+1)H/P) - 1, as torch. Size 1x1 is the global pool. */
#include "graph/ops/common.h"

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_op_check_input(graph, node, 0, 4, 4));
    LG_TRY(lg_op_check_ints(node, "size", 2, node->attrs->adaptive_pool.size, 1, LG_MAX_EXTENT));
done:
    return status;
}

static lego_status infer_shape(lg_graph *graph, const lg_node *node)
{
    const lg_shape *in = &lg_op_input(graph, node, 0)->shape;
    const int64_t *size = node->attrs->adaptive_pool.size;

    return lg_op_set_output(graph, node, 0, LEGO_DTYPE_F32,
                            &(lg_shape){ 4, { LG_BATCH, in->dims[1], size[0], size[1] } });
}

static const lg_field fields[] = {
    { "size", LG_FIELD_INTS, offsetof(lg_attrs, adaptive_pool.size), 2, NULL },
    LG_FIELDS_END,
};

#define ADAPTIVE_POOL(KIND, op_name)                                          \
    const lg_op lg_op_##op_name = {                                           \
        .name = #op_name,                                                     \
        .kind = LG_OP_##KIND,                                                 \
        .min_inputs = 1,                                                      \
        .max_inputs = 1,                                                      \
        .defaults = { .adaptive_pool = { { 1, 1 } } },                        \
        .fields = fields,                                                     \
        .validate = validate,                                                 \
        .infer_shape = infer_shape,                                           \
        .flops = lg_op_unary_flops,                                           \
        .channels = lg_op_spatial_channels,                                   \
    }

ADAPTIVE_POOL(ADAPTIVE_AVG_POOL, adaptive_avg_pool);
ADAPTIVE_POOL(ADAPTIVE_MAX_POOL, adaptive_max_pool);
