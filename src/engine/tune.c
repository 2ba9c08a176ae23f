/* tune.c: what each way to do a piece of work costs, in microseconds.
 *
 * Costs live in the cache under the engine, the thread count and the work's text, and travel in device profiles. What
 * is not known is measured (autotune: the best of a few runs on memory of its own) or guessed. Plain C's are calculated
 * from those of another machine and the speed of copying on both.
 *
 * What newcomers get wrong: a kernel that runs again and again finds its weights in the cache; in a model whose weights
 * exceed the cache it never does, and Winograd, with its two to four times larger weights, may lose there what it won
 * here. So there are two costs, warm and with cold weights, blended by how much of the cache the model's weights fill. */
#include "engine/tune.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "engine/fold.h"

#define MIN_RUNS 3
#define MAX_RUNS 30
#define ENOUGH_NS 1500000
#define HOPELESS 3.0          /* times slower than the best so far: not run again */
#define SMALL_WEIGHTS 262144  /* bytes: they stay in the cache whatever the rest does */
#define COLD_RUNS 4
#define PROBE_SAMPLES 8
#define COPY_BYTES 802816  /* of which plain C's costs (plain.c) were measured; it copied them in COPY_US */
#define COPY_US 16.8
#define COPY_RUNS 20
#define MAX_CACHE_BYTES ((size_t)32 << 20) /* one core's fair share of a last-level cache, and the guess without one */

static lego_status work_key(char key[LG_KEY_MAX], const lg_tuner *tuner, const lg_work *work)
{
    char text[LG_KEY_MAX];
    lego_status status = LEGO_OK;

    LG_TRY(lg_work_format(text, work));
    LG_TRY(lg_key_format(key, "%s t%d: %s", lg_kernels_name(), tuner->n_threads, text));
done:
    return status;
}

static size_t cache_bytes(void)
{
    long bytes = -1;

#ifdef _SC_LEVEL3_CACHE_SIZE
    bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
    return bytes > 0 && (size_t)bytes < MAX_CACHE_BYTES ? (size_t)bytes : MAX_CACHE_BYTES;
}

/* --- measuring --- */

/* A preempted run of one thread is no slower by this clock. */
static uint64_t now_ns(const lg_tuner *tuner)
{
    return tuner->n_threads == 1 ? lg_clock_thread_ns() : lg_clock_ns();
}

/* Grow a block of the tuner; every byte 0x3c makes floats of 0.0115: zeros or denormals would change the speed. */
static lego_status grow(void **block, size_t *bytes, size_t needed)
{
    if (*bytes >= needed)
        return LEGO_OK;
    lg_free_aligned(*block);
    *bytes = 0;
    *block = lg_alloc_aligned(needed);
    if (!*block)
        return lg_error(LEGO_ENOMEM, "out of memory: %zu bytes to time kernels", needed);
    memset(*block, 0x3c, needed);
    *bytes = needed;
    return LEGO_OK;
}

/* A kernel's memory, side by side in the tuner's area, which the next kernel reuses. */
static lego_status lay_out(lg_call_memory *memory, lg_tuner *tuner, const lg_kernel *kernel, const lg_work *work)
{
    size_t sizes[6] = { lg_kernel_in_bytes(kernel),
                        lg_kernel_in2_bytes(kernel),
                        lg_kernel_out_bytes(kernel),
                        lg_kernel_weight_bytes(kernel),
                        (size_t)work->out[1] * sizeof(float),
                        lg_kernel_scratch_bytes(kernel) };
    size_t offsets[6], total = 0;
    char *area;
    lego_status status = LEGO_OK;

    for (int i = 0; i < 6; i++) {
        offsets[i] = total;
        total += (sizes[i] + 127) / 64 * 64;
    }
    LG_TRY(grow(&tuner->area, &tuner->area_bytes, total));
    area = tuner->area;
    *memory = (lg_call_memory){ area + offsets[0], area + offsets[1], area + offsets[2],
                                (float *)(void *)(area + offsets[3]), (float *)(void *)(area + offsets[4]),
                                area + offsets[5] };
done:
    return status;
}

static lego_status time_warm(double *us, const lg_tuner *tuner, lg_call *call, double best_us)
{
    uint64_t best = UINT64_MAX, total = 0;
    lego_status status = LEGO_OK;

    LG_TRY(lg_call_run(call)); /* pages, caches, threads */
    for (int i = 0; i < MIN_RUNS || (i < MAX_RUNS && total < ENOUGH_NS); i++) {
        uint64_t ns = now_ns(tuner);
        LG_TRY(lg_call_run(call));
        ns = now_ns(tuner) - ns;
        total += ns;
        if (ns < best)
            best = ns;
        if ((double)best / 1e3 > HOPELESS * best_us)
            break;
    }
    *us = (double)best / 1e3;
done:
    return status;
}

/* Every run reads other weights, out of memory so large that the cache has forgotten them. */
static lego_status time_cold(double *us, lg_tuner *tuner, lg_call *call, size_t weight_bytes)
{
    double best = INFINITY;
    lego_status status = LEGO_OK;

    /* Weights that exceed the cache are cold whenever they are read: no need for more than two of them. */
    LG_TRY(grow(&tuner->pool, &tuner->pool_bytes, cache_bytes() * 9 / 4 > 2 * weight_bytes ? cache_bytes() * 9 / 4
                                                                                           : 2 * weight_bytes));
    for (int i = 0; i < COLD_RUNS; i++) {
        uint64_t ns;
        if (tuner->pool_next + weight_bytes > tuner->pool_bytes)
            tuner->pool_next = 0;
        LG_TRY(lg_call_bind_weight(call, (float *)tuner->pool + tuner->pool_next / sizeof(float)));
        tuner->pool_next += (weight_bytes + 63) / 64 * 64;
        ns = now_ns(tuner);
        LG_TRY(lg_call_run(call));
        best = fmin(best, (double)(now_ns(tuner) - ns) / 1e3);
    }
    *us = best;
done:
    return status;
}

/* Both INFINITY if there is no such kernel. `best_us`: of the work's candidates so far. */
static lego_status measure(double *warm_us, double *cold_us, lg_tuner *tuner, const lg_work *work,
                           const lg_candidate *candidate, double best_us)
{
    lg_cache_entry *entry = NULL;
    const lg_kernel *kernel;
    lg_call_memory memory;
    lg_call *call = NULL;
    size_t weight_bytes;
    lego_status status = LEGO_OK;

    *warm_us = *cold_us = INFINITY;
    LG_TRY(lg_kernel_get(&entry, tuner->cache, work, candidate, tuner->n_threads));
    kernel = lg_cache_payload(entry);
    if (!lg_kernel_exists(kernel))
        goto done;
    weight_bytes = lg_kernel_weight_bytes(kernel);
    LG_TRY(lay_out(&memory, tuner, kernel, work));
    LG_TRY(lg_call_create(&call, kernel, &memory));
    LG_TRY(time_warm(warm_us, tuner, call, best_us));
    *cold_us = *warm_us;
    if (weight_bytes >= SMALL_WEIGHTS && *warm_us < HOPELESS * best_us)
        LG_TRY(time_cold(cold_us, tuner, call, weight_bytes));
    *cold_us = fmax(*cold_us, *warm_us);
done:
    lg_call_free(call);
    lg_cache_release(tuner->cache, entry);
    return status;
}

/* How many times as long as where its costs were measured plain C takes here: as copying does. 1 until it is measured. */
static lego_status plain_scale(double *scale, lg_tuner *tuner)
{
    static const char how[] = "memcpy";
    double us = INFINITY;
    char key[LG_KEY_MAX];
    lego_status status = LEGO_OK;

    *scale = 1.0;
    LG_TRY(lg_key_format(key, "copy of %d bytes", COPY_BYTES));
    if (!lg_cache_cost(&us, tuner->cache, key, how)) {
        if (!tuner->measure)
            goto done;
        LG_TRY(grow(&tuner->area, &tuner->area_bytes, (size_t)2 * COPY_BYTES));
        for (int i = 0; i < COPY_RUNS; i++) {
            const uint64_t start = lg_clock_thread_ns();
            memcpy((char *)tuner->area + COPY_BYTES, tuner->area, COPY_BYTES);
            us = fmin(us, (double)(lg_clock_thread_ns() - start) / 1e3);
        }
        LG_TRY(lg_cache_set_cost(tuner->cache, key, how, us));
    }
    *scale = fmin(fmax(us / COPY_US, 0.1), 100.0);
done:
    return status;
}

/* --- costs --- */

/* The cost as measured, now or before. */
static lego_status measured_cost(double *us, lg_tuner *tuner, const lg_work *work, const lg_candidate *candidate,
                                 double best_us)
{
    char key[LG_KEY_MAX], warm_key[LG_KEY_MAX], cold_key[LG_KEY_MAX];
    double warm_us, cold_us, scale;
    lego_status status = LEGO_OK;

    LG_TRY(work_key(key, tuner, work));
    LG_TRY(lg_candidate_format(warm_key, candidate));
    LG_TRY(lg_key_format(cold_key, "%s cold", warm_key));
    if (!lg_cache_cost(&warm_us, tuner->cache, key, warm_key)) {
        if (!tuner->measure || candidate->method == LG_METHOD_HOST) {
            *us = lg_work_estimate(work, candidate, tuner->block, tuner->n_threads, tuner->cold_share);
            if (candidate->method == LG_METHOD_HOST) {
                LG_TRY(plain_scale(&scale, tuner));
                *us *= scale;
            }
            goto done;
        }
        LG_TRY(measure(&warm_us, &cold_us, tuner, work, candidate, best_us));
        LG_TRY(lg_cache_set_cost(tuner->cache, key, cold_key, cold_us));
        LG_TRY(lg_cache_set_cost(tuner->cache, key, warm_key, warm_us));
    } else if (!lg_cache_cost(&cold_us, tuner->cache, key, cold_key)) {
        cold_us = warm_us;
    }
    *us = warm_us < INFINITY ? warm_us + (cold_us - warm_us) * tuner->cold_share : INFINITY;
done:
    return status;
}

static lg_work with_samples(const lg_work *work, int64_t n)
{
    lg_work changed = *work;

    changed.in[0] = changed.out[0] = n;
    return changed;
}

/* A batch beyond PROBE_SAMPLES is not measured: its cost is taken to grow from there as it grew up to there, which tells
 * what a kernel pays once a call (reading weights) from what it pays for each sample. */
static lego_status cost_of(double *us, lg_tuner *tuner, const lg_work *work, const lg_candidate *candidate,
                           double best_us)
{
    lg_work one = with_samples(work, 1), many = with_samples(work, PROBE_SAMPLES);
    double one_us, many_us, sample_us;
    lego_status status = LEGO_OK;

    if (!tuner->measure || work->in[0] != work->out[0] || work->in[0] <= PROBE_SAMPLES)
        return measured_cost(us, tuner, work, candidate, best_us);
    LG_TRY(measured_cost(&one_us, tuner, &one, candidate, INFINITY));
    LG_TRY(measured_cost(&many_us, tuner, &many, candidate, best_us));
    sample_us = fmax((many_us - one_us) / (PROBE_SAMPLES - 1), many_us / (2.0 * PROBE_SAMPLES));
    *us = many_us < INFINITY ? many_us + sample_us * (double)(work->in[0] - PROBE_SAMPLES) : INFINITY;
done:
    return status;
}

void lg_tuner_init(lg_tuner *tuner, lg_packed_cache *cache, const lg_program *program, int n_threads, int measure_now)
{
    double weight_bytes = 0.0;

    memset(tuner, 0, sizeof(*tuner));
    tuner->cache = cache;
    tuner->n_threads = n_threads;
    tuner->measure = measure_now;
    tuner->block = lg_kernels_block();
    for (int32_t i = 0; i < program->n_steps; i++)
        if (lg_step_is_layer(&program->steps[i]))
            weight_bytes += (double)lg_step_weights(&program->steps[i]) * sizeof(float);
    tuner->cold_share = fmin(1.0, weight_bytes / (double)cache_bytes());
}

void lg_tuner_dispose(lg_tuner *tuner)
{
    lg_free_aligned(tuner->pool);
    lg_free_aligned(tuner->area);
}

lego_status lg_tune_forbid(lg_tuner *tuner, const lg_work *work, const lg_candidate *candidate)
{
    char key[LG_KEY_MAX], candidate_key[LG_KEY_MAX];
    lego_status status = LEGO_OK;

    LG_TRY(work_key(key, tuner, work));
    LG_TRY(lg_candidate_format(candidate_key, candidate));
    LG_TRY(lg_cache_set_cost(tuner->cache, key, candidate_key, INFINITY));
done:
    return status;
}

/* The way out when nothing better exists: row-major convolution, which to measure every time would be wasted, and the plain
 * C of layers, which no kernel made for the purpose is slower than. */
static int is_last_resort(const lg_step_options *options, int index)
{
    const lg_candidate *candidate = &options->candidates[index];

    if (options->work.kind == LG_WORK_LINEAR)
        return candidate->method == LG_METHOD_HOST;
    return options->work.kind == LG_WORK_CONV && candidate->in == LG_LAYOUT_PLAIN && candidate->out == LG_LAYOUT_PLAIN;
}

lego_status lg_tune_step(lg_step_options *options, lg_tuner *tuner)
{
    double best_us = INFINITY;
    lego_status status = LEGO_OK;

    options->n_candidates = lg_work_candidates(options->candidates, &options->work, tuner->block);
    for (int i = 0; i < options->n_candidates; i++) {
        options->us[i] = INFINITY;
        if (best_us < INFINITY && is_last_resort(options, i))
            continue;
        LG_TRY(cost_of(&options->us[i], tuner, &options->work, &options->candidates[i], best_us));
        best_us = fmin(best_us, options->us[i]);
    }
done:
    return status;
}

lego_status lg_tune_reorders(lg_reorder_costs *costs, lg_tuner *tuner, const lg_cell *cell)
{
    lg_work work;
    int64_t dims[LG_WORK_DIMS];
    lego_status status = LEGO_OK;

    lg_work_dims(dims, cell);
    work = lg_work_reorder(dims);
    for (int from = 0; from < LG_N_LAYOUTS; from++)
        for (int to = 0; to < LG_N_LAYOUTS; to++) {
            lg_candidate candidate = { LG_METHOD_DIRECT, 0, (lg_layout)from, (lg_layout)to };
            if (from == to || lg_layouts_coincide(dims, (lg_layout)from, (lg_layout)to, tuner->block))
                costs->us[from][to] = lg_work_estimate(&work, &candidate, tuner->block, tuner->n_threads, 0.0);
            else
                LG_TRY(cost_of(&costs->us[from][to], tuner, &work, &candidate, INFINITY));
        }
done:
    return status;
}
