/* Improve a selection by exchanging one variant or two at once: a good known selection lets the exact search prune.
 *
 * Only exchanges that are nearly free at the current prices are tried, which is where all improvements are. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "optimize/core.h"

#define MOST_MOVES 192
#define MOST_ROUNDS 64

/* Give a block another candidate; the change of the sums. */
typedef struct move {
    double priced; /* smaller is likelier to help */
    lg_demand change;
    int32_t block, candidate;
} move;

static int by_price(const void *a, const void *b)
{
    const move *x = a, *y = b;

    if (x->priced != y->priced)
        return x->priced < y->priced ? -1 : 1;
    return (x->block > y->block) - (x->block < y->block);
}

static size_t list_moves(move *moves, const lg_core *core, const lg_prices *prices, const int32_t *choice)
{
    size_t n = 0;

    for (int32_t b = 0; b < core->n_blocks; b++) {
        const lg_core_block *block = &core->blocks[b];
        const lg_demand *now = &block->candidates[choice[b]].demand;

        for (int32_t i = 0; i < block->n; i++) {
            const lg_demand *then = &block->candidates[i].demand;
            move *m = &moves[n];

            m->change = (lg_demand){ then->cost - now->cost, then->latency - now->latency, then->bytes - now->bytes };
            m->priced = lg_priced(prices, &m->change);
            m->block = b;
            m->candidate = i;
            n += i != choice[b];
        }
    }
    qsort(moves, n, sizeof(*moves), by_price);
    return n < MOST_MOVES ? n : MOST_MOVES;
}

static int fits(const lg_core *core, const lg_demand *sum, const lg_demand *a, const lg_demand *b)
{
    return sum->latency + a->latency + b->latency <= core->latency_slack &&
           sum->bytes + a->bytes + b->bytes <= core->bytes_slack;
}

/* The best exchange of one or two; 0 if none helps. */
static int exchange(const lg_core *core, const move *moves, size_t n, lg_demand *sum, int32_t *choice)
{
    static const lg_demand nothing = { 0, 0, 0 };
    const move *first = NULL, *second = NULL;
    int64_t best = 0;

    for (size_t i = 0; i < n; i++) {
        if (moves[i].change.cost < best && fits(core, sum, &moves[i].change, &nothing)) {
            best = moves[i].change.cost;
            first = &moves[i];
            second = NULL;
        }
        for (size_t j = 0; j < i; j++)
            if (moves[i].change.cost + moves[j].change.cost < best && moves[i].block != moves[j].block &&
                fits(core, sum, &moves[i].change, &moves[j].change)) {
                best = moves[i].change.cost + moves[j].change.cost;
                first = &moves[i];
                second = &moves[j];
            }
    }
    for (int turn = 0; turn < 2; turn++) {
        const move *m = turn ? second : first;

        if (!m)
            continue;
        choice[m->block] = m->candidate;
        sum->cost += m->change.cost;
        sum->latency += m->change.latency;
        sum->bytes += m->change.bytes;
    }
    return first != NULL;
}

lego_status lg_core_polish(int32_t *choice, int64_t *cost, const lg_core *core, const lg_prices *prices)
{
    move *moves = NULL;
    lg_demand sum = { 0, 0, 0 };
    size_t n = 0;
    lego_status status = LEGO_OK;

    for (int32_t b = 0; b < core->n_blocks; b++) {
        const lg_demand *demand = &core->blocks[b].candidates[choice[b]].demand;

        sum.cost += demand->cost;
        sum.latency += demand->latency;
        sum.bytes += demand->bytes;
        n += (size_t)core->blocks[b].n;
    }
    LG_TRY(LG_CALLOC(&moves, n + 1));
    for (int round = 0; round < MOST_ROUNDS; round++) {
        n = list_moves(moves, core, prices, choice);
        if (!exchange(core, moves, n, &sum, choice))
            break;
    }
    *cost = sum.cost;
done:
    lg_free(moves);
    return status;
}
