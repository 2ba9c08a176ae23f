/* ONNX export. Written files are read again: they compute what the graph computed (double precision, so that nothing is
 * excused), and writing what was read changes nothing any more. ONNX Runtime is asked in tests/onnxruntime. */
#include "support/roundtrip.h"

#include "support/couplings.h"
#include "support/op_cases.h"
#include "support/onnx.h"
#include "support/volumes.h"

/* Gelu is one op from opset 20 on, else five. */
static const lego_export_options newest = { sizeof(newest), 0, 20, 0 };

static void test_onnx_export__every_op_survives(void **state)
{
    unsigned char seen[LG_OP_N_KINDS] = { 0 };

    for (size_t i = 0; i < N_OP_CASES; i++) {
        lg_graph *graph = make_op_case(i);

        for (int32_t n = 0; n < graph->n_nodes; n++)
            seen[graph->nodes[n].op->kind] = 1;
        if (strcmp(op_cases[i].name, "upsample_uneven") != 0) /* places are listed: Gather, not imported in general */
            for (int opset = 0; opset < 2; opset++)
                assert_fixpoint(state, graph, opset ? &newest : NULL, i, op_cases[i].name);
        lg_graph_free(graph);
    }
    for (int kind = 0; kind < LG_OP_N_KINDS; kind++)
        if (!seen[kind] && kind != LG_OP_BLOCK)
            fail_msg("no case has the op '%s'", lg_op_of_kind((lg_op_kind)kind)->name);
}

/* ONNX writes a group norm as reshapes around an instance norm: read, it is one op again, whose channels can go. */
static void test_onnx_export__a_group_norm_is_one_op_again(void **state)
{
    for (size_t i = 0; i < N_OP_CASES; i++) {
        int n_norms[2] = { 0 };
        lg_graph *graph;
        lego_model *back;

        if (strcmp(op_cases[i].name, "group_norm") != 0)
            continue;
        graph = make_op_case(i);
        assert_ok(lego_model_export(&(lego_model){ graph }, in_folder(state, "norm.onnx"), NULL));
        assert_ok(lego_model_import(&back, NULL, in_folder(state, "norm.onnx"), NULL));
        for (int32_t n = 0; n < graph->n_nodes; n++)
            n_norms[0] += graph->nodes[n].op->kind == LG_OP_GROUP_NORM;
        for (int32_t n = 0; n < back->graph->n_nodes; n++) {
            const lg_node *node = &back->graph->nodes[n];

            if (node->op->kind != LG_OP_GROUP_NORM)
                continue;
            assert_int_equal(node->attrs->group_norm.groups, 3);
            n_norms[1]++;
        }
        assert_int_equal(n_norms[0], 2);
        assert_int_equal(n_norms[1], 2);
        assert_int_equal(back->graph->n_nodes, graph->n_nodes);
        lego_model_free(back);
        lg_graph_free(graph);
    }
}

static void test_onnx_export__random_graphs_survive(void **state)
{
    const char *text = getenv("LG_TEST_GRAPHS");
    const uint64_t n = text ? strtoull(text, NULL, 10) : 60;
    char what[64];

    for (uint64_t seed = 1; seed <= n; seed++) {
        lg_graph *graph = seed % 3 == 0   ? make_random_graph(seed)
                          : seed % 3 == 1 ? make_wide_graph(seed)
                                          : make_coupled_graph(seed);

        snprintf(what, sizeof(what), "seed %llu", (unsigned long long)seed);
        assert_fixpoint(state, graph, NULL, seed, what);
        lg_graph_free(graph);
    }
}

static void test_onnx_export__networks_over_three_axes_survive(void **state)
{
    const char *text = getenv("LG_TEST_GRAPHS");
    const uint64_t n = text ? strtoull(text, NULL, 10) : 40;
    char what[64];

    for (uint64_t seed = 1; seed <= n; seed++) {
        lg_graph *graph = make_volume_graph(seed);

        snprintf(what, sizeof(what), "volumes, seed %llu", (unsigned long long)seed);
        assert_fixpoint(state, graph, NULL, seed, what);
        lg_graph_free(graph);
    }
}

static void test_onnx_export__zoo_models_survive(void **state)
{
    lego_zoo_options small = LEGO_ZOO_OPTIONS_INIT, narrow = LEGO_ZOO_OPTIONS_INIT;

    small.width = 2;
    narrow.width_mult = 0.05;
    small.classes = narrow.classes = 5;
    small.input[0] = small.input[1] = small.input[2] = 32;
    small.input[0] = 1;
    memcpy(narrow.input, small.input, sizeof(small.input));
    for (size_t i = 0; lego_zoo_name(i); i++) {
        const char *name = lego_zoo_name(i);
        lego_model *model;

        if (strstr(name, "101") || strstr(name, "152")) /* resnet50's blocks, more often */
            continue;
        assert_ok(lego_zoo_build(&model, NULL, name, strstr(name, "mobilenet") ? &narrow : &small));
        assert_fixpoint(state, model->graph, NULL, i, name);
        lego_model_free(model);
    }
}

/* --- what is in the file --- */

static Onnx__ModelProto *exported(void **state, lg_graph *graph, const lego_export_options *options)
{
    const lego_model model = { graph };

    assert_ok(lego_model_export(&model, in_folder(state, "model.onnx"), options));
    return load_proto(in_folder(state, "model.onnx"));
}

static void test_onnx_export__takes_the_lowest_opset_there_is(void **state)
{
    static const struct {
        const char *name;
        int32_t max_opset;
        int64_t opset;
    } cases[] = { { "relu", 0, 13 },   { "hard_swish", 0, 14 }, { "layer_norm", 0, 17 }, { "gelu", 0, 13 },
                  { "gelu", 20, 20 }, { "mean", 20, 13 } };

    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++)
        for (size_t i = 0; i < N_OP_CASES; i++) {
            lego_export_options options = LEGO_EXPORT_OPTIONS_INIT;
            Onnx__ModelProto *proto;
            lg_graph *graph;

            if (strcmp(op_cases[i].name, cases[c].name) != 0)
                continue;
            options.max_opset = cases[c].max_opset;
            graph = make_op_case(i);
            proto = exported(state, graph, &options);
            assert_int_equal(proto->n_opset_import, 1);
            assert_int_equal(proto->opset_import[0]->version, cases[c].opset);
            assert_string_equal(proto->producer_name, "legodnn");
            onnx__model_proto__free_unpacked(proto, NULL);
            lg_graph_free(graph);
        }
}

static void test_onnx_export__a_mean_of_opset_20_has_its_axes_as_input(void **state)
{
    maker m;
    int32_t x;
    lg_graph *graph;

    maker_start(&m, 3);
    x = make_unary(&m, make_input(&m, 4, 3, 3), "gelu", NULL);
    graph = maker_finish(&m, make_unary(&m, x, "mean", &(lg_attrs){ .mean = { { 2, { 2, 3 } }, 0 } }));
    assert_fixpoint(state, graph, &newest, 3, "gelu and mean");
    lg_graph_free(graph);
}

static void test_onnx_export__names_and_the_open_batch_are_kept(void **state)
{
    maker m;
    lg_graph *graph;
    Onnx__ModelProto *proto;
    const Onnx__TensorShapeProto *shape;

    maker_start(&m, 4);
    graph = maker_finish(&m, make_unary(&m, make_conv(&m, make_input(&m, 3, 8, 6), 4, 3, 1, 1, 1), "relu", NULL));
    proto = exported(state, graph, NULL);
    assert_string_equal(proto->graph->node[0]->name, "conv0");
    assert_string_equal(proto->graph->node[1]->name, "relu1");
    assert_string_equal(proto->graph->input[0]->name, "input");
    assert_string_equal(proto->graph->output[0]->name, "relu1");
    assert_string_equal(proto->graph->initializer[0]->name, "conv0.weight");
    assert_string_equal(proto->graph->initializer[1]->name, "conv0.bias");
    shape = proto->graph->output[0]->type->tensor_type->shape;
    assert_int_equal(shape->n_dim, 4);
    assert_string_equal(shape->dim[0]->dim_param, "N");
    assert_int_equal(shape->dim[3]->dim_value, 6);
    onnx__model_proto__free_unpacked(proto, NULL);
    lg_graph_free(graph);
}

/* Values and weights have names of their own here, but share one table in ONNX. */
static void test_onnx_export__equal_names_are_told_apart(void **state)
{
    const int64_t c = 3;
    maker m;
    int32_t x, weights[2];
    lg_graph *graph;

    maker_start(&m, 5);
    x = make_input(&m, 3, 4, 4);
    weights[0] = make_weight(&m, "input/constant", "x", 4, (int64_t[]){ c, c, 1, 1 }, 0);
    lg_free(m.graph->weights[weights[0]].name);
    m.graph->weights[weights[0]].name = lg_strdup("input");
    weights[1] = LG_NONE;
    assert_ok(lg_graph_add_node(&x, m.graph, "conv2d", "input#2", NULL, 1, (int32_t[]){ x }, 2, weights));
    graph = maker_finish(&m, make_unary(&m, x, "silu", NULL));
    assert_fixpoint(state, graph, NULL, 5, "equal names");
    lg_graph_free(graph);
}

/* An input that is an output, an output twice, a constant. */
static void test_onnx_export__any_value_can_be_an_output(void **state)
{
    maker m;
    int32_t x, y;
    lg_graph *graph;
    lego_model *back;

    maker_start(&m, 6);
    x = make_input(&m, 2, 3, 3);
    y = make_unary(&m, x, "relu", NULL);
    assert_ok(lg_graph_add_output(m.graph, x));
    assert_ok(lg_graph_add_output(m.graph, y));
    graph = maker_finish(&m, make_constant(&m, 2, (int64_t[]){ 2, 3 }));
    assert_ok(lego_model_export(&(lego_model){ graph }, in_folder(state, "m.onnx"), NULL));
    assert_ok(lego_model_import(&back, NULL, in_folder(state, "m.onnx"), NULL));
    assert_same_outputs(graph, back->graph, 6, "outputs");
    lego_model_free(back);
    lg_graph_free(graph);
}

/* --- files --- */

static lg_graph *two_layers(uint64_t seed)
{
    maker m;

    maker_start(&m, seed);
    return maker_finish(&m, make_linear(&m, make_unary(&m, make_conv(&m, make_input(&m, 3, 8, 8), 16, 3, 1, 1, 1),
                                                       "flatten", NULL), 7));
}

static int count_files(void **state, const char *suffix)
{
    char **names;
    size_t n_names;
    int n = 0;

    assert_ok(lg_dir_list(&names, &n_names, *state));
    for (size_t i = 0; i < n_names; i++) {
        const size_t length = strlen(names[i]);
        n += length >= strlen(suffix) && strcmp(names[i] + length - strlen(suffix), suffix) == 0;
    }
    lg_names_free(names, n_names);
    return n;
}

static void test_onnx_export__large_weights_lie_beside_the_model(void **state)
{
    lego_export_options beside = LEGO_EXPORT_OPTIONS_INIT;
    lg_graph *graph = two_layers(7), *other = two_layers(8);
    Onnx__ModelProto *proto;
    lego_model *back;
    size_t size;

    beside.external_from_bytes = 1;
    assert_ok(lego_model_export(&(lego_model){ graph }, in_folder(state, "m.onnx"), &beside));
    assert_int_equal(count_files(state, ".data"), 1);
    assert_ok(lg_file_size(&size, in_folder(state, "m.onnx")));
    assert_true(size < 2000);
    proto = load_proto(in_folder(state, "m.onnx"));
    for (size_t i = 0; i < proto->graph->n_initializer; i++)
        if (proto->graph->initializer[i]->n_external_data > 0) {
            assert_string_equal(proto->graph->initializer[i]->external_data[1]->key, "offset");
            assert_int_equal(atol(proto->graph->initializer[i]->external_data[1]->value) % 4096, 0);
        }
    onnx__model_proto__free_unpacked(proto, NULL);
    assert_ok(lego_model_import(&back, NULL, in_folder(state, "m.onnx"), NULL));
    assert_same_outputs(graph, back->graph, 7, "external");
    lego_model_free(back);

    /* other weights never overwrite those that a model in place may still name */
    assert_ok(lego_model_export(&(lego_model){ other }, in_folder(state, "m.onnx"), &beside));
    assert_int_equal(count_files(state, ".data"), 2);
    assert_ok(lego_model_import(&back, NULL, in_folder(state, "m.onnx"), NULL));
    assert_same_outputs(other, back->graph, 8, "external, replaced");
    lego_model_free(back);

    beside.external_from_bytes = 1 << 20; /* less than that: inside */
    assert_ok(lego_model_export(&(lego_model){ graph }, in_folder(state, "inside.onnx"), &beside));
    assert_int_equal(count_files(state, ".data"), 2);
    lg_graph_free(graph);
    lg_graph_free(other);
}

static void test_onnx_export__refuses_and_leaves_what_was_there(void **state)
{
    lego_export_options options = LEGO_EXPORT_OPTIONS_INIT;
    const lg_value output = { (char *)(uintptr_t)"y", LEGO_DTYPE_F32, { 4, { LG_BATCH, 3, 4, 4 } }, LG_NONE };
    lg_graph *graph = two_layers(9);
    maker m;
    int32_t x;
    size_t size;
    lg_graph *frame;

    assert_ok(lg_file_write(in_folder(state, "m.onnx"), "old", 3));
    maker_start(&m, 9);
    x = make_input(&m, 3, 4, 4);
    assert_ok(lg_graph_add_block(&x, m.graph, "b0", 0, 1, (int32_t[]){ x }, 1, &output));
    frame = maker_finish(&m, x);
    assert_fails(LEGO_EUNSUPPORTED, lego_model_export(&(lego_model){ frame }, in_folder(state, "m.onnx"), NULL));
    assert_says("node 'b0' (block)");
    assert_says("compose the store");
    lg_graph_free(frame);

    maker_start(&m, 10);
    frame = maker_finish(&m, make_unary(&m, make_input(&m, 3, 4, 4), "hard_swish", NULL));
    options.max_opset = 13;
    assert_fails(LEGO_EUNSUPPORTED, lego_model_export(&(lego_model){ frame }, in_folder(state, "m.onnx"), &options));
    assert_says("node 'hard_swish0' (hard_swish) needs opset 14");
    lg_graph_free(frame);

    options.max_opset = 12;
    assert_fails(LEGO_EINVAL, lego_model_export(&(lego_model){ graph }, in_folder(state, "m.onnx"), &options));
    assert_says("max_opset 12");
    options.max_opset = 0;
    options.external_from_bytes = -1;
    assert_fails(LEGO_EINVAL, lego_model_export(&(lego_model){ graph }, in_folder(state, "m.onnx"), &options));
    assert_fails(LEGO_EINVAL, lego_model_export(NULL, in_folder(state, "m.onnx"), NULL));
    assert_fails(LEGO_EINVAL, lego_model_export(&(lego_model){ graph }, NULL, NULL));
    assert_fails(LEGO_EIO, lego_model_export(&(lego_model){ graph }, in_folder(state, "absent/m.onnx"), NULL));
    assert_ok(lg_file_size(&size, in_folder(state, "m.onnx")));
    assert_int_equal(size, 3);
    assert_int_equal(count_files(state, ""), 1);
    lg_graph_free(graph);
}

static void test_onnx_export__survives_failing_allocations(void **state)
{
    lego_export_options beside = { sizeof(beside), 1, 0, 0 };

    for (size_t i = 0; i < N_OP_CASES; i++) {
        lego_status status = LEGO_ENOMEM;
        lego_model *back;
        lg_graph *graph;
        long n;

        if (strcmp(op_cases[i].name, "concat_constant") != 0 && strcmp(op_cases[i].name, "adaptive_uneven") != 0 &&
            strcmp(op_cases[i].name, "group_norm") != 0 && strcmp(op_cases[i].name, "linear_wide") != 0)
            continue;
        graph = make_op_case(i);
        for (n = 0; status != LEGO_OK && n < 100000; n++) {
            lg_alloc_fail_after(n);
            status = lego_model_export(&(lego_model){ graph }, in_folder(state, "oom.onnx"), i % 2 ? &beside : NULL);
            lg_alloc_fail_after(-1);
            if (status != LEGO_OK && status != LEGO_ENOMEM)
                fail_msg("allocation %ld failed: %s", n, lego_status_name(status));
        }
        /* What is written last, it can be done without: the new file stands. */
        assert_true(n > 20 && n < 100000);
        assert_ok(lego_model_import(&back, NULL, in_folder(state, "oom.onnx"), NULL));
        assert_same_outputs(graph, back->graph, i, op_cases[i].name);
        lego_model_free(back);
        lg_graph_free(graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(test_onnx_export__every_op_survives),
        folder_test(test_onnx_export__a_group_norm_is_one_op_again),
        folder_test(test_onnx_export__random_graphs_survive),
        folder_test(test_onnx_export__networks_over_three_axes_survive),
        folder_test(test_onnx_export__zoo_models_survive),
        folder_test(test_onnx_export__takes_the_lowest_opset_there_is),
        folder_test(test_onnx_export__a_mean_of_opset_20_has_its_axes_as_input),
        folder_test(test_onnx_export__names_and_the_open_batch_are_kept),
        folder_test(test_onnx_export__equal_names_are_told_apart),
        folder_test(test_onnx_export__any_value_can_be_an_output),
        folder_test(test_onnx_export__large_weights_lie_beside_the_model),
        folder_test(test_onnx_export__refuses_and_leaves_what_was_there),
        folder_test(test_onnx_export__survives_failing_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
