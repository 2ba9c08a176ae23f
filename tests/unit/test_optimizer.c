/* Budgets against the profiles of a small store: what is chosen, what is said, what the documents hold. */
#include "support/stores.h"

#include <math.h>

#include "legodnn/optimize.h"

#define N_BLOCKS 3
#define N_VARIANTS 4

typedef struct fixture {
    lego_store *store;
    lego_optimizer *optimizer;
} fixture;

/* Latency: frame 1000 us, variant v of a block 1000 * (1 - 0.2 v) us; memory: 10000 + 1000 * (10 - v) a block. */
static fixture make_fixture(void **state, double margin)
{
    fixture f;

    f.store = make_small_store(in_folder(state, "store"), N_BLOCKS, N_VARIANTS);
    write_small_accuracy(f.store, 0.01);
    write_small_latency(f.store, 1000.0, margin);
    assert_ok(lego_optimizer_create(&f.optimizer, NULL, f.store, NULL));
    return f;
}

static void drop_fixture(fixture *f)
{
    lego_optimizer_free(f->optimizer);
    lego_store_free(f->store);
}

static void test_optimizer__takes_the_cheapest_selection_within_the_limits(void **state)
{
    fixture f = make_fixture(state, 0.0);

    for (int solver = 0; solver < 2; solver++)
        for (int tenths = 24; tenths <= 41; tenths++) {
            lego_budget budget = LEGO_BUDGET_INIT;
            lego_solve_options options = LEGO_SOLVE_OPTIONS_INIT;
            lego_solution *solution = NULL;
            lego_prediction prediction;
            double best = 1.0;
            lego_status status;

            budget.latency_ms = 0.1 * tenths;
            options.solver = (lego_solver)solver;
            for (int i = 0; i < N_VARIANTS * N_VARIANTS * N_VARIANTS; i++) {
                int v[3] = { i % 4, i / 4 % 4, i / 16 };
                double ms = 4.0 - 0.2 * (v[0] + v[1] + v[2]), drop = 0.01 * (v[0] + 2 * v[1] + 3 * v[2]);

                if (ms < budget.latency_ms + 1e-9 && drop < best)
                    best = drop;
            }
            budget.latency_ms += 1e-7;
            status = lego_optimizer_solve(&solution, f.optimizer, &budget, &options);
            if (status == LEGO_EUNSUPPORTED)
                break; /* built without GLPK */
            assert_ok(status);
            assert_int_equal(lego_solution_get_status(solution), LEGO_SOLUTION_OPTIMAL);
            assert_ok(lego_solution_prediction(&prediction, solution, 0));
            assert_near(prediction.accuracy_drop, best, 1e-9, 0.0);
            assert_near(prediction.accuracy, 0.9 - best, 1e-9, 0.0);
            assert_true(prediction.latency_ms <= budget.latency_ms);
            lego_solution_free(solution);
        }
    drop_fixture(&f);
}

static void test_optimizer__predicts_any_selection(void **state)
{
    fixture f = make_fixture(state, 0.0);
    lego_selection *selection = NULL;
    lego_prediction prediction;

    assert_ok(lego_selection_parse(&selection, f.store, "b0=s0.3,b2=s0.1"));
    assert_ok(lego_optimizer_predict(&prediction, f.optimizer, selection));
    assert_near(prediction.latency_ms, 4.0 - 0.2 * 4, 1e-9, 0.0);
    assert_near(prediction.accuracy, 0.9 - 0.03 - 0.03, 1e-9, 0.0);
    assert_int_equal(prediction.memory_bytes, 10000 + 30000 - 4000);
    assert_true(prediction.flops > 0);
    assert_ok(lego_selection_set(selection, 1, 9));
    assert_fails(LEGO_EINVAL, lego_optimizer_predict(&prediction, f.optimizer, selection));
    assert_says("b1");
    lego_selection_free(selection);
    drop_fixture(&f);
}

static void test_optimizer__keeps_the_margin(void **state)
{
    fixture f = make_fixture(state, 0.05);
    lego_budget budget = LEGO_BUDGET_INIT;
    lego_solution *solution = NULL;
    lego_prediction prediction;

    budget.latency_ms = 3.7;
    assert_ok(lego_optimizer_solve(&solution, f.optimizer, &budget, NULL));
    assert_ok(lego_solution_prediction(&prediction, solution, 0));
    assert_near(prediction.latency_ms, 3.4, 1e-6, 0.0); /* 3.6 * 1.05 is too long */
    lego_solution_free(solution);
    drop_fixture(&f);
}

static void test_optimizer__infeasible_budget_names_the_limit_and_the_nearest(void **state)
{
    fixture f = make_fixture(state, 0.05);
    lego_budget budget = LEGO_BUDGET_INIT, nearest = LEGO_BUDGET_INIT;
    lego_solve_options options = LEGO_SOLVE_OPTIONS_INIT;
    lego_solution *solution = (lego_solution *)&f;
    char *document = NULL;
    lg_json *json = NULL;
    const lg_json *part;

    budget.latency_ms = 2.0; /* the fastest takes 2.2 * 1.05 */
    assert_fails(LEGO_EINFEASIBLE, lego_optimizer_solve(&solution, f.optimizer, &budget, NULL));
    assert_null(solution);
    assert_says("latency limit 2 ms");
    assert_says("2.31");
    assert_says("15.5 % more");
    budget.latency_ms = 0.0;
    budget.memory_bytes = 10000;
    assert_fails(LEGO_EINFEASIBLE, lego_optimizer_solve(&solution, f.optimizer, &budget, NULL));
    assert_says("memory limit 10000 bytes"); /* 31000 bytes at least */
    assert_says("30.28 KiB");
    assert_fails(LEGO_EINFEASIBLE, lego_optimizer_pareto(&solution, f.optimizer, &budget, 0));

    /* the document's nearest budget works, and is what --relax takes */
    budget.latency_ms = 2.0;
    assert_ok(lego_optimizer_explain(&document, f.optimizer, &budget));
    assert_ok(lg_json_parse(&json, document, strlen(document), "document"));
    assert_ok(lg_json_check_schema(json, "legodnn.selection/1", "document"));
    assert_false(lg_json_has(json, "selection"));
    assert_ok(lg_json_get_object(&part, json, "nearest", "document"));
    assert_ok(lg_json_get_double(&nearest.latency_ms, part, "latency_ms", "nearest"));
    assert_ok(lg_json_get_int(&nearest.memory_bytes, part, "memory_bytes", 0, 100000, "nearest"));
    assert_ok(lego_optimizer_solve(&solution, f.optimizer, &nearest, NULL));
    assert_int_equal(lego_solution_get_status(solution), LEGO_SOLUTION_OPTIMAL);
    lego_solution_free(solution);
    options.relax = 1;
    assert_ok(lego_optimizer_solve(&solution, f.optimizer, &budget, &options));
    assert_int_equal(lego_solution_get_status(solution), LEGO_SOLUTION_RELAXED);
    lego_solution_free(solution);
    lg_json_free(json);
    lego_string_free(document);
    assert_fails(LEGO_EINVAL, lego_optimizer_explain(&document, f.optimizer, &nearest));
    assert_null(document);
    drop_fixture(&f);
}

static void test_optimizer__k_best_and_frontier_are_ordered(void **state)
{
    fixture f = make_fixture(state, 0.0);
    lego_budget budget = LEGO_BUDGET_INIT;
    lego_solve_options options = LEGO_SOLVE_OPTIONS_INIT;
    lego_solution *solution = NULL;
    lego_prediction last = { 0 }, next;
    char *document = NULL;
    lg_json *json = NULL;

    budget.latency_ms = 3.5;
    options.k = 5;
    assert_ok(lego_optimizer_solve(&solution, f.optimizer, &budget, &options));
    assert_int_equal(lego_solution_n_selections(solution), 5);
    for (int32_t i = 0; i < 5; i++) {
        assert_ok(lego_solution_prediction(&next, solution, i));
        assert_true(i == 0 || next.accuracy_drop >= last.accuracy_drop - 1e-9);
        last = next;
    }
    assert_ok(lego_solution_to_json(&document, solution));
    assert_ok(lg_json_parse(&json, document, strlen(document), "document"));
    assert_true(lg_json_has(json, "alternatives"));
    lg_json_free(json);
    lego_string_free(document);
    lego_solution_free(solution);

    /* every point of this store has its own latency, which memory follows */
    assert_ok(lego_optimizer_pareto(&solution, f.optimizer, NULL, 0));
    assert_int_equal(lego_solution_n_selections(solution), 10);
    assert_null(lego_solution_selection(solution, 10));
    for (int32_t i = 1; i < 10; i++) {
        assert_ok(lego_solution_prediction(&last, solution, i - 1));
        assert_ok(lego_solution_prediction(&next, solution, i));
        assert_true(next.accuracy_drop > last.accuracy_drop && next.latency_ms < last.latency_ms);
    }
    lego_solution_free(solution);
    drop_fixture(&f);
}

static void test_optimizer__documents_give_the_selection_back(void **state)
{
    fixture f = make_fixture(state, 0.0);
    lego_budget budget = LEGO_BUDGET_INIT;
    lego_solution *solution = NULL;
    lego_selection *selection = NULL;
    const char *path = in_folder(state, "selection.json");
    char *document = NULL;

    budget.latency_ms = 3.0;
    assert_ok(lego_optimizer_solve(&solution, f.optimizer, &budget, NULL));
    assert_ok(lego_solution_to_json(&document, solution));
    assert_ok(lg_file_write(path, document, strlen(document)));
    assert_ok(lego_selection_parse(&selection, f.store, path));
    for (int32_t b = 0; b < N_BLOCKS; b++)
        assert_int_equal(lego_selection_variant(selection, b),
                         lego_selection_variant(lego_solution_selection(solution, 0), b));
    lego_selection_free(selection);
    lego_string_free(document);
    lego_solution_free(solution);
    drop_fixture(&f);
}

static void test_optimizer__missing_profiles_say_what_to_run(void **state)
{
    lego_store *store = make_small_store(in_folder(state, "store"), 2, 2);
    lego_optimizer *optimizer = NULL;
    lego_solution *solution = NULL;
    lego_budget budget = LEGO_BUDGET_INIT;
    lego_prediction prediction;

    assert_fails(LEGO_ENOTFOUND, lego_optimizer_create(&optimizer, NULL, store, NULL));
    assert_says("legodnn profile STORE --data");
    write_small_accuracy(store, 0.01);
    assert_ok(lego_optimizer_create(&optimizer, NULL, store, NULL));
    budget.latency_ms = 1.0;
    assert_fails(LEGO_ENOTFOUND, lego_optimizer_solve(&solution, optimizer, &budget, NULL));
    assert_says("--latency");
    budget.latency_ms = 0.0;
    budget.memory_bytes = 1 << 20;
    assert_ok(lego_optimizer_solve(&solution, optimizer, &budget, NULL)); /* stored bytes do */
    assert_ok(lego_solution_prediction(&prediction, solution, 0));
    assert_true(isnan(prediction.latency_ms) && prediction.memory_bytes > 0);
    lego_solution_free(solution);
    budget.latency_ms = NAN;
    assert_fails(LEGO_EINVAL, lego_optimizer_solve(&solution, optimizer, &budget, NULL));
    lego_optimizer_free(optimizer);
    lego_store_free(store);
}

/* Every key of the profiles with a wrong value, and every prefix of the file: an error, never a crash. */
static void test_optimizer__survives_damaged_profiles(void **state)
{
    static const char *const damaged[][2] = {
        { "\"accuracy\":0.9", "\"accuracy\":1.5" },
        { "\"link\":\"identity\"", "\"link\":\"cubic\"" },
        { "\"cost\":0.01", "\"cost\":1e9" },
        { "\"cost\":0.01", "\"cost\":\"x\"" },
        { "\"name\":\"s0.1\"", "\"name\":\"s0\"" },
        { "\"name\":\"s0.1\"", "\"name\":\"s0.9\"" },
        { "\"name\":\"b1\"", "\"name\":\"b0\"" },
        { "legodnn.profile/1", "legodnn.profile/2" },
        { "\"server\"", "\"served\"" },
    };
    lego_store *store = make_small_store(in_folder(state, "store"), 2, 2);
    char *path = lg_path_join(lego_store_path(store), LEGO_PROFILE_SERVER_FILE), *text = NULL;
    lego_optimizer *optimizer = NULL;
    size_t size = 0;

    write_small_accuracy(store, 0.01);
    assert_ok(lg_file_read(&text, &size, path, 1 << 20));
    for (size_t i = 0; i < sizeof(damaged) / sizeof(*damaged); i++) {
        const char *at = strstr(text, damaged[i][0]);
        lg_str changed = LG_STR_INIT;

        assert_non_null(at);
        lg_str_append_n(&changed, text, (size_t)(at - text));
        lg_str_append(&changed, damaged[i][1]);
        lg_str_append(&changed, at + strlen(damaged[i][0]));
        assert_ok(lg_file_write(path, changed.text, changed.length));
        lg_str_dispose(&changed);
        assert_int_not_equal(lego_optimizer_create(&optimizer, NULL, store, NULL), LEGO_OK);
        assert_null(optimizer);
    }
    for (size_t n = 0; n < size; n += 7) {
        assert_ok(lg_file_write(path, text, n));
        assert_fails(LEGO_EFORMAT, lego_optimizer_create(&optimizer, NULL, store, NULL));
    }
    lg_free(text);
    lg_free(path);
    lego_store_free(store);
}

static void test_optimizer__survives_failing_allocations(void **state)
{
    fixture f = make_fixture(state, 0.0);
    lego_budget budget = LEGO_BUDGET_INIT;
    lego_solve_options options = LEGO_SOLVE_OPTIONS_INIT;
    lego_optimizer *optimizer = NULL;
    lego_solution *solution = NULL;
    char *document = NULL;

    assert_survives_oom(lego_optimizer_create(&optimizer, NULL, f.store, NULL), lego_optimizer_free(optimizer));
    budget.latency_ms = 3.0;
    options.k = 3;
    assert_survives_oom(lego_optimizer_solve(&solution, f.optimizer, &budget, &options), lego_solution_free(solution));
    assert_survives_oom(lego_optimizer_pareto(&solution, f.optimizer, &budget, 0), lego_solution_free(solution));
    budget.latency_ms = 1.0;
    options.relax = 1;
    assert_survives_oom(lego_optimizer_solve(&solution, f.optimizer, &budget, &options), lego_solution_free(solution));
    assert_survives_oom(lego_optimizer_explain(&document, f.optimizer, &budget), lego_string_free(document));
    drop_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(test_optimizer__takes_the_cheapest_selection_within_the_limits),
        folder_test(test_optimizer__predicts_any_selection),
        folder_test(test_optimizer__keeps_the_margin),
        folder_test(test_optimizer__infeasible_budget_names_the_limit_and_the_nearest),
        folder_test(test_optimizer__k_best_and_frontier_are_ordered),
        folder_test(test_optimizer__documents_give_the_selection_back),
        folder_test(test_optimizer__missing_profiles_say_what_to_run),
        folder_test(test_optimizer__survives_damaged_profiles),
        folder_test(test_optimizer__survives_failing_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
