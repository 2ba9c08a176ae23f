/* The selection problem's storage and its arithmetic.
 *
 * Built by optimizer.c from profiles, by nearest.c from other problems and by the tests at random; read by every
 * solver. */
#include "optimize/problem.h"

#include <string.h>

#include "base/alloc.h"

lego_status lg_problem_init(lg_problem *out, int32_t n_blocks, const int32_t *n_variants)
{
    int32_t total = 0;
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    out->latency_limit = out->bytes_limit = LG_NO_LIMIT;
    if (n_blocks < 1 || n_blocks > LG_PROBLEM_MAX_BLOCKS)
        LG_FAIL(LEGO_EINVAL, "%d blocks; the solvers take 1 to %d", n_blocks, LG_PROBLEM_MAX_BLOCKS);
    LG_TRY(LG_CALLOC(&out->first, n_blocks + 1));
    for (int32_t b = 0; b < n_blocks; b++) {
        if (n_variants[b] < 1 || n_variants[b] > INT16_MAX)
            LG_FAIL(LEGO_EINVAL, "block %d has %d variants; the solvers take 1 to %d", b, n_variants[b], INT16_MAX);
        total += n_variants[b];
        out->first[b + 1] = total;
    }
    LG_TRY(LG_CALLOC(&out->demands, total));
    out->n_blocks = n_blocks;
done:
    if (status != LEGO_OK)
        lg_problem_dispose(out);
    return status;
}

lego_status lg_problem_copy(lg_problem *out, const lg_problem *problem)
{
    size_t n = (size_t)problem->n_blocks;
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    LG_TRY(LG_CALLOC(&out->first, n + 1));
    LG_TRY(LG_CALLOC(&out->demands, problem->first[n]));
    memcpy(out->first, problem->first, (n + 1) * sizeof(*out->first));
    memcpy(out->demands, problem->demands, (size_t)problem->first[n] * sizeof(*out->demands));
    out->n_blocks = problem->n_blocks;
    out->fixed = problem->fixed;
    out->latency_limit = problem->latency_limit;
    out->bytes_limit = problem->bytes_limit;
done:
    if (status != LEGO_OK)
        lg_problem_dispose(out);
    return status;
}

void lg_problem_dispose(lg_problem *problem)
{
    lg_free(problem->first);
    lg_free(problem->demands);
    memset(problem, 0, sizeof(*problem));
}

static int in_range(const lg_demand *demand)
{
    return demand->cost >= -LG_PROBLEM_MAX_VALUE && demand->cost <= LG_PROBLEM_MAX_VALUE && demand->latency >= 0 &&
           demand->latency <= LG_PROBLEM_MAX_VALUE && demand->bytes >= 0 && demand->bytes <= LG_PROBLEM_MAX_VALUE;
}

lego_status lg_problem_check(const lg_problem *problem)
{
    if (problem->n_blocks < 1 || problem->n_blocks > LG_PROBLEM_MAX_BLOCKS)
        return lg_error(LEGO_EINVAL, "%d blocks; the solvers take 1 to %d", problem->n_blocks, LG_PROBLEM_MAX_BLOCKS);
    for (int32_t b = 0; b < problem->n_blocks; b++)
        for (int32_t v = 0; v < lg_problem_n_variants(problem, b); v++) {
            const lg_demand *demand = lg_problem_demand(problem, b, v);

            if (!in_range(demand))
                return lg_error(LEGO_EINVAL, "block %d variant %d: cost=%lld latency=%lld bytes=%lld out of range", b, v,
                                (long long)demand->cost, (long long)demand->latency, (long long)demand->bytes);
        }
    if (!in_range(&problem->fixed))
        return lg_error(LEGO_EINVAL, "frame: cost=%lld latency=%lld bytes=%lld out of range",
                        (long long)problem->fixed.cost, (long long)problem->fixed.latency,
                        (long long)problem->fixed.bytes);
    return LEGO_OK;
}

lg_demand lg_problem_total(const lg_problem *problem, const int32_t *choice)
{
    lg_demand total = problem->fixed;

    for (int32_t b = 0; b < problem->n_blocks; b++) {
        const lg_demand *demand = lg_problem_demand(problem, b, choice[b]);

        total.cost += demand->cost;
        total.latency += demand->latency;
        total.bytes += demand->bytes;
    }
    return total;
}

int lg_problem_fits(const lg_problem *problem, const lg_demand *total)
{
    return total->latency <= problem->latency_limit && total->bytes <= problem->bytes_limit;
}

lego_status lg_answer_init(lg_answer *out, int32_t n_blocks, int32_t n_selections)
{
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    LG_TRY(LG_CALLOC(&out->choices, (size_t)n_blocks * (size_t)n_selections));
    LG_TRY(LG_CALLOC(&out->totals, n_selections));
    out->n_blocks = n_blocks;
    out->n_selections = n_selections;
done:
    if (status != LEGO_OK)
        lg_answer_dispose(out);
    return status;
}

void lg_answer_dispose(lg_answer *answer)
{
    lg_free(answer->choices);
    lg_free(answer->totals);
    memset(answer, 0, sizeof(*answer));
}
