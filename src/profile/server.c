/* The server profile: what every variant costs in accuracy, and how well that predicts whole compositions.
 *
 * Flow: store + validation samples -> design.c (which compositions) -> tree.c (measure each once) -> here (drops, log-odds,
 * divergences by variant, noise) -> predictors.c (which sum predicts best, held out) -> server_json.c (the document).
 *
 * What newcomers get wrong: all compositions see the same images, so the noise of a *difference* of two accuracies is much
 * smaller than that of either; it comes from the samples on which the two disagree. */
#include "profile/server.h"

#include <math.h>

#include "base/alloc.h"
#include "base/clock.h"

#define DEFAULT_ENVIRONMENTS 3
#define DEFAULT_HELD_OUT 24
#define DEFAULT_BATCH 64
#define DEFAULT_MEMORY ((int64_t)1 << 30)
#define MAX_ENVIRONMENTS 64
#define MAX_HELD_OUT 1000
#define MAX_BATCH 4096

static lego_status check_arguments(lego_accuracy_options *opts, const lego_store *store, const lego_dataset *dataset)
{
    if (dataset->split == LEGO_SPLIT_TEST)
        return lg_error(LEGO_EINVAL, "a profile must not see the test split; open data set '%s' with the val split",
                        dataset->name);
    if (dataset->augment)
        return lg_error(LEGO_EINVAL, "data set '%s' is augmented; profiles need samples as they are", dataset->name);
    if (store->n_blocks < 1)
        return lg_error(LEGO_EINVAL, "the store has no blocks");
    if (opts->environments < 0 || opts->environments > MAX_ENVIRONMENTS)
        return lg_error(LEGO_EINVAL, "environments=%d is not in [0, %d]", opts->environments, MAX_ENVIRONMENTS);
    if (opts->held_out > MAX_HELD_OUT)
        return lg_error(LEGO_EINVAL, "held_out=%d is more than %d", opts->held_out, MAX_HELD_OUT);
    if (opts->batch < 0 || opts->batch > MAX_BATCH)
        return lg_error(LEGO_EINVAL, "batch=%d is not in [0, %d]", opts->batch, MAX_BATCH);
    if (opts->memory_bytes < 0)
        return lg_error(LEGO_EINVAL, "memory_bytes=%lld is negative", (long long)opts->memory_bytes);
    opts->environments = opts->environments ? opts->environments : DEFAULT_ENVIRONMENTS;
    opts->held_out = opts->held_out == 0 ? DEFAULT_HELD_OUT : opts->held_out < 0 ? 0 : opts->held_out;
    opts->batch = opts->batch ? opts->batch : DEFAULT_BATCH;
    opts->memory_bytes = opts->memory_bytes ? opts->memory_bytes : DEFAULT_MEMORY;
    return LEGO_OK;
}

/* Of an accuracy over n samples; never infinite. */
static double log_odds(double accuracy, int64_t n)
{
    double right = accuracy * (double)n + 0.5, wrong = (1.0 - accuracy) * (double)n + 0.5;

    return log(right / wrong);
}

/* Standard error of the mean, over samples, of the mean over pairs of (a - b). NaN where samples have no accuracy. */
static double paired_error(const lg_tree *tree, const int32_t *a, const int32_t *b, int32_t n_pairs)
{
    double sum = 0.0, squares = 0.0, n = (double)tree->n_samples;

    if (!tree->samples)
        return NAN;
    for (int64_t i = 0; i < tree->n_samples; i++) {
        double difference = 0.0;

        for (int32_t k = 0; k < n_pairs; k++)
            difference += (double)tree->samples[(size_t)a[k] * (size_t)tree->n_samples + (size_t)i] -
                          (double)tree->samples[(size_t)b[k] * (size_t)tree->n_samples + (size_t)i];
        difference /= n_pairs;
        sum += difference;
        squares += difference * difference;
    }
    return sqrt(fmax(0.0, squares / n - sum / n * (sum / n)) / n);
}

static lego_status fill_cells(lg_server_profile *profile)
{
    const lg_design *design = &profile->design;
    const lg_tree *tree = &profile->tree;
    lg_server_cells *cells = &profile->cells;
    int32_t n_cells = design->first_cell[design->n_blocks];
    int32_t *with = NULL, *without = NULL; /* compositions by environment */
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&with, design->n_environments));
    LG_TRY(LG_CALLOC(&without, design->n_environments));
    LG_TRY(LG_CALLOC(&cells->drop, n_cells));
    LG_TRY(LG_CALLOC(&cells->drop_error, n_cells));
    LG_TRY(LG_CALLOC(&cells->log_odds, n_cells));
    LG_TRY(LG_CALLOC(&cells->block_error, n_cells));
    if (tree->divergence)
        LG_TRY(LG_CALLOC(&cells->divergence, n_cells));
    for (int32_t b = 0; b < design->n_blocks; b++)
        for (int32_t cell = design->first_cell[b] + 1; cell < design->first_cell[b + 1]; cell++) {
            for (int32_t e = 0; e < design->n_environments; e++) {
                with[e] = design->measured[e * n_cells + cell];
                without[e] = design->measured[e * n_cells + design->first_cell[b]];
                cells->drop[cell] += (lg_tree_accuracy(tree, without[e]) - lg_tree_accuracy(tree, with[e])) /
                                     design->n_environments;
                cells->log_odds[cell] += (log_odds(lg_tree_accuracy(tree, without[e]), tree->n_samples) -
                                          log_odds(lg_tree_accuracy(tree, with[e]), tree->n_samples)) /
                                         design->n_environments;
            }
            cells->drop_error[cell] = paired_error(tree, without, with, design->n_environments);
            cells->block_error[cell] = tree->block_error[design->single[cell]];
            if (cells->divergence)
                cells->divergence[cell] = tree->divergence[design->single[cell]];
        }
done:
    lg_free(with);
    lg_free(without);
    return status;
}

static lego_status fit_predictors(lg_server_profile *profile)
{
    const lg_design *design = &profile->design;
    const int32_t original = 0;
    lg_predictor_data data = { .n_blocks = design->n_blocks, .first_cell = design->first_cell,
                               .accuracy = lg_tree_accuracy(&profile->tree, 0), .drop = profile->cells.drop,
                               .log_odds = profile->cells.log_odds, .divergence = profile->cells.divergence,
                               .block_error = profile->cells.block_error, .n_random = design->n_random };
    int32_t *selections = NULL;
    double *measured = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&selections, (size_t)design->n_random * (size_t)design->n_blocks));
    LG_TRY(LG_CALLOC(&measured, design->n_random));
    LG_TRY(LG_CALLOC(&profile->noise, design->n_random));
    for (int32_t i = 0; i < design->n_random; i++) {
        const int32_t *selection = lg_design_selection(design, design->random[i]);

        for (int32_t b = 0; b < design->n_blocks; b++)
            selections[i * design->n_blocks + b] = selection[b];
        measured[i] = lg_tree_accuracy(&profile->tree, design->random[i]);
        profile->noise[i] = paired_error(&profile->tree, &original, &design->random[i], 1);
    }
    data.selections = selections;
    data.measured = measured;
    LG_TRY(lg_predictors_fit(profile->predictors, &profile->n_predictors, &data));
done:
    lg_free(selections);
    lg_free(measured);
    return status;
}

static void server_dispose(lg_server_profile *profile)
{
    for (int32_t i = 0; i < profile->n_predictors; i++)
        lg_predictor_dispose(&profile->predictors[i]);
    lg_free(profile->noise);
    lg_free(profile->cells.drop);
    lg_free(profile->cells.drop_error);
    lg_free(profile->cells.log_odds);
    lg_free(profile->cells.divergence);
    lg_free(profile->cells.block_error);
    lg_tree_dispose(&profile->tree);
    lg_design_dispose(&profile->design);
}

lego_status lego_profile_measure_accuracy(lego_profile **out, lego_context *context, lego_store *store,
                                          lego_dataset *dataset, const lego_accuracy_options *options)
{
    lego_accuracy_options opts = LEGO_ACCURACY_OPTIONS_INIT;
    lg_server_profile profile = { .store = store, .dataset = dataset, .seed = lego_context_seed(context) };
    lg_tree_options tree = { .engine = LEGO_ENGINE_AUTO };
    lego_task task;
    lg_json *document = NULL;
    uint64_t start = lg_clock_ns();
    lego_status status = LEGO_OK;

    if (!out || !store || !dataset)
        return lg_error(LEGO_EINVAL, "out, store and dataset must not be NULL");
    *out = NULL;
    LG_TRY(lg_options_read(&opts, sizeof(opts), options));
    LG_TRY(check_arguments(&opts, store, dataset));
    LG_TRY(lg_task_read(&task, opts.task));
    profile.task = &task;
    tree.engine = opts.engine;
    tree.batch = opts.batch;
    tree.memory_bytes = opts.memory_bytes;

    LG_TRY(lg_design_create(&profile.design, store, opts.environments, opts.held_out, profile.seed));
    LG_TRY(lg_tree_evaluate(&profile.tree, context, store, dataset, &task, profile.design.n,
                            profile.design.selections, &tree));
    LG_TRY(fill_cells(&profile));
    LG_TRY(fit_predictors(&profile));
    profile.seconds = lg_clock_ms_since(start) / 1e3;
    lg_log(context, LEGO_LOG_INFO, "profile", "%d compositions on %lld samples in %.1f s (%.0f %% of the work of "
           "running each from the input); predictor '%s'", profile.design.n, (long long)dataset->n, profile.seconds,
           100.0 * profile.tree.flops_share, profile.predictors[0].name);
    LG_TRY(lg_server_to_json(&document, &profile));
    LG_TRY(lg_profile_from_json(out, &document, "accuracy profile"));
done:
    lg_json_free(document);
    server_dispose(&profile);
    return status;
}
