/* http.h - the HTTP server: a thread a connection, one worker behind all of them. docs/serve.md tells how. */
#ifndef ES_SERVE_HTTP_H
#define ES_SERVE_HTTP_H

#include "serve/catalog.h"
#include "serve/guard.h"
#include "serve/pictures.h"
#include "serve/worker.h"

typedef struct es_server es_server;

typedef struct es_server_options {
    int fd;            /* listening socket, taken over */
    es_worker *worker; /* the caller's, like the next three */
    es_catalog *catalog;
    es_picture_door *door;
    const es_guard *guard;
    es_sampling sampling;                              /* where a request says nothing */
    int32_t max_tokens;                                /* where a request says nothing */
    size_t max_body;                                   /* bytes; 0: 64 MiB */
    size_t max_bodies;                                 /* of all that are being read; 0: 256 MiB, at least max_body */
    unsigned connections;                              /* 0: 256 */
    double header_seconds, body_seconds, idle_seconds; /* 0: 10, 60, 75 */
    bool allow_pull;
    /* A line about a request that is done: method, path, code, seconds. Never its content. May be NULL. */
    void (*log)(void *context, const char *line);
    void *log_context;
} es_server_options;

/* Requests and refusals, counted. */
typedef struct es_http_counts {
    int64_t connections, open, requests, in_flight;
    int64_t codes[6]; /* by hundreds: [2] is 2xx */
    int64_t refused_host, refused_origin, refused_key, refused_body, refused_headers;
    int64_t body_bytes;     /* of requests being read now */
    int64_t too_slow, left; /* connections closed because they took too long; clients that left before their answer */
} es_http_counts;

es_status es_server_start(es_server **server, const es_server_options *options, es_error *err);
/* Takes no new connections, gives what is under way `seconds`, then ends. NULL is fine. */
void es_server_stop(es_server *server, double seconds);

/* --- for the dialects --- */
const es_server_options *es_server_options_of(const es_server *server);
void es_server_get_counts(es_server *server, es_http_counts *counts);

#endif
