/* Monotonic time. */
#ifndef LG_BASE_CLOCK_H
#define LG_BASE_CLOCK_H

#include <stdint.h>

uint64_t lg_clock_ns(void);
double lg_clock_ms_since(uint64_t start_ns);

#endif
