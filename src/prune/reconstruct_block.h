/* One block of a model under reconstruction.
 *
 *   lg_block_reconstruct  all of it: every variant in the environments that it is likely to meet
 *   lg_work_create    the block folded, its layers, the rows that statistics are made of, the original's targets
 *   lg_work_solve     the variants in given environments: layers in order, each group chosen, each layer re-fitted
 *   lg_work_collect   (inside) what a layer reads and should give, in a half-made variant, in every environment
 *   lg_work_choose    (inside) which units go, for every sparsity, of the groups that a layer reads
 */
#ifndef LG_PRUNE_RECONSTRUCT_BLOCK_H
#define LG_PRUNE_RECONSTRUCT_BLOCK_H

#include "prune/prune.h"
#include "prune/reconstruct_fisher.h"
#include "prune/reconstruct_graph.h"
#include "prune/reconstruct_streams.h"

/* How much work goes into it; see DESIGN.md section 6 and docs for what each was measured to be worth. */
typedef struct lg_effort {
    double ridge;            /* share of the mean variance of a column */
    int32_t rounds;          /* activation-aware ones */
    int64_t rows_per_column; /* positions that statistics are made of, for every column */
    size_t memory_bytes;     /* for statistics */
    int32_t max_environments; /* that a variant has */
    int32_t reserved;
    uint64_t seed;
} lg_effort;

/* The block's inputs in several environments, the original's among them. */
typedef struct lg_environments {
    int32_t n;
    int32_t original;             /* index of the one where everything before the block is the original */
    const float *const *const *inputs; /* [n][block inputs]: images of that block input */
    const double *weights;        /* [n] */
    int64_t n_images;
} lg_environments;

/* What had to be done on the way; for the report. */
typedef struct lg_remarks {
    int32_t n_raised;      /* systems whose ridge had to be raised */
    int32_t n_pooled;      /* choices made from kernel positions pooled, for lack of memory */
    int32_t n_not_fitted;  /* layers left as they were, for lack of memory */
} lg_remarks;

/* Layers solved so far, over all blocks and variants. */
typedef struct lg_steps {
    size_t done, total;
} lg_steps;

typedef struct lg_work {
    lego_context *context;
    lg_steps *steps;              /* borrowed; counted up and reported; NULL: not wanted */
    const lg_prune_block *block;  /* widths of every variant */
    lg_effort effort;
    lg_graph *graph;              /* the original, folded */
    lg_channels *channels;        /* of `graph` */
    lg_layers layers;
    lg_sample *samples;           /* [layers.n] */
    int32_t n_units, n_groups;
    int32_t *group_of;            /* [n_units]: group of `channels`, LG_NONE */
    int32_t *widths_of;           /* [n_groups]: which group of block->channels it is; LG_NONE: frozen */
    double **roots;               /* [layers.n]: (n_outputs, n_roots): how much errors matter; NULL: all alike */
    int64_t *n_roots;
} lg_work;

/* A variant on the way: the folded block at full size, columns of what was removed zeroed. */
typedef struct lg_path {
    lg_graph *graph;
    uint8_t *alive;        /* [n_units] */
    uint8_t *decided;      /* [n_groups] */
    uint8_t *parts_decided; /* [n_groups] */
    uint8_t *fitted;       /* [layers.n]: weights are no longer the original's */
    int32_t *variants;     /* which of block->variants it will become */
    int32_t n_variants;
} lg_path;

/* `images[i]`: n_images of block input i, in the original. */
lego_status lg_work_create(lg_work *out, lego_context *context, const lg_prune_block *block, const lg_effort *effort,
                           const float *const *images, int64_t n_images);
void lg_work_dispose(lg_work *work);

/* Graphs of `n_variants` variants of the block, the first being `first_variant` (free each), pruned to their widths. */
lego_status lg_work_solve(lg_graph **out, lg_remarks *remarks, const lg_work *work, int32_t first_variant,
                          int32_t n_variants, const lg_environments *environments);

/* What a block is reconstructed from. */
typedef struct lg_block_task {
    lego_context *context;
    lg_streams *streams;      /* at the block's segment */
    int32_t segment;
    const double *sparsities; /* stream 1 + i: all blocks at sparsities[i]; those behind are mixed */
    int32_t n_sparsities;
    lg_effort effort;
    const lg_fisher *fisher;  /* empty: errors of all outputs matter alike */
    lg_steps *steps;
} lg_block_task;

/* Fill the graphs of all variants; what was done goes into block->report (if any). */
lego_status lg_block_reconstruct(lg_prune_block *block, const lg_block_task *task);
/* The variant (index) that stands for this block where all are at `sparsity`; -1: the original. */
int32_t lg_block_variant_at(const lg_prune_block *block, double sparsity);
/* Layers that lg_block_reconstruct() will count. */
size_t lg_block_steps(const lg_prune_block *block);

/* --- between its files --- */
/* The original's targets into the samples (reconstruct_collect.c). */
lego_status lg_work_targets(lg_work *work, const float *const *images);
/* Rows of a layer in a path, in all environments; rows->sample is the layer's. */
lego_status lg_work_collect(lg_rows *rows, const lg_work *work, const lg_path *path, int32_t layer,
                            const lg_environments *environments);

/* The statistics of one slice of a layer. */
typedef struct lg_slice_stats {
    lg_slice slice;       /* channels: alive ones when the statistics were taken */
    int32_t *channels;    /* storage of slice.channels */
    int32_t live;         /* 0: nothing left of this group of the convolution */
    lg_moments moments;   /* n = 0: too large for the memory limit */
    double *w0;           /* (n_channels * area, n_outputs) */
} lg_slice_stats;

/* The statistics of a layer in a path: rows and the moments of every slice. */
typedef struct lg_layer_stats {
    lg_rows rows;
    int32_t n_slices;
    lg_slice_stats *slices;
} lg_layer_stats;
lego_status lg_layer_stats_create(lg_layer_stats *out, const lg_work *work, const lg_path *path, int32_t layer,
                                  const lg_environments *environments);
void lg_layer_stats_dispose(lg_layer_stats *stats);

/* Choose (reconstruct_choose.c). stays[v * n_units + unit] of the path's variant v (in the path's order) becomes 0 for
 * units that go; it comes in with the path's `alive` flags. *n_gone counts what went anywhere. */
/* Whole convolution groups, for `group` and the ring of groups that it is coupled with. */
lego_status lg_work_choose_parts(uint8_t *stays, int64_t *n_gone, lg_remarks *remarks, const lg_work *work,
                                 const lg_path *path, int32_t group, const lg_environments *environments);
/* Units of all open groups that `layer` reads; `stats` are the layer's. */
lego_status lg_work_choose_units(uint8_t *stays, int64_t *n_gone, lg_remarks *remarks, const lg_work *work,
                                 const lg_path *path, int32_t layer, const lg_layer_stats *stats,
                                 const lg_environments *environments);
/* Groups still to be decided that `layer` reads: flags[n_groups]; returns how many. */
int32_t lg_work_open_groups(uint8_t *flags, const lg_work *work, const lg_path *path, int32_t layer);

#endif
