/* openai.c - POST /chat/completions: pictures as data URIs in their places, answers as server-sent events. */
#include <string.h>

#include "intelligence/net/dialect.h"

static const char *const roles[] = {"system", "user", "assistant"};

static void write_message(const es_question *q, const es_message *m, es_str *body)
{
    es_str_append_format(body, "{\"role\":\"%s\",\"content\":", roles[m->role]);
    if (m->count == 1 && m->content[0].text != NULL) { /* some servers know nothing else for words alone */
        es_str_append_json(body, m->content[0].text);
        es_str_append(body, "}");
        return;
    }
    es_str_append(body, "[");
    for (size_t i = 0; i < m->count; i++) {
        es_str_append(body, i > 0 ? "," : "");
        if (m->content[i].text != NULL) {
            es_str_append(body, "{\"type\":\"text\",\"text\":");
            es_str_append_json(body, m->content[i].text);
            es_str_append(body, "}");
        } else {
            const es_str *picture = &q->pictures[m->content[i].image];
            es_str_append(body, "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,");
            es_str_append_n(body, es_str_text(picture), picture->length);
            es_str_append(body, "\"}}");
        }
    }
    es_str_append(body, "]}");
}

static es_status write_question(const es_question *q, const char **path, es_str *body, es_error *err)
{
    *path = "/chat/completions";
    const es_sampling *s = q->sampling;
    es_str_append(body, "{\"model\":");
    es_str_append_json(body, q->model);
    es_str_append(body, ",\"messages\":[");
    for (size_t i = 0; i < q->message_count; i++) {
        es_str_append(body, i > 0 ? "," : "");
        write_message(q, &q->messages[i], body);
    }
    es_str_append_format(body, "],\"max_tokens\":%d,\"temperature\":%.9g", q->max_tokens, (double)s->temperature);
    if (s->temperature > 0)
        es_str_append_format(body, ",\"top_p\":%.9g,\"seed\":%llu", (double)s->top_p,
                             (unsigned long long)(s->seed & INT32_MAX));
    /* Not OpenAI's own, but what its kin call them: sent only when they were asked for. */
    if (s->temperature > 0 && s->top_k > 0)
        es_str_append_format(body, ",\"top_k\":%d", s->top_k);
    if (s->temperature > 0 && s->min_p > 0)
        es_str_append_format(body, ",\"min_p\":%.9g", (double)s->min_p);
    if (s->repetition_penalty > 1.0f || s->repetition_penalty < 1.0f)
        es_str_append_format(body, ",\"repetition_penalty\":%.9g,\"repeat_penalty\":%.9g",
                             (double)s->repetition_penalty, (double)s->repetition_penalty);
    if (q->stream)
        es_str_append(body, ",\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    if (q->record_schema) {
        es_str_append(body, ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"record\","
                            "\"strict\":true,\"schema\":");
        es_append_record_schema(body);
        es_str_append(body, "}}");
    }
    es_str_append(body, "}");
    return es_str_check(body, err);
}

static es_status read_choice(es_reading *r, const json_t *choice, es_error *err)
{
    const json_t *delta = json_object_get(choice, "delta");
    const json_t *message = delta != NULL ? delta : json_object_get(choice, "message");
    const json_t *content = json_object_get(message, "content");
    const json_t *reason = json_object_get(choice, "finish_reason");
    bool wrong = !json_is_object(choice) || (message != NULL && !json_is_object(message)) ||
                 (content != NULL && !json_is_string(content) && !json_is_null(content)) ||
                 (reason != NULL && !json_is_string(reason) && !json_is_null(reason));
    if (wrong || (message == NULL && reason == NULL))
        return es_fail(err, ES_ERR_FORMAT, "the answer is not a chat completion");
    if (json_is_string(content))
        ES_TRY(es_reading_add(r, json_string_value(content), err));
    if (json_is_string(reason)) {
        r->ended = true;
        r->truncated = strcmp(json_string_value(reason), "length") == 0;
    }
    return ES_OK;
}

static es_status read_value(es_reading *r, const json_t *value, es_error *err)
{
    const json_t *choices = json_object_get(value, "choices");
    const char *complaint = choices == NULL ? es_server_complaint(value) : NULL;
    if (complaint != NULL)
        return es_fail(err, ES_ERR_NETWORK, "%.300s", complaint);
    if (!json_is_object(value) || !json_is_array(choices))
        return es_fail(err, ES_ERR_FORMAT, "the answer is not a chat completion");
    if (json_array_size(choices) > 0)
        ES_TRY(read_choice(r, json_array_get(choices, 0), err));
    const json_t *usage = json_object_get(value, "usage");
    if (json_is_object(usage)) {
        r->prompt_tokens = es_count_of(usage, "prompt_tokens");
        r->generated_tokens = es_count_of(usage, "completion_tokens");
        if (r->prompt_tokens == 0 && r->generated_tokens == 0) { /* mlx_vlm's names */
            r->prompt_tokens = es_count_of(usage, "input_tokens");
            r->generated_tokens = es_count_of(usage, "output_tokens");
        }
    }
    return ES_OK;
}

const es_dialect es_dialect_openai = {"openai", write_question, read_value};
