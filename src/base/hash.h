/* Checksums (XXH3, 64 bit), the only user of xxhash. */
#ifndef LG_BASE_HASH_H
#define LG_BASE_HASH_H

#include "base/status.h"

#define LG_HASH_TEXT 17 /* 16 hex digits and the NUL */

uint64_t lg_hash(const void *data, size_t size, uint64_t seed);
void lg_hash_format(char out[LG_HASH_TEXT], uint64_t hash);
lego_status lg_hash_file(uint64_t *out, const char *path);

#endif
