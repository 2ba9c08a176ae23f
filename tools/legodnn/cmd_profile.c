/* `legodnn profile`: what variants cost; which part is asked for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "profile.h"

static const char *const engines[] = { "auto", "ref", "onednn", NULL }; /* as lego_engine */

static const cli_option options[] = {
    CLI_STRING(struct profile_args, data, "data", "DATA", NULL,
               "validation samples come from NAME[:FOLDER], e.g. fashion-mnist"),
    CLI_INT(struct profile_args, environments, "environments", "N", 1, 64, "3",
            "compositions around a variant: all original to all smallest"),
    CLI_INT(struct profile_args, held_out, "held-out", "N", 0, 10000, "24",
            "random selections that check the prediction"),
    CLI_INT(struct profile_args, limit, "limit", "N", 0, 1000000000, "0", "at most N samples; 0: the whole split"),
    CLI_INT(struct profile_args, batch, "batch", "N", 1, 4096, "64", "samples a run, fewer if memory is short"),
    CLI_SIZE(struct profile_args, memory, "memory", "SIZE", "1GiB", "for activations"),
    CLI_STRING(struct profile_args, task, "task", "NAME", "classification", "how outputs are scored"),
    CLI_ENUM(struct profile_args, engine, "engine", engines, "auto", "what runs the blocks"),
    CLI_FLAG(struct profile_args, csv, "csv", "print one line a variant, for spreadsheets"),
    CLI_END
};

char *profile_output_path(const cli_call *cli, const char *name)
{
    const char *store = cli->output ? cli->output : cli->args[0];
    size_t size = strlen(store) + strlen(name) + 2;
    char *path = malloc(size);

    if (path && cli->output)
        (void)snprintf(path, size, "%s", store);
    else if (path)
        (void)snprintf(path, size, "%s/%s", store, name);
    return path;
}

static lego_status run(cli_call *cli, const void *arguments)
{
#ifdef LEGODNN_ONLINE_ONLY
    return cli_fail(cli, "measuring accuracy belongs to the offline half, which this build leaves out");
#else
    return profile_accuracy(cli, arguments);
#endif
}

const cli_command cmd_profile = {
    .name = "profile",
    .summary = "measure what every variant costs",
    .usage = "STORE --data DATA [options] [-o FILE]",
    .description = "Measures, on the validation split of DATA, the accuracy that every variant of every block costs in\n"
                   "several environments, and how far it moves the model's outputs. Ways to predict the accuracy of a\n"
                   "selection from that are checked on random selections; the best one's costs are what `optimize` uses.",
    .arguments = "STORE",
    .min_args = 1,
    .max_args = 1,
    .output = CLI_OUTPUT_ARTIFACT,
    .output_help = "where the profile goes (default: profile.json in the store)",
    .args_size = sizeof(struct profile_args),
    .options = options,
    .examples = "legodnn profile store --data fashion-mnist\n"
                "legodnn profile store --data fashion-mnist --limit 1000 --csv > variants.csv",
    .run = run,
};
