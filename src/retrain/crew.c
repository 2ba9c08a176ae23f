/* Threads that share the tasks of one job after another.
 *
 * The caller works, too, and waits for the rest. Error messages are per thread (lego_last_error): a worker's is carried
 * over to the caller. */
#include "retrain/crew.h"

#include <pthread.h>
#include <stdio.h>

#include "base/alloc.h"

struct lg_crew {
    pthread_mutex_t mutex;
    pthread_cond_t work, finished;
    int sync_ready;
    pthread_t *threads;
    int n_threads; /* started */
    void (*start)(void *payload);
    void *payload;
    /* under the mutex: */
    int stop;
    lg_crew_task task;
    void *job;
    int32_t n, next, n_done;
    int32_t failed; /* index of the first failure; n if there is none */
    lego_status status;
    char message[512];
};

/* Take tasks until there are none; called and left with the mutex held. */
static void work_through(lg_crew *crew)
{
    while (crew->next < crew->n) {
        const int32_t index = crew->next++;
        lego_status status;

        (void)pthread_mutex_unlock(&crew->mutex);
        status = crew->task(crew->job, index);
        (void)pthread_mutex_lock(&crew->mutex);
        if (status != LEGO_OK && index < crew->failed) {
            crew->failed = index;
            crew->status = status;
            (void)snprintf(crew->message, sizeof(crew->message), "%s", lego_last_error());
        }
        if (++crew->n_done == crew->n)
            (void)pthread_cond_broadcast(&crew->finished);
    }
}

static void *worker(void *payload)
{
    lg_crew *crew = payload;

    if (crew->start)
        crew->start(crew->payload);
    (void)pthread_mutex_lock(&crew->mutex);
    while (!crew->stop) {
        work_through(crew);
        if (!crew->stop)
            (void)pthread_cond_wait(&crew->work, &crew->mutex);
    }
    (void)pthread_mutex_unlock(&crew->mutex);
    return NULL;
}

lego_status lg_crew_create(lg_crew **out, int n_threads, void (*start)(void *payload), void *payload)
{
    lg_crew *crew = NULL;
    lego_status status = LEGO_OK;

    *out = NULL;
    LG_TRY(LG_CALLOC(&crew, 1));
    crew->start = start;
    crew->payload = payload;
    LG_TRY(LG_CALLOC(&crew->threads, n_threads));
    if (pthread_mutex_init(&crew->mutex, NULL) != 0 || pthread_cond_init(&crew->work, NULL) != 0 ||
        pthread_cond_init(&crew->finished, NULL) != 0)
        LG_FAIL(LEGO_ENOMEM, "no mutex for the threads of retraining");
    crew->sync_ready = 1;
    for (; crew->n_threads < n_threads - 1; crew->n_threads++)
        if (pthread_create(&crew->threads[crew->n_threads], NULL, worker, crew) != 0)
            LG_FAIL(LEGO_ENOMEM, "no thread to retrain with");
    *out = crew;
    crew = NULL;
done:
    lg_crew_free(crew);
    return status;
}

void lg_crew_free(lg_crew *crew)
{
    if (!crew)
        return;
    if (crew->sync_ready) {
        (void)pthread_mutex_lock(&crew->mutex);
        crew->stop = 1;
        (void)pthread_cond_broadcast(&crew->work);
        (void)pthread_mutex_unlock(&crew->mutex);
        for (int i = 0; i < crew->n_threads; i++)
            (void)pthread_join(crew->threads[i], NULL);
        (void)pthread_cond_destroy(&crew->finished);
        (void)pthread_cond_destroy(&crew->work);
        (void)pthread_mutex_destroy(&crew->mutex);
    }
    lg_free(crew->threads);
    lg_free(crew);
}

lego_status lg_crew_run(lg_crew *crew, int32_t n, lg_crew_task task, void *job)
{
    lego_status status = LEGO_OK;

    if (!crew) {
        for (int32_t i = 0; i < n && status == LEGO_OK; i++)
            status = task(job, i);
        return status;
    }
    (void)pthread_mutex_lock(&crew->mutex);
    crew->task = task;
    crew->job = job;
    crew->next = crew->n_done = 0;
    crew->failed = crew->n = n;
    (void)pthread_cond_broadcast(&crew->work);
    work_through(crew);
    while (crew->n_done < n)
        (void)pthread_cond_wait(&crew->finished, &crew->mutex);
    status = crew->failed < n ? lg_error(crew->status, "%s", crew->message) : LEGO_OK;
    (void)pthread_mutex_unlock(&crew->mutex);
    return status;
}
