/* From runs to an additive model: latency of a composition = frame + sum of its variants' terms.
 *
 * Each variant was timed inside several compositions; the median of those is a good first guess of its term. It misses
 * what happens between blocks and includes the reading of the clock, so the terms are then pulled towards the times of
 * whole compositions: least squares with the first guesses as priors, each reading weighted by what it may be off (its
 * noise, and what an additive model cannot express), solved by sweeping over the terms until they stand still.
 * Compositions that fit badly were disturbed and count less (Huber). Random compositions that the fit never saw say how
 * good it is.
 *
 * What newcomers get wrong: there are more terms than compositions; without the priors the fit would explain noise. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "profile/device.h"

#define TERM_ERROR 0.04   /* beyond noise, relative: a variant's time depends on its neighbours */
#define WHOLE_ERROR 0.005 /* beyond noise, relative: a composition is not quite additive */
#define FLOOR_US 0.5      /* what reading the clock leaves uncertain in any term */
#define HUBER 2.0         /* deviations */
#define NOTCH 1.57
#define SWEEPS 2000
#define MIN_HELD_OUT 5
#define LEAST_MARGIN 0.01
#define MOST_MARGIN 0.25  /* beyond that the measurements are no use, and no margin helps */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double lg_quantile(double *values, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t low = (size_t)at;

    qsort(values, n, sizeof(*values), by_value);
    return low + 1 < n ? values[low] + (at - (double)low) * (values[low + 1] - values[low]) : values[low];
}

/* McGill, Tukey and Larsen 1978. */
double lg_notch(double spread, int64_t n)
{
    return n > 0 ? NOTCH * spread / sqrt((double)n) : 0.0;
}

/* --- the additive model --- */

/* One sweep over all terms; returns the largest relative change. `rest` holds sums minus their terms. */
static double sweep(double *terms, int32_t n_terms, const lg_reading *measured, int32_t n_sums, const double *weights,
                    int32_t n_members, const int32_t *members, double *rest, double *gradient, double *curvature)
{
    double change = 0.0;

    for (int32_t t = 0; t < n_terms; t++) {
        curvature[t] = 1.0 / (measured[t].deviation * measured[t].deviation);
        gradient[t] = (measured[t].value - terms[t]) * curvature[t];
    }
    for (int32_t s = 0; s < n_sums; s++)
        for (int32_t m = 0; m < n_members; m++) {
            int32_t t = members[s * n_members + m];

            gradient[t] += weights[s] * rest[s];
            curvature[t] += weights[s] * (double)n_members; /* Jacobi: all members of a sum move at once */
        }
    for (int32_t t = 0; t < n_terms; t++) {
        double next = fmax(0.0, terms[t] + gradient[t] / curvature[t]);

        change = fmax(change, fabs(next - terms[t]) / measured[t].deviation);
        terms[t] = next;
    }
    return change;
}

static void update_rest(double *rest, const double *terms, int32_t n_sums, const lg_reading *sums, int32_t n_members,
                        const int32_t *members)
{
    for (int32_t s = 0; s < n_sums; s++) {
        rest[s] = sums[s].value;
        for (int32_t m = 0; m < n_members; m++)
            rest[s] -= terms[members[s * n_members + m]];
    }
}

lego_status lg_fit_terms(double *terms, int32_t n_terms, const lg_reading *measured, int32_t n_sums,
                         const lg_reading *sums, int32_t n_members, const int32_t *members)
{
    double *rest = NULL, *weights = NULL, *gradient = NULL, *curvature = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&rest, n_sums));
    LG_TRY(LG_CALLOC(&weights, n_sums));
    LG_TRY(LG_CALLOC(&gradient, n_terms));
    LG_TRY(LG_CALLOC(&curvature, n_terms));
    for (int32_t t = 0; t < n_terms; t++)
        terms[t] = measured[t].value;
    for (int i = 0; i < SWEEPS; i++) {
        update_rest(rest, terms, n_sums, sums, n_members, members);
        for (int32_t s = 0; s < n_sums; s++) {
            double off = fabs(rest[s]) / sums[s].deviation;

            weights[s] = (off > HUBER ? HUBER / off : 1.0) / (sums[s].deviation * sums[s].deviation);
        }
        if (sweep(terms, n_terms, measured, n_sums, weights, n_members, members, rest, gradient, curvature) < 1e-7)
            break;
    }
done:
    lg_free(rest);
    lg_free(weights);
    lg_free(gradient);
    lg_free(curvature);
    return status;
}

/* --- from runs to terms --- */

static int32_t term_of(const lg_device_fit *fit, const int32_t *selection, int32_t part)
{
    return part < fit->n_blocks ? fit->first[part] + selection[part] : fit->first[fit->n_blocks];
}

/* Median, p90 and spread of a variant (or the frame) over everything that was designed to show it. */
static void summarise(lg_timing *timing, const lg_device_fit *fit, const lg_device_design *design,
                      const lg_device_runs *runs, int32_t part, int32_t term, double *samples)
{
    size_t n = 0, stride = (size_t)runs->n_blocks + 1;

    for (int32_t c = 0; c < design->n_designed; c++) {
        if (term_of(fit, lg_device_selection(design, c), part) != term)
            continue;
        if (runs->part_bytes[(size_t)c * stride + (size_t)part] > timing->resident_bytes)
            timing->resident_bytes = runs->part_bytes[(size_t)c * stride + (size_t)part];
        for (int32_t r = 0; r < runs->n_rounds; r++) {
            const float *visit = runs->part_us + ((size_t)r * (size_t)runs->n_compositions + (size_t)c) *
                                                     LG_PART_RUNS * stride;

            for (size_t i = 0; i < LG_PART_RUNS; i++)
                samples[n++] = visit[i * stride + (size_t)part];
        }
    }
    timing->n_samples = (int64_t)n;
    timing->median_us = lg_quantile(samples, n, 0.5);
    timing->p90_us = lg_quantile(samples, n, 0.9);
    timing->spread_us = lg_quantile(samples, n, 0.75) - lg_quantile(samples, n, 0.25);
}

static void measure_wholes(lg_device_fit *fit, const lg_device_runs *runs, double *samples)
{
    for (int32_t c = 0; c < runs->n_compositions; c++) {
        size_t n = 0;

        for (int32_t r = 0; r < runs->n_rounds; r++)
            for (int i = 0; i < LG_WHOLE_RUNS; i++)
                samples[n++] = runs->whole_us[((size_t)r * (size_t)runs->n_compositions + (size_t)c) * LG_WHOLE_RUNS +
                                              (size_t)i];
        fit->measured_us[c].value = lg_quantile(samples, n, 0.5);
        fit->measured_us[c].deviation =
            FLOOR_US + hypot(WHOLE_ERROR * fit->measured_us[c].value,
                             lg_notch(lg_quantile(samples, n, 0.75) - lg_quantile(samples, n, 0.25), (int64_t)n));
    }
}

/* The margin covers two standard deviations: an optimiser takes what is predicted fast, and among the selections of
 * about that latency those whose latency is predicted too low come first. */
static void check_held_out(lg_device_fit *fit, const lg_device_design *design)
{
    int32_t n = design->n_compositions - design->n_designed;
    double sum = 0.0, signed_sum = 0.0, excess = 0.0, squares = 0.0;

    fit->mean_error = fit->max_error = fit->bias = NAN;
    if (n == 0)
        return;
    fit->max_error = 0.0;
    for (int32_t i = 0; i < n; i++) {
        int32_t c = design->n_designed + i;
        double error = fit->predicted_us[c] / fit->measured_us[c].value - 1.0;
        double more = fit->measured_us[c].value / fit->predicted_us[c] - 1.0;

        sum += fabs(error);
        signed_sum += error;
        fit->max_error = fmax(fit->max_error, fabs(error));
        excess += more;
        squares += more * more;
    }
    fit->mean_error = sum / n;
    fit->bias = signed_sum / n;
    if (n >= MIN_HELD_OUT) {
        excess /= n;
        fit->margin = excess + 2.0 * sqrt(fmax(0.0, squares / n - excess * excess));
        fit->margin = fmin(fmax(fit->margin, LEAST_MARGIN), MOST_MARGIN);
    }
}

static lego_status fit_all(lg_device_fit *fit, const lg_device_design *design)
{
    int32_t n_terms = fit->first[fit->n_blocks] + 1, n_members = fit->n_blocks + 1;
    double *terms = NULL;
    lg_reading *measured = NULL;
    int32_t *members = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&terms, n_terms));
    LG_TRY(LG_CALLOC(&measured, n_terms));
    LG_TRY(LG_CALLOC(&members, (size_t)design->n_compositions * (size_t)n_members));
    for (int32_t t = 0; t < n_terms; t++)
        measured[t] = (lg_reading){
            fit->timings[t].median_us,
            FLOOR_US + hypot(TERM_ERROR * fit->timings[t].median_us,
                             lg_notch(fit->timings[t].spread_us, fit->timings[t].n_samples)) };
    for (int32_t c = 0; c < design->n_compositions; c++)
        for (int32_t p = 0; p < n_members; p++)
            members[c * n_members + p] = term_of(fit, lg_device_selection(design, c), p);
    LG_TRY(lg_fit_terms(terms, n_terms, measured, design->n_designed, fit->measured_us, n_members, members));
    for (int32_t t = 0; t < n_terms; t++)
        fit->timings[t].latency_us = terms[t];
    for (int32_t c = 0; c < design->n_compositions; c++)
        for (int32_t p = 0; p < n_members; p++)
            fit->predicted_us[c] += terms[members[c * n_members + p]];
done:
    lg_free(terms);
    lg_free(measured);
    lg_free(members);
    return status;
}

lego_status lg_device_fit_init(lg_device_fit *out, const lego_store *store, const lg_device_design *design,
                               const lg_device_runs *runs)
{
    size_t n_samples = (size_t)runs->n_rounds * (size_t)runs->n_compositions *
                       (LG_WHOLE_RUNS > LG_PART_RUNS ? LG_WHOLE_RUNS : LG_PART_RUNS);
    double *samples = NULL;
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    out->n_blocks = store->n_blocks;
    out->n_compositions = design->n_compositions;
    LG_TRY(LG_CALLOC(&out->first, store->n_blocks + 1));
    for (int32_t b = 0; b < store->n_blocks; b++)
        out->first[b + 1] = out->first[b] + store->blocks[b].n_variants;
    LG_TRY(LG_CALLOC(&out->timings, out->first[store->n_blocks] + 1));
    LG_TRY(LG_CALLOC(&out->measured_us, design->n_compositions));
    LG_TRY(LG_CALLOC(&out->predicted_us, design->n_compositions));
    LG_TRY(LG_CALLOC(&samples, n_samples));
    for (int32_t b = 0; b < store->n_blocks; b++)
        for (int32_t t = out->first[b]; t < out->first[b + 1]; t++)
            summarise(&out->timings[t], out, design, runs, b, t, samples);
    summarise(&out->timings[out->first[out->n_blocks]], out, design, runs, out->n_blocks, out->first[out->n_blocks],
              samples);
    measure_wholes(out, runs, samples);
    LG_TRY(fit_all(out, design));
    check_held_out(out, design);
done:
    lg_free(samples);
    if (status != LEGO_OK)
        lg_device_fit_dispose(out);
    return status;
}

void lg_device_fit_dispose(lg_device_fit *fit)
{
    lg_free(fit->first);
    lg_free(fit->timings);
    lg_free(fit->measured_us);
    lg_free(fit->predicted_us);
    memset(fit, 0, sizeof(*fit));
}
