/* Loading, saving and asking profile documents.
 *
 * Written by the server side (accuracy) and by device.c (latency), read by optimize/ and runtime/. A document is
 * untrusted input: every number is checked on the way in, so that the solvers can rely on finite, bounded values.
 *
 * What newcomers get wrong: a profile speaks of variants by name. It may know variants that a store no longer has and
 * miss some that it has; whether that matters is the reader's decision (optimize/problem.c refuses the latter). */
#include "profile/profile.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

#define MAX_INT ((int64_t)1 << 50)   /* bytes, FLOPs: the solvers add up to 4096 of them */
#define MAX_LATENCY_US 1e9           /* a thousand seconds */
#define MAX_COST 1e3

static lego_status get_range(double *out, const lg_json *object, const char *key, double fallback, double min,
                             double max, const char *what)
{
    lego_status status = lg_json_get_double_or(out, object, key, fallback, what);

    if (status == LEGO_OK && !(*out >= min && *out <= max))
        return lg_error(LEGO_EFORMAT, "%s: '%s'=%g is not in [%g, %g]", what, key, *out, min, max);
    return status;
}

static lego_status read_timing(lg_timing *timing, const lg_json *json, const char *what)
{
    lego_status status = LEGO_OK;

    if (!lg_json_has(json, "latency_us"))
        LG_FAIL(LEGO_EFORMAT, "%s: 'latency_us' is missing", what);
    LG_TRY(get_range(&timing->latency_us, json, "latency_us", 0.0, 0.0, MAX_LATENCY_US, what));
    LG_TRY(get_range(&timing->median_us, json, "median_us", timing->latency_us, 0.0, MAX_LATENCY_US, what));
    LG_TRY(get_range(&timing->p90_us, json, "p90_us", timing->median_us, 0.0, MAX_LATENCY_US, what));
    LG_TRY(get_range(&timing->spread_us, json, "spread_us", 0.0, 0.0, MAX_LATENCY_US, what));
    LG_TRY(lg_json_get_int_or(&timing->n_samples, json, "samples", 0, 0, MAX_INT, what));
    LG_TRY(lg_json_get_int_or(&timing->resident_bytes, json, "resident_bytes", 0, 0, MAX_INT, what));
done:
    return status;
}

static lego_status read_server_variant(lg_profile_variant *variant, const lg_json *json, const char *what)
{
    const char *checksum = "";
    unsigned long long value = 0;
    char rest = '\0';
    lego_status status = LEGO_OK;

    if (!lg_json_has(json, "cost"))
        LG_FAIL(LEGO_EFORMAT, "%s: 'cost' is missing", what);
    LG_TRY(get_range(&variant->cost, json, "cost", 0.0, -MAX_COST, MAX_COST, what));
    LG_TRY(get_range(&variant->drop, json, "drop", 0.0, -1.0, 1.0, what));
    LG_TRY(get_range(&variant->divergence, json, "divergence", 0.0, 0.0, HUGE_VAL, what));
    LG_TRY(lg_json_get_string_or(&checksum, json, "checksum", "", what));
    if (checksum[0] && (strlen(checksum) != 16 || sscanf(checksum, "%16llx%c", &value, &rest) != 1))
        LG_FAIL(LEGO_EFORMAT, "%s: 'checksum' must be 16 hex digits, found '%s'", what, checksum);
    variant->checksum = value;
    LG_TRY(lg_json_get_int(&variant->weight_bytes, json, "weight_bytes", 0, MAX_INT, what));
    LG_TRY(lg_json_get_int(&variant->flops, json, "flops", 0, MAX_INT, what));
    LG_TRY(lg_json_get_int_or(&variant->n_parameters, json, "parameters", 0, 0, MAX_INT, what));
done:
    return status;
}

static lego_status read_device_variant(lg_profile_variant *variant, const lg_json *json, const char *what)
{
    return read_timing(&variant->timing, json, what);
}

typedef lego_status (*variant_reader)(lg_profile_variant *, const lg_json *, const char *);

static lego_status read_block(lg_profile_block *block, const lg_json *json, variant_reader read, const char *what)
{
    const lg_json *variants = NULL;
    const char *name = NULL;
    char where[512];
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_get_string(&name, json, "name", what));
    LG_TRY(LG_STRDUP(&block->name, name));
    LG_TRY(lg_json_get_array(&variants, json, "variants", what));
    if (lg_json_length(variants) > INT16_MAX)
        LG_FAIL(LEGO_EFORMAT, "%s: block '%s' has more than %d variants", what, name, INT16_MAX);
    LG_TRY(LG_CALLOC(&block->variants, lg_json_length(variants)));
    lg_json_each(item, variants) {
        lg_profile_variant *variant = &block->variants[block->n_variants];

        snprintf(where, sizeof(where), "%s: block '%s'", what, block->name);
        LG_TRY(lg_json_get_string(&name, item, "name", where));
        if (lg_profile_find_variant(block, name))
            LG_FAIL(LEGO_EFORMAT, "%s: two variants '%s'", where, name);
        LG_TRY(LG_STRDUP(&variant->name, name));
        block->n_variants++;
        snprintf(where, sizeof(where), "%s: block '%s' variant '%s'", what, block->name, variant->name);
        LG_TRY(read(variant, item, where));
    }
done:
    return status;
}

static lego_status read_blocks(lg_profile_side *side, const lg_json *section, variant_reader read, const char *what)
{
    const lg_json *blocks = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_get_array(&blocks, section, "blocks", what));
    if (lg_json_length(blocks) < 1 || lg_json_length(blocks) > INT16_MAX)
        LG_FAIL(LEGO_EFORMAT, "%s: %zu blocks; expected 1 to %d", what, lg_json_length(blocks), INT16_MAX);
    LG_TRY(LG_CALLOC(&side->blocks, lg_json_length(blocks)));
    lg_json_each(item, blocks) {
        lg_profile_block *block = &side->blocks[side->n_blocks++];

        LG_TRY(read_block(block, item, read, what));
        for (const lg_profile_block *other = side->blocks; other < block; other++)
            if (strcmp(other->name, block->name) == 0)
                LG_FAIL(LEGO_EFORMAT, "%s: two blocks '%s'", what, block->name);
    }
done:
    return status;
}

static lego_status read_server(lego_profile *profile, const lg_json *section, const char *what)
{
    const lg_json *predictor = NULL;
    const char *link = "identity";
    lego_status status = LEGO_OK;

    if (!lg_json_has(section, "accuracy"))
        LG_FAIL(LEGO_EFORMAT, "%s: 'accuracy' is missing", what);
    LG_TRY(get_range(&profile->accuracy, section, "accuracy", 0.0, 0.0, 1.0, what));
    LG_TRY(lg_json_get_object(&predictor, section, "predictor", what));
    LG_TRY(lg_json_get_string_or(&link, predictor, "link", "identity", what));
    if (strcmp(link, "logit") == 0)
        profile->link = LG_LINK_LOGIT;
    else if (strcmp(link, "identity") != 0)
        LG_FAIL(LEGO_EFORMAT, "%s: predictor link '%s'; known: identity, logit", what, link);
    LG_TRY(lg_json_get_int_or(&profile->server_frame_bytes, section, "frame_bytes", 0, 0, MAX_INT, what));
    LG_TRY(lg_json_get_int_or(&profile->server_frame_flops, section, "frame_flops", 0, 0, MAX_INT, what));
    LG_TRY(read_blocks(&profile->server, section, read_server_variant, what));
done:
    return status;
}

static lego_status read_device(lego_profile *profile, const lg_json *section, const char *what)
{
    const lg_json *frame = NULL, *held_out = NULL;
    int64_t batch = 1, n_threads = 1;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_get_int(&batch, section, "batch", 1, INT32_MAX, what));
    LG_TRY(lg_json_get_int(&n_threads, section, "threads", 1, INT16_MAX, what));
    profile->batch = (int32_t)batch;
    profile->n_threads = (int32_t)n_threads;
    LG_TRY(lg_json_get_string_or(&profile->cpu, section, "cpu", "", what));
    LG_TRY(lg_json_get_int(&profile->arena_bytes, section, "arena_bytes", 0, MAX_INT, what));
    LG_TRY(lg_json_get_object(&frame, section, "frame", what));
    LG_TRY(read_timing(&profile->frame, frame, what));
    if (lg_json_has(section, "held_out")) {
        LG_TRY(lg_json_get_object(&held_out, section, "held_out", what));
        LG_TRY(get_range(&profile->margin, held_out, "margin", 0.0, 0.0, 10.0, what));
    }
    LG_TRY(read_blocks(&profile->device, section, read_device_variant, what));
done:
    return status;
}

lego_status lg_profile_from_json(lego_profile **out, lg_json **document, const char *what)
{
    lego_profile *profile = NULL;
    const lg_json *section = NULL;
    const char *model = "";
    char where[300];
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(lg_json_check_schema(*document, LG_PROFILE_SCHEMA, what));
    LG_TRY(LG_CALLOC(&profile, 1));
    LG_TRY(lg_json_get_string_or(&model, *document, "model", "", what));
    LG_TRY(LG_STRDUP(&profile->model, model));
    if (lg_json_has(*document, "server")) {
        snprintf(where, sizeof(where), "%s: server", what);
        LG_TRY(lg_json_get_object(&section, *document, "server", what));
        LG_TRY(read_server(profile, section, where));
    }
    if (lg_json_has(*document, "device")) {
        snprintf(where, sizeof(where), "%s: device", what);
        LG_TRY(lg_json_get_object(&section, *document, "device", what));
        LG_TRY(read_device(profile, section, where));
    }
    if (!section)
        LG_FAIL(LEGO_EFORMAT, "%s: neither a 'server' nor a 'device' section", what);
    profile->document = *document;
    *document = NULL;

    *out = profile;
    profile = NULL;
done:
    lego_profile_free(profile);
    return status;
}

lego_status lego_profile_load(lego_profile **out, const char *path)
{
    lg_json *document = NULL;
    lego_status status = LEGO_OK;

    if (!out || !path)
        return lg_error(LEGO_EINVAL, "out and path must not be NULL");
    *out = NULL;
    LG_TRY(lg_json_load(&document, path));
    LG_TRY(lg_profile_from_json(out, &document, path));
done:
    lg_json_free(document);
    return status;
}

static void dispose_side(lg_profile_side *side)
{
    for (int32_t b = 0; b < side->n_blocks; b++) {
        for (int32_t v = 0; v < side->blocks[b].n_variants; v++)
            lg_free(side->blocks[b].variants[v].name);
        lg_free(side->blocks[b].variants);
        lg_free(side->blocks[b].name);
    }
    lg_free(side->blocks);
}

void lego_profile_free(lego_profile *profile)
{
    if (!profile)
        return;
    dispose_side(&profile->server);
    dispose_side(&profile->device);
    lg_json_free(profile->document);
    lg_free(profile->model);
    lg_free(profile);
}

lego_status lego_profile_save(const lego_profile *profile, const char *path)
{
    if (!profile || !path)
        return lg_error(LEGO_EINVAL, "profile and path must not be NULL");
    return lg_json_save(profile->document, path);
}

lego_status lego_profile_to_json(char **out, const lego_profile *profile)
{
    if (!out || !profile)
        return lg_error(LEGO_EINVAL, "out and profile must not be NULL");
    return lg_json_print(out, profile->document, 1);
}

lego_status lego_profile_to_csv(char **out, const lego_profile *profile)
{
    lg_str text = LG_STR_INIT;

    if (!out || !profile)
        return lg_error(LEGO_EINVAL, "out and profile must not be NULL");
    *out = NULL;
    lg_str_append(&text, "side,block,variant,cost,drop,divergence,weight_bytes,flops,parameters,latency_us,median_us,p90_us,spread_us,"
                         "samples,resident_bytes\n");
    for (int32_t b = 0; b < profile->server.n_blocks; b++)
        for (int32_t v = 0; v < profile->server.blocks[b].n_variants; v++) {
            const lg_profile_variant *variant = &profile->server.blocks[b].variants[v];

            lg_str_appendf(&text, "server,%s,%s,%.9g,%.9g,%.9g,%lld,%lld,%lld,,,,,,\n", profile->server.blocks[b].name,
                           variant->name, variant->cost, variant->drop, variant->divergence,
                           (long long)variant->weight_bytes, (long long)variant->flops,
                           (long long)variant->n_parameters);
        }
    for (int32_t b = 0; b < profile->device.n_blocks; b++)
        for (int32_t v = 0; v < profile->device.blocks[b].n_variants; v++) {
            const lg_profile_variant *variant = &profile->device.blocks[b].variants[v];
            const lg_timing *timing = &variant->timing;

            lg_str_appendf(&text, "device,%s,%s,,,,,,,%.9g,%.9g,%.9g,%.9g,%lld,%lld\n", profile->device.blocks[b].name,
                           variant->name, timing->latency_us, timing->median_us, timing->p90_us, timing->spread_us,
                           (long long)timing->n_samples, (long long)timing->resident_bytes);
        }
    return lg_str_finish(out, &text);
}

const char *lg_link_name(lg_link link)
{
    return link == LG_LINK_LOGIT ? "logit" : "identity";
}

double lg_link_accuracy(lg_link link, double accuracy, double cost)
{
    double limit = 1e-9; /* keeps the logit finite for a perfect or hopeless original */
    double result = accuracy - cost;

    if (link == LG_LINK_LOGIT) {
        double a = fmin(fmax(accuracy, limit), 1.0 - limit);

        result = cost == 0.0 ? accuracy : 1.0 / (1.0 + exp(cost - log(a / (1.0 - a))));
    }
    return fmin(fmax(result, 0.0), 1.0);
}

double lg_profile_accuracy(const lego_profile *profile, double cost)
{
    return lg_link_accuracy(profile->link, profile->accuracy, cost);
}

const lg_profile_block *lg_profile_find_block(const lg_profile_side *side, const char *name)
{
    for (int32_t b = 0; b < side->n_blocks; b++)
        if (strcmp(side->blocks[b].name, name) == 0)
            return &side->blocks[b];
    return NULL;
}

const lg_profile_variant *lg_profile_find_variant(const lg_profile_block *block, const char *name)
{
    for (int32_t v = 0; v < block->n_variants; v++)
        if (strcmp(block->variants[v].name, name) == 0)
            return &block->variants[v];
    return NULL;
}

const lg_json *lg_profile_tuning(const lego_profile *profile)
{
    const lg_json *device = NULL, *tuning = NULL;

    if (profile->device.n_blocks == 0 || lg_json_get_object(&device, profile->document, "device", "") != LEGO_OK ||
        !lg_json_has(device, "tuning") || lg_json_get_object(&tuning, device, "tuning", "") != LEGO_OK)
        return NULL;
    return tuning;
}
