/* `legodnn infer`: run a model or a composition on arrays, one an input. */
#include <stdlib.h>
#include <string.h>

#include "forward.h"
#include "inputs.h"

struct infer_args {
    cli_strings input;
    const char *selection, *device;
    int engine;
};

static const cli_option options[] = {
    CLI_STRINGS(struct infer_args, input, "input", "[NAME=]FILE.npy",
                "float32 samples: (N,C,H,W), or (C,H,W) for a single one. Of several inputs: once for each, in the "
                "model's order or by name"),
    CLI_STRING(struct infer_args, selection, "selection", "SEL", NULL,
               "of a store: a selection file, b0=s0.5,b3=s0.75 or all=s0.5 (default: all originals)"),
    CLI_ENUM(struct infer_args, engine, "engine", cli_engines, "auto", "what runs the model; auto: the fastest there is"),
    CLI_STRING(struct infer_args, device, "device", "DEVICE", "cpu", "torch engine: cpu, cuda or cuda:N"),
    CLI_END
};

/* What a run reads and writes. */
typedef struct arrays {
    int64_t n_inputs, n_outputs, n_samples;
    lego_tensor **inputs, **outputs;
    const float **from;
    float **to;
} arrays;

static const char *format_dims(char text[128], int n_dims, const int64_t *dims)
{
    size_t length = 0;

    text[0] = '\0';
    for (int i = 0; i < n_dims && length < 100; i++)
        length += (size_t)snprintf(text + length, 128 - length, "%s%lld", i ? "x" : "", (long long)dims[i]);
    return text;
}

/* The samples' number, after checking that the array fits the model's input. */
static lego_status count_samples(int64_t *n, cli_call *cli, const lego_model *model, int64_t index,
                                 const lego_tensor *input, const char *path)
{
    int64_t want[LEGO_MAX_DIMS];
    const int64_t *have = lego_tensor_dims(input);
    char have_text[128], want_text[128];
    int n_want = 0, fits;
    const int n_have = lego_tensor_n_dims(input);
    lego_status status;

    CLI_TRY(lego_model_input_shape(model, index, &n_want, want));
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

static lego_status read_input(arrays *a, cli_call *cli, const lego_model *model, const char *text, int64_t i)
{
    const char *path;
    const int64_t k = cli_find_input(&path, model, text, i);
    int64_t n = 0;
    lego_status status;

    if (a->inputs[k])
        return cli_fail(cli, "two files are given for input '%s'", lego_model_input_name(model, k));
    CLI_TRY(lego_tensor_load_npy(&a->inputs[k], path));
    CLI_TRY(count_samples(&n, cli, model, k, a->inputs[k], path));
    if (a->n_samples != 0 && n != a->n_samples)
        CLI_TRY(cli_fail(cli, "'%s' has %lld samples, the others have %lld", path, (long long)n,
                         (long long)a->n_samples));
    a->n_samples = n;
    a->from[k] = lego_tensor_const_data(a->inputs[k]);
done:
    return status;
}

static lego_status read_inputs(arrays *a, cli_call *cli, const lego_model *model, const cli_strings *files)
{
    lego_status status = LEGO_OK;

    if (files->n != a->n_inputs) {
        char names[256] = "";
        size_t length = 0;

        for (int64_t i = 0; i < a->n_inputs && length < 200; i++)
            length += (size_t)snprintf(names + length, sizeof(names) - length, "%s%.50s", i ? ", " : "",
                                       lego_model_input_name(model, i));
        return cli_fail(cli, "'%s' has %lld input%s (%s); --input is given %d time%s", cli->args[0],
                        (long long)a->n_inputs, a->n_inputs == 1 ? "" : "s", names, files->n, files->n == 1 ? "" : "s");
    }
    for (int i = 0; i < files->n; i++)
        CLI_TRY(read_input(a, cli, model, files->values[i], i));
done:
    return status;
}

static lego_status create_outputs(arrays *a, const lego_model *model)
{
    int64_t dims[LEGO_MAX_DIMS];
    int n_dims = 0;
    lego_status status = LEGO_OK;

    for (int64_t i = 0; i < a->n_outputs; i++) {
        CLI_TRY(lego_model_output_shape(model, i, &n_dims, dims));
        dims[0] = a->n_samples;
        CLI_TRY(lego_tensor_create(&a->outputs[i], LEGO_DTYPE_F32, n_dims, dims));
        a->to[i] = lego_tensor_data(a->outputs[i]);
    }
done:
    return status;
}

static lego_status create_arrays(arrays *a, cli_call *cli, const lego_model *model)
{
    lego_model_info info;
    lego_status status = lego_model_get_info(&info, model);

    if (status != LEGO_OK)
        return status;
    a->n_inputs = info.n_inputs;
    a->n_outputs = info.n_outputs;
    a->inputs = calloc((size_t)info.n_inputs + 1, sizeof(*a->inputs));
    a->outputs = calloc((size_t)info.n_outputs + 1, sizeof(*a->outputs));
    a->from = calloc((size_t)info.n_inputs + 1, sizeof(*a->from));
    a->to = calloc((size_t)info.n_outputs + 1, sizeof(*a->to));
    return a->inputs && a->outputs && a->from && a->to ? LEGO_OK : cli_fail(cli, "out of memory");
}

static void free_arrays(arrays *a)
{
    for (int64_t i = 0; a->inputs && i < a->n_inputs; i++)
        lego_tensor_free(a->inputs[i]);
    for (int64_t i = 0; a->outputs && i < a->n_outputs; i++)
        lego_tensor_free(a->outputs[i]);
    free(a->inputs);
    free(a->outputs);
    free(a->from);
    free(a->to);
}

static void print_numbers(cli_call *cli, const float *values, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        cli_printf(cli, "%s%.7g", i ? (cli->json ? ", " : " ") : "", (double)values[i]);
}

/* One line a sample: its numbers; the output's name before them where there are several. */
static void print_rows(cli_call *cli, const arrays *a, const lego_model *model)
{
    for (int64_t i = 0; i < a->n_outputs; i++) {
        const int64_t elements = lego_tensor_n_elements(a->outputs[i]) / a->n_samples;

        if (a->n_outputs > 1)
            cli_printf(cli, "# %s\n", lego_model_output_name(model, i));
        for (int64_t k = 0; k < a->n_samples; k++) {
            print_numbers(cli, a->to[i] + k * elements, elements);
            cli_printf(cli, "\n");
        }
    }
}

static void print_json(cli_call *cli, const arrays *a, const lego_model *model)
{
    cli_printf(cli, "{\"schema\": \"legodnn.infer/2\", \"outputs\": [");
    for (int64_t i = 0; i < a->n_outputs; i++) {
        const int64_t elements = lego_tensor_n_elements(a->outputs[i]) / a->n_samples;

        cli_printf(cli, "%s\n  {\"name\": ", i ? "," : "");
        cli_print_json_string(cli, lego_model_output_name(model, i));
        cli_printf(cli, ", \"shape\": [");
        for (int k = 0; k < lego_tensor_n_dims(a->outputs[i]); k++)
            cli_printf(cli, "%s%lld", k ? ", " : "", (long long)lego_tensor_dims(a->outputs[i])[k]);
        cli_printf(cli, "], \"samples\": [");
        for (int64_t k = 0; k < a->n_samples; k++) {
            cli_printf(cli, "%s\n    [", k ? "," : "");
            print_numbers(cli, a->to[i] + k * elements, elements);
            cli_printf(cli, "]");
        }
        cli_printf(cli, "\n  ]}");
    }
    cli_printf(cli, "\n]}\n");
}

/* The file of output i: FILE.npy, or FILE.0.npy, FILE.1.npy ... of several. */
static lego_status save(cli_call *cli, const arrays *a, int64_t i)
{
    const char *path = cli->output, *dot = strrchr(path, '.');
    const size_t size = strlen(path) + 32, length = dot && !strchr(dot, '/') ? (size_t)(dot - path) : strlen(path);
    char *numbered;
    lego_status status;

    if (a->n_outputs == 1)
        return lego_tensor_save_npy(a->outputs[0], path);
    numbered = malloc(size);
    if (!numbered)
        return cli_fail(cli, "out of memory");
    (void)snprintf(numbered, size, "%.*s.%lld%s", (int)length, path, (long long)i, path + length);
    status = lego_tensor_save_npy(a->outputs[i], numbered);
    if (status == LEGO_OK)
        cli_note(cli, "wrote %s", numbered);
    free(numbered);
    return status;
}

static lego_status run(cli_call *cli, const void *arguments)
{
    const struct infer_args *args = arguments;
    arrays a = { 0 };
    lego_model *model = NULL;
    cli_forward *forward = NULL;
    lego_status status;

    if (args->input.n == 0)
        return cli_usage(cli, "--input FILE.npy is missing");
    CLI_TRY(cli_load_model(&model, cli, cli->args[0], args->selection));
    CLI_TRY(create_arrays(&a, cli, model));
    CLI_TRY(read_inputs(&a, cli, model, &args->input));
    CLI_TRY(create_outputs(&a, model));
    CLI_TRY(cli_forward_create(&forward, cli, model, args->engine, args->device, a.n_samples));
    CLI_TRY(cli_forward_run(a.from, a.to, forward));
    if (cli->output) {
        for (int64_t i = 0; i < a.n_outputs; i++)
            CLI_TRY(save(cli, &a, i));
        cli_note(cli, "%s%s: %lld samples", a.n_outputs == 1 ? "wrote " : "", cli->output, (long long)a.n_samples);
    } else if (cli->json) {
        print_json(cli, &a, model);
    } else {
        print_rows(cli, &a, model);
    }
done:
    cli_forward_free(forward);
    free_arrays(&a);
    lego_model_free(model);
    return status;
}

const cli_command cmd_infer = {
    .name = "infer",
    .summary = "run a model or a composition on an array",
    .usage = "MODEL|STORE --input [NAME=]FILE.npy... [-o FILE.npy] [options]",
    .description = "Runs the samples of a NumPy file and writes the outputs to another one, or prints a line a sample. A model\n"
                   "of several inputs takes a file for each, with equally many samples; of several outputs, the files are\n"
                   "FILE.0.npy, FILE.1.npy and so on, in the model's order.",
    CLI_TAKES_MODEL,
    .output = CLI_OUTPUT_ARTIFACT,
    .output_help = "the outputs as a NumPy file (default: printed)",
    .args_size = sizeof(struct infer_args),
    .options = options,
    .examples = "legodnn infer teacher.safetensors --input x.npy -o y.npy\n"
                "legodnn infer matting.safetensors --input image=x.npy --input mask=m.npy -o y.npy\n"
                "legodnn infer store --input x.npy --selection all=s0.5 --engine ref",
    .run = run,
};
