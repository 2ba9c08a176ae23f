/* lower.c: validated graph -> lg_program.
 *
 * First stage of planning (graph -> lower -> backend layouts and kernels -> arena -> run). One pass over the nodes in
 * topological order; each node either becomes a step or is absorbed by the step that made its input:
 *   batch_norm        into a layer (scales rows of the weight, moves the bias)
 *   activations       into the step before, as its activation
 *   add               into the later of its two operands, as its residual sum; of a constant, as its bias
 *   dropout, flatten, reshape   into nothing: another name, another shape of the same data
 * A split becomes one slice an output; a mean over rows and columns is the pool it is.
 *
 * What newcomers get wrong: a value may only be absorbed if that consumer is its *only* reader, and being a graph
 * output counts as a reader. The residual must exist before the step that adds it runs, hence "the later operand". */
#include "engine/lower.h"

#include <string.h>

#include "base/alloc.h"
#include "engine/fold.h"
#include "engine/patterns.h"

typedef struct lowering {
    lg_program *program;
    const lg_graph *graph;
    int32_t *cell_of; /* value -> cell */
    int32_t *readers; /* value -> how often it is read, graph outputs included */
    lg_role *roles;   /* of nodes */
    int exact;
} lowering;

/* --- cells and steps --- */

static lego_status add_cell(int32_t *out, lowering *low, int32_t value, int32_t base)
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

/* The step that makes output `index` of a node. */
static lego_status add_step_of(lg_step **out, lowering *low, const lg_node *node, int index, lg_step_kind kind)
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
    LG_TRY(add_cell(&cell, low, node->outputs[index], LG_NONE));
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

static lego_status add_step(lg_step **out, lowering *low, const lg_node *node, lg_step_kind kind)
{
    return add_step_of(out, low, node, 0, kind);
}

/* The step that made `value`, if this reader is the only one and nothing but the value itself lies there (no view). */
static lg_step *sole_producer(const lowering *low, int32_t value)
{
    const lg_program *program = low->program;
    int32_t id = low->cell_of[value];
    const lg_cell *cell = &program->cells[id];

    if (low->exact || low->readers[value] != 1 || cell->base != id || cell->first < 0)
        return NULL;
    return &program->steps[cell->first];
}

/* The node's output is from now on what the absorbing step writes. */
static void absorb(lowering *low, const lg_node *node, int32_t value)
{
    low->cell_of[node->outputs[0]] = low->cell_of[value];
}

/* --- weights --- */

static lego_tensor *slot(const lg_graph *graph, const lg_node *node, const char *name)
{
    for (int i = 0; i < node->op->n_slots; i++)
        if (strcmp(node->op->slots[i].name, name) == 0)
            return lg_node_weight(graph, node, i);
    return NULL;
}

static lego_status take_weight(lego_tensor *out, const lg_graph *graph, const lg_node *node, const char *name)
{
    const lego_tensor *tensor = slot(graph, node, name);

    if (!tensor)
        return lg_error(LEGO_EINVAL, "node '%s': its weight '%s' is missing", node->name, name);
    if (tensor->dtype != LEGO_DTYPE_F32)
        return lg_error(LEGO_EUNSUPPORTED, "node '%s': engines compute in F32, its weight '%s' is %s", node->name,
                        name, lg_dtype_name(tensor->dtype));
    lg_tensor_share(out, tensor);
    return LEGO_OK;
}

static lego_status take_gamma_beta(lg_norm *norm, const lg_graph *graph, const lg_node *node)
{
    lego_status status = LEGO_OK;

    norm->has_gamma = slot(graph, node, "weight") != NULL;
    norm->has_beta = slot(graph, node, "bias") != NULL;
    if (norm->has_gamma)
        LG_TRY(take_weight(&norm->gamma, graph, node, "weight"));
    if (norm->has_beta)
        LG_TRY(take_weight(&norm->beta, graph, node, "bias"));
done:
    return status;
}

static lego_status take_norm(lg_norm *norm, const lg_graph *graph, const lg_node *node)
{
    lego_status status = LEGO_OK;

    norm->eps = node->attrs->batch_norm.eps;
    LG_TRY(take_gamma_beta(norm, graph, node));
    LG_TRY(take_weight(&norm->mean, graph, node, "running_mean"));
    LG_TRY(take_weight(&norm->variance, graph, node, "running_var"));
    norm->set = 1;
done:
    return status;
}

/* --- one function a family of nodes --- */

static lego_status lower_layer(lowering *low, const lg_node *node, lg_step_kind kind)
{
    lg_step *step;
    lego_status status = LEGO_OK;

    LG_TRY(add_step(&step, low, node, kind));
    LG_TRY(take_weight(&step->weight, low->graph, node, "weight"));
    step->has_bias = slot(low->graph, node, "bias") != NULL;
    if (step->has_bias)
        LG_TRY(take_weight(&step->bias, low->graph, node, "bias"));
done:
    return status;
}

/* Rows of a weight are channels only if axis 1 is what the layer makes: not of a linear layer on (N,L,C). */
static int takes_norm(const lowering *low, const lg_step *step)
{
    return step &&
           (step->kind == LG_STEP_CONV || step->kind == LG_STEP_CONV_TRANSPOSE ||
            (step->kind == LG_STEP_LINEAR && low->program->cells[step->output].shape.n_dims == 2)) &&
           !step->norm.set && step->residual == LG_NONE && step->act.kind == LG_ACT_NONE;
}

static lego_status lower_norm(lowering *low, const lg_node *node)
{
    lg_step *before = sole_producer(low, node->inputs[0]);
    lg_step *step;
    lego_status status = LEGO_OK;

    if (takes_norm(low, before)) {
        LG_TRY(take_norm(&before->norm, low->graph, node));
        absorb(low, node, node->inputs[0]);
    } else {
        LG_TRY(add_step(&step, low, node, LG_STEP_AFFINE));
        LG_TRY(take_norm(&step->norm, low->graph, node));
    }
done:
    return status;
}

/* A sum or product with repeated extents is plain C's, which is slow at exponentials. */
static int takes_act(const lowering *low, const lg_step *step, const lg_act *act)
{
    if (!step || step->act.kind != LG_ACT_NONE)
        return 0;
    if (step->kind == LG_STEP_BINARY) {
        const lg_cell *cells = low->program->cells;
        const lg_shape *out = &cells[step->output].shape;
        return lg_act_is_cheap(act->kind) || (lg_shape_equal(&cells[step->inputs[0]].shape, out) &&
                                              lg_shape_equal(&cells[step->inputs[1]].shape, out));
    }
    return lg_step_is_layer(step) || step->kind == LG_STEP_AFFINE;
}

static lego_status lower_act(lowering *low, const lg_node *node, lg_act act)
{
    lg_step *before = sole_producer(low, node->inputs[0]);
    lg_step *step;
    lego_status status = LEGO_OK;

    if (takes_act(low, before, &act)) {
        before->act = act;
        absorb(low, node, node->inputs[0]);
    } else {
        LG_TRY(add_step(&step, low, node, LG_STEP_ACT));
        step->act = act;
    }
done:
    return status;
}

/* Can this operand's step take the other operand as its residual? */
static int takes_residual(const lg_step *step)
{
    return step && (step->kind == LG_STEP_CONV || step->kind == LG_STEP_LINEAR) && step->residual == LG_NONE &&
           step->act.kind == LG_ACT_NONE;
}

static lego_status lower_binary(lowering *low, const lg_node *node, lg_binary_kind kind)
{
    lg_step *step;
    lego_status status = LEGO_OK;

    LG_TRY(add_step(&step, low, node, LG_STEP_BINARY));
    step->binary = kind;
done:
    return status;
}

/* A constant with an entry a channel of what the layer makes, added to it: the bias as some exporters write it. */
static int is_bias(const lg_step *step, const lego_tensor *constant)
{
    const lg_shape *shape = &constant->shape;
    const int64_t n = lg_tensor_count(constant);

    if (step->has_bias || step->norm.set || step->residual != LG_NONE || step->act.kind != LG_ACT_NONE)
        return 0;
    if (step->kind == LG_STEP_LINEAR) /* channels are the last axis */
        return shape->dims[shape->n_dims - 1] == n && n == step->weight.shape.dims[0];
    return lg_step_is_layer(step) && shape->dims[0] == n && n == lg_step_channels(step);
}

/* Whether the layer before the sum took the constant that is added as its bias. */
static lego_status take_bias(int *taken, lowering *low, const lg_node *node)
{
    const lg_graph *graph = low->graph;
    lego_status status = LEGO_OK;

    *taken = 0;
    for (int k = 0; k < 2 && !*taken; k++) {
        const int32_t other = graph->values[node->inputs[!k]].producer;
        lg_step *step = sole_producer(low, node->inputs[k]);

        if (!step || other == LG_NONE || graph->nodes[other].op->kind != LG_OP_CONSTANT ||
            !is_bias(step, slot(graph, &graph->nodes[other], "value")))
            continue;
        LG_TRY(take_weight(&step->bias, graph, &graph->nodes[other], "value"));
        step->has_bias = *taken = 1;
        absorb(low, node, node->inputs[k]);
    }
done:
    return status;
}

static lego_status lower_add(lowering *low, const lg_node *node)
{
    const lg_cell *cells = low->program->cells;
    lg_step *step;
    int later, taken;
    lego_status status = LEGO_OK;

    LG_TRY(take_bias(&taken, low, node));
    if (taken)
        return LEGO_OK;
    if (!lg_shape_equal(&low->graph->values[node->inputs[0]].shape, &low->graph->values[node->inputs[1]].shape))
        return lower_binary(low, node, LG_BINARY_ADD);
    later = cells[cells[low->cell_of[node->inputs[1]]].base].first >
            cells[cells[low->cell_of[node->inputs[0]]].base].first;
    step = sole_producer(low, node->inputs[later]);
    if (!takes_residual(step))
        return lower_binary(low, node, LG_BINARY_ADD);
    step->residual = low->cell_of[node->inputs[!later]];
    absorb(low, node, node->inputs[later]);
done:
    return status;
}

/* flatten, reshape: another shape of the same row-major data. An image gets memory of its own, since a view is read
 * row-major only. */
static lego_status lower_view(lowering *low, const lg_node *node)
{
    const lg_shape *shape = &low->graph->values[node->outputs[0]].shape;
    int32_t base = low->program->cells[low->cell_of[node->inputs[0]]].base;
    lg_step *step;

    if (shape->n_dims == 4 && shape->dims[2] * shape->dims[3] > 1)
        return add_step(&step, low, node, LG_STEP_RESHAPE);
    return add_cell(&low->cell_of[node->outputs[0]], low, node->outputs[0], base);
}

static lego_status lower_split(lowering *low, const lg_node *node)
{
    int64_t start = 0;
    lego_status status = LEGO_OK;

    for (int i = 0; i < node->n_outputs; i++) {
        const int64_t end = start + node->attrs->split.sizes.dims[i];
        lg_step *step;
        if (low->readers[node->outputs[i]] > 0) {
            LG_TRY(add_step_of(&step, low, node, i, LG_STEP_SLICE));
            step->attrs.slice.axis = node->attrs->split.axis;
            step->attrs.slice.start = start;
            step->attrs.slice.end = end;
        }
        start = end;
    }
done:
    return status;
}

static lego_status lower_mean(lowering *low, const lg_node *node)
{
    const lg_dims *axes = &node->attrs->mean.axes;
    unsigned reduced = 0;
    lg_step *step;

    for (int64_t i = 0; i < axes->n; i++)
        reduced |= 1u << axes->dims[i];
    return add_step(&step, low, node,
                    low->graph->values[node->inputs[0]].shape.n_dims == 4 && reduced == (1u << 2 | 1u << 3)
                        ? LG_STEP_ADAPTIVE_AVG_POOL
                        : LG_STEP_MEAN);
}

/* A step that has the weight of slot `name`: a PReLU's slopes, a constant's value. */
static lego_status lower_weighted(lowering *low, const lg_node *node, lg_step_kind kind, const char *name)
{
    lg_step *step;
    lego_status status = LEGO_OK;

    LG_TRY(add_step(&step, low, node, kind));
    LG_TRY(take_weight(&step->weight, low->graph, node, name));
done:
    return status;
}

static lego_status lower_own_norm(lowering *low, const lg_node *node, lg_step_kind kind, double eps)
{
    lg_step *step;
    lego_status status = LEGO_OK;

    LG_TRY(add_step(&step, low, node, kind));
    LG_TRY(take_gamma_beta(&step->norm, low->graph, node));
    step->norm.eps = eps;
done:
    return status;
}

/* A node that is part of a pattern. */
static lego_status lower_role(lowering *low, const lg_node *node, const lg_role *role)
{
    lg_step *step;
    lego_status status = LEGO_OK;

    switch (role->kind) {
    case LG_ROLE_SILU:
        return lower_act(low, node, (lg_act){ LG_ACT_SILU, 0.0f, 0.0f });
    case LG_ROLE_HARD_SWISH:
        return lower_act(low, node, (lg_act){ LG_ACT_HARD_SWISH, 0.0f, 0.0f });
    case LG_ROLE_SHUFFLE:
        LG_TRY(add_step(&step, low, node, LG_STEP_SHUFFLE));
        step->shuffle_groups = role->groups;
        break;
    default:
        absorb(low, node, node->inputs[role->input]);
        break;
    }
done:
    return status;
}

static lego_status lower_node(lowering *low, const lg_node *node)
{
    const lg_role *role = &low->roles[node - low->graph->nodes];
    lg_step *step;
    lg_act act;

    if (role->kind != LG_ROLE_ITSELF)
        return lower_role(low, node, role);
    if (lg_act_of_node(&act, node))
        return lower_act(low, node, act);
    switch (node->op->kind) {
    case LG_OP_CONV2D:
        return lower_layer(low, node, LG_STEP_CONV);
    case LG_OP_CONV_TRANSPOSE2D:
        return lower_layer(low, node, LG_STEP_CONV_TRANSPOSE);
    case LG_OP_LINEAR:
        return lower_layer(low, node, LG_STEP_LINEAR);
    case LG_OP_BATCH_NORM:
        return lower_norm(low, node);
    case LG_OP_LAYER_NORM:
        return lower_own_norm(low, node, LG_STEP_LAYER_NORM, node->attrs->layer_norm.eps);
    case LG_OP_GROUP_NORM:
        return lower_own_norm(low, node, LG_STEP_GROUP_NORM, node->attrs->group_norm.eps);
    case LG_OP_PRELU:
        return lower_weighted(low, node, LG_STEP_PRELU, "weight");
    case LG_OP_CONSTANT:
        return lower_weighted(low, node, LG_STEP_CONSTANT, "value");
    case LG_OP_ADD:
        return lower_add(low, node);
    case LG_OP_SUB:
        return lower_binary(low, node, LG_BINARY_SUB);
    case LG_OP_MUL:
        return lower_binary(low, node, LG_BINARY_MUL);
    case LG_OP_DIV:
        return lower_binary(low, node, LG_BINARY_DIV);
    case LG_OP_MATMUL:
        return add_step(&step, low, node, LG_STEP_MATMUL);
    case LG_OP_SOFTMAX:
        return add_step(&step, low, node, LG_STEP_SOFTMAX);
    case LG_OP_MAX_POOL:
        return add_step(&step, low, node, LG_STEP_MAX_POOL);
    case LG_OP_AVG_POOL:
        return add_step(&step, low, node, LG_STEP_AVG_POOL);
    case LG_OP_ADAPTIVE_AVG_POOL:
        return add_step(&step, low, node, LG_STEP_ADAPTIVE_AVG_POOL);
    case LG_OP_ADAPTIVE_MAX_POOL:
        return add_step(&step, low, node, LG_STEP_ADAPTIVE_MAX_POOL);
    case LG_OP_MEAN:
        return lower_mean(low, node);
    case LG_OP_PAD:
        return add_step(&step, low, node, LG_STEP_PAD);
    case LG_OP_UPSAMPLE:
        return add_step(&step, low, node, LG_STEP_UPSAMPLE);
    case LG_OP_CONCAT:
        return add_step(&step, low, node, LG_STEP_CONCAT);
    case LG_OP_SPLIT:
        return lower_split(low, node);
    case LG_OP_SLICE:
        return add_step(&step, low, node, LG_STEP_SLICE);
    case LG_OP_PERMUTE:
        return add_step(&step, low, node, LG_STEP_PERMUTE);
    case LG_OP_FLATTEN:
    case LG_OP_RESHAPE:
        return lower_view(low, node);
    case LG_OP_DROPOUT:
        absorb(low, node, node->inputs[0]);
        return LEGO_OK;
    case LG_OP_BLOCK:
        return lg_error(LEGO_EINVAL, "node '%s' stands for a block: compose the store before planning", node->name);
    default:
        return lg_error(LEGO_EUNSUPPORTED, "node '%s': no engine runs '%s'", node->name, node->op->name);
    }
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
        LG_TRY(add_cell(&cell, &low, graph->inputs[i], LG_NONE));
        low.cell_of[graph->inputs[i]] = cell;
        low.program->cells[cell].input = i;
        low.program->inputs[low.program->n_inputs++] = cell;
    }
    for (int32_t i = 0; i < graph->n_nodes; i++)
        LG_TRY(lower_node(&low, &graph->nodes[i]));
    for (int32_t i = 0; i < graph->n_outputs; i++)
        low.program->outputs[low.program->n_outputs++] = low.cell_of[graph->outputs[i]];
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
