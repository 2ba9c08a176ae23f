/* cache_map.c: the hash map under lg_packed_cache. Chains in buckets, doubled when they grow longer than one.
 *
 * What newcomers get wrong: nothing here locks; whoever calls holds the cache's lock. */
#include "engine/cache_map.h"

#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"

#define FIRST_BUCKETS 64

static uint64_t hash_key(const char *key)
{
    return lg_hash(key, strlen(key), 0);
}

lego_status lg_entry_create(lg_cache_entry **out, const char *key)
{
    lg_cache_entry *entry = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&entry, 1));
    LG_TRY(LG_STRDUP(&entry->key, key));
    entry->hash = hash_key(key);
    *out = entry;
    entry = NULL; /* the caller owns it now */
done:
    if (entry)
        lg_entry_free(entry);
    return status;
}

void lg_entry_free(lg_cache_entry *entry)
{
    if (entry->destroy)
        entry->destroy(entry->payload);
    lg_free(entry->key);
    lg_free(entry);
}

void lg_map_dispose(lg_map *map)
{
    for (size_t i = 0; i < map->n_buckets; i++) {
        lg_cache_entry *entry = map->buckets[i];
        while (entry) {
            lg_cache_entry *next = entry->next;
            lg_entry_free(entry);
            entry = next;
        }
    }
    lg_free(map->buckets);
}

lg_cache_entry *lg_map_find(const lg_map *map, const char *key)
{
    const uint64_t hash = hash_key(key);

    if (map->n_buckets == 0)
        return NULL;
    for (lg_cache_entry *entry = map->buckets[hash % map->n_buckets]; entry; entry = entry->next)
        if (entry->hash == hash && strcmp(entry->key, key) == 0)
            return entry;
    return NULL;
}

static lego_status map_grow(lg_map *map)
{
    size_t n = map->n_buckets > 0 ? map->n_buckets * 2 : FIRST_BUCKETS;
    lg_cache_entry **buckets;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&buckets, n));
    for (size_t i = 0; i < map->n_buckets; i++) {
        lg_cache_entry *entry = map->buckets[i];
        while (entry) {
            lg_cache_entry *next = entry->next;
            entry->next = buckets[entry->hash % n];
            buckets[entry->hash % n] = entry;
            entry = next;
        }
    }
    lg_free(map->buckets);
    map->buckets = buckets;
    map->n_buckets = n;
done:
    return status;
}

lego_status lg_map_insert(lg_map *map, lg_cache_entry *entry)
{
    lego_status status = LEGO_OK;

    if (map->n_entries >= map->n_buckets)
        LG_TRY(map_grow(map));
    entry->next = map->buckets[entry->hash % map->n_buckets];
    map->buckets[entry->hash % map->n_buckets] = entry;
    map->n_entries++;
done:
    return status;
}
