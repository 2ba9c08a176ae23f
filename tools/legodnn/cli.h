/* The frame of the legodnn command: what every cmd_<name>.c sees.
 *
 * A command is one `cli_command`: a struct for its options, a table that describes them, a function. The frame parses
 * the command line into the struct, creates the context (threads, seed, log, progress, Ctrl-C), calls the function,
 * prints the error and turns the status into the exit code. Commands use the public API (legodnn/...) only, write
 * results with cli_printf() and never call exit(), printf() or signal().
 *
 *     struct new_args { const char *name; int64_t width; };
 *     static const cli_option options[] = {
 *         CLI_INT(struct new_args, width, "width", "N", 0, 4096, NULL, "channels of the first stage"),
 *         CLI_END
 *     };
 *     static lego_status run(cli_call *cli, const void *arguments) { const struct new_args *args = arguments; ... }
 *     const cli_command cmd_zoo_new = { "zoo new", ... };      and its id in commands.h, its file in CMakeLists.txt
 */
#ifndef LEGODNN_CLI_H
#define LEGODNN_CLI_H

#include <stdio.h>

#include "legodnn/legodnn.h"
#include "options.h"

/* Exit codes; scripts depend on them. */
enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_INFEASIBLE = 3, CLI_CRASHED = 4, CLI_INTERRUPTED = 130 };

typedef struct cli_progress cli_progress;

/* What -o means for a command. */
typedef enum cli_output_kind {
    CLI_OUTPUT_RESULT = 0,   /* where the printed result goes: the frame opens and commits it */
    CLI_OUTPUT_ARTIFACT = 1  /* a model, store or array that the command hands to the library: cli->output */
} cli_output_kind;

typedef struct cli_command cli_command;

typedef struct cli_call {
    const cli_command *command;
    lego_context *context;
    int n_args;               /* positional arguments */
    const char *const *args;
    const char *output;       /* -o; NULL if not given */
    int json;                 /* --json: print one document, nothing else */
    int verbosity;            /* -1 with -q, 0, then one a -v */
    FILE *out;                /* the result: stdout or the temporary file of -o */
    int color_out, color_err; /* whether stdout and stderr get colours */
    int exit_code;            /* set to override what the status means, e.g. CLI_FAILED for a regression */
    int reported;             /* the error was printed already */
    cli_options *options;     /* as parsed: cli_given() */
    cli_progress *progress;
} cli_call;

struct cli_command {
    const char *name;        /* "zoo new" */
    const char *summary;     /* one line for the list of commands, lower case, no full stop */
    const char *usage;       /* after "legodnn <name>": "NAME [options] -o MODEL"; further forms on further lines */
    const char *description; /* paragraphs of the help: what it does, what to know */
    const char *arguments;   /* names of the positional arguments for errors: "OLD NEW" */
    int min_args, max_args;  /* max_args -1: any number */
    cli_output_kind output;
    const char *output_help; /* what -o FILE receives; NULL: "write the result to FILE ('-': standard output)" */
    size_t args_size;        /* sizeof the struct that `options` fill; 0 without options */
    const cli_option *options; /* up to CLI_END; NULL: only the common ones */
    const char *examples;    /* one command line a line */
    lego_status (*run)(cli_call *cli, const void *arguments);
};

/* Of a command whose one argument is a model or store. */
#define CLI_TAKES_MODEL .arguments = "MODEL", .min_args = 1, .max_args = 1

/* Like LG_TRY of the library: `status` and a label `done` that cleans up and returns it. */
#define CLI_TRY(expr)                                                         \
    do {                                                                      \
        status = (expr);                                                      \
        if (status != LEGO_OK)                                                \
            goto done;                                                        \
    } while (0)

#if defined(__GNUC__)
#define CLI_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define CLI_PRINTF(fmt, args)
#endif

/* --- errors: print "legodnn <command>: <message>" and return a status that only has to be passed up --- */
lego_status cli_fail(cli_call *cli, const char *fmt, ...) CLI_PRINTF(2, 3);  /* exit 1 */
lego_status cli_usage(cli_call *cli, const char *fmt, ...) CLI_PRINTF(2, 3); /* exit 2, with a pointer to --help */

/* Run another command as if these words had been typed after "legodnn"; returns its exit code. For `demo`. */
int cli_dispatch(int argc, char **argv);

/* Whether the user gave --<name>. */
int cli_given(const cli_call *cli, const char *name);
/* Whether Ctrl-C (or SIGTERM) came; loops of a command's own ask it and return LEGO_ECANCELED. */
int cli_interrupted(void);
/* LEGO_ECANCELED once cli_interrupted(), for CLI_TRY. */
lego_status cli_check_interrupt(cli_call *cli);

/* --- output.c --- */
void cli_printf(cli_call *cli, const char *fmt, ...) CLI_PRINTF(2, 3); /* to the result; failures are noticed at the end */
/* A remark on stderr, not with -q: what was done, where it is, what to do next. */
void cli_note(cli_call *cli, const char *fmt, ...) CLI_PRINTF(2, 3);
/* Print a JSON document of the library as the result. */
void cli_print_document(cli_call *cli, const char *document);
/* Print a JSON string, quoted and escaped. */
void cli_print_json_string(cli_call *cli, const char *text);
/* "4.21 MiB", "3.07 ms", "1,234,567": for people; `text` is returned. */
typedef char cli_text[40];
const char *cli_format_bytes(cli_text text, double bytes);
const char *cli_format_us(cli_text text, double us);
const char *cli_format_count(cli_text text, int64_t count);

/* A table for people: columns as wide as needed. A header that starts with '>' aligns right. */
typedef struct cli_table cli_table;
cli_table *cli_table_create(int n_columns, const char *const *headers); /* free with cli_table_free() */
void cli_table_cell(cli_table *table, const char *fmt, ...) CLI_PRINTF(2, 3);
lego_status cli_table_print(cli_call *cli, const cli_table *table); /* fails when memory ran out on the way */
void cli_table_free(cli_table *table);

#endif
