/* XXH3 checksums. They find damage, not forgery. */
#include "base/hash.h"

#include <stdio.h>
#include <xxhash.h>

#include "base/buffer.h"

uint64_t lg_hash(const void *data, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, size, seed);
}

void lg_hash_format(char out[LG_HASH_TEXT], uint64_t hash)
{
    snprintf(out, LG_HASH_TEXT, "%016llx", (unsigned long long)hash);
}

lego_status lg_hash_file(uint64_t *out, const char *path)
{
    lg_buffer *buffer = NULL;
    lego_status status = lg_buffer_map(&buffer, path);

    if (status != LEGO_OK)
        return status;
    *out = lg_hash(lg_buffer_data(buffer), lg_buffer_size(buffer), 0);
    lg_buffer_unref(buffer);
    return LEGO_OK;
}
