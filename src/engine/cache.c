/* cache.c: lg_packed_cache, what the plans of one runtime share.
 *
 * Two maps from text keys: objects (packed weights, kernels) with a count of their users, and measured kernel costs,
 * which can be saved in a device profile and loaded again. One mutex guards both; nothing slow runs under it: whoever
 * misses makes the object outside the lock and adds it, and if two did, the first one stays.
 *
 * What newcomers get wrong: an object without users stays (a variant that was switched off will come back) until
 * lg_packed_cache_trim(). */
#include "engine/cache.h"

#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "engine/fold.h"

#define TUNING_SCHEMA "legodnn.tuning/1"
#define FIRST_BUCKETS 64

struct lg_cache_entry {
    lg_cache_entry *next; /* in its bucket */
    uint64_t hash;
    char *key;
    void *payload;
    lg_cache_destroy destroy;
    size_t bytes;
    size_t users;
    double cost_us; /* costs */
};

typedef struct lg_map {
    lg_cache_entry **buckets;
    size_t n_buckets, n_entries;
} lg_map;

#define MAX_BLOCKS 4

typedef struct free_block {
    void *memory;
    size_t bytes;
} free_block;

struct lg_packed_cache {
    pthread_mutex_t lock;
    size_t references;
    size_t bytes;
    lg_map objects;
    lg_map costs;
    free_block blocks[MAX_BLOCKS]; /* arenas of freed plans */
    int n_blocks;
};

/* --- maps --- */

static void entry_free(lg_cache_entry *entry)
{
    if (entry->destroy)
        entry->destroy(entry->payload);
    lg_free(entry->key);
    lg_free(entry);
}

static void map_dispose(lg_map *map)
{
    for (size_t i = 0; i < map->n_buckets; i++) {
        lg_cache_entry *entry = map->buckets[i];
        while (entry) {
            lg_cache_entry *next = entry->next;
            entry_free(entry);
            entry = next;
        }
    }
    lg_free(map->buckets);
}

static lg_cache_entry *map_find(const lg_map *map, const char *key, uint64_t hash)
{
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

static lego_status map_insert(lg_map *map, lg_cache_entry *entry)
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

static uint64_t hash_key(const char *key)
{
    return lg_hash(key, strlen(key), 0);
}

static void free_blocks(lg_packed_cache *cache)
{
    while (cache->n_blocks > 0) {
        cache->n_blocks--;
        cache->bytes -= cache->blocks[cache->n_blocks].bytes;
        lg_free_aligned(cache->blocks[cache->n_blocks].memory);
    }
}

static lego_status entry_create(lg_cache_entry **out, const char *key)
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
        entry_free(entry);
    return status;
}

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
    map_dispose(&cache->objects);
    map_dispose(&cache->costs);
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
            entry_free(entry);
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
    entry = map_find(&cache->objects, key, hash_key(key));
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
    status = entry_create(&entry, key);
    if (status != LEGO_OK) {
        destroy(payload);
        return status;
    }
    entry->payload = payload;
    entry->destroy = destroy;
    entry->bytes = bytes;

    pthread_mutex_lock(&cache->lock);
    winner = map_find(&cache->objects, key, entry->hash);
    if (!winner) {
        status = map_insert(&cache->objects, entry);
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
        entry_free(entry);
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

/* --- costs: keys are "<work>\n<candidate>" --- */

int lg_cache_cost(double *us, lg_packed_cache *cache, const char *work, const char *candidate)
{
    char key[2 * LG_KEY_MAX];
    lg_cache_entry *entry;

    snprintf(key, sizeof(key), "%s\n%s", work, candidate);
    pthread_mutex_lock(&cache->lock);
    entry = map_find(&cache->costs, key, hash_key(key));
    if (entry)
        *us = entry->cost_us;
    pthread_mutex_unlock(&cache->lock);
    return entry != NULL;
}

lego_status lg_cache_set_cost(lg_packed_cache *cache, const char *work, const char *candidate, double us)
{
    char key[2 * LG_KEY_MAX];
    lg_cache_entry *entry = NULL;
    lg_cache_entry *known;
    lego_status status = LEGO_OK;

    snprintf(key, sizeof(key), "%s\n%s", work, candidate);
    LG_TRY(entry_create(&entry, key));
    entry->cost_us = us;
    pthread_mutex_lock(&cache->lock);
    known = map_find(&cache->costs, key, entry->hash);
    if (known) {
        known->cost_us = us;
    } else {
        status = map_insert(&cache->costs, entry);
        if (status == LEGO_OK)
            entry = NULL; /* the map owns it now */
    }
    pthread_mutex_unlock(&cache->lock);
done:
    if (entry)
        entry_free(entry);
    return status;
}

static lego_status cost_to_json(lg_json *works, const lg_cache_entry *entry)
{
    const char *cut = strchr(entry->key, '\n');
    char work[LG_KEY_MAX];
    lg_json *costs = NULL;
    const lg_json *known = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_key_format(work, "%.*s", (int)(cut - entry->key), entry->key));
    if (lg_json_has(works, work)) {
        LG_TRY(lg_json_get_object(&known, works, work, "tuning"));
        costs = (lg_json *)known; /* ours: built a moment ago */
    } else {
        LG_TRY(lg_json_set_object(&costs, works, work));
    }
    LG_TRY(lg_json_set_double(costs, cut + 1, entry->cost_us));
done:
    return status;
}

lego_status lg_packed_cache_tuning_to_json(lg_json **out, const lg_packed_cache *cache)
{
    lg_packed_cache *locked = (lg_packed_cache *)cache; /* the mutex is no part of the value */
    lg_json *json = NULL;
    lg_json *works;
    lego_status status = LEGO_OK;

    *out = NULL;
    pthread_mutex_lock(&locked->lock);
    LG_TRY(lg_json_create_object(&json));
    LG_TRY(lg_json_set_string(json, "schema", TUNING_SCHEMA));
    LG_TRY(lg_json_set_object(&works, json, "costs_us"));
    for (size_t i = 0; i < cache->costs.n_buckets; i++)
        for (const lg_cache_entry *entry = cache->costs.buckets[i]; entry; entry = entry->next)
            LG_TRY(cost_to_json(works, entry));
    *out = json;
    json = NULL; /* the caller owns it now */
done:
    pthread_mutex_unlock(&locked->lock);
    lg_json_free(json);
    return status;
}

lego_status lg_packed_cache_tuning_from_json(lg_packed_cache *cache, const lg_json *json)
{
    const lg_json *works;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_check_schema(json, TUNING_SCHEMA, "tuning"));
    LG_TRY(lg_json_get_object(&works, json, "costs_us", "tuning"));
    lg_json_each(work, works) {
        const char *name = lg_json_key(work);
        if (!lg_json_is_object(work) || strlen(name) >= LG_KEY_MAX)
            LG_FAIL(LEGO_EFORMAT, "tuning: '%.64s' is not an object of costs", name);
        lg_json_each(cost, work) {
            double us = INFINITY; /* null: there is no such kernel */
            if (lg_json_is_number(cost))
                LG_TRY(lg_json_double(&us, cost, name));
            if (!(us >= 0.0) || strlen(lg_json_key(cost)) >= LG_KEY_MAX)
                LG_FAIL(LEGO_EFORMAT, "tuning: '%.64s': %g is not a cost in microseconds", name, us);
            LG_TRY(lg_cache_set_cost(cache, name, lg_json_key(cost), us));
        }
    }
done:
    return status;
}

/* --- packed weights --- */

static void packed_free(void *payload)
{
    lg_packed *packed = payload;

    lg_free_aligned(packed->weight);
    lg_free_aligned(packed->bias);
    for (size_t i = 0; i < sizeof(packed->sources) / sizeof(packed->sources[0]); i++)
        lg_tensor_dispose(&packed->sources[i]);
    lg_free(packed);
}

/* The tensors that determine a step's folded weights. */
static void sources_of(const lego_tensor *sources[6], const lg_step *step)
{
    const lg_norm *norm = &step->norm;
    const int scales = norm->set || step->kind == LG_STEP_LAYER_NORM;

    memset(sources, 0, 6 * sizeof(*sources));
    sources[0] = lg_step_has_matrix(step) ? &step->weight : NULL;
    sources[1] = step->has_bias ? &step->bias : NULL;
    sources[2] = scales && norm->has_gamma ? &norm->gamma : NULL;
    sources[3] = scales && norm->has_beta ? &norm->beta : NULL;
    sources[4] = norm->set ? &norm->mean : NULL;
    sources[5] = norm->set ? &norm->variance : NULL;
}

static lego_status identity(char key[LG_KEY_MAX], const lg_step *step, const char *layout)
{
    const lego_tensor *sources[6];
    char ids[6][48];

    sources_of(sources, step);
    for (int i = 0; i < 6; i++) {
        if (sources[i])
            snprintf(ids[i], sizeof(ids[i]), "%p+%zx", (void *)sources[i]->buffer, sources[i]->offset);
        else
            snprintf(ids[i], sizeof(ids[i]), "-");
    }
    return lg_key_format(key, "weights %s %lld: %s %s %s %s %s %s %a", layout,
                         (long long)lg_step_weights(step), ids[0], ids[1], ids[2], ids[3], ids[4], ids[5],
                         step->norm.set ? step->norm.eps : 0.0);
}

static lego_status pack_now(lg_packed **out, const lg_step *step, size_t bytes, lg_pack_fn pack, void *payload)
{
    const lego_tensor *sources[6];
    size_t n_rows = (size_t)lg_step_channels(step);
    lg_packed *packed = NULL;
    float *folded = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&packed, 1));
    packed->weight = lg_alloc_aligned(bytes);
    packed->bias = lg_alloc_aligned(n_rows * sizeof(float));
    folded = lg_alloc_aligned((size_t)lg_step_weights(step) * sizeof(float));
    if (!packed->weight || !packed->bias || !folded)
        LG_FAIL(LEGO_ENOMEM, "out of memory: %zu bytes of packed weights of node '%s'", bytes, step->name);
    memset(packed->weight, 0, bytes);
    LG_TRY(lg_step_fold(folded, packed->bias, step));
    LG_TRY(pack(packed->weight, folded, step, payload));
    sources_of(sources, step);
    for (int i = 0; i < 6; i++)
        if (sources[i])
            lg_tensor_share(&packed->sources[i], sources[i]);
    *out = packed;
    packed = NULL; /* the caller owns it now */
done:
    if (packed)
        packed_free(packed);
    lg_free_aligned(folded);
    return status;
}

lego_status lg_packed_get(lg_cache_entry **out, lg_packed_cache *cache, const lg_step *step, const char *layout,
                          size_t bytes, lg_pack_fn pack, void *payload)
{
    char key[LG_KEY_MAX];
    lg_packed *packed = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(identity(key, step, layout));
    *out = lg_cache_find(cache, key);
    if (*out)
        return LEGO_OK;
    LG_TRY(pack_now(&packed, step, bytes, pack, payload));
    LG_TRY(lg_cache_add(out, cache, key, packed, bytes + (size_t)lg_step_channels(step) * sizeof(float),
                        packed_free));
done:
    return status;
}
