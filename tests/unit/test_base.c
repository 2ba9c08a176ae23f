/* base/: status, options, allocation, buffers, strings, random numbers, checksums, context. */
#include "support/support.h"

#include <math.h>

#include "base/buffer.h"
#include "base/context.h"
#include "base/hash.h"
#include "base/rng.h"
#include "base/str.h"

static void test_status__every_code_has_a_name_and_a_text(void **state)
{
#define CHECK(name, value, text)                                              \
    assert_int_equal(LEGO_##name, value);                                     \
    assert_string_equal(lego_status_name((lego_status)(value)), "LEGO_" #name); \
    assert_string_equal(lego_status_text((lego_status)(value)), text);
    LEGO_STATUS_MAP(CHECK)
#undef CHECK
    assert_string_equal(lego_status_name((lego_status)-99), "LEGO_UNKNOWN");
}

static void test_error__message_may_quote_the_old_one_and_stays_one_line(void **state)
{
    assert_int_equal(lg_error(LEGO_EIO, "first"), LEGO_EIO);
    lg_error(LEGO_EIO, "again: %s\nline", lego_last_error());
    assert_string_equal(lego_last_error(), "again: first line");
}

typedef struct { size_t struct_size; int32_t a, b; } options_v1;
typedef struct { size_t struct_size; int32_t a, b; double c; } options_v2;

static void test_options__old_and_new_callers_are_read(void **state)
{
    options_v2 ours = { sizeof(ours), 1, 2, 3.0 };
    options_v1 old = { sizeof(old), 7, 8 };
    options_v1 narrow = { sizeof(narrow), 1, 2 };
    options_v2 newer = { sizeof(newer), 5, 6, 0.0 };

    assert_ok(lg_options_read(&ours, sizeof(ours), NULL));
    assert_ok(lg_options_read(&ours, sizeof(ours), &old));
    assert_true(ours.a == 7 && ours.b == 8 && ours.c == 3.0 && ours.struct_size == sizeof(ours));
    assert_ok(lg_options_read(&narrow, sizeof(narrow), &newer)); /* unknown bytes are zero */
    assert_true(narrow.a == 5 && narrow.struct_size == sizeof(narrow));
    newer.c = 1.0;
    assert_fails(LEGO_EINVAL, lg_options_read(&narrow, sizeof(narrow), &newer));
    newer.struct_size = 0;
    assert_fails(LEGO_EINVAL, lg_options_read(&narrow, sizeof(narrow), &newer));
}

static void test_alloc__overflow_is_refused(void **state)
{
    char *list = NULL;
    size_t capacity = 0;

    assert_null(lg_calloc(SIZE_MAX / 2, 4));
    assert_null(lg_realloc(NULL, SIZE_MAX / 2, 4));
    assert_fails(LEGO_ENOMEM, LG_RESERVE(&list, &capacity, SIZE_MAX));
    assert_ok(LG_RESERVE(&list, &capacity, 100));
    assert_true(capacity >= 100);
    for (size_t i = 0; i < capacity; i++)
        assert_int_equal(list[i], 0);
    lg_free(list);
}

static void test_buffer__mapping_shows_the_file_and_survives_its_replacement(void **state)
{
    const char *path = in_folder(state, "file");
    lg_buffer *buffer, *again;

    assert_ok(lg_file_write(path, "old bytes", 9));
    assert_ok(lg_buffer_map(&buffer, path));
    again = lg_buffer_ref(buffer);
    assert_ok(lg_file_write(path, "new", 3));
    lg_buffer_unref(again);
    assert_int_equal(lg_buffer_size(buffer), 9);
    assert_memory_equal(lg_buffer_data(buffer), "old bytes", 9);
    lg_buffer_unref(buffer);
    assert_fails(LEGO_ENOTFOUND, lg_buffer_map(&buffer, in_folder(state, "absent")));
    assert_says("absent");
    assert_fails(LEGO_EIO, lg_buffer_map(&buffer, *state)); /* a folder */
}

static lego_status build_text(char **out)
{
    lg_str str = LG_STR_INIT;

    for (int i = 0; i < 40; i++)
        lg_str_appendf(&str, "%d,", i);
    lg_str_append(&str, "end");
    return lg_str_finish(out, &str);
}

static void test_str__appends_and_survives_oom(void **state)
{
    char *text;

    assert_ok(build_text(&text));
    assert_true(strncmp(text, "0,1,2,", 6) == 0 && lg_str_ends_with(text, "39,end"));
    lg_free(text);
    assert_survives_oom(build_text(&text), lg_free(text));
}

static void test_rng__streams_differ_and_repeat(void **state)
{
    lg_rng a, b, c;
    int equal = 0;

    lg_rng_init(&a, 42, 0);
    lg_rng_init(&b, 42, 0);
    lg_rng_init(&c, 42, 1);
    for (int i = 0; i < 100; i++) {
        uint64_t x = lg_rng_u64(&a);

        assert_true(x == lg_rng_u64(&b));
        equal += x == lg_rng_u64(&c);
    }
    assert_int_equal(equal, 0);
}

static void test_rng__moments_and_bounds(void **state)
{
    lg_rng rng;
    double sum = 0, squares = 0, uniform = 0;
    int counts[7] = { 0 };
    int64_t items[50];
    int64_t total = 0;

    lg_rng_init(&rng, 1, 2);
    for (int i = 0; i < 70000; i++) {
        double x = lg_rng_normal(&rng), u = lg_rng_uniform(&rng);

        sum += x;
        squares += x * x;
        uniform += u;
        assert_true(u >= 0 && u < 1);
        counts[lg_rng_below(&rng, 7)]++;
    }
    assert_near(sum / 70000, 0.0, 0.02, 0);
    assert_near(squares / 70000, 1.0, 0.03, 0);
    assert_near(uniform / 70000, 0.5, 0.01, 0);
    for (int i = 0; i < 7; i++)
        assert_near(counts[i], 10000, 500, 0);
    for (int i = 0; i < 50; i++)
        items[i] = i;
    lg_rng_shuffle(&rng, items, 50);
    for (int i = 0; i < 50; i++)
        total += items[i];
    assert_int_equal(total, 49 * 25);
}

static void test_hash__published_vector_and_file(void **state)
{
    char text[LG_HASH_TEXT];
    uint64_t hash;

    lg_hash_format(text, lg_hash("", 0, 0)); /* XXH3-64 of nothing, from the algorithm's specification */
    assert_string_equal(text, "2d06800538d394c2");
    assert_ok(lg_file_write(in_folder(state, "f"), "abc", 3));
    assert_ok(lg_hash_file(&hash, in_folder(state, "f")));
    assert_true(hash == lg_hash("abc", 3, 0));
}

static int cancel_at_three(const char *stage, size_t done, size_t total, void *payload)
{
    ++*(int *)payload;
    return done == 3;
}

static void count_line(lego_log_level level, const char *module, const char *message, void *payload)
{
    assert_string_equal(module, "base");
    assert_string_equal(message, "n=5");
    ++*(int *)payload;
}

static void test_context__log_levels_and_cancelling(void **state)
{
    lego_context *context;
    int calls = 0, lines = 0;

    assert_ok(lego_context_create(&context));
    lg_log(context, LEGO_LOG_ERROR, "base", "n=%d", 5); /* silent by default */
    assert_ok(lego_context_set_log(context, LEGO_LOG_INFO, count_line, &lines));
    lg_log(context, LEGO_LOG_INFO, "base", "n=%d", 5);
    lg_log(context, LEGO_LOG_DEBUG, "base", "n=%d", 5);
    assert_int_equal(lines, 1);
    assert_ok(lg_progress(context, "work", 3, 9));
    assert_ok(lego_context_set_progress(context, cancel_at_three, &calls));
    assert_ok(lg_progress(context, "work", 2, 9));
    assert_fails(LEGO_ECANCELED, lg_progress(context, "work", 3, 9));
    assert_says("work");
    assert_fails(LEGO_EINVAL, lego_context_set_threads(context, -1));
    assert_true(lego_context_threads(context) >= 1);
    lego_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status__every_code_has_a_name_and_a_text),
        cmocka_unit_test(test_error__message_may_quote_the_old_one_and_stays_one_line),
        cmocka_unit_test(test_options__old_and_new_callers_are_read),
        cmocka_unit_test(test_alloc__overflow_is_refused),
        folder_test(test_buffer__mapping_shows_the_file_and_survives_its_replacement),
        cmocka_unit_test(test_str__appends_and_survives_oom),
        cmocka_unit_test(test_rng__streams_differ_and_repeat),
        cmocka_unit_test(test_rng__moments_and_bounds),
        folder_test(test_hash__published_vector_and_file),
        cmocka_unit_test(test_context__log_levels_and_cancelling),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
