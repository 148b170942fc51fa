/* fallback.c - the first one's frames watched: those it answered are told on at once, the others are the second's. */
#include "intelligence/fallback.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

typedef struct fallback {
    es_intelligence base;
    es_fallback_options options;
    es_intelligence *first, *second;
} fallback;

/* The frames of one call. */
typedef struct relay {
    const es_frame *frames;
    size_t count;
    const es_listener *outer;
    bool *given;   /* [count] an observation was told on */
    char **failed; /* [count] what the first's server said of a frame; NULL: nothing */
    size_t *index; /* the second's numbers of frames to ours */
    size_t done;
    bool hold; /* failures of the server are kept back, for the second to try */
    bool stopped;
} relay;

static bool tell(relay *r, const es_observation *seen)
{
    r->given[seen->index] = true;
    r->done++;
    if (r->outer->observed != NULL && !r->outer->observed(r->outer->context, seen))
        r->stopped = true;
    if (r->outer->progress != NULL)
        r->outer->progress(r->outer->context, r->done, r->count);
    return !r->stopped;
}

static bool observed(void *context, const es_observation *seen)
{
    relay *r = context;
    es_observation own = *seen;
    if (r->index != NULL)
        own.index = r->index[seen->index];
    if (r->hold && seen->status == ES_ERR_NETWORK) {
        r->failed[own.index] = es_strdup(seen->error.message); /* NULL for want of memory: left undone, the same */
        return true;
    }
    return tell(r, &own);
}

static bool passes_on(es_status status)
{
    return status != ES_OK && status != ES_ERR_CANCELLED && status != ES_ERR_ARGUMENT;
}

static void note(const fallback *self, const es_error *why, size_t left)
{
    char line[640];
    if (self->options.note == NULL)
        return;
    if (left > 0)
        snprintf(line, sizeof line, "%s: the %zu frames left go to %s", why->message, left, self->second->name);
    else
        snprintf(line, sizeof line, "%s: %s answers instead", why->message, self->second->name);
    self->options.note(self->options.note_context, line);
}

/* The second, opened when it is not. `why`: what the first ended in. */
static es_status take_over(fallback *self, const es_error *why, size_t left, es_error *err)
{
    es_error own = {0};
    if (self->second == NULL) {
        es_status status = self->options.open(self->options.context, &self->second, &own);
        if (status != ES_OK)
            return es_fail(err, status, "%.240s; and the fallback: %.240s", why->message, own.message);
        note(self, why, left);
    }
    if (self->first == NULL)
        self->base.name = self->second->name;
    return ES_OK;
}

static void drop_first(fallback *self, const es_error *why)
{
    es_intelligence_free(self->first); /* its memory may be what the second needs */
    self->first = NULL;
    self->options.why = *why;
}

/* The frames without an observation, to the second. */
static es_status rest(fallback *self, relay *r, const es_ask *ask, const es_error *why, es_error *err)
{
    size_t left = r->count - r->done, n = 0;
    es_frame *frames = es_calloc(left, sizeof *frames);
    r->index = es_calloc(left, sizeof *r->index);
    es_status status = ES_OK;
    if (frames == NULL || r->index == NULL)
        status = es_fail_memory(err, "a list of frames", left * sizeof *frames);
    for (size_t i = 0; i < r->count && status == ES_OK; i++) {
        if (r->given[i])
            continue;
        frames[n] = r->frames[i];
        r->index[n++] = i;
    }
    if (status == ES_OK)
        status = take_over(self, why, left, err);
    if (status == ES_OK) {
        es_listener inner = {.context = r, .observed = observed, .cancel = r->outer->cancel};
        r->hold = false;
        status = es_classify_frames(self->second, frames, left, ask, &inner, err);
    }
    free(frames);
    free(r->index);
    r->index = NULL;
    return status;
}

/* What the first's server failed at, and nobody else could be asked. */
static void tell_failures(relay *r)
{
    for (size_t i = 0; i < r->count && !r->stopped; i++) {
        if (r->given[i] || r->failed[i] == NULL)
            continue;
        es_observation seen = {.index = i,
                               .timestamp = r->frames[i].timestamp,
                               .image_path = r->frames[i].path,
                               .status = ES_ERR_NETWORK,
                               .raw_text = "",
                               .reason = ""};
        es_fail(&seen.error, ES_ERR_NETWORK, "%s", r->failed[i]);
        tell(r, &seen);
    }
}

static const char *first_failure(const relay *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->failed[i] != NULL && !r->given[i])
            return r->failed[i];
    return "some frames have no answer";
}

static es_status both(fallback *self, relay *r, const es_ask *ask, es_error *err)
{
    es_error why = self->options.why;
    es_status status = why.status;
    if (self->first != NULL) {
        es_listener inner = {.context = r, .observed = observed, .cancel = r->outer->cancel, .drain = r->outer->drain};
        why = (es_error){0};
        r->hold = true;
        status = es_classify_frames(self->first, r->frames, r->count, ask, &inner, &why);
        if (r->stopped || (status != ES_OK && !passes_on(status))) {
            if (err != NULL)
                *err = why;
            return status;
        }
        if (status != ES_OK)
            drop_first(self, &why);
    }
    if (r->done == r->count)
        return ES_OK;
    bool whole = status == ES_OK; /* the first is well, but for some frames */
    if (whole)
        es_fail(&why, ES_ERR_NETWORK, "%s", first_failure(r));
    status = rest(self, r, ask, &why, err);
    if (status == ES_OK || status == ES_ERR_CANCELLED || r->stopped)
        return status;
    tell_failures(r);
    return whole && r->done == r->count ? ES_OK : status;
}

static es_status classify_frames(es_intelligence *base, const es_frame *frames, size_t count, const es_ask *ask,
                                 const es_listener *listener, es_error *err)
{
    relay r = {.frames = frames, .count = count, .outer = listener};
    r.given = es_calloc(count, sizeof *r.given);
    r.failed = es_calloc(count, sizeof *r.failed);
    es_status status;
    if (r.given == NULL || r.failed == NULL)
        status = es_fail_memory(err, "a list of frames", count * (sizeof *r.given + sizeof *r.failed));
    else
        status = both((fallback *)base, &r, ask, err);
    for (size_t i = 0; r.failed != NULL && i < count; i++)
        free(r.failed[i]);
    free(r.failed);
    free(r.given);
    return status;
}

typedef struct words {
    const es_listener *outer;
    bool shown;
} words;

static bool piece(void *context, const char *text)
{
    words *w = context;
    w->shown = true;
    return w->outer->piece(w->outer->context, text);
}

static es_status generate_text(es_intelligence *base, const es_message *messages, size_t count, const es_ask *ask,
                               const es_listener *listener, es_str *text, es_error *err)
{
    fallback *self = (fallback *)base;
    es_error why = self->options.why;
    if (self->first != NULL) {
        words w = {listener, false};
        es_str own = {0};
        es_listener inner = {
            .context = &w, .piece = listener->piece != NULL ? piece : NULL, .cancel = listener->cancel};
        es_status status = es_generate_text(self->first, messages, count, ask, &inner, &own, &why);
        if (status == ES_OK)
            es_str_append_n(text, es_str_text(&own), own.length);
        es_str_free(&own);
        if (!passes_on(status) || w.shown) { /* what was shown is not said again by another */
            if (status != ES_OK && err != NULL)
                *err = why;
            return status == ES_OK ? es_str_check(text, err) : status;
        }
        drop_first(self, &why);
    }
    ES_TRY(take_over(self, &why, 0, err));
    return es_generate_text(self->second, messages, count, ask, listener, text, err);
}

static void destroy(es_intelligence *base)
{
    fallback *self = (fallback *)base;
    es_intelligence_free(self->first);
    es_intelligence_free(self->second);
    if (self->options.free != NULL)
        self->options.free(self->options.context);
    free(self);
}

static const es_intelligence_ops ops = {destroy, classify_frames, generate_text};

es_status es_fallback_create(es_intelligence **out, const es_fallback_options *options, es_error *err)
{
    *out = NULL;
    fallback *self = es_calloc(1, sizeof *self);
    if (self == NULL) {
        es_intelligence_free(options->first);
        if (options->free != NULL)
            options->free(options->context);
        return es_fail_memory(err, "a fallback", sizeof *self);
    }
    self->options = *options;
    self->first = options->first;
    self->base = (es_intelligence){&ops, self->first != NULL ? self->first->name : "fallback"};
    if (self->first == NULL) {
        es_status status = take_over(self, &self->options.why, 0, err);
        if (status != ES_OK) {
            destroy(&self->base);
            return status;
        }
    }
    *out = &self->base;
    return ES_OK;
}
