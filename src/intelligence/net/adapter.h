/* adapter.h - what the files of the network adapters share: a server, a fleet of them, and what an attempt ended in. */
#ifndef ES_INTELLIGENCE_NET_ADAPTER_H
#define ES_INTELLIGENCE_NET_ADAPTER_H

#include "intelligence/intelligence.h"
#include "intelligence/net/dialect.h"
#include "intelligence/net/flow.h"
#include "intelligence/net/net.h"
#include "intelligence/net/server.h"
#include "intelligence/net/stream.h"

/* How a server fares in the present run. */
typedef struct es_fare {
    size_t flying;
    double hold;                 /* nothing is sent before */
    double unreachable_at;       /* when a connection failed last */
    int unreachable, spoilt;     /* connections, frames that failed in a row */
    int bad;                     /* attempts that failed in a row, and not for want of room */
    bool out;                    /* no frame would fare better: a wrong key, a model that is not there */
    bool suspect, probing;       /* to be asked whether it lives before it gets a question; being asked */
    void *run;                   /* whose fare it is */
    es_error why;                /* what it failed at last */
    size_t frames, sent, errors; /* answered; attempts; of them failed */
    double mean;                 /* seconds an answer takes; 0: not known yet */
    double began, ended;         /* of its first attempt, its last answer */
    bool passed;                 /* over, in the present round */
} es_fare;

typedef struct es_server {
    const es_dialect *dialect;
    char *endpoint, *key, *model; /* key NULL: none */
    char *keep_alive;             /* as JSON; NULL: the server's choice */
    const char *think;            /* as JSON; NULL: the model cannot, or is not asked to */
    es_net *net;                  /* for questions about the server itself */
    es_flow flow;
    es_net_limits limits;
    double pause;
    uint64_t random; /* of the jitter */
    int64_t max_pixels;
    int32_t context;
    es_placing placing;
    bool stream, blind;       /* blind: the model sees no pictures */
    bool draining, dismissed; /* gets nothing new; for good */
    es_fare fare;
} es_server;

/* The adapter: one server or many. */
typedef struct es_fleet {
    es_intelligence base;
    es_net *net;
    es_server **servers;
    size_t count, capacity;
    struct es_roll *roll; /* who is in it, when a file says so; else NULL */
    void (*note)(void *context, const char *line);
    void *note_context;
} es_fleet;

/* --- server.c --- */
/* A server without a model: for questions about the server itself. Of the same life as one that es_server_open gives.
 */
es_status es_server_new(es_server **server, const es_server_options *options, es_error *err);
/* Finds the model (an OpenAI server that is told one is not asked). options->endpoint is one address. */
es_status es_server_open(es_server **server, const es_server_options *options, es_error *err);
void es_server_close(es_server *server); /* NULL is fine */
/* GETs, or with a body POSTs to, a path. *root is owned by the caller; *http is the status, 0 when there was none. */
es_status es_server_ask(es_server *server, const char *path, const es_str *body, json_t **root, long *http,
                        es_error *err);
/* {"model": NAME}, and what follows it: the body of many of Ollama's questions. */
void es_append_model(es_str *body, const char *model, const char *more);
es_status es_server_list(es_server *server, es_names *names, es_error *err);
/* "ollama at http://...: what", on one line, with the key taken out should the server have repeated it. */
es_status es_server_fail(const es_server *self, es_error *err, es_status status, const char *format, ...)
    ES_PRINTF(4, 5);
/* The server's own words in the body of an error, or "HTTP status N". */
void es_server_words(const es_net_reply *reply, char *out, size_t size);

/* --- outcome.c --- */
/* What an attempt may end in. */
typedef enum es_outcome {
    ES_GOOD,
    ES_UNREACHABLE,
    ES_BUSY,
    ES_SICK,
    ES_CUT,
    ES_LATE,
    ES_GARBLED,
    ES_OF_FRAME, /* the question's own fault: no better the next time */
    ES_OF_SERVER /* no question would fare better there */
} es_outcome;
/* Whether the answer is whole, or what it is instead. One that Ollama ended since it looped is whole, but truncated. */
es_outcome es_judge(const es_server *server, const es_net_reply *reply, es_stream *stream, es_reading *reading,
                    es_error *err);

/* --- run.c: the port's two calls --- */
es_status es_fleet_classify(es_intelligence *base, const es_frame *frames, size_t count, const es_ask *ask,
                            const es_listener *listener, es_error *err);
es_status es_fleet_generate(es_intelligence *base, const es_message *messages, size_t count, const es_ask *ask,
                            const es_listener *listener, es_str *text, es_error *err);

/* --- fleet.c --- */
/* Visits what each line (or word) of options->endpoint says; *fault tells why a line makes no sense, else it is NULL.
 */
typedef void (*es_fleet_visit)(void *context, const es_server_options *one, const es_error *fault);
es_status es_fleet_each(const es_server_options *options, es_fleet_visit visit, void *context, es_error *err);
/* Looks whether the file of endpoints has changed: who is no longer in it drains, who is new joins. */
void es_fleet_look(es_fleet *fleet);
/* Drains those that are to be drained; drain may be NULL. */
void es_fleet_drain(es_fleet *fleet, const es_drain *drain);
/* Tells the table of a run, when there are several. */
void es_fleet_tell(const es_fleet *fleet);

#endif
