/* assemble.c: the fast backend. Steps become operations: kernels bound to memory, with reorders where layouts differ.
 *
 * prepare(): tune.c says what candidates cost, layout.c picks one a step, then operations.c lists the operations in
 * order, their buffers are placed by arena.c, weights packed (or found packed in the cache), and kernels bound to memory.
 * A run walks the list (operations_run.c).
 *
 * What newcomers get wrong: time in the arena is counted in operations, not in steps, since reorders and copies come
 * between steps. */
#include "engine/assemble.h"

#include "base/alloc.h"

/* --- kernels: costs, choice --- */

static lego_status tune_all(lg_step_options *options, lg_reorder_costs *reorders, const lg_plan *plan,
                            lg_tuner *tuner)
{
    const lg_program *program = plan->program;
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < program->n_steps; i++) {
        options[i].work = lg_work_of(program, &program->steps[i], tuner->block);
        LG_TRY(lg_tune_step(&options[i], tuner));
    }
    for (int32_t i = 0; i < program->n_cells; i++)
        if (program->cells[i].base == i)
            LG_TRY(lg_tune_reorders(&reorders[i], tuner, &program->cells[i]));
done:
    return status;
}

/* Get every chosen kernel; *missing: one turned out not to exist and was noted, choose again. */
static lego_status get_kernels(lg_cache_entry **kernels, int *missing, lg_step_options *options,
                               const int32_t *choices, const lg_plan *plan, lg_tuner *tuner)
{
    lego_status status = LEGO_OK;

    *missing = 0;
    for (int32_t i = 0; i < plan->program->n_steps; i++) {
        const lg_candidate *candidate = &options[i].candidates[choices[i]];
        lg_cache_release(plan->cache, kernels[i]);
        kernels[i] = NULL;
        if (candidate->method == LG_METHOD_HOST)
            continue;
        LG_TRY(lg_kernel_get(&kernels[i], plan->cache, &options[i].work, candidate, plan->n_threads));
        if (!lg_kernel_exists(lg_cache_payload(kernels[i]))) {
            LG_TRY(lg_tune_forbid(tuner, &options[i].work, candidate));
            LG_TRY(lg_tune_step(&options[i], tuner));
            *missing = 1;
        }
    }
done:
    return status;
}

static lego_status choose(lg_step_options *options, lg_reorder_costs *reorders, int32_t *choices,
                          lg_cache_entry **kernels, const lg_plan *plan)
{
    lg_tuner tuner;
    int missing = 1;
    lego_status status = LEGO_OK;

    lg_tuner_init(&tuner, plan->cache, plan->program, plan->n_threads, plan->autotune);
    LG_TRY(tune_all(options, reorders, plan, &tuner));
    while (missing) { /* ends: each round forbids a candidate, and without any the choice fails */
        LG_TRY(lg_layouts_choose(choices, plan->program, tuner.block, options, reorders));
        LG_TRY(get_kernels(kernels, &missing, options, choices, plan, &tuner));
    }
done:
    lg_tuner_dispose(&tuner);
    return status;
}

/* --- binding --- */

static lego_status bind(lg_plan *plan)
{
    fast_state *state = plan->state;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&plan->op_blocks, plan->n_ops));
    LG_TRY(LG_CALLOC(&plan->op_weight_bytes, plan->n_ops));
    LG_TRY(lg_plan_allocate(plan, state->buffers, state->n_buffers));
    for (int32_t i = 0; i < plan->n_ops; i++) {
        operation *op = &state->ops[i];
        const lg_packed *packed = op->weights ? lg_cache_payload(op->weights) : NULL;
        plan->op_blocks[i] = op->step == LG_NONE ? LG_NONE : plan->program->steps[op->step].block;
        plan->op_weight_bytes[i] = op->weights ? lg_cache_entry_bytes(op->weights) : 0;
        if (op->kind == CALL)
            LG_TRY(lg_call_create(&op->call, lg_cache_payload(op->kernel),
                                  &(lg_call_memory){ .in = lg_operation_address(plan, op->in[0]),
                                                     .in2 = lg_operation_address(plan, op->in[1]),
                                                     .out = lg_operation_address(plan, op->out),
                                                     .weight = packed ? packed->weight : NULL,
                                                     .bias = packed ? packed->bias : NULL,
                                                     .scratch = lg_operation_address(plan, op->scratch) }));
    }
done:
    return status;
}

/* --- the backend --- */

static lego_status fast_prepare(lg_plan *plan)
{
    const lg_program *program = plan->program;
    fast_state *state = NULL;
    lg_step_options *options = NULL;
    lg_reorder_costs *reorders = NULL;
    int32_t *choices = NULL;
    lg_cache_entry **kernels = NULL;
    int previous = lg_kernels_enter(plan->n_threads);
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&state, 1));
    plan->state = state;
    LG_TRY(LG_CALLOC(&state->places, (size_t)program->n_cells * LG_N_LAYOUTS));
    LG_TRY(LG_CALLOC(&state->host_inputs, lg_program_max_inputs(program)));
    LG_TRY(LG_CALLOC(&options, program->n_steps));
    LG_TRY(LG_CALLOC(&reorders, program->n_cells));
    LG_TRY(LG_CALLOC(&choices, program->n_steps));
    LG_TRY(LG_CALLOC(&kernels, program->n_steps));
    LG_TRY(choose(options, reorders, choices, kernels, plan));
    LG_TRY(lg_operations_list(plan, options, choices, kernels, reorders));
    LG_TRY(bind(plan));
done:
    for (int32_t i = 0; kernels && i < program->n_steps; i++)
        lg_cache_release(plan->cache, kernels[i]);
    lg_free(options);
    lg_free(reorders);
    lg_free(choices);
    lg_free(kernels);
    lg_kernels_leave(previous);
    return status;
}

static void fast_dispose(lg_plan *plan)
{
    fast_state *state = plan->state;

    if (!state)
        return;
    for (int32_t i = 0; i < plan->n_ops; i++) {
        lg_call_free(state->ops[i].call);
        lg_cache_release(plan->cache, state->ops[i].kernel);
        lg_cache_release(plan->cache, state->ops[i].weights);
        lg_free(state->ops[i].inputs);
    }
    lg_free(state->host_inputs);
    lg_free(state->ops);
    lg_free(state->buffers);
    lg_free(state->places);
    lg_free(state);
}

const lg_backend lg_backend_onednn = {
    .engine = LEGO_ENGINE_ONEDNN,
    .name = lg_kernels_name,
    .prepare = fast_prepare,
    .dispose = fast_dispose,
    .begin = lg_operations_begin,
    .run_op = lg_operations_run,
    .end = lg_operations_end,
    .describe = lg_operations_describe,
};
