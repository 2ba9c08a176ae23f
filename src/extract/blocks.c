/* A model's blocks: limits, candidates, choice; and the modes. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "extract/extract.h"
#include "graph/ops.h"

/* Ratios tried where none is given: until the layers that compress have this share of the FLOPs. Small models, and long
 * stretches whose channels all hang together, have no blocks of an eighth. */
#define LEAST_RATIO 0.125
#define MOST_RATIO 0.5
#define ENOUGH_COMPRESSED 0.75
/* `auto` stays with a simpler mode that loses less than this share of the model's FLOPs. */
#define SIMPLER_MODE_TOLERANCE 0.01

static const char *const mode_names[] = {
    [LEGO_BLOCK_MODE_AUTO] = "auto", [LEGO_BLOCK_MODE_OTO] = "oto", [LEGO_BLOCK_MODE_OTM] = "otm",
    [LEGO_BLOCK_MODE_MTO] = "mto",   [LEGO_BLOCK_MODE_MTM] = "mtm",
};

const char *lego_block_mode_name(lego_block_mode mode)
{
    return (size_t)mode < sizeof(mode_names) / sizeof(*mode_names) ? mode_names[mode] : NULL;
}

lego_status lego_block_mode_parse(lego_block_mode *out, const char *name)
{
    if (!out || !name)
        return lg_error(LEGO_EINVAL, "out and name must not be NULL");
    for (size_t i = 0; i < sizeof(mode_names) / sizeof(*mode_names); i++)
        if (strcmp(mode_names[i], name) == 0) {
            *out = (lego_block_mode)i;
            return LEGO_OK;
        }
    return lg_error(LEGO_ENOTFOUND, "mode '%s' is none of auto oto otm mto mtm", name);
}

void lg_blocks_dispose(lg_blocks *blocks)
{
    lg_free(blocks->block_of);
    memset(blocks, 0, sizeof(*blocks));
}

static lego_status find_limits(lg_block_limits *out, const lg_graph *graph, double ratio)
{
    memset(out, 0, sizeof(*out));
    for (int32_t n = 0; n < graph->n_nodes; n++)
        out->n_layers += lg_op_is_compressible(graph->nodes[n].op);
    out->min = 2;
    out->max = (int32_t)floor(out->n_layers * ratio);
    out->max = out->max < 2 ? 2 : out->max;
    out->max_total = out->max + 1 + out->max / 4;
    if (out->n_layers < out->min)
        return lg_error(LEGO_EUNSUPPORTED, "the model has %d compressible layers (conv2d, linear), a block needs %d",
                        out->n_layers, out->min);
    return LEGO_OK;
}

/* --- the choice of one mode --- */

static void mark_nodes(uint8_t *in_set, const lg_candidates *candidates, const lg_candidate *candidate)
{
    for (int32_t i = 0; i < candidate->n_nodes; i++)
        in_set[candidates->nodes[candidate->first_node + i]] = 1;
}

/* A candidate's worth by the exact analysis of its channels; a negative gain if it is no block after all. */
static lego_status measure(lg_worth *out, const lg_graph *graph, const lg_candidates *candidates,
                           const lg_candidate *candidate, const lg_block_limits *limits)
{
    uint8_t *in_set = NULL;
    lg_graph *block = NULL;
    lg_channels *channels = NULL;
    int32_t n_compressed = 0;
    lego_status status = LEGO_OK;

    *out = candidate->worth;
    out->gain = candidates->bonus;
    out->parameters = out->compressed = 0;
    LG_TRY(LG_CALLOC(&in_set, graph->n_nodes));
    mark_nodes(in_set, candidates, candidate);
    LG_TRY(lg_graph_subgraph(&block, graph, in_set, NULL, NULL));
    LG_TRY(lg_channels_analyze(&channels, block, 1));
    for (int32_t n = 0; n < block->n_nodes; n++) {
        const lg_node *node = &block->nodes[n];
        double share;

        if (!lg_op_is_compressible(node->op))
            continue;
        share = lg_layer_free_share(NULL, channels, block, node, 1);
        if (lg_block_layer_role(block, channels, node) != LG_LAYER_CARRIED) {
            n_compressed++;
            out->compressed += lg_node_flops(block, node);
        }
        out->gain += llround(share * (double)lg_node_flops(block, node));
        out->parameters += llround(share * (double)lg_node_parameters(block, node));
    }
    if (out->parameters == 0 || n_compressed > limits->max)
        out->gain = -1;
done:
    lg_channels_free(channels);
    lg_graph_free(block);
    lg_free(in_set);
    return status;
}

/* Candidates are estimated (ties.c); what gets chosen is measured, and the choice repeated until all of it was. */
static lego_status choose_measured(int32_t **chosen, int32_t *n_chosen, lg_candidates *candidates,
                                   const lg_graph *graph, const lg_block_limits *limits)
{
    uint8_t *is_measured = NULL;
    int again = 1;
    lego_status status = LEGO_OK;

    *chosen = NULL;
    LG_TRY(LG_CALLOC(&is_measured, candidates->n));
    while (again) {
        again = 0;
        lg_free(*chosen);
        *chosen = NULL;
        LG_TRY(lg_candidates_choose(chosen, n_chosen, candidates, graph->n_nodes));
        for (int32_t i = 0; i < *n_chosen; i++) {
            lg_candidate *candidate = &candidates->list[(*chosen)[i]];
            lg_worth worth;

            if (is_measured[(*chosen)[i]]++)
                continue;
            LG_TRY(measure(&worth, graph, candidates, candidate, limits));
            again |= worth.gain != candidate->worth.gain || worth.parameters != candidate->worth.parameters;
            candidate->worth = worth;
        }
    }
done:
    lg_free(is_measured);
    return status;
}

static lego_status find_in_mode(lg_blocks *out, lg_worth *sum, const lg_graph *graph, lg_ties *ties)
{
    lg_candidates candidates = { 0 };
    int32_t *chosen = NULL;
    lego_status status = LEGO_OK;

    memset(sum, 0, sizeof(*sum));
    LG_TRY(lg_candidates_find(&candidates, graph, ties, out->mode, &out->limits));
    LG_TRY(choose_measured(&chosen, &out->n_blocks, &candidates, graph, &out->limits));
    LG_TRY(LG_CALLOC(&out->block_of, graph->n_nodes));
    for (int32_t n = 0; n < graph->n_nodes; n++)
        out->block_of[n] = LG_NONE;
    for (int32_t b = 0; b < out->n_blocks; b++) {
        const lg_candidate *candidate = &candidates.list[chosen[b]];

        sum->gain += candidate->worth.gain;
        sum->compressed += candidate->worth.compressed;
        for (int32_t i = 0; i < candidate->n_nodes; i++)
            out->block_of[candidates.nodes[candidate->first_node + i]] = b;
    }
done:
    lg_free(chosen);
    lg_candidates_dispose(&candidates);
    return status;
}

/* --- the modes --- */

/* All modes; of those that cover as much as the best one, the simplest. */
static lego_status find_in_all_modes(lg_blocks *out, lg_worth *sum, const lg_graph *graph, lg_ties *ties)
{
    lg_blocks found[LEGO_BLOCK_MODE_MTM + 1] = { { 0 } };
    lg_worth sums[LEGO_BLOCK_MODE_MTM + 1] = { { 0 } };
    int64_t most = 0;
    int64_t tolerance = (int64_t)(SIMPLER_MODE_TOLERANCE * (double)lg_graph_flops(graph));
    lego_status status = LEGO_OK;

    for (int mode = LEGO_BLOCK_MODE_OTO; mode <= LEGO_BLOCK_MODE_MTM; mode++) {
        found[mode].mode = (lego_block_mode)mode;
        found[mode].limits = out->limits;
        LG_TRY(find_in_mode(&found[mode], &sums[mode], graph, ties));
        most = sums[mode].gain > most ? sums[mode].gain : most;
    }
    for (int mode = LEGO_BLOCK_MODE_OTO; mode <= LEGO_BLOCK_MODE_MTM; mode++)
        if (sums[mode].gain + tolerance >= most) {
            *out = found[mode];
            *sum = sums[mode];
            memset(&found[mode], 0, sizeof(found[mode]));
            break;
        }
done:
    for (int mode = LEGO_BLOCK_MODE_OTO; mode <= LEGO_BLOCK_MODE_MTM; mode++)
        lg_blocks_dispose(&found[mode]);
    return status;
}

static lego_status find_with_ratio(lg_blocks *out, lg_worth *sum, const lg_graph *graph, lg_ties *ties,
                                   lego_block_mode mode, double ratio)
{
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    LG_TRY(find_limits(&out->limits, graph, ratio));
    out->mode = mode;
    if (mode == LEGO_BLOCK_MODE_AUTO)
        LG_TRY(find_in_all_modes(out, sum, graph, ties));
    else
        LG_TRY(find_in_mode(out, sum, graph, ties));
done:
    if (status != LEGO_OK)
        lg_blocks_dispose(out);
    return status;
}

/* The smallest ratio that compresses enough; of those that do not, the one that compresses most. */
static lego_status find_ratio(lg_blocks *out, const lg_graph *graph, lg_ties *ties, lego_block_mode mode)
{
    const double enough = ENOUGH_COMPRESSED * (double)lg_graph_flops(graph);
    int64_t most = -1;
    lego_status status = LEGO_OK;

    for (double ratio = LEAST_RATIO; ratio <= 1.0 && (double)most < enough; ratio *= 2.0) {
        lg_blocks found;
        lg_worth sum;

        if (ratio > MOST_RATIO && most > 0)
            break;
        LG_TRY(find_with_ratio(&found, &sum, graph, ties, mode, ratio));
        if (sum.compressed > most) {
            most = sum.compressed;
            lg_blocks_dispose(out);
            *out = found;
        } else {
            lg_blocks_dispose(&found);
        }
    }
done:
    return status;
}

lego_status lg_blocks_find(lg_blocks *out, const lg_graph *graph, lego_block_mode mode, double ratio)
{
    lg_ties *ties = NULL;
    lg_worth sum;
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    if (!lego_block_mode_name(mode))
        return lg_error(LEGO_EINVAL, "mode %d is none of 0 to %d", (int)mode, LEGO_BLOCK_MODE_MTM);
    if (!(ratio >= 0.0 && ratio <= 1.0)) /* this form also rejects NaN */
        return lg_error(LEGO_EINVAL, "ratio %g is not in (0, 1]", ratio);
    LG_TRY(lg_ties_create(&ties, graph));
    if (ratio == 0.0)
        LG_TRY(find_ratio(out, graph, ties, mode));
    else
        LG_TRY(find_with_ratio(out, &sum, graph, ties, mode, ratio));
    if (out->n_blocks == 0)
        LG_FAIL(LEGO_EUNSUPPORTED,
                "no part of the model can be a block in mode %s: 2 to %d layers with a fixed interface and channels "
                "inside that can go",
                lego_block_mode_name(out->mode), out->limits.max);
done:
    lg_ties_free(ties);
    if (status != LEGO_OK)
        lg_blocks_dispose(out);
    return status;
}

lego_status lg_blocks_subgraph(lg_graph **out, const lg_graph *graph, const lg_blocks *blocks, int32_t block)
{
    uint8_t *in_set = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&in_set, graph->n_nodes));
    for (int32_t n = 0; n < graph->n_nodes; n++)
        in_set[n] = blocks->block_of[n] == block;
    LG_TRY(lg_graph_subgraph(out, graph, in_set, NULL, NULL));
done:
    lg_free(in_set);
    return status;
}
