/* program.c: what a lowered graph says about itself. lower.c makes it.
 *
 * What newcomers get wrong: a step owns its list of inputs and shares its tensors with the graph, so a program outlives
 * the graph it came from. */
#include "base/alloc.h"
#include "engine/lower.h"

static const char *const kind_names[] = {
    [LG_STEP_CONV] = "conv",
    [LG_STEP_CONV_TRANSPOSE] = "conv_transpose",
    [LG_STEP_LINEAR] = "linear",
    [LG_STEP_AFFINE] = "affine",
    [LG_STEP_BINARY] = "binary",
    [LG_STEP_ACT] = "act",
    [LG_STEP_PRELU] = "prelu",
    [LG_STEP_MAX_POOL] = "max_pool",
    [LG_STEP_AVG_POOL] = "avg_pool",
    [LG_STEP_ADAPTIVE_AVG_POOL] = "adaptive_avg_pool",
    [LG_STEP_ADAPTIVE_MAX_POOL] = "adaptive_max_pool",
    [LG_STEP_PAD] = "pad",
    [LG_STEP_UPSAMPLE] = "upsample",
    [LG_STEP_CONCAT] = "concat",
    [LG_STEP_SLICE] = "slice",
    [LG_STEP_PERMUTE] = "permute",
    [LG_STEP_RESHAPE] = "reshape",
    [LG_STEP_SHUFFLE] = "shuffle",
    [LG_STEP_CONSTANT] = "constant",
    [LG_STEP_MEAN] = "mean",
    [LG_STEP_SOFTMAX] = "softmax",
    [LG_STEP_LOG_SOFTMAX] = "log_softmax",
    [LG_STEP_LAYER_NORM] = "layer_norm",
    [LG_STEP_GROUP_NORM] = "group_norm",
    [LG_STEP_MATMUL] = "matmul",
};

const char *lg_step_kind_name(lg_step_kind kind)
{
    return kind_names[kind];
}

void lg_step_describe(lg_str *out, const lg_step *step)
{
    static const char *const binaries[] = { "add", "sub", "mul", "div", "min", "max" };

    if (step->kind == LG_STEP_ACT)
        lg_str_append(out, lg_act_name(step->act.kind));
    else
        lg_str_append(out, step->kind == LG_STEP_BINARY ? binaries[step->binary] : lg_step_kind_name(step->kind));
    if (step->norm.set && step->kind != LG_STEP_AFFINE)
        lg_str_append(out, ", batch norm folded");
    if (step->residual != LG_NONE)
        lg_str_append(out, ", + residual");
    if (step->act.kind != LG_ACT_NONE && step->kind != LG_STEP_ACT)
        lg_str_appendf(out, ", %s", lg_act_name(step->act.kind));
}

int lg_cell_axes(const lg_cell *cell)
{
    return cell->shape.n_dims == 4 || cell->shape.n_dims == 5 ? cell->shape.n_dims - 2 : 0;
}

/* Attributes that list axes, NULL where a step has none. */
typedef struct lists {
    const int64_t *kernel, *stride, *dilation, *pads, *output_padding;
} lists;

static lists lists_of(const lg_step *step)
{
    const lg_attrs *attrs = &step->attrs;

    switch (step->kind) {
    case LG_STEP_CONV:
        return (lists){ step->weight.shape.dims + 2, attrs->conv.stride, attrs->conv.dilation, attrs->conv.pads, NULL };
    case LG_STEP_CONV_TRANSPOSE:
        return (lists){ step->weight.shape.dims + 2, attrs->conv_transpose.stride, attrs->conv_transpose.dilation,
                        attrs->conv_transpose.pads, attrs->conv_transpose.output_padding };
    case LG_STEP_MAX_POOL:
    case LG_STEP_AVG_POOL:
        return (lists){ attrs->pool.kernel, attrs->pool.stride, attrs->pool.dilation, attrs->pool.pads, NULL };
    case LG_STEP_PAD:
        return (lists){ NULL, NULL, NULL, attrs->pad.pads, NULL };
    default:
        return (lists){ NULL, NULL, NULL, NULL, NULL };
    }
}

lg_sliding lg_step_sliding(const lg_program *program, const lg_step *step)
{
    const lists from = lists_of(step);
    const int n = lg_cell_axes(&program->cells[step->output]);
    lg_sliding s = { { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 }, { 0 }, { 0 } };

    for (int i = 0; i < n; i++) {
        const int to = LG_MAX_AXES - n + i;
        if (from.kernel) {
            s.kernel[to] = from.kernel[i];
            s.stride[to] = from.stride[i];
            s.dilation[to] = from.dilation[i];
        }
        if (from.pads) {
            s.before[to] = from.pads[i];
            s.after[to] = from.pads[n + i] - (from.output_padding ? from.output_padding[i] : 0);
        }
    }
    return s;
}

int lg_step_is_layer(const lg_step *step)
{
    return step->kind == LG_STEP_CONV || step->kind == LG_STEP_CONV_TRANSPOSE || step->kind == LG_STEP_LINEAR;
}

int64_t lg_step_groups(const lg_step *step)
{
    if (step->kind == LG_STEP_CONV)
        return step->attrs.conv.groups;
    return step->kind == LG_STEP_CONV_TRANSPOSE ? step->attrs.conv_transpose.groups : 1;
}

static void step_dispose(lg_step *step)
{
    lg_free(step->name);
    lg_free(step->inputs);
    lg_tensor_dispose(&step->weight);
    lg_tensor_dispose(&step->bias);
    lg_tensor_dispose(&step->norm.gamma);
    lg_tensor_dispose(&step->norm.beta);
    lg_tensor_dispose(&step->norm.mean);
    lg_tensor_dispose(&step->norm.variance);
}

void lg_program_free(lg_program *program)
{
    if (!program)
        return;
    for (int32_t i = 0; i < program->n_steps; i++)
        step_dispose(&program->steps[i]);
    lg_free(program->steps);
    lg_free(program->cells);
    lg_free(program->inputs);
    lg_free(program->outputs);
    lg_free(program);
}

lego_status lg_program_drop_unread(lg_program *program)
{
    uint8_t *read = NULL; /* base cells */
    int32_t kept = 0;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&read, program->n_cells));
    for (int32_t i = 0; i < program->n_outputs; i++)
        read[program->cells[program->outputs[i]].base] = 1;
    for (int32_t i = program->n_steps - 1; i >= 0; i--) {
        const lg_step *step = &program->steps[i];
        if (!read[program->cells[step->output].base])
            continue;
        for (int32_t k = 0; k < step->n_inputs; k++)
            read[program->cells[step->inputs[k]].base] = 1;
        if (step->residual != LG_NONE)
            read[program->cells[step->residual].base] = 1;
    }
    for (int32_t i = 0; i < program->n_steps; i++) {
        lg_step *step = &program->steps[i];
        lg_cell *cell = &program->cells[step->output];
        if (!read[cell->base]) {
            step_dispose(step);
            cell->first = -1;
            continue;
        }
        cell->first = kept;
        if (kept < i)
            program->steps[kept] = *step;
        kept++;
    }
    program->n_steps = kept;
done:
    lg_free(read);
    return status;
}

int32_t lg_program_max_inputs(const lg_program *program)
{
    int32_t most = 0;

    for (int32_t i = 0; i < program->n_steps; i++)
        if (program->steps[i].n_inputs > most)
            most = program->steps[i].n_inputs;
    return most;
}
