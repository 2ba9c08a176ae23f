/* The mathematics of reconstruction against brute force: moments, elimination, re-fit, activation-aware rounds.
 * The oracle solves every sub-problem from scratch by Gaussian elimination on its own normal equations. */
#include <math.h>

#include "base/rng.h"
#include "prune/reconstruct_rows.h"
#include "support/support.h"

/* ---------------------------------------------------------------- oracle */

/* Solve A X = B for dense A (n,n), B (n,m), by Gaussian elimination with pivoting; both are overwritten. */
static void gauss(double *a, double *b, int64_t n, int64_t m)
{
    for (int64_t c = 0; c < n; c++) {
        int64_t pivot = c;

        for (int64_t i = c + 1; i < n; i++)
            if (fabs(a[i * n + c]) > fabs(a[pivot * n + c]))
                pivot = i;
        for (int64_t j = 0; j < n; j++) {
            double swap = a[c * n + j];

            a[c * n + j] = a[pivot * n + j];
            a[pivot * n + j] = swap;
        }
        for (int64_t j = 0; j < m; j++) {
            double swap = b[c * m + j];

            b[c * m + j] = b[pivot * m + j];
            b[pivot * m + j] = swap;
        }
        for (int64_t i = 0; i < n; i++) {
            double f = a[i * n + c] / a[c * n + c];

            if (i == c || f == 0.0)
                continue;
            for (int64_t j = c; j < n; j++)
                a[i * n + j] -= f * a[c * n + j];
            for (int64_t j = 0; j < m; j++)
                b[i * m + j] -= f * b[c * m + j];
        }
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < m; j++)
            b[i * m + j] /= a[i * n + i];
}

/* Rows with correlated columns, targets from hidden weights and noise, all seeded. */
typedef struct data {
    int64_t rows, n, m;
    double *x, *t, *w0;
    int32_t *unit;
} data;

static data data_make(int64_t rows, int64_t n, int64_t m, double mean, double noise, uint64_t seed)
{
    data d = { rows, n, m, lg_calloc((size_t)(rows * n), sizeof(double)), lg_calloc((size_t)(rows * m), sizeof(double)),
               lg_calloc((size_t)(n * m), sizeof(double)), lg_calloc((size_t)n, sizeof(int32_t)) };
    double *mix = lg_calloc((size_t)(n * n), sizeof(double)), *z = lg_calloc((size_t)n, sizeof(double));
    lg_rng rng;

    lg_rng_init(&rng, seed, 0);
    for (int64_t i = 0; i < n * n; i++)
        mix[i] = lg_rng_normal(&rng) / sqrt((double)n);
    for (int64_t i = 0; i < n * m; i++)
        d.w0[i] = lg_rng_normal(&rng);
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < n; j++)
            z[j] = lg_rng_normal(&rng);
        for (int64_t j = 0; j < n; j++) {
            double sum = mean + z[j] * 0.5;

            for (int64_t p = 0; p < n; p++)
                sum += mix[p * n + j] * z[p];
            d.x[i * n + j] = (float)sum;
        }
        for (int64_t k = 0; k < m; k++) {
            double sum = 0.3 + noise * lg_rng_normal(&rng);

            for (int64_t j = 0; j < n; j++)
                sum += d.x[i * n + j] * d.w0[j * m + k];
            d.t[i * m + k] = (float)sum;
        }
    }
    lg_free(mix);
    lg_free(z);
    return d;
}

static void data_free(data *d)
{
    lg_free(d->x);
    lg_free(d->t);
    lg_free(d->w0);
    lg_free(d->unit);
}

static double column_mean(const double *values, int64_t rows, int64_t n, int64_t j)
{
    double sum = 0.0;

    for (int64_t i = 0; i < rows; i++)
        sum += values[i * n + j];
    return sum / (double)rows;
}

/* Best W (n,m) with zeros in the columns that `live` leaves out, from the rows themselves; returns the objective
 * tr(R^T E R) with root (m,r), NULL = identity. */
static double solve(double *w, const data *d, const uint8_t *live, double ridge, const double *root, int64_t r)
{
    const int64_t n = d->n, m = d->m;
    double *g = lg_calloc((size_t)(n * n), sizeof(double)), *b = lg_calloc((size_t)(n * m), sizeof(double));
    double *mx = lg_calloc((size_t)n, sizeof(double)), *mt = lg_calloc((size_t)m, sizeof(double));
    double *e = lg_calloc((size_t)m, sizeof(double)), total = 0.0;
    int64_t *at = lg_calloc((size_t)n, sizeof(int64_t)), k = 0;

    for (int64_t j = 0; j < n; j++) {
        mx[j] = column_mean(d->x, d->rows, n, j);
        if (live[j])
            at[k++] = j;
    }
    for (int64_t o = 0; o < m; o++)
        mt[o] = column_mean(d->t, d->rows, m, o);
    for (int64_t a = 0; a < k; a++) {
        for (int64_t c = 0; c < k; c++)
            for (int64_t i = 0; i < d->rows; i++)
                g[a * k + c] += (d->x[i * n + at[a]] - mx[at[a]]) * (d->x[i * n + at[c]] - mx[at[c]]) / (double)d->rows;
        g[a * k + a] += ridge;
        for (int64_t o = 0; o < m; o++) {
            for (int64_t i = 0; i < d->rows; i++)
                b[a * m + o] += (d->x[i * n + at[a]] - mx[at[a]]) * (d->t[i * m + o] - mt[o]) / (double)d->rows;
            b[a * m + o] += ridge * d->w0[at[a] * m + o];
        }
    }
    gauss(g, b, k, m);
    memset(w, 0, sizeof(*w) * (size_t)(n * m));
    for (int64_t a = 0; a < k; a++)
        memcpy(w + at[a] * m, b + a * m, sizeof(*w) * (size_t)m);
    for (int64_t i = 0; i < d->rows + n; i++) { /* rows, then the ridge's n rows */
        double scale = i < d->rows ? 1.0 / (double)d->rows : ridge;

        for (int64_t o = 0; o < m; o++) {
            if (i < d->rows) {
                e[o] = d->t[i * m + o] - mt[o];
                for (int64_t j = 0; j < n; j++)
                    e[o] -= (d->x[i * n + j] - mx[j]) * w[j * m + o];
            } else {
                e[o] = w[(i - d->rows) * m + o] - d->w0[(i - d->rows) * m + o];
            }
        }
        for (int64_t q = 0; q < (root ? r : m); q++) {
            double sum = 0.0;

            for (int64_t o = 0; root && o < m; o++)
                sum += e[o] * root[o * r + q];
            total += scale * (root ? sum * sum : e[q] * e[q]);
        }
    }
    lg_free(g);
    lg_free(b);
    lg_free(mx);
    lg_free(mt);
    lg_free(e);
    lg_free(at);
    return total;
}

static double cost_without(const data *d, const uint8_t *gone_units, double ridge, const double *root, int64_t r)
{
    uint8_t *live = lg_calloc((size_t)d->n, 1);
    double *w = lg_calloc((size_t)(d->n * d->m), sizeof(double)), objective = 0.0;

    for (int64_t j = 0; j < d->n; j++)
        live[j] = d->unit[j] < 0 || !gone_units[d->unit[j]];
    objective = solve(w, d, live, ridge, root, r);
    lg_free(live);
    lg_free(w);
    return objective;
}

static lg_moments moments_of(const data *d)
{
    lg_moments moments;
    const int64_t chunk = 100;
    float *x = lg_calloc((size_t)(chunk * d->n), sizeof(float)), *t = lg_calloc((size_t)(chunk * d->m), sizeof(float));

    assert_ok(lg_moments_init(&moments, d->n, d->m));
    for (int64_t first = 0; first < d->rows; first += chunk) {
        const int64_t count = d->rows - first < chunk ? d->rows - first : chunk;

        for (int64_t i = 0; i < count * d->n; i++)
            x[i] = (float)d->x[first * d->n + i];
        for (int64_t i = 0; i < count * d->m; i++)
            t[i] = (float)d->t[first * d->m + i];
        lg_moments_add(&moments, x, t, count, 2.5);
    }
    assert_ok(lg_moments_finish(&moments));
    lg_free(x);
    lg_free(t);
    return moments;
}

/* ---------------------------------------------------------------- moments */

static void test_moments__are_those_of_the_rows_whatever_their_mean(void **state)
{
    (void)state;
    for (int trial = 0; trial < 3; trial++) {
        data d = data_make(533, 150, 7, trial == 2 ? 1000.0 : (double)trial, 0.1, 11);
        lg_moments moments = moments_of(&d);

        for (int64_t a = 0; a < d.n; a += 13)
            for (int64_t b = 0; b < d.n; b += 7) {
                const double ma = column_mean(d.x, d.rows, d.n, a), mb = column_mean(d.x, d.rows, d.n, b);
                double want = 0.0;

                for (int64_t i = 0; i < d.rows; i++)
                    want += (d.x[i * d.n + a] - ma) * (d.x[i * d.n + b] - mb) / (double)d.rows;
                assert_near(moments.xx[a * d.n + b], want, 1e-5, 0.0);
                assert_near(moments.mean[a], ma, 1e-6 * (1.0 + fabs(ma)), 0.0);
            }
        lg_moments_dispose(&moments);
        data_free(&d);
    }
}

static void test_moments__refuse_what_is_not_finite(void **state)
{
    lg_moments moments;
    float x[4] = { 1.0f, NAN, 2.0f, 3.0f }, t[2] = { 0.0f, 1.0f };

    (void)state;
    assert_ok(lg_moments_init(&moments, 2, 1));
    assert_fails(LEGO_EINVAL, lg_moments_finish(&moments)); /* no rows */
    lg_moments_add(&moments, x, t, 2, 1.0);
    assert_fails(LEGO_EINVAL, lg_moments_finish(&moments));
    assert_says("NaN");
    lg_moments_dispose(&moments);
}

/* ---------------------------------------------------------------- elimination */

/* Remove unit after unit by trying every one and solving anew; compare order and objective with lg_eliminate. */
static void compare_with_brute_force(data *d, int32_t n_problems, int32_t n_units, const double *root, int64_t r)
{
    lg_problem problems[2];
    lg_moments moments[2];
    int32_t *level_of = lg_calloc((size_t)n_units, sizeof(int32_t)), *class_of = lg_calloc((size_t)n_units, 4);
    int64_t *keep = lg_calloc((size_t)n_units, sizeof(int64_t));
    double *raise = lg_calloc((size_t)n_units, sizeof(double)), start = 0.0;
    uint8_t *gone = lg_calloc((size_t)n_units, 1);
    const lg_quota quota = { n_units, 1, n_units - 1, class_of, keep };

    for (int32_t p = 0; p < n_problems; p++) {
        moments[p] = moments_of(&d[p]);
        problems[p] = (lg_problem){ d[p].n, d[p].m, moments[p].xx, moments[p].xt, d[p].w0, d[p].unit, root, r, 0.05 };
        start += cost_without(&d[p], gone, 0.05, root, r);
    }
    for (int32_t l = 0; l < n_units - 1; l++)
        keep[l] = n_units - 1 - l;
    assert_ok(lg_eliminate(level_of, raise, problems, n_problems, &quota));
    for (int32_t l = 0; l < n_units - 1; l++) {
        double best = INFINITY;
        int32_t unit = -1;

        for (int32_t u = 0; u < n_units; u++) {
            double sum = 0.0;

            if (gone[u])
                continue;
            gone[u] = 1;
            for (int32_t p = 0; p < n_problems; p++)
                sum += cost_without(&d[p], gone, 0.05, root, r);
            gone[u] = 0;
            if (sum < best) {
                best = sum;
                unit = u;
            }
        }
        assert_int_equal(level_of[unit], l);
        gone[unit] = 1;
        assert_near(raise[l], best - start, 1e-4 * (best - start) + 1e-5, 0.0);
    }
    for (int32_t p = 0; p < n_problems; p++)
        lg_moments_dispose(&moments[p]);
    lg_free(level_of);
    lg_free(class_of);
    lg_free(keep);
    lg_free(raise);
    lg_free(gone);
}

static void test_eliminate__is_greedy_by_the_true_rise_of_the_error(void **state)
{
    data d = data_make(400, 24, 5, 1.0, 0.5, 3);

    (void)state;
    for (int32_t j = 0; j < 24; j++)
        d.unit[j] = j / 3;
    compare_with_brute_force(&d, 1, 8, NULL, 0);
    data_free(&d);
}

static void test_eliminate__weighs_outputs_by_the_root(void **state)
{
    data d = data_make(300, 18, 4, 0.0, 0.5, 5);
    double root[4 * 3];
    lg_rng rng;

    (void)state;
    lg_rng_init(&rng, 9, 9);
    for (int i = 0; i < 12; i++)
        root[i] = lg_rng_normal(&rng);
    for (int32_t j = 0; j < 18; j++) /* scattered, of unequal size, some columns of nobody */
        d.unit[j] = j % 7 - 1;
    compare_with_brute_force(&d, 1, 6, root, 3);
    data_free(&d);
}

static void test_eliminate__adds_the_errors_of_all_consumers(void **state)
{
    data d[2] = { data_make(300, 12, 3, 0.0, 0.2, 6), data_make(350, 14, 3, 0.5, 0.2, 7) };

    (void)state;
    for (int32_t j = 0; j < 12; j++)
        d[0].unit[j] = j / 2;
    for (int32_t j = 0; j < 14; j++) /* units 4 and 5 have no column here */
        d[1].unit[j] = j < 4 ? j : j < 8 ? -1 : j % 4;
    compare_with_brute_force(d, 2, 6, NULL, 0);
    data_free(&d[0]);
    data_free(&d[1]);
}

/* Many columns: pending updates and packing are at work. The rise must be that of solving for the final set. */
static void test_eliminate__stays_exact_over_many_removals(void **state)
{
    data d = data_make(500, 160, 3, 0.0, 0.3, 8);
    lg_moments moments = moments_of(&d);
    int32_t level_of[80], class_of[80] = { 0 };
    int64_t keep[3] = { 60, 31, 4 }, count[4] = { 0 };
    double raise[3];
    uint8_t gone[80] = { 0 }, none[80] = { 0 };
    const lg_quota quota = { 80, 1, 3, class_of, keep };
    const lg_problem problem = { 160, 3, moments.xx, moments.xt, d.w0, d.unit, NULL, 0, 0.01 };

    (void)state;
    for (int32_t j = 0; j < 160; j++)
        d.unit[j] = j / 2;
    assert_ok(lg_eliminate(level_of, raise, &problem, 1, &quota));
    for (int32_t u = 0; u < 80; u++)
        count[level_of[u]]++;
    assert_int_equal(count[0], 20);
    assert_int_equal(count[1], 29);
    assert_int_equal(count[2], 27);
    assert_int_equal(count[3], 4);
    for (int32_t l = 0; l < 3; l++) {
        double want = 0.0;

        for (int32_t u = 0; u < 80; u++)
            gone[u] = level_of[u] <= l;
        want = cost_without(&d, gone, 0.01, NULL, 0) - cost_without(&d, none, 0.01, NULL, 0);
        assert_near(raise[l], want, 1e-3 * want + 1e-5, 0.0);
    }
    lg_moments_dispose(&moments);
    data_free(&d);
}

static void test_eliminate__keeps_every_class_at_its_quota(void **state)
{
    data d = data_make(300, 24, 2, 0.0, 0.2, 12);
    lg_moments moments = moments_of(&d);
    int32_t level_of[24], class_of[24];
    int64_t keep[2 * 4] = { 4, 4, 4, 6, 1, 1, 1, 6 };
    const lg_quota quota = { 24, 4, 2, class_of, keep };
    const lg_problem problem = { 24, 2, moments.xx, moments.xt, d.w0, d.unit, NULL, 0, 0.01 };

    (void)state;
    for (int32_t j = 0; j < 24; j++) {
        d.unit[j] = j;
        class_of[j] = j / 6;
    }
    assert_ok(lg_eliminate(level_of, NULL, &problem, 1, &quota));
    for (int32_t c = 0; c < 4; c++)
        for (int32_t l = 0; l < 2; l++) {
            int64_t kept = 0;

            for (int32_t u = 0; u < 24; u++)
                kept += class_of[u] == c && level_of[u] > l;
            assert_int_equal(kept, keep[l * 4 + c]);
        }
    keep[4] = 5; /* wider than the level before */
    assert_fails(LEGO_EINVAL, lg_eliminate(level_of, NULL, &problem, 1, &quota));
    lg_moments_dispose(&moments);
    data_free(&d);
}

static void test_eliminate__a_duplicate_costs_nothing(void **state)
{
    data d = data_make(400, 12, 4, 0.0, 0.0, 21);
    int32_t level_of[12], class_of[12] = { 0 };
    int64_t keep = 11;
    double raise = 0.0;
    const lg_quota quota = { 12, 1, 1, class_of, &keep };
    lg_moments moments;

    (void)state;
    for (int64_t i = 0; i < d.rows; i++) { /* column 7 doubles column 2; t is again an exact function of x */
        d.x[i * 12 + 7] = d.x[i * 12 + 2];
        for (int64_t k = 0; k < 4; k++) {
            d.t[i * 4 + k] = 0.0;
            for (int64_t j = 0; j < 12; j++)
                d.t[i * 4 + k] += d.x[i * 12 + j] * d.w0[j * 4 + k];
        }
    }
    for (int32_t j = 0; j < 12; j++)
        d.unit[j] = j;
    moments = moments_of(&d);
    {
        const lg_problem problem = { 12, 4, moments.xx, moments.xt, d.w0, d.unit, NULL, 0, 1e-6 };

        assert_ok(lg_eliminate(level_of, &raise, &problem, 1, &quota));
    }
    assert_true(level_of[2] == 0 || level_of[7] == 0);
    assert_true(raise < 1e-4);
    lg_moments_dispose(&moments);
    data_free(&d);
}

static void test_eliminate__singular_covariance_is_reported(void **state)
{
    const double xx[4] = { 1.0, 1.0, 1.0, 1.0 }, xt[2] = { 1.0, 1.0 }, w0[2] = { 0.0, 0.0 };
    const int32_t unit[2] = { 0, 1 };
    int32_t level_of[2], class_of[2] = { 0 };
    int64_t keep = 1;
    const lg_quota quota = { 2, 1, 1, class_of, &keep };
    const lg_problem problem = { 2, 1, xx, xt, w0, unit, NULL, 0, -1.0 };

    (void)state;
    assert_fails(LEGO_EBACKEND, lg_eliminate(level_of, NULL, &problem, 1, &quota));
}

static void test_eliminate__survives_lack_of_memory(void **state)
{
    data d = data_make(100, 12, 2, 0.0, 0.1, 2);
    lg_moments moments = moments_of(&d);
    int32_t level_of[6], class_of[6] = { 0 };
    int64_t keep = 2;
    const lg_quota quota = { 6, 1, 1, class_of, &keep };
    const lg_problem problem = { 12, 2, moments.xx, moments.xt, d.w0, d.unit, NULL, 0, 0.01 };
    lego_status status = LEGO_ENOMEM;

    (void)state;
    for (int32_t j = 0; j < 12; j++)
        d.unit[j] = j / 2;
    for (long n = 0; status != LEGO_OK; n++) {
        (void)lg_alloc_fail_after(n);
        status = lg_eliminate(level_of, NULL, &problem, 1, &quota);
        (void)lg_alloc_fail_after(-1);
        assert_true(status == LEGO_OK || status == LEGO_ENOMEM);
    }
    lg_moments_dispose(&moments);
    data_free(&d);
}

/* ---------------------------------------------------------------- re-fit */

static void test_fit__solves_the_normal_equations_of_the_kept_columns(void **state)
{
    data d = data_make(400, 20, 5, 2.0, 0.4, 31);
    lg_moments moments = moments_of(&d);
    double *w = lg_calloc(20 * 5, sizeof(double));
    uint8_t live[20] = { 0 };
    int32_t kept[9];
    lg_fit fit;

    (void)state;
    for (int32_t i = 0; i < 9; i++) {
        kept[i] = 2 * i + 1;
        live[kept[i]] = 1;
    }
    (void)solve(w, &d, live, 0.1, NULL, 0);
    assert_ok(lg_fit_init(&fit, &moments, kept, 9, d.w0, 0.1));
    assert_int_equal(fit.n_raised, 0);
    for (int32_t i = 0; i < 9; i++)
        for (int64_t k = 0; k < 5; k++)
            assert_near(fit.w[i * 5 + k], w[kept[i] * 5 + k], 1e-5, 0.0);
    for (int64_t k = 0; k < 5; k++) { /* the mean prediction is the mean target */
        double mean = fit.bias[k];

        for (int32_t i = 0; i < 9; i++)
            mean += fit.w[i * 5 + k] * column_mean(d.x, d.rows, d.n, kept[i]);
        assert_near(mean, column_mean(d.t, d.rows, d.m, k), 1e-4, 0.0);
    }
    lg_fit_dispose(&fit);
    lg_moments_dispose(&moments);
    data_free(&d);
    lg_free(w);
}

static void test_fit__with_nothing_removed_the_weights_stay(void **state)
{
    data d = data_make(60, 80, 3, 1.0, 0.0, 33); /* fewer rows than columns: only the ridge makes it solvable */
    lg_moments moments = moments_of(&d);
    int32_t kept[80];
    lg_fit fit;

    (void)state;
    for (int32_t i = 0; i < 80; i++)
        kept[i] = i;
    assert_ok(lg_fit_init(&fit, &moments, kept, 80, d.w0, lg_ridge(moments.xx, 80, 1e-3)));
    for (int64_t i = 0; i < 80 * 3; i++)
        assert_near(fit.w[i], d.w0[i], 1e-3, 0.0);
    for (int64_t k = 0; k < 3; k++)
        assert_near(fit.bias[k], 0.3, 1e-2, 0.0);
    lg_fit_dispose(&fit);
    lg_moments_dispose(&moments);
    data_free(&d);
}

static void test_fit__raises_the_ridge_until_it_can_solve(void **state)
{
    data d = data_make(50, 4, 2, 0.0, 0.1, 34);
    lg_moments moments = moments_of(&d);
    int32_t kept[4] = { 0, 1, 2, 3 };
    lg_fit fit;

    (void)state;
    for (int64_t i = 0; i < 16; i++)
        moments.xx[i] = i % 5 == 0 ? -0.5 : 0.0; /* as rounding might leave it, exaggerated */
    assert_ok(lg_fit_init(&fit, &moments, kept, 4, d.w0, 0.1));
    assert_int_equal(fit.n_raised, 1);
    assert_near(fit.ridge, 1.0, 1e-12, 0.0);
    lg_fit_dispose(&fit);
    for (int64_t i = 0; i < 16; i++)
        moments.xx[i] = i % 5 == 0 ? -1e300 : 0.0;
    assert_fails(LEGO_EBACKEND, lg_fit_init(&fit, &moments, kept, 4, d.w0, 0.1));
    lg_moments_dispose(&moments);
    data_free(&d);
}

/* ---------------------------------------------------------------- rows */

static const lg_window conv_window = { 5, 0, 0, { 1, 7, 6 }, { 1, 4, 3 }, { 1, 3, 2 }, { 1, 2, 2 }, { 1, 1, 2 }, { 0, 1, 1 } };

static float pixel(int64_t image, int64_t c, int64_t y, int64_t x)
{
    return (float)(image * 1000 + c * 100 + y * 10 + x + 1);
}

static void test_rows__are_the_windows_of_a_convolution(void **state)
{
    const lg_window *w = &conv_window;
    const int32_t channels[2] = { 1, 4 };
    const lg_slice slice = { channels, 2, 0, 1 };
    lg_sample sample;
    lg_rows rows;
    float *pixels = lg_calloc(3 * 5 * 7 * 6, sizeof(float)), x[12];

    (void)state;
    assert_ok(lg_sample_init(&sample, w, 1, 3, 2, 7));
    assert_int_equal(sample.n_rows, 18);
    assert_ok(lg_rows_init(&rows, &sample, 1));
    rows.inputs[0] = rows.owned[0] = pixels;
    for (int64_t i = 0; i < 3 * 5 * 7 * 6; i++)
        pixels[i] = pixel(i / 210, i / 42 % 5, i / 6 % 7, i % 6);
    for (int64_t i = 0; i < sample.n_rows; i++) {
        const int64_t oy = sample.position[i] / 3, ox = sample.position[i] % 3;

        assert_int_equal((sample.image[i] * 12 + sample.position[i]) / 2, i); /* one of every two positions */
        lg_rows_read(x, &rows, 0, i, 1, &slice);
        for (int64_t c = 0; c < 2; c++)
            for (int64_t ky = 0; ky < 3; ky++)
                for (int64_t kx = 0; kx < 2; kx++) {
                    const int64_t y = oy * 2 - 1 + ky, xx = ox * 2 - 1 + 2 * kx;
                    const int inside = y >= 0 && y < 7 && xx >= 0 && xx < 6;

                    assert_near(x[c * 6 + ky * 2 + kx],
                                        inside ? pixel(sample.image[i], channels[c], y, xx) : 0.0f, 0.0, 0.0);
                }
    }
    lg_rows_dispose(&rows);
    lg_sample_dispose(&sample);
}

/* A linear layer on plain rows of `d`, in two sources. */
static lg_rows linear_rows(lg_sample *sample, const data *d, int with_offset, uint64_t seed)
{
    const lg_window window = { d->n, 1, 0, { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 }, { 0, 0, 0 } };
    lg_rows rows;
    lg_rng rng;

    lg_rng_init(&rng, seed, 4);
    assert_ok(lg_sample_init(sample, &window, d->m, d->rows, 1, 0));
    assert_ok(lg_rows_init(&rows, sample, 2));
    for (int32_t s = 0; s < 2; s++) {
        rows.weights[s] = 1.0 + s;
        rows.inputs[s] = rows.owned[s] = lg_calloc((size_t)(d->rows * d->n), sizeof(float));
        for (int64_t i = 0; i < d->rows * d->n; i++)
            rows.owned[s][i] = (float)(d->x[i] + (s ? 0.3 * lg_rng_normal(&rng) : 0.0));
        if (with_offset) {
            rows.offsets[s] = lg_calloc((size_t)(d->rows * d->m), sizeof(float));
            for (int64_t i = 0; i < d->rows * d->m; i++)
                rows.offsets[s][i] = (float)lg_rng_normal(&rng);
        }
    }
    for (int64_t i = 0; i < d->rows * d->m; i++)
        sample->targets[i] = (float)d->t[i];
    return rows;
}

static void test_rows__sharpening_never_raises_the_objective(void **state)
{
    const lg_flat flats[3] = { { 0.0, INFINITY }, { 0.0, 1.5 }, { -INFINITY, INFINITY } };

    (void)state;
    for (int trial = 0; trial < 3; trial++)
        for (int joined = 0; joined < 2; joined++) {
            data d = data_make(600, 16, 6, 0.2, 0.5, 40 + (uint64_t)trial);
            lg_sample sample;
            lg_rows rows = linear_rows(&sample, &d, joined, 5);
            int32_t channels[16], kept[7];
            lg_slice slice = { channels, 16, 0, 6 };
            double objective[9];
            lg_moments moments;
            lg_fit fit;

            for (int32_t i = 0; i < 16; i++)
                channels[i] = i;
            for (int32_t i = 0; i < 7; i++)
                kept[i] = 2 * i;
            assert_ok(lg_rows_moments(&moments, &rows, &slice));
            assert_ok(lg_fit_init(&fit, &moments, kept, 7, d.w0, 0.02));
            slice = (lg_slice){ kept, 7, 0, 6 };
            assert_ok(lg_rows_sharpen(&fit, objective, &rows, &slice, &flats[trial], 8));
            for (int round = 0; round < 8; round++)
                assert_true(objective[round + 1] <= objective[round] * (1.0 + 1e-6));
            if (trial == 0)
                assert_true(objective[8] < objective[0] * 0.97); /* there was something to gain */
            if (trial == 2)
                assert_near(objective[8], objective[0], 1e-5 * objective[0], 0.0); /* and here there was not */
            lg_fit_dispose(&fit);
            lg_moments_dispose(&moments);
            lg_rows_dispose(&rows);
            lg_sample_dispose(&sample);
            data_free(&d);
        }
}

static void test_rows__survive_lack_of_memory(void **state)
{
    data d = data_make(50, 6, 2, 0.0, 0.1, 2);
    lg_sample sample;
    lg_rows rows = linear_rows(&sample, &d, 1, 5);
    const int32_t channels[6] = { 0, 1, 2, 3, 4, 5 };
    const lg_slice slice = { channels, 6, 0, 2 };
    const lg_flat flat = { 0.0, INFINITY };
    lego_status status = LEGO_ENOMEM;

    (void)state;
    for (long n = 0; status != LEGO_OK; n++) {
        lg_moments moments = { 0 };
        lg_fit fit = { 0 };

        (void)lg_alloc_fail_after(n);
        status = lg_rows_moments(&moments, &rows, &slice);
        if (status == LEGO_OK)
            status = lg_fit_init(&fit, &moments, channels, 6, d.w0, 0.1);
        if (status == LEGO_OK)
            status = lg_rows_sharpen(&fit, NULL, &rows, &slice, &flat, 2);
        (void)lg_alloc_fail_after(-1);
        assert_true(status == LEGO_OK || status == LEGO_ENOMEM);
        lg_fit_dispose(&fit);
        lg_moments_dispose(&moments);
    }
    lg_rows_dispose(&rows);
    lg_sample_dispose(&sample);
    data_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moments__are_those_of_the_rows_whatever_their_mean),
        cmocka_unit_test(test_moments__refuse_what_is_not_finite),
        cmocka_unit_test(test_eliminate__is_greedy_by_the_true_rise_of_the_error),
        cmocka_unit_test(test_eliminate__weighs_outputs_by_the_root),
        cmocka_unit_test(test_eliminate__adds_the_errors_of_all_consumers),
        cmocka_unit_test(test_eliminate__stays_exact_over_many_removals),
        cmocka_unit_test(test_eliminate__keeps_every_class_at_its_quota),
        cmocka_unit_test(test_eliminate__a_duplicate_costs_nothing),
        cmocka_unit_test(test_eliminate__singular_covariance_is_reported),
        cmocka_unit_test(test_eliminate__survives_lack_of_memory),
        cmocka_unit_test(test_fit__solves_the_normal_equations_of_the_kept_columns),
        cmocka_unit_test(test_fit__with_nothing_removed_the_weights_stay),
        cmocka_unit_test(test_fit__raises_the_ridge_until_it_can_solve),
        cmocka_unit_test(test_rows__are_the_windows_of_a_convolution),
        cmocka_unit_test(test_rows__sharpening_never_raises_the_objective),
        cmocka_unit_test(test_rows__survive_lack_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
