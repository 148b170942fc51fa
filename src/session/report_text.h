/* report_text.h - words from a screen made fit for where they go; shared by the writers of reports. */
#ifndef ES_SESSION_REPORT_TEXT_H
#define ES_SESSION_REPORT_TEXT_H

#include "base/str.h"
#include "session/report.h"

typedef enum es_escape { ES_ESCAPE_MARKDOWN, ES_ESCAPE_HTML, ES_ESCAPE_JSON, ES_ESCAPE_PLAIN } es_escape;

/* One line of text: line breaks become spaces. JSON comes with its quotes. NULL is "". */
void es_append_escaped(es_str *out, const char *text, es_escape how);
/* The same, cut after some 240 bytes: a model that babbles fills no page. */
void es_append_brief(es_str *out, const char *text, es_escape how);
/* "0:30", "1:02:03"; "0:00:30" where the whole lasts an hour or more: "14:30" might be half past two. */
void es_append_clock(es_str *out, double seconds, double whole);
/* When a report's last block ends. */
double es_report_end(const es_report *report);
/* "45 s", "3 min 20 s", "15 min", "1 h 20 min" */
void es_append_length(es_str *out, double seconds);

#define ES_HIGHLIGHTS 3
/* How many highlights a block of that length deserves. */
size_t es_highlights_for(const es_block *block);

/* How long each moment stands for; the spans of a block's moments add up to the block. spans: [count] */
void es_report_spans(const es_report *report, double *spans);

/* Time by activity or app of what may be told: most first. */
typedef struct es_share {
    const char *name;
    double seconds;
} es_share;
/* A list of shares by the moments' activities, or by their apps (app true), each of which counts as long as it is seen:
 * those times add up to more than the session. Free with free, after an error too. */
es_status es_shares_make(const es_report *report, bool app, es_share **shares, size_t *count, es_error *err);

void es_report_html(es_str *out, const es_report *report, const es_share *apps, size_t app_count,
                    const es_share *activities, size_t activity_count);

#endif
