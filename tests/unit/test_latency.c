/* The device side of profiles: which compositions are measured, the additive model, the document, the comparison. */
#include "support/stores.h"

#include <math.h>

#include "profile/device.h"

/* ---------------------------------------------------------------- design */

static void test_latency__design_shows_every_variant_in_several_neighbourhoods(void **state)
{
    lego_store *store = make_small_store(in_folder(state, "store"), 6, 4);
    lg_device_design design;

    assert_ok(lg_device_design_init(&design, store, 20, 1));
    assert_int_equal(design.n_compositions, design.n_designed + 20);
    for (int32_t b = 0; b < 6; b++) {
        assert_int_equal(lg_device_selection(&design, 0)[b], 0);
        for (int32_t v = 0; v < 4; v++) {
            int32_t seen = 0;

            for (int32_t c = 1; c < design.n_designed; c++)
                seen += lg_device_selection(&design, c)[b] == v;
            assert_int_equal(seen, 4);
        }
    }
    for (int32_t c = design.n_designed; c < design.n_compositions; c++) /* held out: seen nowhere else */
        for (int32_t d = 0; d < c; d++)
            assert_memory_not_equal(lg_device_selection(&design, c), lg_device_selection(&design, d),
                                    6 * sizeof(int32_t));
    lg_device_design_dispose(&design);
    lego_store_free(store);
}

static void test_latency__design_ends_where_a_menu_has_no_more(void **state)
{
    lego_store *store = make_small_store(in_folder(state, "store"), 1, 3);
    lg_device_design design;

    assert_ok(lg_device_design_init(&design, store, 20, 1));
    assert_int_equal(design.n_compositions, design.n_designed);
    lg_device_design_dispose(&design);
    lego_store_free(store);
}

/* ---------------------------------------------------------------- fit */

static void test_latency__quantiles(void **state)
{
    double values[] = { 5, 1, 4, 2, 3 }, one[] = { 7 };

    assert_near(lg_quantile(values, 5, 0.5), 3, 0, 0);
    assert_near(lg_quantile(values, 5, 0.0), 1, 0, 0);
    assert_near(lg_quantile(values, 5, 1.0), 5, 0, 0);
    assert_near(lg_quantile(values, 5, 0.9), 4.6, 1e-12, 0);
    assert_near(lg_quantile(one, 1, 0.9), 7, 0, 0);
}

#define FIT_BLOCKS 8
#define FIT_VARIANTS 4
#define FIT_TERMS (FIT_BLOCKS * FIT_VARIANTS + 1)
#define FIT_SUMS 17

/* True terms, terms measured with a common bias and noise, sums with noise, two of them disturbed. */
static void test_latency__fit_predicts_sums_that_it_has_not_seen(void **state)
{
    double truth[FIT_TERMS], terms[FIT_TERMS];
    lg_reading measured[FIT_TERMS], sums[FIT_SUMS];
    int32_t members[FIT_SUMS * (FIT_BLOCKS + 1)];
    double fitted_error = 0.0, plain_error = 0.0;
    lg_rng rng;

    lg_rng_init(&rng, 3, 0);
    for (int t = 0; t < FIT_TERMS; t++) {
        truth[t] = 20.0 + 100.0 * lg_rng_uniform(&rng);
        measured[t].value = truth[t] * (1.04 + 0.02 * lg_rng_normal(&rng)); /* reading the clock costs time */
        measured[t].deviation = 0.5 + 0.04 * measured[t].value;
    }
    for (int s = 0; s < FIT_SUMS; s++) {
        sums[s].value = truth[FIT_TERMS - 1];
        for (int b = 0; b < FIT_BLOCKS; b++) {
            members[s * (FIT_BLOCKS + 1) + b] = b * FIT_VARIANTS + (int32_t)lg_rng_below(&rng, FIT_VARIANTS);
            sums[s].value += truth[members[s * (FIT_BLOCKS + 1) + b]];
        }
        members[s * (FIT_BLOCKS + 1) + FIT_BLOCKS] = FIT_TERMS - 1;
        sums[s].value *= 1.0 + 0.003 * lg_rng_normal(&rng);
        sums[s].deviation = 0.5 + 0.006 * sums[s].value;
    }
    sums[3].value *= 1.5;
    sums[9].value *= 1.3;
    assert_ok(lg_fit_terms(terms, FIT_TERMS, measured, FIT_SUMS, sums, FIT_BLOCKS + 1, members));
    for (int i = 0; i < 200; i++) {
        double real = truth[FIT_TERMS - 1], fitted = terms[FIT_TERMS - 1], plain = measured[FIT_TERMS - 1].value;

        for (int b = 0; b < FIT_BLOCKS; b++) {
            int t = b * FIT_VARIANTS + (int)lg_rng_below(&rng, FIT_VARIANTS);

            real += truth[t];
            fitted += terms[t];
            plain += measured[t].value;
        }
        fitted_error += fabs(fitted / real - 1.0) / 200;
        plain_error += fabs(plain / real - 1.0) / 200;
    }
    assert_true(plain_error > 0.03);
    assert_true(fitted_error < 0.015);
}

/* ---------------------------------------------------------------- the whole */

/* One thread: several would wait for each other on a busy machine. */
static lego_context *single_thread(void)
{
    lego_context *context = NULL;

    assert_ok(lego_context_create(&context));
    assert_ok(lego_context_set_threads(context, 1));
    return context;
}

static lego_status measure(lego_profile **out, lego_context *context, lego_store *store, lego_engine engine,
                           int32_t held_out)
{
    lego_latency_options options = LEGO_LATENCY_OPTIONS_INIT;

    options.engine = engine;
    options.samples = 6;
    options.held_out = held_out;
    return lego_profile_measure_latency(out, context, store, &options);
}

static void test_latency__document_holds_what_was_measured(void **state)
{
    lego_store *store = make_small_store(in_folder(state, "store"), 3, 3);
    const char *path = in_folder(state, "latency.json");
    lego_context *context = single_thread();
    lego_profile *profile = NULL, *loaded = NULL;
    char *csv = NULL;

    assert_ok(measure(&profile, context, store, LEGO_ENGINE_REF, 6));
    assert_int_equal(profile->device.n_blocks, 3);
    assert_true(profile->arena_bytes > 0 && profile->frame.median_us > 0.0);
    for (int32_t b = 0; b < 3; b++)
        for (int32_t v = 0; v < 3; v++) {
            const lg_timing *timing = &profile->device.blocks[b].variants[v].timing;

            assert_string_equal(profile->device.blocks[b].variants[v].name, store->blocks[b].variants[v].name);
            assert_true(timing->latency_us > 0.0 && timing->median_us > 0.0);
            assert_true(timing->p90_us >= timing->median_us && timing->spread_us >= 0.0);
            assert_true(timing->n_samples >= 4 * 4 * LG_PART_RUNS);
            /* the reference engine keeps the weights as they are, and a bias a layer at most beside them */
            assert_true(timing->resident_bytes >= (int64_t)store->blocks[b].variants[v].weight_bytes / 2);
        }
    assert_ok(lego_profile_save(profile, path));
    assert_ok(lego_profile_load(&loaded, path));
    assert_near(loaded->device.blocks[2].variants[1].timing.latency_us,
                profile->device.blocks[2].variants[1].timing.latency_us, 1e-9, 1e-9);
    assert_non_null(lg_profile_tuning(loaded));
    assert_ok(lego_profile_to_csv(&csv, loaded));
    assert_non_null(strstr(csv, "device,b2,s0.1,"));
    lego_string_free(csv);
    lego_profile_free(loaded);
    lego_profile_free(profile);
    assert_ok(measure(&profile, context, store, LEGO_ENGINE_ONEDNN, 6));
    lego_profile_free(profile);
    lego_context_free(context);
    lego_store_free(store);
}

static int cancel_at_once(const char *stage, size_t done, size_t total, void *payload)
{
    return strcmp(stage, payload) == 0;
}

static void test_latency__can_be_cancelled(void **state)
{
    lego_store *store = make_small_store(in_folder(state, "store"), 2, 2);
    lego_context *context = single_thread();
    lego_profile *profile = NULL;
    char stages[2][8] = { "plan", "latency" };

    for (int i = 0; i < 2; i++) {
        assert_ok(lego_context_set_progress(context, cancel_at_once, stages[i]));
        assert_fails(LEGO_ECANCELED, lego_profile_measure_latency(&profile, context, store, NULL));
        assert_null(profile);
    }
    lego_context_free(context);
    lego_store_free(store);
}

static void test_latency__refuses_nonsense(void **state)
{
    lego_store *store = make_small_store(in_folder(state, "store"), 1, 2);
    lego_latency_options options = LEGO_LATENCY_OPTIONS_INIT;
    lego_profile *profile = NULL;

    options.batch = -1;
    assert_fails(LEGO_EINVAL, lego_profile_measure_latency(&profile, NULL, store, &options));
    options.batch = 0;
    options.samples = -5;
    assert_fails(LEGO_EINVAL, lego_profile_measure_latency(&profile, NULL, store, &options));
    assert_fails(LEGO_EINVAL, lego_profile_measure_latency(NULL, NULL, store, NULL));
    lego_store_free(store);
}

static void test_latency__survives_failing_allocations(void **state)
{
    lego_store *store = make_small_store(in_folder(state, "store"), 1, 1);
    lego_context *context = single_thread();
    lego_profile *profile = NULL;

    assert_survives_oom(measure(&profile, context, store, LEGO_ENGINE_REF, -1), lego_profile_free(profile));
    lego_context_free(context);
    lego_store_free(store);
}

/* ---------------------------------------------------------------- comparison */

static lego_profile *load_changed(void **state, const char *from, const char *what, const char *by)
{
    char *text = NULL;
    size_t size = 0;
    lg_str changed = LG_STR_INIT;
    const char *at, *path = in_folder(state, "changed.json");
    lego_profile *profile = NULL;

    assert_ok(lg_file_read(&text, &size, from, 1 << 20));
    at = strstr(text, what);
    assert_non_null(at);
    lg_str_append_n(&changed, text, (size_t)(at - text));
    lg_str_append(&changed, by);
    lg_str_append(&changed, at + strlen(what));
    assert_ok(lg_file_write(path, changed.text, changed.length));
    assert_ok(lego_profile_load(&profile, path));
    lg_str_dispose(&changed);
    lg_free(text);
    return profile;
}

static void test_latency__comparison_names_what_got_worse(void **state)
{
    static const struct {
        const char *what, *by;
        int n_worse;
        const char *line;
    } cases[] = {
        { "\"latency_us\":800", "\"latency_us\":830", 0, NULL },
        { "\"latency_us\":800", "\"latency_us\":600", 0, NULL },
        { "\"latency_us\":800", "\"latency_us\":880", 1, "b0 s0.1: latency 880 us, was 800 us (+10.0 %, 5 % accepted)" },
        { "\"latency_us\":800", "\"latency_us\":880,\"spread_us\":500,\"samples\":20", 0, NULL },
        { "\"latency_us\":800", "\"latency_us\":880,\"spread_us\":100,\"samples\":100", 1, NULL },
        { "\"name\":\"s0.1\"", "\"name\":\"s0.15\"", 1, "b0 s0.1: is missing" },
        { "\"arena_bytes\":5000", "\"arena_bytes\":6000", 1, "arena: memory 6000 bytes, was 5000 bytes" },
    };
    lego_store *store = make_small_store(in_folder(state, "store"), 2, 3);
    char *path = lg_path_join(lego_store_path(store), LEGO_PROFILE_DEVICE_FILE);
    lego_profile *before = NULL, *after, *server = NULL;
    lego_comparison *comparison = NULL;
    char *document = NULL;

    write_small_latency(store, 1000.0, 0.0);
    write_small_accuracy(store, 0.01);
    assert_ok(lego_profile_load(&before, path));
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        after = load_changed(state, path, cases[i].what, cases[i].by);
        assert_ok(lego_profile_compare(&comparison, before, after, NULL));
        assert_int_equal(lego_comparison_n_worse(comparison), cases[i].n_worse);
        if (cases[i].line && !strstr(lego_comparison_worse(comparison, 0), cases[i].line))
            fail_msg("'%s' is not '%s'", lego_comparison_worse(comparison, 0), cases[i].line);
        assert_null(lego_comparison_worse(comparison, cases[i].n_worse));
        assert_ok(lego_comparison_to_json(&document, comparison));
        lego_string_free(document);
        assert_survives_oom((lego_comparison_free(comparison), lego_profile_compare(&comparison, before, after, NULL)),
                            (void)0);
        lego_comparison_free(comparison);
        lego_profile_free(after);
    }
    lg_free(path);
    path = lg_path_join(lego_store_path(store), LEGO_PROFILE_SERVER_FILE);
    assert_ok(lego_profile_load(&server, path));
    assert_fails(LEGO_EINVAL, lego_profile_compare(&comparison, before, server, NULL));
    after = load_changed(state, path, "\"cost\":0.01", "\"cost\":0.02");
    assert_ok(lego_profile_compare(&comparison, server, after, NULL));
    assert_int_equal(lego_comparison_n_worse(comparison), 1);
    assert_non_null(strstr(lego_comparison_worse(comparison, 0), "b0 s0.1: accuracy cost 0.02, was 0.01"));
    lego_comparison_free(comparison);
    lego_profile_free(after);
    lego_profile_free(server);
    lego_profile_free(before);
    lg_free(path);
    lego_store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(test_latency__design_shows_every_variant_in_several_neighbourhoods),
        folder_test(test_latency__design_ends_where_a_menu_has_no_more),
        cmocka_unit_test(test_latency__quantiles),
        cmocka_unit_test(test_latency__fit_predicts_sums_that_it_has_not_seen),
        folder_test(test_latency__document_holds_what_was_measured),
        folder_test(test_latency__can_be_cancelled),
        folder_test(test_latency__refuses_nonsense),
        folder_test(test_latency__survives_failing_allocations),
        folder_test(test_latency__comparison_names_what_got_worse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
