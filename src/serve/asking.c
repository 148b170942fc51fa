#include "serve/asking.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/sha.h"
#include "base/thread.h"
#include "engine/json_schema.h"

#define MOST_STOP 1024                  /* bytes of a text that ends the answer */
#define MOST_SCHEMA ((size_t)256 << 10) /* bytes */
#define GLANCE 0.1                      /* seconds between looks whether the client is still there */

es_status es_asking_begin(es_exchange *x, const char *key, es_asking **asking, es_error *err)
{
    const es_server_options *o = es_server_options_of(x->server);
    es_asking *a = es_calloc(1, sizeof *a);
    const char *model = NULL;
    *asking = a;
    if (a == NULL)
        return es_fail_memory(err, "a request", sizeof *a);
    a->x = x;
    a->created = time(NULL);
    es_hash random = es_hash_key();
    snprintf(a->id, sizeof a->id, "%016llx%08llx", (unsigned long long)random.a,
             (unsigned long long)random.b & 0xFFFFFFFF);
    ES_TRY(es_exchange_body(x, &a->body, err));
    ES_TRY(es_json_string(a->body, "the request", key, false, &model, err));
    es_status status = es_catalog_find(o->catalog, model, &a->name, &a->dir, err);
    if (status == ES_ERR_IO)
        x->code = 404;
    ES_TRY(status);
    ES_TRY(es_picture_rules(o->door, a->dir, &a->rules, err));
    ES_TRY(es_ticket_create(&a->ticket, err));
    a->ticket->model = es_strdup(a->dir);
    a->ticket->client = es_strdup(x->client);
    a->ticket->sampling = o->sampling;
    a->ticket->max_tokens = o->max_tokens;
    return a->ticket->model != NULL && a->ticket->client != NULL ? ES_OK : es_fail_memory(err, "a request", 0);
}

void es_asking_free(es_asking *a)
{
    if (a == NULL)
        return;
    es_worker_drop(es_server_options_of(a->x->server)->worker, a->ticket);
    json_decref(a->body);
    free(a->name);
    free(a->dir);
    free(a->own);
    free(a);
}

void es_asking_end(es_exchange *x)
{
    es_asking_free(x->stream);
    x->stream = NULL;
}

es_status es_asking_picture(es_asking *a, const char *given, es_error *err)
{
    char name[32];
    snprintf(name, sizeof name, "image %zu", a->ticket->image_count + 1);
    return es_picture_add(es_server_options_of(a->x->server)->door, &a->rules, given, name, a->ticket, err);
}

static es_status read_float(const json_t *from, const char *key, double low, double high, float *value, bool *given,
                            es_error *err)
{
    double number = (double)*value;
    const json_t *member = json_object_get(from, key);
    if (member == NULL || json_is_null(member))
        return ES_OK;
    ES_TRY(es_json_number(from, "the request", key, true, low, high, &number, err));
    *value = (float)number;
    *given = true;
    return ES_OK;
}

es_status es_asking_sampling(es_asking *a, const json_t *from, const char *penalty, es_error *err)
{
    es_sampling *s = &a->ticket->sampling;
    bool ignored;
    int64_t top_k = s->top_k, seed = 0;
    ES_TRY(read_float(from, "temperature", 0, 100, &s->temperature, &a->has_temperature, err));
    ES_TRY(read_float(from, "top_p", 0, 1, &s->top_p, &ignored, err));
    ES_TRY(read_float(from, "min_p", 0, 1, &s->min_p, &ignored, err));
    ES_TRY(read_float(from, penalty, 0.01, 100, &s->repetition_penalty, &ignored, err));
    ES_TRY(read_float(from, "presence_penalty", -2, 2, &s->presence_penalty, &ignored, err));
    ES_TRY(read_float(from, "frequency_penalty", -2, 2, &s->frequency_penalty, &ignored, err));
    ES_TRY(es_json_int(from, "the request", "top_k", false, -1, 1000000, &top_k, err));
    s->top_k = top_k < 0 ? 0 : (int32_t)top_k;
    const json_t *given = json_object_get(from, "seed");
    if (given == NULL || json_is_null(given))
        return ES_OK;
    ES_TRY(es_json_int(from, "the request", "seed", true, INT64_MIN, INT64_MAX, &seed, err));
    s->seed = (uint64_t)seed;
    a->has_seed = true;
    return ES_OK;
}

es_status es_asking_tier(es_asking *a, es_error *err)
{
    static const char *const names[] = {[ES_TIER_AUTO] = "auto",
                                        [ES_TIER_DEFAULT] = "default",
                                        [ES_TIER_FLEX] = "flex",
                                        [ES_TIER_PRIORITY] = "priority"};
    const char *name = NULL;
    int64_t priority = 0;
    ES_TRY(es_json_int(a->body, "the request", "priority", false, INT32_MIN, INT32_MAX, &priority, err));
    ES_TRY(es_json_string(a->body, "the request", "service_tier", false, &name, err));
    if (name == NULL) {
        const bool given = json_is_integer(json_object_get(a->body, "priority"));
        a->ticket->tier = priority < 0   ? ES_TIER_PRIORITY
                          : priority > 0 ? ES_TIER_FLEX
                          : given        ? ES_TIER_DEFAULT
                                         : ES_TIER_AUTO;
        return ES_OK;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) != 0)
            continue;
        a->ticket->tier = (es_tier)i;
        return ES_OK;
    }
    return es_fail(err, ES_ERR_UNSUPPORTED, "service_tier %.40s: auto, default, flex and priority are known", name);
}

const char *es_asking_tier_name(const es_asking *a)
{
    es_tier tier = a->ticket->tier;
    return tier == ES_TIER_FLEX ? "flex" : tier == ES_TIER_PRIORITY ? "priority" : "default";
}

es_status es_asking_stops(es_asking *a, const json_t *stop, size_t most, es_error *err)
{
    if (stop == NULL || json_is_null(stop))
        return ES_OK;
    size_t n = json_is_array(stop) ? json_array_size(stop) : 1;
    if (n > most)
        return es_fail(err, ES_ERR_LIMIT, "stop: more than %zu texts", most);
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_is_array(stop) ? json_array_get(stop, i) : stop);
        if (text == NULL || *text == '\0')
            return es_fail(err, ES_ERR_FORMAT, "stop: not a text, or an empty one");
        if (strlen(text) > MOST_STOP) /* each is looked for after each token */
            return es_fail(err, ES_ERR_LIMIT, "stop: a text of more than %d bytes", MOST_STOP);
        ES_TRY(es_ticket_stop(a->ticket, text, err));
    }
    return ES_OK;
}

/* A schema's name among forms is its digest: as good as the schema, and short. */
static es_status name_form(es_ticket *t, const json_t *schema, es_error *err)
{
    char *text = json_dumps(schema, JSON_ENCODE_ANY | JSON_COMPACT), hex[ES_SHA256_HEX + 1];
    es_sha sha;
    if (text == NULL)
        return es_fail_memory(err, "the answer's form", 0);
    size_t n = strlen(text);
    es_sha256_begin(&sha);
    es_sha_update(&sha, text, n);
    es_sha_finish(&sha, hex);
    free(text);
    if (n > MOST_SCHEMA)
        return es_fail(err, ES_ERR_LIMIT, "the schema has %zu bytes, more than the %zu that are read", n, MOST_SCHEMA);
    t->form = es_strdup(hex);
    return t->form != NULL ? ES_OK : es_fail_memory(err, "the answer's form", 0);
}

es_status es_asking_form(es_asking *a, const json_t *schema, es_error *err)
{
    es_ticket *t = a->ticket;
    if (schema != NULL) {
        ES_TRY(name_form(t, schema, err));
        return es_json_schema_grammar(&t->grammar, schema, err);
    }
    t->form = es_strdup("json");
    return t->form != NULL ? es_json_object_grammar(&t->grammar, err) : es_fail_memory(err, "the answer's form", 0);
}

es_status es_asking_file(es_asking *a, es_error *err)
{
    es_worker *worker = es_server_options_of(a->x->server)->worker;
    es_ticket *t = a->ticket;
    if (t->kind == ES_TICKET_GENERATE)
        ES_TRY(es_sampling_check(&t->sampling, err));
    if (t->sampling.temperature > 0 && !a->has_seed) /* another answer each time, unless a seed is named */
        t->sampling.seed = es_hash_key().a;
    es_ticket_seal(t);
    t->streamed = a->stream;
    json_decref(a->body);
    a->body = NULL;
    es_exchange_forget_body(a->x);
    es_status status = es_worker_file(worker, t, err);
    if (status == ES_ERR_LIMIT || status == ES_ERR_CANCELLED) {
        a->x->code = 503;
        a->x->retry = es_worker_patience(worker);
    }
    return status;
}

/* --- waiting --- */

static es_status left(es_asking *a, es_error *err)
{
    return es_exchange_fail(a->x, 499, err, ES_ERR_CANCELLED, "the client left");
}

static es_status failure_of(es_asking *a, es_error *err)
{
    const es_ticket *t = a->ticket;
    for (int32_t i = 0; i < t->choices; i++) {
        const es_reply *r = &t->replies[i];
        if (!r->done || r->status == ES_OK)
            continue;
        *err = r->error;
        if (err->status == ES_OK)
            es_fail(err, r->status, "the answer failed");
        return r->status;
    }
    return ES_OK;
}

es_status es_asking_wait_first(es_asking *a, es_error *err)
{
    static const size_t nothing[ES_MAX_CHOICES];
    static const bool untold[ES_MAX_CHOICES];
    es_ticket *t = a->ticket;
    for (;;) {
        pthread_mutex_lock(&t->lock);
        bool news = es_ticket_wait_any(t, nothing, untold, es_now() + GLANCE);
        es_status status = news ? failure_of(a, err) : ES_OK;
        pthread_mutex_unlock(&t->lock);
        if (news)
            return status;
        if (es_exchange_gone(a->x))
            return left(a, err);
    }
}

es_status es_asking_wait_all(es_asking *a, es_error *err)
{
    while (!es_ticket_wait_finished(a->ticket, es_now() + GLANCE))
        if (es_exchange_gone(a->x))
            return left(a, err);
    return failure_of(a, err);
}

bool es_asking_wait_news(es_asking *a)
{
    es_ticket *t = a->ticket;
    for (;;) {
        pthread_mutex_lock(&t->lock);
        bool news = es_ticket_wait_any(t, a->seen, a->told, es_now() + GLANCE);
        pthread_mutex_unlock(&t->lock);
        if (news)
            return true;
        if (es_exchange_gone(a->x))
            return false;
    }
}

char *es_asking_news(es_asking *a, int32_t i, bool *done)
{
    es_ticket *t = a->ticket;
    const es_reply *r = &t->replies[i];
    pthread_mutex_lock(&t->lock);
    size_t n = r->ready > a->seen[i] ? r->ready - a->seen[i] : 0;
    char *text = n > 0 ? es_strndup(r->text.data + a->seen[i], n) : es_strdup("");
    a->seen[i] += n;
    *done = r->done || t->finished;
    pthread_mutex_unlock(&t->lock);
    return text;
}

/* --- small things --- */

void es_time_text(char out[40])
{
    struct timespec now;
    struct tm parts;
    char day[24];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(out, 40, "%s.%06uZ", day, (unsigned)(now.tv_nsec / 1000) % 1000000);
}

es_status es_refuse_unheld(const json_t *object, const es_unheld *list, size_t n, es_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const json_t *given = json_object_get(object, list[i].name);
        if (given == NULL || json_is_null(given))
            continue;
        json_t *neutral = list[i].neutral != NULL ? json_loads(list[i].neutral, JSON_DECODE_ANY, NULL) : NULL;
        bool same =
            neutral != NULL && (json_equal(given, neutral) || (json_is_number(given) && json_is_number(neutral) &&
                                                               json_number_value(given) == json_number_value(neutral)));
        json_decref(neutral);
        if (!same)
            return es_fail(err, ES_ERR_UNSUPPORTED, "%s is not supported here%s%s", list[i].name,
                           list[i].neutral != NULL ? ": leave it out, or give " : ": leave it out",
                           list[i].neutral != NULL ? list[i].neutral : "");
    }
    return ES_OK;
}

es_status es_refuse_unknown(const json_t *object, const char *const *known, es_error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        bool found = false;
        for (size_t i = 0; known[i] != NULL && !found; i++)
            found = strcmp(known[i], name) == 0;
        if (!found)
            return es_fail(err, ES_ERR_ARGUMENT, "unrecognized request argument: %.60s", name);
    }
    return ES_OK;
}
