/* TorchScript files in a child process: whatever becomes of it is an error of this process, soon, and leaves nothing behind. */
#include "support/files.h"
#include "support/pt_files.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "legodnn/import.h"

static int n_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(folder);
    while (readdir(folder))
        n++;
    closedir(folder);
    return n;
}

/* An archive that looks like a module, read by the fake module. */
static lego_status import_in_child(void **state, lego_context *context, const char *way, int32_t seconds)
{
    const char *path = in_folder(state, "m.pt");
    lego_import_options options = LEGO_IMPORT_OPTIONS_INIT;
    const int before = n_descriptors();
    lego_model *model;
    lego_status status;

    assert_int_equal(setenv("LEGODNN_TORCH_MODULE", LG_TEST_FAKE_TORCH_MODULE, 1), 0);
    assert_int_equal(setenv("LG_FAKE_TORCH", way, 1), 0);
    write_zip(path, 1, &(pt_entry){ "net/constants.pkl", ").", 2, 0 });
    options.n_input_dims = 4;
    for (int i = 0; i < 4; i++)
        options.input_dims[i] = 3;
    options.in_child = 1;
    options.time_limit_s = seconds;
    options.memory_limit_bytes = 64 << 20;
    status = lego_model_import(&model, context, path, &options);
    assert_null(model);
    assert_int_equal(n_descriptors(), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    assert_int_equal(errno, ECHILD);
    return status;
}

static void test_import_child__crashes_are_errors_that_name_the_file(void **state)
{
    assert_int_equal(import_in_child(state, NULL, "segv", 0), LEGO_ECRASHED);
    assert_says("libtorch crashed on ");
    assert_says("m.pt (signal 11, Segmentation fault)");
    assert_int_equal(import_in_child(state, NULL, "abort", 0), LEGO_ECRASHED);
    assert_says("m.pt (signal 6, Aborted)");
    assert_int_equal(import_in_child(state, NULL, "exit", 0), LEGO_ECRASHED);
    assert_says("m.pt (exit code 7)");
}

static void test_import_child__what_a_taken_over_child_says_is_not_believed(void **state)
{
    assert_int_equal(import_in_child(state, NULL, "babble", 0), LEGO_ECRASHED);
    assert_says("m.pt: its process sends what makes no sense");
    assert_int_equal(import_in_child(state, NULL, "close", 0), LEGO_ECRASHED);
    assert_says("m.pt: its process stopped answering");
}

static void test_import_child__time_and_memory_are_bounded(void **state)
{
    const uint64_t start = lg_clock_ns();

    assert_int_equal(import_in_child(state, NULL, "hang", 1), LEGO_ECRASHED);
    assert_says("m.pt: it was not done after 1 seconds");
    assert_true(lg_clock_ms_since(start) < 10000.0);
    assert_int_equal(import_in_child(state, NULL, "memory", 0), LEGO_ENOMEM);
    assert_says("m.pt: libtorch: out of memory");
    assert_says("67108864 bytes");
}

static int stop_at_once(const char *stage, size_t done, size_t total, void *payload)
{
    (void)stage;
    (void)done;
    (void)total;
    return ++*(int *)payload > 2;
}

static void test_import_child__a_cancelled_import_ends_soon(void **state)
{
    const uint64_t start = lg_clock_ns();
    lego_context *context;
    int n_calls = 0;

    assert_ok(lego_context_create(&context));
    assert_ok(lego_context_set_progress(context, stop_at_once, &n_calls));
    assert_int_equal(import_in_child(state, context, "hang", 0), LEGO_ECANCELED);
    assert_true(lg_clock_ms_since(start) < 10000.0);
    lego_context_free(context);
}

static void test_import_child__errors_and_refusals_come_through(void **state)
{
    lego_import_options options = LEGO_IMPORT_OPTIONS_INIT;
    lego_model *model;

    assert_int_equal(setenv("LEGODNN_TORCH_MODULE", in_folder(state, "absent.so"), 1), 0);
    write_zip(in_folder(state, "m.pt"), 1, &(pt_entry){ "net/constants.pkl", ").", 2, 0 });
    options.n_input_dims = 2;
    options.input_dims[0] = options.input_dims[1] = 1;
    options.in_child = 1;
    assert_fails(LEGO_EUNSUPPORTED, lego_model_import(&model, NULL, in_folder(state, "m.pt"), &options));
    assert_says("absent.so");
    options.time_limit_s = -1;
    assert_fails(LEGO_EINVAL, lego_model_import(&model, NULL, in_folder(state, "m.pt"), &options));
    assert_says("-1 s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(test_import_child__crashes_are_errors_that_name_the_file),
        folder_test(test_import_child__what_a_taken_over_child_says_is_not_believed),
        folder_test(test_import_child__time_and_memory_are_bounded),
        folder_test(test_import_child__a_cancelled_import_ends_soon),
        folder_test(test_import_child__errors_and_refusals_come_through),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
