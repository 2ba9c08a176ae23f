/* Coupled channels: which elements of which axes can only be removed together.
 *
 * Every axis of every value (but the batch) and of every weight owns a run of elements in one union-find forest. The
 * ops' rules tie elements; then each set of tied elements is a unit, and units that touch the same axes are a group
 * (Fang et al. 2023, DepGraph, derives groups layer by layer; counting elements instead makes concat, flatten, shuffle
 * and depthwise layers ordinary cases).
 *
 * Grouped convolutions add a condition that ties cannot say, equal shares, kept as a `balance` of two axes. Where each
 * axis is exactly one group it becomes that group's `parts`. Anywhere else (joined or shuffled channels) element i of
 * every part is tied to element i of the others: coarser, but then every subset keeps equal shares.
 *
 * Newcomers get wrong: an axis that no rule mentions has no units (unit -1) and is never cut. */
#include "graph/channels.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "graph/ops.h"

#define MAX_ELEMENTS ((int64_t)1 << 23)

typedef struct axis_info {
    lg_axis axis;
    int64_t first; /* element */
    int64_t extent;
    int touched;   /* by a rule */
} axis_info;

typedef struct balance {
    int32_t in, out; /* indices of axis_info */
    int64_t parts;
    int32_t node;
} balance;

struct lg_channels {
    int32_t n_values, n_weights;
    int32_t *value_axes, *weight_axes; /* index of the first axis_info of each; n + 1 entries */
    axis_info *axes;
    int32_t n_axes;
    int64_t n_elements;
    int32_t *parent; /* of each element; a root is its set's first element */
    int32_t *reason; /* of each element, then of each root; index + 1 into reasons, 0 free */
    char **reasons;
    size_t n_reasons, reasons_capacity;
    balance *balances;
    size_t n_balances, balances_capacity;
    int32_t *unit; /* of each element */
    int32_t n_units;
    int32_t *unit_reason, *unit_group;
    lg_channel_group *groups;
    size_t n_groups;
};

/* --- axes and elements --- */

static int32_t add_axes(lg_channels *channels, int is_weight, int32_t id, const lg_shape *shape, int first)
{
    const int32_t index = channels->n_axes;

    for (int axis = first; axis < shape->n_dims; axis++) {
        channels->axes[channels->n_axes++] =
            (axis_info){ { is_weight, id, axis }, channels->n_elements, shape->dims[axis], 0 };
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
static axis_info *find_axis(const lg_channels *channels, lg_axis axis)
{
    const int32_t *starts = axis.is_weight ? channels->weight_axes : channels->value_axes;
    const int32_t n = axis.is_weight ? channels->n_weights : channels->n_values;
    const int32_t offset = axis.is_weight ? axis.axis : axis.axis - 1;

    if (axis.id < 0 || axis.id >= n || offset < 0 || offset >= starts[axis.id + 1] - starts[axis.id])
        return NULL;
    return &channels->axes[starts[axis.id] + offset];
}

static int32_t find_root(int32_t *parent, int32_t element)
{
    while (parent[element] != element) {
        parent[element] = parent[parent[element]];
        element = parent[element];
    }
    return element;
}

/* The earlier root stays, so that units are numbered by first appearance; a reason survives. */
static void unite(lg_channels *channels, int64_t a, int64_t b)
{
    int32_t root = find_root(channels->parent, (int32_t)a);
    int32_t other = find_root(channels->parent, (int32_t)b);

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
    axis_info *left = find_axis(channels, a), *right = find_axis(channels, b);

    if (!left || !right || count < 0 || a_offset < 0 || a_offset > left->extent - count || b_offset < 0 ||
        b_offset > right->extent - count)
        return lg_error(LEGO_EINVAL, "a channel rule ties %lld elements beyond its axes", (long long)count);
    left->touched = right->touched = 1;
    for (int64_t i = 0; i < count; i++)
        unite(channels, left->first + a_offset + i, right->first + b_offset + i);
    return LEGO_OK;
}

lego_status lg_channels_tie_axes(lg_channels *channels, lg_axis a, lg_axis b)
{
    const axis_info *left = find_axis(channels, a), *right = find_axis(channels, b);

    if (!left || !right || left->extent != right->extent)
        return lg_error(LEGO_EINVAL, "a channel rule ties axes of different extents");
    return lg_channels_tie(channels, a, 0, b, 0, left->extent);
}

lego_status lg_channels_tie_repeated(lg_channels *channels, lg_axis one, lg_axis many, int64_t times)
{
    axis_info *left = find_axis(channels, one), *right = find_axis(channels, many);

    if (!left || !right || times < 1 || right->extent / times != left->extent || right->extent % times != 0)
        return lg_error(LEGO_EINVAL, "a channel rule repeats an axis %lld times into another extent",
                        (long long)times);
    left->touched = right->touched = 1;
    for (int64_t i = 0; i < right->extent; i++)
        unite(channels, left->first + i / times, right->first + i);
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

static lego_status freeze(lg_channels *channels, axis_info *info, const char *reason)
{
    int32_t index;
    lego_status status = LEGO_OK;

    LG_TRY(find_reason(&index, channels, reason));
    info->touched = 1;
    for (int64_t i = 0; i < info->extent; i++) {
        const int32_t root = find_root(channels->parent, (int32_t)(info->first + i));
        if (!channels->reason[root])
            channels->reason[root] = index;
    }
done:
    return status;
}

lego_status lg_channels_freeze(lg_channels *channels, lg_axis axis, const char *reason)
{
    axis_info *info = find_axis(channels, axis);

    return info ? freeze(channels, info, reason) : lg_error(LEGO_EINVAL, "a channel rule freezes no axis");
}

int lg_channels_is_frozen(const lg_channels *channels, lg_axis axis)
{
    const axis_info *info = find_axis(channels, axis);

    for (int64_t i = 0; info && i < info->extent; i++)
        if (channels->reason[find_root(channels->parent, (int32_t)(info->first + i))])
            return 1;
    return 0;
}

lego_status lg_channels_balance(lg_channels *channels, lg_axis in, lg_axis out, int64_t parts, int32_t node)
{
    axis_info *left = find_axis(channels, in), *right = find_axis(channels, out);
    lego_status status = LEGO_OK;

    if (!left || !right || parts < 1 || left->extent % parts != 0 || right->extent % parts != 0)
        return lg_error(LEGO_EINVAL, "a channel rule balances axes that %lld does not divide", (long long)parts);
    left->touched = right->touched = 1;
    LG_TRY(LG_RESERVE(&channels->balances, &channels->balances_capacity, channels->n_balances + 1));
    channels->balances[channels->n_balances++] =
        (balance){ (int32_t)(left - channels->axes), (int32_t)(right - channels->axes), parts, node };
done:
    return status;
}

/* --- units --- */

static lego_status number_units(lg_channels *channels)
{
    int32_t *unit_of_root = NULL;
    lego_status status = LEGO_OK;

    lg_free(channels->unit_reason);
    lg_free(channels->unit_group);
    channels->unit_reason = channels->unit_group = NULL;
    LG_TRY(LG_CALLOC(&unit_of_root, channels->n_elements));
    channels->n_units = 0;
    for (int32_t a = 0; a < channels->n_axes; a++) {
        const axis_info *info = &channels->axes[a];

        for (int64_t e = info->first; e < info->first + info->extent; e++) {
            const int32_t root = find_root(channels->parent, (int32_t)e);

            if (!info->touched)
                channels->unit[e] = -1;
            else if (unit_of_root[root])
                channels->unit[e] = unit_of_root[root] - 1;
            else
                unit_of_root[root] = (channels->unit[e] = channels->n_units++) + 1;
        }
    }
    LG_TRY(LG_CALLOC(&channels->unit_reason, channels->n_units));
    LG_TRY(LG_CALLOC(&channels->unit_group, channels->n_units));
done:
    lg_free(unit_of_root);
    return status;
}

/* A rule may freeze an element before or after it is tied: the root knows. */
static void find_unit_reasons(lg_channels *channels)
{
    for (int64_t e = 0; e < channels->n_elements; e++)
        if (channels->unit[e] >= 0)
            channels->unit_reason[channels->unit[e]] =
                channels->reason[find_root(channels->parent, (int32_t)e)];
}

/* --- groups --- */

static void drop_groups(lg_channels *channels)
{
    for (size_t i = 0; i < channels->n_groups; i++) {
        lg_free(channels->groups[i].units);
        lg_free(channels->groups[i].axes);
    }
    lg_free(channels->groups);
    channels->groups = NULL;
    channels->n_groups = 0;
}

/* The axes that each unit touches, ascending: axes[offsets[u] .. offsets[u+1]). */
typedef struct signatures {
    int64_t *offsets;
    int32_t *axes;
} signatures;

static lego_status collect_signatures(signatures *out, const lg_channels *channels)
{
    int32_t *last = NULL; /* axis + 1 that the unit touched last */
    int64_t *next = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&out->offsets, (size_t)channels->n_units + 1));
    LG_TRY(LG_CALLOC(&last, channels->n_units));
    LG_TRY(LG_CALLOC(&next, channels->n_units));
    for (int pass = 0; pass < 2; pass++) { /* count, then fill */
        for (int32_t a = 0; a < channels->n_axes; a++) {
            const axis_info *info = &channels->axes[a];

            for (int64_t e = info->first; info->touched && e < info->first + info->extent; e++) {
                const int32_t unit = channels->unit[e];

                if (last[unit] == a + 1)
                    continue;
                last[unit] = a + 1;
                if (pass == 0)
                    out->offsets[unit + 1]++;
                else
                    out->axes[next[unit]++] = a;
            }
        }
        if (pass == 1)
            break;
        for (int32_t u = 0; u < channels->n_units; u++) {
            out->offsets[u + 1] += out->offsets[u];
            next[u] = out->offsets[u];
            last[u] = 0;
        }
        LG_TRY(LG_CALLOC(&out->axes, out->offsets[channels->n_units]));
    }
done:
    lg_free(last);
    lg_free(next);
    return status;
}

static int same_signature(const signatures *s, const lg_channels *channels, int32_t a, int32_t b)
{
    const int64_t n = s->offsets[a + 1] - s->offsets[a];

    return n == s->offsets[b + 1] - s->offsets[b] && channels->unit_reason[a] == channels->unit_reason[b] &&
           memcmp(s->axes + s->offsets[a], s->axes + s->offsets[b], (size_t)n * sizeof(*s->axes)) == 0;
}

/* Whether a group of this signature is worth listing: something is stored along it, or a balance speaks of it. */
static int is_listed(const lg_channels *channels, const signatures *s, int32_t unit)
{
    for (int64_t i = s->offsets[unit]; i < s->offsets[unit + 1]; i++) {
        if (channels->axes[s->axes[i]].axis.is_weight)
            return 1;
        for (size_t b = 0; b < channels->n_balances; b++)
            if (channels->balances[b].in == s->axes[i] || channels->balances[b].out == s->axes[i])
                return 1;
    }
    return 0;
}

/* unit_group[u] = index of u's group, -1 where it is not listed; `leaders` receives the first unit of each group. */
static lego_status assign_groups(lg_channels *channels, const signatures *s, int32_t *leaders, size_t *n_groups)
{
    size_t capacity = 16, n = 0;
    int32_t *table = NULL; /* unit + 1 of a group's first unit, by signature */
    lego_status status = LEGO_OK;

    while (capacity < (size_t)channels->n_units * 2)
        capacity *= 2;
    LG_TRY(LG_CALLOC(&table, capacity));
    for (int32_t u = 0; u < channels->n_units; u++) {
        const size_t bytes = (size_t)(s->offsets[u + 1] - s->offsets[u]) * sizeof(*s->axes);
        size_t slot = (size_t)lg_hash(s->axes + s->offsets[u], bytes, (uint64_t)channels->unit_reason[u]);

        for (slot &= capacity - 1; table[slot] && !same_signature(s, channels, table[slot] - 1, u);)
            slot = (slot + 1) & (capacity - 1);
        if (!table[slot]) {
            table[slot] = u + 1;
            channels->unit_group[u] = -1;
            if (is_listed(channels, s, u)) {
                leaders[n] = u;
                channels->unit_group[u] = (int32_t)n++;
            }
        } else {
            channels->unit_group[u] = channels->unit_group[table[slot] - 1];
        }
    }
    *n_groups = n;
done:
    lg_free(table);
    return status;
}

static lego_status fill_group(lg_channel_group *group, const lg_channels *channels, const signatures *s,
                              int32_t leader)
{
    const int64_t n_axes = s->offsets[leader + 1] - s->offsets[leader];
    const int32_t reason = channels->unit_reason[leader];
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&group->axes, n_axes));
    for (int64_t i = 0; i < n_axes; i++)
        group->axes[i] = channels->axes[s->axes[s->offsets[leader] + i]].axis;
    group->n_axes = (int32_t)n_axes;
    group->frozen = reason ? channels->reasons[reason - 1] : NULL;
    group->parts = 1;
    group->partner = LG_NONE;
done:
    return status;
}

static lego_status make_groups(lg_channels *channels)
{
    signatures s = { 0 };
    int32_t *leaders = NULL;
    size_t n_groups;
    lego_status status = LEGO_OK;

    drop_groups(channels);
    find_unit_reasons(channels);
    LG_TRY(LG_CALLOC(&leaders, channels->n_units));
    LG_TRY(collect_signatures(&s, channels));
    LG_TRY(assign_groups(channels, &s, leaders, &n_groups));
    LG_TRY(LG_CALLOC(&channels->groups, n_groups));
    channels->n_groups = n_groups;
    for (size_t g = 0; g < n_groups; g++)
        LG_TRY(fill_group(&channels->groups[g], channels, &s, leaders[g]));
    for (int32_t u = 0; u < channels->n_units; u++)
        if (channels->unit_group[u] >= 0)
            channels->groups[channels->unit_group[u]].n_units++;
    for (size_t g = 0; g < n_groups; g++) {
        LG_TRY(LG_CALLOC(&channels->groups[g].units, channels->groups[g].n_units));
        channels->groups[g].n_units = 0;
    }
    for (int32_t u = 0; u < channels->n_units; u++) {
        lg_channel_group *group = channels->unit_group[u] >= 0 ? &channels->groups[channels->unit_group[u]] : NULL;
        if (group)
            group->units[group->n_units++] = u;
    }
done:
    lg_free(s.offsets);
    lg_free(s.axes);
    lg_free(leaders);
    return status;
}

/* --- balances --- */

static int axis_is_frozen(const lg_channels *channels, const axis_info *info)
{
    for (int64_t i = 0; i < info->extent; i++)
        if (!channels->unit_reason[channels->unit[info->first + i]])
            return 0;
    return 1;
}

/* The group that is exactly this axis, one unit an element; NULL if there is none. */
static lg_channel_group *group_of_axis(const lg_channels *channels, const axis_info *info)
{
    const int32_t index = channels->unit_group[channels->unit[info->first]];
    lg_channel_group *group = index < 0 ? NULL : &channels->groups[index];

    if (!group || group->n_units != info->extent)
        return NULL;
    for (int64_t i = 0; i < info->extent; i++)
        if (channels->unit_group[channels->unit[info->first + i]] != index)
            return NULL;
    return group;
}

/* As many units as elements, all of them in the group: each stands there once, unless one stands there twice. */
static lego_status has_each_unit_once(int *out, const lg_channels *channels, const axis_info *info)
{
    uint8_t *seen = NULL;
    lego_status status = LEGO_OK;

    *out = 1;
    LG_TRY(LG_CALLOC(&seen, channels->n_units));
    for (int64_t i = 0; i < info->extent; i++)
        if (seen[channels->unit[info->first + i]]++)
            *out = 0;
done:
    lg_free(seen);
    return status;
}

static lg_channel_group *ring_next(lg_channels *channels, const lg_channel_group *group)
{
    return &channels->groups[group->partner];
}

/* Order a group by a balanced axis and give it its parts; 0 if an earlier balance cut it in another way. */
static int cut_group(lg_channels *channels, lg_channel_group *group, const axis_info *info, int64_t parts)
{
    const int64_t run = info->extent / parts;
    int32_t front = 0;

    if (group->parts > 1) {
        if (group->parts != parts)
            return 0;
        for (int64_t i = 0; i < info->extent; i++) { /* every run holds the units of the same part, in any order */
            int found = 0;
            for (int64_t k = i / run * run; k < i / run * run + run && !found; k++)
                found = group->units[k] == channels->unit[info->first + i];
            if (!found)
                return 0;
        }
        return 1;
    }
    group->parts = (int32_t)parts;
    group->partner = (int32_t)(group - channels->groups);
    for (int64_t i = 0; i < info->extent; i++)
        group->units[i] = channels->unit[info->first + i];
    while (memcmp(&group->axes[front], &info->axis, sizeof(info->axis)) != 0)
        front++;
    memmove(group->axes + 1, group->axes, (size_t)front * sizeof(*group->axes));
    group->axes[0] = info->axis;
    return 1;
}

static void join_rings(lg_channels *channels, lg_channel_group *a, lg_channel_group *b)
{
    const lg_channel_group *walk = a;
    int32_t swap;

    do {
        if (walk == b)
            return;
        walk = ring_next(channels, walk);
    } while (walk != a);
    swap = a->partner;
    a->partner = b->partner;
    b->partner = swap;
}

/* *out = 0 where keeping equal shares of whole groups does not say it. */
static lego_status try_groups(int *out, lg_channels *channels, const balance *b)
{
    const axis_info *in = &channels->axes[b->in], *out_axis = &channels->axes[b->out];
    lg_channel_group *left = group_of_axis(channels, in), *right = group_of_axis(channels, out_axis);
    int once_in = 0, once_out = 0;
    lego_status status = LEGO_OK;

    *out = 0;
    if (!left || !right)
        return LEGO_OK;
    LG_TRY(has_each_unit_once(&once_in, channels, in));
    LG_TRY(has_each_unit_once(&once_out, channels, out_axis));
    if (!once_in || !once_out || !cut_group(channels, left, in, b->parts) ||
        !cut_group(channels, right, out_axis, b->parts))
        goto done;
    join_rings(channels, left, right);
    *out = 1;
done:
    return status;
}

/* Whether every part of the axis holds the same units equally often: then any subset of units keeps equal shares. */
static lego_status is_symmetric(int *out, const lg_channels *channels, const axis_info *info, int64_t parts)
{
    const int64_t run = info->extent / parts;
    const int32_t *units = channels->unit + info->first;
    int64_t *counts = NULL, *first = NULL;
    lego_status status = LEGO_OK;

    *out = 1;
    LG_TRY(LG_CALLOC(&counts, channels->n_units));
    LG_TRY(LG_CALLOC(&first, channels->n_units));
    for (int64_t i = 0; i < run; i++)
        first[units[i]]++;
    for (int64_t begin = 0; begin < info->extent; begin += run) {
        for (int64_t i = begin; i < begin + run; i++)
            counts[units[i]]++;
        for (int64_t i = begin; i < begin + run; i++)
            if (counts[units[i]] != first[units[i]])
                *out = 0;
        for (int64_t i = begin; i < begin + run; i++)
            counts[units[i]] = 0;
    }
done:
    lg_free(counts);
    lg_free(first);
    return status;
}

/* Make an axis symmetric unless all of it stays anyway; *tied says whether that took ties. */
static lego_status tie_parts(int *tied, lg_channels *channels, const axis_info *info, int64_t parts)
{
    const int64_t run = info->extent / parts;
    int symmetric;
    lego_status status = LEGO_OK;

    if (axis_is_frozen(channels, info))
        return LEGO_OK;
    LG_TRY(is_symmetric(&symmetric, channels, info, parts));
    if (symmetric)
        return LEGO_OK;
    for (int64_t i = run; i < info->extent; i++)
        unite(channels, info->first + i % run, info->first + i);
    *tied = 1;
done:
    return status;
}

static lego_status make_units_and_groups(lg_channels *channels)
{
    int ok, tied;
    lego_status status = LEGO_OK;

    do { /* ties change units and groups, so start over; every round ties what was not tied */
        tied = 0;
        LG_TRY(number_units(channels));
        LG_TRY(make_groups(channels));
        for (size_t i = 0; i < channels->n_balances && !tied; i++) {
            const balance *b = &channels->balances[i];
            const axis_info *in = &channels->axes[b->in], *out = &channels->axes[b->out];

            if (axis_is_frozen(channels, in) && axis_is_frozen(channels, out))
                continue;
            LG_TRY(try_groups(&ok, channels, b));
            if (ok)
                continue;
            LG_TRY(tie_parts(&tied, channels, in, b->parts));
            LG_TRY(tie_parts(&tied, channels, out, b->parts));
        }
    } while (tied);
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

lego_status lg_channels_analyze(lg_channels **out, const lg_graph *graph, int freeze_interface)
{
    lg_channels *channels = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&channels, 1));
    LG_TRY(lay_out(channels, graph));
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
    }
    LG_TRY(make_units_and_groups(channels));
    *out = channels;
    channels = NULL;
done:
    lg_channels_free(channels);
    return status;
}

void lg_channels_free(lg_channels *channels)
{
    if (!channels)
        return;
    drop_groups(channels);
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
    const axis_info *info = find_axis(channels, axis);

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
    const axis_info *info = find_axis(keep->channels, axis);
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
