/* server_pull.c - POST /api/pull: Ollama fetches a model, and tells how far it is. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/thread.h"
#include "intelligence/net/adapter.h"

#define STEP 0.1
#define TRIES 6          /* broken connections in a row, with nothing new between them */
#define FOR_EVER 3e7     /* seconds a download may take: only silence ends it */
#define RATE_SECONDS 3.0 /* over which the rate is measured */

typedef struct pull {
    es_server *server;
    const es_server_pull *how;
    es_stream stream;
    bool ended; /* "success" was told */
    bool told;  /* something new since the last break */
    bool over;  /* of the present request */
    es_net_fault fault;
    double at;
    uint64_t done_at; /* bytes at that time */
    double rate;
    es_status status;
    es_error error;
} pull;

static uint64_t bytes_of(const json_t *value, const char *key)
{
    const json_t *item = json_object_get(value, key);
    json_int_t n = json_is_integer(item) ? json_integer_value(item) : 0;
    return n > 0 ? (uint64_t)n : 0;
}

static void measure(pull *p, uint64_t done)
{
    double now = es_now();
    if (done < p->done_at || p->at <= 0) { /* another layer */
        p->at = now;
        p->done_at = done;
        p->rate = 0;
    } else if (now - p->at >= RATE_SECONDS) {
        p->rate = (double)(done - p->done_at) / (now - p->at);
        p->at = now;
        p->done_at = done;
    }
}

/* {"status": "pulling 1ff5b64b61b9", "total": N, "completed": N}, at the end {"status": "success"}. */
static es_status on_value(void *context, const json_t *value, es_error *err)
{
    pull *p = context;
    const char *complaint = es_server_complaint(value);
    const char *words = json_string_value(json_object_get(value, "status"));
    if (complaint != NULL)
        return es_fail(err, ES_ERR_NETWORK, "%.300s", complaint);
    if (words == NULL)
        return es_fail(err, ES_ERR_FORMAT, "the answer is not one of /api/pull");
    p->ended = strcmp(words, "success") == 0;
    es_pull_step step = {.words = words, .done = bytes_of(value, "completed"), .total = bytes_of(value, "total")};
    if (step.done > 0 || p->ended)
        p->told = true;
    measure(p, step.done);
    step.rate = p->rate;
    if (p->how->step != NULL)
        p->how->step(p->how->context, &step);
    return ES_OK;
}

static es_status on_bytes(void *context, const char *bytes, size_t size, es_error *err)
{
    pull *p = context;
    return es_stream_feed(&p->stream, bytes, size, err);
}

static void on_done(void *context, const es_net_reply *reply)
{
    pull *p = context;
    es_error own = {0};
    p->over = true;
    p->fault = reply->fault;
    if (reply->fault != ES_NET_NONE) {
        p->status = es_server_fail(p->server, &p->error, reply->error.status, "%s", reply->error.message);
    } else if (reply->http != 200) {
        char words[300];
        es_server_words(reply, words, sizeof words);
        p->status = es_server_fail(p->server, &p->error, ES_ERR_NETWORK, "%s", words);
    } else if (es_stream_end(&p->stream, &own) != ES_OK) {
        p->status = es_server_fail(p->server, &p->error, own.status, "%s", own.message);
    } else if (!p->ended) {
        p->fault = ES_NET_CUT;
        p->status = es_server_fail(p->server, &p->error, ES_ERR_NETWORK, "the answer broke off");
    }
}

static bool stopped(const pull *p)
{
    return p->how->cancelled != NULL && p->how->cancelled(p->how->context);
}

/* One request, to its end. The error is in p, or in err when it was us who could not go on. */
static es_status once(pull *p, const char *url, const es_str *body, es_error *err)
{
    es_net_request request = {.url = url,
                              .key = p->server->key,
                              .body = es_str_text(body),
                              .body_size = body->length,
                              .limits = p->server->limits,
                              .context = p,
                              .sink = on_bytes,
                              .done = on_done};
    request.limits.total = FOR_EVER;
    request.limits.body = SIZE_MAX; /* a line for each step: none of them is kept */
    p->stream = (es_stream){.context = p, .value = on_value};
    p->over = p->told = false;
    p->status = ES_OK;
    es_status status = es_net_start(p->server->net, &request, err);
    while (status == ES_OK && !p->over) {
        status = stopped(p) ? es_fail(err, ES_ERR_CANCELLED, "cancelled") : es_net_step(p->server->net, STEP, err);
    }
    es_net_drop(p->server->net);
    es_stream_free(&p->stream);
    return status;
}

/* Whether another attempt may do better: Ollama keeps what it has, and goes on from there. */
static bool may_pass(const pull *p)
{
    return p->fault == ES_NET_UNREACHABLE || p->fault == ES_NET_CUT || p->fault == ES_NET_TIMEOUT;
}

static es_status again_and_again(pull *p, const char *url, const es_str *body, es_error *err)
{
    double pause = p->server->pause;
    for (int tries = 1;; tries++, pause *= 2) {
        ES_TRY(once(p, url, body, err));
        if (p->status == ES_OK)
            return ES_OK;
        if (p->told) {
            tries = 0;
            pause = p->server->pause;
        }
        if (!may_pass(p) || tries >= TRIES) {
            if (err != NULL)
                *err = p->error;
            return p->status;
        }
        es_pull_step step = {.words = p->error.message, .pause = pause};
        if (p->how->step != NULL)
            p->how->step(p->how->context, &step);
        for (double end = es_now() + pause; es_now() < end;) {
            if (stopped(p))
                return es_fail(err, ES_ERR_CANCELLED, "cancelled");
            nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        }
    }
}

es_status es_server_get(const es_server_options *options, const char *model, const es_server_pull *how, es_error *err)
{
    static const es_server_pull nobody;
    pull p = {.how = how != NULL ? how : &nobody};
    es_str body = {0}, url = {0};
    ES_TRY(es_server_new(&p.server, options, err));
    es_append_model(&body, model, ",\"stream\":true");
    es_str_append(&url, p.server->endpoint);
    es_str_append(&url, "/api/pull");
    es_status status = es_str_check(&body, err);
    if (status == ES_OK)
        status = es_str_check(&url, err);
    if (status == ES_OK)
        status = again_and_again(&p, es_str_text(&url), &body, err);
    es_str_free(&body);
    es_str_free(&url);
    es_server_close(p.server);
    return status;
}
