/* base/json: strict reading, exact numbers, building. */
#include "support/support.h"

#include <math.h>

#include "base/json.h"

static lg_json *parse(const char *text)
{
    lg_json *json = NULL;

    assert_ok(lg_json_parse(&json, text, strlen(text), "text"));
    return json;
}

static void test_json__malformed_documents_are_refused(void **state)
{
    const char *bad[] = { "", "{", "{\"a\":}", "[1,2", "{} x", "nul", "{\"a\" 1}" };
    lg_json *json;

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_fails(LEGO_EFORMAT, lg_json_parse(&json, bad[i], strlen(bad[i]), "doc"));
        assert_says("doc");
        assert_null(json);
    }
}

static void test_json__deep_nesting_is_refused_not_a_crash(void **state)
{
    char *deep = lg_calloc(200001, 1);
    lg_json *json;

    memset(deep, '[', 200000);
    assert_fails(LEGO_EFORMAT, lg_json_parse(&json, deep, 200000, "deep"));
    lg_free(deep);
}

static void test_json__getters_check_kind_and_range(void **state)
{
    lg_json *json = parse("{\"i\": 5, \"d\": 1.5, \"s\": \"x\", \"b\": true, \"a\": [1,2], \"o\": {}, \"big\": 1e300}");
    const lg_json *item;
    const char *text;
    int64_t i;
    double d;
    int b;

    assert_ok(lg_json_get_int(&i, json, "i", 0, 10, "doc"));
    assert_int_equal(i, 5);
    assert_fails(LEGO_EFORMAT, lg_json_get_int(&i, json, "i", 6, 10, "doc"));
    assert_says("[6, 10]");
    assert_fails(LEGO_EFORMAT, lg_json_get_int(&i, json, "d", 0, 10, "doc"));
    assert_fails(LEGO_EFORMAT, lg_json_get_int(&i, json, "big", INT64_MIN, INT64_MAX, "doc"));
    assert_fails(LEGO_EFORMAT, lg_json_get_int(&i, json, "s", 0, 10, "doc"));
    assert_fails(LEGO_EFORMAT, lg_json_get_string(&text, json, "i", "doc"));
    assert_fails(LEGO_EFORMAT, lg_json_get_string(&text, json, "absent", "doc"));
    assert_says("'absent' is missing");
    assert_ok(lg_json_get_double(&d, json, "d", "doc"));
    assert_true(d == 1.5);
    assert_ok(lg_json_get_bool(&b, json, "b", "doc"));
    assert_int_equal(b, 1);
    assert_ok(lg_json_get_array(&item, json, "a", "doc"));
    assert_int_equal(lg_json_length(item), 2);
    assert_fails(LEGO_EFORMAT, lg_json_get_object(&item, json, "a", "doc"));
    assert_ok(lg_json_get_int_or(&i, json, "absent", 9, 0, 10, "doc"));
    assert_int_equal(i, 9);
    lg_json_free(json);
}

static lego_status build(lg_json **out)
{
    lg_json *root = NULL, *list, *item;
    lego_status status = LEGO_OK;

    LG_TRY(lg_json_create_object(&root));
    LG_TRY(lg_json_set_string(root, "schema", "legodnn.test/1"));
    LG_TRY(lg_json_set_int(root, "int", 9007199254740992));
    LG_TRY(lg_json_set_double(root, "nan", NAN));
    LG_TRY(lg_json_set_array(&list, root, "list"));
    LG_TRY(lg_json_push_object(&item, list));
    LG_TRY(lg_json_set_double(item, "x", 0.1));
    LG_TRY(lg_json_push_string(list, "s"));
    *out = root;
    root = NULL;
done:
    lg_json_free(root);
    return status;
}

static void test_json__built_documents_read_back(void **state)
{
    lg_json *json, *again;
    int64_t i;
    double d;

    assert_ok(build(&json));
    assert_ok(lg_json_save(json, in_folder(state, "doc.json")));
    assert_ok(lg_json_load(&again, in_folder(state, "doc.json")));
    assert_ok(lg_json_check_schema(again, "legodnn.test/1", "doc"));
    assert_fails(LEGO_EFORMAT, lg_json_check_schema(again, "legodnn.other/1", "doc"));
    assert_ok(lg_json_get_int(&i, again, "int", 0, INT64_MAX, "doc"));
    assert_true(i == 9007199254740992);
    assert_fails(LEGO_EFORMAT, lg_json_get_double(&d, again, "nan", "doc"));
    {
        const lg_json *list;

        assert_ok(lg_json_get_array(&list, again, "list", "doc"));
        assert_ok(lg_json_get_double(&d, lg_json_item(list, 0), "x", "doc"));
        assert_true(d == 0.1);
    }
    lg_json_free(json);
    lg_json_free(again);
    assert_survives_oom(build(&json), lg_json_free(json));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json__malformed_documents_are_refused),
        cmocka_unit_test(test_json__deep_nesting_is_refused_not_a_crash),
        cmocka_unit_test(test_json__getters_check_kind_and_range),
        folder_test(test_json__built_documents_read_back),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
