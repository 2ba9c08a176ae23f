/* `legodnn retrain`: block-wise distillation of a store's variants. */
#include "inputs.h"

struct retrain_args {
    const char *data, *device;
    int64_t epochs, batch, limit, held_out, patience, checkpoint_seconds;
    double lr, max_norm;
    int inputs, loss, weighting, precision, no_augment, restart;
};

static const char *const inputs[] = { "composition", "original", NULL };
static const char *const losses[] = { "mse", "smooth-l1", "cosine", NULL };
static const char *const weightings[] = { "outputs", "fisher", NULL };
static const char *const precisions[] = { "auto", "f32", "bf16", NULL };

static const cli_option options[] = {
    CLI_STRING(struct retrain_args, data, "data", "DATA", NULL, "what to learn from: NAME[:FOLDER], e.g. fashion-mnist"),
    CLI_INT(struct retrain_args, epochs, "epochs", "N", 1, 100000, "1", "passes over the training samples"),
    CLI_INT(struct retrain_args, limit, "limit", "N", 0, 1000000000, "10000", "use at most N training samples; 0: all"),
    CLI_INT(struct retrain_args, held_out, "held-out", "N", 1, 1000000000, "512",
            "samples of the validation split that judge"),
    CLI_INT(struct retrain_args, batch, "batch", "N", 1, 65536, "32", "samples a step"),
    CLI_DOUBLE(struct retrain_args, lr, "lr", "X", 1e-9, 10, "0.001", "Adam's learning rate; falls along a cosine"),
    CLI_DOUBLE(struct retrain_args, max_norm, "clip", "X", 0, 1e9, "1", "largest norm of a gradient; 0: any"),
    CLI_ENUM(struct retrain_args, inputs, "inputs", inputs, "composition",
             "what a block sees: drawn compositions of the preceding blocks' variants, or the original"),
    CLI_ENUM(struct retrain_args, loss, "loss", losses, "mse", "distance to the original block's outputs"),
    CLI_ENUM(struct retrain_args, weighting, "weighting", weightings, "outputs",
             "which errors count: all alike, or by the Fisher matrix those that move a classifier's scores"),
    CLI_INT(struct retrain_args, patience, "patience", "N", 0, 100000, "2",
            "a variant stops after N epochs without progress; 0: never"),
    CLI_FLAG(struct retrain_args, no_augment, "no-augment", "no random crops and flips"),
    CLI_ENUM(struct retrain_args, precision, "precision", precisions, "auto",
             "how activations are held; auto times a few steps of every block"),
    CLI_STRING(struct retrain_args, device, "device", "DEVICE", "cpu", "cpu, cuda or cuda:N"),
    CLI_INT(struct retrain_args, checkpoint_seconds, "checkpoint-seconds", "N", 0, 100000, "30",
            "time between checkpoints; 0: after every batch"),
    CLI_FLAG(struct retrain_args, restart, "restart", "discard an unfinished retraining of this store"),
    CLI_END
};

static lego_status print_table(cli_call *cli, const lego_store *store, const lego_retrain_report *report)
{
    static const char *const headers[] = { "block", "variant", ">held-out loss before", ">after", ">ratio", "outcome" };
    static const char *const outcomes[] = { "improved", "unchanged", "not finite" };
    cli_table *table = cli_table_create(6, headers);
    lego_status status = LEGO_OK;

    for (int32_t i = 0; i < lego_retrain_report_count(report); i++) {
        lego_retrain_result result;

        CLI_TRY(lego_retrain_report_get(&result, report, i));
        cli_table_cell(table, "%s", lego_store_block_name(store, result.block));
        cli_table_cell(table, "%s", lego_store_variant_name(store, result.block, result.variant));
        cli_table_cell(table, "%.5g", result.loss_before);
        cli_table_cell(table, "%.5g", result.loss_after);
        cli_table_cell(table, "%.3f", result.loss_before > 0.0 ? result.loss_after / result.loss_before : 1.0);
        cli_table_cell(table, "%s", outcomes[result.outcome]);
    }
    status = cli_table_print(cli, table);
done:
    cli_table_free(table);
    return status;
}

static lego_status run(cli_call *cli, const void *arguments)
{
    const struct retrain_args *args = arguments;
    lego_retrain_options retrain = LEGO_RETRAIN_OPTIONS_INIT;
    lego_retrain_report *report = NULL;
    lego_store *store = NULL;
    lego_model *model = NULL;
    lego_dataset *data = NULL, *held_out = NULL;
    char *document = NULL;
    lego_status status;

    if (!args->data)
        return cli_usage(cli, "--data DATA is missing: what to learn from");
    retrain.epochs = (int32_t)args->epochs;
    retrain.batch = (int32_t)args->batch;
    retrain.lr = args->lr;
    retrain.max_norm = args->max_norm;
    retrain.patience = (int32_t)args->patience;
    retrain.checkpoint_seconds = (int32_t)args->checkpoint_seconds;
    retrain.inputs = (lego_retrain_inputs)args->inputs;
    retrain.loss = (lego_retrain_loss)args->loss;
    retrain.weighting = (lego_retrain_weighting)args->weighting;
    retrain.precision = (lego_train_precision)args->precision;
    retrain.restart = args->restart;
    retrain.device = args->device;

    CLI_TRY(lego_torch_require(NULL, args->device));
    CLI_TRY(lego_store_open(&store, cli->context, cli->args[0]));
    CLI_TRY(cli_load_model(&model, cli, cli->args[0], NULL)); /* for its input's size */
    CLI_TRY(cli_open_data(&data, cli, model, args->data, LEGO_SPLIT_TRAIN, !args->no_augment, args->limit));
    CLI_TRY(cli_open_data(&held_out, cli, model, args->data, LEGO_SPLIT_VAL, 0, args->held_out));
    CLI_TRY(lego_retrain(&report, cli->context, store, data, held_out, &retrain));
    if (cli->json) {
        CLI_TRY(lego_retrain_report_to_json(&document, report));
        cli_print_document(cli, document);
    } else {
        CLI_TRY(print_table(cli, store, report));
    }
done:
    lego_string_free(document);
    lego_retrain_report_free(report);
    lego_dataset_free(data);
    lego_dataset_free(held_out);
    lego_model_free(model);
    lego_store_free(store);
    return status;
}

const cli_command cmd_retrain = {
    .name = "retrain",
    .summary = "distil: teach every variant to do what its block does",
    .usage = "STORE --data DATA [options]",
    .description = "Trains all variants of all blocks in one pass over the training samples: each learns to give the\n"
                   "original block's outputs for the inputs that random compositions of the preceding blocks' variants\n"
                   "make. Labels are not used. A variant never ends worse than it started, measured on held-out samples.\n"
                   "Stopped at any moment, the same command goes on where it was. Needs the torch module.",
    .arguments = "STORE",
    .min_args = 1,
    .max_args = 1,
    .args_size = sizeof(struct retrain_args),
    .options = options,
    .examples = "legodnn retrain store --data fashion-mnist\n"
                "legodnn retrain store --data fashion-mnist --limit 0 --epochs 4 --json",
    .run = run,
};
