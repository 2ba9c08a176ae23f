/* base/file: atomic writes, folders, names from untrusted files. */
#include "support/support.h"

#include <signal.h>
#include <sys/resource.h>

static size_t count_entries(const char *path)
{
    char **names;
    size_t n;

    assert_ok(lg_dir_list(&names, &n, path));
    lg_names_free(names, n);
    return n;
}

static void test_file__write_and_read_back(void **state)
{
    char *text;
    size_t size;

    assert_ok(lg_file_write(in_folder(state, "a"), "one\0two", 7));
    assert_ok(lg_file_read(&text, &size, in_folder(state, "a"), 100));
    assert_int_equal(size, 7);
    assert_memory_equal(text, "one\0two", 8);
    lg_free(text);
    assert_fails(LEGO_EFORMAT, lg_file_read(&text, &size, in_folder(state, "a"), 6));
    assert_fails(LEGO_ENOTFOUND, lg_file_read(&text, &size, in_folder(state, "b"), 6));
    assert_fails(LEGO_EIO, lg_file_read(&text, &size, *state, 6));
}

static void test_writer__nothing_visible_before_commit_nor_after_abort(void **state)
{
    lg_writer *writer;

    assert_ok(lg_writer_open(&writer, in_folder(state, "a")));
    assert_ok(lg_writer_write(writer, "half", 4));
    assert_false(lg_file_exists(in_folder(state, "a")));
    lg_writer_abort(writer);
    assert_int_equal(count_entries(*state), 0);
    assert_fails(LEGO_EIO, lg_file_write(in_folder(state, "no/such/folder"), "x", 1));
    assert_says("no/such/folder");
}

/* The kernel refuses bytes past the file size limit just as a full disk does. */
static void test_writer__full_disk_keeps_the_old_file(void **state)
{
    struct rlimit old, low;
    char *text, *large = lg_calloc(1 << 16, 1);
    size_t size;
    lego_status status;

    assert_ok(lg_file_write(in_folder(state, "a"), "old", 3));
    getrlimit(RLIMIT_FSIZE, &old);
    low = old;
    low.rlim_cur = 4096;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    status = lg_file_write(in_folder(state, "a"), large, 1 << 16);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(status, LEGO_EIO);
    assert_says("/a: cannot write");
    assert_ok(lg_file_read(&text, &size, in_folder(state, "a"), 10));
    assert_string_equal(text, "old");
    assert_int_equal(count_entries(*state), 1); /* no temporary file is left */
    lg_free(text);
    lg_free(large);
}

static void test_dir__replace_swaps_a_full_folder(void **state)
{
    char *temporary;
    int lock;

    assert_ok(lg_dir_create(in_folder(state, "x/y/z")));
    assert_ok(lg_dir_create(in_folder(state, "x/y/z")));
    assert_ok(lg_file_write(in_folder(state, "x/old"), "1", 1));
    assert_ok(lg_dir_create_temporary(&temporary, &lock, in_folder(state, "x/")));
    assert_ok(lg_file_write(in_folder(state, "x/old2"), "1", 1));
    {
        char *inside = lg_path_join(temporary, "new");

        assert_ok(lg_file_write(inside, "2", 1));
        lg_free(inside);
    }
    assert_ok(lg_dir_replace(temporary, in_folder(state, "x")));
    close(lock);
    assert_true(lg_file_exists(in_folder(state, "x/new")));
    assert_false(lg_file_exists(in_folder(state, "x/old")));
    assert_int_equal(count_entries(*state), 1);
    lg_free(temporary);
    assert_ok(lg_dir_remove(in_folder(state, "x")));
    assert_ok(lg_dir_remove(in_folder(state, "x"))); /* absent is fine */
    assert_false(lg_dir_exists(in_folder(state, "x")));
    assert_ok(lg_file_write(in_folder(state, "plain"), "1", 1));
    assert_fails(LEGO_EIO, lg_dir_create(in_folder(state, "plain/below")));
}

/* Only what a dead process made for this very path goes: not what is held, nor what a user might have named so. */
static void test_dir__stale_temporaries_go_and_held_ones_stay(void **state)
{
    static const char *const others[] = { "x.tmp-backup", "x.tmp-1-backups", "x.tmp--abcdef", "xx.tmp-1-abcdef",
                                          "x.tmp-1-abcd.f", "x.tmp-1-abcdef.old" };
    char *held, *dead, *inside;
    int lock, gone;

    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        assert_ok(lg_dir_create(in_folder(state, others[i])));
    assert_ok(lg_file_write(in_folder(state, "x.tmp-1-abcdef"), "a file", 6));
    assert_int_equal(symlink(*state, in_folder(state, "x.tmp-2-abcdef")), 0);
    assert_ok(lg_dir_create_temporary(&held, &lock, in_folder(state, "x")));
    assert_ok(lg_dir_create_temporary(&dead, &gone, in_folder(state, "x/")));
    inside = lg_path_join(dead, "blocks/b0");
    assert_ok(lg_dir_create(inside));
    assert_ok(lg_dir_remove_stale(in_folder(state, "x")));
    assert_true(lg_dir_exists(held) && lg_dir_exists(inside));
    close(gone); /* as the kernel does for a process that dies */
    for (long n = 0;; n++) {
        const char *path = in_folder(state, "x///");
        lego_status status;

        lg_alloc_fail_after(n);
        status = lg_dir_remove_stale(path);
        lg_alloc_fail_after(-1);
        if (status == LEGO_OK)
            break;
        assert_fails(LEGO_ENOMEM, status);
    }
    assert_true(lg_dir_exists(held));
    assert_false(lg_dir_exists(dead));
    assert_int_equal(count_entries(*state), sizeof(others) / sizeof(*others) + 3);
    assert_ok(lg_dir_remove_stale(in_folder(state, "no/such/folder")));
    close(lock);
    lg_free(inside);
    lg_free(dead);
    lg_free(held);
}

/* Out of descriptors: an error, and no folder that nobody holds. */
static void test_dir__temporary_that_cannot_be_held_is_not_left(void **state)
{
    const char *path = in_folder(state, "x");
    struct rlimit old, none;
    lego_status status;
    char *temporary;
    int lock;

    getrlimit(RLIMIT_NOFILE, &old);
    none = old;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    status = lg_dir_create_temporary(&temporary, &lock, path);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_fails(LEGO_EIO, status);
    assert_says("cannot hold a folder");
    assert_null(temporary);
    assert_int_equal(lock, -1);
    assert_int_equal(count_entries(*state), 0);
}

static void test_path__names_from_files_cannot_leave_the_folder(void **state)
{
    assert_ok(lg_path_check_relative("blocks/b0/s0.3.safetensors", "manifest"));
    assert_ok(lg_path_check_relative("..name", "manifest"));
    assert_fails(LEGO_EFORMAT, lg_path_check_relative("../x", "manifest"));
    assert_fails(LEGO_EFORMAT, lg_path_check_relative("a/../x", "manifest"));
    assert_fails(LEGO_EFORMAT, lg_path_check_relative("a/..", "manifest"));
    assert_fails(LEGO_EFORMAT, lg_path_check_relative("/etc/passwd", "manifest"));
    assert_fails(LEGO_EFORMAT, lg_path_check_relative("", "manifest"));
    assert_says("manifest");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        folder_test(test_file__write_and_read_back),
        folder_test(test_writer__nothing_visible_before_commit_nor_after_abort),
        folder_test(test_writer__full_disk_keeps_the_old_file),
        folder_test(test_dir__replace_swaps_a_full_folder),
        folder_test(test_dir__stale_temporaries_go_and_held_ones_stay),
        folder_test(test_dir__temporary_that_cannot_be_held_is_not_left),
        cmocka_unit_test(test_path__names_from_files_cannot_leave_the_folder),
    };
    return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
