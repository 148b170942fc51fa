#include "model/tokenizer_scan.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "model/tokenizer_parts.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static size_t skip_blanks(const char *text, size_t n, size_t at)
{
    while (at < n && is_blank(text[at]))
        at++;
    return at;
}

/* Behind the string whose opening quote is at `at`, or n when it does not end. */
static size_t skip_string(const char *text, size_t n, size_t at)
{
    for (at++; at < n && text[at] != '"'; at++) {
        if (text[at] == '\\')
            at++;
    }
    return at < n ? at + 1 : n;
}

/* Behind the object or list that opens at `at`, or n when it does not end. */
static size_t skip_nested(const char *text, size_t n, size_t at)
{
    for (size_t depth = 0; at < n;) {
        char c = text[at];
        if (c == '"') {
            at = skip_string(text, n, at);
            continue;
        }
        at++;
        if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && --depth == 0)
            return at;
    }
    return n;
}

/* Members of an object are walked with this: the next key that has a value. False at the end, or at nonsense. */
static bool next_member(const char *text, size_t n, size_t *at, es_span *key, size_t *value)
{
    for (size_t i = *at; i < n;) {
        if (text[i] == '"') {
            size_t end = skip_string(text, n, i);
            size_t colon = skip_blanks(text, n, end);
            if (colon < n && text[colon] == ':') {
                *key = (es_span){i + 1, end - 1};
                *value = skip_blanks(text, n, colon + 1);
                *at = *value;
                return *value < n;
            }
            i = end;
        } else if (text[i] == '{' || text[i] == '[') {
            i = skip_nested(text, n, i);
        } else if (text[i] == '}') {
            break;
        } else {
            i++;
        }
    }
    return false;
}

static bool key_is(const char *text, es_span key, const char *name)
{
    return key.end - key.start == strlen(name) && memcmp(text + key.start, name, key.end - key.start) == 0;
}

/* Appends the text up to a span's members, and of these their line breaks only. */
static void cut_span(const char *text, size_t *done, es_span span, es_str *rest)
{
    if (span.start == 0)
        return;
    es_str_append_n(rest, text + *done, span.start + 1 - *done);
    for (const char *p = text + span.start; (p = memchr(p, '\n', (size_t)(text + span.end - p))) != NULL; p++)
        es_str_append_n(rest, "\n", 1);
    *done = span.end - 1;
}

es_status es_scan_cut(const char *text, size_t n, es_span *vocab, es_span *merges, es_str *rest, es_error *err)
{
    es_span key;
    size_t value, at = skip_blanks(text, n, 0);
    bool in_model = false;
    *vocab = *merges = (es_span){0};
    at += at < n && text[at] == '{';
    while (!in_model && next_member(text, n, &at, &key, &value)) {
        if (key_is(text, key, "model") && text[value] == '{') {
            in_model = true;
            at = value + 1;
        }
    }
    while (in_model && next_member(text, n, &at, &key, &value)) {
        es_span *span = NULL;
        if (key_is(text, key, "vocab") && text[value] == '{')
            span = vocab;
        else if (key_is(text, key, "merges") && text[value] == '[')
            span = merges;
        if (span == NULL || span->start != 0)
            continue;
        *span = (es_span){value, skip_nested(text, n, value)};
        at = span->end;
    }
    size_t done = 0;
    bool vocab_first = vocab->start < merges->start;
    cut_span(text, &done, vocab_first ? *vocab : *merges, rest);
    cut_span(text, &done, vocab_first ? *merges : *vocab, rest);
    es_str_append_n(rest, text + done, n - done);
    return es_str_check(rest, err);
}

es_scan es_scan_begin(const char *name, const char *text, es_span span)
{
    return (es_scan){.name = name, .text = text, .at = span.start, .end = span.end};
}

void es_scan_end(es_scan *scan)
{
    es_str_free(&scan->strings[0]);
    es_str_free(&scan->strings[1]);
}

static es_status bad(const es_scan *scan, const char *what, es_error *err)
{
    size_t line = 1;
    for (size_t i = 0; i < scan->at && i < scan->end; i++)
        line += scan->text[i] == '\n';
    return es_fail(err, ES_ERR_FORMAT, "%s: line %zu: %s", scan->name, line, what);
}

bool es_scan_is(es_scan *scan, char c)
{
    scan->at = skip_blanks(scan->text, scan->end, scan->at);
    if (scan->at == scan->end || scan->text[scan->at] != c)
        return false;
    scan->at++;
    return true;
}

es_status es_scan_expect(es_scan *scan, char c, es_error *err)
{
    if (es_scan_is(scan, c))
        return ES_OK;
    char what[] = "not valid JSON: '?' is missing";
    *strchr(what, '?') = c;
    return bad(scan, what, err);
}

/* The four hexadecimal digits of a \u escape, or -1. */
static int32_t four_digits(const char *text, size_t n)
{
    int32_t value = 0;
    if (n < 4)
        return -1;
    for (size_t i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef";
        const char *digit = text[i] == '\0' ? NULL : strchr(digits, text[i] | (text[i] > '9' ? 0x20 : 0));
        if (digit == NULL)
            return -1;
        value = value << 4 | (int32_t)(digit - digits);
    }
    return value;
}

/* Reads the escape at text (n bytes left, the first a backslash) into out; returns its length, 0 when it is none. */
static size_t unescape(const char *text, size_t n, es_str *out)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const char *letter = n < 2 || text[1] == '\0' ? NULL : strchr(letters, text[1]);
    if (letter != NULL) {
        es_str_append_n(out, &meanings[letter - letters], 1);
        return 2;
    }
    int32_t c = n > 2 && text[1] == 'u' ? four_digits(text + 2, n - 2) : -1;
    size_t length = 6;
    if (c >= 0xD800 && c < 0xDC00) { /* the first half of a pair */
        int32_t low = n > 8 && text[6] == '\\' && text[7] == 'u' ? four_digits(text + 8, n - 8) : -1;
        c = low >= 0xDC00 && low < 0xE000 ? 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00) : -1;
        length = 12;
    }
    if (c <= 0 || (c >= 0xD800 && c < 0xE000)) /* no character, or NUL, which no token has */
        return 0;
    char bytes[4];
    es_str_append_n(out, bytes, es_utf8_write((uint32_t)c, bytes));
    return length;
}

static es_status unescape_all(es_scan *scan, const char *text, size_t n, es_str *out, es_error *err)
{
    es_str_clear(out);
    for (size_t i = 0; i < n;) {
        const char *slash = memchr(text + i, '\\', n - i);
        size_t plain = slash == NULL ? n - i : (size_t)(slash - text) - i;
        es_str_append_n(out, text + i, plain);
        i += plain;
        size_t length = i < n ? unescape(text + i, n - i, out) : 0;
        if (i < n && length == 0)
            return bad(scan, "not valid JSON: an escape that is no character", err);
        i += length;
    }
    return es_str_check(out, err);
}

es_status es_scan_string(es_scan *scan, const char **bytes, size_t *n, es_error *err)
{
    ES_TRY(es_scan_expect(scan, '"', err));
    const char *start = scan->text + scan->at;
    bool escapes = false, plain = true;
    size_t i = scan->at;
    for (; i < scan->end && scan->text[i] != '"'; i++) {
        unsigned char c = (unsigned char)scan->text[i];
        plain = plain && c < 0x80;
        if (c < 0x20)
            return bad(scan, "not valid JSON: a control character in a string", err);
        if (c == '\\') {
            escapes = true;
            i++;
        }
    }
    if (i >= scan->end)
        return bad(scan, "not valid JSON: a string without end", err);
    *bytes = start;
    *n = i - scan->at;
    if (!plain && es_utf8_valid(start, *n) != *n)
        return bad(scan, "not valid JSON: a string that is not UTF-8", err);
    if (escapes) {
        es_str *out = &scan->strings[scan->turn++ & 1];
        ES_TRY(unescape_all(scan, start, *n, out, err));
        *bytes = es_str_text(out);
        *n = out->length;
    }
    scan->at = i + 1;
    return ES_OK;
}

es_status es_scan_number(es_scan *scan, int64_t low, int64_t high, int64_t *value, es_error *err)
{
    scan->at = skip_blanks(scan->text, scan->end, scan->at);
    size_t i = scan->at;
    bool negative = i < scan->end && scan->text[i] == '-';
    i += negative;
    size_t start = i;
    int64_t n = 0;
    for (; i < scan->end && scan->text[i] >= '0' && scan->text[i] <= '9' && i - start < 18; i++)
        n = n * 10 + (scan->text[i] - '0');
    char next = i < scan->end ? scan->text[i] : '\0';
    bool whole = i > start && (next == ',' || next == '}' || next == ']' || is_blank(next)) &&
                 (scan->text[start] != '0' || i == start + 1);
    n = negative ? -n : n;
    if (!whole || n < low || n > high) {
        char what[96];
        snprintf(what, sizeof what, "an id must be a whole number from %lld to %lld", (long long)low, (long long)high);
        return bad(scan, what, err);
    }
    *value = n;
    scan->at = i;
    return ES_OK;
}

es_status es_scan_more(es_scan *scan, char close, bool first, bool *more, es_error *err)
{
    *more = false;
    if (es_scan_is(scan, close))
        return scan->at == scan->end ? ES_OK : bad(scan, "not valid JSON: more than was opened is closed", err);
    *more = true;
    return first ? ES_OK : es_scan_expect(scan, ',', err);
}
