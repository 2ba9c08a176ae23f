/* Which compositions a device profile measures.
 *
 * In each group every variant of every block occurs once, as in a Latin square whose rows were shuffled: composition j
 * of a group gives each block the j-th of a fresh random order of its variants. So each variant is seen in as many
 * neighbourhoods as there are groups, at a cost of groups x largest menu, not of their product. Further compositions
 * are drawn at random and only check the result.
 *
 * What newcomers get wrong: a variant's time depends on its neighbours (layouts of activations, what is in the cache),
 * so measuring it in the original alone, or by itself, is biased; that is how sums came out 30 to 49 % too low in the
 * original implementation. */
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "profile/device.h"

#define N_GROUPS 4
#define DRAWS 200

static void draw_group(int32_t *rows, int32_t n_rows, const lego_store *store, lg_rng *rng, int64_t *order)
{
    for (int32_t b = 0; b < store->n_blocks; b++) {
        int32_t n = store->blocks[b].n_variants;

        for (int32_t j = 0; j < n_rows; j++) {
            if (j % n == 0) { /* also again and again where a block has fewer variants than the others */
                for (int32_t v = 0; v < n; v++)
                    order[v] = v;
                lg_rng_shuffle(rng, order, n);
            }
            rows[(size_t)j * (size_t)store->n_blocks + (size_t)b] = (int32_t)order[j % n];
        }
    }
}

static int is_new(const lg_device_design *design, const int32_t *selection)
{
    for (int32_t i = 0; i < design->n_compositions; i++)
        if (memcmp(lg_device_selection(design, i), selection, (size_t)design->n_blocks * sizeof(*selection)) == 0)
            return 0;
    return 1;
}

/* A random composition that is not measured yet; small menus may have none. */
static int draw_new(lg_device_design *design, const lego_store *store, lg_rng *rng)
{
    int32_t *row = design->selections + (size_t)design->n_compositions * (size_t)design->n_blocks;

    for (int draw = 0; draw < DRAWS; draw++) {
        for (int32_t b = 0; b < design->n_blocks; b++)
            row[b] = (int32_t)lg_rng_below(rng, (uint64_t)store->blocks[b].n_variants);
        if (is_new(design, row))
            return 1;
    }
    return 0;
}

lego_status lg_device_design_init(lg_device_design *out, const lego_store *store, int32_t n_held_out, uint64_t seed)
{
    int32_t largest = 1;
    size_t most;
    int64_t *order = NULL;
    lg_rng rng;
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    for (int32_t b = 0; b < store->n_blocks; b++)
        if (store->blocks[b].n_variants > largest)
            largest = store->blocks[b].n_variants;
    out->n_blocks = store->n_blocks;
    most = 1 + (size_t)N_GROUPS * (size_t)largest + (size_t)n_held_out;
    LG_TRY(LG_CALLOC(&order, largest));
    LG_TRY(LG_CALLOC(&out->selections, most * (size_t)store->n_blocks));
    lg_rng_init(&rng, seed, 0x6c617465);
    out->n_compositions = 1; /* zero-filled: all originals */
    for (int32_t g = 0; g < N_GROUPS; g++) {
        draw_group(out->selections + (size_t)out->n_compositions * (size_t)out->n_blocks, largest, store, &rng, order);
        out->n_compositions += largest;
    }
    out->n_designed = out->n_compositions;
    while (out->n_compositions < out->n_designed + n_held_out && draw_new(out, store, &rng))
        out->n_compositions++;
done:
    lg_free(order);
    if (status != LEGO_OK)
        lg_device_design_dispose(out);
    return status;
}

void lg_device_design_dispose(lg_device_design *design)
{
    lg_free(design->selections);
    memset(design, 0, sizeof(*design));
}
