/* The variants wanted of a block, and their graphs by a criterion. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "prune/prune.h"

void lg_prune_block_dispose(lg_prune_block *block)
{
    for (int32_t v = 0; v < block->n_variants; v++) {
        lg_free(block->variants[v].widths);
        lg_graph_free(block->variants[v].graph);
    }
    lg_free(block->variants);
    lg_free(block->aliases);
    lg_channels_free(block->channels);
    memset(block, 0, sizeof(*block));
}

static lego_status check_free(const lg_prune_block *block, const char *name)
{
    const char *reason = "it has none";

    for (size_t g = 0; g < lg_channels_n_groups(block->channels); g++) {
        const lg_channel_group *group = lg_channels_group(block->channels, g);

        if (!group->frozen)
            return LEGO_OK;
        reason = group->frozen;
    }
    return lg_error(LEGO_EUNSUPPORTED, "block '%s' has no channels that could go (%s)", name, reason);
}

/* The variant with these widths: an index, -1 for the original; `n_variants` if there is none. */
static int32_t find_equal(const lg_prune_block *block, const lg_prune_width *widths)
{
    int is_original = 1;

    for (size_t g = 0; g < lg_channels_n_groups(block->channels); g++)
        is_original &= widths[g].units == lg_channels_group(block->channels, g)->n_units;
    if (is_original)
        return -1;
    for (int32_t v = 0; v < block->n_variants; v++)
        if (lg_prune_widths_equal(block->variants[v].widths, widths, block->channels))
            return v;
    return block->n_variants;
}

/* `scores` NULL: every group loses the same share. */
static lego_status add_sparsity(lg_prune_block *block, double sparsity, int32_t round_to, const double *scores)
{
    char name[LG_VARIANT_NAME];
    lg_prune_width *widths = NULL;
    int32_t same;
    lego_status status = LEGO_OK;

    snprintf(name, sizeof(name), "s%g", sparsity);
    LG_TRY(LG_CALLOC(&widths, lg_channels_n_groups(block->channels)));
    LG_TRY(scores ? lg_prune_widths_ranked(widths, block->channels, scores, sparsity, round_to)
                  : lg_prune_widths(widths, block->channels, sparsity, round_to));
    same = find_equal(block, widths);
    if (same == block->n_variants) {
        lg_prune_variant *variant = &block->variants[block->n_variants++];

        memcpy(variant->name, name, sizeof(name));
        variant->sparsity = sparsity;
        variant->widths = widths;
        widths = NULL;
    } else {
        lg_prune_alias *alias = &block->aliases[block->n_aliases++];

        memcpy(alias->name, name, sizeof(name));
        alias->variant = same;
    }
done:
    lg_free(widths);
    return status;
}

lego_status lg_prune_block_init_ranked(lg_prune_block *out, const lg_graph *graph, const char *name,
                                       const double *sparsities, size_t n_sparsities, int32_t round_to,
                                       const lg_prune_rank *rank)
{
    double *scores = NULL;
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    out->graph = graph;
    LG_TRY(lg_channels_analyze(&out->channels, graph, 1));
    LG_TRY(check_free(out, name));
    LG_TRY(LG_CALLOC(&out->variants, n_sparsities));
    LG_TRY(LG_CALLOC(&out->aliases, n_sparsities));
    if (rank) {
        LG_TRY(LG_CALLOC(&scores, lg_channels_n_units(out->channels)));
        LG_TRY(lg_prune_scores(scores, rank, out->channels, graph));
    }
    for (size_t i = 0; i < n_sparsities; i++)
        LG_TRY(add_sparsity(out, sparsities[i], round_to, scores));
done:
    lg_free(scores);
    if (status != LEGO_OK)
        lg_prune_block_dispose(out);
    return status;
}

lego_status lg_prune_block_init(lg_prune_block *out, const lg_graph *graph, const char *name,
                                const double *sparsities, size_t n_sparsities, int32_t round_to)
{
    return lg_prune_block_init_ranked(out, graph, name, sparsities, n_sparsities, round_to, NULL);
}

static lego_status prune_block(lg_prune_block *block, const lg_prune_rank *rank)
{
    int32_t n_units = lg_channels_n_units(block->channels);
    double *scores = NULL;
    uint8_t *keep = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&scores, n_units));
    LG_TRY(LG_CALLOC(&keep, n_units));
    LG_TRY(lg_prune_scores(scores, rank, block->channels, block->graph));
    for (int32_t v = 0; v < block->n_variants; v++) {
        lg_prune_variant *variant = &block->variants[v];

        LG_TRY(lg_prune_select(keep, block->channels, variant->widths, scores));
        LG_TRY(lg_channels_apply(&variant->graph, block->channels, block->graph, keep));
    }
done:
    lg_free(scores);
    lg_free(keep);
    return status;
}

lego_status lg_prune_by_rank(lego_context *context, lg_prune_block *blocks, int32_t n_blocks,
                             const lg_prune_rank *rank)
{
    lego_status status = LEGO_OK;

    for (int32_t b = 0; b < n_blocks; b++) {
        lg_prune_rank own = *rank;

        own.seed += (uint64_t)b;
        LG_TRY(prune_block(&blocks[b], &own));
        LG_TRY(lg_progress(context, "prune", (size_t)b + 1, (size_t)n_blocks));
    }
done:
    return status;
}

lego_status lg_prune_by_score(lego_context *context, lg_prune_block *blocks, int32_t n_blocks,
                              lego_criterion criterion, uint64_t seed)
{
    return lg_prune_by_rank(context, blocks, n_blocks, &(lg_prune_rank){ criterion, seed, NULL });
}
