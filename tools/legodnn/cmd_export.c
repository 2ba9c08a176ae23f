/* `legodnn export`: a model or a composition as an ONNX file. */
#include <sys/stat.h>

#include "inputs.h"

struct export_args {
    const char *selection;
    int64_t external_from, opset;
};

static const cli_option options[] = {
    CLI_STRING(struct export_args, selection, "selection", "SEL", NULL,
               "of a store: a selection file, b0=s0.5,b3=s0.75 or all=s0.5 (default: all originals)"),
    CLI_SIZE(struct export_args, external_from, "external-from", "BYTES", NULL,
              "put the weights into a file beside the model if they take so much (default: 2 GiB, ONNX's limit)"),
    CLI_INT(struct export_args, opset, "opset", "N", 13, 20, "17", "the highest opset to use; the lowest that does is taken"),
    CLI_END
};

static lego_status run(cli_call *cli, const void *arguments)
{
    const struct export_args *args = arguments;
    lego_export_options export = LEGO_EXPORT_OPTIONS_INIT;
    lego_model_info info;
    lego_model *model = NULL;
    struct stat about;
    cli_text parameters, size;
    lego_status status;

    if (!cli->output)
        return cli_usage(cli, "-o FILE.onnx is missing: the file to write");
    export.external_from_bytes = args->external_from;
    export.max_opset = (int32_t)args->opset;
    CLI_TRY(cli_load_model(&model, cli, cli->args[0], args->selection));
    CLI_TRY(lego_model_get_info(&info, model));
    CLI_TRY(lego_model_export(model, cli->output, &export));
    cli_note(cli, "wrote %s: %s parameters, %s", cli->output, cli_format_count(parameters, info.n_parameters),
             cli_format_bytes(size, stat(cli->output, &about) == 0 ? (double)about.st_size : 0.0));
done:
    lego_model_free(model);
    return status;
}

const cli_command cmd_export = {
    .name = "export",
    .summary = "write a model or a composition as an ONNX file",
    .usage = "MODEL|STORE -o FILE.onnx [--selection SEL] [options]",
    .description = "The file runs in ONNX Runtime and whatever else reads ONNX, for any batch; values, nodes and weights keep\n"
                   "their names. It appears complete or not at all.",
    CLI_TAKES_MODEL,
    .output = CLI_OUTPUT_ARTIFACT,
    .output_help = "the ONNX file to write",
    .args_size = sizeof(struct export_args),
    .options = options,
    .examples = "legodnn export teacher.safetensors -o teacher.onnx\n"
                "legodnn export store --selection all=s0.5 -o small.onnx",
    .run = run,
};
