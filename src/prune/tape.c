/* Backward passes without libtorch, for gradients of activations only: the walk over the nodes in reverse.
 *
 * Flow: reconstruct_fisher.c asks how the model's output depends on every inner value, taylor.c how the loss does. The
 * forward runs on an engine, with the activations that the backward needs as further outputs.
 *
 * Newcomers: masks of ReLU and clip are read off their outputs, so that the engine may fuse them into the layer before. */
#include <string.h>

#include "base/alloc.h"
#include "prune/tape_rules.h"

/* Of gradients and activations together. */
#define MEMORY ((int64_t)512 << 20)

const lg_value *lg_tape_value(const lg_tape *tape, int32_t value)
{
    return &tape->graph->values[value];
}

int64_t lg_tape_count(const lg_tape *tape, int32_t value)
{
    return tape->batch * lg_value_elements(lg_tape_value(tape, value));
}

const float *lg_tape_activation(const lg_tape *tape, int32_t value)
{
    if (tape->activations[value])
        return tape->activations[value];
    for (int32_t i = 0; i < tape->graph->n_inputs; i++)
        if (tape->graph->inputs[i] == value)
            return tape->inputs[i];
    return NULL;
}

float *lg_tape_add_to(lg_tape *tape, int32_t value)
{
    if (!tape->arrived[value])
        memset(tape->gradients[value], 0, sizeof(float) * (size_t)lg_tape_count(tape, value));
    tape->arrived[value] = 1;
    return tape->gradients[value];
}

/* --- strided walks --- */

lg_strided lg_tape_strided(const lg_tape *tape, int32_t value)
{
    const lg_shape *shape = &lg_tape_value(tape, value)->shape;
    lg_strided out = { shape->n_dims, { 0 }, { 0 } };
    int64_t stride = 1;

    for (int i = shape->n_dims - 1; i >= 0; i--) {
        out.extents[i] = i == 0 ? tape->batch : shape->dims[i];
        out.strides[i] = stride;
        stride *= out.extents[i];
    }
    return out;
}

lg_strided lg_tape_repeated(const lg_tape *tape, int32_t value, const lg_strided *out)
{
    lg_strided seen = lg_tape_strided(tape, value);

    for (int i = 0; i < seen.n_dims; i++)
        if (seen.extents[i] != out->extents[i])
            seen.strides[i] = 0;
    return seen;
}

void lg_tape_add(float *to, const int64_t *to_strides, const float *from, const int64_t *from_strides,
                 const int64_t *extents, int n_dims, float scale)
{
    if (n_dims > 1) {
        for (int64_t i = 0; i < extents[0]; i++)
            lg_tape_add(to + i * to_strides[0], to_strides + 1, from + i * from_strides[0], from_strides + 1, extents + 1,
                        n_dims - 1, scale);
        return;
    }
    for (int64_t i = 0; i < extents[0]; i++)
        to[i * to_strides[0]] += scale * from[i * from_strides[0]];
}

/* --- the tape --- */

static const lg_tape_rule *rule_of(lg_op_kind kind)
{
    const lg_tape_rule *const tables[] = { lg_tape_layers, lg_tape_elements, lg_tape_moves };

    for (size_t t = 0; t < sizeof(tables) / sizeof(*tables); t++)
        for (const lg_tape_rule *rule = tables[t]; rule->back; rule++)
            if (rule->kind == kind)
                return rule;
    return NULL;
}

int32_t lg_tape_batch(const lg_graph *graph, int32_t most)
{
    int64_t bytes = 1, batch;

    for (int32_t v = 0; v < graph->n_values && bytes < MEMORY; v++)
        bytes += 2 * (int64_t)sizeof(float) * lg_value_elements(&graph->values[v]);
    batch = MEMORY / bytes;
    return batch < 1 ? 1 : batch < most ? (int32_t)batch : most;
}

static lego_status keep_activation(lg_tape *tape, int32_t value)
{
    lego_status status = LEGO_OK;

    if (lg_tape_value(tape, value)->producer == LG_NONE || tape->activations[value])
        return LEGO_OK;
    LG_TRY(LG_CALLOC(&tape->activations[value], lg_tape_count(tape, value)));
    for (int32_t i = 0; i < tape->n_outputs; i++)
        if (tape->graph->outputs[i] == value)
            return LEGO_OK;
    LG_TRY(lg_graph_add_output(tape->graph, value));
done:
    return status;
}

static lego_status prepare_nodes(lg_tape *tape)
{
    int64_t scratch = 0;
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < tape->n_outputs; i++)
        LG_TRY(keep_activation(tape, tape->graph->outputs[i]));
    for (int32_t i = 0; i < tape->graph->n_nodes; i++) {
        const lg_node *node = &tape->graph->nodes[i];
        const lg_tape_rule *rule = rule_of(node->op->kind);
        int64_t wanted;

        if (node->n_inputs == 0)
            continue;
        if (!rule)
            LG_FAIL(LEGO_EUNSUPPORTED, "node '%s': no gradient of op '%s'", node->name, node->op->name);
        for (int32_t k = 0; rule->needs & LG_TAPE_INPUTS && k < node->n_inputs; k++)
            LG_TRY(keep_activation(tape, node->inputs[k]));
        if (rule->needs & LG_TAPE_OUTPUT)
            LG_TRY(keep_activation(tape, node->outputs[0]));
        wanted = rule->scratch ? rule->scratch(tape, node) : 0;
        scratch = wanted > scratch ? wanted : scratch;
    }
    LG_TRY(LG_CALLOC(&tape->scratch, scratch));
done:
    return status;
}

lego_status lg_tape_create(lg_tape **out, lego_context *context, const lg_graph *graph, int32_t batch)
{
    lg_plan_options options = LG_PLAN_OPTIONS_INIT;
    lg_tape *tape = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&tape, 1));
    tape->batch = batch;
    tape->n_outputs = graph->n_outputs;
    LG_TRY(lg_graph_clone(&tape->graph, graph));
    LG_TRY(LG_CALLOC(&tape->activations, graph->n_values));
    LG_TRY(LG_CALLOC(&tape->gradients, graph->n_values));
    LG_TRY(LG_CALLOC(&tape->arrived, graph->n_values));
    LG_TRY(prepare_nodes(tape));
    for (int32_t v = 0; v < graph->n_values; v++)
        LG_TRY(LG_CALLOC(&tape->gradients[v], batch * lg_value_elements(&graph->values[v])));
    LG_TRY(LG_CALLOC(&tape->outputs, tape->graph->n_outputs));
    for (int32_t i = 0; i < tape->graph->n_outputs; i++)
        tape->outputs[i] = tape->activations[tape->graph->outputs[i]];
    options.batch = batch;
    LG_TRY(lg_plan_create(&tape->plan, context, tape->graph, &options));

    *out = tape;
    tape = NULL;
done:
    lg_tape_free(tape);
    return status;
}

void lg_tape_free(lg_tape *tape)
{
    if (!tape)
        return;
    for (int32_t v = 0; tape->graph && v < tape->graph->n_values; v++) {
        if (tape->activations)
            lg_free(tape->activations[v]);
        if (tape->gradients)
            lg_free(tape->gradients[v]);
    }
    lg_free(tape->activations);
    lg_free(tape->outputs);
    lg_free(tape->gradients);
    lg_free(tape->arrived);
    lg_free(tape->scratch);
    lg_plan_free(tape->plan);
    lg_graph_free(tape->graph);
    lg_free(tape);
}

lego_status lg_tape_forward(lg_tape *tape, const float *const *inputs)
{
    memset(tape->arrived, 0, (size_t)tape->graph->n_values);
    tape->inputs = inputs;
    return lg_plan_run(tape->plan, inputs, tape->outputs);
}

const float *lg_tape_output(const lg_tape *tape, int32_t i)
{
    return tape->outputs[i];
}

float *lg_tape_output_gradient(lg_tape *tape, int32_t i)
{
    return lg_tape_add_to(tape, tape->graph->outputs[i]);
}

void lg_tape_backward(lg_tape *tape)
{
    for (int32_t i = tape->graph->n_nodes - 1; i >= 0; i--) {
        const lg_node *node = &tape->graph->nodes[i];

        int arrived = 0;

        for (int32_t k = 0; k < node->n_outputs; k++)
            arrived |= tape->arrived[node->outputs[k]];
        if (arrived && node->n_inputs > 0)
            rule_of(node->op->kind)->back(tape, node, tape->gradients[node->outputs[0]]);
    }
}

const float *lg_tape_gradient(const lg_tape *tape, int32_t value)
{
    return tape->arrived[value] ? tape->gradients[value] : NULL;
}
