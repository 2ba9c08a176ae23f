/* The inside of lg_channels, shared by channels.c (elements and ties), channels_groups.c (units and groups) and
 * channels_balance.c (grouped convolutions). */
#ifndef LG_GRAPH_CHANNELS_PRIVATE_H
#define LG_GRAPH_CHANNELS_PRIVATE_H

#include "graph/channels.h"

typedef struct lg_axis_info {
    lg_axis axis;
    int64_t first; /* element */
    int64_t extent;
    int touched;   /* by a rule */
} lg_axis_info;

typedef struct lg_balance {
    int32_t in, out; /* indices of lg_axis_info */
    int64_t parts;
} lg_balance;

struct lg_channels {
    int32_t n_values, n_weights;
    int32_t *value_axes, *weight_axes; /* index of the first lg_axis_info of each; n + 1 entries */
    lg_axis_info *axes;
    int32_t n_axes;
    int64_t n_elements;
    int32_t *parent; /* of each element; a root is its set's first element */
    int32_t *reason; /* of each element, then of each root; index + 1 into reasons, 0 free */
    char **reasons;
    size_t n_reasons, reasons_capacity;
    lg_balance *balances;
    size_t n_balances, balances_capacity;
    int32_t *unit; /* of each element */
    int32_t n_units;
    int32_t *unit_reason, *unit_group;
    /* while the rules of a part run; NULL otherwise */
    const lg_channels *whole;
    const lg_graph *part;
    const int32_t *whole_values; /* by input of the part */
    lg_channel_group *groups;
    size_t n_groups;
};

/* channels.c */
int32_t lg_channels_root(int32_t *parent, int32_t element);
void lg_channels_unite(lg_channels *channels, int64_t a, int64_t b);
/* channels_groups.c: number the units of the present ties and list their groups, balances apart. */
lego_status lg_channels_list_groups(lg_channels *channels);
void lg_channels_drop_groups(lg_channels *channels);
/* channels_balance.c: the same until every balance is met, by parts of groups or by further ties. */
lego_status lg_channels_make_groups(lg_channels *channels);

#endif
