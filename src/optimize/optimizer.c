/* A store's profiles become a selection problem.
 *
 * The server profile gives every variant a cost (a term of its accuracy predictor), the device profile a latency and
 * the bytes it occupies in the engine; frame and arena are the same for every selection. From here on the solvers see
 * integers only: billionths of the predictor's unit, nanoseconds, bytes.
 *
 * What newcomers get wrong: below the billionth, each cost carries a small term for latency. Variants that the profile
 * cannot tell apart in accuracy are told apart by speed, without a second objective and without ever outweighing a
 * billionth of accuracy. */
#include "optimize/optimizer.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/context.h"
#include "base/file.h"

#define COST_UNIT 1e-9
#define TIE_STEPS 256

/* --- building the problem --- */

static lego_status init_problem(lego_optimizer *optimizer)
{
    const lego_store *store = optimizer->store;
    int32_t *n_variants = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&n_variants, store->n_blocks));
    for (int32_t b = 0; b < store->n_blocks; b++)
        n_variants[b] = store->blocks[b].n_variants;
    LG_TRY(lg_problem_init(&optimizer->problem, store->n_blocks, n_variants));
    LG_TRY(LG_CALLOC(&optimizer->costs, optimizer->problem.first[store->n_blocks]));
    LG_TRY(LG_CALLOC(&optimizer->flops, optimizer->problem.first[store->n_blocks]));
done:
    lg_free(n_variants);
    return status;
}

static lego_status find_variant(const lg_profile_variant **out, const lg_profile_side *side, const lg_block *block,
                                const lg_variant *variant, const char *command)
{
    const lg_profile_block *found = lg_profile_find_block(side, block->name);

    *out = found ? lg_profile_find_variant(found, variant->name) : NULL;
    if (*out)
        return LEGO_OK;
    return lg_error(LEGO_ENOTFOUND, "the profile does not know block '%s' variant '%s': run `%s` again", block->name,
                    variant->name, command);
}

static lego_status fill_costs(lego_optimizer *optimizer, lego_context *context)
{
    const lego_store *store = optimizer->store;
    int32_t changed = 0;
    lego_status status = LEGO_OK;

    for (int32_t b = 0; b < store->n_blocks; b++)
        for (int32_t v = 0; v < store->blocks[b].n_variants; v++) {
            const lg_variant *variant = &store->blocks[b].variants[v];
            int32_t i = optimizer->problem.first[b] + v;
            const lg_profile_variant *found;

            LG_TRY(find_variant(&found, &optimizer->server->server, &store->blocks[b], variant,
                                "legodnn profile STORE --data DATA"));
            optimizer->costs[i] = found->cost;
            optimizer->flops[i] = variant->flops;
            optimizer->problem.demands[i].cost = TIE_STEPS * (int64_t)llround(found->cost / COST_UNIT);
            optimizer->problem.demands[i].bytes = (int64_t)variant->weight_bytes;
            changed += found->checksum != 0 && found->checksum != variant->checksum;
        }
    if (changed > 0)
        lg_log(context, LEGO_LOG_WARNING, "optimize",
               "%d variants have changed since their accuracy was measured; run `legodnn profile` again", changed);
    optimizer->frame_flops = lg_graph_flops(store->frame);
    optimizer->problem.fixed.bytes = (int64_t)lg_graph_weight_bytes(store->frame);
done:
    return status;
}

static int64_t to_ns(double us)
{
    return (int64_t)llround(us * 1e3);
}

static lego_status fill_latencies(lego_optimizer *optimizer)
{
    const lego_store *store = optimizer->store;
    const lego_profile *device = optimizer->device;
    lego_status status = LEGO_OK;

    for (int32_t b = 0; b < store->n_blocks; b++)
        for (int32_t v = 0; v < store->blocks[b].n_variants; v++) {
            lg_demand *demand = lg_problem_demand(&optimizer->problem, b, v);
            const lg_profile_variant *found;

            LG_TRY(find_variant(&found, &device->device, &store->blocks[b], &store->blocks[b].variants[v],
                                "legodnn profile STORE --latency"));
            demand->latency = to_ns(found->timing.latency_us);
            demand->bytes = found->timing.resident_bytes;
        }
    optimizer->problem.fixed.latency = to_ns(device->frame.latency_us);
    optimizer->problem.fixed.bytes = device->frame.resident_bytes + device->arena_bytes;
done:
    return status;
}

/* Among variants of equal cost the faster one is better. */
static void break_ties(lg_problem *problem)
{
    int32_t steps = (TIE_STEPS - 1) / problem->n_blocks; /* the terms of all blocks stay below one unit of cost */

    for (int32_t b = 0; b < problem->n_blocks; b++) {
        int64_t slowest = 1;

        for (int32_t v = 0; v < lg_problem_n_variants(problem, b); v++)
            if (lg_problem_demand(problem, b, v)->latency > slowest)
                slowest = lg_problem_demand(problem, b, v)->latency;
        for (int32_t v = 0; v < lg_problem_n_variants(problem, b); v++) {
            lg_demand *demand = lg_problem_demand(problem, b, v);

            demand->cost += (int64_t)((double)steps * (double)demand->latency / (double)slowest);
        }
    }
}

/* --- the optimiser --- */

/* `path`, or `name` in the store's folder; NULL if memory is out. */
static char *profile_path(const lego_store *store, const char *path, const char *name)
{
    return path ? lg_strdup(path) : lg_path_join(store->path, name);
}

static lego_status load_profiles(lego_optimizer *optimizer, const lego_optimizer_options *options)
{
    char *server = profile_path(optimizer->store, options->accuracy_profile, LEGO_PROFILE_SERVER_FILE);
    char *device = profile_path(optimizer->store, options->latency_profile, LEGO_PROFILE_DEVICE_FILE);
    lego_status status = LEGO_OK;

    if (!server || !device)
        LG_FAIL(LEGO_ENOMEM, "out of memory");
    if (!options->accuracy_profile && !lg_file_exists(server))
        LG_FAIL(LEGO_ENOTFOUND, "'%s' is missing: run `legodnn profile STORE --data DATA`", server);
    LG_TRY(lego_profile_load(&optimizer->server, server));
    if (optimizer->server->server.n_blocks == 0)
        LG_FAIL(LEGO_EFORMAT, "%s: no server section: accuracy was not measured", server);
    if (options->latency_profile || lg_file_exists(device)) {
        LG_TRY(lego_profile_load(&optimizer->device, device));
        if (optimizer->device->device.n_blocks == 0)
            LG_FAIL(LEGO_EFORMAT, "%s: no device section: latency was not measured", device);
    }
done:
    lg_free(server);
    lg_free(device);
    return status;
}

lego_status lego_optimizer_create(lego_optimizer **out, lego_context *context, const lego_store *store,
                                  const lego_optimizer_options *options)
{
    lego_optimizer_options opts = LEGO_OPTIMIZER_OPTIONS_INIT;
    lego_optimizer *optimizer = NULL;
    lego_status status = LEGO_OK;

    if (!out || !store)
        return lg_error(LEGO_EINVAL, "out and store must not be NULL");
    *out = NULL;
    LG_TRY(lg_options_read(&opts, sizeof(opts), options));
    if (!(opts.latency_margin <= 10.0)) /* this form also rejects NaN */
        LG_FAIL(LEGO_EINVAL, "latency margin %g; allowed is at most 10", opts.latency_margin);
    if (!store->path && (!opts.accuracy_profile || !opts.latency_profile))
        LG_FAIL(LEGO_EINVAL, "the store has not been written: it has no profiles");
    LG_TRY(LG_CALLOC(&optimizer, 1));
    optimizer->store = store;
    LG_TRY(load_profiles(optimizer, &opts));
    LG_TRY(init_problem(optimizer));
    LG_TRY(fill_costs(optimizer, context));
    if (optimizer->device) {
        LG_TRY(fill_latencies(optimizer));
        optimizer->margin = opts.latency_margin == 0.0 ? optimizer->device->margin : fmax(opts.latency_margin, 0.0);
    }
    break_ties(&optimizer->problem);
    LG_TRY(lg_problem_check(&optimizer->problem));

    *out = optimizer;
    optimizer = NULL;
done:
    lego_optimizer_free(optimizer);
    return status;
}

void lego_optimizer_free(lego_optimizer *optimizer)
{
    if (!optimizer)
        return;
    lego_profile_free(optimizer->server);
    lego_profile_free(optimizer->device);
    lg_problem_dispose(&optimizer->problem);
    lg_free(optimizer->costs);
    lg_free(optimizer->flops);
    lg_free(optimizer);
}

void lg_optimizer_predict(lego_prediction *out, const lego_optimizer *optimizer, const lg_problem *problem,
                          const int32_t *choice)
{
    lg_demand total = lg_problem_total(problem, choice);
    double cost = 0.0;

    out->flops = optimizer->frame_flops;
    for (int32_t b = 0; b < problem->n_blocks; b++) {
        cost += optimizer->costs[problem->first[b] + choice[b]];
        out->flops += optimizer->flops[problem->first[b] + choice[b]];
    }
    out->accuracy = lg_profile_accuracy(optimizer->server, cost);
    out->accuracy_drop = optimizer->server->accuracy - out->accuracy;
    out->latency_ms = optimizer->device ? 1e-6 * (double)total.latency : NAN;
    out->memory_bytes = total.bytes;
}

lego_status lego_optimizer_predict(lego_prediction *out, const lego_optimizer *optimizer,
                                   const lego_selection *selection)
{
    if (!out || !optimizer || !selection)
        return lg_error(LEGO_EINVAL, "out, optimizer and selection must not be NULL");
    if (selection->n_blocks != optimizer->problem.n_blocks)
        return lg_error(LEGO_EINVAL, "the selection has %d blocks, the store has %d", selection->n_blocks,
                        optimizer->problem.n_blocks);
    for (int32_t b = 0; b < selection->n_blocks; b++)
        if (selection->variants[b] < 0 || selection->variants[b] >= lg_problem_n_variants(&optimizer->problem, b))
            return lg_error(LEGO_EINVAL, "block '%s': variant %d is not in 0 to %d", optimizer->store->blocks[b].name,
                            selection->variants[b], lg_problem_n_variants(&optimizer->problem, b) - 1);
    lg_optimizer_predict(out, optimizer, &optimizer->problem, selection->variants);
    return LEGO_OK;
}

lego_status lg_optimizer_limit(lg_problem *problem, const lego_optimizer *optimizer, const lego_budget *budget)
{
    problem->latency_limit = problem->bytes_limit = LG_NO_LIMIT;
    if (!(budget->latency_ms >= 0.0 && budget->latency_ms <= 1e9))
        return lg_error(LEGO_EINVAL, "latency limit %g ms is not in [0, 1e9]", budget->latency_ms);
    if (budget->memory_bytes < 0)
        return lg_error(LEGO_EINVAL, "memory limit %lld bytes is negative", (long long)budget->memory_bytes);
    if (budget->latency_ms > 0.0 && !optimizer->device)
        return lg_error(LEGO_ENOTFOUND, "a latency limit needs '%s/%s': run `legodnn profile STORE --latency` on the device",
                        optimizer->store->path, LEGO_PROFILE_DEVICE_FILE);
    if (budget->latency_ms > 0.0)
        problem->latency_limit = (int64_t)floor(budget->latency_ms * 1e6 / (1.0 + optimizer->margin));
    if (budget->memory_bytes > 0)
        problem->bytes_limit = budget->memory_bytes;
    return LEGO_OK;
}

double lg_optimizer_limit_ms(const lego_optimizer *optimizer, int64_t latency)
{
    return 1e-6 * ((double)latency + 1.0) * (1.0 + optimizer->margin); /* + 1: as a limit it gives this back */
}
