/* ONNX import: damaged files (cut short, bits flipped, hostile) and models of our own. That the numbers are right is
 * the business of test_offline_onnx_conformance.c. */
#include "support/onnx.h"

/* --- damage --- */

static const char *const samples[] = { "pytorch-converted/test_Conv2d_groups/model.onnx",
                                       "pytorch-converted/test_Linear/model.onnx",
                                       "pytorch-operator/test_operator_view/model.onnx",
                                       "node/test_resize_upsample_scales_nearest/model.onnx",
                                       "pytorch-converted/test_BatchNorm2d_eval/model.onnx" };

/* Whatever a damaged file gives: a graph that validates, or an error with a message. */
static void import_damaged(const char *path, const char *data, size_t size)
{
    lego_model *model = NULL;
    lego_status status;

    save_bytes(path, data, size);
    status = lego_model_import(&model, NULL, path, NULL);
    if (status == LEGO_OK)
        assert_ok(lg_graph_validate(model->graph));
    else
        assert_true(status != LEGO_ENOMEM && lego_last_error()[0] != '\0');
    lego_model_free(model);
}

static void test_onnx__survives_cut_and_flipped_files(void **state)
{
    unsigned long long random = 88172645463325252ull;

    for (size_t s = 0; s < sizeof(samples) / sizeof(samples[0]); s++) {
        char path[256], *data;
        size_t size;

        snprintf(path, sizeof(path), ONNX_DATA "%s", samples[s]);
        if (!lg_file_exists(path))
            continue;
        assert_ok(lg_file_read(&data, &size, path, INT32_MAX));
        for (size_t cut = 0; cut < size; cut += size / 100 + 1)
            import_damaged(in_folder(state, "cut.onnx"), data, cut);
        for (int k = 0; k < 400; k++) {
            size_t at;
            char kept;

            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            at = (size_t)(random >> 8) % (k % 2 && size > 300 ? 300 : size);
            kept = data[at];
            data[at] = (char)(data[at] ^ (1 << (random & 7)));
            import_damaged(in_folder(state, "flipped.onnx"), data, size);
            data[at] = kept;
        }
        lg_free(data);
    }
}

/* Graphs inside attributes inside graphs: 100,000 deep. */
static void test_onnx__refuses_deep_nesting(void **state)
{
    const int depth = 100000;
    size_t size = 0, room = (size_t)depth * 12;
    char *data = lg_calloc(room, 1), *at = data + room;
    lego_model *model;

    for (int i = 0; i < depth; i++) {
        /* model: graph 7; graph: node 1; node: attribute 5; attribute: g 6 */
        const int field = i == depth - 1 ? 7 : (i % 3 == 0 ? 6 : i % 3 == 1 ? 5 : 1);
        size_t rest = size;
        char head[12];
        int n = 0;

        head[n++] = (char)(field << 3 | 2);
        do {
            head[n++] = (char)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
            rest >>= 7;
        } while (rest);
        at -= n;
        memcpy(at, head, (size_t)n);
        size += (size_t)n;
    }
    assert_ok(lg_file_write(in_folder(state, "deep.onnx"), at, size));
    assert_fails(LEGO_EFORMAT, lego_model_import(&model, NULL, in_folder(state, "deep.onnx"), NULL));
    lg_free(data);
}

/* --- models of our own: x (N,4) -> nodes -> y --- */

#define MAX_NODES 12
#define MAX_WEIGHTS 4

typedef struct tiny {
    Onnx__ModelProto model;
    Onnx__GraphProto graph;
    Onnx__OperatorSetIdProto set, *sets[1];
    Onnx__ValueInfoProto input, output, *inputs[1], *outputs[1];
    Onnx__TypeProto type;
    Onnx__TypeProto__Tensor tensor_type;
    Onnx__TensorShapeProto shape;
    Onnx__TensorShapeProto__Dimension dims[2], *dim_list[2];
    Onnx__NodeProto nodes[MAX_NODES], *node_list[MAX_NODES];
    char *names[MAX_NODES][4];
    Onnx__TensorProto weight, *weights[MAX_WEIGHTS], constants[MAX_WEIGHTS];
    Onnx__AttributeProto axes, *attributes[1];
    Onnx__StringStringEntryProto entry, *entries[1];
    int64_t weight_dims[1];
} tiny;

static void tiny_init(tiny *t)
{
    memset(t, 0, sizeof(*t));
    onnx__model_proto__init(&t->model);
    onnx__graph_proto__init(&t->graph);
    onnx__operator_set_id_proto__init(&t->set);
    onnx__value_info_proto__init(&t->input);
    onnx__value_info_proto__init(&t->output);
    onnx__type_proto__init(&t->type);
    onnx__type_proto__tensor__init(&t->tensor_type);
    onnx__tensor_shape_proto__init(&t->shape);
    onnx__tensor_proto__init(&t->weight);
    onnx__string_string_entry_proto__init(&t->entry);
    for (int i = 0; i < 2; i++) {
        onnx__tensor_shape_proto__dimension__init(&t->dims[i]);
        t->dims[i].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        t->dims[i].dim_value = i ? 4 : 1;
        t->dim_list[i] = &t->dims[i];
    }
    t->shape.n_dim = 2;
    t->shape.dim = t->dim_list;
    t->tensor_type.has_elem_type = 1;
    t->tensor_type.elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    t->tensor_type.shape = &t->shape;
    t->type.value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    t->type.tensor_type = &t->tensor_type;
    t->input.name = (char *)"x";
    t->input.type = &t->type;
    t->output.name = (char *)"y";
    t->set.has_version = 1;
    t->set.version = 13;
    t->sets[0] = &t->set;
    t->inputs[0] = &t->input;
    t->outputs[0] = &t->output;
    t->weights[0] = &t->weight;
    t->entries[0] = &t->entry;
    t->model.n_opset_import = 1;
    t->model.opset_import = t->sets;
    t->model.graph = &t->graph;
    t->graph.n_input = t->graph.n_output = 1;
    t->graph.input = t->inputs;
    t->graph.output = t->outputs;
    t->graph.node = t->node_list;
}

static void tiny_node(tiny *t, const char *op, const char *name, const char *in, const char *out)
{
    const size_t i = t->graph.n_node++;
    Onnx__NodeProto *node = &t->nodes[i];

    onnx__node_proto__init(node);
    t->names[i][0] = (char *)(uintptr_t)in;
    t->names[i][1] = (char *)(uintptr_t)out;
    node->op_type = (char *)(uintptr_t)op;
    node->name = (char *)(uintptr_t)name;
    node->n_input = node->n_output = 1;
    node->input = &t->names[i][0];
    node->output = &t->names[i][1];
    t->node_list[i] = node;
}

/* A node of several inputs, "a b c". */
static void tiny_node_of(tiny *t, const char *op, const char *inputs, const char *out)
{
    const size_t i = t->graph.n_node;
    static char names[MAX_NODES][3][16];
    int n = sscanf(inputs, "%15s %15s %15s", names[i][0], names[i][1], names[i][2]);

    tiny_node(t, op, out, names[i][0], out);
    for (int k = 0; k < n; k++)
        t->names[i][k] = names[i][k];
    t->nodes[i].n_input = (size_t)n;
    t->names[i][3] = (char *)(uintptr_t)out;
    t->nodes[i].output = &t->names[i][3];
}

/* A FLOAT initialiser of n numbers; n = 0: one number without an axis. */
static void tiny_constant(tiny *t, const char *name, int64_t n, float *numbers)
{
    const size_t i = t->graph.n_initializer++;
    static int64_t extents[MAX_WEIGHTS];
    Onnx__TensorProto *tensor = &t->constants[i];

    onnx__tensor_proto__init(tensor);
    extents[i] = n;
    tensor->name = (char *)(uintptr_t)name;
    tensor->has_data_type = 1;
    tensor->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor->n_dims = n > 0;
    tensor->dims = &extents[i];
    tensor->n_float_data = (size_t)(n > 0 ? n : 1);
    tensor->float_data = numbers;
    t->weights[i] = tensor;
    t->graph.initializer = t->weights;
}

static lego_status tiny_import(lego_model **out, tiny *t, void **state)
{
    save_proto(&t->model, in_folder(state, "tiny.onnx"));
    return lego_model_import(out, NULL, in_folder(state, "tiny.onnx"), NULL);
}

static void test_onnx__lists_every_unsupported_node(void **state)
{
    tiny t;
    lego_model *model;

    tiny_init(&t);
    tiny_node(&t, "Det", "first", "x", "a");
    tiny_node(&t, "Relu", "fine", "a", "b");
    tiny_node(&t, "RoiAlign", "second", "b", "y");
    assert_fails(LEGO_EUNSUPPORTED, tiny_import(&model, &t, state));
    assert_says("'first' (Det)");
    assert_says("'second' (RoiAlign)");
    assert_says("opset 13");
}

static void test_onnx__refuses_broken_graphs(void **state)
{
    tiny t;
    lego_model *model;

    tiny_init(&t);
    tiny_node(&t, "Relu", "one", "b", "a");
    tiny_node(&t, "Relu", "two", "a", "b");
    tiny_node(&t, "Relu", "three", "b", "y");
    assert_fails(LEGO_EFORMAT, tiny_import(&model, &t, state));
    assert_says("cycle");
    tiny_init(&t);
    tiny_node(&t, "Relu", "one", "nowhere", "y");
    assert_fails(LEGO_EFORMAT, tiny_import(&model, &t, state));
    assert_says("'nowhere'");
    tiny_init(&t);
    tiny_node(&t, "Relu", "one", "x", "y");
    t.dims[1].dim_value = -3;
    assert_fails(LEGO_EFORMAT, tiny_import(&model, &t, state));
    assert_says("-3");
    t.dims[1].dim_value = INT64_MAX;
    assert_fails(LEGO_EFORMAT, tiny_import(&model, &t, state));
    t.dims[1].dim_value = 4;
    t.set.version = 99;
    assert_fails(LEGO_EUNSUPPORTED, tiny_import(&model, &t, state));
    assert_says("opset 99");
}

static void test_onnx__external_data_stays_in_the_folder(void **state)
{
    static const float numbers[4] = { 1.0f, 2.0f, 3.0f, 4.0f };
    char *inputs[2] = { (char *)"x", (char *)"w" };
    tiny t;
    lego_model *model;

    tiny_init(&t);
    tiny_node(&t, "Add", "sum", "x", "y");
    t.nodes[0].n_input = 2;
    t.nodes[0].input = inputs;
    t.weight.name = (char *)"w";
    t.weight.has_data_type = 1;
    t.weight.data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    t.weight_dims[0] = 4;
    t.weight.n_dims = 1;
    t.weight.dims = t.weight_dims;
    t.weight.has_data_location = 1;
    t.weight.data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    t.weight.n_external_data = 1;
    t.weight.external_data = t.entries;
    t.entry.key = (char *)"location";
    t.entry.value = (char *)"w.bin";
    t.graph.n_initializer = 1;
    t.graph.initializer = t.weights;

    assert_fails(LEGO_ENOTFOUND, tiny_import(&model, &t, state));
    assert_says("'w'");
    assert_ok(lg_file_write(in_folder(state, "w.bin"), numbers, sizeof(numbers) - 1));
    assert_fails(LEGO_EFORMAT, tiny_import(&model, &t, state));
    assert_ok(lg_file_write(in_folder(state, "w.bin"), numbers, sizeof(numbers)));
    assert_ok(tiny_import(&model, &t, state));
    assert_int_equal(model->graph->n_weights, 1);
    assert_memory_equal(lg_tensor_data(&model->graph->weights[0].tensor), numbers, sizeof(numbers));
    lego_model_free(model);
    assert_survives_oom(lego_model_import(&model, NULL, in_folder(state, "tiny.onnx"), NULL), lego_model_free(model));
    t.entry.value = (char *)"../w.bin";
    assert_fails(LEGO_EFORMAT, tiny_import(&model, &t, state));
    t.entry.value = (char *)"/etc/hostname";
    assert_fails(LEGO_EFORMAT, tiny_import(&model, &t, state));
    t.entry.value = (char *)"w.bin";
    t.weight_dims[0] = INT64_MAX / 2;
    assert_fails(LEGO_EFORMAT, tiny_import(&model, &t, state));
    assert_says("'w'");
}

/* What torch writes for gelu(), its factors in either order: one op again. */
static void test_onnx__recognises_gelu(void **state)
{
    static float half[] = { 0.5f }, one[] = { 1.0f }, root[] = { 1.41421356f };

    for (int variant = 0; variant < 3; variant++) {
        tiny t;
        lego_model *model;

        tiny_init(&t);
        tiny_constant(&t, "half", 0, half);
        tiny_constant(&t, "one", 0, one);
        tiny_constant(&t, "root", 0, variant == 2 ? one : root); /* no gelu, but an Erf alone */
        tiny_node_of(&t, "Div", "x root", "a");
        tiny_node_of(&t, "Erf", "a", "b");
        tiny_node_of(&t, "Add", "b one", "c");
        tiny_node_of(&t, "Mul", variant == 1 ? "half x" : "x c", "d");
        tiny_node_of(&t, "Mul", variant == 1 ? "c d" : "d half", "y");
        assert_ok(tiny_import(&model, &t, state));
        assert_true((model->graph->n_nodes == 1) == (variant != 2));
        assert_true((strcmp(model->graph->nodes[0].op->name, "gelu") == 0) == (variant != 2));
        lego_model_free(model);
        assert_survives_oom(lego_model_import(&model, NULL, in_folder(state, "tiny.onnx"), NULL),
                            lego_model_free(model));
    }
}

static void test_onnx__recognises_layer_norm(void **state)
{
    static float two[] = { 2.0f }, eps[] = { 1e-5f }, scale[] = { 1, 2, 3, 4 }, shift[] = { 5, 6, 7, 8 };
    int64_t last = -1;
    tiny t;
    lego_model *model;

    tiny_init(&t);
    tiny_constant(&t, "two", 0, two);
    tiny_constant(&t, "eps", 0, eps);
    tiny_constant(&t, "scale", 4, scale);
    tiny_constant(&t, "shift", 4, shift);
    tiny_node_of(&t, "ReduceMean", "x", "mean");
    tiny_node_of(&t, "Sub", "x mean", "centred");
    tiny_node_of(&t, "Pow", "centred two", "squares");
    tiny_node_of(&t, "ReduceMean", "squares", "variance");
    tiny_node_of(&t, "Add", "variance eps", "safe");
    tiny_node_of(&t, "Sqrt", "safe", "deviation");
    tiny_node_of(&t, "Div", "centred deviation", "normal");
    tiny_node_of(&t, "Mul", "normal scale", "scaled");
    tiny_node_of(&t, "Add", "scaled shift", "y");
    onnx__attribute_proto__init(&t.axes);
    t.axes.name = (char *)"axes";
    t.axes.n_ints = 1;
    t.axes.ints = &last;
    t.attributes[0] = &t.axes;
    for (int i = 0; i < 4; i += 3) {
        t.nodes[i].n_attribute = 1;
        t.nodes[i].attribute = t.attributes;
    }
    assert_ok(tiny_import(&model, &t, state));
    assert_int_equal(model->graph->n_nodes, 1);
    assert_string_equal(model->graph->nodes[0].op->name, "layer_norm");
    assert_memory_equal(lg_tensor_data(lg_node_weight(model->graph, &model->graph->nodes[0], 0)), scale, sizeof(scale));
    assert_memory_equal(lg_tensor_data(lg_node_weight(model->graph, &model->graph->nodes[0], 1)), shift, sizeof(shift));
    lego_model_free(model);
    assert_survives_oom(lego_model_import(&model, NULL, in_folder(state, "tiny.onnx"), NULL), lego_model_free(model));
    two[0] = 3.0f; /* something else */
    assert_ok(tiny_import(&model, &t, state));
    assert_true(model->graph->n_nodes > 1);
    lego_model_free(model);
    two[0] = 2.0f;
}

static void test_onnx__an_open_extent_must_be_given(void **state)
{
    lego_import_options options = LEGO_IMPORT_OPTIONS_INIT;
    int64_t dims[LEGO_MAX_DIMS];
    int n_dims;
    tiny t;
    lego_model *model;

    tiny_init(&t);
    tiny_node(&t, "Relu", "one", "x", "y");
    t.dims[1].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
    t.dims[1].dim_param = (char *)"width";
    assert_fails(LEGO_EINVAL, tiny_import(&model, &t, state));
    assert_says("width");
    options.n_input_dims = 2;
    options.input_dims[0] = 1;
    options.input_dims[1] = 7;
    assert_ok(lego_model_import(&model, NULL, in_folder(state, "tiny.onnx"), &options));
    assert_ok(lego_model_output_shape(model, 0, &n_dims, dims));
    assert_int_equal(dims[1], 7);
    lego_model_free(model);
}

static void test_onnx__shapes_are_given_by_place_or_by_name(void **state)
{
    lego_import_input inputs[2] = { { NULL, 2, 0, { 1, 7 } }, { NULL, 2, 0, { 1, 7 } } };
    lego_import_options options = LEGO_IMPORT_OPTIONS_INIT;
    lego_model *model;
    tiny t;

    tiny_init(&t);
    tiny_node(&t, "Relu", "one", "x", "y");
    t.dims[1].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
    t.dims[1].dim_param = (char *)"width";
    assert_fails(LEGO_EINVAL, tiny_import(&model, &t, state));
    options.inputs = inputs;
    options.n_inputs = 1;
    for (int named = 0; named < 2; named++) {
        inputs[0].name = named ? "x" : NULL;
        assert_ok(lego_model_import(&model, NULL, in_folder(state, "tiny.onnx"), &options));
        assert_string_equal(lego_model_input_name(model, 0), "x");
        assert_string_equal(lego_model_output_name(model, 0), "one");
        assert_null(lego_model_input_name(model, 1));
        lego_model_free(model);
    }
    options.n_inputs = 2;
    assert_fails(LEGO_EINVAL, lego_model_import(&model, NULL, in_folder(state, "tiny.onnx"), &options));
    assert_says("2 shapes are given for 1 input: 'x'");
    inputs[1].name = "z";
    assert_fails(LEGO_EINVAL, lego_model_import(&model, NULL, in_folder(state, "tiny.onnx"), &options));
    assert_says("'z', which is none of its inputs: 'x'");
    inputs[1].name = "x";
    assert_fails(LEGO_EINVAL, lego_model_import(&model, NULL, in_folder(state, "tiny.onnx"), &options));
    assert_says("two shapes are given for input 'x'");
    inputs[1].dims[1] = 0;
    assert_fails(LEGO_EINVAL, lego_model_import(&model, NULL, in_folder(state, "tiny.onnx"), &options));
    assert_says("input 1: extent 0 of axis 1");
    options.n_input_dims = 2;
    assert_fails(LEGO_EINVAL, lego_model_import(&model, NULL, in_folder(state, "tiny.onnx"), &options));
    assert_says("exclude one another");

    options = (lego_import_options)LEGO_IMPORT_OPTIONS_INIT; /* as programs built before there were several inputs have it */
    options.struct_size = offsetof(lego_import_options, inputs);
    options.n_input_dims = 2;
    options.input_dims[0] = 1;
    options.input_dims[1] = 7;
    options.inputs = inputs;
    assert_ok(lego_model_import(&model, NULL, in_folder(state, "tiny.onnx"), &options));
    lego_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(test_onnx__survives_cut_and_flipped_files),
        folder_test(test_onnx__refuses_deep_nesting),
        folder_test(test_onnx__lists_every_unsupported_node),
        folder_test(test_onnx__refuses_broken_graphs),
        folder_test(test_onnx__external_data_stays_in_the_folder),
        folder_test(test_onnx__recognises_gelu),
        folder_test(test_onnx__recognises_layer_norm),
        folder_test(test_onnx__an_open_extent_must_be_given),
        folder_test(test_onnx__shapes_are_given_by_place_or_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
