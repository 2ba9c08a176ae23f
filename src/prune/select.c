/* Scores + widths -> which units stay. Shared by the criteria and by reconstruction, so that both respect the balance of
 * grouped convolutions in the same way. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "prune/prune.h"

typedef struct ranked {
    double score;
    int32_t index;
} ranked;

/* Highest score first, then the lower index. */
static int compare(const void *a, const void *b)
{
    const ranked *x = a, *y = b;

    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Rank units[begin .. begin+n) of a group. */
static void rank_units(ranked *out, const lg_channel_group *group, int32_t begin, int32_t n, const double *scores)
{
    for (int32_t i = 0; i < n; i++) {
        double score = scores[group->units[begin + i]];

        out[i] = (ranked){ isnan(score) ? -INFINITY : score, begin + i };
    }
    qsort(out, (size_t)n, sizeof(*out), compare);
}

static void select_plain(uint8_t *keep, const lg_channel_group *group, int32_t units, const double *scores,
                         ranked *scratch)
{
    rank_units(scratch, group, 0, group->n_units, scores);
    for (int32_t i = 0; i < units; i++)
        keep[group->units[scratch[i].index]] = 1;
}

/* What a group would keep of part `part`: marked in `keep` if given; the sum of its scores. */
static double best_of_part(uint8_t *keep, const lg_channel_group *group, int32_t part, int32_t share,
                           const double *scores, ranked *scratch)
{
    int32_t whole = group->n_units / group->parts;
    double sum = 0.0;

    rank_units(scratch, group, part * whole, whole, scores);
    for (int32_t i = 0; i < share; i++) {
        sum += scratch[i].score;
        if (keep)
            keep[group->units[scratch[i].index]] = 1;
    }
    return sum;
}

static void select_ring(uint8_t *keep, const lg_channels *channels, const lg_prune_width *widths, int32_t first,
                        const double *scores, ranked *scratch, ranked *parts)
{
    int32_t n_parts = lg_channels_group(channels, (size_t)first)->parts, n_kept = widths[first].parts;
    int32_t g = first;

    for (int32_t p = 0; p < n_parts; p++)
        parts[p] = (ranked){ 0.0, p };
    do {
        const lg_channel_group *group = lg_channels_group(channels, (size_t)g);

        for (int32_t p = 0; p < n_parts; p++)
            parts[p].score += best_of_part(NULL, group, p, widths[g].units / n_kept, scores, scratch);
        g = group->partner;
    } while (g != first);
    qsort(parts, (size_t)n_parts, sizeof(*parts), compare);
    do {
        const lg_channel_group *group = lg_channels_group(channels, (size_t)g);

        for (int32_t i = 0; i < n_kept; i++)
            best_of_part(keep, group, parts[i].index, widths[g].units / n_kept, scores, scratch);
        g = group->partner;
    } while (g != first);
}

static int ring_is_done(const lg_channels *channels, int32_t first)
{
    int32_t g = first;

    do {
        g = lg_channels_group(channels, (size_t)g)->partner;
        if (g < first)
            return 1;
    } while (g != first);
    return 0;
}

lego_status lg_prune_select(uint8_t *keep, const lg_channels *channels, const lg_prune_width *widths,
                            const double *scores)
{
    int32_t n_units = lg_channels_n_units(channels);
    ranked *scratch = NULL, *parts = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&scratch, n_units));
    LG_TRY(LG_CALLOC(&parts, n_units));
    memset(keep, 1, (size_t)n_units); /* units of no group hold no weights: they stay */
    for (size_t g = 0; g < lg_channels_n_groups(channels); g++) {
        const lg_channel_group *group = lg_channels_group(channels, g);

        for (int32_t i = 0; i < group->n_units; i++)
            keep[group->units[i]] = 0;
    }
    for (size_t g = 0; g < lg_channels_n_groups(channels); g++) {
        const lg_channel_group *group = lg_channels_group(channels, g);

        if (group->parts <= 1)
            select_plain(keep, group, widths[g].units, scores, scratch);
        else if (!ring_is_done(channels, (int32_t)g))
            select_ring(keep, channels, widths, (int32_t)g, scores, scratch, parts);
    }
done:
    lg_free(scratch);
    lg_free(parts);
    return status;
}
