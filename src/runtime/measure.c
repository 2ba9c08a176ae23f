/* What inferences take: moving averages by block, and how they compare with the device profile.
 *
 * The ratio measured / profile of each block outlives switches: if the clock went down or another process took half of
 * the cache, that holds for the block's other variants too, and the optimiser's problem is scaled by it.
 *
 * What newcomers get wrong: one inference may take ten times as long as usual because something else ran. A sample counts
 * as at most twice the average (and at least half of it), so that such a spike moves it little and a real change still
 * gets through within a few inferences. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "runtime/runtime.h"

#define MOST_STEP 2.0
#define MIN_SCALE 0.01
#define MAX_SCALE 100.0
#define SAME 0.1 /* a block that is off by this much more or less than the whole is off like the whole */

lego_status lg_measurements_init(lg_measurements *measured, int32_t n_blocks)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&measured->part_us, n_blocks + 1));
    LG_TRY(LG_CALLOC(&measured->scale, n_blocks + 1));
    for (int32_t p = 0; p <= n_blocks; p++)
        measured->scale[p] = 1.0;
    lg_measurements_restart(measured);
done:
    return status;
}

void lg_measurements_dispose(lg_measurements *measured)
{
    lg_free(measured->part_us);
    lg_free(measured->scale);
}

void lg_measurements_restart(lg_measurements *measured)
{
    measured->n_samples = 0;
    measured->whole_us = NAN;
}

/* The average with one more sample, the first of which it takes over. */
static double average(double before, double sample, double weight, int64_t n_samples)
{
    if (n_samples == 0)
        return sample;
    if (before > 0.0)
        sample = fmin(fmax(sample, before / MOST_STEP), before * MOST_STEP);
    weight = fmax(weight, 1.0 / (double)(n_samples + 1)); /* the first samples count alike */
    return before + weight * (sample - before);
}

void lg_measure(lego_runtime *runtime, const uint64_t *ns, uint64_t whole_ns)
{
    lg_measurements *measured = &runtime->measured;
    double weight = runtime->options.smoothing, frame_us = 1e-3 * (double)whole_ns;
    int32_t n_blocks = runtime->store->n_blocks;

    measured->whole_us = average(measured->whole_us, frame_us, weight, measured->n_samples);
    for (int32_t b = 0; b < n_blocks; b++) {
        double part_us = 1e-3 * (double)ns[b];

        frame_us -= part_us;
        measured->part_us[b] = average(measured->part_us[b], part_us, weight, measured->n_samples);
    }
    measured->part_us[n_blocks] = average(measured->part_us[n_blocks], fmax(frame_us, 0.0), weight, measured->n_samples);
    measured->n_samples++;
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
    common = clamp(measured->whole_us / whole_us);
    for (int32_t p = 0; p < n_parts; p++) {
        double expected_us = profile_us(runtime, p);
        double own = expected_us > 0.0 ? clamp(measured->part_us[p] / expected_us) : common;

        measured->scale[p] = fabs(log(own / common)) < SAME ? common : own;
        scaled_us += measured->scale[p] * expected_us;
    }
    for (int32_t p = 0; p < n_parts; p++)
        measured->scale[p] *= measured->whole_us / scaled_us;
}

void lg_rescale(lego_runtime *runtime)
{
    const lg_problem *profile = &runtime->optimizer->problem;
    lg_problem *scaled = &runtime->scaled;

    pthread_mutex_lock(&runtime->run_lock);
    if (runtime->measured.n_samples >= runtime->options.min_samples)
        update_scales(&runtime->measured, runtime);
    for (int32_t b = 0; b < profile->n_blocks; b++)
        for (int32_t v = 0; v < lg_problem_n_variants(profile, b); v++)
            lg_problem_demand(scaled, b, v)->latency =
                (int64_t)((double)lg_problem_demand(profile, b, v)->latency * runtime->measured.scale[b]);
    scaled->fixed.latency = (int64_t)((double)profile->fixed.latency * runtime->measured.scale[profile->n_blocks]);
    pthread_mutex_unlock(&runtime->run_lock);
}
