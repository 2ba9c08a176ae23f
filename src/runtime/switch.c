/* Switching: everything slow happens before the flip, the flip is a pointer under a lock of a few instructions.
 *
 * An inference holds a reference to the composition it started on; the last one to let go frees it. A switch that fails
 * anywhere has touched nothing that runs. */
#include <string.h>

#include "base/clock.h"
#include "runtime/runtime.h"

static void report(lego_runtime *runtime, lego_event_kind kind, const int32_t *selection,
                   const lego_prediction *predicted, double measured_ms, const char *message)
{
    lego_selection view = { runtime->n_blocks, (int32_t *)(uintptr_t)selection };
    lego_event event;

    if (!runtime->options.on_event)
        return;
    memset(&event, 0, sizeof(event));
    event.kind = kind;
    event.selection = &view;
    if (predicted)
        event.predicted = *predicted;
    event.measured_ms = measured_ms;
    event.prepare_ms = runtime->prepare_ms;
    event.flip_us = runtime->flip_us;
    event.message = message;
    runtime->options.on_event(&event, runtime->options.payload);
}

lego_status lg_runtime_switch(lego_runtime *runtime, const int32_t *selection, const lego_prediction *predicted,
                              lego_event_kind kind)
{
    lg_composition *next = NULL, *before;
    double measured_ms;
    uint64_t start = lg_clock_ns();
    lego_status status = LEGO_OK;

    if (memcmp(runtime->composition->selection, selection, sizeof(*selection) * (size_t)runtime->n_blocks) == 0)
        return LEGO_OK; /* only a switch writes `composition`, and we are it */
    LG_TRY(lg_composition_get(&next, runtime, selection));
    runtime->prepare_ms = lg_clock_ms_since(start);

    start = lg_clock_ns();
    pthread_mutex_lock(&runtime->current);
    before = runtime->composition;
    runtime->composition = next;
    measured_ms = runtime->measured.whole_ns * 1e-6;
    runtime->measured.n = runtime->measured.n_parts = 0;
    runtime->measured.whole_ns = 0.0;
    runtime->n_switches++;
    pthread_mutex_unlock(&runtime->current);
    runtime->flip_us = lg_clock_ms_since(start) * 1e3;
    runtime->last_switch_ns = lg_clock_ns();

    lg_composition_unref(before);
    if (runtime->options.residency == LEGO_RESIDENCY_ON_DEMAND)
        lg_packed_cache_trim(runtime->cache);
    report(runtime, kind, selection, predicted, measured_ms, NULL);
done:
    if (status != LEGO_OK)
        report(runtime, LEGO_EVENT_SWITCH_FAILED, runtime->composition->selection, NULL, 0.0, lego_last_error());
    return status;
}

lego_status lego_runtime_switch(lego_runtime *runtime, const lego_selection *selection)
{
    lego_status status;

    if (!runtime || !selection)
        return lg_error(LEGO_EINVAL, "runtime and selection must not be NULL");
    if (selection->n_blocks != runtime->n_blocks)
        return lg_error(LEGO_EINVAL, "the selection is for %d blocks, the store has %d", (int)selection->n_blocks,
                        (int)runtime->n_blocks);
    pthread_mutex_lock(&runtime->switching);
    status = lg_runtime_switch(runtime, selection->variants, NULL, LEGO_EVENT_SWITCHED);
    pthread_mutex_unlock(&runtime->switching);
    return status;
}
