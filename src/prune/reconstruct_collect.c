/* What a layer reads and what it should give: activations of the original and of half-made variants, as rows.
 *
 * Flow: the original's targets are collected once a block; a path's inputs (and what joins the layer's output there)
 * once for every layer and path, in all environments. Only inputs are kept whole; all else at the sampled positions.
 *
 * Newcomers: the target of a layer is the original's `joined` value minus what joins the layer's output in the variant
 * and environment at hand, so that a layer before a residual sum also mends what the shortcut brings (DESIGN.md
 * section 6, step 3: t + shortcut(x) - shortcut(x~)). */
#include <string.h>

#include "base/alloc.h"
#include "prune/reconstruct_block.h"

/* Index of `value` in the list, appended if it is new. */
static int32_t add_value(int32_t *values, int32_t *n, int32_t value)
{
    for (int32_t i = 0; i < *n; i++)
        if (values[i] == value)
            return i;
    values[*n] = value;
    return (*n)++;
}

/* Run the part of `graph` that gives `values`. */
static lego_status part_runner(lg_runner **out, int32_t *inputs_used, int32_t *n_used, const lg_work *work,
                               const lg_graph *graph, const int32_t *values, int32_t n_values, int64_t n_images)
{
    lg_graph *part = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_graph_part(&part, inputs_used, graph, values, n_values));
    *n_used = part->n_inputs;
    LG_TRY(lg_runner_create(out, work->context, part, n_images));
done:
    lg_graph_free(part);
    return status;
}

/* Pointers to the inputs that a part still reads. */
static void used_inputs(const float **out, const float *const *inputs, const int32_t *used, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        out[i] = inputs[used[i]];
}

/* --- targets of the original --- */

typedef struct target_sink {
    lg_work *work;
    const int32_t *output_of; /* [layers.n]: which output of the part is the layer's joined value */
} target_sink;

static lego_status pick_targets(void *payload, float *const *outputs, int64_t first, int64_t count)
{
    target_sink *sink = payload;

    for (int32_t l = 0; l < sink->work->layers.n; l++) {
        lg_sample *sample = &sink->work->samples[l];

        lg_sample_pick(sample->targets, sample, outputs[sink->output_of[l]], first, count);
    }
    return LEGO_OK;
}

lego_status lg_work_targets(lg_work *work, const float *const *images)
{
    const lg_graph *graph = work->graph;
    int32_t *values = NULL, *output_of = NULL, *used = NULL, n_values = 0, n_used = 0;
    const float **inputs = NULL;
    int64_t n_images = 0;
    lg_runner *runner = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&values, work->layers.n));
    LG_TRY(LG_CALLOC(&output_of, work->layers.n));
    LG_TRY(LG_CALLOC(&used, graph->n_inputs));
    LG_TRY(LG_CALLOC(&inputs, graph->n_inputs));
    for (int32_t l = 0; l < work->layers.n; l++) {
        output_of[l] = add_value(values, &n_values, work->layers.layers[l].joined);
        if (work->samples[l].n_images > n_images)
            n_images = work->samples[l].n_images;
    }
    LG_TRY(part_runner(&runner, used, &n_used, work, graph, values, n_values, n_images));
    used_inputs(inputs, images, used, n_used);
    LG_TRY(lg_runner_run(runner, inputs, n_images, pick_targets, &(target_sink){ work, output_of }));
done:
    lg_runner_free(runner);
    lg_free(values);
    lg_free(output_of);
    lg_free(used);
    lg_free(inputs);
    return status;
}

/* --- rows of a path --- */

typedef struct row_sink {
    lg_rows *rows;
    int32_t source;
    int32_t input, output, joined; /* outputs of the part; LG_NONE: not needed */
    float *own;                    /* scratch: the layer's own output at the sampled positions */
} row_sink;

static lego_status keep_rows(void *payload, float *const *outputs, int64_t first, int64_t count)
{
    row_sink *sink = payload;
    const lg_sample *sample = sink->rows->sample;
    const int64_t elements = lg_window_elements(&sample->window);

    if (sink->input != LG_NONE)
        memcpy(sink->rows->owned[sink->source] + first * elements, outputs[sink->input],
               sizeof(float) * (size_t)(count * elements));
    if (sink->joined != LG_NONE) {
        lg_sample_pick(sink->rows->offsets[sink->source], sample, outputs[sink->joined], first, count);
        lg_sample_pick(sink->own, sample, outputs[sink->output], first, count);
    }
    return LEGO_OK;
}

/* offsets = joined - own output */
static void take_off_own(row_sink *sink)
{
    const int64_t n = sink->rows->sample->n_rows * sink->rows->sample->n_outputs;
    float *offsets = sink->rows->offsets[sink->source];

    for (int64_t i = 0; sink->joined != LG_NONE && i < n; i++)
        offsets[i] -= sink->own[i];
}

/* Which input of the block a value is, or LG_NONE. */
static int32_t block_input(const lg_graph *graph, int32_t value)
{
    for (int32_t i = 0; i < graph->n_inputs; i++)
        if (graph->inputs[i] == value)
            return i;
    return LG_NONE;
}

static lego_status prepare_source(row_sink *sink, const lg_environments *environments, int32_t environment,
                                  int32_t direct)
{
    lg_rows *rows = sink->rows;
    const lg_sample *sample = rows->sample;
    lego_status status = LEGO_OK;

    rows->weights[environment] = environments->weights[environment];
    if (direct != LG_NONE) {
        rows->inputs[environment] = environments->inputs[environment][direct];
    } else {
        LG_TRY(LG_CALLOC(&rows->owned[environment], sample->n_images * lg_window_elements(&sample->window)));
        rows->inputs[environment] = rows->owned[environment];
    }
    if (sink->joined != LG_NONE)
        LG_TRY(LG_CALLOC(&rows->offsets[environment], sample->n_rows * sample->n_outputs));
done:
    return status;
}

lego_status lg_work_collect(lg_rows *rows, const lg_work *work, const lg_path *path, int32_t layer,
                            const lg_environments *environments)
{
    const lg_layer *l = &work->layers.layers[layer];
    const lg_sample *sample = &work->samples[layer];
    const int32_t direct = block_input(path->graph, l->input);
    row_sink sink = { rows, 0, LG_NONE, LG_NONE, LG_NONE, NULL };
    int32_t values[3], n_values = 0, n_used = 0, *used = NULL;
    const float **inputs = NULL;
    lg_runner *runner = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_rows_init(rows, sample, environments->n));
    LG_TRY(LG_CALLOC(&used, path->graph->n_inputs));
    LG_TRY(LG_CALLOC(&inputs, path->graph->n_inputs));
    if (direct == LG_NONE)
        sink.input = add_value(values, &n_values, l->input);
    if (l->joined != l->output) {
        sink.joined = add_value(values, &n_values, l->joined);
        sink.output = add_value(values, &n_values, l->output);
        LG_TRY(LG_CALLOC(&sink.own, sample->n_rows * sample->n_outputs));
    }
    if (n_values > 0)
        LG_TRY(part_runner(&runner, used, &n_used, work, path->graph, values, n_values, sample->n_images));
    for (sink.source = 0; sink.source < environments->n; sink.source++) {
        LG_TRY(prepare_source(&sink, environments, sink.source, direct));
        if (!runner)
            continue;
        used_inputs(inputs, environments->inputs[sink.source], used, n_used);
        LG_TRY(lg_runner_run(runner, inputs, sample->n_images, keep_rows, &sink));
        take_off_own(&sink);
    }
done:
    if (status != LEGO_OK)
        lg_rows_dispose(rows);
    lg_runner_free(runner);
    lg_free(sink.own);
    lg_free(used);
    lg_free(inputs);
    return status;
}

/* --- statistics of a layer --- */

static lego_status slice_stats(lg_slice_stats *out, const lg_work *work, const lg_path *path, const lg_layer *layer,
                               int32_t group, const lg_rows *rows)
{
    const int64_t area = lg_window_area(&layer->window);
    int64_t n = 0;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&out->channels, layer->window.channels / layer->groups));
    out->live = lg_layer_slice(&out->slice, out->channels, layer, group, path->alive);
    if (!out->live)
        goto done;
    n = out->slice.n_channels * area;
    LG_TRY(LG_CALLOC(&out->w0, n * out->slice.n_outputs));
    lg_layer_read_weights(out->w0, path->graph, layer, &out->slice);
    if (lg_moments_bytes(n, out->slice.n_outputs) <= work->effort.memory_bytes / 3)
        LG_TRY(lg_rows_moments(&out->moments, rows, &out->slice));
done:
    return status;
}

lego_status lg_layer_stats_create(lg_layer_stats *out, const lg_work *work, const lg_path *path, int32_t layer,
                                  const lg_environments *environments)
{
    const lg_layer *l = &work->layers.layers[layer];
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    LG_TRY(lg_work_collect(&out->rows, work, path, layer, environments));
    LG_TRY(LG_CALLOC(&out->slices, l->groups));
    out->n_slices = l->groups;
    for (int32_t g = 0; g < l->groups; g++)
        LG_TRY(slice_stats(&out->slices[g], work, path, l, g, &out->rows));
done:
    if (status != LEGO_OK)
        lg_layer_stats_dispose(out);
    return status;
}

void lg_layer_stats_dispose(lg_layer_stats *stats)
{
    for (int32_t g = 0; stats->slices && g < stats->n_slices; g++) {
        lg_free(stats->slices[g].channels);
        lg_free(stats->slices[g].w0);
        lg_moments_dispose(&stats->slices[g].moments);
    }
    lg_free(stats->slices);
    lg_rows_dispose(&stats->rows);
    memset(stats, 0, sizeof(*stats));
}
