/* `legodnn train`: train a whole classifier, the teacher. */
#include <stdio.h>

#include "inputs.h"

struct train_args {
    const char *data, *device, *checkpoint;
    int64_t epochs, batch, limit;
    double lr, momentum, weight_decay, label_smoothing, warmup, factor;
    cli_doubles milestones;
    int schedule, precision, nesterov, no_augment, restart;
};

static const char *const schedules[] = { "cosine", "step", "constant", NULL };
static const char *const precisions[] = { "auto", "f32", "bf16", NULL };

static const cli_option options[] = {
    CLI_STRING(struct train_args, data, "data", "DATA", NULL, "what to train on: NAME[:FOLDER], e.g. fashion-mnist"),
    CLI_INT(struct train_args, epochs, "epochs", "N", 1, 100000, "10", "passes over the training split"),
    CLI_INT(struct train_args, batch, "batch", "N", 1, 65536, "128", "samples a step"),
    CLI_DOUBLE(struct train_args, lr, "lr", "X", 1e-9, 1e3, "0.1", "learning rate at its highest"),
    CLI_ENUM(struct train_args, schedule, "schedule", schedules, "cosine", "how the learning rate falls"),
    CLI_DOUBLES(struct train_args, milestones, "milestones", "E,E,...", 1, 100000, NULL,
                "step schedule: epochs after which the rate falls"),
    CLI_DOUBLE(struct train_args, factor, "lr-factor", "X", 1e-9, 1, "0.1", "step schedule: by what it is multiplied"),
    CLI_DOUBLE(struct train_args, warmup, "warmup", "N", 0, 100000, "0", "epochs in which the rate rises from zero"),
    CLI_DOUBLE(struct train_args, momentum, "momentum", "X", 0, 0.9999, "0.9", "momentum of SGD"),
    CLI_FLAG(struct train_args, nesterov, "nesterov", "Nesterov's momentum"),
    CLI_DOUBLE(struct train_args, weight_decay, "weight-decay", "X", 0, 10, "0.0005",
               "on weights of convolutions and linear layers"),
    CLI_DOUBLE(struct train_args, label_smoothing, "label-smoothing", "X", 0, 0.99, "0", "share spread over all classes"),
    CLI_FLAG(struct train_args, no_augment, "no-augment", "no random crops and flips"),
    CLI_INT(struct train_args, limit, "limit", "N", 0, 1000000000, "0", "use at most N training samples; 0: all"),
    CLI_ENUM(struct train_args, precision, "precision", precisions, "auto",
             "how activations are held; auto times a few steps"),
    CLI_STRING(struct train_args, device, "device", "DEVICE", "cpu", "cpu, cuda or cuda:N"),
    CLI_STRING(struct train_args, checkpoint, "checkpoint", "FILE", NULL,
               "written after every epoch, gone on from if it exists (default: the output with .checkpoint)"),
    CLI_FLAG(struct train_args, restart, "restart", "start anew although there is a checkpoint"),
    CLI_END
};

/* What the epoch callback prints with. */
struct report {
    cli_call *cli;
    double seconds;
};

static void print_epoch(const lego_train_epoch *epoch, void *payload)
{
    struct report *report = payload;

    report->seconds += epoch->seconds;
    if (report->cli->json)
        return;
    if (epoch->epoch == 1)
        cli_printf(report->cli, "epoch   train loss  accuracy   val loss  accuracy       lr  seconds\n");
    cli_printf(report->cli, "%2d/%-3d %11.4f %8.2f%% %10.4f %8.2f%% %8.5f %8.1f\n", epoch->epoch, epoch->n_epochs,
               epoch->train_loss, 100.0 * epoch->train_accuracy, epoch->val_loss, 100.0 * epoch->val_accuracy,
               epoch->lr, epoch->seconds);
    (void)fflush(report->cli->out);
}

/* The last epoch's numbers as a document. */
static void print_json(cli_call *cli, const lego_train_epoch *last, const char *output)
{
    cli_printf(cli, "{\n  \"schema\": \"legodnn.train/1\",\n  \"model\": ");
    cli_print_json_string(cli, output);
    cli_printf(cli,
               ",\n  \"epochs\": %d,\n  \"train_loss\": %.6g,\n  \"train_accuracy\": %.6g,\n"
               "  \"val_loss\": %.6g,\n  \"val_accuracy\": %.6g\n}\n",
               last->epoch, last->train_loss, last->train_accuracy, last->val_loss, last->val_accuracy);
}

static lego_status run(cli_call *cli, const void *arguments)
{
    const struct train_args *args = arguments;
    const char *output = cli->output ? cli->output : cli->args[0];
    lego_train_options train = LEGO_TRAIN_OPTIONS_INIT;
    lego_train_epoch last;
    struct report report = { cli, 0.0 };
    int32_t milestones[sizeof(args->milestones.values) / sizeof(args->milestones.values[0])];
    char checkpoint[4096];
    lego_model *model = NULL;
    lego_dataset *data = NULL, *val = NULL;
    lego_status status;

    if (!args->data)
        return cli_usage(cli, "--data DATA is missing: what to train on");
    if (snprintf(checkpoint, sizeof(checkpoint), "%s.checkpoint", output) >= (int)sizeof(checkpoint))
        return cli_usage(cli, "the output's name is too long");
    for (size_t i = 0; i < args->milestones.n; i++)
        milestones[i] = (int32_t)args->milestones.values[i];
    train.epochs = (int32_t)args->epochs;
    train.batch = (int32_t)args->batch;
    train.lr = args->lr;
    train.momentum = args->momentum;
    train.weight_decay = args->weight_decay;
    train.label_smoothing = args->label_smoothing;
    train.warmup_epochs = args->warmup;
    train.lr_factor = args->factor;
    train.schedule = (lego_schedule)args->schedule;
    train.n_milestones = (int32_t)args->milestones.n;
    train.milestones = milestones;
    train.nesterov = args->nesterov;
    train.precision = (lego_train_precision)args->precision;
    train.restart = args->restart;
    train.device = args->device;
    train.checkpoint = args->checkpoint ? args->checkpoint : checkpoint;
    train.on_epoch = print_epoch;
    train.payload = &report;

    CLI_TRY(lego_torch_require(NULL, args->device));
    CLI_TRY(lego_model_load(&model, cli->context, cli->args[0]));
    CLI_TRY(cli_open_data(&data, cli, model, args->data, LEGO_SPLIT_TRAIN, !args->no_augment, args->limit));
    CLI_TRY(cli_open_data(&val, cli, model, args->data, LEGO_SPLIT_VAL, 0, 0));
    CLI_TRY(lego_train(&last, cli->context, model, data, val, &train));
    CLI_TRY(lego_model_save(model, output));
    (void)remove(train.checkpoint);
    if (cli->json)
        print_json(cli, &last, output);
    cli_note(cli, "wrote %s: %.2f %% on the validation split after %d epochs in %.0f s", output,
             100.0 * last.val_accuracy, last.epoch, report.seconds);
done:
    lego_dataset_free(data);
    lego_dataset_free(val);
    lego_model_free(model);
    return status;
}

const cli_command cmd_train = {
    .name = "train",
    .summary = "train a classifier: the teacher that blocks are made of",
    .usage = "MODEL --data DATA [options] [-o MODEL]",
    .description = "Trains MODEL with SGD on the training split of DATA and measures it on the validation split after\n"
                   "every epoch. Stopped at any moment, the same command goes on after the last finished epoch. Needs\n"
                   "the torch module.",
    CLI_TAKES_MODEL,
    .output = CLI_OUTPUT_ARTIFACT,
    .output_help = "the trained model's file (default: MODEL itself)",
    .args_size = sizeof(struct train_args),
    .options = options,
    .examples = "legodnn train teacher.safetensors --data fashion-mnist --epochs 12 --label-smoothing 0.1",
    .run = run,
};
