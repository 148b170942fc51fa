/* stream.c - lines, server-sent events, JSON. Which of the two it is, the first word tells. */
#include "intelligence/net/stream.h"

#include <string.h>

#include "base/json.h"

/* The beginning of what was no JSON, on one line, for a person. */
static es_status not_json(const char *text, size_t n, es_error *err)
{
    char shown[64];
    size_t k = 0;
    for (size_t i = 0; i < n && k < sizeof shown - 1; i++) {
        unsigned char c = (unsigned char)text[i];
        shown[k++] = c >= 0x20 && c < 0x7F ? (char)c : '?';
    }
    shown[k] = '\0';
    return es_fail(err, ES_ERR_FORMAT, "the answer is not JSON: \"%s\"%s", shown, n > k ? "..." : "");
}

static es_status give(es_stream *s, const char *text, size_t n, es_error *err)
{
    json_t *root = NULL;
    es_error own = {0};
    es_status status = es_json_parse(&root, text, n, "answer", &own);
    if (status == ES_ERR_MEMORY)
        return es_fail_memory(err, "an answer", n);
    if (status != ES_OK)
        return not_json(text, n, err);
    status = s->value(s->context, root, err);
    json_decref(root);
    return status;
}

static es_status give_data(es_stream *s, es_error *err)
{
    es_status status = ES_OK;
    const char *text = es_str_text(&s->data);
    if (s->data.length == 6 && memcmp(text, "[DONE]", 6) == 0)
        s->done = true;
    else if (s->data.length > 0)
        status = give(s, text, s->data.length, err);
    es_str_clear(&s->data);
    return status;
}

static es_status keep(es_stream *s, const char *text, size_t n, es_error *err)
{
    if (n > ES_STREAM_LINE || s->data.length + n > ES_STREAM_LINE)
        return es_fail(err, ES_ERR_LIMIT, "the answer has an event of more than %zu bytes", ES_STREAM_LINE);
    es_str_append_n(&s->data, text, n);
    return es_str_check(&s->data, err);
}

/* A line of server-sent events: "data: ...", "event: ...", a comment, or the blank one that ends an event. */
static es_status read_event_line(es_stream *s, const char *text, size_t n, es_error *err)
{
    if (n == 0)
        return give_data(s, err);
    if (n < 5 || memcmp(text, "data:", 5) != 0)
        return ES_OK;
    size_t skip = n > 5 && text[5] == ' ' ? 6 : 5;
    if (s->data.length > 0)
        ES_TRY(keep(s, "\n", 1, err));
    return keep(s, text + skip, n - skip, err);
}

static bool begins_events(const char *text, size_t n)
{
    static const char *const words[] = {"data:", "event:", "id:", "retry:", ":"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t len = strlen(words[i]);
        if (n >= len && memcmp(text, words[i], len) == 0)
            return true;
    }
    return false;
}

/* A line that is not of an event: a whole JSON value, or a piece of one that was laid out on several lines. */
static es_status read_json_line(es_stream *s, const char *text, size_t n, es_error *err)
{
    bool whole = s->data.length == 0 && n > 1 && text[0] == '{' && text[n - 1] == '}';
    if (whole)
        return give(s, text, n, err);
    if (n == 0)
        return ES_OK;
    if (s->data.length == 0 && text[0] != '{' && text[0] != '[')
        return not_json(text, n, err);
    ES_TRY(keep(s, text, n, err));
    return keep(s, "\n", 1, err);
}

static es_status read_line(es_stream *s, es_error *err)
{
    const char *text = es_str_text(&s->line);
    size_t n = s->line.length;
    while (n > 0 && (text[n - 1] == '\r' || (!s->events && (text[n - 1] == ' ' || text[n - 1] == '\t'))))
        n--;
    if (!s->events && s->data.length == 0 && begins_events(text, n))
        s->events = true;
    es_status status = s->events ? read_event_line(s, text, n, err) : read_json_line(s, text, n, err);
    es_str_clear(&s->line);
    return status;
}

es_status es_stream_feed(es_stream *s, const char *bytes, size_t size, es_error *err)
{
    while (size > 0) {
        const char *end = memchr(bytes, '\n', size);
        size_t n = end != NULL ? (size_t)(end - bytes) : size;
        if (n > ES_STREAM_LINE - s->line.length)
            return es_fail(err, ES_ERR_LIMIT, "the answer has a line of more than %zu bytes", ES_STREAM_LINE);
        es_str_append_n(&s->line, bytes, n);
        ES_TRY(es_str_check(&s->line, err));
        if (end == NULL)
            return ES_OK;
        ES_TRY(read_line(s, err));
        bytes += n + 1;
        size -= n + 1;
    }
    return ES_OK;
}

es_status es_stream_end(es_stream *s, es_error *err)
{
    if (s->line.length > 0)
        ES_TRY(read_line(s, err));
    return give_data(s, err);
}

void es_stream_free(es_stream *s)
{
    es_str_free(&s->line);
    es_str_free(&s->data);
}
