/* lower_nodes.c: what each kind of node becomes: a step of the program, a part of the step before, or nothing.
 *
 *   batch_norm        into a layer (scales rows of the weight, moves the bias)
 *   activations       into the step before, as its activation
 *   add               into the later of its two operands, as its residual sum; of a constant, as its bias
 *   a swap of the last two axes   into the matrix product that reads it as its second operand
 *   dropout, flatten, reshape   into nothing: another name, another shape of the same data
 * A split becomes one slice an output; a mean over all spatial axes is the pool it is.
 *
 * What newcomers get wrong: the residual must exist before the step that adds it runs, hence "the later operand". */
#include <string.h>

#include "engine/fold.h"
#include "engine/lowering.h"

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

    LG_TRY(lg_lower_step(&step, low, node, kind));
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
    lg_step *before = lg_lower_producer(low, node->inputs[0]);
    lg_step *step;
    lego_status status = LEGO_OK;

    if (takes_norm(low, before)) {
        LG_TRY(take_norm(&before->norm, low->graph, node));
        lg_lower_absorb(low, node, node->inputs[0]);
    } else {
        LG_TRY(lg_lower_step(&step, low, node, LG_STEP_AFFINE));
        LG_TRY(take_norm(&step->norm, low->graph, node));
    }
done:
    return status;
}

/* A sum or product with repeated extents is plain C's, which is slow at exponentials. */
static int takes_act(const lowering *low, const lg_step *step, const lg_act *act)
{
    if (!step || step->act.kind != LG_ACT_NONE || !lg_act_is_fusible(act))
        return 0;
    if (step->kind == LG_STEP_BINARY) {
        const lg_cell *cells = low->program->cells;
        const lg_shape *out = &cells[step->output].shape;
        if (step->binary == LG_BINARY_MIN || step->binary == LG_BINARY_MAX)
            return lg_act_is_cheap(act->kind); /* plain C's in any case */
        return lg_act_is_cheap(act->kind) || (lg_shape_equal(&cells[step->inputs[0]].shape, out) &&
                                              lg_shape_equal(&cells[step->inputs[1]].shape, out));
    }
    return lg_step_is_layer(step) || step->kind == LG_STEP_AFFINE;
}

static lego_status lower_act(lowering *low, const lg_node *node, lg_act act)
{
    lg_step *before = lg_lower_producer(low, node->inputs[0]);
    lg_step *step;
    lego_status status = LEGO_OK;

    if (takes_act(low, before, &act)) {
        before->act = act;
        lg_lower_absorb(low, node, node->inputs[0]);
    } else {
        LG_TRY(lg_lower_step(&step, low, node, LG_STEP_ACT));
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

    LG_TRY(lg_lower_step(&step, low, node, LG_STEP_BINARY));
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
        lg_step *step = lg_lower_producer(low, node->inputs[k]);

        if (!step || other == LG_NONE || graph->nodes[other].op->kind != LG_OP_CONSTANT ||
            !is_bias(step, slot(graph, &graph->nodes[other], "value")))
            continue;
        LG_TRY(take_weight(&step->bias, graph, &graph->nodes[other], "value"));
        step->has_bias = *taken = 1;
        lg_lower_absorb(low, node, node->inputs[k]);
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
    step = lg_lower_producer(low, node->inputs[later]);
    if (!takes_residual(step))
        return lower_binary(low, node, LG_BINARY_ADD);
    step->residual = low->cell_of[node->inputs[!later]];
    lg_lower_absorb(low, node, node->inputs[later]);
done:
    return status;
}

/* flatten, reshape: another shape of the same row-major data. An image gets memory of its own, since a view is read
 * row-major only. */
static lego_status lower_view(lowering *low, const lg_node *node)
{
    const lg_shape *shape = &low->graph->values[node->outputs[0]].shape;
    int32_t base = low->program->cells[low->cell_of[node->inputs[0]]].base;
    int64_t n_pixels = 1;
    lg_step *step;

    for (int i = 2; i < shape->n_dims; i++)
        n_pixels *= shape->dims[i];
    if ((shape->n_dims == 4 || shape->n_dims == 5) && n_pixels > 1)
        return lg_lower_step(&step, low, node, LG_STEP_RESHAPE);
    return lg_lower_cell(&low->cell_of[node->outputs[0]], low, node->outputs[0], base);
}

/* The last two axes, and only these. */
static int swaps_last(const lg_step *step)
{
    const lg_dims *order = &step->attrs.permute.order;

    if (step->kind != LG_STEP_PERMUTE || order->n < 2)
        return 0;
    for (int64_t i = 0; i < order->n; i++)
        if (order->dims[i] != (i + 2 < order->n ? i + 1 : i + 2 == order->n ? order->n : order->n - 1))
            return 0;
    return 1;
}

/* The product reads its second operand as it lies before its last axes were swapped. */
static lego_status lower_matmul(lowering *low, const lg_node *node)
{
    const lg_step *before = lg_lower_producer(low, node->inputs[1]);
    const int32_t from = before && swaps_last(before) ? before->inputs[0] : LG_NONE;
    lg_step *step;
    lego_status status = LEGO_OK;

    LG_TRY(lg_lower_step(&step, low, node, LG_STEP_MATMUL));
    if (from != LG_NONE) {
        step->inputs[1] = from;
        step->turned = 1;
    }
done:
    return status;
}

static lego_status lower_split(lowering *low, const lg_node *node)
{
    int64_t start = 0;
    lego_status status = LEGO_OK;

    for (int i = 0; i < node->n_outputs; i++) {
        const int64_t end = start + node->attrs->split.sizes.dims[i];
        lg_step *step;
        if (low->readers[node->outputs[i]] > 0) {
            LG_TRY(lg_lower_step_of(&step, low, node, i, LG_STEP_SLICE));
            step->attrs.slice.axis = node->attrs->split.axis;
            step->attrs.slice.start = start;
            step->attrs.slice.end = end;
            step->attrs.slice.step = 1;
        }
        start = end;
    }
done:
    return status;
}

static lego_status lower_mean(lowering *low, const lg_node *node)
{
    const lg_dims *axes = &node->attrs->mean.axes;
    const int n_dims = low->graph->values[node->inputs[0]].shape.n_dims;
    unsigned reduced = 0;
    lg_step *step;

    for (int64_t i = 0; i < axes->n; i++)
        reduced |= 1u << axes->dims[i];
    return lg_lower_step(&step, low, node,
                         (n_dims == 4 && reduced == (1u << 2 | 1u << 3)) ||
                                 (n_dims == 5 && reduced == (1u << 2 | 1u << 3 | 1u << 4))
                             ? LG_STEP_ADAPTIVE_AVG_POOL
                             : LG_STEP_MEAN);
}

/* A step that has the weight of slot `name`: a PReLU's slopes, a constant's value. */
static lego_status lower_weighted(lowering *low, const lg_node *node, lg_step_kind kind, const char *name)
{
    lg_step *step;
    lego_status status = LEGO_OK;

    LG_TRY(lg_lower_step(&step, low, node, kind));
    LG_TRY(take_weight(&step->weight, low->graph, node, name));
done:
    return status;
}

static lego_status lower_own_norm(lowering *low, const lg_node *node, lg_step_kind kind, double eps)
{
    lg_step *step;
    lego_status status = LEGO_OK;

    LG_TRY(lg_lower_step(&step, low, node, kind));
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
        return lower_act(low, node, (lg_act){ .kind = LG_ACT_SILU });
    case LG_ROLE_HARD_SWISH:
        return lower_act(low, node, (lg_act){ .kind = LG_ACT_HARD_SWISH });
    case LG_ROLE_SHUFFLE:
        LG_TRY(lg_lower_step(&step, low, node, LG_STEP_SHUFFLE));
        step->shuffle_groups = role->groups;
        break;
    default:
        lg_lower_absorb(low, node, node->inputs[role->input]);
        break;
    }
done:
    return status;
}

lego_status lg_lower_node(lowering *low, const lg_node *node)
{
    const lg_role *role = &low->roles[node - low->graph->nodes];
    lg_step *step;
    lg_act act;

    if (role->kind != LG_ROLE_ITSELF)
        return lower_role(low, node, role);
    if (lg_act_of_node(&act, node))
        return lower_act(low, node, act);
    switch (node->op->kind) {
    case LG_OP_CONV:
        return lower_layer(low, node, LG_STEP_CONV);
    case LG_OP_CONV_TRANSPOSE:
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
    case LG_OP_MIN:
        return lower_binary(low, node, LG_BINARY_MIN);
    case LG_OP_MAX:
        return lower_binary(low, node, LG_BINARY_MAX);
    case LG_OP_MATMUL:
        return lower_matmul(low, node);
    case LG_OP_SOFTMAX:
        return lg_lower_step(&step, low, node, LG_STEP_SOFTMAX);
    case LG_OP_LOG_SOFTMAX:
        return lg_lower_step(&step, low, node, LG_STEP_LOG_SOFTMAX);
    case LG_OP_MAX_POOL:
        return lg_lower_step(&step, low, node, LG_STEP_MAX_POOL);
    case LG_OP_AVG_POOL:
        return lg_lower_step(&step, low, node, LG_STEP_AVG_POOL);
    case LG_OP_ADAPTIVE_AVG_POOL:
        return lg_lower_step(&step, low, node, LG_STEP_ADAPTIVE_AVG_POOL);
    case LG_OP_ADAPTIVE_MAX_POOL:
        return lg_lower_step(&step, low, node, LG_STEP_ADAPTIVE_MAX_POOL);
    case LG_OP_MEAN:
        return lower_mean(low, node);
    case LG_OP_PAD:
        return lg_lower_step(&step, low, node, LG_STEP_PAD);
    case LG_OP_UPSAMPLE:
        return lg_lower_step(&step, low, node, LG_STEP_UPSAMPLE);
    case LG_OP_CONCAT:
        return lg_lower_step(&step, low, node, LG_STEP_CONCAT);
    case LG_OP_SPLIT:
        return lower_split(low, node);
    case LG_OP_SLICE:
        return lg_lower_step(&step, low, node, LG_STEP_SLICE);
    case LG_OP_PERMUTE:
        return lg_lower_step(&step, low, node, LG_STEP_PERMUTE);
    case LG_OP_FLATTEN:
    case LG_OP_RESHAPE:
        return lower_view(low, node);
    case LG_OP_DROPOUT:
        lg_lower_absorb(low, node, node->inputs[0]);
        return LEGO_OK;
    case LG_OP_BLOCK:
        return lg_error(LEGO_EINVAL, "node '%s' stands for a block: compose the store before planning", node->name);
    default:
        return lg_error(LEGO_EUNSUPPORTED, "node '%s': no engine runs '%s'", node->name, node->op->name);
    }
}
