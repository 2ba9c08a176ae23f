/** @file status.h  Status codes, the last error of a thread, and the version. */
#ifndef LEGODNN_STATUS_H
#define LEGODNN_STATUS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LEGO_API __attribute__((visibility("default")))
#else
#define LEGO_API
#endif

#define LEGO_VERSION_MAJOR 0
#define LEGO_VERSION_MINOR 1
#define LEGO_VERSION_PATCH 0
#define LEGO_VERSION_STRING "0.1.0"

/** Every status of the library: name, value (never renumbered), what it means. */
#define LEGO_STATUS_MAP(X)                                                    \
    X(OK, 0, "success")                                                       \
    X(ENOMEM, -1, "out of memory")                                            \
    X(EINVAL, -2, "invalid argument")                                         \
    X(ENOTFOUND, -3, "not found")                                             \
    X(EFORMAT, -4, "malformed or truncated input")                            \
    X(EUNSUPPORTED, -5, "not supported by this build or for this model")      \
    X(EINFEASIBLE, -6, "no selection fits the budget")                        \
    X(ECANCELED, -7, "cancelled by the caller")                               \
    X(EBACKEND, -8, "a compute library failed")                               \
    X(EIO, -9, "reading or writing failed")                                   \
    X(ECRASHED, -10, "a library crashed, or did not come back")

typedef enum lego_status {
#define LEGO_STATUS_ENUM(name, value, text) LEGO_##name = value,
    LEGO_STATUS_MAP(LEGO_STATUS_ENUM)
#undef LEGO_STATUS_ENUM
} lego_status;

/** "LEGO_EINVAL" for LEGO_EINVAL; never NULL. */
LEGO_API const char *lego_status_name(lego_status status);

/** What a status means in general, e.g. "invalid argument"; never NULL. */
LEGO_API const char *lego_status_text(lego_status status);

/**
 * Message of the last failure on this thread: one line that names the thing, its value and what was allowed.
 * Meaningful only right after a call on the same thread failed. Borrowed, valid until the next failure.
 */
LEGO_API const char *lego_last_error(void);

/** Version of the library that runs, e.g. "0.1.0" (LEGO_VERSION_STRING is that of the header). */
LEGO_API const char *lego_version(void);

/** What the library was built with, one "name version" a line; parts that were left out say so. Static text. */
LEGO_API const char *lego_build_info(void);

/** Free a string or document that the library returned through a `char **`. NULL is a no-op. */
LEGO_API void lego_string_free(char *string);

#ifdef __cplusplus
}
#endif
#endif
