/* Inside of lg_packed_cache: things that plans share, found by a text key, and the measured costs of kernels. */
#ifndef LG_ENGINE_CACHE_H
#define LG_ENGINE_CACHE_H

#include "engine/engine.h"
#include "engine/lower.h"

/* Long enough for every key that the backends make; longer ones are refused, never cut. */
#define LG_KEY_MAX 512
lego_status lg_key_format(char key[LG_KEY_MAX], const char *fmt, ...) LG_PRINTF(2, 3);

/* --- shared objects: packed weights, kernels, engines --- */
typedef struct lg_cache_entry lg_cache_entry;
typedef void (*lg_cache_destroy)(void *payload);

/* NULL if there is none. What is found or added stays in use until lg_cache_release(). */
lg_cache_entry *lg_cache_find(lg_packed_cache *cache, const char *key);
/* Takes ownership of `payload` whatever happens. If another thread was faster, its entry is the result. */
lego_status lg_cache_add(lg_cache_entry **out, lg_packed_cache *cache, const char *key, void *payload, size_t bytes,
                         lg_cache_destroy destroy);
void lg_cache_release(lg_packed_cache *cache, lg_cache_entry *entry); /* NULL is a no-op */
void *lg_cache_payload(const lg_cache_entry *entry);
size_t lg_cache_entry_bytes(const lg_cache_entry *entry);

/* --- packed weights of a CONV or LINEAR step --- */
typedef struct lg_packed {
    float *weight; /* as `pack` laid it out; 64-byte aligned */
    float *bias;   /* (K), zero where the step has none */
    lego_tensor sources[6]; /* hold the storage whose address is the identity */
} lg_packed;

/* Lay the folded weights `from` (the original's row-major layout) out at `to` (`bytes` long, zeroed). */
typedef lego_status (*lg_pack_fn)(float *to, const float *from, const lg_step *step, void *payload);

/* The packed weights of a step in the layout that `layout` names: found by the identity of all its tensors (storage
 * address, offset, epsilon), or folded and packed now. The entry's payload is an lg_packed. Weights that a cache has
 * seen must not be written to any more. */
lego_status lg_packed_get(lg_cache_entry **out, lg_packed_cache *cache, const lg_step *step, const char *layout,
                          size_t bytes, lg_pack_fn pack, void *payload);

/* --- arenas: memory of freed plans serves the next ones, so that a switch faults no pages in --- */
/* 64-byte aligned, at least *bytes, which becomes the size given; contents undefined. NULL: out of memory. */
void *lg_cache_take_block(lg_packed_cache *cache, size_t *bytes);
void lg_cache_give_block(lg_packed_cache *cache, void *memory, size_t bytes); /* NULL is a no-op */

/* --- costs: microseconds of a candidate for a piece of work; INFINITY: there is no such kernel --- */
/* Whether it is known. */
int lg_cache_cost(double *us, lg_packed_cache *cache, const char *work, const char *candidate);
lego_status lg_cache_set_cost(lg_packed_cache *cache, const char *work, const char *candidate, double us);

#endif
