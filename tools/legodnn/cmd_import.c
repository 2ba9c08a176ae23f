/* `legodnn import`: other tools' files become models. The library sees from the bytes which tool wrote them. */
#include <string.h>

#include "cli.h"

struct import_args {
    cli_shapes input;
    double time_limit_us;
    int64_t memory_limit;
};

static const cli_option options[] = {
    CLI_SHAPES(struct import_args, input, "input", "[NAME=]NxCxHxW",
               "shape of an input where the file leaves extents open, e.g. 1x3x224x224; the batch N is free in any case. "
               "Of several inputs: once for each, in their order or by name"),
    CLI_DURATION(struct import_args, time_limit_us, "time-limit", "T", "600s", "of a TorchScript file: stop if it takes longer"),
    CLI_SIZE(struct import_args, memory_limit, "memory-limit", "SIZE", NULL,
             "of a TorchScript file: memory that reading it may take (default: three quarters of the machine's)"),
    CLI_END
};

static void read_inputs(lego_import_input *inputs, const cli_shapes *shapes)
{
    for (int i = 0; i < shapes->n; i++) {
        inputs[i] = (lego_import_input){ .name = shapes->values[i].name[0] ? shapes->values[i].name : NULL,
                                         .n_dims = shapes->values[i].dims.n };
        memcpy(inputs[i].dims, shapes->values[i].dims.dims, sizeof(inputs[i].dims));
    }
}

/* Rounded up, at least one. */
static int32_t whole_seconds(double us)
{
    return us <= 1e6 ? 1 : us >= 1e6 * INT32_MAX ? INT32_MAX : (int32_t)((us + 999999.0) / 1e6);
}

static lego_status run(cli_call *cli, const void *arguments)
{
    const struct import_args *args = arguments;
    lego_import_options import = LEGO_IMPORT_OPTIONS_INIT;
    lego_import_input inputs[CLI_MAX_VALUES];
    lego_model_info info;
    lego_model *model = NULL;
    char *document = NULL;
    cli_text parameters, macs;
    lego_status status;

    if (!cli->output)
        return cli_usage(cli, "-o MODEL is missing: the file to write");
    read_inputs(inputs, &args->input);
    import.inputs = args->input.n > 0 ? inputs : NULL;
    import.n_inputs = args->input.n;
    import.in_child = 1;
    import.time_limit_s = whole_seconds(args->time_limit_us);
    import.memory_limit_bytes = args->memory_limit;
    CLI_TRY(lego_model_import(&model, cli->context, cli->args[0], &import));
    CLI_TRY(lego_model_get_info(&info, model));
    CLI_TRY(lego_model_save(model, cli->output));
    if (cli->json) {
        CLI_TRY(lego_model_to_json(&document, model, 0));
        cli_print_document(cli, document);
    }
    cli_note(cli, "wrote %s: %lld nodes, %s parameters, %s MACs a sample; 'legodnn info' has more", cli->output,
             (long long)info.n_nodes, cli_format_count(parameters, info.n_parameters),
             cli_format_count(macs, info.n_macs));
done:
    lego_string_free(document);
    lego_model_free(model);
    return status;
}

const cli_command cmd_import = {
    .name = "import",
    .summary = "make a model of an ONNX or TorchScript file",
    .usage = "FILE.onnx [--input [NAME=]NxCxHxW]... -o MODEL [--json]\n"
             "FILE.pt --input [NAME=]NxCxHxW... -o MODEL [--json]",
    .description = "Reads what torch.onnx.export() and others write (opsets 1 to 23) and writes it as one safetensors file\n"
                   "whose metadata holds the graph; every other command takes that. Weights keep their names, constants\n"
                   "are folded, the first axis of the inputs is the batch. Files with open extents, like height and\n"
                   "width of a fully convolutional network, need --input. Nodes that cannot be imported are all named,\n"
                   "each with the reason; with -v one a line. docs/onnx.md lists which ops pass the ONNX project's tests.\n"
                   "Weights that the file keeps in others are read from its folder. With --json what 'legodnn info'\n"
                   "says of the new model is printed.\n"
                   "\n"
                   "TorchScript: what torch.jit.trace() or torch.jit.script() made and .save() wrote. Its forward is run\n"
                   "once, on the CPU, on random samples of the shapes that --input gives, and written down; what else it\n"
                   "takes must have a default. Needs the torch module; docs/torchscript.md lists the operators. A TorchScript file is a program: import only what you\n"
                   "would run. It is read in a process of its own with limits of time and memory: where libtorch crashes on\n"
                   "it, the message says so and the exit code is 4. A state dict is no module: 'legodnn weights' takes it.",
    .arguments = "FILE",
    .min_args = 1,
    .max_args = 1,
    .output = CLI_OUTPUT_ARTIFACT,
    .output_help = "the model file to write",
    .args_size = sizeof(struct import_args),
    .options = options,
    .examples = "legodnn import resnet50.onnx -o resnet50.safetensors\n"
                "legodnn import fcn.onnx --input 1x3x512x512 -o fcn.safetensors\n"
                "legodnn import traced.pt --input 1x3x224x224 -o net.safetensors\n"
                "legodnn import matting.pt --input image=1x3x256x256 --input mask=1x1x256x256 -o net.safetensors",
    .run = run,
};
