/* The crew of retraining: every task once, the first failure by index, the same answer with any number of threads. Runs
 * under the thread sanitizer too. */
#include "support/support.h"

#include <pthread.h>

#include "retrain/crew.h"

#define N_TASKS 40

typedef struct job {
    int fail_from;      /* tasks from this one on fail */
    int counts[N_TASKS]; /* each written by its task alone */
    long long squares[N_TASKS];
} job;

static lego_status work(void *payload, int32_t index)
{
    job *j = payload;

    j->counts[index]++;
    for (long long i = 0; i <= index * 100; i++)
        j->squares[index] += i * i;
    return index >= j->fail_from ? lg_error(LEGO_EINVAL, "task %d failed", (int)index) : LEGO_OK;
}

typedef struct starts {
    pthread_mutex_t mutex;
    int n;
} starts;

static void count_start(void *payload)
{
    starts *s = payload;

    (void)pthread_mutex_lock(&s->mutex);
    s->n++;
    (void)pthread_mutex_unlock(&s->mutex);
}

static void test_crew__every_task_runs_once(void **state)
{
    for (int n_threads = 1; n_threads <= 4; n_threads++) {
        starts s = { PTHREAD_MUTEX_INITIALIZER, 0 };
        lg_crew *crew;

        assert_ok(lg_crew_create(&crew, n_threads, count_start, &s));
        for (int32_t n = 0; n <= N_TASKS; n += 8) {
            job j = { .fail_from = N_TASKS };

            assert_ok(lg_crew_run(crew, n, work, &j));
            for (int32_t i = 0; i < N_TASKS; i++)
                assert_int_equal(j.counts[i], i < n);
        }
        lg_crew_free(crew);
        assert_int_equal(s.n, n_threads - 1); /* the caller is the first */
    }
    (void)state;
}

static void test_crew__the_first_failure_is_told(void **state)
{
    lg_crew *crew;

    assert_ok(lg_crew_create(&crew, 3, NULL, NULL));
    for (int from = 0; from < N_TASKS; from += 13) {
        job j = { .fail_from = from };
        char message[32];

        snprintf(message, sizeof(message), "task %d failed", from);
        assert_fails(LEGO_EINVAL, lg_crew_run(crew, N_TASKS, work, &j));
        assert_says(message);
        j.fail_from = N_TASKS; /* and the crew works on */
        assert_ok(lg_crew_run(crew, N_TASKS, work, &j));
    }
    lg_crew_free(crew);
    (void)state;
}

static void test_crew__none_is_one_by_one(void **state)
{
    job j = { .fail_from = 5 };

    assert_fails(LEGO_EINVAL, lg_crew_run(NULL, N_TASKS, work, &j));
    assert_says("task 5 failed");
    assert_int_equal(j.counts[5], 1);
    assert_int_equal(j.counts[6], 0);
    lg_crew_free(NULL);
    (void)state;
}

static void test_crew__survives_allocation_failures(void **state)
{
    lg_crew *crew;

    assert_survives_oom(lg_crew_create(&crew, 3, NULL, NULL), lg_crew_free(crew));
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crew__every_task_runs_once),
        cmocka_unit_test(test_crew__the_first_failure_is_told),
        cmocka_unit_test(test_crew__none_is_one_by_one),
        cmocka_unit_test(test_crew__survives_allocation_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
