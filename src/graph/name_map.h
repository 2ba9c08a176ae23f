/* Name -> id, for loading and checking: hash table over borrowed strings. */
#ifndef LG_GRAPH_NAME_MAP_H
#define LG_GRAPH_NAME_MAP_H

#include "base/status.h"

typedef struct lg_name_map {
    const char **names;
    int32_t *ids;
    size_t capacity; /* a power of two, more than the names that go in */
} lg_name_map;

lego_status lg_name_map_init(lg_name_map *names, size_t n_names); /* room for n_names */
void lg_name_map_dispose(lg_name_map *names);
/* Returns the id that the name has already, or LG_NONE after adding it. `name` must outlive the table. */
int32_t lg_name_map_add(lg_name_map *names, const char *name, int32_t id);
int32_t lg_name_map_find(const lg_name_map *names, const char *name); /* LG_NONE if absent */

#endif
