/* base/blas against plain double loops. */
#include "support/support.h"

#include <math.h>

#include "base/blas.h"
#include "base/rng.h"

enum { N = 7, M = 3, K = 11 };

static void fill(lg_rng *rng, double *d, float *f, int n)
{
    for (int i = 0; i < n; i++) {
        f[i] = (float)lg_rng_normal(rng);
        d[i] = f[i];
    }
}

static void test_blas__gemm_in_every_transposition(void **state)
{
    double a[K * N], b[K * N], c[N * N], want;
    float fa[K * N], fb[K * N], fc[N * N];
    lg_rng rng;

    lg_rng_init(&rng, 3, 0);
    for (int t = 0; t < 4; t++) {
        int ta = t & 1, tb = t >> 1;

        fill(&rng, a, fa, K * N);
        fill(&rng, b, fb, K * M);
        fill(&rng, c, fc, N * M);
        double old[N * M];
        memcpy(old, c, sizeof(old));
        lg_dgemm(ta, tb, N, M, K, 2.0, a, ta ? N : K, b, tb ? K : M, 0.5, c, M);
        lg_sgemm(ta, tb, N, M, K, 2.0f, fa, ta ? N : K, fb, tb ? K : M, 0.5f, fc, M);
        for (int i = 0; i < N; i++)
            for (int j = 0; j < M; j++) {
                want = 0.5 * old[i * M + j];
                for (int k = 0; k < K; k++)
                    want += 2.0 * (ta ? a[k * N + i] : a[i * K + k]) * (tb ? b[j * K + k] : b[k * M + j]);
                assert_near(c[i * M + j], want, 1e-12, 1e-12);
                assert_near(fc[i * M + j], want, 1e-4, 1e-5);
            }
    }
}

static void test_blas__syrk_factor_solve_and_invert(void **state)
{
    double x[K * N], g[N * N], factor[N * N], b[N * M], rhs[N * M], sum;
    float fx[K * N], fg[N * N] = { 0 }, fb[N * M];
    lg_rng rng;

    lg_rng_init(&rng, 4, 0);
    fill(&rng, x, fx, K * N);
    fill(&rng, rhs, fb, N * M);
    lg_ssyrk(N, K, 1.0f, fx, N, 0.0f, fg, N);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            sum = i == j ? 0.1 : 0.0;
            for (int k = 0; k < K; k++)
                sum += x[k * N + i] * x[k * N + j];
            g[i * N + j] = sum;
            if (j >= i)
                assert_near(fg[i * N + j], sum - (i == j ? 0.1 : 0.0), 1e-4, 1e-5);
        }
    memcpy(factor, g, sizeof(g));
    assert_ok(lg_dpotrf(N, factor, N));
    for (int i = 0; i < N; i++)
        for (int j = 0; j <= i; j++) {
            sum = 0;
            for (int k = 0; k <= j; k++)
                sum += factor[i * N + k] * factor[j * N + k];
            assert_near(sum, g[i * N + j], 1e-10, 1e-10);
        }
    memcpy(b, rhs, sizeof(b));
    assert_ok(lg_dpotrs(N, M, factor, N, b, M));
    for (int i = 0; i < N; i++)
        for (int j = 0; j < M; j++) {
            sum = 0;
            for (int k = 0; k < N; k++)
                sum += g[i * N + k] * b[k * M + j];
            assert_near(sum, rhs[i * M + j], 1e-9, 1e-9);
        }
    memcpy(b, rhs, sizeof(b));
    lg_dtrsm_lower(N, M, factor, N, b, M);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < M; j++) {
            sum = 0;
            for (int k = 0; k <= i; k++)
                sum += factor[i * N + k] * b[k * M + j];
            assert_near(sum, rhs[i * M + j], 1e-9, 1e-9);
        }
    assert_ok(lg_dpotri(N, factor, N));
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            sum = 0;
            for (int k = 0; k < N; k++)
                sum += g[i * N + k] * factor[k * N + j];
            assert_near(sum, i == j, 1e-9, 0);
        }
}

static void test_blas__indefinite_matrix_is_an_error(void **state)
{
    double a[4] = { 1, 2, 2, 1 };

    assert_fails(LEGO_EINVAL, lg_dpotrf(2, a, 2));
    assert_says("positive definite");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blas__gemm_in_every_transposition),
        cmocka_unit_test(test_blas__syrk_factor_solve_and_invert),
        cmocka_unit_test(test_blas__indefinite_matrix_is_an_error),
    };
    return cmocka_run_group_tests_name("blas", tests, NULL, NULL);
}
