/* Importance of channels by what the loss would lose with them, to first order.
 *
 * Put a gate, a factor of 1, on a channel of everything that makes it. How the loss changes when the gate closes is, to
 * first order, the loss's derivative by the gate: for one sample the sum over positions of gradient times activation,
 * over all layers whose outputs carry the channel (behind a residual sum these are several). The importance is the mean
 * over samples of its square (Molchanov et al., Importance Estimation for Neural Network Pruning, CVPR 2019, eq. 8,
 * with gates as in section 3.2).
 *
 * Runs on the whole model with batch norms folded into the layers before them, so that a closed gate is what pruning
 * does; gradients come from tape.c, without libtorch. Newcomers: a depthwise layer only carries channels,
 * a gate on it as well would count them twice. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "graph/ops.h"
#include "prune/prune.h"
#include "prune/reconstruct_fisher.h"

#define MOST_IMAGES 16 /* at once */
#define MAX_SAMPLES 256

/* One layer: the derivative by the gate of each channel, for each sample. */
typedef struct gated {
    char *name;
    int32_t output; /* of the model's graph that is run */
    int32_t index;  /* among that graph's outputs */
    int64_t channels, positions;
    int channels_last;
    double *derivatives; /* (samples, channels) */
} gated;

struct lg_taylor {
    int32_t batch; /* samples at once */
    int64_t n_samples;
    int32_t n;
    gated *layers;
};

void lg_taylor_free(lg_taylor *taylor)
{
    if (!taylor)
        return;
    for (int32_t i = 0; i < taylor->n; i++) {
        lg_free(taylor->layers[i].name);
        lg_free(taylor->layers[i].derivatives);
    }
    lg_free(taylor->layers);
    lg_free(taylor);
}

/* Depthwise: every channel goes on by itself. */
static int carries(const lg_graph *graph, const lg_node *node)
{
    const int64_t groups = lg_layer_groups(node);

    return groups > 1 && groups == graph->values[node->inputs[0]].shape.dims[1];
}

static int32_t output_index(const lg_graph *graph, int32_t value)
{
    for (int32_t i = 0; i < graph->n_outputs; i++)
        if (graph->outputs[i] == value)
            return i;
    return LG_NONE;
}

/* Gates on all layers of `graph`; their outputs become outputs of the graph, so that the activations are there. */
static lego_status place_gates(lg_taylor *taylor, lg_graph *graph)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&taylor->layers, graph->n_nodes));
    for (int32_t n = 0; n < graph->n_nodes; n++) {
        const lg_node *node = &graph->nodes[n];
        const lg_value *value = &graph->values[node->outputs[0]];
        gated *layer = &taylor->layers[taylor->n];

        if (!lg_op_is_compressible(node->op) || carries(graph, node))
            continue;
        taylor->n++;
        layer->output = node->outputs[0];
        layer->channels_last = lg_layer_channel_axis(graph, node, node->outputs[0]) != 1;
        layer->channels = value->shape.dims[lg_layer_channel_axis(graph, node, node->outputs[0])];
        layer->positions = lg_value_elements(value) / layer->channels;
        LG_TRY(LG_STRDUP(&layer->name, node->name));
        LG_TRY(LG_CALLOC(&layer->derivatives, taylor->n_samples * layer->channels));
        if (output_index(graph, layer->output) == LG_NONE)
            LG_TRY(lg_graph_add_output(graph, layer->output));
        layer->index = output_index(graph, layer->output);
    }
done:
    return status;
}

/* Gradient of the mean cross entropy of a batch, each sample by itself: softmax(logits) less one at the class. */
static void loss_gradient(float *gradient, const float *logits, const int64_t *labels, int64_t classes, int64_t n)
{
    for (int64_t i = 0; i < n; i++, gradient += classes, logits += classes) {
        double highest = logits[0], sum = 0.0;

        for (int64_t j = 1; j < classes; j++)
            highest = logits[j] > highest ? logits[j] : highest;
        for (int64_t j = 0; j < classes; j++)
            sum += exp(logits[j] - highest);
        for (int64_t j = 0; j < classes; j++)
            gradient[j] = (float)(exp(logits[j] - highest) / sum);
        gradient[labels[i]] -= 1.0f;
    }
}

static void read_gates(gated *layer, const lg_tape *tape, int64_t first, int64_t n)
{
    const float *z = lg_tape_output(tape, layer->index), *g = lg_tape_gradient(tape, layer->output);
    const int64_t inner = layer->channels_last ? layer->channels : layer->positions;

    for (int64_t i = 0; g && i < n; i++) {
        double *to = layer->derivatives + (first + i) * layer->channels;

        for (int64_t e = 0; e < layer->channels * layer->positions; e++, z++, g++)
            to[layer->channels_last ? e % inner : e / inner] += (double)*z * *g;
    }
}

static lego_status check_data(const lg_graph *model, lego_dataset *dataset)
{
    const lg_shape *in = &model->values[model->inputs[0]].shape, *out = &model->values[model->outputs[0]].shape;
    char text[128];
    int32_t shape[3];

    lego_dataset_sample_shape(dataset, shape);
    if (model->n_inputs != 1 || model->n_outputs != 1 || out->n_dims != 2)
        return lg_error(LEGO_EUNSUPPORTED, "criterion taylor needs a classifier: one input, one output (N,classes)");
    if (in->n_dims != 4 || in->dims[1] != shape[0] || in->dims[2] != shape[1] || in->dims[3] != shape[2])
        return lg_error(LEGO_EINVAL, "%s has samples of (%d,%d,%d), the model takes %s", lego_dataset_name(dataset),
                        shape[0], shape[1], shape[2], lg_shape_format(text, in));
    if (lego_dataset_n_classes(dataset) > out->dims[1])
        return lg_error(LEGO_EINVAL, "%s has %d classes, the model tells %lld apart", lego_dataset_name(dataset),
                        lego_dataset_n_classes(dataset), (long long)out->dims[1]);
    if (lego_dataset_n_samples(dataset) < MOST_IMAGES)
        return lg_error(LEGO_EINVAL, "%s has %lld samples, criterion taylor needs at least %d",
                        lego_dataset_name(dataset), (long long)lego_dataset_n_samples(dataset), MOST_IMAGES);
    return LEGO_OK;
}

static lego_status check_batch(const lego_dataset *dataset, const float *images, int64_t n, const int64_t *labels,
                               int64_t n_labels, int64_t classes)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(images[i]))
            return lg_error(LEGO_EINVAL, "%s: an image holds a NaN or an infinity", lego_dataset_name(dataset));
    for (int64_t i = 0; i < n_labels; i++)
        if (labels[i] < 0 || labels[i] >= classes)
            return lg_error(LEGO_EINVAL, "%s: class %lld is not in [0, %lld)", lego_dataset_name(dataset),
                            (long long)labels[i], (long long)classes);
    return LEGO_OK;
}

/* Samples first ... first + taylor->batch - 1: forward, backward, gates. */
static lego_status run_batch(lg_taylor *taylor, lg_tape *tape, lego_dataset *dataset, float *images, int64_t elements,
                             int64_t classes, int64_t first)
{
    int64_t indices[MOST_IMAGES], labels[MOST_IMAGES];
    const float *input = images;
    lego_status status = LEGO_OK;

    for (int64_t i = 0; i < taylor->batch; i++)
        indices[i] = first + i; /* a data set's order is class-balanced */
    LG_TRY(lego_dataset_read(dataset, indices, taylor->batch, images, labels));
    LG_TRY(check_batch(dataset, images, taylor->batch * elements, labels, taylor->batch, classes));
    LG_TRY(lg_tape_forward(tape, &input));
    loss_gradient(lg_tape_output_gradient(tape, 0), lg_tape_output(tape, 0), labels, classes, taylor->batch);
    lg_tape_backward(tape);
    for (int32_t i = 0; i < taylor->n; i++)
        read_gates(&taylor->layers[i], tape, first, taylor->batch);
done:
    return status;
}

lego_status lg_taylor_create(lg_taylor **out, lego_context *context, const lg_graph *model, lego_dataset *dataset)
{
    lg_taylor *taylor = NULL;
    lg_graph *folded = NULL;
    lg_tape *tape = NULL;
    float *images = NULL;
    int64_t elements;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(check_data(model, dataset));
    elements = lg_value_elements(&model->values[model->inputs[0]]);
    LG_TRY(LG_CALLOC(&taylor, 1));
    taylor->n_samples = lego_dataset_n_samples(dataset) < MAX_SAMPLES ? lego_dataset_n_samples(dataset) : MAX_SAMPLES;
    LG_TRY(lg_fold_norms(&folded, model));
    taylor->batch = lg_tape_batch(folded, MOST_IMAGES);
    taylor->n_samples -= taylor->n_samples % taylor->batch;
    LG_TRY(place_gates(taylor, folded));
    LG_TRY(lg_tape_create(&tape, context, folded, taylor->batch));
    LG_TRY(LG_CALLOC(&images, taylor->batch * elements));
    for (int64_t first = 0; first < taylor->n_samples; first += taylor->batch) {
        LG_TRY(run_batch(taylor, tape, dataset, images, elements, model->values[model->outputs[0]].shape.dims[1],
                         first));
        LG_TRY(lg_progress(context, "gradients", (size_t)(first + taylor->batch), (size_t)taylor->n_samples));
    }
    *out = taylor;
    taylor = NULL;
done:
    lg_free(images);
    lg_tape_free(tape);
    lg_graph_free(folded);
    lg_taylor_free(taylor);
    return status;
}

static const gated *find_layer(const lg_taylor *taylor, const char *name)
{
    for (int32_t i = 0; i < taylor->n; i++)
        if (strcmp(taylor->layers[i].name, name) == 0)
            return &taylor->layers[i];
    return NULL;
}

/* Sample by sample: the derivatives of one unit's gates add up before they are squared. */
lego_status lg_taylor_score(double *scores, const lg_taylor *taylor, const lg_channels *channels,
                            const lg_graph *block)
{
    const int32_t n_units = lg_channels_n_units(channels);
    double *sums = NULL; /* (samples, units) */
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&sums, taylor->n_samples * n_units));
    for (int32_t n = 0; n < block->n_nodes; n++) {
        const lg_node *node = &block->nodes[n];
        const gated *layer = find_layer(taylor, node->name);

        for (int64_t k = 0; layer && k < layer->channels; k++) {
            const lg_axis axis = LG_VALUE_AXIS(node->outputs[0], lg_layer_channel_axis(block, node, node->outputs[0]));
            const int32_t unit = lg_channels_unit(channels, axis, k);

            for (int64_t i = 0; unit >= 0 && i < taylor->n_samples; i++)
                sums[i * n_units + unit] += layer->derivatives[i * layer->channels + k];
        }
    }
    memset(scores, 0, (size_t)n_units * sizeof(*scores));
    for (int64_t i = 0; i < taylor->n_samples; i++)
        for (int32_t u = 0; u < n_units; u++)
            scores[u] += sums[i * n_units + u] * sums[i * n_units + u] / (double)taylor->n_samples;
done:
    lg_free(sums);
    return status;
}
