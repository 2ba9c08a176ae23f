/* xoshiro256** 1.0 (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2018), seeded by splitmix64.
 * Numbers depend on seed and stream only, never on threads or the platform. */
#include "base/rng.h"

#include <math.h>

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t rotate(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void lg_rng_init(lg_rng *rng, uint64_t seed, uint64_t stream)
{
    uint64_t state = seed;

    state = splitmix(&state) ^ (stream * 0xd1342543de82ef95u + 1);
    for (int i = 0; i < 4; i++)
        rng->state[i] = splitmix(&state);
}

uint64_t lg_rng_u64(lg_rng *rng)
{
    uint64_t *s = rng->state;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t lg_rng_below(lg_rng *rng, uint64_t n)
{
    uint64_t limit = UINT64_MAX - UINT64_MAX % n; /* reject the incomplete last interval */
    uint64_t x;

    do
        x = lg_rng_u64(rng);
    while (x >= limit);
    return x % n;
}

double lg_rng_uniform(lg_rng *rng)
{
    return (double)(lg_rng_u64(rng) >> 11) * 0x1.0p-53;
}

double lg_rng_normal(lg_rng *rng)
{
    double u = 1.0 - lg_rng_uniform(rng); /* (0, 1]: Box-Muller takes its logarithm */
    double v = lg_rng_uniform(rng);

    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

void lg_rng_shuffle(lg_rng *rng, int64_t *items, int64_t n)
{
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)lg_rng_below(rng, (uint64_t)i + 1);
        int64_t item = items[i];

        items[i] = items[j];
        items[j] = item;
    }
}
