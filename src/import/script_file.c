/* A TorchScript file -> lg_script: the archive is checked before libtorch sees it, then the module is recorded. */
#include "import/script.h"

#include <string.h>

#include "import/zip_file.h"

#define BATCH 2                           /* of the recorded run: 1 would vanish in a squeeze */
#define MAX_CODE_BYTES ((uint64_t)64 << 20) /* that an entry of the archive may unpack to */

/* libtorch unpacks what it is given, and may crash on what is damaged: look at the archive first. */
static lego_status check_archive(const char *path)
{
    lg_zip *zip = NULL;
    int has_code = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_zip_open(&zip, path));
    for (int32_t i = 0; i < lg_zip_n_entries(zip); i++) {
        const char *name = lg_zip_name(zip, i), *slash = strchr(name, '/');

        has_code |= slash && strcmp(slash, "/constants.pkl") == 0;
        if (!lg_zip_is_plain(zip, i) && lg_zip_size(zip, i) > MAX_CODE_BYTES)
            LG_FAIL(LEGO_EFORMAT, "%s: entry '%s' unpacks to %llu bytes; code has at most %llu", path, name,
                    (unsigned long long)lg_zip_size(zip, i), (unsigned long long)MAX_CODE_BYTES);
        LG_TRY(lg_zip_check(zip, i));
    }
    if (!has_code)
        LG_FAIL(LEGO_EUNSUPPORTED, "%s: an archive without TorchScript code. Weights alone (a state dict) go into a model "
                "that is there ('legodnn weights'); of a module, save torch.jit.trace() or torch.jit.script()", path);
done:
    lg_zip_close(zip);
    return status;
}

lego_status lg_script_import_file(lg_graph **out, const lego_context *context, const char *path,
                                  const lego_import_options *options)
{
    const lg_torch_api *api = NULL;
    const lg_script *script = NULL;
    int64_t dims[LEGO_MAX_DIMS];
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(check_archive(path));
    if (options->n_input_dims < 2)
        LG_FAIL(LEGO_EINVAL, "%s: a TorchScript file does not say the shape of its input; give it, batch first "
                "(--input 1x3x224x224)", path);
    memcpy(dims, options->input_dims, sizeof(dims));
    dims[0] = BATCH;
    LG_TRY(lg_torch_open(&api, context, "cpu"));
    LG_TRY(lg_torch_check(api, api->script_record(&script, path, options->n_input_dims, dims), path));
    LG_TRY(lg_script_convert(out, context, path, script));
done:
    if (script)
        api->script_free(script);
    return status;
}
