/* Places for activations and scratch in one block of memory, reused as soon as their last reader ran. */
#ifndef LG_ENGINE_ARENA_H
#define LG_ENGINE_ARENA_H

#include "base/status.h"

#define LG_ARENA_ALIGN 64

typedef struct lg_arena_request {
    size_t bytes;
    int32_t first, last; /* steps during which it is in use, both included */
    size_t offset;       /* result, a multiple of LG_ARENA_ALIGN */
} lg_arena_request;

/* Give every request an offset such that two that are in use at once never overlap; `bytes` = what all need. */
lego_status lg_arena_plan(size_t *bytes, lg_arena_request *requests, size_t n);

#endif
