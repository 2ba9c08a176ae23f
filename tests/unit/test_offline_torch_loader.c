/* torch/module.c: a module that is missing, no library, no module or of another version is one clear error. */
#include "support/support.h"

#include "legodnn/torch.h"
#include "torch/torch.h"

static void use(const char *path)
{
    assert_int_equal(setenv("LEGODNN_TORCH_MODULE", path, 1), 0);
}

static void test_torch_loader__a_missing_module_says_what_to_install(void **state)
{
    const lg_torch_api *api;

    use(in_folder(state, "absent.so"));
    assert_fails(LEGO_EUNSUPPORTED, lg_torch_load(&api));
    assert_null(api);
    assert_says("absent.so");
    assert_says("LEGODNN_WITH_TORCH=ON");
    assert_says("libtorch-dev");
    assert_fails(LEGO_EUNSUPPORTED, lego_torch_require(NULL, NULL));
}

static void test_torch_loader__a_file_that_is_no_library_is_refused(void **state)
{
    const lg_torch_api *api;

    assert_ok(lg_file_write(in_folder(state, "text.so"), "not a library", 13));
    use(in_folder(state, "text.so"));
    assert_fails(LEGO_EUNSUPPORTED, lg_torch_load(&api));
    assert_says("text.so");
}

static void test_torch_loader__a_library_without_the_entry_is_refused(void **state)
{
    const lg_torch_api *api;

    use(LG_TEST_OTHER_LIBRARY);
    assert_fails(LEGO_EUNSUPPORTED, lg_torch_load(&api));
    assert_says("lg_torch_api_get");
}

static void test_torch_loader__another_version_is_refused(void **state)
{
    const lg_torch_api *api;

    use(LG_TEST_FAKE_TORCH_MODULE);
    assert_fails(LEGO_EUNSUPPORTED, lg_torch_load(&api));
    assert_null(api);
    assert_says("another version");
    assert_says("99");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(test_torch_loader__a_missing_module_says_what_to_install),
        folder_test(test_torch_loader__a_file_that_is_no_library_is_refused),
        cmocka_unit_test(test_torch_loader__a_library_without_the_entry_is_refused),
        cmocka_unit_test(test_torch_loader__another_version_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
