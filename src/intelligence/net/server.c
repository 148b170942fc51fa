/* server.c - one server: its address, its models, and how its faults are told. */
#include "intelligence/net/adapter.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "intelligence/net/endpoint.h"

#define MOST_IN_FLIGHT 64
#define CONNECT_SECONDS 10.0
#define ANSWER_SECONDS 300.0
#define TOTAL_TIMES 6
#define PAUSE_SECONDS 0.5
#define BODY_MAX ((size_t)16 << 20)
#define LOOK_SECONDS 30.0 /* for what needs no model: lists and descriptions */
#define MODELS_LOOKED_AT 32

/* --- faults --- */

es_status es_server_fail(const es_server *self, es_error *err, es_status status, const char *format, ...)
{
    char what[400];
    va_list args;
    if (err == NULL)
        return status;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    for (char *at = what; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7F)
            *at = ' ';
    es_fail(err, status, "%s at %.100s: %s", self->dialect->name, self->endpoint, what);
    size_t n = self->key != NULL ? strlen(self->key) : 0;
    for (char *at = err->message; n >= 4 && (at = strstr(at, self->key)) != NULL; at += n)
        memset(at, '*', n);
    return status;
}

void es_server_words(const es_net_reply *reply, char *out, size_t size)
{
    json_t *root = NULL;
    const char *words = NULL;
    if (es_json_parse(&root, reply->body, reply->body_size, "answer", NULL) == ES_OK)
        words = es_server_complaint(root);
    if (words != NULL)
        snprintf(out, size, "HTTP status %ld: %.250s", reply->http, words);
    else
        snprintf(out, size, "HTTP status %ld", reply->http);
    json_decref(root);
}

/* --- a question that needs no model --- */

typedef struct look {
    const es_server *self;
    bool done;
    long http;
    json_t *root;
    es_status status;
    es_error error;
} look;

static void look_done(void *context, const es_net_reply *reply)
{
    look *l = context;
    l->done = true;
    l->http = reply->http;
    if (reply->fault != ES_NET_NONE) {
        l->status = es_server_fail(l->self, &l->error, reply->error.status, "%s", reply->error.message);
    } else if (reply->http != 200) {
        char words[300];
        es_server_words(reply, words, sizeof words);
        l->status = es_server_fail(l->self, &l->error, ES_ERR_NETWORK, "%s", words);
    } else if (es_json_parse(&l->root, reply->body, reply->body_size, "answer", NULL) != ES_OK) {
        l->status = es_server_fail(l->self, &l->error, ES_ERR_FORMAT, "the answer is not JSON");
    }
}

es_status es_server_ask(es_server *self, const char *path, const es_str *body, json_t **root, long *http, es_error *err)
{
    look l = {.self = self};
    es_str url = {0};
    *root = NULL;
    es_str_append(&url, self->endpoint);
    es_str_append(&url, path);
    es_status status = es_str_check(&url, err);
    if (status == ES_OK && body != NULL)
        status = es_str_check(body, err);
    if (status == ES_OK) {
        es_net_request request = {
            .url = es_str_text(&url), .key = self->key, .limits = self->limits, .context = &l, .done = look_done};
        if (request.limits.first_byte > LOOK_SECONDS)
            request.limits.first_byte = LOOK_SECONDS;
        if (body != NULL) {
            request.body = es_str_text(body);
            request.body_size = body->length;
        }
        status = es_net_start(self->net, &request, err);
    }
    while (status == ES_OK && !l.done)
        status = es_net_step(self->net, 0.1, err);
    es_str_free(&url);
    *http = l.http;
    *root = l.root;
    if (status == ES_OK && l.status != ES_OK) {
        if (err != NULL)
            *err = l.error;
        status = l.status;
    }
    return status;
}

/* Adds the string members `key` of the objects in the list `list`. */
static es_status add_names(const es_server *self, const json_t *root, const char *list, const char *key,
                           es_names *names, es_error *err)
{
    const json_t *items = json_object_get(root, list);
    if (!json_is_array(items))
        return es_server_fail(self, err, ES_ERR_FORMAT, "its list of models is not one");
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *name = json_object_get(json_array_get(items, i), key);
        if (json_is_string(name) && json_string_length(name) == strlen(json_string_value(name)))
            ES_TRY(es_names_add(names, json_string_value(name), err));
    }
    return ES_OK;
}

es_status es_server_list(es_server *self, es_names *names, es_error *err)
{
    json_t *root = NULL;
    long http = 0;
    bool ollama = self->dialect == &es_dialect_ollama;
    es_status status = es_server_ask(self, ollama ? "/api/tags" : "/models", NULL, &root, &http, err);
    if (status == ES_OK)
        status = add_names(self, root, ollama ? "models" : "data", ollama ? "name" : "id", names, err);
    json_decref(root);
    return status;
}

/* The first names of a list, for an error. */
static const char *some(const es_names *names, char *out, size_t size)
{
    size_t n = 0;
    snprintf(out, size, "none");
    for (size_t i = 0; i < names->count && i < 6 && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%.40s", i > 0 ? ", " : "", names->items[i]);
    return out;
}

/* --- which model --- */

static bool lists(const json_t *list, const char *word)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (text != NULL && strcmp(text, word) == 0)
            return true;
    }
    return false;
}

void es_append_model(es_str *body, const char *model, const char *more)
{
    es_str_append(body, "{\"model\":");
    es_str_append_json(body, model);
    es_str_append(body, more);
    es_str_append(body, "}");
}

typedef struct description {
    bool there, sees, thinks;
    es_placing placing;
} description;

/* What follows a word at the beginning of a line of a model file; "": no such line. */
static const char *line_of(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (; text != NULL && *text != '\0'; text += strcspn(text, "\n"), text += *text == '\n')
        if (strncmp(text, word, n) == 0)
            return text + n;
    return "";
}

/* A renderer writes a message's pictures before its words, whatever these say; Qwen3-VL's prompt we can write as well.
 * Ollama 0.17 has a member for its name and leaves it empty: the model file tells. */
static es_placing placing_of(const json_t *root)
{
    const char *renderer = json_string_value(json_object_get(root, "renderer"));
    if (renderer == NULL || *renderer == '\0')
        renderer = line_of(json_string_value(json_object_get(root, "modelfile")), "RENDERER ");
    if (strncmp(renderer, "qwen3-vl-", 9) == 0)
        return ES_PLACING_WHOLE;
    bool template = json_string_length(json_object_get(root, "template")) > 0;
    return template && *renderer == '\0' ? ES_PLACING_MARKS : ES_PLACING_TURNS;
}

/* What Ollama says of a model. A server too old to say what it can is believed. */
static es_status show(es_server *self, const char *model, description *d, es_error *err)
{
    es_str body = {0};
    json_t *root = NULL;
    long http = 0;
    *d = (description){0};
    es_append_model(&body, model, "");
    es_status status = es_server_ask(self, "/api/show", &body, &root, &http, err);
    es_str_free(&body);
    d->there = http != 404;
    if (status == ES_OK) {
        const json_t *can = json_object_get(root, "capabilities");
        d->sees = !json_is_array(can) || lists(can, "vision");
        d->thinks = json_is_array(can) && lists(can, "thinking");
        d->placing = placing_of(root);
    }
    json_decref(root);
    return d->there ? status : ES_OK;
}

/* Takes a model. One that cannot think aloud refuses to be told how; one that can does, unless told not to. */
static es_status take_model(es_server *self, const char *model, const description *d, es_error *err)
{
    bool aloud = self->think != NULL && strcmp(self->think, "false") != 0;
    if (aloud && !d->thinks)
        return es_server_fail(self, err, ES_ERR_ARGUMENT, "the model %.100s cannot think aloud: leave that out", model);
    if (!d->thinks)
        self->think = NULL;
    self->blind = !d->sees;
    self->placing = aloud ? ES_PLACING_TURNS : d->placing; /* how its thoughts begin is the server's to say */
    self->model = es_strdup(model);
    return self->model != NULL ? ES_OK : es_fail_memory(err, "a name", strlen(model));
}

static es_status find_given(es_server *self, const char *model, es_error *err)
{
    description d;
    char list[300];
    ES_TRY(show(self, model, &d, err));
    if (d.there)
        return take_model(self, model, &d, err);
    es_names names = {0};
    es_status status = es_server_list(self, &names, err);
    if (status == ES_OK)
        status = es_server_fail(self, err, ES_ERR_ARGUMENT, "no model %.60s: 'ollama pull %.60s' gets it; there: %s",
                                model, model, some(&names, list, sizeof list));
    es_names_free(&names);
    return status;
}

/* The first model that sees pictures; one of the family escriba's questions are made for before any other. */
static es_status find_any(es_server *self, const es_names *names, es_error *err)
{
    const char *chosen = NULL;
    description d, of_chosen = {0};
    for (size_t i = 0; i < names->count && i < MODELS_LOOKED_AT; i++) {
        bool family = strncmp(names->items[i], "qwen3-vl", 8) == 0;
        if (chosen != NULL && !family)
            continue;
        ES_TRY(show(self, names->items[i], &d, err));
        if (!d.there || !d.sees)
            continue;
        chosen = names->items[i];
        of_chosen = d;
        if (family)
            break;
    }
    if (chosen == NULL)
        return es_server_fail(self, err, ES_ERR_ARGUMENT,
                              "it has no model that sees pictures: 'ollama pull qwen3-vl:2b' gets one");
    return take_model(self, chosen, &of_chosen, err);
}

static es_status find_model(es_server *self, const char *model, es_error *err)
{
    bool ollama = self->dialect == &es_dialect_ollama;
    if (model != NULL && *model != '\0') {
        if (ollama)
            return find_given(self, model, err);
        self->model = es_strdup(model);
        return self->model != NULL ? ES_OK : es_fail_memory(err, "a name", strlen(model));
    }
    es_names names = {0};
    char list[300];
    es_status status = es_server_list(self, &names, err);
    if (status == ES_OK && ollama)
        status = find_any(self, &names, err);
    else if (status == ES_OK && names.count == 1)
        status = (self->model = es_strdup(names.items[0])) != NULL ? ES_OK : es_fail_memory(err, "a name", 0);
    else if (status == ES_OK)
        status = es_server_fail(self, err, ES_ERR_ARGUMENT, "which model? Give --model; there: %s",
                                some(&names, list, sizeof list));
    es_names_free(&names);
    return status;
}

/* --- life --- */

void es_server_close(es_server *self)
{
    if (self == NULL)
        return;
    es_net_close(self->net);
    free(self->endpoint);
    if (self->key != NULL)
        memset(self->key, 0, strlen(self->key));
    free(self->key);
    free(self->model);
    free(self->keep_alive);
    free(self);
}

/* "10m" and the like as a JSON string, a bare number (seconds) as one. */
static es_status set_keep_alive(es_server *self, const char *text, es_error *err)
{
    es_str json = {0};
    char *end = NULL;
    if (text == NULL || *text == '\0')
        return ES_OK;
    long long seconds = strtoll(text, &end, 10);
    if (end != text && *end == '\0')
        es_str_append_format(&json, "%lld", seconds);
    else if (strspn(text, "-0123456789.hmsun") == strlen(text))
        es_str_append_json(&json, text);
    else
        return es_fail(err, ES_ERR_ARGUMENT, "keep alive for \"%.40s\": not a time like 10m, 24h, 300 or -1", text);
    self->keep_alive = es_str_take(&json, err);
    return self->keep_alive != NULL ? ES_OK : ES_ERR_MEMORY;
}

static es_status set_think(es_server *self, const char *how, es_error *err)
{
    static const char *const known[][2] = {
        {"off", "false"}, {"on", "true"}, {"low", "\"low\""}, {"medium", "\"medium\""}, {"high", "\"high\""}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(how != NULL && *how != '\0' ? how : "off", known[i][0]) == 0) {
            self->think = known[i][1];
            return ES_OK;
        }
    }
    return es_fail(err, ES_ERR_ARGUMENT, "think \"%.40s\": not off, on, low, medium or high", how);
}

/* A key goes into a header line: anything but visible ASCII could forge another header. */
static es_status check_key(const char *key, es_error *err)
{
    for (const char *p = key; p != NULL && *p != '\0'; p++)
        if (*p < 0x21 || *p > 0x7E)
            return es_fail(err, ES_ERR_ARGUMENT, "the key holds characters that no key has: check OPENAI_API_KEY");
    return ES_OK;
}

static double or_else(double given, double standard)
{
    return given > 0 ? given : standard;
}

static es_status fill(es_server *self, const es_server_options *o, es_error *err)
{
    bool ollama = self->dialect == &es_dialect_ollama;
    double wait = or_else(o->answer_seconds, ANSWER_SECONDS);
    self->limits = (es_net_limits){.connect = or_else(o->connect_seconds, CONNECT_SECONDS),
                                   .first_byte = wait,
                                   .idle = wait,
                                   .total = or_else(o->total_seconds, wait * TOTAL_TIMES),
                                   .body = BODY_MAX};
    self->pause = or_else(o->pause_seconds, PAUSE_SECONDS);
    self->random = es_hash_key().a | 1;
    self->max_pixels = o->max_pixels;
    self->context = o->context;
    self->stream = !o->no_stream;
    es_flow_begin(&self->flow, o->most > 0 ? (size_t)o->most : MOST_IN_FLIGHT);
    ES_TRY(check_key(o->key, err));
    ES_TRY(set_keep_alive(self, o->keep_alive, err));
    ES_TRY(set_think(self, o->think, err));
    ES_TRY(ollama ? es_endpoint_ollama(o->endpoint, &self->endpoint, err)
                  : es_endpoint_openai(o->endpoint, &self->endpoint, err));
    bool has_key = o->key != NULL && *o->key != '\0';
    self->key = has_key ? es_strdup(o->key) : NULL;
    if (has_key && self->key == NULL)
        return es_fail_memory(err, "a server", 0);
    return es_net_open(&self->net, err);
}

es_status es_server_new(es_server **out, const es_server_options *o, es_error *err)
{
    *out = NULL;
    es_server *self = es_calloc(1, sizeof *self);
    if (self == NULL)
        return es_fail_memory(err, "a server", sizeof *self);
    self->dialect = strcmp(o->backend, "ollama") == 0 ? &es_dialect_ollama : &es_dialect_openai;
    es_status status = fill(self, o, err);
    if (status != ES_OK) {
        es_server_close(self);
        return status;
    }
    *out = self;
    return ES_OK;
}

es_status es_server_open(es_server **out, const es_server_options *options, es_error *err)
{
    es_server *self = NULL;
    *out = NULL;
    ES_TRY(es_server_new(&self, options, err));
    es_status status = find_model(self, options->model, err);
    if (status != ES_OK) {
        es_server_close(self);
        return status;
    }
    *out = self;
    return ES_OK;
}

es_status es_server_models(const es_server_options *options, es_names *names, es_error *err)
{
    es_server *self = NULL;
    ES_TRY(es_server_new(&self, options, err));
    es_status status = es_server_list(self, names, err);
    es_server_close(self);
    return status;
}
