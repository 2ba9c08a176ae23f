/* Monotonic time. */
#ifndef LG_BASE_CLOCK_H
#define LG_BASE_CLOCK_H

#include <stdint.h>

uint64_t lg_clock_ns(void);
uint64_t lg_clock_thread_ns(void); /* time this thread computed: what others on the machine do does not count */
double lg_clock_ms_since(uint64_t start_ns);

#endif
