/* lego_extract(): the whole step from a model to a store.
 *
 *   find the blocks -> frame and originals into a store in memory -> plan every block's variants (widths) ->
 *   make their graphs (a criterion, or reconstruction from images) -> reports -> write
 *
 * Nothing is on disk before the last step. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "extract/extract.h"
#include "graph/ops.h"
#include "legodnn/block.h"
#include "prune/prune.h"

/* Kernels compute whole vectors of channels (16 floats with AVX-512), so time falls in steps: 0.6 of 128 channels leaves 51
 * and costs as much as 64. Halves and quarters of the usual widths end on a step, and lose less for the same time. */
static const double default_sparsities[] = { 0.0, 0.25, 0.5, 0.75, 0.875 };

/* The step at work. */
typedef struct maker {
    lego_context *context;
    const lg_graph *graph;
    lego_extract_options options;
    double *sparsities; /* rising, each once, without 0 */
    size_t n_sparsities;
    lg_blocks blocks;
    lego_store *store;
    lg_prune_block *plans; /* one a block */
    lg_graph *marked;      /* the model with its excluded layers marked; NULL if there are none */
    lg_taylor *taylor;     /* NULL unless it is the criterion */
} maker;

static void dispose_making(maker *making)
{
    for (int32_t b = 0; making->plans && b < making->blocks.n_blocks; b++)
        lg_prune_block_dispose(&making->plans[b]);
    lg_free(making->plans);
    lg_taylor_free(making->taylor);
    lg_graph_free(making->marked);
    lego_store_free(making->store);
    lg_blocks_dispose(&making->blocks);
    lg_free(making->sparsities);
}

/* --- options --- */

static int compare_doubles(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static lego_status read_sparsities(maker *making)
{
    const double *asked = making->options.sparsities;
    size_t n = making->options.n_sparsities;
    lego_status status = LEGO_OK;

    if (!asked || n == 0) {
        asked = default_sparsities;
        n = sizeof(default_sparsities) / sizeof(*default_sparsities);
    }
    LG_TRY(LG_CALLOC(&making->sparsities, n));
    for (size_t i = 0; i < n; i++) {
        if (!(asked[i] >= 0.0 && asked[i] < 1.0)) /* this form also rejects NaN */
            LG_FAIL(LEGO_EINVAL, "sparsity %g is not in [0, 1)", asked[i]);
        making->sparsities[i] = asked[i];
    }
    qsort(making->sparsities, n, sizeof(double), compare_doubles);
    for (size_t i = 0; i < n; i++) {
        double sparsity = making->sparsities[i];

        if (sparsity > 0.0 &&
            (making->n_sparsities == 0 || sparsity > making->sparsities[making->n_sparsities - 1]))
            making->sparsities[making->n_sparsities++] = sparsity;
    }
    if (making->n_sparsities == 0)
        LG_FAIL(LEGO_EINVAL, "no sparsity above 0 is asked for: there would be nothing to choose from");
done:
    return status;
}

static lego_status read_options(maker *making, const lego_extract_options *options)
{
    lego_extract_options *own = &making->options;
    lego_status status = LEGO_OK;

    *own = (lego_extract_options)LEGO_EXTRACT_OPTIONS_INIT;
    LG_TRY(lg_options_read(own, sizeof(*own), options));
    LG_TRY(read_sparsities(making));
    if (!lego_criterion_name(own->criterion))
        LG_FAIL(LEGO_EINVAL, "criterion %d is none of 0 to %d", (int)own->criterion, LEGO_CRITERION_TAYLOR);
    if (own->criterion == LEGO_CRITERION_AUTO)
        own->criterion = own->dataset ? LEGO_CRITERION_RECONSTRUCT : LEGO_CRITERION_L1;
    if (own->round_to < 0)
        LG_FAIL(LEGO_EINVAL, "round_to %d is negative", own->round_to);
    if (own->scope != LEGO_PRUNE_SCOPE_GROUP && own->scope != LEGO_PRUNE_SCOPE_BLOCK)
        LG_FAIL(LEGO_EINVAL, "scope %d is none of 0 and 1", (int)own->scope);
    if (own->scope == LEGO_PRUNE_SCOPE_BLOCK && own->criterion == LEGO_CRITERION_RECONSTRUCT)
        LG_FAIL(LEGO_EINVAL, "criterion reconstruct fixes the widths before it chooses: scope block goes with the others");
    if (own->n_exclude > 0 && !own->exclude)
        LG_FAIL(LEGO_EINVAL, "exclude must not be NULL for %zu names", own->n_exclude);
done:
    return status;
}

/* --- the store in memory --- */

static lego_status make_names(char ***out, int32_t n)
{
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(out, n));
    for (int32_t b = 0; b < n; b++) {
        (*out)[b] = lg_asprintf("b%d", b);
        if (!(*out)[b])
            LG_FAIL(LEGO_ENOMEM, "out of memory naming block %d", b);
    }
done:
    return status;
}

static lego_status create_store(maker *making)
{
    int32_t n_blocks = making->blocks.n_blocks;
    char **names = NULL;
    lg_graph *frame = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(make_names(&names, n_blocks));
    LG_TRY(lg_graph_frame(&frame, making->graph, making->blocks.block_of, n_blocks, (const char *const *)names));
    LG_TRY(lg_store_create(&making->store, frame));
    frame = NULL;
done:
    lg_graph_free(frame);
    for (int32_t b = 0; names && b < n_blocks; b++)
        lg_free(names[b]);
    lg_free(names);
    return status;
}

static lego_status add_original(maker *making, int32_t b)
{
    lg_graph *graph = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_blocks_subgraph(&graph, making->graph, &making->blocks, b));
    LG_TRY(lg_graph_validate(graph));
    LG_TRY(lg_store_add_variant(making->store, b, "s0", 0.0, "f32", "original", graph));
    graph = NULL;
done:
    lg_graph_free(graph);
    return status;
}

static lego_status add_widths(lg_json *object, const lg_prune_block *plan, size_t group)
{
    lg_json *widths, *parts;
    int is_grouped = lg_channels_group(plan->channels, group)->parts > 1;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_object(&widths, object, "widths"));
    for (int32_t v = 0; v < plan->n_variants; v++)
        LG_TRY(lg_json_set_int(widths, plan->variants[v].name, plan->variants[v].widths[group].units));
    if (is_grouped)
        LG_TRY(lg_json_set_object(&parts, object, "conv_groups_kept"));
    for (int32_t v = 0; is_grouped && v < plan->n_variants; v++)
        LG_TRY(lg_json_set_int(parts, plan->variants[v].name, plan->variants[v].widths[group].parts));
done:
    return status;
}

static lego_status report_block(lg_block *block, const lg_prune_block *plan)
{
    lg_json *groups, *object;
    lego_status status = LEGO_OK;

    LG_TRY(lg_block_report_layers(block->report, plan->graph, plan->channels));
    LG_TRY(lg_json_set_array(&groups, block->report, "groups"));
    for (size_t g = 0; g < lg_channels_n_groups(plan->channels); g++) {
        const lg_channel_group *group = lg_channels_group(plan->channels, g);

        LG_TRY(lg_block_report_group(&object, groups, plan->graph, group));
        if (!group->frozen)
            LG_TRY(add_widths(object, plan, g));
    }
done:
    return status;
}

/* As lg_prune_by_rank() will rank. */
static lg_prune_rank rank_of(const maker *making, int32_t b)
{
    return (lg_prune_rank){ making->options.criterion, lego_context_seed(making->context) + (uint64_t)b,
                            making->taylor };
}

static lego_status plan_block(maker *making, int32_t b)
{
    const int is_ranked = making->options.scope == LEGO_PRUNE_SCOPE_BLOCK;
    const lg_prune_rank rank = rank_of(making, b);
    lg_block *block = &making->store->blocks[b];
    lg_prune_block *plan = &making->plans[b];
    lego_status status = LEGO_OK;

    LG_TRY(lg_prune_block_init_ranked(plan, block->variants[0].graph, block->name, making->sparsities,
                                      making->n_sparsities, making->options.round_to, is_ranked ? &rank : NULL));
    for (int32_t n = 0; n < plan->graph->n_nodes; n++) {
        const lg_node *node = &plan->graph->nodes[n];

        if (lg_op_is_compressible(node->op) &&
            lg_block_layer_role(plan->graph, plan->channels, node) != LG_LAYER_CARRIED)
            LG_TRY(lg_block_add_layer(block, node->name));
    }
    plan->report = block->report;
    LG_TRY(report_block(block, plan));
done:
    return status;
}

static lego_status describe(maker *making)
{
    lg_json *info = making->store->info, *sparsities, *names, *coverage = NULL;
    const lego_extract_options *options = &making->options;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_string(info, "model", making->graph->name));
    LG_TRY(lg_json_set_array(&sparsities, info, "sparsities"));
    for (size_t i = 0; i < making->n_sparsities; i++)
        LG_TRY(lg_json_push_double(sparsities, making->sparsities[i]));
    LG_TRY(lg_json_set_string(info, "criterion", lego_criterion_name(options->criterion)));
    LG_TRY(lg_json_set_int(info, "round_to", options->round_to > 1 ? options->round_to : 1));
    LG_TRY(lg_json_set_string(info, "scope", options->scope == LEGO_PRUNE_SCOPE_BLOCK ? "block" : "group"));
    if (options->n_exclude > 0)
        LG_TRY(lg_json_set_array(&names, info, "excluded"));
    for (size_t i = 0; i < options->n_exclude; i++)
        LG_TRY(lg_json_push_string(names, options->exclude[i]));
    LG_TRY(lg_json_set_int(info, "seed", (int64_t)lego_context_seed(making->context)));
    LG_TRY(lg_blocks_coverage(&coverage, making->graph, &making->blocks));
    LG_TRY(lg_json_set_item(info, "coverage", &coverage));
done:
    lg_json_free(coverage);
    return status;
}

static lego_status check_model(const lg_graph *graph)
{
    for (int32_t n = 0; n < graph->n_nodes; n++)
        if (graph->nodes[n].op->kind == LG_OP_BLOCK)
            return lg_error(LEGO_EINVAL, "node '%s' stands for a block: this is the frame of a store, not a model",
                            graph->nodes[n].name);
    return lg_graph_check_finite(graph);
}

/* --- excluded layers --- */

static int matches(const char *name, const char *pattern)
{
    const size_t length = strlen(pattern);

    if (length > 0 && pattern[length - 1] == '*')
        return strncmp(name, pattern, length - 1) == 0;
    return strcmp(name, pattern) == 0;
}

/* The model with every layer that the options exclude marked: its channels are then frozen wherever they are asked
 * about. */
static lego_status mark_excluded(maker *making)
{
    const lego_extract_options *options = &making->options;
    lego_status status = LEGO_OK;

    if (options->n_exclude == 0)
        return LEGO_OK;
    LG_TRY(lg_graph_clone(&making->marked, making->graph));
    for (size_t i = 0; i < options->n_exclude; i++) {
        const char *pattern = options->exclude[i] ? options->exclude[i] : "";
        int found = 0;

        for (int32_t n = 0; n < making->marked->n_nodes; n++) {
            lg_node *node = &making->marked->nodes[n];

            if (lg_op_is_compressible(node->op) && matches(node->name, pattern))
                found = node->is_whole = 1;
        }
        if (!found)
            LG_FAIL(LEGO_ENOTFOUND, "the model has no layer '%s' to exclude; 'legodnn info MODEL --graph' lists them",
                    pattern);
    }
    making->graph = making->marked;
done:
    return status;
}

/* Blocks, frame, originals, plans and reports: all but the variants' weights. */
static lego_status prepare(maker *making, lego_context *context, const lego_model *model,
                           const lego_extract_options *options)
{
    lego_status status = LEGO_OK;

    making->context = context;
    making->graph = model->graph;
    LG_TRY(read_options(making, options));
    LG_TRY(check_model(making->graph));
    LG_TRY(mark_excluded(making));
    if (making->options.criterion == LEGO_CRITERION_TAYLOR && making->options.dataset)
        LG_TRY(lg_taylor_create(&making->taylor, context, making->graph, making->options.dataset));
    LG_TRY(lg_progress(context, "blocks", 0, 1));
    LG_TRY(lg_blocks_find(&making->blocks, making->graph, making->options.mode, making->options.ratio));
    LG_TRY(create_store(making));
    LG_TRY(LG_CALLOC(&making->plans, making->blocks.n_blocks));
    for (int32_t b = 0; b < making->blocks.n_blocks; b++) {
        LG_TRY(add_original(making, b));
        LG_TRY(plan_block(making, b));
    }
    LG_TRY(describe(making));
    LG_TRY(lg_progress(context, "blocks", 1, 1));
done:
    return status;
}

/* --- variants --- */

static lego_status make_variants(maker *making)
{
    const lg_prune_rank rank = rank_of(making, 0);
    int32_t n_blocks = making->blocks.n_blocks;

    if (making->options.criterion != LEGO_CRITERION_RECONSTRUCT)
        return lg_prune_by_rank(making->context, making->plans, n_blocks, &rank);
    return lg_reconstruct(making->context, making->store, making->plans, n_blocks, making->options.dataset, rank.seed,
                          making->store->info);
}

static lego_status add_variants(maker *making, int32_t b)
{
    lg_block *block = &making->store->blocks[b];
    lg_prune_block *plan = &making->plans[b];
    lego_status status = LEGO_OK;

    for (int32_t v = 0; v < plan->n_variants; v++) {
        lg_prune_variant *variant = &plan->variants[v];

        LG_TRY(lg_graph_check_finite(variant->graph));
        LG_TRY(lg_store_add_variant(making->store, b, variant->name, variant->sparsity, "f32",
                                    lego_criterion_name(making->options.criterion), variant->graph));
        variant->graph = NULL; /* the store owns it now */
    }
    for (int32_t a = 0; a < plan->n_aliases; a++)
        LG_TRY(lg_variant_add_alias(&block->variants[plan->aliases[a].variant + 1], plan->aliases[a].name));
done:
    return status;
}

lego_status lego_extract(lego_context *context, const lego_model *model, const char *store_path,
                         const lego_extract_options *options)
{
    maker making = { 0 };
    lego_status status = LEGO_OK;

    if (!model || !store_path)
        return lg_error(LEGO_EINVAL, "model and store_path must not be NULL");
    LG_TRY(prepare(&making, context, model, options));
    if ((making.options.criterion == LEGO_CRITERION_RECONSTRUCT || making.options.criterion == LEGO_CRITERION_TAYLOR) &&
        !making.options.dataset)
        LG_FAIL(LEGO_EINVAL, "criterion %s needs data", lego_criterion_name(making.options.criterion));
    LG_TRY(make_variants(&making));
    for (int32_t b = 0; b < making.blocks.n_blocks; b++)
        LG_TRY(add_variants(&making, b));
    LG_TRY(lg_progress(context, "write", 0, 1));
    LG_TRY(lg_store_write(making.store, store_path));
    LG_TRY(lg_progress(context, "write", 1, 1));
    lg_log(context, LEGO_LOG_DEBUG, "extract", "%s: %d blocks", store_path, making.blocks.n_blocks);
done:
    dispose_making(&making);
    return status;
}

/* --- explain --- */

static lego_status explain_block(lg_json *blocks, lg_block *block)
{
    lg_json *object, *names;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_push_object(&object, blocks));
    LG_TRY(lg_json_set_string(object, "name", block->name));
    LG_TRY(lg_json_set_array(&names, object, "inputs"));
    for (int32_t i = 0; i < block->n_inputs; i++)
        LG_TRY(lg_json_push_string(names, block->inputs[i]));
    LG_TRY(lg_json_set_array(&names, object, "outputs"));
    for (int32_t i = 0; i < block->n_outputs; i++)
        LG_TRY(lg_json_push_string(names, block->outputs[i]));
    LG_TRY(lg_json_set_item(object, "report", &block->report));
done:
    return status;
}

lego_status lego_extract_explain(char **out, lego_context *context, const lego_model *model,
                                 const lego_extract_options *options)
{
    maker making = { 0 };
    lg_json *json = NULL, *blocks, *coverage = NULL;
    lego_status status = LEGO_OK;

    if (!out || !model)
        return lg_error(LEGO_EINVAL, "out and model must not be NULL");
    *out = NULL;
    LG_TRY(prepare(&making, context, model, options));
    LG_TRY(lg_json_create_object(&json));
    LG_TRY(lg_json_set_string(json, "schema", "legodnn.blocks/1"));
    LG_TRY(lg_json_set_string(json, "model", making.graph->name));
    LG_TRY(lg_json_detach(&coverage, making.store->info, "coverage"));
    LG_TRY(lg_json_set_item(json, "coverage", &coverage));
    LG_TRY(lg_json_set_array(&blocks, json, "blocks"));
    for (int32_t b = 0; b < making.blocks.n_blocks; b++)
        LG_TRY(explain_block(blocks, &making.store->blocks[b]));
    LG_TRY(lg_json_print(out, json, 1));
done:
    lg_json_free(coverage);
    lg_json_free(json);
    dispose_making(&making);
    return status;
}
