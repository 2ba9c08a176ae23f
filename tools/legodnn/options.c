/* Command-line options from one table: parsing, defaults, ranges, help, and the nearest name for a typing error.
 *
 * The frame (main.c) hands over the words after the command's name; values land in the command's struct at the offsets
 * of its table. Worth knowing: defaults go through the same parser as what the user types, so the help cannot differ
 * from what happens; numbers are read in full ("12abc" is an error) and NaN is never in a range. */
#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char *const color_choices[] = { "auto", "always", "never", NULL };

#define COMMON(field) offsetof(cli_common, field)
const cli_option cli_common_options[] = {
    { "output", 'o', CLI_TYPE_STRING, COMMON(output), "FILE", 0, 0, NULL, NULL, NULL },
    { "json", 0, CLI_TYPE_FLAG, COMMON(json), NULL, 0, 0, NULL, NULL, "print one JSON document instead of text" },
    { "seed", 0, CLI_TYPE_INT, COMMON(seed), "S", 0, 9007199254740992.0, NULL, "0",
      "seed of everything random; equal seeds give equal results" },
    { "threads", 0, CLI_TYPE_INT, COMMON(threads), "N", 0, 4096, NULL, "0",
      "compute threads; 0: every core this process may use" },
    { "quiet", 'q', CLI_TYPE_FLAG, COMMON(quiet), NULL, 0, 0, NULL, NULL, "errors only: no progress, no remarks" },
    { "verbose", 'v', CLI_TYPE_COUNT, COMMON(verbose), NULL, 0, 0, NULL, NULL,
      "say more; twice: everything" },
    { "color", 0, CLI_TYPE_ENUM, COMMON(color), NULL, 0, 0, color_choices, "auto", "colours in text and messages" },
    { "help", 'h', CLI_TYPE_FLAG, COMMON(help), NULL, 0, 0, NULL, NULL, "show this help" },
    CLI_END
};

struct cli_options {
    const char **positional;
    int n_positional;
    const char **given; /* names of the options that the user wrote */
    size_t n_given;
};

__attribute__((format(printf, 2, 3))) static int fail(cli_error_text error, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(error, sizeof(cli_error_text), fmt, args);
    va_end(args);
    return -1;
}

/* --- values --- */

/* A number and what follows it. */
static int read_number(double *value, const char **rest, const char *text)
{
    char *end = NULL;

    if (*text == '\0' || strchr(" \t\n\v\f\r", *text))
        return -1;
    errno = 0;
    *value = strtod(text, &end);
    if (end == text || errno == ERANGE || isnan(*value))
        return -1;
    *rest = end;
    return 0;
}

static int check_range(double value, const cli_option *option, const char *text, cli_error_text error)
{
    if (value >= option->min && value <= option->max)
        return 0;
    if (value < 0.0 && option->min == 0.0 && option->max >= CLI_NO_LIMIT)
        return fail(error, "--%s %s must not be negative", option->name, text);
    return fail(error, "--%s %s is not between %.15g and %.15g", option->name, text, option->min, option->max);
}

static int read_int(int64_t *out, const cli_option *option, const char *text, cli_error_text error)
{
    char *end = NULL;
    long long value;

    errno = 0;
    value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno == ERANGE)
        return fail(error, "--%s '%s' is not a whole number", option->name, text);
    if (check_range((double)value, option, text, error) != 0)
        return -1;
    *out = value;
    return 0;
}

static int read_double(double *out, const cli_option *option, const char *text, cli_error_text error)
{
    const char *rest = NULL;

    if (read_number(out, &rest, text) != 0)
        return fail(error, "--%s '%s' is not a number", option->name, text);
    if (option->type == CLI_TYPE_RATIO && strcmp(rest, "%") == 0) {
        *out /= 100.0;
        rest++;
    }
    if (*rest != '\0')
        return fail(error, "--%s '%s' is not a number", option->name, text);
    return check_range(*out, option, text, error);
}

typedef struct unit {
    const char *name;
    double factor;
} unit;

static const unit duration_units[] = { { "ns", 1e-3 }, { "us", 1.0 }, { "ms", 1e3 }, { "s", 1e6 }, { NULL, 0 } };
static const unit size_units[] = { { "", 1.0 },        { "B", 1.0 },          { "KB", 1e3 },
                                   { "MB", 1e6 },      { "GB", 1e9 },         { "KiB", 1024.0 },
                                   { "MiB", 1048576.0 }, { "GiB", 1073741824.0 }, { NULL, 0 } };

static const char *duration_names(const cli_option *option)
{
    return option->min < 0.0 ? "ns, us, ms, s, % (of the original's latency)" : "ns, us, ms, s";
}

static int read_with_unit(double *out, const cli_option *option, const unit *units, const char *allowed,
                          const char *text, cli_error_text error)
{
    const char *rest = NULL;

    if (read_number(out, &rest, text) != 0)
        return fail(error, "--%s '%s' is not a number with a unit (%s)", option->name, text, allowed);
    if (option->min < 0.0 && *out < 0.0) /* what the sign means is ours */
        return fail(error, "--%s %s must not be negative", option->name, text);
    if (option->min < 0.0 && strcmp(rest, "%") == 0) {
        *out /= -100.0;
        return *out < option->min ? fail(error, "--%s %s is more than %g%%", option->name, text, -100.0 * option->min) : 0;
    }
    for (const unit *u = units; u->name; u++)
        if (strcmp(u->name, rest) == 0) {
            *out *= u->factor;
            return check_range(*out, option, text, error);
        }
    if (*rest == '\0')
        return fail(error, "--%s '%s' has no unit; use one of %s", option->name, text, allowed);
    return fail(error, "--%s '%s': unknown unit '%s'; use one of %s", option->name, text, rest, allowed);
}

static int read_doubles(cli_doubles *out, const cli_option *option, const char *text, cli_error_text error)
{
    const size_t limit = sizeof(out->values) / sizeof(out->values[0]);
    const char *at = text;

    out->n = 0;
    for (;;) {
        if (out->n == limit)
            return fail(error, "--%s has more than %zu values", option->name, limit);
        double value = 0;
        if (read_number(&value, &at, at) != 0 || (*at != ',' && *at != '\0'))
            return fail(error, "--%s '%s' is not a list of numbers like 0,0.3,0.6", option->name, text);
        if (!(value >= option->min && value <= option->max))
            return fail(error, "--%s: %.15g is not between %.15g and %.15g", option->name, value, option->min,
                        option->max);
        out->values[out->n++] = value;
        if (*at == '\0')
            return 0;
        at++;
    }
}

static int read_durations(cli_doubles *out, const cli_option *option, const char *text, cli_error_text error)
{
    char piece[32];

    out->n = 0;
    for (;;) {
        const size_t length = strcspn(text, ",");

        if (out->n == sizeof(out->values) / sizeof(out->values[0]) || length >= sizeof(piece))
            return fail(error, "--%s '%s' is not a short list of durations like 4ms,2.5ms", option->name, text);
        memcpy(piece, text, length);
        piece[length] = '\0';
        if (read_with_unit(&out->values[out->n++], option, duration_units, duration_names(option), piece, error) != 0)
            return -1;
        if (text[length] == '\0')
            return 0;
        text += length + 1;
    }
}

static int read_dims(cli_dims *out, const cli_option *option, const char *text, cli_error_text error)
{
    const int limit = (int)(sizeof(out->dims) / sizeof(out->dims[0]));
    const char *at = text;

    out->n = 0;
    for (;;) {
        char *end = NULL;
        errno = 0;
        long long value = strtoll(at, &end, 10);
        if (end == at || errno == ERANGE || (*end != 'x' && *end != '\0') || out->n == limit)
            return fail(error, "--%s '%s' is not a shape like 3x32x32", option->name, text);
        if (!((double)value >= option->min && (double)value <= option->max))
            return fail(error, "--%s '%s': %lld is not between %.15g and %.15g", option->name, text, value,
                        option->min, option->max);
        out->dims[out->n++] = value;
        if (*end == '\0')
            return 0;
        at = end + 1;
    }
}

static int read_string(cli_strings *out, const cli_option *option, const char *text, cli_error_text error)
{
    if (out->n == CLI_MAX_VALUES)
        return fail(error, "--%s is given more than %d times", option->name, CLI_MAX_VALUES);
    out->values[out->n++] = text;
    return 0;
}

static int read_shape(cli_shapes *out, const cli_option *option, const char *text, cli_error_text error)
{
    const char *equals = strrchr(text, '=');
    const size_t length = equals ? (size_t)(equals - text) : 0;

    if (out->n == CLI_MAX_VALUES)
        return fail(error, "--%s is given more than %d times", option->name, CLI_MAX_VALUES);
    if (length >= sizeof(out->values[0].name) || (equals && length == 0))
        return fail(error, "--%s '%s': a name has 1 to %zu bytes", option->name, text, sizeof(out->values[0].name) - 1);
    memcpy(out->values[out->n].name, text, length);
    out->values[out->n].name[length] = '\0';
    if (read_dims(&out->values[out->n].dims, option, equals ? equals + 1 : text, error) != 0)
        return -1;
    out->n++;
    return 0;
}

static int read_enum(int *out, const cli_option *option, const char *text, cli_error_text error)
{
    char known[256] = "";
    size_t length = 0;

    for (int i = 0; option->choices[i]; i++) {
        if (strcmp(option->choices[i], text) == 0) {
            *out = i;
            return 0;
        }
        int n = snprintf(known + length, sizeof(known) - length, "%s%s", i ? ", " : "", option->choices[i]);
        if (n > 0 && (size_t)n < sizeof(known) - length)
            length += (size_t)n;
    }
    return fail(error, "--%s '%s' is not one of %s", option->name, text, known);
}

static int takes_value(const cli_option *option)
{
    return option->type != CLI_TYPE_FLAG && option->type != CLI_TYPE_COUNT;
}

/* Store `text` (NULL for flags) at the option's place in `base`. */
static int store_value(void *base, const cli_option *option, const char *text, cli_error_text error)
{
    void *place = (char *)base + option->offset;
    double value = 0;

    switch (option->type) {
    case CLI_TYPE_FLAG:
        *(int *)place = 1;
        return 0;
    case CLI_TYPE_COUNT:
        *(int *)place += 1;
        return 0;
    case CLI_TYPE_INT:
        return read_int(place, option, text, error);
    case CLI_TYPE_DOUBLE:
    case CLI_TYPE_RATIO:
        return read_double(place, option, text, error);
    case CLI_TYPE_STRING:
        *(const char **)place = text;
        return 0;
    case CLI_TYPE_DURATION:
        return read_with_unit(place, option, duration_units, duration_names(option), text, error);
    case CLI_TYPE_SIZE:
        if (read_with_unit(&value, option, size_units, "KB, MB, GB, KiB, MiB, GiB", text, error) != 0)
            return -1;
        *(int64_t *)place = (int64_t)value;
        return 0;
    case CLI_TYPE_DURATIONS:
        return read_durations(place, option, text, error);
    case CLI_TYPE_DOUBLES:
        return read_doubles(place, option, text, error);
    case CLI_TYPE_DIMS:
        return read_dims(place, option, text, error);
    case CLI_TYPE_STRINGS:
        return read_string(place, option, text, error);
    case CLI_TYPE_SHAPES:
        return read_shape(place, option, text, error);
    case CLI_TYPE_ENUM:
        return read_enum(place, option, text, error);
    }
    return fail(error, "--%s has an unknown type", option->name);
}

static int store_defaults(void *base, const cli_option *options, cli_error_text error)
{
    for (const cli_option *option = options; option && option->name; option++)
        if (option->fallback && store_value(base, option, option->fallback, error) != 0)
            return -1;
    return 0;
}

/* --- the nearest name --- */

/* Levenshtein distance, capped: words longer than the buffer are never near. */
static size_t distance(const char *a, const char *b)
{
    size_t row[64];
    const size_t n = strlen(b);

    if (n >= sizeof(row) / sizeof(row[0]))
        return n;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 1; j <= n; j++) {
            size_t change = diagonal + (a[i] != b[j - 1]);
            size_t best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            diagonal = row[j];
            row[j] = change < best ? change : best;
        }
    }
    return row[n];
}

const char *cli_nearest(const char *word, const char *const *names)
{
    const char *best = NULL;
    size_t best_distance = strlen(word) / 3 + 2; /* at most a third of the word wrong, and one more */

    for (size_t i = 0; names[i]; i++) {
        size_t d = distance(word, names[i]);
        if (d < best_distance) {
            best_distance = d;
            best = names[i];
        }
    }
    return best;
}

static int unknown_option(const char *word, const cli_option *options, cli_error_text error)
{
    const char *names[128];
    size_t n = 0;
    const char *near;
    const cli_option *tables[] = { options, cli_common_options };

    for (size_t t = 0; t < 2; t++)
        for (const cli_option *option = tables[t]; option && option->name && n < 127; option++)
            names[n++] = option->name;
    names[n] = NULL;
    near = cli_nearest(word, names);
    if (near)
        return fail(error, "unknown option --%s; did you mean --%s?", word, near);
    return fail(error, "unknown option --%s", word);
}

/* --- parsing --- */

typedef struct found {
    const cli_option *option;
    void *base;
} found;

static found find_option(const char *name, size_t length, char letter, const cli_option *options, void *args,
                         cli_common *common)
{
    const cli_option *tables[] = { options, cli_common_options };
    void *bases[] = { args, common };

    for (size_t t = 0; t < 2; t++)
        for (const cli_option *option = tables[t]; option && option->name; option++)
            if (name ? strlen(option->name) == length && strncmp(option->name, name, length) == 0
                     : letter && option->letter == letter)
                return (found){ option, bases[t] };
    return (found){ NULL, NULL };
}

/* --name, --name=value, --name value; returns how many words were used, -1 on an error. */
static int parse_long(int argc, char **argv, const cli_option *options, void *args, cli_common *common,
                      cli_options *parsed, cli_error_text error)
{
    const char *name = argv[0] + 2;
    const char *equals = strchr(name, '=');
    const size_t length = equals ? (size_t)(equals - name) : strlen(name);
    found f = find_option(name, length, 0, options, args, common);

    if (!f.option) {
        char word[64];
        (void)snprintf(word, sizeof(word), "%.*s", (int)(length < 60 ? length : 60), name);
        return unknown_option(word, options, error);
    }
    parsed->given[parsed->n_given++] = f.option->name;
    if (!takes_value(f.option)) {
        if (equals)
            return fail(error, "--%s takes no value", f.option->name);
        return store_value(f.base, f.option, NULL, error) == 0 ? 1 : -1;
    }
    if (equals)
        return store_value(f.base, f.option, equals + 1, error) == 0 ? 1 : -1;
    if (argc < 2)
        return fail(error, "--%s needs a value", f.option->name);
    return store_value(f.base, f.option, argv[1], error) == 0 ? 2 : -1;
}

/* -q, -vv, -o FILE, -oFILE */
static int parse_short(int argc, char **argv, const cli_option *options, void *args, cli_common *common,
                       cli_options *parsed, cli_error_text error)
{
    for (const char *letter = argv[0] + 1; *letter; letter++) {
        found f = find_option(NULL, 0, *letter, options, args, common);
        if (!f.option)
            return fail(error, "unknown option -%c", *letter);
        parsed->given[parsed->n_given++] = f.option->name;
        if (!takes_value(f.option)) {
            if (store_value(f.base, f.option, NULL, error) != 0)
                return -1;
            continue;
        }
        if (letter[1] != '\0')
            return store_value(f.base, f.option, letter + 1, error) == 0 ? 1 : -1;
        if (argc < 2)
            return fail(error, "-%c needs a value", *letter);
        return store_value(f.base, f.option, argv[1], error) == 0 ? 2 : -1;
    }
    return 1;
}

/* Letters on the whole line: an upper bound of how many options there can be. */
static size_t count_letters(int argc, char **argv)
{
    size_t n = 1;

    for (int i = 0; i < argc; i++)
        n += strlen(argv[i]) + 1;
    return n;
}

cli_options *cli_options_parse(int argc, char **argv, const cli_option *options, void *args, size_t args_size,
                               cli_common *common, cli_error_text error)
{
    cli_options *parsed = calloc(1, sizeof(*parsed));
    int i = 0;

    error[0] = '\0';
    if (!parsed || !(parsed->positional = calloc((size_t)argc + 1, sizeof(char *))) ||
        !(parsed->given = calloc(count_letters(argc, argv), sizeof(char *)))) {
        (void)fail(error, "out of memory");
        goto failed;
    }
    if (args_size)
        memset(args, 0, args_size);
    memset(common, 0, sizeof(*common));
    if (store_defaults(args, options, error) != 0 || store_defaults(common, cli_common_options, error) != 0)
        goto failed;

    while (i < argc) {
        int used = 1;
        if (strcmp(argv[i], "--") == 0) {
            for (i++; i < argc; i++)
                parsed->positional[parsed->n_positional++] = argv[i];
            break;
        }
        if (strncmp(argv[i], "--", 2) == 0)
            used = parse_long(argc - i, argv + i, options, args, common, parsed, error);
        else if (argv[i][0] == '-' && argv[i][1] != '\0')
            used = parse_short(argc - i, argv + i, options, args, common, parsed, error);
        else
            parsed->positional[parsed->n_positional++] = argv[i];
        if (used < 0)
            goto failed;
        i += used;
    }
    return parsed;
failed:
    cli_options_free(parsed);
    return NULL;
}

void cli_options_free(cli_options *parsed)
{
    if (!parsed)
        return;
    free(parsed->positional);
    free(parsed->given);
    free(parsed);
}

int cli_options_given(const cli_options *parsed, const char *name)
{
    for (size_t i = 0; i < parsed->n_given; i++)
        if (strcmp(parsed->given[i], name) == 0)
            return 1;
    return 0;
}

int cli_options_positional(const cli_options *parsed, const char *const **positional)
{
    *positional = parsed->positional;
    return parsed->n_positional;
}

/* --- help --- */

enum { HELP_COLUMN = 26, HELP_WIDTH = 96 };

static const char *metavar(const cli_option *option, char *text, size_t size)
{
    size_t length = 0;

    if (option->metavar)
        return option->metavar;
    text[0] = '\0';
    for (int i = 0; option->choices && option->choices[i]; i++) {
        int n = snprintf(text + length, size - length, "%s%s", i ? "|" : "", option->choices[i]);
        if (n < 0 || (size_t)n >= size - length)
            break;
        length += (size_t)n;
    }
    return text;
}

/* Words of `text` from column HELP_COLUMN on, wrapped. `column` is where the cursor stands. */
static void print_wrapped(FILE *to, int column, const char *text)
{
    int at = HELP_COLUMN;

    if (column >= HELP_COLUMN) {
        (void)fputc('\n', to);
        column = 0;
    }
    (void)fprintf(to, "%*s", HELP_COLUMN - column, "");
    while (*text) {
        int n = (int)strcspn(text, " ");
        if (at > HELP_COLUMN && at + 1 + n > HELP_WIDTH) {
            (void)fprintf(to, "\n%*s", HELP_COLUMN, "");
            at = HELP_COLUMN;
        } else if (at > HELP_COLUMN) {
            (void)fputc(' ', to);
            at++;
        }
        (void)fprintf(to, "%.*s", n, text);
        at += n;
        text += n;
        text += strspn(text, " ");
    }
    (void)fputc('\n', to);
}

void cli_options_help(FILE *to, const cli_option *options, const char *output_help)
{
    for (const cli_option *option = options; option && option->name; option++) {
        char letter[8] = "    ";
        char choices[160];
        char help[600];
        const char *what = option->help ? option->help : output_help;
        int column;

        if (option->letter)
            (void)snprintf(letter, sizeof(letter), "-%c, ", option->letter);
        column = fprintf(to, "  %s--%s", letter, option->name);
        if (takes_value(option))
            column += fprintf(to, " %s", metavar(option, choices, sizeof(choices)));
        if (option->fallback && option->fallback[0])
            (void)snprintf(help, sizeof(help), "%s (default %s)", what, option->fallback);
        else
            (void)snprintf(help, sizeof(help), "%s", what);
        print_wrapped(to, column, help);
    }
}
