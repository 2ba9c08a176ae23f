/* The option parser of the command: every type, its units, its ranges and its messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "legodnn/options.h"

static const char *const colors[] = { "red", "green", NULL };

struct args {
    int fast, loud, color;
    int64_t epochs, memory;
    double lr, tolerance, latency_us, limit_us;
    const char *data;
    cli_doubles sparsity;
    cli_dims input;
    cli_strings file;
    cli_shapes shape;
};

static const cli_option options[] = {
    CLI_FLAG(struct args, fast, "fast", ""),
    CLI_INT(struct args, epochs, "epochs", "N", 1, 100, "7", ""),
    CLI_DOUBLE(struct args, lr, "lr", "X", 0, 1, "3e-4", ""),
    CLI_RATIO(struct args, tolerance, "tolerance", "R", 0, 1, "5%", ""),
    CLI_STRING(struct args, data, "data", "DATA", NULL, ""),
    CLI_DURATION(struct args, latency_us, "latency", "T", NULL, ""),
    CLI_LATENCY(struct args, limit_us, "limit", "T", NULL, ""),
    CLI_SIZE(struct args, memory, "memory", "M", NULL, ""),
    CLI_DOUBLES(struct args, sparsity, "sparsity", "LIST", 0, 0.99, "0,0.3,0.6", ""),
    CLI_DIMS(struct args, input, "input", "CxHxW", NULL, ""),
    CLI_STRINGS(struct args, file, "file", "FILE", ""),
    CLI_SHAPES(struct args, shape, "shape", "SHAPE", ""),
    CLI_ENUM(struct args, color, "paint", colors, "green", ""),
    CLI_END
};

/* Parse one line of words; the message, "" if it was accepted. */
static const char *parse(struct args *args, cli_common *common, const char *line)
{
    static cli_error_text error;
    static char copy[256];
    char *words[16];
    int n = 0;
    char *rest = NULL;

    (void)snprintf(copy, sizeof(copy), "%s", line);
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        words[n++] = word;
    cli_options *parsed = cli_options_parse(n, words, options, args, sizeof(*args), common, error);
    if (parsed)
        error[0] = '\0';
    cli_options_free(parsed);
    return error;
}

static void test_options__defaults_are_parsed_like_input(void **state)
{
    struct args args;
    cli_common common;

    (void)state;
    assert_string_equal(parse(&args, &common, ""), "");
    assert_int_equal(args.epochs, 7);
    assert_true(args.lr == 3e-4 && args.tolerance == 0.05);
    assert_int_equal(args.sparsity.n, 3);
    assert_true(args.sparsity.values[2] == 0.6);
    assert_int_equal(args.color, 1);
    assert_null(args.data);
    assert_int_equal(args.input.n, 0);
    assert_int_equal(common.threads, 0);
}

static void test_options__every_spelling_is_accepted(void **state)
{
    struct args args;
    cli_common common;

    (void)state;
    assert_string_equal(parse(&args, &common, "--epochs=9 --fast --data x --input 3x32x16 -qvv -oout --paint red"), "");
    assert_int_equal(args.epochs, 9);
    assert_int_equal(args.fast, 1);
    assert_string_equal(args.data, "x");
    assert_int_equal(args.input.n, 3);
    assert_int_equal(args.input.dims[2], 16);
    assert_int_equal(args.color, 0);
    assert_int_equal(common.quiet, 1);
    assert_int_equal(common.verbose, 2);
    assert_string_equal(common.output, "out");
}

static void test_options__what_may_be_given_again_keeps_its_order(void **state)
{
    struct args args;
    cli_common common;

    (void)state;
    assert_string_equal(parse(&args, &common, "--file a --shape 1x2 --file=b=c --shape left=right=3x4x5 --file a"), "");
    assert_int_equal(args.file.n, 3);
    assert_string_equal(args.file.values[0], "a");
    assert_string_equal(args.file.values[1], "b=c");
    assert_int_equal(args.shape.n, 2);
    assert_string_equal(args.shape.values[0].name, "");
    assert_int_equal(args.shape.values[0].dims.n, 2);
    assert_string_equal(args.shape.values[1].name, "left=right");
    assert_int_equal(args.shape.values[1].dims.dims[2], 5);
    assert_string_equal(parse(&args, &common, "--shape =1x2"), "--shape '=1x2': a name has 1 to 127 bytes");
    assert_string_equal(parse(&args, &common, "--shape a=1x"), "--shape '1x' is not a shape like 3x32x32");
}

static void test_options__units_are_converted(void **state)
{
    static const struct {
        const char *text;
        double us;
    } durations[] = { { "4.5ms", 4500 }, { "2s", 2e6 }, { "250us", 250 }, { "1500ns", 1.5 }, { "1e-3s", 1000 } };
    static const struct {
        const char *text;
        int64_t bytes;
    } sizes[] = { { "4500000", 4500000 }, { "4.5MiB", 4718592 }, { "1KB", 1000 }, { "2KiB", 2048 },
                  { "1GiB", 1073741824 }, { "3GB", 3000000000 }, { "12B", 12 }, { "1.5MB", 1500000 } };
    struct args args;
    cli_common common;
    char line[64];

    (void)state;
    for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
        (void)snprintf(line, sizeof(line), "--latency %s", durations[i].text);
        assert_string_equal(parse(&args, &common, line), "");
        assert_true(args.latency_us > durations[i].us * 0.999999 && args.latency_us < durations[i].us * 1.000001);
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        (void)snprintf(line, sizeof(line), "--memory %s", sizes[i].text);
        assert_string_equal(parse(&args, &common, line), "");
        assert_int_equal(args.memory, sizes[i].bytes);
    }
}

static void test_options__shares_of_the_original_are_negative(void **state)
{
    struct args args;
    cli_common common;

    (void)state;
    assert_string_equal(parse(&args, &common, "--limit 60%"), "");
    assert_true(args.limit_us == -0.6);
    assert_string_equal(parse(&args, &common, "--limit 60us"), "");
    assert_true(args.limit_us == 60.0);
}

static void test_options__wrong_values_name_the_option_and_what_is_allowed(void **state)
{
    static const struct {
        const char *line, *message;
    } cases[] = {
        { "--epochs 0", "--epochs 0 is not between 1 and 100" },
        { "--epochs 1.5", "--epochs '1.5' is not a whole number" },
        { "--epochs 99999999999999999999", "--epochs '99999999999999999999' is not a whole number" },
        { "--lr nan", "--lr 'nan' is not a number" },
        { "--lr 2", "--lr 2 is not between 0 and 1" },
        { "--lr 1x", "--lr '1x' is not a number" },
        { "--lr 5%", "--lr '5%' is not a number" },
        { "--tolerance 500%", "--tolerance 500% is not between 0 and 1" },
        { "--latency 4.5", "--latency '4.5' has no unit; use one of ns, us, ms, s" },
        { "--latency 4.5m", "--latency '4.5m': unknown unit 'm'; use one of ns, us, ms, s" },
        { "--latency -1ms", "--latency -1ms must not be negative" },
        { "--latency 60%", "--latency '60%': unknown unit '%'; use one of ns, us, ms, s" },
        { "--limit 4.5", "--limit '4.5' has no unit; use one of ns, us, ms, s, % (of the original's latency)" },
        { "--limit -1ms", "--limit -1ms must not be negative" },
        { "--limit -60%", "--limit -60% must not be negative" },
        { "--limit 99999%", "--limit 99999% is more than 10000%" },
        { "--memory 4mib", "--memory '4mib': unknown unit 'mib'; use one of KB, MB, GB, KiB, MiB, GiB" },
        { "--sparsity 0,1", "--sparsity: 1 is not between 0 and 0.99" },
        { "--sparsity 0,,1", "--sparsity '0,,1' is not a list of numbers like 0,0.3,0.6" },
        { "--sparsity 0.3,", "--sparsity '0.3,' is not a list of numbers like 0,0.3,0.6" },
        { "--sparsity 0,nan", "--sparsity '0,nan' is not a list of numbers like 0,0.3,0.6" },
        { "--input 3x0x32", "--input '3x0x32': 0 is not between 1 and 1000000000" },
        { "--input 3x32x", "--input '3x32x' is not a shape like 3x32x32" },
        { "--input 1x1x1x1x1x1x1x1x1", "--input '1x1x1x1x1x1x1x1x1' is not a shape like 3x32x32" },
        { "--paint blue", "--paint 'blue' is not one of red, green" },
        { "--fast=yes", "--fast takes no value" },
        { "--data", "--data needs a value" },
        { "--epoch 3", "unknown option --epoch; did you mean --epochs?" },
        { "--threds 3", "unknown option --threds; did you mean --threads?" },
        { "--xyzzy", "unknown option --xyzzy" },
        { "-x", "unknown option -x" },
    };
    struct args args;
    cli_common common;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(parse(&args, &common, cases[i].line), cases[i].message);
}

static void test_options__two_dashes_end_the_options(void **state)
{
    char dash[] = "-", a[] = "a", end[] = "--", fast[] = "--fast", quiet[] = "-q";
    char *words[] = { dash, a, end, fast, quiet };
    struct args args;
    cli_common common;
    cli_error_text error;
    const char *const *positional = NULL;

    (void)state;
    cli_options *parsed = cli_options_parse(5, words, options, &args, sizeof(args), &common, error);
    assert_non_null(parsed);
    assert_int_equal(cli_options_positional(parsed, &positional), 4);
    assert_string_equal(positional[0], "-");
    assert_string_equal(positional[2], "--fast");
    assert_int_equal(args.fast, 0);
    assert_int_equal(common.quiet, 0);
    cli_options_free(parsed);
}

static void test_options__nearest_name_is_near(void **state)
{
    static const char *const names[] = { "extract", "retrain", "train", "run", NULL };

    (void)state;
    assert_string_equal(cli_nearest("extrct", names), "extract");
    assert_string_equal(cli_nearest("tran", names), "train");
    assert_null(cli_nearest("benchmark", names));
    assert_null(cli_nearest("", names));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options__defaults_are_parsed_like_input),
        cmocka_unit_test(test_options__every_spelling_is_accepted),
        cmocka_unit_test(test_options__what_may_be_given_again_keeps_its_order),
        cmocka_unit_test(test_options__units_are_converted),
        cmocka_unit_test(test_options__shares_of_the_original_are_negative),
        cmocka_unit_test(test_options__wrong_values_name_the_option_and_what_is_allowed),
        cmocka_unit_test(test_options__two_dashes_end_the_options),
        cmocka_unit_test(test_options__nearest_name_is_near),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
