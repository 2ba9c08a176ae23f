/* Graph files. A safetensors file holds the weights as usual and the graph as JSON text in its metadata, under
 * "legodnn.graph"; Python's safetensors reads it, we map it. A .json file is the graph alone.
 *
 * The two halves of the file are checked against each other: every declared weight is there with that dtype and shape,
 * and nothing else is. */
#include <string.h>

#include "base/alloc.h"
#include "graph/graph.h"
#include "graph/name_map.h"
#include "tensor/safetensors.h"

#define METADATA_KEY "legodnn.graph"

lego_status lg_graph_write(const lg_graph *graph, lg_writer *writer, const lg_json *extra)
{
    lg_json *json = NULL, *metadata = NULL;
    const char **names = NULL;
    const lego_tensor **tensors = NULL;
    const char *text;
    char *graph_text = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_graph_to_json(&json, graph));
    LG_TRY(lg_json_print(&graph_text, json, 0));
    LG_TRY(lg_json_create_object(&metadata));
    LG_TRY(lg_json_set_string(metadata, METADATA_KEY, graph_text));
    if (extra) {
        lg_json_each(item, extra) {
            LG_TRY(lg_json_string(&text, item, "metadata"));
            LG_TRY(lg_json_set_string(metadata, lg_json_key(item), text));
        }
    }
    LG_TRY(LG_CALLOC(&names, graph->n_weights));
    LG_TRY(LG_CALLOC(&tensors, graph->n_weights));
    for (int32_t i = 0; i < graph->n_weights; i++) {
        names[i] = graph->weights[i].name;
        tensors[i] = &graph->weights[i].tensor;
    }
    LG_TRY(lg_safetensors_write(writer, (size_t)graph->n_weights, names, tensors, metadata));
done:
    lg_json_free(json);
    lg_json_free(metadata);
    lg_free(graph_text);
    lg_free(names);
    lg_free(tensors);
    return status;
}

lego_status lg_graph_save(const lg_graph *graph, const char *path, const lg_json *extra)
{
    lg_writer *writer = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_writer_open(&writer, path));
    LG_TRY(lg_graph_write(graph, writer, extra));
    status = lg_writer_commit(writer);
    writer = NULL;
done:
    lg_writer_abort(writer);
    return status;
}

lego_status lg_graph_take_tensor(lego_tensor *out, const lego_tensor *tensor)
{
    if (tensor->offset % lg_dtype_size(tensor->dtype) != 0)
        return lg_tensor_copy(out, tensor);
    lg_tensor_share(out, tensor);
    return LEGO_OK;
}

typedef struct file_source {
    const lg_safetensors *file;
    size_t n_found;
} file_source;

static lego_status weight_from_file(lego_tensor *out, const char *name, lego_dtype dtype, const lg_shape *shape,
                                    void *payload)
{
    file_source *source = payload;
    const lego_tensor *tensor = lg_safetensors_find(source->file, name);
    char have[128], want[128];

    if (!tensor)
        return lg_error(LEGO_EFORMAT, "weight '%s' is declared but not in the file", name);
    if (tensor->dtype != dtype || !lg_shape_equal(&tensor->shape, shape))
        return lg_error(LEGO_EFORMAT, "weight '%s' is %s %s, declared as %s %s", name, lg_dtype_name(tensor->dtype),
                        lg_shape_format(have, &tensor->shape), lg_dtype_name(dtype), lg_shape_format(want, shape));
    source->n_found++;
    return lg_graph_take_tensor(out, tensor);
}

static lego_status check_no_others(const lg_graph *graph, const lg_safetensors *file)
{
    lg_name_map names = { 0 };
    lego_status status = LEGO_OK;

    LG_TRY(lg_name_map_init(&names, (size_t)graph->n_weights));
    for (int32_t i = 0; i < graph->n_weights; i++)
        lg_name_map_add(&names, graph->weights[i].name, i);
    for (size_t i = 0; i < file->n_tensors; i++)
        if (lg_name_map_find(&names, file->names[i]) == LG_NONE)
            LG_FAIL(LEGO_EFORMAT, "%s: tensor '%s' is in the file but not in its graph", file->path, file->names[i]);
done:
    lg_name_map_dispose(&names);
    return status;
}

lego_status lg_graph_load(lg_graph **out, const char *path)
{
    lg_safetensors *file = NULL;
    lg_json *json = NULL;
    lg_graph *graph = NULL;
    file_source source = { 0 };
    const char *text;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(lg_safetensors_load(&file, path));
    if (!file->metadata || !lg_json_has(file->metadata, METADATA_KEY))
        LG_FAIL(LEGO_EFORMAT, "%s: no graph in the metadata ('%s'): plain weights, not a model", path, METADATA_KEY);
    LG_TRY(lg_json_get_string(&text, file->metadata, METADATA_KEY, path));
    LG_TRY(lg_json_parse(&json, text, strlen(text), path));
    source.file = file;
    LG_TRY(lg_graph_from_json(&graph, json, path, weight_from_file, &source));
    if (source.n_found != file->n_tensors)
        LG_TRY(check_no_others(graph, file));
    *out = graph;
    graph = NULL;
done:
    lg_graph_free(graph);
    lg_json_free(json);
    lg_safetensors_free(file);
    return status;
}

lego_status lg_graph_save_json(const lg_graph *graph, const char *path)
{
    lg_json *json = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_graph_to_json(&json, graph));
    LG_TRY(lg_json_save(json, path));
done:
    lg_json_free(json);
    return status;
}

static lego_status fresh_weight(lego_tensor *out, const char *name, lego_dtype dtype, const lg_shape *shape,
                                void *payload)
{
    const size_t limit = *(const size_t *)payload;
    int64_t count;
    lego_status status = LEGO_OK;

    LG_TRY(lg_shape_count(&count, shape, name));
    if ((size_t)count > limit)
        return lg_error(LEGO_EFORMAT, "weight '%s' has %lld elements, more than %zu are not believed", name,
                        (long long)count, limit);
    LG_TRY(lg_tensor_init(out, dtype, shape));
done:
    return status;
}

lego_status lg_graph_load_json(lg_graph **out, const char *path, uint64_t seed)
{
    /* A few bytes of text can ask for any amount of memory: no layer that anyone runs here is larger than this. */
    size_t limit = (size_t)1 << 30;
    lg_json *json = NULL;
    lg_graph *graph = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(lg_json_load(&json, path));
    LG_TRY(lg_graph_from_json(&graph, json, path, fresh_weight, &limit));
    LG_TRY(lg_graph_initialize(graph, seed));
    *out = graph;
    graph = NULL;
done:
    lg_json_free(json);
    lg_graph_free(graph);
    return status;
}
