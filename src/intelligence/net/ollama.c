/* ollama.c - POST /api/chat: pictures beside the text of their message, answers a JSON value a line. Where words come
 * before pictures, as with labels, the pictures must be kept in their places: three ways of that, as the model has it.
 */
#include <string.h>

#include "intelligence/net/dialect.h"

static const char *const roles[] = {"system", "user", "assistant"};

/* --- where pictures go --- */

/* A picture after words of its own message is out of place when the server puts it first. */
static bool labelled(const es_message *m)
{
    bool words = false;
    for (size_t i = 0; i < m->count; i++) {
        if (words && m->content[i].text == NULL)
            return true;
        words = words || m->content[i].text != NULL;
    }
    return false;
}

/* Words that look like a mark would get a picture, too. */
static bool mentions_marks(const es_message *m)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->content[i].text != NULL && strstr(m->content[i].text, "[img") != NULL)
            return true;
    return false;
}

static es_placing placing_of(const es_question *q)
{
    bool needed = false;
    for (size_t i = 0; i < q->message_count; i++) {
        needed = needed || labelled(&q->messages[i]);
        if (mentions_marks(&q->messages[i]))
            return ES_PLACING_TURNS;
    }
    return needed ? q->placing : ES_PLACING_TURNS;
}

static void write_picture(const es_question *q, int32_t image, const char *before, es_str *body)
{
    const es_str *picture = &q->pictures[image];
    es_str_append(body, before);
    es_str_append(body, "\"");
    es_str_append_n(body, es_str_text(picture), picture->length);
    es_str_append(body, "\"");
}

/* Appends the items [first, end) of a message as one of the server's: a text, and pictures, which the server puts
 * before it or at the marks. */
static void write_part(const es_question *q, const es_message *m, size_t first, size_t end, bool marks, es_str *body)
{
    const char *between = "";
    es_str text = {0};
    es_str_append_format(body, "{\"role\":\"%s\",\"images\":[", roles[m->role]);
    for (size_t i = first; i < end; i++) {
        if (m->content[i].text != NULL) {
            es_str_append(&text, m->content[i].text);
            continue;
        }
        es_str_append(&text, marks ? "[img]" : "");
        write_picture(q, m->content[i].image, between, body);
        between = ",";
    }
    es_str_append(body, "],\"content\":");
    es_str_append_json(body, es_str_text(&text));
    es_str_append(body, "}");
    body->failed = body->failed || text.failed;
    es_str_free(&text);
}

/* A message; as turns one with labels goes as one message an item: label, picture, label, picture, ..., question. */
static void write_message(const es_question *q, const es_message *m, es_placing placing, es_str *body)
{
    size_t step = placing == ES_PLACING_TURNS && labelled(m) ? 1 : m->count;
    if (m->count == 0)
        write_part(q, m, 0, 0, false, body);
    for (size_t i = 0; i < m->count; i += step) {
        es_str_append(body, i > 0 ? "," : "");
        write_part(q, m, i, i + step, placing == ES_PLACING_MARKS && labelled(m), body);
    }
}

static void write_messages(const es_question *q, es_placing placing, es_str *body)
{
    es_str_append(body, ",\"messages\":[");
    for (size_t i = 0; i < q->message_count; i++) {
        es_str_append(body, i > 0 ? "," : "");
        write_message(q, &q->messages[i], placing, body);
    }
    es_str_append(body, "]");
}

/* The prompt as Qwen3-VL's chat template writes it (model/chat.h), with the server's numbers for the pictures. */
static void write_whole(const es_question *q, es_str *body)
{
    int32_t pictures = 0;
    es_str prompt = {0};
    es_str_append(body, ",\"raw\":true,\"images\":[");
    for (size_t i = 0; i < q->message_count; i++) {
        const es_message *m = &q->messages[i];
        es_str_append_format(&prompt, "<|im_start|>%s\n", roles[m->role]);
        for (size_t k = 0; k < m->count; k++) {
            if (m->content[k].text != NULL) {
                es_str_append(&prompt, m->content[k].text);
                continue;
            }
            write_picture(q, m->content[k].image, pictures > 0 ? "," : "", body);
            es_str_append_format(&prompt, "[img-%d]", pictures++);
        }
        es_str_append(&prompt, "<|im_end|>\n");
    }
    es_str_append(&prompt, "<|im_start|>assistant\n");
    es_str_append(body, "],\"prompt\":");
    es_str_append_json(body, es_str_text(&prompt));
    body->failed = body->failed || prompt.failed;
    es_str_free(&prompt);
}

/* --- the question --- */

static es_status write_question(const es_question *q, const char **path, es_str *body, es_error *err)
{
    const es_sampling *s = q->sampling;
    es_placing placing = placing_of(q);
    *path = placing == ES_PLACING_WHOLE ? "/api/generate" : "/api/chat";
    es_str_append(body, "{\"model\":");
    es_str_append_json(body, q->model);
    es_str_append_format(body, ",\"stream\":%s", q->stream ? "true" : "false");
    if (placing == ES_PLACING_WHOLE)
        write_whole(q, body);
    else
        write_messages(q, placing, body);
    es_str_append_format(body, ",\"options\":{\"num_predict\":%d,\"temperature\":%.9g,\"repeat_penalty\":%.9g",
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

/* --- the answer --- */

/* Nanoseconds. */
static double seconds_of(const json_t *object, const char *key)
{
    const json_t *item = json_object_get(object, key);
    double seconds = json_is_integer(item) ? 1e-9 * (double)json_integer_value(item) : 0;
    return seconds > 0 ? seconds : 0;
}

/* /api/generate has its words in "response", /api/chat in a message. */
static es_status read_value(es_reading *r, const json_t *value, es_error *err)
{
    const char *complaint = es_server_complaint(value);
    if (complaint != NULL)
        return es_fail(err, ES_ERR_NETWORK, "%.300s", complaint);
    const json_t *message = json_object_get(value, "message");
    const json_t *content =
        json_object_get(message != NULL ? message : value, message != NULL ? "content" : "response");
    const json_t *done = json_object_get(value, "done");
    if (r->ended || !json_is_object(value) || (message != NULL && !json_is_object(message)) ||
        (content != NULL && !json_is_string(content)) || !json_is_boolean(done) ||
        (message == NULL && content == NULL && !json_is_true(done)))
        return es_fail(err, ES_ERR_FORMAT, "the answer is not one of /api/chat or /api/generate");
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

const es_dialect es_dialect_ollama = {"ollama", write_question, read_value};
