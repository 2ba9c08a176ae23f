/* `legodnn extract`: a model into a store of blocks and their variants. */
#include <stdlib.h>
#include <string.h>

#include "blocks_report.h"
#include "inputs.h"
#include "json.h"

struct extract_args {
    cli_doubles sparsity;
    double ratio;
    int mode, scope, explain;
    const char *criterion, *data, *exclude;
    int64_t round_to, limit;
};

static const char *const modes[] = { "auto", "oto", "otm", "mto", "mtm", NULL };

static const char *const scopes[] = { "group", "block", NULL };

static const cli_option options[] = {
    CLI_STRING(struct extract_args, data, "data", "DATA", NULL,
               "images to choose channels and re-fit weights with: NAME[:FOLDER], e.g. fashion-mnist"),
    CLI_INT(struct extract_args, limit, "limit", "N", 0, 1000000000, "0", "use at most N images; 0: as many as it takes"),
    CLI_DOUBLES(struct extract_args, sparsity, "sparsity", "S,S,...", 0, 0.999, "0,0.25,0.5,0.75,0.875",
                "share of a block's channels that each variant loses"),
    CLI_DOUBLE(struct extract_args, ratio, "ratio", "X", 0, 1, "0",
               "largest block, as a share of the model's layers (at least 2 layers); 0: 0.125, or more, up to 0.5, where "
               "less than three quarters of the FLOPs would be in layers that shrink"),
    CLI_ENUM(struct extract_args, mode, "mode", modes, "auto",
             "values that may enter and leave a block: one or many"),
    CLI_STRING(struct extract_args, criterion, "criterion", "NAME", "auto",
               "reconstruct, taylor (both with --data), l1, l2, bn_scale, fpgm, random; auto: reconstruct with --data, l1 "
               "without"),
    CLI_ENUM(struct extract_args, scope, "scope", scopes, "group",
             "channels that compete: each group's own, so that all lose the same share, or all of a block"),
    CLI_STRING(struct extract_args, exclude, "exclude", "LAYER,...", NULL,
               "layers that keep their output channels; layer1.* names all that begin so"),
    CLI_INT(struct extract_args, round_to, "round-to", "K", 1, 4096, "1", "round widths up to a multiple of K"),
    CLI_FLAG(struct extract_args, explain, "explain", "only say which blocks there would be, and what stays and why"),
    CLI_END
};

static lego_status print_blocks(cli_call *cli, const cli_json *json)
{
    return cli_print_blocks_report(cli, cli_json_get(json, "coverage"), cli_json_get(json, "blocks"));
}

static lego_status explain(cli_call *cli, const lego_model *model, const lego_extract_options *extract)
{
    char *document = NULL;
    lego_status status;

    CLI_TRY(lego_extract_explain(&document, cli->context, model, extract));
    CLI_TRY(cli_json_show(cli, document, print_blocks));
done:
    lego_string_free(document);
    return status;
}

static lego_status describe_store(cli_call *cli)
{
    lego_store *store = NULL;
    char *document = NULL;
    cli_json *json = NULL;
    int n_variants = 0;
    lego_status status;

    CLI_TRY(lego_store_open(&store, cli->context, cli->output));
    CLI_TRY(lego_store_to_json(&document, store));
    CLI_TRY(cli_json_parse(&json, cli, document));
    if (cli->json)
        cli_print_document(cli, document);
    else if (cli->verbosity > 0)
        CLI_TRY(cli_print_blocks_report(cli, cli_json_get(json, "info.coverage"), cli_json_get(json, "blocks")));
    for (int32_t b = 0; b < lego_store_n_blocks(store); b++)
        n_variants += lego_store_n_variants(store, b);
    cli_note(cli, "wrote %s: %d blocks, %d variants by %s; %.1f %% of the FLOPs in layers that shrink", cli->output,
             (int)lego_store_n_blocks(store), n_variants, cli_json_text(json, "info.criterion", "?"),
             100.0 * cli_json_number(json, "info.coverage.flops.compressed", 0.0));
done:
    cli_json_free(json);
    lego_string_free(document);
    lego_store_free(store);
    return status;
}

/* Cut "a,b" into names; *text and *names: free(). */
static lego_status split_names(char **text, const char ***names, size_t *n, cli_call *cli, const char *list)
{
    size_t room = 1;

    if (!list)
        return LEGO_OK;
    for (const char *at = list; *at; at++)
        room += *at == ',';
    *text = strdup(list);
    *names = calloc(room, sizeof(**names));
    if (!*text || !*names)
        return cli_fail(cli, "out of memory");
    for (char *at = *text; at; *n += 1) {
        (*names)[*n] = at;
        at = strchr(at, ',');
        if (at)
            *at++ = '\0';
    }
    return LEGO_OK;
}

static int needs_data(lego_criterion criterion)
{
    return criterion == LEGO_CRITERION_RECONSTRUCT || criterion == LEGO_CRITERION_TAYLOR;
}

static lego_status run(cli_call *cli, const void *arguments)
{
    const struct extract_args *args = arguments;
    lego_extract_options extract = LEGO_EXTRACT_OPTIONS_INIT;
    lego_model *model = NULL;
    lego_dataset *data = NULL;
    char *text = NULL;
    const char **names = NULL;
    lego_status status;

    if (!cli->output && !args->explain)
        return cli_usage(cli, "-o STORE is missing: the folder to write (or --explain)");
    if (cli->output && args->explain)
        return cli_usage(cli, "--explain writes nothing: leave out -o, or say -v instead to write the store and explain it");
    extract.sparsities = args->sparsity.values;
    extract.n_sparsities = args->sparsity.n;
    extract.ratio = args->ratio;
    extract.mode = (lego_block_mode)args->mode;
    extract.round_to = (int32_t)args->round_to;
    if (lego_criterion_parse(&extract.criterion, args->criterion) != LEGO_OK)
        return cli_usage(cli, "--criterion: %s", lego_last_error());
    extract.scope = (lego_prune_scope)args->scope;
    if (needs_data(extract.criterion) && !args->data && !args->explain)
        return cli_usage(cli, "--criterion %s needs --data DATA", args->criterion);
    if (extract.criterion != LEGO_CRITERION_AUTO && !needs_data(extract.criterion) && args->data)
        return cli_usage(cli, "--criterion %s uses no --data", args->criterion);
    if (extract.scope == LEGO_PRUNE_SCOPE_BLOCK &&
        (extract.criterion == LEGO_CRITERION_RECONSTRUCT || (extract.criterion == LEGO_CRITERION_AUTO && args->data)))
        return cli_usage(cli, "--scope block goes with the other criteria; reconstruct fixes the widths before it chooses");
    CLI_TRY(split_names(&text, &names, &extract.n_exclude, cli, args->exclude));
    extract.exclude = names;
    CLI_TRY(lego_model_load(&model, cli->context, cli->args[0]));
    if (args->data)
        CLI_TRY(cli_open_data(&data, cli, model, args->data, LEGO_SPLIT_TRAIN, 0, args->limit));
    extract.dataset = data;
    if (args->explain) {
        CLI_TRY(explain(cli, model, &extract));
        goto done;
    }
    CLI_TRY(lego_extract(cli->context, model, cli->output, &extract));
    CLI_TRY(describe_store(cli));
    if (!args->data)
        cli_note(cli, "without images the variants are cut but not re-fitted and lose most of their accuracy: give --data "
                      "DATA, or distil them with 'legodnn retrain %s'", cli->output);
done:
    lego_dataset_free(data);
    lego_model_free(model);
    free(names);
    free(text);
    return status;
}

const cli_command cmd_extract = {
    .name = "extract",
    .summary = "cut a model into blocks and write a store of their variants",
    .usage = "MODEL -o STORE [--data DATA] [options]\nMODEL --explain [options]",
    .description = "Finds the blocks of MODEL, makes smaller variants of each and writes them into the folder STORE, which\n"
                   "replaces an older store there in one step. With --data the channels are chosen by the error they\n"
                   "cause and the weights are re-fitted, from a few hundred images, labels not needed. -v prints the\n"
                   "report: blocks, widths, and what stays as it is and why.",
    CLI_TAKES_MODEL,
    .output = CLI_OUTPUT_ARTIFACT,
    .output_help = "the store: a folder to write",
    .args_size = sizeof(struct extract_args),
    .options = options,
    .examples = "legodnn extract teacher.safetensors -o store --data fashion-mnist\n"
                "legodnn extract teacher.safetensors -o store --sparsity 0,0.5 --criterion l1 -v\n"
                "legodnn extract teacher.safetensors -o store --criterion taylor --scope block --data fashion-mnist\n"
                "legodnn extract teacher.safetensors --explain --ratio 0.25 --exclude 'layer4.*'",
    .run = run,
};
