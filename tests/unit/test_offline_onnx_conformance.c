/* The ONNX project's own tests (Debian's libonnx-testdata): a model, its inputs, and the outputs that it must give. Each
 * imported model is computed three times: by the evaluator of tests/support/eval.h in double precision, by the reference
 * engine and by oneDNN. An engine may lack an op, nothing may give other numbers, and docs/onnx.md must list what passes:
 *
 *   LG_ONNX_TABLE=docs/onnx.md build/bin/test_offline_onnx_conformance     writes the lists anew
 *
 * The lists are those of Debian 12's release of the tests; another release is run all the same.
 *
 * A graph of ours has the batch as its first axis and its weights inside. So a model that is refused as it is gets four
 * more chances, of which the lists tell: all its inputs but the first become initialisers ("weights", as a real model has
 * them); outputs but the first are dropped; an axis is put in front of every value, and all axes counted from there; or all
 * inputs are constants, of any type, and the result, folded, is added to zeros. */
#include "support/eval.h"
#include "support/onnx.h"

#include "engine/engine.h"

#define BEGIN "<!-- written by test_offline_onnx_conformance: begin -->\n"
#define END "<!-- written by test_offline_onnx_conformance: end -->\n"
#define MAX_INPUTS 16

typedef enum change { AS_IS, FROZEN, FIRST_OUTPUT, LIFTED, FOLDED, N_CHANGES } change;

/* What became of one test. */
typedef struct outcome {
    char name[600];
    char ops[16][48]; /* of its nodes, each once */
    int n_ops;
    int refused;
    change how;
    int on_engine[3]; /* indexed by lego_engine: it ran there */
    char why[400];    /* it was refused */
} outcome;

typedef struct results {
    outcome *tests;
    size_t n, capacity;
    int n_wrong;
} results;

/* --- reading the tests --- */

static Onnx__TensorProto *load_tensor(const char *folder, const char *kind, int index)
{
    Onnx__TensorProto *proto = NULL;
    char path[700], *data = NULL;
    size_t size;

    snprintf(path, sizeof(path), "%s/test_data_set_0/%s_%d.pb", folder, kind, index);
    if (lg_file_read(&data, &size, path, INT32_MAX) == LEGO_OK)
        proto = onnx__tensor_proto__unpack(NULL, size, (const uint8_t *)data);
    lg_free(data);
    return proto;
}

static int64_t load_numbers(double **out, const char *folder, const char *kind, int index, lg_shape *shape)
{
    Onnx__TensorProto *proto = load_tensor(folder, kind, index);
    lego_tensor tensor = { 0 };
    int64_t n = -1;

    *out = NULL;
    if (proto && lg_onnx_tensor(&tensor, NULL, proto, kind) == LEGO_OK) {
        n = lg_tensor_count(&tensor);
        assert_ok(LG_CALLOC(out, n));
        for (int64_t i = 0; i < n; i++)
            (*out)[i] = lg_onnx_element(&tensor, i);
        *shape = tensor.shape;
    }
    lg_tensor_dispose(&tensor);
    if (proto)
        onnx__tensor_proto__free_unpacked(proto, NULL);
    return n;
}

/* --- changing a model --- */

/* Whether every input of the op is a value rather than a parameter. */
static int takes_values(const char *op)
{
    static const char *const ops[] = { "Add", "Sub", "Mul", "Div", "Sum",    "Mean",
                                       "Min", "Max", "Concat", "MatMul" };

    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
        if (strcmp(op, ops[i]) == 0)
            return 1;
    return 0;
}

static void put_front(int64_t **list, size_t *n, int64_t first)
{
    *list = realloc(*list, (*n + 1) * sizeof(**list));
    memmove(*list + 1, *list, *n * sizeof(**list));
    (*list)[0] = first;
    ++*n;
}

static Onnx__AttributeProto *find_attribute(Onnx__NodeProto *node, const char *name)
{
    for (size_t i = 0; i < node->n_attribute; i++)
        if (strcmp(node->attribute[i]->name, name) == 0)
            return node->attribute[i];
    return NULL;
}

static Onnx__AttributeProto *add_attribute(Onnx__NodeProto *node, const char *name, int type)
{
    Onnx__AttributeProto *attribute = calloc(1, sizeof(*attribute));

    onnx__attribute_proto__init(attribute);
    attribute->name = strdup(name);
    attribute->has_type = 1;
    attribute->type = (Onnx__AttributeProto__AttributeType)type;
    node->attribute = realloc(node->attribute, (node->n_attribute + 1) * sizeof(*node->attribute));
    node->attribute[node->n_attribute++] = attribute;
    return attribute;
}

/* Axes of the node counted one higher; those that it leaves out written down. n_dims: of its first input, as it was. */
static void lift_attributes(Onnx__NodeProto *node, int n_dims)
{
    const int reduces = strncmp(node->op_type, "Reduce", 6) == 0;
    Onnx__AttributeProto *axis = find_attribute(node, "axis"), *axes = find_attribute(node, "axes"),
                         *perm = find_attribute(node, "perm");

    if (axis && axis->i >= 0)
        axis->i++;
    if (!axis && strcmp(node->op_type, "Split") == 0) {
        axis = add_attribute(node, "axis", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
        axis->has_i = 1;
        axis->i = 1;
    }
    if (!axes && reduces && node->n_input < 2) {
        axes = add_attribute(node, "axes", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
        for (int i = n_dims - 1; i >= 0; i--)
            put_front(&axes->ints, &axes->n_ints, i);
    }
    if (!perm && strcmp(node->op_type, "Transpose") == 0) {
        perm = add_attribute(node, "perm", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
        for (int i = 0; i < n_dims; i++)
            put_front(&perm->ints, &perm->n_ints, i);
    }
    for (size_t i = 0; axes && i < axes->n_ints; i++)
        axes->ints[i] += axes->ints[i] >= 0;
    for (size_t i = 0; perm && i < perm->n_ints; i++)
        perm->ints[i]++;
    if (perm)
        put_front(&perm->ints, &perm->n_ints, 0);
}

/* A parameter of the op that counts axes: a list of them, or a shape. Returns whether the lifting is possible. */
static int lift_parameter(Onnx__TensorProto *tensor, const char *op, size_t index)
{
    const int is_axes = (strcmp(op, "Slice") == 0 && index == 3) ||
                        (index == 1 && (strcmp(op, "Squeeze") == 0 || strcmp(op, "Unsqueeze") == 0 ||
                                        strncmp(op, "Reduce", 6) == 0));
    const size_t n = tensor->raw_data.len / sizeof(int64_t);
    int64_t number;

    if (strcmp(op, "Reshape") == 0) {
        const int64_t one = 1;
        tensor->raw_data.data = realloc(tensor->raw_data.data, tensor->raw_data.len + sizeof(one));
        memmove(tensor->raw_data.data + sizeof(one), tensor->raw_data.data, tensor->raw_data.len);
        memcpy(tensor->raw_data.data, &one, sizeof(one));
        tensor->raw_data.len += sizeof(one);
        tensor->dims[0]++;
        return 1;
    }
    for (size_t i = 0; is_axes && i < n; i++) {
        memcpy(&number, tensor->raw_data.data + i * sizeof(number), sizeof(number));
        number += number >= 0;
        memcpy(tensor->raw_data.data + i * sizeof(number), &number, sizeof(number));
    }
    return !is_axes || tensor->raw_data.len > 0 || tensor->dims[0] == 0;
}

static void lift_value(Onnx__ValueInfoProto *info)
{
    Onnx__TensorShapeProto *shape = info->type->tensor_type->shape;
    Onnx__TensorShapeProto__Dimension *one = calloc(1, sizeof(*one));

    onnx__tensor_shape_proto__dimension__init(one);
    one->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    one->dim_value = 1;
    shape->dim = realloc(shape->dim, (shape->n_dim + 1) * sizeof(*shape->dim));
    memmove(shape->dim + 1, shape->dim, shape->n_dim * sizeof(*shape->dim));
    shape->dim[0] = one;
    shape->n_dim++;
}

/* Not a Slice that names no axes, which slices the first ones, nor a Flatten, whose result has two axes anyhow. */
static int can_lift(const Onnx__GraphProto *graph)
{
    const Onnx__NodeProto *node = graph->n_node == 1 ? graph->node[0] : NULL;

    return node && graph->n_input > 0 && graph->input[0]->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE &&
           graph->input[0]->type->tensor_type->shape &&
           !(strcmp(node->op_type, "Slice") == 0 && node->n_input < 4) && strcmp(node->op_type, "Flatten") != 0;
}

static Onnx__NodeProto *add_node(Onnx__GraphProto *graph, const char *op, const char *a, const char *b, const char *out)
{
    Onnx__NodeProto *node = calloc(1, sizeof(*node));

    onnx__node_proto__init(node);
    node->op_type = strdup(op);
    node->name = strdup(out);
    node->n_input = b ? 2 : 1;
    node->input = calloc(2, sizeof(*node->input));
    node->input[0] = strdup(a);
    if (b)
        node->input[1] = strdup(b);
    node->n_output = 1;
    node->output = calloc(1, sizeof(*node->output));
    node->output[0] = strdup(out);
    graph->node = realloc(graph->node, (graph->n_node + 1) * sizeof(*graph->node));
    graph->node[graph->n_node++] = node;
    return node;
}

/* The first output as FLOAT, plus a new input of its shape with an axis in front: the one value among constants. */
static int add_to_zeros(Onnx__GraphProto *graph, const char *folder)
{
    Onnx__ValueInfoProto *input, *first = graph->output[0];
    Onnx__TensorProto *want = load_tensor(folder, "output", 0);
    Onnx__AttributeProto *to;

    if (!want || want->n_dims < 1 || first->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) {
        if (want)
            onnx__tensor_proto__free_unpacked(want, NULL);
        return 0;
    }
    input = calloc(1, sizeof(*input));
    onnx__value_info_proto__init(input);
    input->name = strdup("zeros");
    input->type = calloc(1, sizeof(*input->type));
    onnx__type_proto__init(input->type);
    input->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    input->type->tensor_type = calloc(1, sizeof(*input->type->tensor_type));
    onnx__type_proto__tensor__init(input->type->tensor_type);
    input->type->tensor_type->has_elem_type = 1;
    input->type->tensor_type->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    input->type->tensor_type->shape = calloc(1, sizeof(*input->type->tensor_type->shape));
    onnx__tensor_shape_proto__init(input->type->tensor_type->shape);
    for (size_t i = want->n_dims + 1; i-- > 0;) {
        lift_value(input);
        input->type->tensor_type->shape->dim[0]->dim_value = i == 0 ? 1 : want->dims[i - 1];
    }
    onnx__tensor_proto__free_unpacked(want, NULL);
    to = add_attribute(add_node(graph, "Cast", first->name, NULL, "as-float"), "to",
                       ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    to->has_i = 1;
    to->i = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    add_node(graph, "Add", "zeros", "as-float", "sum");
    free(first->name);
    first->name = strdup("sum");
    graph->input = realloc(graph->input, (graph->n_input + 1) * sizeof(*graph->input));
    graph->input[graph->n_input++] = input;
    return 1;
}

/* Write the model of `folder`, changed, to `to`. Returns whether it can be changed so. */
static int write_changed(const char *folder, const char *to, change how)
{
    char path[700];
    Onnx__ModelProto *proto;
    Onnx__GraphProto *graph;
    int possible = 1;

    snprintf(path, sizeof(path), "%s/model.onnx", folder);
    proto = load_proto(path);
    graph = proto->graph;
    if (how == LIFTED && (possible = can_lift(graph)) != 0) {
        const Onnx__TypeProto *type = graph->input[0]->type;
        lift_attributes(graph->node[0], (int)type->tensor_type->shape->n_dim);
    }
    for (size_t i = 0; possible && how != AS_IS && i < graph->n_input && i < MAX_INPUTS; i++) {
        Onnx__TensorProto *tensor;

        if (how == LIFTED && (i == 0 || takes_values(graph->node[0]->op_type))) {
            lift_value(graph->input[i]);
            continue;
        }
        tensor = i == 0 && how != FOLDED ? NULL : load_tensor(folder, "input", (int)i);
        if (!tensor)
            continue;
        if (how == LIFTED)
            possible = lift_parameter(tensor, graph->node[0]->op_type, i);
        free(tensor->name);
        tensor->name = strdup(graph->input[i]->name);
        graph->initializer = realloc(graph->initializer, (graph->n_initializer + 1) * sizeof(*graph->initializer));
        graph->initializer[graph->n_initializer++] = tensor;
    }
    while ((how == FIRST_OUTPUT || how == FOLDED) && graph->n_output > 1)
        onnx__value_info_proto__free_unpacked(graph->output[--graph->n_output], NULL);
    if (how == FOLDED)
        possible = add_to_zeros(graph, folder);
    if (possible)
        save_proto(proto, to);
    onnx__model_proto__free_unpacked(proto, NULL);
    return possible;
}

/* --- comparing --- */

/* Numbers as the ONNX project compares them, with room for its own rounding. */
static int equal(double have, double want)
{
    return have == want || (isnan(have) && isnan(want)) || fabs(have - want) <= 1e-5 + 1e-3 * fabs(want);
}

/* Shapes are the same but for the axis put in front. */
static int same_shape(const lg_shape *have, const lg_shape *want, change how)
{
    lg_shape lifted = *want;

    if (how == LIFTED || how == FOLDED) {
        memmove(lifted.dims + 1, lifted.dims, (size_t)lifted.n_dims * sizeof(*lifted.dims));
        lifted.dims[0] = 1;
        lifted.n_dims++;
    }
    return lg_shape_equal(have, &lifted);
}

static int compare_output(const outcome *test, const char *by, int index, const float *have, const double *exact,
                          const double *want, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        const double number = have ? (double)have[k] : exact[k];

        if (!equal(number, want[k])) {
            print_message("%s: %s computes %g for output %d[%lld], wanted %g\n", test->name, by, number, index,
                          (long long)k, want[k]);
            return 0;
        }
    }
    return 1;
}

/* Run on an engine: 1 it gives the numbers, 0 the engine lacks an op, -1 other numbers. */
static int run_engine(const outcome *test, const lg_graph *graph, lego_engine engine, int64_t batch,
                      double *const *inputs, double *const *want)
{
    static const char *const names[] = { "", "the reference engine", "oneDNN" };
    lg_plan_options options = LG_PLAN_OPTIONS_INIT;
    float *in[MAX_INPUTS] = { NULL }, *out[MAX_INPUTS] = { NULL };
    lg_plan *plan;
    lego_status status;
    int right = 1;

    options.engine = engine;
    options.batch = (int)batch;
    status = lg_plan_create(&plan, NULL, graph, &options);
    if (status == LEGO_EUNSUPPORTED)
        return 0;
    assert_ok(status);
    for (int i = 0; i < graph->n_inputs; i++) {
        const int64_t n = batch * lg_value_elements(&graph->values[graph->inputs[i]]);
        assert_ok(LG_CALLOC(&in[i], n));
        for (int64_t k = 0; k < n; k++)
            in[i][k] = (float)inputs[i][k];
    }
    for (int i = 0; i < graph->n_outputs; i++)
        assert_ok(LG_CALLOC(&out[i], batch * lg_value_elements(&graph->values[graph->outputs[i]])));
    assert_ok(lg_plan_run(plan, (const float *const *)in, out));
    for (int i = 0; i < graph->n_outputs; i++)
        right &= compare_output(test, names[engine], i, out[i], NULL, want[i],
                                batch * lg_value_elements(&graph->values[graph->outputs[i]]));
    for (int i = 0; i < MAX_INPUTS; i++) {
        lg_free(in[i]);
        lg_free(out[i]);
    }
    lg_plan_free(plan);
    return right ? 1 : -1;
}

/* Compute the graph on the test's inputs in every way there is; returns how many give other numbers. */
static int check_numbers(outcome *test, const lg_graph *graph, const char *folder)
{
    double *inputs[MAX_INPUTS] = { NULL }, *want[MAX_INPUTS] = { NULL };
    lg_shape shape;
    int64_t batch = 1;
    eval_value *values;
    int n_wrong = 0;

    assert_true(graph->n_inputs <= MAX_INPUTS && graph->n_outputs <= MAX_INPUTS);
    for (int i = 0; i < graph->n_inputs; i++) {
        const int64_t n = test->how == FOLDED ? lg_value_elements(&graph->values[graph->inputs[i]])
                                              : load_numbers(&inputs[i], folder, "input", i, &shape);
        if (test->how == FOLDED) {
            assert_ok(LG_CALLOC(&inputs[i], n));
            continue;
        }
        batch = test->how == LIFTED ? 1 : shape.dims[0];
        assert_int_equal(n, batch * lg_value_elements(&graph->values[graph->inputs[i]]));
    }
    values = eval_graph_of(graph, (const double *const *)inputs, batch);
    for (int i = 0; i < graph->n_outputs && n_wrong == 0; i++) {
        const eval_value *have = &values[graph->outputs[i]];
        const int64_t n = load_numbers(&want[i], folder, "output", i, &shape);

        if (!same_shape(&have->shape, &shape, test->how)) {
            print_message("%s: output %d has another shape than wanted\n", test->name, i);
            n_wrong++;
        } else {
            n_wrong += !compare_output(test, "the evaluator", i, NULL, have->data, want[i], n);
        }
    }
    for (lego_engine engine = LEGO_ENGINE_REF; n_wrong == 0 && engine <= LEGO_ENGINE_ONEDNN; engine++) {
        const int ran = run_engine(test, graph, engine, batch, inputs, want);
        test->on_engine[engine] = ran == 1;
        n_wrong += ran == -1;
    }
    eval_free(values, graph);
    for (int i = 0; i < MAX_INPUTS; i++) {
        lg_free(inputs[i]);
        lg_free(want[i]);
    }
    return n_wrong;
}

/* --- the run --- */

/* The reason behind the last ": N nodes cannot be imported: ", or all of it behind the path. */
static void keep_reason(outcome *test, const char *path)
{
    const char *why = lego_last_error(), *list = strstr(why, "cannot be imported: ");

    if (strncmp(why, path, strlen(path)) == 0)
        why += strlen(path) + (why[strlen(path)] == ':' ? 2 : 1);
    if (list)
        why = list + strlen("cannot be imported: ");
    snprintf(test->why, sizeof(test->why), "%s", why);
}

static void list_ops(outcome *test, const char *folder)
{
    char path[700];
    Onnx__ModelProto *proto;

    snprintf(path, sizeof(path), "%s/model.onnx", folder);
    proto = load_proto(path);
    for (size_t i = 0; i < proto->graph->n_node; i++) {
        const char *op = proto->graph->node[i]->op_type;
        int k = 0;

        while (k < test->n_ops && strcmp(test->ops[k], op) != 0)
            k++;
        if (k == test->n_ops && k < 16)
            snprintf(test->ops[test->n_ops++], sizeof(test->ops[k]), "%s", op);
    }
    onnx__model_proto__free_unpacked(proto, NULL);
}

static void run_one(results *found, const char *folder, const char *scratch)
{
    outcome *test;
    char path[700];
    lego_model *model = NULL;
    lego_status status = LEGO_EUNSUPPORTED;

    snprintf(path, sizeof(path), "%s/model.onnx", folder);
    if (!lg_file_exists(path))
        return;
    assert_ok(LG_RESERVE(&found->tests, &found->capacity, found->n + 1));
    test = &found->tests[found->n++];
    memset(test, 0, sizeof(*test));
    snprintf(test->name, sizeof(test->name), "%s", folder + strlen(ONNX_DATA));
    list_ops(test, folder);
    for (change how = AS_IS; status != LEGO_OK && how < N_CHANGES; how++) {
        if (!write_changed(folder, scratch, how))
            continue;
        status = lego_model_import(&model, NULL, scratch, NULL);
        test->how = how;
        if (status != LEGO_OK && how <= FROZEN)
            keep_reason(test, scratch);
    }
    test->refused = status != LEGO_OK;
    if (!test->refused)
        found->n_wrong += check_numbers(test, model->graph, folder);
    lego_model_free(model);
}

static void run_all(results *found, const char *scratch)
{
    static const char *const groups[] = { "node", "pytorch-converted", "pytorch-operator" };

    for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
        char folder[256], test[600], **names;
        size_t n;

        snprintf(folder, sizeof(folder), ONNX_DATA "%s", groups[g]);
        assert_ok(lg_dir_list(&names, &n, folder));
        for (size_t i = 0; i < n; i++) {
            snprintf(test, sizeof(test), "%s/%s", folder, names[i]);
            run_one(found, test, scratch);
        }
        lg_names_free(names, n);
    }
}

/* --- the lists --- */

static int has_op(const outcome *test, const char *op)
{
    for (int i = 0; i < test->n_ops; i++)
        if (strcmp(test->ops[i], op) == 0)
            return 1;
    return 0;
}

/* Known: some test of it passes, or the importer has it. */
static int is_known(const char *op)
{
    const lg_onnx_op *const tables[] = { lg_onnx_spatial_ops, lg_onnx_function_ops, lg_onnx_math_ops, lg_onnx_matrix_ops,
                                         lg_onnx_shape_ops };

    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
        for (const lg_onnx_op *known = tables[t]; known->type; known++)
            if (strcmp(known->type, op) == 0)
                return 1;
    return lg_onnx_folds(op);
}

static int knows_all(const outcome *test)
{
    for (int i = 0; i < test->n_ops; i++)
        if (!is_known(test->ops[i]))
            return 0;
    return 1;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* All ops of the tests, sorted; free the list alone. */
static const char **all_ops(const results *found, size_t *n)
{
    const char **ops;

    assert_ok(LG_CALLOC(&ops, found->n * 16));
    *n = 0;
    for (size_t i = 0; i < found->n; i++)
        for (int k = 0; k < found->tests[i].n_ops; k++) {
            size_t seen = 0;
            while (seen < *n && strcmp(ops[seen], found->tests[i].ops[k]) != 0)
                seen++;
            if (seen == *n)
                ops[(*n)++] = found->tests[i].ops[k];
        }
    qsort(ops, *n, sizeof(*ops), by_text);
    return ops;
}

static void write_ops(lg_str *text, const results *found)
{
    size_t n_ops;
    const char **ops = all_ops(found, &n_ops);

    lg_str_append(text, "| op | passes as it is | with a batch axis in front | its first output | on constants | refused | "
                        "on the reference engine | on oneDNN |\n|---|---|---|---|---|---|---|---|\n");
    for (size_t k = 0; k < n_ops; k++) {
        int passed[N_CHANGES] = { 0 }, engines[3] = { 0 }, refused = 0;

        for (size_t i = 0; i < found->n; i++) {
            const outcome *test = &found->tests[i];

            if (!has_op(test, ops[k]))
                continue;
            refused += test->refused;
            passed[test->how] += !test->refused;
            for (int e = 0; e < 3; e++)
                engines[e] += test->on_engine[e];
        }
        if (is_known(ops[k]))
            lg_str_appendf(text, "| %s | %d | %d | %d | %d | %d | %d | %d |\n", ops[k], passed[AS_IS] + passed[FROZEN],
                           passed[LIFTED], passed[FIRST_OUTPUT], passed[FOLDED], refused, engines[LEGO_ENGINE_REF],
                           engines[LEGO_ENGINE_ONEDNN]);
    }
    lg_free(ops);
}

static char *describe(const results *found)
{
    lg_str text = LG_STR_INIT;
    char *finished;
    int passed = 0, listed = 0;

    for (size_t i = 0; i < found->n; i++) {
        passed += !found->tests[i].refused;
        listed += found->tests[i].refused && knows_all(&found->tests[i]);
    }
    lg_str_appendf(&text,
                   BEGIN "%d of the %zu tests pass. %d are refused although every op in them is known, for the reasons "
                         "below; the other %d have ops that the importer does not know.\n\n",
                   passed, found->n, listed, (int)found->n - passed - listed);
    write_ops(&text, found);
    lg_str_append(&text, "\n| refused test of known ops | why |\n|---|---|\n");
    for (size_t i = 0; i < found->n; i++)
        if (found->tests[i].refused && knows_all(&found->tests[i]))
            lg_str_appendf(&text, "| %s | %s |\n", found->tests[i].name, found->tests[i].why);
    lg_str_append(&text, END);
    assert_ok(lg_str_finish(&finished, &text));
    return finished;
}

/* The file's text with what stands between the marks replaced. */
static void update_file(const char *path, const char *lists)
{
    char *old, *begin, *end;
    size_t size;
    lg_str text = LG_STR_INIT;

    assert_ok(lg_file_read(&old, &size, path, INT32_MAX));
    begin = strstr(old, BEGIN);
    end = strstr(old, END);
    assert_true(begin && end && begin < end);
    *begin = '\0';
    lg_str_append(&text, old);
    lg_str_append(&text, lists);
    lg_str_append(&text, end + strlen(END));
    lg_free(old);
    assert_ok(lg_str_finish(&old, &text));
    assert_ok(lg_file_write(path, old, strlen(old)));
    lg_free(old);
}

static void test_onnx__passes_the_tests_of_the_onnx_project(void **state)
{
    const char *path = LG_TEST_SOURCE_DIR "/docs/onnx.md";
    results found = { 0 };
    char *lists, *document, release[64];
    size_t size;

    if (!lg_dir_exists(ONNX_DATA "node"))
        skip();
    run_all(&found, in_folder(state, "changed.onnx"));
    assert_int_equal(found.n_wrong, 0);
    lists = describe(&found);
    if (getenv("LG_ONNX_TABLE"))
        update_file(getenv("LG_ONNX_TABLE"), lists);
    assert_ok(lg_file_read(&document, &size, path, INT32_MAX));
    snprintf(release, sizeof(release), " of the %zu tests pass.", found.n);
    if (!strstr(document, release))
        print_message("not the release of the tests that docs/onnx.md lists: these are %zu\n", found.n);
    else if (!strstr(document, lists))
        fail_msg("docs/onnx.md does not list what passes; write it anew with LG_ONNX_TABLE (see the top of this file)");
    lg_free(document);
    lg_free(lists);
    lg_free(found.tests);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(test_onnx__passes_the_tests_of_the_onnx_project),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
