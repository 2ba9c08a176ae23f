/* Output for people and programs: results, remarks, errors, tables, units.
 *
 * stdout carries the result and nothing else; everything said about the work goes to stderr. With -o the result is
 * written under a temporary name and renamed at the end, so a failed or interrupted command leaves the previous file.
 * Write errors (a full disk) are sticky in the FILE and noticed once, in cli_sink_close(). */
#include "output.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "progress.h"

int cli_sink_open(cli_sink *sink, const char *path)
{
    struct stat info;
    size_t length;
    int fd;
    mode_t mask;

    memset(sink, 0, sizeof(*sink));
    sink->path = path;
    if (!path || strcmp(path, "-") == 0) {
        sink->file = stdout;
        return 0;
    }
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) { /* /dev/null, a pipe: nothing to rename */
        sink->file = fopen(path, "w");
        return sink->file ? 0 : -1;
    }
    length = strlen(path) + sizeof(".tmp-XXXXXX");
    sink->temporary = malloc(length);
    if (!sink->temporary)
        return -1;
    (void)snprintf(sink->temporary, length, "%s.tmp-XXXXXX", path);
    fd = mkstemp(sink->temporary);
    if (fd < 0) {
        int error = errno;
        free(sink->temporary);
        sink->temporary = NULL;
        errno = error;
        return -1;
    }
    mask = umask(0);
    (void)umask(mask);
    (void)fchmod(fd, 0666 & ~mask);
    sink->file = fdopen(fd, "w");
    if (sink->file)
        return 0;
    (void)close(fd);
    (void)unlink(sink->temporary);
    free(sink->temporary);
    sink->temporary = NULL;
    return -1;
}

int cli_sink_close(cli_sink *sink, int keep)
{
    int error = 0;

    if (!sink->file)
        return 0;
    errno = 0;
    if (fflush(sink->file) != 0 || ferror(sink->file))
        error = errno ? errno : EIO;
    if (sink->temporary && keep && !error && fsync(fileno(sink->file)) != 0)
        error = errno;
    if (sink->file != stdout && fclose(sink->file) != 0 && !error)
        error = errno;
    if (sink->temporary) {
        if (keep && !error && rename(sink->temporary, sink->path) != 0)
            error = errno;
        if (!keep || error)
            (void)unlink(sink->temporary);
    }
    free(sink->temporary);
    memset(sink, 0, sizeof(*sink));
    errno = error;
    return error && keep ? -1 : 0;
}

int cli_want_color(int choice, FILE *stream)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");

    if (choice != CLI_COLOR_AUTO)
        return choice == CLI_COLOR_ALWAYS;
    return isatty(fileno(stream)) && !(no_color && no_color[0]) && term && strcmp(term, "dumb") != 0;
}

void cli_printf(cli_call *cli, const char *fmt, ...)
{
    va_list args;

    if (cli->out == stdout)
        cli_progress_clear(cli->progress);
    va_start(args, fmt);
    (void)vfprintf(cli->out, fmt, args);
    va_end(args);
}

void cli_note(cli_call *cli, const char *fmt, ...)
{
    va_list args;

    if (cli->verbosity < 0)
        return;
    cli_progress_clear(cli->progress);
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fputc('\n', stderr);
}

void cli_print_document(cli_call *cli, const char *document)
{
    const size_t length = strlen(document);

    (void)fputs(document, cli->out);
    if (length == 0 || document[length - 1] != '\n')
        (void)fputc('\n', cli->out);
}

void cli_print_json_string(cli_call *cli, const char *text)
{
    (void)fputc('"', cli->out);
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            (void)fprintf(cli->out, "\\%c", c);
        else if (c < 0x20)
            (void)fprintf(cli->out, "\\u%04x", c);
        else
            (void)fputc(c, cli->out);
    }
    (void)fputc('"', cli->out);
}

/* --- units --- */

const char *cli_format_bytes(cli_text text, double bytes)
{
    if (fabs(bytes) >= 1073741824.0)
        (void)snprintf(text, sizeof(cli_text), "%.2f GiB", bytes / 1073741824.0);
    else if (fabs(bytes) >= 1048576.0)
        (void)snprintf(text, sizeof(cli_text), "%.2f MiB", bytes / 1048576.0);
    else if (fabs(bytes) >= 1024.0)
        (void)snprintf(text, sizeof(cli_text), "%.1f KiB", bytes / 1024.0);
    else
        (void)snprintf(text, sizeof(cli_text), "%.0f B", bytes);
    return text;
}

const char *cli_format_us(cli_text text, double us)
{
    if (fabs(us) >= 1e6)
        (void)snprintf(text, sizeof(cli_text), "%.2f s", us / 1e6);
    else if (fabs(us) >= 1e3)
        (void)snprintf(text, sizeof(cli_text), "%.3f ms", us / 1e3);
    else
        (void)snprintf(text, sizeof(cli_text), "%.1f us", us);
    return text;
}

const char *cli_format_count(cli_text text, int64_t count)
{
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%lld", (long long)count);
    size_t to = 0;

    for (int i = 0; i < length; i++) {
        if (i > 0 && digits[i - 1] != '-' && (length - i) % 3 == 0)
            text[to++] = ',';
        text[to++] = digits[i];
    }
    text[to] = '\0';
    return text;
}

/* --- tables --- */

struct cli_table {
    int n_columns;
    const char *const *headers;
    char **cells; /* row-major */
    size_t n_cells, capacity;
    int failed; /* out of memory on the way */
};

cli_table *cli_table_create(int n_columns, const char *const *headers)
{
    cli_table *table = calloc(1, sizeof(*table));

    if (table) {
        table->n_columns = n_columns;
        table->headers = headers;
    }
    return table;
}

void cli_table_free(cli_table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i < table->n_cells; i++)
        free(table->cells[i]);
    free(table->cells);
    free(table);
}

void cli_table_cell(cli_table *table, const char *fmt, ...)
{
    va_list args;
    char *cell = NULL;
    int length;

    if (!table || table->failed)
        return;
    if (table->n_cells == table->capacity) {
        size_t capacity = table->capacity ? 2 * table->capacity : 64;
        char **cells = realloc(table->cells, capacity * sizeof(char *));
        if (!cells) {
            table->failed = 1;
            return;
        }
        table->cells = cells;
        table->capacity = capacity;
    }
    va_start(args, fmt);
    length = vasprintf(&cell, fmt, args);
    va_end(args);
    if (length < 0) {
        table->failed = 1;
        return;
    }
    table->cells[table->n_cells++] = cell;
}

static void print_cell(cli_call *cli, const char *text, int width, int right, int last)
{
    if (right)
        cli_printf(cli, "%*s", width, text);
    else if (last)
        cli_printf(cli, "%s", text);
    else
        cli_printf(cli, "%-*s", width, text);
    cli_printf(cli, last ? "\n" : "  ");
}

lego_status cli_table_print(cli_call *cli, const cli_table *table)
{
    int *widths;

    if (!table || table->failed)
        return cli_fail(cli, "out of memory");
    widths = calloc((size_t)table->n_columns, sizeof(int));
    if (!widths)
        return cli_fail(cli, "out of memory");
    for (int c = 0; c < table->n_columns; c++) {
        const char *header = table->headers[c];
        widths[c] = (int)strlen(header) - (header[0] == '>');
        for (size_t i = (size_t)c; i < table->n_cells; i += (size_t)table->n_columns)
            if ((int)strlen(table->cells[i]) > widths[c])
                widths[c] = (int)strlen(table->cells[i]);
    }
    if (cli->color_out)
        cli_printf(cli, "\033[1m");
    for (int c = 0; c < table->n_columns; c++) {
        const int right = table->headers[c][0] == '>';
        print_cell(cli, table->headers[c] + right, widths[c], right, c == table->n_columns - 1);
    }
    if (cli->color_out)
        cli_printf(cli, "\033[0m");
    for (size_t i = 0; i < table->n_cells; i++) {
        const int c = (int)(i % (size_t)table->n_columns);
        print_cell(cli, table->cells[i], widths[c], table->headers[c][0] == '>', c == table->n_columns - 1);
    }
    free(widths);
    return LEGO_OK;
}
