/* thread.c - the pool: workers take task numbers from one counter.
 *
 * A run is open from the moment it is published until its caller has found no task left. Workers join an open run and
 * leave it; the caller waits only for those who joined, so a worker that sleeps too deeply delays nobody.
 */
#include "base/thread.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

/* Turns of an empty loop before sleeping: some 10-50 microseconds, about what waking a sleeper costs. */
#define SPIN_TURNS 4000
#define THREADS_MAX 1024

struct es_pool {
    size_t size; /* workers, the caller included */
    pthread_t *threads;
    size_t started; /* threads that exist */

    pthread_mutex_t lock;
    pthread_cond_t wake; /* a run was opened, or the pool ends */
    pthread_cond_t idle; /* the last worker left the run */

    atomic_uint generation; /* counts runs opened; watched by spinning workers */
    atomic_bool ending;
    atomic_size_t joined;  /* workers inside the run; changed under lock */
    bool open;             /* under lock */
    atomic_size_t next;    /* the next task to take */
    atomic_size_t entered; /* gives each new thread its number */

    size_t tasks;
    es_task_fn fn;
    void *context;
};

static inline void pause_a_little(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static void take_tasks(es_pool *pool, size_t worker)
{
    for (;;) {
        size_t task = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (task >= pool->tasks)
            return;
        pool->fn(pool->context, task, worker);
    }
}

/* Waits until a run after `seen` was opened or the pool ends. */
static void await_run(es_pool *pool, unsigned seen)
{
    for (int turn = 0; turn < SPIN_TURNS; turn++) {
        if (atomic_load_explicit(&pool->generation, memory_order_acquire) != seen)
            return;
        pause_a_little();
    }
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&pool->generation) == seen && !atomic_load(&pool->ending))
        pthread_cond_wait(&pool->wake, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

static void *worker_main(void *argument)
{
    es_pool *pool = argument;
    size_t worker = 1 + atomic_fetch_add(&pool->entered, 1);
    unsigned seen = 0;
    for (;;) {
        await_run(pool, seen);
        pthread_mutex_lock(&pool->lock);
        seen = atomic_load(&pool->generation);
        bool ending = atomic_load(&pool->ending);
        bool join = pool->open && !ending;
        if (join)
            atomic_fetch_add(&pool->joined, 1);
        pthread_mutex_unlock(&pool->lock);
        if (ending)
            return NULL;
        if (!join)
            continue;
        take_tasks(pool, worker);
        pthread_mutex_lock(&pool->lock);
        if (atomic_fetch_sub(&pool->joined, 1) == 1)
            pthread_cond_signal(&pool->idle);
        pthread_mutex_unlock(&pool->lock);
    }
}

static es_status start_workers(es_pool *pool, es_error *err)
{
    /* Signals are for the program's own threads: a worker must not be the one that Ctrl-C interrupts. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int refused = 0;
    while (pool->started + 1 < pool->size && refused == 0) {
        refused = pthread_create(&pool->threads[pool->started], NULL, worker_main, pool);
        if (refused == 0)
            pool->started++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (refused != 0)
        return es_fail(err, ES_ERR_IO, "cannot start thread %zu of %zu: %s (ask for fewer threads)", pool->started + 1,
                       pool->size, strerror(refused));
    return ES_OK;
}

es_status es_pool_create(es_pool **out, size_t threads, es_error *err)
{
    *out = NULL;
    if (threads == 0)
        threads = es_cpu_count();
    if (threads > THREADS_MAX)
        return es_fail(err, ES_ERR_ARGUMENT, "%zu threads asked for; at most %d are possible", threads, THREADS_MAX);
    es_pool *pool = es_calloc(1, sizeof *pool);
    if (pool == NULL)
        return es_fail_memory(err, "a thread pool", sizeof *pool);
    pool->size = threads;
    pool->threads = es_calloc(threads, sizeof *pool->threads);
    if (pool->threads == NULL) {
        free(pool);
        return es_fail_memory(err, "a thread pool", threads * sizeof *pool->threads);
    }
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->idle, NULL);
    es_status status = start_workers(pool, err);
    if (status != ES_OK) {
        es_pool_free(pool);
        return status;
    }
    *out = pool;
    return ES_OK;
}

void es_pool_free(es_pool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->ending, true);
    atomic_fetch_add(&pool->generation, 1);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < pool->started; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->idle);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool->threads);
    free(pool);
}

size_t es_pool_size(const es_pool *pool)
{
    return pool == NULL ? 1 : pool->size;
}

static void open_run(es_pool *pool, size_t tasks, es_task_fn fn, void *context)
{
    pthread_mutex_lock(&pool->lock);
    pool->tasks = tasks;
    pool->fn = fn;
    pool->context = context;
    atomic_store(&pool->next, 0);
    pool->open = true;
    atomic_fetch_add_explicit(&pool->generation, 1, memory_order_release);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

static void close_run(es_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->open = false;
    pthread_mutex_unlock(&pool->lock);
    for (int turn = 0; turn < SPIN_TURNS; turn++) {
        if (atomic_load_explicit(&pool->joined, memory_order_acquire) == 0)
            break;
        pause_a_little();
    }
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&pool->joined) != 0)
        pthread_cond_wait(&pool->idle, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

void es_pool_run(es_pool *pool, size_t tasks, es_task_fn fn, void *context)
{
    if (pool == NULL || pool->size == 1 || tasks <= 1) {
        for (size_t task = 0; task < tasks; task++)
            fn(context, task, 0);
        return;
    }
    open_run(pool, tasks, fn, context);
    take_tasks(pool, 0);
    close_run(pool);
}

size_t es_cpu_count(void)
{
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        int count = CPU_COUNT(&set);
        if (count > 0)
            return (size_t)count;
    }
#endif
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (size_t)count : 1;
}

double es_now(void)
{
    struct timespec t;
    if (clock_gettime(CLOCK_MONOTONIC, &t) != 0)
        return 0.0;
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
