/* `legodnn optimize`: the best selection for a budget, the k best, or the frontier. */
#include <math.h>

#include "cli.h"
#include "inputs.h"

struct optimize_args {
    double latency_us, margin;
    int64_t memory, k, points, time_limit;
    int solver, pareto, relax;
    const char *accuracy_profile, *latency_profile;
};

enum { SOLVER_EXACT, SOLVER_GLPK };
static const char *const solvers[] = { "exact", "glpk", NULL };

static const cli_option options[] = {
    CLI_LATENCY(struct optimize_args, latency_us, "latency", "T", NULL,
                "one inference takes at most this, e.g. 4.5ms, or 60% of the original's time"),
    CLI_SIZE(struct optimize_args, memory, "memory", "SIZE", NULL, "weights and activations take at most this, e.g. 4.5MiB"),
    CLI_ENUM(struct optimize_args, solver, "solver", solvers, "exact", "what solves it; both find the optimum"),
    { "count", 'k', CLI_TYPE_INT, offsetof(struct optimize_args, k), "N", 1, 10000, NULL, "1",
      "the N best selections (exact solver)" },
    CLI_FLAG(struct optimize_args, relax, "relax", "where nothing fits, take the least violation instead of failing"),
    CLI_FLAG(struct optimize_args, pareto, "pareto",
             "every selection that no other beats in accuracy, latency and memory at once"),
    CLI_INT(struct optimize_args, points, "points", "N", 0, 1000000, "0", "with --pareto, about N of them; 0: all"),
    CLI_RATIO(struct optimize_args, margin, "margin", "P", 0, 10, NULL,
              "plan for P below the latency limit (default: what the device profile found)"),
    CLI_INT(struct optimize_args, time_limit, "time-limit", "MS", 0, 86400000, "0", "GLPK gives up after MS; 0: never"),
    CLI_STRING(struct optimize_args, accuracy_profile, "accuracy-profile", "FILE", NULL,
               "instead of profile.json in the store"),
    CLI_STRING(struct optimize_args, latency_profile, "latency-profile", "FILE", NULL,
               "instead of latency.json in the store"),
    CLI_END
};

static void print_prediction(cli_table *table, const lego_prediction *prediction)
{
    cli_text text;

    cli_table_cell(table, "%.2f", 100.0 * prediction->accuracy);
    cli_table_cell(table, "%.2f", 100.0 * prediction->accuracy_drop);
    cli_table_cell(table, "%s", isnan(prediction->latency_ms) ? "-" : cli_format_us(text, 1e3 * prediction->latency_ms));
    cli_table_cell(table, "%s", cli_format_bytes(text, (double)prediction->memory_bytes));
    cli_table_cell(table, "%.2f", (double)prediction->flops / 1e6);
}

/* The selections of a solution, and the original to compare with. */
static lego_status print_solution(cli_call *cli, const lego_solution *solution, const lego_optimizer *optimizer,
                                  const lego_store *store)
{
    static const char *const headers[] = { ">accuracy %", ">drop %", ">latency", ">memory", ">MFLOPs", "selection" };
    cli_table *table = cli_table_create(6, headers);
    lego_selection *original = NULL;
    lego_prediction prediction;
    char *text = NULL;
    lego_status status;

    for (int32_t i = 0; i < lego_solution_n_selections(solution); i++) {
        CLI_TRY(lego_solution_prediction(&prediction, solution, i));
        CLI_TRY(lego_selection_format(&text, lego_solution_selection(solution, i), store));
        print_prediction(table, &prediction);
        cli_table_cell(table, "%s", *text ? text : "all originals");
        lego_string_free(text);
        text = NULL;
    }
    CLI_TRY(lego_selection_parse(&original, store, NULL));
    CLI_TRY(lego_optimizer_predict(&prediction, optimizer, original));
    print_prediction(table, &prediction);
    cli_table_cell(table, "(the original)");
    CLI_TRY(cli_table_print(cli, table));
done:
    lego_string_free(text);
    lego_selection_free(original);
    cli_table_free(table);
    return status;
}

static void print_remarks(cli_call *cli, const lego_solution *solution, int pareto)
{
    lego_solution_status found = lego_solution_get_status(solution);

    if (found == LEGO_SOLUTION_RELAXED)
        cli_printf(cli, "no selection fits the budget: this one violates it least\n");
    else if (found == LEGO_SOLUTION_FEASIBLE && pareto)
        cli_note(cli, "the frontier has more points than these");
    else if (found == LEGO_SOLUTION_FEASIBLE)
        cli_printf(cli, "not proven to be the best there is\n");
    cli_note(cli, "solved in %.1f us", lego_solution_solve_us(solution));
}

static lego_status solve(lego_solution **out, cli_call *cli, const struct optimize_args *args,
                         const lego_optimizer *optimizer, const lego_store *store)
{
    lego_budget budget = LEGO_BUDGET_INIT;
    lego_solve_options how = LEGO_SOLVE_OPTIONS_INIT;
    char *document = NULL, message[1024];
    double latency_us = args->latency_us;
    lego_status status;

    CLI_TRY(cli_resolve_latency(&latency_us, cli, optimizer, store));
    budget.latency_ms = latency_us * 1e-3;
    budget.memory_bytes = args->memory;
    how.solver = args->solver == SOLVER_GLPK ? LEGO_SOLVER_GLPK : LEGO_SOLVER_EXACT;
    how.k = (int32_t)args->k;
    how.relax = args->relax;
    how.time_limit_ms = (int32_t)args->time_limit;
    status = args->pareto ? lego_optimizer_pareto(out, optimizer, &budget, (int32_t)args->points)
                          : lego_optimizer_solve(out, optimizer, &budget, &how);
    if (status == LEGO_EINFEASIBLE && cli->json) { /* that is an answer too */
        (void)snprintf(message, sizeof(message), "%s", lego_last_error());
        CLI_TRY(lego_optimizer_explain(&document, optimizer, &budget));
        cli_print_document(cli, document);
        cli_note(cli, "%s", message);
        cli->exit_code = CLI_INFEASIBLE;
    }
done:
    lego_string_free(document);
    return status;
}

static lego_status run(cli_call *cli, const void *arguments)
{
    const struct optimize_args *args = arguments;
    lego_optimizer_options from = LEGO_OPTIMIZER_OPTIONS_INIT;
    lego_store *store = NULL;
    lego_optimizer *optimizer = NULL;
    lego_solution *solution = NULL;
    char *document = NULL;
    lego_status status;

    if (args->pareto && (args->k > 1 || args->relax))
        return cli_usage(cli, "--pareto does not go with -k and --relax");
    if (args->solver == SOLVER_GLPK && args->k > 1)
        return cli_usage(cli, "-k needs the exact solver");
    from.accuracy_profile = args->accuracy_profile;
    from.latency_profile = args->latency_profile;
    from.latency_margin = !cli_given(cli, "margin") ? 0.0 : args->margin > 0.0 ? args->margin : -1.0;
    CLI_TRY(lego_store_open(&store, cli->context, cli->args[0]));
    CLI_TRY(lego_optimizer_create(&optimizer, cli->context, store, &from));
    CLI_TRY(solve(&solution, cli, args, optimizer, store));
    if (!solution)
        goto done; /* infeasible, and said so */
    if (cli->json) {
        CLI_TRY(lego_solution_to_json(&document, solution));
        cli_print_document(cli, document);
    } else {
        CLI_TRY(print_solution(cli, solution, optimizer, store));
        print_remarks(cli, solution, args->pareto);
    }
done:
    lego_string_free(document);
    lego_solution_free(solution);
    lego_optimizer_free(optimizer);
    lego_store_free(store);
    return status;
}

const cli_command cmd_optimize = {
    .name = "optimize",
    .summary = "choose the best selection for a budget",
    .usage = "STORE [--latency T] [--memory SIZE] [options]",
    .description = "From the store's profiles (profile.json: accuracy; latency.json: latency and memory on this device)\n"
                   "choose one variant a block so that the predicted accuracy is highest within the budget. Where nothing\n"
                   "fits it says which limit fails, by how much, and the nearest budget that works, and exits with 3;\n"
                   "--relax takes that nearest one and says so.\n"
                   "The file that --json writes is what other commands take as --selection.",
    .arguments = "STORE",
    .min_args = 1,
    .max_args = 1,
    .args_size = sizeof(struct optimize_args),
    .options = options,
    .examples = "legodnn optimize store --latency 4.5ms --memory 4.5MiB\n"
                "legodnn optimize store --latency 60%\n"
                "legodnn optimize store --latency 4.5ms --json -o selection.json\n"
                "legodnn optimize store --pareto --points 20",
    .run = run,
};
