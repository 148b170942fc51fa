/* routes.c - what is there to be asked, who may ask it, and how a failure is told. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "serve/exchange.h"

typedef struct route {
    const char *method, *path; /* a path that ends with a slash has something behind it */
    es_handler handle;
    bool open; /* no key is asked for */
} route;

static const route routes[] = {
    {"GET", "/", es_page, true},
    {"GET", "/health", es_health, true},
    {"GET", "/ready", es_tell_ready, true},
    {"GET", "/metrics", es_metrics, false},
    {"GET", "/status", es_status_json, false},
    {"POST", "/v1/chat/completions", es_openai_chat, false},
    {"POST", "/v1/responses", es_openai_responses, false},
    {"GET", "/v1/models", es_openai_models, false},
    {"GET", "/v1/models/", es_openai_models, false},
    {"POST", "/v1/completions", es_openai_unsupported, false},
    {"POST", "/v1/embeddings", es_openai_unsupported, false},
    {"POST", "/api/chat", es_ollama_chat, false},
    {"POST", "/api/generate", es_ollama_generate, false},
    {"GET", "/api/tags", es_ollama_tags, false},
    {"POST", "/api/show", es_ollama_show, false},
    {"GET", "/api/ps", es_ollama_ps, false},
    {"GET", "/api/version", es_ollama_version, false},
    {"POST", "/api/pull", es_ollama_pull, false},
    {"POST", "/api/create", es_ollama_unsupported, false},
    {"POST", "/api/copy", es_ollama_unsupported, false},
    {"DELETE", "/api/delete", es_ollama_unsupported, false},
    {"POST", "/api/push", es_ollama_unsupported, false},
    {"POST", "/api/embed", es_ollama_unsupported, false},
    {"POST", "/api/embeddings", es_ollama_unsupported, false},
};
#define ROUTES (sizeof routes / sizeof *routes)

static bool fits(const route *r, const char *path)
{
    size_t n = strlen(r->path);
    if (n > 1 && r->path[n - 1] == '/')
        return strncmp(path, r->path, n) == 0 && path[n] != '\0';
    return strcmp(path, r->path) == 0;
}

/* HEAD is a GET whose body the library leaves out. */
static const route *find(const es_exchange *x, bool *known_path)
{
    const char *method = strcmp(x->method, "HEAD") == 0 ? "GET" : x->method;
    *known_path = false;
    for (size_t i = 0; i < ROUTES; i++) {
        if (!fits(&routes[i], x->path))
            continue;
        *known_path = true;
        if (strcmp(routes[i].method, method) == 0)
            return &routes[i];
    }
    return NULL;
}

/* --- failures --- */

es_status es_exchange_fail(es_exchange *x, int code, es_error *err, es_status status, const char *format, ...)
{
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    x->code = code;
    return es_fail(err, status, "%s", text);
}

static int code_for(es_status status)
{
    switch (status) {
    case ES_ERR_FORMAT:
    case ES_ERR_ARGUMENT:
    case ES_ERR_UNSUPPORTED:
    case ES_ERR_LIMIT:
        return 400;
    case ES_ERR_MEMORY:
    case ES_ERR_CANCELLED:
        return 503;
    default:
        return 500;
    }
}

static const char *openai_type(int code)
{
    return code == 401   ? "authentication_error"
           : code == 404 ? "not_found_error"
           : code == 503 ? "overloaded_error"
           : code >= 500 ? "server_error"
                         : "invalid_request_error";
}

void es_exchange_error(es_exchange *x, const es_error *error)
{
    const char *message = error->message[0] != '\0' ? error->message : "it could not be done";
    if (x->code == 0)
        x->code = code_for(error->status);
    es_str_append(&x->out, x->openai ? "{\"error\":{\"message\":" : "{\"error\":");
    es_str_append_json(&x->out, message);
    if (x->openai)
        es_str_append_format(&x->out, ",\"type\":\"%s\",\"param\":null,\"code\":%s}", openai_type(x->code),
                             x->code == 404 ? "\"model_not_found\"" : "null");
    es_str_append(&x->out, "}");
}

es_status es_exchange_json(es_exchange *x, json_t *value, es_error *err)
{
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT) : NULL;
    json_decref(value);
    if (text == NULL)
        return es_fail_memory(err, "the answer", 0);
    es_str_append(&x->out, text);
    free(text);
    return es_str_check(&x->out, err);
}

es_status es_exchange_body(es_exchange *x, json_t **body, es_error *err)
{
    ES_TRY(es_json_parse(body, x->body, x->size, "the request's body", err));
    if (json_is_object(*body))
        return ES_OK;
    json_decref(*body);
    *body = NULL;
    return es_fail(err, ES_ERR_FORMAT, "the request's body is not a JSON object");
}

/* --- who may ask --- */

static void refuse(es_exchange *x, int code, const char *line)
{
    es_error err;
    x->code = code;
    es_fail(&err, ES_ERR_ARGUMENT, "%s", line);
    es_exchange_error(x, &err);
}

bool es_route_admits(es_exchange *x, const es_headers *h)
{
    const es_guard *guard = es_server_options_of(x->server)->guard;
    const char *name;
    bool known;
    x->openai = strncmp(x->path, "/v1/", 4) == 0;
    if (!es_guard_host(guard, h->host)) {
        refuse(x, 421,
               "the server is not called by this name: use its address or localhost, or start it with "
               "--allow-host");
        return false;
    }
    if (!es_guard_origin(guard, h)) {
        refuse(x, 403, "pages of other sites may not ask: start the server with --allow-origin");
        return false;
    }
    if (strcmp(x->method, "OPTIONS") == 0 && es_guard_shares(guard, h->origin)) {
        x->code = 204;
        x->type = "text/plain";
        return false;
    }
    const route *r = find(x, &known);
    if (r == NULL) {
        refuse(x, known ? 405 : 404, known ? "this path is asked in another way (method)" : "there is nothing here");
        return false;
    }
    if (!r->open && !es_guard_key(guard, h->authorization, &name)) {
        refuse(x, 401, "a key is needed: send it as 'Authorization: Bearer KEY'");
        return false;
    }
    return true;
}

void es_route(es_exchange *x, const es_headers *headers)
{
    es_error err = {0};
    bool known;
    const route *r = find(x, &known);
    (void)headers;
    if (r == NULL)
        return;
    x->rest = x->path + strlen(r->path);
    if (r->handle(x, &err) == ES_OK)
        return;
    if (x->end != NULL)
        x->end(x);
    x->more = NULL;
    x->end = NULL;
    x->type = NULL;
    es_str_clear(&x->out);
    es_exchange_error(x, &err);
}
