/* cache.c: lg_packed_cache, what the plans of one runtime share.
 *
 * Two maps from text keys: objects (packed weights, kernels) with a count of their users, and measured kernel costs
 * (costs.c); and the memory of freed plans. One mutex guards all; nothing slow runs under it: whoever misses makes the
 * object outside the lock and adds it, and if two did, the first one stays.
 *
 * What newcomers get wrong: an object without users stays (a variant that was switched off will come back) until
 * lg_packed_cache_trim(). */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "engine/cache_map.h"

lego_status lg_key_format(char key[LG_KEY_MAX], const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(key, LG_KEY_MAX, fmt, args);
    va_end(args);
    if (n < 0 || n >= LG_KEY_MAX)
        return lg_error(LEGO_EUNSUPPORTED, "a kernel's description of %d characters is longer than %d", n, LG_KEY_MAX);
    return LEGO_OK;
}

static void free_blocks(lg_packed_cache *cache)
{
    while (cache->n_blocks > 0) {
        cache->n_blocks--;
        cache->bytes -= cache->blocks[cache->n_blocks].bytes;
        lg_free_aligned(cache->blocks[cache->n_blocks].memory);
    }
}

/* --- the cache --- */

lego_status lg_packed_cache_create(lg_packed_cache **out, lego_context *context)
{
    lg_packed_cache *cache = NULL;
    lego_status status = LEGO_OK;

    (void)context;
    *out = NULL;
    LG_TRY(LG_CALLOC(&cache, 1));
    if (pthread_mutex_init(&cache->lock, NULL) != 0) {
        lg_free(cache);
        LG_FAIL(LEGO_ENOMEM, "out of memory: a mutex");
    }
    cache->references = 1;
    *out = cache;
done:
    return status;
}

lg_packed_cache *lg_packed_cache_ref(lg_packed_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    cache->references++;
    pthread_mutex_unlock(&cache->lock);
    return cache;
}

void lg_packed_cache_unref(lg_packed_cache *cache)
{
    size_t left;

    if (!cache)
        return;
    pthread_mutex_lock(&cache->lock);
    left = --cache->references;
    pthread_mutex_unlock(&cache->lock);
    if (left > 0)
        return;
    free_blocks(cache);
    lg_map_dispose(&cache->objects);
    lg_map_dispose(&cache->costs);
    pthread_mutex_destroy(&cache->lock);
    lg_free(cache);
}

void lg_packed_cache_trim(lg_packed_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    free_blocks(cache);
    for (size_t i = 0; i < cache->objects.n_buckets; i++) {
        lg_cache_entry **link = &cache->objects.buckets[i];
        while (*link) {
            lg_cache_entry *entry = *link;
            if (entry->users > 0) {
                link = &entry->next;
                continue;
            }
            *link = entry->next;
            cache->bytes -= entry->bytes;
            cache->objects.n_entries--;
            lg_entry_free(entry);
        }
    }
    pthread_mutex_unlock(&cache->lock);
}

size_t lg_packed_cache_bytes(const lg_packed_cache *cache)
{
    lg_packed_cache *locked = (lg_packed_cache *)cache; /* the mutex is no part of the value */
    size_t bytes;

    pthread_mutex_lock(&locked->lock);
    bytes = cache->bytes;
    pthread_mutex_unlock(&locked->lock);
    return bytes;
}

/* --- arenas --- */

void *lg_cache_take_block(lg_packed_cache *cache, size_t *bytes)
{
    int best = -1;
    void *memory = NULL;

    pthread_mutex_lock(&cache->lock);
    for (int i = 0; i < cache->n_blocks; i++)
        if (cache->blocks[i].bytes >= *bytes && (best < 0 || cache->blocks[i].bytes < cache->blocks[best].bytes))
            best = i;
    if (best >= 0) {
        memory = cache->blocks[best].memory;
        *bytes = cache->blocks[best].bytes;
        cache->bytes -= cache->blocks[best].bytes;
        cache->blocks[best] = cache->blocks[--cache->n_blocks];
    }
    pthread_mutex_unlock(&cache->lock);
    if (memory)
        return memory;
    memory = lg_alloc_aligned(*bytes);
    if (memory)
        memset(memory, 0, *bytes); /* touch every page now, not in the first run */
    return memory;
}

void lg_cache_give_block(lg_packed_cache *cache, void *memory, size_t bytes)
{
    free_block drop = { memory, bytes };

    if (!memory)
        return;
    pthread_mutex_lock(&cache->lock);
    if (cache->n_blocks < MAX_BLOCKS) {
        cache->blocks[cache->n_blocks++] = drop;
        cache->bytes += bytes;
        drop.memory = NULL;
    } else {
        for (int i = 0; i < MAX_BLOCKS; i++) /* the larger ones serve more plans */
            if (cache->blocks[i].bytes < drop.bytes) {
                free_block smaller = cache->blocks[i];
                cache->blocks[i] = drop;
                cache->bytes += drop.bytes - smaller.bytes;
                drop = smaller;
            }
    }
    pthread_mutex_unlock(&cache->lock);
    lg_free_aligned(drop.memory);
}

/* --- objects --- */

lg_cache_entry *lg_cache_find(lg_packed_cache *cache, const char *key)
{
    lg_cache_entry *entry;

    pthread_mutex_lock(&cache->lock);
    entry = lg_map_find(&cache->objects, key);
    if (entry)
        entry->users++;
    pthread_mutex_unlock(&cache->lock);
    return entry;
}

lego_status lg_cache_add(lg_cache_entry **out, lg_packed_cache *cache, const char *key, void *payload, size_t bytes,
                         lg_cache_destroy destroy)
{
    lg_cache_entry *entry = NULL;
    lg_cache_entry *winner;
    lego_status status = LEGO_OK;

    *out = NULL;
    status = lg_entry_create(&entry, key);
    if (status != LEGO_OK) {
        destroy(payload);
        return status;
    }
    entry->payload = payload;
    entry->destroy = destroy;
    entry->bytes = bytes;

    pthread_mutex_lock(&cache->lock);
    winner = lg_map_find(&cache->objects, key);
    if (!winner) {
        status = lg_map_insert(&cache->objects, entry);
        if (status == LEGO_OK) {
            winner = entry;
            entry = NULL; /* the map owns it now */
            cache->bytes += bytes;
        }
    }
    if (winner)
        winner->users++;
    pthread_mutex_unlock(&cache->lock);
    *out = winner;
    if (entry)
        lg_entry_free(entry);
    return status;
}

void lg_cache_release(lg_packed_cache *cache, lg_cache_entry *entry)
{
    if (!entry)
        return;
    pthread_mutex_lock(&cache->lock);
    entry->users--;
    pthread_mutex_unlock(&cache->lock);
}

void *lg_cache_payload(const lg_cache_entry *entry)
{
    return entry->payload;
}

size_t lg_cache_entry_bytes(const lg_cache_entry *entry)
{
    return entry->bytes;
}
