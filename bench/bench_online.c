/* The online stage on a store with both profiles: how fast it decides and switches, and whether budgets are kept.
 *
 *   bench_online STORE [THREADS]
 *
 * Beside each number stands its ratio to the original implementation's (46 ms to solve, 57 ms to update, 2.3 ms to swap
 * a block on another machine), and for latencies the prediction. Compositions are visited in turn, round by round, so
 * that a machine that is busy for a while is busy for all of them. A virtual machine may run some percent faster or slower
 * than when its profile was made; as the runtime does, predictions are also scaled to what the original takes now, and the
 * factor is printed. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "legodnn/runtime.h"
#include "optimize/optimizer.h"

#define N_SELECTIONS 20
#define N_BUDGETS 10
#define N_SOLVES 300
#define N_SWAPS 200
#define N_UPDATES 40
#define ROUNDS 15
#define WARM_UPS 2
#define RUNS 3

#define TRY(expr)                                                             \
    do {                                                                      \
        if ((expr) != LEGO_OK) {                                              \
            fprintf(stderr, "bench_online: %s\n", lego_last_error());         \
            exit(1);                                                          \
        }                                                                     \
    } while (0)

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof(*values), by_value);
    return values[n / 2];
}

static double us_since(uint64_t start)
{
    return 1e-3 * (double)(lg_clock_ns() - start);
}

/* --- one sample to infer --- */

typedef struct sample {
    float *input, *output;
} sample;

static sample make_sample(const lego_store *store, lg_rng *rng)
{
    const lg_graph *frame = store->frame;
    int64_t n_in = lg_value_elements(&frame->values[frame->inputs[0]]);
    int64_t n_out = lg_value_elements(&frame->values[frame->outputs[0]]);
    sample s = { malloc((size_t)n_in * sizeof(float)), malloc((size_t)n_out * sizeof(float)) };

    if (!s.input || !s.output)
        exit(1);
    for (int64_t i = 0; i < n_in; i++)
        s.input[i] = (float)lg_rng_normal(rng);
    return s;
}

static double infer_us(lego_runtime *runtime, sample *s)
{
    const float *input = s->input;
    uint64_t start = lg_clock_ns();

    TRY(lego_runtime_infer(runtime, &input, &s->output));
    return us_since(start);
}

static lego_selection *draw(const lego_store *store, lg_rng *rng)
{
    lego_selection *selection = NULL;

    TRY(lego_selection_parse(&selection, store, NULL));
    for (int32_t b = 0; b < store->n_blocks; b++)
        TRY(lego_selection_set(selection, b, (int32_t)lg_rng_below(rng, (uint64_t)store->blocks[b].n_variants)));
    return selection;
}

/* --- latencies --- */

/* Median latency in ms of each selection, visited in turn. */
static void measure(double *ms, lego_runtime *runtime, lego_selection *const *selections, int n, sample *s)
{
    double *samples = malloc((size_t)n * ROUNDS * RUNS * sizeof(*samples));

    if (!samples)
        exit(1);
    for (int r = 0; r < ROUNDS; r++)
        for (int i = 0; i < n; i++) {
            TRY(lego_runtime_switch(runtime, selections[i]));
            for (int w = 0; w < WARM_UPS; w++)
                infer_us(runtime, s);
            for (int k = 0; k < RUNS; k++)
                samples[(i * ROUNDS + r) * RUNS + k] = infer_us(runtime, s);
        }
    for (int i = 0; i < n; i++)
        ms[i] = 1e-3 * median(samples + i * ROUNDS * RUNS, ROUNDS * RUNS);
    free(samples);
}

static double predicted_ms(const lego_optimizer *optimizer, const lego_selection *selection)
{
    lego_prediction prediction;

    TRY(lego_optimizer_predict(&prediction, optimizer, selection));
    return prediction.latency_ms;
}

static void print_errors(const char *what, const double *ms, const double *predicted, double factor)
{
    double sum = 0.0, bias = 0.0, worst = 0.0;

    for (int i = 0; i < N_SELECTIONS; i++) {
        double error = factor * predicted[i] / ms[i] - 1.0;

        sum += fabs(error);
        bias += error;
        worst = fmax(worst, fabs(error));
    }
    printf("  %s: %.2f %% off on average, %.2f %% at most, bias %+.2f %%\n", what, 100.0 * sum / N_SELECTIONS,
           100.0 * worst, 100.0 * bias / N_SELECTIONS);
}

static void bench_prediction(lego_runtime *runtime, const lego_optimizer *optimizer, const lego_store *store, lg_rng *rng,
                             sample *s)
{
    lego_selection *selections[N_SELECTIONS + 1]; /* the last one is the original */
    double ms[N_SELECTIONS + 1], predicted[N_SELECTIONS + 1], factor;

    for (int i = 0; i < N_SELECTIONS; i++)
        selections[i] = draw(store, rng);
    TRY(lego_selection_parse(&selections[N_SELECTIONS], store, NULL));
    measure(ms, runtime, selections, N_SELECTIONS + 1, s);
    for (int i = 0; i <= N_SELECTIONS; i++) {
        predicted[i] = predicted_ms(optimizer, selections[i]);
        lego_selection_free(selections[i]);
    }
    factor = ms[N_SELECTIONS] / predicted[N_SELECTIONS];
    printf("predicted against measured latency, %d random selections (the original was 30 to 49 %% too low):\n",
           N_SELECTIONS);
    print_errors("as profiled", ms, predicted, 1.0);
    printf("  the original takes %.3f times what the profile says\n", factor);
    print_errors("scaled to that", ms, predicted, factor);
}

/* The latency limits that the fastest selection and the original need. */
static void latency_range(double *least_ms, double *most_ms, const lego_optimizer *optimizer)
{
    lego_budget budget = LEGO_BUDGET_INIT;
    lego_solve_options options = LEGO_SOLVE_OPTIONS_INIT;
    lego_solution *solution = NULL;
    lego_prediction prediction;

    budget.latency_ms = 1e-6;
    options.relax = 1;
    TRY(lego_optimizer_solve(&solution, optimizer, &budget, &options));
    *least_ms = solution->nearest.latency_ms;
    lego_solution_free(solution);
    TRY(lego_optimizer_solve(&solution, optimizer, NULL, NULL));
    TRY(lego_solution_prediction(&prediction, solution, 0));
    *most_ms = lg_optimizer_limit_ms(optimizer, (int64_t)(1e6 * prediction.latency_ms));
    lego_solution_free(solution);
}

static void bench_budgets(lego_runtime *runtime, const lego_optimizer *optimizer, const lego_store *store, sample *s)
{
    lego_solution *solutions[N_BUDGETS];
    lego_selection *selections[N_BUDGETS + 1]; /* the last one is the original */
    double limits[N_BUDGETS], ms[N_BUDGETS + 1], least, most, factor;
    int met = 0, met_scaled = 0;

    latency_range(&least, &most, optimizer);
    for (int i = 0; i < N_BUDGETS; i++) {
        lego_budget budget = LEGO_BUDGET_INIT;

        budget.latency_ms = limits[i] = least + (most - least) * i / (N_BUDGETS - 1);
        TRY(lego_optimizer_solve(&solutions[i], optimizer, &budget, NULL));
        selections[i] = solutions[i]->selections[0];
    }
    TRY(lego_selection_parse(&selections[N_BUDGETS], store, NULL));
    measure(ms, runtime, selections, N_BUDGETS + 1, s);
    factor = ms[N_BUDGETS] / predicted_ms(optimizer, selections[N_BUDGETS]);
    printf("%d latency limits between the smallest and the largest (the original missed every limit); the original takes "
           "%.3f times what the profile says:\n", N_BUDGETS, factor);
    printf("  %10s %10s %10s %10s %8s\n", "limit ms", "predicted", "median", "scaled", "drop %");
    for (int i = 0; i < N_BUDGETS; i++) {
        const lego_prediction *prediction = &solutions[i]->predictions[0];

        printf("  %10.4f %10.4f %10.4f %10.4f %8.2f\n", limits[i], prediction->latency_ms, ms[i], ms[i] / factor,
               100.0 * prediction->accuracy_drop);
        met += ms[i] <= limits[i];
        met_scaled += ms[i] <= factor * limits[i];
        lego_solution_free(solutions[i]);
    }
    printf("  met by the median: %d of %d; by the median scaled to the profile's speed: %d of %d\n", met, N_BUDGETS,
           met_scaled, N_BUDGETS);
    lego_selection_free(selections[N_BUDGETS]);
}

/* --- deciding --- */

static void bench_solve(const lego_optimizer *optimizer, lego_solver solver, const char *name, lg_rng *rng)
{
    double us[N_SOLVES], least, most;
    lego_solve_options options = LEGO_SOLVE_OPTIONS_INIT;
    int n = solver == LEGO_SOLVER_GLPK ? N_SOLVES / 10 : N_SOLVES;

    options.solver = solver;
    latency_range(&least, &most, optimizer);
    for (int i = 0; i < n; i++) {
        lego_budget budget = LEGO_BUDGET_INIT;
        lego_solution *solution = NULL;

        budget.latency_ms = least + (most - least) * lg_rng_uniform(rng);
        if (lego_optimizer_solve(&solution, optimizer, &budget, &options) != LEGO_OK) {
            printf("solve, %s: %s\n", name, lego_last_error());
            return;
        }
        us[i] = lego_solution_solve_us(solution);
        lego_solution_free(solution);
    }
    printf("solve, %s: median %.1f us; the original's 46 ms are %.0f times that\n", name, median(us, n),
           46e3 / median(us, n));
}

/* --- switching, while another thread infers --- */

typedef struct worker {
    lego_runtime *runtime;
    sample sample;
    atomic_int stop;
} worker;

static void *infer_on(void *payload)
{
    worker *w = payload;

    while (!atomic_load(&w->stop))
        infer_us(w->runtime, &w->sample);
    return NULL;
}

static void start_worker(pthread_t *thread, worker *w)
{
    atomic_init(&w->stop, 0);
    if (pthread_create(thread, NULL, infer_on, w) != 0)
        exit(1);
}

static void stop_worker(pthread_t thread, worker *w)
{
    atomic_store(&w->stop, 1);
    pthread_join(thread, NULL);
}

/* Swaps among so many selections: more than are kept planned means that each has to be planned again. */
static void bench_swap(lego_context *context, const char *path, lego_residency residency, int n_selections, int32_t kept,
                       const char *name, lg_rng *rng)
{
    lego_runtime_options options = LEGO_RUNTIME_OPTIONS_INIT;
    lego_selection **selections = malloc((size_t)n_selections * sizeof(*selections));
    double us[N_SWAPS], flip_us[N_SWAPS];
    lego_runtime *runtime = NULL;
    lego_runtime_stats stats;
    pthread_t thread;
    worker w;

    options.residency = residency;
    options.kept = kept;
    TRY(lego_runtime_open(&runtime, context, path, &options));
    for (int i = 0; selections && i < n_selections; i++) {
        selections[i] = draw(lego_runtime_store(runtime), rng);
        if (residency == LEGO_RESIDENCY_ALL)
            TRY(lego_runtime_prepare(runtime, selections[i]));
    }
    w.runtime = runtime;
    w.sample = make_sample(lego_runtime_store(runtime), rng);
    start_worker(&thread, &w);
    for (int i = 0; selections && i < N_SWAPS; i++) {
        uint64_t start = lg_clock_ns();

        TRY(lego_runtime_switch(runtime, selections[(i + 1) % n_selections]));
        us[i] = us_since(start);
        TRY(lego_runtime_get_stats(&stats, runtime));
        flip_us[i] = stats.flip_us;
    }
    stop_worker(thread, &w);
    printf("swap, %s: median %.1f us (of it the flip %.2f us); the original's 2.3 ms a block are %.1f times that; %.2f MB "
           "resident\n", name, median(us, N_SWAPS), median(flip_us, N_SWAPS), 2300.0 / median(us, N_SWAPS),
           1e-6 * (double)(stats.weight_bytes + stats.arena_bytes));
    for (int i = 0; selections && i < n_selections; i++)
        lego_selection_free(selections[i]);
    free(selections);
    free(w.sample.input);
    free(w.sample.output);
    lego_runtime_free(runtime);
}

/* Update: a new budget is solved, planned and in place. */
static void bench_update(lego_context *context, const char *path, const lego_optimizer *optimizer, lg_rng *rng)
{
    lego_runtime *runtime = NULL;
    double us[N_UPDATES], least, most;
    pthread_t thread;
    worker w;

    latency_range(&least, &most, optimizer);
    TRY(lego_runtime_open(&runtime, context, path, NULL));
    w.runtime = runtime;
    w.sample = make_sample(lego_runtime_store(runtime), rng);
    start_worker(&thread, &w);
    for (int i = 0; i < N_UPDATES; i++) {
        lego_budget budget = LEGO_BUDGET_INIT;
        uint64_t start = lg_clock_ns();

        budget.latency_ms = 1.1 * (least + (most - least) * lg_rng_uniform(rng));
        if (lego_runtime_set_budget(runtime, &budget) != LEGO_OK)
            fprintf(stderr, "bench_online: %s\n", lego_last_error()); /* the machine is slower now: an answer as well */
        us[i] = us_since(start);
    }
    stop_worker(thread, &w);
    printf("update, a new budget in place while a thread infers: median %.1f us; the original's 57 ms are %.0f times that\n",
           median(us, N_UPDATES), 57e3 / median(us, N_UPDATES));
    free(w.sample.input);
    free(w.sample.output);
    lego_runtime_free(runtime);
}

int main(int argc, char **argv)
{
    lego_context *context = NULL;
    lego_store *store = NULL;
    lego_optimizer *optimizer = NULL;
    lego_runtime *runtime = NULL;
    lego_runtime_options options = LEGO_RUNTIME_OPTIONS_INIT;
    sample s;
    lg_rng rng;

    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: bench_online STORE [THREADS]\n");
        return 2;
    }
    TRY(lego_context_create(&context));
    if (argc > 2)
        TRY(lego_context_set_threads(context, (int)strtol(argv[2], NULL, 10)));
    lg_rng_init(&rng, 20211025, 0); /* not the seed of the profile's own held-out selections */
    TRY(lego_store_open(&store, context, argv[1]));
    TRY(lego_optimizer_create(&optimizer, context, store, NULL));
    if (!optimizer->device) {
        fprintf(stderr, "bench_online: '%s' has no latency profile: run `legodnn profile STORE --latency`\n", argv[1]);
        return 1;
    }
    bench_solve(optimizer, LEGO_SOLVER_EXACT, "exact", &rng);
    bench_solve(optimizer, LEGO_SOLVER_GLPK, "GLPK", &rng);
    bench_update(context, argv[1], optimizer, &rng);
    bench_swap(context, argv[1], LEGO_RESIDENCY_ALL, 8, 32, "resident and planned", &rng);
    bench_swap(context, argv[1], LEGO_RESIDENCY_ALL, 8, 2, "resident, planned anew", &rng);
    bench_swap(context, argv[1], LEGO_RESIDENCY_ON_DEMAND, 8, 1, "on demand, read and packed", &rng);
    options.kept = 64;
    TRY(lego_runtime_open(&runtime, context, argv[1], &options));
    s = make_sample(store, &rng);
    bench_prediction(runtime, optimizer, store, &rng, &s);
    bench_budgets(runtime, optimizer, store, &s);
    free(s.input);
    free(s.output);
    lego_runtime_free(runtime);
    lego_optimizer_free(optimizer);
    lego_store_free(store);
    lego_context_free(context);
    return 0;
}
