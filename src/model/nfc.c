#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "model/tokenizer_parts.h"

es_status es_utf8_repair(const char *text, size_t n, es_str *buffer, const char **out, size_t *out_n, es_error *err)
{
    *out = text;
    *out_n = n;
    size_t i = es_utf8_valid(text, n);
    if (i == n)
        return ES_OK;
    es_str_clear(buffer);
    for (size_t start = 0;;) {
        es_str_append_n(buffer, text + start, i - start);
        if (i == n)
            break;
        es_str_append_n(buffer, ES_UTF8_REPLACEMENT, strlen(ES_UTF8_REPLACEMENT));
        start = i + es_utf8_broken(text + i, n - i);
        i = start + es_utf8_valid(text + start, n - start);
    }
    *out = es_str_text(buffer);
    *out_n = buffer->length;
    return es_str_check(buffer, err);
}

/* Nothing below U+0300 is changed by NFC, alone or beside its like: most text needs no more than this look. */
static bool surely_nfc(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)text[i] >= 0xCC) /* the first byte of U+0300 */
            return false;
    }
    return true;
}

typedef struct codepoints {
    utf8proc_int32_t *items;
    size_t count;
    size_t capacity;
} codepoints;

static int combining_class(utf8proc_int32_t c)
{
    return (int)utf8proc_get_property(c)->combining_class;
}

/* Puts a run of combining marks in order of class, equal ones staying as they are. The library would do it by
 * swapping neighbours, which takes quadratic time on a long hostile run; classes are bytes, so count them. */
static es_status order_marks(utf8proc_int32_t *marks, size_t n, es_error *err)
{
    bool ordered = true;
    size_t start[257] = {0};
    for (size_t i = 0; i < n; i++) {
        ordered = ordered && (i == 0 || combining_class(marks[i - 1]) <= combining_class(marks[i]));
        start[combining_class(marks[i]) + 1]++;
    }
    if (ordered)
        return ES_OK;
    for (size_t c = 1; c < 257; c++)
        start[c] += start[c - 1];
    utf8proc_int32_t few[32], *sorted = n <= 32 ? few : es_realloc(NULL, n, sizeof *sorted);
    if (sorted == NULL)
        return es_fail_memory(err, "combining marks", n * sizeof *sorted);
    for (size_t i = 0; i < n; i++)
        sorted[start[combining_class(marks[i])]++] = marks[i];
    memcpy(marks, sorted, n * sizeof *marks);
    if (sorted != few)
        free(sorted);
    return ES_OK;
}

static es_status order_all(codepoints *points, es_error *err)
{
    for (size_t i = 0; i < points->count;) {
        size_t end = i;
        while (end < points->count && combining_class(points->items[end]) != 0)
            end++;
        if (end - i > 1)
            ES_TRY(order_marks(points->items + i, end - i, err));
        i = end + 1;
    }
    return ES_OK;
}

/* Appends the full canonical decomposition of each character. */
static es_status decompose(const char *text, size_t n, codepoints *points, es_error *err)
{
    for (size_t i = 0; i < n;) {
        size_t length = es_utf8_length(text + i, n - i);
        if (length == 0)
            return es_fail(err, ES_ERR_INTERNAL, "text to normalize is not UTF-8");
        void *items = points->items;
        /* At most 4 characters come of one in canonical decomposition; 18 in any. */
        if (es_grow(&items, &points->capacity, points->count + 18, sizeof *points->items) != 0)
            return es_fail_memory(err, "text to normalize", points->count * sizeof *points->items);
        points->items = items;
        int boundary = 0;
        utf8proc_ssize_t got =
            utf8proc_decompose_char((utf8proc_int32_t)es_utf8_value(text + i, length), points->items + points->count,
                                    18, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, &boundary);
        if (got < 0 || got > 18)
            return es_fail(err, ES_ERR_INTERNAL, "text cannot be normalized: %s", utf8proc_errmsg(got));
        points->count += (size_t)got;
        i += length;
    }
    return ES_OK;
}

/* Composes items[0..n), in canonical order, and appends the result. */
static es_status compose(utf8proc_int32_t *items, size_t n, es_str *buffer, es_error *err)
{
    utf8proc_ssize_t got = utf8proc_normalize_utf32(items, (utf8proc_ssize_t)n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (got < 0)
        return es_fail(err, ES_ERR_INTERNAL, "text cannot be normalized: %s", utf8proc_errmsg(got));
    for (size_t i = 0; i < (size_t)got; i++) {
        char bytes[4];
        es_str_append_n(buffer, bytes, es_utf8_write((uint32_t)items[i], bytes));
    }
    return ES_OK;
}

/* A vowel that composes with nothing; utf8proc 2.8 takes it for an empty Hangul final and swallows it. */
#define NO_FINAL 0x11A7

static es_status normalize(const char *text, size_t n, codepoints *points, es_str *buffer, es_error *err)
{
    ES_TRY(decompose(text, n, points, err));
    ES_TRY(order_all(points, err));
    es_str_clear(buffer);
    for (size_t start = 0, end = 0; start < points->count; start = end) {
        end = start + 1;
        while (end < points->count && points->items[end] != NO_FINAL)
            end++;
        ES_TRY(compose(points->items + start, end - start, buffer, err));
    }
    return es_str_check(buffer, err);
}

es_status es_nfc(const char *text, size_t n, es_str *buffer, const char **out, size_t *out_n, es_error *err)
{
    *out = text;
    *out_n = n;
    if (surely_nfc(text, n))
        return ES_OK;
    codepoints points = {0};
    es_status status = normalize(text, n, &points, buffer, err);
    free(points.items);
    if (status == ES_OK) {
        *out = es_str_text(buffer);
        *out_n = buffer->length;
    }
    return status;
}
