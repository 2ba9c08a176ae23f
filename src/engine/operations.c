/* operations.c: from chosen candidates to the list of operations: kernel calls, plain C, reorders and copies, in order.
 *
 * What newcomers get wrong: an activation may be at hand in several layouts at once, each in a buffer of its own. */
#include "base/alloc.h"
#include "engine/assemble.h"
#include "engine/plain.h"

static const where nowhere = { NOWHERE, 0, 0 };

/* --- buffers and operations --- */

static lego_status add_buffer(where *out, fast_state *state, size_t bytes)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_RESERVE(&state->buffers, &state->buffers_capacity, state->n_buffers + 1));
    state->buffers[state->n_buffers] = (lg_arena_request){ bytes, INT32_MAX, -1, 0 };
    *out = (where){ BUFFER, (int32_t)state->n_buffers, 0 };
    state->n_buffers++;
done:
    return status;
}

static void touch(fast_state *state, where place, int32_t op)
{
    lg_arena_request *buffer;

    if (place.kind != BUFFER)
        return;
    buffer = &state->buffers[place.index];
    if (op < buffer->first)
        buffer->first = op;
    if (op > buffer->last)
        buffer->last = op;
}

/* Append; the plan owns what the operation refers to from here on. */
static lego_status add_operation(lg_plan *plan, const operation *op)
{
    fast_state *state = plan->state;
    lego_status status = LEGO_OK;

    LG_TRY(LG_RESERVE(&state->ops, &state->ops_capacity, plan->n_ops + 1));
    state->ops[plan->n_ops] = *op;
    touch(state, op->in[0], plan->n_ops);
    touch(state, op->in[1], plan->n_ops);
    for (int32_t i = 0; i < op->n_inputs; i++)
        touch(state, op->inputs[i], plan->n_ops);
    touch(state, op->out, plan->n_ops);
    touch(state, op->scratch, plan->n_ops);
    plan->n_ops++;
done:
    return status;
}

static where *place_of(const lg_plan *plan, int32_t cell, lg_layout layout)
{
    const fast_state *state = plan->state;

    return &state->places[(size_t)plan->program->cells[cell].base * LG_N_LAYOUTS + layout];
}

static void set_place(lg_plan *plan, int32_t cell, lg_layout layout, where place)
{
    int32_t base = plan->program->cells[cell].base;
    unsigned bits = lg_layout_bits(&plan->program->cells[base], layout, lg_kernels_block());

    for (int other = 0; other < LG_N_LAYOUTS; other++)
        if (bits & (1u << other))
            *place_of(plan, cell, (lg_layout)other) = place;
}

/* --- listing operations --- */

static lego_status add_reorder(lg_plan *plan, int32_t step, int32_t cell, lg_layout from, lg_layout to, where in,
                               where *out)
{
    int64_t dims[LG_WORK_DIMS];
    lg_work work;
    const lg_kernel *kernel;
    operation op = { .kind = CALL,
                     .step = step,
                     .candidate = { LG_METHOD_DIRECT, 0, from, to },
                     .is_reorder = 1,
                     .in = { in, nowhere } };
    lego_status status = LEGO_OK;

    lg_work_dims(dims, &plan->program->cells[cell]);
    work = lg_work_reorder(dims);
    LG_TRY(lg_kernel_get(&op.kernel, plan->cache, &work, &op.candidate, plan->n_threads));
    kernel = lg_cache_payload(op.kernel);
    if (!lg_kernel_exists(kernel))
        LG_FAIL(LEGO_EBACKEND, "no kernel reorders %s to %s", lg_layout_name(from), lg_layout_name(to));
    if (out->kind == NOWHERE)
        LG_TRY(add_buffer(out, plan->state, lg_kernel_out_bytes(kernel)));
    op.out = *out;
    if (lg_kernel_scratch_bytes(kernel) > 0)
        LG_TRY(add_buffer(&op.scratch, plan->state, lg_kernel_scratch_bytes(kernel)));
    LG_TRY(add_operation(plan, &op));
    op.kernel = NULL; /* the plan owns it now */
done:
    lg_cache_release(plan->cache, op.kernel);
    return status;
}

/* Make a cell be at hand in a layout. */
static lego_status bring(where *out, lg_plan *plan, int32_t step, int32_t cell, lg_layout wanted,
                         const lg_reorder_costs *reorders)
{
    int32_t base = plan->program->cells[cell].base;
    lg_layout layout = lg_layout_wanted(plan->program, cell, wanted);
    unsigned at_hand = 0;
    lg_layout from;
    lego_status status = LEGO_OK;

    *out = *place_of(plan, cell, layout);
    if (out->kind != NOWHERE)
        return LEGO_OK;
    for (int other = 0; other < LG_N_LAYOUTS; other++)
        if (place_of(plan, cell, (lg_layout)other)->kind != NOWHERE)
            at_hand |= 1u << other;
    from = lg_layout_source(at_hand, &reorders[base], layout);
    LG_TRY(add_reorder(plan, step, base, from, layout, *place_of(plan, cell, from), out));
    set_place(plan, cell, layout, *out);
done:
    return status;
}

/* The residual in the layout and buffer that the step will overwrite. */
static lego_status bring_residual(where *out, lg_plan *plan, int32_t step, const lg_candidate *candidate,
                                  const lg_reorder_costs *reorders)
{
    const lg_program *program = plan->program;
    int32_t residual = program->steps[step].residual;
    int64_t elements = program->cells[residual].elements;
    where from;
    operation copy = { .kind = COPY, .step = step, .candidate = *candidate };
    lego_status status = LEGO_OK;

    LG_TRY(bring(&from, plan, step, residual, candidate->out, reorders));
    *out = from;
    if (from.kind == BUFFER && !from.shared && lg_residual_is_free(program, step, candidate, lg_kernels_block()))
        goto done;
    copy.bytes = from.kind == BUFFER ? ((fast_state *)plan->state)->buffers[from.index].bytes
                                     : (size_t)elements * sizeof(float);
    LG_TRY(add_buffer(out, plan->state, copy.bytes));
    copy.in[0] = from;
    copy.out = *out;
    LG_TRY(add_operation(plan, &copy));
done:
    return status;
}

/* Element-wise kernels write over an input that dies with them. Returns that input's index, or LG_NONE. Not where channels
 * are padded: oneDNN 2.6.3's addition with an activation then computes wrong numbers in place. */
static int32_t input_to_overwrite(const lg_plan *plan, int32_t step, const operation *op)
{
    const lg_program *program = plan->program;
    const lg_step *what = &program->steps[step];
    const int commutes = what->binary == LG_BINARY_ADD || what->binary == LG_BINARY_MUL;
    int64_t dims[LG_WORK_DIMS];

    if ((what->kind != LG_STEP_BINARY && what->kind != LG_STEP_ACT) || op->kind != CALL)
        return LG_NONE;
    lg_work_dims(dims, &program->cells[what->output]);
    if (op->candidate.out == LG_LAYOUT_BLOCKED && dims[1] % lg_kernels_block() != 0)
        return LG_NONE;
    for (int32_t i = 0; i < (commutes ? what->n_inputs : 1); i++)
        if (op->in[i].kind == BUFFER && !op->in[i].shared && program->cells[program->cells[what->inputs[i]].base].last == step)
            return i;
    return LG_NONE;
}

/* What a plain C kernel writes: of a blocked image, whole blocks. */
static size_t host_bytes(const lg_plan *plan, int32_t step, lg_layout layout)
{
    const lg_planes planes = lg_planes_of(&plan->program->cells[plan->program->steps[step].output], layout,
                                          lg_kernels_block());

    return (size_t)lg_planes_elements(&planes) * sizeof(float);
}

static lego_status place_output(operation *op, lg_plan *plan, int32_t step, const lg_reorder_costs *reorders)
{
    const lg_step *what = &plan->program->steps[step];
    int32_t over = input_to_overwrite(plan, step, op);
    size_t bytes = op->kind == HOST ? host_bytes(plan, step, op->candidate.out)
                                    : lg_kernel_out_bytes(lg_cache_payload(op->kernel));
    lego_status status = LEGO_OK;

    if (what->residual != LG_NONE) {
        LG_TRY(bring_residual(&op->out, plan, step, &op->candidate, reorders));
    } else if (over != LG_NONE) {
        where first = op->in[0];
        op->in[0] = op->in[over]; /* kernels write over their first operand */
        if (over == 1)
            op->in[1] = first;
        op->out = op->in[0];
    } else {
        LG_TRY(add_buffer(&op->out, plan->state, bytes));
    }
done:
    return status;
}

static lego_status bring_inputs(operation *op, lg_plan *plan, int32_t step, const lg_reorder_costs *reorders)
{
    const lg_program *program = plan->program;
    const lg_step *what = &program->steps[step];
    lego_status status = LEGO_OK;

    if (op->kind == HOST) {
        LG_TRY(LG_CALLOC(&op->inputs, what->n_inputs));
        op->n_inputs = what->n_inputs;
    }
    for (int32_t i = 0; i < what->n_inputs; i++)
        LG_TRY(bring(op->kind == HOST ? &op->inputs[i] : &op->in[i], plan, step, lg_work_input(program, what, i),
                     op->candidate.in, reorders));
done:
    return status;
}

static lego_status get_weights(operation *op, lg_plan *plan, const lg_step *what)
{
    lego_status status = LEGO_OK;

    if (op->kind == HOST && lg_step_is_layer(what))
        LG_TRY(lg_plain_get_weights(&op->weights, plan->cache, what));
    else if (op->kind == CALL && lg_kernel_weight_bytes(lg_cache_payload(op->kernel)) > 0)
        LG_TRY(lg_kernel_pack(&op->weights, lg_cache_payload(op->kernel), plan->cache, what));
    if (op->weights)
        plan->weight_bytes += lg_cache_entry_bytes(op->weights);
done:
    return status;
}

/* The output is the input under another name: both cells are at hand in one place. */
static lego_status add_alias(lg_plan *plan, int32_t step, const lg_candidate *candidate,
                             const lg_reorder_costs *reorders)
{
    const lg_step *what = &plan->program->steps[step];
    where place;
    lego_status status = LEGO_OK;

    LG_TRY(bring(&place, plan, step, what->inputs[0], candidate->in, reorders));
    place.shared = 1;
    for (int layout = 0; layout < LG_N_LAYOUTS; layout++) {
        where *other = place_of(plan, what->inputs[0], (lg_layout)layout);
        other->shared |= other->kind == place.kind && other->index == place.index;
    }
    set_place(plan, what->output, candidate->out, place);
done:
    return status;
}

/* Takes over `*kernel`. */
static lego_status add_step_operations(lg_plan *plan, int32_t step, const lg_step_options *options, int32_t choice,
                                       lg_cache_entry **kernel, const lg_reorder_costs *reorders)
{
    const lg_program *program = plan->program;
    const lg_step *what = &program->steps[step];
    operation op = { .kind = *kernel ? CALL : HOST,
                     .step = step,
                     .candidate = options->candidates[choice],
                     .kernel = *kernel };
    size_t scratch_bytes;
    lego_status status = LEGO_OK;

    *kernel = NULL;
    if (what->kind == LG_STEP_CONSTANT && program->batch == 1) { /* one sample: the tensor itself serves */
        set_place(plan, what->output, op.candidate.out, (where){ FIXED, step, 1 });
        return LEGO_OK;
    }
    if (op.kind == HOST && lg_plain_is_copy(program, what, op.candidate.in, op.candidate.out))
        return add_alias(plan, step, &op.candidate, reorders);
    if (op.kind == HOST) {
        op.n_parts = lg_plain_parts(lg_plain_us(program, what, op.candidate.in, op.candidate.out, lg_kernels_block()),
                                    plan->n_threads);
        scratch_bytes = (size_t)op.n_parts * lg_plain_scratch_bytes(program, what);
    } else {
        scratch_bytes = lg_kernel_scratch_bytes(lg_cache_payload(op.kernel));
    }
    LG_TRY(bring_inputs(&op, plan, step, reorders));
    LG_TRY(place_output(&op, plan, step, reorders));
    if (scratch_bytes > 0)
        LG_TRY(add_buffer(&op.scratch, plan->state, scratch_bytes));
    LG_TRY(get_weights(&op, plan, what));
    set_place(plan, what->output, op.candidate.out, op.out);
    LG_TRY(add_operation(plan, &op));
    op.kernel = op.weights = NULL; /* the plan owns them now */
    op.inputs = NULL;
done:
    lg_cache_release(plan->cache, op.kernel);
    lg_cache_release(plan->cache, op.weights);
    lg_free(op.inputs);
    return status;
}

static lego_status add_output(lg_plan *plan, int32_t index, const lg_reorder_costs *reorders)
{
    const lg_program *program = plan->program;
    int32_t cell = program->outputs[index];
    int32_t base = program->cells[cell].base;
    where from = *place_of(plan, cell, LG_LAYOUT_PLAIN);
    where to = { OUTPUT, index, 0 };
    operation copy = { .kind = COPY, .step = LG_NONE, .out = to };
    unsigned at_hand = 0;
    lg_layout layout;
    lego_status status = LEGO_OK;

    if (from.kind != NOWHERE) {
        copy.in[0] = from;
        copy.bytes = (size_t)program->cells[cell].elements * sizeof(float);
        return add_operation(plan, &copy);
    }
    for (int other = 0; other < LG_N_LAYOUTS; other++)
        if (place_of(plan, cell, (lg_layout)other)->kind != NOWHERE)
            at_hand |= 1u << other;
    layout = lg_layout_source(at_hand, &reorders[base], LG_LAYOUT_PLAIN);
    LG_TRY(add_reorder(plan, LG_NONE, base, layout, LG_LAYOUT_PLAIN, *place_of(plan, cell, layout), &to));
done:
    return status;
}

lego_status lg_operations_list(lg_plan *plan, const lg_step_options *options, const int32_t *choices,
                               lg_cache_entry **kernels, const lg_reorder_costs *reorders)
{
    const lg_program *program = plan->program;
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < program->n_inputs; i++)
        set_place(plan, program->inputs[i], LG_LAYOUT_PLAIN, (where){ INPUT, i, 0 });
    for (int32_t i = 0; i < program->n_steps; i++)
        LG_TRY(add_step_operations(plan, i, &options[i], choices[i], &kernels[i], reorders));
    for (int32_t i = 0; i < program->n_outputs; i++)
        LG_TRY(add_output(plan, i, reorders));
done:
    return status;
}
