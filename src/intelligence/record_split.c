/* record_split.c - an answer about several frames, cut at its "Frame N:" labels. */
#include <ctype.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "intelligence/record.h"
#include "intelligence/record_text.h"

/* A label counts at the beginning of a line (bullets and markdown before it are fine), or before a description. */
static bool label_counts(const char *text, const char *at, size_t length)
{
    const char *after = at + length;
    after += strspn(after, " \t\n\"*_{`");
    if (es_starts_with(after, strnlen(after, 20), "description"))
        return at == text || !isalnum((unsigned char)at[-1]);
    while (at > text && strchr(" \t\"*_`#>-[{", at[-1]) != NULL)
        at--;
    return at == text || at[-1] == '\n';
}

/* The next label from `at` on: its place, and its length and number. */
static const char *next_label(const char *text, const char *at, size_t *length, size_t *number)
{
    for (; *at != '\0'; at++) {
        *length = es_frame_label(at, strnlen(at, 100), number);
        if (*length > 0 && label_counts(text, at, *length))
            return at;
    }
    return NULL;
}

static es_status keep(char **piece, const char *from, size_t n, es_error *err)
{
    if (*piece != NULL)
        return ES_OK; /* the first wins */
    *piece = es_strndup(from, n);
    return *piece != NULL ? ES_OK : es_fail_memory(err, "an answer", n);
}

static es_status split_labels(const char *text, size_t frames, char **pieces, size_t *labels, es_error *err)
{
    size_t length = 0, number = 0, after = 0, following = 0;
    const char *at = next_label(text, text, &length, &number);
    while (at != NULL) {
        const char *from = at + length;
        const char *next = next_label(text, from, &after, &following);
        size_t n = next != NULL ? (size_t)(next - from) : strlen(from);
        ++*labels;
        if (number >= 1 && number <= frames)
            ES_TRY(keep(&pieces[number - 1], from, n, err));
        at = next;
        length = after;
        number = following;
    }
    return ES_OK;
}

/* A JSON list with an object for each frame: by its "frame" number where it has one, else by its place. */
static es_status split_json(const char *text, size_t frames, char **pieces, bool *found, es_error *err)
{
    const char *at = strchr(text, '[');
    json_t *list = at != NULL ? json_loads(at, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
    es_status status = ES_OK;
    for (size_t i = 0; i < json_array_size(list) && status == ES_OK; i++) {
        const json_t *object = json_array_get(list, i), *frame = json_object_get(object, "frame");
        if (json_object_get(object, "description") == NULL)
            continue;
        json_int_t number = json_is_integer(frame) ? json_integer_value(frame) : (json_int_t)i + 1;
        *found = true;
        if (number < 1 || (uint64_t)number > frames || pieces[number - 1] != NULL)
            continue;
        pieces[number - 1] = json_dumps(object, JSON_COMPACT);
        if (pieces[number - 1] == NULL)
            status = es_fail_memory(err, "an answer", 0);
    }
    json_decref(list);
    return status;
}

/* No labels at all, but exactly a line with a description for each frame: then they stand in order. */
static es_status split_lines(const char *text, size_t frames, char **pieces, es_error *err)
{
    for (int pass = 0; pass < 2; pass++) {
        size_t count = 0;
        for (const char *line = text; *line != '\0';) {
            size_t n = strcspn(line, "\n");
            size_t lead = strspn(line, " \t-*\"0123456789.)");
            if (lead <= n && es_starts_with(line + lead, n - lead, "description")) {
                if (pass == 1)
                    ES_TRY(keep(&pieces[count], line + lead, n - lead, err));
                count++;
            }
            line += n + (line[n] == '\n');
        }
        if (count != frames)
            return ES_OK;
    }
    return ES_OK;
}

es_status es_record_split(const char *text, size_t frames, char **pieces, es_error *err)
{
    char *clean = NULL;
    bool unclosed = false, found = false;
    size_t labels = 0;
    for (size_t i = 0; i < frames; i++)
        pieces[i] = NULL;
    es_status status = es_record_clean(text, &clean, &unclosed, err);
    if (status == ES_OK)
        status = split_json(clean, frames, pieces, &found, err);
    if (status == ES_OK && !found)
        status = split_labels(clean, frames, pieces, &labels, err);
    if (status == ES_OK && !found && labels == 0 && frames == 1)
        status = keep(&pieces[0], clean, strlen(clean), err);
    else if (status == ES_OK && !found && labels == 0)
        status = split_lines(clean, frames, pieces, err);
    free(clean);
    for (size_t i = 0; i < frames && status != ES_OK; i++) {
        free(pieces[i]);
        pieces[i] = NULL;
    }
    return status;
}
