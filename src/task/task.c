/* The tasks by name, and whether task, model and data set fit together.
 *
 * Flow: every stage that runs labelled data (eval, profile) asks here first, so that a wrong combination is one clear message
 * before minutes of work. A new task is one file with its table and one line in `tasks`. */
#include "task/task.h"

#include <string.h>

typedef const lego_task *(*task_getter)(void);

static const task_getter tasks[] = { lego_task_classification };
#define N_TASKS (sizeof(tasks) / sizeof(tasks[0]))

const char *lego_task_name(size_t index)
{
    return index < N_TASKS ? tasks[index]()->name : NULL;
}

const lego_task *lego_task_find(const char *name)
{
    for (size_t i = 0; name && i < N_TASKS; i++)
        if (strcmp(tasks[i]()->name, name) == 0)
            return tasks[i]();
    return NULL;
}

lego_status lg_task_read(lego_task *out, const lego_task *task)
{
    lego_status status = LEGO_OK;

    *out = (lego_task)LEGO_TASK_INIT;
    LG_TRY(lg_options_read(out, sizeof(*out), task ? task : lego_task_classification()));
    if (!out->name || !out->score_create || !out->score_add || !out->score_result || !out->score_free)
        LG_FAIL(LEGO_EINVAL, "task '%s': a name and all score functions must be set", out->name ? out->name : "");
    if (out->n_metrics < 1 || out->n_metrics > LEGO_TASK_MAX_METRICS)
        LG_FAIL(LEGO_EINVAL, "task '%s': %d metrics, allowed are 1 to %d", out->name, out->n_metrics,
                LEGO_TASK_MAX_METRICS);
    for (int32_t i = 0; i < out->n_metrics; i++)
        if (!out->metrics[i])
            LG_FAIL(LEGO_EINVAL, "task '%s': metric %d has no name", out->name, i);
done:
    return status;
}

lego_status lg_task_check(const lego_task *task, const lg_graph *graph, const lego_dataset *dataset,
                          int64_t *elements)
{
    const lg_value *input;
    char have[128], why[256] = "";

    if (graph->n_inputs != 1)
        return lg_error(LEGO_EINVAL, "model '%s' has %d inputs, data set '%s' delivers one", graph->name,
                        graph->n_inputs, dataset->name);
    input = &graph->values[graph->inputs[0]];
    if (input->shape.n_dims != 4 || input->shape.dims[1] != dataset->shape[0] ||
        input->shape.dims[2] != dataset->shape[1] || input->shape.dims[3] != dataset->shape[2])
        return lg_error(LEGO_EINVAL, "model '%s' takes %s, data set '%s' delivers (N,%d,%d,%d)", graph->name,
                        lg_shape_format(have, &input->shape), dataset->name, dataset->shape[0], dataset->shape[1],
                        dataset->shape[2]);
    for (int32_t i = 0; i < graph->n_outputs; i++)
        elements[i] = lg_value_elements(&graph->values[graph->outputs[i]]);
    if (task->check &&
        task->check(task, graph->n_outputs, elements, dataset->source.n_classes, why) != LEGO_OK)
        return lg_error(LEGO_EINVAL, "model '%s' on data set '%s': %s", graph->name, dataset->name, why);
    return LEGO_OK;
}
