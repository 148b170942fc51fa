/* thread.h - a pool of threads that runs one loop at a time.
 *
 * The pool splits work into `tasks` numbered pieces; which thread runs which piece is not defined, so a task's result
 * may depend on its number only, never on the thread. Used by one caller at a time.
 */
#ifndef ES_BASE_THREAD_H
#define ES_BASE_THREAD_H

#include <stddef.h>

#include "base/status.h"

typedef struct es_pool es_pool;

/* worker: 0 .. es_pool_size-1, for scratch memory; task: 0 .. tasks-1. */
typedef void (*es_task_fn)(void *context, size_t task, size_t worker);

/* A pool of `threads` workers (the caller is one of them); 0 means one a core that this process may run on. */
es_status es_pool_create(es_pool **pool, size_t threads, es_error *err);
void es_pool_free(es_pool *pool); /* NULL is fine */
size_t es_pool_size(const es_pool *pool);

/* Runs fn for each task and returns when all are done. pool NULL: in this thread, in order, worker 0. */
void es_pool_run(es_pool *pool, size_t tasks, es_task_fn fn, void *context);

/* How many cores this process may run on, at least 1. */
size_t es_cpu_count(void);

/* Seconds from an arbitrary point, monotonic. */
double es_now(void);

#endif
