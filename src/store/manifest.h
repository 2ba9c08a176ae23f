/* manifest.json: what a store holds, with every file's size and checksum. */
#ifndef LG_STORE_MANIFEST_H
#define LG_STORE_MANIFEST_H

#include "store/store.h"

#define LG_MANIFEST_FILE "manifest.json"
#define LG_STORE_SCHEMA "legodnn.store/1"

/* The document, and its checksum over all it says. */
lego_status lg_manifest_to_json(lg_json **out, uint64_t *checksum, const lego_store *store);
lego_status lg_manifest_save(lego_store *store, const char *folder);

/* Fill an empty store: names, files, checksums, facts, reports; no file but the manifest is touched. Interfaces are still
 * unchecked: the frame decides. */
lego_status lg_manifest_load(lego_store *store, const char *folder);
/* Only the checksum that a manifest claims, to see whether a store was changed. */
lego_status lg_manifest_read_checksum(uint64_t *out, const char *folder);

#endif
