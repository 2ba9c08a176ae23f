/* The store: the folder that holds frame, variants, manifest and profiles; what goes to the device.
 *
 *   manifest.json                    schema "legodnn.store/1": every file with its bytes and checksum
 *   frame.safetensors                the model with each block replaced by one `block` node
 *   blocks/b<i>/<variant>.safetensors   a variant: a graph with the block's interface ("s0" is the original)
 *   profile.json, latency.json       profiles (written later)
 *
 * Written into a temporary folder and exchanged in one step; single variants are replaced atomically (retrain).
 * A variant is any graph with the block's interface, computed in some precision: nothing assumes pruning or f32. */
#ifndef LG_STORE_STORE_H
#define LG_STORE_STORE_H

#include "graph/graph.h"
#include "legodnn/store.h"

typedef struct lg_variant {
    char *name;      /* "s0", "s0.3", later "s0.3-bf16" */
    double sparsity; /* as asked */
    char *precision; /* "f32" */
    char *file;      /* relative path */
    uint64_t checksum;
    size_t file_bytes;
    int64_t n_parameters, n_macs, flops;
    size_t weight_bytes;
    char *origin;    /* how its weights were made: "original", "l1", "reconstruct", "retrain" */
    lg_graph *graph; /* loaded on first use by lg_store_variant_graph(); NULL before */
} lg_variant;

typedef struct lg_block {
    char *name;          /* "b0" */
    int32_t n_layers;
    char **layers;       /* compressible layers, names */
    int32_t n_inputs, n_outputs;
    char **inputs, **outputs; /* boundary value names */
    int32_t n_variants;
    lg_variant *variants; /* [0] is the original, then by falling weight bytes */
    lg_json *report;      /* groups: widths before and after by variant, frozen ones with the reason */
} lg_block;

struct lego_store {
    char *path;
    lg_graph *frame;
    int32_t n_blocks;
    lg_block *blocks;
    lg_json *info; /* everything else the manifest says: model, criterion, seed, data, coverage */
};

/* --- writing (extract) --- */
/* Write a new store at `path`: every variant of `store` must have its graph loaded; fills file, checksum, sizes.
 * An existing store is replaced only when the new one is complete; any other existing folder is refused. */
lego_status lg_store_write(struct lego_store *store, const char *path);
/* Replace one variant's weights (same or other graph, same interface): file, checksum, manifest, atomically. */
lego_status lg_store_update_variant(struct lego_store *store, int32_t block, int32_t variant, const lg_graph *graph,
                                    const char *origin);

/* --- reading --- */
/* Borrowed; loads and checks the file on first use. Not thread-safe for one store. */
lego_status lg_store_variant_graph(const lg_graph **out, struct lego_store *store, int32_t block, int32_t variant);
int32_t lg_store_find_block(const struct lego_store *store, const char *name);        /* LG_NONE */
int32_t lg_block_find_variant(const lg_block *block, const char *name);

/* --- composing (compose.c) --- */
/* frame + selection -> graph; selection[b] is a variant index. Nodes carry their block's index. Weights are shared. */
lego_status lg_store_compose(lg_graph **out, struct lego_store *store, const int32_t *selection);

/* The frame cut at its blocks, in topological order: segment 0 is the frame before the first block; segment k > 0 is
 * one block (`block` >= 0) or a run of frame nodes (`block` = LG_NONE). Running all segments in order on a pool of
 * named boundary values is running the composition; two compositions that agree on the first blocks share the
 * boundary values up to there. */
typedef struct lg_segment {
    int32_t block;       /* LG_NONE: `graph` holds frame nodes */
    lg_graph *graph;     /* NULL for a block: take a variant's graph */
    int32_t n_inputs, n_outputs;
    int32_t *inputs;     /* slots of the boundary pool, in the order of the graph's inputs */
    int32_t *outputs;
} lg_segment;
typedef struct lg_segments {
    int32_t n_segments;
    lg_segment *segments;
    int32_t n_slots;      /* boundary values: slot i holds lg_value *values[i] elements a sample */
    lg_value *values;     /* name and shape of each slot */
    int32_t *last_use;    /* last segment that reads the slot; n_segments for graph outputs */
    int32_t n_inputs, n_outputs;
    int32_t *inputs, *outputs; /* slots of the model's inputs and outputs */
} lg_segments;
lego_status lg_store_segments(lg_segments *out, const struct lego_store *store);
void lg_segments_dispose(lg_segments *segments);

#endif
