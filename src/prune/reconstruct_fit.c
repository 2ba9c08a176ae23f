/* Ridge re-fit of the kept columns, shrinking to the original weights.
 *
 *   W = (xx_SS + ridge I)^-1 (xt_S + ridge W0_S)      bias = mean t - mean x_S W
 *
 * Flow: moments and the kept set in; weights out, which reconstruct_rows.c then sharpens in activation-aware rounds
 * with the same factor (only xt changes). Centring keeps the bias out of the ridge.
 *
 * Newcomers: xx is singular where there are fewer rows than columns (small maps); the ridge is what makes the system
 * solvable then, and shrinking to W0 instead of to zero is what makes the answer good. Should the factorisation fail
 * all the same, the ridge is raised tenfold and the caller reads in n_raised that it was. */
#include <string.h>

#include "base/alloc.h"
#include "base/blas.h"
#include "prune/reconstruct_math.h"

#define MAX_RAISES 8

static void load_system(lg_fit *fit, const lg_moments *moments, const int32_t *kept)
{
    for (int64_t i = 0; i < fit->n; i++) {
        const double *row = moments->xx + kept[i] * moments->n;

        for (int64_t j = 0; j < fit->n; j++)
            fit->factor[i * fit->n + j] = row[kept[j]];
        fit->factor[i * fit->n + i] += fit->ridge;
    }
}

static lego_status factorise(lg_fit *fit, const lg_moments *moments, const int32_t *kept)
{
    for (;;) {
        load_system(fit, moments, kept);
        if (lg_dpotrf(fit->n, fit->factor, fit->n) == LEGO_OK)
            return LEGO_OK;
        if (fit->n_raised == MAX_RAISES)
            return lg_error(LEGO_EBACKEND, "the covariance of %lld kept columns is not positive definite, even with "
                                           "ridge %g", (long long)fit->n, fit->ridge);
        fit->ridge *= 10.0;
        fit->n_raised++;
    }
}

lego_status lg_fit_init(lg_fit *fit, const lg_moments *moments, const int32_t *kept, int64_t n_kept, const double *w0,
                        double ridge)
{
    const int64_t n = moments->n, m = moments->m;
    double *xt = NULL;
    lego_status status = LEGO_OK;

    memset(fit, 0, sizeof(*fit));
    fit->n = n_kept;
    fit->m = m;
    fit->ridge = ridge;
    LG_TRY(LG_CALLOC(&fit->factor, n_kept * n_kept));
    LG_TRY(LG_CALLOC(&fit->w0, n_kept * m));
    LG_TRY(LG_CALLOC(&fit->mean, n_kept));
    LG_TRY(LG_CALLOC(&fit->w, n_kept * m));
    LG_TRY(LG_CALLOC(&fit->bias, m));
    LG_TRY(LG_CALLOC(&xt, n_kept * m));
    for (int64_t i = 0; i < n_kept; i++) {
        fit->mean[i] = moments->mean[kept[i]];
        memcpy(fit->w0 + i * m, w0 + kept[i] * m, sizeof(*w0) * (size_t)m);
        memcpy(xt + i * m, moments->xt + kept[i] * m, sizeof(*xt) * (size_t)m);
    }
    LG_TRY(factorise(fit, moments, kept));
    lg_fit_solve(fit, xt, moments->mean + n);
done:
    lg_free(xt);
    if (status != LEGO_OK)
        lg_fit_dispose(fit);
    return status;
}

void lg_fit_dispose(lg_fit *fit)
{
    lg_free(fit->factor);
    lg_free(fit->w0);
    lg_free(fit->mean);
    lg_free(fit->w);
    lg_free(fit->bias);
    memset(fit, 0, sizeof(*fit));
}

void lg_fit_solve(lg_fit *fit, const double *xt, const double *mean_t)
{
    const int64_t n = fit->n, m = fit->m;

    for (int64_t i = 0; i < n * m; i++)
        fit->w[i] = xt[i] + fit->ridge * fit->w0[i];
    lg_dpotrs(n, m, fit->factor, n, fit->w, m);
    for (int64_t k = 0; k < m; k++) {
        double bias = mean_t[k];

        for (int64_t i = 0; i < n; i++)
            bias -= fit->mean[i] * fit->w[i * m + k];
        fit->bias[k] = bias;
    }
}
