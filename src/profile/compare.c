/* Comparing two profiles: the regression check of a CI.
 *
 * What newcomers get wrong: two medians always differ. A latency counts as worse only if the difference exceeds both the
 * tolerance and the noise of the two measurements: half the width of a box plot's notch, 1.57 x interquartile range /
 * sqrt(n), of either (McGill, Tukey and Larsen 1978). */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "profile/device.h"

typedef struct change {
    char *block;   /* NULL: the frame or the whole */
    char *variant;
    const char *what, *unit;
    double before, after, allowed; /* `allowed`: how much worse it may be, in the unit */
    int is_worse;
    char *line;    /* NULL unless it is worse */
} change;

struct lego_comparison {
    change *changes;
    size_t n_changes, capacity;
    int32_t n_worse;
    double latency, accuracy, size; /* tolerances */
};

static lego_status set_name(char **out, const char *name)
{
    return name ? LG_STRDUP(out, name) : LEGO_OK;
}

/* How it reads: "b3 s0.6: latency 412 us, was 371 us (+11.1 %, 5 % accepted)". */
static lego_status write_line(change *c, double tolerance)
{
    lg_str text = LG_STR_INIT;

    if (c->block)
        lg_str_appendf(&text, "%s %s: ", c->block, c->variant);
    else
        lg_str_appendf(&text, "%s: ", c->variant);
    if (isnan(c->after))
        lg_str_append(&text, "is missing");
    else
        lg_str_appendf(&text, "%s %.4g%s%s, was %.4g%s%s", c->what, c->after, *c->unit ? " " : "", c->unit, c->before,
                       *c->unit ? " " : "", c->unit);
    if (!isnan(c->after) && c->before != 0.0 && strcmp(c->what, "accuracy cost") != 0)
        lg_str_appendf(&text, " (%+.1f %%, %.4g %% accepted)", 100.0 * (c->after / c->before - 1.0), 100.0 * tolerance);
    else if (!isnan(c->after))
        lg_str_appendf(&text, " (%.4g accepted)", tolerance);
    return lg_str_finish(&c->line, &text);
}

/* Add a comparison; larger values are worse. */
static lego_status add(lego_comparison *comparison, const char *block, const char *variant, const char *what,
                       const char *unit, double before, double after, double allowed, double tolerance)
{
    change c = { NULL, NULL, what, unit, before, after, allowed, 0, NULL };
    lego_status status = LEGO_OK;

    c.is_worse = isnan(after) || after - before > allowed;
    LG_TRY(set_name(&c.block, block));
    LG_TRY(set_name(&c.variant, variant));
    if (c.is_worse)
        LG_TRY(write_line(&c, tolerance));
    LG_TRY(LG_RESERVE(&comparison->changes, &comparison->capacity, comparison->n_changes + 1));
    comparison->changes[comparison->n_changes++] = c;
    comparison->n_worse += c.is_worse;
    c.block = c.variant = c.line = NULL; /* the comparison owns them now */
done:
    lg_free(c.block);
    lg_free(c.variant);
    lg_free(c.line);
    return status;
}

static double noise(const lg_timing *timing)
{
    return lg_notch(timing->spread_us, timing->n_samples);
}

static lego_status add_timing(lego_comparison *comparison, const char *block, const char *variant,
                              const lg_timing *before, const lg_timing *after)
{
    double allowed = fmax(comparison->latency * before->median_us, noise(before) + noise(after));

    return add(comparison, block, variant, "latency", "us", before->median_us, after->median_us, allowed,
               comparison->latency);
}

static lego_status compare_device_variant(lego_comparison *comparison, const char *block,
                                          const lg_profile_variant *before, const lg_profile_variant *after)
{
    return add_timing(comparison, block, before->name, &before->timing, &after->timing);
}

static lego_status compare_server_variant(lego_comparison *comparison, const char *block,
                                          const lg_profile_variant *before, const lg_profile_variant *after)
{
    lego_status status = LEGO_OK;

    LG_TRY(add(comparison, block, before->name, "accuracy cost", "", before->cost, after->cost, comparison->accuracy,
               comparison->accuracy));
    LG_TRY(add(comparison, block, before->name, "weights", "bytes", (double)before->weight_bytes,
               (double)after->weight_bytes, comparison->size * (double)before->weight_bytes, comparison->size));
    LG_TRY(add(comparison, block, before->name, "work", "FLOPs", (double)before->flops, (double)after->flops,
               comparison->size * (double)before->flops, comparison->size));
done:
    return status;
}

static lego_status compare_sides(lego_comparison *comparison, const lg_profile_side *before,
                                 const lg_profile_side *after,
                                 lego_status (*compare)(lego_comparison *, const char *, const lg_profile_variant *,
                                                        const lg_profile_variant *))
{
    lego_status status = LEGO_OK;

    for (int32_t b = 0; b < before->n_blocks; b++) {
        const lg_profile_block *old = &before->blocks[b], *now = lg_profile_find_block(after, old->name);

        for (int32_t v = 0; v < old->n_variants; v++) {
            const lg_profile_variant *variant = now ? lg_profile_find_variant(now, old->variants[v].name) : NULL;

            if (variant)
                LG_TRY(compare(comparison, old->name, &old->variants[v], variant));
            else
                LG_TRY(add(comparison, old->name, old->variants[v].name, "variant", "", 0.0, NAN, 0.0, 0.0));
        }
    }
done:
    return status;
}

static double tolerance(double given, double fallback)
{
    return given == 0.0 ? fallback : fmax(given, 0.0);
}

lego_status lego_profile_compare(lego_comparison **out, const lego_profile *before, const lego_profile *after,
                                 const lego_compare_options *options)
{
    lego_compare_options opts = LEGO_COMPARE_OPTIONS_INIT;
    lego_comparison *comparison = NULL;
    int device, server;
    lego_status status = LEGO_OK;

    if (!out || !before || !after)
        return lg_error(LEGO_EINVAL, "out, before and after must not be NULL");
    *out = NULL;
    LG_TRY(lg_options_read(&opts, sizeof(opts), options));
    if (isnan(opts.latency) || isnan(opts.accuracy) || isnan(opts.size))
        LG_FAIL(LEGO_EINVAL, "a tolerance is not a number");
    device = before->device.n_blocks > 0 && after->device.n_blocks > 0;
    server = before->server.n_blocks > 0 && after->server.n_blocks > 0;
    if (!device && !server)
        LG_FAIL(LEGO_EINVAL, "the profiles have no section in common: one holds accuracy, the other latency");
    LG_TRY(LG_CALLOC(&comparison, 1));
    comparison->latency = tolerance(opts.latency, 0.05);
    comparison->accuracy = tolerance(opts.accuracy, 0.005);
    comparison->size = tolerance(opts.size, 0.05);
    if (server) {
        LG_TRY(add(comparison, NULL, "original", "error rate", "", 1.0 - before->accuracy, 1.0 - after->accuracy,
                   comparison->accuracy, comparison->accuracy));
        LG_TRY(compare_sides(comparison, &before->server, &after->server, compare_server_variant));
    }
    if (device) {
        LG_TRY(add_timing(comparison, NULL, "frame", &before->frame, &after->frame));
        LG_TRY(add(comparison, NULL, "arena", "memory", "bytes", (double)before->arena_bytes,
                   (double)after->arena_bytes, comparison->size * (double)before->arena_bytes, comparison->size));
        LG_TRY(compare_sides(comparison, &before->device, &after->device, compare_device_variant));
    }

    *out = comparison;
    comparison = NULL;
done:
    lego_comparison_free(comparison);
    return status;
}

void lego_comparison_free(lego_comparison *comparison)
{
    if (!comparison)
        return;
    for (size_t i = 0; i < comparison->n_changes; i++) {
        lg_free(comparison->changes[i].block);
        lg_free(comparison->changes[i].variant);
        lg_free(comparison->changes[i].line);
    }
    lg_free(comparison->changes);
    lg_free(comparison);
}

int32_t lego_comparison_n_worse(const lego_comparison *comparison)
{
    return comparison->n_worse;
}

const char *lego_comparison_worse(const lego_comparison *comparison, int32_t index)
{
    for (size_t i = 0; i < comparison->n_changes; i++)
        if (comparison->changes[i].is_worse && index-- == 0)
            return comparison->changes[i].line;
    return NULL;
}

static lego_status push_change(lg_json *list, const change *c)
{
    lg_json *item;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_push_object(&item, list));
    if (c->block)
        LG_TRY(lg_json_set_string(item, "block", c->block));
    LG_TRY(lg_json_set_string(item, c->block ? "variant" : "part", c->variant));
    LG_TRY(lg_json_set_string(item, "what", c->what));
    if (*c->unit)
        LG_TRY(lg_json_set_string(item, "unit", c->unit));
    LG_TRY(lg_json_set_double(item, "before", c->before));
    LG_TRY(lg_json_set_double(item, "after", c->after)); /* missing: null */
    LG_TRY(lg_json_set_double(item, "allowed", c->allowed));
    LG_TRY(lg_json_set_bool(item, "worse", c->is_worse));
done:
    return status;
}

lego_status lego_comparison_to_json(char **out, const lego_comparison *comparison)
{
    lg_json *document = NULL, *list;
    lego_status status = LEGO_OK;

    if (!out || !comparison)
        return lg_error(LEGO_EINVAL, "out and comparison must not be NULL");
    *out = NULL;
    LG_TRY(lg_json_create_object(&document));
    LG_TRY(lg_json_set_string(document, "schema", "legodnn.comparison/1"));
    LG_TRY(lg_json_set_int(document, "worse", comparison->n_worse));
    LG_TRY(lg_json_set_array(&list, document, "values"));
    for (size_t i = 0; i < comparison->n_changes; i++)
        LG_TRY(push_change(list, &comparison->changes[i]));
    LG_TRY(lg_json_print(out, document, 1));
done:
    lg_json_free(document);
    return status;
}
