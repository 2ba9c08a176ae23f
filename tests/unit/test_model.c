/* The public model: files, facts, the "legodnn.model/1" document, errors. */
#include "support/graphs.h"

#include <math.h>

#include "support/files.h"

#include "legodnn/model.h"

static lego_model *small_model(void)
{
    maker m;
    lego_model *model;

    maker_start(&m, 4);
    int32_t x = make_unary(&m, make_bn(&m, make_conv(&m, make_input(&m, 3, 8, 8), 4, 3, 2, 1, 0)), "relu", NULL);
    x = make_linear(&m, make_unary(&m, x, "flatten", NULL), 5);
    assert_ok(lg_model_from_graph(&model, maker_finish(&m, x)));
    return model;
}

static void test_model__round_trip_and_facts(void **state)
{
    lego_model *model = small_model(), *again;
    lego_model_info info, loaded;
    int n_dims;
    int64_t dims[LEGO_MAX_DIMS];

    assert_ok(lego_model_save(model, in_folder(state, "m.safetensors")));
    assert_ok(lego_model_load(&again, NULL, in_folder(state, "m.safetensors")));
    assert_ok(lego_model_get_info(&info, model));
    assert_ok(lego_model_get_info(&loaded, again));
    assert_memory_equal(&info, &loaded, sizeof(info));
    assert_int_equal(info.n_parameters, 4 * 27 + 8 + 5 * 64 + 5);
    assert_int_equal(info.n_macs, 4 * 27 * 16 + 5 * 64);
    assert_int_equal(info.weight_bytes, (4 * 27 + 16 + 5 * 64 + 5) * 4);
    assert_ok(lego_model_input_shape(again, 0, &n_dims, dims));
    assert_int_equal(n_dims, 4);
    assert_true(dims[0] == 1 && dims[1] == 3 && dims[2] == 8 && dims[3] == 8);
    assert_ok(lego_model_output_shape(again, 0, &n_dims, dims));
    assert_true(n_dims == 2 && dims[0] == 1 && dims[1] == 5);
    assert_fails(LEGO_EINVAL, lego_model_output_shape(again, 1, &n_dims, dims));
    assert_fails(LEGO_EINVAL, lego_model_input_shape(again, -1, &n_dims, dims));
    lego_model_free(again);
    lego_model_free(model);
    lego_model_free(NULL);
}

static void test_model__json_alone_is_initialised_from_the_seed(void **state)
{
    lego_model *model = small_model(), *a, *b;
    lego_context *context;

    assert_ok(lego_context_create(&context));
    assert_ok(lego_context_set_seed(context, 7));
    assert_ok(lego_model_save(model, in_folder(state, "m.json")));
    assert_ok(lego_model_load(&a, context, in_folder(state, "m.json")));
    assert_ok(lego_model_load(&b, context, in_folder(state, "m.json")));
    assert_memory_equal(lg_tensor_data(&a->graph->weights[0].tensor), lg_tensor_data(&b->graph->weights[0].tensor),
                        4 * 27 * 4);
    assert_ok(lg_graph_check_finite(a->graph));
    lego_model_free(a);
    lego_model_free(b);
    lego_model_free(model);
    lego_context_free(context);
}

static void test_model__document_says_everything(void **state)
{
    lego_model *model = small_model();
    const lg_json *nodes, *ops;
    lg_json *json;
    char *text;
    int64_t number, macs = 0;

    assert_ok(lego_model_to_json(&text, model, 1));
    assert_ok(lg_json_parse(&json, text, strlen(text), "document"));
    assert_ok(lg_json_check_schema(json, "legodnn.model/1", "document"));
    assert_ok(lg_json_get_array(&nodes, json, "nodes", "document"));
    assert_int_equal(lg_json_length(nodes), 5);
    lg_json_each(node, nodes) {
        assert_ok(lg_json_get_int(&number, node, "macs", 0, INT64_MAX / 2, "node"));
        macs += number;
    }
    assert_ok(lg_json_get_int(&number, json, "macs", 0, INT64_MAX / 2, "document"));
    assert_int_equal(number, macs);
    assert_ok(lg_json_get_object(&ops, json, "ops", "document"));
    assert_ok(lg_json_get_int(&number, ops, "conv2d", 0, 100, "ops"));
    assert_int_equal(number, 1);
    lg_json_free(json);
    lego_string_free(text);
    assert_ok(lego_model_to_json(&text, model, 0));
    assert_null(strstr(text, "\"nodes\""));
    lego_string_free(text);
    lego_model_free(model);
}

static void test_model__bad_files_and_arguments(void **state)
{
    lego_model *model = small_model(), *loaded;
    lego_model_info info;
    char *text;

    assert_fails(LEGO_ENOTFOUND, lego_model_load(&loaded, NULL, in_folder(state, "absent.safetensors")));
    assert_says("absent.safetensors");
    assert_null(loaded);
    assert_fails(LEGO_ENOTFOUND, lego_model_load(&loaded, NULL, in_folder(state, "absent.json")));
    assert_fails(LEGO_EINVAL, lego_model_load(NULL, NULL, "x"));
    assert_fails(LEGO_EINVAL, lego_model_load(&loaded, NULL, NULL));
    assert_fails(LEGO_EINVAL, lego_model_save(NULL, "x"));
    assert_fails(LEGO_EINVAL, lego_model_get_info(&info, NULL));
    assert_fails(LEGO_EINVAL, lego_model_to_json(&text, NULL, 0));
    assert_fails(LEGO_EIO, lego_model_save(model, in_folder(state, "no/such/folder/m.safetensors")));

    ((float *)lg_tensor_data(&model->graph->weights[0].tensor))[5] = NAN;
    assert_ok(lego_model_save(model, in_folder(state, "nan.safetensors")));
    assert_fails(LEGO_EFORMAT, lego_model_load(&loaded, NULL, in_folder(state, "nan.safetensors")));
    assert_says("conv0.weight");
    assert_says("nan.safetensors");
    lego_model_free(model);
}

/* The same file with a header one byte shorter (they end in spaces): legal, and every tensor off its alignment. */
static void test_model__unaligned_files_are_copied(void **state)
{
    lego_model *model = small_model(), *loaded;
    char *data;
    size_t size;

    assert_ok(lego_model_save(model, in_folder(state, "m.safetensors")));
    assert_ok(lg_file_read(&data, &size, in_folder(state, "m.safetensors"), 1 << 20));
    uint64_t header;
    memcpy(&header, data, 8);
    assert_int_equal(data[8 + header - 1], ' '); /* else: another name for the model, another header length */
    memmove(data + 8 + header - 1, data + 8 + header, size - 8 - header);
    header--;
    memcpy(data, &header, 8);
    write_file(*state, "odd.safetensors", data, size - 1);
    assert_ok(lego_model_load(&loaded, NULL, in_folder(state, "odd.safetensors")));
    for (int32_t i = 0; i < model->graph->n_weights; i++) {
        const lego_tensor *tensor = &loaded->graph->weights[i].tensor;
        assert_int_equal((uintptr_t)lg_tensor_data(tensor) % sizeof(float), 0);
        assert_memory_equal(lg_tensor_data(tensor), lg_tensor_data(&model->graph->weights[i].tensor),
                            lg_tensor_bytes(tensor));
    }
    lego_model_free(loaded);
    lego_model_free(model);
    lg_free(data);
}

static void test_model__survives_allocation_failures(void **state)
{
    lego_model *model = small_model(), *loaded;
    char *text;

    assert_ok(lego_model_save(model, in_folder(state, "m.safetensors")));
    assert_survives_oom(lego_model_load(&loaded, NULL, in_folder(state, "m.safetensors")), lego_model_free(loaded));
    assert_survives_oom(lego_model_to_json(&text, model, 1), lego_string_free(text));
    lego_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(test_model__round_trip_and_facts),
        folder_test(test_model__json_alone_is_initialised_from_the_seed),
        cmocka_unit_test(test_model__document_says_everything),
        folder_test(test_model__bad_files_and_arguments),
        folder_test(test_model__unaligned_files_are_copied),
        folder_test(test_model__survives_allocation_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
