/* An epoch's batches, prepared ahead by one thread into two buffers.
 *
 * Flow: data set + epoch -> an order -> batches for training and evaluation. The thread fills one buffer while the caller works on
 * the other; order and augmentation are functions of seed and epoch, so timing cannot change what comes out. Error
 * messages are per thread (lego_last_error): the worker's is carried over to the caller. */
#include <pthread.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/rng.h"
#include "data/dataset.h"

#define N_BUFFERS 2
#define SHUFFLE_STREAM 0x73687566666c65ull
#define MAX_BATCH (1 << 20)

typedef struct batch_buffer {
    int64_t n;
    float *images;
    int64_t *labels;
} batch_buffer;

struct lego_batches {
    lego_dataset *dataset;
    int64_t batch, count;
    int64_t *order;
    int64_t n_order; /* samples used; fewer than the data set's when the last batch is dropped */
    uint64_t epoch;
    batch_buffer buffers[N_BUFFERS];
    int64_t delivered; /* the caller's: batches handed out */

    pthread_t thread;
    int sync_ready, thread_started;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* under the mutex: */
    int64_t produced, released; /* batches filled, batches the caller is done with */
    int stop;
    lego_status status;
    char message[512];
};

static lego_status produce_one(lego_batches *batches, int64_t index)
{
    batch_buffer *buffer = &batches->buffers[index % N_BUFFERS];
    int64_t first = index * batches->batch;

    buffer->n = batches->n_order - first < batches->batch ? batches->n_order - first : batches->batch;
    return lg_dataset_fill(batches->dataset, batches->order + first, buffer->n, batches->dataset->augment,
                           batches->epoch, buffer->images, buffer->labels);
}

static void *produce(void *payload)
{
    lego_batches *batches = payload;
    lego_status status = LEGO_OK;

    for (int64_t i = 0; i < batches->count && status == LEGO_OK; i++) {
        int stop;

        (void)pthread_mutex_lock(&batches->mutex);
        while (!batches->stop && batches->produced - batches->released >= N_BUFFERS)
            (void)pthread_cond_wait(&batches->changed, &batches->mutex);
        stop = batches->stop;
        (void)pthread_mutex_unlock(&batches->mutex);
        if (stop)
            break;

        status = produce_one(batches, i);

        (void)pthread_mutex_lock(&batches->mutex);
        if (status == LEGO_OK) {
            batches->produced++;
        } else {
            batches->status = status;
            (void)snprintf(batches->message, sizeof(batches->message), "%s", lego_last_error());
        }
        (void)pthread_cond_broadcast(&batches->changed);
        (void)pthread_mutex_unlock(&batches->mutex);
    }
    return NULL;
}

static lego_status make_order(lego_batches *batches, int shuffle)
{
    const uint64_t key[2] = { SHUFFLE_STREAM, batches->epoch };
    int64_t n = batches->dataset->n;
    lg_rng rng;
    lego_status status = LEGO_OK;

    LG_TRY(LG_CALLOC(&batches->order, n));
    for (int64_t i = 0; i < n; i++)
        batches->order[i] = i;
    if (shuffle) {
        lg_rng_init(&rng, batches->dataset->seed, lg_hash(key, sizeof(key), 0));
        lg_rng_shuffle(&rng, batches->order, n);
    }
done:
    return status;
}

static lego_status start_thread(lego_batches *batches)
{
    if (pthread_mutex_init(&batches->mutex, NULL) != 0)
        return lg_error(LEGO_ENOMEM, "no mutex for the batches");
    if (pthread_cond_init(&batches->changed, NULL) != 0) {
        (void)pthread_mutex_destroy(&batches->mutex);
        return lg_error(LEGO_ENOMEM, "no condition variable for the batches");
    }
    batches->sync_ready = 1;
    if (pthread_create(&batches->thread, NULL, produce, batches) != 0)
        return lg_error(LEGO_ENOMEM, "no thread to prepare batches");
    batches->thread_started = 1;
    return LEGO_OK;
}

lego_status lego_batches_create(lego_batches **out, lego_dataset *dataset, int32_t batch, int shuffle, int drop_last,
                                uint64_t epoch)
{
    lego_batches *batches = NULL;
    size_t elements;
    lego_status status = LEGO_OK;

    if (!out || !dataset)
        return lg_error(LEGO_EINVAL, "out and dataset must not be NULL");
    *out = NULL;
    if (batch < 1 || batch > MAX_BATCH)
        return lg_error(LEGO_EINVAL, "batch=%d is not in [1, %d]", batch, MAX_BATCH);
    if (drop_last && dataset->n < batch)
        return lg_error(LEGO_EINVAL, "batch=%d is larger than the data set's %lld samples", batch,
                        (long long)dataset->n);
    LG_TRY(LG_CALLOC(&batches, 1));
    batches->dataset = dataset;
    batches->epoch = epoch;
    batches->batch = batch < dataset->n ? batch : dataset->n;
    batches->n_order = drop_last ? dataset->n - dataset->n % batch : dataset->n;
    batches->count = (batches->n_order + batch - 1) / batch;
    LG_TRY(make_order(batches, shuffle));
    elements = (size_t)dataset->shape[0] * (size_t)dataset->shape[1] * (size_t)dataset->shape[2];
    for (int i = 0; i < N_BUFFERS; i++) {
        batches->buffers[i].images = lg_calloc((size_t)batches->batch, elements * sizeof(float));
        if (!batches->buffers[i].images)
            LG_FAIL(LEGO_ENOMEM, "out of memory for batches of %lld samples", (long long)batches->batch);
        LG_TRY(LG_CALLOC(&batches->buffers[i].labels, batches->batch));
    }
    LG_TRY(start_thread(batches));
    *out = batches;
    batches = NULL;
done:
    lego_batches_free(batches);
    return status;
}

void lego_batches_free(lego_batches *batches)
{
    if (!batches)
        return;
    if (batches->thread_started) {
        (void)pthread_mutex_lock(&batches->mutex);
        batches->stop = 1;
        (void)pthread_cond_broadcast(&batches->changed);
        (void)pthread_mutex_unlock(&batches->mutex);
        (void)pthread_join(batches->thread, NULL);
    }
    if (batches->sync_ready) {
        (void)pthread_cond_destroy(&batches->changed);
        (void)pthread_mutex_destroy(&batches->mutex);
    }
    for (int i = 0; i < N_BUFFERS; i++) {
        lg_free(batches->buffers[i].images);
        lg_free(batches->buffers[i].labels);
    }
    lg_free(batches->order);
    lg_free(batches);
}

int64_t lego_batches_count(const lego_batches *batches)
{
    return batches->count;
}

lego_status lego_batches_next(lego_batches *batches, int64_t *n, const float **images, const int64_t **labels)
{
    const batch_buffer *buffer;
    lego_status status;

    if (!batches || !n || !images)
        return lg_error(LEGO_EINVAL, "batches, n and images must not be NULL");
    *n = 0;
    *images = NULL;
    if (labels)
        *labels = NULL;

    (void)pthread_mutex_lock(&batches->mutex);
    batches->released = batches->delivered; /* the one handed out last is free again */
    (void)pthread_cond_broadcast(&batches->changed);
    while (batches->status == LEGO_OK && batches->delivered < batches->count &&
           batches->produced <= batches->delivered)
        (void)pthread_cond_wait(&batches->changed, &batches->mutex);
    status = batches->produced > batches->delivered ? LEGO_OK : batches->status;
    (void)pthread_mutex_unlock(&batches->mutex);

    if (status != LEGO_OK)
        return lg_error(status, "%s", batches->message);
    if (batches->delivered == batches->count)
        return LEGO_OK;
    buffer = &batches->buffers[batches->delivered % N_BUFFERS];
    batches->delivered++;
    *n = buffer->n;
    *images = buffer->images;
    if (labels)
        *labels = buffer->labels;
    return LEGO_OK;
}
