/* `legodnn infer`: run a model or a composition on an array. */
#include <stdlib.h>
#include <string.h>

#include "forward.h"
#include "inputs.h"

struct infer_args {
    const char *input, *selection, *device;
    int engine;
};

static const cli_option options[] = {
    CLI_STRING(struct infer_args, input, "input", "FILE.npy", NULL,
               "float32 samples: (N,C,H,W), or (C,H,W) for a single one"),
    CLI_STRING(struct infer_args, selection, "selection", "SEL", NULL,
               "of a store: a selection file, b0=s0.5,b3=s0.75 or all=s0.5 (default: all originals)"),
    CLI_ENUM(struct infer_args, engine, "engine", cli_engines, "auto", "what runs the model; auto: the fastest there is"),
    CLI_STRING(struct infer_args, device, "device", "DEVICE", "cpu", "torch engine: cpu, cuda or cuda:N"),
    CLI_END
};

static const char *format_dims(char text[128], int n_dims, const int64_t *dims)
{
    size_t length = 0;

    text[0] = '\0';
    for (int i = 0; i < n_dims && length < 100; i++)
        length += (size_t)snprintf(text + length, 128 - length, "%s%lld", i ? "x" : "", (long long)dims[i]);
    return text;
}

/* The samples' number, after checking that the array fits the model's input. */
static lego_status count_samples(int64_t *n, cli_call *cli, const lego_model *model, const lego_tensor *input,
                                 const char *path)
{
    int64_t want[LEGO_MAX_DIMS];
    const int64_t *have = lego_tensor_dims(input);
    char have_text[128], want_text[128];
    int n_want = 0, fits;
    const int n_have = lego_tensor_n_dims(input);
    lego_status status;

    CLI_TRY(lego_model_input_shape(model, 0, &n_want, want));
    fits = n_have == n_want || n_have == n_want - 1;
    for (int i = 1; fits && i < n_want; i++)
        fits = have[n_have - n_want + i] == want[i];
    *n = n_have == n_want ? have[0] : 1;
    if (lego_tensor_dtype(input) != LEGO_DTYPE_F32)
        CLI_TRY(cli_fail(cli, "'%s' must hold float32 numbers", path));
    if (!fits || *n < 1 || *n > 65536)
        CLI_TRY(cli_fail(cli, "'%s' has shape %s, the model takes Nx%s", path, format_dims(have_text, n_have, have),
                         format_dims(want_text, n_want - 1, want + 1)));
done:
    return status;
}

static lego_status create_output(lego_tensor **out, const lego_model *model, int64_t n)
{
    int64_t dims[LEGO_MAX_DIMS];
    int n_dims = 0;
    lego_status status = lego_model_output_shape(model, 0, &n_dims, dims);

    if (status != LEGO_OK)
        return status;
    dims[0] = n;
    return lego_tensor_create(out, LEGO_DTYPE_F32, n_dims, dims);
}

/* One line a sample: its numbers. */
static void print_rows(cli_call *cli, const lego_tensor *output)
{
    const int64_t n = lego_tensor_dims(output)[0];
    const int64_t elements = n > 0 ? lego_tensor_n_elements(output) / n : 0;
    const float *values = lego_tensor_const_data(output);

    if (cli->json)
        cli_printf(cli, "{\"schema\": \"legodnn.infer/1\", \"outputs\": [");
    for (int64_t i = 0; i < n; i++) {
        if (cli->json)
            cli_printf(cli, "%s\n  [", i ? "," : "");
        for (int64_t j = 0; j < elements; j++)
            cli_printf(cli, "%s%.7g", j ? (cli->json ? ", " : " ") : "", (double)values[i * elements + j]);
        cli_printf(cli, cli->json ? "]" : "\n");
    }
    if (cli->json)
        cli_printf(cli, "\n]}\n");
}

static lego_status run(cli_call *cli, const void *arguments)
{
    const struct infer_args *args = arguments;
    lego_model_info info;
    lego_model *model = NULL;
    lego_tensor *input = NULL, *output = NULL;
    cli_forward *forward = NULL;
    const float *from;
    float *to;
    int64_t n = 0;
    lego_status status;

    if (!args->input)
        return cli_usage(cli, "--input FILE.npy is missing");
    CLI_TRY(cli_load_model(&model, cli, cli->args[0], args->selection));
    CLI_TRY(lego_model_get_info(&info, model));
    if (info.n_inputs != 1 || info.n_outputs != 1)
        CLI_TRY(cli_fail(cli, "'%s' has %lld inputs and %lld outputs; infer takes models with one of each", cli->args[0],
                         (long long)info.n_inputs, (long long)info.n_outputs));
    CLI_TRY(lego_tensor_load_npy(&input, args->input));
    CLI_TRY(count_samples(&n, cli, model, input, args->input));
    CLI_TRY(create_output(&output, model, n));
    CLI_TRY(cli_forward_create(&forward, cli, model, args->engine, args->device, n));
    from = lego_tensor_const_data(input);
    to = lego_tensor_data(output);
    CLI_TRY(cli_forward_run(&from, &to, forward));
    if (cli->output) {
        CLI_TRY(lego_tensor_save_npy(output, cli->output));
        cli_note(cli, "wrote %s: %lld samples", cli->output, (long long)n);
    } else {
        print_rows(cli, output);
    }
done:
    cli_forward_free(forward);
    lego_tensor_free(output);
    lego_tensor_free(input);
    lego_model_free(model);
    return status;
}

const cli_command cmd_infer = {
    .name = "infer",
    .summary = "run a model or a composition on an array",
    .usage = "MODEL|STORE --input FILE.npy [-o FILE.npy] [options]",
    .description = "Runs the samples of a NumPy file and writes the outputs to another one, or prints a line a sample.",
    CLI_TAKES_MODEL,
    .output = CLI_OUTPUT_ARTIFACT,
    .output_help = "the outputs as a NumPy file (default: printed)",
    .args_size = sizeof(struct infer_args),
    .options = options,
    .examples = "legodnn infer teacher.safetensors --input x.npy -o y.npy\n"
                "legodnn infer store --input x.npy --selection all=s0.5 --engine ref",
    .run = run,
};
