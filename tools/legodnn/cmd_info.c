/* `legodnn info`: what a model is made of. */
#include "cli.h"

struct info_args {
    int graph;
};

static const cli_option options[] = {
    CLI_FLAG(struct info_args, graph, "graph", "every node: op, shapes, parameters, MACs"),
    CLI_END
};

static void format_shape(char text[128], int n_dims, const int64_t *dims)
{
    size_t at = (size_t)snprintf(text, 128, "(N");

    for (int i = 1; i < n_dims && at < 100; i++)
        at += (size_t)snprintf(text + at, 128 - at, ",%lld", (long long)dims[i]);
    (void)snprintf(text + at, 128 - at, ")");
}

static lego_status print_model(cli_call *cli, const lego_model *model)
{
    lego_model_info info;
    cli_text text;
    char shape[128];
    int64_t dims[LEGO_MAX_DIMS];
    int n_dims = 0;
    lego_status status;

    CLI_TRY(lego_model_get_info(&info, model));
    cli_printf(cli, "parameters  %s\n", cli_format_count(text, info.n_parameters));
    cli_printf(cli, "MACs        %s\n", cli_format_count(text, info.n_macs));
    cli_printf(cli, "FLOPs       %s\n", cli_format_count(text, info.flops));
    cli_printf(cli, "weights     %s\n", cli_format_bytes(text, (double)info.weight_bytes));
    cli_printf(cli, "nodes       %lld\n", (long long)info.n_nodes);
    for (int64_t i = 0; i < info.n_inputs; i++) {
        CLI_TRY(lego_model_input_shape(model, i, &n_dims, dims));
        format_shape(shape, n_dims, dims);
        cli_printf(cli, "input %lld     %s\n", (long long)i, shape);
    }
    for (int64_t i = 0; i < info.n_outputs; i++) {
        CLI_TRY(lego_model_output_shape(model, i, &n_dims, dims));
        format_shape(shape, n_dims, dims);
        cli_printf(cli, "output %lld    %s\n", (long long)i, shape);
    }
done:
    return status;
}

static lego_status run(cli_call *cli, const void *arguments)
{
    const struct info_args *args = arguments;
    lego_model *model = NULL;
    char *document = NULL;
    lego_status status;

    CLI_TRY(lego_model_load(&model, cli->context, cli->args[0]));
    if (cli->json) {
        CLI_TRY(lego_model_to_json(&document, model, args->graph));
        cli_print_document(cli, document);
    } else {
        CLI_TRY(print_model(cli, model));
    }
done:
    lego_string_free(document);
    lego_model_free(model);
    return status;
}

const cli_command cmd_info = {
    .name = "info",
    .summary = "show what a model is made of",
    .usage = "MODEL [--graph] [--json]",
    .description = "Prints parameters, multiply-accumulates and FLOPs of one sample, bytes of the weights and the shapes\n"
                   "of inputs and outputs.",
    .arguments = "MODEL",
    .min_args = 1,
    .max_args = 1,
    .args_size = sizeof(struct info_args),
    .options = options,
    .examples = "legodnn info teacher.safetensors\nlegodnn info teacher.safetensors --graph --json",
    .run = run,
};
