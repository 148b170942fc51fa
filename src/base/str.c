#include "base/str.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

static bool reserve(es_str *s, size_t extra)
{
    if (s->failed || extra > SIZE_MAX - s->length - 1) {
        s->failed = true;
        return false;
    }
    void *data = s->data;
    if (es_grow(&data, &s->capacity, s->length + extra + 1, 1) != 0) {
        s->failed = true;
        return false;
    }
    s->data = data;
    return true;
}

void es_str_append_n(es_str *s, const char *bytes, size_t n)
{
    if (!reserve(s, n))
        return;
    if (n > 0)
        memcpy(s->data + s->length, bytes, n);
    s->length += n;
    s->data[s->length] = '\0';
}

void es_str_append(es_str *s, const char *text)
{
    es_str_append_n(s, text, strlen(text));
}

void es_str_append_format(es_str *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n >= 0 && reserve(s, (size_t)n)) {
        vsnprintf(s->data + s->length, (size_t)n + 1, format, again);
        s->length += (size_t)n;
    }
    va_end(again);
}

void es_str_append_json(es_str *s, const char *text)
{
    size_t n = strlen(text);
    es_str_append_n(s, "\"", 1);
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)text[i];
        size_t len = es_utf8_length(text + i, n - i);
        if (len == 0) {
            es_str_append(s, ES_UTF8_REPLACEMENT);
            i += es_utf8_broken(text + i, n - i);
            continue;
        }
        if (c == '"' || c == '\\')
            es_str_append_format(s, "\\%c", c);
        else if (c == '\n')
            es_str_append(s, "\\n");
        else if (c == '\t')
            es_str_append(s, "\\t");
        else if (c == '\r')
            es_str_append(s, "\\r");
        else if (c < 0x20 || c == 0x7F)
            es_str_append_format(s, "\\u%04x", c);
        else
            es_str_append_n(s, text + i, len);
        i += len;
    }
    es_str_append_n(s, "\"", 1);
}

void es_str_clear(es_str *s)
{
    s->length = 0;
    if (s->data != NULL)
        s->data[0] = '\0';
}

void es_str_free(es_str *s)
{
    free(s->data);
    *s = (es_str){0};
}

const char *es_str_text(const es_str *s)
{
    return s->data != NULL ? s->data : "";
}

es_status es_str_check(const es_str *s, es_error *err)
{
    return s->failed ? es_fail_memory(err, "a string", s->length) : ES_OK;
}

char *es_str_take(es_str *s, es_error *err)
{
    if (!s->failed && s->data == NULL)
        reserve(s, 0);
    if (s->failed) {
        es_str_check(s, err);
        es_str_free(s);
        return NULL;
    }
    char *data = s->data;
    data[s->length] = '\0';
    *s = (es_str){0};
    return data;
}
