/* The best disjoint candidates: weighted interval scheduling (dynamic programming over the positions of the order).
 *
 * Worth is compared in this order: FLOPs in prunable layers (with a bonus for each block), their parameters, number of
 * blocks, fewer outputs that only feed a sum outside, balance. Candidates of disjoint spans cannot form a cycle: all of one comes before all of the other.
 * Exact and deterministic: of equals the first found stays. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "extract/extract.h"

static int is_better(const lg_worth *a, const lg_worth *b)
{
    if (a->gain != b->gain)
        return a->gain > b->gain;
    if (a->parameters != b->parameters)
        return a->parameters > b->parameters;
    if (a->n_blocks != b->n_blocks)
        return a->n_blocks > b->n_blocks;
    if (a->n_open != b->n_open)
        return a->n_open < b->n_open;
    return a->imbalance < b->imbalance * (1.0 - 1e-12); /* sums in another order are no difference */
}

static lg_worth sum(const lg_worth *a, const lg_worth *b)
{
    return (lg_worth){ .gain = a->gain + b->gain,
                       .parameters = a->parameters + b->parameters,
                       .n_blocks = a->n_blocks + b->n_blocks,
                       .n_open = a->n_open + b->n_open,
                       .imbalance = a->imbalance + b->imbalance };
}

/* Candidates by where they end: list[offsets[p] .. offsets[p+1]) end at position p. */
static lego_status sort_by_end(int32_t **offsets, int32_t **list, const lg_candidates *candidates, int32_t n_nodes)
{
    int32_t *fill = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(offsets, n_nodes + 2));
    LG_TRY(LG_CALLOC(list, candidates->n));
    LG_TRY(LG_CALLOC(&fill, n_nodes + 1));
    for (int32_t c = 0; c < candidates->n; c++)
        (*offsets)[candidates->list[c].end + 1]++;
    for (int32_t p = 0; p <= n_nodes; p++)
        (*offsets)[p + 1] += (*offsets)[p];
    for (int32_t c = 0; c < candidates->n; c++) {
        int32_t end = candidates->list[c].end;

        (*list)[(*offsets)[end] + fill[end]++] = c;
    }
done:
    lg_free(fill);
    return status;
}

lego_status lg_candidates_choose(int32_t **out, int32_t *n_out, const lg_candidates *candidates, int32_t n_nodes)
{
    int32_t *offsets = NULL, *list = NULL, *taken = NULL; /* taken[p]: the candidate that ends at p; LG_NONE */
    lg_worth *best = NULL;                                /* of the positions before p */
    int32_t n = 0;
    lego_status status = LEGO_OK;

    *out = NULL;
    *n_out = 0;
    LG_TRY(sort_by_end(&offsets, &list, candidates, n_nodes));
    LG_TRY(LG_CALLOC(&taken, n_nodes + 1));
    LG_TRY(LG_CALLOC(&best, n_nodes + 1));
    taken[0] = LG_NONE;
    for (int32_t p = 1; p <= n_nodes; p++) {
        best[p] = best[p - 1];
        taken[p] = LG_NONE;
        for (int32_t i = offsets[p]; i < offsets[p + 1]; i++) {
            const lg_candidate *candidate = &candidates->list[list[i]];
            lg_worth worth = sum(&best[candidate->begin], &candidate->worth);

            if (!is_better(&worth, &best[p]))
                continue;
            best[p] = worth;
            taken[p] = list[i];
        }
    }
    LG_TRY(LG_CALLOC(out, best[n_nodes].n_blocks));
    *n_out = n = best[n_nodes].n_blocks;
    for (int32_t p = n_nodes; p > 0;) {
        if (taken[p] == LG_NONE) {
            p--;
            continue;
        }
        (*out)[--n] = taken[p];
        p = candidates->list[taken[p]].begin;
    }
done:
    lg_free(offsets);
    lg_free(list);
    lg_free(taken);
    lg_free(best);
    return status;
}
