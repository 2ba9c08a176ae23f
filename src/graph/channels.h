/* Coupled channels: union-find over the elements of every (value, axis) and (weight, axis).
 *
 * Ops tie elements (channel 7 of a conv's output = row 7 of its weight = element 7 of its bias). Elements that end up
 * in one set, a *unit*, can only be removed together. Units that touch the same axes form a *group*, within which any
 * subset may go, unless a balance (grouped convolution) demands equal shares. A unit is frozen if any of its elements
 * is: part of the interface, a spatial axis, an op without a rule. The reason is kept for the report.
 *
 * Everything is per element, so concat is a tie with an offset, flatten a tie with repetition, a channel shuffle three
 * ties through reshape and permute. */
#ifndef LG_GRAPH_CHANNELS_H
#define LG_GRAPH_CHANNELS_H

#include "graph/graph.h"

typedef struct lg_channels lg_channels;

/* An axis of a value or a weight. */
typedef struct lg_axis {
    int32_t is_weight;
    int32_t id;   /* value or weight id */
    int32_t axis; /* values: 1 is the channel axis; 0, the batch, is not tracked */
} lg_axis;
#define LG_VALUE_AXIS(value, axis) ((lg_axis){ 0, (value), (axis) })
#define LG_WEIGHT_AXIS(weight, axis) ((lg_axis){ 1, (weight), (axis) })

/* Run every op's channel rule over a graph. Freeze graph inputs and outputs if `freeze_interface`. Free with
 * lg_channels_free(). */
lego_status lg_channels_analyze(lg_channels **out, const lg_graph *graph, int freeze_interface);
/* A part of a graph that was analysed as `whole`: its rules tie as they did there. A rule that takes the first free axis
 * needs what stands in front of it. `whole_values`: the part's inputs in the whole graph (lg_graph_subgraph()). */
lego_status lg_channels_analyze_part(lg_channels **out, const lg_graph *part, const lg_channels *whole,
                                     const int32_t *whole_values);
void lg_channels_free(lg_channels *channels);

/* --- for the ops' rules --- */
/* Element a_offset + i of `a` goes with element b_offset + i of `b`, i < count. */
lego_status lg_channels_tie(lg_channels *channels, lg_axis a, int64_t a_offset, lg_axis b, int64_t b_offset,
                            int64_t count);
/* Whole axes of equal extent. */
lego_status lg_channels_tie_axes(lg_channels *channels, lg_axis a, lg_axis b);
/* Element i of `one` goes with elements i*times .. i*times+times-1 of `many` (flatten -> linear). */
lego_status lg_channels_tie_repeated(lg_channels *channels, lg_axis one, lg_axis many, int64_t times);
/* Never removed. `reason` is a short phrase, e.g. "interface of the block"; copied. */
lego_status lg_channels_freeze(lg_channels *channels, lg_axis axis, const char *reason);
/* Whether any element of the axis was frozen by what has been said so far, or in the whole graph that this is part of. */
int lg_channels_is_frozen(const lg_channels *channels, lg_axis axis);
/* A grouped convolution: `in` and `out` are cut into `parts` runs of equal length. Every run of `in` must keep equally
 * many elements or none, so must every run of `out`, and run i of `in` is empty exactly when run i of `out` is. */
lego_status lg_channels_balance(lg_channels *channels, lg_axis in, lg_axis out, int64_t parts);

/* --- what pruning reads (after analyze) --- */
/* Unit of an element; -1 for an axis that is not tracked. Units are numbered densely by first appearance. */
int32_t lg_channels_unit(const lg_channels *channels, lg_axis axis, int64_t element);
int32_t lg_channels_n_units(const lg_channels *channels);
const char *lg_channels_frozen(const lg_channels *channels, int32_t unit); /* the reason, NULL if it is free */

/* Groups that hold no weight's axis (spatial axes) are left out: nothing is stored along them. */
typedef struct lg_channel_group {
    int32_t n_units;
    int32_t *units;      /* in the order of `axes[0]` */
    int32_t n_axes;
    lg_axis *axes;       /* every axis whose elements these units hold */
    const char *frozen;  /* reason, or NULL: free */
    /* parts > 1 (grouped convolution): units[i] lies in part i / (n_units / parts), and every part keeps equally many
     * units or none. `partner` is the next group in the ring of groups whose part i must be empty together with this
     * one's part i: the other side of the convolution, whose partner is this one again (longer rings where grouped
     * convolutions follow each other; itself where both sides are one group). parts = 1: partner is LG_NONE.
     * Depthwise convolutions need none of this: a channel's input and outputs are one unit. */
    int32_t parts;
    int32_t partner;
} lg_channel_group;
size_t lg_channels_n_groups(const lg_channels *channels);
const lg_channel_group *lg_channels_group(const lg_channels *channels, size_t index);

/* Which units stay: n_units flags, with quick access by axis. */
typedef struct lg_channels_keep {
    const lg_channels *channels;
    const uint8_t *keep;
} lg_channels_keep;
/* Whether an element stays. */
int lg_channels_keeps(const lg_channels_keep *keep, lg_axis axis, int64_t element);
/* Kept element indices of an axis (ascending), for slicing: returns the count; `out` may be NULL. */
int64_t lg_channels_kept(const lg_channels_keep *keep, lg_axis axis, int64_t *out);

/* A copy of `graph` without the units whose flag is 0: weights sliced into new storage, attributes updated, shapes
 * re-inferred, validated. LEGO_EINVAL if a frozen unit would go or a balance is broken. */
lego_status lg_channels_apply(lg_graph **out, const lg_channels *channels, const lg_graph *graph, const uint8_t *keep);

#endif
