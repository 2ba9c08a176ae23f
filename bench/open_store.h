/* What the benchmarks of stores begin with: a context, a store, and a split of the data in the shape of its model. */
#ifndef LG_BENCH_OPEN_STORE_H
#define LG_BENCH_OPEN_STORE_H

#include "legodnn/legodnn.h"
#include "store/store.h"

typedef struct opened {
    lego_context *context;
    lego_store *store;
    lego_dataset *dataset;
} opened;

/* `threads` and `samples` 0: all. Dispose of it with close_store(), after a failure, too. */
static inline lego_status open_store(opened *out, const char *path, const char *spec, lego_split split,
                                     int64_t samples, int threads)
{
    lego_dataset_options options = LEGO_DATASET_OPTIONS_INIT;
    const lg_value *input;
    lego_status status = LEGO_OK;

    LG_TRY(lego_context_create(&out->context));
    LG_TRY(lego_context_set_threads(out->context, threads));
    LG_TRY(lego_store_open(&out->store, out->context, path));
    input = &out->store->frame->values[out->store->frame->inputs[0]];
    for (int i = 0; i < 3; i++)
        options.input[i] = (int32_t)input->shape.dims[i + 1];
    options.split = split;
    options.limit = samples;
    LG_TRY(lego_dataset_open(&out->dataset, out->context, spec, &options));
done:
    return status;
}

static inline void close_store(opened *o)
{
    lego_dataset_free(o->dataset);
    lego_store_free(o->store);
    lego_context_free(o->context);
}

#endif
