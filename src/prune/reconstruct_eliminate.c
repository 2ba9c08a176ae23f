/* Structured backward elimination: which units to remove, in which order.
 *
 * Flow: covariances of every consumer of a channel group in, the level at which each unit goes out.
 *
 * With G = xx + ridge I, B = xt + ridge W0, H = G^-1 and W = H B R, removing the columns c of a unit and re-fitting the
 * rest raises the objective by tr(W_c^T (H_cc)^-1 W_c) = |L^-1 W_c|^2 where L L^T = H_cc, and leaves
 *   V = L^-1 H_c,:    H <- H - V^T V    W <- W - V^T (L^-1 W_c)
 * (block inversion; optimal brain surgeon of Hassibi & Stork 1993 with units instead of single weights). So one inverse
 * and a chain of rank-|c| updates give every nested set. Errors of several consumers add up: a unit's cost is the sum.
 *
 * Costs need W and the diagonal blocks H_cc only, so these are kept up to date, while H itself is updated for a batch
 * of removals at once (a matrix product at full speed instead of one pass over memory per removal); a removed unit's
 * own rows are brought up to date when it goes.
 *
 * Newcomers: a unit may have several columns (the k x k positions of a channel, the pixels behind a flatten), none in
 * some problems, and columns of -1 belong to channels that nobody may remove. Columns are sorted by unit at the start,
 * so that a unit is a run. Removed runs stay as dead rows and columns until a quarter of the matrix is dead; then it is
 * packed. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/blas.h"
#include "prune/reconstruct_math.h"

#define PENDING 64 /* rows of V that wait before H is updated */

typedef struct run {
    int64_t first, count; /* columns of a unit; count 0 where it has none (any more) */
    double *diagonal;     /* (count,count): H_cc, up to date */
} run;

/* One problem on its way. */
typedef struct state {
    int64_t n, r, n_dead; /* order of h (dead columns included), columns of w */
    int64_t widest, n_pending;
    double *h;            /* (n,n), without the pending updates */
    double *w;            /* (n,r), up to date */
    double *v;            /* (PENDING + widest, n): rows whose V^T V has not been taken off h yet */
    double *diagonals;    /* storage of the runs' */
    run *runs;            /* n_units, and one more: the columns that always stay */
    double *u;            /* (widest, r) = L^-1 W_c */
    double *l;            /* (widest, widest) */
} state;

static void state_dispose(state *s)
{
    lg_free(s->h);
    lg_free(s->w);
    lg_free(s->v);
    lg_free(s->diagonals);
    lg_free(s->runs);
    lg_free(s->u);
    lg_free(s->l);
}

/* Column order by unit, stable, and each unit's run in it; columns of no unit come last. */
static lego_status sort_columns(int32_t *order, state *s, const lg_problem *problem, int32_t n_units)
{
    int64_t next = 0;

    for (int64_t j = 0; j < problem->n; j++) {
        if (problem->unit[j] >= n_units)
            return lg_error(LEGO_EINVAL, "column %lld belongs to unit %d of %d", (long long)j, problem->unit[j],
                            n_units);
        s->runs[problem->unit[j] >= 0 ? problem->unit[j] : n_units].count++;
    }
    for (int32_t u = 0; u <= n_units; u++) {
        s->runs[u].first = next;
        next += s->runs[u].count;
        if (u < n_units && s->runs[u].count > s->widest)
            s->widest = s->runs[u].count;
        s->runs[u].count = 0; /* counted again below, as places are given */
    }
    for (int64_t j = 0; j < problem->n; j++) {
        run *r = &s->runs[problem->unit[j] >= 0 ? problem->unit[j] : n_units];

        order[r->first + r->count++] = (int32_t)j;
    }
    return LEGO_OK;
}

/* H = (xx + ridge I)^-1, W = H (xt + ridge W0) R, columns in the order of `order`. */
static lego_status start_solution(state *s, const lg_problem *problem, const int32_t *order)
{
    const int64_t n = problem->n, m = problem->m;
    double *b = NULL, *hb = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&b, n * m));
    LG_TRY(LG_CALLOC(&hb, n * m));
    for (int64_t i = 0; i < n; i++) {
        const int64_t from = order[i];

        for (int64_t j = 0; j < n; j++)
            s->h[i * n + j] = problem->xx[from * n + order[j]];
        s->h[i * n + i] += problem->ridge;
        for (int64_t k = 0; k < m; k++)
            b[i * m + k] = problem->xt[from * m + k] + problem->ridge * problem->w0[from * m + k];
    }
    if (lg_dpotrf(n, s->h, n) != LEGO_OK || lg_dpotri(n, s->h, n) != LEGO_OK)
        LG_FAIL(LEGO_EBACKEND, "the covariance of %lld columns is not positive definite with ridge %g", (long long)n,
                problem->ridge);
    lg_dgemm(0, 0, n, m, n, 1.0, s->h, n, b, m, 0.0, hb, m);
    if (problem->root)
        lg_dgemm(0, 0, n, s->r, m, 1.0, hb, m, problem->root, s->r, 0.0, s->w, s->r);
    else
        memcpy(s->w, hb, sizeof(*hb) * (size_t)(n * m));
done:
    lg_free(b);
    lg_free(hb);
    return status;
}

static lego_status start_diagonals(state *s, int32_t n_units)
{
    double *next = NULL;
    int64_t size = 0;
    lego_status status = LEGO_OK;

    for (int32_t u = 0; u < n_units; u++)
        size += s->runs[u].count * s->runs[u].count;
    LG_TRY(LG_CALLOC(&s->diagonals, size));
    next = s->diagonals;
    for (int32_t u = 0; u < n_units; u++) {
        run *c = &s->runs[u];

        c->diagonal = next;
        for (int64_t i = 0; i < c->count; i++, next += c->count)
            memcpy(next, s->h + (c->first + i) * s->n + c->first, sizeof(*next) * (size_t)c->count);
    }
done:
    return status;
}

static lego_status state_init(state *s, const lg_problem *problem, int32_t n_units)
{
    int32_t *order = NULL;
    lego_status status = LEGO_OK;

    s->n = problem->n;
    s->r = problem->root ? problem->n_root : problem->m;
    s->widest = 1;
    LG_TRY(LG_CALLOC(&order, s->n));
    LG_TRY(LG_CALLOC(&s->runs, (int64_t)n_units + 1));
    LG_TRY(sort_columns(order, s, problem, n_units));
    LG_TRY(LG_CALLOC(&s->h, s->n * s->n));
    LG_TRY(LG_CALLOC(&s->w, s->n * s->r));
    LG_TRY(LG_CALLOC(&s->v, (PENDING + s->widest) * s->n));
    LG_TRY(LG_CALLOC(&s->u, s->widest * s->r));
    LG_TRY(LG_CALLOC(&s->l, s->widest * s->widest));
    LG_TRY(start_solution(s, problem, order));
    LG_TRY(start_diagonals(s, n_units));
done:
    lg_free(order);
    return status;
}

/* Cholesky factor of H_cc into s->l, U = L^-1 W_c into s->u; returns |U|^2, NaN if H_cc is not positive definite. */
static double unit_cost(state *s, const run *c)
{
    double *l = s->l, *u = s->u, cost = 0.0;
    const int64_t k = c->count, r = s->r;

    for (int64_t i = 0; i < k; i++) {
        for (int64_t j = 0; j <= i; j++) {
            double sum = c->diagonal[i * k + j];

            for (int64_t p = 0; p < j; p++)
                sum -= l[i * k + p] * l[j * k + p];
            if (i == j && !(sum > 0.0))
                return NAN;
            l[i * k + j] = i == j ? sqrt(sum) : sum / l[j * k + j];
        }
        memcpy(u + i * r, s->w + (c->first + i) * r, sizeof(*u) * (size_t)r);
        for (int64_t p = 0; p < i; p++)
            for (int64_t o = 0; o < r; o++)
                u[i * r + o] -= l[i * k + p] * u[p * r + o];
        for (int64_t o = 0; o < r; o++) {
            u[i * r + o] /= l[i * k + i];
            cost += u[i * r + o] * u[i * r + o];
        }
    }
    return cost;
}

/* Take the pending V^T V off H. */
static void flush(state *s)
{
    if (s->n_pending > 0)
        lg_dgemm(1, 0, s->n, s->n, s->n_pending, -1.0, s->v, s->n, s->v, s->n, 1.0, s->h, s->n);
    s->n_pending = 0;
}

/* Copy the live rows and columns to the front: in place, since no element moves back. */
static void pack(state *s, int32_t n_units)
{
    const int64_t n = s->n, live = n - s->n_dead;
    int64_t to_row = 0;

    for (int32_t a = 0; a <= n_units; a++)
        for (int64_t row = s->runs[a].first; row < s->runs[a].first + s->runs[a].count; row++, to_row++) {
            int64_t to = to_row * live;

            for (int32_t b = 0; b <= n_units; b++) {
                memmove(s->h + to, s->h + row * n + s->runs[b].first, sizeof(*s->h) * (size_t)s->runs[b].count);
                to += s->runs[b].count;
            }
            memmove(s->w + to_row * s->r, s->w + row * s->r, sizeof(*s->w) * (size_t)s->r);
        }
    to_row = 0;
    for (int32_t a = 0; a <= n_units; a++) {
        s->runs[a].first = to_row;
        to_row += s->runs[a].count;
    }
    s->n = live;
    s->n_dead = 0;
}

/* H_cc -= V_c^T V_c for the new rows v (k,n). */
static void update_diagonals(state *s, const double *v, int64_t k, int32_t n_units)
{
    for (int32_t unit = 0; unit < n_units; unit++) {
        const run *c = &s->runs[unit];

        for (int64_t i = 0; i < c->count; i++)
            for (int64_t j = 0; j < c->count; j++)
                for (int64_t p = 0; p < k; p++)
                    c->diagonal[i * c->count + j] -= v[p * s->n + c->first + i] * v[p * s->n + c->first + j];
    }
}

static lego_status remove_unit(state *s, int32_t unit, int32_t n_units)
{
    run *c = &s->runs[unit];
    const int64_t n = s->n, k = c->count;
    double *v = s->v + s->n_pending * n;

    if (k == 0)
        return LEGO_OK;
    if (isnan(unit_cost(s, c))) /* leaves L and L^-1 W_c behind */
        return lg_error(LEGO_EBACKEND, "the covariance lost its positive definiteness in elimination");
    memcpy(v, s->h + c->first * n, sizeof(*v) * (size_t)(k * n));
    if (s->n_pending > 0)
        lg_dgemm(1, 0, k, n, s->n_pending, -1.0, s->v + c->first, n, s->v, n, 1.0, v, n);
    lg_dtrsm_lower(k, n, s->l, k, v, n);
    lg_dgemm(1, 0, n, s->r, k, -1.0, v, n, s->u, s->r, 1.0, s->w, s->r);
    c->count = 0;
    update_diagonals(s, v, k, n_units);
    s->n_pending += k;
    s->n_dead += k;
    if (s->n_pending >= PENDING || s->n_dead * 4 > n)
        flush(s);
    if (s->n_dead * 4 > n && s->n_dead < n)
        pack(s, n_units);
    return LEGO_OK;
}

/* The cheapest unit of those whose class still has more than it may keep; -1 if there is none. */
static lego_status cheapest(int32_t *unit, double *cost, state *states, int32_t n_problems, const lg_quota *quota,
                            const int32_t *level_of, const int64_t *left, const int64_t *keep)
{
    *unit = -1;
    *cost = INFINITY;
    for (int32_t u = 0; u < quota->n_units; u++) {
        double sum = 0.0;

        if (level_of[u] < quota->n_levels || left[quota->class_of[u]] <= keep[quota->class_of[u]])
            continue;
        for (int32_t p = 0; p < n_problems; p++)
            if (states[p].runs[u].count > 0)
                sum += unit_cost(&states[p], &states[p].runs[u]);
        if (isnan(sum))
            return lg_error(LEGO_EBACKEND, "the covariance lost its positive definiteness in elimination");
        if (sum < *cost) {
            *unit = u;
            *cost = sum;
        }
    }
    return LEGO_OK;
}

static lego_status check_quota(const lg_quota *quota, const int64_t *left)
{
    for (int32_t l = 0; l < quota->n_levels; l++)
        for (int32_t c = 0; c < quota->n_classes; c++) {
            const int64_t keep = quota->keep[l * quota->n_classes + c];
            const int64_t before = l > 0 ? quota->keep[(l - 1) * quota->n_classes + c] : left[c];

            if (keep < 0 || keep > before)
                return lg_error(LEGO_EINVAL, "level %d keeps %lld units of class %d, the one before %lld", l,
                                (long long)keep, c, (long long)before);
        }
    return LEGO_OK;
}

lego_status lg_eliminate(int32_t *level_of, double *raise, const lg_problem *problems, int32_t n_problems,
                         const lg_quota *quota)
{
    state *states = NULL;
    int64_t *left = NULL;
    double total = 0.0, cost = 0.0;
    int32_t unit = -1;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&states, n_problems));
    LG_TRY(LG_CALLOC(&left, quota->n_classes));
    for (int32_t u = 0; u < quota->n_units; u++) {
        left[quota->class_of[u]]++;
        level_of[u] = quota->n_levels;
    }
    LG_TRY(check_quota(quota, left));
    for (int32_t p = 0; p < n_problems; p++)
        LG_TRY(state_init(&states[p], &problems[p], quota->n_units));
    for (int32_t l = 0; l < quota->n_levels; l++) {
        const int64_t *keep = quota->keep + (int64_t)l * quota->n_classes;

        for (;;) {
            LG_TRY(cheapest(&unit, &cost, states, n_problems, quota, level_of, left, keep));
            if (unit < 0)
                break;
            for (int32_t p = 0; p < n_problems; p++)
                LG_TRY(remove_unit(&states[p], unit, quota->n_units));
            level_of[unit] = l;
            left[quota->class_of[unit]]--;
            total += cost;
        }
        if (raise)
            raise[l] = total;
    }
done:
    for (int32_t p = 0; states && p < n_problems; p++)
        state_dispose(&states[p]);
    lg_free(states);
    lg_free(left);
    return status;
}
