/* `legodnn eval`: the accuracy of a model or a composition. */
#include "forward.h"
#include "inputs.h"

struct eval_args {
    const char *data, *selection, *task, *device;
    int64_t limit, batch;
    int split, engine;
};

static const cli_option options[] = {
    CLI_STRING(struct eval_args, data, "data", "DATA", NULL, "what to evaluate on: NAME[:FOLDER], e.g. fashion-mnist"),
    CLI_STRING(struct eval_args, selection, "selection", "SEL", NULL,
               "of a store: a selection file, b0=s0.5,b3=s0.75 or all=s0.5 (default: all originals)"),
    CLI_ENUM(struct eval_args, split, "split", cli_splits, "test", "which part of the data"),
    CLI_INT(struct eval_args, limit, "limit", "N", 0, 1000000000, "0", "at most N samples; 0: all"),
    CLI_INT(struct eval_args, batch, "batch", "N", 1, 4096, "64", "samples a run"),
    CLI_STRING(struct eval_args, task, "task", "NAME", "classification", "how outputs are scored"),
    CLI_ENUM(struct eval_args, engine, "engine", cli_engines, "auto", "what runs the model; auto: the fastest there is"),
    CLI_STRING(struct eval_args, device, "device", "DEVICE", "cpu", "torch engine: cpu, cuda or cuda:N"),
    CLI_END
};

static void print_text(cli_call *cli, const lego_evaluation *result)
{
    for (int32_t i = 0; i < result->n_metrics; i++)
        cli_printf(cli, "%-8s %6.2f %%\n", result->task->metrics[i], 100.0 * result->metrics[i]);
    cli_printf(cli, "samples  %lld (%s split), %.1f s\n", (long long)result->n_samples, lego_split_name(result->split),
               result->seconds);
}

static lego_status run(cli_call *cli, const void *arguments)
{
    const struct eval_args *args = arguments;
    lego_evaluate_options evaluate = LEGO_EVALUATE_OPTIONS_INIT;
    cli_forward *torch = NULL;
    lego_evaluation result;
    lego_model *model = NULL;
    lego_dataset *data = NULL;
    char *document = NULL;
    lego_status status;

    evaluate.task = lego_task_find(args->task);
    if (!evaluate.task)
        return cli_usage(cli, "unknown task '%s'", args->task);
    evaluate.engine = cli_engine(args->engine);
    evaluate.batch = (int32_t)args->batch;
    CLI_TRY(cli_load_model(&model, cli, cli->args[0], args->selection));
    CLI_TRY(cli_open_data(&data, cli, model, args->data, (lego_split)args->split, 0, args->limit));
    if (args->engine == CLI_ENGINE_TORCH) {
        CLI_TRY(cli_forward_create(&torch, cli, model, args->engine, args->device, args->batch));
        evaluate.forward = cli_forward_run;
        evaluate.payload = torch;
    }
    CLI_TRY(lego_evaluate(&result, cli->context, model, data, &evaluate));
    if (cli->json) {
        CLI_TRY(lego_evaluation_to_json(&document, &result));
        cli_print_document(cli, document);
    } else {
        print_text(cli, &result);
    }
done:
    lego_string_free(document);
    cli_forward_free(torch);
    lego_dataset_free(data);
    lego_model_free(model);
    return status;
}

const cli_command cmd_eval = {
    .name = "eval",
    .summary = "measure the accuracy of a model or a composition",
    .usage = "MODEL|STORE --data DATA [--selection SEL] [options]",
    .description = "Runs every sample of one split of DATA (the test split, if nothing else is asked for) and prints the\n"
                   "share of right answers. Selections should be chosen by profiles, which use the validation split.",
    CLI_TAKES_MODEL,
    .args_size = sizeof(struct eval_args),
    .options = options,
    .examples = "legodnn eval teacher.safetensors --data fashion-mnist\n"
                "legodnn eval store --data fashion-mnist --selection b0=s0.5,b3=s0.75 --json",
    .run = run,
};
