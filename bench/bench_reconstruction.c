/* What reconstruction alone is worth, before any retraining: l1 against reconstruct on one model.
 *
 *   bench_reconstruction MODEL DATA [samples [threads [seeds]]]
 *
 * For each criterion (and seed) it extracts a store into a temporary folder and evaluates, on the test split, the
 * original, every uniform selection and 20 random ones. Prints a Markdown table: points of accuracy lost, in brackets the
 * mean Kullback-Leibler divergence from the original's outputs in nats, which is far less noisy than the accuracy.
 * Seconds are of the whole extraction: processor time, since others may share the machine. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/rng.h"
#include "legodnn/legodnn.h"
#include "profile/tree.h"
#include "store/store.h"

enum { N_RANDOM = 20, N_UNIFORM = 3, N_SELECTIONS = 1 + N_UNIFORM + N_RANDOM };
static const double sparsities[N_UNIFORM] = { 0.3, 0.6, 0.8 };

typedef struct bench {
    lego_context *context;
    lego_model *model;
    lego_dataset *train, *test;
    char folder[4096];
} bench;

static lego_status open_all(bench *b, const char *path, const char *spec, int64_t samples, int threads)
{
    lego_dataset_options options = LEGO_DATASET_OPTIONS_INIT;
    const char *base = getenv("TMPDIR");
    int64_t dims[LEGO_MAX_DIMS];
    int n_dims;
    lego_status status = LEGO_OK;

    LG_TRY(lego_context_create(&b->context));
    LG_TRY(lego_context_set_threads(b->context, threads));
    LG_TRY(lego_model_load(&b->model, b->context, path));
    LG_TRY(lego_model_input_shape(b->model, 0, &n_dims, dims));
    for (int i = 0; i < 3 && n_dims == 4; i++)
        options.input[i] = (int32_t)dims[i + 1];
    LG_TRY(lego_dataset_open(&b->train, b->context, spec, &options));
    options.split = LEGO_SPLIT_TEST;
    options.limit = samples;
    LG_TRY(lego_dataset_open(&b->test, b->context, spec, &options));
    snprintf(b->folder, sizeof(b->folder), "%s/legodnn-bench-XXXXXX", base ? base : P_tmpdir);
    if (!mkdtemp(b->folder))
        LG_FAIL(LEGO_EIO, "%s: cannot create it", b->folder);
done:
    return status;
}

static void close_all(bench *b)
{
    if (b->folder[0])
        (void)lg_dir_remove(b->folder);
    lego_dataset_free(b->train);
    lego_dataset_free(b->test);
    lego_model_free(b->model);
    lego_context_free(b->context);
}

/* The variant of the highest sparsity up to `sparsity`. */
static int32_t variant_at(const lg_block *block, double sparsity)
{
    int32_t best = 0;

    for (int32_t v = 1; v < block->n_variants; v++)
        if (block->variants[v].sparsity <= sparsity && block->variants[v].sparsity > block->variants[best].sparsity)
            best = v;
    return best;
}

static void choose_selections(int32_t *selections, const lego_store *store)
{
    lg_rng rng;

    lg_rng_init(&rng, 1, 1);
    for (int32_t i = 0; i < N_SELECTIONS; i++)
        for (int32_t b = 0; b < store->n_blocks; b++, selections++) {
            *selections = 0;
            if (i > N_UNIFORM)
                *selections = (int32_t)lg_rng_below(&rng, (uint64_t)store->blocks[b].n_variants);
            else if (i > 0)
                *selections = variant_at(&store->blocks[b], sparsities[i - 1]);
        }
}

static void print_row(const lg_tree *tree, const char *name, unsigned seed, double seconds)
{
    const double original = tree->metrics[0];
    double mean = 0.0, worst = 0.0, divergence = 0.0;

    printf("| %s, seed %u | %.1f | %.2f |", name, seed, seconds, 100.0 * original);
    for (int32_t i = 1; i < N_SELECTIONS; i++) {
        const double lost = 100.0 * (original - tree->metrics[i * tree->n_metrics]);

        if (i <= N_UNIFORM) {
            printf(" %.2f (%.3f) |", lost, tree->divergence[i]);
            continue;
        }
        mean += lost / N_RANDOM;
        divergence += tree->divergence[i] / N_RANDOM;
        worst = lost > worst ? lost : worst;
    }
    printf(" %.2f (%.3f) | %.2f |\n", mean, divergence, worst);
    fflush(stdout);
}

static lego_status measure(bench *b, lego_criterion criterion, unsigned seed)
{
    lego_extract_options options = LEGO_EXTRACT_OPTIONS_INIT;
    const lg_tree_options tree_options = { LEGO_ENGINE_AUTO, 256, (int64_t)1 << 30 };
    int32_t *selections = NULL;
    lego_store *store = NULL;
    lg_tree tree = { 0 };
    char *path = lg_path_join(b->folder, "store");
    clock_t start = 0;
    double seconds = 0.0;
    lego_status status = LEGO_OK;

    if (!path)
        return lg_error(LEGO_ENOMEM, "out of memory");
    options.sparsities = sparsities;
    options.n_sparsities = N_UNIFORM;
    options.criterion = criterion;
    options.dataset = b->train;
    LG_TRY(lego_context_set_seed(b->context, seed));
    start = clock();
    LG_TRY(lego_extract(b->context, b->model, path, &options));
    seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    LG_TRY(lego_store_open(&store, b->context, path));
    LG_TRY(LG_CALLOC(&selections, N_SELECTIONS * store->n_blocks));
    choose_selections(selections, store);
    LG_TRY(lg_tree_evaluate(&tree, b->context, store, b->test, lego_task_classification(), N_SELECTIONS, selections,
                            &tree_options));
    print_row(&tree, lego_criterion_name(criterion), seed, seconds);
done:
    lg_tree_dispose(&tree);
    lego_store_free(store);
    lg_free(selections);
    lg_free(path);
    return status;
}

int main(int argc, char **argv)
{
    bench b = { 0 };
    const int64_t samples = argc > 3 ? strtoll(argv[3], NULL, 10) : 0;
    const int threads = argc > 4 ? (int)strtol(argv[4], NULL, 10) : 1;
    const unsigned seeds = argc > 5 ? (unsigned)strtoul(argv[5], NULL, 10) : 1;
    lego_status status = LEGO_OK;

    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL DATA [samples [threads [seeds]]]\n", argv[0]);
        return 2;
    }
    LG_TRY(open_all(&b, argv[1], argv[2], samples, threads));
    printf("| variants made by | CPU s | original %% | all-0.3 | all-0.6 | all-0.8 | %d random | worst |\n", N_RANDOM);
    printf("|---|---|---|---|---|---|---|---|\n");
    LG_TRY(measure(&b, LEGO_CRITERION_L1, 0));
    for (unsigned seed = 0; seed < seeds; seed++)
        LG_TRY(measure(&b, LEGO_CRITERION_RECONSTRUCT, seed));
done:
    if (status != LEGO_OK)
        fprintf(stderr, "%s\n", lego_last_error());
    close_all(&b);
    return status != LEGO_OK;
}
