/* The table of commands: X(id) stands for the `cli_command cmd_<id>` in cmd_<id>.c (or of that family's file). The
 * order here is the order of `legodnn help`. Offline commands are left out of an online-only build. */
#ifndef LEGODNN_CLI_COMMANDS_H
#define LEGODNN_CLI_COMMANDS_H

#define CLI_OFFLINE_COMMANDS(X) \
    X(zoo_list)                 \
    X(zoo_new)                  \
    X(import)                   \
    X(weights)                  \
    X(train)                    \
    X(extract)                  \
    X(retrain)                  \
    X(eval)                     \
    X(export)                   \
    X(demo)

#define CLI_ONLINE_COMMANDS(X) \
    X(profile)                 \
    X(optimize)                \
    X(run)                     \
    X(infer)                   \
    X(bench)                   \
    X(info)                    \
    X(help)

#endif
