#include "session/redact.h"

#include <fnmatch.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

#define LOG_LIMIT ((size_t)64 << 20)
#define TIME_MOST 3.6e6

typedef enum kind { BY_APP, BY_TITLE, BY_TIME } kind;

typedef struct rule {
    kind kind;
    char *pattern;
    double from, to; /* seconds, [from, to) */
} rule;

typedef struct window {
    double at;
    char *app, *title; /* NULL: not said */
} window;

struct es_redaction {
    rule *rules;
    size_t rule_count, rule_room;
    window *windows;
    size_t window_count, window_room;
    bool has_windows;
};

es_status es_redaction_create(es_redaction **redaction, es_error *err)
{
    *redaction = es_calloc(1, sizeof **redaction);
    return *redaction != NULL ? ES_OK : es_fail_memory(err, "redaction rules", sizeof **redaction);
}

void es_redaction_free(es_redaction *r)
{
    for (size_t i = 0; r != NULL && i < r->rule_count; i++)
        free(r->rules[i].pattern);
    for (size_t i = 0; r != NULL && i < r->window_count; i++) {
        free(r->windows[i].app);
        free(r->windows[i].title);
    }
    if (r != NULL) {
        free(r->rules);
        free(r->windows);
    }
    free(r);
}

/* "90", "1:30", "1:02:03"; *end is what follows. */
static bool read_clock(const char *text, const char **end, double *seconds)
{
    double total = 0;
    for (int part = 0; part < 3; part++) {
        size_t n = strspn(text, "0123456789");
        if (n == 0 || n > 7)
            return false;
        total = total * 60 + strtod(text, NULL);
        text += strspn(text, part > 0 ? "0123456789." : "0123456789");
        if (*text != ':')
            break;
        text++;
    }
    *end = text;
    *seconds = total;
    return total <= TIME_MOST;
}

static es_status read_rule(const char *text, rule *out, es_error *err)
{
    const char *value = strchr(text, ':');
    *out = (rule){.to = INFINITY};
    if (value != NULL && strncmp(text, "time:", 5) == 0) {
        const char *at = value + 1;
        out->kind = BY_TIME;
        bool good = read_clock(at, &at, &out->from) && *at == '-';
        if (good && at[1] != '\0')
            good = read_clock(at + 1, &at, &out->to) && *at == '\0';
        if (!good || out->to <= out->from)
            return es_fail(err, ES_ERR_ARGUMENT, "--redact %s: times are as in time:0:10-1:02:03", text);
        return ES_OK;
    }
    bool app = strncmp(text, "app:", 4) == 0, title = strncmp(text, "title:", 6) == 0;
    if ((!app && !title) || value[1] == '\0')
        return es_fail(err, ES_ERR_ARGUMENT, "--redact %s: a rule is app:NAME, title:PATTERN or time:FROM-TO", text);
    out->kind = app ? BY_APP : BY_TITLE;
    out->pattern = es_strdup(value + 1);
    return out->pattern != NULL ? ES_OK : es_fail_memory(err, "a redaction rule", 0);
}

es_status es_redaction_add(es_redaction *r, const char *text, es_error *err)
{
    rule new;
    void *rules = r->rules;
    ES_TRY(read_rule(text, &new, err));
    if (es_grow(&rules, &r->rule_room, r->rule_count + 1, sizeof *r->rules) != 0) {
        free(new.pattern);
        return es_fail_memory(err, "a redaction rule", 0);
    }
    r->rules = rules;
    r->rules[r->rule_count++] = new;
    return ES_OK;
}

size_t es_redaction_count(const es_redaction *r)
{
    return r->rule_count;
}

bool es_redaction_wants_windows(const es_redaction *r)
{
    bool wants = false;
    for (size_t i = 0; i < r->rule_count; i++)
        wants = wants || r->rules[i].kind != BY_TIME;
    return wants && !r->has_windows;
}

static es_status read_window(es_redaction *r, const char *line, size_t n, const char *where, es_error *err)
{
    json_t *root;
    window w = {0};
    const char *app = NULL, *title = NULL;
    void *windows = r->windows;
    double last = r->window_count > 0 ? r->windows[r->window_count - 1].at : 0;
    ES_TRY(es_json_parse(&root, line, n, where, err));
    es_status status = es_json_number(root, where, "timestamp", true, last, TIME_MOST, &w.at, err);
    if (status == ES_OK)
        status = es_json_string(root, where, "app", false, &app, err);
    if (status == ES_OK)
        status = es_json_string(root, where, "title", false, &title, err);
    if (status == ES_OK) {
        w.app = app != NULL ? es_strdup(app) : NULL;
        w.title = title != NULL ? es_strdup(title) : NULL;
        bool short_of = (app != NULL && w.app == NULL) || (title != NULL && w.title == NULL);
        if (short_of || es_grow(&windows, &r->window_room, r->window_count + 1, sizeof w) != 0) {
            free(w.app);
            free(w.title);
            status = es_fail_memory(err, "the log of windows", 0);
        } else {
            r->windows = windows;
            r->windows[r->window_count++] = w;
        }
    }
    json_decref(root);
    return status;
}

es_status es_redaction_read_windows(es_redaction *r, const char *path, es_error *err)
{
    char *text;
    size_t size, number = 1;
    ES_TRY(es_file_read(path, LOG_LIMIT, &text, &size, err));
    es_status status = ES_OK;
    for (size_t at = 0; at < size && status == ES_OK; number++) {
        char where[300];
        const char *end = memchr(text + at, '\n', size - at);
        size_t n = end != NULL ? (size_t)(end - text) - at : size - at;
        snprintf(where, sizeof where, "%.200s:%zu", path, number);
        if (strspn(text + at, " \t\r") < n) /* a blank line's newline ends the span */
            status = read_window(r, text + at, n, where, err);
        at += n + 1;
    }
    free(text);
    r->has_windows = status == ES_OK;
    return status;
}

static bool fits(const rule *by, kind what, const char *text)
{
    return by->kind == what && text != NULL && fnmatch(by->pattern, text, FNM_CASEFOLD) == 0;
}

/* The window in front at that time, or NULL. */
static const window *window_at(const es_redaction *r, double seconds)
{
    size_t low = 0, high = r->window_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r->windows[middle].at <= seconds)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? &r->windows[low - 1] : NULL;
}

bool es_redaction_drops(const es_redaction *r, double seconds, const char *path)
{
    const window *w = window_at(r, seconds);
    const char *slash = path != NULL ? strrchr(path, '/') : NULL, *name = slash != NULL ? slash + 1 : path;
    for (size_t i = 0; i < r->rule_count; i++) {
        const rule *by = &r->rules[i];
        if (by->kind == BY_TIME && seconds >= by->from && seconds < by->to)
            return true;
        if (w != NULL && (fits(by, BY_APP, w->app) || fits(by, BY_TITLE, w->title)))
            return true;
        if (fits(by, BY_TITLE, name))
            return true;
    }
    return false;
}

bool es_redaction_drops_apps(const es_redaction *r, const char *const *apps, size_t count)
{
    for (size_t i = 0; i < r->rule_count; i++)
        for (size_t k = 0; k < count; k++)
            if (fits(&r->rules[i], BY_APP, apps[k]))
                return true;
    return false;
}
