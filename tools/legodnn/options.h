/* Options of a command as one table, which drives parsing, defaults, help and error messages. */
#ifndef LEGODNN_CLI_OPTIONS_H
#define LEGODNN_CLI_OPTIONS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef enum cli_type {
    CLI_TYPE_FLAG,     /* int: 1 when given */
    CLI_TYPE_COUNT,    /* int: how often given */
    CLI_TYPE_INT,      /* int64_t in [min, max] */
    CLI_TYPE_DOUBLE,   /* double in [min, max] */
    CLI_TYPE_RATIO,    /* double in [min, max]; "5%" is 0.05 */
    CLI_TYPE_STRING,   /* const char *, borrowed */
    CLI_TYPE_DURATION, /* double microseconds; needs ns, us, ms or s */
    CLI_TYPE_SIZE,     /* int64_t bytes; plain, KB, MB, GB (1000) or KiB, MiB, GiB (1024) */
    CLI_TYPE_DURATIONS,/* cli_doubles, microseconds: "4ms,2.5ms" */
    CLI_TYPE_DOUBLES,  /* cli_doubles: "0,0.3,0.6", each in [min, max] */
    CLI_TYPE_DIMS,     /* cli_dims: "3x32x32" */
    CLI_TYPE_STRINGS,  /* cli_strings: the option may be given again and again */
    CLI_TYPE_SHAPES,   /* cli_shapes, likewise: "1x3x32x32" or "NAME=1x3x32x32" */
    CLI_TYPE_ENUM      /* int: index into choices */
} cli_type;

typedef struct cli_doubles {
    size_t n;
    double values[64];
} cli_doubles;

typedef struct cli_dims {
    int n; /* 0: not given */
    int64_t dims[8];
} cli_dims;

enum { CLI_MAX_VALUES = 16 }; /* of an option that may be given several times */

typedef struct cli_strings {
    int n;
    const char *values[CLI_MAX_VALUES]; /* borrowed */
} cli_strings;

typedef struct cli_shapes {
    int n;
    struct {
        char name[128]; /* "": none */
        cli_dims dims;
    } values[CLI_MAX_VALUES];
} cli_shapes;

typedef struct cli_option {
    const char *name;    /* without "--"; NULL ends the table */
    char letter;         /* short form, 0 for none */
    cli_type type;
    size_t offset;       /* of the value in the command's struct */
    const char *metavar; /* "N" */
    double min, max;
    const char *const *choices; /* NULL-terminated, for enums */
    const char *fallback;       /* the default, written as a user would; NULL: zero, and nothing shown */
    const char *help;
} cli_option;

#define CLI_NO_LIMIT 9e15 /* as `max`: nothing a user would reach */
#define CLI_FLAG(type, field, name, help)                                     \
    { name, 0, CLI_TYPE_FLAG, offsetof(type, field), NULL, 0, 0, NULL, NULL, help }
#define CLI_INT(type, field, name, metavar, min, max, fallback, help)         \
    { name, 0, CLI_TYPE_INT, offsetof(type, field), metavar, (double)(min), (double)(max), NULL, fallback, help }
#define CLI_DOUBLE(type, field, name, metavar, min, max, fallback, help)      \
    { name, 0, CLI_TYPE_DOUBLE, offsetof(type, field), metavar, min, max, NULL, fallback, help }
#define CLI_RATIO(type, field, name, metavar, min, max, fallback, help)       \
    { name, 0, CLI_TYPE_RATIO, offsetof(type, field), metavar, min, max, NULL, fallback, help }
#define CLI_STRING(type, field, name, metavar, fallback, help)                \
    { name, 0, CLI_TYPE_STRING, offsetof(type, field), metavar, 0, 0, NULL, fallback, help }
#define CLI_DURATION(type, field, name, metavar, fallback, help)              \
    { name, 0, CLI_TYPE_DURATION, offsetof(type, field), metavar, 0, CLI_NO_LIMIT, NULL, fallback, help }
#define CLI_SIZE(type, field, name, metavar, fallback, help)                  \
    { name, 0, CLI_TYPE_SIZE, offsetof(type, field), metavar, 0, CLI_NO_LIMIT, NULL, fallback, help }
#define CLI_DOUBLES(type, field, name, metavar, min, max, fallback, help)     \
    { name, 0, CLI_TYPE_DOUBLES, offsetof(type, field), metavar, min, max, NULL, fallback, help }
/* Limits: durations, or shares of the original's latency, "60%", which read as minus the share (inputs.h resolves them). */
#define CLI_MAX_SHARE 100.0
#define CLI_LATENCY(type, field, name, metavar, fallback, help)               \
    { name, 0, CLI_TYPE_DURATION, offsetof(type, field), metavar, -CLI_MAX_SHARE, CLI_NO_LIMIT, NULL, fallback, help }
#define CLI_LATENCIES(type, field, name, metavar, fallback, help)             \
    { name, 0, CLI_TYPE_DURATIONS, offsetof(type, field), metavar, -CLI_MAX_SHARE, CLI_NO_LIMIT, NULL, fallback, help }
#define CLI_DIMS(type, field, name, metavar, fallback, help)                  \
    { name, 0, CLI_TYPE_DIMS, offsetof(type, field), metavar, 1, 1e9, NULL, fallback, help }
#define CLI_STRINGS(type, field, name, metavar, help)                         \
    { name, 0, CLI_TYPE_STRINGS, offsetof(type, field), metavar, 0, 0, NULL, NULL, help }
#define CLI_SHAPES(type, field, name, metavar, help)                          \
    { name, 0, CLI_TYPE_SHAPES, offsetof(type, field), metavar, 1, 1e9, NULL, NULL, help }
#define CLI_ENUM(type, field, name, choices, fallback, help)                  \
    { name, 0, CLI_TYPE_ENUM, offsetof(type, field), NULL, 0, 0, choices, fallback, help }
#define CLI_END { NULL, 0, CLI_TYPE_FLAG, 0, NULL, 0, 0, NULL, NULL, NULL }

/* The options that every command has. */
typedef struct cli_common {
    int help, quiet, verbose, json, color;
    const char *output;
    int64_t seed, threads;
} cli_common;
enum { CLI_COLOR_AUTO = 0, CLI_COLOR_ALWAYS = 1, CLI_COLOR_NEVER = 2 };

extern const cli_option cli_common_options[];

typedef char cli_error_text[512];

/* A parsed command line. */
typedef struct cli_options cli_options;

/* Parse argv[0..argc) (after the command's name): `options` into `args` (args_size bytes, zeroed here), the common ones
 * into `common`. "--" ends the options; "-" is an argument. Returns NULL with a message in `error`. */
cli_options *cli_options_parse(int argc, char **argv, const cli_option *options, void *args, size_t args_size,
                               cli_common *common, cli_error_text error);
void cli_options_free(cli_options *parsed);
int cli_options_given(const cli_options *parsed, const char *name);
int cli_options_positional(const cli_options *parsed, const char *const **positional);

/* The part of a help text that lists `options`. */
void cli_options_help(FILE *to, const cli_option *options, const char *output_help);

/* The nearest of NULL-terminated `names` to a mistyped word; NULL if none is near. */
const char *cli_nearest(const char *word, const char *const *names);

#endif
