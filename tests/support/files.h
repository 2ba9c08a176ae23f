/* Writing files into a test's folder. */
#ifndef LG_TESTS_FILES_H
#define LG_TESTS_FILES_H

#include "support/support.h"

/* "<folder>/<name>" with its parent folders created; free with lg_free. */
static inline char *path_in(const char *folder, const char *name)
{
    char *path = lg_asprintf("%s/%s", folder, name);
    char *slash = strrchr(path, '/');

    *slash = '\0';
    assert_ok(lg_dir_create(path));
    *slash = '/';
    return path;
}

static inline void write_file(const char *folder, const char *name, const void *data, size_t size)
{
    char *path = path_in(folder, name);
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    lg_free(path);
}

#endif
