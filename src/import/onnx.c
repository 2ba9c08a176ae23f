/* The walk: a checked protobuf becomes a graph, node by node in the file's order.
 *
 *   declare   every name of the file: inputs, initialisers, outputs of nodes; each must be made once
 *   fuse      ops that exporters write as several nodes (onnx_pattern.c)
 *   mark      what the outputs need: exporters leave dead nodes behind
 *   convert   each node is folded if it is constant, otherwise its converter appends to the graph
 *   report    nodes that cannot be imported do not stop the walk: all of them are named at its end
 *
 * ONNX demands that nodes stand in an order in which they can run, so a name read before it is made is an error, and
 * there are no cycles. What depends on a node that failed is skipped without a second message. */
#include "import/onnx.h"

#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "import/advice.h"
#include "import/imported.h"

#define MAX_FILE INT32_MAX      /* protobuf's own limit */
#define REPORT_BYTES 500        /* of a message that must fit with a long path */
#define FOLD_BYTES (64 << 20)   /* folding may create this, and four times the size of the file */

static const char *text_of(const char *text)
{
    return text ? text : "";
}

/* --- declare --- */

static lego_status declare(lg_onnx_value **out, lg_onnx *import, const char *name, int32_t producer)
{
    lg_onnx_value *value = &import->values[import->n_values];

    *out = NULL;
    if (lg_name_map_add(&import->names, name, import->n_values) != LG_NONE)
        return lg_error(LEGO_EFORMAT, "%s: two nodes, inputs or initialisers make the value '%s'", import->path, name);
    *value = (lg_onnx_value){ .name = name, .producer = producer, .value = LG_NONE, .weight = LG_NONE };
    import->n_values++;
    *out = value;
    return LEGO_OK;
}

static lego_status declare_initializers(lg_onnx *import)
{
    lg_onnx_value *value;
    lego_status status = LEGO_OK;

    if (import->proto->n_sparse_initializer > 0)
        return lg_error(LEGO_EUNSUPPORTED, "%s: sparse initialisers; export dense ones", import->path);
    for (size_t i = 0; i < import->proto->n_initializer; i++) {
        const Onnx__TensorProto *proto = import->proto->initializer[i];

        if (!proto->name || !*proto->name)
            return lg_error(LEGO_EFORMAT, "%s: initialiser %zu has no name", import->path, i);
        LG_TRY(declare(&value, import, proto->name, LG_NONE));
        LG_TRY(lg_onnx_tensor(&value->constant, import, proto, proto->name));
        value->is_constant = 1;
    }
done:
    return status;
}

/* A graph input: F32, the batch first. Its shape may be given from outside. */
static lego_status read_input(lg_shape *shape, lg_onnx *import, const Onnx__ValueInfoProto *info,
                              const lego_import_input *outside)
{
    const Onnx__TypeProto__Tensor *type;

    if (!info->type || info->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
        return lg_error(LEGO_EUNSUPPORTED, "%s: input '%s' is no tensor", import->path, info->name);
    type = info->type->tensor_type;
    if (lg_onnx_is_real(type->elem_type) && type->elem_type != ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT)
        lg_log(import->context, LEGO_LOG_INFO, "import", "%s: input '%s' has element type %d, which is read as FLOAT (1)",
               import->path, info->name, (int)type->elem_type);
    if (!lg_onnx_is_real(type->elem_type))
        return lg_error(LEGO_EUNSUPPORTED, "%s: input '%s' has element type %d, graphs take FLOAT (1)", import->path,
                        info->name, (int)type->elem_type);
    if (!type->shape && !outside)
        return lg_error(LEGO_EINVAL, "%s: input '%s' has no shape; give it (--input)", import->path, info->name);
    shape->n_dims = type->shape ? (int32_t)(type->shape->n_dim > LEGO_MAX_DIMS ? LEGO_MAX_DIMS + 1
                                                                               : type->shape->n_dim)
                                : outside->n_dims;
    if (shape->n_dims < 1 || shape->n_dims > LEGO_MAX_DIMS)
        return lg_error(LEGO_EUNSUPPORTED, "%s: input '%s' has %d axes, 1 to %d are possible", import->path,
                        info->name, (int)shape->n_dims, LEGO_MAX_DIMS);
    if (outside && outside->n_dims != shape->n_dims)
        return lg_error(LEGO_EINVAL, "%s: %d extents are given for input '%s', which has %d axes", import->path,
                        (int)outside->n_dims, info->name, (int)shape->n_dims);
    for (int i = 0; i < shape->n_dims; i++) {
        const Onnx__TensorShapeProto__Dimension *dim = type->shape ? type->shape->dim[i] : NULL;
        const int fixed = dim && dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        const int64_t given = outside ? outside->dims[i] : LG_NONE;

        shape->dims[i] = fixed ? dim->dim_value : given;
        if (fixed && (shape->dims[i] < 0 || shape->dims[i] > INT32_MAX))
            return lg_error(LEGO_EFORMAT, "%s: input '%s': extent %lld of axis %d is not in [0, %d]", import->path,
                            info->name, (long long)shape->dims[i], i, INT32_MAX);
        if (i == 0) { /* the batch: any, unless the file fixes it */
            shape->dims[0] = fixed && shape->dims[0] > 0 ? shape->dims[0] : LG_BATCH_MARK;
            continue;
        }
        if (!fixed && given == LG_NONE)
            return lg_error(LEGO_EINVAL, "%s: input '%s': the extent of axis %d (%s) is open; give the shape (--input)",
                            import->path, info->name, i, text_of(dim ? dim->dim_param : NULL));
        if (given != LG_NONE && given != shape->dims[i])
            return lg_error(LEGO_EINVAL, "%s: input '%s': axis %d is given as %lld, the file fixes it to %lld",
                            import->path, info->name, i, (long long)given, (long long)shape->dims[i]);
    }
    return LEGO_OK;
}

static lego_status declare_inputs(lg_onnx *import, const lego_import_options *options)
{
    const char **names = NULL;
    int64_t n_names = 0;
    lego_status status = LEGO_OK;

    import->batch = LG_BATCH_MARK;
    LG_TRY(LG_CALLOC(&names, import->proto->n_input));
    for (size_t i = 0; i < import->proto->n_input; i++) {
        const Onnx__ValueInfoProto *info = import->proto->input[i];
        lg_onnx_value *value;
        lg_shape shape = { 0 }, sample;
        int32_t known;

        if (!info->name || !*info->name)
            LG_FAIL(LEGO_EFORMAT, "%s: input %zu has no name", import->path, i);
        known = lg_name_map_find(&import->names, info->name);
        if (known != LG_NONE && import->values[known].is_constant)
            continue; /* an initialiser, which old files list among the inputs as well */
        LG_TRY(declare(&value, import, info->name, LG_NONE));
        LG_TRY(read_input(&shape, import, info, lg_imported_shape(options, info->name, n_names)));
        names[n_names++] = info->name;
        if (import->batch == LG_BATCH_MARK)
            import->batch = shape.dims[0];
        else if (shape.dims[0] != LG_BATCH_MARK && shape.dims[0] != import->batch)
            LG_FAIL(LEGO_EUNSUPPORTED, "%s: input '%s' has another batch than the first input", import->path,
                    info->name);
        sample = lg_shape_make(shape.n_dims - 1, shape.dims + 1);
        LG_TRY(lg_graph_add_input(&value->value, import->graph, info->name, LEGO_DTYPE_F32, &sample));
        value->place = lg_place_at(&shape, 0, LG_BATCH_MARK);
    }
    for (int32_t i = 0; i < import->n_values; i++)
        if (!import->values[i].is_constant)
            import->values[i].place.shape.dims[0] = import->batch;
    LG_TRY(lg_imported_check_shapes(options, import->path, n_names, names));
done:
    lg_free(names);
    return status;
}

/* Labels of the nodes: their own names where these are unique, else their first output, else their number. */
static lego_status label_nodes(lg_onnx *import)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&import->node_labels, import->proto->n_node));
    LG_TRY(lg_name_map_init(&import->node_names, import->proto->n_node + import->proto->n_input));
    for (int32_t i = 0; i < import->graph->n_inputs; i++) /* inputs and nodes both name values */
        lg_name_map_add(&import->node_names, import->graph->values[import->graph->inputs[i]].name, i);
    for (size_t i = 0; i < import->proto->n_node; i++) {
        const lg_onnx_proto *node = import->proto->node[i];
        const char *candidates[2] = { text_of(node->name), node->n_output > 0 ? node->output[0] : "" };

        for (int k = 0; k < 2 && !import->node_labels[i]; k++)
            if (*candidates[k] && lg_name_map_find(&import->node_names, candidates[k]) == LG_NONE)
                LG_TRY(LG_STRDUP(&import->node_labels[i], candidates[k]));
        if (!import->node_labels[i]) {
            import->node_labels[i] = lg_asprintf("%s#node%zu", text_of(node->op_type), i);
            if (!import->node_labels[i])
                LG_FAIL(LEGO_ENOMEM, "out of memory naming node %zu", i);
        }
        lg_name_map_add(&import->node_names, import->node_labels[i], (int32_t)i);
    }
done:
    return status;
}

static lego_status declare_nodes(lg_onnx *import)
{
    lg_onnx_value *value;
    lego_status status = LEGO_OK;

    for (size_t i = 0; i < import->proto->n_node; i++) {
        const lg_onnx_proto *node = import->proto->node[i];

        if (!node->op_type || !*node->op_type)
            return lg_error(LEGO_EFORMAT, "%s: node '%s' has no op type", import->path, import->node_labels[i]);
        for (size_t k = 0; k < node->n_output; k++)
            if (*node->output[k])
                LG_TRY(declare(&value, import, node->output[k], (int32_t)i));
    }
done:
    return status;
}

/* How many values a graph can make, those of branches included. */
static size_t count_names(const Onnx__GraphProto *graph)
{
    size_t n = graph->n_input + graph->n_initializer;

    for (size_t i = 0; i < graph->n_node; i++) {
        n += graph->node[i]->n_output;
        for (size_t k = 0; k < graph->node[i]->n_attribute; k++)
            if (graph->node[i]->attribute[k]->g)
                n += count_names(graph->node[i]->attribute[k]->g);
    }
    return n;
}

static lego_status declare_all(lg_onnx *import, const lego_import_options *options)
{
    const size_t n_names = count_names(import->proto);
    lego_status status = LEGO_OK;

    LG_TRY(lg_name_map_init(&import->names, n_names));
    LG_TRY(LG_CALLOC(&import->values, n_names));
    LG_TRY(declare_initializers(import));
    LG_TRY(declare_inputs(import, options));
    LG_TRY(label_nodes(import));
    LG_TRY(declare_nodes(import));
done:
    return status;
}

/* Constant nodes are initialisers by another name: patterns look at them. What is wrong with one is told when it is needed. */
static lego_status make_constants(lg_onnx *import)
{
    for (size_t i = 0; i < import->proto->n_node; i++) {
        lg_onnx_node node = { import, import->proto->node[i], import->node_labels[i], 0, 0 };
        int done;
        lego_status status;

        if (strcmp(node.proto->op_type, "Constant") != 0 || *text_of(node.proto->domain))
            continue;
        status = lg_onnx_fold(&done, &node);
        if (status == LEGO_ENOMEM)
            return status;
    }
    return LEGO_OK;
}

/* --- mark --- */

/* What nodes of the branches of node `i` read from the graph around them. */
static lego_status mark_captured(lg_onnx *import, const lg_onnx_proto *node, size_t i)
{
    lego_status status = LEGO_OK;

    for (size_t k = 0; k < node->n_attribute; k++) {
        const Onnx__GraphProto *branch = node->attribute[k]->g;

        for (size_t n = 0; branch && n < branch->n_node; n++) {
            for (size_t input = 0; input < branch->node[n]->n_input; input++) {
                lg_onnx_value *value = lg_onnx_value_named(import, branch->node[n]->input[input]);

                if (value && value->producer >= (int32_t)i)
                    return lg_error(LEGO_EFORMAT, "%s: a branch of node '%s' reads '%s', which is made later", import->path,
                                    import->node_labels[i], value->name);
                if (value)
                    value->is_needed = 1;
            }
            LG_TRY(mark_captured(import, branch->node[n], i));
        }
        for (size_t n = 0; branch && n < branch->n_output; n++) {
            lg_onnx_value *value = lg_onnx_value_named(import, text_of(branch->output[n]->name));

            if (value && value->producer < (int32_t)i)
                value->is_needed = 1;
        }
    }
done:
    return status;
}

static lego_status mark_needed(lg_onnx *import)
{
    lego_status status = LEGO_OK;

    if (import->proto->n_output == 0)
        return lg_error(LEGO_EFORMAT, "%s: the graph has no outputs", import->path);
    for (size_t i = 0; i < import->proto->n_output; i++) {
        const char *name = text_of(import->proto->output[i]->name);
        const int32_t id = lg_name_map_find(&import->names, name);

        if (id == LG_NONE)
            return lg_error(LEGO_EFORMAT, "%s: no node makes the output '%s'", import->path, name);
        import->values[id].is_needed = 1;
    }
    for (size_t i = import->proto->n_node; i-- > 0;) {
        const lg_onnx_proto *node = import->proto->node[i];
        int needed = 0;

        for (size_t k = 0; k < node->n_output; k++)
            if (*node->output[k])
                needed |= import->values[lg_name_map_find(&import->names, node->output[k])].is_needed;
        if (needed)
            LG_TRY(mark_captured(import, node, i));
        for (size_t k = 0; needed && k < node->n_input; k++) {
            const int32_t id = lg_name_map_find(&import->names, node->input[k]);

            if (!*node->input[k])
                continue;
            if (id == LG_NONE)
                return lg_error(LEGO_EFORMAT, "%s: node '%s' (%s) reads '%s', which nothing makes", import->path,
                                import->node_labels[i], node->op_type, node->input[k]);
            if (import->values[id].producer >= (int32_t)i)
                return lg_error(LEGO_EFORMAT,
                                "%s: node '%s' (%s) reads '%s', which node '%s' makes later: a cycle, or not sorted",
                                import->path, import->node_labels[i], node->op_type, node->input[k],
                                import->node_labels[import->values[id].producer]);
            import->values[id].is_needed = 1;
        }
    }
done:
    return status;
}

/* --- convert and report --- */

static lg_onnx_converter find_converter(const char *type)
{
    const lg_onnx_op *const tables[] = { lg_onnx_spatial_ops, lg_onnx_function_ops, lg_onnx_math_ops, lg_onnx_matrix_ops, lg_onnx_reduce_ops, lg_onnx_resize_ops,
                                         lg_onnx_shape_ops };

    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
        for (const lg_onnx_op *op = tables[t]; op->type; op++)
            if (strcmp(op->type, type) == 0)
                return op->convert;
    return NULL;
}

/* Each goes into the log; the message has as many as fit. */
static void report(lg_onnx_node *node, const char *why)
{
    lg_onnx *import = node->import;

    lg_log(import->context, LEGO_LOG_INFO, "import", "%s: node '%s' (%s, opset %lld): %s", import->path, node->name,
           node->proto->op_type, (long long)import->opset, why);
    import->n_unsupported++;
    if (import->report.length > REPORT_BYTES) {
        import->n_unlisted++;
        return;
    }
    lg_str_appendf(&import->report, "%s'%s' (%s): %s", import->n_unsupported > 1 ? "; " : "", node->name,
                   node->proto->op_type, why);
}

static void break_outputs(lg_onnx_node *node)
{
    for (size_t k = 0; k < node->proto->n_output; k++) {
        lg_onnx_value *value = lg_onnx_value_named(node->import, node->proto->output[k]);

        if (value)
            value->is_broken = 1;
    }
}

/* Whether something of the node is needed and not there yet. */
static int is_wanted(const lg_onnx *import, const lg_onnx_proto *node)
{
    for (size_t k = 0; k < node->n_output; k++) {
        const lg_onnx_value *value = lg_onnx_value_named(import, node->output[k]);

        if (value && value->is_needed && !value->is_constant)
            return 1;
    }
    return 0;
}

/* Every needed output must have come out: converters make the ones that they know. */
static lego_status check_outputs(const lg_onnx_node *node)
{
    for (size_t k = 0; k < node->proto->n_output; k++) {
        const lg_onnx_value *value = lg_onnx_value_named(node->import, node->proto->output[k]);

        if (value && value->is_needed && !value->is_constant && value->value == LG_NONE)
            return lg_onnx_unsupported("its output '%s' is used", value->name);
    }
    return LEGO_OK;
}

static lego_status convert_if(lg_onnx_node *node);

static lego_status convert(lg_onnx_node *node)
{
    const char *domain = text_of(node->proto->domain);
    const lg_onnx_converter converter =
        strcmp(node->proto->op_type, "If") == 0 ? convert_if : find_converter(node->proto->op_type);
    int done = 0, blocked = 0;
    lego_status status = LEGO_OK;

    for (int i = 0; i < lg_onnx_n_inputs(node); i++) {
        const lg_onnx_value *input = lg_onnx_input(node, i);
        blocked |= input && input->is_broken;
    }
    if (*domain && strcmp(domain, "ai.onnx") != 0)
        return lg_onnx_unsupported("an op of the domain '%s'; export without custom ops", domain);
    if (!blocked)
        LG_TRY(lg_onnx_fold(&done, node));
    if (done)
        goto done;
    if (!converter && lg_onnx_folds(node->proto->op_type)) {
        if (!blocked)
            LG_FAIL(LEGO_EUNSUPPORTED, "this op is supported on constants only");
        break_outputs(node);
        goto done;
    }
    if (!converter)
        LG_FAIL(LEGO_EUNSUPPORTED, "this op is unknown; %s", lg_import_advice(node->proto->op_type,
                                 "docs/onnx.md lists those that are known: rewrite the model with them"));
    if (blocked) {
        break_outputs(node);
        goto done;
    }
    LG_TRY(converter(node));
    LG_TRY(check_outputs(node));
done:
    return status;
}

/* A node, in whichever graph: what cannot be imported is reported, and nothing that depends on it again. */
static lego_status walk_node(lg_onnx *import, const lg_onnx_proto *proto, const char *label)
{
    lg_onnx_node node = { import, proto, label, 0, 0 };
    lego_status status;

    if (!is_wanted(import, proto))
        return LEGO_OK;
    status = convert(&node);
    if (status == LEGO_EUNSUPPORTED) {
        report(&node, lego_last_error());
        break_outputs(&node);
        status = LEGO_OK;
    } else if (status == LEGO_EINVAL) { /* the graph's own checks: shapes of the file that do not fit */
        status = lg_error(LEGO_EFORMAT, "%s: %s", import->path, lego_last_error());
    }
    return status;
}

/* The names and nodes of a branch, as if they stood in the graph around it. */
static lego_status walk_branch(lg_onnx_node *node, const Onnx__GraphProto *branch)
{
    lg_onnx *import = node->import;
    lg_onnx_value *value;
    char *label = NULL;
    lego_status status = LEGO_OK;

    for (size_t i = 0; i < branch->n_initializer; i++) {
        if (!*text_of(branch->initializer[i]->name))
            LG_FAIL(LEGO_EFORMAT, "%s: an initialiser in a branch of '%s' has no name", import->path, node->name);
        LG_TRY(declare(&value, import, branch->initializer[i]->name, LG_NONE));
        LG_TRY(lg_onnx_tensor(&value->constant, import, branch->initializer[i], value->name));
        value->is_constant = 1;
    }
    for (size_t i = 0; i < branch->n_node; i++) {
        const lg_onnx_proto *inner = branch->node[i];

        for (size_t k = 0; k < inner->n_output; k++)
            if (*inner->output[k]) {
                LG_TRY(declare(&value, import, inner->output[k], LG_NONE));
                value->is_needed = 1;
            }
        for (size_t k = 0; k < inner->n_input; k++) {
            value = lg_onnx_value_named(import, inner->input[k]);
            if (*inner->input[k] && (!value || (!value->is_constant && !value->is_broken && value->value == LG_NONE)))
                LG_FAIL(LEGO_EFORMAT, "%s: a node in a branch of '%s' reads '%s', which nothing made before",
                        import->path, node->name, inner->input[k]);
        }
        label = lg_asprintf("%s/%zu", node->name, i);
        if (!label)
            LG_FAIL(LEGO_ENOMEM, "out of memory naming a node of '%s'", node->name);
        LG_TRY(walk_node(import, inner, label));
        lg_free(label);
        label = NULL;
    }
done:
    lg_free(label);
    return status;
}

/* If with a condition that is known: exporters write one where torch asked for an extent. */
static lego_status convert_if(lg_onnx_node *node)
{
    const lg_onnx_value *condition = lg_onnx_input(node, 0);
    const Onnx__AttributeProto *branch;
    lego_status status = LEGO_OK;

    if (!condition || !condition->is_constant || lg_tensor_count(&condition->constant) != 1)
        LG_FAIL(LEGO_EUNSUPPORTED, "its condition depends on the data");
    branch = lg_onnx_attribute(node, lg_onnx_element(&condition->constant, 0) != 0.0 ? "then_branch" : "else_branch");
    if (!branch || !branch->g || branch->g->n_output != node->proto->n_output)
        LG_FAIL(LEGO_EFORMAT, "node '%s' (If): the branch is missing, or has not %zu outputs", node->name,
                node->proto->n_output);
    LG_TRY(walk_branch(node, branch->g));
    for (size_t i = 0; i < node->proto->n_output; i++) {
        const lg_onnx_value *from = lg_onnx_value_named(node->import, text_of(branch->g->output[i]->name));
        lg_onnx_value *to = lg_onnx_value_named(node->import, node->proto->output[i]);

        if (!from || (!from->is_constant && !from->is_broken && from->value == LG_NONE))
            LG_FAIL(LEGO_EFORMAT, "node '%s' (If): nothing makes output %zu of the branch", node->name, i);
        if (!to)
            continue;
        to->is_broken = from->is_broken;
        to->value = from->value;
        to->place = from->place;
        to->is_constant = from->is_constant;
        if (from->is_constant)
            lg_tensor_share(&to->constant, &from->constant);
    }
done:
    return status;
}

static lego_status convert_nodes(lg_onnx *import)
{
    lego_status status = LEGO_OK;

    for (size_t i = 0; i < import->proto->n_node; i++) {
        LG_TRY(walk_node(import, import->proto->node[i], import->node_labels[i]));
        LG_TRY(lg_progress(import->context, "import", i + 1, import->proto->n_node));
    }
    if (import->n_unlisted > 0)
        lg_str_appendf(&import->report, "; and %d more, which the log names (-v)", (int)import->n_unlisted);
    if (import->n_unsupported > 0)
        LG_FAIL(LEGO_EUNSUPPORTED, "%s (opset %lld): %d node%s cannot be imported: %s", import->path,
                (long long)import->opset, (int)import->n_unsupported, import->n_unsupported > 1 ? "s" : "",
                text_of(import->report.text));
done:
    return status;
}

/* Outputs, as inputs, have the batch in front. */
static lego_status add_output(lg_onnx *import, const lg_onnx_value *value)
{
    lg_onnx_node node = { import, NULL, value->name, 0, 0 };
    lg_place first = import->batch == 1 ? lg_place_first_of_one(&value->place) : value->place;
    int32_t output = value->value;
    lego_status status = LEGO_OK;

    if (!lg_place_is_first(&first))
        LG_FAIL(LEGO_EUNSUPPORTED, "%s: the batch is not the first axis of output '%s'; end the model with a transpose",
                import->path, value->name);
    LG_TRY(lg_onnx_move(&output, &node, &value->place, &first));
    LG_TRY(lg_graph_add_output(import->graph, output));
done:
    return status;
}

static lego_status set_outputs(lg_onnx *import)
{
    lego_status status = LEGO_OK;

    for (size_t i = 0; i < import->proto->n_output; i++) {
        const lg_onnx_value *value =
            &import->values[lg_name_map_find(&import->names, text_of(import->proto->output[i]->name))];

        if (value->is_constant)
            LG_FAIL(LEGO_EUNSUPPORTED, "%s: output '%s' is a constant", import->path, value->name);
        LG_TRY(add_output(import, value));
    }
    LG_TRY(lg_imported_check(&import->graph, import->path));
done:
    return status;
}

/* --- the file --- */

static lego_status open_file(lg_onnx *import)
{
    lg_buffer *file = NULL;
    size_t size;
    lego_status status = LEGO_OK;

    LG_TRY(lg_file_size(&size, import->path));
    if (size > MAX_FILE)
        LG_FAIL(LEGO_EFORMAT, "%s: %zu bytes, an ONNX file has at most %d", import->path, size, MAX_FILE);
    if (size == 0)
        LG_FAIL(LEGO_EFORMAT, "%s: the file is empty", import->path);
    LG_TRY(lg_buffer_map(&file, import->path));
    LG_TRY(lg_onnx_parse(&import->model, lg_buffer_data(file), lg_buffer_size(file), import->path));
    import->fold_budget = (int64_t)FOLD_BYTES + 4 * (int64_t)size;
done:
    lg_buffer_unref(file);
    return status;
}

static lego_status check_versions(lg_onnx *import)
{
    import->proto = import->model->graph;
    if (!import->proto)
        return lg_error(LEGO_EFORMAT, "%s: no graph inside; is it an ONNX file?", import->path);
    for (size_t i = 0; i < import->model->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *set = import->model->opset_import[i];

        if (!*text_of(set->domain) || strcmp(set->domain, "ai.onnx") == 0)
            import->opset = set->version;
    }
    if (import->opset < LG_ONNX_MIN_OPSET || import->opset > LG_ONNX_MAX_OPSET)
        return lg_error(LEGO_EUNSUPPORTED, "%s: opset %lld, %d to %d are supported; export with opset 17", import->path,
                        (long long)import->opset, LG_ONNX_MIN_OPSET, LG_ONNX_MAX_OPSET);
    return LEGO_OK;
}

/* The graph's name in the file; after the file where torch wrote what it calls every graph. */
static lego_status create_graph(lg_onnx *import)
{
    static const char *const empty[] = { "", "torch_jit", "torch-jit-export", "main_graph" };
    const char *name = text_of(import->proto->name);

    for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++)
        if (strcmp(name, empty[i]) == 0)
            return lg_imported_create(&import->graph, import->path, NULL);
    return lg_imported_create(&import->graph, import->path, name);
}

static void dispose(lg_onnx *import)
{
    for (int32_t i = 0; i < import->n_values; i++)
        lg_tensor_dispose(&import->values[i].constant);
    for (size_t i = 0; import->node_labels && i < import->proto->n_node; i++)
        lg_free(import->node_labels[i]);
    lg_free(import->node_labels);
    lg_free(import->values);
    lg_name_map_dispose(&import->names);
    lg_name_map_dispose(&import->node_names);
    lg_str_dispose(&import->report);
    lg_buffer_unref(import->external);
    lg_free(import->external_path);
    lg_free(import->folder);
    lg_graph_free(import->graph);
    lg_onnx_parse_free(import->model);
}

lego_status lg_onnx_import(lg_graph **out, const lego_context *context, const char *path,
                           const lego_import_options *options)
{
    lg_onnx import = { .context = context, .path = path };
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(open_file(&import));
    LG_TRY(check_versions(&import));
    LG_TRY(create_graph(&import));
    LG_TRY(declare_all(&import, options));
    LG_TRY(make_constants(&import));
    LG_TRY(lg_onnx_fuse_patterns(&import));
    LG_TRY(mark_needed(&import));
    LG_TRY(convert_nodes(&import));
    LG_TRY(set_outputs(&import));
    *out = import.graph;
    import.graph = NULL;
done:
    dispose(&import);
    return status;
}
