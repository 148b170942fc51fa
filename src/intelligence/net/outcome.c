/* outcome.c - what an attempt ended in, and the words for it. */
#include <string.h>

#include "intelligence/net/adapter.h"

#define LOOP_PERIOD 32 /* bytes of what is said over and over: a token, or a few */
#define LOOP_TURNS 24

static es_outcome of_status(es_status status)
{
    switch (status) {
    case ES_ERR_FORMAT:
        return ES_GARBLED;
    case ES_ERR_NETWORK:
        return ES_SICK;
    default: /* too long, no memory: no better the next time */
        return ES_OF_FRAME;
    }
}

static es_outcome of_http(const es_server *self, const es_net_reply *reply, es_error *err)
{
    char words[300];
    long http = reply->http;
    es_server_words(reply, words, sizeof words);
    if (http >= 300 && http < 400) {
        es_server_fail(self, err, ES_ERR_NETWORK,
                       "%s: it sends us elsewhere, which is not followed: give the address itself", words);
        return ES_OF_SERVER;
    }
    if (http == 401 || http == 403) {
        es_server_fail(self, err, ES_ERR_NETWORK, "%s: check OPENAI_API_KEY", words);
        return ES_OF_SERVER;
    }
    if (http == 404) {
        es_server_fail(self, err, ES_ERR_NETWORK, "%s: check the model's name (%.60s) and the address", words,
                       self->model);
        return ES_OF_SERVER;
    }
    es_server_fail(self, err, ES_ERR_NETWORK, "%s", words);
    if (http == 429 || http == 503)
        return ES_BUSY;
    return http == 408 || http >= 500 ? ES_SICK : http == 200 ? ES_GARBLED : ES_OF_FRAME;
}

static es_outcome of_fault(const es_server *self, const es_net_reply *reply, es_error *err)
{
    es_server_fail(self, err, reply->error.status, "%s", reply->error.message);
    switch (reply->fault) {
    case ES_NET_UNREACHABLE:
        return ES_UNREACHABLE;
    case ES_NET_UNTRUSTED:
        return ES_OF_SERVER;
    case ES_NET_TIMEOUT:
        return ES_LATE;
    case ES_NET_CUT:
        return ES_CUT;
    case ES_NET_SINK:
        return of_status(reply->error.status);
    default:
        return ES_OF_FRAME;
    }
}

/* Whether a text ends in the same few bytes over and over. */
static bool ends_in_loop(const es_str *text)
{
    const char *data = es_str_text(text);
    for (size_t period = 1; period <= LOOP_PERIOD && period * LOOP_TURNS <= text->length; period++) {
        const char *from = data + text->length - period * LOOP_TURNS;
        if (memcmp(from, from + period, period * (LOOP_TURNS - 1)) == 0)
            return true;
    }
    return false;
}

es_outcome es_judge(const es_server *self, const es_net_reply *reply, es_stream *stream, es_reading *reading,
                    es_error *err)
{
    es_error own = {0};
    if (reply->fault != ES_NET_NONE)
        return of_fault(self, reply, err);
    if (reply->http != 200)
        return of_http(self, reply, err);
    es_status status = es_stream_end(stream, &own);
    if (status != ES_OK) {
        es_server_fail(self, err, status, "%s", own.message);
        return of_status(status);
    }
    if (reading->ended || stream->done)
        return ES_GOOD;
    /* Ollama hangs up in mid-answer, orderly and without a word, when a model says one token 31 times: asked again it
     * would say the same. */
    if (self->dialect == &es_dialect_ollama && ends_in_loop(&reading->text)) {
        reading->ended = reading->truncated = true;
        return ES_GOOD;
    }
    es_server_fail(self, err, ES_ERR_NETWORK, "the answer broke off");
    return ES_CUT;
}
