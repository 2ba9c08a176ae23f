/* legodnn: find the command, parse its options, set up the context, run it, turn its status into an exit code.
 *
 * Everything a command shares with the others happens here: --version and --help (which touch nothing but text and so
 * take milliseconds), threads, seed, log and progress, where the result goes (-o, atomic), "legodnn <command>:
 * <message>" on stderr, and the exit codes 0, 1, 2, 3, 4, 130. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "help.h"
#include "output.h"
#include "progress.h"

#define DECLARE(id) extern const cli_command cmd_##id;
#define ADDRESS(id) &cmd_##id,
CLI_ONLINE_COMMANDS(DECLARE)
#ifndef LEGODNN_ONLINE_ONLY
CLI_OFFLINE_COMMANDS(DECLARE)
#endif

const cli_command *const cli_commands[] = {
#ifndef LEGODNN_ONLINE_ONLY
    CLI_OFFLINE_COMMANDS(ADDRESS)
#endif
    CLI_ONLINE_COMMANDS(ADDRESS) NULL
};

#ifdef LEGODNN_ONLINE_ONLY
#define NAME(id) #id,
static const char *const left_out[] = { CLI_OFFLINE_COMMANDS(NAME) NULL };
#endif

/* --- errors --- */

static void print_error(const cli_call *cli, const char *fmt, va_list args)
{
    cli_progress_clear(cli->progress);
    (void)fprintf(stderr, "%slegodnn%s%s:%s ", cli->color_err ? "\033[31m" : "", cli->command ? " " : "",
                  cli->command ? cli->command->name : "", cli->color_err ? "\033[0m" : "");
    (void)vfprintf(stderr, fmt, args);
    (void)fputc('\n', stderr);
}

lego_status cli_fail(cli_call *cli, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    print_error(cli, fmt, args);
    va_end(args);
    cli->exit_code = CLI_FAILED;
    cli->reported = 1;
    return LEGO_EINVAL;
}

lego_status cli_usage(cli_call *cli, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    print_error(cli, fmt, args);
    va_end(args);
    (void)fprintf(stderr, "Try 'legodnn %s%s--help'.\n", cli->command ? cli->command->name : "",
                  cli->command ? " " : "");
    cli->exit_code = CLI_USAGE;
    cli->reported = 1;
    return LEGO_EINVAL;
}

int cli_given(const cli_call *cli, const char *name)
{
    return cli_options_given(cli->options, name);
}

lego_status cli_check_interrupt(cli_call *cli)
{
    return cli_interrupted() ? LEGO_ECANCELED : LEGO_OK;
}

static int exit_code(lego_status status)
{
    switch (status) {
    case LEGO_OK:
        return CLI_DONE;
    case LEGO_EINFEASIBLE:
        return CLI_INFEASIBLE;
    case LEGO_ECRASHED:
        return CLI_CRASHED;
    case LEGO_ECANCELED:
        return CLI_INTERRUPTED;
    default:
        return CLI_FAILED;
    }
}

/* --- finding the command --- */

/* Whether argv starts with the words of `name`; how many there are. */
static int match_words(const char *name, int argc, char **argv)
{
    int n = 0;

    while (*name) {
        size_t length = strcspn(name, " ");
        if (n == argc || strlen(argv[n]) != length || strncmp(argv[n], name, length) != 0)
            return 0;
        n++;
        name += length;
        name += *name == ' ';
    }
    return n;
}

const cli_command *cli_find_command(int argc, char **argv, int *n_words)
{
    const cli_command *best = NULL;

    *n_words = 0;
    for (size_t i = 0; cli_commands[i]; i++) {
        int n = match_words(cli_commands[i]->name, argc, argv);
        if (n > *n_words) {
            *n_words = n;
            best = cli_commands[i];
        }
    }
    return best;
}

/* The commands of a family ("zoo": zoo list, zoo new) as text; empty if there is no such family. */
static void list_family(char text[256], const char *family)
{
    const size_t length = strlen(family);
    size_t at = 0;

    text[0] = '\0';
    for (size_t i = 0; cli_commands[i]; i++) {
        const char *name = cli_commands[i]->name;
        if (strncmp(name, family, length) != 0 || name[length] != ' ')
            continue;
        int n = snprintf(text + at, 256 - at, "%s'%s'", at ? ", " : "", name);
        if (n < 0 || (size_t)n >= 256 - at)
            return;
        at += (size_t)n;
    }
}

int cli_unknown_command(cli_call *cli, const char *word)
{
    const char *names[128];
    const char *near;
    char family[256];
    size_t n = 0;

#ifdef LEGODNN_ONLINE_ONLY
    for (size_t i = 0; left_out[i]; i++) {
        size_t length = strcspn(left_out[i], "_");
        if (strlen(word) == length && strncmp(word, left_out[i], length) == 0) {
            (void)cli_fail(cli, "'%s' belongs to the offline half, which this build leaves out (LEGODNN_ONLINE_ONLY)",
                           word);
            return CLI_FAILED;
        }
    }
#endif
    list_family(family, word);
    if (family[0]) {
        (void)cli_usage(cli, "'%s' needs a second word: %s", word, family);
        return CLI_USAGE;
    }
    for (size_t i = 0; cli_commands[i] && n < 127; i++)
        names[n++] = cli_commands[i]->name;
    names[n] = NULL;
    near = cli_nearest(word, names);
    if (near)
        (void)cli_usage(cli, "unknown command '%s'; did you mean '%s'?", word, near);
    else
        (void)cli_usage(cli, "unknown command '%s'", word);
    return CLI_USAGE;
}

/* --- running it --- */

static void print_log(lego_log_level level, const char *module, const char *message, void *payload)
{
    cli_call *cli = payload;

    cli_progress_clear(cli->progress);
    (void)fprintf(stderr, "%s%s: %s%s\n", level <= LEGO_LOG_WARNING && cli->color_err ? "\033[33m" : "", module,
                  message, level <= LEGO_LOG_WARNING && cli->color_err ? "\033[0m" : "");
}

static lego_status create_context(cli_call *cli, const cli_common *common)
{
    static const lego_log_level levels[] = { LEGO_LOG_ERROR, LEGO_LOG_WARNING, LEGO_LOG_INFO, LEGO_LOG_DEBUG };
    const int level = cli->verbosity > 2 ? 3 : cli->verbosity + 1;
    lego_status status;

    CLI_TRY(lego_context_create(&cli->context));
    CLI_TRY(lego_context_set_log(cli->context, levels[level], print_log, cli));
    CLI_TRY(lego_context_set_progress(cli->context, cli_progress_report, cli->progress));
    CLI_TRY(lego_context_set_threads(cli->context, (int)common->threads));
    CLI_TRY(lego_context_set_seed(cli->context, (uint64_t)common->seed));
done:
    return status;
}

/* The i-th word of "OLD NEW"; the last one repeats. */
static void argument_name(char name[64], const char *names, int i)
{
    while (i-- > 0 && strchr(names, ' '))
        names = strchr(names, ' ') + 1;
    (void)snprintf(name, 64, "%.*s", (int)strcspn(names, " "), names);
}

static lego_status check_arguments(cli_call *cli)
{
    const cli_command *command = cli->command;
    char name[64];

    if (cli->n_args < command->min_args) {
        argument_name(name, command->arguments, cli->n_args);
        return cli_usage(cli, "%s is missing", name);
    }
    if (command->max_args >= 0 && cli->n_args > command->max_args)
        return cli_usage(cli, "unexpected argument '%s'", cli->args[command->max_args]);
    return LEGO_OK;
}

static lego_status execute(cli_call *cli, const cli_common *common, const void *arguments)
{
    cli_sink sink = { NULL, NULL, NULL };
    const char *path = cli->command->output == CLI_OUTPUT_RESULT ? common->output : NULL;
    lego_status status;

    CLI_TRY(check_arguments(cli));
    CLI_TRY(create_context(cli, common));
    if (cli_sink_open(&sink, path) != 0) {
        status = cli_fail(cli, "cannot write '%s': %s", path, strerror(errno));
        goto done;
    }
    cli->out = sink.file;
    status = cli->command->run(cli, arguments);
done:
    cli_progress_clear(cli->progress);
    if (status != LEGO_OK && !cli->reported) {
        if (status == LEGO_ECANCELED && cli_interrupted())
            (void)fprintf(stderr, "legodnn %s: interrupted\n", cli->command->name);
        else
            (void)fprintf(stderr, "legodnn %s: %s\n", cli->command->name, lego_last_error());
    }
    if (cli_sink_close(&sink, status == LEGO_OK || !path) != 0 && status == LEGO_OK)
        status = cli_fail(cli, "cannot write %s: %s", path ? path : "the result", strerror(errno));
    return status;
}

static int run_command(const cli_command *command, int argc, char **argv)
{
    cli_call cli;
    cli_common common;
    cli_error_text error;
    void *arguments = NULL;
    lego_status status;
    int code = CLI_FAILED;

    memset(&cli, 0, sizeof(cli));
    cli.command = command;
    cli.color_err = cli_want_color(CLI_COLOR_AUTO, stderr);
    arguments = calloc(1, command->args_size ? command->args_size : 1);
    if (!arguments) {
        (void)cli_fail(&cli, "out of memory");
        goto done;
    }
    cli.options = cli_options_parse(argc, argv, command->options, arguments, command->args_size, &common, error);
    if (!cli.options) {
        (void)cli_usage(&cli, "%s", error);
        code = CLI_USAGE;
        goto done;
    }
    if (common.help) {
        cli_print_help(stdout, command);
        code = CLI_DONE;
        goto done;
    }
    cli.n_args = cli_options_positional(cli.options, &cli.args);
    cli.output = common.output;
    cli.json = common.json;
    cli.verbosity = common.quiet ? -1 : common.verbose;
    cli.color_out = !cli.json && !common.output && cli_want_color(common.color, stdout);
    cli.color_err = cli_want_color(common.color, stderr);
    cli.progress = cli_progress_create(!common.quiet && cli_want_color(CLI_COLOR_AUTO, stderr));
    if (!cli.progress) {
        (void)cli_fail(&cli, "out of memory");
        goto done;
    }
    cli_catch_interrupts();
    status = execute(&cli, &common, arguments);
    code = cli.exit_code ? cli.exit_code : exit_code(status);
done:
    lego_context_free(cli.context);
    cli_progress_free(cli.progress);
    cli_options_free(cli.options);
    free(arguments);
    return code;
}

int cli_dispatch(int argc, char **argv)
{
    cli_call cli;
    const cli_command *command;
    int n_words = 0;

    memset(&cli, 0, sizeof(cli));
    command = cli_find_command(argc, argv, &n_words);
    if (command)
        return run_command(command, argc - n_words, argv + n_words);
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) &&
        cli_print_family(stdout, argv[0]))
        return CLI_DONE;
    return cli_unknown_command(&cli, argv[0]);
}

int main(int argc, char **argv)
{
    cli_call cli;

    memset(&cli, 0, sizeof(cli));
    if (argc < 2) {
        cli_print_overview(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        cli_print_version(stdout);
        return CLI_DONE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        cli_print_overview(stdout);
        return CLI_DONE;
    }
    if (argv[1][0] == '-') {
        (void)cli_usage(&cli, "a command comes first, then its options: legodnn COMMAND %s", argv[1]);
        return CLI_USAGE;
    }
    return cli_dispatch(argc - 1, argv + 1);
}
