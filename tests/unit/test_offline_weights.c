/* Weights of files into a model by name: what fits, what is missing, prefixes, nested checkpoints, the report. What a .pt
 * file's tensors may look like is tested in test_offline_pt_file.c; tests/cli has a case with files of torch itself. */
#include "support/state_dicts.h"

#include "support/files.h"
#include "tensor/safetensors.h"

static void test_weights__pt_state_dict_is_taken_by_name(void **state)
{
    const char *path = in_folder(state, "w.pt");
    lego_model *model = small_model(1), *other = small_model(2);
    char *text;
    lg_json *report;
    const lg_json *ignored;
    int64_t taken;

    write_state_dict(path, model, "", NULL);
    assert_ok(lego_model_load_weights(&text, other, path, NULL));
    assert_same_weights(model, other);
    assert_ok(lg_json_parse(&report, text, strlen(text), "report"));
    assert_ok(lg_json_check_schema(report, "legodnn.weights/1", "report"));
    assert_ok(lg_json_get_int(&taken, report, "taken", 0, 100, "report"));
    assert_int_equal(taken, model->graph->n_weights);
    assert_ok(lg_json_get_array(&ignored, report, "ignored", "report"));
    assert_int_equal(lg_json_length(ignored), 1);
    lg_json_free(report);
    lego_string_free(text);
    assert_survives_oom(lego_model_load_weights(&text, other, path, NULL), lego_string_free(text));
    lego_model_free(model);
    lego_model_free(other);
}

static void test_weights__state_dict_is_found_in_checkpoints(void **state)
{
    const char *path = in_folder(state, "w.pt");
    lego_model *model = small_model(1), *second = small_model(2), *other = small_model(3);
    lego_weights_options options = LEGO_WEIGHTS_OPTIONS_INIT;
    static const char *const names[][2] = { { "state_dict", "ema" }, { "ema", "state_dict" }, { "ema", "model" } };
    state_dict s;
    char *report;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        start(&s);
        put_op(&s.pickle, '}');
        put_op(&s.pickle, '(');
        put_text(&s.pickle, "epoch");
        put_int(&s.pickle, 100000);
        put_text(&s.pickle, "best");
        put(&s.pickle, "G\x3f\xf0\0\0\0\0\0\0", 9);
        put_text(&s.pickle, "optimizer"); /* {"state": {0: {"step": tensor}}} */
        put(&s.pickle, "}", 1);
        put_text(&s.pickle, "state");
        put(&s.pickle, "}", 1);
        put_int(&s.pickle, 0);
        put(&s.pickle, "}", 1);
        put_text(&s.pickle, "exp_avg");
        put_tensor(&s.pickle, &(pt_view){ "FloatStorage", "0", 4 * 27, 0, 1, 1, { 4 * 27 }, { 1 } });
        put(&s.pickle, "sss", 3);
        put_text(&s.pickle, names[i][0]);
        put_state_dict(&s, strcmp(names[i][0], "ema") == 0 ? second : model, "", NULL);
        s.n_entries--; /* one counter is enough */
        put_text(&s.pickle, names[i][1]);
        put_state_dict(&s, strcmp(names[i][1], "ema") == 0 ? second : model, "", NULL);
        put_op(&s.pickle, 'u');
        finish(&s, path);
        if (i < 2) {
            assert_ok(load(other, path));
        } else {
            assert_fails(LEGO_EINVAL, load(other, path));
            assert_says("'ema', 'model'");
            options.key = "model";
            assert_ok(lego_model_load_weights(NULL, other, path, &options));
        }
        assert_same_weights(other, model);
        options.key = "ema";
        assert_ok(lego_model_load_weights(&report, other, path, &options));
        assert_non_null(strstr(report, "\"ema\""));
        lego_string_free(report);
        assert_same_weights(other, second);
        options.key = "emma";
        assert_fails(LEGO_EFORMAT, lego_model_load_weights(NULL, other, path, &options));
        assert_says("no dictionary 'emma'");
    }
    lego_model_free(model);
    lego_model_free(second);
    lego_model_free(other);
}

static void test_weights__everything_that_does_not_fit_is_named(void **state)
{
    const char *path = in_folder(state, "w.pt");
    lego_model *model = small_model(1), *other = small_model(2), *untouched = small_model(2);
    lego_weights_options options = LEGO_WEIGHTS_OPTIONS_INIT;
    const lg_json *list;
    state_dict s;
    lg_json *report;
    char *text;

    start(&s);
    put_state_dict(&s, model, "", "bn1.bias");
    put_op(&s.pickle, '(');
    put_text(&s.pickle, "stranger");
    put_tensor(&s.pickle, &(pt_view){ "FloatStorage", "0", 4 * 27, 1, 1, 1, { 5 }, { 1 } });
    put_text(&s.pickle, "linear4.bias"); /* a second time is another fault: see below */
    put_tensor(&s.pickle, &(pt_view){ "FloatStorage", "0", 4 * 27, 1, 1, 1, { 6 }, { 1 } });
    put_op(&s.pickle, 'u');
    finish(&s, path);
    assert_fails(LEGO_EFORMAT, load(other, path));
    assert_says("'linear4.bias' stands there twice");

    start(&s);
    put_state_dict(&s, model, "", "linear4.bias");
    put_op(&s.pickle, '(');
    put_text(&s.pickle, "stranger");
    put_tensor(&s.pickle, &(pt_view){ "FloatStorage", "0", 4 * 27, 1, 1, 1, { 5 }, { 1 } });
    put_text(&s.pickle, "linear4.bias");
    put_tensor(&s.pickle, &(pt_view){ "FloatStorage", "0", 4 * 27, 1, 1, 1, { 6 }, { 1 } });
    put_text(&s.pickle, "remark");
    put_text(&s.pickle, "no tensor");
    put_op(&s.pickle, 'u');
    finish(&s, path);
    assert_fails(LEGO_EFORMAT, lego_model_load_weights(&text, other, path, NULL));
    assert_says("1 not in the model: stranger");
    assert_says("linear4.bias is F32 (6), the model has F32 (5)");
    assert_same_weights(other, untouched);
    assert_ok(lg_json_parse(&report, text, strlen(text), "report"));
    assert_ok(lg_json_get_array(&list, report, "missing", "report"));
    assert_int_equal(lg_json_length(list), 0);
    assert_ok(lg_json_get_array(&list, report, "unexpected", "report"));
    assert_int_equal(lg_json_length(list), 1);
    assert_ok(lg_json_get_array(&list, report, "mismatched", "report"));
    assert_int_equal(lg_json_length(list), 1);
    assert_ok(lg_json_get_array(&list, report, "ignored", "report"));
    assert_int_equal(lg_json_length(list), 2);
    lg_json_free(report);
    lego_string_free(text);

    options.partial = 1;
    assert_ok(lego_model_load_weights(NULL, other, path, &options));
    assert_memory_equal(values_of(other, "linear4.bias"), values_of(untouched, "linear4.bias"), 5 * sizeof(float));
    assert_memory_equal(values_of(other, "conv0.weight"), values_of(model, "conv0.weight"), 4 * 27 * sizeof(float));
    lego_model_free(model);
    lego_model_free(other);
    lego_model_free(untouched);
}

static void test_weights__prefix_is_stripped_or_pointed_out(void **state)
{
    const char *path = in_folder(state, "w.pt");
    lego_model *model = small_model(1), *other = small_model(2);
    lego_weights_options options = LEGO_WEIGHTS_OPTIONS_INIT;

    write_state_dict(path, model, "module.net.", NULL);
    assert_fails(LEGO_EFORMAT, load(other, path));
    assert_says("strip 'module.net.'");
    options.partial = 1; /* nothing fits: still a failure */
    assert_fails(LEGO_EFORMAT, lego_model_load_weights(NULL, other, path, &options));
    options.partial = 0;
    options.strip_prefix = "module.net.";
    assert_ok(lego_model_load_weights(NULL, other, path, &options));
    assert_same_weights(model, other);
    lego_model_free(model);
    lego_model_free(other);
}

/* --- safetensors --- */

/* A state_dict of the model with counters, one tensor replaced or left out. */
static void save_safetensors(void **state, const lego_model *model, const char *skip, const lego_tensor *extra)
{
    const lg_graph *graph = model->graph;
    const char *names[MAX_WEIGHTS + 2];
    const lego_tensor *tensors[MAX_WEIGHTS + 2];
    lego_tensor *counter;
    size_t n = 0;

    assert_ok(lego_tensor_create(&counter, LEGO_DTYPE_I64, 0, NULL));
    for (int32_t i = 0; i < graph->n_weights; i++) {
        if (skip && strcmp(graph->weights[i].name, skip) == 0)
            continue;
        names[n] = graph->weights[i].name;
        tensors[n++] = &graph->weights[i].tensor;
    }
    names[n] = "bn1.num_batches_tracked";
    tensors[n++] = counter;
    if (extra) {
        names[n] = skip ? skip : "stranger";
        tensors[n++] = extra;
    }
    assert_ok(lg_safetensors_save(in_folder(state, "w.safetensors"), n, names, tensors, NULL));
    lego_tensor_free(counter);
}

static void test_weights__safetensors_are_taken_by_name(void **state)
{
    const char *path = in_folder(state, "w.safetensors");
    lego_model *model = small_model(1), *other = small_model(2);
    lego_weights_options options = LEGO_WEIGHTS_OPTIONS_INIT;
    lego_tensor *wrong, *half;

    save_safetensors(state, model, NULL, NULL);
    assert_ok(load(other, path));
    assert_same_weights(model, other);

    const lg_buffer *before = other->graph->weights[0].tensor.buffer;
    save_safetensors(state, model, "bn1.bias", NULL);
    assert_fails(LEGO_EFORMAT, load(other, path));
    assert_says("1 missing: bn1.bias");
    assert_ok(lego_tensor_create(&wrong, LEGO_DTYPE_F32, 1, (int64_t[]){ 5 }));
    save_safetensors(state, model, "bn1.bias", wrong);
    assert_fails(LEGO_EFORMAT, load(other, path));
    assert_says("bn1.bias is F32 (5), the model has F32 (4)");
    save_safetensors(state, model, NULL, wrong);
    assert_fails(LEGO_EFORMAT, load(other, path));
    assert_says("1 not in the model: stranger");
    assert_ptr_equal(other->graph->weights[0].tensor.buffer, before);
    assert_ok(lego_tensor_create(&half, LEGO_DTYPE_F16, 1, (int64_t[]){ 4 }));
    ((uint16_t *)lego_tensor_data(half))[2] = 0xc000; /* -2 */
    save_safetensors(state, model, "bn1.bias", half);
    assert_ok(load(other, path));
    assert_true(values_of(other, "bn1.bias")[2] == -2.0f);
    ((uint16_t *)lego_tensor_data(half))[2] = 0x7c00; /* an infinity */
    save_safetensors(state, model, "bn1.bias", half);
    assert_fails(LEGO_EFORMAT, load(other, path));
    assert_says("bn1.bias");

    save_safetensors(state, model, NULL, NULL);
    options.key = "state_dict";
    assert_fails(LEGO_EINVAL, lego_model_load_weights(NULL, other, path, &options));
    assert_fails(LEGO_EINVAL, load(NULL, path));
    assert_fails(LEGO_EINVAL, load(other, NULL));
    assert_survives_oom(load(other, path), (void)0);
    assert_fails(LEGO_ENOTFOUND, load(other, in_folder(state, "absent")));
    lego_tensor_free(wrong);
    lego_tensor_free(half);
    lego_model_free(model);
    lego_model_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(test_weights__pt_state_dict_is_taken_by_name),
        folder_test(test_weights__state_dict_is_found_in_checkpoints),
        folder_test(test_weights__everything_that_does_not_fit_is_named),
        folder_test(test_weights__prefix_is_stripped_or_pointed_out),
        folder_test(test_weights__safetensors_are_taken_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
