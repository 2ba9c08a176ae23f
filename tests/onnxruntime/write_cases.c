/* write-onnx-cases FOLDER: models as ONNX, random inputs, and the outputs that they must give, for another program to run:
 * <case>.onnx, <case>.in<i>.npy, <case>.out<i>.npy. Small graphs are computed by the evaluator in double precision,
 * networks of the zoo and compositions by the engine that would run them here. */
#include "support/roundtrip.h"

#include "engine/engine.h"
#include "legodnn/block.h"
#include "legodnn/store.h"
#include "support/couplings.h"
#include "support/op_cases.h"
#include "support/volumes.h"

#define N_RANDOM 60
#define N_VOLUMES 30

static const char *folder;

static void save_array(const char *name, const char *kind, int index, const lg_shape *shape, const void *numbers,
                       int is_double)
{
    char path[512];
    lego_tensor *tensor;
    float *to;

    assert_ok(lego_tensor_create(&tensor, LEGO_DTYPE_F32, shape->n_dims, shape->dims));
    to = lego_tensor_data(tensor);
    for (int64_t i = 0; i < lego_tensor_n_elements(tensor); i++)
        to[i] = is_double ? (float)((const double *)numbers)[i] : ((const float *)numbers)[i];
    snprintf(path, sizeof(path), "%s/%s.%s%d.npy", folder, name, kind, index);
    assert_ok(lego_tensor_save_npy(tensor, path));
    lego_tensor_free(tensor);
}

static void save_model(const lg_graph *graph, const char *name, const lego_export_options *options)
{
    const lego_model model = { (lg_graph *)(uintptr_t)graph };
    char path[512];

    snprintf(path, sizeof(path), "%s/%s.onnx", folder, name);
    assert_ok(lego_model_export(&model, path, options));
}

static void write_evaluated(const lg_graph *graph, const char *name, const lego_export_options *options, uint64_t seed)
{
    double *inputs[MAX_INPUTS];
    eval_value *values;

    save_model(graph, name, options);
    make_inputs(inputs, graph, seed);
    values = eval_graph_of(graph, (const double *const *)inputs, BATCH);
    for (int32_t i = 0; i < graph->n_inputs; i++)
        save_array(name, "in", i, &values[graph->inputs[i]].shape, inputs[i], 1);
    for (int32_t i = 0; i < graph->n_outputs; i++)
        save_array(name, "out", i, &values[graph->outputs[i]].shape, values[graph->outputs[i]].data, 1);
    eval_free(values, graph);
    free_inputs(inputs, graph);
}

/* One input, one output. */
static void write_run(const lg_graph *graph, const char *name, uint64_t seed)
{
    lg_plan_options options = LG_PLAN_OPTIONS_INIT;
    lg_shape in = graph->values[graph->inputs[0]].shape, out = graph->values[graph->outputs[0]].shape;
    double *inputs[MAX_INPUTS];
    float *from, *to;
    lg_plan *plan;

    in.dims[0] = out.dims[0] = options.batch = BATCH;
    options.n_threads = 1;
    save_model(graph, name, NULL);
    make_inputs(inputs, graph, seed);
    assert_ok(LG_CALLOC(&from, eval_count(&in)));
    assert_ok(LG_CALLOC(&to, eval_count(&out)));
    for (int64_t i = 0; i < eval_count(&in); i++)
        from[i] = (float)inputs[0][i];
    assert_ok(lg_plan_create(&plan, NULL, graph, &options));
    assert_ok(lg_plan_run(plan, (const float *const *)&from, &to));
    save_array(name, "in", 0, &in, from, 0);
    save_array(name, "out", 0, &out, to, 0);
    lg_plan_free(plan);
    lg_free(from);
    lg_free(to);
    free_inputs(inputs, graph);
}

static void write_graphs(void **state)
{
    const lego_export_options newest = { sizeof(newest), 0, 20, 0 }, beside = { sizeof(beside), 1, 0, 0 };
    char name[96];

    for (size_t i = 0; i < N_OP_CASES; i++) {
        lg_graph *graph = make_op_case(i);

        write_evaluated(graph, op_cases[i].name, i % 2 ? &beside : NULL, i);
        snprintf(name, sizeof(name), "%s-opset20", op_cases[i].name);
        if (strncmp(op_cases[i].name, "gelu", 4) == 0)
            write_evaluated(graph, name, &newest, i);
        lg_graph_free(graph);
    }
    for (uint64_t seed = 1; seed <= N_RANDOM; seed++) {
        lg_graph *graph = seed % 3 == 0   ? make_random_graph(seed)
                          : seed % 3 == 1 ? make_wide_graph(seed)
                                          : make_coupled_graph(seed);

        snprintf(name, sizeof(name), "random%llu", (unsigned long long)seed);
        write_evaluated(graph, name, NULL, seed);
        lg_graph_free(graph);
    }
    for (uint64_t seed = 1; seed <= N_VOLUMES; seed++) {
        lg_graph *graph = make_volume_graph(seed);

        snprintf(name, sizeof(name), "volumes%llu", (unsigned long long)seed);
        write_evaluated(graph, name, NULL, seed);
        lg_graph_free(graph);
    }
}

static void write_zoo(void **state)
{
    lego_zoo_options small = LEGO_ZOO_OPTIONS_INIT, narrow = LEGO_ZOO_OPTIONS_INIT;

    small.width = 8;
    narrow.width_mult = 0.25;
    small.input[1] = small.input[2] = narrow.input[1] = narrow.input[2] = 64;
    for (size_t i = 0; lego_zoo_name(i); i++) {
        const char *name = lego_zoo_name(i);
        lego_model *model;

        assert_ok(lego_zoo_build(&model, NULL, name, strstr(name, "mobilenet") ? &narrow : &small));
        write_run(model->graph, name, i);
        lego_model_free(model);
    }
}

static void write_compositions(void **state)
{
    static const char *const selections[] = { "", "all=s0.5", "b0=s0.5,b2=s0.75" };
    const double sparsities[] = { 0.0, 0.5, 0.75 };
    lego_zoo_options small = LEGO_ZOO_OPTIONS_INIT;
    lego_extract_options extract = LEGO_EXTRACT_OPTIONS_INIT;
    lego_model *model;
    lego_store *store;
    char name[64], path[512];

    small.width = 16;
    extract.sparsities = sparsities;
    extract.n_sparsities = 3;
    snprintf(path, sizeof(path), "%s/store", folder);
    assert_ok(lego_zoo_build(&model, NULL, "resnet18-cifar", &small));
    assert_ok(lego_extract(NULL, model, path, &extract));
    assert_ok(lego_store_open(&store, NULL, path));
    for (size_t i = 0; i < sizeof(selections) / sizeof(selections[0]); i++) {
        lego_selection *selection;
        lego_model *composed;

        assert_ok(lego_selection_parse(&selection, store, selections[i]));
        assert_ok(lego_store_compose(&composed, store, selection));
        snprintf(name, sizeof(name), "composition%zu", i);
        write_run(composed->graph, name, i);
        lego_model_free(composed);
        lego_selection_free(selection);
    }
    lego_store_free(store);
    lego_model_free(model);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest steps[] = {
        cmocka_unit_test(write_graphs),
        cmocka_unit_test(write_zoo),
        cmocka_unit_test(write_compositions),
    };

    if (argc != 2) {
        fprintf(stderr, "usage: write-onnx-cases FOLDER\n");
        return 2;
    }
    folder = argv[1];
    return cmocka_run_group_tests_name("cases for ONNX Runtime", steps, NULL, NULL);
}
