/* What inferences take, block by block, and how that compares with the device profile.
 *
 * A ring holds the last inferences; whoever judges takes medians of it, off the inference path. The ratio measured /
 * profile of each block outlives switches: if the clock went down or another process took half of the cache, that holds
 * for the block's other variants too, and the optimiser's problem is scaled by it.
 *
 * What newcomers get wrong: one inference in ten may take three times as long because something else ran. An average,
 * also a moving one, makes that look like a slow model; the median does not, and still follows a real change within half
 * a window. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "profile/device.h"
#include "runtime/runtime.h"

#define MIN_SCALE 0.01
#define MAX_SCALE 100.0
#define SAME 0.1 /* a block that is off by this much more or less than the whole is off like the whole */

lego_status lg_measurements_init(lg_measurements *measured, int32_t n_blocks, int32_t window)
{
    size_t ring = (size_t)window * ((size_t)n_blocks + 1);
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&measured->ring, ring));
    LG_TRY(LG_CALLOC(&measured->copy, ring));
    LG_TRY(LG_CALLOC(&measured->values, window));
    LG_TRY(LG_CALLOC(&measured->median_us, n_blocks + 2));
    LG_TRY(LG_CALLOC(&measured->scale, n_blocks + 1));
    for (int32_t p = 0; p <= n_blocks; p++)
        measured->scale[p] = 1.0;
done:
    return status;
}

void lg_measurements_dispose(lg_measurements *measured)
{
    lg_free(measured->ring);
    lg_free(measured->copy);
    lg_free(measured->values);
    lg_free(measured->median_us);
    lg_free(measured->scale);
}

void lg_measure(lego_runtime *runtime, const uint64_t *ns, uint64_t whole_ns)
{
    lg_measurements *measured = &runtime->measured;
    int32_t n_blocks = runtime->store->n_blocks;
    float *row = measured->ring +
                 (size_t)(measured->n_samples % runtime->options.window) * ((size_t)n_blocks + 1);

    for (int32_t b = 0; b < n_blocks; b++)
        row[b] = (float)(1e-3 * (double)ns[b]);
    row[n_blocks] = (float)(1e-3 * (double)whole_ns);
    measured->n_samples++;
}

double lg_measured_ms(int64_t *n_samples, lego_runtime *runtime)
{
    lg_measurements *measured = &runtime->measured;
    size_t n_blocks = (size_t)runtime->store->n_blocks, n;
    double blocks_us = 0.0;

    pthread_mutex_lock(&runtime->run_lock);
    *n_samples = measured->n_samples;
    n = (size_t)(*n_samples < runtime->options.window ? *n_samples : runtime->options.window);
    memcpy(measured->copy, measured->ring, n * (n_blocks + 1) * sizeof(*measured->copy));
    pthread_mutex_unlock(&runtime->run_lock);
    if (n == 0)
        return 0.0;
    for (size_t p = 0; p <= n_blocks; p++) {
        for (size_t i = 0; i < n; i++)
            measured->values[i] = measured->copy[i * (n_blocks + 1) + p];
        measured->median_us[p < n_blocks ? p : n_blocks + 1] = lg_quantile(measured->values, n, 0.5);
        blocks_us += p < n_blocks ? measured->median_us[p] : 0.0;
    }
    measured->median_us[n_blocks] = fmax(0.0, measured->median_us[n_blocks + 1] - blocks_us);
    return 1e-3 * measured->median_us[n_blocks + 1];
}

/* The profile's latency of the current composition's part, microseconds. */
static double profile_us(const lego_runtime *runtime, int32_t part)
{
    const lg_problem *problem = &runtime->optimizer->problem;

    return 1e-3 * (double)(part < problem->n_blocks
                               ? lg_problem_demand(problem, part, runtime->current->selection[part])->latency
                               : problem->fixed.latency);
}

static double clamp(double scale)
{
    return fmin(fmax(scale, MIN_SCALE), MAX_SCALE);
}

/* Each block's ratio, or the common one where it is about the same; together they give what was measured. */
static void update_scales(lg_measurements *measured, const lego_runtime *runtime)
{
    int32_t n_parts = runtime->store->n_blocks + 1;
    double whole_us = 0.0, scaled_us = 0.0, common;

    for (int32_t p = 0; p < n_parts; p++)
        whole_us += profile_us(runtime, p);
    if (!(whole_us > 0.0))
        return;
    common = clamp(measured->median_us[n_parts] / whole_us);
    for (int32_t p = 0; p < n_parts; p++) {
        double expected_us = profile_us(runtime, p);
        double own = expected_us > 0.0 ? clamp(measured->median_us[p] / expected_us) : common;

        measured->scale[p] = fabs(log(own / common)) < SAME ? common : own;
        scaled_us += measured->scale[p] * expected_us;
    }
    for (int32_t p = 0; p < n_parts; p++)
        measured->scale[p] *= measured->median_us[n_parts] / scaled_us;
}

void lg_rescale(lego_runtime *runtime)
{
    const lg_problem *profile = &runtime->optimizer->problem;
    const double *scale = runtime->measured.scale;
    lg_problem *scaled = &runtime->scaled;
    int64_t n_samples;

    lg_measured_ms(&n_samples, runtime);
    if (n_samples >= runtime->options.min_samples)
        update_scales(&runtime->measured, runtime);
    for (int32_t b = 0; b < profile->n_blocks; b++)
        for (int32_t v = 0; v < lg_problem_n_variants(profile, b); v++)
            lg_problem_demand(scaled, b, v)->latency =
                (int64_t)((double)lg_problem_demand(profile, b, v)->latency * scale[b]);
    scaled->fixed.latency = (int64_t)((double)profile->fixed.latency * scale[profile->n_blocks]);
}
