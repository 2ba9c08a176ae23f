/* Inside of lg_packed_cache, shared by cache.c (objects, arenas) and costs.c (costs): maps from text keys. */
#ifndef LG_ENGINE_CACHE_MAP_H
#define LG_ENGINE_CACHE_MAP_H

#include <pthread.h>

#include "engine/cache.h"

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

lego_status lg_entry_create(lg_cache_entry **out, const char *key);
void lg_entry_free(lg_cache_entry *entry); /* with its payload */

lg_cache_entry *lg_map_find(const lg_map *map, const char *key); /* NULL: none */
/* Takes the entry over, if it succeeds; its key must be new. */
lego_status lg_map_insert(lg_map *map, lg_cache_entry *entry);
void lg_map_dispose(lg_map *map);

#endif
