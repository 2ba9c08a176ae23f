/* Batch norm folded into the layers before it.
 *
 * Flow: reconstruct_block.c folds a block's original once; all that follows, the variants included, is made of the
 * folded graph. At inference y = scale * (W x + b) + shift is again a layer, W' = scale W, b' = scale b + shift, and a
 * re-fit can only be of W' and b'.
 *
 * Newcomers: every layer leaves with a bias, because a re-fit needs one. A batch norm that does not follow a layer (a
 * pre-activation network's) stays a node; it is a per-channel affine map and carries units like an activation does. */
#include <math.h>

#include "base/alloc.h"
#include "graph/ops.h"
#include "prune/reconstruct_graph.h"

typedef struct folding {
    const lg_graph *from;
    lg_graph *to;
    lg_uses uses;
    int32_t *users;   /* of each weight of `from`: nodes that hold it */
    int32_t *values;  /* id in `to` of each value of `from` */
    int32_t *weights; /* the same for weights; LG_NONE: not copied yet */
} folding;

/* A layer whose weights no other node uses. */
static int is_own_layer(const folding *f, const lg_node *node)
{
    return lg_op_is_compressible(node->op) && f->users[node->weights[0]] == 1 &&
           (node->weights[1] == LG_NONE || f->users[node->weights[1]] == 1);
}

/* The batch norm that can be folded into the layer `node`, or NULL. */
static const lg_node *foldable_norm(const folding *f, const lg_node *node)
{
    const int32_t output = node->outputs[0];
    const lg_node *norm = NULL;

    if (f->uses.offsets[output + 1] - f->uses.offsets[output] != 1)
        return NULL;
    for (int32_t i = 0; i < f->from->n_outputs; i++)
        if (f->from->outputs[i] == output)
            return NULL;
    norm = &f->from->nodes[f->uses.nodes[f->uses.offsets[output]]];
    /* A linear layer on (N,positions,C) has its channels last, where batch norm does not look. */
    if (norm->op->kind != LG_OP_BATCH_NORM ||
        (node->op->kind == LG_OP_LINEAR && f->from->values[output].shape.n_dims > 2))
        return NULL;
    return norm;
}

static lego_status copy_weight(int32_t *id, folding *f, int32_t weight)
{
    lego_status status = LEGO_OK;

    if (weight != LG_NONE && f->weights[weight] == LG_NONE)
        LG_TRY(lg_graph_add_weight(&f->weights[weight], f->to, f->from->weights[weight].name,
                                   &f->from->weights[weight].tensor));
    *id = weight == LG_NONE ? LG_NONE : f->weights[weight];
done:
    return status;
}

/* The node as it is, with its values' names; `norm` (may be NULL) is the batch norm whose output it takes over. */
static lego_status add_node(folding *f, const lg_node *node, const int32_t *weights, const lg_node *norm)
{
    int32_t *inputs = NULL, first = LG_NONE;
    lg_value *outputs = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&inputs, node->n_inputs));
    LG_TRY(LG_CALLOC(&outputs, node->n_outputs));
    for (int32_t i = 0; i < node->n_inputs; i++)
        inputs[i] = f->values[node->inputs[i]];
    for (int32_t i = 0; i < node->n_outputs; i++)
        outputs[i] = f->from->values[norm ? norm->outputs[i] : node->outputs[i]];
    LG_TRY(lg_graph_add_node_named(&first, f->to, node->op, node->name, node->attrs, node->n_inputs, inputs,
                                   node->n_weights, weights, node->n_outputs, outputs));
    f->to->nodes[f->to->n_nodes - 1].block = node->block;
    for (int32_t i = 0; i < node->n_outputs; i++)
        f->values[node->outputs[i]] = first + i;
    if (norm)
        f->values[norm->outputs[0]] = first;
done:
    lg_free(inputs);
    lg_free(outputs);
    return status;
}

static lego_status check_float(const lg_graph *graph, int32_t weight)
{
    if (weight != LG_NONE && graph->weights[weight].tensor.dtype != LEGO_DTYPE_F32)
        return lg_error(LEGO_EUNSUPPORTED, "weight '%s' is %s: reconstruction needs F32", graph->weights[weight].name,
                        lg_dtype_name(graph->weights[weight].tensor.dtype));
    return LEGO_OK;
}

void lg_norm_scales(double *scale, double *shift, const lg_graph *graph, const lg_node *norm)
{
    const lego_tensor *gamma = lg_node_weight(graph, norm, 0), *beta = lg_node_weight(graph, norm, 1);
    const float *mean = lg_tensor_data(lg_node_weight(graph, norm, 2));
    const float *variance = lg_tensor_data(lg_node_weight(graph, norm, 3));
    const int64_t n = lg_tensor_count(lg_node_weight(graph, norm, 2));

    for (int64_t k = 0; k < n; k++) {
        scale[k] = (gamma ? ((const float *)lg_tensor_data(gamma))[k] : 1.0) /
                   sqrt((double)variance[k] + norm->attrs->batch_norm.eps);
        shift[k] = (beta ? ((const float *)lg_tensor_data(beta))[k] : 0.0) - scale[k] * mean[k];
    }
}

/* Multiply the weights of each output channel: rows of a weight, or columns of a transposed convolution's. */
static void scale_outputs(lego_tensor *weight, const lg_node *node, const double *scale)
{
    const int is_transposed = node->op->kind == LG_OP_CONV_TRANSPOSE;
    const int64_t groups = lg_layer_groups(node), n_rows = weight->shape.dims[0], n_columns = is_transposed ? weight->shape.dims[1] : 1;
    const int64_t run = lg_tensor_count(weight) / n_rows / n_columns;
    float *w = lg_tensor_data(weight);

    for (int64_t r = 0; r < n_rows; r++)
        for (int64_t c = 0; c < n_columns; c++) {
            const double by = scale[is_transposed ? r / (n_rows / groups) * n_columns + c : r];

            for (int64_t i = 0; i < run; i++, w++)
                *w = (float)(by * *w);
        }
}

/* A layer with weights of its own: scaled weight and a bias. */
static lego_status add_layer(folding *f, const lg_node *node)
{
    const lg_node *norm = foldable_norm(f, node);
    const lego_tensor *weight = lg_node_weight(f->from, node, 0), *bias = lg_node_weight(f->from, node, 1);
    const int64_t n = lg_layer_width(f->from, node);
    const lg_shape bias_shape = lg_shape_make(1, &n);
    lego_tensor new_weight = { 0 }, new_bias = { 0 };
    double *scale = NULL, *shift = NULL;
    char *bias_name = NULL;
    int32_t ids[2];
    lego_status status = LEGO_OK;

    LG_TRY(check_float(f->from, node->weights[0]));
    LG_TRY(check_float(f->from, node->weights[1]));
    LG_TRY(LG_CALLOC(&scale, n));
    LG_TRY(LG_CALLOC(&shift, n));
    for (int64_t k = 0; k < n; k++)
        scale[k] = 1.0;
    for (int32_t i = 0; norm && i < norm->n_weights; i++)
        LG_TRY(check_float(f->from, norm->weights[i]));
    if (norm)
        lg_norm_scales(scale, shift, f->from, norm);
    LG_TRY(lg_tensor_copy(&new_weight, weight));
    LG_TRY(lg_tensor_init(&new_bias, LEGO_DTYPE_F32, &bias_shape));
    if (norm)
        scale_outputs(&new_weight, node, scale);
    for (int64_t k = 0; k < n; k++) {
        const double b = bias ? ((const float *)lg_tensor_data(bias))[k] : 0.0;

        ((float *)lg_tensor_data(&new_bias))[k] = (float)(scale[k] * b + shift[k]);
    }
    bias_name = lg_asprintf("%s.bias", node->name);
    if (!bias_name)
        LG_FAIL(LEGO_ENOMEM, "out of memory");
    LG_TRY(lg_graph_add_weight(&ids[0], f->to, f->from->weights[node->weights[0]].name, &new_weight));
    LG_TRY(lg_graph_add_weight(&ids[1], f->to, bias ? f->from->weights[node->weights[1]].name : bias_name, &new_bias));
    LG_TRY(add_node(f, node, ids, norm));
done:
    lg_tensor_dispose(&new_weight);
    lg_tensor_dispose(&new_bias);
    lg_free(scale);
    lg_free(shift);
    lg_free(bias_name);
    return status;
}

static lego_status add_other(folding *f, const lg_node *node)
{
    int32_t *weights = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&weights, node->n_weights));
    for (int32_t i = 0; i < node->n_weights; i++)
        LG_TRY(copy_weight(&weights[i], f, node->weights[i]));
    LG_TRY(add_node(f, node, weights, NULL));
done:
    lg_free(weights);
    return status;
}

static lego_status folding_begin(folding *f, const lg_graph *graph)
{
    lego_status status = LEGO_OK;

    f->from = graph;
    LG_TRY(lg_graph_create(&f->to, graph->name));
    LG_TRY(lg_graph_uses(&f->uses, graph));
    LG_TRY(LG_CALLOC(&f->users, graph->n_weights));
    LG_TRY(LG_CALLOC(&f->values, graph->n_values));
    LG_TRY(LG_CALLOC(&f->weights, graph->n_weights));
    for (int32_t w = 0; w < graph->n_weights; w++)
        f->weights[w] = LG_NONE;
    for (int32_t v = 0; v < graph->n_values; v++)
        f->values[v] = LG_NONE;
    for (int32_t i = 0; i < graph->n_nodes; i++)
        for (int32_t j = 0; j < graph->nodes[i].n_weights; j++)
            if (graph->nodes[i].weights[j] != LG_NONE)
                f->users[graph->nodes[i].weights[j]]++;
    for (int32_t i = 0; i < graph->n_inputs; i++) {
        const lg_value *value = &graph->values[graph->inputs[i]];
        const lg_shape shape = lg_shape_make(value->shape.n_dims - 1, value->shape.dims + 1);

        LG_TRY(lg_graph_add_input(&f->values[graph->inputs[i]], f->to, value->name, value->dtype, &shape));
    }
done:
    return status;
}

lego_status lg_fold_norms(lg_graph **out, const lg_graph *graph)
{
    folding f = { 0 };
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(folding_begin(&f, graph));
    for (int32_t i = 0; i < graph->n_nodes; i++) {
        const lg_node *node = &graph->nodes[i];

        if (f.values[node->outputs[0]] != LG_NONE)
            continue; /* a batch norm that the layer before has taken in */
        if (is_own_layer(&f, node))
            LG_TRY(add_layer(&f, node));
        else
            LG_TRY(add_other(&f, node));
    }
    for (int32_t i = 0; i < graph->n_outputs; i++)
        LG_TRY(lg_graph_add_output(f.to, f.values[graph->outputs[i]]));
    LG_TRY(lg_graph_validate(f.to));

    *out = f.to;
    f.to = NULL;
done:
    lg_graph_free(f.to);
    lg_uses_dispose(&f.uses);
    lg_free(f.users);
    lg_free(f.values);
    lg_free(f.weights);
    return status;
}
