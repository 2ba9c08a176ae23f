/* Growing text with sticky errors. */
#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

static int make_room(lg_str *str, size_t more)
{
    size_t need;

    if (str->failed || __builtin_add_overflow(str->length + 1, more, &need) ||
        LG_RESERVE(&str->text, &str->capacity, need) != LEGO_OK)
        str->failed = 1;
    return !str->failed;
}

void lg_str_append_n(lg_str *str, const char *text, size_t n)
{
    if (!make_room(str, n))
        return;
    memcpy(str->text + str->length, text, n);
    str->length += n;
    str->text[str->length] = '\0';
}

void lg_str_append(lg_str *str, const char *text)
{
    lg_str_append_n(str, text, strlen(text));
}

void lg_str_appendf(lg_str *str, const char *fmt, ...)
{
    va_list args, again;
    int length;

    va_start(args, fmt);
    va_copy(again, args);
    length = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (length < 0)
        str->failed = 1;
    else if (make_room(str, (size_t)length)) {
        vsnprintf(str->text + str->length, (size_t)length + 1, fmt, again);
        str->length += (size_t)length;
    }
    va_end(again);
}

lego_status lg_str_finish(char **out, lg_str *str)
{
    *out = NULL;
    if (make_room(str, 0)) {
        str->text[str->length] = '\0';
        *out = str->text;
        str->text = NULL;
    }
    lg_str_dispose(str);
    return *out ? LEGO_OK : lg_error(LEGO_ENOMEM, "out of memory: text");
}

void lg_str_dispose(lg_str *str)
{
    lg_free(str->text);
    *str = (lg_str)LG_STR_INIT;
}

int lg_str_ends_with(const char *text, const char *suffix)
{
    size_t n = strlen(text), m = strlen(suffix);

    return n >= m && memcmp(text + n - m, suffix, m) == 0;
}
