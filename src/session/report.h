/* report.h - an outline as something to read or paste: card, standup, narrative (Markdown), json, html.
 *
 * What was read off a screen is data: it is escaped for where it goes, and control and bidirectional characters are
 * dropped. Personal blocks are told by time only unless asked for. */
#ifndef ES_SESSION_REPORT_H
#define ES_SESSION_REPORT_H

#include <stdint.h>

#include "base/str.h"
#include "session/segments.h"

typedef enum es_form {
    ES_FORM_CARD,
    ES_FORM_STANDUP,
    ES_FORM_NARRATIVE,
    ES_FORM_JSON,
    ES_FORM_HTML,
    ES_FORM_COUNT
} es_form;
const char *es_form_name(es_form form);
bool es_form_parse(const char *name, es_form *form);

typedef struct es_picture {
    const uint8_t *jpeg; /* NULL: none */
    size_t size;
} es_picture;

/* All borrowed. */
typedef struct es_report {
    const char *name;  /* of the recording, as a person calls it */
    const char *model; /* who described it; may be NULL */
    const es_moment *moments;
    size_t count;
    const es_outline *outline;  /* of these moments */
    const char *const *texts;   /* [subjects] what a language model said of each, items may be NULL; NULL: none */
    const char *notice;         /* one line that a reader should know; NULL: none */
    const es_picture *pictures; /* [blocks], for html; NULL: none */
    bool include_personal;
    bool truncated; /* the recording broke off */
} es_report;

es_status es_report_write(es_str *out, const es_report *report, es_form form, es_error *err);

/* The moments that say best what a block is about: at most `most` of them, in time order, each with a description of
 * its own. Returns how many. */
size_t es_block_highlights(const es_report *report, const es_block *block, size_t most, size_t *moments);

#endif
