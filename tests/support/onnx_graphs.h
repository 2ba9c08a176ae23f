/* ONNX files of a few nodes, written in tests as text. */
#ifndef LG_TESTS_ONNX_GRAPHS_H
#define LG_TESTS_ONNX_GRAPHS_H

#include "support/onnx.h"

#include "base/rng.h"

typedef struct onnx_graph {
    Onnx__ModelProto *model;
    Onnx__GraphProto *graph;
    lg_rng rng;
} onnx_graph;

#define ONNX_NEW(out, type, init) ((out) = calloc(1, sizeof(type)), init(out))
#define ONNX_APPEND(list, n, item) ((list) = realloc((list), ((n) + 1) * sizeof(*(list))), (list)[(n)++] = (item))

/* "2,3" -> { 2, 3 }. */
static inline size_t onnx_numbers(int64_t out[16], const char *text)
{
    size_t n = 0;

    for (char *end; *text && *text != '!' && n < 16; text = *end == ',' ? end + 1 : end)
        out[n++] = strtoll(text, &end, 10);
    return n;
}

static inline Onnx__ValueInfoProto *onnx_value(const char *name, const char *shape)
{
    Onnx__ValueInfoProto *value;
    Onnx__TypeProto__Tensor *tensor;
    int64_t extents[16];
    const size_t n = onnx_numbers(extents, shape);

    ONNX_NEW(value, Onnx__ValueInfoProto, onnx__value_info_proto__init);
    value->name = strdup(name);
    ONNX_NEW(value->type, Onnx__TypeProto, onnx__type_proto__init);
    value->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    ONNX_NEW(tensor, Onnx__TypeProto__Tensor, onnx__type_proto__tensor__init);
    value->type->tensor_type = tensor;
    tensor->has_elem_type = 1;
    tensor->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    ONNX_NEW(tensor->shape, Onnx__TensorShapeProto, onnx__tensor_shape_proto__init);
    for (size_t i = 0; i < n; i++) {
        Onnx__TensorShapeProto__Dimension *dim;

        ONNX_NEW(dim, Onnx__TensorShapeProto__Dimension, onnx__tensor_shape_proto__dimension__init);
        if (extents[i] > 0) { /* 0: open */
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            dim->dim_value = extents[i];
        }
        ONNX_APPEND(tensor->shape->dim, tensor->shape->n_dim, dim);
    }
    return value;
}

/* A graph with the input x of this shape (0: open) and the output y. */
static inline void onnx_begin(onnx_graph *g, int64_t opset, const char *shape)
{
    Onnx__OperatorSetIdProto *set;

    ONNX_NEW(g->model, Onnx__ModelProto, onnx__model_proto__init);
    ONNX_NEW(g->graph, Onnx__GraphProto, onnx__graph_proto__init);
    ONNX_NEW(set, Onnx__OperatorSetIdProto, onnx__operator_set_id_proto__init);
    g->model->graph = g->graph;
    set->has_version = 1;
    set->version = opset;
    ONNX_APPEND(g->model->opset_import, g->model->n_opset_import, set);
    ONNX_APPEND(g->graph->input, g->graph->n_input, onnx_value("x", shape));
    ONNX_APPEND(g->graph->output, g->graph->n_output, onnx_value("y", ""));
    lg_rng_init(&g->rng, 5, 0);
}

static inline Onnx__TensorProto *onnx_constant(onnx_graph *g, const char *name, int type)
{
    Onnx__TensorProto *tensor;

    ONNX_NEW(tensor, Onnx__TensorProto, onnx__tensor_proto__init);
    tensor->name = strdup(name);
    tensor->has_data_type = 1;
    tensor->data_type = type;
    ONNX_APPEND(g->graph->initializer, g->graph->n_initializer, tensor);
    return tensor;
}

/* A list of integers; a single number without an axis if it ends in '!'. */
static inline void onnx_ints(onnx_graph *g, const char *name, const char *numbers)
{
    Onnx__TensorProto *tensor = onnx_constant(g, name, ONNX__TENSOR_PROTO__DATA_TYPE__INT64);
    int64_t list[16];
    const int is_scalar = strchr(numbers, '!') != NULL;
    const size_t n = onnx_numbers(list, numbers);

    for (size_t i = 0; i < n; i++)
        ONNX_APPEND(tensor->int64_data, tensor->n_int64_data, list[i]);
    if (!is_scalar)
        ONNX_APPEND(tensor->dims, tensor->n_dims, (int64_t)n);
}

/* Random numbers of this shape; borrowed. */
static inline const float *onnx_floats(onnx_graph *g, const char *name, const char *shape)
{
    Onnx__TensorProto *tensor = onnx_constant(g, name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
    int64_t extents[16], count = 1;
    const size_t n = onnx_numbers(extents, shape);

    for (size_t i = 0; i < n; i++) {
        ONNX_APPEND(tensor->dims, tensor->n_dims, extents[i]);
        count *= extents[i];
    }
    for (int64_t i = 0; i < count; i++)
        ONNX_APPEND(tensor->float_data, tensor->n_float_data, (float)lg_rng_normal(&g->rng));
    return tensor->float_data;
}

/* "Op in in -> out name=1 name=1,2 name=text": an integer, or a list where there is a comma. */
static inline void onnx_line(onnx_graph *g, const char *line)
{
    Onnx__NodeProto *node;
    char *copy = strdup(line), *rest = NULL;
    int behind = 0;

    ONNX_NEW(node, Onnx__NodeProto, onnx__node_proto__init);
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(word, '=');

        if (!node->op_type || !*node->op_type) {
            node->op_type = strdup(word);
        } else if (strcmp(word, "->") == 0) {
            behind = 1;
        } else if (equals) {
            Onnx__AttributeProto *attribute;
            int64_t list[16];
            const size_t n = onnx_numbers(list, equals + 1);

            ONNX_NEW(attribute, Onnx__AttributeProto, onnx__attribute_proto__init);
            attribute->name = strndup(word, (size_t)(equals - word));
            attribute->has_type = 1;
            attribute->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
            attribute->has_i = 1;
            attribute->i = list[0];
            if (equals[1] >= 'A') { /* a text */
                attribute->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING;
                attribute->has_s = 1;
                attribute->s.len = strlen(equals + 1);
                attribute->s.data = (uint8_t *)strdup(equals + 1);
            } else if (strchr(equals, ',')) {
                attribute->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
                for (size_t i = 0; i < n; i++)
                    ONNX_APPEND(attribute->ints, attribute->n_ints, list[i]);
            }
            ONNX_APPEND(node->attribute, node->n_attribute, attribute);
        } else if (behind) {
            ONNX_APPEND(node->output, node->n_output, strdup(word));
        } else {
            ONNX_APPEND(node->input, node->n_input, strdup(word));
        }
    }
    node->name = strdup(node->output[0]);
    ONNX_APPEND(g->graph->node, g->graph->n_node, node);
    free(copy);
}

/* Several lines, the last NULL. */
static inline void onnx_lines(onnx_graph *g, const char *const *lines)
{
    for (; *lines; lines++)
        onnx_line(g, *lines);
}

/* "y = condition ? then : otherwise", each branch a few lines that end in the value of its name. */
static inline void onnx_if(onnx_graph *g, const char *condition, const char *const *then, const char *const *otherwise)
{
    static const char *const names[] = { "then_branch", "else_branch" };
    const char *const *const lines[] = { then, otherwise };
    Onnx__GraphProto *outer = g->graph;
    char text[64];

    snprintf(text, sizeof(text), "If %s -> y", condition);
    onnx_line(g, text);
    for (int i = 0; i < 2; i++) {
        Onnx__AttributeProto *branch;

        ONNX_NEW(branch, Onnx__AttributeProto, onnx__attribute_proto__init);
        branch->name = strdup(names[i]);
        branch->has_type = 1;
        branch->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH;
        ONNX_NEW(branch->g, Onnx__GraphProto, onnx__graph_proto__init);
        g->graph = branch->g;
        onnx_lines(g, lines[i]);
        ONNX_APPEND(branch->g->output, branch->g->n_output, onnx_value(names[i], ""));
        ONNX_APPEND(outer->node[outer->n_node - 1]->attribute, outer->node[outer->n_node - 1]->n_attribute, branch);
    }
    g->graph = outer;
}

/* Write the file and import it; the graph is freed. */
static inline lego_status onnx_end(lego_model **out, onnx_graph *g, const char *path)
{
    save_proto(g->model, path);
    onnx__model_proto__free_unpacked(g->model, NULL);
    return lego_model_import(out, NULL, path, NULL);
}

#endif
