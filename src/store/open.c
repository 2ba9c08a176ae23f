/* Opening a store and reading its files. Everything is checked: they may come from anywhere.
 *
 * Flow: lg_manifest_load() gives names and files; the frame is loaded at once; variants are loaded and checked against
 * checksum, interface and the manifest's numbers on first use. Opening writes nothing, so a read-only folder is fine.
 *
 * Newcomers get wrong: files are mapped, so a variant's weights live as long as any graph that shares them, also after
 * the file was replaced. */
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/hash.h"
#include "store/manifest.h"
#include "store/variant.h"

static lego_status check_size(const char *path, size_t bytes)
{
    size_t found;
    lego_status status = LEGO_OK;

    LG_TRY(lg_file_size(&found, path));
    if (found != bytes)
        LG_FAIL(LEGO_EFORMAT, "%s: %zu bytes, the manifest says %zu: truncated or replaced", path, found, bytes);
done:
    return status;
}

static lego_status check_checksum(const char *path, uint64_t checksum)
{
    uint64_t found;
    char found_text[LG_HASH_TEXT], wanted_text[LG_HASH_TEXT];
    lego_status status = LEGO_OK;

    LG_TRY(lg_hash_file(&found, path));
    lg_hash_format(found_text, found);
    lg_hash_format(wanted_text, checksum);
    if (found != checksum)
        LG_FAIL(LEGO_EFORMAT, "%s: checksum %s, the manifest says %s: damaged", path, found_text, wanted_text);
done:
    return status;
}

/* A path of the store, with the size and, if asked, the checksum of its file checked. */
static lego_status checked_path(char **out, const lego_store *store, const char *file, size_t bytes,
                                uint64_t checksum, int deep)
{
    char *path = lg_path_join(store->path, file);
    lego_status status = LEGO_OK;

    *out = NULL;
    if (!path)
        LG_FAIL(LEGO_ENOMEM, "%s: out of memory", store->path);
    LG_TRY(check_size(path, bytes));
    if (deep)
        LG_TRY(check_checksum(path, checksum));
    *out = path;
    path = NULL;
done:
    lg_free(path);
    return status;
}

static lego_status check_names(char *const *found, int32_t n, const lg_graph *frame, const int32_t *values,
                               int32_t n_values, const char *side, const lg_block *block, const char *path)
{
    if (n != n_values)
        return lg_error(LEGO_EFORMAT, "%s: block '%s' has %d %ss, the frame has %d", path, block->name, n, side,
                        n_values);
    for (int32_t i = 0; i < n; i++)
        if (strcmp(found[i], frame->values[values[i]].name) != 0)
            return lg_error(LEGO_EFORMAT, "%s: block '%s' has the %s '%s', the frame has '%s'", path, block->name,
                            side, found[i], frame->values[values[i]].name);
    return LEGO_OK;
}

static lego_status check_blocks(const lego_store *store)
{
    int32_t n_blocks;
    lego_status status = LEGO_OK;

    LG_TRY(lg_store_count_blocks(&n_blocks, store->frame));
    if (n_blocks != store->n_blocks)
        LG_FAIL(LEGO_EFORMAT, "%s: the manifest has %d blocks, the frame has %d", store->path, store->n_blocks,
                n_blocks);
    for (int32_t b = 0; b < n_blocks; b++) {
        const lg_node *node = lg_store_block_node(store->frame, b);
        const lg_block *block = &store->blocks[b];

        if (strcmp(block->name, node->name) != 0)
            LG_FAIL(LEGO_EFORMAT, "%s: block %d is '%s', the frame has '%s'", store->path, b, block->name,
                    node->name);
        LG_TRY(check_names(block->inputs, block->n_inputs, store->frame, node->inputs, node->n_inputs, "input", block,
                           store->path));
        LG_TRY(check_names(block->outputs, block->n_outputs, store->frame, node->outputs, node->n_outputs, "output",
                           block, store->path));
    }
done:
    return status;
}

lego_status lego_store_open(lego_store **out, lego_context *context, const char *path)
{
    lego_store *store = NULL;
    char *file = NULL;
    lego_status status = LEGO_OK;

    if (!out || !path)
        return lg_error(LEGO_EINVAL, "out and path must not be NULL");
    *out = NULL;
    LG_TRY(LG_CALLOC(&store, 1));
    LG_TRY(LG_STRDUP(&store->path, path));
    if (!lg_dir_exists(path))
        LG_FAIL(LEGO_ENOTFOUND, "%s: %s", path,
                lg_file_exists(path) ? "not a store: it is no folder" : "there is no such store");
    LG_TRY(lg_dir_remove_stale(path));
    LG_TRY(lg_manifest_load(store, path));
    LG_TRY(checked_path(&file, store, store->frame_file, store->frame_bytes, store->frame_checksum, 1));
    LG_TRY(lg_graph_load(&store->frame, file));
    LG_TRY(check_blocks(store));
    LG_TRY(lg_segments_create(&store->segments, store->frame));
    for (int32_t b = 0; b < store->n_blocks; b++)
        for (int32_t v = 0; v < store->blocks[b].n_variants; v++) {
            const lg_variant *variant = &store->blocks[b].variants[v];

            lg_free(file);
            LG_TRY(checked_path(&file, store, variant->file, variant->file_bytes, 0, 0));
        }
    lg_log(context, LEGO_LOG_DEBUG, "store", "%s: %d blocks", path, store->n_blocks);
    *out = store;
    store = NULL;
done:
    lg_free(file);
    lego_store_free(store);
    return status;
}

lego_status lg_store_check_variant(const lego_store *store, int32_t block, int32_t variant)
{
    if (block < 0 || block >= store->n_blocks)
        return lg_error(LEGO_EINVAL, "block %d is not in 0 to %d", block, store->n_blocks - 1);
    if (variant < 0 || variant >= store->blocks[block].n_variants)
        return lg_error(LEGO_EINVAL, "block '%s': variant %d is not in 0 to %d", store->blocks[block].name, variant,
                        store->blocks[block].n_variants - 1);
    return LEGO_OK;
}

static lego_status check_facts(const lg_variant *variant, const lg_graph *graph, const char *path)
{
    lg_variant found = { 0 };

    lg_variant_measure(&found, graph);
    if (found.n_parameters != variant->n_parameters || found.n_macs != variant->n_macs ||
        found.flops != variant->flops || found.weight_bytes != variant->weight_bytes)
        return lg_error(LEGO_EFORMAT,
                        "%s: %lld parameters, %lld MACs, %lld FLOPs, %zu weight bytes; the manifest says %lld, %lld, "
                        "%lld, %zu",
                        path, (long long)found.n_parameters, (long long)found.n_macs, (long long)found.flops,
                        found.weight_bytes, (long long)variant->n_parameters, (long long)variant->n_macs,
                        (long long)variant->flops, variant->weight_bytes);
    return LEGO_OK;
}

static lego_status load_variant(lg_graph **out, const lego_store *store, int32_t block, const lg_variant *variant)
{
    char *path = NULL;
    lg_graph *graph = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(checked_path(&path, store, variant->file, variant->file_bytes, variant->checksum, 1));
    LG_TRY(lg_graph_load(&graph, path));
    LG_TRY(lg_store_check_interface(store, block, graph, path));
    LG_TRY(check_facts(variant, graph, path));
    *out = graph;
    graph = NULL;
done:
    lg_graph_free(graph);
    lg_free(path);
    return status;
}

lego_status lg_store_variant_graph(const lg_graph **out, lego_store *store, int32_t block, int32_t variant)
{
    lg_variant *wanted;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(lg_store_check_variant(store, block, variant));
    wanted = &store->blocks[block].variants[variant];
    if (!wanted->graph)
        LG_TRY(load_variant(&wanted->graph, store, block, wanted));
    *out = wanted->graph;
done:
    return status;
}

void lg_store_unload_variant(lego_store *store, int32_t block, int32_t variant)
{
    lg_variant *wanted = &store->blocks[block].variants[variant];

    if (!wanted->file) /* the only copy */
        return;
    lg_graph_free(wanted->graph);
    wanted->graph = NULL;
}

lego_status lego_store_verify(lego_store *store)
{
    char *path = NULL;
    lego_status status = LEGO_OK;

    if (!store || !store->path)
        return lg_error(LEGO_EINVAL, "store must not be NULL, and on disk");
    LG_TRY(checked_path(&path, store, store->frame_file, store->frame_bytes, store->frame_checksum, 1));
    for (int32_t b = 0; b < store->n_blocks; b++)
        for (int32_t v = 0; v < store->blocks[b].n_variants; v++) {
            lg_graph *graph;

            LG_TRY(load_variant(&graph, store, b, &store->blocks[b].variants[v]));
            lg_graph_free(graph);
        }
done:
    lg_free(path);
    return status;
}
