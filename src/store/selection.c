/* Selections: one variant a block, as text ("b0=s0.6,b3=s0.8") and as part of "legodnn.selection/1" documents. */
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/str.h"
#include "store/store.h"

#define SELECTION_SCHEMA "legodnn.selection/1"

lego_status lg_selection_create(lego_selection **out, const lego_store *store, const int32_t *variants)
{
    lego_selection *selection = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&selection, 1));
    LG_TRY(LG_CALLOC(&selection->variants, store->n_blocks));
    selection->n_blocks = store->n_blocks;
    if (variants && store->n_blocks > 0)
        memcpy(selection->variants, variants, (size_t)store->n_blocks * sizeof(*variants));
    *out = selection;
    selection = NULL;
done:
    lego_selection_free(selection);
    return status;
}

void lego_selection_free(lego_selection *selection)
{
    if (!selection)
        return;
    lg_free(selection->variants);
    lg_free(selection);
}

int32_t lego_selection_n_blocks(const lego_selection *selection)
{
    return selection->n_blocks;
}

int32_t lego_selection_variant(const lego_selection *selection, int32_t block)
{
    return block >= 0 && block < selection->n_blocks ? selection->variants[block] : LG_NONE;
}

lego_status lego_selection_set(lego_selection *selection, int32_t block, int32_t variant)
{
    if (!selection)
        return lg_error(LEGO_EINVAL, "selection must not be NULL");
    if (block < 0 || block >= selection->n_blocks)
        return lg_error(LEGO_EINVAL, "block %d is not in 0 to %d", block, selection->n_blocks - 1);
    if (variant < 0)
        return lg_error(LEGO_EINVAL, "variant %d of block %d is negative", variant, block);
    selection->variants[block] = variant; /* composing checks it against the store */
    return LEGO_OK;
}

/* --- names --- */

static lego_status no_such_block(const lego_store *store, const char *name, const char *what)
{
    return lg_error(LEGO_ENOTFOUND, "%s: there is no block '%s'; there are '%s' to '%s'", what, name,
                    store->blocks[0].name, store->blocks[store->n_blocks - 1].name);
}

static lego_status no_such_variant(const lg_block *block, const char *name, const char *what)
{
    lg_str known = LG_STR_INIT;
    char *text = NULL;
    lego_status status = LEGO_OK;

    for (int32_t v = 0; v < block->n_variants; v++)
        lg_str_appendf(&known, "%s%s", v > 0 ? ", " : "", block->variants[v].name);
    LG_TRY(lg_str_finish(&text, &known));
    status = lg_error(LEGO_ENOTFOUND, "%s: block '%s' has no variant '%s'; it has %s", what, block->name, name, text);
done:
    lg_str_dispose(&known);
    lg_free(text);
    return status;
}

/* Block `name`, or every block for "all". */
static lego_status choose(int32_t *variants, const lego_store *store, const char *name, const char *variant,
                          const char *what)
{
    int32_t only = lg_store_find_block(store, name);

    if (only == LG_NONE && strcmp(name, "all") != 0)
        return no_such_block(store, name, what);
    for (int32_t b = 0; b < store->n_blocks; b++) {
        int32_t found;

        if (only != LG_NONE && b != only)
            continue;
        found = lg_block_find_variant(&store->blocks[b], variant);
        if (found == LG_NONE)
            return no_such_variant(&store->blocks[b], variant, what);
        variants[b] = found;
    }
    return LEGO_OK;
}

/* --- text --- */

/* One "block=variant" of `length` characters. */
static lego_status choose_item(int32_t *variants, const lego_store *store, const char *item, size_t length,
                               const char *what)
{
    char *name = lg_strndup(item, length), *variant;
    lego_status status = LEGO_OK;

    if (!name)
        LG_FAIL(LEGO_ENOMEM, "%s: out of memory", what);
    variant = strchr(name, '=');
    if (!variant)
        LG_FAIL(LEGO_EINVAL, "%s: '%s' is not BLOCK=VARIANT", what, name);
    *variant++ = '\0';
    LG_TRY(choose(variants, store, name, variant, what));
done:
    lg_free(name);
    return status;
}

static lego_status choose_text(int32_t *variants, const lego_store *store, const char *text)
{
    static const char what[] = "selection";
    lego_status status = LEGO_OK;

    while (*text) {
        size_t length = strcspn(text, ",");

        LG_TRY(choose_item(variants, store, text, length, what));
        text += length + (text[length] == ',');
    }
done:
    return status;
}

static lego_status choose_document(int32_t *variants, const lego_store *store, const char *path)
{
    lg_json *json = NULL;
    const lg_json *array;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_load(&json, path));
    LG_TRY(lg_json_check_schema(json, SELECTION_SCHEMA, path));
    if (!lg_json_has(json, "selection"))
        LG_FAIL(LEGO_EINVAL, "%s: holds no selection (its budget was infeasible)", path);
    LG_TRY(lg_json_get_array(&array, json, "selection", path));
    LG_TRY(lg_selection_from_json(variants, store, array, path));
done:
    lg_json_free(json);
    return status;
}

lego_status lego_selection_parse(lego_selection **out, const lego_store *store, const char *text)
{
    lego_selection *selection = NULL;
    lego_status status = LEGO_OK;

    if (!out || !store)
        return lg_error(LEGO_EINVAL, "out and store must not be NULL");
    *out = NULL;
    LG_TRY(lg_selection_create(&selection, store, NULL));
    if (text && *text && lg_file_exists(text))
        LG_TRY(choose_document(selection->variants, store, text));
    else if (text && *text && !strchr(text, '='))
        LG_FAIL(LEGO_ENOTFOUND, "selection '%s' is neither a file nor BLOCK=VARIANT,...", text);
    else if (text)
        LG_TRY(choose_text(selection->variants, store, text));
    *out = selection;
    selection = NULL;
done:
    lego_selection_free(selection);
    return status;
}

lego_status lego_selection_format(char **out, const lego_selection *selection, const lego_store *store)
{
    lg_str text = LG_STR_INIT;
    lego_status status = LEGO_OK;

    if (!out || !selection || !store)
        return lg_error(LEGO_EINVAL, "out, selection and store must not be NULL");
    *out = NULL;
    if (selection->n_blocks != store->n_blocks)
        return lg_error(LEGO_EINVAL, "the selection has %d blocks, the store has %d", selection->n_blocks,
                        store->n_blocks);
    lg_str_append(&text, "");
    for (int32_t b = 0; b < store->n_blocks; b++) {
        const char *variant = lego_store_variant_name(store, b, selection->variants[b]);

        if (!variant)
            LG_FAIL(LEGO_EINVAL, "block '%s': variant %d is not in 0 to %d", store->blocks[b].name,
                    selection->variants[b], store->blocks[b].n_variants - 1);
        if (selection->variants[b] != 0)
            lg_str_appendf(&text, "%s%s=%s", text.length > 0 ? "," : "", store->blocks[b].name, variant);
    }
    LG_TRY(lg_str_finish(out, &text));
done:
    lg_str_dispose(&text);
    return status;
}

/* --- documents --- */

lego_status lg_selection_to_json(lg_json **out, const lego_store *store, const int32_t *variants)
{
    lg_json *array = NULL, *object;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(lg_json_create_array(&array));
    for (int32_t b = 0; b < store->n_blocks; b++) {
        LG_TRY(lg_json_push_object(&object, array));
        LG_TRY(lg_json_set_string(object, "block", store->blocks[b].name));
        LG_TRY(lg_json_set_string(object, "variant", store->blocks[b].variants[variants[b]].name));
    }
    *out = array;
    array = NULL;
done:
    lg_json_free(array);
    return status;
}

lego_status lg_selection_from_json(int32_t *variants, const lego_store *store, const lg_json *array, const char *what)
{
    uint8_t *seen = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&seen, store->n_blocks));
    memset(variants, 0, (size_t)store->n_blocks * sizeof(*variants));
    lg_json_each(item, array) {
        const char *name, *variant;
        int32_t block;

        LG_TRY(lg_json_get_string(&name, item, "block", what));
        LG_TRY(lg_json_get_string(&variant, item, "variant", what));
        block = lg_store_find_block(store, name);
        if (block == LG_NONE) {
            status = no_such_block(store, name, what);
            goto done;
        }
        if (seen[block]++)
            LG_FAIL(LEGO_EFORMAT, "%s: block '%s' is named twice", what, name);
        LG_TRY(choose(variants, store, name, variant, what));
    }
done:
    lg_free(seen);
    return status;
}
