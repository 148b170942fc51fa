#include "serve/ticket.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/thread.h"
#include "base/waiting.h"

es_status es_ticket_create(es_ticket **ticket, es_error *err)
{
    es_ticket *t = es_calloc(1, sizeof *t);
    *ticket = NULL;
    if (t == NULL)
        return es_fail_memory(err, "a request", sizeof *t);
    pthread_mutex_init(&t->lock, NULL);
    es_cond_init(&t->changed);
    t->choices = 1;
    t->keep_ms = ES_KEEP_USUAL;
    es_sampling_init(&t->sampling);
    for (int i = 0; i < ES_MAX_CHOICES; i++)
        t->replies[i].ticket = t;
    *ticket = t;
    return ES_OK;
}

static void free_reply(es_reply *r)
{
    es_str_free(&r->text);
    es_str_free(&r->token_bytes);
    free(r->scored);
    free(r->candidates);
}

void es_ticket_free(es_ticket *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->content_count; i++)
        free((char *)t->content[i].text);
    for (size_t i = 0; i < t->image_count; i++)
        es_image_free(&t->images[i]);
    for (size_t i = 0; i < t->stop_count; i++)
        free(t->stops[i]);
    for (int i = 0; i < ES_MAX_CHOICES; i++)
        free_reply(&t->replies[i]);
    es_grammar_free(t->grammar);
    free(t->model);
    free(t->client);
    free(t->form);
    free(t->messages);
    free(t->first);
    free(t->content);
    free(t->images);
    free(t->stops);
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* --- filling --- */

es_status es_ticket_turn(es_ticket *t, es_role role, es_error *err)
{
    void *messages = t->messages, *first = t->first;
    int failed = es_grow(&messages, &t->message_capacity, t->message_count + 1, sizeof *t->messages);
    t->messages = messages;
    failed += es_grow(&first, &t->first_capacity, t->message_count + 1, sizeof *t->first);
    t->first = first;
    if (failed != 0)
        return es_fail_memory(err, "a message", 0);
    t->messages[t->message_count] = (es_message){.role = role};
    t->first[t->message_count++] = t->content_count;
    return ES_OK;
}

static es_status add_content(es_ticket *t, es_content content, es_error *err)
{
    void *items = t->content;
    if (t->message_count == 0 && es_ticket_turn(t, ES_ROLE_USER, err) != ES_OK)
        return ES_ERR_MEMORY;
    if (es_grow(&items, &t->content_capacity, t->content_count + 1, sizeof *t->content) != 0)
        return es_fail_memory(err, "a message", 0);
    t->content = items;
    t->content[t->content_count++] = content;
    t->messages[t->message_count - 1].count++;
    return ES_OK;
}

es_status es_ticket_text(es_ticket *t, const char *text, es_error *err)
{
    char *copy = es_strdup(text);
    if (copy == NULL)
        return es_fail_memory(err, "a message", strlen(text));
    es_status status = add_content(t, (es_content){.text = copy}, err);
    if (status != ES_OK)
        free(copy);
    return status;
}

es_status es_ticket_picture(es_ticket *t, es_image *image, es_error *err)
{
    void *items = t->images;
    if (es_grow(&items, &t->image_capacity, t->image_count + 1, sizeof *t->images) != 0)
        return es_fail_memory(err, "a picture", 0);
    t->images = items;
    ES_TRY(add_content(t, (es_content){.image = (int32_t)t->image_count}, err));
    t->images[t->image_count++] = *image;
    *image = (es_image){0};
    return ES_OK;
}

es_status es_ticket_stop(es_ticket *t, const char *text, es_error *err)
{
    void *items = t->stops;
    char *copy = es_strdup(text);
    if (copy == NULL || es_grow(&items, &t->stop_capacity, t->stop_count + 1, sizeof *t->stops) != 0) {
        free(copy);
        return es_fail_memory(err, "a stop text", 0);
    }
    t->stops = items;
    t->stops[t->stop_count++] = copy;
    return ES_OK;
}

size_t es_ticket_bytes(const es_ticket *t)
{
    size_t sum = 0;
    for (size_t i = 0; i < t->image_count; i++)
        sum += (size_t)t->images[i].width * (size_t)t->images[i].height * 3;
    return sum;
}

void es_ticket_seal(es_ticket *t)
{
    for (size_t i = 0; i < t->message_count; i++)
        t->messages[i].content = t->content + t->first[i];
}

/* --- waiting --- */

/* Waits for a change; false when `until` has passed. */
static bool wait_until(es_ticket *t, double until)
{
    double left = until - es_now();
    if (!(left > 0))
        return false;
    es_cond_wait_for(&t->changed, &t->lock, left);
    return true;
}

bool es_ticket_wait_any(es_ticket *t, const size_t *seen, const bool *told, double until)
{
    for (;;) {
        if (t->finished)
            return true;
        for (int32_t i = 0; i < t->choices; i++)
            if (t->replies[i].ready > seen[i] || (t->replies[i].done && !told[i]))
                return true;
        if (!wait_until(t, until))
            return false;
    }
}

bool es_ticket_wait_finished(es_ticket *t, double until)
{
    bool in_time = true;
    pthread_mutex_lock(&t->lock);
    while (!t->finished && in_time)
        in_time = wait_until(t, until);
    pthread_mutex_unlock(&t->lock);
    return in_time;
}

/* --- replies --- */

/* How many bytes at the end of the text might be the beginning of a stop text. */
static size_t might_be_stop(const es_ticket *t, const es_str *text)
{
    size_t most = 0;
    for (size_t i = 0; i < t->stop_count; i++) {
        size_t n = strlen(t->stops[i]);
        size_t k = n - 1 < text->length ? n - 1 : text->length;
        while (k > most && memcmp(text->data + text->length - k, t->stops[i], k) != 0)
            k--;
        most = k > most ? k : most;
    }
    return most;
}

/* Ends the text before the first stop text in it. */
static bool cut_at_stop(es_reply *r, size_t from)
{
    const char *found = NULL;
    const es_ticket *t = r->ticket;
    for (size_t i = 0; i < t->stop_count; i++) {
        const char *at = strstr(r->text.data + from, t->stops[i]);
        found = at != NULL && (found == NULL || at < found) ? at : found;
    }
    if (found == NULL)
        return false;
    r->text.length = (size_t)(found - r->text.data);
    r->text.data[r->text.length] = '\0';
    return true;
}

/* The lock is held. */
static bool add_piece(es_reply *r, const char *piece, size_t n)
{
    if (r->stopped)
        return false;
    if (r->first == 0)
        r->first = es_now();
    es_str_append_n(&r->text, piece, n);
    if (r->text.failed)
        return false;
    if (r->text.length > 0)
        r->stopped = cut_at_stop(r, r->ready);
    r->ready = r->stopped || r->text.length == 0 ? r->text.length : r->text.length - might_be_stop(r->ticket, &r->text);
    return !r->stopped;
}

bool es_reply_add(es_reply *r, const char *piece)
{
    es_ticket *t = r->ticket;
    pthread_mutex_lock(&t->lock);
    bool more = add_piece(r, piece, strlen(piece));
    if (t->streamed)
        pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
    return more;
}

static bool add_candidate(es_reply *r, int32_t id, float logprob)
{
    void *items = r->candidates;
    size_t n = 0, at = r->token_bytes.length;
    const char *bytes = es_tokenizer_bytes(r->ticket->tokenizer, id, &n); /* NULL: one that only pads the vocabulary */
    if (es_grow(&items, &r->candidate_capacity, r->candidate_count + 1, sizeof *r->candidates) != 0)
        return false;
    r->candidates = items;
    es_str_append_n(&r->token_bytes, bytes != NULL ? bytes : "", n);
    r->candidates[r->candidate_count++] = (es_candidate){logprob, at, n};
    return !r->token_bytes.failed;
}

void es_reply_score(es_reply *r, const es_token_score *score)
{
    es_ticket *t = r->ticket;
    pthread_mutex_lock(&t->lock);
    void *items = r->scored;
    bool ok = es_grow(&items, &r->scored_capacity, r->scored_count + 1, sizeof *r->scored) == 0;
    r->scored = items;
    es_scored one = {score->text_begin, score->text_end, r->candidate_count, 1 + (size_t)score->best_count};
    ok = ok && add_candidate(r, score->id, score->logprob);
    for (int32_t i = 0; ok && i < score->best_count; i++)
        ok = add_candidate(r, score->best[i], score->best_logprobs[i]);
    if (ok)
        r->scored[r->scored_count++] = one;
    else
        r->text.failed = true; /* the next piece ends it */
    pthread_mutex_unlock(&t->lock);
}

void es_reply_finish(es_reply *r, const es_answer *a)
{
    es_ticket *t = r->ticket;
    pthread_mutex_lock(&t->lock);
    size_t n = a->text != NULL ? strlen(a->text) : 0;
    if (a->status == ES_OK && n > r->text.length)
        add_piece(r, a->text + r->text.length, n - r->text.length);
    r->status = r->stopped ? ES_OK : a->status;
    r->error = a->error;
    if (r->text.failed)
        r->status = es_fail_memory(&r->error, "the answer", 0);
    r->truncated = a->truncated && !r->stopped;
    r->reused = a->reused;
    r->prompt_tokens = a->prompt_tokens;
    r->image_tokens = a->image_tokens;
    r->cached_tokens = a->cached_tokens;
    r->tokens = (int32_t)a->id_count;
    r->seconds_vision = a->seconds_vision;
    r->seconds_prefill = a->seconds_prefill;
    r->seconds_generate = a->seconds_generate;
    r->ready = r->text.length;
    r->running = false;
    r->done = true;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

void es_ticket_fail(es_ticket *t, es_status status, const es_error *error)
{
    pthread_mutex_lock(&t->lock);
    for (int32_t i = 0; i < t->choices; i++) {
        es_reply *r = &t->replies[i];
        if (r->done)
            continue;
        r->status = status;
        if (error != NULL)
            r->error = *error;
        r->done = true;
    }
    t->finished = true;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
}
