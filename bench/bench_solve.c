/* How long a selection takes to solve: exact solver and GLPK on random menus shaped like real ones.
 *
 *   bench_solve [repeats]
 *
 * Each menu has variants that get smaller, faster and worse; limits lie between the smallest and the largest
 * selection. Prints the median and the worst time of each solver in microseconds, and how often both agreed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "optimize/problem.h"

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static lego_status make_menu(lg_problem *problem, lg_rng *rng, int32_t n_blocks, int32_t n_variants)
{
    int32_t counts[LG_PROBLEM_MAX_BLOCKS];
    lego_status status;

    for (int32_t b = 0; b < n_blocks; b++)
        counts[b] = n_variants;
    status = lg_problem_init(problem, n_blocks, counts);
    if (status != LEGO_OK)
        return status;
    for (int32_t b = 0; b < n_blocks; b++) {
        double latency = 1e5 * (0.5 + lg_rng_uniform(rng)), bytes = 2e5 * (0.2 + 2.0 * lg_rng_uniform(rng));
        double damage = 2e4 * (0.1 + lg_rng_uniform(rng));

        for (int32_t v = 0; v < n_variants; v++) {
            double kept = 1.0 - 0.9 * v / n_variants, noise = 0.9 + 0.2 * lg_rng_uniform(rng);

            problem->demands[problem->first[b] + v] =
                (lg_demand){ (int64_t)(damage * (1.0 - kept) * (1.0 - kept) * noise),
                             (int64_t)(latency * (0.2 + 0.8 * kept) * noise), (int64_t)(bytes * kept) };
        }
    }
    return LEGO_OK;
}

/* Limits a share of the way from the least to the greatest sums. */
static void limit(lg_problem *problem, double share_latency, double share_bytes)
{
    int64_t least[2] = { 0, 0 }, most[2] = { 0, 0 };

    for (int32_t b = 0; b < problem->n_blocks; b++) {
        const lg_demand *first = lg_problem_demand(problem, b, 0);
        const lg_demand *last = lg_problem_demand(problem, b, lg_problem_n_variants(problem, b) - 1);

        least[0] += last->latency;
        least[1] += last->bytes;
        most[0] += first->latency;
        most[1] += first->bytes;
    }
    problem->latency_limit = least[0] + (int64_t)(share_latency * (double)(most[0] - least[0]));
    problem->bytes_limit = least[1] + (int64_t)(share_bytes * (double)(most[1] - least[1]));
}

static int bench(int32_t n_blocks, int32_t n_variants, int repeats, uint64_t seed)
{
    double *exact_us = calloc((size_t)repeats, sizeof(*exact_us)), *glpk_us = calloc((size_t)repeats, sizeof(*glpk_us));
    int proven = 0, equal = 0, glpk_runs = 0, solved = 0;
    lg_rng rng;

    lg_rng_init(&rng, seed, 0);
    for (int i = 0; exact_us && glpk_us && i < repeats; i++) {
        lg_problem problem;
        lg_answer exact, glpk;
        uint64_t start;

        if (make_menu(&problem, &rng, n_blocks, n_variants) != LEGO_OK)
            break;
        limit(&problem, 0.1 + 0.8 * lg_rng_uniform(&rng), 0.1 + 0.8 * lg_rng_uniform(&rng));
        start = lg_clock_ns();
        if (lg_solve_exact(&exact, &problem, 1, LG_EXACT_DEFAULT_STATES) != LEGO_OK) {
            printf("%s\n", lego_last_error());
            lg_problem_dispose(&problem);
            continue;
        }
        exact_us[solved] = 1e-3 * (double)(lg_clock_ns() - start);
        proven += exact.proven;
        start = lg_clock_ns();
        if (lg_solve_glpk(&glpk, &problem, 2000) == LEGO_OK) {
            glpk_us[glpk_runs++] = 1e-3 * (double)(lg_clock_ns() - start);
            equal += glpk.totals[0].cost == exact.totals[0].cost;
            if (glpk.proven && glpk.totals[0].cost != exact.totals[0].cost)
                printf("disagree: exact %lld glpk %lld\n", (long long)exact.totals[0].cost,
                       (long long)glpk.totals[0].cost);
            lg_answer_dispose(&glpk);
        }
        solved++;
        lg_answer_dispose(&exact);
        lg_problem_dispose(&problem);
    }
    if (solved > 0) {
        qsort(exact_us, (size_t)solved, sizeof(*exact_us), by_value);
        printf("%d blocks x %d variants, %d menus: exact median %.1f us, worst %.1f us, proven %d", n_blocks, n_variants,
               solved, exact_us[solved / 2], exact_us[solved - 1], proven);
        if (glpk_runs > 0) {
            qsort(glpk_us, (size_t)glpk_runs, sizeof(*glpk_us), by_value);
            printf("; GLPK median %.1f us, worst %.1f us, equal %d of %d", glpk_us[glpk_runs / 2],
                   glpk_us[glpk_runs - 1], equal, glpk_runs);
        }
        printf("\n");
    }
    free(exact_us);
    free(glpk_us);
    return solved == repeats ? 0 : 1;
}

int main(int argc, char **argv)
{
    int repeats = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 200;

    if (repeats < 1 || repeats > 1000000)
        return 2;
    return bench(8, 4, repeats, 1) | bench(20, 8, repeats, 2) | bench(200, 8, (repeats + 9) / 10, 3);
}
