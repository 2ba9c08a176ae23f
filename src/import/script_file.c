/* A TorchScript file -> graph: the archive is checked before libtorch sees it, then the module is recorded and converted, in a
 * child process if the caller wants libtorch's crashes kept away (child.c). */
#include "import/script.h"

#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "import/child.h"
#include "import/zip_file.h"

#define BATCH 2                           /* of the recorded run: 1 would vanish in a squeeze */
#define MAX_INPUTS 64
#define TIME_LIMIT_S 600
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

static lego_status read_shapes(lg_script_sample **out, const char *path, const lego_import_options *options)
{
    lg_script_sample *shapes = NULL;
    lego_status status = LEGO_OK;

    if (options->n_inputs < 1)
        LG_FAIL(LEGO_EINVAL, "%s: a TorchScript file does not say the shape of its input; give it, batch first "
                "(--input 1x3x224x224)", path);
    if (options->n_inputs > MAX_INPUTS)
        LG_FAIL(LEGO_EINVAL, "%s: %lld shapes are given, %d are possible", path, (long long)options->n_inputs, MAX_INPUTS);
    LG_TRY(LG_CALLOC(&shapes, options->n_inputs));
    for (int64_t i = 0; i < options->n_inputs; i++) {
        const lego_import_input *given = &options->inputs[i];

        if (given->n_dims < 2)
            LG_FAIL(LEGO_EINVAL, "%s: the shape of an input has the batch and at least one more axis, like 1x128", path);
        shapes[i].name = given->name;
        shapes[i].n_dims = given->n_dims;
        memcpy(shapes[i].dims, given->dims, sizeof(shapes[i].dims));
    }
    *out = shapes;
    shapes = NULL;
done:
    lg_free(shapes);
    return status;
}

/* What the child needs, and without a child, too. */
typedef struct recording {
    const char *path;
    const lego_import_options *options;
    const lg_script_sample *shapes;
} recording;

static lego_status record(lg_graph **out, const lego_context *context, void *payload)
{
    const recording *r = payload;
    const lg_torch_api *api = NULL;
    const lg_script *script = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_torch_open(&api, context, "cpu"));
    if (r->options->in_child)
        LG_TRY(lg_child_limit_memory(r->options->memory_limit_bytes));
    status = lg_torch_check(api, api->script_record(&script, r->path, BATCH, (int)r->options->n_inputs, r->shapes), r->path);
    if (status == LEGO_ENOMEM && r->options->in_child)
        LG_FAIL(LEGO_ENOMEM, "%s: libtorch: out of memory; the limit is %lld bytes (--memory-limit)", r->path,
                (long long)r->options->memory_limit_bytes);
    LG_TRY(status);
    LG_TRY(lg_script_convert(out, context, r->path, script));
done:
    if (script)
        api->script_free(script);
    return status;
}

lego_status lg_script_import_file(lg_graph **out, const lego_context *context, const char *path,
                                  const lego_import_options *options)
{
    lego_import_options limited = *options;
    lg_script_sample *shapes = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    if (limited.time_limit_s == 0)
        limited.time_limit_s = TIME_LIMIT_S;
    if (limited.memory_limit_bytes == 0)
        limited.memory_limit_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) / 4 * 3 * sysconf(_SC_PAGESIZE);
    LG_TRY(check_archive(path));
    LG_TRY(read_shapes(&shapes, path, options));
    if (options->in_child)
        LG_TRY(lg_child_run(out, context, path, limited.time_limit_s, record, &(recording){ path, &limited, shapes }));
    else
        LG_TRY(record(out, context, &(recording){ path, &limited, shapes }));
done:
    lg_free(shapes);
    return status;
}
