/* Optimised kernels: what exec_onednn.c and onednn_*.c, the only users of oneDNN, offer to the rest of the engine. */
#ifndef LG_ENGINE_KERNELS_H
#define LG_ENGINE_KERNELS_H

#include "engine/work.h"

const char *lg_kernels_name(void); /* "onednn 2.6.3" */
/* Instruction sets that plain C is compiled for; elsewhere than on x86 only the compiler's own. */
typedef enum lg_isa { LG_ISA_BASE, LG_ISA_AVX2, LG_ISA_AVX512 } lg_isa;
lg_isa lg_kernels_isa(void);       /* the best that this CPU has, and that oneDNN may use (ONEDNN_MAX_CPU_ISA) */
int lg_kernels_block(void);        /* channels in a block of LG_LAYOUT_BLOCKED on this CPU: 16 or 8 */

/* Compute threads of the calling thread; returns the previous count, for lg_kernels_leave(). */
int lg_kernels_enter(int n_threads);
void lg_kernels_leave(int previous);
/* work(payload, 0) .. work(payload, n_parts - 1), on the threads that kernels use; returns when all are done. */
void lg_kernels_parallel(void (*work)(const void *payload, int part), const void *payload, int n_parts);

/* --- kernels: immutable, shared through the cache --- */
typedef struct lg_kernel lg_kernel;

/* The kernel of a candidate for `n_threads` (the calling thread has entered them). The entry's payload is an lg_kernel
 * that may not exist: the library has none, or only an unoptimised one, which is never used. */
lego_status lg_kernel_get(lg_cache_entry **out, lg_packed_cache *cache, const lg_work *work,
                          const lg_candidate *candidate, int n_threads);
int lg_kernel_exists(const lg_kernel *kernel);
const char *lg_kernel_name(const lg_kernel *kernel); /* "brgconv:avx512_core" */
size_t lg_kernel_in_bytes(const lg_kernel *kernel);
size_t lg_kernel_in2_bytes(const lg_kernel *kernel); /* 0: it has one input */
size_t lg_kernel_out_bytes(const lg_kernel *kernel);
size_t lg_kernel_scratch_bytes(const lg_kernel *kernel);
size_t lg_kernel_weight_bytes(const lg_kernel *kernel); /* 0: takes none */
/* The step's folded weights in the kernel's layout; payload lg_packed. */
lego_status lg_kernel_pack(lg_cache_entry **out, const lg_kernel *kernel, lg_packed_cache *cache, const lg_step *step);

/* --- calls: a kernel bound to memory, of one thread at a time --- */
typedef struct lg_call lg_call;
typedef struct lg_call_memory {
    const void *in, *in2; /* in2: second operand of a sum or product */
    void *out;
    const float *weight, *bias;
    void *scratch;        /* 64-byte aligned */
} lg_call_memory;

/* Pointers may be NULL until bound. `kernel` must outlive the call. */
lego_status lg_call_create(lg_call **out, const lg_kernel *kernel, const lg_call_memory *memory);
void lg_call_free(lg_call *call);
/* Rebind the first or second input, the weights or the output. No allocation. */
lego_status lg_call_bind_in(lg_call *call, int index, const void *in);
lego_status lg_call_bind_weight(lg_call *call, const float *weight);
lego_status lg_call_bind_out(lg_call *call, void *out);
lego_status lg_call_run(lg_call *call);

#endif
