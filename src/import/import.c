/* lego_model_import(): other tools' files -> a model. Here only the entry; a format is a family of files: onnx*.c. */
#include "legodnn/import.h"

#include "base/status.h"
#include "graph/graph.h"

#ifdef LG_WITH_ONNX
#include "import/onnx.h"
#endif

lego_status lego_model_import(lego_model **out, lego_context *context, const char *path,
                              const lego_import_options *options)
{
    lego_import_options opts = LEGO_IMPORT_OPTIONS_INIT;
    lg_graph *graph = NULL;
    lego_status status = LEGO_OK;

    if (!out || !path)
        return lg_error(LEGO_EINVAL, "out and path must not be NULL");
    *out = NULL;
    LG_TRY(lg_options_read(&opts, sizeof(opts), options));
    if (opts.n_input_dims < 0 || opts.n_input_dims > LEGO_MAX_DIMS)
        LG_FAIL(LEGO_EINVAL, "n_input_dims %d is not in [0, %d]", (int)opts.n_input_dims, LEGO_MAX_DIMS);
    for (int i = 0; i < opts.n_input_dims; i++)
        if (opts.input_dims[i] < 1 || opts.input_dims[i] > INT32_MAX)
            LG_FAIL(LEGO_EINVAL, "input_dims[%d] = %lld is not in [1, %d]", i, (long long)opts.input_dims[i],
                    INT32_MAX);
#ifdef LG_WITH_ONNX
    LG_TRY(lg_onnx_import(&graph, context, path, &opts));
#else
    LG_FAIL(LEGO_EUNSUPPORTED, "%s: this build reads no ONNX files; build with LEGODNN_WITH_ONNX=ON", path);
#endif
    LG_TRY(lg_model_from_graph(out, graph));
    graph = NULL;
done:
    lg_graph_free(graph);
    return status;
}
