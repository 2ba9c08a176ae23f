/* `legodnn zoo list` and `legodnn zoo new`: architectures by name, with fresh weights. */
#include "cli.h"

static lego_status run_list(cli_call *cli, const void *arguments)
{
    static const char *const headers[] = { "name", "what it is" };
    cli_table *table = NULL;
    lego_status status = LEGO_OK;

    if (cli->json) {
        cli_printf(cli, "{\n  \"schema\": \"legodnn.zoo/1\",\n  \"models\": [");
        for (size_t i = 0; lego_zoo_name(i); i++) {
            cli_printf(cli, "%s\n    { \"name\": ", i ? "," : "");
            cli_print_json_string(cli, lego_zoo_name(i));
            cli_printf(cli, ", \"summary\": ");
            cli_print_json_string(cli, lego_zoo_summary(i));
            cli_printf(cli, " }");
        }
        cli_printf(cli, "\n  ]\n}\n");
        return LEGO_OK;
    }
    table = cli_table_create(2, headers);
    for (size_t i = 0; lego_zoo_name(i); i++) {
        cli_table_cell(table, "%s", lego_zoo_name(i));
        cli_table_cell(table, "%s", lego_zoo_summary(i));
    }
    status = cli_table_print(cli, table);
    cli_table_free(table);
    return status;
}

const cli_command cmd_zoo_list = {
    .name = "zoo list",
    .summary = "list the architectures that 'zoo new' builds",
    .usage = "[--json]",
    .description = "Prints the name and one line about every architecture of the zoo.",
    .examples = "legodnn zoo list",
    .run = run_list,
};

struct new_args {
    int64_t width, classes;
    double width_mult;
    cli_dims input;
};

static const cli_option new_options[] = {
    CLI_INT(struct new_args, width, "width", "N", 1, 65536, NULL,
            "channels of the first stage; the others scale with it (ResNet: 64)"),
    CLI_DOUBLE(struct new_args, width_mult, "width-mult", "X", 0.01, 100.0, NULL, "width multiplier of MobileNets"),
    CLI_DIMS(struct new_args, input, "input", "CxHxW", NULL, "input of one sample, e.g. 3x32x32"),
    CLI_INT(struct new_args, classes, "classes", "K", 1, 1000000, NULL, "outputs of the classifier"),
    CLI_END
};

static lego_status run_new(cli_call *cli, const void *arguments)
{
    const struct new_args *args = arguments;
    lego_zoo_options zoo = LEGO_ZOO_OPTIONS_INIT;
    lego_model_info info;
    lego_model *model = NULL;
    cli_text count;
    lego_status status;

    if (!cli->output)
        return cli_usage(cli, "-o MODEL is missing: the file to write");
    if (args->input.n != 0 && args->input.n != 3)
        return cli_usage(cli, "--input needs three extents, CxHxW");
    zoo.width = (int32_t)args->width;
    zoo.classes = (int32_t)args->classes;
    zoo.width_mult = args->width_mult;
    for (int i = 0; i < args->input.n; i++)
        zoo.input[i] = (int32_t)args->input.dims[i];
    CLI_TRY(lego_zoo_build(&model, cli->context, cli->args[0], &zoo));
    CLI_TRY(lego_model_save(model, cli->output));
    CLI_TRY(lego_model_get_info(&info, model));
    cli_note(cli, "wrote %s: %s parameters, fresh weights", cli->output, cli_format_count(count, info.n_parameters));
done:
    lego_model_free(model);
    return status;
}

const cli_command cmd_zoo_new = {
    .name = "zoo new",
    .summary = "build an architecture with fresh weights",
    .usage = "NAME [options] -o MODEL",
    .description = "Builds the architecture NAME ('legodnn zoo list' has them) with weights initialised as PyTorch\n"
                   "does it, and writes it as one safetensors file whose metadata holds the graph. A MODEL that ends\n"
                   "in .json receives the graph alone. Options left out take the architecture's own values.",
    .arguments = "NAME",
    .min_args = 1,
    .max_args = 1,
    .output = CLI_OUTPUT_ARTIFACT,
    .output_help = "the model file to write",
    .args_size = sizeof(struct new_args),
    .options = new_options,
    .examples = "legodnn zoo new resnet18-cifar --width 16 --classes 10 -o teacher.safetensors\n"
                "legodnn zoo new mobilenet_v2 -o mobilenet.json",
    .run = run_new,
};
