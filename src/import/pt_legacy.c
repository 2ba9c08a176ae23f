/* What torch.save wrote before torch 1.6, and still does when it is told to: one after another, without any directory,
 *   a pickled magic number, a pickled version, a pickled dictionary about the machine,
 *   the pickled object, as in the archives of today but for one more item in a storage's persistent id,
 *   the pickled list of the storages' keys,
 *   each storage in that order: the number of its elements as 8 bytes, little endian, then the elements
 *
 * How long a storage is depends on its type, which only the object's pickle says: all persistent ids are looked through
 * before the first storage can be found. */
#include "import/pt_source.h"

#include <string.h>

#include "base/alloc.h"
#include "graph/graph.h"
#include "graph/name_map.h"

/* Pickled: 0x1950a86a20f9469cfc6c, PROTO 2, LONG1 of ten bytes, STOP. */
static const char magic[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

typedef struct storage {
    char *key;
    size_t offset;  /* of its first element in the file */
    uint64_t bytes;
    int type;       /* lego_dtype or LG_PT_..., as a persistent id says */
} storage;

struct lg_pt_legacy {
    storage *storages;
    int32_t n;
    lg_name_map names;
};

typedef struct cursor {
    const char *path;
    const unsigned char *data;
    size_t size, at;
    const lg_pickle_global *globals;
} cursor;

int lg_pt_is_legacy(const void *data, size_t size)
{
    return size >= sizeof(magic) - 1 && memcmp(data, magic, sizeof(magic) - 1) == 0;
}

static lego_status next_pickle(lg_pickle **out, cursor *c)
{
    size_t used = 0;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(lg_pickle_read(out, &used, c->data + c->at, c->size - c->at, c->globals, c->path));
    c->at += used;
done:
    return status;
}

static const lg_pickle_value *entry_of(const lg_pickle_value *dict, const char *key)
{
    for (size_t i = 0; i + 1 < dict->n_items; i += 2)
        if (dict->items[i]->kind == LG_PICKLE_TEXT && strcmp(dict->items[i]->text, key) == 0)
            return dict->items[i + 1];
    return NULL;
}

/* The version and what is said of the machine. */
static lego_status read_head(cursor *c)
{
    lg_pickle *version = NULL, *machine = NULL;
    const lg_pickle_value *little;
    lego_status status = LEGO_OK;

    LG_TRY(next_pickle(&version, c));
    if (version->root->kind != LG_PICKLE_INT || version->root->integer != 1001)
        LG_FAIL(LEGO_EUNSUPPORTED, "%s: another version of torch.save's old format than 1001", c->path);
    LG_TRY(next_pickle(&machine, c));
    little = machine->root->kind == LG_PICKLE_DICT ? entry_of(machine->root, "little_endian") : NULL;
    if (little && (little->kind != LG_PICKLE_BOOL || !little->integer))
        LG_FAIL(LEGO_EUNSUPPORTED, "%s: its byte order is not little", c->path);
done:
    lg_pickle_free(version);
    lg_pickle_free(machine);
    return status;
}

/* The pickled list of keys, in the order in which the storages follow. */
static lego_status read_keys(lg_pt_legacy *legacy, cursor *c)
{
    lg_pickle *keys = NULL;
    const lg_pickle_value *list;
    lego_status status = LEGO_OK;

    LG_TRY(next_pickle(&keys, c));
    list = keys->root;
    if (list->kind != LG_PICKLE_LIST || list->n_items > INT32_MAX)
        LG_FAIL(LEGO_EFORMAT, "%s: the keys of its storages are no list", c->path);
    LG_TRY(LG_CALLOC(&legacy->storages, list->n_items));
    LG_TRY(lg_name_map_init(&legacy->names, list->n_items));
    for (size_t i = 0; i < list->n_items; i++) {
        storage *s = &legacy->storages[i];

        if (list->items[i]->kind != LG_PICKLE_TEXT)
            LG_FAIL(LEGO_EFORMAT, "%s: the key of storage %zu is no text", c->path, i);
        LG_TRY(LG_STRDUP(&s->key, list->items[i]->text));
        s->type = LG_PT_OTHER;
        legacy->n++;
        if (lg_name_map_add(&legacy->names, s->key, (int32_t)i) != LG_NONE)
            LG_FAIL(LEGO_EFORMAT, "%s: storage '%.100s' stands there twice", c->path, s->key);
    }
done:
    lg_pickle_free(keys);
    return status;
}

/* Every ('storage', type, key, ...) of the pickle, wherever it stands. */
static void find_types(lg_pt_legacy *legacy, const lg_pickle *pickle)
{
    for (const lg_pickle_value *value = pickle->values; value; value = value->next) {
        const lg_pickle_value *id = value->kind == LG_PICKLE_PERSISTENT ? value->items[0] : NULL;
        int32_t i;

        if (!id || id->kind != LG_PICKLE_TUPLE || id->n_items < 3 || id->items[1]->kind != LG_PICKLE_GLOBAL ||
            id->items[1]->global->role != LG_PICKLE_ROLE_NAME || id->items[2]->kind != LG_PICKLE_TEXT)
            continue;
        i = lg_name_map_find(&legacy->names, id->items[2]->text);
        if (i != LG_NONE)
            legacy->storages[i].type = id->items[1]->global->value;
    }
}

static lego_status find_places(lg_pt_legacy *legacy, cursor *c)
{
    for (int32_t i = 0; i < legacy->n; i++) {
        storage *s = &legacy->storages[i];
        uint64_t n = 0;

        if (s->type < 0)
            return lg_error(LEGO_EUNSUPPORTED, "%s: storage '%.100s' is of no type that is read", c->path, s->key);
        if (c->size - c->at < 8)
            return lg_error(LEGO_EFORMAT, "%s: ends before storage '%.100s'", c->path, s->key);
        for (int k = 7; k >= 0; k--)
            n = n << 8 | c->data[c->at + (size_t)k];
        c->at += 8;
        if (__builtin_mul_overflow(n, (uint64_t)lg_dtype_size((lego_dtype)s->type), &s->bytes) ||
            s->bytes > c->size - c->at)
            return lg_error(LEGO_EFORMAT, "%s: storage '%.100s' of %llu elements ends behind the file", c->path, s->key,
                            (unsigned long long)n);
        s->offset = c->at;
        c->at += (size_t)s->bytes;
    }
    return LEGO_OK;
}

lego_status lg_pt_legacy_read(lg_pt_legacy **out, lg_pickle **pickle, lg_buffer *file, const lg_pickle_global *globals,
                              const char *path)
{
    cursor c = { path, lg_buffer_data(file), lg_buffer_size(file), sizeof(magic) - 1, globals };
    lg_pt_legacy *legacy = NULL;
    lg_pickle *object = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    *pickle = NULL;
    LG_TRY(LG_CALLOC(&legacy, 1));
    LG_TRY(read_head(&c));
    LG_TRY(next_pickle(&object, &c));
    LG_TRY(read_keys(legacy, &c));
    find_types(legacy, object);
    LG_TRY(find_places(legacy, &c));
    *out = legacy;
    *pickle = object;
    legacy = NULL;
    object = NULL;
done:
    lg_pickle_free(object);
    lg_pt_legacy_free(legacy);
    return status;
}

void lg_pt_legacy_free(lg_pt_legacy *legacy)
{
    if (!legacy)
        return;
    for (int32_t i = 0; i < legacy->n; i++)
        lg_free(legacy->storages[i].key);
    lg_free(legacy->storages);
    lg_name_map_dispose(&legacy->names);
    lg_free(legacy);
}

int32_t lg_pt_legacy_find(const lg_pt_legacy *legacy, const char *key)
{
    return lg_name_map_find(&legacy->names, key);
}

void lg_pt_legacy_place(size_t *offset, uint64_t *bytes, const lg_pt_legacy *legacy, int32_t i)
{
    *offset = legacy->storages[i].offset;
    *bytes = legacy->storages[i].bytes;
}
