/* Random numbers: small, seeded, the same everywhere (xoshiro256** seeded by splitmix64). One stream per purpose. */
#ifndef LG_BASE_RNG_H
#define LG_BASE_RNG_H

#include <stdint.h>

typedef struct lg_rng {
    uint64_t state[4];
} lg_rng;

/* `stream` separates users of one seed, e.g. shuffling and augmentation. */
void lg_rng_init(lg_rng *rng, uint64_t seed, uint64_t stream);
uint64_t lg_rng_u64(lg_rng *rng);
uint64_t lg_rng_below(lg_rng *rng, uint64_t n); /* uniform in [0, n), n > 0, without bias */
double lg_rng_uniform(lg_rng *rng);             /* [0, 1) */
double lg_rng_normal(lg_rng *rng);              /* mean 0, deviation 1 */
void lg_rng_shuffle(lg_rng *rng, int64_t *items, int64_t n);

#endif
