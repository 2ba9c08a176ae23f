/* Files and folders. Whatever we write gets a temporary name first and its real one when it is complete and on disk, so
 * that a reader, a full disk or a killed process never sees half a file. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"

struct lg_writer {
    char *path;
    char *temporary; /* NULL: the file was open before and is not ours to name */
    int file;
};

static lego_status out_of_memory(const char *path)
{
    return lg_error(LEGO_ENOMEM, "%s: out of memory", path);
}

lego_status lg_file_read(char **out, size_t *size, const char *path, size_t max_bytes)
{
    char *text = NULL;
    size_t length = 0;
    struct stat info;
    int file = -1;
    lego_status status = LEGO_OK;

    *out = NULL;
    *size = 0;
    file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        LG_FAIL(errno == ENOENT ? LEGO_ENOTFOUND : LEGO_EIO, "%s: cannot open: %s", path, strerror(errno));
    if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode))
        LG_FAIL(LEGO_EIO, "%s: not a regular file", path);
    if (info.st_size < 0 || (uint64_t)info.st_size > max_bytes)
        LG_FAIL(LEGO_EFORMAT, "%s: %lld bytes, more than the %zu allowed", path, (long long)info.st_size, max_bytes);
    text = lg_calloc((size_t)info.st_size + 1, 1);
    if (!text)
        LG_FAIL(LEGO_ENOMEM, "%s: out of memory", path);
    while (length < (size_t)info.st_size) {
        ssize_t got = read(file, text + length, (size_t)info.st_size - length);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            LG_FAIL(LEGO_EIO, "%s: cannot read: %s", path, strerror(errno));
        if (got == 0)
            break;
        length += (size_t)got;
    }
    text[length] = '\0';
    *out = text;
    *size = length;
    text = NULL;
done:
    if (file >= 0)
        close(file);
    lg_free(text);
    return status;
}

static void writer_free(lg_writer *writer)
{
    if (writer->file >= 0)
        close(writer->file);
    lg_free(writer->path);
    lg_free(writer->temporary);
    lg_free(writer);
}

lego_status lg_writer_open(lg_writer **out, const char *path)
{
    lg_writer *writer = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&writer, 1));
    writer->file = -1;
    LG_TRY(LG_STRDUP(&writer->path, path));
    writer->temporary = lg_asprintf("%s.tmp-XXXXXX", path);
    if (!writer->temporary)
        LG_FAIL(LEGO_ENOMEM, "%s: out of memory", path);
    writer->file = mkstemp(writer->temporary);
    if (writer->file < 0)
        LG_FAIL(LEGO_EIO, "%s: cannot create a file beside it: %s", path, strerror(errno));
    if (fchmod(writer->file, 0644) != 0) {
        unlink(writer->temporary);
        LG_FAIL(LEGO_EIO, "%s: cannot set its mode: %s", path, strerror(errno));
    }
    *out = writer;
    writer = NULL;
done:
    if (writer)
        writer_free(writer);
    return status;
}

lego_status lg_writer_open_file(lg_writer **out, int file, const char *what)
{
    lg_writer *writer = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&writer, 1));
    writer->file = -1;
    LG_TRY(LG_STRDUP(&writer->path, what));
    writer->file = fcntl(file, F_DUPFD_CLOEXEC, 0);
    if (writer->file < 0)
        LG_FAIL(LEGO_EIO, "%s: cannot write: %s", what, strerror(errno));
    *out = writer;
    writer = NULL;
done:
    if (writer)
        writer_free(writer);
    return status;
}

lego_status lg_writer_write(lg_writer *writer, const void *data, size_t size)
{
    const char *bytes = data;

    while (size > 0) {
        ssize_t wrote = write(writer->file, bytes, size < (1u << 30) ? size : (1u << 30));

        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return lg_error(LEGO_EIO, "%s: cannot write: %s", writer->path, strerror(errno));
        bytes += wrote;
        size -= (size_t)wrote;
    }
    return LEGO_OK;
}

/* Make a rename durable. A file system that cannot sync folders is not our failure. */
static void sync_parent(const char *path)
{
    char *folder = lg_strdup(path);
    char *slash = folder ? strrchr(folder, '/') : NULL;
    int file;

    if (!folder)
        return;
    if (slash == folder)
        slash[1] = '\0';
    else if (slash)
        *slash = '\0';
    file = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file >= 0) {
        fsync(file);
        close(file);
    }
    lg_free(folder);
}

lego_status lg_writer_commit(lg_writer *writer)
{
    lego_status status = LEGO_OK;
    int file = writer->file;

    writer->file = -1;
    if (writer->temporary && fsync(file) != 0) {
        status = lg_error(LEGO_EIO, "%s: cannot write: %s", writer->path, strerror(errno));
        close(file);
        goto done;
    }
    if (close(file) != 0)
        LG_FAIL(LEGO_EIO, "%s: cannot write: %s", writer->path, strerror(errno));
    if (!writer->temporary)
        goto done;
    if (rename(writer->temporary, writer->path) != 0)
        LG_FAIL(LEGO_EIO, "%s: cannot put the new file in place: %s", writer->path, strerror(errno));
    sync_parent(writer->path);
done:
    if (status != LEGO_OK && writer->temporary)
        unlink(writer->temporary);
    writer_free(writer);
    return status;
}

void lg_writer_abort(lg_writer *writer)
{
    if (!writer)
        return;
    if (writer->temporary)
        unlink(writer->temporary);
    writer_free(writer);
}

lego_status lg_file_write(const char *path, const void *data, size_t size)
{
    lg_writer *writer = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(lg_writer_open(&writer, path));
    LG_TRY(lg_writer_write(writer, data, size));
    status = lg_writer_commit(writer);
    writer = NULL;
done:
    lg_writer_abort(writer);
    return status;
}

int lg_file_exists(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0;
}

int lg_dir_exists(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

lego_status lg_file_size(size_t *out, const char *path)
{
    struct stat info;

    if (stat(path, &info) != 0)
        return lg_error(errno == ENOENT ? LEGO_ENOTFOUND : LEGO_EIO, "%s: %s", path, strerror(errno));
    *out = (size_t)info.st_size;
    return LEGO_OK;
}

lego_status lg_dir_create(const char *path)
{
    char *partial = lg_strdup(path);
    lego_status status = LEGO_OK;

    if (!partial)
        return out_of_memory(path);
    for (char *c = partial + 1; *partial; c++) {
        char end = *c;

        if (end != '/' && end != '\0')
            continue;
        *c = '\0';
        if (mkdir(partial, 0755) != 0 && errno != EEXIST)
            LG_FAIL(LEGO_EIO, "%s: cannot create the folder: %s", partial, strerror(errno));
        *c = end;
        if (end == '\0')
            break;
    }
    if (!lg_dir_exists(path))
        LG_FAIL(LEGO_EIO, "%s: is not a folder", path);
done:
    lg_free(partial);
    return status;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path) != 0 && errno != ENOENT ? -1 : 0; /* another process may be at it, too */
}

lego_status lg_dir_remove(const char *path)
{
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
        return lg_error(LEGO_EIO, "%s: cannot remove the folder: %s", path, strerror(errno));
    return LEGO_OK;
}

/* --- temporary folders ---
 *
 * Their maker holds them with flock() on the folder itself, so that the next one can tell what a killed process has left
 * from work in progress; a process id would not do, ids come again and other containers have their own. */

enum { RANDOM_LETTERS = 6, MAX_TRIES = 100 };

/* Length of `path` without slashes at its end. */
static size_t trimmed(const char *path)
{
    size_t length = strlen(path);

    while (length > 1 && path[length - 1] == '/')
        length--;
    return length;
}

/* Hold a folder if nobody does: its descriptor, or -1. Where the file system has no locks, nothing is ever stale. */
static int hold_folder(const char *path, int *is_held)
{
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    *is_held = folder >= 0 && flock(folder, LOCK_EX | LOCK_NB) == 0;
    return folder;
}

/* Whether `path` is still the folder behind the descriptor. */
static int is_same_folder(int folder, const char *path)
{
    struct stat a, b;

    return fstat(folder, &a) == 0 && lstat(path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

lego_status lg_dir_create_temporary(char **out, int *lock, const char *path)
{
    char *name = NULL;
    int folder = -1;
    lego_status status = LEGO_OK;

    *out = NULL;
    *lock = -1;
    for (int tries = 0;; tries++) {
        int is_held = 0, reason;

        name = lg_asprintf("%.*s.tmp-%ld-XXXXXX", (int)trimmed(path), path, (long)getpid());
        if (!name)
            return out_of_memory(path);
        if (!mkdtemp(name) || chmod(name, 0755) != 0)
            LG_FAIL(LEGO_EIO, "%s: cannot create a folder beside it: %s", path, strerror(errno));
        folder = hold_folder(name, &is_held);
        reason = errno;
        if (folder >= 0 && (is_held || reason != EWOULDBLOCK) && is_same_folder(folder, name))
            break;
        /* unless it cannot be opened, somebody took it for stale before we held it: he removes it, we try again */
        if (tries == MAX_TRIES || (folder < 0 && reason != ENOENT)) {
            (void)rmdir(name);
            LG_FAIL(LEGO_EIO, "%s: cannot hold a folder beside it: %s", path, strerror(reason));
        }
        if (folder >= 0)
            close(folder);
        folder = -1;
        lg_free(name);
        name = NULL;
    }
    *out = name;
    *lock = folder;
    name = NULL;
    folder = -1;
done:
    if (folder >= 0)
        close(folder);
    lg_free(name);
    return status;
}

/* "<base>.tmp-<digits>-<six letters or digits>" */
static int is_temporary(const char *name, const char *base, size_t length)
{
    const char *rest = name + length;
    size_t digits;

    if (strncmp(name, base, length) != 0 || strncmp(rest, ".tmp-", 5) != 0)
        return 0;
    rest += 5;
    digits = strspn(rest, "0123456789");
    return digits > 0 && rest[digits] == '-' && strlen(rest + digits + 1) == RANDOM_LETTERS &&
           strspn(rest + digits + 1, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == RANDOM_LETTERS;
}

static void remove_if_stale(const char *path)
{
    struct stat info;
    int is_held = 0, folder = hold_folder(path, &is_held);

    if (is_held && fstat(folder, &info) == 0 && info.st_uid == geteuid() && is_same_folder(folder, path))
        (void)lg_dir_remove(path);
    if (folder >= 0)
        close(folder);
}

lego_status lg_dir_remove_stale(const char *path)
{
    const size_t length = trimmed(path);
    size_t start = length, n = 0;
    char *folder = NULL, *found = NULL, **names = NULL;
    lego_status status = LEGO_OK;

    while (start > 0 && path[start - 1] != '/')
        start--;
    folder = start > 0 ? lg_asprintf("%.*s", (int)start, path) : lg_strdup(".");
    if (!folder)
        return out_of_memory(path);
    status = lg_dir_list(&names, &n, folder);
    if (status != LEGO_OK && status != LEGO_ENOMEM)
        status = LEGO_OK; /* no such folder, or we may not read it */
    for (size_t i = 0; i < n; i++) {
        if (!is_temporary(names[i], path + start, length - start))
            continue;
        found = lg_path_join(folder, names[i]);
        if (!found)
            LG_FAIL(LEGO_ENOMEM, "%s: out of memory", path);
        remove_if_stale(found);
        lg_free(found);
        found = NULL;
    }
done:
    lg_names_free(names, n);
    lg_free(folder);
    return status;
}

/* Without an exchange on this file system the old folder steps aside, and comes back if the new one cannot take over. */
static lego_status replace_aside(const char *temporary, const char *path)
{
    char *aside = lg_asprintf("%s.old", temporary);
    lego_status status = LEGO_OK;

    if (!aside)
        return out_of_memory(path);
    if (rename(path, aside) != 0)
        LG_FAIL(LEGO_EIO, "%s: cannot move the old folder aside: %s", path, strerror(errno));
    if (rename(temporary, path) != 0) {
        status = lg_error(LEGO_EIO, "%s: cannot put the new folder in place: %s", path, strerror(errno));
        if (rename(aside, path) != 0)
            status = lg_error(LEGO_EIO, "%s: cannot be put back, its content is in %s: %s", path, aside,
                              strerror(errno));
        goto done;
    }
    sync_parent(path);
    status = lg_dir_remove(aside);
done:
    lg_free(aside);
    return status;
}

lego_status lg_dir_replace(const char *temporary, const char *path)
{
    if (rename(temporary, path) == 0) { /* absent, or an empty folder */
        sync_parent(path);
        return LEGO_OK;
    }
    if (errno != ENOTEMPTY && errno != EEXIST)
        return lg_error(LEGO_EIO, "%s: cannot put the new folder in place: %s", path, strerror(errno));
    if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_EXCHANGE) != 0)
        return replace_aside(temporary, path);
    sync_parent(path);
    return lg_dir_remove(temporary); /* holds the old content now */
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

lego_status lg_dir_list(char ***names, size_t *n_names, const char *path)
{
    char **list = NULL;
    size_t n = 0, capacity = 0;
    DIR *folder = opendir(path);
    lego_status status = LEGO_OK;

    *names = NULL;
    *n_names = 0;
    if (!folder)
        LG_FAIL(errno == ENOENT ? LEGO_ENOTFOUND : LEGO_EIO, "%s: cannot open the folder: %s", path, strerror(errno));
    for (;;) {
        struct dirent *entry;

        errno = 0;
        entry = readdir(folder);
        if (!entry && errno)
            LG_FAIL(LEGO_EIO, "%s: cannot read the folder: %s", path, strerror(errno));
        if (!entry)
            break;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        LG_TRY(LG_RESERVE(&list, &capacity, n + 1));
        LG_TRY(LG_STRDUP(&list[n], entry->d_name));
        n++;
    }
    if (n > 0)
        qsort(list, n, sizeof(*list), compare_names);
    *names = list;
    *n_names = n;
    list = NULL;
    n = 0;
done:
    if (folder)
        closedir(folder);
    lg_names_free(list, n);
    return status;
}

void lg_names_free(char **names, size_t n_names)
{
    for (size_t i = 0; i < n_names; i++)
        lg_free(names[i]);
    lg_free(names);
}

char *lg_path_join(const char *folder, const char *name)
{
    size_t n = strlen(folder);

    return lg_asprintf("%s%s%s", folder, n > 0 && folder[n - 1] == '/' ? "" : "/", name);
}

lego_status lg_path_check_relative(const char *name, const char *what)
{
    const char *part = name;

    if (!*name || *name == '/')
        return lg_error(LEGO_EFORMAT, "%s: file name '%s' is not relative", what, name);
    for (;;) {
        size_t length = strcspn(part, "/");

        if (length == 2 && memcmp(part, "..", 2) == 0)
            return lg_error(LEGO_EFORMAT, "%s: file name '%s' leaves the folder", what, name);
        if (part[length] == '\0')
            return LEGO_OK;
        part += length + 1;
    }
}
