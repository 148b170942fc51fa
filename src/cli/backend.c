/* backend.c - who answers: what the settings ask for, and for auto what is here and what answers. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "intelligence/net/server.h"

#define LOOK_SECONDS 3.0 /* a server that takes longer to say what it has is not taken by auto */

void es_choice_free(es_choice *choice)
{
    free(choice->model);
    *choice = (es_choice){0};
}

static const char *text_or_null(const es_settings *s, es_setting_id id)
{
    const char *text = es_settings_text(s, id);
    return *text != '\0' ? text : NULL;
}

static const char *usual_endpoint(const es_settings *s, const char *backend)
{
    return text_or_null(s, strcmp(backend, "ollama") == 0 ? ES_SETTING_OLLAMA_HOST : ES_SETTING_OPENAI_BASE_URL);
}

static const char *usual_key(const es_settings *s, const char *backend)
{
    return strcmp(backend, "openai") == 0 ? text_or_null(s, ES_SETTING_OPENAI_API_KEY) : NULL;
}

/* A server that is looked at, not worked with. */
static es_server_options glance(const es_settings *s, const char *backend, const char *endpoint)
{
    return (es_server_options){.backend = backend,
                               .endpoint = endpoint,
                               .key = usual_key(s, backend),
                               .connect_seconds = LOOK_SECONDS,
                               .answer_seconds = LOOK_SECONDS,
                               .total_seconds = LOOK_SECONDS};
}

static bool answers(const es_settings *s, const char *backend, const char *endpoint)
{
    es_names names = {0};
    es_error err = {0};
    es_server_options options = glance(s, backend, endpoint);
    es_status status = es_server_models(&options, &names, &err);
    es_names_free(&names);
    return status == ES_OK;
}

void es_server_tells(const es_settings *s, const char *backend, const es_choice *choice, char *out, size_t size)
{
    es_error err = {0};
    es_str told = {0};
    const char *endpoint = choice != NULL ? choice->endpoint : usual_endpoint(s, backend);
    es_server_options options = glance(s, backend, endpoint);
    options.model = choice != NULL ? choice->model : NULL;
    if (endpoint == NULL && strcmp(backend, "openai") == 0)
        snprintf(out, size, "OPENAI_BASE_URL is not set");
    else if (es_server_tell(&options, &told, &err) != ES_OK)
        snprintf(out, size, "%s", strncmp(err.message, backend, 6) == 0 ? err.message + 7 : err.message);
    else
        snprintf(out, size, "%s", es_str_text(&told));
    es_str_free(&told);
}

es_status es_pull_from_ollama(const es_settings *s, const char *endpoint, const char *model,
                              const struct es_server_pull *how, es_error *err)
{
    es_server_options options = {.backend = "ollama",
                                 .endpoint = endpoint != NULL ? endpoint : usual_endpoint(s, "ollama"),
                                 .answer_seconds = es_settings_number(s, ES_SETTING_TIMEOUT)};
    return es_server_get(&options, model, how, err);
}

/* --- the choice --- */

static es_status take_server(const es_settings *s, const char *backend, const char *endpoint, const char *model,
                             es_choice *c, es_error *err)
{
    c->backend = backend;
    c->endpoint = endpoint != NULL ? endpoint : usual_endpoint(s, backend);
    c->key = usual_key(s, backend);
    c->model = *model != '\0' ? es_strdup(model) : NULL;
    return *model == '\0' || c->model != NULL ? ES_OK : es_fail_memory(err, "a name", strlen(model));
}

/* `backend`: "native" or "mlx"; auto takes native. */
static es_status take_native(const es_settings *s, const char *backend, const char *model, es_choice *c, es_error *err)
{
    c->backend = strcmp(backend, "mlx") == 0 ? "mlx" : "native";
    ES_TRY(es_device_name(s, backend, &c->device, err));
    return es_find_model(model, &c->model, err);
}

static es_status choose_auto(const es_settings *s, const char *endpoint, const char *model, es_choice *c, es_error *err)
{
    if (endpoint != NULL) {
        char first[512];
        snprintf(first, sizeof first, "%.*s", (int)strcspn(endpoint, " \t,"), endpoint);
        bool ollama = answers(s, "ollama", first);
        snprintf(c->why, sizeof c->why, "auto: %s",
                 ollama ? "the endpoint answers as Ollama does" : "the endpoint does not answer as Ollama does");
        return take_server(s, ollama ? "ollama" : "openai", endpoint, model, c, err);
    }
    es_status status = take_native(s, "auto", model, c, err);
    snprintf(c->why, sizeof c->why, "auto: %s", *model != '\0' ? "the model is here" : "the model in the box is here");
    if (status == ES_OK || status == ES_ERR_ARGUMENT || status == ES_ERR_MEMORY)
        return status;
    const char *backend = answers(s, "ollama", usual_endpoint(s, "ollama")) ? "ollama" : "openai";
    if (strcmp(backend, "openai") == 0 && usual_endpoint(s, "openai") == NULL)
        return status; /* as told above */
    snprintf(c->why, sizeof c->why, "auto: the model is not here, and %s",
             strcmp(backend, "ollama") == 0 ? "Ollama answers" : "OPENAI_BASE_URL is set");
    return take_server(s, backend, NULL, model, c, err);
}

es_status es_choose(const es_settings *s, bool words, es_choice *c, es_error *err)
{
    const char *backend = es_settings_text(s, ES_SETTING_BACKEND);
    const char *model = es_settings_text(s, ES_SETTING_MODEL);
    const char *endpoint = text_or_null(s, ES_SETTING_ENDPOINT);
    const char *own = es_settings_text(s, ES_SETTING_LLM_BACKEND);
    const char *own_model = es_settings_text(s, ES_SETTING_LLM_MODEL);
    const char *where = es_settings_where(s, ES_SETTING_BACKEND);
    *c = (es_choice){0};
    if (words && strcmp(own, "same") != 0 && strcmp(own, backend) != 0) { /* another server, or none: another model */
        backend = own;
        endpoint = NULL;
        model = "";
        where = es_settings_where(s, ES_SETTING_LLM_BACKEND);
    }
    if (words && *own_model != '\0')
        model = own_model;
    if (strcmp(backend, "auto") == 0)
        return choose_auto(s, endpoint, model, c, err);
    snprintf(c->why, sizeof c->why, "%s", where);
    if (strcmp(backend, "native") == 0 || strcmp(backend, "mlx") == 0)
        return take_native(s, backend, model, c, err);
    return take_server(s, strcmp(backend, "ollama") == 0 ? "ollama" : "openai", endpoint, model, c, err);
}

/* "ollama", "native:MODEL"... as a choice; backend NULL: no fallback is wanted. */
static es_status choose_fallback(const es_settings *s, es_choice *c, es_error *err)
{
    static const char *const known[] = {"native", "mlx", "ollama", "openai"};
    const char *text = es_settings_text(s, ES_SETTING_FALLBACK);
    size_t n = strcspn(text, ":");
    *c = (es_choice){0};
    if (*text == '\0')
        return ES_OK;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strlen(known[i]) != n || strncmp(text, known[i], n) != 0)
            continue;
        const char *model = text[n] == ':' ? text + n + 1 : "";
        if (i > 1)
            return take_server(s, known[i], NULL, model, c, err);
        c->backend = known[i];
        c->device = i == 0 ? "cpu" : "mlx"; /* --device speaks of the first */
        return es_find_model(model, &c->model, err);
    }
    return es_fail(err, ES_ERR_ARGUMENT, "%s: \"%.40s\" is not native, mlx, ollama or openai, with :MODEL or without",
                   es_settings_where(s, ES_SETTING_FALLBACK), text);
}

/* --- opening --- */

static void fill(const es_settings *s, const es_choice *c, escriba_options *o)
{
    es_fill_options(s, c->model, o);
    o->backend = c->backend;
    o->device = c->device;
    o->endpoint = c->endpoint;
    o->key = c->key;
}

static void on_note(void *context, const char *line)
{
    if (context != NULL)
        es_progress_clear(context);
    es_complain("%s", line);
}

static es_status open_choice(const es_settings *s, const es_choice *first, const es_choice *second,
                             es_progress *progress, escriba_model **model, es_error *err)
{
    escriba_options how, other;
    escriba_error error = {0};
    fill(s, first, &how);
    how.on_note = on_note;
    how.note_data = progress;
    if (second->backend != NULL) {
        fill(s, second, &other);
        other.on_note = on_note;
        other.note_data = progress;
        how.fallback = &other;
    }
    if (escriba_open(model, &how, &error) != ESCRIBA_OK)
        return es_fail(err, (es_status)error.status, "%s", error.message);
    return ES_OK;
}

es_status es_open_model_beside(const es_settings *s, bool words, es_progress *progress, escriba_model **model,
                               es_error *err)
{
    es_choice first = {0}, second = {0};
    es_error why = {0};
    *model = NULL;
    es_status status = choose_fallback(s, &second, err);
    if (status == ES_OK)
        status = es_choose(s, words, &first, &why);
    if (why.status != ES_OK && second.backend != NULL) { /* the model is not here, say: the fallback is all there is */
        es_complain("%s: %s answers instead", why.message, second.backend);
        es_choice_free(&first);
        first = second;
        second = (es_choice){0};
        snprintf(first.why, sizeof first.why, "--fallback");
        status = ES_OK;
    } else if (why.status != ES_OK && err != NULL) {
        *err = why;
    }
    if (status == ES_OK && es_settings_bool(s, ES_SETTING_VERBOSE))
        fprintf(stderr, "escriba: backend %s (%s), model %s\n", first.backend, first.why,
                first.model != NULL ? first.model : "of the server's choice");
    if (status == ES_OK)
        status = open_choice(s, &first, &second, progress, model, err);
    es_choice_free(&first);
    es_choice_free(&second);
    return status;
}

es_status es_open_model(const es_settings *s, bool words, escriba_model **model, es_error *err)
{
    return es_open_model_beside(s, words, NULL, model, err);
}
