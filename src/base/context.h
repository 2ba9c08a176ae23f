/* The context's inside: what every stage reads, and how it logs and reports progress. */
#ifndef LG_BASE_CONTEXT_H
#define LG_BASE_CONTEXT_H

#include "base/status.h"
#include "legodnn/context.h"

struct lego_context {
    lego_log_level log_level;
    lego_log_fn log;
    void *log_payload;
    lego_progress_fn progress;
    void *progress_payload;
    int n_threads; /* 0 = all */
    uint64_t seed;
};

/* A NULL context is silent, seed 0, all cores. */
void lg_log(const lego_context *context, lego_log_level level, const char *module, const char *fmt, ...)
    LG_PRINTF(4, 5);
/* LEGO_ECANCELED once the callback asked to stop. */
lego_status lg_progress(const lego_context *context, const char *stage, size_t done, size_t total);
int lg_cpu_count(void); /* cores this process may use */

#endif
