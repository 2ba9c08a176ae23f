/* Which compositions the server profile measures. */
#ifndef LG_PROFILE_DESIGN_H
#define LG_PROFILE_DESIGN_H

#include "store/store.h"

typedef struct lg_design {
    int32_t n_blocks;
    int32_t *first_cell;    /* n_blocks + 1: cell of (block, variant) = first_cell[block] + variant */
    int32_t n_environments;
    int32_t n;              /* distinct compositions; [0] is all originals */
    int32_t *selections;    /* n * n_blocks */
    size_t capacity;
    int32_t *environments;  /* n_environments compositions; [0] = 0 */
    int32_t *single;        /* by cell: the composition of that one change */
    int32_t *measured;      /* n_environments * cells: the environment with this variant in this block */
    int32_t n_random;
    int32_t *random;        /* compositions that nothing but the check of the predictors uses */
} lg_design;

/* Dispose of `out` with lg_design_dispose(); it is empty after a failure. */
lego_status lg_design_create(lg_design *out, const lego_store *store, int32_t n_environments, int32_t n_random,
                             uint64_t seed);
void lg_design_dispose(lg_design *design);

static inline const int32_t *lg_design_selection(const lg_design *design, int32_t composition)
{
    return design->selections + (size_t)composition * (size_t)design->n_blocks;
}

#endif
