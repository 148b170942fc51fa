/* run.c - questions under way: which server gets each and when, what becomes of its answer, what is tried again. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/thread.h"
#include "intelligence/frame_walk.h"
#include "intelligence/net/adapter.h"
#include "intelligence/net/picture.h"

#define MAX_PAUSE 30.0
#define MAX_RETRY_AFTER 300.0
#define GIVE_UP 5           /* failures in a row after which a server is given up */
#define FORMLESS 3          /* failures in a row after which no server is asked for answers in a given form */
#define REST_AFTER 3        /* failed attempts in a row after which one of several servers gets a pause */
#define WAITING_MORE 8      /* questions beyond the limit that may wait to be tried again before new ones wait too */
#define STRAGGLES 1.5       /* times what another server needs: after that it is asked too, when it has nothing to do */
#define PROBE_SECONDS 10.0  /* a server that takes longer to say that it lives rests on */
#define STEP 0.1            /* seconds in which a wish to stop is seen */
#define OLLAMA_CONTEXT 4096 /* what Ollama makes room for unless told */
#define USUAL_PIXELS 2359296 /* 2048 x 1152: taken for a frame's size when there is no cap */

/* How often a question is tried again for each outcome (times the number of servers). */
static const int tries[] = {
    [ES_UNREACHABLE] = 1000, [ES_BUSY] = 8, [ES_SICK] = 4, [ES_CUT] = 4, [ES_LATE] = 1, [ES_GARBLED] = 2};

typedef enum place { READY, WAITING, FLYING } place;

/* A question. */
typedef struct call {
    struct call *next;
    struct run *run;
    es_frame_group *group; /* NULL: words */
    struct attempt *attempts;
    size_t flying; /* attempts: more than one when it straggles */
    place place;
    int failed[ES_OF_FRAME];
    int failures; /* in all */
    bool shown;   /* a part of the answer went to the listener */
    double due, started;
} call;

/* A question sent to a server. */
typedef struct attempt {
    struct attempt *next;
    call *call;
    es_server *server;
    es_str url, body;
    es_stream stream;
    es_reading reading;
    double started;
} attempt;

typedef struct run {
    es_fleet *fleet;
    const es_ask *ask;
    const es_listener *listener;
    es_frame_walk *walk; /* NULL: words */
    const es_message *messages;
    size_t message_count;
    es_str *text; /* the answer in words */
    call *calls;
    size_t flying;
    int formless;     /* answers in a given form that failed in a row */
    bool stopped;     /* the listener wants no more */
    es_status status; /* what ended the run */
    es_error error;
} run;

static void attempt_free(attempt *a)
{
    for (attempt **at = &a->call->attempts; *at != NULL; at = &(*at)->next) {
        if (*at == a) {
            *at = a->next;
            break;
        }
    }
    a->call->flying--;
    a->call->run->flying--;
    a->server->fare.flying--;
    es_str_free(&a->url);
    es_str_free(&a->body);
    es_str_free(&a->reading.text);
    es_stream_free(&a->stream);
    free(a);
}

static void call_free(run *r, call *c)
{
    for (call **at = &r->calls; *at != NULL; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    while (c->attempts != NULL) {
        es_net_drop_of(r->fleet->net, c->attempts);
        attempt_free(c->attempts);
    }
    free(c);
}

/* --- an attempt's answer as it comes --- */

static es_status on_value(void *context, const json_t *value, es_error *err)
{
    attempt *a = context;
    call *c = a->call;
    const es_listener *listener = c->run->listener;
    size_t before = a->reading.text.length;
    ES_TRY(a->server->dialect->read(&a->reading, value, err));
    if (c->group != NULL || listener->piece == NULL || a->reading.text.length == before)
        return ES_OK;
    c->shown = true;
    if (listener->piece(listener->context, es_str_text(&a->reading.text) + before))
        return ES_OK;
    c->run->stopped = true;
    return es_fail(err, ES_ERR_CANCELLED, "stopped by the caller");
}

static es_status on_bytes(void *context, const char *bytes, size_t size, es_error *err)
{
    attempt *a = context;
    return es_stream_feed(&a->stream, bytes, size, err);
}

/* --- what becomes of it --- */

static void end_run(run *r, es_status status, const es_error *error)
{
    if (r->status != ES_OK)
        return;
    r->status = status;
    r->error = *error;
}

/* The question is done with, well or not. `a` is the attempt that answered it, or NULL. */
static void answer(call *c, es_status status, const es_error *error, const attempt *a, const es_net_reply *reply)
{
    static const es_reading nothing;
    run *r = c->run;
    const es_reading *reading = a != NULL ? &a->reading : &nothing;
    es_answer out = {.status = status,
                     .error = *error,
                     .text = es_str_text(&reading->text),
                     .id_count = (size_t)reading->generated_tokens,
                     .truncated = reading->truncated,
                     .prompt_tokens = reading->prompt_tokens,
                     .seconds_prefill = reading->seconds_prefill,
                     .seconds_generate = reading->seconds_generate};
    if (reply != NULL && out.seconds_prefill <= 0 && out.seconds_generate <= 0) { /* not said: seen from here */
        out.seconds_prefill = reply->seconds_first;
        out.seconds_generate = reply->seconds_total - reply->seconds_first;
    }
    if (r->walk != NULL) {
        es_frame_walk_answer(r->walk, c->group, &out);
        r->stopped = r->stopped || r->walk->stopped;
    } else if (status == ES_OK) {
        es_str_append_n(r->text, out.text, reading->text.length);
    } else {
        end_run(r, status, error);
    }
    call_free(r, c);
}

/* --- failures --- */

/* xorshift64*: it only keeps clients apart. In [0.5, 1). */
static double jitter(es_server *self)
{
    uint64_t x = self->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    self->random = x;
    return 0.5 + 0.5 * ((double)((x * 2685821657736338717u) >> 11) / 9007199254740992.0); /* 2^53 */
}

static double pause_after(es_server *self, int failures)
{
    double seconds = self->pause * ldexp(1.0, failures < 16 ? failures - 1 : 15);
    return (seconds < MAX_PAUSE ? seconds : MAX_PAUSE) * jitter(self);
}

static bool several(const run *r)
{
    return r->fleet->count > 1;
}

/* Whether a server is no more to be counted on; it may be tried again while there are others. */
static bool given_up(const run *r, const es_server *s)
{
    const es_fare *f = &s->fare;
    return f->out || s->draining || f->unreachable >= GIVE_UP || f->spoilt >= GIVE_UP ||
           (several(r) && f->bad >= GIVE_UP);
}

static bool all_given_up(const run *r)
{
    for (size_t i = 0; i < r->fleet->count; i++)
        if (!given_up(r, r->fleet->servers[i]))
            return false;
    return true;
}

static void hold(es_server *s, double until)
{
    if (s->fare.hold < until)
        s->fare.hold = until;
}

/* Whether a failure may be for want of what an answer in a given form needs, which many servers lack: the answer in
 * free form is there, so that nothing is lost, and nothing said about the server. */
static bool is_form(const call *c, es_outcome what)
{
    return c->group != NULL && c->group->constrained && (what == ES_SICK || what == ES_GARBLED || what == ES_OF_FRAME);
}

/* What a failure says about the server. */
static void count_failure(run *r, const attempt *a, es_outcome what, const es_net_reply *reply, const es_error *error)
{
    es_server *s = a->server;
    es_fare *f = &s->fare;
    double now = es_now();
    f->errors++;
    f->why = *error;
    f->out = f->out || what == ES_OF_SERVER;
    f->suspect = f->suspect || (several(r) && (what == ES_UNREACHABLE || what == ES_LATE));
    if (what == ES_BUSY) {
        es_flow_refused(&s->flow);
        if (reply->retry_after > 0 && reply->retry_after <= MAX_RETRY_AFTER)
            hold(s, now + reply->retry_after); /* what it asks for goes for all questions */
        else if (several(r))
            hold(s, now + pause_after(s, 1));
    } else if (what == ES_UNREACHABLE) { /* the same for all questions in flight: counted once */
        f->bad++;
        if (a->started >= f->unreachable_at) {
            f->unreachable_at = now;
            hold(s, now + pause_after(s, ++f->unreachable));
        }
    } else if (what < ES_OF_FRAME && !is_form(a->call, what) && ++f->bad >= REST_AFTER && several(r)) {
        hold(s, now + pause_after(s, f->bad - REST_AFTER + 1));
        f->suspect = true;
    }
    if (all_given_up(r))
        end_run(r, error->status, error);
}

/* Whether another server, in good health, can take it at once. */
static bool others_are_well(const run *r, const es_server *self)
{
    for (size_t i = 0; i < r->fleet->count; i++) {
        const es_server *s = r->fleet->servers[i];
        if (s != self && !given_up(r, s) && s->fare.bad == 0)
            return true;
    }
    return false;
}

/* A failed attempt: again after a pause, or the end of this question, or of the run. */
static void fail(call *c, es_server *s, es_outcome what, const es_net_reply *reply, const es_error *error)
{
    run *r = c->run;
    double now = es_now();
    if (r->status != ES_OK || r->stopped || c->flying > 0)
        return; /* its frames stay undone; or another attempt is under way */
    if (is_form(c, what)) {
        if (++r->formless >= FORMLESS)
            r->walk->repair = false;
        answer(c, error->status, error, NULL, NULL);
        return;
    }
    bool others = others_are_well(r, s);
    bool again = (what == ES_OF_SERVER && several(r)) ||
                 (what < ES_OF_FRAME && ++c->failed[what] <= tries[what] * (int)r->fleet->count &&
                  (others || reply->retry_after <= MAX_RETRY_AFTER));
    c->failures++;
    if (again && !c->shown) {
        double seconds = others ? 0 : pause_after(s, c->failures);
        c->due = now + (!others && reply->retry_after > seconds ? reply->retry_after : seconds);
        c->place = WAITING;
        return;
    }
    s->fare.spoilt += what != ES_OF_FRAME;
    if (r->walk != NULL && all_given_up(r)) {
        end_run(r, error->status, error);
        return;
    }
    answer(c, error->status, error, NULL, NULL);
}

static bool more_to_ask(const run *r)
{
    if (r->walk != NULL && es_frame_walk_more(r->walk))
        return true;
    for (const call *c = r->calls; c != NULL; c = c->next)
        if (c->place != FLYING)
            return true;
    return false;
}

static void count_answer(const run *r, const attempt *a)
{
    es_fare *f = &a->server->fare;
    double now = es_now(), seconds = now - a->started;
    size_t frames = a->call->group != NULL ? a->call->group->count : 1;
    f->spoilt = f->bad = 0;
    f->frames += frames;
    f->mean = f->mean > 0 ? 0.7 * f->mean + 0.3 * seconds : seconds;
    f->ended = now;
    if (more_to_ask(r)) /* else there is too little to do to learn from */
        es_flow_answered(&a->server->flow, frames, now);
}

static void on_done(void *context, const es_net_reply *reply)
{
    attempt *a = context;
    call *c = a->call;
    run *r = c->run;
    es_server *s = a->server;
    es_error error = {0};
    bool over = r->stopped || r->status != ES_OK;
    es_outcome what = over ? ES_OF_FRAME : es_judge(s, reply, &a->stream, &a->reading, &error);
    if (over || r->stopped) {
        attempt_free(a);
        return;
    }
    if (what != ES_UNREACHABLE)
        s->fare.unreachable = 0;
    if (what == ES_GOOD) {
        if (c->group != NULL && c->group->constrained)
            r->formless = 0;
        count_answer(r, a);
        answer(c, ES_OK, &error, a, reply);
        return;
    }
    count_failure(r, a, what, reply, &error);
    attempt_free(a);
    fail(c, s, what, reply, &error);
}

/* --- probes: one of several servers that rested is asked whether it lives, before it gets a frame --- */

static void on_probe(void *context, const es_net_reply *reply)
{
    es_server *s = context;
    es_fare *f = &s->fare;
    run *r = f->run;
    f->probing = false;
    if (reply->fault == ES_NET_NONE && reply->http < 500) { /* even "no such path" is a sign of life */
        f->suspect = false;
        f->unreachable = 0;
        return;
    }
    if (reply->fault != ES_NET_NONE)
        es_server_fail(s, &f->why, ES_ERR_NETWORK, "%s", reply->error.message);
    else
        es_server_fail(s, &f->why, ES_ERR_NETWORK, "HTTP status %ld", reply->http);
    f->bad++;
    f->unreachable += reply->fault == ES_NET_UNREACHABLE;
    hold(s, es_now() + pause_after(s, f->bad));
    if (all_given_up(r))
        end_run(r, ES_ERR_NETWORK, &f->why);
}

static void probe(run *r, es_server *s)
{
    es_str url = {0};
    es_net_request request = {.key = s->key, .limits = s->limits, .context = s, .done = on_probe};
    es_str_append(&url, s->endpoint);
    es_str_append(&url, s->dialect == &es_dialect_ollama ? "/api/version" : "/models");
    request.url = es_str_text(&url);
    if (request.limits.first_byte > PROBE_SECONDS)
        request.limits.first_byte = request.limits.idle = request.limits.total = PROBE_SECONDS;
    s->fare.run = r;
    s->fare.probing = !url.failed && es_net_start(r->fleet->net, &request, NULL) == ES_OK;
    if (!s->fare.probing) /* no memory for it: the next question tells */
        s->fare.suspect = false;
    es_str_free(&url);
}

static void probe_all(run *r)
{
    for (size_t i = 0; i < r->fleet->count; i++) {
        es_server *s = r->fleet->servers[i];
        const es_fare *f = &s->fare;
        if (f->suspect && !f->probing && !f->out && !s->draining && f->hold <= es_now())
            probe(r, s);
    }
}

/* --- sending --- */

/* Ollama cuts what exceeds its context without a word, and loads the model anew when another one is asked for: one
 * size for the whole run, told only when its own does not do. */
static int32_t context_for(const run *r, const es_server *s)
{
    int64_t pixels = s->max_pixels > 0 && s->max_pixels < USUAL_PIXELS ? s->max_pixels : USUAL_PIXELS;
    int64_t each = pixels / 1024 + 64 + r->ask->max_tokens;
    int64_t need = (r->ask->interleaved > 1 ? r->ask->interleaved : 1) * each + 512;
    if (s->dialect != &es_dialect_ollama || s->context > 0 || r->walk == NULL)
        return s->context;
    if (need <= OLLAMA_CONTEXT)
        return 0;
    need = (need + 2047) / 2048 * 2048;
    return need > INT32_MAX ? INT32_MAX : (int32_t)need;
}

static es_status write_question(attempt *a, es_error *err)
{
    const run *r = a->call->run;
    const es_server *s = a->server;
    const es_frame_group *g = a->call->group;
    es_question question = {.model = s->model,
                            .messages = g != NULL ? &g->message : r->messages,
                            .message_count = g != NULL ? 1 : r->message_count,
                            .pictures = g != NULL ? g->pictures : NULL,
                            .max_tokens = g != NULL ? g->max_tokens : r->ask->max_tokens,
                            .sampling = &r->ask->sampling,
                            .context = context_for(r, s),
                            .record_schema = g != NULL && g->constrained,
                            .think = s->think,
                            .stream = s->stream,
                            .placing = s->placing,
                            .keep_alive = s->keep_alive};
    const char *path;
    ES_TRY(s->dialect->write(&question, &path, &a->body, err));
    es_str_append(&a->url, s->endpoint);
    es_str_append(&a->url, path);
    return es_str_check(&a->url, err);
}

static es_status start(call *c, es_server *s, es_error *err)
{
    run *r = c->run;
    attempt *a = es_calloc(1, sizeof *a);
    if (a == NULL)
        return es_fail_memory(err, "a question", sizeof *a);
    *a = (attempt){.next = c->attempts, .call = c, .server = s, .started = es_now()};
    a->stream = (es_stream){.context = a, .value = on_value};
    c->attempts = a;
    c->flying++;
    r->flying++;
    s->fare.flying++;
    es_status status = write_question(a, err);
    if (status == ES_OK) {
        es_net_request request = {.url = es_str_text(&a->url),
                                  .key = s->key,
                                  .body = es_str_text(&a->body),
                                  .body_size = a->body.length,
                                  .limits = s->limits,
                                  .context = a,
                                  .sink = on_bytes,
                                  .done = on_done};
        status = es_net_start(r->fleet->net, &request, err);
    }
    if (status != ES_OK)
        attempt_free(a);
    return status;
}

static void send_call(call *c, es_server *s)
{
    es_error error = {0};
    if (c->flying == 0)
        c->started = es_now();
    es_status status = start(c, s, &error);
    if (status == ES_OK) {
        c->place = FLYING;
        s->fare.sent++;
        if (s->fare.began <= 0)
            s->fare.began = es_now();
    } else if (c->flying == 0) {
        answer(c, status, &error, NULL, NULL);
    }
}

/* The question that this server is to get next, or NULL; *due: when the next of those that wait may be sent. */
static call *next_for(const run *r, const es_server *s, double now, double *due)
{
    call *ready = NULL;
    size_t waiting = 0;
    bool only_new = s->fare.bad > 0 && others_are_well(r, s); /* what failed before goes where it may fare better */
    for (call *c = r->calls; c != NULL; c = c->next) {
        waiting += c->place == WAITING;
        if (c->place == WAITING && c->due <= now && !only_new)
            return c;
        if (c->place == WAITING && c->due > now && c->due < *due)
            *due = c->due;
        if (c->place == READY)
            ready = c;
    }
    return waiting < s->flow.limit + WAITING_MORE ? ready : NULL; /* each holds its pictures */
}

/* The question that another server has had for longest, when this one would have answered it long ago. */
static call *straggler_for(const run *r, const es_server *s, double now)
{
    call *slowest = NULL;
    if (r->walk == NULL || s->fare.mean <= 0 || s->fare.bad > 0 || more_to_ask(r))
        return NULL;
    for (call *c = r->calls; c != NULL; c = c->next) {
        if (c->flying != 1 || c->attempts->server == s || now - c->started < STRAGGLES * s->fare.mean)
            continue;
        if (slowest == NULL || c->started < slowest->started)
            slowest = c;
    }
    return slowest;
}

static call *call_new(run *r, es_frame_group *group)
{
    call *c = es_calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->run = r;
    c->group = group;
    c->next = r->calls;
    r->calls = c;
    return c;
}

/* Makes the next frames into a question. */
static void prepare(run *r)
{
    es_error error = {0};
    es_frame_group *group = es_frame_walk_next(r->walk);
    r->stopped = r->stopped || r->walk->stopped;
    if (group == NULL || call_new(r, group) != NULL)
        return;
    es_answer none = {.status = es_fail_memory(&error, "a question", sizeof(call)), .text = ""};
    none.error = error;
    es_frame_walk_answer(r->walk, group, &none);
}

static bool has_ready(const run *r)
{
    for (const call *c = r->calls; c != NULL; c = c->next)
        if (c->place == READY)
            return true;
    return false;
}

static bool has_room(const es_server *s, double now)
{
    size_t limit = s->fare.bad > 0 ? 1 : s->flow.limit; /* one that failed is tried with one */
    return !s->fare.out && !s->fare.suspect && !s->draining && s->fare.hold <= now && s->fare.flying < limit;
}

/* The quickest server with room that was not passed over in this round. */
static es_server *quickest(const run *r, double now)
{
    es_server *best = NULL;
    for (size_t i = 0; i < r->fleet->count; i++) {
        es_server *s = r->fleet->servers[i];
        if (r->walk != NULL && s->blind)
            continue;
        if (!s->fare.passed && has_room(s, now) && (best == NULL || s->fare.mean < best->fare.mean))
            best = s;
    }
    return best;
}

/* Sends what may be sent now; the seconds until there may be more. */
static double send_all(run *r)
{
    double due = es_now() + STEP;
    for (size_t i = 0; i < r->fleet->count; i++) {
        const es_server *s = r->fleet->servers[i];
        r->fleet->servers[i]->fare.passed = false;
        if (!s->fare.out && s->fare.hold > es_now() && s->fare.hold < due)
            due = s->fare.hold;
    }
    for (;;) {
        double now = es_now();
        es_server *s = quickest(r, now);
        if (s == NULL || r->stopped || r->status != ES_OK)
            break;
        if (r->walk != NULL && !has_ready(r) && es_frame_walk_more(r->walk))
            prepare(r);
        if (r->stopped)
            break;
        call *c = next_for(r, s, now, &due);
        if (c == NULL)
            c = straggler_for(r, s, now);
        if (c != NULL) {
            send_call(c, s);
            return 0; /* so that the bytes begin to move before the next one is made ready */
        }
        if (has_ready(r) || r->walk == NULL || !es_frame_walk_more(r->walk))
            s->fare.passed = true;
    }
    /* While servers work, one more question is made ready. */
    if (r->walk != NULL && r->flying > 0 && !r->stopped && r->status == ES_OK && !has_ready(r) &&
        es_frame_walk_more(r->walk))
        prepare(r);
    double wait = due - es_now();
    return wait < 0 ? 0 : wait < STEP ? wait : STEP;
}

/* --- a run --- */

static void begin(run *r)
{
    for (size_t i = 0; i < r->fleet->count; i++) {
        es_server *s = r->fleet->servers[i];
        s->fare = (es_fare){0};
        if (r->walk == NULL || !s->blind)
            continue;
        es_server_fail(s, &s->fare.why, ES_ERR_UNSUPPORTED, "the model %.100s does not see pictures", s->model);
        s->fare.out = true;
        if (all_given_up(r))
            end_run(r, ES_ERR_UNSUPPORTED, &s->fare.why);
    }
}

static es_status go(run *r, es_error *err)
{
    es_status status = ES_OK;
    begin(r);
    while (status == ES_OK && r->status == ES_OK && !r->stopped) {
        if (es_cancel_asked(r->listener->cancel)) {
            status = es_fail(err, ES_ERR_CANCELLED, "cancelled");
            break;
        }
        es_fleet_look(r->fleet);
        es_fleet_drain(r->fleet, r->listener->drain);
        if (r->flying == 0 && all_given_up(r)) { /* the last ones drained */
            status = es_fail(err, ES_ERR_NETWORK, "no endpoint is left");
            break;
        }
        probe_all(r);
        double wait = send_all(r);
        if (r->status != ES_OK || r->stopped || (r->flying == 0 && !more_to_ask(r)))
            break;
        status = es_net_step(r->fleet->net, wait, err);
    }
    while (r->calls != NULL)
        call_free(r, r->calls);
    es_net_drop(r->fleet->net); /* probes */
    if (r->walk != NULL)
        es_fleet_tell(r->fleet);
    if (status == ES_OK && r->status != ES_OK) {
        if (err != NULL)
            *err = r->error;
        status = r->status;
    }
    if (status == ES_OK && r->stopped)
        status = es_fail(err, ES_ERR_CANCELLED, "stopped by the caller");
    return status;
}

/* --- the port --- */

static es_status make_picture(void *context, const es_image *image, void *picture, int32_t *tokens, es_error *err)
{
    const es_fleet *self = context;
    es_status status = es_picture_base64(image, self->servers[0]->max_pixels, picture, tokens, err);
    if (status != ES_OK)
        es_str_free(picture);
    return status;
}

static void free_picture(void *picture)
{
    es_str_free(picture);
}

es_status es_fleet_classify(es_intelligence *base, const es_frame *frames, size_t count, const es_ask *ask,
                            const es_listener *listener, es_error *err)
{
    es_fleet *self = (es_fleet *)base;
    es_frame_walk walk;
    es_picture_maker maker = {self, sizeof(es_str), make_picture, free_picture};
    run r = {.fleet = self, .ask = ask, .listener = listener, .walk = &walk};
    es_frame_walk_begin(&walk, frames, count, ask, listener, &maker);
    walk.repair = true;
    es_status status = go(&r, err);
    es_frame_walk_end(&walk);
    return status;
}

es_status es_fleet_generate(es_intelligence *base, const es_message *messages, size_t count, const es_ask *ask,
                            const es_listener *listener, es_str *text, es_error *err)
{
    run r = {.fleet = (es_fleet *)base,
             .ask = ask,
             .listener = listener,
             .messages = messages,
             .message_count = count,
             .text = text};
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < messages[i].count; k++)
            if (messages[i].content[k].text == NULL)
                return es_fail(err, ES_ERR_ARGUMENT, "words are answered from words: there is a picture among them");
    if (call_new(&r, NULL) == NULL)
        return es_fail_memory(err, "a question", sizeof(call));
    es_status status = go(&r, err);
    return status == ES_OK ? es_str_check(text, err) : status;
}
