/* The variants of one block in given environments.
 *
 * The layers are visited once, in topological order. At each layer, first the groups it reads that nobody has decided
 * are decided, for all sparsities at once; then the layer is re-fitted to what it now reads, the original's output
 * being the target. So every layer works on the path already pruned, producers are re-fitted to the inputs of the
 * environments before the channels they feed are chosen, and several groups in one block need no special case.
 *
 * A *path* is a variant on the way. All variants start as one path; where a choice separates them the path splits, and
 * what comes before is shared. A path keeps the folded block at full size with the columns of removed units zeroed: it
 * computes what the pruned block will, all ids stay those of the analysis, and one lg_channels_apply() at the end takes
 * the zeros out.
 *
 * Newcomers: nothing here knows a residual block from a bottleneck. What is chosen comes from graph/channels.h, what an
 * error is from `joined` (reconstruct_layers.c). */
#include <string.h>

#include "base/alloc.h"
#include "prune/reconstruct_block.h"

#define MIN_ROWS 2048

/* --- the block as it is --- */

/* Which group of the unfolded block is `group` of the folded one: they share the weights' names. */
static int32_t original_group(const lg_work *work, int32_t group, const lg_prune_block *block, const int32_t *group_of)
{
    const lg_channel_group *g = lg_channels_group(work->channels, (size_t)group);

    for (int32_t i = 0; i < g->n_axes; i++) {
        const lg_axis axis = g->axes[i];
        int32_t weight = LG_NONE;

        if (!axis.is_weight)
            continue;
        weight = lg_graph_find_weight(block->graph, work->graph->weights[axis.id].name);
        for (int64_t e = 0; weight != LG_NONE && e < work->graph->weights[axis.id].tensor.shape.dims[axis.axis]; e++) {
            const int32_t unit = lg_channels_unit(work->channels, axis, e);
            const int32_t other = lg_channels_unit(block->channels, LG_WEIGHT_AXIS(weight, axis.axis), e);

            if (unit >= 0 && other >= 0 && work->group_of[unit] == group)
                return group_of[other];
        }
    }
    return LG_NONE;
}

static void list_groups(int32_t *group_of, const lg_channels *channels, int32_t n_units)
{
    for (int32_t u = 0; u < n_units; u++)
        group_of[u] = LG_NONE;
    for (size_t g = 0; g < lg_channels_n_groups(channels); g++) {
        const lg_channel_group *group = lg_channels_group(channels, g);

        for (int32_t i = 0; i < group->n_units; i++)
            group_of[group->units[i]] = (int32_t)g;
    }
}

static lego_status map_groups(lg_work *work, const lg_prune_block *block)
{
    const int32_t n_units = lg_channels_n_units(block->channels);
    int32_t *group_of = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&group_of, n_units));
    list_groups(group_of, block->channels, n_units);
    for (int32_t g = 0; g < work->n_groups; g++) {
        const lg_channel_group *folded = lg_channels_group(work->channels, (size_t)g), *unfolded = NULL;

        work->widths_of[g] = LG_NONE;
        if (folded->frozen)
            continue;
        work->widths_of[g] = original_group(work, g, block, group_of);
        if (work->widths_of[g] != LG_NONE)
            unfolded = lg_channels_group(block->channels, (size_t)work->widths_of[g]);
        if (!unfolded || unfolded->frozen || unfolded->n_units != folded->n_units || unfolded->parts != folded->parts)
            LG_FAIL(LEGO_EUNSUPPORTED, "block '%s': folding batch norm changed its channel groups", work->graph->name);
    }
done:
    lg_free(group_of);
    return status;
}

/* As many images as the memory limit allows for a layer's inputs in `n_sources` environments. */
static int64_t images_of(const lg_work *work, const lg_layer *layer, int64_t n_images, int64_t n_sources)
{
    const size_t image = sizeof(float) * (size_t)lg_window_elements(&layer->window) * (size_t)n_sources;
    const int64_t most = (int64_t)(work->effort.memory_bytes / 4 / (image > 0 ? image : 1));

    return most < 1 ? 1 : most < n_images ? most : n_images;
}

static lego_status draw_samples(lg_work *work, int64_t n_images)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&work->samples, work->layers.n));
    for (int32_t l = 0; l < work->layers.n; l++) {
        const lg_layer *layer = &work->layers.layers[l];
        const int64_t images = images_of(work, layer, n_images, work->effort.max_environments);
        const int64_t columns = layer->window.channels / layer->groups * lg_window_area(&layer->window);
        const int64_t wanted = columns * work->effort.rows_per_column;
        const int64_t step = images * lg_window_positions(&layer->window) /
                             (wanted > MIN_ROWS ? wanted : MIN_ROWS);

        LG_TRY(lg_sample_init(&work->samples[l], &layer->window, layer->n_outputs, images, step > 1 ? step : 1,
                              work->effort.seed + (uint64_t)l));
    }
done:
    return status;
}

lego_status lg_work_create(lg_work *out, lego_context *context, const lg_prune_block *block, const lg_effort *effort,
                           const float *const *images, int64_t n_images)
{
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    out->context = context;
    out->block = block;
    out->effort = *effort;
    LG_TRY(lg_fold_norms(&out->graph, block->graph));
    LG_TRY(lg_channels_analyze(&out->channels, out->graph, 1));
    LG_TRY(lg_layers_create(&out->layers, out->graph, out->channels));
    out->n_units = lg_channels_n_units(out->channels);
    out->n_groups = (int32_t)lg_channels_n_groups(out->channels);
    LG_TRY(LG_CALLOC(&out->group_of, out->n_units));
    LG_TRY(LG_CALLOC(&out->widths_of, out->n_groups));
    LG_TRY(LG_CALLOC(&out->roots, out->layers.n));
    LG_TRY(LG_CALLOC(&out->n_roots, out->layers.n));
    list_groups(out->group_of, out->channels, out->n_units);
    LG_TRY(map_groups(out, block));
    LG_TRY(draw_samples(out, n_images));
    LG_TRY(lg_work_targets(out, images));
done:
    if (status != LEGO_OK)
        lg_work_dispose(out);
    return status;
}

void lg_work_dispose(lg_work *work)
{
    for (int32_t l = 0; l < work->layers.n; l++) {
        if (work->samples)
            lg_sample_dispose(&work->samples[l]);
        if (work->roots)
            lg_free(work->roots[l]);
    }
    lg_free(work->samples);
    lg_free(work->roots);
    lg_free(work->n_roots);
    lg_free(work->group_of);
    lg_free(work->widths_of);
    lg_layers_dispose(&work->layers);
    lg_channels_free(work->channels);
    lg_graph_free(work->graph);
    memset(work, 0, sizeof(*work));
}

/* --- paths --- */

static void path_dispose(lg_path *path)
{
    lg_graph_free(path->graph);
    lg_free(path->alive);
    lg_free(path->decided);
    lg_free(path->parts_decided);
    lg_free(path->fitted);
    lg_free(path->variants);
    memset(path, 0, sizeof(*path));
}

static lego_status path_init(lg_path *path, const lg_work *work, const lg_graph *graph)
{
    lego_status status = LEGO_OK;

    memset(path, 0, sizeof(*path));
    LG_TRY(lg_graph_clone(&path->graph, graph));
    LG_TRY(LG_CALLOC(&path->alive, work->n_units));
    LG_TRY(LG_CALLOC(&path->decided, work->n_groups));
    LG_TRY(LG_CALLOC(&path->parts_decided, work->n_groups));
    LG_TRY(LG_CALLOC(&path->fitted, work->layers.n));
    LG_TRY(LG_CALLOC(&path->variants, work->block->n_variants));
done:
    if (status != LEGO_OK)
        path_dispose(path);
    return status;
}

/* The path of one of `from`'s variants, with the units that `stays` leaves. */
static lego_status path_split(lg_path *path, const lg_work *work, const lg_path *from, int32_t variant,
                              const uint8_t *stays)
{
    lego_status status = LEGO_OK;

    LG_TRY(path_init(path, work, from->graph));
    memcpy(path->alive, stays + (int64_t)variant * work->n_units, (size_t)work->n_units);
    memcpy(path->decided, from->decided, (size_t)work->n_groups);
    memcpy(path->parts_decided, from->parts_decided, (size_t)work->n_groups);
    memcpy(path->fitted, from->fitted, (size_t)work->layers.n);
    path->variants[0] = from->variants[variant];
    path->n_variants = 1;
done:
    return status;
}

/* changed[value] = 1 where the path computes something else than the original in some environment. */
static void mark_changes(uint8_t *changed, const lg_work *work, const lg_path *path, int32_t except,
                         const lg_environments *environments)
{
    const lg_graph *graph = path->graph;

    memset(changed, 0, (size_t)graph->n_values);
    for (int32_t i = 0; i < graph->n_inputs; i++)
        for (int32_t e = 0; e < environments->n; e++)
            changed[graph->inputs[i]] |= environments->inputs[e][i] !=
                                         environments->inputs[environments->original][i];
    for (int32_t i = 0, l = 0; i < graph->n_nodes; i++) {
        const lg_node *node = &graph->nodes[i];
        uint8_t any = 0;

        while (l < work->layers.n && work->layers.layers[l].node < i)
            l++;
        if (l < work->layers.n && work->layers.layers[l].node == i)
            any = path->fitted[l] && l != except;
        for (int32_t j = 0; j < node->n_inputs; j++)
            any |= changed[node->inputs[j]];
        for (int32_t j = 0; j < node->n_outputs; j++)
            changed[node->outputs[j]] = any;
    }
}

static lego_status differs(int *out, const lg_work *work, const lg_path *path, int32_t layer,
                           const lg_environments *environments)
{
    const lg_layer *l = &work->layers.layers[layer];
    uint8_t *changed = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&changed, path->graph->n_values));
    mark_changes(changed, work, path, layer, environments);
    *out = changed[l->input] || changed[l->joined];
done:
    lg_free(changed);
    return status;
}

/* --- one layer --- */

/* Where the path's slice lies in the statistics' slice: channel indices and columns. Both ascend. */
static int64_t kept_columns(int32_t *columns, const lg_slice *slice, const lg_slice *all, int64_t area)
{
    int64_t n = 0, at = 0;

    for (int64_t i = 0; i < slice->n_channels; i++) {
        while (all->channels[at] != slice->channels[i])
            at++;
        for (int64_t p = 0; p < area; p++)
            columns[n++] = (int32_t)(at * area + p);
    }
    return n;
}

static lego_status fit_slice(lg_path *path, lg_remarks *remarks, const lg_work *work, const lg_layer *layer,
                             int32_t group, const lg_layer_stats *stats)
{
    const lg_slice_stats *all = &stats->slices[group];
    const int64_t area = lg_window_area(&layer->window), share = layer->window.channels / layer->groups;
    int32_t *channels = NULL, *columns = NULL;
    lg_fit fit = { 0 };
    lg_slice slice;
    int64_t n = 0;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&channels, share));
    LG_TRY(LG_CALLOC(&columns, share * area));
    if (!lg_layer_slice(&slice, channels, layer, group, path->alive))
        goto done;
    if (all->moments.n == 0) {
        remarks->n_not_fitted++;
        goto done;
    }
    n = kept_columns(columns, &slice, &all->slice, area);
    LG_TRY(lg_fit_init(&fit, &all->moments, columns, n, all->w0,
                       lg_ridge(all->moments.xx, all->moments.n, work->effort.ridge)));
    remarks->n_raised += fit.n_raised;
    if (layer->activates && work->effort.rounds > 0)
        LG_TRY(lg_rows_sharpen(&fit, NULL, &stats->rows, &slice, &layer->flat, work->effort.rounds));
    lg_layer_write_weights(path->graph, layer, group, &slice, fit.w, fit.bias);
done:
    lg_fit_dispose(&fit);
    lg_free(channels);
    lg_free(columns);
    return status;
}

static lego_status fit_layer(lg_path *path, lg_remarks *remarks, const lg_work *work, int32_t layer,
                             const lg_layer_stats *stats)
{
    const lg_layer *l = &work->layers.layers[layer];
    lego_status status = LEGO_OK;

    path->fitted[layer] = 1;
    if (l->fixed)
        return LEGO_OK;
    LG_TRY(lg_layer_own_weights(path->graph, l));
    for (int32_t g = 0; g < l->groups; g++)
        LG_TRY(fit_slice(path, remarks, work, l, g, stats));
done:
    return status;
}

/* --- the walk --- */

typedef struct walk {
    const lg_work *work;
    const lg_environments *environments;
    lg_remarks *remarks;
    lg_path *paths; /* as many as variants, at most */
    int32_t n_paths;
    uint8_t *flags, *stays;
} walk;

/* A group that the layer reads whose whole convolution groups are still to be chosen; LG_NONE. */
static int32_t open_parts(const walk *w, const lg_path *path, int32_t layer)
{
    (void)lg_work_open_groups(w->flags, w->work, path, layer);
    for (int32_t g = 0; g < w->work->n_groups; g++)
        if (w->flags[g] && lg_channels_group(w->work->channels, (size_t)g)->parts > 1 && !path->parts_decided[g])
            return g;
    return LG_NONE;
}

static void set_parts_decided(lg_path *path, const lg_work *work, int32_t group)
{
    for (int32_t g = group; g != LG_NONE && !path->parts_decided[g];
         g = lg_channels_group(work->channels, (size_t)g)->partner)
        path->parts_decided[g] = 1;
}

/* Put one path a variant in the place of path `index`. */
static lego_status split(walk *w, int32_t index)
{
    lg_path from = w->paths[index];
    lego_status status = LEGO_OK;

    memset(&w->paths[index], 0, sizeof(from));
    for (int32_t v = 0; v < from.n_variants; v++)
        LG_TRY(path_split(&w->paths[v == 0 ? index : w->n_paths++], w->work, &from, v, w->stays));
done:
    path_dispose(&from);
    return status;
}

static void fill_stays(walk *w, const lg_path *path)
{
    for (int32_t v = 0; v < path->n_variants; v++)
        memcpy(w->stays + (int64_t)v * w->work->n_units, path->alive, (size_t)w->work->n_units);
}

/* Choose whole convolution groups of everything that the layer reads, in all paths. */
static lego_status decide_parts(walk *w, int32_t layer)
{
    lego_status status = LEGO_OK;

    for (int32_t p = 0; p < w->n_paths; p++) {
        for (int32_t g = open_parts(w, &w->paths[p], layer); g != LG_NONE; g = open_parts(w, &w->paths[p], layer)) {
            int64_t n_gone = 0;

            fill_stays(w, &w->paths[p]);
            LG_TRY(lg_work_choose_parts(w->stays, &n_gone, w->remarks, w->work, &w->paths[p], g, w->environments));
            set_parts_decided(&w->paths[p], w->work, g);
            if (n_gone > 0)
                LG_TRY(split(w, p));
        }
    }
done:
    return status;
}

/* Choose the units that the layer reads, then re-fit it, in path `index` and those that split off. */
static lego_status decide_and_fit(walk *w, int32_t index, int32_t layer)
{
    const int32_t n_before = w->n_paths, n_open = lg_work_open_groups(w->flags, w->work, &w->paths[index], layer);
    lg_layer_stats stats = { 0 };
    int64_t n_gone = 0;
    int is_different = 0;
    lego_status status = LEGO_OK;

    LG_TRY(differs(&is_different, w->work, &w->paths[index], layer, w->environments));
    if (n_open == 0 && !is_different)
        return LEGO_OK;
    LG_TRY(lg_layer_stats_create(&stats, w->work, &w->paths[index], layer, w->environments));
    if (n_open > 0) {
        fill_stays(w, &w->paths[index]);
        LG_TRY(lg_work_choose_units(w->stays, &n_gone, w->remarks, w->work, &w->paths[index], layer, &stats,
                                    w->environments));
        for (int32_t g = 0; g < w->work->n_groups; g++)
            w->paths[index].decided[g] |= w->flags[g];
    }
    if (n_gone > 0)
        LG_TRY(split(w, index));
    if (n_gone == 0 && !is_different)
        goto done;
    LG_TRY(fit_layer(&w->paths[index], w->remarks, w->work, layer, &stats));
    for (int32_t p = n_before; p < w->n_paths; p++)
        LG_TRY(fit_layer(&w->paths[p], w->remarks, w->work, layer, &stats));
done:
    lg_layer_stats_dispose(&stats);
    return status;
}

/* Groups that no layer reads (nothing behind them mixes channels): the first units of the first parts stay. */
static void cut_unread(uint8_t *alive, const lg_path *path, int32_t variant, const lg_work *work)
{
    for (int32_t g = 0; g < work->n_groups; g++) {
        const lg_channel_group *group = lg_channels_group(work->channels, (size_t)g);
        lg_prune_width width;

        if (path->decided[g] || work->widths_of[g] == LG_NONE)
            continue;
        width = work->block->variants[variant].widths[work->widths_of[g]];
        for (int32_t j = 0; j < group->n_units; j++) {
            const int32_t each = group->n_units / group->parts;

            alive[group->units[j]] = j / each < width.parts && j % each < width.units / width.parts;
        }
    }
}

static lego_status finish(lg_graph **out, int32_t first_variant, const walk *w)
{
    uint8_t *alive = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&alive, w->work->n_units));
    for (int32_t p = 0; p < w->n_paths; p++)
        for (int32_t v = 0; v < w->paths[p].n_variants; v++) {
            const int32_t variant = w->paths[p].variants[v];

            memcpy(alive, w->paths[p].alive, (size_t)w->work->n_units);
            cut_unread(alive, &w->paths[p], variant, w->work);
            LG_TRY(lg_channels_apply(&out[variant - first_variant], w->work->channels, w->paths[p].graph, alive));
        }
done:
    lg_free(alive);
    return status;
}

lego_status lg_work_solve(lg_graph **out, lg_remarks *remarks, const lg_work *work, int32_t first_variant,
                          int32_t n_variants, const lg_environments *environments)
{
    walk w = { work, environments, remarks, NULL, 0, NULL, NULL };
    lego_status status = LEGO_OK;

    for (int32_t v = 0; v < n_variants; v++)
        out[v] = NULL;
    if (n_variants == 0)
        return LEGO_OK;
    LG_TRY(LG_CALLOC(&w.paths, n_variants));
    LG_TRY(LG_CALLOC(&w.flags, work->n_groups));
    LG_TRY(LG_CALLOC(&w.stays, (int64_t)n_variants * work->n_units));
    LG_TRY(path_init(&w.paths[0], work, work->graph));
    w.n_paths = 1;
    memset(w.paths[0].alive, 1, (size_t)work->n_units);
    for (int32_t v = 0; v < n_variants; v++)
        w.paths[0].variants[w.paths[0].n_variants++] = first_variant + v;
    for (int32_t l = 0; l < work->layers.n; l++) {
        LG_TRY(decide_parts(&w, l));
        for (int32_t p = 0, n = w.n_paths; p < n; p++)
            LG_TRY(decide_and_fit(&w, p, l));
        if (work->steps)
            LG_TRY(lg_progress(work->context, "reconstruct", ++work->steps->done, work->steps->total));
    }
    LG_TRY(finish(out, first_variant, &w));
done:
    for (int32_t p = 0; w.paths && p < w.n_paths; p++)
        path_dispose(&w.paths[p]);
    lg_free(w.paths);
    lg_free(w.flags);
    lg_free(w.stays);
    if (status != LEGO_OK)
        for (int32_t v = 0; v < n_variants; v++) {
            lg_graph_free(out[v]);
            out[v] = NULL;
        }
    return status;
}
