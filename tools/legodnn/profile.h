/* The parts of `legodnn profile`: one file a thing that is measured. */
#ifndef LEGODNN_CLI_PROFILE_H
#define LEGODNN_CLI_PROFILE_H

#include "cli.h"

struct profile_args {
    const char *data, *task;
    int64_t environments, held_out, limit, batch, memory, samples;
    double tolerance, accuracy_tolerance;
    int engine, csv, latency, compare;
};

/* -o, or the file of that name in the store; free(). */
char *profile_output_path(const cli_call *cli, const char *name);
/* Accuracy (profile_accuracy.c, offline). */
lego_status profile_accuracy(cli_call *cli, const struct profile_args *args);
/* Latency and memory, and the comparison of two profiles (profile_latency.c). */
lego_status profile_latency(cli_call *cli, const struct profile_args *args);
lego_status profile_compare(cli_call *cli, const struct profile_args *args);

#endif
