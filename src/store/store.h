/* The store: the folder that holds frame, variants, manifest and profiles; what goes to the device.
 *
 *   manifest.json                       schema "legodnn.store/1": every file with its bytes and checksum
 *   frame.safetensors                   the model with each block replaced by one `block` node
 *   blocks/b<i>/<variant>.safetensors   a variant: a graph with the block's interface ("s0" is the original)
 *   profile.json, latency.json          profiles (written later by others, not listed in the manifest)
 *
 * Written into a temporary folder and exchanged in one step. A single variant is replaced (retrain) by writing a file of
 * a new name and then the manifest, so that at any moment the manifest and the files it names agree: always take
 * `lg_variant.file`, never build the name. A variant is any graph with the block's interface, computed in some
 * precision: nothing assumes pruning or f32. */
#ifndef LG_STORE_STORE_H
#define LG_STORE_STORE_H

#include "graph/graph.h"
#include "legodnn/store.h"

typedef struct lg_variant {
    char *name;      /* "s0", "s0.3", later "s0.3-bf16" */
    double sparsity; /* as asked */
    char *precision; /* "f32" */
    char *origin;    /* how its weights were made: "original", "l1", "reconstruct", "retrain" */
    int32_t n_aliases;
    char **aliases;  /* names of variants that would have been the same as this one and were dropped */
    char *file;      /* relative path; NULL before the store is written */
    uint64_t checksum;
    size_t file_bytes;
    int64_t n_parameters, n_macs, flops;
    size_t weight_bytes;
    lg_graph *graph; /* loaded on first use by lg_store_variant_graph(); NULL before */
} lg_variant;

typedef struct lg_block {
    char *name;          /* "b0" */
    int32_t n_layers;
    char **layers;       /* the compressible layers that lose channels, names */
    int32_t n_inputs, n_outputs;
    char **inputs, **outputs; /* boundary value names, as in the frame */
    int32_t n_variants;
    lg_variant *variants; /* [0] is the original, then by falling weight bytes */
    lg_json *report;      /* groups: widths before and after by variant, frozen ones with the reason; never NULL */
} lg_block;

/* The frame cut at its blocks, in topological order, frame nodes as early as their inputs allow: a segment is one block
 * (`block` >= 0) or a run of frame nodes (`block` = LG_NONE). Running all segments in order on a pool of named boundary
 * values is running the composition; two compositions that agree on the first blocks share the boundary values up to
 * there. Blocks come in index order. */
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
    int32_t n_slots;      /* boundary values: slot i holds values[i] */
    lg_value *values;     /* name, dtype and shape of each slot; `producer` is the segment that writes it, LG_NONE for
                           * the model's inputs */
    int32_t *last_use;    /* last segment that reads the slot (its producer if none does); n_segments for outputs */
    int32_t n_inputs, n_outputs;
    int32_t *inputs, *outputs; /* slots of the model's inputs and outputs */
} lg_segments;

struct lego_store {
    char *path;         /* NULL before it is written */
    lg_graph *frame;
    int32_t n_blocks;
    lg_block *blocks;
    lg_segments segments; /* of the frame: computed once, borrowed by compose, profile, retrain, reconstruct */
    lg_json *info;      /* everything else the manifest says: model, criterion, seed, data, coverage; never NULL */
    uint64_t checksum;  /* of the manifest: changes with any weight of any variant. Profiles note it. */
    char *frame_file;
    uint64_t frame_checksum;
    size_t frame_bytes;
};

/* --- building (extract); nothing is on disk before lg_store_write() --- */
/* Takes ownership of `frame` on success. Blocks are made from the frame's block nodes: name and interface; layers, report
 * and variants are added by the caller. */
lego_status lg_store_create(lego_store **out, lg_graph *frame);
/* Append a variant; takes ownership of `graph` on success and checks that it has the block's interface. */
lego_status lg_store_add_variant(lego_store *store, int32_t block, const char *name, double sparsity,
                                 const char *precision, const char *origin, lg_graph *graph);
lego_status lg_variant_add_alias(lg_variant *variant, const char *alias);
lego_status lg_block_add_layer(lg_block *block, const char *layer);

/* --- writing --- */
/* Write a new store at `path`: every variant of `store` must have its graph loaded; fills file, checksum, sizes.
 * An existing store is replaced only when the new one is complete; any other existing file or folder is refused. */
lego_status lg_store_write(lego_store *store, const char *path);
/* Replace one variant's graph (other weights or another graph, same interface): file, manifest and this handle, or
 * nothing of it. Fails if another process has changed the store since it was opened. `graph` is cloned (weight storage
 * shared). Borrowed pointers from lg_store_variant_graph() of this variant end here. */
lego_status lg_store_update_variant(lego_store *store, int32_t block, int32_t variant, const lg_graph *graph,
                                    const char *origin);

/* --- reading --- */
/* Borrowed; loads and checks the file on first use. Not thread-safe for one store. */
lego_status lg_store_variant_graph(const lg_graph **out, lego_store *store, int32_t block, int32_t variant);
/* Forget a loaded graph (its file stays): for walks over all variants within a memory limit. */
void lg_store_unload_variant(lego_store *store, int32_t block, int32_t variant);
int32_t lg_store_find_block(const lego_store *store, const char *name);        /* LG_NONE */
int32_t lg_block_find_variant(const lg_block *block, const char *name);        /* aliases count; LG_NONE */

/* --- composing (compose.c) --- */
/* frame + selection -> validated graph; selection[b] is a variant index. Nodes carry their block's index. Weights are
 * shared with the variants' graphs. */
lego_status lg_store_compose(lg_graph **out, lego_store *store, const int32_t *selection);

/* --- segments (segments.c): of any frame; a store has those of its own ready in `segments` --- */
lego_status lg_segments_create(lg_segments *out, const lg_graph *frame);
void lg_segments_dispose(lg_segments *segments);

/* --- selections (selection.c) --- */
struct lego_selection {
    int32_t n_blocks;
    int32_t *variants; /* one index a block */
};
lego_status lg_selection_create(lego_selection **out, const lego_store *store, const int32_t *variants);
/* [{"block": "b0", "variant": "s0.6"}, ...], every block, for documents of schema "legodnn.selection/1". */
lego_status lg_selection_to_json(lg_json **out, const lego_store *store, const int32_t *variants);
/* The same array back; every block at most once, those not named are the original. */
lego_status lg_selection_from_json(int32_t *variants, const lego_store *store, const lg_json *array, const char *what);

#endif
