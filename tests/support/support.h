/* Helpers of the unit tests: cmocka, a temporary folder per test, the out-of-memory loop. */
#ifndef LG_TESTS_SUPPORT_H
#define LG_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/status.h"

#define assert_ok(expr)                                                       \
    do {                                                                      \
        lego_status status_ = (expr);                                         \
        if (status_ != LEGO_OK)                                               \
            fail_msg("%s: %s: %s", #expr, lego_status_name(status_), lego_last_error()); \
    } while (0)

#define assert_fails(code, expr)                                              \
    do {                                                                      \
        lego_status status_ = (expr);                                         \
        if (status_ != (code))                                                \
            fail_msg("%s: %s, expected %s (%s)", #expr, lego_status_name(status_), lego_status_name(code), \
                     status_ == LEGO_OK ? "" : lego_last_error());            \
    } while (0)

/* The last error mentions `part`. */
#define assert_says(part)                                                     \
    do {                                                                      \
        if (!strstr(lego_last_error(), (part)))                               \
            fail_msg("the message '%s' does not mention '%s'", lego_last_error(), (part)); \
    } while (0)

/* |a - b| <= absolute + relative * |b|; prints both. */
#define assert_near(a, b, absolute, relative)                                 \
    do {                                                                      \
        double a_ = (a), b_ = (b), d_ = a_ > b_ ? a_ - b_ : b_ - a_;          \
        if (!(d_ <= (absolute) + (relative) * (b_ > 0 ? b_ : -b_)))           \
            fail_msg("%s = %.9g, expected %.9g", #a, a_, b_);                 \
    } while (0)

/* Run `expr` with the allocation n failing for n = 0, 1, 2 ... until it succeeds; each failure must be LEGO_ENOMEM.
 * `undo` frees what a success made. */
#define assert_survives_oom(expr, undo)                                       \
    do {                                                                      \
        long n_;                                                              \
        for (n_ = 0; n_ < 100000; n_++) {                                     \
            lego_status status_;                                              \
            lg_alloc_fail_after(n_);                                          \
            status_ = (expr);                                                 \
            if (!lg_alloc_fail_after(-1)) {                                   \
                assert_int_equal(status_, LEGO_OK);                           \
                undo;                                                         \
                break;                                                        \
            }                                                                 \
            if (status_ != LEGO_ENOMEM)                                       \
                fail_msg("allocation %ld failed: %s returned %s", n_, #expr, lego_status_name(status_)); \
        }                                                                     \
        assert_true(n_ > 0 && n_ < 100000);                                   \
    } while (0)

/* cmocka setup/teardown: *state is the path of a fresh folder, removed afterwards. */
static inline int make_folder(void **state)
{
    const char *base = getenv("TMPDIR");
    char *path = lg_asprintf("%s/legodnn-test-XXXXXX", base ? base : P_tmpdir);

    *state = path ? mkdtemp(path) : NULL;
    return *state ? 0 : -1;
}

static inline int remove_folder(void **state)
{
    lg_dir_remove(*state);
    lg_free(*state);
    return 0;
}

#define folder_test(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

/* "<folder>/<name>", valid until the fourth next call. */
static inline const char *in_folder(void **state, const char *name)
{
    static char paths[4][512];
    static int next;

    next = (next + 1) % 4;
    snprintf(paths[next], sizeof(paths[next]), "%s/%s", (const char *)*state, name);
    return paths[next];
}

#endif
