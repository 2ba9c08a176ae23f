/* Splits: which samples are training, validation and test.
 *
 * Flow: lg_source -> indices. All cuts are runs of one fixed order in which the classes are spread evenly, each class shuffled
 * by the split's seed: validation is its beginning, then (where one heap holds everything) test, the rest is training. So
 * splits never overlap, each is class-balanced, `limit` takes a balanced subset, and a smaller limit is part of a larger.
 * The seed is not the context's: `train --seed 1` and `profile --seed 2` must not see different cuts, or validation
 * images leak into training. */
#include <math.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "data/dataset.h"

#define SPLIT_STREAM 0x73706c6974ull

typedef struct ranked {
    double rank; /* position within its class, in (0, 1) */
    int32_t label;
    int64_t sample;
} ranked;

static int compare_ranked(const void *a, const void *b)
{
    const ranked *x = a, *y = b;

    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    if (x->label != y->label)
        return x->label < y->label ? -1 : 1;
    return (x->sample > y->sample) - (x->sample < y->sample);
}

/* `order` receives all samples, classes spread evenly. */
static lego_status balanced_order(int64_t *order, const lg_source *source, uint64_t split_seed)
{
    int64_t *count = NULL, *seen = NULL;
    ranked *list = NULL;
    lg_rng rng;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&count, source->n_classes));
    LG_TRY(LG_CALLOC(&seen, source->n_classes));
    LG_TRY(LG_CALLOC(&list, source->n));
    for (int64_t i = 0; i < source->n; i++) {
        order[i] = i;
        count[source->labels[i]]++;
    }
    lg_rng_init(&rng, split_seed, SPLIT_STREAM);
    lg_rng_shuffle(&rng, order, source->n);
    for (int64_t i = 0; i < source->n; i++) {
        int32_t label = source->labels[order[i]];

        list[i].rank = ((double)seen[label]++ + 0.5) / (double)count[label];
        list[i].label = label;
        list[i].sample = order[i];
    }
    qsort(list, (size_t)source->n, sizeof(*list), compare_ranked);
    for (int64_t i = 0; i < source->n; i++)
        order[i] = list[i].sample;
done:
    lg_free(list);
    lg_free(seen);
    lg_free(count);
    return status;
}

lego_status lg_split_samples(int64_t **out, int64_t *n_out, const lg_source *source, lego_split split,
                             double val_share, uint64_t split_seed, int64_t limit)
{
    int64_t *order = NULL;
    int64_t n_cut = (int64_t)llround(val_share * (double)source->n);
    int64_t first = 0, n = source->n;
    lego_status status = LEGO_OK;

    if (source->cut != LG_CUT_NONE) {
        int64_t n_cuts = source->cut == LG_CUT_VAL_TEST ? 2 : 1;

        first = split == LEGO_SPLIT_VAL ? 0 : split == LEGO_SPLIT_TEST ? n_cut : n_cuts * n_cut;
        n = split == LEGO_SPLIT_TRAIN ? source->n - n_cuts * n_cut : n_cut;
    }
    if (n <= 0)
        LG_FAIL(LEGO_EINVAL, "the %s split is empty: %lld samples, of which a share of %g is cut off",
                lego_split_name(split), (long long)source->n, val_share);
    if (limit > 0 && limit < n)
        n = limit;
    LG_TRY(LG_CALLOC(&order, source->n));
    LG_TRY(balanced_order(order, source, split_seed));
    LG_TRY(LG_CALLOC(out, n));
    for (int64_t i = 0; i < n; i++)
        (*out)[i] = order[first + i];
    *n_out = n;
done:
    lg_free(order);
    return status;
}
