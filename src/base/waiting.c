#include "base/waiting.h"

#include <math.h>
#include <time.h>

#define MAX_WAIT 3600.0

void es_cond_init(pthread_cond_t *condition)
{
#if defined(__APPLE__)
    pthread_cond_init(condition, NULL);
#else
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &monotonic);
    pthread_condattr_destroy(&monotonic);
#endif
}

void es_cond_wait_for(pthread_cond_t *condition, pthread_mutex_t *lock, double seconds)
{
    seconds = seconds > 0 ? fmin(seconds, MAX_WAIT) : 0;
    double whole = floor(seconds);
    struct timespec at = {(time_t)whole, (long)((seconds - whole) * 1e9)};
#if defined(__APPLE__)
    pthread_cond_timedwait_relative_np(condition, lock, &at);
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    at.tv_sec += now.tv_sec;
    at.tv_nsec += now.tv_nsec;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000L;
    }
    pthread_cond_timedwait(condition, lock, &at);
#endif
}
