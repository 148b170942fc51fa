/* net.h - HTTP requests, many in flight, on one thread: the transport under the adapters that go over the network.
 *
 * Nothing is retried and no redirect followed here; a failure says whether another attempt may do better. Each phase
 * has its own clock. TLS is verified. A key goes into the Authorization header of its own request and nowhere else.
 */
#ifndef ES_INTELLIGENCE_NET_NET_H
#define ES_INTELLIGENCE_NET_NET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

typedef struct es_net es_net;

/* Seconds for each phase, and bounds. */
typedef struct es_net_limits {
    double connect;    /* to reach the server */
    double first_byte; /* from then on, to the answer's first byte */
    double idle;       /* between two bytes */
    double total;
    size_t body; /* bytes an answer may have */
} es_net_limits;

typedef enum es_net_fault {
    ES_NET_NONE,
    ES_NET_UNREACHABLE, /* no server: name, refused, no connection in time, TLS */
    ES_NET_UNTRUSTED,   /* its certificate does not hold, or cannot be checked */
    ES_NET_TIMEOUT,     /* first byte, silence, total */
    ES_NET_CUT,         /* it began, and broke off */
    ES_NET_TOO_LONG,    /* more than limits.body */
    ES_NET_SINK,        /* the sink's own error */
    ES_NET_OTHER
} es_net_fault;

typedef struct es_net_reply {
    es_net_fault fault;
    es_error error;     /* of a fault */
    long http;          /* status of the answer, 0: none came */
    double retry_after; /* seconds the server asks to wait, 0: not said */
    const char *body;   /* what was not given to the sink (the bodies of errors at most 64 KiB), NUL-terminated */
    size_t body_size;
    double seconds_first, seconds_total; /* from the start */
} es_net_reply;

typedef struct es_net_request {
    const char *url;
    const char *key;  /* NULL: none */
    const char *body; /* JSON to POST, living until `done`; NULL: GET */
    size_t body_size;
    es_net_limits limits;
    void *context;
    /* Receives the body of a 200 answer piece by piece; NULL: it is kept for `done`. Anything but ES_OK ends the
     * request. */
    es_status (*sink)(void *context, const char *data, size_t size, es_error *err);
    /* Called once, from es_net_step. May start other requests. The reply lives until it returns. */
    void (*done)(void *context, const es_net_reply *reply);
} es_net_request;

es_status es_net_open(es_net **net, es_error *err);
void es_net_close(es_net *net); /* NULL is fine; requests in flight are dropped without a word */

/* Starts a request; all but the body is copied. */
es_status es_net_start(es_net *net, const es_net_request *request, es_error *err);
/* Moves everything on, waiting at most `seconds` for something to happen. */
es_status es_net_step(es_net *net, double seconds, es_error *err);
size_t es_net_count(const es_net *net); /* requests in flight */
/* Drops all requests in flight, or those of a context; `done` is not called. */
void es_net_drop(es_net *net);
void es_net_drop_of(es_net *net, const void *context);

#endif
