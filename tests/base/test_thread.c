/* test_thread.c - the pool runs every task once, in any number of threads, run after run; and refuses nonsense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/thread.h"

enum { TASKS_MAX = 3000 };

typedef struct tally {
    size_t workers;
    atomic_uint ran[TASKS_MAX];
    unsigned long plain[TASKS_MAX]; /* not atomic: what a task writes must be seen after the run */
    atomic_uint strangers;          /* calls with a worker number that is none */
} tally;

static void count_task(void *context, size_t task, size_t worker)
{
    tally *t = context;
    if (worker >= t->workers)
        atomic_fetch_add(&t->strangers, 1);
    atomic_fetch_add(&t->ran[task], 1);
    t->plain[task] += task + 1;
}

static es_pool *pool_of(size_t threads)
{
    es_pool *pool = NULL;
    es_error err = {0};
    assert_int_equal(es_pool_create(&pool, threads, &err), ES_OK);
    return pool;
}

static void every_task_runs_once_in_every_run(void **state)
{
    (void)state;
    for (size_t threads = 1; threads <= 5; threads++) {
        es_pool *pool = pool_of(threads);
        assert_int_equal(es_pool_size(pool), threads);
        tally *t = calloc(1, sizeof *t);
        assert_non_null(t);
        t->workers = threads;
        unsigned runs[TASKS_MAX] = {0};
        for (size_t run = 0; run < 400; run++) {
            size_t tasks = run % 7 == 0 ? 0 : run % 50 == 1 ? TASKS_MAX : run % 23;
            es_pool_run(pool, tasks, count_task, t);
            for (size_t i = 0; i < tasks; i++)
                runs[i]++;
        }
        for (size_t i = 0; i < TASKS_MAX; i++) {
            assert_int_equal(atomic_load(&t->ran[i]), runs[i]);
            assert_int_equal(t->plain[i], runs[i] * (i + 1));
        }
        assert_int_equal(atomic_load(&t->strangers), 0);
        free(t);
        es_pool_free(pool);
    }
}

static void runs_after_a_pause_wake_the_sleepers(void **state)
{
    (void)state;
    es_pool *pool = pool_of(3);
    tally *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->workers = 3;
    for (unsigned run = 1; run <= 5; run++) {
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        es_pool_run(pool, 100, count_task, t);
        for (size_t i = 0; i < 100; i++)
            assert_int_equal(atomic_load(&t->ran[i]), run);
    }
    free(t);
    es_pool_free(pool);
}

static void no_pool_means_this_thread(void **state)
{
    (void)state;
    tally *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->workers = 1;
    es_pool_run(NULL, 10, count_task, t);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(atomic_load(&t->ran[i]), 1);
    assert_int_equal(es_pool_size(NULL), 1);
    assert_int_equal(atomic_load(&t->strangers), 0);
    free(t);
    es_pool_free(NULL);
}

static void pools_come_and_go(void **state)
{
    (void)state;
    for (size_t i = 0; i < 100; i++)
        es_pool_free(pool_of(1 + i % 4));
}

static void zero_threads_means_one_a_core(void **state)
{
    (void)state;
    es_pool *pool = pool_of(0);
    assert_true(es_cpu_count() >= 1);
    assert_int_equal(es_pool_size(pool), es_cpu_count());
    es_pool_free(pool);
}

static void too_many_threads_are_refused_in_words(void **state)
{
    (void)state;
    es_pool *pool = (es_pool *)state; /* anything but NULL */
    es_error err = {0};
    assert_int_equal(es_pool_create(&pool, 1000000, &err), ES_ERR_ARGUMENT);
    assert_null(pool);
    assert_non_null(strstr(err.message, "1000000 threads"));
}

/* In a child whose address space has room for few stacks: thread creation fails half way, and the pool says so. */
static void threads_that_the_system_refuses_are_an_error(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* sanitizers need all the address space */
#endif
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit limit = {512ul << 20, 512ul << 20};
        es_pool *pool = NULL;
        es_error err = {0};
        if (setrlimit(RLIMIT_AS, &limit) != 0)
            _exit(2);
        es_status status = es_pool_create(&pool, 1000, &err);
        _exit(status == ES_ERR_IO && pool == NULL && strstr(err.message, "cannot start thread") != NULL ? 0 : 1);
    }
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), 0);
}

static void the_clock_runs_forward(void **state)
{
    (void)state;
    double start = es_now();
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    assert_true(es_now() - start >= 0.002);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_once_in_every_run),
        cmocka_unit_test(runs_after_a_pause_wake_the_sleepers),
        cmocka_unit_test(no_pool_means_this_thread),
        cmocka_unit_test(pools_come_and_go),
        cmocka_unit_test(zero_threads_means_one_a_core),
        cmocka_unit_test(too_many_threads_are_refused_in_words),
        cmocka_unit_test(threads_that_the_system_refuses_are_an_error),
        cmocka_unit_test(the_clock_runs_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
