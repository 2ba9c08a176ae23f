/* Growing text. Errors stick: append freely, ask once with lg_str_finish(). */
#ifndef LG_BASE_STR_H
#define LG_BASE_STR_H

#include "base/status.h"

typedef struct lg_str {
    char *text; /* NUL-terminated once something was appended */
    size_t length;
    size_t capacity;
    int failed;
} lg_str;
#define LG_STR_INIT { NULL, 0, 0, 0 }

void lg_str_append(lg_str *str, const char *text);
void lg_str_append_n(lg_str *str, const char *text, size_t n);
void lg_str_appendf(lg_str *str, const char *fmt, ...) LG_PRINTF(2, 3);
/* Hand the text over (free with lg_free); LEGO_ENOMEM if any append failed. */
lego_status lg_str_finish(char **out, lg_str *str);
void lg_str_dispose(lg_str *str);

int lg_str_ends_with(const char *text, const char *suffix);

#endif
