/* exchange.h - one HTTP request and its answer, as the dialects see them: nothing of the library beneath. */
#ifndef ES_SERVE_EXCHANGE_H
#define ES_SERVE_EXCHANGE_H

#include <jansson.h>

#include "serve/http.h"

typedef struct es_exchange {
    es_server *server;
    void *connection; /* http.c's */
    const char *method, *path;
    const char *rest; /* of the path, behind a route that ends with a slash */
    const char *body; /* NUL-terminated */
    size_t size;
    char client[160]; /* whose turn it is, in the queue */
    bool openai;      /* how errors are told */
    double began;

    /* the answer: whole, unless `more` is set */
    int code;           /* 0: 200, or by the error's status */
    const char *type;   /* NULL: JSON */
    const char *policy; /* Content-Security-Policy, or NULL */
    int retry;          /* seconds; 0: no such header */
    es_str out;
    /* Appends what comes next to out (blocking as long as it likes) and returns true; false: nothing more. */
    bool (*more)(struct es_exchange *x);
    void *stream; /* the dialect's; freed by `end`, which is always called once */
    void (*end)(struct es_exchange *x);
} es_exchange;

typedef es_status (*es_handler)(es_exchange *x, es_error *err);

/* The client has left. */
bool es_exchange_gone(const es_exchange *x);
/* Puts a JSON value into out as text and takes the reference over; NULL is lack of memory. */
es_status es_exchange_json(es_exchange *x, json_t *value, es_error *err);
/* Parses the body, which must be a JSON object. */
es_status es_exchange_body(es_exchange *x, json_t **body, es_error *err);
/* What was read of the client is not needed any more: others may send theirs. */
void es_exchange_forget_body(es_exchange *x);
/* Fails with an HTTP code of its own. */
es_status es_exchange_fail(es_exchange *x, int code, es_error *err, es_status status, const char *format, ...)
    ES_PRINTF(5, 6);
/* The error as the dialect tells it, appended to out; sets the code by the status unless it is set. */
void es_exchange_error(es_exchange *x, const es_error *error);

/* --- what is there (routes.c) --- */
/* Checks who asks and finds who answers. Always leaves an answer. */
void es_route(es_exchange *x, const struct es_headers *headers);
/* A body may be read for this request at all: it exists, the method fits, who asks may. Else an answer is left. */
bool es_route_admits(es_exchange *x, const struct es_headers *headers);

/* --- who answers --- */
es_status es_openai_chat(es_exchange *x, es_error *err);
es_status es_openai_responses(es_exchange *x, es_error *err);
es_status es_openai_models(es_exchange *x, es_error *err);
es_status es_openai_unsupported(es_exchange *x, es_error *err);
es_status es_ollama_chat(es_exchange *x, es_error *err);
es_status es_ollama_generate(es_exchange *x, es_error *err);
es_status es_ollama_tags(es_exchange *x, es_error *err);
es_status es_ollama_show(es_exchange *x, es_error *err);
es_status es_ollama_ps(es_exchange *x, es_error *err);
es_status es_ollama_version(es_exchange *x, es_error *err);
es_status es_ollama_pull(es_exchange *x, es_error *err);
es_status es_ollama_unsupported(es_exchange *x, es_error *err);
es_status es_health(es_exchange *x, es_error *err);
es_status es_tell_ready(es_exchange *x, es_error *err);
es_status es_metrics(es_exchange *x, es_error *err);
es_status es_status_json(es_exchange *x, es_error *err);
es_status es_page(es_exchange *x, es_error *err);

#endif
