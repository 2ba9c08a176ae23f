/* What most commands start from: a MODEL or a STORE with a selection, and DATA. */
#include "inputs.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

const char *const cli_splits[] = { "train", "val", "test", NULL };

lego_status cli_load_model(lego_model **out, cli_call *cli, const char *path, const char *selection)
{
    lego_store *store = NULL;
    lego_selection *selected = NULL;
    struct stat about;
    lego_status status;

    *out = NULL;
    if (stat(path, &about) != 0)
        return cli_fail(cli, "%s: cannot open: %s", path, strerror(errno));
    if (!S_ISDIR(about.st_mode)) {
        if (selection)
            return cli_usage(cli, "--selection goes with a store; '%s' is not a folder", path);
        return lego_model_load(out, cli->context, path);
    }
    CLI_TRY(lego_store_open(&store, cli->context, path));
    CLI_TRY(lego_selection_parse(&selected, store, selection));
    CLI_TRY(lego_store_compose(out, store, selected));
done:
    lego_selection_free(selected);
    lego_store_free(store);
    return status;
}

int64_t cli_find_input(const char **path, const lego_model *model, const char *text, int64_t i)
{
    const char *equals = strchr(text, '='), *name;

    *path = text;
    for (int64_t k = 0; equals && (name = lego_model_input_name(model, k)) != NULL; k++)
        if (strlen(name) == (size_t)(equals - text) && strncmp(name, text, strlen(name)) == 0) {
            *path = equals + 1;
            return k;
        }
    return i;
}

lego_status cli_resolve_latency(double *limit_us, cli_call *cli, const lego_optimizer *optimizer, const lego_store *store)
{
    lego_selection *original = NULL;
    lego_prediction prediction;
    lego_status status = LEGO_OK;

    if (*limit_us >= 0.0)
        return LEGO_OK;
    CLI_TRY(lego_selection_parse(&original, store, NULL));
    CLI_TRY(lego_optimizer_predict(&prediction, optimizer, original));
    if (isnan(prediction.latency_ms))
        CLI_TRY(cli_fail(cli, "--latency %g%%: how long the original takes is not known yet: run `legodnn profile %s --latency`",
                         -100.0 * *limit_us, cli->args[0]));
    *limit_us *= -1e3 * prediction.latency_ms;
done:
    lego_selection_free(original);
    return status;
}

#ifndef LEGODNN_ONLINE_ONLY
lego_status cli_open_data(lego_dataset **out, cli_call *cli, const lego_model *model, const char *spec,
                          lego_split split, int augment, int64_t limit)
{
    lego_dataset_options options = LEGO_DATASET_OPTIONS_INIT;
    int64_t dims[LEGO_MAX_DIMS];
    int n_dims = 0;
    lego_status status;

    *out = NULL;
    if (!spec)
        return cli_usage(cli, "--data DATA is missing: NAME[:FOLDER], e.g. fashion-mnist");
    CLI_TRY(lego_model_input_shape(model, 0, &n_dims, dims));
    if (lego_model_input_name(model, 1))
        return cli_fail(cli, "'%s' has several inputs; a data set delivers one, images", cli->args[0]);
    if (n_dims != 4)
        return cli_fail(cli, "'%s' takes no images: its input has %d dimensions", cli->args[0], n_dims);
    for (int i = 0; i < 3; i++)
        options.input[i] = (int32_t)dims[i + 1];
    options.split = split;
    options.augment = augment;
    options.limit = limit;
    CLI_TRY(lego_dataset_open(out, cli->context, spec, &options));
done:
    return status;
}
#endif
