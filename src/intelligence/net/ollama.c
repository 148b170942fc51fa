/* ollama.c - POST /api/chat: pictures beside the text of their message, answers a JSON value a line. */
#include <string.h>

#include "intelligence/net/dialect.h"

static const char *const roles[] = {"system", "user", "assistant"};

/* Appends the items [first, end) of a message as one of the server's: a text, and pictures, which the server puts
 * before it. */
static void write_part(const es_question *q, const es_message *m, size_t first, size_t end, es_str *body)
{
    const char *between = "";
    es_str text = {0};
    es_str_append_format(body, "{\"role\":\"%s\",\"images\":[", roles[m->role]);
    for (size_t i = first; i < end; i++) {
        if (m->content[i].text != NULL) {
            es_str_append(&text, m->content[i].text);
            continue;
        }
        const es_str *picture = &q->pictures[m->content[i].image];
        es_str_append(body, between);
        es_str_append(body, "\"");
        es_str_append_n(body, es_str_text(picture), picture->length);
        es_str_append(body, "\"");
        between = ",";
    }
    es_str_append(body, "],\"content\":");
    es_str_append_json(body, es_str_text(&text));
    es_str_append(body, "}");
    body->failed = body->failed || text.failed;
    es_str_free(&text);
}

/* So that all stays in its order, what begins with a text (a label) goes as one message an item: label, picture, label,
 * picture, ..., question. */
static void write_message(const es_question *q, const es_message *m, es_str *body)
{
    bool labelled = m->count > 0 && m->content[0].text != NULL;
    size_t step = labelled || m->count == 0 ? 1 : m->count;
    if (m->count == 0)
        write_part(q, m, 0, 0, body);
    for (size_t i = 0; i < m->count; i += step) {
        es_str_append(body, i > 0 ? "," : "");
        write_part(q, m, i, i + step, body);
    }
}

static es_status write_question(const es_question *q, es_str *body, es_error *err)
{
    const es_sampling *s = q->sampling;
    es_str_append(body, "{\"model\":");
    es_str_append_json(body, q->model);
    es_str_append_format(body, ",\"stream\":%s,\"messages\":[", q->stream ? "true" : "false");
    for (size_t i = 0; i < q->message_count; i++) {
        es_str_append(body, i > 0 ? "," : "");
        write_message(q, &q->messages[i], body);
    }
    es_str_append_format(body, "],\"options\":{\"num_predict\":%d,\"temperature\":%.9g,\"repeat_penalty\":%.9g",
                         q->max_tokens, (double)s->temperature, (double)s->repetition_penalty);
    if (s->temperature > 0) /* the server's own defaults must not stand in for "off" */
        es_str_append_format(body, ",\"top_k\":%d,\"top_p\":%.9g,\"min_p\":%.9g,\"seed\":%llu", s->top_k,
                             (double)s->top_p, (double)s->min_p, (unsigned long long)(s->seed & INT32_MAX));
    if (q->context > 0)
        es_str_append_format(body, ",\"num_ctx\":%d", q->context);
    es_str_append(body, "}");
    if (q->think != NULL)
        es_str_append_format(body, ",\"think\":%s", q->think);
    if (q->keep_alive != NULL)
        es_str_append_format(body, ",\"keep_alive\":%s", q->keep_alive);
    if (q->record_schema) {
        es_str_append(body, ",\"format\":");
        es_append_record_schema(body);
    }
    es_str_append(body, "}");
    return es_str_check(body, err);
}

/* Nanoseconds. */
static double seconds_of(const json_t *object, const char *key)
{
    const json_t *item = json_object_get(object, key);
    double seconds = json_is_integer(item) ? 1e-9 * (double)json_integer_value(item) : 0;
    return seconds > 0 ? seconds : 0;
}

static es_status read_value(es_reading *r, const json_t *value, es_error *err)
{
    const char *complaint = es_server_complaint(value);
    if (complaint != NULL)
        return es_fail(err, ES_ERR_NETWORK, "%.300s", complaint);
    const json_t *message = json_object_get(value, "message");
    const json_t *content = json_object_get(message, "content");
    const json_t *done = json_object_get(value, "done");
    if (r->ended || !json_is_object(value) || (message != NULL && !json_is_object(message)) ||
        (content != NULL && !json_is_string(content)) || !json_is_boolean(done) ||
        (message == NULL && !json_is_true(done)))
        return es_fail(err, ES_ERR_FORMAT, "the answer is not one of /api/chat");
    if (content != NULL)
        ES_TRY(es_reading_add(r, json_string_value(content), err));
    if (!json_is_true(done))
        return ES_OK;
    const char *reason = json_string_value(json_object_get(value, "done_reason"));
    r->ended = true;
    r->truncated = reason != NULL && strcmp(reason, "length") == 0;
    r->prompt_tokens = es_count_of(value, "prompt_eval_count");
    r->generated_tokens = es_count_of(value, "eval_count");
    r->seconds_prefill = seconds_of(value, "prompt_eval_duration");
    r->seconds_generate = seconds_of(value, "eval_duration");
    return ES_OK;
}

const es_dialect es_dialect_ollama = {"ollama", "/api/chat", write_question, read_value};
