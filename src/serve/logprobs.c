/* logprobs.c - how likely the tokens of an answer were, as both dialects tell it. */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "base/utf8.h"
#include "serve/asking.h"

#define MOST_BEST 20
#define NEVER (-9999.0) /* as OpenAI writes what has no logarithm */

es_status es_asking_logprobs(es_asking *a, es_error *err)
{
    int64_t best = 0;
    ES_TRY(es_json_bool(a->body, "the request", "logprobs", false, &a->ticket->scored, err));
    ES_TRY(es_json_int(a->body, "the request", "top_logprobs", false, 0, MOST_BEST, &best, err));
    if (best > 0 && !a->ticket->scored)
        return es_fail(err, ES_ERR_ARGUMENT, "top_logprobs without logprobs: ask for both");
    a->ticket->best_count = (int32_t)best;
    return ES_OK;
}

/* A token as text; bytes that are no whole characters become U+FFFD. */
static json_t *token_text(const char *bytes, size_t n)
{
    es_str clean = {0};
    for (size_t i = 0; i < n;) {
        size_t length = es_utf8_length(bytes + i, n - i);
        if (length > 0)
            es_str_append_n(&clean, bytes + i, length);
        else
            es_str_append(&clean, ES_UTF8_REPLACEMENT);
        i += length > 0 ? length : es_utf8_broken(bytes + i, n - i);
    }
    json_t *text = clean.failed ? NULL : json_stringn(clean.length > 0 ? clean.data : "", clean.length);
    es_str_free(&clean);
    return text;
}

static json_t *candidate(const es_reply *r, size_t i)
{
    const es_candidate *c = &r->candidates[i];
    const char *bytes = es_str_text(&r->token_bytes) + c->at;
    json_t *list = json_array();
    for (size_t k = 0; k < c->n; k++)
        json_array_append_new(list, json_integer((unsigned char)bytes[k]));
    return json_pack("{s:o, s:f, s:o}", "token", token_text(bytes, c->n), "logprob",
                     isfinite(c->logprob) ? (double)c->logprob : NEVER, "bytes", list);
}

/* Whether a token is to be told now: its text is, and no stop text took it back. */
static bool is_told(const es_reply *r, const es_scored *s, bool done)
{
    if (r->stopped)
        return s->begin < r->text.length;
    return done || s->end <= r->ready;
}

json_t *es_asking_scores(es_asking *a, int32_t i)
{
    es_ticket *t = a->ticket;
    const es_reply *r = &t->replies[i];
    json_t *list = json_array();
    if (!t->scored)
        return list;
    pthread_mutex_lock(&t->lock);
    bool done = r->done || t->finished;
    for (; a->scored[i] < r->scored_count && is_told(r, &r->scored[a->scored[i]], done); a->scored[i]++) {
        const es_scored *s = &r->scored[a->scored[i]];
        json_t *one = candidate(r, s->first), *best = json_array();
        for (size_t k = 1; k < s->count; k++)
            json_array_append_new(best, candidate(r, s->first + k));
        json_object_set_new(one, "top_logprobs", best);
        json_array_append_new(list, one);
    }
    pthread_mutex_unlock(&t->lock);
    return list;
}
