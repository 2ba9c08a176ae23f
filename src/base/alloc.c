/* Checked allocation with a per-thread failure counter for tests.
 *
 * The counter is thread-local, so it is not a global that handles share; in production it costs one comparison. */
#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local long fail_countdown = -1;
static _Thread_local int failure_delivered;

int lg_alloc_fail_after(long n)
{
    int delivered = failure_delivered;

    fail_countdown = n;
    failure_delivered = 0;
    return delivered;
}

static int must_fail(void)
{
    if (fail_countdown < 0)
        return 0;
    if (fail_countdown > 0) {
        fail_countdown--;
        return 0;
    }
    failure_delivered = 1;
    return 1;
}

void *lg_calloc(size_t n, size_t size)
{
    size_t bytes;

    if (must_fail() || __builtin_mul_overflow(n, size, &bytes))
        return NULL;
    return calloc(bytes ? bytes : 1, 1);
}

void *lg_realloc(void *ptr, size_t n, size_t size)
{
    size_t bytes;

    if (must_fail() || __builtin_mul_overflow(n, size, &bytes))
        return NULL;
    return realloc(ptr, bytes ? bytes : 1);
}

void *lg_alloc_aligned(size_t bytes)
{
    void *ptr = NULL;

    if (must_fail())
        return NULL;
    return posix_memalign(&ptr, 64, bytes ? bytes : 64) == 0 ? ptr : NULL;
}

void lg_free(void *ptr)
{
    free(ptr);
}

void lg_free_aligned(void *ptr)
{
    free(ptr);
}

char *lg_strndup(const char *text, size_t n)
{
    size_t length = strnlen(text, n);
    char *copy = lg_calloc(length + 1, 1);

    if (copy)
        memcpy(copy, text, length);
    return copy;
}

char *lg_strdup(const char *text)
{
    return lg_strndup(text, strlen(text));
}

char *lg_asprintf(const char *fmt, ...)
{
    va_list args, again;
    char *text = NULL;
    int length;

    va_start(args, fmt);
    va_copy(again, args);
    length = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (length >= 0)
        text = lg_calloc((size_t)length + 1, 1);
    if (text)
        vsnprintf(text, (size_t)length + 1, fmt, again);
    va_end(again);
    return text;
}

lego_status lg_calloc_into(void **ptr, size_t n, size_t size)
{
    *ptr = lg_calloc(n, size);
    if (*ptr)
        return LEGO_OK;
    return lg_error(LEGO_ENOMEM, "out of memory: %zu elements of %zu bytes", n, size);
}

lego_status lg_strdup_into(char **ptr, const char *text)
{
    *ptr = lg_strdup(text);
    return *ptr ? LEGO_OK : lg_error(LEGO_ENOMEM, "out of memory: a string of %zu bytes", strlen(text));
}

lego_status lg_reserve(void **array, size_t *capacity, size_t need, size_t size)
{
    size_t grown = *capacity ? *capacity : 8;
    void *moved;

    if (need <= *capacity)
        return LEGO_OK;
    while (grown < need)
        if (__builtin_mul_overflow(grown, (size_t)2, &grown))
            return lg_error(LEGO_ENOMEM, "out of memory: an array of %zu elements", need);
    moved = lg_realloc(*array, grown, size);
    if (!moved)
        return lg_error(LEGO_ENOMEM, "out of memory: an array of %zu elements", need);
    memset((char *)moved + *capacity * size, 0, (grown - *capacity) * size);
    *array = moved;
    *capacity = grown;
    return LEGO_OK;
}
