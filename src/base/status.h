/* Errors inside the library: whoever finds the fault writes the message with lg_error(), everyone above passes it up. */
#ifndef LG_BASE_STATUS_H
#define LG_BASE_STATUS_H

#include "legodnn/status.h"

#if defined(__GNUC__)
#define LG_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define LG_PRINTF(fmt, args)
#endif

/* Store the thread's message and return `code`. */
lego_status lg_error(lego_status code, const char *fmt, ...) LG_PRINTF(2, 3);

/* `done:` cleans up and returns `status`; see STYLE: check, prepare, do, hand over, one exit. */
#define LG_TRY(expr)                                                          \
    do {                                                                      \
        status = (expr);                                                      \
        if (status != LEGO_OK)                                                \
            goto done;                                                        \
    } while (0)

#define LG_FAIL(code, ...)                                                    \
    do {                                                                      \
        status = lg_error((code), __VA_ARGS__);                               \
        goto done;                                                            \
    } while (0)

/* Copy a caller's options over our defaults: min(theirs, ours) bytes, `struct_size` stays ours, size 0 and non-zero
 * bytes that we do not know are LEGO_EINVAL. `options` NULL keeps the defaults. */
lego_status lg_options_read(void *ours, size_t our_size, const void *options);

#endif
