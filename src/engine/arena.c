/* arena.c: offsets for buffers whose lifetimes are known, so that one allocation serves a whole plan.
 *
 * Greedy by size: the largest request first, each at the lowest offset where it overlaps no request that lives at the
 * same time (Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020, algorithm 3; also
 * XNNPACK's memory-planner.c). Quadratic in the number of requests, of which a plan has a few hundred. */
#include "engine/arena.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/alloc.h"

/* Larger first; equal sizes keep the order of their first use, so that plans are reproducible. */
static int by_size(const void *a, const void *b)
{
    const lg_arena_request *x = *(const lg_arena_request *const *)a;
    const lg_arena_request *y = *(const lg_arena_request *const *)b;

    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return x < y ? -1 : x > y;
}

static int by_offset(const void *a, const void *b)
{
    const lg_arena_request *x = *(const lg_arena_request *const *)a;
    const lg_arena_request *y = *(const lg_arena_request *const *)b;

    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x < y ? -1 : x > y;
}

static size_t rounded(size_t bytes)
{
    return (bytes + LG_ARENA_ALIGN - 1) / LG_ARENA_ALIGN * LG_ARENA_ALIGN;
}

lego_status lg_arena_plan(size_t *bytes, lg_arena_request *requests, size_t n)
{
    lg_arena_request **order = NULL;
    lg_arena_request **near = NULL; /* placed requests alive together with the current one, by offset */
    size_t total = 0;
    lego_status status = LEGO_OK;

    *bytes = 0;
    LG_TRY(LG_CALLOC(&order, n));
    LG_TRY(LG_CALLOC(&near, n));
    for (size_t i = 0; i < n; i++) {
        if (requests[i].bytes > SIZE_MAX / 2 - LG_ARENA_ALIGN - total)
            LG_FAIL(LEGO_ENOMEM, "the plan's activations do not fit in memory");
        total += rounded(requests[i].bytes);
        order[i] = &requests[i];
    }
    qsort(order, n, sizeof(*order), by_size);

    for (size_t i = 0; i < n; i++) {
        lg_arena_request *request = order[i];
        size_t n_near = 0;
        size_t offset = 0;

        for (size_t k = 0; k < i; k++)
            if (order[k]->first <= request->last && request->first <= order[k]->last)
                near[n_near++] = order[k];
        qsort(near, n_near, sizeof(*near), by_offset);
        for (size_t k = 0; k < n_near; k++) {
            if (offset + request->bytes <= near[k]->offset)
                break;
            if (offset < near[k]->offset + rounded(near[k]->bytes))
                offset = near[k]->offset + rounded(near[k]->bytes);
        }
        request->offset = offset;
        if (offset + rounded(request->bytes) > *bytes)
            *bytes = offset + rounded(request->bytes);
    }
done:
    lg_free(order);
    lg_free(near);
    return status;
}
