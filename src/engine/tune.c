/* tune.c: what each way to do a piece of work costs, in microseconds.
 *
 * Costs live in the cache under the work's text, the engine, its instruction set and the thread count, and travel in
 * device profiles. What is not known is measured (autotune: the best of a few runs on memory of its own) or guessed.
 *
 * What newcomers get wrong: a measured cost is that of a warm kernel alone. It ranks kernels of one layer well; the sum
 * over a model is not the model's latency. */
#include "engine/tune.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"

#define MIN_RUNS 4
#define MAX_RUNS 30
#define ENOUGH_NS 1500000

static lego_status work_key(char key[LG_KEY_MAX], const lg_tuner *tuner, const lg_work *work)
{
    char text[LG_KEY_MAX];
    lego_status status = LEGO_OK;

    LG_TRY(lg_work_format(text, work));
    LG_TRY(lg_key_format(key, "%s t%d: %s", lg_kernels_name(), tuner->n_threads, text));
done:
    return status;
}

/* --- measuring --- */

typedef struct bench_memory {
    void *in, *in2, *out, *weight, *bias, *scratch;
} bench_memory;

/* Small numbers, none of them zero or denormal: those are faster or slower than real activations. */
static lego_status fill(void **out, size_t bytes)
{
    float *memory = lg_alloc_aligned(bytes > 0 ? bytes : 64);

    if (!memory)
        return lg_error(LEGO_ENOMEM, "out of memory: %zu bytes to time a kernel", bytes);
    for (size_t i = 0; i < bytes / sizeof(float); i++)
        memory[i] = 0.01f * (float)(i % 13 + 1);
    *out = memory;
    return LEGO_OK;
}

static void free_memory(bench_memory *memory)
{
    lg_free_aligned(memory->in);
    lg_free_aligned(memory->in2);
    lg_free_aligned(memory->out);
    lg_free_aligned(memory->weight);
    lg_free_aligned(memory->bias);
    lg_free_aligned(memory->scratch);
}

static lego_status time_call(double *us, lg_call *call)
{
    uint64_t best = UINT64_MAX, total = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_call_run(call)); /* pages, caches, threads */
    for (int i = 0; i < MIN_RUNS || (i < MAX_RUNS && total < ENOUGH_NS); i++) {
        uint64_t ns = lg_clock_ns();
        LG_TRY(lg_call_run(call));
        ns = lg_clock_ns() - ns;
        total += ns;
        if (ns < best)
            best = ns;
    }
    *us = (double)best / 1e3;
done:
    return status;
}

/* INFINITY if there is no such kernel. */
static lego_status measure(double *us, const lg_tuner *tuner, const lg_work *work, const lg_candidate *candidate)
{
    lg_cache_entry *entry = NULL;
    const lg_kernel *kernel;
    bench_memory memory = { NULL, NULL, NULL, NULL, NULL, NULL };
    lg_call *call = NULL;
    lego_status status = LEGO_OK;

    *us = INFINITY;
    LG_TRY(lg_kernel_get(&entry, tuner->cache, work, candidate, tuner->n_threads));
    kernel = lg_cache_payload(entry);
    if (!lg_kernel_exists(kernel))
        goto done;
    LG_TRY(fill(&memory.in, lg_kernel_in_bytes(kernel)));
    LG_TRY(fill(&memory.in2, work->kind == LG_WORK_ADD ? lg_kernel_in_bytes(kernel) : 0));
    LG_TRY(fill(&memory.out, lg_kernel_out_bytes(kernel)));
    LG_TRY(fill(&memory.weight, lg_kernel_weight_bytes(kernel)));
    LG_TRY(fill(&memory.bias, (size_t)work->out[1] * sizeof(float)));
    LG_TRY(fill(&memory.scratch, lg_kernel_scratch_bytes(kernel)));
    LG_TRY(lg_call_create(&call, kernel, &(lg_call_memory){ memory.in, memory.in2, memory.out, memory.weight,
                                                            memory.bias, memory.scratch }));
    LG_TRY(time_call(us, call));
done:
    lg_call_free(call);
    lg_cache_release(tuner->cache, entry);
    free_memory(&memory);
    return status;
}

/* --- costs --- */

static lego_status cost_of(double *us, const lg_tuner *tuner, const lg_work *work, const lg_candidate *candidate)
{
    char key[LG_KEY_MAX], candidate_key[LG_KEY_MAX];
    lego_status status = LEGO_OK;

    LG_TRY(work_key(key, tuner, work));
    LG_TRY(lg_candidate_format(candidate_key, candidate));
    if (lg_cache_cost(us, tuner->cache, key, candidate_key))
        return LEGO_OK;
    if (!tuner->measure || candidate->method == LG_METHOD_HOST) {
        *us = lg_work_estimate(work, candidate, tuner->block, tuner->n_threads);
        return LEGO_OK;
    }
    LG_TRY(measure(us, tuner, work, candidate));
    LG_TRY(lg_cache_set_cost(tuner->cache, key, candidate_key, *us));
done:
    return status;
}

lego_status lg_tune_forbid(const lg_tuner *tuner, const lg_work *work, const lg_candidate *candidate)
{
    char key[LG_KEY_MAX], candidate_key[LG_KEY_MAX];
    lego_status status = LEGO_OK;

    LG_TRY(work_key(key, tuner, work));
    LG_TRY(lg_candidate_format(candidate_key, candidate));
    LG_TRY(lg_cache_set_cost(tuner->cache, key, candidate_key, INFINITY));
done:
    return status;
}

/* Row-major convolution is the way out when nothing better exists; measuring it every time would be wasted. */
static int is_last_resort(const lg_step_options *options, int index)
{
    const lg_candidate *candidate = &options->candidates[index];

    return options->work.kind == LG_WORK_CONV && candidate->in == LG_LAYOUT_PLAIN && candidate->out == LG_LAYOUT_PLAIN;
}

lego_status lg_tune_step(lg_step_options *options, const lg_tuner *tuner)
{
    int any = 0;
    lego_status status = LEGO_OK;

    options->n_candidates = lg_work_candidates(options->candidates, &options->work, tuner->block);
    for (int i = 0; i < options->n_candidates; i++) {
        options->us[i] = INFINITY;
        if (any && is_last_resort(options, i))
            continue;
        LG_TRY(cost_of(&options->us[i], tuner, &options->work, &options->candidates[i]));
        any |= options->us[i] < INFINITY;
    }
done:
    return status;
}

lego_status lg_tune_reorders(lg_reorder_costs *costs, const lg_tuner *tuner, const lg_cell *cell)
{
    lg_work work;
    int64_t dims[4];
    lego_status status = LEGO_OK;

    lg_work_dims(dims, cell);
    work = lg_work_reorder(dims);
    for (int from = 0; from < LG_N_LAYOUTS; from++)
        for (int to = 0; to < LG_N_LAYOUTS; to++) {
            lg_candidate candidate = { LG_METHOD_DIRECT, 0, (lg_layout)from, (lg_layout)to };
            if (from == to || lg_layouts_coincide(dims, (lg_layout)from, (lg_layout)to, tuner->block))
                costs->us[from][to] = lg_work_estimate(&work, &candidate, tuner->block, tuner->n_threads);
            else
                LG_TRY(cost_of(&costs->us[from][to], tuner, &work, &candidate));
        }
done:
    return status;
}
