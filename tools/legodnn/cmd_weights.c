/* `legodnn weights`: public weights into a model that is there, by name. */
#include "json.h"

struct weights_args {
    const char *from, *strip_prefix, *key;
    int partial;
};

static const cli_option options[] = {
    CLI_STRING(struct weights_args, from, "from", "FILE", NULL, "safetensors, or .pt/.pth of torch.save"),
    CLI_STRING(struct weights_args, strip_prefix, "strip-prefix", "TEXT", NULL,
               "take TEXT off every name that begins with it, e.g. module."),
    CLI_STRING(struct weights_args, key, "key", "NAME", NULL,
               "where in a checkpoint the state dict lies, e.g. ema.state_dict (default: found by itself)"),
    CLI_FLAG(struct weights_args, partial, "partial",
             "take what fits, keep the model's own values elsewhere (another number of classes, say)"),
    CLI_END
};

static void format_tensor(char text[128], const cli_json *tensor)
{
    const cli_json *shape = cli_json_get(tensor, "shape");
    int at = snprintf(text, 128, "%s (", cli_json_text(tensor, "dtype", ""));

    cli_json_each(extent, shape)
        if (at < 96)
            at += snprintf(text + at, (size_t)(128 - at), "%s%.0f", extent == cli_json_first(shape) ? "" : ",",
                           cli_json_value(extent));
    (void)snprintf(text + at, (size_t)(128 - at), ")");
}

static void list(cli_call *cli, const cli_json *report, const char *key, const char *title)
{
    char have[128], want[128];

    cli_json_each(item, cli_json_get(report, key)) {
        const cli_json *expected = cli_json_get(item, "expected");

        format_tensor(have, item);
        format_tensor(want, expected);
        cli_note(cli, "  %-13s %s  %s%s%s", title, cli_json_text(item, "name", "?"),
                 cli_json_get(item, "shape") ? have : "", expected ? ", the model has " : "", expected ? want : "");
    }
}

static int length(const cli_json *report, const char *key)
{
    return cli_json_length(cli_json_get(report, key));
}

/* Everything that does not fit, one line each; what was passed over with -v. */
static void list_all(cli_call *cli, const cli_json *report)
{
    list(cli, report, "missing", "missing");
    list(cli, report, "unexpected", "not in model");
    list(cli, report, "mismatched", "other shape");
    if (cli->verbosity > 0)
        list(cli, report, "ignored", "passed over");
}

static void summarise(cli_call *cli, const cli_json *report)
{
    const char *key = cli_json_text(report, "key", "");

    cli_note(cli, "wrote %s: %.0f of %.0f weights from %s%s%s%s; %d of its entries passed over", cli->output,
             cli_json_number(report, "taken", 0), cli_json_number(report, "weights", 0),
             cli_json_text(report, "file", ""), *key ? " (" : "", key, *key ? ")" : "",
             length(report, "ignored") + length(report, "unexpected") + length(report, "mismatched"));
}

static lego_status run(cli_call *cli, const void *arguments)
{
    const struct weights_args *args = arguments;
    lego_weights_options options_of = LEGO_WEIGHTS_OPTIONS_INIT;
    lego_model *model = NULL;
    char *document = NULL;
    cli_json *report = NULL;
    lego_status status, loaded;

    if (!args->from)
        return cli_usage(cli, "--from FILE is missing: the weights to take");
    if (!cli->output)
        return cli_usage(cli, "-o MODEL is missing: the file to write");
    options_of.strip_prefix = args->strip_prefix;
    options_of.key = args->key;
    options_of.partial = args->partial;
    CLI_TRY(lego_model_load(&model, cli->context, cli->args[0]));
    loaded = lego_model_load_weights(&document, model, args->from, &options_of);
    if (loaded != LEGO_OK)
        (void)cli_fail(cli, "%s", lego_last_error());
    if (document)
        CLI_TRY(cli_json_parse(&report, cli, document));
    if (report)
        list_all(cli, report);
    if (document && cli->json)
        cli_print_document(cli, document);
    CLI_TRY(loaded);
    CLI_TRY(lego_model_save(model, cli->output));
    summarise(cli, report);
done:
    cli_json_free(report);
    lego_string_free(document);
    lego_model_free(model);
    return status;
}

const cli_command cmd_weights = {
    .name = "weights",
    .summary = "take weights of a PyTorch or safetensors file into a model",
    .usage = "MODEL --from FILE [options] -o MODEL",
    .description =
        "Replaces the weights of MODEL by those of FILE, matched by name as PyTorch's state_dict has them; the\n"
        "zoo uses torchvision's names for what torchvision has. FILE is safetensors, or what\n"
        "torch.save(model.state_dict(), FILE) or torch.save of a checkpoint wrote, in any version of torch. F16, BF16\n"
        "and F64 become F32.\n"
        "\n"
        "Every weight of the model must be in FILE with its shape, and nothing else but batch counters: else all\n"
        "that is missing, unexpected or of another shape is listed, nothing is written and the exit code is 1.\n"
        "--json prints the lists as a document. Typical causes: weights saved from DataParallel begin with\n"
        "'module.' (--strip-prefix module.), or the classifier has another number of classes (--partial).\n"
        "\n"
        "A .pt file is a pickle, which can run any program when PyTorch loads it. Here it is read as data: nothing\n"
        "in it is ever called, and what tensors in dictionaries do not need is refused by name. No PyTorch is needed.",
    CLI_TAKES_MODEL,
    .output = CLI_OUTPUT_ARTIFACT,
    .output_help = "the model file to write",
    .args_size = sizeof(struct weights_args),
    .options = options,
    .examples = "legodnn zoo new resnet18 -o fresh.json && legodnn weights fresh.json --from resnet18.pth -o resnet18.safetensors\n"
                "legodnn weights net.json --from checkpoint.pt --strip-prefix module. -o net.safetensors\n"
                "legodnn weights ten-classes.json --from resnet18.pth --partial -o start.safetensors",
    .run = run,
};
