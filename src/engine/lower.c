/* lower.c: validated graph -> lg_program.
 *
 * First stage of planning (graph -> lower -> backend layouts and kernels -> arena -> run). One pass over the nodes in
 * topological order; each node either becomes a step or is absorbed by the step that made its input (lower_nodes.c).
 * Afterwards every cell learns when it is written and last read.
 *
 * What newcomers get wrong: a value may only be absorbed if that consumer is its *only* reader, and being a graph
 * output counts as a reader. */
#include "engine/lower.h"

#include <string.h>

#include "base/alloc.h"
#include "engine/lowering.h"

/* --- cells and steps --- */

lego_status lg_lower_cell(int32_t *out, lowering *low, int32_t value, int32_t base)
{
    lg_program *program = low->program;
    const lg_value *from = &low->graph->values[value];
    lg_cell *cell;
    lego_status status = LEGO_OK;

    if (from->dtype != LEGO_DTYPE_F32)
        LG_FAIL(LEGO_EUNSUPPORTED, "value '%s': engines compute in F32, not %s", from->name,
                lg_dtype_name(from->dtype));
    LG_TRY(LG_RESERVE(&program->cells, &program->cells_capacity, program->n_cells + 1));
    cell = &program->cells[program->n_cells];
    memset(cell, 0, sizeof(*cell));
    cell->shape = from->shape;
    cell->shape.dims[0] = program->batch;
    LG_TRY(lg_shape_count(&cell->elements, &cell->shape, from->name));
    if ((uint64_t)cell->elements > SIZE_MAX / sizeof(double))
        LG_FAIL(LEGO_EINVAL, "value '%s': a batch of %lld does not fit in memory", from->name,
                (long long)program->batch);
    cell->base = base == LG_NONE ? program->n_cells : base;
    cell->first = cell->last = -1;
    cell->input = LG_NONE;
    *out = program->n_cells++;
done:
    return status;
}

lego_status lg_lower_step_of(lg_step **out, lowering *low, const lg_node *node, int index, lg_step_kind kind)
{
    lg_program *program = low->program;
    char *name = NULL;
    int32_t *inputs = NULL;
    lg_step *step;
    int32_t cell;
    lego_status status = LEGO_OK;

    LG_TRY(LG_RESERVE(&program->steps, &program->steps_capacity, program->n_steps + 1));
    LG_TRY(LG_STRDUP(&name, node->name));
    LG_TRY(LG_CALLOC(&inputs, node->n_inputs));
    LG_TRY(lg_lower_cell(&cell, low, node->outputs[index], LG_NONE));
    for (int32_t i = 0; i < node->n_inputs; i++)
        inputs[i] = low->cell_of[node->inputs[i]];
    step = &program->steps[program->n_steps];
    memset(step, 0, sizeof(*step));
    step->kind = kind;
    step->name = name;
    step->block = node->block;
    step->residual = LG_NONE;
    step->inputs = inputs;
    step->n_inputs = node->n_inputs;
    step->output = cell;
    step->attrs = *node->attrs;
    name = NULL; /* the program owns them now */
    inputs = NULL;
    program->cells[cell].first = program->n_steps;
    low->cell_of[node->outputs[index]] = cell;
    program->n_steps++;
    *out = step;
done:
    lg_free(name);
    lg_free(inputs);
    return status;
}

lego_status lg_lower_step(lg_step **out, lowering *low, const lg_node *node, lg_step_kind kind)
{
    return lg_lower_step_of(out, low, node, 0, kind);
}

lg_step *lg_lower_producer(const lowering *low, int32_t value)
{
    const lg_program *program = low->program;
    int32_t id = low->cell_of[value];
    const lg_cell *cell = &program->cells[id];

    if (low->exact || low->readers[value] != 1 || cell->base != id || cell->first < 0)
        return NULL;
    return &program->steps[cell->first];
}

void lg_lower_absorb(lowering *low, const lg_node *node, int32_t value)
{
    low->cell_of[node->outputs[0]] = low->cell_of[value];
}

/* --- liveness --- */

static void read_at(lg_program *program, int32_t cell, int32_t step)
{
    lg_cell *base = &program->cells[program->cells[cell].base];

    if (base->last < step)
        base->last = step;
}

static void find_lifetimes(lg_program *program)
{
    for (int32_t i = 0; i < program->n_steps; i++) {
        const lg_step *step = &program->steps[i];
        read_at(program, step->output, i);
        for (int32_t k = 0; k < step->n_inputs; k++)
            read_at(program, step->inputs[k], i);
        if (step->residual != LG_NONE)
            read_at(program, step->residual, i);
    }
    for (int32_t i = 0; i < program->n_outputs; i++)
        read_at(program, program->outputs[i], program->n_steps);
}

static lego_status count_readers(lowering *low)
{
    const lg_graph *graph = low->graph;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&low->readers, graph->n_values));
    for (int32_t i = 0; i < graph->n_nodes; i++)
        for (int32_t k = 0; k < graph->nodes[i].n_inputs; k++)
            low->readers[graph->nodes[i].inputs[k]]++;
    for (int32_t i = 0; i < graph->n_outputs; i++)
        low->readers[graph->outputs[i]]++;
    /* A dropout is another name of its input: its readers read the input. Backwards, so that chains add up; then
     * forwards, so that every name of the value knows the sum. */
    for (int32_t i = graph->n_nodes - 1; i >= 0; i--)
        if (graph->nodes[i].op->kind == LG_OP_DROPOUT)
            low->readers[graph->nodes[i].inputs[0]] += low->readers[graph->nodes[i].outputs[0]] - 1;
    for (int32_t i = 0; i < graph->n_nodes; i++)
        if (graph->nodes[i].op->kind == LG_OP_DROPOUT)
            low->readers[graph->nodes[i].outputs[0]] = low->readers[graph->nodes[i].inputs[0]];
done:
    return status;
}

lego_status lg_program_create(lg_program **out, const lg_graph *graph, int64_t batch, int exact)
{
    lowering low = { NULL, graph, NULL, NULL, NULL, exact };
    lego_status status = LEGO_OK;

    *out = NULL;
    if (batch < 1)
        return lg_error(LEGO_EINVAL, "batch %lld is not positive", (long long)batch);
    LG_TRY(LG_CALLOC(&low.program, 1));
    low.program->batch = batch;
    LG_TRY(LG_CALLOC(&low.cell_of, graph->n_values));
    LG_TRY(count_readers(&low));
    LG_TRY(LG_CALLOC(&low.roles, graph->n_nodes));
    if (!exact)
        lg_patterns_find(low.roles, low.readers, graph);
    LG_TRY(LG_CALLOC(&low.program->inputs, graph->n_inputs));
    LG_TRY(LG_CALLOC(&low.program->outputs, graph->n_outputs));

    for (int32_t i = 0; i < graph->n_inputs; i++) {
        int32_t cell;
        LG_TRY(lg_lower_cell(&cell, &low, graph->inputs[i], LG_NONE));
        low.cell_of[graph->inputs[i]] = cell;
        low.program->cells[cell].input = i;
        low.program->inputs[low.program->n_inputs++] = cell;
    }
    for (int32_t i = 0; i < graph->n_nodes; i++)
        LG_TRY(lg_lower_node(&low, &graph->nodes[i]));
    for (int32_t i = 0; i < graph->n_outputs; i++)
        low.program->outputs[low.program->n_outputs++] = low.cell_of[graph->outputs[i]];
    if (!exact)
        LG_TRY(lg_program_drop_unread(low.program));
    find_lifetimes(low.program);

    *out = low.program;
    low.program = NULL; /* the caller owns it now */
done:
    lg_program_free(low.program);
    lg_free(low.cell_of);
    lg_free(low.readers);
    lg_free(low.roles);
    return status;
}
