#include "session/report.h"

#include <stdlib.h>
#include <string.h>

#include "session/report_text.h"

static const char *const form_names[ES_FORM_COUNT] = {"card", "standup", "narrative", "json", "html"};

const char *es_form_name(es_form form)
{
    return form_names[form];
}

bool es_form_parse(const char *name, es_form *form)
{
    for (size_t i = 0; i < ES_FORM_COUNT; i++)
        if (strcmp(name, form_names[i]) == 0) {
            *form = (es_form)i;
            return true;
        }
    return false;
}

static void markdown(es_str *out, const char *text)
{
    es_append_escaped(out, text, ES_ESCAPE_MARKDOWN);
}

static void brief(es_str *out, const char *text)
{
    es_append_brief(out, text, ES_ESCAPE_MARKDOWN);
}

static bool may_tell(const es_report *r, const es_block *block)
{
    return !block->personal || r->include_personal;
}

static void append_names(es_str *out, const char *const *items, size_t n, const char *last)
{
    for (size_t i = 0; i < n; i++) {
        es_str_append(out, i == 0 ? "" : i + 1 == n ? last : ", ");
        brief(out, items[i]);
    }
}

static void append_span(es_str *out, const es_report *r, const es_block *b)
{
    es_append_clock(out, b->start, es_report_end(r));
    es_str_append(out, "–");
    es_append_clock(out, b->end, es_report_end(r));
}

static void append_notes(es_str *out, const es_report *r)
{
    if (r->truncated)
        es_str_append(out, "*The recording breaks off: this is what it holds.*\n\n");
    if (r->notice != NULL)
        es_str_append_format(out, "*%s*\n\n", r->notice);
}

/* The activities of a subject's blocks with their times, most first: "coding 12 min, terminal 3 min". */
static void append_activities(es_str *out, const es_report *r, size_t subject)
{
    es_share shares[16];
    size_t n = 0;
    for (size_t i = 0; i < r->outline->block_count; i++) {
        const es_block *b = &r->outline->blocks[i];
        size_t k = 0;
        if (b->subject != subject)
            continue;
        while (k < n && strcmp(shares[k].name, b->activity) != 0)
            k++;
        if (k == sizeof shares / sizeof *shares)
            continue;
        if (k == n)
            shares[n++] = (es_share){b->activity, 0};
        shares[k].seconds += b->end - b->start;
        for (; k > 0 && shares[k].seconds > shares[k - 1].seconds; k--) {
            es_share swap = shares[k];
            shares[k] = shares[k - 1];
            shares[k - 1] = swap;
        }
    }
    for (size_t i = 0; i < n; i++) {
        es_str_append_format(out, "%s%s ", i > 0 ? ", " : "", shares[i].name);
        es_append_length(out, shares[i].seconds);
    }
}

/* The apps of a subject's blocks in the order of their first showing, at most `most`. */
static size_t subject_apps(const es_report *r, size_t subject, const char **apps, size_t most)
{
    size_t n = 0;
    for (size_t i = 0; i < r->outline->block_count; i++) {
        const es_block *b = &r->outline->blocks[i];
        for (size_t a = 0; b->subject == subject && a < b->app_count; a++) {
            size_t k = 0;
            while (k < n && strcmp(apps[k], b->apps[a]) != 0)
                k++;
            if (k == n && n < most)
                apps[n++] = b->apps[a];
        }
    }
    return n;
}

static void append_block_line(es_str *out, const es_report *r, const es_block *b)
{
    size_t best[ES_HIGHLIGHTS], n = es_block_highlights(r, b, es_highlights_for(b), best);
    es_str_append(out, "- ");
    append_span(out, r, b);
    es_str_append_format(out, " %s", b->activity);
    for (size_t i = 0; i < n; i++) {
        es_str_append(out, i == 0 ? ": " : "; ");
        brief(out, r->moments[best[i]].description);
    }
    es_str_append(out, "\n");
}

static void write_card(es_str *out, const es_report *r)
{
    const es_outline *o = r->outline;
    es_str_append(out, "# ");
    markdown(out, r->name);
    es_str_append(out, " · ");
    es_append_length(out, o->seconds);
    es_str_append(out, "\n\n");
    append_notes(out, r);
    for (size_t s = 0; s < o->subject_count; s++) {
        const es_subject *subject = &o->subjects[s];
        const char *apps[ES_BLOCK_WORDS];
        es_str_append(out, "## ");
        brief(out, subject->name);
        es_str_append(out, " · ");
        es_append_length(out, subject->seconds);
        es_str_append(out, "\n\n");
        if (subject->personal && !r->include_personal)
            continue;
        append_activities(out, r, s);
        size_t n = subject_apps(r, s, apps, ES_BLOCK_WORDS);
        es_str_append(out, n > 0 ? " · " : "");
        append_names(out, apps, n, ", ");
        es_str_append(out, "\n\n");
        if (r->texts != NULL && r->texts[s] != NULL) {
            markdown(out, r->texts[s]);
            es_str_append(out, "\n\n");
        }
        for (size_t i = 0; i < o->block_count; i++)
            if (o->blocks[i].subject == s)
                append_block_line(out, r, &o->blocks[i]);
        es_str_append(out, "\n");
    }
}

#define STANDUP_ITEMS 3 /* things told of a subject */

/* The highlights of a subject's longest blocks, in the order of time. */
static void append_done(es_str *out, const es_report *r, size_t subject)
{
    const es_outline *o = r->outline;
    size_t told[STANDUP_ITEMS], n = 0;
    bool used[STANDUP_ITEMS] = {false};
    for (;;) {
        const es_block *longest = NULL;
        size_t best;
        for (size_t i = 0; i < o->block_count; i++) {
            const es_block *b = &o->blocks[i];
            bool had = false;
            for (size_t k = 0; k < n; k++)
                had = had || (told[k] >= b->first && told[k] < b->first + b->count);
            if (b->subject == subject && !had && (longest == NULL || b->end - b->start > longest->end - longest->start))
                longest = b;
        }
        if (longest == NULL || n == STANDUP_ITEMS || es_block_highlights(r, longest, 1, &best) == 0)
            break;
        told[n++] = best;
    }
    for (size_t i = 0; i < n; i++) { /* the next in time each round */
        size_t next = SIZE_MAX;
        for (size_t k = 0; k < n; k++)
            if (!used[k] && (next == SIZE_MAX || told[k] < told[next]))
                next = k;
        used[next] = true;
        es_str_append(out, i == 0 ? ": " : "; ");
        brief(out, r->moments[told[next]].description);
    }
}

static void write_standup(es_str *out, const es_report *r)
{
    const es_outline *o = r->outline;
    es_str_append(out, "**Done** (");
    es_append_length(out, o->seconds);
    es_str_append(out, ")\n\n");
    append_notes(out, r);
    for (size_t s = 0; s < o->subject_count; s++) {
        if (o->subjects[s].personal && !r->include_personal)
            continue;
        es_str_append(out, "- ");
        brief(out, o->subjects[s].name);
        es_str_append(out, " (");
        es_append_length(out, o->subjects[s].seconds);
        es_str_append(out, ")");
        if (r->texts != NULL && r->texts[s] != NULL) {
            es_str_append(out, ": ");
            markdown(out, r->texts[s]);
        } else {
            append_done(out, r, s);
        }
        es_str_append(out, "\n");
    }
}

static void append_paragraph(es_str *out, const es_report *r, const es_block *b)
{
    size_t best[ES_HIGHLIGHTS], n = es_block_highlights(r, b, es_highlights_for(b), best);
    es_str_append(out, "From ");
    es_append_clock(out, b->start, es_report_end(r));
    es_str_append(out, " to ");
    es_append_clock(out, b->end, es_report_end(r));
    if (!may_tell(r, b)) {
        es_str_append(out, ": personal.\n\n");
        return;
    }
    es_str_append_format(out, " %s", b->activity);
    es_str_append(out, b->app_count > 0 ? " in " : "");
    append_names(out, b->apps, b->app_count, " and ");
    es_str_append(out, b->topic_count > 0 ? ", about " : "");
    append_names(out, b->topics, b->topic_count, " and ");
    for (size_t i = 0; i < n; i++) {
        const char *text = r->moments[best[i]].description;
        size_t length = strlen(text);
        es_str_append(out, i == 0 ? ". " : " ");
        brief(out, text);
        es_str_append(out, length > 0 && strchr(".!?", text[length - 1]) != NULL ? "" : ".");
    }
    es_str_append(out, n == 0 ? ".\n\n" : "\n\n");
}

static void write_narrative(es_str *out, const es_report *r)
{
    const es_outline *o = r->outline;
    es_str_append(out, "# ");
    markdown(out, r->name);
    es_str_append(out, "\n\n");
    append_notes(out, r);
    for (size_t s = 0; r->texts != NULL && s < o->subject_count; s++) {
        if (r->texts[s] == NULL)
            continue;
        es_str_append(out, "**");
        brief(out, o->subjects[s].name);
        es_str_append(out, "** (");
        es_append_length(out, o->subjects[s].seconds);
        es_str_append(out, "): ");
        markdown(out, r->texts[s]);
        es_str_append(out, "\n\n");
    }
    for (size_t i = 0; i < o->block_count; i++) {
        if (i > 0 && o->blocks[i].start > o->blocks[i - 1].end + 1) {
            es_str_append(out, "Nothing was recorded until ");
            es_append_clock(out, o->blocks[i].start, es_report_end(r));
            es_str_append(out, ".\n\n");
        }
        append_paragraph(out, r, &o->blocks[i]);
    }
}

static void json(es_str *out, const char *key, const char *text)
{
    es_str_append_format(out, ", \"%s\": ", key);
    es_append_escaped(out, text, ES_ESCAPE_JSON);
}

static void json_list(es_str *out, const char *key, const char *const *items, size_t n)
{
    es_str_append_format(out, ", \"%s\": [", key);
    for (size_t i = 0; i < n; i++) {
        es_str_append(out, i > 0 ? ", " : "");
        es_append_escaped(out, items[i], ES_ESCAPE_JSON);
    }
    es_str_append(out, "]");
}

static void json_shares(es_str *out, const char *key, const es_share *shares, size_t n)
{
    es_str_append_format(out, ",\n \"%s\": {", key);
    for (size_t i = 0; i < n; i++) {
        es_str_append(out, i > 0 ? ", " : "");
        es_append_escaped(out, shares[i].name, ES_ESCAPE_JSON);
        es_str_append_format(out, ": %.3f", shares[i].seconds);
    }
    es_str_append(out, "}");
}

static void json_block(es_str *out, const es_report *r, size_t number)
{
    const es_block *b = &r->outline->blocks[number];
    size_t best[ES_HIGHLIGHTS];
    es_str_append_format(out, "%s\n  {\"start\": %.3f, \"end\": %.3f, \"personal\": %s, \"subject\": %zu",
                         number > 0 ? "," : "", b->start, b->end, b->personal ? "true" : "false", b->subject);
    if (may_tell(r, b)) {
        size_t n = es_block_highlights(r, b, es_highlights_for(b), best);
        const char *texts[ES_HIGHLIGHTS];
        for (size_t i = 0; i < n; i++)
            texts[i] = r->moments[best[i]].description;
        json(out, "activity", b->activity);
        json_list(out, "apps", b->apps, b->app_count);
        json_list(out, "topics", b->topics, b->topic_count);
        json_list(out, "highlights", texts, n);
    }
    es_str_append(out, "}");
}

static void json_moments(es_str *out, const es_report *r)
{
    bool first = true;
    es_str_append(out, "],\n \"observations\": [");
    for (size_t b = 0; b < r->outline->block_count; b++) {
        const es_block *block = &r->outline->blocks[b];
        for (size_t i = block->first; may_tell(r, block) && i < block->first + block->count; i++) {
            const es_moment *m = &r->moments[i];
            es_str_append_format(out, "%s\n  {\"timestamp\": %.3f, \"block\": %zu, \"reused\": %s", first ? "" : ",",
                                 m->at, b, m->reused ? "true" : "false");
            json(out, "activity", m->activity);
            json(out, "description", m->description);
            json_list(out, "apps", m->apps, m->app_count);
            json_list(out, "topics", m->topics, m->topic_count);
            es_str_append(out, "}");
            first = false;
        }
    }
    es_str_append(out, "]}\n");
}

static void write_json(es_str *out, const es_report *r, const es_share *apps, size_t app_count,
                       const es_share *activities, size_t activity_count)
{
    const es_outline *o = r->outline;
    es_str_append_format(out, "{\"seconds\": %.3f, \"interval\": %.3f, \"truncated\": %s", o->seconds, o->interval,
                         r->truncated ? "true" : "false");
    json(out, "recording", r->name);
    json(out, "model", r->model);
    if (r->notice != NULL)
        json(out, "notice", r->notice);
    json_shares(out, "activities", activities, activity_count);
    json_shares(out, "apps", apps, app_count);
    es_str_append(out, ",\n \"subjects\": [");
    for (size_t s = 0; s < o->subject_count; s++) {
        es_str_append_format(out, "%s\n  {\"seconds\": %.3f, \"blocks\": %zu, \"personal\": %s", s > 0 ? "," : "",
                             o->subjects[s].seconds, o->subjects[s].blocks, o->subjects[s].personal ? "true" : "false");
        json(out, "name", o->subjects[s].name);
        if (r->texts != NULL && r->texts[s] != NULL)
            json(out, "summary", r->texts[s]);
        es_str_append(out, "}");
    }
    es_str_append(out, "],\n \"blocks\": [");
    for (size_t i = 0; i < o->block_count; i++)
        json_block(out, r, i);
    json_moments(out, r);
}

static es_status write_with_shares(es_str *out, const es_report *r, es_form form, es_error *err)
{
    es_share *apps = NULL, *activities = NULL;
    size_t app_count = 0, activity_count = 0;
    es_status status = es_shares_make(r, true, &apps, &app_count, err);
    if (status == ES_OK)
        status = es_shares_make(r, false, &activities, &activity_count, err);
    if (status == ES_OK && form == ES_FORM_JSON)
        write_json(out, r, apps, app_count, activities, activity_count);
    else if (status == ES_OK)
        es_report_html(out, r, apps, app_count, activities, activity_count);
    free(apps);
    free(activities);
    return status;
}

es_status es_report_write(es_str *out, const es_report *report, es_form form, es_error *err)
{
    switch (form) {
    case ES_FORM_CARD:
        write_card(out, report);
        break;
    case ES_FORM_STANDUP:
        write_standup(out, report);
        break;
    case ES_FORM_NARRATIVE:
        write_narrative(out, report);
        break;
    default:
        ES_TRY(write_with_shares(out, report, form, err));
    }
    return es_str_check(out, err);
}
