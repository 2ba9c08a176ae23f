/* Which compositions the server profile measures: every variant of every block in k environments (as the original does,
 * server_block_profiler.py:212-306), and random compositions that check the predictors.
 *
 * Flow: store -> distinct selections -> tree.c. Environment e of k has every block at e/(k-1) of its menu, from the original to
 * the smallest variant; k = 3: all original, middle, smallest. In each, every block is set to every variant, the
 * original included; what several of these ask for is one composition, measured once. */
#include "profile/design.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"

#define RANDOM_STREAM 0x72616e646f6dull
#define TRIES_PER_RANDOM 50

static int32_t find(const lg_design *design, const int32_t *selection)
{
    for (int32_t i = 0; i < design->n; i++)
        if (memcmp(lg_design_selection(design, i), selection, (size_t)design->n_blocks * sizeof(*selection)) == 0)
            return i;
    return LG_NONE;
}

/* Index of a selection, added if it is new. */
static lego_status add(int32_t *index, lg_design *design, const int32_t *selection)
{
    size_t need = ((size_t)design->n + 1) * (size_t)design->n_blocks;
    lego_status status = LEGO_OK;

    *index = find(design, selection);
    if (*index != LG_NONE)
        return LEGO_OK;
    LG_TRY(LG_RESERVE(&design->selections, &design->capacity, need));
    memcpy(design->selections + (size_t)design->n * (size_t)design->n_blocks, selection,
           (size_t)design->n_blocks * sizeof(*selection));
    *index = design->n++;
done:
    return status;
}

static lego_status add_environments(lg_design *design, const lego_store *store, int32_t *selection)
{
    int32_t n_cells = design->first_cell[design->n_blocks];
    lego_status status = LEGO_OK;

    for (int32_t e = 0; e < design->n_environments; e++) {
        double depth = design->n_environments > 1 ? (double)e / (design->n_environments - 1) : 0.0;

        for (int32_t b = 0; b < design->n_blocks; b++)
            selection[b] = (int32_t)lround(depth * (store->blocks[b].n_variants - 1));
        LG_TRY(add(&design->environments[e], design, selection));
        for (int32_t b = 0; b < design->n_blocks; b++) {
            int32_t own = selection[b];

            for (int32_t v = 0; v < store->blocks[b].n_variants; v++) {
                int32_t cell = design->first_cell[b] + v;

                selection[b] = v;
                LG_TRY(add(&design->measured[e * n_cells + cell], design, selection));
                if (e == 0)
                    design->single[cell] = design->measured[cell];
            }
            selection[b] = own;
        }
    }
done:
    return status;
}

/* Uniform over the menu; a small menu may have fewer unused selections than wanted. */
static lego_status add_random(lg_design *design, const lego_store *store, int32_t *selection, int32_t n_random,
                              uint64_t seed)
{
    lg_rng rng;
    lego_status status = LEGO_OK;

    lg_rng_init(&rng, seed, RANDOM_STREAM);
    for (int64_t tries = (int64_t)n_random * TRIES_PER_RANDOM; tries > 0 && design->n_random < n_random; tries--) {
        for (int32_t b = 0; b < design->n_blocks; b++)
            selection[b] = (int32_t)lg_rng_below(&rng, (uint64_t)store->blocks[b].n_variants);
        if (find(design, selection) != LG_NONE)
            continue;
        LG_TRY(add(&design->random[design->n_random], design, selection));
        design->n_random++;
    }
done:
    return status;
}

lego_status lg_design_create(lg_design *out, const lego_store *store, int32_t n_environments, int32_t n_random,
                             uint64_t seed)
{
    int32_t *selection = NULL;
    int32_t n_cells = 0;
    lego_status status = LEGO_OK;

    *out = (lg_design){ .n_blocks = store->n_blocks, .n_environments = n_environments };
    LG_TRY(LG_CALLOC(&out->first_cell, store->n_blocks + 1));
    for (int32_t b = 0; b < store->n_blocks; b++) {
        out->first_cell[b] = n_cells;
        n_cells += store->blocks[b].n_variants;
    }
    out->first_cell[store->n_blocks] = n_cells;
    LG_TRY(LG_CALLOC(&selection, store->n_blocks));
    LG_TRY(LG_CALLOC(&out->environments, n_environments));
    LG_TRY(LG_CALLOC(&out->single, n_cells));
    LG_TRY(LG_CALLOC(&out->measured, (size_t)n_environments * (size_t)n_cells));
    LG_TRY(LG_CALLOC(&out->random, n_random));
    LG_TRY(add_environments(out, store, selection));
    LG_TRY(add_random(out, store, selection, n_random, seed));
done:
    lg_free(selection);
    if (status != LEGO_OK)
        lg_design_dispose(out);
    return status;
}

void lg_design_dispose(lg_design *design)
{
    lg_free(design->first_cell);
    lg_free(design->selections);
    lg_free(design->environments);
    lg_free(design->single);
    lg_free(design->measured);
    lg_free(design->random);
    *design = (lg_design){ .n_blocks = 0 };
}
