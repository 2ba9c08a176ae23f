/* Solvers against brute force: thousands of small random problems, with ties, tight, zero and impossible limits. */
#include "base/rng.h"
#include "optimize/nearest.h"
#include "optimize/problem.h"
#include "support/support.h"

/* A random problem: coarse values make ties likely. */
typedef struct shape {
    int32_t most_blocks, most_variants;
    int64_t cost_range, demand_range;
} shape;

static int64_t below(lg_rng *rng, int64_t n)
{
    return (int64_t)lg_rng_below(rng, (uint64_t)n);
}

static void make_problem(lg_problem *problem, lg_rng *rng, const shape *s)
{
    int32_t n_variants[16], n_blocks = 1 + (int32_t)below(rng, s->most_blocks);
    int correlated = below(rng, 2) == 0;

    for (int32_t b = 0; b < n_blocks; b++)
        n_variants[b] = 1 + (int32_t)below(rng, s->most_variants);
    assert_int_equal(lg_problem_init(problem, n_blocks, n_variants), LEGO_OK);
    for (int32_t b = 0; b < n_blocks; b++)
        for (int32_t v = 0; v < n_variants[b]; v++) {
            lg_demand *demand = lg_problem_demand(problem, b, v);

            demand->latency = below(rng, s->demand_range);
            demand->bytes = below(rng, s->demand_range);
            demand->cost = below(rng, s->cost_range) - s->cost_range / 8;
            if (correlated) /* as real menus: what is smaller is faster and worse */
                demand->cost = s->demand_range - demand->latency + below(rng, 1 + s->demand_range / 8);
        }
    problem->fixed = (lg_demand){ below(rng, 5), below(rng, s->demand_range), below(rng, s->demand_range) };
}

/* Limits between impossible and loose. */
static void set_limits(lg_problem *problem, lg_rng *rng)
{
    int64_t latency = problem->fixed.latency, bytes = problem->fixed.bytes;

    for (int32_t i = 0; i < problem->first[problem->n_blocks]; i++) {
        latency += problem->demands[i].latency;
        bytes += problem->demands[i].bytes;
    }
    problem->latency_limit = below(rng, 4) == 0 ? LG_NO_LIMIT : below(rng, latency + 2);
    problem->bytes_limit = below(rng, 4) == 0 ? LG_NO_LIMIT : below(rng, bytes + 2);
    if (below(rng, 20) == 0)
        problem->latency_limit = 0;
    if (below(rng, 20) == 0)
        problem->bytes_limit = -3;
}

static int next_choice(const lg_problem *problem, int32_t *choice)
{
    for (int32_t b = 0; b < problem->n_blocks; b++) {
        if (++choice[b] < lg_problem_n_variants(problem, b))
            return 1;
        choice[b] = 0;
    }
    return 0;
}

/* All selections that fit, by rising cost. Returns how many. */
static int by_total(const void *a, const void *b)
{
    const lg_demand *x = a, *y = b;

    if (x->cost != y->cost)
        return x->cost < y->cost ? -1 : 1;
    if (x->latency != y->latency)
        return x->latency < y->latency ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static size_t enumerate(lg_demand **out, const lg_problem *problem)
{
    int32_t choice[16] = { 0 };
    size_t n = 0, capacity = 0;

    *out = NULL;
    do {
        lg_demand total = lg_problem_total(problem, choice);

        if (lg_problem_fits(problem, &total)) {
            assert_int_equal(LG_RESERVE(out, &capacity, n + 1), LEGO_OK);
            (*out)[n++] = total;
        }
    } while (next_choice(problem, choice));
    if (n > 0)
        qsort(*out, n, sizeof(**out), by_total);
    return n;
}

static void check_selections(const lg_answer *answer, const lg_problem *problem)
{
    for (int32_t i = 0; i < answer->n_selections; i++) {
        const int32_t *choice = answer->choices + (size_t)i * (size_t)answer->n_blocks;
        lg_demand total;

        for (int32_t b = 0; b < problem->n_blocks; b++)
            assert_in_range(choice[b], 0, lg_problem_n_variants(problem, b) - 1);
        total = lg_problem_total(problem, choice);
        assert_memory_equal(&total, &answer->totals[i], sizeof(total));
        assert_true(lg_problem_fits(problem, &total));
        for (int32_t j = 0; j < i; j++)
            assert_memory_not_equal(answer->choices + (size_t)j * (size_t)answer->n_blocks, choice,
                                    sizeof(*choice) * (size_t)answer->n_blocks);
    }
}

static const shape shapes[] = {
    { 8, 4, 6, 5 },               /* ties everywhere */
    { 8, 4, 1000000, 10000000 },  /* as in life */
    { 1, 8, 50, 50 },             /* a single block */
    { 6, 6, 1, 40 },              /* every selection costs the same */
    { 5, 5, 300, 1 },             /* nothing takes anything */
};
#define N_SHAPES ((int)(sizeof(shapes) / sizeof(*shapes)))

static void test_optimize__exact_equals_brute_force(void **state)
{
    lg_rng rng;
    int feasible = 0;

    lg_rng_init(&rng, 1, 0);
    for (int i = 0; i < 4000; i++) {
        lg_problem problem;
        lg_answer answer;
        lg_demand *all;
        lego_status status;
        size_t n;

        make_problem(&problem, &rng, &shapes[i % N_SHAPES]);
        set_limits(&problem, &rng);
        n = enumerate(&all, &problem);
        status = lg_solve_exact(&answer, &problem, 1, LG_EXACT_DEFAULT_STATES);
        if (n == 0) {
            assert_int_equal(status, LEGO_EINFEASIBLE);
        } else {
            assert_int_equal(status, LEGO_OK);
            assert_true(answer.proven);
            assert_int_equal(answer.totals[0].cost, all[0].cost);
            assert_int_equal(answer.bound, all[0].cost);
            check_selections(&answer, &problem);
            feasible++;
        }
        lg_answer_dispose(&answer);
        lg_problem_dispose(&problem);
        lg_free(all);
    }
    assert_in_range(feasible, 1000, 3900); /* both kinds were seen */
}

static void test_optimize__k_best_equal_brute_force(void **state)
{
    lg_rng rng;

    lg_rng_init(&rng, 2, 0);
    for (int i = 0; i < 1500; i++) {
        lg_problem problem;
        lg_answer answer;
        lg_demand *all;
        int32_t k = 1 + (int32_t)below(&rng, 12);
        size_t n;

        make_problem(&problem, &rng, &shapes[i % N_SHAPES]);
        set_limits(&problem, &rng);
        n = enumerate(&all, &problem);
        assert_int_equal(lg_solve_exact(&answer, &problem, k, LG_EXACT_DEFAULT_STATES),
                         n ? LEGO_OK : LEGO_EINFEASIBLE);
        if (n > 0) {
            assert_int_equal(answer.n_selections, n < (size_t)k ? n : (size_t)k);
            for (int32_t s = 0; s < answer.n_selections; s++)
                assert_int_equal(answer.totals[s].cost, all[s].cost);
            check_selections(&answer, &problem);
        }
        lg_answer_dispose(&answer);
        lg_problem_dispose(&problem);
        lg_free(all);
    }
}

static void test_optimize__narrow_passes_end_in_the_same_answer(void **state)
{
    lg_rng rng;
    shape s = { 12, 6, 100000, 100000 };

    /* max_states 1: the widest pass is the first one; not proven then, but feasible and bounded from below. */
    lg_rng_init(&rng, 3, 0);
    for (int i = 0; i < 300; i++) {
        lg_problem problem;
        lg_answer answer, narrow;

        make_problem(&problem, &rng, &s);
        set_limits(&problem, &rng);
        if (lg_solve_exact(&answer, &problem, 1, LG_EXACT_DEFAULT_STATES) == LEGO_OK &&
            lg_solve_exact(&narrow, &problem, 1, 1) == LEGO_OK) {
            assert_true(answer.proven);
            assert_true(narrow.totals[0].cost >= answer.totals[0].cost);
            assert_true(narrow.bound <= answer.totals[0].cost);
            check_selections(&narrow, &problem);
            if (narrow.proven)
                assert_int_equal(narrow.totals[0].cost, answer.totals[0].cost);
            lg_answer_dispose(&narrow);
        }
        lg_answer_dispose(&answer);
        lg_problem_dispose(&problem);
    }
}

static void test_optimize__glpk_equals_exact(void **state)
{
    const shape larger_shape = { 16, 8, 1000000, 10000000 };
    lg_rng rng;

    lg_rng_init(&rng, 4, 0);
    for (int i = 0; i < 1500; i++) {
        lg_problem problem;
        lg_answer exact, glpk;
        lego_status status;

        make_problem(&problem, &rng, i % 10 ? &shapes[i % N_SHAPES] : &larger_shape);
        set_limits(&problem, &rng);
        status = lg_solve_glpk(&glpk, &problem, 0);
        if (status == LEGO_EUNSUPPORTED) {
            lg_problem_dispose(&problem);
            skip();
        }
        assert_int_equal(lg_solve_exact(&exact, &problem, 1, LG_EXACT_DEFAULT_STATES), status);
        if (status == LEGO_OK) {
            assert_int_equal(glpk.totals[0].cost, exact.totals[0].cost);
            assert_true(glpk.proven);
            check_selections(&glpk, &problem);
        }
        lg_answer_dispose(&exact);
        lg_answer_dispose(&glpk);
        lg_problem_dispose(&problem);
    }
}

static void test_optimize__pareto_equals_brute_force(void **state)
{
    lg_rng rng;

    lg_rng_init(&rng, 5, 0);
    for (int i = 0; i < 600; i++) {
        lg_problem problem;
        lg_answer answer;
        lg_demand *all;
        size_t n, kept = 0;

        make_problem(&problem, &rng, &shapes[i % N_SHAPES]);
        set_limits(&problem, &rng);
        n = enumerate(&all, &problem);
        for (size_t a = 0; a < n; a++) { /* sorted: only earlier ones can beat */
            int beaten = 0;

            for (size_t b = 0; b < kept && !beaten; b++)
                beaten = all[b].latency <= all[a].latency && all[b].bytes <= all[a].bytes;
            if (!beaten)
                all[kept++] = all[a];
        }
        assert_int_equal(lg_solve_pareto(&answer, &problem, (size_t)1 << 22, 0), n ? LEGO_OK : LEGO_EINFEASIBLE);
        if (n > 0) {
            assert_true(answer.proven);
            assert_int_equal(answer.n_selections, kept);
            for (size_t s = 0; s < kept; s++)
                assert_memory_equal(&answer.totals[s], &all[s], sizeof(*all));
            check_selections(&answer, &problem);
        }
        lg_answer_dispose(&answer);
        lg_problem_dispose(&problem);
        lg_free(all);
    }
}

static void test_optimize__thinned_frontier_keeps_its_ends(void **state)
{
    lg_rng rng;
    lg_problem problem;
    lg_answer whole, thin;
    int32_t n_variants[14];

    lg_rng_init(&rng, 6, 0);
    for (int b = 0; b < 14; b++)
        n_variants[b] = 4;
    assert_int_equal(lg_problem_init(&problem, 14, n_variants), LEGO_OK);
    for (int i = 0; i < 14 * 4; i++)
        problem.demands[i] = (lg_demand){ below(&rng, 1000), below(&rng, 1000), below(&rng, 1000) };
    assert_int_equal(lg_solve_pareto(&whole, &problem, (size_t)1 << 24, 0), LEGO_OK);
    assert_int_equal(lg_solve_pareto(&thin, &problem, 14 * 300, 0), LEGO_OK);
    assert_true(whole.proven);
    assert_false(thin.proven);
    assert_in_range(thin.n_selections, 20, 310);
    assert_int_equal(thin.totals[0].cost, whole.totals[0].cost);
    for (int kind = 0; kind < 2; kind++) {
        int64_t least[2] = { INT64_MAX, INT64_MAX };
        const lg_answer *answers[2] = { &whole, &thin };

        for (int a = 0; a < 2; a++)
            for (int32_t i = 0; i < answers[a]->n_selections; i++) {
                const lg_demand *total = &answers[a]->totals[i];
                int64_t value = kind ? total->latency : total->bytes;

                least[a] = value < least[a] ? value : least[a];
            }
        assert_int_equal(least[0], least[1]);
    }
    lg_answer_dispose(&whole);
    lg_answer_dispose(&thin);
    lg_problem_dispose(&problem);
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static void test_optimize__nearest_budget_equals_brute_force(void **state)
{
    lg_rng rng;
    int seen = 0;

    lg_rng_init(&rng, 7, 0);
    for (int i = 0; i < 6000 && seen < 500; i++) {
        lg_problem problem, open;
        lg_answer answer;
        lg_shortfall shortfall;
        lg_demand *all;
        size_t n;
        double growth = 1e300;
        int64_t latency = LG_NO_LIMIT, bytes = LG_NO_LIMIT, latency_within = LG_NO_LIMIT, bytes_within = LG_NO_LIMIT;

        make_problem(&problem, &rng, &shapes[i % N_SHAPES]);
        set_limits(&problem, &rng);
        if (lg_solve_exact(&answer, &problem, 1, LG_EXACT_DEFAULT_STATES) != LEGO_EINFEASIBLE) {
            lg_answer_dispose(&answer);
            lg_problem_dispose(&problem);
            continue;
        }
        seen++;
        assert_int_equal(lg_problem_copy(&open, &problem), LEGO_OK);
        open.latency_limit = open.bytes_limit = LG_NO_LIMIT;
        n = enumerate(&all, &open);
        for (size_t a = 0; a < n; a++) {
            double g = 0.0;

            if (problem.latency_limit != LG_NO_LIMIT)
                g = (double)all[a].latency / larger(1.0, (double)problem.latency_limit);
            if (problem.bytes_limit != LG_NO_LIMIT)
                g = larger(g, (double)all[a].bytes / larger(1.0, (double)problem.bytes_limit));
            growth = g < growth ? g : growth;
            latency = all[a].latency < latency ? all[a].latency : latency;
            bytes = all[a].bytes < bytes ? all[a].bytes : bytes;
            if (all[a].bytes <= problem.bytes_limit && all[a].latency < latency_within)
                latency_within = all[a].latency;
            if (all[a].latency <= problem.latency_limit && all[a].bytes < bytes_within)
                bytes_within = all[a].bytes;
        }
        assert_int_equal(lg_nearest(&shortfall, &problem), LEGO_OK);
        assert_int_equal(shortfall.least_latency, latency);
        assert_int_equal(shortfall.least_bytes, bytes);
        assert_int_equal(shortfall.least_latency_within, latency_within);
        assert_int_equal(shortfall.least_bytes_within, bytes_within);
        assert_float_equal(shortfall.growth + 1.0, growth, 1e-8 * growth);
        /* and it works */
        open.latency_limit = shortfall.nearest_latency;
        open.bytes_limit = shortfall.nearest_bytes;
        assert_int_equal(lg_solve_exact(&answer, &open, 1, LG_EXACT_DEFAULT_STATES), LEGO_OK);
        lg_answer_dispose(&answer);
        lg_problem_dispose(&open);
        lg_problem_dispose(&problem);
        lg_free(all);
    }
    assert_true(seen >= 300);
}

static void test_optimize__rejects_values_out_of_range(void **state)
{
    lg_problem problem;
    lg_answer answer;
    int32_t n_variants[2] = { 2, 0 };

    assert_int_equal(lg_problem_init(&problem, 2, n_variants), LEGO_EINVAL);
    assert_int_equal(lg_problem_init(&problem, 0, n_variants), LEGO_EINVAL);
    n_variants[1] = 2;
    assert_int_equal(lg_problem_init(&problem, 2, n_variants), LEGO_OK);
    problem.demands[3].latency = -1;
    assert_int_equal(lg_solve_exact(&answer, &problem, 1, 1000), LEGO_EINVAL);
    assert_non_null(strstr(lego_last_error(), "block 1 variant 1"));
    assert_int_equal(lg_solve_pareto(&answer, &problem, 1000, 0), LEGO_EINVAL);
    problem.demands[3].latency = 0;
    problem.demands[1].cost = LG_PROBLEM_MAX_VALUE + 1;
    assert_int_equal(lg_solve_exact(&answer, &problem, 1, 1000), LEGO_EINVAL);
    problem.demands[1].cost = LG_PROBLEM_MAX_VALUE;
    assert_int_equal(lg_solve_exact(&answer, &problem, 0, 1000), LEGO_EINVAL);
    assert_int_equal(lg_solve_exact(&answer, &problem, 1, 1000), LEGO_OK);
    lg_answer_dispose(&answer);
    lg_problem_dispose(&problem);
}

static void test_optimize__survives_failing_allocations(void **state)
{
    lg_rng rng;
    lg_problem problem;
    shape s = { 10, 6, 1000, 1000 };

    lg_rng_init(&rng, 8, 0);
    do {
        make_problem(&problem, &rng, &s);
        problem.latency_limit = problem.bytes_limit = LG_NO_LIMIT;
        if (problem.n_blocks == 10)
            break;
        lg_problem_dispose(&problem);
    } while (1);
    for (int solver = 0; solver < 4; solver++) {
        lego_status status = LEGO_ENOMEM;

        for (long n = 0; status == LEGO_ENOMEM && n < 10000; n++) {
            lg_answer answer = { 0, 0, NULL, NULL, 0, 0 };
            lg_shortfall shortfall;

            problem.latency_limit = solver == 3 ? 1 : 5000;
            lg_alloc_fail_after(n);
            status = solver == 0   ? lg_solve_exact(&answer, &problem, 3, LG_EXACT_DEFAULT_STATES)
                     : solver == 1 ? lg_solve_pareto(&answer, &problem, 2000, 0)
                     : solver == 2 ? lg_solve_glpk(&answer, &problem, 0)
                                   : lg_nearest(&shortfall, &problem);
            lg_alloc_fail_after(-1);
            lg_answer_dispose(&answer);
        }
        assert_true(status == LEGO_OK || (solver == 2 && status == LEGO_EUNSUPPORTED));
    }
    lg_problem_dispose(&problem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_optimize__exact_equals_brute_force),
        cmocka_unit_test(test_optimize__k_best_equal_brute_force),
        cmocka_unit_test(test_optimize__narrow_passes_end_in_the_same_answer),
        cmocka_unit_test(test_optimize__glpk_equals_exact),
        cmocka_unit_test(test_optimize__pareto_equals_brute_force),
        cmocka_unit_test(test_optimize__thinned_frontier_keeps_its_ends),
        cmocka_unit_test(test_optimize__nearest_budget_equals_brute_force),
        cmocka_unit_test(test_optimize__rejects_values_out_of_range),
        cmocka_unit_test(test_optimize__survives_failing_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
