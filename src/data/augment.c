/* Augmentation for training: random crop after padding by 4, horizontal flip (He et al. 2015, section 4.2).
 *
 * Cropping out of a padded image is moving it by -4 to 4 pixels, which is how lg_normalise() applies it. Each draw comes from
 * a generator of its own, seeded by (seed, epoch, sample): prefetching, batch size or the order of samples change nothing. */
#include "base/hash.h"
#include "base/rng.h"
#include "data/dataset.h"

#define AUGMENT_STREAM 0x6175676d656e74ull
#define PADDING 4

lg_augmentation lg_augment_draw(uint64_t seed, uint64_t epoch, int64_t sample, int flip)
{
    const uint64_t key[3] = { AUGMENT_STREAM, epoch, (uint64_t)sample };
    lg_augmentation drawn;
    lg_rng rng;

    lg_rng_init(&rng, seed, lg_hash(key, sizeof(key), 0));
    drawn.dy = (int32_t)lg_rng_below(&rng, 2 * PADDING + 1) - PADDING;
    drawn.dx = (int32_t)lg_rng_below(&rng, 2 * PADDING + 1) - PADDING;
    drawn.flip = flip && (lg_rng_u64(&rng) >> 63);
    return drawn;
}
