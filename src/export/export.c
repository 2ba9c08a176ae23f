/* lego_model_export(): a model -> other tools' files. Here only the entry; a format is a family of files: onnx*.c. */
#include "legodnn/export.h"

#include "base/status.h"
#include "graph/graph.h"

#ifdef LG_WITH_ONNX
#include "export/onnx.h"
#endif

lego_status lego_model_export(const lego_model *model, const char *path, const lego_export_options *options)
{
    lego_export_options opts = LEGO_EXPORT_OPTIONS_INIT;
    lego_status status = LEGO_OK;

    if (!model || !path)
        return lg_error(LEGO_EINVAL, "model and path must not be NULL");
    LG_TRY(lg_options_read(&opts, sizeof(opts), options));
    if (opts.external_from_bytes < 0)
        LG_FAIL(LEGO_EINVAL, "external_from_bytes %lld is negative", (long long)opts.external_from_bytes);
    if (opts.max_opset != 0 && (opts.max_opset < 13 || opts.max_opset > 20))
        LG_FAIL(LEGO_EINVAL, "max_opset %d is not in [13, 20]", (int)opts.max_opset);
#ifdef LG_WITH_ONNX
    LG_TRY(lg_onnx_export(model->graph, path, &opts));
#else
    LG_FAIL(LEGO_EUNSUPPORTED, "%s: this build writes no ONNX files; build with LEGODNN_WITH_ONNX=ON", path);
#endif
done:
    return status;
}
