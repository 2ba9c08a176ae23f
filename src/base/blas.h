/* Dense linear algebra, the only user of OpenBLAS and LAPACK. Row-major. Offline only. */
#ifndef LG_BASE_BLAS_H
#define LG_BASE_BLAS_H

#include "base/status.h"

void lg_blas_set_threads(int n_threads);

/* C (m,n) = alpha * op(A) op(B) + beta * C; op(A) is (m,k), op(B) is (k,n). */
void lg_sgemm(int trans_a, int trans_b, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
              const float *b, int64_t ldb, float beta, float *c, int64_t ldc);
void lg_dgemm(int trans_a, int trans_b, int64_t m, int64_t n, int64_t k, double alpha, const double *a, int64_t lda,
              const double *b, int64_t ldb, double beta, double *c, int64_t ldc);
/* Upper triangle of C (n,n) = alpha * A^T A + beta * C for A (k,n). */
void lg_ssyrk(int64_t n, int64_t k, float alpha, const float *a, int64_t lda, float beta, float *c, int64_t ldc);
/* Cholesky of a symmetric positive definite (n,n), lower triangle in place; LEGO_EINVAL if it is not. */
lego_status lg_dpotrf(int64_t n, double *a, int64_t lda);
/* Solve A X = B with the factor of lg_dpotrf; B (n,m) in place. */
lego_status lg_dpotrs(int64_t n, int64_t m, const double *factor, int64_t lda, double *b, int64_t ldb);
/* Inverse from the factor, full symmetric matrix in place. */
lego_status lg_dpotri(int64_t n, double *factor, int64_t lda);
/* B (n,m) = L^-1 B for the lower triangular L (n,n). */
void lg_dtrsm_lower(int64_t n, int64_t m, const double *l, int64_t ldl, double *b, int64_t ldb);

#endif
