/* `legodnn info`: what a model, or a store, is made of. Text for people is made from the library's JSON documents. */
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "blocks_report.h"

struct info_args {
    int graph, verify;
};

static const cli_option options[] = {
    CLI_FLAG(struct info_args, graph, "graph", "of a model, every node: op, shape of its output, parameters, MACs"),
    CLI_FLAG(struct info_args, verify, "verify", "of a store, read every file and compare its checksum"),
    CLI_END
};

static void print_shape(cli_call *cli, const char *what, const cli_json *value)
{
    cli_printf(cli, "%-11s %s (N", what, cli_json_text(value, "name", "?"));
    cli_json_each(extent, cli_json_get(value, "shape"))
        if (extent != cli_json_first(cli_json_get(value, "shape")))
            cli_printf(cli, ",%.0f", cli_json_value(extent));
    cli_printf(cli, ")\n");
}

static void format_shape(char text[64], const cli_json *shape)
{
    size_t at = (size_t)snprintf(text, 64, "(N");

    cli_json_each(extent, shape)
        if (extent != cli_json_first(shape) && at < 48)
            at += (size_t)snprintf(text + at, 64 - at, ",%.0f", cli_json_value(extent));
    (void)snprintf(text + at, 64 - at, ")");
}

static lego_status print_nodes(cli_call *cli, const cli_json *nodes)
{
    static const char *const headers[] = { "node", "op", "output", ">parameters", ">MACs" };
    cli_table *table = cli_table_create(5, headers);
    cli_text text;
    char shape[64];
    lego_status status;

    cli_json_each(node, nodes) {
        format_shape(shape, cli_json_get(cli_json_first(cli_json_get(node, "outputs")), "shape"));
        cli_table_cell(table, "%s", cli_json_text(node, "name", ""));
        cli_table_cell(table, "%s", cli_json_text(node, "op", ""));
        cli_table_cell(table, "%s", shape);
        cli_table_cell(table, "%s", cli_format_count(text, (int64_t)cli_json_number(node, "parameters", 0)));
        cli_table_cell(table, "%s", cli_format_count(text, (int64_t)cli_json_number(node, "macs", 0)));
    }
    status = cli_table_print(cli, table);
    cli_table_free(table);
    return status;
}

static lego_status print_model(cli_call *cli, const cli_json *model)
{
    cli_text text;

    cli_printf(cli, "model       %s\n", cli_json_text(model, "name", "?"));
    cli_printf(cli, "parameters  %s\n", cli_format_count(text, (int64_t)cli_json_number(model, "parameters", 0)));
    cli_printf(cli, "MACs        %s\n", cli_format_count(text, (int64_t)cli_json_number(model, "macs", 0)));
    cli_printf(cli, "FLOPs       %s\n", cli_format_count(text, (int64_t)cli_json_number(model, "flops", 0)));
    cli_printf(cli, "weights     %s\n", cli_format_bytes(text, cli_json_number(model, "weight_bytes", 0)));
    cli_json_each(value, cli_json_get(model, "inputs"))
        print_shape(cli, "input", value);
    cli_json_each(value, cli_json_get(model, "outputs"))
        print_shape(cli, "output", value);
    cli_printf(cli, "ops        ");
    cli_json_each(op, cli_json_get(model, "ops"))
        cli_printf(cli, " %s %.0f", cli_json_key(op), cli_json_value(op));
    cli_printf(cli, "\n");
    if (!cli_json_get(model, "nodes"))
        return LEGO_OK;
    cli_printf(cli, "\n");
    return print_nodes(cli, cli_json_get(model, "nodes"));
}

static lego_status run_model(cli_call *cli, const struct info_args *args)
{
    lego_model *model = NULL;
    char *document = NULL;
    lego_status status;

    if (args->verify)
        return cli_usage(cli, "--verify is for stores; a model's file has no checksums");
    CLI_TRY(lego_model_load(&model, cli->context, cli->args[0]));
    CLI_TRY(lego_model_to_json(&document, model, args->graph));
    CLI_TRY(cli_json_show(cli, document, print_model));
done:
    lego_string_free(document);
    lego_model_free(model);
    return status;
}

/* --- stores --- */

static lego_status print_variants(cli_call *cli, const cli_json *blocks)
{
    static const char *const headers[] = { "block", "variant", "precision", ">parameters", ">MACs", ">weights",
                                           "made by" };
    cli_table *table = cli_table_create(7, headers);
    cli_text text;
    lego_status status;

    cli_json_each(block, blocks)
        cli_json_each(variant, cli_json_get(block, "variants")) {
            cli_table_cell(table, "%s", cli_json_text(block, "name", ""));
            cli_table_cell(table, "%s", cli_json_text(variant, "name", ""));
            cli_table_cell(table, "%s", cli_json_text(variant, "precision", ""));
            cli_table_cell(table, "%s", cli_format_count(text, (int64_t)cli_json_number(variant, "parameters", 0)));
            cli_table_cell(table, "%s", cli_format_count(text, (int64_t)cli_json_number(variant, "macs", 0)));
            cli_table_cell(table, "%s", cli_format_bytes(text, cli_json_number(variant, "weight_bytes", 0)));
            cli_table_cell(table, "%s", cli_json_text(variant, "origin", ""));
        }
    status = cli_table_print(cli, table);
    cli_table_free(table);
    return status;
}

/* Sum over blocks of a number of each block's first (largest) or last (smallest) variant, and the frame's. */
static double sum_variants(const cli_json *store, const char *key, int smallest)
{
    char path[64];
    double sum;

    (void)snprintf(path, sizeof(path), "frame.%s", key);
    sum = cli_json_number(store, path, 0);
    cli_json_each(block, cli_json_get(store, "blocks")) {
        double least = INFINITY;
        const cli_json *variants = cli_json_get(block, "variants");
        cli_json_each(variant, variants) {
            double value = cli_json_number(variant, key, 0);
            if (!smallest && variant == cli_json_first(variants))
                sum += value;
            if (value < least)
                least = value;
        }
        if (smallest && least < INFINITY)
            sum += least;
    }
    return sum;
}

static void print_range(cli_call *cli, const cli_json *store, const char *what, const char *key, int bytes)
{
    cli_text from, to;
    const double largest = sum_variants(store, key, 0), smallest = sum_variants(store, key, 1);

    if (bytes)
        cli_printf(cli, "%-13s %s to %s\n", what, cli_format_bytes(from, largest), cli_format_bytes(to, smallest));
    else
        cli_printf(cli, "%-13s %s to %s\n", what, cli_format_count(from, (int64_t)largest),
                   cli_format_count(to, (int64_t)smallest));
}

/* What `extract` wrote about how the store was made. */
static void print_info(cli_call *cli, const cli_json *info)
{
    cli_json_each(item, info) {
        const double value = cli_json_value(item);
        const char *text = cli_json_string(item);
        if (*text)
            cli_printf(cli, "%-13s %s\n", cli_json_key(item), text);
        else if (!isnan(value))
            cli_printf(cli, "%-13s %.6g\n", cli_json_key(item), value);
    }
}

static lego_status print_store(cli_call *cli, const cli_json *store)
{
    const cli_json *blocks = cli_json_get(store, "blocks");
    const cli_json *coverage = cli_json_get(store, "info.coverage");
    double compositions = 1.0;
    int n_variants = 0;
    lego_status status = LEGO_OK;

    cli_json_each(block, blocks) {
        const int n = cli_json_length(cli_json_get(block, "variants"));
        n_variants += n;
        compositions *= n;
    }
    cli_printf(cli, "store         %s\n", cli->args[0]);
    cli_printf(cli, "blocks        %d, with %d variants: %.6g compositions\n", cli_json_length(blocks), n_variants,
               compositions);
    print_range(cli, store, "MACs", "macs", 0);
    print_range(cli, store, "parameters", "parameters", 0);
    print_range(cli, store, "weights", "weight_bytes", 1);
    print_info(cli, cli_json_get(store, "info"));
    if (coverage && cli->verbosity <= 0) {
        cli_printf(cli, "coverage\n");
        cli_print_coverage(cli, coverage);
    }
    cli_printf(cli, "\n");
    CLI_TRY(print_variants(cli, blocks));
    if (coverage && cli->verbosity > 0) {
        cli_printf(cli, "\n");
        status = cli_print_blocks_report(cli, coverage, blocks);
    }
done:
    return status;
}

static lego_status run_store(cli_call *cli, const struct info_args *args)
{
    lego_store *store = NULL;
    char *document = NULL;
    lego_status status;

    if (args->graph)
        return cli_usage(cli, "--graph is for models; name one of the store's files to see its graph");
    CLI_TRY(lego_store_open(&store, cli->context, cli->args[0]));
    if (args->verify) {
        CLI_TRY(lego_store_verify(store));
        cli_note(cli, "every file is as it was written");
    }
    CLI_TRY(lego_store_to_json(&document, store));
    CLI_TRY(cli_json_show(cli, document, print_store));
done:
    lego_string_free(document);
    lego_store_free(store);
    return status;
}

static lego_status run(cli_call *cli, const void *arguments)
{
    struct stat info;

    if (stat(cli->args[0], &info) == 0 && S_ISDIR(info.st_mode))
        return run_store(cli, arguments);
    return run_model(cli, arguments);
}

const cli_command cmd_info = {
    .name = "info",
    .summary = "show what a model or a store is made of",
    .usage = "MODEL [--graph] [--json]\nSTORE [--verify] [-v] [--json]",
    .description = "Of a model: parameters, multiply-accumulates and FLOPs of one sample, bytes of the weights, shapes of\n"
                   "inputs and outputs, ops. Of a store: blocks and variants, how small and how large compositions can\n"
                   "be, how the variants were made; with -v also what every block loses, and what stays and why.",
    CLI_TAKES_MODEL,
    .args_size = sizeof(struct info_args),
    .options = options,
    .examples = "legodnn info teacher.safetensors\nlegodnn info teacher.safetensors --graph --json\n"
                "legodnn info store --verify",
    .run = run,
};
