/* `legodnn profile STORE --latency`: what variants cost in time and memory on this machine, and how well that predicts. */
#include <math.h>
#include <stdlib.h>

#include "json.h"
#include "profile.h"

static void print_timing(cli_table *table, const cli_json *timing, const char *block, const char *variant)
{
    cli_text text;

    cli_table_cell(table, "%s", block);
    cli_table_cell(table, "%s", variant);
    cli_table_cell(table, "%.1f", cli_json_number(timing, "latency_us", NAN));
    if (cli_json_get(timing, "reduction"))
        cli_table_cell(table, "%.1f", 100.0 * cli_json_number(timing, "reduction", NAN));
    else
        cli_table_cell(table, "-");
    cli_table_cell(table, "%.1f", cli_json_number(timing, "median_us", NAN));
    cli_table_cell(table, "%.1f", cli_json_number(timing, "p90_us", NAN));
    cli_table_cell(table, "%.1f", cli_json_number(timing, "spread_us", NAN));
    cli_table_cell(table, "%.0f", cli_json_number(timing, "samples", 0.0));
    cli_table_cell(table, "%s", cli_format_bytes(text, cli_json_number(timing, "resident_bytes", 0.0)));
}

static lego_status print_variants(cli_call *cli, const cli_json *device)
{
    static const char *const headers[] = { "block", "variant", ">us", ">less %", ">median", ">p90", ">spread",
                                           ">samples", ">resident" };
    cli_table *table = cli_table_create(9, headers);
    lego_status status;

    print_timing(table, cli_json_get(device, "frame"), "frame", "");
    cli_json_each(block, cli_json_get(device, "blocks"))
        cli_json_each(variant, cli_json_get(block, "variants"))
            print_timing(table, variant, cli_json_text(block, "name", ""), cli_json_text(variant, "name", ""));
    status = cli_table_print(cli, table);
    cli_table_free(table);
    return status;
}

static lego_status print_text(cli_call *cli, const char *document)
{
    cli_json *json = NULL;
    const cli_json *device;
    cli_text text;
    lego_status status;

    CLI_TRY(cli_json_parse(&json, cli, document));
    device = cli_json_get(json, "device");
    CLI_TRY(print_variants(cli, device));
    cli_printf(cli, "\n%s, %.0f threads, batch %.0f, %s, governor %s, load %.2f\n",
               cli_json_text(device, "engine", ""), cli_json_number(device, "threads", 0.0),
               cli_json_number(device, "batch", 0.0), cli_json_text(device, "cpu", ""),
               cli_json_text(device, "governor", ""), cli_json_number(device, "load_before", 0.0));
    cli_printf(cli, "original %s; activations of the largest composition ",
               cli_format_us(text, cli_json_number(device, "original_us", NAN)));
    cli_printf(cli, "%s\n", cli_format_bytes(text, cli_json_number(device, "arena_bytes", 0.0)));
    if (cli_json_get(device, "held_out"))
        cli_printf(cli, "predicted against measured on %.0f random selections: %.1f %% off on average, %.1f %% at most, "
                        "bias %+.1f %%; margin %.1f %%\n", cli_json_number(device, "held_out.selections", 0.0),
                   100.0 * cli_json_number(device, "held_out.mean_error", NAN),
                   100.0 * cli_json_number(device, "held_out.max_error", NAN),
                   100.0 * cli_json_number(device, "held_out.bias", NAN),
                   100.0 * cli_json_number(device, "held_out.margin", NAN));
    cli_printf(cli, "%.0f compositions, %.0f rounds and %.0f repeated ones\n", cli_json_number(device, "compositions", 0.0),
               cli_json_number(device, "rounds", 0.0), cli_json_number(device, "repeated_rounds", 0.0));
done:
    cli_json_free(json);
    return status;
}

lego_status profile_latency(cli_call *cli, const struct profile_args *args)
{
    lego_latency_options latency = LEGO_LATENCY_OPTIONS_INIT;
    char *path = profile_output_path(cli, LEGO_PROFILE_DEVICE_FILE), *text = NULL;
    lego_store *store = NULL;
    lego_profile *profile = NULL;
    lego_status status = LEGO_OK;

    if (!path)
        return cli_fail(cli, "out of memory");
    latency.engine = (lego_engine)args->engine;
    latency.batch = cli_given(cli, "batch") ? (int32_t)args->batch : 1;
    latency.samples = (int32_t)args->samples;
    latency.held_out = args->held_out ? (int32_t)args->held_out : -1;
    CLI_TRY(lego_store_open(&store, cli->context, cli->args[0]));
    CLI_TRY(lego_profile_measure_latency(&profile, cli->context, store, &latency));
    CLI_TRY(lego_profile_save(profile, path));
    if (args->csv) {
        CLI_TRY(lego_profile_to_csv(&text, profile));
        cli_printf(cli, "%s", text);
    } else {
        CLI_TRY(lego_profile_to_json(&text, profile));
        if (cli->json)
            cli_print_document(cli, text);
        else
            CLI_TRY(print_text(cli, text));
    }
    cli_note(cli, "wrote %s", path);
done:
    lego_string_free(text);
    lego_profile_free(profile);
    lego_store_free(store);
    free(path);
    return status;
}

lego_status profile_compare(cli_call *cli, const struct profile_args *args)
{
    lego_compare_options accepted = LEGO_COMPARE_OPTIONS_INIT;
    lego_profile *before = NULL, *after = NULL;
    lego_comparison *comparison = NULL;
    char *document = NULL;
    int32_t n;
    lego_status status;

    accepted.latency = accepted.size = args->tolerance > 0.0 ? args->tolerance : -1.0;
    accepted.accuracy = args->accuracy_tolerance > 0.0 ? args->accuracy_tolerance : -1.0;
    CLI_TRY(lego_profile_load(&before, cli->args[0]));
    CLI_TRY(lego_profile_load(&after, cli->args[1]));
    CLI_TRY(lego_profile_compare(&comparison, before, after, &accepted));
    n = lego_comparison_n_worse(comparison);
    if (cli->json) {
        CLI_TRY(lego_comparison_to_json(&document, comparison));
        cli_print_document(cli, document);
    } else {
        for (int32_t i = 0; i < n; i++)
            cli_printf(cli, "%s\n", lego_comparison_worse(comparison, i));
        if (n == 0)
            cli_printf(cli, "nothing got worse\n");
    }
    if (n > 0) {
        cli_note(cli, "%d got worse", n);
        cli->exit_code = CLI_FAILED;
    }
done:
    lego_string_free(document);
    lego_comparison_free(comparison);
    lego_profile_free(before);
    lego_profile_free(after);
    return status;
}
