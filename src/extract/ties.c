/* Which channels go together inside a set of nodes.
 *
 * lg_channels_analyze() knows it exactly, element by element, for a whole graph. Finding blocks asks it for thousands of
 * sets of nodes, so we ask once for each node alone (what does this node tie?) and once for the whole graph (which
 * elements ever go together?), and then only join what is left: an *atom* is the part of one axis whose elements belong
 * to one channel group of the whole graph (a concatenation's output has one atom for each input), and every node is a
 * list of pairs of atoms it ties. A set of nodes is then a union-find over a few hundred atoms.
 *
 * An estimate: if a concatenation joins two values of one group, its parts count as one, and whether a grouped
 * convolution's balance can be kept is not asked. What gets chosen is analysed exactly (blocks.c). */
#include <string.h>

#include "base/alloc.h"
#include "extract/extract.h"
#include "graph/channels.h"

/* An axis of a value or weight and its atoms. */
typedef struct axis_atoms {
    int32_t first, n;
} axis_atoms;

typedef struct pair {
    int32_t a, b;
} pair;

/* What one node ties and freezes: ranges of `ties.pairs` and `ties.frozen_atoms`. */
typedef struct node_ties {
    int32_t first_pair, n_pairs, first_frozen, n_frozen;
} node_ties;

struct lg_ties {
    const lg_graph *graph;
    int32_t *value_axis, *weight_axis; /* first axis of each value and weight, in `axes` */
    axis_atoms *axes;
    int32_t n_atoms;
    int32_t *atom_group;   /* channel group of the whole graph; -1: holds no weights */
    int64_t *atom_count;   /* elements */
    size_t atoms_capacity, counts_capacity;
    node_ties *nodes;
    pair *pairs;
    int32_t *frozen_atoms;
    size_t n_pairs, pairs_capacity, n_frozen, frozen_capacity;
    /* of the set at hand; valid where the stamp is the current one */
    uint32_t *stamp, now;
    int32_t *parent;
    uint8_t *frozen;
};

void lg_ties_free(lg_ties *ties)
{
    if (!ties)
        return;
    lg_free(ties->value_axis);
    lg_free(ties->weight_axis);
    lg_free(ties->axes);
    lg_free(ties->atom_group);
    lg_free(ties->atom_count);
    lg_free(ties->nodes);
    lg_free(ties->pairs);
    lg_free(ties->frozen_atoms);
    lg_free(ties->stamp);
    lg_free(ties->parent);
    lg_free(ties->frozen);
    lg_free(ties);
}

/* --- atoms --- */

static lego_status add_atom(lg_ties *ties, axis_atoms *axis, int32_t group)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_RESERVE(&ties->atom_group, &ties->atoms_capacity, ties->n_atoms + 1));
    LG_TRY(LG_RESERVE(&ties->atom_count, &ties->counts_capacity, ties->n_atoms + 1));
    ties->atom_group[ties->n_atoms] = group;
    ties->atom_count[ties->n_atoms] = 0;
    ties->n_atoms++;
    axis->n++;
done:
    return status;
}

static int32_t find_atom(const lg_ties *ties, const axis_atoms *axis, int32_t group)
{
    for (int32_t a = axis->first; a < axis->first + axis->n; a++)
        if (ties->atom_group[a] == group)
            return a;
    return LG_NONE;
}

static lego_status cut_axis(lg_ties *ties, axis_atoms *out, const lg_channels *whole, const int32_t *group_of,
                            lg_axis axis, int64_t extent)
{
    lego_status status = LEGO_OK;

    out->first = ties->n_atoms;
    for (int64_t i = 0; i < extent; i++) {
        int32_t unit = lg_channels_unit(whole, axis, i), atom;

        if (unit < 0)
            continue; /* not tracked */
        atom = find_atom(ties, out, group_of[unit]);
        if (atom == LG_NONE) {
            atom = ties->n_atoms;
            LG_TRY(add_atom(ties, out, group_of[unit]));
        }
        ties->atom_count[atom]++;
    }
done:
    return status;
}

static lego_status cut_axes(lg_ties *ties, const lg_channels *whole, const int32_t *group_of)
{
    const lg_graph *graph = ties->graph;
    int32_t n_axes = 0;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&ties->value_axis, graph->n_values));
    LG_TRY(LG_CALLOC(&ties->weight_axis, graph->n_weights));
    for (int32_t v = 0; v < graph->n_values; v++) {
        ties->value_axis[v] = n_axes;
        n_axes += graph->values[v].shape.n_dims;
    }
    for (int32_t w = 0; w < graph->n_weights; w++) {
        ties->weight_axis[w] = n_axes;
        n_axes += graph->weights[w].tensor.shape.n_dims;
    }
    LG_TRY(LG_CALLOC(&ties->axes, n_axes));
    for (int32_t v = 0; v < graph->n_values; v++)
        for (int32_t i = 1; i < graph->values[v].shape.n_dims; i++) /* 0 is the batch */
            LG_TRY(cut_axis(ties, &ties->axes[ties->value_axis[v] + i], whole, group_of, LG_VALUE_AXIS(v, i),
                            graph->values[v].shape.dims[i]));
    for (int32_t w = 0; w < graph->n_weights; w++)
        for (int32_t i = 0; i < graph->weights[w].tensor.shape.n_dims; i++)
            LG_TRY(cut_axis(ties, &ties->axes[ties->weight_axis[w] + i], whole, group_of, LG_WEIGHT_AXIS(w, i),
                            graph->weights[w].tensor.shape.dims[i]));
done:
    return status;
}

/* --- what a node ties --- */

static lego_status add_pair(lg_ties *ties, node_ties *node, int32_t a, int32_t b)
{
    lego_status status = LEGO_OK;

    if (a == b || (node->n_pairs > 0 && ties->pairs[ties->n_pairs - 1].a == a && ties->pairs[ties->n_pairs - 1].b == b))
        return LEGO_OK;
    LG_TRY(LG_RESERVE(&ties->pairs, &ties->pairs_capacity, ties->n_pairs + 1));
    ties->pairs[ties->n_pairs++] = (pair){ a, b };
    node->n_pairs++;
done:
    return status;
}

static lego_status add_frozen(lg_ties *ties, node_ties *node, int32_t atom)
{
    lego_status status = LEGO_OK;

    if (node->n_frozen > 0 && ties->frozen_atoms[ties->n_frozen - 1] == atom)
        return LEGO_OK;
    LG_TRY(LG_RESERVE(&ties->frozen_atoms, &ties->frozen_capacity, ties->n_frozen + 1));
    ties->frozen_atoms[ties->n_frozen++] = atom;
    node->n_frozen++;
done:
    return status;
}

/* The node being asked, alone in a graph of its own, and the same axis in both. */
typedef struct lone_node {
    const lg_channels *whole, *alone;
    const int32_t *group_of; /* by unit of the whole graph */
    int32_t *first_atom;     /* by unit of the lone node: the atom where it was met first */
} lone_node;

static lego_status tie_axis(lg_ties *ties, node_ties *out, const lone_node *lone, lg_axis in_whole, lg_axis in_alone,
                            int64_t extent)
{
    int32_t base = in_whole.is_weight ? ties->weight_axis[in_whole.id] : ties->value_axis[in_whole.id];
    lego_status status = LEGO_OK;

    for (int64_t i = 0; i < extent; i++) {
        int32_t unit = lg_channels_unit(lone->alone, in_alone, i), whole = lg_channels_unit(lone->whole, in_whole, i);
        int32_t atom;

        if (unit < 0 || whole < 0)
            continue;
        atom = find_atom(ties, &ties->axes[base + in_whole.axis], lone->group_of[whole]);
        if (lone->first_atom[unit] == LG_NONE)
            lone->first_atom[unit] = atom;
        LG_TRY(add_pair(ties, out, lone->first_atom[unit], atom));
        if (lg_channels_frozen(lone->alone, unit))
            LG_TRY(add_frozen(ties, out, atom));
    }
done:
    return status;
}

static lego_status tie_value(lg_ties *ties, node_ties *out, const lone_node *lone, int32_t in_whole, int32_t in_alone)
{
    const lg_shape *shape = &ties->graph->values[in_whole].shape;
    lego_status status = LEGO_OK;

    for (int32_t i = 1; i < shape->n_dims; i++)
        LG_TRY(tie_axis(ties, out, lone, LG_VALUE_AXIS(in_whole, i), LG_VALUE_AXIS(in_alone, i), shape->dims[i]));
done:
    return status;
}

static lego_status tie_weight(lg_ties *ties, node_ties *out, const lone_node *lone, int32_t in_whole, int32_t in_alone)
{
    const lg_shape *shape = &ties->graph->weights[in_whole].tensor.shape;
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < shape->n_dims; i++)
        LG_TRY(tie_axis(ties, out, lone, LG_WEIGHT_AXIS(in_whole, i), LG_WEIGHT_AXIS(in_alone, i), shape->dims[i]));
done:
    return status;
}

static lego_status tie_node(lg_ties *ties, int32_t index, const lg_channels *whole, const int32_t *group_of,
                            uint8_t *in_set)
{
    const lg_node *node = &ties->graph->nodes[index], *twin;
    node_ties *out = &ties->nodes[index];
    lg_graph *graph = NULL;
    lg_channels *alone = NULL;
    lone_node lone = { whole, NULL, group_of, NULL };
    int32_t *inputs = NULL;
    lego_status status = LEGO_OK;

    *out = (node_ties){ (int32_t)ties->n_pairs, 0, (int32_t)ties->n_frozen, 0 };
    in_set[index] = 1;
    LG_TRY(lg_graph_subgraph(&graph, ties->graph, in_set, &inputs, NULL));
    LG_TRY(lg_channels_analyze_part(&alone, graph, whole, inputs));
    LG_TRY(LG_CALLOC(&lone.first_atom, lg_channels_n_units(alone)));
    for (int32_t u = 0; u < lg_channels_n_units(alone); u++)
        lone.first_atom[u] = LG_NONE;
    lone.alone = alone;
    twin = &graph->nodes[0];
    for (int32_t i = 0; i < node->n_inputs; i++)
        LG_TRY(tie_value(ties, out, &lone, node->inputs[i], twin->inputs[i]));
    for (int32_t i = 0; i < node->n_outputs; i++)
        LG_TRY(tie_value(ties, out, &lone, node->outputs[i], twin->outputs[i]));
    for (int32_t i = 0; i < node->n_weights; i++)
        if (node->weights[i] != LG_NONE)
            LG_TRY(tie_weight(ties, out, &lone, node->weights[i], twin->weights[i]));
done:
    in_set[index] = 0;
    lg_free(lone.first_atom);
    lg_free(inputs);
    lg_channels_free(alone);
    lg_graph_free(graph);
    return status;
}

static lego_status groups_of_units(int32_t **out, const lg_channels *channels)
{
    int32_t n_units = lg_channels_n_units(channels);
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(out, n_units));
    for (int32_t u = 0; u < n_units; u++)
        (*out)[u] = -1;
    for (size_t g = 0; g < lg_channels_n_groups(channels); g++) {
        const lg_channel_group *group = lg_channels_group(channels, g);

        for (int32_t i = 0; i < group->n_units; i++)
            (*out)[group->units[i]] = (int32_t)g;
    }
done:
    return status;
}

lego_status lg_ties_create(lg_ties **out, const lg_graph *graph)
{
    lg_ties *ties = NULL;
    lg_channels *whole = NULL;
    int32_t *group_of = NULL;
    uint8_t *in_set = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&ties, 1));
    ties->graph = graph;
    LG_TRY(lg_channels_analyze(&whole, graph, 0));
    LG_TRY(groups_of_units(&group_of, whole));
    LG_TRY(cut_axes(ties, whole, group_of));
    LG_TRY(LG_CALLOC(&ties->nodes, graph->n_nodes));
    LG_TRY(LG_CALLOC(&in_set, graph->n_nodes));
    for (int32_t n = 0; n < graph->n_nodes; n++)
        LG_TRY(tie_node(ties, n, whole, group_of, in_set));
    LG_TRY(LG_CALLOC(&ties->stamp, ties->n_atoms));
    LG_TRY(LG_CALLOC(&ties->parent, ties->n_atoms));
    LG_TRY(LG_CALLOC(&ties->frozen, ties->n_atoms));
    *out = ties;
    ties = NULL;
done:
    lg_free(in_set);
    lg_free(group_of);
    lg_channels_free(whole);
    lg_ties_free(ties);
    return status;
}

/* --- a set of nodes --- */

void lg_ties_begin(lg_ties *ties)
{
    ties->now++;
    if (ties->now == 0) { /* after 2^32 sets */
        memset(ties->stamp, 0, (size_t)ties->n_atoms * sizeof(*ties->stamp));
        ties->now = 1;
    }
}

static int32_t root_of(lg_ties *ties, int32_t atom)
{
    if (ties->stamp[atom] != ties->now) {
        ties->stamp[atom] = ties->now;
        ties->parent[atom] = atom;
        ties->frozen[atom] = 0;
    }
    while (ties->parent[atom] != atom) {
        ties->parent[atom] = ties->parent[ties->parent[atom]];
        atom = ties->parent[atom];
    }
    return atom;
}

void lg_ties_add_node(lg_ties *ties, int32_t node)
{
    const node_ties *own = &ties->nodes[node];

    for (int32_t i = own->first_pair; i < own->first_pair + own->n_pairs; i++) {
        int32_t a = root_of(ties, ties->pairs[i].a), b = root_of(ties, ties->pairs[i].b);

        if (a == b)
            continue;
        ties->parent[b] = a;
        ties->frozen[a] |= ties->frozen[b];
    }
    for (int32_t i = own->first_frozen; i < own->first_frozen + own->n_frozen; i++)
        ties->frozen[root_of(ties, ties->frozen_atoms[i])] = 1;
}

void lg_ties_freeze_value(lg_ties *ties, int32_t value)
{
    for (int32_t i = 1; i < ties->graph->values[value].shape.n_dims; i++) {
        const axis_atoms *axis = &ties->axes[ties->value_axis[value] + i];

        for (int32_t a = axis->first; a < axis->first + axis->n; a++)
            ties->frozen[root_of(ties, a)] = 1;
    }
}

double lg_ties_free_share(lg_ties *ties, int32_t value)
{
    double best = 0.0;

    for (int32_t i = 1; i < ties->graph->values[value].shape.n_dims; i++) {
        const axis_atoms *axis = &ties->axes[ties->value_axis[value] + i];
        int64_t n = 0, n_free = 0;

        for (int32_t a = axis->first; a < axis->first + axis->n; a++) {
            n += ties->atom_count[a];
            n_free += ties->frozen[root_of(ties, a)] ? 0 : ties->atom_count[a];
        }
        if (n_free > 0 && (double)n_free / (double)n > best)
            best = (double)n_free / (double)n;
    }
    return best;
}
