/* The context: log sink, progress, threads, seed. */
#include "base/context.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"

lego_status lego_context_create(lego_context **out)
{
    if (!out)
        return lg_error(LEGO_EINVAL, "out must not be NULL");
    return LG_CALLOC(out, 1);
}

void lego_context_free(lego_context *context)
{
    lg_free(context);
}

lego_status lego_context_set_log(lego_context *context, lego_log_level level, lego_log_fn fn, void *payload)
{
    if (!context)
        return lg_error(LEGO_EINVAL, "context must not be NULL");
    context->log_level = level;
    context->log = fn;
    context->log_payload = payload;
    return LEGO_OK;
}

lego_status lego_context_set_progress(lego_context *context, lego_progress_fn fn, void *payload)
{
    if (!context)
        return lg_error(LEGO_EINVAL, "context must not be NULL");
    context->progress = fn;
    context->progress_payload = payload;
    return LEGO_OK;
}

lego_status lego_context_set_threads(lego_context *context, int n_threads)
{
    if (!context)
        return lg_error(LEGO_EINVAL, "context must not be NULL");
    if (n_threads < 0 || n_threads > 1024)
        return lg_error(LEGO_EINVAL, "threads=%d is not in [0, 1024]", n_threads);
    context->n_threads = n_threads;
    return LEGO_OK;
}

int lego_context_threads(const lego_context *context)
{
    return context && context->n_threads > 0 ? context->n_threads : lg_cpu_count();
}

lego_status lego_context_set_seed(lego_context *context, uint64_t seed)
{
    if (!context)
        return lg_error(LEGO_EINVAL, "context must not be NULL");
    context->seed = seed;
    return LEGO_OK;
}

uint64_t lego_context_seed(const lego_context *context)
{
    return context ? context->seed : 0;
}

void lg_log(const lego_context *context, lego_log_level level, const char *module, const char *fmt, ...)
{
    char message[1024];
    va_list args;

    if (!context || !context->log || level > context->log_level)
        return;
    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    context->log(level, module, message, context->log_payload);
}

lego_status lg_progress(const lego_context *context, const char *stage, size_t done, size_t total)
{
    if (!context || !context->progress || context->progress(stage, done, total, context->progress_payload) == 0)
        return LEGO_OK;
    return lg_error(LEGO_ECANCELED, "%s: cancelled after %zu of %zu", stage, done, total);
}

int lg_cpu_count(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return 1;
    return CPU_COUNT(&set) > 0 ? CPU_COUNT(&set) : 1;
}
