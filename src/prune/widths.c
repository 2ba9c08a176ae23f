/* Sparsity -> what every channel group keeps, so that the sparsity asked for is the sparsity got.
 *
 * A plain group of n units keeps round((1-s)*n). Groups on the two sides of a grouped convolution (a ring of partners,
 * usually a pair) lose equal shares in every convolution group, which alone is coarse: of 4 channels a share of 0.4 is 2,
 * and 0.6 asked would be 0.5 got. So whole convolution groups go as well: 26 groups of 2 are 52 of 128 channels, where
 * 51.2 were asked for. We keep as many convolution groups as reach the target within half a step.
 *
 * Newcomers get wrong: a depthwise convolution is a plain group (a channel's input and output are one unit). */
#include <math.h>

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

/* How far a group is from its target with `parts` parts: 0 within half a step, else relative to its size. */
static double deviation(const lg_channel_group *group, double target, int32_t parts, int32_t round_to)
{
    int32_t share, units;

    if (group->frozen)
        return 0.0;
    share = share_of(group, target, parts);
    units = share * parts;
    return fmax(0.0, fabs(units - target) - 0.5 * share) / group->n_units +
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

lego_status lg_prune_widths(lg_prune_width *widths, const lg_channels *channels, double sparsity, int32_t round_to)
{
    size_t n_groups = lg_channels_n_groups(channels);

    if (!(sparsity >= 0.0 && sparsity < 1.0)) /* this form also rejects NaN */
        return lg_error(LEGO_EINVAL, "sparsity %g is not in [0, 1)", sparsity);
    if (round_to < 0)
        return lg_error(LEGO_EINVAL, "round_to %d is negative", round_to);
    for (size_t g = 0; g < n_groups; g++)
        widths[g].parts = 0; /* not set yet */
    for (size_t g = 0; g < n_groups; g++) {
        const lg_channel_group *group = lg_channels_group(channels, g);

        if (widths[g].parts != 0)
            continue;
        if (group->parts > 1)
            ring_widths(widths, channels, (int32_t)g, sparsity, round_to);
        else if (group->frozen)
            widths[g] = (lg_prune_width){ group->n_units, 1 };
        else
            widths[g] = (lg_prune_width){ round_width(target_width(group->n_units, sparsity, round_to)), 1 };
    }
    return LEGO_OK;
}

int lg_prune_widths_equal(const lg_prune_width *a, const lg_prune_width *b, const lg_channels *channels)
{
    for (size_t g = 0; g < lg_channels_n_groups(channels); g++)
        if (a[g].units != b[g].units || a[g].parts != b[g].parts)
            return 0;
    return 1;
}
