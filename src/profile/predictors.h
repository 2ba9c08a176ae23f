/* Predicting the accuracy of a composition as a sum over its blocks. */
#ifndef LG_PROFILE_PREDICTORS_H
#define LG_PROFILE_PREDICTORS_H

#include "profile/profile.h"

/* What was measured. A cell is (block, variant): first_cell[block] + variant; variant 0 is the original. */
typedef struct lg_predictor_data {
    int32_t n_blocks;
    const int32_t *first_cell;  /* n_blocks + 1 */
    double accuracy;            /* of the original */
    const double *drop;         /* by cell: mean accuracy drop over the environments */
    const double *log_odds;     /* by cell: mean drop of the log-odds */
    const double *divergence;   /* by cell: of the outputs, this block alone replaced; NULL: not measured */
    const double *block_error;  /* by cell: relative squared error of the block's outputs */
    int32_t n_random;           /* random compositions */
    const int32_t *selections;  /* n_random * n_blocks */
    const double *measured;     /* their accuracies */
} lg_predictor_data;

typedef struct lg_predictor {
    const char *name;
    const char *summary;
    lg_link link;
    double scale;       /* fitted; 1 where there is nothing to fit */
    double *cost;       /* by cell: >= 0, 0 for originals */
    double *predicted;  /* n_random accuracies, each without having seen that composition */
    /* on the random compositions, held out: */
    double mae, bias, max_error, kendall_tau; /* bias: mean of predicted - measured */
} lg_predictor;

#define LG_MAX_PREDICTORS 5

/* Fit and check all candidates; predictors[0] is the best by held-out error. Without random compositions only those
 * that need no fit are there, in the order of trust, with NaN errors. Dispose of each with lg_predictor_dispose(); there are none after a failure. */
lego_status lg_predictors_fit(lg_predictor predictors[LG_MAX_PREDICTORS], int32_t *n_predictors,
                              const lg_predictor_data *data);
void lg_predictor_dispose(lg_predictor *predictor);

/* Kendall's tau-b of n pairs; NaN if one side is constant. */
double lg_kendall_tau(const double *a, const double *b, int32_t n);

#endif
