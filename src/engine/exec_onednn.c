/* exec_onednn.c: kernels of oneDNN: the library, its threads, and kernels as the cache keeps them.
 *
 * A kernel is a primitive with its memory descriptors for one lg_work and one lg_candidate; a call is a kernel bound to
 * memory. Everything else (which kernel, where the memory lies, when to reorder) is decided elsewhere. Only this file,
 * onednn_prepare.c, onednn_pack.c and onednn_call.c know oneDNN, and only onednn_versions.h its versions.
 *
 * What newcomers get wrong: the thread count is fixed when a primitive is created, so it is part of a kernel's
 * identity. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "engine/arena.h"
#include "engine/onednn.h"

#ifdef __has_feature
#define LG_HAS_FEATURE(name) __has_feature(name)
#else
#define LG_HAS_FEATURE(name) 0
#endif
/* The threads' runtime orders what they write, but is not built for ThreadSanitizer, which has to be told. */
#if defined(__SANITIZE_THREAD__) || LG_HAS_FEATURE(thread_sanitizer)
#include <sanitizer/tsan_interface.h>
#define SEE(what) __tsan_acquire(what)
#define SHOW(what) __tsan_release(what)
#else
#define SEE(what) (void)(what)
#define SHOW(what) (void)(what)
#endif

#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
/* Declared here because a compiler without its own OpenMP runtime has no <omp.h>; libgomp, which oneDNN runs on, is
 * linked anyway. Both act on the calling thread only. */
extern int omp_get_max_threads(void);
extern void omp_set_num_threads(int n_threads);
/* What `#pragma omp parallel` becomes: fn(data) on every thread of a team. */
extern void GOMP_parallel(void (*fn)(void *data), void *data, unsigned n_threads, unsigned flags);
#endif

lego_status lg_onednn_check(dnnl_status_t result, const char *what)
{
    if (result == dnnl_success)
        return LEGO_OK;
    if (result == dnnl_out_of_memory)
        return lg_error(LEGO_ENOMEM, "out of memory: oneDNN, %s", what);
    return lg_error(LEGO_EBACKEND, "oneDNN failed with status %d: %s", (int)result, what);
}

/* --- the library --- */

#define TEXT_OF(x) #x
#define VERSION_TEXT(major, minor, patch) "onednn " TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

const char *lg_kernels_name(void)
{
    return VERSION_TEXT(DNNL_VERSION_MAJOR, DNNL_VERSION_MINOR, DNNL_VERSION_PATCH);
}

lg_isa lg_kernels_isa(void)
{
    const dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();

    if ((isa & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core)
        return LG_ISA_AVX512;
    return (isa & dnnl_cpu_isa_avx2) == dnnl_cpu_isa_avx2 ? LG_ISA_AVX2 : LG_ISA_BASE;
}

int lg_kernels_block(void)
{
    return lg_kernels_isa() == LG_ISA_AVX512 ? 16 : 8;
}

int lg_kernels_enter(int n_threads)
{
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
    int previous = omp_get_max_threads();

    if (previous != n_threads)
        omp_set_num_threads(n_threads);
    return previous;
#else
    return n_threads;
#endif
}

void lg_kernels_leave(int previous)
{
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
    if (previous != omp_get_max_threads())
        omp_set_num_threads(previous);
#else
    (void)previous;
#endif
}

typedef struct parts {
    void (*work)(const void *payload, int part);
    const void *payload;
    int n;
    atomic_int next;
} parts;

/* A thread takes parts as long as there are any. */
static void take_parts(void *data)
{
    parts *p = data;
    int part;

    SEE(p);
    while ((part = atomic_fetch_add(&p->next, 1)) < p->n)
        p->work(p->payload, part);
    SHOW(p);
}

void lg_kernels_parallel(void (*work)(const void *payload, int part), const void *payload, int n_parts)
{
    parts p = { work, payload, n_parts, 0 };

    atomic_init(&p.next, 0);
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
    if (n_parts > 1) {
        SHOW(&p);
        GOMP_parallel(take_parts, &p, (unsigned)n_parts, 0);
        SEE(&p);
        return;
    }
#endif
    take_parts(&p);
}

static void library_unref(void *payload)
{
    library *lib = payload;

    if (!lib || atomic_fetch_sub(&lib->references, 1) > 1)
        return;
    if (lib->engine)
        dnnl_engine_destroy(lib->engine);
    lg_free(lib);
}

/* The cache's library, created on first use; the caller gets a reference. */
static lego_status library_of(library **out, lg_packed_cache *cache)
{
    lg_cache_entry *entry = lg_cache_find(cache, "library");
    library *lib = NULL;
    lego_status status = LEGO_OK;

    if (!entry) {
        LG_TRY(LG_CALLOC(&lib, 1));
        atomic_init(&lib->references, 1);
        LG_TRY(lg_onednn_check(dnnl_engine_create(&lib->engine, dnnl_cpu, 0), "creating an engine"));
        status = lg_cache_add(&entry, cache, "library", lib, 0, library_unref);
        lib = NULL; /* the cache owns it now, or it is gone */
        LG_TRY(status);
    }
    *out = lg_cache_payload(entry);
    atomic_fetch_add(&(*out)->references, 1);
done:
    lg_cache_release(cache, entry);
    library_unref(lib);
    return status;
}

/* --- kernels --- */

static void kernel_free(void *payload)
{
    lg_kernel *kernel = payload;

    if (kernel->primitive)
        dnnl_primitive_destroy(kernel->primitive);
    desc_free(&kernel->in);
    desc_free(&kernel->in2);
    desc_free(&kernel->out);
    desc_free(&kernel->weight);
    desc_free(&kernel->bias);
    desc_free(&kernel->scratch);
    library_unref(kernel->lib);
    lg_free(kernel);
}

lego_status lg_kernel_get(lg_cache_entry **out, lg_packed_cache *cache, const lg_work *work,
                          const lg_candidate *candidate, int n_threads)
{
    char key[LG_KEY_MAX], work_key[LG_KEY_MAX], candidate_key[LG_KEY_MAX];
    lg_kernel *kernel = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(lg_work_format(work_key, work));
    LG_TRY(lg_candidate_format(candidate_key, candidate));
    LG_TRY(lg_key_format(key, "kernel t%d %s %s", n_threads, work_key, candidate_key));
    *out = lg_cache_find(cache, key);
    if (*out)
        return LEGO_OK;
    LG_TRY(LG_CALLOC(&kernel, 1));
    kernel->work = *work;
    kernel->candidate = *candidate;
    memcpy(kernel->key, key, sizeof(key));
    LG_TRY(library_of(&kernel->lib, cache));
    LG_TRY(lg_onednn_check(lg_onednn_prepare(kernel), key));
    status = lg_cache_add(out, cache, key, kernel, 0, kernel_free);
    kernel = NULL; /* the cache owns it now, or it is gone */
done:
    if (kernel)
        kernel_free(kernel);
    return status;
}

int lg_kernel_exists(const lg_kernel *kernel)
{
    return kernel->primitive != NULL;
}

const char *lg_kernel_name(const lg_kernel *kernel)
{
    return kernel->name;
}

size_t lg_kernel_in_bytes(const lg_kernel *kernel)
{
    if (kernel->candidate.method == LG_METHOD_GEMM) /* the image, not the columns */
        return (size_t)(kernel->work.in[0] * kernel->work.in[1] * kernel->work.in[2] * kernel->work.in[3] * kernel->work.in[4]) *
               sizeof(float);
    return desc_bytes(&kernel->in);
}

size_t lg_kernel_in2_bytes(const lg_kernel *kernel)
{
    return desc_bytes(&kernel->in2);
}

size_t lg_kernel_out_bytes(const lg_kernel *kernel)
{
    return desc_bytes(&kernel->out);
}

size_t lg_onednn_column_space(const lg_kernel *kernel)
{
    return (kernel->column_bytes + LG_ARENA_ALIGN - 1) / LG_ARENA_ALIGN * LG_ARENA_ALIGN;
}

size_t lg_kernel_scratch_bytes(const lg_kernel *kernel)
{
    return lg_onednn_column_space(kernel) + desc_bytes(&kernel->scratch);
}

size_t lg_kernel_weight_bytes(const lg_kernel *kernel)
{
    return desc_bytes(&kernel->weight);
}
