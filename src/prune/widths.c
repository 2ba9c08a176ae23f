/* Sparsity -> what every channel group keeps, so that the sparsity asked for is the sparsity got.
 *
 * A plain group of n units keeps round((1-s)*n). Groups on the two sides of a grouped convolution (a ring of partners,
 * usually a pair) lose equal shares in every convolution group, which alone is coarse: of 4 channels a share of 0.4 is 2,
 * and 0.6 asked would be 0.5 got. So whole convolution groups go as well: 26 groups of 2 are 52 of 128 channels, where
 * 51.2 were asked for. We keep as many convolution groups as reach the target within half a step and are left with two
 * channels at least: groups of one do not mix anything any more (at 0.8, 32 channels in 8 groups become three groups of two
 * instead of six of one).
 *
 * Newcomers get wrong: a depthwise convolution is a plain group (a channel's input and output are one unit). */
#include <math.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "prune/prune.h"

/* The width wanted of n units: at least 1, a multiple of round_to where n allows it. */
static double target_width(int32_t n, double sparsity, int32_t round_to)
{
    double width = fmax(1.0, (1.0 - sparsity) * n);

    if (round_to > 1)
        width = ceil(round(width) / round_to) * round_to;
    return fmin(width, n);
}

static int32_t round_width(double width)
{
    return (int32_t)lround(width);
}

/* What a group keeps of each of its parts when `parts` of them stay. */
static int32_t share_of(const lg_channel_group *group, double target, int32_t parts)
{
    int32_t whole = group->n_units / group->parts;
    int32_t share = round_width(target / parts);

    if (group->frozen)
        return whole;
    return share < 1 ? 1 : share > whole ? whole : share;
}

/* What a share of one channel counts for where there could be two, in the unit of deviations. */
#define ALONE 0.5

/* How far a group is from its target with `parts` parts: 0 within half a step, else relative to its size. */
static double deviation(const lg_channel_group *group, double target, int32_t parts, int32_t round_to)
{
    int32_t share, units;

    if (group->frozen)
        return 0.0;
    share = share_of(group, target, parts);
    units = share * parts;
    return fmax(0.0, fabs(units - target) - 0.5 * share) / group->n_units +
           (share == 1 && target >= 2.0 && group->n_units > group->parts ? ALONE : 0.0) +
           (round_to > 1 && units % round_to != 0 && units != group->n_units ? 1.0 : 0.0);
}

/* All groups of the ring that starts at `first` keep the same number of parts. */
static void ring_widths(lg_prune_width *widths, const lg_channels *channels, int32_t first, double sparsity,
                        int32_t round_to)
{
    int32_t best_parts = lg_channels_group(channels, (size_t)first)->parts, least = 1;
    double best = INFINITY;
    int32_t g = first;

    do {
        const lg_channel_group *group = lg_channels_group(channels, (size_t)g);

        if (group->frozen)
            least = group->parts; /* no part can go */
        g = group->partner;
    } while (g != first);
    for (int32_t parts = best_parts; parts >= least && best > 0.0; parts--) {
        double sum = 0.0;

        do {
            const lg_channel_group *group = lg_channels_group(channels, (size_t)g);

            sum += deviation(group, target_width(group->n_units, sparsity, round_to), parts, round_to);
            g = group->partner;
        } while (g != first);
        if (sum < best) {
            best = sum;
            best_parts = parts;
        }
    }
    do {
        const lg_channel_group *group = lg_channels_group(channels, (size_t)g);
        double target = target_width(group->n_units, sparsity, round_to);

        widths[g] = (lg_prune_width){ best_parts * share_of(group, target, best_parts), best_parts };
        g = group->partner;
    } while (g != first);
}

static lego_status check_options(double sparsity, int32_t round_to)
{
    if (!(sparsity >= 0.0 && sparsity < 1.0)) /* this form also rejects NaN */
        return lg_error(LEGO_EINVAL, "sparsity %g is not in [0, 1)", sparsity);
    if (round_to < 0)
        return lg_error(LEGO_EINVAL, "round_to %d is negative", round_to);
    return LEGO_OK;
}

/* All widths; sparsities[g] is that of group g, the same for all groups of a ring. */
static void set_widths(lg_prune_width *widths, const lg_channels *channels, const double *sparsities,
                       int32_t round_to)
{
    const size_t n_groups = lg_channels_n_groups(channels);

    for (size_t g = 0; g < n_groups; g++)
        widths[g].parts = 0; /* not set yet */
    for (size_t g = 0; g < n_groups; g++) {
        const lg_channel_group *group = lg_channels_group(channels, g);

        if (widths[g].parts != 0)
            continue;
        if (group->parts > 1)
            ring_widths(widths, channels, (int32_t)g, sparsities[g], round_to);
        else if (group->frozen)
            widths[g] = (lg_prune_width){ group->n_units, 1 };
        else
            widths[g] = (lg_prune_width){ round_width(target_width(group->n_units, sparsities[g], round_to)), 1 };
    }
}

lego_status lg_prune_widths(lg_prune_width *widths, const lg_channels *channels, double sparsity, int32_t round_to)
{
    const size_t n_groups = lg_channels_n_groups(channels);
    double *sparsities = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(check_options(sparsity, round_to));
    LG_TRY(LG_CALLOC(&sparsities, n_groups));
    for (size_t g = 0; g < n_groups; g++)
        sparsities[g] = sparsity;
    set_widths(widths, channels, sparsities, round_to);
done:
    lg_free(sparsities);
    return status;
}

/* --- all free units of a block against each other --- */

typedef struct ranked {
    double score;
    int32_t group, unit;
} ranked;

/* Highest score first; NaN last; then in the order of the groups. */
static int compare(const void *a, const void *b)
{
    const ranked *x = a, *y = b;

    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return x->unit < y->unit ? -1 : x->unit > y->unit;
}

/* The free units of all groups, ranked; *n of them. */
static lego_status rank_free_units(ranked **out, size_t *n, const lg_channels *channels, const double *scores)
{
    ranked *list = NULL;
    lego_status status = LEGO_OK;

    *n = 0;
    LG_TRY(LG_CALLOC(&list, lg_channels_n_units(channels)));
    for (size_t g = 0; g < lg_channels_n_groups(channels); g++) {
        const lg_channel_group *group = lg_channels_group(channels, g);

        for (int32_t i = 0; !group->frozen && i < group->n_units; i++) {
            const double score = scores[group->units[i]];

            list[(*n)++] = (ranked){ isnan(score) ? -INFINITY : score, (int32_t)g, i };
        }
    }
    qsort(list, *n, sizeof(*list), compare);
    *out = list;
done:
    return status;
}

/* The share that each group loses: groups of a ring lose that of all their units together. kept[g]: units of group g
 * among those that stay. */
static void share_losses(double *sparsities, const lg_channels *channels, const int32_t *kept)
{
    for (size_t first = 0; first < lg_channels_n_groups(channels); first++) {
        int64_t all = 0, stay = 0;
        size_t g = first;

        do {
            const lg_channel_group *group = lg_channels_group(channels, g);

            all += group->frozen ? 0 : group->n_units;
            stay += kept[g];
            g = group->parts > 1 ? (size_t)group->partner : first;
        } while (g != first);
        stay = stay > 0 ? stay : 1; /* at least one stays, and 1 would be no sparsity */
        sparsities[first] = all > 0 ? 1.0 - (double)stay / (double)all : 0.0;
    }
}

lego_status lg_prune_widths_ranked(lg_prune_width *widths, const lg_channels *channels, const double *scores,
                                   double sparsity, int32_t round_to)
{
    const size_t n_groups = lg_channels_n_groups(channels);
    ranked *list = NULL;
    double *sparsities = NULL;
    int32_t *kept = NULL;
    size_t n;
    lego_status status = LEGO_OK;

    LG_TRY(check_options(sparsity, round_to));
    LG_TRY(LG_CALLOC(&sparsities, n_groups));
    LG_TRY(LG_CALLOC(&kept, n_groups));
    LG_TRY(rank_free_units(&list, &n, channels, scores));
    for (int64_t i = 0; i < llround((1.0 - sparsity) * (double)n); i++)
        kept[list[i].group]++;
    share_losses(sparsities, channels, kept);
    set_widths(widths, channels, sparsities, round_to);
done:
    lg_free(list);
    lg_free(sparsities);
    lg_free(kept);
    return status;
}

int lg_prune_widths_equal(const lg_prune_width *a, const lg_prune_width *b, const lg_channels *channels)
{
    for (size_t g = 0; g < lg_channels_n_groups(channels); g++)
        if (a[g].units != b[g].units || a[g].parts != b[g].parts)
            return 0;
    return 1;
}
