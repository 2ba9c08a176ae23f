/* Budgets and adaptation.
 *
 * The device profile says what each variant took when it was measured; the machine of this moment may be slower, and not
 * equally so for every block. So: factor[b] = measured time of block b / predicted time of its variant, both of the
 * selection that runs, smoothed. The problem is solved again with every latency of block b times factor[b] (LegoDNN's
 * re-scaling, section 4.3 of the paper, but from moving averages in composition instead of one cold inference).
 *
 * Two reasons to switch, with room between them so that noise does not swing it: the measured latency is over the limit;
 * or a selection that fits is better by `min_gain` and the last switch is longer ago than a hundred times what it took. */
#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "runtime/runtime.h"

#define MIN_MEASURED 8     /* inferences after a switch before their average counts */
#define SWITCH_COST 100.0  /* a voluntary switch waits so many times the last one's duration */
#define MAX_FACTOR 1000.0

static lego_status need_optimizer(const lego_runtime *runtime)
{
    if (runtime->optimizer)
        return LEGO_OK;
    return lg_error(LEGO_ENOTFOUND, "%s", runtime->why_no_optimizer);
}

/* Take over what was measured since the last switch. Returns the smoothed latency in ms, 0 if there is too little. */
static double update_factors(lego_runtime *runtime)
{
    const lg_problem *problem = &runtime->optimizer->problem;
    const int32_t *selection = runtime->composition->selection;
    const double smoothing = runtime->have_factors ? 0.5 : 1.0;
    double whole_ms = 0.0;

    pthread_mutex_lock(&runtime->current);
    if (runtime->measured.n >= MIN_MEASURED && runtime->measured.n_parts > 0) {
        whole_ms = runtime->measured.whole_ns * 1e-6;
        for (int32_t b = 0; b <= runtime->n_blocks; b++) {
            const int64_t predicted_ns = b < runtime->n_blocks
                                             ? problem->demands[problem->first[b] + selection[b]].latency
                                             : problem->fixed.latency;
            double factor;

            if (predicted_ns <= 0)
                continue;
            factor = runtime->measured.part_ns[b] / (double)predicted_ns;
            factor = factor < 1.0 / MAX_FACTOR ? 1.0 / MAX_FACTOR : factor > MAX_FACTOR ? MAX_FACTOR : factor;
            runtime->factors[b] += smoothing * (factor - runtime->factors[b]);
        }
        runtime->have_factors = 1;
    }
    pthread_mutex_unlock(&runtime->current);
    return whole_ms;
}

/* The optimiser's problem with the latencies of this moment. */
static lego_status scaled_problem(lg_problem *out, const lego_runtime *runtime)
{
    lego_status status = lg_problem_copy(out, &runtime->optimizer->problem);

    if (status != LEGO_OK)
        return status;
    for (int32_t b = 0; b < runtime->n_blocks; b++)
        for (int32_t v = out->first[b]; v < out->first[b + 1]; v++)
            out->demands[v].latency = (int64_t)((double)out->demands[v].latency * runtime->factors[b]);
    out->fixed.latency = (int64_t)((double)out->fixed.latency * runtime->factors[runtime->n_blocks]);
    return LEGO_OK;
}

static int same_selection(const lego_runtime *runtime, const int32_t *selection)
{
    return memcmp(runtime->composition->selection, selection, sizeof(*selection) * (size_t)runtime->n_blocks) == 0;
}

/* Solve for the budget and switch; `relax` takes the least violation where nothing fits. */
static lego_status solve_and_switch(lego_runtime *runtime, const lego_budget *budget, int relax, double min_gain,
                                    int *switched)
{
    lego_solve_options options = LEGO_SOLVE_OPTIONS_INIT;
    lego_solution *solution = NULL;
    lego_prediction now, then;
    lg_problem problem;
    const int32_t *selection;
    lego_status status = LEGO_OK;

    memset(&problem, 0, sizeof(problem));
    options.relax = relax;
    LG_TRY(scaled_problem(&problem, runtime));
    LG_TRY(lg_optimizer_solve(&solution, runtime->optimizer, &problem, budget, &options));
    LG_TRY(lego_solution_prediction(&then, solution, 0));
    selection = lego_solution_selection(solution, 0)->variants;
    lg_optimizer_predict(&now, runtime->optimizer, &problem, runtime->composition->selection);
    if (same_selection(runtime, selection) || (min_gain > 0.0 && then.accuracy - now.accuracy < min_gain))
        goto done;
    LG_TRY(lg_runtime_switch(runtime, selection, &then,
                             lego_solution_get_status(solution) == LEGO_SOLUTION_RELAXED ? LEGO_EVENT_INFEASIBLE
                                                                                         : LEGO_EVENT_SWITCHED));
    *switched = 1;
done:
    lego_solution_free(solution);
    lg_problem_dispose(&problem);
    return status;
}

lego_status lego_runtime_set_budget(lego_runtime *runtime, const lego_budget *budget)
{
    lego_budget wanted = LEGO_BUDGET_INIT;
    int switched = 0;
    lego_status status = LEGO_OK;

    if (!runtime)
        return lg_error(LEGO_EINVAL, "runtime must not be NULL");
    LG_TRY(lg_options_read(&wanted, sizeof(wanted), budget));
    pthread_mutex_lock(&runtime->switching);
    status = need_optimizer(runtime);
    if (status == LEGO_OK) {
        update_factors(runtime);
        status = solve_and_switch(runtime, &wanted, 0, 0.0, &switched);
    }
    if (status == LEGO_OK)
        runtime->budget = wanted;
    pthread_mutex_unlock(&runtime->switching);
done:
    return status;
}

lego_status lego_runtime_adapt(lego_runtime *runtime, int *switched)
{
    double measured_ms, waited_ms;
    int done_switch = 0, missed;
    lego_status status = LEGO_OK;

    if (!runtime)
        return lg_error(LEGO_EINVAL, "runtime must not be NULL");
    pthread_mutex_lock(&runtime->switching);
    LG_TRY(need_optimizer(runtime));
    measured_ms = update_factors(runtime);
    if (measured_ms <= 0.0 || (runtime->budget.latency_ms <= 0.0 && runtime->budget.memory_bytes <= 0))
        goto done;
    missed = runtime->budget.latency_ms > 0.0 && measured_ms > runtime->budget.latency_ms;
    waited_ms = lg_clock_ms_since(runtime->last_switch_ns);
    if (!missed && waited_ms < SWITCH_COST * runtime->prepare_ms)
        goto done;
    LG_TRY(solve_and_switch(runtime, &runtime->budget, 1, missed ? 0.0 : runtime->options.min_gain, &done_switch));
done:
    pthread_mutex_unlock(&runtime->switching);
    if (switched)
        *switched = done_switch;
    return status;
}

/* --- the adaptation thread --- */

static void *adapt_until_stopped(void *argument)
{
    lego_runtime *runtime = argument;
    struct timespec until;

    pthread_mutex_lock(&runtime->stop_lock);
    while (!runtime->stop) {
        int64_t ns;

        clock_gettime(CLOCK_MONOTONIC, &until);
        ns = until.tv_nsec + (int64_t)runtime->options.adapt_ms * 1000000;
        until.tv_sec += (time_t)(ns / 1000000000);
        until.tv_nsec = (long)(ns % 1000000000);
        while (!runtime->stop && pthread_cond_timedwait(&runtime->wake, &runtime->stop_lock, &until) != ETIMEDOUT)
            continue;
        if (runtime->stop)
            break;
        pthread_mutex_unlock(&runtime->stop_lock);
        if (lego_runtime_adapt(runtime, NULL) != LEGO_OK)
            lg_log(runtime->context, LEGO_LOG_WARNING, "runtime", "adapting failed: %s", lego_last_error());
        pthread_mutex_lock(&runtime->stop_lock);
    }
    pthread_mutex_unlock(&runtime->stop_lock);
    return NULL;
}

lego_status lg_adapter_start(lego_runtime *runtime)
{
    if (runtime->options.adapt_ms <= 0)
        return LEGO_OK;
    if (pthread_create(&runtime->adapter, NULL, adapt_until_stopped, runtime) != 0)
        return lg_error(LEGO_ENOMEM, "cannot start the adaptation thread");
    runtime->adapter_runs = 1;
    return LEGO_OK;
}

void lg_adapter_stop(lego_runtime *runtime)
{
    if (!runtime->adapter_runs)
        return;
    pthread_mutex_lock(&runtime->stop_lock);
    runtime->stop = 1;
    pthread_cond_signal(&runtime->wake);
    pthread_mutex_unlock(&runtime->stop_lock);
    pthread_join(runtime->adapter, NULL);
    runtime->adapter_runs = 0;
}
