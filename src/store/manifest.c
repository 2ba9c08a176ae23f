/* manifest.json to and from a store's description.
 *
 * Untrusted when read: every name, size and number is checked here; the checksum over the document tells a damaged or
 * hand-edited manifest from a whole one (it is no signature). It covers the compact text of "frame", "blocks" and
 * "info", so that white space does not count.
 *
 * Newcomers get wrong: the manifest is the only truth about which file is a variant's; file names change on update. */
#include "store/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/hash.h"

enum { MAX_BLOCKS = 1 << 16, MAX_VARIANTS = 1 << 12, MAX_NAMES = 1 << 20 };

/* --- writing --- */

static lego_status set_names(lg_json *object, const char *key, char *const *names, int32_t n)
{
    lg_json *array;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_array(&array, object, key));
    for (int32_t i = 0; i < n; i++)
        LG_TRY(lg_json_push_string(array, names[i]));
done:
    return status;
}

static lego_status set_file(lg_json *object, const char *file, size_t bytes, uint64_t checksum)
{
    char text[LG_HASH_TEXT];
    lego_status status = LEGO_OK;

    if (!file) /* described before it is written */
        return LEGO_OK;
    lg_hash_format(text, checksum);
    LG_TRY(lg_json_set_string(object, "file", file));
    LG_TRY(lg_json_set_int(object, "bytes", (int64_t)bytes));
    LG_TRY(lg_json_set_string(object, "checksum", text));
done:
    return status;
}

static lego_status variant_to_json(lg_json *array, const lg_variant *variant)
{
    lg_json *object;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_push_object(&object, array));
    LG_TRY(lg_json_set_string(object, "name", variant->name));
    LG_TRY(lg_json_set_double(object, "sparsity", variant->sparsity));
    LG_TRY(lg_json_set_string(object, "precision", variant->precision));
    LG_TRY(lg_json_set_string(object, "origin", variant->origin));
    if (variant->n_aliases > 0)
        LG_TRY(set_names(object, "aliases", variant->aliases, variant->n_aliases));
    LG_TRY(lg_json_set_int(object, "parameters", variant->n_parameters));
    LG_TRY(lg_json_set_int(object, "macs", variant->n_macs));
    LG_TRY(lg_json_set_int(object, "flops", variant->flops));
    LG_TRY(lg_json_set_int(object, "weight_bytes", (int64_t)variant->weight_bytes));
    LG_TRY(set_file(object, variant->file, variant->file_bytes, variant->checksum));
done:
    return status;
}

/* A copy of a JSON value into `object`. */
static lego_status set_copy(lg_json *object, const char *key, const lg_json *value)
{
    char *text = NULL;
    lg_json *copy = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_print(&text, value, 0));
    LG_TRY(lg_json_parse(&copy, text, strlen(text), key));
    LG_TRY(lg_json_set_item(object, key, &copy));
done:
    lg_json_free(copy);
    lg_free(text);
    return status;
}

static lego_status block_to_json(lg_json *array, const lg_block *block)
{
    lg_json *object, *variants;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_push_object(&object, array));
    LG_TRY(lg_json_set_string(object, "name", block->name));
    LG_TRY(set_names(object, "layers", block->layers, block->n_layers));
    LG_TRY(set_names(object, "inputs", block->inputs, block->n_inputs));
    LG_TRY(set_names(object, "outputs", block->outputs, block->n_outputs));
    LG_TRY(lg_json_set_array(&variants, object, "variants"));
    for (int32_t v = 0; v < block->n_variants; v++)
        LG_TRY(variant_to_json(variants, &block->variants[v]));
    LG_TRY(set_copy(object, "report", block->report));
done:
    return status;
}

/* Chain the compact texts of what the checksum covers. */
static lego_status checksum_of(uint64_t *out, const lg_json *json, const char *what)
{
    static const char *const covered[] = { "frame", "blocks", "info" };
    char *text = NULL;
    uint64_t hash = 0;
    lego_status status = LEGO_OK;

    for (size_t i = 0; i < sizeof(covered) / sizeof(*covered); i++) {
        const lg_json *part;

        if (i == 1)
            LG_TRY(lg_json_get_array(&part, json, covered[i], what));
        else
            LG_TRY(lg_json_get_object(&part, json, covered[i], what));
        LG_TRY(lg_json_print(&text, part, 0));
        hash = lg_hash(text, strlen(text), hash);
        lg_free(text);
        text = NULL;
    }
    *out = hash;
done:
    lg_free(text);
    return status;
}

lego_status lg_manifest_to_json(lg_json **out, uint64_t *checksum, const lego_store *store)
{
    char text[LG_HASH_TEXT];
    lg_json *json = NULL, *frame, *blocks;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(lg_json_create_object(&json));
    LG_TRY(lg_json_set_string(json, "schema", LG_STORE_SCHEMA));
    LG_TRY(lg_json_set_string(json, "legodnn", LEGO_VERSION_STRING));
    LG_TRY(lg_json_set_object(&frame, json, "frame"));
    LG_TRY(lg_json_set_int(frame, "parameters", lg_graph_parameters(store->frame)));
    LG_TRY(lg_json_set_int(frame, "macs", lg_graph_macs(store->frame)));
    LG_TRY(lg_json_set_int(frame, "flops", lg_graph_flops(store->frame)));
    LG_TRY(lg_json_set_int(frame, "weight_bytes", (int64_t)lg_graph_weight_bytes(store->frame)));
    LG_TRY(set_file(frame, store->frame_file, store->frame_bytes, store->frame_checksum));
    LG_TRY(lg_json_set_array(&blocks, json, "blocks"));
    for (int32_t b = 0; b < store->n_blocks; b++)
        LG_TRY(block_to_json(blocks, &store->blocks[b]));
    LG_TRY(set_copy(json, "info", store->info));
    LG_TRY(checksum_of(checksum, json, LG_MANIFEST_FILE));
    lg_hash_format(text, *checksum);
    LG_TRY(lg_json_set_string(json, "checksum", text));
    *out = json;
    json = NULL;
done:
    lg_json_free(json);
    return status;
}

lego_status lg_manifest_save(lego_store *store, const char *folder)
{
    char *path = lg_path_join(folder, LG_MANIFEST_FILE);
    lg_json *json = NULL;
    uint64_t checksum;
    lego_status status = LEGO_OK;

    if (!path)
        LG_FAIL(LEGO_ENOMEM, "%s: out of memory", folder);
    LG_TRY(lg_manifest_to_json(&json, &checksum, store));
    LG_TRY(lg_json_save(json, path));
    store->checksum = checksum;
done:
    lg_json_free(json);
    lg_free(path);
    return status;
}

/* --- reading --- */

static lego_status get_checksum(uint64_t *out, const lg_json *object, const char *what)
{
    const char *text;
    char back[LG_HASH_TEXT];
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_get_string(&text, object, "checksum", what));
    *out = strtoull(text, NULL, 16);
    lg_hash_format(back, *out);
    if (strcmp(text, back) != 0)
        LG_FAIL(LEGO_EFORMAT, "%s: checksum '%s' is not %d hexadecimal digits", what, text, LG_HASH_TEXT - 1);
done:
    return status;
}

static lego_status get_file(char **file, size_t *bytes, uint64_t *checksum, const lg_json *object, const char *what)
{
    const char *name;
    int64_t size;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_get_string(&name, object, "file", what));
    LG_TRY(lg_path_check_relative(name, what));
    LG_TRY(LG_STRDUP(file, name));
    LG_TRY(lg_json_get_int(&size, object, "bytes", 0, INT64_MAX, what));
    *bytes = (size_t)size;
    LG_TRY(get_checksum(checksum, object, what));
done:
    return status;
}

/* Names of blocks and variants stand in selections ("b0=s0.6,b3=s0.8") and in file names. */
static lego_status get_name(char **out, const lg_json *object, const char *what)
{
    const char *name;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_get_string(&name, object, "name", what));
    if (!*name || strpbrk(name, "=,/ \t\r\n") || name[0] == '.')
        LG_FAIL(LEGO_EFORMAT, "%s: name '%s' is empty or has one of '=,/', a space or a leading dot", what, name);
    LG_TRY(LG_STRDUP(out, name));
done:
    return status;
}

/* An array of strings, appended one by one so that `*n` always counts what is there to free. */
static lego_status get_names(char ***out, int32_t *n, const lg_json *object, const char *key, const char *what)
{
    const lg_json *array;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_get_array(&array, object, key, what));
    if (lg_json_length(array) > MAX_NAMES)
        LG_FAIL(LEGO_EFORMAT, "%s: %zu %s are more than the %d allowed", what, lg_json_length(array), key, MAX_NAMES);
    LG_TRY(LG_CALLOC(out, lg_json_length(array)));
    lg_json_each(item, array) {
        const char *text;

        LG_TRY(lg_json_string(&text, item, what));
        LG_TRY(LG_STRDUP(&(*out)[*n], text));
        (*n)++;
    }
done:
    return status;
}

static lego_status get_string(char **out, const lg_json *object, const char *key, const char *what)
{
    const char *text;
    lego_status status = lg_json_get_string(&text, object, key, what);

    return status == LEGO_OK ? LG_STRDUP(out, text) : status;
}

static lego_status variant_from_json(lg_variant *variant, const lg_json *object, const char *what)
{
    int64_t bytes;
    lego_status status = LEGO_OK;

    LG_TRY(get_name(&variant->name, object, what));
    LG_TRY(lg_json_get_double(&variant->sparsity, object, "sparsity", what));
    if (!(variant->sparsity >= 0.0 && variant->sparsity < 1.0))
        LG_FAIL(LEGO_EFORMAT, "%s: variant '%s': sparsity %g is not in [0, 1)", what, variant->name,
                variant->sparsity);
    LG_TRY(get_string(&variant->precision, object, "precision", what));
    LG_TRY(get_string(&variant->origin, object, "origin", what));
    if (lg_json_has(object, "aliases"))
        LG_TRY(get_names(&variant->aliases, &variant->n_aliases, object, "aliases", what));
    LG_TRY(lg_json_get_int(&variant->n_parameters, object, "parameters", 0, INT64_MAX, what));
    LG_TRY(lg_json_get_int(&variant->n_macs, object, "macs", 0, INT64_MAX, what));
    LG_TRY(lg_json_get_int(&variant->flops, object, "flops", 0, INT64_MAX, what));
    LG_TRY(lg_json_get_int(&bytes, object, "weight_bytes", 0, INT64_MAX, what));
    variant->weight_bytes = (size_t)bytes;
    LG_TRY(get_file(&variant->file, &variant->file_bytes, &variant->checksum, object, what));
done:
    return status;
}

static lego_status check_variant_names(const lg_block *block, const char *what)
{
    for (int32_t v = 0; v < block->n_variants; v++) {
        if (lg_block_find_variant(block, block->variants[v].name) != v)
            return lg_error(LEGO_EFORMAT, "%s: block '%s' has two variants '%s'", what, block->name,
                            block->variants[v].name);
        for (int32_t a = 0; a < block->variants[v].n_aliases; a++)
            if (lg_block_find_variant(block, block->variants[v].aliases[a]) != v)
                return lg_error(LEGO_EFORMAT, "%s: block '%s' has two variants '%s'", what, block->name,
                                block->variants[v].aliases[a]);
    }
    return LEGO_OK;
}

static lego_status block_from_json(lg_block *block, lg_json *object, const char *what)
{
    const lg_json *variants, *report;
    lego_status status = LEGO_OK;

    LG_TRY(get_name(&block->name, object, what));
    LG_TRY(get_names(&block->layers, &block->n_layers, object, "layers", what));
    LG_TRY(get_names(&block->inputs, &block->n_inputs, object, "inputs", what));
    LG_TRY(get_names(&block->outputs, &block->n_outputs, object, "outputs", what));
    LG_TRY(lg_json_get_array(&variants, object, "variants", what));
    if (lg_json_length(variants) < 1 || lg_json_length(variants) > MAX_VARIANTS)
        LG_FAIL(LEGO_EFORMAT, "%s: block '%s' has %zu variants, 1 to %d are possible", what, block->name,
                lg_json_length(variants), MAX_VARIANTS);
    LG_TRY(LG_CALLOC(&block->variants, lg_json_length(variants)));
    lg_json_each(item, variants)
        LG_TRY(variant_from_json(&block->variants[block->n_variants++], item, what));
    LG_TRY(check_variant_names(block, what));
    LG_TRY(lg_json_get_object(&report, object, "report", what));
    LG_TRY(lg_json_detach(&block->report, object, "report"));
done:
    return status;
}

static lego_status load_document(lg_json **out, uint64_t *claimed, char **path, const char *folder)
{
    lg_json *json = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    *path = lg_path_join(folder, LG_MANIFEST_FILE);
    if (!*path)
        LG_FAIL(LEGO_ENOMEM, "%s: out of memory", folder);
    if (!lg_file_exists(*path))
        LG_FAIL(LEGO_ENOTFOUND, "%s: not a store: it has no " LG_MANIFEST_FILE, folder);
    LG_TRY(lg_json_load(&json, *path));
    LG_TRY(lg_json_check_schema(json, LG_STORE_SCHEMA, *path));
    LG_TRY(get_checksum(claimed, json, *path));
    *out = json;
    json = NULL;
done:
    lg_json_free(json);
    return status;
}

lego_status lg_manifest_load(lego_store *store, const char *folder)
{
    char *path = NULL;
    lg_json *json = NULL;
    const lg_json *frame, *blocks;
    uint64_t claimed = 0;
    lego_status status = LEGO_OK;

    LG_TRY(load_document(&json, &claimed, &path, folder));
    LG_TRY(checksum_of(&store->checksum, json, path));
    if (claimed != store->checksum)
        LG_FAIL(LEGO_EFORMAT, "%s: its checksum does not match its content: damaged or edited", path);
    LG_TRY(lg_json_get_object(&frame, json, "frame", path));
    LG_TRY(get_file(&store->frame_file, &store->frame_bytes, &store->frame_checksum, frame, path));
    LG_TRY(lg_json_get_array(&blocks, json, "blocks", path));
    if (lg_json_length(blocks) < 1 || lg_json_length(blocks) > MAX_BLOCKS)
        LG_FAIL(LEGO_EFORMAT, "%s: %zu blocks, 1 to %d are possible", path, lg_json_length(blocks), MAX_BLOCKS);
    LG_TRY(LG_CALLOC(&store->blocks, lg_json_length(blocks)));
    lg_json_each(item, blocks) {
        lg_block *block = &store->blocks[store->n_blocks++];

        LG_TRY(block_from_json(block, (lg_json *)item, path));
        if (lg_store_find_block(store, block->name) != store->n_blocks - 1)
            LG_FAIL(LEGO_EFORMAT, "%s: two blocks '%s'", path, block->name);
    }
    LG_TRY(lg_json_detach(&store->info, json, "info"));
done:
    lg_json_free(json);
    lg_free(path);
    return status;
}

lego_status lg_manifest_read_checksum(uint64_t *out, const char *folder)
{
    char *path = NULL;
    lg_json *json = NULL;
    lego_status status = load_document(&json, out, &path, folder);

    lg_json_free(json);
    lg_free(path);
    return status;
}
