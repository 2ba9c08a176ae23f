/* The report on blocks as text: what was covered, how wide everything becomes, what stays as it is and why. */
#include <string.h>

#include "blocks_report.h"

static void print_share(cli_call *cli, const cli_json *coverage, const char *what, const char *label)
{
    char path[64];
    double in_blocks, prunable, compressed;

    (void)snprintf(path, sizeof(path), "%s.in_blocks", what);
    in_blocks = cli_json_number(coverage, path, 0.0);
    (void)snprintf(path, sizeof(path), "%s.prunable", what);
    prunable = cli_json_number(coverage, path, 0.0);
    (void)snprintf(path, sizeof(path), "%s.compressed", what);
    compressed = cli_json_number(coverage, path, 0.0);
    cli_printf(cli, "%-13s %.1f %% in blocks, %.1f %% in layers that shrink, %.1f %% lose output channels\n", label,
               100.0 * in_blocks, 100.0 * compressed, 100.0 * prunable);
}

void cli_print_coverage(cli_call *cli, const cli_json *coverage)
{
    print_share(cli, coverage, "flops", "FLOPs");
    print_share(cli, coverage, "parameters", "parameters");
}

/* "conv1, conv2", shortened to fit a cell. */
typedef struct name_list {
    char text[100];
    size_t length;
    int n_more;
} name_list;

static void add_name(name_list *list, const char *name)
{
    if (list->length + strlen(name) + 12 < sizeof(list->text))
        list->length += (size_t)snprintf(list->text + list->length, sizeof(list->text) - list->length, "%s%s",
                                         list->length > 0 ? ", " : "", name);
    else
        list->n_more++;
}

static void print_list(cli_table *table, name_list *list)
{
    if (list->n_more > 0)
        (void)snprintf(list->text + list->length, sizeof(list->text) - list->length, " +%d", list->n_more);
    cli_table_cell(table, "%s", list->text);
}

static lego_status print_blocks(cli_call *cli, const cli_json *blocks)
{
    static const char *const headers[] = { "block", "loses output channels", "loses input channels", "carried along",
                                           "reads", "gives" };
    static const char *const roles[] = { "prunable", "compressed", "carried" };
    static const char *const edges[] = { "inputs", "outputs" };
    cli_table *table = cli_table_create(6, headers);
    lego_status status;

    cli_json_each(block, blocks) {
        cli_table_cell(table, "%s", cli_json_text(block, "name", "?"));
        for (int r = 0; r < 3; r++) {
            name_list list = { "", 0, 0 };

            cli_json_each(layer, cli_json_get(block, "report.layers"))
                if (strcmp(cli_json_text(layer, "role", ""), roles[r]) == 0)
                    add_name(&list, cli_json_text(layer, "name", "?"));
            print_list(table, &list);
        }
        for (int e = 0; e < 2; e++) {
            name_list list = { "", 0, 0 };

            cli_json_each(name, cli_json_get(block, edges[e]))
                add_name(&list, cli_json_string(name));
            print_list(table, &list);
        }
    }
    status = cli_table_print(cli, table);
    cli_table_free(table);
    return status;
}

static lego_status print_widths(cli_call *cli, const cli_json *blocks)
{
    static const char *const headers[] = { "block", ">channels", "kept", "made by" };
    cli_table *table = cli_table_create(4, headers);
    lego_status status;

    cli_json_each(block, blocks)
        cli_json_each(group, cli_json_get(block, "report.groups")) {
            char kept[100] = "";
            size_t at = 0;

            if (!cli_json_get(group, "widths"))
                continue;
            cli_json_each(width, cli_json_get(group, "widths"))
                if (at + 32 < sizeof(kept))
                    at += (size_t)snprintf(kept + at, sizeof(kept) - at, "%s%s %.0f", at > 0 ? ", " : "",
                                           cli_json_key(width), cli_json_value(width));
            cli_table_cell(table, "%s", cli_json_text(block, "name", "?"));
            cli_table_cell(table, "%.0f", cli_json_number(group, "channels", 0.0));
            cli_table_cell(table, "%s", kept);
            cli_table_cell(table, "%s", cli_json_string(cli_json_first(cli_json_get(group, "made_by"))));
        }
    status = cli_table_print(cli, table);
    cli_table_free(table);
    return status;
}

static lego_status print_frozen(cli_call *cli, const cli_json *frozen)
{
    static const char *const headers[] = { "layer", "block", ">FLOPs", "keeps its output channels because" };
    cli_table *table = cli_table_create(4, headers);
    cli_text text;
    lego_status status;

    cli_json_each(layer, frozen) {
        cli_table_cell(table, "%s", cli_json_text(layer, "layer", "?"));
        cli_table_cell(table, "%s", cli_json_text(layer, "block", "-"));
        cli_table_cell(table, "%s", cli_format_count(text, (int64_t)cli_json_number(layer, "flops", 0.0)));
        cli_table_cell(table, "%s", cli_json_text(layer, "reason", "?"));
    }
    status = cli_table_print(cli, table);
    cli_table_free(table);
    return status;
}

lego_status cli_print_blocks_report(cli_call *cli, const cli_json *coverage, const cli_json *blocks)
{
    lego_status status;

    cli_printf(cli, "%d blocks, mode %s, at most %.0f of %.0f layers each\n", cli_json_length(blocks),
               cli_json_text(coverage, "mode", "?"), cli_json_number(coverage, "layers_per_block", 0.0),
               cli_json_number(coverage, "layers", 0.0));
    cli_print_coverage(cli, coverage);
    cli_printf(cli, "\n");
    CLI_TRY(print_blocks(cli, blocks));
    cli_printf(cli, "\n");
    CLI_TRY(print_widths(cli, blocks));
    cli_printf(cli, "\n");
    status = print_frozen(cli, cli_json_get(coverage, "frozen"));
done:
    return status;
}
