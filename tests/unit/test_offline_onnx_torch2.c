/* Files of torch 2.x: ONNX of several opsets, and state dicts, which go into the imported model by name. */
#include "support/torch2.h"

static const char *const files[] = { TORCH2("opset9.onnx"), TORCH2("opset13.onnx"), TORCH2("opset17.onnx"),
                                     TORCH2("opset20.onnx") };

static void test_onnx_torch2__every_opset_computes_what_torch_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        lego_model *model;

        assert_ok(lego_model_import(&model, NULL, files[i], NULL));
        check_against_torch2(model, TORCH2("y.npy"));
        lego_model_free(model);
    }
}

static void test_onnx_torch2__state_dicts_replace_the_weights(void **state)
{
    static const char *const weights[] = { TORCH2("state.pt"), TORCH2("checkpoint.pt") };

    (void)state;
    for (size_t i = 0; i < sizeof(weights) / sizeof(weights[0]); i++) {
        lego_model *model;

        assert_ok(lego_model_import(&model, NULL, files[1], NULL));
        assert_ok(lego_model_load_weights(NULL, model, weights[i], NULL));
        check_against_torch2(model, TORCH2("y_state.npy"));
        lego_model_free(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_onnx_torch2__every_opset_computes_what_torch_does),
        cmocka_unit_test(test_onnx_torch2__state_dicts_replace_the_weights),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
