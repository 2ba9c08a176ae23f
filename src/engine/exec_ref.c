/* exec_ref.c: the reference engine: every step by the plain C kernels (plain.c), row-major, on one thread; the oracle of
 * every other engine.
 *
 * What newcomers get wrong: results are deterministic to the bit, and planned with `exact` also independent of what stands
 * around a node, because nothing is folded or fused: a composition of originals equals the model. */
#include <string.h>

#include "base/alloc.h"
#include "engine/cache.h"
#include "engine/plain.h"
#include "engine/plan.h"

typedef struct ref_state {
    const float **cells;       /* base cells: where the data is; graph inputs are bound by begin() */
    float **written;           /* the same for what steps write */
    void **scratch;            /* per step */
    lg_cache_entry **weights;  /* per step, NULL where there are none */
    const float **inputs;      /* of the step under way */
    float *const *outputs;     /* of the run under way */
} ref_state;

static const char *ref_name(void)
{
    return "ref";
}

/* One request a base cell that a step writes, one a step's scratch. */
static lego_status place(lg_plan *plan, ref_state *state)
{
    const lg_program *program = plan->program;
    size_t n = (size_t)program->n_cells + (size_t)program->n_steps;
    lg_arena_request *requests = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&requests, n));
    for (int32_t i = 0; i < program->n_cells; i++) {
        const lg_cell *cell = &program->cells[i];
        int owns = cell->base == i && cell->first >= 0;
        requests[i] = (lg_arena_request){ owns ? (size_t)cell->elements * sizeof(float) : 0, cell->first, cell->last,
                                          0 };
    }
    for (int32_t i = 0; i < program->n_steps; i++)
        requests[program->n_cells + i] =
            (lg_arena_request){ lg_plain_scratch_bytes(program, &program->steps[i]), i, i, 0 };
    LG_TRY(lg_plan_allocate(plan, requests, n));
    for (int32_t i = 0; i < program->n_cells; i++)
        if (program->cells[i].base == i && program->cells[i].first >= 0) {
            state->written[i] = (float *)(void *)(plan->arena + requests[i].offset);
            state->cells[i] = state->written[i];
        }
    for (int32_t i = 0; i < program->n_steps; i++)
        state->scratch[i] = plan->arena + requests[program->n_cells + i].offset;
done:
    lg_free(requests);
    return status;
}

static lego_status ref_prepare(lg_plan *plan)
{
    const lg_program *program = plan->program;
    ref_state *state = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&state, 1));
    plan->state = state;
    LG_TRY(LG_CALLOC(&state->cells, program->n_cells));
    LG_TRY(LG_CALLOC(&state->written, program->n_cells));
    LG_TRY(LG_CALLOC(&state->scratch, program->n_steps));
    LG_TRY(LG_CALLOC(&state->weights, program->n_steps));
    LG_TRY(LG_CALLOC(&state->inputs, lg_program_max_inputs(program)));
    LG_TRY(LG_CALLOC(&plan->op_blocks, program->n_steps + program->n_outputs));
    LG_TRY(LG_CALLOC(&plan->op_weight_bytes, program->n_steps + program->n_outputs));
    plan->n_ops = program->n_steps + program->n_outputs;
    for (int32_t i = 0; i < program->n_steps; i++) {
        plan->op_blocks[i] = program->steps[i].block;
        if (!lg_step_is_layer(&program->steps[i]))
            continue;
        LG_TRY(lg_plain_get_weights(&state->weights[i], plan->cache, &program->steps[i]));
        plan->op_weight_bytes[i] = lg_cache_entry_bytes(state->weights[i]);
        plan->weight_bytes += plan->op_weight_bytes[i];
    }
    for (int32_t i = 0; i < program->n_outputs; i++)
        plan->op_blocks[program->n_steps + i] = LG_NONE;
    LG_TRY(place(plan, state));
done:
    return status;
}

static void ref_dispose(lg_plan *plan)
{
    ref_state *state = plan->state;

    if (!state)
        return;
    for (int32_t i = 0; state->weights && i < plan->program->n_steps; i++)
        lg_cache_release(plan->cache, state->weights[i]);
    lg_free(state->weights);
    lg_free(state->inputs);
    lg_free(state->cells);
    lg_free(state->written);
    lg_free(state->scratch);
    lg_free(state);
}

static lego_status ref_begin(lg_plan *plan, const float *const *inputs, float *const *outputs)
{
    ref_state *state = plan->state;

    for (int32_t i = 0; i < plan->program->n_inputs; i++)
        state->cells[plan->program->inputs[i]] = inputs[i];
    state->outputs = outputs;
    return LEGO_OK;
}

static const float *cell_data(const lg_plan *plan, int32_t cell)
{
    const ref_state *state = plan->state;

    return state->cells[plan->program->cells[cell].base];
}

static lego_status ref_run_op(lg_plan *plan, int32_t op)
{
    const lg_program *program = plan->program;
    ref_state *state = plan->state;
    const lg_step *step;
    const lg_packed *packed;
    lg_plain_call call;

    if (op >= program->n_steps) { /* hand a graph output over */
        int32_t output = op - program->n_steps;
        int32_t cell = program->outputs[output];
        memcpy(state->outputs[output], cell_data(plan, cell), (size_t)program->cells[cell].elements * sizeof(float));
        return LEGO_OK;
    }
    step = &program->steps[op];
    for (int32_t i = 0; i < step->n_inputs; i++)
        state->inputs[i] = cell_data(plan, step->inputs[i]);
    packed = state->weights[op] ? lg_cache_payload(state->weights[op]) : NULL;
    call = (lg_plain_call){ .program = program,
                            .step = step,
                            .in = LG_LAYOUT_PLAIN,
                            .out = LG_LAYOUT_PLAIN,
                            .block = 1,
                            .y = state->written[step->output],
                            .inputs = state->inputs,
                            .residual = step->residual == LG_NONE ? NULL : cell_data(plan, step->residual),
                            .weight = packed ? packed->weight : NULL,
                            .bias = packed ? packed->bias : NULL,
                            .scratch = state->scratch[op],
                            .precise = 1,
                            .n_parts = 1,
                            .isa = LG_ISA_BASE };
    lg_plain_run(&call);
    return LEGO_OK;
}

static void ref_end(lg_plan *plan)
{
    ref_state *state = plan->state;

    state->outputs = NULL;
}

static void ref_describe(lg_str *out, const lg_plan *plan)
{
    for (int32_t i = 0; i < plan->program->n_steps; i++) {
        const lg_step *step = &plan->program->steps[i];
        lg_str_appendf(out, "%s: ref ", step->name);
        lg_step_describe(out, step);
        lg_str_append(out, "\n");
    }
}

const lg_backend lg_backend_ref = {
    .engine = LEGO_ENGINE_REF,
    .name = ref_name,
    .prepare = ref_prepare,
    .dispose = ref_dispose,
    .begin = ref_begin,
    .run_op = ref_run_op,
    .end = ref_end,
    .describe = ref_describe,
};
