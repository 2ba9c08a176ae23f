/* Grouped convolutions: each of their groups must keep equally many inputs and equally many outputs, or none of both.
 *
 * Where each of the two axes is exactly one group of units, that group gets `parts`, and the two become partners. Anywhere
 * else (joined, shuffled or repeated channels, convolutions in a row that cut differently) element i of every part is
 * tied to element i of the others: coarser, but then every subset of units keeps equal shares by itself. */
#include "graph/channels_private.h"

#include <string.h>

#include "base/alloc.h"

static int axis_is_frozen(const lg_channels *channels, const lg_axis_info *info)
{
    for (int64_t i = 0; i < info->extent; i++)
        if (!channels->unit_reason[channels->unit[info->first + i]])
            return 0;
    return 1;
}

/* The group that is exactly this axis, one unit an element; NULL if there is none. */
static lg_channel_group *group_of_axis(const lg_channels *channels, const lg_axis_info *info)
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
static lego_status has_each_unit_once(int *out, const lg_channels *channels, const lg_axis_info *info)
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
static int cut_group(lg_channels *channels, lg_channel_group *group, const lg_axis_info *info, int64_t parts)
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
static lego_status try_groups(int *out, lg_channels *channels, const lg_balance *b)
{
    const lg_axis_info *in = &channels->axes[b->in], *out_axis = &channels->axes[b->out];
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
static lego_status is_symmetric(int *out, const lg_channels *channels, const lg_axis_info *info, int64_t parts)
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
static lego_status tie_parts(int *tied, lg_channels *channels, const lg_axis_info *info, int64_t parts)
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
        lg_channels_unite(channels, info->first + i % run, info->first + i);
    *tied = 1;
done:
    return status;
}

lego_status lg_channels_make_groups(lg_channels *channels)
{
    int ok, tied;
    lego_status status = LEGO_OK;

    do { /* ties change units and groups, so start over; every round ties what was not tied */
        tied = 0;
        LG_TRY(lg_channels_list_groups(channels));
        for (size_t i = 0; i < channels->n_balances && !tied; i++) {
            const lg_balance *b = &channels->balances[i];
            const lg_axis_info *in = &channels->axes[b->in], *out = &channels->axes[b->out];

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
