/* `legodnn demo`: the main job from a trained model to one that switches its size, as the steps that a user would type.
 *
 * Each step is printed as a command line and then run through the same table of commands, in this process; nothing here
 * knows more than the command line does. The budgets are shares of the original's predicted latency on this machine,
 * read from `optimize --json`. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "json.h"

enum { MAX_WORDS = 16, PATH_BYTES = 1024 };

/* The teacher that is committed with the sources and installed beside them. */
static const char teacher_name[] = "fashion-resnet18-w16.safetensors";

struct demo_args {
    const char *data;
    int64_t limit, epochs;
};

static const cli_option options[] = {
    CLI_STRING(struct demo_args, data, "data", "DATA", "fashion-mnist", "images: NAME[:FOLDER]"),
    CLI_INT(struct demo_args, limit, "limit", "N", 100, 10000000, "60000", "most images that retraining sees an epoch"),
    CLI_INT(struct demo_args, epochs, "epochs", "N", 1, 1000, "1", "epochs of retraining"),
    CLI_END
};

typedef struct demo_job {
    cli_call *cli;
    const struct demo_args *args;
    char folder[PATH_BYTES], store[PATH_BYTES];
    int step;
} demo_job;

static double now_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Say what comes, show the command line, run it. `words` ends with NULL. */
static lego_status run_step(demo_job *demo, const char *what, const char *const *words)
{
    cli_call *cli = demo->cli;
    char *argv[MAX_WORDS];
    const double start = now_s();
    int argc = 0;
    int code;

    cli_printf(cli, "\n%s%d. %s%s\n$ legodnn", cli->color_out ? "\033[1m" : "", ++demo->step, what,
               cli->color_out ? "\033[0m" : "");
    for (; words[argc] && argc < MAX_WORDS; argc++) {
        argv[argc] = (char *)(uintptr_t)words[argc]; /* never written to */
        cli_printf(cli, " %s", words[argc]);
    }
    cli_printf(cli, "\n");
    (void)fflush(cli->out);
    code = cli_dispatch(argc, argv);
    if (code == CLI_INFEASIBLE) { /* an answer, with the nearest budget that works */
        cli_printf(cli, "(no selection is that fast)\n");
        return LEGO_EINFEASIBLE;
    }
    if (code != CLI_DONE) {
        cli->exit_code = code;
        cli->reported = 1;
        return LEGO_EINVAL;
    }
    cli_printf(cli, "(%.1f s)\n", now_s() - start);
    return LEGO_OK;
}

#define STEP(demo, what, ...) run_step((demo), (what), (const char *const[]){ __VA_ARGS__, NULL })

/* The teacher: in the sources' models/ seen from here, or installed beside the command. */
static lego_status find_teacher(char path[PATH_BYTES], cli_call *cli)
{
    char self[PATH_BYTES - 128];
    ssize_t length;
    char *slash;

    (void)snprintf(path, PATH_BYTES, "models/%s", teacher_name);
    if (access(path, R_OK) == 0)
        return LEGO_OK;
    length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (length > 0) {
        self[length] = '\0';
        slash = strrchr(self, '/');
        if (slash)
            *slash = '\0';
        (void)snprintf(path, PATH_BYTES, "%s/../share/legodnn/models/%s", self, teacher_name);
        if (access(path, R_OK) == 0)
            return LEGO_OK;
    }
    return cli_fail(cli, "the trained model models/%s is not here; name a model: legodnn demo MODEL", teacher_name);
}

static lego_status create_folder(demo_job *demo)
{
    char path[PATH_BYTES];
    size_t length;

    (void)snprintf(path, sizeof(path), "%s", demo->folder);
    for (length = 1; length <= strlen(path); length++)
        if (path[length] == '/' || path[length] == '\0') {
            const char kept = path[length];
            path[length] = '\0';
            if (mkdir(path, 0777) != 0 && errno != EEXIST)
                return cli_fail(demo->cli, "cannot create '%s': %s", path, strerror(errno));
            path[length] = kept;
        }
    return LEGO_OK;
}

/* Number at `path` of the JSON file that a step wrote. */
static lego_status read_number(double *value, demo_job *demo, const char *file, const char *path)
{
    char text[65536];
    cli_json *json = NULL;
    FILE *from = fopen(file, "r");
    size_t n;
    lego_status status;

    if (!from)
        return cli_fail(demo->cli, "cannot read '%s': %s", file, strerror(errno));
    n = fread(text, 1, sizeof(text) - 1, from);
    (void)fclose(from);
    text[n] = '\0';
    CLI_TRY(cli_json_parse(&json, demo->cli, text));
    *value = cli_json_number(json, path, -1.0);
    if (*value <= 0.0)
        status = cli_fail(demo->cli, "'%s' has no %s", file, path);
done:
    cli_json_free(json);
    return status;
}

/* Selections under falling latency budgets, each the cheapest loss of accuracy that fits; then those that can be met live,
 * one after the other. */
static lego_status try_budgets(demo_job *demo)
{
    static const int percent[] = { 80, 60, 50 };
    char file[PATH_BYTES + 32], budget[32], what[96], budgets[128] = "";
    double original_ms = 0.0;
    size_t length = 0;
    lego_status status;

    (void)snprintf(file, sizeof(file), "%s/original.json", demo->folder);
    CLI_TRY(STEP(demo, "No limit: the original, and what it costs here", "optimize", demo->store, "--json", "-o",
                 file));
    CLI_TRY(read_number(&original_ms, demo, file, "predicted.latency_ms"));
    for (size_t i = 0; i < sizeof(percent) / sizeof(percent[0]); i++) {
        (void)snprintf(budget, sizeof(budget), "%.4gms", original_ms * percent[i] / 100.0);
        (void)snprintf(what, sizeof(what), "The best selection in %d %% of the original's time", percent[i]);
        status = STEP(demo, what, "optimize", demo->store, "--latency", budget);
        if (status == LEGO_EINFEASIBLE)
            continue;
        CLI_TRY(status);
        length += (size_t)snprintf(budgets + length, sizeof(budgets) - length, "%s%s", length ? "," : "", budget);
    }
    (void)snprintf(what, sizeof(what), "Live: infer without a pause while the budget changes");
    if (length)
        CLI_TRY(STEP(demo, what, "run", demo->store, "--latency", budgets, "--data", demo->args->data, "--threads", "1"));
    else
        CLI_TRY(STEP(demo, what, "run", demo->store, "--data", demo->args->data, "--threads", "1"));
done:
    return status;
}

static lego_status run(cli_call *cli, const void *arguments)
{
    demo_job demo = { cli, arguments, "", "", 0 };
    char model[PATH_BYTES], limit[32], epochs[32];
    const char *data = demo.args->data;
    const double start = now_s();
    lego_status status;

    (void)snprintf(demo.folder, sizeof(demo.folder) - 16, "%s", cli->output ? cli->output : "out/demo");
    (void)snprintf(demo.store, sizeof(demo.store), "%.*s/store", PATH_BYTES - 16, demo.folder);
    (void)snprintf(limit, sizeof(limit), "%lld", (long long)demo.args->limit);
    (void)snprintf(epochs, sizeof(epochs), "%lld", (long long)demo.args->epochs);
    if (cli->n_args == 1)
        (void)snprintf(model, sizeof(model), "%s", cli->args[0]);
    else
        CLI_TRY(find_teacher(model, cli));
    CLI_TRY(create_folder(&demo));
    CLI_TRY(STEP(&demo, "The trained model", "info", model));
    CLI_TRY(STEP(&demo, "Cut it into blocks; prune and re-fit variants of each", "extract", model, "-o", demo.store,
                 "--data", data));
    CLI_TRY(STEP(&demo, "Distil the variants", "retrain", demo.store, "--data", data, "--limit", limit, "--epochs",
                 epochs));
    CLI_TRY(STEP(&demo, "Server profile: accuracy", "profile", demo.store, "--data", data));
    CLI_TRY(STEP(&demo, "Device profile: latency on this machine, one thread", "profile", demo.store, "--latency",
                 "--threads", "1"));
    CLI_TRY(try_budgets(&demo));
    cli_printf(cli, "\nDone in %.0f s. The store that goes to the device: %s\nNext: legodnn info %s; legodnn help run\n",
               now_s() - start, demo.store, demo.store);
done:
    return status;
}

const cli_command cmd_demo = {
    .name = "demo",
    .summary = "run the whole job on real data, step by step",
    .usage = "[MODEL] [options] [-o FOLDER]",
    .description = "From a trained model to one that switches its size at run time: info, extract, retrain, profile,\n"
                   "optimize under several budgets, run. Each step is shown as the command line that does it. Without\n"
                   "MODEL it takes the trained ResNet18 (width 16, Fashion-MNIST) that comes with the sources. The\n"
                   "store is FOLDER/store.",
    .arguments = "MODEL",
    .max_args = 1,
    .output = CLI_OUTPUT_ARTIFACT,
    .output_help = "the folder for the results (default out/demo)",
    .args_size = sizeof(struct demo_args),
    .options = options,
    .examples = "legodnn demo\nlegodnn demo teacher.safetensors --data cifar10:data/cifar-10 -o out/cifar",
    .run = run,
};
