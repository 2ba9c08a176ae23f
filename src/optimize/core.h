/* The part of a selection problem that is still open: what the exact solver works on after the easy reductions. */
#ifndef LG_OPTIMIZE_CORE_H
#define LG_OPTIMIZE_CORE_H

#include "optimize/merge.h"

typedef struct lg_core_block {
    int32_t block;            /* index in the problem */
    int32_t n;
    lg_candidate *candidates; /* demands above the block's smallest ones; tag = variant */
} lg_core_block;

typedef struct lg_core {
    const lg_problem *problem;
    int32_t n_blocks;
    lg_core_block *blocks;    /* open blocks only */
    lg_candidate *storage;
    int32_t *choice;          /* of the blocks that are settled, by problem block */
    lg_demand settled;        /* what every selection takes: the fixed part, settled blocks, minima of the open ones */
    int64_t latency_slack, bytes_slack; /* for the excesses; LG_NO_LIMIT where the limit cannot bind */
} lg_core;

/* Prices of a unit of latency and of bytes (Lagrange multipliers), and the lower bound that they give. */
typedef struct lg_prices {
    double latency, bytes;
    double bound;     /* on the sum of excess costs */
    double rounding;  /* how far sums of priced demands may be off */
} lg_prices;

/* LEGO_EINFEASIBLE if the smallest demands exceed a limit. Drops variants that fit in no selection and those that k
 * others of their block beat. */
lego_status lg_core_init(lg_core *out, const lg_problem *problem, int32_t k);
void lg_core_dispose(lg_core *core);
/* Settle the blocks that have one candidate left; 0 if those together exceed a limit. */
int lg_core_settle(lg_core *core);

/* The best prices: optimum of the linear relaxation by column generation (dual.c). `choice` (n_blocks candidate
 * indices) receives the cheapest selection met that fits, `*cost` its excess cost; INT64_MAX if none was. */
void lg_core_price(lg_prices *out, const lg_core *core, int32_t *scratch, int32_t *choice, int64_t *cost);
/* Improve a selection that fits (candidate index by open block) by exchanges (polish.c); `*cost`: its excess cost. */
lego_status lg_core_polish(int32_t *choice, int64_t *cost, const lg_core *core, const lg_prices *prices);
static inline double lg_priced(const lg_prices *prices, const lg_demand *demand)
{
    return (double)demand->cost + prices->latency * (double)demand->latency + prices->bytes * (double)demand->bytes;
}
/* The least priced demand among a block's candidates. */
double lg_core_least(const lg_core_block *block, const lg_prices *prices, int32_t *index);

#endif
