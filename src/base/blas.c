/* OpenBLAS behind row-major calls.
 *
 * LAPACK is column-major: a row-major lower triangle is its upper one ('U'), and a row-major right-hand side B (n,m) is
 * its transpose, so systems are solved from the other side with trsm instead of potrs. Debian's package has the Fortran
 * LAPACK symbols without lapacke.h. */
#include "base/blas.h"

#include <cblas.h>
#include <limits.h>

extern void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info);
extern void dpotri_(const char *uplo, const int *n, double *a, const int *lda, int *info);
extern void openblas_set_num_threads(int n_threads);

void lg_blas_set_threads(int n_threads)
{
    openblas_set_num_threads(n_threads > 0 ? n_threads : 1);
}

static CBLAS_TRANSPOSE transposed(int trans)
{
    return trans ? CblasTrans : CblasNoTrans;
}

void lg_sgemm(int trans_a, int trans_b, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
              const float *b, int64_t ldb, float beta, float *c, int64_t ldc)
{
    cblas_sgemm(CblasRowMajor, transposed(trans_a), transposed(trans_b), (blasint)m, (blasint)n, (blasint)k, alpha, a,
                (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}

void lg_dgemm(int trans_a, int trans_b, int64_t m, int64_t n, int64_t k, double alpha, const double *a, int64_t lda,
              const double *b, int64_t ldb, double beta, double *c, int64_t ldc)
{
    cblas_dgemm(CblasRowMajor, transposed(trans_a), transposed(trans_b), (blasint)m, (blasint)n, (blasint)k, alpha, a,
                (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}

void lg_ssyrk(int64_t n, int64_t k, float alpha, const float *a, int64_t lda, float beta, float *c, int64_t ldc)
{
    cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, (blasint)n, (blasint)k, alpha, a, (blasint)lda, beta, c,
                (blasint)ldc);
}

static lego_status check_size(int64_t n)
{
    if (n < 0 || n > INT_MAX)
        return lg_error(LEGO_EINVAL, "a matrix of %lld rows is too large", (long long)n);
    return LEGO_OK;
}

lego_status lg_dpotrf(int64_t n, double *a, int64_t lda)
{
    int rows = (int)n, stride = (int)lda, info = 0;
    lego_status status = check_size(n);

    if (status != LEGO_OK)
        return status;
    dpotrf_("U", &rows, a, &stride, &info);
    if (info != 0)
        return lg_error(LEGO_EINVAL, "Cholesky: the (%lld,%lld) matrix is not positive definite (minor %d)",
                        (long long)n, (long long)n, info);
    return LEGO_OK;
}

lego_status lg_dpotrs(int64_t n, int64_t m, const double *factor, int64_t lda, double *b, int64_t ldb)
{
    cblas_dtrsm(CblasRowMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, (blasint)n, (blasint)m, 1.0, factor,
                (blasint)lda, b, (blasint)ldb);
    cblas_dtrsm(CblasRowMajor, CblasLeft, CblasLower, CblasTrans, CblasNonUnit, (blasint)n, (blasint)m, 1.0, factor,
                (blasint)lda, b, (blasint)ldb);
    return LEGO_OK;
}

lego_status lg_dpotri(int64_t n, double *factor, int64_t lda)
{
    int rows = (int)n, stride = (int)lda, info = 0;
    lego_status status = check_size(n);

    if (status != LEGO_OK)
        return status;
    dpotri_("U", &rows, factor, &stride, &info);
    if (info != 0)
        return lg_error(LEGO_EINVAL, "Cholesky: the factor of order %lld is singular at %d", (long long)n, info);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i + 1; j < n; j++)
            factor[i * lda + j] = factor[j * lda + i];
    return LEGO_OK;
}

void lg_dtrsm_lower(int64_t n, int64_t m, const double *l, int64_t ldl, double *b, int64_t ldb)
{
    cblas_dtrsm(CblasRowMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, (blasint)n, (blasint)m, 1.0, l,
                (blasint)ldl, b, (blasint)ldb);
}
