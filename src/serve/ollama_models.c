/* ollama_models.c - what Ollama tells about models: tags, show, ps, pull. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/thread.h"
#include "hub/pull.h"
#include "serve/asking.h"

static void time_of(int64_t seconds, char out[40])
{
    time_t when = (time_t)seconds;
    struct tm parts;
    gmtime_r(&when, &parts);
    strftime(out, 40, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

static json_t *details_of(const es_catalog_entry *e)
{
    return json_pack("{s:s, s:s, s:s, s:[s], s:s, s:s}", "parent_model", "", "format", "safetensors", "family",
                     "qwen3vl", "families", "qwen3vl", "parameter_size", "", "quantization_level", e->precision);
}

static json_t *model_of(const es_catalog_entry *e)
{
    char modified[40];
    time_of(e->modified, modified);
    return json_pack("{s:s, s:s, s:s, s:I, s:s, s:o}", "name", e->name, "model", e->name, "modified_at", modified,
                     "size", (json_int_t)e->size, "digest", e->digest, "details", details_of(e));
}

es_status es_ollama_tags(es_exchange *x, es_error *err)
{
    es_catalog_entries list;
    ES_TRY(es_catalog_list(es_server_options_of(x->server)->catalog, &list, err));
    json_t *models = json_array();
    for (size_t i = 0; i < list.count; i++)
        json_array_append_new(models, model_of(&list.items[i]));
    es_catalog_entries_free(&list);
    return es_exchange_json(x, json_pack("{s:o}", "models", models), err);
}

static es_status name_in_body(es_exchange *x, json_t **body, const char **name, es_error *err)
{
    *name = NULL;
    ES_TRY(es_exchange_body(x, body, err));
    es_status status = es_json_string(*body, "the request", "model", false, name, err);
    if (status == ES_OK && *name == NULL)
        status = es_json_string(*body, "the request", "name", false, name, err);
    if (status == ES_OK && *name == NULL)
        status = es_fail(err, ES_ERR_FORMAT, "the request: \"model\" is missing");
    return status;
}

/* The entry of a model; the list is the caller's to free, also after a failure. */
static es_status find_entry(es_exchange *x, const char *asked, es_catalog_entries *list, const es_catalog_entry **entry,
                            es_error *err)
{
    const es_catalog *catalog = es_server_options_of(x->server)->catalog;
    char *name = NULL, *dir = NULL;
    *list = (es_catalog_entries){0};
    *entry = NULL;
    es_status status = es_catalog_find(catalog, asked, &name, &dir, err);
    x->code = status == ES_ERR_IO ? 404 : 0;
    if (status == ES_OK)
        status = es_catalog_list(catalog, list, err);
    for (size_t i = 0; status == ES_OK && i < list->count && *entry == NULL; i++)
        if (strcmp(list->items[i].dir, dir) == 0)
            *entry = &list->items[i];
    free(name);
    free(dir);
    if (status == ES_OK && *entry == NULL)
        status = es_exchange_fail(x, 404, err, ES_ERR_IO, "model '%.100s' not found", asked);
    return status;
}

/* The whole numbers of config.json's text part, as Ollama names them. */
static json_t *info_of(const char *dir)
{
    static const char *const names[][2] = {{"max_position_embeddings", "qwen3vl.context_length"},
                                           {"hidden_size", "qwen3vl.embedding_length"},
                                           {"num_hidden_layers", "qwen3vl.block_count"},
                                           {"num_attention_heads", "qwen3vl.attention.head_count"},
                                           {"num_key_value_heads", "qwen3vl.attention.head_count_kv"},
                                           {"intermediate_size", "qwen3vl.feed_forward_length"},
                                           {"vocab_size", "qwen3vl.vocab_size"}};
    json_t *info = json_pack("{s:s}", "general.architecture", "qwen3vl"), *config = NULL;
    char *path = es_path_join(dir, "config.json");
    if (path != NULL && es_json_read(&config, path, 1 << 20, NULL) == ES_OK) {
        const json_t *text = json_object_get(config, "text_config");
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            const json_t *number = json_object_get(text, names[i][0]);
            if (json_is_integer(number))
                json_object_set_new(info, names[i][1], json_integer(json_integer_value(number)));
        }
        json_decref(config);
    }
    free(path);
    return info;
}

es_status es_ollama_show(es_exchange *x, es_error *err)
{
    json_t *body = NULL;
    const char *asked;
    const es_catalog_entry *e;
    es_catalog_entries list = {0};
    es_status status = name_in_body(x, &body, &asked, err);
    if (status == ES_OK)
        status = find_entry(x, asked, &list, &e, err);
    if (status == ES_OK) {
        char modified[40];
        time_of(e->modified, modified);
        status = es_exchange_json(x,
                                  json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:[s, s], s:s}", "license", "",
                                            "modelfile", "", "parameters", "", "template", "", "system", "", "details",
                                            details_of(e), "model_info", info_of(e->dir), "capabilities", "completion",
                                            "vision", "modified_at", modified),
                                  err);
    }
    es_catalog_entries_free(&list);
    json_decref(body);
    return status;
}

es_status es_ollama_ps(es_exchange *x, es_error *err)
{
    const es_server_options *o = es_server_options_of(x->server);
    es_worker_status s;
    es_catalog_entries list;
    es_worker_get_status(o->worker, &s);
    ES_TRY(es_catalog_list(o->catalog, &list, err));
    json_t *models = json_array();
    for (size_t i = 0; i < list.count; i++) {
        if (strcmp(list.items[i].dir, s.model) != 0)
            continue;
        char expires[40];
        double left = s.running > 0 || isinf(s.expires) ? 1e9 : s.expires - es_now();
        time_of((int64_t)time(NULL) + (int64_t)(left > 0 ? left : 0), expires);
        json_t *model = model_of(&list.items[i]);
        json_object_set_new(model, "size", json_integer(s.model_bytes));
        json_object_set_new(model, "size_vram", json_integer(0));
        json_object_set_new(model, "expires_at", json_string(expires));
        json_object_set_new(model, "context_length", json_integer(s.context));
        json_array_append_new(models, model);
    }
    es_catalog_entries_free(&list);
    return es_exchange_json(x, json_pack("{s:o}", "models", models), err);
}

es_status es_ollama_version(es_exchange *x, es_error *err)
{
    return es_exchange_json(x, json_pack("{s:s}", "version", ESCRIBA_VERSION), err);
}

/* --- pull: a thread fetches, the connection's own tells how far it is --- */

typedef struct pulling {
    pthread_t thread;
    pthread_mutex_t lock;
    char *name;
    char status[160]; /* what was last told */
    uint64_t done, total;
    bool changed, over;
    atomic_bool cancelled;
    es_status result;
    es_error error;
} pulling;

static void on_progress(void *user, const es_pull_progress *progress)
{
    pulling *p = user;
    pthread_mutex_lock(&p->lock);
    snprintf(p->status, sizeof p->status, progress->phase == ES_PULL_LISTING ? "pulling manifest" : "pulling %.120s",
             progress->file);
    p->done = progress->file_done;
    p->total = progress->file_total;
    p->changed = true;
    pthread_mutex_unlock(&p->lock);
}

static bool is_cancelled(void *user)
{
    return atomic_load(&((pulling *)user)->cancelled);
}

static void *fetch(void *argument)
{
    pulling *p = argument;
    es_pull_options options = es_pull_default_options();
    char *dir = NULL;
    es_error err = {0};
    options.progress = on_progress;
    options.cancelled = is_cancelled;
    options.user = p;
    es_status status = es_hub_pull(p->name, &options, &dir, &err);
    free(dir);
    pthread_mutex_lock(&p->lock);
    p->result = status;
    p->error = err;
    p->over = true;
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static bool more_pull(es_exchange *x)
{
    pulling *p = x->stream;
    const struct timespec pause = {0, 100000000};
    nanosleep(&pause, NULL);
    if (es_exchange_gone(x))
        return false;
    pthread_mutex_lock(&p->lock);
    bool over = p->over;
    if (p->changed && !over) {
        es_exchange_json(x,
                         json_pack("{s:s, s:I, s:I}", "status", p->status, "completed", (json_int_t)p->done, "total",
                                   (json_int_t)p->total),
                         NULL);
        es_str_append(&x->out, "\n");
    } else if (over && p->result == ES_OK) {
        es_str_append(&x->out, "{\"status\":\"success\"}\n");
    } else if (over) {
        es_exchange_error(x, &p->error);
        es_str_append(&x->out, "\n");
    }
    p->changed = false;
    pthread_mutex_unlock(&p->lock);
    return !over;
}

static void end_pull(es_exchange *x)
{
    pulling *p = x->stream;
    atomic_store(&p->cancelled, true);
    pthread_join(p->thread, NULL);
    pthread_mutex_destroy(&p->lock);
    free(p->name);
    free(p);
    x->stream = NULL;
}

static es_status begin_pull(es_exchange *x, const char *name, bool stream, es_error *err)
{
    pulling *p = es_calloc(1, sizeof *p);
    if (p == NULL || (p->name = es_strdup(name)) == NULL) {
        free(p);
        return es_fail_memory(err, "a download", 0);
    }
    pthread_mutex_init(&p->lock, NULL);
    if (pthread_create(&p->thread, NULL, fetch, p) != 0) {
        pthread_mutex_destroy(&p->lock);
        free(p->name);
        free(p);
        return es_fail(err, ES_ERR_IO, "cannot start a thread");
    }
    x->stream = p;
    x->end = end_pull;
    x->type = "application/x-ndjson";
    x->more = more_pull;
    if (stream)
        return ES_OK;
    while (more_pull(x))
        continue;
    es_status status = p->over ? p->result : es_fail(err, ES_ERR_CANCELLED, "the client left");
    if (p->over && status != ES_OK)
        *err = p->error;
    if (status != ES_OK)
        return status;
    x->end(x);
    x->end = NULL;
    x->more = NULL;
    x->type = NULL;
    es_str_clear(&x->out);
    es_str_append(&x->out, "{\"status\":\"success\"}");
    return ES_OK;
}

es_status es_ollama_pull(es_exchange *x, es_error *err)
{
    const es_server_options *o = es_server_options_of(x->server);
    json_t *body = NULL;
    const char *asked;
    char *name = NULL, *dir = NULL;
    bool stream = true;
    es_status status = name_in_body(x, &body, &asked, err);
    if (status == ES_OK)
        status = es_json_bool(body, "the request", "stream", false, &stream, err);
    if (status == ES_OK && es_catalog_find(o->catalog, asked, &name, &dir, NULL) == ES_OK)
        es_str_append(&x->out, stream ? "{\"status\":\"success\"}\n" : "{\"status\":\"success\"}");
    else if (status == ES_OK && !o->allow_pull)
        status = es_exchange_fail(x, 403, err, ES_ERR_ARGUMENT,
                                  "models are not fetched by request: run 'escriba pull "
                                  "%.60s', or start the server with --allow-pull",
                                  asked);
    else if (status == ES_OK)
        status = begin_pull(x, asked, stream, err);
    free(name);
    free(dir);
    json_decref(body);
    return status;
}

es_status es_ollama_unsupported(es_exchange *x, es_error *err)
{
    return es_exchange_fail(x, 400, err, ES_ERR_UNSUPPORTED,
                            "%s is not answered here: chat, generate, tags, show, ps, "
                            "version and pull are",
                            x->path);
}
