/* The graph side of reconstruction: folding, layers, parts and runs, gradients, Fisher matrices.
 * Oracles: the unfolded graph on the exact reference engine, finite differences, the closed form of a softmax. */
#include <math.h>

#include "prune/reconstruct_fisher.h"
#include "support/context.h"
#include "support/eval.h"
#include "support/exact.h"
#include "support/couplings.h"
#include "support/op_cases.h"
#include "support/volumes.h"

static int64_t input_elements(const lg_graph *graph)
{
    return lg_value_elements(&graph->values[graph->inputs[0]]);
}

static int64_t output_elements(const lg_graph *graph)
{
    return lg_value_elements(&graph->values[graph->outputs[0]]);
}

static double largest(const float *values, int64_t n)
{
    double most = 0.0;

    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs(values[i]));
    return most;
}

/* ---------------------------------------------------------------- folding */

static void test_fold__random_graphs_compute_the_same(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        lg_graph *graph = make_random_graph(seed), *folded;
        float *images = random_values(3 * input_elements(graph), seed), *want = run_exact(graph, images, 3), *got;
        const int64_t n = 3 * output_elements(graph);
        int layers = 0;

        assert_ok(lg_fold_norms(&folded, graph));
        got = run_exact(folded, images, 3);
        for (int64_t i = 0; i < n; i++)
            assert_near(got[i], want[i], 1e-5 * (1.0 + largest(want, n)), 1e-5);
        assert_string_equal(folded->values[folded->outputs[0]].name, graph->values[graph->outputs[0]].name);
        for (int32_t i = 0; i < folded->n_nodes; i++)
            if (lg_op_is_compressible(folded->nodes[i].op)) {
                layers++;
                assert_non_null(lg_node_weight(folded, &folded->nodes[i], 1)); /* every layer has a bias */
            }
        assert_true(layers > 0);
        lg_free(images);
        lg_free(want);
        lg_free(got);
        lg_graph_free(graph);
        lg_graph_free(folded);
    }
}

static void test_fold__takes_norms_into_transposed_convolutions(void **state)
{
    (void)state;
    for (int64_t groups = 1; groups <= 2; groups++) {
        lg_graph *folded;
        float *images, *want, *got;
        maker m;

        maker_start(&m, 5);
        (void)maker_finish(&m, make_bn(&m, make_conv_transpose(&m, make_input(&m, 4, 5, 3), 3, groups)));
        assert_ok(lg_fold_norms(&folded, m.graph));
        assert_int_equal(folded->n_nodes, 1);
        images = random_values(2 * input_elements(m.graph), 3);
        want = run_exact(m.graph, images, 2);
        got = run_exact(folded, images, 2);
        for (int64_t i = 0; i < 2 * output_elements(m.graph); i++)
            assert_near(got[i], want[i], 1e-5, 1e-5);
        lg_free(images);
        lg_free(want);
        lg_free(got);
        lg_graph_free(folded);
        lg_graph_free(m.graph);
    }
}

static void test_fold__leaves_no_norm_behind_a_layer(void **state)
{
    lg_graph *folded;
    maker m;
    int32_t x;

    (void)state;
    maker_start(&m, 1);
    x = make_bn(&m, make_conv(&m, make_input(&m, 3, 5, 5), 4, 3, 1, 1, 0));
    x = make_bn(&m, make_unary(&m, x, "relu", NULL)); /* this one has no layer before it */
    (void)maker_finish(&m, x);
    assert_ok(lg_fold_norms(&folded, m.graph));
    assert_int_equal(folded->n_nodes, 3);
    lg_graph_free(folded);
    assert_survives_oom(lg_fold_norms(&folded, m.graph), lg_graph_free(folded));
    lg_graph_free(m.graph);
}

static void test_fold__refuses_other_types_than_float(void **state)
{
    const lg_shape shape = { 4, { 2, 3, 1, 1 } };
    lg_graph *folded;
    maker m;

    (void)state;
    maker_start(&m, 1);
    (void)maker_finish(&m, make_conv(&m, make_input(&m, 3, 5, 5), 2, 1, 1, 1, 0));
    lg_tensor_dispose(&m.graph->weights[0].tensor);
    assert_ok(lg_tensor_init(&m.graph->weights[0].tensor, LEGO_DTYPE_BF16, &shape));
    assert_fails(LEGO_EUNSUPPORTED, lg_fold_norms(&folded, m.graph));
    assert_says("BF16");
    lg_graph_free(m.graph);
}

/* ---------------------------------------------------------------- layers */

/* conv -> bn -> relu -> conv -> bn, + shortcut -> relu6: what joins, what activates. */
static void test_layers__know_what_joins_and_what_activates(void **state)
{
    const lg_attrs relu6 = { .clip = { 0.0, 6.0 } };
    lg_channels *channels;
    lg_graph *folded;
    lg_layers layers;
    maker m;
    int32_t x, y;

    (void)state;
    maker_start(&m, 2);
    x = make_input(&m, 4, 6, 6);
    y = make_unary(&m, make_bn(&m, make_conv(&m, x, 5, 3, 1, 1, 0)), "relu", NULL);
    y = make_unary(&m, make_conv(&m, y, 5, 3, 1, 5, 1), "relu", NULL); /* depthwise */
    y = make_unary(&m, make_bn(&m, make_conv(&m, y, 4, 1, 1, 1, 0)), "dropout", NULL);
    (void)maker_finish(&m, make_unary(&m, make_add(&m, y, x), "clip", &relu6));
    assert_ok(lg_fold_norms(&folded, m.graph));
    assert_ok(lg_channels_analyze(&channels, folded, 1));
    assert_ok(lg_layers_create(&layers, folded, channels));
    assert_int_equal(layers.n, 3);
    assert_int_equal(layers.layers[0].joined, layers.layers[0].output);
    assert_true(layers.layers[0].activates && isinf(layers.layers[0].flat.high));
    assert_false(lg_layer_carries(&layers.layers[0]));
    assert_true(lg_layer_carries(&layers.layers[1]));
    assert_int_equal(layers.layers[1].in_unit[3], layers.layers[1].out_unit[3]);
    assert_int_not_equal(layers.layers[2].joined, layers.layers[2].output);
    assert_true(layers.layers[2].activates);
    assert_near(layers.layers[2].flat.high, 6.0, 0.0, 0.0);
    lg_layers_dispose(&layers);
    lg_channels_free(channels);
    lg_graph_free(folded);
    lg_graph_free(m.graph);
}

static void test_layers__weights_go_out_and_come_back(void **state)
{
    lg_channels *channels;
    lg_layers layers;
    lg_graph *graph, *other;
    maker m;

    (void)state;
    maker_start(&m, 3);
    graph = maker_finish(&m, make_conv(&m, make_conv(&m, make_input(&m, 4, 5, 5), 6, 1, 1, 1, 1), 8, 3, 1, 2, 1));
    assert_ok(lg_channels_analyze(&channels, graph, 1));
    assert_ok(lg_layers_create(&layers, graph, channels));
    assert_ok(lg_graph_clone(&other, graph));
    {
        const lg_layer *layer = &layers.layers[1];
        uint8_t alive[64];
        int32_t kept[3];
        double w[3 * 9 * 4], bias[4] = { 1.0, 2.0, 3.0, 4.0 };
        const float *before, *after;
        lg_slice slice;

        memset(alive, 1, sizeof(alive));
        alive[layer->in_unit[4]] = 0; /* the second channel of group 1 */
        assert_true(lg_layer_slice(&slice, kept, layer, 1, alive));
        assert_int_equal(slice.n_channels, 2);
        assert_int_equal(slice.channels[1], 5);
        assert_int_equal(slice.first_output, 4);
        lg_layer_read_weights(w, graph, layer, &slice);
        assert_ok(lg_layer_own_weights(other, layer));
        lg_layer_write_weights(other, layer, 1, &slice, w, bias);
        before = lg_tensor_data(lg_node_weight(graph, &graph->nodes[layer->node], 0));
        after = lg_tensor_data(lg_node_weight(other, &other->nodes[layer->node], 0));
        for (int64_t k = 0; k < 8; k++)
            for (int64_t c = 0; c < 3; c++)
                for (int64_t p = 0; p < 9; p++) {
                    const int64_t at = (k * 3 + c) * 9 + p;

                    assert_near(after[at], k >= 4 && c == 1 ? 0.0 : before[at], 0.0, 0.0);
                }
        after = lg_tensor_data(lg_node_weight(other, &other->nodes[layer->node], 1));
        assert_near(after[6], 3.0, 0.0, 0.0);
        for (int64_t k = 4; k < 8; k++) /* no output of the group is left: nothing to solve */
            alive[layer->out_unit[k]] = 0;
        assert_false(lg_layer_slice(&slice, kept, layer, 1, alive));
    }
    lg_layers_dispose(&layers);
    lg_channels_free(channels);
    lg_graph_free(graph);
    lg_graph_free(other);
}

/* A layer of this op with random window, groups and padding. */
static int32_t make_any_layer(maker *m, const lg_op *op, int32_t x)
{
    const int64_t groups = pick(m, 0, 1) ? 2 : 1, c = extent_of(m, x, 1), k = 2 * pick(m, 1, 3);
    const int is_transposed = op->kind == LG_OP_CONV_TRANSPOSE;
    int64_t dims[2 + LG_MAX_AXES] = { is_transposed ? c : k, (is_transposed ? k : c) / groups };
    lg_attrs attrs = op->defaults;
    int32_t y, weights[2];

    for (int i = 0; i < op->n_axes; i++) {
        dims[2 + i] = pick(m, 1, 3);
        if (is_transposed) {
            attrs.conv_transpose.stride[i] = pick(m, 1, 3);
            attrs.conv_transpose.dilation[i] = pick(m, 1, 2);
            attrs.conv_transpose.output_padding[i] = attrs.conv_transpose.stride[i] > 1 ? pick(m, 0, 1) : 0;
        } else {
            attrs.conv.stride[i] = pick(m, 1, 3);
            attrs.conv.dilation[i] = pick(m, 1, 2);
        }
        for (int end = 0; end < 2; end++)
            (is_transposed ? attrs.conv_transpose.pads : attrs.conv.pads)[end * op->n_axes + i] = pick(m, 0, 1);
    }
    *(is_transposed ? &attrs.conv_transpose.groups : &attrs.conv.groups) = groups;
    weights[0] = make_weight(m, "layer", "weight", 2 + op->n_axes, dims, 0);
    weights[1] = make_weight(m, "layer", "bias", 1, &k, 0);
    assert_ok(lg_graph_add_node(&y, m->graph, op->name, "layer", &attrs, 1, &x, 2, weights));
    return y;
}

/* Rows times weights plus bias: the outputs, of every kind of layer. */
static void check_rows(const lg_graph *graph, uint64_t seed)
{
    enum { IMAGES = 2 };
    const int64_t n = IMAGES * input_elements(graph);
    float *images = random_values(n, seed), *x;
    double *inputs = lg_calloc((size_t)n, sizeof(double)), *w;
    int32_t *kept;
    eval_value *values;
    lg_channels *channels;
    lg_layers layers;
    lg_sample sample;
    lg_rows rows;
    uint8_t alive[4096];

    for (int64_t i = 0; i < n; i++)
        inputs[i] = images[i];
    values = eval_graph_of(graph, (const double *const *)&inputs, IMAGES);
    assert_ok(lg_channels_analyze(&channels, graph, 1));
    assert_ok(lg_layers_create(&layers, graph, channels));
    assert_int_equal(layers.n, 1);
    memset(alive, 1, sizeof(alive));
    {
        const lg_layer *layer = &layers.layers[0];
        const int64_t positions = lg_window_positions(&layer->window), m = layer->n_outputs;
        const float *bias = lg_tensor_data(lg_node_weight(graph, &graph->nodes[layer->node], 1));
        const double *want = values[layer->output].data;
        const int64_t columns = layer->window.channels / layer->groups * lg_window_area(&layer->window);

        assert_int_equal(IMAGES * positions * m, eval_count(&values[layer->output].shape));
        assert_ok(lg_sample_init(&sample, &layer->window, m, IMAGES, 1, seed));
        assert_ok(lg_rows_init(&rows, &sample, 1));
        rows.inputs[0] = images;
        assert_non_null(kept = lg_calloc((size_t)layer->window.channels, sizeof(*kept)));
        assert_non_null(x = lg_calloc((size_t)columns, sizeof(*x)));
        assert_non_null(w = lg_calloc((size_t)(columns * m), sizeof(*w)));
        for (int32_t g = 0; g < layer->groups; g++) {
            lg_slice slice;

            assert_true(lg_layer_slice(&slice, kept, layer, g, alive));
            lg_layer_read_weights(w, graph, layer, &slice);
            for (int64_t r = 0; r < sample.n_rows; r++) {
                lg_rows_read(x, &rows, 0, r, 1, &slice);
                for (int64_t k = 0; k < slice.n_outputs; k++) {
                    const int64_t output = slice.first_output + k;
                    double got = bias[output];

                    for (int64_t i = 0; i < columns; i++)
                        got += (double)x[i] * w[i * slice.n_outputs + k];
                    assert_near(got,
                                layer->window.channels_last
                                    ? want[(sample.image[r] * positions + sample.position[r]) * m + output]
                                    : want[(sample.image[r] * m + output) * positions + sample.position[r]],
                                1e-9, 1e-9);
                }
            }
        }
        lg_free(kept);
        lg_free(x);
        lg_free(w);
    }
    rows.inputs[0] = NULL;
    lg_rows_dispose(&rows);
    lg_sample_dispose(&sample);
    lg_layers_dispose(&layers);
    lg_channels_free(channels);
    eval_free(values, graph);
    lg_free(images);
    lg_free(inputs);
}

static void test_layers__rows_times_weights_are_the_outputs(void **state)
{
    static const char *const ops[] = { "conv2d", "conv3d", "conv_transpose2d", "conv_transpose3d", "linear" };

    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        const lg_op *op = lg_op_find(ops[seed % 5]);
        lg_shape shape = { 1 + op->n_axes, { 2 * (int64_t)(1 + seed % 3), 5, 4, 6 } };
        int32_t x, weights[2], y;
        maker m;

        maker_start(&m, seed);
        if (op->kind == LG_OP_LINEAR)
            shape = (lg_shape){ 3, { 3, 2, 4 } };
        assert_ok(lg_graph_add_input(&x, m.graph, "input", LEGO_DTYPE_F32, &shape));
        if (op->kind == LG_OP_LINEAR) {
            weights[0] = make_weight(&m, "layer", "weight", 2, (int64_t[]){ 5, 4 }, 0);
            weights[1] = make_weight(&m, "layer", "bias", 1, (int64_t[]){ 5 }, 0);
            assert_ok(lg_graph_add_node(&y, m.graph, "linear", "layer", NULL, 1, &x, 2, weights));
        } else {
            y = make_any_layer(&m, op, x);
        }
        check_rows(maker_finish(&m, y), seed);
        lg_graph_free(m.graph);
    }
}

/* ---------------------------------------------------------------- parts and runs */

typedef struct collected {
    float *values;
    int64_t elements, n;
} collected;

static lego_status collect(void *payload, float *const *outputs, int64_t first, int64_t count)
{
    collected *c = payload;

    memcpy(c->values + first * c->elements, outputs[0], sizeof(float) * (size_t)(count * c->elements));
    c->n += count;
    return LEGO_OK;
}

/* Any value of a random graph, as the output of the part that makes it, is what the whole graph makes of it. */
static void test_run__parts_give_the_values_of_the_whole(void **state)
{
    const int64_t n_images = 70; /* two full chunks and a shorter one */

    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        lg_graph *graph = make_random_graph(seed), *part, *whole;
        float *images = random_values(n_images * input_elements(graph), seed), *want;
        const float *input = images;
        const int32_t value = graph->nodes[seed % (uint64_t)graph->n_nodes].outputs[0];
        int32_t used[1];
        collected got = { NULL, lg_value_elements(&graph->values[value]), 0 };
        lg_runner *runner;

        assert_ok(lg_graph_part(&part, used, graph, &value, 1));
        assert_int_equal(part->n_inputs, 1);
        assert_ok(lg_graph_clone(&whole, graph));
        whole->n_outputs = 0;
        assert_ok(lg_graph_add_output(whole, value));
        want = run_exact(whole, images, n_images);
        got.values = lg_calloc((size_t)(n_images * got.elements), sizeof(float));
        assert_ok(lg_runner_create(&runner, context, part, n_images));
        assert_ok(lg_runner_run(runner, &input, n_images, collect, &got));
        assert_int_equal(got.n, n_images);
        for (int64_t i = 0; i < n_images * got.elements; i++)
            assert_near(got.values[i], want[i], 1e-4 * (1.0 + largest(want, n_images * got.elements)), 0.0);
        lg_runner_free(runner);
        lg_free(got.values);
        lg_free(images);
        lg_free(want);
        lg_graph_free(part);
        lg_graph_free(whole);
        lg_graph_free(graph);
    }
}

/* ---------------------------------------------------------------- gradients */

static double weighted_output(const lg_graph *graph, const float *images, int64_t n, const float *weights)
{
    float *out = run_exact(graph, images, n);
    double sum = 0.0;

    for (int64_t i = 0; i < n * output_elements(graph); i++)
        sum += (double)out[i] * weights[i];
    lg_free(out);
    return sum;
}

/* d/dh of <g, f(x + h v)> at 0 is <gradient, v>: along random directions, on random graphs. Kinks of ReLU and max pool
 * make single graphs inexact, so most must agree closely and none may be far off. */
static void test_gradient__is_the_directional_derivative(void **state)
{
    enum { N = 2 };
    int close = 0, total = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        lg_graph *graph = make_random_graph(seed);
        const int64_t n_in = N * input_elements(graph), n_out = N * output_elements(graph);
        float *x = random_values(n_in, seed), *v = random_values(n_in, seed + 1000);
        float *g = random_values(n_out, seed + 7);
        const double h = 1e-3;
        double got = 0.0, want = 0.0;
        lg_tape *tape;
        const float *input = x, *gradient;

        assert_ok(lg_tape_create(&tape, context, graph, N));
        assert_ok(lg_tape_forward(tape, &input));
        memcpy(lg_tape_output_gradient(tape, 0), g, sizeof(float) * (size_t)n_out);
        lg_tape_backward(tape);
        gradient = lg_tape_gradient(tape, graph->inputs[0]);
        assert_non_null(gradient);
        for (int64_t i = 0; i < n_in; i++)
            got += (double)gradient[i] * v[i];
        for (int64_t i = 0; i < n_in; i++)
            x[i] += (float)h * v[i];
        want = weighted_output(graph, x, N, g);
        for (int64_t i = 0; i < n_in; i++)
            x[i] -= 2.0f * (float)h * v[i];
        want = (want - weighted_output(graph, x, N, g)) / (2.0 * h);
        close += fabs(got - want) <= 0.02 * fabs(want) + 1e-3 * sqrt((double)n_in);
        total++;
        lg_tape_free(tape);
        lg_free(x);
        lg_free(v);
        lg_free(g);
        lg_graph_free(graph);
    }
    assert_true(close >= total * 8 / 10);
}

/* <g, f(x)> over all outputs, in double precision. */
static double exact_output(const lg_graph *graph, const double *x, int64_t batch, const float *g)
{
    eval_value *values = eval_graph_of(graph, &x, batch);
    double sum = 0.0;

    for (int32_t o = 0; o < graph->n_outputs; o++)
        for (int64_t i = 0; i < eval_count(&values[graph->outputs[o]].shape); i++)
            sum += values[graph->outputs[o]].data[i] * *g++;
    eval_free(values, graph);
    return sum;
}

/* Along a few random directions, against central differences of the evaluator: far enough from kinks for nearly all x. */
static void check_gradient(const lg_graph *graph, uint64_t seed, double tolerance, const char *what)
{
    enum { N = 2 };
    const int64_t n_in = N * input_elements(graph);
    int64_t n_out = 0, at = 0;
    float *x = random_values(n_in, seed), *v, *g;
    double *moved = lg_calloc((size_t)n_in, sizeof(double));
    const float *input = x, *gradient;
    lg_tape *tape;

    for (int32_t o = 0; o < graph->n_outputs; o++)
        n_out += N * lg_value_elements(&graph->values[graph->outputs[o]]);
    g = random_values(n_out, seed + 7);
    assert_ok(lg_tape_create(&tape, context, graph, N));
    assert_ok(lg_tape_forward(tape, &input));
    for (int32_t o = 0; o < graph->n_outputs; o++) {
        const int64_t n = N * lg_value_elements(&graph->values[graph->outputs[o]]);

        for (int64_t i = 0; i < n; i++)
            lg_tape_output_gradient(tape, o)[i] += g[at + i];
        at += n;
    }
    lg_tape_backward(tape);
    gradient = lg_tape_gradient(tape, graph->inputs[0]);
    for (uint64_t direction = 0; direction < 3; direction++) {
        const double h = 1e-6;
        double got = 0.0, want, size = 0.0;

        v = random_values(n_in, seed + 1000 * (direction + 1));
        for (int64_t i = 0; i < n_in; i++) {
            got += gradient ? (double)gradient[i] * v[i] : 0.0;
            size += gradient ? fabs((double)gradient[i] * v[i]) : 0.0;
            moved[i] = x[i] + h * v[i];
        }
        want = exact_output(graph, moved, N, g);
        for (int64_t i = 0; i < n_in; i++)
            moved[i] = x[i] - h * v[i];
        want = (want - exact_output(graph, moved, N, g)) / (2.0 * h);
        if (!(fabs(got - want) <= tolerance * (size + fabs(want)) + 1e-6))
            fail_msg("%s: the derivative is %.9g, the tape says %.9g", what, want, got);
        lg_free(v);
    }
    lg_tape_free(tape);
    lg_free(x);
    lg_free(g);
    lg_free(moved);
}

static void test_gradient__of_every_op(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_OP_CASES; i++) {
        lg_graph *graph = make_op_case(i);

        check_gradient(graph, i, 1e-4, op_cases[i].name);
        lg_graph_free(graph);
    }
}

static void test_gradient__of_random_graphs(void **state)
{
    char what[64];

    (void)state;
    for (uint64_t seed = 0; seed < 45; seed++) {
        lg_graph *graph = seed % 3 == 0   ? make_wide_graph(seed)
                          : seed % 3 == 1 ? make_coupled_graph(seed)
                                          : make_volume_graph(seed);

        snprintf(what, sizeof(what), "seed %llu", (unsigned long long)seed);
        check_gradient(graph, seed, 1e-2, what); /* floats through many layers */
        lg_graph_free(graph);
    }
}

/* Weight and bias of a batch norm may be left out. */
static void test_gradient__of_a_bare_batch_norm(void **state)
{
    enum { C = 3, SIDE = 4 };
    int32_t x, y, weights[4] = { LG_NONE, LG_NONE, LG_NONE, LG_NONE };
    const float *input, *gradient, *variance;
    float *images;
    lg_tape *tape;
    maker m;

    (void)state;
    maker_start(&m, 1);
    x = make_input(&m, C, SIDE, SIDE);
    weights[2] = make_weight(&m, "bare", "running_mean", 1, (int64_t[]){ C }, 0);
    weights[3] = make_weight(&m, "bare", "running_var", 1, (int64_t[]){ C }, 1);
    assert_ok(lg_graph_add_node(&y, m.graph, "batch_norm", "bare", NULL, 1, &x, 4, weights));
    (void)maker_finish(&m, y);
    images = random_values(input_elements(m.graph), 1);
    input = images;
    assert_ok(lg_tape_create(&tape, context, m.graph, 1));
    assert_ok(lg_tape_forward(tape, &input));
    for (int i = 0; i < C * SIDE * SIDE; i++)
        lg_tape_output_gradient(tape, 0)[i] = 1.0f + (float)i;
    lg_tape_backward(tape);
    gradient = lg_tape_gradient(tape, m.graph->inputs[0]);
    variance = lg_tensor_data(lg_node_weight(m.graph, &m.graph->nodes[0], 3));
    for (int i = 0; i < C * SIDE * SIDE; i++)
        assert_near(gradient[i], (1.0 + i) / sqrt(variance[i / (SIDE * SIDE)] + m.graph->nodes[0].attrs->batch_norm.eps),
                    1e-6, 1e-6);
    lg_tape_free(tape);
    lg_free(images);
    lg_graph_free(m.graph);
}

static void test_gradient__names_the_op_that_has_none(void **state)
{
    const lg_value outputs[1] = { { (char *)"b0", LEGO_DTYPE_F32, { 4, { LG_BATCH, 3, 5, 5 } }, LG_NONE } };
    lg_tape *tape;
    maker m;
    int32_t x, y;

    (void)state;
    maker_start(&m, 1);
    x = make_input(&m, 3, 5, 5);
    assert_ok(lg_graph_add_block(&y, m.graph, "b0", 0, 1, &x, 1, outputs));
    (void)maker_finish(&m, y);
    assert_fails(LEGO_EUNSUPPORTED, lg_tape_create(&tape, context, m.graph, 1));
    assert_says("b0");
    lg_graph_free(m.graph);
}

/* ---------------------------------------------------------------- Fisher */

/* Of the logits themselves it is the mean of diag(p) - p p^T. */
static void test_fisher__of_logits_is_the_softmax_covariance(void **state)
{
    enum { N = 4096, K = 4, C = 3 };
    float *images = random_values((int64_t)N * C, 3), *logits;
    double want[K * K] = { 0 };
    const double *got;
    lg_fisher fisher;
    maker m;

    (void)state;
    maker_start(&m, 5);
    (void)maker_finish(&m, make_linear(&m, make_unary(&m, make_input(&m, C, 1, 1), "flatten", NULL), K));
    logits = run_exact(m.graph, images, N);
    for (int64_t i = 0; i < N; i++) {
        double p[K], sum = 0.0;

        for (int64_t k = 0; k < K; k++)
            sum += p[k] = exp(logits[i * K + k]);
        for (int64_t a = 0; a < K * K; a++)
            want[a] += ((a / K == a % K) * p[a / K] / sum - p[a / K] * p[a % K] / (sum * sum)) / N;
    }
    assert_ok(lg_fisher_create(&fisher, context, m.graph, images, N, 1));
    got = lg_fisher_find(&fisher, m.graph->values[m.graph->outputs[0]].name, K);
    assert_non_null(got);
    for (int64_t a = 0; a < K * K; a++)
        assert_near(got[a], want[a], 0.01, 0.05);
    assert_null(lg_fisher_find(&fisher, "nobody", K));
    lg_fisher_dispose(&fisher);
    lg_free(images);
    lg_free(logits);
    lg_graph_free(m.graph);
}

static void test_fisher__survives_lack_of_memory(void **state)
{
    float *images;
    lg_graph *graph;
    lg_fisher fisher;
    maker m;

    (void)state;
    maker_start(&m, 5);
    graph = maker_finish(&m, make_linear(&m, make_unary(&m, make_input(&m, 3, 1, 1), "flatten", NULL), 4));
    images = random_values(16 * input_elements(graph), 3);
    assert_survives_oom(lg_fisher_create(&fisher, context, graph, images, 16, 1), lg_fisher_dispose(&fisher));
    lg_free(images);
    lg_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fold__random_graphs_compute_the_same),
        cmocka_unit_test(test_fold__takes_norms_into_transposed_convolutions),
        cmocka_unit_test(test_fold__leaves_no_norm_behind_a_layer),
        cmocka_unit_test(test_fold__refuses_other_types_than_float),
        cmocka_unit_test(test_layers__know_what_joins_and_what_activates),
        cmocka_unit_test(test_layers__weights_go_out_and_come_back),
        cmocka_unit_test(test_layers__rows_times_weights_are_the_outputs),
        cmocka_unit_test(test_run__parts_give_the_values_of_the_whole),
        cmocka_unit_test(test_gradient__is_the_directional_derivative),
        cmocka_unit_test(test_gradient__of_every_op),
        cmocka_unit_test(test_gradient__of_random_graphs),
        cmocka_unit_test(test_gradient__of_a_bare_batch_norm),
        cmocka_unit_test(test_gradient__names_the_op_that_has_none),
        cmocka_unit_test(test_fisher__of_logits_is_the_softmax_covariance),
        cmocka_unit_test(test_fisher__survives_lack_of_memory),
    };

    return cmocka_run_group_tests(tests, make_context, free_context);
}
