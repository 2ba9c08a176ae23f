/* The server section of a profile document, "legodnn.profile/1" (what it holds: profile.h). Numbers that were not measured
 * are left out, never written as null. */
#include <math.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/str.h"
#include "profile/server.h"

static lego_status set_finite(lg_json *object, const char *key, double value)
{
    return isfinite(value) ? lg_json_set_double(object, key, value) : LEGO_OK;
}

static lego_status set_hash(lg_json *object, const char *key, uint64_t hash)
{
    char text[LG_HASH_TEXT];

    lg_hash_format(text, hash);
    return lg_json_set_string(object, key, text);
}

/* "b0=s0.6,b3=s0.8", as --selection takes it. */
static lego_status set_selection(lg_json *object, const lg_server_profile *profile, int32_t composition)
{
    const int32_t *selection = lg_design_selection(&profile->design, composition);
    lg_str text = LG_STR_INIT;
    char *string = NULL;
    lego_status status = LEGO_OK;

    lg_str_append(&text, "");
    for (int32_t b = 0; b < profile->design.n_blocks; b++)
        if (selection[b] != 0)
            lg_str_appendf(&text, "%s%s=%s", text.length ? "," : "", profile->store->blocks[b].name,
                           profile->store->blocks[b].variants[selection[b]].name);
    LG_TRY(lg_str_finish(&string, &text));
    LG_TRY(lg_json_set_string(object, "selection", string));
done:
    lg_free(string);
    return status;
}

static lego_status add_environments(lg_json *server, const lg_server_profile *profile)
{
    lg_json *list = NULL, *item = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_array(&list, server, "environments"));
    for (int32_t e = 0; e < profile->design.n_environments; e++) {
        LG_TRY(lg_json_push_object(&item, list));
        LG_TRY(set_selection(item, profile, profile->design.environments[e]));
        LG_TRY(lg_json_set_double(item, "accuracy",
                                  lg_tree_accuracy(&profile->tree, profile->design.environments[e])));
    }
done:
    return status;
}

static lego_status fill_predictor(lg_json *json, const lg_predictor *predictor, int32_t n_held_out)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_string(json, "name", predictor->name));
    LG_TRY(lg_json_set_string(json, "summary", predictor->summary));
    LG_TRY(lg_json_set_string(json, "link", lg_link_name(predictor->link)));
    LG_TRY(lg_json_set_double(json, "scale", predictor->scale));
    LG_TRY(lg_json_set_int(json, "held_out", n_held_out));
    LG_TRY(set_finite(json, "mae", predictor->mae));
    LG_TRY(set_finite(json, "bias", predictor->bias));
    LG_TRY(set_finite(json, "max_error", predictor->max_error));
    LG_TRY(set_finite(json, "kendall_tau", predictor->kendall_tau));
done:
    return status;
}

static lego_status add_predictors(lg_json *server, const lg_server_profile *profile)
{
    lg_json *best = NULL, *list = NULL, *item = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_object(&best, server, "predictor"));
    LG_TRY(fill_predictor(best, &profile->predictors[0], profile->design.n_random));
    LG_TRY(lg_json_set_array(&list, server, "predictors"));
    for (int32_t i = 0; i < profile->n_predictors; i++) {
        LG_TRY(lg_json_push_object(&item, list));
        LG_TRY(fill_predictor(item, &profile->predictors[i], profile->design.n_random));
    }
done:
    return status;
}

/* What a perfect predictor would show as error: the measurements' own noise (mean of |normal| = 0.8 deviations). */
static lego_status add_noise(lg_json *server, const lg_server_profile *profile)
{
    lg_json *noise = NULL;
    double accuracy = lg_tree_accuracy(&profile->tree, 0), sum = 0.0;
    lego_status status = LEGO_OK;

    if (profile->design.n_random == 0 || !profile->tree.samples)
        return LEGO_OK;
    for (int32_t i = 0; i < profile->design.n_random; i++)
        sum += profile->noise[i];
    LG_TRY(lg_json_set_object(&noise, server, "noise"));
    LG_TRY(lg_json_set_double(noise, "accuracy_standard_error",
                              sqrt(accuracy * (1.0 - accuracy) / (double)profile->tree.n_samples)));
    LG_TRY(lg_json_set_double(noise, "drop_standard_error", sum / profile->design.n_random));
    LG_TRY(lg_json_set_double(noise, "expected_mae", sqrt(2.0 / acos(-1.0)) * sum / profile->design.n_random));
done:
    return status;
}

static lego_status add_held_out(lg_json *server, const lg_server_profile *profile)
{
    lg_json *list = NULL, *item = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_array(&list, server, "held_out"));
    for (int32_t i = 0; i < profile->design.n_random; i++) {
        LG_TRY(lg_json_push_object(&item, list));
        LG_TRY(set_selection(item, profile, profile->design.random[i]));
        LG_TRY(lg_json_set_double(item, "accuracy", lg_tree_accuracy(&profile->tree, profile->design.random[i])));
        LG_TRY(lg_json_set_double(item, "predicted", profile->predictors[0].predicted[i]));
        LG_TRY(set_finite(item, "drop_standard_error", profile->noise[i]));
    }
done:
    return status;
}

static lego_status add_variant(lg_json *variants, const lg_server_profile *profile, int32_t block, int32_t v)
{
    const lg_variant *variant = &profile->store->blocks[block].variants[v];
    const lg_server_cells *cells = &profile->cells;
    int32_t cell = profile->design.first_cell[block] + v;
    lg_json *json = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_push_object(&json, variants));
    LG_TRY(lg_json_set_string(json, "name", variant->name));
    LG_TRY(lg_json_set_string(json, "precision", variant->precision));
    LG_TRY(lg_json_set_double(json, "sparsity", variant->sparsity));
    LG_TRY(set_hash(json, "checksum", variant->checksum));
    LG_TRY(lg_json_set_double(json, "cost", profile->predictors[0].cost[cell]));
    LG_TRY(lg_json_set_double(json, "drop", cells->drop[cell]));
    LG_TRY(set_finite(json, "drop_standard_error", cells->drop_error[cell]));
    LG_TRY(lg_json_set_double(json, "log_odds", cells->log_odds[cell]));
    if (cells->divergence)
        LG_TRY(set_finite(json, "divergence", cells->divergence[cell]));
    LG_TRY(set_finite(json, "block_error", cells->block_error[cell]));
    LG_TRY(lg_json_set_int(json, "weight_bytes", (int64_t)variant->weight_bytes));
    LG_TRY(lg_json_set_int(json, "flops", variant->flops));
    LG_TRY(lg_json_set_int(json, "parameters", variant->n_parameters));
done:
    return status;
}

static lego_status add_blocks(lg_json *server, const lg_server_profile *profile)
{
    lg_json *blocks = NULL, *block = NULL, *variants = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_array(&blocks, server, "blocks"));
    for (int32_t b = 0; b < profile->store->n_blocks; b++) {
        LG_TRY(lg_json_push_object(&block, blocks));
        LG_TRY(lg_json_set_string(block, "name", profile->store->blocks[b].name));
        LG_TRY(lg_json_set_array(&variants, block, "variants"));
        for (int32_t v = 0; v < profile->store->blocks[b].n_variants; v++)
            LG_TRY(add_variant(variants, profile, b, v));
    }
done:
    return status;
}

static lego_status fill_server(lg_json *server, const lg_server_profile *profile)
{
    const lg_graph *frame = profile->store->frame;
    double accuracy = lg_tree_accuracy(&profile->tree, 0);
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_string(server, "task", profile->task->name));
    LG_TRY(lg_json_set_string(server, "metric", profile->task->metrics[0]));
    LG_TRY(lg_json_set_string(server, "data", profile->dataset->name));
    LG_TRY(lg_json_set_string(server, "split", lego_split_name(profile->dataset->split)));
    LG_TRY(lg_json_set_int(server, "samples", profile->tree.n_samples));
    LG_TRY(lg_json_set_double(server, "accuracy", accuracy));
    LG_TRY(lg_json_set_string(server, "engine", profile->tree.engine));
    LG_TRY(lg_json_set_int(server, "seed", (int64_t)(profile->seed & INT64_MAX)));
    LG_TRY(set_hash(server, "store_checksum", profile->store->checksum));
    LG_TRY(lg_json_set_int(server, "compositions", profile->tree.n));
    LG_TRY(lg_json_set_double(server, "work_share", profile->tree.flops_share));
    LG_TRY(lg_json_set_double(server, "seconds", profile->seconds));
    LG_TRY(lg_json_set_int(server, "frame_bytes", (int64_t)lg_graph_weight_bytes(frame)));
    LG_TRY(lg_json_set_int(server, "frame_flops", lg_graph_flops(frame)));
    LG_TRY(lg_json_set_int(server, "frame_parameters", lg_graph_parameters(frame)));
    LG_TRY(add_environments(server, profile));
    LG_TRY(add_predictors(server, profile));
    LG_TRY(add_noise(server, profile));
    LG_TRY(add_held_out(server, profile));
    LG_TRY(add_blocks(server, profile));
done:
    return status;
}

lego_status lg_server_to_json(lg_json **out, const lg_server_profile *profile)
{
    lg_json *document = NULL, *server = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(lg_json_create_object(&document));
    LG_TRY(lg_json_set_string(document, "schema", LG_PROFILE_SCHEMA));
    LG_TRY(lg_json_set_string(document, "model", profile->store->frame->name));
    LG_TRY(lg_json_set_object(&server, document, "server"));
    LG_TRY(fill_server(server, profile));
    *out = document;
    document = NULL;
done:
    lg_json_free(document);
    return status;
}
