/* Weights of a file into a model, by name.
 *
 * Strict unless asked otherwise, because a half-matched network computes nonsense without complaint; and complete: all that
 * does not fit is reported at once, since nobody wants to learn of 120 wrong names one at a time. The model is touched
 * last, so a failure leaves it as it was. */
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "graph/graph.h"
#include "import/weight_file.h"
#include "legodnn/import.h"

#define SCHEMA "legodnn.weights/1"
#define MAX_NAMED 6 /* names of each kind in the message; the report has them all */

/* One of the lists of the report. */
typedef struct list {
    lg_json *json; /* in the report */
    lg_str names;  /* of the first few */
    int32_t n;
} list;

typedef struct comparison {
    const lg_graph *graph;
    const lg_weight_file *file;
    const char *path;
    lg_json *report;
    list missing, unexpected, mismatched, ignored;
    lg_name_map model_names;
    int32_t *entry_of; /* by weight: what it takes, or LG_NONE */
    int32_t n_taken;
    lg_str hint;
} comparison;

static lego_status describe(lg_json *object, lego_dtype dtype, const lg_shape *shape)
{
    lg_json *dims;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_string(object, "dtype", lg_dtype_name(dtype)));
    LG_TRY(lg_json_set_array(&dims, object, "shape"));
    for (int i = 0; i < shape->n_dims; i++)
        LG_TRY(lg_json_push_int(dims, shape->dims[i]));
done:
    return status;
}

/* Add an object with the name and what is given of it; `out` may be NULL. */
static lego_status add(lg_json **out, list *to, const char *name, lego_dtype dtype, const lg_shape *shape)
{
    lg_json *object;
    lego_status status = LEGO_OK;

    if (to->n < MAX_NAMED)
        lg_str_appendf(&to->names, "%s%.60s", to->n > 0 ? ", " : "", name);
    to->n++;
    LG_TRY(lg_json_push_object(&object, to->json));
    LG_TRY(lg_json_set_string(object, "name", name));
    if (shape)
        LG_TRY(describe(object, dtype, shape));
    if (out)
        *out = object;
done:
    return status;
}

static int fits(const lg_weight_entry *entry, const lg_weight *weight)
{
    if (!lg_shape_equal(&entry->shape, &weight->tensor.shape))
        return 0;
    return entry->dtype == weight->tensor.dtype ||
           (weight->tensor.dtype == LEGO_DTYPE_F32 && lg_dtype_is_float(entry->dtype));
}

static lego_status add_mismatch(list *to, const lg_weight_entry *entry, const lg_weight *weight)
{
    lg_json *object, *expected;
    char have[128], want[128];
    lego_status status = LEGO_OK;

    LG_TRY(add(&object, to, entry->name, entry->dtype, &entry->shape));
    if (to->n <= MAX_NAMED)
        lg_str_appendf(&to->names, " is %s %s, the model has %s %s", lg_dtype_name(entry->dtype),
                       lg_shape_format(have, &entry->shape), lg_dtype_name(weight->tensor.dtype),
                       lg_shape_format(want, &weight->tensor.shape));
    LG_TRY(lg_json_set_object(&expected, object, "expected"));
    LG_TRY(describe(expected, weight->tensor.dtype, &weight->tensor.shape));
done:
    return status;
}

static lego_status compare_weights(comparison *c)
{
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < c->graph->n_weights; i++) {
        const lg_weight *weight = &c->graph->weights[i];
        const int32_t entry = lg_name_map_find(&c->file->names, weight->name);

        c->entry_of[i] = LG_NONE;
        if (entry == LG_NONE) {
            LG_TRY(add(NULL, &c->missing, weight->name, weight->tensor.dtype, &weight->tensor.shape));
        } else if (!fits(&c->file->entries[entry], weight)) {
            LG_TRY(add_mismatch(&c->mismatched, &c->file->entries[entry], weight));
        } else {
            c->entry_of[i] = entry;
            c->n_taken++;
        }
    }
done:
    return status;
}

/* "module.conv1.weight" is the model's "conv1.weight", which is missing, behind a prefix: say so, once. */
static void look_for_prefix(comparison *c, const char *name)
{
    for (const char *dot = strchr(name, '.'); dot && c->hint.length == 0; dot = strchr(dot + 1, '.')) {
        const int length = dot + 1 - name > 80 ? 80 : (int)(dot + 1 - name);

        if (lg_name_map_find(&c->model_names, dot + 1) != LG_NONE &&
            lg_name_map_find(&c->file->names, dot + 1) == LG_NONE)
            lg_str_appendf(&c->hint, "'%.80s' is the model's '%.80s' behind a prefix: strip '%.*s'", name, dot + 1,
                           length, name);
    }
}

static lego_status compare_entries(comparison *c)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_name_map_init(&c->model_names, (size_t)c->graph->n_weights));
    for (int32_t i = 0; i < c->graph->n_weights; i++)
        lg_name_map_add(&c->model_names, c->graph->weights[i].name, i);
    for (int32_t i = 0; i < c->file->n_entries; i++) {
        const lg_weight_entry *entry = &c->file->entries[i];

        if (lg_name_map_find(&c->model_names, entry->name) != LG_NONE)
            continue;
        /* torch's counter of batches: no graph here has one, no inference needs it */
        if (lg_str_ends_with(entry->name, "num_batches_tracked")) {
            LG_TRY(add(NULL, &c->ignored, entry->name, entry->dtype, &entry->shape));
            continue;
        }
        LG_TRY(add(NULL, &c->unexpected, entry->name, entry->dtype, &entry->shape));
        look_for_prefix(c, entry->name);
    }
    for (int32_t i = 0; i < lg_weight_file_n_others(c->file); i++)
        LG_TRY(add(NULL, &c->ignored, lg_weight_file_other(c->file, i), LEGO_DTYPE_F32, NULL));
done:
    return status;
}

static lego_status start_report(comparison *c)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_create_object(&c->report));
    LG_TRY(lg_json_set_string(c->report, "schema", SCHEMA));
    LG_TRY(lg_json_set_string(c->report, "file", c->path));
    LG_TRY(lg_json_set_string(c->report, "format", c->file->format));
    LG_TRY(lg_json_set_string(c->report, "key", c->file->key));
    LG_TRY(lg_json_set_int(c->report, "weights", c->graph->n_weights));
    LG_TRY(lg_json_set_array(&c->missing.json, c->report, "missing"));
    LG_TRY(lg_json_set_array(&c->unexpected.json, c->report, "unexpected"));
    LG_TRY(lg_json_set_array(&c->mismatched.json, c->report, "mismatched"));
    LG_TRY(lg_json_set_array(&c->ignored.json, c->report, "ignored"));
done:
    return status;
}

static lego_status compare(comparison *c)
{
    lego_status status = LEGO_OK;

    LG_TRY(start_report(c));
    LG_TRY(LG_CALLOC(&c->entry_of, c->graph->n_weights));
    LG_TRY(compare_weights(c));
    LG_TRY(compare_entries(c));
    LG_TRY(lg_json_set_int(c->report, "taken", c->n_taken));
    if (c->hint.length > 0)
        LG_TRY(lg_json_set_string(c->report, "hint", c->hint.text));
done:
    return status;
}

static void comparison_dispose(comparison *c)
{
    lg_json_free(c->report);
    lg_str_dispose(&c->missing.names);
    lg_str_dispose(&c->unexpected.names);
    lg_str_dispose(&c->mismatched.names);
    lg_str_dispose(&c->ignored.names);
    lg_str_dispose(&c->hint);
    lg_name_map_dispose(&c->model_names);
    lg_free(c->entry_of);
}

static void complain(lg_str *text, const list *of, const char *what)
{
    if (of->n == 0)
        return;
    lg_str_appendf(text, "; %d %s: %s", (int)of->n, what, of->names.text ? of->names.text : "");
    if (of->n > MAX_NAMED)
        lg_str_appendf(text, " and %d more", (int)of->n - MAX_NAMED);
}

/* The verdict as a status, with a message. */
static lego_status judge(const comparison *c, int partial)
{
    lg_str text = LG_STR_INIT;
    lego_status status = LEGO_OK;

    if (partial ? c->n_taken > 0 : c->missing.n + c->unexpected.n + c->mismatched.n == 0)
        return LEGO_OK;
    lg_str_appendf(&text, "%s: fits %d of the model's %d weights", c->path, (int)c->n_taken, (int)c->graph->n_weights);
    complain(&text, &c->missing, "missing");
    complain(&text, &c->unexpected, "not in the model");
    complain(&text, &c->mismatched, "of another shape or type");
    if (c->hint.length > 0)
        lg_str_appendf(&text, "; %s", c->hint.text);
    status = text.failed ? lg_error(LEGO_ENOMEM, "out of memory") : lg_error(LEGO_EFORMAT, "%s", text.text);
    lg_str_dispose(&text);
    return status;
}

/* A copy of the model's graph with the weights that fit. */
static lego_status take_weights(lg_graph **out, const comparison *c, lg_weight_file *file)
{
    lg_graph *loaded = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_graph_clone(&loaded, c->graph));
    for (int32_t i = 0; i < loaded->n_weights; i++) {
        lego_tensor taken = { 0 };

        if (c->entry_of[i] == LG_NONE)
            continue;
        LG_TRY(lg_weight_file_read(&taken, file, c->entry_of[i]));
        lg_tensor_dispose(&loaded->weights[i].tensor);
        loaded->weights[i].tensor = taken;
    }
    if (lg_graph_check_finite(loaded) != LEGO_OK)
        LG_FAIL(LEGO_EFORMAT, "%s: %s", c->path, lego_last_error());
    *out = loaded;
    loaded = NULL;
done:
    lg_graph_free(loaded);
    return status;
}

lego_status lego_model_load_weights(char **report, lego_model *model, const char *path,
                                    const lego_weights_options *options)
{
    lego_weights_options opts = LEGO_WEIGHTS_OPTIONS_INIT;
    lg_weight_file *file = NULL;
    comparison c = { .path = path };
    lg_graph *loaded = NULL;
    char *text = NULL;
    lego_status status = LEGO_OK;

    if (report)
        *report = NULL;
    if (!model || !path)
        return lg_error(LEGO_EINVAL, "model and path must not be NULL");
    LG_TRY(lg_options_read(&opts, sizeof(opts), options));
    LG_TRY(lg_weight_file_open(&file, path, opts.strip_prefix, opts.key));
    c.graph = model->graph;
    c.file = file;
    LG_TRY(compare(&c));
    if (report)
        LG_TRY(lg_json_print(&text, c.report, 1));
    status = judge(&c, opts.partial);
    if (status == LEGO_OK)
        status = take_weights(&loaded, &c, file);
    else if (status == LEGO_EFORMAT && report) {
        *report = text; /* why it does not fit */
        text = NULL;
    }
    if (status != LEGO_OK)
        goto done;
    lg_graph_free(model->graph);
    model->graph = loaded;
    if (report)
        *report = text;
    text = NULL;
done:
    lg_free(text);
    comparison_dispose(&c);
    lg_weight_file_free(file);
    return status;
}
