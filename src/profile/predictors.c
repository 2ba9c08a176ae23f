/* Predicting the accuracy of a composition as a sum over its blocks, so that the optimiser's problem stays separable.
 *
 * Flow: measurements of single variants -> a cost for each, and how far sums of costs are off on compositions that were measured
 * but not looked at -> server.c takes the best. Candidates:
 *   kl         divergence of the model's outputs when this block alone is replaced, times one scale
 *   additive   mean accuracy drop over the environments (the original's rule, optimal_runtime.py:278)
 *   log-odds   the same in log-odds, which keeps sums from leaving [0, 1]
 *   error      relative squared error of the block's outputs, times one scale
 *
 * What newcomers get wrong: the scale must not be judged on the compositions it was fitted to. Each composition is
 * predicted with the scale of all the others (leave one out); the cost that is stored uses all of them. Negative drops are
 * noise, and an optimiser that minimises picks exactly the noise: costs are cut at zero, before anything is judged. */
#include "profile/predictors.h"

#include <math.h>

#include "base/alloc.h"

#define MAX_COST_IDENTITY 1.0  /* one block cannot cost more than all accuracy */
#define MAX_COST_LOGIT 40.0
#define MIN_TO_FIT 3
#define MIN_SCALE 1e-6        /* where nothing was lost, the order of the variants is still worth keeping */
#define NONE (-1)

typedef struct candidate {
    const char *name, *summary;
    lg_link link;
    int is_fitted;
    const double *values; /* by cell */
} candidate;

static double sum_of(const lg_predictor_data *data, const double *values, int32_t random)
{
    const int32_t *selection = data->selections + (size_t)random * (size_t)data->n_blocks;
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

/* Least squares of drop = scale * sum through the origin, leaving composition `without` out (NONE: nothing). */
static double fit_scale(const lg_predictor_data *data, const double *sums, int32_t without)
{
    double xy = 0.0, xx = 0.0;

    for (int32_t i = 0; i < data->n_random; i++) {
        if (i == without || !isfinite(sums[i]))
            continue;
        xy += sums[i] * (data->accuracy - data->measured[i]);
        xx += sums[i] * sums[i];
    }
    return xx > 0.0 ? fmax(xy / xx, MIN_SCALE) : MIN_SCALE;
}

static void set_costs(const lg_predictor *predictor, const lg_predictor_data *data, const double *values, double scale,
                      double *cost)
{
    for (int32_t b = 0; b < data->n_blocks; b++)
        for (int32_t cell = data->first_cell[b]; cell < data->first_cell[b + 1]; cell++)
            cost[cell] = cell == data->first_cell[b] ? 0.0 : clean(scale * values[cell], predictor->link);
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
    double *sums = NULL, *cost = NULL;
    lego_status status = LEGO_OK;

    *predictor = (lg_predictor){ .name = from->name, .summary = from->summary, .link = from->link, .scale = 1.0 };
    LG_TRY(LG_CALLOC(&predictor->cost, data->first_cell[data->n_blocks]));
    LG_TRY(LG_CALLOC(&predictor->predicted, data->n_random));
    LG_TRY(LG_CALLOC(&cost, data->first_cell[data->n_blocks]));
    LG_TRY(LG_CALLOC(&sums, data->n_random));
    for (int32_t i = 0; i < data->n_random; i++)
        sums[i] = sum_of(data, from->values, i);
    for (int32_t i = 0; i < data->n_random; i++) {
        set_costs(predictor, data, from->values, from->is_fitted ? fit_scale(data, sums, i) : 1.0, cost);
        predictor->predicted[i] = lg_link_accuracy(from->link, data->accuracy, sum_of(data, cost, i));
    }
    if (from->is_fitted)
        predictor->scale = fit_scale(data, sums, NONE);
    set_costs(predictor, data, from->values, predictor->scale, predictor->cost);
    judge(predictor, data);
done:
    lg_free(sums);
    lg_free(cost);
    if (status != LEGO_OK)
        lg_predictor_dispose(predictor);
    return status;
}

/* Stable: equal errors keep the candidates' order. */
static void sort_by_error(lg_predictor *predictors, int32_t n)
{
    for (int32_t i = 1; i < n; i++)
        for (int32_t k = i; k > 0 && predictors[k].mae < predictors[k - 1].mae; k--) {
            lg_predictor swap = predictors[k];

            predictors[k] = predictors[k - 1];
            predictors[k - 1] = swap;
        }
}

lego_status lg_predictors_fit(lg_predictor predictors[LG_MAX_PREDICTORS], int32_t *n_predictors,
                              const lg_predictor_data *data)
{
    const candidate candidates[LG_MAX_PREDICTORS] = {
        { "kl", "sum of output divergences, scaled", LG_LINK_IDENTITY, 1, data->divergence },
        { "log-odds", "sum of log-odds drops", LG_LINK_LOGIT, 0, data->log_odds },
        { "additive", "sum of accuracy drops", LG_LINK_IDENTITY, 0, data->drop },
        { "error", "sum of relative squared block errors, scaled", LG_LINK_IDENTITY, 1, data->block_error },
    };
    lego_status status = LEGO_OK;

    *n_predictors = 0;
    for (int32_t i = 0; i < LG_MAX_PREDICTORS; i++) {
        if (!candidates[i].values || (candidates[i].is_fitted && data->n_random < MIN_TO_FIT))
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
