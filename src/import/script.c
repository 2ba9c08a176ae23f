/* The walk over a recorded TorchScript module: operator by operator it becomes a graph. Operators that cannot be imported
 * do not stop it: all of them are named at its end, and what depends on them is skipped without a second message.
 *
 * What every converter yields is held against the shape that torch itself computed, so an operator that was understood
 * wrongly is an error here and not a wrong number later. */
#include "import/script.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "import/advice.h"
#include "import/imported.h"

#define REPORT_BYTES 500                  /* of a message that must fit with a long path */

/* Whether any tensor that the node reads is marked; `set` marks them all. */
static int any_argument(const lg_script_node *node, uint8_t *marks, int set)
{
    int any = 0;

    for (int i = 0; i < node->n_args; i++) {
        const lg_script_arg *arg = &node->args[i];
        const int n = arg->type == LG_SCRIPT_TENSOR ? 1 : arg->type == LG_SCRIPT_TENSORS ? arg->n : 0;

        for (int k = 0; k < n; k++) {
            uint8_t *mark = &marks[arg->type == LG_SCRIPT_TENSOR ? arg->integer : arg->ints[k]];
            any |= *mark;
            *mark = (uint8_t)(*mark | set);
        }
    }
    return any;
}

static int any_output(const lg_script_node *node, const uint8_t *marks)
{
    int any = 0;

    for (int i = 0; i < node->n_outputs; i++)
        any |= marks[node->outputs[i]];
    return any;
}

static void mark_needed(lg_script_import *import)
{
    const lg_script *script = import->script;

    for (int32_t i = 0; i < script->n_outputs; i++)
        import->is_needed[script->outputs[i]] = 1;
    for (int32_t i = script->n_nodes; i-- > 0;)
        if (any_output(&script->nodes[i], import->is_needed))
            (void)any_argument(&script->nodes[i], import->is_needed, 1);
}

/* "aten::relu_" is "relu". */
static void plain_kind(char out[64], const char *kind)
{
    const char *start = strstr(kind, "::");
    size_t length;

    (void)snprintf(out, 64, "%s", start ? start + 2 : kind);
    length = strlen(out);
    if (length > 1 && out[length - 1] == '_' && out[length - 2] != '_')
        out[length - 1] = '\0';
}

/* The name of the module whose weight the node uses; else its scope and kind. Made unique. */
static lego_status name_node(lg_script_at *at)
{
    const lg_graph *graph = at->import->graph;
    char kind[64];
    const char *weight = NULL, *dot = NULL;
    char *base = NULL;
    lego_status status = LEGO_OK;

    plain_kind(kind, at->node->kind);
    for (int i = 0; i < at->node->n_args && !dot; i++) {
        const lg_script_tensor *tensor = lg_script_tensor_of(at, i);
        weight = tensor && tensor->data ? tensor->name : NULL;
        dot = weight ? strrchr(weight, '.') : NULL;
    }
    base = dot                   ? lg_strndup(weight, (size_t)(dot - weight))
           : *at->node->scope    ? lg_asprintf("%s.%s", at->node->scope, kind)
                                 : lg_strdup(kind);
    at->name = base ? lg_strdup(base) : NULL;
    for (int k = 2; at->name && (lg_graph_find_node(graph, at->name) != LG_NONE ||
                                 lg_graph_find_value(graph, at->name) != LG_NONE); k++) {
        lg_free(at->name);
        at->name = lg_asprintf("%s_%d", base, k);
    }
    if (!at->name)
        LG_FAIL(LEGO_ENOMEM, "out of memory naming a node of '%s'", at->node->scope);
done:
    lg_free(base);
    return status;
}

static lg_script_converter find_converter(const char *kind)
{
    static const lg_script_op *const tables[] = { lg_script_layer_ops, lg_script_math_ops, lg_script_part_ops,
                                                  lg_script_product_ops,
                                                  lg_script_shape_ops, lg_script_spatial_ops };
    char plain[64];

    plain_kind(plain, kind);
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
        for (const lg_script_op *op = tables[i]; op->kind; op++)
            if (strcmp(op->kind, plain) == 0)
                return op->convert;
    return NULL;
}

/* Each goes into the log; the message has as many as fit. */
static void report(lg_script_at *at, const char *why)
{
    lg_script_import *import = at->import;

    lg_log(import->context, LEGO_LOG_INFO, "import", "%s: '%s' (%s): %s", import->path, at->name, at->node->kind, why);
    import->n_unsupported++;
    if (import->report.length > REPORT_BYTES) {
        import->n_unlisted++;
        return;
    }
    lg_str_appendf(&import->report, "%s'%s' (%s): %s", import->n_unsupported > 1 ? "; " : "", at->name, at->node->kind,
                   why);
}

static lego_status convert(lg_script_at *at)
{
    const lg_script_converter converter = find_converter(at->node->kind);

    if (at->node->problem)
        return lg_script_unsupported("%s", at->node->problem);
    if (!converter)
        return lg_script_unsupported("this operator is unknown; %s", lg_import_advice(at->node->kind,
                                                       "docs/torchscript.md lists those that are: rewrite the model with them"));
    return converter(at);
}

static void break_outputs(lg_script_import *import, const lg_script_node *node)
{
    for (int i = 0; i < node->n_outputs; i++)
        import->is_broken[node->outputs[i]] = 1;
}

static lego_status convert_node(lg_script_import *import, const lg_script_node *node)
{
    lg_script_at at = { import, node, NULL, 0 };
    const int blocked = any_argument(node, import->is_broken, 0);
    lego_status status = LEGO_OK;

    if (blocked && !node->problem && find_converter(node->kind)) { /* what it lacks was reported */
        break_outputs(import, node);
        return LEGO_OK;
    }
    LG_TRY(name_node(&at));
    status = convert(&at);
    /* EINVAL: the graph's own checks of what the converter asked for */
    if (status == LEGO_EUNSUPPORTED || status == LEGO_EINVAL) {
        report(&at, lego_last_error());
        break_outputs(import, node);
        status = LEGO_OK;
    }
done:
    lg_free(at.name);
    return status;
}

static lego_status convert_nodes(lg_script_import *import)
{
    const lg_script *script = import->script;
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < script->n_nodes; i++) {
        /* numbers made of data are used by whatever comes after */
        if (any_output(&script->nodes[i], import->is_needed) || script->nodes[i].n_outputs == 0)
            LG_TRY(convert_node(import, &script->nodes[i]));
        LG_TRY(lg_progress(import->context, "import", (size_t)i + 1, (size_t)script->n_nodes));
    }
    if (import->n_unlisted > 0)
        lg_str_appendf(&import->report, "; and %d more, which the log names (-v)", (int)import->n_unlisted);
    if (import->n_unsupported > 0)
        LG_FAIL(LEGO_EUNSUPPORTED, "%s: %d operation%s cannot be imported: %s", import->path,
                (int)import->n_unsupported, import->n_unsupported > 1 ? "s" : "",
                import->report.text ? import->report.text : "");
done:
    return status;
}

static lego_status start(lg_script_import *import)
{
    const lg_script *script = import->script;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&import->values, script->n_tensors));
    LG_TRY(LG_CALLOC(&import->places, script->n_tensors));
    LG_TRY(LG_CALLOC(&import->weights, script->n_tensors));
    LG_TRY(LG_CALLOC(&import->is_broken, script->n_tensors));
    LG_TRY(LG_CALLOC(&import->is_needed, script->n_tensors));
    for (int32_t i = 0; i < script->n_tensors; i++)
        import->values[i] = import->weights[i] = LG_NONE;
    LG_TRY(lg_imported_create(&import->graph, import->path, NULL));
    for (int32_t i = 0; i < script->n_inputs; i++) {
        const lg_script_tensor *input = &script->tensors[script->inputs[i]];
        const lg_shape shape = lg_shape_make(input->n_dims - 1, input->dims + 1);
        const lg_shape all = lg_shape_make(input->n_dims, input->dims);

        LG_TRY(lg_graph_add_input(&import->values[script->inputs[i]], import->graph, input->name, LEGO_DTYPE_F32, &shape));
        import->places[script->inputs[i]] = lg_place_at(&all, 0, script->batch);
    }
    mark_needed(import);
done:
    return status;
}

static lego_status set_outputs(lg_script_import *import)
{
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < import->script->n_outputs; i++) {
        if (!lg_place_is_first(&import->places[import->script->outputs[i]]))
            LG_FAIL(LEGO_EUNSUPPORTED, "%s: the batch is not the first axis of output %d; end the module with a transpose",
                    import->path, (int)i);
        LG_TRY(lg_graph_add_output(import->graph, import->values[import->script->outputs[i]]));
    }
    LG_TRY(lg_imported_check(&import->graph, import->path));
done:
    return status;
}

lego_status lg_script_convert(lg_graph **out, const lego_context *context, const char *path, const lg_script *script)
{
    lg_script_import import = { .context = context, .path = path, .script = script };
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(start(&import));
    LG_TRY(convert_nodes(&import));
    LG_TRY(set_outputs(&import));
    *out = import.graph;
    import.graph = NULL;
done:
    lg_graph_free(import.graph);
    lg_free(import.values);
    lg_free(import.places);
    lg_free(import.weights);
    lg_free(import.is_broken);
    lg_free(import.is_needed);
    lg_str_dispose(&import.report);
    return status;
}
