/* Switching: because the host asks, because the budget changed, or because inferences are late or have time to spare.
 *
 * All of it happens under plan_lock on the caller's thread or on the runtime's own; inferences only meet the flip. Host
 * callbacks come after the locks are given back, so they may call the runtime.
 *
 * What newcomers get wrong: using slack needs more care than catching up. A late composition is replaced at once; a more
 * accurate one must fit with room to spare (hysteresis) and be worth it (min_gain), or two selections would take turns. */
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/context.h"
#include "runtime/runtime.h"

lego_status lg_check_selection(const lego_runtime *runtime, const lego_selection *selection)
{
    if (selection->n_blocks != runtime->store->n_blocks)
        return lg_error(LEGO_EINVAL, "the selection has %d blocks, the store has %d", selection->n_blocks,
                        runtime->store->n_blocks);
    for (int32_t b = 0; b < selection->n_blocks; b++)
        if (selection->variants[b] < 0 || selection->variants[b] >= runtime->store->blocks[b].n_variants)
            return lg_error(LEGO_EINVAL, "block '%s': variant %d is not in 0 to %d", runtime->store->blocks[b].name,
                            selection->variants[b], runtime->store->blocks[b].n_variants - 1);
    return LEGO_OK;
}

static int is_current(const lego_runtime *runtime, const int32_t *selection)
{
    return memcmp(runtime->current->selection, selection,
                  (size_t)runtime->store->n_blocks * sizeof(*selection)) == 0;
}

lego_status lg_switch_to(lego_runtime *runtime, const int32_t *selection, lego_event_kind kind,
                         lego_event *event, int *switched)
{
    uint64_t start = lg_clock_ns();
    lego_selection *copy = NULL;
    lg_composition *composition;
    int64_t n_samples;
    lego_status status = LEGO_OK;

    *switched = 0;
    if (is_current(runtime, selection))
        return LEGO_OK;
    if (runtime->options.on_event) /* before the flip: nothing may fail after it */
        LG_TRY(lg_selection_create(&copy, runtime->store, selection));
    LG_TRY(lg_composition_get(&composition, runtime, selection));
    memset(event, 0, sizeof(*event));
    event->kind = kind;
    event->measured_ms = lg_measured_ms(&n_samples, runtime);
    if (runtime->optimizer)
        lg_optimizer_predict(&event->predicted, runtime->optimizer, &runtime->scaled, selection);
    lg_composition_flip(runtime, composition, lg_clock_ms_since(start));
    event->prepare_ms = runtime->prepare_ms;
    event->flip_us = runtime->flip_us;
    event->selection = copy;
    copy = NULL;
    *switched = 1;
done:
    lego_selection_free(copy);
    return status;
}

void lg_report(lego_runtime *runtime, lego_event *event, int switched)
{
    if (!switched)
        return;
    if (runtime->options.on_event)
        runtime->options.on_event(event, runtime->options.payload);
    lego_selection_free((lego_selection *)event->selection); /* made by lg_switch_to() */
}

lego_status lego_runtime_switch(lego_runtime *runtime, const lego_selection *selection)
{
    lego_event event;
    int switched = 0;
    lego_status status = LEGO_OK;

    if (!runtime || !selection)
        return lg_error(LEGO_EINVAL, "runtime and selection must not be NULL");
    LG_TRY(lg_check_selection(runtime, selection));
    pthread_mutex_lock(&runtime->plan_lock);
    if (runtime->optimizer)
        lg_rescale(runtime);
    status = lg_switch_to(runtime, selection->variants, LEGO_EVENT_SWITCHED, &event, &switched);
    pthread_mutex_unlock(&runtime->plan_lock);
    lg_report(runtime, &event, switched);
done:
    return status;
}

lego_status lego_runtime_prepare(lego_runtime *runtime, const lego_selection *selection)
{
    lg_composition *composition;
    lego_status status = LEGO_OK;

    if (!runtime || !selection)
        return lg_error(LEGO_EINVAL, "runtime and selection must not be NULL");
    LG_TRY(lg_check_selection(runtime, selection));
    pthread_mutex_lock(&runtime->plan_lock);
    status = lg_composition_get(&composition, runtime, selection->variants);
    pthread_mutex_unlock(&runtime->plan_lock);
done:
    return status;
}

/* --- budgets --- */

static lego_status solve(lego_solution **out, const lego_runtime *runtime, const lego_budget *budget, int relax)
{
    lego_solve_options options = LEGO_SOLVE_OPTIONS_INIT;

    options.relax = relax;
    return lg_optimizer_solve(out, runtime->optimizer, &runtime->scaled, budget, &options);
}

static lego_status apply_budget(lego_runtime *runtime, const lego_budget *limits, lego_event *event,
                                int *switched)
{
    lego_solution *solution = NULL;
    lego_budget before = runtime->budget;
    lego_status status = LEGO_OK;

    if (!runtime->optimizer)
        LG_FAIL(LEGO_ENOTFOUND, "%s", runtime->why_no_optimizer);
    lg_rescale(runtime);
    LG_TRY(solve(&solution, runtime, limits, runtime->options.relax));
    runtime->budget = *limits;
    LG_TRY(lg_switch_to(runtime, solution->selections[0]->variants,
                        solution->status == LEGO_SOLUTION_RELAXED ? LEGO_EVENT_INFEASIBLE : LEGO_EVENT_SWITCHED,
                        event, switched));
done:
    if (status != LEGO_OK)
        runtime->budget = before;
    lego_solution_free(solution);
    return status;
}

lego_status lego_runtime_set_budget(lego_runtime *runtime, const lego_budget *budget)
{
    lego_budget limits = LEGO_BUDGET_INIT;
    lego_event event;
    int switched = 0;
    lego_status status = LEGO_OK;

    if (!runtime)
        return lg_error(LEGO_EINVAL, "runtime must not be NULL");
    LG_TRY(lg_options_read(&limits, sizeof(limits), budget));
    pthread_mutex_lock(&runtime->plan_lock);
    status = apply_budget(runtime, &limits, &event, &switched);
    pthread_mutex_unlock(&runtime->plan_lock);
    lg_report(runtime, &event, switched);
done:
    return status;
}

/* --- adapting --- */

/* Too slow: the best selection that fits as things are, or the nearest to it. */
static lego_status catch_up(lego_runtime *runtime, lego_event *event, int *switched)
{
    lego_solution *solution = NULL;
    lego_prediction now;
    lego_status status = LEGO_OK;

    LG_TRY(solve(&solution, runtime, &runtime->budget, 1));
    lg_optimizer_predict(&now, runtime->optimizer, &runtime->scaled, runtime->current->selection);
    if (solution->predictions[0].latency_ms < now.latency_ms)
        LG_TRY(lg_switch_to(runtime, solution->selections[0]->variants,
                            solution->status == LEGO_SOLUTION_RELAXED ? LEGO_EVENT_INFEASIBLE : LEGO_EVENT_LATE,
                            event, switched));
done:
    lego_solution_free(solution);
    return status;
}

/* What share of the selection's bytes a switch would have to pack. */
static double share_to_pack(const lego_runtime *runtime, const int32_t *selection)
{
    const lg_problem *problem = &runtime->optimizer->problem;
    double total = 0.0, changed = 0.0;

    if (runtime->options.residency == LEGO_RESIDENCY_ALL)
        return 0.0;
    for (int32_t b = 0; b < problem->n_blocks; b++) {
        double bytes = (double)lg_problem_demand(problem, b, selection[b])->bytes;

        total += bytes;
        changed += selection[b] != runtime->current->selection[b] ? bytes : 0.0;
    }
    return total > 0.0 ? changed / total : 0.0;
}

/* Time to spare: the best selection that fits with room left, if it gains enough. */
static lego_status use_slack(lego_runtime *runtime, lego_event *event, int *switched)
{
    lego_budget budget = runtime->budget;
    lego_solution *solution = NULL;
    lego_prediction now;
    const int32_t *selection;
    lego_status status = LEGO_OK;

    budget.latency_ms *= 1.0 - runtime->options.hysteresis;
    status = solve(&solution, runtime, &budget, 0);
    if (status == LEGO_EINFEASIBLE) {
        status = LEGO_OK;
        goto done; /* what runs now is in time: good enough */
    }
    LG_TRY(status);
    selection = solution->selections[0]->variants;
    lg_optimizer_predict(&now, runtime->optimizer, &runtime->scaled, runtime->current->selection);
    if (solution->predictions[0].accuracy - now.accuracy >=
        runtime->options.min_gain * (1.0 + share_to_pack(runtime, selection)))
        LG_TRY(lg_switch_to(runtime, selection, LEGO_EVENT_SLACK, event, switched));
done:
    lego_solution_free(solution);
    return status;
}

static lego_status need_profiles(const lego_runtime *runtime)
{
    if (!runtime->optimizer)
        return lg_error(LEGO_ENOTFOUND, "%s", runtime->why_no_optimizer);
    if (!runtime->optimizer->device)
        return lg_error(LEGO_ENOTFOUND, "'%s' has no latency profile: run `legodnn profile STORE --latency` on the device",
                        runtime->store->path);
    return LEGO_OK;
}

static lego_status adapt(lego_runtime *runtime, lego_event *event, int *switched)
{
    int64_t n_samples;
    double ms = lg_measured_ms(&n_samples, runtime);
    lego_status status = need_profiles(runtime);

    if (status != LEGO_OK)
        return status;
    if (runtime->budget.latency_ms <= 0.0 || n_samples < runtime->options.min_samples)
        return LEGO_OK;
    lg_rescale(runtime);
    return ms > runtime->budget.latency_ms ? catch_up(runtime, event, switched) : use_slack(runtime, event, switched);
}

lego_status lego_runtime_adapt(lego_runtime *runtime, int *switched)
{
    lego_event event;
    int did = 0;
    lego_status status;

    if (!runtime)
        return lg_error(LEGO_EINVAL, "runtime must not be NULL");
    pthread_mutex_lock(&runtime->plan_lock);
    status = adapt(runtime, &event, &did);
    pthread_mutex_unlock(&runtime->plan_lock);
    lg_report(runtime, &event, did);
    if (switched)
        *switched = did;
    return status;
}

/* --- the background thread --- */

static void report_failure(lego_runtime *runtime)
{
    lego_event event;
    lego_selection *selection = NULL;

    lg_log(runtime->context, LEGO_LOG_ERROR, "runtime", "adapting failed: %s", lego_last_error());
    memset(&event, 0, sizeof(event));
    event.kind = LEGO_EVENT_SWITCH_FAILED;
    event.message = lego_last_error();
    if (!runtime->options.on_event || lego_runtime_selection(&selection, runtime) != LEGO_OK)
        return;
    event.selection = selection;
    runtime->options.on_event(&event, runtime->options.payload);
    lego_selection_free(selection);
}

/* Wait for the interval or the end; whether to go on. */
static int wait_interval(lego_runtime *runtime)
{
    struct timespec until;
    int go_on, code = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += runtime->options.adapt_ms / 1000;
    until.tv_nsec += (long)(runtime->options.adapt_ms % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&runtime->plan_lock);
    while (!runtime->stopping && code == 0)
        code = pthread_cond_timedwait(&runtime->wake, &runtime->plan_lock, &until);
    go_on = !runtime->stopping;
    pthread_mutex_unlock(&runtime->plan_lock);
    return go_on;
}

static void *adapt_forever(void *payload)
{
    lego_runtime *runtime = payload;

    while (wait_interval(runtime))
        if (lego_runtime_adapt(runtime, NULL) != LEGO_OK)
            report_failure(runtime);
    return NULL;
}

lego_status lg_adapt_start(lego_runtime *runtime)
{
    int code;
    lego_status status = need_profiles(runtime);

    if (status != LEGO_OK)
        return status;
    code = pthread_create(&runtime->thread, NULL, adapt_forever, runtime);
    if (code != 0)
        return lg_error(LEGO_ENOMEM, "cannot start a thread: %s", strerror(code));
    runtime->has_thread = 1;
    return LEGO_OK;
}

void lg_adapt_stop(lego_runtime *runtime)
{
    if (!runtime->has_thread)
        return;
    pthread_mutex_lock(&runtime->plan_lock);
    runtime->stopping = 1;
    pthread_cond_signal(&runtime->wake);
    pthread_mutex_unlock(&runtime->plan_lock);
    pthread_join(runtime->thread, NULL);
    runtime->has_thread = 0;
}
