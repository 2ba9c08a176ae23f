/* operations_run.c: a run of the fast backend: bind the caller's memory, walk the list of operations, describe it.
 *
 * What newcomers get wrong: kernels are bound to the arena once, when planning; only what reads a graph input or writes a
 * graph output is bound again, each run. */
#include <string.h>

#include "engine/assemble.h"
#include "engine/plain.h"

void *lg_operation_address(const lg_plan *plan, where place)
{
    const fast_state *state = plan->state;

    if (place.kind == FIXED) /* read, never written: `shared` */
        return lg_tensor_data(&plan->program->steps[place.index].weight);
    return place.kind == BUFFER ? plan->arena + state->buffers[place.index].offset : NULL;
}

lego_status lg_operations_begin(lg_plan *plan, const float *const *inputs, float *const *outputs)
{
    fast_state *state = plan->state;
    lego_status status = LEGO_OK;

    state->previous_threads = lg_kernels_enter(plan->n_threads);
    state->inputs = inputs;
    state->outputs = outputs;
    for (int32_t i = 0; i < plan->n_ops; i++) {
        const operation *op = &state->ops[i];
        if (op->kind != CALL)
            continue;
        for (int k = 0; k < 2; k++)
            if (op->in[k].kind == INPUT)
                LG_TRY(lg_call_bind_in(op->call, k, inputs[op->in[k].index]));
        if (op->out.kind == OUTPUT)
            LG_TRY(lg_call_bind_out(op->call, outputs[op->out.index]));
    }
done:
    return status;
}

static const void *source(const lg_plan *plan, where place)
{
    const fast_state *state = plan->state;

    return place.kind == INPUT ? state->inputs[place.index] : lg_operation_address(plan, place);
}

static void run_on_host(lg_plan *plan, const operation *op)
{
    fast_state *state = plan->state;
    const lg_packed *packed = op->weights ? lg_cache_payload(op->weights) : NULL;
    lg_plain_call call = { .program = plan->program,
                           .step = &plan->program->steps[op->step],
                           .in = op->candidate.in,
                           .out = op->candidate.out,
                           .block = lg_kernels_block(),
                           .y = lg_operation_address(plan, op->out),
                           .inputs = state->host_inputs,
                           .weight = packed ? packed->weight : NULL,
                           .bias = packed ? packed->bias : NULL,
                           .scratch = lg_operation_address(plan, op->scratch),
                           .n_parts = op->n_parts,
                           .isa = lg_kernels_isa() };

    for (int32_t i = 0; i < op->n_inputs; i++)
        state->host_inputs[i] = source(plan, op->inputs[i]);
    lg_plain_run(&call);
}

lego_status lg_operations_run(lg_plan *plan, int32_t index)
{
    fast_state *state = plan->state;
    const operation *op = &state->ops[index];

    switch (op->kind) {
    case CALL:
        return lg_call_run(op->call);
    case COPY:
        memcpy(op->out.kind == OUTPUT ? state->outputs[op->out.index] : lg_operation_address(plan, op->out),
               source(plan, op->in[0]), op->bytes);
        return LEGO_OK;
    case HOST:
        run_on_host(plan, op);
        return LEGO_OK;
    }
    return LEGO_OK;
}

void lg_operations_end(lg_plan *plan)
{
    fast_state *state = plan->state;

    lg_kernels_leave(state->previous_threads);
    state->inputs = NULL;
    state->outputs = NULL;
}

static void describe_operation(lg_str *out, const lg_plan *plan, const operation *op)
{
    const lg_step *step = op->step == LG_NONE ? NULL : &plan->program->steps[op->step];

    lg_str_appendf(out, "%s: ", step ? step->name : "output");
    if (op->kind == COPY) {
        lg_str_append(out, "copy\n");
        return;
    }
    lg_str_appendf(out, "%s %s", op->kind == HOST ? "plain C" : lg_kernel_name(lg_cache_payload(op->kernel)),
                   lg_layout_name(op->candidate.in));
    if (op->candidate.in != op->candidate.out)
        lg_str_appendf(out, ">%s", lg_layout_name(op->candidate.out));
    if (op->is_reorder) {
        lg_str_append(out, " reorder\n");
        return;
    }
    lg_str_append(out, " ");
    lg_step_describe(out, step);
    if (op->candidate.method == LG_METHOD_MERGED)
        lg_str_appendf(out, ", %d groups joined", (int)op->candidate.param);
    lg_str_append(out, "\n");
}

void lg_operations_describe(lg_str *out, const lg_plan *plan)
{
    const fast_state *state = plan->state;

    for (int32_t i = 0; i < plan->n_ops; i++)
        describe_operation(out, plan, &state->ops[i]);
}
