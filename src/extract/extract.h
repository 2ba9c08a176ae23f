/* Graph -> blocks: which nodes form a block together, and what stays in the frame.
 *
 *   lg_ties        which channels go together inside any set of nodes, fast enough to ask for thousands of sets
 *   lg_candidates  every set of nodes that could be a block, with what it would make prunable
 *   lg_blocks_find the best choice of disjoint candidates (dynamic programming over the topological order)
 *   lg_blocks_report   what was covered, what stays frozen and why
 *
 * Words: a *layer* is a compressible one (conv2d, linear ...). In a block, a layer is *prunable* if its output channels
 * can go, *compressed* if its output or its input channels can, *carried* if neither. Only compressed layers count
 * towards a block's size; a few carried ones may come along where they close a residual (the projection on a shortcut),
 * because a block that ends behind the sum can be trained to make up for a changed shortcut. */
#ifndef LG_EXTRACT_EXTRACT_H
#define LG_EXTRACT_EXTRACT_H

#include "graph/channels.h"
#include "graph/graph.h"
#include "legodnn/block.h"

/* --- ties.c --- */
typedef struct lg_ties lg_ties;
lego_status lg_ties_create(lg_ties **out, const lg_graph *graph);
void lg_ties_free(lg_ties *ties);
/* Ask about one set of nodes: begin, add its nodes, freeze the values that cross its edge, then read layers. */
void lg_ties_begin(lg_ties *ties);
void lg_ties_add_node(lg_ties *ties, int32_t node);
void lg_ties_freeze_value(lg_ties *ties, int32_t value);
/* The share of a value's channels that can go: of a layer's output it is what makes it prunable. */
double lg_ties_free_share(lg_ties *ties, int32_t value);

/* --- order.c --- */
/* All nodes in a topological order in which what hangs on one branch stands together. */
lego_status lg_extract_order(int32_t *order, const lg_graph *graph, const lg_uses *uses);

/* --- candidates.c --- */
/* One more block is worth this many of the model's average layers: blocks are what the optimiser can choose, and what is
 * merged into one can only shrink together. Without it two blocks become one to make half a percent more prunable. */
#define LG_BLOCK_BONUS 0.5

/* What a block is worth; sums over blocks. Compared from the top. */
typedef struct lg_worth {
    int64_t gain;       /* FLOPs of its prunable layers, each times its free share, and the bonus for being one more */
    int64_t parameters; /* of its prunable layers, likewise */
    int32_t n_blocks;
    int32_t n_open;     /* outputs that only feed a sum outside: fewer are better */
    double imbalance;   /* squared share of the model's FLOPs */
    int64_t compressed; /* FLOPs of its compressed layers; measured candidates only, not compared */
} lg_worth;

typedef struct lg_candidate {
    int32_t first_node, n_nodes; /* in lg_candidates.nodes */
    int32_t begin, end;          /* the span of positions [begin, end) in lg_candidates.order */
    lg_worth worth;
} lg_candidate;

typedef struct lg_candidates {
    int32_t *order; /* all nodes, topologically, branches kept together; a span of positions is convex */
    int32_t n;
    int64_t bonus; /* part of every candidate's gain */
    lg_candidate *list;
    int32_t *nodes;
    size_t capacity, n_nodes, nodes_capacity;
} lg_candidates;

/* How many compressible layers a block of this graph may hold. */
typedef struct lg_block_limits {
    int32_t n_layers;  /* of the model */
    int32_t min, max;  /* compressed layers a block holds */
    int32_t max_total; /* with those it carries */
} lg_block_limits;

lego_status lg_candidates_find(lg_candidates *out, const lg_graph *graph, lg_ties *ties, lego_block_mode mode,
                               const lg_block_limits *limits);
void lg_candidates_dispose(lg_candidates *candidates);

/* --- choose.c --- */
/* The best disjoint candidates, in order: indices into `candidates->list`; none of negative gain. Free with lg_free. */
lego_status lg_candidates_choose(int32_t **out, int32_t *n_out, const lg_candidates *candidates, int32_t n_nodes);

/* --- blocks.c --- */
typedef struct lg_blocks {
    int32_t n_blocks;
    int32_t *block_of;    /* by node: the block, LG_NONE: the frame. Blocks are numbered in topological order. */
    lego_block_mode mode; /* the one used: never AUTO */
    lg_block_limits limits;
} lg_blocks;

/* Ratio 0: 1/8; doubled, up to 1/2, where that compresses too little of the model, and the whole model if nothing less is
 * a block. LEGO_EUNSUPPORTED if there is no block at all. */
lego_status lg_blocks_find(lg_blocks *out, const lg_graph *graph, lego_block_mode mode, double ratio);
void lg_blocks_dispose(lg_blocks *blocks);
/* The nodes of one block as a graph of its own. */
lego_status lg_blocks_subgraph(lg_graph **out, const lg_graph *graph, const lg_blocks *blocks, int32_t block);

/* --- report.c --- */
/* The share of a layer's output (or input) channels that can go, exactly; *reason (may be NULL): why the first that
 * cannot does not. `channels` is of a whole block, interface frozen. */
double lg_layer_free_share(const char **reason, const lg_channels *channels, const lg_graph *block, const lg_node *layer,
                           int of_output);
/* Shares of the layers' FLOPs and parameters in blocks, prunable, compressed; every layer whose output channels stay,
 * with the reason. For the manifest ("coverage") and "legodnn.blocks/1". */
lego_status lg_blocks_coverage(lg_json **out, const lg_graph *graph, const lg_blocks *blocks);
typedef enum lg_layer_role { LG_LAYER_PRUNABLE, LG_LAYER_COMPRESSED, LG_LAYER_CARRIED } lg_layer_role;
/* `channels` is of the block's graph, interface frozen. */
lg_layer_role lg_block_layer_role(const lg_graph *block, const lg_channels *channels, const lg_node *node);
/* Into `report`: "layers" of a block, each with its role, FLOPs and parameters. */
lego_status lg_block_report_layers(lg_json *report, const lg_graph *block, const lg_channels *channels);
/* Push one channel group onto `groups`: channels, convolution groups, the reason if frozen, the layers that make and read
 * it. `*out` is borrowed. */
lego_status lg_block_report_group(lg_json **out, lg_json *groups, const lg_graph *block, const lg_channel_group *group);

#endif
