/* Monotonic time and a thread's own time in nanoseconds. */
#include "base/clock.h"

#include <time.h>

uint64_t lg_clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t lg_clock_thread_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

double lg_clock_ms_since(uint64_t start_ns)
{
    return (double)(lg_clock_ns() - start_ns) * 1e-6;
}
