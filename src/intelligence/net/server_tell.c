/* server_tell.c - what a server says of itself, for a person: its version, its models, what is loaded. */
#include <stdio.h>
#include <string.h>

#include "intelligence/net/adapter.h"
#include "intelligence/net/endpoint.h"

/* A text of the answer, "" when there is none; shown with es_append_plain only. */
static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

/* A server's text on our terminal: no control characters, bounded. */
static void append_plain(es_str *out, const char *text)
{
    char plain[101];
    snprintf(plain, sizeof plain, "%.100s", text);
    for (char *at = plain; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7F)
            *at = ' ';
    es_str_append(out, plain);
}

static double number_of(const json_t *object, const char *key)
{
    const json_t *item = json_object_get(object, key);
    return json_is_number(item) ? json_number_value(item) : 0;
}

/* The context that /api/show tells under the name of the model's family. */
static long long context_of(const json_t *root)
{
    const json_t *info = json_object_get(root, "model_info");
    const char *key;
    const json_t *item;
    json_object_foreach((json_t *)info, key, item)
    {
        size_t n = strlen(key);
        if (n > 15 && strcmp(key + n - 15, ".context_length") == 0 && json_is_integer(item))
            return (long long)json_integer_value(item);
    }
    return 0;
}

/* "qwen3-vl:2b (qwen3vl, 2.1B, Q4_K_M; vision, thinking; context 262144)" of /api/show. */
static void append_shown(es_str *out, const char *model, const json_t *root)
{
    static const char *const details[] = {"family", "parameter_size", "quantization_level"};
    const json_t *about = json_object_get(root, "details"), *can = json_object_get(root, "capabilities");
    const char *between = " (";
    append_plain(out, model);
    for (size_t i = 0; i < sizeof details / sizeof *details; i++) {
        if (*text_of(about, details[i]) == '\0')
            continue;
        es_str_append(out, between);
        append_plain(out, text_of(about, details[i]));
        between = ", ";
    }
    if (*between == ',')
        between = "; ";
    for (size_t i = 0; i < json_array_size(can) && i < 8; i++) {
        const char *one = json_string_value(json_array_get(can, i));
        if (one == NULL || strcmp(one, "completion") == 0)
            continue;
        es_str_append(out, between);
        append_plain(out, one);
        between = ", ";
    }
    long long context = context_of(root);
    if (context > 0)
        es_str_append_format(out, "%scontext %lld", strcmp(between, " (") == 0 ? between : "; ", context);
    es_str_append(out, strcmp(between, " (") == 0 && context <= 0 ? "" : ")");
}

/* The model that would answer; what keeps one from it is worth a word, not an error. */
static void append_model(es_str *out, const es_server_options *options)
{
    es_server *server = NULL;
    es_error own = {0};
    es_str body = {0};
    json_t *root = NULL;
    long http = 0;
    if (es_server_open(&server, options, &own) != ES_OK) {
        const char *what = strstr(own.message, ": ");
        es_str_append_format(out, "; %s", what != NULL ? what + 2 : own.message);
        return;
    }
    es_append_model(&body, server->model, "");
    es_str_append(out, "; would take ");
    if (es_server_ask(server, "/api/show", &body, &root, &http, NULL) == ES_OK)
        append_shown(out, server->model, root);
    else
        append_plain(out, server->model);
    es_str_free(&body);
    json_decref(root);
    es_server_close(server);
}

/* What /api/ps says is in memory. */
static void append_loaded(es_str *out, es_server *server)
{
    json_t *root = NULL;
    long http = 0;
    es_status status = es_server_ask(server, "/api/ps", NULL, &root, &http, NULL);
    const json_t *models = status == ES_OK ? json_object_get(root, "models") : NULL;
    for (size_t i = 0; i < json_array_size(models) && i < 8; i++) {
        const json_t *one = json_array_get(models, i);
        double size = number_of(one, "size"), graphics = number_of(one, "size_vram");
        es_str_append(out, i == 0 ? "; loaded: " : ", ");
        append_plain(out, text_of(one, "name"));
        es_str_append_format(out, " (%.1f GB", size / 1e9);
        if (size > 0)
            es_str_append_format(out, ", %.0f %% of it on a GPU", 100 * graphics / size);
        if (*text_of(one, "expires_at") != '\0') {
            char until[20]; /* 2026-01-31T12:00:00, without the fraction and the zone */
            snprintf(until, sizeof until, "%.19s", text_of(one, "expires_at"));
            es_str_append(out, ", until ");
            append_plain(out, until);
        }
        es_str_append(out, ")");
    }
    json_decref(root);
}

static void append_version(es_str *out, es_server *server)
{
    json_t *root = NULL;
    long http = 0;
    if (es_server_ask(server, "/api/version", NULL, &root, &http, NULL) == ES_OK && *text_of(root, "version") != '\0') {
        es_str_append(out, ", version ");
        append_plain(out, text_of(root, "version"));
    }
    json_decref(root);
}

static es_status tell_one(const es_server_options *options, es_str *out, es_error *err)
{
    es_server *server = NULL;
    es_names names = {0};
    ES_TRY(es_server_new(&server, options, err));
    bool ollama = server->dialect == &es_dialect_ollama;
    es_status status = es_server_list(server, &names, err);
    if (status == ES_OK) {
        es_str_append_format(out, "answers, with %zu model%s", names.count, names.count == 1 ? "" : "s");
        if (ollama)
            append_version(out, server);
        if (ollama && names.count > 0)
            append_model(out, options);
        if (ollama)
            append_loaded(out, server);
    }
    es_names_free(&names);
    es_server_close(server);
    return status == ES_OK ? es_str_check(out, err) : status;
}

typedef struct telling {
    es_str *out;
    size_t count;
} telling;

/* One of several: its address, and what it says of itself or what keeps it from that. */
static void tell_of_many(void *context, const es_server_options *one, const es_error *fault)
{
    telling *t = context;
    es_error own = {0};
    es_str told = {0};
    es_str_append_format(t->out, "%s%.200s: ", t->count++ > 0 ? "; " : "", one->endpoint);
    if (fault == NULL && tell_one(one, &told, &own) == ES_OK) {
        es_str_append(t->out, es_str_text(&told));
    } else {
        const char *message = fault != NULL ? fault->message : own.message;
        const char *what = strstr(message, ": "); /* after who, which is said already */
        es_str_append(t->out, what != NULL ? what + 2 : message);
    }
    es_str_free(&told);
}

es_status es_server_tell(const es_server_options *options, es_str *out, es_error *err)
{
    telling t = {out, 0};
    if (es_endpoint_is_one(options->endpoint))
        return tell_one(options, out, err);
    ES_TRY(es_fleet_each(options, tell_of_many, &t, err));
    return es_str_check(out, err);
}
