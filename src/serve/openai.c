/* openai.c - OpenAI's chat completions and its list of models. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "serve/asking.h"

#define MOST_STOPS 16
#define MOST_TOKENS 1000000

/* Understood, or without an effect on the answer. */
static const char *const known[] = {"model",
                                    "messages",
                                    "stream",
                                    "stream_options",
                                    "temperature",
                                    "top_p",
                                    "top_k",
                                    "min_p",
                                    "repetition_penalty",
                                    "seed",
                                    "n",
                                    "stop",
                                    "max_tokens",
                                    "max_completion_tokens",
                                    "response_format",
                                    "user",
                                    "metadata",
                                    "store",
                                    "service_tier",
                                    "priority",
                                    "safety_identifier",
                                    "prompt_cache_key",
                                    "prompt_cache_retention",
                                    "parallel_tool_calls",
                                    "tool_choice",
                                    "logprobs",
                                    "top_logprobs",
                                    "presence_penalty",
                                    "frequency_penalty",
                                    "logit_bias",
                                    "tools",
                                    "functions",
                                    "function_call",
                                    "modalities",
                                    "audio",
                                    "prediction",
                                    "reasoning_effort",
                                    "verbosity",
                                    "web_search_options",
                                    "moderation",
                                    NULL};
static const es_unheld unheld_in_message[] = {
    {"name", NULL}, {"tool_calls", "[]"}, {"tool_call_id", NULL}, {"function_call", NULL}, {"audio", NULL}};
static const es_unheld unheld[] = {{"logit_bias", "{}"},
                                   {"tools", "[]"},
                                   {"tool_choice", "\"none\""},
                                   {"functions", "[]"},
                                   {"function_call", "\"none\""},
                                   {"modalities", "[\"text\"]"},
                                   {"audio", NULL},
                                   {"prediction", NULL},
                                   {"reasoning_effort", "\"none\""},
                                   {"verbosity", "\"medium\""},
                                   {"moderation", NULL},
                                   {"store", "false"},
                                   {"web_search_options", NULL}};

/* --- reading --- */

static es_status add_part(es_asking *a, const json_t *part, es_error *err)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    if (type != NULL && strcmp(type, "text") == 0) {
        const char *text = NULL;
        ES_TRY(es_json_string(part, "a message's part", "text", true, &text, err));
        return es_ticket_text(a->ticket, text, err);
    }
    if (type != NULL && strcmp(type, "image_url") == 0) {
        const json_t *image = json_object_get(part, "image_url");
        const char *url = json_string_value(json_is_string(image) ? image : json_object_get(image, "url"));
        if (url == NULL)
            return es_fail(err, ES_ERR_FORMAT, "an image_url without a url");
        return es_asking_picture(a, url, err);
    }
    return es_fail(err, ES_ERR_UNSUPPORTED, "a message's part of type %.40s: text and image_url are answered",
                   type != NULL ? type : "nothing");
}

static es_status add_message(es_asking *a, const json_t *message, es_error *err)
{
    const char *name = NULL;
    const json_t *content = json_object_get(message, "content");
    if (!json_is_object(message))
        return es_fail(err, ES_ERR_FORMAT, "a message is not an object");
    ES_TRY(es_json_string(message, "a message", "role", true, &name, err));
    es_role role = ES_ROLE_USER;
    if (strcmp(name, "system") == 0 || strcmp(name, "developer") == 0)
        role = ES_ROLE_SYSTEM;
    else if (strcmp(name, "assistant") == 0)
        role = ES_ROLE_ASSISTANT;
    else if (strcmp(name, "user") != 0)
        return es_fail(err, ES_ERR_UNSUPPORTED,
                       "a message's role %.40s: system, developer, user and assistant are "
                       "answered",
                       name);
    ES_TRY(es_refuse_unheld(message, unheld_in_message, sizeof unheld_in_message / sizeof *unheld_in_message, err));
    ES_TRY(es_ticket_turn(a->ticket, role, err));
    if (json_is_string(content))
        return es_ticket_text(a->ticket, json_string_value(content), err);
    if (!json_is_array(content))
        return es_fail(err, ES_ERR_FORMAT, "a message's content is neither a text nor a list");
    for (size_t i = 0; i < json_array_size(content); i++)
        ES_TRY(add_part(a, json_array_get(content, i), err));
    return ES_OK;
}

static es_status read_form(es_asking *a, const json_t *format, es_error *err)
{
    const char *type = NULL;
    if (format == NULL || json_is_null(format))
        return ES_OK;
    ES_TRY(es_json_string(format, "response_format", "type", true, &type, err));
    if (strcmp(type, "text") == 0)
        return ES_OK;
    if (strcmp(type, "json_object") == 0)
        return es_asking_form(a, NULL, err);
    if (strcmp(type, "json_schema") != 0)
        return es_fail(err, ES_ERR_UNSUPPORTED, "response_format %.40s: text, json_object and json_schema are known",
                       type);
    const json_t *schema = json_object_get(json_object_get(format, "json_schema"), "schema");
    if (schema == NULL)
        return es_fail(err, ES_ERR_FORMAT, "response_format.json_schema has no schema");
    return es_asking_form(a, schema, err);
}

static es_status read_budget(es_asking *a, const char *first, const char *second, es_error *err)
{
    int64_t most = a->ticket->max_tokens;
    if (second != NULL)
        ES_TRY(es_json_int(a->body, "the request", second, false, 1, MOST_TOKENS, &most, err));
    ES_TRY(es_json_int(a->body, "the request", first, false, 1, MOST_TOKENS, &most, err));
    a->ticket->max_tokens = (int32_t)most;
    return ES_OK;
}

static es_status read_chat(es_asking *a, es_error *err)
{
    const json_t *messages = json_object_get(a->body, "messages");
    int64_t n = 1;
    ES_TRY(es_refuse_unknown(a->body, known, err));
    ES_TRY(es_refuse_unheld(a->body, unheld, sizeof unheld / sizeof *unheld, err));
    ES_TRY(es_json_bool(a->body, "the request", "stream", false, &a->stream, err));
    ES_TRY(es_json_int(a->body, "the request", "n", false, 1, ES_MAX_CHOICES, &n, err));
    const json_t *options = json_object_get(a->body, "stream_options");
    if (options != NULL && !json_is_null(options))
        ES_TRY(es_json_bool(options, "stream_options", "include_usage", false, &a->flag, err));
    a->ticket->choices = (int32_t)n;
    ES_TRY(read_budget(a, "max_completion_tokens", "max_tokens", err));
    ES_TRY(es_asking_sampling(a, a->body, "repetition_penalty", err));
    ES_TRY(es_asking_logprobs(a, err));
    ES_TRY(es_asking_tier(a, err));
    ES_TRY(es_asking_stops(a, json_object_get(a->body, "stop"), MOST_STOPS, err));
    ES_TRY(read_form(a, json_object_get(a->body, "response_format"), err));
    if (json_array_size(messages) == 0)
        return es_fail(err, ES_ERR_FORMAT, "messages is not a list of messages");
    for (size_t i = 0; i < json_array_size(messages); i++)
        ES_TRY(add_message(a, json_array_get(messages, i), err));
    return ES_OK;
}

/* --- answering --- */

static json_t *usage_of(const es_ticket *t)
{
    const es_reply *first = &t->replies[0];
    json_int_t generated = 0;
    for (int32_t i = 0; i < t->choices; i++)
        generated += t->replies[i].tokens;
    return json_pack("{s:i, s:I, s:I, s:{s:i}}", "prompt_tokens", first->prompt_tokens, "completion_tokens", generated,
                     "total_tokens", (json_int_t)first->prompt_tokens + generated, "prompt_tokens_details",
                     "cached_tokens", first->cached_tokens);
}

static const char *reason_of(const es_reply *r)
{
    return r->truncated ? "length" : "stop";
}

/* {"content": [...]}, or null when nobody asked for it. */
static json_t *logprobs_of(es_asking *a, int32_t i)
{
    json_t *list = es_asking_scores(a, i);
    if (a->ticket->scored)
        return json_pack("{s:o, s:n}", "content", list, "refusal");
    json_decref(list);
    return json_null();
}

static es_status whole_answer(es_asking *a, es_error *err)
{
    const es_ticket *t = a->ticket;
    char id[64];
    ES_TRY(es_asking_wait_all(a, err));
    json_t *choices = json_array();
    for (int32_t i = 0; i < t->choices; i++)
        json_array_append_new(choices,
                              json_pack("{s:i, s:{s:s, s:s, s:n}, s:o, s:s}", "index", i, "message", "role",
                                        "assistant", "content", es_str_text(&t->replies[i].text), "refusal", "logprobs",
                                        logprobs_of(a, i), "finish_reason", reason_of(&t->replies[i])));
    snprintf(id, sizeof id, "chatcmpl-%s", a->id);
    return es_exchange_json(a->x,
                            json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:o, s:o}", "id", id, "object", "chat.completion",
                                      "created", (json_int_t)a->created, "model", a->name, "system_fingerprint",
                                      "escriba-" ESCRIBA_VERSION, "service_tier", es_asking_tier_name(a), "choices",
                                      choices, "usage", usage_of(t)),
                            err);
}

/* One chunk; delta, logprobs (those of a delta) and usage are taken over; without a delta there is only the usage. */
static void put_chunk(es_asking *a, int32_t index, json_t *delta, json_t *logprobs, const char *reason, json_t *usage)
{
    char id[64];
    snprintf(id, sizeof id, "chatcmpl-%s", a->id);
    json_t *choices = json_array();
    if (delta != NULL)
        json_array_append_new(choices, json_pack("{s:i, s:o, s:o, s:s?}", "index", index, "delta", delta, "logprobs",
                                                 logprobs, "finish_reason", reason));
    json_t *chunk = json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:o}", "id", id, "object", "chat.completion.chunk",
                              "created", (json_int_t)a->created, "model", a->name, "system_fingerprint",
                              "escriba-" ESCRIBA_VERSION, "service_tier", es_asking_tier_name(a), "choices", choices);
    if (usage != NULL)
        json_object_set_new(chunk, "usage", usage);
    es_str_append(&a->x->out, "data: ");
    es_exchange_json(a->x, chunk, NULL);
    es_str_append(&a->x->out, "\n\n");
}

/* The news of one choice; false when memory is short. */
static bool tell_choice(es_asking *a, int32_t i)
{
    const es_reply *r = &a->ticket->replies[i];
    bool done;
    if (a->told[i])
        return true;
    char *text = es_asking_news(a, i, &done);
    if (text == NULL)
        return false;
    if (!a->begun[i] && (*text != '\0' || done))
        put_chunk(a, i, json_pack("{s:s, s:s}", "role", "assistant", "content", ""), json_null(), NULL, NULL);
    a->begun[i] = a->begun[i] || *text != '\0' || done;
    if (*text != '\0')
        put_chunk(a, i, json_pack("{s:s}", "content", text), logprobs_of(a, i), NULL, NULL);
    free(text);
    a->told[i] = done;
    if (done && r->status != ES_OK) {
        es_str_append(&a->x->out, "data: ");
        es_exchange_error(a->x, &r->error);
        es_str_append(&a->x->out, "\n\n");
    } else if (done) {
        put_chunk(a, i, json_object(), logprobs_of(a, i), reason_of(r), NULL);
    }
    return true;
}

static bool more_chat(es_exchange *x)
{
    es_asking *a = x->stream;
    bool all = true;
    if (!es_asking_wait_news(a))
        return false;
    for (int32_t i = 0; i < a->ticket->choices; i++) {
        if (!tell_choice(a, i))
            return false;
        all = all && a->told[i];
    }
    if (!all)
        return true;
    es_ticket_wait_finished(a->ticket, 1e300);
    if (a->flag)
        put_chunk(a, 0, NULL, NULL, NULL, usage_of(a->ticket));
    es_str_append(&x->out, "data: [DONE]\n\n");
    return false;
}

es_status es_openai_chat(es_exchange *x, es_error *err)
{
    es_asking *a = NULL;
    es_status status = es_asking_begin(x, "model", &a, err);
    if (status == ES_OK)
        status = read_chat(a, err);
    if (status == ES_OK)
        status = es_asking_file(a, err);
    if (status == ES_OK)
        status = a->stream ? es_asking_wait_first(a, err) : whole_answer(a, err);
    if (status != ES_OK || !a->stream) {
        es_asking_free(a);
        return status;
    }
    x->stream = a;
    x->more = more_chat;
    x->end = es_asking_end;
    x->type = "text/event-stream";
    return ES_OK;
}

/* --- models --- */

static json_t *model_object(const es_catalog_entry *e)
{
    return json_pack("{s:s, s:s, s:I, s:s}", "id", e->name, "object", "model", "created", (json_int_t)e->modified,
                     "owned_by", "escriba");
}

es_status es_openai_models(es_exchange *x, es_error *err)
{
    const es_catalog *catalog = es_server_options_of(x->server)->catalog;
    es_catalog_entries list;
    json_t *data = json_array(), *one = NULL;
    char *name = NULL, *dir = NULL;
    es_status status = ES_OK;
    if (*x->rest != '\0') {
        status = es_catalog_find(catalog, x->rest, &name, &dir, err);
        x->code = status == ES_ERR_IO ? 404 : 0;
    }
    if (status == ES_OK)
        status = es_catalog_list(catalog, &list, err);
    if (status == ES_OK) {
        for (size_t i = 0; i < list.count; i++) {
            if (name == NULL)
                json_array_append_new(data, model_object(&list.items[i]));
            else if (one == NULL && strcmp(list.items[i].name, name) == 0)
                one = model_object(&list.items[i]);
        }
        status = es_exchange_json(x, name != NULL ? one : json_pack("{s:s, s:O}", "object", "list", "data", data), err);
        es_catalog_entries_free(&list);
    }
    json_decref(data);
    free(name);
    free(dir);
    return status;
}

es_status es_openai_unsupported(es_exchange *x, es_error *err)
{
    return es_exchange_fail(x, 400, err, ES_ERR_UNSUPPORTED,
                            "%s is not answered here: chat completions, responses and models are", x->path);
}
