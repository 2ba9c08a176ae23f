/* Name -> id, for loading and checking: hash table over borrowed strings. */
#ifndef LG_GRAPH_NAMES_H
#define LG_GRAPH_NAMES_H

#include "base/status.h"

typedef struct lg_names {
    const char **names;
    int32_t *ids;
    size_t capacity; /* a power of two, more than the names that go in */
} lg_names;

lego_status lg_names_init(lg_names *names, size_t n_names); /* room for n_names */
void lg_names_dispose(lg_names *names);
/* Returns the id that the name has already, or LG_NONE after adding it. `name` must outlive the table. */
int32_t lg_names_add(lg_names *names, const char *name, int32_t id);
int32_t lg_names_find(const lg_names *names, const char *name); /* LG_NONE if absent */

#endif
