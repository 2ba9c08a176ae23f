/* Infeasible is an answer: which limit fails, by how much, and the nearest limits that work.
 *
 * Everything is asked of the exact solver, with the roles of the three sums exchanged: the least latency under a memory
 * limit is a selection problem whose cost is latency. "Nearest" minimises the larger of the two relative excesses
 * (bisection on the common growth), then the other one, so a limit that need not grow does not.
 *
 * What newcomers get wrong: raising one limit until something fits can give up memory although only the latency was
 * impossible; both have to be looked at together. */
#include "optimize/nearest.h"

#include <math.h>

typedef enum sum_kind { LATENCY, BYTES } sum_kind;

static int64_t of_kind(const lg_demand *demand, sum_kind kind)
{
    return kind == LATENCY ? demand->latency : demand->bytes;
}

/* The least sum of one kind while the other stays within `other_limit`; LG_NO_LIMIT if nothing does. */
static lego_status least(lg_demand *total, const lg_problem *problem, sum_kind kind, int64_t other_limit)
{
    lg_problem asked = { 0, NULL, NULL, { 0, 0, 0 }, 0, 0 };
    lg_answer answer = { 0, 0, NULL, NULL, 0, 0 };
    lego_status status = LEGO_OK;

    *total = (lg_demand){ 0, LG_NO_LIMIT, LG_NO_LIMIT };
    LG_TRY(lg_problem_copy(&asked, problem));
    for (int32_t i = 0; i < asked.first[asked.n_blocks]; i++)
        asked.demands[i].cost = of_kind(&asked.demands[i], kind);
    asked.latency_limit = kind == BYTES ? other_limit : LG_NO_LIMIT;
    asked.bytes_limit = kind == LATENCY ? other_limit : LG_NO_LIMIT;
    status = lg_solve_exact(&answer, &asked, 1, LG_EXACT_DEFAULT_STATES);
    if (status == LEGO_OK)
        *total = lg_problem_total(problem, answer.choices);
    else if (status == LEGO_EINFEASIBLE)
        status = LEGO_OK;
done:
    lg_answer_dispose(&answer);
    lg_problem_dispose(&asked);
    return status;
}

static double growth_of(const lg_demand *total, double latency_unit, double bytes_unit)
{
    return fmax((double)total->latency / latency_unit, (double)total->bytes / bytes_unit);
}

/* The selection with the least common growth; both limits are set. */
static lego_status least_growth(lg_demand *best, const lg_problem *problem, double latency_unit, double bytes_unit)
{
    double low = 0.0, high;
    lg_demand total;
    lego_status status = LEGO_OK;

    LG_TRY(least(best, problem, LATENCY, LG_NO_LIMIT));
    LG_TRY(least(&total, problem, BYTES, LG_NO_LIMIT));
    if (growth_of(&total, latency_unit, bytes_unit) < growth_of(best, latency_unit, bytes_unit))
        *best = total;
    high = growth_of(best, latency_unit, bytes_unit);
    while (high - low > 1e-9 * high) {
        double middle = 0.5 * (low + high);

        LG_TRY(least(&total, problem, LATENCY, (int64_t)floor(middle * bytes_unit)));
        if (total.latency != LG_NO_LIMIT && growth_of(&total, latency_unit, bytes_unit) <= middle) {
            *best = total;
            high = growth_of(best, latency_unit, bytes_unit);
        } else {
            low = middle;
        }
    }
    /* The limit that does not decide need not grow as much. */
    if ((double)best->latency / latency_unit >= (double)best->bytes / bytes_unit)
        LG_TRY(least(best, problem, BYTES, best->latency));
    else
        LG_TRY(least(best, problem, LATENCY, best->bytes));
done:
    return status;
}

lego_status lg_nearest(lg_shortfall *out, const lg_problem *problem)
{
    int64_t latency_limit = problem->latency_limit, bytes_limit = problem->bytes_limit;
    double latency_unit = latency_limit > 0 ? (double)latency_limit : 1.0;
    double bytes_unit = bytes_limit > 0 ? (double)bytes_limit : 1.0;
    lg_demand total;
    lego_status status = LEGO_OK;

    if (latency_limit == LG_NO_LIMIT && bytes_limit == LG_NO_LIMIT)
        return lg_error(LEGO_EINVAL, "a problem without limits always has a solution");
    LG_TRY(lg_problem_check(problem));
    LG_TRY(least(&total, problem, LATENCY, LG_NO_LIMIT));
    out->least_latency = total.latency;
    LG_TRY(least(&total, problem, BYTES, LG_NO_LIMIT));
    out->least_bytes = total.bytes;
    LG_TRY(least(&total, problem, LATENCY, bytes_limit));
    out->least_latency_within = total.latency;
    LG_TRY(least(&total, problem, BYTES, latency_limit));
    out->least_bytes_within = total.bytes;
    if (bytes_limit == LG_NO_LIMIT) {
        out->nearest_latency = out->least_latency;
        out->nearest_bytes = LG_NO_LIMIT;
        out->growth = (double)out->least_latency / latency_unit - 1.0;
    } else if (latency_limit == LG_NO_LIMIT) {
        out->nearest_latency = LG_NO_LIMIT;
        out->nearest_bytes = out->least_bytes;
        out->growth = (double)out->least_bytes / bytes_unit - 1.0;
    } else {
        LG_TRY(least_growth(&total, problem, latency_unit, bytes_unit));
        out->nearest_latency = total.latency > latency_limit ? total.latency : latency_limit;
        out->nearest_bytes = total.bytes > bytes_limit ? total.bytes : bytes_limit;
        out->growth = growth_of(&total, latency_unit, bytes_unit) - 1.0;
    }
done:
    return status;
}
