/* What selections are worth on the test split, and how well the profile foresaw it.
 *
 *   bench_accuracy STORE DATA [samples [threads]]
 *
 * Prints, as Markdown tables: accuracy of the original, of every uniform selection, and of 20 random selections (seeded)
 * with the drop that the server profile predicts from the validation split against the drop on the test split; then,
 * where the store has a device profile, the accuracy kept at 0.8, 0.6 and 0.5 of the original's latency by the optimiser
 * against uniform sparsity, interpolated at equal latency. The original implementation's prediction is 1.1 points off. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "open_store.h"

#define N_RANDOM 20

typedef struct bench {
    opened at;
    lego_profile *profile;     /* server side; NULL: no predictions */
    lego_optimizer *optimizer; /* NULL without both profiles */
    double original;           /* accuracy on the test split */
} bench;

static lego_status open_all(bench *b, const char *path, const char *spec, int64_t samples, int threads)
{
    char file[4096];
    lego_status status = LEGO_OK;

    LG_TRY(open_store(&b->at, path, spec, LEGO_SPLIT_TEST, samples, threads));
    snprintf(file, sizeof(file), "%s/%s", path, LEGO_PROFILE_SERVER_FILE);
    if (lego_profile_load(&b->profile, file) != LEGO_OK)
        fprintf(stderr, "no predictions: %s\n", lego_last_error());
    else if (lego_optimizer_create(&b->optimizer, b->at.context, b->at.store, NULL) != LEGO_OK)
        fprintf(stderr, "no budgets: %s\n", lego_last_error());
done:
    return status;
}

static lego_status accuracy_of(double *accuracy, bench *b, const lego_selection *selection)
{
    lego_model *model = NULL;
    lego_evaluation evaluation;
    lego_status status = LEGO_OK;

    LG_TRY(lego_store_compose(&model, b->at.store, selection));
    LG_TRY(lego_evaluate(&evaluation, b->at.context, model, b->at.dataset, NULL));
    *accuracy = evaluation.accuracy;
done:
    lego_model_free(model);
    return status;
}

static lego_status predicted_drop(double *drop, const bench *b, const lego_selection *selection)
{
    lego_selection *original = NULL;
    double with = 0.0, without = 0.0;
    lego_status status = LEGO_OK;

    *drop = NAN;
    if (!b->profile)
        return LEGO_OK;
    LG_TRY(lg_selection_create(&original, b->at.store, NULL));
    LG_TRY(lego_profile_predict_accuracy(&without, b->profile, b->at.store, original));
    LG_TRY(lego_profile_predict_accuracy(&with, b->profile, b->at.store, selection));
    *drop = without - with;
done:
    lego_selection_free(original);
    return status;
}

/* Block b's variant number `rank`, or its last one: uniform selections of stores whose blocks have different menus. */
static lego_status uniform(lego_selection **out, const bench *b, int32_t rank)
{
    lego_status status = lg_selection_create(out, b->at.store, NULL);

    for (int32_t i = 0; status == LEGO_OK && i < b->at.store->n_blocks; i++) {
        const int32_t n = b->at.store->blocks[i].n_variants;

        (*out)->variants[i] = rank < n ? rank : n - 1;
    }
    return status;
}

static int32_t longest_menu(const bench *b)
{
    int32_t n = 0;

    for (int32_t i = 0; i < b->at.store->n_blocks; i++)
        n = b->at.store->blocks[i].n_variants > n ? b->at.store->blocks[i].n_variants : n;
    return n;
}

static lego_status run_uniform(bench *b, double *accuracies, double *latencies)
{
    lego_selection *selection = NULL;
    lego_prediction prediction;
    double drop;
    lego_status status = LEGO_OK;

    printf("| uniform selection | test accuracy %% | drop %% | predicted drop %% |\n|---|---|---|---|\n");
    for (int32_t rank = 0; rank < longest_menu(b); rank++) {
        LG_TRY(uniform(&selection, b, rank));
        LG_TRY(accuracy_of(&accuracies[rank], b, selection));
        LG_TRY(predicted_drop(&drop, b, selection));
        latencies[rank] = NAN;
        if (b->optimizer) {
            LG_TRY(lego_optimizer_predict(&prediction, b->optimizer, selection));
            latencies[rank] = prediction.latency_ms;
        }
        if (rank == 0)
            b->original = accuracies[0];
        printf("| all %s | %.2f | %.2f | %.2f |\n", b->at.store->blocks[0].variants[selection->variants[0]].name,
               100.0 * accuracies[rank], 100.0 * (b->original - accuracies[rank]), 100.0 * drop);
        lego_selection_free(selection);
        selection = NULL;
    }
done:
    lego_selection_free(selection);
    return status;
}

static lego_status run_random(bench *b)
{
    lego_selection *selection = NULL;
    double sum_drop = 0.0, worst_drop = 0.0, sum_error = 0.0, worst_error = 0.0, sum_bias = 0.0;
    lg_rng rng;
    lego_status status = LEGO_OK;

    lg_rng_init(&rng, 20211014, 0);
    for (int i = 0; i < N_RANDOM; i++) {
        double accuracy, drop, predicted;

        LG_TRY(lg_selection_create(&selection, b->at.store, NULL));
        for (int32_t k = 0; k < b->at.store->n_blocks; k++)
            selection->variants[k] = (int32_t)lg_rng_below(&rng, (uint64_t)b->at.store->blocks[k].n_variants);
        LG_TRY(accuracy_of(&accuracy, b, selection));
        LG_TRY(predicted_drop(&predicted, b, selection));
        drop = b->original - accuracy;
        sum_drop += drop;
        worst_drop = drop > worst_drop ? drop : worst_drop;
        sum_error += fabs(predicted - drop);
        sum_bias += predicted - drop;
        worst_error = fabs(predicted - drop) > worst_error ? fabs(predicted - drop) : worst_error;
        lego_selection_free(selection);
        selection = NULL;
    }
    printf("\n%d random selections: drop %.2f points on average, %.2f at worst; predicted drop off by %.2f points on "
           "average, %.2f at worst, bias %+.2f\n", N_RANDOM, 100.0 * sum_drop / N_RANDOM, 100.0 * worst_drop,
           100.0 * sum_error / N_RANDOM, 100.0 * worst_error, 100.0 * sum_bias / N_RANDOM);
done:
    lego_selection_free(selection);
    return status;
}

/* Accuracy of uniform sparsity at a latency between two of its points. */
static double interpolate(const double *latencies, const double *accuracies, int32_t n, double latency)
{
    for (int32_t i = 0; i + 1 < n; i++)
        if (latencies[i] >= latency && latency >= latencies[i + 1] && latencies[i] > latencies[i + 1]) {
            const double t = (latencies[i] - latency) / (latencies[i] - latencies[i + 1]);

            return accuracies[i] + t * (accuracies[i + 1] - accuracies[i]);
        }
    return NAN;
}

static lego_status run_budgets(bench *b, const double *accuracies, const double *latencies)
{
    static const double shares[] = { 0.9, 0.8, 0.7, 0.6, 0.5, 0.4 };
    lego_solution *solution = NULL;
    lego_prediction prediction;
    lego_status status = LEGO_OK;

    printf("\n| latency / original | accuracy kept, points lost | uniform sparsity, points lost | predicted, points lost |"
           "\n|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        lego_budget budget = LEGO_BUDGET_INIT;
        double accuracy;

        budget.latency_ms = shares[i] * latencies[0];
        status = lego_optimizer_solve(&solution, b->optimizer, &budget, NULL);
        if (status == LEGO_EINFEASIBLE) {
            printf("| %.1f | %s |\n", shares[i], lego_last_error());
            status = LEGO_OK;
            continue;
        }
        LG_TRY(status);
        LG_TRY(lego_solution_prediction(&prediction, solution, 0));
        LG_TRY(accuracy_of(&accuracy, b, lego_solution_selection(solution, 0)));
        printf("| %.1f | %.2f | %.2f | %.2f |\n", shares[i], 100.0 * (b->original - accuracy),
               100.0 * (b->original - interpolate(latencies, accuracies, longest_menu(b), budget.latency_ms)),
               100.0 * prediction.accuracy_drop);
        lego_solution_free(solution);
        solution = NULL;
    }
done:
    lego_solution_free(solution);
    return status;
}

int main(int argc, char **argv)
{
    bench b = { .original = 0.0 };
    double *accuracies = NULL, *latencies = NULL;
    lego_status status = LEGO_OK;

    if (argc < 3) {
        fprintf(stderr, "usage: bench_accuracy STORE DATA [samples [threads]]\n");
        return 2;
    }
    LG_TRY(open_all(&b, argv[1], argv[2], argc > 3 ? strtoll(argv[3], NULL, 10) : 0,
                    argc > 4 ? (int)strtol(argv[4], NULL, 10) : 0));
    LG_TRY(LG_CALLOC(&accuracies, longest_menu(&b)));
    LG_TRY(LG_CALLOC(&latencies, longest_menu(&b)));
    LG_TRY(run_uniform(&b, accuracies, latencies));
    LG_TRY(run_random(&b));
    if (b.optimizer && !isnan(latencies[0]))
        LG_TRY(run_budgets(&b, accuracies, latencies));
done:
    if (status != LEGO_OK)
        fprintf(stderr, "bench_accuracy: %s\n", lego_last_error());
    lg_free(accuracies);
    lg_free(latencies);
    lego_optimizer_free(b.optimizer);
    lego_profile_free(b.profile);
    close_store(&b.at);
    return status == LEGO_OK ? 0 : 1;
}
