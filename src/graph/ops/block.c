/* block: the place of a block in a frame. Never executed: composing puts a variant here. Nothing says what the block
 * computes, so the outputs' shapes are those that were given when the node was added (lg_graph_add_block). */
#include "graph/ops/common.h"

static int n_outputs(const lg_graph *graph, const lg_node *node)
{
    const int64_t n = node->attrs->block.n_outputs;

    return n >= 1 && n < INT32_MAX ? (int)n : 0;
}

static lego_status validate(const lg_graph *graph, const lg_node *node)
{
    return lg_op_check_ints(node, "index", 1, &node->attrs->block.index, 0, INT32_MAX - 1);
}

static lego_status infer_shape(lg_graph *graph, const lg_node *node)
{
    lego_status status = LEGO_OK;

    for (int i = 0; i < node->n_outputs; i++)
        LG_TRY(lg_op_check_shape(&lg_op_output(graph, node, i)->shape, "output of block", node->name));
done:
    return status;
}

static lego_status channels(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    lego_status status = LEGO_OK;

    for (int i = 0; i < node->n_inputs; i++)
        LG_TRY(lg_op_freeze_axes(channels, graph, node->inputs[i], 1, "interface of a block"));
    for (int i = 0; i < node->n_outputs; i++)
        LG_TRY(lg_op_freeze_axes(channels, graph, node->outputs[i], 1, "interface of a block"));
done:
    return status;
}

static const lg_field fields[] = {
    { "index", LG_FIELD_INT, offsetof(lg_attrs, block.index), 1, NULL },
    { "n_outputs", LG_FIELD_INT, offsetof(lg_attrs, block.n_outputs), 1, NULL },
    LG_FIELDS_END,
};

const lg_op lg_op_block = {
    .name = "block",
    .kind = LG_OP_BLOCK,
    .min_inputs = 1,
    .max_inputs = -1,
    .defaults = { .block = { 0, 1 } },
    .fields = fields,
    .n_outputs = n_outputs,
    .validate = validate,
    .infer_shape = infer_shape,
    .channels = channels,
};
