/** @file optimize.h  From profiles and a budget to the selection that loses least accuracy. */
#ifndef LEGODNN_OPTIMIZE_H
#define LEGODNN_OPTIMIZE_H

#include "legodnn/context.h"
#include "legodnn/store.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What a selection may take; zero means "no limit". */
typedef struct lego_budget {
    size_t struct_size;
    double latency_ms;    /**< of one inference */
    int64_t memory_bytes; /**< packed weights of frame and variants, and the activation arena */
} lego_budget;
#define LEGO_BUDGET_INIT { sizeof(lego_budget), 0.0, 0 }

/** What profiles predict for a selection. */
typedef struct lego_prediction {
    double accuracy;      /**< fraction */
    double accuracy_drop; /**< against the original */
    double latency_ms;    /**< NaN without a device profile */
    int64_t memory_bytes; /**< without a device profile: the stored weights alone */
    int64_t flops;        /**< of one sample */
} lego_prediction;

typedef enum lego_solver {
    LEGO_SOLVER_EXACT = 0, /**< the library's own: bounded Pareto-merge, microseconds */
    LEGO_SOLVER_GLPK = 1   /**< GNU Linear Programming Kit, where it is built in */
} lego_solver;

/** Profiles of one store, ready to answer budgets. May be used by several threads at once. */
typedef struct lego_optimizer lego_optimizer;

typedef struct lego_optimizer_options {
    size_t struct_size;
    const char *accuracy_profile; /**< path; NULL: LEGO_PROFILE_SERVER_FILE in the store */
    const char *latency_profile;  /**< path; NULL: LEGO_PROFILE_DEVICE_FILE in the store, if it is there */
    double latency_margin;        /**< safety, relative: 0.02 plans for 2 % below the limit; 0: what the device profile
                                       found on held-out selections; negative: none */
} lego_optimizer_options;
#define LEGO_OPTIMIZER_OPTIONS_INIT { sizeof(lego_optimizer_options), NULL, NULL, 0.0 }

/**
 * Read the profiles of a store.
 * @param out    free with lego_optimizer_free()
 * @param store  borrowed for the life of the optimizer; only its names and sizes are read
 * @return LEGO_ENOTFOUND with the command to run if there is no accuracy profile, or if a profile misses a variant
 */
LEGO_API lego_status lego_optimizer_create(lego_optimizer **out, lego_context *context, const lego_store *store,
                                           const lego_optimizer_options *options);
LEGO_API void lego_optimizer_free(lego_optimizer *optimizer);

/** Predict any selection. */
LEGO_API lego_status lego_optimizer_predict(lego_prediction *out, const lego_optimizer *optimizer,
                                            const lego_selection *selection);

/** One or several selections that answer a budget, best first, or the points of a frontier. Refers to the optimizer's
 * store, which must outlive it. */
typedef struct lego_solution lego_solution;

typedef struct lego_solve_options {
    size_t struct_size;
    lego_solver solver;
    int32_t k;             /**< so many best selections; 0 = 1. More than one: exact solver only */
    int32_t relax;         /**< non-zero: where nothing fits, take the least violation instead of failing, flagged */
    int32_t time_limit_ms; /**< GLPK; 0 = none */
    int64_t max_states;    /**< exact solver: partial selections kept before it settles for a bound; 0 = 2^20 */
} lego_solve_options;
#define LEGO_SOLVE_OPTIONS_INIT { sizeof(lego_solve_options), LEGO_SOLVER_EXACT, 0, 0, 0, 0 }

typedef enum lego_solution_status {
    LEGO_SOLUTION_OPTIMAL = 0, /**< proven best */
    LEGO_SOLUTION_FEASIBLE = 1,/**< meets the limits; a time or state limit ended the proof */
    LEGO_SOLUTION_RELAXED = 2  /**< violates a limit, by as little as possible */
} lego_solution_status;

/**
 * The selection with the least predicted accuracy drop within the budget.
 *
 * @param out     free with lego_solution_free()
 * @param budget  NULL: no limits
 * @return LEGO_EINFEASIBLE if nothing fits; the message says which limit fails, by how much, and the nearest budget
 *         that works (lego_optimizer_explain() gives the same as a document)
 */
LEGO_API lego_status lego_optimizer_solve(lego_solution **out, const lego_optimizer *optimizer,
                                          const lego_budget *budget, const lego_solve_options *options);

/**
 * Every selection within the budget that no other one beats in accuracy, latency and memory at once, by rising
 * accuracy drop.
 * @param max_points  so many at most, spread over the frontier; 0 = all (2^20 partial selections are kept)
 * @param out         free with lego_solution_free()
 */
LEGO_API lego_status lego_optimizer_pareto(lego_solution **out, const lego_optimizer *optimizer,
                                           const lego_budget *budget, int32_t max_points);

/**
 * Why a budget cannot be met, as a "legodnn.selection/1" document with `feasible` false: which limits fail, by how much,
 * and under `nearest` a budget that works with its selection. Free with lego_string_free().
 * @return LEGO_EINVAL if the budget can be met
 */
LEGO_API lego_status lego_optimizer_explain(char **out, const lego_optimizer *optimizer, const lego_budget *budget);

LEGO_API void lego_solution_free(lego_solution *solution);
LEGO_API lego_solution_status lego_solution_get_status(const lego_solution *solution);
LEGO_API int32_t lego_solution_n_selections(const lego_solution *solution);
/** Borrowed; NULL past the end. */
LEGO_API const lego_selection *lego_solution_selection(const lego_solution *solution, int32_t index);
LEGO_API lego_status lego_solution_prediction(lego_prediction *out, const lego_solution *solution, int32_t index);
LEGO_API double lego_solution_solve_us(const lego_solution *solution);
/** A document: "legodnn.selection/1", or "legodnn.pareto/1" for a frontier; free with lego_string_free(). */
LEGO_API lego_status lego_solution_to_json(char **out, const lego_solution *solution);

#ifdef __cplusplus
}
#endif
#endif
