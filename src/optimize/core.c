/* Reductions that need no search: take off what every selection pays, drop variants that cannot be in an answer.
 *
 * What newcomers get wrong: demands in here are excesses over the block's minimum, and a limit that cannot bind is
 * erased together with its column of demands, which turns three-dimensional dominance into two-dimensional. */
#include "optimize/core.h"

#include <string.h>

#include "base/alloc.h"

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* `a` is at least as good in every respect; of equals the first one. */
static int beats(const lg_candidate *a, const lg_candidate *b)
{
    const lg_demand *x = &a->demand, *y = &b->demand;

    if (x->cost > y->cost || x->latency > y->latency || x->bytes > y->bytes)
        return 0;
    return x->cost < y->cost || x->latency < y->latency || x->bytes < y->bytes || a->tag < b->tag;
}

static void drop_beaten(lg_core_block *block, int32_t k)
{
    int32_t kept = 0;

    /* Marked by a negative tag first: a dropped variant still counts as one that beats. */
    for (int32_t i = 0; i < block->n; i++) {
        int32_t beaten_by = 0;

        for (int32_t j = 0; j < block->n && beaten_by < k; j++) {
            lg_candidate other = block->candidates[j];

            if (other.tag < 0)
                other.tag = -1 - other.tag;
            beaten_by += j != i && beats(&other, &block->candidates[i]);
        }
        if (beaten_by >= k)
            block->candidates[i].tag = -1 - block->candidates[i].tag;
    }
    for (int32_t i = 0; i < block->n; i++)
        if (block->candidates[i].tag >= 0)
            block->candidates[kept++] = block->candidates[i];
    block->n = kept;
}

/* Add a block's excesses to the core; its minima go to `settled`. */
static void add_block(lg_core *core, int32_t b, lg_candidate *storage)
{
    const lg_problem *problem = core->problem;
    lg_core_block *block = &core->blocks[core->n_blocks++];
    lg_demand minimum = *lg_problem_demand(problem, b, 0);

    block->block = b;
    block->n = lg_problem_n_variants(problem, b);
    block->candidates = storage;
    for (int32_t v = 1; v < block->n; v++) {
        const lg_demand *demand = lg_problem_demand(problem, b, v);

        minimum.cost = least(minimum.cost, demand->cost);
        minimum.latency = least(minimum.latency, demand->latency);
        minimum.bytes = least(minimum.bytes, demand->bytes);
    }
    for (int32_t v = 0; v < block->n; v++) {
        const lg_demand *demand = lg_problem_demand(problem, b, v);

        storage[v].tag = v;
        storage[v].demand = (lg_demand){ demand->cost - minimum.cost, demand->latency - minimum.latency,
                                         demand->bytes - minimum.bytes };
    }
    core->settled.cost += minimum.cost;
    core->settled.latency += minimum.latency;
    core->settled.bytes += minimum.bytes;
}

static void drop_oversized(lg_core *core)
{
    for (int32_t b = 0; b < core->n_blocks; b++) {
        lg_core_block *block = &core->blocks[b];
        int32_t kept = 0;

        for (int32_t i = 0; i < block->n; i++)
            if (block->candidates[i].demand.latency <= core->latency_slack &&
                block->candidates[i].demand.bytes <= core->bytes_slack)
                block->candidates[kept++] = block->candidates[i];
        block->n = kept; /* 0 if each variant exceeds one limit or the other */
    }
}

/* Erase a limit that even the largest demands meet. */
static void erase_loose_limits(lg_core *core)
{
    int64_t latency = 0, bytes = 0;

    for (int32_t b = 0; b < core->n_blocks; b++) {
        int64_t most_latency = 0, most_bytes = 0;

        for (int32_t i = 0; i < core->blocks[b].n; i++) {
            most_latency = most(most_latency, core->blocks[b].candidates[i].demand.latency);
            most_bytes = most(most_bytes, core->blocks[b].candidates[i].demand.bytes);
        }
        latency += most_latency;
        bytes += most_bytes;
    }
    if (latency <= core->latency_slack)
        core->latency_slack = LG_NO_LIMIT;
    if (bytes <= core->bytes_slack)
        core->bytes_slack = LG_NO_LIMIT;
    for (int32_t b = 0; b < core->n_blocks; b++)
        for (int32_t i = 0; i < core->blocks[b].n; i++) {
            if (core->latency_slack == LG_NO_LIMIT)
                core->blocks[b].candidates[i].demand.latency = 0;
            if (core->bytes_slack == LG_NO_LIMIT)
                core->blocks[b].candidates[i].demand.bytes = 0;
        }
}

int lg_core_settle(lg_core *core)
{
    int32_t open = 0;

    for (int32_t b = 0; b < core->n_blocks; b++) {
        const lg_core_block *block = &core->blocks[b];

        if (block->n == 1) {
            const lg_demand *demand = &block->candidates[0].demand;

            core->choice[block->block] = block->candidates[0].tag;
            core->settled.cost += demand->cost;
            core->settled.latency += demand->latency;
            core->settled.bytes += demand->bytes;
            if (core->latency_slack != LG_NO_LIMIT)
                core->latency_slack -= demand->latency;
            if (core->bytes_slack != LG_NO_LIMIT)
                core->bytes_slack -= demand->bytes;
        } else {
            core->blocks[open++] = *block;
        }
    }
    core->n_blocks = open;
    return core->latency_slack >= 0 && core->bytes_slack >= 0;
}

lego_status lg_core_init(lg_core *out, const lg_problem *problem, int32_t k)
{
    size_t n = (size_t)problem->n_blocks;
    lego_status status = LEGO_OK;

    memset(out, 0, sizeof(*out));
    out->problem = problem;
    out->settled = problem->fixed;
    LG_TRY(LG_CALLOC(&out->blocks, n));
    LG_TRY(LG_CALLOC(&out->choice, n));
    LG_TRY(LG_CALLOC(&out->storage, problem->first[n]));
    for (int32_t b = 0; b < problem->n_blocks; b++)
        add_block(out, b, out->storage + problem->first[b]);
    out->latency_slack = out->bytes_slack = LG_NO_LIMIT;
    if (problem->latency_limit != LG_NO_LIMIT)
        out->latency_slack = problem->latency_limit - out->settled.latency;
    if (problem->bytes_limit != LG_NO_LIMIT)
        out->bytes_slack = problem->bytes_limit - out->settled.bytes;
    if (out->latency_slack < 0 || out->bytes_slack < 0)
        LG_FAIL(LEGO_EINFEASIBLE, "even the smallest variants exceed a limit");
    drop_oversized(out);
    erase_loose_limits(out);
    for (int32_t b = 0; b < out->n_blocks; b++) {
        if (out->blocks[b].n == 0)
            LG_FAIL(LEGO_EINFEASIBLE, "no variant of block %d fits both limits", out->blocks[b].block);
        drop_beaten(&out->blocks[b], k);
    }
    if (!lg_core_settle(out))
        LG_FAIL(LEGO_EINFEASIBLE, "the only variants that fit exceed a limit together");
done:
    if (status != LEGO_OK)
        lg_core_dispose(out);
    return status;
}

void lg_core_dispose(lg_core *core)
{
    lg_free(core->blocks);
    lg_free(core->choice);
    lg_free(core->storage);
    memset(core, 0, sizeof(*core));
}
