/* The selection problem as the solvers see it: a multiple-choice knapsack with two limits, in integers.
 *
 *   choose one variant v(b) for every block b
 *   minimise  sum cost[b][v(b)]
 *   so that   sum latency[b][v(b)] <= latency_limit  and  sum bytes[b][v(b)] <= bytes_limit
 *
 * Every sum starts at `fixed`: what the frame takes. Integers (cost in units that the builder chooses, nanoseconds,
 * bytes) make feasibility and optimality exact: the solvers, the tests' brute force and the caller all add up the same
 * numbers. */
#ifndef LG_OPTIMIZE_PROBLEM_H
#define LG_OPTIMIZE_PROBLEM_H

#include "base/status.h"

#define LG_NO_LIMIT INT64_MAX
/* Bounds that keep every sum far from overflow: values up to 2^50, 4096 blocks. */
#define LG_PROBLEM_MAX_VALUE ((int64_t)1 << 50)
#define LG_PROBLEM_MAX_BLOCKS 4096

/* What one variant of one block takes. */
typedef struct lg_demand {
    int64_t cost; /* may be negative */
    int64_t latency, bytes;
} lg_demand;

typedef struct lg_problem {
    int32_t n_blocks;
    int32_t *first;     /* n_blocks + 1: the variants of block b are demands[first[b]] .. demands[first[b + 1] - 1] */
    lg_demand *demands;
    lg_demand fixed;
    int64_t latency_limit, bytes_limit; /* LG_NO_LIMIT; negative limits are legal (and infeasible) */
} lg_problem;

/* One or several selections, best first; choices[i * n_blocks + b] is a variant's index within its block. */
typedef struct lg_answer {
    int32_t n_blocks, n_selections;
    int32_t *choices;
    lg_demand *totals;   /* of each selection */
    int proven;          /* the first one is optimal; otherwise `bound` says how good any could be */
    int64_t bound;       /* no selection costs less */
} lg_answer;

/* Zero-filled demands for n_variants[b] variants a block, no limits. */
lego_status lg_problem_init(lg_problem *out, int32_t n_blocks, const int32_t *n_variants);
lego_status lg_problem_copy(lg_problem *out, const lg_problem *problem);
void lg_problem_dispose(lg_problem *problem);
/* At least one block, one variant a block, every value in range; names the offender. */
lego_status lg_problem_check(const lg_problem *problem);
static inline int32_t lg_problem_n_variants(const lg_problem *problem, int32_t block)
{
    return problem->first[block + 1] - problem->first[block];
}
static inline lg_demand *lg_problem_demand(const lg_problem *problem, int32_t block, int32_t variant)
{
    return &problem->demands[problem->first[block] + variant];
}
lg_demand lg_problem_total(const lg_problem *problem, const int32_t *choice);
int lg_problem_fits(const lg_problem *problem, const lg_demand *total);

lego_status lg_answer_init(lg_answer *out, int32_t n_blocks, int32_t n_selections);
void lg_answer_dispose(lg_answer *answer);

#define LG_EXACT_DEFAULT_STATES ((size_t)1 << 20) /* 32 MiB */
/* The k best selections, or as many as there are (solve_exact.c). Not `proven` if more than `max_states` partial
 * selections would have had to be kept. LEGO_EINFEASIBLE if there is none: the caller says why (nearest.h). */
lego_status lg_solve_exact(lg_answer *out, const lg_problem *problem, int32_t k, size_t max_states);

/* The best selection by GLPK (solve_glpk.c); `time_limit_ms` 0 = none. LEGO_EUNSUPPORTED if GLPK is not built in. */
lego_status lg_solve_glpk(lg_answer *out, const lg_problem *problem, int32_t time_limit_ms);

/* Every selection that no other one beats in cost, latency and bytes at once, within the limits, by rising cost
 * (pareto.c); at most `max_points` of them, 0 = all. Where more than `max_states` partial selections or too many points
 * would be kept, a regular thinning keeps the frontier's shape and `proven` is 0. */
lego_status lg_solve_pareto(lg_answer *out, const lg_problem *problem, size_t max_states, int32_t max_points);

#endif
