/* Running a store: the right composition answers, also while others switch; failures change nothing; budgets are kept. */
#include "support/stores.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "legodnn/runtime.h"

#define N_BLOCKS 3
#define N_VARIANTS 3
#define N_SELECTIONS 27
#define IMAGE (SMALL_CHANNELS * SMALL_SIDE * SMALL_SIDE)

static void selection_of(int32_t variants[N_BLOCKS], int index)
{
    for (int b = 0; b < N_BLOCKS; b++, index /= N_VARIANTS)
        variants[b] = index % N_VARIANTS;
}

static void fill_image(float *image, uint64_t seed)
{
    lg_rng rng;

    lg_rng_init(&rng, seed, 0);
    for (int i = 0; i < IMAGE; i++)
        image[i] = (float)lg_rng_normal(&rng);
}

/* The context of all tests here: one thread. */
static lego_context *single_thread(void)
{
    lego_context *context = NULL;

    assert_ok(lego_context_create(&context));
    assert_ok(lego_context_set_threads(context, 1));
    return context;
}

static lego_runtime_options plain_options(void)
{
    lego_runtime_options options = LEGO_RUNTIME_OPTIONS_INIT;

    options.engine = LEGO_ENGINE_REF;
    return options;
}

/* What every selection answers to the image, from sessions of their own. */
static void expect_answers(float answers[N_SELECTIONS][SMALL_CLASSES], lego_store *store, lego_context *context,
                           const float *image)
{
    for (int s = 0; s < N_SELECTIONS; s++) {
        lego_session_options options = LEGO_SESSION_OPTIONS_INIT;
        lego_selection *selection = NULL;
        lego_session *session = NULL;
        lego_model *model = NULL;
        int32_t variants[N_BLOCKS];
        float *output = answers[s];

        options.engine = LEGO_ENGINE_REF;
        selection_of(variants, s);
        assert_ok(lg_selection_create(&selection, store, variants));
        assert_ok(lego_store_compose(&model, store, selection));
        assert_ok(lego_session_create(&session, context, model, &options));
        assert_ok(lego_session_run(session, &image, &output));
        lego_session_free(session);
        lego_model_free(model);
        lego_selection_free(selection);
    }
}

static void switch_to(lego_runtime *runtime, int index)
{
    lego_selection *selection = NULL;
    int32_t variants[N_BLOCKS];

    selection_of(variants, index);
    assert_ok(lg_selection_create(&selection, lego_runtime_store(runtime), variants));
    assert_ok(lego_runtime_switch(runtime, selection));
    lego_selection_free(selection);
}

static void infer(lego_runtime *runtime, const float *image, float *answer)
{
    assert_ok(lego_runtime_infer(runtime, &image, &answer));
}

/* ---------------------------------------------------------------- answers */

/* What most tests start from. */
typedef struct rig {
    const char *path;
    lego_store *store;
    lego_context *context;
} rig;

static rig make_rig(void **state)
{
    rig made = { .path = in_folder(state, "store"), .context = single_thread() };

    made.store = make_small_store(made.path, N_BLOCKS, N_VARIANTS);
    return made;
}

static void free_rig(rig *made)
{
    lego_context_free(made->context);
    lego_store_free(made->store);
}

static void test_runtime__answers_as_the_composition_does(void **state)
{
    rig r = make_rig(state);
    float image[IMAGE], expected[N_SELECTIONS][SMALL_CLASSES], answer[SMALL_CLASSES];

    fill_image(image, 1);
    expect_answers(expected, r.store, r.context, image);
    for (int mode = 0; mode < 2; mode++) {
        lego_runtime_options options = plain_options();
        lego_runtime *runtime = NULL;

        options.residency = (lego_residency)mode;
        options.kept = 4; /* some come back planned, some have gone */
        assert_ok(lego_runtime_open(&runtime, r.context, r.path, &options));
        infer(runtime, image, answer);
        assert_memory_equal(answer, expected[0], sizeof(answer));
        for (int i = 0; i < 2 * N_SELECTIONS; i++) {
            int s = i * 7 % N_SELECTIONS;

            switch_to(runtime, s);
            infer(runtime, image, answer);
            assert_memory_equal(answer, expected[s], sizeof(answer));
        }
        lego_runtime_free(runtime);
    }
    free_rig(&r);
}

static void test_runtime__fused_engine_answers_alike(void **state)
{
    rig r = make_rig(state);
    lego_runtime_options options = LEGO_RUNTIME_OPTIONS_INIT;
    float image[IMAGE], expected[N_SELECTIONS][SMALL_CLASSES], answer[SMALL_CLASSES];
    lego_runtime *runtime = NULL;

    options.engine = LEGO_ENGINE_ONEDNN;
    fill_image(image, 2);
    expect_answers(expected, r.store, r.context, image);
    assert_ok(lego_runtime_open(&runtime, r.context, r.path, &options));
    for (int s = 0; s < N_SELECTIONS; s++) {
        switch_to(runtime, s);
        infer(runtime, image, answer);
        for (int c = 0; c < SMALL_CLASSES; c++)
            assert_near(answer[c], expected[s][c], 1e-4, 1e-4);
    }
    lego_runtime_free(runtime);
    free_rig(&r);
}

static void test_runtime__starts_and_prepares_as_told(void **state)
{
    rig r = make_rig(state);
    lego_runtime_options options = plain_options();
    float image[IMAGE], expected[N_SELECTIONS][SMALL_CLASSES], answer[SMALL_CLASSES];
    lego_selection *first = NULL, *next = NULL, *now = NULL;
    lego_runtime *runtime = NULL;

    fill_image(image, 8);
    expect_answers(expected, r.store, r.context, image);
    assert_ok(lego_selection_parse(&first, r.store, "b0=s0.1,b1=s0.2"));
    assert_ok(lego_selection_parse(&next, r.store, "b1=s0.1"));
    options.residency = LEGO_RESIDENCY_ON_DEMAND;
    options.selection = first;
    assert_ok(lego_runtime_open(&runtime, r.context, r.path, &options));
    lego_selection_free(first);
    infer(runtime, image, answer);
    assert_memory_equal(answer, expected[1 + 2 * N_VARIANTS], sizeof(answer));
    assert_ok(lego_runtime_prepare(runtime, next));
    infer(runtime, image, answer);
    assert_memory_equal(answer, expected[1 + 2 * N_VARIANTS], sizeof(answer));
    lg_alloc_fail_after(0); /* all is ready: the switch takes no memory */
    assert_int_equal(lego_runtime_switch(runtime, next), LEGO_OK);
    assert_false(lg_alloc_fail_after(-1));
    infer(runtime, image, answer);
    assert_memory_equal(answer, expected[N_VARIANTS], sizeof(answer));
    assert_ok(lego_runtime_selection(&now, runtime));
    for (int32_t b = 0; b < N_BLOCKS; b++)
        assert_int_equal(lego_selection_variant(now, b), lego_selection_variant(next, b));
    lego_selection_free(now);
    lego_selection_free(next);
    lego_runtime_free(runtime);
    free_rig(&r);
}

/* ---------------------------------------------------------------- many threads */

typedef struct crowd {
    lego_runtime *runtime;
    const float *image;
    float (*expected)[SMALL_CLASSES];
    atomic_int stop, failures;
    atomic_int seen[N_SELECTIONS];
    uint64_t seed;
} crowd;

static void *infer_often(void *payload)
{
    crowd *c = payload;
    float answer[SMALL_CLASSES], *output = answer;

    while (!atomic_load(&c->stop)) {
        int found = -1;

        if (lego_runtime_infer(c->runtime, &c->image, &output) != LEGO_OK) {
            atomic_fetch_add(&c->failures, 1);
            break;
        }
        for (int s = 0; s < N_SELECTIONS; s++)
            if (memcmp(answer, c->expected[s], sizeof(answer)) == 0)
                found = s;
        if (found < 0)
            atomic_fetch_add(&c->failures, 1);
        else
            atomic_fetch_add(&c->seen[found], 1);
    }
    return NULL;
}

static void *switch_often(void *payload)
{
    crowd *c = payload;
    lg_rng rng;

    lg_rng_init(&rng, c->seed, (uint64_t)(uintptr_t)&rng);
    for (int i = 0; i < 60; i++) {
        lego_selection *selection = NULL;
        int32_t variants[N_BLOCKS];

        selection_of(variants, (int)lg_rng_below(&rng, N_SELECTIONS));
        if (lg_selection_create(&selection, lego_runtime_store(c->runtime), variants) != LEGO_OK ||
            lego_runtime_switch(c->runtime, selection) != LEGO_OK)
            atomic_fetch_add(&c->failures, 1);
        lego_selection_free(selection);
        if (i % 8 == 0)
            usleep(500);
    }
    return NULL;
}

static void test_runtime__every_answer_is_one_compositions(void **state)
{
    rig r = make_rig(state);
    float image[IMAGE], expected[N_SELECTIONS][SMALL_CLASSES];

    fill_image(image, 3);
    expect_answers(expected, r.store, r.context, image);
    for (int mode = 0; mode < 4; mode++) {
        lego_runtime_options options = plain_options();
        crowd c = { NULL, image, expected, 0, 0, { 0 }, (uint64_t)mode };
        pthread_t readers[3], writers[2];
        lego_runtime_stats now;
        int different = 0;

        options.residency = mode % 2 ? LEGO_RESIDENCY_ON_DEMAND : LEGO_RESIDENCY_ALL;
        options.concurrency = mode < 2 ? 1 : 2; /* fewer slots than threads: some wait */
        options.kept = 3;
        assert_ok(lego_runtime_open(&c.runtime, r.context, r.path, &options));
        for (int i = 0; i < 3; i++)
            assert_int_equal(pthread_create(&readers[i], NULL, infer_often, &c), 0);
        for (int i = 0; i < 2; i++)
            assert_int_equal(pthread_create(&writers[i], NULL, switch_often, &c), 0);
        for (int i = 0; i < 2; i++)
            pthread_join(writers[i], NULL);
        atomic_store(&c.stop, 1);
        for (int i = 0; i < 3; i++)
            pthread_join(readers[i], NULL);
        assert_int_equal(atomic_load(&c.failures), 0);
        for (int s = 0; s < N_SELECTIONS; s++)
            different += atomic_load(&c.seen[s]) > 0;
        assert_true(different > 1);
        assert_ok(lego_runtime_get_stats(&now, c.runtime));
        assert_true(now.n_switches > 60 && now.n_inferences > 0);
        lego_runtime_free(c.runtime);
    }
    free_rig(&r);
}

/* ---------------------------------------------------------------- failures */

static void test_runtime__failed_switch_leaves_the_old_composition_running(void **state)
{
    rig r = make_rig(state);
    char *damaged = lg_path_join(r.path, r.store->blocks[1].variants[2].file);
    lego_runtime_options options = plain_options();
    lego_selection *bad = NULL;
    lego_runtime *runtime = NULL;
    float image[IMAGE], before[SMALL_CLASSES], after[SMALL_CLASSES];

    options.residency = LEGO_RESIDENCY_ON_DEMAND; /* reads the file at the switch */
    assert_ok(lego_runtime_open(&runtime, r.context, r.path, &options));
    fill_image(image, 4);
    switch_to(runtime, 1);
    infer(runtime, image, before);
    assert_int_equal(truncate(damaged, 100), 0);
    assert_ok(lego_selection_parse(&bad, lego_runtime_store(runtime), "b1=s0.2"));
    assert_int_not_equal(lego_runtime_switch(runtime, bad), LEGO_OK);
    infer(runtime, image, after);
    assert_memory_equal(before, after, sizeof(before));
    lego_selection_free(bad);

    assert_ok(lego_selection_parse(&bad, lego_runtime_store(runtime), NULL));
    assert_ok(lego_selection_set(bad, 2, 77));
    assert_fails(LEGO_EINVAL, lego_runtime_switch(runtime, bad));
    assert_says("b2");
    infer(runtime, image, after);
    assert_memory_equal(before, after, sizeof(before));
    lego_selection_free(bad);
    lego_runtime_free(runtime);

    /* all-resident reads it at once */
    options.residency = LEGO_RESIDENCY_ALL;
    assert_int_not_equal(lego_runtime_open(&runtime, r.context, r.path, &options), LEGO_OK);
    assert_null(runtime);
    lg_free(damaged);
    free_rig(&r);
}

static void test_runtime__refuses_nonsense(void **state)
{
    const char *path = in_folder(state, "store");
    lego_store *store = make_small_store(path, 1, 2);
    lego_runtime_options options = plain_options();
    lego_runtime *runtime = NULL;
    lego_budget budget = LEGO_BUDGET_INIT;

    assert_fails(LEGO_EINVAL, lego_runtime_open(NULL, NULL, path, NULL));
    options.concurrency = -1;
    assert_fails(LEGO_EINVAL, lego_runtime_open(&runtime, NULL, path, &options));
    options = plain_options();
    options.hysteresis = NAN;
    assert_fails(LEGO_EINVAL, lego_runtime_open(&runtime, NULL, path, &options));
    options = plain_options();
    options.adapt_ms = 10; /* without profiles */
    assert_fails(LEGO_ENOTFOUND, lego_runtime_open(&runtime, NULL, path, &options));
    options = plain_options();
    assert_int_not_equal(lego_runtime_open(&runtime, NULL, in_folder(state, "nowhere"), &options), LEGO_OK);
    assert_ok(lego_runtime_open(&runtime, NULL, path, &options));
    budget.latency_ms = 1.0;
    assert_fails(LEGO_ENOTFOUND, lego_runtime_set_budget(runtime, &budget));
    assert_fails(LEGO_ENOTFOUND, lego_runtime_adapt(runtime, NULL));
    lego_runtime_free(runtime);
    lego_store_free(store);
}

static void test_runtime__survives_failing_allocations(void **state)
{
    const char *path = in_folder(state, "store");
    lego_store *store = make_small_store(path, 2, 2);
    lego_context *context = single_thread();
    lego_runtime_options options = plain_options();
    lego_budget budget = LEGO_BUDGET_INIT;
    lego_selection *small = NULL, *large = NULL;
    lego_runtime *runtime = NULL;
    float image[IMAGE], answer[SMALL_CLASSES], *output = answer;
    const float *input = image;

    write_small_accuracy(store, 0.01);
    write_small_latency(store, 1000.0, 0.0);
    assert_survives_oom(lego_runtime_open(&runtime, context, path, &options), lego_runtime_free(runtime));
    options.residency = LEGO_RESIDENCY_ON_DEMAND;
    assert_ok(lego_runtime_open(&runtime, context, path, &options));
    assert_ok(lego_selection_parse(&small, store, "all=s0.1"));
    assert_ok(lego_selection_parse(&large, store, NULL));
    assert_survives_oom(lego_runtime_switch(runtime, small), (void)0);
    assert_ok(lego_runtime_switch(runtime, large));
    budget.latency_ms = 2.7;
    assert_survives_oom(lego_runtime_set_budget(runtime, &budget), (void)0);
    lego_runtime_free(runtime);

    /* all-resident: neither inferring nor switching to what is planned allocates */
    options.residency = LEGO_RESIDENCY_ALL;
    assert_ok(lego_runtime_open(&runtime, context, path, &options));
    fill_image(image, 5);
    lg_alloc_fail_after(0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(lego_runtime_switch(runtime, i % 2 ? large : small), LEGO_OK);
        assert_int_equal(lego_runtime_infer(runtime, &input, &output), LEGO_OK);
    }
    assert_false(lg_alloc_fail_after(-1));
    lego_runtime_free(runtime);
    lego_selection_free(small);
    lego_selection_free(large);
    lego_context_free(context);
    lego_store_free(store);
}

/* ---------------------------------------------------------------- memory */

static void test_runtime__on_demand_keeps_less_in_memory(void **state)
{
    rig r = make_rig(state);
    int64_t bytes[2];

    for (int mode = 0; mode < 2; mode++) {
        lego_runtime_options options = plain_options();
        lego_runtime *runtime = NULL;
        lego_runtime_stats now;

        options.residency = (lego_residency)mode;
        assert_ok(lego_runtime_open(&runtime, r.context, r.path, &options));
        for (int i = 0; i < N_SELECTIONS; i++)
            switch_to(runtime, i);
        switch_to(runtime, 0);
        assert_ok(lego_runtime_get_stats(&now, runtime));
        bytes[mode] = (int64_t)(now.weight_bytes + now.arena_bytes);
        lego_runtime_free(runtime);
    }
    assert_true(bytes[0] > bytes[1] + bytes[1] / 3);
    free_rig(&r);
}

/* ---------------------------------------------------------------- budgets */

typedef struct diary {
    int n;
    lego_event_kind last;
    double predicted_ms;
    lego_runtime *runtime; /* asked from inside the callback */
} diary;

static void note_event(const lego_event *event, void *payload)
{
    diary *d = payload;
    lego_runtime_stats now;

    d->n++;
    d->last = event->kind;
    d->predicted_ms = event->predicted.latency_ms;
    if (d->runtime)
        assert_ok(lego_runtime_get_stats(&now, d->runtime));
}

static void test_runtime__budget_chooses_and_switches(void **state)
{
    rig r = make_rig(state);
    lego_runtime_options options = plain_options();
    lego_budget budget = LEGO_BUDGET_INIT;
    lego_runtime *runtime = NULL;
    lego_runtime_stats now;
    diary d = { 0 };

    write_small_accuracy(r.store, 0.01);
    write_small_latency(r.store, 1000.0, 0.0); /* 4 ms the original, 2.8 the smallest */
    options.on_event = note_event;
    options.payload = &d;
    assert_ok(lego_runtime_open(&runtime, r.context, r.path, &options));
    d.runtime = runtime;
    budget.latency_ms = 3.5;
    assert_ok(lego_runtime_set_budget(runtime, &budget));
    assert_int_equal(d.n, 1);
    assert_int_equal(d.last, LEGO_EVENT_SWITCHED);
    assert_near(d.predicted_ms, 3.4, 1e-6, 0.0);
    assert_ok(lego_runtime_get_stats(&now, runtime));
    assert_near(now.predicted_ms, 3.4, 1e-6, 0.0);
    assert_true(now.latency_ms == 0.0);
    assert_ok(lego_runtime_set_budget(runtime, &budget)); /* nothing to do */
    assert_int_equal(d.n, 1);

    budget.latency_ms = 1.0; /* impossible: nothing changes */
    assert_fails(LEGO_EINFEASIBLE, lego_runtime_set_budget(runtime, &budget));
    assert_says("latency limit 1 ms");
    assert_ok(lego_runtime_get_stats(&now, runtime));
    assert_near(now.predicted_ms, 3.4, 1e-6, 0.0);
    assert_near(now.budget.latency_ms, 3.5, 1e-9, 0.0);
    lego_runtime_free(runtime);

    options.relax = 1;
    d.runtime = NULL;
    assert_ok(lego_runtime_open(&runtime, r.context, r.path, &options));
    assert_ok(lego_runtime_set_budget(runtime, &budget));
    assert_int_equal(d.last, LEGO_EVENT_INFEASIBLE);
    assert_ok(lego_runtime_get_stats(&now, runtime));
    assert_near(now.predicted_ms, 2.8, 1e-6, 0.0);
    assert_ok(lego_runtime_set_budget(runtime, NULL)); /* no limits: the original */
    assert_ok(lego_runtime_get_stats(&now, runtime));
    assert_near(now.predicted_ms, 4.0, 1e-6, 0.0);
    lego_runtime_free(runtime);
    free_rig(&r);
}

static int adapt(lego_runtime *runtime, const float *image, int n_inferences)
{
    float answer[SMALL_CLASSES];
    int switched = 0;

    for (int i = 0; i < n_inferences; i++)
        infer(runtime, image, answer);
    assert_ok(lego_runtime_adapt(runtime, &switched));
    return switched;
}

/* The profile says 4 ms where an inference takes a few microseconds: there is slack; then it says less than a microsecond. */
static void test_runtime__adapts_to_what_is_measured(void **state)
{
    rig r = make_rig(state);
    lego_runtime_options options = plain_options();
    lego_budget budget = LEGO_BUDGET_INIT;
    lego_runtime *runtime = NULL;
    lego_runtime_stats now;
    float image[IMAGE];
    diary d = { 0 };

    fill_image(image, 6);
    write_small_accuracy(r.store, 0.01);
    write_small_latency(r.store, 1e6, 0.0); /* seconds */
    options.on_event = note_event;
    options.payload = &d;
    assert_ok(lego_runtime_open(&runtime, r.context, r.path, &options));
    budget.latency_ms = 3000.0;
    assert_ok(lego_runtime_set_budget(runtime, &budget));
    assert_int_equal(d.last, LEGO_EVENT_SWITCHED);
    assert_false(adapt(runtime, image, 3)); /* too few to judge */
    assert_true(adapt(runtime, image, 8));
    assert_int_equal(d.last, LEGO_EVENT_SLACK);
    assert_ok(lego_runtime_get_stats(&now, runtime));
    assert_near(now.accuracy, 0.9, 1e-9, 0.0); /* all originals */
    assert_true(now.adapted_ms < 100.0 && now.predicted_ms > 3000.0);
    assert_false(adapt(runtime, image, 8)); /* and stays there */
    lego_runtime_free(runtime);

    write_small_latency(r.store, 0.1, 0.0);
    assert_ok(lego_runtime_open(&runtime, r.context, r.path, &options));
    budget.latency_ms = 3.99e-4;
    assert_ok(lego_runtime_set_budget(runtime, &budget));
    assert_true(adapt(runtime, image, 8));
    assert_int_equal(d.last, LEGO_EVENT_INFEASIBLE); /* the smallest is all that can be done */
    assert_ok(lego_runtime_get_stats(&now, runtime));
    assert_near(now.predicted_ms, 2.8e-4, 1e-9, 1e-3);
    assert_false(adapt(runtime, image, 8));
    lego_runtime_free(runtime);
    free_rig(&r);
}

static void test_runtime__adapts_in_the_background(void **state)
{
    rig r = make_rig(state);
    lego_runtime_options options = plain_options();
    lego_budget budget = LEGO_BUDGET_INIT;
    lego_runtime *runtime = NULL;
    lego_runtime_stats now;
    float image[IMAGE], answer[SMALL_CLASSES];

    fill_image(image, 7);
    write_small_accuracy(r.store, 0.01);
    write_small_latency(r.store, 1e6, 0.0);
    options.adapt_ms = 5;
    assert_ok(lego_runtime_open(&runtime, r.context, r.path, &options));
    budget.latency_ms = 3000.0;
    assert_ok(lego_runtime_set_budget(runtime, &budget));
    for (int i = 0; i < 2000; i++) {
        infer(runtime, image, answer);
        assert_ok(lego_runtime_get_stats(&now, runtime));
        if (now.n_switches == 2)
            break;
        usleep(1000);
    }
    assert_int_equal(now.n_switches, 2);
    assert_near(now.accuracy, 0.9, 1e-9, 0.0);
    lego_runtime_free(runtime); /* while the thread waits */
    free_rig(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(test_runtime__answers_as_the_composition_does),
        folder_test(test_runtime__fused_engine_answers_alike),
        folder_test(test_runtime__starts_and_prepares_as_told),
        folder_test(test_runtime__every_answer_is_one_compositions),
        folder_test(test_runtime__failed_switch_leaves_the_old_composition_running),
        folder_test(test_runtime__refuses_nonsense),
        folder_test(test_runtime__survives_failing_allocations),
        folder_test(test_runtime__on_demand_keeps_less_in_memory),
        folder_test(test_runtime__budget_chooses_and_switches),
        folder_test(test_runtime__adapts_to_what_is_measured),
        folder_test(test_runtime__adapts_in_the_background),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
