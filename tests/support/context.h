/* A context of one thread, for a whole group of tests: the graphs are too small to share. */
#ifndef LG_TESTS_CONTEXT_H
#define LG_TESTS_CONTEXT_H

#include "support/support.h"

#include "base/blas.h"
#include "legodnn/context.h"

static lego_context *context;

static int make_context(void **state)
{
    (void)state;
    lg_blas_set_threads(1);
    return lego_context_create(&context) != LEGO_OK || lego_context_set_threads(context, 1) != LEGO_OK;
}

static int free_context(void **state)
{
    (void)state;
    lego_context_free(context);
    return 0;
}

#endif
