/* signals.c - Ctrl-C as an ordinary call: a thread waits for the signal, so that nothing runs inside a handler. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cli/cli.h"

struct es_signals {
    pthread_t thread;
    sigset_t set;
    atomic_bool caught, ending;
    pthread_mutex_t lock; /* guards what follows */
    void (*ask)(void *context);
    void *context;
    void (*drain)(void *context, size_t number);
    void *drain_context;
};

/* Waits for a signal; *number is what was queued with it, 0: nothing. */
static int next_signal(const sigset_t *set, size_t *number)
{
    int got = 0;
    *number = 0;
#ifdef __APPLE__ /* it has no queued signals */
    return sigwait(set, &got) == 0 ? got : 0;
#else
    siginfo_t info;
    got = sigwaitinfo(set, &info);
    if (got > 0 && info.si_code == SI_QUEUE && info.si_value.sival_int > 0)
        *number = (size_t)info.si_value.sival_int;
    return got > 0 ? got : 0;
#endif
}

static void tell_drain(es_signals *s, size_t number)
{
    pthread_mutex_lock(&s->lock);
    if (s->drain != NULL)
        s->drain(s->drain_context, number);
    pthread_mutex_unlock(&s->lock);
}

static void *wait_for_signals(void *argument)
{
    es_signals *s = argument;
    for (;;) {
        size_t queued;
        int number = next_signal(&s->set, &queued);
        if (number == 0)
            continue;
        if (atomic_load(&s->ending))
            return NULL;
        if (number == SIGUSR1) {
            tell_drain(s, queued);
            continue;
        }
        if (atomic_exchange(&s->caught, true)) {
            /* The second time: what the signal does when nobody listens. */
            signal(number, SIG_DFL);
            pthread_sigmask(SIG_UNBLOCK, &s->set, NULL);
            raise(number);
            return NULL;
        }
        pthread_mutex_lock(&s->lock);
        if (s->ask != NULL)
            s->ask(s->context);
        pthread_mutex_unlock(&s->lock);
    }
}

es_status es_signals_begin(es_signals **signals, es_error *err)
{
    es_signals *s = es_calloc(1, sizeof *s);
    *signals = NULL;
    if (s == NULL)
        return es_fail_memory(err, "the signal watcher", sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    sigemptyset(&s->set);
    sigaddset(&s->set, SIGINT);
    sigaddset(&s->set, SIGTERM);
    sigaddset(&s->set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &s->set, NULL);
    if (pthread_create(&s->thread, NULL, wait_for_signals, s) != 0) {
        pthread_sigmask(SIG_UNBLOCK, &s->set, NULL);
        pthread_mutex_destroy(&s->lock);
        free(s);
        return es_fail(err, ES_ERR_IO, "cannot start a thread: the system's limit on threads is reached");
    }
    *signals = s;
    return ES_OK;
}

void es_signals_ask(es_signals *signals, void (*ask)(void *context), void *context)
{
    pthread_mutex_lock(&signals->lock);
    signals->ask = ask;
    signals->context = context;
    if (ask != NULL && atomic_load(&signals->caught))
        ask(context);
    pthread_mutex_unlock(&signals->lock);
}

void es_signals_drain(es_signals *signals, void (*drain)(void *context, size_t number), void *context)
{
    pthread_mutex_lock(&signals->lock);
    signals->drain = drain;
    signals->drain_context = context;
    pthread_mutex_unlock(&signals->lock);
}

bool es_signals_caught(const es_signals *signals)
{
    return atomic_load(&signals->caught);
}

void es_signals_end(es_signals *signals)
{
    if (signals == NULL)
        return;
    atomic_store(&signals->ending, true);
    pthread_kill(signals->thread, SIGTERM); /* wakes sigwait, which sees `ending` */
    pthread_join(signals->thread, NULL);
    /* The signals stay blocked: what was asked for is done and told, and the exit status shall say so. */
    pthread_mutex_destroy(&signals->lock);
    free(signals);
}
