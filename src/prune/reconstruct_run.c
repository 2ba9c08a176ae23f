/* Parts of a graph, run over many images in chunks.
 *
 * Flow: statistics need what a layer reads and what it should give, in the original and in each half-made variant;
 * streams need a block's outputs. Both ask for a part (the ancestors of some values), plan it, and receive the outputs
 * chunk by chunk.
 *
 * Newcomers: a plan has one batch size, so the last chunk runs on a padded copy of its inputs and the sink is told how
 * many images of it count. */
#include <string.h>

#include "base/alloc.h"
#include "engine/engine.h"
#include "graph/ops.h"
#include "prune/reconstruct_graph.h"

#define CHUNK_IMAGES 32
#define CHUNK_BYTES ((size_t)64 << 20) /* activations of a chunk, roughly */

/* needed[node] = 1 for the ancestors of the values. */
static void mark_ancestors(uint8_t *needed, uint8_t *read, const lg_graph *graph, const int32_t *values,
                           int32_t n_values)
{
    for (int32_t i = 0; i < n_values; i++)
        read[values[i]] = 1;
    for (int32_t i = graph->n_nodes - 1; i >= 0; i--) {
        const lg_node *node = &graph->nodes[i];

        for (int32_t j = 0; j < node->n_outputs; j++)
            needed[i] |= read[node->outputs[j]];
        for (int32_t j = 0; needed[i] && j < node->n_inputs; j++)
            read[node->inputs[j]] = 1;
    }
}

typedef struct copying {
    const lg_graph *from;
    lg_graph *to;
    int32_t *values, *weights; /* ids in `to`, LG_NONE: not copied */
} copying;

static lego_status copy_node(copying *c, const lg_node *node)
{
    int32_t *inputs = NULL, *weights = NULL, first = LG_NONE;
    lg_value *outputs = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&inputs, node->n_inputs));
    LG_TRY(LG_CALLOC(&weights, node->n_weights));
    LG_TRY(LG_CALLOC(&outputs, node->n_outputs));
    for (int32_t i = 0; i < node->n_inputs; i++)
        inputs[i] = c->values[node->inputs[i]];
    for (int32_t i = 0; i < node->n_weights; i++) {
        const int32_t weight = node->weights[i];

        if (weight != LG_NONE && c->weights[weight] == LG_NONE)
            LG_TRY(lg_graph_add_weight(&c->weights[weight], c->to, c->from->weights[weight].name,
                                       &c->from->weights[weight].tensor));
        weights[i] = weight == LG_NONE ? LG_NONE : c->weights[weight];
    }
    for (int32_t i = 0; i < node->n_outputs; i++)
        outputs[i] = c->from->values[node->outputs[i]];
    LG_TRY(lg_graph_add_node_named(&first, c->to, node->op, node->name, node->attrs, node->n_inputs, inputs,
                                   node->n_weights, weights, node->n_outputs, outputs));
    for (int32_t i = 0; i < node->n_outputs; i++)
        c->values[node->outputs[i]] = first + i;
done:
    lg_free(inputs);
    lg_free(weights);
    lg_free(outputs);
    return status;
}

static lego_status copy_input(copying *c, int32_t value)
{
    const lg_value *v = &c->from->values[value];
    const lg_shape shape = lg_shape_make(v->shape.n_dims - 1, v->shape.dims + 1);

    return lg_graph_add_input(&c->values[value], c->to, v->name, v->dtype, &shape);
}

lego_status lg_graph_part(lg_graph **out, int32_t *inputs_used, const lg_graph *graph, const int32_t *values,
                          int32_t n_values)
{
    copying c = { graph, NULL, NULL, NULL };
    uint8_t *needed = NULL, *read = NULL;
    int32_t n_used = 0;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(lg_graph_create(&c.to, graph->name));
    LG_TRY(LG_CALLOC(&needed, graph->n_nodes));
    LG_TRY(LG_CALLOC(&read, graph->n_values));
    LG_TRY(LG_CALLOC(&c.values, graph->n_values));
    LG_TRY(LG_CALLOC(&c.weights, graph->n_weights));
    for (int32_t w = 0; w < graph->n_weights; w++)
        c.weights[w] = LG_NONE;
    mark_ancestors(needed, read, graph, values, n_values);
    for (int32_t i = 0; i < graph->n_inputs; i++)
        if (read[graph->inputs[i]]) {
            LG_TRY(copy_input(&c, graph->inputs[i]));
            inputs_used[n_used++] = i;
        }
    for (int32_t i = 0; i < graph->n_nodes; i++)
        if (needed[i])
            LG_TRY(copy_node(&c, &graph->nodes[i]));
    for (int32_t i = 0; i < n_values; i++)
        LG_TRY(lg_graph_add_output(c.to, c.values[values[i]]));
    LG_TRY(lg_graph_validate(c.to));

    *out = c.to;
    c.to = NULL;
done:
    lg_graph_free(c.to);
    lg_free(needed);
    lg_free(read);
    lg_free(c.values);
    lg_free(c.weights);
    return status;
}

static int64_t chunk_images(const lg_graph *graph, int64_t n_images)
{
    size_t bytes = 1;
    int64_t chunk = CHUNK_IMAGES;

    for (int32_t v = 0; v < graph->n_values; v++)
        bytes += sizeof(float) * (size_t)lg_value_elements(&graph->values[v]);
    if ((size_t)chunk * bytes > CHUNK_BYTES)
        chunk = bytes > CHUNK_BYTES ? 1 : (int64_t)(CHUNK_BYTES / bytes);
    return chunk < n_images ? chunk : n_images;
}

struct lg_runner {
    lg_plan *plan;
    int64_t chunk;
    int32_t n_inputs, n_outputs;
    int64_t *input_elements; /* of one image */
    const float **inputs;    /* of the chunk at work */
    float **padded;          /* [n_inputs], for the last, shorter chunk */
    float **outputs;
};

lego_status lg_runner_create(lg_runner **out, lego_context *context, const lg_graph *graph, int64_t n_images)
{
    lg_plan_options options = LG_PLAN_OPTIONS_INIT;
    lg_runner *runner = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&runner, 1));
    runner->chunk = chunk_images(graph, n_images);
    runner->n_inputs = graph->n_inputs;
    runner->n_outputs = graph->n_outputs;
    LG_TRY(LG_CALLOC(&runner->input_elements, graph->n_inputs));
    LG_TRY(LG_CALLOC(&runner->inputs, graph->n_inputs));
    LG_TRY(LG_CALLOC(&runner->padded, graph->n_inputs));
    LG_TRY(LG_CALLOC(&runner->outputs, graph->n_outputs));
    for (int32_t i = 0; i < graph->n_inputs; i++) {
        runner->input_elements[i] = lg_value_elements(&graph->values[graph->inputs[i]]);
        LG_TRY(LG_CALLOC(&runner->padded[i], runner->chunk * runner->input_elements[i]));
    }
    for (int32_t i = 0; i < graph->n_outputs; i++)
        LG_TRY(LG_CALLOC(&runner->outputs[i], runner->chunk * lg_value_elements(&graph->values[graph->outputs[i]])));
    options.batch = (int)runner->chunk;
    LG_TRY(lg_plan_create(&runner->plan, context, graph, &options));

    *out = runner;
    runner = NULL;
done:
    lg_runner_free(runner);
    return status;
}

void lg_runner_free(lg_runner *runner)
{
    if (!runner)
        return;
    for (int32_t i = 0; runner->padded && i < runner->n_inputs; i++)
        lg_free(runner->padded[i]);
    for (int32_t i = 0; runner->outputs && i < runner->n_outputs; i++)
        lg_free(runner->outputs[i]);
    lg_free(runner->input_elements);
    lg_free(runner->inputs);
    lg_free(runner->padded);
    lg_free(runner->outputs);
    lg_plan_free(runner->plan);
    lg_free(runner);
}

static void point_inputs(lg_runner *runner, const float *const *inputs, int64_t first, int64_t count)
{
    for (int32_t i = 0; i < runner->n_inputs; i++) {
        runner->inputs[i] = inputs[i] + first * runner->input_elements[i];
        if (count == runner->chunk)
            continue;
        memcpy(runner->padded[i], runner->inputs[i], sizeof(float) * (size_t)(count * runner->input_elements[i]));
        runner->inputs[i] = runner->padded[i];
    }
}

lego_status lg_runner_run(lg_runner *runner, const float *const *inputs, int64_t n_images, lg_run_sink sink,
                          void *payload)
{
    lego_status status = LEGO_OK;

    for (int64_t first = 0; first < n_images; first += runner->chunk) {
        const int64_t count = n_images - first < runner->chunk ? n_images - first : runner->chunk;

        point_inputs(runner, inputs, first, count);
        LG_TRY(lg_plan_run(runner->plan, runner->inputs, runner->outputs));
        LG_TRY(sink(payload, runner->outputs, first, count));
    }
done:
    return status;
}
