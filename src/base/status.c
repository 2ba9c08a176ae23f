/* The status list's texts and the last error of each thread.
 *
 * The message lives in thread-local storage of fixed size, so reporting an error never allocates and a caller on
 * another thread never sees it. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

#define MESSAGE_BYTES 1024

static _Thread_local char last_message[MESSAGE_BYTES];

const char *lego_status_name(lego_status status)
{
    switch (status) {
#define LG_STATUS_NAME(name, value, text)                                     \
    case LEGO_##name:                                                         \
        return "LEGO_" #name;
        LEGO_STATUS_MAP(LG_STATUS_NAME)
#undef LG_STATUS_NAME
    }
    return "LEGO_UNKNOWN";
}

const char *lego_status_text(lego_status status)
{
    switch (status) {
#define LG_STATUS_TEXT(name, value, text)                                     \
    case LEGO_##name:                                                         \
        return text;
        LEGO_STATUS_MAP(LG_STATUS_TEXT)
#undef LG_STATUS_TEXT
    }
    return "unknown status";
}

const char *lego_last_error(void)
{
    return last_message;
}

const char *lego_version(void)
{
    return LEGO_VERSION_STRING;
}

void lego_string_free(char *string)
{
    lg_free(string);
}

lego_status lg_error(lego_status code, const char *fmt, ...)
{
    va_list args;
    char text[MESSAGE_BYTES]; /* the arguments may point into the old message */

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    for (char *c = text; *c; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    memcpy(last_message, text, sizeof(last_message));
    return code;
}

lego_status lg_options_read(void *ours, size_t our_size, const void *options)
{
    size_t theirs;
    const unsigned char *bytes = options;

    if (!options)
        return LEGO_OK;
    memcpy(&theirs, options, sizeof(theirs));
    if (theirs < sizeof(theirs))
        return lg_error(LEGO_EINVAL, "options: struct_size=%zu; use the type's _INIT macro", theirs);
    for (size_t i = our_size; i < theirs; i++)
        if (bytes[i])
            return lg_error(LEGO_EINVAL, "options: struct_size=%zu sets fields that this library (%s) does not know",
                            theirs, lego_version());
    memcpy(ours, options, theirs < our_size ? theirs : our_size);
    memcpy(ours, &our_size, sizeof(our_size));
    return LEGO_OK;
}
