/* `legodnn profile`: what variants cost; which part is asked for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "profile.h"

static const char *const engines[] = { "auto", "ref", "onednn", NULL }; /* as lego_engine */

static const cli_option options[] = {
    CLI_STRING(struct profile_args, data, "data", "DATA", NULL,
               "measure accuracy on validation samples of NAME[:FOLDER], e.g. fashion-mnist"),
    CLI_FLAG(struct profile_args, latency, "latency", "measure latency and memory on this machine"),
    CLI_FLAG(struct profile_args, compare, "compare", "compare two profiles: exit 1 if the second is worse"),
    CLI_INT(struct profile_args, environments, "environments", "N", 1, 64, "3",
            "accuracy: compositions around a variant: all original to all smallest"),
    CLI_INT(struct profile_args, held_out, "held-out", "N", 0, 1000, "24",
            "random selections that check the prediction"),
    CLI_INT(struct profile_args, samples, "samples", "N", 1, 10000, "30", "latency: inferences of every composition"),
    CLI_INT(struct profile_args, limit, "limit", "N", 0, 1000000000, "0", "at most N samples; 0: the whole split"),
    CLI_INT(struct profile_args, batch, "batch", "N", 1, 4096, "64",
            "samples a run (accuracy: fewer if memory is short; latency: 1 if not given)"),
    CLI_SIZE(struct profile_args, memory, "memory", "SIZE", "1GiB", "accuracy: for activations"),
    CLI_STRING(struct profile_args, task, "task", "NAME", "classification", "accuracy: how outputs are scored"),
    CLI_ENUM(struct profile_args, engine, "engine", engines, "auto", "what runs the blocks"),
    CLI_RATIO(struct profile_args, tolerance, "tolerance", "P", 0, 10, "5%",
              "compare: latencies and sizes may grow by P"),
    CLI_RATIO(struct profile_args, accuracy_tolerance, "accuracy-tolerance", "P", 0, 1, "0.5%",
              "compare: costs in accuracy may grow by P (points)"),
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
    const struct profile_args *args = arguments;

    if (args->latency + args->compare + (args->data != NULL) != 1)
        return cli_usage(cli, "one of --data DATA, --latency and --compare must be given");
    if (cli->n_args != (args->compare ? 2 : 1))
        return cli_usage(cli, args->compare ? "--compare takes two profiles: OLD NEW" : "one STORE is expected");
    if (args->compare && cli->output)
        return cli_usage(cli, "--compare prints its result; -o is for profiles");
    if (args->compare)
        return profile_compare(cli, args);
    if (args->latency)
        return profile_latency(cli, args);
#ifdef LEGODNN_ONLINE_ONLY
    return cli_fail(cli, "measuring accuracy belongs to the offline half, which this build leaves out");
#else
    return profile_accuracy(cli, args);
#endif
}

const cli_command cmd_profile = {
    .name = "profile",
    .summary = "measure what every variant costs, compare profiles",
    .usage = "STORE --data DATA [options] [-o FILE]\n"
             "STORE --latency [--threads N] [--samples N] [options] [-o FILE]\n"
             "--compare OLD NEW [--tolerance P]",
    .description = "With --data it measures, on the validation split of DATA, the accuracy that every variant of every\n"
                   "block costs in several environments, and how far it moves the model's outputs. Ways to predict the\n"
                   "accuracy of a selection from that are checked on random selections; the best one's costs are what\n"
                   "`optimize` uses.\n\n"
                   "With --latency it measures what every variant costs in time and memory on this machine, inside\n"
                   "compositions that show it with different neighbours, and how well sums predict random selections.\n\n"
                   "With --compare it names every block and variant that got worse, and then exits with 1. A latency\n"
                   "counts only if it grew by more than both the tolerance and the noise of the measurements.",
    .arguments = "STORE",
    .min_args = 1,
    .max_args = 2,
    .output = CLI_OUTPUT_ARTIFACT,
    .output_help = "where the profile goes (default: profile.json or latency.json in the store)",
    .args_size = sizeof(struct profile_args),
    .options = options,
    .examples = "legodnn profile store --data fashion-mnist\n"
                "legodnn profile store --latency --threads 1\n"
                "legodnn profile --compare old/latency.json store/latency.json --tolerance 5%",
    .run = run,
};
