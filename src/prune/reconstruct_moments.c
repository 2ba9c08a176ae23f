/* Means and covariances of a layer's rows.
 *
 * Flow: rows of float are cut out of activations (reconstruct_rows.c), added here chunk by chunk, and the finished
 * covariances go to elimination and re-fit. Products of a chunk are formed in float, at full speed, and added up in
 * double. A float product of 2,048 rows carries seven digits of *uncentred* data; where the mean is large against the
 * deviation that leaves few for the covariance, so every row has the first chunk's mean taken off before it is
 * multiplied, and the small rest of the mean is corrected in double at the end.
 *
 * Newcomers: xx is computed in panels of columns, on and above the diagonal only, so that the scratch is a panel and
 * not a second (n,n) matrix: at 512 channels x 9 that would be another 85 MB. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/blas.h"
#include "prune/reconstruct_math.h"

#define PANEL 128

lego_status lg_moments_init(lg_moments *moments, int64_t n, int64_t m)
{
    lego_status status = LEGO_OK;

    memset(moments, 0, sizeof(*moments));
    if (n < 1 || m < 1 || n > INT32_MAX || m > INT32_MAX)
        return lg_error(LEGO_EINVAL, "statistics of %lld columns and %lld outputs", (long long)n, (long long)m);
    moments->n = n;
    moments->m = m;
    LG_TRY(LG_CALLOC(&moments->shift, n + m));
    LG_TRY(LG_CALLOC(&moments->mean, n + m));
    LG_TRY(LG_CALLOC(&moments->xx, n * n));
    LG_TRY(LG_CALLOC(&moments->xt, n * m));
    LG_TRY(LG_CALLOC(&moments->tt, m));
    LG_TRY(LG_CALLOC(&moments->panel, PANEL * (n > m ? n : m)));
done:
    if (status != LEGO_OK)
        lg_moments_dispose(moments);
    return status;
}

void lg_moments_dispose(lg_moments *moments)
{
    lg_free(moments->shift);
    lg_free(moments->mean);
    lg_free(moments->xx);
    lg_free(moments->xt);
    lg_free(moments->tt);
    lg_free(moments->panel);
    memset(moments, 0, sizeof(*moments));
}

size_t lg_moments_bytes(int64_t n, int64_t m)
{
    return sizeof(double) * (size_t)n * (size_t)(n + m) + sizeof(float) * PANEL * (size_t)(n > m ? n : m);
}

/* mean of the columns of rows (count,n) */
static void column_means(float *mean, const float *rows, int64_t count, int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        double sum = 0.0;

        for (int64_t i = 0; i < count; i++)
            sum += rows[i * n + j];
        mean[j] = (float)(sum / (double)count);
    }
}

/* rows -= shift, sums += weight * (what is left) */
static void take_off(float *rows, const float *shift, double *sums, int64_t count, int64_t n, double weight)
{
    for (int64_t i = 0; i < count; i++) {
        float *row = rows + i * n;

        for (int64_t j = 0; j < n; j++) {
            row[j] -= shift[j];
            sums[j] += weight * row[j];
        }
    }
}

/* into (rows,ld)[:, first:] += weight * panel (rows,width) */
static void add_panel(double *into, int64_t ld, const float *panel, int64_t rows, int64_t width, double weight)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < width; j++)
            into[i * ld + j] += weight * panel[i * width + j];
}

void lg_moments_add(lg_moments *moments, float *x, float *t, int64_t count, double weight)
{
    const int64_t n = moments->n, m = moments->m;

    if (count < 1 || !(weight > 0.0))
        return;
    if (moments->weight == 0.0) {
        column_means(moments->shift, x, count, n);
        column_means(moments->shift + n, t, count, m);
    }
    take_off(x, moments->shift, moments->mean, count, n, weight);
    take_off(t, moments->shift + n, moments->mean + n, count, m, weight);
    for (int64_t i = 0; i < count; i++)
        for (int64_t k = 0; k < m; k++)
            moments->tt[k] += weight * t[i * m + k] * t[i * m + k];
    for (int64_t first = 0; first < n; first += PANEL) {
        const int64_t rows = n - first < PANEL ? n - first : PANEL;

        lg_sgemm(1, 0, rows, n - first, count, 1.0f, x + first, n, x + first, n, 0.0f, moments->panel, n - first);
        add_panel(moments->xx + first * n + first, n, moments->panel, rows, n - first, weight);
        lg_sgemm(1, 0, rows, m, count, 1.0f, x + first, n, t, m, 0.0f, moments->panel, m);
        add_panel(moments->xt + first * m, m, moments->panel, rows, m, weight);
    }
    moments->weight += weight * (double)count;
}

static int all_finite(const double *values, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return 0;
    return 1;
}

lego_status lg_moments_finish(lg_moments *moments)
{
    const int64_t n = moments->n, m = moments->m;
    double *mean_x = moments->mean, *mean_t = moments->mean + n;

    if (!(moments->weight > 0.0))
        return lg_error(LEGO_EINVAL, "statistics of no rows");
    for (int64_t j = 0; j < n + m; j++)
        moments->mean[j] /= moments->weight;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = i; j < n; j++) {
            moments->xx[i * n + j] = moments->xx[i * n + j] / moments->weight - mean_x[i] * mean_x[j];
            moments->xx[j * n + i] = moments->xx[i * n + j];
        }
        for (int64_t k = 0; k < m; k++)
            moments->xt[i * m + k] = moments->xt[i * m + k] / moments->weight - mean_x[i] * mean_t[k];
    }
    for (int64_t k = 0; k < m; k++)
        moments->tt[k] = moments->tt[k] / moments->weight - mean_t[k] * mean_t[k];
    for (int64_t j = 0; j < n + m; j++)
        moments->mean[j] += moments->shift[j];
    if (!all_finite(moments->mean, n + m) || !all_finite(moments->xx, n * n) || !all_finite(moments->xt, n * m))
        return lg_error(LEGO_EINVAL, "activations hold a NaN or an infinity");
    return LEGO_OK;
}

double lg_ridge(const double *xx, int64_t n, double share)
{
    double trace = 0.0;

    for (int64_t i = 0; i < n; i++)
        trace += xx[i * n + i];
    return trace > 0.0 ? share * trace / (double)n : 1.0;
}
