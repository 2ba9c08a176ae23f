/* From ties to units and groups: every set of tied elements is a unit, units that touch the same axes (and are frozen
 * for the same reason, or free) are a group. Units are numbered by first appearance in the order values, then weights,
 * so the result does not depend on the order in which rules spoke. */
#include "graph/channels_private.h"

#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"

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
        const lg_axis_info *info = &channels->axes[a];

        for (int64_t e = info->first; e < info->first + info->extent; e++) {
            const int32_t root = lg_channels_root(channels->parent, (int32_t)e);

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
                channels->reason[lg_channels_root(channels->parent, (int32_t)e)];
}

/* --- groups --- */

void lg_channels_drop_groups(lg_channels *channels)
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
            const lg_axis_info *info = &channels->axes[a];

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

    lg_channels_drop_groups(channels);
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

lego_status lg_channels_list_groups(lg_channels *channels)
{
    lego_status status = LEGO_OK;

    LG_TRY(number_units(channels));
    LG_TRY(make_groups(channels));
done:
    return status;
}
