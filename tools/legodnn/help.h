/* Help texts, made of the commands' tables. */
#ifndef LEGODNN_CLI_HELP_H
#define LEGODNN_CLI_HELP_H

#include "cli.h"

extern const cli_command *const cli_commands[]; /* NULL-terminated, in the order of the overview */

/* The command whose name argv starts with (the longest), and how many words that takes; NULL if there is none. */
const cli_command *cli_find_command(int argc, char **argv, int *n_words);
/* Say that there is no such command, with the nearest; returns the exit code. */
int cli_unknown_command(cli_call *cli, const char *word);

void cli_print_version(FILE *to);
void cli_print_overview(FILE *to);
void cli_print_help(FILE *to, const cli_command *command);
/* The commands that start with the word `family`; 0 if there are none. */
int cli_print_family(FILE *to, const char *family);

#endif
