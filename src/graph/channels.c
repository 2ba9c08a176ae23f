/* Coupled channels: which elements of which axes can only be removed together.
 *
 * Every axis of every value (but the batch) and of every weight owns a run of elements in one union-find forest. The
 * ops' rules tie elements; then each set of tied elements is a unit, and units that touch the same axes are a group
 * (Fang et al. 2023, DepGraph, derives groups layer by layer; counting elements instead makes concat, flatten, shuffle
 * and depthwise layers ordinary cases).
 *
 * Grouped convolutions add a condition that ties cannot say: channels_balance.c.
 *
 * Newcomers get wrong: an axis that no rule mentions has no units (unit -1) and is never cut. */
#include "graph/channels_private.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "graph/ops.h"

/* Of all axes together; real models have some hundred thousand. */
#define MAX_ELEMENTS ((int64_t)1 << 23)

/* --- axes and elements --- */

static int32_t add_axes(lg_channels *channels, int is_weight, int32_t id, const lg_shape *shape, int first)
{
    const int32_t index = channels->n_axes;

    for (int axis = first; axis < shape->n_dims; axis++) {
        channels->axes[channels->n_axes++] =
            (lg_axis_info){ { is_weight, id, axis }, channels->n_elements, shape->dims[axis], 0 };
        channels->n_elements += shape->dims[axis];
    }
    return index;
}

static lego_status lay_out(lg_channels *channels, const lg_graph *graph)
{
    size_t n_axes = 0;
    lego_status status = LEGO_OK;

    channels->n_values = graph->n_values;
    channels->n_weights = graph->n_weights;
    for (int32_t i = 0; i < graph->n_values; i++)
        n_axes += (size_t)graph->values[i].shape.n_dims;
    for (int32_t i = 0; i < graph->n_weights; i++)
        n_axes += (size_t)graph->weights[i].tensor.shape.n_dims;
    LG_TRY(LG_CALLOC(&channels->value_axes, (size_t)graph->n_values + 1));
    LG_TRY(LG_CALLOC(&channels->weight_axes, (size_t)graph->n_weights + 1));
    LG_TRY(LG_CALLOC(&channels->axes, n_axes));
    for (int32_t i = 0; i < graph->n_values; i++)
        channels->value_axes[i] = add_axes(channels, 0, i, &graph->values[i].shape, 1);
    channels->value_axes[graph->n_values] = channels->n_axes;
    for (int32_t i = 0; i < graph->n_weights; i++)
        channels->weight_axes[i] = add_axes(channels, 1, i, &graph->weights[i].tensor.shape, 0);
    channels->weight_axes[graph->n_weights] = channels->n_axes;
    if (channels->n_elements > MAX_ELEMENTS)
        LG_FAIL(LEGO_EUNSUPPORTED, "graph '%s': its axes have %lld elements, coupling takes at most %lld", graph->name,
                (long long)channels->n_elements, (long long)MAX_ELEMENTS);
    LG_TRY(LG_CALLOC(&channels->parent, channels->n_elements));
    LG_TRY(LG_CALLOC(&channels->reason, channels->n_elements));
    LG_TRY(LG_CALLOC(&channels->unit, channels->n_elements));
    for (int32_t i = 0; i < channels->n_elements; i++)
        channels->parent[i] = i;
done:
    return status;
}

/* NULL for an axis that does not exist. */
static lg_axis_info *find_axis(const lg_channels *channels, lg_axis axis)
{
    const int32_t *starts = axis.is_weight ? channels->weight_axes : channels->value_axes;
    const int32_t n = axis.is_weight ? channels->n_weights : channels->n_values;
    const int32_t offset = axis.is_weight ? axis.axis : axis.axis - 1;

    if (axis.id < 0 || axis.id >= n || offset < 0 || offset >= starts[axis.id + 1] - starts[axis.id])
        return NULL;
    return &channels->axes[starts[axis.id] + offset];
}

int32_t lg_channels_root(int32_t *parent, int32_t element)
{
    while (parent[element] != element) {
        parent[element] = parent[parent[element]];
        element = parent[element];
    }
    return element;
}

/* The earlier root stays, so that units are numbered by first appearance; a reason survives. */
void lg_channels_unite(lg_channels *channels, int64_t a, int64_t b)
{
    int32_t root = lg_channels_root(channels->parent, (int32_t)a);
    int32_t other = lg_channels_root(channels->parent, (int32_t)b);

    if (root == other)
        return;
    if (other < root) {
        const int32_t swap = root;
        root = other;
        other = swap;
    }
    channels->parent[other] = root;
    if (!channels->reason[root])
        channels->reason[root] = channels->reason[other];
}

/* --- what rules call --- */

lego_status lg_channels_tie(lg_channels *channels, lg_axis a, int64_t a_offset, lg_axis b, int64_t b_offset,
                            int64_t count)
{
    lg_axis_info *left = find_axis(channels, a), *right = find_axis(channels, b);

    if (!left || !right || count < 0 || a_offset < 0 || a_offset > left->extent - count || b_offset < 0 ||
        b_offset > right->extent - count)
        return lg_error(LEGO_EINVAL, "a channel rule ties %lld elements beyond its axes", (long long)count);
    left->touched = right->touched = 1;
    for (int64_t i = 0; i < count; i++)
        lg_channels_unite(channels, left->first + a_offset + i, right->first + b_offset + i);
    return LEGO_OK;
}

lego_status lg_channels_tie_axes(lg_channels *channels, lg_axis a, lg_axis b)
{
    const lg_axis_info *left = find_axis(channels, a), *right = find_axis(channels, b);

    if (!left || !right || left->extent != right->extent)
        return lg_error(LEGO_EINVAL, "a channel rule ties axes of different extents");
    return lg_channels_tie(channels, a, 0, b, 0, left->extent);
}

lego_status lg_channels_tie_repeated(lg_channels *channels, lg_axis one, lg_axis many, int64_t times)
{
    lg_axis_info *left = find_axis(channels, one), *right = find_axis(channels, many);

    if (!left || !right || times < 1 || right->extent / times != left->extent || right->extent % times != 0)
        return lg_error(LEGO_EINVAL, "a channel rule repeats an axis %lld times into another extent",
                        (long long)times);
    left->touched = right->touched = 1;
    for (int64_t i = 0; i < right->extent; i++)
        lg_channels_unite(channels, left->first + i / times, right->first + i);
    return LEGO_OK;
}

static lego_status find_reason(int32_t *out, lg_channels *channels, const char *reason)
{
    lego_status status = LEGO_OK;

    for (size_t i = 0; i < channels->n_reasons; i++) {
        if (strcmp(channels->reasons[i], reason) == 0) {
            *out = (int32_t)i + 1;
            return LEGO_OK;
        }
    }
    LG_TRY(LG_RESERVE(&channels->reasons, &channels->reasons_capacity, channels->n_reasons + 1));
    LG_TRY(LG_STRDUP(&channels->reasons[channels->n_reasons], reason));
    *out = (int32_t)++channels->n_reasons;
done:
    return status;
}

static lego_status freeze(lg_channels *channels, lg_axis_info *info, const char *reason)
{
    int32_t index;
    lego_status status = LEGO_OK;

    LG_TRY(find_reason(&index, channels, reason));
    info->touched = 1;
    for (int64_t i = 0; i < info->extent; i++) {
        const int32_t root = lg_channels_root(channels->parent, (int32_t)(info->first + i));
        if (!channels->reason[root])
            channels->reason[root] = index;
    }
done:
    return status;
}

lego_status lg_channels_freeze(lg_channels *channels, lg_axis axis, const char *reason)
{
    lg_axis_info *info = find_axis(channels, axis);

    return info ? freeze(channels, info, reason) : lg_error(LEGO_EINVAL, "a channel rule freezes no axis");
}

int lg_channels_is_frozen(const lg_channels *channels, lg_axis axis)
{
    const lg_axis_info *info = find_axis(channels, axis);

    for (int64_t i = 0; info && i < info->extent; i++)
        if (channels->reason[lg_channels_root(channels->parent, (int32_t)(info->first + i))])
            return 1;
    for (int32_t i = 0; channels->whole && !axis.is_weight && i < channels->part->n_inputs; i++)
        if (channels->part->inputs[i] == axis.id)
            return lg_channels_is_frozen(channels->whole, LG_VALUE_AXIS(channels->whole_values[i], axis.axis));
    return 0;
}

lego_status lg_channels_balance(lg_channels *channels, lg_axis in, lg_axis out, int64_t parts)
{
    lg_axis_info *left = find_axis(channels, in), *right = find_axis(channels, out);
    lego_status status = LEGO_OK;

    if (!left || !right || parts < 1 || left->extent % parts != 0 || right->extent % parts != 0)
        return lg_error(LEGO_EINVAL, "a channel rule balances axes that %lld does not divide", (long long)parts);
    left->touched = right->touched = 1;
    LG_TRY(LG_RESERVE(&channels->balances, &channels->balances_capacity, channels->n_balances + 1));
    channels->balances[channels->n_balances++] =
        (lg_balance){ (int32_t)(left - channels->axes), (int32_t)(right - channels->axes), parts };
done:
    return status;
}

/* --- analysis --- */

static lego_status freeze_all(lg_channels *channels, const lg_graph *graph, const lg_node *node)
{
    char reason[96];
    lego_status status = LEGO_OK;

    snprintf(reason, sizeof(reason), "%s has no channel rule", node->op->name);
    for (int i = 0; i < node->n_inputs; i++)
        for (int axis = 1; axis < graph->values[node->inputs[i]].shape.n_dims; axis++)
            LG_TRY(lg_channels_freeze(channels, LG_VALUE_AXIS(node->inputs[i], axis), reason));
    for (int i = 0; i < node->n_outputs; i++)
        for (int axis = 1; axis < graph->values[node->outputs[i]].shape.n_dims; axis++)
            LG_TRY(lg_channels_freeze(channels, LG_VALUE_AXIS(node->outputs[i], axis), reason));
    for (int i = 0; i < node->n_weights; i++)
        for (int axis = 0; node->weights[i] != LG_NONE &&
                           axis < graph->weights[node->weights[i]].tensor.shape.n_dims; axis++)
            LG_TRY(lg_channels_freeze(channels, LG_WEIGHT_AXIS(node->weights[i], axis), reason));
done:
    return status;
}

static lego_status freeze_values(lg_channels *channels, const lg_graph *graph, int32_t n, const int32_t *values)
{
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < n; i++)
        for (int axis = 1; axis < graph->values[values[i]].shape.n_dims; axis++)
            LG_TRY(lg_channels_freeze(channels, LG_VALUE_AXIS(values[i], axis), "interface of the block"));
done:
    return status;
}

/* A group of one unit is all that some axis has. */
static lego_status freeze_lone_units(lg_channels *channels)
{
    int32_t index;
    lego_status status = LEGO_OK;

    for (size_t g = 0; g < channels->n_groups; g++) {
        lg_channel_group *group = &channels->groups[g];

        if (group->n_units != 1 || group->frozen)
            continue;
        LG_TRY(find_reason(&index, channels, "nothing would be left"));
        channels->unit_reason[group->units[0]] = index;
        group->frozen = channels->reasons[index - 1];
    }
done:
    return status;
}

static lego_status analyze(lg_channels **out, const lg_graph *graph, int freeze_interface, const lg_channels *whole,
                           const int32_t *whole_values)
{
    lg_channels *channels = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&channels, 1));
    LG_TRY(lay_out(channels, graph));
    channels->whole = whole;
    channels->part = graph;
    channels->whole_values = whole_values;
    if (freeze_interface) {
        LG_TRY(freeze_values(channels, graph, graph->n_inputs, graph->inputs));
        LG_TRY(freeze_values(channels, graph, graph->n_outputs, graph->outputs));
    }
    for (int32_t i = 0; i < graph->n_nodes; i++) {
        const lg_node *node = &graph->nodes[i];
        if (node->op->channels)
            LG_TRY(node->op->channels(channels, graph, node));
        else
            LG_TRY(freeze_all(channels, graph, node));
        for (int k = 0; node->is_whole && k < node->n_outputs; k++)
            for (int axis = 1; axis < graph->values[node->outputs[k]].shape.n_dims; axis++)
                LG_TRY(lg_channels_freeze(channels, LG_VALUE_AXIS(node->outputs[k], axis), "excluded"));
    }
    channels->whole = NULL;
    channels->part = NULL;
    channels->whole_values = NULL;
    LG_TRY(lg_channels_make_groups(channels));
    LG_TRY(freeze_lone_units(channels));
    *out = channels;
    channels = NULL;
done:
    lg_channels_free(channels);
    return status;
}

lego_status lg_channels_analyze(lg_channels **out, const lg_graph *graph, int freeze_interface)
{
    return analyze(out, graph, freeze_interface, NULL, NULL);
}

lego_status lg_channels_analyze_part(lg_channels **out, const lg_graph *part, const lg_channels *whole,
                                     const int32_t *whole_values)
{
    return analyze(out, part, 0, whole, whole_values);
}

void lg_channels_free(lg_channels *channels)
{
    if (!channels)
        return;
    lg_channels_drop_groups(channels);
    for (size_t i = 0; i < channels->n_reasons; i++)
        lg_free(channels->reasons[i]);
    lg_free(channels->reasons);
    lg_free(channels->value_axes);
    lg_free(channels->weight_axes);
    lg_free(channels->axes);
    lg_free(channels->parent);
    lg_free(channels->reason);
    lg_free(channels->balances);
    lg_free(channels->unit);
    lg_free(channels->unit_reason);
    lg_free(channels->unit_group);
    lg_free(channels);
}

/* --- asking --- */

int32_t lg_channels_unit(const lg_channels *channels, lg_axis axis, int64_t element)
{
    const lg_axis_info *info = find_axis(channels, axis);

    return info && element >= 0 && element < info->extent ? channels->unit[info->first + element] : -1;
}

int32_t lg_channels_n_units(const lg_channels *channels)
{
    return channels->n_units;
}

const char *lg_channels_frozen(const lg_channels *channels, int32_t unit)
{
    return channels->unit_reason[unit] ? channels->reasons[channels->unit_reason[unit] - 1] : NULL;
}

size_t lg_channels_n_groups(const lg_channels *channels)
{
    return channels->n_groups;
}

const lg_channel_group *lg_channels_group(const lg_channels *channels, size_t index)
{
    return &channels->groups[index];
}

int lg_channels_keeps(const lg_channels_keep *keep, lg_axis axis, int64_t element)
{
    const int32_t unit = lg_channels_unit(keep->channels, axis, element);

    return unit < 0 || keep->keep[unit];
}

int64_t lg_channels_kept(const lg_channels_keep *keep, lg_axis axis, int64_t *out)
{
    const lg_axis_info *info = find_axis(keep->channels, axis);
    int64_t n = 0;

    for (int64_t i = 0; info && i < info->extent; i++) {
        const int32_t unit = keep->channels->unit[info->first + i];

        if (unit >= 0 && !keep->keep[unit])
            continue;
        if (out)
            out[n] = i;
        n++;
    }
    return n;
}
