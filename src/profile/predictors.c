/* Predicting the accuracy of a composition as a sum over its blocks, so that the optimiser's problem stays separable.
 *
 * Flow: measurements of single variants -> a cost for each, and how far sums of costs are off on compositions that were measured
 * but not looked at -> server.c takes the best. Candidates:
 *   kl          divergence of the model's outputs when this block alone is replaced, times one scale
 *   kl-refined  the same, each cost then moved towards what random compositions with this variant lost (ridge regression)
 *   additive    mean accuracy drop over the environments (the original's rule, optimal_runtime.py:278)
 *   log-odds    the same in log-odds, which keeps sums from leaving [0, 1]
 *   error       relative squared error of the block's outputs, times one scale
 *
 * What newcomers get wrong: what is fitted must not be judged on the compositions it was fitted to. Each composition is
 * predicted from a fit without it (folds; one composition each up to MAX_FOLDS of them); the costs that are stored use
 * all. Negative drops are noise, and an optimiser that minimises picks exactly the noise: costs are cut at zero, before
 * anything is judged. */
#include "profile/predictors.h"

#include <math.h>

#include "base/alloc.h"
#include "base/blas.h"

#define MAX_COST_IDENTITY 1.0  /* one block cannot cost more than all accuracy */
#define MAX_COST_LOGIT 40.0
#define MIN_TO_FIT 3
#define MIN_SCALE 1e-6        /* where nothing was lost, the order of the variants is still worth keeping */
#define MAX_FOLDS 24
/* Variance of a measured drop over that of the error of a cost: a cost is off by a third of the noise. On a reconstructed
 * store, 100 compositions held out: kl 0.29 points, refined with 24 compositions 0.23 for any ridge from 3 to 10. */
#define RIDGE 10.0
#define NONE (-1)

typedef struct candidate {
    const char *name, *summary;
    lg_link link;
    int is_scaled, is_refined;
    const double *values; /* by cell */
} candidate;

static const int32_t *selection_of(const lg_predictor_data *data, int32_t random)
{
    return data->selections + (size_t)random * (size_t)data->n_blocks;
}

/* Folds are dealt out in turn. */
static int in_fold(int32_t random, int32_t fold)
{
    return fold != NONE && random % MAX_FOLDS == fold;
}

static double sum_of(const lg_predictor_data *data, const double *values, int32_t random)
{
    const int32_t *selection = selection_of(data, random);
    double sum = 0.0;

    for (int32_t b = 0; b < data->n_blocks; b++)
        sum += values[data->first_cell[b] + selection[b]];
    return sum;
}

static double clean(double cost, lg_link link)
{
    double limit = link == LG_LINK_LOGIT ? MAX_COST_LOGIT : MAX_COST_IDENTITY;

    return cost > 0.0 ? fmin(cost, limit) : isnan(cost) ? limit : 0.0;
}

/* Least squares of drop = scale * sum through the origin, leaving a fold out (NONE: nothing). */
static double fit_scale(const lg_predictor_data *data, const candidate *from, int32_t fold)
{
    double xy = 0.0, xx = 0.0;

    for (int32_t i = 0; i < data->n_random; i++) {
        double sum = sum_of(data, from->values, i);

        if (in_fold(i, fold) || !isfinite(sum))
            continue;
        xy += sum * (data->accuracy - data->measured[i]);
        xx += sum * sum;
    }
    return xx > 0.0 ? fmax(xy / xx, MIN_SCALE) : MIN_SCALE;
}

/* In how many blocks two compositions have the same variant, originals left out. */
static double overlap(const lg_predictor_data *data, int32_t a, int32_t b)
{
    int32_t same = 0;

    for (int32_t k = 0; k < data->n_blocks; k++)
        same += selection_of(data, a)[k] == selection_of(data, b)[k] && selection_of(data, a)[k] != 0;
    return same;
}

/* Ridge regression of what the costs leave unexplained on which variants a composition has: cost += X^T (X X^T + ridge
 * I)^-1 r, the dual form, for there are fewer compositions than variants. */
static lego_status refine(double *cost, const lg_predictor_data *data, int32_t fold)
{
    double *kernel = NULL, *weight = NULL;
    int32_t *used = NULL, n = 0;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&used, data->n_random));
    LG_TRY(LG_CALLOC(&weight, data->n_random));
    LG_TRY(LG_CALLOC(&kernel, (size_t)data->n_random * (size_t)data->n_random));
    for (int32_t i = 0; i < data->n_random; i++)
        if (!in_fold(i, fold)) {
            weight[n] = data->accuracy - data->measured[i] - sum_of(data, cost, i);
            used[n++] = i;
        }
    for (int32_t i = 0; i < n; i++)
        for (int32_t k = 0; k < n; k++)
            kernel[(size_t)i * (size_t)n + (size_t)k] = overlap(data, used[i], used[k]) + (i == k ? RIDGE : 0.0);
    LG_TRY(lg_dpotrf(n, kernel, n));
    LG_TRY(lg_dpotrs(n, 1, kernel, n, weight, 1));
    for (int32_t i = 0; i < n; i++)
        for (int32_t b = 0; b < data->n_blocks; b++)
            if (selection_of(data, used[i])[b] != 0)
                cost[data->first_cell[b] + selection_of(data, used[i])[b]] += weight[i];
done:
    lg_free(kernel);
    lg_free(weight);
    lg_free(used);
    return status;
}

/* Costs from everything but a fold. */
static lego_status fit_costs(double *cost, double *scale, const candidate *from, const lg_predictor_data *data,
                             int32_t fold)
{
    int32_t n_cells = data->first_cell[data->n_blocks];
    lego_status status = LEGO_OK;

    *scale = from->is_scaled ? fit_scale(data, from, fold) : 1.0;
    for (int32_t cell = 0; cell < n_cells; cell++)
        cost[cell] = clean(*scale * from->values[cell], from->link);
    if (from->is_refined) {
        LG_TRY(refine(cost, data, fold));
        for (int32_t cell = 0; cell < n_cells; cell++)
            cost[cell] = clean(cost[cell], from->link);
    }
    for (int32_t b = 0; b < data->n_blocks; b++)
        cost[data->first_cell[b]] = 0.0;
done:
    return status;
}

static int sign(double x)
{
    return (x > 0.0) - (x < 0.0);
}

double lg_kendall_tau(const double *a, const double *b, int32_t n)
{
    double agree = 0.0, n_a = 0.0, n_b = 0.0;

    for (int32_t i = 0; i < n; i++)
        for (int32_t j = i + 1; j < n; j++) {
            int sign_a = sign(a[i] - a[j]), sign_b = sign(b[i] - b[j]);

            agree += sign_a * sign_b;
            n_a += sign_a != 0;
            n_b += sign_b != 0;
        }
    return agree / sqrt(n_a * n_b);
}

static void judge(lg_predictor *predictor, const lg_predictor_data *data)
{
    double absolute = 0.0, signed_sum = 0.0, most = 0.0;

    for (int32_t i = 0; i < data->n_random; i++) {
        double error = predictor->predicted[i] - data->measured[i];

        absolute += fabs(error);
        signed_sum += error;
        most = fmax(most, fabs(error));
    }
    predictor->mae = data->n_random ? absolute / data->n_random : NAN;
    predictor->bias = data->n_random ? signed_sum / data->n_random : NAN;
    predictor->max_error = data->n_random ? most : NAN;
    predictor->kendall_tau = lg_kendall_tau(predictor->predicted, data->measured, data->n_random);
}

void lg_predictor_dispose(lg_predictor *predictor)
{
    lg_free(predictor->cost);
    lg_free(predictor->predicted);
    predictor->cost = predictor->predicted = NULL;
}

static lego_status fit_one(lg_predictor *predictor, const candidate *from, const lg_predictor_data *data)
{
    lego_status status = LEGO_OK;

    *predictor = (lg_predictor){ .name = from->name, .summary = from->summary, .link = from->link };
    LG_TRY(LG_CALLOC(&predictor->cost, data->first_cell[data->n_blocks]));
    LG_TRY(LG_CALLOC(&predictor->predicted, data->n_random));
    for (int32_t fold = 0; fold < MAX_FOLDS && fold < data->n_random; fold++) {
        LG_TRY(fit_costs(predictor->cost, &predictor->scale, from, data, fold));
        for (int32_t i = fold; i < data->n_random; i += MAX_FOLDS)
            predictor->predicted[i] = lg_link_accuracy(from->link, data->accuracy, sum_of(data, predictor->cost, i));
    }
    LG_TRY(fit_costs(predictor->cost, &predictor->scale, from, data, NONE));
    judge(predictor, data);
done:
    if (status != LEGO_OK)
        lg_predictor_dispose(predictor);
    return status;
}

/* Stable: errors that are equal but for rounding keep the candidates' order. */
static void sort_by_error(lg_predictor *predictors, int32_t n)
{
    for (int32_t i = 1; i < n; i++)
        for (int32_t k = i; k > 0 && predictors[k].mae < predictors[k - 1].mae - 1e-9; k--) {
            lg_predictor swap = predictors[k];

            predictors[k] = predictors[k - 1];
            predictors[k - 1] = swap;
        }
}

lego_status lg_predictors_fit(lg_predictor predictors[LG_MAX_PREDICTORS], int32_t *n_predictors,
                              const lg_predictor_data *data)
{
    const candidate candidates[LG_MAX_PREDICTORS] = {
        { "kl", "sum of output divergences, scaled", LG_LINK_IDENTITY, 1, 0, data->divergence },
        { "kl-refined", "the same, refined by random compositions", LG_LINK_IDENTITY, 1, 1, data->divergence },
        { "log-odds", "sum of log-odds drops", LG_LINK_LOGIT, 0, 0, data->log_odds },
        { "additive", "sum of accuracy drops", LG_LINK_IDENTITY, 0, 0, data->drop },
        { "error", "sum of relative squared block errors, scaled", LG_LINK_IDENTITY, 1, 0, data->block_error },
    };
    lego_status status = LEGO_OK;

    *n_predictors = 0;
    for (int32_t i = 0; i < LG_MAX_PREDICTORS; i++) {
        if (!candidates[i].values || (candidates[i].is_scaled && data->n_random < MIN_TO_FIT))
            continue;
        LG_TRY(fit_one(&predictors[*n_predictors], &candidates[i], data));
        (*n_predictors)++;
    }
    sort_by_error(predictors, *n_predictors);
done:
    for (; status != LEGO_OK && *n_predictors > 0; (*n_predictors)--)
        lg_predictor_dispose(&predictors[*n_predictors - 1]);
    return status;
}
