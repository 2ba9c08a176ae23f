/* The store in memory: building one for extract, and what anybody may ask it. Opening one from disk is open.c.
 *
 * The frame's block nodes say what every block's interface is; a variant is any graph with that interface. */
#include "store/store.h"

#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "graph/ops.h"
#include "store/manifest.h"
#include "store/variant.h"

/* --- memory --- */

void lg_variant_dispose(lg_variant *variant)
{
    lg_free(variant->name);
    lg_free(variant->precision);
    lg_free(variant->origin);
    lg_names_free(variant->aliases, (size_t)variant->n_aliases);
    lg_free(variant->file);
    lg_graph_free(variant->graph);
    memset(variant, 0, sizeof(*variant));
}

static void block_dispose(lg_block *block)
{
    lg_free(block->name);
    lg_names_free(block->layers, (size_t)block->n_layers);
    lg_names_free(block->inputs, (size_t)block->n_inputs);
    lg_names_free(block->outputs, (size_t)block->n_outputs);
    for (int32_t v = 0; v < block->n_variants; v++)
        lg_variant_dispose(&block->variants[v]);
    lg_free(block->variants);
    lg_json_free(block->report);
}

void lego_store_free(lego_store *store)
{
    if (!store)
        return;
    lg_free(store->path);
    lg_graph_free(store->frame);
    for (int32_t b = 0; b < store->n_blocks; b++)
        block_dispose(&store->blocks[b]);
    lg_free(store->blocks);
    lg_segments_dispose(&store->segments);
    lg_json_free(store->info);
    lg_free(store->frame_file);
    lg_free(store);
}

/* --- the frame and its blocks --- */

const lg_node *lg_store_block_node(const lg_graph *frame, int32_t block)
{
    for (int32_t n = 0; n < frame->n_nodes; n++)
        if (frame->nodes[n].op->kind == LG_OP_BLOCK && frame->nodes[n].attrs->block.index == block)
            return &frame->nodes[n];
    return NULL;
}

lego_status lg_store_count_blocks(int32_t *out, const lg_graph *frame)
{
    int32_t n = 0;

    for (int32_t i = 0; i < frame->n_nodes; i++)
        n += frame->nodes[i].op->kind == LG_OP_BLOCK;
    for (int32_t i = 0; i < frame->n_nodes; i++) {
        const lg_node *node = &frame->nodes[i];

        if (node->op->kind != LG_OP_BLOCK)
            continue;
        if (node->attrs->block.index < 0 || node->attrs->block.index >= n ||
            lg_store_block_node(frame, (int32_t)node->attrs->block.index) != node)
            return lg_error(LEGO_EFORMAT, "frame: node '%s': block index %lld is not unique in 0 to %d", node->name,
                            (long long)node->attrs->block.index, n - 1);
    }
    *out = n;
    return LEGO_OK;
}

static lego_status value_names(char ***out, int32_t *n, const lg_graph *graph, const int32_t *values, int32_t n_values)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(out, n_values));
    for (int32_t i = 0; i < n_values; i++) {
        LG_TRY(LG_STRDUP(&(*out)[i], graph->values[values[i]].name));
        (*n)++;
    }
done:
    return status;
}

lego_status lg_store_create(lego_store **out, lg_graph *frame)
{
    lego_store *store = NULL;
    lego_status status = LEGO_OK;
    int32_t n_blocks;

    *out = NULL;
    LG_TRY(LG_CALLOC(&store, 1));
    LG_TRY(lg_store_count_blocks(&n_blocks, frame));
    LG_TRY(lg_json_create_object(&store->info));
    LG_TRY(LG_CALLOC(&store->blocks, n_blocks));
    for (int32_t b = 0; b < n_blocks; b++) {
        lg_block *block = &store->blocks[store->n_blocks++];
        const lg_node *node = lg_store_block_node(frame, b);

        LG_TRY(LG_STRDUP(&block->name, node->name));
        LG_TRY(value_names(&block->inputs, &block->n_inputs, frame, node->inputs, node->n_inputs));
        LG_TRY(value_names(&block->outputs, &block->n_outputs, frame, node->outputs, node->n_outputs));
        LG_TRY(lg_json_create_object(&block->report));
    }
    LG_TRY(lg_segments_create(&store->segments, frame));
    store->frame = frame;
    *out = store;
    store = NULL;
done:
    lego_store_free(store);
    return status;
}

static lego_status check_values(const lg_graph *frame, const int32_t *wanted, int32_t n_wanted, const lg_graph *graph,
                                const int32_t *found, int32_t n_found, const char *side, const char *what)
{
    if (n_found != n_wanted)
        return lg_error(LEGO_EFORMAT, "%s: %d %ss, its block has %d", what, n_found, side, n_wanted);
    for (int32_t i = 0; i < n_found; i++) {
        const lg_value *a = &graph->values[found[i]], *b = &frame->values[wanted[i]];
        char a_text[128], b_text[128];

        if (a->dtype != b->dtype || !lg_shape_equal(&a->shape, &b->shape))
            return lg_error(LEGO_EFORMAT, "%s: %s %d is %s %s, its block has %s %s", what, side, i,
                            lg_dtype_name(a->dtype), lg_shape_format(a_text, &a->shape), lg_dtype_name(b->dtype),
                            lg_shape_format(b_text, &b->shape));
    }
    return LEGO_OK;
}

lego_status lg_store_check_interface(const lego_store *store, int32_t block, const lg_graph *graph, const char *what)
{
    const lg_node *node = lg_store_block_node(store->frame, block);
    lego_status status = LEGO_OK;

    LG_TRY(check_values(store->frame, node->inputs, node->n_inputs, graph, graph->inputs, graph->n_inputs, "input",
                        what));
    LG_TRY(check_values(store->frame, node->outputs, node->n_outputs, graph, graph->outputs, graph->n_outputs,
                        "output", what));
    for (int32_t n = 0; n < graph->n_nodes; n++)
        if (graph->nodes[n].op->kind == LG_OP_BLOCK)
            LG_FAIL(LEGO_EFORMAT, "%s: node '%s': a variant holds no blocks", what, graph->nodes[n].name);
done:
    return status;
}

void lg_variant_measure(lg_variant *variant, const lg_graph *graph)
{
    variant->n_parameters = lg_graph_parameters(graph);
    variant->n_macs = lg_graph_macs(graph);
    variant->flops = lg_graph_flops(graph);
    variant->weight_bytes = lg_graph_weight_bytes(graph);
}

lego_status lg_store_add_variant(lego_store *store, int32_t block, const char *name, double sparsity,
                                 const char *precision, const char *origin, lg_graph *graph)
{
    lg_block *owner = &store->blocks[block];
    lg_variant variant = { 0 };
    size_t capacity = (size_t)owner->n_variants;
    lego_status status = LEGO_OK;

    if (lg_block_find_variant(owner, name) != LG_NONE)
        LG_FAIL(LEGO_EINVAL, "block '%s' has a variant '%s' already", owner->name, name);
    LG_TRY(lg_store_check_interface(store, block, graph, name));
    LG_TRY(LG_STRDUP(&variant.name, name));
    LG_TRY(LG_STRDUP(&variant.precision, precision));
    LG_TRY(LG_STRDUP(&variant.origin, origin));
    variant.sparsity = sparsity;
    lg_variant_measure(&variant, graph);
    LG_TRY(LG_RESERVE(&owner->variants, &capacity, owner->n_variants + 1));
    variant.graph = graph;
    owner->variants[owner->n_variants++] = variant;
    memset(&variant, 0, sizeof(variant));
done:
    lg_variant_dispose(&variant);
    return status;
}

/* Append a copy of `name` to a list of names. */
static lego_status append_name(char ***names, int32_t *n, const char *name)
{
    size_t capacity = (size_t)*n;
    lego_status status = LEGO_OK;

    LG_TRY(LG_RESERVE(names, &capacity, *n + 1));
    LG_TRY(LG_STRDUP(&(*names)[*n], name));
    (*n)++;
done:
    return status;
}

lego_status lg_variant_add_alias(lg_variant *variant, const char *alias)
{
    return append_name(&variant->aliases, &variant->n_aliases, alias);
}

lego_status lg_block_add_layer(lg_block *block, const char *layer)
{
    return append_name(&block->layers, &block->n_layers, layer);
}

int32_t lg_store_find_block(const lego_store *store, const char *name)
{
    for (int32_t b = 0; b < store->n_blocks; b++)
        if (strcmp(store->blocks[b].name, name) == 0)
            return b;
    return LG_NONE;
}

int32_t lg_block_find_variant(const lg_block *block, const char *name)
{
    for (int32_t v = 0; v < block->n_variants; v++) {
        if (block->variants[v].name && strcmp(block->variants[v].name, name) == 0)
            return v;
        for (int32_t a = 0; a < block->variants[v].n_aliases; a++)
            if (strcmp(block->variants[v].aliases[a], name) == 0)
                return v;
    }
    return LG_NONE;
}

/* --- asking --- */

const char *lego_store_path(const lego_store *store)
{
    return store->path;
}

int32_t lego_store_n_blocks(const lego_store *store)
{
    return store->n_blocks;
}

const char *lego_store_block_name(const lego_store *store, int32_t block)
{
    return block >= 0 && block < store->n_blocks ? store->blocks[block].name : NULL;
}

int32_t lego_store_n_variants(const lego_store *store, int32_t block)
{
    return block >= 0 && block < store->n_blocks ? store->blocks[block].n_variants : 0;
}

const char *lego_store_variant_name(const lego_store *store, int32_t block, int32_t variant)
{
    return variant >= 0 && variant < lego_store_n_variants(store, block)
               ? store->blocks[block].variants[variant].name
               : NULL;
}

lego_status lego_store_variant_info(lego_variant_info *out, const lego_store *store, int32_t block, int32_t variant)
{
    const lg_variant *found;
    lego_status status = LEGO_OK;

    if (!out || !store)
        return lg_error(LEGO_EINVAL, "out and store must not be NULL");
    LG_TRY(lg_store_check_variant(store, block, variant));
    found = &store->blocks[block].variants[variant];
    *out = (lego_variant_info){
        .name = found->name,
        .precision = found->precision,
        .origin = found->origin,
        .sparsity = found->sparsity,
        .n_parameters = found->n_parameters,
        .n_macs = found->n_macs,
        .flops = found->flops,
        .weight_bytes = (int64_t)found->weight_bytes,
        .file_bytes = (int64_t)found->file_bytes,
    };
done:
    return status;
}

lego_status lego_store_to_json(char **out, const lego_store *store)
{
    lg_json *json = NULL;
    uint64_t checksum;
    lego_status status = LEGO_OK;

    if (!out || !store)
        return lg_error(LEGO_EINVAL, "out and store must not be NULL");
    *out = NULL;
    LG_TRY(lg_manifest_to_json(&json, &checksum, store));
    LG_TRY(lg_json_print(out, json, 1));
done:
    lg_json_free(json);
    return status;
}
