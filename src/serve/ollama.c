/* ollama.c - Ollama's chat and generate. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/thread.h"
#include "serve/asking.h"

#define MOST_TOKENS 1000000
#define MOST_STOPS 64
#define ENDLESS 8192 /* tokens, where a request wants no limit or all of the context */

/* What would change the answer and is not held here; sizes of context and hints about hardware have no effect. */
static const es_unheld unheld_options[] = {
    {"mirostat", "0"}, {"tfs_z", "1"}, {"typical_p", "1"}, {"repeat_last_n", "64"}, {"penalize_newline", "false"}};
static const es_unheld unheld_in_message[] = {{"tool_calls", "[]"}, {"tool_name", "\"\""}, {"thinking", "\"\""}};
static const es_unheld unheld[] = {{"tools", "[]"},   {"suffix", "\"\""},    {"template", "\"\""}, {"raw", "false"},
                                   {"context", "[]"}, {"truncate", "false"}, {"shift", "false"}};

/* --- reading --- */

/* Milliseconds from a number of seconds, or a text such as "5m", "1h30m", "300ms", "-1". */
static es_status read_keep(es_asking *a, es_error *err)
{
    const json_t *given = json_object_get(a->body, "keep_alive");
    const char *text = json_string_value(given);
    double seconds = json_number_value(given);
    if (given == NULL || json_is_null(given))
        return ES_OK;
    if (text != NULL) {
        char *end;
        bool negative = *text == '-', any = false;
        for (seconds = 0, text += negative; *text != '\0'; text = end) {
            double part = strtod(text, &end);
            if (end == text || !(part >= 0))
                return es_fail(err, ES_ERR_FORMAT, "keep_alive: not a duration such as \"5m\"");
            size_t unit = strspn(end, "msh");
            double scale = unit == 2 && end[0] == 'm' && end[1] == 's' ? 0.001
                           : unit == 1 && *end == 'm'                  ? 60
                           : unit == 1 && *end == 'h'                  ? 3600
                           : unit == 1 && *end == 's'                  ? 1
                           : unit == 0 && *end == '\0' && !any         ? 1
                                                                       : -1;
            if (scale < 0)
                return es_fail(err, ES_ERR_FORMAT, "keep_alive: not a duration such as \"5m\"");
            seconds += part * scale;
            end += unit;
            any = true;
        }
        seconds = negative ? -1 : seconds;
    } else if (!json_is_number(given)) {
        return es_fail(err, ES_ERR_FORMAT, "keep_alive: neither a number of seconds nor a duration");
    }
    a->ticket->keep_ms = seconds < 0 || seconds > 1e9 ? ES_KEEP_FOREVER : (int64_t)(seconds * 1000);
    return ES_OK;
}

static es_status read_options(es_asking *a, es_error *err)
{
    const json_t *options = json_object_get(a->body, "options");
    int64_t most = a->ticket->max_tokens;
    if (options == NULL || json_is_null(options))
        return ES_OK;
    if (!json_is_object(options))
        return es_fail(err, ES_ERR_FORMAT, "options is not an object");
    ES_TRY(es_refuse_unheld(options, unheld_options, sizeof unheld_options / sizeof *unheld_options, err));
    ES_TRY(es_asking_sampling(a, options, "repeat_penalty", err));
    ES_TRY(es_asking_stops(a, json_object_get(options, "stop"), MOST_STOPS, err));
    ES_TRY(es_json_int(options, "options", "num_predict", false, -2, MOST_TOKENS, &most, err));
    a->ticket->max_tokens = most <= 0 ? ENDLESS : (int32_t)most;
    return ES_OK;
}

static es_status read_common(es_asking *a, es_error *err)
{
    const json_t *format = json_object_get(a->body, "format");
    a->stream = true;
    ES_TRY(es_refuse_unheld(a->body, unheld, sizeof unheld / sizeof *unheld, err));
    const json_t *think = json_object_get(a->body, "think");
    if (think != NULL && !json_is_null(think) && !json_is_false(think))
        return es_fail(err, ES_ERR_UNSUPPORTED, "%.100s does not think: leave think out, or give false", a->name);
    ES_TRY(es_json_bool(a->body, "the request", "stream", false, &a->stream, err));
    ES_TRY(es_asking_logprobs(a, err));
    ES_TRY(read_keep(a, err));
    ES_TRY(read_options(a, err));
    if (format == NULL || json_is_null(format) || (json_is_string(format) && *json_string_value(format) == '\0'))
        return ES_OK;
    if (json_is_string(format) && strcmp(json_string_value(format), "json") != 0)
        return es_fail(err, ES_ERR_UNSUPPORTED, "format is \"json\" or a schema");
    return es_asking_form(a, json_is_string(format) ? NULL : format, err);
}

static es_status add_pictures(es_asking *a, const json_t *of, es_error *err)
{
    const json_t *images = json_object_get(of, "images");
    if (images != NULL && !json_is_null(images) && !json_is_array(images))
        return es_fail(err, ES_ERR_FORMAT, "images is not a list");
    for (size_t i = 0; i < json_array_size(images); i++) {
        const char *given = json_string_value(json_array_get(images, i));
        if (given == NULL)
            return es_fail(err, ES_ERR_FORMAT, "an image is not a text of base64");
        ES_TRY(es_asking_picture(a, given, err));
    }
    return ES_OK;
}

static es_status add_message(es_asking *a, const json_t *message, es_error *err)
{
    const char *name = NULL, *text = "";
    if (!json_is_object(message))
        return es_fail(err, ES_ERR_FORMAT, "a message is not an object");
    ES_TRY(es_refuse_unheld(message, unheld_in_message, sizeof unheld_in_message / sizeof *unheld_in_message, err));
    ES_TRY(es_json_string(message, "a message", "role", true, &name, err));
    ES_TRY(es_json_string(message, "a message", "content", false, &text, err));
    es_role role = strcmp(name, "system") == 0      ? ES_ROLE_SYSTEM
                   : strcmp(name, "assistant") == 0 ? ES_ROLE_ASSISTANT
                                                    : ES_ROLE_USER;
    if (role == ES_ROLE_USER && strcmp(name, "user") != 0)
        return es_fail(err, ES_ERR_UNSUPPORTED, "a message's role %.40s: system, user and assistant are answered",
                       name);
    ES_TRY(es_ticket_turn(a->ticket, role, err));
    ES_TRY(add_pictures(a, message, err));
    return *text != '\0' || json_array_size(json_object_get(message, "images")) == 0
               ? es_ticket_text(a->ticket, text, err)
               : ES_OK;
}

static es_status read_chat(es_asking *a, es_error *err)
{
    const json_t *messages = json_object_get(a->body, "messages");
    ES_TRY(read_common(a, err));
    if (messages != NULL && !json_is_null(messages) && !json_is_array(messages))
        return es_fail(err, ES_ERR_FORMAT, "messages is not a list");
    for (size_t i = 0; i < json_array_size(messages); i++)
        ES_TRY(add_message(a, json_array_get(messages, i), err));
    return ES_OK;
}

static es_status read_generate(es_asking *a, es_error *err)
{
    const char *system = "", *prompt = "";
    ES_TRY(read_common(a, err));
    ES_TRY(es_json_string(a->body, "the request", "system", false, &system, err));
    ES_TRY(es_json_string(a->body, "the request", "prompt", false, &prompt, err));
    a->flag = true;
    if (*prompt == '\0' && json_array_size(json_object_get(a->body, "images")) == 0)
        return ES_OK;
    if (*system != '\0') {
        ES_TRY(es_ticket_turn(a->ticket, ES_ROLE_SYSTEM, err));
        ES_TRY(es_ticket_text(a->ticket, system, err));
    }
    ES_TRY(es_ticket_turn(a->ticket, ES_ROLE_USER, err));
    ES_TRY(add_pictures(a, a->body, err));
    return es_ticket_text(a->ticket, prompt, err);
}

/* --- answering --- */

static json_t *line_of(const es_asking *a, const char *text, bool done)
{
    char now[40];
    es_time_text(now);
    json_t *line = json_pack("{s:s, s:s}", "model", a->name, "created_at", now);
    if (line == NULL)
        return NULL;
    if (a->flag)
        json_object_set_new(line, "response", json_string(text));
    else
        json_object_set_new(line, "message", json_pack("{s:s, s:s}", "role", "assistant", "content", text));
    json_object_set_new(line, "done", json_boolean(done));
    return line;
}

static json_int_t nanoseconds(double seconds)
{
    return seconds > 0 ? (json_int_t)llround(seconds * 1e9) : 0;
}

static json_t *last_line(const es_asking *a, const char *text, const char *reason)
{
    const es_ticket *t = a->ticket;
    const es_reply *r = &t->replies[0];
    json_t *line = line_of(a, text, true);
    if (line == NULL)
        return NULL;
    json_object_set_new(line, "done_reason", json_string(reason));
    json_object_set_new(line, "total_duration", json_integer(nanoseconds(es_now() - t->filed)));
    json_object_set_new(line, "load_duration", json_integer(nanoseconds(t->loaded_seconds)));
    if (t->kind == ES_TICKET_LOAD)
        return line;
    json_object_set_new(line, "prompt_eval_count", json_integer(r->prompt_tokens));
    json_object_set_new(line, "prompt_eval_duration",
                        json_integer(nanoseconds(r->seconds_vision + r->seconds_prefill)));
    json_object_set_new(line, "eval_count", json_integer(r->tokens));
    json_object_set_new(line, "eval_duration", json_integer(nanoseconds(r->seconds_generate)));
    return line;
}

static const char *reason_of(const es_ticket *t)
{
    if (t->kind == ES_TICKET_LOAD)
        return t->keep_ms == 0 ? "unload" : "load";
    return t->replies[0].truncated ? "length" : "stop";
}

/* The line with how likely its tokens were, when that is asked for. */
static json_t *with_scores(es_asking *a, json_t *line)
{
    json_t *list = es_asking_scores(a, 0);
    if (line != NULL && json_array_size(list) > 0)
        json_object_set(line, "logprobs", list);
    json_decref(list);
    return line;
}

static bool more_lines(es_exchange *x)
{
    es_asking *a = x->stream;
    const es_reply *r = &a->ticket->replies[0];
    bool done;
    if (!es_asking_wait_news(a))
        return false;
    char *text = es_asking_news(a, 0, &done);
    if (text == NULL)
        return false;
    if (*text != '\0') {
        es_exchange_json(x, with_scores(a, line_of(a, text, false)), NULL);
        es_str_append(&x->out, "\n");
    }
    free(text);
    if (!done)
        return true;
    es_ticket_wait_finished(a->ticket, INFINITY); /* so that it is counted when it is told */
    if (r->status != ES_OK)
        es_exchange_error(x, &r->error);
    else
        es_exchange_json(x, with_scores(a, last_line(a, "", reason_of(a->ticket))), NULL);
    es_str_append(&x->out, "\n");
    return false;
}

static es_status answer(es_exchange *x, es_status (*read)(es_asking *a, es_error *err), es_error *err)
{
    es_asking *a = NULL;
    es_status status = es_asking_begin(x, "model", &a, err);
    if (status == ES_OK)
        status = read(a, err);
    if (status == ES_OK && a->ticket->message_count == 0)
        a->ticket->kind = ES_TICKET_LOAD; /* as Ollama does: an empty request loads, or with keep_alive 0 unloads */
    if (status == ES_OK)
        status = es_asking_file(a, err);
    if (status == ES_OK)
        status = a->stream ? es_asking_wait_first(a, err) : es_asking_wait_all(a, err);
    if (status == ES_OK && !a->stream)
        status = es_exchange_json(
            x, with_scores(a, last_line(a, es_str_text(&a->ticket->replies[0].text), reason_of(a->ticket))), err);
    if (status != ES_OK || !a->stream) {
        es_asking_free(a);
        return status;
    }
    x->stream = a;
    x->more = more_lines;
    x->end = es_asking_end;
    x->type = "application/x-ndjson";
    return ES_OK;
}

es_status es_ollama_chat(es_exchange *x, es_error *err)
{
    return answer(x, read_chat, err);
}

es_status es_ollama_generate(es_exchange *x, es_error *err)
{
    return answer(x, read_generate, err);
}
