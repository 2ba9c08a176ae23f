/* The frontier of cost, latency and bytes: every selection that no other one beats.
 *
 * The same Pareto-merge as the exact solver's, without bounds. A frontier can be exponentially large, so a level that
 * outgrows its share is thinned: latency and bytes are divided into a grid, fine at first and coarser until it helps,
 * and each cell keeps its cheapest state. The ends of the frontier always stay.
 *
 * What newcomers get wrong: thinning a level thins what later levels are built from, so a thinned frontier consists of
 * real selections with exact sums, but better ones may be missing in between: `proven` is 0. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "optimize/merge.h"

typedef struct frontier {
    lg_merge merge;
    lg_candidate *candidates;
    int64_t *rest_latency, *rest_bytes;
    uint8_t *marked;
    size_t marked_capacity;
    uint64_t *cells; /* open hash table of taken cells */
    size_t cells_capacity;
} frontier;

static void frontier_dispose(frontier *f)
{
    lg_merge_dispose(&f->merge);
    lg_free(f->candidates);
    lg_free(f->rest_latency);
    lg_free(f->rest_bytes);
    lg_free(f->marked);
    lg_free(f->cells);
}

/* Enter a cell; 0 if it was taken. Cell numbers are stored above zero. */
static int take_cell(uint64_t *cells, size_t mask, uint64_t cell)
{
    size_t slot = (size_t)((cell * 0x9e3779b97f4a7c15u) >> 20) & mask;

    while (cells[slot] != 0 && cells[slot] != cell + 1)
        slot = (slot + 1) & mask;
    if (cells[slot] == cell + 1)
        return 0;
    cells[slot] = cell + 1;
    return 1;
}

typedef struct extent {
    int64_t latency_min, latency_max, bytes_min, bytes_max;
} extent;

static extent measure(const lg_state *states, size_t n)
{
    extent e = { states[0].sum.latency, states[0].sum.latency, states[0].sum.bytes, states[0].sum.bytes };

    for (size_t i = 1; i < n; i++) {
        const lg_demand *sum = &states[i].sum;

        e.latency_min = sum->latency < e.latency_min ? sum->latency : e.latency_min;
        e.latency_max = sum->latency > e.latency_max ? sum->latency : e.latency_max;
        e.bytes_min = sum->bytes < e.bytes_min ? sum->bytes : e.bytes_min;
        e.bytes_max = sum->bytes > e.bytes_max ? sum->bytes : e.bytes_max;
    }
    return e;
}

/* Mark what a grid of `divisions` a side keeps; returns how many. States are sorted by cost. */
static size_t mark(frontier *f, const lg_state *states, size_t n, const extent *e, uint64_t divisions, size_t mask)
{
    uint64_t latency_step = (uint64_t)(e->latency_max - e->latency_min) / divisions + 1;
    uint64_t bytes_step = (uint64_t)(e->bytes_max - e->bytes_min) / divisions + 1;
    int latency_end = 0, bytes_end = 0;
    size_t kept = 0;

    memset(f->cells, 0, (mask + 1) * sizeof(*f->cells));
    for (size_t i = 0; i < n; i++) {
        const lg_demand *sum = &states[i].sum;
        uint64_t row = (uint64_t)(sum->latency - e->latency_min) / latency_step;
        uint64_t column = (uint64_t)(sum->bytes - e->bytes_min) / bytes_step;
        int keep = take_cell(f->cells, mask, row << 32 | column);

        keep |= !latency_end && sum->latency == e->latency_min;
        keep |= !bytes_end && sum->bytes == e->bytes_min;
        latency_end |= sum->latency == e->latency_min;
        bytes_end |= sum->bytes == e->bytes_min;
        f->marked[i] = (uint8_t)keep;
        kept += (size_t)keep;
    }
    return kept;
}

static lego_status thin(frontier *f, size_t most)
{
    size_t begin = lg_merge_last(&f->merge), n = f->merge.n_states - begin, table = 1;
    const lg_state *states = f->merge.states + begin;
    extent e = measure(states, n);
    uint64_t divisions = 1u << 16;
    lego_status status = LEGO_OK;

    while (table < 2 * n)
        table *= 2;
    LG_TRY(LG_RESERVE(&f->marked, &f->marked_capacity, n));
    LG_TRY(LG_RESERVE(&f->cells, &f->cells_capacity, table));
    while (mark(f, states, n, &e, divisions, table - 1) > most && divisions > 1)
        divisions -= (divisions + 3) / 4;
    lg_merge_keep(&f->merge, f->marked);
done:
    return status;
}

static int by_demand(const void *a, const void *b)
{
    const lg_candidate *x = a, *y = b;

    if (x->demand.cost != y->demand.cost)
        return x->demand.cost < y->demand.cost ? -1 : 1;
    return (x->tag > y->tag) - (x->tag < y->tag);
}

static lego_status frontier_init(frontier *f, const lg_problem *problem)
{
    int32_t n = problem->n_blocks;
    lego_status status = LEGO_OK;

    LG_TRY(lg_merge_init(&f->merge, n, 1));
    LG_TRY(LG_CALLOC(&f->candidates, problem->first[n]));
    LG_TRY(LG_CALLOC(&f->rest_latency, n + 1));
    LG_TRY(LG_CALLOC(&f->rest_bytes, n + 1));
    for (int32_t b = n - 1; b >= 0; b--) {
        int64_t latency = INT64_MAX, bytes = INT64_MAX;

        for (int32_t v = 0; v < lg_problem_n_variants(problem, b); v++) {
            lg_candidate *candidate = &f->candidates[problem->first[b] + v];

            candidate->demand = *lg_problem_demand(problem, b, v);
            candidate->tag = v;
            latency = candidate->demand.latency < latency ? candidate->demand.latency : latency;
            bytes = candidate->demand.bytes < bytes ? candidate->demand.bytes : bytes;
        }
        qsort(f->candidates + problem->first[b], (size_t)lg_problem_n_variants(problem, b), sizeof(*f->candidates),
              by_demand);
        f->rest_latency[b] = f->rest_latency[b + 1] + latency;
        f->rest_bytes[b] = f->rest_bytes[b + 1] + bytes;
    }
done:
    return status;
}

static lego_status hand_over(lg_answer *out, const frontier *f, const lg_problem *problem)
{
    size_t begin = lg_merge_last(&f->merge), n = f->merge.n_states - begin;
    lego_status status = LEGO_OK;

    LG_TRY(lg_answer_init(out, problem->n_blocks, (int32_t)n));
    for (size_t i = 0; i < n; i++) {
        lg_merge_trace(&f->merge, begin + i, out->choices + i * (size_t)problem->n_blocks);
        out->totals[i] = lg_problem_total(problem, out->choices + i * (size_t)problem->n_blocks);
    }
    out->bound = out->totals[0].cost;
done:
    return status;
}

lego_status lg_solve_pareto(lg_answer *out, const lg_problem *problem, size_t max_states, int32_t max_points)
{
    frontier f;
    size_t most;
    int thinned = 0;
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    memset(&f, 0, sizeof(f));
    LG_TRY(lg_problem_check(problem));
    LG_TRY(frontier_init(&f, problem));
    most = max_states / (size_t)problem->n_blocks;
    most = most < 16 ? 16 : most;
    for (int32_t b = 0; b < problem->n_blocks; b++) {
        lg_sieve sieve = { problem->latency_limit, problem->bytes_limit, 0, 0, { { 0.0, 0.0, 0.0 } } };

        if (problem->latency_limit != LG_NO_LIMIT)
            sieve.latency_max -= problem->fixed.latency + f.rest_latency[b + 1];
        if (problem->bytes_limit != LG_NO_LIMIT)
            sieve.bytes_max -= problem->fixed.bytes + f.rest_bytes[b + 1];
        LG_TRY(lg_merge_step(&f.merge, f.candidates + problem->first[b], lg_problem_n_variants(problem, b), &sieve));
        if (f.merge.n_states == lg_merge_last(&f.merge))
            LG_FAIL(thinned ? LEGO_ENOMEM : LEGO_EINFEASIBLE, "no selection meets both limits");
        if (f.merge.n_states - lg_merge_last(&f.merge) > most) {
            thinned = 1;
            LG_TRY(thin(&f, most));
        }
    }
    if (max_points > 0 && f.merge.n_states - lg_merge_last(&f.merge) > (size_t)max_points) {
        thinned = 1;
        LG_TRY(thin(&f, (size_t)max_points));
    }
    LG_TRY(hand_over(out, &f, problem));
    out->proven = !thinned;
done:
    frontier_dispose(&f);
    return status;
}
