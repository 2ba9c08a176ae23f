/* The optimiser's inside: a store's profiles as a selection problem, and what a solved one looks like. */
#ifndef LG_OPTIMIZE_OPTIMIZER_H
#define LG_OPTIMIZE_OPTIMIZER_H

#include "base/json.h"
#include "legodnn/optimize.h"
#include "optimize/nearest.h"
#include "optimize/problem.h"
#include "profile/profile.h"
#include "store/store.h"

struct lego_optimizer {
    const lego_store *store;
    lego_profile *server, *device; /* device may be NULL */
    lg_problem problem;            /* without limits; latency in nanoseconds, 0 without a device profile */
    double *costs;                 /* as the profile's predictor adds them; indexed like problem.demands */
    int64_t *flops;
    int64_t frame_flops;
    double margin;
};

struct lego_solution {
    const lego_store *store;
    int32_t n_selections;
    lego_selection **selections;
    lego_prediction *predictions;
    lego_solution_status status;
    int is_frontier;
    lego_budget budget;
    double margin;
    const char *solver; /* "exact", "glpk" */
    double solve_us;
    lego_budget nearest; /* of a relaxed one: what would have worked */
    double growth;
};

/* --- optimizer.c --- */
/* What `problem` (the optimiser's own, or a copy with other latencies) says about a selection. */
void lg_optimizer_predict(lego_prediction *out, const lego_optimizer *optimizer, const lg_problem *problem,
                          const int32_t *choice);
/* The budget as limits of a problem; checks it. */
lego_status lg_optimizer_limit(lg_problem *problem, const lego_optimizer *optimizer, const lego_budget *budget);
/* Nanoseconds of the problem as milliseconds of the budget, where the margin is included. */
double lg_optimizer_limit_ms(const lego_optimizer *optimizer, int64_t latency);

/* --- solve.c --- */
/* lego_optimizer_solve() on a copy of the optimiser's problem, e.g. with latencies as measured lately. */
lego_status lg_optimizer_solve(lego_solution **out, const lego_optimizer *optimizer, const lg_problem *problem,
                               const lego_budget *budget, const lego_solve_options *options);

/* --- solution.c --- */
lego_status lg_solution_create(lego_solution **out, const lego_optimizer *optimizer, const lg_problem *problem,
                               const lg_answer *answer);
/* The document of a budget that cannot be met; `nearest` is the relaxed solution. */
lego_status lg_shortfall_to_json(char **out, const lego_optimizer *optimizer, const lego_budget *budget,
                                 const lg_shortfall *shortfall, const lego_solution *nearest);

#endif
