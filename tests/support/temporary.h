/* A folder for one test's files, gone afterwards. Header-only: each test program is one source. */
#ifndef LG_TEST_SUPPORT_TEMPORARY_H
#define LG_TEST_SUPPORT_TEMPORARY_H

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/file.h"

/* A fresh folder in $TMPDIR; free with temporary_remove(). */
static inline char *temporary_folder(void)
{
    const char *root = getenv("TMPDIR");
    char *path = lg_asprintf("%s/legodnn-test-XXXXXX", root && *root ? root : P_tmpdir);

    if (!path || !mkdtemp(path)) {
        perror("temporary folder");
        abort();
    }
    return path;
}

static inline void temporary_remove(char *path)
{
    (void)lg_dir_remove(path);
    lg_free(path);
}

/* "<folder>/<name>" with its parent folders created; free with lg_free. */
static inline char *temporary_path(const char *folder, const char *name)
{
    char *path = lg_asprintf("%s/%s", folder, name);
    char *slash = NULL;

    if (!path)
        abort();
    for (char *p = path; *p; p++)
        if (*p == '/')
            slash = p;
    *slash = '\0';
    if (lg_dir_create(path) != LEGO_OK)
        abort();
    *slash = '/';
    return path;
}

static inline void temporary_write(const char *folder, const char *name, const void *data, size_t size)
{
    char *path = temporary_path(folder, name);
    FILE *file = fopen(path, "wb");

    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0)
        abort();
    lg_free(path);
}

#endif
