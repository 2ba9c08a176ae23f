/* A folded block as a list of linear layers: what each reads, what joins its output, which activation follows.
 *
 * Flow: reconstruct_block.c walks the list in topological order, deciding and re-fitting.
 *
 * `joined` is where a layer's error counts: if its output goes through a residual sum, the sum minus everything else in
 * it is the target, and an activation behind the sum decides which errors can be seen. The walk follows a value only as
 * long as nobody else reads it.
 *
 * Newcomers: units (graph/channels.h) say which channels go together; a depthwise convolution's input channel and
 * outputs are one unit, so it carries units on and is never a layer that chooses among its inputs. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "graph/ops.h"
#include "prune/reconstruct_graph.h"

enum { SLOT_WEIGHT, SLOT_BIAS };

static int is_graph_output(const lg_graph *graph, int32_t value)
{
    for (int32_t i = 0; i < graph->n_outputs; i++)
        if (graph->outputs[i] == value)
            return 1;
    return 0;
}

/* The only reader of a value inside the graph, or NULL. */
static const lg_node *only_reader(const lg_graph *graph, const lg_uses *uses, int32_t value)
{
    if (is_graph_output(graph, value) || uses->offsets[value + 1] - uses->offsets[value] != 1)
        return NULL;
    return &graph->nodes[uses->nodes[uses->offsets[value]]];
}

static void follow_output(lg_layer *layer, const lg_graph *graph, const lg_uses *uses)
{
    layer->joined = layer->output;
    for (;;) {
        const lg_node *reader = only_reader(graph, uses, layer->joined);

        if (!reader)
            return;
        switch (reader->op->kind) {
        case LG_OP_ADD:
        case LG_OP_DROPOUT:
            layer->joined = reader->outputs[0];
            break;
        case LG_OP_RELU:
            layer->activates = 1;
            layer->flat = (lg_flat){ 0.0, INFINITY };
            return;
        case LG_OP_CLIP:
            layer->activates = 1;
            layer->flat = (lg_flat){ reader->attrs->clip.min, reader->attrs->clip.max };
            return;
        default:
            return;
        }
    }
}

static void describe_window(lg_window *window, const lg_graph *graph, const lg_node *node)
{
    const lg_shape *in = &graph->values[node->inputs[0]].shape, *out = &graph->values[node->outputs[0]].shape;
    const lg_shape *weight = &lg_node_weight(graph, node, SLOT_WEIGHT)->shape;
    const lg_conv_attrs *conv = &node->attrs->conv;
    const lg_conv_transpose_attrs *transpose = &node->attrs->conv_transpose;
    const int n_axes = node->op->n_axes, front = 3 - n_axes;

    *window = (lg_window){ .channels = in->dims[1],
                           .is_transposed = node->op->kind == LG_OP_CONV_TRANSPOSE,
                           .in = { 1, 1, 1 }, .out = { 1, 1, 1 }, .kernel = { 1, 1, 1 },
                           .stride = { 1, 1, 1 }, .dilation = { 1, 1, 1 } };
    if (node->op->kind == LG_OP_LINEAR) {
        window->channels_last = 1;
        window->channels = in->dims[in->n_dims - 1];
        for (int i = 1; i < in->n_dims - 1; i++)
            window->in[2] *= in->dims[i];
        window->out[2] = window->in[2];
        return;
    }
    for (int i = 0; i < n_axes; i++) {
        window->in[front + i] = in->dims[2 + i];
        window->out[front + i] = out->dims[2 + i];
        window->kernel[front + i] = weight->dims[2 + i];
        window->stride[front + i] = window->is_transposed ? transpose->stride[i] : conv->stride[i];
        window->dilation[front + i] = window->is_transposed ? transpose->dilation[i] : conv->dilation[i];
        window->pads[front + i] = window->is_transposed ? transpose->pads[i] : conv->pads[i];
    }
}

static lego_status describe_units(int32_t **out, const lg_channels *channels, const lg_graph *graph,
                                  const lg_node *node, int32_t value, int64_t n)
{
    const int axis = lg_layer_channel_axis(graph, node, value);
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(out, n));
    for (int64_t c = 0; c < n; c++)
        (*out)[c] = lg_channels_unit(channels, LG_VALUE_AXIS(value, axis), c);
done:
    return status;
}

static int32_t count_users(const lg_graph *graph, int32_t weight)
{
    int32_t n = 0;

    for (int32_t i = 0; i < graph->n_nodes; i++)
        for (int32_t j = 0; j < graph->nodes[i].n_weights; j++)
            n += graph->nodes[i].weights[j] == weight;
    return n;
}

static lego_status describe_layer(lg_layer *layer, const lg_graph *graph, const lg_channels *channels,
                                  const lg_uses *uses, int32_t index)
{
    const lg_node *node = &graph->nodes[index];
    lego_status status = LEGO_OK;

    layer->node = index;
    layer->input = node->inputs[0];
    layer->output = node->outputs[0];
    layer->groups = (int32_t)lg_layer_groups(node);
    layer->n_outputs = lg_layer_width(graph, node);
    layer->fixed = count_users(graph, node->weights[SLOT_WEIGHT]) > 1 || node->weights[SLOT_BIAS] == LG_NONE ||
                   count_users(graph, node->weights[SLOT_BIAS]) > 1;
    follow_output(layer, graph, uses);
    describe_window(&layer->window, graph, node);
    LG_TRY(describe_units(&layer->in_unit, channels, graph, node, layer->input, layer->window.channels));
    LG_TRY(describe_units(&layer->out_unit, channels, graph, node, layer->output, layer->n_outputs));
done:
    return status;
}

lego_status lg_layers_create(lg_layers *out, const lg_graph *graph, const lg_channels *channels)
{
    lg_uses uses = { 0 };
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    LG_TRY(lg_graph_uses(&uses, graph));
    LG_TRY(LG_CALLOC(&out->layers, graph->n_nodes));
    for (int32_t i = 0; i < graph->n_nodes; i++)
        if (lg_op_is_compressible(graph->nodes[i].op))
            LG_TRY(describe_layer(&out->layers[out->n++], graph, channels, &uses, i));
done:
    lg_uses_dispose(&uses);
    if (status != LEGO_OK)
        lg_layers_dispose(out);
    return status;
}

void lg_layers_dispose(lg_layers *layers)
{
    for (int32_t i = 0; i < layers->n; i++) {
        lg_free(layers->layers[i].in_unit);
        lg_free(layers->layers[i].out_unit);
    }
    lg_free(layers->layers);
    memset(layers, 0, sizeof(*layers));
}

int lg_layer_carries(const lg_layer *layer)
{
    return layer->groups > 1 && layer->groups == layer->window.channels;
}

static int is_alive(int32_t unit, const uint8_t *alive)
{
    return unit < 0 || alive[unit];
}

int lg_layer_slice(lg_slice *slice, int32_t *channels, const lg_layer *layer, int32_t group, const uint8_t *alive)
{
    const int64_t in_share = layer->window.channels / layer->groups, out_share = layer->n_outputs / layer->groups;
    int outputs_alive = 0;

    *slice = (lg_slice){ channels, 0, group * out_share, out_share };
    for (int64_t c = group * in_share; c < (group + 1) * in_share; c++)
        if (is_alive(layer->in_unit[c], alive))
            channels[slice->n_channels++] = (int32_t)c;
    for (int64_t k = group * out_share; k < (group + 1) * out_share; k++)
        outputs_alive |= is_alive(layer->out_unit[k], alive);
    return slice->n_channels > 0 && outputs_alive;
}

int64_t lg_layer_width(const lg_graph *graph, const lg_node *node)
{
    const lg_shape *weight = &lg_node_weight(graph, node, SLOT_WEIGHT)->shape;

    return node->op->kind == LG_OP_CONV_TRANSPOSE ? weight->dims[1] * node->attrs->conv_transpose.groups
                                                  : weight->dims[0];
}

/* Where weight[k][c][tap 0] of a layer stands, (K,C/groups,taps) or transposed (C,K/groups,taps); c counts in the whole
 * input, k in the whole output. */
static int64_t weight_at(const lg_layer *layer, int64_t k, int64_t c)
{
    const int64_t in_share = layer->window.channels / layer->groups, out_share = layer->n_outputs / layer->groups;

    return (layer->window.is_transposed ? c * out_share + k % out_share : k * in_share + c % in_share) *
           lg_window_area(&layer->window);
}

void lg_layer_read_weights(double *w, const lg_graph *graph, const lg_layer *layer, const lg_slice *slice)
{
    const int64_t area = lg_window_area(&layer->window), m = slice->n_outputs;
    const float *weight = lg_tensor_data(lg_node_weight(graph, &graph->nodes[layer->node], SLOT_WEIGHT));

    for (int64_t c = 0; c < slice->n_channels; c++)
        for (int64_t k = 0; k < m; k++) {
            const float *from = weight + weight_at(layer, slice->first_output + k, slice->channels[c]);

            for (int64_t p = 0; p < area; p++)
                w[(c * area + p) * m + k] = from[p];
        }
}

lego_status lg_layer_own_weights(lg_graph *graph, const lg_layer *layer)
{
    lego_status status = LEGO_OK;

    for (int slot = SLOT_WEIGHT; slot <= SLOT_BIAS; slot++) {
        lego_tensor *tensor = lg_node_weight(graph, &graph->nodes[layer->node], slot), copy = { 0 };

        LG_TRY(lg_tensor_copy(&copy, tensor));
        lg_tensor_dispose(tensor);
        *tensor = copy;
    }
done:
    return status;
}

void lg_layer_write_weights(lg_graph *graph, const lg_layer *layer, int32_t group, const lg_slice *slice,
                            const double *w, const double *bias)
{
    const int64_t area = lg_window_area(&layer->window), m = slice->n_outputs;
    const int64_t in_share = layer->window.channels / layer->groups;
    float *weight = lg_tensor_data(lg_node_weight(graph, &graph->nodes[layer->node], SLOT_WEIGHT));
    float *biases = lg_tensor_data(lg_node_weight(graph, &graph->nodes[layer->node], SLOT_BIAS));

    for (int64_t k = 0; k < m; k++) {
        for (int64_t c = group * in_share; c < (group + 1) * in_share; c++)
            memset(weight + weight_at(layer, slice->first_output + k, c), 0, sizeof(*weight) * (size_t)area);
        biases[slice->first_output + k] = (float)bias[k];
        for (int64_t c = 0; c < slice->n_channels; c++) {
            float *to = weight + weight_at(layer, slice->first_output + k, slice->channels[c]);

            for (int64_t p = 0; p < area; p++)
                to[p] = (float)w[(c * area + p) * m + k];
        }
    }
}
