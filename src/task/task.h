/* Tasks inside the library: checks that a table is complete and suits a model and a data set. */
#ifndef LG_TASK_TASK_H
#define LG_TASK_TASK_H

#include "data/dataset.h"
#include "graph/graph.h"
#include "legodnn/task.h"

/* A caller's table (NULL: classification) copied over ours, with every function that must be there. */
lego_status lg_task_read(lego_task *out, const lego_task *task);
/* The model has one float input of the data set's shape and outputs that suit the task. `elements` receives the floats a
 * sample of every output (n_outputs entries). */
lego_status lg_task_check(const lego_task *task, const lg_graph *graph, const lego_dataset *dataset,
                          int64_t *elements);
/* How many samples at a time a graph runs best on so many threads: a power of two, at most `most`. */
int32_t lg_batch_for_cache(int n_threads, const lg_graph *graph, int32_t most);

#endif
