/* Answering a budget: solve, or say why not and what would work.
 *
 * optimizer.c made the problem, solve_exact.c or solve_glpk.c solves it, nearest.c explains what cannot be solved. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"
#include "optimize/optimizer.h"

static lego_status read_options(lego_solve_options *opts, const lego_solve_options *options)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_options_read(opts, sizeof(*opts), options));
    if (opts->k == 0)
        opts->k = 1;
    if (opts->max_states == 0)
        opts->max_states = (int64_t)LG_EXACT_DEFAULT_STATES;
    if (opts->solver != LEGO_SOLVER_EXACT && opts->solver != LEGO_SOLVER_GLPK)
        LG_FAIL(LEGO_EINVAL, "solver %d; known are 0 (exact) and 1 (GLPK)", (int)opts->solver);
    if (opts->k < 0 || opts->k > INT16_MAX)
        LG_FAIL(LEGO_EINVAL, "k=%d best selections; allowed are 1 to %d", opts->k, INT16_MAX);
    if (opts->k > 1 && opts->solver == LEGO_SOLVER_GLPK)
        LG_FAIL(LEGO_EINVAL, "k=%d best selections need the exact solver; GLPK finds one", opts->k);
    if (opts->max_states < 0 || opts->time_limit_ms < 0)
        LG_FAIL(LEGO_EINVAL, "max_states=%lld and time_limit_ms=%d must not be negative", (long long)opts->max_states,
                opts->time_limit_ms);
done:
    return status;
}

static lego_status solve(lg_answer *answer, const lg_problem *problem, const lego_solve_options *opts)
{
    if (opts->solver == LEGO_SOLVER_GLPK)
        return lg_solve_glpk(answer, problem, opts->time_limit_ms);
    return lg_solve_exact(answer, problem, opts->k, (size_t)opts->max_states);
}

/* --- infeasible --- */

/* Four digits, upwards: a limit that is typed in as printed still works. */
static double round_up(double value)
{
    double unit = pow(10.0, floor(log10(value)) - 3.0);

    return ceil(value / unit) * unit;
}

static void append_bytes(lg_str *text, int64_t bytes)
{
    if (bytes < 10 * 1024)
        lg_str_appendf(text, "%lld bytes", (long long)bytes);
    else if (bytes < 10 * 1024 * 1024)
        lg_str_appendf(text, "%.4g KiB", round_up((double)bytes / 1024.0));
    else
        lg_str_appendf(text, "%.4g MiB", round_up((double)bytes / (1024.0 * 1024.0)));
}

static void append_latency(lg_str *text, const lego_optimizer *optimizer, int64_t latency, double within)
{
    double ms = lg_optimizer_limit_ms(optimizer, latency);

    lg_str_appendf(text, "%.4g ms", round_up(ms));
    if (within > 0.0)
        lg_str_appendf(text, " (%.1f %% more)", 100.0 * (ms / within - 1.0));
}

/* The message: which limit fails, by how much, the nearest that works. */
static lego_status say(const lego_optimizer *optimizer, const lg_problem *problem, const lego_budget *budget,
                       const lg_shortfall *s)
{
    lg_str text = LG_STR_INIT;
    char *message = NULL;
    int latency = s->least_latency > problem->latency_limit, bytes = s->least_bytes > problem->bytes_limit;
    lego_status status = LEGO_OK;

    if (latency) {
        lg_str_appendf(&text, "latency limit %.4g ms: the fastest selection takes ", budget->latency_ms);
        append_latency(&text, optimizer, s->least_latency, budget->latency_ms);
    }
    if (bytes) {
        lg_str_append(&text, latency ? "; memory limit " : "memory limit ");
        append_bytes(&text, budget->memory_bytes);
        lg_str_append(&text, ": the smallest selection takes ");
        append_bytes(&text, s->least_bytes);
        lg_str_appendf(&text, " (%.1f %% more)",
                       100.0 * ((double)s->least_bytes / (double)budget->memory_bytes - 1.0));
    }
    if (!latency && !bytes) {
        lg_str_appendf(&text, "%.4g ms and ", budget->latency_ms);
        append_bytes(&text, budget->memory_bytes);
        lg_str_append(&text, " cannot both be met: within the memory limit the fastest selection takes ");
        append_latency(&text, optimizer, s->least_latency_within, budget->latency_ms);
        lg_str_append(&text, ", within the latency limit the smallest takes ");
        append_bytes(&text, s->least_bytes_within);
    }
    lg_str_append(&text, "; nearest budget that works: ");
    if (s->nearest_latency != LG_NO_LIMIT)
        append_latency(&text, optimizer, s->nearest_latency, 0.0);
    if (s->nearest_latency != LG_NO_LIMIT && s->nearest_bytes != LG_NO_LIMIT)
        lg_str_append(&text, " and ");
    if (s->nearest_bytes != LG_NO_LIMIT)
        append_bytes(&text, s->nearest_bytes);
    LG_TRY(lg_str_finish(&message, &text));
    status = lg_error(LEGO_EINFEASIBLE, "%s", message);
done:
    lg_str_dispose(&text);
    lg_free(message);
    return status;
}

/* Solve under the nearest limits that work. */
static lego_status solve_nearest(lego_solution **out, const lego_optimizer *optimizer, const lg_problem *problem,
                                 const lg_shortfall *shortfall, const lego_solve_options *opts)
{
    lg_problem open = { 0, NULL, NULL, { 0, 0, 0 }, 0, 0 };
    lg_answer answer = { 0, 0, NULL, NULL, 0, 0 };
    lego_status status = LEGO_OK;

    LG_TRY(lg_problem_copy(&open, problem));
    open.latency_limit = shortfall->nearest_latency;
    open.bytes_limit = shortfall->nearest_bytes;
    LG_TRY(solve(&answer, &open, opts));
    LG_TRY(lg_solution_create(out, optimizer, problem, &answer));
    (*out)->status = LEGO_SOLUTION_RELAXED;
    (*out)->growth = shortfall->growth;
    if (shortfall->nearest_latency != LG_NO_LIMIT)
        (*out)->nearest.latency_ms = lg_optimizer_limit_ms(optimizer, shortfall->nearest_latency);
    if (shortfall->nearest_bytes != LG_NO_LIMIT)
        (*out)->nearest.memory_bytes = shortfall->nearest_bytes;
done:
    lg_answer_dispose(&answer);
    lg_problem_dispose(&open);
    return status;
}

/* --- the calls --- */

lego_status lg_optimizer_solve(lego_solution **out, const lego_optimizer *optimizer, const lg_problem *problem,
                               const lego_budget *budget, const lego_solve_options *options)
{
    lego_solve_options opts = LEGO_SOLVE_OPTIONS_INIT;
    lego_budget limits = LEGO_BUDGET_INIT;
    lg_problem limited = *problem; /* borrows its arrays */
    lg_answer answer = { 0, 0, NULL, NULL, 0, 0 };
    uint64_t start = lg_clock_ns();
    lg_shortfall shortfall;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(read_options(&opts, options));
    LG_TRY(lg_options_read(&limits, sizeof(limits), budget));
    LG_TRY(lg_optimizer_limit(&limited, optimizer, &limits));
    status = solve(&answer, &limited, &opts);
    if (status == LEGO_EINFEASIBLE) {
        LG_TRY(lg_nearest(&shortfall, &limited));
        LG_TRY(opts.relax ? solve_nearest(out, optimizer, &limited, &shortfall, &opts)
                          : say(optimizer, &limited, &limits, &shortfall));
    } else if (status == LEGO_OK) {
        LG_TRY(lg_solution_create(out, optimizer, &limited, &answer));
    } else {
        goto done;
    }
    (*out)->budget = limits;
    (*out)->solver = opts.solver == LEGO_SOLVER_GLPK ? "glpk" : "exact";
    (*out)->solve_us = 1e-3 * (double)(lg_clock_ns() - start);
done:
    lg_answer_dispose(&answer);
    return status;
}

lego_status lego_optimizer_solve(lego_solution **out, const lego_optimizer *optimizer, const lego_budget *budget,
                                 const lego_solve_options *options)
{
    if (!out || !optimizer)
        return lg_error(LEGO_EINVAL, "out and optimizer must not be NULL");
    return lg_optimizer_solve(out, optimizer, &optimizer->problem, budget, options);
}

lego_status lego_optimizer_pareto(lego_solution **out, const lego_optimizer *optimizer, const lego_budget *budget,
                                  int32_t max_points)
{
    lego_budget limits = LEGO_BUDGET_INIT;
    lg_problem limited;
    lg_answer answer = { 0, 0, NULL, NULL, 0, 0 };
    uint64_t start = lg_clock_ns();
    lego_status status = LEGO_OK;

    if (!out || !optimizer || max_points < 0)
        return lg_error(LEGO_EINVAL, "out and optimizer must not be NULL, max_points=%d not negative", max_points);
    *out = NULL;
    limited = optimizer->problem;
    LG_TRY(lg_options_read(&limits, sizeof(limits), budget));
    LG_TRY(lg_optimizer_limit(&limited, optimizer, &limits));
    status = lg_solve_pareto(&answer, &limited, LG_EXACT_DEFAULT_STATES, max_points);
    if (status == LEGO_EINFEASIBLE) {
        lg_shortfall shortfall;

        LG_TRY(lg_nearest(&shortfall, &limited));
        LG_TRY(say(optimizer, &limited, &limits, &shortfall));
    }
    LG_TRY(status);
    LG_TRY(lg_solution_create(out, optimizer, &limited, &answer));
    (*out)->is_frontier = 1;
    (*out)->budget = limits;
    (*out)->solver = "exact";
    (*out)->solve_us = 1e-3 * (double)(lg_clock_ns() - start);
done:
    lg_answer_dispose(&answer);
    return status;
}

lego_status lego_optimizer_explain(char **out, const lego_optimizer *optimizer, const lego_budget *budget)
{
    lego_solve_options opts = LEGO_SOLVE_OPTIONS_INIT;
    lego_budget limits = LEGO_BUDGET_INIT;
    lg_problem limited;
    lg_answer answer = { 0, 0, NULL, NULL, 0, 0 };
    lg_shortfall shortfall;
    lego_solution *nearest = NULL;
    lego_status status = LEGO_OK;

    if (!out || !optimizer)
        return lg_error(LEGO_EINVAL, "out and optimizer must not be NULL");
    *out = NULL;
    limited = optimizer->problem;
    LG_TRY(read_options(&opts, NULL));
    LG_TRY(lg_options_read(&limits, sizeof(limits), budget));
    LG_TRY(lg_optimizer_limit(&limited, optimizer, &limits));
    status = solve(&answer, &limited, &opts);
    if (status == LEGO_OK)
        LG_FAIL(LEGO_EINVAL, "the budget can be met: there is nothing to explain");
    if (status != LEGO_EINFEASIBLE)
        goto done;
    LG_TRY(lg_nearest(&shortfall, &limited));
    LG_TRY(solve_nearest(&nearest, optimizer, &limited, &shortfall, &opts));
    LG_TRY(lg_shortfall_to_json(out, optimizer, &limits, &shortfall, nearest));
done:
    lg_answer_dispose(&answer);
    lego_solution_free(nearest);
    return status;
}
