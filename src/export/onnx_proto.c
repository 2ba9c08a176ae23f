/* Building the protobuf: names, nodes, attributes, initialisers. Everything in it is allocated as protobuf-c expects, so
 * that it is freed by one call; only the elements of initialisers stay where they are, in tensors that `file` holds. */
#include "export/onnx.h"

#include <string.h>

#include "base/alloc.h"
#include "import/onnx.h"

/* --- names --- */

/* The table of names is of fixed size: a larger one takes its place. */
static lego_status make_room(lg_export *file)
{
    lg_name_map larger = { 0 };
    lego_status status = LEGO_OK;

    if (file->n_names < file->taken_room)
        return LEGO_OK;
    LG_TRY(lg_name_map_init(&larger, 2 * (size_t)file->n_names + 64));
    for (int32_t i = 0; i < file->n_names; i++)
        lg_name_map_add(&larger, file->names[i], i);
    lg_name_map_dispose(&file->taken);
    file->taken = larger;
    file->taken_room = 2 * file->n_names + 64;
done:
    return status;
}

/* Takes `name` over. */
static lego_status keep_name(const char **out, lg_export *file, char *name)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_RESERVE(&file->names, &file->names_capacity, file->n_names + 1));
    LG_TRY(make_room(file));
    lg_name_map_add(&file->taken, name, file->n_names);
    file->names[file->n_names++] = name;
    *out = name;
    name = NULL;
done:
    lg_free(name);
    return status;
}

static lego_status unique_name(const char **out, lg_export *file, const char *stem)
{
    char *name = lg_strdup(stem);

    for (int i = 2; name && lg_name_map_find(&file->taken, name) != LG_NONE; i++) {
        lg_free(name);
        name = lg_asprintf("%s#%d", stem, i);
    }
    if (!name)
        return lg_error(LEGO_ENOMEM, "out of memory naming '%s'", stem);
    return keep_name(out, file, name);
}

lego_status lg_export_name(const char **out, lg_export *file, const char *node, const char *what)
{
    char *stem = lg_asprintf("%s/%s", node, what);
    lego_status status = LEGO_OK;

    if (!stem)
        LG_FAIL(LEGO_ENOMEM, "out of memory naming a part of '%s'", node);
    LG_TRY(unique_name(out, file, stem));
done:
    lg_free(stem);
    return status;
}

/* --- the whole --- */

lego_status lg_export_init(lg_export *file, const lg_graph *graph, const char *path)
{
    const char *name;
    lego_status status = LEGO_OK;

    *file = (lg_export){ .graph = graph, .path = path };
    LG_TRY(lg_name_map_init(&file->taken, 64));
    file->taken_room = 64;
    LG_TRY(LG_CALLOC(&file->constants, graph->n_values));
    for (int32_t v = 0; v < graph->n_values; v++) /* values are named first: weights make way for them */
        LG_TRY(unique_name(&name, file, graph->values[v].name));
    LG_TRY(LG_CALLOC(&file->model, 1));
    onnx__model_proto__init(file->model);
    LG_TRY(LG_CALLOC(&file->model->graph, 1));
    onnx__graph_proto__init(file->model->graph);
    LG_TRY(LG_STRDUP(&file->model->graph->name, graph->name));
done:
    return status;
}

void lg_export_dispose(lg_export *file)
{
    Onnx__GraphProto *proto = file->model ? file->model->graph : NULL;
    const size_t n_tensors = proto ? proto->n_initializer : 0;

    for (size_t i = 0; i < n_tensors; i++)
        proto->initializer[i]->raw_data = (ProtobufCBinaryData){ 0, NULL }; /* the tensors' */
    lg_onnx_parse_free(file->model);
    for (size_t i = 0; i < n_tensors; i++)
        lg_tensor_dispose(&file->tensors[i]);
    for (int32_t i = 0; i < file->n_names; i++)
        lg_free(file->names[i]);
    lg_free(file->names);
    lg_name_map_dispose(&file->taken);
    lg_free(file->weights);
    lg_free(file->tensors);
    lg_free(file->constants);
}

/* --- nodes --- */

static lego_status set_names(size_t *n, char ***out, int n_names, const char *const *names)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(out, n_names));
    for (int i = 0; i < n_names; i++) {
        LG_TRY(LG_STRDUP(&(*out)[i], names[i]));
        *n = (size_t)i + 1;
    }
done:
    return status;
}

/* An empty node at the end of the graph, which owns it. */
static lego_status append_node(Onnx__NodeProto **out, lg_export *file)
{
    Onnx__GraphProto *graph = file->model->graph;
    Onnx__NodeProto *proto = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_RESERVE(&graph->node, &file->nodes_capacity, graph->n_node + 1));
    LG_TRY(LG_CALLOC(&proto, 1));
    onnx__node_proto__init(proto);
    graph->node[graph->n_node++] = proto;
    *out = proto;
done:
    return status;
}

lego_status lg_export_node(Onnx__NodeProto **proto, const char **output, lg_export *file, const lg_node *node,
                           const char *what, const char *type, int n_inputs, const char *const *inputs)
{
    Onnx__NodeProto *made;
    const char *name = node->name;
    lego_status status = LEGO_OK;

    LG_TRY(append_node(&made, file));
    LG_TRY(LG_STRDUP(&made->op_type, type));
    LG_TRY(set_names(&made->n_input, &made->input, n_inputs, inputs));
    if (what) {
        LG_TRY(lg_export_name(&name, file, node->name, what));
        LG_TRY(set_names(&made->n_output, &made->output, 1, &name));
    } else {
        LG_TRY(LG_CALLOC(&made->output, node->n_outputs));
        for (int i = 0; i < node->n_outputs; i++) {
            LG_TRY(LG_STRDUP(&made->output[i], file->graph->values[node->outputs[i]].name));
            made->n_output = (size_t)i + 1;
        }
    }
    LG_TRY(LG_STRDUP(&made->name, name));
    if (proto)
        *proto = made;
    if (output)
        *output = what ? name : file->graph->values[node->outputs[0]].name;
done:
    return status;
}

lego_status lg_export_step(Onnx__NodeProto **proto, const char **value, lg_export *file, const lg_node *node,
                           const char *what, const char *type)
{
    const char *input = *value;

    return lg_export_node(proto, value, file, node, what, type, 1, &input);
}

/* --- attributes --- */

static lego_status append_attribute(Onnx__AttributeProto **out, Onnx__NodeProto *proto, const char *name,
                                    Onnx__AttributeProto__AttributeType type)
{
    Onnx__AttributeProto **list = lg_realloc(proto->attribute, proto->n_attribute + 1, sizeof(*list));
    Onnx__AttributeProto *made = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    if (!list)
        LG_FAIL(LEGO_ENOMEM, "out of memory for attribute '%s'", name);
    proto->attribute = list;
    LG_TRY(LG_CALLOC(&made, 1));
    onnx__attribute_proto__init(made);
    list[proto->n_attribute++] = made;
    made->has_type = 1;
    made->type = type;
    LG_TRY(LG_STRDUP(&made->name, name));
    *out = made;
done:
    return status;
}

lego_status lg_export_int(Onnx__NodeProto *proto, const char *name, int64_t value)
{
    Onnx__AttributeProto *made;
    lego_status status = append_attribute(&made, proto, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);

    if (status != LEGO_OK)
        return status;
    made->has_i = 1;
    made->i = value;
    return LEGO_OK;
}

lego_status lg_export_ints(Onnx__NodeProto *proto, const char *name, int n, const int64_t *values)
{
    Onnx__AttributeProto *made;
    lego_status status = LEGO_OK;

    LG_TRY(append_attribute(&made, proto, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS));
    LG_TRY(LG_CALLOC(&made->ints, n));
    memcpy(made->ints, values, (size_t)n * sizeof(*values));
    made->n_ints = (size_t)n;
done:
    return status;
}

lego_status lg_export_float(Onnx__NodeProto *proto, const char *name, double value)
{
    Onnx__AttributeProto *made;
    lego_status status = append_attribute(&made, proto, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);

    if (status != LEGO_OK)
        return status;
    made->has_f = 1;
    made->f = (float)value;
    return LEGO_OK;
}

lego_status lg_export_text(Onnx__NodeProto *proto, const char *name, const char *text)
{
    Onnx__AttributeProto *made;
    char *copy = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(append_attribute(&made, proto, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING));
    LG_TRY(LG_STRDUP(&copy, text));
    made->has_s = 1;
    made->s = (ProtobufCBinaryData){ strlen(copy), (uint8_t *)copy };
done:
    return status;
}

/* --- initialisers --- */

/* An initialiser of this name and element type over the storage of `tensor`, which is shared. */
static lego_status append_initializer(lg_export *file, const char *name, int32_t type, const lego_tensor *tensor)
{
    Onnx__GraphProto *graph = file->model->graph;
    Onnx__TensorProto *made = NULL;
    const int n_dims = tensor->shape.n_dims;
    lego_status status = LEGO_OK;

    LG_TRY(LG_RESERVE(&graph->initializer, &file->initializers_capacity, graph->n_initializer + 1));
    LG_TRY(LG_RESERVE(&file->tensors, &file->tensors_capacity, graph->n_initializer + 1));
    LG_TRY(LG_CALLOC(&made, 1));
    onnx__tensor_proto__init(made);
    lg_tensor_share(&file->tensors[graph->n_initializer], tensor);
    graph->initializer[graph->n_initializer++] = made;
    LG_TRY(LG_STRDUP(&made->name, name));
    LG_TRY(LG_CALLOC(&made->dims, n_dims));
    memcpy(made->dims, tensor->shape.dims, (size_t)n_dims * sizeof(*made->dims));
    made->n_dims = (size_t)n_dims;
    made->has_data_type = 1;
    made->data_type = type;
    made->has_raw_data = 1;
    made->raw_data = (ProtobufCBinaryData){ lg_tensor_bytes(tensor), lg_tensor_data(tensor) };
done:
    return status;
}

/* (R,C) -> (C,R) */
static lego_status transpose(lego_tensor *out, const lego_tensor *in)
{
    const int64_t rows = in->shape.dims[0], columns = in->shape.dims[1];
    const lg_shape shape = { 2, { columns, rows } };
    const float *from = lg_tensor_data(in);
    float *to;
    lego_status status = lg_tensor_init(out, LEGO_DTYPE_F32, &shape);

    if (status != LEGO_OK)
        return status;
    to = lg_tensor_data(out);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            to[c * rows + r] = from[r * columns + c];
    return LEGO_OK;
}

lego_status lg_export_weight_as(const char **out, lg_export *file, int32_t weight, const lg_shape *shape,
                                int is_transposed)
{
    const lg_weight *source = &file->graph->weights[weight];
    const lg_shape wanted = shape ? *shape : source->tensor.shape;
    lego_tensor made = { 0 };
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < file->n_weights; i++)
        if (file->weights[i].weight == weight && file->weights[i].is_transposed == is_transposed &&
            lg_shape_equal(&file->weights[i].shape, &wanted)) {
            *out = file->weights[i].name;
            return LEGO_OK;
        }
    LG_TRY(LG_RESERVE(&file->weights, &file->weights_capacity, file->n_weights + 1));
    if (is_transposed) {
        LG_TRY(transpose(&made, &source->tensor));
    } else {
        lg_tensor_share(&made, &source->tensor);
        made.shape = wanted;
    }
    LG_TRY(unique_name(out, file, source->name));
    LG_TRY(append_initializer(file, *out, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, &made));
    file->weights[file->n_weights++] = (lg_export_weight){ weight, wanted, is_transposed, *out };
done:
    lg_tensor_dispose(&made);
    return status;
}

lego_status lg_export_filled(const char **out, lg_export *file, const lg_node *node, const char *what,
                             const lg_shape *shape, double value)
{
    lego_tensor made = { 0 };
    lego_status status = LEGO_OK;

    LG_TRY(lg_tensor_init(&made, LEGO_DTYPE_F32, shape));
    for (int64_t i = 0; i < lg_tensor_count(&made); i++)
        ((float *)lg_tensor_data(&made))[i] = (float)value;
    LG_TRY(lg_export_name(out, file, node->name, what));
    LG_TRY(append_initializer(file, *out, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, &made));
done:
    lg_tensor_dispose(&made);
    return status;
}

lego_status lg_export_number(const char **out, lg_export *file, const lg_node *node, const char *what, double value)
{
    return lg_export_filled(out, file, node, what, &(lg_shape){ 0, { 0 } }, value);
}

lego_status lg_export_int_list(const char **out, lg_export *file, const lg_node *node, const char *what, int64_t n,
                               const int64_t *values)
{
    const lg_shape shape = { 1, { n } };
    lego_tensor made = { 0 };
    lego_status status = LEGO_OK;

    LG_TRY(lg_tensor_init(&made, LEGO_DTYPE_I64, &shape));
    memcpy(lg_tensor_data(&made), values, (size_t)n * sizeof(*values));
    LG_TRY(lg_export_name(out, file, node->name, what));
    LG_TRY(append_initializer(file, *out, ONNX__TENSOR_PROTO__DATA_TYPE__INT64, &made));
done:
    lg_tensor_dispose(&made);
    return status;
}

lego_status lg_export_slot(const char **out, lg_export *file, const lg_node *node, int slot, const lg_shape *shape,
                           double fallback)
{
    if (node->weights[slot] != LG_NONE)
        return lg_export_weight_as(out, file, node->weights[slot], shape, 0);
    return lg_export_filled(out, file, node, node->op->slots[slot].name, shape, fallback);
}

/* --- inputs and outputs --- */

static lego_status set_dimension(Onnx__TensorShapeProto__Dimension *dim, int64_t extent)
{
    if (extent != LG_BATCH) {
        dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        dim->dim_value = extent;
        return LEGO_OK;
    }
    dim->dim_param = lg_strdup("N");
    if (!dim->dim_param)
        return lg_error(LEGO_ENOMEM, "out of memory for a shape");
    dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
    return LEGO_OK;
}

static lego_status set_shape(Onnx__TensorShapeProto *proto, const lg_shape *shape)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&proto->dim, shape->n_dims));
    for (int i = 0; i < shape->n_dims; i++) {
        LG_TRY(LG_CALLOC(&proto->dim[i], 1));
        proto->n_dim = (size_t)i + 1;
        onnx__tensor_shape_proto__dimension__init(proto->dim[i]);
        LG_TRY(set_dimension(proto->dim[i], shape->dims[i]));
    }
done:
    return status;
}

/* `*out` is linked to its owner before it is complete: whatever fails, the owner frees it. */
lego_status lg_export_value_info(Onnx__ValueInfoProto **out, const char *name, const lg_shape *shape)
{
    Onnx__TypeProto__Tensor *tensor = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(out, 1));
    onnx__value_info_proto__init(*out);
    LG_TRY(LG_STRDUP(&(*out)->name, name));
    LG_TRY(LG_CALLOC(&(*out)->type, 1));
    onnx__type_proto__init((*out)->type);
    LG_TRY(LG_CALLOC(&tensor, 1));
    onnx__type_proto__tensor__init(tensor);
    (*out)->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    (*out)->type->tensor_type = tensor;
    tensor->has_elem_type = 1;
    tensor->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    LG_TRY(LG_CALLOC(&tensor->shape, 1));
    onnx__tensor_shape_proto__init(tensor->shape);
    LG_TRY(set_shape(tensor->shape, shape));
done:
    return status;
}
