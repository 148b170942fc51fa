/* openai_responses.c - the basics of OpenAI's responses: text and pictures in, text out, whole or streamed. Nothing is
 * stored. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "serve/asking.h"

#define MOST_TOKENS 1000000

static const char *const known[] = {"model",
                                    "input",
                                    "instructions",
                                    "stream",
                                    "stream_options",
                                    "temperature",
                                    "top_p",
                                    "top_k",
                                    "min_p",
                                    "repetition_penalty",
                                    "seed",
                                    "max_output_tokens",
                                    "text",
                                    "user",
                                    "metadata",
                                    "store",
                                    "service_tier",
                                    "priority",
                                    "safety_identifier",
                                    "prompt_cache_key",
                                    "prompt_cache_retention",
                                    "parallel_tool_calls",
                                    "truncation",
                                    "include",
                                    "tools",
                                    "tool_choice",
                                    "previous_response_id",
                                    "conversation",
                                    "background",
                                    "reasoning",
                                    "prompt",
                                    "top_logprobs",
                                    "max_tool_calls",
                                    NULL};
static const es_unheld unheld[] = {{"tools", "[]"},        {"previous_response_id", NULL},
                                   {"conversation", NULL}, {"background", "false"},
                                   {"reasoning", "{}"},    {"prompt", NULL},
                                   {"top_logprobs", "0"},  {"truncation", "\"disabled\""},
                                   {"include", "[]"},      {"max_tool_calls", NULL},
                                   {"store", "false"},     {"tool_choice", "\"none\""}};
static const es_unheld unheld_in_text[] = {{"verbosity", "\"medium\""}};

/* --- reading --- */

static es_status add_part(es_asking *a, const json_t *part, es_error *err)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    const char *text = json_string_value(json_object_get(part, "text"));
    const char *url = json_string_value(json_object_get(part, "image_url"));
    if (type != NULL && (strcmp(type, "input_text") == 0 || strcmp(type, "output_text") == 0) && text != NULL)
        return es_ticket_text(a->ticket, text, err);
    if (type != NULL && strcmp(type, "input_image") == 0 && url != NULL)
        return es_asking_picture(a, url, err);
    return es_fail(err, ES_ERR_UNSUPPORTED,
                   "an input part of type %.40s: input_text and input_image with image_url are "
                   "answered",
                   type != NULL ? type : "nothing");
}

static es_status add_item(es_asking *a, const json_t *item, es_error *err)
{
    const char *type = json_string_value(json_object_get(item, "type"));
    const char *name = json_string_value(json_object_get(item, "role"));
    const json_t *content = json_object_get(item, "content");
    if ((type != NULL && strcmp(type, "message") != 0) || name == NULL)
        return es_fail(err, ES_ERR_UNSUPPORTED, "an input item of type %.40s: messages are answered",
                       type != NULL ? type : "nothing");
    es_role role = strcmp(name, "system") == 0 || strcmp(name, "developer") == 0 ? ES_ROLE_SYSTEM
                   : strcmp(name, "assistant") == 0                              ? ES_ROLE_ASSISTANT
                                                                                 : ES_ROLE_USER;
    if (role == ES_ROLE_USER && strcmp(name, "user") != 0)
        return es_fail(err, ES_ERR_UNSUPPORTED, "an input's role %.40s", name);
    ES_TRY(es_ticket_turn(a->ticket, role, err));
    if (json_is_string(content))
        return es_ticket_text(a->ticket, json_string_value(content), err);
    if (!json_is_array(content))
        return es_fail(err, ES_ERR_FORMAT, "an input's content is neither a text nor a list");
    for (size_t i = 0; i < json_array_size(content); i++)
        ES_TRY(add_part(a, json_array_get(content, i), err));
    return ES_OK;
}

static es_status read_form(es_asking *a, es_error *err)
{
    const json_t *text = json_object_get(a->body, "text"), *format = json_object_get(text, "format");
    ES_TRY(es_refuse_unheld(text, unheld_in_text, 1, err));
    const char *type = json_string_value(json_object_get(format, "type"));
    if (format == NULL || json_is_null(format) || (type != NULL && strcmp(type, "text") == 0))
        return ES_OK;
    if (type != NULL && strcmp(type, "json_object") == 0)
        return es_asking_form(a, NULL, err);
    const json_t *schema = json_object_get(format, "schema");
    if (type == NULL || strcmp(type, "json_schema") != 0 || schema == NULL)
        return es_fail(err, ES_ERR_UNSUPPORTED,
                       "text.format: text, json_object, and json_schema with a schema are known");
    return es_asking_form(a, schema, err);
}

static es_status read_request(es_asking *a, es_error *err)
{
    const json_t *input = json_object_get(a->body, "input");
    const char *instructions = NULL;
    int64_t most = a->ticket->max_tokens;
    ES_TRY(es_refuse_unknown(a->body, known, err));
    ES_TRY(es_refuse_unheld(a->body, unheld, sizeof unheld / sizeof *unheld, err));
    ES_TRY(es_json_bool(a->body, "the request", "stream", false, &a->stream, err));
    ES_TRY(es_json_int(a->body, "the request", "max_output_tokens", false, 1, MOST_TOKENS, &most, err));
    a->ticket->max_tokens = (int32_t)most;
    ES_TRY(es_asking_sampling(a, a->body, "repetition_penalty", err));
    ES_TRY(es_asking_tier(a, err));
    ES_TRY(read_form(a, err));
    ES_TRY(es_json_string(a->body, "the request", "instructions", false, &instructions, err));
    if (instructions != NULL) {
        ES_TRY(es_ticket_turn(a->ticket, ES_ROLE_SYSTEM, err));
        ES_TRY(es_ticket_text(a->ticket, instructions, err));
    }
    if (json_is_string(input)) {
        ES_TRY(es_ticket_turn(a->ticket, ES_ROLE_USER, err));
        return es_ticket_text(a->ticket, json_string_value(input), err);
    }
    if (json_array_size(input) == 0)
        return es_fail(err, ES_ERR_FORMAT, "input is neither a text nor a list of messages");
    for (size_t i = 0; i < json_array_size(input); i++)
        ES_TRY(add_item(a, json_array_get(input, i), err));
    return ES_OK;
}

/* --- answering --- */

static json_t *text_part(const char *text)
{
    return json_pack("{s:s, s:s, s:[], s:[]}", "type", "output_text", "text", text, "annotations", "logprobs");
}

static json_t *message_item(const es_asking *a, const char *status, bool with_text)
{
    char id[64];
    json_t *content = json_array();
    snprintf(id, sizeof id, "msg_%s", a->id);
    if (with_text)
        json_array_append_new(content, text_part(es_str_text(&a->ticket->replies[0].text)));
    return json_pack("{s:s, s:s, s:s, s:s, s:o}", "type", "message", "id", id, "status", status, "role", "assistant",
                     "content", content);
}

/* The response as it is now. */
static json_t *response(const es_asking *a, bool done)
{
    const es_ticket *t = a->ticket;
    const es_reply *r = &t->replies[0];
    char id[64];
    const char *status = !done                ? "in_progress"
                         : r->status != ES_OK ? "failed"
                         : r->truncated       ? "incomplete"
                                              : "completed";
    snprintf(id, sizeof id, "resp_%s", a->id);
    json_t *out =
        json_pack("{s:s, s:s, s:I, s:s, s:s, s:n, s:n, s:n, s:b, s:[], s:s, s:{}, s:f, s:f, s:i, s:n, s:s}", "id", id,
                  "object", "response", "created_at", (json_int_t)a->created, "status", status, "model", a->name,
                  "error", "previous_response_id", "instructions", "store", false, "tools", "tool_choice", "none",
                  "metadata", "temperature", (double)t->sampling.temperature, "top_p", (double)t->sampling.top_p,
                  "max_output_tokens", t->max_tokens, "incomplete_details", "truncation", "disabled");
    if (out == NULL)
        return NULL;
    json_object_set_new(out, "parallel_tool_calls", json_false());
    json_object_set_new(out, "service_tier", json_string(es_asking_tier_name(a)));
    json_object_set_new(out, "output", json_array());
    json_object_set_new(out, "usage", json_null());
    if (done && r->status == ES_OK) {
        json_array_append_new(json_object_get(out, "output"),
                              message_item(a, r->truncated ? "incomplete" : "completed", true));
        json_object_set_new(out, "usage",
                            json_pack("{s:i, s:i, s:i, s:{s:i}, s:{s:i}}", "input_tokens", r->prompt_tokens,
                                      "output_tokens", r->tokens, "total_tokens", r->prompt_tokens + r->tokens,
                                      "input_tokens_details", "cached_tokens", r->cached_tokens,
                                      "output_tokens_details", "reasoning_tokens", 0));
        if (r->truncated)
            json_object_set_new(out, "incomplete_details", json_pack("{s:s}", "reason", "max_output_tokens"));
    } else if (done) {
        json_object_set_new(out, "error", json_pack("{s:s, s:s}", "code", "server_error", "message", r->error.message));
    }
    return out;
}

/* One event; `data` is taken over and gets its type and number. a->stage counts them. */
static void put_event(es_asking *a, const char *type, json_t *data)
{
    if (data != NULL) {
        json_object_set_new(data, "type", json_string(type));
        json_object_set_new(data, "sequence_number", json_integer(a->stage++));
    }
    es_str_append_format(&a->x->out, "event: %s\ndata: ", type);
    es_exchange_json(a->x, data, NULL);
    es_str_append(&a->x->out, "\n\n");
}

static json_t *at_part(const es_asking *a)
{
    char id[64];
    snprintf(id, sizeof id, "msg_%s", a->id);
    return json_pack("{s:s, s:i, s:i}", "item_id", id, "output_index", 0, "content_index", 0);
}

static void put_with(es_asking *a, const char *type, const char *key, json_t *value)
{
    json_t *data = at_part(a);
    json_object_set_new(data, key, value);
    put_event(a, type, data);
}

static void put_beginning(es_asking *a)
{
    put_event(a, "response.created", json_pack("{s:o}", "response", response(a, false)));
    put_event(a, "response.in_progress", json_pack("{s:o}", "response", response(a, false)));
    put_event(a, "response.output_item.added",
              json_pack("{s:i, s:o}", "output_index", 0, "item", message_item(a, "in_progress", false)));
    put_with(a, "response.content_part.added", "part", text_part(""));
}

static void put_end(es_asking *a)
{
    const es_reply *r = &a->ticket->replies[0];
    const char *text = es_str_text(&r->text);
    if (r->status != ES_OK) {
        put_event(a, "response.failed", json_pack("{s:o}", "response", response(a, true)));
        return;
    }
    json_t *done = at_part(a);
    json_object_set_new(done, "text", json_string(text));
    json_object_set_new(done, "logprobs", json_array());
    put_event(a, "response.output_text.done", done);
    put_with(a, "response.content_part.done", "part", text_part(text));
    put_event(a, "response.output_item.done",
              json_pack("{s:i, s:o}", "output_index", 0, "item",
                        message_item(a, r->truncated ? "incomplete" : "completed", true)));
    put_event(a, r->truncated ? "response.incomplete" : "response.completed",
              json_pack("{s:o}", "response", response(a, true)));
}

static bool more_response(es_exchange *x)
{
    es_asking *a = x->stream;
    bool done;
    if (a->stage == 0)
        put_beginning(a);
    if (!es_asking_wait_news(a))
        return false;
    char *text = es_asking_news(a, 0, &done);
    if (text == NULL)
        return false;
    if (*text != '\0') {
        json_t *delta = at_part(a);
        json_object_set_new(delta, "delta", json_string(text));
        json_object_set_new(delta, "logprobs", json_array());
        put_event(a, "response.output_text.delta", delta);
    }
    free(text);
    if (done) {
        es_ticket_wait_finished(a->ticket, INFINITY); /* so that it is counted when it is told */
        put_end(a);
    }
    return !done;
}

es_status es_openai_responses(es_exchange *x, es_error *err)
{
    es_asking *a = NULL;
    es_status status = es_asking_begin(x, "model", &a, err);
    if (status == ES_OK)
        status = read_request(a, err);
    if (status == ES_OK)
        status = es_asking_file(a, err);
    if (status == ES_OK)
        status = a->stream ? es_asking_wait_first(a, err) : es_asking_wait_all(a, err);
    if (status == ES_OK && !a->stream)
        status = es_exchange_json(x, response(a, true), err);
    if (status != ES_OK || !a->stream) {
        es_asking_free(a);
        return status;
    }
    x->stream = a;
    x->more = more_response;
    x->end = es_asking_end;
    x->type = "text/event-stream";
    return ES_OK;
}
