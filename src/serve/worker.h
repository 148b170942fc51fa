/* worker.h - the one thread that owns device, model and engine; everybody else files tickets. docs/serve.md tells how.
 */
#ifndef ES_SERVE_WORKER_H
#define ES_SERVE_WORKER_H

#include "serve/ticket.h"

typedef struct es_worker es_worker;

typedef struct es_worker_options {
    es_engine_options engine; /* the policy is set to latency */
    /* `again`: the last one failed at its work, and another will do better if there is one. */
    es_status (*open_device)(void *context, bool again, es_device **device, es_error *err);
    void *context;
    const char *weight_cache; /* folder of ready weights, as es_model_open_kept takes it; outlives the worker */
    int32_t queue;            /* tickets that may wait; 0: 64 */
    int64_t picture_bytes;    /* that may wait; 0: 512 MiB */
    int64_t tokens;           /* that all requests, waiting and under way, may come to; 0: 1,048,576 */
    int64_t keep_ms;          /* how long an unused model stays; ES_KEEP_FOREVER */
} es_worker_options;

/* What happened since the start, and how it is now. */
typedef struct es_worker_status {
    bool draining, loading;
    char model[512];               /* directory of the loaded one; "" */
    int64_t model_bytes;           /* resident memory it took when it was loaded, roughly */
    double expires;                /* es_now when it will be unloaded; INFINITY */
    int32_t context;               /* tokens a sequence may have, of the loaded model */
    size_t queued, running, batch; /* tickets waiting; sequences under way; most of these */
    int64_t picture_bytes;         /* waiting */
    int64_t promised, tokens;      /* tokens that requests may still come to; most of these */
    int64_t filed, refused, cancelled, failed, answered, loads, unloads;
    int64_t prompt_tokens, generated_tokens, pictures;
    double queue_seconds, first_seconds, answer_seconds; /* sums over the answered: waiting, to the first text, all */
    int64_t first_within[8];                             /* cumulative: first text within es_first_bounds */
    double tokens_per_second;                            /* over the last seconds */
    es_engine_stats engine;
} es_worker_status;
extern const double es_first_bounds[8]; /* seconds */

es_status es_worker_create(es_worker **worker, const es_worker_options *options, es_error *err);
/* Cancels what is under way and frees all. NULL is fine. */
void es_worker_free(es_worker *worker);

/* Puts a sealed ticket into the queue. ES_ERR_LIMIT: the queue is full, come again; ES_ERR_CANCELLED: the server is
 * ending. After a failure the ticket was not filed. */
es_status es_worker_file(es_worker *worker, es_ticket *ticket, es_error *err);
/* Asks that a filed ticket end soon; it is finished as cancelled unless it was done. */
void es_worker_cancel(es_worker *worker, es_ticket *ticket);
/* cancel, then wait, then free. */
void es_worker_drop(es_worker *worker, es_ticket *ticket);
/* Takes no new tickets, waits until all are finished or `seconds` have passed, then cancels the rest. */
void es_worker_drain(es_worker *worker, double seconds);
void es_worker_get_status(es_worker *worker, es_worker_status *status);
/* Seconds after which a place in the queue is likely, at least 1. */
int es_worker_patience(es_worker *worker);

#endif
