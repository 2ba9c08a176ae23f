/* `legodnn profile STORE --data DATA`: what variants cost in accuracy, and how well that predicts. */
#include <math.h>
#include <stdlib.h>

#include "inputs.h"
#include "json.h"
#include "profile.h"

static void print_percent(cli_table *table, double fraction)
{
    if (isfinite(fraction))
        cli_table_cell(table, "%.2f", 100.0 * fraction);
    else
        cli_table_cell(table, "-");
}

static lego_status print_variants(cli_call *cli, const cli_json *server)
{
    static const char *const headers[] = { "block", "variant", ">drop %", ">+-", ">KL", ">cost", ">weights", ">MFLOPs" };
    cli_table *table = cli_table_create(8, headers);
    cli_text text;
    lego_status status;

    cli_json_each(block, cli_json_get(server, "blocks"))
        cli_json_each(variant, cli_json_get(block, "variants")) {
            cli_table_cell(table, "%s", cli_json_text(block, "name", ""));
            cli_table_cell(table, "%s", cli_json_text(variant, "name", ""));
            print_percent(table, cli_json_number(variant, "drop", NAN));
            print_percent(table, cli_json_number(variant, "drop_standard_error", NAN));
            cli_table_cell(table, "%.4f", cli_json_number(variant, "divergence", NAN));
            cli_table_cell(table, "%.4f", cli_json_number(variant, "cost", NAN));
            cli_table_cell(table, "%s", cli_format_bytes(text, cli_json_number(variant, "weight_bytes", 0.0)));
            cli_table_cell(table, "%.2f", cli_json_number(variant, "flops", 0.0) / 1e6);
        }
    status = cli_table_print(cli, table);
    cli_table_free(table);
    return status;
}

/* How much to trust it: the predictors' errors beside the noise. */
static lego_status print_predictors(cli_call *cli, const cli_json *server)
{
    static const char *const headers[] = { "predictor", ">error", ">bias", ">worst", ">tau", "" };
    cli_table *table = cli_table_create(6, headers);
    int is_first = 1;
    lego_status status;

    cli_json_each(predictor, cli_json_get(server, "predictors")) {
        cli_table_cell(table, "%s", cli_json_text(predictor, "name", ""));
        print_percent(table, cli_json_number(predictor, "mae", NAN));
        print_percent(table, cli_json_number(predictor, "bias", NAN));
        print_percent(table, cli_json_number(predictor, "max_error", NAN));
        cli_table_cell(table, "%.2f", cli_json_number(predictor, "kendall_tau", NAN));
        cli_table_cell(table, "%s", is_first ? "used" : "");
        is_first = 0;
    }
    status = cli_table_print(cli, table);
    cli_table_free(table);
    return status;
}

static lego_status print_text(cli_call *cli, const char *document)
{
    cli_json *json = NULL;
    const cli_json *server;
    lego_status status;

    CLI_TRY(cli_json_parse(&json, cli, document));
    server = cli_json_get(json, "server");
    CLI_TRY(print_variants(cli, server));
    cli_printf(cli, "\naccuracy of the original %.2f %% (%s, %.0f samples of the %s split)\n",
               100.0 * cli_json_number(server, "accuracy", NAN), cli_json_text(server, "metric", ""),
               cli_json_number(server, "samples", 0.0), cli_json_text(server, "split", ""));
    cli_printf(cli, "points off on %d random selections that no predictor has seen", cli_json_length(cli_json_get(server, "held_out")));
    if (cli_json_get(server, "noise"))
        cli_printf(cli, " (noise of measuring: %.2f)", 100.0 * cli_json_number(server, "noise.expected_mae", NAN));
    cli_printf(cli, ":\n");
    CLI_TRY(print_predictors(cli, server));
    cli_printf(cli, "%.0f compositions in %.1f s, %.0f %% of the work of running each from the input\n",
               cli_json_number(server, "compositions", 0.0), cli_json_number(server, "seconds", 0.0),
               100.0 * cli_json_number(server, "work_share", NAN));
done:
    cli_json_free(json);
    return status;
}

static lego_status print_profile(cli_call *cli, const struct profile_args *args, const lego_profile *profile)
{
    char *text = NULL;
    lego_status status;

    if (args->csv) {
        CLI_TRY(lego_profile_to_csv(&text, profile));
        cli_printf(cli, "%s", text);
        goto done;
    }
    CLI_TRY(lego_profile_to_json(&text, profile));
    if (cli->json)
        cli_print_document(cli, text);
    else
        CLI_TRY(print_text(cli, text));
done:
    lego_string_free(text);
    return status;
}

lego_status profile_accuracy(cli_call *cli, const struct profile_args *args)
{
    lego_accuracy_options accuracy = LEGO_ACCURACY_OPTIONS_INIT;
    char *path = profile_output_path(cli, LEGO_PROFILE_SERVER_FILE);
    lego_store *store = NULL;
    lego_selection *originals = NULL;
    lego_model *model = NULL;
    lego_dataset *data = NULL;
    lego_profile *profile = NULL;
    lego_status status = LEGO_OK;

    if (!path)
        return cli_fail(cli, "out of memory");
    accuracy.task = lego_task_find(args->task);
    if (!accuracy.task) {
        status = cli_usage(cli, "unknown task '%s'", args->task);
        goto done;
    }
    accuracy.engine = (lego_engine)args->engine;
    accuracy.environments = (int32_t)args->environments;
    accuracy.held_out = args->held_out ? (int32_t)args->held_out : -1;
    accuracy.batch = (int32_t)args->batch;
    accuracy.memory_bytes = args->memory;
    CLI_TRY(lego_store_open(&store, cli->context, cli->args[0]));
    CLI_TRY(lego_selection_parse(&originals, store, NULL));
    CLI_TRY(lego_store_compose(&model, store, originals));
    CLI_TRY(cli_open_data(&data, cli, model, args->data, LEGO_SPLIT_VAL, 0, args->limit));
    CLI_TRY(lego_profile_measure_accuracy(&profile, cli->context, store, data, &accuracy));
    CLI_TRY(print_profile(cli, args, profile)); /* first: a store that cannot be written must not cost the result */
    CLI_TRY(lego_profile_save(profile, path));
    cli_note(cli, "wrote %s", path);
done:
    lego_profile_free(profile);
    lego_dataset_free(data);
    lego_model_free(model);
    lego_selection_free(originals);
    lego_store_free(store);
    free(path);
    return status;
}
