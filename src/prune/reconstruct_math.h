/* The numbers of reconstruction: moments of rows, elimination of units, least-squares re-fits. Knows nothing of graphs.
 *
 * Everywhere: x is a row of what a layer reads (n columns), t the row that its output should be (m columns), W (n,m)
 * and bias (m) its weights, so that t ~ x W + bias. Matrices are dense, row-major; statistics are double. */
#ifndef LG_PRUNE_RECONSTRUCT_MATH_H
#define LG_PRUNE_RECONSTRUCT_MATH_H

#include "base/status.h"

/* --- moments (reconstruct_moments.c) --- */

/* Weighted means and covariances of x and t. Rows come in chunks of float; sums are kept in double. */
typedef struct lg_moments {
    int64_t n, m;
    double weight;  /* sum of the rows' weights */
    float *shift;   /* n + m: provisional means (of the first chunk), taken off before products lose digits */
    double *mean;   /* n + m: of x, then of t; before lg_moments_finish() the weighted sums of what is left */
    double *xx;     /* (n,n); before finish only the panels on and above the diagonal */
    double *xt;     /* (n,m) */
    double *tt;     /* m: variances of t */
    float *panel;   /* scratch of one product */
} lg_moments;

lego_status lg_moments_init(lg_moments *moments, int64_t n, int64_t m);
void lg_moments_dispose(lg_moments *moments);
/* Bytes that moments of this size take. */
size_t lg_moments_bytes(int64_t n, int64_t m);
/* Add rows x (count,n) and t (count,m), each with this weight. Both buffers are overwritten. */
void lg_moments_add(lg_moments *moments, float *x, float *t, int64_t count, double weight);
/* Turn sums into means and covariances; add nothing afterwards. LEGO_EINVAL if a NaN or an infinity came in. */
lego_status lg_moments_finish(lg_moments *moments);
/* The ridge for a share of the mean variance: share * trace(xx) / n, or 1 where nothing ever varies. */
double lg_ridge(const double *xx, int64_t n, double share);

/* --- elimination (reconstruct_eliminate.c) --- */

/* One least-squares problem whose columns may go: min over W of
 *   tr(R^T E R),  E = cov(t - x W) + ridge (W - W0)^T (W - W0),  R = root. */
typedef struct lg_problem {
    int64_t n, m;
    const double *xx, *xt; /* covariances */
    const double *w0;      /* (n,m): what the ridge shrinks to */
    const int32_t *unit;   /* n: the unit that a column belongs to, or -1: it always stays */
    const double *root;    /* (m,n_root): how much errors of the outputs matter; NULL: all alike */
    int64_t n_root;
    double ridge;
} lg_problem;

/* Which units stay, by level: units are of classes (0 .. n_classes-1), and level l keeps keep[l * n_classes + c] units
 * of class c. Levels are nested, so keep must not rise from one level to the next. */
typedef struct lg_quota {
    int32_t n_units, n_classes, n_levels;
    const int32_t *class_of; /* n_units */
    const int64_t *keep;
} lg_quota;

/**
 * Structured backward elimination (optimal brain surgeon on groups of columns; Hassibi & Stork 1993, Kwon et al. 2022):
 * remove, one by one, the unit whose removal, with everything that stays re-fitted, raises the sum of the problems'
 * objectives least.
 *
 * @param level_of  n_units: the first level that does not have the unit; n_levels for those that all levels keep
 * @param raise     n_levels: by how much the objective has risen at each level; may be NULL
 * @return LEGO_EBACKEND if a covariance is not positive definite with this ridge (raise it and try again)
 */
lego_status lg_eliminate(int32_t *level_of, double *raise, const lg_problem *problems, int32_t n_problems,
                         const lg_quota *quota);

/* --- re-fit (reconstruct_fit.c) --- */

/* The kept columns' ridge system, factored once, solved for as many targets as needed. */
typedef struct lg_fit {
    int64_t n, m;       /* kept columns, outputs */
    double ridge;       /* as used: raised tenfold where the first try was not positive definite */
    int32_t n_raised;   /* how often */
    double *factor;     /* (n,n), Cholesky of xx[kept,kept] + ridge I */
    double *w0;         /* (n,m), kept rows */
    double *mean;       /* n: of the kept columns */
    double *w;          /* (n,m), the solution */
    double *bias;       /* m */
} lg_fit;

/* Factor for the columns `kept` (ascending, n_kept) of `moments` and solve for its own targets. */
lego_status lg_fit_init(lg_fit *fit, const lg_moments *moments, const int32_t *kept, int64_t n_kept, const double *w0,
                        double ridge);
void lg_fit_dispose(lg_fit *fit);
/* Solve for other targets: xt (n,m) = cov(x, t) of the kept columns, mean_t (m). */
void lg_fit_solve(lg_fit *fit, const double *xt, const double *mean_t);

#endif
