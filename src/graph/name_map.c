/* A hash table from names to ids: open addressing, sized once. Files come from anywhere, so looking names up must not
 * cost the square of their number. */
#include "graph/name_map.h"

#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "graph/graph.h"

lego_status lg_name_map_init(lg_name_map *names, size_t n_names)
{
    size_t capacity = 16;
    lego_status status = LEGO_OK;

    memset(names, 0, sizeof(*names));
    if (n_names > INT32_MAX)
        return lg_error(LEGO_EFORMAT, "%zu names are too many", n_names);
    while (capacity < n_names * 2)
        capacity *= 2;
    LG_TRY(LG_CALLOC(&names->names, capacity));
    LG_TRY(LG_CALLOC(&names->ids, capacity));
    names->capacity = capacity;
done:
    if (status != LEGO_OK)
        lg_name_map_dispose(names);
    return status;
}

void lg_name_map_dispose(lg_name_map *names)
{
    lg_free(names->names);
    lg_free(names->ids);
    memset(names, 0, sizeof(*names));
}

/* The slot where `name` stands or would stand. */
static size_t slot_of(const lg_name_map *names, const char *name)
{
    size_t slot = (size_t)lg_hash(name, strlen(name), 0) & (names->capacity - 1);

    while (names->names[slot] && strcmp(names->names[slot], name) != 0)
        slot = (slot + 1) & (names->capacity - 1);
    return slot;
}

int32_t lg_name_map_add(lg_name_map *names, const char *name, int32_t id)
{
    const size_t slot = slot_of(names, name);

    if (names->names[slot])
        return names->ids[slot];
    names->names[slot] = name;
    names->ids[slot] = id;
    return LG_NONE;
}

int32_t lg_name_map_find(const lg_name_map *names, const char *name)
{
    const size_t slot = slot_of(names, name);

    return names->names[slot] ? names->ids[slot] : LG_NONE;
}
