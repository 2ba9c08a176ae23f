/* packed.c: the weights of a step, folded and laid out for its kernel, shared through lg_packed_cache.
 *
 * What newcomers get wrong: weights are found by the address of the storage that their tensors share, not by content;
 * lg_packed holds that storage, so no other tensor can come to lie there while it lives. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "engine/cache.h"
#include "engine/fold.h"

static void packed_free(void *payload)
{
    lg_packed *packed = payload;

    lg_free_aligned(packed->weight);
    lg_free_aligned(packed->bias);
    for (size_t i = 0; i < sizeof(packed->sources) / sizeof(packed->sources[0]); i++)
        lg_tensor_dispose(&packed->sources[i]);
    lg_free(packed);
}

/* The tensors that determine a step's folded weights. */
static void sources_of(const lego_tensor *sources[6], const lg_step *step)
{
    const lg_norm *norm = &step->norm;
    const int scales = norm->set || step->kind == LG_STEP_LAYER_NORM;

    memset(sources, 0, 6 * sizeof(*sources));
    sources[0] = lg_step_has_matrix(step) ? &step->weight : NULL;
    sources[1] = step->has_bias ? &step->bias : NULL;
    sources[2] = scales && norm->has_gamma ? &norm->gamma : NULL;
    sources[3] = scales && norm->has_beta ? &norm->beta : NULL;
    sources[4] = norm->set ? &norm->mean : NULL;
    sources[5] = norm->set ? &norm->variance : NULL;
}

static lego_status identity(char key[LG_KEY_MAX], const lg_step *step, const char *layout)
{
    const lego_tensor *sources[6];
    char ids[6][48];

    sources_of(sources, step);
    for (int i = 0; i < 6; i++) {
        if (sources[i])
            snprintf(ids[i], sizeof(ids[i]), "%p+%zx", (void *)sources[i]->buffer, sources[i]->offset);
        else
            snprintf(ids[i], sizeof(ids[i]), "-");
    }
    return lg_key_format(key, "weights %s %lld: %s %s %s %s %s %s %a", layout,
                         (long long)lg_step_weights(step), ids[0], ids[1], ids[2], ids[3], ids[4], ids[5],
                         step->norm.set ? step->norm.eps : 0.0);
}

static lego_status pack_now(lg_packed **out, const lg_step *step, size_t bytes, lg_pack_fn pack, void *payload)
{
    const lego_tensor *sources[6];
    size_t n_rows = (size_t)lg_step_channels(step);
    lg_packed *packed = NULL;
    float *folded = NULL;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&packed, 1));
    packed->weight = lg_alloc_aligned(bytes);
    packed->bias = lg_alloc_aligned(n_rows * sizeof(float));
    folded = lg_alloc_aligned((size_t)lg_step_weights(step) * sizeof(float));
    if (!packed->weight || !packed->bias || !folded)
        LG_FAIL(LEGO_ENOMEM, "out of memory: %zu bytes of packed weights of node '%s'", bytes, step->name);
    memset(packed->weight, 0, bytes);
    LG_TRY(lg_step_fold(folded, packed->bias, step));
    LG_TRY(pack(packed->weight, folded, step, payload));
    sources_of(sources, step);
    for (int i = 0; i < 6; i++)
        if (sources[i])
            lg_tensor_share(&packed->sources[i], sources[i]);
    *out = packed;
    packed = NULL; /* the caller owns it now */
done:
    if (packed)
        packed_free(packed);
    lg_free_aligned(folded);
    return status;
}

lego_status lg_packed_get(lg_cache_entry **out, lg_packed_cache *cache, const lg_step *step, const char *layout,
                          size_t bytes, lg_pack_fn pack, void *payload)
{
    char key[LG_KEY_MAX];
    lg_packed *packed = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(identity(key, step, layout));
    *out = lg_cache_find(cache, key);
    if (*out)
        return LEGO_OK;
    LG_TRY(pack_now(&packed, step, bytes, pack, payload));
    LG_TRY(lg_cache_add(out, cache, key, packed, bytes + (size_t)lg_step_channels(step) * sizeof(float),
                        packed_free));
done:
    return status;
}
