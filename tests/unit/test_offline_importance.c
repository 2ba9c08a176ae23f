/* The narrow factor of a Fisher matrix: what it leaves is what it says, and nothing more. */
#include "support/support.h"

#include <math.h>

#include "base/rng.h"
#include "retrain/retrain.h"

#define C 16

/* f (C,C) = sum of `rank` outer products + `noise` on the diagonal, scaled to a mean diagonal of one. */
static void make_matrix(double *f, int rank, double noise, uint64_t seed)
{
    double trace = 0.0;
    lg_rng rng;

    lg_rng_init(&rng, seed, 0);
    memset(f, 0, C * C * sizeof(*f));
    for (int k = 0; k < rank; k++) {
        double v[C];

        for (int i = 0; i < C; i++)
            v[i] = lg_rng_uniform(&rng) - 0.5;
        for (int i = 0; i < C * C; i++)
            f[i] += v[i / C] * v[i % C];
    }
    for (int i = 0; i < C; i++)
        trace += f[i * C + i] += noise;
    for (int i = 0; i < C * C; i++)
        f[i] *= C / trace;
}

/* 0 <= e^T F e - |L^T e|^2 <= rest C |e|^2 for any e, and the trace of what is left is rest C. */
static void check_bounds(const double *f, const double *l, int64_t rank, double rest, uint64_t seed)
{
    double trace = 0.0;
    lg_rng rng;

    lg_rng_init(&rng, seed, 1);
    for (int trial = 0; trial < 50; trial++) {
        double e[C], whole = 0.0, part = 0.0, square = 0.0;

        for (int i = 0; i < C; i++) {
            e[i] = lg_rng_uniform(&rng) - 0.5;
            square += e[i] * e[i];
        }
        for (int i = 0; i < C * C; i++)
            whole += e[i / C] * f[i] * e[i % C];
        for (int64_t k = 0; k < rank; k++) {
            double projected = 0.0;

            for (int i = 0; i < C; i++)
                projected += l[k * C + i] * e[i];
            part += projected * projected;
        }
        assert_true(whole - part > -1e-9);
        assert_true(whole - part < rest * C * square + 1e-9);
    }
    for (int i = 0; i < C; i++) {
        trace += f[i * C + i];
        for (int64_t k = 0; k < rank; k++)
            trace -= l[k * C + i] * l[k * C + i];
    }
    assert_near(rest * C, trace, 1e-9, 0.0);
}

static void test_importance__what_is_left_is_what_it_says(void **state)
{
    double f[C * C], l[C * C], left[C], rest;

    for (uint64_t seed = 0; seed < 20; seed++)
        for (int rank = 1; rank <= C; rank *= 2)
            for (int64_t most = 0; most <= C; most += 4) {
                make_matrix(f, rank, seed % 2 ? 0.01 : 0.0, seed);
                const int64_t got = lg_importance_factor(l, left, &rest, f, C, most);

                assert_true(got <= most);
                check_bounds(f, l, got, rest, seed);
            }
    (void)state;
}

static void test_importance__few_directions_are_found(void **state)
{
    double f[C * C], l[C * C], left[C], rest;

    make_matrix(f, 3, 0.0, 5);
    assert_true(lg_importance_factor(l, left, &rest, f, C, C / 2) <= 3);
    assert_true(rest <= 0.1);
    make_matrix(f, 0, 1.0, 5); /* the identity: every direction counts */
    assert_int_equal(lg_importance_factor(l, left, &rest, f, C, C / 4), C / 4);
    assert_near(rest, 0.75, 1e-12, 0.0);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_importance__what_is_left_is_what_it_says),
        cmocka_unit_test(test_importance__few_directions_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
