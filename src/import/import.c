/* lego_model_import(): other tools' files -> a model. Here only the entry; a format is a family of files: onnx*.c,
 * script*.c. */
#include "legodnn/import.h"

#include <string.h>

#include "base/buffer.h"
#include "graph/graph.h"
#include "import/script.h"

#ifdef LG_WITH_ONNX
#include "import/onnx.h"
#endif

static lego_status check_input(const lego_import_input *input, int64_t i)
{
    if (input->n_dims < 1 || input->n_dims > LEGO_MAX_DIMS)
        return lg_error(LEGO_EINVAL, "input %lld: %d extents are not in [1, %d]", (long long)i, (int)input->n_dims,
                        LEGO_MAX_DIMS);
    for (int k = 0; k < input->n_dims; k++)
        if (input->dims[k] < 1 || input->dims[k] > INT32_MAX)
            return lg_error(LEGO_EINVAL, "input %lld: extent %lld of axis %d is not in [1, %d]", (long long)i,
                            (long long)input->dims[k], k, INT32_MAX);
    return LEGO_OK;
}

/* Check the options. Every shape ends up in `inputs`; `one` has room for input_dims. */
static lego_status check_options(lego_import_options *opts, lego_import_input *one)
{
    lego_status status = LEGO_OK;

    if (opts->n_input_dims < 0 || opts->n_input_dims > LEGO_MAX_DIMS)
        LG_FAIL(LEGO_EINVAL, "n_input_dims %d is not in [0, %d]", (int)opts->n_input_dims, LEGO_MAX_DIMS);
    if (opts->n_inputs < 0 || (opts->n_inputs > 0) != (opts->inputs != NULL))
        LG_FAIL(LEGO_EINVAL, "n_inputs %lld does not go with inputs that are %s", (long long)opts->n_inputs,
                opts->inputs ? "given" : "NULL");
    if (opts->n_input_dims > 0 && opts->inputs)
        LG_FAIL(LEGO_EINVAL, "input_dims and inputs exclude one another");
    if (opts->n_input_dims > 0) {
        one->n_dims = opts->n_input_dims;
        memcpy(one->dims, opts->input_dims, sizeof(one->dims));
        opts->inputs = one;
        opts->n_inputs = 1;
    }
    if (opts->time_limit_s < 0 || opts->memory_limit_bytes < 0)
        LG_FAIL(LEGO_EINVAL, "limits of %d s and %lld bytes must not be negative", (int)opts->time_limit_s,
                (long long)opts->memory_limit_bytes);
    for (int64_t i = 0; i < opts->n_inputs; i++)
        LG_TRY(check_input(&opts->inputs[i], i));
done:
    return status;
}

static lego_status import_onnx(lg_graph **out, lego_context *context, const char *path,
                               const lego_import_options *options)
{
#ifdef LG_WITH_ONNX
    return lg_onnx_import(out, context, path, options);
#else
    return lg_error(LEGO_EUNSUPPORTED, "%s: this build reads no ONNX files; build with LEGODNN_WITH_ONNX=ON", path);
#endif
}

/* TorchScript files are zip archives; nothing else that is imported begins as one. */
static lego_status is_archive(int *out, const char *path)
{
    lg_buffer *file = NULL;
    lego_status status = LEGO_OK;

    *out = 0;
    LG_TRY(lg_buffer_map(&file, path));
    *out = lg_buffer_size(file) >= 4 && memcmp(lg_buffer_data(file), "PK\3\4", 4) == 0;
done:
    lg_buffer_unref(file);
    return status;
}

lego_status lego_model_import(lego_model **out, lego_context *context, const char *path,
                              const lego_import_options *options)
{
    lego_import_options opts = LEGO_IMPORT_OPTIONS_INIT;
    lego_import_input one = { 0 };
    lg_graph *graph = NULL;
    int archive = 0;
    lego_status status = LEGO_OK;

    if (!out || !path)
        return lg_error(LEGO_EINVAL, "out and path must not be NULL");
    *out = NULL;
    LG_TRY(lg_options_read(&opts, sizeof(opts), options));
    LG_TRY(check_options(&opts, &one));
    LG_TRY(is_archive(&archive, path));
    if (archive)
        LG_TRY(lg_script_import_file(&graph, context, path, &opts));
    else
        LG_TRY(import_onnx(&graph, context, path, &opts));
    LG_TRY(lg_model_from_graph(out, graph));
    graph = NULL;
done:
    lg_graph_free(graph);
    return status;
}
