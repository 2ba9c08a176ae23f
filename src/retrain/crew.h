/* A few threads that stay: libtorch and oneDNN keep caches by thread, so starting new ones for every batch is slow. */
#ifndef LG_RETRAIN_CREW_H
#define LG_RETRAIN_CREW_H

#include "base/status.h"

typedef struct lg_crew lg_crew;

/* Task `index` of a job; tasks of one job run at the same time, in any order. */
typedef lego_status (*lg_crew_task)(void *job, int32_t index);

/* `n_threads` including the caller; `start` (may be NULL) runs first on each of the others. */
lego_status lg_crew_create(lg_crew **out, int n_threads, void (*start)(void *payload), void *payload);
void lg_crew_free(lg_crew *crew);
/* Run tasks 0 .. n - 1, begun in that order, and wait for all. The first failure, by index, is returned with its
 * message. A NULL crew runs them one by one. */
lego_status lg_crew_run(lg_crew *crew, int32_t n, lg_crew_task task, void *job);

#endif
