#include "intelligence/record_text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/utf8.h"

/* Longest text in brackets between a frame's number and its colon. */
#define LABEL_NOTE_MAX 60

bool es_is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

bool es_starts_with(const char *at, size_t n, const char *word)
{
    size_t i = 0;
    for (; word[i] != '\0' && i < n; i++)
        if (tolower((unsigned char)at[i]) != word[i])
            return false;
    return word[i] == '\0';
}

/* The length of a thinking tag at `at`, or 0. */
static size_t thinking_tag(const char *at, size_t n, bool closing)
{
    static const char *const tags[2][4] = {{"<think>", "<thinking>", "<|think|>", "<thought>"},
                                           {"</think>", "</thinking>", "<|/think|>", "</thought>"}};
    for (size_t i = 0; i < 4; i++)
        if (es_starts_with(at, n, tags[closing][i]))
            return strlen(tags[closing][i]);
    return 0;
}

static void append_clean(es_str *out, const char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n;) {
        size_t len = es_utf8_length(text + i, n - i);
        unsigned char c = (unsigned char)text[i];
        if (len == 0)
            es_str_append(out, "\xEF\xBF\xBD");
        else if (c == '\r')
            es_str_append(out, text[i + 1] == '\n' ? "" : "\n");
        else if (c == '\n' || (c >= 0x20 && c != 0x7F))
            es_str_append_n(out, text + i, len);
        else
            es_str_append(out, " ");
        i += len == 0 ? 1 : len;
    }
}

/* Cuts the thinking out of text, in place. */
static bool cut_thinking(char *text)
{
    size_t n = strlen(text), out = 0, open = 0; /* open: where the output stood at an opening tag */
    bool inside = false;
    for (size_t i = 0; i < n;) {
        size_t begin = thinking_tag(text + i, n - i, false), end = thinking_tag(text + i, n - i, true);
        if (begin > 0) {
            if (!inside)
                open = out;
            inside = true;
        }
        if (end > 0) {
            out = inside ? open : 0;
            inside = false;
        }
        if (begin + end > 0)
            i += begin + end;
        else
            text[out++] = text[i++];
    }
    text[out] = '\0';
    return inside;
}

es_status es_record_clean(const char *text, char **clean, bool *unclosed, es_error *err)
{
    es_str out = {0};
    append_clean(&out, text);
    *clean = es_str_take(&out, err);
    if (*clean == NULL)
        return ES_ERR_MEMORY;
    *unclosed = cut_thinking(*clean);
    return ES_OK;
}

static bool is_wrapping(char c)
{
    return es_is_space(c) || strchr("\"'`*_", c) != NULL;
}

es_span es_span_trim(es_span s)
{
    static const char *const marks[] = {"\xE2\x80\xA2", "\xE2\x80\x9C", "\xE2\x80\x9D", "- "}; /* bullet, quotes */
    for (bool again = true; again;) {
        again = false;
        while (s.n > 0 && is_wrapping(s.at[0])) {
            s.at++;
            s.n--;
        }
        while (s.n > 0 && is_wrapping(s.at[s.n - 1]))
            s.n--;
        for (size_t i = 0; i < 4; i++) {
            size_t len = strlen(marks[i]);
            if (s.n >= len && memcmp(s.at, marks[i], len) == 0) {
                s.at += len;
                s.n -= len;
                again = true;
            }
            if (i < 3 && s.n >= len && memcmp(s.at + s.n - len, marks[i], len) == 0) {
                s.n -= len;
                again = true;
            }
        }
    }
    return s;
}

static size_t skip(const char *at, size_t n, size_t i, const char *set)
{
    while (i < n && at[i] != '\0' && strchr(set, at[i]) != NULL)
        i++;
    return i;
}

size_t es_frame_label(const char *at, size_t n, size_t *number)
{
    if (!es_starts_with(at, n, "frame"))
        return 0;
    size_t i = skip(at, n, 5, " \t#_*");
    size_t digits = i, value = 0;
    while (i < n && isdigit((unsigned char)at[i]) && i - digits < 6)
        value = value * 10 + (size_t)(at[i++] - '0');
    if (i == digits)
        return 0;
    i = skip(at, n, i, " \t*_`\"");
    if (i < n && (at[i] == '(' || at[i] == '[')) {
        char close = at[i] == '(' ? ')' : ']';
        size_t from = i;
        while (i < n && at[i] != close && at[i] != '\n' && i - from < LABEL_NOTE_MAX)
            i++;
        if (i >= n || at[i] != close)
            return 0;
        i = skip(at, n, i + 1, " \t*_`\"");
    }
    if (i >= n || strchr(":.-|\n", at[i]) == NULL || at[i] == '\0')
        return 0;
    *number = value;
    return skip(at, n, i + 1, " \t*_");
}
