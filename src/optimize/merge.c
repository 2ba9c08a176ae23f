/* Pareto-merge, the engine of solve_exact.c and pareto.c.
 *
 * A level's states are sorted by (cost, latency, bytes). Shifted by one variant's demand they stay sorted, so the next
 * level is an n-way merge of shifted copies through a small heap: no sorting, and a state can be beaten only by one
 * that was taken before it. What was taken is summed up as a staircase (latency rising, bytes falling), so one binary
 * search answers whether a newcomer is beaten.
 *
 * For the k best selections a state may go only once k others beat it. Staircases are stacked: a newcomer settles on
 * the first one where it is not beaten, and what it pushes off there moves one down. Beaten on all k means k different
 * states beat it.
 *
 * What newcomers get wrong: states refer to parents by index, never by pointer, since the array moves as it grows. */
#include "optimize/merge.h"

#include <string.h>

#include "base/alloc.h"

static int before(const lg_demand *a, const lg_demand *b)
{
    if (a->cost != b->cost)
        return a->cost < b->cost;
    if (a->latency != b->latency)
        return a->latency < b->latency;
    return a->bytes < b->bytes;
}

static lego_status start(lg_merge *merge)
{
    lego_status status = LG_RESERVE(&merge->states, &merge->capacity, 1);

    if (status == LEGO_OK)
        lg_merge_restart(merge);
    return status;
}

lego_status lg_merge_init(lg_merge *merge, int32_t max_levels, int32_t k)
{
    lego_status status = LEGO_OK;

    memset(merge, 0, sizeof(*merge));
    merge->k = k;
    merge->max_levels = max_levels;
    LG_TRY(LG_CALLOC(&merge->level, max_levels + 2));
    LG_TRY(LG_CALLOC(&merge->stairs, k));
    LG_TRY(start(merge));
done:
    if (status != LEGO_OK)
        lg_merge_dispose(merge);
    return status;
}

void lg_merge_restart(lg_merge *merge)
{
    merge->states[0] = (lg_state){ { 0, 0, 0 }, 0, 0 };
    merge->n_states = 1;
    merge->n_levels = 1;
    merge->level[0] = 0;
    merge->level[1] = 1;
}

void lg_merge_dispose(lg_merge *merge)
{
    for (int32_t i = 0; merge->stairs && i < merge->k; i++) {
        lg_free(merge->stairs[i].latency);
        lg_free(merge->stairs[i].bytes);
    }
    lg_free(merge->stairs);
    lg_free(merge->states);
    lg_free(merge->level);
    lg_free(merge->heap);
    memset(merge, 0, sizeof(*merge));
}

/* First entry with a latency above `latency`. */
static size_t stairs_above(const lg_stairs *stairs, int64_t latency)
{
    size_t low = 0, high = stairs->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (stairs->latency[middle] <= latency)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int stairs_beat(const lg_stairs *stairs, int64_t latency, int64_t bytes)
{
    size_t above = stairs_above(stairs, latency);

    return above > 0 && stairs->bytes[above - 1] <= bytes;
}

static lego_status stairs_reserve(lg_stairs *stairs, size_t need)
{
    size_t capacity = stairs->capacity, same = stairs->capacity;
    lego_status status = LEGO_OK;

    LG_TRY(LG_RESERVE(&stairs->latency, &capacity, need));
    LG_TRY(LG_RESERVE(&stairs->bytes, &same, need));
    stairs->capacity = capacity;
done:
    return status;
}

/* Settle an entry on staircase `i` or below; 0 in `*beaten` if it found a place. */
static lego_status settle(lg_merge *merge, int32_t i, int64_t latency, int64_t bytes, int *beaten)
{
    lg_stairs *stairs;
    size_t at, end;
    int ignored;
    lego_status status = LEGO_OK;

    while (i < merge->k && stairs_beat(&merge->stairs[i], latency, bytes))
        i++;
    *beaten = i == merge->k;
    if (*beaten)
        return LEGO_OK;
    stairs = &merge->stairs[i];
    LG_TRY(stairs_reserve(stairs, stairs->n + 1));
    at = stairs_above(stairs, latency);
    if (at > 0 && stairs->latency[at - 1] == latency) /* same latency, more bytes: pushed off as well */
        at--;
    for (end = at; end < stairs->n && stairs->bytes[end] >= bytes; end++)
        if (i + 1 < merge->k)
            LG_TRY(settle(merge, i + 1, stairs->latency[end], stairs->bytes[end], &ignored));
    memmove(stairs->latency + at + 1, stairs->latency + end, (stairs->n - end) * sizeof(*stairs->latency));
    memmove(stairs->bytes + at + 1, stairs->bytes + end, (stairs->n - end) * sizeof(*stairs->bytes));
    stairs->latency[at] = latency;
    stairs->bytes[at] = bytes;
    stairs->n = stairs->n - (end - at) + 1;
done:
    return status;
}

static int passes(const lg_sieve *sieve, const lg_demand *sum)
{
    if (sum->latency > sieve->latency_max || sum->bytes > sieve->bytes_max)
        return 0;
    for (int32_t i = 0; i < sieve->n_worths; i++) {
        const lg_worth *worth = &sieve->worths[i];

        if ((double)sum->cost + worth->latency * (double)sum->latency + worth->bytes * (double)sum->bytes >
            worth->worth_max)
            return 0;
    }
    return 1;
}

/* One strand of the merge: the next state of the old level that passes with this candidate added. */
typedef struct lg_strand {
    lg_demand sum;
    size_t next;         /* index of the state to look at next */
    const lg_candidate *candidate;
} strand;

static int advance(strand *s, const lg_merge *merge, size_t end, const lg_sieve *sieve)
{
    const lg_demand *demand = &s->candidate->demand;

    while (s->next < end) {
        const lg_demand *sum = &merge->states[s->next++].sum;

        s->sum = (lg_demand){ sum->cost + demand->cost, sum->latency + demand->latency, sum->bytes + demand->bytes };
        if (passes(sieve, &s->sum))
            return 1;
    }
    return 0;
}

static void sift_down(strand *heap, size_t n, size_t i)
{
    for (;;) {
        size_t child = 2 * i + 1;
        strand moved;

        if (child >= n)
            return;
        if (child + 1 < n && before(&heap[child + 1].sum, &heap[child].sum))
            child++;
        if (!before(&heap[child].sum, &heap[i].sum))
            return;
        moved = heap[i];
        heap[i] = heap[child];
        heap[child] = moved;
        i = child;
    }
}

lego_status lg_merge_step(lg_merge *merge, const lg_candidate *candidates, int32_t n_candidates, const lg_sieve *sieve)
{
    size_t begin = merge->level[merge->n_levels - 1], end = merge->level[merge->n_levels];
    size_t n = 0;
    strand *heap;
    int32_t taken = 0;
    lego_status status = LEGO_OK;

    LG_TRY(LG_RESERVE(&merge->heap, &merge->heap_capacity, (size_t)n_candidates));
    heap = merge->heap;
    for (int32_t i = 0; i < merge->k; i++)
        merge->stairs[i].n = 0;
    for (int32_t i = 0; i < n_candidates; i++) {
        heap[n].next = begin;
        heap[n].candidate = &candidates[i];
        n += (size_t)advance(&heap[n], merge, end, sieve);
    }
    for (size_t i = n / 2; i-- > 0;)
        sift_down(heap, n, i);
    while (n > 0) {
        strand *top = &heap[0];
        int beaten = 0;

        LG_TRY(settle(merge, 0, top->sum.latency, top->sum.bytes, &beaten));
        if (!beaten) {
            if (merge->n_states >= INT32_MAX)
                LG_FAIL(LEGO_ENOMEM, "selection problem: more than %d partial selections", INT32_MAX);
            LG_TRY(LG_RESERVE(&merge->states, &merge->capacity, merge->n_states + 1));
            merge->states[merge->n_states++] =
                (lg_state){ top->sum, (int32_t)(top->next - 1), top->candidate->tag };
            if (++taken == sieve->stop_after)
                break;
        }
        if (!advance(top, merge, end, sieve))
            *top = heap[--n];
        sift_down(heap, n, 0);
    }
    merge->n_levels++;
    merge->level[merge->n_levels] = merge->n_states;
done:
    return status;
}

void lg_merge_keep(lg_merge *merge, const uint8_t *marked)
{
    size_t begin = lg_merge_last(merge), kept = begin;

    for (size_t s = begin; s < merge->n_states; s++)
        if (marked[s - begin])
            merge->states[kept++] = merge->states[s];
    merge->n_states = kept;
    merge->level[merge->n_levels] = kept;
}

void lg_merge_trace(const lg_merge *merge, size_t state, int32_t *choices)
{
    for (int32_t l = merge->n_levels - 1; l > 0; l--) {
        choices[l - 1] = merge->states[state].choice;
        state = (size_t)merge->states[state].parent;
    }
}
