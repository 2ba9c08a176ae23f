/* engine on the zoo's models: oneDNN against the reference engine, at widths that pruning makes; everything is folded
 * and fused, nothing runs on an unoptimised kernel. */
#include "support/gold.h"

#include "base/clock.h"
#include "engine/engine.h"

static lego_model *build(const char *name, int width, double width_mult)
{
    lego_zoo_options options = LEGO_ZOO_OPTIONS_INIT;
    lego_model *model;

    options.width = width;
    options.width_mult = width_mult;
    options.classes = 10;
    assert_ok(lego_zoo_build(&model, NULL, name, &options));
    return model;
}

/* Fresh batch norms are the identity: give them means and variances of their own. */
static void disturb_norms(lg_graph *graph, uint64_t seed)
{
    lg_rng rng;

    lg_rng_init(&rng, seed, 9);
    for (int32_t i = 0; i < graph->n_nodes; i++) {
        const lg_node *node = &graph->nodes[i];
        if (node->op->kind != LG_OP_BATCH_NORM)
            continue;
        for (int slot = 0; slot < 4; slot++) {
            lego_tensor *tensor = lg_node_weight(graph, node, slot);
            for (int64_t k = 0; k < lg_tensor_count(tensor); k++)
                ((float *)lg_tensor_data(tensor))[k] =
                    (float)(slot == 1 || slot == 2 ? 0.2 * lg_rng_normal(&rng) : 0.75 + 0.5 * lg_rng_uniform(&rng));
        }
    }
}

static lg_plan *plan_model(const lego_model *model, lego_engine engine, int batch, int exact, int autotune)
{
    lg_plan_options options = LG_PLAN_OPTIONS_INIT;
    lg_plan *plan;

    options.engine = engine;
    options.batch = batch;
    options.n_threads = 1;
    options.exact = exact;
    options.autotune = autotune;
    assert_ok(lg_plan_create(&plan, NULL, model->graph, &options));
    return plan;
}

static void check_model(const char *name, int width, double width_mult)
{
    lego_model *model = build(name, width, width_mult);

    disturb_norms(model->graph, (uint64_t)width);
    for (int batch = 1; batch <= 3; batch += 2)
        for (int autotune = 0; autotune < 2; autotune++) {
            const int64_t n = batch * lg_value_elements(&model->graph->values[model->graph->outputs[0]]);
            lg_plan *exact = plan_model(model, LEGO_ENGINE_REF, batch, 1, 0);
            lg_plan *fused = plan_model(model, LEGO_ENGINE_ONEDNN, batch, 0, autotune);
            double worst = 0.0, largest = 0.0;
            graph_io expected, got;
            char *text;

            io_make(&expected, model->graph, batch, 1);
            io_make(&got, model->graph, batch, 1);
            assert_ok(lg_plan_run(exact, (const float *const *)expected.inputs, expected.outputs));
            assert_ok(lg_plan_run(fused, (const float *const *)got.inputs, got.outputs));
            for (int64_t i = 0; i < n; i++) {
                worst = fmax(worst, fabs(got.outputs[0][i] - expected.outputs[0][i]));
                largest = fmax(largest, fabs(expected.outputs[0][i]));
            }
            assert_ok(lg_plan_describe(&text, fused));
            if (!(worst <= 1e-5 * largest) || strstr(text, "ref:") || strstr(text, "plain C"))
                fail_msg("%s, width %d, batch %d: error %g of %g\n%s", name, width, batch, worst, largest, text);
            lg_free(text);
            io_free(&expected);
            io_free(&got);
            lg_plan_free(exact);
            lg_plan_free(fused);
        }
    lego_model_free(model);
}

static void test_engine__resnets_equal_the_reference(void **state)
{
    check_model("resnet18-cifar", 5, 0.0);
    check_model("resnet18-cifar", 13, 0.0);
    check_model("resnet18-cifar", 16, 0.0);
    check_model("resnet50-cifar", 8, 0.0);
}

static void test_engine__mobilenets_equal_the_reference(void **state)
{
    check_model("mobilenet_v2-cifar", 0, 0.3);
    check_model("mobilenet_v2-cifar", 0, 0.5);
}

static void test_engine__resnexts_equal_the_reference(void **state)
{
    check_model("resnext29-cifar", 32, 0.0);
}

static int count_lines(const char *text, const char *with)
{
    int n = 0;

    while ((text = strstr(text, with)) != NULL) {
        text++;
        n++;
    }
    return n;
}

/* 20 convolutions with their batch norms and activations, 8 residual sums: 20 steps, the pool, the classifier. */
static void test_engine__resnet18_is_fused_to_22_steps(void **state)
{
    lego_model *model = build("resnet18-cifar", 16, 0.0);

    for (int engine = LEGO_ENGINE_REF; engine <= LEGO_ENGINE_ONEDNN; engine++) {
        lg_plan *plan = plan_model(model, (lego_engine)engine, 1, 0, 0);
        char *text;
        assert_ok(lg_plan_describe(&text, plan));
        const int n = count_lines(text, "\n") - count_lines(text, "reorder") - count_lines(text, "output: copy");
        if (n != 22 || count_lines(text, "+ residual") != 8)
            fail_msg("%d steps, %d residual sums\n%s", n, count_lines(text, "+ residual"), text);
        lg_free(text);
        lg_plan_free(plan);
    }
    lego_model_free(model);
}

/* What a runtime does at a switch: a composition whose layers were all seen before. */
static void test_engine__planning_what_was_seen_is_fast(void **state)
{
    lego_model *model = build("resnet18-cifar", 16, 0.0);
    lg_plan_options options = LG_PLAN_OPTIONS_INIT;
    lg_plan *plan;
    uint64_t best = UINT64_MAX;

    options.n_threads = 1;
    options.autotune = 1;
    assert_ok(lg_packed_cache_create(&options.cache, NULL));
    for (int i = 0; i < 8; i++) {
        const uint64_t start = lg_clock_thread_ns();
        assert_ok(lg_plan_create(&plan, NULL, model->graph, &options));
        const uint64_t took = lg_clock_thread_ns() - start;
        best = took < best ? took : best;
        lg_plan_free(plan);
    }
    /* 0.4 ms where this was written; the slack is for slower machines and sanitizers. */
    assert_in_range(best, 1, 20000000);
    lg_packed_cache_unref(options.cache);
    lego_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engine__resnets_equal_the_reference),
        cmocka_unit_test(test_engine__mobilenets_equal_the_reference),
        cmocka_unit_test(test_engine__resnexts_equal_the_reference),
        cmocka_unit_test(test_engine__resnet18_is_fused_to_22_steps),
        cmocka_unit_test(test_engine__planning_what_was_seen_is_fast),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
