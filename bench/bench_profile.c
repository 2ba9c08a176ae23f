/* How long the server profile takes, and how much its shared prefixes save.
 *
 *   bench_profile STORE DATA [samples [threads]]
 *
 * Measures the same compositions on the same validation samples twice: as the profile does it, and each one composed,
 * planned and run from the input. Both on the online engine. Prints seconds and the ratio, and whether the accuracies
 * agree. The original implementation takes 30.5 s for 100 compositions of a ResNet18 of width 16 and 1,000 images. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "open_store.h"
#include "profile/design.h"
#include "profile/tree.h"

typedef struct bench {
    opened at;
    lg_design design;
    lg_tree tree;
} bench;

static lego_status run_shared(bench *b, double *seconds)
{
    lg_tree_options options = { LEGO_ENGINE_AUTO, 64, (int64_t)1 << 30 };
    uint64_t start = lg_clock_ns();
    lego_status status = lg_tree_evaluate(&b->tree, b->at.context, b->at.store, b->at.dataset, lego_task_classification(),
                                          b->design.n, b->design.selections, &options);

    *seconds = lg_clock_ms_since(start) / 1e3;
    return status;
}

static lego_status run_from_input(bench *b, double *seconds, double *difference)
{
    uint64_t start = lg_clock_ns();
    lego_status status = LEGO_OK;

    *difference = 0.0;
    for (int32_t i = 0; i < b->design.n && status == LEGO_OK; i++) {
        lego_selection *selection = NULL;
        lego_model *model = NULL;
        lego_evaluation result = { .accuracy = 0.0 };

        status = lg_selection_create(&selection, b->at.store, lg_design_selection(&b->design, i));
        if (status == LEGO_OK)
            status = lego_store_compose(&model, b->at.store, selection);
        if (status == LEGO_OK)
            status = lego_evaluate(&result, b->at.context, model, b->at.dataset, NULL);
        *difference = fmax(*difference, fabs(result.accuracy - b->tree.metrics[i * b->tree.n_metrics]));
        lego_model_free(model);
        lego_selection_free(selection);
    }
    *seconds = lg_clock_ms_since(start) / 1e3;
    return status;
}

int main(int argc, char **argv)
{
    bench b = { .at = { NULL, NULL, NULL } };
    double shared = 0.0, naive = 0.0, difference = 0.0;
    lego_status status = LEGO_OK;

    if (argc < 3) {
        fprintf(stderr, "usage: bench_profile STORE DATA [samples [threads]]\n");
        return 2;
    }
    LG_TRY(open_store(&b.at, argv[1], argv[2], LEGO_SPLIT_VAL, argc > 3 ? strtol(argv[3], NULL, 10) : 1000,
                      argc > 4 ? (int)strtol(argv[4], NULL, 10) : 0));
    LG_TRY(lg_design_create(&b.design, b.at.store, 3, 0, 0));
    LG_TRY(run_shared(&b, &shared));
    LG_TRY(run_from_input(&b, &naive, &difference));
    printf("%d compositions, %lld samples\n", b.design.n, (long long)b.tree.n_samples);
    printf("shared prefixes  %7.2f s (%.0f %% of the FLOPs)\n", shared, 100.0 * b.tree.flops_share);
    printf("from the input   %7.2f s\n", naive);
    printf("ratio            %7.2f, largest difference of an accuracy %g\n", naive / shared, difference);
done:
    if (status != LEGO_OK)
        fprintf(stderr, "bench_profile: %s\n", lego_last_error());
    lg_tree_dispose(&b.tree);
    lg_design_dispose(&b.design);
    close_store(&b.at);
    return status == LEGO_OK ? 0 : 1;
}
