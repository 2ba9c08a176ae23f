/* Files: whole reads, atomic writes (temporary name, fsync, rename), folders. Every error names the path. */
#ifndef LG_BASE_FILE_H
#define LG_BASE_FILE_H

#include <stdio.h>

#include "base/status.h"

/* Whole file, NUL-terminated one past the end; free with lg_free. Larger than `max_bytes` is LEGO_EFORMAT. */
lego_status lg_file_read(char **out, size_t *size, const char *path, size_t max_bytes);
lego_status lg_file_write(const char *path, const void *data, size_t size); /* atomic */

/* Streamed atomic write: nothing is visible at `path` before lg_writer_commit(). */
typedef struct lg_writer lg_writer;
lego_status lg_writer_open(lg_writer **out, const char *path);
/* Into a file that is open, from where it stands; it stays open. `what` is its name in messages. */
lego_status lg_writer_open_file(lg_writer **out, int file, const char *what);
lego_status lg_writer_write(lg_writer *writer, const void *data, size_t size);
lego_status lg_writer_commit(lg_writer *writer); /* fsync, rename; frees the writer either way */
void lg_writer_abort(lg_writer *writer);         /* removes the temporary file, if there is one; NULL is a no-op */

int lg_file_exists(const char *path);
int lg_dir_exists(const char *path);
lego_status lg_file_size(size_t *out, const char *path);
lego_status lg_dir_create(const char *path);      /* with parents; existing is fine */
lego_status lg_dir_remove(const char *path);      /* the whole tree; absent is fine */
/* Create a fresh sibling folder "<path>.tmp-<process>-XXXXXX"; free the name with lg_free. *lock, to be closed when the
 * folder has been put in place or removed, holds it (flock): it goes with the process, however that ends. */
lego_status lg_dir_create_temporary(char **out, int *lock, const char *path);
/* Remove the temporary folders beside `path` that nobody holds: what killed processes have left. What cannot be removed
 * stays; only lack of memory is an error. */
lego_status lg_dir_remove_stale(const char *path);
/* Put a finished folder in place of `path` (which may exist): exchanged in one step where the system can. */
lego_status lg_dir_replace(const char *temporary, const char *path);
/* Sorted names in a folder, without "." and ".."; free with lg_names_free(). */
lego_status lg_dir_list(char ***names, size_t *n_names, const char *path);
void lg_names_free(char **names, size_t n_names);
/* "a/b" from "a" and "b"; NULL when out of memory; free with lg_free. */
char *lg_path_join(const char *folder, const char *name);
/* LEGO_EFORMAT unless `name` is relative and has no "..": for names that come from files. */
lego_status lg_path_check_relative(const char *name, const char *what);

#endif
