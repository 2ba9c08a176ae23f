/* The exact solver: Pareto-merge with bounds, in passes of growing width.
 *
 * core.c drops what cannot matter, dual.c prices latency and bytes. Every variant then has a penalty: how much dearer
 * than the block's best it is at these prices. Penalties add up, and a partial selection whose penalties exceed the gap
 * between the bound and the best known selection goes. Blocks with the largest penalties are merged first, so the many
 * near-ties come last. A pass keeps at most `width` partial selections a level; a pass that dropped nothing is a proof,
 * any other one at least improves the best known selection, with which the next, wider pass prunes more. So small
 * problems finish in microseconds and hard ones degrade into a stated gap instead of running out of memory.
 *
 * What newcomers get wrong: pruning with `<` or `<=` decides whether equally good selections survive. For one answer
 * only strictly better ones are searched; for the k best, equals of the k-th must stay. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "optimize/core.h"

#define FIRST_WIDTH 16
#define WIDENING 8
#define STARTS 4 /* of a pass's cheapest selections, as many are improved by exchanges */

typedef struct search {
    lg_core core;
    lg_merge merge;
    lg_prices prices;
    int32_t k;
    int64_t best;        /* excess cost of the k-th best known selection; INT64_MAX = fewer are known */
    int32_t *scratch, *choice;
    double *rest_priced; /* of the blocks from here on, at best: priced demand, LG_MOST_PRICES rows */
    int64_t *rest_latency, *rest_bytes;
    double *values;
    uint8_t *marked;
    size_t values_capacity, marked_capacity;
} search;

static void search_dispose(search *s)
{
    lg_core_dispose(&s->core);
    lg_merge_dispose(&s->merge);
    lg_free(s->scratch);
    lg_free(s->choice);
    lg_free(s->rest_priced);
    lg_free(s->rest_latency);
    lg_free(s->rest_bytes);
    lg_free(s->values);
    lg_free(s->marked);
}

/* The largest sum, at these prices, of a whole selection that is still of interest. */
static double worth(const search *s, const lg_prices *prices)
{
    double limit = 0.0;

    if (s->best == INT64_MAX)
        return INFINITY;
    if (s->core.latency_slack != LG_NO_LIMIT)
        limit += prices->latency * (double)s->core.latency_slack;
    if (s->core.bytes_slack != LG_NO_LIMIT)
        limit += prices->bytes * (double)s->core.bytes_slack;
    return (double)s->best - (s->k == 1 ? 1.0 : 0.0) + limit + 2.0 * s->prices.rounding;
}

/* Drop the variants whose penalty alone exceeds the gap and settle blocks without a choice; 0 if nothing is left. */
static int drop_dear(search *s)
{
    double total = 0.0, limit = worth(s, &s->prices);
    int dropped = 0, possible = 1;
    int32_t index;

    for (int32_t b = 0; b < s->core.n_blocks; b++)
        total += lg_core_least(&s->core.blocks[b], &s->prices, &index);
    for (int32_t b = 0; b < s->core.n_blocks; b++) {
        lg_core_block *block = &s->core.blocks[b];
        double least = lg_core_least(block, &s->prices, &index);
        int32_t kept = 0;

        for (int32_t i = 0; i < block->n; i++)
            if (total - least + lg_priced(&s->prices, &block->candidates[i].demand) <= limit)
                block->candidates[kept++] = block->candidates[i];
        dropped += block->n - kept;
        block->n = kept;
        possible &= kept > 0;
    }
    if (possible && dropped > 0) {
        int64_t cost = s->core.settled.cost;

        possible = lg_core_settle(&s->core);
        s->best -= s->core.settled.cost - cost;
    }
    return possible;
}

/* What it costs at least not to take a block's best variant. */
static double second_penalty(const lg_core_block *block, const lg_prices *prices)
{
    int32_t index;
    double least = lg_core_least(block, prices, &index), second = INFINITY;

    for (int32_t i = 0; i < block->n; i++)
        if (i != index)
            second = fmin(second, lg_priced(prices, &block->candidates[i].demand) - least);
    return second;
}

static int by_key(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return x[0] != y[0] ? (x[0] > y[0] ? -1 : 1) : (x[1] < y[1] ? -1 : 1);
}

/* Blocks by falling second penalty, candidates by rising cost. */
static lego_status sort_blocks(search *s)
{
    size_t n = (size_t)s->core.n_blocks;
    double *keys = NULL;
    lg_core_block *sorted = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&keys, 2 * n));
    LG_TRY(LG_CALLOC(&sorted, n));
    for (size_t b = 0; b < n; b++) {
        keys[2 * b] = second_penalty(&s->core.blocks[b], &s->prices);
        keys[2 * b + 1] = (double)b;
    }
    qsort(keys, n, 2 * sizeof(*keys), by_key);
    for (size_t b = 0; b < n; b++)
        sorted[b] = s->core.blocks[(size_t)keys[2 * b + 1]];
    memcpy(s->core.blocks, sorted, n * sizeof(*sorted));
done:
    lg_free(keys);
    lg_free(sorted);
    return status;
}

/* The best prices and some around them: a partial selection that has used up more or less of a limit than the average
 * is bounded better by prices that suit what it left. */
static void tilt(lg_prices tilted[LG_MOST_PRICES], const lg_prices *prices)
{
    static const double factors[LG_MOST_PRICES][2] = {
        { 1.0, 1.0 }, { 1.25, 0.75 }, { 0.75, 1.25 }, { 1.25, 1.25 }, { 0.75, 0.75 } };

    for (int p = 0; p < LG_MOST_PRICES; p++) {
        tilted[p] = *prices;
        tilted[p].latency *= factors[p][0];
        tilted[p].bytes *= factors[p][1];
    }
}

static void sum_rest(search *s, const lg_prices tilted[LG_MOST_PRICES])
{
    int32_t n = s->core.n_blocks, index;

    s->rest_latency[n] = s->rest_bytes[n] = 0;
    for (int p = 0; p < LG_MOST_PRICES; p++) {
        double *rest = s->rest_priced + (size_t)p * (size_t)(n + 1);

        rest[n] = 0.0;
        for (int32_t b = n - 1; b >= 0; b--)
            rest[b] = rest[b + 1] + lg_core_least(&s->core.blocks[b], &tilted[p], &index);
    }
    for (int32_t b = n - 1; b >= 0; b--) {
        const lg_core_block *block = &s->core.blocks[b];
        int64_t latency = block->candidates[0].demand.latency, bytes = block->candidates[0].demand.bytes;

        for (int32_t i = 1; i < block->n; i++) {
            const lg_demand *demand = &block->candidates[i].demand;

            latency = demand->latency < latency ? demand->latency : latency;
            bytes = demand->bytes < bytes ? demand->bytes : bytes;
        }
        s->rest_latency[b] = s->rest_latency[b + 1] + latency;
        s->rest_bytes[b] = s->rest_bytes[b + 1] + bytes;
    }
}

/* The value that comes at `rank` (from 0) by size; reorders (Hoare's selection). */
static double select_rank(double *values, size_t n, size_t rank)
{
    size_t low = 0, high = n;

    while (high - low > 1) {
        double pivot = values[low + (high - low - 1) / 2]; /* never the last: both parts shrink */
        size_t i = low, j = high;

        for (;;) {
            while (values[i] < pivot)
                i++;
            do
                j--;
            while (values[j] > pivot);
            if (i >= j)
                break;
            double moved = values[i];
            values[i++] = values[j];
            values[j] = moved;
        }
        if (rank <= j)
            high = j + 1;
        else
            low = j + 1;
    }
    return values[rank];
}

/* Keep the `width` most promising states of the last level. */
static lego_status narrow(search *s, size_t width)
{
    size_t begin = lg_merge_last(&s->merge), n = s->merge.n_states - begin, room = width;
    double limit;
    lego_status status = LEGO_OK;

    LG_TRY(LG_RESERVE(&s->values, &s->values_capacity, n));
    LG_TRY(LG_RESERVE(&s->marked, &s->marked_capacity, n));
    for (size_t i = 0; i < n; i++)
        s->values[i] = lg_priced(&s->prices, &s->merge.states[begin + i].sum);
    limit = select_rank(s->values, n, width - 1);
    for (size_t i = 0; i < n; i++)
        s->marked[i] = lg_priced(&s->prices, &s->merge.states[begin + i].sum) <= limit && room > 0 ? (room--, 1) : 0;
    lg_merge_keep(&s->merge, s->marked);
done:
    return status;
}

/* One pass; `*complete` if no state was given up for lack of width. */
static lego_status pass(search *s, size_t width, int *complete)
{
    const lg_core *core = &s->core;
    lg_prices tilted[LG_MOST_PRICES];
    lego_status status = LEGO_OK;

    *complete = 1;
    lg_merge_restart(&s->merge);
    tilt(tilted, &s->prices);
    sum_rest(s, tilted);
    for (int32_t b = 0; b < core->n_blocks; b++) {
        int last = b + 1 == core->n_blocks;
        lg_sieve sieve = {
            core->latency_slack == LG_NO_LIMIT ? LG_NO_LIMIT : core->latency_slack - s->rest_latency[b + 1],
            core->bytes_slack == LG_NO_LIMIT ? LG_NO_LIMIT : core->bytes_slack - s->rest_bytes[b + 1],
            LG_MOST_PRICES, 0, { { 0.0, 0.0, 0.0 } } };

        if (last)
            sieve.stop_after = s->k > STARTS ? s->k : STARTS;
        for (int p = 0; p < LG_MOST_PRICES; p++)
            sieve.worths[p] = (lg_worth){ tilted[p].latency, tilted[p].bytes,
                                          worth(s, &tilted[p]) - s->rest_priced[p * (core->n_blocks + 1) + b + 1] };
        LG_TRY(lg_merge_step(&s->merge, core->blocks[b].candidates, core->blocks[b].n, &sieve));
        if (s->merge.n_states - lg_merge_last(&s->merge) > width && !last) {
            *complete = 0;
            LG_TRY(narrow(s, width));
        }
    }
done:
    return status;
}

/* Make the answer's i-th selection of candidates (by open block). */
static void fill_in(lg_answer *answer, int32_t i, const lg_core *core, const int32_t *candidates)
{
    int32_t *choice = answer->choices + (size_t)i * (size_t)answer->n_blocks;

    memcpy(choice, core->choice, (size_t)answer->n_blocks * sizeof(*choice));
    for (int32_t b = 0; b < core->n_blocks; b++)
        choice[core->blocks[b].block] = core->blocks[b].candidates[candidates[b]].tag;
    answer->totals[i] = lg_problem_total(core->problem, choice);
}

/* The selection in s->choice becomes the answer, improved by exchanges, if it is better than the one known. */
static lego_status improve(lg_answer *answer, search *s)
{
    int64_t cost = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_core_polish(s->choice, &cost, &s->core, &s->prices));
    if (cost >= s->best)
        goto done;
    if (answer->n_selections == 0)
        LG_TRY(lg_answer_init(answer, s->core.problem->n_blocks, 1));
    fill_in(answer, 0, &s->core, s->choice);
    s->best = cost;
done:
    return status;
}

/* The candidates that lead to a state, by open block. */
static void trace(const search *s, size_t state, int32_t *candidates)
{
    lg_merge_trace(&s->merge, state, candidates);
    for (int32_t b = 0; b < s->core.n_blocks; b++) {
        int32_t i = 0;

        while (s->core.blocks[b].candidates[i].tag != candidates[b])
            i++;
        candidates[b] = i;
    }
}

/* Take over the k best that a pass found, if they are at least as good as those known. */
static lego_status collect(lg_answer *answer, search *s)
{
    size_t begin = lg_merge_last(&s->merge), n = s->merge.n_states - begin;
    lg_answer found = { 0, 0, NULL, NULL, 0, 0 };
    lego_status status = LEGO_OK;

    if (n == 0 || n < (size_t)answer->n_selections)
        return LEGO_OK;
    if (s->k == 1) {
        for (size_t i = 0; i < n; i++) {
            trace(s, begin + i, s->choice);
            LG_TRY(improve(answer, s));
        }
        goto done;
    }
    n = n < (size_t)s->k ? n : (size_t)s->k;
    LG_TRY(lg_answer_init(&found, s->core.problem->n_blocks, (int32_t)n));
    for (size_t i = 0; i < n; i++) {
        trace(s, begin + i, s->choice);
        fill_in(&found, (int32_t)i, &s->core, s->choice);
    }
    if ((size_t)answer->n_selections == n && answer->totals[n - 1].cost < found.totals[n - 1].cost)
        goto done;
    lg_answer_dispose(answer);
    *answer = found;
    found.choices = NULL;
    found.totals = NULL;
    if (n == (size_t)s->k)
        s->best = answer->totals[n - 1].cost - s->core.settled.cost;
done:
    lg_answer_dispose(&found);
    return status;
}

static lego_status search_init(search *s, const lg_problem *problem, int32_t k)
{
    size_t n = (size_t)problem->n_blocks;
    lego_status status = LEGO_OK;

    s->k = k;
    s->best = INT64_MAX;
    LG_TRY(lg_core_init(&s->core, problem, k));
    LG_TRY(lg_merge_init(&s->merge, problem->n_blocks, k));
    LG_TRY(LG_CALLOC(&s->scratch, n));
    LG_TRY(LG_CALLOC(&s->choice, n));
    LG_TRY(LG_CALLOC(&s->rest_priced, LG_MOST_PRICES * (n + 1)));
    LG_TRY(LG_CALLOC(&s->rest_latency, n + 1));
    LG_TRY(LG_CALLOC(&s->rest_bytes, n + 1));
done:
    return status;
}

/* A lower bound in the problem's own units. */
static int64_t whole_bound(const search *s, double excess_bound)
{
    double bound = ceil(excess_bound - s->prices.rounding);

    return s->core.settled.cost + (int64_t)fmax(bound, 0.0);
}

lego_status lg_solve_exact(lg_answer *out, const lg_problem *problem, int32_t k, size_t max_states)
{
    search s;
    lg_answer answer = { 0, 0, NULL, NULL, 0, 0 };
    int64_t cost = INT64_MAX, bound;
    size_t width = FIRST_WIDTH, widest;
    int complete = 0;
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    memset(&s, 0, sizeof(s));
    if (k < 1 || k > INT16_MAX)
        return lg_error(LEGO_EINVAL, "k=%d best selections; allowed are 1 to %d", k, INT16_MAX);
    LG_TRY(lg_problem_check(problem));
    LG_TRY(search_init(&s, problem, k));
    lg_core_price(&s.prices, &s.core, s.scratch, s.choice, &cost);
    bound = whole_bound(&s, s.prices.bound);
    if (k == 1 && cost != INT64_MAX)
        LG_TRY(improve(&answer, &s)); /* the selection that pricing met on its way */
    LG_TRY(sort_blocks(&s));
    for (;;) {
        if (s.best != INT64_MAX && !drop_dear(&s)) { /* nothing can be better */
            complete = 1;
            break;
        }
        widest = max_states / (size_t)(s.core.n_blocks + 1) + 1;
        width = width < widest ? width : widest;
        LG_TRY(pass(&s, width, &complete));
        LG_TRY(collect(&answer, &s));
        if (complete || width == widest)
            break;
        width *= WIDENING;
    }
    if (answer.n_selections == 0 && !complete)
        LG_FAIL(LEGO_ENOMEM, "no selection was found within %zu partial selections", max_states);
    if (answer.n_selections == 0)
        LG_FAIL(LEGO_EINFEASIBLE, "no selection meets both limits");
    answer.proven = complete;
    answer.bound = complete ? answer.totals[0].cost : bound;

    *out = answer;
    answer.choices = NULL;
    answer.totals = NULL;
done:
    lg_answer_dispose(&answer);
    search_dispose(&s);
    return status;
}
