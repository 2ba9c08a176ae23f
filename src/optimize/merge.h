/* Pareto-merge: all partial selections of the first blocks that are not beaten in every respect, block after block
 * (Nemhauser and Ullmann 1969; multiple-choice: Dyer, Riha and Walker 1995). The exact solver runs it with bounds, the
 * frontier without. */
#ifndef LG_OPTIMIZE_MERGE_H
#define LG_OPTIMIZE_MERGE_H

#include "optimize/problem.h"

/* A partial selection: its sums, and how it came about. */
typedef struct lg_state {
    lg_demand sum;
    int32_t parent; /* index into `states` */
    int32_t choice; /* variant of the block merged last: `tag` of the demand */
} lg_state;

/* A variant that takes part in a merge. */
typedef struct lg_candidate {
    lg_demand demand;
    int32_t tag;
} lg_candidate;

#define LG_MOST_PRICES 5

/* A partial selection is worth keeping if cost + latency * its latency + bytes * its bytes <= worth_max. */
typedef struct lg_worth {
    double latency, bytes, worth_max;
} lg_worth;

/* What a partial selection must meet to be kept. */
typedef struct lg_sieve {
    int64_t latency_max, bytes_max; /* what the other blocks leave at best */
    int32_t n_worths;               /* how many of `worths` hold */
    int32_t stop_after;             /* > 0: the cheapest so many are enough */
    lg_worth worths[LG_MOST_PRICES];
} lg_sieve;

/* Entries by rising latency and falling bytes of what was kept so far. */
typedef struct lg_stairs {
    int64_t *latency, *bytes;
    size_t n, capacity;
} lg_stairs;

typedef struct lg_merge {
    lg_state *states; /* levels one after the other; level l is states[level[l]] .. states[level[l + 1] - 1] */
    size_t n_states, capacity;
    size_t *level;
    int32_t n_levels, max_levels;
    int32_t k;        /* a state goes once k others beat it */
    lg_stairs *stairs; /* k of them */
    struct lg_strand *heap;
    size_t heap_capacity;
} lg_merge;

/* Level 0 holds the empty selection. */
lego_status lg_merge_init(lg_merge *merge, int32_t max_levels, int32_t k);
/* Back to level 0, memory kept. */
void lg_merge_restart(lg_merge *merge);
void lg_merge_dispose(lg_merge *merge);
/* Add a level: every state of the last one with every candidate, sieved; sorted by cost, latency, bytes. */
lego_status lg_merge_step(lg_merge *merge, const lg_candidate *candidates, int32_t n_candidates, const lg_sieve *sieve);
/* Keep only the states of the last level that are marked (n flags). */
void lg_merge_keep(lg_merge *merge, const uint8_t *marked);
static inline size_t lg_merge_last(const lg_merge *merge) /* index of the last level's first state */
{
    return merge->level[merge->n_levels - 1];
}
/* The choices that lead to a state of the last level: choices[l] belongs to the l-th merged block. */
void lg_merge_trace(const lg_merge *merge, size_t state, int32_t *choices);

#endif
