/* Every set of nodes that could be a block.
 *
 * Three walks, all over one topological order that keeps branches together (reverse postorder of a depth-first search):
 *   backward from a value x: take the ancestors of x, latest first. Whenever a single value e is still needed, the set is
 *     exactly the part of the graph between e and x (oto); with more values needed it is mto. Every oto block there is
 *     comes up here.
 *   forward from a value e: take what depends on e alone, earliest first (otm).
 *   interval: consecutive nodes of the order (mtm).
 * All sets are convex by construction. A set counts if it is connected, holds all uses of its shared weights, is of the
 * allowed size and has a layer whose output channels can go.
 *
 * Where a block ends: behind the element-wise nodes (batch norm, activation, residual sum) that follow its last layer,
 * where that does not open another edge. So its boundary is a value behind the activation: what reconstruction and
 * retraining want to match, and what the engine's fused convolution writes. Of sets with the same layers the walks keep
 * the one with the fewest leading nodes.
 *
 * Newcomers get wrong: sets that are convex one by one can still form a cycle together; choose.c takes sets with disjoint
 * spans of the order only, which cannot. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "extract/extract.h"
#include "graph/ops.h"
#include "graph/ops/common.h"

/* The walks' common ground. */
typedef struct walker {
    const lg_graph *graph;
    lg_ties *ties;
    const lg_block_limits *limits;
    lg_candidates *out;
    lg_uses uses;
    int64_t *flops, *parameters; /* by node */
    double total_flops;
    int32_t *position;           /* by node: where it stands in the order */
    int32_t *weight_uses;        /* by weight: how many nodes use it */
    uint8_t *is_output;          /* by value: of the graph */
    /* the set at hand */
    int32_t *nodes;
    int32_t n_nodes, n_layers;
    uint8_t *in_set;             /* by node */
    uint8_t *marked;             /* by value: needed (backward), at hand (forward) */
    /* scratch, cleared after use */
    int32_t *used;               /* by weight */
    uint8_t *joined;             /* by node */
} walker;

void lg_candidates_dispose(lg_candidates *candidates)
{
    lg_free(candidates->order);
    lg_free(candidates->list);
    lg_free(candidates->nodes);
    memset(candidates, 0, sizeof(*candidates));
}

/* --- the set at hand --- */

static int is_layer(const walker *walk, int32_t n)
{
    return lg_op_is_compressible(walk->graph->nodes[n].op);
}

static void take(walker *walk, int32_t n)
{
    walk->nodes[walk->n_nodes++] = n;
    walk->in_set[n] = 1;
    walk->n_layers += is_layer(walk, n);
}

static void start_set(walker *walk)
{
    for (int32_t i = 0; i < walk->n_nodes; i++) {
        const lg_node *node = &walk->graph->nodes[walk->nodes[i]];

        walk->in_set[walk->nodes[i]] = 0;
        for (int32_t k = 0; k < node->n_inputs; k++)
            walk->marked[node->inputs[k]] = 0;
        for (int32_t k = 0; k < node->n_outputs; k++)
            walk->marked[node->outputs[k]] = 0;
    }
    walk->n_nodes = walk->n_layers = 0;
}

static int32_t n_uses(const walker *walk, int32_t value)
{
    return walk->uses.offsets[value + 1] - walk->uses.offsets[value];
}

/* The only node that reads a value; NULL if several do, or the graph. */
static const lg_node *only_user(const walker *walk, int32_t value)
{
    return walk->is_output[value] || n_uses(walk, value) != 1
               ? NULL
               : &walk->graph->nodes[walk->uses.nodes[walk->uses.offsets[value]]];
}

static int leaves_set(const walker *walk, int32_t value)
{
    if (walk->is_output[value])
        return 1;
    for (int32_t u = walk->uses.offsets[value]; u < walk->uses.offsets[value + 1]; u++)
        if (!walk->in_set[walk->uses.nodes[u]])
            return 1;
    return 0;
}

/* A value whose only use is an element-wise sum (or product) with another one. */
static int is_open(const walker *walk, int32_t value)
{
    const lg_node *user = only_user(walk, value);

    if (!user)
        return 0;
    switch (user->op->kind) {
    case LG_OP_ADD:
    case LG_OP_SUB:
    case LG_OP_MUL:
    case LG_OP_DIV:
    case LG_OP_MIN:
    case LG_OP_MAX:
        return 1;
    default:
        return 0;
    }
}

static int has_all_uses_of_its_weights(walker *walk)
{
    int complete = 1;

    for (int32_t i = 0; i < walk->n_nodes; i++) {
        const lg_node *node = &walk->graph->nodes[walk->nodes[i]];

        for (int32_t w = 0; w < node->n_weights; w++)
            if (node->weights[w] != LG_NONE)
                walk->used[node->weights[w]]++;
    }
    for (int32_t i = 0; i < walk->n_nodes; i++) {
        const lg_node *node = &walk->graph->nodes[walk->nodes[i]];

        for (int32_t w = 0; w < node->n_weights; w++) {
            int32_t weight = node->weights[w];

            if (weight == LG_NONE || walk->used[weight] == 0)
                continue;
            complete &= walk->used[weight] == walk->weight_uses[weight];
            walk->used[weight] = 0;
        }
    }
    return complete;
}

/* Whether values inside the set join all its nodes: spread from the first one until nothing changes. */
static int is_connected(walker *walk)
{
    int32_t n_joined = 1, before = 0;

    walk->joined[walk->nodes[0]] = 1;
    while (n_joined != before) {
        before = n_joined;
        for (int32_t i = 0; i < walk->n_nodes; i++) {
            int32_t n = walk->nodes[i];
            const lg_node *node = &walk->graph->nodes[n];

            for (int32_t k = 0; k < node->n_inputs; k++) {
                int32_t producer = walk->graph->values[node->inputs[k]].producer;

                if (producer == LG_NONE || !walk->in_set[producer] || walk->joined[producer] == walk->joined[n])
                    continue;
                walk->joined[producer] = walk->joined[n] = 1;
                n_joined++;
            }
        }
    }
    for (int32_t i = 0; i < walk->n_nodes; i++)
        walk->joined[walk->nodes[i]] = 0;
    return n_joined == walk->n_nodes;
}

/* Tie the set's channels and freeze its interface; how many of its outputs are open. */
static int32_t tie_set(walker *walk)
{
    int32_t n_open = 0;

    lg_ties_begin(walk->ties);
    for (int32_t i = 0; i < walk->n_nodes; i++) {
        const lg_node *node = &walk->graph->nodes[walk->nodes[i]];

        lg_ties_add_node(walk->ties, walk->nodes[i]);
        for (int32_t k = 0; k < node->n_inputs; k++) {
            int32_t producer = walk->graph->values[node->inputs[k]].producer;

            if (producer == LG_NONE || !walk->in_set[producer])
                lg_ties_freeze_value(walk->ties, node->inputs[k]);
        }
        for (int32_t k = 0; k < node->n_outputs; k++) {
            if (!leaves_set(walk, node->outputs[k]))
                continue;
            lg_ties_freeze_value(walk->ties, node->outputs[k]);
            n_open += is_open(walk, node->outputs[k]);
        }
    }
    return n_open;
}

static lego_status add_candidate(walker *walk, const lg_worth *worth)
{
    lg_candidates *out = walk->out;
    lg_candidate candidate = { (int32_t)out->n_nodes, walk->n_nodes, walk->graph->n_nodes, 0, *worth };
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < walk->n_nodes; i++) {
        int32_t at = walk->position[walk->nodes[i]];

        candidate.begin = at < candidate.begin ? at : candidate.begin;
        candidate.end = at + 1 > candidate.end ? at + 1 : candidate.end;
    }
    LG_TRY(LG_RESERVE(&out->nodes, &out->nodes_capacity, out->n_nodes + (size_t)walk->n_nodes));
    LG_TRY(LG_RESERVE(&out->list, &out->capacity, out->n + 1));
    memcpy(out->nodes + out->n_nodes, walk->nodes, (size_t)walk->n_nodes * sizeof(*walk->nodes));
    out->n_nodes += (size_t)walk->n_nodes;
    out->list[out->n++] = candidate;
done:
    return status;
}

/* FLOPs of the set's nodes, a share of the model's, squared: a sum of these is least where blocks are alike. */
static double imbalance(const walker *walk)
{
    double flops = 0.0;

    for (int32_t i = 0; i < walk->n_nodes; i++)
        flops += (double)walk->flops[walk->nodes[i]];
    return flops / walk->total_flops * (flops / walk->total_flops);
}

/* Keep the set as a candidate if it makes a block. */
static lego_status consider(walker *walk)
{
    lg_worth worth = { .n_blocks = 1 };
    int32_t n_compressed = 0;

    if (walk->n_layers < walk->limits->min || !has_all_uses_of_its_weights(walk) || !is_connected(walk))
        return LEGO_OK;
    worth.n_open = tie_set(walk);
    for (int32_t i = 0; i < walk->n_nodes; i++) {
        int32_t n = walk->nodes[i];
        const lg_node *node = &walk->graph->nodes[n];
        double output_share;

        if (!is_layer(walk, n))
            continue;
        output_share = lg_ties_free_share(walk->ties, node->outputs[0]);
        n_compressed += output_share > 0.0 || lg_ties_free_share(walk->ties, node->inputs[0]) > 0.0;
        worth.gain += llround(output_share * (double)walk->flops[n]);
        worth.parameters += llround(output_share * (double)walk->parameters[n]);
    }
    if (worth.parameters == 0 || n_compressed > walk->limits->max)
        return LEGO_OK;
    worth.gain += walk->out->bonus;
    worth.imbalance = imbalance(walk);
    return add_candidate(walk, &worth);
}

/* --- the walks --- */

/* All sets that end in `value` alone and read at most `max_inputs` values. */
static lego_status walk_back(walker *walk, int32_t value, int32_t max_inputs)
{
    int32_t n_needed = 1;
    int is_new = 0; /* layers were taken since the last set considered */
    lego_status status = LEGO_OK;

    start_set(walk);
    walk->marked[value] = 1;
    for (int32_t at = walk->position[walk->graph->values[value].producer]; at >= 0; at--) {
        int32_t n = walk->out->order[at];
        const lg_node *node = &walk->graph->nodes[n];
        int32_t n_given = 0;

        for (int32_t k = 0; k < node->n_outputs; k++)
            n_given += walk->marked[node->outputs[k]];
        if (n_given == 0)
            continue; /* not an ancestor */
        if (is_layer(walk, n) && walk->n_layers == walk->limits->max_total)
            break;
        take(walk, n);
        n_needed -= n_given;
        for (int32_t k = 0; k < node->n_outputs; k++) {
            walk->marked[node->outputs[k]] = 0;
            if (node->outputs[k] != value && leaves_set(walk, node->outputs[k]))
                return LEGO_OK; /* another output, in every larger set too */
        }
        for (int32_t k = 0; k < node->n_inputs; k++) {
            n_needed += !walk->marked[node->inputs[k]];
            walk->marked[node->inputs[k]] = 1;
        }
        is_new |= is_layer(walk, n);
        if (n_needed > max_inputs || !is_new)
            continue;
        LG_TRY(consider(walk));
        is_new = 0;
    }
done:
    return status;
}

/* The constant that makes a value, if `reader` is all that reads it; LG_NONE. */
static int32_t own_constant(const walker *walk, const lg_node *reader, int32_t value)
{
    int32_t producer = walk->graph->values[value].producer;

    return producer != LG_NONE && walk->graph->nodes[producer].n_inputs == 0 && only_user(walk, value) == reader
               ? producer
               : LG_NONE;
}

/* Take a node of a forward walk, with constants of its own. */
static void take_forward(walker *walk, int32_t n)
{
    const lg_node *node = &walk->graph->nodes[n];

    for (int32_t k = 0; k < node->n_inputs; k++)
        if (own_constant(walk, node, node->inputs[k]) != LG_NONE)
            take(walk, own_constant(walk, node, node->inputs[k]));
    take(walk, n);
    for (int32_t k = 0; k < node->n_outputs; k++)
        walk->marked[node->outputs[k]] = 1;
}

/* All sets that read `value` alone: the nodes that depend on it and on nothing else, earliest first. */
static lego_status walk_forward(walker *walk, int32_t value)
{
    int32_t first = walk->graph->n_nodes;
    lego_status status = LEGO_OK;

    start_set(walk);
    for (int32_t u = walk->uses.offsets[value]; u < walk->uses.offsets[value + 1]; u++) {
        int32_t at = walk->position[walk->uses.nodes[u]];

        first = at < first ? at : first;
    }
    walk->marked[value] = 1;
    for (int32_t at = first; at < walk->graph->n_nodes; at++) {
        int32_t n = walk->out->order[at];
        const lg_node *node = &walk->graph->nodes[n];
        int depends = node->n_inputs > 0;

        for (int32_t k = 0; k < node->n_inputs; k++)
            depends &= walk->marked[node->inputs[k]] || own_constant(walk, node, node->inputs[k]) != LG_NONE;
        if (!depends)
            continue;
        if (is_layer(walk, n)) {
            LG_TRY(consider(walk));
            if (walk->n_layers == walk->limits->max_total)
                goto done;
        }
        take_forward(walk, n);
    }
    LG_TRY(consider(walk));
done:
    walk->marked[value] = 0; /* also where nothing was taken */
    return status;
}

/* All runs of the order that begin at `begin`. */
static lego_status walk_interval(walker *walk, int32_t begin)
{
    lego_status status = LEGO_OK;

    start_set(walk);
    for (int32_t at = begin; at < walk->graph->n_nodes; at++) {
        int32_t n = walk->out->order[at];

        if (is_layer(walk, n)) {
            LG_TRY(consider(walk));
            if (walk->n_layers == walk->limits->max_total)
                return LEGO_OK;
        }
        take(walk, n);
    }
    LG_TRY(consider(walk));
done:
    return status;
}

static int is_unary(const lg_node *node)
{
    return node->n_inputs == 1 && node->op->infer_shape == lg_op_unary_infer;
}

static lego_status walk_all(walker *walk, lego_block_mode mode)
{
    const lg_graph *graph = walk->graph;
    int many_inputs = mode == LEGO_BLOCK_MODE_MTO || mode == LEGO_BLOCK_MODE_MTM;
    int many_outputs = mode == LEGO_BLOCK_MODE_OTM || mode == LEGO_BLOCK_MODE_MTM;
    lego_status status = LEGO_OK;

    for (int32_t v = 0; v < graph->n_values; v++) {
        const lg_node *user = only_user(walk, v);

        /* a set that ends before an element-wise node is never better than the one that ends behind it */
        if (graph->values[v].producer != LG_NONE && !(user && is_unary(user)))
            LG_TRY(walk_back(walk, v, many_inputs ? INT32_MAX : 1));
    }
    for (int32_t v = 0; many_outputs && v < graph->n_values; v++)
        LG_TRY(walk_forward(walk, v));
    for (int32_t at = 0; many_inputs && many_outputs && at < graph->n_nodes; at++)
        if (!is_unary(&graph->nodes[walk->out->order[at]]))
            LG_TRY(walk_interval(walk, at));
done:
    return status;
}

static void dispose_walk(walker *walk)
{
    lg_uses_dispose(&walk->uses);
    lg_free(walk->flops);
    lg_free(walk->parameters);
    lg_free(walk->position);
    lg_free(walk->weight_uses);
    lg_free(walk->is_output);
    lg_free(walk->nodes);
    lg_free(walk->in_set);
    lg_free(walk->marked);
    lg_free(walk->used);
    lg_free(walk->joined);
}

static lego_status init_walk(walker *walk)
{
    const lg_graph *graph = walk->graph;
    double layer_flops = 0.0;
    int32_t n_layers = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_graph_uses(&walk->uses, graph));
    LG_TRY(LG_CALLOC(&walk->flops, graph->n_nodes));
    LG_TRY(LG_CALLOC(&walk->parameters, graph->n_nodes));
    LG_TRY(LG_CALLOC(&walk->position, graph->n_nodes));
    LG_TRY(LG_CALLOC(&walk->weight_uses, graph->n_weights));
    LG_TRY(LG_CALLOC(&walk->is_output, graph->n_values));
    LG_TRY(LG_CALLOC(&walk->nodes, graph->n_nodes));
    LG_TRY(LG_CALLOC(&walk->in_set, graph->n_nodes));
    LG_TRY(LG_CALLOC(&walk->marked, graph->n_values));
    LG_TRY(LG_CALLOC(&walk->used, graph->n_weights));
    LG_TRY(LG_CALLOC(&walk->joined, graph->n_nodes));
    LG_TRY(lg_extract_order(walk->out->order, graph, &walk->uses));
    for (int32_t at = 0; at < graph->n_nodes; at++)
        walk->position[walk->out->order[at]] = at;
    for (int32_t n = 0; n < graph->n_nodes; n++) {
        const lg_node *node = &graph->nodes[n];

        walk->flops[n] = lg_node_flops(graph, node);
        walk->parameters[n] = lg_node_parameters(graph, node);
        walk->total_flops += (double)walk->flops[n];
        if (is_layer(walk, n)) {
            layer_flops += (double)walk->flops[n];
            n_layers++;
        }
        for (int32_t w = 0; w < node->n_weights; w++)
            if (node->weights[w] != LG_NONE)
                walk->weight_uses[node->weights[w]]++;
    }
    walk->out->bonus = n_layers > 0 ? llround(LG_BLOCK_BONUS * layer_flops / n_layers) : 0;
    for (int32_t i = 0; i < graph->n_outputs; i++)
        walk->is_output[graph->outputs[i]] = 1;
done:
    return status;
}

lego_status lg_candidates_find(lg_candidates *out, const lg_graph *graph, lg_ties *ties, lego_block_mode mode,
                               const lg_block_limits *limits)
{
    walker walk = { .graph = graph, .ties = ties, .limits = limits, .out = out };
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    LG_TRY(LG_CALLOC(&out->order, graph->n_nodes));
    LG_TRY(init_walk(&walk));
    LG_TRY(walk_all(&walk, mode));
done:
    if (status != LEGO_OK)
        lg_candidates_dispose(out);
    dispose_walk(&walk);
    return status;
}
