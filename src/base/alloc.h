/* Checked allocation. Every byte the library owns comes from here, so that tests can let the n-th allocation fail. */
#ifndef LG_BASE_ALLOC_H
#define LG_BASE_ALLOC_H

#include "base/status.h"

/* Zero-filled; NULL on overflow or when out of memory. n or size 0 gives a valid unique pointer. */
void *lg_calloc(size_t n, size_t size);
/* Grow or shrink to n * size bytes; the old block survives a failure. New bytes are not cleared. */
void *lg_realloc(void *ptr, size_t n, size_t size);
/* Not cleared, aligned to 64 bytes; free with lg_free_aligned(). */
void *lg_alloc_aligned(size_t bytes);
void lg_free(void *ptr);
void lg_free_aligned(void *ptr);
char *lg_strdup(const char *text);
char *lg_strndup(const char *text, size_t n);
char *lg_asprintf(const char *fmt, ...) LG_PRINTF(1, 2);

/* `*ptr = calloc(n, sizeof **ptr)` as a status, for LG_TRY. */
#define LG_CALLOC(ptr, n) lg_calloc_into((void **)(ptr), (size_t)(n), sizeof(**(ptr)))
#define LG_STRDUP(ptr, text) lg_strdup_into((ptr), (text))
lego_status lg_calloc_into(void **ptr, size_t n, size_t size);
lego_status lg_strdup_into(char **ptr, const char *text);

/* Make room for `need` elements of an array kept as pointer + capacity (doubling). */
#define LG_RESERVE(array, capacity, need)                                     \
    lg_reserve((void **)(array), (capacity), (size_t)(need), sizeof(**(array)))
lego_status lg_reserve(void **array, size_t *capacity, size_t need, size_t size);

/* Tests only: let this thread's n-th allocation from now on (0 = the next) and all after it fail; -1 = never.
 * Returns whether a failure was delivered since the last call. */
int lg_alloc_fail_after(long n);

#endif
