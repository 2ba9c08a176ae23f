/* TorchScript files of torch 2.x, read by whichever libtorch is installed. */
#include "support/torch2.h"

static void test_script_torch2__scripted_and_traced_files_are_read(void **state)
{
    static const char *const files[] = { TORCH2("scripted.pt"), TORCH2("traced.pt") };

    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        lego_import_options options = LEGO_IMPORT_OPTIONS_INIT;
        lego_model *model;

        options.n_input_dims = 4;
        options.input_dims[0] = 1;
        options.input_dims[1] = 3;
        options.input_dims[2] = options.input_dims[3] = 8;
        assert_ok(lego_model_import(&model, NULL, files[i], &options));
        check_against_torch2(model, TORCH2("y.npy"));
        assert_ok(lego_model_load_weights(NULL, model, TORCH2("state.pt"), NULL));
        check_against_torch2(model, TORCH2("y_state.npy"));
        lego_model_free(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_script_torch2__scripted_and_traced_files_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
