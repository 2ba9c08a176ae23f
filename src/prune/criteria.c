/* Importance of channels: one table of criteria, all but one (taylor.c) from weights alone.
 *
 * A unit (all that must go together) scores the sum over the filters that produce it: with a residual sum, the filters of
 * every convolution that feeds it (Li et al., Pruning Filters for Efficient ConvNets, 2017, for l1; coupled as in
 * Fang et al., DepGraph, 2023). Scores of a group are divided by their mean, so that the two sides of a grouped
 * convolution weigh the same when whole convolution groups are chosen. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/blas.h"
#include "base/rng.h"
#include "graph/ops.h"
#include "prune/prune.h"

enum { SLOT_WEIGHT = 0 };

/* One layer's filters: slices of its weight along `axis`, of `outer` runs of `inner` elements each. */
typedef struct filter_set {
    int32_t weight;
    int axis;
    int64_t n, outer, inner;
    const float *data;
} filter_set;

/* The weight's axis that goes with the node's output; -1 if there is none. */
static int filter_axis(const lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    const lg_value *output = &graph->values[node->outputs[0]];
    int32_t weight = node->weights[SLOT_WEIGHT];

    for (int axis = 0; axis < graph->weights[weight].tensor.shape.n_dims; axis++) {
        int32_t unit = lg_channels_unit(channels, LG_WEIGHT_AXIS(weight, axis), 0);

        for (int i = 1; unit >= 0 && i < output->shape.n_dims; i++)
            if (lg_channels_unit(channels, LG_VALUE_AXIS(node->outputs[0], i), 0) == unit)
                return axis;
    }
    return -1;
}

static filter_set filters_of(const lg_graph *graph, int32_t weight, int axis)
{
    const lego_tensor *tensor = &graph->weights[weight].tensor;
    filter_set found = { weight, axis, tensor->shape.dims[axis], 1, 1, lg_tensor_data(tensor) };

    for (int i = 0; i < axis; i++)
        found.outer *= tensor->shape.dims[i];
    for (int i = axis + 1; i < tensor->shape.n_dims; i++)
        found.inner *= tensor->shape.dims[i];
    return found;
}

static const float *filter_run(const filter_set *filters, int64_t filter, int64_t outer)
{
    return filters->data + (outer * filters->n + filter) * filters->inner;
}

/* What a criterion sees. */
typedef struct scorer {
    const lg_channels *channels;
    const lg_graph *graph;
    filter_set *filters; /* of every layer, shared weights once */
    int32_t n_filters;
    const lg_prune_rank *rank;
} scorer;

static lego_status find_filters(scorer *scoring)
{
    const lg_graph *graph = scoring->graph;
    uint8_t *seen = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&seen, graph->n_weights));
    LG_TRY(LG_CALLOC(&scoring->filters, graph->n_nodes));
    for (int32_t n = 0; n < graph->n_nodes; n++) {
        const lg_node *node = &graph->nodes[n];
        int axis;

        if (!lg_op_is_compressible(node->op) || seen[node->weights[SLOT_WEIGHT]]++)
            continue;
        axis = filter_axis(scoring->channels, graph, node);
        if (axis >= 0)
            scoring->filters[scoring->n_filters++] = filters_of(graph, node->weights[SLOT_WEIGHT], axis);
    }
done:
    lg_free(seen);
    return status;
}

/* --- norms --- */

/* Add every filter's sum of |w|^power, rooted, to its unit. */
static void add_norms(double *scores, const scorer *scoring, int power)
{
    for (int32_t f = 0; f < scoring->n_filters; f++) {
        const filter_set *filters = &scoring->filters[f];

        for (int64_t k = 0; k < filters->n; k++) {
            int32_t unit = lg_channels_unit(scoring->channels, LG_WEIGHT_AXIS(filters->weight, filters->axis), k);
            double sum = 0.0;

            for (int64_t o = 0; o < filters->outer; o++)
                for (int64_t i = 0; i < filters->inner; i++) {
                    double w = filter_run(filters, k, o)[i];

                    sum += power == 1 ? fabs(w) : w * w;
                }
            scores[unit] += power == 1 ? sum : sqrt(sum);
        }
    }
}

static lego_status score_l1(double *scores, const scorer *scoring)
{
    add_norms(scores, scoring, 1);
    return LEGO_OK;
}

static lego_status score_l2(double *scores, const scorer *scoring)
{
    add_norms(scores, scoring, 2);
    return LEGO_OK;
}

/* --- batch norm (Liu et al., Network Slimming, 2017) --- */

static lego_status score_bn_scale(double *scores, const scorer *scoring)
{
    const lg_graph *graph = scoring->graph;
    int32_t n_units = lg_channels_n_units(scoring->channels);
    double *norms = NULL;
    uint8_t *has_scale = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&norms, n_units));
    LG_TRY(LG_CALLOC(&has_scale, n_units));
    for (int32_t n = 0; n < graph->n_nodes; n++) {
        const lg_node *node = &graph->nodes[n];
        int32_t weight;

        if (node->op->kind != LG_OP_BATCH_NORM || node->weights[SLOT_WEIGHT] == LG_NONE)
            continue;
        weight = node->weights[SLOT_WEIGHT];
        for (int64_t i = 0; i < graph->weights[weight].tensor.shape.dims[0]; i++) {
            int32_t unit = lg_channels_unit(scoring->channels, LG_WEIGHT_AXIS(weight, 0), i);

            scores[unit] += fabsf(((const float *)lg_tensor_data(&graph->weights[weight].tensor))[i]);
            has_scale[unit] = 1;
        }
    }
    add_norms(norms, scoring, 1);
    for (size_t g = 0; g < lg_channels_n_groups(scoring->channels); g++) { /* units of a group touch the same axes */
        const lg_channel_group *group = lg_channels_group(scoring->channels, g);

        for (int32_t i = 0; i < group->n_units; i++)
            if (!has_scale[group->units[i]])
                scores[group->units[i]] = norms[group->units[i]];
    }
done:
    lg_free(norms);
    lg_free(has_scale);
    return status;
}

/* --- FPGM (He et al., Filter Pruning via Geometric Median, 2019) --- */

/* Squared distances between the units' filters in one layer, added to distances (n,n). */
static lego_status add_distances(double *distances, const lg_channel_group *group, const int32_t *position,
                                 const filter_set *filters, const lg_channels *channels)
{
    int64_t n = group->n_units, length = filters->n / n * filters->outer * filters->inner;
    float *rows = NULL, *gram = NULL;
    int64_t *filled = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&rows, n * length));
    LG_TRY(LG_CALLOC(&gram, n * n));
    LG_TRY(LG_CALLOC(&filled, n));
    for (int64_t k = 0; k < filters->n; k++) {
        int32_t row = position[lg_channels_unit(channels, LG_WEIGHT_AXIS(filters->weight, filters->axis), k)];

        for (int64_t o = 0; row >= 0 && o < filters->outer && filled[row] < length; o++) {
            memcpy(rows + row * length + filled[row], filter_run(filters, k, o),
                   (size_t)filters->inner * sizeof(*rows));
            filled[row] += filters->inner;
        }
    }
    lg_sgemm(0, 1, n, n, length, 1.0f, rows, length, rows, length, 0.0f, gram, n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            distances[i * n + j] += fmax(0.0, (double)gram[i * n + i] + gram[j * n + j] - 2.0 * gram[i * n + j]);
done:
    lg_free(rows);
    lg_free(gram);
    lg_free(filled);
    return status;
}

static int holds_axis(const lg_channel_group *group, int32_t weight, int axis)
{
    for (int32_t a = 0; a < group->n_axes; a++)
        if (group->axes[a].is_weight && group->axes[a].id == weight && group->axes[a].axis == axis)
            return 1;
    return 0;
}

static lego_status score_group_fpgm(double *scores, const scorer *scoring, const lg_channel_group *group,
                                    int32_t *position)
{
    int64_t n = group->n_units;
    double *distances = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&distances, n * n));
    for (int32_t i = 0; i < group->n_units; i++)
        position[group->units[i]] = i;
    for (int32_t f = 0; f < scoring->n_filters; f++)
        if (holds_axis(group, scoring->filters[f].weight, scoring->filters[f].axis))
            LG_TRY(add_distances(distances, group, position, &scoring->filters[f], scoring->channels));
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            scores[group->units[i]] += sqrt(distances[i * n + j]);
done:
    for (int32_t i = 0; i < group->n_units; i++)
        position[group->units[i]] = -1;
    lg_free(distances);
    return status;
}

static lego_status score_fpgm(double *scores, const scorer *scoring)
{
    int32_t n_units = lg_channels_n_units(scoring->channels);
    int32_t *position = NULL; /* of a unit in the group at hand; -1 outside */
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&position, n_units));
    for (int32_t u = 0; u < n_units; u++)
        position[u] = -1;
    for (size_t g = 0; g < lg_channels_n_groups(scoring->channels); g++) {
        const lg_channel_group *group = lg_channels_group(scoring->channels, g);

        if (!group->frozen)
            LG_TRY(score_group_fpgm(scores, scoring, group, position));
    }
done:
    lg_free(position);
    return status;
}

/* --- chance --- */

static lego_status score_random(double *scores, const scorer *scoring)
{
    lg_rng rng;

    lg_rng_init(&rng, scoring->rank->seed, 0x7072756e65); /* "prune" */
    for (int32_t u = 0; u < lg_channels_n_units(scoring->channels); u++)
        scores[u] = lg_rng_uniform(&rng);
    return LEGO_OK;
}

/* --- Taylor expansion --- */

static lego_status score_taylor(double *scores, const scorer *scoring)
{
    if (!scoring->rank->taylor)
        return lg_error(LEGO_EINVAL, "criterion taylor needs data");
    return lg_taylor_score(scores, scoring->rank->taylor, scoring->channels, scoring->graph);
}

/* --- the table --- */

static lego_status (*const criteria[])(double *, const scorer *) = {
    [LEGO_CRITERION_L1] = score_l1,
    [LEGO_CRITERION_L2] = score_l2,
    [LEGO_CRITERION_BN_SCALE] = score_bn_scale,
    [LEGO_CRITERION_FPGM] = score_fpgm,
    [LEGO_CRITERION_RANDOM] = score_random,
    [LEGO_CRITERION_TAYLOR] = score_taylor,
};

static void divide_by_mean(double *scores, const lg_channel_group *group)
{
    double sum = 0.0;

    for (int32_t i = 0; i < group->n_units; i++)
        sum += scores[group->units[i]];
    for (int32_t i = 0; sum > 0.0 && i < group->n_units; i++)
        scores[group->units[i]] *= group->n_units / sum;
}

lego_status lg_prune_scores(double *scores, const lg_prune_rank *rank, const lg_channels *channels,
                            const lg_graph *graph)
{
    scorer scoring = { .channels = channels, .graph = graph, .rank = rank };
    lego_status status = LEGO_OK;

    if ((size_t)rank->criterion >= sizeof(criteria) / sizeof(*criteria) || !criteria[rank->criterion])
        return lg_error(LEGO_EINVAL, "criterion '%s' does not score weights",
                        lego_criterion_name(rank->criterion) ? lego_criterion_name(rank->criterion) : "?");
    memset(scores, 0, (size_t)lg_channels_n_units(channels) * sizeof(*scores));
    LG_TRY(find_filters(&scoring));
    LG_TRY(criteria[rank->criterion](scores, &scoring));
    /* What the loss changes by can be compared as it is. */
    for (size_t g = 0; rank->criterion != LEGO_CRITERION_TAYLOR && g < lg_channels_n_groups(channels); g++)
        divide_by_mean(scores, lg_channels_group(channels, g));
done:
    lg_free(scoring.filters);
    return status;
}

static const struct {
    const char *name, *summary;
} names[] = {
#define CRITERION_NAME(name, value, text, summary) [value] = { text, summary },
    LEGO_CRITERION_MAP(CRITERION_NAME)
};

const char *lego_criterion_name(lego_criterion criterion)
{
    return (size_t)criterion < sizeof(names) / sizeof(*names) ? names[criterion].name : NULL;
}

const char *lego_criterion_summary(lego_criterion criterion)
{
    return (size_t)criterion < sizeof(names) / sizeof(*names) ? names[criterion].summary : NULL;
}

lego_status lego_criterion_parse(lego_criterion *out, const char *name)
{
    if (!out || !name)
        return lg_error(LEGO_EINVAL, "out and name must not be NULL");
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strcmp(names[i].name, name) == 0) {
            *out = (lego_criterion)i;
            return LEGO_OK;
        }
    return lg_error(LEGO_ENOTFOUND, "criterion '%s' is none of"
#define CRITERION_LIST(name, value, text, summary) " " text
                    LEGO_CRITERION_MAP(CRITERION_LIST), name);
}
