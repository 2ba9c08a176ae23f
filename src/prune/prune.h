/* A block -> its variants: how wide every channel group becomes, which channels stay, and the graph without the rest.
 *
 *   lg_prune_widths   sparsity -> units and parts that each group keeps
 *   lg_prune_scores   a criterion's importance of every unit (l1 ...)      } or lg_reconstruct, which chooses by output
 *   lg_prune_select   scores + widths -> keep flags                        } error and re-fits the weights (--data)
 *   lg_channels_apply keep flags -> the variant's graph (graph/channels.h)
 *
 * Units, groups, parts and partners are those of graph/channels.h. */
#ifndef LG_PRUNE_PRUNE_H
#define LG_PRUNE_PRUNE_H

#include "graph/channels.h"
#include "legodnn/data.h"
#include "legodnn/prune.h"
#include "store/store.h"

/* What a group keeps. Plain group: `parts` is 1. Group of a grouped convolution: `parts` convolution groups stay, each
 * with units / parts of its units. */
typedef struct lg_prune_width {
    int32_t units;
    int32_t parts;
} lg_prune_width;

/* Widths of all groups (lg_channels_n_groups of them) at a sparsity: round((1-s)*n) of every free group, at least 1;
 * frozen groups keep all. Groups coupled by grouped convolutions keep equally many convolution groups; as many as get
 * the asked width within rounding. round_to > 1 rounds widths up to a multiple of it where the group has that many. */
lego_status lg_prune_widths(lg_prune_width *widths, const lg_channels *channels, double sparsity, int32_t round_to);

/* keep[unit] = 1 for the units that stay (lg_channels_n_units flags), given an importance of every unit: the highest
 * `widths[g].units` of a plain group; of a grouped convolution the convolution groups with the highest sum over what
 * they would keep (both sides together), in each the highest units. Ties: the lower index stays. */
lego_status lg_prune_select(uint8_t *keep, const lg_channels *channels, const lg_prune_width *widths,
                            const double *scores);

/* Widths when all free units of a block compete: the highest round((1-s)*n) of its n free units stay, at least one of
 * every group; grouped convolutions keep their balance as above, at the share that is left of both sides. */
lego_status lg_prune_widths_ranked(lg_prune_width *widths, const lg_channels *channels, const double *scores,
                                   double sparsity, int32_t round_to);

/* What the loss would change by if a channel were gone, to first order (taylor.c): for every layer of a model. */
typedef struct lg_taylor lg_taylor;
/* From up to 256 samples of `dataset`, with their classes. LEGO_EUNSUPPORTED if an op has no gradient, or the model is
 * no classifier. */
lego_status lg_taylor_create(lg_taylor **out, lego_context *context, const lg_graph *model, lego_dataset *dataset);
void lg_taylor_free(lg_taylor *taylor);
/* Of every unit of a block of the model; in the loss's own measure, squared. */
lego_status lg_taylor_score(double *scores, const lg_taylor *taylor, const lg_channels *channels,
                            const lg_graph *block);

/* How units are ranked. */
typedef struct lg_prune_rank {
    lego_criterion criterion; /* any but reconstruct */
    uint64_t seed;
    const lg_taylor *taylor;  /* borrowed; for that criterion alone */
} lg_prune_rank;

/* Importance of every unit, summed over the filters that make the unit. */
lego_status lg_prune_scores(double *scores, const lg_prune_rank *rank, const lg_channels *channels,
                            const lg_graph *graph);

/* Whether two sets of widths are the same (the variant is then an alias). */
int lg_prune_widths_equal(const lg_prune_width *a, const lg_prune_width *b, const lg_channels *channels);

#define LG_VARIANT_NAME 24

/* One variant to be made. */
typedef struct lg_prune_variant {
    char name[LG_VARIANT_NAME]; /* "s0.6" */
    double sparsity;
    lg_prune_width *widths;  /* one a group */
    lg_graph *graph;         /* made by lg_prune_by_score() or lg_reconstruct(); NULL before */
} lg_prune_variant;

/* A sparsity asked for that gives the widths of another variant. */
typedef struct lg_prune_alias {
    char name[LG_VARIANT_NAME];
    int32_t variant; /* index in `variants`; LG_NONE: the original */
} lg_prune_alias;

/* One block and the variants wanted of it, by rising sparsity; none is equal to the original or to another. */
typedef struct lg_prune_block {
    const lg_graph *graph;       /* the original, borrowed */
    lg_channels *channels;       /* of `graph`, interface frozen */
    int32_t n_variants;
    lg_prune_variant *variants;
    int32_t n_aliases;
    lg_prune_alias *aliases;
    lg_json *report;             /* the block's report in the store (borrowed): whoever chooses may add to it */
} lg_prune_block;

/* Analyse a block's channels and plan its variants, sparsities rising; LEGO_EUNSUPPORTED if none of its channels can go.
 * `name` is for messages. Free with lg_prune_block_dispose(). */
lego_status lg_prune_block_init(lg_prune_block *out, const lg_graph *graph, const char *name,
                                const double *sparsities, size_t n_sparsities, int32_t round_to);
/* The same with widths by lg_prune_widths_ranked(). */
lego_status lg_prune_block_init_ranked(lg_prune_block *out, const lg_graph *graph, const char *name,
                                       const double *sparsities, size_t n_sparsities, int32_t round_to,
                                       const lg_prune_rank *rank);
void lg_prune_block_dispose(lg_prune_block *block);

/* Fill the graphs of all variants by a criterion. */
lego_status lg_prune_by_rank(lego_context *context, lg_prune_block *blocks, int32_t n_blocks,
                             const lg_prune_rank *rank);
/* The same by one that needs no data. */
lego_status lg_prune_by_score(lego_context *context, lg_prune_block *blocks, int32_t n_blocks, lego_criterion criterion,
                              uint64_t seed);

/* Fill the graphs of all variants of all blocks by reconstruction (DESIGN.md section 6, reconstruct.c): choose the
 * channels for the given widths by backward elimination on the output error and re-fit the weights, from images of
 * `dataset`. `store` is in memory only: its frame, segments and the originals (variant 0) of all blocks are there,
 * blocks[b] is its block b. Nothing of `store` is changed. `info` (an object, borrowed) receives what was done, for the
 * manifest. Reports progress and may be cancelled through the context. */
lego_status lg_reconstruct(lego_context *context, lego_store *store, lg_prune_block *blocks, int32_t n_blocks,
                           lego_dataset *dataset, uint64_t seed, lg_json *info);

#endif
