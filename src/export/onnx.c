/* The walk: a validated graph becomes a protobuf, node by node in topological order, and then a file.
 *
 * Newcomers trip over the batch: it is open in the file (dimension "N"), so a writer that needs a shape with it has to let
 * the file compute it (lg_export_batched_shape), or leave it to Reshape's 0, "as the input". */
#include "export/onnx.h"

#include "base/alloc.h"
#include "import/onnx_names.h"
#include "legodnn/status.h"

/* --- constants --- */

int lg_export_is_constant(const lg_export *file, int32_t value)
{
    const int32_t producer = file->graph->values[value].producer;

    return producer != LG_NONE && file->graph->nodes[producer].op->kind == LG_OP_CONSTANT;
}

lego_status lg_export_constant(const char **out, lg_export *file, int32_t value)
{
    const lg_value *of = &file->graph->values[value];
    lg_shape shape = of->shape;

    shape.dims[0] = 1;
    return lg_export_weight_as(out, file, file->graph->nodes[of->producer].weights[0], &shape, 0);
}

/* The size of the batch, from the first input of the graph: Shape, then its first entry. */
static lego_status batch_of(const char **out, lg_export *file, const lg_node *node)
{
    static const int64_t first = 0, behind = 1;
    const char *inputs[3];
    lego_status status = LEGO_OK;

    if (!file->batch) {
        if (file->graph->n_inputs == 0)
            return lg_error(LEGO_EUNSUPPORTED, "%s: node '%s' needs the batch of an input, the graph has none",
                            file->path, node->name);
        inputs[0] = file->graph->values[file->graph->inputs[0]].name;
        LG_TRY(lg_export_step(NULL, &inputs[0], file, node, "input_shape", "Shape"));
        LG_TRY(lg_export_int_list(&inputs[1], file, node, "batch_from", 1, &first));
        LG_TRY(lg_export_int_list(&inputs[2], file, node, "batch_to", 1, &behind));
        LG_TRY(lg_export_node(NULL, &file->batch, file, node, "batch", "Slice", 3, inputs));
    }
    *out = file->batch;
done:
    return status;
}

lego_status lg_export_batched_shape(const char **out, lg_export *file, const lg_node *node, int n,
                                    const int64_t *dims)
{
    Onnx__NodeProto *proto;
    const char *inputs[2];
    lego_status status = LEGO_OK;

    LG_TRY(batch_of(&inputs[0], file, node));
    LG_TRY(lg_export_int_list(&inputs[1], file, node, "extents", n, dims));
    LG_TRY(lg_export_node(&proto, out, file, node, "shape", "Concat", 2, inputs));
    LG_TRY(lg_export_int(proto, "axis", 0));
done:
    return status;
}

/* A constant node's value, repeated for every sample. */
static lego_status expanded(const char **out, lg_export *file, int32_t value)
{
    const lg_value *of = &file->graph->values[value];
    const lg_node *node = &file->graph->nodes[of->producer];
    const char *inputs[2];
    lego_status status = LEGO_OK;

    if (!file->constants[value]) {
        LG_TRY(lg_export_constant(&inputs[0], file, value));
        LG_TRY(lg_export_batched_shape(&inputs[1], file, node, of->shape.n_dims - 1, of->shape.dims + 1));
        LG_TRY(lg_export_node(NULL, &file->constants[value], file, node, NULL, "Expand", 2, inputs));
    }
    *out = file->constants[value];
done:
    return status;
}

lego_status lg_export_input(const char **out, lg_export *file, const lg_node *node, int index)
{
    const int32_t value = node->inputs[index];

    if (lg_export_is_constant(file, value))
        return expanded(out, file, value);
    *out = file->graph->values[value].name;
    return LEGO_OK;
}

/* --- the walk --- */

/* Opset 13 is where axes became inputs and shapes stopped changing; newer ops raise it. */
static lego_status choose_opset(lg_export *file, int64_t max_opset)
{
    file->opset = 13;
    for (int32_t i = 0; i < file->graph->n_nodes; i++) {
        const lg_node *node = &file->graph->nodes[i];
        const lg_onnx_name *name = lg_onnx_name_of(node->op->kind);

        if (!name || name->since <= file->opset || (name->since > max_opset && (node->op->kind == LG_OP_GELU || node->op->kind == LG_OP_MISH)))
            continue;
        if (name->since > max_opset)
            return lg_error(LEGO_EUNSUPPORTED, "%s: node '%s' (%s) needs opset %lld, up to %lld are allowed", file->path,
                            node->name, node->op->name, (long long)name->since, (long long)max_opset);
        file->opset = name->since;
    }
    return LEGO_OK;
}

static lego_status write_node(lg_export *file, const lg_node *node)
{
    const lg_export_writer *const tables[] = { lg_export_spatial_ops, lg_export_function_ops, lg_export_math_ops,
                                               lg_export_shape_ops };

    if (node->op->kind == LG_OP_CONSTANT) /* written where it is used */
        return LEGO_OK;
    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
        if (tables[t][node->op->kind])
            return tables[t][node->op->kind](file, node);
    return lg_error(LEGO_EUNSUPPORTED, "%s: node '%s' (%s) has no counterpart in ONNX%s", file->path, node->name,
                    node->op->name,
                    node->op->kind == LG_OP_BLOCK ? "; it is the place of a block: compose the store" : "");
}

static lego_status write_inputs(lg_export *file)
{
    Onnx__GraphProto *proto = file->model->graph;
    const lg_graph *graph = file->graph;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&proto->input, graph->n_inputs));
    for (int32_t i = 0; i < graph->n_inputs; i++) {
        const lg_value *value = &graph->values[graph->inputs[i]];

        status = lg_export_value_info(&proto->input[i], value->name, &value->shape);
        proto->n_input += proto->input[i] != NULL;
        LG_TRY(status);
    }
done:
    return status;
}

/* An output must be made by a node and stand there once: an Identity gives the others a name of their own. */
static lego_status output_name(const char **out, lg_export *file, int32_t index)
{
    const lg_graph *graph = file->graph;
    const int32_t value = graph->outputs[index], producer = graph->values[value].producer;
    const lg_node as_node = { .name = graph->values[value].name };
    int is_own = producer != LG_NONE;
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < index; i++)
        is_own = is_own && graph->outputs[i] != value;
    *out = graph->values[value].name;
    if (lg_export_is_constant(file, value))
        LG_TRY(expanded(out, file, value));
    if (!is_own)
        LG_TRY(lg_export_step(NULL, out, file, &as_node, "output", "Identity"));
done:
    return status;
}

static lego_status write_outputs(lg_export *file)
{
    Onnx__GraphProto *proto = file->model->graph;
    const lg_graph *graph = file->graph;
    const char *name;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&proto->output, graph->n_outputs));
    for (int32_t i = 0; i < graph->n_outputs; i++) {
        LG_TRY(output_name(&name, file, i));
        status = lg_export_value_info(&proto->output[i], name, &graph->values[graph->outputs[i]].shape);
        proto->n_output += proto->output[i] != NULL;
        LG_TRY(status);
    }
done:
    return status;
}

/* The version of the file's format goes with that of the ops (ONNX, Versioning). */
static lego_status write_versions(lg_export *file)
{
    Onnx__ModelProto *model = file->model;
    Onnx__OperatorSetIdProto *set = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&model->opset_import, 1));
    LG_TRY(LG_CALLOC(&set, 1));
    onnx__operator_set_id_proto__init(set);
    model->opset_import[0] = set;
    model->n_opset_import = 1;
    set->has_version = 1;
    set->version = file->opset;
    model->has_ir_version = 1;
    model->ir_version = file->opset < 15 ? 7 : file->opset < 19 ? 8 : 9;
    LG_TRY(LG_STRDUP(&model->producer_name, "legodnn"));
    LG_TRY(LG_STRDUP(&model->producer_version, LEGO_VERSION_STRING));
done:
    return status;
}

lego_status lg_onnx_export(const lg_graph *graph, const char *path, const lego_export_options *options)
{
    lg_export file;
    lego_status status = LEGO_OK;

    LG_TRY(lg_export_init(&file, graph, path));
    LG_TRY(choose_opset(&file, options->max_opset ? options->max_opset : 17));
    LG_TRY(write_inputs(&file));
    for (int32_t i = 0; i < graph->n_nodes; i++)
        LG_TRY(write_node(&file, &graph->nodes[i]));
    LG_TRY(write_outputs(&file));
    LG_TRY(write_versions(&file));
    LG_TRY(lg_export_write(&file, options->external_from_bytes));
done:
    lg_export_dispose(&file);
    return status;
}
