/* torch/exec_torch.c: graphs on ATen against the reference engine; gradients, recipes, weights in and out. */
#include "support/eval.h"
#include "support/exact.h"
#include "support/volumes.h"

#include <math.h>

#include "legodnn/torch.h"
#include "torch/torch.h"

#define BATCH 3

static const lg_torch_api *api;

static int load(void **state)
{
    return lg_torch_open(&api, NULL, "cpu") == LEGO_OK ? 0 : -1;
}

static const lg_value *in(const lg_graph *graph)
{
    return &graph->values[graph->inputs[0]];
}

static int64_t out_count(const lg_graph *graph)
{
    return BATCH * lg_value_elements(&graph->values[graph->outputs[0]]);
}

static void assert_close(const float *got, const float *want, int64_t n, double tolerance, uint64_t seed)
{
    double largest = 1e-6;

    for (int64_t i = 0; i < n; i++)
        largest = fabs(want[i]) > largest ? fabs(want[i]) : largest;
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - want[i]) <= tolerance * largest))
            fail_msg("seed %llu: element %lld is %g, expected %g (largest %g)", (unsigned long long)seed,
                     (long long)i, got[i], want[i], largest);
}

static float *forward(lg_torch_net *net, lg_torch_mode mode, const float *x)
{
    const lg_graph *graph = lg_torch_net_graph(net);
    float *y = lg_calloc((size_t)out_count(graph), sizeof(float));
    lg_torch_tensor *tx, *ty;

    assert_ok(lg_torch_upload(&tx, api, in(graph), BATCH, x, "cpu"));
    assert_ok(lg_torch_net_forward(net, mode, &tx, &ty));
    assert_ok(LG_TORCH(api, tensor_to_host(ty, y, (size_t)out_count(graph) * sizeof(float))));
    lg_torch_free_all(api, (lg_torch_tensor *[]){ tx, ty }, 2);
    return y;
}

static void test_torch_exec__random_graphs_equal_the_reference_engine(void **state)
{
    for (uint64_t seed = 0; seed < 120; seed++) {
        lg_graph *graph = seed % 2 ? make_wide_graph(seed) : make_random_graph(seed);
        float *x = random_values(BATCH * lg_value_elements(in(graph)), seed);
        float *want = run_exact(graph, x, BATCH), *eval, *frozen, *wide;
        lg_torch_net *net;

        assert_ok(lg_torch_net_create(&net, api, graph, "cpu"));
        eval = forward(net, LG_TORCH_EVAL, x);
        frozen = forward(net, LG_TORCH_FROZEN, x);
        lg_torch_net_set_recipe(net, (lg_torch_recipe){ LEGO_DTYPE_F32, LG_TORCH_CHANNELS_LAST });
        wide = forward(net, LG_TORCH_EVAL, x);
        assert_close(eval, want, out_count(graph), 2e-4, seed);
        assert_close(frozen, want, out_count(graph), 2e-4, seed);
        assert_close(wide, want, out_count(graph), 2e-4, seed);
        lg_torch_net_free(net);
        lg_graph_free(graph);
        lg_free(x);
        lg_free(want);
        lg_free(eval);
        lg_free(frozen);
        lg_free(wide);
    }
}

/* Every op, against the definitions in double precision. */
static void test_torch_exec__graphs_of_every_op_equal_their_definitions(void **state)
{
    for (uint64_t seed = 0; seed < 120; seed++) {
        lg_graph *graph = seed % 3 ? make_wide_graph(seed / 3 * 2 + seed % 3) : make_volume_graph(seed);
        const int64_t n_in = BATCH * lg_value_elements(in(graph)), n_out = out_count(graph);
        float *x = random_values(n_in, seed), *want = lg_calloc((size_t)n_out, sizeof(float)), *got;
        double *wide = lg_calloc((size_t)n_in, sizeof(double));
        eval_value *values;
        lg_torch_net *net;

        for (int64_t i = 0; i < n_in; i++)
            wide[i] = x[i];
        values = eval_graph(graph, wide, BATCH);
        for (int64_t i = 0; i < n_out; i++)
            want[i] = (float)values[graph->outputs[0]].data[i];
        assert_ok(lg_torch_net_create(&net, api, graph, "cpu"));
        got = forward(net, LG_TORCH_EVAL, x);
        assert_close(got, want, n_out, 2e-4, seed);
        lg_free(got);
        got = forward(net, LG_TORCH_FROZEN, x);
        assert_close(got, want, n_out, 2e-4, seed);
        lg_free(got);
        lg_torch_net_set_recipe(net, (lg_torch_recipe){ LEGO_DTYPE_F32, LG_TORCH_CHANNELS_LAST });
        got = forward(net, LG_TORCH_EVAL, x);
        assert_close(got, want, n_out, 2e-4, seed);
        eval_free(values, graph);
        lg_torch_net_free(net);
        lg_graph_free(graph);
        lg_free(got);
        lg_free(want);
        lg_free(wide);
        lg_free(x);
    }
}

static double loss_and_backward(lg_torch_net *net, const float *x, int backward)
{
    const lg_graph *graph = lg_torch_net_graph(net);
    lg_torch_tensor *tx, *ty, *zeros, *loss;
    double value = 0.0;

    assert_ok(lg_torch_upload(&tx, api, in(graph), BATCH, x, "cpu"));
    assert_ok(lg_torch_net_forward(net, LG_TORCH_FROZEN, &tx, &ty));
    assert_ok(LG_TORCH(api, tensor_zeros_like(&zeros, ty)));
    assert_ok(LG_TORCH(api, distance(&loss, LG_TORCH_MSE, ty, zeros)));
    assert_ok(LG_TORCH(api, tensor_item(&value, loss)));
    if (backward)
        assert_ok(LG_TORCH(api, backward(loss)));
    lg_torch_free_all(api, (lg_torch_tensor *[]){ tx, ty, zeros, loss }, 4);
    return value;
}

/* Sum of squares of all gradients; every leaf must have one. */
static double square_of_gradients(const lg_torch_net *net)
{
    double square = 0.0;

    for (int32_t i = 0; i < lg_torch_net_n_leaves(net); i++) {
        int64_t dims[LEGO_MAX_DIMS], n = 1;
        lg_torch_tensor *grad = NULL;
        float *g;
        int n_dims;

        assert_ok(LG_TORCH(api, tensor_grad(&grad, lg_torch_net_leaves(net)[i])));
        assert_non_null(grad);
        assert_ok(LG_TORCH(api, tensor_shape(grad, &n_dims, dims)));
        for (int d = 0; d < n_dims; d++)
            n *= dims[d];
        g = lg_calloc((size_t)n, sizeof(float));
        assert_ok(LG_TORCH(api, tensor_to_host(grad, g, (size_t)n * sizeof(float))));
        for (int64_t k = 0; k < n; k++)
            square += (double)g[k] * g[k];
        lg_free(g);
        api->tensor_free(grad);
    }
    return square;
}

/* What a step against the gradient lowers the loss by, as a share of what the gradient promises to first order. */
static double share_of_promise(const lg_graph *graph, const float *x, double length)
{
    double before, after, square, h;
    lg_torch_net *net;
    double *decay;

    assert_ok(lg_torch_net_create(&net, api, graph, "cpu"));
    decay = lg_calloc((size_t)lg_torch_net_n_leaves(net), sizeof(double));
    before = loss_and_backward(net, x, 1);
    square = square_of_gradients(net);
    h = length * before / square;
    assert_ok(LG_TORCH(api, sgd_step(lg_torch_net_n_leaves(net), lg_torch_net_leaves(net),
                                     lg_torch_net_leaves(net), decay, h, 0.0, 0)));
    after = loss_and_backward(net, x, 0);
    lg_torch_net_free(net);
    lg_free(decay);
    return (before - after) / (h * square);
}

/* A step of length h against the gradient lowers the loss by h |g|^2 to first order, through folded batch norm too. Where the
 * loss is curved, as behind a softmax of large numbers, only a short step does. */
static void test_torch_exec__gradients_lower_the_loss_as_they_promise(void **state)
{
    for (uint64_t seed = 100; seed < 116; seed++) {
        lg_graph *graph = seed >= 112 ? make_volume_graph(seed) : seed % 2 ? make_wide_graph(seed) : make_random_graph(seed);
        float *x = random_values(BATCH * lg_value_elements(in(graph)), seed);
        double share = share_of_promise(graph, x, 2e-3);

        if (!(fabs(share - 1.0) <= 0.05))
            share = share_of_promise(graph, x, 5e-5);
        assert_near(share, 1.0, 0.05, 0.0);
        lg_graph_free(graph);
        lg_free(x);
    }
}

static void test_torch_exec__bf16_is_near_float32(void **state)
{
    lg_graph *graph = make_random_graph(7);
    float *x = random_values(BATCH * lg_value_elements(in(graph)), 7), *want = run_exact(graph, x, BATCH), *got;
    lg_torch_net *net;

    assert_ok(lg_torch_net_create(&net, api, graph, "cpu"));
    lg_torch_net_set_recipe(net, (lg_torch_recipe){ LEGO_DTYPE_BF16, LG_TORCH_CHANNELS_LAST });
    got = forward(net, LG_TORCH_EVAL, x);
    assert_close(got, want, out_count(graph), 0.1, 7);
    lg_torch_net_free(net);
    lg_graph_free(graph);
    lg_free(x);
    lg_free(want);
    lg_free(got);
}

static void test_torch_exec__weights_go_in_and_come_back(void **state)
{
    lg_graph *graph = make_random_graph(3), *copy, *other = make_random_graph(4);
    lg_torch_net *net;

    assert_ok(lg_graph_clone(&copy, graph));
    assert_ok(lg_torch_net_create(&net, api, graph, "cpu"));
    assert_ok(lg_torch_net_read(net, copy));
    for (int32_t w = 0; w < graph->n_weights; w++) {
        const lego_tensor *a = &graph->weights[w].tensor, *b = &copy->weights[w].tensor;

        assert_memory_equal(lg_tensor_data(a), lg_tensor_data(b), lg_tensor_bytes(a));
        assert_ptr_not_equal(lg_tensor_data(a), lg_tensor_data(b));
    }
    assert_fails(LEGO_EINVAL, lg_torch_net_write(net, other));
    lg_torch_net_free(net);
    lg_graph_free(graph);
    lg_graph_free(copy);
    lg_graph_free(other);
}

/* Training mode: batch statistics move the running ones, and only them, by torch's rule. */
static void test_torch_exec__training_moves_running_statistics(void **state)
{
    const double momentum = 0.1;
    maker m;
    lg_graph *graph;
    lg_torch_net *net;
    float *x = random_values(BATCH * 2 * 9, 5), *y, after[2];
    double mean[2] = { 0 };
    const float *before;

    maker_start(&m, 5);
    graph = maker_finish(&m, make_bn(&m, make_input(&m, 2, 3, 3)));
    assert_ok(lg_torch_net_create(&net, api, graph, "cpu"));
    y = forward(net, LG_TORCH_TRAIN, x);
    for (int i = 0; i < BATCH * 2 * 9; i++)
        mean[i / 9 % 2] += x[i] / (BATCH * 9.0);
    before = lg_tensor_data(&graph->weights[2].tensor);
    assert_ok(LG_TORCH(api, tensor_to_host(lg_torch_net_weights(net)[2], after, sizeof(after))));
    for (int c = 0; c < 2; c++)
        assert_near(after[c], (1 - momentum) * before[c] + momentum * mean[c], 1e-6, 1e-5);
    lg_torch_net_free(net);
    lg_graph_free(graph);
    lg_free(x);
    lg_free(y);
}

static void test_torch_exec__session_runs_a_zoo_model(void **state)
{
    static const char *const names[] = { "resnet18-cifar", "mobilenet_v2-cifar", "resnext29-cifar" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        lego_zoo_options options = LEGO_ZOO_OPTIONS_INIT;
        lego_model *model = NULL;
        lego_torch_session *session = NULL;
        float *x = random_values(BATCH * 3 * 1024, i), *want, *y;

        options.width = i == 0 ? 8 : 0;
        options.width_mult = i == 1 ? 0.25 : 0.0;
        options.classes = 10;
        assert_ok(lego_zoo_build(&model, NULL, names[i], &options));
        want = run_exact(model->graph, x, BATCH);
        y = lg_calloc((size_t)out_count(model->graph), sizeof(float));
        assert_ok(lego_torch_session_create(&session, NULL, model, NULL));
        assert_ok(lego_torch_session_run(session, BATCH, (const float *const[]){ x }, (float *const[]){ y }));
        assert_close(y, want, out_count(model->graph), 1e-4, i);
        assert_fails(LEGO_EINVAL, lego_torch_session_run(session, 0, (const float *const[]){ x }, (float *const[]){ y }));
        lego_torch_session_free(session);
        lego_model_free(model);
        lg_free(x);
        lg_free(want);
        lg_free(y);
    }
}

static void test_torch_exec__running_out_of_memory_leaves_nothing_behind(void **state)
{
    lg_graph *graph = make_random_graph(9);
    lg_torch_net *net = NULL;

    assert_survives_oom(lg_torch_net_create(&net, api, graph, "cpu"), lg_torch_net_free(net));
    lg_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torch_exec__random_graphs_equal_the_reference_engine),
        cmocka_unit_test(test_torch_exec__graphs_of_every_op_equal_their_definitions),
        cmocka_unit_test(test_torch_exec__gradients_lower_the_loss_as_they_promise),
        cmocka_unit_test(test_torch_exec__bf16_is_near_float32),
        cmocka_unit_test(test_torch_exec__weights_go_in_and_come_back),
        cmocka_unit_test(test_torch_exec__training_moves_running_statistics),
        cmocka_unit_test(test_torch_exec__session_runs_a_zoo_model),
        cmocka_unit_test(test_torch_exec__running_out_of_memory_leaves_nothing_behind),
    };

    return cmocka_run_group_tests(tests, load, NULL);
}
