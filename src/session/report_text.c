#include "session/report_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/utf8.h"

#define BRIEF 240 /* bytes */

static uint32_t decode(const char *at, size_t n)
{
    const unsigned char *b = (const unsigned char *)at;
    if (n == 1)
        return b[0];
    uint32_t c = b[0] & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (b[i] & 0x3Fu);
    return c;
}

/* Characters that do something instead of being seen: controls, directions, line separators, tags, specials. */
static bool is_invisible(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xAD || c == 0x61C || (c >= 0x200B && c <= 0x200F) ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF ||
           (c >= 0xFFF9 && c <= 0xFFFB) || (c >= 0xE0000 && c <= 0xE0FFF);
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c & 0x80) != 0;
}

static void append_markdown(es_str *out, const char *at, const char *begin)
{
    /* An underscore within a word marks nothing: file_name.c stays readable. */
    bool inner = *at == '_' && at > begin && is_word(at[-1]) && is_word(at[1]);
    bool entity = *at == '&' && (is_word(at[1]) || at[1] == '#');
    if ((strchr("\\`*_[<~", *at) != NULL && !inner) || entity)
        es_str_append(out, "\\");
    es_str_append_n(out, at, 1);
}

static void append_ascii(es_str *out, const char *at, const char *begin, es_escape how)
{
    if (how == ES_ESCAPE_MARKDOWN)
        append_markdown(out, at, begin);
    else if (how == ES_ESCAPE_HTML && *at == '<')
        es_str_append(out, "&lt;");
    else if (how == ES_ESCAPE_HTML && *at == '>')
        es_str_append(out, "&gt;");
    else if (how == ES_ESCAPE_HTML && *at == '&')
        es_str_append(out, "&amp;");
    else if (how == ES_ESCAPE_HTML && *at == '"')
        es_str_append(out, "&quot;");
    else if (how == ES_ESCAPE_HTML && *at == '\'')
        es_str_append(out, "&#39;");
    else if (how == ES_ESCAPE_JSON && (*at == '"' || *at == '\\'))
        es_str_append_format(out, "\\%c", *at);
    else
        es_str_append_n(out, at, 1);
}

void es_append_escaped(es_str *out, const char *text, es_escape how)
{
    size_t n = text != NULL ? strlen(text) : 0;
    if (how == ES_ESCAPE_JSON)
        es_str_append(out, "\"");
    for (size_t i = 0; i < n;) {
        size_t length = es_utf8_length(text + i, n - i);
        if (length == 0) {
            es_str_append(out, ES_UTF8_REPLACEMENT);
            i += es_utf8_broken(text + i, n - i);
            continue;
        }
        uint32_t c = decode(text + i, length);
        if (c == '\n' || c == '\t' || c == '\r')
            es_str_append(out, " ");
        else if (!is_invisible(c) && length == 1)
            append_ascii(out, text + i, text, how);
        else if (!is_invisible(c))
            es_str_append_n(out, text + i, length);
        i += length;
    }
    if (how == ES_ESCAPE_JSON)
        es_str_append(out, "\"");
}

void es_append_brief(es_str *out, const char *text, es_escape how)
{
    char brief[BRIEF + 1];
    size_t n = text != NULL ? strlen(text) : 0;
    if (n <= BRIEF) {
        es_append_escaped(out, text, how);
        return;
    }
    memcpy(brief, text, BRIEF);
    brief[BRIEF] = '\0';
    size_t whole = es_utf8_valid(brief, BRIEF);
    for (size_t i = whole; i > BRIEF / 2; i--) /* at a word's end where there is one near */
        if (brief[i - 1] == ' ') {
            whole = i - 1;
            break;
        }
    brief[whole > 0 ? whole : BRIEF] = '\0';
    es_append_escaped(out, brief, how);
    es_str_append(out, "…");
}

double es_report_end(const es_report *r)
{
    return r->outline->block_count > 0 ? r->outline->blocks[r->outline->block_count - 1].end : 0;
}

void es_append_clock(es_str *out, double seconds, double whole)
{
    long s = lround(seconds);
    if (s >= 3600 || lround(whole) >= 3600)
        es_str_append_format(out, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        es_str_append_format(out, "%ld:%02ld", s / 60, s % 60);
}

void es_append_length(es_str *out, double seconds)
{
    long s = lround(seconds), minutes = lround(seconds / 60);
    if (s < 60)
        es_str_append_format(out, "%ld s", s);
    else if (s < 600 && s % 60 != 0)
        es_str_append_format(out, "%ld min %ld s", s / 60, s % 60);
    else if (minutes < 60)
        es_str_append_format(out, "%ld min", minutes);
    else if (minutes % 60 == 0)
        es_str_append_format(out, "%ld h", minutes / 60);
    else
        es_str_append_format(out, "%ld h %ld min", minutes / 60, minutes % 60);
}

size_t es_highlights_for(const es_block *block)
{
    double minutes = (block->end - block->start) / 60;
    return minutes > 20 ? 3 : minutes > 8 ? 2 : 1;
}

/* --- highlights --- */

#define LOOK_AT 64 /* moments of a block that are weighed */

static bool holds(const char *const *items, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(items[i], text) == 0)
            return true;
    return false;
}

static int weigh(const es_moment *m, const es_block *b)
{
    int points = 0;
    if (m->description == NULL || *m->description == '\0')
        return -1;
    points += m->activity != NULL && strcmp(m->activity, b->activity) == 0 ? 8 : 0;
    points += b->app_count > 0 && holds(m->apps, m->app_count, b->apps[0]) ? 4 : 0;
    points += b->topic_count > 0 && holds(m->topics, m->topic_count, b->topics[0]) ? 4 : 0;
    return points;
}

/* The best of the moments [first, first + count): what fits the block's labels, then what was said most often. */
static size_t best_of(const es_report *r, const es_block *b, size_t first, size_t count)
{
    size_t step = count / LOOK_AT + 1, best = SIZE_MAX;
    int most = -1;
    for (size_t i = first; i < first + count; i += step) {
        int points = weigh(&r->moments[i], b) * LOOK_AT * 2;
        for (size_t k = first; points >= 0 && k < first + count; k += step)
            points +=
                r->moments[k].description != NULL && strcmp(r->moments[k].description, r->moments[i].description) == 0;
        if (points > most) {
            most = points;
            best = i;
        }
    }
    return best;
}

size_t es_block_highlights(const es_report *r, const es_block *b, size_t most, size_t *moments)
{
    size_t n = 0, parts = most < b->count ? most : b->count;
    for (size_t p = 0; p < parts; p++) {
        size_t from = b->count * p / parts, to = b->count * (p + 1) / parts;
        size_t best = best_of(r, b, b->first + from, to - from);
        bool told = best == SIZE_MAX;
        for (size_t k = 0; k < n && !told; k++)
            told = strcmp(r->moments[moments[k]].description, r->moments[best].description) == 0;
        if (!told)
            moments[n++] = best;
    }
    return n;
}

/* --- shares --- */

void es_report_spans(const es_report *r, double *spans)
{
    for (size_t b = 0; b < r->outline->block_count; b++) {
        const es_block *block = &r->outline->blocks[b];
        size_t last = block->first + block->count - 1;
        for (size_t i = block->first; i <= last; i++)
            spans[i] = (i < last ? r->moments[i + 1].at : block->end) - r->moments[i].at;
    }
}

static int compare_shares(const void *a, const void *b)
{
    const es_share *x = a, *y = b;
    if (x->seconds != y->seconds)
        return x->seconds < y->seconds ? 1 : -1;
    return strcmp(x->name, y->name);
}

typedef struct share_list {
    es_share *items;
    size_t count, room;
} share_list;

static es_status add_share(share_list *list, const char *name, double seconds, es_error *err)
{
    void *items = list->items;
    size_t k = 0;
    if (name == NULL || *name == '\0')
        return ES_OK;
    while (k < list->count && strcasecmp(list->items[k].name, name) != 0)
        k++;
    if (k == list->count) {
        if (es_grow(&items, &list->room, list->count + 1, sizeof *list->items) != 0)
            return es_fail_memory(err, "the times of a session", 0);
        list->items = items;
        list->items[list->count++] = (es_share){name, 0};
    }
    list->items[k].seconds += seconds;
    return ES_OK;
}

static es_status add_moment(share_list *list, const es_moment *m, bool app, double seconds, es_error *err)
{
    if (!app)
        return add_share(list, m->activity, seconds, err);
    for (size_t a = 0; a < m->app_count; a++) {
        bool told = false; /* a model may name an app twice */
        for (size_t k = 0; k < a; k++)
            told = told || strcasecmp(m->apps[k], m->apps[a]) == 0;
        if (!told)
            ES_TRY(add_share(list, m->apps[a], seconds, err));
    }
    return ES_OK;
}

es_status es_shares_make(const es_report *r, bool app, es_share **shares, size_t *count, es_error *err)
{
    const es_outline *o = r->outline;
    double *spans = es_calloc(r->count, sizeof *spans);
    share_list list = {0};
    *shares = NULL;
    *count = 0;
    if (spans == NULL)
        return es_fail_memory(err, "the times of a session", r->count * sizeof *spans);
    es_report_spans(r, spans);
    es_status status = ES_OK;
    for (size_t b = 0; b < o->block_count && status == ES_OK; b++) {
        if (o->blocks[b].personal && !r->include_personal)
            continue;
        for (size_t i = o->blocks[b].first; i < o->blocks[b].first + o->blocks[b].count && status == ES_OK; i++)
            status = add_moment(&list, &r->moments[i], app, spans[i], err);
    }
    free(spans);
    if (list.count > 1)
        qsort(list.items, list.count, sizeof *list.items, compare_shares);
    *shares = list.items;
    *count = list.count;
    return status;
}
