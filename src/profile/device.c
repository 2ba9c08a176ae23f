/* lego_profile_measure_latency(): design, run, fit, and the device section of the document.
 *
 * What the numbers hold for is part of the section: CPU, threads, governor, load, engine, library. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/hash.h"
#include "profile/device.h"

#define MAX_SAMPLES 10000
#define MAX_HELD_OUT 1000

/* --- the machine --- */

/* First line of a small file of the system, "unknown" without it. */
static void read_line(char *out, size_t size, const char *path)
{
    FILE *file = fopen(path, "r");

    if (!file || !fgets(out, (int)size, file))
        snprintf(out, size, "unknown");
    if (file)
        (void)fclose(file);
    out[strcspn(out, "\r\n")] = '\0';
}

void lg_cpu_model(char *out, size_t size)
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[512];

    snprintf(out, size, "unknown");
    while (file && fgets(line, sizeof(line), file)) {
        const char *value = strchr(line, ':');

        /* x86 says "model name", some ARM kernels "Model" or "Hardware" */
        if (!value || (strncmp(line, "model name", 10) != 0 && strncmp(line, "Model", 5) != 0 &&
                       strncmp(line, "Hardware", 8) != 0))
            continue;
        value += 1 + strspn(value + 1, " \t");
        snprintf(out, size, "%.*s", (int)strcspn(value, "\r\n"), value);
        break;
    }
    if (file)
        (void)fclose(file);
}

static double load_average(void)
{
    char line[64];

    read_line(line, sizeof(line), "/proc/loadavg");
    return strtod(line, NULL);
}

/* --- the document --- */

static lego_status set_timing(lg_json *json, const lg_timing *timing)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_double(json, "latency_us", timing->latency_us));
    LG_TRY(lg_json_set_double(json, "median_us", timing->median_us));
    LG_TRY(lg_json_set_double(json, "p90_us", timing->p90_us));
    LG_TRY(lg_json_set_double(json, "spread_us", timing->spread_us));
    LG_TRY(lg_json_set_int(json, "samples", timing->n_samples));
    LG_TRY(lg_json_set_int(json, "resident_bytes", timing->resident_bytes));
done:
    return status;
}

static lego_status add_blocks(lg_json *device, const lego_store *store, const lg_device_fit *fit)
{
    lg_json *blocks, *block, *variants, *variant;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_set_array(&blocks, device, "blocks"));
    for (int32_t b = 0; b < store->n_blocks; b++) {
        const lg_timing *original = &fit->timings[fit->first[b]];

        LG_TRY(lg_json_push_object(&block, blocks));
        LG_TRY(lg_json_set_string(block, "name", store->blocks[b].name));
        LG_TRY(lg_json_set_array(&variants, block, "variants"));
        for (int32_t v = 0; v < store->blocks[b].n_variants; v++) {
            LG_TRY(lg_json_push_object(&variant, variants));
            LG_TRY(lg_json_set_string(variant, "name", store->blocks[b].variants[v].name));
            LG_TRY(lg_json_set_string(variant, "precision", store->blocks[b].variants[v].precision));
            LG_TRY(set_timing(variant, &original[v]));
            if (original->latency_us > 0.0)
                LG_TRY(lg_json_set_double(variant, "reduction", 1.0 - original[v].latency_us / original->latency_us));
        }
    }
done:
    return status;
}

static lego_status add_held_out(lg_json *device, const lego_store *store, const lg_device_design *design,
                                const lg_device_fit *fit)
{
    lg_json *held_out, *list, *item;
    lego_selection *selection = NULL;
    char *text = NULL;
    lego_status status = LEGO_OK;

    if (design->n_compositions == design->n_designed)
        return LEGO_OK;
    LG_TRY(lg_json_set_object(&held_out, device, "held_out"));
    LG_TRY(lg_json_set_int(held_out, "selections", design->n_compositions - design->n_designed));
    LG_TRY(lg_json_set_double(held_out, "mean_error", fit->mean_error));
    LG_TRY(lg_json_set_double(held_out, "max_error", fit->max_error));
    LG_TRY(lg_json_set_double(held_out, "bias", fit->bias));
    LG_TRY(lg_json_set_double(held_out, "margin", fit->margin));
    LG_TRY(lg_json_set_array(&list, held_out, "list"));
    for (int32_t c = design->n_designed; c < design->n_compositions; c++) {
        LG_TRY(lg_selection_create(&selection, store, lg_device_selection(design, c)));
        LG_TRY(lego_selection_format(&text, selection, store));
        LG_TRY(lg_json_push_object(&item, list));
        LG_TRY(lg_json_set_string(item, "selection", text));
        LG_TRY(lg_json_set_double(item, "measured_us", fit->measured_us[c].value));
        LG_TRY(lg_json_set_double(item, "predicted_us", fit->predicted_us[c]));
        lego_selection_free(selection);
        lg_free(text);
        selection = NULL;
        text = NULL;
    }
done:
    lego_selection_free(selection);
    lg_free(text);
    return status;
}

static lego_status add_conditions(lg_json *device, lego_context *context, const lego_latency_options *options,
                                  const lg_device_runs *runs, double load_before)
{
    char cpu[256], governor[64];
    lego_status status = LEGO_OK;

    lg_cpu_model(cpu, sizeof(cpu));
    read_line(governor, sizeof(governor), "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    LG_TRY(lg_json_set_string(device, "engine", runs->engine));
    LG_TRY(lg_json_set_string(device, "library", lego_version()));
    LG_TRY(lg_json_set_string(device, "cpu", cpu));
    LG_TRY(lg_json_set_int(device, "cores", lg_cpu_count()));
    LG_TRY(lg_json_set_string(device, "governor", governor));
    LG_TRY(lg_json_set_int(device, "threads", lego_context_threads(context)));
    LG_TRY(lg_json_set_int(device, "batch", options->batch));
    LG_TRY(lg_json_set_double(device, "load_before", load_before));
    LG_TRY(lg_json_set_double(device, "load_after", load_average()));
done:
    return status;
}

static lego_status fill_device(lg_json *device, const lego_store *store, const lg_device_design *design,
                               lg_device_runs *runs, const lg_device_fit *fit)
{
    char checksum[LG_HASH_TEXT];
    lg_json *frame;
    lego_status status = LEGO_OK;

    lg_hash_format(checksum, store->checksum);
    LG_TRY(lg_json_set_string(device, "store_checksum", checksum));
    LG_TRY(lg_json_set_int(device, "compositions", design->n_compositions));
    LG_TRY(lg_json_set_int(device, "rounds", runs->n_rounds));
    LG_TRY(lg_json_set_int(device, "repeated_rounds", runs->n_redone));
    LG_TRY(lg_json_set_int(device, "samples", (int64_t)runs->n_rounds * LG_WHOLE_RUNS));
    LG_TRY(lg_json_set_double(device, "original_us", fit->measured_us[0].value));
    LG_TRY(lg_json_set_int(device, "arena_bytes", runs->arena_bytes));
    LG_TRY(lg_json_set_object(&frame, device, "frame"));
    LG_TRY(set_timing(frame, &fit->timings[fit->first[fit->n_blocks]]));
    LG_TRY(add_held_out(device, store, design, fit));
    LG_TRY(add_blocks(device, store, fit));
    LG_TRY(lg_json_set_item(device, "tuning", &runs->tuning));
done:
    return status;
}

/* --- the call --- */

static lego_status read_options(lego_latency_options *opts, const lego_latency_options *options)
{
    lego_status status = LEGO_OK;

    LG_TRY(lg_options_read(opts, sizeof(*opts), options));
    if (opts->batch == 0)
        opts->batch = 1;
    if (opts->samples == 0)
        opts->samples = 30;
    if (opts->held_out == 0)
        opts->held_out = 20;
    if (opts->held_out < 0)
        opts->held_out = 0;
    if (opts->batch < 0)
        LG_FAIL(LEGO_EINVAL, "batch %d is negative", opts->batch);
    if (opts->samples < 0 || opts->samples > MAX_SAMPLES)
        LG_FAIL(LEGO_EINVAL, "samples %d is not in [1, %d]", opts->samples, MAX_SAMPLES);
    if (opts->held_out > MAX_HELD_OUT)
        LG_FAIL(LEGO_EINVAL, "%d held-out selections are more than %d", opts->held_out, MAX_HELD_OUT);
done:
    return status;
}

lego_status lego_profile_measure_latency(lego_profile **out, lego_context *context, lego_store *store,
                                         const lego_latency_options *options)
{
    lego_latency_options opts = LEGO_LATENCY_OPTIONS_INIT;
    lg_device_design design = { 0, 0, 0, NULL };
    lg_device_runs runs;
    lg_device_fit fit;
    lg_json *document = NULL, *device;
    double load = load_average();
    lego_status status = LEGO_OK;

    if (!out || !store)
        return lg_error(LEGO_EINVAL, "out and store must not be NULL");
    *out = NULL;
    memset(&runs, 0, sizeof(runs));
    memset(&fit, 0, sizeof(fit));
    LG_TRY(read_options(&opts, options));
    LG_TRY(lg_device_design_init(&design, store, opts.held_out, lego_context_seed(context)));
    LG_TRY(lg_device_run(&runs, context, store, &design, &opts));
    LG_TRY(lg_device_fit_init(&fit, store, &design, &runs));
    if (fit.mean_error > 0.05)
        lg_log(context, LEGO_LOG_WARNING, "profile",
               "predicted latency is %.1f %% off on average; measure again on a quieter machine", 100.0 * fit.mean_error);
    LG_TRY(lg_json_create_object(&document));
    LG_TRY(lg_json_set_string(document, "schema", LG_PROFILE_SCHEMA));
    LG_TRY(lg_json_set_string(document, "model", store->frame->name));
    LG_TRY(lg_json_set_object(&device, document, "device"));
    LG_TRY(add_conditions(device, context, &opts, &runs, load));
    LG_TRY(fill_device(device, store, &design, &runs, &fit));
    LG_TRY(lg_profile_from_json(out, &document, "latency profile"));
done:
    lg_json_free(document);
    lg_device_fit_dispose(&fit);
    lg_device_runs_dispose(&runs);
    lg_device_design_dispose(&design);
    return status;
}
