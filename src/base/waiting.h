/* waiting.h - conditions with a time limit on the clock that nobody sets, on Linux and macOS alike. */
#ifndef ES_BASE_WAITING_H
#define ES_BASE_WAITING_H

#include <pthread.h>

void es_cond_init(pthread_cond_t *condition);
/* Waits at most so many seconds (and never longer than an hour); may also return early, as conditions do. */
void es_cond_wait_for(pthread_cond_t *condition, pthread_mutex_t *lock, double seconds);

#endif
