/* What the blocks cover, and why the rest stays as it is. Nothing is silently left unpruned. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "extract/extract.h"
#include "graph/ops.h"

double lg_layer_free_share(const char **reason, const lg_channels *channels, const lg_graph *block,
                           const lg_node *layer, int of_output)
{
    int32_t value = of_output ? layer->outputs[0] : layer->inputs[0];
    int axis = lg_layer_channel_axis(block, layer, value);
    int64_t n = block->values[value].shape.dims[axis], n_free = 0;
    const char *first = NULL;

    for (int64_t i = 0; i < n; i++) {
        int32_t unit = lg_channels_unit(channels, LG_VALUE_AXIS(value, axis), i);
        const char *frozen = unit < 0 ? "no channel rule" : lg_channels_frozen(channels, unit);

        n_free += !frozen;
        if (frozen && !first)
            first = frozen;
    }
    if (reason)
        *reason = first;
    return (double)n_free / (double)n;
}

/* --- blocks --- */

lg_layer_role lg_block_layer_role(const lg_graph *block, const lg_channels *channels, const lg_node *node)
{
    if (lg_layer_free_share(NULL, channels, block, node, 1) > 0.0)
        return LG_LAYER_PRUNABLE;
    return lg_layer_free_share(NULL, channels, block, node, 0) > 0.0 ? LG_LAYER_COMPRESSED : LG_LAYER_CARRIED;
}

lego_status lg_block_report_layers(lg_json *report, const lg_graph *block, const lg_channels *channels)
{
    static const char *const roles[] = { "prunable", "compressed", "carried" };
    lg_json *layers, *object;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_array(&layers, report, "layers"));
    for (int32_t n = 0; n < block->n_nodes; n++) {
        const lg_node *node = &block->nodes[n];

        if (!lg_op_is_compressible(node->op))
            continue;
        LG_TRY(lg_json_push_object(&object, layers));
        LG_TRY(lg_json_set_string(object, "name", node->name));
        LG_TRY(lg_json_set_string(object, "role", roles[lg_block_layer_role(block, channels, node)]));
        LG_TRY(lg_json_set_int(object, "flops", lg_node_flops(block, node)));
        LG_TRY(lg_json_set_int(object, "parameters", lg_node_parameters(block, node)));
    }
done:
    return status;
}

static int holds_value(const lg_channel_group *group, int32_t value, int axis)
{
    for (int32_t a = 0; a < group->n_axes; a++)
        if (!group->axes[a].is_weight && group->axes[a].id == value && group->axes[a].axis == axis)
            return 1;
    return 0;
}

static lego_status set_layers(lg_json *object, const char *key, const lg_graph *block, const lg_channel_group *group,
                              int of_output)
{
    lg_json *names;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_array(&names, object, key));
    for (int32_t n = 0; n < block->n_nodes; n++) {
        const lg_node *node = &block->nodes[n];
        int32_t value = of_output ? node->outputs[0] : node->n_inputs > 0 ? node->inputs[0] : LG_NONE;

        if (lg_op_is_compressible(node->op) && holds_value(group, value, lg_layer_channel_axis(block, node, value)))
            LG_TRY(lg_json_push_string(names, node->name));
    }
done:
    return status;
}

lego_status lg_block_report_group(lg_json **out, lg_json *groups, const lg_graph *block, const lg_channel_group *group)
{
    lg_json *object;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_push_object(&object, groups));
    LG_TRY(lg_json_set_int(object, "channels", group->n_units));
    if (group->parts > 1)
        LG_TRY(lg_json_set_int(object, "conv_groups", group->parts));
    if (group->frozen)
        LG_TRY(lg_json_set_string(object, "frozen", group->frozen));
    LG_TRY(set_layers(object, "made_by", block, group, 1));
    LG_TRY(set_layers(object, "read_by", block, group, 0));
    *out = object;
done:
    return status;
}

/* --- the model --- */

/* Sums over layers, in FLOPs and in parameters. */
typedef struct share_sums {
    double total, in_blocks, prunable, compressed;
} share_sums;

typedef struct cover {
    const lg_graph *graph;
    const lg_blocks *blocks;
    lg_channels *whole; /* the model's, interface frozen */
    share_sums flops, parameters;
    lg_json *frozen;
} cover;

static void add_share(share_sums *to, double amount, int in_block, double output_share, double input_share)
{
    to->total += amount;
    if (!in_block)
        return;
    to->in_blocks += amount;
    to->prunable += output_share * amount;
    to->compressed += output_share > 0.0 || input_share > 0.0 ? amount : 0.0;
}

static lego_status add_frozen(cover *coverage, const lg_node *node, int32_t block, double share_frozen,
                              const char *reason)
{
    char name[16];
    lg_json *object;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_push_object(&object, coverage->frozen));
    LG_TRY(lg_json_set_string(object, "layer", node->name));
    if (block != LG_NONE) {
        snprintf(name, sizeof(name), "b%d", block);
        LG_TRY(lg_json_set_string(object, "block", name));
    }
    if (share_frozen < 1.0)
        LG_TRY(lg_json_set_double(object, "share", share_frozen));
    LG_TRY(lg_json_set_int(object, "flops", lg_node_flops(coverage->graph, node)));
    LG_TRY(lg_json_set_int(object, "parameters", lg_node_parameters(coverage->graph, node)));
    LG_TRY(lg_json_set_string(object, "reason", reason));
done:
    return status;
}

static int is_layer_of_group(const lg_graph *graph, const lg_node *node, const lg_channel_group *group)
{
    return lg_op_is_compressible(node->op) &&
           (holds_value(group, node->outputs[0], lg_layer_channel_axis(graph, node, node->outputs[0])) ||
            holds_value(group, node->inputs[0], lg_layer_channel_axis(graph, node, node->inputs[0])));
}

/* Why a layer of the frame is in no block. Free with lg_free. */
static lego_status frame_reason(char **out, const cover *coverage, const lg_node *node)
{
    const lg_graph *graph = coverage->graph;
    int axis = lg_layer_channel_axis(graph, node, node->outputs[0]);
    const char *reason;
    int32_t n_coupled = 0;
    lego_status status = LEGO_OK;

    if (lg_layer_free_share(&reason, coverage->whole, graph, node, 1) == 0.0) {
        *out = strcmp(reason, "interface of the block") == 0 ? lg_strdup("makes the model's output")
                                                             : lg_strdup(reason);
        goto done;
    }
    for (size_t g = 0; g < lg_channels_n_groups(coverage->whole) && n_coupled == 0; g++) {
        const lg_channel_group *group = lg_channels_group(coverage->whole, g);

        for (int32_t n = 0; holds_value(group, node->outputs[0], axis) && n < graph->n_nodes; n++)
            n_coupled += is_layer_of_group(graph, &graph->nodes[n], group);
    }
    if (n_coupled > coverage->blocks->limits.max)
        *out = lg_asprintf("its channels run through %d layers, a block holds at most %d", n_coupled,
                           coverage->blocks->limits.max);
    else
        *out = lg_strdup("its output crosses the edge of the blocks around it");
done:
    if (!*out)
        status = lg_error(LEGO_ENOMEM, "out of memory");
    return status;
}

static lego_status cover_frame(cover *coverage)
{
    char *reason = NULL;
    lego_status status = LEGO_OK;

    for (int32_t n = 0; n < coverage->graph->n_nodes; n++) {
        const lg_node *node = &coverage->graph->nodes[n];

        if (!lg_op_is_compressible(node->op) || coverage->blocks->block_of[n] != LG_NONE)
            continue;
        add_share(&coverage->flops, (double)lg_node_flops(coverage->graph, node), 0, 0.0, 0.0);
        add_share(&coverage->parameters, (double)lg_node_parameters(coverage->graph, node), 0, 0.0, 0.0);
        LG_TRY(frame_reason(&reason, coverage, node));
        LG_TRY(add_frozen(coverage, node, LG_NONE, 1.0, reason));
        lg_free(reason);
        reason = NULL;
    }
done:
    lg_free(reason);
    return status;
}

static lego_status cover_block(cover *coverage, int32_t index)
{
    lg_graph *block = NULL;
    lg_channels *channels = NULL;
    const char *reason;
    lego_status status = LEGO_OK;

    LG_TRY(lg_blocks_subgraph(&block, coverage->graph, coverage->blocks, index));
    LG_TRY(lg_channels_analyze(&channels, block, 1));
    for (int32_t n = 0; n < block->n_nodes; n++) {
        const lg_node *node = &block->nodes[n];
        double output_share, input_share;

        if (!lg_op_is_compressible(node->op))
            continue;
        output_share = lg_layer_free_share(&reason, channels, block, node, 1);
        input_share = lg_layer_free_share(NULL, channels, block, node, 0);
        add_share(&coverage->flops, (double)lg_node_flops(block, node), 1, output_share, input_share);
        add_share(&coverage->parameters, (double)lg_node_parameters(block, node), 1, output_share, input_share);
        if (output_share < 1.0)
            LG_TRY(add_frozen(coverage, &coverage->graph->nodes[lg_graph_find_node(coverage->graph, node->name)],
                              index, 1.0 - output_share, reason));
    }
done:
    lg_channels_free(channels);
    lg_graph_free(block);
    return status;
}

static lego_status set_shares(lg_json *json, const char *key, const share_sums *shares)
{
    double total = shares->total > 0.0 ? shares->total : 1.0;
    lg_json *object;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_object(&object, json, key));
    LG_TRY(lg_json_set_double(object, "total", shares->total));
    LG_TRY(lg_json_set_double(object, "in_blocks", shares->in_blocks / total));
    LG_TRY(lg_json_set_double(object, "prunable", shares->prunable / total));
    LG_TRY(lg_json_set_double(object, "compressed", shares->compressed / total));
done:
    return status;
}

lego_status lg_blocks_coverage(lg_json **out, const lg_graph *graph, const lg_blocks *blocks)
{
    cover coverage = { .graph = graph, .blocks = blocks };
    lg_json *json = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(lg_json_create_object(&json));
    LG_TRY(lg_json_create_array(&coverage.frozen));
    LG_TRY(lg_channels_analyze(&coverage.whole, graph, 1));
    for (int32_t b = 0; b < blocks->n_blocks; b++)
        LG_TRY(cover_block(&coverage, b));
    LG_TRY(cover_frame(&coverage));
    LG_TRY(lg_json_set_string(json, "mode", lego_block_mode_name(blocks->mode)));
    LG_TRY(lg_json_set_int(json, "layers", blocks->limits.n_layers));
    LG_TRY(lg_json_set_int(json, "layers_per_block", blocks->limits.max));
    LG_TRY(set_shares(json, "flops", &coverage.flops));
    LG_TRY(set_shares(json, "parameters", &coverage.parameters));
    LG_TRY(lg_json_set_item(json, "frozen", &coverage.frozen));
    *out = json;
    json = NULL;
done:
    lg_channels_free(coverage.whole);
    lg_json_free(coverage.frozen);
    lg_json_free(json);
    return status;
}
