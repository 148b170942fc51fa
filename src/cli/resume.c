#include "cli/resume.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#define FILE_LIMIT ((size_t)2 << 30)

typedef struct sorted {
    const char *key;
    size_t at; /* in inputs */
} sorted;

static int compare_keys(const void *a, const void *b)
{
    const sorted *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    return order != 0 ? order : (x->at > y->at) - (x->at < y->at);
}

/* The first input with this key that is not done yet, or NULL; *known: there is one with this key at all. */
static const sorted *find_open(const sorted *list, size_t n, const char *key, const bool *done, bool *known)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(list[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *known = low < n && strcmp(list[low].key, key) == 0;
    for (; low < n && strcmp(list[low].key, key) == 0; low++)
        if (!done[list[low].at])
            return &list[low];
    return NULL;
}

typedef struct reading {
    const char *path;
    sorted *list;
    bool *done;
    size_t count;
    es_str kept; /* the file as it shall be */
} reading;

/* One whole line: a record marks its frame as done and is kept; a failed one of these frames is dropped. */
static es_status read_line(reading *r, const char *line, size_t n, size_t number, es_error *err)
{
    bool blank = true, known = false;
    for (size_t i = 0; i < n; i++)
        blank = blank && (line[i] == ' ' || line[i] == '\r' || line[i] == '\t');
    if (blank)
        return ES_OK;
    json_t *record = json_loadb(line, n, JSON_ALLOW_NUL, NULL);
    const char *image = json_string_value(json_object_get(record, "image"));
    if (image == NULL) {
        json_decref(record);
        return es_fail(err, ES_ERR_ARGUMENT, "%s:%zu: not a record that 'escriba describe' wrote: nothing was changed",
                       r->path, number);
    }
    bool failed = json_object_get(record, "error") != NULL;
    const sorted *open = find_open(r->list, r->count, image, r->done, &known);
    if (!failed && open != NULL)
        r->done[open->at] = true;
    if (!failed || !known)
        es_str_append_n(&r->kept, line, n + 1);
    json_decref(record);
    return ES_OK;
}

static es_status read_lines(reading *r, const char *text, size_t size, es_error *err)
{
    size_t number = 1;
    for (size_t at = 0; at < size; number++) {
        const char *end = memchr(text + at, '\n', size - at);
        if (end == NULL) {
            if (text[at] == '{' || text[at] == '\0')
                return ES_OK; /* torn by the interruption: cut off and done again */
            return es_fail(err, ES_ERR_ARGUMENT,
                           "%s:%zu: not a record that 'escriba describe' wrote: nothing was changed", r->path, number);
        }
        size_t n = (size_t)(end - text) - at;
        ES_TRY(read_line(r, text + at, n, number, err));
        at += n + 1;
    }
    return ES_OK;
}

/* Makes the file what was kept of it: cut when that is its beginning, else written anew all or nothing. */
static es_status rewrite(const reading *r, const char *text, size_t size, es_error *err)
{
    ES_TRY(es_str_check(&r->kept, err));
    size_t n = r->kept.length;
    if (n == size)
        return ES_OK;
    if (n == 0 || memcmp(text, r->kept.data, n) == 0) {
        if (truncate(r->path, (off_t)n) == 0)
            return ES_OK;
        return es_fail(err, ES_ERR_IO, "%s: cannot cut off the torn last line: %s", r->path, strerror(errno));
    }
    return es_file_write(r->path, r->kept.data, n, 0644, err);
}

static void drop_done(es_inputs *inputs, const bool *done, size_t *dropped)
{
    size_t kept = 0;
    *dropped = 0;
    for (size_t i = 0; i < inputs->count; i++) {
        if (!done[i]) {
            inputs->items[kept++] = inputs->items[i];
            continue;
        }
        free(inputs->items[i].path);
        free(inputs->items[i].key);
        ++*dropped;
    }
    inputs->count = kept;
}

es_status es_resume(const char *path, es_inputs *inputs, size_t *done, es_error *err)
{
    char *text = NULL;
    size_t size = 0;
    *done = 0;
    if (!es_file_exists(path) && access(path, F_OK) != 0)
        return ES_OK;
    reading r = {.path = path, .count = inputs->count};
    ES_TRY(es_file_read(path, FILE_LIMIT, &text, &size, err));
    r.list = es_calloc(inputs->count, sizeof *r.list);
    r.done = es_calloc(inputs->count, sizeof *r.done);
    es_status status = ES_OK;
    if (r.list == NULL || r.done == NULL) {
        status = es_fail_memory(err, "the list of frames", inputs->count * sizeof *r.list);
    } else {
        for (size_t i = 0; i < inputs->count; i++)
            r.list[i] = (sorted){inputs->items[i].key, i};
        if (inputs->count > 0)
            qsort(r.list, inputs->count, sizeof *r.list, compare_keys);
        status = read_lines(&r, text, size, err);
    }
    if (status == ES_OK)
        status = rewrite(&r, text, size, err);
    if (status == ES_OK)
        drop_done(inputs, r.done, done);
    es_str_free(&r.kept);
    free(r.list);
    free(r.done);
    free(text);
    return status;
}
