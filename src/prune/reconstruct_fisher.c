/* Fisher matrices of a model's inner values.
 *
 * Flow: once a model, on the original, before any block is touched; a block's layers then weigh errors of their outputs
 * with them (the roots of lg_problem). On the demo it moves all-0.8 by nine points (PERFORMANCE.md section 5).
 *
 * Newcomers: labels are drawn from the model's own softmax, not taken from the data: that makes it the curvature of the
 * divergence from the original's outputs, and no labels are needed. Outputs that are no logits (N,K) are taken as means
 * of Gaussians of equal variance, whose gradient is a standard normal draw. */
#include "prune/reconstruct_fisher.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/blas.h"
#include "base/rng.h"
#include "graph/ops.h"

#define MOST_IMAGES 16 /* at once */

/* gradient (n,k) of -log softmax(logits)[label], label drawn from the softmax itself */
static void logits_gradient(float *gradient, const float *logits, int64_t n, int64_t k, lg_rng *rng)
{
    for (int64_t i = 0; i < n; i++, gradient += k, logits += k) {
        double highest = logits[0], sum = 0.0, draw = lg_rng_uniform(rng);
        int64_t label = -1;

        for (int64_t j = 1; j < k; j++)
            highest = logits[j] > highest ? logits[j] : highest;
        for (int64_t j = 0; j < k; j++)
            sum += exp(logits[j] - highest);
        for (int64_t j = 0; j < k; j++) {
            const double p = exp(logits[j] - highest) / sum;

            gradient[j] = (float)p;
            draw -= p;
            if (label < 0 && draw < 0.0)
                label = j;
        }
        gradient[label < 0 ? k - 1 : label] -= 1.0f;
    }
}

static void normal_gradient(float *gradient, int64_t n, lg_rng *rng)
{
    for (int64_t i = 0; i < n; i++)
        gradient[i] = (float)lg_rng_normal(rng);
}

/* product += g g^T over the images and positions of a chunk; g (N,m,positions), or (rows,m) if channels come last. */
static void add_outer(double *matrix, float *product, const float *g, int64_t n_images, int64_t m, int64_t positions,
                      int last)
{
    if (last) {
        lg_sgemm(1, 0, m, m, n_images * positions, 1.0f, g, m, g, m, 0.0f, product, m);
    } else {
        for (int64_t i = 0; i < n_images; i++)
            lg_sgemm(0, 1, m, m, positions, 1.0f, g + i * m * positions, positions, g + i * m * positions, positions,
                     i > 0 ? 1.0f : 0.0f, product, m);
    }
    for (int64_t i = 0; i < m * m; i++)
        matrix[i] += product[i];
}

typedef struct fisher_run {
    const lg_graph *graph;
    lg_fisher *fisher;
    int32_t *values; /* [fisher->n] */
    int32_t *axes;   /* by value of the graph: where its channels lie */
    int32_t batch;
    float *product;  /* (m,m) of the largest m */
} fisher_run;

/* The axis of a layer's channels, and of a sum's as that of what it adds up: `axes`, by value, is -1 where nobody knows. */
static int axis_of(const int32_t *axes, const lg_graph *graph, const lg_node *node)
{
    const int n_dims = graph->values[node->outputs[0]].shape.n_dims;

    if (lg_op_is_compressible(node->op))
        return lg_layer_channel_axis(graph, node, node->outputs[0]);
    for (int32_t i = 0; i < node->n_inputs; i++)
        if (axes[node->inputs[i]] >= 0 && graph->values[node->inputs[i]].shape.n_dims == n_dims)
            return axes[node->inputs[i]];
    return n_dims < 4 ? n_dims - 1 : 1;
}

static lego_status list_values(fisher_run *run)
{
    const lg_graph *graph = run->graph;
    lg_fisher *fisher = run->fisher;
    int64_t largest = 0;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&fisher->names, graph->n_nodes));
    LG_TRY(LG_CALLOC(&fisher->sizes, graph->n_nodes));
    LG_TRY(LG_CALLOC(&fisher->matrices, graph->n_nodes));
    LG_TRY(LG_CALLOC(&run->values, graph->n_nodes));
    LG_TRY(LG_CALLOC(&run->axes, graph->n_values));
    for (int32_t v = 0; v < graph->n_values; v++)
        run->axes[v] = -1;
    for (int32_t i = 0; i < graph->n_nodes; i++) {
        const lg_node *node = &graph->nodes[i];
        const lg_value *value = &graph->values[node->outputs[0]];

        if (!lg_op_is_compressible(node->op) && node->op->kind != LG_OP_ADD)
            continue;
        run->axes[node->outputs[0]] = axis_of(run->axes, graph, node);
        fisher->n++;
        run->values[fisher->n - 1] = node->outputs[0];
        fisher->sizes[fisher->n - 1] = value->shape.dims[run->axes[node->outputs[0]]];
        if (fisher->sizes[fisher->n - 1] > largest)
            largest = fisher->sizes[fisher->n - 1];
        LG_TRY(LG_STRDUP(&fisher->names[fisher->n - 1], value->name));
        LG_TRY(LG_CALLOC(&fisher->matrices[fisher->n - 1],
                         fisher->sizes[fisher->n - 1] * fisher->sizes[fisher->n - 1]));
    }
    LG_TRY(LG_CALLOC(&run->product, largest * largest));
done:
    return status;
}

static void add_gradients(fisher_run *run, const lg_tape *tape)
{
    for (int32_t i = 0; i < run->fisher->n; i++) {
        const lg_value *value = &run->graph->values[run->values[i]];
        const int64_t m = run->fisher->sizes[i];
        const float *g = lg_tape_gradient(tape, run->values[i]);

        if (g)
            add_outer(run->fisher->matrices[i], run->product, g, run->batch, m, lg_value_elements(value) / m,
                      run->axes[run->values[i]] != 1 || value->shape.n_dims == 2);
    }
}

static void draw_gradients(lg_tape *tape, const lg_graph *graph, int32_t batch, lg_rng *rng)
{
    for (int32_t i = 0; i < graph->n_outputs; i++) {
        const lg_value *value = &graph->values[graph->outputs[i]];

        if (value->shape.n_dims == 2)
            logits_gradient(lg_tape_output_gradient(tape, i), lg_tape_output(tape, i), batch, value->shape.dims[1],
                            rng);
        else
            normal_gradient(lg_tape_output_gradient(tape, i), batch * lg_value_elements(value), rng);
    }
}

lego_status lg_fisher_create(lg_fisher *out, lego_context *context, const lg_graph *graph, const float *images,
                             int64_t n_images, uint64_t seed)
{
    const int64_t elements = lg_value_elements(&graph->values[graph->inputs[0]]);
    const int32_t batch = lg_tape_batch(graph, n_images < MOST_IMAGES ? (int32_t)n_images : MOST_IMAGES);
    const int64_t n_used = n_images / batch * batch;
    fisher_run run = { graph, out, NULL, NULL, batch, NULL };
    lg_tape *tape = NULL;
    lg_rng rng;
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    lg_rng_init(&rng, seed, 0);
    LG_TRY(lg_tape_create(&tape, context, graph, batch));
    LG_TRY(list_values(&run));
    for (int64_t first = 0; first < n_used; first += batch) {
        const float *input = images + first * elements;

        LG_TRY(lg_tape_forward(tape, &input));
        draw_gradients(tape, graph, batch, &rng);
        lg_tape_backward(tape);
        add_gradients(&run, tape);
        LG_TRY(lg_progress(context, "sensitivity", (size_t)(first + batch), (size_t)n_used));
    }
    for (int32_t i = 0; i < out->n; i++) {
        const int64_t m = out->sizes[i], rows = n_used * lg_value_elements(&graph->values[run.values[i]]) / m;

        for (int64_t j = 0; j < m * m; j++)
            out->matrices[i][j] /= (double)rows;
    }
done:
    lg_tape_free(tape);
    lg_free(run.values);
    lg_free(run.axes);
    lg_free(run.product);
    if (status != LEGO_OK)
        lg_fisher_dispose(out);
    return status;
}

void lg_fisher_dispose(lg_fisher *fisher)
{
    for (int32_t i = 0; i < fisher->n; i++) {
        if (fisher->names)
            lg_free(fisher->names[i]);
        if (fisher->matrices)
            lg_free(fisher->matrices[i]);
    }
    lg_free(fisher->names);
    lg_free(fisher->sizes);
    lg_free(fisher->matrices);
    memset(fisher, 0, sizeof(*fisher));
}

const double *lg_fisher_find(const lg_fisher *fisher, const char *name, int64_t m)
{
    for (int32_t i = 0; i < fisher->n; i++)
        if (fisher->sizes[i] == m && strcmp(fisher->names[i], name) == 0)
            return fisher->matrices[i];
    return NULL;
}
